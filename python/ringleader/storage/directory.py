"""A real directory as storage's disk.

Bytes that are appended wait in memory until their file is synced.  A sync hands them to a worker
thread (`kernels.writer`), which writes and flushes them without Python; its completions are
delivered by `poll()`, on the thread of whoever calls it: an event loop watches `fileno()`.  The log
has a lane of its own, so that it does not wait for snapshots, and so have names.

What makes a sync fast is that it finds nothing to do but to write the bytes:

    zeros       a segment of the log has its whole length, written with zeros, before its first
                record: the file system's own records of it (size, extents) never change again.  The
                next segment is made in the background, as the file `spare`, while this one fills:
                out of one that is deleted, of which only the first block is wiped, or else anew.
                So what is deleted is kept, as files `kept.N`, up to a number, and as long as there
                is room.
    direct      where the file system allows it, a segment is written past the page cache
                (O_DIRECT), in whole blocks; the bytes of the last, partial block are kept, and
                written again with those that follow.

So a segment ends with zeros, which are no records, or with old ones, which are not the next.

One process at a time has the directory: the file `LOCK` is locked while a `Directory` is open.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from ringleader.errors import MisuseError, StorageError
from ringleader.kernels import writer
from ringleader.limits import WAL_FILE_BYTES, WAL_KEPT_MAX, WAL_KEPT_ROOM_SEGMENTS
from ringleader.storage import durable
from ringleader.storage.files import Bytes, Done

LOCK_NAME = "LOCK"
SPARE_NAME = "spare"
_MAKING_NAME = "spare.part"
_KEPT = re.compile(r"kept\.[0-9]+")
_OWN_NAMES = frozenset((LOCK_NAME, SPARE_NAME, _MAKING_NAME))
#: The lanes of the worker.
_LOG, _BESIDE, _NAMES = 0, 1, 2
#: Zeros are written, and flushed, in such pieces: one flush of all holds up the log's for 10 ms.
_PIECE_BYTES = 2**20
#: The next segment is made when one is full to this part: until then one may have been deleted.
_SPARE_AT = 4
#: Of the jobs that write them; others count from 1.
_SPARE_TOKEN = 0
_BLOCK_BYTES: int = writer.BLOCK_BYTES
_BINARY = getattr(os, "O_BINARY", 0)
_DIRECT = getattr(os, "O_DIRECT", 0)

#: What to do, by what went wrong.
_ADVICE = {
    errno.ENOSPC: "free some space there, then start the node again",
    errno.EDQUOT: "raise the quota or free some space there, then start the node again",
    errno.EFBIG: "raise the limit on the size of files, then start the node again",
    errno.EIO: "the disk may be failing: look at the system's log before the node is started again",
    errno.EACCES: "give this user the right to it",
    errno.EROFS: "mount it writable",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "raise the system's limit on open files",
}


def failure(path: Path, what: str, error: OSError) -> StorageError:
    """The `StorageError` for an error of the system: which file, what was tried, what to do."""
    number = error.errno or 0
    reason = error.strerror or os.strerror(number) or str(error)
    advice = _ADVICE.get(number)
    return StorageError(f"{path}: {what}: {reason}" + (f": {advice}" if advice else ""))


class FileReader:
    """An open file: a `storage.files.Reader`."""

    __slots__ = ("_fd", "_path", "total_bytes")

    def __init__(self, path: Path) -> None:
        self._fd = -1
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | _BINARY)
            self.total_bytes = os.fstat(self._fd).st_size
        except FileNotFoundError:
            raise StorageError(f"{path}: there is no such file") from None
        except OSError as error:
            raise failure(path, "it cannot be opened", error) from error

    def read(self, offset: int, count: int) -> bytes:
        """See `storage.files.Reader`."""
        count = min(count, self.total_bytes - offset)
        if count <= 0:
            return b""
        pieces = []
        try:
            while count > 0:
                piece = _read_at(self._fd, count, offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                count -= len(piece)
        except OSError as error:
            raise failure(self._path, f"byte {offset} cannot be read", error) from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


class _File:
    """A file that is appended to.

    end         where the next bytes go.
    parts       those that were appended since the last sync, which ends at `written`.
    tail        of a direct file, the bytes between the last block's beginning and `written`.
    syncs       those under way.
    """

    __slots__ = (
        *("closes", "direct", "end", "fd", "is_log", "parts", "path", "syncs", "tail"),
        *("wants_spare", "written"),
    )

    def __init__(self, path: Path, fd: int, end: int, direct: bool, is_log: bool) -> None:
        self.path = path
        self.is_log = is_log
        self.fd = fd
        self.end = self.written = end
        self.direct = direct
        self.parts: list[Bytes] = []
        self.tail = b""
        self.syncs = 0
        #: It is a segment, and has not asked yet for the one after it.
        self.wants_spare = False
        #: It is closed when the last of them is done.
        self.closes = False


#: A sync: the file (None: the directory), whom to tell, its bytes.
_Job = tuple[_File | None, Done, int]


class Directory:
    """A directory as a `storage.files.Disk`.

    Args:
        path: is made, with the directories above it, when it is not there.
        segment_bytes: how long a file of the log is made before it is used; 0: none is.
        direct: write the log past the page cache where that is possible.

    Attributes:
        failed: the error after which nothing is written any more, or None.  What a failed sync
            leaves is unknown, so only a new `Directory`, and a recovery, can go on.
        observe: called for each sync of the log with its bytes and the seconds that it took at the
            disk, when it is delivered.

    Raises:
        StorageError: the directory cannot be made, is not writable, or another process has it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        segment_bytes: int = WAL_FILE_BYTES,
        direct: bool = True,
    ) -> None:
        self.path = Path(path)
        self.failed: StorageError | None = None
        self.observe: Callable[[int, float], None] | None = None
        self._segment_bytes = -(-segment_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
        self._files: dict[str, _File] = {}
        #: What is under way, by token.
        self._jobs: dict[int, _Job] = {}
        self._token = 0
        #: The descriptor of the spare segment that is being made, and how many pieces are missing.
        self._making: int | None = None
        self._missing = 0
        self._spare_failed = False
        #: It is made of an old one, whose first record is still there.
        self._unwiped = False
        #: Segments that nothing needs, and that are made the next ones.
        self._kept: deque[Path] = deque()
        self._kept_count = 0
        #: Segments that go now are behind a log that goes on; what a recovery deletes may have
        #: records of sequences that come yet.
        self._recycles = False
        self._closed = False
        try:
            durable.make_directory(self.path)
        except OSError as error:
            raise failure(self.path, "the directory cannot be made", error) from error
        self._lock = _lock(self.path / LOCK_NAME)
        self._directory_fd = -1
        try:
            if hasattr(os, "O_DIRECTORY"):
                self._directory_fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            self._direct = _DIRECT if direct and self._takes_direct() else 0
            self._writer = writer.Writer(3)
            try:
                self._prepare()
            except OSError:
                self._writer.close()
                raise
        except OSError as error:
            self._release()
            if isinstance(error, StorageError):
                raise
            raise failure(self.path, "the directory cannot be used", error) from error

    # --- the interface of storage ------------------------------------------------------------

    def names(self) -> list[str]:
        """See `storage.files.Disk`; the directory's own files are not among them."""
        try:
            with os.scandir(self.path) as entries:
                found = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        except OSError as error:
            raise failure(self.path, "the directory cannot be read", error) from error
        return sorted(name for name in found if not _is_own(name))

    def create(self, name: str) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        self._keep_what_fits()
        path = self.path / name
        is_log = name.endswith(".log")
        is_made = is_log and self._segment_bytes > 0
        try:
            if is_made and self._making is None and (self.path / SPARE_NAME).exists():
                if path.exists():
                    raise FileExistsError
                os.rename(self.path / SPARE_NAME, path)
                fd = os.open(path, os.O_RDWR | _BINARY | self._direct)
            else:
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY
                fd = os.open(path, flags | (self._direct if is_made else 0), 0o666)
                if is_made:
                    _allocate(fd, self._segment_bytes, path)
        except FileExistsError:
            raise StorageError(f"{path}: there is a file of this name") from None
        except OSError as error:
            raise self._fail(failure(path, "it cannot be created", error)) from error
        if is_log:
            self._close_logs()
        file = self._files[name] = _File(path, fd, 0, is_made and bool(self._direct), is_log)
        file.wants_spare = is_made
        self._recycles = self._recycles or is_made

    def append(self, name: str, data: Bytes) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        file = self._files.get(name)
        if file is None:
            file = self._open_again(name)
        file.parts.append(data)
        file.end += len(data)
        if file.wants_spare and file.end > self._segment_bytes // _SPARE_AT:
            file.wants_spare = False
            self._want_spare()

    def sync(self, name: str, done: Done) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        file = self._files.get(name)
        if file is None:
            file = self._open_again(name)
        count = file.end - file.written
        parts, file.parts = file.parts, []
        file.syncs += 1
        job = (file, done, count)
        if file.direct:
            parts.insert(0, file.tail)
            at = file.written - len(file.tail)
            file.tail = _last(parts, file.end % _BLOCK_BYTES)
            file.written = file.end
            self._submit(job, file.fd, at, parts, writer.DATA | writer.DIRECT, _LOG)
        else:
            at, file.written = file.written, file.end
            if not file.is_log:
                self._keep_what_fits()
            lane = _LOG if file.is_log else _BESIDE
            self._submit(job, file.fd, at, parts, writer.DATA, lane)

    def sync_names(self, done: Done) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        if self._directory_fd < 0:  # there is no such thing here
            done(None)
            return
        self._submit((None, done, 0), self._directory_fd, 0, [], writer.FILE, _NAMES)

    def settle(self) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        path = self.path
        try:
            for name in self.names():
                path = self.path / name
                file = self._files.get(name)
                if file is not None:
                    self._write_out(file)
                fd = os.open(path, os.O_RDWR | _BINARY)
                try:
                    os.fsync(fd)
                finally:
                    os.close(fd)
            path = self.path
            if self._directory_fd >= 0:
                os.fsync(self._directory_fd)
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise self._fail(failure(path, "it cannot be made durable", error)) from error

    def open(self, name: str) -> FileReader:
        """See `storage.files.Disk`."""
        file = self._files.get(name)
        if file is not None and file.parts:
            self._write_out(file)
        return FileReader(self.path / name)

    def truncate(self, name: str, total_bytes: int) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        path = self.path / name
        self._forget(name)
        try:
            os.truncate(path, total_bytes)
        except OSError as error:
            raise self._fail(failure(path, "it cannot be truncated", error)) from error

    def rename(self, old: str, new: str) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        self._forget(old)
        try:
            os.replace(self.path / old, self.path / new)
        except FileNotFoundError:
            raise StorageError(f"{self.path / old}: there is no such file") from None
        except OSError as error:
            raise self._fail(failure(self.path / old, "it cannot be renamed", error)) from error

    def delete(self, name: str) -> None:
        """See `storage.files.Disk`."""
        self._check_usable()
        self._forget(name)
        try:
            if not (name.endswith(".log") and self._recycle(self.path / name)):
                os.unlink(self.path / name)
        except FileNotFoundError:
            raise StorageError(f"{self.path / name}: there is no such file") from None
        except OSError as error:
            raise self._fail(failure(self.path / name, "it cannot be deleted", error)) from error

    # --- completions -------------------------------------------------------------------------

    def fileno(self) -> int:
        """A file descriptor that is readable when `poll()` has something to deliver."""
        self._check_open()
        return self._writer.fileno()

    def poll(self) -> int:
        """Call the `done` of all that is done; returns how many there were.

        What one of them raises is raised when all have been called.
        """
        if self._closed:
            return 0
        finished = self._writer.poll()
        raised: BaseException | None = None
        for token, number, nanoseconds in finished:
            try:
                if token == _SPARE_TOKEN:
                    self._made(number)
                else:
                    self._deliver(token, number, nanoseconds)
            except BaseException as error:
                raised = raised or error
        if raised is not None:
            raise raised
        return len(finished)

    def wait(self, seconds: float | None = None) -> int:
        """`poll()` when there is something, or after so many seconds.  For whoever has no loop."""
        self._check_open()
        if not self._writer.pending:
            return 0
        ready, _, _ = select.select([self._writer.fileno()], [], [], seconds)
        return self.poll() if ready else 0

    def close(self) -> None:
        """Wait for what is under way, deliver none of it, and unlock the directory.  What was
        appended and not synced is dropped."""
        if not self._closed:
            self._closed = True
            self._writer.close()
            while self._kept:
                self._drop(self._kept.pop())
            self._release()

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _deliver(self, token: int, number: int, nanoseconds: int) -> None:
        file, done, count = self._jobs.pop(token)
        if file is not None:
            file.syncs -= 1
            if file.closes and not file.syncs:
                os.close(file.fd)
        error = self.failed
        if number and error is None:
            path = self.path if file is None else file.path
            what = f"{count} bytes cannot be made durable"
            error = self._fail(failure(path, what, OSError(number, os.strerror(number))))
        try:
            if self.observe is not None and file is not None and file.is_log:
                self.observe(count, nanoseconds / 1e9)
        finally:
            done(error)

    # --- what they are made of ---------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise MisuseError(f"{self.path}: the directory is closed")

    def _check_usable(self) -> None:
        if self._closed or self.failed is not None:
            self._check_open()
            raise StorageError(str(self.failed))

    def _fail(self, error: StorageError) -> StorageError:
        if self.failed is None:
            self.failed = error
        return error

    def _release(self) -> None:
        """Close all descriptors."""
        under_way = {file for file, _, _ in self._jobs.values() if file is not None}
        for file in {*self._files.values(), *under_way}:
            os.close(file.fd)
        self._files.clear()
        self._jobs.clear()
        if self._making is not None:
            os.close(self._making)
            self._making = None
        if self._directory_fd >= 0:
            os.close(self._directory_fd)
            self._directory_fd = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _submit(
        self, job: _Job, fd: int, at: int, parts: list[Bytes], flush: int, lane: int
    ) -> None:
        """Hand a job to the worker.  If that is not possible, the file is in an unknown state."""
        self._token += 1
        try:
            self._writer.submit(self._token, fd, at, parts, flush, lane)
        except (OSError, MemoryError) as error:
            file = job[0]
            path = self.path
            if file is not None:
                path = file.path
                file.syncs -= 1
            reason = error if isinstance(error, OSError) else OSError(errno.ENOMEM, "")
            raise self._fail(failure(path, "it cannot be made durable", reason)) from error
        self._jobs[self._token] = job

    def _open_again(self, name: str) -> _File:
        """A file of an earlier life goes on."""
        path = self.path / name
        try:
            fd = os.open(path, os.O_RDWR | _BINARY)
        except FileNotFoundError:
            raise StorageError(f"{path}: there is no such file") from None
        except OSError as error:
            raise self._fail(failure(path, "it cannot be opened", error)) from error
        file = self._files[name] = _File(
            path, fd, os.fstat(fd).st_size, False, name.endswith(".log")
        )
        return file

    def _forget(self, name: str) -> None:
        """Close a file, at once or when what is under way is done."""
        file = self._files.pop(name, None)
        if file is None:
            return
        if file.parts:
            self._write_out(file)
        if file.syncs:
            file.closes = True
        else:
            os.close(file.fd)

    def _close_logs(self) -> None:
        """A new segment follows durable ones."""
        for name in [name for name in self._files if name.endswith(".log")]:
            self._forget(name)

    def _write_out(self, file: _File) -> None:
        """Write what was appended, here and now."""
        parts, file.parts = file.parts, []
        if not parts:
            return
        data = b"".join(parts)
        at = file.written
        file.tail = _last([file.tail, data], file.end % _BLOCK_BYTES) if file.direct else b""
        file.written = file.end
        try:
            fd = os.open(file.path, os.O_RDWR | _BINARY)
            try:
                _write_at(fd, data, at)
            finally:
                os.close(fd)
        except OSError as error:
            raise self._fail(failure(file.path, "it cannot be written", error)) from error

    # --- segments ahead of time --------------------------------------------------------------

    def _prepare(self) -> None:
        """There is a spare segment of the right length, or there will be."""
        # One of an earlier life may have been the next segment already, under a name that a crash
        # took back: its records are of no use, and of sequences that come yet.
        for name in os.listdir(self.path):
            if name != LOCK_NAME and _is_own(name):
                try:
                    os.unlink(self.path / name)
                except OSError as error:
                    raise failure(self.path / name, "it cannot be deleted", error) from error
        self._want_spare()
        while self._making is not None:
            self.wait()

    def _has_spare(self) -> bool:
        return self._making is not None or (self.path / SPARE_NAME).exists()

    def _recycle(self, path: Path) -> bool:
        """Keep a segment that nothing needs for the next ones.  False: the file is still there."""
        if not self._recycles or self._directory_fd < 0:
            return False
        if os.stat(path).st_size != self._segment_bytes:
            return False
        self._kept_count += 1
        kept = self.path / f"kept.{self._kept_count}"
        try:
            os.rename(path, kept)
        except OSError:
            return False
        self._kept.append(kept)
        self._want_spare()
        self._keep_what_fits()
        return True

    def _keep_what_fits(self) -> None:
        """Delete those kept segments that are too many, or for which there is no room any more."""
        if not self._kept:
            return
        try:
            found = os.statvfs(self._directory_fd)
            free = found.f_bavail * found.f_frsize // self._segment_bytes
        except OSError:
            free = 0
        most = min(WAL_KEPT_MAX, len(self._kept) + free - WAL_KEPT_ROOM_SEGMENTS)
        while self._kept and len(self._kept) > most:
            self._drop(self._kept.pop())

    def _drop(self, path: Path) -> None:
        """Delete a file that nothing needs; if that fails, the next start does it."""
        with contextlib.suppress(OSError):
            os.unlink(path)

    def _reuse(self, kept: Path) -> bool:
        """Make the spare segment out of one that was kept; False: it went."""
        making = self.path / _MAKING_NAME
        try:
            os.rename(kept, making)
            fd = os.open(making, os.O_RDWR | _BINARY)
        except OSError:  # no descriptor is left, perhaps
            self._drop(kept)
            self._drop(making)
            return False
        # No crash may bring a segment back that has lost its first record: first its name goes.
        self._making = fd
        self._unwiped = True
        self._make([(self._directory_fd, 0, [], writer.FILE)])
        return True

    def _want_spare(self) -> None:
        """Have the next segment made in the background.  What fails there is no harm: it is made
        when it is needed, then."""
        if not self._segment_bytes or self._has_spare():
            return
        while self._kept:
            if self._reuse(self._kept.popleft()):
                return
        making = self.path / _MAKING_NAME
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY
        try:
            # Never into one that is there: it may be a segment whose name a crash brings back.
            making.unlink(missing_ok=True)
            fd = self._making = os.open(making, flags, 0o666)
        except OSError:
            return
        zeros = bytes(min(_PIECE_BYTES, self._segment_bytes))
        offsets = range(0, self._segment_bytes, len(zeros))
        self._make(
            [
                (
                    fd,
                    at,
                    [memoryview(zeros)[: self._segment_bytes - at]],
                    writer.FILE if at == offsets[-1] else writer.DATA,
                )
                for at in offsets
            ]
        )

    def _make(self, steps: list[tuple[int, int, list[Bytes], int]]) -> None:
        """Hand over what is to be done for the spare segment."""
        self._missing = 0
        for step in steps:
            try:
                self._writer.submit(_SPARE_TOKEN, *step, _BESIDE)
            except (OSError, MemoryError):
                self._spare_failed = True
                break
            self._missing += 1
        if not self._missing:
            self._give_up_spare()

    def _made(self, number: int) -> None:
        """A step on the way to the spare segment is done; or it failed, then it is done without."""
        self._missing -= 1
        if self._making is None:
            return
        if number and self._unwiped:
            error = OSError(number, os.strerror(number))
            self._fail(failure(self.path, "its names cannot be made durable", error))
        self._spare_failed = self._spare_failed or bool(number)
        if self._missing:
            return
        if self._spare_failed:
            self._give_up_spare()
        elif self._unwiped:
            self._unwiped = False
            # Without its first record it is no segment any more.
            self._make([(self._making, 0, [bytes(_BLOCK_BYTES)], writer.FILE)])
        else:
            os.close(self._making)
            self._making = None
            with contextlib.suppress(OSError):
                os.rename(self.path / _MAKING_NAME, self.path / SPARE_NAME)

    def _give_up_spare(self) -> None:
        """No spare segment is made this time."""
        assert self._making is not None
        os.close(self._making)
        self._making = None
        self._unwiped = self._spare_failed = False
        with contextlib.suppress(OSError):
            os.unlink(self.path / _MAKING_NAME)

    def _takes_direct(self) -> bool:
        """Whether files here can be written past the page cache."""
        if not _DIRECT or not self._segment_bytes:
            return False
        path = self.path / _MAKING_NAME
        with contextlib.suppress(OSError):
            os.unlink(path)  # its blocks may be a segment's, which O_TRUNC would free
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _DIRECT, 0o666)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return False
            raise
        os.close(fd)
        return True


