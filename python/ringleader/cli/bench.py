"""`ringleader bench`: load for a cluster, or for any Redis server, and how long answers took."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any

import click

from ringleader.cli.extras import needed
from ringleader.errors import RingleaderError
from ringleader.node import child

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ringleader.cli.load import Plan, Result

DEFAULT_ADDRESS = "127.0.0.1:7000"
#: How long processes may say nothing, and how long they have to end.
READY_SECONDS = 120.0
LAST_SECONDS = 30.0


class BenchError(RingleaderError, RuntimeError):
    """The load could not be made."""


class _Mix(click.ParamType[dict[str, float]]):
    """`set=1,get=9`"""

    name = "mix"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, float]:
        with needed("node", "ringleader bench"):
            from ringleader.cli.load import KINDS

        if isinstance(value, dict):
            return value
        mix: dict[str, float] = {}
        for part in str(value).split(","):
            kind, equals, text = (each.strip() for each in part.partition("="))
            if kind not in KINDS:
                self.fail(f"{kind!r} is none of {', '.join(KINDS)}", param, ctx)
            try:
                weight = float(text) if equals else 1.0
            except ValueError:
                weight = math.nan
            if not 0 <= weight < math.inf:
                self.fail(f"{text!r} is no weight of {kind}", param, ctx)
            mix[kind] = weight
        if not sum(mix.values()):
            self.fail("all weights are 0", param, ctx)
        return mix


@click.command()
@click.option(
    "--at", "addresses", multiple=True, metavar="HOST:PORT",
    help=f"A node to talk to; several share the clients.  [default: {DEFAULT_ADDRESS}]",
)  # fmt: skip
@click.option("--dir", "directory", metavar="DIR", help="Or all nodes of a cluster of `up`.")
@click.option(
    "--config", "file", metavar="FILE", help="Or all nodes, and the password, of a cluster file."
)
@click.option("--cluster", is_flag=True, help="Go straight to who has the key, by CLUSTER SLOTS.")
@click.option(
    "--clients", type=click.IntRange(1, 20_000), default=32, show_default=True,
    help="Connections, each with one pipeline under way.",
)  # fmt: skip
@click.option(
    "--pipeline", type=click.IntRange(1, 10_000), default=1, show_default=True,
    help="Commands that are sent together.",
)  # fmt: skip
@click.option(
    "--mix", type=_Mix(), default="set=1,get=1", show_default=True, metavar="KIND=W,...",
    help="Weights of set, get (linearizable) and readonly (a read that may be stale).",
)  # fmt: skip
@click.option(
    "--value-bytes", type=click.IntRange(0, 2**26), default=100, show_default=True,
    help="Of each value.",
)  # fmt: skip
@click.option(
    "--keys", type=click.IntRange(1, 10**12), default=100_000, show_default=True,
    help="How many different ones: bench:000000000000 and so on.",
)  # fmt: skip
@click.option("--fill", is_flag=True, help="Write each key once before.")
@click.option(
    "--seconds", type=click.FloatRange(0.01), default=None, help="How long.  [default: 10]"
)
@click.option("--requests", type=click.IntRange(1), default=None, help="Or how many commands.")
@click.option(
    "--rate", type=click.FloatRange(0.001), default=None,
    help="Commands a second, whatever the server does: late ones are timed from when they were "
    "due.  [default: as fast as answers come]",
)  # fmt: skip
@click.option(
    "--warmup", type=click.FloatRange(0), default=0.0, metavar="SECONDS",
    help="Not counted, before the rest.",
)  # fmt: skip
@click.option(
    "--processes", type=click.IntRange(1, 256), default=1, show_default=True,
    help="That share the clients: one loads a core.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**63), default=0, help="Of the keys.")
@click.option(
    "--password-env", metavar="NAME", help="A variable of the environment with the password."
)
@click.option(
    "--tls-ca", "ca", metavar="FILE",
    help="Speak TLS, and trust this authority.  [default: as the cluster file says]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
def bench(
    addresses: tuple[str, ...],
    directory: str | None,
    file: str | None,
    processes: int,
    as_json: bool,
    password_env: str | None,
    seconds: float | None,
    requests: int | None,
    rate: float | None,
    ca: str | None,
    **given: Any,
) -> None:
    """Load a cluster, or any Redis server, and show how long answers took.

    It writes and reads keys that begin with "bench:".  Exit codes: 0 done; 1 done, but some
    commands failed; 2 there was nobody to load.
    """
    if sum(bool(each) for each in (addresses, directory, file)) > 1:
        raise click.UsageError("Give one of --at, --dir and --config.")
    with needed("node", "ringleader bench"):
        from ringleader.cli.load import Plan
        from ringleader.cli.tables import console

    nodes, password, their_ca = _nodes(addresses, directory, file)
    if password_env is not None:
        if password_env not in os.environ:
            raise click.UsageError(f"--password-env {password_env}: it is not set.")
        password = os.environ[password_env]
    processes = min(processes, given["clients"])
    plan = Plan(
        nodes=nodes,
        password=password,
        ca=ca if ca is not None else their_ca,
        seconds=seconds if seconds is not None else 0.0 if requests else 10.0,
        requests=requests or 0,
        rate=rate or 0.0,
        **given,
    )
    out = console(stderr=as_json)
    result = loaded(plan, processes, out)
    if as_json:
        click.echo(json.dumps(summary(plan, processes, result), indent=1))
    else:
        out.print(table(result))
        for kind, count in result.errors.most_common():
            out.print(f"{count:,} x {result.examples.get(kind, kind)}", style="red")
        if result.late_us > 10_000:
            out.print(
                f"This machine sent up to {result.late_us / 1e3:.0f} ms late for want of time of "
                "its own: take more --processes, or a lower --rate"
            )
    if result.errors:
        click.get_current_context().exit(1)


def _nodes(
    addresses: tuple[str, ...], directory: str | None, file: str | None
) -> tuple[list[tuple[str, int]], str, str | None]:
    """Whom to load, their password, and the authority of their TLS (None: they speak none)."""
    if directory is not None or file is not None:
        with needed("node", "ringleader bench"):
            from ringleader.node.config import ClusterConfig
        path = Path(directory) / "cluster.toml" if directory is not None else Path(file or "")
        config = ClusterConfig.load(path)
        return (
            [(node.host, node.port) for node in config.nodes],
            config.password,
            (config.tls.ca if config.tls.clients else None),
        )
    found = []
    for address in addresses or (DEFAULT_ADDRESS,):
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isdigit() or not 0 < int(port[:6]) < 65_536:
            raise click.UsageError(f"--at {address}: write HOST:PORT.")
        found.append((host, int(port)))
    return found, "", None


# --- processes ----------------------------------------------------------------------------------


def _parts(plan: Plan, processes: int) -> list[Plan]:
    """What each process does."""
    from dataclasses import replace

    def share(total: int, number: int) -> int:
        return total * (number + 1) // processes - total * number // processes

    return [
        replace(
            plan,
            clients=share(plan.clients, number),
            requests=share(plan.requests, number),
            rate=plan.rate * share(plan.clients, number) / plan.clients,
            nodes=plan.nodes[number % len(plan.nodes) :] + plan.nodes[: number % len(plan.nodes)],
            seed=plan.seed + number,
            first_key=plan.keys * number // processes,
            fill_keys=share(plan.keys, number) if plan.fill else 0,
        )
        for number in range(processes)
    ]


def loaded(plan: Plan, processes: int, out: Console) -> Result:
    """Make the load in so many processes, with a progress bar on `out`.

    Raises:
        BenchError: a process could not connect, or ended early.
    """
    from ringleader.cli.load import Result

    queue: SimpleQueue[tuple[int, dict[str, Any] | None]] = SimpleQueue()
    workers: list[subprocess.Popen[str]] = []
    result = Result()
    try:
        for number, part in enumerate(_parts(plan, processes)):
            worker = subprocess.Popen(
                [sys.executable, "-m", "ringleader.cli.load"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=child.environment(),
            )
            workers.append(worker)
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write(json.dumps(asdict(part)) + "\n")
            worker.stdin.flush()
            threading.Thread(
                target=_listen, args=(number, worker.stdout, queue), daemon=True
            ).start()
        for _ in workers:
            _, said = _said(queue, set())
            if "ready" not in said:
                raise BenchError(f"no load can be made: {said.get('failed', said)}")
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        with _progress(plan, out) as show:
            states: dict[int, dict[str, Any]] = {}
            finished: set[int] = set()
            while len(finished) < len(workers):
                number, said = _said(queue, finished)
                if "result" in said:
                    result.merge(said["result"])
                    finished.add(number)
                elif "done" in said:
                    states[number] = said
                    show(
                        sum(state["done"] for state in states.values()),
                        sum(state["errors"] for state in states.values()),
                    )
                else:
                    raise BenchError(f"a process of the load ended early: {said}")
        return result
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in workers:
            worker.wait(LAST_SECONDS)
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:  # what it did not read any more
                        continue


def _listen(
    number: int, lines: IO[str], queue: SimpleQueue[tuple[int, dict[str, Any] | None]]
) -> None:
    """What one process says; None at its end."""
    try:
        for line in lines:
            queue.put((number, json.loads(line)))
    except ValueError:  # closed, or cut off
        pass
    queue.put((number, None))


def _said(
    queue: SimpleQueue[tuple[int, dict[str, Any] | None]], finished: set[int]
) -> tuple[int, dict[str, Any]]:
    """What a process says next; those that are finished may end.

    Raises:
        BenchError: another one ended, or all are silent.
    """
    while True:
        try:
            number, said = queue.get(timeout=READY_SECONDS)
        except Empty:
            raise BenchError(
                f"no process of the load said anything for {READY_SECONDS:.0f} s"
            ) from None
        if said is not None:
            return number, said
        if number not in finished:
            raise BenchError("a process of the load ended early: see what it wrote above")


@contextmanager
def _progress(plan: Plan, out: Console) -> Iterator[Any]:
    """A progress bar on a terminal; elsewhere nothing."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    if not out.is_terminal:
        yield lambda done, errors: None
        return
    begun = time.monotonic()
    length = plan.warmup + plan.seconds
    columns = (
        TextColumn("{task.fields[rate]:>12,.0f} /s"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[errors]}"),
    )
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("", total=plan.requests or length, rate=0.0, errors="")
        last = [0, begun]

        def show(done: int, errors: int) -> None:
            now = time.monotonic()
            rate = (done - last[0]) / max(1e-9, now - last[1])
            last[:] = done, now
            progress.update(
                task,
                completed=done if plan.requests else now - begun,
                rate=rate,
                errors=f"{errors:,} errors" if errors else "",
            )

        yield show


