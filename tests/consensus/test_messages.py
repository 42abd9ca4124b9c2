"""Messages that no honest peer sends: rejected, counted, and nothing has changed.

Then messages in any order at all: whatever comes, a core keeps what Raft promises.
"""

from __future__ import annotations

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
from raft_group import Group, elect, raft

from ringleader import kernels
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.raft import Config, Raft, messages, wire
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    Propose,
    ProposeReply,
    Quiesce,
    ReadReply,
    ReadRequest,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from ringleader.limits import INDEX_MAX, TERM_MAX


def state(core: Raft) -> dict[str, Any]:
    return dump(
        core,
        *("role", "now", "deadline", "heard", "quorum_due", "ballots", "round", "round_acked"),
        *("term_start", "memberships", "applying", "transferee"),
    )


def rejects(core: Raft, message: Any) -> None:
    message_checks.rejects(core, message, state)


# --- the cast: a core in each role -----------------------------------------------------------


def follower() -> Raft:
    """Of 2, in term 5; five entries, of which three are committed and applied."""
    core = raft(terms=[1, 1, 3, 3, 4], term=5, commit=3, config=Config())
    core.step(AppendEntries(2, 1, 5, 5, 4, 3, 1))
    work(core)
    assert (core.role, core.leader, core.commit) == ("follower", 2, 3)
    return core


def leader() -> Raft:
    core = raft(terms=[1, 1, 3, 3, 4], term=4, commit=3, config=Config())
    elect(core)
    core.step(AppendReply(2, 1, 5, 6, 1))
    work(core)
    assert (core.role, core.term, core.commit) == ("leader", 5, 6)
    return core


def candidate() -> Raft:
    core = raft(terms=[1, 1, 3, 3, 4], term=4, commit=3)
    core.campaign()
    work(core)
    assert (core.role, core.term) == ("candidate", 5)
    return core


def receiver() -> Raft:
    """A follower amid a snapshot."""
    core = follower()
    answer(core, InstallSnapshot(2, 1, 5, 20, 5, MEMBERS, 6, 7, 0, b"abc", 1))
    return core


CAST = {"follower": follower, "leader": leader, "candidate": candidate, "receiver": receiver}


def templates(to: int = 1, term: int = 5, sender: int = 2) -> list[Any]:
    """One message of each type, such as an honest peer may send."""
    block = Block.pack(6, term, [b"x"])
    return [
        RequestVote(sender, to, term + 1, 5, 4),
        VoteReply(sender, to, term, True),
        AppendEntries(sender, to, term, 5, 4, 3, 1, block),
        AppendReply(sender, to, term, 5, 1),
        InstallSnapshot(sender, to, term, 20, 5, MEMBERS, 6, 7, 3, b"def", 1),
        SnapshotReply(sender, to, term, 5, 0, True, 1),
        TimeoutNow(sender, to, term),
        Quiesce(sender, to, term, 5),
        ReadRequest(sender, to, term, b"x"),
        ReadReply(sender, to, term, b"x", 3),
        Propose(sender, to, term, 1, (b"x",)),
        ProposeReply(sender, to, term, 1, 6),
    ]


#: Values that a field can never have.
IMPOSSIBLE = message_checks.IMPOSSIBLE | {
    "last_index": [-1, INDEX_MAX + 1],
    "last_term": [-1, 6, TERM_MAX],
    "prev_index": [-1, INDEX_MAX + 1],
    "prev_term": [-1, 6, 0],
    "match": [-1, INDEX_MAX + 1],
    "hint_index": [-1, INDEX_MAX + 1],
    "hint_term": [-1, TERM_MAX + 1],
    "index_term": [-1, 0, 6],
    "offset": [-1, 4, 2**62],
    "granted": [],
    "pre": [],
    "transfer": [],
    "refused": [],
    "installed": [],
}


def _is_judged_below(template: Any, field: str, value: Any) -> bool:
    """Against what is being sent."""
    return isinstance(template, SnapshotReply) and field == "offset" and value != -1


def test_every_field_has_impossible_values_or_none() -> None:
    named = {field for template in templates() for field in type(template).FIELDS}
    assert named == set(IMPOSSIBLE)
    assert {type(template) for template in templates()} == kinds_of(messages)


