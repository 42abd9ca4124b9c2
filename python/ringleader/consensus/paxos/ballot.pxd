# The types under which ballot.py is compiled.
from libc.stdint cimport int64_t

cdef int64_t _NUMBERS

cpdef int64_t number_of(node) except -1
cpdef int64_t round_of(int64_t ballot)
cpdef int64_t owner_number(int64_t ballot)
cpdef int64_t next_ballot(int64_t after, int64_t number)
