"""The measuring code measures what it says: its arithmetic, and the worlds that it measures in."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict
from typing import Any

import pytest

from ringleader.consensus.quorum import Flexible, Majority
from ringleader.errors import FormatError, QuorumError, SettingError
from ringleader.sim.comparison import measures
from ringleader.sim.comparison.algorithms import (
    GEOMETRIES,
    GRID,
    MAJORITY,
    Algorithm,
    by_count,
    by_datacenter,
    floor_us,
    geometry,
    losses_survived,
    paxos,
    raft,
)
from ringleader.sim.comparison.group import COMMAND_BYTES, Clients, Group
from ringleader.sim.comparison.lines import code_lines, module_lines
from ringleader.sim.comparison.loop import Columns, Lap, LoopGroup, race, spread
from ringleader.sim.comparison.measures import (
    GAP_CASES,
    WORKLOADS,
    Comparison,
    cost,
    gaps,
    latency,
    percentile,
    percentiles,
    quorums,
    recovery,
    throughput,
)
from ringleader.sim.comparison.verdicts import ms, same, times_as
from ringleader.sim.profiles import PROFILES, SECOND

BOTH = pytest.mark.parametrize("algorithm", [raft(), paxos()], ids=["raft", "paxos"])


# --- arithmetic ---------------------------------------------------------------------------------


def test_percentiles_are_linear_between_values() -> None:
    assert percentile([1.0, 2.0, 4.0], 0) == 1.0
    assert percentile([1.0, 2.0, 4.0], 50) == 2.0
    assert percentile([1.0, 2.0, 4.0], 75) == 3.0
    assert percentile([1.0, 2.0, 4.0], 100) == 4.0
    assert percentile([7.0], 99) == 7.0
    assert percentiles([*range(101)][::-1]) == [float(value) for value in range(101)]


def test_the_floor_is_the_farthest_of_the_nearest_quorum() -> None:
    rtt_us = {2: 10, 3: 20, 4: 30, 5: 40}
    assert floor_us(Majority([1, 2, 3, 4, 5]), 1, rtt_us) == 20
    assert floor_us(Flexible([1, 2, 3, 4, 5], replication=2, election=4), 1, rtt_us) == 10
    assert floor_us(Flexible([1, 2, 3, 4, 5], replication=5, election=3), 1, rtt_us) == 40
    assert floor_us(Majority([1]), 1, {}) == 0
    with pytest.raises(SettingError):
        floor_us(Majority([6, 7, 8]), 1, rtt_us)


@pytest.mark.parametrize(
    ("name", "arrangement", "wanted_us"),
    [
        ("lan-3", MAJORITY, 200),
        ("wan-3dc", MAJORITY, 80_000),
        ("wan-3dc", by_count(2, 4), 200),
        ("wan-3x3", MAJORITY, 80_000),
        ("wan-3x3", by_datacenter(2, 2), 80_000),
        ("wan-3x3", by_datacenter(1, 3), 1_000),
        ("wan-3x3", GRID, 1_000),
        ("wan-5dc", MAJORITY, 140_000),
        ("wan-5dc", by_count(2, 4), 80_000),
        ("wan-5dc", by_count(4, 2), 200_000),
        ("wan-5dc-us", MAJORITY, 80_000),
        ("wan-5dc-us", by_count(2, 4), 65_000),
    ],
)
def test_the_floors_of_the_geometries(name: str, arrangement: Any, wanted_us: int) -> None:
    where = geometry(name)
    system = arrangement.make(where.dcs, True)
    assert quorums(where, system).floor_us == wanted_us


def test_losses_that_are_survived() -> None:
    system = Majority([1, 2, 3, 4, 5])
    assert losses_survived([[1], [2], [3], [4], [5]], system.has_quorum) == 2
    assert losses_survived([[1, 2], [3, 4], [5]], system.has_quorum) == 1
    assert losses_survived([[1, 2, 3], [4, 5]], system.has_quorum) == 0
    assert losses_survived([[1], [2]], system.has_quorum) == -1
    assert losses_survived([[6], [7]], lambda nodes: True) == 2


def test_what_an_arrangement_means() -> None:
    where = geometry("wan-3x3")
    majority = quorums(where, MAJORITY.make(where.dcs, False))
    assert (majority.followers_spared, majority.nodes_spared, majority.dcs_spared) == (4, 4, 1)
    local = quorums(where, by_datacenter(1, 3).make(where.dcs, False))
    assert local.dcs_spared == 0
    assert local.nodes_spared == 1  # two of one datacenter, and it has no majority to elect with
    assert local.followers_spared == 5  # and a majority is left somewhere
    five = geometry("wan-5dc")
    counts = quorums(five, by_count(2, 4).make(five.dcs, False))
    assert (counts.followers_spared, counts.nodes_spared, counts.dcs_spared) == (3, 1, 1)


def test_only_owned_ballots_may_be_elected_by_quorums_that_do_not_meet() -> None:
    dcs = geometry("wan-5dc").dcs
    assert not by_count(4, 2).make(dcs, True).elections_intersect
    with pytest.raises(QuorumError):
        by_count(4, 2).make(dcs, False)
    grid = geometry("wan-3x3").dcs
    assert GRID.make(grid, True).can_elect([1, 4, 7])
    assert not GRID.make(grid, False).can_elect([1, 4, 7])
    assert GRID.make(grid, False).can_elect([1, 4, 7, 2, 3])


def test_geometries_are_named_once_and_led_by_one_of_theirs() -> None:
    assert len({each.name for each in GEOMETRIES}) == len(GEOMETRIES)
    for each in GEOMETRIES:
        assert each.leader in each.dcs
        assert each.arrangements[0] is MAJORITY
        assert len(each.rtt_us) == len(each.dcs) - 1
    with pytest.raises(SettingError, match="lan-3, lan-5"):
        geometry("moon")


def test_lines_of_code() -> None:
    source = '''"""A module.

