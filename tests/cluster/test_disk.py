"""A disk that is full: nothing more is acknowledged, the node says so, and space helps."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.processes import Cluster, wait_until

#: Enough to start on, and little enough to fill.
DISK_MIB, MORE_MIB = 96, 512
VALUE = "x" * 100_000
FILL_SECONDS_MAX = 60.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, where the first node's data will be."""
    folder = tmp_path / "c" / "eu-1"
    folder.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def make_space(disk: Path) -> None:
    subprocess.run(["mount", "-o", f"remount,size={MORE_MIB}m", str(disk)], check=True)


def fill(cluster: Cluster) -> tuple[list[str], str]:
    """Write until that fails: the keys that were acknowledged, and what was said then."""
    acknowledged: list[str] = []
    until = time.monotonic() + FILL_SECONDS_MAX
    number = 0
    while time.monotonic() < until:
        try:
            with cluster.connect("eu-1", seconds=15) as connection:
                while time.monotonic() < until:
                    number += 1
                    reply = connection.call("SET", f"k{number}", f"{number}:{VALUE}")
                    if reply != b"OK":
                        return acknowledged, str(reply)
                    acknowledged.append(f"k{number}")
        except OSError as error:
            return acknowledged, repr(error)
    raise AssertionError(f"{len(acknowledged)} writes fit into {DISK_MIB} MiB")


def test_one_node_with_a_full_disk(tmp_path: Path, disk: Path) -> None:
    with Cluster(tmp_path / "c", dcs={"eu": 1}, settings={"shards": 1}) as cluster:
        cluster.start()
        acknowledged, _ = fill(cluster)
        assert acknowledged
        # Still nothing is acknowledged, whether the process lives on or not.
        for _ in range(3):
            assert not write(cluster, "eu-1", "later", VALUE)
        said = cluster.nodes["eu-1"].log.read_text().lower()
        assert "no space left" in said
        cluster.kill()
        make_space(disk)
        cluster.start()
        for key in acknowledged:
            value = cluster.call("eu-1", "GET", key)
            assert value == f"{key[1:]}:{VALUE}".encode(), f"{key} is lost"
        assert cluster.call("eu-1", "SET", "later", "v") == b"OK"


def test_a_full_disk_of_one_of_three(tmp_path: Path, disk: Path) -> None:
    """The others go on; with space, the node catches up."""
    with Cluster(tmp_path / "c", settings={"shards": 2}) as cluster:
        cluster.start()
        written: dict[str, str] = {}
        full = time.monotonic() + FILL_SECONDS_MAX
        log = cluster.nodes["eu-1"].log
        number = 0
        while "no space left" not in log.read_text().lower():
            assert time.monotonic() < full, "the disk never fills up"
            for _ in range(20):
                number += 1
                if write(cluster, "eu-2", f"k{number}", f"{number}:{VALUE}"):
                    written[f"k{number}"] = f"{number}:{VALUE}"
        wait_until(lambda: write(cluster, "eu-2", "after", "v"), "the others go on")
        cluster.kill("eu-1")
        make_space(disk)
        cluster.start("eu-1")
        for key, value in written.items():
            assert cluster.call("eu-1", "GET", key) == value.encode(), f"{key} is lost"
        # It counts again: with another one down, it is needed.
        cluster.kill("eu-3")
        wait_until(lambda: write(cluster, "eu-2", "again", "v"), "it takes part again")


def write(cluster: Cluster, name: str, key: str, value: str) -> bool:
    """Whether a write through this node is acknowledged."""
    try:
        with cluster.connect(name) as connection:
            return bool(connection.call("SET", key, value) == b"OK")
    except OSError:
        return False
