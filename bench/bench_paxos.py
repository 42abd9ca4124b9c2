"""A Multi-Paxos group in one process beside our Raft: from a proposal to its command applied on
every node.

The same work as in bench_raft: 64-byte commands, one at a time or in batches, and every node sums
up what it applies.

    ringleader              Multi-Paxos, the bare core in a loop
    ringleader's Raft       the bare core in the same loop
    ..., Driver             as a node runs them: stored once more, outcomes reported

paxi's Multi-Paxos (Go) cannot be built here; what is known of it stands in docs/raft-vs-paxos.md.
"""

from __future__ import annotations

import pytest

from bench.bench_raft import ours
from bench.cases import scaled
from bench.harness import Case, Compare, Contestant, Kind, Within
from bench.raft_loop import DriverGroup
from ringleader.sim.comparison.algorithms import Algorithm, paxos, raft
from ringleader.sim.comparison.loop import Columns, Lap, LoopGroup

RAFT = "ringleader's Raft"
#: Multi-Paxos takes at most so many times what Raft does.
TIMES_MAX = 1.2
#: Proposals in a lap.
COUNT = {
    1: scaled(1_000, 20),
    10: scaled(5_000, 40),
    100: scaled(20_000, 200),
    1000: scaled(20_000, 1000),
}


@pytest.mark.parametrize("nodes", [3, 5])
@pytest.mark.parametrize("batch", [1, 10, 100, 1000])
def test_beside_raft(compare: Compare, nodes: int, batch: int) -> None:
    count = COUNT[batch]

    def group(
        name: str,
        make: type[LoopGroup] | type[DriverGroup],
        algorithm: Algorithm,
        kind: Kind = "peer",
    ) -> Contestant:
        return ours(name, Lap(make(nodes, Columns, algorithm), batch, count), count, kind)

    compare(
        Case(
            f"{nodes} nodes, "
            + ("one proposal at a time" if batch == 1 else f"batches of {batch:,}"),
            "proposal",
            [
                group("ringleader", LoopGroup, paxos(), "ours"),
                group(RAFT, LoopGroup, raft()),
                group("ringleader, Driver", DriverGroup, paxos()),
                group(f"{RAFT}, Driver", DriverGroup, raft()),
            ],
            [
                Within(TIMES_MAX, RAFT),
                Within(TIMES_MAX, f"{RAFT}, Driver", of="ringleader, Driver"),
            ],
        )
    )
