"""Multi-Paxos, without input or output: one run of phase 1 for all slots, then phase 2 in blocks.

Sources: Lamport, "Paxos Made Simple", 2001, cited as PMS §n; van Renesse and Altinbuken, "Paxos
Made Moderately Complex", 2015, cited as PMMC §n; Howard, Malkhi and Spiegelman, "Flexible Paxos:
Quorum Intersection Revisited", 2016, cited as FP; Chandra, Griesemer and Redstone, "Paxos Made
Live", 2007, cited as PML §n; Ongaro's dissertation, 2014, cited as D§n for what both cores share.

What it guarantees (the simulator checks each at every step):

    Ballots          a ballot belongs to one proposer, who proposes one value for a slot in it
    Promises         nothing is accepted below a promise, across all crashes
    P2c (PMS §2.2)   a value is proposed for a slot only if some phase-1 quorum had accepted none
                     there, or had accepted it in the highest ballot below
    Agreement        so at most one value is chosen for a slot: accepted by a phase-2 quorum of the
                     membership that governs the slot
    Learning         a node commits and applies only what is chosen, in order, without a gap

How it works.  Surroundings and driving surface are Raft's.  The log is the acceptor's memory: the
term of an entry is the ballot in which it was accepted here, and proposing it again in a later
ballot stamps it anew (Raft never does that).  What an acceptor must remember but the log cannot
hold -- entries that came before those that they follow, entries of lower ballots behind some that
were replaced -- stands *aside*, as blocks, on disk as well.

A committed entry's stamp is at or above the ballot that it was chosen in, and may differ from node
to node; its value cannot.  So whoever holds a slot in the ballot of the leader that announces a
commit index knows it to be chosen; whoever holds it in another asks for it (`Fetch`).

What does not hang on the algorithm is in `CoreBase` (`ringleader.consensus.core`): the clock, reads
and leases, most of a transfer, proposals, `Ready`.  The code here is in this order:

    MultiPaxos._step        messages: what all roles have in common
    1  phase 1              PMS §2.2, for all open slots at once (§3)
    2  phase 2              PMS §2.2; blocks, windows, any order
    3  the log and aside    what an acceptor keeps
    4  learning             commit, Fetch, Learn, snapshots
    5  membership           PMS §3, last paragraphs: a window of alpha slots
    6  reads and transfer   D§6.4, D§3.10
    7  proposals and Ready  the window; what stands aside

No clock, no randomness (an injected seed), no thread, no socket.  The file is plain Python;
core.pxd gives it C types when the package is built, and RINGLEADER_PURE=1 runs it as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

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
from ringleader.consensus.paxos.ballot import (
    ROUND_MAX,
    check_numbers,
    describe,
    next_ballot,
    number_of,
    round_of,
)
from ringleader.consensus.paxos.config import Config
from ringleader.consensus.paxos.messages import (
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
from ringleader.consensus.paxos.progress import Progress
from ringleader.consensus.paxos.status import PeerStatus, Status
from ringleader.consensus.progress import CoreProgress
from ringleader.consensus.quorum import Majority, QuorumSystem, VoteResult
from ringleader.consensus.ready import (
    HardState,
    Placed,
    ReadState,
    Ready,
    Received,
    Snapshot,
)
from ringleader.errors import (
    ConfigError,
    LogError,
    MembershipError,
    ProposalRefused,
)
from ringleader.kernels import hashing
from ringleader.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX

PROBING = 1
ROLES = ("follower", "probing", "candidate", "leader")

#: Every change of role, with its cause; docs/ draws the diagram from it.
TRANSITIONS: dict[tuple[int, int], str] = {
    (FOLLOWER, FOLLOWER): "promises a higher ballot, or follows its leader",
    (FOLLOWER, PROBING): "hears no leader: would a quorum promise?",
    (FOLLOWER, CANDIDATE): "is told to (transfer), or runs without probes",
    (PROBING, PROBING): "no answer: asks again",
    (PROBING, CANDIDATE): "a quorum would promise",
    (PROBING, FOLLOWER): "a quorum would not, it lacks what is chosen, or there is a leader",
    (CANDIDATE, PROBING): "no quorum in time: asks again",
    (CANDIDATE, CANDIDATE): "no quorum in time, without probes: a higher ballot",
    (CANDIDATE, LEADER): "a phase-1 quorum has promised, and told all that it accepted",
    (CANDIDATE, FOLLOWER): "a quorum refused, or there is a higher ballot",
    (LEADER, FOLLOWER): "sees a higher ballot, hears no phase-2 quorum, or left the group",
}

#: How many rounds beyond the own promise a stranger's ballot may lie.
ROUND_JUMP_MAX = 2**20
#: No slot.
NOWHERE = 2**62
#: What blocks set aside may take on disk beyond twice their bytes in memory.
ASIDE_SLACK_BYTES = 2**20

#: A value that was accepted somewhere: its ballot, whether it is a control entry, the payload.
Value = tuple[int, bool, bytes]


class MultiPaxos(CoreBase):
    """One node of one group: proposer, acceptor and learner.

    Args:
        id: this node's name, a positive int or a non-empty str.
        voters: the group's first acceptors (or a `Membership`), the same on every node that starts
            with it; empty for a node that joins a running group.
        log: what was durable, or None for an empty one.  The core owns it from now on.
        config: see `Config`.
        seed: makes timeouts differ; give every node and every life another one.
        hard_state, snapshot, partial, aside: what `Storage.load()` gave.

    Raises:
        ConfigError, MembershipError: an argument cannot be used.
        LogError: log, snapshot and hard state do not fit together.

    State, beside that of `CoreBase`:

    term            the highest ballot promised (PMS §2.2).
    vote            to whom, as far as known.
    log             what was accepted, without gaps; `log.term(slot)` is the ballot.  Invariant:
                    terms are at most `term`; nothing at or below `commit` ever changes.
    aside           blocks of what else was accepted.  Invariant: none lies wholly within the log.
    commit          all slots up to it are known to be chosen, and stand in the log.
    memberships     (first slot, membership) of all that are known, ascending: the first is in force
                    for slot commit + 1, or was lately.
    promised_by     candidate and leader: who promised ballot `term`, and told all that they had
                    accepted after the commit index of the question.
    found           leader: values above its last slot that it has to propose when their turn comes.
    """

    #: A later leader proposes again, in its own ballot, what it finds.
    terms_stay = False

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
        aside: Sequence[Block] = (),
    ) -> None:
        if config is None:
            config = Config()
        elif not isinstance(config, Config):
            raise ConfigError(f"config={config!r} is no Config of ringleader.consensus.paxos")
        CoreBase.__init__(
            self, id, ROLES, TRANSITIONS, log, config, seed, hard_state, snapshot, partial
        )
        self.number = number_of(id)
        self.config: Config = config
        self._window = config.window
        self._max_proposal_entries = min(self._max_proposal_entries, config.window)
        first = snapshot.membership if snapshot is not None else voters
        if not isinstance(first, Membership):
            first = Membership(first)
        accepted_in = [block.last_term for block in aside]
        if self.term < max(self.log.last_term, max(accepted_in, default=0)):
            raise LogError(
                f"the hard state's promise {self.term} is below a ballot in which the node has "
                "accepted"
            )

        # The acceptor.  Where the last run of one ballot in the log begins.
        self._run_start = self._last + 1
        # Blocks beside the log; those not handed over yet; what they take, here and on disk; and up
        # to where the log has to be durable before the disk may forget what was dropped.
        self.aside: list[Block] = list(aside)
        self._aside_new: list[Block] = []
        self._aside_bytes = sum(block.nbytes for block in aside)
        self._aside_disk_bytes = self._aside_bytes
        self._aside_dropped = 0

        # Membership, by slots.
        self._check_usable(first)
        start = snapshot.index if snapshot is not None else 0
        self.memberships = [(start + 1, first)]
        self.membership = first
        # Of every membership in force in the window after the commit index.
        self._quorums: list[QuorumSystem] = [self.quorum]
        # The first control entry that may stand after the commit index; the first slot of a
        # membership that is not in force yet.
        self._control_from = NOWHERE
        self._coming = NOWHERE
        self.progress: dict[NodeId, Progress] = {}
        self._peers: list[Progress] = []

        # The proposer: phase 1.
        self.ballot = 0
        self.attempt = 0
        self.promised_by: set[NodeId] = set()
        self._answers: dict[NodeId, bool] = {}
        # Of reports in several parts: (checksum, parts), and those that came.
        self._parts: dict[NodeId, tuple[tuple[int, int], dict[int, Block | None]]] = {}
        self._asked: set[NodeId] = set()
        self._seen = self.term
        self.found: dict[int, Value] = {}
        self.nacks = 0
        self._ceiling = 0

        # The learner: how much is known to be chosen, whom and when to ask for it.
        self.known = self.commit
        self._fetch_from: NodeId | None = None
        self._fetch_commit = -1
        self._fetch_due = 0
        self._fetch_end = 0
        self._fetch_blocks = 0

        self._find_run()
        self._find_controls(start + 1)
        self._adopt_memberships(self.commit)
        self._use_memberships()
        self._absorb()
        self._set_election_deadline()

    # --- views -------------------------------------------------------------------------------

    @property
    def pending_membership(self) -> Membership | None:
        """The membership that is chosen and whose first slot has not come yet, if there is one."""
        first, membership = self.memberships[-1]
        return membership if first > self.commit + 1 else None

    def chosen_beyond(self) -> tuple[tuple[int, int], ...]:
        """Leader: runs of slots that are chosen although one before them is not, as far as known.
        O(runs that members hold beyond a gap, squared)."""
        if self.role_number != LEADER:
            return ()
        edges = {self.commit + 1, self.stable + 1, self._last + 1}
        for peer in self._peers:
            edges.add(peer.match + 1)
            for first, last in peer.beyond:
                edges |= {first, last + 1}
        slots = sorted(edge for edge in edges if self.commit < edge <= self._last + 1)
        chosen: list[tuple[int, int]] = []
        for first, after in pairwise(slots):
            holders = {
                peer.id
                for peer in self._peers
                if peer.match >= first or any(a <= first <= b for a, b in peer.beyond)
            }
            if self.stable >= first:
                holders.add(self.id)
            if self._quorum_at(first).has_quorum(holders):
                if chosen and chosen[-1][1] == first - 1:
                    chosen[-1] = (chosen[-1][0], after - 1)
                else:
                    chosen.append((first, after - 1))
        return tuple(chosen)

    def status(self) -> Status:
        """Everything that an operator may want to see, as values that no longer change."""
        peers = tuple(
            PeerStatus(
                id=peer.id,
                match=peer.held(),
                next=peer.next,
                beyond=tuple(peer.beyond),
                lag=self._last - peer.held(),
                inflight_entries=peer.next - 1 - peer.match,
                inflight_bytes=self._inflight_bytes(peer),
                active=peer.active,
                promised=peer.id in self.promised_by,
            )
            for peer in self._peers
        )
        return Status(
            **self._status(),
            ballot=describe(self.term),
            pending_membership=self.pending_membership,
            chosen_beyond=self.chosen_beyond(),
            aside_entries=sum(len(block) for block in self.aside),
            aside_bytes=self._aside_bytes,
            nacks=self.nacks,
            peers=peers,
        )

    def __repr__(self) -> str:
        return (
            f"<MultiPaxos {self.id!r}: {self.role} of ballot {describe(self.term)}, commit "
            f"{self.commit}, log {self.log.first}..{self._last}>"
        )

    # --- time --------------------------------------------------------------------------------

    def _on_deadline(self) -> None:
        if self.role_number != LEADER:
            self._fetch_elsewhere()
            self._hand_over()
        CoreBase._on_deadline(self)

    def _on_leader_deadline(self) -> None:
        CoreBase._on_leader_deadline(self)
        if self.role_number == LEADER:
            self._prepare_newcomers()

    def _is_quorum(self, ids: Collection[NodeId]) -> bool:
        return all(quorum.has_quorum(ids) for quorum in self._quorums)

    # --- messages ----------------------------------------------------------------------------

    def _step(self, message: Message) -> None:
        if isinstance(message, Accept):
            self._on_accept(message)
        elif isinstance(message, Accepted):
            self._on_accepted(message)
        elif isinstance(message, Prepare):
            self._on_prepare(message)
        elif isinstance(message, Promise):
            self._on_promise(message)
        elif isinstance(message, Nack):
            self._on_nack(message)
        elif isinstance(message, Fetch):
            self._on_fetch(message)
        elif isinstance(message, Learn):
            self._on_learn(message)
        elif isinstance(message, SnapshotPart):
            self._on_snapshot_part(message)
        elif isinstance(message, ReadRequest):
            self._on_read_request(message)
        elif isinstance(message, ReadReply):
            # Anyone may refuse; only the leader of the ballot may answer.
            if message.index == 0 or (message.term == self.term and message.sender == self.leader):
                self._read_states.append(ReadState(message.context, message.index))
        elif isinstance(message, Propose):
            self._on_propose(message)
        elif isinstance(message, ProposeReply):
            if message.term == self.term and message.sender == self.leader:
                self._placed.append(Placed(message.ticket, message.index, message.term))
        elif isinstance(message, TimeoutNow):
            self._on_timeout_now(message)
        else:
            self._reject("unknown message")

    def _objection(self, message: Message) -> str | None:
        if message.to != self.id:
            return "not addressed to this node"
        if isinstance(message, Accept):
            return self._objection_to_accept(message)
        if isinstance(message, Accepted):
            if self.role_number == LEADER and message.term == self.term:
                if message.sender not in self.progress:
                    return "not a member"
                if message.round > self.round:
                    return "answer to a round that was never sent"
                if message.last > self._last:
                    return "acceptance of a slot that was never proposed"
            return None
        if isinstance(message, Prepare):
            if self._leaps(message):
                return "impossible ballot"
        elif isinstance(message, Nack):
            if message.sender not in self._asked and not self._knows(message.sender):
                return "not a member"
            if self._leaps(message):
                return "impossible ballot"
        elif isinstance(message, Promise):
            if message.block is not None and not self._controls_are_valid(message.block):
                return "unknown control entry"
        elif isinstance(message, Learn):
            if message.sender != self._fetch_from and not self._knows(message.sender):
                return "not a member"
            if self._leaps(message):
                return "impossible ballot"
            if message.block.has_control and not self._controls_are_valid(message.block):
                return "unknown control entry"
        elif isinstance(message, SnapshotPart):
            if message.sender != self._fetch_from and not self._knows(message.sender):
                return "not a member"
            if self._leaps(message):
                return "impossible ballot"
            if not self._is_usable(message.membership):
                return "impossible snapshot"
        elif isinstance(message, (Propose, ReadRequest, TimeoutNow)) and not self._knows(
            message.sender
        ):
            return "not a member"
        return None

    def _objection_to_accept(self, message: Accept) -> str | None:
        if message.term == self.term and self.leader is not None and self.leader != message.sender:
            return "a second leader in one ballot"
        block = message.block
        if message.term > self.term and self._leaps(message):
            return "impossible ballot"
        if block is not None:
            if block.last > message.commit + self._window:
                return "slot beyond the window"
            if block.has_control and not self._controls_are_valid(block):
                return "unknown control entry"
        return None

    def _leaps(self, message: Message) -> bool:
        """Whether a stranger's ballot lies further ahead than elections can have brought it."""
        return round_of(message.term) > round_of(self.term) + ROUND_JUMP_MAX and not self._knows(
            message.sender
        )

    def _knows(self, node: NodeId) -> bool:
        """Whether `node` belongs to a membership that is in force or coming."""
        return any(node in membership.members for _, membership in self.memberships)

    def _check_usable(self, membership: Membership) -> None:
        """
        Raises:
            MembershipError: Paxos has no use for it.
        """
        if membership.joint or membership.witnesses:
            raise MembershipError(
                f"{membership!r}: Multi-Paxos has neither joint memberships nor witnesses"
            )
        check_numbers(
            (*membership.members, self.id)
            if self.id not in membership.members
            else membership.members
        )
        self._quorum_of(membership)

    # --- roles -------------------------------------------------------------------------------

    def _end_election(self) -> None:
        self.promised_by = set()
        self._answers = {}
        self._parts = {}
        self._asked = set()
        self.found = {}

    # --- 1  phase 1: PMS §2.2, §3; PMMC §2.3 -------------------------------------------------

    def _promotable(self) -> bool:
        if self._install is not None or round_of(max(self._seen, self.term)) >= ROUND_MAX:
            return False
        return self._voter

    def _campaign(self, pre: bool, transfer: bool) -> None:
        """Phase 1a.  A ballot is promised to oneself before anyone hears of it, so that no life of
        this node ever uses it again."""
        asked_in = self.term if transfer else 0
        self._end_election()
        self._become(PROBING if pre else CANDIDATE)
        self.ballot = next_ballot(max(self._seen, self.term), self.number)
        self.attempt += 1
        if pre:
            self._answers = {self.id: True}
        else:
            self.term = self.ballot
            self.vote = self.id
        self.leader = None
        self._set_election_deadline()
        for voter in self._acceptors():
            if voter != self.id:
                self._asked.add(voter)
                request = Prepare(
                    self.id, voter, self.ballot, self.commit, self.attempt, pre, asked_in
                )
                if pre:
                    self._early.append(request)
                else:
                    self._waiting.append(request)
        self._count_answers()

    def _hand_over(self) -> None:
        """A node that does not vote (any more) and hears no leader tells the voters that it knows
        of how much is chosen.  When those before them were told to leave, this may be the only way
        for them to hear that they are voters."""
        if self._voter or not self.commit:
            return
        ballot = next_ballot(max(self._seen, self.term), self.number)
        for voter in self._acceptors():
            if voter != self.id:
                self._early.append(Prepare(self.id, voter, ballot, self.commit, self.attempt, True))

    def _acceptors(self) -> list[NodeId]:
        """The voters of every membership in force in the window after the commit index."""
        found: dict[NodeId, None] = {}
        for _, membership in self._in_force():
            for voter in membership.voters:
                found[voter] = None
        return list(found)

    def _on_prepare(self, message: Prepare) -> None:
        """Phase 1b."""
        ballot = message.term
        if ballot < self.term or (ballot == self.term and message.probe):
            self._reply(Nack(self.id, message.sender, self.term, ballot, self.commit))
            return
        if ballot > self.term:
            if message.commit < self.commit:
                # It would ask for slots that are decided, and that may be compacted here.  (Who was
                # removed learns so, even while there is a leader.)
                self._reply(Nack(self.id, message.sender, self.term, ballot, self.commit))
                return
            # D§4.2.3: who hears a leader does not help to depose it, unless that one asks for it.
            if message.asked_in != self.term and self._hears_leader():
                return
            if message.probe:
                if message.commit > self.commit and not self._voter:
                    # Perhaps this node is a voter by now, and nobody else is left to tell.
                    self.known = max(self.known, message.commit)
                    if self.now >= self._fetch_due:
                        self._fetch(message.sender)
                self._reply(Promise(self.id, message.sender, ballot, message.attempt, True))
                return
            self._become_follower(ballot, None)
            self.vote = message.sender
        elif self.now < self._sworn_until and self.config.check_quorum:
            return  # the leader before this one may hold a lease: it asks again
        elif message.commit < self.commit:
            # Its leader asks a voter of a membership that is coming, and that one knows more.
            self._reply(Nack(self.id, message.sender, self.term, ballot, self.commit))
            return
        blocks = self._report(message.commit, ballot)
        parts = len(blocks)
        report = 0
        for block in blocks:
            if block is not None:
                report = hashing.crc32c(block.crc.to_bytes(4, "little"), report)
        for part, block in enumerate(blocks):
            sender, attempt = message.sender, message.attempt
            self._reply(
                Promise(self.id, sender, ballot, attempt, False, report, part, parts, block)
            )

    def _report(self, after: int, ballot: int) -> list[Block | None]:
        """All that was accepted in slots after `after` in ballots below `ballot`, in blocks."""
        blocks: list[Block | None] = []
        end = self._last
        if end > after and self.log.last_term >= ballot:
            end = min(end, self._run_start - 1)
        at = after + 1
        while at <= end:
            block = self.log.block(at, end + 1, self._max_block_bytes)
            blocks.append(block)
            at = block.last + 1
        for kept in self.aside:
            last = kept.last
            while last >= kept.first and kept.term(last) >= ballot:
                last -= 1
            if last >= kept.first and last > after:
                blocks.append(_cut(kept, max(kept.first, after + 1), last))
        return blocks or [None]

    def _on_promise(self, message: Promise) -> None:
        sender = message.sender
        if message.probe:
            if self.role_number != PROBING or message.term != self.ballot:
                return
        elif self.role_number < CANDIDATE or message.term != self.term:
            return
        if message.attempt != self.attempt or sender not in self._asked:
            return
        if not self._votes(sender):
            self._reject("promise of a non-voter")
            return
        if message.probe:
            self._answers[sender] = True
            self._count_answers()
            return
        if sender in self.promised_by:
            return
        if message.parts > 1:
            name = (message.report, message.parts)
            known, parts = self._parts.get(sender, (name, {}))
            if known != name:
                parts = {}  # of another answer: parts of two may miss what lies between
            self._parts[sender] = name, parts
            parts[message.part] = message.block
            if len(parts) < message.parts:
                return
            del self._parts[sender]
            blocks = list(parts.values())
        else:
            blocks = [message.block]
        for block in blocks:
            if block is not None:
                self._take_report(block)
        self.promised_by.add(sender)
        if self.role_number == CANDIDATE:
            self._answers[sender] = True
            self._count_answers()
        else:
            self._newcomer_promised()

    def _count_own_vote(self) -> None:
        self.promised_by.add(self.id)
        self._answers[self.id] = True
        self._count_answers()

    def _follows(self, peer: CoreProgress) -> bool:
        return self.progress[peer.id].held() >= self.commit

    def _may_lead(self, node: NodeId) -> bool:
        return self._votes(node)

    def _votes(self, node: NodeId) -> bool:
        return any(node in membership.voters for _, membership in self.memberships)

    def _take_report(self, block: Block) -> None:
        """PMS §2.2: of the values accepted for a slot, the one with the highest ballot counts."""
        # What is here already was proposed in this ballot, or is chosen.
        done = self._last if self.role_number == LEADER else self.commit
        found = self.found
        for slot in range(max(block.first, done + 1), block.last + 1):
            ballot = block.term(slot)
            known = found.get(slot)
            if known is None or known[0] < ballot:
                found[slot] = (ballot, block.is_control(slot), bytes(block[slot]))

    def _count_answers(self) -> None:
        outcome: VoteResult = "won"
        for quorum in self._quorums:
            result = quorum.vote(self._answers)
            if result == "lost" or (result == "pending" and outcome == "won"):
                outcome = result
        if outcome == "won":
            if self.role_number == PROBING:
                self._campaign(False, False)
            else:
                self._become_leader()
        elif outcome == "lost":
            self._become_follower(self.term, None)

    def _on_nack(self, message: Nack) -> None:
        if message.ballot != (self.term if self.role_number == LEADER else self.ballot):
            return  # of an earlier try
        self.nacks += 1
        if message.term > self._seen:
            self._seen = message.term
        if self.role_number == LEADER:
            if message.ballot == self.term and message.term > self.term:
                # Someone promised a higher ballot: ours gets nowhere with it any more.
                self._become_follower(self.term, None)
            elif message.ballot == self.term and message.commit > self.commit:
                # A later membership has chosen slots without this node, and its voters cannot
                # promise what is asked of them before it has learned those.
                self._become_follower(self.term, None)
                self.known = max(self.known, message.commit)
                self._fetch(message.sender)
            return
        if self.role_number == FOLLOWER or message.ballot != self.ballot:
            return
        if not self._votes(message.sender):
            self._reject("refusal of a non-voter")
            return
        if message.term <= message.ballot and message.commit > self.commit:
            # First learn what that one knows to be chosen.
            self._become_follower(self.term, None)
            self.known = max(self.known, message.commit)
            self._fetch(message.sender)
            return
        self._answers[message.sender] = False
        self._count_answers()

    def _become_leader(self) -> None:
        """A phase-1 quorum has promised: for every slot after the commit index, the value accepted
        in the highest ballot is proposed again, and a no-op where there is none below another."""
        for block in self._report(self.commit, self.ballot):
            if block is not None:
                self._take_report(block)
        self._become(LEADER)
        self.leader = self.id
        self._answers = {}
        self._parts = {}
        self.round = self.round_acked = 0
        self._lease_lost = False
        for slot in [slot for slot in self.found if slot <= self.commit]:
            del self.found[slot]
        self.term_start = max(self.found, default=self.commit)
        old_last = self._last
        kept = self._tail(self.commit)
        if old_last > self.commit:
            self.log.truncate(self.commit + 1)
            self._last = self.commit
            self._keep_block(None, 0, 0, False)
            self._forget_stable(self.commit)
        self._run_start = self._last + 1
        self._adopt_progress()
        self._update_ceiling()
        self._refill()
        if self._last < old_last or self._bytes_between(self.commit, self._last) > (
            BLOCK_BYTES_MAX // 2
        ):
            # Not all of it is proposed again at once, in one record: until then, remember it.
            for block in kept:
                self._set_aside(block)
        self._drop_covered()
        self.quorum_due = self.now + self.config.election_ticks + self.slack_ticks
        self.deadline = self.now + self.config.heartbeat_ticks
        self._round_wanted = self._send_wanted = True

    def _refill(self) -> None:
        """Propose what phase 1 found and what a change of membership needs, as far as the window
        allows."""
        if self.role_number != LEADER:
            return
        log, found = self.log, self.found
        top = min(max(self.term_start, self.memberships[-1][0] - 1), self._ceiling)
        while self._last < top:
            first = self._last + 1
            control = found[first][1] if first in found else True
            payloads = []
            slot = first
            while slot <= top and (found[slot][1] if slot in found else True) == control:
                payloads.append(found.pop(slot)[2] if slot in found else NO_OP)
                slot += 1
                if len(payloads) == BLOCK_ENTRIES_MAX:
                    break
            log.append(self.term, payloads, control=control)
            self._last = slot - 1
            if control:
                self._control_from = min(self._control_from, first)
            self._send_wanted = True

    # --- 2  phase 2: PMS §2.2; PMMC §2.2 -----------------------------------------------------

    def _hear_leader(self, sender: NodeId) -> None:
        """A message of this ballot's leader came."""
        if self.role_number != FOLLOWER or self.leader is None:
            self._become_follower(self.term, sender)
        self.deadline = self.now + self._timeout
        self.heard = self.now

    def _keep_oath(self) -> None:
        """The promise is about to rise without this node's doing: the leader that it heard may hold
        a lease of its, and nobody else gets a promise before that has run out (D§6.4.1)."""
        self._sworn_until = max(self._sworn_until, self.heard + self.config.election_ticks)

    def _on_accept(self, message: Accept) -> None:
        """Phase 2b."""
        ballot = message.term
        if ballot < self.term:
            self._reply(Nack(self.id, message.sender, self.term, ballot, self.commit))
            return
        if ballot > self.term:
            self._keep_oath()
            self._become_follower(ballot, message.sender)
            self.vote = message.sender
        self._hear_leader(message.sender)
        first = last = 0
        block = message.block
        if block is not None and self._take(block):  # no room aside: it comes again
            first, last = block.first, block.last
        if message.commit > self.commit:
            self._learn_from_leader(message.commit, message.sender)
        if first == 0 and message.round != 0 and self._holds_run(ballot):
            first, last = self._run_start, self._last
        if first or message.round != 0:
            self._reply(
                accepted(self.id, message.sender, ballot, first, last, self.commit, message.round)
            )

    def _on_accepted(self, message: Accepted) -> None:
        if self.role_number != LEADER or message.term != self.term:
            return
        peer = self.progress[message.sender]
        round = message.round
        self._heard(peer, round)
        moved = False
        if message.last:
            moved = peer.holds(message.first, message.last)
        learned = message.commit > peer.known
        if learned:
            peer.known = message.commit
        if message.commit > peer.match and peer.holds(
            peer.match + 1, min(message.commit, self._last)
        ):
            moved = True
        if round >= peer.mark_round > 0:
            if max(peer.match, self.commit) < peer.mark:
                self._send_again(peer)
            peer.mark_round = 0
        if peer.next <= self._last:
            self._send_wanted = True
        if moved and peer.match > self.commit:
            self._advance_commit()
        if (moved or learned) and message.sender == self.transferee:
            self._try_transfer()

    def _send_again(self, peer: Progress) -> None:
        """What was sent before a round that it answered, and did not arrive."""
        for first, last in peer.gaps(self.commit, peer.mark):
            at = first
            while at <= last:
                block = self.log.block(at, last + 1, self._max_block_bytes)
                self._accept_to(peer, block)
                at = block.last + 1

    def _advance_commit(self) -> None:
        """A slot is chosen once a phase-2 quorum of its own membership has accepted it (FP)."""
        while True:
            if self._plain:
                index = self._majority_match()
            else:
                held = {peer.id: peer.match for peer in self._peers}
                held[self.id] = self.stable
                index = self.quorum.committed(held)
            if index >= self._coming:
                index = self._coming - 1  # the last slot that the membership in force governs
            if index <= self.commit:
                return
            is_boundary = index + 1 == self._coming
            self._commit_to(index)
            if not is_boundary or self.role_number != LEADER:
                return

    def _replicate_all(self) -> None:
        for peer in self._peers:
            self._replicate(peer)

    def _replicate(self, peer: Progress) -> None:
        """Send `peer` what was proposed since, as far as its window has room."""
        if peer.next <= self._base:
            peer.next = self._base + 1  # chosen and compacted: it asks for that
        while peer.next <= self._last and self._has_room(peer):
            block = self._encode(peer.next)
            peer.next = (self._block_last if block is self._block else block.last) + 1
            self._accept_to(peer, block)
        if peer.round_sent < self.round or (
            self._eager_commit and peer.commit < self.commit and peer.commit < peer.next - 1
        ):
            self._accept_to(peer, None)

    def _inflight_bytes(self, peer: CoreProgress) -> int:
        """As far as the log still has it."""
        done = peer.match if peer.match > self._base else self._base
        if peer.next - 1 <= done:
            return 0
        return self._bytes_between(done, peer.next - 1)

    def _accept_to(self, peer: Progress, block: Block | None) -> None:
        """Round 0 asks for no answer to a message without a block."""
        round = 0 if block is None and peer.round_sent == self.round else self.round
        if round and peer.mark_round == 0 and peer.round_sent < self.round:
            peer.mark = peer.next - 1
            peer.mark_round = round
        peer.round_sent = self.round
        peer.commit = self.commit
        self._early.append(accept(self.id, peer.id, self.term, self.commit, round, block))

    # --- 3  the log and aside: what an acceptor keeps ----------------------------------------

    def _take(self, block: Block) -> bool:
        """Accept `block`, all of it in ballot `term`; False when there is no room aside."""
        first, last = block.first, block.last
        if last <= self.commit:
            return True  # chosen, so the same
        if first <= self.commit:
            first = self.commit + 1
            block = _cut(block, first, last)
        if first > self._last + 1:
            if self._aside_bytes + block.nbytes > self.config.max_aside_bytes:
                return False
            if not self._stands_aside(block):
                self._set_aside(block)
            return True
        if first <= self._last and self.log.term(first) == self.term:
            # All from there on is of this ballot: it is the same.
            if last <= self._last:
                return True
            first = self._last + 1
            block = _cut(block, first, last)
        self._write(block)
        return True

    def _stands_aside(self, block: Block) -> bool:
        """Whether exactly this was set aside before: a repeated message."""
        for kept in self.aside:
            if (
                kept.first == block.first
                and kept.last == block.last
                and kept.last_term == block.last_term
                and kept.crc == block.crc
            ):
                return True
        return False

    def _write(self, block: Block) -> None:
        """Put `block` into the log, where it follows what stands there or replaces it; what lies
        behind it and is replaced by nothing goes aside."""
        first, last = block.first, block.last
        ballot = block.last_term
        replaces = first <= self._last
        if replaces:
            for tail in self._tail(last):
                self._set_aside(tail)
            self.log.truncate(first)
            self._forget_stable(first - 1)
        continues = self.log.last_term == ballot
        self.log.append_block(block)
        self._last = last
        if replaces:
            self._find_run()
        elif not continues:
            self._run_start = first
            if block.term(first) != ballot:
                self._find_run()
        if self._handed == first - 1:
            self._keep_block(block, first, last, False)
        else:
            self._keep_block(None, 0, 0, False)
        if block.has_control:
            self._find_controls(first)
        if self.aside:
            self._absorb()

    def _tail(self, after: int) -> list[Block]:
        """The log's entries after `after`, in blocks."""
        blocks = []
        at = after + 1
        while at <= self._last:
            block = self.log.block(at, self._last + 1, BLOCK_BYTES_MAX)
            blocks.append(block)
            at = block.last + 1
        return blocks

    def _set_aside(self, block: Block) -> None:
        self.aside.append(block)
        self._aside_new.append(block)
        self._aside_bytes += block.nbytes
        self._aside_disk_bytes += block.nbytes

    def _absorb(self) -> None:
        """What stands aside and follows the log now, in no lower ballot, joins it."""
        while True:
            at = self._last + 1
            floor = self.log.last_term
            best: Block | None = None
            for block in self.aside:
                if (
                    block.first <= at <= block.last
                    and block.term(at) >= floor
                    and (best is None or block.term(at) > best.term(at))
                ):
                    best = block
            if best is None:
                break
            end = best.last
            for block in self.aside:
                if block is not best and block.last_term > best.term(at):
                    end = min(end, _lead(best, block, at) - 1)
            piece = best if best.first == at and best.last == end else _cut(best, at, end)
            self.log.append_block(piece)
            self._last = piece.last
            self._keep_block(None, 0, 0, False)
            if piece.has_control:
                self._find_controls(at)
            self._find_run()
        self._drop_covered()

    def _drop_covered(self) -> None:
        """Forget what the log holds, or has in a higher ballot, or knows to be chosen."""
        kept = [block for block in self.aside if block.last > self._last]
        if len(kept) == len(self.aside):
            return
        dropped = max(block.last for block in self.aside if block.last <= self._last)
        self._aside_dropped = max(self._aside_dropped, dropped)
        self.aside = kept
        self._aside_bytes = sum(block.nbytes for block in kept)

    def _holds_run(self, ballot: int) -> bool:
        """Whether the log ends in entries of `ballot`, not all compacted."""
        return self._run_start <= self._last and self.log.last_term == ballot

    def _find_run(self) -> None:
        """Where the last run of one ballot begins."""
        last = self._last
        if last == self._base:
            self._run_start = last + 1
        else:
            self._run_start = self.log.last_not_after(last, self.log.last_term - 1)[0] + 1

    def _find_controls(self, first: int) -> None:
        if first <= self._last:
            index = self.log.find_control(first)
            if index:
                self._control_from = min(self._control_from, index)

    # --- 4  learning: commit, Fetch, Learn, snapshots; PMMC §4.1, PML §5.1 -------------------

    def _learn_from_leader(self, commit: int, sender: NodeId) -> None:
        """The leader of ballot `term` knows all slots up to `commit` to be chosen.  What was
        accepted here in that ballot is what it proposed, so that was chosen; the rest is asked
        for."""
        if commit > self.known:
            self.known = commit
        if self._fetch_from is None:
            self._fetch_from = sender  # should nothing more come from it
        is_under_way = self._last < commit
        if self._holds_run(self.term):
            if self._run_start <= self.commit + 1:
                index = commit if commit < self._last else self._last
                if index > self.commit:
                    self._commit_to(index)
                if commit <= self.commit:
                    return
            else:
                is_under_way = False
        if self._fetch_commit != self.commit:
            # Leave it a moment, unless nothing that comes can tell.
            self._fetch_commit = self.commit
            self._fetch_due = self.now + (self.config.heartbeat_ticks if is_under_way else 0)
        if self.now >= self._fetch_due:
            self._fetch(sender)

    def _fetch(self, sender: NodeId) -> None:
        """Ask for what is known to be chosen and is not here."""
        if self._install is not None or self.known <= self.commit:
            return
        self._fetch_from = sender
        self._fetch_blocks = 0
        self._fetch_commit = self.commit
        self._fetch_due = self.now + self.config.election_ticks // 2 + 1
        index = checksum = 0
        if self._incoming is not None:
            index, checksum = self._incoming[0], self._incoming[3]
            self._fetch_end = self._incoming_bytes + (
                self.config.snapshot_chunk_bytes * self.config.max_inflight_chunks
            )
        self._early.append(
            Fetch(
                *(self.id, sender, self.term),
                *(self.commit + 1, index, checksum, self._incoming_bytes),
            )
        )

    def _fetch_elsewhere(self) -> None:
        """No answer came, and no leader that could be asked again: try any member."""
        if self.known <= self.commit or self.now < self._fetch_due:
            return
        nodes = [node for node in self._acquaintances() if node != self.id]
        if nodes:
            self._fetch(nodes[self._draw() % len(nodes)])

    def _acquaintances(self) -> list[NodeId]:
        """Who may know more: whoever belongs to the group or did, and who was asked last."""
        found: dict[NodeId, None] = {}
        for _, membership in self.memberships:
            found.update(dict.fromkeys(membership.members))
        if self._fetch_from is not None:
            found[self._fetch_from] = None
        return list(found)

    def _served(self) -> None:
        """What was asked for comes: until it is here, a campaign would only be refused."""
        if self.role_number == FOLLOWER:
            self.deadline = max(self.deadline, self.now + self._timeout)

    def _on_fetch(self, message: Fetch) -> None:
        """Serve what is chosen, whoever asks: also one who was removed, and has to hear of it."""
        if message.first > self.commit:
            return
        if message.first <= self._base:
            self._send_parts(message)
            return
        at = message.first
        for _ in range(self.config.max_inflight_chunks):
            if at > self.commit:
                break
            block = self.log.block(at, self.commit + 1, self._max_block_bytes)
            self._early.append(Learn(self.id, message.sender, self.term, self.commit, block))
            at = block.last + 1

    def _on_learn(self, message: Learn) -> None:
        if self.role_number == LEADER:
            return  # it asked when it was none
        if message.commit > self.known:
            self.known = message.commit
        block = message.block
        if block.last > self.commit and block.first <= self.commit + 1:
            self._learn(block)
            self._served()
        if message.sender == self._fetch_from:
            self._fetch_blocks += 1
            if self._fetch_blocks == self.config.max_inflight_chunks:
                self._fetch(message.sender)  # so many come in one answer

    def _learn(self, block: Block) -> None:
        """These slots are chosen; the first follows the commit index, or comes before it."""
        first, last = block.first, block.last
        if first <= self.commit:
            first = self.commit + 1
            block = _cut(block, first, last)
        # A stamp says "chosen in this ballot or before"; here it may have to be higher.
        floor = self.log.term(self.commit)
        if block.term(first) < floor:
            block = _restamped(block, floor)
        if block.last_term > self.term:
            self._keep_oath()
            self._become_follower(block.last_term, None)
        at = first
        log = self.log
        while (
            at <= last
            and at <= self._last
            and log.term(at) == block.term(at)
            and log.is_control(at) == block.is_control(at)
        ):
            at += 1
        if at <= last:
            self._write(block if at == first else _cut(block, at, last))
        self._commit_to(last)

    def _commit_to(self, index: int) -> None:
        self.commit = index
        if index > self.known:
            self.known = index
        if self._control_from <= index:
            self._adopt_memberships(index)
        moves = self._coming != NOWHERE
        if moves:
            self._use_memberships()
        if self.role_number != LEADER:
            return
        self._send_wanted = True
        if moves:
            self._on_membership_moved()
            if self.role_number != LEADER:
                return
        else:
            self._ceiling = index + self._window
        if self._last < self.term_start or self._last + 1 < self.memberships[-1][0]:
            self._refill()
        self._begin_early_reads()

    def membership_at(self, index: int) -> Membership:
        """The membership in force after a snapshot at `index`; an empty one while the state there
        knows of another that comes later: no snapshot is taken then."""
        window = self.config.window
        known = [item for item in self.memberships if item[0] - window <= max(index, 0)]
        if not known or index < self.memberships[0][0] - 1:
            return self.memberships[0][1]
        first, membership = known[-1]
        return membership if first <= index + 1 else Membership()

    def _send_parts(self, message: Fetch) -> None:
        snapshot = self.snapshot
        if snapshot is None or isinstance(snapshot.source, Received):
            return  # it is being installed: ask again
        source = snapshot.source
        total = source.total_bytes
        at = 0
        if message.index == snapshot.index and message.checksum == snapshot.checksum:
            at = min(message.offset, total)
        membership = snapshot.membership.to_bytes()
        for _ in range(self.config.max_inflight_chunks):
            data = source.read(at, min(self.config.snapshot_chunk_bytes, total - at))
            self._early.append(
                SnapshotPart(
                    *(self.id, message.sender, self.term, snapshot.index, snapshot.term),
                    *(membership, total, snapshot.checksum, at, data),
                )
            )
            at += len(data)
            if at >= total:
                break

    def _on_snapshot_part(self, message: SnapshotPart) -> None:
        index = message.index
        if self.role_number == LEADER or self._install is not None:
            return
        if index <= self.commit:
            if self._incoming is not None and self._incoming[0] <= self.commit:
                self._end_receiving()
            return
        if index > self.known:
            self.known = index
        # Nodes may stamp the same entry with different ballots; the bytes tell.
        total_bytes, checksum = message.total_bytes, message.checksum
        incoming = self._incoming
        if incoming is None or (index, incoming[1], total_bytes, checksum) != incoming:
            if message.offset or message.sender != self._fetch_from:
                return  # of one that is not being received (any more)
            incoming = (index, message.ballot, total_bytes, checksum)
            self._begin_receiving(incoming)
        if message.offset != self._incoming_bytes or not self._take_chunk(message.data):
            return
        self._served()
        if self._incoming_bytes == total_bytes:
            self._install_snapshot(incoming, message.membership)
        elif self._incoming_bytes >= self._fetch_end and message.sender == self._fetch_from:
            self._fetch(message.sender)

    def _install_snapshot(self, name: tuple[int, int, int, int], members: bytes) -> None:
        """What was accepted in slots that the snapshot does not cover is remembered, as ever."""
        index, ballot, _, checksum = name
        membership = Membership.from_bytes(members)
        if ballot > self.term:
            self._become_follower(ballot, None)
        elif self.role_number != FOLLOWER:
            self._become_follower(self.term, None)
        for block in self._tail(index):
            self._set_aside(block)
        self._restore(index, ballot, membership, checksum)
        self._control_from = self._coming = NOWHERE
        self.memberships = [(index + 1, membership)]
        self._use_memberships()
        self._absorb()

    # --- 5  membership: PMS §3 ---------------------------------------------------------------

    def change_config(self, change: ConfChange) -> int:
        """Propose a change of membership; the slot of its entry.  Once chosen, it is in force from
        `Config.window` slots later on, in one step whatever it changes; the leader fills the slots
        between with no-ops.  (Of two changes that two leaders proposed within one window, without
        knowing of each other, the first that is chosen counts and the other is void: look at
        `membership` afterwards.)

        Raises:
            NotLeader: only the leader can.
            ProposalRefused: another change is not in force yet, what phase 1 found is not chosen
                yet, or a transfer is under way.
            MembershipError: the change is impossible from here.
        """
        self._require_leader("change the membership")
        if self._change_pending():
            raise ProposalRefused("another change is not in force yet; try again later")
        if self.commit < self.term_start:
            raise ProposalRefused("what earlier leaders left is not chosen yet; try again later")
        if self.transferee is not None:
            raise ProposalRefused(f"leadership is being handed to {self.transferee!r}")
        if change.leave:
            raise MembershipError("Multi-Paxos has no joint memberships, so there is none to leave")
        after = self.membership.changed(change)
        if after.joint:
            after = after.left()
        self._check_usable(after)
        # Those who leave still use their ballots for a while.
        check_numbers({*self.membership.members, *after.members})
        if self._last >= self._ceiling:
            raise ProposalRefused("the window is full; try again later")
        index: int = self.log.append(self.term, [MEMBERSHIP + after.to_bytes()], control=True)
        self._last = index
        self._control_from = min(self._control_from, index)
        self._send_wanted = True
        return index

    @property
    def is_changing(self) -> bool:
        """Whether a change of membership is not in force yet."""
        return self._change_pending()

    def _change_pending(self) -> bool:
        if self.memberships[-1][0] > self.commit + 1:
            return True
        index = self._control_from if self._control_from > self.commit else self.commit + 1
        while index <= self._last:
            index = self.log.find_control(index)
            if not index:
                return False
            if bytes(self.log[index])[:1] == MEMBERSHIP:
                return True
            index += 1
        return False

    def _adopt_memberships(self, upto: int) -> None:
        """Take up the memberships among the entries that are chosen.  Two leaders may have proposed
        one each within a window, and a third chosen both: then the first counts."""
        index = max(self._control_from, self.log.first)
        while index <= self._last:
            index = self.log.find_control(index)
            if not index:
                index = NOWHERE
                break
            if index > upto:
                break
            payload = bytes(self.log[index])
            # Void while another is coming: whoever proposed it did not know of that one.
            if payload[:1] == MEMBERSHIP and self.memberships[-1][0] <= index:
                self._coming = index + self._window
                self.memberships.append((self._coming, Membership.from_bytes(payload[1:])))
            index += 1
        self._control_from = index if index <= self._last else NOWHERE

    def _forget_memberships(self, index: int) -> None:
        CoreBase._forget_memberships(self, index + 1)

    def _between_memberships(self) -> bool:
        return len(self._quorums) > 1

    def _in_force(self) -> list[tuple[int, Membership]]:
        """The membership of the next slot, and the one that comes after it, if one does."""
        slot = self.commit + 1
        at = len(self.memberships) - 1
        while at > 0 and self.memberships[at][0] > slot:
            at -= 1
        return self.memberships[at:]

    def _quorum_at(self, slot: int) -> QuorumSystem:
        governing = self.memberships[0][1]
        for first, membership in self.memberships:
            if first <= slot:
                governing = membership
        return self._quorum_of(governing)

    def _use_memberships(self) -> None:
        """The commit index moved, or memberships became known: which are in force?"""
        in_force = self._in_force()
        membership = in_force[0][1]
        if len(in_force) == 1:
            self._coming = NOWHERE
            # On record, or a node that restarts would ask the members of old once more.
            self._commit_owed = in_force[0][0] - 1
        if (
            membership is self.membership
            and len(in_force) == len(self._quorums)
            and type(self.quorum) is not Nobody
        ):
            return
        self.membership = membership
        self._quorums = [self._quorum_of(item[1]) for item in in_force]
        self.quorum = self._quorums[0]
        self._voter = any(self.id in item[1].voters for item in in_force)
        self._plain = (
            type(self.quorum) is Majority
            and len(in_force) == 1
            and len(membership.members) == len(membership.voters)
            and self.id in membership.voters
        )
        if self.role_number == LEADER:
            self._adopt_progress()

    def _quorum_of(self, membership: Membership) -> QuorumSystem:
        """
        Raises:
            MembershipError: `Config.quorum` makes no system of these voters.
        """
        return self._system_of(membership.voters) if membership.voters else Nobody()

    def _adopt_progress(self) -> None:
        """One `Progress` for each other member; those that stay keep theirs."""
        before = self.progress
        self.progress = {}
        for _, membership in self._in_force():
            for node in membership.members:
                if node != self.id and node not in self.progress:
                    peer = before.get(node)
                    self.progress[node] = peer if peer is not None else Progress(node, self.commit)
        self._peers = list(self.progress.values())
        if self.transferee is not None and self.transferee not in self.progress:
            self._end_transfer()
        # Counted under the quorums that are in force now: a lease of the old ones is none.
        self._lease_from = -NEVER
        self._count_rounds()

    def _on_membership_moved(self) -> None:
        """Leader: a membership was chosen, or its first slot has come."""
        in_force = self._in_force()
        if len(in_force) == 1 and self.id not in in_force[0][1].voters:
            # It governs no slot any more; first, one more message to each, so that they know.
            heir: Progress | None = None
            for peer in self._peers:
                self._accept_to(peer, None)
                if peer.held() >= self.commit and peer.id in in_force[0][1].voters:
                    heir = peer
            if heir is not None:
                self._early.append(TimeoutNow(self.id, heir.id, self.term))
            self._become_follower(self.term, None)
            return
        self._update_ceiling()
        self._prepare_newcomers()

    def _update_ceiling(self) -> None:
        """Up to where slots may be proposed: the window, and no slot of a membership of which no
        phase-1 quorum has promised."""
        ceiling = self.commit + self._window
        for first, membership in self._in_force():
            if not self._quorum_of(membership).can_elect(self.promised_by):
                ceiling = min(ceiling, max(first - 1, self.commit))
        self._ceiling = ceiling

    def _prepare_newcomers(self) -> None:
        """Leader: phase 1 with the voters of a membership that is coming."""
        if len(self._quorums) < 2 and self._quorums[0].can_elect(self.promised_by):
            return
        for _, membership in self._in_force():
            for voter in membership.voters:
                if voter not in self.promised_by:
                    self._asked.add(voter)
                    self._early.append(
                        Prepare(self.id, voter, self.term, self.commit, self.attempt)
                    )

    def _newcomer_promised(self) -> None:
        for slot in [slot for slot in self.found if slot <= self._last]:
            del self.found[slot]
        self.term_start = max(self.term_start, max(self.found, default=0))
        self._update_ceiling()
        self._refill()
        self._begin_early_reads()

    # --- 6  reads and transfer: D§6.4, D§3.10 ------------------------------------------------

    def _quorum_round(self, acked: Mapping[NodeId, int]) -> int:
        """A phase-2 quorum answered round r in this ballot: it meets every phase-1 quorum, so no
        higher ballot had one when the round was sent."""
        return min(quorum.committed(acked) for quorum in self._quorums)

    def _try_transfer(self) -> None:
        assert self.transferee is not None
        peer = self.progress[self.transferee]
        if peer.held() == self._last:
            # From here on it may campaign at any time, however slow the message is, and acceptors
            # will not protect us: no lease in this ballot any more.
            self._lease_lost = True
            # With the commit index, so that nobody finds that it lacks what is chosen.
            self._accept_to(peer, None)
            self._early.append(TimeoutNow(self.id, peer.id, self.term))
        else:
            self._send_wanted = True

    # --- 7  proposals and Ready --------------------------------------------------------------

    def _knows_all(self) -> bool:
        """What phase 1 found may have been chosen, and applied somewhere; so may slots of a
        membership that is in force and has not promised yet."""
        return self.commit >= self.term_start and self._ceiling > self.commit

    def _check_proposal(self, count: int) -> None:
        if self._last + count > self._ceiling or self._last < self.term_start:
            raise ProposalRefused(
                f"slot {self._last + count} lies beyond {self._ceiling}, up to where slots may be "
                f"proposed now (window={self._window}); try again later"
            )

    def _has_ready(self) -> bool:
        return bool(self._aside_new) or CoreBase._has_ready(self)

    def _hand_over_aside(self, ready: Ready) -> None:
        """What was set aside lately; and all anew, when most of what the disk holds is of no use,
        and what took its place in the log is durable."""
        if not self._aside_disk_bytes:
            return
        stale = self._aside_disk_bytes - self._aside_bytes
        if (
            stale
            and self.stable >= self._aside_dropped
            and self._handed == self._last
            and (not self.aside or stale > self._aside_bytes + ASIDE_SLACK_BYTES)
        ):
            ready.aside = list(self.aside)
            ready.clears_aside = True
            self._aside_disk_bytes = self._aside_bytes
            self._aside_new = []
        elif self._aside_new:
            ready.aside = self._aside_new
            self._aside_new = []


def _scratch(block: Block) -> Log:
    """A log that holds `block` alone."""
    before = block.first - 1
    log = Log(before, block.term(block.first)) if before else Log()
    log.append_block(block)
    return log


def _cut(block: Block, first: int, last: int) -> Block:
    """The entries `first` ... `last` of a block."""
    if first == block.first and last == block.last:
        return block
    return _scratch(block).block(first, last + 1, BLOCK_BYTES_MAX)


def _lead(block: Block, other: Block, first: int) -> int:
    """The first slot from `first` on where `other` has a higher ballot than `block`; else the one
    after the last of `block`."""
    end = block.last + 1
    for slot in range(max(first, other.first), min(end, other.last + 1)):
        if other.term(slot) > block.term(slot):
            return slot
    return end


def _restamped(block: Block, floor: int) -> Block:
    """`block`, with no ballot below `floor`."""
    before = block.first - 1
    log = Log(before, floor) if before else Log()
    for index in range(block.first, block.last + 1):
        log.append(
            max(block.term(index), floor), [bytes(block[index])], control=block.is_control(index)
        )
    return log.block(block.first, block.last + 1, BLOCK_BYTES_MAX)
