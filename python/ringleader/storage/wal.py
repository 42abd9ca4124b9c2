"""A node's durable state: one log of records in segments, which all its groups share, and snapshot
files beside it.

Everything that is handed over goes into its group's queue.  Whatever waits there when the disk is
free becomes one batch: the groups' records one behind the other, one append to the segment, one
sync, and then, in the order of the queues, the callbacks (group commit).  A `Ready` that installs a
snapshot waits until its file is durable under its name, for only then may a record name it; its
group's queue waits with it, the others go on.

A segment begins with everything that is in force (of each group: where its log ends, hard state,
snapshot, what stands aside, what has arrived of the next snapshot), so that a segment whose entries
are all forgotten or overwritten can simply be deleted.  Segments go from the oldest on: a group
that has been quiet for long holds all that came after its last entries.  Then the log forgets all
that its snapshot covers, though it was asked to keep some of that; if that is not enough, the group
is asked for a newer one (`Wal.on_pressure`).

Of a `Ready` the records are written in its order, but for one: what stood aside before is forgotten
by the last of them.  The entries that are written into the log instead are durable then; a crash
between the records leaves some of them in both places, and none in neither.

After an error of the disk nothing is known, so nothing is acknowledged any more, of no group:
`failed` holds the error, and only a new life, which begins with `load()`, can tell what is durable.
The same holds for any other exception while a batch is made, since what was half written cannot be
taken back.  What callbacks raise is not the log's: it is raised to whoever called, at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Block
from ringleader.consensus.ready import HardState, Ready, Snapshot, SnapshotChunk, SnapshotSource
from ringleader.errors import LimitError, MisuseError, RingleaderError, StorageError
from ringleader.limits import (
    SEGMENT_BYTES,
    SNAPSHOT_PIECE_BYTES,
    SNAPSHOTS_SAVED_MAX,
    WAL_GROUP_MAX,
    WAL_SEGMENT_BYTES,
    WAL_SEGMENTS_MAX,
)
from ringleader.storage import layout, record
from ringleader.storage.files import Bytes, Disk
from ringleader.storage.layout import ChunkRecord, SegmentRecord, SnapshotRecord
from ringleader.storage.record import LogIdentity
from ringleader.storage.recovery import GroupState, Recovery
from ringleader.storage.snapshot import Received, SnapshotFile

_NO_STATE = HardState()


class _Item:
    """One thing in a group's queue: a `Ready`, or an own snapshot whose file is there."""

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


