"""`ringleader plan`, `plot` and `balance`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from ringleader import HashRing, Node
from ringleader.cli import look
from ringleader.cli.amounts import bytes_in_words, parse_bytes, parse_rate, seconds_in_words
from ringleader.cli.plan import percent
from ringleader.errors import SettingError
from ringleader.placement import Replicas, load_ring

Run = Callable[..., Result]
Refused = Callable[..., str]


def toml(nodes: list[Node]) -> str:
    return "[ring]\nvnodes = 40\n" + "".join(
        f'[[node]]\nname = "{node.name}"\ndc = "{node.dc}"\nzone = "{node.zone}"\n'
        f"weight = {node.weight}\n"
        for node in nodes
    )


def nodes_of(*dcs: str, each: int = 3) -> list[Node]:
    return [Node(f"{dc}-{i}", dc=dc, zone=f"{dc}-{i % 2}") for dc in dcs for i in range(each)]


@pytest.fixture
def files(run: Run) -> None:
    """old.toml -> new.toml: eu-9 joins, us-2 leaves."""
    nodes = nodes_of("eu", "us")
    Path("old.toml").write_text(toml(nodes))
    Path("new.toml").write_text(toml([*nodes[:-1], Node("eu-9", 2.0, dc="eu", zone="eu-1")]))


# --- amounts --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0), ("1500000", 1_500_000), ("10TB", 10**13), ("10 tb", 10**13),
        ("1.5GiB", 3 * 2**29), ("1e12", 10**12), ("1_000kB", 10**6), ("0.5 B", 0),
        ("2EiB", 2**61), ("3 KB", 3000),
    ],
)  # fmt: skip
def test_bytes(text: str, amount: int) -> None:
    assert parse_bytes("--bytes", text) == amount


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no amount"), ("TB", "no amount"), ("-5GB", "no amount"), ("nan", "no amount"),
        ("1,5GB", "no amount"), ("10 furlongs", "no unit"), ("10Mb", "bits or bytes"),
        ("10G", "GB for powers of 1000 or GiB"), ("5Gi", "GiB"), ("9e99EB", "more than"),
        ("10Gbit", "no unit"), ("1e999", "no amount"), ("\u0661GB", "no amount"),
    ],
)  # fmt: skip
def test_bytes_that_are_none(text: str, words: str) -> None:
    with pytest.raises(SettingError, match=words) as caught:
        parse_bytes("--bytes", text)
    assert str(caught.value).startswith(f"--bytes {text!r}")


def test_rates() -> None:
    assert parse_rate("--rate", "100MB/s") == parse_rate("--rate", "100 MB") == 1e8
    assert parse_rate("--rate", "10Gbit/s") == 1.25e9
    assert parse_rate("--rate", "1MiB/s") == 2**20
    for text, words in (
        ("0", "ever arrive"), ("10Gbps", "Mbit/s"), ("10Gb/s", "Gbit/s"), ("fast", "no amount"),
    ):  # fmt: skip
        with pytest.raises(SettingError, match=words):
            parse_rate("--rate", text)


def test_words() -> None:
    assert [bytes_in_words(10**power) for power in (0, 3, 6, 10, 14, 20)] == [
        "1 B", "1.00 kB", "1.00 MB", "10.0 GB", "100 TB", "100 EB",
    ]  # fmt: skip
    assert bytes_in_words(999.6) == "1.00 kB"
    assert bytes_in_words(9_996) == "10.0 kB"
    assert [seconds_in_words(s) for s in (0.0004, 0.31, 1, 59.94, 59.96, 450, 3600, 18_720)] == [
        "0 ms", "310 ms", "1.0 s", "59.9 s", "1 min", "7 min 30 s", "1 h", "5 h 12 min",
    ]  # fmt: skip
    assert seconds_in_words(48 * 3600) == "2 d"
    assert seconds_in_words(47.999 * 3600) == "2 d"
    assert seconds_in_words(100 * 86_400 + 7200) == "100 d 2 h"
    assert [percent(share) for share in (0, 1, 0.123456, 0.00123, 1e-7, 1e-20)] == [
        "0%", "100.00%", "12.35%", "0.12%", "0.000010%", "0.00000000%",
    ]  # fmt: skip


# --- plan -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("files")
def test_plan(run: Run) -> None:
    movement = load_ring("old.toml").diff(load_ring("new.toml"))
    result = run("plan", "old.toml", "new.toml")
    assert result.exit_code == 0, result.output
    assert f"moves              {movement.share:.2%} of the key space\n" in result.stdout
    assert f"had to             {movement.needed_share:.2%}" in result.stdout
    lines = {line.split("  ")[0].strip(): line for line in result.stdout.splitlines()}
    for at, name in enumerate(movement.names):
        assert ("-" in lines[name].split()) == (not movement.before[at] or not movement.after[at])
        for length in (movement.incoming[at], movement.outgoing[at]):
            if length:
                assert f"{length / 2**64:.2%}" in lines[name]
    assert f"{movement.datacenters['us', 'eu'] / 2**64:.2%}" in lines["us"]
    assert "--bytes and --rate tell how long" in result.stdout


@pytest.mark.usefixtures("files")
def test_plan_with_times(run: Run) -> None:
    plan = (
        load_ring("old.toml")
        .diff(load_ring("new.toml"))
        .plan(max_concurrent_per_node=1, max_bytes_per_s=1e8, bytes_per_share=10**13)
    )
    result = run(
        "plan", "old.toml", "new.toml", "--bytes", "10TB", "--rate", "100MB/s", "--concurrent", "1"
    )
    assert result.exit_code == 0, result.output
    assert plan.seconds is not None
    assert plan.bound_s is not None
    assert (
        f"{len(plan)} steps, {plan.transfer_count} transfers; about "
        f"{seconds_in_words(plan.seconds)} (at best {seconds_in_words(plan.bound_s)})"
    ) in result.stdout
    assert bytes_in_words(plan.bytes or 0) in result.stdout
    sized = run("plan", "old.toml", "new.toml", "--bytes", "10TB")
    assert "--rate tells how long" in sized.stdout


@pytest.mark.usefixtures("files")
def test_plan_with_a_policy(run: Run) -> None:
    policy = Replicas({"eu": 2, "us": 1}, spread="zone")
    movement = load_ring("old.toml").diff(load_ring("new.toml"), policy)
    result = run(
        "plan", "old.toml", "new.toml", "--policy", "eu=2,us=1", "--spread", "zone", "--json", "-",
        "--bytes", "1TB", "--rate", "1GB/s", "--link", "us:eu=1MB/s", "--piece", "10GB",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["policy"] == {"replicas": {"eu": 2, "us": 1}, "spread": "zone"}
    assert told["share_moved"] == movement.share
    printed = run("plan", "old.toml", "new.toml", "--policy", "eu=2,us=1", "--spread", "zone")
    assert "its 3 replicas together" in printed.stdout
    assert "300.00%" in printed.stdout


@pytest.mark.usefixtures("files")
def test_plan_around_a_node_that_is_down(run: Run, refused: Refused) -> None:
    lost = load_ring("old.toml").diff(load_ring("new.toml"), down=["us-2", "eu-0"]).lost_length
    result = run("plan", "old.toml", "new.toml", "--down", "us-2, eu-0")
    assert f"lost               {percent(lost / 2**64)}: only nodes" in result.stdout
    assert "lost" not in run("plan", "old.toml", "new.toml").stdout
    assert "'mars'" in refused("plan", "old.toml", "new.toml", "--down", "mars")


@pytest.mark.usefixtures("files")
def test_plan_writes_json_and_pictures(run: Run) -> None:
    pytest.importorskip("matplotlib")
    result = run("plan", "old.toml", "new.toml", "--json", "plan.json", "--plot", "plan.svg")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("plan.json\nplan.svg\n")
    assert json.loads(Path("plan.json").read_text())["format"] == "ringleader movement plan"
    assert b"<svg" in Path("plan.svg").read_bytes()[:1000]
    again = run("plan", "old.toml", "new.toml", "--json", "-", "--plot", "other.png")
    assert again.stdout == Path("plan.json").read_text()
    assert again.stderr == "other.png\n"
    first = Path("plan.svg").read_bytes()
    run("plan", "old.toml", "new.toml", "--plot", "plan.svg", "--force")
    assert len(Path("plan.svg").read_bytes()) == len(first)


def test_nothing_moves(run: Run) -> None:
    pytest.importorskip("matplotlib")
    Path("a.toml").write_text(toml(nodes_of("eu")))
    result = run("plan", "a.toml", "a.toml", "--bytes", "1TB", "--plot", "a.png")
    assert result.exit_code == 0
    assert result.stdout == "a.toml -> a.toml\nNothing moves.\na.png\n"


def test_many_nodes(run: Run) -> None:
    for name, count in (("old", 200), ("new", 220)):
        ring = HashRing([Node(f"n{i:03}", dc=f"dc{i % 10}") for i in range(count)], vnodes=20)
        Path(f"{name}.bin").write_bytes(ring.to_bytes())
    result = run("plan", "old.bin", "new.bin")
    assert result.exit_code == 0, result.output
    assert "... 196 more ..." in result.stdout
    assert "and to 2 more datacenters" in result.stdout
    for width in ("80", "120"):
        os.environ["COLUMNS"] = width
        try:
            narrow = run("plan", "old.bin", "new.bin", "--bytes", "10PB", "--rate", "1GB/s")
        finally:
            del os.environ["COLUMNS"]
        assert max(map(len, narrow.stdout.splitlines())) <= int(width)


@pytest.mark.usefixtures("files")
def test_refusals_of_plan(refused: Refused) -> None:
    def told(*options: str) -> str:
        return refused("plan", "old.toml", "new.toml", *options)

    assert "--spread is part of a policy" in told("--spread", "zone")
    assert "--piece and --link need --bytes" in told("--piece", "1GB")
    assert "--link needs --rate" in told("--bytes", "1GB", "--link", "eu:us=1MB/s")
    assert "from:to=rate" in told("--link", "eu=1MB/s")
    assert "'ap', in which no node" in told(
        "--bytes", "1GB", "--rate", "1MB/s", "--link", "eu:ap=1MB/s"
    )
    assert "--bytes '10G'" in told("--bytes", "10G")
    assert "--rate 'fast'" in told("--rate", "fast")
    assert "at least 1 transfer" in told("--concurrent", "0")
    assert "'eu=x' is no policy" in told("--policy", "eu=x")
    assert "'mars'" in told("--policy", "mars=1")
    assert "'.gif' is not one of" in told("--plot", "o.gif")
    Path("there.json").write_text("precious")
    assert "--force" in told("--json", "there.json")
    assert "none.toml: No such file" in refused("plan", "old.toml", "none.toml")
    Path("other.toml").write_text('[ring]\nhash = "xxh64"\n[[node]]\nname = "a"\n')
    assert "different hashes: 'xxh3' and 'xxh64'" in refused("plan", "old.toml", "other.toml")
    Path("empty.bin").write_bytes(HashRing().to_bytes())
    assert "no nodes" in refused("plan", "old.toml", "empty.bin")


# --- plot -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("files")
def test_plot(run: Run, refused: Refused, without: Callable[[str], None]) -> None:
    pytest.importorskip("matplotlib")
    assert run("plot", "old.toml", "-o", "ring.png").stdout == "ring.png\n"
    assert run("plot", "old.toml", "new.toml", "-o", "moves.png", "--policy", "2").exit_code == 0
    assert Path("moves.png").read_bytes().startswith(b"\x89PNG")
    assert "--policy is for what moves" in refused(
        "plot", "old.toml", "-o", "o.png", "--policy", "2"
    )
    assert "--force" in refused("plot", "old.toml", "new.toml", "-o", "ring.png")
    without("matplotlib")
    for command in (
        ["plot", "old.toml", "new.toml", "-o", "o.png"],
        ["plan", "old.toml", "new.toml", "--plot", "o.png"],
        ["balance", "old.toml", "--plot", "o.png"],
    ):
        assert 'pip install "ringleader[plot]"' in refused(*command)


@pytest.mark.parametrize(
    ("old", "new"),
    [(1, 2), (2, 1), (12, 14), (40, 44), (300, 330)],
    ids=str,
)
def test_pictures_of_movements(old: int, new: int) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from ringleader.cli.movement_plots import movement_figure

    dcs = 1 if old in {2, 40} else 3
    rings = [
        HashRing([Node(f"node-{i:03}", dc=f"dc{i % dcs}") for i in range(count)], vnodes=20)
        for count in (old, new)
    ]
    movement = rings[0].diff(rings[1])
    figure = movement_figure(movement)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert percent(movement.share) in {text.get_text() for text in figure.axes[0].texts}
    renderer = canvas.get_renderer()
    for axes in figure.axes:  # no two texts of one panel may overlap
        labels = [text for text in axes.texts if text.get_text()]
        labels += axes.get_yticklabels() if axes.axison else []
        boxes = [label.get_window_extent(renderer) for label in labels]
        for number, box in enumerate(boxes):
            for other in range(number):
                assert not box.overlaps(boxes[other]), (labels[number], labels[other])
            assert box.x0 >= 0
            assert box.x1 <= canvas.get_width_height()[0]


def test_the_moved_band_is_what_moves() -> None:
    pytest.importorskip("matplotlib")
    from ringleader.cli import movement_plots

    movement = HashRing(["a"], vnodes=1).diff(HashRing(["a", "b"], vnodes=1))
    image = np.zeros((500, 500, 4))
    red, green = np.eye(3)[:2]
    movement_plots._paint_moved(image, movement, np.array([red, green]))
    is_green = (image[..., 1] > 0.9) & (image[..., 0] < 0.1) & (image[..., 3] > 0)
    assert is_green.sum() / (image[..., 3] > 0).sum() == pytest.approx(movement.share, abs=0.02)


# --- balance --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("files")
def test_balance(run: Run) -> None:
    stats = load_ring("new.toml").stats()
    result = run("balance", "new.toml")
    assert result.exit_code == 0, result.output
    assert f"peak-to-mean {stats.peak_to_mean:.3f}" in result.stdout
    assert "all of" not in result.stdout
    told = json.loads(run("balance", "new.toml", "--json").stdout)
    assert told["peak_to_mean"] == pytest.approx(stats.peak_to_mean)
    assert sum(told["histogram"]["counts"]) == told["nodes"] == 6
    assert len(told["histogram"]["bounds"]) == len(told["histogram"]["counts"]) + 1
    assert [dc["dc"] for dc in told["datacenters"]] == ["eu", "us"]


@pytest.mark.usefixtures("files")
def test_balance_of_replicas(run: Run) -> None:
    ring = load_ring("old.toml")
    policy = ["--policy", "eu=2,us=1", "--spread", "zone"]
    told = json.loads(run("balance", "old.toml", *policy, "--json").stdout)
    shares = {load["name"]: load["share"] for load in told["loads"]}
    assert sum(shares.values()) == pytest.approx(3)
    assert {load["ideal"] for load in told["loads"] if load["dc"] == "eu"} == {2 / 3}
    keys = np.arange(20_000)
    found = ring.lookup_replicas(keys, Replicas({"eu": 2, "us": 1}, spread="zone"))
    counts = np.bincount(found.ravel(), minlength=6) / len(keys)
    assert list(shares.values()) == pytest.approx(counts.tolist(), abs=0.03)
    assert run("balance", "old.toml", *policy).exit_code == 0


@pytest.mark.parametrize("count", [1, 5, 300])
def test_pictures_of_balance(run: Run, count: int) -> None:
    pytest.importorskip("matplotlib")
    ring = HashRing([Node(f"n{i}", dc=f"dc{i % 3}") for i in range(count)], vnodes=20)
    ring.add_node("drained", 0)
    Path("ring.bin").write_bytes(ring.to_bytes())
    result = run("balance", "ring.bin", "--plot", "b.svg")
    assert result.exit_code == 0, result.output
    assert "1 of weight 0" in result.stdout
    assert result.stdout.endswith("b.svg\n")


def test_bins() -> None:
    generator = np.random.default_rng(0)
    for count in (1, 2, 10, 1000):
        for spread in (1e-4, 0.01, 0.1, 3.0):
            values = np.abs(1 + spread * generator.standard_normal(count)).tolist()
            bounds = look.bins_of(values)
            assert any(abs(bound - 1) < 1e-9 for bound in bounds)
            assert bounds[0] <= min(values)
            assert bounds[-1] >= max(values)
            counts = look.counts_in(values, bounds)
            assert sum(counts) == count
            assert len(counts) <= look.BINS_MAX + 1
            for ascii_only in (True, False):
                line = look.sparkline(counts, ascii_only)
                assert [cell == " " for cell in line] == [count == 0 for count in counts]


def test_refusals_of_balance(run: Run, refused: Refused) -> None:
    Path("empty.bin").write_bytes(HashRing({"a": 0}).to_bytes())
    assert "no node has a positive weight" in refused("balance", "empty.bin")
    Path("ring.toml").write_text(toml(nodes_of("eu")))
    assert "'us'" in refused("balance", "ring.toml", "--policy", "us=1")
    assert "--spread is part of a policy" in refused("balance", "ring.toml", "--spread", "dc")
