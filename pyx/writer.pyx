# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The disk's worker: threads in C that write and sync, and never wait for Python."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint64_t

from csrc cimport (
    RL_FLUSH_DATA,
    RL_FLUSH_DIRECT,
    RL_FLUSH_FILE,
    RL_FLUSH_NONE,
    RL_WRITER_BLOCK_BYTES,
    RL_WRITER_LANES_MAX,
    rl_job,
    rl_span,
    rl_writer,
    rl_writer_fd,
    rl_writer_finish,
    rl_writer_free,
    rl_writer_new,
    rl_writer_submit,
    rl_writer_take,
)

import errno
import os

from ringleader.errors import MisuseError

#: What is done after the bytes are written: nothing; the file's bytes are made durable; the file is
#: (a directory, too).
NONE = RL_FLUSH_NONE
DATA = RL_FLUSH_DATA
FILE = RL_FLUSH_FILE
#: Added to one of these: the file was opened with O_DIRECT.  The offset is a multiple of
#: `BLOCK_BYTES`, and the last block is filled up with zeros.
DIRECT = RL_FLUSH_DIRECT
BLOCK_BYTES = RL_WRITER_BLOCK_BYTES


cdef struct Held:
    # A job, and what it holds; `count` buffers and pieces follow.
    rl_job job
    uint64_t token
    size_t count
    Py_buffer *buffers
    rl_span *pieces


cdef Held *hold(size_t count) except NULL:
    cdef size_t size = sizeof(Held) + count * (sizeof(Py_buffer) + sizeof(rl_span))
    cdef Held *held = <Held *>PyMem_Malloc(size)
    if held == NULL:
        raise MemoryError
    held.count = 0
    held.buffers = <Py_buffer *>(held + 1)
    held.pieces = <rl_span *>(held.buffers + count)
    return held


cdef void drop(Held *held) noexcept:
    cdef size_t at
    for at in range(held.count):
        PyBuffer_Release(&held.buffers[at])
    PyMem_Free(held)


@cython.final
cdef class Writer:
    """Writes and syncs on threads of its own.

    Args:
        lanes: each has a thread, and does one job after the other.
    """

    cdef rl_writer *_writer
    cdef unsigned int _lanes
    cdef Py_ssize_t _pending

    def __init__(self, lanes=1):
        if self._writer != NULL:
            raise TypeError("a writer is made once")
        if not 1 <= lanes <= RL_WRITER_LANES_MAX:
            raise ValueError(f"{lanes} lanes: not in 1 ... {RL_WRITER_LANES_MAX}")
        cdef int error = 0
        self._lanes = lanes
        self._writer = rl_writer_new(self._lanes, &error)
        if self._writer == NULL:
            raise OSError(error, os.strerror(error))

    def __dealloc__(self):
        self._end()

    def fileno(self):
        """A file descriptor that is readable when `poll()` has something to give."""
        self._check()
        return rl_writer_fd(self._writer)

    @property
    def pending(self):
        """Jobs that `poll()` has not given yet."""
        return self._pending

    def submit(self, token, fd, offset, buffers, flush=RL_FLUSH_DATA, lane=0):
        """Write `buffers`, one behind the other, from `offset` on, then do what `flush` says.

        The buffers are held, and must not change, until `poll()` gives `token`.
        """
        self._check()
        cdef uint64_t number, start
        cdef int descriptor = fd, how = flush
        cdef Py_ssize_t index = lane
        cdef size_t at
        if not 0 <= index < self._lanes:
            raise ValueError(f"lane {index} of {self._lanes}")
        if not 0 <= how < 2 * RL_FLUSH_DIRECT or how & 3 == 3 or not (
            0 <= offset < 2**63 and 0 <= token < 2**64
        ):
            raise ValueError("a job that is not possible")
        number = token
        start = offset
        if how & RL_FLUSH_DIRECT and start % RL_WRITER_BLOCK_BYTES:
            raise ValueError(f"offset {offset} is no multiple of {RL_WRITER_BLOCK_BYTES}")
        cdef list items = list(buffers)
        cdef Held *held = hold(len(items))
        try:
            for at in range(<size_t>len(items)):
                PyObject_GetBuffer(items[at], &held.buffers[at], PyBUF_SIMPLE)
                held.count += 1
                held.pieces[at].data = <const uint8_t *>held.buffers[at].buf
                held.pieces[at].size = <size_t>held.buffers[at].len
        except BaseException:
            drop(held)
            raise
        held.token = number
        held.job.pieces = held.pieces
        held.job.count = held.count
        held.job.offset = start
        held.job.fd = descriptor
        held.job.flush = how
        cdef int error = rl_writer_submit(self._writer, <unsigned int>index, &held.job)
        if error:
            drop(held)
            if error == errno.ECHILD:
                raise MisuseError("the writer belongs to the process before the fork")
            raise OSError(error, os.strerror(error))
        self._pending += 1

    def poll(self):
        """What is done since the last call: of each job its token, an errno or 0, and how many
        nanoseconds it took at the disk."""
        cdef rl_job *job
        cdef Held *held
        cdef list done = []
        if self._writer == NULL:
            return done
        job = rl_writer_take(self._writer)
        while job != NULL:
            held = <Held *>job  # its first field
            job = job.next
            done.append((held.token, held.job.error, held.job.nanoseconds))
            drop(held)
            self._pending -= 1
        return done

    def close(self):
        """Wait until all that was submitted is done, and end the threads."""
        self._end()

    cdef int _check(self) except -1:
        if self._writer == NULL:
            raise MisuseError("the writer is closed")
        return 0

    cdef void _end(self) noexcept:
        cdef rl_writer *writer = self._writer
        cdef rl_job *job
        cdef Held *held
        if writer == NULL:
            return
        self._writer = NULL
        with nogil:
            rl_writer_finish(writer)
        job = rl_writer_take(writer)
        while job != NULL:
            held = <Held *>job
            job = job.next
            drop(held)
        rl_writer_free(writer)
        self._pending = 0
