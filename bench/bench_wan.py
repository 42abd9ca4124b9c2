"""Datacenters apart: what a write and a linearizable read cost, and how long a cut is felt.

A member in each of three datacenters, which are network namespaces on this machine with a router
between them (tests/cluster/wan.py): a round trip between any two takes the time that the case says.
The client is in the leader's datacenter; when that one is cut off, in another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cluster import wan
from cluster.processes import Cluster, wait_until

from bench import loads
from bench.cases import SMALL, scaled
from bench.harness import Absent
from bench.loads import Goal, LatencyGoal
from bench.services import (
    Etcd,
    Place,
    Sample,
    Service,
    Work,
    load_program,
    pause_after,
    real_disk,
    run_load,
)

DCS = ("eu", "us", "ap")
NEAREST_MS = 30
CUT_MS = (30,) if SMALL else (30, 80, 150)
CUT_ROUNDS = scaled(3, 1)
CUT_SECONDS_MAX = 1.5
#: Writes pause when none is acknowledged for a round trip and so much more.
GAP_SECONDS = 0.05


class Far(Service):
    """Ringleader with a node in each datacenter, led from eu."""

    name = "ringleader"
    kind = "ours"

    def __init__(self, network: wan.Wan) -> None:
        self.network = network
        self.cluster: Cluster | None = None

    def start(self, directory: Path) -> None:
        expected: dict[str, dict[str, float]] = {}
        for a, b in combinations(DCS, 2):
            expected.setdefault(a, {})[b] = 2e3 * self.network.links[a, b].delay
        self.cluster = Cluster(
            directory,
            dcs=dict.fromkeys(DCS, 1),
            settings={
                "leaders": ["eu"],
                "replicas": dict.fromkeys(DCS, 1),
                "round_trips": expected,
            },
            network=self.network,
        )
        self.cluster.start()
        self.settle()

    def settle(self) -> None:
        """Wait until eu leads everything."""
        cluster = self.running
        wait_until(lambda: set(cluster.leaders("us-1").values()) == {"eu-1"}, "eu leads")

    @property
    def running(self) -> Cluster:
        assert self.cluster is not None, "it was started"
        return self.cluster

    def endpoint(self, dc: str) -> str:
        node = self.running.nodes[f"{dc}-1"]
        return f"{node.host}:{node.port}"

    def stop(self) -> None:
        if self.cluster is not None:
            self.cluster.close()

    def load(self, work: Work, count: int) -> Sample | None:
        place = Place(self.network, "eu")
        return run_load("resp", [self.endpoint("eu")], work, count, place=place)

    def cut_off(self) -> float:
        """Cut eu off and heal: seconds from the cut to the next write from us."""
        self.settle()  # the other store's cut has been one of ours, too
        gap = 2 * self.network.links["eu", "us"].delay + GAP_SECONDS
        pause = pause_after(
            "resp",
            [self.endpoint("us"), self.endpoint("ap")],
            lambda: self.network.cut("eu"),
            place=Place(self.network, "us"),
            gap_seconds=gap,
        )
        self.network.heal()
        return pause


class FarEtcd(Etcd):
    """etcd with a member in each datacenter, led from eu."""

    note = "gRPC; heartbeats and elections as it has them"

    def start(self, directory: Path) -> None:
        super().start(directory)
        self.lead_from(0)

    def cut_off(self) -> float:
        assert self.network is not None
        network = self.network
        self.lead_from(0)  # the other store's cut has been one of its own, too
        gap = 2 * network.links["eu", "us"].delay + GAP_SECONDS
        try:
            return pause_after(
                "grpc",
                [self.endpoint(1), self.endpoint(2)],
                lambda: network.cut("eu"),
                place=Place(network, "us"),
                gap_seconds=gap,
            )
        finally:
            network.heal()


@contextmanager
def apart(round_trip_ms: float) -> Iterator[tuple[Far, list[FarEtcd], list[Absent]]]:
    """Both stores in one network; etcd where it is installed."""
    if reason := wan.missing():
        pytest.skip(reason)
    load_program()
    with ExitStack() as stack:
        network = stack.enter_context(wan.Wan(DCS))
        for pair in combinations(DCS, 2):
            network.round_trip(*pair, round_trip_ms)
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ringleader-wan-", dir=real_disk())
        )
        ours, etcd = Far(network), FarEtcd(network)
        reason = etcd.missing()
        entered: list[Service] = [ours] if reason else [ours, etcd]
        for service in entered:
            folder = Path(scratch) / service.name
            folder.mkdir()
            stack.callback(service.stop)
            service.start(folder)
        yield ours, [] if reason else [etcd], [Absent(etcd.name, reason)] if reason else []


CASES: tuple[tuple[str, Work, tuple[Goal, ...]], ...] = (
    ("SET", Work("put", 1), (LatencyGoal(31.5, 50),)),
    ("linearizable GET", Work("get", 1), (LatencyGoal(1.0, 50),)),
)


def test_latency(benchmark: Any) -> None:
    def once() -> list[loads.Result]:
        with apart(NEAREST_MS) as (ours, rivals, absent):
            return [
                loads.measure(
                    f"{title}, the client in the leader's datacenter, the nearest other "
                    f"{NEAREST_MS} ms away",
                    work,
                    [ours, *rivals],
                    goals,
                    absent,
                )
                for title, work, goals in CASES
            ]

    for number, result in enumerate(benchmark.pedantic(once, rounds=1)):
        benchmark.extra_info[f"load {number}"] = result.as_json()
        assert result.scores[0].failed == 0, "operations failed"


@pytest.mark.parametrize("round_trip_ms", CUT_MS)
def test_cut_off(benchmark: Any, round_trip_ms: int) -> None:
    def once() -> loads.TimesResult:
        with apart(round_trip_ms) as (ours, rivals, absent):
            entries: list[tuple[str, str, Callable[[], float]]] = [("ringleader", "", ours.cut_off)]
            entries += [(each.name, each.note, each.cut_off) for each in rivals]
            return loads.measure_times(
                f"the leader's datacenter is cut off, {round_trip_ms} ms away: until the next "
                "acknowledged write",
                "s",
                entries,
                rounds=CUT_ROUNDS,
                at_most=CUT_SECONDS_MAX,
                absent=absent,
            )

    benchmark.extra_info["times"] = benchmark.pedantic(once, rounds=1).as_json()
