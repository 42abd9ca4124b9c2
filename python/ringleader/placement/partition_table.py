"""How the table of `Partitions` is built, and rebuilt when what is staged differs; csrc/rebalance.h
moves the cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import EmptyRingError, LimitError, TooFewNodes
from ringleader.placement import partition_plan
from ringleader.placement.node import Node
from ringleader.placement.partition_plan import Topology

#: No node: where a replica was not there before.
NO_NODE = 2**32 - 1
_ABSENT = 2**32 - 2
_HOLE = 2**32 - 1


@dataclass(frozen=True)
class Staged:
    """What the next rebalance aims at.

    Attributes:
        nodes: in the order of their names.
        replicas: of a partition, on average.
        overload: what a node may take above its share, as a fraction of it.
        min_move_seconds: between two moves of one partition.
    """

    nodes: tuple[Node, ...]
    replicas: float
    overload: float
    min_move_seconds: int


@dataclass(frozen=True, eq=False)
class Built:
    """A table and what belongs to it: never changed.

    Attributes:
        topology: of the nodes that the table was made for.
        replicas, overload: it was made for.
        cells: uint32, shape (rows, 2**power): positions, NO_NODE where a partition has no replica
            (in the last row only).
        moved_at: uint32, for each partition the second of its last move; 0: never.
        version: rebalances so far.
        state: the kernel's, made of all this.
    """

    topology: Topology
    replicas: float
    overload: float
    cells: NDArray[np.uint32]
    moved_at: NDArray[np.uint32]
    version: int
    state: kernels.partitions.State

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.topology.nodes

    @property
    def power(self) -> int:
        return int(self.cells.shape[1]).bit_length() - 1

    def names_at(self, positions: list[int]) -> list[str]:
        return [self.nodes[position].name for position in positions]

    def counts(self, row: int | None = None) -> NDArray[np.int64]:
        """Cells of each position, in the table or one row of it."""
        cells = (self.cells if row is None else self.cells[row]).ravel()
        if self.cells[-1].max() == NO_NODE:
            cells = cells[cells != NO_NODE]
        return np.bincount(cells, minlength=len(self.nodes))

    @property
    def total(self) -> int:
        """Cells that hold a replica."""
        return self.cells.size - int(np.count_nonzero(self.cells[-1] == NO_NODE))

    def balance(self) -> float:
        weights = np.array([node.weight for node in self.nodes], dtype=np.float64)
        counts, live = self.counts(), weights > 0
        if counts[~live].any():
            return math.inf
        weights = np.maximum(weights[live] / weights.max(), np.finfo(np.float64).tiny)
        with np.errstate(over="ignore"):  # by as much as a double holds, or infinitely
            ideal = weights * (self.total / weights.sum())
            return float(np.abs(counts[live] / ideal - 1).max() * 100)

    def dispersion(self) -> float:
        topology = self.topology
        tree = _tree(topology, [0] * topology.tier_count, [0] * topology.tier_count)
        allowed = topology.even(self.replicas, rounded=True)
        cells = _as_leaves(self.cells, topology)
        return 100 * tree.at_risk(cells, np.array(allowed, dtype=np.uint32)) / self.total


@dataclass(frozen=True, eq=False)
class Moves:
    """What moves between two tables: columns, a row for each replica, by partition.

    Attributes:
        before, after: the nodes of the two tables, by position.
        partitions: uint32.
        replicas: uint32: the row of the table; 0 is the primary.
        sources: uint32 positions in `before`; 2**32 - 1 (NO_NODE) for a replica that is new.
        targets: uint32 positions in `after`; NO_NODE for a replica that is no more.
    """

    before: tuple[Node, ...]
    after: tuple[Node, ...]
    partitions: NDArray[np.uint32]
    replicas: NDArray[np.uint32]
    sources: NDArray[np.uint32]
    targets: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.partitions)


@dataclass(frozen=True, eq=False)
class Rebalance:
    """What a rebalance did, and what it left for later.

    Attributes:
        moves: which replicas moved, whence and whither.
        balance: percent by which the worst node is off its share by weight; infinite while a node
            of weight 0 holds partitions.
        dispersion: percent of all replicas that are less far apart than they could be.
        waiting: replicas that should still leave their nodes, and did not because ...
        too_young: ... their partition moved less than `min_move_seconds` ago;
        just_moved: ... another replica of their partition moved in this rebalance;
        stuck: ... no place was found for them that is better.
        ready_at: the second when the first of those too young may move; None if there is none.
            For those just moved, it is `min_move_seconds` after this rebalance.
    """

    moves: Moves
    balance: float
    dispersion: float
    waiting: int
    too_young: int
    just_moved: int
    stuck: int
    ready_at: int | None

    def __repr__(self) -> str:
        return (
            f"<Rebalance: {len(self.moves)} replicas moved, {self.waiting} waiting "
            f"({self.too_young} too young, {self.just_moved} just moved, {self.stuck} stuck); "
            f"balance {self.balance:.2f}, dispersion {self.dispersion:.2f}>"
        )


def check_live(staged: Staged) -> None:
    if not staged.nodes:
        raise EmptyRingError("there are no nodes to place partitions on; add some with add_node()")
    if len(staged.nodes) > limits.PARTITION_NODES_MAX:
        raise LimitError(
            f"{len(staged.nodes)} nodes; at most {limits.PARTITION_NODES_MAX} are possible"
        )
    live = sum(node.weight > 0 for node in staged.nodes)
    if live < staged.replicas:
        raise TooFewNodes(
            f"{staged.replicas:g} replicas need as many nodes of positive weight, but there are "
            f"{live}; add nodes, or ask for fewer replicas"
        )


# --- building -----------------------------------------------------------------------------------


def _tree(topology: Topology, wanted: list[int], most: list[int]) -> kernels.partitions.Tree:
    first_child = np.array(topology.first_child, dtype=np.uint32)
    return kernels.partitions.Tree(
        first_child,
        topology.paths,
        np.array(wanted, dtype=np.uint32),
        np.array(most, dtype=np.uint32),
    )


def full_rows(cells: NDArray[np.uint32]) -> int:
    return len(cells) - bool(cells[-1].max() == NO_NODE)


def _as_leaves(cells: NDArray[np.uint32], topology: Topology) -> NDArray[np.uint32]:
    """Positions as leaves of the tree."""
    if cells[-1].max() != NO_NODE:
        return topology.leaf_of[cells]
    leaves = np.append(topology.leaf_of, np.uint32(_ABSENT))
    return leaves[np.minimum(cells, len(topology.leaf_of))]


def _as_positions(cells: NDArray[np.uint32], topology: Topology) -> NDArray[np.uint32]:
    """Leaves of the tree as positions."""
    if cells[-1].max() != _ABSENT:
        positions: NDArray[np.uint32] = topology.position_of[cells - np.uint32(topology.leaf_first)]
        return positions
    positions = np.append(topology.position_of, np.uint32(NO_NODE))
    at = np.minimum(cells, topology.tier_count) - np.uint32(topology.leaf_first)
    found: NDArray[np.uint32] = positions[at]
    return found


def _wanted(
    topology: Topology, staged: Staged, power: int, now: list[int]
) -> tuple[list[int], kernels.partitions.Tree]:
    """The cells that each tier wants, and the tree that knows."""
    parts = 1 << power
    due = partition_plan.shares(topology, staged.replicas, staged.overload)
    total = math.floor(staged.replicas * parts)
    wanted = partition_plan.cells(topology, due, parts, total, now)
    return wanted, _tree(topology, wanted, partition_plan.limits(wanted, parts))


def built_of(
    kernel_hash: tuple[int, int, int],
    topology: Topology,
    replicas: float,
    overload: float,
    cells: NDArray[np.uint32],
    moved_at: NDArray[np.uint32],
    version: int,
) -> Built:
    state = kernels.partitions.State(
        *kernel_hash,
        cells,
        full_rows(cells),
        topology.paths[topology.leaf_of - topology.leaf_first],
        topology.tier_count,
        np.flatnonzero([node.weight > 0 for node in topology.nodes]).astype(np.uint32),
    )
    return Built(topology, replicas, overload, cells, moved_at, version, state)


def first_table(kernel_hash: tuple[int, int, int], staged: Staged, power: int) -> Built:
    """A table from nothing."""
    check_live(staged)
    topology = Topology(staged.nodes)
    _, tree = _wanted(topology, staged, power, [0] * topology.tier_count)
    parts = 1 << power
    rows = -(-math.floor(staged.replicas * parts) // parts)
    cells = _as_positions(tree.fill(power, rows, 0), topology)
    never = np.zeros(parts, dtype=np.uint32)
    return built_of(kernel_hash, topology, staged.replicas, staged.overload, cells, never, 1)


def next_table(
    kernel_hash: tuple[int, int, int],
    built: Built,
    staged: Staged,
    ready: NDArray[np.uint8],
    now: int,
) -> tuple[Built, NDArray[np.uint32], int, list[int]]:
    """The table after `built`: also which rows of each partition changed, how many cells are on
    nodes with more than they want, and how many each tier wants."""
    check_live(staged)
    same = built.nodes == staged.nodes
    topology = built.topology if same else Topology(staged.nodes)
    if same:
        cells = _as_leaves(built.cells, topology)
    else:
        leaves = {node.name: topology.leaf_of[i] for i, node in enumerate(staged.nodes)}
        leaf_of = [leaves.get(node.name, _HOLE) for node in built.nodes]
        moved_to = np.array([*leaf_of, _ABSENT], dtype=np.uint32)
        cells = moved_to[np.minimum(built.cells, len(leaf_of))]
    cells = _with_rows(cells, math.floor(staged.replicas * (1 << built.power)))
    there = cells[cells < _ABSENT] - np.uint32(topology.leaf_first)
    counts = topology.summed(np.bincount(there, minlength=len(staged.nodes)).tolist())
    wanted, tree = _wanted(topology, staged, built.power, counts)
    cells, changed, waiting = tree.rebalance(cells, ready, built.version)
    moved_at = built.moved_at.copy()
    moved_at[changed != 0] = now
    after = built_of(
        kernel_hash,
        topology,
        staged.replicas,
        staged.overload,
        _as_positions(cells, topology),
        moved_at,
        built.version + 1,
    )
    return after, changed, waiting, wanted


def _reversed_bits(parts: int) -> NDArray[np.uint32]:
    """The number of each partition with its bits in reverse."""
    order = np.zeros(1, dtype=np.uint32)
    while len(order) < parts:
        order = np.concatenate([order * 2, order * 2 + 1])
    return order


def _with_rows(cells: NDArray[np.uint32], total: int) -> NDArray[np.uint32]:
    """The table with `total` replicas: rows cut off, or added as holes.

    Where not all partitions have the last one, those with the lowest numbers, bits reversed, come
    first and go last, so that each run of partitions has its share of them.
    """
    parts = cells.shape[1]
    rows = -(-total // parts)
    if len(cells) < rows:
        more = np.full((rows - len(cells), parts), _HOLE, dtype=np.uint32)
        cells = np.where(cells == _ABSENT, np.uint32(_HOLE), cells)
        cells = np.concatenate([cells, more])
        more = cells[-1]
        more[:] = _ABSENT
    elif len(cells) > rows:
        cells = cells[:rows].copy()
    last, wanted = cells[-1], total - (rows - 1) * parts
    there = last != _ABSENT
    missing = wanted - int(np.count_nonzero(there))
    if missing:
        order = np.argsort(_reversed_bits(parts))  # which partition is first, second, ...
        if missing > 0:
            last[order[~there[order]][:missing]] = _HOLE
        else:
            last[order[there[order]][missing:]] = _ABSENT
    return np.ascontiguousarray(cells)


# --- reports ------------------------------------------------------------------------------------


def report_of(
    before: Built | None,
    after: Built,
    staged: Staged,
    waiting: int,
    wanted: list[int],
    ready: NDArray[np.uint8],
    changed: NDArray[np.uint32],
) -> Rebalance:
    moves = _moves(before, after)
    too_young = just_moved = 0
    ready_at = None
    if waiting and before is not None:
        topology = after.topology
        due = np.array(wanted, dtype=np.int64)[topology.leaf_of]
        over = after.counts() - due
        # Which of a node's cells wait is nobody's to say; of those that cannot move as many are
        # counted as it has too many.
        young = np.zeros(len(over), dtype=np.int64)
        moved = np.zeros(len(over), dtype=np.int64)
        old = (ready == 0) & (changed == 0)
        for row in after.cells:
            for held, columns in ((young, old), (moved, changed != 0)):
                there = row[columns]
                held += np.bincount(there[there != NO_NODE], minlength=len(over))
        over = np.maximum(over, 0)
        too_young = int(np.minimum(over, young).sum())
        just_moved = int(np.minimum(over - np.minimum(over, young), moved).sum())
        if too_young:
            ready_at = int(before.moved_at[old].min()) + staged.min_move_seconds
    return Rebalance(
        moves,
        after.balance(),
        after.dispersion(),
        waiting,
        too_young,
        just_moved,
        waiting - too_young - just_moved,
        ready_at,
    )


def _moves(before: Built | None, after: Built) -> Moves:
    new = after.cells
    if before is None:
        old, nodes = np.full(new.shape, NO_NODE, dtype=np.uint32), after.nodes
    else:
        old, nodes = before.cells, before.nodes
    rows = max(len(old), len(new))
    old, new = (
        np.concatenate([cells, np.full((rows - len(cells), cells.shape[1]), NO_NODE, np.uint32)])
        if len(cells) < rows
        else cells
        for cells in (old, new)
    )
    if nodes == after.nodes:
        same = old
    else:
        now = {node.name: position for position, node in enumerate(after.nodes)}
        names = [now.get(node.name, NO_NODE - 1) for node in nodes]
        same = np.array([*names, NO_NODE], dtype=np.uint32)[np.minimum(old, len(names))]
    partitions, replicas = np.nonzero((same != new).T)
    return Moves(
        nodes,
        after.nodes,
        partitions.astype(np.uint32),
        replicas.astype(np.uint32),
        old[replicas, partitions],
        new[replicas, partitions],
    )
