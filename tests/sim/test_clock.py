"""Virtual time: order, cancelling, and clocks that drift."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader.errors import SettingError
from ringleader.sim.clock import PPM, Clock, NodeClock, Ticker

delays = st.integers(0, 50)


@given(st.lists(delays, max_size=60))
def test_events_run_in_the_order_of_time_then_of_scheduling(waits: list[int]) -> None:
    clock = Clock()
    ran: list[tuple[int, int]] = []
    for number, wait_us in enumerate(waits):
        clock.after(wait_us, lambda it: ran.append((clock.now_us, it)), number)
    clock.run(100)
    assert ran == sorted((wait_us, number) for number, wait_us in enumerate(waits))
    assert clock.now_us == 100
    assert clock.scheduled_count == len(waits)


def test_run_stops_at_its_time_and_step_takes_one() -> None:
    clock = Clock()
    ran: list[int] = []
    for at_us in (5, 5, 7, 9):
        clock.at(at_us, ran.append, at_us)
    clock.run(5)
    assert ran == [5, 5]
    assert clock.next_us == 7
    assert clock.step()
    assert clock.now_us == 7
    assert clock.step()
    assert not clock.step()
    assert clock.next_us is None
    assert ran == [5, 5, 7, 9]


def test_stop_ends_a_run_after_the_event() -> None:
    clock = Clock()
    ran: list[int] = []
    clock.at(3, lambda _: clock.stop())
    clock.at(3, ran.append, 3)
    clock.run(10)
    assert clock.now_us == 3
    assert ran == []
    clock.run(10)
    assert ran == [3]


def test_a_cancelled_timer_does_not_fire() -> None:
    clock = Clock()
    ran: list[str] = []
    kept = clock.timer(5, ran.append, "kept")
    gone = clock.timer(5, ran.append, "gone")
    gone.cancel()
    assert kept.pending
    assert not gone.pending
    clock.run(5)
    assert ran == ["kept"]
    assert not kept.pending
    kept.cancel()


@given(
    st.lists(
        st.tuples(st.integers(0, 10**7), st.integers(-900_000, 900_000), st.integers(0, 10**6)),
        max_size=10,
    )
)
def test_a_nodes_clock_never_goes_back(steps: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    local = NodeClock(clock, 100_000)
    before_us = local.now_us
    for passes_us, rate_ppm, jump_us in steps:
        clock.run(clock.now_us + passes_us)
        assert local.now_us >= before_us
        local.set_rate(rate_ppm)
        local.jump(jump_us)
        assert local.now_us >= before_us + jump_us
        before_us = local.now_us


@given(st.integers(-500_000, 500_000), st.integers(1, 10**9))
def test_a_timer_of_a_nodes_clock_is_due_on_that_clock(rate_ppm: int, wait_us: int) -> None:
    clock = Clock()
    local = NodeClock(clock, rate_ppm)
    late: list[int] = []
    local.after(wait_us, lambda _: late.append(local.now_us - wait_us))
    clock.run(3 * 10**9)
    assert 0 <= late[0] <= 2
    assert NodeClock(clock, rate_ppm).true_us(wait_us) * (PPM + rate_ppm) >= wait_us * PPM


def test_drift_is_what_it_is_said_to_be() -> None:
    clock = Clock()
    fast, slow = NodeClock(clock, 50_000), NodeClock(clock, -50_000)
    clock.run(1_000_000)
    assert (fast.now_us, slow.now_us) == (1_050_000, 950_000)


def test_a_clock_refuses_to_stand_still_or_go_back() -> None:
    local = NodeClock(Clock())
    with pytest.raises(SettingError):
        local.set_rate(-PPM)
    with pytest.raises(SettingError):
        local.jump(-1)
    with pytest.raises(SettingError):
        Ticker(local, 0, lambda _: None)


@pytest.mark.parametrize("rate_ppm", [0, 50_000, -50_000, 333])
def test_ticks_do_not_drift_from_their_clock(rate_ppm: int) -> None:
    clock = Clock()
    local = NodeClock(clock, rate_ppm)
    counts: list[int] = []
    Ticker(local, 10_000, counts.append)
    clock.run(10_000_000)
    assert set(counts) == {1}
    assert local.now_us // 10_000 - len(counts) in (0, 1)  # the last one may be due just now


def test_ticks_catch_up_after_a_jump_and_after_being_late() -> None:
    clock = Clock()
    local = NodeClock(clock)
    counts: list[tuple[int, int]] = []
    ticker = Ticker(local, 100, lambda count: counts.append((clock.now_us, count)))
    clock.run(150)
    local.jump(1000)
    clock.run(300)
    assert counts == [(100, 1), (200, 11), (300, 1)]
    ticker.late_us = 250
    clock.run(900)
    assert counts[3:] == [(400, 1), (750, 3), (800, 1), (900, 1)]
    ticker.cancel()
    clock.run(2000)
    assert len(counts) == 7


def test_the_same_seed_gives_the_same_order() -> None:
    def run(seed: int) -> list[tuple[int, int]]:
        random = Random(seed)
        clock = Clock()
        trace: list[tuple[int, int]] = []

        def event(number: int) -> None:
            trace.append((clock.now_us, number))
            if len(trace) < 2000:
                for _ in range(random.randrange(3)):
                    clock.after(random.randrange(4), event, random.randrange(100))

        for number in range(10):
            clock.after(number % 3, event, number)
        clock.run(10_000)
        return trace

    assert run(1) == run(1)
    assert run(1) != run(2)
