"""Raft, without input or output: figure 2 of the paper, and what a production system adds to it.

Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended
Version)", 2014, cited as §n; Ongaro's dissertation "Consensus: Bridging Theory and Practice", 2014,
cited as D§n.

What it guarantees (figure 3; the simulator checks each at every step):

    Election Safety       at most one leader is elected in a term
    Leader Append-Only    a leader never overwrites or deletes entries of its log
    Log Matching          two logs with an entry of the same index and term are equal up to it
    Leader Completeness   an entry committed in a term is in the logs of the leaders of later terms
    State Machine Safety  no two nodes apply different commands at one index

How it works.  The caller gives ticks, messages and proposals, and takes a `Ready`: what to persist,
send and apply, in this order (`ringleader.consensus.ready` has the rules).  Everything between two
`ready()` calls goes into one: proposals share a block, followers share its bytes, reads share a
round of messages.  Entries are never touched one by one here; the log's kernels do that.

The code is in the order of the paper:

    Raft.tick, step         time and messages: what all roles have in common (figure 2)
    1  elections            §5.2, §5.4.1, pre-vote D§9.6, leader stickiness D§4.2.3
    2  replication          §5.3, commit rule §5.4.2, flow control
    3  snapshots            §7
    4  membership           §6, D§4
    5  reads and transfer   D§6.4, D§3.10
    6  proposals
    7  Ready                what goes out, what comes back

No clock, no randomness (an injected seed), no thread, no socket.  The file is plain Python;
core.pxd gives it C types when the package is built, and RINGLEADER_PURE=1 runs it as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ringleader.consensus.log import ENTRY_BYTES, Block, Log
from ringleader.consensus.membership import ConfChange, Membership, NodeId, check_id
from ringleader.consensus.message import (
    Message,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    TimeoutNow,
)
from ringleader.consensus.quorum import Joint, Majority, QuorumSystem, VoteResult
from ringleader.consensus.raft.config import Config
from ringleader.consensus.raft.messages import (
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
from ringleader.consensus.raft.progress import PROBE, REPLICATE, SNAPSHOT, STATES, Progress
from ringleader.consensus.raft.status import PeerStatus, Status
from ringleader.consensus.ready import (
    BytesSource,
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
    ConfigError,
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

FOLLOWER = 0
PRE_CANDIDATE = 1
CANDIDATE = 2
LEADER = 3
ROLES = ("follower", "pre-candidate", "candidate", "leader")

#: Every change of role, with its cause (figure 4 and D§9.6); docs/ draws the diagram from it.
TRANSITIONS: dict[tuple[int, int], str] = {
    (FOLLOWER, FOLLOWER): "sees a higher term, or a leader of its own",
    (FOLLOWER, PRE_CANDIDATE): "hears no leader: would I win?",
    (FOLLOWER, CANDIDATE): "is told to (transfer), or runs without pre-vote",
    (PRE_CANDIDATE, PRE_CANDIDATE): "no answer: asks again",
    (PRE_CANDIDATE, CANDIDATE): "a quorum would vote for it",
    (PRE_CANDIDATE, FOLLOWER): "a quorum would not, or there is a leader or a higher term",
    (CANDIDATE, PRE_CANDIDATE): "split vote: asks again",
    (CANDIDATE, CANDIDATE): "split vote, without pre-vote",
    (CANDIDATE, LEADER): "a quorum voted for it",
    (CANDIDATE, FOLLOWER): "a quorum refused, or there is a leader or a higher term",
    (LEADER, FOLLOWER): "sees a higher term, hears no quorum, or left the group",
}

#: The first byte of a control entry's payload.
NO_OP = b"\0"
MEMBERSHIP = b"\1"

RANDOM_MODULUS = 2**31 - 1
#: Ticks in one call; far below what a clock's 64 bits hold.
TICKS_MAX = 2**40
#: How far beyond the own term a stranger's may lie.
TERM_JUMP_MAX = 2**32
#: A deadline that no tick reaches.
NEVER = 2**62
#: Tickets of forwarded proposals that a leader remembers, so that a repeated message adds nothing.
TICKETS_KEPT = 2**12
#: Lives of senders whose tickets it remembers in one term.
TICKET_LIVES_MAX = 2**12


class Raft:
    """One node of one group.

    Args:
        id: this node's name, a positive int or a non-empty str.
        voters: the group's first voters (or a `Membership`), the same on every node that starts
            with it; empty for a node that joins a running group.  A snapshot's membership and those
            in the log come later and win.
        log: what was durable, or None for an empty one.  The core owns it from now on.
        config: see `Config`.
        seed: makes election timeouts differ; give every node and every life another one.
        hard_state, snapshot, partial: what `Storage.load()` gave.

    Raises:
        ConfigError, MembershipError: an argument cannot be used.
        LogError: log, snapshot and hard state do not fit together.

    State, in the names of figure 2:

    term            latest term seen.  Never goes back; durable before anything that shows it is
                    sent.
    vote            whom this node voted for in `term`.  Invariant: changes once a term at most.
    log             Invariant: never truncated at or below `commit`; `_last` is its last index,
                    `_base` what it begins after.
    commit          highest index known to be committed.  Never goes back.  Invariant: <= log.last.
    last_applied    highest index that the caller has reported as applied.  Invariant: <= commit.
    stable          highest index that is durable here with all before it.  Invariant: <= log.last.
    leader          who leads `term`, as far as known.
    progress        leader: what it knows of each other member.
    """

    #: An entry is of the term that it was proposed in, in every log.
    terms_stay = True

    def __init__(
        self,
        id: NodeId,
        voters: Iterable[NodeId] | Membership = (),
        *,
        log: Log | None = None,
        config: Config | None = None,
        seed: int = 0,
        hard_state: HardState | None = None,
        snapshot: Snapshot | None = None,
        partial: tuple[int, int, int, int, int, int] | None = None,
    ) -> None:
        self.id = check_id(id)
        if config is None:
            config = Config()
        elif not isinstance(config, Config):
            raise ConfigError(f"config={config!r} is no Config")
        self.config = config
        # What the hot path reads of it.
        self._eager_commit = config.eager_commit
        self._max_block_bytes = config.max_block_bytes
        self._max_inflight_entries = config.max_inflight_entries
        self._max_inflight_bytes = config.max_inflight_bytes
        self._max_uncommitted_bytes = config.max_uncommitted_bytes
        self._max_apply_bytes = config.max_apply_bytes
        self.log = log if log is not None else Log()
        self._last = self.log.last
        self._base = self.log.base
        hard_state = hard_state if hard_state is not None else HardState()
        first = voters if isinstance(voters, Membership) else Membership(voters)
        base = self.log.base
        if snapshot is not None:
            first = snapshot.membership
            if not base <= snapshot.index <= self.log.last:
                raise LogError(
                    f"the snapshot's index {snapshot.index} lies outside the log, which has "
                    f"entries {base + 1} ... {self.log.last}"
                )
            if self.log.term(snapshot.index) != snapshot.term:
                raise LogError(f"the snapshot at {snapshot.index} is of another term than the log")
        elif base:
            raise LogError(f"the log begins after {base}, but the snapshot of it is missing")
        if not 0 <= hard_state.term < TERM_MAX:
            raise LogError(f"the hard state's term {hard_state.term} lies outside 0 ... 2**62-2")
        if hard_state.term < self.log.last_term:
            raise LogError(
                f"the hard state's term {hard_state.term} is below the log's {self.log.last_term}"
            )

        # Figure 2, persistent state.
        self.term = hard_state.term
        self.vote = hard_state.vote
        # Figure 2, volatile state.
        start = snapshot.index if snapshot is not None else 0
        self.commit = max(start, min(hard_state.commit, self.log.last))
        self.last_applied = start
        self.role_number = FOLLOWER
        self.leader: NodeId | None = None
        self.snapshot = snapshot

        # Membership: (index, configuration) of each that stands in the log, oldest first; the first
        # is the one in force where the log (or the snapshot) begins.
        self.memberships: list[tuple[int, Membership]] = [(start, first)]
        self.membership = first
        self.membership_index = start
        # What the hot path asks of it, and of the quorum.
        self._voter = False
        self._witness = False
        self._joint = False
        self._plain = False
        self.quorum: QuorumSystem = _Nobody()
        self.progress: dict[NodeId, Progress] = {}
        self._peers: list[Progress] = []

        # Time, in ticks since this object was made.
        self.now = 0
        self.deadline = NEVER
        self.heard = -NEVER
        self.quorum_due = NEVER
        self.quiesced = False
        self.seed = seed
        # The id too: nodes that were given the same seed must not campaign in step.
        mixed = hashing.crc32c(f"{id!r} {seed} {self.term}".encode())
        self._random = mixed % (RANDOM_MODULUS - 1) + 1
        self._timeout = 0
        # A lease that this node granted in an earlier life may still run (D§6.4.1).
        self._sworn_until = config.election_ticks if config.lease and self.term > 0 else 0

        # Elections.
        self.ballots: dict[NodeId, bool] = {}

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
        self._incoming_since = (0, 0)
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
        self._ready_number = 0
        self._advanced = 0
        self._outstanding: list[Ready] = []
        self.rejected: dict[str, int] = {}

        self._adopt_memberships(start + 1)
        self._set_election_deadline()

    # --- views -------------------------------------------------------------------------------

    @property
    def role(self) -> str:
        return ROLES[self.role_number]

    @property
    def uncommitted_bytes(self) -> int:
        """What the entries after `commit` take in the log."""
        return self._bytes_after(self.commit)

    def _bytes_after(self, index: int) -> int:
        return self._bytes_between(index, self._last)

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
            and self.commit >= self.term_start
            and self.now - self._lease_from <= self.config.lease_ticks
        )

    def status(self) -> Status:
        """Everything that an operator may want to see, as values that no longer change."""
        peers = tuple(
            PeerStatus(
                id=peer.id,
                state=STATES[peer.state],
                match=peer.match,
                next=peer.next,
                lag=self._last - peer.match,
                inflight_entries=peer.next - 1 - peer.match if peer.state == REPLICATE else 0,
                inflight_bytes=self._inflight_bytes(peer) if peer.state == REPLICATE else 0,
                active=peer.active,
                paused=peer.paused,
                witness=peer.witness,
                snapshot_bytes_sent=peer.offset,
            )
            for peer in self._peers
        )
        return Status(
            id=self.id,
            role=self.role,
            term=self.term,
            vote=self.vote,
            leader=self.leader,
            membership=self.membership,
            membership_index=self.membership_index,
            commit=self.commit,
            last_applied=self.last_applied,
            stable=self.stable,
            first=self.log.first,
            last=self._last,
            last_term=self.log.last_term,
            log_bytes=self.log.nbytes,
            snapshot_index=self.snapshot.index if self.snapshot is not None else 0,
            uncommitted_bytes=self.uncommitted_bytes,
            pending_reads=len(self._reads) + len(self._reads_early),
            has_lease=self.has_lease,
            transferee=self.transferee,
            quiesced=self.quiesced,
            receiving_snapshot_bytes=self._incoming_bytes if self._incoming else 0,
            ticks=self.now,
            peers=peers,
            rejected=dict(self.rejected),
        )

    def __repr__(self) -> str:
        return (
            f"<Raft {self.id!r}: {self.role} of term {self.term}, commit {self.commit}, "
            f"log {self.log.first}..{self._last}>"
        )

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
        for peer in self._peers:
            if peer.state == SNAPSHOT:
                peer.stalled += config.heartbeat_ticks
                if peer.stalled >= config.election_ticks and peer.active:
                    peer.sent = peer.offset  # lost on the way: go back
                    peer.stalled = 0
        if self.now >= self.quorum_due:
            self.quorum_due = self.now + config.election_ticks
            # D§6.2: a leader that reaches no quorum steps down.
            active = {peer.id for peer in self._peers if peer.active}
            active.add(self.id)
            if config.check_quorum and not self.quorum.has_quorum(active):
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
        """§5.2: election timeouts are drawn anew each time, from [election_ticks, twice that)."""
        ticks = self.config.election_ticks
        self._timeout = ticks + self._draw() % ticks
        # Those who should rather not lead let the others go first.
        if self.config.priorities and self.role_number == FOLLOWER and self._outranked(self.id):
            self._timeout += ticks
        self.quiesced = False
        self.deadline = self.now + self._timeout

    def _draw(self) -> int:
        """Lehmer's generator (Park and Miller 1988): 31 bits, with no state but the last number."""
        self._random = self._random * 48271 % RANDOM_MODULUS
        return self._random

    # --- messages: figure 2, "Rules for All Servers" -----------------------------------------

    def step(self, message: Message) -> None:
        """Take in a message.  One that is impossible is counted in `rejected` and changes nothing.

        Raises:
            MisuseError: it is no message at all.
        """
        if not isinstance(message, Message):
            raise MisuseError(
                f"step() takes a message of ringleader.consensus.raft, not {message!r}"
            )
        self._step(message)

    def _step(self, message: Message) -> None:
        problem = message.problem()
        if problem is None:
            problem = self._objection(message)
        if problem is not None:
            self._reject(problem)
            return
        if self.quiesced and self.role_number == LEADER and isinstance(message, RequestVote):
            self.wake()  # it has not heard what the others have
        if message.term > self.term:
            if isinstance(message, RequestVote):
                # D§4.2.3: who hears a leader does not help to depose it.
                if not message.transfer and self._hears_leader():
                    return
                if not message.pre:
                    self._become_follower(message.term, None)
            elif isinstance(message, VoteReply) and message.pre and message.granted:
                pass  # it answers for the term that a candidacy would have
            elif isinstance(message, (AppendEntries, InstallSnapshot)):
                self._become_follower(message.term, message.sender)
            else:
                self._become_follower(message.term, None)
        elif message.term < self.term:
            # A leader or candidate of the past learns so (§5.1); answers to the past mean nothing.
            if isinstance(message, (AppendEntries, InstallSnapshot)):
                self._reply(AppendReply(self.id, message.sender, self.term, 0, 0, True))
            elif isinstance(message, RequestVote):
                self._reply(VoteReply(self.id, message.sender, self.term, False, message.pre))
            elif isinstance(message, ReadRequest):
                self._reply(ReadReply(self.id, message.sender, self.term, message.context, 0))
            return

        if isinstance(message, AppendEntries):
            self._on_append_entries(message)
        elif isinstance(message, AppendReply):
            self._on_append_reply(message)
        elif isinstance(message, RequestVote):
            self._on_request_vote(message)
        elif isinstance(message, VoteReply):
            self._on_vote_reply(message)
        elif isinstance(message, InstallSnapshot):
            self._on_install_snapshot(message)
        elif isinstance(message, SnapshotReply):
            self._on_snapshot_reply(message)
        elif isinstance(message, ReadRequest):
            self._on_read_request(message)
        elif isinstance(message, ReadReply):
            # Anyone may refuse; only the leader of the term may answer.
            if message.index == 0 or message.sender == self.leader:
                self._read_states.append(ReadState(message.context, message.index))
        elif isinstance(message, Propose):
            self._on_propose(message)
        elif isinstance(message, ProposeReply):
            if message.sender == self.leader:
                self._placed.append(Placed(message.ticket, message.index, message.term))
        elif isinstance(message, TimeoutNow):
            self._on_timeout_now(message)
        elif isinstance(message, Quiesce):
            self._on_quiesce(message)
        else:
            self._reject("unknown message")

    def _objection(self, message: Message) -> str | None:
        """Why `message`, sound by itself, cannot come from an honest member, as far as is known
        here; or None.  Looks before anything changes."""
        if message.to != self.id:
            return "not addressed to this node"
        if (
            message.term > self.term + TERM_JUMP_MAX
            and message.sender not in self.membership.members
        ):
            return "impossible term"
        if isinstance(message, AppendEntries):
            return self._objection_to_entries(message)
        if isinstance(message, InstallSnapshot):
            if self._second_leader(message):
                return "a second leader in one term"
            if (
                message.term >= self.term
                and message.index > self.commit
                and message.index_term < self.log.term(self.commit)
            ):
                return "impossible snapshot"
            if not self._is_usable(message.membership):
                return "impossible snapshot"
        if (
            # Candidates and leaders may be unknown here as yet (§6); all others speak as members.
            not isinstance(message, (RequestVote, InstallSnapshot))
            and message.sender not in self.membership.members
            and message.term >= self.term
        ):
            return "not a member"
        if (
            # Anyone may refuse a read; all other answers are the leader's.
            (
                isinstance(message, ProposeReply)
                or (isinstance(message, ReadReply) and message.index)
            )
            and message.term == self.term
            and self.leader is not None
            and self.leader != message.sender
        ):
            return "a second leader in one term"
        return None

    def _is_usable(self, membership: bytes) -> bool:
        try:
            found = Membership.from_bytes(membership)
            self._quorum_of(found)
        except (FormatError, MembershipError):
            return False
        return bool(found.voters)

    def _controls_are_valid(self, block: Block) -> bool:
        """Whether this version knows every control entry of `block`."""
        for index in range(block.first, block.last + 1):
            if block.is_control(index):
                payload = bytes(block[index])
                if payload[:1] == MEMBERSHIP:
                    if not self._is_usable(payload[1:]):
                        return False
                elif payload != NO_OP:
                    return False
        return True

    def _second_leader(self, message: Message) -> bool:
        return message.term == self.term and (
            self.role_number == LEADER
            or (self.leader is not None and self.leader != message.sender)
        )

    def _objection_to_entries(self, message: AppendEntries) -> str | None:
        if self._second_leader(message):
            return "a second leader in one term"
        block = message.block
        if block is None:
            return None
        if block.has_control and not self._controls_are_valid(block):
            return "unknown control entry"
        if message.prev_index < self.commit and message.term >= self.term:
            # What is committed here, the leader has too (Leader Completeness).
            for index in range(
                max(message.prev_index + 1, self._base), min(block.last, self.commit) + 1
            ):
                if block.term(index) != self.log.term(index):
                    return "conflicts with what is committed"
        return None

    def _reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def _reply(self, message: Message) -> None:
        """A message that shows durable state: it leaves after what is being persisted."""
        self._waiting.append(message)

    # --- roles -------------------------------------------------------------------------------

    def _become(self, role: int) -> None:
        if (self.role_number, role) not in TRANSITIONS:
            raise MisuseError(f"a {self.role} cannot become {ROLES[role]}")
        self.role_number = role

    def _become_follower(self, term: int, leader: NodeId | None) -> None:
        if self.role_number == LEADER:
            self._stop_leading()
        self._become(FOLLOWER)
        if term > self.term:
            self.term = term
            self.vote = None
        self.leader = leader
        self.ballots = {}
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

    def _become_leader(self) -> None:
        self._become(LEADER)
        self.leader = self.id
        self.ballots = {}
        self.round = self.round_acked = 0
        self._lease_lost = False
        self._adopt_progress()
        self.quorum_due = self.now + self.config.election_ticks
        # §8: an entry of its own term, so that what earlier leaders left can be committed (§5.4.2).
        self.term_start = self._last = self.log.append(self.term, [NO_OP], control=True)
        self.deadline = self.now + self.config.heartbeat_ticks
        self._round_wanted = self._send_wanted = True

    # --- 1  elections: §5.2, §5.4.1, D§9.6, D§4.2.3 ------------------------------------------

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

    def _promotable(self) -> bool:
        if self._install is not None or self._witness:
            return False
        if self.membership.is_voter(self.id):
            return True
        # D§4.2.2: who leaves the voters may still be needed until that is committed, when nobody
        # who stays has a log as long.  Its own vote does not count then.
        if self.membership_index <= self.commit or len(self.memberships) < 2:
            return False
        before = self.memberships[-2][1]
        return before.is_voter(self.id) and not before.is_witness(self.id)

    def _hears_leader(self) -> bool:
        if not self.config.check_quorum:
            return False
        if self.role_number == LEADER or self.now < self._sworn_until:
            return True
        # By the time alone: whatever has happened to term and leader since, a lease may hang on it.
        return self.now - self.heard < self.config.election_ticks

    def _campaign(self, pre: bool, transfer: bool) -> None:
        if pre:
            self._become(PRE_CANDIDATE)
            term = self.term + 1
            self.ballots = {self.id: True}
        else:
            self._become(CANDIDATE)
            self.term += 1
            self.vote = self.id
            term = self.term
            self.ballots = {}  # its own vote counts once it is durable
        self.leader = None
        self._set_election_deadline()
        for voter in self.membership.members:
            if voter != self.id and self.membership.is_voter(voter):
                request = RequestVote(
                    self.id,
                    voter,
                    term,
                    self._last,
                    self.log.last_term,
                    pre,
                    transfer,
                )
                if pre:
                    self._early.append(request)
                else:
                    self._waiting.append(request)
        self._count_ballots()

    def _on_request_vote(self, message: RequestVote) -> None:
        # One vote a term (§5.2), and none against a leader that is known.  A pre-vote promises
        # nothing: for a later term it is free.
        free = (
            self.vote == message.sender
            or (
                self.vote is None
                and self.leader is None
                and (message.transfer or not self._hears_leader())
            )
            or (message.pre and message.term > self.term)
        )
        # §5.4.1: the candidate's log is at least as up-to-date as this one.
        last_term = self.log.last_term
        up_to_date = message.last_term > last_term or (
            message.last_term == last_term and message.last_index >= self._last
        )
        if free and up_to_date:
            if not message.pre:
                self.vote = message.sender
                self._set_election_deadline()
            self._reply(VoteReply(self.id, message.sender, message.term, True, message.pre))
        else:
            self._reply(VoteReply(self.id, message.sender, self.term, False, message.pre))

    def _on_vote_reply(self, message: VoteReply) -> None:
        if self.role_number != (PRE_CANDIDATE if message.pre else CANDIDATE):
            return
        if message.granted and message.term != self.term + (1 if message.pre else 0):
            return
        if not self.membership.is_voter(message.sender):
            self._reject("vote of a non-voter")
            return
        self.ballots.setdefault(message.sender, message.granted)
        self._count_ballots()

    def _count_ballots(self) -> None:
        outcome = self.quorum.vote(self.ballots)
        if outcome == "won":
            if self.role_number == PRE_CANDIDATE:
                self._campaign(False, False)
            else:
                self._become_leader()
        elif outcome == "lost":
            self._become_follower(self.term, None)

    # --- 2  replication: §5.3, §5.4.2 --------------------------------------------------------

    def _hear_leader(self, sender: NodeId) -> None:
        """A message of this term's leader came."""
        if self.role_number != FOLLOWER or self.leader is None:
            self._become_follower(self.term, sender)
        self.quiesced = False
        self.deadline = self.now + self._timeout
        self.heard = self.now

    def _repeats(self, block: Block) -> bool:
        """Whether a block has, up to the commit index, what is committed (§5.4.3)."""
        log = self.log
        for index in range(max(block.first, log.first), self.commit + 1):
            if block.term(index) != log.term(index):
                return False
            if block.is_control(index) != log.is_control(index):
                return False
        return True

    def _on_append_entries(self, message: AppendEntries) -> None:
        """Figure 2, "AppendEntries RPC, receiver implementation"."""
        self._hear_leader(message.sender)
        block = message.block
        if message.prev_index < self.commit:
            last = block.last if block is not None else message.prev_index
            if last <= self.commit:
                # Late or repeated: it is all committed here.
                self._reply(
                    AppendReply(self.id, message.sender, self.term, self.commit, message.round)
                )
                return
            if block is not None and not self._repeats(block):
                self._reject("block that contradicts what is committed")
                return
        try:
            matched = self.log.try_append(message.prev_index, message.prev_term, block)
        except (LogError, FormatError, LimitError):
            self._reject("block that breaks the log's rules")
            return
        if isinstance(matched, tuple):
            self._reply(
                AppendReply(
                    self.id,
                    message.sender,
                    self.term,
                    message.prev_index,
                    message.round,
                    True,
                    matched[0],
                    matched[1],
                )
            )
            return
        if block is not None:
            written = message.prev_index + 1
            if written > self._last:
                self._last = matched  # nothing stood there: all of it is new
            else:
                written = self.log.written_from
                self._last = self.log.last
            if written <= self._last:
                # What goes to the disk are the bytes that came, if all of them are new.
                if written == message.prev_index + 1:
                    self._keep_block(block, written, self._last, False)
                else:
                    self._keep_block(None, 0, 0, False)
                self._forget_stable(written - 1)
                self._drop_memberships(written)
                if block.has_control:
                    self._adopt_memberships(written)
        # "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new
        # entry)"
        if message.commit > self.commit and matched > self.commit:
            self._commit_to(min(message.commit, matched))
        if message.round != 0 or block is not None:
            self._reply(accepted(self.id, message.sender, self.term, matched, message.round))

    def _heard(self, peer: Progress, round: int) -> None:
        """A follower answered what was sent to it in `round`."""
        peer.active = True
        if round > peer.round:
            peer.round = round
            if round > self.round_acked:
                self._count_rounds()

    def _on_append_reply(self, message: AppendReply) -> None:
        if self.role_number != LEADER:
            return
        peer = self.progress.get(message.sender)
        if peer is None:
            self._reject("not a member")
            return
        if message.round > self.round:
            self._reject("answer to a round that was never sent")
            return
        if not message.refused and message.match > self._last:
            self._reject("match beyond the log")
            return
        self._heard(peer, message.round)
        if message.refused:
            self._on_refusal(peer, message)
            return
        moved = peer.acknowledged(message.match)
        if peer.state == PROBE:
            if message.match >= peer.next - 1:
                peer.become_replicate()
                self._send_wanted = True
        elif peer.state == SNAPSHOT:
            if peer.match >= self._base:
                peer.become_replicate()
                self._send_wanted = True
        elif peer.next <= self._last:
            self._send_wanted = True
        if moved:
            if peer.match > self.commit:
                self._advance_commit()
            if self.transferee is not None and message.sender == self.transferee:
                self._try_transfer()

    def beat(self, sender: NodeId, term: int, prev_index: int, commit: int, round: int) -> bool:
        """`step(AppendEntries(...))` of a heartbeat that has nothing new for a follower that holds
        and has committed all, without the message; whether it was one.  Then the answer is
        `accepted(id, sender, term, prev_index, round)`, which may leave at once, and `ready()` has
        no more to give than before.  Whatever is not as plain changes nothing here, and is for
        `step()`.

        By thousands of these a process with many groups lives; what is looked at is chosen to lie
        close together in memory.
        """
        if (
            self.role_number != FOLLOWER
            or term != self.term
            or prev_index != self._last
            or prev_index != self.commit  # so the leader has it in the same term, too
            or prev_index != self.stable
            or commit != prev_index
            or round == 0
            or self.quiesced
            or sender != self.leader
            or self._shown.term != term
            or self._outstanding
        ):
            return False
        self.deadline = self.now + self._timeout
        self.heard = self.now
        return True

    def beat_answered(self, sender: NodeId, term: int, match: int, round: int) -> bool:
        """`step(accepted(...))` of an answer that says nothing new but that its sender hears this
        leader, while no read and no lease waits for it; whether it was one, as with `beat()`."""
        if (
            self.role_number != LEADER
            or term != self.term
            or match != self._last
            or round > self.round
            or self._reads
            or self._round_ticks
        ):
            return False
        peer = self.progress.get(sender)
        if peer is None or peer.state != REPLICATE or peer.match != match:
            return False
        peer.active = True
        if round > peer.round:
            peer.round = round
        return True

    def _on_refusal(self, peer: Progress, message: AppendReply) -> None:
        """§5.3: decrement nextIndex and try again, by whole terms rather than by entries."""
        refused = message.match
        if peer.state == SNAPSHOT or refused <= peer.match:
            return  # late: accepted since
        if peer.state == PROBE and refused != peer.next - 1:
            return  # not the one that is being tried
        hint = min(message.hint_index, refused - 1)
        if hint >= self._base:
            hint = self.log.last_not_after(hint, message.hint_term)[0]
        peer.become_probe(max(hint, peer.match) + 1)
        self._send_wanted = True

    def _advance_commit(self) -> None:
        """Figure 2, "Leaders": if a majority has replicated N > commitIndex and log[N].term is the
        current one, set commitIndex = N.  Entries of earlier terms are committed by those
        (§5.4.2)."""
        if self._plain:
            index = self._majority_match()
        else:
            acked = {peer.id: peer.match for peer in self._peers}
            acked[self.id] = self.stable
            index = self.quorum.committed(acked)
        if index > self.commit and index >= self.term_start:
            self._commit_to(index)

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

    def _commit_to(self, index: int) -> None:
        self.commit = index
        if self.role_number != LEADER:
            return
        self._send_wanted = True
        if self._reads_early and index >= self.term_start:
            for context, requester in self._reads_early:
                self._begin_read(context, requester)
            self._reads_early.clear()
        if (self._joint or not self._voter) and self.membership_index <= index:
            self._on_membership_committed()

    def _replicate(self, peer: Progress) -> None:
        """Send `peer` what it lacks, as far as its window has room."""
        if peer.state == SNAPSHOT:
            self._send_chunks(peer)
            return
        if peer.next <= self._base:
            self._begin_snapshot(peer)
            return
        if peer.state == PROBE:
            if not peer.paused:
                peer.paused = True
                block = self._encode(peer.next, peer.witness) if peer.next <= self._last else None
                self._append_to(peer, block)
            elif peer.round_sent < self.round:
                self._append_to(peer, None)
            return
        while peer.next <= self._last and self._has_room(peer):
            block = self._encode(peer.next, peer.witness)
            self._append_to(peer, block)
            peer.next = (self._block_last if block is self._block else block.last) + 1
        if peer.round_sent < self.round or (
            self._eager_commit and peer.commit < self.commit and peer.commit < peer.next - 1
        ):
            self._append_to(peer, None)

    def _inflight_bytes(self, peer: Progress) -> int:
        """What was sent to `peer` and not acknowledged yet."""
        if peer.next - 1 <= peer.match:
            return 0
        return self._bytes_between(peer.match, peer.next - 1)

    def _has_room(self, peer: Progress) -> bool:
        """Whether the window takes one more message (one of any size always fits)."""
        inflight = peer.next - 1 - peer.match
        return inflight <= 0 or (
            inflight < self._max_inflight_entries
            and self._inflight_bytes(peer) < self._max_inflight_bytes
        )

    def _append_to(self, peer: Progress, block: Block | None) -> None:
        """Round 0 asks for no answer unless the message is refused."""
        prev = peer.next - 1
        round = 0 if block is None and peer.round_sent == self.round else self.round
        peer.round_sent = self.round
        peer.commit = self.commit
        prev_term = self.term if prev >= self.term_start else self.log.term(prev)
        self._early.append(
            append_entries(self.id, peer.id, self.term, prev, prev_term, self.commit, round, block)
        )

    def _encode(self, first: int, bare: bool) -> Block:
        """Entries from `first` on as one block; peers (and the disk) share its bytes."""
        if (
            self._block_first == first
            and self._block_last == self._last
            and self._block_fits
            and not bare
        ):
            kept: Block = self._block  # type: ignore[assignment]
            return kept
        block = self.log.block(first, self._last + 1, self._max_block_bytes, bare)
        if not bare:
            self._keep_block(block, first, block.last, True)
        return block

    def _keep_block(self, block: Block | None, first: int, last: int, fits: bool) -> None:
        """Invariant: `_block` holds the log's entries `_block_first` ... `_block_last`; 0: none.
        `fits`: it was made for a message; one that was received may be larger than ours are."""
        self._block = block
        self._block_first = first
        self._block_last = last
        self._block_fits = fits

    # --- 3  snapshots: §7 --------------------------------------------------------------------

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
            raise MisuseError("nobody's membership is known yet: a snapshot now would be unusable")
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
        drop = min(keep_from - 1, self._handed)
        for peer in self._peers:
            # What comes after a snapshot that is being sent is needed when it has arrived.
            if peer.snapshot is not None and peer.active and peer.snapshot.index < drop:
                drop = peer.snapshot.index
        if drop > self._base:
            self.log.compact(drop)
            self._base = drop
            kept = 0
            while kept + 1 < len(self.memberships) and self.memberships[kept + 1][0] <= drop:
                kept += 1
            del self.memberships[:kept]

    def membership_at(self, index: int) -> Membership:
        """The configuration in force at `index`; for taking a snapshot there."""
        for since, membership in reversed(self.memberships):
            if since <= index:
                return membership
        return self.memberships[0][1]

    def _begin_snapshot(self, peer: Progress) -> None:
        snapshot = self.snapshot
        if snapshot is None or not peer.active or isinstance(snapshot.source, Received):
            # Not worth the bytes until it answers; a heartbeat keeps asking.
            if peer.round_sent < self.round:
                self._heartbeat_below(peer)
            return
        if peer.witness:  # it has no state machine
            snapshot = Snapshot(
                snapshot.index, snapshot.term, snapshot.membership, BytesSource(b""), 0
            )
        peer.become_snapshot(snapshot)
        self._send_chunks(peer)

    def _heartbeat_below(self, peer: Progress) -> None:
        """To a member whose next entry is compacted: the question is where it stands."""
        peer.round_sent = self.round
        self._early.append(
            AppendEntries(
                self.id,
                peer.id,
                self.term,
                self._base,
                self.log.base_term,
                self.commit,
                self.round,
                None,
            )
        )

    def _send_chunks(self, peer: Progress) -> None:
        snapshot = peer.snapshot
        assert snapshot is not None
        source = snapshot.source
        total = source.total_bytes
        chunk_bytes = self.config.snapshot_chunk_bytes
        window = chunk_bytes * self.config.max_inflight_chunks
        membership = snapshot.membership.to_bytes()
        sent_any = False
        while peer.sent - peer.offset < window and (
            peer.sent < total or (total == 0 and peer.round_sent < self.round)
        ):
            data = source.read(peer.sent, min(chunk_bytes, total - peer.sent))
            peer.round_sent = self.round
            sent_any = True
            self._early.append(
                InstallSnapshot(
                    self.id,
                    peer.id,
                    self.term,
                    snapshot.index,
                    snapshot.term,
                    membership,
                    total,
                    snapshot.checksum,
                    peer.sent,
                    data,
                    self.round,
                )
            )
            if not data:
                break
            peer.sent += len(data)
        if not sent_any and peer.round_sent < self.round:
            self._heartbeat_below(peer)

    def _on_install_snapshot(self, message: InstallSnapshot) -> None:
        self._hear_leader(message.sender)
        if self._install is not None:
            return  # one at a time: the last one has not been taken from here yet
        index = message.index
        if index > self.commit and self.log.match(index, message.index_term):
            # §7: "if existing log entry has same index and term as snapshot's last included entry,
            # retain log entries following it".
            self._commit_to(index)
        if index <= self.commit:
            # Older than what is here already.
            if self._incoming is not None and self._incoming[0] <= self.commit:
                self._incoming = None
            self._reply(
                SnapshotReply(self.id, message.sender, self.term, index, 0, True, message.round)
            )
            return
        name = (index, message.index_term, message.total_bytes, message.checksum)
        if (
            self._incoming is not None
            and self._incoming != name
            and ((message.term, message.round) < self._incoming_since)
        ):
            return  # late, of a snapshot that another has followed
        self._incoming_since = (message.term, message.round)
        if self._incoming != name:
            self._incoming = name
            self._incoming_bytes = self._incoming_crc = 0
            self._chunks.clear()
        if message.offset == self._incoming_bytes:
            self._incoming_bytes += len(message.data)
            self._incoming_crc = hashing.crc32c(message.data, self._incoming_crc)
            if self._incoming_bytes == message.total_bytes and (
                self._incoming_crc != message.checksum
            ):
                self._reject("snapshot with a wrong checksum")
                self._incoming = None
                return
            self._chunks.append(
                SnapshotChunk(
                    index,
                    message.index_term,
                    message.total_bytes,
                    message.checksum,
                    message.offset,
                    message.data,
                )
            )
            if self._incoming_bytes == message.total_bytes:
                self._install_snapshot(message)
                self._reply(
                    SnapshotReply(self.id, message.sender, self.term, index, 0, True, message.round)
                )
                return
        self._reply(
            SnapshotReply(
                self.id,
                message.sender,
                self.term,
                index,
                self._incoming_bytes,
                False,
                message.round,
            )
        )

    def _install_snapshot(self, message: InstallSnapshot) -> None:
        """§7: "discard the entire log; reset state machine using snapshot contents (and load
        snapshot's cluster configuration)"."""
        index, term = message.index, message.index_term
        membership = Membership.from_bytes(message.membership)
        self._install = Snapshot(index, term, membership, Received(), message.checksum)
        self._incoming = None
        self._incoming_bytes = self._incoming_crc = 0
        self.log.restore(index, term)
        self._last = self._base = index
        self._keep_block(None, 0, 0, False)
        self._forget_stable(0)
        self._handed = index
        self.commit = index
        self.applying = index
        self.memberships = [(index, membership)]
        self._use_membership(index, membership)

    def _on_snapshot_reply(self, message: SnapshotReply) -> None:
        if self.role_number != LEADER:
            return
        peer = self.progress.get(message.sender)
        if peer is None:
            self._reject("not a member")
            return
        snapshot = peer.snapshot
        current = snapshot is not None and message.index == snapshot.index
        total_bytes = snapshot.source.total_bytes if snapshot is not None and current else 0
        if (
            message.round > self.round
            or (message.installed and message.index > self._last)
            or (current and message.offset > total_bytes)
        ):
            self._reject("impossible snapshot")
            return
        self._heard(peer, message.round)
        if message.installed:
            moved = peer.acknowledged(message.index)
            if peer.snapshot is not None:
                if peer.match >= self._base:
                    peer.become_replicate()
                elif peer.match >= peer.snapshot.index:
                    peer.become_probe(peer.match + 1)  # compacted since: it needs a newer one
            self._send_wanted = True
            if moved and peer.match > self.commit:
                self._advance_commit()
            if moved and message.sender == self.transferee:
                self._try_transfer()
        elif not current:
            return
        elif message.offset > peer.offset:
            peer.offset = message.offset
            peer.offset_round = message.round
            peer.sent = max(peer.sent, peer.offset)
            peer.stalled = 0
            self._send_wanted = True
        elif message.offset < peer.offset and message.round > peer.offset_round:
            # It answers a later message than the one that it had more at: it lost that (a restart).
            peer.offset = peer.sent = message.offset
            peer.offset_round = message.round
            peer.stalled = 0
            self._send_wanted = True

    # --- 4  membership: §6, D§4 --------------------------------------------------------------

    def change_config(self, change: ConfChange) -> int:
        """Propose a change of membership; the index of its entry.  It is in force here at once, on
        each member as soon as it arrives (§6); done when that index is committed, and, for a joint
        one, when the entry that leaves it is.

        Raises:
            NotLeader: only the leader can.
            ProposalRefused: another change is not committed yet, this leader has committed nothing
                of its own term yet (the correction to D§4.1 of July 2015), or a transfer is under
                way.
            MembershipError: the change is impossible from here.
        """
        self._require_leader("change the membership")
        if self.membership_index > self.commit:
            raise ProposalRefused(
                f"the change at index {self.membership_index} is not committed yet; try again later"
            )
        if self.commit < self.term_start:
            raise ProposalRefused("nothing of this term is committed yet; try again later")
        if self.transferee is not None:
            raise ProposalRefused(f"leadership is being handed to {self.transferee!r}")
        after = self.membership.changed(change)
        quorum = self._quorum_of(after)
        if type(self.quorum) is not Majority or (not after.joint and type(quorum) is not Majority):
            # D§4.1 goes in one step because any two majorities of it overlap; others need not.
            after = self.membership.changed(change, False)
            self._quorum_of(after)
        if after.joint:
            self._quorum_of(after.left())
        return self._append_membership(after)

    def _append_membership(self, membership: Membership) -> int:
        index: int = self.log.append(self.term, [MEMBERSHIP + membership.to_bytes()], control=True)
        self._last = index
        self.memberships.append((index, membership))
        self._use_membership(index, membership)
        self._send_wanted = True
        self.wake()
        return index

    def _on_membership_committed(self) -> None:
        if self.membership.joint:
            if self.membership.auto_leave:
                # §6: once C_old,new is committed, the leader may go on to C_new.
                self._append_membership(self.membership.left())
        elif not self.membership.is_voter(self.id):
            # §6: a leader that is not in C_new steps down once that is committed; first, one more
            # message to each, so that they know.
            for peer in self._peers:
                if peer.state != SNAPSHOT and peer.next > self._base:
                    self._append_to(peer, None)
            self._become_follower(self.term, None)

    def _use_membership(self, index: int, membership: Membership) -> None:
        self.membership = membership
        self.membership_index = index
        self._voter = membership.is_voter(self.id)
        self._witness = membership.is_witness(self.id)
        self._joint = membership.joint
        self.quorum = self._quorum_of(membership)
        self._plain = (
            type(self.quorum) is Majority
            and len(membership.members) == len(membership.voters)
            and self._voter
        )
        if self.role_number == LEADER:
            self._adopt_progress()
            if self.transferee is not None and self.transferee not in self.progress:
                self._end_transfer()

    def _quorum_of(self, membership: Membership) -> QuorumSystem:
        """
        Raises:
            MembershipError: `Config.quorum` makes no system of these voters that is safe here.
        """
        if not membership.voters:
            return _Nobody()
        if not membership.joint:
            return self._half(membership.voters)
        return Joint(self._half(membership.voters), self._half(membership.outgoing))

    def _half(self, voters: tuple[NodeId, ...]) -> QuorumSystem:
        try:
            system = self.config.quorum(voters)
        except Exception as error:  # the user's own function
            raise MembershipError(f"no quorum system for {voters}: {error!r}") from error
        if not isinstance(system, QuorumSystem) or not system.elections_intersect:
            raise MembershipError(
                f"Config.quorum gave {system!r}: two leaders of one term could be elected by it"
            )
        if set(system.voters) != set(voters):
            raise MembershipError(f"Config.quorum gave {system!r} for the voters {voters}")
        return system

    def _adopt_progress(self) -> None:
        """One `Progress` for each other member; those that stay keep theirs."""
        before = self.progress
        self.progress = {}
        for node in self.membership.members:
            if node != self.id:
                peer = before.get(node)
                if peer is None:
                    peer = Progress(node, self._last + 1, False)
                peer.witness = self.membership.is_witness(node)
                self.progress[node] = peer
        self._peers = list(self.progress.values())
        # Counted under the quorums that are in force now: a lease of the old ones is none.
        self._lease_from = -NEVER
        self._count_rounds()

    def _adopt_memberships(self, first: int) -> None:
        """Take up the configurations among the entries from `first` on."""
        index = self.log.find_control(first)
        while index:
            payload = bytes(self.log[index])
            if payload[:1] == MEMBERSHIP:
                self.memberships.append((index, Membership.from_bytes(payload[1:])))
            index = self.log.find_control(index + 1) if index < self._last else 0
        since, membership = self.memberships[-1]
        self._use_membership(since, membership)

    def _drop_memberships(self, first: int) -> None:
        """Entries from `first` on are gone: the configuration before is in force again (§6)."""
        if self.membership_index < first:
            return
        while len(self.memberships) > 1 and self.memberships[-1][0] >= first:
            self.memberships.pop()
        since, membership = self.memberships[-1]
        self._use_membership(since, membership)

    # --- 5  reads and transfer: D§6.4, D§3.10, leader priority -------------------------------

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
        if self.quiesced:
            self.wake()
        if self.commit < self.term_start:
            # Figure 8 of the paper, for reads: it does not know yet what is committed (D§6.4, step
            # 1).
            self._reads_early.append((context, requester))
        elif self.has_lease or not self._peers:
            self._answer_read(context, requester, self.commit)
        else:
            # The next round, not one that is under way: it has to begin after the read.
            self._reads.append((self.round + 1, self.commit, context, requester))
            self._round_wanted = True

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
            round = self.quorum.committed(acked)
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
        if to not in self.progress or not self.membership.is_voter(to):
            raise MembershipError(f"{to!r} is no voter of this group")
        if self.membership.is_witness(to):
            raise MembershipError(f"{to!r} is a witness and cannot lead")
        if self.quiesced:
            self.wake()
        self.transferee = to
        self._transfer_deadline = self.now + self.config.election_ticks
        self._try_transfer()

    def _try_transfer(self) -> None:
        assert self.transferee is not None
        peer = self.progress[self.transferee]
        if peer.match == self._last:
            # From here on it may campaign at any time, however slow the message is, and voters will
            # not protect us: no lease in this term any more.
            self._lease_lost = True
            self._early.append(TimeoutNow(self.id, peer.id, self.term))
        else:
            self._send_wanted = True

    def _end_transfer(self) -> None:
        self.transferee = None
        self._transfer_deadline = NEVER

    def _on_timeout_now(self, message: TimeoutNow) -> None:
        if self.role_number != FOLLOWER or message.sender != self.leader:
            return
        if self._promotable():
            self._campaign(False, True)

    def _outranked(self, node: NodeId) -> bool:
        priorities = self.config.priorities
        own = priorities.get(node, 0)
        return any(
            priorities.get(voter, 0) > own and not self.membership.is_witness(voter)
            for voter in self.membership.voters
        )

    def _prefer_leader(self) -> None:
        """Give way to a voter of higher priority that has been up to date for a while."""
        priorities = self.config.priorities
        if not priorities or self.transferee is not None or self.membership.joint:
            return
        own = priorities.get(self.id, 0)
        best: Progress | None = None
        for peer in self._peers:
            if (
                priorities.get(peer.id, 0) > own
                and peer.state == REPLICATE
                and peer.match >= self.commit
                and self.membership.is_voter(peer.id)
                and not peer.witness
            ):
                own = priorities.get(peer.id, 0)
                best = peer
        if best is None or best.id != self._preferred:
            self._preferred = best.id if best is not None else None
            self._preferred_since = self.now
        elif best.active and self.now - self._preferred_since >= self.config.priority_ticks:
            self._preferred_since = self.now  # should it fail, wait as long again
            self.transfer(best.id)

    # --- quiescence, for processes with very many groups -------------------------------------

    def quiesce(self, absent: Collection[NodeId] = ()) -> bool:
        """Rest the timers of this group on all members, if there is nothing left to do; whether it
        did.  Whatever happens to the group wakes it; someone else has to notice dead peers
        meanwhile, and when they come back (`ringleader.consensus.raft.groups` does).

        Members that are `absent` are not waited for; the others must be a quorum.
        """
        last = self._last
        if (
            self.role_number != LEADER
            or self.quiesced
            or not self.commit == self.last_applied == last
            or self._reads
            or self._reads_early
            or self.transferee is not None
            or self.membership.joint
            or (self._preferred is not None and self._preferred not in absent)
        ):
            return False
        present = [peer for peer in self._peers if peer.id not in absent]
        for peer in present:
            if peer.match != last or peer.state != REPLICATE or peer.commit != last:
                return False
        if absent and not self.quorum.has_quorum({self.id, *(peer.id for peer in present)}):
            return False
        for peer in present:
            self._early.append(Quiesce(self.id, peer.id, self.term, last))
        self._rest()
        return True

    def _rest(self) -> None:
        self.quiesced = True
        self.deadline = NEVER

    def wake(self) -> None:
        """End the rest of `quiesce()`; a follower begins to wait for its leader anew."""
        if not self.quiesced:
            return
        self.quiesced = False
        if self.role_number == LEADER:
            self.deadline = self.now + self.config.heartbeat_ticks
            self.quorum_due = self.now + self.config.election_ticks
            self._round_wanted = True
            for peer in self._peers:
                peer.active = True
        else:
            self._set_election_deadline()

    def _on_quiesce(self, message: Quiesce) -> None:
        if self.role_number != FOLLOWER or message.sender != self.leader:
            return
        self.heard = self.now
        if self._last == message.index == self.commit:
            self._rest()
        else:
            self._set_election_deadline()

    # --- 6  proposals ------------------------------------------------------------------------

    def _require_leader(self, what: str) -> None:
        if self.role_number != LEADER:
            known = f"; {self.leader!r} is" if self.leader is not None else ""
            raise NotLeader(f"{self.id!r} cannot {what}: it is not the leader{known}", self.leader)

    def propose(self, payloads: Sequence[bytes]) -> int:
        """Append commands to the log; the index of the first.  They are committed when
        `Ready.committed` shows them, with this node's present term, and lost when another entry
        stands there.  They stand next to each other; a change of leader may keep only the first
        few.

        Raises:
            NotLeader: only the leader can; its `leader` says who is.
            ProposalRefused: too many bytes are uncommitted, or leadership is being handed over.
            LimitError: more or larger payloads than one block takes.
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
        if count > BLOCK_ENTRIES_MAX:
            raise LimitError(f"{count} payloads at once: at most {BLOCK_ENTRIES_MAX}")
        if not self._voter:
            raise ProposalRefused("this leader has left the group and takes no more proposals")
        first: int = self.log.append(self.term, payloads)
        if not count:
            return first
        self._last = first + count - 1
        # What is not durable and applied here counts, too: nothing of it can be compacted.
        done = min(self.commit, self.stable, self.last_applied)
        if first - 1 > done and self._bytes_after(done) > self._max_uncommitted_bytes:
            self.log.truncate(first)  # nobody has seen it
            self._last = first - 1
            raise ProposalRefused(
                f"{self.uncommitted_bytes} bytes are uncommitted already, and no more than "
                f"max_uncommitted_bytes={self._max_uncommitted_bytes} may be; try again later"
            )
        if self.quiesced:
            self.wake()
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
        if len(payloads) > BLOCK_ENTRIES_MAX:
            raise LimitError(f"{len(payloads)} payloads at once: at most {BLOCK_ENTRIES_MAX}")
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
        if self.role_number != LEADER:
            return
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

    # --- 7  Ready ----------------------------------------------------------------------------

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
            or self._read_states
            or self._placed
            or self._chunks
            or self._install is not None
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
        if shown.term != self.term or shown.vote != self.vote:
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
            for peer in self._peers:
                self._replicate(peer)

    def take_messages(self) -> list[Message] | None:
        """The messages of a `Ready` that would hold nothing else and wait for nothing, or None when
        there is more to do than to send them: take `ready()` then.  For heartbeats by the thousand;
        there is nothing to report afterwards."""
        if (
            self._handed < self._last
            or (self.applying < self.commit and self.applying < self.stable)
            or self._shown.term != self.term
            or self._shown.vote != self.vote
            or self._outstanding
            or self._read_states
            or self._placed
            or self._chunks
            or self._install is not None
        ):
            return None
        if self.role_number == LEADER:
            self._speak()
            if self._read_states:
                return None
        messages = self._early
        if messages:
            self._early = []
            if self._waiting:
                messages.extend(self._waiting)
                self._waiting = []
        elif self._waiting:
            messages = self._waiting
            self._waiting = []
        return messages

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
            self.ballots[self.id] = True
            self._count_ballots()

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


class _Nobody(QuorumSystem):
    """No voters are known yet: nothing is decided here."""

    def committed(self, match: Mapping[NodeId, int]) -> int:
        return 0

    def vote(self, votes: Mapping[NodeId, bool | None]) -> VoteResult:
        return "pending"

    def has_quorum(self, ids: Iterable[NodeId]) -> bool:
        return False
