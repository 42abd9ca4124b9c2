"""Frames between nodes: bytes in, values out, and back; no socket here.

A connection carries frames, one behind the other (docs/formats.md, "Frame between nodes"):

    head      20 bytes: magic, version, kind, bytes of both parts, CRC32C of head and control part
    control   msgpack
    tail      of frames of consensus messages only: blocks and other runs of bytes as they are

    HELLO                  who speaks; the first frame of each side
    MESSAGES               the consensus messages of all groups for one peer, and opaque node data
    REQUESTS, RESPONSES    commands that a node passes on to a shard's leader, and their outcomes
    PING, PONG             round trip times, and how far the clocks are apart
    BYE                    why the sender closes

The control part of MESSAGES is one flat array of integers, made by one call of msgspec for all
groups.  A message is its group, a word (number of its kind as in `consensus.wire.Codec.kinds`,
flags above), its integers in the order of `FIELDS`, then a description of each of its runs of
bytes, which stand in the tail.  Sender and receiver are those of the connection and are not
written: no peer can speak in another's name.  A block goes from the log to the socket as it is.

Every byte is under exactly one checksum: the frame's, a block's own (`Block` checks it), or one
that the control part has for each other run of bytes.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ringleader.consensus.log import Block
from ringleader.consensus.membership import NodeId
from ringleader.consensus.message import Message
from ringleader.consensus.wire import Codec
from ringleader.errors import BlockError, FormatError, VersionError
from ringleader.kernels import hashing
from ringleader.limits import (
    BLOCK_ENTRIES_MAX,
    CLUSTER_ID_BYTES,
    CLUSTER_NAME_BYTES_MAX,
    GROUP_ID_MAX,
    INCARNATION_MAX,
    NODE_ID_BYTES_MAX,
    PEER_CONTROL_BYTES_MAX,
    PEER_FRAME_BYTES,
    PEER_FRAME_BYTES_MAX,
    PEER_HELLO_BYTES_MAX,
    PEER_READ_BYTES,
    PEER_REQUESTS_MAX,
    REQUEST_ARGS_MAX,
)

__all__ = [
    "BYE",
    "HEAD_BYTES",
    "HELLO",
    "MESSAGES",
    "PING",
    "PONG",
    "PROTOCOL",
    "REQUESTS",
    "RESPONSES",
    "VERSION",
    "Bye",
    "Frames",
    "Hello",
    "MessagesWriter",
    "Ping",
    "Pong",
    "Request",
    "Response",
    "Status",
    "frame",
    "frames",
]

#: Of the frames' format.
VERSION: Final = 1
#: Of what the frames mean; nodes that differ in it do not talk to each other.
PROTOCOL: Final = 1

HELLO: Final = 1
MESSAGES: Final = 2
REQUESTS: Final = 3
RESPONSES: Final = 4
PING: Final = 5
PONG: Final = 6
BYE: Final = 7

MAGIC: Final = b"RLPF"
#: Magic, version, kind, 0, bytes of the control part, bytes of the tail; the CRC follows.
_HEAD = struct.Struct("<4sBBHII")
_CRC = struct.Struct("<I")
HEAD_BYTES: Final = _HEAD.size + _CRC.size

#: Parts up to this many bytes in all are sent as one piece: copying them costs less than telling
#: the socket of each.
_JOINED_BYTES = 2**15
#: Integers of one frame of messages, so that even the longest and one more message fit.
_INTS_MAX = PEER_CONTROL_BYTES_MAX // 9 - 32
_TAIL_BYTES_MAX = PEER_FRAME_BYTES_MAX - PEER_CONTROL_BYTES_MAX - HEAD_BYTES
#: What a message takes besides its tail, about.
_MESSAGE_BYTES = 20
#: Room for one more read, or the buffer's rest is moved to its front.
_ROOM_BYTES = 2**14

_FLAGS = frozenset({"pre", "transfer", "granted", "refused", "installed", "probe"})
_BYTES = frozenset({"membership", "data", "context"})
#: In a message's word, flags stand above the number of its kind.
_FLAG_SHIFT = 8
_NUMBER_MASK = 2**_FLAG_SHIFT - 1
#: In place of a kind: opaque node data, of no group.
_NODE_DATA = 0

Status = Literal["done", "refused", "unknown", "lost", "unsent"]
#: Of an outcome that only the caller's own node can state.
_LOCAL = frozenset({"lost", "unsent"})

_Name = Annotated[str, Meta(min_length=1, max_length=NODE_ID_BYTES_MAX)]
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Natural = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """The first frame of either side of a connection.

    Attributes:
        protocol: the sender's `PROTOCOL`.
        cluster: the cluster's name.
        consensus: "raft" or "paxos".
        name: the sender.
        to: whom the sender takes the receiver for.
        incarnation: grows with each start of the sender.
        wall_ms: the sender's clock, in milliseconds since 1970.
        cluster_id: `Identity.cluster_id`: what the sender's cluster file says of shards and of the
            nodes that hold them, in 16 bytes.
    """

    protocol: _Natural
    cluster: Annotated[str, Meta(min_length=1, max_length=CLUSTER_NAME_BYTES_MAX)]
    consensus: Annotated[str, Meta(min_length=1, max_length=32)]
    name: _Name
    to: _Name
    incarnation: Annotated[int, Meta(ge=0, le=INCARNATION_MAX)]
    wall_ms: _Int64
    cluster_id: Annotated[bytes, Meta(min_length=CLUSTER_ID_BYTES, max_length=CLUSTER_ID_BYTES)]


class Ping(msgspec.Struct, array_like=True, frozen=True):
    """Asks for a `Pong` of the same number at once.  `draining`: the sender is being stopped."""

    number: _Natural
    draining: bool = False


class Pong(msgspec.Struct, array_like=True, frozen=True):
    """`wall_ms`: the sender's clock, in milliseconds since 1970."""

    number: _Natural
    wall_ms: _Int64


