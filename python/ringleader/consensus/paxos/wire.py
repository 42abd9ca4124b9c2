"""The messages of Multi-Paxos as bytes: numbers of its kinds; see `ringleader.consensus.wire`."""

from __future__ import annotations

from ringleader.consensus.message import Message
from ringleader.consensus.paxos import messages as m
from ringleader.consensus.wire import MESSAGE_BYTES_MAX, VERSION, Codec

__all__ = ["CODEC", "KINDS", "MESSAGE_BYTES_MAX", "VERSION", "decode", "encode"]

CODEC = Codec(
    "Multi-Paxos",
    {
        33: m.Prepare,
        34: m.Promise,
        35: m.Nack,
        36: m.Accept,
        37: m.Accepted,
        38: m.Fetch,
        39: m.Learn,
        40: m.SnapshotPart,
        41: m.TimeoutNow,
        42: m.ReadRequest,
        43: m.ReadReply,
        44: m.Propose,
        45: m.ProposeReply,
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
        FormatError: it is cut short, altered, or no message of Multi-Paxos; a block in it breaks a
            guarantee.
    """
    return CODEC.decode(data)
