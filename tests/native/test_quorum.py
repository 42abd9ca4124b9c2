"""The native quorum kernel does what its reference does, and both keep their contract."""

from __future__ import annotations

from collections import OrderedDict
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from numpy.typing import NDArray

from ringleader._native import quorum as native
from ringleader._reference import quorum as reference
from ringleader.errors import LimitError, RowError, SettingError, SettingTypeError
from ringleader.limits import GROUPS_MAX, TIMER_TICKS_MAX, VOTERS_MAX

#: Around the lanes of every level, and one that is no multiple of any.
GROUPS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 1003)
VOTERS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 31, 64, 126, 127)


@pytest.fixture(params=["native", "reference"])
def quorum(request: pytest.FixtureRequest) -> ModuleType:
    return {"native": native, "reference": reference}[request.param]


def committed(module: ModuleType, match: NDArray[np.uint64], count: int) -> list[int]:
    out = np.full(len(match), 77, dtype=np.uint64)
    module.committed(match, out, count)
    return out.tolist()


def by_sorting(match: NDArray[np.uint64], count: int) -> list[int]:
    return [sorted(row)[-count] for row in match.tolist()]


def indices(groups: int, voters: int, kind: str) -> NDArray[np.uint64]:
    rng = np.random.default_rng(groups * 1000 + voters)
    shape = (groups, voters)
    if kind == "any":
        return rng.integers(0, 2**64, shape, dtype=np.uint64)
    if kind == "ties":
        return rng.integers(0, 3, shape, dtype=np.uint64)
    # Both sides of the sign bit, which a signed comparison would take for the order's end.
    return rng.integers(2**63 - 2, 2**63 + 2, shape, dtype=np.uint64)


# --- many groups ---------------------------------------------------------------------------------


@pytest.mark.parametrize("voters", VOTERS)
@pytest.mark.parametrize("kind", ["any", "ties", "signs"])
def test_committed_is_the_quorum_th_largest(simd: str, voters: int, kind: str) -> None:
    counts = {1, 2, voters // 2, voters // 2 + 1, voters - 1, voters} & set(range(1, voters + 1))
    for groups in GROUPS:
        match = indices(groups, voters, kind)
        for count in range(1, voters + 1) if voters <= 9 else counts:
            want = by_sorting(match, count)
            assert committed(native, match, count) == want
            if groups <= 17:
                assert committed(reference, match, count) == want


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 6, 7])
def test_networks_sort_every_pattern_of_zeros_and_ones(simd: str, voters: int) -> None:
    """Which is enough for a network to sort everything (Knuth, vol. 3, 5.3.4, theorem Z)."""
    patterns = [[number >> bit & 1 for bit in range(voters)] for number in range(2**voters)]
    match = np.array(patterns * 8, dtype=np.uint64)
    for count in range(1, voters + 1):
        assert committed(native, match, count) == by_sorting(match, count)


@given(
    st.integers(1, 127).flatmap(
        lambda voters: st.tuples(
            st.lists(
                st.lists(
                    st.one_of(st.integers(0, 4), st.integers(0, 2**64 - 1)),
                    min_size=voters,
                    max_size=voters,
                ),
                min_size=1,
                max_size=4,
            ),
            st.integers(1, voters),
        )
    )
)
def test_any_match(drawn: tuple[list[list[int]], int]) -> None:
    rows, count = drawn
    match = np.array(rows, dtype=np.uint64)
    want = by_sorting(match, count)
    assert committed(native, match, count) == committed(reference, match, count) == want
    for row, one in zip(rows, want, strict=True):
        assert native.committed_of(row, count) == reference.committed_of(row, count) == one


@pytest.mark.parametrize(("voters", "others"), [(3, 3), (3, 5), (7, 4), (1, 127), (5, 6)])
def test_joint_is_the_smaller_of_both(simd: str, voters: int, others: int) -> None:
    for groups in (*GROUPS, 255, 256, 257, 513):
        incoming, outgoing = indices(groups, voters, "ties"), indices(groups, others, "ties")
        count, other_count = voters // 2 + 1, others
        want = [
            min(pair)
            for pair in zip(
                by_sorting(incoming, count), by_sorting(outgoing, other_count), strict=True
            )
        ]
        for module in (native, reference):
            out = np.full(groups, 77, dtype=np.uint64)
            module.committed_joint(incoming, count, outgoing, other_count, out)
            assert out.tolist() == want


