"""Saved locators: one frame for all, and the body of a hash ring (docs/formats.md).

All numbers are little-endian.  A text is its UTF-8 length as u16, then its bytes.

    magic "RLRG" | u16 format version | u16 kind | u64 total bytes, checksum included
    the body, of which each kind has its own
    u32 CRC32C of everything before it

Kind 1, a hash ring: settings and nodes, never the points.

    u16 placement version | u16 hash | u32 vnodes | 16 bytes seed | nodes

Kind 2, a balanced ring: settings, nodes, and their points.

    u16 placement version | u16 hash | u32 vnodes | 16 bytes seed | policy | nodes
    per node u32 point count | u64 tokens, node by node, each node's ascending

Policy: u8 form | u8 spread, and then for form 0 (none) nothing, for form 1 u8 replicas, for form 2
    u8 datacenters, and per datacenter text dc | u8 replicas

Nodes:

    u32 node count, and per node, in strictly ascending order of names:
        text name | f64 weight | text dc | text zone | text address
        u16 tag count | per tag, in strictly ascending order: text tag | text value

Everything is checked before anything is built: length, checksum, bounds, order, values.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

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
from ringleader.placement.topology import SPREADS, Replicas

MAGIC = b"RLRG"
FORMAT_VERSION = 1
PLACEMENT_VERSION = 1

#: What may be saved; the numbers stand in files: never reuse or renumber.
KINDS = {
    1: "hash ring",
    2: "balanced ring",
    3: "ketama ring",
    4: "nginx ring",
    5: "envoy ring",
    6: "Maglev table",
    7: "jump hash",
    8: "rendezvous hash",
    9: "AnchorHash",
    10: "MementoHash",
    11: "multi-probe hash",
    12: "table of Redis slots",
    13: "token ring",
    14: "table of partitions",
}
KIND_HASH_RING = 1
KIND_BALANCED_RING = 2

_HEADER = struct.Struct("<4sHHQ")
_CHECKSUM = struct.Struct("<I")
_RING = struct.Struct("<HHI16s")
_HASH = struct.Struct("<H16s")
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<H")
_WEIGHT = struct.Struct("<d")
#: A node takes at least its four lengths, a byte of name, its weight and its tag count.
_NODE_BYTES_MIN = 4 * _LENGTH.size + 1 + _WEIGHT.size + _LENGTH.size

_HASH_NAMES = {number: name for name, number in HASHES.items()}

Loaded = TypeVar("Loaded")


class Writer:
    """Puts fields one behind the other."""

    def __init__(self) -> None:
        self.data = bytearray()

    def put(self, layout: str | struct.Struct, *fields: Any) -> None:
        """Fields in the layout of `struct`, little-endian."""
        packer = layout if isinstance(layout, struct.Struct) else struct.Struct("<" + layout)
        self.data += packer.pack(*fields)

    def text(self, text: str) -> None:
        data = text.encode()
        self.data += _LENGTH.pack(len(data))
        self.data += data

    def hash(self, name: str, seed: int) -> None:
        """A hash by its number, and its seed: u16 and 16 bytes."""
        self.put(_HASH, HASHES[name], seed.to_bytes(16, "little"))

    def array(self, values: NDArray[Any]) -> None:
        """The cells of an array, little-endian; its length is the caller's to write."""
        self.data += values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()

    def nodes(self, nodes: Sequence[Node]) -> None:
        """Nodes in the order of their names."""
        self.put(_COUNT, len(nodes))
        for node in nodes:
            self.text(node.name)
            self.data += _WEIGHT.pack(node.weight)
            self.text(node.dc)
            self.text(node.zone)
            self.text(node.address)
            self.data += _LENGTH.pack(len(node.tags))
            for tag in sorted(node.tags):
                self.text(tag)
                self.text(node.tags[tag])


