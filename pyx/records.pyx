# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""How a record of the log is framed; ringleader.storage.record says what that guarantees."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from csrc cimport (
    RL_RECORD_HEADER_BYTES,
    rl_record,
    rl_record_parse,
    rl_record_seal,
    rl_record_size,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
)

HEADER_BYTES = RL_RECORD_HEADER_BYTES

cdef enum:
    # Work on more bytes than this takes longer than giving the GIL away and taking it back.
    NOGIL_BYTES = 65536

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


def seal(uint32_t word, payload, uint32_t tag, uint64_t sequence, uint64_t durable):
    """A whole record.  `word` is its kind, and its group shifted by 8."""
    cdef Py_buffer buffer
    cdef rl_record record
    cdef uint8_t *out
    PyObject_GetBuffer(payload, &buffer, PyBUF_SIMPLE)
    try:
        if <uint64_t>buffer.len >= <uint64_t>1 << 32:
            raise ValueError(f"a record of {buffer.len} bytes")
        record.payload_bytes = <uint32_t>buffer.len
        record.kind_and_group = word
        record.tag = tag
        record.sequence = sequence
        record.durable = durable
        sealed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>rl_record_size(<size_t>buffer.len))
        out = <uint8_t *>PyBytes_AS_STRING(sealed)
        if buffer.len >= NOGIL_BYTES:
            with nogil:
                rl_record_seal(out, &record, buffer.buf)
        else:
            rl_record_seal(out, &record, buffer.buf)
    finally:
        PyBuffer_Release(&buffer)
    return sealed


def parse(data, Py_ssize_t at, uint32_t payload_bytes_max):
    """The record at byte `at`: (word, tag, sequence, durable, payload's bytes); None if there is
    none that is whole."""
    cdef Py_buffer buffer
    cdef rl_record record
    cdef int is_whole = 0
    cdef const uint8_t *start
    cdef size_t size
    PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
    try:
        if 0 <= at <= buffer.len:
            start = <const uint8_t *>buffer.buf + at
            size = <size_t>(buffer.len - at)
            is_whole = rl_record_parse(start, size, payload_bytes_max, &record)
    finally:
        PyBuffer_Release(&buffer)
    if not is_whole:
        return None
    return (
        record.kind_and_group, record.tag, record.sequence, record.durable, record.payload_bytes
    )