class Wal:
    """The log that the groups of one node share, on a disk (a directory) of its own.

    Args:
        disk: where its files are; nothing else may be there.
        identity: whose log it is; its group is 0.  A log of another identity is refused by
            `load()`.
        segment_bytes: a segment that has grown over this, and over twice what was in force when it
            was begun, is followed by another.
        segments_max: groups whose entries stand in older segments than the last so many are
            reported to `on_pressure`.
        manual: a batch begins when `flush()` is called; otherwise as soon as something waits.  In
            either case, what waits when a batch is durable is the next one.
        on_failure: called once when the disk has failed, after `failed` is set.
        on_pressure: called with the number of a group whose old entries keep old segments alive,
            at most once for each segment that is begun, and only while fewer than
            `limits.SNAPSHOTS_SAVED_MAX` snapshots are being saved: have it take one.
        shared: False: a log of group 0 alone (`GroupStorage`).
        has_begun: a log without any record is one that was lost, and `load()` refuses it.

    Call `load()` first, once; then `group(number)` for each group.
    """

    def __init__(
        self,
        disk: Disk,
        identity: LogIdentity,
        *,
        segment_bytes: int = WAL_SEGMENT_BYTES,
        segments_max: int = WAL_SEGMENTS_MAX,
        manual: bool = False,
        on_failure: Callable[[StorageError], None] | None = None,
        on_pressure: Callable[[int], None] | None = None,
        shared: bool = True,
        has_begun: bool = False,
    ) -> None:
        if shared and identity.group:
            raise MisuseError("a log that groups share belongs to no group: leave it out")
        self.disk = disk
        self.identity = identity
        self.failed: StorageError | None = None
        self.on_failure = on_failure
        self.on_pressure = on_pressure
        #: Since the start: batches that were durable, and bytes of their records.
        self.batch_count = 0
        self.written_bytes = 0
        self._shared = shared
        self._has_begun = has_begun
        self._manual = manual
        self._segment_bytes_max = segment_bytes
        self._segments_max = segments_max
        self._loaded = False

        # The log as it is written.  Invariant: durable <= sequence, and everything after
        # `durable` is in the batch that is under way.
        self._sequence = 0
        self._durable = 0
        #: Whether nothing on record says yet that the last records are durable.
        self._unmarked = False
        self._segments: list[int] = []
        #: Of this life's segments, the last of the records that each began with.
        self._checkpoints: dict[int, int] = {}
        #: The segment that is written to.
        self._segment_name = ""
        self._segment_bytes = 0
        self._segment_bytes_full = segment_bytes
        self._version = layout.VERSION_SHARED if shared else layout.VERSION_PLAIN
        self._next_file = 1

        self._groups: dict[int, GroupLog] = {}
        #: Those that have something to write, in the order in which they came.
        self._waiting: dict[GroupLog, None] = {}
        #: A batch is at the disk, or its callbacks are being called.
        self._busy = False
        self._batch: list[tuple[GroupLog, _Item]] = []
        self._syncs = 0
        #: The groups that install a snapshot whose file is not durable yet.
        self._installing = 0
        self._marking = False
        #: Own snapshots whose files are being written, and those that wait for that.
        self._saving = 0
        self._unsaved: deque[_Saving] = deque()
        #: Files that nothing needs once the batch is durable.
        self._garbage: list[str] = []
        #: Whether segments may have become needless, or wait for a witness.
        self._untidy = True
        #: Groups that were asked for a snapshot since the last segment was begun.
        self._pressed: set[int] = set()
        #: The first exception of a callback, and how many steps of the log's own are under way: it
        #: is raised behind them.
        self._raised: BaseException | None = None
        self._steps = 0

    # --- what a node calls -------------------------------------------------------------------

    def load(self) -> None:
        """Read what is durable; see `ringleader.storage.recovery`.  It is settled, then put on
        record as durable by the first records of a new segment, before this returns.

        Raises:
            StorageError: it belongs to another log, was written by a newer version, or the disk
                fails.
            LogDamagedError: it is damaged where no crash can have damaged it.
        """
        if self._loaded:
            raise MisuseError("load() was called already: make a new log for a new life")
        recovery = Recovery(
            self.disk, self.identity, shared=self._shared, has_begun=self._has_begun
        )
        recovery.run()
        self._sequence = self._durable = recovery.sequence
        self._segments = recovery.segments
        self._version = recovery.version
        self._next_file = recovery.next_file
        for number, state in recovery.groups.items():
            self._group(number)._adopt(state)
        parts: list[Bytes] = []
        self._begin_segment(parts, False)
        self._append(parts)
        self.disk.settle()
        self._durable = self._sequence
        self._unmarked = False
        self._loaded = True

    @property
    def groups(self) -> list[int]:
        """The numbers of all groups that the log knows, in ascending order."""
        return sorted(self._groups)

    def group(self, number: int) -> GroupLog:
        """A group's storage, always the same object; of a group that the log does not know yet, an
        empty one.

        Raises:
            LimitError: the number is not in 0 ... `limits.WAL_GROUP_MAX`.
        """
        self._check_usable()
        return self._group(number)

    def flush(self) -> None:
        """Begin a batch with all that waits, if the disk is free."""
        self._check_usable()
        self._pump()

    def mark(self) -> None:
        """Put on record that everything written is durable, if that is not on record yet.

        Until then, damage to the very last batch looks like a torn write
        (`storage.record`).  Whoever has a clock calls this when the log has been quiet for a
        while.
        """
        self._check_usable()
        if self.failed is None and self.idle and self._unmarked:
            self._marking = True
            self._pump()

    @property
    def idle(self) -> bool:
        """Whether all that was handed over is durable."""
        return not (self._busy or self._waiting or self._installing)

    @property
    def segment_count(self) -> int:
        return len(self._segments)

    # --- the queues --------------------------------------------------------------------------

    def _group(self, number: int) -> GroupLog:
        group = self._groups.get(number)
        if group is None:
            if not 0 <= number <= WAL_GROUP_MAX:
                raise LimitError(f"group {number} of a log: not in 0 ... {WAL_GROUP_MAX}")
            group = self._groups[number] = GroupLog(self, number)
        return group

    def _check_usable(self) -> None:
        if not self._loaded:
            raise MisuseError("call load() before anything is written")

    def _wake(self, group: GroupLog) -> None:
        """A group has something to write."""
        self._waiting[group] = None
        if not self._manual:
            self._pump()

    def _pump(self) -> None:
        """Begin the next batch, if the disk is free."""
        while (self._waiting or self._marking) and not self._busy and self.failed is None:
            self._busy = True
            self._step(self._begin_batch)
        self._raise_late()

    def _begin_batch(self) -> None:
        waiting, self._waiting = self._waiting, {}
        batch = self._batch
        for group in waiting:
            group._take(batch)
        if batch or self._marking:
            self._write()
        else:
            self._busy = False

    def _step(self, step: Callable[[], None]) -> None:
        """Do something that the log cannot go on without: any exception is its failure."""
        self._steps += 1
        try:
            step()
        except StorageError as error:
            self._fail(error)
        except RingleaderError as error:
            self._fail(StorageError(str(error)))
            raise
        except BaseException as error:
            self._fail(StorageError(f"the log was left half written: {error!r}"))
            raise
        finally:
            self._steps -= 1

    def _call(self, call: Callable[..., None], *args: object) -> None:
        """Call what is not the log's own."""
        try:
            call(*args)
        except BaseException as error:
            self._raised = self._raised or error

    def _raise_late(self) -> None:
        """Raise what a callback raised, when nothing is left half done by that."""
        if self._raised is not None and not self._steps:
            raised, self._raised = self._raised, None
            raise raised

    def _fail(self, error: StorageError) -> None:
        if self.failed is None:
            self.failed = error
            for group in self._groups.values():
                group._queue.clear()
            self._waiting.clear()
            self._unsaved.clear()
            self._batch = []
            if self.on_failure is not None:
                self.on_failure(error)

    def _synced(self, error: StorageError | None) -> None:
        if self.failed is not None:
            return
        if error is not None:
            self._fail(error)
            return
        self._syncs -= 1
        if self._syncs == 0:
            self._step(self._finish)
            self._pump()

    def _finish(self) -> None:
        """The batch is durable: what it made needless goes, and its callbacks are called."""
        witnessed, self._durable = self._durable, self._sequence
        batch, self._batch = self._batch, []
        self.batch_count += 1
        for group, item in batch:
            if item.snapshot is not None:
                name = layout.snapshot_name(item.snapshot.file)
                group._snapshot_file = SnapshotFile(self.disk, name, self.identity.tag)
        if self._untidy:
            self._tidy(witnessed)
        self._call_back(batch)
        self._busy = False

    def _call_back(self, batch: list[tuple[GroupLog, _Item]]) -> None:
        """All are called, whatever one of them raises: they are different groups'."""
        for group, item in batch:
            if item.done is not None:
                self._call(item.done, item.ready)
            elif item.saved is not None:
                self._call(item.saved)
            group._pending -= 1

    def _tidy(self, witnessed: int) -> None:
        segments = self._segments
        needed = min(
            (group._live[0][0] for group in self._groups.values() if group._live),
            default=segments[-1],
        )
        # A segment goes when the next one's beginning, which repeats what it said, has a witness.
        while segments[0] < needed and self._checkpoints.get(segments[1], 0) <= witnessed:
            self._checkpoints.pop(segments[0], None)
            self.disk.delete(layout.log_name(segments.pop(0)))
        for name in self._garbage:
            self.disk.delete(name)
        self._garbage.clear()
        self._untidy = segments[0] < needed

    # --- a batch -----------------------------------------------------------------------------

    def _write(self) -> None:
        """Append the batch's records to the segment, and sync all that it touched."""
        batch = self._batch
        has_records = self._marking
        has_aside = False
        for _, item in batch:
            ready = item.ready
            if ready is None or ready.writes:
                has_records = True
                has_aside = has_aside or (ready is not None and bool(ready.aside))
        if not has_records:
            self._finish_empty()
            return
        parts: list[Bytes] = []
        is_new = self._begin_segment(parts, has_aside)
        if self._marking:
            self._marking = False
            self._encode(parts, record.MARK, 0, b"")
        received: dict[str, bool] = {}
        for group, item in batch:
            group._encode_item(parts, item, received)
        if is_new:
            self._forget_covered(parts)
        if not parts:
            self._finish_empty()
            return
        self._append(parts)
        has_names = is_new or any(received.values())
        self._syncs = 1 + len(received) + has_names
        for name in received:
            self.disk.sync(name, self._synced)
        self.disk.sync(self._segment_name, self._synced)
        if has_names:
            self.disk.sync_names(self._synced)
        if is_new:
            self._pressed.clear()
            self._press()

    def _finish_empty(self) -> None:
        """A batch that writes nothing is durable as all before it are."""
        batch, self._batch = self._batch, []
        self._call_back(batch)
        self._busy = False

    def _begin_segment(self, parts: list[Bytes], has_aside: bool) -> bool:
        """A new segment, when this life has none yet or the last one is full.  It begins with all
        that is in force."""
        if has_aside and self._version < layout.VERSION_ASIDE:
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
        standing = 0
        if self._shared:
            head = SegmentRecord(number, 0, 0, self.identity, self._version)
            self._encode(parts, record.SEGMENT, 0, head.to_bytes())
            for group in self._groups.values():
                group._encode_all(parts)
            standing = sum(map(len, parts))
        else:
            group = self._group(0)
            head = SegmentRecord(
                number, group._last_index, group._last_term, self.identity, self._version
            )
            self._encode(parts, record.SEGMENT, 0, head.to_bytes())
            group._encode_all(parts)
            standing = sum(block.nbytes for block in group._aside.values())
        self._segment_bytes_full = max(self._segment_bytes_max, 2 * standing)
        self._checkpoints[number] = self._sequence
        self._untidy = True
        return True

    def _append(self, parts: list[Bytes]) -> None:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._segment_bytes += len(data)
        self.written_bytes += len(data)
        self.disk.append(self._segment_name, data)

    def _encode(self, parts: list[Bytes], kind: int, group: int, payload: Bytes) -> None:
        self._sequence += 1
        self._unmarked = kind != record.MARK
        record.encode(parts, kind, payload, self.identity.tag, self._sequence, self._durable, group)

    def _is_old(self, segment: int) -> bool:
        return segment <= self._segments[-1] - self._segments_max

    def _holding(self) -> list[GroupLog]:
        """The groups that keep old segments alive, the oldest segment's first."""
        if not self._is_old(self._segments[0]):
            return []
        groups = [it for it in self._groups.values() if it._live and self._is_old(it._live[0][0])]
        return sorted(groups, key=lambda group: group._live[0])

    def _forget_covered(self, parts: list[Bytes]) -> None:
        """Where a snapshot covers what keeps old segments alive, no new one is needed."""
        if self._shared:
            for group in self._holding():
                group._encode_forgotten(parts)

    def _press(self) -> None:
        """Ask those who keep old segments alive for snapshots, a few at a time."""
        if self.on_pressure is None:
            return
        for group in self._holding():
            if self._saving >= SNAPSHOTS_SAVED_MAX:
                return
            if group.number not in self._pressed and not group._saving:
                self._pressed.add(group.number)
                self._call(self.on_pressure, group.number)

    def _take_file(self) -> int:
        number = self._next_file
        self._next_file += 1
        return number

    def _then(self, error: StorageError | None, step: Callable[[], None]) -> None:
        """What follows a sync beside the log."""
        if self.failed is not None:
            return
        if error is not None:
            self._fail(error)
            return
        self._step(step)
        self._raise_late()

    # --- own snapshots -----------------------------------------------------------------------

    def _save(self, saving: _Saving) -> None:
        if self._saving < SNAPSHOTS_SAVED_MAX:
            self._saving += 1
            saving.begin()
        else:
            self._unsaved.append(saving)

    def _saved(self) -> None:
        """The file of one is there: the next one's turn."""
        self._saving -= 1
        if self._unsaved:
            self._save(self._unsaved.popleft())
        else:
            self._press()


