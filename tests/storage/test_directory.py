"""A real directory: what is synced is there, one process has it, and what fails says so."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ringleader import kernels
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import BytesSource, Ready, Snapshot
from ringleader.errors import MisuseError, StorageError
from ringleader.hashing import crc32c
from ringleader.kernels import writer
from ringleader.limits import WAL_KEPT_MAX, WAL_KEPT_ROOM_SEGMENTS
from ringleader.storage import durable, layout
from ringleader.storage.directory import LOCK_NAME, SPARE_NAME, Directory, locked
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import Wal

IDENTITY = LogIdentity("orchard", "eu-1", layout="raft, 4 groups")
SMALL = 2**16

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits of POSIX")


@pytest.fixture(params=[True, False], ids=["direct", "cached"])
def direct(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def finish(disk: Directory) -> None:
    """Until nothing is under way."""
    deadline = time.monotonic() + 30
    while disk._jobs:
        disk.wait(1)
        assert time.monotonic() < deadline


def synced(disk: Directory, name: str) -> StorageError | None:
    said: list[StorageError | None] = []
    disk.sync(name, said.append)
    finish(disk)
    (error,) = said
    return error


def opened(path: Path, segment_bytes: int = SMALL, **settings: bool) -> tuple[Directory, Wal]:
    disk = Directory(path, segment_bytes=segment_bytes + 4096, **settings)
    wal = Wal(disk, IDENTITY, segment_bytes=segment_bytes)
    try:
        wal.load()
    except StorageError:
        disk.close()
        raise
    return disk, wal


def entries(first: int, *payloads: bytes) -> Ready:
    ready = Ready(1)
    ready.block = Block.pack(first, 1, payloads)
    return ready


def kept_in(path: Path) -> list[str]:
    """Segments that wait to be used again."""
    return [name for name in os.listdir(path) if name.startswith("kept.")]


def filled(disk: Directory, count: int) -> list[str]:
    """So many segments, full, and a spare one."""
    names = [layout.log_name(number) for number in range(1, count + 1)]
    for name in names:
        disk.create(name)
        disk.append(name, b"x" * SMALL)
        assert synced(disk, name) is None
    while disk.wait(5):
        pass
    return names


# --- a disk -----------------------------------------------------------------------------------


def test_what_is_appended_is_there(tmp_path: Path, direct: bool) -> None:
    random = Random(1)
    with Directory(tmp_path / "a" / "b", segment_bytes=SMALL, direct=direct) as disk:
        name = layout.log_name(1)
        disk.create(name)
        disk.create("x.part")
        expected = {name: b"", "x.part": b""}
        for _ in range(60):
            for file in expected:
                for _ in range(random.randint(0, 3)):
                    piece = random.randbytes(random.choice((1, 7, 100, 4096, 10_000)))
                    disk.append(file, piece)
                    expected[file] += piece
                assert synced(disk, file) is None
                reader = disk.open(file)
                assert reader.read(0, len(expected[file])) == expected[file]
                rest = reader.read(len(expected[file]), 2**30)
                assert rest == bytes(len(rest))
        # What was not synced yet is read, too.
        for file in expected:
            disk.append(file, b"unsynced")
            assert disk.open(file).read(len(expected[file]), 8) == b"unsynced"
            disk.append(file, b"and more")
            assert synced(disk, file) is None
            assert disk.open(file).read(len(expected[file]), 16) == b"unsyncedand more"
        assert disk.names() == sorted(expected)
        disk.rename("x.part", "x.snapshot")
        held = disk.open("x.snapshot")
        disk.delete("x.snapshot")
        assert held.read(0, 5) == expected["x.part"][:5]
        assert held.read(2**40, 5) == b""
        assert disk.names() == [name]
        disk.truncate(name, 10)
        assert disk.open(name).total_bytes == 10
        disk.append(name, b"behind")
        disk.settle()
        assert disk.open(name).read(0, 99) == expected[name][:10] + b"behind"


def test_a_segment_is_made_before_it_is_used(tmp_path: Path, direct: bool) -> None:
    first, second = layout.log_name(1), layout.log_name(2)
    with Directory(tmp_path, segment_bytes=SMALL, direct=direct) as disk:
        assert (tmp_path / SPARE_NAME).stat().st_size == SMALL
        disk.create(first)
        assert (tmp_path / first).read_bytes() == bytes(SMALL)
        assert not (tmp_path / SPARE_NAME).exists()
        disk.create(second)  # before the next one is there
        assert (tmp_path / second).stat().st_size == SMALL
        disk.append(second, b"x" * (SMALL // 2))
        assert synced(disk, second) is None
        while disk.wait(5):
            pass
        assert (tmp_path / SPARE_NAME).read_bytes() == bytes(SMALL)
        assert disk.names() == [first, second]
    # Another length is wanted.
    with Directory(tmp_path, segment_bytes=2 * SMALL) as disk:
        assert (tmp_path / SPARE_NAME).stat().st_size == 2 * SMALL
    with Directory(tmp_path, segment_bytes=0) as disk:
        disk.create(layout.log_name(3))
        assert disk.open(layout.log_name(3)).total_bytes == 0


def test_a_segment_that_goes_is_the_next_one(tmp_path: Path, direct: bool) -> None:
    first, second = layout.log_name(1), layout.log_name(2)
    with Directory(tmp_path, segment_bytes=SMALL, direct=direct) as disk:
        disk.create(first)
        disk.append(first, b"x" * 10_000)
        assert synced(disk, first) is None
        inode = (tmp_path / first).stat().st_ino
        disk.delete(first)
        assert disk.names() == []
        while disk.wait(5):
            pass
        assert (tmp_path / SPARE_NAME).stat().st_ino == inode
        disk.create(second)
        assert (tmp_path / second).read_bytes()[:10_001] == bytes(4096) + b"x" * 5904 + b"\0"
        disk.append(second, b"y" * (SMALL // 2))
        disk.delete(second)  # there is another one already
        while disk.wait(5):
            pass
        assert (tmp_path / SPARE_NAME).read_bytes() == bytes(SMALL)


def test_segments_that_go_together_are_the_next_ones(tmp_path: Path, direct: bool) -> None:
    count = WAL_KEPT_MAX + 2
    names = [layout.log_name(number) for number in range(1, 2 * count)]
    with Directory(tmp_path, segment_bytes=SMALL, direct=direct) as disk:
        assert filled(disk, count) == names[:count]
        inodes = [(tmp_path / name).stat().st_ino for name in names[:count]]
        for name in names[:count]:
            disk.delete(name)
        assert disk.names() == []
        # The spare that was there already, then all that are kept; the rest was deleted.
        assert len(kept_in(tmp_path)) == WAL_KEPT_MAX
        used = []
        for name in names[count:]:
            disk.create(name)
            used.append((tmp_path / name).stat().st_ino)
            disk.append(name, b"y" * SMALL)
            assert synced(disk, name) is None
            while disk.wait(5):
                pass
        assert used[1 : 1 + WAL_KEPT_MAX] == inodes[:WAL_KEPT_MAX]
        assert (tmp_path / SPARE_NAME).read_bytes() == bytes(SMALL)
        disk.delete(names[-1])
        disk.delete(names[-2])
        assert len(kept_in(tmp_path)) == 2
    assert not kept_in(tmp_path)


def test_what_a_crash_leaves_of_segments_goes(tmp_path: Path) -> None:
    Directory(tmp_path, segment_bytes=SMALL).close()
    for name in (SPARE_NAME, "spare.part", "kept.1", "kept.17"):
        (tmp_path / name).write_bytes(b"x" * SMALL)
    (tmp_path / "kept.bak").write_bytes(b"somebody else's")
    with Directory(tmp_path, segment_bytes=SMALL):
        assert sorted(os.listdir(tmp_path)) == sorted([LOCK_NAME, SPARE_NAME, "kept.bak"])
        assert (tmp_path / SPARE_NAME).read_bytes() == bytes(SMALL)
    (tmp_path / "kept.1").mkdir()
    with pytest.raises(StorageError, match=r"kept\.1: it cannot be deleted: "):
        Directory(tmp_path, segment_bytes=SMALL)


def test_without_much_room_no_segments_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = types.SimpleNamespace(f_bavail=0, f_frsize=512)
    least = WAL_KEPT_ROOM_SEGMENTS * SMALL // 512
    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        names = filled(disk, 6)
        monkeypatch.setattr(os, "statvfs", lambda _: found)
        found.f_bavail = least - 1
        disk.delete(names[0])
        assert kept_in(tmp_path) == []
        found.f_bavail = least
        for name in names[1:5]:
            disk.delete(name)
        assert len(kept_in(tmp_path)) == 4
        # There is less later on: it is given back, as much as is missing, to whatever comes.
        found.f_bavail = least - SMALL // 512
        disk.create("a.part")
        assert len(kept_in(tmp_path)) == 3
        found.f_bavail = 0
        disk.append("a.part", b"piece")
        disk.sync("a.part", lambda error: None)
        assert kept_in(tmp_path) == []
        found.f_bavail = least
        disk.delete(names[5])
        assert len(kept_in(tmp_path)) == 1


def test_where_no_room_can_be_asked_for_no_segments_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statvfs(_: object) -> object:
        raise OSError(errno.ENOSYS, "Function not implemented")

    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        names = filled(disk, 2)
        monkeypatch.setattr(os, "statvfs", statvfs)
        for name in names:
            disk.delete(name)
        assert disk.failed is None
        assert sorted(os.listdir(tmp_path)) == sorted([LOCK_NAME, SPARE_NAME])


class Held:
    """A worker whose jobs beside the log are held back: (their number, fd, bytes, flush)."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.jobs: list[tuple[int, int, int, int]] = []

    def submit(self, token: int, fd: int, at: int, parts: Any, flush: int, lane: int) -> None:
        self.jobs.append((token, fd, sum(map(len, parts)), flush))

    def poll(self) -> list[tuple[int, int, int]]:
        return []

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


