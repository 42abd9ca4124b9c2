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

What does not hang on the algorithm is in `CoreBase` (`ringleader.consensus.core`): the clock, reads
and leases (D§6.4), most of a transfer (D§3.10), proposals, `Ready`.  The code here is in the order
of the paper:

    Raft._step              messages: what all roles have in common (figure 2)
    1  elections            §5.2, §5.4.1, pre-vote D§9.6, leader stickiness D§4.2.3
    2  replication          §5.3, commit rule §5.4.2, flow control
    3  snapshots            §7
    4  membership           §6, D§4
    5  transfer             D§3.10
    6  quiescence           for processes with very many groups

No clock, no randomness (an injected seed), no thread, no socket.  The file is plain Python;
core.pxd gives it C types when the package is built, and RINGLEADER_PURE=1 runs it as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ringleader.consensus.constants import CANDIDATE, FOLLOWER, LEADER, MEMBERSHIP, NEVER, NO_OP
from ringleader.consensus.core import CoreBase, Nobody
from ringleader.consensus.log import Block, Log
from ringleader.consensus.membership import ConfChange, Membership, NodeId
from ringleader.consensus.message import (
    Message,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    TimeoutNow,
)
from ringleader.consensus.progress import CoreProgress
from ringleader.consensus.quorum import Joint, Majority, QuorumSystem
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
    Received,
    Snapshot,
)
from ringleader.errors import (
    ConfigError,
    FormatError,
    LimitError,
    LogError,
    MembershipError,
    ProposalRefused,
)

PRE_CANDIDATE = 1
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

#: How far beyond the own term a stranger's may lie.
TERM_JUMP_MAX = 2**32


