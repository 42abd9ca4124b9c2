"""`ringleader wal`: shows what is there, finds what is wrong, changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot, SnapshotChunk
from ringleader.hashing import crc32c
from ringleader.storage import layout
from ringleader.storage.directory import Directory
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import GroupStorage, Wal

Run = Callable[..., Result]
Refused = Callable[..., str]
IDENTITY = LogIdentity("orchard", "eu-1", incarnation=3, layout="raft, 16 shards")


def finish(disk: Directory) -> None:
    while disk._jobs:
        disk.wait(5)


def contents(path: Path) -> dict[str, bytes]:
    return {str(it): it.read_bytes() for it in path.rglob("*") if it.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A log of three groups, with everything that there is."""
    path = tmp_path / "data"
    with Directory(path, segment_bytes=2**16) as disk:
        wal = Wal(disk, IDENTITY, segment_bytes=2**14)
        wal.load()

        def write(number: int, **fields: Any) -> None:
            ready = Ready(1)
            for name, value in fields.items():
                setattr(ready, name, value)
            wal.group(number).write(ready, lambda _: None)
            finish(disk)

        write(0, hard_state=HardState(4, "us-1", 1), block=Block.pack(1, 4, [b"a", b"bc"]))
        for index in range(1, 100):
            write(7, block=Block.pack(index, 1, [b"x" * 500]))
        write(9, aside=[Block.pack(30, 5, [b"later"])])
        write(9, aside=[], clears_aside=True)
        write(9, chunks=[SnapshotChunk(50, 6, 100, 77, 0, b"half of it")])
        snapshot = Snapshot(90, 1, Membership([1, 2, 3]), BytesSource(b"state"), crc32c(b"state"))
        wal.group(7).save_snapshot(snapshot, 80, lambda: None)
        finish(disk)
        wal.mark()
        finish(disk)
    return path


def test_verify_tells_what_is_there(run: Run, data: Path) -> None:
    before = contents(data)
    result = run("wal", "verify", "data")
    assert result.exit_code == 0, result.output
    for words in ("node eu-1 of cluster orchard of raft, 16 shards, incarnation 3", "at 90, 5"):
        assert words in result.stdout
    found = json.loads(run("wal", "verify", "data", "--json").stdout)
    assert found["layout"] == "raft, 16 shards"
    assert found["end"]["bytes_behind"] == 0
    groups = {group["group"]: group for group in found["groups"]}
    assert list(groups) == [0, 7, 9]
    assert (groups[0]["term"], groups[0]["vote"], groups[0]["last"]) == (4, "us-1", 2)
    assert (groups[7]["last"], groups[7]["snapshot_index"]) == (99, 90)
    assert groups[9]["received_bytes"] == 10
    assert contents(data) == before


def test_dump_shows_each_record(run: Run, data: Path) -> None:
    before = contents(data)
    result = run("wal", "dump", "data", "--json")
    assert result.exit_code == 0
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["kind"] for row in rows} == {
        *("segment", "hard state", "block", "snapshot", "chunk", "mark", "aside", "forget"),
        *("group", "end"),
    }
    sequences = [row["sequence"] for row in rows if row["kind"] != "end"]
    assert sequences == list(range(sequences[0], sequences[-1] + 1))
    assert {row.get("cluster") for row in rows if row["kind"] == "segment"} == {"orchard"}
    text = run("wal", "dump", "data").stdout.splitlines()
    assert len(text) == len(rows)
    assert any("group 7 block: first 99, last 99" in line for line in text)
    only = run("wal", "dump", "data", "--json", "--group", "9").stdout.splitlines()
    assert {json.loads(line)["group"] for line in only} == {9}
    assert run("wal", "dump", "data", "--group", "5").stdout == ""
    assert contents(data) == before


def test_beside_a_running_node(run: Run, data: Path) -> None:
    with Directory(data, segment_bytes=2**16) as disk:
        wal = Wal(disk, IDENTITY)
        wal.load()
        assert run("wal", "verify", "data").exit_code == 0
        assert run("wal", "dump", "data").exit_code == 0


def test_a_torn_write_is_no_damage(run: Run, data: Path) -> None:
    last = max(data.glob("*.log"))
    whole = last.read_bytes()
    end = len(whole.rstrip(b"\0"))
    (data / "new").write_bytes(b"none of ours")
    last.write_bytes(whole[: end // 8 * 8 + 8] + b"\xa5" * 40)
    result = run("wal", "verify", "data", "--json")
    assert result.exit_code == 0, result.output
    end = json.loads(result.stdout)["end"]
    assert end["file"] == last.name
    assert end["bytes_behind"] > 0
    assert f"of {last.name}." in run("wal", "verify", "data").stdout
    assert "bytes behind it are no records" in run("wal", "dump", "data").stdout


def test_damage_names_file_and_byte(run: Run, data: Path) -> None:
    rows = [json.loads(line) for line in run("wal", "dump", "data", "--json").stdout.splitlines()]
    row = next(row for row in rows if row["kind"] == "block" and row["group"] == 7)
    path = data / row["file"]
    damaged = bytearray(path.read_bytes())
    damaged[row["at"] + 40] ^= 1
    path.write_bytes(damaged)
    before = contents(data)
    result = run("wal", "verify", "data")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert f"{row['file']}: the log is damaged at byte {row['at']}:" in result.stderr
    assert contents(data) == before
    (snapshot,) = data.glob("*.snapshot")
    path.write_bytes(bytes(damaged[: row["at"] + 40]) + b"x" + bytes(damaged[row["at"] + 41 :]))
    damaged[row["at"] + 40] ^= 1
    path.write_bytes(damaged)
    snapshot.write_bytes(b"S" + snapshot.read_bytes()[1:])
    result = run("wal", "verify", "data")
    assert result.exit_code == 1
    assert f"{snapshot.name}: the snapshot is damaged in the page at byte 0" in result.stderr


def test_what_is_no_log_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / layout.log_name(1)).write_bytes(os.urandom(500))
    for command in ("dump", "verify"):
        assert "missing: the directory cannot be read" in refused("wal", command, "missing")
        assert "file: the directory cannot be read" in refused("wal", command, "file")
        assert "empty: there is no log here" in refused("wal", command, "empty")
        assert "damaged at byte 0" in refused("wal", command, "other")


def test_the_log_of_one_group(run: Run, tmp_path: Path) -> None:
    with Directory(tmp_path / "one", segment_bytes=2**16) as disk:
        storage = GroupStorage(disk, LogIdentity("orchard", 1, group=12))
        storage.load()
        ready = Ready(1)
        ready.block = Block.pack(1, 1, [b"x"])
        storage.write(ready, lambda _: None)
        finish(disk)
    found = json.loads(run("wal", "verify", "one", "--json").stdout)
    assert [group["group"] for group in found["groups"]] == [12]
    assert found["groups"][0]["last"] == 1
