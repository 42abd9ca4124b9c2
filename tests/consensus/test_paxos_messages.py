"""Ballots, the messages of Multi-Paxos that no honest node sends, and settings that contradict."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader.consensus import config as core_config
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.message import Message
from ringleader.consensus.paxos import ballot, messages
from ringleader.consensus.paxos.config import Config
from ringleader.consensus.paxos.messages import (
    Accept,
    Accepted,
    Fetch,
    Learn,
    Nack,
    Prepare,
    Promise,
    Propose,
    ProposeReply,
    ReadReply,
    ReadRequest,
    SnapshotPart,
    TimeoutNow,
    accept,
    accepted,
)
from ringleader.consensus.raft.config import Config as RaftConfig
from ringleader.errors import ConfigError, MembershipError
from ringleader.hashing import crc32c
from ringleader.limits import BLOCK_ENTRIES_MAX, INDEX_MAX, TERM_MAX

SOURCES = Path(ballot.__file__).parents[1]

# --- ballots -------------------------------------------------------------------------------------

#: Names whose CRC32C is the same.
TWINS = ("oslo-hazel-kelp", "milan-amber-delta")

ids = st.one_of(
    st.integers(1, 2**63 - 1),
    st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=40),
)


@given(ids)
def test_every_node_has_a_number(node: NodeId) -> None:
    number = ballot.number_of(node)
    assert 0 < number < 2**32
    if isinstance(node, int) and node < 2**32:
        assert number == node


@pytest.mark.parametrize(
    ("node", "number"),
    [
        (1, 1),
        (2**32 - 1, 2**32 - 1),
        (2**32, crc32c(bytes((0, 0, 0, 0, 1, 0, 0, 0)))),
        (2**63 - 1, crc32c(b"\xff" * 7 + b"\x7f")),
        ("berlin-1", crc32c(b"berlin-1")),
        ("é", crc32c("é".encode())),
        ("1", crc32c(b"1")),
    ],
)
def test_the_numbers_of_nodes(node: NodeId, number: int) -> None:
    assert ballot.number_of(node) == number


@pytest.mark.parametrize(
    "pair",
    [
        TWINS,
        ("berlin-1", crc32c(b"berlin-1")),
        (2**32 + 5, crc32c((2**32 + 5).to_bytes(8, "little"))),
    ],
)
def test_two_nodes_with_one_number_are_refused(pair: tuple[NodeId, NodeId]) -> None:
    one, other = pair
    assert one != other
    assert ballot.number_of(one) == ballot.number_of(other)
    with pytest.raises(MembershipError, match="same ballots") as caught:
        ballot.check_numbers([3, one, "vienna", other])
    assert repr(one) in str(caught.value)
    assert repr(other) in str(caught.value)
    # Either is good without the other, and the same node twice is no other.
    ballot.check_numbers([3, one, "vienna", one])
    ballot.check_numbers([other, 3])
    ballot.check_numbers([])


ballots = st.integers(0, TERM_MAX - 1)


@given(ballots, ids, ids)
def test_the_next_ballot(after: int, node: NodeId, other: NodeId) -> None:
    """It is above all that came before, the proposer's own, and nobody else's."""
    number = ballot.number_of(node)
    if ballot.round_of(after) >= ballot.ROUND_MAX:
        return
    following = ballot.next_ballot(after, number)
    assert after < following < TERM_MAX
    assert ballot.round_of(following) == ballot.round_of(after) + 1
    assert ballot.owner_number(following) == number
    rival = ballot.number_of(other)
    assert (ballot.next_ballot(after, rival) == following) == (rival == number)
    assert ballot.next_ballot(following, rival) > following


def test_no_ballot_is_below_all_others() -> None:
    assert ballot.next_ballot(0, 1) == 1 << 32 | 1
    assert ballot.next_ballot(1 << 32 | 9, 1) == 2 << 32 | 1
    assert ballot.next_ballot(1 << 32 | 1, 9) == 2 << 32 | 9
    last = ballot.next_ballot((ballot.ROUND_MAX << 32) - 1, 2**32 - 1)
    assert ballot.round_of(last) == ballot.ROUND_MAX
    assert last < TERM_MAX


def test_how_people_read_them() -> None:
    assert ballot.describe(7 << 32 | 2) == "7.2"
    assert ballot.describe(0) == "0.0"


# --- messages ------------------------------------------------------------------------------------

#: Of node 2, of node 1; both of round 3.
OWN, THEIRS = 3 << 32 | 2, 3 << 32 | 1
LOWER = 2 << 32 | 9
MEMBERS = Membership([1, 2, 3]).to_bytes()


def block(first: int, *terms: int) -> Block:
    return Block.pack(first, list(terms), [b"x" for _ in terms])


#: What an honest node 2 may say to node 1.
GOOD: dict[type[Message], dict[str, Any]] = {
    Prepare: {"term": OWN, "commit": 5, "attempt": 1, "probe": False, "transfer": False},
    Promise: {
        "term": THEIRS,
        "attempt": 1,
        "probe": False,
        "report": 77,
        "part": 1,
        "parts": 2,
        "block": block(6, LOWER, LOWER + 1),
    },
    Nack: {"term": THEIRS + 2**32, "ballot": THEIRS, "commit": 9},
    Accept: {"term": OWN, "commit": 5, "round": 4, "block": block(6, OWN, OWN)},
    Accepted: {"term": THEIRS, "first": 6, "last": 7, "commit": 5, "round": 4},
    Fetch: {"term": OWN, "first": 6, "index": 9, "checksum": 2**32 - 1, "offset": 3},
    Learn: {"term": OWN, "commit": 9, "block": block(6, LOWER, OWN)},
    SnapshotPart: {
        "term": OWN,
        "index": 9,
        "ballot": LOWER,
        "membership": MEMBERS,
        "total_bytes": 6,
        "checksum": 7,
        "offset": 3,
        "data": b"def",
    },
    TimeoutNow: {"term": OWN},
    ReadRequest: {"term": 0, "context": b"r"},
    ReadReply: {"term": OWN, "context": b"r", "index": 5},
    Propose: {"term": 0, "ticket": 1, "payloads": (b"x", b"")},
    ProposeReply: {"term": OWN, "ticket": 1, "index": 6},
}

#: Changes after which a message is still one that an honest node may send.
ALSO_GOOD: list[tuple[type[Message], dict[str, Any]]] = [
    (Prepare, {"commit": 0, "attempt": 0, "probe": True}),
    (Prepare, {"commit": INDEX_MAX, "transfer": True}),
    (Promise, {"block": None, "part": 0, "parts": 1, "probe": True}),
    (Promise, {"block": block(1, THEIRS - 1)}),
    (Nack, {"term": 0, "commit": 0}),
    (Nack, {"term": THEIRS, "commit": INDEX_MAX}),
    (Accept, {"block": None, "commit": 0, "round": 0}),
    (Accept, {"block": block(5, OWN), "commit": INDEX_MAX}),
    (Accepted, {"first": 0, "last": 0, "commit": 0, "round": 0}),
    (Accepted, {"first": 1, "last": INDEX_MAX, "commit": INDEX_MAX}),
    (Fetch, {"term": 0, "first": 1, "index": 0, "checksum": 0, "offset": 0}),
    (Fetch, {"first": INDEX_MAX, "index": INDEX_MAX}),
    (Learn, {"commit": 7, "block": block(6, OWN, OWN)}),
    (SnapshotPart, {"ballot": OWN, "data": b"de"}),
    (SnapshotPart, {"total_bytes": 0, "offset": 0, "data": b"", "index": INDEX_MAX}),
    (ReadReply, {"index": 0}),
    (ProposeReply, {"index": 0}),
]

#: Changes after which it is not, and why.
BAD: list[tuple[type[Message], dict[str, Any], str]] = [
    (Prepare, {"commit": -1}, "impossible index"),
    (Prepare, {"commit": INDEX_MAX + 1}, "impossible index"),
    (Prepare, {"attempt": -1}, "impossible index"),
    (Prepare, {"term": THEIRS}, "ballot of another proposer"),
    (Prepare, {"term": 0}, "ballot of another proposer"),
    (Prepare, {"term": OWN - 2**34}, "ballot of another proposer"),
    (Prepare, {"probe": True, "term": OWN + 1}, "ballot of another proposer"),
    (Prepare, {"term": 2**62 | 2}, "impossible term"),
    (Promise, {"term": OWN}, "promise of another proposer's ballot"),
    (Promise, {"term": 0}, "promise of another proposer's ballot"),
    (Promise, {"part": 2}, "impossible part"),
    (Promise, {"part": -1}, "impossible part"),
    (Promise, {"part": 0, "parts": 0}, "impossible part"),
    (Promise, {"attempt": -1}, "impossible part"),
    (Promise, {"block": bytes(block(6, LOWER))}, "not a block"),
    (Promise, {"block": block(6, LOWER, THEIRS)}, "accepted at or above the promise"),
    (Promise, {"block": block(6, THEIRS + 2**32)}, "accepted at or above the promise"),
    (Promise, {"block": None, "term": THEIRS - 2**34}, "impossible term"),
    (Nack, {"commit": -1}, "impossible index"),
    (Nack, {"commit": INDEX_MAX + 1}, "impossible index"),
    (Nack, {"ballot": OWN}, "refusal of another proposer's ballot"),
    (Nack, {"ballot": 0}, "impossible term"),
    (Nack, {"ballot": THEIRS - 2**34}, "impossible term"),
    (Nack, {"ballot": 2**62 | 1}, "impossible term"),
    (Nack, {"term": -1}, "impossible term"),
    (Accept, {"commit": -1}, "impossible index"),
    (Accept, {"commit": INDEX_MAX + 1}, "impossible index"),
    (Accept, {"round": -1}, "impossible index"),
    (Accept, {"term": THEIRS, "block": block(6, THEIRS)}, "ballot of another proposer"),
    (Accept, {"term": 0, "block": None}, "ballot of another proposer"),
    (Accept, {"block": bytes(block(6, OWN))}, "not a block"),
    (Accept, {"block": block(6, LOWER, OWN)}, "block of another ballot"),
    (Accept, {"block": block(6, LOWER)}, "block of another ballot"),
    (Accept, {"block": block(6, OWN, OWN + 2**32)}, "block of another ballot"),
    (Accept, {"block": None, "term": 2**62 | 2}, "impossible term"),
    (Accepted, {"first": 0}, "impossible index"),
    (Accepted, {"first": -1}, "impossible index"),
    (Accepted, {"first": 8}, "impossible index"),
    (Accepted, {"last": INDEX_MAX + 1}, "impossible index"),
    (Accepted, {"commit": -1}, "impossible index"),
    (Accepted, {"commit": INDEX_MAX + 1}, "impossible index"),
    (Accepted, {"round": -1}, "impossible index"),
    (Accepted, {"term": OWN}, "acceptance of another proposer's ballot"),
    (Accepted, {"term": 0}, "acceptance of another proposer's ballot"),
    (Fetch, {"first": 0}, "impossible index"),
    (Fetch, {"first": INDEX_MAX + 1}, "impossible index"),
    (Fetch, {"index": -1}, "impossible index"),
    (Fetch, {"index": INDEX_MAX + 1}, "impossible index"),
    (Fetch, {"offset": -1}, "impossible snapshot"),
    (Fetch, {"checksum": -1}, "impossible snapshot"),
    (Fetch, {"checksum": 2**32}, "impossible snapshot"),
    (Learn, {"block": None}, "not a block"),
    (Learn, {"block": b""}, "not a block"),
    (Learn, {"commit": 6}, "impossible index"),
    (Learn, {"commit": INDEX_MAX + 1}, "impossible index"),
    (Learn, {"block": block(6, LOWER, OWN + 1)}, "chosen above the promise"),
    (SnapshotPart, {"index": 0}, "impossible snapshot"),
    (SnapshotPart, {"index": INDEX_MAX + 1}, "impossible snapshot"),
    (SnapshotPart, {"ballot": 0}, "impossible snapshot"),
    (SnapshotPart, {"ballot": OWN + 1}, "impossible snapshot"),
    (SnapshotPart, {"offset": -1}, "impossible snapshot"),
    (SnapshotPart, {"offset": 4}, "impossible snapshot"),
    (SnapshotPart, {"offset": 2**63 - 1}, "impossible snapshot"),
    (SnapshotPart, {"total_bytes": 5}, "impossible snapshot"),
    (SnapshotPart, {"data": b""}, "impossible snapshot"),
    (SnapshotPart, {"checksum": -1}, "impossible snapshot"),
    (SnapshotPart, {"checksum": 2**32}, "impossible snapshot"),
    (TimeoutNow, {"term": -1}, "impossible term"),
    (ReadRequest, {"term": TERM_MAX}, "impossible term"),
    (Propose, {"term": TERM_MAX}, "impossible term"),
    (Fetch, {"term": -1}, "impossible term"),
    (Learn, {"term": TERM_MAX}, "impossible term"),
    (ReadReply, {"index": -1}, "impossible index"),
    (ReadReply, {"index": INDEX_MAX + 1}, "impossible index"),
    (ProposeReply, {"index": -1}, "impossible index"),
    (ProposeReply, {"index": INDEX_MAX + 1}, "impossible index"),
]
#: Which end of these owns the ballot that they are about.
OWNED = {Prepare: "sender", Accept: "sender", Promise: "to", Accepted: "to"}


def made(kind: type[Message], /, **changes: Any) -> Message:
    fields = {"sender": 2, "to": 1} | GOOD[kind] | changes
    assert list(fields) == list(kind.FIELDS)
    return kind(*fields.values())


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_message(kind: type[Message]) -> None:
    message = made(kind)
    assert message.problem() is None
    assert message == made(kind) == pickle.loads(pickle.dumps(message))
    assert hash(message) == hash(made(kind))
    assert repr(message).startswith(f"{kind.__name__}(sender=2, to=1, term={message.term}")
    for name in kind.FIELDS[3:]:
        value = getattr(message, name)
        other = value + 1 if isinstance(value, int) and not isinstance(value, bool) else None
        if isinstance(value, bool):
            other = not value
        elif isinstance(value, bytes):
            other = value + b"x"
        elif isinstance(value, tuple):
            other = (*value, b"x")
        assert made(kind, **{name: other}) != message


@pytest.mark.parametrize(("kind", "changes"), ALSO_GOOD)
def test_an_unusual_message(kind: type[Message], changes: dict[str, Any]) -> None:
    assert made(kind, **changes).problem() is None


@pytest.mark.parametrize(("kind", "changes", "why"), BAD)
def test_a_message_that_no_honest_node_sends(
    kind: type[Message], changes: dict[str, Any], why: str
) -> None:
    assert made(kind, **changes).problem() == why


@pytest.mark.parametrize("kind", GOOD)
def test_what_goes_for_every_message(kind: type[Message]) -> None:
    for term in (-1, TERM_MAX, 2**63 - 1):
        assert made(kind, term=term).problem() is not None
    same = made(kind, sender=1) if OWNED.get(kind) != "sender" else made(kind, to=2)
    assert same.problem() == "sent by the receiver itself"


def test_no_reason_is_left_out() -> None:
    """Every reason in the source stands in the table, under the kind that gives it."""
    told = {(kind.__name__, why) for kind, _, why in BAD}
    missing = set()
    for path in (SOURCES / "paxos" / "messages.py", SOURCES / "message.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name != "Message":
                missing |= {
                    (node.name, it.value.value)
                    for it in ast.walk(node)
                    if isinstance(it, ast.Return)
                    and isinstance(it.value, ast.Constant)
                    and isinstance(it.value.value, str)
                }
    assert missing
    assert missing <= told


def test_no_kind_is_left_out() -> None:
    kinds = {kind for kind in vars(messages).values() if isinstance(kind, type)}
    assert {kind for kind in kinds if issubclass(kind, Message)} - {Message} == GOOD.keys()


def test_text_ids_own_ballots_too() -> None:
    number = ballot.number_of("berlin-1")
    term = 4 << 32 | number
    assert Prepare("berlin-1", "oslo-1", term, 0).problem() is None
    assert Prepare("oslo-1", "berlin-1", term, 0).problem() == "ballot of another proposer"
    assert Promise("oslo-1", "berlin-1", term).problem() is None
    assert Accepted("berlin-1", "oslo-1", term, 1, 1, 0).problem() == (
        "acceptance of another proposer's ballot"
    )


numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([-1, 0, 1, OWN, THEIRS, LOWER, INDEX_MAX, TERM_MAX, 2**63 - 1, -(2**63)]),
)


@given(st.sampled_from([*GOOD]), st.data())
def test_any_numbers_can_be_judged(kind: type[Message], data: st.DataObject) -> None:
    """Whatever numbers come, a message is judged; one that passes can be trusted in these."""
    changes = {
        name: data.draw(numbers)
        for name, value in GOOD[kind].items()
        if isinstance(value, int) and not isinstance(value, bool) and data.draw(st.booleans())
    }
    message = made(kind, **changes)
    if message.problem() is not None:
        return
    assert 0 <= message.term < TERM_MAX
    for name in {"commit", "first", "last", "index"} & {*kind.FIELDS}:
        assert 0 <= getattr(message, name) <= INDEX_MAX
    for name in {"attempt", "round", "part", "offset", "checksum"} & {*kind.FIELDS}:
        assert getattr(message, name) >= 0
    if kind in OWNED:
        owner = getattr(message, OWNED[kind])
        assert ballot.owner_number(message.term) == ballot.number_of(owner)


def test_the_short_ways_make_the_same() -> None:
    some = block(6, OWN)
    assert accept(2, 1, OWN, 5, 4, some) == Accept(2, 1, OWN, 5, 4, some)
    assert accept(2, 1, OWN, 5, 4, None) == Accept(2, 1, OWN, 5, 4)
    assert accepted(2, 1, THEIRS, 6, 7, 5, 4) == Accepted(2, 1, THEIRS, 6, 7, 5, 4)


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"window": 0}, "window=0 is no integer in 1"),
        ({"window": -5}, "window=-5"),
        ({"window": BLOCK_ENTRIES_MAX + 1}, "window"),
        ({"window": 16.0}, "window=16.0 is no integer"),
        ({"window": True}, "window=True is no integer"),
        ({"max_aside_bytes": 0}, "max_aside_bytes=0"),
        ({"max_aside_bytes": 2**40 + 1}, "max_aside_bytes"),
        ({"max_aside_bytes": "1"}, "max_aside_bytes='1' is no integer"),
        # What cores share is checked here, too.
        ({"election_ticks": 1}, "election_ticks=1"),
        ({"heartbeat_ticks": 10}, "must be below election_ticks"),
        ({"pre_vote": 1}, "pre_vote=1 is neither True nor False"),
        ({"clock_drift": "0.1"}, "clock_drift='0.1' is no number"),
        ({"priorities": {1: "high"}}, "priorities maps node ids to integers"),
        ({"quorum": None}, "quorum=None makes no quorum system"),
        ({"lease": True, "check_quorum": False}, "needs check_quorum"),
    ],
)
def test_settings_that_contradict(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Config(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"window": 1}, {"window": BLOCK_ENTRIES_MAX}, {"max_aside_bytes": 1}, {"lease": True}],
)
def test_settings_at_their_bounds(settings: dict[str, Any]) -> None:
    config = Config(**settings)
    assert all(getattr(config, name) == value for name, value in settings.items())


def test_both_cores_share_their_settings() -> None:
    shared = core_config.CoreConfig.__dataclass_fields__
    assert RaftConfig.__dataclass_fields__.keys() == shared.keys()
    assert Config.__dataclass_fields__.keys() - shared.keys() == {"window", "max_aside_bytes"}
    for name in shared:
        assert getattr(Config(), name) == getattr(RaftConfig(), name)
    assert Config(election_ticks=20).lease_ticks == RaftConfig(election_ticks=20).lease_ticks
    with pytest.raises(TypeError):
        RaftConfig(window=5)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Config().window = 5  # type: ignore[misc]
