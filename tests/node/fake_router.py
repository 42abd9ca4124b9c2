"""A router on a store in memory: answers at once, or writes at the end of the loop turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ringleader.node.commands import Command
from ringleader.node.replies import Reply, ReplyError
from ringleader.node.routing import PENDING, NodeView, Origin, ShardView, Topology, Waiting
from ringleader.node.slots import shard_ranges, shard_table
from ringleader.node.store import Store, encode_batch

NOW_MS = 1_700_000_000_000


class FakeRouter:
    """Shards that are stores of this process.

    Args:
        beside: another router of the cluster, with which it shares the shards.
        defers_reads: reads are, too, as a node does that has to ask another.
        deferred: writes are answered by `commit()`, in one batch for each shard, as a node does.
    """

    def __init__(
        self,
        shard_count: int = 4,
        *,
        deferred: bool = False,
        defers_reads: bool = False,
        host: str = "127.0.0.1",
        beside: FakeRouter | None = None,
    ) -> None:
        self.nodes = [self] if beside is None else beside.nodes
        if beside is not None:
            self.nodes.append(self)
        self.name = f"eu-{len(self.nodes)}"
        self.dc = "eu"
        self.host = host
        self.port = 0
        self.shard_count = shard_count
        self.shard_of_slot = tuple(shard_table(shard_count))
        self.deferred = deferred
        self.defers_reads = defers_reads
        #: Commands that were queued, and how many of them at most at a time.
        self.begun_count = 0
        self.widest_count = 0
        self.stores = [Store() for _ in range(shard_count)] if beside is None else beside.stores
        self.now_ms = NOW_MS
        self.queues: list[list[tuple[list[bytes], Waiting]]] = [[] for _ in range(shard_count)]
        self.is_dirty = False
        self.on_dirty: Any = None
        self.refusing: dict[int, ReplyError] = {}
        self._index = 0

    def execute(
        self, origin: Origin, command: Command, args: list[bytes], number: int, waiter: Waiting
    ) -> Reply:
        if self.refusing and number in self.refusing:
            return self.refusing[number]
        if self.deferred and (command.is_write or self.defers_reads or origin.pending.get(number)):
            origin.pending[number] = 1
            self.queues[number].append((args, waiter))
            self.begun_count += 1
            self.widest_count = max(self.widest_count, sum(map(len, self.queues)))
            if not self.is_dirty:
                self.is_dirty = True
                if self.on_dirty is not None:
                    self.on_dirty()
            return PENDING
        if command.is_write:
            return self._apply(number, [args])[0]
        return self.stores[number].read(args)

    def _apply(self, number: int, commands: list[list[bytes]]) -> list[Reply]:
        self._index += 1
        [replies] = self.stores[number].apply([(self._index, encode_batch(self.now_ms, commands))])
        assert replies is not None
        return replies

    def commit(self) -> None:
        """Execute what is queued, and answer it."""
        self.is_dirty = False
        for number, queue in enumerate(self.queues):
            if queue:
                self.queues[number] = []
                replies = self._apply(number, [args for args, _ in queue])
                for (_, waiter), reply in zip(queue, replies, strict=True):
                    waiter.resolve(reply)

    def wait(self, origin: Origin, count: int, timeout_ms: int, waiter: Waiting) -> Reply:
        return min(count, 2)

    def topology(self) -> Topology:
        nodes = tuple(
            NodeView(node.name, "abc"[at] * 40, node.host, node.port, node.dc, "a")
            for at, node in enumerate(self.nodes)
        )
        names = tuple(node.name for node in nodes)
        shards = tuple(
            ShardView(number, (ends,), names[number % len(names)], names, term=number + 1)
            for number, ends in enumerate(shard_ranges(self.shard_count))
        )
        return Topology(nodes, shards)

    def info(self) -> Mapping[str, Mapping[str, Any]]:
        return {"keyspace": {"db0": f"keys={sum(len(store.data) for store in self.stores)}"}}
