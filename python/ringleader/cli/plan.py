"""`ringleader plan`: what moves from one ring to another, and in which steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringleader.cli.amounts import bytes_in_words, parse_bytes, parse_rate, seconds_in_words
from ringleader.cli.look import parsed_policy, policy_options
from ringleader.errors import OutputExists, SettingError
from ringleader.placement import Movement, Plan, load_locator
from ringleader.placement.movement import CIRCLE

if TYPE_CHECKING:
    from rich.console import Console

#: Rows of a table that are shown; of more, the largest.
ROWS_MAX = 24


def _link(text: str) -> tuple[tuple[str, str], float]:
    pair, equals, rate = text.rpartition("=")
    source, colon, target = pair.partition(":")
    if not (equals and colon):
        raise SettingError(f"--link {text!r}: write from:to=rate, such as eu:us=50MB/s")
    return (source, target), parse_rate("--link", rate)


def _names(text: str | None) -> list[str]:
    return [] if text is None else [part.strip() for part in text.split(",")]


@click.command()
@click.argument("old")
@click.argument("new")
@policy_options
@click.option("--down", metavar="NAMES", help="Nodes of OLD that nothing can be copied from.")
@click.option("--bytes", "size", metavar="SIZE", help="One copy of all the data: 10TB, 1.5GiB.")
@click.option("--rate", metavar="RATE", help="A node's, in and out: 100MB/s, 10Gbit/s.")
@click.option(
    "--link", "links", multiple=True, metavar="FROM:TO=RATE", help="Between two datacenters."
)
@click.option(
    "--concurrent",
    default=2,
    show_default=True,
    metavar="N",
    help="Transfers in, and out, of a node at a time.",
)
@click.option("--piece", metavar="SIZE", help="Cut transfers into pieces of at most so much.")
@click.option("--json", "json_path", metavar="FILE", help="Write the plan; - for stdout.")
@click.option("--plot", "plot_path", metavar="OUT", help="Draw it: a .png or .svg file.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
def plan(
    old: str,
    new: str,
    policy: str | None,
    spread: str | None,
    down: str | None,
    size: str | None,
    rate: str | None,
    links: Sequence[str],
    concurrent: int,
    piece: str | None,
    json_path: str | None,
    plot_path: str | None,
    force: bool,
) -> None:
    """Plan the way from the ring in OLD to the ring in NEW.

    Says what moves and what had to, and in which steps nothing ever has fewer copies than before.
    With --bytes and --rate, how long they take.
    """
    replicas = parsed_policy(policy, spread)
    given_links = dict(map(_link, links))
    amounts: dict[str, Any] = {
        "bytes_per_share": None if size is None else parse_bytes("--bytes", size),
        "max_bytes_per_s": None if rate is None else parse_rate("--rate", rate),
        "max_bytes_per_transfer": None if piece is None else parse_bytes("--piece", piece),
    }
    if size is None and (piece is not None or links):
        raise SettingError("--piece and --link need --bytes: how much one copy of the data is")
    if rate is None and links:
        raise SettingError("--link needs --rate: what a node sends and receives")
    if plot_path is not None:
        from ringleader.cli.plots import check_output

        check_output(plot_path, force)
    if json_path not in (None, "-") and not force and Path(str(json_path)).exists():
        raise OutputExists(f"{json_path} exists already; --force replaces it")
    movement = load_locator(old).diff(load_locator(new), replicas, down=_names(down))
    made = movement.plan(
        max_concurrent_per_node=concurrent, link_bytes_per_s=given_links or None, **amounts
    )
    if json_path == "-":
        click.echo(made.to_json(indent=2))
    else:
        _print(made, old, new)
        if json_path is not None:
            from ringleader.cli.sinks import replacing

            with replacing(json_path) as file:
                file.write(made.to_json(indent=2).encode() + b"\n")
            click.echo(json_path)
    if plot_path is not None:
        from ringleader.cli.movement_plots import save_movement

        save_movement(movement, plot_path)
        click.echo(plot_path, err=json_path == "-")


# --- what is printed ------------------------------------------------------------------------------


class _Amounts:
    """Lengths as shares, and as bytes where it is known how many there are."""

    def __init__(self, plan: Plan) -> None:
        self.density = plan.settings["bytes_per_share"]

    def __call__(self, length: int) -> str:
        if length == 0:
            return "-"
        if self.density is None:
            return percent(length / CIRCLE)
        return bytes_in_words(length * self.density / CIRCLE)


def percent(share: float) -> str:
    """A share with at least two digits that say something."""
    if share == 0:
        return "0%"
    digits = min(8, max(2, 1 - math.floor(math.log10(share * 100))))
    return f"{share:.{digits}%}"


def _print(plan: Plan, old: str, new: str) -> None:
    from ringleader.cli.tables import ascii_only, console

    out = console()
    movement = plan.movement
    out.print(f"{old} -> {new}")
    out.print(_summary(plan), soft_wrap=False)
    if not movement:
        return
    out.print()
    out.print(_node_table(movement, _Amounts(plan), ascii_only(out)))
    if len({node.dc for node in movement.nodes}) > 1 and movement.length:
        out.print()
        out.print(_dc_table(movement, _Amounts(plan)))
    out.print()
    _print_steps(out, plan)


def _summary(plan: Plan) -> str:
    movement = plan.movement
    if not movement:
        return "Nothing moves."
    lines = [f"moves              {percent(movement.share)} of the key space"]
    if movement.policy is not None:
        lines[0] += f", its {movement.policy.total} replicas together"
    if plan.bytes is not None:
        lines[0] += f", {bytes_in_words(plan.bytes)}"
    lines.append(f"had to             {percent(movement.needed_share)}, given each node's share")
    lines.append(
        f"ideal              {percent(movement.ideal_share)}, if both rings were perfectly even"
    )
    kept = movement.between_kept / CIRCLE
    lines.append(f"between old nodes  {percent(kept)}" if kept else "between old nodes  nothing")
    if movement.lost_length:
        lines.append(
            f"lost               {percent(movement.lost_length / CIRCLE)}: only nodes that are "
            "down have it"
        )
    return "\n".join(lines)


def _node_table(movement: Movement, amount: _Amounts, ascii_only: bool) -> Any:
    from rich.table import Table
    from rich.text import Text

    from ringleader.cli.tables import BAR_WIDTH, TABLE_STYLE

    table = Table(**TABLE_STYLE)
    table.add_column("node", overflow="fold", max_width=32)
    has_dcs = any(node.dc for node in movement.nodes)
    if has_dcs:
        table.add_column("dc", overflow="fold", max_width=16)
    for name in ("before", "after", "out", "in"):
        table.add_column(name, justify="right")
    table.add_column("out | in", no_wrap=True, width=2 * (BAR_WIDTH // 2) + 1)
    order = sorted(range(len(movement.nodes)), key=lambda at: movement.names[at])
    moved = [max(movement.incoming[at], movement.outgoing[at]) for at in range(len(order))]
    hidden: list[int] = []
    if len(order) > ROWS_MAX:
        ranked = sorted(order, key=lambda at: -moved[at])
        hidden, order = ranked[ROWS_MAX:], sorted(ranked[:ROWS_MAX])
    scale = max(1, *moved)
    for at in order:
        node = movement.nodes[at]
        cells: list[str | Text] = [Text(node.name)]
        if has_dcs:
            cells.append(Text(node.dc))
        before, after = movement.before[at] / CIRCLE, movement.after[at] / CIRCLE
        style = "green" if not before else "red" if not after else ""
        cells += [
            f"{before:.2%}" if before else "-",
            f"{after:.2%}" if after else "-",
            amount(movement.outgoing[at]),
            amount(movement.incoming[at]),
            _flow_bar(movement.outgoing[at] / scale, movement.incoming[at] / scale, ascii_only),
        ]
        table.add_row(*cells, style=style)
    if hidden:
        table.add_row(Text(f"... {len(hidden)} more ...", style="dim"))
    table.add_section()
    total = [f"{len(movement.nodes)} nodes", *([""] if has_dcs else [])]
    total += [f"{sum(movement.before) / CIRCLE:.2%}", f"{sum(movement.after) / CIRCLE:.2%}"]
    table.add_row(*total, *[amount(movement.length)] * 2, "", style="bold")
    return table


def _flow_bar(going: float, coming: float, ascii_only: bool) -> Any:
    """Outgoing to the left of the middle, incoming to the right."""
    from rich.text import Text

    from ringleader.cli.tables import BAR_WIDTH

    half = BAR_WIDTH // 2
    full, middle = ("#", "|") if ascii_only else ("█", "│")
    left = math.ceil(half * going) if going else 0
    right = math.ceil(half * coming) if coming else 0
    text = Text(" " * (half - left) + full * left, style="yellow")
    text.append(middle, style="dim")
    text.append(full * right, style="green")
    return text


def _dc_table(movement: Movement, amount: _Amounts) -> Any:
    """From the datacenters at the left to those at the top."""
    from rich.table import Table
    from rich.text import Text

    from ringleader.cli.tables import TABLE_STYLE

    dcs = sorted({dc for pair in movement.datacenters for dc in pair})
    table = Table(**TABLE_STYLE)
    table.add_column("from \\ to", overflow="fold", max_width=16)
    shown = dcs[:8]
    for dc in shown:
        table.add_column(Text(dc or "none"), justify="right", overflow="fold", max_width=16)
    for source in dcs:
        cells = [amount(movement.datacenters.get((source, target), 0)) for target in shown]
        table.add_row(Text(source or "none"), *cells)
    if len(dcs) > len(shown):
        table.caption = f"and to {len(dcs) - len(shown)} more datacenters"
        table.caption_justify = "left"
    return table


def _print_steps(out: Console, plan: Plan) -> None:
    from rich.table import Table
    from rich.text import Text

    from ringleader.cli.tables import TABLE_STYLE

    timed = plan.seconds is not None
    table = Table(**TABLE_STYLE)
    table.add_column("step", justify="right")
    table.add_column("transfers", justify="right")
    table.add_column("moves", justify="right")
    if timed:
        table.add_column("takes", justify="right")
    table.add_column("busiest", overflow="fold")
    table.add_column("then dropped", justify="right")
    amount = _Amounts(plan)
    rows = list(enumerate(plan.steps, start=1))
    half = ROWS_MAX // 2
    shown = rows if len(rows) <= ROWS_MAX else rows[:half] + rows[-half:]
    for number, step in shown:
        if len(rows) > ROWS_MAX and number == rows[-half][0]:
            table.add_row("", Text(f"... {len(rows) - 2 * half} more ...", style="dim"))
        cells: list[str | Text] = [f"{number}", f"{len(step.transfers):,}", amount(step.length)]
        if timed:
            cells.append(seconds_in_words(step.seconds or 0.0))
        cells.append(Text(" ".join(step.busiest) if step.busiest else "-"))
        cells.append(amount(sum(drop.length for drop in step.drops)))
        table.add_row(*cells)
    out.print(table)
    line = f"{len(plan.steps)} step{'s' * (len(plan.steps) != 1)}"
    line += f", {plan.transfer_count:,} transfer{'s' * (plan.transfer_count != 1)}"
    if plan.seconds is not None and plan.bound_s is not None:
        line += (
            f"; about {seconds_in_words(plan.seconds)} (at best {seconds_in_words(plan.bound_s)})"
        )
    elif plan.bytes is None:
        line += "; --bytes and --rate tell how long they take"
    else:
        line += "; --rate tells how long they take"
    out.print(line)
