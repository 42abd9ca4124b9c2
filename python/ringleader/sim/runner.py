"""One seed, many seeds, and what to do with one that fails: shrink it.

A run is a function of its `Settings`: the same settings give the same run to the byte, on any
machine, which `Report.digest` shows.  A failure is therefore told by its settings; `shrink` looks
for smaller ones (fewer faults, a shorter time, fewer clients and nodes) that break the same
invariant.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ringleader.errors import InvariantViolation, SettingError
from ringleader.sim import profiles
from ringleader.sim.cluster import Cluster
from ringleader.sim.family import CoreFactory, family
from ringleader.sim.nemesis import Decision, schedule
from ringleader.sim.workload import Scenario

SECOND = 1_000_000
#: Runs that `shrink` may spend.
SHRINK_RUNS_MAX = 400


@dataclass(frozen=True)
class Settings:
    """What a run is a function of."""

    seed: int
    profile: str = "wan-3dc"
    faults: str = "all"
    duration_us: int = 20 * SECOND
    clients: int = 6
    nodes: int | None = None
    only: tuple[int, ...] | None = None
    until_us: int | None = None
    consensus: str = "raft"

    def check(self) -> None:
        """Raises:
        SettingError: a name is unknown, or a number impossible.
        """
        profile = profiles.profile(self.profile)
        profiles.faults(self.faults)
        family(self.consensus)
        if self.nodes is not None and not 1 <= self.nodes <= len(profile.nodes):
            raise SettingError(
                f"nodes={self.nodes}: profile {self.profile!r} has 1 to {len(profile.nodes)}"
            )
        if not 1 <= self.clients <= 1000:
            raise SettingError(f"clients={self.clients} lies outside 1 ... 1000")
        if self.duration_us < 1 or (self.until_us is not None and self.until_us < 1):
            raise SettingError("a run takes longer than nothing")

    @property
    def end_us(self) -> int:
        return self.duration_us if self.until_us is None else min(self.until_us, self.duration_us)

    def decisions(self) -> list[Decision]:
        """The faults of this run."""
        drawn = schedule(self.seed, profiles.faults(self.faults), self.end_us)
        if self.only is None:
            return drawn
        return [decision for decision in drawn if decision.number in self.only]

    @property
    def command(self) -> str:
        """The command line that runs these settings again."""
        defaults = Settings(self.seed)
        parts = ["ringleader simulate"]
        if self.consensus != defaults.consensus:
            parts.append(f"--consensus {self.consensus}")
        parts += [f"--seed {self.seed}", f"--profile {self.profile}", f"--faults {self.faults}"]
        if self.duration_us != defaults.duration_us:
            parts.append(f"--duration {_seconds(self.duration_us)}")
        if self.clients != defaults.clients:
            parts.append(f"--clients {self.clients}")
        if self.nodes is not None:
            parts.append(f"--nodes {self.nodes}")
        if self.only is not None:
            parts.append(f"--only {','.join(map(str, self.only)) or 'none'}")
        if self.until_us is not None:
            parts.append(f"--until {_seconds(self.until_us)}")
        return " ".join(parts)


def _seconds(time_us: int) -> str:
    return f"{time_us / SECOND:.6f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True)
class Failure:
    """The invariant that broke; number 0: the simulator itself failed."""

    number: int
    text: str
    time_us: int
    story: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What became of a run."""

    settings: Settings
    digest: str
    messages: int
    virtual_us: int
    wall_s: float
    coverage: dict[str, int] = field(default_factory=dict)
    failure: Failure | None = None


def run(
    settings: Settings, core: CoreFactory | None = None, scenario: Scenario | None = None
) -> Report:
    """Simulate once.

    Raises:
        SettingError: the settings cannot be run.
    """
    settings.check()
    # What a run makes, it keeps; looking for garbage among it, over and over, costs a tenth.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _run(settings, core, scenario)
    finally:
        if collects:
            gc.enable()


def _run(settings: Settings, core: CoreFactory | None, scenario: Scenario | None) -> Report:
    begun = time.perf_counter()
    cluster = Cluster(
        profiles.profile(settings.profile),
        profiles.faults(settings.faults),
        settings.seed,
        consensus=settings.consensus,
        core=core,
        scenario=scenario,
        duration_us=settings.duration_us,
        clients=settings.clients,
        nodes=settings.nodes,
        only=settings.only,
        until_us=settings.until_us,
    )
    failure: Failure | None = None
    try:
        cluster.run()
    except InvariantViolation as violation:
        text = str(violation)
        if violation.__cause__ is not None:
            text += "\n" + "".join(traceback.format_exception(violation.__cause__)).rstrip()
        failure = Failure(violation.number, text, cluster.clock.now_us, violation.story)
    except Exception:
        failure = Failure(0, traceback.format_exc().rstrip(), cluster.clock.now_us)
    return Report(
        settings,
        cluster.digest(),
        cluster.network.counters.delivered,
        cluster.clock.now_us,
        time.perf_counter() - begun,
        dict(cluster.checker.coverage),
        failure,
    )