@pytest.mark.parametrize("role", CAST)
@pytest.mark.parametrize("message", impossible(templates(), IMPOSSIBLE, _is_judged_below))
def test_impossible_fields(role: str, message: Any) -> None:
    rejects(CAST[role](), message)


@pytest.mark.parametrize("role", CAST)
@pytest.mark.parametrize(
    "message",
    [AppendEntries(2, 1, 0, 0, 0, 0, 1), RequestVote(2, 1, 0, 0, 0), RequestVote(2, 1, 6, 0, 3)],
)
def test_impossible_beginnings(role: str, message: Any) -> None:
    rejects(CAST[role](), message)


SAME_OR_HIGHER = pytest.mark.parametrize("term", [5, 7], ids=["same term", "higher term"])


@SAME_OR_HIGHER
@pytest.mark.parametrize(
    ("prev", "first", "terms"),
    [
        ((5, 4), 7, [5]),  # a gap
        ((5, 4), 5, [5]),  # an overlap
        ((5, 4), 6, [3]),  # terms that go back
        ((3, 3), 6, [5]),
        ((0, 0), 7, [5]),  # as if it followed the beginning
        ((2, 1), 9, [5, 5]),
        ((1, 1), 4, [5]),
    ],
)
def test_blocks_that_do_not_fit(
    term: int, prev: tuple[int, int], first: int, terms: list[int]
) -> None:
    block = Block.pack(first, terms, [b"x"] * len(terms))
    rejects(follower(), AppendEntries(2, 1, term, *prev, 3, 1, block))


@SAME_OR_HIGHER
@pytest.mark.parametrize(
    ("prev", "terms"),
    [
        ((0, 0), [2, 2, 2, 2]),  # another history altogether
        ((2, 1), [4, 4]),  # at the commit index
        ((0, 0), [1, 2, 3, 3]),  # below it, and right at it
        ((0, 0), [1, 3, 3, 5]),
        ((1, 1), [3, 3, 5]),
    ],
)
def test_conflicts_below_commit(term: int, prev: tuple[int, int], terms: list[int]) -> None:
    block = Block.pack(prev[0] + 1, terms, [b"x"] * len(terms))
    rejects(follower(), AppendEntries(2, 1, term, *prev, 3, 1, block))


def test_late_and_repeated_blocks_change_nothing() -> None:
    """They are no hostile ones: answered, and the log is as it was."""
    for prev, terms in (((0, 0), [1]), ((0, 0), [1, 1, 3]), ((2, 1), [3]), ((2, 1), [3, 3, 4])):
        core = follower()
        block = Block.pack(prev[0] + 1, terms, [b"x"] * len(terms))
        before = state(core)
        (reply,) = answer(core, AppendEntries(2, 1, 5, *prev, 3, 1, block))
        assert not reply.refused
        assert reply.match >= 3
        assert state(core) == before


@pytest.mark.parametrize("term", [5, 6], ids=["same term", "higher term"])
@pytest.mark.parametrize(
    "payload", [b"", b"\2", b"\0\0", b"\1", b"\1" + MEMBERS[:-1], b"\1" + Membership().to_bytes()]
)
def test_unknown_control_entries(term: int, payload: bytes) -> None:
    block = Block.pack(6, 5, [payload], control=True)
    rejects(follower(), AppendEntries(2, 1, term, 5, 4, 3, 1, block))


def test_a_second_leader_in_one_term() -> None:
    for core, sender in ((follower(), 3), (leader(), 2), (receiver(), 3)):
        rejects(core, AppendEntries(sender, 1, 5, 5, 4, 3, 1))
        rejects(core, AppendEntries(sender, 1, 5, 5, 4, 3, 1, Block.pack(6, 5, [b"x"])))
        rejects(core, InstallSnapshot(sender, 1, 5, 20, 5, MEMBERS, 1, 7, 0, b"x", 1))


@pytest.mark.parametrize("term", [5, 6], ids=["same term", "higher term"])
@pytest.mark.parametrize("offset", [0, 3], ids=["first chunk", "last chunk"])
@pytest.mark.parametrize("membership", [b"", b"\xff" * 40, MEMBERS[:-1], MEMBERS + b"x"])
def test_snapshots_of_an_impossible_membership(term: int, offset: int, membership: bytes) -> None:
    rejects(receiver(), InstallSnapshot(2, 1, term, 20, 5, membership, 6, 7, offset, b"def", 1))


