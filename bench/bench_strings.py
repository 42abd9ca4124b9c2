"""Columns of text: Arrow, lists of `str`, NumPy's `S16` and `StringDType`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import peers
from bench.cases import (
    TEXT_BYTES_MAX,
    TEXT_BYTES_MIN,
    VNODES,
    arrow_texts,
    expected_owners,
    fixed_texts,
    names,
    ring,
    sample,
    scaled,
    shuffled,
    texts,
    verify_owners,
)
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Faster
from ringleader.hashing import xxh3_64_column

NODES = scaled(100, 10)
KEYS = scaled(1_000_000, 2_000)
POINTS = f"{NODES * VNODES:,} points"


def ours(keys: Any) -> Contestant:
    on = ring(NODES)
    out = np.empty(len(keys), np.uint32)
    verify_owners(on, keys, on.lookup(keys, out))
    return Contestant("ringleader", lambda: on.lookup(keys, out), len(keys), "ours")


def ours_hash(keys: Any) -> Contestant:
    out = np.empty(len(keys), np.uint64)
    return Contestant(
        "ringleader, XXH3 alone", lambda: xxh3_64_column(keys, out=out), len(keys), "floor"
    )


def fastring(keys: list[str]) -> Contestant | Absent:
    peer = peers.Fastring()
    if reason := peer.missing():
        return Absent(peer.name, reason)
    built = peer.build(names(NODES))
    peers.check_ring(peer, built, names(NODES), keys[:20_000])
    batch: Callable[[list[str]], list[str]] = peer.batch(built)
    assert batch(keys[:100]) == [built[key] for key in keys[:100]]
    return Contestant(f"{peer.name}.get_node_batch", lambda: batch(keys), len(keys))


def rivals(keys: Any, *chosen: peers.ColumnPeer) -> list[Contestant | Absent]:
    on = ring(NODES)
    return [peer.enter(on.tokens, on.token_owners, keys) for peer in chosen]


def test_arrow_strings(compare: Compare) -> None:
    keys = arrow_texts(KEYS)
    compare(
        Case(
            f"{KEYS:,} Arrow strings of {TEXT_BYTES_MIN}-{TEXT_BYTES_MAX} bytes, {POINTS}",
            "key",
            [
                ours(keys),
                ours_hash(keys),
                *rivals(keys, peers.POLARS_HASH, peers.POLARS, peers.DUCKDB),
            ],
            [AtMost(9), Faster(9, peers.POLARS_HASH.name)],
        )
    )


@pytest.mark.parametrize(
    ("order", "goal_ns"),
    [("in allocation order", 8.0), ("shuffled", 22.0)],
    ids=["alloc", "shuffled"],
)
def test_list_of_str(compare: Compare, order: str, goal_ns: float) -> None:
    keys = texts(KEYS) if order != "shuffled" else shuffled(texts(KEYS))
    compare(
        Case(
            f"{KEYS:,} list[str] {order}, {POINTS}",
            "key",
            [ours(keys), ours_hash(keys), fastring(keys), *rivals(keys, peers.XXHASH)],
            [AtMost(goal_ns)],
        )
    )


def test_numpy_s16(compare: Compare) -> None:
    keys = fixed_texts(KEYS)
    compare(
        Case(
            f"{KEYS:,} NumPy S16, {POINTS}",
            "key",
            [ours(keys), ours_hash(keys), *rivals(keys, peers.XXHASH)],
            [AtMost(7)],
        )
    )


def test_numpy_string_dtype(compare: Compare) -> None:
    keys = np.array(texts(KEYS), dtype=np.dtypes.StringDType())
    compare(
        Case(
            f"{KEYS:,} NumPy StringDType of {TEXT_BYTES_MIN}-{TEXT_BYTES_MAX} bytes, {POINTS}",
            "key",
            [ours(keys), ours_hash(keys), *rivals(keys, peers.XXHASH)],
            [AtMost(7)],
        )
    )


def test_the_same_text_has_one_owner_everywhere() -> None:
    """What the cases above look up differs in its container only."""
    on = ring(NODES)
    _, chosen = sample(texts(KEYS))
    expected = expected_owners(on, chosen)
    arrow = arrow_texts(KEYS).take(sample(texts(KEYS))[0])
    for keys in (chosen, arrow, np.array(chosen, dtype=np.dtypes.StringDType())):
        assert on.lookup(keys).tolist() == expected
