"""A node's time.

Two clocks of the system, and what is made of them:

    elapsed time    never goes back, and runs while the process is stopped and (where the system has
                    such a clock) while the machine sleeps.  Ticks of consensus are counted by it.
    wall clock      may jump at any time.  Keys expire by it, so what jumps is not taken over at
                    once: `wall_ms` goes on by elapsed time, and follows the system's by at most
                    `CLOCK_SLEW` of that.  So a clock that is set wrong for a moment, while the node
                    runs, makes nothing expire.  What it says when the node starts is believed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from ringleader.limits import CLOCK_JUMP_MS, CLOCK_SLEW

_ELAPSED = getattr(time, "CLOCK_BOOTTIME", None)


def _system_elapsed_s() -> float:
    if _ELAPSED is None:
        return time.monotonic()
    return time.clock_gettime(_ELAPSED)


def _system_wall_ms() -> float:
    return time.time_ns() / 1e6


class Ticking(Protocol):
    """Who counts ticks: a `consensus.driver.Driver`."""

    def tick(self, count: int = 1) -> None: ...


class NodeClock:
    """See the module's text.

    Args:
        tick_s: how long a tick lasts.
        elapsed_s, system_wall_ms: the clocks of the system.

    `jumps` counts how often the wall clock was seen to have jumped; `behind_ms` is how far
    `wall_ms` is behind the system's since then.
    """

    def __init__(
        self,
        tick_s: float,
        *,
        elapsed_s: Callable[[], float] = _system_elapsed_s,
        system_wall_ms: Callable[[], float] = _system_wall_ms,
    ) -> None:
        self.now_s = elapsed_s
        self.drivers: list[Ticking] = []
        self.jumps = 0
        self.behind_ms = 0.0
        self._tick_s = tick_s
        self._system_wall_ms = system_wall_ms
        self._start_s = self._seen_s = elapsed_s()
        self._ticks = 0
        self._next_s = self._start_s + tick_s
        #: wall_ms() = this + elapsed milliseconds.
        self._offset_ms = system_wall_ms() - self._start_s * 1000

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self.now_s() * 1000 + self._offset_ms)

    def catch_up(self) -> float:
        """Report all ticks that have passed to every driver; `now_s()`."""
        now_s = self.now_s()
        if now_s >= self._next_s:
            ticks = int((now_s - self._start_s) / self._tick_s)
            passed, self._ticks = ticks - self._ticks, ticks
            self._next_s = self._start_s + (ticks + 1) * self._tick_s
            for driver in self.drivers:
                driver.tick(passed)
        return now_s

    def follow(self) -> float:
        """Follow the system's wall clock a little; by how many ms that has just jumped, or 0.
        Called several times a second."""
        now_s = self.now_s()
        behind_ms = self._system_wall_ms() - (now_s * 1000 + self._offset_ms)
        jumped_ms = behind_ms - self.behind_ms
        most_ms = (now_s - self._seen_s) * 1000 * CLOCK_SLEW
        step_ms = max(-most_ms, min(most_ms, behind_ms))
        self._seen_s = now_s
        self._offset_ms += step_ms
        self.behind_ms = behind_ms - step_ms
        if abs(jumped_ms) < CLOCK_JUMP_MS:
            return 0.0
        self.jumps += 1
        return jumped_ms
