"""A node's shard as the simulator runs it, and what is known for sure: the truth of the log."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

from ringleader.consensus.driver import Driver, Outcome
from ringleader.consensus.ready import BytesSource, SnapshotSource
from ringleader.limits import CLOCK_SLEW, SHARD_GATHER_S
from ringleader.node.shard import Shard
from ringleader.node.store import Store, decode_batch
from ringleader.shardsim.mirror import Mirror, State
from ringleader.sim.workload import USER_COMMAND

if TYPE_CHECKING:
    from ringleader.consensus.log import Entries
    from ringleader.consensus.membership import NodeId
    from ringleader.shardsim.clients import Record, ShardWorkload
    from ringleader.sim.cluster import Cluster, SimNode

#: When wall clocks were set, in ms since 1970.
EPOCH_MS: Final = 1_750_000_000_000
#: How much time may pass while a batch is made.
LOOK_MS_MAX: Final = 100
#: What stands before a store's snapshot: index, chain, bytes of filling.
_SNAPSHOT: Final = struct.Struct("<QII")


class Truth:
    """What the committed log says, and when: the first node to apply an entry tells.

    mirror      the state after the last entry.
    states      of every entry that is a batch: the state after it.
    index       of the last batch.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.mirror = Mirror()
        self.index = 0
        self.states: dict[int, State] = {0: self.mirror.state()}
        self.indexes: list[int] = [0]
        #: Batches by their name: the commands, and when they were proposed.
        self.batches: dict[bytes, tuple[list[Record], int]] = {}
        self.replies: dict[int, list[Any]] = {}
        self.names: dict[int, bytes] = {}
        #: Of each entry and place with an opaque reply, the reply.
        self.opaque: dict[tuple[int, int], Any] = {}
        #: (key, proposed_us, applied_us) of each expiry.
        self.expiries: list[tuple[bytes, int, int]] = []

    def learn(self, index: int, name: bytes, payload: bytes) -> None:
        """A node applies an entry, maybe the first one to do so."""
        if index <= self.index:
            return
        mirror = self.mirror
        now_us = self.cluster.clock.now_us
        records, proposed_us = self.batches[name]
        now, commands = decode_batch(payload)
        mirror.begin(index, now)
        self.expiries += [(key, proposed_us, now_us) for key in mirror.expired]
        replies: list[Any] = []
        for place, (args, record) in enumerate(zip(commands, records, strict=True)):
            mirror.at = (index, place)
            record.take_effect(mirror.at, now_us)
            if args[0] == b"EXEC":
                reply = mirror.exec(record.watched(), record.call[1:])
            else:
                reply = mirror.run(args)
            record.truth = reply
            replies.append(reply)
        self.replies[index] = replies
        self.names[index] = name
        self.states[index] = mirror.state()
        self.indexes.append(index)
        self.index = index
        if mirror.expired:
            self.cluster.checker.coverage["keys expired"] += len(mirror.expired)

    def compare(self, node: NodeId, store: Store, index: int) -> None:
        """A store after a batch, or restored from a snapshot."""
        state = self.states[index]
        for what, here, there in (
            ("now", store.now, state.now),
            ("data", store.data, state.data),
            ("expires", store.expires, state.expires),
        ):
            if here != there:
                self.cluster.checker.violate(
                    5, node, f"after entry {index} its {what} is {here!r}, and should be {there!r}"
                )

    def check_replies(self, node: NodeId, index: int, replies: list[Any]) -> None:
        """The replies that a node's store gave to a batch."""
        for place, (reply, truth) in enumerate(zip(replies, self.replies[index], strict=True)):
            record = self.batches[self.names[index]][0][place]
            if record.args[0] == b"WATCH":
                truth = self.opaque.setdefault((index, place), reply)
            if reply != truth:
                self.cluster.checker.violate(
                    5 if record.args[0] != b"EXEC" else 16,
                    node,
                    f"entry {index} answers {reply!r} to {record}, and should answer {truth!r}",
                )


