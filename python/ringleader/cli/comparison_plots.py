"""The comparison as a picture: six questions, a line for each algorithm, log-log."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ringleader.cli.comparison import Measured
from ringleader.cli.sinks import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _FAINT = "#222831", "#9aa3ad"
#: Hues that stay apart for colour-blind eyes too (Okabe and Ito, 2008), then the same with dashes.
_HUES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#B5A400")
_STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_MARKS = ("o", "s", "^")

#: Title, the figure on the vertical axis, its unit.
PANELS: tuple[tuple[str, Callable[[Measured], float], str], ...] = (
    ("How uneven", lambda row: max(row.peak_to_mean - 1, 1e-4), "peak / mean, less 1"),
    (
        "What moves when a node comes",
        lambda row: row.added / row.added_ideal,
        "times what has to",
    ),
    (
        "What moves when one goes",
        lambda row: row.removed / row.removed_ideal,
        "times what has to",
    ),
    ("A column of keys", lambda row: row.bulk_ns, "ns a key"),
    ("One key", lambda row: row.scalar_ns, "ns"),
    ("Memory", lambda row: max(row.nbytes, 1), "bytes"),
)


def save_comparison(rows: Sequence[Measured], path: str) -> None:
    """Draw into a PNG or SVG file, whose name was checked."""
    figure = comparison_figure(rows)
    suffix = Path(path).suffix.lower()
    metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
    with replacing(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=130, metadata=metadata)


def comparison_figure(rows: Sequence[Measured]) -> Figure:
    """Six panels and one key for all."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row.algorithm for row in rows))
    figure = Figure(figsize=(13.5, 8.2), facecolor="white")
    grid = figure.add_gridspec(
        2, 3, left=0.06, right=0.83, top=0.9, bottom=0.08, hspace=0.36, wspace=0.3
    )
    for at, (title, value, unit) in enumerate(PANELS):
        axes = figure.add_subplot(grid[at // 3, at % 3])
        _draw(axes, rows, names, value)
        axes.set_title(title, fontsize=11, color=_INK, loc="left")
        axes.set_ylabel(unit, fontsize=9, color=_INK)
        if at >= 3:
            axes.set_xlabel("nodes", fontsize=9, color=_INK)
        if at == 0:
            handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="center left", bbox_to_anchor=(0.845, 0.5), frameon=False, fontsize=9.5
    )
    figure.text(
        0.06, 0.955, "Placement algorithms, asked the same questions", fontsize=14, color=_INK
    )
    return figure


def _draw(
    axes: Axes, rows: Sequence[Measured], names: Sequence[str], value: Callable[[Measured], float]
) -> None:
    for number, name in enumerate(names):
        mine = sorted((row for row in rows if row.algorithm == name), key=lambda row: row.nodes)
        turn = number // len(_HUES) % len(_STYLES)
        axes.plot(
            [row.nodes for row in mine],
            [value(row) for row in mine],
            color=_HUES[number % len(_HUES)],
            linestyle=_STYLES[turn],
            marker=_MARKS[turn],
            markersize=4.5,
            linewidth=1.5,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    values = [value(row) for row in rows]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    least = 10.0**low
    if low < 0 <= high and min(values) > 0.5:  # about 1, mostly: no empty decade below
        least = 0.5
    axes.set_ylim(least, 10.0 ** max(high, low + 1))
    counts = sorted({row.nodes for row in rows})
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    axes.grid(True, which="major", color="#e4e7eb", linewidth=0.8)
    axes.tick_params(colors=_INK, labelsize=8.5, length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
