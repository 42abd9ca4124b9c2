"""Bounded loads: never above the bound, few diversions, and only the moves that are needed."""

from __future__ import annotations

import json
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringleader import HashRing, Node, kernels
from ringleader.errors import (
    EmptyRingError,
    KeyNotHeld,
    KeyTypeError,
    MisuseError,
    NodeNotFound,
    OutputError,
    OutputTypeError,
    RingleaderError,
    SettingError,
    SettingTypeError,
)
from ringleader.keys import as_column
from ringleader.placement import BoundedKeys, BoundedLoads, assign_bounded
from ringleader.placement.bounded import capacities, checked_bound, shares_of, walk
from ringleader.placement.bounded_keys import Move
from ringleader.placement.jump import JumpHash
from ringleader.placement.ketama import KetamaRing
from ringleader.placement.nginx import NginxRing
from ringleader.placement.slots import RedisSlots
from ringleader.placement.tokens import TokenRing

VECTORS = Path(__file__).parents[1] / "vectors"
Sized = Callable[[int], int]
C = st.sampled_from([1.01, 1.1, 1.25, 2, Fraction(4, 3), 50.0])


class Plain:
    """A locator that is no ring of ours: an order of the nodes for every key."""

    def __init__(self, nodes: dict[str, float]) -> None:
        self.set(nodes)

    def set(self, nodes: dict[str, float]) -> None:
        self._nodes = [Node(name, weight) for name, weight in sorted(nodes.items())]

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._nodes)  # another object each time

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self._nodes)

    def get_nodes(self, key: Any, n: int) -> list[str]:
        live = [node.name for node in self._nodes if node.weight]
        seed = key if isinstance(key, bytes) else key.to_bytes(8, "little")
        return random.Random(seed).sample(live, len(live))[:n]

    def __len__(self) -> int:
        return len(self._nodes)

    def get_node(self, key: Any) -> str:
        return self.get_nodes(key, 1)[0]

    __getitem__ = get_node

    def lookup(self, keys: Any, out: Any = None, threads: int = 1) -> Any:
        names = self.names
        found = [names.index(self.get_node(key)) for key in as_column(keys).tolist()]
        return np.array(found, np.uint32)

    def lookup_replicas(self, keys: Any, n: int, out: Any = None, threads: int = 1) -> Any:
        raise NotImplementedError

    def stats(self) -> Any:
        raise NotImplementedError

    def diff(self, other: Any, policy: Any = None, *, down: Any = ()) -> Any:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        raise NotImplementedError


# --- the bound ------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 1e6) | st.integers(0, 9), min_size=1, max_size=9).filter(any),
    st.integers(0, 10**7),
    C,
)
def test_capacities_are_the_formula(weights: list[float], count: int, c: Any) -> None:
    nodes = [Node(f"n{i}", weight) for i, weight in enumerate(weights)]
    found = capacities(nodes, count, c)
    exact = [Fraction(repr(node.weight)) for node in nodes]
    factor = Fraction(c) if not isinstance(c, float) else Fraction(repr(c))
    want = [math.ceil(factor * count * weight / sum(exact)) for weight in exact]
    assert all(abs(got - due) <= 1 for got, due in zip(found, want, strict=True))
    assert sum(found) >= count
    shares, whole = shares_of([node.weight for node in nodes], factor)
    if all(
        Fraction(s, whole) == factor * w / sum(exact) for s, w in zip(shares, exact, strict=True)
    ):
        assert found == want
    assert max(whole, *shares) < 2**62
    assert sum(shares) > whole


def test_decimals_mean_what_they_say() -> None:
    assert capacities([Node("a")], 10, 1.1) == [11]
    assert capacities([Node("a", 0.1), Node("b", 0.2)], 30, 1.5) == [15, 30]
    assert capacities([Node("a", 1e-300), Node("b", 1e300)], 30, 1.5) == [1, 45]


