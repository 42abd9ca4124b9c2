"""The native column reads what its reference reads, refuses what it refuses, in its words."""

from __future__ import annotations

import datetime
import decimal
import enum
import gc
import re
import struct
import sys
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_capsule import Answer, ArrayProducer, Releases, StreamProducer, array, capsule, schema
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.dtypes import StringDType

from ringleader._native import keys as native
from ringleader._reference import keys as reference
from ringleader.errors import (
    ColumnError,
    KeyEncodingError,
    KeyRangeError,
    KeyTypeError,
    RingleaderError,
)

BLOCK = 1024


@pytest.fixture(params=[native, reference], ids=["native", "reference"])
def keys(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


def word(number: int) -> bytes:
    return (number % 2**64).to_bytes(8, "little")


def outcome(make: Callable[[], Any]) -> Any:
    """What came of it: a value, or the type and the words of an error of ours."""
    try:
        return make()
    except RingleaderError as error:
        return type(error), str(error)


def assert_twins(container: Any) -> Any:
    """Both read `container` alike; returns what they read."""
    read = []
    for keys in (native, reference):
        column = outcome(lambda keys=keys: keys.Column(container))
        if isinstance(column, tuple):
            read.append(column)
            continue
        facts = (len(column), column.is_words, column.needs_gil, column.can_fail)
        read.append((facts, outcome(column.tolist)))
    assert read[0] == read[1]
    return read[0]


# --- one text, every container ----------------------------------------------------------------

TEXTS = [
    "a",
    "user:1",
    "",
    "é",
    "exactly12byt",
    "exactly13byte",
    "naïve café, latin-1 in full length",
    "Ω and other UCS-2: 漢字",
    "😀 beyond",
    "x" * 300,
]
BYTES = [text.encode() for text in TEXTS]

TEXT_CONTAINERS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(TEXTS),
    "tuple": lambda: tuple(TEXTS),
    "list of bytes": lambda: list(BYTES),
    "list, mixed": lambda: [
        t if i % 2 else b for i, (t, b) in enumerate(zip(TEXTS, BYTES, strict=True))
    ],
    "list of bytearray": lambda: [bytearray(b) for b in BYTES],
    "list of memoryview": lambda: [memoryview(b) for b in BYTES],
    "list of strided memoryview": lambda: [memoryview(bytes(2 * len(b)))[::2] for b in BYTES],
    "list of np.str_": lambda: [np.str_(t) for t in TEXTS],
    "list of np.bytes_": lambda: [np.bytes_(b) for b in BYTES],
    "object array": lambda: np.array(TEXTS, object),
    "object array, strided": lambda: np.repeat(np.array(TEXTS, object), 3)[::3],
    "S": lambda: np.array(BYTES, "S"),
    "S, strided": lambda: np.repeat(np.array(BYTES, "S301"), 2)[::2],
    "S, backwards": lambda: np.array(BYTES[::-1], "S333")[::-1],
    "U": lambda: np.array(TEXTS, "U"),
    "U, swapped": lambda: np.array(TEXTS, "U").astype(np.dtype("U300").newbyteorder("S")),
    "U, backwards": lambda: np.array(TEXTS[::-1], "U301")[::-1],
    "StringDType": lambda: np.array(TEXTS, StringDType()),
    "StringDType, backwards": lambda: np.array(TEXTS[::-1], StringDType())[::-1],
    "StringDType, with na": lambda: np.array(TEXTS, StringDType(na_object=None)),
    "arrow string": lambda: pa.array(TEXTS),
    "arrow large_string": lambda: pa.array(TEXTS, pa.large_string()),
    "arrow string_view": lambda: pa.array(TEXTS, pa.string_view()),
    "arrow binary": lambda: pa.array(BYTES, pa.binary()),
    "arrow large_binary": lambda: pa.array(BYTES, pa.large_binary()),
    "arrow binary_view": lambda: pa.array(BYTES, pa.binary_view()),
    "arrow sliced": lambda: pa.array(["cut", *TEXTS, "cut"])[1:-1],
    "arrow view sliced": lambda: pa.array(["cut", *TEXTS, "cut" * 9], pa.string_view())[1:-1],
    "arrow sliced past a null": lambda: pa.array([None, *TEXTS, None])[1:-1],
    "arrow dictionary": lambda: pa.array(TEXTS).dictionary_encode(),
    "arrow dictionary of views": lambda: pa.DictionaryArray.from_arrays(
        pa.array(range(len(TEXTS)), pa.uint8()), pa.array(TEXTS, pa.string_view())
    ),
    "arrow dictionary of large": lambda: pa.DictionaryArray.from_arrays(
        pa.array(range(len(TEXTS)), pa.int64()), pa.array(TEXTS, pa.large_string())
    ),
    "arrow chunked": lambda: pa.chunked_array(
        [pa.array(TEXTS[:3]), pa.array([], pa.string()), pa.array(TEXTS[3:4]), pa.array(TEXTS[4:])]
    ),
    "arrow chunks of different dictionaries": lambda: pa.chunked_array(
        [pa.array(TEXTS[:4]).dictionary_encode(), pa.array(TEXTS[4:]).dictionary_encode()]
    ),
    "arrow table of one column": lambda: pa.table({"key": TEXTS}),
    "arrow table, sliced": lambda: pa.table({"key": ["cut", *TEXTS, "cut"]}).slice(1, len(TEXTS)),
    "arrow record batch": lambda: pa.record_batch({"key": TEXTS}),
    "arrow record batch, sliced": lambda: pa.record_batch({"key": ["cut", *TEXTS]}).slice(1),
    "arrow struct, sliced": lambda: pa.array([{"k": t} for t in ["cut", *TEXTS]])[1:],
}


@pytest.mark.parametrize("name", TEXT_CONTAINERS)
def test_one_text_has_the_same_bytes_in_every_container(keys: ModuleType, name: str) -> None:
    container = TEXT_CONTAINERS[name]()
    column = keys.Column(container)
    expected = BYTES
    if name == "list of strided memoryview":
        expected = [bytes(len(b)) for b in BYTES]
    assert len(column) == len(expected)
    assert not column.is_words
    assert column.tolist() == expected
    assert column.tolist(3, 7) == expected[3:7]


@pytest.mark.parametrize("name", TEXT_CONTAINERS)
def test_twins_agree_on_every_container(name: str) -> None:
    assert_twins(TEXT_CONTAINERS[name]())


