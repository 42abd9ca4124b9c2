"""A Raft group in one process: from a proposal to its command applied on every node.

64-byte commands, one at a time or in batches; a batch is proposed when every node has applied the
one before.  All contestants apply the same bytes, and every node sums them up as a CRC32C, which
has to be that of what was proposed.

    ringleader                          the bare core in a loop, the state machine looks at columns
    ..., each command a bytes object    its state machine takes each command by itself
    ..., Driver                         as a node runs it: stored once more, outcomes reported
    ..., commit with the next entries   eager_commit=False: followers apply one proposal later
    ..., plain Python                   RINGLEADER_PURE=1, in a process of its own

libraft, too, tells followers of a commit with the next entries; etcd tells them at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from bench import raft_peers
from bench.cases import scaled
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Goal, Kind
from bench.raft_loop import DriverGroup
from bench.raft_peers import ENV, Built, Program
from ringleader.hashing import crc32c
from ringleader.sim.comparison.algorithms import raft
from ringleader.sim.comparison.loop import Columns, Commands, Lap, LoopGroup, Machine, payloads

BYTES_OBJECTS = "ringleader, each command a bytes object"
#: Proposals in a lap.
COUNT = {1: scaled(1_000, 20), 10: scaled(5_000, 40), 100: scaled(20_000, 200), 1024: 20 * 1024}
if scaled(0, 1):
    COUNT[1024] = 1024
#: Nanoseconds a proposal.
GOALS = {1: 5_000, 1024: 150}


@pytest.fixture
def start() -> Iterator[Callable[[list[str], dict[str, str]], Program]]:
    """Starts programs, and ends them with the case."""
    started: list[Program] = []

    def run(command: list[str], environment: dict[str, str]) -> Program:
        started.append(Program(command, environment))
        return started[-1]

    yield run
    for program in started:
        program.close()


def ours(
    name: str,
    lap: Lap,
    count: int,
    kind: Kind = "peer",
    settle: bool = False,
) -> Contestant:
    wanted = (count, crc32c(b"".join(payloads(count))))
    run = lap.run_and_settle if settle else lap.run

    def answers() -> tuple[int, int]:
        lap.prepare()
        run()
        assert lap.seen() == wanted
        return wanted

    return Contestant(name, run, count, kind, prepare=lap.prepare, answers=answers)


@pytest.mark.parametrize(
    ("nodes", "batch"), [(3, 1), (3, 10), (3, 100), (3, 1024), (5, 1), (5, 1024)]
)
def test_propose_to_applied(
    compare: Compare,
    start: Callable[[list[str], dict[str, str]], Program],
    nodes: int,
    batch: int,
) -> None:
    count = COUNT[batch]

    def group(
        name: str,
        make: type[LoopGroup] | type[DriverGroup],
        machine: type[Machine],
        kind: Kind = "peer",
        eager: bool = True,
    ) -> Contestant:
        lap = Lap(make(nodes, machine, raft(), eager_commit=eager), batch, count)
        return ours(name, lap, count, kind, settle=not eager)

    def peer(
        name: str, command: Built, count: int, environment: dict[str, str] = ENV
    ) -> Contestant | Absent:
        if isinstance(command, str):
            return Absent(name, command)
        program = start(command, environment)
        contestant = program.contestant(name, nodes, batch, count)
        assert contestant.answers is not None
        assert contestant.answers() == (count, crc32c(b"".join(payloads(count)))), name
        return contestant

    contestants: list[Contestant | Absent] = [
        group("ringleader", LoopGroup, Columns, "ours"),
        group(BYTES_OBJECTS, LoopGroup, Commands),
        group("ringleader, Driver", DriverGroup, Columns),
        group("ringleader, Driver, each command a bytes object", DriverGroup, Commands),
        group(
            "ringleader, commit with the next entries",
            LoopGroup,
            Columns,
            eager=False,
        ),
        peer(
            "ringleader, plain Python",
            [sys.executable, str(raft_peers.BENCH / "raft_loop.py")],
            max(batch, count // 20),
            {**ENV, "RINGLEADER_PURE": "1"},
        ),
        peer("libraft (C)", raft_peers.libraft(), count),
        peer("etcd raft (Go)", raft_peers.etcd(), count),
        *raft_peers.UNBUILT,
    ]
    goals: list[Goal] = []
    if batch in GOALS and nodes == 3:
        goals = [AtMost(GOALS[batch]), AtMost(GOALS[batch], BYTES_OBJECTS)]
    compare(
        Case(
            f"{nodes} nodes, "
            + ("one proposal at a time" if batch == 1 else f"batches of {batch:,}"),
            "proposal",
            contestants,
            goals,
        )
    )


@pytest.mark.parametrize("batch", [1, 10_000])
def test_beside_pysyncobj(
    compare: Compare, start: Callable[[list[str], dict[str, str]], Program], batch: int
) -> None:
    """The other Raft that a Python program may have with pip, over sockets of this machine."""
    ours_count = scaled(1_000, 20) if batch == 1 else batch

    def peer(mode: str, count: int) -> Contestant | Absent:
        name = f"PySyncObj, {mode}"
        command = raft_peers.pysyncobj()
        if isinstance(command, str):
            return Absent(name, command)
        program = start([*command, mode], ENV)
        contestant = program.contestant(name, 3, batch, count)
        assert contestant.answers is not None
        assert contestant.answers() == (count, crc32c(b"".join(payloads(count)))), name
        return contestant

    one = batch == 1
    title = "one at a time" if one else f"{batch:,} in flight"
    compare(
        Case(
            f"3 nodes, {title}, beside PySyncObj",
            "proposal",
            [
                ours(
                    "ringleader",
                    Lap(DriverGroup(3, Commands, raft()), batch, ours_count),
                    ours_count,
                    "ours",
                ),
                peer("batched", scaled(2, 1) if one else scaled(batch, 100)),
                peer("unbatched", scaled(100, 5) if one else scaled(batch, 100)),
            ],
        )
    )
