"""What a caller can do wrong: each a typed error that says what to do, and nothing has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core_group import work
from raft_group import Group, acknowledge, elect, raft, stored

from ringleader.consensus.log import Log
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.raft import Config, Raft
from ringleader.consensus.raft.messages import AppendEntries, AppendReply, InstallSnapshot
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
from ringleader.hashing import crc32c
from ringleader.limits import BLOCK_BYTES_MAX, BLOCK_ENTRIES_MAX, TIMER_TICKS_MAX

VOTERS = [1, 2, 3]


def leader(config: Config | None = None) -> Raft:
    core = raft(config=config or Config())
    elect(core)
    acknowledge(core, 2)
    acknowledge(core, 3)
    assert core.commit == 1
    return core


# --- making one ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"id": 0}, MembershipError),
        ({"id": -1}, MembershipError),
        ({"id": ""}, MembershipError),
        ({"id": 1.5}, MembershipError),
        ({"id": None}, MembershipError),
        ({"id": True}, MembershipError),
        ({"voters": [1, 1]}, MembershipError),
        ({"voters": [0]}, MembershipError),
        ({"config": {"election_ticks": 10}}, ConfigError),
        ({"log": Log(5, 1)}, LogError),  # begins after 5, without a snapshot
        ({"log": Log(5, 1), "snapshot": (4, 1), "hard_state": HardState(1)}, LogError),
        ({"log": Log(5, 1), "snapshot": (6, 1), "hard_state": HardState(1)}, LogError),
        ({"log": Log(5, 1), "snapshot": (5, 2), "hard_state": HardState(2)}, LogError),
        ({"log": Log(5, 3), "snapshot": (5, 3), "hard_state": HardState(2)}, LogError),
    ],
)
def test_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    arguments = {"id": 1, "voters": VOTERS} | arguments
    if "snapshot" in arguments:
        index, term = arguments["snapshot"]
        arguments["snapshot"] = Snapshot(index, term, Membership(VOTERS), BytesSource(b""), 0)
    with pytest.raises(error) as caught:
        Raft(**arguments)
    assert isinstance(caught.value, RingleaderError)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"election_ticks": 1}, "election_ticks=1"),
        ({"election_ticks": TIMER_TICKS_MAX}, "election_ticks"),
        ({"election_ticks": 10.0}, "no integer"),
        ({"election_ticks": True}, "no integer"),
        ({"heartbeat_ticks": 0}, "heartbeat_ticks=0"),
        ({"heartbeat_ticks": 10}, "must be below election_ticks"),
        ({"heartbeat_ticks": 11}, "must be below election_ticks"),
        ({"max_block_bytes": 0}, "max_block_bytes"),
        ({"max_block_bytes": BLOCK_BYTES_MAX + 1}, "max_block_bytes"),
        ({"max_inflight_entries": 0}, "max_inflight_entries"),
        ({"max_inflight_bytes": 0}, "max_inflight_bytes"),
        ({"max_uncommitted_bytes": -1}, "max_uncommitted_bytes"),
        ({"max_apply_bytes": 0}, "max_apply_bytes"),
        ({"snapshot_chunk_bytes": 0}, "snapshot_chunk_bytes"),
        ({"max_inflight_chunks": 0}, "max_inflight_chunks"),
        ({"max_pending_reads": 0}, "max_pending_reads"),
        ({"priority_ticks": -1}, "priority_ticks"),
        ({"clock_drift": -0.1}, "clock_drift"),
        ({"clock_drift": 1.0}, "clock_drift"),
        ({"clock_drift": float("nan")}, "clock_drift"),
        ({"lease": True, "check_quorum": False}, "needs check_quorum"),
        ({"lease": True, "election_ticks": 3}, "raise election_ticks"),
        ({"lease": True, "clock_drift": 0.9}, "raise election_ticks"),
    ],
)
def test_settings(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Config(**settings)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Config().lease = True  # type: ignore[misc]


# --- the order of things ---------------------------------------------------------------------


def test_ready_without_has_ready() -> None:
    core = raft()
    assert not core.has_ready
    with pytest.raises(MisuseError, match="has_ready"):
        core.ready()


def test_advance_of_what_was_never_taken() -> None:
    core = leader()
    for make in (core.advance, core.persisted):
        fake = Ready(10_000)
        fake.hard_state = HardState(7)
        with pytest.raises(MisuseError):
            make(fake)


def test_advance_of_one_made_up() -> None:
    """Also with a number that was given out: it is not the one that was taken."""
    core = leader()
    core.propose([b"a"])
    taken = core.ready()
    fake = Ready(taken.number)
    with pytest.raises(MisuseError):
        core.advance(fake)
    core.advance(taken)


def test_advance_twice() -> None:
    core = leader()
    core.propose([b"a"])
    ready = core.ready()
    core.advance(ready)
    with pytest.raises(MisuseError):
        core.advance(ready)
    with pytest.raises(MisuseError):
        core.persisted(ready)


def test_advance_out_of_order() -> None:
    core = leader()
    core.propose([b"a"])
    first = core.ready()
    core.propose([b"b"])
    second = core.ready()
    for report in (core.advance, core.persisted):
        with pytest.raises(MisuseError, match=r"oldest|order"):
            report(second)
        assert core.stable == 1
    core.advance(first)
    core.advance(second)
    assert core.stable == 3


@pytest.mark.parametrize("index", [-1, 0, 1, 3, 2**40])
def test_applied_out_of_range(index: int) -> None:
    core = raft(terms=[1, 1, 1], term=1, commit=3, config=Config(max_apply_bytes=1))
    ready = core.ready()
    assert (ready.committed.first, ready.committed.last) == (1, 1)
    core.advance(ready)
    ready = core.ready()
    assert ready.committed.last == 2
    if index == 1:
        core.applied(2)
    with pytest.raises(MisuseError, match="handed over up to 2"):
        core.applied(index)
    if index != 1:
        core.applied(2)
    assert core.last_applied == 2


def test_types() -> None:
    core = leader()
    calls: list[Callable[[], object]] = [
        lambda: core.propose("text"),
        lambda: core.propose(b"bytes"),
        lambda: core.propose([1]),  # type: ignore[list-item]
        lambda: core.propose([b"a", None]),  # type: ignore[list-item]
        lambda: core.propose(None),  # type: ignore[arg-type]
        lambda: core.applied("1"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
        assert core.log.last == 1
        assert not core.has_ready


# --- proposals -------------------------------------------------------------------------------


def test_propose_over_the_bound() -> None:
    core = leader(Config(max_uncommitted_bytes=100))
    assert core.propose([b"x" * 1000]) == 2  # one is always taken
    before = (core.log.last, core.log.payload_bytes, core.uncommitted_bytes)
    with pytest.raises(ProposalRefused, match="max_uncommitted_bytes=100"):
        core.propose([b"x"])
    assert (core.log.last, core.log.payload_bytes, core.uncommitted_bytes) == before
    work(core)
    acknowledge(core, 2)
    assert core.uncommitted_bytes == 0
    assert core.propose([b"x"]) == 3
    assert core.propose([b"x"]) == 4


def test_propose_more_than_a_block_takes() -> None:
    core = leader()
    with pytest.raises(LimitError):
        core.propose([b""] * (BLOCK_ENTRIES_MAX + 1))
    assert core.log.last == 1
    assert core.propose([]) == 2
    assert core.log.last == 1


def test_propose_elsewhere() -> None:
    core = raft()
    with pytest.raises(NotLeader, match="not the leader") as caught:
        core.propose([b"a"])
    assert caught.value.leader is None
    core.step(AppendEntries(2, 1, 1, 0, 0, 0, 1))
    calls: list[Callable[[], object]] = [
        lambda: core.propose([b"a"]),
        lambda: core.change_config(ConfChange(voters=[4])),
        lambda: core.transfer(3),
    ]
    for call in calls:
        with pytest.raises(NotLeader, match="2 is") as caught:
            call()
        assert caught.value.leader == 2


def test_forward_without_a_leader_and_to_oneself() -> None:
    core = raft()
    with pytest.raises(NotLeader, match="no leader is known"):
        core.forward([b"a"])
    with pytest.raises(NotLeader, match="no leader is known"):
        core.read_index(b"x")
    core = leader()
    with pytest.raises(NotLeader, match=r"propose\(\) here"):
        core.forward([b"a"])


def test_propose_after_leaving_the_group() -> None:
    core = leader()
    core.change_config(ConfChange(remove=[1]))
    with pytest.raises(ProposalRefused, match="left the group"):
        core.propose([b"a"])
    assert core.role == "leader"


def test_too_many_reads() -> None:
    core = leader(Config(max_pending_reads=2))
    core.read_index(b"1")
    core.read_index(b"2")
    with pytest.raises(ProposalRefused, match="2 reads are waiting"):
        core.read_index(b"3")


# --- campaigning, transfer, membership -------------------------------------------------------


def test_campaign_of_who_cannot_lead() -> None:
    for voters in (
        Membership([2, 3]),
        Membership([2, 3], learners=[1]),
        Membership([1, 2, 3], witnesses=[1]),
        Membership(),
    ):
        core = raft(voters=voters)
        with pytest.raises(MembershipError, match="cannot lead"):
            core.campaign()
        core.tick(1000)
        assert not core.has_ready


def test_campaign_of_the_leader_is_nothing() -> None:
    core = leader()
    core.campaign()
    assert (core.role, core.term, core.has_ready) == ("leader", 1, False)


@pytest.mark.parametrize("to", [4, 99, "2", None])
def test_transfer_to_a_stranger(to: Any) -> None:
    core = leader()
    with pytest.raises(MembershipError, match="no voter"):
        core.transfer(to)
    assert core.transferee is None


def test_change_during_a_transfer() -> None:
    core = leader()
    core.transfer(2)
    with pytest.raises(ProposalRefused, match="handed to 2"):
        core.change_config(ConfChange(voters=[4]))
    with pytest.raises(ProposalRefused, match="handed to 2"):
        core.propose([b"a"])


def test_a_change_that_is_impossible_leaves_nothing() -> None:
    core = leader()
    for change in (ConfChange(remove=[9]), ConfChange(voters=[2]), ConfChange.leave_joint()):
        with pytest.raises(MembershipError):
            core.change_config(change)
    assert (core.log.last, core.membership, core.has_ready) == (1, Membership(VOTERS), False)


# --- snapshots -------------------------------------------------------------------------------


def snapshot(index: int, term: int) -> Snapshot:
    return Snapshot(index, term, Membership(VOTERS), BytesSource(b""), 0)


def compactable() -> Raft:
    core = raft(terms=[1, 1, 2, 2, 2], term=2, commit=4)
    work(core)
    assert (core.last_applied, core.log.last) == (4, 5)
    return core


@pytest.mark.parametrize(
    ("index", "term", "keep", "why"),
    [
        (5, 2, None, "outside what was applied"),  # in the log, not applied
        (9, 2, None, "outside what was applied"),
        (4, 1, None, "of term 2"),
        (2, 2, None, "of term 1"),
        (3, 2, 5, "would drop entries"),
        (3, 2, 100, "would drop entries"),
    ],
)
def test_compact_what_cannot_be(index: int, term: int, keep: int | None, why: str) -> None:
    core = compactable()
    with pytest.raises(MisuseError, match=why):
        core.compact(snapshot(index, term), keep)
    assert (core.log.base, core.log.last, core.snapshot) == (0, 5, None)


def test_compact_back() -> None:
    core = compactable()
    core.compact(snapshot(4, 2), 3)
    assert core.log.base == 2
    with pytest.raises(MisuseError, match="newer snapshot already, at 4"):
        core.compact(snapshot(3, 2))
    with pytest.raises(MisuseError, match="outside"):
        core.compact(snapshot(1, 1))
    core.compact(snapshot(4, 2))
    assert (core.log.base, core.snapshot.index) == (4, 4)


def test_a_received_snapshot_is_read_from_the_storage() -> None:
    group = Group(3)
    core = group.elect(1)
    group.cut(3)
    core.propose([b"a"])
    group.settle()
    group.snapshot(1)
    group.heal()
    core.tick()
    group.work(1)
    for _ in range(3):
        batch, group.network = group.network, []
        for message in batch:
            if message.to == 1:
                core.step(message)
                group.work(1)
            elif message.to == 3:
                target = group.cores[3]
                target.step(message)
                if target.has_ready:
                    ready = target.ready()
                    if ready.snapshot is not None:
                        with pytest.raises(MisuseError, match="open_snapshot"):
                            ready.snapshot.source.read(0, 1)
                        return
                    target.advance(ready)
                    group.network += ready.messages
    raise AssertionError("no snapshot came")


@pytest.mark.parametrize("held", [0, 3, 6, 7])
def test_a_half_received_snapshot(held: int) -> None:
    """It goes on from what is there; also when a crash left all bytes, but not the installation."""
    found = stored([1], 5).load()
    whole = crc32c(b"abcdef")
    core = Raft(
        1,
        VOTERS,
        log=found.log,
        hard_state=found.hard_state,
        partial=(20, 5, 6, whole, held, crc32c(b"abcdefg"[:held])),
    )
    at = 0
    for _ in range(6):
        data = b"abcdef"[at : at + 3]
        core.step(
            InstallSnapshot(2, 1, 5, 20, 5, Membership(VOTERS).to_bytes(), 6, whole, at, data, 1)
        )
        if not (sent := work(core)) or sent[-1].installed:
            break
        at = sent[-1].offset
    assert core.log.base == 20


# --- what only looks wrong -------------------------------------------------------------------


def test_calls_that_change_nothing() -> None:
    core = leader()
    core.tick(0)
    core.wake()
    core.step(AppendReply(2, 1, 1, 1, 1))
    core.transfer(1)
    core.campaign()
    assert not core.has_ready
    assert (core.role, core.term) == ("leader", 1)
