"""Where a balanced ring's points stand: a ring from nothing, and the change of one node.

csrc/balance.h tells how points are chosen on one circle.  A policy can make several circles of
a ring: where every zone (or datacenter) holds exactly one replica of a key, the replica in a zone
is the first of the zone's own points from the key on, whatever points of others stand between.
So each such zone is a circle of its own, shared out among its own nodes.  Where several
replicas of a key stand on one circle, spreading.py takes over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.hashing import xxh3_64
from ringleader.placement import spreading
from ringleader.placement.node import Node
from ringleader.placement.topology import Replicas

#: A weight of 1 in the kernel's units.
WEIGHT_UNIT = 1 << 32
CIRCLE = 1 << 64


class Points(NamedTuple):
    """Tokens by node, each node's ascending, and how many each node has."""

    tokens: NDArray[np.uint64]
    counts: NDArray[np.uint32]


def units_of(node: Node) -> int:
    """A weight as the kernels take it: in units of 2**-32, at least one if it is positive."""
    return max(1, int(node.weight * WEIGHT_UNIT + 0.5)) if node.weight > 0 else 0


def circles(nodes: Sequence[Node], policy: Replicas | None) -> list[tuple[str, ...]]:
    """For each node, which circle it shares out with others that have the same."""
    if policy is None:
        return [()] * len(nodes)
    spread_zones = policy.spread == "zone"
    live: dict[str, set[tuple[str, str]]] = {}
    for node in nodes:
        if node.weight > 0:
            within = "" if policy.by_dc is None else node.dc
            live.setdefault(within, set()).add((node.dc, node.zone if spread_zones else ""))
    keys: list[tuple[str, ...]] = []
    for node in nodes:
        within = "" if policy.by_dc is None else node.dc
        wanted = policy.total if policy.by_dc is None else policy.by_dc.get(node.dc, 1)
        if policy.spread != "node" and len(live.get(within, ())) == wanted:
            keys.append((within, node.dc, node.zone if spread_zones else ""))
        else:
            keys.append((within,))
    return keys


def scattered(node: Node, count: int) -> NDArray[np.uint64]:
    """Points of a first node: one anywhere in each of `count` equal parts.

    At equal distances they would make all of a circle alike, and later nodes with several replicas
    of a key on it could not be told apart by where a point is put.
    """
    part = CIRCLE // count
    return np.array(
        [
            (at * part + (xxh3_64(f"{node.name}/{at}") * part >> 64))
            // spreading.UNIT * spreading.UNIT
            for at in range(count)
        ],
        dtype=np.uint64,
    )  # fmt: skip


def feasible(nodes: Sequence[Node], policy: Replicas) -> list[int]:
    """What each node should hold of all replicas, as near to its weight as the policy allows.

    Returns:
        For each node, of `spreading.CIRCLE` for each key; 0 where the policy names others.
    """
    units = [units_of(node) for node in nodes]
    if policy.by_dc is None:
        return spreading.dues_of(nodes, units, policy)
    dues = [0] * len(nodes)
    for dc, count in policy.by_dc.items():
        own = [unit if node.dc == dc else 0 for node, unit in zip(nodes, units, strict=True)]
        part = spreading.dues_of(nodes, own, Replicas({dc: count}, policy.spread))
        dues = [max(pair) for pair in zip(dues, part, strict=True)]
    return dues


def _offset(node: Node) -> int:
    """Where the first node of a circle has its first point."""
    return xxh3_64(node.name)


def built(nodes: Sequence[Node], asked: Sequence[int], policy: Replicas | None) -> Points:
    """The points of nodes that were added one after the other, in the order of their names.

    Args:
        nodes: in that order.
        asked: how many points each node's weight asks for.
    """
    if policy is None:
        units = np.array([units_of(node) for node in nodes], dtype=np.uint64)
        live = [node for node in nodes if node.weight > 0]
        offset = _offset(live[0]) if live else 0
        return Points(
            *kernels.balance.build(
                units, np.array(asked, dtype=np.uint32), offset, limits.POINTS_MAX
            )
        )
    points = Points(np.empty(0, np.uint64), np.empty(0, np.uint32))
    for position in range(len(nodes)):
        tokens, owners = in_order(points)
        points = changed(
            tokens, owners, nodes[: position + 1], asked[: position + 1], policy, position
        )
    return points


