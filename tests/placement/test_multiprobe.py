"""MultiProbe: what it promises besides the contract of all locators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ringleader import Node, errors
from ringleader.placement import MultiProbe

NAMES = [f"node-{number}" for number in range(20)]


def test_a_pure_function_of_the_set_of_nodes() -> None:
    one = MultiProbe(NAMES)
    two = MultiProbe(reversed(NAMES))
    three = MultiProbe(NAMES[3:])
    three.add_nodes(dict.fromkeys(NAMES[:3], 2.0))
    for name in NAMES[:3]:
        three.set_weight(name, 1)
    keys = np.arange(3000)
    assert one == two == three
    assert one.lookup(keys).tolist() == three.lookup(keys).tolist()
    assert one.to_bytes() == three.to_bytes()
    assert one != MultiProbe(NAMES, probes=20)
    assert one != MultiProbe(NAMES, points=2)
    assert one != MultiProbe(NAMES, seed=2)


def test_only_keys_to_or_from_the_changed_node_move(sized: Callable[[int], int]) -> None:
    keys = np.arange(sized(100_000))
    multi = MultiProbe(NAMES)
    before = np.array(multi.names)[multi.lookup(keys)]
    multi.add_node("new", 3)
    after = np.array(multi.names)[multi.lookup(keys)]
    moved = before != after
    assert (after[moved] == "new").all()
    assert moved.any()
    multi.set_weight("new", 1)
    fewer = np.array(multi.names)[multi.lookup(keys)]
    assert (after[fewer != after] == "new").all()
    multi.remove_node("new")
    assert (np.array(multi.names)[multi.lookup(keys)] == before).all()


@pytest.mark.parametrize("count", [2, 10, 300])
def test_expected_shares_are_what_keys_show(count: int, sized: Callable[[int], int]) -> None:
    multi = MultiProbe(f"node-{number}" for number in range(count))
    stats = multi.stats()
    assert not stats.is_exact
    assert stats.share.sum() == pytest.approx(1)
    keys = np.random.default_rng(1).integers(0, 2**64, sized(500_000), dtype=np.uint64)
    seen = np.bincount(multi.lookup(keys), minlength=count) / len(keys)
    chance = np.sqrt(stats.share / len(keys)) + 1 / len(keys)
    assert (np.abs(seen - stats.share) / chance).max() < 5


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_the_papers_bound(count: int) -> None:
    """1 + 1/(k - 1), with a little for chance at a finite number of nodes."""
    peaks = [
        MultiProbe((f"node-{number}" for number in range(count)), seed=seed).stats().peak_to_mean
        for seed in range(5)
    ]
    assert np.mean(peaks) < (1.12 if count == 10 else 1.07)
    few = MultiProbe((f"node-{number}" for number in range(count)), probes=1).stats()
    assert few.peak_to_mean > 1.5


def test_shares_of_special_rings() -> None:
    one = MultiProbe(["a"])
    assert one.stats().share.tolist() == [1.0]
    weighted = MultiProbe({"a": 1, "b": 2, "c": 0, "d": 20}, seed=4).stats()
    assert weighted.points.tolist() == [1, 2, 0, 20]
    assert weighted.share[2] == 0
    assert weighted.share[3] == pytest.approx(20 / 23, abs=0.06)
    assert MultiProbe().stats().share.tolist() == []
    assert MultiProbe({"a": 0}).stats().share.tolist() == [0.0]
    # With one probe it is a hash ring, whose shares are the distances themselves.
    ring = MultiProbe(NAMES, probes=1, points=5)
    state: Any = ring.table.state
    tokens = state.tokens()
    gaps = (tokens - np.roll(tokens, 1)).astype(float) / 2**64
    counted = np.bincount(state.owners(), gaps, minlength=20)
    assert ring.stats().share == pytest.approx(counted)


def test_weights_are_whole_numbers_of_points() -> None:
    assert MultiProbe({"a": 2, "b": 0.5}, points=2).stats().points.tolist() == [4, 1]
    assert MultiProbe({"a": 1.01}, points=10).stats().points.tolist() == [10]
    for weight in (1.5, 0.1, 2.2):
        with pytest.raises(errors.WeightError, match="points="):
            MultiProbe({"a": weight})
    with pytest.raises(errors.WeightError, match=r"points=7 or more"):
        MultiProbe({"a": 1.5})
    assert len(MultiProbe({"a": 1.5}, points=7)) == 1
    for weight in (1e-12, 5e-324):  # no number of points is enough
        with pytest.raises(errors.WeightError, match=r"take whole weights$"):
            MultiProbe({"a": weight})
    multi = MultiProbe(NAMES)
    before = multi.to_bytes()
    with pytest.raises(errors.WeightError):
        multi.set_weight(NAMES[0], 1.5)
    with pytest.raises(errors.LimitError):
        multi.set_weight(NAMES[0], 1e30)
    with pytest.raises(errors.LimitError):
        multi.add_nodes({"x": 2.0**26, "y": 1})
    assert multi.to_bytes() == before


def test_settings_that_cannot_be() -> None:
    for settings in ({"probes": 0}, {"probes": 1025}, {"points": 0}, {"points": 2**20 + 1}):
        with pytest.raises(errors.SettingError):
            MultiProbe(NAMES, **settings)
    for probes in ("21", 21.0, True):
        with pytest.raises(errors.SettingTypeError):
            MultiProbe(NAMES, probes=probes)  # type: ignore[arg-type]
    with pytest.raises(errors.SettingError):
        MultiProbe(NAMES, hash="crc32")


def test_a_small_file_cannot_ask_for_many_points_unseen() -> None:
    data = MultiProbe({"a": 1000.0}).to_bytes()
    with pytest.raises(errors.LimitError, match="points_max=100"):
        MultiProbe.from_bytes(data, points_max=100)
    assert MultiProbe.from_bytes(data).stats().points.tolist() == [1000]


def test_repr() -> None:
    text = repr(MultiProbe([Node("a")]))
    assert "probes=21, points=1" in text
    assert MultiProbe(NAMES).nbytes > 20 * 12
