"""The native ring kernel does what its reference does, and both keep their contract."""

from __future__ import annotations

from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from inverse import COLLIDING, around, undo

from ringleader import hashing
from ringleader._native import keys as native_keys
from ringleader._native import ring as native
from ringleader._reference import keys as reference_keys
from ringleader._reference import ring as reference
from ringleader.errors import EmptyRingError, KeyTypeError, TooFewNodes

XXH3, XXH64, MURMUR3, SIPHASH13 = range(4)


class Named(NamedTuple):
    name: str


def named(*names: str) -> tuple[Named, ...]:
    return tuple(Named(name) for name in sorted(names))


@pytest.fixture(params=["native", "reference"])
def ring(request: pytest.FixtureRequest) -> ModuleType:
    return {"native": native, "reference": reference}[request.param]


def column(module: ModuleType, keys: Any) -> Any:
    return (native_keys if module is native else reference_keys).Column(keys)


def owners(module: ModuleType, table: Any, keys: Any) -> list[int]:
    out = np.empty(len(keys), dtype=np.uint32)
    table.lookup(column(module, keys), out, 0, len(keys))
    return out.tolist()


def replicas(module: ModuleType, table: Any, keys: Any, wanted: int) -> list[list[int]]:
    out = np.empty((len(keys), wanted), dtype=np.uint32)
    table.lookup_replicas(column(module, keys), out, 0, len(keys))
    return out.tolist()


def successors(table: Any, hashes: Any) -> list[int]:
    """The owners of hashes, by the definition."""
    tokens = table.tokens()
    return table.owners()[np.searchsorted(tokens, hashes) % len(tokens)].tolist()


KEYS: list[Any] = [
    *(f"user:{i}" for i in range(300)),
    *range(-150, 150),
    *(bytes(i) for i in range(300)),
    2**63, 2**64 - 1, -(2**63), "", "naïve", "日本語", "🜁",
]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1, 2**64 - 5])
def test_xxh3_is_undone(seed: int) -> None:
    hashes = around(np.random.default_rng(seed).integers(0, 2**64, 1000, dtype=np.uint64))
    assert (hashing.xxh3_64_column(undo(hashes, seed), seed) == hashes).all()


# --- one table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [XXH3, XXH64, MURMUR3, SIPHASH13])
def test_twins_build_the_same_table(kind: int) -> None:
    nodes = named(*(f"node-{i}" for i in range(20)))
    counts = [(i * 7) % 23 for i in range(20)]
    seed, seed_hi = (7, 0) if kind != SIPHASH13 else (2**64 - 5, 2**63 + 9)
    one = native.Table(kind, seed, seed_hi, nodes, counts)
    two = reference.Table(kind, seed, seed_hi, nodes, counts)
    assert one.tokens().tolist() == two.tokens().tolist()
    assert one.owners().tolist() == two.owners().tolist()
    assert one.counts().tolist() == two.counts().tolist() == counts
    assert one.arcs() == two.arcs()
    assert one.point_count == two.point_count == sum(counts)
    assert one.live_count == two.live_count
    assert owners(native, one, KEYS) == owners(reference, two, KEYS)
    for wanted in (1, 2, 3, 4, 17, 19):
        assert replicas(native, one, KEYS, wanted) == replicas(reference, two, KEYS, wanted)


@pytest.mark.parametrize("kind", [XXH3, XXH64, MURMUR3, SIPHASH13])
@pytest.mark.parametrize("size", [1, 2, 15, 16, 17, 1023, 1024, 1025, 5000])
def test_every_instruction_level_gives_the_same_owners(simd: str, kind: int, size: int) -> None:
    nodes = named(*(f"n{i}" for i in range(50)))
    table = native.Table(kind, 3, 0, nodes, [40] * 50)
    twin = reference.Table(kind, 3, 0, nodes, [40] * 50)
    rng = np.random.default_rng(size)
    words = rng.integers(0, 2**64, size, dtype=np.uint64)
    assert owners(native, table, words) == owners(reference, twin, words[:200])[:size] + owners(
        native, table, words[200:]
    )
    texts = [f"{word:x}"[: 1 + word % 16] for word in words[:300].tolist()]
    assert owners(native, table, texts) == owners(reference, twin, texts)


