"""Messages as bytes: every kind there and back, and nothing else gets through."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from message_checks import kinds_of

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.message import Message
from ringleader.consensus.paxos import messages as paxos_messages
from ringleader.consensus.paxos import wire as paxos_wire
from ringleader.consensus.raft import messages as raft_messages
from ringleader.consensus.raft import wire as raft_wire
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
    if name in {"pre", "transfer", "granted", "refused", "installed", "probe"}:
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


def messages_of(wire: ModuleType) -> st.SearchStrategy[Message]:
    return st.one_of(
        *(
            st.builds(kind, ids, ids, *(field(name) for name in kind.FIELDS[2:]))
            for kind in wire.KINDS.values()
        )
    )


WIRES = {"raft": raft_wire, "paxos": paxos_wire}
#: A message of either core, and that core's codec.
sent = st.sampled_from([*WIRES.values()]).flatmap(
    lambda wire: st.tuples(st.just(wire), messages_of(wire))
)


@pytest.fixture(params=WIRES.values(), ids=WIRES)
def wire(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


@pytest.mark.parametrize(
    ("wire", "messages"), [(raft_wire, raft_messages), (paxos_wire, paxos_messages)], ids=WIRES
)
def test_every_kind_has_a_number(wire: ModuleType, messages: ModuleType) -> None:
    assert set(wire.KINDS.values()) == kinds_of(messages)


def test_the_numbers_stay_as_they_are() -> None:
    """They are in docs/formats.md, and in whatever was sent before an upgrade."""
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = text[text.index("## Message of a consensus core") :].split("\n## ")[0]
    tables = [block for block in section.split("\n\n") if block.startswith("| kind |")]
    for module, table in zip(WIRES.values(), tables, strict=True):
        rows = re.findall(r"^\| (\d+) \| (\w+) \|", table, re.MULTILINE)
        assert rows == [(str(number), kind.__name__) for number, kind in module.KINDS.items()]


@given(sent)
def test_there_and_back(pair: tuple[ModuleType, Message]) -> None:
    wire, message = pair
    data = wire.encode(message)
    back = wire.decode(data)
    assert back == message
    assert wire.encode(back) == data


@given(sent, st.data())
def test_a_changed_byte_is_seen(pair: tuple[ModuleType, Message], data: st.DataObject) -> None:
    wire, message = pair
    good = wire.encode(message)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        wire.decode(bytes(bad))


@given(sent)
def test_every_cut_is_seen(pair: tuple[ModuleType, Message]) -> None:
    wire, message = pair
    good = wire.encode(message)
    for size in range(len(good)):
        with pytest.raises(FormatError):
            wire.decode(good[:size])
    with pytest.raises(FormatError):
        wire.decode(good + b"\0")


@given(sent)
def test_a_message_of_the_other_core_is_refused_as_such(pair: tuple[ModuleType, Message]) -> None:
    wire, message = pair
    other = paxos_wire if wire is raft_wire else raft_wire
    with pytest.raises(FormatError, match=f"but of {wire.CODEC.core}: its sender runs another"):
        other.decode(wire.encode(message))
    if type(message) not in other.KINDS.values():
        with pytest.raises(FormatError, match=f"no number among {other.CODEC.core}'s"):
            other.encode(message)


def sealed(body: bytes, version: int = 1, kind: int = 7, zero: int = 0) -> bytes:
    rest = struct.pack("<BBHQ", version, kind, zero, 16 + len(body)) + body
    return struct.pack("<I", crc32c(rest)) + rest


def number_of(wire: ModuleType, name: str) -> int:
    (number,) = (number for number, kind in wire.KINDS.items() if kind.__name__ == name)
    return number


@given(st.sampled_from([*WIRES.values()]), st.binary(max_size=200), st.integers(0, 70))
@settings(max_examples=500)
def test_bytes_of_any_origin_under_a_right_checksum(
    wire: ModuleType, body: bytes, kind: int
) -> None:
    try:
        message = wire.decode(sealed(body, kind=kind))
    except FormatError:
        return
    assert wire.encode(message) == sealed(body, kind=kind)
    message.problem()


@given(sent, st.data())
def test_altered_fields_under_a_right_checksum(
    pair: tuple[ModuleType, Message], data: st.DataObject
) -> None:
    """What an honest sender would not have written is refused, or is a message that can be judged,
    and none other than its bytes say."""
    wire, message = pair
    good = wire.encode(message)
    body = bytearray(good[16:])
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del body[data.draw(st.integers(0, len(body))) :]
    bad = sealed(bytes(body), kind=good[5])
    try:
        back = wire.decode(bad)
    except FormatError:
        return
    assert type(back) is type(message)
    assert wire.encode(back) == bad
    back.problem()


def test_a_newer_version_says_so(wire: ModuleType) -> None:
    with pytest.raises(VersionError, match="upgrade"):
        wire.decode(sealed(b"", version=2))


@pytest.mark.parametrize("head", [{"version": 0}, {"zero": 1}])
def test_an_impossible_head(wire: ModuleType, head: dict[str, int]) -> None:
    kind = number_of(wire, "TimeoutNow")
    body = b"\0" + struct.pack("<q", 1) + b"\0" + struct.pack("<qq", 2, 3)
    assert wire.decode(sealed(body, kind=kind)).term == 3
    with pytest.raises(FormatError, match="no message"):
        wire.decode(sealed(body, kind=kind, **head))


@pytest.mark.parametrize("kind", [0, 31, 60, 65, 255])
def test_a_number_that_nobody_has(wire: ModuleType, kind: int) -> None:
    with pytest.raises(FormatError, match=f"kind {kind} is no message of {wire.CODEC.core}"):
        wire.decode(sealed(b"", kind=kind))


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
def test_ids_that_name_nobody(wire: ModuleType, body: bytes) -> None:
    with pytest.raises(FormatError, match="node id"):
        wire.decode(sealed(body, kind=number_of(wire, "TimeoutNow")))


HEAD = b"\0" + struct.pack("<q", 1) + b"\0" + struct.pack("<q", 2)


@pytest.mark.parametrize(
    ("wire", "kind", "fields"),
    [
        (raft_wire, "AppendEntries", struct.pack("<5q", 1, 0, 0, 0, 1)),
        (paxos_wire, "Promise", struct.pack("<2qB3q", 1, 0, 0, 9, 0, 1)),
        (paxos_wire, "Accept", struct.pack("<3q", 1, 0, 1)),
        (paxos_wire, "Learn", struct.pack("<2q", 1, 1)),
    ],
)
def test_a_block_that_breaks_its_guarantees(wire: ModuleType, kind: str, fields: bytes) -> None:
    good = bytes(Block.pack(1, 1, [b"x"]))
    number = number_of(wire, kind)

    def body(block: bytes) -> bytes:
        return HEAD + fields + struct.pack("<I", len(block)) + block

    assert bytes(wire.decode(sealed(body(good), kind=number)).block) == good
    for at in range(len(good)):
        block = bytearray(good)
        block[at] ^= 1
        with pytest.raises(FormatError, match="block"):
            wire.decode(sealed(body(bytes(block)), kind=number))


def test_more_payloads_than_there_are_bytes(wire: ModuleType) -> None:
    body = HEAD + struct.pack("<qq", 1, 9) + struct.pack("<I", 2**31)
    with pytest.raises(FormatError, match="payloads"):
        wire.decode(sealed(body, kind=number_of(wire, "Propose")))


def test_what_cannot_be_encoded(wire: ModuleType) -> None:
    class Strange(raft_messages.TimeoutNow):
        pass

    with pytest.raises(FormatError, match="no number"):
        wire.encode(Strange(1, 2, 3))
    with pytest.raises(FormatError, match="cannot be encoded"):
        wire.encode(raft_messages.TimeoutNow(2**63, 2, 3))


def test_the_bytes_are_those_of_the_published_format() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    section = text[text.index("## Message of a consensus core") :].split("\n## ")[0]
    (shown,) = re.findall(r"```text\n([0-9a-f\n]+)```", section)
    message = paxos_messages.Accepted(2, 1, 7 << 32 | 1, 5, 9, 4, 3)
    assert paxos_wire.encode(message).hex() == shown.replace("\n", "")