def run_many(
    settings: Settings,
    seeds: Iterable[int],
    jobs: int | None = None,
    core: CoreFactory | None = None,
    scenario: Scenario | None = None,
) -> Iterator[Report]:
    """Simulate the same with each seed, in `jobs` processes (as many as CPUs), in any order."""
    settings.check()
    tasks = [(replace(settings, seed=seed), core, scenario) for seed in seeds]
    jobs = min(jobs or os.cpu_count() or 1, max(1, len(tasks)))
    if jobs == 1:
        yield from map(_run_task, tasks)
        return
    # Not forked: the parent may have threads.
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_run_task, tasks, chunksize=1)


def _run_task(task: tuple[Settings, CoreFactory | None, Scenario | None]) -> Report:
    return run(*task)


# --- shrinking --------------------------------------------------------------------------------


def shrink(
    report: Report,
    core: CoreFactory | None = None,
    scenario: Scenario | None = None,
    *,
    runs_max: int = SHRINK_RUNS_MAX,
    progress: Callable[[Settings, int], None] | None = None,
) -> Report:
    """Smaller settings that break the same invariant.

    In turn, until nothing helps any more: end at the moment of the failure; leave out faults by
    delta debugging (Zeller and Hildebrandt 2002); fewer clients; fewer nodes; kinds of faults that
    strike single messages and syncs.

    Args:
        report: of a run that failed.
        runs_max: how many runs this may take.
        progress: called after each with the smallest settings so far and the number of runs.
    """
    assert report.failure is not None
    best = report
    number = report.failure.number
    count = 0

    def attempt(settings: Settings) -> bool:
        nonlocal best, count
        if count >= runs_max:
            return False
        count += 1
        tried = run(settings, core, scenario)
        fails = tried.failure is not None and tried.failure.number == number
        if fails:
            best = tried
        if progress is not None:
            progress(best.settings, count)
        return fails

    def earlier() -> None:
        failure = best.failure
        assert failure is not None
        until_us = min(failure.time_us, best.settings.end_us)
        if until_us < best.settings.end_us:
            attempt(replace(best.settings, until_us=until_us))

    def fewer_faults() -> None:
        kept = [decision.number for decision in best.settings.decisions()]
        settings = best.settings

        def fails(some: Sequence[int]) -> bool:
            return attempt(replace(settings, only=tuple(some)))

        if kept and not fails([]):
            _minimize(kept, fails)

    def fewer_clients() -> None:
        for clients in (1, 2, 3, 4):
            if clients < best.settings.clients and attempt(replace(best.settings, clients=clients)):
                return

    def fewer_nodes() -> None:
        most = best.settings.nodes or len(profiles.profile(best.settings.profile).nodes)
        for nodes in range(3, most):
            if attempt(replace(best.settings, nodes=nodes)):
                return

    for _ in range(3):
        before = best.settings
        earlier()
        fewer_faults()
        fewer_clients()
        fewer_nodes()
        earlier()
        if best.settings == before or count >= runs_max:
            break
    return best


def _minimize(items: list[int], fails: Callable[[Sequence[int]], bool]) -> list[int]:
    """A small part of `items` that still fails: no single one of it can be left out."""
    pieces = 2
    while len(items) >= 2:
        size = -(-len(items) // pieces)
        for at in range(0, len(items), size):
            rest = items[:at] + items[at + size :]
            if rest and fails(rest):
                items = rest
                pieces = max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(items))
    return items


# --- adding up --------------------------------------------------------------------------------


class Total:
    """The sum of many reports."""

    def __init__(self) -> None:
        self.runs = 0
        self.messages = 0
        self.virtual_us = 0
        self.wall_s = 0.0
        self.coverage: Counter[str] = Counter()
        #: State -> how many runs reached it.
        self.reached: Counter[str] = Counter()

    def add(self, report: Report) -> None:
        self.runs += 1
        self.messages += report.messages
        self.virtual_us += report.virtual_us
        self.wall_s += report.wall_s
        self.coverage.update(report.coverage)
        self.reached.update(report.coverage.keys())