@pytest.mark.parametrize(
    ("c", "error"),
    [(1, SettingError), (1.0, SettingError), (0.5, SettingError), (-2, SettingError),
     (math.nan, SettingError), (math.inf, SettingError), (2**20 + 1, SettingError),
     (Fraction(1), SettingError), (True, SettingTypeError), ("2", SettingTypeError),
     (None, SettingTypeError), (2j, SettingTypeError)],
)  # fmt: skip
def test_bounds_that_are_refused(c: Any, error: type[Exception]) -> None:
    ring = HashRing(["a", "b"])
    for call in (
        lambda: assign_bounded(ring, ["k"], c),
        lambda: BoundedLoads(ring, c),
        lambda: BoundedKeys(ring, c),
        lambda: capacities(ring.nodes, 5, c),
    ):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, RingleaderError)


def test_c_of_other_kinds() -> None:
    assert checked_bound(np.float64(1.1)) == Fraction(11, 10)
    assert checked_bound(2) == 2
    assert checked_bound(Fraction(5, 4)) == Fraction(5, 4)


def test_what_is_no_locator() -> None:
    for make in (BoundedLoads, BoundedKeys):
        with pytest.raises(SettingTypeError, match="list"):
            make(["a"])  # type: ignore[arg-type]


# --- a whole column -------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([0, 0.5, 1, 3]), min_size=1)
    .filter(lambda nodes: any(nodes.values())),
    st.integers(0, 500),
    C,
    st.integers(1, 30),
)  # fmt: skip
@settings(max_examples=50)
def test_columns_keep_every_promise(
    nodes: dict[str, float], size: int, c: Any, vnodes: int
) -> None:
    ring = HashRing(nodes, vnodes=vnodes)
    keys = list(range(size))
    found = assign_bounded(ring, keys, c)
    room = capacities(ring.nodes, size, c)
    got = np.bincount(found, minlength=len(ring)).tolist()
    assert all(load <= bound for load, bound in zip(got, room, strict=True))
    owners = ring.lookup(keys)
    owned = np.bincount(owners, minlength=len(ring)).tolist()
    fewest = sum(max(0, n - bound) for n, bound in zip(owned, room, strict=True))
    assert (found != owners).sum() == fewest
    full = {at for at in range(len(ring)) if got[at] == room[at]}
    live = sum(node.weight > 0 for node in ring.nodes)
    for key, at in zip(keys, found.tolist(), strict=True):
        for name in ring.get_nodes(key, live):
            if name == ring.names[at]:
                break
            assert ring.names.index(name) in full  # the first node on its walk that is not full
    shuffled = random.Random(size).sample(keys, size)
    again = dict(zip(shuffled, assign_bounded(ring, shuffled, c).tolist(), strict=True))
    assert again == dict(zip(keys, found.tolist(), strict=True))


def test_golden_vectors() -> None:
    """Made by a program of its own, from the words of docs/formats.md."""
    cases = json.loads((VECTORS / "bounded.json").read_text("utf-8"))
    assert len(cases) == 4
    diverted = 0
    for case in cases:
        weights = {name: float(weight) for name, weight in case["weights"].items()}
        ring = HashRing(weights, vnodes=case["vnodes"], seed=case["seed"])
        c = Fraction(case["c"]) if "/" in case["c"] else float(case["c"])
        found = assign_bounded(ring, case["keys"], c)
        assert [ring.names[at] for at in found] == case["nodes"]
        pairs = zip(case["keys"], case["nodes"], strict=True)
        diverted += sum(ring[key] != name for key, name in pairs)
    assert diverted > 50


def test_serving_in_order_would_divert_more(sized: Sized) -> None:
    """What the two rounds are for."""
    ring = HashRing([f"n{i}" for i in range(20)], vnodes=4)
    keys = list(range(sized(10_000)))
    room = capacities(ring.nodes, len(keys), 1.05)
    left, diverted = dict(zip(ring.names, room, strict=True)), 0
    for key in keys:
        for name in walk(ring, key, 20):
            if left[name]:
                left[name] -= 1
                diverted += name != ring[key]
                break
    ours = (assign_bounded(ring, keys, 1.05) != ring.lookup(keys)).sum()
    assert ours < 0.9 * diverted


