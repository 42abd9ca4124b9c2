"""Raft on disks that die between any two records; see `crashing`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crashing import World
from raft_group import PLAIN

from ringleader import kernels
from ringleader.consensus.raft import Config, Raft


class RaftWorld(World):
    core = Raft
    configs = (
        replace(PLAIN, max_block_bytes=90, snapshot_chunk_bytes=3),
        Config(max_block_bytes=90, max_inflight_entries=3, snapshot_chunk_bytes=3),
        Config(max_apply_bytes=1, max_uncommitted_bytes=300, eager_commit=False),
        Config(check_quorum=False, snapshot_chunk_bytes=2, max_inflight_chunks=2),
    )


@pytest.mark.parametrize("seed", range(8 if kernels.PURE else 40))
def test_crashes_between_any_two_records(seed: int) -> None:
    world = RaftWorld(seed)
    for _ in range(10_000):
        world.step()
    world.heal()
    assert len(world.truth) > 10
