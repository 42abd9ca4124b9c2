"""`ringleader demo`, on fewer keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from ringleader import HashRing
from ringleader.cli import demo, demo_cluster

Run = Callable[..., Result]
Refused = Callable[..., str]


def test_the_demo_tells_its_story(run: Run) -> None:
    result = run("demo", "--no-cluster", "--keys", "20000", "--rounds", "1")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    for words in (
        "20,000 integer keys",
        "file paths",
        "all of eu",
        "between old nodes",
        "ringleader, 2 threads",
        "searchsorted",
        "bisect",
    ):
        assert words in result.stdout
    assert os.listdir() == []


def test_the_demo_draws_when_asked(run: Run, refused: Refused) -> None:
    pytest.importorskip("matplotlib")
    args = ["demo", "--no-cluster", "--keys", "1000", "--rounds", "1", "--plot", "ring.svg"]
    assert run(*args).exit_code == 0
    assert b"<svg" in Path("ring.svg").read_bytes()
    assert "--force" in refused(*args)


@pytest.mark.skipif(sys.platform == "win32", reason="processes are run as on POSIX")
def test_the_cluster_loses_a_datacenter_and_no_write(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("redis")
    pytest.importorskip("matplotlib")
    for name, value in (
        ("LOADED_KEYS", 600),
        ("ROUNDS", 2),
        ("BEFORE_SECONDS", 1.0),
        ("AFTER_SECONDS", 4.0),
        ("HEALED_SECONDS", 0.5),
    ):
        monkeypatch.setattr(demo_cluster, name, value)
    result = run("demo", "--keys", "1000", "--rounds", "1", "--nodes-per-dc", "1")
    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert "Loaded 600 file paths with redis-py" in text
    assert "kill -9 of eu-1" in text
    assert "Writes from us and ap go on" in text
    assert text.count("all are there") == 2
    assert "Stopped cleanly" in text
    assert os.listdir() == ["ringleader-demo.png"]
    assert Path("ringleader-demo.png").read_bytes().startswith(b"\x89PNG")


def test_pauses_are_those_of_writes_begun_after_the_loss() -> None:
    def write(dc: str, begun: float, ended: float, failure: str = "") -> demo_cluster.Write:
        return demo_cluster.Write(dc, "key", begun, ended, failure)

    story = demo_cluster.Story(
        [
            write("us", 0.9, 1.5),  # under way when it happened
            write("us", 1.1, 1.9),
            write("ap", 1.2, 1.7, "UNCERTAIN"),
            write("eu", 1.0, 1.1),
            write("ap", 1.3, 2.5),
        ],
        killed=1.0,
        healed=9.0,
    )
    slots = [0] * 16384
    slots[story.writes[0].slot] = 3
    assert story.pauses(slots) == {3: pytest.approx(0.9)}


def test_paths_are_real_and_many() -> None:
    paths = demo.file_paths()
    assert len(paths) > 1000
    assert len(set(paths)) == len(paths)
    assert os.fsencode(os.path.realpath(os.__file__)) in paths


def test_movement_counts_what_moved() -> None:
    before = HashRing(["b", "d"])
    after = before.copy()
    after.add_node("a")
    keys = [f"key {i}" for i in range(5000)]
    expected = sum(before[key] != after[key] for key in keys)
    moved = demo.movement(before, after, "a", keys)
    assert moved == demo.Moved(expected, 0, pytest.approx(5000 / 3))
    # A ring of another seed moves keys between the old nodes as well.
    other = HashRing(["a", "b", "d"], seed=1)
    assert demo.movement(before, other, "a", keys).between_old == sum(
        before[key] != other[key] and other[key] != "a" for key in keys
    )


def test_the_rivals_are_rings() -> None:
    """They find what their own definition says, so that what is timed is real work."""
    ring = demo.demo_ring()
    keys = np.arange(100_000, dtype=np.uint64)
    out = np.empty(len(keys), np.uint32)
    demo.NumpyRing(ring).lookup(keys, out)
    tokens, owners = ring.tokens.tolist(), ring.token_owners.tolist()
    hashes = demo.splitmix64(keys).tolist()
    # Reference values of splitmix64 seeded with 0: its first output is the finalizer of 0.
    assert hashes[0] == 0xE220A8397B1DCDAF
    for at in range(0, len(keys), 997):
        first = next((i for i, token in enumerate(tokens) if token >= hashes[at]), 0)
        assert out[at] == owners[first]
    python = demo.PythonRing(ring.names, ring.vnodes)
    counts = dict.fromkeys(ring.names, 0)
    for at in range(5000):
        counts[python[b"%d" % at]] += 1
    assert min(counts.values()) > 200
    moved = demo.modulo_movement(12, 13, keys) / len(keys)
    assert moved == pytest.approx(12 / 13, abs=0.01)
