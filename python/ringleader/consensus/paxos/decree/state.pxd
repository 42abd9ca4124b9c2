# The types under which state.py is compiled.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.paxos.decree.messages cimport is_value

cdef int64_t _OWNER, _BALLOT_MAX
cdef Step _NO_STEP


@cython.freelist(16)
cdef class AcceptorState:
    cdef readonly int64_t promised
    cdef readonly int64_t accepted
    cdef readonly object value


@cython.freelist(16)
cdef class ProposerState:
    cdef readonly int64_t ballot


@cython.freelist(16)
cdef class Step:
    cdef readonly object state
    cdef object _owner
    cdef tuple _messages


@cython.locals(step=Step)
cpdef Step new_step(owner, state, tuple messages)
@cython.locals(state=AcceptorState)
cpdef AcceptorState new_state(int64_t promised, int64_t accepted, value)
@cython.locals(state=ProposerState)
cpdef ProposerState new_proposer_state(int64_t ballot)
