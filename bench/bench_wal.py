"""The node's log on the disk that the tests use: entries made durable, and read again.

A lap makes some batches of 100-byte entries durable, one after the other: each is appended to a
`Log`, taken out of it as a block, written through the `Wal`, flushed, and waited for, so that the
time of a batch is what a lone client waits for.  The log has run for a while: its segments are
made of older ones, as those of any node are whose snapshots follow its log.  "two at a time" has
the next batch ready while one is at the disk, as a node under load has.  The floor writes as many
bytes as the log does, into a file of zeros, and flushes it: in this thread, with nothing to encode
or to wait for.  SQLite commits the entries of a batch in one transaction (write-ahead log,
synchronous = FULL).

The disk is shared with whatever else runs there, and its flushes differ by a factor of two from one
second to the next: the ratios are what holds.
"""

from __future__ import annotations

import os
import select
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cases import SMALL, scaled
from bench.harness import AtMost, Case, Compare, Contestant, Goal, Within
from ringleader.consensus.log import ENTRY_BYTES, Log
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import BytesSource, Ready, Snapshot
from ringleader.hashing import crc32c
from ringleader.limits import WAL_SEGMENT_BYTES, WAL_SEGMENTS_MAX
from ringleader.storage.directory import Directory
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import Wal

IDENTITY = LogIdentity("bench", "n1", layout="raft, 1 shard")
PAYLOAD_BYTES = 100
#: A record's header and a block's.
FRAME_BYTES = 64
SEGMENT_BYTES = 2**20 if SMALL else WAL_SEGMENT_BYTES
SEGMENTS_MAX = 2 if SMALL else WAL_SEGMENTS_MAX
FLOOR_FILE_BYTES = 2**18 if SMALL else 2**24