class Reader:
    """Takes fields off the front; every read is checked against the end.

    Raises:
        FormatError: by every method, when the bytes end too soon or are not what they should be.
    """

    def __init__(self, data: bytes, at: int, end: int, what: str) -> None:
        self.data, self.at, self.end, self.what = data, at, end, what

    def take(self, layout: str | struct.Struct) -> tuple[Any, ...]:
        """Fields in the layout of `struct`, little-endian."""
        unpacker = layout if isinstance(layout, struct.Struct) else struct.Struct("<" + layout)
        if self.end - self.at < unpacker.size:
            raise FormatError(f"the saved {self.what} ends in the middle of a field")
        fields = unpacker.unpack_from(self.data, self.at)
        self.at += unpacker.size
        return fields

    def version(self, known: int = 1) -> int:
        """The version of what follows, a u16: one that this ringleader knows.

        Raises:
            VersionError: it is a newer one.
        """
        version: int = self.take(_LENGTH)[0]
        if version > known:
            raise VersionError(
                f"the saved {self.what} uses version {version} of its body; this ringleader "
                f"knows {known}: upgrade it"
            )
        if version < 1:
            raise FormatError(f"the saved {self.what} uses version {version} of its body")
        return version

    def text(self) -> str:
        (size,) = self.take(_LENGTH)
        if self.end - self.at < size:
            raise FormatError(f"the saved {self.what} ends in the middle of a text")
        raw = self.data[self.at : self.at + size]
        self.at += size
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise FormatError(f"a text of the saved {self.what} is not UTF-8") from None

    def hash(self) -> tuple[str, int]:
        """A hash's name and its seed, which fit each other."""
        number, seed_bytes = self.take(_HASH)
        if number not in _HASH_NAMES:
            raise FormatError(f"hash {number} of the saved {self.what} is unknown")
        name, seed = _HASH_NAMES[number], int.from_bytes(seed_bytes, "little")
        resolve_hash(name, seed)
        return name, seed

    def array(self, dtype: Any, count: int) -> NDArray[Any]:
        """`count` cells, as an array of one's own."""
        little = np.dtype(dtype).newbyteorder("<")
        if not 0 <= count <= (self.end - self.at) // little.itemsize:
            raise FormatError(f"the saved {self.what} is too short for the {count} cells it claims")
        cells = np.frombuffer(self.data, little, count, self.at)
        self.at += count * little.itemsize
        return cells.astype(np.dtype(dtype))

    def nodes(self) -> tuple[Node, ...]:
        """Nodes, in the order of their names."""
        (node_count,) = self.take(_COUNT)
        if node_count > (self.end - self.at) // _NODE_BYTES_MIN:
            raise FormatError(
                f"the saved {self.what} is too short for the {node_count} nodes it claims"
            )
        nodes: list[Node] = []
        for _ in range(node_count):
            name = self.text()
            if nodes and name <= nodes[-1].name:
                raise FormatError(
                    f"the saved {self.what}'s nodes are not in the order of their names"
                )
            (weight,) = self.take(_WEIGHT)
            dc, zone, address = self.text(), self.text(), self.text()
            (tag_count,) = self.take(_LENGTH)
            tags: dict[str, str] = {}
            last = None
            for _ in range(tag_count):
                tag = self.text()
                if last is not None and tag <= last:
                    raise FormatError("the tags of a saved node are not in order")
                tags[tag] = self.text()
                last = tag
            nodes.append(Node(name, weight, dc, zone, address, tags))
        return tuple(nodes)


def frame(kind: int, body: Writer) -> bytes:
    """The bytes of a locator of this kind.

    Raises:
        LimitError: there would be more of them than are read back.
    """
    total = _HEADER.size + len(body.data) + _CHECKSUM.size
    if total > limits.SAVED_RING_BYTES_MAX:
        raise LimitError(
            f"the saved {KINDS[kind]} would have {total} bytes; "
            f"at most {limits.SAVED_RING_BYTES_MAX} are read back"
        )
    data = _HEADER.pack(MAGIC, FORMAT_VERSION, kind, total) + bytes(body.data)
    return data + _CHECKSUM.pack(kernels.hashing.crc32c(data))


def kind_of(source: bytes | bytearray | memoryview) -> int:
    """The kind that the bytes say they are; nothing else is checked.

    Raises:
        FormatError, FormatTypeError: these are no saved locator, or not bytes at all.
    """
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise FormatTypeError(f"a saved ring is bytes, not {type(source).__name__}")
    view = memoryview(source)
    plain = view.cast("B") if view.c_contiguous else view.tobytes()
    head = bytes(plain[: _HEADER.size])
    if head[:4] != MAGIC:
        raise FormatError("these bytes are not a saved ring: they do not begin with RLRG")
    if len(head) < _HEADER.size:
        raise FormatError("the saved ring is cut short: its header is not complete")
    kind: int = _HEADER.unpack(head)[2]
    return kind