def test_columns_of_every_kind(sized: Sized) -> None:
    ring = HashRing([f"n{i}" for i in range(10)], vnodes=3)
    words = np.random.default_rng(1).integers(0, 2**64, sized(100_000), dtype=np.uint64)
    want = assign_bounded(ring, words, 1.1)
    assert want.dtype == np.uint32
    for threads in (2, 3):
        assert (assign_bounded(ring, words, 1.1, threads=threads) == want).all()
    assert (assign_bounded(ring, words.tolist(), 1.1) == want).all()
    assert (assign_bounded(ring, iter(words.tolist()), 1.1) == want).all()
    out = np.full(len(words), 99, dtype=np.uint32)
    assert assign_bounded(ring, words, 1.1, out) is out
    assert (out == want).all()
    texts = [f"user:{i}" for i in range(500)]
    assert (assign_bounded(ring, texts) == assign_bounded(ring, np.array(texts))).all()
    assert assign_bounded(ring, []).shape == (0,)
    changed = ring.copy()
    changed.add_node("extra")
    changed.remove_node("extra")
    assert (assign_bounded(changed, words, 1.1) == want).all()


def test_columns_over_any_locator() -> None:
    locator = Plain({"a": 1, "b": 2, "c": 0, "d": 1})
    keys = list(range(400))
    found = assign_bounded(locator, keys, 1.1)
    room = capacities(locator.nodes, 400, 1.1)
    got = np.bincount(found, minlength=4).tolist()
    assert all(load <= bound for load, bound in zip(got, room, strict=True))
    names = locator.names
    owners = [names.index(locator.get_node(key)) for key in keys]
    owned = Counter(owners)
    assert (found != np.array(owners)).sum() == sum(max(0, owned[i] - room[i]) for i in range(4))
    assert (assign_bounded(locator, iter(keys), 1.1) == found).all()
    # A ring that is asked through the protocol alone promises the same.
    ring = HashRing(["a", "b", "c"], vnodes=2)
    proxy = Plain({"a": 1, "b": 1, "c": 1})
    proxy.get_nodes = lambda key, n: ring.get_nodes(key, n)  # type: ignore[method-assign]
    one, two = assign_bounded(ring, keys, 1.01), assign_bounded(proxy, keys, 1.01)
    assert np.bincount(one, minlength=3).tolist() == np.bincount(two, minlength=3).tolist()


@pytest.mark.parametrize("kind", [KetamaRing, NginxRing, TokenRing, RedisSlots, JumpHash])
def test_other_locators_of_ours(kind: Any) -> None:
    """Rings of other hashes take the fast way, the rest the protocol's."""
    names = [f"10.0.0.{i}:11211" for i in range(5)]
    locator = kind(5) if kind is JumpHash else kind(names)
    keys = [f"user:{i}" for i in range(1000)]
    found, owners = assign_bounded(locator, keys, 1.02), locator.lookup(keys)
    room = np.array(capacities(locator.nodes, len(keys), 1.02))
    assert (np.bincount(found, minlength=5) <= room).all()
    fewest = np.maximum(0, np.bincount(owners, minlength=5) - room).sum()
    assert (found != owners).sum() == fewest
    loads, workers = BoundedLoads(locator, 1.1), BoundedKeys(locator, 1.1)
    for key in keys[:200]:
        loads.acquire(key)
        workers.acquire(key)
    assert loads.excess() == {}
    assert all(load <= 44 for load in [*loads.loads().values(), *workers.loads().values()])


def test_refusals_of_columns() -> None:
    ring = HashRing(["a", "b"])
    with pytest.raises(KeyTypeError, match="position 1 "):
        assign_bounded(ring, ["k", 1.5])
    for empty in (HashRing(), HashRing({"a": 0})):
        with pytest.raises(EmptyRingError):
            assign_bounded(empty, ["k"])
    with pytest.raises(EmptyRingError):
        assign_bounded(Plain({"a": 0}), ["k"])
    with pytest.raises(SettingError):
        assign_bounded(ring, ["k"], threads=0)
    for out, error in (
        ([0], OutputTypeError),
        (np.zeros(1, np.int64), OutputTypeError),
        (np.zeros(2, np.uint32), OutputError),
        (np.zeros((1, 1), np.uint32), OutputError),
        (np.zeros(2, np.uint32)[::2], None),
    ):
        if error is None:
            continue
        with pytest.raises(error):
            assign_bounded(ring, ["k"], out=out)  # type: ignore[arg-type]
    frozen = np.zeros(1, np.uint32)
    frozen.flags.writeable = False
    with pytest.raises(OutputError):
        assign_bounded(ring, ["k"], out=frozen)


