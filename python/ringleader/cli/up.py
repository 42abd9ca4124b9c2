"""`ringleader up`: a whole cluster on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from ringleader.cli.extras import needed

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ringleader.cli.resp import Connection
    from ringleader.node.config import ClusterConfig
    from ringleader.node.local import LocalCluster

START_SECONDS = 60.0
REFRESH_SECONDS = 1.0
#: Keys that are read, never written, to see how long it takes: they lie in different shards.
PROBES = tuple(f"ringleader:probe:{number}".encode() for number in range(5))
PROBE_SECONDS = 3.0


class _Names(click.ParamType[tuple[str, ...]]):
    """`eu,us,ap`"""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name in it", param, ctx)
        if len(set(names)) < len(names):
            self.fail(f"{value!r} has a name twice", param, ctx)
        return names


@click.command()
@click.option("--dcs", type=_Names(), metavar="DC,...", help="Datacenters.  [default: eu,us,ap]")
@click.option(
    "--nodes-per-dc", type=click.IntRange(1, 40), metavar="N", help="In each.  [default: 1]"
)
@click.option(
    "--replicas", metavar="N|DC=N,...", help="Of each shard: 3, or eu=2,us=1.  [default: 3]"
)
@click.option("--shards", type=click.IntRange(1, 4096), metavar="N", help="[default: 6]")
@click.option("--consensus", type=click.Choice(("raft", "paxos")), help="[default: raft]")
@click.option(
    "--leaders", type=_Names(), metavar="DC,...", help="Where they should stand, preferred first."
)
@click.option(
    "--dir",
    "directory",
    default="ringleader-data",
    show_default=True,
    metavar="DIR",
    help="Of everything that the cluster keeps; run again, it is found there.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65_000),
    metavar="PORT",
    help="Of the first node; the next ones follow.  [default: 7000]",
)
@click.option(
    "--wan",
    is_flag=False,
    flag_value="default",
    metavar="[DC-DC=MS,...]",
    help="Delay what datacenters say to each other, by these round trips.  "
    "[alone: eu-us=80,us-ap=150,eu-ap=180]",
)
def up(directory: str, **given: Any) -> None:
    """Run a cluster on this machine: a process for each node, data under one directory.

    Ctrl-C or SIGTERM stops it cleanly.  Exit codes: 0 stopped as asked; 1 a node failed at the
    start; 2 refused, with the reason on standard error and nothing started.
    """
    with needed("node", "ringleader up"):
        from ringleader.cli import resp  # noqa: F401  used once nodes run: too late to miss it
        from ringleader.cli.tables import console
        from ringleader.node import local, watch  # noqa: F401

    folder = Path(directory)
    config = local.prepared(folder, local.Options(**given))
    out = console()
    cluster = local.LocalCluster(config, folder)
    with _terminated(), cluster:
        try:
            for words in config.warnings():
                out.print(f"warning: {words}")
            cluster.start()
            code = asyncio.run(_run(out, cluster))
        except KeyboardInterrupt:
            code = 0
        out.print("Stopping ...")
        if slow := cluster.stop():
            out.print(f"These had to be ended by force: {', '.join(slow)}")
        out.print(f"Stopped.  The data stay in {directory}; run again, they are found there.")
    sys.exit(code)


class _terminated(contextlib.ContextDecorator):
    """SIGTERM is as Ctrl-C."""

    def __enter__(self) -> None:
        def interrupt(number: int, frame: Any) -> None:
            raise KeyboardInterrupt

        self._before = signal.signal(signal.SIGTERM, interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)


async def _run(out: Console, cluster: LocalCluster) -> int:
    """Wait until the cluster serves, then show it until somebody interrupts."""
    from ringleader.node.watch import is_serving, watch

    config = cluster.config
    begun = time.monotonic()
    out.print(
        f"Starting {len(config.nodes)} nodes in {', '.join(config.dcs)}: {config.shards} shards by "
        f"{config.consensus}, in {cluster.directory}"
    )
    while True:
        if ended := cluster.ended():
            for name in ended:
                _show_end(out, cluster, name, ended[name])
            return 1
        seen = await watch(config, pids=cluster.pids())
        if is_serving(seen):
            break
        if time.monotonic() - begun > START_SECONDS:
            out.print(f"Not all of it serves after {START_SECONDS:.0f} s; it goes on.")
            break
        await asyncio.sleep(0.1)
    out.print(f"It serves, after {time.monotonic() - begun:.1f} s.")
    await _watch(out, cluster, seen)
    return 0


async def _watch(out: Console, cluster: LocalCluster, seen: dict[str, Any]) -> None:
    """The live table on a terminal; elsewhere one table, and then what changes."""
    from rich.live import Live

    from ringleader.node.watch import watch

    config = cluster.config
    told: set[str] = set()
    async with contextlib.AsyncExitStack() as stack:
        probes = Probes(config)
        stack.push_async_callback(probes.close)
        await probes.run()
        live = None
        if out.is_terminal:
            live = stack.enter_context(
                Live(_view(cluster, seen, probes), console=out, auto_refresh=False)
            )
        else:
            out.print(_view(cluster, seen, probes))
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            ended = cluster.ended()
            for name in ended.keys() - told:
                _show_end(out, cluster, name, ended[name])
            told = set(ended)
            if live is None:
                continue
            seen = await watch(config, pids=cluster.pids(), seconds=REFRESH_SECONDS)
            await probes.run()
            live.update(_view(cluster, seen, probes), refresh=True)


def _show_end(out: Console, cluster: LocalCluster, name: str, code: int) -> None:
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    out.print(f"{name} ended {how}; the end of {cluster.log(name)}:", style="bold red")
    for line in cluster.tail(name):
        out.print(f"    {line}")
    out.print(
        f"It stays down; to start it again: ringleader serve --config {cluster.config.path} "
        f"--node {name}"
    )


def _view(cluster: LocalCluster, seen: dict[str, Any], probes: Probes) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from ringleader.cli.status import nodes_table

    first = next((n for n in cluster.config.nodes if n.name not in cluster.ended()), None)
    lines = ["", "Ctrl-C stops it.  Any Redis client will do, at any node:"]
    if first is not None:
        secret = " --askpass" if cluster.config.password else ""
        lines.append(f"    redis-cli -c -p {first.port}{secret}")
        lines.append(f"    redis.RedisCluster(host={first.host!r}, port={first.port})")
    lines.append(f"    ringleader status --dir {cluster.directory}")
    return Group(nodes_table(seen), Text(), _dcs_table(cluster.config, seen, probes), *lines)


def _dcs_table(config: ClusterConfig, seen: dict[str, Any], probes: Probes) -> RenderableType:
    """A line for each datacenter."""
    from rich.table import Table

    from ringleader.cli.status import state_of, worst_lag
    from ringleader.cli.tables import TABLE_STYLE

    table = Table(**TABLE_STYLE)
    table.add_column("datacenter")
    headers = ("nodes ready", "leads", "behind, entries", "READONLY read", "linearizable read")
    for header in headers:
        table.add_column(header, justify="right")
    for dc in config.dcs:
        table.add_column(f"to {dc}", justify="right")
    lag = worst_lag(seen)
    dc_of = {node.name: node.dc for node in config.nodes}
    for dc in config.dcs:
        nodes = [node for node in seen["nodes"] if node["dc"] == dc]
        stale, strong = probes.times.get(dc, (None, None))
        far = []
        for other in config.dcs:
            times = [
                peer["rtt_ms"]
                for node in nodes
                for name, peer in node["peers"].items()
                if dc_of.get(name) == other and peer.get("rtt_ms") is not None
            ]
            far.append(_ms(median(times)) if times else "")
        table.add_row(
            dc,
            f"{sum(state_of(node) == 'ready' for node in nodes)} of {len(nodes)}",
            str(sum(node["leads"] for node in nodes)),
            f"{max((lag.get(node['name'], 0) for node in nodes), default=0):,}",
            _ms(stale),
            _ms(strong),
            *far,
        )
    return table


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"


class Probes:
    """How long reads take from a client in each datacenter: through a node there.

    Attributes:
        times: by datacenter: of a READONLY and of a linearizable read, the median in ms; None
            where there was no answer.
    """

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._open: dict[tuple[str, bool], Connection] = {}
        self.times: dict[str, tuple[float | None, float | None]] = {}

    async def run(self) -> None:
        """Measure once, all datacenters at the same time."""
        dcs = self._config.dcs
        found = await asyncio.gather(*(self._of(dc) for dc in dcs))
        self.times = dict(zip(dcs, found, strict=True))

    async def _of(self, dc: str) -> tuple[float | None, float | None]:
        stale, strong = await asyncio.gather(self._measured(dc, True), self._measured(dc, False))
        return stale, strong

    async def _measured(self, dc: str, stale: bool) -> float | None:
        from ringleader.cli.resp import Connection, RespError

        connection = self._open.pop((dc, stale), None)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                if connection is None:
                    connection = await self._connected(dc, stale)
                times = []
                for key in PROBES:
                    begun = time.perf_counter()
                    await connection.call(b"GET", key)
                    times.append((time.perf_counter() - begun) * 1e3)
        except (OSError, RespError):
            if connection is not None:
                connection.close()
            return None
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        assert isinstance(connection, Connection)
        self._open[dc, stale] = connection
        return median(times)

    async def _connected(self, dc: str, stale: bool) -> Connection:
        from ringleader.cli.resp import Connection

        last: OSError = OSError("no node")
        for node in self._config.nodes:
            if node.dc == dc:
                try:
                    made = await Connection.open(
                        node.host,
                        node.port,
                        password=self._config.password,
                        ca=self._config.tls.ca if self._config.tls.clients else None,
                    )
                except OSError as error:
                    last = error
                    continue
                if stale:
                    await made.call(b"READONLY")
                return made
        raise last

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()
        await asyncio.sleep(0)
