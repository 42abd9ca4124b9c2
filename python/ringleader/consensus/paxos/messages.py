"""What the nodes of Multi-Paxos say to each other.

    Prepare, Promise        phase 1, for all slots after one at a time; `probe` asks whether a real
                            one would succeed, and promises nothing
    Accept, Accepted        phase 2, for a block of slots; without a block, the heartbeat
    Nack                    either is refused, because of a higher promise or because the candidate
                            knows less of what is chosen
    Fetch, Learn, SnapshotPart
                            a node that lacks chosen entries asks for them, any other serves them
    TimeoutNow, ReadRequest, ReadReply, Propose, ProposeReply
                            as in Raft (`ringleader.consensus.message`)

Sources: Lamport, "Paxos Made Simple" (2001), §2.2 and §3; van Renesse and Altinbuken, "Paxos Made
Moderately Complex" (2015), whose p1a, p1b, p2a, p2b are the first four.

`term` is a ballot (`ringleader.consensus.paxos.ballot`): of phase 1 and 2, the one that they are
about; of a `Nack`, the sender's promise; of the others, the one that the sender follows.  `commit`
says up to where the sender knows all slots to be chosen, and holds them.  `round` numbers a
leader's broadcasts, as in Raft.
"""

from __future__ import annotations

from ringleader.consensus.log import Block
from ringleader.consensus.membership import NodeId
from ringleader.consensus.message import (
    Message,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    SnapshotChunk,
    TimeoutNow,
)
from ringleader.consensus.paxos.ballot import number_of, owner_number
from ringleader.limits import INDEX_MAX, TERM_MAX

__all__ = [
    "Accept",
    "Accepted",
    "Fetch",
    "Learn",
    "Nack",
    "Prepare",
    "Promise",
    "Propose",
    "ProposeReply",
    "ReadReply",
    "ReadRequest",
    "SnapshotPart",
    "TimeoutNow",
    "accept",
    "accepted",
]


class Prepare(Message):
    """Phase 1a: promise `term`, and tell what you accepted in slots after `commit`.

    `attempt` counts the sender's tries within the ballot; answers to an earlier one are void.
    `asked_in`: the ballot of the leader who asked for this (0: nobody did): who follows that one
    does not protect it.
    """

    __slots__ = ("asked_in", "attempt", "commit", "probe")
    FIELDS = ("sender", "to", "term", "commit", "attempt", "probe", "asked_in")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        commit: int,
        attempt: int = 0,
        probe: bool = False,
        asked_in: int = 0,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.commit = commit
        self.attempt = attempt
        self.probe = probe
        self.asked_in = asked_in

    def problem(self) -> str | None:
        if not 0 <= self.commit <= INDEX_MAX or self.attempt < 0:
            return "impossible index"
        if self.term <= 0 or owner_number(self.term) != number_of(self.sender):
            return "ballot of another proposer"
        if not 0 <= self.asked_in < self.term:
            return "impossible ballot"
        return Message.problem(self)


class Promise(Message):
    """Phase 1b: the sender accepts nothing below ballot `term` any more, and has accepted what is
    in `block`, part `part` of `parts` (from 0 on; None: nothing after the `commit` of the request).

    `report` is a checksum of all parts: only those with the same one belong together.  The words of
    the block's column of terms are the ballots in which the entries were accepted.  No two parts
    hold the same slot in the same ballot; they may hold it in different ones.
    """

    __slots__ = ("attempt", "block", "part", "parts", "probe", "report")
    FIELDS = ("sender", "to", "term", "attempt", "probe", "report", "part", "parts", "block")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        attempt: int = 0,
        probe: bool = False,
        report: int = 0,
        part: int = 0,
        parts: int = 1,
        block: Block | None = None,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.attempt = attempt
        self.probe = probe
        self.report = report
        self.part = part
        self.parts = parts
        self.block = block

    def problem(self) -> str | None:
        if owner_number(self.term) != number_of(self.to):
            return "promise of another proposer's ballot"
        if not 0 <= self.part < self.parts or self.attempt < 0:
            return "impossible part"
        block = self.block
        if block is not None:
            if not isinstance(block, Block):
                return "not a block"
            if block.last_term >= self.term:
                return "accepted at or above the promise"
        return Message.problem(self)


class Nack(Message):
    """Phase 1 or 2 of `ballot` is refused.  `term` is the sender's promise; if that is not higher,
    the candidate lacks chosen entries up to `commit`, or the sender hears a leader."""

    __slots__ = ("ballot", "commit")
    FIELDS = ("sender", "to", "term", "ballot", "commit")

    def __init__(self, sender: NodeId, to: NodeId, term: int, ballot: int, commit: int) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.ballot = ballot
        self.commit = commit

    def problem(self) -> str | None:
        if not 0 <= self.commit <= INDEX_MAX:
            return "impossible index"
        if not 0 < self.ballot < TERM_MAX:
            return "impossible term"
        if owner_number(self.ballot) != number_of(self.to):
            return "refusal of another proposer's ballot"
        return Message.problem(self)


