"""Measuring contestants in turns, so that their ratios hold on a machine that is never quiet.

A shared machine drifts by a factor of two within a minute, and so do times taken one after the
other.  Here every contestant of a case has a short turn in every round, the rounds begin with
another contestant each time, and what is reported is

    time     the median over the rounds of a contestant's time for one operation
    ratio    the median over the rounds of (its time / our time in the same round)

with the quartiles of both, and the share of the CPUs that other processes took meanwhile: where
that is large even ratios are to be doubted, those of threads above all.

A turn is one lap or more: as many as fill `TURN_SECONDS`.  A contestant in another process is timed
by that process.  Garbage collection is off during turns.
Every contestant's answers are summed up before the first turn and after the last one, and have to
agree: what is measured is work that was really done.
"""

from __future__ import annotations

import gc
import os
import zlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from math import ceil
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any, Literal

import numpy as np

from bench.cases import SMALL

ROUNDS_MAX = 2 if SMALL else 11
ROUNDS_MIN = 2 if SMALL else 5
#: No further round begins after this time.
CASE_SECONDS = 30.0
TURN_SECONDS = 0.0 if SMALL else 0.1
LAPS_MAX = 1_000

Kind = Literal["ours", "peer", "floor"]


@dataclass(frozen=True)
class Contestant:
    """One way of doing a case's work.

    Attributes:
        name: how the tables call it.
        run: does one lap; of a contestant with a clock of its own, gives the seconds it took.
        ops: operations in a lap (keys, calls).
        kind: "floor" is what the machine can do at best, and no rival.
        prepare: undoes or sets up a lap, outside the time.
        answers: gives all answers of a lap, where `run` itself does not return them.
        turn: held during each of its turns, outside the time.
        own_clock: it works in another process, whose clock counts; `answers` is needed then.
    """

    name: str
    run: Callable[[], Any]
    ops: int
    kind: Kind = "peer"
    prepare: Callable[[], object] | None = None
    answers: Callable[[], Any] | None = None
    turn: Callable[[], AbstractContextManager[object]] = nullcontext
    own_clock: bool = False

    def __post_init__(self) -> None:
        assert not self.own_clock or self.answers is not None, "its run() gives a time"


@dataclass(frozen=True)
class Absent:
    """A contestant that cannot take part here, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class AtMost:
    """`of` takes at most so many nanoseconds an operation."""

    ns: float
    of: str = "ringleader"


@dataclass(frozen=True)
class Faster:
    """`of` is at least so many times as fast as `than`."""

    times: float
    than: str
    of: str = "ringleader"


@dataclass(frozen=True)
class Within:
    """`of` takes at most so many times the time of `floor`."""

    times: float
    floor: str
    of: str = "ringleader"


Goal = AtMost | Faster | Within


@dataclass(frozen=True)
class Case:
    """What is compared: contestants that do the same work.  The first one is ours."""

    title: str
    unit: str
    contestants: Sequence[Contestant | Absent]
    goals: Sequence[Goal] = ()

    @property
    def ours(self) -> Contestant:
        first = self.contestants[0]
        assert isinstance(first, Contestant), "the first contestant is ours, and present"
        assert first.kind == "ours", "the first contestant is ours, and present"
        return first


@dataclass(frozen=True)
class Spread:
    """Median and quartiles over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(median(values), low, high)


@dataclass(frozen=True)
class Score:
    name: str
    kind: Kind
    ns: Spread
    ratio: Spread  # to ours; above 1 is slower than ours
    ops: int
    laps: int
    checksum: int


@dataclass(frozen=True)
class Verdict:
    text: str
    measured: str
    reached: bool | None  # None: could not be measured here


@dataclass(frozen=True)
class Result:
    title: str
    unit: str
    rounds: int
    scores: list[Score]
    absent: list[Absent]
    verdicts: list[Verdict] = field(default_factory=list)
    others: float | None = None  # share of all CPUs that other processes used; None: unknown

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Compare = Callable[[Case], Result]


def checksum(answers: Any) -> int:
    """A number that changes when any answer does."""
    if isinstance(answers, np.ndarray):
        return zlib.crc32(answers.tobytes())
    if isinstance(answers, int):
        return answers
    if isinstance(answers, set | frozenset):
        answers = sorted(answers)
    if isinstance(answers, list | tuple):
        total = 0
        for answer in answers:
            part = answer.encode() if isinstance(answer, str) else b"%d" % checksum(answer)
            total = zlib.crc32(part, total)
        return total
    if isinstance(answers, str | bytes):
        return zlib.crc32(answers.encode() if isinstance(answers, str) else answers)
    raise TypeError(f"no checksum of {type(answers).__name__}")


