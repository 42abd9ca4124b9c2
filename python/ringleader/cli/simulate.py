"""`ringleader simulate`: run a consensus group through faults, seed after seed, and watch."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from ringleader.sim import profiles
from ringleader.sim.family import FAMILIES
from ringleader.sim.runner import Report, Settings, Total, run, run_many, shrink

if TYPE_CHECKING:
    from rich.console import Console

    from ringleader.sim.workload import Scenario

EXIT_BROKEN = 1
#: Where there is no terminal, a line of progress comes so often.
PLAIN_PROGRESS_S = 10.0
STORY_WIDTH = 200

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "": 1_000_000,
}


class _Time(click.ParamType[int]):
    """Virtual time: `12.5s`, `300ms`, `2m`; a bare number is seconds.  In microseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(us|ms|s|m|h|)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no time: write it like 12.5s, 300ms or 2m", param, ctx)
        time_us = round(float(match[1]) * _UNITS_US[match[2]])
        if time_us < 1:
            self.fail(f"{value!r}: a run takes longer than that", param, ctx)
        return time_us


class _Numbers(click.ParamType[tuple[int, ...]]):
    """Numbers of faults: `3,17,40`, or `none`."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        if value == "none":
            return ()
        try:
            numbers = tuple(int(number) for number in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers like 3,17,40", param, ctx)
        if min(numbers) < 1:
            self.fail(f"{value!r}: faults are numbered from 1 on", param, ctx)
        return numbers


@click.command()
@click.option(
    "--consensus",
    type=click.Choice(tuple(FAMILIES)),
    default="raft",
    show_default=True,
    help="What the group runs on.",
)
@click.option(
    "--machine",
    type=click.Choice(("map", "store")),
    default="map",
    show_default=True,
    help="What it replicates: a small map, or a shard of the node, with all that is above it.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10**9),
    default=100,
    show_default=True,
    help="How many seeds, from --first on.",
)
@click.option("--first", type=click.IntRange(0, 2**62), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**63), help="Run this one seed.")
@click.option(
    "--profile",
    default="wan-3dc",
    show_default=True,
    help=f"Where the nodes stand: {', '.join(profiles.PROFILES)}.",
)
@click.option(
    "--faults",
    default="all",
    show_default=True,
    help=f"What goes wrong, several with commas: {', '.join(profiles.FAULTS)}.",
)
@click.option(
    "--duration",
    type=_Time(),
    default="20s",
    show_default=True,
    help="How long faults go on in each run, in virtual time.",
)
@click.option("--jobs", type=click.IntRange(1, 1024), help="Processes.  [default: one per CPU]")
@click.option(
    "--clients", type=click.IntRange(1, 1000), default=6, show_default=True, help="In each run."
)
@click.option("--nodes", type=click.IntRange(1, 100), help="Only the first of the profile's nodes.")
@click.option(
    "--only", type=_Numbers(), help="With --seed: of the faults only these, like 3,17,40."
)
@click.option("--until", type=_Time(), help="With --seed: heal everything at this time.")
@click.option("--shrink/--no-shrink", "shrinks", default=True, help="Look for a smaller failure.")
def simulate(
    consensus: str,
    machine: str,
    seeds: int,
    first: int,
    seed: int | None,
    profile: str,
    faults: str,
    duration: int,
    jobs: int | None,
    clients: int,
    nodes: int | None,
    only: tuple[int, ...] | None,
    until: int | None,
    shrinks: bool,
) -> None:
    """Try to break consensus: crashes, partitions, bad disks, drifting clocks, virtual time.

    Each seed is one run of a whole group with clients; it is checked at every step, healed at the
    end, and has to recover.  The same seed gives the same run, byte for byte.  Ends with 1 at the
    first failure, which it shrinks and shows.
    """
    from ringleader.cli.tables import console

    if seed is None and (only is not None or until is not None):
        raise click.UsageError("--only and --until belong to one run: give its --seed.")
    settings = Settings(
        first if seed is None else seed,
        profile=profile,
        faults=faults,
        duration_us=duration,
        clients=clients,
        nodes=nodes,
        only=only,
        until_us=until,
        consensus=consensus,
    )
    settings.check()
    scenario = _scenario(machine)
    out = console()
    total = Total()
    begun = time.perf_counter()
    failed: Report | None = None
    if seed is not None:
        report = run(settings, scenario=scenario)
        total.add(report)
        failed = report if report.failure is not None else None
    else:
        numbers = range(first, first + seeds)
        with _progress(out, seeds) as show:
            for report in run_many(settings, numbers, jobs, scenario=scenario):
                total.add(report)
                show(total, time.perf_counter() - begun)
                if report.failure is not None:
                    failed = report
                    break
    wall_s = time.perf_counter() - begun
    _show_total(out, total, wall_s, seed is not None)
    if seed is not None:
        out.print(f"digest {report.digest}")
    if failed is None:
        _show_coverage(out, total, FAMILIES[consensus].states)
        out.print("All invariants held.", style="bold green")
        return
    _show_failure(out, failed, shrinks, scenario, machine)
    raise click.exceptions.Exit(EXIT_BROKEN)


def _scenario(machine: str) -> Scenario | None:
    if machine == "map":
        return None
    from ringleader.shardsim.scenario import Shards

    return Shards()


def _show_total(out: Console, total: Total, wall_s: float, is_one: bool) -> None:
    what = "1 run" if is_one else f"{total.runs:,} runs"
    out.print(f"{what}: {_rates(total, wall_s)}")


def _rates(total: Total, wall_s: float) -> str:
    wall_s = max(wall_s, 1e-9)
    hours = total.virtual_us / 3.6e9
    busy_s = max(total.wall_s, 1e-9)
    return (
        f"{hours:,.2f} virtual hours in {wall_s:,.1f} s "
        f"({total.virtual_us / 1e6 / wall_s:,.0f} times real time), "
        f"{total.messages:,} messages, {total.messages / busy_s:,.0f}/s on one core"
    )


@contextmanager
def _progress(out: Console, seeds: int) -> Iterator[Any]:
    """Calls of what this gives show how far the runs are."""
    if out.is_terminal:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        with Progress(*columns, console=out, transient=True) as progress:
            task = progress.add_task("", total=seeds)

            def update(total: Total, wall_s: float) -> None:
                progress.update(task, completed=total.runs, description=_rates(total, wall_s))

            yield update
        return
    last_s = 0.0

    def line(total: Total, wall_s: float) -> None:
        nonlocal last_s
        if wall_s - last_s >= PLAIN_PROGRESS_S:
            last_s = wall_s
            out.print(f"{total.runs:,} of {seeds:,} runs: {_rates(total, wall_s)}")

    yield line


def _show_coverage(out: Console, total: Total, states: tuple[str, ...]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("state reached")
    table.add_column("times", justify="right")
    table.add_column("runs", justify="right")
    names: Iterable[str] = (*states, *sorted(total.coverage.keys() - {*states}))
    for name in names:
        count = total.coverage[name]
        table.add_row(name, f"{count:,}", f"{total.reached[name]:,}", style="" if count else "dim")
    out.print(table)


def _show_failure(
    out: Console, failed: Report, shrinks: bool, scenario: Scenario | None, machine: str
) -> None:
    assert failed.failure is not None
    out.print(f"seed {failed.settings.seed}: {failed.failure.text}", style="bold red")
    smallest = failed
    if shrinks and failed.failure.number:
        before = len(failed.settings.decisions())
        with out.status("shrinking") if out.is_terminal else _nothing():
            smallest = shrink(failed, scenario=scenario)
        assert smallest.failure is not None
        out.print(
            f"shrunk from {before} faults in {failed.virtual_us / 1e6:.1f} s to "
            f"{len(smallest.settings.decisions())} in {smallest.virtual_us / 1e6:.1f} s:"
        )
        out.print(smallest.failure.text)
    assert smallest.failure is not None
    for decision in smallest.settings.decisions():
        if decision.at_us <= smallest.virtual_us:
            out.print(f"  {decision}")
    for line in smallest.failure.story:
        out.print(line if len(line) <= STORY_WIDTH else line[: STORY_WIDTH - 3] + "...")
    out.print("To see it again:", style="bold")
    command = smallest.settings.command
    out.print(command if scenario is None else f"{command} --machine {machine}", soft_wrap=True)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
