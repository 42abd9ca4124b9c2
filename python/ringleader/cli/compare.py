"""`ringleader compare`: every placement algorithm side by side, as a table and as pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click
from click.core import ParameterSource

from ringleader.cli.compare_consensus import consensus
from ringleader.cli.comparison import ALGORITHMS, Measured, measure
from ringleader.errors import SettingError

#: More nodes than this make some algorithms slow beyond patience.
NODES_MAX = 100_000


def _counts(text: str) -> list[int]:
    counts = []
    for part in text.split(","):
        written = part.strip()
        if not (written.isascii() and written.isdigit() and 2 <= int(written[:9]) <= NODES_MAX):
            raise SettingError(
                f"--nodes {text!r}: write numbers from 2 to {NODES_MAX}, such as 10,100,1000"
            )
        counts.append(int(written[:9]))
    return sorted(set(counts))


def _chosen(text: str | None) -> list[str]:
    if text is None:
        return list(ALGORITHMS)
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in ALGORITHMS:
            raise SettingError(
                f"--only {name!r} is not one of {', '.join(ALGORITHMS)}; separate them by commas"
            )
    return names


@click.group(invoke_without_command=True)
@click.option("--nodes", default="10,100,1000", show_default=True, help="Numbers of nodes.")
@click.option("--only", metavar="NAMES", help="Some algorithms, separated by commas.")
@click.option("--json", "json_path", metavar="FILE", help="Write the figures; - for stdout.")
@click.option("--plot", "plot_path", metavar="OUT", help="Draw them: a .png or .svg file.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.pass_context
def compare(
    context: click.Context,
    nodes: str,
    only: str | None,
    json_path: str | None,
    plot_path: str | None,
    force: bool,
) -> None:
    """Compare placement algorithms: evenness, movement, speed, memory.

    Each one places the same million keys on the same nodes, on one more and on one less.
    """
    if context.invoked_subcommand is not None:
        given = ParameterSource.COMMANDLINE
        if any(context.get_parameter_source(name) is given for name in context.params):
            raise click.UsageError(
                f"Options of {context.invoked_subcommand!r} stand behind its name."
            )
        return
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from ringleader.cli.plots import check_output
    from ringleader.cli.sinks import replacing
    from ringleader.cli.tables import console

    counts, names = _counts(nodes), _chosen(only)
    if plot_path is not None:
        check_output(plot_path, force)
    if json_path not in (None, "-"):
        _check_json(str(json_path), force)
    rows: list[Measured] = []
    with Progress(
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None)
        for count in counts:
            for name in names:

                def tick(what: str, count: int = count, name: str = name) -> None:
                    progress.update(task, description=f"{count:,} nodes: {name}, {what}")

                rows.append(measure(ALGORITHMS[name], count, tick=tick))
    if json_path == "-":
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        _print(rows)
        if json_path is not None:
            with replacing(json_path) as file:
                file.write(json.dumps([asdict(row) for row in rows], indent=2).encode() + b"\n")
    if plot_path is not None:
        from ringleader.cli.comparison_plots import save_comparison

        save_comparison(rows, plot_path)
        click.echo(plot_path, err=json_path == "-")


def _check_json(path: str, force: bool) -> None:
    from pathlib import Path

    from ringleader.errors import OutputExists

    if not force and Path(path).exists():
        raise OutputExists(f"{path} exists already; --force replaces it")


#: Header, and how a cell reads.
COLUMNS: tuple[tuple[str, Any], ...] = (
    ("peak/mean", lambda row: f"{'' if row.is_exact else '~'}{row.peak_to_mean:.3f}"),
    ("moved +1", lambda row: ratio(row.added, row.added_ideal)),
    ("moved -1", lambda row: ratio(row.removed, row.removed_ideal)),
    ("strays", lambda row: f"{row.strays:.2%}" if row.strays else "none"),
    ("ns bulk", lambda row: number(row.bulk_ns)),
    ("ns scalar", lambda row: number(row.scalar_ns)),
    ("build", lambda row: seconds(row.build_seconds)),
    ("memory", lambda row: memory(row.nbytes)),
)


def ratio(share: float, ideal: float) -> str:
    """What moved, as a multiple of what has to."""
    return f"{share / ideal:.2f}x"


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def seconds(value: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e6:.3g} µs"


def memory(value: int) -> str:
    for unit, scale in (("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value} B" if value else "none"


def _print(rows: Sequence[Measured]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from ringleader.cli.tables import console

    out = console()
    for count in sorted({row.nodes for row in rows}):
        table = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            show_edge=False,
            padding=(0, 1),
            title=f"{count:,} nodes",
            title_justify="left",
        )
        table.add_column("algorithm", no_wrap=True)
        for header, _ in COLUMNS:
            table.add_column(header, justify="right", no_wrap=True)
        for row in rows:
            if row.nodes == count:
                table.add_row(row.algorithm, *(cell(row) for _, cell in COLUMNS))
        out.print(table)
        out.print()
    out.print(
        "peak/mean: the fullest node's share (~ counted over 10 million keys, the rest exact).  "
        "moved: keys that move when one node comes or goes, as a multiple of what has to.  "
        "strays: keys that moved between two nodes that stayed.  ns: for each key.",
        style="dim",
    )


compare.add_command(consensus)
