"""Bounded loads: whole columns, and one place taken and given back at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.cases import VNODES, ring, scaled, user_keys, words
from bench.harness import AtMost, Case, Compare, Contestant
from ringleader.placement import BoundedKeys, BoundedLoads, assign_bounded
from ringleader.placement.bounded import capacities

NODES = scaled(1_000, 20)
KEYS = scaled(1_000_000, 2_000)
CALLS = scaled(50_000, 100)
#: Its keys move about: fewer calls are enough to see what they cost.
TRACKED_CALLS = scaled(5_000, 50)


def verified(keys: NDArray[np.uint64], c: float) -> None:
    """Nobody is above the bound, and no fewer keys can be diverted."""
    on = ring(NODES)
    found, owners = assign_bounded(on, keys, c), on.lookup(keys)
    room = np.array(capacities(on.nodes, len(keys), c))
    assert (np.bincount(found, minlength=NODES) <= room).all()
    fewest = np.maximum(0, np.bincount(owners, minlength=NODES) - room).sum()
    assert (found != owners).sum() == fewest


def in_order(keys: NDArray[np.uint64], c: float) -> Any:
    """What one writes with NumPy and a loop: owners by search, then first come, first served."""
    on = ring(NODES)
    tokens, owner_of = on.tokens, on.token_owners.tolist()
    room = capacities(on.nodes, len(keys), c)

    def run() -> NDArray[np.uint32]:
        left = list(room)
        at = (keys * np.uint64(0x9E3779B97F4A7C15) ^ keys >> np.uint64(29)).tolist()
        found = np.searchsorted(tokens, np.array(at, np.uint64)).tolist()
        out = np.empty(len(keys), np.uint32)
        points = len(owner_of)
        for i, point in enumerate(found):
            while not left[owner_of[point % points]]:
                point += 1
            owner = owner_of[point % points]
            left[owner] -= 1
            out[i] = owner
        return out

    return run


@pytest.mark.parametrize("c", [1.25, 1.05, 1.01])
def test_assign_bounded(compare: Compare, c: float) -> None:
    keys, on = words(KEYS), ring(NODES)
    verified(keys, c)
    out = np.empty(KEYS, np.uint32)
    compare(
        Case(
            f"assign_bounded, c = {c}, {KEYS:,} uint64 keys, {NODES * VNODES:,} points",
            "key",
            [
                Contestant("ringleader", lambda: assign_bounded(on, keys, c, out), KEYS, "ours"),
                Contestant("lookup, without a bound", lambda: on.lookup(keys, out), KEYS, "floor"),
                Contestant("NumPy and a loop, in order", in_order(keys, c), KEYS),
            ],
            [AtMost(30)],
        )
    )


def test_acquire_and_release(compare: Compare) -> None:
    """With so much held that the bound is felt."""
    keys, on = user_keys(CALLS), ring(NODES)
    loads = BoundedLoads(on, 1.25)
    for key in keys:
        loads.acquire(key)
    before = loads.loads()
    acquire, release = loads.acquire, loads.release

    def both() -> str:
        for key in keys:
            name = acquire(key)
            release(name)
        return name

    def owners() -> str:
        for key in keys:
            name = get(key)
        return name

    get = on.get_node
    workers = BoundedKeys(on, 1.25)
    for key in keys:
        workers.acquire(key)
    others = [f"other:{number}" for number in range(TRACKED_CALLS)]

    def tracked() -> int:
        for key in others:
            workers.acquire(key)
        for key in others:
            workers.release(key)
        workers.moves()
        return len(workers)

    compare(
        Case(
            f"acquire and release, {NODES:,} nodes, {CALLS:,} places taken",
            "pair",
            [
                Contestant("ringleader", both, CALLS, "ours"),
                Contestant("BoundedKeys, which keeps the keys", tracked, TRACKED_CALLS, "ours"),
                Contestant("get_node, without a bound", owners, CALLS, "floor"),
            ],
            [AtMost(2_000)],
        )
    )
    assert loads.loads() == before
