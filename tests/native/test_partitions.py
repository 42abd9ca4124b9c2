"""The native tables of partitions do what their reference does, and both keep their contract."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader import Node, hashing
from ringleader._native import keys as native_keys
from ringleader._native import partitions as native
from ringleader._native import placer as native_placer
from ringleader._reference import keys as reference_keys
from ringleader._reference import partitions as reference
from ringleader._reference import placer as reference_placer
from ringleader.placement import partition_plan as plan

XXH3, XXH64, MURMUR3, SIPHASH13 = range(4)
ABSENT, HOLE = 2**32 - 2, 2**32 - 1
NO_POSITION = 2**32 - 1


@pytest.fixture(params=["native", "reference"])
def partitions(request: pytest.FixtureRequest) -> ModuleType:
    return {"native": native, "reference": reference}[request.param]


class Named(NamedTuple):
    name: str


def u32(values: Any) -> Any:
    return np.array(values, dtype=np.uint32)


def node(number: int, weight: float, region: int, zone: int, server: int) -> Node:
    tags = {"server": f"s{server}"}
    return Node(f"n{number:02}", weight, f"r{region}", f"z{zone}", tags=tags)


class Planned:
    """Both twins' trees for some nodes, and what is wanted."""

    def __init__(
        self,
        nodes: list[Node],
        power: int,
        replicas: float,
        overload: float = 0.0,
        cells: Any = None,
    ) -> None:
        self.nodes = tuple(sorted(nodes, key=lambda node: node.name))
        self.power, self.parts = power, 1 << power
        self.total = int(replicas * self.parts)
        self.rows = -(-self.total // self.parts)
        self.topology = topology = plan.Topology(self.nodes)
        due = plan.shares(topology, replicas, overload)
        now = [0] * topology.tier_count if cells is None else self.counts(cells)
        self.wanted = plan.cells(topology, due, self.parts, self.total, now)
        self.limits = plan.limits(self.wanted, self.parts)
        arrays = (u32(topology.first_child), topology.paths, u32(self.wanted), u32(self.limits))
        self.trees = native.Tree(*arrays), reference.Tree(*arrays)

    def counts(self, cells: Any) -> list[int]:
        leaves = cells[cells < ABSENT].astype(np.int64) - self.topology.leaf_first
        return self.topology.summed(np.bincount(leaves, minlength=len(self.nodes)).tolist())

    def translated(self, cells: Any, before: Planned) -> Any:
        """A table of other nodes as one of these: holes for those that are gone."""
        leaf_of = {node.name: int(self.topology.leaf_of[i]) for i, node in enumerate(self.nodes)}
        new = np.full(before.topology.tier_count, HOLE, dtype=np.uint32)
        for i, old in enumerate(before.nodes):
            new[before.topology.leaf_of[i]] = leaf_of.get(old.name, HOLE)
        return np.where(cells < ABSENT, new[np.minimum(cells, len(new) - 1)], cells)

    def tallies(self, cells: Any) -> Any:
        """Replicas of each partition under each tier: shape (2**power, tiers)."""
        tallies = np.zeros((self.parts, self.topology.tier_count), dtype=np.int64)
        for row in cells:
            there = np.flatnonzero(row < ABSENT)
            for tiers in self.topology.paths[row[there] - self.topology.leaf_first].T:
                np.add.at(tallies, (there, tiers), 1)
        tallies[:, 0] = (cells < ABSENT).sum(axis=0)
        return tallies


places = st.tuples(
    st.sampled_from([0.5, 1, 1, 1, 2, 3.5]),
    st.integers(0, 2), st.integers(0, 2), st.integers(0, 3),
)  # fmt: skip
clusters = st.lists(places, min_size=4, max_size=14)


# --- filling ------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(clusters, st.integers(0, 7), st.sampled_from([1, 2, 3, 2.5, 4]), st.integers(0, 2**64 - 1))
def test_a_filled_table_is_exact(
    cluster: list[Any], power: int, replicas: float, seed: int
) -> None:
    """Each tier has what it wants: of the table, of each partition, of each aligned run of them."""
    planned = Planned([node(i, *where) for i, where in enumerate(cluster)], power, replicas)
    one, two = (tree.fill(power, planned.rows, seed) for tree in planned.trees)
    assert one.tolist() == two.tolist()
    assert planned.counts(one) == planned.wanted
    tallies, wanted = planned.tallies(one), np.array(planned.wanted)
    for size in (1 << k for k in range(power + 1)):
        runs = tallies.reshape(-1, size, len(wanted)).sum(axis=1)
        assert (runs >= wanted * size // planned.parts).all()
        assert (runs <= -(-wanted * size // planned.parts)).all()


def test_partitions_with_one_more_are_those_of_low_reversed_bits(partitions: ModuleType) -> None:
    planned = Planned([node(i, 1, 0, 0, i) for i in range(5)], 3, 1.625)
    cells = planned.trees[partitions is reference].fill(3, 2, 7)
    order = [int(f"{part:03b}"[::-1], 2) for part in range(8)]
    assert [cell != ABSENT for cell in cells[1].tolist()] == [rank < 5 for rank in order]


def test_nodes_have_their_share_of_each_row() -> None:
    nodes = [node(i, 1 + i % 3, 0, i % 4, i) for i in range(40)]
    planned = Planned(nodes, 12, 3)
    for row in planned.trees[0].fill(12, 3, 0):
        counts = np.bincount(row)[planned.topology.leaf_first :]
        assert (
            np.abs(counts - np.array(planned.wanted)[planned.topology.leaf_first :] / 3).max() < 3
        )


def test_every_node_meets_every_other() -> None:
    """So that all help when one is lost: as many partitions with each other node as by chance."""
    planned = Planned([node(i, 1, 0, 0, i) for i in range(30)], 12, 3)
    cells = planned.trees[0].fill(12, 3, 0) - planned.topology.leaf_first
    together = np.zeros((30, 30), dtype=int)
    for one in cells:
        for other in cells:
            np.add.at(together, (one, other), 1)
    np.fill_diagonal(together, 0)
    others = together[~np.eye(30, dtype=bool)]
    assert others.mean() == pytest.approx(4096 * 6 / (30 * 29))
    assert others.min() > 0.3 * others.mean()
    assert others.max() < 2 * others.mean()


# --- rebalancing --------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.data())
def test_twins_rebalance_alike_and_by_the_rules(data: st.DataObject) -> None:
    replicas = data.draw(st.sampled_from([1, 2, 3, 2.5]))
    power = data.draw(st.integers(0, 6))
    cluster = dict(enumerate(data.draw(clusters)))
    planned = Planned([node(i, *where) for i, where in cluster.items()], power, replicas)
    cells = planned.trees[0].fill(power, planned.rows, 1)
    for step in range(data.draw(st.integers(1, 3))):
        for number in data.draw(st.lists(st.sampled_from(sorted(cluster)), max_size=3)):
            if len(cluster) > 5:
                cluster.pop(number, None)
        for where in data.draw(st.lists(places, max_size=3)):
            cluster[max(cluster) + 1] = where
        before = planned
        planned = Planned(
            [node(i, *where) for i, where in cluster.items()], power, replicas,
            data.draw(st.sampled_from([0, 0.1, 5])),
        )  # fmt: skip
        old = planned.translated(cells, before)
        planned = Planned(list(planned.nodes), power, replicas, 0.0, old)
        ready = data.draw(
            st.lists(st.booleans(), min_size=planned.parts, max_size=planned.parts)
        )  # fmt: skip
        one, two = (
            tree.rebalance(old, np.array(ready, dtype=np.uint8), step) for tree in planned.trees
        )
        assert one[0].tolist() == two[0].tolist()
        assert one[1].tolist() == two[1].tolist()
        assert one[2] == two[2]
        cells, changed, surplus = one
        check_rules(planned, old, np.array(ready), cells, changed, surplus)


def check_rules(
    planned: Planned, old: Any, ready: Any, cells: Any, changed: Any, surplus: int
) -> None:
    rows = np.arange(planned.rows)[:, None]
    moved = cells != old
    assert ((changed[None, :] >> rows & 1).astype(bool) == moved).all()
    assert ((cells == ABSENT) == (old == ABSENT)).all()
    assert not (cells == HOLE).any()
    # At most one replica of a partition moves, and none that is too young, but for holes.
    holes = old == HOLE
    chosen = (moved & ~holes).sum(axis=0)
    assert (chosen <= 1).all()
    assert not chosen[~ready].any()
    assert not chosen[holes.any(axis=0)].any()
    for column in cells.T.tolist():
        there = [cell for cell in column if cell != ABSENT]
        assert len(set(there)) == len(there)
    counts = np.array(planned.counts(cells))
    wanted = np.array(planned.wanted)
    above = np.maximum(counts - wanted, 0)[planned.topology.leaf_first :]
    assert above.sum() == surplus
    # Nothing that moved is worse off than its tiers' limits.
    tallies = planned.tallies(cells)
    for row, part in np.argwhere(moved):
        path = planned.topology.paths[cells[row, part] - planned.topology.leaf_first]
        assert (tallies[part, path] <= np.array(planned.limits)[path]).all()


def test_nothing_to_do_is_nothing_done(partitions: ModuleType) -> None:
    planned = Planned([node(i, 1 + i % 2, i % 2, i % 3, i) for i in range(12)], 6, 3)
    tree = planned.trees[partitions is reference]
    cells = tree.fill(6, 3, 0)
    after, changed, surplus = tree.rebalance(cells, np.ones(64, dtype=np.uint8), 9)
    assert (after == cells).all()
    assert not changed.any()
    assert surplus == 0


def test_risk_counts_each_partition_where_it_is_worst(partitions: ModuleType) -> None:
    planned = Planned([node(i, 1, i // 4, i // 2, i) for i in range(8)], 1, 3)
    tree = planned.trees[partitions is reference]
    leaf = planned.topology.leaf_first
    cells = u32([[leaf, leaf], [leaf + 1, leaf + 2], [leaf + 2, leaf + 4]])
    allowed = u32([1] * planned.topology.tier_count)
    # Partition 0 has three in a region (two too many); partition 1 two of them (one too many).
    assert tree.at_risk(cells, allowed) == 3
    assert tree.at_risk(cells, allowed + np.uint32(2)) == 0
    assert tree.at_risk(u32([[leaf, ABSENT]]), allowed) == 0


# --- looking up ---------------------------------------------------------------------------------


def state(module: ModuleType, nodes: int, cells: Any, full_rows: int, kind: int = XXH3) -> Any:
    """Nodes in one region, three zones, a server each."""
    paths = [[1, 2 + i % 3, 5 + i, 5 + nodes + i] for i in range(nodes)]
    return module.State(
        kind, 5, 0, u32(cells), full_rows, u32(paths), 5 + 2 * nodes, u32(range(nodes))
    )


def table(power: int, rows: int, nodes: int, fraction: bool = False) -> Any:
    rng = np.random.default_rng(power)
    cells = np.array([rng.permutation(nodes)[:rows] for _ in range(1 << power)]).T
    cells = np.ascontiguousarray(cells).astype(np.uint32)
    if fraction:
        cells[-1, rng.random(1 << power) < 0.5] = NO_POSITION
    return cells


def placed(module: ModuleType, made: Any, count: int) -> Any:
    names = tuple(Named(f"n{i}") for i in range(count))
    return (native_placer if module is native else reference_placer).Placer(made, names)


def column(module: ModuleType, keys: Any) -> Any:
    return (native_keys if module is native else reference_keys).Column(keys)


KEYS: list[Any] = [*range(-40, 40), *(f"user:{i}" for i in range(60)), "", 2**64 - 1, b"\xff"]


@pytest.mark.parametrize("kind", [XXH3, XXH64, MURMUR3, SIPHASH13])
@pytest.mark.parametrize("power", [0, 1, 5])
@pytest.mark.parametrize("fraction", [False, True])
def test_twins_look_up_alike(simd: str, kind: int, power: int, fraction: bool) -> None:
    cells = table(power, 3, 9, fraction)
    full = 2 if (cells[-1] == NO_POSITION).any() else 3
    words = np.random.default_rng(1).integers(0, 2**64, 203, dtype=np.uint64)
    for keys in (KEYS, words):
        found = []
        for module in (native, reference):
            placer = placed(module, state(module, 9, cells, full, kind), 9)
            out = np.empty(len(keys), dtype=np.uint32)
            placer.lookup(column(module, keys), out, 0, len(keys))
            results = [out.tolist()]
            for wanted in (1, 2, 3, 4, 9):
                rows = np.empty((len(keys), wanted), dtype=np.uint32)
                placer.lookup_replicas(column(module, keys), rows, 0, len(keys))
                assert [len(set(row)) for row in rows.tolist()] == [wanted] * len(keys)
                assert rows[:, 0].tolist() == results[0]
                results.append(rows.tolist())
            found.append(results)
        assert found[0] == found[1]


@pytest.mark.parametrize("nodes", [9, 65_534, 65_535])
def test_the_top_bits_of_the_hash_are_the_partition(simd: str, nodes: int) -> None:
    """Cells of 16 bits, and of 32 where there are more nodes than 16 bits can tell apart."""
    cells = table(10, 2, 9)
    cells[0, ::3] = nodes - 1
    made = state(native, nodes, cells, 2)
    assert (made.cells() == cells).all()
    assert (made.nbytes >= 4 * cells.size + 21 * nodes) == (nodes == 65_535)
    words = np.random.default_rng(1).integers(0, 2**64, 5001, dtype=np.uint64)
    parts = hashing.xxh3_64_column(words, 5) >> np.uint64(54)
    placer = placed(native, made, nodes)
    out = np.empty(len(words), dtype=np.uint32)
    placer.lookup(column(native, words), out, 0, len(words))
    assert (out == cells[0, parts]).all()
    rows = np.empty((len(words), 2), dtype=np.uint32)
    placer.lookup_replicas(column(native, words), rows, 0, len(words))
    assert (rows == cells[:, parts].T).all()


@settings(max_examples=40)
@given(st.integers(0, 5), st.integers(1, 3), st.integers(3, 12), st.booleans(), st.data())
def test_twins_hand_off_alike(
    power: int, rows: int, nodes: int, fraction: bool, data: st.DataObject
) -> None:
    cells = table(power, rows, nodes, fraction and rows > 1)
    full = rows - int((cells[-1] == NO_POSITION).any())
    live = sorted(data.draw(st.sets(st.integers(0, nodes - 1), min_size=1)))
    paths = [[1 + i % 2, 3 + i % 4, 7 + i % 6, 13 + i] for i in range(nodes)]
    one, two = (
        module.State(XXH3, 0, 0, cells, full, u32(paths), 13 + nodes, u32(live))
        for module in (native, reference)
    )
    for part in range(1 << power):
        holders = one.holders(part)
        assert holders == two.holders(part)
        assert holders == [cell for cell in cells[:, part].tolist() if cell != NO_POSITION]
        everyone = one.handoffs(part, nodes)
        assert everyone == two.handoffs(part, nodes)
        assert sorted(everyone) == sorted(set(live) - set(holders))
        for wanted in (0, 1, 2):
            assert one.handoffs(part, wanted) == two.handoffs(part, wanted) == everyone[:wanted]
    for bad in (1 << power, 2**40):
        for made in (one, two):
            with pytest.raises(ValueError, match="there is no partition"):
                made.holders(bad)


def test_handoffs_stand_apart(partitions: ModuleType) -> None:
    """First another region, then another zone, then another server."""
    paths = [[1, 3, 6, 10], [1, 3, 6, 11], [1, 3, 7, 12], [1, 4, 8, 13], [2, 5, 9, 14]]
    cells = u32([[0, 1, 2, 3, 4, 0, 1, 2]])
    made = partitions.State(XXH3, 0, 0, cells, 1, u32(paths), 15, u32(range(5)))
    assert made.handoffs(0, 9) == [4, 3, 2, 1]
    assert made.handoffs(4, 9) == [0, 3, 2, 1]


# --- what they refuse ---------------------------------------------------------------------------


def test_refused_states(partitions: ModuleType) -> None:
    cells, paths, live = u32([[0, 1], [1, 0]]), u32([[1, 2, 3, 5], [1, 2, 4, 6]]), u32([0, 1])
    good = (XXH3, 0, 0, cells, 2, paths, 7, live)
    assert partitions.State(*good).holders(1) == [1, 0]

    def refused(at: int, value: Any, match: str) -> None:
        arguments = [*good[:at], value, *good[at + 1 :]]
        with pytest.raises(ValueError, match=match):
            partitions.State(*arguments)

    refused(0, 9, "unknown hash kind 9")
    refused(3, u32([[0, 2], [1, 0]]), "cell 0, 1 holds no position")
    refused(3, u32([[0, 1], [1, NO_POSITION]]), "cell 1, 1 holds no position")
    refused(3, u32([[0, 1, 0]]), "not those of one table")
    refused(3, u32([[0, 1, 0], [1, 0, 1]]), "no power of two")
    refused(4, 0, "not those of one table")
    refused(4, 3, "not those of one table")
    refused(5, u32([[1, 2, 3, 7], [1, 2, 4, 6]]), "tier 7 of position 0")
    refused(5, u32([[1, 2, 3], [1, 2, 4]]), "not those of one table")
    refused(7, u32([]), "no position is live")
    refused(7, u32([2]), "live position 2")
    refused(3, u32(np.zeros((33, 1))), "not those of one table")


def test_refused_trees_and_tables(partitions: ModuleType) -> None:
    planned = Planned([node(i, 1, 0, 0, i) for i in range(5)], 2, 2)
    tree = planned.trees[partitions is reference]
    for power, rows in ((25, 2), (2, 0), (2, 33)):
        with pytest.raises(ValueError, match="partitions of"):
            tree.fill(power, rows, 0)
    cells = tree.fill(2, 2, 0)
    with pytest.raises(ValueError, match="not those of one table"):
        tree.rebalance(cells, np.ones(3, dtype=np.uint8), 0)
    with pytest.raises(ValueError, match="no power of two"):
        tree.rebalance(np.ascontiguousarray(cells[:, :3]), np.ones(3, dtype=np.uint8), 0)
    with pytest.raises(ValueError, match="one number a tier"):
        tree.at_risk(cells, u32([1, 2]))
    for bad in (0, planned.topology.leaf_first - 1, planned.topology.tier_count):
        cells[1, 2] = bad
        with pytest.raises(ValueError, match="cell 1, 2 holds no leaf"):
            tree.rebalance(cells, np.ones(4, dtype=np.uint8), 0)
    cells[1, 2] = HOLE
    with pytest.raises(ValueError, match="cell 1, 2 holds no leaf"):
        tree.at_risk(cells, u32(planned.limits))
    cells = tree.fill(2, 2, 0)
    first_child, paths = u32(planned.topology.first_child), planned.topology.paths
    for arrays in (
        (first_child[:1], paths, u32(planned.wanted), u32(planned.limits)),
        (first_child, paths[:, :3].copy(), u32(planned.wanted), u32(planned.limits)),
        (first_child, paths, u32(planned.wanted[1:]), u32(planned.limits)),
        (first_child, paths, u32(planned.wanted), u32(planned.limits[1:])),
        (first_child[::-1].copy(), paths, u32(planned.wanted), u32(planned.limits)),
        (first_child + u32(1), paths, u32(planned.wanted), u32(planned.limits)),
        (first_child, paths[::-1].copy(), u32(planned.wanted), u32(planned.limits)),
        (first_child, paths + u32(1), u32(planned.wanted), u32(planned.limits)),
    ):
        with pytest.raises(ValueError, match="not those of one tree"):
            partitions.Tree(*arrays)


def test_a_state_is_made_once() -> None:
    made = state(native, 9, table(2, 2, 9), 2)
    with pytest.raises(TypeError, match="made once"):
        made.__init__(XXH3, 0, 0, u32([[0]]), 1, u32([[1, 2, 3, 4]]), 5, u32([0]))


def test_levels(partitions: ModuleType) -> None:
    assert partitions.simd() <= partitions.simd_supported()
    with pytest.raises(ValueError, match="SIMD level 9 is not supported here"):
        partitions.simd_force(9)
