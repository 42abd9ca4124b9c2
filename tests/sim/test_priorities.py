"""Leader priority under faults: nothing breaks, and once all is well the preferred node leads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ringleader.consensus.driver import Recovered
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.raft.config import Config
from ringleader.sim import profiles
from ringleader.sim.cluster import Cluster
from ringleader.sim.family import raft_core

PREFERRED = 3


def preferring(
    node: NodeId, voters: Membership, recovered: Recovered, config: Config, seed: int
) -> Any:
    wishes = {PREFERRED: 2, 2: 1}
    return raft_core(
        node, voters, recovered, replace(config, priorities=wishes, priority_ticks=20), seed
    )


@pytest.mark.parametrize("faults", ["network", "crash", "network,crash,disk"])
@pytest.mark.parametrize("seed", range(1, 9))
def test_leadership_settles_where_it_is_wanted(faults: str, seed: int) -> None:
    cluster = Cluster(profiles.profile("lan-3"), profiles.faults(faults), seed, core=preferring)
    cluster.run()
    for _ in range(200):
        cluster.clock.run(cluster.clock.now_us + 100_000)
        leaders = [
            node.id for node in cluster.nodes.values() if node.up and node.core.role == "leader"
        ]
        if leaders == [PREFERRED]:
            break
    assert leaders == [PREFERRED]
