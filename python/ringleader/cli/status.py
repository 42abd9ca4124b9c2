"""`ringleader status`: every node of a cluster is asked, and the answers are shown together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringleader.cli.extras import needed

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EXIT_UNWELL = 1


@click.command()
@click.option("--dir", "directory", metavar="DIR", help="Of a cluster that `up` made.")
@click.option("--config", "file", metavar="FILE", help="Or the cluster file of any other.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
@click.option(
    "--check", is_flag=True, help="Exit with 1 unless all nodes are ready and all shards led."
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0.05, 60),
    default=2.0,
    show_default=True,
    help="Seconds for each node's answer.",
)
def status(
    directory: str | None, file: str | None, as_json: bool, check: bool, seconds: float
) -> None:
    """Show the nodes and shards of a cluster.

    Nodes that do not answer are shown as well.  Exit codes: 0 shown; 1 with --check, when
    something is not well; 2 there is no such cluster.
    """
    if (directory is None) == (file is None):
        raise click.UsageError("Give --dir or --config.")
    with needed("node", "ringleader status"):
        import asyncio

        from ringleader.node import local
        from ringleader.node.config import ClusterConfig
        from ringleader.node.watch import is_serving, watch

    pids: dict[str, int] = {}
    if directory is not None:
        config = local.found(Path(directory))
        pids = local.running(Path(directory))
    else:
        assert file is not None
        config = ClusterConfig.load(file, secrets=False)
    seen = asyncio.run(watch(config, pids=pids, seconds=seconds))
    if as_json:
        click.echo(json.dumps(seen, indent=1))
    else:
        from ringleader.cli.tables import console

        show(console(), seen)
    if check and not is_serving(seen):
        click.get_current_context().exit(EXIT_UNWELL)


def show(out: Console, seen: dict[str, Any]) -> None:
    """Print what `watch` gave."""
    out.print(nodes_table(seen))
    out.print()
    out.print(shards_table(seen))
    for node in seen["nodes"]:
        if node["trouble"]:
            out.print(f"{node['name']}: {node['trouble']}")


def state_of(node: dict[str, Any]) -> str:
    """One word or two."""
    if not node["alive"]:
        return "no answer"
    if node["failed"]:
        return "failed"
    return "ready" if node["ready"] else "starting"


def worst_lag(seen: dict[str, Any]) -> dict[str, int]:
    """The most entries that each node's replicas lack."""
    worst: dict[str, int] = {}
    for shard in seen["shards"]:
        for name, behind in shard["lag"].items():
            worst[name] = max(worst.get(name, 0), behind)
    return worst


def nodes_table(seen: dict[str, Any]) -> RenderableType:
    """A line for each node."""
    from rich.table import Table

    from ringleader.cli.tables import TABLE_STYLE

    table = Table(**TABLE_STYLE)
    for header in ("node", "dc", "state", "clients at"):
        table.add_column(header)
    for header in ("pid", "shards", "leads", "behind", "clients"):
        table.add_column(header, justify="right")
    lag = worst_lag(seen)
    for node in seen["nodes"]:
        table.add_row(
            node["name"],
            node["dc"],
            state_of(node),
            f"{node['host']}:{node['port']}",
            str(node["pid"] or ""),
            str(node["shards"]),
            str(node["leads"]) if node["alive"] else "",
            f"{lag.get(node['name'], 0):,}",
            f"{node['clients'].get('connected', 0):,}" if node["alive"] else "",
            style=None if state_of(node) == "ready" else "red",
        )
    return table


def shards_table(seen: dict[str, Any]) -> RenderableType:
    """A line for each shard."""
    from rich.table import Table

    from ringleader.cli.tables import TABLE_STYLE

    table = Table(**TABLE_STYLE)
    table.add_column("shard", justify="right")
    table.add_column("slots", justify="right")
    table.add_column("leader")
    table.add_column("replicas, preferred first")
    for header in ("term", "commit", "keys", "behind"):
        table.add_column(header, justify="right")
    for shard in seen["shards"]:
        first, last = shard["slots"]
        table.add_row(
            str(shard["id"]),
            f"{first}-{last}",
            shard["leader"] or "none",
            " ".join(shard["replicas"]),
            f"{shard['term']:,}",
            f"{shard['commit']:,}",
            "" if shard["keys"] is None else f"{shard['keys']:,}",
            f"{max(shard['lag'].values(), default=0):,}",
            style=None if shard["leader"] else "red",
        )
    return table
