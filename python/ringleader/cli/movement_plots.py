"""A movement as a picture: where on the circle, between whom, and who bears how much.

Left, the circle: the inner band is the old ring, the outer the new one, each arc in its owner's
colour; the band between them shows what moves, in the colour of the node that gets it.  In the
middle, the flows: nodes that give at the left, nodes that get at the right, and between them
ribbons as wide as what is copied, in the colour of the giver.  Right, a bar for each node: what it
gives to the left, what it gets to the right.  Beyond a few dozen nodes, the flows are those of the
datacenters, or of the largest nodes and "others".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ringleader.cli.plan import percent
from ringleader.cli.plots import (
    _FAINT,
    _INK,
    _PALE,
    CIRCLE_PIXELS,
    Colour,
    _colours,
    _paint,
    _short,
    _visible,
)
from ringleader.cli.sinks import replacing
from ringleader.cli.tables import Load
from ringleader.placement import Movement, Ranges
from ringleader.placement.movement import CIRCLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Nodes on a side of the flows; beyond, datacenters, or the largest and "others".
FLOWS_MAX = 16
#: Bars of nodes; of more, the largest.
BARS_MAX = 36
#: Inner and outer radii: old ring, what moves, new ring.
_OLD_BAND, _MOVED_BAND, _NEW_BAND = (0.60, 0.72), (0.745, 0.855), (0.88, 1.0)
_OTHERS: Colour = (0.72, 0.74, 0.77)


def save_movement(movement: Movement, path: str) -> None:
    """Draw a movement into a PNG or SVG file that `plots.check_output` allowed.

    Raises:
        OSError: the file cannot be written.
    """
    figure = movement_figure(movement)
    suffix = Path(path).suffix.lower()
    metadata: dict[str, Any] = {"Date": None} if suffix == ".svg" else {}
    with replacing(path) as file:
        figure.savefig(file, format=suffix[1:], dpi=160, metadata=metadata)


def movement_figure(movement: Movement) -> Figure:
    """The picture of a movement, of one in which nothing moves as well."""
    from matplotlib.figure import Figure

    loads = [
        Load(node.name, node.dc, node.weight, 0.0, after / CIRCLE, zone=node.zone)
        for node, after in zip(movement.nodes, movement.after, strict=True)
    ]
    colours = _colours(loads)
    figure = Figure(figsize=(16.4, 6.6), facecolor="white")
    _draw_circles(figure.add_axes((0.005, 0.03, 0.37, 0.88)), movement, colours)
    if movement.length:
        _draw_flows(figure.add_axes((0.385, 0.08, 0.30, 0.80)), movement, colours)
        _draw_bars(figure.add_axes((0.785, 0.08, 0.205, 0.80)), movement, colours)
    title = "What moves, from whom, and to whom" if movement.length else "Nothing moves"
    figure.text(0.5, 0.955, title, ha="center", va="center", fontsize=14, color=_INK)
    return figure


# --- the circle -----------------------------------------------------------------------------------


def _turns(ranges: Ranges, ids: NDArray[np.uint32]) -> tuple[Any, NDArray[np.uint32]]:
    """The arcs of the owners as bounds from 0 to 1, and the owner of each."""
    turns = np.concatenate([[0.0], ranges.ends.astype(np.float64) / 2.0**64, [1.0]])
    owners = ids[ranges.owners[:, 0]]
    return turns, np.append(owners, owners[0])


def _draw_circles(axes: Axes, movement: Movement, colours: Sequence[Colour]) -> None:
    axes.set_aspect("equal")
    axes.set_axis_off()
    palette = np.array(colours)
    image = np.zeros((CIRCLE_PIXELS, CIRCLE_PIXELS, 4))
    for band, ranges in ((_OLD_BAND, movement.old), (_NEW_BAND, movement.new)):
        ids = np.array([movement.names.index(node.name) for node in ranges.nodes], np.uint32)
        turns, owners = _turns(ranges, ids)
        _paint(image, band, turns, palette[owners])
    _paint_moved(image, movement, palette)
    axes.imshow(image, extent=(-1.01, 1.01, -1.01, 1.01), interpolation="bilinear")
    axes.set_xlim(-1.04, 1.04)
    axes.set_ylim(-1.04, 1.04)
    gone = sum(
        1 for old, new in zip(movement.before, movement.after, strict=True) if old > new == 0
    )
    come = sum(
        1 for old, new in zip(movement.before, movement.after, strict=True) if new > old == 0
    )
    changed = [f"{come} new" * bool(come), f"{gone} gone" * bool(gone)]
    live = sum(1 for new in movement.after if new)
    nodes = f"{live:,} node{'s' * (live != 1)}"
    told = ", ".join(part for part in changed if part)
    told_of = f"of the key space {'moves' if movement.policy is None else 'is copied'}"
    lines = [
        (0.27, percent(movement.share), 25, _INK),
        (
            0.12,
            told_of,
            10,
            _INK,
        ),
        (-0.05, f"had to:  {percent(movement.needed_share)}", 10.5, _INK),
        (-0.15, f"ideal by weight:  {percent(movement.ideal_share)}", 9, _INK),
        (-0.31, nodes + (f"  ({told})" if told else ""), 9, _INK),
        (-0.40, "inside: before · outside: after", 8, _FAINT),
    ]
    for y, text, font, colour in lines:
        axes.text(0, y, text, ha="center", va="center", fontsize=font, color=colour)


def _paint_moved(image: Any, movement: Movement, palette: Any) -> None:
    """The pieces that move, each in the colour of whoever gets it, on a pale ground."""
    starts = movement.piece_starts.astype(np.float64) / 2.0**64
    ends = movement.piece_ends.astype(np.float64) / 2.0**64
    takers = np.full(len(starts), -1, dtype=np.int64)
    takers[movement.add_pieces[::-1]] = movement.add_targets[::-1]  # the first of several
    around = starts >= ends
    order = np.argsort(np.append(starts, np.zeros(int(around.sum()))), kind="stable")
    begins = np.append(starts, np.zeros(int(around.sum())))[order]
    finishes = np.append(np.where(around, 1.0, ends), ends[around])[order]
    whose = np.append(takers, takers[around])[order]
    bounds = np.concatenate([[0.0], np.column_stack([begins, finishes]).ravel(), [1.0]])
    bounds = np.maximum.accumulate(bounds)
    pale = np.array([int(_PALE[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    ground = np.tile(pale, (len(bounds) - 1, 1))
    ground[1::2] = np.where(whose[:, np.newaxis] >= 0, palette[whose], _OTHERS)
    _paint(image, _MOVED_BAND, bounds, ground)
    if 0 < len(begins) < 400 and (finishes - begins).sum() < 0.2:
        # Few thin arcs would be pale: each is made as wide as the eye can see.
        wide = _visible(begins, finishes)
        middles = (wide[1:-1:2] + wide[2:-1:2]) / 2
        at = np.clip(np.searchsorted(begins, middles, side="right") - 1, 0, len(begins) - 1)
        ground = np.tile(pale, (len(wide) - 1, 1))
        ground[1::2] = np.where(whose[at][:, np.newaxis] >= 0, palette[whose[at]], _OTHERS)
        _paint(image, _MOVED_BAND, wide, ground)


# --- flows ----------------------------------------------------------------------------------------


def _flow_groups(
    movement: Movement, colours: Sequence[Colour]
) -> tuple[dict[tuple[str, str], int], dict[str, Colour], str]:
    """What flows between groups, each group's colour, and what a group is."""
    givers = [name for name, out in zip(movement.names, movement.outgoing, strict=True) if out]
    takers = [
        name for name, coming in zip(movement.names, movement.incoming, strict=True) if coming
    ]
    by_name = dict(zip(movement.names, colours, strict=True))
    if len(givers) <= FLOWS_MAX and len(takers) <= FLOWS_MAX:
        return dict(movement.pairs), by_name, "nodes"
    dcs = {node.dc for node in movement.nodes}
    if 1 < len(dcs) <= FLOWS_MAX:
        shades = {node.dc: colours[at] for at, node in reversed(list(enumerate(movement.nodes)))}
        flows = {
            (one or "none", other or "none"): length
            for (one, other), length in movement.datacenters.items()
        }
        return flows, {dc or "none": shade for dc, shade in shades.items()}, "datacenters"
    kept = [
        set(sorted(side, key=lambda name: -amounts[movement.names.index(name)])[: FLOWS_MAX - 1])
        for side, amounts in ((givers, movement.outgoing), (takers, movement.incoming))
    ]
    flows = {}
    for (one, other), length in movement.pairs.items():
        pair = (
            one if one in kept[0] or len(givers) <= FLOWS_MAX else "others",
            other if other in kept[1] or len(takers) <= FLOWS_MAX else "others",
        )
        flows[pair] = flows.get(pair, 0) + length
    return flows, {**by_name, "others": _OTHERS}, "nodes"


