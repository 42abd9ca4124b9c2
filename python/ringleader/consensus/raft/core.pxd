# The types under which core.py is compiled; its text says what each field means.
cimport cython
from libc.stdint cimport int64_t

from ringleader.consensus.message cimport (
    Message,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    TimeoutNow,
)
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
from ringleader.consensus.ready cimport HardState, Ready, new_ready

# Numbers in C; for Python they are in core.py alone.
cdef int FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER
cdef int PROBE, REPLICATE, SNAPSHOT
cdef int64_t TICKS_MAX, TERM_JUMP_MAX
cdef int64_t NEVER, RANDOM_MODULUS, ENTRY_BYTES, BLOCK_BYTES_MAX


cdef class Raft:
    cdef readonly object id
    cdef readonly object config
    cdef readonly object log
    cdef readonly int64_t term
    cdef readonly object vote
    cdef readonly int64_t commit
    cdef readonly int64_t last_applied
    cdef readonly int role_number
    cdef readonly object leader
    cdef readonly object snapshot
    cdef readonly list memberships
    cdef readonly object membership
    cdef readonly int64_t membership_index
    cdef readonly object quorum
    cdef readonly dict progress
    cdef list _peers
    cdef readonly int64_t now
    cdef readonly int64_t deadline
    cdef readonly int64_t heard
    cdef readonly int64_t quorum_due
    cdef readonly bint quiesced
    cdef int64_t _random
    cdef int64_t _timeout
    cdef int64_t _last
    cdef bint _voter
    cdef bint _witness
    cdef bint _joint
    cdef bint _plain
    cdef int64_t _sworn_until
    cdef readonly dict ballots
    cdef readonly int64_t term_start
    cdef readonly int64_t round
    cdef readonly int64_t round_acked
    cdef list _round_ticks
    cdef int64_t _lease_from
    cdef bint _lease_lost
    cdef bint _round_wanted
    cdef bint _send_wanted
    cdef readonly object transferee
    cdef int64_t _transfer_deadline
    cdef object _preferred
    cdef int64_t _preferred_since
    cdef bint _eager_commit
    cdef int64_t _max_block_bytes
    cdef int64_t _max_inflight_entries
    cdef int64_t _max_inflight_bytes
    cdef int64_t _max_uncommitted_bytes
    cdef int64_t _max_apply_bytes
    cdef int64_t _base
    cdef dict _tickets
    cdef dict _ticket_floors
    cdef int64_t _ticket
    cdef list _reads_early
    cdef list _reads
    cdef tuple _incoming
    cdef int64_t _incoming_bytes
    cdef object _incoming_crc
    cdef tuple _incoming_since
    cdef list _chunks
    cdef object _install
    cdef list _early
    cdef list _waiting
    cdef list _read_states
    cdef list _placed
    cdef object _block
    cdef int64_t _block_first
    cdef int64_t _block_last
    cdef bint _block_fits
    cdef readonly int64_t stable
    cdef int64_t _handed
    cdef readonly int64_t applying
    cdef HardState _shown
    cdef int64_t _ready_number
    cdef int64_t _advanced
    cdef readonly object seed
    cdef list _outstanding
    cdef readonly dict rejected

    cpdef tick(self, int64_t count=*)
    cpdef step(self, message)
    cdef _step(self, Message message)
    @cython.locals(count=int64_t, first=int64_t)
    cpdef propose(self, payloads)
    @cython.locals(ready=Ready, shown=HardState, messages=list, last=int64_t, ceiling=int64_t, writes=bint)
    cpdef Ready ready(self)
    @cython.locals(peer=Progress)
    cdef _speak(self)
    cpdef list take_messages(self)
    cpdef advance(self, Ready ready)
    @cython.locals(oldest=Ready)
    cpdef persisted(self, Ready ready)
    cdef bint _has_ready(self)
    cdef int64_t _draw(self)
    cdef _keep_block(self, block, int64_t first, int64_t last, bint fits)
    @cython.locals(peer=Progress, found=int64_t)
    cdef int64_t _majority_match(self)
    @cython.locals(peer=Progress, count=Py_ssize_t)
    cdef bint _majority_holds(self, int64_t index)
    @cython.locals(peer=Progress)
    cdef int64_t _majority_round(self)
    cpdef applied(self, int64_t index)
    cdef _on_deadline(self)
    @cython.locals(peer=Progress)
    cdef _on_leader_deadline(self)
    cdef _set_election_deadline(self)
    cdef _reject(self, str reason)
    cdef _reply(self, Message message)
    cdef _become(self, int role)
    cdef _become_follower(self, int64_t term, leader)
    cdef _stop_leading(self)
    cdef _become_leader(self)
    cdef bint _promotable(self)
    cdef bint _hears_leader(self)
    cdef _campaign(self, bint pre, bint transfer)
    cdef _on_request_vote(self, RequestVote message)
    cdef _on_vote_reply(self, VoteReply message)
    cdef _count_ballots(self)
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
    cdef _replicate(self, Progress peer)
    cdef int64_t _bytes_between(self, int64_t after, int64_t last) except? -1
    cdef int64_t _inflight_bytes(self, Progress peer) except? -1
    cdef _heard(self, Progress peer, int64_t round)
    cdef bint _reads_are_full(self)
    @cython.locals(inflight=int64_t)
    cdef bint _has_room(self, Progress peer) except? -1
    @cython.locals(prev=int64_t, prev_term=int64_t, round=int64_t)
    cdef _append_to(self, Progress peer, block)
    cdef _encode(self, int64_t first, bint bare)
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
    cdef _on_read_request(self, ReadRequest message)
    cdef _begin_read(self, bytes context, requester)
    cdef _answer_read(self, bytes context, requester, int64_t index)
    cdef _refuse_read(self, bytes context, requester)
    cdef _begin_round(self)
    @cython.locals(peer=Progress, round=int64_t)
    cdef _count_rounds(self)
    @cython.locals(peer=Progress)
    cdef _try_transfer(self)
    cdef _end_transfer(self)
    cdef _on_timeout_now(self, TimeoutNow message)
    cdef bint _outranked(self, node)
    cdef _prefer_leader(self)
    cdef _rest(self)
    cdef _on_quiesce(self, Quiesce message)
    cdef _require_leader(self, str what)
    cdef _on_propose(self, Propose message)
    @cython.locals(ready=Ready)
    cdef _forget_stable(self, int64_t index)
