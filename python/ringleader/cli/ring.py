"""`ringleader ring`: a ring's shares as a table, as JSON, or as a picture."""

from __future__ import annotations

import json
import math
from typing import Any

import click

from ringleader.placement import HashRing, load_ring


@click.group()
def ring() -> None:
    """Look at a ring."""


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def describe(ring: HashRing) -> dict[str, Any]:
    """Everything `show` shows, for machines; what has no value (a load of weight 0) is None."""
    from ringleader.cli.tables import by_datacenter, loads_of

    stats = ring.stats()
    loads = loads_of(ring)
    return {
        "vnodes": ring.vnodes,
        "hash": ring.hash,
        # The seed of siphash13 is a secret key, and tables end up in tickets.
        "seed": None if ring.hash == "siphash13" else ring.seed,
        "placement": ring.placement,
        "replicas": None if ring.replicas is None else str(ring.replicas),
        "points": ring.point_count,
        "peak_to_mean": _finite(stats.peak_to_mean),
        "least_to_mean": _finite(stats.least_to_mean),
        "deviation": _finite(stats.deviation),
        "nodes": [
            {
                "name": load.name,
                "dc": load.dc,
                "zone": load.zone,
                "weight": load.weight,
                "points": load.points,
                "share": load.share,
                "ideal": load.ideal,
                "load": _finite(load.load),
            }
            for load in loads
        ],
        "datacenters": [
            {
                "dc": load.dc,
                "weight": load.weight,
                "points": load.points,
                "share": load.share,
                "ideal": load.ideal,
                "load": _finite(load.load),
            }
            for load in by_datacenter(loads)
        ],
    }


@ring.command()
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
def show(file: str, as_json: bool) -> None:
    """Show the share of the key space that each node of FILE has, exactly."""
    from ringleader.cli.tables import ascii_only, console, load_table, loads_of

    loaded = load_ring(file)
    if as_json:
        click.echo(json.dumps(describe(loaded), indent=2))
        return
    loads = loads_of(loaded)
    columns = ["weight", "points", "share", "ideal", "load"]
    if any(load.zone for load in loads):
        columns.insert(0, "zone")
    out = console()
    out.print(load_table(loads, columns, ascii_only=ascii_only(out)))
    out.print(summary(loaded))


def summary(ring: HashRing) -> str:
    """One line on the whole ring."""
    stats = ring.stats()
    settings = f"{ring.point_count:,} points, vnodes={ring.vnodes}, hash={ring.hash}"
    if ring.placement != "hashed":
        settings += f", placement={ring.placement}"
    if math.isnan(stats.peak_to_mean):
        return f"{settings}; no node has a positive weight"
    return (
        f"{settings}; peak-to-mean {stats.peak_to_mean:.3f}, least-to-mean "
        f"{stats.least_to_mean:.3f}, deviation {stats.deviation:.1%}"
    )


@ring.command()
@click.argument("file")
@click.option("-o", "--output", required=True, metavar="OUT", help="A .png or .svg file.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def plot(file: str, output: str, force: bool) -> None:
    """Draw the ring in FILE: who owns which arcs, and each node's load against its due."""
    from ringleader.cli.plots import save_ring

    save_ring(load_ring(file), output, force=force)
    click.echo(output)
