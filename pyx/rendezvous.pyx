"""Rendezvous hashing: the states that a placer looks up in."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from csrc cimport (
    RL_PLACER_CAPSULE,
    rl_hash_bytes,
    rl_hasher,
    rl_hasher_init,
    rl_pymemcache,
    rl_pymemcache_init,
    rl_pymemcache_node,
    rl_pymemcache_prepare,
    rl_rendezvous,
    rl_rendezvous_bound,
    rl_rendezvous_exponential,
    rl_rendezvous_init,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
)

import numpy as np

rl_simd()


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


def exponential(uint64_t draw):
    """-ln(1 - draw / 2**64), as the format defines it."""
    return rl_rendezvous_exponential(draw)


def hashes(uint32_t kind, uint64_t seed, uint64_t seed_hi, list texts not None):
    """The hash of each of these bytes, as a uint64 array."""
    cdef rl_hasher hasher
    cdef bytes text
    cdef Py_ssize_t i
    if rl_hasher_init(&hasher, kind, seed, seed_hi) != 0:
        raise ValueError(f"unknown hash kind {kind}")
    found = np.empty(len(texts), dtype=np.uint64)
    cdef uint64_t[::1] out = found
    for i in range(len(texts)):
        text = texts[i]
        out[i] = rl_hash_bytes(&hasher, <const uint8_t *>text, <size_t>len(text))
    return found


@cython.final
cdef class State:
    """Groups of entries; the last groups, from `leaf_start` on, hold the nodes.

    starts: where each group begins, and the number of entries.
    targets: what each entry means: a group, or in a leaf the position of a node.
    """

    cdef rl_rendezvous _rendezvous
    cdef const uint64_t[::1] _salts
    cdef const double[::1] _weights
    cdef double[::1] _bounds
    cdef const uint32_t[::1] _targets
    cdef const uint32_t[::1] _starts
    cdef const uint8_t[::1] _even
    cdef const uint32_t[::1] _live
    cdef readonly object capsule

    def __init__(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, const uint64_t[::1] salts not None,
        const double[::1] weights not None, const uint32_t[::1] targets not None,
        const uint32_t[::1] starts not None, uint32_t leaf_start,
    ):
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        self._even, self._live = _checked(salts, weights, targets, starts, leaf_start)
        if rl_rendezvous_init(&self._rendezvous, kind, seed, seed_hi, leaf_start == 0) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        self._salts = salts
        self._weights = weights
        self._targets = targets
        self._starts = starts
        self._bounds = np.empty(salts.shape[0], dtype=np.float64)
        cdef Py_ssize_t i
        for i in range(salts.shape[0]):
            self._bounds[i] = rl_rendezvous_bound(weights[i])
        self._rendezvous.salts = &self._salts[0]
        self._rendezvous.weights = &self._weights[0]
        self._rendezvous.bounds = &self._bounds[0]
        self._rendezvous.targets = &self._targets[0]
        self._rendezvous.starts = &self._starts[0]
        self._rendezvous.even = &self._even[0]
        self._rendezvous.leaf_start = leaf_start
        self._rendezvous.placer.live_count = <size_t>self._live.shape[0]
        self._rendezvous.placer.live = &self._live[0]
        self._rendezvous.placer.node_count = <size_t>np.asarray(self._live).max() + 1
        self.capsule = PyCapsule_New(&self._rendezvous, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        return (
            self._salts.nbytes + self._weights.nbytes + self._bounds.nbytes + self._targets.nbytes
            + self._starts.nbytes + self._even.nbytes + self._live.nbytes
        )


def _checked(salts, weights, targets, starts, leaf_start):
    """Which groups have equal weights, and the nodes' positions; refuses tables that lead astray.
    """
    salts, weights, targets, starts = map(np.asarray, (salts, weights, targets, starts))
    groups = len(starts) - 1
    sizes = np.diff(starts.astype(np.int64))
    if groups < 1 or starts[0] != 0 or (sizes < 1).any() or starts[groups] != len(salts):
        raise ValueError("the groups do not make up the entries")
    if not len(salts) == len(weights) == len(targets) or not leaf_start < groups:
        raise ValueError("salts, weights and targets are not of one length")
    if not ((weights > 0) & np.isfinite(weights)).all():
        raise ValueError("a weight that is not positive")
    leaves = int(starts[leaf_start])
    groups_of = np.repeat(np.arange(groups), sizes)[:leaves]
    inner = targets[:leaves]
    if (inner <= groups_of).any() or (inner >= groups).any():
        raise ValueError("an entry that leads nowhere")
    live = np.sort(targets[leaves:])
    if (np.diff(live) == 0).any():
        raise ValueError("two entries of one node")
    lowest = np.minimum.reduceat(weights, starts[:groups])
    even = (lowest == np.maximum.reduceat(weights, starts[:groups])).astype(np.uint8)
    return even, live


@cython.final
cdef class Pymemcache:
    """What pymemcache computes, for nodes in the order of their names.

    names: of the nodes of positive weight, in UTF-8; positions: theirs, ascending.
    """

    cdef rl_pymemcache _state
    cdef rl_pymemcache_node *_nodes
    cdef const uint32_t[::1] _live
    cdef readonly object capsule

    def __init__(
        self, uint32_t seed, list names not None, const uint32_t[::1] positions not None
    ):
        cdef bytes name
        cdef Py_ssize_t i
        if self.capsule is not None or self._nodes != NULL:
            raise TypeError("a state is made once: readers may hold it")
        found = np.asarray(positions)
        if not 1 <= len(names) == len(found) or (np.diff(found.astype(np.int64)) <= 0).any():
            raise ValueError("positions do not fit the names")
        self._nodes = <rl_pymemcache_node *>malloc(len(names) * sizeof(rl_pymemcache_node))
        if self._nodes == NULL:
            raise MemoryError()
        for i in range(len(names)):
            name = names[i] + b"-"
            self._nodes[i] = rl_pymemcache_prepare(
                <const uint8_t *>name, <size_t>len(name), seed, positions[i]
            )
        rl_pymemcache_init(&self._state)
        self._live = positions
        self._state.nodes = self._nodes
        self._state.placer.live_count = <size_t>len(names)
        self._state.placer.live = &self._live[0]
        self._state.placer.node_count = <size_t>found.max() + 1
        self.capsule = PyCapsule_New(&self._state, RL_PLACER_CAPSULE, NULL)

    def __dealloc__(self):
        free(self._nodes)

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        return self._live.shape[0] * (sizeof(rl_pymemcache_node) + sizeof(uint32_t))