# --- what came of it ----------------------------------------------------------------------------


def _rows(result: Result) -> list[tuple[str, Any]]:
    """Each kind's histogram, and that of all together when there are several."""
    from ringleader.cli.histogram import Histogram
    from ringleader.cli.load import KINDS

    rows = [(kind, result.histograms[kind]) for kind in KINDS if kind in result.histograms]
    if len(rows) != 1:
        everything = Histogram()
        for _, histogram in rows:
            everything.merge(histogram)
        rows.append(("all", everything))
    return rows


def table(result: Result) -> RenderableType:
    """A line for each kind."""
    from rich.table import Table

    from ringleader.cli.tables import TABLE_STYLE

    made = Table(**TABLE_STYLE)
    made.add_column("commands")
    for header in ("done", "/s", "mean ms", "p50", "p90", "p99", "p99.9", "max ms"):
        made.add_column(header, justify="right")
    for kind, histogram in _rows(result):
        times = [histogram.mean_us, *histogram.quantiles_us(), histogram.max_us]
        made.add_row(
            kind,
            f"{histogram.count:,}",
            f"{histogram.count / result.seconds:,.0f}" if result.seconds else "-",
            *("-" if math.isnan(us) else f"{us / 1e3:.3f}" for us in times),
        )
    return made


def summary(plan: Plan, processes: int, result: Result) -> dict[str, Any]:
    """What --json prints: times in milliseconds, the histogram as [upper bound in us, count]."""
    from ringleader.cli.histogram import QUANTILES, upper_us

    kinds = {}
    for kind, histogram in _rows(result):
        names = [f"p{share * 100:g}_ms" for share in QUANTILES]
        quantiles = [us / 1e3 for us in histogram.quantiles_us()] if histogram.count else []
        kinds[kind] = {
            "count": histogram.count,
            "per_second": histogram.count / result.seconds if result.seconds else 0.0,
            "mean_ms": histogram.mean_us / 1e3 if histogram.count else None,
            **dict(zip(names, quantiles or [None] * len(names), strict=True)),
            "max_ms": histogram.max_us / 1e3 if histogram.count else None,
            "histogram": [[upper_us(at), count] for at, count in histogram.to_list()[1:]],
        }
    settings = asdict(plan)
    for hidden in ("password", "first_key", "fill_keys"):
        del settings[hidden]
    return {
        "plan": {**settings, "processes": processes},
        "seconds": result.seconds,
        "errors": dict(result.errors),
        "examples": result.examples,
        "late_ms": result.late_us / 1e3,
        "kinds": kinds,
    }