@pytest.mark.parametrize("points", [1, 2, 3, 7, 64, 1000, 40_000, 300_000])
def test_tables_of_every_size_find_the_successor(simd: str, points: int) -> None:
    """Also keys that hit a token exactly, and its neighbours on both sides."""
    nodes = named(*(f"n{i}" for i in range(min(points, 9))))
    counts = [points // len(nodes)] * len(nodes)
    counts[0] += points - sum(counts)
    table = native.Table(XXH3, 0, 0, nodes, counts)
    tokens = table.tokens()
    assert (tokens[1:] >= tokens[:-1]).all()
    rng = np.random.default_rng(points)
    words = np.concatenate([rng.integers(0, 2**64, 20_000, dtype=np.uint64), undo(around(tokens))])
    rng.shuffle(words)
    want = successors(table, hashing.xxh3_64_column(words))
    assert owners(native, table, words) == want
    some = words[:2000].tolist()
    assert owners(native, table, some) == want[:2000]
    if points <= 1000:
        twin = reference.Table(XXH3, 0, 0, nodes, counts)
        assert owners(reference, twin, words[:5000]) == want[:5000]


@pytest.mark.parametrize("counts", [[1, 1], [40, 40], [3, 160], [160, 3]])
def test_equal_tokens_belong_to_the_first_name(simd: str, counts: list[int]) -> None:
    """Pairs of names with one hash: each token of the smaller node is one of the larger, too."""
    nodes = named(*(name for pair in COLLIDING for name in pair), "p")
    given = {name: count for pair in COLLIDING for name, count in zip(pair, counts, strict=True)}
    all_counts = [given.get(node.name, 20) for node in nodes]
    table = native.Table(XXH3, 0, 0, nodes, all_counts)
    twin = reference.Table(XXH3, 0, 0, nodes, all_counts)
    tokens = table.tokens()
    assert (tokens[1:] == tokens[:-1]).sum() == len(COLLIDING) * min(counts)
    assert tokens.tolist() == twin.tokens().tolist()
    assert table.owners().tolist() == twin.owners().tolist()
    hashes = around(tokens)
    words = undo(hashes)
    want = successors(table, hashes)
    assert owners(native, table, words) == owners(reference, twin, words) == want
    for wanted in (2, len(nodes)):
        assert replicas(native, table, words, wanted) == replicas(reference, twin, words, wanted)
    arcs = table.arcs()
    assert arcs == twin.arcs()
    assert sum(arcs) == 2**64
    for pair in COLLIDING:
        first, second = (nodes.index(Named(name)) for name in sorted(pair))
        if all_counts[second] <= all_counts[first]:
            assert arcs[second] == 0
            assert second not in want


def test_more_ids_than_the_direct_table_holds(simd: str) -> None:
    nodes = named(*(f"n{i:06}" for i in range(70_000)))
    table = native.Table(XXH3, 0, 0, nodes, [1] * len(nodes))
    words = np.arange(10_000, dtype=np.uint64)
    want = successors(table, hashing.xxh3_64_column(words))
    assert owners(native, table, words) == want
    assert max(want) > 65_535


def test_only_the_range_asked_for_is_written(ring: ModuleType) -> None:
    table = ring.Table(XXH3, 0, 0, named("a", "b"), [10, 10])
    out = np.full(len(KEYS), 99, dtype=np.uint32)
    table.lookup(column(ring, KEYS), out, 5, 9)
    assert (out[:5] == 99).all()
    assert (out[9:] == 99).all()
    assert out[5:9].tolist() == owners(ring, table, KEYS)[5:9]
    for lo, hi in ((-1, 3), (3, 2), (0, len(KEYS) + 1)):
        with pytest.raises(ValueError, match="range"):
            table.lookup(column(ring, KEYS), out, lo, hi)


def test_one_node_owns_the_whole_circle(ring: ModuleType) -> None:
    for counts in ([1], [160]):
        assert ring.Table(XXH3, 0, 0, named("only"), counts).arcs() == [2**64]
    assert ring.Table(XXH3, 0, 0, named("a", "b"), [0, 5]).arcs() == [0, 2**64]


def test_an_empty_table_refuses_lookups(ring: ModuleType) -> None:
    for nodes, counts, message in (
        ((), [], "add one with add_node"),
        (named("a", "b"), [0, 0], "none of the ring's 2 nodes has a positive weight"),
    ):
        table = ring.Table(XXH3, 0, 0, nodes, counts)
        assert table.arcs() == [0] * len(nodes)
        assert table.tokens().tolist() == []
        with pytest.raises(EmptyRingError, match=message):
            owners(ring, table, ["k"])
        with pytest.raises(EmptyRingError, match=message):
            replicas(ring, table, ["k"], 1)


def test_refuses_more_replicas_than_live_nodes(ring: ModuleType) -> None:
    table = ring.Table(XXH3, 0, 0, named("a", "b", "c"), [10, 0, 10])
    assert sorted(replicas(ring, table, ["k"], 2)[0]) == [0, 2]
    for wanted in (3, 0):
        with pytest.raises(TooFewNodes, match=f"n={wanted}"):
            replicas(ring, table, ["k"], wanted)


def test_an_unknown_hash_is_refused(ring: ModuleType) -> None:
    with pytest.raises(ValueError, match="unknown hash kind 9"):
        ring.Table(9, 0, 0, named("a"), [1])


def test_a_bad_key_in_a_column_names_its_position(ring: ModuleType) -> None:
    table = ring.Table(XXH3, 0, 0, named("a"), [1])
    with pytest.raises(KeyTypeError, match="key at position 1500 is float"):
        owners(ring, table, ["k"] * 1500 + [1.5])


# --- changes: the state machine -----------------------------------------------------------------

NAMES = [*(f"n{i}" for i in range(18)), *(name for pair in COLLIDING for name in pair)]
POINTS = st.sampled_from([0, 1, 2, 5, 40, 41, 160, 700])


class Rings(RuleBasedStateMachine):
    """The native ring, patched and recycled, beside the reference, rebuilt at each change."""

    @initialize(kind=st.sampled_from([XXH3, MURMUR3]), start=st.dictionaries(
        st.sampled_from(NAMES), POINTS, max_size=6))  # fmt: skip
    def build(self, kind: int, start: dict[str, int]) -> None:
        nodes = named(*start)
        counts = [start[node.name] for node in nodes]
        self.native, self.reference = native.RingBase(), reference.RingBase()
        self.kind = kind
        seed = 0 if kind == XXH3 else 1  # names collide under xxh3's seed 0
        self.native._build(kind, seed, 0, nodes, counts)
        self.reference._build(kind, seed, 0, nodes, counts)
        self.kept: list[tuple[Any, list[int]]] = []

    def position(self, name: str) -> tuple[int, bool]:
        names = [node.name for node in self.reference.table.nodes]
        return sum(other < name for other in names), name in names

    @rule(name=st.sampled_from(NAMES), count=POINTS)
    def add_or_set(self, name: str, count: int) -> None:
        position, found = self.position(name)
        for twin in (self.native, self.reference):
            (twin._set if found else twin._add)(position, Named(name), count)

    @rule(name=st.sampled_from(NAMES))
    def drop(self, name: str) -> None:
        position, found = self.position(name)
        if found:
            self.native._drop(position)
            self.reference._drop(position)

    @rule()
    def keep_a_snapshot(self) -> None:
        """A reader that holds a table must find it unchanged, whatever is recycled."""
        table = self.native.table
        if table.point_count:
            self.kept.append((table, owners(native, table, KEYS)))

    @rule()
    def share(self) -> None:
        other = native.RingBase()
        other._share(self.native)
        self.native = other

    @invariant()
    def twins_agree(self) -> None:
        one, two = self.native.table, self.reference.table
        assert [node.name for node in one.nodes] == [node.name for node in two.nodes]
        assert one.counts().tolist() == two.counts().tolist()
        assert one.tokens().tolist() == two.tokens().tolist()
        assert one.owners().tolist() == two.owners().tolist()
        assert one.arcs() == two.arcs()
        assert one.live_count == two.live_count
        if not two.point_count:
            return
        sample = KEYS[::29]
        assert owners(native, one, sample) == owners(reference, two, sample)
        assert [self.native[key] for key in sample] == [self.reference[key] for key in sample]
        for wanted in {1, min(3, two.live_count), two.live_count}:
            assert [self.native.get_nodes(key, wanted) for key in sample] == [
                self.reference.get_nodes(key, wanted) for key in sample
            ]
        fresh = native.Table(*two.settings, two.nodes, two.counts())
        words = np.arange(3000, dtype=np.uint64)
        assert owners(native, one, words) == owners(native, fresh, words)
        if self.kind != XXH3:
            return
        # Every token, and what lies just before and after it; through one-key lookups, some.
        hashes = around(one.tokens())
        words = undo(hashes)
        want = successors(two, hashes)
        assert owners(native, one, words) == want
        for i in range(0, len(words), 1 + len(words) // 50):
            assert self.native[int(words[i])] == two.nodes[want[i]].name

    @invariant()
    def snapshots_stand(self) -> None:
        for table, before in self.kept[-3:]:
            assert owners(native, table, KEYS) == before


TestRings = Rings.TestCase
TestRings.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=30),
    st.integers(0, 2**64 - 1),
)
@settings(max_examples=30)
def test_only_the_changed_nodes_keys_move(names: list[str], seed: int) -> None:
    """Consistency (Karger et al. 1997): what moves, moves to or from the node that changed."""
    base = native.RingBase()
    base._build(XXH3, seed, 0, (), [])
    words = np.arange(2000, dtype=np.uint64)
    states: list[tuple[list[str], list[str]]] = []
    present: list[str] = []
    for name in names:
        if name in present:
            base._drop(sorted(present).index(name))
            present.remove(name)
        else:
            base._add(sum(other < name for other in present), Named(name), 30)
            present.append(name)
        if present:
            table = base.table
            states.append(
                (sorted(present), [table.nodes[p].name for p in owners(native, table, words)])
            )
    for (before_names, before), (after_names, after) in pairwise(states):
        changed = set(before_names) ^ set(after_names)
        for old, new in zip(before, after, strict=True):
            assert old == new or old in changed or new in changed


