"""What the checkers of all consensus families share: lives, the disk's hard state, the applied
commands, what clients were told, and how a violation is reported.

A checker sees a run from outside: what each node hands to its disk (`wrote`), what its disk
confirms (`synced`), what it sends (`sent`), what it applies (`applied`), and after every event what
the node says of itself (`after`).  The rules of a family are in `sim.invariants` (Raft) and
`sim.paxos_invariants` (Multi-Paxos).
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, TypeVar

from ringleader.consensus.config import CoreConfig
from ringleader.consensus.constants import MEMBERSHIP
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.message import ReadReply, TimeoutNow
from ringleader.consensus.ready import HardState, Ready, Snapshot
from ringleader.errors import InvariantViolation
from ringleader.sim.clock import Clock

#: Events that a violation tells of.
STORY_EVENTS = 60


class Invariant(NamedTuple):
    number: int
    name: str
    text: str
    source: str


#: Those that are about no family's own rules.  5, 6 and 9 to 12 have the same numbers and names in
#: every family, too; what they say is the family's.
COMMON: tuple[Invariant, ...] = (
    Invariant(
        14,
        "composure",
        "nothing raises but what its interface names, and no peer's message is found malformed",
        "docs/architecture.md",
    ),
    Invariant(
        15,
        "outcomes",
        "what was refused never happens, what was acknowledged did, and each command takes effect "
        "at most once",
        "ringleader.consensus.driver",
    ),
    Invariant(
        16,
        "the state machine's own",
        "what its author says of the state holds after every command, snapshot and read",
        "ringleader.sim.user; `ringleader simulate` has none",
    ),
)


class BaseShadow:
    """What a checker knows of one node; it outlives the node's crashes.

    durable_term, durable_vote      the hard state that its disk has confirmed.
    snapshot        index of the latest snapshot that is durable.
    stable          what the core takes for durable.
    pending         what was handed to the disk and is not confirmed, oldest first: tuples that
                    begin with the `Ready`.
    life            1, 2, ...: one for each start.
    leads           the term in which it leads, or 0.
    term, vote, role, commit, applied, membership, last     as of the last event of this life.
    chain           the CRC of all that it has applied.
    """

    __slots__ = (
        "applied",
        "chain",
        "commit",
        "durable_term",
        "durable_vote",
        "id",
        "last",
        "leads",
        "life",
        "membership",
        "pending",
        "role",
        "snapshot",
        "stable",
        "term",
        "up",
        "vote",
    )

    def __init__(self, node: NodeId) -> None:
        self.id = node
        self.durable_term = 0
        self.durable_vote: NodeId | None = None
        self.snapshot = 0
        self.pending: deque[tuple[Any, ...]] = deque()
        self.life = 0
        self.up = False
        self.begin()

    def begin(self) -> None:
        self.term = 0
        self.vote: NodeId | None = None
        self.role = "follower"
        self.leads = 0
        self.commit = 0
        self.applied = 0
        self.chain = 0
        self.membership: Membership | None = None
        self.last = 0
        self.stable = 0
        self.pending.clear()


S = TypeVar("S", bound=BaseShadow)


class Checker(Generic[S]):
    """Watches a group; raises `InvariantViolation` at the first event that breaks an invariant.

    Args:
        voters: those that the group begins with.
        clock: gives the time that a violation names.
        config: the settings of all nodes.
        describe: of an event of the trace, how the story tells it.
        elected: called when a node was elected.
    """

    invariants: ClassVar[tuple[Invariant, ...]]
    #: What the family calls a place in the log.
    place: ClassVar[str]

    def __init__(
        self,
        voters: Membership,
        clock: Clock,
        config: CoreConfig,
        *,
        describe: Callable[[tuple[Any, ...]], str] = repr,
        elected: Callable[[], None] | None = None,
    ) -> None:
        self.initial = voters
        self.pre_vote = config.pre_vote
        self.describe = describe
        self.elected = elected
        self.clock = clock
        self.shadows: dict[NodeId, S] = {}
        #: By index: the CRC of all payloads applied up to there.
        self.chain: list[int] = [0]
        #: Term -> who led it.
        self.leaders: dict[int, NodeId] = {}
        #: (term, node): the leader of this term told the node to campaign.
        self.told: set[tuple[int, NodeId]] = set()
        #: The highest index of a write that was acknowledged to a client.
        self.acknowledged = 0
        self.coverage: Counter[str] = Counter()
        self.trace: deque[tuple[Any, ...]] = deque(maxlen=STORY_EVENTS)
        self._sent: dict[type, Callable[[S, Any, Any], None]] = {
            TimeoutNow: self._sent_timeout_now,
            ReadReply: self._sent_read_reply,
        }
        self._names = {invariant.number: invariant.name for invariant in self.invariants}

    # --- what each family has of its own -----------------------------------------------------

    def _new_shadow(self, node: NodeId) -> S:
        raise NotImplementedError

    @property
    def committed_last(self) -> int:
        """Up to where some node knows everything to be committed: what a read must not miss."""
        raise NotImplementedError

    def configurations(self) -> Iterable[Membership]:
        """Every configuration that may still decide something, besides those in force on nodes."""
        raise NotImplementedError

    def loaded(self, node: NodeId, log: Any, aside: Iterable[Block]) -> None:
        """A node's disk gave back these entries; its core, which may change them, comes next."""

    def started(
        self, node: NodeId, core: Any, hard_state: HardState, snapshot: Snapshot | None, log: Any
    ) -> None:
        """A node begins a life from what its disk gave back."""
        raise NotImplementedError

    def died(self, node: NodeId, core: Any) -> None:
        """A node died within a step."""
        raise NotImplementedError

    def wrote(self, node: NodeId, core: Any, ready: Ready) -> None:
        """A node hands `ready` to its disk."""
        raise NotImplementedError

    def _synced(self, s: S, ready: Ready, pending: Any) -> None:
        """The disk confirms `ready`, which was the oldest of what was `pending`."""
        raise NotImplementedError

    def after(self, node: NodeId, core: Any) -> None:
        """An event touched the node: whatever changed must be allowed."""
        raise NotImplementedError

    def applied(
        self, node: NodeId, core: Any, first: int, last: int, items: list[tuple[int, bytes]]
    ) -> int:
        """The state machine applies the commands `items` among the entries `first` ... `last`;
        returns the CRC of all that it has applied."""
        raise NotImplementedError

    def _check_leader(self, s: S, core: Any) -> None:
        """A node says that it leads a term; note it in `leaders`."""
        raise NotImplementedError

    def _was_told(self, s: S, term: int) -> bool:
        """Whether a node that leads `term` campaigned in it because the leader before said so."""
        raise NotImplementedError

    def _command(self, index: int) -> tuple[int, bytes] | None:
        """The committed command at `index`, with its index; None: a control entry."""
        raise NotImplementedError

    # --- what is said when one is broken -----------------------------------------------------

    def violate(self, number: int, node: NodeId | None, text: str) -> NoReturn:
        story = tuple(self.describe(event) for event in self.trace)
        where = "" if node is None else f" by node {node}"
        time = self.clock.now_us / 1e6
        raise InvariantViolation(
            f"invariant {number} ({self._names[number]}) broken{where} at {time:.6f} s: {text}",
            number=number,
            node=node,
            time=time,
            story=story,
        )

    def shadow(self, node: NodeId) -> S:
        found = self.shadows.get(node)
        if found is None:
            found = self.shadows[node] = self._new_shadow(node)
        return found

    # --- lives -------------------------------------------------------------------------------

    def crashed(self, node: NodeId) -> None:
        self.shadows[node].up = False

    def _check_hard_state(self, s: S, hard_state: HardState, snapshot_index: int) -> None:
        """What a restart found of promises, votes and snapshots (invariant 6)."""
        if hard_state.term < s.durable_term:
            self.violate(
                6, s.id, f"restarts in term {hard_state.term}, was durable in {s.durable_term}"
            )
        if (
            hard_state.term == s.durable_term
            and s.durable_vote is not None
            and hard_state.vote != s.durable_vote
        ):
            self.violate(
                6,
                s.id,
                f"its durable vote in term {hard_state.term} was for {s.durable_vote}, "
                f"after the restart it is {hard_state.vote}",
            )
        written = {(s.durable_term, s.durable_vote)}
        for ready, *_ in s.pending:
            if ready.hard_state is not None:
                written.add((ready.hard_state.term, ready.hard_state.vote))
        if (hard_state.term, hard_state.vote) not in written:
            self.violate(6, s.id, f"restarts with {hard_state!r}, which it never wrote")
        if snapshot_index < s.snapshot:
            self.violate(6, s.id, f"lost its snapshot at {s.snapshot}: has {snapshot_index}")

    def _begin_life(self, s: S, core: Any, hard_state: HardState, snapshot_index: int) -> None:
        s.begin()
        s.life += 1
        s.up = True
        s.snapshot = snapshot_index
        s.durable_term, s.durable_vote = hard_state.term, hard_state.vote
        s.term, s.vote = core.term, core.vote

    # --- the disk ----------------------------------------------------------------------------

    def synced(self, node: NodeId, ready: Ready) -> None:
        """The disk confirms `ready`."""
        s = self.shadows[node]
        if s.pending and s.pending[0][0] is ready:
            self._synced(s, ready, s.pending.popleft())
        elif any(pending[0] is ready for pending in s.pending):
            self.violate(6, node, f"{ready!r} is confirmed before what was written earlier")

    def saved_snapshot(self, node: NodeId, index: int) -> None:
        """A snapshot of the own state became durable."""
        s = self.shadows[node]
        if index > s.snapshot:
            s.snapshot = index

    # --- the network -------------------------------------------------------------------------

    def sent(self, node: NodeId, core: Any, messages: Iterable[Any]) -> None:
        """Messages leave a node."""
        s = self.shadows[node]
        checks = self._sent
        for message in messages:
            if message.sender != node or message.to == node:
                self.violate(10, node, f"sends {message!r}")
            check = checks.get(type(message))
            if check is not None:
                check(s, core, message)

    def _not_durable(self, s: S, message: Any) -> None:
        self.violate(6, s.id, f"sends {message!r}; durable is term {s.durable_term} only")

    def _sent_timeout_now(self, s: S, core: Any, message: TimeoutNow) -> None:
        if message.term > s.durable_term:
            self._not_durable(s, message)
        if self.leaders.get(message.term) != s.id:
            self.violate(10, s.id, f"sends {message!r}, and leads no such term")
        self.told.add((message.term, message.to))
        self.coverage["transfers sent"] += 1

    def _sent_read_reply(self, s: S, core: Any, message: ReadReply) -> None:
        if message.index:
            if message.term > s.durable_term:
                self._not_durable(s, message)
            self.coverage["read indices given to followers"] += 1

    # --- what the node says of itself --------------------------------------------------------

    def _learn_leader(self, s: S, core: Any) -> None:
        if core.role == "leader" and s.leads != core.term:
            self._learn_role(s, core)

    def _learn_role(self, s: S, core: Any) -> None:
        role = core.role
        term = core.term
        if role != "leader":
            s.role = role
            if s.leads == term > 0:
                self.coverage["leaders that stepped down"] += 1
            s.leads = 0
            return
        if s.leads == term:
            return
        s.role = role
        self._check_leader(s, core)
        s.leads = term
        self.coverage["elections won"] += 1
        if self._was_told(s, term):
            self.coverage["transfers completed"] += 1
        if self.elected is not None:
            self.elected()

    def _learn_stable(self, s: S, stable: int, durable: list[int], words: list[int]) -> None:
        """A node takes its log up to `stable` for durable: `words`, of which the disk has confirmed
        `durable` (invariant 6)."""
        s.stable = stable
        if stable >= len(durable) or stable >= len(words) or durable[stable] != words[stable]:
            self.violate(6, s.id, f"takes {self.place} {stable} for durable; it is not on the disk")

    def after_pre_vote(self, node: NodeId, core: Any, term: int, message: Any) -> None:
        """A question whether a node would vote was delivered, when it was in `term`."""
        if core.term != term:
            self.violate(11, node, f"{message!r} moves it from term {term} to {core.term}")

    # --- the state machine -------------------------------------------------------------------

    def restored(self, node: NodeId, index: int, chain: int) -> None:
        """The state machine was replaced by a snapshot of the state after `index`."""
        s = self.shadows[node]
        if index < s.applied:
            self.violate(5, node, f"its state moves back from {s.applied} to {index}")
        if index >= len(self.chain) or self.chain[index] != chain:
            self.violate(5, node, f"the snapshot at {index} is not the state after {index}")
        s.applied, s.chain = index, chain

    def _apply(self, s: S, first: int, last: int, items: list[tuple[int, bytes]]) -> int:
        """Compare what is applied with what was committed, and with what others applied."""
        at = first
        chain = s.chain
        chains = self.chain
        command = self._command
        for item in items:
            index, payload = item
            while at < index:
                self._apply_control(s, at, chain)
                at += 1
            if command(at) != item:
                self.violate(5, s.id, f"applies at {at} {payload!r}, which was not committed there")
            chain = zlib.crc32(payload, chain)
            if at == len(chains):
                chains.append(chain)
            elif chains[at] != chain:
                self.violate(5, s.id, f"has applied other entries than others up to {at}")
            at += 1
        while at <= last:
            self._apply_control(s, at, chain)
            at += 1
        s.applied, s.chain = last, chain
        return chain

    def _apply_control(self, s: S, index: int, chain: int) -> None:
        if self._command(index) is not None:
            self.violate(5, s.id, f"does not apply the command at {index}")
        if index == len(self.chain):
            self.chain.append(chain)

    # --- clients -----------------------------------------------------------------------------

    def acknowledge(self, index: int) -> None:
        """A client was told that its write at `index` took effect."""
        if index > self.acknowledged:
            self.acknowledged = index

    def read_served(self, node: NodeId, floor: int) -> None:
        """A read that began when `floor` was committed is answered from this node's state."""
        applied = self.shadows[node].applied
        if applied < floor:
            self.violate(
                9,
                node,
                f"serves a read after {applied}, which began when {floor} was committed",
            )


def read_block(block: Block) -> tuple[list[int], list[tuple[int, bytes]]]:
    """The words of a block's column of terms, and the (index, payload) of each entry."""
    if block.has_control:
        first = block.first
        return block.terms.tolist(), [
            (index, bytes(block[index])) for index in range(first, block.last + 1)
        ]
    if len(block) == 1:
        return [block.last_term], list(block)
    return block.terms.tolist(), list(block)


def membership_of(payload: bytes) -> Membership | None:
    """The configuration that a control entry carries, or None."""
    return Membership.from_bytes(payload[1:]) if payload[:1] == MEMBERSHIP else None
