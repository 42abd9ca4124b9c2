# The types under which message.py is compiled.
from libc.stdint cimport int64_t

cdef int64_t TERM_MAX, INDEX_MAX


cdef class MessageBase:
    cdef public object sender
    cdef public object to


cdef class Message(MessageBase):
    cdef public int64_t term
    cpdef problem(self)


cdef class TimeoutNow(Message):
    pass


cdef class ReadRequest(Message):
    cdef public bytes context


cdef class ReadReply(Message):
    cdef public bytes context
    cdef public int64_t index
    cpdef problem(self)


cdef class Propose(Message):
    cdef public int64_t ticket
    cdef public tuple payloads


cdef class ProposeReply(Message):
    cdef public int64_t ticket
    cdef public int64_t index
    cpdef problem(self)


cdef class SnapshotChunk(Message):
    cdef public int64_t index
    cdef public bytes membership
    cdef public int64_t total_bytes
    cdef public int64_t checksum
    cdef public int64_t offset
    cdef public bytes data
    cpdef problem(self)