class ShardMachine:
    """One node's store.  See `sim.workload.Machine`."""

    __slots__ = ("batch", "chain", "cluster", "index", "node", "shard", "store")

    def __init__(self, cluster: Cluster, node: NodeId) -> None:
        self.cluster = cluster
        self.node = node
        self.index = 0
        self.chain = 0
        #: The last batch that this node applied, or has from a snapshot.
        self.batch = 0
        self.store = Store()
        self.store.answering = False
        self.shard: WatchedShard | None = None

    def run_all(self, entries: Entries, items: Sequence[tuple[int, bytes]]) -> Sequence[Any]:
        workload: Any = self.cluster.workload
        truth: Truth = workload.truth
        size = USER_COMMAND.size
        for index, command in items:
            truth.learn(index, command[:size], command[size:])
        results = self.store.apply([(index, command[size:]) for index, command in items])
        if len(results) != len(items):
            self.cluster.checker.violate(14, self.node, "apply gave too few or too many results")
        for (index, _), replies in zip(items, results, strict=True):
            if replies is not None:
                truth.check_replies(self.node, index, replies)
        if items:
            self.batch = items[-1][0]
            truth.compare(self.node, self.store, self.batch)
        return results

    def state(self) -> object:
        store = self.store
        return store.now, store.data, store.expires, store.armed, store.mark

    def snapshot(self) -> bytes:
        ballast = self.cluster.ballast
        head = _SNAPSHOT.pack(self.index, self.chain, ballast)
        return head + struct.pack("<Q", self.batch) + bytes(ballast) + self.store.snapshot()

    def restore(self, source: SnapshotSource) -> None:
        whole = source.read(0, source.total_bytes)
        self.index, self.chain, ballast = _SNAPSHOT.unpack_from(whole)
        (self.batch,) = struct.unpack_from("<Q", whole, _SNAPSHOT.size)
        self.store.restore(BytesSource(whole[_SNAPSHOT.size + 8 + ballast :]))
        workload: Any = self.cluster.workload
        workload.truth.compare(self.node, self.store, self.batch)


class NodeTime:
    """`node.shard.Clock` of a simulated node: its monotonic clock drifts and jumps ahead, its wall
    clock besides is off by `offset_ms`, which jumps both ways.  Time passes while a node looks at
    its clock, too: now and then two looks in a row differ."""

    __slots__ = ("node", "offset_ms", "random")

    def __init__(self, node: SimNode, random: Random) -> None:
        self.node = node
        self.random = random
        self.offset_ms = random.randint(-3000, 3000)

    def now_s(self) -> float:
        return self.node.clock.now_us / 1e6

    def wall_ms(self) -> int:
        if self.random.random() < 0.04:
            self.offset_ms += self.random.choice((1, 1, 20))
        return self.last_wall_ms

    @property
    def last_wall_ms(self) -> int:
        return EPOCH_MS + self.node.clock.now_us // 1000 + self.offset_ms

    def catch_up(self) -> float:
        ticker = self.node.ticker
        if ticker is not None and self.node.up:
            ticker.catch_up()
        return self.now_s()


class WatchedDriver:
    """A shard's driver, which gives batches their names, and remembers what became of them."""

    def __init__(self, watched: WatchedShard, driver: Driver) -> None:
        self.watched = watched
        self.inner = driver
        self.core = driver.core
        self.read = driver.read
        self.reads_now = driver.reads_now

    @property
    def failed(self) -> BaseException | None:
        return self.inner.failed

    def propose(self, commands: Sequence[bytes], done: Callable[[Outcome], None]) -> None:
        watched = self.watched
        workload = watched.workload
        (payload,) = commands
        now, batch = decode_batch(payload)
        if not watched.told_ms - LOOK_MS_MAX <= now <= watched.told_ms:
            watched.violate(16, f"proposes at {watched.told_ms} by its clock a batch of {now}")
        waiters = done.__self__.waiters if batch else []  # type: ignore[attr-defined]
        records: list[Record] = list(waiters)
        if [record.args for record in records] != batch:
            watched.violate(15, f"proposes {batch}, and {records} wait for it")
        workload.batch_count += 1
        name = USER_COMMAND.pack(0, watched.node.number, workload.batch_count)
        workload.truth.batches[name] = (records, workload.cluster.clock.now_us)
        if batch:
            watched.under_way += 1

        def settle(outcome: Outcome) -> None:
            if not watched.lives:
                return
            if batch:
                last = done.__self__.last  # type: ignore[attr-defined]
                if outcome.kind == "applied" and last <= watched.void_last:
                    watched.violate(16, f"{batch} takes effect, and is behind what was given back")
                watched.under_way -= 1
            done(outcome)
            watched.check_counts()

        self.inner.propose([name + payload], settle)


