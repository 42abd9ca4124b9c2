"""`ringleader ring show` and `ring plot`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from ringleader import HashRing, Node
from ringleader.cli import plots
from ringleader.cli.tables import Load, by_datacenter, load_table
from ringleader.placement import load_ring

Run = Callable[..., Result]
Refused = Callable[..., str]

TOML = """
[ring]
vnodes = 50

[[node]]
name = "eu-1"
dc = "eu"
zone = "eu-a"

[[node]]
name = "eu-2"
dc = "eu"
zone = "eu-b"
weight = 2

[[node]]
name = "us-1"
dc = "us"

[[node]]
name = "us-2"
dc = "us"
weight = 0
"""


@pytest.fixture
def ring(run: Run) -> HashRing:
    Path("ring.toml").write_text(TOML)
    return load_ring("ring.toml")


def fleet(count: int, dcs: int = 4) -> HashRing:
    return HashRing([Node(f"node-{i:04}", dc=f"dc{i % dcs}" if dcs else "") for i in range(count)])


def test_show(run: Run, ring: HashRing) -> None:
    result = run("ring", "show", "ring.toml")
    assert result.exit_code == 0, result.output
    lines = {line.split("  ")[0].strip(): line for line in result.stdout.splitlines()}
    stats = ring.stats()
    for position, node in enumerate(ring.nodes):
        cells = lines[node.name].split()
        assert cells[1] == node.dc
        assert f"{stats.share[position]:.2%}" in cells
        assert f"{stats.ideal[position]:.2%}" in cells
        load = stats.load[position]
        assert ("-" if math.isnan(load) else f"{load:.3f}") in cells
    assert "eu-b" in lines["eu-2"]
    assert f"{stats.share[:2].sum():.2%}" in lines["all of eu"]
    assert "4 nodes" in lines
    assert f"peak-to-mean {stats.peak_to_mean:.3f}" in result.stdout


def test_show_json(run: Run, ring: HashRing) -> None:
    result = run("ring", "show", "ring.toml", "--json")
    told = json.loads(result.stdout)
    stats = ring.stats()
    assert told["vnodes"] == 50
    assert told["seed"] == 0
    assert told["points"] == ring.point_count
    assert told["peak_to_mean"] == stats.peak_to_mean
    assert [node["name"] for node in told["nodes"]] == list(ring.names)
    assert [node["share"] for node in told["nodes"]] == stats.share.tolist()
    assert told["nodes"][3]["load"] is None
    assert sum(dc["share"] for dc in told["datacenters"]) == pytest.approx(1.0)
    assert [dc["dc"] for dc in told["datacenters"]] == ["eu", "us"]


def test_json_keeps_the_secret_of_siphash(run: Run) -> None:
    Path("secret.bin").write_bytes(HashRing(["a"], hash="siphash13", seed=12345).to_bytes())
    result = run("ring", "show", "secret.bin", "--json")
    assert json.loads(result.stdout)["seed"] is None
    assert "12345" not in result.stdout + run("ring", "show", "secret.bin").stdout


def test_a_ring_without_nodes(run: Run, refused: Refused) -> None:
    Path("empty.bin").write_bytes(HashRing().to_bytes())
    assert "no node has a positive weight" in run("ring", "show", "empty.bin").stdout
    assert json.loads(run("ring", "show", "empty.bin", "--json").stdout)["peak_to_mean"] is None
    assert "nothing to draw" in refused("ring", "plot", "empty.bin", "-o", "o.png")


@pytest.mark.parametrize("command", [["show"], ["plot", "-o", "o.png"]])
def test_files_that_are_no_ring(refused: Refused, command: list[str]) -> None:
    Path("bad.toml").write_text('[[node]]\nname = ""\n')
    assert "bad.toml: " in refused("ring", command[0], "bad.toml", *command[1:])
    assert "none.toml: No such file" in refused("ring", command[0], "none.toml", *command[1:])


def test_tables_fit_encodings_without_blocks() -> None:
    loads = [Load("a", "", 1, 0.5, 0.6), Load("b", "", 1, 0.5, 0.4)]
    from rich.console import Console

    out = Console(width=100)
    with out.capture() as capture:
        out.print(load_table(loads, ["load"], ascii_only=True).columns[-1]._cells[0])
        out.print(load_table(loads, ["load"], ascii_only=True).columns[-1]._cells[1])
    above, below = capture.get().splitlines()
    assert above == "#" * 15 + "+" * 3
    assert below == "#" * 12 + "." * 3


def test_one_datacenter_has_no_sums() -> None:
    assert by_datacenter([Load("a", "eu", 1, 0.5, 0.5), Load("b", "eu", 1, 0.5, 0.5)]) == []


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 12, 60, 100, 101, 1000])
def test_pictures_of_any_number_of_nodes(count: int) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    ring = fleet(count, dcs=0 if count in {3, 60} else 4)
    figure = plots.ring_figure(ring)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    shown = {text.get_text() for text in texts}
    assert f"{count:,} node{'s' * (count > 1)}" in shown
    assert f"fullest  {ring.stats().peak_to_mean:.3f}" in shown
    names = [label.get_text() for axes in figure.axes[1:] for label in axes.get_yticklabels()]
    if count <= 100:
        assert sorted(names) == sorted(ring.names)
    # No two texts of one panel may overlap.
    renderer = canvas.get_renderer()
    for axes in figure.axes:
        labels = [text for text in axes.texts if text.get_text()]
        labels += axes.get_yticklabels() if axes.axison else []
        boxes = [label.get_window_extent(renderer) for label in labels]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:number]), labels[number]
    for axes in figure.axes[1:]:
        for label in axes.get_yticklabels():
            assert label.get_window_extent(renderer).x0 >= 0


def test_the_circle_is_what_the_ring_says() -> None:
    """Each colour covers its node's share of the band, and stands where its arcs are."""
    pytest.importorskip("matplotlib")
    image = np.zeros((500, 500, 4))
    turns = np.array([0.0, 0.25, 0.3, 1.0])
    red, green, blue = np.eye(3)
    plots._paint(image, (0.8, 1.0), turns, np.array([red, green, blue]))
    ink = image[..., 3:] * image[..., :3]
    shares = ink.sum(axis=(0, 1)) / ink.sum()
    assert shares == pytest.approx([0.25, 0.05, 0.7], abs=2e-3)
    assert image[40, 270, :3] == pytest.approx(red)  # just right of the top
    assert image[265, 472, :3] == pytest.approx(green)  # just under the right
    assert image[40, 230, :3] == pytest.approx(blue)  # just left of the top


