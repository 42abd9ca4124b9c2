"""Maglev hashing: the table of slots that a placer looks up in."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from csrc cimport (
    RL_MAGLEV_NARROW_MAX,
    RL_MAGLEV_PAD,
    RL_MAGLEV_SLOTS_MAX,
    RL_PLACER_CAPSULE,
    rl_hash_bytes,
    rl_hasher,
    rl_hasher_init,
    rl_maglev,
    rl_maglev_counts,
    rl_maglev_entry,
    rl_maglev_fill,
    rl_maglev_init,
    rl_maglev_slot,
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
    """A filled table of `slot_count` slots, which is a prime; the caller has checked that.

    names: of all nodes, by position.  weights: their shares of all weights; a node of 0 has no
    slots.  skip_seed: of the second hash of names.
    """

    cdef rl_maglev _maglev
    cdef readonly object capsule
    cdef object _table  # arrays that the pointers in _maglev lead to
    cdef object _live

    def __init__(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, uint64_t skip_seed,
        uint64_t skip_seed_hi, Py_ssize_t slot_count, tuple names not None,
        const double[::1] weights not None,
    ):
        cdef rl_hasher skip_hasher
        cdef Py_ssize_t node_count = len(names), position, filled = 0
        cdef bytes name
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        if rl_hasher_init(&self._maglev.placer.hasher, kind, seed, seed_hi) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        rl_hasher_init(&skip_hasher, kind, skip_seed, skip_seed_hi)
        if weights.shape[0] != node_count:
            raise ValueError(f"{weights.shape[0]} weights for {node_count} nodes")
        live = np.flatnonzero(np.asarray(weights)).astype(np.uint32)
        cdef Py_ssize_t live_count = len(live)
        if not 2 <= slot_count <= <Py_ssize_t>RL_MAGLEV_SLOTS_MAX:
            raise ValueError(f"{slot_count} slots")
        if not 1 <= live_count <= slot_count:
            raise ValueError(f"{live_count} nodes for {slot_count} slots")
        entry_bytes = np.zeros(live_count * sizeof(rl_maglev_entry), dtype=np.uint8)
        cdef unsigned char[::1] room = entry_bytes
        cdef rl_maglev_entry *entries = <rl_maglev_entry *>&room[0]
        for position in range(node_count):
            if weights[position] == 0:
                continue
            if not 0 < weights[position] <= 1:
                raise ValueError(f"a share of {weights[position]}")
            name = (<str>names[position]).encode()
            entries[filled].position = <uint32_t>position
            entries[filled].at = <uint32_t>(
                rl_hash_bytes(&self._maglev.placer.hasher, <char *>name, <size_t>len(name))
                % <uint64_t>slot_count
            )
            entries[filled].skip = <uint32_t>(
                rl_hash_bytes(&skip_hasher, <char *>name, <size_t>len(name))
                % <uint64_t>(slot_count - 1)
            ) + 1
            entries[filled].weight = weights[position]
            filled += 1
        slots = np.empty(slot_count, dtype=np.uint32)
        cdef uint32_t[::1] slots_view = slots
        cdef uint64_t[::1] taken = np.zeros(slot_count // 64 + 1, dtype=np.uint64)
        cdef uint64_t[::1] heap = np.zeros(live_count, dtype=np.uint64)
        with nogil:
            rl_maglev_fill(
                entries, <size_t>live_count, <size_t>slot_count, &slots_view[0], &taken[0],
                &heap[0],
            )
        cdef uint16_t[::1] narrow
        cdef const uint16_t *narrow_at = NULL
        cdef const uint32_t *wide_at = NULL
        if node_count <= <Py_ssize_t>RL_MAGLEV_NARROW_MAX:
            self._table = np.zeros(slot_count + RL_MAGLEV_PAD, dtype=np.uint16)
            self._table[:slot_count] = slots
            narrow = self._table
            narrow_at = &narrow[0]
        else:
            self._table = slots
            wide_at = &slots_view[0]
        rl_maglev_init(&self._maglev, <size_t>slot_count, narrow_at, wide_at)
        self._maglev.placer.node_count = <size_t>node_count
        self._maglev.placer.live_count = <size_t>live_count
        cdef uint32_t[::1] live_view
        if live_count < node_count:
            self._live = live
            live_view = live
            self._maglev.placer.live = &live_view[0]
        self.capsule = PyCapsule_New(&self._maglev, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the table."""
        return 0 if self._table is None else self._table.nbytes

    def slots(self):
        """The position in each slot, uint32, a copy."""
        return self._table[:self._maglev.slot_count].astype(np.uint32)

    def counts(self):
        """How many slots each position has, uint32."""
        counts = np.zeros(self._maglev.placer.node_count, dtype=np.uint32)
        cdef uint32_t[::1] view = counts
        rl_maglev_counts(&self._maglev, &view[0])
        return counts

    def slot(self, uint64_t value):
        """The slot of a hash."""
        return rl_maglev_slot(&self._maglev, value)
