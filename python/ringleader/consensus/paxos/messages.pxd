# The types under which messages.py is compiled; the module itself runs without them.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.message cimport Message, SnapshotChunk
from ringleader.consensus.paxos.ballot cimport number_of, owner_number

cdef int64_t TERM_MAX, INDEX_MAX


cdef class Prepare(Message):
    cdef public int64_t commit
    cdef public int64_t attempt
    cdef public bint probe
    cdef public int64_t asked_in
    cpdef problem(self)


cdef class Promise(Message):
    cdef public int64_t attempt
    cdef public bint probe
    cdef public int64_t report
    cdef public int64_t part
    cdef public int64_t parts
    cdef public object block
    cpdef problem(self)


cdef class Nack(Message):
    cdef public int64_t ballot
    cdef public int64_t commit
    cpdef problem(self)


cdef class Accept(Message):
    cdef public int64_t commit
    cdef public int64_t round
    cdef public object block
    cpdef problem(self)


cdef class Accepted(Message):
    cdef public int64_t first
    cdef public int64_t last
    cdef public int64_t commit
    cdef public int64_t round
    cpdef problem(self)


cdef class Fetch(Message):
    cdef public int64_t first
    cdef public int64_t index
    cdef public int64_t checksum
    cdef public int64_t offset
    cpdef problem(self)


cdef class Learn(Message):
    cdef public int64_t commit
    cdef public object block
    cpdef problem(self)


cdef class SnapshotPart(SnapshotChunk):
    cdef public int64_t ballot
    cpdef problem(self)


@cython.locals(message=Accept)
cpdef Accept accept(sender, to, int64_t term, int64_t commit, int64_t round, block)
@cython.locals(message=Accepted)
cpdef Accepted accepted(
    sender, to, int64_t term, int64_t first, int64_t last, int64_t commit, int64_t round
)
