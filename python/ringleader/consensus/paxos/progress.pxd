# The types under which progress.py is compiled.
from libc.stdint cimport int64_t

from ringleader.consensus.progress cimport CoreProgress


cdef class Progress(CoreProgress):
    cdef public list beyond
    cdef public int64_t floor
    cdef public int64_t known
    cdef public int64_t mark
    cdef public int64_t mark_round
    cpdef int64_t held(self)
    cpdef bint holds(self, int64_t first, int64_t last) except -1
    cpdef _holds_beyond(self, int64_t first, int64_t last)
    cpdef list gaps(self, int64_t after, int64_t upto)
