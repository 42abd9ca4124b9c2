"""The kernels of bounded loads do what their references do, and both keep their contract."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from inverse import COLLIDING

from ringleader._native import bounded as native
from ringleader._native import keys as native_keys
from ringleader._native import ring as native_ring
from ringleader._reference import bounded as reference
from ringleader._reference import keys as reference_keys
from ringleader._reference import ring as reference_ring
from ringleader.errors import (
    EmptyRingError,
    KeyRangeError,
    KeyTypeError,
    MisuseError,
    NodeNotFound,
    NodeTypeError,
)

ABSENT = 2**32 - 1
RINGS = {native: native_ring, reference: reference_ring}
KEYS = {native: native_keys, reference: reference_keys}


class Named(NamedTuple):
    name: str


def named(*names: str) -> tuple[Named, ...]:
    return tuple(Named(name) for name in sorted(names))


@pytest.fixture(params=["native", "reference"])
def bounded(request: pytest.FixtureRequest) -> ModuleType:
    return {"native": native, "reference": reference}[request.param]


def table(module: ModuleType, counts: list[int], kind: int = 0) -> Any:
    nodes = named(*(f"n{i:03}" for i in range(len(counts))))
    return RINGS[module].Table(kind, 0, 0, nodes, counts)


def assigned(
    module: ModuleType, on: Any, hashes: Any, room: list[int]
) -> tuple[list[int], int, list[int]]:
    out = np.full(len(hashes), 77, dtype=np.uint32)
    left = np.array(room, dtype=np.uint64)
    diverted = module.assign(on, np.array(hashes, dtype=np.uint64), left, out)
    return out.tolist(), diverted, left.tolist()


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any),
    st.integers(0, 400),
    st.floats(1.0, 3.0),
    st.integers(0, 2**32),
    st.sampled_from([4, 2**16, 2**64]),
)
@settings(max_examples=60)
def test_twins_assign_alike(
    counts: list[int], size: int, slack: float, seed: int, distinct: int
) -> None:
    """Few distinct hashes, too, which is a column of many equal keys."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 2**64, max(1, min(size, distinct)), dtype=np.uint64)
    hashes = rng.choice(words, size)
    live = [count > 0 for count in counts]
    each = -(-int(size * slack) // sum(live))
    room = [max(each, -(-size // sum(live))) if alive else 5 for alive in live]
    one, two = (table(module, counts) for module in (native, reference))
    found = assigned(native, one, hashes, room)
    assert found == assigned(reference, two, hashes, room)
    owners = two.owners()[np.searchsorted(two.tokens(), hashes) % two.point_count]
    owned = np.bincount(owners, minlength=len(counts)).tolist()
    assert found[1] == sum(max(0, n - r) for n, r in zip(owned, room, strict=True))
    got = np.bincount(np.array(found[0], dtype=np.int64), minlength=len(counts))
    assert all(n <= r for n, r in zip(got.tolist(), room, strict=True))
    assert not any(n for n, alive in zip(got.tolist(), live, strict=True) if not alive)
    # What is served does not depend on the order of the column.
    shuffled = rng.permutation(size)
    again = assigned(native, one, hashes[shuffled], room)
    pairs = zip(hashes[shuffled].tolist(), again[0], strict=True)
    assert sorted(pairs) == sorted(zip(hashes.tolist(), found[0], strict=True))


@pytest.mark.parametrize("size", [0, 1, 17, 2000, 30_000])
@pytest.mark.parametrize("slack", [1.0, 1.1])
def test_many_surplus_keys(simd: str, size: int, slack: float) -> None:
    """One point a node: half of the keys are surplus, and walks are long."""
    counts = [1] * 40
    rng = np.random.default_rng(size)
    hashes = rng.integers(0, 2**64, size, dtype=np.uint64)
    room = [int(-(-size * slack // 40))] * 40
    found = assigned(native, table(native, counts), hashes, room)
    if size <= 2000:
        assert found == assigned(reference, table(reference, counts), hashes, room)
    assert max(np.bincount(np.array([0, *found[0]]))) <= room[0] + 1
    on = table(native, counts)
    tokens, owners = on.tokens(), on.owners()
    own = owners[np.searchsorted(tokens, hashes) % 40]
    surplus = np.maximum(0, np.bincount(own, minlength=40) - room[0]).sum()
    assert found[1] == (np.array(found[0]) != own).sum() == surplus


def test_all_keys_are_one_key(bounded: ModuleType) -> None:
    """Selection and order by the place in the column: the first copies stay."""
    on = table(bounded, [3, 3, 3, 3])
    for size in (40, 4000):
        found, diverted, _ = assigned(bounded, on, [5] * size, [size // 4] * 4)
        assert diverted == size - size // 4
        runs = [found[i * size // 4 : (i + 1) * size // 4] for i in range(4)]
        assert all(len(set(run)) == 1 for run in runs)
        assert len({run[0] for run in runs}) == 4


def test_equal_tokens(bounded: ModuleType) -> None:
    nodes = named(*(name for pair in COLLIDING for name in pair))
    on = RINGS[bounded].Table(0, 0, 0, nodes, [5] * 6)
    hashes = np.concatenate([on.tokens(), on.tokens() + np.uint64(1)])
    found, _, _ = assigned(bounded, on, hashes, [10] * 6)
    assert np.bincount(found).tolist() == [10] * 6


def test_a_changed_ring_has_other_ids() -> None:
    base = native_ring.RingBase()
    base._build(0, 0, 0, named("b", "d", "f"), [20, 20, 20])
    base._add(0, Named("a"), 20)
    base._drop(2)
    twin = reference_ring.Table(0, 0, 0, named("a", "b", "f"), [20, 20, 20])
    hashes = np.random.default_rng(1).integers(0, 2**64, 300, dtype=np.uint64)
    for room in ([100, 100, 100], [150, 50, 100]):
        assert assigned(native, base.table, hashes, room) == assigned(reference, twin, hashes, room)


def test_surplus_of_any_locator() -> None:
    rng = np.random.default_rng(3)
    for size, nodes in ((0, 3), (10, 3), (3000, 7)):
        hashes = rng.integers(0, 2**64, size, dtype=np.uint64)
        owners = rng.integers(0, nodes, size, dtype=np.uint32)
        found = []
        for module in (native, reference):
            room = np.full(nodes, size // nodes, dtype=np.uint64)
            found.append((module.surplus(hashes, owners, room).tolist(), room.tolist()))
        assert found[0] == found[1]
        kept = np.delete(owners, np.array(found[0][0], dtype=np.int64))
        assert (np.bincount(kept, minlength=nodes) <= size // nodes).all()


def test_hashes_are_those_of_the_ring(bounded: ModuleType, simd: str) -> None:
    keys: list[Any] = [*(f"user:{i}" for i in range(1500)), b"x", 7, -1, "naïve", ""]
    for kind in range(4):
        on = table(bounded, [3, 4], kind)
        out = np.zeros(len(keys), dtype=np.uint64)
        bounded.hash_keys(on, KEYS[bounded].Column(keys), out, 0, len(keys))
        want = [reference_ring.hash_function(kind, 0, 0)(reference_keys.key_bytes(k)) for k in keys]
        assert out.tolist() == want
    words = np.arange(2500)
    out = np.zeros(2500, dtype=np.uint64)
    on = table(bounded, [1])
    bounded.hash_keys(on, KEYS[bounded].Column(words), out, 3, 2400)
    assert not out[:3].any()
    assert not out[2400:].any()
    hashed = reference_ring.hash_function(0, 0, 0)
    assert int(out[2399]) == hashed((2399).to_bytes(8, "little"))


def test_refusals_of_columns(bounded: ModuleType) -> None:
    on = table(bounded, [2, 2])
    hashes, out = np.zeros(3, dtype=np.uint64), np.zeros(3, dtype=np.uint32)
    with pytest.raises(ValueError, match="room for 2 of 3"):
        bounded.assign(on, hashes, np.array([1, 1], dtype=np.uint64), out)
    with pytest.raises(ValueError, match="length"):
        bounded.assign(on, hashes, np.array([9], dtype=np.uint64), out)
    with pytest.raises(ValueError, match="length"):
        bounded.assign(on, hashes, np.array([9, 9], dtype=np.uint64), out[:2])
    with pytest.raises(ValueError, match="no room at all"):
        bounded.surplus(hashes, out + np.uint32(2), np.array([9, 9], dtype=np.uint64))
    with pytest.raises(ValueError, match="3 hashes of 2 owners"):
        bounded.surplus(hashes, out[:2], np.array([9, 9], dtype=np.uint64))
    column = KEYS[bounded].Column(["a", 1.5, "b"])
    with pytest.raises(KeyTypeError, match="position 1 "):
        bounded.hash_keys(on, column, hashes, 0, 3)
    with pytest.raises(ValueError, match="range"):
        bounded.hash_keys(on, column, hashes, 0, 4)
    empty = table(bounded, [0, 0])
    with pytest.raises(EmptyRingError):
        bounded.assign(empty, hashes, np.array([9, 9], dtype=np.uint64), out)


# --- counters -------------------------------------------------------------------------------


class Cell:
    """A locator that is nothing but a table."""

    def __init__(self) -> None:
        self.table: Any = None


def loads_of(module: ModuleType) -> Any:
    """Counters over a `Cell`; shares are the points, the bound is 5/4."""

    class Loads(module.LoadsBase):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.cell = Cell()
            self._open(self.cell, True)

        def _follow(self, source: Any) -> None:
            source.check_wanted(1)
            names = [node.name for node in source.nodes]
            before, old, _, present, loads = self._bound
            slots = {name: slot for slot, name in enumerate(names)}
            mapping = []
            for slot, name in enumerate(old):
                if name not in slots:
                    if slot >= present and not loads[slot]:
                        mapping.append(ABSENT)
                        continue
                    slots[name] = len(names)
                    names.append(name)
                mapping.append(slots[name])
            counts = source.counts().tolist()
            shares = [5 * count for count in counts]
            self._bind(
                before, source, source, tuple(names), len(counts), mapping, shares, 4 * sum(counts)
            )

    return Loads()


NAMES = [f"n{i}" for i in range(5)]


class Counters(RuleBasedStateMachine):
    """Both twins beside each other, and beside the definition."""

    @initialize(start=st.dictionaries(st.sampled_from(NAMES), st.integers(0, 9), min_size=1))
    def build(self, start: dict[str, int]) -> None:
        self.nodes = start if any(start.values()) else {"n0": 3}
        self.twins = {module: loads_of(module) for module in (native, reference)}
        self.held: list[str] = []
        self.base = native_ring.RingBase()
        self.publish()

    def publish(self) -> None:
        nodes, counts = named(*self.nodes), [self.nodes[name] for name in sorted(self.nodes)]
        self.base = native_ring.RingBase() if not self.base.table.nodes else self.base
        self.base._build(0, 0, 0, nodes, counts)
        self.twins[native].cell.table = self.base.table
        self.twins[reference].cell.table = reference_ring.Table(0, 0, 0, nodes, counts)

    @rule(key=st.one_of(st.integers(-5, 60), st.text(max_size=3)))
    def acquire(self, key: Any) -> None:
        try:
            key.encode() if isinstance(key, str) else None
        except UnicodeEncodeError:
            return
        on = self.twins[reference].cell.table
        total = sum(name in self.nodes for name in self.held) + 1
        whole = sum(self.nodes.values())
        for position in on.walk(reference_keys.key_bytes(key), on.live_count):
            name = on.nodes[position].name
            if self.held.count(name) * 4 * whole < total * 5 * self.nodes[name]:
                break
        else:
            raise AssertionError("nobody has room")
        got = [twin.acquire(key) for twin in self.twins.values()]
        assert got == [name, name]
        self.held.append(name)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.held.remove(name)
        for twin in self.twins.values():
            twin.release(name)

    @rule(name=st.sampled_from(NAMES))
    def release_what_is_not_held(self, name: str) -> None:
        if name in self.held:
            return
        for twin in self.twins.values():
            with pytest.raises((MisuseError, NodeNotFound)):
                twin.release(name)

    @rule(name=st.sampled_from(NAMES), points=st.integers(0, 9))
    def change(self, name: str, points: int) -> None:
        rest = {other: count for other, count in self.nodes.items() if other != name}
        if points or any(rest.values()):
            self.nodes = {**rest, name: points}
            self.publish()

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        rest = {other: count for other, count in self.nodes.items() if other != name}
        if any(rest.values()):
            self.nodes = rest
            self.publish()

    @invariant()
    def counters_are_what_is_held(self) -> None:
        for twin in self.twins.values():
            assert len(twin) == len(self.held)
            names, present, loads, _, _ = twin._counts()
            assert list(names[:present]) == sorted(self.nodes)
            assert {n: load for n, load in zip(names, loads, strict=True) if load} == {
                name: self.held.count(name) for name in self.held
            }


TestCounters = Counters.TestCase
TestCounters.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_refusals_of_counters(bounded: ModuleType) -> None:
    loads = loads_of(bounded)
    with pytest.raises(NodeNotFound):
        loads.release("n000")
    loads.cell.table = table(bounded, [0, 0])
    with pytest.raises(EmptyRingError):
        loads.acquire("k")
    loads.cell.table = table(bounded, [2, 2])
    for key, error in ((1.5, KeyTypeError), (None, KeyTypeError), (2**64, KeyRangeError)):
        with pytest.raises(error):
            loads.acquire(key)
    assert len(loads) == 0
    name = loads.acquire("k")
    loads.release(name)
    with pytest.raises(MisuseError, match="holds nothing"):
        loads.release(name)
    with pytest.raises(NodeNotFound, match="'x'"):
        loads.release("x")
    with pytest.raises(NodeTypeError):
        loads.release(1)
    loads.cell.table = table(bounded, [0, 0])
    with pytest.raises(EmptyRingError):
        loads.acquire("k")


def test_products_of_128_bits(bounded: ModuleType) -> None:
    """Shares as large as they may be: the compare must not wrap."""
    loads = loads_of(bounded)
    on = table(bounded, [1, 1])
    loads.cell.table = on
    big = 2**62 - 1
    loads._bind(None, on, on, ("n000", "n001"), 2, [], [big, big], big)
    got = [loads.acquire(i) for i in range(100)]
    # Each may hold as many as there are: everybody is with its owner.
    out = np.zeros(100, dtype=np.uint32)
    on.lookup(KEYS[bounded].Column(list(range(100))), out, 0, 100)
    assert got == [f"n{position:03}" for position in out.tolist()]
    tight = loads_of(bounded)
    tight.cell.table = on
    tight._bind(None, on, on, ("n000", "n001"), 2, [], [big // 2 + 1, big // 2 + 1], big)
    got = [tight.acquire(i) for i in range(100)]
    assert sorted(got) == ["n000"] * 50 + ["n001"] * 50
