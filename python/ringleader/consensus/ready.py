"""What a consensus core hands to its surroundings, and takes back from them.

A core does no input or output.  Its surroundings (`ringleader.consensus.driver`, which the node
and the simulator share) take a `Ready` and

    1. persist  `hard_state`, `chunks`, `aside`, `snapshot`, `block` (in this order), so that they
                survive a crash;
    2. send     `messages`;
    3. apply    `committed`;

and report back by `advance(ready)`.  Whoever wants the disk, the network and the state machine to
work side by side reports by parts, `persisted(ready)` and `applied(index)`, and may take the next
`Ready` before.  Then three rules hold: the first `early` messages need not wait for the disk, all
others leave after what this `Ready` and every one before it persist; `Ready`s become persistent in
the order in which they were taken; `committed` is durable here already and may be applied at once.
"""

from __future__ import annotations

from typing import Any, Protocol

from ringleader.consensus.log import Block, Entries
from ringleader.consensus.membership import Membership, NodeId
from ringleader.errors import MisuseError


class HardState:
    """What a node must not forget (figure 2, "persistent state"): an immutable value.

    `commit` is a hint: a node may restart from an older one, and learns the rest from its leader.
    """

    __slots__ = ("commit", "term", "vote")

    def __init__(self, term: int = 0, vote: NodeId | None = None, commit: int = 0) -> None:
        self.term = term
        self.vote = vote
        self.commit = commit

    def __repr__(self) -> str:
        return f"HardState(term={self.term}, vote={self.vote!r}, commit={self.commit})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, HardState)
            and self.term == other.term
            and self.vote == other.vote
            and self.commit == other.commit
        )

    def __hash__(self) -> int:
        return hash((self.term, self.vote, self.commit))


class SnapshotSource(Protocol):
    """The bytes of a snapshot; they stay readable and the same while anyone holds this object."""

    @property
    def total_bytes(self) -> int: ...

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer only at the end."""
        ...


class BytesSource:
    """A snapshot in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def total_bytes(self) -> int:
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        return self.data[offset : offset + count]


class Received:
    """Stands for the bytes of a snapshot that arrived: they are with the storage.  Who drives the
    core puts `Storage.open_snapshot()` in its place before `persisted()`."""

    __slots__ = ()
    total_bytes = 0

    def read(self, offset: int, count: int) -> bytes:
        raise MisuseError("a received snapshot is read from the storage: open_snapshot()")


class Snapshot:
    """The state after entry `index` of `term`, and the membership in force there.

    `checksum` is the CRC32C of the source's bytes: with index, term and length it names the
    snapshot, so that a transfer may go on with another sender, and never mixes two.
    """

    __slots__ = ("checksum", "index", "membership", "source", "term")

    def __init__(
        self,
        index: int,
        term: int,
        membership: Membership,
        source: SnapshotSource,
        checksum: int,
    ) -> None:
        self.index = index
        self.term = term
        self.membership = membership
        self.source = source
        self.checksum = checksum

    def __repr__(self) -> str:
        return f"Snapshot(index={self.index}, term={self.term}, membership={self.membership!r})"


class SnapshotChunk:
    """A piece of a snapshot that a leader sends; to be written at `offset`, beside the current one.

    Offset 0 begins anew: what was received of another snapshot is dropped.
    """

    __slots__ = ("checksum", "data", "index", "offset", "term", "total_bytes")

    def __init__(
        self, index: int, term: int, total_bytes: int, checksum: int, offset: int, data: bytes
    ) -> None:
        self.index = index
        self.term = term
        self.total_bytes = total_bytes
        self.checksum = checksum
        self.offset = offset
        self.data = data

    def __repr__(self) -> str:
        return (
            f"SnapshotChunk(index={self.index}, offset={self.offset}, "
            f"{len(self.data)} of {self.total_bytes} bytes)"
        )


class ReadState:
    """A read that may be served once the state machine has applied `index`; 0: it was refused."""

    __slots__ = ("context", "index")

    def __init__(self, context: bytes, index: int) -> None:
        self.context = context
        self.index = index

    def __repr__(self) -> str:
        return f"ReadState(context={self.context!r}, index={self.index})"


