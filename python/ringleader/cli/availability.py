"""`ringleader availability`: how often reads and writes work, and which placement is better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ringleader.availability import Availability, Choice, Model, assess, avoids, better
from ringleader.availability.compare import RANKINGS, By
from ringleader.availability.model import checked_policy
from ringleader.availability.quorums import KINDS
from ringleader.limits import REPLICAS_MAX
from ringleader.placement.topology import SPREADS, Replicas

if TYPE_CHECKING:
    from rich.console import Console

SAMPLES_MAX = 10**8


class _Each(click.ParamType[tuple[str, str]]):
    """`0.999` for all datacenters, `eu=0.999` for one."""

    name = "probability"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        dc, _, text = str(value).rpartition("=")
        return dc.strip(), text.strip()


def _per_datacenter(option: str, given: tuple[tuple[str, str], ...], names: list[str]) -> Any:
    """One value for all, or one for each by name: later ones are about single datacenters."""
    every = [text for dc, text in given if not dc]
    single = {dc: text for dc, text in given if dc}
    if len(every) > 1:
        raise click.UsageError(f"--{option} {every[1]}: there is one for all datacenters already.")
    if not single:
        return every[0]
    if not every and (missing := [name for name in names if name not in single]):
        raise click.UsageError(f"--{option} says nothing about {', '.join(missing)}.")
    rest = dict.fromkeys(names, every[0]) if every else {}
    return {**rest, **single}


def _zones(given: Any) -> Any:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise click.UsageError(f"--zones {text}: give a number of zones.")
        return int(text)

    if isinstance(given, Mapping):
        return {name: number(text) for name, text in given.items()}
    return number(given)


@click.command()
@click.option(
    "--policy", required=True, metavar="DC=N,...", help="Replicas by datacenter: eu=2,us=2,ap=1."
)
@click.option(
    "--node",
    type=_Each(),
    multiple=True,
    required=True,
    metavar="[DC=]P",
    help="How often a node is up: 0.999 or 99.9%; eu=0.99 for those of one datacenter.",
)
@click.option(
    "--dc",
    "dcs",
    type=_Each(),
    multiple=True,
    default=["1"],
    metavar="[DC=]P",
    help="How often a datacenter is.  [default: always]",
)
@click.option(
    "--zone",
    "zone",
    type=_Each(),
    multiple=True,
    default=["1"],
    metavar="[DC=]P",
    help="How often a zone is while its datacenter is.  [default: always]",
)
@click.option(
    "--zones",
    type=_Each(),
    multiple=True,
    metavar="[DC=]N",
    help="Over how many zones a datacenter's replicas are spread.  [default: with "
    "--spread zone as many as replicas, else one]",
)
@click.option("--spread", type=click.Choice(SPREADS), default="node", help="As in the policy.")
@click.option(
    "--read",
    default="majority",
    show_default=True,
    metavar="QUORUM",
    help=f"What a read needs: {', '.join(KINDS)}.",
)
@click.option(
    "--write", default="majority", show_default=True, metavar="QUORUM", help="What a write needs."
)
@click.option(
    "--datacenters",
    metavar="DC,...",
    help="Where replicas may be placed.  [default: the policy's]",
)
@click.option(
    "--up-to", type=click.IntRange(1, REPLICAS_MAX), help="Compare all numbers of replicas to N."
)
@click.option("--sizes", is_flag=True, help="Compare all counts: reads + writes = replicas + 1.")
@click.option(
    "--by", type=click.Choice(RANKINGS), default="write", show_default=True, help="Rank by these."
)
@click.option(
    "--top",
    type=click.IntRange(0, 10_000),
    default=5,
    show_default=True,
    help="How many placements to show; 0 compares none.",
)
@click.option(
    "--sample",
    type=click.IntRange(1, SAMPLES_MAX),
    metavar="N",
    help="Check the answer against N states drawn at random.",
)
@click.option("--seed", type=click.IntRange(0, 2**63), default=0, help="Of --sample.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object.")
def availability(
    policy: str,
    node: tuple[tuple[str, str], ...],
    dcs: tuple[tuple[str, str], ...],
    zone: tuple[tuple[str, str], ...],
    zones: tuple[tuple[str, str], ...],
    spread: str,
    read: str,
    write: str,
    datacenters: str | None,
    up_to: int | None,
    sizes: bool,
    by: By,
    top: int,
    sample: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Say how available reads and writes are, exactly, and which placement would be better.

    Nodes, zones and datacenters fail independently; what stands in a zone or datacenter that is
    down is down with it.
    """
    replicas = Replicas.parse(policy, spread=spread)
    counts = checked_policy(replicas)
    allowed = list(counts)
    if datacenters is not None:
        allowed = [name.strip() for name in datacenters.split(",")]
    settings = {
        "node": _per_datacenter("node", node, allowed),
        "dc": _per_datacenter("dc", dcs, allowed),
        "zone": _per_datacenter("zone", zone, allowed),
        "zones": _zones(_per_datacenter("zones", zones, allowed)) if zones else None,
    }
    # Those of datacenters without replicas are for the comparison alone.
    own = {
        name: {dc: given[dc] for dc in given if dc in counts or dc not in allowed}
        if isinstance(given, Mapping)
        else given
        for name, given in settings.items()
    }
    choice = assess(Model(replicas, **own), read, write, given=True)
    others: list[Choice] = []
    if top:
        others = better(
            replicas,
            **settings,
            read=read,
            write=write,
            datacenters=allowed,
            replicas_max=up_to,
            sizes=sizes,
            by=by,
        )
    if as_json:
        click.echo(json.dumps(describe(choice, others[:top], len(others), sample, seed), indent=2))
        return
    from ringleader.cli.tables import console

    _show(console(), choice, others, top, sample, seed, by)


