"""The simulated disk: what survives a crash is what `storage.files` promises, and no more."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.errors import StorageError
from ringleader.sim.clock import Clock
from ringleader.sim.disk import SimDisk
from ringleader.sim.profiles import FAULTS, SYNC_NVME, DiskFaults

HARSH = replace(FAULTS["disk"].disk, stall_rate=0.0, sync_error_rate=0.0, flip_synced_rate=0.0)
TEARS = replace(HARSH, fill_rate=0.0, flip_unsynced_rate=0.0)


def disk_of(seed: int = 1, faults: DiskFaults | None = None) -> tuple[Clock, SimDisk]:
    clock = Clock()
    return clock, SimDisk(clock, Random(seed), sync=SYNC_NVME, faults=faults)


def text(disk: SimDisk, name: str) -> bytes:
    reader = disk.open(name)
    return reader.read(0, reader.total_bytes)


def synced(clock: Clock, disk: SimDisk, *names: str) -> None:
    left: list[object] = []
    for name in names:
        disk.sync(name, left.append)
    disk.sync_names(left.append)
    clock.run(clock.now_us + 10**7)
    assert left == [None] * (len(names) + 1)


def test_files_are_what_was_done_to_them() -> None:
    _, disk = disk_of()
    disk.create("a")
    disk.append("a", b"hello ")
    disk.append("a", bytearray(b"world"))
    held = disk.open("a")
    disk.rename("a", "b")
    assert disk.names() == ["b"]
    disk.truncate("b", 5)
    assert text(disk, "b") == b"hello"
    assert held.read(1, 3) == b"ell"
    disk.create("a")
    disk.rename("b", "a")
    assert text(disk, "a") == b"hello"
    disk.delete("a")
    assert disk.names() == []
    assert held.read(0, 99) == b"hello"
    for refused in (
        lambda: disk.append("a", b""),
        lambda: disk.open("a"),
        lambda: disk.delete("a"),
        lambda: disk.rename("a", "b"),
        lambda: disk.truncate("a", 0),
        lambda: disk.sync("a", lambda _: None),
    ):
        with pytest.raises(StorageError, match="no such file"):
            refused()
    disk.create("a")
    with pytest.raises(StorageError, match="of this name"):
        disk.create("a")


def test_a_sync_takes_time_and_covers_what_was_there() -> None:
    clock, disk = disk_of(faults=replace(TEARS, torn_rate=1.0))
    disk.create("a")
    synced(clock, disk)
    disk.append("a", b"x" * 10)
    done: list[int] = []
    start_us = clock.now_us
    disk.sync("a", lambda error: done.append(clock.now_us - start_us))
    disk.append("a", b"y" * 1000)
    assert done == []
    clock.run(start_us + 10**6)
    assert SYNC_NVME.min_us <= done[0] <= SYNC_NVME.max_us
    disk.crash()
    assert 10 <= len(text(disk, "a")) < 1010
    assert (b"x" * 10 + b"y" * 1000).startswith(text(disk, "a"))


def test_syncs_wait_for_each_other_and_for_their_bytes() -> None:
    clock, disk = disk_of()
    disk.create("a")
    disk.append("a", bytes(100_000_000))
    done: list[int] = []
    for _ in range(3):
        disk.sync("a", lambda _: done.append(clock.now_us))
    clock.run(10**7)
    assert done[0] >= 100_000
    assert done == sorted(done)
    assert done[2] - done[1] >= SYNC_NVME.min_us


def test_a_crash_takes_the_callbacks_of_that_life() -> None:
    clock, disk = disk_of()
    disk.create("a")
    synced(clock, disk)
    disk.append("a", b"x")
    done: list[object] = []
    disk.sync("a", done.append)
    disk.crash()
    clock.run(clock.now_us + 10**7)
    assert done == []


def test_a_process_crash_takes_no_bytes_and_the_kernel_goes_on() -> None:
    clock, disk = disk_of(faults=replace(TEARS, torn_rate=1.0))
    disk.create("a")
    disk.append("a", b"x" * 50)
    done: list[object] = []
    disk.sync("a", done.append)
    disk.sync_names(done.append)
    disk.append("a", b"y" * 50)
    disk.crash(power=False)
    assert text(disk, "a") == b"x" * 50 + b"y" * 50
    clock.run(10**7)
    assert done == []
    disk.crash()
    assert text(disk, "a").startswith(b"x" * 50)


def test_settle_makes_all_durable() -> None:
    _, disk = disk_of(faults=HARSH)
    for name in "abc":
        disk.create(name)
        disk.append(name, name.encode() * 100)
    disk.truncate("a", 3)
    disk.settle()
    disk.crash()
    assert [text(disk, name) for name in disk.names()] == [b"aaa", b"b" * 100, b"c" * 100]


def test_after_a_failed_sync_a_later_one_promises_nothing() -> None:
    for seed in range(20):
        clock, disk = disk_of(seed, TEARS)
        disk.create("a")
        synced(clock, disk, "a")
        disk.append("a", b"x" * 100)
        disk.faults = replace(TEARS, sync_error_rate=1.0)
        done: list[object] = []
        disk.sync("a", done.append)
        clock.run(clock.now_us + 10**6)
        assert isinstance(done[0], StorageError)
        disk.faults = TEARS
        disk.sync("a", done.append)
        clock.run(clock.now_us + 10**6)
        assert done[1] is None
        disk.crash()
        if len(text(disk, "a")) < 100:
            return
    raise AssertionError("a failed sync lost nothing in 20 runs")


def test_a_full_disk_takes_a_part() -> None:
    _, disk = disk_of()
    disk.create("a")
    disk.append("a", b"x" * 10)
    disk.full = True
    with pytest.raises(StorageError, match="full"):
        disk.append("a", b"y" * 100)
    assert text(disk, "a").startswith(b"x" * 10)
    disk.full = False
    disk.append("a", b"z")
    assert text(disk, "a").endswith(b"z")
    small = SimDisk(Clock(), Random(1), sync=SYNC_NVME, capacity_bytes=100)
    small.create("a")
    small.append("a", bytes(90))
    with pytest.raises(StorageError, match="full"):
        small.append("a", bytes(11))
    assert small.used_bytes <= 100


def test_a_stalled_disk_is_late() -> None:
    clock, disk = disk_of(faults=DiskFaults(stall_rate=1.0, stall_us=(400_000, 500_000)))
    disk.create("a")
    done: list[int] = []
    disk.sync("a", lambda _: done.append(clock.now_us))
    clock.run(10**7)
    assert 400_000 <= done[0] <= 560_000


def test_synced_bytes_are_spoiled_on_demand_only_where_a_later_sync_is() -> None:
    clock, disk = disk_of()
    disk.create("a")
    assert not disk.flip_synced()
    disk.append("a", b"x" * 100)
    synced(clock, disk, "a")
    assert not disk.flip_synced()
    disk.append("a", b"y" * 100)
    synced(clock, disk, "a")
    for _ in range(20):
        assert disk.flip_synced()
    assert all(at < 100 for _, at in disk.flipped)
    assert text(disk, "a")[100:] == b"y" * 100
    disk.wipe()
    assert disk.names() == []
    assert disk.flipped == []


class FileModel:
    def __init__(self) -> None:
        self.data = b""
        self.durable = 0
        #: A truncation that is not durable: the crash may show what was before it.
        self.old: list[bytes] = []


@settings(max_examples=200)
@given(st.data(), st.integers(0, 2**32))
def test_what_survives_is_what_is_promised(data: st.DataObject, seed: int) -> None:
    clock, disk = disk_of(seed, HARSH)
    model: dict[str, FileModel] = {}
    #: What the names may be after a crash: after each operation that is not durable.
    possible: list[dict[str, FileModel]] = [{}]
    for _ in range(data.draw(st.integers(1, 25))):
        action = data.draw(st.sampled_from(["create", "append", "sync", "names", "rename", "cut"]))
        name = data.draw(st.sampled_from("abc"))
        if action == "create" and name not in model:
            disk.create(name)
            model[name] = FileModel()
            possible.append(dict(model))
        elif name not in model:
            continue
        elif action == "append":
            piece = data.draw(st.binary(min_size=1, max_size=30))
            disk.append(name, piece)
            model[name].data += piece
        elif action == "sync":
            disk.sync(name, lambda error: None)
            clock.run(clock.now_us + 10**6)
            model[name].durable = len(model[name].data)
            model[name].old.clear()
        elif action == "names":
            disk.sync_names(lambda error: None)
            clock.run(clock.now_us + 10**6)
            possible = [dict(model)]
        elif action == "rename":
            other = data.draw(st.sampled_from("abc"))
            if other != name:
                disk.rename(name, other)
                model[other] = model.pop(name)
                possible.append(dict(model))
        elif action == "cut":
            file = model[name]
            keep = data.draw(st.integers(0, len(file.data)))
            disk.truncate(name, keep)
            if keep < file.durable:
                file.old.append(file.data[: file.durable])
            file.data = file.data[:keep]
            file.durable = min(file.durable, keep)
    longest = {name: len(file.data) for name, file in model.items()}
    disk.crash()
    names = disk.names()
    assert names in [sorted(names_then) for names_then in possible]
    (now, *_) = [then for then in possible if sorted(then) == names]
    matching = [
        then
        for then in possible
        if sorted(then) == names and all(_may_be(text(disk, it), then[it]) for it in names)
    ]
    assert matching, (now, names, longest)


def _may_be(found: bytes, file: FileModel) -> bool:
    """The durable bytes, then anything up to as many as were there; or what was before a cut."""
    if any(found == old for old in file.old):
        return True
    return found.startswith(file.data[: file.durable]) and len(found) <= len(file.data)


def test_tears_happen_at_every_byte_and_fills_at_all() -> None:
    sizes = set()
    fills = {b"\0": 0, b"x": 0, b"?": 0}
    for seed in range(400):
        clock, disk = disk_of(seed, replace(HARSH, flip_unsynced_rate=0.0))
        disk.create("a")
        synced(clock, disk)
        disk.append("a", b"x" * 20)
        disk.crash()
        found = text(disk, "a")
        sizes.add(len(found.rstrip(b"\0")) if set(found) <= {0, 120} else -1)
        rest = found.lstrip(b"x")
        fills[b"x" if not rest else b"\0" if not rest.strip(b"\0") else b"?"] += 1
    assert {*range(21), -1} == sizes
    assert min(fills.values()) > 10


def test_the_same_seed_gives_the_same_disk() -> None:
    def run(seed: int) -> list[tuple[str, bytes, int]]:
        clock, disk = disk_of(seed, FAULTS["disk"].disk)
        random = Random(seed)
        out: list[tuple[str, bytes, int]] = []

        def note(_: object) -> None:
            out.append(("sync", b"", clock.now_us))

        for life in range(20):
            disk.create(f"f{life}")
            for _ in range(10):
                disk.append(f"f{life}", random.randbytes(30))
                disk.sync(f"f{life}", note)
                clock.run(clock.now_us + random.randrange(300))
            disk.sync_names(lambda _: None)
            clock.run(clock.now_us + 10**6)
            disk.crash(power=random.random() < 0.7)
            out += [(name, text(disk, name), clock.now_us) for name in disk.names()]
        return out

    assert run(5) == run(5)
    assert run(5) != run(6)