class Bye(msgspec.Struct, array_like=True, frozen=True):
    """The sender closes the connection after this.  `reason` is one word, `text` says more."""

    reason: Annotated[str, Meta(max_length=32)]
    text: Annotated[str, Meta(max_length=1000)] = ""


class Request(msgspec.Struct, array_like=True, gc=False):
    """A command for the leader of a shard.

    Attributes:
        id: the caller's number for it; `Peers.call` sets it.
        shard: whose leader is asked.
        mode: "write"; "read": linearizable; "ordered": a read that goes through the log.
        args: the command and its arguments.
        budget_ms: how long the caller waits, in milliseconds.  A node that stood still for so long
            refuses the request.
        epoch: of the caller's requests for this shard: it begins a new one after each refusal.
    """

    id: _Natural
    shard: _Natural
    mode: Literal["write", "read", "ordered"]
    args: Annotated[list[bytes], Meta(max_length=REQUEST_ARGS_MAX)]
    budget_ms: _Natural
    epoch: _Natural = 0


class Response(msgspec.Struct, array_like=True, gc=False):
    """The outcome of a request.

    Attributes:
        id: the request's.
        status: "done": `reply` is the answer; "refused": certainly not done; "unknown": it may
            have been, or may yet be.  Said by the caller's own node only: "unsent": it never left;
            "lost": it may have been executed, but no response will come.
        reply: packed by `replies.pack`.
        leader: whom to ask instead, or "".
    """

    id: _Natural
    status: Status
    reply: bytes = b""
    leader: Annotated[str, Meta(max_length=NODE_ID_BYTES_MAX)] = ""


_encoder = msgspec.msgpack.Encoder()
_decode_ints = msgspec.msgpack.Decoder(list[_Int64]).decode
_DECODE: dict[int, Callable[[Any], Any]] = {
    HELLO: msgspec.msgpack.Decoder(Hello).decode,
    REQUESTS: msgspec.msgpack.Decoder(
        Annotated[list[Request], Meta(max_length=PEER_REQUESTS_MAX)]
    ).decode,
    RESPONSES: msgspec.msgpack.Decoder(
        Annotated[list[Response], Meta(max_length=PEER_REQUESTS_MAX)]
    ).decode,
    PING: msgspec.msgpack.Decoder(Ping).decode,
    PONG: msgspec.msgpack.Decoder(Pong).decode,
    BYE: msgspec.msgpack.Decoder(Bye).decode,
}


def _head(kind: int, control: bytes, tail_bytes: int) -> bytes:
    total = HEAD_BYTES + len(control) + tail_bytes
    if total > PEER_FRAME_BYTES_MAX:
        raise FormatError(f"a frame of {total} bytes: at most {PEER_FRAME_BYTES_MAX}")
    head = _HEAD.pack(MAGIC, VERSION, kind, 0, len(control), tail_bytes)
    return head + _CRC.pack(hashing.crc32c(control, hashing.crc32c(head)))


