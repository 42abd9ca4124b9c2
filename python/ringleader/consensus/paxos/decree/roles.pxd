# The types under which roles.py is compiled; its text says what each field means.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.paxos.decree.messages cimport (
    DecreeAccept,
    DecreeAccepted,
    DecreeAsk,
    DecreeMessage,
    DecreeNack,
    DecreePrepare,
    DecreePromise,
    new_accept,
    new_accepted,
    new_prepare,
    new_promise,
)
from ringleader.consensus.paxos.decree.state cimport (
    AcceptorState,
    ProposerState,
    Step,
    new_proposer_state,
    new_state,
    new_step,
)

cdef int64_t _OWNER, _OWNER_BITS, _BALLOT_MAX, _JUMP_MAX, _RANDOM_MODULUS
cdef Py_ssize_t _VALUE_BYTES_MAX
cdef int _IDLE, _PREPARE, _ACCEPT, _WAIT, _DONE
cdef AcceptorState _NOTHING
cdef ProposerState _NO_BALLOT


cdef class Group:
    cdef readonly object quorum
    cdef readonly tuple acceptors
    cdef readonly tuple proposers
    cdef readonly tuple learners
    cdef set _acceptors
    cdef set _members
    cdef dict _numbers
    cdef dict _number_of
    cdef dict _told
    cdef int64_t _election_count
    cdef int64_t _replication_count
    cpdef owner(self, int64_t ballot)
    cpdef bint can_prepare(self, set acceptors) except *


cpdef Group group_of(group)
cpdef int64_t checked_ticks(str name, ticks) except *


cdef class Acceptor:
    cdef readonly object id
    cdef readonly Group group
    cdef readonly AcceptorState state
    cdef readonly dict rejected
    cdef AcceptorState _durable
    @cython.locals(state=AcceptorState)
    cpdef Step _on_prepare(self, DecreePrepare message)
    @cython.locals(state=AcceptorState, ballot=int64_t)
    cpdef Step _on_accept(self, DecreeAccept message)
    @cython.locals(state=AcceptorState)
    cpdef Step _on_ask(self, DecreeAsk message)
    cpdef AcceptorState _promised(self, int64_t ballot)
    cpdef bint _may_accept(self, int64_t ballot) except *
    cpdef _objection(self, DecreeMessage message)
    cpdef Step _refuse(self, DecreeMessage message)
    cpdef Step _reject(self, reason)
    cpdef _count(self, reason)
    cpdef Step _step(self, tuple messages)
    cpdef _saved(self, AcceptorState state)


cdef class Learner:
    cdef readonly object id
    cdef readonly Group group
    cdef readonly int64_t ballot
    cdef readonly object chosen
    cdef readonly dict rejected
    cdef dict _accepted
    cdef bint _asked
    cdef int64_t _due
    cdef int64_t _retry_ticks
    @cython.locals(known=DecreeAccepted)
    cpdef _on_accepted(self, DecreeAccepted message)
    @cython.locals(known=DecreeAccepted, ballot=int64_t, count=int64_t)
    cpdef bint _is_chosen(self, DecreeAccepted message) except *
    @cython.locals(known=DecreeAccepted)
    cpdef _objection(self, DecreeAccepted message)


cdef class Proposer:
    cdef readonly object id
    cdef readonly Group group
    cdef readonly object seed
    cdef readonly object value
    cdef readonly int64_t ballot
    cdef readonly int64_t nacks
    cdef readonly dict rejected
    cdef Learner _learner
    cdef ProposerState _state
    cdef ProposerState _durable
    cdef int64_t _number
    cdef int _phase
    cdef set _promises
    cdef int64_t _best
    cdef object _best_value
    cdef object _pick
    cdef int64_t _seen
    cdef int64_t _due
    cdef int64_t _failures
    cdef int64_t _random
    cdef int64_t _retry_ticks
    cdef int64_t _backoff_ticks
    cdef int64_t _backoff_ticks_max
    cpdef Step _begin(self)
    cpdef int64_t _next_ballot(self) except *
    cpdef Step _prepare(self)
    cpdef Step _on_promise(self, DecreePromise message)
    cpdef _picked(self)
    @cython.locals(done=DecreeAccepted, known=dict)
    cpdef Step _accept(self)
    cpdef _on_nack(self, DecreeNack message)
    @cython.locals(span=int64_t)
    cpdef _back_off(self)
    cpdef int64_t _draw(self) except *
    cpdef _objection(self, DecreeMessage message)
    cpdef _reject(self, reason)
    cpdef Step _step(self, tuple messages)
    cpdef _saved(self, ProposerState state)
