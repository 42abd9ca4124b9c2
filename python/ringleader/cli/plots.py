"""A ring as a picture: whose arcs lie where, and each node's load against its due.

Left, the circle: the outer band is every arc in its owner's colour (a hue for each datacenter, a
shade for each node), the inner band only the fullest node's, and the facts stand in the middle.
Right, a bar for each node, with a line at 1, its due; with more nodes than fit, how many nodes
have which load, and the extremes by name.

matplotlib's object interface is used throughout: no window system, no global state.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ringleader.cli.extras import needed
from ringleader.cli.sinks import replacing
from ringleader.cli.tables import Load, by_datacenter, loads_of
from ringleader.errors import EmptyRingError, FormatError, OutputExists
from ringleader.placement import HashRing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")

#: Up to this many nodes each have a bar, so many in a column.
BARS_MAX = 100
COLUMN_BARS_MAX = 50
#: Fewer bars are drawn no thicker than as if there were as many.
COLUMN_BARS_MIN = 8
#: Extremes named where the bars would be too many.
EXTREMES = 5
#: The circle is an image of this many pixels a side, in an SVG as well: a ring has thousands of
#: arcs thinner than a pixel, and each pixel is to show the exact mix of what lies in it.
CIRCLE_PIXELS = 1100
#: Inner and outer radius of the bands.
_ARCS_BAND, _FULLEST_BAND = (0.78, 1.0), (0.67, 0.74)

_INK, _FAINT, _PALE, _ALERT = "#222831", "#9aa3ad", "#eceef1", "#c0392b"
#: Hues that stay apart for colour-blind eyes too (Okabe and Ito, 2008).
_HUES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6BB1", "#B5A400")

Colour = tuple[float, float, float]


def save_ring(ring: HashRing, path: str, *, force: bool) -> None:
    """Draw `ring` into a PNG or SVG file.

    Raises:
        MissingExtra: matplotlib is not installed.
        FormatError: the suffix of `path` is neither .png nor .svg.
        OutputExists: the file exists and `force` is False.
        EmptyRingError: no node has a positive weight.
        OSError: the file cannot be written.
    """
    check_output(path, force)
    if ring.point_count == 0:
        raise EmptyRingError("there is nothing to draw: no node has a positive weight")
    figure = ring_figure(ring)
    suffix = Path(path).suffix.lower()
    # A date in an SVG would make equal rings differ.
    metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
    with replacing(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=160, metadata=metadata)


def check_output(path: str, force: bool) -> None:
    """What `save_ring` refuses because of the path alone, or for want of matplotlib."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(f"{path}: {suffix!r} is not one of {', '.join(SUFFIXES)}")
    if Path(path).exists() and not force:
        raise OutputExists(f"{path} exists already; --force replaces it")
    with needed("plot", "drawing a ring"):
        import matplotlib  # noqa: F401


def ring_figure(ring: HashRing) -> Figure:
    """The picture of a ring that has a node of positive weight."""
    from matplotlib.figure import Figure

    loads = loads_of(ring)
    colours = _colours(loads)
    bar_count = len(loads) if len(loads) <= BARS_MAX else 0
    columns = max(1, math.ceil(bar_count / COLUMN_BARS_MAX))
    rows = math.ceil(bar_count / columns)
    height = max(6.2, 1.6 + 0.18 * rows)
    circle_width = 6.2
    figure = Figure(figsize=(circle_width + 4.6 * columns, height), facecolor="white")
    widths = [circle_width, *[4.6] * columns]
    grid = figure.add_gridspec(
        1, 1 + columns, width_ratios=widths, left=0.01, right=0.985, top=0.9, bottom=0.09, wspace=0
    )
    _draw_circle(figure.add_subplot(grid[0, 0]), ring, loads, colours)
    if bar_count:
        ordered = sorted(range(len(loads)), key=lambda at: (loads[at].dc, loads[at].name))
        limit = _axis_end(loads)
        for column in range(columns):
            part = ordered[column * rows : (column + 1) * rows]
            axes = _inset(figure, grid[0, 1 + column])
            _draw_bars(axes, [loads[at] for at in part], [colours[at] for at in part], rows, limit)
    else:
        _draw_many(_inset(figure, grid[0, 1]), loads, colours)
    figure.text(
        0.5,
        0.955,
        "Who owns the ring, and how far each node is from its due",
        ha="center",
        va="center",
        fontsize=13,
        color=_INK,
    )
    return figure


def _inset(figure: Figure, cell: Any) -> Axes:
    """Axes that leave room for names on their left."""
    box = cell.get_position(figure)
    axes: Axes = figure.add_axes((box.x0 + 0.31 * box.width, box.y0, 0.62 * box.width, box.height))
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    return axes


