"""`ringleader demo`: load, movement and speed on this machine, from nothing but itself.

What is timed takes turns in one process, on the same keys and on rings of as many points, for
several rounds; what is shown is the median round.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray

from ringleader import kernels
from ringleader.limits import BLOCK_KEYS
from ringleader.placement import HashRing, Node

if TYPE_CHECKING:
    from rich.console import Console

INT_KEYS = 10_000_000
ROUNDS = 5
#: Keys that the pure-Python ring is timed on: it takes a microsecond or so for each.
SAMPLE_KEYS = 50_000
#: Keys that NumPy works on at a time, so that its temporaries stay in the cache.
NUMPY_BLOCK_KEYS = 64 * BLOCK_KEYS
PLAIN_WIDTH = 96


def demo_ring() -> HashRing:
    """12 nodes in 3 datacenters."""
    return HashRing(
        [
            Node(f"{dc}-{number}", dc=dc, zone=f"{dc}-{'abc'[number % 3]}")
            for dc in ("ap", "eu", "us")
            for number in range(1, 5)
        ]
    )


def file_paths() -> list[bytes]:
    """Every file path under the Python installation: its library and what is installed in it.

    As bytes, which are the text's UTF-8: a name that is no text is a key like any other.
    """
    roots = {
        os.path.realpath(sysconfig.get_path(name))
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    paths = {
        os.path.join(folder, file)
        for root in roots
        for folder, _, files in os.walk(os.fsencode(root))
        for file in files
    }
    return sorted(paths)


# --- the rivals -------------------------------------------------------------------------------


class PythonRing:
    """A ring as it is mostly written in Python: md5 and bisect."""

    def __init__(self, names: Sequence[str], vnodes: int) -> None:
        points = sorted(
            (self._hash(f"{name}-{number}".encode()), name)
            for name in names
            for number in range(vnodes)
        )
        self._tokens = [token for token, _ in points]
        self._names = [name for _, name in points]

    @staticmethod
    def _hash(key: bytes) -> int:
        return int.from_bytes(hashlib.md5(key, usedforsecurity=False).digest()[:8], "little")

    def __getitem__(self, key: bytes) -> str:
        at = bisect_left(self._tokens, self._hash(key))
        return self._names[at if at < len(self._names) else 0]


def splitmix64(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64: about the cheapest good hash of integers in NumPy."""
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


class NumpyRing:
    """The best one gets out of NumPy: a vector hash and `np.searchsorted`."""

    def __init__(self, ring: HashRing) -> None:
        self._tokens = ring.tokens
        owners = ring.token_owners
        self._owners = np.append(owners, owners[0])

    def lookup(self, keys: NDArray[np.uint64], out: NDArray[np.uint32]) -> None:
        for at in range(0, len(keys), NUMPY_BLOCK_KEYS):
            block = slice(at, at + NUMPY_BLOCK_KEYS)
            points = np.searchsorted(self._tokens, splitmix64(keys[block]))
            np.take(self._owners, points, out=out[block])


# --- measuring --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """Something that finds the node of every key in a run."""

    name: str
    key_count: int
    run: Callable[[], object]


