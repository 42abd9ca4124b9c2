"""The disk's worker and its twin: what is written, what fails, and what a fork or a close does."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader._native import writer as native
from ringleader._reference import writer as reference
from ringleader.errors import MisuseError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the reference is used there")


@pytest.fixture(params=[native, reference], ids=["native", "reference"])
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def collect(writer: Any, count: int) -> list[tuple[int, int]]:
    """Tokens and errors of the next `count` jobs."""
    done: list[tuple[int, int, int]] = []
    while len(done) < count:
        ready, _, _ = select.select([writer.fileno()], [], [], 20)
        assert ready, "nothing is done"
        done += writer.poll()
    assert all(nanoseconds >= 0 for _, _, nanoseconds in done)
    return [(token, error) for token, error, _ in done]


def contents(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def test_twins_have_the_same_constants() -> None:
    for name in ("NONE", "DATA", "FILE", "DIRECT", "BLOCK_BYTES"):
        assert getattr(native, name) == getattr(reference, name)


def test_what_is_written(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer(2)
    writer.submit(1, file, 0, [b"abc", b"", bytearray(b"de"), memoryview(b"xfgx")[1:3]])
    writer.submit(2, file, 10, [b"tail"], kernel.FILE)
    writer.submit(3, file, 7, [b"hij"], kernel.NONE)
    writer.submit(2**64 - 1, file, 0, [], kernel.DATA)
    assert writer.pending == 4
    assert collect(writer, 4) == [(1, 0), (2, 0), (3, 0), (2**64 - 1, 0)]
    assert writer.pending == 0
    assert contents(file) == b"abcdefghijtail"
    assert writer.poll() == []
    writer.close()
    writer.close()
    assert writer.poll() == []


def test_lanes_do_not_wait_for_each_other(kernel: ModuleType, file: int) -> None:
    out, into = os.pipe()
    writer = kernel.Writer(2)
    # A pipe cannot be written to at an offset: its lane fails, the other one goes on.
    writer.submit(1, into, 0, [b"x"], kernel.NONE, 0)
    writer.submit(2, file, 0, [b"y"], kernel.DATA, 1)
    assert sorted(collect(writer, 2)) == [(1, errno.ESPIPE), (2, 0)]
    writer.close()
    os.close(out)
    os.close(into)


def test_a_directory_is_made_durable(kernel: ModuleType, tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    writer = kernel.Writer()
    writer.submit(1, fd, 0, [], kernel.FILE)
    assert collect(writer, 1) == [(1, 0)]
    writer.close()
    os.close(fd)


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=300), max_size=150),
    offset=st.integers(0, 5000),
    is_native=st.booleans(),
)
def test_any_pieces(
    pieces: list[bytes], offset: int, is_native: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kernel = native if is_native else reference
    path = tmp_path_factory.mktemp("pieces") / "file"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    writer = kernel.Writer()
    writer.submit(7, fd, offset, pieces, kernel.NONE)
    assert collect(writer, 1) == [(7, 0)]
    whole = b"".join(pieces)
    assert os.pread(fd, len(whole) + 1, offset) == whole
    writer.close()
    os.close(fd)
    path.unlink()


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no O_DIRECT here")
@pytest.mark.parametrize("count", [0, 1, 4095, 4096, 4097, 2**20 - 1, 2**20, 2**20 + 5, 3 * 2**20])
def test_direct_writes(kernel: ModuleType, tmp_path: Path, count: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff" * (5 * 2**20))
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError:
        pytest.skip("this file system has no O_DIRECT")
    data = os.urandom(count)
    pieces = [data[:10], data[10:5000], data[5000:]]
    writer = kernel.Writer()
    writer.submit(1, fd, 8192, pieces, kernel.DATA | kernel.DIRECT)
    assert collect(writer, 1) == [(1, 0)]
    padding = bytes(-count % kernel.BLOCK_BYTES)
    after = path.read_bytes()
    assert after[8192 : 8192 + count + len(padding) + 1] == data + padding + b"\xff"
    assert after[:8192] == b"\xff" * 8192
    with pytest.raises(ValueError, match="multiple"):
        writer.submit(2, fd, 512, pieces, kernel.DATA | kernel.DIRECT)
    writer.close()
    os.close(fd)


# --- errors -----------------------------------------------------------------------------------


def test_errors_are_told_and_end_with_their_job(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer()
    gone = os.dup(file)
    os.close(gone)
    writer.submit(1, gone, 0, [b"x"])
    writer.submit(2, gone, 0, [], kernel.FILE)
    writer.submit(3, file, 0, [b"x"])
    assert collect(writer, 3) == [(1, errno.EBADF), (2, errno.EBADF), (3, 0)]
    writer.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(kernel: ModuleType) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    writer = kernel.Writer()
    writer.submit(1, fd, 0, [b"x"], kernel.NONE)
    assert collect(writer, 1) == [(1, errno.ENOSPC)]
    writer.close()
    os.close(fd)


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_short_write_is_gone_on_with(kernel: ModuleType, file: int) -> None:
    """The first write reaches the limit in part, the one for the rest is refused."""
    writer = kernel.Writer()
    with files_of_at_most(5000):
        writer.submit(1, file, 0, [b"a" * 3000, b"b" * 3000, b"c"], kernel.NONE)
        assert collect(writer, 1) == [(1, errno.EFBIG)]
    assert contents(file) == b"a" * 3000 + b"b" * 2000
    writer.submit(2, file, 4990, [b"d" * 3000], kernel.DATA)
    assert collect(writer, 1) == [(2, 0)]
    assert len(contents(file)) == 7990
    writer.close()


def test_a_short_direct_write_goes_on_at_a_block(
    file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the error behind it is the disk's own."""
    calls: list[tuple[int, int]] = []

    def pwrite(fd: int, view: memoryview, offset: int) -> int:
        calls.append((offset, len(view)))
        if offset % 4096:
            raise OSError(errno.EINVAL, "Invalid argument")
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return 5000

    monkeypatch.setattr(os, "pwrite", pwrite)
    writer = reference.Writer()
    writer.submit(1, file, 8192, [b"x" * 12_000], reference.DATA | reference.DIRECT)
    assert collect(writer, 1) == [(1, errno.ENOSPC)]
    assert calls == [(8192, 12_288), (12_288, 8192)]
    writer.close()


