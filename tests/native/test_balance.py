"""Points that share a circle out: the native kernel and its twin, and what both promise."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ringleader import kernels
from ringleader._reference import balance as reference
from ringleader.hashing import crc32c

native = pytest.importorskip("ringleader._native.balance") if not kernels.PURE else reference
TWINS = [pytest.param(native, id="native"), pytest.param(reference, id="reference")]

UNIT = 1 << 32
CIRCLE = 1 << 64
POINTS_MAX = 1 << 26
#: Of the ring in test_points_do_not_change_from_release_to_release.
GOLDEN_TOKENS, GOLDEN_OWNERS = 3496832065, 1545274553

Points = tuple[NDArray[np.uint64], NDArray[np.uint32]]


def in_order(grouped: Points) -> Points:
    tokens, counts = grouped
    owners = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)
    order = np.argsort(tokens, kind="stable")
    return tokens[order], owners[order]


def loads_of(points: Points, node_count: int) -> list[int]:
    tokens, owners = points[0].tolist(), points[1].tolist()
    loads = [0] * node_count
    for i, (token, owner) in enumerate(zip(tokens, owners, strict=True)):
        loads[owner] += (token - tokens[i - 1]) % CIRCLE or CIRCLE
    return loads


def moved(before: Points, after: Points) -> dict[tuple[int, int], int]:
    """How much of the circle goes from whom to whom, exactly."""
    ends = sorted({*before[0].tolist(), *after[0].tolist()})
    was = dict(zip(before[0].tolist(), before[1].tolist(), strict=True))
    now = dict(zip(after[0].tolist(), after[1].tolist(), strict=True))
    flow: dict[tuple[int, int], int] = {}
    left: int
    right: int
    left, right = was[min(was)], now[min(now)]
    for i in range(len(ends) - 1, -1, -1):
        left, right = was.get(ends[i], left), now.get(ends[i], right)
        if left != right:
            size = (ends[i] - ends[i - 1]) % CIRCLE
            flow[left, right] = flow.get((left, right), 0) + size
    return flow


class Ring:
    """A ring under changes, each of which is made by both twins and held against the promises."""

    def __init__(self, size: int, vnodes: int) -> None:
        self.vnodes = vnodes
        self.weights = [0] * size
        self.counts = [0] * size
        self.points: Points = (np.empty(0, np.uint64), np.empty(0, np.uint32))

    def set(self, node: int, weight: float, *twins: Any) -> None:
        self.weights[node] = max(1, int(weight * UNIT)) if weight else 0
        self.counts[node] = max(1, int(weight * self.vnodes + 0.5)) if weight else 0
        before = self.points
        results = [
            twin.change(*before, self.weights, self.counts, node, 12345 << 20, POINTS_MAX)
            for twin in twins or (native,)
        ]
        for result in results[1:]:
            assert np.array_equal(result[0], results[0][0])
            assert np.array_equal(result[1], results[0][1])
        self.points = in_order(results[0])
        self.check(node, before)

    def check(self, node: int, before: Points) -> None:
        tokens, owners = self.points
        assert (tokens % 4 == 0).all()
        assert (tokens[1:] > tokens[:-1]).all()
        total = sum(self.weights)
        if total == 0:
            assert len(tokens) == 0
            return
        assert {*owners.tolist()} == {i for i, weight in enumerate(self.weights) if weight}
        loads = loads_of(self.points, len(self.weights))
        assert sum(loads) == CIRCLE
        nominal = sum(self.counts)
        assert len(tokens) <= max(4 * nominal, len(before[0])) + max(self.counts)
        if len(before[0]) == 0 or {*before[1].tolist()} <= {node} or {*owners.tolist()} == {node}:
            return
        was = loads_of(before, len(self.weights))
        due = self.weights[node] * CIRCLE // total
        flow = moved(before, self.points)
        gains, gives = due > was[node], due < was[node]
        # Only the node that changes gains, or it alone gives: no key moves between two others.
        assert all((to if gains else of) == node for of, to in flow)
        amount = sum(flow.values())
        assert amount == abs(loads[node] - was[node])
        if gives:
            assert abs(loads[node] - due) <= 4 * (len(before[0]) + 2)
        assert not (gains and loads[node] > due)

    def level(self, node: int) -> float:
        total = sum(self.weights)
        return loads_of(self.points, len(self.weights))[node] / CIRCLE * total / self.weights[node]

    def levels(self) -> list[float]:
        total = sum(self.weights)
        loads = loads_of(self.points, len(self.weights))
        return [
            load / CIRCLE * total / weight
            for load, weight in zip(loads, self.weights, strict=True)
            if weight
        ]


# --- the twins ----------------------------------------------------------------------------------


@given(
    st.integers(1, 40),
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from([0, 0, 0.01, 0.5, 1, 1, 1.001, 2, 3.3, 17])),
        max_size=40,
    ),
)
def test_twins_make_the_same_points(vnodes: int, changes: list[tuple[int, float]]) -> None:
    ring = Ring(8, vnodes)
    for node, weight in changes:
        ring.set(node, weight, native, reference)


@pytest.mark.parametrize("vnodes", [1, 3, 16, 100])
def test_twins_agree_on_larger_rings(vnodes: int) -> None:
    rng = random.Random(vnodes)
    ring = Ring(60, vnodes)
    for node in range(60):
        ring.set(node, 1, native, reference)
    for _ in range(60):
        ring.set(rng.randrange(60), rng.choice([0, 0, 1, 1, 2.5]), native, reference)


@pytest.mark.parametrize("vnodes", [1, 16])
def test_building_is_adding_one_after_the_other(vnodes: int) -> None:
    weights = [1.0, 0, 2.5, 0.3, 1, 1, 0, 1, 1, 4]
    ring = Ring(len(weights), vnodes)
    for node, weight in enumerate(weights):
        ring.set(node, weight, native, reference)
    for twin in (native, reference):
        built = in_order(twin.build(ring.weights, ring.counts, 12345 << 20, POINTS_MAX))
        assert np.array_equal(built[0], ring.points[0])
        assert np.array_equal(built[1], ring.points[1])


def test_points_do_not_change_from_release_to_release() -> None:
    """A ring made anew of the same history is the same ring."""
    ring = Ring(40, 16)
    for node in range(40):
        ring.set(node, 1 + node % 3)
    for node in range(0, 40, 3):
        ring.set(node, 0)
    assert crc32c(ring.points[0].astype("<u8").tobytes()) == GOLDEN_TOKENS
    assert crc32c(ring.points[1].astype("<u4").tobytes()) == GOLDEN_OWNERS


# --- what is promised ---------------------------------------------------------------------------


@pytest.mark.parametrize("twin", TWINS)
def test_the_first_node_stands_at_equal_distances(twin: ModuleType) -> None:
    tokens, counts = twin.change([], [], [UNIT, 0], [5, 0], 0, 8, POINTS_MAX)
    assert counts.tolist() == [5, 0]
    assert tokens.tolist() == [8 + (i * (1 << 62) // 5) * 4 for i in range(5)]
    tokens, counts = twin.build([], [], 0, POINTS_MAX)
    assert len(tokens) == len(counts) == 0


@pytest.mark.parametrize("vnodes", [4, 16, 160])
def test_a_new_node_gets_exactly_its_due(vnodes: int) -> None:
    ring = Ring(100, vnodes)
    for node in range(100):
        ring.set(node, [1, 2, 1.5][node % 3])
        assert ring.level(node) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("vnodes", "size", "most"), [(8, 300, 1.07), (16, 1000, 1.035), (160, 300, 1.004)]
)
def test_even_at_every_step_of_growth(vnodes: int, size: int, most: float) -> None:
    size = size // 10 if kernels.PURE else size
    loads: Points = (np.empty(0, np.uint64), np.empty(0, np.uint32))
    weights, counts = np.zeros(size, np.uint64), np.zeros(size, np.uint32)
    for node in range(size):
        weights[node], counts[node] = UNIT, vnodes
        loads = in_order(native.change(*loads, weights, counts, node, 0, POINTS_MAX))
        arcs = np.bincount(
            loads[1], np.diff(loads[0].astype(np.float64), prepend=float(loads[0][-1]) - 2.0**64)
        )
        assert arcs.max() * (node + 1) / 2.0**64 < most, node


@pytest.mark.parametrize(("vnodes", "most"), [(16, 1.04), (160, 1.005)])
@pytest.mark.parametrize("seed", range(3))
def test_even_after_any_removals(vnodes: int, most: float, seed: int) -> None:
    size = 100 if not kernels.PURE and vnodes == 16 else 40
    rng = random.Random(seed)
    ring = Ring(size, vnodes)
    for node in range(size):
        ring.set(node, 1)
    order = rng.sample(range(size), size - 2)
    for node in order:
        ring.set(node, 0)
        assert max(ring.levels()) < most


@pytest.mark.parametrize("seed", range(4))
def test_even_under_weights_that_change(seed: int) -> None:
    rng = random.Random(seed)
    ring = Ring(40, 32)
    for node in range(40):
        ring.set(node, rng.choice([0.5, 1, 1, 2, 5]))
        assert max(ring.levels()) < 1.05
    for _ in range(150):
        ring.set(rng.randrange(40), rng.choice([0, 0.5, 1, 1, 2, 5]))
        assert max(ring.levels()) < 1.05


def test_coming_and_going_does_not_pile_up_points() -> None:
    rng = random.Random(9)
    ring = Ring(30, 16)
    for node in range(30):
        ring.set(node, 1)
    for _ in range(400):
        node = rng.randrange(30)
        ring.set(node, 0 if ring.weights[node] and sum(map(bool, ring.weights)) > 15 else 1)
        assert max(ring.levels()) < 1.05
        assert len(ring.points[0]) < 2.5 * sum(ring.counts)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize(
    "arguments",
    [
        ([1 << 8], [], [UNIT], [1], 0),
        ([1 << 8], [0], [UNIT], [1, 1], 0),
        ([1 << 8], [0], [UNIT], [1], 1),
        ([1 << 8], [0], [UNIT], [1], -1),
        ([1 << 8], [1], [UNIT], [1], 0),
        ([1 << 8], [1], [UNIT, 0], [1, 0], 0),
        ([1 << 8], [0], [UNIT, UNIT], [1, 0], 0),
        ([2 << 8, 1 << 8], [0, 0], [UNIT], [2], 0),
        ([1, 2], [0, 0], [UNIT], [2], 0),
    ],
)
def test_points_that_make_no_ring_are_refused(twin: ModuleType, arguments: Any) -> None:
    tokens, owners, weights, counts, node = arguments
    with pytest.raises(ValueError, match=r"length|no node|without weight|if it has|ascend"):
        twin.change(tokens, owners, weights, counts, node, 0, POINTS_MAX)


@pytest.mark.parametrize("twin", TWINS)
def test_a_ring_may_not_pass_its_limit_by_handing_out(twin: ModuleType) -> None:
    ring = Ring(30, 4)
    for node in range(30):
        ring.set(node, 1)
    weights, counts = ring.weights.copy(), ring.counts.copy()
    weights[7] = counts[7] = 0
    tokens, _ = twin.change(*ring.points, weights, counts, 7, 0, 116)
    assert len(tokens) <= 116