def _is_own(name: str) -> bool:
    """Whether a file is not storage's but the directory's."""
    return name in _OWN_NAMES or _KEPT.fullmatch(name) is not None


def _last(parts: list[Bytes], count: int) -> bytes:
    """The last `count` bytes of all."""
    if not count:
        return b""
    if len(parts[-1]) >= count:
        return bytes(memoryview(parts[-1])[-count:])
    return b"".join(parts)[-count:]


def _allocate(fd: int, count: int, path: Path) -> None:
    """Have the file system find room for so many bytes.  Where it cannot, or has less, the file
    grows as it is written, as far as it can.  After any other error the file is gone."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        try:
            os.posix_fallocate(fd, 0, count)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOSPC):
                raise
            os.ftruncate(fd, 0)
    except OSError:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _read_at(fd: int, count: int, offset: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(fd, count, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, count)


def _write_at(fd: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    os.lseek(fd, offset, os.SEEK_SET)
    while len(view):
        view = view[os.write(fd, view) :]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a directory's lock, and touch nothing else of it.

    Raises:
        StorageError: another process has it.
    """
    fd = _lock(path / LOCK_NAME)
    try:
        yield
    finally:
        os.close(fd)


def _lock(path: Path) -> int:
    """Lock the file for this process; returns its descriptor, which holds the lock while it is
    open."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _BINARY, 0o666)
    except OSError as error:
        raise failure(path, "it cannot be opened", error) from error
    try:
        _try_lock(fd)
    except OSError as error:
        owner = _read_at(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            raise failure(path, "it cannot be locked", error) from error
        by = f" (process {owner})" if owner else ""
        raise StorageError(
            f"{path}: another process{by} has this directory; two never may: stop that one first"
        ) from None
    with contextlib.suppress(OSError):  # a full disk; the number only serves a message
        os.truncate(fd, 0)
        _write_at(fd, b"%d\n" % os.getpid(), 0)
    return fd


def _try_lock(fd: int) -> None:
    try:
        import fcntl
    except ImportError:
        import msvcrt

        # Behind the owner's number, which others read.
        os.lseek(fd, 2**20, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
