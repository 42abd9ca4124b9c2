# The types under which progress.py is compiled.
from libc.stdint cimport int64_t


cdef class Progress:
    cdef public object id
    cdef public int64_t match
    cdef public list beyond
    cdef public int64_t next
    cdef public int64_t mark
    cdef public int64_t mark_round
    cdef public int64_t commit
    cdef public int64_t round
    cdef public int64_t round_sent
    cdef public bint active
    cpdef bint holds(self, int64_t first, int64_t last) except -1
    cpdef _holds_beyond(self, int64_t first, int64_t last)
    cpdef list gaps(self, int64_t after, int64_t upto)