class WatchedShard(Shard):
    """A shard in its surroundings; its own code.

    under_way   batches with commands whose outcome is not known.
    overdue_us  since when, by true time, a key is due at this leader; None: there is none.
    overdue     the leader's term, and the moment at which that key should have expired.
    told_ms     what it took for the time last.
    void_last   number of the last command that was there when some were given back: it and those
                before it have taken effect by then, or do not any more.
    """

    def __init__(self, workload: ShardWorkload, node: SimNode, time: NodeTime) -> None:
        self.workload = workload
        self.node = node
        self.life = node.life
        self.time = time
        self.under_way = 0
        self.flush_due = False
        self.overdue_us: int | None = None
        self.overdue = (0, 0)
        self.told_ms = 0
        self.void_last = 0
        #: What the time is at least, and at most, while the store's is ahead of the wall clock; and
        #: when that was.
        self._bounds_ms = (0.0, 0.0)
        self._bounds_s = 0.0
        machine: Any = node.machine.inner
        driver: Any = node.driver
        driver.forward = workload.forward
        watched: Any = WatchedDriver(self, driver)
        super().__init__(
            0,
            watched,
            machine.store,
            time,
            on_dirty=WatchedShard._dirty,
            on_refused=WatchedShard._refused,
            on_unknown=WatchedShard._unknown,
        )

    @property
    def lives(self) -> bool:
        return self.node.up and self.node.life == self.life

    def violate(self, number: int, text: str) -> None:
        self.workload.cluster.checker.violate(number, self.node.id, text)

    def check_counts(self) -> None:
        if self.inflight != self.under_way:
            self.violate(14, f"inflight is {self.inflight}, of {self.under_way} batches")
        if self.store.answering != bool(self.under_way):
            self.violate(14, f"answering is {self.store.answering} with {self.under_way} batches")
        if not self.under_way and self.settled != self.sequence - self.queued:
            self.violate(14, f"settled is {self.settled}, of {self.sequence}, {self.queued} queued")

    def on_fault(self, waiter: Any, error: Exception) -> None:
        raise error

    def time_ms(self) -> int:
        """As a shard's own, which must be the wall clock, or go on from the store's time."""
        told_ms = self.told_ms = super().time_ms()
        wall_ms = self.time.last_wall_ms
        now_ms = self.store.now
        if told_ms < min(wall_ms, now_ms) - LOOK_MS_MAX:
            self.violate(16, f"takes {told_ms} for the time, with {wall_ms} and {now_ms}")
        if wall_ms < now_ms:
            now_s = self.time.now_s()
            passed_ms = (now_s - self._bounds_s) * 1000
            least_ms, most_ms = self._bounds_ms
            least_ms = max(now_ms, least_ms + passed_ms * (1 - CLOCK_SLEW))
            most_ms = max(now_ms, most_ms + passed_ms)
            self._bounds_ms, self._bounds_s = (least_ms, most_ms), now_s
            if not least_ms - LOOK_MS_MAX <= told_ms <= most_ms + 1:
                self.violate(16, f"takes {told_ms} for the time: not in {least_ms} ... {most_ms}")
        elif told_ms > wall_ms:
            self.violate(16, f"takes {told_ms} for the time, with {wall_ms} and {now_ms}")
        return told_ms

    def _give_back(self, batches: list[Any]) -> None:
        super()._give_back(batches)
        self.void_last = self.sequence
        self.workload.cluster.checker.coverage["batches given back"] += len(batches)

    # --- what it calls -------------------------------------------------------------------------

    @staticmethod
    def _dirty(shard: Any) -> None:
        if not shard.flush_due:
            shard.flush_due = True
            workload = shard.workload
            workload.cluster.clock.after(workload.random.randrange(300), shard._turn)

    def _turn(self, _: None) -> None:
        self.flush_due = False
        if self.lives:
            self.workload.do(self.node, self._flush)

    def _flush(self, _: None) -> None:
        if self.flush() and self.lives and not self.flush_due:
            self.flush_due = True
            self.workload.cluster.clock.after(round(SHARD_GATHER_S * 1e6), self._turn)

    @staticmethod
    def _refused(
        shard: Any,
        commands: list[list[bytes]],
        waiters: list[Any],
        origins: list[Any],
        since_s: float,
    ) -> None:
        if not since_s <= shard.time.now_s():
            shard.violate(14, f"gives back at {shard.time.now_s()} what came at {since_s}")
        for args, record, _ in zip(commands, waiters, origins, strict=True):
            assert args is record.args
            record.refuse()

    @staticmethod
    def _unknown(shard: Any, commands: list[list[bytes]], waiters: list[Any]) -> None:
        for args, record in zip(commands, waiters, strict=True):
            assert args is record.args
            record.lose()

    # --- now and then --------------------------------------------------------------------------

    def look(self, _: None) -> None:
        """What a node does every few ticks; and whether it helps."""
        self.attend()
        if not self.lives:
            return
        due_ms = self.store.next_due_ms
        now_us = self.workload.cluster.clock.now_us
        if due_ms is None or due_ms > self.time_ms() or not self.leads:
            self.overdue_us = None
        elif self.overdue_us is None or self.overdue != (self.core.term, due_ms):
            self.overdue_us, self.overdue = now_us, (self.core.term, due_ms)
        elif (quiet_us := self.workload.quiet_us) is not None and (
            now_us - max(self.overdue_us, quiet_us) > 4 * self.workload.cluster.election_us
        ):
            self.violate(12, f"a key is due since {self.overdue_us / 1e6:.6f} s, and is there")
