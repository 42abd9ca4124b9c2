"""What each tier of a cluster is due of a table of partitions.

Nodes stand in a tree: region (`Node.dc`), zone (`Node.zone`), server, node.  Three questions are
answered here, in this order, each for every tier of the tree:

1. `shares`: how many replicas of an average partition belong there, a real number.  By weight
   alone it would be the node's weight; for replicas to stand as far apart as they can, the tiers
   with few nodes must take more.  `overload` says how much more than its weight a node may take.
2. `cells`: the same in whole cells of the table, so that a parent's are the sum of its children's.
   Of the two whole numbers around a share, the nearer one, and of equals the one that moves less.
3. `limits`: the most replicas of one partition.

The tiers, and the notion of "as unique as possible" up to an overload, are those of OpenStack
Swift's ring (docs.openstack.org/swift/latest/overview_ring.html).  What differs: Swift scales the
way from weights to full dispersion by one factor for the whole cluster, so that the node in
greatest need decides for all; here each node goes up to its own bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader.placement.node import Node

LEVELS = 4
SERVER_TAG = "server"
#: Rounding errors of the shares stay far below it, and no share of weight is as small.
EPSILON = 1e-9


def server_of(node: Node) -> str:
    """The server that a node stands on: its tag "server", or the host of its address, or "".

    A host is what precedes the port: "10.0.0.1" of "10.0.0.1:6200", "::1" of "[::1]:6200".  A node
    without either is a server of its own.
    """
    if SERVER_TAG in node.tags:
        return node.tags[SERVER_TAG]
    address = node.address
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address if address.count(":") > 1 else address.partition(":")[0]


def _path(node: Node) -> tuple[str, str, tuple[bool, str], str]:
    server = server_of(node)
    return node.dc, node.zone, (not server, server or node.name), node.name


class Topology:
    """The tree of tiers of some nodes.

    Tiers are numbered level by level, each level in the order of the tiers' names, so that the
    children of a tier are neighbours and the leaves, one for each node, come last.

    Attributes:
        nodes: in the order of their positions.
        first_child: where the children of each tier that is no leaf begin, and their end.
        parents: the parent of each tier; 0 for the root.
        paths: uint32, shape (leaves, 4): region, zone, server and leaf of each leaf.
        leaf_of: uint32: the leaf of each position.
        position_of: uint32: the position of each leaf (counted from the first leaf).
        weights: of the leaves, float64, none above 1.
    """

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        named = sorted((_path(node), position) for position, node in enumerate(nodes))
        self.first_child: list[int] = []
        self.parents = [0]
        paths: list[list[int]] = [[] for _ in named]
        above = [0] * len(named)  # the tier of each leaf on the level before
        for level in range(LEVELS):
            last = -1
            for i, (path, _) in enumerate(named):
                opens = i == 0 or path[: level + 1] != named[i - 1][0][: level + 1]
                if opens:
                    if above[i] != last:
                        last = above[i]
                        self.first_child.append(len(self.parents))
                    self.parents.append(last)
                paths[i].append(len(self.parents) - 1)
            above = [path[level] for path in paths]
        self.tier_count = len(self.parents)
        self.leaf_first = self.tier_count - len(named)
        self.first_child.append(self.tier_count)
        self.paths = np.array(paths, dtype=np.uint32).reshape(-1, LEVELS)
        self.position_of = np.array([position for _, position in named], dtype=np.uint32)
        self.leaf_of = np.empty(len(named), dtype=np.uint32)
        self.leaf_of[self.position_of] = np.arange(self.leaf_first, self.tier_count)
        weights = np.array([nodes[position].weight for _, position in named], dtype=np.float64)
        largest = weights.max(initial=0.0)
        if largest > 0:  # sums must not overflow, and no weight vanish beside a much larger one
            least = np.where(weights > 0, np.finfo(np.float64).tiny, 0.0)
            weights = np.maximum(weights / largest, least)
        self.weights = weights

    def children(self, tier: int) -> range:
        """The tiers below one that is no leaf."""
        return range(self.first_child[tier], self.first_child[tier + 1])

    def summed(self, of_leaves: Sequence[Any] | NDArray[Any]) -> list[Any]:
        """A number for each leaf, as sums for each tier."""
        sums = [0] * self.leaf_first + list(of_leaves)
        for tier in range(self.tier_count - 1, 0, -1):
            sums[self.parents[tier]] += sums[tier]
        return sums

    def even(self, replicas: float, *, rounded: bool) -> list[float]:
        """Replicas of each tier if all children of a tier had as many; 0 where no weight is.

        Args:
            replicas: of the root.
            rounded: round up at each level, for the most that a partition needs at a tier.
        """
        live = self.summed((self.weights > 0).astype(int).tolist())
        even = [0.0] * self.tier_count
        even[0] = replicas
        for tier in range(self.leaf_first):
            children = [child for child in self.children(tier) if live[child]]
            for child in children:
                each = even[tier] / len(children)
                if rounded:
                    each = float(math.ceil(each - EPSILON))
                even[child] = min(1.0, each) if child >= self.leaf_first else each
        return even


def by_weight(weights: NDArray[np.float64], replicas: float) -> list[float]:
    """Replicas of each leaf in proportion to its weight, but none above 1.

    There are at least `replicas` positive weights.
    """
    order = sorted(range(len(weights)), key=lambda i: (-weights[i], i))
    behind = np.cumsum(weights[order][::-1])[::-1].tolist()  # of this one and all lighter ones
    shares = [0.0] * len(weights)
    left = replicas
    for rank, i in enumerate(order):
        weight = float(weights[i])
        if weight <= 0:
            break
        if weight * left < behind[rank]:
            for lighter in order[rank:]:
                shares[lighter] = float(weights[lighter]) * left / behind[rank]
            break
        shares[i] = 1.0
        left = max(0.0, left - 1.0)
    return shares


def _filled(
    amount: float, rates: list[float], least: list[float], most: list[float]
) -> list[float]:
    """`amount` in proportion to `rates`, each part within its bounds, which allow it."""
    parts = [0.0] * len(rates)
    active = [i for i in range(len(rates)) if rates[i] > 0]
    left = amount
    while active:
        rate = max(left, 0.0) / math.fsum(rates[i] for i in active)
        low = [i for i in active if rates[i] * rate < least[i]]
        high = [i for i in active if rates[i] * rate > most[i]]
        over = math.fsum(least[i] - rates[i] * rate for i in low)
        under = math.fsum(rates[i] * rate - most[i] for i in high)
        # Whichever bound matters more holds in the end, too.
        settled, bound = (low, least) if over > under else (high, most)
        if not settled:
            for i in active:
                parts[i] = rates[i] * rate
            break
        for i in settled:
            parts[i] = bound[i]
            left -= bound[i]
        gone = set(settled)
        active = [i for i in active if i not in gone]
    return parts


def shares(topology: Topology, replicas: float, overload: float) -> list[float]:
    """The replicas of an average partition that belong to each tier.

    The sum over siblings is their parent's.  A node gets at most its share by weight times
    1 + overload, and at most 1.  Within that every tier is kept between the whole numbers around
    an even split, as far as it goes: then no partition has two replicas where one would do.
    """
    weighted_leaves = by_weight(topology.weights, replicas)
    weighted = topology.summed(weighted_leaves)
    room = topology.summed([min(1.0, share * (1.0 + overload)) for share in weighted_leaves])
    even = topology.even(replicas, rounded=False)
    due = [0.0] * topology.tier_count
    due[0] = replicas
    for tier in range(topology.leaf_first):
        children = [child for child in topology.children(tier) if room[child] > 0]
        caps = [room[child] for child in children]
        least = [
            min(math.floor(even[child] + EPSILON), cap)
            for child, cap in zip(children, caps, strict=True)
        ]
        most = [
            min(math.ceil(even[child] - EPSILON), cap)
            for child, cap in zip(children, caps, strict=True)
        ]
        if math.fsum(least) > due[tier] + EPSILON:  # the tier itself gets less than an even split
            least = [0.0] * len(children)
        if math.fsum(most) < due[tier] - EPSILON:  # no way but to crowd some
            least, most = most, caps
        parts = _filled(due[tier], [weighted[child] for child in children], least, most)
        for child, part in zip(children, parts, strict=True):
            due[child] = part
    return due


def cells(
    topology: Topology, due: list[float], parts: int, total: int, now: Sequence[int]
) -> list[int]:
    """The cells of the table that each tier wants: `due` times `parts`, in whole numbers.

    Args:
        total: of the root.
        now: the cells that each tier has; of equally good roundings the one that moves less is
            taken.
    """
    wanted = [0] * topology.tier_count
    wanted[0] = total
    most = topology.summed([parts if share > 0 else 0 for share in due[topology.leaf_first :]])
    if most[0] < total:  # shares so small that they were rounded to nothing are needed after all
        most = topology.summed([parts if weight > 0 else 0 for weight in topology.weights])
    for tier in range(topology.leaf_first):
        children = [child for child in topology.children(tier) if most[child]]
        exact = {child: due[child] * parts for child in children}
        for child in children:
            wanted[child] = min(math.floor(exact[child] + EPSILON * parts), most[child])
        left = wanted[tier] - sum(wanted[child] for child in children)
        while left:
            step = 1 if left > 0 else -1
            movable = [
                child
                for child in children
                if (wanted[child] < most[child] if left > 0 else wanted[child] > 0)
            ]
            movable.sort(
                key=lambda child: (
                    round(step * (wanted[child] - exact[child]), 6),  # the nearest comes first
                    step * (wanted[child] - now[child]) >= 0,  # then what moves less
                    child,
                )
            )
            for child in movable[: abs(left)]:
                wanted[child] += step
                left -= step
    return wanted


def limits(wanted: Sequence[int], parts: int) -> list[int]:
    """The replicas that any one partition needs at each tier, at most."""
    return [-(-want // parts) for want in wanted]