def _draw_flows(axes: Axes, movement: Movement, colours: Sequence[Colour]) -> None:
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path as Outline

    flows, shades, what = _flow_groups(movement, colours)
    axes.set_axis_off()
    dcs = {node.name: node.dc for node in movement.nodes}

    def rank(name: str) -> tuple[bool, str, str]:
        return name == "others" and name not in dcs, dcs.get(name, ""), name

    sides = [sorted({pair[side] for pair in flows}, key=rank) for side in (0, 1)]
    total = sum(flows.values())
    gap = 0.02
    tops: list[dict[str, float]] = []
    heights: list[dict[str, float]] = []
    for side, names in enumerate(sides):
        room = 1.0 - gap * (len(names) - 1)
        height = {
            name: room * sum(v for pair, v in flows.items() if pair[side] == name) / total
            for name in names
        }
        at, top = 1.0, {}
        for name in names:
            top[name] = at
            at -= height[name] + gap
        tops.append(top)
        heights.append(height)
    spent: list[dict[str, float]] = [dict(tops[0]), dict(tops[1])]
    rooms = [1.0 - gap * (len(names) - 1) for names in sides]
    for one, other in sorted(flows, key=lambda pair: (rank(pair[0]), rank(pair[1]))):
        share = flows[one, other] / total
        left, right = spent[0][one], spent[1][other]
        left_end, right_end = left - share * rooms[0], right - share * rooms[1]
        spent[0][one], spent[1][other] = left_end, right_end
        corners = [(0.03, left), (0.45, left), (0.55, right), (0.97, right)]
        corners += [(0.97, right_end), (0.55, right_end), (0.45, left_end), (0.03, left_end)]
        codes = [Outline.MOVETO, *[Outline.CURVE4] * 3, Outline.LINETO, *[Outline.CURVE4] * 3]
        axes.add_patch(
            PathPatch(Outline(corners, codes), facecolor=shades[one], alpha=0.45, linewidth=0)
        )
    for side, names in enumerate(sides):
        size = 9 if len(names) <= 12 else 7.5
        lines = _apart([tops[side][name] - heights[side][name] / 2 for name in names], 0.031)
        for name, y in zip(names, lines, strict=True):
            x = 0.0 if side == 0 else 0.97
            box = (x, tops[side][name] - heights[side][name])
            axes.add_patch(
                Rectangle(box, 0.03, heights[side][name], facecolor=shades[name], linewidth=0)
            )
            axes.text(
                -0.02 if side == 0 else 1.02,
                y,
                _short(name, 16),
                ha="right" if side == 0 else "left",
                va="center",
                fontsize=size,
                color=_INK,
            )
    for x, align, text in ((0.0, "left", f"{what} that give"), (1.0, "right", f"{what} that get")):
        axes.text(x, 1.05, text, ha=align, va="center", fontsize=9.5, color=_FAINT)
    axes.set_xlim(-0.22, 1.22)
    axes.set_ylim(-0.03, 1.09)


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Descending places moved so that neighbours are `least` apart, and all stay within 0 ... 1."""
    moved: list[float] = []
    for place in places:
        moved.append(min(place, moved[-1] - least) if moved else min(place, 1.0))
    floor = 0.0
    for at in reversed(range(len(moved))):
        moved[at] = max(moved[at], floor)
        floor = moved[at] + least
    return moved


# --- bars -----------------------------------------------------------------------------------------


def _draw_bars(axes: Axes, movement: Movement, colours: Sequence[Colour]) -> None:
    going = [length / CIRCLE for length in movement.outgoing]
    coming = [length / CIRCLE for length in movement.incoming]
    order = [at for at in range(len(going)) if going[at] or coming[at]]
    order.sort(key=lambda at: -max(going[at], coming[at]))
    hidden = len(order) - BARS_MAX
    order = order[:BARS_MAX]
    order.sort(key=lambda at: (movement.nodes[at].dc, movement.names[at]))
    count = max(len(order), 8)
    places = np.arange(len(order)) + (count - len(order)) / 2
    axes.barh(
        places, [-going[at] for at in order], 0.74, color=[colours[at] for at in order], alpha=0.45
    )
    axes.barh(places, [coming[at] for at in order], 0.74, color=[colours[at] for at in order])
    limit = max(max(going[at], coming[at]) for at in order)
    left = max((going[at] for at in order), default=0.0)
    right = max((coming[at] for at in order), default=0.0)
    small = max(limit * 0.30, (left + right) * 0.24)  # room for the figures, in a narrow panel
    size = 9 if count <= 24 else 7.5
    for place, at in zip(places, order, strict=True):
        if going[at]:
            axes.text(
                -going[at] - 0.02 * limit,
                place,
                percent(going[at]),
                ha="right",
                va="center",
                fontsize=size - 1.5,
                color=_INK,
            )
        if coming[at]:
            axes.text(
                coming[at] + 0.02 * limit,
                place,
                percent(coming[at]),
                ha="left",
                va="center",
                fontsize=size - 1.5,
                color=_INK,
            )
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_xlim(-(left + small), right + small)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_yticks(places, [_short(movement.names[at], 16) for at in order], fontsize=size)
    axes.tick_params(colors=_INK, length=0)
    axes.set_xticks([])
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    for shift, align, told in ((-0.02, "right", "gives ◂"), (0.02, "left", "▸ gets")):
        axes.text(
            shift * limit,
            -0.75 - 0.012 * count,
            told,
            ha=align,
            va="bottom",
            fontsize=9.5,
            color=_FAINT,
        )
    if hidden > 0:
        axes.set_xlabel(
            f"the {len(order)} that move most; {hidden} more", fontsize=8.5, color=_FAINT
        )
