"""Jump consistent hash: the state that a placer looks up in, and the bare function."""

cimport cython
from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint32_t, uint64_t

from csrc cimport (
    RL_JUMP_BUCKETS_MAX,
    RL_PLACER_CAPSULE,
    rl_jump,
    rl_jump_bucket,
    rl_jump_buckets,
    rl_jump_init,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
)

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
    """The state of jump consistent hash over `bucket_count` buckets."""

    cdef rl_jump _jump
    cdef readonly object capsule

    def __init__(self, uint32_t kind, uint64_t seed, uint64_t seed_hi, uint32_t bucket_count):
        if not 1 <= bucket_count <= RL_JUMP_BUCKETS_MAX:
            raise ValueError(f"{bucket_count} buckets")
        if self.capsule is not None:
            raise TypeError("a state is made once: readers may hold it")
        if rl_jump_init(&self._jump, kind, seed, seed_hi, bucket_count) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        self.capsule = PyCapsule_New(&self._jump, RL_PLACER_CAPSULE, NULL)

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        return 0


def bucket(uint64_t value, uint32_t bucket_count):
    """The bucket of a 64-bit value; bucket_count is checked by the caller."""
    return rl_jump_bucket(value, bucket_count)


def buckets(
    const uint64_t[::1] values not None, uint32_t[::1] out not None, uint32_t bucket_count
):
    """out[i] = the bucket of values[i]; bucket_count is checked by the caller."""
    if values.shape[0] != out.shape[0]:
        raise ValueError(f"{values.shape[0]} values, but room for {out.shape[0]}")
    cdef size_t count = <size_t>values.shape[0]
    if count != 0:
        with nogil:
            rl_jump_buckets(&values[0], count, bucket_count, &out[0])
