"""The hash ring: consistent hashing with virtual nodes (Karger et al., STOC 1997).

The mapping is *placement format v1*, published in docs/formats.md with golden vectors.  In short,
with H the ring's hash under its seed, and le64 eight little-endian bytes:

    token(node, i) = H( le64(H(name)) + le64(i) )      for i in 0 .. points(node) - 1
    points(node)   = floor(weight * vnodes + 1/2), at least 1 for a positive weight
    owner(key)     = the node of the first token >= H(key), wrapping past the last to the first;
                     equal tokens stand in the order of their nodes' names

so that a ring is a pure function of the set of its nodes and its settings.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeVar

from ringleader import limits
from ringleader.errors import DuplicateNode, LimitError, SettingError
from ringleader.hashing import resolve_hash
from ringleader.placement import saved
from ringleader.placement.located import checked_int, found_position, position_of
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.points import PointRing
from ringleader.placement.ranges import Space

Self = TypeVar("Self", bound="HashRing")


def points_of(node: Node, vnodes: int) -> int:
    """How many points a node has on a ring (placement format v1)."""
    if node.weight == 0:
        return 0
    exact = node.weight * vnodes + 0.5
    if exact > limits.POINTS_MAX:
        raise LimitError(
            f"node {node.name!r} of weight {node.weight} would get more than "
            f"{limits.POINTS_MAX} points at vnodes={vnodes}; scale the weights down"
        )
    return max(1, math.floor(exact))


def _checked_points(total: int) -> None:
    if total > limits.POINTS_MAX:
        raise LimitError(
            f"the ring would have {total} points; at most {limits.POINTS_MAX} are allowed: "
            "use fewer vnodes, or smaller weights"
        )


class HashRing(PointRing):
    """A hash ring: `ring[key]` is the name of the node that owns `key`.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order.
        vnodes: points of a node of weight 1; more of them spread keys more evenly (the standard
            deviation of the load is about 1 / sqrt(vnodes)) and cost memory.
        hash: "xxh3" (default), "xxh64", "murmur3" (x64-128, first half) or "siphash13" (keyed:
            for keys that an adversary chooses).
        seed: of the hash; for siphash13 the 128-bit key as a little-endian integer.

    Any number of threads may look up while others change the ring: a change builds a new table
    and swaps it, so that every lookup sees the ring before or after it, whole, and never waits.
    Positions (`lookup`) refer to the `nodes` of the state looked up in; where others may change
    the ring in between, look up in a `copy()`, which costs nothing.

    Cost: a lookup O(1) on average; adding or removing a node O(points) of plain copying; building
    O(points).  Memory: about 20 bytes a point, and a table of 16 to 128 bytes a point (7 MB in all
    at 160,000 points); twice that once the ring has changed, for the spare of the next change.

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `Node` and `add_node`.
        SettingError, SettingTypeError: unknown hash, or vnodes or seed out of range.
        LimitError: more points or nodes than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        vnodes: int = 160,
        hash: str = "xxh3",
        seed: int = 0,
    ) -> None:
        vnodes = checked_int("vnodes", vnodes)
        if not 1 <= vnodes <= limits.VNODES_MAX:
            raise SettingError(f"vnodes={vnodes} is not in 1 ... {limits.VNODES_MAX}")
        kind, seed_lo, seed_hi = resolve_hash(hash, seed)
        self._settings = (vnodes, hash, operator.index(seed))
        self._changing = threading.Lock()
        members = sorted_nodes(nodes)
        counts = [points_of(node, vnodes) for node in members]
        _checked_points(sum(counts))
        self._build(kind, seed_lo, seed_hi, members, counts)

    # --- what the ring is -----------------------------------------------------------------------

    @property
    def vnodes(self) -> int:
        """Points of a node of weight 1."""
        return self._settings[0]

    @property
    def hash(self) -> str:
        """The name of the ring's hash."""
        return self._settings[1]

    @property
    def seed(self) -> int:
        """The hash's seed."""
        return self._settings[2]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashRing):
            return NotImplemented
        return self._settings == other._settings and self.nodes == other.nodes

    def __repr__(self) -> str:
        table = self.table
        names = [repr(node.name) for node in table.nodes]
        if len(names) > 6:
            names[3:-1] = ["..."]
        return (
            f"<{type(self).__name__} of {len(table.nodes)} nodes [{', '.join(names)}], "
            f"{table.point_count} points, vnodes={self.vnodes}, hash={self.hash!r}, "
            f"seed={self.seed if self.hash != 'siphash13' else '(secret)'}>"
        )

    @property
    def space(self) -> Space:
        """Which hash space the ring cuts into ranges."""
        return Space("hash", self.hash, self.seed)

    # --- changes --------------------------------------------------------------------------------

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Add a node.  Only keys that now belong to it move.

        Args:
            node: a name, or a `Node`, which carries its own weight.
            weight: of a node given by name.

        Raises:
            DuplicateNode: the ring has a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        added = as_node(node, weight)
        count = points_of(added, self.vnodes)
        with self._changing:
            table = self.table
            position, found = position_of(table.nodes, added.name)
            if found:
                raise DuplicateNode(
                    f"the ring already has a node {added.name!r}; set_weight() changes its weight"
                )
            if len(table.nodes) >= limits.NODES_MAX:
                raise LimitError(f"the ring has {len(table.nodes)} nodes, as many as it may")
            _checked_points(table.point_count + count)
            self._add(position, added, count)

    def remove_node(self, name: str) -> None:
        """Remove a node.  Only the keys it owned move.

        Raises:
            NodeNotFound: the ring has no node of this name.
        """
        with self._changing:
            self._drop(found_position(self.nodes, name))

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight; 0 drains it.  Only keys to or from this node move.

        Raises:
            NodeNotFound: the ring has no node of this name.
            WeightError, NodeTypeError, LimitError: as `Node`.
        """
        with self._changing:
            table = self.table
            position = found_position(table.nodes, name)
            node = table.nodes[position].with_weight(weight)  # type: ignore[attr-defined]
            count = points_of(node, self.vnodes)
            _checked_points(table.point_count - int(table.counts()[position]) + count)
            self._set(position, node, count)

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """A ring that is equal now and changes on its own.  Shares the table: O(1)."""
        twin = type(self).__new__(type(self))
        twin._settings = self._settings
        twin._changing = threading.Lock()
        twin._share(self)
        return twin

    def to_bytes(self) -> bytes:
        """The ring, saved (docs/formats.md): settings and nodes, checksummed.

        The same ring gives the same bytes on every platform.
        """
        return saved.dump(saved.SavedRing(self.vnodes, self.hash, self.seed, self.nodes))

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        points_max: int = limits.POINTS_MAX,
    ) -> Self:
        """The ring that `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Args:
            points_max: refuse a ring of more points.  A small file can ask for many, and a point
                takes about 40 bytes: bound it where the bytes are not yours.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved ring.
            VersionError: they were written by a newer version.
            LimitError: the ring has more than `points_max` points.
            FormatTypeError, SettingTypeError: `data` is no bytes, `points_max` no int.
        """
        points_max = checked_int("points_max", points_max)
        ring = saved.load(data)
        total = sum(points_of(node, ring.vnodes) for node in ring.nodes)
        if total > points_max:
            raise LimitError(f"the saved ring has {total} points; points_max={points_max}")
        return cls(ring.nodes, vnodes=ring.vnodes, hash=ring.hash, seed=ring.seed)
