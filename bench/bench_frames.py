"""Consensus messages as bytes and back: the frame between nodes, beside a codec of single messages.

`consensus.wire.Codec` makes bytes of one message at a time, with a head and a checksum for each;
the frames of `node.codec` carry the messages of a loop turn together.  A lap encodes all messages
of a few turns and decodes them again, as two nodes do; a block has ten entries of 100 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from bench.cases import scaled
from bench.harness import AtMost, Case, Compare, Contestant, Goal
from ringleader.consensus.log import Block
from ringleader.consensus.message import Message
from ringleader.consensus.paxos import messages as paxos
from ringleader.consensus.paxos.wire import CODEC as PAXOS
from ringleader.consensus.raft import messages as raft
from ringleader.consensus.raft.wire import CODEC as RAFT
from ringleader.node.codec import Frames, MessagesWriter

COUNT = scaled(1_024, 64)
#: Nanoseconds a message, both ways, among others in one frame.
GOAL = 10_000

BLOCK = Block.pack(8, 5, [b"%0100d" % number for number in range(10)])
BALLOT = 7 << 32 | 12345
KINDS: dict[str, Callable[[int], Message]] = {
    "AppendEntries": lambda n: raft.AppendEntries("eu-1", "us-1", 5, 7, 5, 7, n, BLOCK),
    "heartbeat": lambda n: raft.AppendEntries("eu-1", "us-1", 5, 1_000_000, 5, 1_000_000, n),
    "AppendReply": lambda n: raft.AppendReply("eu-1", "us-1", 5, 1_000_000, n),
    "Accept": lambda n: paxos.Accept("eu-1", "us-1", BALLOT, 1_000_000, n, BLOCK),
    "Accepted": lambda n: paxos.Accepted("eu-1", "us-1", BALLOT, 8, 17, 1_000_000, n),
}


def in_frames(codec: Any, messages: Sequence[Message], together: int) -> Callable[[], Any]:
    writer = MessagesWriter(codec)
    frames = Frames(codec)
    frames.introduce("eu-1", "us-1")

    def run() -> list[Message]:
        got: list[Message] = []
        for start in range(0, len(messages), together):
            for message in messages[start : start + together]:
                writer.add(3, message)
            for piece in writer.take():
                frames.feed(piece)
            while (frame := frames.next()) is not None:
                got += [message for _, message in frame[1][0]]
        return got

    return run


def one_by_one(codec: Any, messages: Sequence[Message]) -> Callable[[], Any]:
    return lambda: [codec.decode(codec.encode(message)) for message in messages]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(compare: Compare, kind: str) -> None:
    messages = [KINDS[kind](number) for number in range(COUNT)]
    codec = RAFT if type(messages[0]) in RAFT.kinds.values() else PAXOS
    ours = in_frames(codec, messages, 32)
    assert ours() == one_by_one(codec, messages)() == messages
    goals: list[Goal] = [AtMost(GOAL)]
    compare(
        Case(
            f"{kind}, encoded and decoded",
            "message",
            [
                Contestant("ringleader", lambda: len(ours()), COUNT, "ours"),
                *(
                    Contestant(f"ringleader, {name}", lambda run=run: len(run()), COUNT)
                    for name, run in {
                        "8 in a frame": in_frames(codec, messages, 8),
                        "1 in a frame": in_frames(codec, messages, 1),
                        "consensus.wire.Codec": one_by_one(codec, messages),
                    }.items()
                ),
            ],
            goals,
        )
    )