@pytest.mark.parametrize(
    "name",
    ["polars", "polars categorical", "polars frame", "pandas", "pandas frame", "duckdb"],
)
def test_other_libraries_export_the_same_bytes(keys: ModuleType, name: str) -> None:
    if name.startswith("polars"):
        polars = pytest.importorskip("polars")
        made = {
            "polars": lambda: polars.Series(TEXTS),
            "polars categorical": lambda: polars.Series(TEXTS, dtype=polars.Categorical),
            "polars frame": lambda: polars.DataFrame({"key": TEXTS}),
        }[name]()
    elif name.startswith("pandas"):
        pandas = pytest.importorskip("pandas")
        made = pandas.Series(TEXTS) if name == "pandas" else pandas.DataFrame({"key": TEXTS})
        if not hasattr(made, "__arrow_c_stream__"):
            pytest.skip("this pandas has no Arrow interface")
    else:
        duckdb = pytest.importorskip("duckdb")
        texts = pa.table({"place": range(len(TEXTS)), "key": TEXTS})
        connection = duckdb.connect()
        connection.register("texts", texts)
        made = connection.sql("select key from texts order by place")
        if not hasattr(made, "__arrow_c_stream__"):
            pytest.skip("this duckdb has no Arrow interface")
    assert keys.Column(made).tolist() == BYTES


# --- integers ---------------------------------------------------------------------------------

INT_TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


