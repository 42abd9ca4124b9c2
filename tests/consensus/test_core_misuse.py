"""What a caller of any core can do wrong: each a typed error that says what to do, and nothing has
changed.

What is Raft's alone is in test_misuse.py, what is Multi-Paxos' alone in test_paxos_misuse.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import paxos_group
import pytest
import raft_group
from core_group import work

from ringleader.consensus.log import Log
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.paxos import Config as PaxosConfig
from ringleader.consensus.paxos import MultiPaxos
from ringleader.consensus.raft import Config as RaftConfig
from ringleader.consensus.raft import Raft
from ringleader.consensus.raft.messages import AppendEntries
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot
from ringleader.errors import (
    ConfigError,
    LogError,
    MembershipError,
    MisuseError,
    NotLeader,
    ProposalRefused,
    RingleaderError,
)
from ringleader.limits import BLOCK_BYTES_MAX, TIMER_TICKS_MAX

VOTERS = [1, 2, 3]


@dataclass(frozen=True)
class Family:
    """What the tests need to know of a family of cores.

    core            its class.
    config          that of its settings.
    new             a core with nothing to do, of three voters unless `voters` says other ones.
    logged          one whose log has entries of these terms.
    leading         a leader with nothing left to do, by these settings.
    led, last       the term that this one leads, and where its log ends.
    acknowledge     a voter holds all of a leader's log.
    heartbeat       what a core hears of 2, who leads term 1.
    term            that of a round; its leader is 2.
    """

    core: Any
    config: Any
    new: Callable[..., Any]
    logged: Callable[[Sequence[int], int, Any], Any]
    leading: Callable[..., Any]
    led: int
    last: int
    acknowledge: Callable[[Any, int], Any]
    heartbeat: Callable[[Any], Any]
    term: Callable[[int], int]


RAFT = Family(
    Raft,
    RaftConfig,
    raft_group.raft,
    lambda terms, commit, config: raft_group.raft(terms=[*terms], commit=commit, config=config),
    lambda **settings: raft_group.leading(RaftConfig(**settings)),
    1,
    1,
    raft_group.acknowledge,
    lambda core: AppendEntries(2, core.id, 1, 0, 0, 0, 1),
    lambda round: round,
)
PAXOS = Family(
    MultiPaxos,
    PaxosConfig,
    paxos_group.paxos,
    lambda terms, commit, config: paxos_group.paxos(
        accepted=[paxos_group.b(round, 2) for round in terms], commit=commit, config=config
    ),
    lambda **settings: paxos_group.leading(config=replace(paxos_group.PLAIN, **settings)),
    paxos_group.b(1, 1),
    0,
    paxos_group.accepted,
    lambda core: paxos_group.heartbeat(core, paxos_group.b(1, 2)),
    lambda round: paxos_group.b(round, 2),
)


@pytest.fixture(params=[RAFT, PAXOS], ids=["raft", "paxos"])
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


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
        ({"log": Log(5, 3), "snapshot": (5, 3), "hard_state": HardState(2)}, LogError),
    ],
)
def test_arguments(family: Family, arguments: dict[str, Any], error: type[Exception]) -> None:
    arguments = {"id": 1, "voters": VOTERS} | arguments
    if "snapshot" in arguments:
        arguments["snapshot"] = snapshot(*arguments["snapshot"])
    with pytest.raises(error) as caught:
        family.core(**arguments)
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
def test_settings(family: Family, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        family.config(**settings)


def test_settings_cannot_be_changed(family: Family) -> None:
    with pytest.raises(AttributeError):
        family.config().lease = True


# --- the order of things ---------------------------------------------------------------------


def test_ready_without_has_ready(family: Family) -> None:
    core = family.new()
    assert not core.has_ready
    with pytest.raises(MisuseError, match="has_ready"):
        core.ready()


def test_time_goes_forward(family: Family) -> None:
    core = family.new()
    for count in (-1, 2**40 + 1):
        with pytest.raises(MisuseError, match="number of ticks"):
            core.tick(count)
    assert core.now == 0


def test_advance_of_what_was_never_taken(family: Family) -> None:
    core = family.leading()
    for report in (core.advance, core.persisted):
        fake = Ready(10_000)
        fake.hard_state = HardState(7)
        with pytest.raises(MisuseError):
            report(fake)


def test_advance_of_one_made_up(family: Family) -> None:
    """Also with a number that was given out: it is not the one that was taken."""
    core = family.leading()
    core.propose([b"a"])
    taken = core.ready()
    with pytest.raises(MisuseError):
        core.advance(Ready(taken.number))
    core.advance(taken)


def test_advance_twice(family: Family) -> None:
    core = family.leading()
    core.propose([b"a"])
    ready = core.ready()
    core.advance(ready)
    for report in (core.advance, core.persisted):
        with pytest.raises(MisuseError):
            report(ready)


def test_advance_out_of_order(family: Family) -> None:
    core = family.leading()
    core.propose([b"a"])
    first = core.ready()
    core.propose([b"b"])
    second = core.ready()
    for report in (core.advance, core.persisted):
        with pytest.raises(MisuseError, match=r"oldest|order"):
            report(second)
        assert core.stable == family.last
    core.advance(first)
    core.advance(second)
    assert core.stable == family.last + 2


@pytest.mark.parametrize("index", [-1, 0, 1, 3, 2**40])
def test_applied_out_of_range(family: Family, index: int) -> None:
    core = family.logged([1, 1, 1], 3, family.config(max_apply_bytes=1))
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


# --- proposals, reads ------------------------------------------------------------------------


def test_types(family: Family) -> None:
    core = family.leading()
    calls: list[Callable[[], object]] = [
        lambda: core.propose("text"),
        lambda: core.propose(b"bytes"),
        lambda: core.propose([1]),
        lambda: core.propose([b"a", None]),
        lambda: core.propose(None),
        lambda: core.applied("1"),
        lambda: core.read_index("text"),
    ]
    for call in calls:
        with pytest.raises(TypeError):
            call()
        assert (core.log.last, core.has_ready) == (family.last, False)


def test_propose_over_the_bound(family: Family) -> None:
    core = family.leading(max_uncommitted_bytes=100)
    assert core.propose([b"x" * 1000]) == family.last + 1  # one is always taken
    before = (core.log.last, core.log.payload_bytes, core.uncommitted_bytes)
    with pytest.raises(ProposalRefused, match="max_uncommitted_bytes=100"):
        core.propose([b"x"])
    assert (core.log.last, core.log.payload_bytes, core.uncommitted_bytes) == before
    work(core)
    family.acknowledge(core, 2)
    assert core.uncommitted_bytes == 0
    assert core.propose([b"x"]) == family.last + 2
    assert core.propose([b"x"]) == family.last + 3


def test_propose_elsewhere(family: Family) -> None:
    core = family.new()
    with pytest.raises(NotLeader, match="not the leader") as caught:
        core.propose([b"a"])
    assert caught.value.leader is None
    core.step(family.heartbeat(core))
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
    with pytest.raises(TypeError):
        core.forward(["text"])
    assert not core.has_ready


def test_forward_without_a_leader_and_to_oneself(family: Family) -> None:
    core = family.new()
    for call in (lambda: core.forward([b"a"]), lambda: core.read_index(b"x")):
        with pytest.raises(NotLeader, match="no leader is known"):
            call()
    with pytest.raises(NotLeader, match=r"propose\(\) here"):
        family.leading().forward([b"a"])


def test_too_many_reads(family: Family) -> None:
    core = family.leading(max_pending_reads=2)
    core.read_index(b"1")
    core.read_index(b"2")
    with pytest.raises(ProposalRefused, match="2 reads are waiting"):
        core.read_index(b"3")


# --- campaigning, transfer, membership -------------------------------------------------------


@pytest.mark.parametrize(
    "voters",
    [Membership([2, 3]), Membership([2, 3], learners=[1]), Membership()],
    ids=["no member", "a learner", "nobody"],
)
def test_campaign_of_who_cannot_lead(family: Family, voters: Membership) -> None:
    core = family.new(voters=voters)
    with pytest.raises(MembershipError, match="cannot lead"):
        core.campaign()
    core.tick(1000)
    assert not core.has_ready


@pytest.mark.parametrize("to", [4, 99, "2", None])
def test_transfer_to_a_stranger(family: Family, to: Any) -> None:
    core = family.leading()
    with pytest.raises(MembershipError, match="no voter"):
        core.transfer(to)
    assert core.transferee is None


def test_change_during_a_transfer(family: Family) -> None:
    core = family.leading()
    core.transfer(2)
    with pytest.raises(ProposalRefused, match="handed to 2"):
        core.change_config(ConfChange(voters=[4]))
    with pytest.raises(ProposalRefused, match="handed to 2"):
        core.propose([b"a"])


@pytest.mark.parametrize(
    "change",
    [
        ConfChange(remove=[9]),
        ConfChange(voters=[2]),
        ConfChange(remove=[1, 2, 3]),
        ConfChange.leave_joint(),
    ],
)
def test_a_change_that_is_impossible_leaves_nothing(family: Family, change: ConfChange) -> None:
    core = family.leading()
    with pytest.raises(MembershipError):
        core.change_config(change)
    assert (core.log.last, core.membership) == (family.last, Membership(VOTERS))
    assert not core.has_ready


# --- snapshots -------------------------------------------------------------------------------


def snapshot(index: int, term: int, voters: Sequence[int] = VOTERS) -> Snapshot:
    return Snapshot(index, term, Membership(voters), BytesSource(b""), 0)


def compactable(family: Family) -> Any:
    core = family.logged([1, 1, 2, 2, 2], 4, family.config())
    work(core)
    assert (core.last_applied, core.log.last) == (4, 5)
    return core


@pytest.mark.parametrize(
    ("index", "round", "keep", "voters", "why"),
    [
        (5, 2, None, VOTERS, "outside what was applied"),  # in the log, not applied
        (9, 2, None, VOTERS, "outside what was applied"),
        (4, 1, None, VOTERS, "of term 2"),
        (2, 2, None, VOTERS, "of term 1"),
        (3, 2, 5, VOTERS, "would drop entries"),
        (3, 2, 100, VOTERS, "would drop entries"),
        (3, 2, None, [], "unusable"),
        (3, 2, None, [1, 2], "ask membership_at"),
    ],
)
def test_compact_what_cannot_be(
    family: Family, index: int, round: int, keep: int | None, voters: list[int], why: str
) -> None:
    core = compactable(family)
    if why.startswith("of term"):
        why = f"of term {family.term(int(why[-1]))}"
    with pytest.raises(MisuseError, match=why):
        core.compact(snapshot(index, family.term(round), voters), keep)
    assert (core.log.base, core.log.last, core.snapshot) == (0, 5, None)


def test_compact_back(family: Family) -> None:
    core = compactable(family)
    core.compact(snapshot(4, family.term(2)), 3)
    assert core.log.base == 2
    with pytest.raises(MisuseError, match="newer snapshot already, at 4"):
        core.compact(snapshot(3, family.term(2)))
    with pytest.raises(MisuseError, match="outside"):
        core.compact(snapshot(1, family.term(1)))
    core.compact(snapshot(4, family.term(2)))
    assert (core.log.base, core.snapshot.index) == (4, 4)


# --- what only looks wrong -------------------------------------------------------------------


def test_calls_that_change_nothing(family: Family) -> None:
    core = family.leading()
    core.tick(0)
    core.transfer(1)
    core.campaign()
    assert core.propose([]) == family.last + 1
    assert (core.role, core.term, core.has_ready) == ("leader", family.led, False)
    assert core.log.last == family.last