def frame(
    kind: int, value: Hello | Ping | Pong | Bye | Sequence[Request] | Sequence[Response]
) -> bytes:
    """One frame of any kind but MESSAGES.

    Raises:
        FormatError: it is too large, or a field has no form in msgpack.
    """
    try:
        control = _encoder.encode(value)
    except (OverflowError, TypeError, ValueError, msgspec.MsgspecError) as error:
        raise FormatError(f"a frame cannot be encoded: {error}") from error
    return _head(kind, control, 0) + control


def frames(kind: int, values: Sequence[Any]) -> tuple[list[bytes], list[Any]]:
    """REQUESTS or RESPONSES in frames of about `limits.PEER_FRAME_BYTES`, and those of `values`
    that fit into none because they are too large by themselves.  O(bytes)."""
    made: list[bytes] = []
    too_large: list[Any] = []
    start = size = 0
    for at, value in enumerate(values):
        if kind == REQUESTS:
            more = sum(map(len, value.args)) + 5 * len(value.args)
        else:
            more = len(value.reply)
        if at > start and (size + more > PEER_FRAME_BYTES or at - start == PEER_REQUESTS_MAX):
            _put_frame(kind, values[start:at], made, too_large)
            start, size = at, 0
        size += more
    if values:
        _put_frame(kind, values[start:], made, too_large)
    return made, too_large


def _put_frame(kind: int, values: Sequence[Any], made: list[bytes], too_large: list[Any]) -> None:
    control = _encoder.encode(values)
    if HEAD_BYTES + len(control) > PEER_FRAME_BYTES_MAX:
        too_large += values
    else:
        made.append(_head(kind, control, 0) + control)


# --- consensus messages -----------------------------------------------------------------------


class _Plan:
    """How the fields of one kind of message are written; derived from its `FIELDS`."""

    __slots__ = (
        *("count", "flags", "inserts", "kind", "mask", "numbers", "parts", "word"),
        "ends_with_block",
    )

    def __init__(self, number: int, kind: Any) -> None:
        names = list(kind.FIELDS[2:])  # sender and receiver are the connection's
        numbers = [name for name in names if name not in _FLAGS and not _is_part(name)]
        flags = [name for name in names if name in _FLAGS]
        get: Any = operator.attrgetter(*numbers)
        self.kind = kind
        self.word = number
        self.numbers: Callable[[Any], tuple[int, ...]] = (
            get if len(numbers) > 1 else lambda message: (get(message),)
        )
        self.count = len(numbers)
        self.flags = tuple((name, 1 << _FLAG_SHIFT + i) for i, name in enumerate(flags))
        self.mask = sum(bit for _, bit in self.flags)
        self.parts = tuple(name for name in names if _is_part(name))
        #: Integers, and then a block: what most bytes travel in, so made and read without detours.
        self.ends_with_block = not flags and names == [*numbers, "block"]
        #: What to insert among the integers to have all fields: where, and a flag's bit or 0,
        #: and a part's name.
        bits = dict(self.flags)
        self.inserts = tuple(
            (position, bits.get(name, 0), name)
            for position, name in enumerate(names)
            if name not in numbers
        )


def _is_part(name: str) -> bool:
    return name in _BYTES or name in ("block", "payloads")


@cache
def _plans(codec: Codec) -> tuple[dict[type, _Plan], dict[int, _Plan]]:
    by_number = {number: _Plan(number, kind) for number, kind in codec.kinds.items()}
    return {plan.kind: plan for plan in by_number.values()}, by_number


