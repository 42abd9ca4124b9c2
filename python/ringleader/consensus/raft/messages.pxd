# The types under which messages.py is compiled; the module itself runs without them.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.message cimport Message, SnapshotChunk

cdef int64_t TERM_MAX, INDEX_MAX


cdef class RequestVote(Message):
    cdef public int64_t last_index
    cdef public int64_t last_term
    cdef public bint pre
    cdef public bint transfer
    cpdef problem(self)


cdef class VoteReply(Message):
    cdef public bint granted
    cdef public bint pre


cdef class AppendEntries(Message):
    cdef public int64_t prev_index
    cdef public int64_t prev_term
    cdef public int64_t commit
    cdef public int64_t round
    cdef public object block
    cpdef problem(self)


cdef class AppendReply(Message):
    cdef public int64_t match
    cdef public int64_t round
    cdef public bint refused
    cdef public int64_t hint_index
    cdef public int64_t hint_term
    cpdef problem(self)


cdef class InstallSnapshot(SnapshotChunk):
    cdef public int64_t index_term
    cdef public int64_t round
    cpdef problem(self)


cdef class SnapshotReply(Message):
    cdef public int64_t index
    cdef public int64_t offset
    cdef public bint installed
    cdef public int64_t round
    cpdef problem(self)


cdef class Quiesce(Message):
    cdef public int64_t index
    cpdef problem(self)


@cython.locals(message=AppendEntries)
cpdef AppendEntries append_entries(
    sender,
    to,
    int64_t term,
    int64_t prev_index,
    int64_t prev_term,
    int64_t commit,
    int64_t round,
    block,
)
@cython.locals(message=AppendReply)
cpdef AppendReply accepted(sender, to, int64_t term, int64_t match, int64_t round)
