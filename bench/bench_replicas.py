"""The first three distinct nodes of a key, one key at a time and for a whole column."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import peers
from bench.cases import SAMPLE_KEYS, VNODES, names, ring, scaled, user_keys, words
from bench.harness import Absent, AtMost, Case, Compare, Contestant
from ringleader._reference import hashing as reference

NODES = scaled(1_000, 20)
REPLICAS = 3
CALLS = scaled(20_000, 100)
#: A peer that copies half its ring for every call gets fewer of them.
SLOW_CALLS = scaled(1_000, 100)
KEYS = scaled(10_000_000, 2_000)


def call_loop(get: Callable[[Any, int], Any], keys: list[Any]) -> Callable[[], Any]:
    def run() -> Any:
        for key in keys:
            answer = get(key, REPLICAS)
        return answer

    return run


def contestant(
    name: str, get: Callable[[Any, int], Any], keys: list[Any], kind: Any = "peer"
) -> Contestant:
    for key in keys[:SAMPLE_KEYS]:
        found = get(key, REPLICAS)
        assert len(found) == len(set(found)) == REPLICAS, name
        assert set(found) <= set(names(NODES)), name
    return Contestant(
        name,
        call_loop(get, keys),
        len(keys),
        kind,
        answers=lambda: [get(key, REPLICAS) for key in keys],
    )


def rival(peer: peers.ChangingPeer, keys: list[str]) -> Contestant | Absent:
    if reason := peer.missing():
        return Absent(peer.name, reason)
    calls = SLOW_CALLS if isinstance(peer, peers.Uhashring) else CALLS
    return contestant(peer.name, peer.replicas(peer.build(names(NODES))), peer.keys(keys[:calls]))


def walked(tokens: NDArray[np.uint64], owners: NDArray[np.uint32], hashed: int) -> list[int]:
    """The definition: clockwise from the hash, every node the first time it is met."""
    found: list[int] = []
    at = int(np.searchsorted(tokens, np.uint64(hashed)))
    while len(found) < REPLICAS:
        owner = int(owners[at % len(owners)])
        if owner not in found:
            found.append(owner)
        at += 1
    return found


def numpy_precomputed(keys: NDArray[np.uint64]) -> Contestant:
    """NumPy's way: the three nodes of every point beforehand, then search and take rows."""
    on = ring(NODES)
    tokens, owners = on.tokens, on.token_owners
    rows = np.array([walked(tokens, owners, int(token)) for token in tokens], np.uint32)
    table = np.vstack([rows, rows[:1]])
    out = np.empty((len(keys), REPLICAS), np.uint32)
    hashes = np.empty(peers.NUMPY_PIECE, np.uint64)
    scratch = np.empty(peers.NUMPY_PIECE, np.uint64)

    def run() -> NDArray[np.uint32]:
        for lo in range(0, len(keys), peers.NUMPY_PIECE):
            piece = keys[lo : lo + peers.NUMPY_PIECE]
            part = hashes[: len(piece)]
            peers.splitmix(piece, part, scratch[: len(piece)])
            at = tokens.searchsorted(part)
            np.take(table, at, axis=0, out=out[lo : lo + len(piece)], mode="clip")
        return out

    for key, found in zip(keys[:SAMPLE_KEYS], run()[:SAMPLE_KEYS].tolist(), strict=True):
        (hashed,) = peers.splitmix_column(np.array([key])).tolist()
        assert found == walked(tokens, owners, hashed)
    return Contestant("NumPy, replicas precomputed", run, len(keys))


def test_get_nodes(compare: Compare) -> None:
    keys = user_keys(CALLS)
    on = ring(NODES)
    positions = on.lookup_replicas(keys[:SAMPLE_KEYS], REPLICAS)
    for key, row in zip(keys, positions.tolist(), strict=False):
        assert on.get_nodes(key, REPLICAS) == [on.names[at] for at in row]
    compare(
        Case(
            f"get_nodes(key, {REPLICAS}), {NODES:,} nodes",
            "call",
            [
                contestant("ringleader", on.get_nodes, keys, "ours"),
                *(rival(peer, keys) for peer in peers.RINGS),
            ],
            [AtMost(150)],
        )
    )


def test_lookup_replicas(compare: Compare) -> None:
    keys = words(KEYS)
    on = ring(NODES)
    out = np.empty((KEYS, REPLICAS), np.uint32)
    on.lookup_replicas(keys, REPLICAS, out)
    tokens, owners = on.tokens, on.token_owners
    for key, found in zip(keys[:SAMPLE_KEYS], out[:SAMPLE_KEYS].tolist(), strict=True):
        assert found == walked(tokens, owners, reference.xxh3_64(key))
    compare(
        Case(
            f"lookup_replicas({KEYS:,} uint64, {REPLICAS}), {NODES * VNODES:,} points",
            "key",
            [
                Contestant(
                    "ringleader", lambda: on.lookup_replicas(keys, REPLICAS, out), KEYS, "ours"
                ),
                numpy_precomputed(keys),
            ],
            [AtMost(9)],
        )
    )
