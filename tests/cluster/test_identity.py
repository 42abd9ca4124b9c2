"""Whose data a directory holds, and what a configuration may not contradict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.processes import Cluster, Node

REFUSES_SECONDS_MAX = 30.0


def refusal(cluster: Cluster, name: str) -> str:
    """What a node says that does not start; it has to end by itself, and not well."""
    node = cluster.nodes[name]
    before = node.log.stat().st_size if node.log.exists() else 0
    cluster.launch(name)
    assert node.process is not None
    status = node.process.wait(REFUSES_SECONDS_MAX)
    said = node.log.read_bytes()[before:].decode(errors="replace")
    assert status not in (0, None), said
    assert status > 0, f"it died of a signal: {said}"
    assert "Traceback" not in said, said
    return said


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with some data, stopped in order.  The tests leave it as it was."""
    with Cluster(tmp_path_factory.mktemp("stopped")) as cluster:
        cluster.start()
        assert cluster.call("eu-1", "SET", "k", "v") == b"OK"
        assert set(cluster.stop().values()) == {0}
        yield cluster


def swap(first: Path, second: Path) -> None:
    spare = first.with_name("spare")
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


def test_the_directory_of_another_node(stopped: Cluster) -> None:
    first, second = (stopped.nodes[name].directory for name in ("eu-1", "eu-2"))
    swap(first, second)
    try:
        said = refusal(stopped, "eu-1")
    finally:
        swap(first, second)
    assert "eu-2" in said
    assert str(first) in said


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "another"}, "name"),
        ({"shards": 5}, "shards"),
        ({"consensus": "paxos"}, "consensus"),
        ({"replicas": 1}, "eu-"),
    ],
    ids=["cluster", "shards", "consensus", "replicas"],
)
def test_a_config_that_contradicts_the_data(
    stopped: Cluster, changes: dict[str, object], named: str
) -> None:
    stopped.write_config(**changes)
    try:
        assert named in refusal(stopped, "eu-1")
    finally:
        stopped.write_config()


def test_nothing_is_lost_by_that(stopped: Cluster) -> None:
    stopped.start()
    assert stopped.call("eu-2", "GET", "k") == b"v"
    assert set(stopped.stop().values()) == {0}


def test_two_processes_on_one_directory(cluster: Cluster, tmp_path: Path) -> None:
    twin = Cluster(tmp_path / "twin", settings={"data_dir": str(cluster.directory)})
    with twin:
        # The same nodes with the same data, but with ports of their own.
        said = refusal(twin, "eu-1")
    assert str(cluster.directory) in said
    assert cluster.call("eu-1", "PING") == b"PONG"


def test_a_port_that_is_taken(cluster: Cluster, tmp_path: Path) -> None:
    with Cluster(tmp_path / "d") as other:
        other.nodes["eu-1"].port = cluster.nodes["eu-1"].port
        other.write_config()
        assert str(cluster.nodes["eu-1"].port) in refusal(other, "eu-1")
    assert cluster.call("eu-1", "PING") == b"PONG"


def test_a_config_with_mistakes(tmp_path: Path) -> None:
    with Cluster(tmp_path / "c", settings={"shards": 0, "colour": "blue"}) as cluster:
        said = refusal(cluster, "eu-1")
        assert "shards" in said
        assert "colour" in said


def test_a_node_that_is_not_in_the_config(tmp_path: Path) -> None:
    with Cluster(tmp_path / "c") as cluster:
        first = cluster.nodes["eu-1"]
        cluster.nodes["eu-9"] = Node(
            *("eu-9", "eu", first.host, first.port, first.peer_port, first.http_port),
            cluster.directory / "eu-9",
            cluster.directory / "eu-9.log",
        )
        assert "eu-9" in refusal(cluster, "eu-9")
