"""What the records of a group's log say, and how its files are called (docs/formats.md)."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import HardState
from ringleader.errors import FormatError
from ringleader.storage.record import LogIdentity, pack_id, unpack_id

#: The first version of segments, the one that has records of blocks set aside, and that of a log
#: which several groups share.  A segment says that it is of a later one only where such records may
#: be, so that an older reader, which would take them for a torn write, refuses it instead, and
#: reads all others.
VERSION_PLAIN = 1
VERSION_ASIDE = 2
VERSION_SHARED = 3
FORMAT_VERSION = VERSION_SHARED

_NAME = re.compile(r"([0-9a-f]{16})\.(log|snapshot|part)")
_SEGMENT = struct.Struct("<HHIQQQ")
_HARD_STATE = struct.Struct("<QQ")
_SNAPSHOT = struct.Struct("<QQQQQII")
_CHUNK = struct.Struct("<QQQQQII")
_NUMBER = struct.Struct("<Q")
_GROUP = struct.Struct("<QQ")

_INSTALLED = 1


def log_name(number: int) -> str:
    return f"{number:016x}.log"


def snapshot_name(number: int) -> str:
    return f"{number:016x}.snapshot"


def part_name(number: int) -> str:
    return f"{number:016x}.part"


def parse_name(name: str) -> tuple[int, str] | None:
    """The number and the kind ("log", "snapshot", "part") of a file; None: it is none of ours."""
    match = _NAME.fullmatch(name)
    return None if match is None else (int(match[1], 16), match[2])


class NewerVersion(FormatError):
    """A segment was written by a newer version."""


class SegmentRecord(NamedTuple):
    """The first record of each segment: whose it is, and where the log stood when it was begun; of
    a log that several groups share, 0 and 0: each of them has a record of its own that says it.
    """

    number: int
    last_index: int
    last_term: int
    identity: LogIdentity
    version: int = VERSION_PLAIN

    def to_bytes(self) -> bytes:
        head = _SEGMENT.pack(self.version, 0, 0, self.number, self.last_index, self.last_term)
        return head + self.identity.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> SegmentRecord:
        if len(data) < 2:
            raise FormatError("a segment's first record is cut short")
        version = int.from_bytes(data[:2], "little")
        if version > FORMAT_VERSION:
            raise NewerVersion(
                f"record log format version {version} is newer than this ringleader reads "
                f"({FORMAT_VERSION}): upgrade it"
            )
        if len(data) < _SEGMENT.size or version < 1:
            raise FormatError("a segment's first record is cut short")
        _, zero, zeros, number, last_index, last_term = _SEGMENT.unpack_from(data)
        if zero or zeros:
            raise FormatError("a segment's first record has unknown flags")
        identity = LogIdentity.from_bytes(data[_SEGMENT.size :])
        return cls(number, last_index, last_term, identity, version)


def pack_group(last_index: int, last_term: int) -> bytes:
    """Where a group's log stood when the segment was begun."""
    return _GROUP.pack(last_index, last_term)


def unpack_group(data: bytes) -> tuple[int, int]:
    if len(data) != _GROUP.size:
        raise FormatError("a group's record of a wrong length")
    last_index, last_term = _GROUP.unpack(data)
    return last_index, last_term


def pack_hard_state(state: HardState) -> bytes:
    return _HARD_STATE.pack(state.term, state.commit) + pack_id(state.vote)


def unpack_hard_state(data: bytes) -> HardState:
    if len(data) < _HARD_STATE.size:
        raise FormatError("a hard state is cut short")
    term, commit = _HARD_STATE.unpack_from(data)
    vote, end = unpack_id(data, _HARD_STATE.size)
    if end != len(data):
        raise FormatError("a hard state is too long")
    return HardState(term, vote, commit)


class SnapshotRecord(NamedTuple):
    """From here on the snapshot in file `file` is the group's.

    installed   it came from a leader and replaced the log, which now begins after it; otherwise it
                is the own state, and the log has forgotten the entries below `keep_from`.
    """

    of_index: int
    of_term: int
    total_bytes: int
    checksum: int
    file: int
    keep_from: int
    installed: bool
    membership: Membership

    def to_bytes(self) -> bytes:
        return (
            _SNAPSHOT.pack(
                self.of_index,
                self.of_term,
                self.total_bytes,
                self.file,
                self.keep_from,
                self.checksum,
                _INSTALLED if self.installed else 0,
            )
            + self.membership.to_bytes()
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> SnapshotRecord:
        if len(data) < _SNAPSHOT.size:
            raise FormatError("a snapshot record is cut short")
        index, term, total, file, keep_from, checksum, flags = _SNAPSHOT.unpack_from(data)
        if flags & ~_INSTALLED or index < 1 or term < 1 or not 0 < keep_from <= index + 1:
            raise FormatError("an impossible snapshot record")
        membership = Membership.from_bytes(data[_SNAPSHOT.size :])
        return cls(index, term, total, checksum, file, keep_from, bool(flags), membership)


class ChunkRecord(NamedTuple):
    """Of a snapshot that is arriving, `received` bytes are in file `file`; `crc` is their CRC32C.

    `of_index`, `of_term`, `total_bytes` and `checksum` name the snapshot.
    """

    of_index: int
    of_term: int
    total_bytes: int
    checksum: int
    file: int
    received: int
    crc: int

    def to_bytes(self) -> bytes:
        return _CHUNK.pack(
            self.of_index,
            self.of_term,
            self.total_bytes,
            self.file,
            self.received,
            self.checksum,
            self.crc,
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> ChunkRecord:
        if len(data) != _CHUNK.size:
            raise FormatError("a chunk record of a wrong length")
        index, term, total, file, received, checksum, crc = _CHUNK.unpack(data)
        if received > total:
            raise FormatError("an impossible chunk record")
        return cls(index, term, total, checksum, file, received, crc)


def pack_aside(number: int, block: Block) -> bytes:
    """A block that stands aside.  `number` counts these over the log's lives, so that one that a
    later segment repeats is known to be the same."""
    return _NUMBER.pack(number) + bytes(block)


def unpack_aside(data: bytes) -> tuple[int, Block]:
    return unpack_number(data[: _NUMBER.size]), Block(data[_NUMBER.size :])


def pack_number(number: int) -> bytes:
    return _NUMBER.pack(number)


def unpack_number(data: bytes) -> int:
    if len(data) != _NUMBER.size:
        raise FormatError("a number of a wrong length")
    return int.from_bytes(data, "little")


def live_after(live: list[tuple[int, int]], segment: int, first: int) -> None:
    """Note in `live` that entries from `first` on stand in `segment` now.

    `live` says where the log's entries are: (segment, first entry), both ascending; each one's
    entries end where the next one's begin.
    """
    while live and live[-1][1] >= first:
        live.pop()
    if not live or live[-1][0] != segment:
        live.append((segment, first))


def aside_after(aside: dict[int, Block], index: int) -> None:
    """Drop the blocks that a snapshot of `index` covers."""
    for number in [number for number, block in aside.items() if block.last <= index]:
        del aside[number]


def live_from(live: list[tuple[int, int]], keep_from: int) -> None:
    """Note in `live` that entries below `keep_from` are forgotten, but for the last of them: its
    term is what a reader begins with."""
    while len(live) > 1 and live[1][1] < keep_from:
        del live[0]