@pytest.mark.parametrize("pair", COLLIDING)
@pytest.mark.parametrize("later", [0, 1])
def test_changes_keep_equal_tokens_in_the_order_of_names(pair: tuple[str, str], later: int) -> None:
    """Whichever of two names with one hash comes first, grows, shrinks or goes."""
    given = {f"n{i}": 40 for i in range(20)}
    base = native.RingBase()
    nodes = named(*given)
    base._build(XXH3, 0, 0, nodes, list(given.values()))
    one, other = pair[1 - later], pair[later]
    for name, count in ((one, 40), (other, 40), (one, 60), (other, 90), (one, 20), (other, 0),
                        (other, 7), (one, None), (one, 40), (other, None)):  # fmt: skip
        position = sum(node.name < name for node in nodes)
        if count is None:
            base._drop(position)
            del given[name]
        else:
            (base._set if name in given else base._add)(position, Named(name), count)
            given[name] = count
        nodes = named(*given)
        fresh = reference.Table(XXH3, 0, 0, nodes, [given[node.name] for node in nodes])
        table = base.table
        assert table.tokens().tolist() == fresh.tokens().tolist()
        assert table.owners().tolist() == fresh.owners().tolist()
        hashes = around(table.tokens())
        assert owners(native, table, undo(hashes)) == successors(fresh, hashes)


