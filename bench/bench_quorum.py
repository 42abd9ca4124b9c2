"""Quorums of many groups and of one, and the timers of many groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.cases import LEVELS, SEED, at_level, scaled
from bench.harness import AtMost, Case, Compare, Contestant
from ringleader.consensus.quorum import Flexible, Majority, Timers, committed_groups, vote_groups

GROUPS = scaled(100_000, 1_003)
CALLS = scaled(20_000, 100)
#: Nanoseconds for a group of so many voters.
GOALS = {3: 1.0, 5: 1.5, 7: 2.0}


def matches(voters: int) -> NDArray[np.uint64]:
    """Indices as followers have them: near each other, in no order."""
    rng = np.random.default_rng(SEED)
    base = rng.integers(0, 2**40, (GROUPS, 1), dtype=np.uint64)
    return base + rng.integers(0, 1_000, (GROUPS, voters), dtype=np.uint64)


@pytest.mark.parametrize("voters", [3, 5, 7])
def test_committed_groups(compare: Compare, voters: int) -> None:
    match = matches(voters)
    out = np.empty(GROUPS, np.uint64)
    rank = voters // 2
    rows = match.tolist()

    def ours() -> NDArray[np.uint64]:
        return committed_groups(match, out=out)

    def by_partition() -> Any:
        return np.partition(match, rank, axis=1)[:, rank].copy()

    def by_sort() -> Any:
        return np.sort(match, axis=1)[:, rank].copy()

    def by_sorted() -> list[int]:
        return [sorted(row)[rank] for row in rows]

    def streamed() -> np.uint64:
        return match.reshape(-1).max()  # reads what ours reads, and compares it once

    want = np.array(by_sorted(), np.uint64)
    for way in (ours, by_partition, by_sort):
        assert np.array_equal(way(), want)
    compare(
        Case(
            f"committed index of {GROUPS:,} groups of {voters}",
            "group",
            [
                Contestant("ringleader", ours, GROUPS, "ours"),
                *(
                    Contestant(f"ringleader, {level}", ours, GROUPS, "ours", turn=at_level(level))
                    for level in LEVELS[:-1]
                ),
                Contestant("np.partition", by_partition, GROUPS),
                Contestant("np.sort", by_sort, GROUPS),
                Contestant("sorted() of lists", by_sorted, GROUPS),
                Contestant(
                    "read once (np.max)", streamed, GROUPS, "floor", answers=lambda: int(streamed())
                ),
            ],
            [AtMost(GOALS[voters])],
        )
    )


@pytest.mark.parametrize("voters", [3, 7])
def test_vote_groups(compare: Compare, voters: int) -> None:
    ballots = np.random.default_rng(SEED).integers(-1, 2, (GROUPS, voters)).astype(np.int8)
    out = np.empty(GROUPS, np.int8)
    quorum = voters // 2 + 1

    def ours() -> NDArray[np.int8]:
        return vote_groups(ballots, out=out)

    def by_numpy() -> NDArray[np.int8]:
        won = (ballots > 0).sum(axis=1) >= quorum
        lost = (ballots < 0).sum(axis=1) > voters - quorum
        return won.astype(np.int8) - lost.astype(np.int8)

    assert np.array_equal(ours(), by_numpy())
    compare(
        Case(
            f"elections of {GROUPS:,} groups of {voters}",
            "group",
            [
                Contestant("ringleader", ours, GROUPS, "ours"),
                Contestant("NumPy, counts of each row", by_numpy, GROUPS),
            ],
        )
    )


def repeated(call: Callable[[Any], int], given: list[Any], name: str, kind: Any) -> Contestant:
    def run() -> int:
        for one in given:
            answer = call(one)
        return answer

    return Contestant(name, run, len(given), kind, answers=lambda: [call(one) for one in given])


@pytest.mark.parametrize("voters", [3, 5, 7])
def test_committed_of_one_group(compare: Compare, voters: int) -> None:
    rows = matches(voters)[: min(CALLS, 1_000)].tolist()
    ids = [f"node-{number}" for number in range(voters)]
    mappings = [dict(zip(ids, row, strict=True)) for row in rows]
    system = Majority(ids)
    flexible = Flexible(ids, replication=system.quorum, election=system.quorum)

    def plain(match: dict[str, int]) -> int:
        return sorted(match.get(voter, 0) for voter in ids)[-system.quorum]

    compare(
        Case(
            f"committed index of one group of {voters}",
            "call",
            [
                repeated(system.committed, mappings, "ringleader", "ours"),
                repeated(system.committed_of, rows, "ringleader, of a list", "ours"),
                repeated(flexible.committed, mappings, "ringleader, Flexible", "ours"),
                repeated(plain, mappings, "sorted() of a generator", "peer"),
            ],
            [AtMost(400)],
        )
    )


class NumpyTimers:
    """The same in NumPy: lower what runs, and find what has come to zero."""

    def __init__(self, rows: int) -> None:
        self.ticks = np.zeros(rows, np.uint16)

    def tick(self) -> NDArray[np.intp]:
        ticks = self.ticks
        fired = np.flatnonzero(ticks == 1)
        ticks -= ticks != 0
        return fired


class NumpyTimersAlwaysRunning:
    """NumPy at its quickest: no row is ever stopped, so none has to be left out."""

    def __init__(self, rows: int) -> None:
        self.ticks = np.full(rows, 2**15 - 1, np.uint16)

    def tick(self) -> NDArray[np.intp]:
        self.ticks -= 1
        return np.flatnonzero(self.ticks == 0)


def test_a_tick_of_idle_timers(compare: Compare) -> None:
    """No row fires: what a tick costs that finds nothing to do."""
    rows = np.arange(GROUPS, dtype=np.uint32)
    ours = Timers(GROUPS)
    masked, running = NumpyTimers(GROUPS), NumpyTimersAlwaysRunning(GROUPS)
    longest = 2**15 - 1
    # As long as a timer can run, so that the ticks of a turn fire nothing; set anew before each.
    refresh = scaled(100, 1)

    def many(tick: Callable[[], Any]) -> Callable[[], int]:
        def run() -> int:
            for _ in range(refresh):
                fired = tick()
            return int(fired.size)

        return run

    def start(ticks: NDArray[np.uint16]) -> Callable[[], None]:
        return lambda: ticks.fill(longest)

    compare(
        Case(
            f"a tick of {GROUPS:,} timers, none fires",
            "row",
            [
                Contestant(
                    "ringleader",
                    many(ours.tick),
                    GROUPS * refresh,
                    "ours",
                    prepare=lambda: ours.set_many(rows, longest),
                ),
                Contestant(
                    "NumPy, uint16, with stopped rows",
                    many(masked.tick),
                    GROUPS * refresh,
                    prepare=start(masked.ticks),
                ),
                Contestant(
                    "NumPy, uint16, all running",
                    many(running.tick),
                    GROUPS * refresh,
                    prepare=start(running.ticks),
                ),
            ],
            [AtMost(0.1)],
        )
    )


def test_setting_a_timer(compare: Compare) -> None:
    timers = Timers(GROUPS)
    array = np.zeros(GROUPS, np.uint16)
    rows = np.random.default_rng(SEED).permutation(GROUPS)[:CALLS].tolist()

    def ours() -> int:
        set_row = timers.set
        for row in rows:
            set_row(row, 300)
        return timers.remaining(rows[0])

    def by_numpy() -> int:
        for row in rows:
            array[row] = 300
        return int(array[rows[0]])

    compare(
        Case(
            f"set one of {GROUPS:,} timers",
            "call",
            [
                Contestant("ringleader", ours, len(rows), "ours"),
                Contestant("NumPy, array[row] = ticks", by_numpy, len(rows)),
            ],
            [AtMost(60)],
        )
    )