@pytest.mark.parametrize("index_term", [1, 2])
def test_snapshots_older_in_term_than_what_is_committed(index_term: int) -> None:
    """Entry 3 is committed here in term 3: a later one cannot be of an earlier term."""
    rejects(follower(), InstallSnapshot(2, 1, 5, 9, index_term, MEMBERS, 1, 7, 0, b"x", 1))


@pytest.mark.parametrize(
    "message",
    [
        AppendReply(2, 1, 5, 7, 1),  # beyond the log
        AppendReply(2, 1, 5, 5, 2),  # a round that was never sent
        AppendReply(2, 1, 5, 5, 2, True, 4, 3),
        SnapshotReply(2, 1, 5, 7, 0, True, 1),
        SnapshotReply(2, 1, 5, 5, 0, True, 2),
        AppendReply(STRANGER, 1, 5, 5, 1),
        SnapshotReply(STRANGER, 1, 5, 5, 0, True, 1),
        ReadRequest(STRANGER, 1, 5, b"x"),
        Propose(STRANGER, 1, 5, 1, (b"x",)),
        Propose(2, 1, 5, 1, ("text",)),  # type: ignore[arg-type]
        Propose(2, 1, 5, 1, (b"x", 7)),  # type: ignore[arg-type]
    ],
)
def test_answers_and_requests_that_a_leader_cannot_get(message: Any) -> None:
    rejects(leader(), message)


def test_a_snapshot_reply_beyond_the_snapshot() -> None:
    group = Group(3, Config())
    core = group.elect(1)
    group.cut(3)
    core.propose([b"a"])
    group.settle()
    group.snapshot(1, b"x" * 100)
    group.heal()
    core.tick()
    group.work(1)
    for message in [message for message in group.network if message.to == 3]:
        group.cores[3].step(message)
    for message in work(group.cores[3]):
        core.step(message)
    assert any(isinstance(message, InstallSnapshot) for message in work(core))
    rejects(core, SnapshotReply(3, 1, 1, 2, 101, False, core.round))


@pytest.mark.parametrize("term", [5, 6], ids=["same term", "higher term"])
@pytest.mark.parametrize("kind", ["ReadReply", "ProposeReply", "ReadRequest", "Propose"])
@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_strangers(role: str, kind: str, term: int) -> None:
    """Who was never heard of neither answers reads nor raises terms."""
    (message,) = [
        message
        for message in templates(term=term, sender=STRANGER)
        if type(message).__name__ == kind
    ]
    rejects(CAST[role](), message)


@pytest.mark.parametrize("term", [5, 6], ids=["same term", "higher term"])
def test_votes_of_strangers(term: int) -> None:
    rejects(candidate(), VoteReply(STRANGER, 1, term, True))
    rejects(candidate(), VoteReply(STRANGER, 1, term, False))


def test_answers_that_only_a_leader_gives() -> None:
    """3 does not lead term 5, 2 does."""
    rejects(follower(), ReadReply(3, 1, 5, b"x", 2))
    rejects(follower(), ProposeReply(3, 1, 5, 7, 6))


def test_what_is_no_message() -> None:
    refuses_what_is_no_message(follower(), state)


def test_reasons_are_counted_in_the_status() -> None:
    core = follower()
    for _ in range(3):
        core.step(TimeoutNow(2, 7, 5))
    assert core.status().rejected == {"not addressed to this node": 3}


@pytest.mark.parametrize("message", templates(), ids=lambda message: type(message).__name__)
def test_messages_are_values(message: Any) -> None:
    is_a_value(message, 9)


# --- messages in any order -------------------------------------------------------------------

IDS = st.sampled_from([1, 2, 3, STRANGER])
TERMS = st.one_of(st.integers(0, 8), st.sampled_from([-1, TERM_MAX, TERM_MAX + 1]))