def unframe(
    source: bytes | bytearray | memoryview, kind: int, body: Callable[[Reader], Loaded]
) -> Loaded:
    """What `body` makes of the fields in these bytes, which it has to read to their end.

    Raises:
        FormatError, VersionError: they are not a locator of this kind that this version reads;
            or `body` raised an error of ringleader's.
        FormatTypeError: not bytes at all.
    """
    if not isinstance(source, (bytes, bytearray, memoryview)):
        raise FormatTypeError(f"a saved ring is bytes, not {type(source).__name__}")
    data = bytes(source)
    what = KINDS[kind] if kind != KIND_HASH_RING else "ring"
    if len(data) > limits.SAVED_RING_BYTES_MAX:
        raise FormatError(
            f"{len(data)} bytes are too many for a saved {what}; "
            f"at most {limits.SAVED_RING_BYTES_MAX} are read"
        )
    if data[:4] != MAGIC:
        raise FormatError(f"these bytes are not a saved {what}: they do not begin with RLRG")
    if len(data) < _HEADER.size + _CHECKSUM.size:
        raise FormatError(f"the saved {what} is cut short: its header is not complete")
    _, version, found_kind, total = _HEADER.unpack_from(data)
    if version > FORMAT_VERSION:
        raise VersionError(
            f"the saved {what} has format version {version}; this ringleader reads "
            f"{FORMAT_VERSION}: upgrade it"
        )
    if version != FORMAT_VERSION or found_kind != kind:
        found = KINDS.get(found_kind)
        says = f"it is a saved {found}" if found and version == FORMAT_VERSION else "it is unknown"
        raise FormatError(f"version {version}, kind {found_kind} is no saved {KINDS[kind]}: {says}")
    if total != len(data):
        raise FormatError(
            f"the saved {what} says it has {total} bytes, but there are {len(data)}: "
            "it was cut short or something was added"
        )
    end = total - _CHECKSUM.size
    (checksum,) = _CHECKSUM.unpack_from(data, end)
    if kernels.hashing.crc32c(memoryview(data)[:end]) != checksum:
        raise FormatError(f"the saved {what}'s checksum does not match: its bytes were altered")
    reader = Reader(data, _HEADER.size, end, what)
    try:
        loaded = body(reader)
    except FormatError:
        raise
    except RingleaderError as error:
        raise FormatError(f"the saved {what} is not valid: {error}") from error
    if reader.at != reader.end:
        raise FormatError(f"the saved {what} has bytes that belong to nothing")
    return loaded


# --- kind 1 -------------------------------------------------------------------------------------


class SavedRing(NamedTuple):
    """What the bytes of a hash ring hold."""

    vnodes: int
    hash: str
    seed: int
    nodes: tuple[Node, ...]


def dump(ring: SavedRing) -> bytes:
    """The bytes of a ring whose nodes are in the order of their names."""
    body = Writer()
    seed = ring.seed.to_bytes(16, "little")
    body.put(_RING, PLACEMENT_VERSION, HASHES[ring.hash], ring.vnodes, seed)
    body.nodes(ring.nodes)
    return frame(KIND_HASH_RING, body)


def load(source: bytes | bytearray | memoryview) -> SavedRing:
    """The ring in these bytes.

    Raises:
        FormatError, VersionError: they are not a ring that this version reads.
        FormatTypeError: not bytes at all.
    """
    return unframe(source, KIND_HASH_RING, _body)


def _body(reader: Reader) -> SavedRing:
    vnodes, hash_name, seed = _settings(reader)
    return SavedRing(vnodes, hash_name, seed, reader.nodes())


def _settings(reader: Reader) -> tuple[int, str, int]:
    placement, hash_number, vnodes, seed_bytes = reader.take(_RING)
    if placement > PLACEMENT_VERSION:
        raise VersionError(
            f"the saved ring uses placement version {placement}; this ringleader knows "
            f"{PLACEMENT_VERSION}: upgrade it"
        )
    if placement != PLACEMENT_VERSION or hash_number not in _HASH_NAMES:
        raise FormatError(f"placement version {placement} with hash {hash_number} is unknown")
    if not 1 <= vnodes <= limits.VNODES_MAX:
        raise FormatError(f"the saved ring has {vnodes} virtual nodes a node")
    hash_name = _HASH_NAMES[hash_number]
    seed = int.from_bytes(seed_bytes, "little")
    resolve_hash(hash_name, seed)
    return vnodes, hash_name, seed


