"""Kills, stops, cuts and heals under load: no acknowledged write is lost, no answer is wrong."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cluster import wan
from cluster.history import Load
from cluster.nemesis import Nemesis
from cluster.processes import Cluster

if TYPE_CHECKING:
    from cluster.conftest import Asked

BALLAST_BYTES = 100_000
#: Apart enough that messages overtake what others do, near enough to get much done.
ROUND_TRIP_MS = 2.0


def test_kills_and_stops(tmp_path: Path, consensus: str, asked: Asked) -> None:
    """Needs no rights.  So much is written that logs are cut and snapshots are sent; one node has
    no replica, and only passes commands on."""
    settings = {"consensus": consensus, "shards": 1, "replicas": 3}
    with Cluster(tmp_path / "c", dcs={"eu": 4}, settings=settings) as cluster:
        cluster.start()
        with Load(cluster, asked.seed, ballast_bytes=BALLAST_BYTES) as load:
            load.wait_for_progress()
            Nemesis(cluster, load, asked.seed).run(asked.nemesis_seconds / 2)
        load.verify()


def test_kills_stops_and_cuts(tmp_path: Path, consensus: str, asked: Asked) -> None:
    """A network namespace for each node, and a router that cuts single directions between them."""
    if reason := wan.missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        network = stack.enter_context(wan.Wan(["a", "b", "c"], seed=asked.seed))
        for pair in (("a", "b"), ("b", "c"), ("a", "c")):
            network.round_trip(*pair, ROUND_TRIP_MS, jitter_ms=ROUND_TRIP_MS / 4)
        cluster = stack.enter_context(
            Cluster(
                tmp_path / "c",
                dcs={"a": 1, "b": 1, "c": 1},
                settings={"consensus": consensus, "timing": {"election_ms": 300}},
                network=network,
            )
        )
        cluster.start()
        with Load(cluster, asked.seed) as load:
            load.wait_for_progress()
            Nemesis(cluster, load, asked.seed, network).run(asked.nemesis_seconds)
        load.verify()
