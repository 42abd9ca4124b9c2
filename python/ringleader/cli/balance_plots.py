"""The loads of nodes as a picture: how many have which load, and all of them in order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ringleader.cli.look import bins_of, facts
from ringleader.cli.plots import _ALERT, _FAINT, _HUES, _INK, _short
from ringleader.cli.sinks import replacing
from ringleader.cli.tables import Load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Nodes named at either end of the order.
EXTREMES = 4
#: So few nodes are all named under their points.
NAMED_MAX = 20
#: Datacenters with a hue of their own.
DCS_MAX = len(_HUES)
_BINS = 36


def save_balance(loads: Sequence[Load], path: str) -> None:
    """Draw loads, at least one of them finite, into a file that `plots.check_output` allowed.

    Raises:
        OSError: the file cannot be written.
    """
    figure = balance_figure(loads)
    suffix = Path(path).suffix.lower()
    metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
    with replacing(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=160, metadata=metadata)


def balance_figure(loads: Sequence[Load]) -> Figure:
    """The picture of loads of which at least one is finite."""
    from matplotlib.figure import Figure

    live = [load for load in loads if not math.isnan(load.load)]
    dcs = sorted({load.dc for load in live})
    hues = {dc: _HUES[number % DCS_MAX] for number, dc in enumerate(dcs)}
    figure = Figure(figsize=(12.4, 5.4), facecolor="white")
    _draw_histogram(figure.add_axes((0.055, 0.13, 0.43, 0.68)), live, hues)
    _draw_order(figure.add_axes((0.555, 0.13, 0.42, 0.68)), live, hues)
    told = facts(live)
    figure.text(0.5, 0.945, "How evenly the nodes are loaded", ha="center", fontsize=14, color=_INK)
    line = (
        f"{len(live):,} node{'s' * (len(live) != 1)}  ·  fullest {told['peak_to_mean']:.3f}  ·  "
        f"emptiest {told['least_to_mean']:.3f}  ·  deviation {told['deviation']:.1%}"
    )
    figure.text(0.5, 0.885, line, ha="center", fontsize=10, color=_FAINT)
    return figure


def _quiet(axes: Axes) -> None:
    axes.tick_params(colors=_INK, labelsize=8.5, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)


def _draw_histogram(axes: Axes, live: Sequence[Load], hues: dict[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    values = [[load.load for load in live if load.dc == dc] for dc in hues]
    bounds = bins_of([load.load for load in live], _BINS)
    counts, _, _ = axes.hist(
        values,
        bins=list(bounds),
        stacked=True,
        color=list(hues.values()),
        label=[_short(dc or "none", 14) for dc in hues],
        rwidth=0.9,
    )
    axes.axvline(1.0, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("load  (1 = exactly its due)", fontsize=9.5, color=_INK)
    axes.set_ylabel("nodes", fontsize=9.5, color=_INK)
    top = float(np.max(counts))
    axes.set_ylim(0, top * 1.08 + 0.2)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    margin = 0.5 * (bounds[1] - bounds[0])
    axes.set_xlim(bounds[0] - margin, bounds[-1] + margin)
    if 1 < len(hues) <= DCS_MAX:
        axes.legend(loc="upper right", frameon=False, fontsize=9, handlelength=1, labelcolor=_INK)
    _quiet(axes)


def _draw_order(axes: Axes, live: Sequence[Load], hues: dict[str, str]) -> None:
    """A point for each node, from the emptiest to the fullest."""
    ranked = sorted(live, key=lambda load: load.load)
    values = np.array([load.load for load in ranked])
    places = np.arange(len(ranked))
    axes.axhline(1.0, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.vlines(
        places,
        1.0,
        values,
        color=[hues[load.dc] for load in ranked],
        alpha=0.35,
        linewidth=max(0.6, min(6.0, 220 / len(ranked))),
    )
    axes.scatter(
        places,
        values,
        s=max(4, min(46, 1600 / len(ranked))),
        c=[hues[load.dc] for load in ranked],
        zorder=3,
        linewidths=0,
    )
    span = max(float(values.max()), 1.0) - min(float(values.min()), 1.0) or 1.0
    axes.set_ylim(
        min(float(values.min()), 1.0) - 0.08 * span, max(float(values.max()), 1.0) + 0.08 * span
    )
    axes.set_xlim(-0.03 * len(ranked) - 0.6, 1.03 * len(ranked) - 0.4)
    axes.set_ylabel("load", fontsize=9.5, color=_INK)
    _quiet(axes)
    if len(ranked) <= NAMED_MAX:
        names = [_short(load.name, 12) for load in ranked]
        axes.set_xticks(places, names, rotation=40, ha="right", rotation_mode="anchor")
        return
    axes.set_xticks([])
    axes.set_xlabel("nodes, from the emptiest to the fullest", fontsize=9.5, color=_INK)
    # The names stand in columns inside the picture, where the curve leaves room.
    above = 0.06 * (EXTREMES + 1)
    columns = (
        ("fullest", ranked[::-1], 0.04, 1.02, "left", _ALERT),
        ("emptiest", ranked, 0.97, above, "right", _INK),
    )
    for title, named, x, top, align, colour in columns:
        lines = [f"{load.load:.3f}  {_short(load.name, 22)}" for load in named[:EXTREMES]]
        for number, line in enumerate([title, *lines]):
            axes.text(
                x,
                top - 0.06 * number,
                line,
                ha=align,
                va="center",
                transform=axes.transAxes,
                fontsize=8.5 if number else 9,
                color=colour if number else _FAINT,
            )
