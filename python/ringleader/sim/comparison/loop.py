"""A group in one process and one thread, with nothing around the cores: what a core costs by
itself.

A loop takes each `Ready`; the core's own log is the storage, and a message is handed over as it
is.  The state machine counts what it sees and sums it up as a CRC32C.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any

from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Entries
from ringleader.consensus.ready import BytesSource, Snapshot, SnapshotSource
from ringleader.hashing import crc32c
from ringleader.sim.comparison.algorithms import Algorithm

PAYLOAD_BYTES = 64
#: A turn of a contestant takes about so long.
TURN_NS = 30_000_000


def payloads(count: int) -> list[bytes]:
    """What every contestant proposes: the number, eight times."""
    return [number.to_bytes(8, "little") * (PAYLOAD_BYTES // 8) for number in range(count)]


class Machine:
    """What all state machines here have in common: their sum, and no state."""

    def __init__(self) -> None:
        self.count = 0
        self.crc = 0

    def apply(self, entries: Entries) -> Sequence[Any]:
        raise NotImplementedError

    def snapshot(self) -> bytes:
        return b""

    def restore(self, source: SnapshotSource) -> None:
        pass


class Columns(Machine):
    """Looks at all payloads of a batch at once, where they lie in the log."""

    def apply(self, entries: Entries) -> Sequence[Any]:
        count = len(entries)
        self.count += count
        self.crc = crc32c(entries.payload.data, self.crc)
        return range(count)


class Commands(Machine):
    """Takes each command as a `bytes` object of its own."""

    def apply(self, entries: Entries) -> Sequence[Any]:
        commands = [command for index, command in entries]
        self.count += len(commands)
        self.crc = crc32c(b"".join(commands), self.crc)
        return commands


class LoopGroup:
    """Has a leader; `propose()` returns when every node has applied the commands (with
    eager_commit=False: when the leader has, and the others after `settle()`)."""

    def __init__(
        self,
        count: int,
        machine: type[Machine],
        algorithm: Algorithm,
        **settings: Any,
    ) -> None:
        voters = range(1, count + 1)
        config = algorithm.config(**settings)
        self.machines = [machine() for _ in voters]
        self.cores = [
            algorithm.make(number, voters, recovered=Recovered(), config=config, seed=number)
            for number in voters
        ]
        self.nodes = [
            (core, machine.apply) for core, machine in zip(self.cores, self.machines, strict=True)
        ]
        self.steps = {core.id: core.step for core in self.cores}
        self.leader = self.cores[0]
        self.leader.campaign()
        self.work()
        assert self.leader.role == "leader"

    def work(self) -> None:
        nodes, steps = self.nodes, self.steps
        busy = True
        while busy:
            busy = False
            for core, apply in nodes:
                if core.has_ready:
                    busy = True
                    ready = core.ready()
                    committed = ready.committed
                    if committed is not None:
                        apply(committed)
                    core.advance(ready)
                    for message in ready.messages:
                        steps[message.to](message)

    def propose(self, commands: list[bytes]) -> None:
        self.leader.propose(commands)
        self.work()

    def settle(self) -> None:
        """A heartbeat: every node hears of the last commit."""
        self.leader.tick(self.leader.config.heartbeat_ticks)
        self.work()

    def forget(self) -> None:
        """Empties all logs, as a snapshot does."""
        for core in self.cores:
            index = core.last_applied
            membership = core.membership_at(index)
            core.compact(Snapshot(index, core.log.term(index), membership, BytesSource(b""), 0))


class Lap:
    """`count` proposals in batches, on a group that has applied some before.  The group may be any
    with the methods of `LoopGroup`."""

    def __init__(self, group: Any, batch: int, count: int) -> None:
        commands = payloads(count)
        self.group = group
        self.batches = [commands[at : at + batch] for at in range(0, count, batch)]

    def prepare(self) -> None:
        self.group.settle()
        self.group.forget()
        for machine in self.group.machines:
            machine.count = machine.crc = 0

    def run(self) -> None:
        propose = self.group.propose
        for commands in self.batches:
            propose(commands)

    def run_and_settle(self) -> None:
        self.run()
        self.group.settle()

    def seen(self) -> tuple[int, int]:
        """(entries, checksum) as every node has seen them."""
        sums = {(machine.count, machine.crc) for machine in self.group.machines}
        assert len(sums) == 1, f"the nodes differ: {sums}"
        return sums.pop()


def race(
    contestants: Sequence[Algorithm],
    nodes: int,
    batch: int,
    *,
    rounds: int,
    turn_ns: int = TURN_NS,
    clock_ns: Callable[[], int] = perf_counter_ns,
) -> list[list[float]]:
    """Nanoseconds a proposal took, round by round, for each of the contestants.

    They take turns in every round, each time another one first, so that what is divided round by
    round holds on a machine that is never quiet.
    """
    count = batch * max(1, 1000 // batch)
    wanted = (count, crc32c(b"".join(payloads(count))))
    laps = [Lap(LoopGroup(nodes, Columns, each), batch, count) for each in contestants]

    def turn(lap: Lap, repeats: int) -> float:
        took = 0
        for _ in range(repeats):
            lap.prepare()
            began = clock_ns()
            lap.run()
            took += clock_ns() - began
        return took / repeats

    turn(laps[0], 1)
    repeats = max(1, round(turn_ns / max(1.0, turn(laps[0], 1))))
    times: list[list[float]] = [[] for _ in laps]
    for number in range(rounds):
        gc.collect()
        gc.disable()
        try:
            for place in range(len(laps)):
                at = (place + number) % len(laps)
                times[at].append(turn(laps[at], repeats) / count)
        finally:
            gc.enable()
    for lap in laps:
        assert lap.seen() == wanted, "a node has not applied what was proposed"
    return times


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, median(values), high
