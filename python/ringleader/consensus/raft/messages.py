"""What Raft's servers say to each other: figure 2 of the paper and the extensions that we use.

    RequestVote, VoteReply              §5.2; `pre` marks the pre-vote of the dissertation's §9.6
    AppendEntries, AppendReply          §5.3; without a block it is the heartbeat
    InstallSnapshot, SnapshotReply      §7, in chunks
    TimeoutNow                          dissertation §3.10, leadership transfer
    ReadRequest, ReadReply              dissertation §6.4, a follower asks for a read index
    Propose, ProposeReply               a follower forwards its clients' commands

`term` is the sender's current term, but for a pre-vote: there it is the term that the sender
would campaign in.  `round` numbers a leader's broadcasts: the reply carries it back, so that a
quorum of replies proves that the leader was one when it sent that round (reads, leases).
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
from ringleader.limits import INDEX_MAX, TERM_MAX

__all__ = [
    "AppendEntries",
    "AppendReply",
    "InstallSnapshot",
    "Propose",
    "ProposeReply",
    "Quiesce",
    "ReadReply",
    "ReadRequest",
    "RequestVote",
    "SnapshotReply",
    "TimeoutNow",
    "VoteReply",
    "accepted",
    "append_entries",
]


class RequestVote(Message):
    """`last_index`, `last_term`: the candidate's last entry.  `transfer`: the leader asked for this
    election, so voters do not protect the leader that they hear from (§4.2.3)."""

    __slots__ = ("last_index", "last_term", "pre", "transfer")
    FIELDS = ("sender", "to", "term", "last_index", "last_term", "pre", "transfer")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        last_index: int,
        last_term: int,
        pre: bool = False,
        transfer: bool = False,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.last_index = last_index
        self.last_term = last_term
        self.pre = pre
        self.transfer = transfer

    def problem(self) -> str | None:
        if not 0 <= self.last_index <= INDEX_MAX:
            return "impossible index"
        if not 0 <= self.last_term < self.term or (self.last_index == 0) != (self.last_term == 0):
            return "impossible term"
        return Message.problem(self)


class VoteReply(Message):
    __slots__ = ("granted", "pre")
    FIELDS = ("sender", "to", "term", "granted", "pre")

    def __init__(
        self, sender: NodeId, to: NodeId, term: int, granted: bool, pre: bool = False
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.granted = granted
        self.pre = pre


class AppendEntries(Message):
    """`block` follows the entry (`prev_index`, `prev_term`); None: nothing to append."""

    __slots__ = ("block", "commit", "prev_index", "prev_term", "round")
    FIELDS = ("sender", "to", "term", "prev_index", "prev_term", "commit", "round", "block")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        prev_index: int,
        prev_term: int,
        commit: int,
        round: int = 0,
        block: Block | None = None,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.prev_index = prev_index
        self.prev_term = prev_term
        self.commit = commit
        self.round = round
        self.block = block

    def problem(self) -> str | None:
        if not (0 <= self.prev_index <= INDEX_MAX and 0 <= self.commit <= INDEX_MAX):
            return "impossible index"
        if not 0 <= self.prev_term <= self.term or self.round < 0 or self.term == 0:
            return "impossible term"
        if (self.prev_index == 0) != (self.prev_term == 0):
            return "impossible term"
        block = self.block
        if block is not None:
            if not isinstance(block, Block):
                return "not a block"
            first = block.first
            if first != self.prev_index + 1:
                return "block does not follow its predecessor"
            if block.last_term > self.term or block.term(first) < self.prev_term:
                return "impossible term"
        return Message.problem(self)


class AppendReply(Message):
    """Accepted: the log equals the leader's up to `match`.  Refused: it does not hold the entry
    `match` (the request's `prev_index`) in that term; (`hint_index`, `hint_term`) is its last
    entry up to there whose term is not above the request's `prev_term` (§5.3, end)."""

    __slots__ = ("hint_index", "hint_term", "match", "refused", "round")
    FIELDS = ("sender", "to", "term", "match", "round", "refused", "hint_index", "hint_term")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        match: int,
        round: int = 0,
        refused: bool = False,
        hint_index: int = 0,
        hint_term: int = 0,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.match = match
        self.round = round
        self.refused = refused
        self.hint_index = hint_index
        self.hint_term = hint_term

    def problem(self) -> str | None:
        if not (0 <= self.match <= INDEX_MAX and 0 <= self.hint_index <= INDEX_MAX):
            return "impossible index"
        if not 0 <= self.hint_term <= TERM_MAX or self.round < 0:
            return "impossible term"
        return Message.problem(self)


class InstallSnapshot(SnapshotChunk):
    """The entry at `index` is of `index_term`."""

    __slots__ = ("index_term", "round")
    FIELDS = (
        "sender",
        "to",
        "term",
        "index",
        "index_term",
        "membership",
        "total_bytes",
        "checksum",
        "offset",
        "data",
        "round",
    )

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        index: int,
        index_term: int,
        membership: bytes,
        total_bytes: int,
        checksum: int,
        offset: int,
        data: bytes,
        round: int = 0,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.index = index
        self.index_term = index_term
        self.membership = membership
        self.total_bytes = total_bytes
        self.checksum = checksum
        self.offset = offset
        self.data = data
        self.round = round

    def problem(self) -> str | None:
        if not 0 < self.index_term <= self.term:
            return "impossible snapshot"
        if self.round < 0:
            return "impossible term"
        return SnapshotChunk.problem(self)


class SnapshotReply(Message):
    """The follower holds the first `offset` bytes of the snapshot at `index`, and wants the rest;
    `installed`: it needs none of it (any more), its log matches the leader's up to `index`."""

    __slots__ = ("index", "installed", "offset", "round")
    FIELDS = ("sender", "to", "term", "index", "offset", "installed", "round")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        term: int,
        index: int,
        offset: int,
        installed: bool = False,
        round: int = 0,
    ) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.index = index
        self.offset = offset
        self.installed = installed
        self.round = round

    def problem(self) -> str | None:
        if not 0 < self.index <= INDEX_MAX or self.offset < 0 or self.round < 0:
            return "impossible snapshot"
        return Message.problem(self)