def median_ns(contenders: Sequence[Contender], rounds: int) -> list[float]:
    """Nanoseconds a key of each, the median of so many rounds in which all take turns."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for number, contender in enumerate(contenders):
            begun = time.perf_counter()
            contender.run()
            seconds[number].append(time.perf_counter() - begun)
    return [
        median(times) / contender.key_count * 1e9
        for times, contender in zip(seconds, contenders, strict=True)
    ]


@dataclass(frozen=True)
class Moved:
    """What one change of a ring did to a column of keys."""

    moved: int
    between_old: int  #: moved, but not to the node that joined
    ideal: float


def movement(before: HashRing, after: HashRing, joined: str, keys: Any) -> Moved:
    """Count the keys whose node differs."""
    after_names = after.names
    old = np.array([after_names.index(name) for name in before.names], np.uint32)
    owners_before = old[before.lookup(keys)]
    owners_after = after.lookup(keys)
    changed = owners_before != owners_after
    position = after_names.index(joined)
    return Moved(
        moved=int(changed.sum()),
        between_old=int((changed & (owners_after != position)).sum()),
        ideal=len(keys) * float(after.stats().ideal[position]),
    )


def modulo_movement(before: int, after: int, keys: NDArray[np.uint64]) -> int:
    """How many keys move when hash(key) % n gets another n."""
    hashes = splitmix64(keys)
    return int((hashes % np.uint64(before) != hashes % np.uint64(after)).sum())


# --- the show ---------------------------------------------------------------------------------


def _show_load(out: Console, ring: HashRing, columns: dict[str, Any]) -> None:
    from ringleader.cli.tables import ascii_only, load_table, loads_of

    space = loads_of(ring)
    for title, keys in columns.items():
        counts = np.bincount(ring.lookup(keys), minlength=len(ring))
        loads = [
            replace(load, keys=int(count), share=count / len(keys))
            for load, count in zip(space, counts, strict=True)
        ]
        out.print()
        out.print(f"{len(keys):,} {title}")
        table = load_table(loads, ["keys", "share", "ideal", "load"], ascii_only=ascii_only(out))
        out.print(table)


def _show_movement(
    out: Console, ring: HashRing, grown: HashRing, joined: str, columns: dict[str, Any]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("keys")
    for header in ("moved", "of all", "ideal", "moved/ideal", "between old nodes"):
        table.add_column(header, justify="right")
    for title, keys in columns.items():
        moved = movement(ring, grown, joined, keys)
        table.add_row(
            title,
            f"{moved.moved:,}",
            f"{moved.moved / len(keys):.2%}",
            f"{moved.ideal:,.0f}",
            f"{moved.moved / moved.ideal:.3f}",
            f"{moved.between_old:,}",
        )
    out.print()
    out.print(table)
    ints = columns["integer keys"]
    modulo = modulo_movement(len(ring), len(grown), ints)
    out.print(
        f"With hash(key) % n instead of a ring, {modulo / len(ints):.1%} of the integer keys "
        "would have moved."
    )


def _show_speed(out: Console, title: str, contenders: Sequence[Contender], rounds: int) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    times = median_ns(contenders, rounds)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(title, max_width=52)
    for header in ("ns/key", "million keys/s", "time vs first"):
        table.add_column(header, justify="right")
    for contender, ns in zip(contenders, times, strict=True):
        table.add_row(contender.name, f"{ns:,.1f}", f"{1e3 / ns:,.2f}", f"{ns / times[0]:,.1f} x")
    out.print()
    out.print(table)


def _int_contenders(
    ring: HashRing, python: PythonRing, ints: NDArray[np.uint64]
) -> list[Contender]:
    results = np.empty(len(ints), np.uint32)
    numpy = NumpyRing(ring)
    # Spread over the whole column; as bytes, which is what md5 takes.
    some = ints[:: max(1, len(ints) // SAMPLE_KEYS)]
    sample = [int(key).to_bytes(8, "little") for key in some]
    return [
        Contender("ringleader, 1 thread", len(ints), lambda: ring.lookup(ints, results)),
        Contender("ringleader, 2 threads", len(ints), lambda: ring.lookup(ints, results, 2)),
        Contender(
            "NumPy: splitmix64 + searchsorted", len(ints), lambda: numpy.lookup(ints, results)
        ),
        Contender(
            f"pure Python: md5 + bisect, {len(sample):,} keys",
            len(sample),
            lambda: [python[key] for key in sample],
        ),
    ]


def _path_contenders(ring: HashRing, python: PythonRing, paths: list[bytes]) -> list[Contender]:
    return [
        Contender("ringleader, ring.lookup(list)", len(paths), lambda: ring.lookup(paths)),
        Contender(
            "ringleader, ring[key] for each key", len(paths), lambda: [ring[key] for key in paths]
        ),
        Contender("pure Python: md5 + bisect", len(paths), lambda: [python[key] for key in paths]),
    ]


def run(out: Console, int_count: int, rounds: int, plot: str | None) -> None:
    """The whole demo, printed to `out`."""

    def heading(text: str) -> None:
        out.print()
        out.print(text, style="bold cyan")

    if kernels.PURE:
        out.print("RINGLEADER_PURE=1: these are the slow plain-Python twins.", style="bold yellow")
    ring = demo_ring()
    begun = time.perf_counter()
    paths = file_paths()
    ints = np.arange(int_count, dtype=np.uint64)
    columns = {"file paths": paths, "integer keys": ints}
    heading(f"1. Load: a ring of {len(ring)} nodes in 3 datacenters, {ring.point_count:,} points")
    _show_load(out, ring, columns)

    heading("2. Movement: a 13th node, eu-5, joins")
    grown = ring.copy()
    grown.add_node(Node("eu-5", dc="eu", zone="eu-c"))
    _show_movement(out, ring, grown, "eu-5", columns)

    heading(f"3. Speed: this machine, this run, median of {rounds} rounds, each taking turns")
    python = PythonRing(ring.names, ring.vnodes)
    _show_speed(out, f"{len(ints):,} integer keys", _int_contenders(ring, python, ints), rounds)
    _show_speed(out, f"{len(paths):,} file paths", _path_contenders(ring, python, paths), rounds)
    out.print(
        f"Python {sys.version.split()[0]}, NumPy {np.__version__}, {os.cpu_count()} CPUs, "
        f"SIMD level {kernels.simd()}; {time.perf_counter() - begun:.0f} s in all."
    )
    if plot is not None:
        from ringleader.cli.plots import save_ring

        save_ring(ring, plot, force=True)
        out.print(f"The ring as a picture: {plot}")


@click.command()
@click.option(
    "--keys",
    "int_count",
    type=click.IntRange(1, 10**9),
    default=INT_KEYS,
    show_default=True,
    help="How many integer keys.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, 100),
    default=ROUNDS,
    show_default=True,
    help="Rounds of timing.",
)
@click.option("--plot", metavar="FILE", help="Draw the ring into this .png or .svg, too.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--cluster/--no-cluster", default=True, help="With a replicated store that loses a datacenter."
)
@click.option(
    "--nodes-per-dc",
    type=click.IntRange(1, 10),
    default=3,
    show_default=True,
    help="Processes in each of its datacenters.",
)
@click.option(
    "--latency-plot",
    metavar="FILE",
    default="ringleader-demo.png",
    show_default=True,
    help="Latency over time as a .png or .svg, replaced if it exists; - for none.",
)
def demo(
    int_count: int,
    rounds: int,
    plot: str | None,
    force: bool,
    cluster: bool,
    nodes_per_dc: int,
    latency_plot: str,
) -> None:
    """Show load, movement, speed, and a datacenter's loss on this machine: no file of yours, no
    network."""
    from ringleader.cli.tables import console

    picture = None if latency_plot == "-" or not cluster else latency_plot
    if plot is not None or picture is not None:
        from ringleader.cli.plots import check_output

        if plot is not None:
            check_output(plot, force)
        if picture is not None:
            check_output(picture, True)
    out = console(width=PLAIN_WIDTH)
    run(out, int_count, rounds, plot)
    if cluster:
        from ringleader.cli import demo_cluster

        demo_cluster.run(out, file_paths(), picture, nodes_per_dc)
