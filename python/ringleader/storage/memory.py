"""Storage that forgets: for tests, benchmarks and groups that live as long as their process."""

from __future__ import annotations

from collections.abc import Callable

from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Log
from ringleader.consensus.ready import (
    BytesSource,
    HardState,
    Ready,
    Snapshot,
    SnapshotChunk,
    SnapshotSource,
)
from ringleader.errors import StorageError


class MemoryStorage:
    """A `consensus.driver.Storage` in memory: everything is done at once, and "durable" as long as
    this object lives.  `load()` gives a new life what an earlier one had written.
    """

    def __init__(self) -> None:
        self._hard_state = HardState()
        self._log = Log()
        self._snapshot: Snapshot | None = None
        self._partial: SnapshotChunk | None = None
        self._received = bytearray()

    def load(self) -> Recovered:
        log = Log(self._log.base, self._log.base_term)
        while log.last < self._log.last:
            log.append_block(self._log.block(log.last + 1, self._log.last + 1))
        partial = None
        if (chunk := self._partial) is not None:
            partial = (
                len(self._received),
                chunk.index,
                chunk.term,
                chunk.total_bytes,
                chunk.checksum,
            )
        return Recovered(self._hard_state, log, self._snapshot, partial)

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        if ready.hard_state is not None:
            self._hard_state = ready.hard_state
        for chunk in ready.chunks or ():
            if chunk.offset == 0:
                self._received = bytearray()
            if chunk.offset != len(self._received):
                raise StorageError(f"{chunk!r} does not follow byte {len(self._received)}")
            self._received += chunk.data
            self._partial = chunk
        if (snapshot := ready.snapshot) is not None:
            source = BytesSource(bytes(self._received))
            if self._partial is None:
                raise StorageError(f"{snapshot!r} was not received")
            self._snapshot = Snapshot(
                snapshot.index, snapshot.term, snapshot.membership, source, snapshot.checksum
            )
            self._log.restore(snapshot.index, snapshot.term)
            self._partial = None
            self._received = bytearray()
        if (block := ready.block) is not None:
            if block.first <= self._log.last:
                self._log.truncate(block.first)
            self._log.append_block(block)
        done(ready)

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
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
        done()

    def open_snapshot(self) -> SnapshotSource:
        if self._snapshot is None:
            raise StorageError("there is no snapshot yet")
        return self._snapshot.source