of three lines."""

import os  # a comment


# another
class A:
    """Said
    at length."""

    text = """two
lines"""

    def f(self) -> None:
        "short"
        return (  # over two lines
            None
        )
'''
    assert code_lines(source) == 8
    assert code_lines("") == 0
    assert code_lines('x = "no docstring"\n"nor this"\n') == 2
    assert 1000 < module_lines("ringleader.consensus.raft", "core") < 5000


def test_a_race_counts_a_proposal() -> None:
    """With a clock that counts 1000 ns for whatever lies between two looks at it."""
    ticks = itertools.count(0, 1000)
    rows = race([raft(), raft()], 3, 100, rounds=3, turn_ns=2000, clock_ns=lambda: next(ticks))
    assert rows == [[1.0] * 3, [1.0] * 3]  # 1000 ns for 1000 proposals
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)
    assert spread([2.0]) == (2.0, 2.0, 2.0)


def test_ratios_are_taken_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [[10.0, 100.0, 10.0], [20.0, 200.0, 20.0]]
    monkeypatch.setattr(measures, "race", lambda *args, **settings: times)
    first, second = throughput([raft(), paxos()], 3, 1, 3, 1)
    assert (first.ns, first.ratio) == (10.0, 1.0)
    assert (second.ns, second.ratio) == (20.0, 2.0)


@BOTH
def test_a_loop_sees_what_was_proposed(algorithm: Algorithm) -> None:
    group = LoopGroup(3, Columns, algorithm)
    lap = Lap(group, 7, 50)
    lap.prepare()
    lap.run()
    once = lap.seen()
    assert once[0] == 50
    lap.prepare()
    lap.run()
    assert lap.seen() == once


def test_numbers_as_people_read_them() -> None:
    assert [ms(us) for us in (398.4, 81_700, 999_000, 1_790_000)] == [
        "0.398 ms",
        "81.7 ms",
        "999 ms",
        "1.79 s",
    ]
    assert [times_as(value) for value in (0.993, 1.726, 185.2)] == ["0.99x", "1.73x", "185x"]
    assert same(100, 109)
    assert not same(100, 120)


# --- worlds -------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("nodes", [3, 5])
def test_the_messages_of_a_commit(algorithm: Algorithm, nodes: int) -> None:
    """To each follower the entry and the news of the commit, from each an answer."""
    followers = nodes - 1
    one, lean, many, batch = (cost(algorithm, nodes, each, 200) for each in WORKLOADS)
    assert one.messages == 3 * followers
    assert lean.messages == 2 * followers
    assert many.messages == 3 * followers  # of each its own
    assert batch.messages == 0.03 * followers
    for row in (one, lean, many, batch):
        assert sum(row.kinds.values()) == pytest.approx(row.messages)
        assert row.wire_bytes > followers * COMMAND_BYTES
        assert 0 < row.syncs <= nodes
    assert many.syncs < one.syncs / 4
    assert batch.syncs < one.syncs / 50
    profile = PROFILES[f"lan-{nodes}"]
    rounds_per_s = SECOND / (profile.tick_us * profile.heartbeat_ticks)
    assert one.heartbeats_per_s == pytest.approx(2 * followers * rounds_per_s, rel=0.02)


@BOTH
@pytest.mark.parametrize(
    ("name", "arrangement"),
    [("wan-3dc", MAJORITY), ("wan-3dc", by_count(2, 4)), ("wan-5dc", by_count(2, 4))],
)
def test_a_commit_takes_little_longer_than_its_round_trips(
    algorithm: Algorithm, name: str, arrangement: Any
) -> None:
    row = latency(algorithm, geometry(name), arrangement, 100, 3)
    assert row.system is not None
    assert row.percentiles_us[0] > row.system.floor_us
    assert row.p50_us < 1.03 * row.system.floor_us + 2_500  # jitter, and two syncs
    assert row.p50_us <= row.p99_us <= row.percentiles_us[100]


def test_what_raft_may_not_use_is_refused_with_the_reason() -> None:
    where = geometry("wan-5dc")
    row = latency(raft(), where, by_count(4, 2), 10, 3)
    assert "two leaders in one term" in row.refused
    assert not latency(paxos(), where, by_count(4, 2), 10, 3).refused


@BOTH
def test_a_recovery_is_the_sum_of_its_parts(algorithm: Algorithm) -> None:
    where = geometry("lan-3")
    row = recovery(algorithm, where, MAJORITY, range(5))
    tick_us, ticks = where.profile.tick_us, where.profile.election_ticks
    parts = zip(row.noticed_us, row.elected_us, row.committed_us, strict=True)
    assert row.total_us == [sum(each) for each in parts]
    # Nobody misses a leader before its timeout, less what had passed since the last heartbeat.
    least_us = (ticks - where.profile.heartbeat_ticks - 1) * tick_us
    assert all(least_us <= noticed <= 2 * ticks * tick_us for noticed in row.noticed_us)
    assert all(us > 0 for us in row.committed_us)
    assert all(count >= 1 for count in row.candidacies)
    assert row == recovery(algorithm, where, MAJORITY, range(5))


def test_gaps_are_kept_by_paxos_and_refused_by_raft() -> None:
    rows = {each.name: gaps(each, GAP_CASES[1], 300, 4) for each in (raft(), paxos())}
    assert rows["raft"].kept == 0
    assert rows["paxos"].kept == 1
    for row in rows.values():
        assert row.early > 0
        assert 1 < row.sent < 3
        assert row.wait_ms[0] <= row.wait_ms[1]
        assert row.commits > 290
    assert rows["paxos"].sent < rows["raft"].sent


def test_clients_are_told_when_a_command_is_lost() -> None:
    group = Group(raft(), MAJORITY, PROFILES["lan-3"])
    group.nodes[2].crash()
    group.nodes[3].crash()
    with pytest.raises(SettingError):
        Clients(group, clients=1, batch=1, count=2).run()


def test_a_comparison_survives_json() -> None:
    found = Comparison(quick=True, seed=1, compiled=True)
    found.costs.append(cost(raft(), 3, WORKLOADS[0], 20))
    found.latencies.append(latency(raft(), geometry("lan-3"), MAJORITY, 20, 1))
    found.latencies.append(latency(raft(), geometry("wan-5dc"), by_count(4, 2), 20, 1))
    found.recoveries.append(recovery(raft(), geometry("lan-3"), MAJORITY, range(2)))
    found.gaps.append(gaps(raft(), GAP_CASES[0], 50, 1))
    found.lines.extend(measures.lines())
    again = Comparison.from_dict(json.loads(json.dumps(asdict(found))))
    assert again == found


@pytest.mark.parametrize("data", [{}, {"quick": True}, {"costs": 3}])
def test_what_is_no_comparison_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match="no comparison"):
        Comparison.from_dict(data)
    whole = asdict(Comparison(quick=True, seed=1, compiled=True))
    whole["gaps"] = [{"wait_ms": [1], "latency_ms": [1, 2]}]
    with pytest.raises(FormatError, match="no comparison"):
        Comparison.from_dict(whole)
