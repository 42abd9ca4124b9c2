"""The native movement kernel does what its reference does, and both what the definition says."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader._native import movement as native
from ringleader._reference import movement as reference

CIRCLE = 1 << 64
#: A small circle, spread over the large one: so that whoever mistakes wrapping is seen.
SMALL = 24
UNIT = CIRCLE // SMALL
NOWHERE = 2**32 - 1

Cut = tuple[Any, Any, Any]


@pytest.fixture(params=["native", "reference"])
def movement(request: pytest.FixtureRequest) -> ModuleType:
    return {"native": native, "reference": reference}[request.param]


def point(number: int) -> int:
    """The last number of a unit of the small circle; unit SMALL-1 ends with 2**64 - 1."""
    return CIRCLE - 1 if number == SMALL - 1 else (number + 1) * UNIT


@st.composite
def cuts(draw: st.DrawFn, width: int | None = None, nodes: int = 5) -> Cut:
    ends = sorted(draw(st.sets(st.integers(0, SMALL - 1), min_size=1, max_size=SMALL)))
    if width is None:
        width = draw(st.integers(1, 4))
    row = st.lists(st.integers(0, nodes - 1), min_size=width, max_size=width, unique=True)
    owners = draw(st.lists(row, min_size=len(ends), max_size=len(ends)))
    ids = draw(st.permutations(range(nodes + 2)))[:nodes]
    return (
        np.array([point(end) for end in ends], dtype=np.uint64),
        np.array(owners, dtype=np.uint32),
        np.array(ids, dtype=np.uint32),
    )


def owners_of(cut: Cut, number: int) -> list[int]:
    """The ids of the owners of a unit of the small circle, by the definition."""
    ends, owners, ids = cut
    i = int(np.searchsorted(ends, np.uint64(point(number)))) % len(ends)
    return [int(ids[owner]) for owner in owners[i]]


def units(start: int, end: int) -> list[int]:
    """The units in (start, end]."""
    if start == end:
        return list(range(SMALL))
    return [
        number
        for number in range(SMALL)
        if (point(number) - start) % CIRCLE != 0
        and (point(number) - start) % CIRCLE <= (end - start) % CIRCLE
    ]


def listed(columns: tuple[Any, ...]) -> list[list[int]]:
    return [column.tolist() for column in columns]


def dtypes(columns: tuple[Any, ...]) -> list[str]:
    return [column.dtype.name for column in columns]


@given(cuts(width=1), cuts(width=1))
def test_owners(a: Cut, b: Cut) -> None:
    found = native.owners(*a, *b)
    assert listed(found) == listed(reference.owners(*a, *b))
    assert dtypes(found) == dtypes(reference.owners(*a, *b))
    told: dict[int, tuple[int, int]] = {}
    for start, end, source, target in zip(*listed(found), strict=True):
        for unit in units(start, end):
            assert unit not in told
            told[unit] = (source, target)
    for unit in range(SMALL):
        before, after = owners_of(a, unit)[0], owners_of(b, unit)[0]
        assert told.get(unit) == ((before, after) if before != after else None)
    starts, ends, sources, targets = listed(found)
    for i in range(len(starts)):  # what could be one row is one
        for j in range(len(starts)):
            if i != j and ends[i] == starts[j]:
                assert (sources[i], targets[i]) != (sources[j], targets[j])
    assert ends == sorted(ends)


@given(cuts(), cuts(), st.data())
def test_replicas(a: Cut, b: Cut, data: st.DataObject) -> None:
    zones = np.array(data.draw(st.lists(st.integers(0, 3), min_size=7, max_size=7)), np.uint32)
    dcs = zones // np.uint32(2)
    down = data.draw(st.sets(st.integers(0, 6), max_size=3))
    for node in down:
        zones[node] = NOWHERE
    found = native.replicas(*a, *b, zones, dcs)
    assert listed(found) == listed(reference.replicas(*a, *b, zones, dcs))
    assert dtypes(found) == dtypes(reference.replicas(*a, *b, zones, dcs))
    starts, ends, add_pieces, sources, targets, drop_pieces, drops = listed(found)
    piece_of = {
        unit: piece
        for piece, (start, end) in enumerate(zip(starts, ends, strict=True))
        for unit in units(start, end)
    }
    assert sum(len(units(*bounds)) for bounds in zip(starts, ends, strict=True)) == len(piece_of)
    assert add_pieces == sorted(add_pieces)
    assert drop_pieces == sorted(drop_pieces)
    for unit in range(SMALL):
        before, after = owners_of(a, unit), owners_of(b, unit)
        piece = piece_of.get(unit)
        assert (piece is None) == (set(before) == set(after))
        if piece is None:
            continue
        added = [i for i, p in enumerate(add_pieces) if p == piece]
        assert [targets[i] for i in added] == [node for node in after if node not in before]
        gone = [node for p, node in zip(drop_pieces, drops, strict=True) if p == piece]
        assert gone == [node for node in before if node not in after]

        def distance(node: int, target: int) -> int:
            return 0 if zones[node] == zones[target] else 1 if dcs[node] == dcs[target] else 2

        for i in added:
            live = [node for node in before if node not in down]
            assert (sources[i] == NOWHERE) == (not live)
            if not live:
                continue
            assert sources[i] in live
            near = min(distance(node, targets[i]) for node in live)
            assert distance(sources[i], targets[i]) == near


def test_sources_share_the_load(movement: ModuleType) -> None:
    """Three equally close replicas of every range each send a third."""
    count = 300
    ends = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2**64 // count)
    owners = np.tile(np.array([[0, 1, 2]], np.uint32), (count, 1))
    after = np.tile(np.array([[0, 1, 2, 3]], np.uint32), (count, 1))
    after[::2, 3] = 4  # or it would all be one range
    ids = np.arange(5, dtype=np.uint32)
    same = np.zeros(5, dtype=np.uint32)
    found = movement.replicas(ends, owners, ids, ends, after, ids, same, same)
    assert np.bincount(found[3]).tolist() == [count // 3] * 3


def test_the_whole_circle(movement: ModuleType) -> None:
    end = np.array([7], np.uint64)
    zero, one = np.array([[0]], np.uint32), np.array([[1]], np.uint32)
    ids = np.array([0, 1], np.uint32)
    assert listed(movement.owners(end, zero, ids, end, one, ids)) == [[7], [7], [0], [1]]
    found = movement.replicas(end, zero, ids, end, one, ids, ids, ids)
    assert listed(found) == [[7], [7], [0], [0], [1], [0], [0]]
    assert listed(movement.owners(end, zero, ids, end, zero, ids)) == [[]] * 4
    assert listed(movement.replicas(end, zero, ids, end, zero, ids, ids, ids)) == [[]] * 7


def test_bad_cuts(movement: ModuleType) -> None:
    ends = np.array([3, 9], np.uint64)
    rows = np.array([[0], [1]], np.uint32)
    ids = np.array([0, 1], np.uint32)
    good = (ends, rows, ids)
    for bad, words in (
        ((ends[::-1].copy(), rows, ids), "ascend"),
        ((np.array([3, 3], np.uint64), rows, ids), "ascend"),
        ((ends[:1].copy(), rows, ids), "1 ends for 2 rows"),
        ((ends[:0].copy(), rows[:0].copy(), ids), "0 ranges"),
        ((ends, rows[:, :0].copy(), ids), "2 ranges of 0 owners"),
        ((ends, rows, ids[:1].copy()), "not below 1"),
    ):
        for pair in ((*good, *bad), (*bad, *good)):
            with pytest.raises(ValueError, match=words):
                movement.owners(*pair)
            with pytest.raises(ValueError, match=words):
                movement.replicas(*pair, ids, ids)
    with pytest.raises(ValueError, match="not below 1"):
        movement.replicas(*good, *good, ids[:1].copy(), ids[:1].copy())
    with pytest.raises(ValueError, match="2 zones for 1"):
        movement.replicas(*good, *good, ids, ids[:1].copy())
    wide = (ends, np.array([[0, 1], [1, 0]], np.uint32), ids)
    with pytest.raises(ValueError, match="one owner"):
        movement.owners(*good, *wide)


# --- steps ----------------------------------------------------------------------------------------


@given(st.data())
def test_schedule(data: st.DataObject) -> None:
    nodes, links = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 3))
    node = st.integers(0, nodes - 1)
    pairs = data.draw(st.lists(st.tuples(node, node), max_size=40, unique=True))
    cost = st.integers(0, 50).map(lambda number: number / 8)
    rows = [(*pair, data.draw(st.integers(0, links - 1)), data.draw(cost)) for pair in pairs]
    rows.sort(key=lambda row: -row[3])
    concurrent = data.draw(st.integers(1, 4))
    columns = [np.array([row[k] for row in rows], np.uint32) for k in range(3)]
    costs = np.array([row[3] for row in rows], np.float64)
    given_ = (*columns, costs, costs / 2, nodes, links, concurrent)
    steps, count = native.schedule(*given_)
    expected, expected_count = reference.schedule(*given_)
    assert (steps.tolist(), count) == (expected.tolist(), expected_count)
    assert set(steps.tolist()) == set(range(count))
    for column in columns[:2]:
        if rows:
            used = np.unique(np.stack([steps, column]), axis=1, return_counts=True)[1]
            assert used.max() <= concurrent


def test_bad_transfers(movement: ModuleType) -> None:
    one, cost = np.zeros(1, np.uint32), np.ones(1)
    two = np.zeros(2, np.uint32)
    assert movement.schedule(one, one, one, cost, cost, 1, 1, 1)[1] == 1
    for given_, words in (
        ((one, one, one, cost, cost, 0, 1, 1), "senders is not below 0"),
        ((one, one, one, cost, cost, 1, 0, 1), "links is not below 0"),
        ((one, two, one, cost, cost, 1, 1, 1), "2 receivers for 1"),
        ((one, one, one, np.ones(2), cost, 1, 1, 1), "costs"),
        ((one, one, one, cost, cost, 1, 1, 0), "0 transfers at once"),
    ):
        with pytest.raises(ValueError, match=words):
            movement.schedule(*given_)
