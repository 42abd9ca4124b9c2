"""A leader that stands still for longer than its lease, and wakes up believing that it leads."""

from __future__ import annotations

import time
from pathlib import Path

from cluster.history import Load
from cluster.processes import Cluster

#: Longer than any lease and any election time-out of these clusters.
STALL_SECONDS = 1.5
ROUNDS = 2


def write(cluster: Cluster, name: str, key: str, value: str) -> None:
    """A write through `name`, tried again until it is acknowledged."""
    until = time.monotonic() + 30
    while True:
        with cluster.connect(name) as connection:
            reply = connection.call("SET", key, value)
        if reply == b"OK":
            return
        assert time.monotonic() < until, reply
        time.sleep(0.02)


def test_a_leader_that_wakes_up_reads_nothing_stale(tmp_path: Path, consensus: str) -> None:
    with Cluster(tmp_path / "c", settings={"consensus": consensus}) as cluster:
        cluster.start()
        for number in range(ROUNDS):
            write(cluster, "eu-1", "k", f"old {number}")
            leader = cluster.leader("k")
            other = next(name for name in cluster.nodes if name != leader)
            with cluster.connect(leader, seconds=20) as at_leader:
                assert at_leader.call("GET", "k") == b"old %d" % number
                cluster.pause(leader)
                time.sleep(STALL_SECONDS)
                write(cluster, other, "k", f"new {number}")
                # It finds this in its socket the moment that it wakes up.
                at_leader.send(("GET", "k"))
                cluster.resume(leader)
                reply = at_leader.reply()
            assert isinstance(reply, Exception) or reply == b"new %d" % number
            cluster.wait_ready()


def test_a_leader_that_wakes_up_loses_nothing(tmp_path: Path, consensus: str) -> None:
    with Cluster(tmp_path / "c", settings={"consensus": consensus}) as cluster:
        cluster.start()
        with Load(cluster, seed=3) as load:
            for _ in range(ROUNDS):
                load.wait_for_progress()
                leader = next(iter(cluster.leaders().values()))
                cluster.pause(leader)
                time.sleep(STALL_SECONDS)
                cluster.resume(leader)
                cluster.wait_ready()
            load.wait_for_progress()
        load.verify()


def test_a_majority_that_stands_still_for_moments(tmp_path: Path) -> None:
    """About as long as a lease, or shorter."""
    count = 2
    with Cluster(tmp_path / "c") as cluster:
        cluster.start()
        with Load(cluster, seed=4) as load:
            for _ in range(5):
                for name in list(cluster.nodes)[:count]:
                    cluster.pause(name)
                time.sleep(0.05)
                for name in list(cluster.nodes)[:count]:
                    cluster.resume(name)
                load.wait_for_progress()
        load.verify()
