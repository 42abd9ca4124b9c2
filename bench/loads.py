"""Measuring services that run in processes of their own, in turns, and how their results look.

As in `bench.harness`: every contestant has a turn in every round, the rounds begin with another
one each time, and what is reported are medians over the rounds, and of ratios within a round.  A
turn loads one service for about `TURN_SECONDS`; the others run, and are idle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from bench.cases import SMALL
from bench.harness import Absent, Spread, Verdict
from bench.services import Sample, Service, Work

ROUNDS = 2 if SMALL else 5
TURN_SECONDS = 0.1 if SMALL else 2.0
COUNT_MIN = 100 if SMALL else 500
TRIES = 3


@dataclass(frozen=True)
class RateGoal:
    """At least so many operations a second."""

    rate: float
    of: str = "ringleader"


@dataclass(frozen=True)
class LatencyGoal:
    """At most so many milliseconds; `quantile` is 50 or 99."""

    ms: float
    quantile: int
    of: str = "ringleader"


Goal = RateGoal | LatencyGoal


@dataclass(frozen=True)
class Score:
    name: str
    kind: str
    note: str
    rate: Spread
    p50_ms: float
    p99_ms: float
    ratio: float  # of our rate to its rate, within a round
    failed: int


@dataclass(frozen=True)
class Result:
    title: str
    scores: list[Score]
    absent: list[Absent]
    verdicts: list[Verdict] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    title: str,
    work: Work,
    services: Sequence[Service],
    goals: Sequence[Goal] = (),
    absent: Sequence[Absent] = (),
) -> Result:
    """Load each service in turns.  The first one is ours.  A turn of another's that broke off is
    taken again.

    Raises:
        RuntimeError: a load generator broke off: ours, or another's `TRIES` times.
    """
    entered: list[Service] = []
    counts: list[int] = []
    left_out = list(absent)
    for service in services:
        count = COUNT_MIN
        # The first operations pay for connections, so that the second estimate is the better one.
        for share in (0.2, 1.0):
            found = _loaded(service, work, count)
            if found is None:
                break
            count = max(COUNT_MIN, int(found.rate * TURN_SECONDS * share))
        else:
            entered.append(service)
            counts.append(count)
            continue
        left_out.append(Absent(service.name, "has no such thing"))
    samples: list[list[Sample]] = [[] for _ in entered]
    for round_number in range(ROUNDS):
        for turn in range(len(entered)):
            at = (turn + round_number) % len(entered)
            sample = _loaded(entered[at], work, counts[at])
            assert sample is not None
            samples[at].append(sample)
    scores = [
        _score(service, own, samples[0]) for service, own in zip(entered, samples, strict=True)
    ]
    by_name = {score.name: score for score in scores}
    return Result(title, scores, left_out, [_verdict(goal, by_name) for goal in goals])


def _loaded(service: Service, work: Work, count: int) -> Sample | None:
    for _ in range(0 if service.kind == "ours" else TRIES - 1):
        with suppress(RuntimeError):
            return service.load(work, count)
    return service.load(work, count)


def _score(service: Service, own: Sequence[Sample], ours: Sequence[Sample]) -> Score:
    return Score(
        service.name,
        service.kind,
        service.note,
        Spread.of([sample.rate for sample in own]),
        median(sample.p50_ms for sample in own),
        median(sample.p99_ms for sample in own),
        median(first.rate / sample.rate for first, sample in zip(ours, own, strict=True)),
        sum(sample.failed for sample in own),
    )


def _verdict(goal: Goal, scores: dict[str, Score]) -> Verdict:
    who = "" if goal.of == "ringleader" else f"{goal.of}: "
    score = scores.get(goal.of)
    if isinstance(goal, RateGoal):
        text = f"{who}≥ {goal.rate:,.0f} /s"
        if score is None:
            return Verdict(text, "not measured", None)
        return Verdict(text, f"{score.rate.median:,.0f} /s", score.rate.median >= goal.rate)
    text = f"{who}p{goal.quantile} ≤ {goal.ms:g} ms"
    if score is None:
        return Verdict(text, "not measured", None)
    value = score.p50_ms if goal.quantile == 50 else score.p99_ms
    return Verdict(text, f"{value:.3g} ms", value <= goal.ms)


# --- times that are measured a few times each -----------------------------------------------------


@dataclass(frozen=True)
class Times:
    """How long something took each time, in seconds; or how much it took, in another unit."""

    name: str
    values: list[float]
    note: str = ""


@dataclass(frozen=True)
class TimesResult:
    title: str
    unit: str
    entries: list[Times]
    absent: list[Absent]
    verdicts: list[Verdict] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_times(
    title: str,
    unit: str,
    entries: Sequence[tuple[str, str, Callable[[], float]]],
    *,
    rounds: int,
    at_most: float | None = None,
    absent: Sequence[Absent] = (),
) -> TimesResult:
    """Call each (name, note, call) in turns; the first is ours, its median has to be `at_most`.

    When another's call fails in some round, its note says so.
    """
    values: list[list[float]] = [[] for _ in entries]
    failures: list[list[str]] = [[] for _ in entries]
    for round_number in range(rounds):
        for turn in range(len(entries)):
            at = (turn + round_number) % len(entries)
            try:
                values[at].append(entries[at][2]())
            except RuntimeError as error:
                if at == 0:
                    raise
                failures[at].append(str(error))
    found = []
    missing = list(absent)
    for (name, note, _), own, failed in zip(entries, values, failures, strict=True):
        if failed:
            note = f"{note}; {len(failed)} of {rounds} rounds: {failed[0]}".removeprefix("; ")
        if own:
            found.append(Times(name, own, note))
        else:
            missing.append(Absent(name, note))
    verdicts = []
    if at_most is not None:
        worst = median(values[0])
        verdicts.append(Verdict(f"≤ {at_most:g} {unit}", f"{worst:.3g} {unit}", worst <= at_most))
    return TimesResult(title, unit, found, missing, verdicts)