class MessagesWriter:
    """The messages that wait for one peer, and the frame that they become.

    Args:
        codec: the consensus core's, whose numbers of kinds are used.
    """

    __slots__ = ("_core", "_done", "_ints", "_plans", "_tail", "_tail_bytes", "bytes", "count")

    def __init__(self, codec: Codec) -> None:
        self._core = codec.core
        self._plans = _plans(codec)[0]
        self._ints: list[int] = []
        self._tail: list[bytes] = []
        self._done: list[bytes] = []
        #: Bytes of the tail of the frame that is being made.
        self._tail_bytes = 0
        #: Messages and pieces of node data since `take`.
        self.count = 0
        #: About how many bytes they are.
        self.bytes = 0

    def __len__(self) -> int:
        return self.count

    def add(self, group: int, message: Message) -> None:
        """Adds one message.  O(its fields); a block is not copied.

        Raises:
            FormatError: it is of no kind that has a number here, or is too large for any frame;
                nothing was added.
        """
        plan = self._plans.get(type(message))
        if plan is None:
            raise FormatError(
                f"{type(message).__name__} has no number among {self._core}'s messages"
            )
        word = plan.word
        if plan.ends_with_block:
            self._add_with_block(group, word, plan, message)
            return
        for name, bit in plan.flags:
            if getattr(message, name):
                word |= bit
        if plan.parts:
            self._add_with_parts(group, word, plan, message)
        else:
            self._ints += (group, word, *plan.numbers(message))
            if len(self._ints) > _INTS_MAX:
                self._close()
        self.count += 1
        self.bytes += _MESSAGE_BYTES

    def add_data(self, data: bytes) -> None:
        """Adds opaque node data.

        Raises:
            FormatError: it is too large for any frame.
        """
        self._make_room(len(data), 4)
        self._ints += (0, _NODE_DATA, len(data), hashing.crc32c(data))
        self._tail.append(data)
        self._tail_bytes += len(data)
        self.bytes += len(data)
        self.count += 1

    def _add_with_block(self, group: int, word: int, plan: _Plan, message: Any) -> None:
        block = message.block
        numbers = plan.numbers(message)
        if block is None:
            self._ints += (group, word, *numbers, 0)
            if len(self._ints) > _INTS_MAX:
                self._close()
            size = 0
        else:
            data = bytes(block)  # of a Block: no copy
            size = len(data)
            self._make_room(size, plan.count + 3)
            self._ints += (group, word, *numbers, size)
            self._tail.append(data)
            self._tail_bytes += size
        self.count += 1
        self.bytes += size + _MESSAGE_BYTES

    def _add_with_parts(self, group: int, word: int, plan: _Plan, message: Any) -> None:
        ints = [group, word, *plan.numbers(message)]
        tail: list[bytes] = []
        for name in plan.parts:
            value = getattr(message, name)
            if name == "block":
                data = b"" if value is None else bytes(value)  # of a Block: no copy
                ints.append(len(data))
                tail.append(data)
            elif name == "payloads":
                ints.append(len(value))
                for payload in value:
                    ints += (len(payload), hashing.crc32c(payload))
                tail += value
            else:
                ints += (len(value), hashing.crc32c(value))
                tail.append(value)
        size = sum(map(len, tail))
        self._make_room(size, len(ints))
        self._ints += ints
        self._tail += tail
        self._tail_bytes += size
        self.bytes += size

    def _make_room(self, size: int, ints: int) -> None:
        """Closes the frame if another one is better for `size` bytes and so many integers more."""
        if size > _TAIL_BYTES_MAX or ints > _INTS_MAX:
            raise FormatError(f"a message of {size} bytes in {ints} integers fits no frame")
        if self._tail_bytes + size > PEER_FRAME_BYTES or len(self._ints) + ints > _INTS_MAX:
            self._close()

    def _close(self) -> None:
        if not self._ints:
            return
        control = _encoder.encode(self._ints)
        head = _head(MESSAGES, control, self._tail_bytes)
        if self._tail_bytes <= _JOINED_BYTES:
            self._done.append(b"".join((head, control, *self._tail)))
        else:
            self._done.append(head + control)
            self._done += filter(None, self._tail)
        self._ints = []
        self._tail = []
        self._tail_bytes = 0

    def take(self) -> list[bytes]:
        """The pieces to send, in their order: frames, or parts of them; O(messages)."""
        self._close()
        done, self._done = self._done, []
        self.count = self.bytes = 0
        return done