@st.composite
def blocks(draw: st.DrawFn) -> Block | None:
    count = draw(st.integers(0, 4))
    if not count:
        return None
    terms = sorted(draw(st.lists(st.integers(1, 7), min_size=count, max_size=count)))
    first = draw(st.integers(1, 8))
    if draw(st.booleans()):
        return Block.pack(first, terms, [b"\0"] * count, control=True)
    if draw(st.integers(0, 9)) == 0:
        members = Membership(draw(st.sets(st.sampled_from([1, 2, 3, 4]), min_size=1)))
        return Block.pack(first, terms, [b"\1" + members.to_bytes()] * count, control=True)
    return Block.pack(first, terms, [b"x"] * count)


FIELDS = message_checks.FIELDS | {
    "sender": IDS,
    "term": TERMS,
    "last_index": INDICES,
    "last_term": TERMS,
    "prev_index": INDICES,
    "prev_term": TERMS,
    "block": blocks(),
    "match": INDICES,
    "hint_index": INDICES,
    "hint_term": TERMS,
    "index_term": TERMS,
    "granted": st.booleans(),
    "pre": st.booleans(),
    "transfer": st.booleans(),
    "refused": st.booleans(),
    "installed": st.booleans(),
    "membership": st.sampled_from([MEMBERS, MEMBERS, b"", b"\1\0\0\0\0\0\0\0\0\0"]),
}


@st.composite
def appends(draw: st.DrawFn) -> AppendEntries:
    """Nearly honest ones."""
    block = draw(blocks())
    prev = block.first - 1 if block is not None else draw(st.integers(0, 6))
    if draw(st.integers(0, 3)) == 0:
        prev = draw(st.integers(0, 6))
    return AppendEntries(
        draw(st.sampled_from([2, 3])),
        1,
        draw(st.integers(2, 8)),
        prev,
        draw(st.integers(1, 3)) if prev else 0,
        draw(st.integers(0, 6)),
        1,
        block,
    )


MESSAGES = st.one_of(
    [
        st.builds(kind, **{field: FIELDS[field] for field in kind.FIELDS})
        for kind in wire.KINDS.values()
    ]
    + [appends()] * 3
)
#: What is done to the core: a message, so many ticks, or a call.
STEPS = st.one_of(
    MESSAGES,
    MESSAGES,
    MESSAGES,
    st.integers(1, 25),
    st.sampled_from(["campaign", "propose", "read", "transfer", "quiesce", "elect", "work"]),
)


def elect_somehow(core: Raft) -> None:
    if core.role in ("candidate", "pre-candidate"):
        pre = core.role == "pre-candidate"
        core.step(VoteReply(2, 1, core.term + pre, True, pre))
        core.step(VoteReply(3, 1, core.term + pre, True, pre))


@settings(max_examples=400 if not kernels.PURE else 100)
@given(st.integers(0, 2), st.lists(STEPS, max_size=40), st.booleans())
def test_any_messages_in_any_order(commit: int, steps: list[Any], lazy: bool) -> None:
    """No exception, and what Raft promises of one node holds after each step."""
    core = raft(terms=[1, 1, 2], term=2, commit=commit, config=Config())
    committed: dict[int, tuple[int, bytes]] = {}
    seen = (core.term, core.commit, core.last_applied)
    vote = (core.term, core.vote)
    for step in steps:
        try:
            perform(core, step, elect_somehow)
            if not lazy:
                work(core)
        except Exception as error:
            raise AssertionError(f"{step!r}") from error
        log = core.log
        assert core.last_applied <= core.commit <= log.last
        assert core.stable <= log.last
        now = (core.term, core.commit, core.last_applied)
        assert all(old <= new for old, new in zip(seen, now, strict=True)), (seen, now)
        if core.term == vote[0] and vote[1] is not None:
            assert core.vote == vote[1], "two votes in one term"
        seen, vote = now, (core.term, core.vote)
        assert log.last_term <= core.term
        terms = [log.term(index) for index in range(log.base, log.last + 1)]
        assert terms == sorted(terms)
        for index in range(log.first, core.commit + 1):
            entry = (log.term(index), bytes(log[index]))
            assert committed.setdefault(index, entry) == entry, "what was committed has changed"
        for peer in core.progress.values():
            assert peer.match < peer.next <= log.last + 1
            assert peer.round <= core.round
    work(core)