# --- kind 2 -------------------------------------------------------------------------------------

#: Tokens of a balanced ring are numbers of a circle of 2**62, shifted to the top of 64 bits.
TOKEN_UNIT = 4


class SavedBalanced(NamedTuple):
    """What the bytes of a balanced ring hold."""

    ring: SavedRing
    replicas: Replicas | None
    counts: NDArray[np.uint32]
    tokens: NDArray[np.uint64]


def dump_balanced(balanced: SavedBalanced) -> bytes:
    """The bytes of a balanced ring: tokens by node, each node's ascending."""
    ring, policy = balanced.ring, balanced.replicas
    body = Writer()
    seed = ring.seed.to_bytes(16, "little")
    body.put(_RING, PLACEMENT_VERSION, HASHES[ring.hash], ring.vnodes, seed)
    if policy is None:
        body.put("BB", 0, 0)
    elif policy.by_dc is None:
        body.put("BBB", 1, SPREADS.index(policy.spread), policy.total)
    else:
        body.put("BBB", 2, SPREADS.index(policy.spread), len(policy.by_dc))
        for dc, count in policy.by_dc.items():
            body.text(dc)
            body.put("B", count)
    body.nodes(ring.nodes)
    body.array(balanced.counts)
    body.array(balanced.tokens)
    return frame(KIND_BALANCED_RING, body)


def load_balanced(source: bytes | bytearray | memoryview) -> SavedBalanced:
    """The balanced ring in these bytes.

    Raises:
        FormatError, VersionError: they are not a ring that this version reads.
        FormatTypeError: not bytes at all.
    """
    return unframe(source, KIND_BALANCED_RING, _balanced_body)


def _policy(reader: Reader) -> Replicas | None:
    form, spread = reader.take("BB")
    if form > 2 or spread >= len(SPREADS) or (form == 0 and spread):
        raise FormatError(f"the saved {reader.what}'s policy has the unknown form {form}, {spread}")
    if form == 0:
        return None
    (number,) = reader.take("B")
    if form == 1:
        return Replicas(number, SPREADS[spread])
    by_dc: dict[str, int] = {}
    for _ in range(number):
        dc = reader.text()
        if dc in by_dc:
            raise FormatError(f"datacenter {dc!r} stands twice in the saved {reader.what}")
        (by_dc[dc],) = reader.take("B")
    return Replicas(by_dc, SPREADS[spread])


def _balanced_body(reader: Reader) -> SavedBalanced:
    vnodes, hash_name, seed = _settings(reader)
    policy = _policy(reader)
    nodes = reader.nodes()
    counts = reader.array(np.uint32, len(nodes))
    total = int(counts.sum(dtype=np.uint64))
    tokens = reader.array(np.uint64, total)
    for node, count in zip(nodes, counts.tolist(), strict=True):
        if (node.weight > 0) != (count > 0):
            raise FormatError(
                f"node {node.name!r} of weight {node.weight} has {count} points; a node has points "
                "if it has weight"
            )
    if total > limits.POINTS_MAX:
        raise LimitError(f"there are {total} points; at most {limits.POINTS_MAX} are allowed")
    if (tokens % np.uint64(TOKEN_UNIT)).any():
        raise FormatError(f"a token of a saved balanced ring is no multiple of {TOKEN_UNIT}")
    if total:
        ascends = tokens[1:] > tokens[:-1]
        ends = np.cumsum(counts[counts > 0], dtype=np.int64)[:-1]
        ascends[ends - 1] = True  # from one node to the next, anything goes
        if not ascends.all():
            raise FormatError("the tokens of a saved balanced ring's node do not ascend")
        if policy is None and len(np.unique(tokens)) != total:
            raise FormatError("two points of a saved balanced ring stand in the same place")
    return SavedBalanced(SavedRing(vnodes, hash_name, seed, nodes), policy, counts, tokens)
