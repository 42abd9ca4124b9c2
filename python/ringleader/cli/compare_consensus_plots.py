"""Raft and Multi-Paxos as pictures: costs, latencies, recoveries and throughput.

Colours stand for algorithms; in the distributions for quorums, and dashes for Multi-Paxos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ringleader.cli.compare_consensus import ALGORITHMS, geometry_title, number
from ringleader.cli.sinks import replacing
from ringleader.sim.comparison.algorithms import GEOMETRIES, MAJORITY
from ringleader.sim.comparison.measures import WORKLOADS, Comparison, Latency, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _FAINT, _GRID = "#222831", "#9aa3ad", "#e4e7eb"
#: Hues that stay apart for colour-blind eyes too (Okabe and Ito, 2008).
_COLOURS = {"raft": "#0072B2", "paxos": "#E69F00"}
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: An axis whose ends are no farther apart, as a ratio, is linear.
LINEAR_UP_TO = 5


def save_all(found: Comparison, directory: str) -> list[str]:
    """Every picture, as SVG files in `directory`, which is made if it is not there."""
    import matplotlib as mpl

    Path(directory).mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in PICTURES.items():
        path = str(Path(directory) / name)
        # The same figures give the same file.
        with (
            mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}),
            replacing(path) as file,
        ):
            draw(found).savefig(file, format="svg", metadata={"Date": None})
        paths.append(path)
    return paths


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    figure.text(0.03, 1 - 0.3 / height, title, fontsize=13, color=_INK, va="center")
    return figure


def _tidy(axes: Axes, title: str = "") -> None:
    if title:
        axes.set_title(title, fontsize=10, color=_INK, loc="left")
    axes.tick_params(colors=_INK, labelsize=8.5, length=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)


def _times_axis(axes: Axes, label: str) -> None:
    """An axis of milliseconds with numbers that people read: logarithmic, where it reaches far."""
    low, high = axes.get_xlim()
    axes.grid(True, axis="x", color=_GRID, linewidth=0.8)
    axes.set_xlabel(label, fontsize=9, color=_INK)
    if high < LINEAR_UP_TO * low:
        return
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    steps = (1,) if high / low > 150 else (1, 2, 5)
    ticks = [step * 10.0**power for power in range(-2, 5) for step in steps]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()


def _key(figure: Figure, height: float) -> None:
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Patch(facecolor=_COLOURS[name], label=title) for name, title in ALGORITHMS.items()
        ],
        loc="center right",
        bbox_to_anchor=(0.985, 1 - 0.3 / height),
        ncols=2,
        frameon=False,
        fontsize=9.5,
        labelcolor=_INK,
    )


def _places() -> list[tuple[float, str, str]]:
    """Where on the vertical axis each geometry's quorums stand, downwards, with a gap between."""
    found, at = [], 0.0
    for place in GEOMETRIES:
        for arrangement in place.arrangements:
            found.append((at, place.name, arrangement.name))
            at += 1.0
        at += 0.9
    return found


def _name_places(axes: Axes) -> None:
    places = _places()
    axes.set_yticks([at for at, _, _ in places], [quorums for _, _, quorums in places])
    axes.set_ylim(places[-1][0] + 0.6, -1.0)
    for at, where, quorums in places:
        if quorums == MAJORITY.name:
            axes.text(
                0.004,
                at - 0.68,
                geometry_title(where),
                transform=axes.get_yaxis_transform(),
                fontsize=8.5,
                fontweight="bold",
                color=_INK,
                va="center",
            )


