# The types under which messages.py is compiled.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.message cimport MessageBase

cdef int64_t _OWNER, _BALLOT_MAX
cdef Py_ssize_t _VALUE_BYTES_MAX


cdef class DecreeMessage(MessageBase):
    cdef public int64_t ballot
    cpdef problem(self)


cdef class DecreePrepare(DecreeMessage):
    pass


cdef class DecreePromise(DecreeMessage):
    cdef public int64_t accepted
    cdef public object value
    cpdef problem(self)


cdef class DecreeProposal(DecreeMessage):
    cdef public object value
    cpdef problem(self)


cdef class DecreeAccept(DecreeProposal):
    pass


cdef class DecreeAccepted(DecreeProposal):
    pass


cdef class DecreeNack(DecreeMessage):
    cdef public int64_t promised
    cpdef problem(self)


cdef class DecreeAsk(DecreeMessage):
    cpdef problem(self)


cpdef bint is_value(value) except *

@cython.locals(message=DecreePrepare)
cpdef DecreePrepare new_prepare(sender, to, int64_t ballot)
@cython.locals(message=DecreePromise)
cpdef DecreePromise new_promise(sender, to, int64_t ballot, int64_t accepted, value)
@cython.locals(message=DecreeAccept)
cpdef DecreeAccept new_accept(sender, to, int64_t ballot, value)
@cython.locals(message=DecreeAccepted)
cpdef DecreeAccepted new_accepted(sender, to, int64_t ballot, value)