def in_order(points: Points) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Tokens, ascending, and the position of each token's node."""
    owners = np.repeat(np.arange(len(points.counts), dtype=np.uint32), points.counts)
    order = np.argsort(points.tokens, kind="stable")
    return points.tokens[order], owners[order]


def changed(
    tokens: NDArray[np.uint64],
    owners: NDArray[np.uint32],
    nodes: Sequence[Node],
    asked: Sequence[int],
    policy: Replicas | None,
    position: int,
) -> Points:
    """The points after a change of one node, which gets or gives back what its weight asks for.

    Args:
        tokens, owners: the points before, ascending; owners are positions in `nodes`.
        nodes, asked: after the change; a node that goes is still there, with weight 0.
        position: of the node that changes.
    """
    keys = circles(nodes, policy)
    mine = np.array([key == keys[position] for key in keys], dtype=bool)
    units = [units_of(node) if own else 0 for node, own in zip(nodes, mine.tolist(), strict=True)]
    counts = [count if own else 0 for count, own in zip(asked, mine.tolist(), strict=True)]
    others = np.zeros(len(tokens), dtype=bool)
    if not mine.all():
        others = ~mine[owners]
    # Circles that became one can have points in the same place: the first owns the range.
    ours = ~others
    inside = tokens[ours]
    twice = np.zeros(len(inside), dtype=bool)
    if len(inside):
        np.equal(inside[1:], inside[:-1], out=twice[1:])
    if twice.any():
        others[np.flatnonzero(ours)[twice]] = True
        ours = ~others
    within = None if policy is None else several(nodes, keys, policy, position)

    def plain() -> Points:
        return Points(
            *kernels.balance.change(
                tokens[ours], owners[ours], units, counts, position, _offset(nodes[position]),
                limits.POINTS_MAX - int(others.sum()),
            )
        )  # fmt: skip

    spread = None
    if within is not None and ours.any():
        spread = spreading.changed(
            tokens[ours], owners[ours], nodes, units, counts, within, position,
            lambda: in_order(plain()),
        )  # fmt: skip
    if spread is not None:
        found = by_node(*spread, len(nodes))
    elif policy is not None and units[position] and not ours.any():
        count = min(counts[position], limits.POINTS_MAX - int(others.sum()))
        first = scattered(nodes[position], count)
        found = by_node(first, np.full(count, position, dtype=np.uint32), len(nodes))
    else:
        found = plain()
    others &= owners != position
    if not others.any():
        return found
    own = np.repeat(np.arange(len(nodes), dtype=np.uint32), found.counts)
    return by_node(
        np.concatenate([found.tokens, tokens[others]]),
        np.concatenate([own, owners[others]]),
        len(nodes),
    )


def by_node(tokens: NDArray[np.uint64], owners: NDArray[np.uint32], node_count: int) -> Points:
    """Points in any order, by node."""
    order = np.lexsort((tokens, owners))
    return Points(tokens[order], np.bincount(owners, minlength=node_count).astype(np.uint32))


def several(
    nodes: Sequence[Node], keys: Sequence[tuple[str, ...]], policy: Replicas, position: int
) -> Replicas | None:
    """The policy on the circle of this node, where a key has several replicas on it."""
    if len(keys[position]) == 3:  # one zone's, or one datacenter's
        return None
    if policy.by_dc is None:
        return policy if policy.total > 1 else None
    dc = nodes[position].dc
    count = policy.by_dc.get(dc, 1)
    return Replicas({dc: count}, policy.spread) if count > 1 else None