def measure(case: Case) -> Result:
    """Run the case: `ROUNDS_MAX` rounds, or as many of at least `ROUNDS_MIN` as time allows.

    Raises:
        AssertionError: a contestant's answers changed between its first lap and its last.
    """
    entered = [entry for entry in case.contestants if isinstance(entry, Contestant)]
    absent = [entry for entry in case.contestants if isinstance(entry, Absent)]
    names = [entry.name for entry in entered]
    assert len(set(names)) == len(names), names
    before = [checksum(_answers(entry)) for entry in entered]
    laps = [_laps_of(entry) for entry in entered]
    times: list[list[float]] = [[] for _ in entered]
    began, busy_before = perf_counter(), cpu_seconds()
    # What the case holds is not garbage: frozen, it makes the collections between rounds short.
    gc.collect()
    gc.freeze()
    try:
        for round_number in range(ROUNDS_MAX):
            if round_number >= ROUNDS_MIN and perf_counter() - began > CASE_SECONDS:
                break
            gc.collect()
            gc.disable()
            for turn in range(len(entered)):
                at = (turn + round_number) % len(entered)
                seconds = _turn(entered[at], laps[at])
                times[at].append(seconds / laps[at] / entered[at].ops * 1e9)
            gc.enable()
    finally:
        gc.enable()
        gc.unfreeze()
    others = _share_of_others(busy_before, cpu_seconds())
    scores = []
    for entry, first, count, own in zip(entered, before, laps, times, strict=True):
        last = checksum(_answers(entry))
        assert first == last, f"{entry.name} answered otherwise after its turns than before them"
        ratios = [theirs / ours for theirs, ours in zip(own, times[0], strict=True)]
        scores.append(
            Score(entry.name, entry.kind, Spread.of(own), Spread.of(ratios), entry.ops, count, last)
        )
    verdicts = [_verdict(goal, dict(zip(names, times, strict=True))) for goal in case.goals]
    return Result(case.title, case.unit, len(times[0]), scores, absent, verdicts, others)


@dataclass(frozen=True)
class CpuSeconds:
    """Since the machine started: of all CPUs, those of them not idle, and this process's own."""

    total: float
    busy: float
    own: float


def cpu_seconds() -> CpuSeconds | None:
    """None where the system does not say."""
    statistics = Path("/proc/stat")
    if not statistics.exists():
        return None
    ticks = [int(field) for field in statistics.read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    own = os.times()
    per_second = os.sysconf("SC_CLK_TCK")
    return CpuSeconds(
        sum(ticks) / per_second, (sum(ticks) - idle) / per_second, own.user + own.system
    )


def _share_of_others(before: CpuSeconds | None, after: CpuSeconds | None) -> float | None:
    if before is None or after is None or after.total <= before.total:
        return None
    elsewhere = (after.busy - before.busy) - (after.own - before.own)
    return min(1.0, max(0.0, elsewhere / (after.total - before.total)))


def _answers(entry: Contestant) -> Any:
    with entry.turn():
        if entry.answers is not None:
            return entry.answers()
        if entry.prepare is not None:
            entry.prepare()
        return entry.run()


def _laps_of(entry: Contestant) -> int:
    # The second lap counts: the first one may still compile, or fill caches.
    _turn(entry, 1)
    return min(LAPS_MAX, max(1, ceil(TURN_SECONDS / max(_turn(entry, 1), 1e-9))))


def _turn(entry: Contestant, laps: int) -> float:
    run, prepare = entry.run, entry.prepare
    with entry.turn():
        if entry.own_clock:
            return float(sum(run() for _ in range(laps)))
        if prepare is None:
            began = perf_counter()
            for _ in range(laps):
                run()
            return perf_counter() - began
        seconds = 0.0
        for _ in range(laps):
            prepare()
            began = perf_counter()
            run()
            seconds += perf_counter() - began
        return seconds


def _verdict(goal: Goal, times: dict[str, list[float]]) -> Verdict:
    who = "" if goal.of == "ringleader" else f"{goal.of}: "
    own = times.get(goal.of)
    if isinstance(goal, AtMost):
        text = f"{who}≤ {duration(goal.ns)}"
        if own is None:
            return Verdict(text, "not measured", None)
        value = median(own)
        return Verdict(text, duration(value), value <= goal.ns)
    other = goal.than if isinstance(goal, Faster) else goal.floor
    if isinstance(goal, Faster):
        text = f"{who}≥ {goal.times:g}x as fast as {other}"
    else:
        text = f"{who}≤ {goal.times:g}x {other}"
    if own is None or other not in times:
        return Verdict(text, "not measured", None)
    pairs = zip(own, times[other], strict=True)
    if isinstance(goal, Faster):
        value = median([theirs / ours for ours, theirs in pairs])
        return Verdict(text, factor(value), value >= goal.times)
    value = median([ours / theirs for ours, theirs in pairs])
    return Verdict(text, factor(value), value <= goal.times)


def duration(ns: float) -> str:
    """Nanoseconds in the unit that suits them, with three digits."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if ns >= size:
            return f"{_three_digits(ns / size)} {unit}"
    return f"{_three_digits(ns)} ns"


def factor(value: float) -> str:
    return f"{_three_digits(value)}x"


def _three_digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
