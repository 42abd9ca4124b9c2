# The types under which core.py is compiled; its text says what each field means.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.core cimport CoreBase
from ringleader.consensus.message cimport (
    Message,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    TimeoutNow,
)
from ringleader.consensus.progress cimport CoreProgress
from ringleader.consensus.raft.messages cimport (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    Quiesce,
    RequestVote,
    SnapshotReply,
    VoteReply,
    accepted,
    append_entries,
)
from ringleader.consensus.raft.progress cimport Progress

# Numbers in C; for Python they are in core.py and constants.py alone.
cdef int FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER
cdef int PROBE, REPLICATE, SNAPSHOT
cdef int64_t TERM_JUMP_MAX, NEVER


cdef class Raft(CoreBase):
    cdef readonly int64_t membership_index
    cdef readonly bint quiesced
    cdef bint _joint
    cdef readonly dict ballots
    cdef tuple _incoming_since

    cdef _step(self, Message message)
    @cython.locals(peer=Progress)
    cdef _on_leader_deadline(self)
    cdef _set_election_deadline(self)
    cdef _become_leader(self)
    cdef _end_election(self)
    cdef bint _may_lead(self, node) except -1
    cdef bint _promotable(self) except -1
    cdef _campaign(self, bint pre, bint transfer)
    cdef _on_request_vote(self, RequestVote message)
    cdef _on_vote_reply(self, VoteReply message)
    cdef _count_ballots(self)
    cdef _count_own_vote(self)
    cdef _hear_leader(self, sender)
    cdef _objection(self, Message message)
    cdef bint _second_leader(self, Message message)
    cdef _objection_to_entries(self, AppendEntries message)
    @cython.locals(written=int64_t, last=int64_t)
    cdef bint _repeats(self, object block) except -1
    cdef _on_append_entries(self, AppendEntries message)
    @cython.locals(peer=Progress)
    cdef _on_append_reply(self, AppendReply message)
    cpdef bint beat(
        self, sender, int64_t term, int64_t prev_index, int64_t commit, int64_t round
    ) except -1
    @cython.locals(peer=Progress)
    cpdef bint beat_answered(self, sender, int64_t term, int64_t match, int64_t round) except -1
    cdef _on_refusal(self, Progress peer, AppendReply message)
    @cython.locals(peer=Progress, index=int64_t)
    cdef _advance_commit(self)
    cdef _commit_to(self, int64_t index)
    @cython.locals(peer=Progress)
    cdef _replicate_all(self)
    cdef _replicate(self, Progress peer)
    cdef _entries_for(self, Progress peer)
    cdef int64_t _inflight_bytes(self, CoreProgress peer) except? -1
    @cython.locals(prev=int64_t, prev_term=int64_t, round=int64_t)
    cdef _append_to(self, Progress peer, block)
    @cython.locals(peer=Progress)
    cdef int64_t _unneeded(self, int64_t index) except? -1
    cdef _begin_snapshot(self, Progress peer)
    cdef _heartbeat_below(self, Progress peer)
    cdef _send_chunks(self, Progress peer)
    cdef _on_install_snapshot(self, InstallSnapshot message)
    cdef _install_snapshot(self, InstallSnapshot message)
    @cython.locals(peer=Progress)
    cdef _on_snapshot_reply(self, SnapshotReply message)
    cdef int64_t _append_membership(self, membership)
    cdef _on_membership_committed(self)
    cdef _use_membership(self, int64_t index, membership)
    @cython.locals(peer=Progress)
    cdef _adopt_progress(self)
    cdef _adopt_memberships(self, int64_t first)
    cdef _drop_memberships(self, int64_t first)
    @cython.locals(peer=Progress)
    cdef _try_transfer(self)
    cdef bint _follows(self, CoreProgress peer) except -1
    cdef _check_proposal(self, int64_t count)
    cdef _rest(self)
    cdef _stir(self)
    cdef _on_quiesce(self, Quiesce message)
    cpdef list take_messages(self)