class GroupLog:
    """One group's part of a `Wal`: its `consensus.driver.Storage`."""

    def __init__(self, wal: Wal, number: int) -> None:
        self.wal = wal
        self.number = number
        #: What it held when the log was loaded, until it is asked for.
        self._found: GroupState | None = None
        self._given = False

        # What is in force after all that was encoded.
        self._live: list[tuple[int, int]] = []
        self._hard_state = HardState()
        self._last_index = 0
        self._last_term = 0
        self._snapshot: SnapshotRecord | None = None
        self._chunk: ChunkRecord | None = None
        self._received: Received | None = None
        self._aside: dict[int, Block] = {}
        self._next_aside = 1

        # What is durable of it.
        self._snapshot_file: SnapshotFile | None = None

        #: Own snapshots that are on their way to the log.
        self._saving = 0

        self._queue: deque[_Item] = deque()
        #: What is in the queue, or in a batch whose callbacks have not been called.
        self._pending = 0
        #: The first in the queue installs a snapshot, and: None: is not being prepared yet; False:
        #: is being; True: its file is durable.
        self._prepared: bool | None = None

    # --- the interface of the driver ---------------------------------------------------------

    @property
    def failed(self) -> StorageError | None:
        return self.wal.failed

    def load(self) -> Recovered:
        """What was durable of this group when the log was loaded: once, before anything is
        written."""
        self.wal._check_usable()
        if self._given or self._pending:
            raise MisuseError("load() was called already: make a new log for a new life")
        self._given = True
        found, self._found = self._found, None
        return found.recovered() if found is not None else Recovered()

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        """See `consensus.driver.Storage`."""
        self.wal._check_usable()
        if self.wal.failed is None:
            if not self._pending and not ready.writes:
                done(ready)
            else:
                self._enqueue(_Item(ready, done))

    @property
    def takes_snapshots(self) -> bool:
        """See `consensus.driver.Storage`."""
        return self.wal._saving < SNAPSHOTS_SAVED_MAX

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
        """See `consensus.driver.Storage`.  The file is written while other writes go on.

        More entries than those below `keep_from` are forgotten, up to the snapshot's own, when
        they keep old segments alive.
        """
        if not 0 < keep_from <= snapshot.index + 1:
            raise MisuseError(
                f"keep_from {keep_from}: a snapshot at {snapshot.index} covers no more than itself"
            )
        self.wal._check_usable()
        if self.wal.failed is None:
            self._saving += 1
            self.wal._save(_Saving(self, snapshot, keep_from, done))

    def open_snapshot(self) -> SnapshotSource:
        """See `consensus.driver.Storage`."""
        if self._snapshot_file is None:
            raise StorageError("there is no snapshot yet")
        return self._snapshot_file

    def mark(self) -> None:
        """See `Wal.mark`."""
        self.wal.mark()

    @property
    def idle(self) -> bool:
        """Whether all that was handed over is durable."""
        return not self._pending

    # --- the queue ---------------------------------------------------------------------------

    def _adopt(self, found: GroupState) -> None:
        self._found = found
        self._live = found.live
        recovered = found.recovered()
        self._hard_state = recovered.hard_state
        self._last_index = recovered.log.last
        self._last_term = recovered.log.last_term
        self._snapshot = found.snapshot
        self._snapshot_file = found.snapshot_file
        self._chunk = found.chunk
        self._received = found.received
        self._aside = dict(found.aside)
        self._next_aside = found.next_aside

    def _enqueue(self, item: _Item) -> None:
        self._queue.append(item)
        self._pending += 1
        if self._prepared is None:
            self.wal._wake(self)

    def _take(self, batch: list[tuple[GroupLog, _Item]]) -> None:
        """Add to the batch what may go into it: a `Ready` that installs a snapshot stands alone."""
        queue = self._queue
        if _installs(queue[0]):
            if self._prepared is None:
                self._prepared = False
                self.wal._installing += 1
                self._install(queue[0])
                return
            self._prepared = None
            batch.append((self, queue.popleft()))
        else:
            while queue and not _installs(queue[0]):
                batch.append((self, queue.popleft()))
        if queue:
            self.wal._waiting[self] = None

    # --- records -----------------------------------------------------------------------------

    def _encode_all(self, parts: list[Bytes]) -> None:
        """All that is in force."""
        wal = self.wal
        number = self.number
        if wal._shared:
            payload = layout.pack_group(self._last_index, self._last_term)
            wal._encode(parts, record.GROUP, number, payload)
        if self._hard_state != _NO_STATE:
            payload = layout.pack_hard_state(self._hard_state)
            wal._encode(parts, record.HARD_STATE, number, payload)
        if self._snapshot is not None:
            self._snapshot = self._snapshot._replace(installed=False)
            wal._encode(parts, record.SNAPSHOT, number, self._snapshot.to_bytes())
        for aside, block in self._aside.items():
            wal._encode(parts, record.ASIDE, number, layout.pack_aside(aside, block))
        if self._chunk is not None:
            wal._encode(parts, record.CHUNK, number, self._chunk.to_bytes())

    def _encode_item(self, parts: list[Bytes], item: _Item, received: dict[str, bool]) -> None:
        """One item's records.  To `received` is added the file that its chunks went to, and whether
        that is new."""
        ready = item.ready
        if ready is None:
            self._saving -= 1
            if item.snapshot is not None and not self._encode_own(parts, item.snapshot):
                item.snapshot = None
            return
        if not ready.writes:
            return
        if ready.hard_state is not None:
            self._encode_hard_state(parts, ready.hard_state)
        forgets = self._next_aside if ready.clears_aside else 0
        for block in ready.aside or ():
            self._encode_aside(parts, block)
        if item.snapshot is not None:
            self._encode_installed(parts, item.snapshot)
        if item.chunks:
            before = self._chunk
            self._receive(item.chunks)
            assert self._chunk is not None
            if before is not None and before.file != self._chunk.file:
                received.pop(layout.part_name(before.file), None)
            name = layout.part_name(self._chunk.file)
            is_new = any(chunk.offset == 0 for chunk in item.chunks)
            received[name] = is_new or received.get(name, False)
            self.wal._encode(parts, record.CHUNK, self.number, self._chunk.to_bytes())
        if ready.block is not None:
            self._encode_block(parts, ready.block)
        if forgets:
            self._encode_forget(parts, forgets)

    def _encode_hard_state(self, parts: list[Bytes], state: HardState) -> None:
        if state.term < self._hard_state.term:
            raise MisuseError(f"term {state.term} goes back from {self._hard_state.term}")
        self._hard_state = state
        self.wal._encode(parts, record.HARD_STATE, self.number, layout.pack_hard_state(state))

    def _encode_block(self, parts: list[Bytes], block: Block) -> None:
        first = block.first
        covered = self._snapshot.of_index if self._snapshot is not None else 0
        if not covered < first <= self._last_index + 1:
            raise MisuseError(
                f"a block from {first} on: the log ends with {self._last_index}, and a snapshot "
                f"covers {covered}"
            )
        wal = self.wal
        if first <= self._last_index:
            wal._untidy = True
        self._last_index = block.last
        self._last_term = block.last_term
        layout.live_after(self._live, wal._segments[-1], first)
        wal._encode(parts, record.BLOCK, self.number, bytes(block))

    def _encode_aside(self, parts: list[Bytes], block: Block) -> None:
        if self._snapshot is not None and block.last <= self._snapshot.of_index:
            return
        number, self._next_aside = self._next_aside, self._next_aside + 1
        self._aside[number] = block
        self.wal._encode(parts, record.ASIDE, self.number, layout.pack_aside(number, block))

    def _encode_forget(self, parts: list[Bytes], below: int) -> None:
        """What stands aside under numbers below this one is in the log now, or not needed."""
        forgotten = [number for number in self._aside if number < below]
        if forgotten:
            for number in forgotten:
                del self._aside[number]
            self.wal._encode(parts, record.FORGET, self.number, layout.pack_number(below))

    def _encode_own(self, parts: list[Bytes], snapshot: SnapshotRecord) -> bool:
        """False: a newer one is in force already, and this one's file is not needed."""
        wal = self.wal
        if self._snapshot is not None and snapshot.of_index <= self._snapshot.of_index:
            wal.disk.delete(layout.snapshot_name(snapshot.file))
            return False
        if snapshot.of_index > self._last_index:
            raise MisuseError(f"snapshot {snapshot.of_index} is ahead of the log")
        if wal._shared and self._live and wal._is_old(self._live[0][0]):
            snapshot = snapshot._replace(keep_from=snapshot.of_index + 1)
        self._replace_snapshot(snapshot)
        self._encode_kept(parts, snapshot)
        return True

    def _encode_forgotten(self, parts: list[Bytes]) -> None:
        """Forget all that the snapshot covers, if that frees an old segment."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.keep_from == snapshot.of_index + 1:
            return
        snapshot = snapshot._replace(keep_from=snapshot.of_index + 1, installed=False)
        left = [*self._live]
        layout.live_from(left, snapshot.keep_from)
        if snapshot.keep_from > self._last_index or left[0][0] > self._live[0][0]:
            self._snapshot = snapshot
            self._encode_kept(parts, snapshot)

    def _encode_kept(self, parts: list[Bytes], snapshot: SnapshotRecord) -> None:
        """The own snapshot's record: what is kept behind it."""
        wal = self.wal
        wal._untidy = True
        layout.live_from(self._live, snapshot.keep_from)
        if wal._shared and snapshot.keep_from > self._last_index:
            self._live.clear()
        wal._encode(parts, record.SNAPSHOT, self.number, snapshot.to_bytes())

    def _encode_installed(self, parts: list[Bytes], snapshot: SnapshotRecord) -> None:
        self.wal._untidy = True
        self._replace_snapshot(snapshot)
        self._live.clear()
        self._last_index = snapshot.of_index
        self._last_term = snapshot.of_term
        self.wal._encode(parts, record.SNAPSHOT, self.number, snapshot.to_bytes())

    def _replace_snapshot(self, snapshot: SnapshotRecord) -> None:
        if self._snapshot is not None:
            self.wal._garbage.append(layout.snapshot_name(self._snapshot.file))
        self._snapshot = snapshot
        layout.aside_after(self._aside, snapshot.of_index)

    # --- snapshots that arrive ---------------------------------------------------------------

    def _receive(self, chunks: list[SnapshotChunk]) -> None:
        """Add chunks to the file that they belong to."""
        wal = self.wal
        for chunk in chunks:
            name = (chunk.index, chunk.term, chunk.total_bytes, chunk.checksum)
            if chunk.offset == 0:
                if self._chunk is not None:
                    wal._untidy = True
                    wal._garbage.append(layout.part_name(self._chunk.file))
                self._chunk = ChunkRecord(*name, wal._take_file(), 0, 0)
                self._received = Received()
                wal.disk.create(layout.part_name(self._chunk.file))
            so_far = self._chunk
            received = self._received
            if so_far is None or received is None or so_far[:4] != name:
                raise MisuseError(f"{chunk!r}: its snapshot was not begun")
            if chunk.offset != so_far.received:
                raise MisuseError(f"{chunk!r} does not follow byte {so_far.received}")
            received.add(chunk.data)
            wal.disk.append(layout.part_name(so_far.file), chunk.data)
            self._chunk = so_far._replace(received=received.total_bytes, crc=received.checksum)

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
        wal = self.wal
        wal.disk.append(part, received.footer(wal.identity.tag, chunk.of_index, chunk.of_term))
        wal.disk.sync(part, self._install_synced)

    def _install_synced(self, error: StorageError | None) -> None:
        self.wal._then(error, self._install_rename)

    def _install_rename(self) -> None:
        assert self._chunk is not None
        file = self._chunk.file
        disk = self.wal.disk
        disk.rename(layout.part_name(file), layout.snapshot_name(file))
        self._chunk = self._received = None
        disk.sync_names(self._install_named)

    def _install_named(self, error: StorageError | None) -> None:
        self.wal._then(error, self._install_whole)

    def _install_whole(self) -> None:
        wal = self.wal
        self._prepared = True
        wal._installing -= 1
        wal._waiting[self] = None
        wal._pump()