def _colours(loads: Sequence[Load]) -> list[Colour]:
    """A hue for each datacenter and a shade for each of its nodes; without them, hues alone."""
    from matplotlib.colors import to_rgb

    dcs = sorted({load.dc for load in loads})
    if len(dcs) == 1 and len(loads) <= len(_HUES):
        return [to_rgb(_HUES[at]) for at in range(len(loads))]
    if len(dcs) == 1:
        return [colorsys.hls_to_rgb(at / len(loads), 0.5, 0.5) for at in range(len(loads))]
    colours: list[Colour] = [(0.0, 0.0, 0.0)] * len(loads)
    for number, dc in enumerate(dcs):
        members = [at for at, load in enumerate(loads) if load.dc == dc]
        red, green, blue = to_rgb(_HUES[number % len(_HUES)])
        for rank, at in enumerate(members):
            white = 0.5 * rank / max(1, len(members) - 1)
            colours[at] = (
                red + white * (1 - red),
                green + white * (1 - green),
                blue + white * (1 - blue),
            )
    return colours


def _fullest(loads: Sequence[Load]) -> int:
    return max(range(len(loads)), key=lambda at: (loads[at].ideal > 0, loads[at].load))


def _draw_circle(
    axes: Axes, ring: HashRing, loads: Sequence[Load], colours: Sequence[Colour]
) -> None:
    from matplotlib.colors import to_rgb

    axes.set_aspect("equal")
    axes.set_axis_off()
    fullest = _fullest(loads)
    # The arc that wraps past 0 stands at both ends: its part past the last token is the first's.
    turns = np.concatenate([[0.0], ring.tokens.astype(np.float64) / 2.0**64, [1.0]])
    owners = np.append(ring.token_owners, ring.token_owners[0])
    marks = _visible(turns[:-1][owners == fullest], turns[1:][owners == fullest])
    mark_colours = np.tile([to_rgb(_PALE), to_rgb(_ALERT)], (len(marks) // 2, 1))[:-1]
    image = np.zeros((CIRCLE_PIXELS, CIRCLE_PIXELS, 4))
    _paint(image, _ARCS_BAND, turns, np.array(colours)[owners])
    _paint(image, _FULLEST_BAND, marks, mark_colours)
    axes.imshow(image, extent=(-1.01, 1.01, -1.01, 1.01), interpolation="bilinear")
    axes.set_xlim(-1.12, 1.12)
    axes.set_ylim(-1.12, 1.12)
    stats = ring.stats()
    dcs = len({load.dc for load in loads})
    lines = [
        (0.34, f"{len(loads):,} node{'s' * (len(loads) > 1)}", 17, _INK),
        (0.19, f"in {dcs} datacenters" if dcs > 1 else "", 10, _INK),
        (0.09, f"{ring.point_count:,} points · vnodes {ring.vnodes} · {ring.hash}", 8.5, _INK),
        (-0.09, f"fullest  {stats.peak_to_mean:.3f}", 12, _ALERT),
        (-0.20, _short(loads[fullest].name, 26) + "  (inner band)", 8.5, _ALERT),
        (-0.36, f"emptiest  {stats.least_to_mean:.3f}", 12, _INK),
    ]
    for y, text, size, colour in lines:
        axes.text(0, y, text, ha="center", va="center", fontsize=size, color=colour)
    sums = by_datacenter(loads)
    if 1 < len(sums) <= len(_HUES):
        _draw_key(axes, sums)


def _visible(begins: Any, ends: Any) -> Any:
    """Arcs, each widened to what the eye can see and joined where they meet, as bounds between
    which nothing and an arc take turns: 0, begin, end, begin, end, ..., 1."""
    least = 1.6 / (math.pi * CIRCLE_PIXELS * _FULLEST_BAND[0])
    wider = np.maximum(0.0, least - (ends - begins)) / 2
    begins = np.clip(begins - wider, 0.0, 1.0)
    ends = np.maximum.accumulate(np.clip(ends + wider, 0.0, 1.0))
    apart = begins[1:] > ends[:-1]
    begins, ends = begins[np.append(True, apart)], ends[np.append(apart, True)]
    return np.concatenate([[0.0], np.column_stack([begins, ends]).ravel(), [1.0]])


def _paint(image: Any, band: tuple[float, float], turns: Any, colours: Any) -> None:
    """Paint arcs into a band of a square RGBA image, clockwise from the top.

    Args:
        image: reaches from -1.01 to 1.01 both ways.
        band: inner and outer radius.
        turns: the arcs' bounds, ascending from 0 to 1.
        colours: of each arc, shape (len(turns) - 1, 3).
    """
    inner, outer = band
    pixel = 2.02 / len(image)
    across = (np.arange(len(image)) + 0.5) * pixel - 1.01
    x, y = np.meshgrid(across, -across)
    radius = np.hypot(x, y)
    cover = np.clip((outer - radius) / pixel + 0.5, 0, 1)
    cover *= np.clip((radius - inner) / pixel + 0.5, 0, 1)
    inside = cover > 0
    # The mean over a pixel's width is a difference of the integral along the circle.
    integral = np.zeros((len(turns), 3))
    np.cumsum(colours * np.diff(turns)[:, np.newaxis], axis=0, out=integral[1:])
    middle = np.arctan2(x[inside], y[inside]) / (2 * np.pi) % 1.0
    half = pixel / (4 * np.pi * radius[inside])
    begin, end = middle - half, middle + half
    for channel in range(3):
        total = integral[-1, channel]
        past = np.interp(end % 1.0, turns, integral[:, channel]) + total * np.floor(end)
        past -= np.interp(begin % 1.0, turns, integral[:, channel]) + total * np.floor(begin)
        image[inside, channel] = np.clip(past / (2 * half), 0.0, 1.0)
    image[inside, 3] = cover[inside]


def _draw_key(axes: Axes, sums: Sequence[Load]) -> None:
    """Which hue is which datacenter, in a row under the circle."""
    from matplotlib.patches import Patch

    handles = [
        Patch(
            facecolor=_HUES[number % len(_HUES)],
            label=f"{_short(load.dc or 'none', 12)}  {load.share:.1%}",
        )
        for number, load in enumerate(sums)
    ]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.01),
        ncols=min(4, len(handles)),
        frameon=False,
        fontsize=9,
        handlelength=1,
        labelcolor=_INK,
    )


