"""Multi-Paxos on disks that die between any two records; see `crashing`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crashing import World
from paxos_group import PLAIN

from ringleader import kernels
from ringleader.consensus.paxos import Config, MultiPaxos
from ringleader.consensus.quorum import Flexible


def owned(voters: tuple[int | str, ...]) -> Flexible:
    """Any one row of two elects, where there are four: election quorums need not meet."""
    if len(voters) == 4:
        return Flexible.by_grid([voters[:2], voters[2:]], owned_ballots=True)
    return Flexible(voters, replication=len(voters) // 2 + 1, election=(len(voters) + 1) // 2)


class PaxosWorld(World):
    core = MultiPaxos
    configs = (
        replace(PLAIN, window=8, max_block_bytes=90, snapshot_chunk_bytes=3),
        Config(window=5, max_block_bytes=90, max_inflight_entries=3, snapshot_chunk_bytes=3),
        Config(window=16, max_apply_bytes=1, max_uncommitted_bytes=300, eager_commit=False),
        Config(window=4, check_quorum=False, snapshot_chunk_bytes=2, max_inflight_chunks=2),
        Config(window=12, max_aside_bytes=200, quorum=owned),
    )
    transitions = ("auto",)


@pytest.mark.parametrize("seed", range(10 if kernels.PURE else 40))
def test_crashes_between_any_two_records(seed: int) -> None:
    world = PaxosWorld(seed)
    for _ in range(10_000):
        world.step()
    world.heal()
    assert len(world.truth) > 10