def test_long_growth_and_decline_crosses_every_table_size(simd: str) -> None:
    """Patches, hysteresis and rebuilds from 1 to 400 nodes and back."""
    base = native.RingBase()
    base._build(XXH3, 0, 0, (), [])
    words = np.arange(4000, dtype=np.uint64)
    nodes: list[Named] = []

    def check() -> None:
        fresh = native.Table(XXH3, 0, 0, tuple(nodes), [37] * len(nodes))
        assert owners(native, base.table, words) == owners(native, fresh, words)

    for i in range(400):
        node = Named(f"{(i * 7919) % 1009:04}")
        position = sum(other.name < node.name for other in nodes)
        base._add(position, node, 37)
        nodes.insert(position, node)
        if i % 9 == 0:
            check()
    for i in range(399):
        position = (i * 31) % len(nodes)
        base._drop(position)
        del nodes[position]
        if i % 9 == 0:
            check()


def test_a_table_is_built_once_and_whole(ring: ModuleType) -> None:
    with pytest.raises(ValueError, match="1 counts for 2 nodes"):
        ring.Table(XXH3, 0, 0, named("a", "b"), [1])
    assert ring.Table(XXH3, 0, 0, named("a", "b"), [1, 2]).names == ("a", "b")
    table = native.Table(XXH3, 0, 0, named("a"), [1])
    with pytest.raises(TypeError, match="built once"):
        table.__init__(XXH3, 0, 0, named("b"), [1])  # type: ignore[misc]
    assert native.Table.__new__(native.Table).counts().tolist() == []


def test_the_direct_table_returns_when_ids_fit_again() -> None:
    nodes = named(*(f"n{i:06}" for i in range(65_540)))
    base = native.RingBase()
    base._build(XXH3, 0, 0, nodes, [1] * len(nodes))
    exact_only = base.table.nbytes
    for _ in range(5):
        base._drop(0)
    assert base.table.nbytes > 1.4 * exact_only
    words = np.arange(5000, dtype=np.uint64)
    fresh = native.Table(XXH3, 0, 0, nodes[5:], [1] * (len(nodes) - 5))
    assert owners(native, base.table, words) == owners(native, fresh, words)
