"""One key at a time: `ring[key]` in a Python loop, whose own cost is part of every time."""

from __future__ import annotations

from typing import Any

import pytest

from bench import peers
from bench.cases import expected_owners, names, ring, sample, scaled, shuffled, user_keys
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Faster

NODES = scaled(100, 10)
KEYS = scaled(200_000, 500)


def rival(peer: peers.RingPeer, keys: list[str]) -> Contestant | Absent:
    if reason := peer.missing():
        return Absent(peer.name, reason)
    built = peer.build(names(NODES))
    own_keys = peer.keys(keys)
    peers.check_ring(peer, built, names(NODES), own_keys[:20_000])
    lookup = peer.lookup(built)
    return Contestant(
        peer.name,
        peer.loop(built, own_keys),
        len(keys),
        answers=lambda: [lookup(key) for key in own_keys],
    )


@pytest.mark.parametrize("arriving", [True, False], ids=["arriving", "shuffled"])
def test_subscript(compare: Compare, arriving: bool) -> None:
    """Keys as they arrive from a socket, each a new object; or old objects, all over memory."""
    keys = user_keys(KEYS)
    if arriving:
        # A dict holds keys of its own, equal to those that arrive.
        order, stored = "new str objects", shuffled(user_keys(KEYS))
    else:
        order, stored, keys = "old str objects, shuffled", keys, shuffled(keys)
    on = ring(NODES)
    found = {key: on[key] for key in stored}
    _, chosen = sample(keys)
    assert [on[key] for key in chosen] == [on.names[at] for at in expected_owners(on, chosen)]

    def answers(mapping: Any) -> list[str]:
        return [mapping[key] for key in keys]

    compare(
        Case(
            f'ring["user:..."], {KEYS:,} distinct keys ({order}), {NODES} nodes',
            "call",
            [
                Contestant(
                    "ringleader",
                    peers.subscript_loop(on, keys),
                    KEYS,
                    "ours",
                    answers=lambda: answers(on),
                ),
                Contestant("the loop alone", peers.empty_loop(keys), KEYS, "floor"),
                Contestant(
                    "dict[key]",
                    peers.subscript_loop(found, keys),
                    KEYS,
                    answers=lambda: answers(found),
                ),
                *(rival(peer, keys) for peer in peers.LOOKUPS),
            ],
            [AtMost(45), Faster(4, "dict[key]")] if arriving else [],
        )
    )
