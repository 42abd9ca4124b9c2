"""Frames between nodes: every value there and back in any pieces, and nothing else gets through."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.message import Message, Propose
from ringleader.consensus.paxos import messages as paxos_messages
from ringleader.consensus.paxos import wire as paxos_wire
from ringleader.consensus.raft import messages as raft_messages
from ringleader.consensus.raft import wire as raft_wire
from ringleader.errors import FormatError, VersionError
from ringleader.hashing import crc32c
from ringleader.limits import (
    GROUP_ID_MAX,
    PEER_FRAME_BYTES,
    PEER_FRAME_BYTES_MAX,
    PEER_HELLO_BYTES_MAX,
    PEER_READ_BYTES,
)
from ringleader.node import codec as c

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "frames.json").read_text())
WIRES = {"raft": raft_wire, "paxos": paxos_wire}
FLAGS = {"pre", "transfer", "granted", "refused", "installed", "probe"}

numbers = st.integers(-(2**63), 2**63 - 1)
naturals = st.integers(0, 2**63 - 1)
groups = st.integers(0, GROUP_ID_MAX)
blocks = st.none() | st.builds(
    Block.pack,
    st.integers(1, 2**40),
    st.integers(1, 2**40),
    st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    st.booleans(),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(FLAGS, st.booleans()),
    "data": st.binary(max_size=50),
    "context": st.binary(max_size=50),
    "membership": st.just(Membership([1, 2, 3], learners=[4]).to_bytes()),
    "block": blocks,
    "payloads": st.lists(st.binary(max_size=20), max_size=4).map(tuple),
}


def messages_of(wire: ModuleType) -> st.SearchStrategy[Message]:
    made = []
    for kind in wire.KINDS.values():
        fields = [FIELDS.get(name, numbers) for name in kind.FIELDS[2:]]
        made.append(st.builds(kind, st.just("eu-1"), st.just("us-1"), *fields))
    return st.one_of(made)


#: A wire module, and what goes into one frame of it: messages with their groups, or node data.
batches = st.sampled_from([*WIRES.values()]).flatmap(
    lambda wire: st.tuples(
        st.just(wire),
        st.lists(st.tuples(groups, messages_of(wire)) | st.binary(max_size=30), max_size=6),
    )
)
requests = st.lists(
    st.builds(
        c.Request,
        naturals,
        naturals,
        st.sampled_from(["write", "read", "ordered"]),
        st.lists(st.binary(max_size=30), max_size=4),
        naturals,
    ),
    max_size=5,
)
responses = st.lists(
    st.builds(
        c.Response,
        naturals,
        st.sampled_from(["done", "refused", "unknown"]),
        st.binary(max_size=30),
        st.text(max_size=20),
    ),
    max_size=5,
)
names = st.text(min_size=1, max_size=30)
hellos = st.builds(
    c.Hello,
    *(naturals, names, names, names, names, st.integers(0, 2**62 - 1), numbers),
    st.binary(min_size=16, max_size=16),
)
#: A frame of any kind but MESSAGES.
plain = st.one_of(
    st.tuples(st.just(c.HELLO), hellos),
    st.tuples(st.just(c.REQUESTS), requests),
    st.tuples(st.just(c.RESPONSES), responses),
    st.tuples(st.just(c.PING), st.builds(c.Ping, naturals, st.booleans())),
    st.tuples(st.just(c.PONG), st.builds(c.Pong, naturals, numbers)),
    st.tuples(st.just(c.BYE), st.builds(c.Bye, st.text(max_size=32), st.text(max_size=40))),
)


def reader(wire: ModuleType = raft_wire, introduced: bool = True) -> c.Frames:
    frames = c.Frames(wire.CODEC)
    if introduced:
        frames.introduce("eu-1", "us-1")
    return frames


def drain(frames: c.Frames) -> list[tuple[int, Any]]:
    found = []
    while (frame := frames.next()) is not None:
        found.append(frame)
    return found


def read(data: bytes, wire: ModuleType = raft_wire, introduced: bool = True) -> Any:
    frames = reader(wire, introduced)
    frames.feed(data)
    (frame,) = drain(frames)
    assert frames._end - frames._start == 0
    return frame


def written(wire: ModuleType, batch: list[Any]) -> bytes:
    writer = c.MessagesWriter(wire.CODEC)
    for item in batch:
        if isinstance(item, bytes):
            writer.add_data(item)
        else:
            writer.add(*item)
    assert writer.count == len(batch)
    data = b"".join(writer.take())
    assert writer.count == writer.bytes == 0
    assert writer.take() == []
    return data


def sealed(
    kind: int,
    control: bytes,
    tail: bytes = b"",
    *,
    magic: bytes = b"RLPF",
    version: int = 1,
    zero: int = 0,
) -> bytes:
    head = struct.pack("<4sBBHII", magic, version, kind, zero, len(control), len(tail))
    return head + struct.pack("<I", crc32c(head + control)) + control + tail


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "module"), [(raft_wire, raft_messages), (paxos_wire, paxos_messages)], ids=WIRES
)
@given(data=st.data())
def test_every_kind_of_message_there_and_back(
    wire: ModuleType, module: ModuleType, data: st.DataObject
) -> None:
    for kind in wire.KINDS.values():
        fields = [data.draw(FIELDS.get(name, numbers)) for name in kind.FIELDS[2:]]
        message = kind("eu-1", "us-1", *fields)
        assert read(written(wire, [(7, message)]), wire) == (c.MESSAGES, ([(7, message)], []))


@given(batches)
def test_a_batch_there_and_back(pair: tuple[ModuleType, list[Any]]) -> None:
    wire, batch = pair
    data = written(wire, batch)
    if not batch:
        assert data == b""
        return
    kind, (messages, pieces) = read(data, wire)
    assert kind == c.MESSAGES
    assert messages == [item for item in batch if not isinstance(item, bytes)]
    assert pieces == [item for item in batch if isinstance(item, bytes)]
    for (_, message), (_, sent) in zip(
        messages, (item for item in batch if not isinstance(item, bytes)), strict=True
    ):
        for name in message.FIELDS:
            assert type(getattr(message, name)) is type(getattr(sent, name)), name


@given(plain)
def test_other_frames_there_and_back(frame: tuple[int, Any]) -> None:
    assert read(c.frame(*frame)) == frame


@given(st.lists(plain | batches.filter(lambda pair: pair[0] is raft_wire), max_size=5), st.data())
def test_any_pieces(items: list[Any], data: st.DataObject) -> None:
    """A stream in pieces of any size gives the same as in one."""
    stream = b"".join(
        c.frame(*item) if isinstance(item[0], int) else written(*item) for item in items
    )
    whole = reader()
    whole.feed(stream)
    expected = drain(whole)
    frames = reader()
    got = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, max(1, len(stream) - at)))
        frames.feed(stream[at : at + size])
        got += drain(frames)
        at += size
    assert got == expected
    assert frames._end - frames._start == 0


def test_byte_by_byte() -> None:
    stream = c.frame(c.PING, c.Ping(1)) + written(raft_wire, [b"data"]) + c.frame(c.BYE, c.Bye("x"))
    frames = reader()
    got = []
    for byte in stream:
        frames.feed(bytes([byte]))
        got += drain(frames)
    assert got == [(c.PING, c.Ping(1)), (c.MESSAGES, ([], [b"data"])), (c.BYE, c.Bye("x"))]


def test_many_frames_in_one_piece() -> None:
    stream = b"".join(c.frame(c.PING, c.Ping(number)) for number in range(50_000))
    frames = reader()
    frames.feed(stream)
    assert [ping.number for _, ping in drain(frames)] == list(range(50_000))


def test_a_large_frame_grows_the_buffer_as_it_comes_and_gives_it_back() -> None:
    block = Block.pack(1, 1, [bytes(5_000_000)])
    message = raft_messages.AppendEntries("eu-1", "us-1", 1, 0, 0, 0, 0, block)
    stream = written(raft_wire, [(0, message)])
    frames = reader()
    most = 0
    at = 0
    while at < len(stream):
        room = frames.room()
        count = min(len(room), 60_000, len(stream) - at)
        room[:count] = stream[at : at + count]
        frames.wrote(count)
        at += count
        most = max(most, len(frames._buffer))
        assert len(frames._buffer) <= max(PEER_READ_BYTES, 2 * at)
        if at < len(stream):
            assert frames.next() is None
    assert most == len(stream)
    assert drain(frames) == [(c.MESSAGES, ([(0, message)], []))]
    assert len(frames._buffer) == PEER_READ_BYTES


def test_blocks_leave_as_they_are() -> None:
    block = Block.pack(1, 1, [bytes(100_000)])
    writer = c.MessagesWriter(raft_wire.CODEC)
    for group in range(3):
        message = raft_messages.AppendEntries("eu-1", "us-1", 1, 0, 0, 0, 0, block)
        writer.add(group, message)
    pieces = writer.take()
    assert len(pieces) == 4
    assert all(piece is bytes(block) for piece in pieces[1:])


def test_hot_messages_take_the_short_way() -> None:
    short = {
        plan.kind.__name__
        for wire in WIRES.values()
        for plan in c._plans(wire.CODEC)[1].values()
        if plan.ends_with_block or not plan.parts
    }
    assert short >= {"AppendEntries", "AppendReply", "Accept", "Accepted"}


def test_what_was_read_shares_nothing_with_the_buffer() -> None:
    first = written(raft_wire, [b"a" * 100, (1, Propose("eu-1", "us-1", 1, 1, (b"b" * 100,)))])
    frames = reader()
    frames.feed(first)
    got = drain(frames)
    frames.feed(b"\xff" * len(first))
    assert got == [
        (c.MESSAGES, ([(1, Propose("eu-1", "us-1", 1, 1, (b"b" * 100,)))], [b"a" * 100]))
    ]


# --- limits -------------------------------------------------------------------------------------


def test_a_frame_that_has_grown_is_closed() -> None:
    data = bytes(PEER_FRAME_BYTES // 2 + 1)
    stream = written(raft_wire, [data] * 5)
    frames = reader()
    frames.feed(stream)
    got = drain(frames)
    assert len(got) == 5
    assert all(frame == (c.MESSAGES, ([], [data])) for frame in got)


def test_many_small_messages_become_several_frames() -> None:
    message = raft_messages.AppendReply("eu-1", "us-1", 2**62, 2**62, 2**62, True, 2**62, 2**62)
    stream = written(raft_wire, [(2**32 - 1, message)] * 100_000)
    frames = reader()
    frames.feed(stream)
    got = drain(frames)
    assert len(got) > 1
    assert sum(len(messages) for _, (messages, _) in got) == 100_000


def test_what_fits_no_frame_is_refused_and_leaves_the_rest() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return PEER_FRAME_BYTES_MAX

    writer = c.MessagesWriter(raft_wire.CODEC)
    writer.add_data(b"before")
    with pytest.raises(FormatError, match="fits no frame"):
        writer.add_data(Long())
    with pytest.raises(FormatError, match="fits no frame"):
        writer.add(1, Propose("eu-1", "us-1", 1, 1, (b"",) * 300_000))
    with pytest.raises(FormatError, match="no number among Raft's messages"):
        writer.add(1, paxos_messages.Fetch("eu-1", "us-1", 1, 1))
    assert writer.count == 1
    assert read(b"".join(writer.take())) == (c.MESSAGES, ([], [b"before"]))


def test_requests_in_several_frames() -> None:
    sent = [
        c.Request(number, 0, "write", [bytes(PEER_FRAME_BYTES // 3)], 10) for number in range(10)
    ]
    made, too_large = c.frames(c.REQUESTS, sent)
    assert too_large == []
    assert len(made) > 1
    frames = reader()
    got: list[c.Request] = []
    for data in made:
        frames.feed(data)
        for kind, some in drain(frames):
            assert kind == c.REQUESTS
            got += some
    assert got == sent


def test_one_long_request_is_a_frame_of_its_own() -> None:
    sent = c.Request(1, 0, "write", [bytes(2 * PEER_FRAME_BYTES)], 10)
    made, too_large = c.frames(c.REQUESTS, [sent])
    assert (len(made), too_large) == (1, [])
    assert read(made[0]) == (c.REQUESTS, [sent])


def test_a_request_that_fits_no_frame_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(c, "PEER_FRAME_BYTES", 1000)
    monkeypatch.setattr(c, "PEER_FRAME_BYTES_MAX", 2000)
    sent = [c.Request(number, 0, "write", [bytes(600 * number)], 10) for number in range(5)]
    made, too_large = c.frames(c.REQUESTS, sent)
    assert [request.id for request in too_large] == [4]
    assert len(made) == 3


# --- what is refused ----------------------------------------------------------------------------


@given(
    st.one_of(
        plain.map(lambda item: (raft_wire, c.frame(*item))),
        batches.map(lambda pair: (pair[0], written(*pair))),
    ).filter(lambda pair: pair[1] != b""),
    st.data(),
)
def test_a_changed_byte_is_seen(pair: tuple[ModuleType, bytes], data: st.DataObject) -> None:
    wire, good = pair
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    frames = reader(wire)
    frames.feed(bad)
    # A length that was changed may make the frame wait for more, which never comes.
    try:
        assert frames.next() is None
    except FormatError:
        return
    assert 8 <= at < 16


@given(
    st.one_of(
        plain.map(lambda item: (raft_wire, c.frame(*item))),
        batches.map(lambda pair: (pair[0], written(*pair))),
    )
)
def test_a_cut_frame_waits(pair: tuple[ModuleType, bytes]) -> None:
    wire, good = pair
    for size in range(len(good)):
        frames = reader(wire)
        frames.feed(good[:size])
        assert frames.next() is None
        assert frames._end - frames._start == size


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    frames = reader()
    frames.feed(data)
    try:
        assert drain(frames) == []
    except FormatError:
        return
    assert len(data) < c.HEAD_BYTES


@given(st.sampled_from(range(9)), st.binary(max_size=60), st.binary(max_size=20), st.booleans())
@settings(max_examples=300)
def test_random_parts_under_a_good_checksum(
    kind: int, control: bytes, tail: bytes, introduced: bool
) -> None:
    try:
        read(sealed(kind, control, tail), introduced=introduced)
    except FormatError:
        return


@given(
    st.sampled_from([*WIRES.values()]),
    st.lists(st.integers(0, 60) | numbers, max_size=30),
    st.binary(max_size=20),
)
@settings(max_examples=500)
def test_random_integers_under_a_good_checksum(
    wire: ModuleType, ints: list[int], tail: bytes
) -> None:
    frame = sealed(c.MESSAGES, msgspec.msgpack.encode(ints), tail)
    try:
        _, (messages, _) = read(frame, wire)
    except FormatError:
        return
    for _, message in messages:
        message.problem()


@given(batches.filter(lambda pair: len(pair[1]) > 0), st.data())
@settings(max_examples=300)
def test_changed_integers_under_a_good_checksum(
    pair: tuple[ModuleType, list[Any]], data: st.DataObject
) -> None:
    wire, batch = pair
    good = written(wire, batch)
    size = struct.unpack_from("<I", good, 8)[0]
    ints = msgspec.msgpack.decode(good[20 : 20 + size])
    at = data.draw(st.integers(0, len(ints) - 1))
    action = data.draw(st.sampled_from(["change", "drop", "insert"]))
    if action == "change":
        ints[at] = data.draw(st.integers(-3, 70) | numbers)
    elif action == "drop":
        del ints[at]
    else:
        ints.insert(at, data.draw(st.integers(-3, 70) | numbers))
    try:
        read(sealed(c.MESSAGES, msgspec.msgpack.encode(ints), good[20 + size :]), wire)
    except FormatError:
        return


def pack(*ints: Any) -> bytes:
    return msgspec.msgpack.encode(ints)


DATA_CRC = crc32c(b"data")


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (sealed(c.PING, pack(1), magic=b"RLPG"), "does not begin with 'RLPF'"),
        (sealed(c.PING, pack(1), version=0), "version 0"),
        (sealed(c.PING, pack(1), zero=1), "flags 0x1"),
        (sealed(0, pack(1)), "no kind 0 of frame"),
        (sealed(8, pack(1)), "no kind 8 of frame"),
        (sealed(c.PING, pack(1), b"tail"), "has no tail"),
        (sealed(c.PING, b""), "malformed"),
        (sealed(c.PING, pack(-1)), "malformed"),
        (sealed(c.PING, pack(1.5)), "malformed"),
        (sealed(c.PING, pack(1) + b"\0"), "malformed"),
        (sealed(c.BYE, msgspec.msgpack.encode(["x" * 33, ""])), "malformed"),
        (sealed(c.BYE, b"\x92\xa1\xff\xa0"), "malformed"),
        (sealed(c.REQUESTS, msgspec.msgpack.encode([[1, 0, "wrote", [], 5]])), "malformed"),
        (sealed(c.REQUESTS, msgspec.msgpack.encode([[1, 0, "write", ["text"], 5]])), "malformed"),
        (sealed(c.RESPONSES, msgspec.msgpack.encode([[1, "good"]])), "malformed"),
        (sealed(c.RESPONSES, msgspec.msgpack.encode([[1, "lost"]])), "only this node can"),
        (sealed(c.RESPONSES, msgspec.msgpack.encode([[1, "unsent"]])), "only this node can"),
        (sealed(c.MESSAGES, pack(1, 2)), "amid a message"),
        (sealed(c.MESSAGES, pack(-1, 7, 1)), "no group -1"),
        (sealed(c.MESSAGES, pack(2**32, 7, 1)), "no group 4294967296"),
        (sealed(c.MESSAGES, pack(1, 33, 1)), "kind 33 is no message of this cluster's algorithm"),
        (sealed(c.MESSAGES, pack(1, -7, 1)), "no message"),
        (sealed(c.MESSAGES, pack(1, 7 + 256, 1)), "flags that its kind does not have"),
        (sealed(c.MESSAGES, pack(1, 2 + 1024, 1)), "flags that its kind does not have"),
        (sealed(c.MESSAGES, pack(1, 7 + 2**40, 1)), "flags that its kind does not have"),
        (sealed(c.MESSAGES, pack(1, 1, 5, 5)), "amid a message"),
        (sealed(c.MESSAGES, pack(1, 7, True)), "malformed"),
        (sealed(c.MESSAGES, pack(1, 7, 2**63)), "malformed"),
        (sealed(c.MESSAGES, pack(1, 7, "1")), "malformed"),
        (sealed(c.MESSAGES, pack(1, 7, 1), b"tail"), "4 bytes that no message describes"),
        (sealed(c.MESSAGES, pack(1, 3, 1, 0, 0, 0, 0)), "amid a message"),
        (sealed(c.MESSAGES, pack(1, 3, 1, 0, 0, 0, 0, 9)), "does not lie in a frame's tail"),
        (sealed(c.MESSAGES, pack(1, 3, 1, 0, 0, 0, 0, -1), b"x"), "does not lie"),
        (sealed(c.MESSAGES, pack(1, 3, 1, 0, 0, 0, 0, 4), b"data"), "a damaged block"),
        (sealed(c.MESSAGES, pack(1, 9, 1, 4, DATA_CRC + 1), b"data"), "was altered on the way"),
        (sealed(c.MESSAGES, pack(1, 9, 1, 4), b"data"), "amid a message"),
        (sealed(c.MESSAGES, pack(0, 0, 5, DATA_CRC), b"data"), "does not lie"),
        (sealed(c.MESSAGES, pack(0, 256, 4, DATA_CRC), b"data"), "no message"),
        (sealed(c.MESSAGES, pack(1, 11, 1, 1)), "amid its payloads"),
        (sealed(c.MESSAGES, pack(1, 11, 1, 1, -1)), "amid its payloads"),
        (sealed(c.MESSAGES, pack(1, 11, 1, 1, 2**62)), "amid its payloads"),
        (sealed(c.MESSAGES, pack(1, 11, 1, 1, 1, 4)), "amid its payloads"),
    ],
)
def test_refused(frame: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=re.escape(why)):
        read(frame)


def test_the_example_that_those_differ_from_is_good() -> None:
    message = raft_messages.ReadRequest("eu-1", "us-1", 1, b"data")
    assert read(sealed(c.MESSAGES, pack(1, 9, 1, 4, DATA_CRC), b"data")) == (
        c.MESSAGES,
        ([(1, message)], []),
    )


def test_elements_of_a_later_version_are_passed_over() -> None:
    assert read(sealed(c.PING, pack(1, True, "more"))) == (c.PING, c.Ping(1, True))
    assert read(sealed(c.PING, pack(1))) == (c.PING, c.Ping(1))
    data = sealed(c.REQUESTS, msgspec.msgpack.encode([[1, 2, "read", [b"GET"], 5, 6, "more"]]))
    assert read(data) == (c.REQUESTS, [c.Request(1, 2, "read", [b"GET"], 5, 6)])
    data = sealed(c.REQUESTS, msgspec.msgpack.encode([[1, 2, "read", [b"GET"], 5]]))
    assert read(data) == (c.REQUESTS, [c.Request(1, 2, "read", [b"GET"], 5, 0)])


def test_a_newer_version_is_told_apart() -> None:
    for data in (sealed(c.PING, b"whatever", version=2), sealed(99, b"", b"x", version=255)):
        with pytest.raises(VersionError, match="upgrade"):
            read(data)
    assert not issubclass(FormatError, VersionError)


def test_a_frame_above_the_limit_is_refused_at_its_head() -> None:
    head = sealed(c.MESSAGES, b"")[:8]
    for control, tail in ((2**32 - 1, 0), (0, 2**32 - 1), (PEER_FRAME_BYTES_MAX - 19, 0)):
        frames = reader()
        frames.feed(head + struct.pack("<III", control, tail, 0))
        with pytest.raises(FormatError, match="at most"):
            frames.next()
    frames = reader()
    frames.feed(head + struct.pack("<III", PEER_FRAME_BYTES_MAX - 20, 0, 0))
    assert frames.next() is None


def test_a_stranger_may_say_little() -> None:
    hello = c.Hello(1, "orders", "raft", "eu-1", "us-1", 5, 6, bytes(16))
    assert read(c.frame(c.HELLO, hello), introduced=False) == (c.HELLO, hello)
    frames = reader(introduced=False)
    frames.feed(sealed(c.HELLO, bytes(PEER_HELLO_BYTES_MAX)))
    with pytest.raises(FormatError, match=f"at most {PEER_HELLO_BYTES_MAX}"):
        frames.next()
    with pytest.raises(FormatError, match="has not said who it is"):
        read(written(raft_wire, [b"data"]), introduced=False)


def test_a_control_part_of_messages_is_bounded() -> None:
    frames = reader()
    frames.feed(sealed(c.MESSAGES, bytes(2**22 + 1)))
    with pytest.raises(FormatError, match="a control part of"):
        frames.next()


def test_the_other_algorithms_messages_are_refused() -> None:
    data = written(paxos_wire, [(1, paxos_messages.Fetch("eu-1", "us-1", 1, 1))])
    with pytest.raises(FormatError, match="kind 38 is no message of this cluster's algorithm"):
        read(data, raft_wire)


def test_a_newer_blocks_version_is_told_apart() -> None:
    block = bytearray(bytes(Block.pack(1, 1, [b"x"])))
    block[4] = 2
    data = sealed(c.MESSAGES, pack(1, 3, 1, 0, 0, 0, 0, len(block)), bytes(block))
    with pytest.raises(VersionError, match="upgrade"):
        read(data)


# --- golden vectors -----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=lambda vector: vector["name"])
def test_golden_frames(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    wire = WIRES[vector["consensus"]]
    kind, value = read(data, wire)
    assert kind == vector["kind"]
    if kind != c.MESSAGES:
        assert json.loads(msgspec.json.encode(value)) == vector["value"]
        assert c.frame(kind, value) == data
        return
    messages, pieces = value
    assert [piece.hex() for piece in pieces] == vector["data"]
    assert [[group, plain_of(message)] for group, message in messages] == vector["messages"]
    assert written(wire, [*messages, *pieces]) == data


def test_the_example_in_the_documents() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = text[text.index("## Frame between nodes") :].split("\n## ")[0]
    example = re.search(r"```text\n(.*?)```", section, re.DOTALL)
    assert example is not None
    message = paxos_messages.Accepted("eu-2", "eu-1", 7 << 32 | 1, 5, 9, 4, 3)
    assert bytes.fromhex(example[1]) == written(paxos_wire, [(7, message)])


def plain_of(message: Message) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": type(message).__name__}
    for name in message.FIELDS:
        value = getattr(message, name)
        if isinstance(value, Block):
            value = bytes(value)
        if isinstance(value, bytes):
            value = value.hex()
        elif isinstance(value, tuple):
            value = [item.hex() for item in value]
        made[name] = value
    return made


def test_golden_frames_cover_every_kind() -> None:
    kinds = {vector["kind"] for vector in VECTORS["frames"]}
    assert kinds == {c.HELLO, c.MESSAGES, c.REQUESTS, c.RESPONSES, c.PING, c.PONG, c.BYE}
    for consensus, wire in WIRES.items():
        found = {
            message["kind"]
            for vector in VECTORS["frames"]
            if vector["consensus"] == consensus and vector["kind"] == c.MESSAGES
            for _, message in vector["messages"]
        }
        assert found == {kind.__name__ for kind in wire.KINDS.values()}
