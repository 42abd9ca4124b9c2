"""The public driver: any container in, one array out, whole or not at all."""

from __future__ import annotations

import array
import re
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from ringleader import keys, limits
from ringleader.errors import (
    ColumnError,
    KeyTypeError,
    OutputError,
    OutputTypeError,
    SettingError,
    SettingTypeError,
)

TEXTS = [f"key:{n}" for n in range(100)]


def checksum(column: Any, result: NDArray[Any], lo: int, hi: int) -> None:
    """A kernel: the CRC of every key, and in further columns that plus one, two, ..."""
    sums = np.array([zlib.crc32(key) for key in column.tolist(lo, hi)], np.uint64)
    if result.ndim == 1:
        result[lo:hi] = sums
    else:
        result[lo:hi] = sums[:, None] + np.arange(result.shape[1], dtype=np.uint64)


def expected(texts: list[Any]) -> NDArray[Any]:
    return np.array([zlib.crc32(keys.key_bytes(t)) for t in texts], np.uint64)


def compute(container: Any, **options: Any) -> NDArray[Any]:
    return keys.compute(container, checksum, np.uint64, **options)


# --- containers -------------------------------------------------------------------------------


class WithArray:
    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.array(TEXTS)


class WithoutPyarrow(WithArray):
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        raise ImportError("pyarrow is required")


def generator() -> Iterator[str]:
    yield from TEXTS


CONTAINERS: dict[str, Callable[[], Any]] = {
    "list": lambda: list(TEXTS),
    "tuple": lambda: tuple(TEXTS),
    "list subclass": lambda: type("Names", (list,), {})(TEXTS),
    "array": lambda: np.array(TEXTS),
    "array subclass": lambda: np.array(TEXTS).view(type("Texts", (np.ndarray,), {})),
    "column": lambda: keys.as_column(TEXTS),
    "arrow": lambda: pa.array(TEXTS),
    "arrow chunked": lambda: pa.chunked_array([TEXTS[:7], TEXTS[7:]]),
    "__array__": WithArray,
    "__arrow_c_stream__ without pyarrow": WithoutPyarrow,
    "iterator": lambda: iter(TEXTS),
    "generator": generator,
    "deque": lambda: deque(TEXTS),
    "dict keys": lambda: dict.fromkeys(TEXTS).keys(),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_the_same(name: str) -> None:
    result = compute(CONTAINERS[name]())
    assert result.dtype == np.uint64
    assert result.tolist() == expected(TEXTS).tolist()
    wide = compute(CONTAINERS[name](), width=3)
    assert wide.shape == (100, 3)
    assert wide[:, 2].tolist() == (expected(TEXTS) + np.uint64(2)).tolist()
    out = np.zeros(100, np.uint64)
    assert compute(CONTAINERS[name](), out=out) is out
    assert out.tolist() == result.tolist()
    assert keys.as_column(CONTAINERS[name]()).tolist() == [t.encode() for t in TEXTS]


def test_array_array() -> None:
    numbers = array.array("h", [1, -2, 3])
    assert compute(numbers).tolist() == expected([1, -2, 3]).tolist()
    with pytest.raises(KeyTypeError, match="array of float64"):
        compute(array.array("d", [1.0]))


@pytest.mark.parametrize("values", [["a", 1, b"c"], [2**64 - 1, "x", -5]])
def test_pandas_objects_are_not_guessed_at(values: list[Any]) -> None:
    pandas = pytest.importorskip("pandas")
    assert compute(pandas.Series(values, dtype=object)).tolist() == expected(values).tolist()
    assert compute(pandas.Index(values, dtype=object)).tolist() == expected(values).tolist()


def test_pandas_numbers_are_read_in_place() -> None:
    pandas = pytest.importorskip("pandas")
    numbers = np.arange(10)
    column = keys.as_column(pandas.Series(numbers, copy=False))
    assert column.is_words
    assert column.overlaps(numbers.ctypes.data, numbers.nbytes)
    with pytest.raises(KeyTypeError, match="array of float64"):
        compute(pandas.Series([1.0, None]))
    with pytest.raises(KeyTypeError, match="array of datetime64"):
        compute(pandas.to_datetime(pandas.Series(["2020-01-01"])))


@pytest.mark.parametrize("container", [[], (), np.array([], "i8"), pa.array([], pa.string())])
def test_no_keys(container: Any) -> None:
    assert compute(container).shape == (0,)
    assert compute(container, width=2).shape == (0, 2)
    assert compute(iter(container), width=2).shape == (0, 2)
    out = np.empty((0, 2), np.uint64)
    assert compute(container, width=2, out=out) is out
    assert compute(container, threads=2).shape == (0,)


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ("one", r"^str is one key, not a column of keys; use get_node\(key\), or put it in a list"),
        (b"one", "^bytes is one key"),
        (bytearray(b"one"), "^bytearray is one key"),
        (memoryview(b"one"), "^memoryview is one key"),
        (1, "^int is one key"),
        (np.int64(1), "^int64 is one key"),
        (np.str_("one"), "^str_ is one key"),
        ({"a": 1}, "^dict is a mapping, not a column of keys"),
        (None, "^NoneType is not a column of keys"),
        (1.5, "^float is not a column of keys"),
        (np.zeros(3), "^an array of float64"),
        (object(), "^object is not a column of keys"),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)),
)
def test_what_is_no_column_is_refused(container: Any, words: str) -> None:
    with pytest.raises(KeyTypeError, match=words):
        compute(container)
    with pytest.raises(KeyTypeError, match=words):
        keys.as_column(container)


