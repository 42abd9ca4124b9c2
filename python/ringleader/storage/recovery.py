"""Reading a log after a start: what is whole, what a crash tore, what the disk spoiled.

Segments are read in order, records in sequence.  The first record that is not there, not whole, or
not the next one ends its segment:

    the next segment begins with just that sequence     an earlier recovery stopped here, too, and
                                                        went on in a new segment: so does this one
    a witness behind it says that it was durable        the disk spoiled it: `LogDamagedError`
                                                        with file and offset, and the node must not
                                                        start
    otherwise                                           a crash tore it: the log ends here, the rest
                                                        is cut off

All this is the log's, whose records are in one sequence, whichever groups they are of; what they
say is each group's own, a `GroupState`.

A new life never appends to a segment of an earlier one, so that a tail which a crash tore is never
continued, and may come and go without harm.
"""

from __future__ import annotations

from ringleader.consensus.driver import Recovered
from ringleader.consensus.log import Block, Log
from ringleader.consensus.ready import HardState, Snapshot
from ringleader.errors import FormatError, LogDamagedError, LogError, LogIndexError, StorageError
from ringleader.limits import SNAPSHOT_PIECE_BYTES
from ringleader.storage import layout, record
from ringleader.storage.files import Disk
from ringleader.storage.layout import ChunkRecord, NewerVersion, SegmentRecord, SnapshotRecord
from ringleader.storage.record import LogIdentity, Record
from ringleader.storage.snapshot import Received, SnapshotFile


