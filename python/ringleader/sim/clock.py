"""Virtual time: one heap of events, and clocks that drift.

An event is a plain tuple `(at_us, number, call, argument)`: at `at_us` the loop calls
`call(argument)`.  `number` counts the events as they were scheduled, so that events of the same
microsecond run in that order, on every machine, and a comparison never reaches `call`.  The tuple
is all that an event costs; only what must be cancelled gets an object of its own (`Timer`).

Time is an integer number of microseconds since the run began.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from ringleader.errors import SettingError

Call = Callable[[Any], object]
Event = tuple[int, int, Call, Any]

#: Parts in a million: how clock rates are given.
PPM = 1_000_000


class Timer:
    """An event that can still be called off."""

    __slots__ = ("_argument", "_call")

    def __init__(self, call: Call, argument: Any) -> None:
        self._call: Call | None = call
        self._argument = argument

    @property
    def pending(self) -> bool:
        return self._call is not None

    def cancel(self) -> None:
        """It will not fire; calling off one that fired already does nothing."""
        self._call = self._argument = None

    def _fire(self, _: None) -> None:
        call = self._call
        if call is not None:
            argument = self._argument
            self._call = self._argument = None
            call(argument)


class Clock:
    """The one true time of a run, and the events to come.

    now_us      the time.  Invariant: it never goes back, and no event lies before it.
    """

    __slots__ = ("_heap", "_number", "_stopped", "now_us")

    def __init__(self) -> None:
        self.now_us = 0
        self._heap: list[Event] = []
        self._number = 0
        self._stopped = False

    def __len__(self) -> int:
        """How many events are to come, cancelled ones included."""
        return len(self._heap)

    @property
    def scheduled_count(self) -> int:
        """How many events were ever scheduled."""
        return self._number

    @property
    def next_us(self) -> int | None:
        """When the next event is due."""
        return self._heap[0][0] if self._heap else None

    def at(self, at_us: int, call: Call, argument: Any = None) -> None:
        """Run `call(argument)` at a time that has not passed."""
        assert at_us >= self.now_us, "an event in the past"
        self._number = number = self._number + 1
        heappush(self._heap, (at_us, number, call, argument))

    def after(self, delay_us: int, call: Call, argument: Any = None) -> None:
        """Run `call(argument)` in `delay_us`, 0 or more: after all that is due before."""
        self.at(self.now_us + delay_us, call, argument)

    def timer(self, delay_us: int, call: Call, argument: Any = None) -> Timer:
        """`after`, but it can be called off."""
        timer = Timer(call, argument)
        self.at(self.now_us + delay_us, timer._fire)
        return timer

    def step(self) -> bool:
        """Run the next event; False when there is none."""
        if not self._heap:
            return False
        self.now_us, _, call, argument = heappop(self._heap)
        call(argument)
        return True

    def run(self, until_us: int) -> None:
        """Run every event up to and at `until_us`, which is the time then; `stop()` ends it
        early."""
        heap = self._heap
        pop = heappop
        self._stopped = False
        while heap and heap[0][0] <= until_us:
            self.now_us, _, call, argument = pop(heap)
            call(argument)
            if self._stopped:
                return
        if until_us > self.now_us:
            self.now_us = until_us

    def stop(self) -> None:
        """Let `run` return after the event that is running."""
        self._stopped = True


class NodeClock:
    """What one node takes for the time: `rate_ppm` faster (or slower, below 0) than true time.

    It is a monotonic clock, so it may jump ahead (a machine that slept and counts the sleep) but
    never goes back.  Its timers run on it: one of a fast clock comes early.

    Invariant: readings never go back, whatever rates and jumps.
    """

    __slots__ = ("_base_local_us", "_base_true_us", "clock", "rate_ppm")

    def __init__(self, clock: Clock, rate_ppm: int = 0, start_us: int = 0) -> None:
        self.clock = clock
        self._base_true_us = clock.now_us
        self._base_local_us = start_us
        self.rate_ppm = 0
        self.set_rate(rate_ppm)

    @property
    def now_us(self) -> int:
        passed_us = self.clock.now_us - self._base_true_us
        return self._base_local_us + passed_us * (PPM + self.rate_ppm) // PPM

    def set_rate(self, rate_ppm: int) -> None:
        """Run at another rate from now on; timers that run already keep their true time.

        Raises:
            SettingError: the clock would stand still or run backwards.
        """
        if rate_ppm <= -PPM:
            raise SettingError(f"a clock at {rate_ppm} ppm does not run forward")
        self._base_local_us = self.now_us
        self._base_true_us = self.clock.now_us
        self.rate_ppm = rate_ppm

    def jump(self, ahead_us: int) -> None:
        """Show `ahead_us` more from now on.  A `Ticker` on it makes up for the time at its next
        tick.

        Raises:
            SettingError: back in time.
        """
        if ahead_us < 0:
            raise SettingError(f"a monotonic clock does not go back ({ahead_us} µs)")
        self._base_local_us += ahead_us

    def true_us(self, local_us: int) -> int:
        """How much true time passes, at least, until `local_us` have passed here."""
        return -(-local_us * PPM // (PPM + self.rate_ppm))

    def after(self, local_us: int, call: Call, argument: Any = None) -> None:
        """`Clock.after`, in this clock's time."""
        self.clock.after(self.true_us(local_us), call, argument)

    def timer(self, local_us: int, call: Call, argument: Any = None) -> Timer:
        """`Clock.timer`, in this clock's time."""
        return self.clock.timer(self.true_us(local_us), call, argument)


class Ticker:
    """Calls `tick(count)` every `period_us` of a node's clock, with how many periods have passed.

    `count` is 1 but after a jump of the clock, or after `late_us` was set: then the node was busy
    elsewhere, its timer comes that much later (once), and the next ticks catch up.
    """

    __slots__ = ("_clock", "_due_us", "_period_us", "_tick", "_timer", "late_us")

    def __init__(self, clock: NodeClock, period_us: int, tick: Callable[[int], object]) -> None:
        if period_us < 1:
            raise SettingError(f"a tick of {period_us} µs")
        self._clock = clock
        self._period_us = period_us
        self._tick = tick
        self.late_us = 0
        self._due_us = clock.now_us + period_us
        self._timer = clock.timer(period_us, self._fire)

    def cancel(self) -> None:
        self._timer.cancel()

    def catch_up(self) -> None:
        """Tick now if a tick is due already: what a node does before it looks at its clock."""
        if self._clock.now_us >= self._due_us:
            self._timer.cancel()
            self._fire(None)

    def _fire(self, _: None) -> None:
        clock = self._clock
        now_us = clock.now_us
        count = 0
        if now_us >= self._due_us:
            count = 1 + (now_us - self._due_us) // self._period_us
            self._due_us += count * self._period_us
        self._timer = clock.timer(self._due_us - now_us + self.late_us, self._fire)
        self.late_us = 0
        if count:
            self._tick(count)