def test_a_segment_loses_its_first_record_after_its_name(tmp_path: Path) -> None:
    """Or a power cut would bring it back without."""
    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        names = filled(disk, 3)
        os.unlink(tmp_path / SPARE_NAME)
        real = disk._writer
        held: Any = Held(real)
        disk._writer = held
        for name in names:  # the first of them is the spare, the others wait
            disk.delete(name)
        made = []
        for _ in names:
            inode = (tmp_path / "spare.part").stat().st_ino
            assert held.jobs == [(0, disk._directory_fd, 0, writer.FILE)]
            held.jobs.clear()
            disk._made(0)
            assert not (tmp_path / SPARE_NAME).exists()
            ((_, fd, count, flush),) = held.jobs
            assert (os.fstat(fd).st_ino, count, flush) == (inode, 4096, writer.FILE)
            held.jobs.clear()
            disk._made(0)
            assert (tmp_path / SPARE_NAME).stat().st_ino == inode
            assert not held.jobs
            made.append(inode)
            os.unlink(tmp_path / SPARE_NAME)
            disk._want_spare()
        assert len({*made}) == 3
        disk._writer = real


def test_a_name_that_may_come_back_is_a_failure(tmp_path: Path) -> None:
    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        (name,) = filled(disk, 1)
        os.unlink(tmp_path / SPARE_NAME)
        real = disk._writer
        held: Any = Held(real)
        disk._writer = held
        disk.delete(name)
        held.jobs.clear()
        disk._made(errno.EIO)
        disk._writer = real
        assert not held.jobs
        assert "its names cannot be made durable" in str(disk.failed)
        assert os.listdir(tmp_path) == [LOCK_NAME]


