"""`ringleader assign`: a file of keys in, the node(s) of each key out."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import click
import numpy as np
from numpy.typing import NDArray

from ringleader.cli.sinks import Sink, check_output, is_typed, open_sink
from ringleader.cli.sources import KEY_TYPES, Source, open_source
from ringleader.errors import SettingError, WeightError
from ringleader.hashing import HASHES
from ringleader.limits import THREADS_MAX
from ringleader.placement import HashRing, Locator, Node, load_locator

#: With more nodes than this, the closing table shows the fullest and the emptiest only.
TABLE_ROWS_MAX = 40


def _integer(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """An integer in any of Python's spellings (a 128-bit key is best written in hex)."""
    try:
        return None if value is None else int(value, 0)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not an integer.") from None


def parse_nodes(text: str) -> list[Node]:
    """Nodes as they are written on the command line: `a,b=2,c=0.5`.

    Raises:
        WeightError, NodeError, LimitError: a name or a weight cannot be.
    """
    nodes = []
    for item in text.split(","):
        name, equals, weight = item.strip().rpartition("=")
        if not equals:
            nodes.append(Node(weight))
            continue
        try:
            value = float(weight)
        except ValueError:
            raise WeightError(
                f"the weight of node {name!r} is {weight!r}, which is not a number"
            ) from None
        nodes.append(Node(name, value))
    return nodes


def ring_of(
    nodes: str | None,
    ring: str | None,
    vnodes: int | None,
    hash: str | None,
    seed: int | None,
) -> Locator:
    """The ring that the options describe: either `nodes` with settings, or a file.

    Raises:
        click.UsageError: both, neither, or settings beside a file.
        RingleaderError, OSError: the ring cannot be made or read.
    """
    if (nodes is None) == (ring is None):
        raise click.UsageError("Give the nodes: either --nodes a,b,c or --ring FILE.")
    if nodes is not None:
        return HashRing(
            parse_nodes(nodes),
            vnodes=160 if vnodes is None else vnodes,
            hash=hash or "xxh3",
            seed=0 if seed is None else seed,
        )
    if (vnodes, hash, seed) != (None, None, None):
        raise click.UsageError("--vnodes, --hash and --seed go with --nodes; FILE has its own.")
    assert ring is not None
    return load_locator(ring)


class Progress(Protocol):
    """Told after every piece how far the work has come."""

    def __call__(self, keys_done: int, fraction: float | None) -> None: ...


def place(
    ring: Locator,
    source: Source,
    sink: Sink,
    *,
    replicas: int | None,
    threads: int,
    progress: Progress,
) -> NDArray[np.int64]:
    """Send every key of `source` with its node(s) to `sink`.

    Returns:
        How many keys each node got, by position: in column 0 as the first node, then as the
        second replica, and so on.
    """
    width = replicas or 1
    counts = np.zeros((len(ring), width), np.int64)
    done = 0
    for keys in source.batches():
        if replicas is None:
            positions = ring.lookup(keys, threads=threads)[:, np.newaxis]
        else:
            positions = ring.lookup_replicas(keys, replicas, threads=threads)
        sink.write(keys, positions)
        for column in range(width):
            counts[:, column] += np.bincount(positions[:, column], minlength=len(ring))
        done += len(keys)
        progress(done, source.fraction())
    return counts


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from ringleader.cli.tables import console

    bar = Bar(
        TextColumn("placing"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[keys]:,} keys"),
        TextColumn("{task.fields[rate]:.1f} M/s"),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=not sys.stderr.isatty(),
        expand=True,
        transient=True,
    )
    with bar:
        task = bar.add_task("placing", total=None, keys=0, rate=0.0)
        begun = time.monotonic()

        def progress(keys_done: int, fraction: float | None) -> None:
            rate = keys_done / max(1e-9, time.monotonic() - begun) / 1e6
            total, completed = (None, 0.0) if fraction is None else (1.0, fraction)
            bar.update(task, total=total, completed=completed, keys=keys_done, rate=rate)

        yield progress


