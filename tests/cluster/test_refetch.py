"""A node whose log is damaged or lost, and that fetches everything anew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cluster.processes import Cluster, wait_until
from cluster.test_identity import refusal


def log_of(cluster: Cluster, name: str) -> Path:
    return cluster.nodes[name].directory / "log"


def damage(directory: Path) -> str:
    """Spoil bytes in the middle of what was durable; the file's name."""
    path = max(directory.glob("*.log"))
    data = bytearray(path.read_bytes())
    written = len(data.rstrip(b"\0"))
    assert written > 1000
    data[written // 2 : written // 2 + 8] = b"spoiled!"
    path.write_bytes(data)
    return path.name


@pytest.mark.parametrize("consensus", ["raft", "paxos"])
@pytest.mark.parametrize("loss", ["damaged", "emptied", "gone"])
def test_a_node_that_lost_its_log_becomes_a_voter_again(
    tmp_path: Path, consensus: str, loss: str
) -> None:
    with Cluster(tmp_path / "c", settings={"consensus": consensus}) as cluster:
        cluster.start()
        for number in range(50):
            assert cluster.call("eu-1", "SET", f"k{number}", f"v{number}") == b"OK"
        cluster.kill("eu-3")
        if loss == "damaged":
            name = damage(log_of(cluster, "eu-3"))
            said = refusal(cluster, "eu-3")
            assert name in said
            assert "byte" in said
            assert "--refetch" in said
        elif loss == "emptied":
            shutil.rmtree(log_of(cluster, "eu-3"))
            said = refusal(cluster, "eu-3")
            assert "the log is gone" in said
            assert "--refetch" in said
        else:
            shutil.rmtree(cluster.nodes["eu-3"].directory)
        cluster.launch("eu-3", options=["--refetch"])
        cluster.wait_ready("eu-3")
        marker = cluster.nodes["eu-3"].directory / "refetch.json"
        wait_until(lambda: '"shards": []' in marker.read_text(), "all shards are back")
        assert len(list(cluster.nodes["eu-3"].directory.glob("log.replaced-*"))) == (
            0 if loss == "gone" else 1
        )
        # It counts: the others may lose one.
        cluster.kill("eu-1")
        assert cluster.call("eu-3", "GET", "k7") == b"v7"
        assert cluster.call("eu-3", "SET", "k7", "new") == b"OK"
        # And it is not forgotten at a restart.
        cluster.kill("eu-2", "eu-3")
        cluster.start("eu-2", "eu-3")
        assert cluster.call("eu-2", "GET", "k7") == b"new"
        assert cluster.call("eu-3", "GET", "k49") == b"v49"


def test_where_there_is_nobody_to_fetch_from(tmp_path: Path) -> None:
    with Cluster(tmp_path / "c", dcs={"eu": 1}) as cluster:
        cluster.start()
        assert cluster.call("eu-1", "SET", "k", "v") == b"OK"
        cluster.stop()
        cluster.launch("eu-1", options=["--refetch"])
        process = cluster.nodes["eu-1"].process
        assert process is not None
        assert process.wait(30) == 2
        assert "backup" in cluster.logs()
        cluster.start()
        assert cluster.call("eu-1", "GET", "k") == b"v", "nothing was changed"
