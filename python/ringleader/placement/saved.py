"""Saved rings, format version 1 (docs/formats.md): settings and nodes, never the points.

All numbers are little-endian.  A text is its UTF-8 length as u16, then its bytes.

    magic "RLRG" | u16 format version | u16 kind | u64 total bytes, checksum included
    u16 placement version | u16 hash | u32 vnodes | 16 bytes seed | u32 node count
    per node, in strictly ascending order of names:
        text name | f64 weight | text dc | text zone | text address
        u16 tag count | per tag, in strictly ascending order: text tag | text value
    u32 CRC32C of everything before it

Everything is checked before anything is built: length, checksum, bounds, order, values.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from ringleader import kernels, limits
from ringleader.errors import (
    FormatError,
    FormatTypeError,
    LimitError,
    RingleaderError,
    VersionError,
)
from ringleader.hashing import HASHES, resolve_hash
from ringleader.placement.node import Node

MAGIC = b"RLRG"
FORMAT_VERSION = 1
KIND_HASH_RING = 1
PLACEMENT_VERSION = 1

_HEADER = struct.Struct("<4sHHQ")
_SETTINGS = struct.Struct("<HHI16sI")
_LENGTH = struct.Struct("<H")
_WEIGHT = struct.Struct("<d")
_CHECKSUM = struct.Struct("<I")
#: A node takes at least its four lengths, a byte of name, its weight and its tag count.
_NODE_BYTES_MIN = 4 * _LENGTH.size + 1 + _WEIGHT.size + _LENGTH.size

_HASH_NAMES = {number: name for name, number in HASHES.items()}


class SavedRing(NamedTuple):
    """What the bytes hold."""

    vnodes: int
    hash: str
    seed: int
    nodes: tuple[Node, ...]


def dump(ring: SavedRing) -> bytes:
    """The bytes of a ring whose nodes are in the order of their names."""
    body = bytearray(
        _SETTINGS.pack(
            PLACEMENT_VERSION,
            HASHES[ring.hash],
            ring.vnodes,
            ring.seed.to_bytes(16, "little"),
            len(ring.nodes),
        )
    )

    def put_text(text: str) -> None:
        data = text.encode()
        body.extend(_LENGTH.pack(len(data)))
        body.extend(data)

    for node in ring.nodes:
        put_text(node.name)
        body += _WEIGHT.pack(node.weight)
        put_text(node.dc)
        put_text(node.zone)
        put_text(node.address)
        body += _LENGTH.pack(len(node.tags))
        for tag in sorted(node.tags):
            put_text(tag)
            put_text(node.tags[tag])
    total = _HEADER.size + len(body) + _CHECKSUM.size
    if total > limits.SAVED_RING_BYTES_MAX:
        raise LimitError(
            f"the saved ring would have {total} bytes; "
            f"at most {limits.SAVED_RING_BYTES_MAX} are read back"
        )
    data = _HEADER.pack(MAGIC, FORMAT_VERSION, KIND_HASH_RING, total) + bytes(body)
    return data + _CHECKSUM.pack(kernels.hashing.crc32c(data))


class _Reader:
    """Takes fields off the front; every read is checked against the end."""

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def take(self, layout: struct.Struct) -> tuple[Any, ...]:
        if self.end - self.at < layout.size:
            raise FormatError("the saved ring ends in the middle of a field")
        fields = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return fields

    def text(self) -> str:
        (size,) = self.take(_LENGTH)
        if self.end - self.at < size:
            raise FormatError("the saved ring ends in the middle of a text")
        raw = self.data[self.at : self.at + size]
        self.at += size
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise FormatError("a text of the saved ring is not UTF-8") from None


def load(source: bytes | bytearray | memoryview) -> SavedRing:
    """The ring in these bytes.

    Raises:
        FormatError, VersionError: they are not a ring that this version reads.
        FormatTypeError: not bytes at all.
    """
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise FormatTypeError(f"a saved ring is bytes, not {type(source).__name__}")
    data = bytes(source)
    if len(data) > limits.SAVED_RING_BYTES_MAX:
        raise FormatError(
            f"{len(data)} bytes are too many for a saved ring; "
            f"at most {limits.SAVED_RING_BYTES_MAX} are read"
        )
    if data[:4] != MAGIC:
        raise FormatError("these bytes are not a saved ring: they do not begin with RLRG")
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise FormatError("the saved ring is cut short: its header is not complete")
    _, version, kind, total = _HEADER.unpack_from(data)
    if version > FORMAT_VERSION:
        raise VersionError(
            f"the saved ring has format version {version}; this ringleader reads "
            f"{FORMAT_VERSION}: upgrade it"
        )
    if version != FORMAT_VERSION or kind != KIND_HASH_RING:
        raise FormatError(f"version {version}, kind {kind} is no saved hash ring")
    if total != len(data):
        raise FormatError(
            f"the saved ring says it has {total} bytes, but there are {len(data)}: "
            "it was cut short or something was added"
        )
    end = total - _CHECKSUM.size
    (checksum,) = _CHECKSUM.unpack_from(data, end)
    if kernels.hashing.crc32c(memoryview(data)[:end]) != checksum:
        raise FormatError("the saved ring's checksum does not match: its bytes were altered")
    try:
        return _body(_Reader(data, _HEADER.size, end))
    except FormatError:
        raise
    except RingleaderError as error:
        raise FormatError(f"the saved ring is not valid: {error}") from error


def _body(reader: _Reader) -> SavedRing:
    placement, hash_number, vnodes, seed_bytes, node_count = reader.take(_SETTINGS)
    if placement > PLACEMENT_VERSION:
        raise VersionError(
            f"the saved ring uses placement version {placement}; this ringleader knows "
            f"{PLACEMENT_VERSION}: upgrade it"
        )
    if placement != PLACEMENT_VERSION or hash_number not in _HASH_NAMES:
        raise FormatError(f"placement version {placement} with hash {hash_number} is unknown")
    if not 1 <= vnodes <= limits.VNODES_MAX:
        raise FormatError(f"the saved ring has {vnodes} virtual nodes a node")
    if node_count > (reader.end - reader.at) // _NODE_BYTES_MIN:
        raise FormatError(f"the saved ring is too short for the {node_count} nodes it claims")
    hash_name = _HASH_NAMES[hash_number]
    seed = int.from_bytes(seed_bytes, "little")
    resolve_hash(hash_name, seed)
    nodes: list[Node] = []
    for _ in range(node_count):
        name = reader.text()
        if nodes and name <= nodes[-1].name:
            raise FormatError("the saved ring's nodes are not in the order of their names")
        (weight,) = reader.take(_WEIGHT)
        dc, zone, address = reader.text(), reader.text(), reader.text()
        (tag_count,) = reader.take(_LENGTH)
        tags: dict[str, str] = {}
        last = None
        for _ in range(tag_count):
            tag = reader.text()
            if last is not None and tag <= last:
                raise FormatError("the tags of a saved node are not in order")
            tags[tag] = reader.text()
            last = tag
        nodes.append(Node(name, weight, dc, zone, address, tags))
    if reader.at != reader.end:
        raise FormatError("the saved ring has bytes that belong to nothing")
    return SavedRing(vnodes, hash_name, seed, tuple(nodes))
