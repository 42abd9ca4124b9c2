"""ringleader's cores, a whole group in one process and one thread, as a node runs them.

`DriverGroup`: `Driver` and `MemoryStorage`; entries are stored once more than in the bare cores of
`ringleader.sim.comparison.loop`, and the proposer is told what became of its commands.

As a program it answers a line "nodes batch count" on standard input by a line "nanoseconds entries
checksum", as the programs of the peers do; so RINGLEADER_PURE=1 can be measured beside the rest.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from ringleader.consensus.driver import Driver, Outcome, Recovered
from ringleader.sim.comparison.algorithms import Algorithm, raft
from ringleader.sim.comparison.loop import Commands, Lap, LoopGroup, Machine
from ringleader.storage.memory import MemoryStorage

ELECTION_TICKS_MAX = 100


class _Inboxes:
    """A transport that brings every message at once."""

    def __init__(self, inboxes: dict[int | str, list[Any]]) -> None:
        self._inboxes = inboxes

    def send(self, messages: Sequence[Any]) -> None:
        for message in messages:
            self._inboxes[message.to].append(message)


class DriverGroup:
    """As `LoopGroup`."""

    def __init__(
        self, count: int, machine: type[Machine], algorithm: Algorithm, **settings: Any
    ) -> None:
        voters = range(1, count + 1)
        config = algorithm.config(**settings)
        self.machines = [machine() for _ in voters]
        inboxes: dict[int | str, list[Any]] = {number: [] for number in voters}
        transport = _Inboxes(inboxes)
        self.drivers = [
            Driver(
                algorithm.make(number, voters, recovered=Recovered(), config=config, seed=number),
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


def main() -> None:
    for line in sys.stdin:
        nodes, batch, count = map(int, line.split())
        lap = Lap(LoopGroup(nodes, Commands, raft()), batch, count)
        lap.run()
        lap.prepare()
        began = time.perf_counter_ns()
        lap.run()
        took = time.perf_counter_ns() - began
        entries, crc = lap.seen()
        print(took, entries, crc, flush=True)


if __name__ == "__main__":
    main()