class GroupStorage(GroupLog):
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
        wal = Wal(disk, identity, segment_bytes=segment_bytes, on_failure=on_failure, shared=False)
        super().__init__(wal, 0)
        wal._groups[0] = self
        self.disk = disk
        self.identity = identity

    def load(self) -> Recovered:
        """What is durable; see `Wal.load`."""
        self.wal.load()
        return super().load()


class _Saving:
    """An own snapshot on its way to the disk: its file is written a piece at a time."""

    __slots__ = ("done", "group", "keep_from", "number", "received", "snapshot", "wal")

    def __init__(
        self, group: GroupLog, snapshot: Snapshot, keep_from: int, done: Callable[[], None]
    ) -> None:
        self.group = group
        self.wal = group.wal
        self.snapshot = snapshot
        self.keep_from = keep_from
        self.done = done
        self.number = self.wal._take_file()
        self.received = Received()

    def begin(self) -> None:
        self.wal._then(None, self._begin)

    def _begin(self) -> None:
        self.wal.disk.create(layout.part_name(self.number))
        self._go_on()

    def _go_on(self) -> None:
        source, received, disk = self.snapshot.source, self.received, self.wal.disk
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
        tag = self.wal.identity.tag
        disk.append(name, received.footer(tag, self.snapshot.index, self.snapshot.term))
        disk.sync(name, self._whole)

    def _synced(self, error: StorageError | None) -> None:
        self.wal._then(error, self._go_on)

    def _whole(self, error: StorageError | None) -> None:
        self.wal._then(error, self._rename)

    def _named(self, error: StorageError | None) -> None:
        self.wal._then(error, self._record)

    def _rename(self) -> None:
        disk = self.wal.disk
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
        self.group._enqueue(_Item(None, None, entry, self.done))
        self.wal._saved()


def _installs(item: _Item) -> bool:
    return item.ready is not None and item.ready.snapshot is not None