class GroupState:
    """What a log holds of one group.

    live        where the group's entries are, see `layout.live_after`.
    aside       the blocks that stand beside its log, by their numbers, which ascend.
    next_aside  a number above theirs.
    """

    def __init__(self, number: int, version: int) -> None:
        self.number = number
        #: Of the segments so far, the newest.
        self.version = version
        self.hard_state = HardState()
        self.log = Log()
        self.snapshot: SnapshotRecord | None = None
        self.snapshot_file: SnapshotFile | None = None
        self.chunk: ChunkRecord | None = None
        self.received: Received | None = None
        self.live: list[tuple[int, int]] = []
        self.aside: dict[int, Block] = {}
        self.next_aside = 1

    def recovered(self) -> Recovered:
        """It in the core's words."""
        snapshot = None
        if (found := self.snapshot) is not None:
            assert self.snapshot_file is not None
            snapshot = Snapshot(
                found.of_index, found.of_term, found.membership, self.snapshot_file, found.checksum
            )
        partial = None
        if (chunk := self.chunk) is not None:
            partial = (
                chunk.of_index,
                chunk.of_term,
                chunk.total_bytes,
                chunk.checksum,
                chunk.received,
                chunk.crc,
            )
        state = self.hard_state
        if state.commit > self.log.last:  # it was on its way to the disk with entries that are torn
            state = HardState(state.term, state.vote, self.log.last)
        return Recovered(state, self.log, snapshot, partial, [*self.aside.values()])

    # --- records -----------------------------------------------------------------------------

    def replay(self, number: int, found: Record) -> None:
        """Take in a record of segment `number`.

        Raises:
            FormatError, LogError, LogIndexError: it contradicts those before it.
        """
        kind = found.kind
        if kind == record.BLOCK:
            self._replay_block(number, Block(found.payload))
        elif kind == record.HARD_STATE:
            state = layout.unpack_hard_state(bytes(found.payload))
            if state.term < self.hard_state.term:
                raise FormatError(f"term {state.term} goes back from {self.hard_state.term}")
            self.hard_state = state
        elif kind == record.SNAPSHOT:
            self._replay_snapshot(SnapshotRecord.from_bytes(bytes(found.payload)))
        elif kind == record.CHUNK:
            self.chunk = ChunkRecord.from_bytes(bytes(found.payload))
        elif kind == record.ASIDE:
            self._replay_aside(*layout.unpack_aside(bytes(found.payload)))
        elif kind == record.FORGET:
            self._replay_forget(layout.unpack_number(bytes(found.payload)))

    def _replay_block(self, number: int, block: Block) -> None:
        first = block.first
        if self.snapshot is not None and first <= self.snapshot.of_index:
            raise FormatError(
                f"entry {first} is written anew, though snapshot {self.snapshot.of_index} covers it"
            )
        if self.log.base < first <= self.log.last:
            self.log.truncate(first)
        elif first <= self.log.base:
            self.log = self._begun_anew(block)
        if first > self.log.base:
            self.log.append_block(block)
        layout.live_after(self.live, number, first)

    def _replay_aside(self, number: int, block: Block) -> None:
        if self.version < layout.VERSION_ASIDE:
            raise FormatError("a block is set aside, but no segment says that there are such")
        if self.snapshot is not None and block.last <= self.snapshot.of_index:
            raise FormatError(
                f"entries up to {block.last} are set aside, though snapshot "
                f"{self.snapshot.of_index} covers them"
            )
        if number >= self.next_aside:
            self.aside[number] = block
            self.next_aside = number + 1
        elif number not in self.aside or bytes(self.aside[number]) != bytes(block):
            raise FormatError(f"block {number} that is repeated does not stand aside")

    def _replay_forget(self, below: int) -> None:
        if self.version < layout.VERSION_ASIDE:
            raise FormatError("blocks are forgotten, but no segment says that there are such")
        self.aside = {number: block for number, block in self.aside.items() if number >= below}

    def _begun_anew(self, block: Block) -> Log:
        """A log for a block from before the first segment that is left: it overwrites entries which
        are in segments that are gone.  What precedes it may be unknown; then its first entry is
        only good for its term, and a later snapshot must cover it."""
        first = block.first
        if first == 1:
            return Log()
        if self.snapshot is not None and self.snapshot.of_index == first - 1:
            return Log(first - 1, self.snapshot.of_term)
        log = Log(first - 1, block.term(first))
        log.append_block(block)
        log.compact(first)
        return log

    def _replay_snapshot(self, snapshot: SnapshotRecord) -> None:
        index = snapshot.of_index
        if self.snapshot is not None and index < self.snapshot.of_index:
            raise FormatError(f"snapshot {index} is older than snapshot {self.snapshot.of_index}")
        if snapshot.installed:
            self.log = Log(index, snapshot.of_term)
            self.live.clear()
            self.chunk = None
        else:
            if index > self.log.last or (
                index >= self.log.base and self.log.term(index) != snapshot.of_term
            ):
                raise FormatError(f"snapshot {index} of term {snapshot.of_term} is not of this log")
            if snapshot.keep_from - 1 > self.log.base:
                self.log.compact(snapshot.keep_from - 1)
            layout.live_from(self.live, snapshot.keep_from)
            if self.version >= layout.VERSION_SHARED and snapshot.keep_from > self.log.last:
                self.live.clear()
        self.snapshot = snapshot
        layout.aside_after(self.aside, index)

    # --- what the records say together -------------------------------------------------------

    def check_end(self, segments: list[int]) -> None:
        covered = self.snapshot.of_index if self.snapshot is not None else 0
        if self.log.base > covered:
            raise LogDamagedError(
                f"{layout.log_name(segments[0])}: the log begins after entry {self.log.base}, "
                f"but the snapshot covers only {covered}: a segment before it is missing"
            )

    def open_snapshot(self, disk: Disk, tag: int) -> None:
        if (wanted := self.snapshot) is None:
            return
        name = layout.snapshot_name(wanted.file)
        if name not in disk.names():
            raise LogDamagedError(f"{name}: there is no such file, though the log names it")
        file = SnapshotFile(disk, name, tag)
        found = (file.index, file.term, file.total_bytes, file.checksum)
        if found != (wanted.of_index, wanted.of_term, wanted.total_bytes, wanted.checksum):
            raise LogDamagedError(f"{name}: it is not the snapshot that the log names")
        file.verify()
        self.snapshot_file = file

    def open_partial(self, disk: Disk) -> None:
        """What has arrived of a snapshot is kept if it is right; else it is asked for again."""
        chunk, self.chunk = self.chunk, None
        if chunk is None or layout.part_name(chunk.file) not in disk.names():
            return
        name = layout.part_name(chunk.file)
        reader = disk.open(name)
        received = Received()
        while received.total_bytes < chunk.received:
            want = min(SNAPSHOT_PIECE_BYTES, chunk.received - received.total_bytes)
            piece = reader.read(received.total_bytes, want)
            if not piece:
                return
            received.add(piece)
        if received.checksum != chunk.crc:
            return
        if reader.total_bytes > chunk.received:
            disk.truncate(name, chunk.received)
        self.chunk, self.received = chunk, received