# --- counters -------------------------------------------------------------------------------

NAMES = [f"n{i}" for i in range(6)]
WEIGHTS = st.sampled_from([0, 0.5, 1, 2])


class Balancer(RuleBasedStateMachine):
    """`BoundedLoads` over a ring, and over a locator that only follows the protocol."""

    @initialize(
        nodes=st.dictionaries(st.sampled_from(NAMES), WEIGHTS, min_size=1), c=C,
        is_ring=st.booleans(), vnodes=st.integers(1, 8),
    )  # fmt: skip
    def build(self, nodes: dict[str, float], c: Any, is_ring: bool, vnodes: int) -> None:
        if not any(nodes.values()):
            nodes = {"n0": 1}
        self.locator: Any = HashRing(nodes, vnodes=vnodes) if is_ring else Plain(nodes)
        self.is_ring = is_ring
        self.loads = BoundedLoads(self.locator, c)
        self.twin = BoundedLoads(self.locator, c)
        self.c = checked_bound(c)
        self.held: list[str] = []

    @rule(key=st.integers(0, 30))
    def acquire(self, key: int) -> None:
        nodes = {node.name: node.weight for node in self.locator.nodes}
        before = Counter(self.held)
        total = sum(before[name] for name in nodes) + 1
        room = dict(zip(nodes, capacities(self.locator.nodes, total, self.c), strict=True))
        live = sum(weight > 0 for weight in nodes.values())
        want = next(n for n in self.locator.get_nodes(key, live) if before[n] < room[n])
        got = self.loads.acquire(key)
        assert got == want == self.twin.acquire(key)
        assert before[got] + 1 <= room[got]
        self.held.append(got)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.held)))
        self.held.remove(name)
        self.loads.release(name)
        self.twin.release(name)

    @rule(name=st.sampled_from(NAMES), weight=WEIGHTS)
    def change(self, name: str, weight: float) -> None:
        nodes = {node.name: node.weight for node in self.locator.nodes}
        changed = {**nodes, name: weight}
        if any(changed.values()):
            if not self.is_ring:
                self.locator.set(changed)
            elif name in nodes:
                self.locator.set_weight(name, weight)
            else:
                self.locator.add_node(name, weight)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        nodes = {node.name: node.weight for node in self.locator.nodes if node.name != name}
        if name in self.locator.names and any(nodes.values()):
            if self.is_ring:
                self.locator.remove_node(name)
            else:
                self.locator.set(nodes)

    @invariant()
    def books_are_right(self) -> None:
        held = Counter(self.held)
        assert len(self.loads) == len(self.held)
        loads = self.loads.loads()
        assert {name: load for name, load in loads.items() if load} == dict(held)
        assert {*self.locator.names} <= {*loads}
        room = self.loads.capacities()
        assert list(room) == list(self.locator.names)
        total = sum(held[name] for name in room)
        assert list(room.values()) == capacities(self.locator.nodes, total, self.c)
        assert self.loads.excess() == {
            name: load - room.get(name, 0)
            for name, load in held.items()
            if load > room.get(name, 0)
        }


TestBalancer = Balancer.TestCase
TestBalancer.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_while_places_are_only_taken_nobody_is_above_the_bound() -> None:
    ring = HashRing([f"n{i}" for i in range(20)], vnodes=10)
    loads = BoundedLoads(ring, 1.1)
    for key in range(3000):
        loads.acquire(key)
        if key % 50 == 0:
            assert loads.excess() == {}
    assert max(loads.loads().values()) <= math.ceil(1.1 * 150)
    assert loads.c == Fraction(11, 10)
    assert loads.locator is ring
    assert repr(loads) == "<BoundedLoads of 3000 places, c=1.1>"


def test_a_removed_node_keeps_what_it_holds_until_it_is_released() -> None:
    ring = HashRing(["a", "b"])
    loads = BoundedLoads(ring, 2)
    held = [loads.acquire(key) for key in range(20)]
    of_a = held.count("a")
    ring.remove_node("a")
    assert loads.excess() == {"a": of_a}
    assert loads.loads() == {"b": held.count("b"), "a": of_a}
    for _ in range(of_a):
        loads.release("a")
    assert loads.acquire("k") == "b"
    with pytest.raises(MisuseError):
        loads.release("a")
    ring.add_node("c")  # what holds nothing is forgotten at the next change
    assert set(loads.loads()) == {"b", "c"}
    with pytest.raises(NodeNotFound):
        loads.release("a")
    ring.add_node("a")
    assert loads.loads()["a"] == 0


