# The types under which ready.py is compiled.
cimport cython
from libc.stdint cimport int64_t


cdef class HardState:
    cdef readonly int64_t term
    cdef readonly object vote
    cdef readonly int64_t commit


cdef class ReadState:
    cdef readonly bytes context
    cdef readonly int64_t index


cdef class Placed:
    cdef readonly int64_t ticket
    cdef readonly int64_t index
    cdef readonly int64_t term


cdef class Ready:
    cdef public int64_t number
    cdef public object hard_state
    cdef public list chunks
    cdef public list aside
    cdef public bint clears_aside
    cdef public object snapshot
    cdef public object block
    cdef public list messages
    cdef public int64_t early
    cdef public object committed
    cdef public list reads
    cdef public list placed
    cdef public int64_t last
    cdef public int64_t applies
    cpdef bint _writes(self)


@cython.locals(ready=Ready)
cpdef Ready new_ready(int64_t number)
