# The types under which progress.py is compiled.
from libc.stdint cimport int64_t


cdef class CoreProgress:
    cdef public object id
    cdef public int64_t match
    cdef public int64_t next
    cdef public int64_t commit
    cdef public int64_t round
    cdef public int64_t round_sent
    cdef public bint active
