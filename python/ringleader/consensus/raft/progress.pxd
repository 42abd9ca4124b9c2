# The types under which progress.py is compiled.
from libc.stdint cimport int64_t

from ringleader.consensus.progress cimport CoreProgress


cdef class Progress(CoreProgress):
    cdef public int state
    cdef public bint paused
    cdef public bint witness
    cdef public object snapshot
    cdef public int64_t offset
    cdef public int64_t offset_round
    cdef public int64_t sent
    cdef public int64_t stalled
    cpdef void become_probe(self, int64_t next)
    cpdef void become_replicate(self)
    cpdef void become_snapshot(self, object snapshot)
    cpdef bint acknowledged(self, int64_t match)
