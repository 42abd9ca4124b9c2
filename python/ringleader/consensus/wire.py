"""The messages of a consensus core as bytes, for whoever has no codec of its own.

Format version 1 (docs/formats.md): a fixed head with a checksum, the two node ids, then the fields
of the message's kind in the order of its `FIELDS`; a field's name says how it is written.  What
`decode` returns is well formed; whether an honest peer can have sent it is for `Message.problem`
and the core to say.

Every core has numbers of its own for its kinds, those that it shares with others included.  So a
message that came to a group which runs another algorithm is refused here already.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ringleader.consensus.log import Block
from ringleader.consensus.membership import NodeId
from ringleader.consensus.message import Message
from ringleader.errors import BlockError, FormatError, VersionError
from ringleader.kernels import hashing
from ringleader.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, NODE_ID_BYTES_MAX

VERSION: Final = 1
#: Bytes of one message: the largest block, and room for everything else.
MESSAGE_BYTES_MAX: Final = BLOCK_BYTES_MAX + 2**20
#: Whose kinds have which numbers.
NUMBERS: Final = MappingProxyType({"Raft": range(1, 33), "Multi-Paxos": range(33, 65)})

#: CRC32C of all that follows, version, kind, 0, total bytes.
_HEAD = struct.Struct("<IBBHQ")
_NUMBER = struct.Struct("<q")
_SIZE = struct.Struct("<I")

_FLAGS = frozenset({"pre", "transfer", "granted", "refused", "installed", "probe"})
_BYTES = frozenset({"membership", "data", "context"})


def _put_id(out: list[bytes], node: NodeId) -> None:
    if isinstance(node, str):
        text = node.encode()
        out.append(bytes((1, len(text))) + text)
    else:
        out.append(b"\0" + _NUMBER.pack(node))


class Codec:
    """The bytes of one core's messages.

    Args:
        core: its name in `NUMBERS`.
        kinds: its kinds by their numbers.  They stand on the wire: never reuse or renumber.
    """

    def __init__(self, core: str, kinds: Mapping[int, Callable[..., Message]]) -> None:
        assert all(number in NUMBERS[core] for number in kinds)
        self.core = core
        self.kinds = MappingProxyType(dict(kinds))
        self._numbers: dict[object, int] = {kind: number for number, kind in kinds.items()}

    def encode(self, message: Message) -> bytes:
        """`message` as bytes.

        Raises:
            FormatError: it is of no kind that has a number here, or a field does not fit.
        """
        number = self._numbers.get(type(message))
        if number is None:
            raise FormatError(
                f"{type(message).__name__} has no number among {self.core}'s messages"
            )
        out: list[bytes] = []
        try:
            _put_id(out, message.sender)
            _put_id(out, message.to)
            for name in message.FIELDS[2:]:
                value: Any = getattr(message, name)
                if name in _FLAGS:
                    out.append(b"\1" if value else b"\0")
                elif name in _BYTES:
                    out += (_SIZE.pack(len(value)), value)
                elif name == "block":
                    data = bytes(value) if value is not None else b""
                    out += (_SIZE.pack(len(data)), data)
                elif name == "payloads":
                    out.append(_SIZE.pack(len(value)))
                    for payload in value:
                        out += (_SIZE.pack(len(payload)), payload)
                else:
                    out.append(_NUMBER.pack(value))
        except (struct.error, ValueError, TypeError) as error:
            raise FormatError(f"{message!r} cannot be encoded: {error}") from error
        body = b"".join(out)
        total = _HEAD.size + len(body)
        if total > MESSAGE_BYTES_MAX:
            raise FormatError(f"a message of {total} bytes: at most {MESSAGE_BYTES_MAX}")
        head = _HEAD.pack(0, VERSION, number, 0, total)[4:]
        crc = hashing.crc32c(body, hashing.crc32c(head))
        return crc.to_bytes(4, "little") + head + body

    def decode(self, data: bytes) -> Message:
        """The message in `data`.  O(len(data)); never reads or makes more than that.

        Raises:
            VersionError: a newer version wrote it.
            FormatError: it is cut short, altered, or no message; a block in it breaks a guarantee.
        """
        if not isinstance(data, bytes):
            data = bytes(data)
        if len(data) < _HEAD.size:
            raise FormatError(f"a message has {_HEAD.size} bytes or more, not {len(data)}")
        crc, version, number, zero, total = _HEAD.unpack_from(data)
        if version > VERSION:
            raise VersionError(
                f"a message of version {version}; this ringleader reads up to {VERSION}: upgrade it"
            )
        if total != len(data):
            raise FormatError(f"a message of {total} bytes came as {len(data)}")
        if hashing.crc32c(data[4:]) != crc:
            raise FormatError("a message was altered on the way: its checksum differs")
        if version != VERSION or zero:
            raise FormatError(f"version {version}, flags {zero:#x}: no message")
        kind = self.kinds.get(number)
        if kind is None:
            of = [core for core, own in NUMBERS.items() if number in own and core != self.core]
            raise FormatError(
                f"kind {number} is no message of {self.core}"
                + (f", but of {of[0]}: its sender runs another algorithm" if of else "")
            )
        reader = _Reader(data, _HEAD.size)
        sender, to = reader.node(), reader.node()
        fields = [reader.field(name) for name in kind.FIELDS[2:]]  # type: ignore[attr-defined]
        if reader.at != len(data):
            raise FormatError(f"a message has {len(data) - reader.at} bytes too many")
        return kind(sender, to, *fields)


class _Reader:
    """Takes fields from bytes, and never more than are there."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise FormatError(f"a message ends at byte {len(self.data)}, amid a field")
        start, self.at = self.at, self.at + count
        return self.data[start : self.at]

    def number(self) -> int:
        (value,) = _NUMBER.unpack(self.take(_NUMBER.size))
        return int(value)

    def size(self) -> int:
        (value,) = _SIZE.unpack(self.take(_SIZE.size))
        return int(value)

    def flag(self) -> bool:
        value = self.take(1)
        if value not in (b"\0", b"\1"):
            raise FormatError(f"a flag is 0 or 1, not {value[0]}")
        return value == b"\1"

    def node(self) -> NodeId:
        kind = self.take(1)
        if kind == b"\0":
            number = self.number()
            if number <= 0:
                raise FormatError(f"a node id is positive, not {number}")
            return number
        if kind != b"\1":
            raise FormatError(f"there is no kind {kind[0]} of node id")
        length = self.take(1)[0]
        if not 0 < length <= NODE_ID_BYTES_MAX:
            raise FormatError("a node id is empty")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise FormatError(f"a node id is not UTF-8: {error}") from error

    def block(self) -> Block | None:
        data = self.take(self.size())
        try:
            return Block(data) if data else None
        except BlockError as error:
            raise FormatError(f"a message with a damaged block: {error}") from error

    def payloads(self) -> tuple[bytes, ...]:
        count = self.size()
        if count > BLOCK_ENTRIES_MAX:
            raise FormatError(f"{count} payloads in one message: at most {BLOCK_ENTRIES_MAX}")
        return tuple(self.take(self.size()) for _ in range(count))

    def field(self, name: str) -> Any:
        if name in _FLAGS:
            return self.flag()
        if name in _BYTES:
            return self.take(self.size())
        read: dict[str, Callable[[], Any]] = {"block": self.block, "payloads": self.payloads}
        return read.get(name, self.number)()