class Recovery:
    """What a disk holds of a log.

    Args:
        shared: whether it is one that several groups share; otherwise all of it is of group 0.
        has_begun: whether it is known to have records: then one without any has lost them.

    segments    the numbers of its segments, ascending and without gaps.
    sequence    the last record's.
    version     the newest that a segment says it is of.
    groups      what it says of each group.
    next_file   a number that no snapshot file has.
    """

    def __init__(
        self,
        disk: Disk,
        identity: LogIdentity,
        *,
        shared: bool = False,
        has_begun: bool = False,
    ) -> None:
        self.disk = disk
        self.identity = identity
        self.shared = shared
        self.has_begun = has_begun
        self.segments: list[int] = []
        self.sequence = 0
        self.version = layout.VERSION_SHARED if shared else layout.VERSION_PLAIN
        self.groups: dict[int, GroupState] = {}
        self.next_file = 1

    def run(self) -> None:
        """Read everything, and tidy up.

        Raises:
            StorageError: it belongs to another log, was written by a newer version, or cannot be
                read.
            LogDamagedError: it is damaged where no crash can have damaged it.
        """
        kinds: dict[str, list[int]] = {"log": [], "snapshot": [], "part": []}
        for name in self.disk.names():
            if (parsed := layout.parse_name(name)) is not None:
                kinds[parsed[1]].append(parsed[0])
        self.next_file = max([0, *kinds["snapshot"], *kinds["part"]]) + 1
        numbers = _run_at_end(kinds["log"])
        if self.has_begun and not numbers:
            raise LogDamagedError("the log is gone: no file is called ….log, and there were such")
        self._read(numbers)
        if not self.sequence and kinds["snapshot"]:
            name = layout.snapshot_name(kinds["snapshot"][0])
            raise LogDamagedError(f"{name}: there is a snapshot, but the log is gone")
        keep = {layout.log_name(number) for number in self.segments}
        for group in self.groups.values():
            group.check_end(self.segments)
            group.open_snapshot(self.disk, self.identity.tag)
            group.open_partial(self.disk)
            if group.snapshot is not None:
                keep.add(layout.snapshot_name(group.snapshot.file))
            if group.chunk is not None:
                keep.add(layout.part_name(group.chunk.file))
        for name in self.disk.names():
            if name not in keep and layout.parse_name(name) is not None:
                self.disk.delete(name)
        self.disk.settle()

    def group(self, number: int) -> GroupState:
        """What the log says of a group; that may be nothing."""
        state = self.groups.get(number)
        if state is None:
            state = self.groups[number] = GroupState(number, self.version)
        return state

    # --- records -----------------------------------------------------------------------------

    def _read(self, numbers: list[int]) -> None:
        following = self._load(numbers[0]) if numbers else b""
        for place, number in enumerate(numbers):
            data, following = following, b""
            view = memoryview(data)
            limit = None
            if place + 1 < len(numbers):
                following = self._load(numbers[place + 1])
                limit = self._first_sequence(numbers[place + 1], following)
            self.segments.append(number)
            end = self._read_segment(number, view, limit)
            if limit is not None and limit == self.sequence + 1:
                continue
            name = layout.log_name(number)
            if limit is not None:
                raise LogDamagedError(
                    f"{name}: the log is damaged at byte {end}: record {self.sequence + 1} is "
                    f"missing, and the next segment begins with record {limit}"
                )
            later = numbers[place + 1 :]
            where = f"{name}: the log is damaged at byte {end}"
            if end == len(data) and later:
                where = f"{layout.log_name(later[0])}: the log is damaged at byte 0"
            self._refuse_damage(where, number, view, end)
            for other in later:
                self._refuse_damage(where, other, memoryview(self._load(other)), 0)
            if end == 0:
                if place == 0 and (number > 1 or self.has_begun):
                    raise LogDamagedError(
                        f"{name}: the log is damaged at byte 0: its first record is not whole, and "
                        f"no segment is before it"
                    )
                self.segments.pop()  # not even its first record was written
                self.disk.delete(name)
            elif end < len(data):
                self.disk.truncate(name, end)
            return

    def _load(self, number: int) -> bytes:
        reader = self.disk.open(layout.log_name(number))
        return reader.read(0, reader.total_bytes)

    def _first_sequence(self, number: int, data: bytes) -> int | None:
        """The sequence that a segment begins with; None when its first record is not whole."""
        found = record.parse(memoryview(data), 0)
        if found is None or found.kind != record.SEGMENT:
            return None
        self._own(number, found)
        return found.sequence

    def _own(self, number: int, found: Record) -> SegmentRecord:
        """A segment's first record, after the check that it is ours."""
        name = layout.log_name(number)
        try:
            head = SegmentRecord.from_bytes(bytes(found.payload))
        except NewerVersion as error:
            raise StorageError(f"{name}: {error}") from error
        except FormatError as error:
            raise LogDamagedError(f"{name}: {error}") from error
        if head.identity != self.identity:
            raise StorageError(
                f"{name}: the log belongs to {head.identity!r}, not to {self.identity!r}"
            )
        if (head.version >= layout.VERSION_SHARED) != self.shared:
            raise StorageError(
                f"{name}: the log is one of {'one group' if self.shared else 'several groups'}"
            )
        if head.number != number or found.tag != self.identity.tag:
            raise LogDamagedError(f"{name}: the file is segment {head.number} under a wrong name")
        return head

    def _read_segment(self, number: int, view: memoryview, limit: int | None) -> int:
        """Replay a segment's records, up to sequence `limit`; returns where they end."""
        at = 0
        while limit is None or self.sequence + 1 < limit:
            found = record.parse(view, at)
            if found is None:
                return at
            if at == 0:
                if found.kind != record.SEGMENT:
                    return at
                self._begin(number, found)
            elif (
                found.tag != self.identity.tag
                or found.sequence != self.sequence + 1
                or (found.group and not self.shared)
            ):
                return at
            else:
                try:
                    self._replay(number, found)
                except (FormatError, LogError, LogIndexError) as error:
                    of = f" (of group {found.group})" if self.shared else ""
                    raise LogDamagedError(
                        f"{layout.log_name(number)}: record {found.sequence}{of} at byte {at} is "
                        f"whole but contradicts what is before it: {error}"
                    ) from error
            self.sequence = found.sequence
            at = found.end
        return at

    def _refuse_damage(self, where: str, number: int, view: memoryview, start: int) -> None:
        """Raise when a record from byte `start` of a segment on says that the log's next record,
        which is not there, was durable."""
        missing = self.sequence + 1
        witness = record.find_witness(view, start, self.identity.tag, missing)
        if witness is not None:
            raise LogDamagedError(
                f"{where}: record {missing} was durable, says record {witness.sequence} in "
                f"{layout.log_name(number)}"
            )

    def _begin(self, number: int, found: Record) -> None:
        head = self._own(number, found)
        self.version = max(self.version, head.version)
        if not self.shared:
            self._begin_group(number, 0, head.last_index, head.last_term)
        for group in self.groups.values():
            group.version = self.version

    def _begin_group(self, number: int, of: int, index: int, term: int) -> None:
        """Segment `number` says that it was begun when the log of group `of` ended with this entry.

        Every segment says that of every group that has been heard of; only a crash can have cut off
        what the first segment that is left said, and then the next one repeats it.
        """
        if of not in self.groups:
            self.group(of).log = Log(index, term)
            return
        log = self.groups[of].log
        if (index, term) != (log.last, log.last_term):
            raise LogDamagedError(
                f"{layout.log_name(number)}: it was begun after entry {index} of term {term}, but "
                f"the segments before it end with {log.last} of {log.last_term}"
            )

    def _replay(self, number: int, found: Record) -> None:
        kind = found.kind
        if kind == record.SEGMENT:
            raise FormatError("a segment begins in the middle of another")
        if kind == record.MARK:
            return
        if kind != record.GROUP:
            self.group(found.group).replay(number, found)
        elif self.shared:
            index, term = layout.unpack_group(bytes(found.payload))
            self._begin_group(number, found.group, index, term)
        else:
            raise FormatError("a group's record, though the log is one group's")


def _run_at_end(numbers: list[int]) -> list[int]:
    """The longest run without a gap that ends with the last one: what is before a gap was deleted
    in part when it was not needed any more."""
    numbers = sorted(numbers)
    start = len(numbers) - 1
    while start > 0 and numbers[start - 1] == numbers[start] - 1:
        start -= 1
    return numbers[max(start, 0) :]