def test_more_than_one_dimension_is_refused() -> None:
    with pytest.raises(ColumnError, match=r"shape \(2, 2\)"):
        compute(np.zeros((2, 2), int))


# --- iterators --------------------------------------------------------------------------------


def test_iterators_are_taken_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "ITERATOR_CHUNK_KEYS", 16)
    taken = 0
    seen = []

    def count() -> Iterator[str]:
        nonlocal taken
        for text in TEXTS:
            taken += 1
            yield text

    def kernel(column: Any, result: NDArray[Any], lo: int, hi: int) -> None:
        seen.append(taken)
        checksum(column, result, lo, hi)

    result = keys.compute(count(), kernel, np.uint64)
    assert result.tolist() == expected(TEXTS).tolist()
    assert seen == [16, 32, 48, 64, 80, 96, 100]


@pytest.mark.parametrize("at", [0, 15, 16, 99])
def test_positions_in_iterators_are_global(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "ITERATOR_CHUNK_KEYS", 16)
    broken: list[Any] = list(TEXTS)
    broken[at] = None
    with pytest.raises(KeyTypeError, match=f"^key at position {at} is None"):
        compute(iter(broken))
    with pytest.raises(KeyTypeError, match=f"^key at position {at} is None"):
        compute(iter(broken), out=np.zeros(100, np.uint64))


