"""Multi-probe consistent hashing: the ring of points that a placer probes."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint32_t, uint64_t

from csrc cimport (
    RL_OWNERS_PAD,
    RL_PLACER_CAPSULE,
    RL_PROBES_MAX,
    RL_TOKENS_PAD,
    rl_hash_bytes,
    rl_hasher_init,
    rl_multiprobe,
    rl_multiprobe_bits,
    rl_multiprobe_init,
    rl_ring_build,
    rl_ring_node_tokens,
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
    """A ring of counts[i] points for the node at position i, asked with `probes` probes a key."""

    cdef rl_multiprobe _multi
    cdef readonly object capsule
    cdef object _arrays  # what the pointers in _multi lead to

    def __init__(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, uint32_t probes,
        tuple names not None, const uint32_t[::1] counts not None,
    ):
        cdef Py_ssize_t node_count = len(names), position
        cdef size_t at = 0
        cdef uint64_t name_hash
        cdef bytes name
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        if rl_hasher_init(&self._multi.placer.hasher, kind, seed, seed_hi) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        if not 1 <= probes <= RL_PROBES_MAX:
            raise ValueError(f"{probes} probes")
        if counts.shape[0] != node_count:
            raise ValueError(f"{counts.shape[0]} counts for {node_count} nodes")
        cdef size_t count = <size_t>np.asarray(counts).sum(dtype=np.uint64)
        if not 1 <= count < <size_t>0xFFFFFFFF:
            raise ValueError(f"{count} points")
        live = np.flatnonzero(np.asarray(counts)).astype(np.uint32)
        cdef uint32_t bits = rl_multiprobe_bits(count)
        given = np.empty(count, dtype=np.uint64)
        tokens = np.empty(count + RL_TOKENS_PAD, dtype=np.uint64)
        owners = np.empty(count + RL_OWNERS_PAD, dtype=np.uint32)
        starts = np.empty((<size_t>1 << bits) + 1, dtype=np.uint32)
        firsts = np.empty(<size_t>1 << bits, dtype=np.uint64)
        cdef uint64_t[::1] given_view = given, tokens_view = tokens, firsts_view = firsts
        cdef uint32_t[::1] owners_view = owners, starts_view = starts, live_view = live
        for position in range(node_count):
            if counts[position] == 0:
                continue
            name = (<str>names[position]).encode()
            name_hash = rl_hash_bytes(
                &self._multi.placer.hasher, <char *>name, <size_t>len(name)
            )
            rl_ring_node_tokens(
                &self._multi.placer.hasher, name_hash, 0, counts[position], &given_view[at]
            )
            at += counts[position]
        self._multi.ring.count = count
        self._multi.ring.start_bits = bits
        self._multi.ring.tokens = &tokens_view[0]
        self._multi.ring.owners = &owners_view[0]
        self._multi.ring.starts = &starts_view[0]
        self._multi.firsts = &firsts_view[0]
        with nogil:
            rl_ring_build(&self._multi.ring, &given_view[0], &counts[0])
            rl_multiprobe_init(&self._multi, probes)
        self._arrays = (tokens, owners, starts, firsts, live)
        self._multi.placer.node_count = <size_t>node_count
        self._multi.placer.live_count = <size_t>len(live)
        if len(live) < node_count:
            self._multi.placer.live = &live_view[0]
        self.capsule = PyCapsule_New(&self._multi, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the ring and of its table of first points."""
        return 0 if self._arrays is None else sum([array.nbytes for array in self._arrays])

    def tokens(self):
        """The points' tokens, ascending, uint64, a copy."""
        return self._arrays[0][:self._multi.ring.count].copy()

    def owners(self):
        """The position of each token's node, uint32, a copy."""
        return self._arrays[1][:self._multi.ring.count].copy()
