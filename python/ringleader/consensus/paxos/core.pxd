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
from ringleader.consensus.ready cimport HardState, Ready, new_ready

# Numbers in C; for Python they are in core.py alone.
cdef int FOLLOWER, PROBING, CANDIDATE, LEADER
cdef int64_t TICKS_MAX, ROUND_JUMP_MAX
cdef int64_t NEVER, NOWHERE, RANDOM_MODULUS, ENTRY_BYTES, BLOCK_BYTES_MAX, ASIDE_SLACK_BYTES


cdef class MultiPaxos:
    cdef readonly object id
    cdef readonly int64_t number
    cdef readonly object config
    cdef bint _eager_commit
    cdef int64_t _max_block_bytes
    cdef int64_t _max_inflight_entries
    cdef int64_t _max_inflight_bytes
    cdef int64_t _max_uncommitted_bytes
    cdef int64_t _max_apply_bytes
    cdef int64_t _window
    cdef readonly object log
    cdef int64_t _last
    cdef int64_t _base
    cdef readonly int64_t term
    cdef readonly object vote
    cdef readonly int64_t commit
    cdef readonly int64_t last_applied
    cdef readonly int role_number
    cdef readonly object leader
    cdef readonly object snapshot
    cdef int64_t _run_start
    cdef readonly list aside
    cdef list _aside_new
    cdef int64_t _aside_bytes
    cdef int64_t _aside_disk_bytes
    cdef int64_t _aside_dropped
    cdef readonly list memberships
    cdef readonly object membership
    cdef readonly object quorum
    cdef list _quorums
    cdef bint _voter
    cdef bint _plain
    cdef int64_t _control_from
    cdef int64_t _coming
    cdef readonly dict progress
    cdef list _peers
    cdef readonly int64_t now
    cdef readonly int64_t deadline
    cdef readonly int64_t heard
    cdef readonly int64_t quorum_due
    cdef readonly object seed
    cdef int64_t _random
    cdef int64_t _timeout
    cdef int64_t _sworn_until
    cdef readonly int64_t ballot
    cdef readonly int64_t attempt
    cdef readonly set promised_by
    cdef dict _answers
    cdef dict _parts
    cdef set _asked
    cdef int64_t _seen
    cdef readonly dict found
    cdef readonly int64_t nacks
    cdef readonly int64_t term_start
    cdef int64_t _ceiling
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
    cdef dict _tickets
    cdef dict _ticket_floors
    cdef int64_t _ticket
    cdef list _reads_early
    cdef list _reads
    cdef readonly int64_t known
    cdef object _fetch_from
    cdef int64_t _fetch_commit
    cdef int64_t _fetch_due
    cdef int64_t _fetch_end
    cdef int64_t _fetch_blocks
    cdef tuple _incoming
    cdef int64_t _incoming_bytes
    cdef object _incoming_crc
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
    cdef list _outstanding
    cdef readonly dict rejected

    cdef int64_t _bytes_between(self, int64_t after, int64_t last) except? -1
    cpdef tick(self, int64_t count=*)
    cdef _on_deadline(self)
    @cython.locals(peer=Progress)
    cdef _on_leader_deadline(self)
    cdef _set_election_deadline(self)
    cdef int64_t _draw(self)
    cpdef step(self, message)
    cdef _step(self, Message message)
    cdef _objection(self, Message message)
    cdef _objection_to_accept(self, Accept message)
    cdef bint _leaps(self, Message message) except -1
    cdef bint _knows(self, node) except -1
    cdef _reject(self, str reason)
    cdef _reply(self, Message message)
    cdef _become(self, int role)
    cdef _become_follower(self, int64_t term, leader)
    cdef _end_phase_1(self)
    cdef _stop_leading(self)
    cdef bint _promotable(self) except -1
    cdef bint _hears_leader(self)
    cdef _campaign(self, bint probe, bint transfer)
    cdef _hand_over(self)
    cdef _on_prepare(self, Prepare message)
    @cython.locals(end=int64_t, at=int64_t, last=int64_t)
    cdef list _report(self, int64_t after, int64_t ballot)
    cdef _on_promise(self, Promise message)
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
    cdef _heard(self, Progress peer, int64_t round)
    @cython.locals(peer=Progress, round=int64_t, moved=bint)
    cdef _on_accepted(self, Accepted message)
    cdef _send_again(self, Progress peer)
    @cython.locals(peer=Progress, index=int64_t, is_boundary=bint)
    cdef _advance_commit(self)
    @cython.locals(peer=Progress, found=int64_t)
    cdef int64_t _majority_match(self)
    @cython.locals(peer=Progress, count=Py_ssize_t)
    cdef bint _majority_holds(self, int64_t index)
    @cython.locals(peer=Progress)
    cdef int64_t _majority_round(self)
    cdef _replicate(self, Progress peer)
    @cython.locals(done=int64_t)
    cdef int64_t _inflight_bytes(self, Progress peer) except? -1
    @cython.locals(inflight=int64_t)
    cdef bint _has_room(self, Progress peer) except? -1
    @cython.locals(round=int64_t)
    cdef _accept_to(self, Progress peer, block)
    cdef _encode(self, int64_t first)
    cdef _keep_block(self, block, int64_t first, int64_t last, bint fits)
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
    cdef _forget_memberships(self)
    cdef list _in_force(self)
    cdef _use_memberships(self)
    @cython.locals(peer=Progress)
    cdef _adopt_progress(self)
    @cython.locals(peer=Progress)
    cdef _on_membership_moved(self)
    cdef _update_ceiling(self)
    cdef _prepare_newcomers(self)
    cdef _newcomer_promised(self)
    cdef bint _reads_are_full(self)
    cdef _on_read_request(self, ReadRequest message)
    cdef _begin_read(self, bytes context, requester)
    cdef bint _knows_all(self)
    cdef _release_reads(self)
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
    @cython.locals(peer=Progress)
    cdef _prefer_leader(self)
    cdef _require_leader(self, str what)
    @cython.locals(count=int64_t, first=int64_t, done=int64_t)
    cpdef propose(self, payloads)
    cdef _check_count(self, int64_t count)
    cdef _on_propose(self, Propose message)
    cdef bint _has_ready(self)
    @cython.locals(
        ready=Ready, shown=HardState, messages=list, last=int64_t, ceiling=int64_t, writes=bint
    )
    cpdef Ready ready(self)
    @cython.locals(peer=Progress)
    cdef _speak(self)
    @cython.locals(stale=int64_t)
    cdef _hand_over_aside(self, Ready ready)
    cpdef advance(self, Ready ready)
    cpdef persisted(self, Ready ready)
    cpdef applied(self, int64_t index)
    @cython.locals(ready=Ready)
    cdef _forget_stable(self, int64_t index)