def test_refusals_of_counters() -> None:
    ring = HashRing()
    loads = BoundedLoads(ring)
    for call in (lambda: loads.acquire("k"), loads.loads, loads.capacities):
        with pytest.raises(EmptyRingError):
            call()
    ring.add_node("a")
    assert loads.acquire("k") == "a"
    with pytest.raises(KeyTypeError):
        loads.acquire(None)  # type: ignore[arg-type]
    ring.set_weight("a", 0)
    with pytest.raises(EmptyRingError):
        loads.acquire("k")
    loads.release("a")
    assert len(loads) == 0


def test_threads_take_and_give_back(sized: Sized) -> None:
    """Beside a ring that changes all the time: no place is lost, none is taken twice."""
    ring = HashRing([f"n{i}" for i in range(8)], vnodes=20)
    loads = BoundedLoads(ring, 1.2)
    errors: list[BaseException] = []
    stop = threading.Event()

    def work(first: int) -> None:
        try:
            mine = []
            for key in range(first, first + sized(10_000)):
                mine.append(loads.acquire(key))
                if key % 3:
                    loads.release(mine.pop(0))
            for name in mine:
                loads.release(name)
        except BaseException as error:
            errors.append(error)

    def change() -> None:
        while not stop.is_set():
            ring.add_node("x")
            ring.set_weight("n1", 3.0)
            ring.remove_node("x")
            ring.set_weight("n1", 1.0)

    threads = [threading.Thread(target=work, args=(i * 10**6,)) for i in range(4)]
    changer = threading.Thread(target=change)
    for thread in (*threads, changer):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    changer.join()
    assert errors == []
    assert len(loads) == 0
    assert set(loads.loads().values()) == {0}


# --- keys that are kept ---------------------------------------------------------------------


def walked(workers: BoundedKeys, locator: Any, key: Any) -> Iterator[str]:
    live = sum(node.weight > 0 for node in locator.nodes)
    for name in locator.get_nodes(key, live):
        if name == workers[key]:
            return
        yield name


class Workers(RuleBasedStateMachine):
    """`BoundedKeys` keeps both invariants of its module, and tells every move."""

    @initialize(
        nodes=st.dictionaries(st.sampled_from(NAMES), WEIGHTS, min_size=1), c=C,
        is_ring=st.booleans(), vnodes=st.integers(1, 8),
    )  # fmt: skip
    def build(self, nodes: dict[str, float], c: Any, is_ring: bool, vnodes: int) -> None:
        if not any(nodes.values()):
            nodes = {"n0": 1}
        self.locator: Any = HashRing(nodes, vnodes=vnodes) if is_ring else Plain(nodes)
        self.is_ring = is_ring
        self.workers = BoundedKeys(self.locator, c)
        self.c = checked_bound(c)
        self.told: dict[int, str] = {}  # who holds what, by what was told

    def follow(self, moves: list[Move]) -> None:
        for move in moves:
            assert self.told[move.key] == move.source != move.target  # type: ignore[index]
            self.told[move.key] = move.target  # type: ignore[index]

    @rule(keys=st.lists(st.integers(0, 60), min_size=1, max_size=5))
    def acquire(self, keys: list[int]) -> None:
        for key in keys:
            name = self.workers.acquire(key)
            moves = self.workers.moves()
            assert all(move.key != key for move in moves) or key in self.told
            self.follow(moves)
            assert self.told.setdefault(key, name) == name

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.told)))
        name = self.workers.release(key)
        at_home = self.told.pop(key)
        moves = self.workers.moves()
        moved = [move for move in moves if move.key == key]  # by a change that came before it
        assert (moved[-1].target if moved else at_home) == name
        self.follow([move for move in moves if move.key != key])

    @rule(key=st.integers(61, 70))
    def release_what_is_not_held(self, key: int) -> None:
        with pytest.raises(KeyNotHeld):
            self.workers.release(key)
        self.follow(self.workers.moves())

    change = Balancer.change
    remove = Balancer.remove

    @invariant()
    def invariants_hold(self) -> None:
        self.follow(self.workers.rebalance())
        assert len(self.workers) == len(self.told) == len(list(self.workers))
        assert {key: self.workers[key] for key in self.workers} == self.told
        assert list(self.workers) == [key for key in self.workers if key in self.workers]
        loads, room = self.workers.loads(), self.workers.capacities()
        assert loads == {name: list(self.told.values()).count(name) for name in self.locator.names}
        assert list(room.values()) == capacities(self.locator.nodes, len(self.told), self.c)
        assert all(loads[name] <= room[name] for name in loads)
        full = {name for name in loads if loads[name] == room[name]}
        for key in self.told:
            assert {*walked(self.workers, self.locator, key)} <= full
        diverted = [key for key in self.told if self.locator.get_node(key) != self.told[key]]
        assert sorted(self.workers.diverted()) == sorted(diverted)  # type: ignore[type-var]


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_a_node_that_joins_takes_only_what_it_should() -> None:
    ring = HashRing([f"n{i}" for i in range(20)])
    workers = BoundedKeys(ring, 1.25)
    for key in range(4000):
        workers.acquire(key)
    workers.moves()
    ring.add_node("new")
    moves = workers.rebalance()
    to_new = [move for move in moves if move.target == "new"]
    assert 100 < len(to_new) < 300
    assert len(moves) - len(to_new) < 50  # shed because all capacities became smaller
    ring.remove_node("new")
    moves = workers.rebalance()
    assert sum(move.source == "new" for move in moves) >= len(to_new)
    assert workers.rebalance() == []
    assert repr(workers) == "<BoundedKeys of 4000 keys, c=1.25>"


