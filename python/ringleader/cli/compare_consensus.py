"""`ringleader compare consensus`: Raft and Multi-Paxos side by side, as tables and as pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ringleader.errors import FormatError, OutputExists
from ringleader.sim.comparison.algorithms import GEOMETRIES, MAJORITY, Geometry, geometry
from ringleader.sim.comparison.measures import (
    QUICK,
    Comparison,
    Effort,
    Latency,
    Recovery,
    Throughput,
    compare,
    percentile,
)
from ringleader.sim.comparison.verdicts import find_recovery, gain, ms, times_as, verdicts

ALGORITHMS = {"raft": "Raft", "paxos": "Multi-Paxos"}


@click.command()
@click.option("--quick", is_flag=True, help="Little of everything: to see that it works.")
@click.option(
    "--seed", type=click.IntRange(0, 2**62), default=1, show_default=True, help="Of the simulator."
)
@click.option(
    "--from",
    "from_path",
    metavar="FILE",
    help="Show what --json wrote, and measure nothing.",
)
@click.option("--json", "json_path", metavar="FILE", help="Write the figures; - for stdout.")
@click.option("--plot", "plot_path", metavar="DIR", help="Draw them: SVG files in this directory.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def consensus(
    quick: bool,
    seed: int,
    from_path: str | None,
    json_path: str | None,
    plot_path: str | None,
    force: bool,
) -> None:
    """Compare Raft and Multi-Paxos: what a commit costs, how long it takes, what a lost leader is.

    Both run under the same driver, in the simulator's virtual time: in one datacenter, and in
    several with the round trips of the wide-area profiles, with majorities and with flexible
    quorums.  What a core costs by itself is measured in real time, in one process.
    """
    if from_path is not None and quick:
        raise click.UsageError("--from measures nothing: --quick has no meaning with it.")
    if plot_path is not None:
        _check_plots(plot_path, force)
    if json_path is not None and json_path != "-":
        _check_json(Path(json_path), force)
    found = load(from_path) if from_path is not None else _measured(quick, seed)
    text = json.dumps(asdict(found), indent=1) + "\n"
    if json_path == "-":
        click.echo(text, nl=False)
    else:
        _print(found)
        if json_path is not None:
            from ringleader.cli.sinks import replacing

            with replacing(json_path) as file:
                file.write(text.encode())
    if plot_path is not None:
        from ringleader.cli.compare_consensus_plots import save_all

        for path in save_all(found, plot_path):
            click.echo(path, err=json_path == "-")


def _check_json(path: Path, force: bool) -> None:
    """Now, and not after two minutes."""
    if not force and path.exists():
        raise OutputExists(f"{path} exists already; --force replaces it")
    if not path.parent.is_dir():
        raise FormatError(f"--json {path}: there is no directory {path.parent}")


def _check_plots(directory: str, force: bool) -> None:
    from ringleader.cli.compare_consensus_plots import PICTURES
    from ringleader.cli.plots import check_output

    if Path(directory).exists() and not Path(directory).is_dir():
        raise FormatError(f"--plot {directory}: it is a file, and a directory is wanted")
    for name in PICTURES:
        check_output(str(Path(directory) / name), force)


def load(path: str) -> Comparison:
    """What `--json` wrote.

    Raises:
        FormatError: it is something else.
        OSError: it cannot be read.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise FormatError(f"{path}: no JSON: {error}") from error
    if not isinstance(data, dict):
        raise FormatError(f"{path}: no comparison of consensus algorithms")
    return Comparison.from_dict(data)


def _measured(quick: bool, seed: int) -> Comparison:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ringleader.cli.tables import console

    with Progress(
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=None)

        def tell(done: int, total: int, words: str) -> None:
            progress.update(task, completed=done, total=total, description=words)

        return compare(QUICK if quick else Effort(), quick=quick, seed=seed, tell=tell)


