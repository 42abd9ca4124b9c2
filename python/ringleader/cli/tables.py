"""Loads as tables in a terminal, or as plain text where there is none."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ringleader.placement import HashRing, Node
from ringleader.placement.stats import ideal_shares

#: Columns of output that goes to a file or a pipe, where nothing needs to be cut to a window.
PLAIN_WIDTH = 160
BAR_WIDTH = 18
TABLE_STYLE: dict[str, Any] = {
    "box": SIMPLE_HEAD,
    "pad_edge": False,
    "padding": (0, 1),
    "show_edge": False,
}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # the command group knows what to do


def console(*, stderr: bool = False, width: int = PLAIN_WIDTH) -> Console:
    """A console as wide as the terminal, or `width` where there is none."""
    made = _Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = width
    return made


@dataclass(frozen=True)
class Load:
    """What a node, or several together, should have and do have."""

    name: str
    dc: str
    weight: float
    ideal: float  #: share due to its weight, 0 ... 1
    share: float  #: share it has; NaN where there is nothing to share
    zone: str = ""
    points: int = 0
    keys: int = 0
    copies: int = 0  #: keys of which it is any replica

    @property
    def load(self) -> float:
        """share / ideal: 1 is exactly its due; NaN for a node that is due nothing."""
        return self.share / self.ideal if self.ideal > 0 else math.nan


def loads_of(ring: HashRing) -> list[Load]:
    """The exact share of the key space of each node, by position."""
    stats = ring.stats()
    return [
        Load(
            name=node.name,
            dc=node.dc,
            zone=node.zone,
            weight=node.weight,
            points=int(stats.points[position]),
            share=float(stats.share[position]),
            ideal=float(stats.ideal[position]),
        )
        for position, node in enumerate(ring.nodes)
    ]


def dues_of(nodes: Sequence[Node]) -> list[Load]:
    """What is due to each node by its weight, whatever it has."""
    ideal = ideal_shares(np.array([node.weight for node in nodes], dtype=np.float64))
    return [
        Load(node.name, node.dc, node.weight, float(due), math.nan, node.zone)
        for node, due in zip(nodes, ideal, strict=True)
    ]


def together(name: str, dc: str, loads: Sequence[Load]) -> Load:
    """The sum of several loads."""
    return Load(
        name=name,
        dc=dc,
        weight=math.fsum(load.weight for load in loads),
        ideal=math.fsum(load.ideal for load in loads),
        share=math.fsum(load.share for load in loads),
        points=sum(load.points for load in loads),
        keys=sum(load.keys for load in loads),
        copies=sum(load.copies for load in loads),
    )


def by_datacenter(loads: Iterable[Load]) -> list[Load]:
    """The sums of the datacenters, in the order of their names; [] if there is only one."""
    ordered = sorted(loads, key=lambda load: load.dc)
    sums = [
        together("all of " + (dc or "no datacenter"), dc, list(members))
        for dc, members in groupby(ordered, key=lambda load: load.dc)
    ]
    return sums if len(sums) > 1 else []


#: Column -> its header and how a cell reads.
_COLUMNS: dict[str, tuple[str, Callable[[Load], str]]] = {
    "zone": ("zone", lambda load: load.zone),
    "weight": ("weight", lambda load: f"{load.weight:g}"),
    "points": ("points", lambda load: f"{load.points:,}"),
    "keys": ("keys", lambda load: f"{load.keys:,}"),
    "copies": ("copies", lambda load: f"{load.copies:,}"),
    "share": ("share", lambda load: _percent(load.share)),
    "ideal": ("ideal", lambda load: _percent(load.ideal)),
    "load": ("load", lambda load: "-" if math.isnan(load.load) else f"{load.load:.3f}"),
}


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.2%}"


def load_table(
    loads: Sequence[Load],
    columns: Sequence[str],
    *,
    ascii_only: bool,
    rows_max: int | None = None,
) -> Table:
    """A row for each node with a bar of its load, the datacenters' sums, and the total.

    Args:
        columns: of `_COLUMNS`; name, datacenter (where there is one) and the bar are always there.
        ascii_only: draw the bars with ASCII.
        rows_max: with more nodes than that, show the fullest and the emptiest.
    """
    table = Table(**TABLE_STYLE)
    has_dcs = any(load.dc for load in loads)
    table.add_column("node", overflow="fold", max_width=40)
    if has_dcs:
        table.add_column("dc", overflow="fold", max_width=16)
    for column in columns:
        table.add_column(_COLUMNS[column][0], justify="left" if column == "zone" else "right")
    table.add_column("load against ideal", no_wrap=True, width=BAR_WIDTH)
    finite = [load.load for load in loads if not math.isnan(load.load)]
    scale = max([1.0, *finite])

    def add(load: Load, *, bar: bool = True, style: str = "") -> None:
        cells: list[str | Text] = [Text(load.name)]
        if has_dcs:
            cells.append(Text(load.dc))
        cells += [_COLUMNS[column][1](load) for column in columns]
        cells.append(_bar(load.load, scale, ascii_only) if bar else "")
        table.add_row(*cells, style=style)

    shown, hidden = list(loads), 0
    if rows_max is not None and len(loads) > rows_max:
        ranked = sorted(loads, key=lambda load: -math.inf if math.isnan(load.load) else -load.load)
        half = rows_max // 2
        shown, hidden = ranked[:half], len(loads) - 2 * half
    for load in shown:
        add(load)
    if hidden:
        table.add_row(Text(f"... {hidden} more ...", style="dim"))
        for load in ranked[-half:]:
            add(load)
    sums = by_datacenter(loads)
    if sums:
        table.add_section()
        for load in sums:
            add(load)
    table.add_section()
    add(together(f"{len(loads)} node{'s' * (len(loads) != 1)}", "", loads), bar=False, style="bold")
    return table


def _bar(load: float, scale: float, ascii_only: bool) -> Text:
    """A bar that shows what is missing up to 1, or stands above it, without any colour, too."""
    full, above, missing = ("#", "+", ".") if ascii_only else ("█", "▓", "·")
    if math.isnan(load):
        return Text("")
    due = round(BAR_WIDTH / scale)
    filled = round(BAR_WIDTH * load / scale)
    text = Text(full * min(filled, due), style="green")
    text.append(missing * (due - filled), style="dim")
    text.append(above * (filled - due), style="yellow")
    return text


def ascii_only(target: Console) -> bool:
    """Whether this console's encoding has no block characters."""
    return not target.encoding.lower().startswith("utf")
