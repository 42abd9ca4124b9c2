"""Maglev: what it promises besides the contract of all locators."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ringleader import Node, errors, limits
from ringleader.placement import Maglev

NAMES = [f"node-{number}" for number in range(20)]


def small(nodes: Any, **settings: Any) -> Maglev:
    return Maglev(nodes, table_size=1009, **settings)


def test_a_pure_function_of_the_set_of_nodes() -> None:
    one = small(NAMES)
    two = small(reversed(NAMES))
    three = small(NAMES[5:])
    three.add_nodes(NAMES[:4])
    three.add_node("x", 2)
    three.add_node(NAMES[4], 3)
    three.set_weight(NAMES[4], 1)
    three.remove_nodes(["x"])
    assert one == two == three
    assert one.slots.tolist() == three.slots.tolist()
    assert one.to_bytes() == three.to_bytes()
    assert one != small(NAMES, seed=1)
    assert one != small(NAMES, hash="xxh3")
    assert one != Maglev(NAMES, table_size=1013)
    assert one != small(NAMES[1:])
    assert one != "x"
    assert copy.deepcopy(one) == copy.copy(one) == one


def test_shares_are_exact(sized: Callable[[int], int]) -> None:
    maglev = Maglev({"a": 1, "b": 2, "c": 0, "d": 0.5}, table_size=5003)
    stats = maglev.stats()
    assert stats.is_exact
    assert sum(stats.arcs) == 2**64
    assert stats.points.sum() == 5003
    assert stats.points[2] == 0
    assert stats.points.tolist() == np.bincount(maglev.slots, minlength=4).tolist()
    each, longer = divmod(2**64, 5003)
    counted = [0] * 4
    for slot, position in enumerate(maglev.slots.tolist()):
        counted[position] += each + (slot < longer)
    assert list(stats.arcs) == counted
    keys = np.arange(sized(400_000), dtype=np.uint64)
    seen = np.bincount(maglev.lookup(keys), minlength=4) / len(keys)
    assert np.abs(seen - stats.share).max() < 3 / len(keys) ** 0.5
    assert Maglev().stats().arcs == ()
    assert Maglev({"a": 0}).stats().arcs == (0,)


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_even_to_one_percent(count: int, sized: Callable[[int], int]) -> None:
    if sized(50) == 1:
        pytest.skip("takes long on the twins")
    maglev = Maglev(f"node-{number}" for number in range(count))
    assert maglev.stats().peak_to_mean <= 1.01
    assert maglev.stats().least_to_mean >= 0.99


@pytest.mark.parametrize("count", [1, 2, 7, 100, 999])
@pytest.mark.parametrize("peak", [1.5, 1.1, 1.05])
def test_suggested_sizes_keep_their_word(count: int, peak: float) -> None:
    size = Maglev.suggest_table_size(count, peak)
    assert -(-size // count) / (size / count) <= peak
    assert Maglev((), table_size=size).table_size == size


def test_suggestions() -> None:
    assert Maglev.suggest_table_size(1000) == 100_003
    assert Maglev.suggest_table_size(1) == 101
    for bad in (0, -5):
        with pytest.raises(errors.SettingError):
            Maglev.suggest_table_size(bad)
    for peak in (1.0, 0.5, float("nan"), float("inf")):
        with pytest.raises(errors.SettingError):
            Maglev.suggest_table_size(10, peak)
    with pytest.raises(errors.SettingTypeError):
        Maglev.suggest_table_size("10")  # type: ignore[arg-type]
    with pytest.raises(errors.SettingTypeError):
        Maglev.suggest_table_size(10, "1")  # type: ignore[arg-type]
    with pytest.raises(errors.LimitError):
        Maglev.suggest_table_size(10**6, 1.0001)


@pytest.mark.parametrize(
    ("size", "advice"),
    [(8, "7 or 11"), (1, "take 2"), (0, "take 2"), (-7, "take 2"), (65_536, "65521 or 65537")],
)
def test_sizes_that_are_no_primes(size: int, advice: str) -> None:
    with pytest.raises(errors.SettingError, match=advice):
        Maglev(NAMES, table_size=size)


def test_settings_that_cannot_be() -> None:
    for size in ("7", 7.0, True, None):
        with pytest.raises(errors.SettingTypeError):
            Maglev(NAMES, table_size=size)  # type: ignore[arg-type]
    with pytest.raises(errors.LimitError):
        Maglev(NAMES, table_size=limits.MAGLEV_SLOTS_MAX + 1)
    with pytest.raises(errors.SettingError):
        Maglev(NAMES, hash="md5")
    with pytest.raises(errors.SettingError):
        Maglev(NAMES, seed=-1)


def test_more_nodes_than_slots() -> None:
    with pytest.raises(errors.SettingError, match="20 nodes do not fit"):
        Maglev(NAMES, table_size=19)
    full = Maglev(NAMES[:19], table_size=19)
    assert sorted(full.slots.tolist()) == list(range(19))
    before = full.to_bytes()
    with pytest.raises(errors.SettingError, match="suggest_table_size"):
        full.add_node("one-more")
    assert full.to_bytes() == before
    full.add_node("drained", 0)
    assert len(full) == 20
    with pytest.raises(errors.SettingError):
        full.set_weight("drained", 1)
    assert full.node("drained").weight == 0


def test_refused_changes_change_nothing() -> None:
    maglev = small(NAMES)
    before = maglev.to_bytes()
    refusals: list[tuple[type[Exception], Any]] = [
        (errors.DuplicateNode, lambda: maglev.add_node(NAMES[0])),
        (errors.DuplicateNode, lambda: maglev.add_nodes(["x", NAMES[0]])),
        (errors.DuplicateNode, lambda: maglev.add_nodes(["x", "x"])),
        (errors.NodeNotFound, lambda: maglev.remove_nodes([NAMES[0], "x"])),
        (errors.NodeNotFound, lambda: maglev.remove_nodes(["x"])),
        (errors.NodeNotFound, lambda: maglev.set_weight("x", 1)),
        (errors.WeightError, lambda: maglev.set_weight(NAMES[0], -1)),
        (errors.WeightError, lambda: maglev.add_node("x", float("nan"))),
        (errors.NodeTypeError, lambda: maglev.add_nodes("x")),
    ]
    for error, call in refusals:
        with pytest.raises(error):
            call()
        assert maglev.to_bytes() == before


def test_weights_of_every_size() -> None:
    """Each node of positive weight has a slot, however small it is beside the others."""
    maglev = small({"a": 1e308, "b": 1e308, "c": 1e-300, "d": 5e-324, "e": 0})
    counts = maglev.stats().points.tolist()
    assert counts[2] == counts[3] == 1
    assert counts[4] == 0
    assert abs(counts[0] - counts[1]) <= 1
    assert maglev.get_nodes("k", 4)[:1] == [maglev["k"]]
    drained = small({"a": 0, "b": 0})
    with pytest.raises(errors.EmptyRingError, match="positive weight"):
        drained["k"]
    with pytest.raises(errors.EmptyRingError):
        drained.slots  # noqa: B018


def test_replicas_are_envoys_retries() -> None:
    from ringleader.hashing import xxh64

    maglev = small(NAMES)
    for key in ("a", "b", "user:7"):
        hashed = xxh64(key)
        asked = [hashed] + [hashed ^ (2**64 - attempt) for attempt in range(1, 3000)]
        order = dict.fromkeys(maglev.names[maglev.slots[value % 1009]] for value in asked)
        assert maglev.get_nodes(key, 20) == list(order)


def test_ranges_are_slots() -> None:
    maglev = Maglev(NAMES[:3], table_size=17)
    ranges = maglev.ranges()
    assert ranges.space == Maglev(NAMES[5:], table_size=17).space
    assert ranges.space != Maglev(NAMES[:3], table_size=19).space
    assert int(ranges.ends[-1]) == 2**64 - 1
    assert (ranges.owners[1:] != ranges.owners[:-1]).all()
    for slot, position in enumerate(maglev.slots.tolist()):
        first = -(-slot * 2**64 // 17)
        last = -(-(slot + 1) * 2**64 // 17) - 1
        for number in (first, (first + last) // 2, last):
            at = int(np.searchsorted(ranges.ends, np.uint64(number)))
            assert ranges.owners[at, 0] == position
    alone = Maglev(["a"], table_size=17).ranges()
    assert alone.ends.tolist() == [2**64 - 1]
    with pytest.raises(errors.EmptyRingError):
        Maglev().ranges()


def test_what_moves_besides_what_has_to(sized: Callable[[int], int]) -> None:
    """The figures of the docstring, roughly."""
    if sized(50) == 1:
        pytest.skip("takes long on the twins")
    names = [f"node-{number}" for number in range(100)]
    before = Maglev(names)
    after = before.copy()
    after.add_node("new")
    old, new = np.array(before.names)[before.slots], np.array(after.names)[after.slots]
    moved = old != new
    assert (moved & (new == "new")).mean() == pytest.approx(1 / 101, rel=0.01)
    assert 0.003 < (moved & (new != "new")).mean() < 0.01


def test_a_small_file_cannot_ask_for_a_huge_table_unseen() -> None:
    data = Maglev(NAMES).to_bytes()
    with pytest.raises(errors.LimitError, match="65537 slots"):
        Maglev.from_bytes(data, table_size_max=1009)
    assert Maglev.from_bytes(data, table_size_max=65_537) == Maglev(NAMES)


def test_repr() -> None:
    assert "table_size=1009" in repr(small(NAMES))
    assert "..." in repr(small(NAMES))
    assert "12345678" not in repr(small([Node("a")], hash="siphash13", seed=12345678))
    assert small(["a"], seed=5).seed == 5
    assert small(["a"]).hash == "xxh64"
    assert small(["a"], hash="xxh3", seed=2**64 - 1)["k"] == "a"


def test_what_moves_from_table_to_table() -> None:
    before, after = small(NAMES), small(NAMES[:-1])
    movement = before.diff(after)
    changed = np.array(before.names)[before.slots] != np.array(after.names)[after.slots]
    assert movement.share == pytest.approx(changed.mean())
    keys = np.arange(5000)
    names = [np.array(one.names)[one.lookup(keys)] for one in (before, after)]
    assert movement.of(keys).moved.sum() == (names[0] != names[1]).sum()
    with pytest.raises(errors.SpaceError):
        before.diff(Maglev(NAMES, table_size=1013))
    with pytest.raises(errors.SpaceError, match="moved"):
        before.diff(after, 2)
