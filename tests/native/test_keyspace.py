"""The keys of a store, and their twin: as a dict, byte for byte and refusal for refusal."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator, MutableMapping
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader._native import keyspace as native
from ringleader.errors import FormatError

msgspec = pytest.importorskip("msgspec")
from ringleader._reference import keyspace as reference  # noqa: E402

KERNELS = (native, reference)
LONG = 2**60
keys = st.one_of(st.binary(max_size=3), st.sampled_from([b"", b"k" * 300, b"k" * 70_000]))
texts = st.one_of(st.binary(max_size=4), st.sampled_from([bytes(256), bytes(65_536)]))
values = st.one_of(texts, st.dictionaries(st.binary(max_size=3), texts, max_size=20))
pairs = st.lists(st.tuples(keys, values), max_size=30)
encode = msgspec.msgpack.Encoder().encode


@pytest.fixture(params=KERNELS, ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


def byte_count(model: dict[bytes, Any]) -> int:
    return sum(len(key) + len(value) * (type(value) is bytes) for key, value in model.items())


def assert_same(space: Any, model: dict[bytes, Any]) -> None:
    assert list(space) == list(model)
    assert len(space) == len(model)
    assert space == model
    assert model == space
    assert list(space.items()) == list(model.items())
    assert list(space.values()) == list(model.values())
    assert space.dicts() == [value for value in model.values() if type(value) is dict]
    assert space.byte_count == byte_count(model)


changes = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, values),
        st.tuples(st.just("pop"), keys, st.none()),
        st.tuples(st.just("delete"), keys, st.none()),
        st.tuples(st.just("batch"), st.lists(st.tuples(keys, texts), max_size=9), st.none()),
    ),
    max_size=40,
)


@pytest.mark.parametrize("kernel", KERNELS, ids=["native", "reference"])
@given(changes)
def test_as_a_dict(kernel: ModuleType, changes: list[tuple[str, Any, Any]]) -> None:
    space: Any = kernel.Keyspace()
    model: dict[bytes, Any] = {}
    for kind, key, value in changes:
        if kind == "set":
            space[key] = model[key] = value
        elif kind == "pop":
            assert space.pop(key, None) == model.pop(key, None)
            assert key not in space
        elif kind == "delete":
            if key in model:
                del space[key], model[key]
            else:
                with pytest.raises(KeyError):
                    del space[key]
        else:
            payload = encode((7, [(b"SET", *pair) for pair in key]))
            replaced = []
            for name, text in key:
                if type(model.get(name)) is dict:
                    replaced.append(model[name])
                model[name] = text
            assert space.set_batch(payload, 100, LONG) == (7, len(key), replaced)
    assert_same(space, model)
    assert space.get(b"none", 1) == model.get(b"none", 1)
    copied = space.copy()
    copied[b"more"] = b""
    assert b"more" not in model
    assert_same(space, model)
    packed = space.pack()
    assert packed == encode(model)
    assert_same(kernel.Keyspace.unpack(packed), model)


def test_many_keys(kernel: ModuleType) -> None:
    rng = random.Random(1)
    space, model = kernel.Keyspace(), dict[bytes, bytes]()
    for round_ in range(4):
        for _ in range(4_000):
            key = b"%d" % rng.randrange(3_000)
            if rng.random() < (0.9, 0.1, 0.5, 0.0)[round_]:
                space[key] = model[key] = rng.randbytes(rng.randrange(20))
            else:
                assert space.pop(key, b"") == model.pop(key, b"")
        assert_same(space, model)
    for key in list(model):
        del space[key]
    assert_same(space, {})


@given(pairs)
def test_made_of_pairs(items: list[tuple[bytes, Any]]) -> None:
    for kernel in KERNELS:
        assert_same(kernel.Keyspace(items), dict(items))
        assert_same(kernel.Keyspace(dict(items)), dict(items))


SETS = encode((5, [(b"SET", b"k", b"v"), (b"set", b"l", bytes(300))]))
OTHERS: list[Any] = [
    (5, [(b"SET", b"k", b"v", b"NX")]),
    (5, [(b"SET", b"k", b"v"), (b"DEL", b"k")]),
    (5, [(b"SET", b"k", b"v"), (b"sEt", b"k", b"v")]),
    (5, [(b"GET", b"k", b"v")]),
    (5, [(b"SET", "k", b"v")]),
    (5, [(b"SET", b"k", 1)]),
    (5, [()]),
    (5, {b"k": b"v"}),
    (-1, [(b"SET", b"k", b"v")]),
    (11, [(b"SET", b"k", b"v")]),
    (5, [(b"SET", b"k", b"v")] * 4),
    (5, [(b"SET", b"k", b"v")], 1),
    (5,),
    [],
    {},
    5,
    b"",
]


@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_other_batches_change_nothing(kernel: ModuleType, other: Any) -> None:
    space = kernel.Keyspace({b"k": b"old"})
    assert space.set_batch(encode(other), 3, 10) is None
    assert_same(space, {b"k": b"old"})
    assert space.set_batch(encode((0, [])), 3, 10) == (0, 0, [])


@pytest.mark.parametrize("number", [0, 127, 128, 2**8, 2**16, 2**32, LONG])
def test_numbers(kernel: ModuleType, number: int) -> None:
    space = kernel.Keyspace()
    payload = encode((number, [(b"SET", b"k", b"v")]))
    assert space.set_batch(memoryview(payload), 1, number) == (number, 1, [])
    assert number == 0 or space.set_batch(payload, 1, number - 1) is None


def test_cut_off_batches_change_nothing(kernel: ModuleType) -> None:
    space = kernel.Keyspace()
    for size in range(len(SETS)):
        assert space.set_batch(SETS[:size], 3, 10) is None
    assert space.set_batch(SETS + b"\0", 3, 10) is None
    assert len(space) == 0
    assert space.set_batch(SETS, 3, 10) == (5, 2, [])
    assert_same(space, {b"k": b"v", b"l": bytes(300)})


@given(st.data())
def test_damaged_bytes(data: st.DataObject) -> None:
    """The twins take the same batches and maps; where the native one is stricter about how a number
    is written, it takes nothing, and its caller looks more closely."""
    packed = bytearray(
        data.draw(
            st.sampled_from([SETS, encode({b"k": b"v", b"h": {b"f": b"v"}}), b"\x80", b"\xdf"])
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(packed) - 1))
        packed[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b"\xc4\x93\x82")))
    raw = bytes(packed)
    one, two = native.Keyspace(), reference.Keyspace()
    done = one.set_batch(raw, 10, LONG)
    if done is not None:
        assert done == two.set_batch(raw, 10, LONG)
        assert one == two
    try:
        made = native.Keyspace.unpack(raw)
    except FormatError:
        with pytest.raises(FormatError):
            reference.Keyspace.unpack(raw)
    else:
        assert made == reference.Keyspace.unpack(raw)


@given(st.binary(max_size=60))
def test_any_bytes(raw: bytes) -> None:
    assert (native.Keyspace().set_batch(raw, 10, LONG) is None) or reference.Keyspace().set_batch(
        raw, 10, LONG
    )
    refused = 0
    for kernel in KERNELS:
        try:
            kernel.Keyspace.unpack(raw)
        except FormatError:
            refused += 1
    assert refused in (0, 2)


@pytest.mark.parametrize(
    "head", [b"\xdf\xff\xff\xff\xff", b"\x81\xc6\xff\xff\xff\xff", b"\x81\xc4"]
)
def test_counts_of_what_is_not_there(kernel: ModuleType, head: bytes) -> None:
    with pytest.raises(FormatError):
        kernel.Keyspace.unpack(head)
    assert kernel.Keyspace().set_batch(b"\x92\x05" + head, 10, LONG) is None
    assert kernel.Keyspace().set_batch(b"\x92\x05\xdd\xff\xff\xff\xff", 2**32 - 1, LONG) is None


def test_keys_and_values_of_other_types(kernel: ModuleType) -> None:
    space: Any = kernel.Keyspace()
    wrong: Any
    for wrong in ("k", None, 1, bytearray(b"k"), memoryview(b"k")):
        for call in (space.__contains__, space.get, space.pop, space.__getitem__):
            with pytest.raises((TypeError, KeyError)):
                call(wrong)
        with pytest.raises(TypeError):
            space[wrong] = b"v"
        with pytest.raises(TypeError):
            space[b"k"] = wrong
    with pytest.raises(KeyError):
        space[b"k"]
    with pytest.raises(KeyError):
        space.pop(b"k")
    with pytest.raises(TypeError):
        hash(space)
    assert len(space) == 0
    assert space != 5
    assert space != {b"k": b""}
    assert kernel.Keyspace({b"k": b""}) != {b"l": b""}
    assert isinstance(space, MutableMapping)
    assert repr(kernel.Keyspace({b"k": b"v"})) == "Keyspace({b'k': b'v'})"


@pytest.mark.parametrize("change", ["add", "remove", "both"])
def test_changes_during_iteration(kernel: ModuleType, change: str) -> None:
    space = kernel.Keyspace({b"%d" % number: b"" for number in range(10)})

    def walk() -> Iterator[bytes]:
        for key in space:
            space[key] = b"a value may change"
            yield key

    assert len(list(walk())) == 10
    steps = walk()
    next(steps)
    if change != "remove":
        space[b"new"] = b""
    if change != "add":
        del space[b"5"]
    if change == "both" and kernel is reference:
        return  # a dict only counts
    with pytest.raises(RuntimeError):
        next(steps)


def test_dicts_are_held_and_let_go(kernel: ModuleType) -> None:
    class Freed(dict[bytes, bytes]):
        pass

    fields = {b"f": b"v"}
    space = kernel.Keyspace({b"h": fields})
    space[b"h"][b"g"] = b"w"
    assert fields == {b"f": b"v", b"g": b"w"}
    assert space[b"h"] is fields
    with pytest.raises(TypeError):
        space[b"h"] = Freed()
    referents = [len(gc.get_referrers(fields))]
    space[b"h"] = b"text"
    space[b"h"] = fields
    assert space.pop(b"h") is fields
    space[b"h"] = fields
    assert space.set_batch(encode((1, [(b"SET", b"h", b"")])), 1, 1) == (1, 1, [fields])
    space[b"h"] = fields
    del space
    gc.collect()
    assert len(gc.get_referrers(fields)) <= referents[0]
    assert fields == {b"f": b"v", b"g": b"w"}


def test_references_are_counted() -> None:
    fields = {b"f": b"v"}
    before = sys.getrefcount(fields)
    space = native.Keyspace({b"h": fields, b"i": fields})
    assert sys.getrefcount(fields) == before + 2
    space[b"h"] = fields
    assert sys.getrefcount(fields) == before + 2
    space[b"h"] = b""
    space.pop(b"i")
    assert sys.getrefcount(fields) == before
    space[b"h"] = fields
    assert space.set_batch(encode((1, [(b"SET", b"h", b"")])), 1, 1)
    assert sys.getrefcount(fields) == before
    space[b"h"] = fields
    del space[b"h"]
    space[b"h"] = fields
    del space
    assert sys.getrefcount(fields) == before