def test_a_spare_segment_of_an_earlier_life_is_made_anew(tmp_path: Path) -> None:
    """It may have been the next segment, with records, before a crash took its name back."""
    Directory(tmp_path, segment_bytes=SMALL).close()
    (tmp_path / SPARE_NAME).write_bytes(b"x" * SMALL)
    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        assert (tmp_path / SPARE_NAME).read_bytes() == bytes(SMALL)
        # Nor does what a recovery deletes become one.
        os.unlink(tmp_path / SPARE_NAME)
        (tmp_path / layout.log_name(7)).write_bytes(b"x" * SMALL)
        disk.delete(layout.log_name(7))
        assert not disk.wait(0.1)
        assert not (tmp_path / SPARE_NAME).exists()


def test_one_process_has_it(tmp_path: Path) -> None:
    disk = Directory(tmp_path, segment_bytes=SMALL)
    with pytest.raises(StorageError, match=rf"{LOCK_NAME}: .*process {os.getpid()}.*stop"):
        Directory(tmp_path)
    script = "import sys; from ringleader.storage.directory import Directory as D; D(sys.argv[1])"
    run = [sys.executable, "-c", script, str(tmp_path)]
    other = subprocess.run(run, capture_output=True, text=True, check=False)
    assert other.returncode != 0
    assert "another process" in other.stderr
    disk.close()
    Directory(tmp_path, segment_bytes=SMALL).close()


