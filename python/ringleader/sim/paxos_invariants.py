"""Multi-Paxos' numbered invariants, and the checker that watches every node for them.

The checker keeps one record for each slot: which value was proposed in which ballot, and who has
accepted it durably (as a set of bits that only grows: an acceptor that accepts in a higher ballot
has still accepted in the lower one).  A value is chosen at the moment when the disks of a
replication quorum of the slot's configuration hold it in one ballot, whether or not any node knows.
From then on the ledger says what may be proposed, learned and applied there.

Of each node it keeps what it has handed to its disk and what the disk has confirmed: the ballot in
which each slot stands in the log, and those that stand aside.  Every check costs a constant for
each entry that changed, was proposed or was reported; no log is read again but after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ringleader.consensus.constants import NO_OP
from ringleader.consensus.log import CONTROL_BIT, Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.paxos.ballot import describe, number_of, owner_number
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
)
from ringleader.consensus.quorum import QuorumSystem, disjoint_pair
from ringleader.consensus.ready import HardState, Ready, Snapshot
from ringleader.sim.checker import (
    COMMON,
    Checker,
    Invariant,
    membership_of,
    read_block,
)
from ringleader.sim.clock import Clock
from ringleader.sim.paxos_memory import Memory, PaxosShadow, Phase1, Slot, Value, Write

_TERM = CONTROL_BIT - 1
#: No honest run comes near so many slots beyond those that there are.
_LEAP_MAX = 2**20

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        1,
        "ballots",
        "a ballot belongs to one proposer, who uses it in one life, and proposes one value for a "
        "slot in it",
        "Paxos Made Simple §2.2 (distinct proposals have distinct numbers), §2.5",
    ),
    Invariant(
        2,
        "promises",
        "a promise never goes back, nothing is accepted below it, and it tells all that was "
        "accepted in lower ballots after the slot that was asked about",
        "Paxos Made Simple §2.2 (P1a, phase 1b)",
    ),
    Invariant(
        3,
        "proposals",
        "a value is proposed for a slot in a ballot only if an election quorum of the slot's "
        "configuration has promised that ballot and reported no value there, or this one in the "
        "highest ballot of all that it reported",
        "Paxos Made Simple §2.2 (P2c); Howard, Malkhi and Spiegelman 2016",
    ),
    Invariant(
        4,
        "one value chosen",
        "a slot has at most one chosen value, and no other is proposed for it in a later ballot",
        "Paxos Made Simple §2.1, §2.2 (P2, P2b)",
    ),
    Invariant(
        5,
        "state machine safety",
        "all nodes apply the same values: each once a life, in the order of the slots, no gap "
        "skipped, none before it is chosen",
        "Paxos Made Simple §3; Paxos Made Moderately Complex §2.1 (R1-R4)",
    ),
    Invariant(
        6,
        "durability",
        "nothing is said that is not durable: a promise, an acceptance that a message claims; what "
        "was durable is there after a restart, and nothing that was never written",
        "Paxos Made Simple §2.5 (stable storage)",
    ),
    Invariant(
        7,
        "learning",
        "a node knows only chosen slots to be chosen, and holds their values under ballots not "
        "below those that they were chosen in; its commit index never goes back nor beyond its log",
        "Paxos Made Simple §2.3; Paxos Made Moderately Complex §2.1",
    ),
    Invariant(
        8,
        "configurations",
        "a slot is governed by the last configuration chosen `window` slots before it or earlier, "
        "only its voters count, and no slot beyond the window is proposed",
        "Paxos Made Simple §3 (alpha); Lamport, Malkhi and Zhou, Reconfiguring a State Machine",
    ),
    Invariant(
        9,
        "reads",
        "a read is never older than a slot that some node knew to be chosen before it began, and "
        "so than a write that was acknowledged",
        "Paxos Made Live §5.2 (master leases); Raft dissertation §6.4",
    ),
    Invariant(
        10,
        "messages",
        "what goes out is well-formed and true: sent by whom it names, proposals by the ballot's "
        "owner after its phase 1",
        "Paxos Made Moderately Complex §2.2-2.3",
    ),
    Invariant(
        11,
        "no disruption",
        "a probe changes no promise, and with pre-vote a node prepares only after an election "
        "quorum said that it would promise, or its leader told it to",
        "Raft dissertation §9.6, §3.10",
    ),
    Invariant(
        12,
        "liveness",
        "once all is healed, a leader exists, every client is answered and all members apply the "
        "same slots, within a bound of virtual time",
        "Paxos Made Simple §2.4",
    ),
    Invariant(
        13,
        "linearizability",
        "the clients' history is one that a single machine could have given",
        "Herlihy and Wing",
    ),
    *COMMON,
    Invariant(
        17,
        "memory",
        "what a node has accepted durably, and neither covers by a snapshot nor holds as chosen, "
        "stays in its log or aside, in that ballot or a higher one",
        "Paxos Made Simple §2.2 (phase 1b reports the highest), §2.5",
    ),
    Invariant(
        18,
        "quorum systems",
        "every election quorum of a configuration meets every replication quorum of it",
        "Howard, Malkhi and Spiegelman, Flexible Paxos, 2016, §3",
    ),
)


class PaxosChecker(Checker[PaxosShadow]):
    """See `Checker`."""

    invariants = INVARIANTS
    place = "slot"

    def __init__(
        self,
        voters: Membership,
        clock: Clock,
        config: Config,
        *,
        describe: Callable[[tuple[Any, ...]], str] = repr,
        elected: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(voters, clock, config, describe=describe, elected=elected)
        self.window = config.window
        self._quorum = config.quorum
        self._systems: dict[tuple[NodeId, ...], QuorumSystem] = {}
        self._held: dict[tuple[Membership, int, bool], bool] = {}
        #: By number; [0] stands for none.
        self.slots: list[Slot] = [Slot()]
        #: All slots up to it are chosen.
        self.chosen = 0
        #: All slots up to it are known to be chosen by some node.
        self.known = 0
        #: (slot, membership) that are chosen, ascending; slot 0: the first.
        self.configs: list[tuple[int, Membership]] = [(0, voters)]
        #: Every configuration that was ever proposed.
        self.proposed: dict[Membership, None] = {voters: None}
        #: Ballot -> the node and its life that asked for promises.
        self.prepared: dict[int, tuple[NodeId, int]] = {}
        #: (ballot, whom) -> the highest commit index of a question for its promise.
        self.asked: dict[tuple[int, NodeId], int] = {}
        self.phase_1: dict[int, Phase1] = {}
        #: Ballot -> who said that it would promise.
        self.would: dict[int, int] = {}
        #: Ballots for which the leader before asked.
        self.transfers: set[int] = set()
        self._sent |= {
            Prepare: self._sent_prepare,
            Promise: self._sent_promise,
            Nack: self._sent_nack,
            Accept: self._sent_accept,
            Accepted: self._sent_accepted,
            Fetch: self._sent_fetch,
            Learn: self._sent_learn,
            SnapshotPart: self._sent_snapshot_part,
        }

    def _new_shadow(self, node: NodeId) -> PaxosShadow:
        return PaxosShadow(node)

    @property
    def committed_last(self) -> int:
        return self.known

    def configurations(self) -> Iterable[Membership]:
        # A slot of the first of them may be learned as late as that.
        return list(self.proposed)

    # --- quorums -----------------------------------------------------------------------------

    def config_of(self, slot: int) -> Membership | None:
        """The configuration that governs a slot; None: what decides it is not chosen yet."""
        if slot - self.window > self.chosen:
            return None
        for index, membership in reversed(self.configs):
            if not index or index + self.window <= slot:
                return membership
        raise AssertionError("the first configuration governs from the first slot on")

    def _is_quorum(self, membership: Membership, mask: int, *, elects: bool) -> bool:
        """Whether those in `mask` can elect, or commit, under `membership`."""
        key = (membership, mask, elects)
        found = self._held.get(key)
        if found is None:
            system = self._system(membership.voters)
            holders = {node for node in membership.voters if mask >> int(node) & 1}
            found = system.can_elect(holders) if elects else system.has_quorum(holders)
            self._held[key] = found
        return found

    def _system(self, voters: tuple[NodeId, ...]) -> QuorumSystem:
        system = self._systems.get(voters)
        if system is None:
            system = self._systems[voters] = self._quorum(voters)
            if pair := disjoint_pair(system.election, system.replication):
                self.violate(
                    18,
                    None,
                    f"{sorted(pair[0])} elect and {sorted(pair[1])} commit in {system!r}",
                )
        return system

    # --- lives -------------------------------------------------------------------------------

    def loaded(self, node: NodeId, log: Any, aside: Iterable[Block]) -> None:
        memory = Memory()
        entries: list[tuple[int, int, bytes]] = []
        base, last = log.base, log.last
        memory.words = [0] * (base + 1)
        if last > base:
            words = log.terms.tolist()
            memory.words += words
            entries += [(slot, word, bytes(log[slot])) for slot, word in enumerate(words, base + 1)]
        for block in aside:
            for word, (slot, payload) in zip(*read_block(block), strict=True):
                memory.aside.setdefault(slot, set()).add(word)
                entries.append((slot, word, payload))
        self.shadow(node).loaded = (memory, entries, base)

    def started(
        self, node: NodeId, core: Any, hard_state: HardState, snapshot: Snapshot | None, log: Any
    ) -> None:
        s = self.shadow(node)
        snapshot_index = snapshot.index if snapshot is not None else 0
        self._check_hard_state(s, hard_state, snapshot_index)
        memory, entries, base = s.loaded
        if base > snapshot_index or snapshot_index > self.chosen:
            self.violate(
                6,
                node,
                f"its log begins after {base} with a snapshot at {snapshot_index}; chosen are the "
                f"slots up to {self.chosen}",
            )
        under_way = {item for _, write in s.pending for item in write.aside}
        for _, write in s.pending:
            under_way.update(enumerate(write.words, write.first))
        slots = self.slots
        for slot, word, payload in entries:
            ballot = word & _TERM
            if slot >= len(slots) or (
                not slots[slot].votes.get(ballot, 0) & s.bit and (slot, word) not in under_way
            ):
                self.violate(
                    6, node, f"finds slot {slot} in ballot {describe(ballot)}; it never wrote that"
                )
            if slots[slot].values[ballot] != (word > _TERM, payload):
                self.violate(6, node, f"finds {payload!r} in slot {slot}; it never wrote that")
        for slot in s.durable.slots(snapshot_index):
            if not self._remembers(memory, slot, s.durable.highest(slot)):
                self.violate(
                    17,
                    node,
                    f"had accepted slot {slot} in ballot {describe(s.durable.highest(slot))} and "
                    f"finds {describe(memory.highest(slot))} after a restart",
                )
        if s.pending:
            self.coverage["restarts with writes under way"] += 1
            if any(not memory.holds(slot, word) for slot, word in under_way):
                self.coverage["restarts that lost unsynced writes"] += 1
        self._begin_life(s, core, hard_state, snapshot_index)
        s.durable = memory
        s.written = memory.copy()
        s.promise = hard_state.term
        for slot, word, _ in entries:  # they may have become durable without being confirmed
            self._vote(s, slot, word)
        s.last = len(memory.words) - 1
        s.commit = snapshot_index
        self._check_committed(s, core.commit)

    def died(self, node: NodeId, core: Any) -> None:
        """What it had proposed and had not sent, nobody has."""

    # --- what is proposed --------------------------------------------------------------------

    def _slot(self, node: NodeId, slot: int) -> Slot:
        slots = self.slots
        if slot >= len(slots):
            if slot > len(slots) + _LEAP_MAX:
                self.violate(8, node, f"comes up with slot {slot}; there are {len(slots) - 1}")
            slots += [Slot() for _ in range(slot + 1 - len(slots))]
        return slots[slot]

    def _propose(
        self, s: PaxosShadow, core: Any, slot: int, ballot: int, value: Value, record: Slot
    ) -> None:
        """The owner of `ballot` proposes a value for a slot for the first time."""
        name = f"proposes {value[1]!r} for slot {slot} in ballot {describe(ballot)}"
        known = record.values.get(ballot)
        if known is not None and known != value:
            self.violate(1, s.id, f"{name}, where {known[1]!r} is proposed")
        if record.value is not None and record.value != value and ballot > record.ballot:
            self.violate(4, s.id, f"{name}; {record.value[1]!r} is chosen there")
        if slot > core.commit + self.window:
            self.violate(
                8, s.id, f"{name}; its commit index is {core.commit}, the window {self.window}"
            )
        membership = self.config_of(slot)
        if membership is None:
            self.violate(8, s.id, f"{name}; who governs it is not decided")
        phase_1 = self.phase_1[ballot]
        if slot > phase_1.last:
            if membership not in phase_1.free:
                if not self._is_quorum(membership, phase_1.mask, elects=True):
                    self.violate(
                        3,
                        s.id,
                        f"{name} by the promises of {_nodes(phase_1.mask)} of {membership!r}",
                    )
                phase_1.free.add(membership)
        else:
            self._check_reports(s, name, slot, ballot, value, record, membership)
        if value[0] and (after := membership_of(value[1])) is not None and known is None:
            self._check_change(s, core, name, slot, after)
        if any(other < ballot for other in record.proposed):
            self.coverage["slots proposed again"] += 1
        record.values[ballot] = value
        record.proposed.add(ballot)
        if slot == core.commit + self.window:
            self.coverage["window full"] += 1

    def _check_reports(
        self,
        s: PaxosShadow,
        name: str,
        slot: int,
        ballot: int,
        value: Value,
        record: Slot,
        membership: Membership,
    ) -> None:
        """P2c, exactly: those who reported nothing above the ballot that the value was taken from
        are an election quorum (invariant 3)."""
        taken = 0
        lowest: dict[NodeId, int] = {}
        for node, reports in self.phase_1[ballot].reports.items():
            ballots = [report.get(slot, 0) for report in reports]
            lowest[node] = min(ballots)
            for reported in ballots:
                if reported > taken and record.values.get(reported) == value:
                    taken = reported
        mask = 0
        for node, reported in lowest.items():
            if reported <= taken:
                mask |= 1 << int(node)
        if not self._is_quorum(membership, mask, elects=True):
            told = ", ".join(
                f"{node}: {record.values[reported][1]!r} in {describe(reported)}"
                if reported
                else f"{node}: none"
                for node, reported in sorted(lowest.items(), key=str)
            )
            self.violate(3, s.id, f"{name}; reported were {told}, and voters are {membership!r}")
        if not taken and value == (True, NO_OP):
            self.coverage["gaps filled with no-ops"] += 1

    def _check_change(
        self, s: PaxosShadow, core: Any, name: str, slot: int, after: Membership
    ) -> None:
        """A change of membership is proposed for the first time in this ballot (invariant 8)."""
        self.proposed[after] = None
        if after.joint or after.witnesses or not after.voters:
            self.violate(8, s.id, f"{name}: {after!r} is no configuration of this group")
        self._system(after.voters)
        if self.slots[slot].values:
            return  # proposed again
        self.coverage["configurations"] += 1
        if after.learners:
            self.coverage["members with learners"] += 1
        first = max(1, slot - self.window + 1)
        for at, _ in reversed(self.configs):
            if first <= at < slot and at <= core.commit:  # of a later ballot it need not know
                self.violate(8, s.id, f"{name}, while that of slot {at} is not in force yet")

    def _accept(
        self,
        s: PaxosShadow,
        core: Any,
        words: list[int],
        items: list[tuple[int, bytes]],
        floor: int,
    ) -> None:
        """A node accepts entries, moves them, or learns them; `floor` is what it had promised."""
        bit = s.bit
        written = s.written
        for word, (slot, payload) in zip(words, items, strict=True):
            ballot = word & _TERM
            value = (word > _TERM, payload)
            record = self._slot(s.id, slot)
            known = record.values.get(ballot)
            learned = record.value is not None and record.value == value and ballot >= record.ballot
            if known is None:
                leads = core.role == "leader" and core.term == ballot
                if learned and not leads:
                    record.values[ballot] = value  # another stamped it so when it learned it
                elif self.leaders.get(ballot) == s.id:
                    self._propose(s, core, slot, ballot, value, record)
                else:
                    self.violate(
                        7,
                        s.id,
                        f"accepts {payload!r} for slot {slot} in ballot {describe(ballot)}, where "
                        "it was neither proposed nor chosen",
                    )
            elif known != value:
                self.violate(
                    1,
                    s.id,
                    f"accepts {payload!r} for slot {slot} in ballot {describe(ballot)}, where "
                    f"{known[1]!r} was proposed",
                )
            if learned:
                continue
            if ballot < floor:
                if not record.votes.get(ballot, 0) & bit and not written.holds(slot, word):
                    self.violate(
                        2,
                        s.id,
                        f"accepts slot {slot} in ballot {describe(ballot)}, and has promised "
                        f"{describe(floor)}",
                    )
            elif ballot > s.promise:
                self.violate(
                    2,
                    s.id,
                    f"accepts slot {slot} in ballot {describe(ballot)}, and promises "
                    f"{describe(s.promise)} only",
                )

    # --- what is chosen ----------------------------------------------------------------------

    def _vote(self, s: PaxosShadow, slot: int, word: int) -> None:
        """A node holds an entry durably."""
        ballot = word & _TERM
        record = self.slots[slot]
        mask = record.votes.get(ballot, 0)
        if mask & s.bit:
            return
        record.votes[ballot] = mask = mask | s.bit
        if record.value is None or ballot < record.ballot:
            membership = self.config_of(slot)
            if membership is not None and self._is_quorum(membership, mask, elects=False):
                self._choose(slot, record, ballot)

    def _choose(self, slot: int, record: Slot, ballot: int) -> None:
        value = record.values[ballot]
        if record.value is not None and record.value != value:
            self.violate(
                4,
                None,
                f"slot {slot}: {value[1]!r} is chosen in ballot {describe(ballot)}, and "
                f"{record.value[1]!r} in {describe(record.ballot)}",
            )
        for other, proposed in record.values.items():
            if other > ballot and proposed != value:
                self.violate(
                    4,
                    None,
                    f"slot {slot}: {value[1]!r} is chosen in ballot {describe(ballot)}, and in the "
                    f"later {describe(other)} {proposed[1]!r} is proposed",
                )
        first = record.value is None
        record.value, record.ballot = value, ballot
        if not first:
            return
        if slot > self.chosen + 1:
            self.coverage["slots chosen past a gap"] += 1
            return
        slots = self.slots
        while slot < len(slots) and (chosen := slots[slot].value) is not None:
            self.chosen = slot
            if chosen[0] and (membership := membership_of(chosen[1])) is not None:
                before = self.configs[-1][0]
                if before and slot < before + self.window:
                    self.coverage["configurations void"] += 1  # of two leaders; the first counts
                else:
                    self.configs.append((slot, membership))
                    self.coverage["configurations chosen"] += 1
            slot += 1

    def _remembers(self, memory: Memory, slot: int, ballot: int) -> bool:
        """Whether `memory` still has what was accepted for a slot in a ballot: it, a higher one, or
        what was chosen."""
        if memory.highest(slot) >= ballot:
            return True
        record = self.slots[slot]
        if record.value is None or slot >= len(memory.words):
            return False
        stamp = memory.words[slot] & _TERM
        return stamp >= record.ballot and record.values.get(stamp) == record.value

    # --- the disk ----------------------------------------------------------------------------

    def wrote(self, node: NodeId, core: Any, ready: Ready) -> None:
        s = self.shadows[node]
        floor = s.promise
        if ready.hard_state is not None:
            if ready.hard_state.term < floor:
                self.violate(
                    2,
                    node,
                    f"promises {describe(ready.hard_state.term)} after {describe(floor)}",
                )
            s.promise = ready.hard_state.term
        if ready.chunks:
            self.coverage["snapshot chunks kept"] += 1
        if not ready.writes:
            return
        write = Write(ready)
        s.pending.append((ready, write))
        block = ready.block
        if block is None and ready.aside is None and ready.snapshot is None:
            return
        self._learn_leader(s, core)
        for kept in ready.aside or ():
            words, items = read_block(kept)
            self._accept(s, core, words, items, floor)
            write.aside += [(item[0], word) for word, item in zip(words, items, strict=True)]
        if write.aside:
            self.coverage["entries set aside"] += 1
        if ready.snapshot is not None:
            self._check_snapshot(s, 5, ready.snapshot)
            self.coverage["snapshots installed"] += 1
        if block is not None:
            last = max(write.snapshot, 0 if write.snapshot else len(s.written.words) - 1)
            if block.first > last + 1:
                self.violate(
                    17, node, f"writes slots from {block.first} on; its log ends at {last}"
                )
            if block.first <= s.commit:
                self.violate(
                    7, node, f"overwrites slot {block.first}; all up to {s.commit} are chosen"
                )
            write.first = block.first
            write.words, items = read_block(block)
            self._accept(s, core, write.words, items, floor)
            aside = s.written.aside
            if aside and any(
                word in aside.get(item[0], ())
                for word, item in zip(write.words, items, strict=True)
            ):
                self.coverage["entries back from aside"] += 1
        s.written.put(write)
        s.last = len(s.written.words) - 1

    def _check_snapshot(self, s: PaxosShadow, number: int, snapshot: Snapshot) -> None:
        """It is that of a chosen slot, and its configuration the one that comes after it."""
        index, membership = snapshot.index, snapshot.membership
        if index > self.chosen or snapshot.term < self.slots[index].ballot:
            self.violate(
                number, s.id, f"{snapshot!r}: chosen are the slots up to {self.chosen} only"
            )
        latest = [found for at, found in self.configs if at <= index][-1]
        if membership != self.config_of(index + 1) or membership != latest:
            self.violate(8, s.id, f"{snapshot!r}: after it comes {latest!r}")

    def _synced(self, s: PaxosShadow, ready: Ready, pending: Any) -> None:
        _, write = pending
        if ready.hard_state is not None:
            s.durable_term, s.durable_vote = ready.hard_state.term, ready.hard_state.vote
        durable = s.durable
        gone = durable.put(write)
        s.snapshot = max(s.snapshot, write.snapshot)
        for slot, word in write.aside:
            self._vote(s, slot, word)
        for slot, word in enumerate(write.words, write.first):
            self._vote(s, slot, word)
        for slot, word in gone:
            if slot > s.snapshot and word and not self._remembers(durable, slot, word & _TERM):
                self.violate(
                    17,
                    s.id,
                    f"had accepted slot {slot} in ballot {describe(word & _TERM)} and keeps "
                    f"{describe(durable.highest(slot))}",
                )

    # --- the network -------------------------------------------------------------------------

    def _sent_prepare(self, s: PaxosShadow, core: Any, message: Prepare) -> None:
        ballot = message.term
        if owner_number(ballot) != number_of(s.id):
            self.violate(1, s.id, f"sends {message!r}: the ballot is not its own")
        if message.commit > self.chosen:
            self.violate(10, s.id, f"sends {message!r}; chosen are {self.chosen} slots")
        if message.probe:
            s.probe = ballot
            self.coverage["probes asked for"] += 1
            return
        if ballot > s.durable_term:
            self._not_durable(s, message)
        whom = (ballot, message.to)
        self.asked[whom] = max(self.asked.get(whom, 0), message.commit)
        self.coverage["prepares sent"] += 1
        if ballot in self.prepared:
            if self.prepared[ballot] != (s.id, s.life):
                self.violate(1, s.id, f"sends {message!r}: it used the ballot in an earlier life")
            return
        self.prepared[ballot] = (s.id, s.life)
        if message.asked_in:
            if not any(node == s.id and term < ballot for term, node in self.told):
                self.violate(11, s.id, f"sends {message!r}, and no leader told it to")
            self.transfers.add(ballot)
        elif self.pre_vote and core.role == "candidate" and core.term == ballot:
            would = self.would.get(s.probe, 0) | s.bit
            membership = self.config_of(message.commit + 1)
            if membership is not None and not self._is_quorum(membership, would, elects=True):
                self.violate(
                    11,
                    s.id,
                    f"prepares {describe(ballot)}, though only {_nodes(would)} of {membership!r} "
                    "would have promised",
                )

    def _sent_promise(self, s: PaxosShadow, core: Any, message: Promise) -> None:
        ballot = message.term
        if message.probe:
            self.would[ballot] = self.would.get(ballot, 0) | s.bit
            self.coverage["probes granted"] += 1
            return
        if ballot > s.durable_term:
            self._not_durable(s, message)
        if message.part == 0:
            s.parts = (ballot, message.attempt, [])
        blocks = s.parts[2]
        if s.parts[:2] != (ballot, message.attempt):
            self.violate(10, s.id, f"sends {message!r}; the parts before it are of another answer")
        if message.block is not None:
            blocks.append(message.block)
        if message.part < message.parts - 1:
            return
        if message.parts > 1:
            self.coverage["prepares answered in parts"] += 1
        report: dict[int, int] = {}
        slots = self.slots
        for block in blocks:
            for word, (slot, payload) in zip(*read_block(block), strict=True):
                accepted = word & _TERM
                if slot >= len(slots) or not slots[slot].votes.get(accepted, 0) & s.bit:
                    self.violate(
                        6,
                        s.id,
                        f"reports slot {slot} in ballot {describe(accepted)} to "
                        f"{describe(ballot)}; that is not durable",
                    )
                if slots[slot].values[accepted] != (word > _TERM, payload):
                    self.violate(10, s.id, f"reports {payload!r} in slot {slot}; it was another")
                if accepted > report.get(slot, 0):
                    report[slot] = accepted
        after = self.asked.get((ballot, s.id), 0)
        for slot in s.durable.slots(after):
            record = slots[slot]
            highest = max(
                (other for other, mask in record.votes.items() if other < ballot and mask & s.bit),
                default=0,
            )
            told = report.get(slot, 0)
            if told < highest and (
                record.value is None
                or told < record.ballot
                or record.values[told] != record.value
                or not told
            ):
                # Superseded in the ballot itself: its owner has proposed there already.
                if ballot in record.proposed:
                    continue
                self.violate(
                    2,
                    s.id,
                    f"promises {describe(ballot)} and reports {describe(told)} for slot {slot}, "
                    f"where it has accepted {describe(highest)}",
                )
        self._phase_1(ballot).add(int(s.id), report)

    def _phase_1(self, ballot: int) -> Phase1:
        found = self.phase_1.get(ballot)
        if found is None:
            found = self.phase_1[ballot] = Phase1()
        return found

    def _sent_nack(self, s: PaxosShadow, core: Any, message: Nack) -> None:
        if message.term > s.durable_term:
            self._not_durable(s, message)
        if message.commit > self.chosen:
            self.violate(10, s.id, f"sends {message!r}; chosen are {self.chosen} slots")
        higher = message.term > message.ballot
        self.coverage[
            "refused for a higher promise" if higher else "refused for what is chosen"
        ] += 1

    def _sent_accept(self, s: PaxosShadow, core: Any, message: Accept) -> None:
        ballot = message.term
        if ballot > s.durable_term:
            self._not_durable(s, message)
        if self.leaders.get(ballot) != s.id:
            self._learn_leader(s, core)
            if self.leaders.get(ballot) != s.id:
                self.violate(10, s.id, f"sends {message!r} without having won its phase 1")
        if message.commit > self.chosen:
            self.violate(7, s.id, f"sends {message!r}; chosen are {self.chosen} slots")
        block = message.block
        if block is None or block is s.shown:
            return
        for word, (slot, payload) in zip(*read_block(block), strict=True):
            record = self._slot(s.id, slot)
            value = (word > _TERM, payload)
            if ballot not in record.proposed:
                self._propose(s, core, slot, ballot, value, record)
            elif record.values[ballot] != value:
                self.violate(
                    1,
                    s.id,
                    f"proposes {payload!r} for slot {slot} in ballot {describe(ballot)}, and "
                    f"before {record.values[ballot][1]!r}",
                )
        s.shown = block

    def _sent_accepted(self, s: PaxosShadow, core: Any, message: Accepted) -> None:
        ballot, first, last = message.term, message.first, message.last
        if ballot > s.durable_term:
            self._not_durable(s, message)
        slots = self.slots
        if last >= len(slots):
            self.violate(10, s.id, f"sends {message!r}; there are {len(slots) - 1} slots")
        if last:
            # Mostly the same as last time, and some more.
            of, from_first, to_last = s.claimed
            grown = of == ballot and from_first <= first <= to_last + 1
            for slot in range(max(first, to_last + 1) if grown else first, last + 1):
                if not slots[slot].votes.get(ballot, 0) & s.bit and not self._has_chosen(s, slot):
                    self.violate(6, s.id, f"sends {message!r}; slot {slot} is not durable in it")
            s.claimed = (ballot, from_first if grown else first, max(last, to_last if grown else 0))
            if first > len(s.durable.words):
                self.coverage["accepted past a gap"] += 1
        if message.commit and not self._has_chosen(s, message.commit):
            self.violate(6, s.id, f"sends {message!r}; that is not durable, or not chosen")

    def _has_chosen(self, s: PaxosShadow, slot: int) -> bool:
        """Whether a node's disk holds what was chosen for a slot, as far as the ledger goes."""
        if slot > self.chosen:
            return False
        if slot <= s.snapshot:
            return True
        words = s.durable.words
        record = self.slots[slot]
        return slot < len(words) and record.values.get(words[slot] & _TERM) == record.value

    def _sent_fetch(self, s: PaxosShadow, core: Any, message: Fetch) -> None:
        self.coverage["entries fetched"] += 1

    def _sent_learn(self, s: PaxosShadow, core: Any, message: Learn) -> None:
        if message.commit > self.chosen:
            self.violate(7, s.id, f"sends {message!r}; chosen are {self.chosen} slots")
        for word, (slot, payload) in zip(*read_block(message.block), strict=True):
            record = self.slots[slot]
            if record.value != (word > _TERM, payload) or word & _TERM < record.ballot:
                self.violate(
                    7,
                    s.id,
                    f"teaches {payload!r} in slot {slot} in ballot {describe(word & _TERM)}; "
                    f"chosen is {record.value!r} in {describe(record.ballot)}",
                )
        self.coverage["entries learned"] += 1

    def _sent_snapshot_part(self, s: PaxosShadow, core: Any, message: SnapshotPart) -> None:
        if message.index > s.snapshot:
            self.violate(6, s.id, f"sends {message!r}; its snapshot is at {s.snapshot}")
        if message.offset + len(message.data) > message.total_bytes:
            self.violate(10, s.id, f"sends {message!r}: more than there is")
        if message.offset == 0:
            membership = Membership.from_bytes(message.membership)
            snapshot: Any = Snapshot(
                message.index, message.ballot, membership, _NO_SOURCE, message.checksum
            )
            self._check_snapshot(s, 10, snapshot)
        self.coverage["snapshot chunks sent"] += 1

    # --- what the node says of itself --------------------------------------------------------

    def after(self, node: NodeId, core: Any) -> None:
        s = self.shadows[node]
        term = core.term
        if term != s.term:
            if term < s.term:
                self.violate(
                    2, node, f"its promise goes back from {describe(s.term)} to {describe(term)}"
                )
            s.term = term
            s.leads = 0
            s.role = ""
        if core.vote != s.vote:
            s.vote = core.vote
            if s.vote is not None and number_of(s.vote) != owner_number(term):
                self.violate(1, node, f"takes {s.vote!r} for the owner of {describe(term)}")
        moved = core.commit != s.commit
        if moved and core.commit < s.commit:
            self.violate(7, node, f"its commit index goes back from {s.commit} to {core.commit}")
        if core.role != s.role:
            self._learn_role(s, core)
        if core.has_ready:
            return  # looked at again once its log was handed to the disk
        if moved:
            self._check_committed(s, core.commit)
        if moved or core.membership is not s.membership:
            self._learn_membership(s, core)
        if core.stable != s.stable:
            self._learn_stable(s, core.stable, s.durable.words, s.written.words)
        if core.log.last != s.last:
            self.violate(
                6,
                node,
                f"its log ends at {core.log.last}, but what it handed to the disk at {s.last}",
            )

    def _check_leader(self, s: PaxosShadow, core: Any) -> None:
        ballot = core.term
        if owner_number(ballot) != number_of(s.id):
            self.violate(1, s.id, f"leads ballot {describe(ballot)}, which is not its own")
        if ballot in self.leaders:
            self.violate(1, s.id, f"leads ballot {describe(ballot)} for a second time")
        phase_1 = self._phase_1(ballot)
        if s.durable_term >= ballot:
            memory = s.written
            phase_1.add(
                int(s.id), {slot: memory.highest(slot) for slot in memory.slots(core.commit)}
            )
        for slot, membership in self.configs:
            last = core.commit + self.window
            in_force = slot <= core.commit and (not slot or slot + self.window <= last)
            coming = [at for at, _ in self.configs if slot < at <= core.commit]
            replaced = any(at + self.window <= core.commit + 1 for at in coming)
            if (
                in_force
                and not replaced
                and not self._is_quorum(membership, phase_1.mask, elects=True)
            ):
                self.violate(
                    3,
                    s.id,
                    f"leads ballot {describe(ballot)} by the promises of {_nodes(phase_1.mask)} of "
                    f"{membership!r}",
                )
        self.leaders[ballot] = s.id

    def _was_told(self, s: PaxosShadow, term: int) -> bool:
        return term in self.transfers

    def _check_committed(self, s: PaxosShadow, commit: int) -> None:
        """A node takes the slots up to `commit` for chosen (invariant 7)."""
        words = s.written.words
        if commit > self.chosen:
            self.violate(7, s.id, f"commits {commit}; chosen are the slots up to {self.chosen}")
        if commit >= len(words):
            self.violate(7, s.id, f"commits {commit}; its log ends at {len(words) - 1}")
        slots = self.slots
        covered = max([s.commit, s.snapshot, *(write.snapshot for _, write in s.pending)])
        for slot in range(covered + 1, commit + 1):
            record = slots[slot]
            stamp = words[slot] & _TERM
            if record.values.get(stamp) != record.value:
                self.violate(
                    7,
                    s.id,
                    f"commits slot {slot} and holds {record.values.get(stamp)!r}; chosen is "
                    f"{record.value!r}",
                )
            if stamp < record.ballot:
                self.violate(
                    7,
                    s.id,
                    f"commits slot {slot} in ballot {describe(stamp)}, chosen in "
                    f"{describe(record.ballot)}",
                )
        s.commit = commit
        if commit > self.known:
            self.known = commit

    def _learn_membership(self, s: PaxosShadow, core: Any) -> None:
        s.membership = membership = core.membership
        expected = self.config_of(core.commit + 1)
        # A node that joins knows none until one is taken up from the log.
        unknown = not membership.voters and expected == self.initial
        if expected != membership and not unknown:
            self.violate(
                8,
                s.id,
                f"{membership!r} is in force for slot {core.commit + 1}; chosen was {expected!r}",
            )

    # --- the state machine -------------------------------------------------------------------

    def applied(
        self, node: NodeId, core: Any, first: int, last: int, items: list[tuple[int, bytes]]
    ) -> int:
        s = self.shadows[node]
        if first != s.applied + 1:
            self.violate(5, node, f"applies {first}..{last} after {s.applied}")
        if last > self.chosen or last > core.commit:
            self.violate(
                5,
                node,
                f"applies {last}; its commit index is {core.commit}, chosen are the slots up to "
                f"{self.chosen}",
            )
        for slot in range(first, last + 1):
            if not self._has_chosen(s, slot):
                self.violate(6, node, f"applies {slot}, which is not durable here")
        return self._apply(s, first, last, items)

    def _command(self, index: int) -> tuple[int, bytes] | None:
        value = self.slots[index].value
        assert value is not None
        return None if value[0] else (index, value[1])


class _NoSource:
    """The bytes of a snapshot that only its name is known of."""

    total_bytes = 0

    def read(self, offset: int, count: int) -> bytes:
        return b""


_NO_SOURCE = _NoSource()


def _nodes(mask: int) -> list[int]:
    """The nodes in a set of bits."""
    return [node for node in range(mask.bit_length()) if mask >> node & 1]