def test_an_iterator_that_raises_is_heard() -> None:
    with pytest.raises(ZeroDivisionError):
        compute(1 // (n - 5) for n in range(10))


# --- out --------------------------------------------------------------------------------------


def read_only() -> NDArray[Any]:
    out = np.zeros(100, np.uint64)
    out.flags.writeable = False
    return out


def unaligned() -> NDArray[Any]:
    return np.zeros(801, np.uint8)[1:].view(np.uint64)


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        ([0] * 100, OutputTypeError, "writeable array of uint64, shape .100,.; it is list"),
        (np.zeros(100, np.int64), OutputTypeError, "its dtype is int64"),
        (np.zeros(100, np.uint32), OutputTypeError, "its dtype is uint32"),
        (np.zeros(100, np.dtype(np.uint64).newbyteorder()), OutputTypeError, "its dtype is .u8"),
        (np.zeros(99, np.uint64), OutputError, "its shape is .99,."),
        (np.zeros((100, 1), np.uint64), OutputError, "its shape is .100, 1."),
        (np.zeros(200, np.uint64)[::2], OutputError, "it is not C-contiguous"),
        (read_only(), OutputError, "it is read-only"),
        (unaligned(), OutputError, "it is not aligned"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_out_that_cannot_take_the_results(out: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        compute(TEXTS, out=out)


def test_out_of_the_wrong_width() -> None:
    with pytest.raises(OutputError, match=r"shape \(100, 3\); its shape is \(100,\)"):
        compute(TEXTS, width=3, out=np.zeros(100, np.uint64))
    with pytest.raises(OutputError, match="not C-contiguous"):
        compute(TEXTS, width=3, out=np.zeros((3, 100), np.uint64).T)


def test_out_that_overlaps_the_keys() -> None:
    memory = np.arange(150, dtype=np.uint64)
    for numbers in (memory[:100], memory[50:], memory[99::-1], memory[:100].view(np.int64)):
        with pytest.raises(OutputError, match="it overlaps the keys"):
            compute(numbers, out=memory[:100])
    arrow = pa.Array.from_buffers(pa.uint64(), 100, [None, pa.py_buffer(memory)])
    with pytest.raises(OutputError, match="it overlaps the keys"):
        compute(arrow, out=memory[:100])
    memory[:] = np.arange(150)
    result = compute(memory[100:], out=memory[:50])
    assert result.tolist() == expected(list(range(100, 150))).tolist()


def test_an_error_leaves_out_as_it_was() -> None:
    broken: list[Any] = [*TEXTS[:99], None]
    for container in (broken, iter(broken), np.array(broken, object), pa.array(broken)):
        out = np.full(100, 7, np.uint64)
        with pytest.raises(KeyTypeError, match="position 99"):
            compute(container, out=out)
        assert (out == 7).all()


# --- threads ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "error", "words"),
    [
        (0, SettingError, "threads=0 is not within 1 ... 1024"),
        (-1, SettingError, "threads=-1"),
        (1025, SettingError, "threads=1025"),
        (True, SettingTypeError, "threads is bool"),
        (1.0, SettingTypeError, "threads is float"),
        (None, SettingTypeError, "threads is NoneType"),
        ("2", SettingTypeError, "threads is str"),
    ],
)
def test_threads_that_are_no_number_of_threads(
    threads: Any, error: type[Exception], words: str
) -> None:
    for container in (TEXTS, iter(TEXTS), []):
        with pytest.raises(error, match=words):
            compute(container, threads=threads)


@pytest.fixture
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "THREAD_KEYS_MIN", 10)


@pytest.mark.usefixtures("small_shares")
@pytest.mark.parametrize("threads", [1, 2, 3, 7, 64, np.int8(2)])
def test_any_number_of_threads_gives_the_same(threads: Any) -> None:
    for container in (np.array(TEXTS), pa.array(TEXTS), TEXTS, iter(TEXTS)):
        assert compute(container, threads=threads).tolist() == expected(TEXTS).tolist()
    wide = compute(pa.array(TEXTS), width=2, threads=threads)
    assert wide[:, 0].tolist() == expected(TEXTS).tolist()


@pytest.mark.usefixtures("small_shares")
def test_the_work_is_shared_out_and_all_threads_are_gone_after() -> None:
    who = {}

    def kernel(column: Any, result: NDArray[Any], lo: int, hi: int) -> None:
        who[lo, hi] = threading.current_thread()
        checksum(column, result, lo, hi)

    before = threading.active_count()
    keys.compute(pa.array(TEXTS), kernel, np.uint64, threads=3)
    assert threading.active_count() == before
    assert sorted(who) == [(0, 33), (33, 66), (66, 100)]
    assert who[0, 33] is threading.current_thread()
    assert len(set(who.values())) == 3
    who.clear()
    keys.compute(TEXTS, kernel, np.uint64, threads=3)  # Python objects: one thread
    assert list(who) == [(0, 100)]
    who.clear()
    keys.compute(pa.array(TEXTS[:19]), kernel, np.uint64, threads=3)  # too few for two
    assert list(who) == [(0, 19)]


@pytest.mark.usefixtures("small_shares")
def test_the_error_at_the_lowest_position_wins() -> None:
    broken: list[Any] = list(TEXTS)
    broken[60] = broken[90] = None
    out = np.full(100, 7, np.uint64)
    before = threading.active_count()
    with pytest.raises(KeyTypeError, match=r"^key at position 60 is null"):
        compute(pa.array(broken), threads=3, out=out)
    assert (out == 7).all()
    assert threading.active_count() == before


def test_limits_agree_with_the_kernels() -> None:
    header = Path(__file__).parents[1] / "csrc" / "keys.h"
    found = re.search(r"#define RL_BLOCK_KEYS (\d+)", header.read_text())
    assert found is not None
    assert int(found[1]) == limits.BLOCK_KEYS
