"""Looking at a log without touching it: for operators, beside a node that runs or in its place.

`verify` reads a log as a start would, by the same code, on a disk whose every change is a note.
`dump` tells each record.  Neither takes the directory's lock: beside a running node, what is being
written shows as a torn end, and a segment that goes in the middle of it as a file that is missing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ringleader.consensus.log import Block
from ringleader.errors import FormatError, StorageError
from ringleader.storage import layout, record
from ringleader.storage.directory import FileReader, failure
from ringleader.storage.files import Bytes, Done
from ringleader.storage.layout import ChunkRecord, SegmentRecord, SnapshotRecord
from ringleader.storage.record import LogIdentity, Record
from ringleader.storage.recovery import Recovery

_KINDS = {
    record.SEGMENT: "segment",
    record.HARD_STATE: "hard state",
    record.BLOCK: "block",
    record.SNAPSHOT: "snapshot",
    record.CHUNK: "chunk",
    record.MARK: "mark",
    record.ASIDE: "aside",
    record.FORGET: "forget",
    record.GROUP: "group",
}
_OF_NO_GROUP = frozenset((record.SEGMENT, record.MARK))


class ExaminedDisk:
    """A directory as a `storage.files.Disk` that is read, and on which nothing ever changes.

    cuts        where a recovery would truncate a file, by its name.
    deletes     what it would delete.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.cuts: dict[str, int] = {}
        self.deletes: set[str] = set()

    def names(self) -> list[str]:
        try:
            found = [entry.name for entry in self.path.iterdir() if entry.is_file()]
        except OSError as error:
            raise failure(self.path, "the directory cannot be read", error) from error
        return sorted(found)

    def open(self, name: str) -> FileReader:
        return FileReader(self.path / name)

    def truncate(self, name: str, total_bytes: int) -> None:
        self.cuts[name] = total_bytes

    def delete(self, name: str) -> None:
        self.deletes.add(name)

    def settle(self) -> None:
        pass

    def create(self, name: str) -> None:
        raise AssertionError("nothing is written")

    def append(self, name: str, data: Bytes) -> None:
        raise AssertionError("nothing is written")

    def sync(self, name: str, done: Done) -> None:
        raise AssertionError("nothing is written")

    def sync_names(self, done: Done) -> None:
        raise AssertionError("nothing is written")

    def rename(self, old: str, new: str) -> None:
        raise AssertionError("nothing is written")


class GroupSummary(NamedTuple):
    """Of one group: its hard state, its entries (`base` is the last one before them), its snapshot
    (index 0: none), blocks aside, and bytes received of the next snapshot."""

    group: int
    term: int
    vote: str | int | None
    commit: int
    base: int
    last: int
    last_term: int
    entry_bytes: int
    snapshot_index: int
    snapshot_term: int
    snapshot_bytes: int
    aside: int
    received_bytes: int
    members: str


class Summary(NamedTuple):
    """What a log holds.  `end_file`, `end_at`: where it ends; `bytes_behind`: how many follow
    there, up to the last one that is not zero."""

    identity: LogIdentity
    shared: bool
    segments: list[str]
    log_bytes: int
    last_sequence: int
    end_file: str
    end_at: int
    bytes_behind: int
    needless: list[str]
    groups: list[GroupSummary]


def segments_of(disk: ExaminedDisk) -> list[int]:
    """The numbers of a directory's segments, ascending.

    Raises:
        StorageError: there is none.
    """
    parsed = [layout.parse_name(name) for name in disk.names()]
    numbers = sorted(it[0] for it in parsed if it is not None and it[1] == "log")
    if not numbers:
        raise StorageError(f"{disk.path}: there is no log here: no file is called ….log")
    return numbers


def head_of(disk: ExaminedDisk) -> SegmentRecord:
    """The first record of a segment, the oldest that has a whole one.

    Raises:
        StorageError: none has, or it was written by a newer version.
    """
    numbers = segments_of(disk)
    for number in numbers:
        name = layout.log_name(number)
        reader = disk.open(name)
        # An identity and its layout are much shorter.
        found = record.parse(memoryview(reader.read(0, 2**16)), 0)
        if found is not None and found.kind == record.SEGMENT:
            try:
                return SegmentRecord.from_bytes(bytes(found.payload))
            except FormatError as error:
                raise StorageError(f"{disk.path / name}: {error}") from error
    name = layout.log_name(numbers[0])
    raise StorageError(f"{disk.path / name}: the log is damaged at byte 0: no segment begins")