def _axis_end(loads: Sequence[Load]) -> float:
    finite = [load.load for load in loads if not math.isnan(load.load)]
    return 1.25 * max(1.0, *finite)  # the rest is for the numbers


def _draw_bars(
    axes: Axes, loads: Sequence[Load], colours: Sequence[Colour], rows: int, limit: float
) -> None:
    gap = 0.6  # between datacenters
    at, dc, places = 0.0, loads[0].dc, []
    for load in loads:
        if load.dc != dc:
            at, dc = at + gap, load.dc
        places.append(at)
        at += 1.0
    values = [0.0 if math.isnan(load.load) else load.load for load in loads]
    axes.barh(places, values, height=0.74, color=colours)
    size = 9 if rows <= 24 else 7.5
    for place, load, value in zip(places, loads, values, strict=True):
        text = "weight 0" if math.isnan(load.load) else f"{value:.3f}"
        colour = _ALERT if value > 1.1 else _INK
        axes.text(limit, place, text, ha="right", va="center", fontsize=size - 1, color=colour)
    axes.set_yticks(places, [_short(load.name, 18) for load in loads], fontsize=size)
    axes.axvline(1.0, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(0, limit)
    margin = max(0.0, COLUMN_BARS_MIN - at) / 2  # a few bars stand in the middle
    axes.set_ylim(max(at, rows) - 0.4 + margin, -0.6 - margin)
    axes.set_xlabel("load  (1 = exactly its due)", fontsize=9, color=_INK)


def _draw_many(axes: Axes, loads: Sequence[Load], colours: Sequence[Colour]) -> None:
    """How many nodes have which load, by datacenter, and the extremes by name."""
    from matplotlib.colors import to_rgb

    live = [load for load in loads if not math.isnan(load.load)]
    dcs = sorted({load.dc for load in live})
    values = [[load.load for load in live if load.dc == dc] for dc in dcs]
    bins = np.histogram_bin_edges([load.load for load in live], bins=30)
    hues = [to_rgb(_HUES[number % len(_HUES)]) for number in range(len(dcs))]
    axes.hist(values, bins=list(bins), stacked=True, color=hues, rwidth=0.92)
    axes.axvline(1.0, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlabel("load  (1 = exactly its due)", fontsize=9, color=_INK)
    axes.set_ylabel("nodes", fontsize=9, color=_INK)
    box = axes.get_position()
    axes.set_position((box.x0 - 0.12 * box.width, box.y0, 1.12 * box.width, 0.62 * box.height))
    ranked = sorted(live, key=lambda load: load.load)
    for x, align, title, named in (
        (0.0, "left", "emptiest", ranked[:EXTREMES]),
        (0.56, "left", "fullest", ranked[: -EXTREMES - 1 : -1]),
    ):
        lines = [title, *[f"{load.load:.3f}  {_short(load.name, 16)}" for load in named]]
        for number, line in enumerate(lines):
            axes.text(
                x,
                1.52 - 0.075 * number,
                line,
                transform=axes.transAxes,
                ha=align,
                va="center",
                fontsize=10 if number == 0 else 8.5,
                color=_FAINT if number == 0 else _INK,
            )


def _short(name: str, length: int) -> str:
    """A name cut to `length` in its middle, where names differ least; without mathtext."""
    if len(name) > length:
        half = (length - 1) // 2
        name = f"{name[: length - 1 - half]}…{name[-half:]}"
    return name.replace("$", r"\$")
