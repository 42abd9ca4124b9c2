"""How a record of the log is framed, in plain Python."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ringleader._reference.hashing import crc32c

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: crc, payload bytes, kind and group, tag, sequence, durable
_HEADER = struct.Struct("<IIIIQQ")
HEADER_BYTES = _HEADER.size
_ALIGN_BYTES = 8


def seal(word: int, payload: Buffer, tag: int, sequence: int, durable: int) -> bytes:
    """A whole record.  `word` is its kind, and its group shifted by 8."""
    data = bytes(memoryview(payload))
    if len(data) >= 2**32:
        raise ValueError(f"a record of {len(data)} bytes")
    try:
        head = _HEADER.pack(0, len(data), word, tag, sequence, durable)
    except struct.error as error:
        raise OverflowError(str(error)) from None
    body = head[4:] + data + bytes(-len(data) % _ALIGN_BYTES)
    return crc32c(body).to_bytes(4, "little") + body


def parse(data: Buffer, at: int, payload_bytes_max: int) -> tuple[int, int, int, int, int] | None:
    """The record at byte `at`: (word, tag, sequence, durable, payload's bytes); None if there is
    none that is whole."""
    view = memoryview(data)
    if not 0 <= at <= len(view) - HEADER_BYTES:
        return None
    crc, count, word, tag, sequence, durable = _HEADER.unpack_from(view, at)
    end = at + HEADER_BYTES + count + -count % _ALIGN_BYTES
    if count > payload_bytes_max or end > len(view):
        return None
    if crc32c(view[at + 4 : end]) != crc:
        return None
    return word, tag, sequence, durable, count
