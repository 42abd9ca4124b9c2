"""Messages of Multi-Paxos that no honest peer sends: rejected, counted, and nothing has changed.

Then messages in any order at all: whatever comes, a core keeps what an acceptor promises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import message_checks
import pytest
from core_group import answer, work
from hypothesis import given, settings
from hypothesis import strategies as st
from message_checks import (
    INDICES,
    MEMBERS,
    STRANGER,
    dump,
    impossible,
    is_a_value,
    kinds_of,
    perform,
    refuses_what_is_no_message,
)
from paxos_group import accepted, b, elect, heartbeat, packed, paxos, prepare, promise

from ringleader import kernels
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.message import Message
from ringleader.consensus.paxos import Config, MultiPaxos, messages
from ringleader.consensus.paxos.ballot import number_of
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
)
from ringleader.hashing import crc32c
from ringleader.limits import INDEX_MAX, TERM_MAX

JOINT = Membership([1, 2], outgoing=[1, 3]).to_bytes()
WINDOW = 16
SETTINGS = Config(window=WINDOW, snapshot_chunk_bytes=4)


def blocks_of(core: MultiPaxos) -> list[bytes]:
    return [bytes(block) for block in core.aside]


def state(core: MultiPaxos) -> dict[str, Any]:
    found = dump(core, "vote", "promised_by", "memberships", "deadline")
    return found | {"aside": blocks_of(core)}


def rejects(core: MultiPaxos, message: Any) -> None:
    message_checks.rejects(core, message, state)


# --- the cast: a core in each role -----------------------------------------------------------

BALLOT = b(5, 2)  # of 2, who leads; 1 leads and campaigns in 5.1
OWN = b(5, 1)
HELD = [b(1, 3), b(1, 3), b(3, 1), b(3, 1), b(4, 3)]


def follower() -> MultiPaxos:
    core = paxos(accepted=HELD, term=BALLOT, commit=3, config=SETTINGS)
    answer(core, heartbeat(core, BALLOT, commit=3))
    answer(core, Accept(2, 1, BALLOT, 3, 1, packed(8, BALLOT, [b"aside"])))
    assert (core.role, core.leader, core.commit, len(core.aside)) == ("follower", 2, 3, 1)
    return core


def probing() -> MultiPaxos:
    core = paxos(accepted=HELD, term=b(4, 3), commit=3, config=SETTINGS)
    core.campaign()
    work(core)
    assert (core.role, core.ballot) == ("probing", OWN)
    return core


def campaigning() -> MultiPaxos:
    core = probing()
    core.step(promise(core, 2))
    work(core)
    assert (core.role, core.term) == ("candidate", OWN)
    return core


def leader() -> MultiPaxos:
    core = paxos(accepted=HELD, term=b(4, 3), commit=3, config=SETTINGS)
    elect(core)
    accepted(core, 2, commit=3)
    assert (core.role, core.term, core.commit) == ("leader", OWN, 5)
    return core


def receiver() -> MultiPaxos:
    """A follower amid a snapshot."""
    core = follower()
    core.tick(2)
    answer(core, heartbeat(core, BALLOT, commit=20))
    answer(core, SnapshotPart(2, 1, BALLOT, 20, BALLOT, MEMBERS, 6, 7, 0, b"abc"))
    assert core.status().receiving_snapshot_bytes == 3
    return core


CAST: dict[str, Callable[[], MultiPaxos]] = {
    "follower": follower,
    "probing": probing,
    "candidate": campaigning,
    "leader": leader,
    "receiver": receiver,
}


def templates(sender: int = 2, round: int = 5) -> list[Any]:
    """One message of each type, such as an honest peer may send to 1."""
    theirs, own = b(round, sender), b(round, 1)
    low = b(4, 3)
    return [
        Prepare(sender, 1, b(round + 1, sender), 3, 1),
        Promise(sender, 1, own, 1, False, 7, 0, 2, packed(4, low, [b"x"])),
        Nack(sender, 1, b(round + 1, 3), own, 3),
        Accept(sender, 1, theirs, 3, 1, packed(6, theirs, [b"x"])),
        Accepted(sender, 1, own, 4, 5, 3, 1),
        Fetch(sender, 1, theirs, 2, 20, 7, 3),
        Learn(sender, 1, theirs, 4, packed(4, low, [b"x"])),
        SnapshotPart(sender, 1, theirs, 20, theirs, MEMBERS, 6, 7, 3, b"def"),
        TimeoutNow(sender, 1, theirs),
        ReadRequest(sender, 1, theirs, b"x"),
        ReadReply(sender, 1, theirs, b"x", 3),
        Propose(sender, 1, theirs, 1, (b"x",)),
        ProposeReply(sender, 1, theirs, 1, 6),
    ]


#: Values that a field can never have.
IMPOSSIBLE = message_checks.IMPOSSIBLE | {
    "ballot": [-1],
    "attempt": [-1],
    "part": [-1, 2],
    "parts": [0, -1],
    "first": [-1, INDEX_MAX + 1],
    "last": [-1, INDEX_MAX + 1],
    "offset": [-1],
    "probe": [],
    "asked_in": [-1],
    "report": [],
}


def test_every_field_has_impossible_values_or_none() -> None:
    named = {field for template in templates() for field in type(template).FIELDS}
    assert named == set(IMPOSSIBLE)
    assert {type(template) for template in templates()} == kinds_of(messages)


@pytest.mark.parametrize("role", CAST)
@pytest.mark.parametrize("message", impossible(templates(), IMPOSSIBLE))
def test_impossible_fields(role: str, message: Any) -> None:
    rejects(CAST[role](), message)


@pytest.mark.parametrize("role", CAST)
@pytest.mark.parametrize(
    "message",
    [
        Prepare(2, 1, 0, 3),
        Prepare(2, 1, b(6, 3), 3),  # another's ballot
        Accept(2, 1, b(6, 3), 3, 1, packed(6, b(6, 3), [b"x"])),
        Accept(2, 1, b(6, 3), 3),
        Promise(2, 1, b(5, 2)),
        Nack(2, 1, b(6, 3), b(5, 2), 3),
        Accepted(2, 1, b(5, 2), 4, 5, 3),
        Accept(2, 1, BALLOT, 3, 1, packed(6, b(4, 2), [b"x"])),  # a block of another ballot
        Accept(2, 1, b(6, 2), 3, 1, packed(6, [b(5, 2), b(6, 2)], [b"x", b"y"])),
        Promise(2, 1, OWN, 1, False, 0, 0, 1, packed(4, OWN, [b"x"])),  # at the promise
        Promise(2, 1, OWN, 1, False, 0, 0, 1, packed(4, b(7, 1), [b"x"])),
        Accepted(2, 1, OWN, 5, 4, 3),
        Accepted(2, 1, OWN, 0, 4, 3),
        Learn(2, 1, BALLOT, 3, packed(4, b(4, 3), [b"x"])),  # beyond what it knows
        Learn(2, 1, BALLOT, 4, packed(4, b(6, 3), [b"x"])),  # above its promise
        Fetch(2, 1, BALLOT, 0),
        SnapshotPart(2, 1, BALLOT, 20, b(6, 2), MEMBERS, 6, 7, 0, b"abc"),
        SnapshotPart(2, 1, BALLOT, 0, BALLOT, MEMBERS, 6, 7, 0, b"abc"),
    ],
)
def test_ballots_and_slots_that_contradict_each_other(role: str, message: Any) -> None:
    rejects(CAST[role](), message)


@pytest.mark.parametrize("round", [5, 6])
@pytest.mark.parametrize(
    "payload", [b"", b"\2", b"\0\0", b"\1", b"\1" + MEMBERS[:-1], b"\1" + JOINT]
)
def test_unknown_control_entries(round: int, payload: bytes) -> None:
    ballot = b(round, 2)
    rejects(follower(), Accept(2, 1, ballot, 3, 1, packed(6, ballot, [payload], control=True)))
    block = packed(4, b(4, 3), [payload], control=True)
    rejects(follower(), Learn(2, 1, BALLOT, 4, block))
    rejects(campaigning(), Promise(2, 1, OWN, 2, False, 0, 0, 1, block))


def test_slots_beyond_the_window() -> None:
    block = packed(3 + WINDOW, BALLOT, [b"x", b"y"])
    rejects(follower(), Accept(2, 1, BALLOT, 3, 1, block))
    core = follower()
    assert answer(core, Accept(2, 1, BALLOT, 3, 1, packed(3 + WINDOW, BALLOT, [b"x"])))


def test_a_second_leader_in_one_ballot() -> None:
    """Its owner alone leads a ballot, and no other id of the same number."""
    double = 2**40
    owner = number_of(double)
    core = paxos(voters=[1, owner, 3], config=SETTINGS)
    answer(core, heartbeat(core, b(5, owner)))
    assert core.leader == owner
    rejects(core, Accept(double, 1, b(5, double), 0))
    rejects(core, Accept(double, 1, b(5, double), 0, 1, packed(1, b(5, double), [b"x"])))
    assert core.rejected == {"a second leader in one ballot": 2}


@pytest.mark.parametrize("membership", [b"", b"\xff" * 40, MEMBERS[:-1], MEMBERS + b"x", JOINT])
def test_snapshots_of_an_impossible_membership(membership: bytes) -> None:
    for offset in (0, 3):
        rejects(
            receiver(), SnapshotPart(2, 1, BALLOT, 20, BALLOT, membership, 6, 7, offset, b"def")
        )


def test_snapshots_may_be_stamped_lower_than_what_is_committed() -> None:
    """Slot 3 is chosen, and stamped 3.1 here, where it was proposed again; the node that sends a
    later one may never have heard of that ballot."""
    core = follower()
    core.tick(2)
    answer(core, heartbeat(core, BALLOT, commit=20))
    data = b"state"
    core.step(SnapshotPart(2, 1, BALLOT, 9, b(1, 2), MEMBERS, 5, crc32c(data), 0, data))
    assert core.rejected == {}
    assert (core.commit, core.log.base, core.log.base_term) == (9, 9, b(1, 2))


@pytest.mark.parametrize(
    "message",
    [
        Accepted(2, 1, OWN, 4, 6, 3, 1),  # beyond the log
        Accepted(2, 1, OWN, 4, 5, 3, 2),  # a round that was never sent
        Accepted(STRANGER, 1, OWN, 4, 5, 3, 1),
        ReadRequest(STRANGER, 1, OWN, b"x"),
        Propose(STRANGER, 1, OWN, 1, (b"x",)),
        Propose(2, 1, OWN, 1, ("text",)),  # type: ignore[arg-type]
        Propose(2, 1, OWN, 1, (b"x", 7)),  # type: ignore[arg-type]
        Propose(2, 1, OWN, 1, (b"x",) * (WINDOW + 1)),
    ],
)
def test_answers_and_requests_that_a_leader_cannot_get(message: Any) -> None:
    rejects(leader(), message)


@pytest.mark.parametrize("role", CAST)
def test_strangers(role: str) -> None:
    """Who was never heard of neither teaches, nor asks for service, nor leaps over all ballots."""
    for message in (
        Learn(STRANGER, 1, b(5, 3), 4, packed(4, b(4, 3), [b"x"])),
        SnapshotPart(STRANGER, 1, b(5, 3), 20, b(5, 3), MEMBERS, 6, 7, 0, b"abc"),
        Propose(STRANGER, 1, b(5, 3), 1, (b"x",)),
        ReadRequest(STRANGER, 1, b(5, 3), b"x"),
        TimeoutNow(STRANGER, 1, b(5, 3)),
        Prepare(STRANGER, 1, b(2**28, STRANGER), 3, 1),
        Accept(STRANGER, 1, b(2**28, STRANGER), 3),
    ):
        rejects(CAST[role](), message)


def test_promises_and_refusals_of_who_does_not_vote() -> None:
    """They may not even be answers to a question."""
    core = campaigning()
    before = state(core)
    core.step(Promise(STRANGER, 1, OWN, core.attempt))
    assert state(core) == before
    core.step(Nack(STRANGER, 1, 2**62 - 3, OWN, 3))
    assert core.rejected == {"not a member": 1}
    assert state(core) == before
    core.tick(50)
    assert core.role != "follower"  # it may stand again


def test_what_is_no_message() -> None:
    refuses_what_is_no_message(follower(), state)


def test_reasons_are_counted_in_the_status() -> None:
    core = follower()
    for _ in range(3):
        core.step(TimeoutNow(2, 7, BALLOT))
    assert core.status().rejected == {"not addressed to this node": 3}


@pytest.mark.parametrize("message", templates(), ids=lambda message: type(message).__name__)
def test_messages_are_values(message: Any) -> None:
    is_a_value(message, b(9, 9))


def test_a_proposal_that_is_forwarded_twice_counts_once() -> None:
    core = leader()
    message = Propose(2, 1, OWN, 7 << 31 | 1, (b"x",))
    (reply,) = [each for each in answer(core, message) if isinstance(each, ProposeReply)]
    assert reply.index == 6
    assert not any(isinstance(each, ProposeReply) for each in answer(core, message))
    assert core.log.last == 6


# --- messages in any order -------------------------------------------------------------------

IDS = st.sampled_from([1, 2, 3, 3, 2, STRANGER])
BALLOTS = st.one_of(
    st.builds(b, st.integers(0, 8), st.sampled_from([1, 2, 3])),
    st.sampled_from([-1, 0, TERM_MAX, TERM_MAX + 1]),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block | None:
    count = draw(st.integers(0, 4))
    if not count:
        return None
    stamps = sorted(
        b(round, owner)
        for round, owner in draw(
            st.lists(
                st.tuples(st.integers(1, 7), st.sampled_from([1, 2, 3])),
                min_size=count,
                max_size=count,
            )
        )
    )
    first = draw(st.integers(1, 8))
    what = draw(st.integers(0, 9))
    if what < 3:
        return packed(first, stamps, [b"\0"] * count, control=True)
    if what == 3:
        members = Membership(draw(st.sets(st.sampled_from([1, 2, 3, 4]), min_size=1)))
        return packed(first, stamps, [b"\1" + members.to_bytes()] * count, control=True)
    return packed(first, stamps, [b"x"] * count)


FIELDS = message_checks.FIELDS | {
    "sender": IDS,
    "term": BALLOTS,
    "ballot": BALLOTS,
    "attempt": st.integers(-1, 3),
    "probe": st.booleans(),
    "asked_in": st.integers(-1, 2**34),
    "report": st.integers(0, 1),
    "part": st.integers(-1, 2),
    "parts": st.integers(0, 3),
    "block": blocks(),
    "first": INDICES,
    "last": INDICES,
    "membership": st.sampled_from([MEMBERS, MEMBERS, b"", JOINT]),
}


@st.composite
def nearly_honest(draw: st.DrawFn) -> Any:
    sender, round = draw(st.sampled_from([2, 3])), draw(st.integers(2, 8))
    ballot, block = b(round, sender), draw(blocks())
    commit = draw(st.integers(0, 6))
    own = b(draw(st.integers(1, 8)), 1)
    attempt = draw(st.integers(0, 3))
    if block is not None:
        lower = [min(block.term(slot), b(1, 3)) for slot in range(block.first, block.last + 1)]
        control = block.is_control(block.first)
        payloads = [bytes(block[slot]) for slot in range(block.first, block.last + 1)]
        found = packed(block.first, lower, payloads, control)
        block = packed(block.first, ballot, payloads, control)
    else:
        found = None
    what = draw(st.integers(0, 4))
    if what == 0:
        return Prepare(sender, 1, ballot, commit, 1, draw(st.booleans()), draw(st.booleans()))
    if what == 1:
        return Promise(sender, 1, own, attempt, draw(st.booleans()), 0, 0, 1, found)
    if what == 2 and block is not None:
        return Learn(sender, 1, ballot, max(commit, block.last), block)
    return Accept(sender, 1, ballot, commit, draw(st.integers(0, 2)), block)


MESSAGES = st.one_of(
    [
        st.builds(kind, **{field: FIELDS[field] for field in kind.FIELDS})
        for kind in sorted(kinds_of(messages), key=lambda kind: kind.__name__)
    ]
    + [nearly_honest()] * 4
)
STEPS = st.one_of(
    MESSAGES,
    MESSAGES,
    MESSAGES,
    st.integers(1, 25),
    st.sampled_from(["campaign", "propose", "read", "transfer", "elect", "work"]),
)


def elect_somehow(core: MultiPaxos) -> None:
    for _ in range(2):
        if core.role in ("probing", "candidate"):
            core.step(promise(core, 2))
            work(core)


def seen_of(core: MultiPaxos) -> tuple[Any, ...]:
    return (
        *(core.term, core.vote, core.role, core.leader, core.commit, core.last_applied),
        *(core.log.base, core.log.last, core.log.last_term, blocks_of(core)),
        *(list(core.memberships), set(core.promised_by)),
    )


@settings(max_examples=400 if not kernels.PURE else 100)
@given(st.integers(0, 2), st.lists(STEPS, max_size=40), st.booleans())
def test_any_messages_in_any_order(commit: int, steps: list[Any], lazy: bool) -> None:
    """No exception; what is refused changes nothing; what an acceptor promises holds after each
    step."""
    core = paxos(accepted=[b(1, 3), b(1, 3), b(2, 2)], term=b(2, 2), commit=commit, config=SETTINGS)
    committed: dict[int, bytes] = {}
    seen = (core.term, core.commit, core.last_applied)
    for step in steps:
        before, rejected = seen_of(core), sum(core.rejected.values())
        try:
            perform(core, step, elect_somehow)
            if isinstance(step, Message) and sum(core.rejected.values()) > rejected:
                checksum = "snapshot with a wrong checksum"
                assert checksum in core.rejected or seen_of(core) == before
            if not lazy:
                work(core)
        except Exception as error:
            raise AssertionError(f"{step!r}") from error
        log = core.log
        assert core.last_applied <= core.commit <= log.last
        assert core.stable <= log.last
        now = (core.term, core.commit, core.last_applied)
        assert all(old <= new for old, new in zip(seen, now, strict=True)), (seen, now)
        seen = now
        assert log.last_term <= core.term
        assert all(block.last > log.last for block in core.aside)
        stamps = [log.term(index) for index in range(log.base, log.last + 1)]
        assert stamps == sorted(stamps)
        for index in range(log.first, core.commit + 1):
            value = bytes(log[index])
            assert committed.setdefault(index, value) == value, "what was committed has changed"
        for peer in core.progress.values():
            assert peer.match <= log.last
            assert peer.round <= core.round
    work(core)


@settings(max_examples=300 if not kernels.PURE else 60)
@given(st.sampled_from(sorted(CAST)), st.lists(MESSAGES, max_size=6))
def test_any_messages_in_every_role(role: str, hostile: list[Any]) -> None:
    """What is refused changes nothing that can be seen; nothing raises."""
    core = CAST[role]()
    for message in hostile:
        before, rejected = state(core), sum(core.rejected.values())
        wrong = core.rejected.get("snapshot with a wrong checksum", 0)
        core.step(message)
        if sum(core.rejected.values()) > rejected and wrong == core.rejected.get(
            "snapshot with a wrong checksum", 0
        ):
            if isinstance(message, Nack):
                continue  # its ballot is remembered, as a hint of how high to go
            assert state(core) == before, f"{message!r} changed something"
    work(core)


def test_a_prepare_of_anyone_is_answered_or_not_but_never_believed() -> None:
    """A stranger may make a node promise: it is asked before it can know all members."""
    core = paxos(accepted=HELD, term=b(4, 3), commit=3, config=SETTINGS)
    (reply,) = answer(core, Prepare(STRANGER, 1, b(6, STRANGER), 3, 1))
    assert isinstance(reply, Promise)
    assert (core.leader, core.commit) == (None, 3)
    assert answer(core, prepare(core, b(7, 2), 3))