class Raft(CoreBase):
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

    State, in the names of figure 2 (`CoreBase` has the rest):

    vote            whom this node voted for in `term`.  Invariant: changes once a term at most.
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
        if config is None:
            config = Config()
        elif not isinstance(config, Config):
            raise ConfigError(f"config={config!r} is no Config")
        CoreBase.__init__(
            self, id, ROLES, TRANSITIONS, log, config, seed, hard_state, snapshot, partial
        )
        first = voters if isinstance(voters, Membership) else Membership(voters)
        if snapshot is not None:
            first = snapshot.membership
            if self.log.term(snapshot.index) != snapshot.term:
                raise LogError(f"the snapshot at {snapshot.index} is of another term than the log")
        if self.term < self.log.last_term:
            raise LogError(
                f"the hard state's term {self.term} is below the log's {self.log.last_term}"
            )
        start = snapshot.index if snapshot is not None else 0
        self.memberships = [(start, first)]
        self.membership = first
        self.membership_index = start
        # What the hot path asks of it.
        self._joint = False
        self.progress: dict[NodeId, Progress] = {}
        self._peers: list[Progress] = []
        self.ballots: dict[NodeId, bool] = {}
        self.quiesced = False
        # The term and the round of the last message of the snapshot that is arriving.
        self._incoming_since = (0, 0)
        self._adopt_memberships(start + 1)
        self._set_election_deadline()

    # --- views -------------------------------------------------------------------------------

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
            **self._status(),
            vote=self.vote,
            membership_index=self.membership_index,
            quiesced=self.quiesced,
            peers=peers,
        )

    def __repr__(self) -> str:
        return (
            f"<Raft {self.id!r}: {self.role} of term {self.term}, commit {self.commit}, "
            f"log {self.log.first}..{self._last}>"
        )

    # --- time --------------------------------------------------------------------------------

    def _on_leader_deadline(self) -> None:
        config = self.config
        for peer in self._peers:
            if peer.state == SNAPSHOT:
                peer.stalled += config.heartbeat_ticks
                if peer.stalled >= config.election_ticks and peer.active:
                    peer.sent = peer.offset  # lost on the way: go back
                    peer.stalled = 0
        CoreBase._on_leader_deadline(self)

    def _set_election_deadline(self) -> None:
        """§5.2: election timeouts are random, so that few elections split the vote."""
        self.quiesced = False
        CoreBase._set_election_deadline(self)

    # --- messages: figure 2, "Rules for All Servers" -----------------------------------------

    def _step(self, message: Message) -> None:
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

    # --- roles -------------------------------------------------------------------------------

    def _end_election(self) -> None:
        self.ballots = {}

    def _become_leader(self) -> None:
        self._become(LEADER)
        self.leader = self.id
        self.ballots = {}
        self.round = self.round_acked = 0
        self._lease_lost = False
        self._adopt_progress()
        self.quorum_due = self.now + self.config.election_ticks + self.slack_ticks
        # §8: an entry of its own term, so that what earlier leaders left can be committed (§5.4.2).
        self.term_start = self._last = self.log.append(self.term, [NO_OP], control=True)
        self.deadline = self.now + self.config.heartbeat_ticks
        self._round_wanted = self._send_wanted = True

    # --- 1  elections: §5.2, §5.4.1, D§9.6, D§4.2.3 ------------------------------------------

    def _may_lead(self, node: NodeId) -> bool:
        return self.membership.is_voter(node) and not self.membership.is_witness(node)

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

    def _count_own_vote(self) -> None:
        self.ballots[self.id] = True
        self._count_ballots()

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

    def _commit_to(self, index: int) -> None:
        self.commit = index
        if self.role_number != LEADER:
            return
        self._send_wanted = True
        self._begin_early_reads()
        if (self._joint or not self._voter) and self.membership_index <= index:
            self._on_membership_committed()

    def _replicate_all(self) -> None:
        for peer in self._peers:
            self._replicate(peer)

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
                block = self._entries_for(peer) if peer.next <= self._last else None
                self._append_to(peer, block)
            elif peer.round_sent < self.round:
                self._append_to(peer, None)
            return
        while peer.next <= self._last and self._has_room(peer):
            block = self._entries_for(peer)
            self._append_to(peer, block)
            peer.next = (self._block_last if block is self._block else block.last) + 1
        if peer.round_sent < self.round or (
            self._eager_commit and peer.commit < self.commit and peer.commit < peer.next - 1
        ):
            self._append_to(peer, None)

    def _entries_for(self, peer: Progress) -> Block:
        """What `peer` lacks, as one block; a witness gets no payloads."""
        if peer.witness:
            return self.log.block(peer.next, self._last + 1, self._max_block_bytes, True)
        return self._encode(peer.next)

    def _inflight_bytes(self, peer: CoreProgress) -> int:
        if peer.next - 1 <= peer.match:
            return 0
        return self._bytes_between(peer.match, peer.next - 1)

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

    # --- 3  snapshots: §7 --------------------------------------------------------------------

    def _unneeded(self, index: int) -> int:
        for peer in self._peers:
            # What comes after a snapshot that is being sent is needed when it has arrived.
            if peer.snapshot is not None and peer.active and peer.snapshot.index < index:
                index = peer.snapshot.index
        return index

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
                self._end_receiving()
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
            self._begin_receiving(name)
        if message.offset == self._incoming_bytes:
            if not self._take_chunk(message.data):
                return
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
        self._restore(index, term, membership, message.checksum)
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

    @property
    def is_changing(self) -> bool:
        """Whether a change of membership is not done yet."""
        return bool(self.membership_index > self.commit or self.membership.joint)

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
            return Nobody()
        if not membership.joint:
            return self._half(membership.voters)
        return Joint(self._half(membership.voters), self._half(membership.outgoing))

    def _half(self, voters: tuple[NodeId, ...]) -> QuorumSystem:
        system = self._system_of(voters)
        if not system.elections_intersect:
            raise MembershipError(
                f"Config.quorum gave {system!r}: two leaders of one term could be elected by it"
            )
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

    # --- 5  transfer: D§3.10, leader priority ----------------------------------------------------

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

    def _follows(self, peer: CoreProgress) -> bool:
        return self.progress[peer.id].state == REPLICATE

    def _check_proposal(self, count: int) -> None:
        if not self._voter:
            raise ProposalRefused("this leader has left the group and takes no more proposals")

    # --- 6  quiescence, for processes with very many groups ----------------------------------

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
            self.quorum_due = self.now + self.config.election_ticks + self.slack_ticks
            self._round_wanted = True
            for peer in self._peers:
                peer.active = True
        else:
            self._set_election_deadline()

    def _stir(self) -> None:
        if self.quiesced:
            self.wake()

    def _on_quiesce(self, message: Quiesce) -> None:
        if self.role_number != FOLLOWER or message.sender != self.leader:
            return
        self.heard = self.now
        if self._last == message.index == self.commit:
            self._rest()
        else:
            self._set_election_deadline()

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
