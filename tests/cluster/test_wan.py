"""Datacenters that are really apart: each in a network namespace, a router between them.

What is measured by the way is printed (`pytest -s`); the bounds here only tell a design that does
what it should from one that does not, however busy the machine is.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest
from cluster import wan
from cluster.history import Load
from cluster.processes import Cluster, wait_until

DCS = ("eu", "us", "ap")
ROUNDS = 60
#: Of a linearizable read in the leader's datacenter: far less than a round trip.
READ_SHARE_MAX = 0.6
#: Of a write: a round trip to the nearest other datacenter, and not two.
WRITE_SHARE_MAX = 1.8
CUT_SECONDS_MAX = 15.0


def far(
    stack: ExitStack, path: Path, nearest_ms: float, **settings: object
) -> tuple[wan.Wan, Cluster]:
    """One node in each of three datacenters, which run and prefer to be led from eu."""
    network = stack.enter_context(wan.Wan(DCS))
    network.round_trip("eu", "us", nearest_ms)
    network.round_trip("eu", "ap", 2 * nearest_ms)
    network.round_trip("us", "ap", 2 * nearest_ms)
    expected = {
        "eu": {"us": nearest_ms, "ap": 2 * nearest_ms},
        "us": {"ap": 2 * nearest_ms},
    }
    cluster = stack.enter_context(
        Cluster(
            path,
            dcs=dict.fromkeys(DCS, 1),
            settings={
                "shards": 2,
                "leaders": ["eu"],
                "replicas": dict.fromkeys(DCS, 1),
                "round_trips": expected,
                **settings,
            },
            network=network,
        )
    )
    cluster.start()
    wait_until(
        lambda: set(cluster.leaders().values()) == {"eu-1"}, "leaders settle where they should"
    )
    return network, cluster


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    if reason := wan.missing():
        pytest.skip(reason)


def timed(cluster: Cluster, name: str, *command: str) -> list[float]:
    """Milliseconds of each of some calls, sorted."""
    times = []
    with cluster.connect(name) as connection:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            reply = connection.call(*command)
            times.append((time.perf_counter() - began) * 1e3)
            assert not isinstance(reply, Exception), reply
    return sorted(times)


def test_latencies_in_the_leaders_datacenter(tmp_path: Path, consensus: str) -> None:
    with ExitStack() as stack:
        _, cluster = far(stack, tmp_path / "c", 30.0, consensus=consensus)
        writes = timed(cluster, "eu-1", "SET", "k", "v")
        reads = timed(cluster, "eu-1", "GET", "k")
        print(f"write p50 {median(writes):.2f} ms, read p50 {median(reads):.3f} ms")
        assert 30.0 <= median(writes) < 30.0 * WRITE_SHARE_MAX
        assert median(reads) < 30.0 * READ_SHARE_MAX
        # From far away: one round trip to the leader, and its own.
        assert cluster.call("us-1", "GET", "k") == b"v"


def test_the_leaders_datacenter_is_cut_off(tmp_path: Path, consensus: str) -> None:
    nearest_ms = 80.0
    with ExitStack() as stack:
        network, cluster = far(stack, tmp_path / "c", nearest_ms, consensus=consensus)
        cluster.call("us-1", "SET", "k", "before")
        network.cut("eu")
        began = time.monotonic()
        wait_until(
            lambda: cluster.call("us-1", "SET", "k", "after", seconds=2.0) == b"OK",
            "the others take writes",
            CUT_SECONDS_MAX,
            step=0.01,
        )
        print(f"{nearest_ms:g} ms: {time.monotonic() - began:.2f} s until a write")
        # The leader that was cut off does not say what it cannot know any more.
        with cluster.connect("eu-1", seconds=15) as connection:
            assert connection.call("GET", "k") != b"before"
        network.heal()
        wait_until(
            lambda: set(cluster.leaders("us-1").values()) == {"eu-1"},
            "leaders return to where they should be",
        )
        assert cluster.call("eu-1", "GET", "k") == b"after"


def test_cuts_of_single_directions(tmp_path: Path, consensus: str) -> None:
    with ExitStack() as stack:
        network, cluster = far(stack, tmp_path / "c", 10.0, consensus=consensus)
        with Load(cluster, seed=5) as load:
            for pairs in (
                [("eu", "us")],
                [("eu", "us"), ("eu", "ap")],
                [("us", "eu"), ("ap", "eu")],
                [("us", "ap"), ("ap", "eu")],
            ):
                load.wait_for_progress()
                for pair in pairs:
                    network.cut_one_way(*pair)
                time.sleep(1.2)
                network.heal()
            load.wait_for_progress()
            cluster.wait_ready()
        load.verify()


def test_lost_packets(tmp_path: Path, consensus: str) -> None:
    with ExitStack() as stack:
        network, cluster = far(stack, tmp_path / "c", 10.0, consensus=consensus)
        with Load(cluster, seed=6) as load:
            for share in (0.01, 0.1, 0.3):
                for a, b in (("eu", "us"), ("us", "ap"), ("eu", "ap")):
                    network.lose(a, b, share)
                time.sleep(1.5)
                network.heal()
                load.wait_for_progress()
            cluster.wait_ready()
        load.verify()