def extremes(kind: str) -> list[int]:
    info = np.iinfo(kind)
    return [int(info.min), int(info.max), 0, 1, 7, int(info.max) // 3]


@pytest.mark.parametrize("kind", INT_TYPES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_integers_are_their_64_bit_twos_complement(
    keys: ModuleType, kind: str, order: str, step: int
) -> None:
    numbers = extremes(kind) * 3
    column = keys.Column(np.array(numbers, order + kind)[::step])
    assert column.is_words
    assert not column.can_fail
    assert not column.needs_gil
    assert column.tolist() == [word(n) for n in numbers[::step]]


@pytest.mark.parametrize("kind", INT_TYPES)
def test_integers_in_lists_and_arrow_are_the_same_keys(keys: ModuleType, kind: str) -> None:
    numbers = extremes(kind)
    expected = [word(n) for n in numbers]
    arrow = pa.array(numbers, pa.from_numpy_dtype(np.dtype(kind)))
    scalars = list(np.array(numbers, kind))
    for container in (
        numbers,
        scalars,
        np.array(numbers, object),
        np.array(scalars, object),
        arrow,
        pa.array([0, *numbers], arrow.type)[1:],
        pa.chunked_array([arrow[:1], arrow[1:]]),
        arrow.dictionary_encode(),
        pa.table({"key": arrow}),
    ):
        assert keys.Column(container).tolist() == expected


@pytest.mark.parametrize("index", INT_TYPES)
def test_dictionaries_take_any_index_type(keys: ModuleType, index: str) -> None:
    indices = pa.array([3, 0, 0, 2, 1], pa.from_numpy_dtype(np.dtype(index)))
    for values, expected in (
        (pa.array(TEXTS[:4]), BYTES[:4]),
        (pa.array([9, 8, 7, 6], pa.int16()), [word(n) for n in (9, 8, 7, 6)]),
        (pa.array([b"ab", b"cd", b"ef", b"gh"], pa.binary(2)), [b"ab", b"cd", b"ef", b"gh"]),
    ):
        column = keys.Column(pa.DictionaryArray.from_arrays(indices, values)[1:])
        assert column.tolist() == [expected[i] for i in (0, 0, 2, 1)]


def test_unaligned_integers_and_text(keys: ModuleType) -> None:
    packed = np.dtype([("pad", "u1"), ("n", "<i8"), ("u", "<U3"), ("s", "S3")])
    table = np.zeros(5, packed)
    table["n"] = [1, -1, 2**62, 0, -(2**63)]
    table["u"] = ["a", "bc", "é", "", "xyz"]
    table["s"] = [b"a", b"bc", b"\xff", b"", b"xyz"]
    assert keys.Column(table["n"]).tolist() == [word(int(n)) for n in table["n"]]
    assert keys.Column(table["u"]).tolist() == [str(u).encode() for u in table["u"]]
    assert keys.Column(table["s"]).tolist() == [bytes(s) for s in table["s"]]


def test_broadcast_arrays(keys: ModuleType) -> None:
    assert keys.Column(np.broadcast_to(np.int32(-5), (3,))).tolist() == [word(-5)] * 3
    assert keys.Column(np.broadcast_to(np.array("é"), (3,))).tolist() == ["é".encode()] * 3


# --- text, fine print -------------------------------------------------------------------------


@pytest.mark.parametrize("width", [*range(1, 20), 31, 32, 33, 63, 64, 65, 66, 127, 130, 200])
def test_fixed_width_cells_of_every_width_and_fill(keys: ModuleType, width: int) -> None:
    texts = ["q" * n for n in range(width + 1)]
    expected = [t.encode() for t in texts]
    assert keys.Column(np.array(texts, f"S{width}")).tolist() == expected
    assert keys.Column(np.array(texts, f"<U{width}")).tolist() == expected
    assert keys.Column(np.array(texts, f">U{width}")).tolist() == expected
    # One unit that is not ASCII, at each place.
    texts = ["q" * n + "\u0169" for n in range(width)] + ["\u0169" + "q" * n for n in range(width)]
    expected = [t.encode() for t in texts]
    assert keys.Column(np.array(texts, f"<U{width}")).tolist() == expected
    assert keys.Column(np.array(texts, f">U{width}")).tolist() == expected


def test_zero_bytes_inside_stay_and_trailing_ones_are_padding_only_in_numpy(
    keys: ModuleType,
) -> None:
    raw = [b"\0", b"a\0b", b"a\0\0", b"\0\0c", b"0123456\0", b"01234567\0", b"\0" * 20]
    assert keys.Column(raw).tolist() == raw
    assert keys.Column(pa.array(raw)).tolist() == raw
    assert keys.Column([r.decode() for r in raw]).tolist() == raw
    stripped = [r.rstrip(b"\0") for r in raw]
    assert keys.Column(np.array(raw, "S20")).tolist() == stripped
    assert keys.Column(np.array([r.decode() for r in raw], "U20")).tolist() == stripped


def test_zero_width_cells(keys: ModuleType) -> None:
    cells = np.zeros(3, [("s", "S0"), ("u", "U0"), ("n", "i1")])
    for field in "su":
        assert cells[field].dtype.itemsize == 0
        assert keys.Column(cells[field]).tolist() == [b""] * 3
    assert keys.Column(pa.array([b"", b""], pa.binary(0))).tolist() == [b""] * 2


def test_u_cells_that_are_no_code_points(keys: ModuleType) -> None:
    for unit in (0xD800, 0xDFFF, 0x110000, 0xFFFFFFFF):
        for order in "<>":
            cells = np.array([65, 66, unit, 67], order + "u4").view(order + "U1")
            column = keys.Column(cells)
            with pytest.raises(KeyEncodingError, match="position 2 has a lone surrogate"):
                column.tolist()
            assert column.tolist(0, 2) == [b"A", b"B"]


def test_arrow_text_is_taken_as_it_is(keys: ModuleType) -> None:
    damaged = [b"\xff\xfe", b"\xed\xa0\x80", b"ok"]
    for kind in (pa.string(), pa.large_string()):
        wide = kind == pa.large_string()
        binary = pa.array(damaged, pa.large_binary() if wide else pa.binary())
        text = pa.Array.from_buffers(kind, 3, binary.buffers())
        assert keys.Column(text).tolist() == damaged


def test_variable_text_missing_values(keys: ModuleType) -> None:
    text = np.array(["a", "NA", "c"], StringDType(na_object="NA"))
    assert keys.Column(text).tolist() == [b"a", b"NA", b"c"]
    for missing in (None, np.nan):
        text = np.array(["a", "b", missing], StringDType(na_object=missing))
        with pytest.raises(KeyTypeError, match=r"^key at position 2 is null; drop or fill nulls"):
            keys.Column(text).tolist()


def test_variable_text_written_over(keys: ModuleType) -> None:
    # Texts that grow and shrink in place move between NumPy's cells, arena and heap.
    text = np.array(["a" * n for n in range(80)], StringDType())
    text[10:20] = ["now much longer than it was: " * 3] * 10
    text[40:60] = "b"
    text[60:] = ["c" * n for n in range(20)]
    assert keys.Column(text).tolist() == [t.encode() for t in text.tolist()]


# --- one key ----------------------------------------------------------------------------------


class Shade(enum.IntEnum):
    DARK = 3


class Named(str):
    def encode(self, *_: object) -> bytes:  # a key is its text, whatever its methods say
        return b"other"


class Odd(np.int64):
    def __index__(self) -> int:
        return 77


ONE_KEY: list[tuple[Any, bytes]] = [
    ("", b""),
    ("key", b"key"),
    ("é", b"\xc3\xa9"),
    ("\u20ac", b"\xe2\x82\xac"),
    ("\U0001f600", b"\xf0\x9f\x98\x80"),
    ("é" * 1000, "é".encode() * 1000),
    ("é" + "a" * 7 + "é" + "b" * 30, ("é" + "a" * 7 + "é" + "b" * 30).encode()),
    (b"", b""),
    (b"\0\xff", b"\0\xff"),
    (bytearray(b"ab"), b"ab"),
    (memoryview(b"abcdef")[1::2], b"bdf"),
    (memoryview(np.arange(3, dtype="<i2")), np.arange(3, dtype="<i2").tobytes()),
    (memoryview(np.asfortranarray(np.arange(6, dtype="u1").reshape(2, 3))), bytes(range(6))),
    (0, bytes(8)),
    (-1, b"\xff" * 8),
    (2**63, word(2**63)),
    (2**64 - 1, b"\xff" * 8),
    (-(2**63), word(-(2**63))),
    (np.int8(-1), b"\xff" * 8),
    (np.uint64(2**64 - 1), b"\xff" * 8),
    (Shade.DARK, word(3)),
    (Named("name"), b"name"),
    (Odd(1), word(77)),
    (np.str_("é"), "é".encode()),
    (np.bytes_(b"a\0b"), b"a\0b"),
]


#: Without addresses: processes that share the tests out have to call them by the same names.
IDS = [re.sub(r" at 0x\w+", "", repr(key))[:30] for key, _ in ONE_KEY]


@pytest.mark.parametrize(("key", "expected"), ONE_KEY, ids=IDS)
def test_key_bytes(keys: ModuleType, key: Any, expected: bytes) -> None:
    assert keys.key_bytes(key) == expected
    assert keys.Column([key]).tolist() == [expected]
    assert keys.Column(["before", key, "after"]).tolist() == [b"before", expected, b"after"]


released = memoryview(b"gone")
released.release()

NO_KEYS: list[tuple[Any, type[Exception], str]] = [
    (None, KeyTypeError, "is None, but a key is .*; drop or fill missing keys first$"),
    (True, KeyTypeError, "is bool, .*; convert it to the one you mean$"),
    (1.0, KeyTypeError, "is float, .*; convert it to the one you mean$"),
    (np.float64(1), KeyTypeError, "is float64, .*; convert it to the one you mean$"),
    (np.bool_(True), KeyTypeError, "is bool"),
    (np.datetime64("2020-01-01"), KeyTypeError, "is datetime64"),
    (decimal.Decimal(1), KeyTypeError, "is Decimal"),
    (datetime.date(2020, 1, 1), KeyTypeError, "is date,"),
    ([], KeyTypeError, "is list"),
    (("a",), KeyTypeError, "is tuple"),
    (object(), KeyTypeError, "is object"),
    (int, KeyTypeError, "is type"),
    (2**64, KeyRangeError, r"is an int outside -2\*\*63 ... 2\*\*64-1; hash it yourself"),
    (-(2**63) - 1, KeyRangeError, "is an int outside"),
    (10**400, KeyRangeError, "is an int outside"),
    ("\ud800", KeyEncodingError, "has a lone surrogate, .*; pass it as bytes$"),
    ("a\udfff" * 90, KeyEncodingError, "has a lone surrogate"),
    ("\U0001f600\udc00", KeyEncodingError, "has a lone surrogate"),
    (np.str_("\ud800"), KeyEncodingError, "has a lone surrogate"),
    (released, KeyTypeError, "has no bytes: it was released$"),
]


@pytest.mark.parametrize(("key", "error", "words"), NO_KEYS, ids=[w[:24] for _, _, w in NO_KEYS])
def test_what_is_no_key_is_refused_by_position(
    keys: ModuleType, key: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=r"^the key " + words):
        keys.key_bytes(key)
    with pytest.raises(error, match=r"^key at position 12 " + words):
        keys.key_bytes(key, 12)
    many: list[Any] = ["é"] * 1500
    many[1300] = key
    objects = np.empty(1500, object)
    objects[:] = many
    for container in (many, tuple(many), objects):
        column = keys.Column(container)
        with pytest.raises(error, match=r"^key at position 1300 " + words):
            column.tolist()
        with pytest.raises(error, match=r"^key at position 101300 " + words):
            keys.Column(container, 100_000).tolist()
        assert column.tolist(0, 1300) == ["é".encode()] * 1300


@pytest.mark.parametrize("key", [key for key, _, _ in NO_KEYS])
def test_twins_refuse_in_the_same_words(key: Any) -> None:
    assert outcome(lambda: native.key_bytes(key)) == outcome(lambda: reference.key_bytes(key))
    assert_twins([key])


def test_an_object_array_that_was_never_filled_holds_none(keys: ModuleType) -> None:
    with pytest.raises(KeyTypeError, match=r"^key at position 0 is None"):
        keys.Column(np.empty(3, object)).tolist()


# --- columns that are none --------------------------------------------------------------------

NO_COLUMNS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "str": (lambda: "abc", KeyTypeError, "^str is not a column of keys; pass a list"),
    "None": (lambda: None, KeyTypeError, "^NoneType is not a column"),
    "float array": (lambda: np.zeros(2), KeyTypeError, "^an array of float64 has no defined key"),
    "bool array": (lambda: np.zeros(2, bool), KeyTypeError, "^an array of bool .*astype"),
    "datetime array": (lambda: np.zeros(2, "M8[s]"), KeyTypeError, "of datetime64"),
    "structured array": (lambda: np.zeros(2, "i4,i4"), KeyTypeError, "of void64"),
    "2-D array": (lambda: np.zeros((2, 3), int), ColumnError, r"of shape \(2, 3\); ravel"),
    "0-D array": (lambda: np.array(3), ColumnError, r"of shape \(\); ravel"),
    "masked array": (
        lambda: np.ma.array([1, 2, 3], mask=[0, 0, 1]),
        KeyTypeError,
        "^key at position 2 is null; drop or fill nulls first$",
    ),
    "two columns": (
        lambda: pa.table({"a": [1], "b": [2]}),
        KeyTypeError,
        "^an Arrow table of 2 columns is not one column of keys; pick one$",
    ),
    "no columns": (lambda: pa.table({}), KeyTypeError, "of 0 columns"),
    "null struct": (
        lambda: pa.array([{"a": 1}, None]),
        KeyTypeError,
        "^key at position 1 is null; drop or fill nulls first$",
    ),
    "null struct, sliced": (
        lambda: pa.array([None, {"a": 1}, {"a": 1}, None])[1:],
        KeyTypeError,
        "^key at position 2 is null",
    ),
    "null type": (lambda: pa.array([None]), KeyTypeError, "^an Arrow column of null has no"),
    "bool": (lambda: pa.array([True]), KeyTypeError, "column of bool"),
    "float16": (lambda: pa.array([1], pa.float16()), KeyTypeError, "column of float16"),
    "float32": (lambda: pa.array([1], pa.float32()), KeyTypeError, "column of float32"),
    "float64": (lambda: pa.array([1.5]), KeyTypeError, "column of float64 .* cast it"),
    "timestamp": (
        lambda: pa.array([datetime.datetime(2020, 1, 1)]),
        KeyTypeError,
        "column of timestamp",
    ),
    "date": (lambda: pa.array([datetime.date(2020, 1, 1)]), KeyTypeError, "column of date"),
    "time": (lambda: pa.array([datetime.time(1)]), KeyTypeError, "column of time"),
    "duration": (lambda: pa.array([datetime.timedelta(1)]), KeyTypeError, "of duration"),
    "interval": (
        lambda: pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        KeyTypeError,
        "of interval",
    ),
    "decimal": (lambda: pa.array([decimal.Decimal("1.5")]), KeyTypeError, "of decimal"),
    "list": (lambda: pa.array([["a"]]), KeyTypeError, "column of list"),
    "large list": (lambda: pa.array([["a"]], pa.large_list(pa.string())), KeyTypeError, "of list"),
    "fixed list": (lambda: pa.array([[1]], pa.list_(pa.int8(), 1)), KeyTypeError, "of list"),
    "map": (lambda: pa.array([[(1, 2)]], pa.map_(pa.int8(), pa.int8())), KeyTypeError, "of map"),
    "nested struct": (lambda: pa.array([{"a": {"b": 1}}]), KeyTypeError, "column of struct"),
    "union": (
        lambda: pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        KeyTypeError,
        "column of union",
    ),
    "run-end encoded": (
        lambda: pa.RunEndEncodedArray.from_arrays([1, 2], ["a", "b"]),
        KeyTypeError,
        "of run-end encoded",
    ),
    "dictionary of floats": (
        lambda: pa.array([1.5]).dictionary_encode(),
        KeyTypeError,
        "column of float64",
    ),
}


@pytest.mark.parametrize("name", NO_COLUMNS)
def test_what_is_no_column_is_refused(keys: ModuleType, name: str) -> None:
    make, error, words = NO_COLUMNS[name]
    with pytest.raises(error, match=words):
        keys.Column(make())


@pytest.mark.parametrize("name", NO_COLUMNS)
def test_twins_refuse_columns_in_the_same_words(name: str) -> None:
    assert_twins(NO_COLUMNS[name][0]())


def test_a_masked_array_without_masked_keys_is_a_column(keys: ModuleType) -> None:
    assert keys.Column(np.ma.array([1, 2])).tolist() == [word(1), word(2)]


@pytest.mark.parametrize("at", [0, 1, 7, 8, 63, 64, 65, 1023, 1024, 1025, 2999])
@pytest.mark.parametrize("skip", [0, 1, 5, 8])
def test_nulls_are_named_by_position(keys: ModuleType, at: int, skip: int) -> None:
    texts: list[Any] = ["skipped"] * skip + ["text"] * 3000
    texts[skip + at] = None
    numbers = [None if t is None else 5 for t in texts]
    words = f"^key at position {at} is null; drop or fill nulls first$"
    for whole in (
        pa.array(texts),
        pa.array(texts, pa.string_view()),
        pa.array(numbers),
        pa.array(texts).dictionary_encode(),
        pa.array(numbers).dictionary_encode(),
        pa.DictionaryArray.from_arrays(
            pa.array([int(t is None) for t in texts]), pa.array(["text", None])
        ),
    ):
        column = keys.Column(whole[skip:])
        assert column.can_fail
        with pytest.raises(KeyTypeError, match=words):
            column.tolist(max(0, at - 1000), min(3000, at + 10))
        assert column.tolist(max(0, at - 10), at) == column.tolist(max(0, at - 10), at)


# --- blocks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
def test_columns_of_every_number_of_blocks(keys: ModuleType, count: int) -> None:
    texts = [f"key:{n}" + "é" * (n % 3) for n in range(count)]
    expected = [t.encode() for t in texts]
    for container in (
        texts,
        np.array(texts, object),
        np.array(texts, "U16"),
        np.array(texts, StringDType()),
        pa.array(texts, pa.string()),
        pa.array(texts, pa.string()).dictionary_encode(),
        pa.chunked_array([pa.array(texts[i : i + 7]) for i in range(0, count, 7)], pa.string()),
    ):
        assert keys.Column(container).tolist() == expected
    assert keys.Column(np.arange(count)).tolist() == [word(n) for n in range(count)]


def test_blocks_of_long_texts_stop_early_and_lose_nothing(keys: ModuleType) -> None:
    texts = ["é" * n for n in (1, 20_000, 3, 100_000, 5, 40_000, 40_000, 2)] * 3
    mixed = [x for t in texts for x in (t, 7, bytearray(t.encode()), t.encode(), np.int64(9))]
    expected = [x for t in texts for x in (t.encode(), word(7), t.encode(), t.encode(), word(9))]
    assert keys.Column(mixed).tolist() == expected
    assert keys.Column(np.array(texts, StringDType())).tolist() == [t.encode() for t in texts]
    wide = np.array(["é" * 5000, "a", "", "b" * 5000, "漢" * 4999], "U5000")
    assert keys.Column(wide).tolist() == [str(t).encode() for t in wide]


def test_ranges_outside_are_refused(keys: ModuleType) -> None:
    column = keys.Column(["a", "b"])
    assert column.tolist(1) == [b"b"]
    assert column.tolist(2, 2) == []
    for lo, hi in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(ValueError, match="lies outside a column of 2 keys"):
            column.tolist(lo, hi)


# --- lists that change ------------------------------------------------------------------------


def test_a_list_that_changed_its_size_is_refused(keys: ModuleType) -> None:
    for change in (list.clear, lambda names: names.append("x"), lambda names: names.pop()):
        names = ["a", "b", "c"]
        column = keys.Column(names)
        change(names)
        with pytest.raises(ColumnError, match="changed its size while it was read"):
            column.tolist()


def test_keys_that_change_their_list_while_it_is_read(keys: ModuleType) -> None:
    names: list[Any] = []

    class Clearing(np.int64):
        def __index__(self) -> int:
            names.clear()
            gc.collect()
            return 1

    class Replacing(np.int64):
        def __index__(self) -> int:
            names[:] = ["".join(["new", str(i)]) for i in range(len(names))]
            gc.collect()
            return 2

    names += ["".join(["text", str(i)]) for i in range(50)]
    names[30] = Clearing(0)
    with pytest.raises(ColumnError, match="changed its size while it was read"):
        keys.Column(names).tolist()
    names[:] = ["".join(["text", str(i)]) for i in range(50)]
    names[30] = Replacing(0)
    read = keys.Column(names).tolist()
    assert read[:30] == [b"text%d" % i for i in range(30)]
    assert read[30] == word(2)
    assert read[31:] == [b"new%d" % i for i in range(31, 50)]


def test_a_key_that_raises_is_heard(keys: ModuleType) -> None:
    class Failing(np.int64):
        def __index__(self) -> int:
            raise ZeroDivisionError("from the key")

    column = keys.Column(["a", Failing(1)])
    for _ in range(2):
        with pytest.raises(ZeroDivisionError, match="from the key"):
            column.tolist()


def test_a_refused_column_is_not_kept_alive_by_its_error(keys: ModuleType) -> None:
    class Thing:
        pass

    def refused() -> weakref.ref[Thing]:
        thing = Thing()
        column = keys.Column([thing])
        with pytest.raises(KeyTypeError):
            column.tolist()
        return weakref.ref(thing)

    gone = refused()
    gc.collect()
    assert gone() is None


# --- attributes -------------------------------------------------------------------------------


def test_raise_error_names_the_position_in_the_whole_column(keys: ModuleType) -> None:
    column = keys.Column(["a"], 100)
    for code, error, words in (
        (reference.NULL, KeyTypeError, "key at position 105 is null"),
        (reference.SURROGATE, KeyEncodingError, "key at position 105 has a lone surrogate"),
        (reference.NO_MEMORY, MemoryError, "position 105"),
        (reference.CORRUPT, ColumnError, "key at position 105 lies outside its column"),
        (99, ValueError, "99 is no error"),
    ):
        with pytest.raises(error, match=words):
            column.raise_error(code, 5)


def test_overlaps(keys: ModuleType) -> None:
    numbers = np.arange(100, dtype=np.uint32)
    start = numbers.ctypes.data
    for view in (numbers[10:20], numbers[19:9:-1]):
        column = keys.Column(view)
        assert column.overlaps(start, 400)
        assert column.overlaps(start + 40, 1)
        assert column.overlaps(start + 79, 1)
        assert not column.overlaps(start, 40)
        assert not column.overlaps(start + 80, 320)
        assert not column.overlaps(start + 50, 0)
    assert not keys.Column(numbers[:0]).overlaps(start, 400)
    assert not keys.Column(["a"]).overlaps(0, 2**48)
    data = np.frombuffer(b"abcdef" * 100, "u1").copy()
    offsets = np.arange(11, dtype="i4") * 3
    text = pa.Array.from_buffers(pa.string(), 10, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    for column in (keys.Column(text), keys.Column(text.dictionary_encode())):
        other = np.zeros(8, np.uint64)
        assert not column.overlaps(other.ctypes.data, other.nbytes)
    column = keys.Column(text)
    assert column.overlaps(data.ctypes.data, 1)
    assert column.overlaps(offsets.ctypes.data + 40, 4)


def test_the_capsule_keeps_its_column_and_the_column_its_keys() -> None:
    texts = ["".join(["a", "b"])]
    before = sys.getrefcount(texts)
    column = native.Column(texts)
    handle = column.capsule
    assert '"ringleader.keys.column"' in repr(handle)
    del column
    assert sys.getrefcount(texts) == before + 1
    del handle
    assert sys.getrefcount(texts) == before


# --- the Arrow interface, kept and broken -----------------------------------------------------


def pack(kind: str, *numbers: int) -> bytes:
    return struct.pack("=" + kind * (len(numbers) if len(kind) == 1 else 1), *numbers)


def view(text: bytes, buffer: int = 0, offset: int = 0, size: int | None = None) -> bytes:
    if size is None:
        size = len(text)
    if size <= 12:
        return pack("i", size) + text.ljust(12, b"\0")
    return pack("i", size) + text[:4] + pack("ii", buffer, offset)


def test_every_array_is_released_once_when_the_column_dies() -> None:
    releases = Releases()
    kind = schema(b"u", releases=releases)
    arrays = [
        array(2, [None, pack("i", 0, 1, 3), b"abc"], releases=releases),
        array(0, [None, None, None], releases=releases),
        array(1, [None, pack("i", 2, 3), b"xyz"], releases=releases),
    ]
    column = native.Column(StreamProducer(kind, arrays, releases))
    assert releases.counts == {"schema": 1, "array": 1, "stream": 1}  # the empty one at once
    assert column.tolist() == [b"a", b"bc", b"z"]
    del column
    assert releases.counts == {"schema": 1, "array": 3, "stream": 1}


def test_an_array_moves_out_of_its_capsule() -> None:
    releases = Releases()
    made = array(1, [None, pack("i", 0, 1), b"a"], releases=releases)
    producer = ArrayProducer(schema(b"u", releases=releases), made)
    column = native.Column(producer)
    assert not made.release
    with pytest.raises(ColumnError, match=r"^the Arrow array was released already$"):
        native.Column(producer)
    del column
    assert releases.counts == {"schema": 0, "array": 1, "stream": 0}


def test_a_stream_is_read_once() -> None:
    producer = StreamProducer(schema(b"u"), [])
    assert len(native.Column(producer)) == 0
    with pytest.raises(ColumnError, match=r"^the Arrow stream was read already$"):
        native.Column(producer)


@pytest.mark.parametrize(
    ("said", "words"), [(b"disk on fire", "disk on fire"), (None, "error 5"), (b"\xff", "\ufffd")]
)
def test_streams_that_fail_are_heard_and_released(said: bytes | None, words: str) -> None:
    releases = Releases()
    good = array(1, [None, pack("i", 0, 1), b"a"], releases=releases)
    kind = schema(b"u", releases=releases)
    with pytest.raises(ColumnError, match=f"^the Arrow stream failed: {words}$"):
        native.Column(StreamProducer(kind, [good, (5, said)], releases))
    assert releases.counts == {"schema": 1, "array": 1, "stream": 1}
    with pytest.raises(ColumnError, match=f"^the Arrow stream failed: {words}$"):
        native.Column(StreamProducer((5, said), [], releases))
    assert releases.counts["stream"] == 2


def test_a_refused_type_releases_all() -> None:
    releases = Releases()
    with pytest.raises(KeyTypeError, match="column of float64"):
        native.Column(StreamProducer(schema(b"g", releases=releases), [], releases))
    assert releases.counts == {"schema": 1, "array": 0, "stream": 1}


def test_a_type_nobody_knows_is_named_by_its_format() -> None:
    for format in (b"future", b"u?", b""):
        with pytest.raises(
            KeyTypeError, match=re.escape(f"column of type {format.decode()!r} has")
        ):
            native.Column(StreamProducer(schema(format), []))


def test_capsules_that_are_none() -> None:
    kind, one = schema(b"u"), array(0, [None, None, None])
    stream = StreamProducer(kind, []).stream
    good_schema, good_array = capsule(kind, b"arrow_schema"), capsule(one, b"arrow_array")
    for answer in (
        Answer(__arrow_c_stream__=lambda: None),
        Answer(__arrow_c_stream__=lambda: capsule(stream, b"arrow_array")),
        Answer(__arrow_c_stream__=lambda: capsule(stream, b"")),
        Answer(__arrow_c_array__=lambda: None),
        Answer(__arrow_c_array__=lambda: (good_schema,)),
        Answer(__arrow_c_array__=lambda: (good_array, good_schema)),
        Answer(__arrow_c_array__=lambda: (good_schema, 5)),
    ):
        with pytest.raises(ColumnError, match=r"gave no .*capsule"):
            native.Column(answer)
    with pytest.raises(ZeroDivisionError):
        native.Column(Answer(__arrow_c_stream__=lambda: 1 // 0))


GOOD_TEXT = [None, pack("i", 0, 1), b"a"]
GOOD_INTS = [None, pack("i", 7)]
INT64_MAX = 2**63 - 1

BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "negative length": (lambda: ArrayProducer(schema(b"u"), array(-1, GOOD_TEXT)), "negative"),
    "negative offset": (
        lambda: ArrayProducer(schema(b"u"), array(1, GOOD_TEXT, offset=-1)),
        "negative",
    ),
    "offset overflows": (
        lambda: ArrayProducer(schema(b"u"), array(1, GOOD_TEXT, offset=INT64_MAX)),
        "impossibly long",
    ),
    "length overflows": (
        lambda: ArrayProducer(schema(b"i"), array(INT64_MAX - 1, GOOD_INTS)),
        "impossibly long",
    ),
    "bytes overflow": (
        lambda: ArrayProducer(schema(b"w:2147483647"), array(2**40, [None, b"x"])),
        "impossibly long",
    ),
    "too few buffers": (
        lambda: ArrayProducer(schema(b"u"), array(1, GOOD_TEXT, n_buffers=2)),
        "number of buffers",
    ),
    "too many buffers": (
        lambda: ArrayProducer(schema(b"i"), array(1, GOOD_INTS, n_buffers=3)),
        "number of buffers",
    ),
    "too few view buffers": (
        lambda: ArrayProducer(schema(b"vu"), array(1, [None, view(b"a")])),
        "number of buffers",
    ),
    "no buffers": (
        lambda: ArrayProducer(schema(b"u"), array(1, None, n_buffers=3)),
        "lacks its buffers",
    ),
    "children": (
        lambda: ArrayProducer(schema(b"u"), array(1, GOOD_TEXT, n_children=1)),
        "children",
    ),
    "a dictionary too many": (
        lambda: ArrayProducer(schema(b"i"), array(1, GOOD_INTS, dictionary=array(1, GOOD_TEXT))),
        "a dictionary that its type does not have",
    ),
    "a dictionary too few": (
        lambda: ArrayProducer(schema(b"i", dictionary=schema(b"u")), array(1, GOOD_INTS)),
        "lacks the dictionary",
    ),
    "impossible null count": (
        lambda: ArrayProducer(schema(b"u"), array(1, GOOD_TEXT, null_count=2)),
        "impossible number of nulls",
    ),
    "nulls without bitmap": (
        lambda: ArrayProducer(schema(b"u"), array(1, GOOD_TEXT, null_count=1)),
        "no validity bitmap",
    ),
    "no integers": (lambda: ArrayProducer(schema(b"i"), array(1, [None, None])), "lacks a buffer"),
    "no offsets": (
        lambda: ArrayProducer(schema(b"u"), array(1, [None, None, b"a"])),
        "lacks a buffer",
    ),
    "no text": (
        lambda: ArrayProducer(schema(b"u"), array(1, [None, pack("i", 0, 1), None])),
        "lacks a buffer",
    ),
    "no view buffer": (
        lambda: ArrayProducer(
            schema(b"vu"), array(1, [None, view(b"a" * 13), None, pack("q", 13)])
        ),
        "lacks a buffer",
    ),
    "no view sizes": (
        lambda: ArrayProducer(schema(b"vu"), array(1, [None, view(b"a" * 13), b"a" * 13, None])),
        "lacks its buffers' sizes",
    ),
    "negative view size": (
        lambda: ArrayProducer(schema(b"vu"), array(1, [None, view(b"a"), b"a", pack("q", -1)])),
        "negative size",
    ),
    "negative first offset": (
        lambda: ArrayProducer(schema(b"u"), array(1, [None, pack("i", -1, 1), b"a"])),
        "first offset is negative",
    ),
    "last offset before first": (
        lambda: ArrayProducer(schema(b"U"), array(2, [None, pack("q", 3, 3, 2), b"abc"])),
        "last offset lies before its first",
    ),
    "a dictionary that is broken": (
        lambda: ArrayProducer(
            schema(b"i", dictionary=schema(b"u")),
            array(1, GOOD_INTS, dictionary=array(1, [None, pack("i", 1, 0), b"a"])),
        ),
        "last offset",
    ),
    "a table of no columns": (
        lambda: ArrayProducer(schema(b"+s", [schema(b"u")]), array(1, [None])),
        "not the one column",
    ),
    "a table whose column is short": (
        lambda: ArrayProducer(
            schema(b"+s", [schema(b"u")]),
            array(1, [None], offset=1, children=[array(1, GOOD_TEXT)]),
        ),
        "shorter than the table",
    ),
    "a table without buffers": (
        lambda: ArrayProducer(
            schema(b"+s", [schema(b"u")]), array(1, [], children=[array(1, GOOD_TEXT)])
        ),
        "number of buffers",
    ),
    "a table of negative length": (
        lambda: ArrayProducer(
            schema(b"+s", [schema(b"u")]), array(-1, [None], children=[array(1, GOOD_TEXT)])
        ),
        "negative",
    ),
    "a table that counts nulls": (
        lambda: ArrayProducer(
            schema(b"+s", [schema(b"u")]),
            array(1, [None], null_count=1, children=[array(1, GOOD_TEXT)]),
        ),
        "no validity bitmap",
    ),
    "a schema without format": (
        lambda: ArrayProducer(schema(None), array(1, GOOD_TEXT)),
        "breaks the Arrow C Data Interface",
    ),
    "a width that is none": (
        lambda: ArrayProducer(schema(b"w:x"), array(1, [None, b"a"])),
        "breaks the Arrow C Data Interface",
    ),
    "a width without end": (
        lambda: ArrayProducer(schema(b"w:99999999999999999999999"), array(1, [None, b"a"])),
        "breaks the Arrow C Data Interface",
    ),
    "indices that are none": (
        lambda: ArrayProducer(
            schema(b"u", dictionary=schema(b"u")),
            array(1, GOOD_TEXT, dictionary=array(1, GOOD_TEXT)),
        ),
        "breaks the Arrow C Data Interface",
    ),
    "a table without children": (
        lambda: ArrayProducer(schema(b"+s", n_children=1), array(1, [None])),
        "breaks the Arrow C Data Interface",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_arrays_are_refused_when_they_come(name: str) -> None:
    make, words = BROKEN[name]
    with pytest.raises(ColumnError, match=words):
        native.Column(make()).tolist()


def test_sound_corner_cases_of_the_interface() -> None:
    for kind, made, expected in (
        # Offsets that start and end anywhere; no text at all needs no buffer.
        (schema(b"u"), array(1, [None, pack("i", 2, 3), b"xyz"]), [b"z"]),
        (schema(b"u"), array(2, [None, pack("i", 0, 0, 0), None]), [b"", b""]),
        (schema(b"u"), array(0, [None, None, None]), []),
        (schema(b"u"), array(0, [None, pack("i", 0), None], null_count=0), []),
        (schema(b"w:0"), array(2, [None, None]), [b"", b""]),
        (schema(b"vu"), array(1, [None, view(b"a"), None]), [b"a"]),
        (
            schema(b"vz"),
            array(
                2,
                [
                    None,
                    view(b"abc") + view(b"b" * 13, 1, 2),
                    b"",
                    b"__" + b"b" * 13,
                    pack("qq", 0, 15),
                ],
            ),
            [b"abc", b"b" * 13],
        ),
        # An offset into both values and bitmap, which starts amid a byte.
        (schema(b"C"), array(2, [b"\xfe\x01", b"skipped!\x07\x08"], offset=8 - 1), None),
        (schema(b"C"), array(1, [b"\x00\x02", bytes(range(10))], offset=9), [word(9)]),
        (
            schema(b"+s", [schema(b"c")]),
            array(1, [b"\x02"], offset=1, children=[array(2, [None, b"\x05\xff"])]),
            [word(-1)],
        ),
    ):
        column = native.Column(ArrayProducer(kind, made))
        if expected is None:
            with pytest.raises(KeyTypeError, match="position 2 is null"):
                native.Column(
                    ArrayProducer(schema(b"C"), array(3, [b"\x80\x01", bytes(10)], offset=7))
                ).tolist()
        else:
            assert column.tolist() == expected


def test_unaligned_buffers_are_read(keys: ModuleType) -> None:
    def shifted(raw: bytes) -> pa.Buffer:
        return pa.py_buffer(b"_" + raw).slice(1)

    numbers = pa.Array.from_buffers(pa.int64(), 2, [None, shifted(pack("q", 1, -1))])
    assert native.Column(numbers).tolist() == [word(1), word(-1)]
    text = pa.Array.from_buffers(
        pa.string(), 2, [None, shifted(pack("i", 0, 1, 3)), shifted(b"abc")]
    )
    assert native.Column(text).tolist() == [b"a", b"bc"]


# --- fuzz: any buffers whose lengths are as the header says -----------------------------------

Expected = list[Any]  # bytes, or why there are none: "null", "outside"


@st.composite
def offsets_arrays(draw: st.DrawFn, wide: bool) -> tuple[Any, Expected | None]:
    length, skip = draw(st.integers(0, 12)), draw(st.integers(0, 10))
    text = draw(st.binary(max_size=30))
    near = st.integers(-2, len(text) + 2)
    if draw(st.booleans()):
        offsets = sorted(draw(st.lists(near, min_size=skip + length + 1, max_size=40)))
        offsets = [max(0, offset) for offset in offsets[: skip + length + 1]]
    else:
        offsets = draw(st.lists(near, min_size=skip + length + 1, max_size=skip + length + 1))
    offsets[-1] = min(offsets[-1], len(text))  # the only one that must be taken on trust
    bits = draw(st.none() | st.binary(min_size=(skip + length + 7) // 8, max_size=6))
    made = array(length, [bits, pack("q" if wide else "i", *offsets), text], offset=skip)
    used = offsets[skip:]
    if length and (used[0] < 0 or used[-1] < used[0]):
        return made, None
    keys: Expected = []
    for i in range(length):
        if bits is not None and not bits[(skip + i) // 8] >> (skip + i) % 8 & 1:
            keys.append("null")
        elif used[0] <= used[i] <= used[i + 1] <= used[-1]:
            keys.append(text[used[i] : used[i + 1]])
        else:
            keys.append("outside")
    return made, keys


@st.composite
def view_arrays(draw: st.DrawFn) -> tuple[Any, Expected | None]:
    length, skip = draw(st.integers(0, 8)), draw(st.integers(0, 4))
    texts = draw(st.lists(st.binary(max_size=40), max_size=3))
    cells = []
    keys: Expected = []
    for _ in range(skip + length):
        size = draw(st.integers(-2, 45))
        buffer, offset = draw(st.integers(-1, 3)), draw(st.integers(-2, 40))
        if 0 <= size <= 12:
            text = draw(st.binary(min_size=12, max_size=12))
            cells.append(pack("i", size) + text)
            keys.append(text[:size])
            continue
        cells.append(pack("iiii", size, 0, buffer, offset))
        sound = size >= 0 and 0 <= buffer < len(texts) and offset >= 0
        if sound and offset + size <= len(texts[buffer]):
            keys.append(texts[buffer][offset : offset + size])
        else:
            keys.append("outside")
    sizes = pack("q", *map(len, texts)) if texts else None
    made = array(length, [None, b"".join(cells), *texts, sizes], offset=skip)
    return made, keys[skip:]


@st.composite
def dictionary_arrays(draw: st.DrawFn) -> tuple[Any, Any, Expected | None]:
    kind = draw(st.sampled_from(["offsets", "views", "ints", "fixed"]))
    if kind == "offsets":
        (inner, values), format = draw(offsets_arrays(False)), b"u"
    elif kind == "views":
        (inner, values), format = draw(view_arrays()), b"vu"
    else:
        count, skip = draw(st.integers(0, 5)), draw(st.integers(0, 3))
        raw = draw(st.binary(min_size=2 * (count + skip), max_size=2 * (count + skip)))
        inner = array(count, [None, raw], offset=skip)
        pieces = [raw[2 * i : 2 * i + 2] for i in range(skip, skip + count)]
        if kind == "ints":
            values = [word(int.from_bytes(p, sys.byteorder, signed=True)) for p in pieces]
        else:
            values = pieces
        format = b"s" if kind == "ints" else b"w:2"
    length, skip = draw(st.integers(0, 10)), draw(st.integers(0, 4))
    indices = draw(st.lists(st.integers(-2, 10), min_size=length + skip, max_size=length + skip))
    bits = draw(st.none() | st.binary(min_size=(skip + length + 7) // 8, max_size=4))
    made = array(length, [bits, pack("b", *indices)], offset=skip, dictionary=inner)
    if values is None:
        return schema(b"c", dictionary=schema(format)), made, None
    keys: Expected = []
    for i in range(skip, skip + length):
        if bits is not None and not bits[i // 8] >> i % 8 & 1:
            keys.append("null")
        elif 0 <= indices[i] < len(values):
            keys.append(values[indices[i]])
        else:
            keys.append("outside")
    return schema(b"c", dictionary=schema(format)), made, keys


def assert_reads(kind: Any, chunks: list[tuple[Any, Expected | None]]) -> None:
    arrays = [made for made, _ in chunks]
    try:
        column = native.Column(StreamProducer(kind, arrays))
    except ColumnError:
        assert any(expected is None for _, expected in chunks)
        return
    expected = [key for _, keys in chunks for key in keys or ()]
    assert all(keys is not None for _, keys in chunks)
    assert len(column) == len(expected)
    bad = next((i for i, key in enumerate(expected) if isinstance(key, str)), None)
    if bad is None:
        assert column.tolist() == expected
        return
    error, words = (
        (KeyTypeError, "is null") if expected[bad] == "null" else (ColumnError, "lies outside")
    )
    with pytest.raises(error, match=f"^key at position {bad} {words}"):
        column.tolist()
    assert column.tolist(0, bad) == expected[:bad]


@settings(max_examples=150, deadline=None)
@given(st.lists(offsets_arrays(False), min_size=1, max_size=4))
def test_fuzz_offsets(chunks: list[tuple[Any, Expected | None]]) -> None:
    assert_reads(schema(b"u"), chunks)


@settings(max_examples=100, deadline=None)
@given(st.lists(offsets_arrays(True), min_size=1, max_size=4))
def test_fuzz_large_offsets(chunks: list[tuple[Any, Expected | None]]) -> None:
    assert_reads(schema(b"Z"), chunks)


@settings(max_examples=150, deadline=None)
@given(st.lists(view_arrays(), min_size=1, max_size=4))
def test_fuzz_views(chunks: list[tuple[Any, Expected | None]]) -> None:
    assert_reads(schema(b"vz"), chunks)


@settings(max_examples=200, deadline=None)
@given(dictionary_arrays())
def test_fuzz_dictionaries(made: tuple[Any, Any, Expected | None]) -> None:
    assert_reads(made[0], [made[1:]])


# --- Hypothesis: both twins, any sound column -------------------------------------------------

ANY_KEY = (
    st.text(st.characters(), max_size=20)
    | st.binary(max_size=20)
    | st.integers(-(2**63) - 1, 2**64)
    | st.sampled_from(
        [None, True, 0.5, np.int8(-3), np.uint64(2**63), np.str_("s"), np.bytes_(b"b")]
    )
    | st.binary(max_size=20).map(bytearray)
    | st.binary(max_size=20).map(memoryview)
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY_KEY, max_size=30))
def test_mixed_lists_agree(container: list[Any]) -> None:
    assert_twins(container)
    objects = np.empty(len(container), object)
    objects[:] = container
    assert_twins(objects)
    assert_twins(objects[::-1])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=30))
def test_texts_agree_everywhere(texts: list[str]) -> None:
    expected = [t.encode() for t in texts]
    stripped = [t.rstrip("\0").encode() for t in texts]
    assert assert_twins(np.array(texts, StringDType()))[1] == expected
    assert assert_twins(np.array(texts, "U20"))[1] == stripped
    assert assert_twins(np.array(texts, ">U21"))[1] == stripped
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        assert assert_twins(pa.array(texts, kind))[1] == expected
    assert assert_twins(pa.array(texts, pa.string()).dictionary_encode())[1] == expected


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([o + k for o in "<>" for k in INT_TYPES]),
    st.binary(max_size=400),
    st.sampled_from([1, 2, 5, -1, -2]),
)
def test_any_integers_agree(kind: str, raw: bytes, step: int) -> None:
    numbers = np.frombuffer(raw[: len(raw) // 8 * 8], kind)[::step]
    assert assert_twins(numbers)[1] == [word(int(n)) for n in numbers]