class Durable:
    """A group of a log in a directory, and the replicated log before it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.disk = Directory(path, segment_bytes=SEGMENT_BYTES + 2**20)
        self.wal = Wal(
            self.disk,
            IDENTITY,
            segment_bytes=SEGMENT_BYTES,
            segments_max=SEGMENTS_MAX,
            manual=True,
            on_pressure=self.save,
        )
        self.wal.load()
        self.group = self.wal.group(0)
        self.log = Log()
        self.durable = 0
        self.events = select.epoll()
        self.events.register(self.disk.fileno(), select.EPOLLIN)

    def warm_up(self) -> None:
        """Until segments are made of older ones."""
        write_all = self.laps(1000, 100, 2)
        names: dict[int, str] = {}
        reuses = False
        while not reuses or self.wal.written_bytes < SEGMENTS_MAX * SEGMENT_BYTES:
            write_all()
            for each in self.path.glob("*.log"):
                reuses |= names.setdefault(each.stat().st_ino, each.name) != each.name

    def close(self) -> None:
        self.events.close()
        self.disk.close()

    def save(self, group: int) -> None:
        """What a node does when its log grows: old segments go."""
        index = self.durable
        snapshot = Snapshot(index, 1, Membership([1]), BytesSource(b"state"), crc32c(b"state"))
        self.group.save_snapshot(snapshot, index + 1, lambda: None)
        self.log.compact(index)

    def done(self, ready: Ready) -> None:
        assert ready.block is not None
        self.durable = ready.block.last

    def write(self, payloads: list[bytes]) -> None:
        log = self.log
        first = log.append(1, payloads)
        ready = Ready(1)
        ready.block = log.block(first, log.last + 1)
        self.group.write(ready, self.done)
        self.wal.flush()

    def wait(self, index: int) -> None:
        while self.durable < index:
            self.events.poll()
            self.disk.poll()

    def laps(self, batch: int, count: int, behind: int) -> Callable[[], int]:
        """`count` batches, each when all but `behind` of those before it are durable."""
        payloads = [b"x" * PAYLOAD_BYTES] * batch

        def run() -> int:
            before = self.log.last
            for number in range(count):
                self.wait(before + batch * (number - behind))
                self.write(payloads)
            self.wait(self.log.last)
            return self.durable - before

        return run


def floor(fd: int, batch: int, count: int) -> Callable[[], int]:
    data = b"x" * (FRAME_BYTES + batch * (PAYLOAD_BYTES + ENTRY_BYTES))
    at = 0

    def run() -> int:
        nonlocal at
        for _ in range(count):
            if at + len(data) > FLOOR_FILE_BYTES:
                at = 0
            os.pwrite(fd, data, at)
            os.fdatasync(fd)
            at += len(data)
        return batch * count

    return run


def committed(base: sqlite3.Connection, batch: int, count: int) -> Callable[[], int]:
    rows = [(b"x" * PAYLOAD_BYTES,)] * batch

    def run() -> int:
        for _ in range(count):
            with base:
                base.executemany("insert into log (payload) values (?)", rows)
        return batch * count

    return run


@pytest.mark.skipif(not hasattr(os, "fdatasync"), reason="the floor needs fdatasync")
@pytest.mark.parametrize(
    ("batch", "count", "goals"),
    [
        (1, 200, [Within(1.2, "write + fdatasync")]),
        (100, 100, [AtMost(2_000, "ringleader, two at a time")]),
        (1000, 50, [AtMost(250, "ringleader, two at a time")]),
    ],
)
def test_durable(
    compare: Compare, tmp_path: Path, batch: int, count: int, goals: list[Goal]
) -> None:
    count = scaled(count, 3)
    one, two = Durable(tmp_path / "one"), Durable(tmp_path / "two")
    for durable in (one, two):
        durable.warm_up()
    fd = os.open(tmp_path / "floor", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, bytes(FLOOR_FILE_BYTES), 0)
    os.fsync(fd)
    base = sqlite3.connect(tmp_path / "base")
    base.execute("pragma journal_mode = wal")
    base.execute("pragma synchronous = full")
    base.execute("create table log (number integer primary key, payload blob)")
    ops = batch * count
    try:
        compare(
            Case(
                f"{PAYLOAD_BYTES}-byte entries made durable, {batch} in a batch",
                "entry",
                [
                    Contestant("ringleader", one.laps(batch, count, 0), ops, "ours"),
                    Contestant("ringleader, two at a time", two.laps(batch, count, 2), ops),
                    Contestant("write + fdatasync", floor(fd, batch, count), ops, "floor"),
                    Contestant("SQLite, a transaction", committed(base, batch, count), ops),
                ],
                goals,
            )
        )
    finally:
        base.close()
        os.close(fd)
        one.close()
        two.close()


@pytest.mark.parametrize("batch", [1000, 100, 10])
def test_restart(compare: Compare, tmp_path: Path, batch: int) -> None:
    """All of a log is read, checked, and put into the groups' logs again."""
    count = scaled(10**6, 2_000)
    log = Log()
    with Directory(tmp_path) as disk:
        wal = Wal(disk, IDENTITY)
        wal.load()
        payloads = [b"x" * PAYLOAD_BYTES] * batch
        for _ in range(count // batch):
            first = log.append(1, payloads)
            ready = Ready(1)
            ready.block = log.block(first, log.last + 1)
            wal.group(0).write(ready, lambda _: None)
        while not wal.idle:
            disk.wait()
    size = sum(path.stat().st_size for path in tmp_path.glob("*.log"))

    def load() -> int:
        with Directory(tmp_path) as disk:
            wal = Wal(disk, IDENTITY)
            wal.load()
            return wal.group(0).load().log.last

    def read() -> int:
        return sum(len(path.read_bytes()) for path in tmp_path.glob("*.log")) and count

    assert load() == count
    compare(
        Case(
            f"restart with {count:,} entries, {batch} in a batch ({size / 1e6:.0f} MB)",
            "entry",
            [
                Contestant("ringleader", load, count, "ours"),
                Contestant("reading the files", read, count, "floor"),
            ],
            [AtMost(1_000)] if not SMALL else (),
        )
    )