def _told(value: Availability) -> dict[str, Any]:
    return {
        "available": float(value),
        "unavailable": float(value.unavailable),
        "nines": value.nines if value.unavailable else None,
        "down_s_per_year": value.down_s_per_year,
        "exact_unavailable": str(value.unavailable),
    }


def _choice_told(choice: Choice) -> dict[str, Any]:
    return {
        "policy": dict(choice.counts),
        "replicas": choice.model.total,
        "read_quorum": choice.read_quorum.words,
        "write_quorum": choice.write_quorum.words,
        "read": _told(choice.read),
        "write": _told(choice.write),
        "consistent": choice.consistent,
        "nodes_survived": choice.nodes_survived,
        "datacenters_survived": choice.datacenters_survived,
        "given": choice.given,
    }


def describe(
    choice: Choice, others: list[Choice], compared: int, sample: int | None, seed: int
) -> dict[str, Any]:
    """Everything the tables show, for machines; nines of what never fails are None."""
    total = choice.model.total
    told = _choice_told(choice)
    told["random_quorum"] = [
        {
            "quorum": total // 2 + 1,
            "failed": failed,
            "avoids": avoids(total, total // 2 + 1, failed),
        }
        for failed in range(total + 1)
    ]
    if sample is not None:
        told["sampled"] = {
            name: {
                "failures": estimate.failures,
                "samples": estimate.samples,
                "unavailable_low": estimate.low,
                "unavailable_high": estimate.high,
                "agrees": estimate.agrees_with(exact),
            }
            for name, quorum, exact in (
                ("read", choice.read_quorum, choice.read),
                ("write", choice.write_quorum, choice.write),
            )
            for estimate in (choice.model.estimate(quorum, sample, seed),)
        }
    told["compared"] = compared
    told["placements"] = [_choice_told(other) for other in others]
    return told


# --- for people ---------------------------------------------------------------------------------


#: Below so many columns of a terminal, tables have fewer of their own.
NARROW = 110


def _nines(value: Availability) -> str:
    return f"{value.nines:.2f}" if value.unavailable else "-"


def _show(
    out: Console,
    choice: Choice,
    others: list[Choice],
    top: int,
    sample: int | None,
    seed: int,
    by: By,
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    def table(*columns: tuple[str, bool]) -> Table:
        made = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
        for name, is_number in columns:
            made.add_column(
                name,
                justify="right" if is_number else "left",
                overflow="fold",
                no_wrap=is_number or name == "placement",
            )
        return made

    model, total = choice.model, choice.model.total
    places = f"{len(choice.counts)} datacenter{'s' * (len(choice.counts) > 1)}"
    out.print(f"{choice.policy}: {total} replica{'s' * (total > 1)} in {places}", style="bold")
    made = table(
        ("", False), ("needs", False), ("available", True), ("nines", True), ("down a year", True),
        ("survives any", False),
    )  # fmt: skip
    for name, quorum, value in (
        ("write", choice.write_quorum, choice.write),
        ("read", choice.read_quorum, choice.read),
    ):
        made.add_row(
            name, quorum.words, value.percent, _nines(value), value.downtime,
            quorum.survives(choice.counts),
        )  # fmt: skip
    out.print(made)
    if not choice.consistent:
        out.print("A read may miss the last write: these quorums need not meet.", style="yellow")
    if sample is not None:
        for name, quorum, value in (
            ("write", choice.write_quorum, choice.write),
            ("read", choice.read_quorum, choice.read),
        ):
            found = model.estimate(quorum, sample, seed)
            verdict = "agrees" if found.agrees_with(value) else "DISAGREES"
            out.print(
                f"sampled {name}: {found.failures:,} failures in {found.samples:,} states, "
                f"unavailable {found.low:.3g} ... {found.high:.3g}; the exact "
                f"{float(value.unavailable):.3g} {verdict}"
            )
    if total > 1:
        most = total // 2 + 1
        chances = ", ".join(
            f"{avoids(total, most, failed):.3g} with {failed} failed"
            for failed in range(1, total - most + 1)
        )
        out.print(
            f"A majority picked at random, blindly, avoids the failed replicas: {chances or '0'}; "
            f"it is all live {model.blind(most).percent} of the time"
        )
    if not top:
        return
    out.print()
    columns = [
        ("", True), ("placement", False), ("write needs", False), ("write", True), ("nines", True),
        ("down a year", True), ("read", True), ("nines", True), ("survives any", False),
    ]  # fmt: skip
    # What else the first table says, and what follows from other columns, gives way to the rest.
    kept = [
        at
        for at, (name, _) in enumerate(columns)
        if out.width >= NARROW or name not in ("write needs", "nines")
    ]
    made = table(*(columns[at] for at in kept))
    ranks = list(enumerate(others, 1))
    shown = [(rank, other) for rank, other in ranks if rank <= top or other.given]
    for rank, other in shown:
        if rank > top:
            made.add_section()
        cells = (
            str(rank), other.policy + (" (yours)" if other.given else ""), other.write_quorum.words,
            other.write.percent, _nines(other.write), other.write.downtime, other.read.percent,
            _nines(other.read), other.write_quorum.survives(other.counts),
        )  # fmt: skip
        made.add_row(*(cells[at] for at in kept), style="bold" if other.given else "")
    out.print(made)
    out.print(_verdict(others, by))


def _verdict(others: list[Choice], by: By) -> str:
    best = others[0]
    own = next(choice for choice in others if choice.given)
    count = f"{len(others):,} placement{'s' * (len(others) > 1)} compared"
    what = {"write": "writes", "read": "reads", "worse": "the worse of reads and writes"}[by]
    now, then = own.availability(by).unavailable, best.availability(by).unavailable
    if now == then:
        return f"{count}: none is better for {what}."
    gain = f"{float(now / then):.3g} times less often" if then else "never"
    return f"{count}: with {best.policy}, {what} fail{'s' * (by == 'worse')} {gain}."
