"""`ringleader balance` and `ringleader plot`: how even a ring is, and what it looks like."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click
import numpy as np

from ringleader.cli.tables import Load
from ringleader.errors import EmptyRingError, SettingError
from ringleader.placement import HashRing, Replicas, load_ring
from ringleader.placement.movement import CIRCLE, due_shares, held_by
from ringleader.placement.topology import SPREADS

#: Rows of the histogram, and columns of its longest bar.
BINS_MAX = 15
BAR_COLUMNS = 40
#: Nodes named as the fullest and the emptiest.
EXTREMES = 3
_BLOCKS = " ▁▂▃▄▅▆▇█"


# --- loads ----------------------------------------------------------------------------------------


def replica_loads(ring: HashRing, policy: Replicas | None) -> list[Load]:
    """What each node has and is due, of owned ranges or of all replicas; by position.

    Raises:
        EmptyRingError: no node has a positive weight.
        PolicyError: the nodes cannot satisfy the policy.
    """
    from ringleader.cli.tables import loads_of

    if policy is None:
        loads = loads_of(ring)
        if ring.point_count == 0:
            raise EmptyRingError("there is nothing to weigh: no node has a positive weight")
        return loads
    ranges: Any = ring.ranges
    rows = ranges(policy)
    held = held_by(rows, np.arange(len(rows.nodes), dtype=np.uint32), len(rows.nodes))
    due = due_shares(rows.nodes, policy)
    return [
        Load(node.name, node.dc, node.weight, due[node.name], share / CIRCLE, zone=node.zone)
        for node, share in zip(rows.nodes, held, strict=True)
    ]


def bins_of(values: Sequence[float], bins_max: int = BINS_MAX) -> list[float]:
    """Round bounds of equal bins around all values, fewer for few; one of them is 1."""
    bins_max = min(bins_max, 4 + round(2 * math.sqrt(len(values))))
    least, most = min([*values, 1.0]), max([*values, 1.0])
    width = 0.001
    for step in range(60):  # 1, 2, 5, 10, 20, 50, ... thousandths
        width = 0.001 * (1, 2, 5)[step % 3] * 10 ** (step // 3)
        if math.floor((most - 1) / width) - math.floor((least - 1) / width) < bins_max:
            break
    below, above = math.floor((least - 1) / width), math.floor((most - 1) / width) + 1
    return [1 + number * width for number in range(below, above + 1)]


def counts_in(values: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """How many values lie in each bin [bounds[i], bounds[i+1])."""
    at = np.clip(np.searchsorted(bounds, values, side="right") - 1, 0, len(bounds) - 2)
    return [int(count) for count in np.bincount(at, minlength=len(bounds) - 1)]


def sparkline(counts: Sequence[int], ascii_only: bool) -> str:
    """A column for each count: nothing only for none."""
    most = max([*counts, 1])
    if ascii_only:
        return "".join(" .:-=+*#%@"[math.ceil(9 * count / most)] for count in counts)
    return "".join(_BLOCKS[math.ceil(8 * count / most)] for count in counts)


def facts(loads: Sequence[Load]) -> dict[str, float]:
    """The figures of a group of loads, of which one is finite."""
    values = np.array([load.load for load in loads if not math.isnan(load.load)])
    return {
        "peak_to_mean": float(values.max()),
        "least_to_mean": float(values.min()),
        "deviation": float(values.std()),
        "share": math.fsum(load.share for load in loads),
        "ideal": math.fsum(load.ideal for load in loads),
    }


# --- balance --------------------------------------------------------------------------------------


def policy_options(command: Any) -> Any:
    """--policy and --spread."""
    spread = click.option(
        "--spread",
        type=click.Choice(SPREADS),
        help="What replicas are spread over.  [default: node]",
    )
    policy = click.option("--policy", metavar="REPLICAS", help="Replicas: 3, or eu=2,us=2,ap=1.")
    return policy(spread(command))


def parsed_policy(policy: str | None, spread: str | None) -> Replicas | None:
    """The policy that the two options give."""
    if spread is not None and policy is None:
        raise SettingError("--spread is part of a policy: give --policy too")
    return None if policy is None else Replicas.parse(policy, spread or "node")


@click.command()
@click.argument("file")
@policy_options
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
@click.option("--plot", "plot_path", metavar="OUT", help="Draw it: a .png or .svg file.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def balance(
    file: str,
    policy: str | None,
    spread: str | None,
    as_json: bool,
    plot_path: str | None,
    force: bool,
) -> None:
    """Show how evenly the ring in FILE loads its nodes: how many have which load.

    A load of 1 is exactly what a node is due for its weight.  With --policy, the replicas count,
    not the owners alone.
    """
    replicas = parsed_policy(policy, spread)
    if plot_path is not None:
        from ringleader.cli.plots import check_output

        check_output(plot_path, force)
    ring = load_ring(file)
    loads = replica_loads(ring, replicas)
    if as_json:
        click.echo(json.dumps(_described(loads), indent=2))
    else:
        _print(loads)
    if plot_path is not None:
        from ringleader.cli.balance_plots import save_balance

        save_balance(loads, plot_path)
        click.echo(plot_path, err=as_json)


def _by_dc(loads: Sequence[Load]) -> dict[str, list[Load]]:
    groups: dict[str, list[Load]] = {}
    for load in sorted(loads, key=lambda load: load.dc):
        if not math.isnan(load.load):
            groups.setdefault(load.dc, []).append(load)
    return groups


def _described(loads: Sequence[Load]) -> dict[str, Any]:
    values = [load.load for load in loads if not math.isnan(load.load)]
    bounds = bins_of(values)
    return {
        "nodes": len(loads),
        **{name: value for name, value in facts(loads).items() if name not in {"share", "ideal"}},
        "histogram": {"bounds": bounds, "counts": counts_in(values, bounds)},
        "datacenters": [{"dc": dc, **facts(group)} for dc, group in _by_dc(loads).items()],
        "loads": [
            {
                "name": load.name,
                "dc": load.dc,
                "share": load.share,
                "ideal": load.ideal,
                "load": None if math.isnan(load.load) else load.load,
            }
            for load in loads
        ],
    }


def _print(loads: Sequence[Load]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ringleader.cli.tables import TABLE_STYLE, ascii_only, console

    out = console()
    plain = ascii_only(out)
    live = [load for load in loads if not math.isnan(load.load)]
    values = [load.load for load in live]
    bounds = bins_of(values)
    counts = counts_in(values, bounds)
    digits = max(2, -math.floor(math.log10(bounds[1] - bounds[0]) + 1e-9))
    table = Table(**TABLE_STYLE)
    table.add_column("load", no_wrap=True)
    table.add_column("nodes", justify="right")
    table.add_column("", no_wrap=True)
    unit = max(0.25, max(counts) / BAR_COLUMNS)
    for low, high, count in zip(bounds[:-1], bounds[1:], counts, strict=True):
        bar = Text(("#" if plain else "█") * math.ceil(count / unit))
        bar.stylize("yellow" if low >= 1 - 1e-9 else "green")
        table.add_row(f"{low:.{digits}f} to {high:.{digits}f}", f"{count:,}" if count else "-", bar)
    out.print(table)
    told = facts(loads)
    out.print()
    out.print(
        f"{len(loads):,} node{'s' * (len(loads) != 1)}; peak-to-mean {told['peak_to_mean']:.3f}, "
        f"least-to-mean {told['least_to_mean']:.3f}, deviation {told['deviation']:.1%}"
    )
    if len(live) < len(loads):
        out.print(f"{len(loads) - len(live):,} of weight 0 are not counted")
    ranked = sorted(live, key=lambda load: load.load)
    if len(ranked) > 1:
        for what, named in (("fullest", ranked[::-1]), ("emptiest", ranked)):
            some = named[: min(EXTREMES, len(ranked) // 2)]
            line = ", ".join(f"{load.name} {load.load:.3f}" for load in some)
            out.print(f"{what + ':':9} {line}")
    groups = _by_dc(loads)
    if len(groups) < 2:
        return
    dcs = Table(**TABLE_STYLE)
    dcs.add_column("dc", overflow="fold", max_width=20)
    for name in ("nodes", "share", "ideal", "least", "peak"):
        dcs.add_column(name, justify="right")
    dcs.add_column(f"loads {bounds[0]:.{digits}f} to {bounds[-1]:.{digits}f}", no_wrap=True)
    for dc, group in groups.items():
        told = facts(group)
        line = sparkline(counts_in([load.load for load in group], bounds), plain)
        dcs.add_row(
            Text(dc or "none"),
            f"{len(group):,}",
            f"{told['share']:.2%}",
            f"{told['ideal']:.2%}",
            f"{told['least_to_mean']:.3f}",
            f"{told['peak_to_mean']:.3f}",
            Text(line, style="green"),
        )
    out.print()
    out.print(dcs)


# --- plot -----------------------------------------------------------------------------------------


@click.command()
@click.argument("file")
@click.argument("new", required=False)
@policy_options
@click.option("-o", "--output", required=True, metavar="OUT", help="A .png or .svg file.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def plot(
    file: str, new: str | None, policy: str | None, spread: str | None, output: str, force: bool
) -> None:
    """Draw the ring in FILE, or what moves from the ring in FILE to that in NEW.

    The first says who owns which arcs and how far each node is from its due, the second who gives
    what to whom.
    """
    from ringleader.cli.plots import check_output, save_ring

    replicas = parsed_policy(policy, spread)
    if new is None:
        if replicas is not None:
            raise SettingError(
                "--policy is for what moves between two rings; `ringleader balance --policy` "
                "draws the load of one"
            )
        save_ring(load_ring(file), output, force=force)
    else:
        from ringleader.cli.movement_plots import save_movement

        check_output(output, force)
        save_movement(load_ring(file).diff(load_ring(new), replicas), output)
    click.echo(output)