def latency_figure(found: Comparison) -> Figure:
    """p50 as bars, p99 as a whisker, the least that the round trips allow as a mark."""
    height = 8.6
    figure = _figure(10, height, "How long a commit takes")
    axes = figure.add_axes((0.34, 0.07, 0.63, 0.85))
    _tidy(axes)
    by_case = {(row.geometry, row.quorums, row.algorithm): row for row in found.latencies}
    for at, where, quorums in _places():
        floor_us = None
        for turn, name in enumerate(ALGORITHMS):
            row = by_case[where, quorums, name]
            y = at - 0.17 + 0.34 * turn
            if row.refused or row.system is None:
                axes.text(0.12, y, "refused", fontsize=8, color=_FAINT, va="center")
                continue
            floor_us = row.system.floor_us
            p50, p99 = row.p50_us / 1000, row.p99_us / 1000
            axes.barh(y, p50, height=0.3, color=_COLOURS[name])
            axes.plot([p50, p99], [y, y], color=_COLOURS[name], linewidth=1)
            axes.text(p99 * 1.06, y, f"{p50:.3g}", fontsize=7.5, color=_INK, va="center")
        if floor_us:
            axes.plot([floor_us / 1000] * 2, [at - 0.42, at + 0.42], color=_INK, linewidth=1.6)
    axes.set_xlim(0.1, 700)
    _times_axis(axes, "ms: bar p50, line to p99, black mark: the round trips alone")
    _name_places(axes)
    _key(figure, height)
    return figure


