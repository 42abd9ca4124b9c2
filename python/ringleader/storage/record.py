"""Records: how bytes are framed in a log, so that what is read is what was written, or known not
to be.

A record is a header of 32 bytes, a payload, and zeros up to a multiple of 8 (docs/formats.md,
"Record log").  What a record that parses guarantees:

 1. Its CRC32C covers all of it, length, padding and header included.
 2. It was written by this log: `tag` is the CRC32C of the log's identity.  A record of another
    node, group, cluster or incarnation does not parse.
 3. `sequence` counts all records of a log, over all its files and lives.  A reader that wants the
    next one takes nothing that an earlier use of the same bytes left there.
 4. `durable` is the last sequence that was durable when the record was written.

`group` says of which consensus group it is, where several share a log; tag and sequence are the
whole log's.

The fourth tells damage from a torn write.  A crash may take, cut or spoil whatever was written
after the last completed sync, and only that.  So a record that does not parse is the log's end,
*unless* a record behind it says that it was durable: then the disk lost what it had promised to
keep.

Its limit: a witness must be left.  If the disk loses the log's end, from some record on, however
far back that is, and with it all that is behind, recovery cannot tell this from a torn write, and
takes it for one.  Damage that leaves something behind it is found; but the records of the very last
sync have nothing behind them until the next batch, the next start, or `Wal.mark` writes it.  That a
log is gone as a whole is for its owner to know (`Wal`, `has_begun`).

Zeros are no record: kind 0 does not exist, and neither does tag 0.
"""

from __future__ import annotations

import struct

from ringleader.consensus.membership import NodeId, check_id
from ringleader.errors import FormatError, LimitError, MembershipError, SettingError
from ringleader.hashing import crc32c
from ringleader.kernels import records
from ringleader.limits import CLUSTER_NAME_BYTES_MAX, LAYOUT_BYTES_MAX, RECORD_BYTES_MAX
from ringleader.storage.files import Bytes

HEADER_BYTES: int = records.HEADER_BYTES
_GROUP_SHIFT = 8
_TAG_AT = 12
ALIGN_BYTES = 8

SEGMENT = 1
HARD_STATE = 2
BLOCK = 3
SNAPSHOT = 4
CHUNK = 5
MARK = 6
ASIDE = 7
FORGET = 8
GROUP = 9
_KINDS = frozenset((SEGMENT, HARD_STATE, BLOCK, SNAPSHOT, CHUNK, MARK, ASIDE, FORGET, GROUP))


class LogIdentity:
    """Whose log it is: an immutable value.

    Args:
        cluster: the cluster's name; no NUL is in it.
        node: the node's id.
        group: the consensus group's number in the cluster; 0 of a log that all groups share.
        incarnation: counts the lives of the node under this id: a node that lost its disk and comes
            back empty must be given a new one, so that no forgotten disk of it is ever believed.
        layout: what else a node must agree on with its log, in words that an operator understands:
            by what consensus, and into how many groups, the data is divided.
    """

    __slots__ = ("cluster", "group", "incarnation", "layout", "node", "tag")

    def __init__(
        self,
        cluster: str,
        node: NodeId,
        group: int = 0,
        incarnation: int = 0,
        layout: str = "",
    ) -> None:
        if len(cluster.encode()) > CLUSTER_NAME_BYTES_MAX or "\0" in cluster:
            raise SettingError(
                f"a cluster's name has at most {CLUSTER_NAME_BYTES_MAX} bytes, and no NUL"
            )
        if len(layout.encode()) > LAYOUT_BYTES_MAX:
            raise SettingError(f"a layout has at most {LAYOUT_BYTES_MAX} bytes")
        if not (0 <= group < 2**63 and 0 <= incarnation < 2**63):
            raise SettingError(f"group {group}, incarnation {incarnation}: not in 0 ... 2**63-1")
        self.cluster = cluster
        self.node = check_id(node)
        self.group = group
        self.incarnation = incarnation
        self.layout = layout
        #: Stands in every record; never 0.
        self.tag = crc32c(self.to_bytes()) or 1

    def to_bytes(self) -> bytes:
        """Group and incarnation (u64), the node (`pack_id`), the cluster's name in UTF-8, and if
        there is a layout, a NUL and that."""
        head = struct.pack("<QQ", self.group, self.incarnation)
        tail = b"\0" + self.layout.encode() if self.layout else b""
        return head + pack_id(self.node) + self.cluster.encode() + tail

    @classmethod
    def from_bytes(cls, data: bytes) -> LogIdentity:
        """The inverse of `to_bytes`.

        Raises:
            FormatError: it is none.
        """
        if len(data) < 16:
            raise FormatError("an identity is cut short")
        group, incarnation = struct.unpack_from("<QQ", data)
        node, at = unpack_id(data, 16)
        try:
            if node is None:
                raise FormatError("an identity without a node")
            cluster, _, layout = data[at:].decode().partition("\0")
            return cls(cluster, node, group, incarnation, layout)
        except (UnicodeDecodeError, SettingError) as error:
            raise FormatError(f"an impossible identity: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LogIdentity) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        layout = f", layout={self.layout!r}" if self.layout else ""
        return (
            f"LogIdentity({self.cluster!r}, {self.node!r}, group={self.group}, "
            f"incarnation={self.incarnation}{layout})"
        )


def pack_id(node: NodeId | None) -> bytes:
    """A node id, or none: 0 and a u64; 1, a length and UTF-8; 2."""
    if node is None:
        return b"\2"
    if isinstance(node, str):
        text = node.encode()
        return bytes((1, len(text))) + text
    return b"\0" + node.to_bytes(8, "little")


def unpack_id(data: bytes, at: int) -> tuple[NodeId | None, int]:
    """The id that stands at byte `at`, and where it ends.

    Raises:
        FormatError: there is none.
    """
    kind = data[at] if at < len(data) else -1
    node: NodeId | None = None
    if kind == 2:
        return None, at + 1
    if kind == 0 and at + 9 <= len(data):
        node, end = int.from_bytes(data[at + 1 : at + 9], "little"), at + 9
    elif kind == 1 and at + 2 <= len(data) and (end := at + 2 + data[at + 1]) <= len(data):
        try:
            node = data[at + 2 : end].decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"a node id is not UTF-8: {error}") from error
    else:
        raise FormatError("a node id is cut short or damaged")
    try:
        return check_id(node), end
    except MembershipError as error:
        raise FormatError(str(error)) from error


