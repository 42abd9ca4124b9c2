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
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import (
    DuplicateNode,
    LimitError,
    NodeNotFound,
    NodeTypeError,
    SettingError,
    SettingTypeError,
)
from ringleader.hashing import resolve_hash
from ringleader.keys import KeyColumn, compute
from ringleader.placement import saved
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.stats import RingStats

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


class HashRing(kernels.ring.RingBase):
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
        vnodes = _checked_int("vnodes", vnodes)
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

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in the order of their positions: sorted by name."""
        return self.table.nodes  # type: ignore[return-value]

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names, in the order of their positions."""
        return self.table.names

    @property
    def point_count(self) -> int:
        """Points on the ring, all nodes together."""
        return self.table.point_count

    @property
    def tokens(self) -> NDArray[np.uint64]:
        """A copy of the points' tokens, ascending."""
        return self.table.tokens()

    @property
    def token_owners(self) -> NDArray[np.uint32]:
        """The position of each token's node."""
        return self.table.owners()

    @property
    def nbytes(self) -> int:
        """Bytes that the lookup tables take."""
        return self.table.nbytes

    def __len__(self) -> int:
        return len(self.table.nodes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        if isinstance(name, Node):
            name = name.name
        return isinstance(name, str) and _position(self.nodes, name)[1]

    def node(self, name: str) -> Node:
        """The node of this name.

        Raises:
            NodeNotFound: there is none.
        """
        nodes = self.nodes
        return nodes[_found(nodes, name)]

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

    # --- lookups of whole columns ---------------------------------------------------------------

    def lookup(
        self, keys: KeyColumn, out: NDArray[np.uint32] | None = None, threads: int = 1
    ) -> NDArray[np.uint32]:
        """The position in `nodes` of each key's owner.

        Args:
            keys: any column of keys (`ringleader.keys`): list, iterator, NumPy array, anything
                with the Arrow PyCapsule protocol.
            out: where to write: uint32, shape (len(keys),), C-contiguous.
            threads: how many threads share the work; columns of Python objects use one.

        Returns:
            `out`, or a new uint32 array of shape (len(keys),).

        Raises:
            KeyTypeError, KeyRangeError, KeyEncodingError: a key is none; names its position.
            ColumnError: an Arrow column is damaged.
            OutputError, OutputTypeError: `out` does not fit; nothing was written.
            EmptyRingError: no node has a positive weight.

        Cost: O(1) a key: a hash and, nearly always, one access to the table.
        """
        table = self.table
        table.check_wanted(1)
        return compute(keys, table.lookup, np.uint32, None, out, threads)

    def lookup_replicas(
        self, keys: KeyColumn, n: int, out: NDArray[np.uint32] | None = None, threads: int = 1
    ) -> NDArray[np.uint32]:
        """The positions of each key's first `n` distinct nodes, clockwise, owner first.

        Args and errors as `lookup`, and:
            n: how many; `out` has the shape (len(keys), n).

        Raises:
            TooFewNodes: fewer than `n` nodes have a positive weight, or n < 1.
            SettingTypeError: `n` is no int.

        Cost: O(n) a key where the nodes' weights are alike; a walk passes over points of nodes it
        has met, up to all of them where a few nodes have nearly all the weight.
        """
        table = self.table
        n = table.check_wanted(n)
        return compute(keys, table.lookup_replicas, np.uint32, n, out, threads)

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
            position, found = _position(table.nodes, added.name)
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
            self._drop(_found(self.nodes, name))

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight; 0 drains it.  Only keys to or from this node move.

        Raises:
            NodeNotFound: the ring has no node of this name.
            WeightError, NodeTypeError, LimitError: as `Node`.
        """
        with self._changing:
            table = self.table
            position = _found(table.nodes, name)
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

    __copy__ = copy

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self).from_bytes, (self.to_bytes(),))

    def stats(self) -> RingStats:
        """The exact share of the hash space of each node, against its weight.

        Cost: O(points).
        """
        table = self.table
        nodes: tuple[Node, ...] = table.nodes  # type: ignore[assignment]
        weights = np.array([node.weight for node in nodes], dtype=np.float64)
        return RingStats.of(table.names, weights, table.counts(), table.arcs())

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
        points_max = _checked_int("points_max", points_max)
        ring = saved.load(data)
        total = sum(points_of(node, ring.vnodes) for node in ring.nodes)
        if total > points_max:
            raise LimitError(f"the saved ring has {total} points; points_max={points_max}")
        return cls(ring.nodes, vnodes=ring.vnodes, hash=ring.hash, seed=ring.seed)


def _checked_int(name: str, value: object) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SettingTypeError(f"{name} must be an int, not {type(value).__name__}")
    return operator.index(value)


def _position(nodes: tuple[Any, ...], name: str) -> tuple[int, bool]:
    """Where a node of this name stands or would stand, and whether it does."""
    position = bisect_left(nodes, name, key=lambda node: node.name)
    return position, position < len(nodes) and nodes[position].name == name


def _found(nodes: tuple[Any, ...], name: str) -> int:
    if not isinstance(name, str):
        raise NodeTypeError(f"a node's name is a str, not {type(name).__name__}")
    position, found = _position(nodes, name)
    if not found:
        raise NodeNotFound(
            f"the ring has no node {name!r}; its {len(nodes)} nodes are in ring.names"
        )
    return position