def test_few_keys_move_with_each_that_comes_or_goes() -> None:
    """And no more of them when there are more nodes (the paper's theorem 2, in its spirit)."""
    per_operation = []
    for nodes in (20, 80):
        ring = HashRing([f"n{i}" for i in range(nodes)], vnodes=20)
        workers = BoundedKeys(ring, 1.25)
        for key in range(25 * nodes):
            workers.acquire(key)
        workers.moves()
        operations = 1000
        for key in range(operations):
            workers.release(key % (25 * nodes) if key < 25 * nodes else 10**6 + key - 25 * nodes)
            workers.acquire(10**6 + key)
        per_operation.append(len(workers.moves()) / operations / 2)
        assert len(workers._up) + len(workers._down) <= 64 + 8 * nodes
    assert max(per_operation) < 1
    assert per_operation[1] < 2 * per_operation[0] + 0.1


def test_keys_in_every_spelling_are_one() -> None:
    workers = BoundedKeys(HashRing(["a", "b"]))
    name = workers.acquire("user:1")
    assert workers.acquire(b"user:1") == name == workers["user:1"]
    assert b"user:1" in workers
    assert list(workers) == ["user:1"]
    assert workers.release(b"user:1") == name
    assert len(workers) == 0
    for call in (workers.release, workers.__getitem__):
        with pytest.raises(KeyNotHeld, match="'user:1' is not held"):
            call("user:1")
    with pytest.raises(KeyError):
        workers["user:1"]
    with pytest.raises(KeyTypeError):
        workers.acquire(1.5)  # type: ignore[arg-type]


def test_a_ring_that_loses_its_last_node() -> None:
    ring = HashRing(["a"])
    workers = BoundedKeys(ring)
    workers.acquire(1)
    workers.acquire(2)
    ring.remove_node("a")
    for call in (workers.rebalance, lambda: workers.acquire(3)):
        with pytest.raises(EmptyRingError):
            call()
    assert workers[1] == "a"
    assert workers.release(1) == "a"
    ring.add_node("b")
    assert workers.rebalance() == [Move(2, "a", "b")]


@pytest.mark.skipif(kernels.PURE, reason="about the native counters")
def test_an_error_in_a_key_takes_no_place() -> None:
    class Index:
        def __index__(self) -> int:
            raise RuntimeError("no")

    loads = BoundedLoads(HashRing(["a"]))
    with pytest.raises(KeyTypeError):
        loads.acquire(Index())  # type: ignore[arg-type]
    assert len(loads) == 0