def _read_messages(
    plans: dict[int, _Plan], sender: NodeId, to: NodeId, control: memoryview, tail: memoryview
) -> tuple[list[tuple[int, Message]], list[bytes]]:
    """The messages of one frame with their groups, and the pieces of node data."""
    ints = _decode_ints(control)
    end = len(ints)
    at = 0
    reader = _Tail(tail)
    messages: list[tuple[int, Message]] = []
    data: list[bytes] = []
    while at < end:
        if end - at < 3:
            raise FormatError("a frame ends amid a message")
        group, word = ints[at], ints[at + 1]
        at += 2
        if not 0 <= group <= GROUP_ID_MAX:
            raise FormatError(f"there is no group {group}")
        plan = plans.get(word & _NUMBER_MASK)
        if plan is None:
            if word != _NODE_DATA:
                raise FormatError(f"kind {word} is no message of this cluster's algorithm")
            at = reader.bytes(ints, at)
            data.append(reader.value)
            continue
        stop = at + plan.count
        if stop > end:
            raise FormatError("a frame ends amid a message")
        if not plan.inserts:
            if word != plan.word:
                raise FormatError(f"{word:#x} has flags that its kind does not have")
            messages.append((group, plan.kind(sender, to, *ints[at:stop])))
            at = stop
            continue
        if plan.ends_with_block and word == plan.word:
            if stop == end:
                raise FormatError("a frame ends amid a message")
            size = ints[stop]
            block = Block(reader.take(size)) if size else None
            messages.append((group, plan.kind(sender, to, *ints[at:stop], block)))
            at = stop + 1
            continue
        if word & ~plan.mask != plan.word:
            raise FormatError(f"{word:#x} has flags that its kind does not have")
        fields: list[Any] = ints[at:stop]
        at = stop
        for position, bit, name in plan.inserts:
            if bit:
                fields.insert(position, word & bit != 0)
                continue
            if name == "block":
                at = reader.block(ints, at)
            elif name == "payloads":
                at = reader.payloads(ints, at)
            else:
                at = reader.bytes(ints, at)
            fields.insert(position, reader.value)
        messages.append((group, plan.kind(sender, to, *fields)))
    if reader.at != len(tail):
        raise FormatError(f"a frame has {len(tail) - reader.at} bytes that no message describes")
    return messages, data


