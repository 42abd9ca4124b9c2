"""What a core does whatever its algorithm: time, proposals, reads, and what goes in and out.

`CoreBase` is a node of a group without an algorithm.  It has the log and what was done with it, and
does all that Raft and Multi-Paxos do the same way; they do the rest: who may lead, what is sent,
and when an entry is committed.  Sections are those of Ongaro's dissertation "Consensus: Bridging
Theory and Practice", 2014, cited as D§n.

The code is in this order:

    CoreBase.tick, step     time and messages
    1  roles                what beginning and ending to lead have in common
    2  replication          majorities, windows, blocks
    3  snapshots
    4  reads and transfer   D§6.4, D§3.10, leader priority
    5  proposals
    6  Ready                what goes out, what comes back
    7  hooks                what an algorithm has to say of itself

The file is plain Python; core.pxd gives it C types when the package is built, and
RINGLEADER_PURE=1 runs it as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ringleader.consensus.config import CoreConfig
from ringleader.consensus.constants import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    MEMBERSHIP,
    NEVER,
    NO_OP,
    RANDOM_MODULUS,
)
from ringleader.consensus.log import ENTRY_BYTES, Block, Log
from ringleader.consensus.membership import Membership, NodeId, check_id
from ringleader.consensus.message import (
    Message,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    TimeoutNow,
)
from ringleader.consensus.progress import CoreProgress
from ringleader.consensus.quorum import QuorumSystem, VoteResult
from ringleader.consensus.ready import (
    HardState,
    Placed,
    ReadState,
    Ready,
    Received,
    Snapshot,
    SnapshotChunk,
    new_ready,
)
from ringleader.errors import (
    FormatError,
    LimitError,
    LogError,
    MembershipError,
    MisuseError,
    NotLeader,
    ProposalRefused,
    SettingTypeError,
)
from ringleader.kernels import hashing
from ringleader.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, PAYLOAD_BYTES_MAX, TERM_MAX

#: Ticks in one call; far below what a clock's 64 bits hold.
TICKS_MAX = 2**40
#: Tickets of forwarded proposals that a leader remembers, so that a repeated message adds nothing.
TICKETS_KEPT = 2**12
#: Lives of senders whose tickets it remembers in one term.
TICKET_LIVES_MAX = 2**12


class CoreBase:
    """One node of one group; the algorithms say what its arguments are.

    State that all algorithms have:

    term            highest term (or ballot) seen.  Never goes back; durable before anything that
                    shows it is sent.
    log             Invariant: never changed at or below `commit`; `_last` is its last index,
                    `_base` what it begins after.
    commit          highest index known to be committed.  Never goes back.  Invariant: <= log.last.
    last_applied    highest index that the caller has reported as applied.  Invariant: <= commit.
    stable          highest index that is durable here with all before it.  Invariant: <= log.last.
    leader          who leads `term`, as far as known.
    slack_ticks     by how much elections and the leader's count of its quorum wait longer than
                    `Config.election_ticks` says: for round trips that are longer than expected.
                    May be set at any time, and differ between nodes: promises and leases last as
                    long as ever.
    progress        leader: what it knows of each other member.
    """

    def __init__(
        self,
        id: NodeId,
        roles: tuple[str, ...],
        transitions: dict[tuple[int, int], str],
        log: Log | None,
        config: CoreConfig,
        seed: int,
        hard_state: HardState | None,
        snapshot: Snapshot | None,
        partial: tuple[int, int, int, int, int, int] | None,
    ) -> None:
        self.id = check_id(id)
        self._roles = roles
        self._transitions = transitions
        self.config = config
        # What the hot path reads of it.
        self._eager_commit = config.eager_commit
        self._max_block_bytes = config.max_block_bytes
        self._max_inflight_entries = config.max_inflight_entries
        self._max_inflight_bytes = config.max_inflight_bytes
        self._max_uncommitted_bytes = config.max_uncommitted_bytes
        self._max_apply_bytes = config.max_apply_bytes
        self._max_proposal_entries = BLOCK_ENTRIES_MAX
        self.log = log if log is not None else Log()
        self._last = self.log.last
        self._base = self.log.base
        hard_state = hard_state if hard_state is not None else HardState()
        base = self.log.base
        if snapshot is not None:
            if not base <= snapshot.index <= self.log.last:
                raise LogError(
                    f"the snapshot's index {snapshot.index} lies outside the log, which has "
                    f"entries {base + 1} ... {self.log.last}"
                )
        elif base:
            raise LogError(f"the log begins after {base}, but the snapshot of it is missing")
        if not 0 <= hard_state.term < TERM_MAX:
            raise LogError(f"the hard state's term {hard_state.term} lies outside 0 ... 2**62-2")

        self.term = hard_state.term
        self.vote = hard_state.vote
        start = snapshot.index if snapshot is not None else 0
        self.commit = max(start, min(hard_state.commit, self.log.last))
        self.last_applied = start
        self.role_number = FOLLOWER
        self.leader: NodeId | None = None
        self.snapshot = snapshot

        # Membership: (index, membership) of each that is known, oldest first; the first is the one
        # in force where the log (or the snapshot) begins.
        self.memberships: list[tuple[int, Membership]] = []
        self.membership = Membership()
        # What the hot path asks of it, and of the quorum.
        self._voter = False
        self._witness = False
        self._plain = False
        self.quorum: QuorumSystem = Nobody()
        self.progress: Mapping[NodeId, CoreProgress] = {}
        self._peers: Sequence[CoreProgress] = []

        # Time, in ticks since this object was made.
        self.now = 0
        self.deadline = NEVER
        self.heard = -NEVER
        self.quorum_due = NEVER
        self.slack_ticks = 0
        self.seed = seed
        # The id too: nodes that were given the same seed must not campaign in step.
        mixed = hashing.crc32c(f"{id!r} {seed} {self.term}".encode())
        self._random = mixed % (RANDOM_MODULUS - 1) + 1
        self._timeout = 0
        # A lease that this node granted in an earlier life may still run (D§6.4.1).
        self._sworn_until = config.election_ticks if config.lease and self.term > 0 else 0

        # The leader's bookkeeping.
        self.term_start = 0
        self.round = 0
        self.round_acked = 0
        self._round_ticks: list[tuple[int, int]] = []
        self._lease_from = -NEVER
        self._lease_lost = False
        self._round_wanted = False
        self._send_wanted = False
        self.transferee: NodeId | None = None
        self._transfer_deadline = NEVER
        self._preferred: NodeId | None = None
        self._preferred_since = 0
        self._tickets: dict[tuple[NodeId, int], set[int]] = {}
        self._ticket_floors: dict[tuple[NodeId, int], int] = {}
        self._ticket = 0

        # Reads: those that wait for the first commit of this term, and (round, index, context,
        # requester) of those that wait for their round.
        self._reads_early: list[tuple[bytes, NodeId]] = []
        self._reads: list[tuple[int, int, bytes, NodeId]] = []

        # A snapshot that is arriving: its name, and the bytes received.
        self._incoming: tuple[int, int, int, int] | None = None
        self._incoming_bytes = 0
        self._incoming_crc = 0
        if partial is not None:
            index, term, total_bytes, checksum, received, crc = partial
            if received < total_bytes:  # if complete, it was never installed: it comes again
                self._incoming = (index, term, total_bytes, checksum)
                self._incoming_bytes = received
                self._incoming_crc = crc
        self._chunks: list[SnapshotChunk] = []
        self._install: Snapshot | None = None

        # What goes out.
        self._early: list[Message] = []
        self._waiting: list[Message] = []
        self._read_states: list[ReadState] = []
        self._placed: list[Placed] = []
        self._block: Block | None = None
        self._block_first = self._block_last = 0
        self._block_fits = False
        self.stable = self.log.last
        self._handed = self.log.last
        self.applying = start
        self._shown = HardState(self.term, self.vote, self.commit)
        #: The commit index that the hard state must have reached, as soon as it can.
        self._commit_owed = 0
        self._ready_number = 0
        self._advanced = 0
        self._outstanding: list[Ready] = []
        self.rejected: dict[str, int] = {}

    # --- views -------------------------------------------------------------------------------

    @property
    def role(self) -> str:
        return self._roles[self.role_number]

    @property
    def uncommitted_bytes(self) -> int:
        """What the entries after `commit` take in the log."""
        return self._bytes_between(self.commit, self._last)

    def _bytes_between(self, after: int, last: int) -> int:
        """What the entries after `after`, up to `last`, take in the log."""
        payloads: int = self.log.payload_size(after + 1, last + 1)
        return payloads + ENTRY_BYTES * (last - after)

    @property
    def has_lease(self) -> bool:
        """Whether this leader may serve reads without asking anyone (D§6.4.1)."""
        return (
            self.role_number == LEADER
            and self.config.lease
            and not self._lease_lost
            and self._knows_all()
            and self.now - self._lease_from <= self.config.lease_ticks
        )

    def _status(self) -> dict[str, Any]:
        """The fields of a `CoreStatus`."""
        return {
            "id": self.id,
            "role": self.role,
            "term": self.term,
            "leader": self.leader,
            "membership": self.membership,
            "commit": self.commit,
            "last_applied": self.last_applied,
            "stable": self.stable,
            "first": self.log.first,
            "last": self._last,
            "last_term": self.log.last_term,
            "log_bytes": self.log.nbytes,
            "snapshot_index": self.snapshot.index if self.snapshot is not None else 0,
            "uncommitted_bytes": self.uncommitted_bytes,
            "pending_reads": len(self._reads) + len(self._reads_early),
            "has_lease": self.has_lease,
            "transferee": self.transferee,
            "receiving_snapshot_bytes": self._incoming_bytes if self._incoming else 0,
            "ticks": self.now,
            "rejected": dict(self.rejected),
        }

    # --- time --------------------------------------------------------------------------------

    def tick(self, count: int = 1) -> None:
        """`count` ticks have passed.  O(1) unless a timer fires; at most one does for each call.

        Raises:
            MisuseError: time went back, or on for ever.
        """
        if not 0 <= count <= TICKS_MAX:
            raise MisuseError(f"tick({count}): a number of ticks lies in 0 ... {TICKS_MAX}")
        self.now += count
        if self.now >= self.deadline:
            self._on_deadline()

    def _on_deadline(self) -> None:
        if self.role_number == LEADER:
            self._on_leader_deadline()
        elif self._promotable():
            self._campaign(self.config.pre_vote, False)
        else:
            self._set_election_deadline()

    def _on_leader_deadline(self) -> None:
        config = self.config
        if self.now >= self.quorum_due:
            self.quorum_due = self.now + config.election_ticks + self.slack_ticks
            # D§6.2: a leader that reaches no quorum steps down.
            active = {peer.id for peer in self._peers if peer.active}
            active.add(self.id)
            if config.check_quorum and not self._is_quorum(active):
                self._become_follower(self.term, None)
                return
            for peer in self._peers:
                peer.active = False
        if self.now >= self._transfer_deadline:
            self._end_transfer()
        self._prefer_leader()
        self.deadline = self.now + config.heartbeat_ticks
        self._round_wanted = True

    def _set_election_deadline(self) -> None:
        """Election timeouts are drawn anew each time, from [ticks, twice that)."""
        ticks = self.config.election_ticks + self.slack_ticks
        self._timeout = ticks + self._draw() % ticks
        # Those who should rather not lead let the others go first.
        if self.config.priorities and self.role_number == FOLLOWER and self._outranked():
            self._timeout += ticks
        self.deadline = self.now + self._timeout

    def _draw(self) -> int:
        """Lehmer's generator (Park and Miller 1988): 31 bits, with no state but the last number."""
        self._random = self._random * 48271 % RANDOM_MODULUS
        return self._random

    # --- messages ----------------------------------------------------------------------------

    def step(self, message: Message) -> None:
        """Take in a message.  One that is impossible is counted in `rejected` and changes nothing.

        Raises:
            MisuseError: it is no message at all.
        """
        if not isinstance(message, Message):
            raise MisuseError(f"step() takes a message of a {type(self).__name__}, not {message!r}")
        self._receive(message)

    def _receive(self, message: Message) -> None:
        problem = message.problem()
        if problem is None:
            problem = self._objection(message)
        if problem is not None:
            self._reject(problem)
            return
        self._step(message)

    def _is_usable(self, membership: bytes) -> bool:
        """Whether an encoded membership is one that this node can do with."""
        try:
            found = Membership.from_bytes(membership)
            self._check_usable(found)
        except (FormatError, MembershipError):
            return False
        return bool(found.voters)

    def _controls_are_valid(self, block: Block) -> bool:
        """Whether this version knows every control entry of `block`."""
        if not block.has_control:
            return True
        for index in range(block.first, block.last + 1):
            if block.is_control(index):
                payload = bytes(block[index])
                if payload[:1] == MEMBERSHIP:
                    if not self._is_usable(payload[1:]):
                        return False
                elif payload != NO_OP:
                    return False
        return True

    def _reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def _reply(self, message: Message) -> None:
        """A message that shows durable state: it leaves after what is being persisted."""
        self._waiting.append(message)

    # --- 1  roles ----------------------------------------------------------------------------

    def _become(self, role: int) -> None:
        if (self.role_number, role) not in self._transitions:
            raise MisuseError(f"a {self.role} cannot become {self._roles[role]}")
        self.role_number = role

    def _become_follower(self, term: int, leader: NodeId | None) -> None:
        if self.role_number == LEADER:
            self._stop_leading()
        self._become(FOLLOWER)
        if term > self.term:
            self.term = term
            self.vote = None
        self.leader = leader
        self._end_election()
        self._set_election_deadline()

    def _stop_leading(self) -> None:
        """The log stays as it is: what was not committed may still be."""
        for context, requester in self._reads_early:
            self._refuse_read(context, requester)
        for _, _, context, requester in self._reads:
            self._refuse_read(context, requester)
        self._reads_early.clear()
        self._reads.clear()
        self.progress = {}
        self._peers = []
        self._round_ticks.clear()
        self._lease_from = -NEVER
        self._round_wanted = self._send_wanted = False
        self._end_transfer()
        self._preferred = None
        self._tickets.clear()
        self._ticket_floors.clear()
        self._keep_block(None, 0, 0, False)

    def campaign(self) -> None:
        """Stand for election now, as if the election timeout had passed.

        Raises:
            MembershipError: this node is no voter, or a witness.
            ProposalRefused: leases are in use and this node hears a leader, whose lease it
            protects.
        """
        if self.role_number == LEADER:
            return
        if not self._promotable():
            raise MembershipError(
                f"{self.id!r} cannot lead: only voters that are no witnesses can, once a snapshot "
                "that they are receiving is installed"
            )
        if self.config.lease and self._hears_leader():
            raise ProposalRefused(
                f"{self.id!r} still protects the lease of {self.leader!r}; ask it to transfer()"
            )
        self._campaign(self.config.pre_vote, False)

    def _hears_leader(self) -> bool:
        if not self.config.check_quorum:
            return False
        if self.role_number == LEADER or self.now < self._sworn_until:
            return True
        # By the time alone: whatever has happened to term and leader since, a lease may hang on it.
        return self.now - self.heard < self.config.election_ticks

    def _system_of(self, voters: tuple[NodeId, ...]) -> QuorumSystem:
        """
        Raises:
            MembershipError: `Config.quorum` makes no system of these voters.
        """
        try:
            system = self.config.quorum(voters)
        except Exception as error:  # the user's own function
            raise MembershipError(f"no quorum system for {voters}: {error!r}") from error
        if not isinstance(system, QuorumSystem) or set(system.voters) != set(voters):
            raise MembershipError(f"Config.quorum gave {system!r} for the voters {voters}")
        return system

    # --- 2  replication ----------------------------------------------------------------------

    def _heard(self, peer: CoreProgress, round: int) -> None:
        """A member answered what was sent to it in `round`."""
        peer.active = True
        if round > peer.round:
            peer.round = round
            if round > self.round_acked:
                self._count_rounds()

    def _majority_match(self) -> int:
        """`quorum.committed` for the common case, a majority of all members, without a dict: the
        highest index that more than half of them hold."""
        found = self.stable if self._majority_holds(self.stable) else 0
        for peer in self._peers:
            if peer.match > found and self._majority_holds(peer.match):
                found = peer.match
        return found

    def _majority_holds(self, index: int) -> bool:
        count = 1 if self.stable >= index else 0
        for peer in self._peers:
            if peer.match >= index:
                count += 1
        return count > (len(self._peers) + 1) // 2

    def _majority_round(self) -> int:
        """The same for rounds."""
        rounds = [peer.round for peer in self._peers]
        rounds.append(self.round)
        rounds.sort()
        return rounds[(len(rounds) - 1) // 2]

    def _has_room(self, peer: CoreProgress) -> bool:
        """Whether the window takes one more message (one of any size always fits)."""
        inflight = peer.next - 1 - peer.match
        return inflight <= 0 or (
            inflight < self._max_inflight_entries
            and self._inflight_bytes(peer) < self._max_inflight_bytes
        )

    def _encode(self, first: int) -> Block:
        """Entries from `first` on as one block; peers (and the disk) share its bytes."""
        if self._block_first == first and self._block_last == self._last and self._block_fits:
            kept: Block = self._block  # type: ignore[assignment]
            return kept
        block = self.log.block(first, self._last + 1, self._max_block_bytes)
        self._keep_block(block, first, block.last, True)
        return block

    def _keep_block(self, block: Block | None, first: int, last: int, fits: bool) -> None:
        """Invariant: `_block` holds the log's entries `_block_first` ... `_block_last`; 0: none.
        `fits`: it was made for a message; one that was received may be larger than ours are."""
        self._block = block
        self._block_first = first
        self._block_last = last
        self._block_fits = fits

    # --- 3  snapshots ------------------------------------------------------------------------

    def compact(self, snapshot: Snapshot, keep_from: int | None = None) -> None:
        """There is a durable snapshot of the state machine; the log may forget what it covers.

        Args:
            snapshot: what was applied up to `snapshot.index`.
            keep_from: entries from here on stay, for followers that are not far behind; by default
                the first after the snapshot.

        Raises:
            MisuseError: it covers what was not applied, is older than the last one, or `keep_from`
                would drop entries that it does not cover.
        """
        if not self._base <= snapshot.index <= self.last_applied:
            raise MisuseError(
                f"a snapshot at {snapshot.index} is outside what was applied and is still in the "
                f"log, {self._base} ... {self.last_applied}: take it after applied()"
            )
        if self.snapshot is not None and snapshot.index < self.snapshot.index:
            raise MisuseError(f"there is a newer snapshot already, at {self.snapshot.index}")
        if snapshot.term != self.log.term(snapshot.index):
            raise MisuseError(
                f"entry {snapshot.index} is of term {self.log.term(snapshot.index)}, not "
                f"{snapshot.term}"
            )
        if not snapshot.membership.voters:
            raise MisuseError("nobody's membership is known there: a snapshot would be unusable")
        if snapshot.membership != self.membership_at(snapshot.index):
            raise MisuseError(
                f"the membership at {snapshot.index} is {self.membership_at(snapshot.index)}, not "
                f"{snapshot.membership}: ask membership_at()"
            )
        if keep_from is None:
            keep_from = snapshot.index + 1
        if keep_from > snapshot.index + 1:
            raise MisuseError(
                f"keep_from={keep_from} would drop entries after {snapshot.index}, which the "
                "snapshot does not cover"
            )
        self.snapshot = snapshot
        # Entries that no one was given yet to persist are not forgotten.
        drop = self._unneeded(min(keep_from - 1, self._handed))
        if drop > self._base:
            self.log.compact(drop)
            self._base = drop
        self._forget_memberships(self._base)

    def _unneeded(self, index: int) -> int:
        """Up to where, `index` at most, no member needs the log's entries."""
        return index

    def _forget_memberships(self, index: int) -> None:
        """Those before the one that was in force at `index` are asked for no more."""
        kept = 0
        while kept + 1 < len(self.memberships) and self.memberships[kept + 1][0] <= index:
            kept += 1
        del self.memberships[:kept]

    def _begin_receiving(self, name: tuple[int, int, int, int]) -> None:
        """From now on bytes of this snapshot are taken: its index, term, total_bytes, checksum."""
        self._incoming = name
        self._incoming_bytes = self._incoming_crc = 0
        self._chunks.clear()

    def _end_receiving(self) -> None:
        self._incoming = None
        self._incoming_bytes = self._incoming_crc = 0

    def _take_chunk(self, data: bytes) -> bool:
        """The next bytes of the snapshot that arrives; False when all are here and the checksum is
        not theirs: they are forgotten."""
        assert self._incoming is not None
        index, term, total_bytes, checksum = self._incoming
        offset = self._incoming_bytes
        self._incoming_bytes += len(data)
        self._incoming_crc = hashing.crc32c(data, self._incoming_crc)
        if self._incoming_bytes == total_bytes and self._incoming_crc != checksum:
            self._reject("snapshot with a wrong checksum")
            self._end_receiving()
            return False
        self._chunks.append(SnapshotChunk(index, term, total_bytes, checksum, offset, data))
        return True

    def _restore(self, index: int, term: int, membership: Membership, checksum: int) -> None:
        """All of a snapshot is here; it takes the place of the log."""
        self._install = Snapshot(index, term, membership, Received(), checksum)
        self._end_receiving()
        self.log.restore(index, term)
        self._last = self._base = index
        self._keep_block(None, 0, 0, False)
        self._forget_stable(0)
        self._handed = index
        self.commit = index
        self.applying = index

    # --- 4  reads and transfer: D§6.4, D§3.10, leader priority -------------------------------

    def read_index(self, context: bytes) -> None:
        """Ask for an index that a linearizable read may be served at: `Ready.reads` answers with
        the same `context`.  On a follower the leader is asked.

        Raises:
            NotLeader: no leader is known; nothing was asked.
            ProposalRefused: too many reads are waiting.
            SettingTypeError: the context is not bytes.
        """
        if not isinstance(context, bytes):
            raise SettingTypeError(f"a read's context is bytes, not {context!r}")
        if self.role_number == LEADER:
            if self._reads_are_full():
                raise ProposalRefused(
                    f"{self.config.max_pending_reads} reads are waiting already; try again later"
                )
            self._begin_read(context, self.id)
        elif self.leader is None:
            raise NotLeader("no leader is known; try again later", None)
        else:
            self._early.append(ReadRequest(self.id, self.leader, self.term, context))

    def _reads_are_full(self) -> bool:
        return len(self._reads) + len(self._reads_early) >= self.config.max_pending_reads

    def _on_read_request(self, message: ReadRequest) -> None:
        if self.role_number != LEADER or self._reads_are_full():
            self._refuse_read(message.context, message.sender)
        else:
            self._begin_read(message.context, message.sender)

    def _begin_read(self, context: bytes, requester: NodeId) -> None:
        self._stir()
        if not self._knows_all():
            self._reads_early.append((context, requester))
        elif self.has_lease or not self._peers:
            self._answer_read(context, requester, self.commit)
        else:
            # The next round, not one that is under way: it has to begin after the read.
            self._reads.append((self.round + 1, self.commit, context, requester))
            self._round_wanted = True

    def _knows_all(self) -> bool:
        """Leader: whether all that was committed in earlier terms lies at or below the commit index
        (D§6.4, step 1; figure 8 of the Raft paper, for reads): what earlier leaders left may have
        been committed, and read, before."""
        return self.commit >= self.term_start

    def _begin_early_reads(self) -> None:
        """The commit index moved."""
        if self._reads_early and self._knows_all():
            for context, requester in self._reads_early:
                self._begin_read(context, requester)
            self._reads_early.clear()

    def _answer_read(self, context: bytes, requester: NodeId, index: int) -> None:
        if requester == self.id:
            self._read_states.append(ReadState(context, index))
        else:
            self._early.append(ReadReply(self.id, requester, self.term, context, index))

    def _refuse_read(self, context: bytes, requester: NodeId) -> None:
        self._answer_read(context, requester, 0)

    def _begin_round(self) -> None:
        self._round_wanted = False
        self.round += 1
        if self.config.lease:
            self._round_ticks.append((self.round, self.now))
        self._send_wanted = True
        self._count_rounds()  # alone among learners, it is a quorum already

    def _count_rounds(self) -> None:
        """A quorum answered round r: whoever sent it was the leader when it did."""
        if self._plain:
            round = self._majority_round()
        else:
            acked = {peer.id: peer.round for peer in self._peers}
            acked[self.id] = self.round
            round = self._quorum_round(acked)
        while self._round_ticks and self._round_ticks[0][0] <= round:
            self._lease_from = self._round_ticks.pop(0)[1]
        if round <= self.round_acked:
            return
        self.round_acked = round
        answered = 0
        for of_round, index, context, requester in self._reads:
            if of_round > round:
                break
            self._answer_read(context, requester, index)
            answered += 1
        del self._reads[:answered]

    def transfer(self, to: NodeId) -> None:
        """Hand leadership to `to`: bring it up to date, then tell it to campaign.  Proposals are
        refused meanwhile; given up after `election_ticks`.

        Raises:
            NotLeader: only the leader can.
            MembershipError: `to` is no voter that can lead.
        """
        self._require_leader("transfer leadership")
        if to == self.id:
            return
        if to not in self.progress or not self._may_lead(to):
            if self.membership.is_witness(to):
                raise MembershipError(f"{to!r} is a witness and cannot lead")
            raise MembershipError(f"{to!r} is no voter of this group")
        self._stir()
        self.transferee = to
        self._transfer_deadline = self.now + self.config.election_ticks + self.slack_ticks
        self._try_transfer()

    def _end_transfer(self) -> None:
        self.transferee = None
        self._transfer_deadline = NEVER

    def _on_timeout_now(self, message: TimeoutNow) -> None:
        if (
            self.role_number != FOLLOWER
            or message.sender != self.leader
            or message.term != self.term
        ):
            return
        if self._promotable():
            self._campaign(False, True)

    def _outranked(self) -> bool:
        """Whether somebody else should rather campaign.  Not the leader: when this matters, it is
        the one that is heard no more."""
        priorities = self.config.priorities
        own = priorities.get(self.id, 0)
        return any(
            priorities.get(voter, 0) > own and voter != self.leader and self._may_lead(voter)
            for voter in self.membership.voters
        )

    def _prefer_leader(self) -> None:
        """Give way to a voter of higher priority that has been up to date for a while."""
        priorities = self.config.priorities
        if not priorities or self.transferee is not None or self._between_memberships():
            return
        own = priorities.get(self.id, 0)
        best: CoreProgress | None = None
        for peer in self._peers:
            if (
                priorities.get(peer.id, 0) > own
                and peer.match >= self.commit
                and self._follows(peer)
                and self._may_lead(peer.id)
            ):
                own = priorities.get(peer.id, 0)
                best = peer
        if best is None or best.id != self._preferred:
            self._preferred = best.id if best is not None else None
            self._preferred_since = self.now
        elif best.active and self.now - self._preferred_since >= self.config.priority_ticks:
            self._preferred_since = self.now  # should it fail, wait as long again
            self.transfer(best.id)

    # --- 5  proposals ------------------------------------------------------------------------

    def _require_leader(self, what: str) -> None:
        if self.role_number != LEADER:
            known = f"; {self.leader!r} is" if self.leader is not None else ""
            raise NotLeader(f"{self.id!r} cannot {what}: it is not the leader{known}", self.leader)

    def propose(self, payloads: Sequence[bytes]) -> int:
        """Append commands to the log; the index of the first.  They stand next to each other, and
        are committed when `Ready.committed` shows them with this node's present term.  An entry
        there with another term is another command or, if the core's `terms_stay` is False, may be
        this one.  A change of leader may keep only the first few.

        Raises:
            NotLeader: only the leader can; its `leader` says who is.
            ProposalRefused: too much is under way, or leadership is being handed over.
            LimitError: more or larger payloads than one block, or the window, takes.
            SettingTypeError: a payload is not bytes.
        """
        if self.role_number != LEADER:
            self._require_leader("take proposals")
        if self.transferee is not None:
            raise ProposalRefused(
                f"leadership is being handed to {self.transferee!r}; try again there"
            )
        if not isinstance(payloads, (list, tuple)):
            payloads = list(payloads)
        count = len(payloads)
        if count > self._max_proposal_entries:
            raise LimitError(f"{count} payloads at once: at most {self._max_proposal_entries}")
        self._check_proposal(count)
        first: int = self.log.append(self.term, payloads)
        if not count:
            return first
        self._last = first + count - 1
        # What is not durable and applied here counts, too: nothing of it can be compacted.
        done = min(self.commit, self.stable, self.last_applied)
        if first - 1 > done and (
            self._bytes_between(done, self._last) > self._max_uncommitted_bytes
        ):
            self.log.truncate(first)  # nobody has seen it
            self._last = first - 1
            raise ProposalRefused(
                f"{self.uncommitted_bytes} bytes are uncommitted already, and no more than "
                f"max_uncommitted_bytes={self._max_uncommitted_bytes} may be; try again later"
            )
        self._stir()
        self._send_wanted = True
        return first

    def forward(self, payloads: Sequence[bytes]) -> int:
        """Have commands proposed by the leader; a ticket.  `Ready.placed` answers with it, if an
        answer comes at all: without one, nobody knows whether they will be committed.

        Raises:
            NotLeader: no leader is known, or this is the leader: propose() here.
            LimitError, SettingTypeError: as propose().
        """
        if self.role_number == LEADER:
            raise NotLeader("this is the leader: propose() here", self.id)
        if self.leader is None:
            raise NotLeader("no leader is known; try again later", None)
        payloads = tuple(payloads)
        if len(payloads) > self._max_proposal_entries:
            raise LimitError(
                f"{len(payloads)} payloads at once: at most {self._max_proposal_entries}"
            )
        for position, payload in enumerate(payloads):
            if not isinstance(payload, bytes):
                raise SettingTypeError(f"payload {position} is {payload!r}, not bytes")
            if len(payload) > PAYLOAD_BYTES_MAX:
                raise LimitError(f"payload {position} has over {PAYLOAD_BYTES_MAX} bytes")
        if not self._ticket:
            self._ticket = self._draw() << 31  # of this life alone
        self._ticket += 1
        ticket = self._ticket
        self._early.append(Propose(self.id, self.leader, self.term, ticket, payloads))
        return ticket

    def _on_propose(self, message: Propose) -> None:
        # No answer leaves the outcome open.  A refusal is certain: only the leader of the ticket's
        # term gives one, and remembers it: another copy may be under way, or have been taken.
        if self.role_number != LEADER or message.term != self.term:
            return  # what was sent to an earlier leadership may have been taken then
        if not self._is_new(message.sender, message.ticket):
            return
        index = 0
        try:
            index = self.propose(message.payloads)
        except ProposalRefused:
            pass
        except (TypeError, LimitError, LogError):
            self._reject("impossible proposal")
            return
        self._remember(message.sender, message.ticket)
        self._early.append(ProposeReply(self.id, message.sender, self.term, message.ticket, index))

    def _is_new(self, sender: NodeId, ticket: int) -> bool:
        """Whether no copy of this ticket was answered yet.

        Those of one life count up: what is below the oldest remembered is taken for a copy.
        """
        life = (sender, ticket >> 31)
        tickets = self._tickets.get(life)
        if tickets is None:
            return len(self._tickets) < TICKET_LIVES_MAX
        return ticket > self._ticket_floors[life] and ticket not in tickets

    def _remember(self, sender: NodeId, ticket: int) -> None:
        life = (sender, ticket >> 31)
        tickets = self._tickets.get(life)
        if tickets is None:
            tickets = self._tickets[life] = set()
            self._ticket_floors[life] = -1
        tickets.add(ticket)
        if len(tickets) > TICKETS_KEPT:
            ordered = sorted(tickets)
            self._ticket_floors[life] = ordered[TICKETS_KEPT // 2]
            tickets.difference_update(ordered[: TICKETS_KEPT // 2 + 1])

    # --- 6  Ready ----------------------------------------------------------------------------

    @property
    def has_ready(self) -> bool:
        """Whether `ready()` has anything to give."""
        return self._has_ready()

    def _has_ready(self) -> bool:
        return bool(
            self._send_wanted
            or self._round_wanted
            or self._early
            or self._waiting
            or self._handed < self._last
            or (self.applying < self.commit and self.applying < self.stable)
            or self._shown.term != self.term
            or self._shown.vote != self.vote
            or self._owes_commit()
            or self._read_states
            or self._placed
            or self._chunks
            or self._install is not None
        )

    def _owes_commit(self) -> bool:
        """Whether a commit index has to be put on record, and can be."""
        return bool(
            self._shown.commit < self._commit_owed
            and self._commit_owed <= self.commit
            and self._commit_owed <= self.stable
        )

    def ready(self) -> Ready:
        """What there is to do now.

        Raises:
            MisuseError: there is nothing; see `has_ready`.
        """
        if not self._has_ready():
            raise MisuseError("ready() without has_ready: there is nothing to do")
        self._ready_number += 1
        ready = new_ready(self._ready_number)
        log = self.log
        if self.role_number == LEADER:
            self._speak()
        if self._chunks:
            ready.chunks = self._chunks
            self._chunks = []
        self._hand_over_aside(ready)
        if self._install is not None:
            ready.snapshot = self._install
            self._install = None
        last = self._last
        if self._handed < last:
            if self._block_first == self._handed + 1 and self._block_last == last:
                ready.block = self._block
                self._handed = last
            else:
                ready.block = log.block(self._handed + 1, last + 1, BLOCK_BYTES_MAX)
                self._handed = ready.block.last
        ready.last = self._handed
        shown = self._shown
        if shown.term != self.term or shown.vote != self.vote or self._owes_commit():
            # Not beyond what is durable: after a crash, other entries may stand there.
            durable = self.commit if self.commit < self.stable else self.stable
            self._shown = ready.hard_state = HardState(self.term, self.vote, durable)

        writes = ready._writes()
        messages = self._early
        ready.early = len(messages)
        if messages:
            self._early = []
        # Replies wait for every entry that they speak of.
        if self._waiting and self._handed == last:
            if messages:
                messages.extend(self._waiting)
            else:
                messages = self._waiting
            self._waiting = []
            if not self._outstanding and not writes:
                ready.early = len(messages)
        if messages:
            ready.messages = messages

        ceiling = min(self.commit, self.stable)
        if self.applying < ceiling and self._witness:
            self.applying = self.last_applied = ceiling  # it runs no state machine
        elif self.applying < ceiling:
            entries = log.entries(self.applying + 1, ceiling + 1, self._max_apply_bytes)
            ready.committed = entries
            self.applying = ready.applies = self.applying + len(entries)
        if self._read_states:
            ready.reads = self._read_states
            self._read_states = []
        if self._placed:
            ready.placed = self._placed
            self._placed = []
        if writes or self._outstanding:
            self._outstanding.append(ready)
        return ready

    def _speak(self) -> None:
        """Leader: put what the others should hear into `_early`."""
        if self._round_wanted:
            self._begin_round()
        if self._send_wanted:
            self._send_wanted = False
            self._replicate_all()

    def advance(self, ready: Ready) -> None:
        """`ready` is persisted, sent and applied.

        Raises:
            MisuseError: it is not the oldest that is outstanding, or was not taken from here.
        """
        if not self._advanced < ready.number <= self._ready_number or (
            self._outstanding
            and self._outstanding[0] is not ready
            and self._outstanding[0].number <= ready.number
        ):
            raise MisuseError(
                f"advance({ready!r}) is out of order: the last one taken is {self._ready_number}, "
                f"the last one advanced {self._advanced}; {len(self._outstanding)} are outstanding"
            )
        self._advanced = ready.number
        if self._outstanding and self._outstanding[0] is ready:
            self.persisted(ready)
        if ready.applies:
            self.applied(ready.applies)

    def persisted(self, ready: Ready) -> None:
        """What `ready` persists is durable (its messages may leave).

        Raises:
            MisuseError: an earlier one is not durable yet, or this one was reported before.
        """
        if not self._outstanding:
            if ready._writes() or ready.number > self._ready_number:
                raise MisuseError(f"persisted({ready!r}): it is not outstanding")
            return
        if self._outstanding[0] is not ready:
            if not ready._writes() and ready.number < self._outstanding[0].number:
                return
            raise MisuseError(f"persisted({ready!r}): it is not the oldest that is outstanding")
        del self._outstanding[0]
        if ready.snapshot is not None:
            self.snapshot = ready.snapshot
            if self.last_applied < ready.snapshot.index:
                self.last_applied = ready.snapshot.index
        if ready.last > self.stable:
            self.stable = ready.last
            if self.role_number == LEADER and self.stable > self.commit:
                self._advance_commit()
        if (
            self.role_number == CANDIDATE
            and ready.hard_state is not None
            and ready.hard_state.term == self.term
            and ready.hard_state.vote == self.id
        ):
            self._count_own_vote()

    def applied(self, index: int) -> None:
        """The state machine has applied everything up to `index`.

        Raises:
            MisuseError: that was never handed over, or the index goes back.
        """
        snapshot = self.snapshot
        if index < self.last_applied and snapshot is not None and index <= snapshot.index:
            return  # a snapshot that was installed meanwhile has overtaken it
        if not self.last_applied <= index <= self.applying:
            raise MisuseError(
                f"applied({index}): entries were handed over up to {self.applying} and applied up "
                f"to {self.last_applied}"
            )
        self.last_applied = index

    def _forget_stable(self, index: int) -> None:
        """Entries after `index` were replaced: what is on its way to the disk counts no further,
        even when its write completes later (two truncations can bring back an old index and
        term)."""
        if index < self._handed:
            self._handed = index
        if index < self.stable:
            self.stable = index
        for ready in self._outstanding:
            if ready.last > index:
                ready.last = index

    # --- 7  hooks: what an algorithm has to say of itself ------------------------------------

    def membership_at(self, index: int) -> Membership:
        """The membership that a snapshot at `index` has to name."""
        raise NotImplementedError

    def _quorum_of(self, membership: Membership) -> QuorumSystem:
        """
        Raises:
            MembershipError: `Config.quorum` makes no system of these voters that is safe here.
        """
        raise NotImplementedError

    def _check_usable(self, membership: Membership) -> None:
        """
        Raises:
            MembershipError: the algorithm has no use for it.
        """
        self._quorum_of(membership)

    def _objection(self, message: Message) -> str | None:
        """Why `message`, sound by itself, cannot come from an honest member, as far as is known
        here; or None.  Looks before anything changes."""
        raise NotImplementedError

    def _step(self, message: Message) -> None:
        """Take in a message that nothing speaks against."""
        raise NotImplementedError

    def _promotable(self) -> bool:
        """Whether this node may campaign."""
        raise NotImplementedError

    def _campaign(self, pre: bool, transfer: bool) -> None:
        """Ask the others for their votes; `pre`: whether they would give them."""
        raise NotImplementedError

    def _end_election(self) -> None:
        """Forget who voted."""
        raise NotImplementedError

    def _count_own_vote(self) -> None:
        """A candidate's vote for itself is durable."""
        raise NotImplementedError

    def _may_lead(self, node: NodeId) -> bool:
        """Whether `node` is a voter that can lead."""
        raise NotImplementedError

    def _follows(self, peer: CoreProgress) -> bool:
        """Whether what is sent to `peer` arrives in its log without more ado."""
        return True

    def _between_memberships(self) -> bool:
        """Whether a change of membership is half done."""
        return self.membership.joint

    def _is_quorum(self, ids: Collection[NodeId]) -> bool:
        """Whether a leader that hears these may go on."""
        return self.quorum.has_quorum(ids)

    def _quorum_round(self, acked: Mapping[NodeId, int]) -> int:
        """The highest round that a quorum has answered."""
        return self.quorum.committed(acked)

    def _inflight_bytes(self, peer: CoreProgress) -> int:
        """What was sent to `peer` and is not acknowledged yet."""
        raise NotImplementedError

    def _replicate_all(self) -> None:
        """Send each member what it lacks."""
        raise NotImplementedError

    def _advance_commit(self) -> None:
        """More is durable: is more committed?"""
        raise NotImplementedError

    def _try_transfer(self) -> None:
        """Tell the transferee to campaign, once it has all."""
        raise NotImplementedError

    def _check_proposal(self, count: int) -> None:
        """
        Raises:
            ProposalRefused, LimitError: so many entries are not taken now, or never.
        """
        raise NotImplementedError

    def _hand_over_aside(self, ready: Ready) -> None:
        """Put into `ready` what stands beside the log, if the algorithm has such."""

    def _stir(self) -> None:
        """There is something to do: a group that rests does so no more."""


class Nobody(QuorumSystem):
    """No voters are known yet: nothing is decided here."""

    def committed(self, match: Mapping[NodeId, int]) -> int:
        return 0

    def vote(self, votes: Mapping[NodeId, bool | None]) -> VoteResult:
        return "pending"

    def has_quorum(self, ids: Iterable[NodeId]) -> bool:
        return False

    def can_elect(self, ids: Iterable[NodeId]) -> bool:
        return False
