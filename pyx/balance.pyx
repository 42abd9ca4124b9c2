"""Points that share a circle out evenly: one change at a time, or a ring from nothing."""

from libc.stdint cimport uint32_t, uint64_t

from csrc cimport (
    RL_BALANCE_BITS,
    rl_balance,
    rl_balance_ask,
    rl_balance_change,
    rl_balance_free,
    rl_balance_init,
    rl_balance_load,
    rl_balance_store,
)

import numpy as np

cdef int _SHIFT = 64 - RL_BALANCE_BITS


cdef class _Circle:
    """Owns an rl_balance."""

    cdef rl_balance balance
    cdef uint64_t[::1] weights
    cdef uint32_t[::1] counts

    def __cinit__(self, weights, counts, uint64_t points_max):
        self.weights = np.array(weights, dtype=np.uint64)
        self.counts = np.array(counts, dtype=np.uint32)
        if self.weights.shape[0] != self.counts.shape[0]:
            raise ValueError("weights and counts have to be of the same length")
        cdef Py_ssize_t i
        for i in range(self.weights.shape[0]):
            if (self.weights[i] != 0) != (self.counts[i] != 0):
                raise ValueError("a node has points if it has weight")
        if rl_balance_init(&self.balance, <size_t>self.weights.shape[0], points_max) != 0:
            raise MemoryError()

    def __dealloc__(self):
        rl_balance_free(&self.balance)

    cdef tuple grouped(self):
        """The tokens by node, and how many each has."""
        tokens = np.empty(self.balance.point_count, dtype=np.uint64)
        haves = np.empty(self.weights.shape[0], dtype=np.uint32)
        cdef uint64_t[::1] token_cells = tokens
        cdef uint32_t[::1] have_cells = haves
        cdef uint64_t none = 0
        if self.weights.shape[0]:
            with nogil:
                rl_balance_store(
                    &self.balance, &token_cells[0] if token_cells.shape[0] else &none,
                    &have_cells[0],
                )
        np.left_shift(tokens, _SHIFT, out=tokens)
        return tokens, haves


def change(
    tokens, owners, weights, counts, Py_ssize_t node, uint64_t offset, uint64_t points_max
):
    """Give `node` its due: points to grow, or to shrink, until its share is that of its weight.

    Args:
        tokens, owners: the points, ascending; owners are positions in `weights`.
        weights, counts: of each node, after the change: what it weighs, and the points that such a
            weight is to have; both 0 for a node that goes.
        offset: where the first node's first point stands.
        points_max: the ring stays within it, or gets no more points than `counts` ask for.

    Returns:
        The tokens by node, each node's ascending, and how many each node has.
    """
    cdef _Circle circle = _Circle(weights, counts, points_max)
    cdef uint64_t[::1] token_cells = np.array(tokens, dtype=np.uint64) >> _SHIFT
    cdef const uint32_t[::1] owner_cells = np.ascontiguousarray(owners, dtype=np.uint32)
    cdef Py_ssize_t i, node_count = circle.weights.shape[0], count = token_cells.shape[0]
    cdef int failed = 0
    cdef bint descends = False, weightless = False
    if count != owner_cells.shape[0]:
        raise ValueError("tokens and owners, weights and counts have to be of the same lengths")
    if not 0 <= node < node_count:
        raise ValueError(f"there is no node {node}")
    with nogil:
        for i in range(count):
            if owner_cells[i] >= node_count or (
                circle.weights[owner_cells[i]] == 0 and owner_cells[i] != node
            ):
                weightless = True
                break
            if i > 0 and token_cells[i - 1] >= token_cells[i]:
                descends = True
    if weightless:
        raise ValueError("a point belongs to a node without weight")
    if descends:
        raise ValueError("tokens have to ascend, and to differ in their upper 62 bits")
    with nogil:
        for i in range(node_count):
            rl_balance_ask(&circle.balance, <uint32_t>i, circle.weights[i], circle.counts[i])
        if count:
            failed = rl_balance_load(
                &circle.balance, &token_cells[0], &owner_cells[0], <size_t>count
            )
        if failed == 0:
            failed = rl_balance_change(&circle.balance, <uint32_t>node, offset >> _SHIFT)
    if failed:
        raise MemoryError()
    return circle.grouped()


def build(weights, counts, uint64_t offset, uint64_t points_max):
    """The nodes added one after the other, in the order of their positions.

    Arguments and result as of `change`.
    """
    cdef _Circle circle = _Circle(weights, counts, points_max)
    cdef Py_ssize_t i
    cdef int failed = 0
    with nogil:
        for i in range(circle.weights.shape[0]):
            rl_balance_ask(&circle.balance, <uint32_t>i, circle.weights[i], circle.counts[i])
            failed = rl_balance_change(&circle.balance, <uint32_t>i, offset >> _SHIFT)
            if failed:
                break
    if failed:
        raise MemoryError()
    return circle.grouped()