def verify(path: str | os.PathLike[str]) -> Summary:
    """Read a whole log, its snapshots too, as a start would.

    Raises:
        StorageError: a start would be refused; names file and byte.
    """
    disk = ExaminedDisk(path)
    head = head_of(disk)
    shared = head.version >= layout.VERSION_SHARED
    recovery = Recovery(disk, head.identity, shared=shared)
    recovery.run()
    groups = []
    for number in sorted(recovery.groups):
        state = recovery.groups[number]
        log, snapshot = state.log, state.snapshot
        groups.append(
            GroupSummary(
                head.identity.group if not shared else number,
                state.hard_state.term,
                state.hard_state.vote,
                state.hard_state.commit,
                log.base,
                log.last,
                log.last_term,
                log.payload_bytes,
                snapshot.of_index if snapshot is not None else 0,
                snapshot.of_term if snapshot is not None else 0,
                snapshot.total_bytes if snapshot is not None else 0,
                len(state.aside),
                state.chunk.received if state.chunk is not None else 0,
                str(snapshot.membership) if snapshot is not None else "",
            )
        )
    segments = [layout.log_name(number) for number in recovery.segments]
    reader = disk.open(segments[-1])
    end = disk.cuts.get(segments[-1], reader.total_bytes)
    behind = len(reader.read(end, reader.total_bytes).rstrip(b"\0"))
    return Summary(
        head.identity,
        shared,
        segments,
        sum(disk.open(name).total_bytes for name in segments),
        recovery.sequence,
        segments[-1],
        end,
        behind,
        sorted(disk.deletes),
        groups,
    )


class Told(NamedTuple):
    """A record, or where a segment's records end (`kind` is "end")."""

    file: str
    at: int
    sequence: int
    durable: int
    group: int | None
    kind: str
    fields: dict[str, Any]


def dump(path: str | os.PathLike[str], group: int | None = None) -> Iterator[Told]:
    """Each record of each segment, in the order of the files; of one group, if that is asked for.

    Raises:
        StorageError: there is no log, or a file cannot be read.
    """
    disk = ExaminedDisk(path)
    identity = head_of(disk).identity
    for number in segments_of(disk):
        name = layout.log_name(number)
        reader = disk.open(name)
        data = memoryview(reader.read(0, reader.total_bytes))
        at = last = 0
        while (found := record.parse(data, at)) is not None and found.tag == identity.tag:
            if at and found.sequence != last + 1:
                break  # of an earlier use of the file
            last = found.sequence
            of = None if found.kind in _OF_NO_GROUP else found.group
            if group is None or of == group:
                kind = _KINDS[found.kind]
                yield Told(
                    name, at, found.sequence, found.durable, of, kind, _fields(name, at, found)
                )
            at = found.end
        if group is None:
            rest = len(bytes(data[at:]).rstrip(b"\0"))
            yield Told(name, at, 0, 0, None, "end", {"bytes_behind": rest})


def _fields(name: str, at: int, found: Record) -> dict[str, Any]:
    """What a record says, in words of the format's description."""
    try:
        return _parsed(found)
    except FormatError as error:
        return {"damaged": f"{name}: byte {at}: {error}"}


def _parsed(found: Record) -> dict[str, Any]:
    kind, payload = found.kind, bytes(found.payload)
    if kind == record.SEGMENT:
        head = SegmentRecord.from_bytes(payload)
        identity = head.identity
        return {
            "version": head.version,
            "number": head.number,
            "last_index": head.last_index,
            "last_term": head.last_term,
            "cluster": identity.cluster,
            "node": identity.node,
            "of_group": identity.group,
            "incarnation": identity.incarnation,
            "layout": identity.layout,
        }
    if kind == record.HARD_STATE:
        state = layout.unpack_hard_state(payload)
        return {"term": state.term, "vote": state.vote, "commit": state.commit}
    if kind == record.BLOCK:
        return _block(Block(payload))
    if kind == record.ASIDE:
        number, block = layout.unpack_aside(payload)
        return {"number": number, **_block(block)}
    if kind == record.FORGET:
        return {"below": layout.unpack_number(payload)}
    if kind == record.GROUP:
        last_index, last_term = layout.unpack_group(payload)
        return {"last_index": last_index, "last_term": last_term}
    if kind == record.SNAPSHOT:
        snapshot = SnapshotRecord.from_bytes(payload)
        return {
            "index": snapshot.of_index,
            "term": snapshot.of_term,
            "bytes": snapshot.total_bytes,
            "file": layout.snapshot_name(snapshot.file),
            "keep_from": snapshot.keep_from,
            "installed": snapshot.installed,
        }
    if kind == record.CHUNK:
        chunk = ChunkRecord.from_bytes(payload)
        return {
            "index": chunk.of_index,
            "term": chunk.of_term,
            "bytes": chunk.total_bytes,
            "file": layout.part_name(chunk.file),
            "received": chunk.received,
        }
    return {}


def _block(block: Block) -> dict[str, Any]:
    return {
        "first": block.first,
        "last": block.last,
        "last_term": block.last_term,
        "payload_bytes": block.payload_bytes,
    }
