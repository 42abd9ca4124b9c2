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
from ringleader.consensus.paxos.ballot cimport next_ballot, number_of, round_of
from ringleader.consensus.paxos.messages cimport (
    Accept,
    Accepted,
    Fetch,
    Learn,
    Nack,
    Prepare,
    Promise,
    SnapshotPart,
    accept,
    accepted,
)
from ringleader.consensus.paxos.progress cimport Progress
from ringleader.consensus.progress cimport CoreProgress
from ringleader.consensus.ready cimport Ready

# Numbers in C; for Python they are in core.py and constants.py alone.
cdef int FOLLOWER, PROBING, CANDIDATE, LEADER
cdef int64_t ROUND_JUMP_MAX, NEVER, NOWHERE, BLOCK_BYTES_MAX, ASIDE_SLACK_BYTES


cdef class MultiPaxos(CoreBase):
    cdef readonly int64_t number
    cdef int64_t _window
    cdef int64_t _run_start
    cdef readonly list aside
    cdef list _aside_new
    cdef int64_t _aside_bytes
    cdef int64_t _aside_disk_bytes
    cdef int64_t _aside_dropped
    cdef list _quorums
    cdef int64_t _control_from
    cdef int64_t _coming
    cdef readonly int64_t ballot
    cdef readonly int64_t attempt
    cdef readonly set promised_by
    cdef dict _answers
    cdef dict _parts
    cdef set _asked
    cdef int64_t _seen
    cdef readonly dict found
    cdef readonly int64_t nacks
    cdef int64_t _ceiling
    cdef readonly int64_t known
    cdef object _fetch_from
    cdef int64_t _fetch_commit
    cdef int64_t _fetch_due
    cdef int64_t _fetch_end
    cdef int64_t _fetch_blocks

    cdef _on_deadline(self)
    cdef _on_leader_deadline(self)
    cdef bint _is_quorum(self, ids) except -1
    cdef _step(self, Message message)
    cdef _objection(self, Message message)
    cdef _objection_to_accept(self, Accept message)
    cdef bint _leaps(self, Message message) except -1
    cdef bint _knows(self, node) except -1
    cdef _end_election(self)
    cdef bint _promotable(self) except -1
    cdef _campaign(self, bint pre, bint transfer)
    cdef _hand_over(self)
    cdef bint _follows(self, CoreProgress peer) except -1
    cdef _keep_oath(self)
    cdef _on_prepare(self, Prepare message)
    @cython.locals(end=int64_t, at=int64_t, last=int64_t)
    cdef list _report(self, int64_t after, int64_t ballot)
    cdef _on_promise(self, Promise message)
    cdef _count_own_vote(self)
    cdef bint _may_lead(self, node) except -1
    cdef bint _votes(self, node) except -1
    @cython.locals(done=int64_t, slot=int64_t, ballot=int64_t)
    cdef _take_report(self, block)
    cdef _count_answers(self)
    cdef _on_nack(self, Nack message)
    cdef _become_leader(self)
    @cython.locals(first=int64_t, slot=int64_t, top=int64_t)
    cdef _refill(self)
    cdef _hear_leader(self, sender)
    @cython.locals(ballot=int64_t, first=int64_t, last=int64_t)
    cdef _on_accept(self, Accept message)
    @cython.locals(peer=Progress, round=int64_t, moved=bint)
    cdef _on_accepted(self, Accepted message)
    cdef _send_again(self, Progress peer)
    @cython.locals(peer=Progress, index=int64_t, is_boundary=bint)
    cdef _advance_commit(self)
    @cython.locals(peer=Progress)
    cdef _replicate_all(self)
    cdef _replicate(self, Progress peer)
    @cython.locals(done=int64_t)
    cdef int64_t _inflight_bytes(self, CoreProgress peer) except? -1
    @cython.locals(round=int64_t)
    cdef _accept_to(self, Progress peer, block)
    @cython.locals(first=int64_t, last=int64_t)
    cdef bint _take(self, block) except -1
    @cython.locals(first=int64_t, last=int64_t, ballot=int64_t, replaces=bint, continues=bint)
    cdef _write(self, block)
    @cython.locals(at=int64_t)
    cdef list _tail(self, int64_t after)
    cdef _set_aside(self, block)
    @cython.locals(at=int64_t, floor=int64_t, end=int64_t)
    cdef _absorb(self)
    cdef _drop_covered(self)
    cdef bint _holds_run(self, int64_t ballot) except -1
    cdef _find_run(self)
    cdef _find_controls(self, int64_t first)
    cdef _learn_from_leader(self, int64_t commit, sender)
    cdef _fetch(self, sender)
    cdef _fetch_elsewhere(self)
    cdef list _acquaintances(self)
    cdef _served(self)
    cdef _on_fetch(self, Fetch message)
    cdef _on_learn(self, Learn message)
    cdef _learn(self, block)
    @cython.locals(moves=bint)
    cdef _commit_to(self, int64_t index)
    cdef _send_parts(self, Fetch message)
    cdef _on_snapshot_part(self, SnapshotPart message)
    cdef _install_snapshot(self, tuple name, bytes members)
    cdef bint _change_pending(self) except -1
    cdef _adopt_memberships(self, int64_t upto)
    cdef _forget_memberships(self, int64_t index)
    cdef bint _between_memberships(self) except -1
    cdef list _in_force(self)
    cdef _use_memberships(self)
    @cython.locals(peer=Progress)
    cdef _adopt_progress(self)
    @cython.locals(peer=Progress)
    cdef _on_membership_moved(self)
    cdef _update_ceiling(self)
    cdef _prepare_newcomers(self)
    cdef _newcomer_promised(self)
    cdef bint _knows_all(self) except -1
    cdef int64_t _quorum_round(self, dict acked) except? -1
    @cython.locals(peer=Progress)
    cdef _try_transfer(self)
    cdef _check_proposal(self, int64_t count)
    cdef bint _has_ready(self) except -1
    @cython.locals(stale=int64_t)
    cdef _hand_over_aside(self, Ready ready)