def test_misuse_and_missing_files(tmp_path: Path) -> None:
    disk = Directory(tmp_path, segment_bytes=SMALL)
    disk.create("a")
    with pytest.raises(StorageError, match="there is a file"):
        disk.create("a")
    calls = (
        lambda: disk.append("b", b""),
        lambda: disk.sync("b", lambda _: None),
        lambda: disk.open("b"),
        lambda: disk.rename("b", "c"),
        lambda: disk.delete("b"),
    )
    for call in calls:
        with pytest.raises(StorageError, match="no such file"):
            call()  # type: ignore[no-untyped-call]
    assert disk.failed is None
    disk.close()
    disk.close()
    assert disk.poll() == 0
    for call in (*calls[:2], disk.fileno, disk.settle):
        with pytest.raises(MisuseError, match="closed"):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(StorageError, match="cannot be made"):
        Directory(tmp_path / "a" / "below a file")


def test_nothing_is_delivered_after_close(tmp_path: Path) -> None:
    disk = Directory(tmp_path, segment_bytes=SMALL)
    disk.create("a")
    disk.append("a", b"x" * 100)
    said: list[object] = []
    disk.sync("a", said.append)
    disk.close()
    assert said == []
    assert (tmp_path / "a").read_bytes() == b"x" * 100


