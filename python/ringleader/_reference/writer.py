"""The disk's worker in plain Python: a thread for each lane, which writes and syncs."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, final

from ringleader.errors import MisuseError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["BLOCK_BYTES", "DATA", "DIRECT", "FILE", "NONE", "Writer"]

#: What is done after the bytes are written: nothing; the file's bytes are made durable; the file is
#: (a directory, too).
NONE = 0
DATA = 1
FILE = 2
#: Added to one of these: the file was opened with O_DIRECT.  The offset is a multiple of
#: `BLOCK_BYTES`, and the last block is filled up with zeros.
DIRECT = 4
BLOCK_BYTES = 4096

_LANES_MAX = 8
_has_pwrite = hasattr(os, "pwrite")

Job = tuple[int, int, int, list[memoryview], int]


class _Lane:
    __slots__ = ("jobs", "ready", "thread")

    def __init__(self, lock: threading.Lock) -> None:
        self.jobs: deque[Job] = deque()
        self.ready = threading.Condition(lock)
        #: None: it was not started.
        self.thread: threading.Thread | None = None


@final
class Writer:
    """Writes and syncs on threads of its own.

    Args:
        lanes: each has a thread, and does one job after the other.
    """

    def __init__(self, lanes: int = 1) -> None:
        if not 1 <= lanes <= _LANES_MAX:
            raise ValueError(f"{lanes} lanes: not in 1 ... {_LANES_MAX}")
        self._lock = threading.Lock()
        self._lanes = [_Lane(self._lock) for _ in range(lanes)]
        self._done: list[tuple[int, int, int]] = []
        self._pending = 0
        self._ends = False
        self._process = os.getpid()
        self._out, self._in = os.pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        try:
            for lane in self._lanes:
                thread = threading.Thread(target=self._work, args=(lane,), daemon=True)
                thread.start()
                lane.thread = thread
        except RuntimeError as error:
            self.close()
            raise OSError(errno.EAGAIN, str(error)) from error

    def fileno(self) -> int:
        """A file descriptor that is readable when `poll()` has something to give."""
        if self._out < 0:
            raise MisuseError("the writer is closed")
        return self._out

    @property
    def pending(self) -> int:
        """Jobs that `poll()` has not given yet."""
        return self._pending

    def submit(
        self,
        token: int,
        fd: int,
        offset: int,
        buffers: Sequence[Buffer],
        flush: int = DATA,
        lane: int = 0,
    ) -> None:
        """Write `buffers`, one behind the other, from `offset` on, then do what `flush` says.

        The buffers are held, and must not change, until `poll()` gives `token`.
        """
        if self._out < 0:
            raise MisuseError("the writer is closed")
        if os.getpid() != self._process:
            raise MisuseError("the writer belongs to the process before the fork")
        if not 0 <= lane < len(self._lanes):
            raise ValueError(f"lane {lane} of {len(self._lanes)}")
        if (
            not 0 <= flush < 2 * DIRECT
            or flush & 3 == 3
            or not 0 <= offset < 2**63
            or not 0 <= token < 2**64
        ):
            raise ValueError("a job that is not possible")
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        if flush & DIRECT:
            if offset % BLOCK_BYTES:
                raise ValueError(f"offset {offset} is no multiple of {BLOCK_BYTES}")
            views = [_aligned(views)] if any(views) else []
        chosen = self._lanes[lane]
        with self._lock:
            self._pending += 1
            chosen.jobs.append((token, fd, offset, views, flush))
            chosen.ready.notify()

    def poll(self) -> list[tuple[int, int, int]]:
        """What is done since the last call: of each job its token, an errno or 0, and how many
        nanoseconds it took at the disk."""
        if self._out < 0:
            return []
        with contextlib.suppress(BlockingIOError):
            os.read(self._out, 4096)
        with self._lock:
            done, self._done = self._done, []
        self._pending -= len(done)
        return done

    def close(self) -> None:
        """Wait until all that was submitted is done, and end the threads."""
        if self._out < 0:
            return
        if os.getpid() == self._process:
            with self._lock:
                self._ends = True
                for lane in self._lanes:
                    lane.ready.notify()
            for lane in self._lanes:
                if lane.thread is not None:
                    lane.thread.join()
        os.close(self._out)
        os.close(self._in)
        self._out = self._in = -1
        self._pending = 0

    def __del__(self) -> None:
        if hasattr(self, "_in"):
            self.close()

    def _work(self, lane: _Lane) -> None:
        while True:
            with self._lock:
                while not lane.jobs and not self._ends:
                    lane.ready.wait()
                if not lane.jobs:
                    return
                token, fd, offset, views, flush = lane.jobs.popleft()
            started = time.perf_counter_ns()
            number = 0
            try:
                for view in views:
                    offset = _write(fd, view, offset, BLOCK_BYTES if flush & DIRECT else 1)
                _flush(fd, flush & 3)
            except OSError as error:
                number = error.errno or errno.EIO
            taken = time.perf_counter_ns() - started
            for view in views:
                view.release()
            with self._lock:
                self._done.append((token, number, taken))
                is_first = len(self._done) == 1
            if is_first:
                os.write(self._in, b"\0")


def _write(fd: int, view: memoryview, offset: int, block: int) -> int:
    """All of it, in steps of whole blocks; returns where it ends.

    A direct write that goes on within a block is refused, and that would hide why the one before
    it was short.
    """
    was_stuck = False
    while len(view):
        if _has_pwrite:
            count = os.pwrite(fd, view, offset)
        else:
            os.lseek(fd, offset, os.SEEK_SET)
            count = os.write(fd, view)
        count -= count % block
        if not count and was_stuck:
            raise OSError(errno.EIO, "nothing was written")
        was_stuck = not count
        view = view[count:]
        offset += count
    return offset


def _flush(fd: int, flush: int) -> None:
    if flush == NONE:
        return
    if hasattr(os, "fdatasync") and flush == DATA:
        os.fdatasync(fd)
        return
    try:
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined]
    except (ImportError, AttributeError, OSError):
        os.fsync(fd)


def _aligned(views: list[memoryview]) -> memoryview:
    """The bytes of `views` at an address that O_DIRECT takes, filled up with zeros."""
    import mmap

    count = sum(map(len, views))
    room = mmap.mmap(-1, -(-count // BLOCK_BYTES) * BLOCK_BYTES or BLOCK_BYTES)
    at = 0
    for view in views:
        room[at : at + len(view)] = view
        at += len(view)
    return memoryview(room)