class _Tail:
    """Takes runs of bytes from the tail, and never more than are there.

    Each method reads a description from `ints` at `at`, puts what it says into `value` and returns
    where the next description begins.
    """

    __slots__ = ("at", "data", "value")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.at = 0
        self.value: Any = None

    def take(self, size: int) -> bytes:
        start, end = self.at, self.at + size
        if size < 0 or end > len(self.data):
            raise FormatError(f"a run of {size} bytes does not lie in a frame's tail")
        self.at = end
        return bytes(self.data[start:end])

    def block(self, ints: list[int], at: int) -> int:
        if at >= len(ints):
            raise FormatError("a frame ends amid a message")
        size = ints[at]
        self.value = Block(self.take(size)) if size else None
        return at + 1

    def bytes(self, ints: list[int], at: int) -> int:
        if at + 2 > len(ints):
            raise FormatError("a frame ends amid a message")
        value = self.take(ints[at])
        if hashing.crc32c(value) != ints[at + 1]:
            raise FormatError("a run of bytes was altered on the way: its checksum differs")
        self.value = value
        return at + 2

    def payloads(self, ints: list[int], at: int) -> int:
        count = ints[at] if at < len(ints) else -1
        at += 1
        if not 0 <= count <= min(BLOCK_ENTRIES_MAX, (len(ints) - at) // 2):
            raise FormatError("a frame ends amid its payloads, or they are too many")
        payloads = []
        for _ in range(count):
            at = self.bytes(ints, at)
            payloads.append(self.value)
        self.value = tuple(payloads)
        return at


# --- incoming ---------------------------------------------------------------------------------


class Frames:
    """The frames in a stream of bytes that comes in arbitrary pieces.

    Either `feed(data)`, or let the socket write into `room()` and say `wrote(count)`; then call
    `next()` until it returns None.  What it returns shares no memory with the stream.

    The buffer never has more than twice the bytes of the frame that is arriving, or
    `limits.PEER_READ_BYTES`; a frame that would be too large is refused at its head.

    Args:
        codec: the consensus core's.
    """

    __slots__ = ("_buffer", "_bytes_max", "_end", "_names", "_plans", "_start", "_view", "_wanted")

    def __init__(self, codec: Codec) -> None:
        self._plans = _plans(codec)[1]
        self._names: tuple[NodeId, NodeId] | None = None
        self._bytes_max = PEER_HELLO_BYTES_MAX
        self._buffer = bytearray(PEER_READ_BYTES)
        self._view = memoryview(self._buffer)
        #: What has arrived and is not yet returned lies in buffer[start:end].
        self._start = 0
        self._end = 0
        #: Bytes of the frame that begins at `start`, as far as they are known.
        self._wanted = HEAD_BYTES

    def introduce(self, sender: NodeId, to: NodeId) -> None:
        """Who is at the other end, and here: from now on all kinds and sizes of frames may come."""
        self._names = sender, to
        self._bytes_max = PEER_FRAME_BYTES_MAX

    def room(self) -> memoryview:
        """Where the next bytes are to be written: at least one byte."""
        if len(self._buffer) - self._end < _ROOM_BYTES or self._wanted > len(self._buffer):
            self._make_room()
        return self._view[self._end :]

    def wrote(self, count: int) -> None:
        """`count` bytes were written into `room()`."""
        self._end += count

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """More bytes of the stream, of any number.  Copies them; O(len(data))."""
        rest = memoryview(data)
        while rest:
            room = self.room()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self._end += count
            rest = rest[count:]

    def next(self) -> tuple[int, Any] | None:
        """The next frame's kind and value, or None when it has not arrived completely.

        The value of MESSAGES is a list of (group, message) and a list of node data; of REQUESTS
        and RESPONSES a list of them; of any other kind one object.

        Raises:
            VersionError: a newer version wrote it.
            FormatError: it is damaged, too large, or no frame.  The stream cannot be used any more.
        """
        start = self._start
        have = self._end - start
        if have < HEAD_BYTES:
            if not have:
                self._reset()
            return None
        magic, version, kind, zero, control_bytes, tail_bytes = _HEAD.unpack_from(
            self._buffer, start
        )
        if magic != MAGIC:
            raise FormatError("what came is no frame: it does not begin with 'RLPF'")
        if version > VERSION:
            raise VersionError(
                f"a frame of version {version}; this ringleader reads up to {VERSION}: upgrade it"
            )
        if version != VERSION or zero:
            raise FormatError(f"version {version}, flags {zero:#x}: no frame")
        total = HEAD_BYTES + control_bytes + tail_bytes
        if total > self._bytes_max:
            raise FormatError(f"a frame of {total} bytes: at most {self._bytes_max}")
        if have < total:
            self._wanted = total
            return None
        after = start + HEAD_BYTES + control_bytes
        control = self._view[start + HEAD_BYTES : after]
        (crc,) = _CRC.unpack_from(self._buffer, start + _HEAD.size)
        head_crc = hashing.crc32c(self._view[start : start + _HEAD.size])
        if hashing.crc32c(control, head_crc) != crc:
            raise FormatError("a frame was altered on the way: its checksum differs")
        self._start = start + total
        self._wanted = HEAD_BYTES
        try:
            if kind == MESSAGES:
                if self._names is None:
                    raise FormatError("messages came from a peer that has not said who it is")
                if control_bytes > PEER_CONTROL_BYTES_MAX:
                    raise FormatError(f"a control part of {control_bytes} bytes")
                tail = self._view[after : start + total]
                return kind, _read_messages(self._plans, *self._names, control, tail)
            decode = _DECODE.get(kind)
            if decode is None:
                raise FormatError(f"there is no kind {kind} of frame")
            if tail_bytes:
                raise FormatError(f"a frame of kind {kind} has no tail")
            value = decode(control)
        except BlockError as error:
            raise FormatError(f"a message with a damaged block: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FormatError(f"a frame of kind {kind} is malformed: {error}") from error
        if kind == RESPONSES and any(response.status in _LOCAL for response in value):
            raise FormatError("a peer states an outcome that only this node can")
        return kind, value

    def _reset(self) -> None:
        """Nothing waits: begin at the front again, and give back what a long frame took."""
        self._start = self._end = 0
        if len(self._buffer) > PEER_READ_BYTES:
            self._buffer = bytearray(PEER_READ_BYTES)
            self._view = memoryview(self._buffer)

    def _make_room(self) -> None:
        """Moves what waits to the front; when the frame needs more than the buffer has and what
        there is is full, doubles it."""
        used = self._end - self._start
        if self._start:
            self._view[:used] = self._view[self._start : self._end]
            self._start, self._end = 0, used
        if used == len(self._buffer):
            larger = bytearray(min(self._wanted, 2 * used) if self._wanted > used else 2 * used)
            larger[:used] = self._view[:used]
            self._buffer = larger
            self._view = memoryview(larger)
