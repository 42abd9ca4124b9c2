"""ringleader's Raft, a whole group in one process and one thread, in the two ways to run a core.

    LoopGroup       the bare core: a loop takes each `Ready`, and the core's own log is the storage
    DriverGroup     `Driver` and `MemoryStorage`, as a node runs it: entries are stored once more,
                    and the proposer is told what became of its commands

and two kinds of state machine, which count what they see and sum it up as a CRC32C:

    Columns         looks at all payloads of a batch at once, where they lie in the log
    Commands        takes each command as a `bytes` object of its own

As a program it answers a line "nodes batch count" on standard input by a line "nanoseconds entries
checksum", as the programs of the peers do; so RINGLEADER_PURE=1 can be measured beside the rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from ringleader.consensus.driver import Driver, Outcome
from ringleader.consensus.log import Entries
from ringleader.consensus.raft.config import Config
from ringleader.consensus.raft.core import Raft
from ringleader.consensus.ready import BytesSource, Snapshot, SnapshotSource
from ringleader.hashing import crc32c
from ringleader.storage.memory import MemoryStorage

PAYLOAD_BYTES = 64
ELECTION_TICKS_MAX = 100


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
    def apply(self, entries: Entries) -> Sequence[Any]:
        count = len(entries)
        self.count += count
        self.crc = crc32c(entries.payload.data, self.crc)
        return range(count)


class Commands(Machine):
    def apply(self, entries: Entries) -> Sequence[Any]:
        commands = [command for index, command in entries]
        self.count += len(commands)
        self.crc = crc32c(b"".join(commands), self.crc)
        return commands


class LoopGroup:
    """Has a leader; `propose()` returns when every node has applied the commands (with
    eager_commit=False: when the leader has, and the others after `settle()`)."""

    def __init__(self, count: int, machine: type[Machine], config: Config | None = None) -> None:
        voters = range(1, count + 1)
        self.machines = [machine() for _ in voters]
        self.cores = [Raft(number, voters, config=config, seed=number) for number in voters]
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


class _Inboxes:
    """A transport that brings every message at once."""

    def __init__(self, inboxes: dict[int | str, list[Any]]) -> None:
        self._inboxes = inboxes

    def send(self, messages: Sequence[Any]) -> None:
        for message in messages:
            self._inboxes[message.to].append(message)


class DriverGroup:
    """As `LoopGroup`."""

    def __init__(self, count: int, machine: type[Machine], config: Config | None = None) -> None:
        voters = range(1, count + 1)
        self.machines = [machine() for _ in voters]
        inboxes: dict[int | str, list[Any]] = {number: [] for number in voters}
        transport = _Inboxes(inboxes)
        self.drivers = [
            Driver(
                Raft(number, voters, config=config, seed=number),
                MemoryStorage(),
                transport,
                machine,
                keep_entries=0,
            )
            for number, machine in zip(voters, self.machines, strict=True)
        ]
        self.nodes = [(driver.receive_all, inboxes[driver.core.id]) for driver in self.drivers]
        self.outcomes: list[Outcome] = []
        self.leader = self.drivers[0]
        while self.leader.core.leader != self.leader.core.id:
            self.leader.tick()
            assert self.leader.core.now < ELECTION_TICKS_MAX
            self.work()

    def work(self) -> None:
        nodes = self.nodes
        busy = True
        while busy:
            busy = False
            for receive_all, inbox in nodes:
                if inbox:
                    busy = True
                    arrived = inbox.copy()
                    inbox.clear()
                    receive_all(arrived)

    def propose(self, commands: list[bytes]) -> None:
        self.leader.propose(commands, self.outcomes.append)
        self.work()
        assert self.outcomes.pop().kind == "applied"

    def settle(self) -> None:
        self.leader.tick(1)
        self.work()

    def forget(self) -> None:
        for driver in self.drivers:
            driver.take_snapshot()


class Lap:
    """`count` proposals in batches, on a group that has applied some before."""

    def __init__(self, group: LoopGroup | DriverGroup, batch: int, count: int) -> None:
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


def main() -> None:
    for line in sys.stdin:
        nodes, batch, count = map(int, line.split())
        lap = Lap(LoopGroup(nodes, Commands), batch, count)
        lap.run()
        lap.prepare()
        began = time.perf_counter_ns()
        lap.run()
        took = time.perf_counter_ns() - began
        entries, crc = lap.seen()
        print(took, entries, crc, flush=True)


if __name__ == "__main__":
    main()
