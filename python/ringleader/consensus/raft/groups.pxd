# The types under which groups.py is compiled; its text says what each field means.
cimport cython
from libc.stdint cimport int64_t, uint64_t

from ringleader.consensus.message cimport Message
from ringleader.consensus.raft.core cimport Raft
from ringleader.consensus.raft.messages cimport (
    AppendEntries,
    AppendReply,
    Quiesce,
    RequestVote,
    accepted,
    append_entries,
)
from ringleader.consensus.ready cimport Ready

# Numbers in C; for Python they are in groups.py alone.
cdef int LEADER
cdef int64_t NEVER, RANDOM_MODULUS


cdef class NodeHeartbeat:
    cdef readonly object incarnation
    cdef readonly object hears


cdef class _Rows:
    cdef readonly Py_ssize_t count
    cdef object table
    cdef uint64_t[:, ::1] numbers
    cdef Py_ssize_t room

    cdef Py_ssize_t next(self) except -1
    cpdef take(self)


cdef class _Slot:
    cdef readonly int64_t group
    cdef readonly int64_t row
    cdef readonly Raft raft
    cdef readonly int64_t origin
    cdef readonly int64_t armed
    cdef object membership
    cdef bint resting
    cdef readonly bint waking
    cdef bint touched
    cdef int64_t idle_last
    cdef int64_t idle_from


cdef class _Peer:
    cdef object id
    cdef int64_t groups
    cdef bint kept
    cdef int64_t heard
    cdef bint alive
    cdef object incarnation
    cdef object hears
    cdef bint due
    cdef list messages
    cdef _Rows beats
    cdef _Rows replies
    cdef _Rows quiesces
    cdef _Rows pokes

    cdef bint has_any(self)


cdef class RaftGroups:
    cdef readonly object id
    cdef readonly object incarnation
    cdef readonly object config
    cdef readonly int64_t quiesce_ticks
    cdef readonly int64_t now
    cdef readonly dict rejected
    cdef int64_t _random
    cdef readonly object _timers
    cdef list _slots
    cdef list _free
    cdef readonly dict _by_group
    cdef list _touched
    cdef dict _peers
    cdef dict _shared_memberships
    cdef object _groups_config
    cdef int64_t _beat_due

    cdef _check_group(self, group)
    cdef _Slot _slot(self, group)
    cdef _Peer _peer(self, node)
    @cython.locals(peer=_Peer)
    cdef _count_members(self, membership, int64_t by)
    @cython.locals(slot=_Slot, peer=_Peer)
    cpdef tick(self)
    cdef _on_fired(self, _Slot slot)
    @cython.locals(raft=Raft, peer=_Peer)
    cdef bint _comes_to_rest(self, _Slot slot, int64_t now) except -1
    @cython.locals(behind=int64_t)
    cdef _sync(self, _Slot slot)
    @cython.locals(now=int64_t, ticks=int64_t)
    cdef _arm(self, _Slot slot)
    cdef _touch(self, _Slot slot)
    @cython.locals(raft=Raft)
    cdef _settle(self, _Slot slot)
    cdef int64_t _draw(self)
    @cython.locals(slot=_Slot, raft=Raft)
    cdef _wake_groups_of(self, _Peer peer, bint died)
    cdef _wake_later(self, _Slot slot, int64_t ticks_max)
    cdef _wake(self, _Slot slot)
    @cython.locals(peer=_Peer)
    cdef bint _outranked(self, Raft raft) except -1
    @cython.locals(raft=Raft, peer=_Peer, at=Py_ssize_t)
    cdef bint _wakes(self, _Slot slot, Message message) except -1
    @cython.locals(slot=_Slot)
    cpdef propose(self, group, payloads)
    @cython.locals(slot=_Slot)
    cpdef read_index(self, group, context)
    @cython.locals(slot=_Slot)
    cpdef add(self, group, raft)
    @cython.locals(slot=_Slot)
    cpdef remove(self, group)
    @cython.locals(slot=_Slot)
    cpdef applied(self, group, index)
    cdef _step(self, _Slot slot, Message message)
    @cython.locals(
        slot=_Slot, peer=_Peer, strange=int64_t, rows=uint64_t[:, :], at=Py_ssize_t
    )
    cpdef receive(self, envelope)
    cdef _on_beat(
        self,
        _Slot slot,
        _Peer peer,
        int64_t term,
        int64_t prev_index,
        int64_t prev_term,
        int64_t commit,
        int64_t round,
    )
    cdef _on_reply(self, _Slot slot, _Peer peer, int64_t term, int64_t match, int64_t round)
    @cython.locals(at=Py_ssize_t)
    cdef _answer(self, _Slot slot, _Peer peer, int64_t term, int64_t match, int64_t round)
    cdef _hear(self, _Peer peer, NodeHeartbeat heartbeat)
    @cython.locals(peer=_Peer, heartbeat=NodeHeartbeat)
    cdef _implausible(self, envelope)
    cdef _reject(self, str reason, int64_t count)
    @cython.locals(slot=_Slot, raft=Raft, ready=Ready)
    cpdef list ready(self)
    @cython.locals(slot=_Slot)
    cpdef advance(self, work)
    @cython.locals(slot=_Slot)
    cpdef persisted(self, work)
    cdef _release(self, _Slot slot, Ready ready)
    @cython.locals(
        message=Message,
        peer=_Peer,
        beat=AppendEntries,
        reply=AppendReply,
        rest=Quiesce,
        group=int64_t,
        at=Py_ssize_t,
    )
    cdef _post(self, _Slot slot, list messages)
    @cython.locals(peer=_Peer)
    cpdef dict take_messages(self)
    @cython.locals(slot=_Slot, raft=Raft, peer=_Peer)
    cpdef status(self)
