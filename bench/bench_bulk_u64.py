"""Columns of 64-bit integers: `ring.lookup(array, out)`."""

from __future__ import annotations

import numpy as np
import pytest

from bench import peers, yardstick
from bench.cases import LEVELS, VNODES, at_level, ring, scaled, verify_owners, words
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Faster, Goal, Within
from ringleader import HashRing

KEYS = scaled(10_000_000, 2_000)
FORCED = {"avx2": "ringleader, AVX2 forced", "scalar": "ringleader, plain C forced"}

GOALS: dict[int, list[Goal]] = {
    scaled(100, 10): [
        AtMost(1.7),
        Faster(60, peers.NUMPY.name),
        Within(2, yardstick.WORKS["load"]),
        AtMost(3, FORCED["avx2"]),
        AtMost(4, FORCED["scalar"]),
    ],
    scaled(1_000, 20): [AtMost(2.8)],
    scaled(10_000, 30): [AtMost(11)],
}

#: Where what a call costs shows, not what a key costs.
SMALL_COLUMNS = (10, 100, 1_000)


def ours(name: str, on: HashRing, keys: np.ndarray, level: str) -> Contestant | Absent:
    """Ours with the instructions of `level`; its answers were compared with the reference."""
    if level not in LEVELS:
        return Absent(name, f"this CPU has no {level}")
    out = np.empty(len(keys), np.uint32)
    turn = at_level(level)
    with turn():
        verify_owners(on, keys, on.lookup(keys, out))
    return Contestant(name, lambda: on.lookup(keys, out), len(keys), "ours", turn=turn)


@pytest.mark.parametrize("node_count", GOALS, ids=lambda count: f"{count * VNODES}-points")
def test_bulk_u64(compare: Compare, node_count: int) -> None:
    keys = words(KEYS)
    on = ring(node_count)
    tokens, owners = on.tokens, on.token_owners
    rivals = (peers.NUMPY, peers.NUMBA, peers.POLARS, peers.DUCKDB)
    compare(
        Case(
            f"{KEYS:,} uint64 keys, {node_count * VNODES:,} points",
            "key",
            [
                ours("ringleader", on, keys, LEVELS[-1]),
                *(ours(name, on, keys, level) for level, name in FORCED.items()),
                *yardstick.floors(keys),
                *(peer.enter(tokens, owners, keys) for peer in rivals),
            ],
            GOALS[node_count],
        )
    )


@pytest.mark.parametrize("count", SMALL_COLUMNS)
def test_small_column(compare: Compare, count: int) -> None:
    node_count = min(GOALS)
    keys = words(KEYS)[:count]
    on = ring(node_count)
    compare(
        Case(
            f"{count:,} uint64 keys, {node_count * VNODES:,} points",
            "key",
            [
                ours("ringleader", on, keys, LEVELS[-1]),
                peers.NUMPY.enter(on.tokens, on.token_owners, keys),
            ],
        )
    )