def _report(ring: Locator, counts: NDArray[np.int64], seconds: float, *, stderr: bool) -> None:
    from ringleader.cli.tables import ascii_only, console, dues_of, load_table

    total = int(counts[:, 0].sum())
    copies = counts.sum(axis=1)
    loads = [
        replace(
            load,
            share=int(counts[position, 0]) / total if total else math.nan,
            keys=int(counts[position, 0]),
            copies=int(copies[position]),
        )
        for position, load in enumerate(dues_of(ring.nodes))
    ]
    columns = ["weight", "keys", "share", "ideal", "load"]
    if counts.shape[1] > 1:
        columns.insert(2, "copies")
    out = console(stderr=stderr)
    out.print(load_table(loads, columns, ascii_only=ascii_only(out), rows_max=TABLE_ROWS_MAX))
    placed = f"{total:,} key{'s' * (total != 1)}"
    out.print(f"{placed} placed in {seconds:.2f} s, {total / seconds:,.0f} keys/s")


@click.command()
@click.argument("keys")
@click.option("--nodes", metavar="A,B=2,...", help="The nodes, each with an optional weight.")
@click.option("--ring", "ring_file", metavar="FILE", help="A ring file (TOML, or a saved ring).")
@click.option("--column", metavar="NAME", help="The column of the keys, if there are several.")
@click.option(
    "--key-type",
    type=click.Choice(KEY_TYPES),
    help="What text and CSV cells are: text (the default), bytes, or 64-bit integers. "
    "Text and bytes hash alike.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    metavar="N",
    help="Write the first N distinct nodes of each key, in columns node_1 ... node_N.",
)
@click.option("-o", "--output", metavar="OUT", help="Without it, only the table is shown.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@click.option(
    "--node-column", metavar="NAME", default="node", show_default=True, help="Its name in OUT."
)
@click.option("--vnodes", type=int, help="Points of a node of weight 1.  [default: 160]")
@click.option("--hash", type=click.Choice(list(HASHES)), help="[default: xxh3]")
@click.option(
    "--seed", callback=_integer, metavar="INTEGER", help="Seed of the hash.  [default: 0]"
)
@click.option(
    "--threads",
    type=click.IntRange(1, THREADS_MAX),
    default=1,
    show_default=True,
    help="Threads that look keys up.",
)
def assign(
    keys: str,
    nodes: str | None,
    ring_file: str | None,
    column: str | None,
    key_type: str | None,
    replicas: int | None,
    output: str | None,
    force: bool,
    node_column: str,
    vnodes: int | None,
    hash: str | None,
    seed: int | None,
    threads: int,
) -> None:
    """Write the node of every key in KEYS to OUT, and show how many keys each node got.

    KEYS is a file of any size: .txt (one key a line), .csv (with a header), .parquet or .arrow;
    '-' reads lines from standard input.  OUT is .csv, .parquet or .arrow; '-' writes CSV to
    standard output.  OUT appears when it is complete; an existing one is replaced only with
    --force.

    In a text file a newline (or CR LF) ends a key and nothing else is stripped; an empty line is
    the empty key.  A null key is an error that names its row.

    \b
      ringleader assign users.parquet --column id --nodes a,b,c=2 -o placed.parquet
      cat keys.txt | ringleader assign - --ring ring.toml --replicas 3 -o - | head
    """
    ring = ring_of(nodes, ring_file, vnodes, hash, seed)
    # Whether there are enough nodes is known before anything is read.
    ring.lookup([]) if replicas is None else ring.lookup_replicas([], replicas)
    if output is not None:
        check_output(output, force)
        if os.path.exists(output) and os.path.exists(keys) and os.path.samefile(keys, output):
            raise SettingError(f"{output} is the file that the keys are read from")
    node_columns = (
        [node_column]
        if replicas is None
        else [f"{node_column}_{number}" for number in range(1, replicas + 1)]
    )
    begun = time.perf_counter()
    with (
        open_source(
            keys, column, key_type, stdin=sys.stdin.buffer, strict=is_typed(output)
        ) as source,
        open_sink(
            output, source, node_columns, ring.names, stdout=sys.stdout.buffer, force=force
        ) as sink,
        progress_bar() as progress,
    ):
        counts = place(ring, source, sink, replicas=replicas, threads=threads, progress=progress)
    if output == "-":
        sys.stdout.buffer.flush()
    _report(ring, counts, time.perf_counter() - begun, stderr=output == "-")
