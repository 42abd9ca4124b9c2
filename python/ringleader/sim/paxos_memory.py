"""What the checker of Multi-Paxos remembers: of each slot what was proposed and chosen, of each
ballot what was promised to it, of each node what its log and its disk hold.
"""

from __future__ import annotations

from ringleader.consensus.log import CONTROL_BIT, Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.ready import Ready
from ringleader.sim.checker import BaseShadow

_TERM = CONTROL_BIT - 1

#: Of an entry: whether it is a control entry, and its payload.
Value = tuple[bool, bytes]


class Slot:
    """One slot of the group's history.

    values          ballot -> the value that was proposed in it, or that is stamped with it where it
                    was learned.
    proposed        those of them in which its owner proposed it.
    votes           ballot -> who has accepted in it, durably: bits by node.
    value, ballot   what is chosen, and the lowest ballot in which it is; None and 0.
    """

    __slots__ = ("ballot", "proposed", "value", "values", "votes")

    def __init__(self) -> None:
        self.values: dict[int, Value] = {}
        self.proposed: set[int] = set()
        self.votes: dict[int, int] = {}
        self.value: Value | None = None
        self.ballot = 0


class Phase1:
    """What was promised to one ballot.

    reports         promiser -> of each of its complete answers, slot -> the highest ballot in which
                    it has accepted there.
    mask            who has promised, as bits.
    last            the highest slot that any of them reported.
    free            of the configurations, those whose election quorum has promised.
    """

    __slots__ = ("free", "last", "mask", "reports")

    def __init__(self) -> None:
        self.reports: dict[NodeId, list[dict[int, int]]] = {}
        self.mask = 0
        self.last = 0
        self.free: set[Membership] = set()

    def add(self, node: int, report: dict[int, int]) -> None:
        self.reports.setdefault(node, []).append(report)
        self.mask |= 1 << node
        self.last = max([self.last, *report])


class Write:
    """What one `Ready` does to the entries on disk."""

    __slots__ = ("aside", "clears", "first", "ready", "snapshot", "words")

    def __init__(self, ready: Ready) -> None:
        self.ready = ready
        self.clears = ready.clears_aside
        self.aside: list[tuple[int, int]] = []
        self.snapshot = ready.snapshot.index if ready.snapshot is not None else 0
        self.first = 0
        self.words: list[int] = []


class Memory:
    """The entries of an acceptor: what stands in its log and beside it.

    words       by slot: the word of the column of terms; 0 where a snapshot covers it.
    aside       slot -> the words of what stands aside there.
    """

    __slots__ = ("aside", "words")

    def __init__(self) -> None:
        self.words: list[int] = [0]
        self.aside: dict[int, set[int]] = {}

    def copy(self) -> Memory:
        other = Memory()
        other.words = self.words[:]
        other.aside = {slot: {*words} for slot, words in self.aside.items()}
        return other

    def highest(self, slot: int) -> int:
        """The highest ballot in which it is accepted there; 0: none."""
        ballot = self.words[slot] & _TERM if slot < len(self.words) else 0
        if slot in self.aside:
            ballot = max(ballot, *(word & _TERM for word in self.aside[slot]))
        return ballot

    def holds(self, slot: int, word: int) -> bool:
        return (slot < len(self.words) and self.words[slot] == word) or (
            word in self.aside.get(slot, ())
        )

    def slots(self, after: int) -> set[int]:
        """All in which something is accepted, after one of them."""
        found = {slot for slot in self.aside if slot > after}
        words = self.words
        found.update(slot for slot in range(after + 1, len(words)) if words[slot])
        return found

    def put(self, write: Write) -> list[tuple[int, int]]:
        """Do what a `Ready` does, in its order; the (slot, word) that are gone."""
        gone: list[tuple[int, int]] = []
        words = self.words
        if write.clears:
            gone += [(slot, word) for slot, some in self.aside.items() for word in some]
            self.aside.clear()
        for slot, word in write.aside:
            self.aside.setdefault(slot, set()).add(word)
        if write.snapshot:
            first = write.snapshot + 1
            gone += enumerate(words[first:], first)
            del words[first:]
            words += [0] * (first - len(words))
        if write.first:
            first = write.first
            if first < len(words):
                gone += enumerate(words[first:], first)
                del words[first:]
            words += write.words
        return gone


class PaxosShadow(BaseShadow):
    """What the checker knows of one node; see `BaseShadow`.

    written         what it has handed to its disk.  Advanced by `wrote`.
    durable         the same for the disk.  Advanced by `synced`.
    promise         the highest promise that was handed to the disk.
    bit             it, in a set of acceptors.
    pending         (ready, Write).
    loaded          what the disk gave back when this life began.
    probe           the last ballot that it asked about by a probe.
    claimed         (ballot, first, last): the last acceptance that it told, which is true.
    shown           the last block that it sent as a proposal, which is checked.
    parts           the promise that it is telling: ballot and attempt, and the blocks so far.
    """

    __slots__ = (
        "bit",
        "claimed",
        "durable",
        "loaded",
        "parts",
        "probe",
        "promise",
        "shown",
        "written",
    )

    def __init__(self, node: NodeId) -> None:
        self.bit = 1 << int(node)
        self.written = Memory()
        self.durable = Memory()
        self.promise = 0
        self.loaded: tuple[Memory, list[tuple[int, int, bytes]], int] = (Memory(), [], 0)
        super().__init__(node)

    def begin(self) -> None:
        super().begin()
        self.probe = 0
        self.claimed = (0, 0, 0)
        self.shown: Block | None = None
        self.parts: tuple[int, int, list[Block]] = (0, 0, [])
