"""What the messages of every core have in common, and the messages that all of them know.

TimeoutNow                          leadership is handed over: campaign at once
ReadRequest, ReadReply              a follower asks its leader for an index to read at
Propose, ProposeReply               a follower forwards its clients' commands
SnapshotChunk                       what messages with a part of a snapshot have in common
"""

from __future__ import annotations

from ringleader.consensus.membership import NodeId
from ringleader.limits import INDEX_MAX, TERM_MAX


class MessageBase:
    """What every message has, of a single decree's too: who sent it, and to whom.  It is shown,
    compared, hashed and copied by its `FIELDS`, in the order of its arguments."""

    __slots__ = ("sender", "to")

    FIELDS: tuple[str, ...] = ("sender", "to")

    sender: NodeId
    to: NodeId

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.FIELDS)
        return f"{type(self).__name__}({fields})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and all(
            getattr(self, name) == getattr(other, name) for name in self.FIELDS
        )

    def __hash__(self) -> int:
        return hash((type(self).__name__, *(getattr(self, name) for name in self.FIELDS)))

    def __reduce__(self) -> tuple[type[MessageBase], tuple[object, ...]]:
        return type(self), tuple(getattr(self, name) for name in self.FIELDS)


class Message(MessageBase):
    """What every message of a core has besides: the term that it was sent in."""

    __slots__ = ("term",)

    FIELDS = (*MessageBase.FIELDS, "term")

    term: int

    def problem(self) -> str | None:
        """Why no honest sender can have sent this, or None.  Whatever it says of the log or of the
        sender's role is for the receiver to judge."""
        if not 0 <= self.term < TERM_MAX:  # the last term has no successor
            return "impossible term"
        if self.sender == self.to:
            return "sent by the receiver itself"
        return None


class TimeoutNow(Message):
    """Campaign at once: you are the one that leadership goes to."""

    __slots__ = ()

    def __init__(self, sender: NodeId, to: NodeId, term: int) -> None:
        self.sender = sender
        self.to = to
        self.term = term


class ReadRequest(Message):
    __slots__ = ("context",)
    FIELDS = ("sender", "to", "term", "context")

    def __init__(self, sender: NodeId, to: NodeId, term: int, context: bytes) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.context = context


class ReadReply(Message):
    """The read may be served from a state that has applied `index`; 0: refused, ask again."""

    __slots__ = ("context", "index")
    FIELDS = ("sender", "to", "term", "context", "index")

    def __init__(self, sender: NodeId, to: NodeId, term: int, context: bytes, index: int) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.context = context
        self.index = index

    def problem(self) -> str | None:
        if not 0 <= self.index <= INDEX_MAX:
            return "impossible index"
        return Message.problem(self)


class Propose(Message):
    """`ticket` is the sender's own number for these payloads."""

    __slots__ = ("payloads", "ticket")
    FIELDS = ("sender", "to", "term", "ticket", "payloads")

    def __init__(
        self, sender: NodeId, to: NodeId, term: int, ticket: int, payloads: tuple[bytes, ...]
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.ticket = ticket
        self.payloads = payloads


class ProposeReply(Message):
    """The payloads of `ticket` stand from (`index`, `term`) on; index 0: they were refused."""

    __slots__ = ("index", "ticket")
    FIELDS = ("sender", "to", "term", "ticket", "index")

    def __init__(self, sender: NodeId, to: NodeId, term: int, ticket: int, index: int) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.ticket = ticket
        self.index = index

    def problem(self) -> str | None:
        if not 0 <= self.index <= INDEX_MAX:
            return "impossible index"
        return Message.problem(self)


class SnapshotChunk(Message):
    """The bytes from `offset` on of the snapshot at `index`: `total_bytes` with the CRC32C
    `checksum`.  `membership` is in force after it, encoded."""

    __slots__ = ("checksum", "data", "index", "membership", "offset", "total_bytes")

    index: int
    membership: bytes
    total_bytes: int
    checksum: int
    offset: int
    data: bytes

    def problem(self) -> str | None:
        if not 0 < self.index <= INDEX_MAX:
            return "impossible snapshot"
        if not 0 <= self.offset <= self.offset + len(self.data) <= self.total_bytes:
            return "impossible snapshot"
        if (not self.data and self.total_bytes) or not 0 <= self.checksum < 2**32:
            return "impossible snapshot"
        return Message.problem(self)