# --- tables -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A table: the first `words` columns are words, the others numbers.

    A row that begins with an empty cell goes on with the subject of the one above it.
    """

    name: str
    title: str
    words: int
    head: list[str]
    rows: list[list[str]]
    note: str


def tables(found: Comparison) -> list[Shown]:
    return [make(found) for make in TABLES.values()]


def _cases(found: Comparison) -> Iterator[tuple[Geometry, str, dict[str, Latency]]]:
    """Each geometry with each of its quorums, and the algorithms' rows for it."""
    for place in GEOMETRIES:
        for arrangement in place.arrangements:
            rows = {
                row.algorithm: row
                for row in found.latencies
                if (row.geometry, row.quorums) == (place.name, arrangement.name)
            }
            yield place, arrangement.name, rows


def cost_table(found: Comparison) -> Shown:
    rows = []
    for raft in found.costs:
        if raft.algorithm != "raft":
            continue
        paxos = next(
            row
            for row in found.costs
            if (row.algorithm, row.nodes, row.workload) == ("paxos", raft.nodes, raft.workload)
        )
        cells = [str(raft.nodes), raft.workload]
        for name in ("messages", "wire_bytes", "syncs"):
            cells += [number(getattr(raft, name)), number(getattr(paxos, name))]
        rows.append(cells)
    idle = {(row.algorithm, row.nodes): row.heartbeats_per_s for row in found.costs}
    beats = ", ".join(
        f"{idle['raft', nodes]:.0f} and {idle['paxos', nodes]:.0f} with {nodes} nodes"
        for nodes in sorted({row.nodes for row in found.costs})
    )
    return Shown(
        "cost",
        "What a commit costs, all nodes together",
        2,
        [
            *("nodes", "workload", "messages: Raft", "Multi-Paxos"),
            *("bytes: Raft", "Multi-Paxos", "syncs: Raft", "Multi-Paxos"),
        ],
        rows,
        "For each command of 64 bytes; bytes are those of the messages as they are encoded. "
        "Syncs may be fewer than nodes: a disk that is late takes several entries at once. "
        f"Heartbeats come on top, messages a second: {beats} (Raft and Multi-Paxos).",
    )


def latency_table(found: Comparison) -> Shown:
    rows = []
    for place, quorums, each in _cases(found):
        paxos = each["paxos"]
        system = paxos.system
        assert system is not None, "Multi-Paxos takes every system that is asked about"
        first = quorums == MAJORITY.name
        rows.append(
            [
                f"{place.name} ({place.words})" if first else "",
                quorums,
                ms(system.floor_us) if system.floor_us else "none",
                *_latency_cells(each["raft"]),
                *_latency_cells(paxos),
                times_as(gain(found, paxos)),
                str(system.followers_spared),
                str(system.nodes_spared),
                str(system.dcs_spared),
            ]
        )
    return Shown(
        "latency",
        "How long a commit takes",
        2,
        [
            *("geometry", "quorums", "least", "Raft p50", "p99", "Multi-Paxos p50", "p99"),
            *("faster", "followers", "nodes", "datacenters"),
        ],
        rows,
        "From the proposal until it is applied at the leader, whose datacenter the client is in. "
        "least: the round trips alone, without jitter and disks. "
        "faster: Multi-Paxos against majority Raft, p50. "
        "followers, nodes, datacenters: how many, whichever they are, may be lost so that "
        "the leader still commits; so that the group comes back by itself; the same of "
        "datacenters (of Multi-Paxos; to elect by a node of each datacenter, Raft needs a whole "
        "datacenter besides).",
    )


def _latency_cells(row: Latency) -> list[str]:
    return ["refused", ""] if row.refused else [ms(row.p50_us), ms(row.p99_us)]


def recovery_table(found: Comparison) -> Shown:
    rows = []
    for place, quorums, each in _cases(found):
        cells = [place.name if quorums == MAJORITY.name else "", quorums]
        for name in ALGORITHMS:
            row = each[name]
            if row.refused:
                cells += ["refused", "", "", "", "", ""]
                continue
            cells += _recovery_cells(find_recovery(found, row))
        rows.append(cells)
    head = []
    for title in ALGORITHMS.values():
        head += [f"{title} p50", "p95", "missed", "elected", "committed", "rivals"]
    return Shown(
        "recovery",
        "From the loss of the leader to the next commit",
        2,
        ["geometry", "quorums", *head],
        rows,
        "missed, elected, committed: medians of the parts: until somebody stands for election; "
        "until there is a leader; until its first command is committed and applied. rivals: how "
        "often there was more than one candidacy.",
    )