class Quiesce(Message):
    """All members hold and have committed everything up to `index`; the timers may rest until there
    is something to do.  (For processes with very many groups; see
    `ringleader.consensus.raft.groups`.)
    """

    __slots__ = ("index",)
    FIELDS = ("sender", "to", "term", "index")

    def __init__(self, sender: NodeId, to: NodeId, term: int, index: int) -> None:
        self.sender = sender
        self.to = to
        self.term = term
        self.index = index

    def problem(self) -> str | None:
        if not 0 <= self.index <= INDEX_MAX:
            return "impossible index"
        return Message.problem(self)


def append_entries(
    sender: NodeId,
    to: NodeId,
    term: int,
    prev_index: int,
    prev_term: int,
    commit: int,
    round: int,
    block: Block | None,
) -> AppendEntries:
    """`AppendEntries(...)`, made without the cost of a Python call when compiled."""
    message = AppendEntries.__new__(AppendEntries)
    message.sender = sender
    message.to = to
    message.term = term
    message.prev_index = prev_index
    message.prev_term = prev_term
    message.commit = commit
    message.round = round
    message.block = block
    return message


def accepted(sender: NodeId, to: NodeId, term: int, match: int, round: int) -> AppendReply:
    """`AppendReply(...)` of a request that was accepted; see `append_entries`."""
    message = AppendReply.__new__(AppendReply)
    message.sender = sender
    message.to = to
    message.term = term
    message.match = match
    message.round = round
    message.refused = False
    message.hint_index = 0
    message.hint_term = 0
    return message
