"""Snapshot files: the bytes of a snapshot, and behind them what proves that they are right.

    data            the snapshot's bytes, as they are
    page sums       CRC32C of each page of `limits.SNAPSHOT_PAGE_BYTES`, the last one may be shorter
    trailer         what it is a snapshot of, and the CRC32C of page sums and trailer

A file is written beside the others under a name of its own, `.part`, then synced, then renamed: a
file called `.snapshot` is whole, or damaged.  Every read checks the pages that it touches.
"""

from __future__ import annotations

import struct
from array import array

from ringleader.errors import LogDamagedError, StorageError
from ringleader.hashing import crc32c
from ringleader.limits import SNAPSHOT_PAGE_BYTES
from ringleader.storage.files import Bytes, Disk, Reader

FORMAT_VERSION = 1
_MAGIC = b"RLSN"
#: magic, version, 0, identity's tag, checksum, index, term, data's bytes, page's bytes, crc
_TRAILER = struct.Struct("<4sHHIIQQQII")
TRAILER_BYTES = _TRAILER.size


class Received:
    """A snapshot's bytes as they come: their checksum, and those of their pages."""

    __slots__ = ("_page", "_sums", "checksum", "total_bytes")

    def __init__(self) -> None:
        self.total_bytes = 0
        #: CRC32C of everything so far.
        self.checksum = 0
        self._sums = array("I")
        #: That of the page that is not full.
        self._page = 0

    def add(self, data: Bytes) -> None:
        """More bytes, behind those that came."""
        self.checksum = crc32c(data, self.checksum)
        view = memoryview(data)
        while len(view):
            room = SNAPSHOT_PAGE_BYTES - self.total_bytes % SNAPSHOT_PAGE_BYTES
            piece = view[:room]
            self._page = crc32c(piece, self._page)
            self.total_bytes += len(piece)
            if len(piece) == room:
                self._sums.append(self._page)
                self._page = 0
            view = view[room:]

    def footer(self, tag: int, index: int, term: int) -> bytes:
        """What follows the bytes in the file when all of them came."""
        sums = [*self._sums]
        if self.total_bytes % SNAPSHOT_PAGE_BYTES:
            sums.append(self._page)
        body = struct.pack(f"<{len(sums)}I", *sums)
        body += _TRAILER.pack(
            _MAGIC,
            FORMAT_VERSION,
            0,
            tag,
            self.checksum,
            index,
            term,
            self.total_bytes,
            SNAPSHOT_PAGE_BYTES,
            0,
        )
        return body[:-4] + crc32c(body[:-4]).to_bytes(4, "little")


class SnapshotFile:
    """A whole snapshot on disk: a `SnapshotSource`.

    Raises:
        StorageError: it is of a newer version, or of another log.
            LogDamagedError: it is damaged.
    """

    __slots__ = (
        "_page_bytes",
        "_reader",
        "_sums",
        "checksum",
        "index",
        "name",
        "term",
        "total_bytes",
    )

    def __init__(self, disk: Disk, name: str, tag: int) -> None:
        self.name = name
        self._reader: Reader = disk.open(name)
        count = self._reader.total_bytes
        trailer = self._reader.read(max(0, count - TRAILER_BYTES), TRAILER_BYTES)
        if len(trailer) < TRAILER_BYTES or trailer[:4] != _MAGIC:
            raise LogDamagedError(f"{name}: the snapshot has no trailer")
        (_, version, _, of_tag, checksum, index, term, total, page_bytes, crc) = _TRAILER.unpack(
            trailer
        )
        if version > FORMAT_VERSION:
            raise StorageError(
                f"{name}: snapshot format version {version} is newer than this ringleader reads "
                f"({FORMAT_VERSION}): upgrade it"
            )
        pages = -(-total // page_bytes) if page_bytes else 0
        if total + 4 * pages + TRAILER_BYTES != count:
            raise LogDamagedError(
                f"{name}: the snapshot's trailer is damaged, or bytes are missing"
            )
        sums = self._reader.read(total, 4 * pages)
        if crc32c(trailer[:-4], crc32c(sums)) != crc or version < 1:
            raise LogDamagedError(f"{name}: the snapshot's trailer is damaged")
        if of_tag != tag:
            raise StorageError(f"{name}: the snapshot belongs to another log")
        self.total_bytes: int = total
        self.checksum: int = checksum
        self.index: int = index
        self.term: int = term
        self._page_bytes: int = page_bytes
        self._sums = struct.unpack(f"<{pages}I", sums)

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer only at the end.

        Raises:
            LogDamagedError: they are damaged.
        """
        until = min(offset + count, self.total_bytes)
        if offset >= until:
            return b""
        page_bytes = self._page_bytes
        first = offset // page_bytes
        start = first * page_bytes
        end = min(-(-until // page_bytes) * page_bytes, self.total_bytes)
        data = self._reader.read(start, end - start)
        view = memoryview(data)
        for page, at in enumerate(range(0, end - start, page_bytes), first):
            if crc32c(view[at : at + page_bytes]) != self._sums[page] or len(data) < end - start:
                raise LogDamagedError(
                    f"{self.name}: the snapshot is damaged in the page at byte {start + at}"
                )
        return data if (start, end) == (offset, until) else data[offset - start : until - start]

    def verify(self) -> None:
        """Read all of it, a piece at a time.

        Raises:
            LogDamagedError: it is damaged.
        """
        checksum = 0
        for at in range(0, self.total_bytes, self._page_bytes * 16):
            checksum = crc32c(self.read(at, self._page_bytes * 16), checksum)
        if checksum != self.checksum:
            raise LogDamagedError(f"{self.name}: the snapshot's bytes do not have its checksum")
