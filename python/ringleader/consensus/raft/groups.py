"""Many Raft groups in one process: 10^4 ... 10^5 of them on each node.

A group of its own pays for a timer, heartbeats and an object.  `RaftGroups` runs all groups of one
node side by side so that an idle one pays for its row only:

    time        one `tick()` for all.  The timers of all groups are one array; a tick calls into the
                groups that are due, and no other.  A core's clock lags until somebody touches it.
    messages    what all groups have for one peer leaves as one `Envelope`.  In it, heartbeats and
                their answers, most of what idle groups say, are rows of numbers.
    work        `ready()` visits the groups that were touched, so that one write and one fsync
                cover all that has to be durable.
    quiescence  a leader with nothing to do rests its group: no timer, no heartbeat (`Quiesce`).
                Nodes are watched instead of groups: one `NodeHeartbeat` for each peer and interval.

How it is driven.  `tick()` as time passes; `receive(envelope)`; `groups[group]` for everything else
that a `Raft` does.  Then, as long as it gives any: `work = groups.ready()`, persist and apply it,
`groups.advance(work)`; and `take_messages()`, for one envelope to each peer.  Messages are never
sent out of a `Ready`: they leave by `take_messages()` as soon as what they speak of is durable.

Timers are armed lazily.  Invariant: a row fires at its core's deadline or before it.  Each append
moves the deadline of a follower further away; nothing is written then.  The row fires at the
deadline of old, finds the core not due, and is armed anew: once for each election timeout, not for
each message.  Only a deadline that comes nearer (an election won, a group that wakes) is written at
once.  So a core that is not due is never late either: its clock is brought up to this tick before
anything else touches it, and no timer of it can fire on the way.

Rest.  A group rests from the moment that its leader calls `quiesce()` until something wakes it:

 1. Something to do.  A proposal or read wakes the leader, in the core; what it then sends wakes
    the followers.  A group that was woken is idle anew only `quiesce_ticks` later.
 2. A dead node.  A peer from which no envelope came for `election_ticks` is taken for dead.  The
    groups that it led campaign, each at a random tick of the next `election_ticks`: as soon as if
    their timers had been running all the while, and never all of them at once.  The groups that
    this node leads and the dead peer belongs to wake too, to count their quorum (D§6.2): on the
    small side of a partition they step down.  They may rest again without the dead one as long
    as a quorum of nodes is heard.
 3. A dead node comes back: whoever leads a group that it belongs to wakes, and brings it up to
    date.
 4. A restart that nobody was slow enough to notice.  The peer's `incarnation` has changed: it is
    taken for dead and back at once (2 and 3).  A leader of old that is a follower now is not
    waited for, and a follower that lost its timers' rest hears its leader again.  What its earlier
    life sent and arrives late is dropped.
 5. A `Quiesce` that is lost, or comes to a follower that lacks something: that follower's timer
    still runs.  Its request for votes wakes the leader (6), whose heartbeat makes peace; the group
    rests again later.
 6. A request for votes wakes whoever rests, for it shows that somebody hears no leader.  A follower
    whose leader's node is alive does not answer it: it protects its leader as one that is awake
    would (D§4.2.3), though it heard nothing from it for long; and it pokes the leader
    (`Envelope.pokes`), which the candidate may not reach.  Should the leader keep silent, the next
    request finds a follower awake, and is judged as ever.
 7. A link that works one way only.  Every envelope says whether its sender hears the receiver
    (`NodeHeartbeat.hears`).  A leader does not rest a group while a member is heard that does not
    hear this node: the member could not be told, and would ask for votes for ever.
 8. A leader of old that rests on, deposed by nodes that it does not reach.  It serves nothing: a
    proposal or read needs a quorum, whose members answer with their higher term; a lease (D§6.4.1)
    has run out since.  The new leader in turn does not rest before all members that are heard
    follow it, so that no reachable follower rests under a leader of the past.
 9. A candidate for leadership with a higher priority keeps its group awake until it leads.
10. A group that is removed here while it leads hands over nothing: transfer leadership before, or
    let the others find out by their next proposal that this node is silent.

A follower rests only under a leader whose node is watched, since `Quiesce` comes in an envelope of
it.  All that rest does is to stop timers; no vote, no commit and no read depends on it, so an error
here costs time and never an answer.

Envelopes come from outside.  One that is malformed, of an unknown peer, of an earlier life, or not
addressed to this node is counted in `rejected` and changes nothing; so is each row or message for a
group that is not here.  What is inside is judged by each core, as any message is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader.consensus.constants import LEADER, RANDOM_MODULUS
from ringleader.consensus.membership import Membership, NodeId, check_id
from ringleader.consensus.message import Message
from ringleader.consensus.quorum import Timers
from ringleader.consensus.raft.config import Config
from ringleader.consensus.raft.core import Raft
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    Quiesce,
    RequestVote,
    accepted,
    append_entries,
)
from ringleader.consensus.ready import Ready
from ringleader.errors import (
    ConfigError,
    GroupError,
    GroupNotFound,
    MembershipError,
    ProposalRefused,
    SettingTypeError,
)
from ringleader.limits import (
    ENVELOPE_ROWS_MAX,
    GROUP_ID_MAX,
    GROUPS_MAX,
    INCARNATION_MAX,
    INDEX_MAX,
    TIMER_TICKS_MAX,
)

Table = NDArray[np.uint64]

#: The columns of `Envelope.beats`, `.replies` and `.quiesces`.
BEAT_COLUMNS = ("group", "term", "prev_index", "prev_term", "commit", "round")
REPLY_COLUMNS = ("group", "term", "match", "round")
QUIESCE_COLUMNS = ("group", "term", "index")

#: The tables without rows, by their number of columns.
EMPTY: dict[int, Table] = {
    columns: np.empty((0, columns), np.uint64)
    for columns in (len(BEAT_COLUMNS), len(REPLY_COLUMNS), len(QUIESCE_COLUMNS), 1)
}
COMPILED = not __file__.endswith(".py")
#: Quorum systems kept for groups that share their voters.
SHARED_QUORUMS = 1024
#: The deadline of a group that rests, or a later one; no tick reaches it.
NEVER = 2**61


class NodeHeartbeat:
    """A node is alive; in every envelope, and alone in one that has nothing else to bring.

    incarnation     the sender's life: higher after each restart.
    hears           the receiver's life that the sender hears at present; 0: none.
    """

    __slots__ = ("hears", "incarnation")

    def __init__(self, incarnation: int, hears: int) -> None:
        self.incarnation = incarnation
        self.hears = hears

    def __repr__(self) -> str:
        return f"NodeHeartbeat(incarnation={self.incarnation}, hears={self.hears})"


class Envelope:
    """All that the groups of one node have for another, in the order in which it is taken in:

    heartbeat   see `NodeHeartbeat`.
    messages    (group, message).
    beats       heartbeats, AppendEntries without a block: a row of `BEAT_COLUMNS` each.
    replies     AppendReply of requests that were accepted: rows of `REPLY_COLUMNS`.
    quiesces    Quiesce: rows of `QUIESCE_COLUMNS`.
    pokes       groups whose leader should not rest: one column.

    The tables are C-contiguous uint64.
    """

    __slots__ = ("beats", "heartbeat", "messages", "pokes", "quiesces", "replies", "sender", "to")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        heartbeat: NodeHeartbeat,
        messages: list[tuple[int, Message]],
        beats: Table,
        replies: Table,
        quiesces: Table,
        pokes: Table,
    ) -> None:
        self.sender = sender
        self.to = to
        self.heartbeat = heartbeat
        self.messages = messages
        self.beats = beats
        self.replies = replies
        self.quiesces = quiesces
        self.pokes = pokes

    def __len__(self) -> int:
        """How many messages are in it, the node's heartbeat not counted."""
        return (
            len(self.messages)
            + len(self.beats)
            + len(self.replies)
            + len(self.quiesces)
            + len(self.pokes)
        )

    def __repr__(self) -> str:
        return (
            f"<Envelope {self.sender!r} to {self.to!r}: {len(self.messages)} messages, "
            f"{len(self.beats)} beats, {len(self.replies)} replies, {len(self.quiesces)} quiesces, "
            f"{len(self.pokes)} pokes>"
        )


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A peer as this node sees it.  `hears_us`: it said so in its last envelope.  `groups`: that it
    shares with this node.  `silent_ticks`: since its last envelope."""

    id: NodeId
    alive: bool
    hears_us: bool
    incarnation: int
    silent_ticks: int
    groups: int


@dataclass(frozen=True, slots=True)
class GroupsStatus:
    """All groups of one node, in numbers.  `waking`: rest, and will wake within a few ticks.
    `touched`: wait for the next `ready()`."""

    id: NodeId
    incarnation: int
    ticks: int
    groups: int
    leaders: int
    leaderless: int
    quiesced: int
    waking: int
    touched: int
    nodes: tuple[NodeStatus, ...]
    rejected: dict[str, int]


class _Rows:
    """A table under way: rows of `columns` numbers, the first `count` of them filled."""

    __slots__ = ("count", "numbers", "room", "table")

    def __init__(self, columns: int) -> None:
        self.count = 0
        self.room = 0
        self.table = self.numbers = np.empty((0, columns), np.uint64)

    def next(self) -> int:
        """The row to fill now."""
        at = self.count
        if at == self.room:
            self.room = max(2 * at, 16)
            table = np.empty((self.room, self.table.shape[1]), np.uint64)
            table[:at] = self.table
            self.table = self.numbers = table
        self.count = at + 1
        return at

    def take(self) -> Table:
        """What was filled; the table is empty then."""
        if not self.count:
            return EMPTY[self.table.shape[1]]
        taken: Table = self.table[: self.count].copy()
        self.count = 0
        return taken


class _Slot:
    """One group and its row.

    raft        its core.  Invariant: not due between two ticks.
    origin      the tick of the process at which the core's clock stood at 0.
    armed       when the row fires, by the core's clock; NEVER: it does not.  Invariant: <= the
                core's deadline, but for a group that rests.
    membership  whose members count in `_Peer.groups`.
    resting     the core was quiesced when it was last looked at.
    waking      the row fires to wake it.
    touched     it is in the list that `ready()` visits.
    idle_last   leader: the last index of its log at the last heartbeat ...
    idle_from   ... and since when, by the core's clock, nothing has happened.
    """

    __slots__ = (
        "armed",
        "group",
        "idle_from",
        "idle_last",
        "membership",
        "origin",
        "raft",
        "resting",
        "row",
        "touched",
        "waking",
    )

    def __init__(self, group: int, row: int, raft: Raft, origin: int) -> None:
        self.group = group
        self.row = row
        self.raft = raft
        self.origin = origin
        self.armed = NEVER
        self.membership: Membership | None = None
        self.resting = False
        self.waking = False
        self.touched = False
        self.idle_last = 0
        self.idle_from = 0


class _Peer:
    """Another node, and what waits to be sent to it.

    groups      how many groups of this node it is a member of.
    kept        it was named by `add_peer`, and stays without any.
    heard       the tick of its last envelope, or of the moment that it became a peer.
    alive       it was heard within `election_ticks`.
    due         an envelope leaves even if there is nothing in it.
    """

    __slots__ = (
        "alive",
        "beats",
        "due",
        "groups",
        "heard",
        "hears",
        "id",
        "incarnation",
        "kept",
        "messages",
        "pokes",
        "quiesces",
        "replies",
    )

    def __init__(self, id: NodeId, now: int) -> None:
        self.id = id
        self.groups = 0
        self.kept = False
        self.heard = now
        self.alive = True
        self.incarnation = 0
        self.hears = 0
        self.due = True
        self.messages: list[tuple[int, Message]] = []
        self.beats = _Rows(len(BEAT_COLUMNS))
        self.replies = _Rows(len(REPLY_COLUMNS))
        self.quiesces = _Rows(len(QUIESCE_COLUMNS))
        self.pokes = _Rows(1)

    def has_any(self) -> bool:
        return bool(
            self.due
            or self.messages
            or self.beats.count
            or self.replies.count
            or self.quiesces.count
            or self.pokes.count
        )


class RaftGroups:
    """The groups of one node.

    Args:
        node_id: this node, in all of its groups.
        incarnation: this life of the process, 1 or more: higher than that of every earlier one (a
            counter kept on disk, or the time of the start).
        config: of the groups that `create` makes; its `election_ticks` and `heartbeat_ticks` are
            also the nodes' own.  Should be the same on all nodes.
        rows_hint: groups to make room for.
        peers: nodes to listen to before a group says that they are members.
        quiesce_ticks: a group that was idle for so many ticks rests; None: twice `election_ticks`;
            0: none ever does.
        seed: spreads what would happen at once, and is part of the seed of each group's core.

    Raises:
        ConfigError, MembershipError: an argument cannot be used.
    """

    def __init__(
        self,
        node_id: NodeId,
        *,
        incarnation: int,
        config: Config | None = None,
        rows_hint: int = 0,
        peers: Iterable[NodeId] = (),
        quiesce_ticks: int | None = None,
        seed: int = 0,
    ) -> None:
        self.id = check_id(node_id)
        if isinstance(incarnation, bool) or not isinstance(incarnation, int):
            raise ConfigError(f"incarnation={incarnation!r} is no int")
        if not 1 <= incarnation <= INCARNATION_MAX:
            raise ConfigError(f"incarnation={incarnation} is not in 1 ... {INCARNATION_MAX}")
        if config is None:
            config = Config()
        elif not isinstance(config, Config):
            raise ConfigError(f"config={config!r} is no Config")
        if not 0 <= rows_hint <= GROUPS_MAX:
            raise ConfigError(f"rows_hint={rows_hint} is not in 0 ... {GROUPS_MAX}")
        if quiesce_ticks is None:
            quiesce_ticks = 2 * config.election_ticks
        if quiesce_ticks < 0:
            raise ConfigError(f"quiesce_ticks={quiesce_ticks} is below 0")
        self.incarnation = incarnation
        self.config = config
        self.quiesce_ticks = quiesce_ticks
        #: Ticks since this object was made.
        self.now = 0
        self.rejected: dict[str, int] = {}
        self._random = seed % (RANDOM_MODULUS - 1) + 1
        self._timers = Timers(rows_hint)
        self._slots: list[_Slot | None] = [None] * rows_hint
        self._free = list(range(rows_hint - 1, -1, -1))
        self._by_group: dict[int, _Slot] = {}
        self._touched: list[_Slot] = []
        self._peers: dict[NodeId, _Peer] = {}
        self._shared_memberships: dict[tuple[NodeId, ...], Membership] = {}
        # One quorum system for all groups of the same voters; it is immutable.
        self._groups_config = replace(config, quorum=lru_cache(SHARED_QUORUMS)(config.quorum))
        self._beat_due = config.heartbeat_ticks
        for peer in peers:
            self.add_peer(peer)

    # --- which groups there are --------------------------------------------------------------

    def create(
        self, group: int, voters: Iterable[NodeId] | Membership = (), **recovered: Any
    ) -> Raft:
        """Make a group's core, and run it: `Raft(id, voters, config=config, **recovered)`.

        Groups of the same voters share what they know of them.

        Raises:
            GroupError: there is such a group, or `group` is no number for one.
            MembershipError, LogError: see `Raft`.
        """
        self._check_group(group)
        if not isinstance(voters, Membership):
            named = tuple(voters)
            shared = self._shared_memberships.get(named)
            if shared is None:
                shared = self._shared_memberships[named] = Membership(named)
            voters = shared
        recovered.setdefault("config", self._groups_config)
        recovered.setdefault("seed", self._draw() << 31 | self._draw())
        raft = Raft(self.id, voters, **recovered)
        self.add(group, raft)
        return raft

    def add(self, group: int, raft: Raft) -> None:
        """Run a core that was made elsewhere; only by way of this object from now on.

        Raises:
            GroupError: there is such a group, `group` is no number for one, or the core is another
                node's.
        """
        self._check_group(group)
        if raft.id != self.id:
            raise GroupError(f"the core is of node {raft.id!r}, these groups are of {self.id!r}")
        if not self._free:
            before = len(self._slots)
            after = min(max(2 * before, 64), GROUPS_MAX)
            if before == after:
                raise GroupError(f"there are {before} groups, and may be no more")
            self._timers.grow(after)
            self._slots.extend([None] * (after - before))
            self._free.extend(range(after - 1, before - 1, -1))
        row = self._free.pop()
        slot = _Slot(group, row, raft, self.now - raft.now)
        self._slots[row] = slot
        self._by_group[group] = slot
        self._touch(slot)

    def remove(self, group: int) -> Raft:
        """Run it no longer; its core.  What it has already said still leaves.

        Nobody is told: a group that this node leads stands still until the others hear of it by a
        proposal.  Transfer leadership, or change the membership, before.

        Raises:
            GroupNotFound: there is no such group.
        """
        slot = self._slot(group)
        self._sync(slot)
        del self._by_group[group]
        self._slots[slot.row] = None
        self._free.append(slot.row)
        self._timers.stop(slot.row)
        slot.row = -1
        self._count_members(slot.membership, -1)
        return slot.raft

    def _check_group(self, group: int) -> None:
        if isinstance(group, bool) or not isinstance(group, int) or not 0 <= group <= GROUP_ID_MAX:
            raise GroupError(f"group {group!r} is no int in 0 ... {GROUP_ID_MAX}")
        if group in self._by_group:
            raise GroupError(f"group {group} exists already")

    def __getitem__(self, group: int) -> Raft:
        """The core of a group, with its clock at this tick; `ready()` will look at it.

        Whoever keeps the core asks for it again after each tick: its clock stands still meanwhile.

        Raises:
            GroupNotFound: there is no such group.
        """
        slot = self._slot(group)
        self._sync(slot)
        if not slot.touched:
            slot.touched = True
            self._touched.append(slot)
        return slot.raft

    def __contains__(self, group: object) -> bool:
        return group in self._by_group

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_group)

    def __len__(self) -> int:
        return len(self._by_group)

    def _slot(self, group: int) -> _Slot:
        slot = self._by_group.get(group)
        if slot is None:
            raise GroupNotFound(f"there is no group {group!r} on node {self.id!r}")
        return slot

    def add_peer(self, node: NodeId) -> None:
        """Listen to `node`, whether a group has it as a member or not: a node that joins knows
        nobody else."""
        if node != self.id:
            self._peer(check_id(node)).kept = True

    def _peer(self, node: NodeId) -> _Peer:
        peer = self._peers.get(node)
        if peer is None:
            peer = self._peers[node] = _Peer(node, self.now)
        return peer

    def _count_members(self, membership: Membership | None, by: int) -> None:
        if membership is not None:
            for node in membership.members:
                if node != self.id:
                    peer = self._peer(node)
                    peer.groups += by

    # --- time --------------------------------------------------------------------------------

    def tick(self) -> None:
        """One tick has passed, for all groups."""
        self.now += 1
        fired = self._timers.tick()
        if len(fired):
            slots = self._slots
            for row in fired.tolist():
                slot = slots[row]
                if slot is not None:
                    self._on_fired(slot)
        if self.now >= self._beat_due:
            self._beat_due = self.now + self.config.heartbeat_ticks
            for peer in list(self._peers.values()):
                peer.due = True
                if peer.alive and self.now - peer.heard >= self.config.election_ticks:
                    peer.alive = False
                    self._wake_groups_of(peer, True)

    def _on_fired(self, slot: _Slot) -> None:
        raft = slot.raft
        slot.armed = NEVER
        now = self.now - slot.origin
        if slot.waking:
            slot.waking = False
            if raft.quiesced:
                self._wake(slot)
                return
        if now < raft.deadline:
            # Moved away since the row was armed; or the group rests, and the row with it.
            if raft.deadline < NEVER:
                self._arm(slot)
            return
        if raft.role_number == LEADER and self._comes_to_rest(slot, now):
            self._touch(slot)
            return
        raft.tick(now - raft.now)
        self._touch(slot)

    def _comes_to_rest(self, slot: _Slot, now: int) -> bool:
        """Quiesce a group whose leader is about to send a heartbeat, if it has been idle."""
        raft = slot.raft
        last = raft.log.last
        if last != slot.idle_last:
            slot.idle_last = last
            slot.idle_from = now
            return False
        if now - slot.idle_from < self.quiesce_ticks or not self.quiesce_ticks:
            return False
        absent: list[NodeId] = []
        for node in raft.progress:
            peer = self._peers.get(node)
            if peer is None:
                return False
            if not peer.alive:
                absent.append(node)
            elif peer.hears != self.incarnation:
                return False
        return raft.quiesce(absent)

    def _sync(self, slot: _Slot) -> None:
        """Bring the core's clock up to this tick; nothing of it is due meanwhile."""
        raft = slot.raft
        behind = self.now - slot.origin - raft.now
        if behind:
            raft.tick(behind)

    def _arm(self, slot: _Slot) -> None:
        """Let the row fire at the core's deadline."""
        now = self.now - slot.origin
        ticks = min(max(slot.raft.deadline - now, 1), TIMER_TICKS_MAX)
        self._timers.set(slot.row, ticks)
        slot.armed = now + ticks

    def _touch(self, slot: _Slot) -> None:
        """The core was called: let `ready()` look at it, and the row follow it."""
        if not slot.touched:
            slot.touched = True
            self._touched.append(slot)
        self._settle(slot)

    def _settle(self, slot: _Slot) -> None:
        """Let the row follow what the core has done."""
        raft = slot.raft
        if raft.deadline < slot.armed:
            self._arm(slot)
        if raft.quiesced != slot.resting:
            slot.resting = raft.quiesced
            slot.idle_from = raft.now
        if raft.membership is not slot.membership:
            self._count_members(raft.membership, 1)
            self._count_members(slot.membership, -1)
            slot.membership = raft.membership

    def _draw(self) -> int:
        """Lehmer's generator, as in the core."""
        self._random = self._random * 48271 % RANDOM_MODULUS
        return self._random

    # --- rest: nodes are watched instead of groups -------------------------------------------

    def _wake_groups_of(self, peer: _Peer, died: bool) -> None:
        """The node died or came back: what rests, and it belongs to, shall wake soon.

        This looks at every group; it happens once for each death, not for each tick.
        """
        node = peer.id
        # Followers campaign when their timers might have fired; leaders wake before a follower's
        # timer does.
        follower_ticks = self.config.election_ticks
        leader_ticks = max(1, follower_ticks // 2)
        for slot in self._by_group.values():
            raft = slot.raft
            if not raft.quiesced or slot.waking:
                continue
            if raft.role_number == LEADER:
                if node in raft.progress:
                    self._wake_later(slot, leader_ticks)
            elif died and raft.leader == node:
                self._wake_later(slot, follower_ticks)

    def _wake_later(self, slot: _Slot, ticks_max: int) -> None:
        ticks = 1 + self._draw() % ticks_max
        slot.waking = True
        slot.armed = self.now - slot.origin + ticks
        self._timers.set(slot.row, ticks)

    def _wake(self, slot: _Slot) -> None:
        """The time that `_wake_later` drew has come."""
        raft = slot.raft
        self._sync(slot)
        raft.wake()
        if raft.role_number != LEADER and not self._outranked(raft):
            # Its leader's node died; the random part of the timeout has passed already.
            # Unless it cannot lead, or still protects a lease: then its timer runs.
            with suppress(MembershipError, ProposalRefused):
                raft.campaign()
        self._touch(slot)

    def _outranked(self, raft: Raft) -> bool:
        """Whether a voter that is alive should rather lead."""
        priorities = raft.config.priorities
        if not priorities:
            return False
        own = priorities.get(self.id, 0)
        for voter in raft.membership.voters:
            peer = self._peers.get(voter)
            if priorities.get(voter, 0) > own and peer is not None and peer.alive:
                return True
        return False

    def _wakes(self, slot: _Slot, message: Message) -> bool:
        """Wake a group that rests if `message` asks for it; whether the core may see it."""
        raft = slot.raft
        if isinstance(message, AppendReply):
            if raft.role_number == LEADER and (message.refused or message.match < raft.log.last):
                raft.wake()  # it lost what it had
        elif isinstance(message, RequestVote):
            raft.wake()
            if raft.role_number == LEADER:
                return True
            leader = raft.leader
            if (
                leader is not None
                and leader != message.sender
                and not message.transfer
                and message.term > raft.term
            ):
                peer = self._peers.get(leader)
                if peer is not None and peer.alive:
                    at = peer.pokes.next()
                    peer.pokes.numbers[at, 0] = slot.group
                    return False
        return True

    # --- what comes in -----------------------------------------------------------------------

    def propose(self, group: int, payloads: Sequence[bytes]) -> int:
        """See `Raft.propose`.

        Raises:
            GroupNotFound: there is no such group.
        """
        slot = self._slot(group)
        self._sync(slot)
        try:
            return slot.raft.propose(payloads)
        finally:
            self._touch(slot)

    def read_index(self, group: int, context: bytes) -> None:
        """See `Raft.read_index`.

        Raises:
            GroupNotFound: there is no such group.
        """
        slot = self._slot(group)
        self._sync(slot)
        slot.raft.read_index(context)
        self._touch(slot)

    def step(self, group: int, message: Message) -> None:
        """Take in one message that came outside of an envelope; see `Raft.step`.

        Raises:
            GroupNotFound: there is no such group.
        """
        self._step(self._slot(group), message)

    def _step(self, slot: _Slot, message: Message) -> None:
        self._sync(slot)
        if not slot.raft.quiesced or self._wakes(slot, message):
            slot.raft.step(message)
        self._touch(slot)

    def receive(self, envelope: Envelope) -> None:
        """Take in what another node's groups say.  One that no honest peer can have sent is counted
        in `rejected`, and changes nothing.

        Raises:
            SettingTypeError: it is no envelope at all.
        """
        if not isinstance(envelope, Envelope):
            raise SettingTypeError(f"receive() takes an Envelope, not {envelope!r}")
        problem = self._implausible(envelope)
        if problem is not None:
            self._reject(problem, 1)
            return
        peer = self._peers[envelope.sender]
        self._hear(peer, envelope.heartbeat)

        me = self.id
        sender = peer.id
        by_group = self._by_group
        strange = 0
        for group, message in envelope.messages:
            slot = by_group.get(group)
            if slot is None:
                strange += 1
            else:
                self._step(slot, message)
        rows = _numbers(envelope.beats)
        for at in range(rows.shape[0]):
            slot = by_group.get(rows[at, 0])
            if slot is None:
                strange += 1
            else:
                self._on_beat(
                    slot, peer, rows[at, 1], rows[at, 2], rows[at, 3], rows[at, 4], rows[at, 5]
                )
        rows = _numbers(envelope.replies)
        for at in range(rows.shape[0]):
            slot = by_group.get(rows[at, 0])
            if slot is None:
                strange += 1
            else:
                self._on_reply(slot, peer, rows[at, 1], rows[at, 2], rows[at, 3])
        for group, term, index in envelope.quiesces.tolist():
            slot = by_group.get(group)
            if slot is None:
                strange += 1
            else:
                self._step(slot, Quiesce(sender, me, term, index))
        for group in envelope.pokes[:, 0].tolist():
            slot = by_group.get(group)
            if slot is None:
                strange += 1
            elif slot.raft.quiesced and slot.raft.role_number == LEADER:
                self._sync(slot)
                slot.raft.wake()
                self._touch(slot)
        if strange:
            self._reject("unknown group", strange)

    def _on_beat(
        self,
        slot: _Slot,
        peer: _Peer,
        term: int,
        prev_index: int,
        prev_term: int,
        commit: int,
        round: int,
    ) -> None:
        self._sync(slot)
        if slot.raft.beat(peer.id, term, prev_index, commit, round):
            self._answer(slot, peer, term, prev_index, round)
        else:
            self._step(
                slot,
                append_entries(peer.id, self.id, term, prev_index, prev_term, commit, round, None),
            )

    def _on_reply(self, slot: _Slot, peer: _Peer, term: int, match: int, round: int) -> None:
        self._sync(slot)
        if not slot.raft.beat_answered(peer.id, term, match, round):
            self._step(slot, accepted(peer.id, self.id, term, match, round))

    def _answer(self, slot: _Slot, peer: _Peer, term: int, match: int, round: int) -> None:
        at = peer.replies.next()
        peer.replies.numbers[at, 0] = slot.group
        peer.replies.numbers[at, 1] = term
        peer.replies.numbers[at, 2] = match
        peer.replies.numbers[at, 3] = round

    def _hear(self, peer: _Peer, heartbeat: NodeHeartbeat) -> None:
        """An envelope came: `peer` is alive."""
        peer.heard = self.now
        peer.hears = heartbeat.hears
        if peer.incarnation != heartbeat.incarnation:
            # The first one that is heard may be its second life, too.
            peer.incarnation = heartbeat.incarnation
            peer.alive = True
            peer.due = True
            self._wake_groups_of(peer, True)
        elif not peer.alive:
            peer.alive = True
            peer.due = True
            self._wake_groups_of(peer, False)

    def _implausible(self, envelope: Envelope) -> str | None:
        """Why no honest peer can have sent it, or None."""
        if envelope.to != self.id:
            return "not addressed to this node"
        try:
            peer = self._peers.get(envelope.sender)
        except TypeError:
            peer = None
        if peer is None:
            return "unknown peer"
        heartbeat = envelope.heartbeat
        if (
            not isinstance(heartbeat, NodeHeartbeat)
            or type(heartbeat.incarnation) is not int
            or type(heartbeat.hears) is not int
            or not 1 <= heartbeat.incarnation <= INCARNATION_MAX
            or not 0 <= heartbeat.hears <= INCARNATION_MAX
        ):
            return "impossible heartbeat"
        if heartbeat.incarnation < peer.incarnation:
            return "of an earlier life"
        if not (
            _is_table(envelope.beats, len(BEAT_COLUMNS))
            and _is_table(envelope.replies, len(REPLY_COLUMNS))
            and _is_table(envelope.quiesces, len(QUIESCE_COLUMNS))
            and _is_table(envelope.pokes, 1)
        ):
            return "impossible table"
        messages = envelope.messages
        if not isinstance(messages, list) or len(messages) > ENVELOPE_ROWS_MAX:
            return "impossible messages"
        for item in messages:
            if (
                type(item) is not tuple
                or len(item) != 2
                or type(item[0]) is not int
                or not isinstance(item[1], Message)
            ):
                return "impossible messages"
            if item[1].sender != envelope.sender or item[1].to != self.id:
                return "message of another"
        return None

    def _reject(self, reason: str, count: int) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + count

    # --- what goes out -----------------------------------------------------------------------

    def ready(self) -> list[tuple[int, Ready]]:
        """The groups that have something to persist, apply or answer, each with what that is.

        Looks only at groups that were touched since the last call.  Their messages are not for the
        caller: see `take_messages()`.  A group may be there again before its last `Ready` was
        reported; see `ringleader.consensus.ready` for what that demands.
        """
        work: list[tuple[int, Ready]] = []
        touched = self._touched
        self._touched = []
        for slot in touched:
            slot.touched = False
            if slot.row < 0:
                continue  # removed
            raft = slot.raft
            self._settle(slot)
            messages = raft.take_messages()
            if messages is not None:
                if messages:
                    self._post(slot, messages)
            elif raft.has_ready:
                ready = raft.ready()
                if ready.early == len(ready.messages):
                    self._post(slot, ready.messages)
                    ready.messages = []
                else:
                    self._post(slot, ready.messages[: ready.early])
                    ready.messages = ready.messages[ready.early :]
                    ready.early = 0
                work.append((slot.group, ready))
                if raft.has_ready:
                    slot.touched = True
                    self._touched.append(slot)
            self._settle(slot)
        return work

    def advance(self, work: Iterable[tuple[int, Ready]]) -> None:
        """All of it is persisted and applied.

        Raises:
            MisuseError: see `Raft.advance`.
        """
        for group, ready in work:
            slot = self._by_group.get(group)
            if slot is not None:
                self._sync(slot)
                slot.raft.advance(ready)
                self._release(slot, ready)

    def persisted(self, work: Iterable[tuple[int, Ready]]) -> None:
        """What it persists is durable.

        Raises:
            MisuseError: see `Raft.persisted`.
        """
        for group, ready in work:
            slot = self._by_group.get(group)
            if slot is not None:
                self._sync(slot)
                slot.raft.persisted(ready)
                self._release(slot, ready)

    def applied(self, group: int, index: int) -> None:
        """The group's state machine has applied everything up to `index`.

        Raises:
            MisuseError: see `Raft.applied`.
        """
        slot = self._by_group.get(group)
        if slot is not None:
            slot.raft.applied(index)

    def _release(self, slot: _Slot, ready: Ready) -> None:
        if ready.messages:
            self._post(slot, ready.messages)
            ready.messages = []
        self._touch(slot)

    def _post(self, slot: _Slot, messages: list[Any]) -> None:
        """Put messages where they wait for `take_messages()`."""
        group = slot.group
        for message in messages:
            peer = self._peer(message.to)
            kind = type(message)
            if kind is AppendEntries and message.block is None:
                beat = message
                at = peer.beats.next()
                peer.beats.numbers[at, 0] = group
                peer.beats.numbers[at, 1] = beat.term
                peer.beats.numbers[at, 2] = beat.prev_index
                peer.beats.numbers[at, 3] = beat.prev_term
                peer.beats.numbers[at, 4] = beat.commit
                peer.beats.numbers[at, 5] = beat.round
            elif kind is AppendReply and not message.refused:
                reply = message
                self._answer(slot, peer, reply.term, reply.match, reply.round)
            elif kind is Quiesce:
                rest = message
                at = peer.quiesces.next()
                peer.quiesces.numbers[at, 0] = group
                peer.quiesces.numbers[at, 1] = rest.term
                peer.quiesces.numbers[at, 2] = rest.index
            else:
                peer.messages.append((group, message))

    def take_messages(self) -> dict[NodeId, Envelope]:
        """One envelope for each peer to which there is anything to say."""
        envelopes: dict[NodeId, Envelope] = {}
        gone: list[NodeId] = []
        for node, peer in self._peers.items():
            if peer.groups <= 0 and not peer.kept:
                gone.append(node)  # it left the last group; what it is owed still leaves
                peer.due = False
            if not peer.has_any():
                continue
            envelopes[node] = Envelope(
                self.id,
                node,
                NodeHeartbeat(self.incarnation, peer.incarnation if peer.alive else 0),
                peer.messages,
                peer.beats.take(),
                peer.replies.take(),
                peer.quiesces.take(),
                peer.pokes.take(),
            )
            peer.due = False
            peer.messages = []
        for node in gone:
            del self._peers[node]
        return envelopes

    # --- what an operator wants to see -------------------------------------------------------

    def status(self) -> GroupsStatus:
        """All groups in numbers.  Looks at each of them."""
        leaders = leaderless = quiesced = waking = 0
        for slot in self._by_group.values():
            raft = slot.raft
            leaders += raft.role_number == LEADER
            leaderless += raft.leader is None
            quiesced += raft.quiesced
            waking += raft.quiesced and slot.waking
        nodes = []
        for peer in self._peers.values():
            nodes.append(
                NodeStatus(
                    id=peer.id,
                    alive=peer.alive,
                    hears_us=peer.hears == self.incarnation,
                    incarnation=peer.incarnation,
                    silent_ticks=self.now - peer.heard,
                    groups=peer.groups,
                )
            )
        return GroupsStatus(
            id=self.id,
            incarnation=self.incarnation,
            ticks=self.now,
            groups=len(self._by_group),
            leaders=leaders,
            leaderless=leaderless,
            quiesced=quiesced,
            waking=waking,
            touched=len(self._touched),
            nodes=tuple(nodes),
            rejected=dict(self.rejected),
        )

    def __repr__(self) -> str:
        return f"<RaftGroups of {self.id!r}: {len(self._by_group)} groups, tick {self.now}>"


def _numbers(table: Table) -> Any:
    """A table whose cells are read one by one, as numbers of the language that reads them."""
    if not COMPILED:
        return table.astype(object)
    return table if table.flags.writeable else table.copy()


def _is_table(table: object, columns: int) -> bool:
    """Whether `table` holds rows of so many numbers that may be terms and indices."""
    return table is EMPTY[columns] or (
        type(table) is np.ndarray
        and table.dtype == np.uint64
        and table.ndim == 2
        and table.shape[1] == columns
        and table.shape[0] <= ENVELOPE_ROWS_MAX
        and (not table.size or int(table.max()) <= INDEX_MAX)
    )
