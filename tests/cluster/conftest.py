"""Real clusters for tests.  Longer runs are asked for by the environment:

RINGLEADER_KILLS=100               cycles of kill -9 under load (5)
RINGLEADER_NEMESIS_SECONDS=600     kills, stops, cuts and heals (15)
RINGLEADER_CONNECTIONS=10000       connections at once (1000)
RINGLEADER_CLUSTER_SEED=7          which nodes, which moments (1)

RINGLEADER_KILLS=100 make test ARGS="tests/cluster/test_crashes.py"
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest
from cluster.processes import Cluster, living


@dataclass(frozen=True)
class Asked:
    """How long the long tests are."""

    kills: int
    nemesis_seconds: float
    connections: int
    seed: int


@pytest.fixture(scope="session")
def asked() -> Asked:
    return Asked(
        int(os.environ.get("RINGLEADER_KILLS", "5")),
        float(os.environ.get("RINGLEADER_NEMESIS_SECONDS", "15")),
        int(os.environ.get("RINGLEADER_CONNECTIONS", "1000")),
        int(os.environ.get("RINGLEADER_CLUSTER_SEED", "1")),
    )


@pytest.fixture(params=["raft", "paxos"])
def consensus(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes in one datacenter, which the tests of a module share and leave whole."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as shared:
        shared.start()
        yield shared


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what the nodes wrote."""
    report = yield
    if report.failed:
        report.sections += [("nodes", cluster.logs()) for cluster in living()]
    return report