def _recovery_cells(row: Recovery) -> list[str]:
    def at(values: list[int], percent: int) -> str:
        return ms(percentile(sorted(values), percent))

    return [
        at(row.total_us, 50),
        at(row.total_us, 95),
        at(row.noticed_us, 50),
        at(row.elected_us, 50),
        at(row.committed_us, 50),
        f"{sum(count > 1 for count in row.candidacies) / len(row.candidacies):.0%}",
    ]


def gap_table(found: Comparison) -> Shown:
    return Shown(
        "gaps",
        "Gaps in the log: 1 % of messages are lost, 5 % overtaken",
        2,
        [
            *("profile", "", "early, of 1000", "kept", "sent"),
            *("wait p50 ms", "p99 ms", "commit p50 ms", "p99 ms"),
        ],
        [
            [
                row.profile,
                ALGORITHMS[row.algorithm],
                number(row.early),
                f"{row.kept:.0%}",
                f"{row.sent:.2f}",
                *(f"{value:.3g}" for value in (*row.wait_ms, *row.latency_ms)),
            ]
            for row in found.gaps
        ],
        "early: entries that reach a follower before one that they follow. kept: of these, "
        "those that it accepts all the same. sent: how often an entry is sent to each follower. "
        "wait: how long an early entry has a gap before it.",
    )


def throughput_table(found: Comparison) -> Shown:
    by_case: dict[tuple[int, int], dict[str, Throughput]] = {}
    for row in found.throughputs:
        by_case.setdefault((row.nodes, row.batch), {})[row.algorithm] = row
    return Shown(
        "throughput",
        "In process: until every node has applied a command",
        0,
        ["nodes", "batch", "Raft ns", "Multi-Paxos ns", "Multi-Paxos / Raft"],
        [
            [
                str(nodes),
                f"{batch:,}",
                number(each["raft"].ns),
                number(each["paxos"].ns),
                f"{each['paxos'].ratio:.2f}",
            ]
            for (nodes, batch), each in by_case.items()
        ],
        ("Compiled cores" if found.compiled else "Uncompiled cores")
        + " in a loop in one thread, no disk, no network: medians of rounds taken in turns; the "
        "ratio is that of a round.",
    )


def lines_table(found: Comparison) -> Shown:
    rows = [[row.part, f"{row.raft:,}", f"{row.paxos:,}"] for row in found.lines]
    total = [sum(row.raft for row in found.lines), sum(row.paxos for row in found.lines)]
    return Shown(
        "lines",
        "Lines of code",
        1,
        ["part", "Raft", "Multi-Paxos"],
        [*rows, ["all", *(f"{count:,}" for count in total)]],
        "Without blank lines, comments and docstrings. Not counted: what is shared (log, quorums, "
        "membership, driver, storage), the single decree, and many Raft groups together.",
    )


TABLES: dict[str, Callable[[Comparison], Shown]] = {
    "cost": cost_table,
    "latency": latency_table,
    "recovery": recovery_table,
    "gaps": gap_table,
    "throughput": throughput_table,
    "lines": lines_table,
}


def number(value: float) -> str:
    """With three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _print(found: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    from ringleader.cli.tables import TABLE_STYLE, console

    out = console(width=190)
    for shown in tables(found):
        table = Table(**TABLE_STYLE, title=shown.title, title_justify="left")
        for at, head in enumerate(shown.head):
            table.add_column(
                head, justify="left" if at < shown.words else "right", no_wrap=at >= shown.words
            )
        for row in shown.rows:
            table.add_row(*row)
        out.print(table)
        out.print(Text(shown.note, style="dim"))
        out.print()
    for verdict in verdicts(found):
        out.print(Text(verdict.question, style="bold"))
        out.print(Text(verdict.answer))
    if found.quick:
        out.print(Text("A quick run: too little to rely on.", style="yellow"))


def geometry_title(name: str) -> str:
    return f"{name}: {geometry(name).words}"
