"""What a caller of Multi-Paxos can do wrong: each a typed error that says what to do, and nothing
has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from core_group import work
from paxos_group import PLAIN, accepted, b, heartbeat, leading, packed, paxos

from ringleader.consensus.log import Log
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.paxos import Config, MultiPaxos
from ringleader.consensus.raft import Config as RaftConfig
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot
from ringleader.errors import (
    ConfigError,
    LimitError,
    LogError,
    MembershipError,
    MisuseError,
    NotLeader,
    ProposalRefused,
    RingleaderError,
)
from ringleader.limits import BLOCK_ENTRIES_MAX, TERM_MAX

VOTERS = [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"id": 0}, MembershipError),
        ({"id": ""}, MembershipError),
        ({"id": None}, MembershipError),
        ({"voters": [1, 1]}, MembershipError),
        ({"voters": Membership([1, 2], outgoing=[1, 3])}, MembershipError),
        ({"voters": Membership([1, 2, 3], witnesses=[2])}, MembershipError),
        ({"config": RaftConfig()}, ConfigError),
        ({"config": {"window": 3}}, ConfigError),
        ({"hard_state": HardState(TERM_MAX)}, LogError),
        ({"log": Log(5, 1)}, LogError),
        ({"log": Log(5, 1), "snapshot": (4, 1), "hard_state": HardState(1)}, LogError),
        ({"log": Log(5, 1), "snapshot": (6, 1), "hard_state": HardState(1)}, LogError),
        ({"log": Log(5, 3), "snapshot": (5, 3), "hard_state": HardState(2)}, LogError),
        ({"aside": [packed(3, 9, [b"x"])], "hard_state": HardState(8)}, LogError),
    ],
)
def test_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    arguments = {"id": 1, "voters": VOTERS} | arguments
    if "snapshot" in arguments:
        index, term = arguments["snapshot"]
        arguments["snapshot"] = Snapshot(index, term, Membership(VOTERS), BytesSource(b""), 0)
    with pytest.raises(error) as caught:
        MultiPaxos(**arguments)
    assert isinstance(caught.value, RingleaderError)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"window": 0}, "window=0"),
        ({"window": True}, "no integer"),
        ({"window": BLOCK_ENTRIES_MAX + 1}, "window"),
        ({"max_aside_bytes": 0}, "max_aside_bytes"),
        ({"heartbeat_ticks": 10}, "must be below election_ticks"),
        ({"lease": True, "check_quorum": False}, "needs check_quorum"),
    ],
)
def test_settings(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Config(**settings)


@pytest.mark.parametrize("makes", [lambda voters: 1 / 0, lambda voters: "two of them"])
def test_a_quorum_function_that_makes_none(makes: Any) -> None:
    with pytest.raises(MembershipError, match="quorum"):
        paxos(config=replace(PLAIN, quorum=makes))


def test_a_change_for_which_there_is_no_quorum_system() -> None:
    def three(voters: tuple[Any, ...]) -> Any:
        return Config().quorum(voters) if len(voters) == 3 else None

    core = leading(config=replace(PLAIN, quorum=three))
    with pytest.raises(MembershipError, match="for the voters"):
        core.change_config(ConfChange(voters=[4]))
    assert (core.log.last, core.has_ready) == (0, False)


# --- the order of things ---------------------------------------------------------------------


def test_ready_without_has_ready() -> None:
    core = paxos()
    with pytest.raises(MisuseError, match="has_ready"):
        core.ready()


def test_time_goes_forward() -> None:
    core = paxos()
    for count in (-1, 2**40 + 1):
        with pytest.raises(MisuseError, match="number of ticks"):
            core.tick(count)
    assert core.now == 0


def test_advance_of_what_was_never_taken() -> None:
    core = leading()
    for report in (core.advance, core.persisted):
        fake = Ready(10_000)
        fake.hard_state = HardState(7)
        with pytest.raises(MisuseError):
            report(fake)
    core.propose([b"a"])
    taken = core.ready()
    with pytest.raises(MisuseError):
        core.advance(Ready(taken.number))
    core.advance(taken)
    with pytest.raises(MisuseError):
        core.advance(taken)


def test_advance_out_of_order() -> None:
    core = leading()
    core.propose([b"a"])
    first = core.ready()
    core.propose([b"b"])
    second = core.ready()
    for report in (core.advance, core.persisted):
        with pytest.raises(MisuseError, match=r"oldest|order"):
            report(second)
        assert core.stable == 0
    core.advance(first)
    core.advance(second)
    assert core.stable == 2


@pytest.mark.parametrize("index", [-1, 0, 3, 2**40])
def test_applied_out_of_range(index: int) -> None:
    core = paxos(accepted=[b(1, 2)] * 3, commit=2)
    ready = core.ready()
    assert ready.committed is not None
    core.applied(1)
    with pytest.raises(MisuseError, match="handed over up to 2"):
        core.applied(index)
    assert core.last_applied == 1


# --- proposals, reads ------------------------------------------------------------------------


def test_types() -> None:
    core = leading()
    calls: list[Callable[[], object]] = [
        lambda: core.propose("text"),
        lambda: core.propose(b"bytes"),
        lambda: core.propose([1]),  # type: ignore[list-item]
        lambda: core.propose([b"a", None]),  # type: ignore[list-item]
        lambda: core.propose(None),  # type: ignore[arg-type]
        lambda: core.read_index("text"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
        assert (core.log.last, core.has_ready) == (0, False)


def test_propose_over_the_bounds() -> None:
    core = leading(config=replace(PLAIN, window=5, max_uncommitted_bytes=100))
    with pytest.raises(LimitError, match="6 payloads at once: at most 5"):
        core.propose([b""] * 6)
    assert core.propose([b"x" * 1000]) == 1  # one is always taken
    before = (core.log.last, core.log.payload_bytes, core.uncommitted_bytes)
    with pytest.raises(ProposalRefused, match="max_uncommitted_bytes=100"):
        core.propose([b"x"])
    assert (core.log.last, core.log.payload_bytes, core.uncommitted_bytes) == before
    work(core)
    accepted(core, 2)
    assert core.propose([b"x"]) == 2


def test_propose_elsewhere() -> None:
    core = paxos()
    for call in (lambda: core.forward([b"a"]), lambda: core.read_index(b"x")):
        with pytest.raises(NotLeader, match="no leader is known"):
            call()
    core.step(heartbeat(core, b(1, 2)))
    work(core)
    calls: list[Callable[[], object]] = [
        lambda: core.propose([b"a"]),
        lambda: core.change_config(ConfChange(voters=[4])),
        lambda: core.transfer(3),
    ]
    for call in calls:
        with pytest.raises(NotLeader, match="2 is") as caught:
            call()
        assert caught.value.leader == 2
    with pytest.raises(LimitError):
        core.forward([b""] * (core.config.window + 1))
    with pytest.raises(TypeError):
        core.forward(["text"])  # type: ignore[list-item]
    assert not core.has_ready
    with pytest.raises(NotLeader, match=r"propose\(\) here"):
        leading().forward([b"a"])


def test_too_many_reads() -> None:
    core = leading(config=replace(PLAIN, max_pending_reads=2))
    core.read_index(b"1")
    core.read_index(b"2")
    with pytest.raises(ProposalRefused, match="2 reads are waiting"):
        core.read_index(b"3")


# --- campaigning, transfer, membership, snapshots --------------------------------------------


def test_campaign_of_who_cannot_lead() -> None:
    for voters in (Membership([2, 3]), Membership([2, 3], learners=[1]), Membership()):
        core = paxos(voters=voters)
        with pytest.raises(MembershipError, match="cannot lead"):
            core.campaign()
        core.tick(1000)
        assert not core.has_ready


@pytest.mark.parametrize("to", [4, 99, "2", None])
def test_transfer_to_a_stranger(to: Any) -> None:
    core = leading()
    with pytest.raises(MembershipError, match="no voter"):
        core.transfer(to)
    assert core.transferee is None


def test_a_change_that_is_impossible_leaves_nothing() -> None:
    core = leading()
    for change in (
        ConfChange(remove=[9]),
        ConfChange(voters=[2]),
        ConfChange(remove=[1, 2, 3]),
        ConfChange(witnesses=[4]),
        ConfChange.leave_joint(),
    ):
        with pytest.raises(MembershipError):
            core.change_config(change)
    assert (core.log.last, core.membership, core.has_ready) == (0, Membership(VOTERS), False)
    core.transfer(2)
    for call in (
        lambda: core.change_config(ConfChange(voters=[4])),
        lambda: core.propose([b"a"]),
    ):
        with pytest.raises(ProposalRefused, match="handed to 2"):
            call()


def test_a_change_into_a_full_window() -> None:
    core = leading(config=replace(PLAIN, window=2))
    core.propose([b"a", b"b"])
    with pytest.raises(ProposalRefused, match="window is full"):
        core.change_config(ConfChange(voters=[4]))


@pytest.mark.parametrize(
    ("index", "term", "keep", "voters", "why"),
    [
        (5, b(2, 2), None, VOTERS, "outside what was applied"),
        (4, b(1, 2), None, VOTERS, "is of term"),
        (3, b(2, 2), 5, VOTERS, "would drop entries"),
        (3, b(2, 2), None, [], "unusable"),
        (3, b(2, 2), None, [1, 2], "ask membership_at"),
    ],
)
def test_compact_what_cannot_be(
    index: int, term: int, keep: int | None, voters: list[int], why: str
) -> None:
    core = paxos(accepted=[b(1, 2)] * 2 + [b(2, 2)] * 3, commit=4)
    work(core)
    snapshot = Snapshot(index, term, Membership(voters), BytesSource(b""), 0)
    with pytest.raises(MisuseError, match=why):
        core.compact(snapshot, keep)
    assert (core.log.base, core.log.last, core.snapshot) == (0, 5, None)


def test_compact_back() -> None:
    core = paxos(accepted=[b(1, 2)] * 5, commit=4)
    work(core)
    core.compact(Snapshot(4, b(1, 2), Membership(VOTERS), BytesSource(b""), 0), 3)
    assert core.log.base == 2
    with pytest.raises(MisuseError, match="newer snapshot already, at 4"):
        core.compact(Snapshot(3, b(1, 2), Membership(VOTERS), BytesSource(b""), 0))


def test_calls_that_change_nothing() -> None:
    core = leading()
    core.tick(0)
    core.transfer(1)
    core.campaign()
    assert core.propose([]) == 1
    assert (core.role, core.term, core.has_ready) == ("leader", b(1, 1), False)