@pytest.mark.parametrize("voters", VOTERS)
def test_votes(simd: str, voters: int) -> None:
    rng = np.random.default_rng(voters)
    for groups in GROUPS:
        for weights in ([0.1, 0.4, 0.5], [0.5, 0.4, 0.1], [0.4, 0.2, 0.4]):
            ballots = rng.choice(np.array([-1, 0, 1], np.int8), (groups, voters), p=weights)
            granted, refused = (ballots > 0).sum(axis=1), (ballots < 0).sum(axis=1)
            for count in {1, voters // 2 + 1, voters}:
                want = np.where(granted >= count, 1, np.where(refused > voters - count, -1, 0))
                for module in (native, reference):
                    out = np.full(groups, 77, dtype=np.int8)
                    module.votes(ballots, out, count)
                    assert out.tolist() == want.tolist()


@pytest.mark.parametrize("voters", [1, 7, 8, 9])
def test_of_a_ballot_only_the_sign_counts(quorum: ModuleType, voters: int) -> None:
    for value, want in ((127, 1), (2, 1), (1, 1), (0, 0), (-1, -1), (-2, -1), (-128, -1)):
        out = np.full(3, 77, dtype=np.int8)
        quorum.votes(np.full((3, voters), value, np.int8), out, voters)
        assert out.tolist() == [want] * 3


def test_many_groups_refuse(quorum: ModuleType) -> None:
    match = np.zeros((4, 3), np.uint64)
    out = np.zeros(4, np.uint64)
    read_only = out.copy()
    read_only.flags.writeable = False
    wrong: list[tuple[Any, Any, Any, type[Exception]]] = [
        (match.astype(np.int64), out, 2, ValueError),
        (match.astype(np.float64), out, 2, ValueError),
        (match.astype(np.uint32), out, 2, ValueError),
        (match[:, :2], out, 2, ValueError),
        (match.T, out, 2, ValueError),
        (match[0], out, 2, ValueError),
        ([[1, 2, 3]], out, 2, TypeError),
        (None, out, 2, TypeError),
        (match, out[:3], 2, ValueError),
        (match, out[::2], 2, ValueError),
        (match, out.astype(np.int64), 2, ValueError),
        (match, read_only, 2, ValueError),
        (match, None, 2, TypeError),
        (match, out, 0, SettingError),
        (match, out, 4, SettingError),
        (match, out, -1, SettingError),
        (match, out, 2**70, SettingError),
        (match, out, 1.0, TypeError),
        (np.zeros((4, 0), np.uint64), out, 1, LimitError),
        (np.zeros((4, VOTERS_MAX + 1), np.uint64), out, 1, LimitError),
    ]
    for arguments in wrong:
        with pytest.raises(arguments[3]):
            quorum.committed(*arguments[:3])
        first, second, count, error = arguments
        with pytest.raises(error):
            quorum.committed_joint(first, count, match, 2, second)
        with pytest.raises(error):
            quorum.committed_joint(match, 2, first, count, second)
    with pytest.raises(ValueError, match=r".+"):
        quorum.votes(match.view(np.uint8), np.zeros(4, np.int8), 2)
    with pytest.raises(ValueError, match="4 groups"):
        quorum.votes(np.zeros((4, 3), np.int8), np.zeros(5, np.int8), 2)
    with pytest.raises(SettingError):
        quorum.votes(np.zeros((4, 3), np.int8), np.zeros(4, np.int8), 4)
    with pytest.raises(SettingError):  # even when there is no group to count
        quorum.committed(np.zeros((0, 3), np.uint64), np.zeros(0, np.uint64), 4)


# --- one group -----------------------------------------------------------------------------------


def test_one_group(quorum: ModuleType) -> None:
    assert quorum.committed_of([5, 3, 9], 2) == 5
    assert quorum.committed_of([2**64 - 1], 1) == 2**64 - 1
    assert quorum.committed_of([np.uint64(7), True, 0], 1) == 7
    voters = ("a", "b", "c")
    for mapping in (dict, OrderedDict):
        assert quorum.committed_map(voters, mapping(a=5, b=3, c=9, d=100), 2) == 5
        assert quorum.committed_map(voters, mapping(c=9), 1) == 9
        assert quorum.committed_map(voters, mapping(c=9), 2) == 0
    assert quorum.committed_map((1, 2), {True: 4, 2.0: 6}, 2) == 4


def test_one_group_refuses(quorum: ModuleType) -> None:
    for values, count, error in (
        ([], 1, LimitError),
        ([1] * (VOTERS_MAX + 1), 1, LimitError),
        ([1, 2], 3, SettingError),
        ([1, 2], 0, SettingError),
        ([1, -1], 1, LimitError),
        ([1, 2**64], 1, LimitError),
        ([1, 1.5], 1, SettingTypeError),
        ([1, None], 1, SettingTypeError),
    ):
        with pytest.raises(error):
            quorum.committed_of(values, count)
        with pytest.raises(error):
            quorum.committed_map(tuple(range(len(values))), dict(enumerate(values)), count)
    with pytest.raises(TypeError):
        quorum.committed_of((1, 2), 1)
    with pytest.raises(TypeError):
        quorum.committed_map(([],), {}, 1)


# --- timers --------------------------------------------------------------------------------------


def fired(timers: Any) -> list[int]:
    rows = timers.tick()
    assert rows.dtype == np.uint32
    return rows.tolist()


@pytest.mark.parametrize(
    "ticks", [1, 2, 63, 254, 255, 256, 257, 509, 510, 511, 765, 1020, 32766, 32767]
)
def test_a_timer_fires_once_after_its_ticks(simd: str, ticks: int) -> None:
    for rows, row in ((1, 0), (64, 63), (65, 64), (200, 100)):
        timers = native.Timers(rows)
        timers.set(row, ticks)
        for passed in range(1, ticks):
            assert timers.tick().size == 0
            assert timers.remaining(row) == ticks - passed
        assert fired(timers) == [row]
        assert timers.remaining(row) == 0
        assert timers.tick().size == 0
        assert timers.now == ticks + 1


def test_rows_fire_in_order_and_leave_the_others(simd: str) -> None:
    rng = np.random.default_rng(5)
    ticks = rng.integers(1, 700, 1000).astype(np.uint16)
    rows = rng.permutation(1000).astype(np.uint32)
    twins = [native.Timers(1000), reference.Timers(1000)]
    for timers in twins:
        timers.set_many(rows, ticks)
    want = np.empty(1000, int)
    want[rows] = ticks
    for now in range(1, 702):
        expected = np.flatnonzero(want == now).tolist()
        assert [fired(timers) for timers in twins] == [expected, expected]


def test_set_again_and_stop(quorum: ModuleType) -> None:
    timers = quorum.Timers(4)
    timers.set(0, 1)
    timers.set(0, 300)
    timers.set(1, 300)
    timers.set(1, 2)
    timers.set(2, 1000)
    timers.stop(2)
    timers.stop(3)
    assert [timers.remaining(row) for row in range(4)] == [300, 2, 0, 0]
    assert [fired(timers), fired(timers), fired(timers)] == [[], [1], []]
    timers.set_many(np.array([3, 3, 1], np.uint32), 1)
    assert fired(timers) == [1, 3]
    timers.set_many(np.empty(0, np.uint32), 5)
    assert timers.remaining(0) == 296
    assert timers.now == 4


def test_grow_keeps_what_runs(quorum: ModuleType) -> None:
    timers = quorum.Timers(0)
    assert len(timers) == 0
    assert fired(timers) == []
    timers.grow(1)
    timers.set(0, 400)
    for rows in (1, 64, 65, 1000):
        timers.grow(rows)
        assert len(timers) == rows
        assert timers.remaining(0) == 400
        assert all(timers.remaining(row) == 0 for row in range(1, rows))
    timers.set(999, 2)
    assert [fired(timers), fired(timers)] == [[], [999]]
    assert timers.remaining(0) == 398


def test_timers_refuse(quorum: ModuleType) -> None:
    timers = quorum.Timers(3)
    timers.set(1, 9)
    rows = np.array([0, 1], np.uint32)
    for row in (-1, 3, 2**70, -(2**70)):
        for call in (timers.stop, timers.remaining, lambda row: timers.set(row, 1)):
            with pytest.raises(RowError, match="there are 3 rows"):
                call(row)
    for ticks in (0, -1, TIMER_TICKS_MAX + 1, 2**70):
        with pytest.raises(SettingError, match=r"1 \.\.\. 32767"):
            timers.set(0, ticks)
        with pytest.raises(SettingError):
            timers.set_many(rows, ticks)
    for ticks in ([5, 0], [32768, 5]):
        with pytest.raises(SettingError):
            timers.set_many(rows, np.array(ticks, np.uint16))
    with pytest.raises(RowError):
        timers.set_many(np.array([0, 3], np.uint32), 1)
    for wrong in (np.array([0, 1], np.int64), rows[::-1], np.zeros((1, 1), np.uint32)):
        with pytest.raises(ValueError, match=r".+"):
            timers.set_many(wrong, 1)
    for wrong in (np.array([1], np.uint16), np.array([1, 1], np.int32)):
        with pytest.raises(ValueError, match=r".+"):
            timers.set_many(rows, wrong)
    for wrong in (1.0, None, "1"):
        for call in (timers.stop, timers.remaining, timers.grow, quorum.Timers):
            with pytest.raises(TypeError):
                call(wrong)
        with pytest.raises(TypeError):
            timers.set(0, wrong)
        with pytest.raises(TypeError):
            timers.set(wrong, 1)
    with pytest.raises(SettingError, match="already"):
        timers.grow(2)
    with pytest.raises(SettingError):
        quorum.Timers(-1)
    for rows_wanted in (GROUPS_MAX + 1, 2**70):
        with pytest.raises(LimitError):
            quorum.Timers(rows_wanted)
        with pytest.raises(LimitError):
            timers.grow(rows_wanted)
    assert [timers.remaining(row) for row in range(3)] == [0, 9, 0], "a refusal changes nothing"


class TimersMachine(RuleBasedStateMachine):
    """The twins after any calls."""

    @initialize(rows=st.integers(0, 130))
    def start(self, rows: int) -> None:
        self.twins = [native.Timers(rows), reference.Timers(rows)]

    def both(self, call: Any) -> None:
        answers = []
        for twin in self.twins:
            try:
                answers.append(call(twin))
            except (RowError, SettingError) as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]

    @rule(row=st.integers(-1, 140), ticks=st.one_of(st.integers(0, 3), st.integers(1, 33000)))
    def set(self, row: int, ticks: int) -> None:
        self.both(lambda twin: twin.set(row, ticks))

    @rule(
        rows=st.lists(st.integers(0, 140), max_size=8),
        ticks=st.one_of(st.integers(0, 600), st.just(TIMER_TICKS_MAX)),
    )
    def set_many(self, rows: list[int], ticks: int) -> None:
        self.both(lambda twin: twin.set_many(np.array(rows, np.uint32), ticks))

    @rule(row=st.integers(0, 140))
    def stop(self, row: int) -> None:
        self.both(lambda twin: twin.stop(row))

    @rule(row=st.integers(0, 140))
    def remaining(self, row: int) -> None:
        self.both(lambda twin: twin.remaining(row))

    @rule(rows=st.integers(0, 300))
    def grow(self, rows: int) -> None:
        self.both(lambda twin: twin.grow(rows))
        self.both(len)

    @rule(ticks=st.one_of(st.integers(1, 3), st.integers(200, 300)))
    def tick(self, ticks: int) -> None:
        for _ in range(ticks):
            self.both(fired)
        self.both(lambda twin: twin.now)


TestTimers = TimersMachine.TestCase