def test_an_event_loop_delivers(tmp_path: Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with Directory(tmp_path, segment_bytes=SMALL) as disk:
            loop.add_reader(disk.fileno(), disk.poll)
            wal = Wal(disk, IDENTITY, manual=True)
            wal.load()
            groups = [wal.group(number) for number in range(3)]
            for index in range(1, 51):
                done = [loop.create_future() for _ in groups]
                for group, future in zip(groups, done, strict=True):
                    group.write(entries(index, b"x"), lambda _, it=future: it.set_result(None))
                assert wal.idle is False
                wal.flush()
                await asyncio.gather(*done)
            assert wal.batch_count == 50
            loop.remove_reader(disk.fileno())

    asyncio.run(main())


# --- failures ---------------------------------------------------------------------------------


def test_after_a_failed_sync_nothing_is_trusted(tmp_path: Path) -> None:
    disk, wal = opened(tmp_path)
    group = wal.group(1)
    done: list[object] = []
    group.write(entries(1, b"x"), done.append)
    finish(disk)
    assert len(done) == 1
    (file,) = [file for name, file in disk._files.items() if name.endswith(".log")]
    real = file.fd
    file.fd = os.open("/dev/full", os.O_WRONLY)
    group.write(entries(2, b"y"), done.append)
    finish(disk)
    os.close(file.fd)
    file.fd = real
    assert len(done) == 1
    assert wal.failed is disk.failed is not None
    assert str(file.path) in str(wal.failed)
    with pytest.raises(StorageError):
        disk.append("a", b"")
    group.write(entries(2, b"y"), done.append)
    assert len(done) == 1
    disk.close()
    disk, wal = opened(tmp_path)
    assert wal.group(1).load().log.last == 1
    disk.close()


def test_a_limit_of_the_system_is_told(tmp_path: Path) -> None:
    """As a full disk is: which file, why, and what to do."""
    disk, wal = opened(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    done: list[object] = []
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL + 8192, before[1]))
        wal.group(1).write(entries(1, b"x" * SMALL * 3), done.append)
        finish(disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert done == []
    assert "File too large: raise the limit" in str(wal.failed)
    disk.close()


class Together:
    """A worker whose jobs are all given back at once, when there are so many."""

    def __init__(self, real: object, count: int) -> None:
        self.real = real
        self.count = count
        self.done: list[tuple[int, int, int]] = []

    def poll(self) -> list[tuple[int, int, int]]:
        self.done += self.real.poll()  # type: ignore[attr-defined]
        if len(self.done) < self.count:
            return []
        done, self.done = self.done, []
        return done

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_a_callback_raises_takes_nothing_from_others(tmp_path: Path, at: int) -> None:
    said: list[int] = []

    def done(number: int, error: StorageError | None) -> None:
        said.append(number)
        if number == at:
            raise ValueError(f"of {number}")

    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        real = disk._writer
        disk._writer = Together(real, 3)  # type: ignore[assignment]
        for number in (1, 2, 3):
            disk.create(f"{number}.part")
            disk.append(f"{number}.part", b"x")
            disk.sync(f"{number}.part", partial(done, number))
        deadline = time.monotonic() + 20
        while disk._jobs:
            assert time.monotonic() < deadline
            with contextlib.suppress(ValueError):
                disk.wait(1)
        assert sorted(said) == [1, 2, 3]
        disk._writer = real
        assert synced(disk, "1.part") is None


def refusing(monkeypatch: pytest.MonkeyPatch, function: str, *names: str) -> list[Path]:
    """No call of this function of `os` for these files succeeds; those that were tried."""
    real = getattr(os, function)
    tried: list[Path] = []

    def refuses(path: Path, *args: object, **more: object) -> object:
        if Path(path).name in names:
            tried.append(path)
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *args, **more)

    monkeypatch.setattr(os, function, refuses)
    return tried


@pytest.mark.parametrize("function", ["open", "rename"])
def test_without_a_spare_segment_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """What is made ahead of time is not needed."""
    disk, wal = opened(tmp_path)
    group = wal.group(1)
    done: list[object] = []
    with monkeypatch.context() as patch:
        tried = refusing(patch, function, "spare.part")
        for index in range(1, 40):
            group.write(entries(index, b"x" * 9000), done.append)
            finish(disk)
        assert tried
    assert len(done) == 39
    assert wal.failed is None
    for index in range(40, 60):  # and there are such again
        group.write(entries(index, b"x" * 9000), done.append)
        finish(disk)
    while disk.wait(0.2):
        pass
    assert (tmp_path / SPARE_NAME).stat().st_size == disk._segment_bytes
    disk.close()
    disk, wal = opened(tmp_path)
    assert wal.group(1).load().log.last == 59
    disk.close()