class Record:
    """One record as it was read.  `payload` is a view of what it was parsed from."""

    __slots__ = ("durable", "end", "group", "kind", "payload", "sequence", "tag")

    def __init__(
        self,
        kind: int,
        group: int,
        tag: int,
        sequence: int,
        durable: int,
        payload: memoryview,
        end: int,
    ) -> None:
        self.kind = kind
        self.group = group
        self.tag = tag
        self.sequence = sequence
        self.durable = durable
        self.payload = payload
        #: Where the next record begins.
        self.end = end


def encode(
    parts: list[Bytes],
    kind: int,
    payload: Bytes,
    tag: int,
    sequence: int,
    durable: int,
    group: int = 0,
) -> int:
    """Add a record to `parts`; returns its bytes.

    Raises:
        LimitError: the payload is too long.
    """
    assert kind in _KINDS
    assert 0 <= durable < sequence, "a record is not durable before it is written"
    if len(payload) > RECORD_BYTES_MAX:
        raise LimitError(f"a record of {len(payload)} bytes; limits.RECORD_BYTES_MAX is less")
    sealed = records.seal(kind | group << _GROUP_SHIFT, payload, tag, sequence, durable)
    parts.append(sealed)
    return len(sealed)


def parse(data: memoryview, at: int) -> Record | None:
    """The record at byte `at`, whoever's it is; None if there is none that is whole."""
    found = records.parse(data, at, RECORD_BYTES_MAX)
    if found is None:
        return None
    word, tag, sequence, durable, count = found
    kind = word & 0xFF
    if kind not in _KINDS or durable >= sequence:
        return None
    body = at + HEADER_BYTES
    payload = data[body : body + count]
    end = body + count + -count % ALIGN_BYTES
    return Record(kind, word >> _GROUP_SHIFT, tag, sequence, durable, payload, end)


def find_witness(data: memoryview, start: int, tag: int, sequence: int) -> Record | None:
    """The first record from byte `start` on which says that `sequence` was durable, if there is
    one.

    Looks at every place where a record can begin, so that damage in between hides nothing.
    """
    needle = tag.to_bytes(4, "little")
    raw = data.obj if isinstance(data.obj, bytes) and len(data.obj) == len(data) else bytes(data)
    at = raw.find(needle, start + _TAG_AT)
    while at >= 0:
        begin = at - _TAG_AT
        if begin % ALIGN_BYTES == 0:
            record = parse(data, begin)
            if record is not None and record.tag == tag and record.durable >= sequence:
                return record
        at = raw.find(needle, at + 1)
    return None
