"""Messages as bytes: every kind there and back, and nothing else gets through."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.message import Message
from ringleader.consensus.raft import messages, wire
from ringleader.errors import FormatError, VersionError
from ringleader.hashing import crc32c

ids = st.one_of(
    st.integers(1, 2**63 - 1),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(
        lambda text: len(text.encode()) <= 255
    ),
)
numbers = st.integers(-(2**63), 2**63 - 1)
blocks = st.one_of(
    st.none(),
    st.builds(
        Block.pack,
        st.integers(1, 2**40),
        st.integers(1, 2**40),
        st.lists(st.binary(max_size=20), min_size=1, max_size=5),
        st.booleans(),
    ),
)


def field(name: str) -> st.SearchStrategy[Any]:
    if name in {"pre", "transfer", "granted", "refused", "installed"}:
        return st.booleans()
    if name in {"data", "context"}:
        return st.binary(max_size=50)
    if name == "membership":
        return st.just(Membership([1, 2, 3], learners=[4]).to_bytes())
    if name == "block":
        return blocks
    if name == "payloads":
        return st.lists(st.binary(max_size=20), max_size=4).map(tuple)
    return numbers


def any_message() -> st.SearchStrategy[Message]:
    return st.one_of(
        *(
            st.builds(kind, ids, ids, *(field(name) for name in kind.FIELDS[2:]))
            for kind in wire.KINDS.values()
        )
    )


def test_every_kind_has_a_number() -> None:
    kinds = {kind for kind in vars(messages).values() if isinstance(kind, type)}
    declared = {kind for kind in kinds if issubclass(kind, Message)}
    assert set(wire.KINDS.values()) == declared - {Message}


@given(any_message())
def test_there_and_back(message: Message) -> None:
    data = wire.encode(message)
    back = wire.decode(data)
    assert back == message
    assert wire.encode(back) == data


@given(any_message(), st.data())
def test_a_changed_byte_is_seen(message: Message, data: st.DataObject) -> None:
    good = wire.encode(message)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        wire.decode(bytes(bad))


@given(any_message())
def test_every_cut_is_seen(message: Message) -> None:
    good = wire.encode(message)
    for size in range(len(good)):
        with pytest.raises(FormatError):
            wire.decode(good[:size])
    with pytest.raises(FormatError):
        wire.decode(good + b"\0")


def sealed(body: bytes, version: int = 1, kind: int = 7, zero: int = 0) -> bytes:
    rest = struct.pack("<BBHQ", version, kind, zero, 16 + len(body)) + body
    return struct.pack("<I", crc32c(rest)) + rest


@given(st.binary(max_size=200), st.integers(0, 14))
def test_bytes_of_any_origin_under_a_right_checksum(body: bytes, kind: int) -> None:
    try:
        message = wire.decode(sealed(body, kind=kind))
    except FormatError:
        return
    assert wire.encode(message) == sealed(body, kind=kind)


def test_a_newer_version_says_so() -> None:
    with pytest.raises(VersionError, match="upgrade"):
        wire.decode(sealed(b"", version=2))


@pytest.mark.parametrize(
    "body",
    [
        b"\0" + struct.pack("<q", 0) + b"\0" + struct.pack("<qq", 1, 1),  # sender 0
        b"\0" + struct.pack("<q", -5) + b"\0" + struct.pack("<qq", 1, 1),
        b"\2" + struct.pack("<q", 1) + b"\0" + struct.pack("<qq", 1, 1),  # no such kind of id
        b"\1\0" + b"\0" + struct.pack("<qq", 1, 1),  # an empty one
        b"\1\1\xff" + b"\0" + struct.pack("<qq", 1, 1),  # not UTF-8
    ],
)
def test_ids_that_name_nobody(body: bytes) -> None:
    with pytest.raises(FormatError):
        wire.decode(sealed(body))


def test_a_block_that_breaks_its_guarantees() -> None:
    block = bytearray(bytes(Block.pack(1, 1, [b"x"])))
    block[-1] ^= 1
    head = b"\0" + struct.pack("<q", 1) + b"\0" + struct.pack("<q", 2)
    body = head + struct.pack("<5q", 1, 0, 0, 0, 1) + struct.pack("<I", len(block)) + bytes(block)
    with pytest.raises(FormatError, match="block"):
        wire.decode(sealed(body, kind=3))


def test_more_payloads_than_there_are_bytes() -> None:
    head = b"\0" + struct.pack("<q", 1) + b"\0" + struct.pack("<q", 2)
    body = head + struct.pack("<qq", 1, 9) + struct.pack("<I", 2**31)
    with pytest.raises(FormatError, match="payloads"):
        wire.decode(sealed(body, kind=11))


def test_what_cannot_be_encoded() -> None:
    class Strange(messages.TimeoutNow):
        pass

    with pytest.raises(FormatError, match="no number"):
        wire.encode(Strange(1, 2, 3))
