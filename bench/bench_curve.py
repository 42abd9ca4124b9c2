"""How the time of a lookup grows with the points of the ring: the plot of docs/performance.md."""

from __future__ import annotations

import pytest

from bench import peers
from bench.bench_bulk_u64 import ours
from bench.cases import LEVELS, VNODES, ring, scaled, words
from bench.harness import Case, Compare

NODES = [1, 10, 30] if scaled(0, 1) else [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000]
KEYS = scaled(1_000_000, 1_000)
#: A Python loop needs no million of keys to show its pace.
LOOP_KEYS = scaled(20_000, 500)


@pytest.mark.parametrize("node_count", NODES, ids=lambda count: f"{count * VNODES}-points")
def test_curve(compare: Compare, node_count: int) -> None:
    keys = words(KEYS)
    on = ring(node_count)
    tokens, owners = on.tokens, on.token_owners
    levels = reversed(LEVELS)
    compare(
        Case(
            f"{node_count * VNODES} points",
            "key",
            [
                *(ours(f"ringleader, {level}", on, keys, level) for level in levels),
                peers.NUMPY.enter(tokens, owners, keys),
                peers.BISECT.enter(tokens, owners, keys[:LOOP_KEYS]),
            ],
        )
    )