class Placed:
    """Where a forwarded proposal stands: its first entry's index and term; index 0: refused."""

    __slots__ = ("index", "term", "ticket")

    def __init__(self, ticket: int, index: int, term: int) -> None:
        self.ticket = ticket
        self.index = index
        self.term = term

    def __repr__(self) -> str:
        return f"Placed(ticket={self.ticket}, index={self.index}, term={self.term})"


class Ready:
    """One batch of work; see the module's text for the order.

    number          1, 2, ...: the order in which they were taken.
    hard_state      to persist, or None when it has not changed.
    chunks          pieces of a snapshot that is arriving, to persist beside the current one.
    aside           blocks to persist beside the log, or None: entries that do not follow it, or
                    that would make its terms go back.  They are added to those that stand aside
                    already; with `clears_aside` all of those are forgotten, but not before the
                    rest of this `Ready` is durable: a crash may leave an entry both aside and in
                    the log, never in neither.
    snapshot        to install, or None: its chunks are complete (its `source` is `Received()`; the
                    bytes are with the storage).  The log on disk then begins after it (entries that
                    `Ready.block` does not repeat are gone), and the state machine is restored from
                    it before anything in `committed` is applied.
    block           entries to persist, or None.  Entries on disk from `block.first` on are
                    replaced.
    messages        to send; the first `early` of them need not wait for the disk.
    committed       entries to apply, or None.
    reads           reads that may be served as soon as their index is applied.
    placed          answers to forwarded proposals.
    """

    __slots__ = (
        "applies",
        "aside",
        "block",
        "chunks",
        "clears_aside",
        "committed",
        "early",
        "hard_state",
        "last",
        "messages",
        "number",
        "placed",
        "reads",
        "snapshot",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.hard_state: HardState | None = None
        self.chunks: list[SnapshotChunk] | None = None
        self.aside: list[Block] | None = None
        self.clears_aside = False
        self.snapshot: Snapshot | None = None
        self.block: Block | None = None
        self.messages: list[Any] = []
        self.early = 0
        self.committed: Entries | None = None
        self.reads: list[ReadState] | None = None
        self.placed: list[Placed] | None = None
        #: Entries up to here are durable with it; the core lowers it when they are replaced
        #: meanwhile.
        self.last = 0
        #: The last index of `committed`, or 0.
        self.applies = 0

    @property
    def writes(self) -> bool:
        """Whether there is anything to persist."""
        return self._writes()

    def _writes(self) -> bool:
        return (
            self.block is not None
            or self.hard_state is not None
            or self.snapshot is not None
            or self.chunks is not None
            or self.aside is not None
        )

    def __repr__(self) -> str:
        parts = [f"Ready {self.number}"]
        if self.hard_state is not None:
            parts.append(repr(self.hard_state))
        if self.chunks:
            parts.append(f"{len(self.chunks)} chunks")
        if self.aside is not None:
            kept = [f"{block.first}..{block.last}" for block in self.aside]
            parts.append(f"set aside {', '.join(kept) or 'nothing'}")
        if self.snapshot is not None:
            parts.append(repr(self.snapshot))
        if self.block is not None:
            parts.append(f"persist {self.block.first}..{self.block.last}")
        if self.messages:
            parts.append(f"send {len(self.messages)} ({self.early} early)")
        if self.committed is not None:
            parts.append(f"apply {self.committed.first}..{self.committed.last}")
        if self.reads:
            parts.append(f"{len(self.reads)} reads")
        return "<" + ", ".join(parts) + ">"


def new_ready(number: int) -> Ready:
    """`Ready(number)`, made without the cost of a Python call when compiled."""
    ready = Ready.__new__(Ready)
    ready.number = number
    ready.hard_state = None
    ready.chunks = None
    ready.aside = None
    ready.clears_aside = False
    ready.snapshot = None
    ready.block = None
    ready.messages = []
    ready.early = 0
    ready.committed = None
    ready.reads = None
    ready.placed = None
    ready.last = 0
    ready.applies = 0
    return ready