def test_a_direct_write_that_does_not_come_to_a_block(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer()
    with files_of_at_most(5000):
        writer.submit(1, file, 0, [b"a" * 9000], kernel.NONE | kernel.DIRECT)
        assert collect(writer, 1) == [(1, errno.EIO)]
    assert contents(file) == b"a" * 5000
    writer.close()


# --- life -------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads cannot be counted")
def test_threads_are_there_before_they_are_needed(kernel: ModuleType) -> None:
    before = len(os.listdir("/proc/self/task"))
    writer = kernel.Writer(3)
    assert len(os.listdir("/proc/self/task")) == before + 3
    writer.close()


def test_without_threads_there_is_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.start
    started: list[threading.Thread] = []

    def start(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="can't start") as raised:
        reference.Writer(2)
    assert raised.value.errno == errno.EAGAIN
    assert not started[0].is_alive()


def test_buffers_are_held_until_they_are_given_back(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer()
    data = bytearray(b"held")
    writer.submit(1, file, 0, [data])
    select.select([writer.fileno()], [], [], 20)
    if kernel is native:
        with pytest.raises(BufferError):
            data += b"!"
    assert [token for token, _, _ in writer.poll()] == [1]
    data += b"!"
    writer.close()


def test_close_waits_for_what_was_submitted(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer(2)
    pieces = [bytes([number]) * 100_000 for number in range(40)]
    for number, piece in enumerate(pieces):
        writer.submit(number, file, 100_000 * number, [piece], kernel.DATA, number % 2)
    writer.close()
    assert contents(file) == b"".join(pieces)
    for call in (writer.fileno, lambda: writer.submit(1, file, 0, [b"x"])):
        with pytest.raises(MisuseError, match="closed"):
            call()


def test_a_writer_that_is_dropped_ends(kernel: ModuleType, file: int) -> None:
    for _ in range(50):
        writer = kernel.Writer(2)
        writer.submit(1, file, 0, [b"x" * 1000], kernel.NONE)
        if kernel is reference:
            writer.close()  # its threads hold it
        del writer
    assert contents(file) == b"x" * 1000


def test_many_jobs(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer(3)
    for number in range(3000):
        writer.submit(number, file, 8 * number, [number.to_bytes(8, "little")], 0, number % 3)
    done = collect(writer, 3000)
    assert sorted(done) == [(number, 0) for number in range(3000)]
    for lane in range(3):
        tokens = [token for token, _ in done if token % 3 == lane]
        assert tokens == sorted(tokens)
    assert contents(file) == b"".join(number.to_bytes(8, "little") for number in range(3000))
    writer.close()


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_no_worker(kernel: ModuleType, file: int) -> None:
    writer = kernel.Writer()
    writer.submit(1, file, 0, [b"x"])
    collect(writer, 1)
    child = os.fork()
    if child == 0:  # pragma: no cover: in the child
        code = 1
        try:
            writer.submit(2, file, 0, [b"y"])
        except MisuseError:
            writer.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    writer.submit(3, file, 1, [b"z"])
    assert collect(writer, 1) == [(3, 0)]
    assert contents(file) == b"xz"
    writer.close()


def test_misuse(kernel: ModuleType, file: int) -> None:
    for lanes in (0, 9, -1):
        with pytest.raises(ValueError, match="lanes"):
            kernel.Writer(lanes)
    writer = kernel.Writer(2)
    for lane in (2, -1):
        with pytest.raises(ValueError, match="lane"):
            writer.submit(1, file, 0, [b"x"], kernel.DATA, lane)
    for flush in (3, 7, 8, -1):
        with pytest.raises(ValueError, match="not possible"):
            writer.submit(1, file, 0, [b"x"], flush)
    for token, offset in ((-1, 0), (2**64, 0), (1, -1), (1, 2**63)):
        with pytest.raises((ValueError, OverflowError)):
            writer.submit(token, file, offset, [b"x"])
    for buffers in ([1], ["text"], None):
        with pytest.raises(TypeError):
            writer.submit(1, file, 0, buffers)
    assert writer.pending == 0
    writer.close()
