"""Raft's messages as bytes: numbers of its kinds; see `ringleader.consensus.wire`."""

from __future__ import annotations

from ringleader.consensus.message import Message
from ringleader.consensus.raft import messages as m
from ringleader.consensus.wire import MESSAGE_BYTES_MAX, VERSION, Codec

__all__ = ["CODEC", "KINDS", "MESSAGE_BYTES_MAX", "VERSION", "decode", "encode"]

CODEC = Codec(
    "Raft",
    {
        1: m.RequestVote,
        2: m.VoteReply,
        3: m.AppendEntries,
        4: m.AppendReply,
        5: m.InstallSnapshot,
        6: m.SnapshotReply,
        7: m.TimeoutNow,
        8: m.Quiesce,
        9: m.ReadRequest,
        10: m.ReadReply,
        11: m.Propose,
        12: m.ProposeReply,
    },
)
KINDS = CODEC.kinds


def encode(message: Message) -> bytes:
    """`message` as bytes.

    Raises:
        FormatError: it is of no kind that has a number here, or a field does not fit.
    """
    return CODEC.encode(message)


def decode(data: bytes) -> Message:
    """The message in `data`.  O(len(data)); never reads or makes more than that.

    Raises:
        VersionError: a newer version wrote it.
        FormatError: it is cut short, altered, or no message of Raft; a block in it breaks a
            guarantee.
    """
    return CODEC.decode(data)
