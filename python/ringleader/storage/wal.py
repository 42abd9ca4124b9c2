"""One group's durable state: a log of records in segments, and snapshot files beside it.

Everything that is handed over goes into one queue.  Whatever waits there when the disk is free
becomes one batch: one append to the segment, one sync, and then, in the order of the queue, the
callbacks (group commit).  A `Ready` that installs a snapshot is a batch of its own, because its
file must be durable under its name before a record may name it.

A segment begins with everything that is in force (hard state, snapshot, what stands aside, what has
arrived of the next snapshot), so that a segment whose entries are all forgotten or overwritten can
simply be deleted.

Of a `Ready` the records are written in its order, but for one: what stood aside before is forgotten
by the last of them.  The entries that are written into the log instead are durable then; a crash
between the records leaves some of them in both places, and none in neither.

After an error of the disk nothing is known, so nothing is acknowledged any more: `failed` holds the
error, and only a new life, which begins with `load()`, can tell what is durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Block
from ringleader.consensus.ready import HardState, Ready, Snapshot, SnapshotChunk, SnapshotSource
from ringleader.errors import MisuseError, StorageError
from ringleader.limits import SEGMENT_BYTES, SNAPSHOT_PIECE_BYTES
from ringleader.storage import layout, record
from ringleader.storage.files import Bytes, Disk
from ringleader.storage.layout import ChunkRecord, SegmentRecord, SnapshotRecord
from ringleader.storage.record import LogIdentity
from ringleader.storage.recovery import Recovery
from ringleader.storage.snapshot import Received, SnapshotFile


class _Item:
    """One thing in the queue: a `Ready`, or an own snapshot whose file is there."""

    __slots__ = ("chunks", "done", "ready", "saved", "snapshot")

    def __init__(
        self,
        ready: Ready | None,
        done: Callable[[Ready], None] | None,
        snapshot: SnapshotRecord | None = None,
        saved: Callable[[], None] | None = None,
    ) -> None:
        self.ready = ready
        self.done = done
        #: Of `ready`, those that are not in their file yet.
        self.chunks = ready.chunks or [] if ready is not None else []
        #: To be written into the log, and in force when that is durable.
        self.snapshot = snapshot
        self.saved = saved


class GroupStorage:
    """The `consensus.driver.Storage` of one group on a disk of its own (or a directory of one).

    Args:
        disk: where its files are; nothing else may be there.
        identity: whose log it is.  A log of another identity is refused by `load()`.
        segment_bytes: a segment that has grown over this, and over twice what stood aside when it
            was begun, is followed by another.
        on_failure: called once when the disk has failed, after `failed` is set.

    Call `load()` first, once.
    """

    def __init__(
        self,
        disk: Disk,
        identity: LogIdentity,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        on_failure: Callable[[StorageError], None] | None = None,
    ) -> None:
        self.disk = disk
        self.identity = identity
        self.failed: StorageError | None = None
        self.on_failure = on_failure
        self._segment_bytes_max = segment_bytes
        self._loaded = False

        # The log as it is written.  Invariant: durable <= sequence, and everything after
        # `durable` is in the batch that is under way.
        self._sequence = 0
        self._durable = 0
        #: Whether nothing on record says yet that the last records are durable.
        self._unmarked = False
        self._segments: list[int] = []
        self._live: list[tuple[int, int]] = []
        #: Of this life's segments, the last of the records that each began with.
        self._checkpoints: dict[int, int] = {}
        #: The segment that is written to.
        self._segment_name = ""
        self._segment_bytes = 0
        self._segment_bytes_full = segment_bytes
        self._version = layout.VERSION_PLAIN

        # What is in force after all that was encoded.
        self._hard_state = HardState()
        self._last_index = 0
        self._last_term = 0
        self._snapshot: SnapshotRecord | None = None
        self._chunk: ChunkRecord | None = None
        self._received: Received | None = None
        self._aside: dict[int, Block] = {}
        self._next_aside = 1
        self._next_file = 1

        # What is durable of it.
        self._snapshot_file: SnapshotFile | None = None

        self._queue: deque[_Item] = deque()
        self._busy = False
        self._batch: list[_Item] = []
        self._waiting = 0
        #: Files that nothing needs once the batch is durable.
        self._garbage: list[str] = []

    # --- the interface of the driver ---------------------------------------------------------

    def load(self) -> Recovered:
        """What is durable; see `ringleader.storage.recovery`.  It is settled, then put on record as
        durable by the first records of a new segment, before this returns.

        Raises:
            StorageError: it is damaged where no crash can have damaged it, belongs to another log,
                or was written by a newer version.
        """
        if self._loaded:
            raise MisuseError("load() was called already: make a new GroupStorage for a new life")
        recovery = Recovery(self.disk, self.identity)
        recovered = recovery.run()
        self._sequence = self._durable = recovery.sequence
        self._segments = recovery.segments
        self._live = recovery.live
        self._hard_state = recovered.hard_state
        self._last_index = recovered.log.last
        self._last_term = recovered.log.last_term
        self._snapshot = recovery.snapshot
        self._snapshot_file = recovery.snapshot_file
        self._chunk = recovery.chunk
        self._received = recovery.received
        self._aside = dict(recovery.aside)
        self._next_aside = recovery.next_aside
        self._version = recovery.version
        self._next_file = recovery.next_file
        parts: list[Bytes] = []
        self._begin_segment(parts)
        self._append(parts)
        self.disk.settle()
        self._durable = self._sequence
        self._unmarked = False
        self._loaded = True
        return recovered

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        """See `consensus.driver.Storage`."""
        self._enqueue(_Item(ready, done))

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
        """See `consensus.driver.Storage`.  The file is written while other writes go on."""
        if not 0 < keep_from <= snapshot.index + 1:
            raise MisuseError(
                f"keep_from {keep_from}: a snapshot at {snapshot.index} covers no more than itself"
            )
        self._check_usable()
        if self.failed is None:
            _Saving(self, snapshot, keep_from, done).begin()

    def open_snapshot(self) -> SnapshotSource:
        """See `consensus.driver.Storage`."""
        if self._snapshot_file is None:
            raise StorageError("there is no snapshot yet")
        return self._snapshot_file

    def mark(self) -> None:
        """Put on record that everything written is durable, if that is not on record yet.

        Until then, damage to the very last batch looks like a torn write
        (`storage.record`).  Whoever has a clock calls this when the group has been quiet for a
        while.
        """
        self._check_usable()
        if not self._busy and not self._queue and self._unmarked:
            self._enqueue(_Item(None, None))

    @property
    def idle(self) -> bool:
        """Whether all that was handed over is durable."""
        return not self._busy and not self._queue

    # --- the queue ---------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if not self._loaded:
            raise MisuseError("call load() before anything is written")

    def _enqueue(self, item: _Item) -> None:
        self._check_usable()
        if self.failed is None:
            self._queue.append(item)
            self._pump()

    def _pump(self) -> None:
        """Begin the next batch, if the disk is free."""
        while self._queue and not self._busy:
            self._busy = True
            queue = self._queue
            batch = self._batch = [queue.popleft()]
            try:
                if _installs(batch[0]):
                    self._install(batch[0])
                else:
                    while queue and not _installs(queue[0]):
                        batch.append(queue.popleft())
                    self._write()
            except StorageError as error:
                self._fail(error)
            except MisuseError as error:
                self._fail(StorageError(str(error)))
                raise

    def _fail(self, error: StorageError) -> None:
        if self.failed is None:
            self.failed = error
            self._queue.clear()
            self._batch = []
            if self.on_failure is not None:
                self.on_failure(error)

    def _synced(self, error: StorageError | None) -> None:
        if self.failed is not None:
            return
        if error is not None:
            self._fail(error)
            return
        self._waiting -= 1
        if self._waiting == 0:
            self._finish()
            self._pump()

    def _finish(self) -> None:
        """The batch is durable: what it made needless goes, and its callbacks are called."""
        witnessed, self._durable = self._durable, self._sequence
        batch, self._batch = self._batch, []
        try:
            for item in batch:
                if item.snapshot is not None:
                    name = layout.snapshot_name(item.snapshot.file)
                    self._snapshot_file = SnapshotFile(self.disk, name, self.identity.tag)
            self._tidy(witnessed)
        except StorageError as error:
            self._fail(error)
            return
        for item in batch:
            if item.done is not None:
                assert item.ready is not None
                item.done(item.ready)
            elif item.saved is not None:
                item.saved()
        self._busy = False

    def _tidy(self, witnessed: int) -> None:
        needed = self._live[0][0] if self._live else self._segments[-1]
        # A segment goes when the next one's beginning, which repeats what it said, has a witness.
        segments = self._segments
        while segments[0] < needed and self._checkpoints.get(segments[1], 0) <= witnessed:
            self._checkpoints.pop(segments[0], None)
            self.disk.delete(layout.log_name(segments.pop(0)))
        for name in self._garbage:
            self.disk.delete(name)
        self._garbage.clear()

    # --- a batch -----------------------------------------------------------------------------

    def _write(self) -> None:
        """Append the batch's records to the segment, and sync all that it touched."""
        parts: list[Bytes] = []
        chunked: list[SnapshotChunk] = []
        is_new = False
        for item in self._batch:
            ready = item.ready
            if ready is not None and not ready.writes:
                continue
            if not parts:
                is_new = self._begin_segment(parts)
            if ready is None:
                if item.snapshot is None:
                    self._encode(parts, record.MARK, b"")
                elif not self._encode_own(parts, item.snapshot):
                    item.snapshot = None
                continue
            if ready.hard_state is not None:
                self._encode_hard_state(parts, ready.hard_state)
            forgets = self._next_aside if ready.clears_aside else 0
            for block in ready.aside or ():
                self._encode_aside(parts, block)
            if item.snapshot is not None:
                self._encode_installed(parts, item.snapshot)
            if item.chunks:
                chunked += item.chunks
                self._receive(item.chunks)
                assert self._chunk is not None
                self._encode(parts, record.CHUNK, self._chunk.to_bytes())
            if ready.block is not None:
                self._encode_block(parts, ready.block)
            self._encode_forget(parts, forgets)
        if not parts:
            self._finish()
            return
        self._append(parts)
        part = layout.part_name(self._chunk.file) if chunked and self._chunk is not None else ""
        has_names = is_new or any(chunk.offset == 0 for chunk in chunked)
        self._waiting = 1 + bool(part) + has_names
        if part:
            self.disk.sync(part, self._synced)
        self.disk.sync(self._segment_name, self._synced)
        if has_names:
            self.disk.sync_names(self._synced)

    def _begin_segment(self, parts: list[Bytes]) -> bool:
        """A new segment, when this life has none yet or the last one is full.  It begins with all
        that is in force."""
        if self._version < layout.VERSION_ASIDE and any(
            item.ready is not None and item.ready.aside for item in self._batch
        ):
            self._version = layout.VERSION_ASIDE
        elif 0 < self._segment_bytes < self._segment_bytes_full:
            return False
        assert self._sequence == self._durable, "a segment follows durable ones only"
        number = self._segments[-1] + 1 if self._segments else 1
        name = layout.log_name(number)
        self.disk.create(name)
        self._segments.append(number)
        self._segment_name = name
        self._segment_bytes = 0
        head = SegmentRecord(
            number, self._last_index, self._last_term, self.identity, self._version
        )
        self._encode(parts, record.SEGMENT, head.to_bytes())
        if self._hard_state != HardState():
            self._encode(parts, record.HARD_STATE, layout.pack_hard_state(self._hard_state))
        if self._snapshot is not None:
            self._snapshot = self._snapshot._replace(installed=False)
            self._encode(parts, record.SNAPSHOT, self._snapshot.to_bytes())
        standing = 0
        for aside, block in self._aside.items():
            standing += block.nbytes
            self._encode(parts, record.ASIDE, layout.pack_aside(aside, block))
        self._segment_bytes_full = max(self._segment_bytes_max, 2 * standing)
        if self._chunk is not None:
            self._encode(parts, record.CHUNK, self._chunk.to_bytes())
        self._checkpoints[number] = self._sequence
        return True

    def _append(self, parts: list[Bytes]) -> None:
        data = b"".join(parts)
        self._segment_bytes += len(data)
        self.disk.append(self._segment_name, data)

    def _encode(self, parts: list[Bytes], kind: int, payload: Bytes) -> None:
        self._sequence += 1
        self._unmarked = kind != record.MARK
        record.encode(parts, kind, payload, self.identity.tag, self._sequence, self._durable)

    def _encode_hard_state(self, parts: list[Bytes], state: HardState) -> None:
        if state.term < self._hard_state.term:
            raise MisuseError(f"term {state.term} goes back from {self._hard_state.term}")
        self._hard_state = state
        self._encode(parts, record.HARD_STATE, layout.pack_hard_state(state))

    def _encode_block(self, parts: list[Bytes], block: Block) -> None:
        first = block.first
        covered = self._snapshot.of_index if self._snapshot is not None else 0
        if not covered < first <= self._last_index + 1:
            raise MisuseError(
                f"a block from {first} on: the log ends with {self._last_index}, and a snapshot "
                f"covers {covered}"
            )
        self._last_index = block.last
        self._last_term = block.last_term
        layout.live_after(self._live, self._segments[-1], first)
        self._encode(parts, record.BLOCK, bytes(block))

    def _encode_aside(self, parts: list[Bytes], block: Block) -> None:
        if self._snapshot is not None and block.last <= self._snapshot.of_index:
            return
        number, self._next_aside = self._next_aside, self._next_aside + 1
        self._aside[number] = block
        self._encode(parts, record.ASIDE, layout.pack_aside(number, block))

    def _encode_forget(self, parts: list[Bytes], below: int) -> None:
        """What stands aside under numbers below this one is in the log now, or not needed."""
        forgotten = [number for number in self._aside if number < below]
        if forgotten:
            for number in forgotten:
                del self._aside[number]
            self._encode(parts, record.FORGET, layout.pack_number(below))

    def _encode_own(self, parts: list[Bytes], snapshot: SnapshotRecord) -> bool:
        """False: a newer one is in force already, and this one's file is not needed."""
        if self._snapshot is not None and snapshot.of_index <= self._snapshot.of_index:
            self._garbage.append(layout.snapshot_name(snapshot.file))
            return False
        if snapshot.of_index > self._last_index:
            raise MisuseError(f"snapshot {snapshot.of_index} is ahead of the log")
        self._replace_snapshot(snapshot)
        layout.live_from(self._live, snapshot.keep_from)
        self._encode(parts, record.SNAPSHOT, snapshot.to_bytes())
        return True

    def _encode_installed(self, parts: list[Bytes], snapshot: SnapshotRecord) -> None:
        self._replace_snapshot(snapshot)
        self._live.clear()
        self._last_index = snapshot.of_index
        self._last_term = snapshot.of_term
        self._encode(parts, record.SNAPSHOT, snapshot.to_bytes())

    def _replace_snapshot(self, snapshot: SnapshotRecord) -> None:
        if self._snapshot is not None:
            self._garbage.append(layout.snapshot_name(self._snapshot.file))
        self._snapshot = snapshot
        layout.aside_after(self._aside, snapshot.of_index)

    # --- snapshots that arrive ---------------------------------------------------------------

    def _receive(self, chunks: list[SnapshotChunk]) -> None:
        """Add chunks to the file that they belong to."""
        for chunk in chunks:
            name = (chunk.index, chunk.term, chunk.total_bytes, chunk.checksum)
            if chunk.offset == 0:
                if self._chunk is not None:
                    self._garbage.append(layout.part_name(self._chunk.file))
                self._chunk = ChunkRecord(*name, self._take_file(), 0, 0)
                self._received = Received()
                self.disk.create(layout.part_name(self._chunk.file))
            so_far = self._chunk
            received = self._received
            if so_far is None or received is None or so_far[:4] != name:
                raise MisuseError(f"{chunk!r}: its snapshot was not begun")
            if chunk.offset != so_far.received:
                raise MisuseError(f"{chunk!r} does not follow byte {so_far.received}")
            received.add(chunk.data)
            self.disk.append(layout.part_name(so_far.file), chunk.data)
            self._chunk = so_far._replace(received=received.total_bytes, crc=received.checksum)

    def _take_file(self) -> int:
        number = self._next_file
        self._next_file += 1
        return number

    def _install(self, item: _Item) -> None:
        """First the file, under its own name and durable; then the records."""
        ready = item.ready
        assert ready is not None
        assert ready.snapshot is not None
        snapshot = ready.snapshot
        mine = (snapshot.index, snapshot.term, snapshot.checksum)
        chunks = item.chunks
        self._receive([it for it in chunks if (it.index, it.term, it.checksum) == mine])
        item.chunks = [it for it in chunks if (it.index, it.term, it.checksum) != mine]
        chunk, received = self._chunk, self._received
        if chunk is None or received is None or chunk[:2] != (snapshot.index, snapshot.term):
            raise MisuseError(f"{snapshot!r} is to be installed, but was not received")
        if received.total_bytes != chunk.total_bytes or received.checksum != snapshot.checksum:
            raise StorageError(
                f"{snapshot!r} is to be installed, but {received.total_bytes} of "
                f"{chunk.total_bytes} bytes with checksum {received.checksum:#x} were received"
            )
        item.snapshot = SnapshotRecord(
            chunk.of_index,
            chunk.of_term,
            chunk.total_bytes,
            chunk.checksum,
            chunk.file,
            chunk.of_index + 1,
            True,
            snapshot.membership,
        )
        part = layout.part_name(chunk.file)
        self.disk.append(part, received.footer(self.identity.tag, chunk.of_index, chunk.of_term))
        self.disk.sync(part, self._install_synced)

    def _install_synced(self, error: StorageError | None) -> None:
        if self.failed is not None:
            return
        try:
            if error is not None:
                raise error
            assert self._chunk is not None
            file = self._chunk.file
            self.disk.rename(layout.part_name(file), layout.snapshot_name(file))
            self._chunk = self._received = None
            self.disk.sync_names(self._install_named)
        except StorageError as failure:
            self._fail(failure)

    def _install_named(self, error: StorageError | None) -> None:
        if self.failed is not None:
            return
        try:
            if error is not None:
                raise error
            self._write()
        except StorageError as failure:
            self._fail(failure)
        self._pump()


