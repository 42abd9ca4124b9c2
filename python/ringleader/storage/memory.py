"""Storage and a disk in memory: for tests, benchmarks, and groups no older than their process."""

from __future__ import annotations

from collections.abc import Callable

from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Block, Log
from ringleader.consensus.ready import (
    BytesSource,
    HardState,
    Ready,
    Snapshot,
    SnapshotChunk,
    SnapshotSource,
)
from ringleader.errors import StorageError
from ringleader.hashing import crc32c
from ringleader.storage.files import Bytes, Done


class MemoryStorage:
    """A `consensus.driver.Storage` in memory: everything is done at once, and "durable" as long as
    this object lives.  `load()` gives a new life what an earlier one had written.
    """

    #: See `consensus.driver.Storage`.
    takes_snapshots = True

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._log = Log()
        self.failed: BaseException | None = None
        self._snapshot: Snapshot | None = None
        self._partial: SnapshotChunk | None = None
        self._received = bytearray()
        self._aside: list[Block] = []

    def load(self) -> Recovered:
        log = Log(self._log.base, self._log.base_term)
        while log.last < self._log.last:
            log.append_block(self._log.block(log.last + 1, self._log.last + 1))
        partial = None
        if (chunk := self._partial) is not None:
            partial = (
                chunk.index,
                chunk.term,
                chunk.total_bytes,
                chunk.checksum,
                len(self._received),
                crc32c(bytes(self._received)),
            )
        return Recovered(self._hard_state, log, self._snapshot, partial, self._aside)

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        for chunk in ready.chunks or ():
            self._receive(chunk)
        if ready.clears_aside:
            self._aside = []
        self._aside += ready.aside or ()
        self._drop_aside()
        if (snapshot := ready.snapshot) is not None:
            self._install(snapshot)
        if (block := ready.block) is not None:
            if block.first <= self._log.last:
                self._log.truncate(block.first)
            self._log.append_block(block)
        done(ready)

    def _receive(self, chunk: SnapshotChunk) -> None:
        if chunk.offset == 0:
            self._received = bytearray()
        if chunk.offset != len(self._received):
            raise StorageError(f"{chunk!r} does not follow byte {len(self._received)}")
        self._received += chunk.data
        self._partial = chunk

    def _install(self, snapshot: Snapshot) -> None:
        data = bytes(self._received)
        if self._partial is None or crc32c(data) != snapshot.checksum:
            raise StorageError(f"{snapshot!r} is not what was received: its checksum differs")
        self._snapshot = Snapshot(
            snapshot.index, snapshot.term, snapshot.membership, BytesSource(data), snapshot.checksum
        )
        self._log.restore(snapshot.index, snapshot.term)
        self._drop_aside()
        self._partial = None
        self._received = bytearray()

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
        if self._snapshot is None or snapshot.index > self._snapshot.index:
            data = snapshot.source.read(0, snapshot.source.total_bytes)
            self._snapshot = Snapshot(
                snapshot.index,
                snapshot.term,
                snapshot.membership,
                BytesSource(data),
                snapshot.checksum,
            )
            if keep_from - 1 > self._log.base:
                self._log.compact(keep_from - 1)
            self._drop_aside()
        done()

    def _drop_aside(self) -> None:
        """What the snapshot covers needs not stand aside."""
        covered = self._snapshot.index if self._snapshot is not None else 0
        self._aside = [block for block in self._aside if block.last > covered]

    def open_snapshot(self) -> SnapshotSource:
        if self._snapshot is None:
            raise StorageError("there is no snapshot yet")
        return self._snapshot.source


class MemoryReader:
    """An open file of a `MemoryDisk`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytearray) -> None:
        self._data = data

    @property
    def total_bytes(self) -> int:
        return len(self._data)

    def read(self, offset: int, count: int) -> bytes:
        return bytes(self._data[offset : offset + count])


class MemoryDisk:
    """A `storage.files.Disk` in memory that never fails and calls back at once.

    `contents` are its files, for whoever wants to look at them or damage them.
    """

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents = {name: bytearray(data) for name, data in (contents or {}).items()}

    def names(self) -> list[str]:
        return sorted(self.contents)

    def create(self, name: str) -> None:
        if name in self.contents:
            raise StorageError(f"{name}: there is a file of this name")
        self.contents[name] = bytearray()

    def append(self, name: str, data: Bytes) -> None:
        self._file(name).extend(data)

    def sync(self, name: str, done: Done) -> None:
        self._file(name)
        done(None)

    def sync_names(self, done: Done) -> None:
        done(None)

    def settle(self) -> None:
        pass

    def open(self, name: str) -> MemoryReader:
        return MemoryReader(self._file(name))

    def truncate(self, name: str, total_bytes: int) -> None:
        del self._file(name)[total_bytes:]

    def rename(self, old: str, new: str) -> None:
        self.contents[new] = self._file(old)
        del self.contents[old]

    def delete(self, name: str) -> None:
        self._file(name)
        del self.contents[name]

    def _file(self, name: str) -> bytearray:
        try:
            return self.contents[name]
        except KeyError:
            raise StorageError(f"{name}: there is no such file") from None
