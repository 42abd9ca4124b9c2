"""Building a ring, and changing one by a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import peers
from bench.cases import VNODES, names, ring, scaled, user_keys
from bench.harness import Absent, AtMost, Case, Compare, Contestant
from ringleader import HashRing

NODES = scaled(1_000, 20)
JOINS = "node-that-joins"
PROBES = user_keys(scaled(2_000, 100))


def owners(lookup: Callable[[Any], Any], keys: list[Any]) -> list[str]:
    return [str(lookup(key)) for key in keys]


def test_build(compare: Compare) -> None:
    nodes = names(NODES)

    def rival(peer: peers.ChangingPeer) -> Contestant | Absent:
        if reason := peer.missing():
            return Absent(peer.name, reason)
        keys = peer.keys(PROBES)
        return Contestant(
            peer.name,
            lambda: peer.build(nodes),
            1,
            answers=lambda: owners(peer.lookup(peer.build(nodes)), keys),
        )

    built = HashRing(nodes)
    backwards = HashRing(nodes[::-1])
    assert np.array_equal(built.tokens, backwards.tokens)
    assert owners(built.get_node, PROBES) == owners(backwards.get_node, PROBES)
    compare(
        Case(
            f"build {NODES:,} nodes x {VNODES}",
            "ring",
            [
                Contestant(
                    "ringleader",
                    lambda: HashRing(nodes),
                    1,
                    "ours",
                    answers=lambda: owners(HashRing(nodes).get_node, PROBES),
                ),
                *(rival(peer) for peer in peers.RINGS),
            ],
            [AtMost(4e6)],
        )
    )


def changing(
    name: str,
    on: Any,
    lookup: Callable[[Any], Any],
    keys: list[Any],
    do: Callable[[Any, str], None],
    undo: Callable[[Any, str], None],
    kind: Any = "peer",
) -> Contestant:
    """`do` is measured; `undo` comes before it, so that each lap starts from the same ring."""
    do(on, JOINS)

    def answers() -> list[str]:
        undo(on, JOINS)
        before = owners(lookup, keys)
        do(on, JOINS)
        after = owners(lookup, keys)
        moved = sum(old != new for old, new in zip(before, after, strict=True))
        assert moved < len(keys) / 4, f"{name} moved {moved} of {len(keys)} keys for one node"
        return before + after

    return Contestant(
        name, lambda: do(on, JOINS), 1, kind, prepare=lambda: undo(on, JOINS), answers=answers
    )


@pytest.mark.parametrize("adds", [True, False], ids=["add", "remove"])
def test_change_one_node(compare: Compare, adds: bool) -> None:
    def rival(peer: peers.ChangingPeer) -> Contestant | Absent:
        if reason := peer.missing():
            return Absent(peer.name, reason)
        on = peer.build(names(NODES))
        do, undo = (peer.add, peer.remove) if adds else (peer.remove, peer.add)
        if not adds:
            peer.add(on, JOINS)
        return changing(peer.name, on, peer.lookup(on), peer.keys(PROBES), do, undo)

    own = ring(NODES).copy()
    do, undo = (HashRing.add_node, HashRing.remove_node)[:: 1 if adds else -1]
    if not adds:
        own.add_node(JOINS)
    compare(
        Case(
            f"{'add' if adds else 'remove'} one node of {NODES:,} x {VNODES}",
            "change",
            [
                changing("ringleader", own, own.get_node, PROBES, do, undo, "ours"),
                *(rival(peer) for peer in peers.RINGS),
            ],
            [AtMost(0.15e6)],
        )
    )
    with_it = HashRing([*names(NODES), JOINS])
    own = with_it.copy()
    own.remove_node(JOINS)
    assert np.array_equal(own.tokens, ring(NODES).tokens)