def cdf_figure(found: Comparison) -> Figure:
    """The distribution of latencies in each geometry."""
    height = 7.2
    figure = _figure(11, height, "Commits that took no longer")
    grid = figure.add_gridspec(
        2, 3, left=0.06, right=0.98, top=0.87, bottom=0.16, hspace=0.6, wspace=0.18
    )
    for at, place in enumerate(GEOMETRIES):
        axes = figure.add_subplot(grid[at // 3, at % 3])
        _tidy(axes, f"{place.name}, ms")
        for turn, arrangement in enumerate(place.arrangements):
            for name in ALGORITHMS:
                for row in found.latencies:
                    if (row.algorithm, row.geometry, row.quorums) == (
                        name,
                        place.name,
                        arrangement.name,
                    ) and not row.refused:
                        _draw_cdf(axes, row, _HUES[turn], dashed=name == "paxos")
        axes.set_ylim(0, 1)
        axes.set_xlim(*_reach(found, place.name))
        axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        _times_axis(axes, "")
        axes.legend(
            frameon=False,
            fontsize=7,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.13),
            labelcolor=_INK,
        )
    figure.text(
        0.985,
        1 - 0.3 / height,
        "line: Raft    dashes: Multi-Paxos",
        ha="right",
        va="center",
        fontsize=9,
        color=_INK,
    )
    return figure


def _reach(found: Comparison, where: str) -> tuple[float, float]:
    """From the shortest to beyond all but a hundredth of the longest, in milliseconds."""
    rows = [row for row in found.latencies if row.geometry == where and not row.refused]
    low = min(row.percentiles_us[0] for row in rows)
    high = max(row.p99_us for row in rows)
    return low / 1000 * 0.9, high / 1000 * 1.1


def _draw_cdf(axes: Axes, row: Latency, colour: str, *, dashed: bool) -> None:
    axes.plot(
        [value / 1000 for value in row.percentiles_us],
        [percent / 100 for percent in range(len(row.percentiles_us))],
        color=colour,
        linewidth=1.2 if dashed else 2.4,
        alpha=1.0 if dashed else 0.45,
        linestyle=(0, (4, 2)) if dashed else "-",
        label=None if dashed and row.quorums == MAJORITY.name else _once(axes, row.quorums),
    )


def _once(axes: Axes, label: str) -> str | None:
    return label if label not in axes.get_legend_handles_labels()[1] else None


def recovery_figure(found: Comparison) -> Figure:
    """A box from quartile to quartile, whiskers to 5 % and 95 %."""
    height = 8.6
    figure = _figure(10, height, "From the loss of the leader to the next commit")
    axes = figure.add_axes((0.34, 0.07, 0.63, 0.85))
    _tidy(axes)
    by_case = {(row.geometry, row.quorums, row.algorithm): row for row in found.recoveries}
    for at, where, quorums in _places():
        for turn, name in enumerate(ALGORITHMS):
            y = at - 0.17 + 0.34 * turn
            row = by_case.get((where, quorums, name))
            if row is None:
                continue
            ordered = sorted(value / 1000 for value in row.total_us)
            least, low, middle, high, most = (
                percentile(ordered, percent) for percent in (5, 25, 50, 75, 95)
            )
            colour = _COLOURS[name]
            axes.plot([least, most], [y, y], color=colour, linewidth=1)
            axes.barh(y, high - low, left=low, height=0.3, color=colour)
            axes.plot([middle, middle], [y - 0.15, y + 0.15], color=_INK, linewidth=1.4)
            axes.text(most * 1.03, y, f"{middle:,.0f}", fontsize=7.5, color=_INK, va="center")
    axes.set_xlim(80, 8000)
    _times_axis(axes, "ms: box quartiles, whiskers 5 % and 95 %")
    _name_places(axes)
    _key(figure, height)
    return figure


def throughput_figure(found: Comparison) -> Figure:
    """Nanoseconds a proposal by the size of the batch."""
    height = 4.2
    figure = _figure(9, height, "In process: a proposal until every node has applied it")
    for at, nodes in enumerate(sorted({row.nodes for row in found.throughputs})):
        axes = figure.add_axes((0.08 + 0.48 * at, 0.14, 0.41, 0.66))
        _tidy(axes, f"{nodes} nodes")
        for name, title in ALGORITHMS.items():
            rows = [row for row in found.throughputs if (row.algorithm, row.nodes) == (name, nodes)]
            axes.plot(
                [row.batch for row in rows],
                [row.ns for row in rows],
                color=_COLOURS[name],
                marker="o" if name == "raft" else "s",
                markersize=4.5,
                linewidth=1.5,
                label=title,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        batches = sorted({row.batch for row in found.throughputs})
        axes.set_xticks(batches, [f"{batch:,}" for batch in batches])
        axes.minorticks_off()
        axes.grid(True, color=_GRID, linewidth=0.8)
        axes.set_xlabel("commands in a batch", fontsize=9, color=_INK)
        if at == 0:
            axes.set_ylabel("ns a command", fontsize=9, color=_INK)
    _key(figure, height)
    return figure


def cost_figure(found: Comparison) -> Figure:
    """Messages, bytes and syncs of a commit."""
    height = 4.6
    figure = _figure(11, height, "What a commit costs, all nodes together")
    questions: tuple[tuple[str, str], ...] = (
        ("messages", "messages"),
        ("wire_bytes", "bytes in messages"),
        ("syncs", "syncs"),
    )
    sizes = sorted({row.nodes for row in found.costs})
    names = [workload.name for workload in WORKLOADS]
    for at, (field, title) in enumerate(questions):
        axes = figure.add_axes((0.27 + 0.245 * at, 0.1, 0.21, 0.72))
        _tidy(axes, title)
        _draw_costs(axes, found, field, sizes, names)
        axes.set_yticks(
            [2.6 * len(sizes) * turn + 2.3 for turn in range(len(names))],
            [_folded(name) for name in names] if at == 0 else [""] * len(names),
        )
        axes.set_xscale("log")
        axes.set_xticks([])
        axes.minorticks_off()
        axes.invert_yaxis()
    figure.text(
        0.27,
        0.015,
        "of each pair of bars the upper one: 3 nodes, the lower: 5; their lengths are logarithmic",
        fontsize=8,
        color=_INK,
    )
    _key(figure, height)
    return figure


def _draw_costs(
    axes: Axes, found: Comparison, field: str, sizes: Sequence[int], names: Sequence[str]
) -> None:
    for row in found.costs:
        base = 2.6 * len(sizes) * names.index(row.workload)
        y = base + 2.3 * sizes.index(row.nodes) + (0.65 if row.algorithm == "raft" else 1.65)
        value = getattr(row, field)
        axes.barh(y, value, height=0.9, color=_COLOURS[row.algorithm])
        axes.text(value * 1.08, y, number(value), fontsize=7, color=_INK, va="center")
    values = [getattr(row, field) for row in found.costs]
    axes.set_xlim(min(values) / 3, max(values) * 6)


def _folded(name: str) -> str:
    return name.replace(", ", ",\n")


#: The file of each picture.
PICTURES: dict[str, Callable[[Comparison], Figure]] = {
    "raft-vs-paxos-cost.svg": cost_figure,
    "raft-vs-paxos-latency.svg": latency_figure,
    "raft-vs-paxos-cdf.svg": cdf_figure,
    "raft-vs-paxos-recovery.svg": recovery_figure,
    "raft-vs-paxos-throughput.svg": throughput_figure,
}
