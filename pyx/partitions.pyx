"""A table of partitions: the state that a placer looks up in, and how it is filled and changed."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport UINT16_MAX, UINT32_MAX, uint8_t, uint16_t, uint32_t, uint64_t

from csrc cimport (
    RL_PARTS_ABSENT,
    RL_PARTS_HOLE,
    RL_PARTS_LEVELS,
    RL_PARTS_POWER_MAX,
    RL_PARTS_ROWS_MAX,
    RL_PLACER_CAPSULE,
    rl_partitions,
    rl_partitions_handoffs,
    rl_partitions_holders,
    rl_partitions_init,
    rl_parts_at_risk,
    rl_parts_fill,
    rl_parts_rebalance,
    rl_parts_tree,
    rl_parts_work,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
)

import numpy as np

rl_simd()  # decided here, under the import lock, and then only read


def simd_supported():
    """The widest instructions that CPU and system support, as an index of kernels.SIMD_LEVELS."""
    return rl_simd_supported()


def simd():
    """The level in force in this module."""
    return rl_simd()


def simd_force(int level):
    """Make `level` the one in force; the caller has checked that the CPU has it."""
    if rl_simd_force(level) != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


@cython.final
cdef class State:
    """A table of partitions to look up in (csrc/partitions.h).

    Args:
        kind, seed, seed_hi: the hash.
        cells: uint32, shape (rows, 2**power): positions, or 2**32 - 1 where a partition has no
            replica; not in the first `full_rows` rows.
        full_rows: at least 1.
        tiers: uint32, shape (nodes, 4): the tiers of each position, below `tier_count`.
        live: uint32: the positions of nodes of positive weight, ascending; at least one.

    Everything is copied.
    """

    cdef rl_partitions _table
    cdef uint16_t[::1] _narrow
    cdef uint32_t[::1] _wide
    cdef uint32_t[:, ::1] _tiers
    cdef uint32_t[::1] _live
    cdef uint8_t[::1] _takes
    cdef readonly object capsule
    # Nodes that are live or have a cell: the most that a key can meet.
    cdef readonly size_t met_max

    def __init__(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, const uint32_t[:, ::1] cells not None,
        uint32_t full_rows, const uint32_t[:, ::1] tiers not None, size_t tier_count,
        const uint32_t[::1] live not None,
    ):
        cdef size_t count = <size_t>tiers.shape[0], i
        cdef Py_ssize_t rows = cells.shape[0], parts = cells.shape[1], row, part
        cdef uint32_t position
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        if (
            not 1 <= full_rows <= rows
            or rows > RL_PARTS_ROWS_MAX
            or tiers.shape[1] != RL_PARTS_LEVELS
        ):
            raise ValueError("the arrays are not those of one table")
        if live.shape[0] < 1:
            raise ValueError("no position is live")
        self._table.power = _power_of(parts)
        self._tiers, self._live = np.array(tiers), np.array(live)
        self._takes = np.zeros(count, dtype=np.uint8)
        for i in range(count):
            for row in range(RL_PARTS_LEVELS):
                if tiers[i, row] >= tier_count:
                    raise ValueError(f"tier {tiers[i, row]} of position {i}")
        for row in range(rows):
            for part in range(parts):
                position = cells[row, part]
                if position < count:
                    self._takes[position] = 2
                elif position != UINT32_MAX or row < <Py_ssize_t>full_rows:
                    raise ValueError(f"cell {row}, {part} holds no position")
        for i in range(<size_t>live.shape[0]):
            if live[i] >= count:
                raise ValueError(f"live position {live[i]}")
            self._takes[live[i]] |= 1
        for i in range(count):
            self.met_max += self._takes[i] != 0
            self._takes[i] = self._takes[i] == 3
        if count < UINT16_MAX:
            self._narrow = np.full(rows * parts + 1, UINT16_MAX, dtype=np.uint16)
            np.asarray(self._narrow)[: rows * parts] = np.asarray(cells).reshape(-1)
            self._table.narrow = &self._narrow[0]
        else:
            self._wide = np.array(cells).reshape(-1)
            self._table.wide = &self._wide[0]
        self._table.rows = <uint32_t>rows
        self._table.full_rows = full_rows
        self._table.tiers = &self._tiers[0, 0]
        self._table.takes = &self._takes[0]
        self._table.placer.node_count = count
        self._table.placer.live_count = <size_t>live.shape[0]
        self._table.placer.live = &self._live[0]
        cdef uint8_t[::1] stamps = np.zeros(tier_count, dtype=np.uint8)
        if rl_partitions_init(&self._table, kind, seed, seed_hi, tier_count, &stamps[0]) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        self.capsule = PyCapsule_New(&self._table, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        cdef Py_ssize_t cells
        if self._table.narrow != NULL:
            cells = self._narrow.nbytes
        else:
            cells = self._wide.nbytes
        return cells + self._tiers.nbytes + self._live.nbytes + self._takes.nbytes

    def cells(self):
        """A copy of the table, uint32, shape (rows, 2**power), as it was given."""
        shape = self._table.rows, 1 << self._table.power
        if self._table.narrow == NULL:
            return np.array(self._wide).reshape(shape)
        narrow = np.asarray(self._narrow)[: shape[0] * shape[1]]
        cells = narrow.astype(np.uint32)
        cells[narrow == UINT16_MAX] = 0xFFFFFFFF
        return cells.reshape(shape)

    def holders(self, size_t part):
        """The positions of a partition's nodes, in the order of its rows."""
        cdef uint32_t found[RL_PARTS_ROWS_MAX]
        cdef size_t i
        self._check_part(part)
        return [found[i] for i in range(rl_partitions_holders(&self._table, part, found))]

    def handoffs(self, size_t part, size_t wanted):
        """The first `wanted` live positions, or all there are, that take over for a partition."""
        cdef size_t nodes = self._table.placer.node_count, held, count, i
        self._check_part(part)
        cdef uint32_t[::1] found = np.empty(nodes + RL_PARTS_ROWS_MAX, dtype=np.uint32)
        cdef uint64_t[::1] seen = np.zeros(nodes // 64 + 1, dtype=np.uint64)
        held = rl_partitions_holders(&self._table, part, &found[0])
        for i in range(held):
            seen[found[i] // 64] |= <uint64_t>1 << found[i] % 64
        wanted = min(wanted, nodes)
        with nogil:
            count = rl_partitions_handoffs(
                &self._table, part, held, held + wanted, &found[0], &seen[0]
            )
        return [found[i] for i in range(held, count)]

    cdef int _check_part(self, size_t part) except -1:
        if part >> self._table.power:
            raise ValueError(f"there is no partition {part}")
        return 0


@cython.final
cdef class Tree:
    """Where the nodes stand, and how many cells each tier wants (csrc/partitions.h).

    Args:
        first_child: uint32, for each tier that is no leaf, and the number of tiers behind them.
        paths: uint32, shape (leaves, 4): the region, zone, server and leaf of each leaf.
        wanted: uint32, for each tier.
        limit: uint32, for each tier.

    The arrays are kept, and must not change.
    """

    cdef rl_parts_tree _tree
    cdef const uint32_t[::1] _first_child
    cdef const uint32_t[:, ::1] _paths
    cdef const uint32_t[::1] _wanted
    cdef const uint32_t[::1] _limit

    def __init__(
        self, const uint32_t[::1] first_child not None, const uint32_t[:, ::1] paths not None,
        const uint32_t[::1] wanted not None, const uint32_t[::1] limit not None,
    ):
        cdef Py_ssize_t leaf_first = first_child.shape[0] - 1
        if (
            leaf_first < 1
            or paths.shape[0] < 1
            or paths.shape[1] != RL_PARTS_LEVELS
            or wanted.shape[0] != leaf_first + paths.shape[0]
            or limit.shape[0] != wanted.shape[0]
        ):
            raise ValueError("the arrays are not those of one tree")
        _check_tree(first_child, paths)
        self._first_child, self._paths = first_child, paths
        self._wanted, self._limit = wanted, limit
        self._tree.tier_count = <size_t>wanted.shape[0]
        self._tree.leaf_first = <size_t>leaf_first
        self._tree.first_child = &first_child[0]
        self._tree.paths = &paths[0, 0]
        self._tree.wanted = &wanted[0]
        self._tree.limit = &limit[0]

    def fill(self, uint32_t power, uint32_t rows, uint64_t seed):
        """A table filled from nothing, uint32, shape (rows, 2**power)."""
        cdef uint32_t[:, ::1] cells
        cdef int done
        if power > RL_PARTS_POWER_MAX or not 1 <= rows <= RL_PARTS_ROWS_MAX:
            raise ValueError(f"2**{power} partitions of {rows} rows")
        cells = np.empty((rows, 1 << power), dtype=np.uint32)
        with nogil:
            done = rl_parts_fill(&self._tree, power, rows, seed, &cells[0, 0])
        if done != 0:
            raise MemoryError()
        return np.asarray(cells)

    def rebalance(
        self, const uint32_t[:, ::1] old not None, const uint8_t[::1] ready not None,
        uint64_t seed,
    ):
        """The table rebalanced, what changed of it, and the cells left where they should not be.

        Args:
            old: uint32, shape (rows, 2**power).
            ready: uint8, for each partition: whether it is old enough to move.
            seed: decides in which order partitions are visited.

        Returns:
            The new table; for each partition a uint32 whose bit r says that row r changed; the
            cells that still are on leaves with more than they want.
        """
        cdef uint32_t[:, ::1] cells = np.array(old)
        cdef uint32_t[::1] changed = np.zeros(old.shape[1], dtype=np.uint32)
        cdef rl_parts_work work
        cdef uint32_t power = _power_of(old.shape[1]), rows = <uint32_t>old.shape[0]
        cdef int done
        if ready.shape[0] != old.shape[1] or not 1 <= old.shape[0] <= RL_PARTS_ROWS_MAX:
            raise ValueError("the arrays are not those of one table")
        _check_cells(old, &self._tree, True)
        with nogil:
            done = rl_parts_rebalance(
                &self._tree, power, rows, seed, &old[0, 0], &ready[0], &cells[0, 0], &changed[0],
                &work,
            )
        if done != 0:
            raise MemoryError()
        return np.asarray(cells), np.asarray(changed), work.surplus

    def at_risk(
        self, const uint32_t[:, ::1] cells not None, const uint32_t[::1] allowed not None
    ):
        """Replicas that are less far apart than `allowed`, uint32 for each tier, would have it."""
        cdef uint32_t[::1] tally = np.zeros(self._tree.tier_count, dtype=np.uint32)
        cdef uint32_t power = _power_of(cells.shape[1]), rows = <uint32_t>cells.shape[0]
        cdef uint64_t risk
        if allowed.shape[0] != tally.shape[0]:
            raise ValueError("allowed is not one number a tier")
        _check_cells(cells, &self._tree, False)
        with nogil:
            risk = rl_parts_at_risk(&self._tree, power, rows, &cells[0, 0], &allowed[0], &tally[0])
        return risk


cdef int _check_tree(const uint32_t[::1] first_child, const uint32_t[:, ::1] paths) except -1:
    """Every tier has children, each level's behind the level's before, and paths follow them."""
    cdef Py_ssize_t leaf_first = first_child.shape[0] - 1, i, level
    cdef uint32_t above, tier
    cdef bint good = first_child[0] == 1
    for i in range(leaf_first):
        good &= i < <Py_ssize_t>first_child[i] < <Py_ssize_t>first_child[i + 1]
    good &= <Py_ssize_t>first_child[leaf_first] == leaf_first + paths.shape[0]
    for i in range(paths.shape[0] if good else 0):
        above = 0
        for level in range(RL_PARTS_LEVELS):
            tier = paths[i, level]
            good = good and <Py_ssize_t>above < leaf_first
            good = good and first_child[above] <= tier < first_child[above + 1]
            above = tier
        good = good and <Py_ssize_t>above == leaf_first + i
    if not good:
        raise ValueError("the arrays are not those of one tree")
    return 0


cdef int _check_cells(
    const uint32_t[:, ::1] cells, const rl_parts_tree *tree, bint holes
) except -1:
    """Leaves, or the marks of cells that are not there."""
    cdef Py_ssize_t row, part
    cdef uint32_t cell
    for row in range(cells.shape[0]):
        for part in range(cells.shape[1]):
            cell = cells[row, part]
            if not (
                tree.leaf_first <= cell < tree.tier_count
                or cell == RL_PARTS_ABSENT
                or holes and cell == RL_PARTS_HOLE
            ):
                raise ValueError(f"cell {row}, {part} holds no leaf")
    return 0


cdef uint32_t _power_of(Py_ssize_t parts) except? 99:
    cdef uint32_t power = 0
    while <Py_ssize_t>1 << power < parts:
        power += 1
    if <Py_ssize_t>1 << power != parts or power > RL_PARTS_POWER_MAX:
        raise ValueError(f"{parts} partitions are no power of two, or too many")
    return power
