"""A table of partitions: fill it, rebalance it, say how well its replicas are spread."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from csrc cimport (
    RL_PARTS_LEVELS,
    rl_parts_at_risk,
    rl_parts_fill,
    rl_parts_handoffs,
    rl_parts_rebalance,
    rl_parts_tree,
    rl_parts_work,
)

import numpy as np


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
        cdef uint32_t[:, ::1] cells = np.empty((rows, 1 << power), dtype=np.uint32)
        cdef int done
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
        if ready.shape[0] != old.shape[1]:
            raise ValueError("ready is not one byte a partition")
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
        with nogil:
            risk = rl_parts_at_risk(&self._tree, power, rows, &cells[0, 0], &allowed[0], &tally[0])
        return risk

    def handoffs(self, const uint32_t[:, ::1] cells not None, size_t part, size_t wanted):
        """The first `wanted` leaves, or as many as there are, that take over for a partition."""
        cdef uint32_t[::1] leaves = np.empty(wanted + 1, dtype=np.uint32)
        cdef uint8_t[::1] used = np.empty(self._tree.tier_count, dtype=np.uint8)
        cdef uint32_t power = _power_of(cells.shape[1]), rows = <uint32_t>cells.shape[0]
        cdef size_t found, i
        if part >= <size_t>cells.shape[1]:
            raise ValueError(f"there is no partition {part}")
        with nogil:
            found = rl_parts_handoffs(
                &self._tree, power, rows, &cells[0, 0], part, wanted, &leaves[0], &used[0]
            )
        return [leaves[i] for i in range(found)]


cdef uint32_t _power_of(Py_ssize_t parts) except? 99:
    cdef uint32_t power = 0
    while <Py_ssize_t>1 << power < parts:
        power += 1
    if <Py_ssize_t>1 << power != parts:
        raise ValueError(f"{parts} partitions are no power of two")
    return power