class _Saving:
    """An own snapshot on its way to the disk: its file is written a piece at a time."""

    __slots__ = ("done", "keep_from", "number", "received", "snapshot", "storage")

    def __init__(
        self, storage: GroupStorage, snapshot: Snapshot, keep_from: int, done: Callable[[], None]
    ) -> None:
        self.storage = storage
        self.snapshot = snapshot
        self.keep_from = keep_from
        self.done = done
        self.number = storage._take_file()
        self.received = Received()

    def begin(self) -> None:
        try:
            self.storage.disk.create(layout.part_name(self.number))
            self._go_on()
        except StorageError as error:
            self.storage._fail(error)

    def _go_on(self) -> None:
        source, received, disk = self.snapshot.source, self.received, self.storage.disk
        name = layout.part_name(self.number)
        if received.total_bytes < source.total_bytes:
            piece = source.read(received.total_bytes, SNAPSHOT_PIECE_BYTES)
            if not piece:
                raise StorageError(f"{self.snapshot!r}: its source ends early")
            received.add(piece)
            disk.append(name, piece)
        if received.total_bytes < source.total_bytes:
            disk.sync(name, self._synced)
            return
        if received.checksum != self.snapshot.checksum:
            raise StorageError(f"{self.snapshot!r}: its bytes do not have its checksum")
        tag = self.storage.identity.tag
        disk.append(name, received.footer(tag, self.snapshot.index, self.snapshot.term))
        disk.sync(name, self._whole)

    def _synced(self, error: StorageError | None) -> None:
        self._then(error, self._go_on)

    def _whole(self, error: StorageError | None) -> None:
        self._then(error, self._rename)

    def _named(self, error: StorageError | None) -> None:
        self._then(error, self._record)

    def _then(self, error: StorageError | None, step: Callable[[], None]) -> None:
        if self.storage.failed is not None:
            return
        try:
            if error is not None:
                raise error
            step()
        except StorageError as failure:
            self.storage._fail(failure)

    def _rename(self) -> None:
        disk = self.storage.disk
        disk.rename(layout.part_name(self.number), layout.snapshot_name(self.number))
        disk.sync_names(self._named)

    def _record(self) -> None:
        snapshot = self.snapshot
        entry = SnapshotRecord(
            snapshot.index,
            snapshot.term,
            self.received.total_bytes,
            snapshot.checksum,
            self.number,
            self.keep_from,
            False,
            snapshot.membership,
        )
        self.storage._enqueue(_Item(None, None, entry, self.done))


def _installs(item: _Item) -> bool:
    return item.ready is not None and item.ready.snapshot is not None
