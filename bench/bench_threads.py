"""Two threads on one ring: the GIL is released, so two cores do nearly twice the work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bench import yardstick
from bench.cases import VNODES, arrow_texts, cpus, ring, scaled, verify_owners, words
from bench.harness import Absent, Case, Compare, Contestant, Faster

WORDS = scaled(10_000_000, 200_000)
TEXTS = scaled(1_000_000, 200_000)
THREADS = 2
ONE = "ringleader, 1 thread"
TWO = f"lookup(keys, threads={THREADS})"
POOL = f"{THREADS} threads of the caller's"


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as executor:
        yield executor


@pytest.mark.parametrize(
    ("node_count", "kind", "times"),
    [
        (scaled(100, 10), "uint64", 1.4),
        (scaled(1_000, 20), "uint64", 1.4),
        (scaled(10_000, 30), "uint64", 1.8),
        (scaled(100, 10), "Arrow strings", 1.8),
    ],
)
def test_two_threads(
    compare: Compare, pool: ThreadPoolExecutor, node_count: int, kind: str, times: float
) -> None:
    on = ring(node_count)
    keys: Any = words(WORDS) if kind == "uint64" else arrow_texts(TEXTS)
    count = len(keys)
    verify_owners(on, keys, on.lookup(keys, threads=THREADS))
    outs = [np.empty(count, np.uint32) for _ in range(3)]
    middle = count // THREADS
    halves = [slice(0, middle), slice(middle, count)]

    def share(half: slice) -> None:
        on.lookup(keys[half], outs[2][half])

    def by_caller() -> np.ndarray:
        list(pool.map(share, halves))
        return outs[2]

    contestants: list[Contestant | Absent] = [
        Contestant(ONE, lambda: on.lookup(keys, outs[0]), count, "ours")
    ]
    if cpus() >= THREADS:
        contestants += [
            Contestant(TWO, lambda: on.lookup(keys, outs[1], THREADS), count, "ours"),
            Contestant(POOL, by_caller, count, "ours"),
        ]
    else:
        contestants += [Absent(name, f"there is {cpus()} CPU") for name in (TWO, POOL)]
    contestants += yardstick.threaded_floors(words(WORDS), pool, THREADS)
    compare(
        Case(
            f"{count:,} {kind}, {node_count * VNODES:,} points, {THREADS} threads",
            "key",
            contestants,
            [Faster(times, ONE, TWO), Faster(times, ONE, POOL)],
        )
    )
    assert np.array_equal(outs[0], on.lookup(keys, threads=THREADS))
