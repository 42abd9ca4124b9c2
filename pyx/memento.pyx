"""MementoHash: the state that a placer looks up in."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint32_t, uint64_t

from csrc cimport (
    RL_BUCKETS_MAX,
    RL_PLACER_CAPSULE,
    rl_memento_fill,
    rl_memento_init,
    rl_buckets,
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


@cython.final
cdef class State:
    """Buckets of which some were removed, in that order; `positions` has a node for each other."""

    cdef rl_buckets _buckets
    cdef uint64_t[::1] _entries
    cdef uint32_t[::1] _live
    cdef readonly object capsule

    def __init__(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, const uint32_t[::1] removed not None,
        const uint32_t[::1] positions not None,
    ):
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        if not 1 <= positions.shape[0] <= RL_BUCKETS_MAX:
            raise ValueError(f"{positions.shape[0]} buckets")
        cdef uint32_t bucket_count = <uint32_t>positions.shape[0]
        stands = np.ones(bucket_count, dtype=bool)
        gone = np.asarray(removed)
        if len(gone) >= bucket_count or (gone >= bucket_count).any():
            raise ValueError("more buckets are removed than there are")
        stands[gone] = False
        if stands.sum() != bucket_count - len(gone):
            raise ValueError("a bucket is removed twice")
        if rl_memento_init(&self._buckets, kind, seed, seed_hi) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        live = np.sort(np.asarray(positions)[stands])
        if (np.diff(live) == 0).any():
            raise ValueError("two buckets of one position")
        self._live = live
        self._buckets.bucket_count = bucket_count
        self._buckets.placer.live_count = <size_t>len(live)
        self._buckets.placer.node_count = <size_t>live.max() + 1
        if self._buckets.placer.node_count != self._buckets.placer.live_count:
            self._buckets.placer.live = &self._live[0]
        self._entries = np.empty(bucket_count, dtype=np.uint64)
        rl_memento_fill(
            &self._entries[0], bucket_count, &removed[0] if removed.shape[0] else NULL,
            <size_t>removed.shape[0], &positions[0],
        )
        self._buckets.entries = &self._entries[0]
        self.capsule = PyCapsule_New(&self._buckets, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        return self._entries.nbytes + self._live.nbytes
