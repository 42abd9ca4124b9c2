"""Redis Cluster's table of slots: the state that a placer looks up in."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint16_t, uint32_t

from csrc cimport (
    RL_PLACER_CAPSULE,
    RL_REDIS_SLOTS,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_slots,
    rl_slots_init,
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
    """A table of slots, uint16 positions of nodes, over `node_count` nodes."""

    cdef rl_slots _slots
    cdef uint32_t[::1] _live
    cdef readonly object capsule

    def __init__(self, const uint16_t[::1] owners not None, Py_ssize_t node_count):
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        if owners.shape[0] != RL_REDIS_SLOTS:
            raise ValueError(f"{owners.shape[0]} owners for {RL_REDIS_SLOTS} slots")
        live = np.unique(owners).astype(np.uint32)
        if live.max() >= node_count:
            raise ValueError(f"a slot belongs to node {live.max()} of {node_count}")
        self._live = live
        rl_slots_init(
            &self._slots, &owners[0], <size_t>node_count, &self._live[0],
            <size_t>self._live.shape[0]
        )
        self.capsule = PyCapsule_New(&self._slots, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        return sizeof(self._slots.owners) + self._live.nbytes
