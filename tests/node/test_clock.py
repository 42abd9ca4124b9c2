"""Ticks by elapsed time, and a wall clock that does not jump."""

from __future__ import annotations

import pytest

from ringleader.node.clock import NodeClock


class System:
    """The clocks of a system."""

    def __init__(self) -> None:
        self.elapsed_s = 100.0
        self.wall_ms = 1_700_000_000_000.0

    def pass_s(self, seconds: float) -> None:
        self.elapsed_s += seconds
        self.wall_ms += seconds * 1000


class Counter:
    def __init__(self) -> None:
        self.calls: list[int] = []

    def tick(self, count: int = 1) -> None:
        self.calls.append(count)


def made(system: System, tick_s: float = 0.01) -> NodeClock:
    return NodeClock(
        tick_s, elapsed_s=lambda: system.elapsed_s, system_wall_ms=lambda: system.wall_ms
    )


def test_every_tick_is_reported_once_however_late() -> None:
    system, counter = System(), Counter()
    clock = made(system)
    clock.drivers.append(counter)
    for seconds in (0.004, 0.004, 0.004, 0.035, 7.0, 0.001):
        system.pass_s(seconds)
        assert clock.catch_up() == system.elapsed_s
        clock.catch_up()
    assert counter.calls[0] == 1
    assert sum(counter.calls) == int((system.elapsed_s - 100.0) / 0.01 + 1e-9)
    assert 699 <= max(counter.calls) <= 701


def test_the_wall_clock_is_the_systems() -> None:
    system = System()
    clock = made(system)
    for _ in range(100):
        system.pass_s(0.1)
        assert clock.follow() == 0.0
        assert clock.wall_ms() == pytest.approx(system.wall_ms, abs=1.001)
    assert clock.jumps == 0


@pytest.mark.parametrize("jump_ms", [3_600_000.0, -3_600_000.0, 700.0, -700.0])
def test_a_jump_is_told_once_and_followed_slowly(jump_ms: float) -> None:
    system = System()
    clock = made(system)
    system.pass_s(0.1)
    clock.follow()
    before = clock.wall_ms()
    system.wall_ms += jump_ms
    assert clock.follow() == pytest.approx(jump_ms, abs=10)
    assert abs(clock.wall_ms() - before) <= 1
    for _ in range(10):
        system.pass_s(0.1)
        assert clock.follow() == 0.0
    assert clock.jumps == 1
    assert clock.wall_ms() - before == pytest.approx(1000 + (50 if jump_ms > 0 else -50), abs=2)
    for _ in range(1000):
        system.pass_s(abs(jump_ms) / 1000 / 40)
        clock.follow()
    assert clock.wall_ms() == pytest.approx(system.wall_ms, abs=2)


def test_small_differences_are_no_jumps() -> None:
    system = System()
    clock = made(system)
    for _ in range(50):
        system.pass_s(0.1)
        system.wall_ms += 20  # somebody adjusts it, quickly
        assert clock.follow() == 0.0
    assert clock.jumps == 0