def test_a_segment_that_cannot_be_the_next_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = layout.log_name(1)
    with Directory(tmp_path, segment_bytes=SMALL) as disk:
        for function in ("rename", "open"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(tmp_path / SPARE_NAME)
            (tmp_path / name).write_bytes(bytes(SMALL))
            disk._recycles = True
            with monkeypatch.context() as patch:
                files = (name,) if function == "rename" else ("spare.part",)
                assert not disk._jobs
                tried = refusing(patch, function, *files)
                disk.delete(name)
                assert tried
            assert disk.names() == []
            assert disk.failed is None
            assert sorted(os.listdir(tmp_path)) == [LOCK_NAME]


def test_a_file_that_gets_no_room_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("no posix_fallocate here")

    def fails(fd: int, offset: int, count: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    disk = Directory(tmp_path, segment_bytes=SMALL)
    os.unlink(tmp_path / SPARE_NAME)
    monkeypatch.setattr(os, "posix_fallocate", fails)
    before = sorted(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else []
    with pytest.raises(StorageError, match=r"cannot be created: Input/output error"):
        disk.create(layout.log_name(1))
    if before:
        assert sorted(os.listdir("/proc/self/fd")) == before
    assert not (tmp_path / layout.log_name(1)).exists()
    disk.close()


class Refusing:
    """A worker that takes nothing more."""

    def __init__(self, real: object, error: BaseException) -> None:
        self.real = real
        self.error = error

    def submit(self, *args: object) -> None:
        raise self.error

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


@pytest.mark.parametrize(
    "error", [OSError(errno.EAGAIN, "no thread"), MemoryError()], ids=["thread", "memory"]
)
def test_a_worker_that_takes_nothing_more_is_a_failure(
    tmp_path: Path, error: BaseException
) -> None:
    disk, wal = opened(tmp_path)
    failures: list[StorageError] = []
    wal.on_failure = failures.append
    done: list[object] = []
    wal.group(1).write(entries(1, b"x"), done.append)
    finish(disk)
    disk._writer = Refusing(disk._writer, error)  # type: ignore[assignment]
    wal.group(1).write(entries(2, b"x"), done.append)
    assert failures == [wal.failed]
    assert "cannot be made durable" in str(wal.failed)
    assert len(done) == 1
    assert not disk._jobs
    disk.close()


def test_directories_are_durable_before_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(durable, "sync_names", synced.append)
    path = tmp_path / "a" / "b" / "log"
    Directory(path, segment_bytes=SMALL).close()
    assert set(synced) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    synced.clear()
    Directory(path, segment_bytes=SMALL).close()  # whoever made it may not have come to that
    assert synced == [tmp_path / "a" / "b"]


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    durable.replace(path, b"one")
    durable.replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file"]

    def fails(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        durable.replace(path, b"three")
    assert path.read_bytes() == b"two"


def test_a_lock_alone(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert os.listdir(tmp_path) == [LOCK_NAME]
        with pytest.raises(StorageError, match="another process"):
            Directory(tmp_path)
    Directory(tmp_path, segment_bytes=SMALL).close()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "ringleader", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a file system needs root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk_stops_acknowledging(tiny: Path) -> None:
    disk, wal = opened(tiny)
    group = wal.group(0)
    done: list[object] = []
    index = 0
    while wal.failed is None:
        index += 1
        group.write(entries(index, b"x" * 20_000), done.append)
        finish(disk)
        assert index < 100
    assert "No space left on device: free some space" in str(wal.failed)
    assert len(done) == index - 1
    disk.close()
    with contextlib.suppress(StorageError):  # what a start cuts off may be room enough for it
        opened(tiny)[0].close()
    subprocess.run(["mount", "-o", "remount,size=2m", str(tiny)], check=True)
    disk, wal = opened(tiny)
    assert wal.group(0).load().log.last >= len(done)
    disk.close()


# --- a log on it ------------------------------------------------------------------------------


def test_segments_end_with_zeros(tmp_path: Path, direct: bool) -> None:
    disk, wal = opened(tmp_path, direct=direct)
    for index in range(1, 200):
        wal.group(index % 3).write(entries((index + 2) // 3, b"%d" % index * 300), lambda _: None)
        finish(disk)
    assert wal.segment_count > 2
    disk.close()
    for _ in range(2):
        disk, wal = opened(tmp_path, direct=direct)
        found = [wal.group(number).load() for number in range(3)]
        assert sum(it.log.last for it in found) == 199
        assert bytes(found[1].log[1]) == b"1" * 300
        disk.close()


def test_a_snapshot_on_it(tmp_path: Path) -> None:
    disk, wal = opened(tmp_path)
    group = wal.group(5)
    group.write(entries(1, b"a", b"b", b"c"), lambda _: None)
    data = os.urandom(2 * 10**6 if not kernels.PURE else 10**4)
    for index in (2, 3):
        snapshot = Snapshot(index, 1, Membership([1]), BytesSource(data), crc32c(data))
        saved: list[int] = []
        group.save_snapshot(snapshot, index, partial(saved.append, index))
        finish(disk)
        assert saved == [index]
    assert len([name for name in disk.names() if name.endswith(".snapshot")]) == 1
    disk.close()
    disk, wal = opened(tmp_path)
    found = wal.group(5).load()
    assert found.snapshot is not None
    assert found.snapshot.source.read(0, len(data)) == data
    disk.close()


WRITER = """
import os, sys
from random import Random
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot
from ringleader.hashing import crc32c
from ringleader.storage.directory import Directory
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import Wal

path, seed = sys.argv[1], int(sys.argv[2])
random = Random(seed)
disk = Directory(path, segment_bytes=69_632)
wal = Wal(
    disk, LogIdentity("orchard", "eu-1", layout="raft, 4 groups"), segment_bytes=65_536,
    segments_max=3, manual=True,
)
wal.load()
last, term = {}, {}
for number in range(4):
    found = wal.group(number).load()
    last[number], term[number] = found.log.last, found.hard_state.term
print("start", flush=True)

def say(text):
    os.write(1, text.encode())

def done(ready):
    number, index, to = ready.tag
    say(f"w {number} {index} {to}\\n")

class Tagged(Ready):
    tag = None

def save(number):
    index = acknowledged[number]
    data = b"%d at %d" % (number, index) * random.choice((1, 10_000))
    snapshot = Snapshot(index, 1, Membership([1]), BytesSource(data), crc32c(data))
    wal.group(number).save_snapshot(
        snapshot, max(1, index - 5), lambda: say(f"s {number} {index} 0\\n")
    )

acknowledged = dict(last)
wal.on_pressure = lambda number: save(number) if acknowledged[number] else None
while True:
    for number in range(4):
        if random.random() < 0.1 + 0.3 * number:
            ready = Tagged(1)
            first = last[number] + 1
            count = random.randint(1, 20)
            ready.block = Block.pack(
                first, 1, [b"%d/%d " % (number, i) * 20 for i in range(first, first + count)]
            )
            last[number] += count
            term[number] += 1
            ready.hard_state = HardState(term[number], None, 0)
            ready.tag = (number, last[number], term[number])
            wal.group(number).write(ready, done)
    wal.flush()
    for number in range(4):
        acknowledged[number] = last[number]
    while not wal.idle:
        disk.wait()
    if random.random() < 0.02:
        number = random.randrange(4)
        if last[number]:
            save(number)
"""


@pytest.mark.parametrize("seed", range(2))
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    acknowledged = {(kind, number): (0, 0) for kind in "ws" for number in range(4)}
    for life in range(5 if not kernels.PURE else 2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(100 * seed + life)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"start\n"
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read()
        process.stdout.close()
        process.wait()
        for line in said.splitlines(keepends=True):
            if line.endswith(b"\n"):
                kind, *numbers = line.decode().split()
                number, index, term = map(int, numbers)
                acknowledged[kind, number] = (index, term)
        disk, wal = opened(tmp_path)
        for number in range(4):
            found = wal.group(number).load()
            index, term = acknowledged["w", number]
            assert found.log.last >= index
            assert found.hard_state.term >= term
            for at in range(found.log.first, found.log.last + 1):
                assert bytes(found.log[at]) == b"%d/%d " % (number, at) * 20
            index, _ = acknowledged["s", number]
            if index:
                assert found.snapshot is not None
                assert found.snapshot.index >= index
                at = found.snapshot.index
                data = found.snapshot.source.read(0, found.snapshot.source.total_bytes)
                assert data.startswith(b"%d at %d" % (number, at))
        disk.close()
    assert max(index for index, _ in acknowledged.values()) > 0