def test_thin_arcs_are_widened_and_joined() -> None:
    begins = np.array([0.0, 0.2, 0.2001, 0.5])
    ends = np.array([0.1, 0.20005, 0.2002, 0.6])
    bounds = plots._visible(begins, ends)
    assert len(bounds) == 2 + 2 * 3
    assert bounds[0] == 0.0
    assert bounds[-1] == 1.0
    assert (np.diff(bounds) >= 0).all()
    assert bounds[1:3].tolist() == [0.0, 0.1]
    assert bounds[3] < 0.2 < 0.2002 < bounds[4]


@pytest.mark.parametrize("suffix", ["png", "svg", "PNG"])
def test_plot_writes_a_picture(run: Run, ring: HashRing, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    result = run("ring", "plot", "ring.toml", "-o", f"o.{suffix}")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"o.{suffix}\n"
    assert sorted(os.listdir()) == sorted([f"o.{suffix}", "ring.toml"])
    start = Path(f"o.{suffix}").read_bytes()[:200]
    assert start.startswith(b"\x89PNG") or b"<svg" in start or b"<?xml" in start


def test_names_are_no_formulas(run: Run) -> None:
    pytest.importorskip("matplotlib")
    ring = HashRing([Node("$x$", dc="a$b"), Node("x" * 300, dc="$\\frac$"), Node("日本")])
    Path("r.bin").write_bytes(ring.to_bytes())
    with pytest.warns(UserWarning, match="Glyph"):  # the default font has no Chinese characters
        assert run("ring", "plot", "r.bin", "-o", "o.svg").exit_code == 0


def test_refusals_of_plot(refused: Refused, ring: HashRing, without: Callable[[str], None]) -> None:
    Path("there.png").write_text("precious")
    assert "'.gif' is not one of .png, .svg" in refused("ring", "plot", "ring.toml", "-o", "o.gif")
    assert "--force" in refused("ring", "plot", "ring.toml", "-o", "there.png")
    assert "no/o.png: No such file" in refused("ring", "plot", "ring.toml", "-o", "no/o.png")
    without("matplotlib")
    told = refused("ring", "plot", "ring.toml", "-o", "o.png")
    assert 'needs matplotlib, which is not installed: pip install "ringleader[plot]"' in told
