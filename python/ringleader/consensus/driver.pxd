# The types under which driver.py is compiled; its text says what each field means.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.ready cimport Placed, ReadState, Ready


cdef class Recovered:
    cdef public object hard_state
    cdef public object log
    cdef public object snapshot
    cdef public object partial
    cdef public list aside


cdef class Outcome:
    cdef public str kind
    cdef public object results
    cdef public object leader


cdef class _Proposal:
    cdef public int64_t count
    cdef public object done
    cdef public int64_t asked
    cdef public int64_t first
    cdef public int64_t term
    cdef public list results


cdef class Driver:
    cdef public object core
    cdef public object storage
    cdef public object transport
    cdef public object machine
    cdef public bint forward
    cdef public object snapshot_bytes
    cdef public int64_t keep_entries
    cdef public int64_t patience_ticks
    cdef public object failed
    cdef bint _pumping
    cdef int64_t _unwritten
    cdef bint _saving
    cdef int64_t _sequence
    cdef list _proposals
    cdef dict _tickets
    cdef dict _reads
    cdef list _reads_ready
    cdef int64_t _patience_due
    cdef int64_t _applied_term
    cdef bint _terms_stay

    cpdef receive(self, message)
    cpdef receive_all(self, messages)
    @cython.locals(proposal=_Proposal)
    cpdef propose(self, commands, done)
    cpdef bint reads_now(self)
    cpdef pump(self)
    @cython.locals(messages=list)
    cdef _handle(self, Ready ready)
    @cython.locals(last=int64_t, term=int64_t)
    cdef _apply(self, entries)
    @cython.locals(
        proposal=_Proposal,
        first=int64_t,
        last=int64_t,
        begin=int64_t,
        end=int64_t,
        start=int64_t,
    )
    cdef _settle(self, entries, results)
    cdef _settle_lost(self, int64_t term)
    cdef _fail(self, error)
    cdef _skip_to(self, int64_t index)
    cdef _expect(self, _Proposal proposal)
    @cython.locals(proposal=_Proposal)
    cdef _place(self, Placed placed)
    cdef _answer(self, ReadState read)
    cdef _lose_patience(self)
    cdef int64_t _snapshot_index(self) except? -1
