"""What is asked of the messages of every core: shared by the tests of Raft's and Multi-Paxos'."""

from __future__ import annotations

from types import ModuleType

from ringleader.consensus.message import Message, SnapshotChunk


def kinds_of(messages: ModuleType) -> set[type]:
    """All kinds of messages that a module declares; not what they are made of."""
    declared = {kind for kind in vars(messages).values() if isinstance(kind, type)}
    return {kind for kind in declared if issubclass(kind, Message)} - {Message, SnapshotChunk}
