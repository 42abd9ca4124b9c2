"""A few cores in one process, for tests: every message is kept until the test delivers it.

Raft's are in raft_group.py, Multi-Paxos' in paxos_group.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from ringleader.consensus.membership import NodeId
from ringleader.consensus.ready import BytesSource, Snapshot
from ringleader.kernels import hashing
from ringleader.storage.memory import MemoryStorage

C = TypeVar("C")


def work(core: Any) -> list[Any]:
    """Do what the core has ready, at once; the messages that it sends."""
    sent: list[Any] = []
    while core.has_ready:
        ready = core.ready()
        sent += ready.messages
        core.advance(ready)
    return sent


def answer(core: Any, message: Any) -> list[Any]:
    """What the core sends when it gets this message."""
    core.step(message)
    return work(core)


class CoreGroup(Generic[C]):
    """Some cores, their storages and state machines, and the messages under way."""

    def __init__(
        self, size: int | Sequence[NodeId], config: Any, storages: dict[Any, MemoryStorage]
    ) -> None:
        self.config = config
        self.voters: list[Any] = list(range(1, size + 1)) if isinstance(size, int) else list(size)
        self.storages: dict[Any, MemoryStorage] = {id: MemoryStorage() for id in self.voters}
        self.storages |= storages
        self.lives: dict[Any, int] = {}
        self.cores: dict[Any, C] = {}
        self.applied: dict[Any, list[tuple[int, bytes]]] = {}
        self.reads: dict[Any, list[tuple[bytes, int]]] = {}
        self.network: list[Any] = []
        self.passes: Callable[[Any], bool] = lambda message: True
        self.sent: list[Any] = []
        for id in self.voters:
            self.start(id)

    def new_core(self, id: NodeId, voters: Sequence[NodeId]) -> C:
        """A core of node `id`, in its present life, over its storage."""
        raise NotImplementedError

    def start(self, id: NodeId) -> C:
        self.lives[id] = self.lives.get(id, 0) + 1
        self.applied[id], self.reads[id] = [], []
        core = self.cores[id] = self.new_core(id, self.voters if id in self.voters else ())
        return core

    def join(self, id: NodeId) -> C:
        """A node that knows of no group yet."""
        self.storages[id] = MemoryStorage()
        return self.start(id)

    def crash(self, id: NodeId) -> None:
        del self.cores[id]

    def work(self, id: NodeId) -> None:
        core = self.cores[id]
        while core.has_ready:
            ready = core.ready()
            self.storages[id].write(ready, lambda ready: None)
            if ready.snapshot is not None:
                ready.snapshot.source = self.storages[id].open_snapshot()
            core.persisted(ready)
            self.sent += ready.messages
            self.network += ready.messages
            if (entries := ready.committed) is not None:
                self.applied[id] += [
                    (index, bytes(entries[index]))
                    for index in range(entries.first, entries.last + 1)
                    if not entries.is_control(index)
                ]
                core.applied(entries.last)
            self.reads[id] += [(read.context, read.index) for read in ready.reads or ()]

    def work_all(self) -> None:
        for id in self.cores:
            self.work(id)

    def settle(self, rounds: int = 1000) -> None:
        """Deliver until nothing is under way."""
        self.work_all()
        for _ in range(rounds):
            batch, self.network = self.network, []
            if not batch:
                return
            for message in batch:
                if message.to in self.cores and self.passes(message):
                    self.cores[message.to].step(message)
                    self.work(message.to)
        raise AssertionError("the messages never end")

    def tick(self, count: int = 1, *ids: NodeId) -> None:
        for _ in range(count):
            for id in ids or tuple(self.cores):
                self.cores[id].tick()
                self.work(id)
            self.settle()

    def elect(self, id: NodeId) -> C:
        self.cores[id].campaign()
        self.settle()
        assert self.cores[id].role == "leader", self.cores[id]
        return self.cores[id]

    def cut(self, *ids: NodeId) -> None:
        """Nothing passes between these and the others."""
        self.passes = lambda message: (message.sender in ids) == (message.to in ids)

    def heal(self) -> None:
        self.passes = lambda message: True

    def snapshot(self, id: NodeId, data: bytes = b"state", keep_from: int | None = None) -> None:
        core = self.cores[id]
        index = core.last_applied
        snapshot = Snapshot(
            index,
            core.log.term(index),
            core.membership_at(index),
            BytesSource(data),
            hashing.crc32c(data),
        )
        self.storages[id].save_snapshot(snapshot, keep_from or index + 1, lambda: None)
        core.compact(snapshot, keep_from)
