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
from ringleader.consensus.progress cimport CoreProgress
from ringleader.consensus.ready cimport HardState, Ready, new_ready

# Numbers in C; for Python they are in core.py and constants.py alone.
cdef int FOLLOWER, CANDIDATE, LEADER
cdef int64_t TICKS_MAX, NEVER, RANDOM_MODULUS, ENTRY_BYTES, BLOCK_BYTES_MAX


cdef class CoreBase:
    cdef readonly object id
    cdef tuple _roles
    cdef dict _transitions
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
    cdef readonly object quorum
    cdef readonly dict progress
    cdef list _peers
    cdef readonly int64_t now
    cdef readonly int64_t deadline
    cdef readonly int64_t heard
    cdef readonly int64_t quorum_due
    cdef int64_t _random
    cdef public int64_t slack_ticks
    cdef int64_t _timeout
    cdef int64_t _last
    cdef bint _voter
    cdef bint _witness
    cdef bint _plain
    cdef int64_t _sworn_until
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
    cdef int64_t _max_proposal_entries
    cdef int64_t _base
    cdef dict _tickets
    cdef dict _ticket_floors
    cdef int64_t _ticket
    cdef list _reads_early
    cdef list _reads
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
    cdef int64_t _commit_owed
    cdef int64_t _ready_number
    cdef int64_t _advanced
    cdef readonly object seed
    cdef list _outstanding
    cdef readonly dict rejected

    cdef int64_t _bytes_between(self, int64_t after, int64_t last) except? -1
    cpdef tick(self, int64_t count=*)
    cdef _on_deadline(self)
    @cython.locals(peer=CoreProgress)
    cdef _on_leader_deadline(self)
    cdef _set_election_deadline(self)
    cdef int64_t _draw(self)
    cpdef step(self, message)
    cdef _receive(self, Message message)
    cdef _objection(self, Message message)
    cdef _step(self, Message message)
    cdef _reject(self, str reason)
    cdef _reply(self, Message message)
    cdef _become(self, int role)
    cdef _become_follower(self, int64_t term, leader)
    cdef _stop_leading(self)
    cdef bint _hears_leader(self)
    cdef _heard(self, CoreProgress peer, int64_t round)
    @cython.locals(peer=CoreProgress, found=int64_t)
    cdef int64_t _majority_match(self)
    @cython.locals(peer=CoreProgress, count=Py_ssize_t)
    cdef bint _majority_holds(self, int64_t index)
    @cython.locals(peer=CoreProgress)
    cdef int64_t _majority_round(self)
    @cython.locals(inflight=int64_t)
    cdef bint _has_room(self, CoreProgress peer) except? -1
    cdef _encode(self, int64_t first)
    cdef _keep_block(self, block, int64_t first, int64_t last, bint fits)
    cdef int64_t _unneeded(self, int64_t index) except? -1
    cdef _forget_memberships(self, int64_t index)
    cdef _begin_receiving(self, tuple name)
    cdef _end_receiving(self)
    cdef bint _take_chunk(self, bytes data) except -1
    cdef _restore(self, int64_t index, int64_t term, membership, checksum)
    cdef bint _reads_are_full(self)
    cdef _on_read_request(self, ReadRequest message)
    cdef _begin_read(self, bytes context, requester)
    cdef bint _knows_all(self) except -1
    cdef _begin_early_reads(self)
    cdef _answer_read(self, bytes context, requester, int64_t index)
    cdef _refuse_read(self, bytes context, requester)
    cdef _begin_round(self)
    @cython.locals(peer=CoreProgress, round=int64_t)
    cdef _count_rounds(self)
    cdef _end_transfer(self)
    cdef _on_timeout_now(self, TimeoutNow message)
    cdef bint _outranked(self) except -1
    @cython.locals(peer=CoreProgress)
    cdef _prefer_leader(self)
    cdef _require_leader(self, str what)
    @cython.locals(count=int64_t, first=int64_t, done=int64_t)
    cpdef propose(self, payloads)
    cdef _on_propose(self, Propose message)
    cdef bint _has_ready(self) except -1
    cdef bint _owes_commit(self) except -1
    @cython.locals(
        ready=Ready, shown=HardState, messages=list, last=int64_t, ceiling=int64_t, writes=bint
    )
    cpdef Ready ready(self)
    cdef _speak(self)
    cpdef advance(self, Ready ready)
    cpdef persisted(self, Ready ready)
    cpdef applied(self, int64_t index)
    @cython.locals(ready=Ready)
    cdef _forget_stable(self, int64_t index)
    cdef bint _promotable(self) except -1
    cdef _campaign(self, bint pre, bint transfer)
    cdef _end_election(self)
    cdef _count_own_vote(self)
    cdef bint _may_lead(self, node) except -1
    cdef bint _follows(self, CoreProgress peer) except -1
    cdef bint _between_memberships(self) except -1
    cdef bint _is_quorum(self, ids) except -1
    cdef int64_t _quorum_round(self, dict acked) except? -1
    cdef int64_t _inflight_bytes(self, CoreProgress peer) except? -1
    cdef _replicate_all(self)
    cdef _advance_commit(self)
    cdef _try_transfer(self)
    cdef _check_proposal(self, int64_t count)
    cdef _hand_over_aside(self, Ready ready)
    cdef _stir(self)
