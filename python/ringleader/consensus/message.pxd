# The types under which message.py is compiled.
from libc.stdint cimport int64_t

cdef int64_t TERM_MAX, INDEX_MAX


cdef class Message:
    cdef public object sender
    cdef public object to
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
