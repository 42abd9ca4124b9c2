"""What moves between two rings: exact ranges, with and without a policy, and the plan."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import VNODES, names, scaled
from bench.harness import AtMost, Case, Compare, Contestant
from ringleader import HashRing, Node
from ringleader.placement import Replicas

NODES = scaled(1_000, 20)
JOINING = scaled(10, 2)


def rings() -> tuple[HashRing, HashRing]:
    nodes = [
        Node(name, dc=f"dc{number % 3}", zone=f"zone{number % 9}")
        for number, name in enumerate(names(NODES + JOINING))
    ]
    return HashRing(nodes[:NODES], vnodes=VNODES), HashRing(nodes, vnodes=VNODES)


def merged(old: HashRing, new: HashRing) -> tuple[NDArray[Any], ...]:
    """NumPy's way: all tokens of both, searched in each; neighbours are not joined."""
    ends = np.union1d(old.tokens, new.tokens)
    owners = [
        np.array(on.names)[on.token_owners[np.searchsorted(on.tokens, ends) % on.point_count]]
        for on in (old, new)
    ]
    moved = np.flatnonzero(owners[0] != owners[1])
    return ends[moved - 1], ends[moved], owners[0][moved], owners[1][moved]


def test_diff(compare: Compare) -> None:
    old, new = rings()
    starts, ends, _, _ = merged(old, new)
    movement = old.diff(new)
    assert int((ends - starts).sum(dtype=np.uint64)) == movement.length
    compare(
        Case(
            f"diff of two rings of {NODES:,} x {VNODES}",
            "movement",
            [
                Contestant(
                    "ringleader",
                    lambda: old.diff(new).starts,
                    1,
                    "ours",
                    answers=lambda: [old.diff(new).length],
                ),
                Contestant(
                    "NumPy, searchsorted in both",
                    lambda: merged(old, new),
                    1,
                    answers=lambda: [merged(old, new)[1].tolist()],
                ),
            ],
            [AtMost(5e6)],
        )
    )


def test_diff_of_replicas(compare: Compare) -> None:
    old, new = rings()
    policy = Replicas({"dc0": 2, "dc1": 2, "dc2": 2}, spread="zone")
    compare(
        Case(
            f"diff of 3 datacenters x 2 replicas, {NODES:,} x {VNODES}",
            "movement",
            [
                Contestant(
                    "ringleader",
                    lambda: old.diff(new, policy).starts,
                    1,
                    "ours",
                    answers=lambda: [old.diff(new, policy).length],
                ),
                Contestant(
                    "ranges of both alone",
                    lambda: (old.ranges(policy), new.ranges(policy)),
                    1,
                    "floor",
                    answers=lambda: [int(old.ranges(policy).owners.sum())],
                ),
            ],
            [],
        )
    )


def test_plan(compare: Compare) -> None:
    old, new = rings()
    movement = old.diff(new)

    def made() -> Any:
        return movement.plan(max_concurrent_per_node=2, max_bytes_per_s=1e8, bytes_per_share=10**13)

    compare(
        Case(
            f"plan of {JOINING} nodes joining {NODES:,} x {VNODES}",
            "movement",
            [Contestant("ringleader", made, 1, "ours", answers=lambda: [repr(made().seconds)])],
            [],
        )
    )