class Accept(Message):
    """Phase 2a: accept these slots in ballot `term`, or None: the heartbeat.  All slots up to
    `commit` are chosen."""

    __slots__ = ("block", "commit", "round")
    FIELDS = ("sender", "to", "term", "commit", "round", "block")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        commit: int,
        round: int = 0,
        block: Block | None = None,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.commit = commit
        self.round = round
        self.block = block

    def problem(self) -> str | None:
        if not 0 <= self.commit <= INDEX_MAX or self.round < 0:
            return "impossible index"
        if self.term <= 0 or owner_number(self.term) != number_of(self.sender):
            return "ballot of another proposer"
        block = self.block
        if block is not None:
            if not isinstance(block, Block):
                return "not a block"
            if block.last_term != self.term or block.term(block.first) != self.term:
                return "block of another ballot"
        return Message.problem(self)


class Accepted(Message):
    """Phase 2b: slots `first` ... `last` are accepted in ballot `term`, durably (0, 0: none; the
    answer to a heartbeat names the last run of slots).  What is chosen up to `commit` is held, too.
    """

    __slots__ = ("commit", "first", "last", "round")
    FIELDS = ("sender", "to", "term", "first", "last", "commit", "round")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        first: int,
        last: int,
        commit: int,
        round: int = 0,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.first = first
        self.last = last
        self.commit = commit
        self.round = round

    def problem(self) -> str | None:
        if not (0 <= self.first <= self.last <= INDEX_MAX and 0 <= self.commit <= INDEX_MAX):
            return "impossible index"
        if (self.first == 0) != (self.last == 0) or self.round < 0:
            return "impossible index"
        if owner_number(self.term) != number_of(self.to):
            return "acceptance of another proposer's ballot"
        return Message.problem(self)


class Fetch(Message):
    """The sender knows that more is chosen than it holds: it wants the entries from `first` on, or,
    of the snapshot at `index` whose first `offset` bytes it has, the rest."""

    __slots__ = ("checksum", "first", "index", "offset")
    FIELDS = ("sender", "to", "term", "first", "index", "checksum", "offset")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        first: int,
        index: int = 0,
        checksum: int = 0,
        offset: int = 0,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.first = first
        self.index = index
        self.checksum = checksum
        self.offset = offset

    def problem(self) -> str | None:
        if not 0 < self.first <= INDEX_MAX or not 0 <= self.index <= INDEX_MAX:
            return "impossible index"
        if self.offset < 0 or not 0 <= self.checksum < 2**32:
            return "impossible snapshot"
        return Message.problem(self)


class Learn(Message):
    """These slots are chosen.  The words of the block's column of terms are at or above the ballots
    that they were chosen in; `commit` is how much the sender could send."""

    __slots__ = ("block", "commit")
    FIELDS = ("sender", "to", "term", "commit", "block")

    def __init__(self, sender: NodeId, to: NodeId, term: int, commit: int, block: Block) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.commit = commit
        self.block = block

    def problem(self) -> str | None:
        block = self.block
        if not isinstance(block, Block):
            return "not a block"
        if not block.last <= self.commit <= INDEX_MAX:
            return "impossible index"
        if block.last_term > self.term:
            return "chosen above the promise"
        return Message.problem(self)


class SnapshotPart(SnapshotChunk):
    """The slot `index` was accepted in `ballot`."""

    __slots__ = ("ballot",)
    FIELDS = (
        *("sender", "to", "term", "index", "ballot"),
        *("membership", "total_bytes", "checksum", "offset", "data"),
    )

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        index: int,
        ballot: int,
        membership: bytes,
        total_bytes: int,
        checksum: int,
        offset: int,
        data: bytes,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.index = index
        self.ballot = ballot
        self.membership = membership
        self.total_bytes = total_bytes
        self.checksum = checksum
        self.offset = offset
        self.data = data

    def problem(self) -> str | None:
        if not 0 < self.ballot <= self.term:
            return "impossible snapshot"
        return SnapshotChunk.problem(self)


def accept(
    sender: NodeId, to: NodeId, term: int, commit: int, round: int, block: Block | None
) -> Accept:
    """`Accept(...)`, made without the cost of a Python call when compiled."""
    message = Accept.__new__(Accept)
    message.sender = sender
    message.to = to
    message.term = term
    message.commit = commit
    message.round = round
    message.block = block
    return message


def accepted(
    sender: NodeId, to: NodeId, term: int, first: int, last: int, commit: int, round: int
) -> Accepted:
    """`Accepted(...)`; see `accept`."""
    message = Accepted.__new__(Accepted)
    message.sender = sender
    message.to = to
    message.term = term
    message.first = first
    message.last = last
    message.commit = commit
    message.round = round
    return message
