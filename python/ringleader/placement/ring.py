"""The hash ring: consistent hashing with virtual nodes (Karger et al., STOC 1997).

The mapping is *placement format v1*, published in docs/formats.md with golden vectors.  In short,
with H the ring's hash under its seed, and le64 eight little-endian bytes:

    token(node, i) = H( le64(H(name)) + le64(i) )      for i in 0 .. points(node) - 1
    points(node)   = floor(weight * vnodes + 1/2), at least 1 for a positive weight
    owner(key)     = the node of the first token >= H(key), wrapping past the last to the first;
                     equal tokens stand in the order of their nodes' names

so that a ring is a pure function of the set of its nodes and its settings.

With `placement="balanced"` the tokens are not hashes: they are chosen so that every node owns its
due with few points (csrc/balance.h, docs/balanced.md).  Such a ring depends on its history.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import limits
from ringleader.errors import (
    LimitError,
    PolicyTypeError,
    SettingError,
    SettingTypeError,
)
from ringleader.hashing import resolve_hash
from ringleader.placement import balanced, saved
from ringleader.placement.located import (
    checked_int,
    checked_names,
    found_position,
    heading,
    joined,
    position_of,
)
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.points import PointRing
from ringleader.placement.ranges import Space
from ringleader.placement.topology import Replicas

#: How a ring's points get their tokens.
PLACEMENTS = ("hashed", "balanced")

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


def _check_placement(placement: object, replicas: object) -> None:
    if not isinstance(placement, str):
        raise SettingTypeError(f"placement must be a str, not {type(placement).__name__}")
    if placement not in PLACEMENTS:
        raise SettingError(f"placement={placement!r} is not one of {', '.join(PLACEMENTS)}")
    if replicas is None:
        return
    if not isinstance(replicas, Replicas):
        raise PolicyTypeError(f"replicas must be a Replicas, not {type(replicas).__name__}")
    if placement != "balanced":
        raise SettingError(
            'replicas is for placement="balanced": hashed points do not depend on a policy'
        )


def _circle(points: balanced.Points) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Tokens, ascending, and their owners."""
    owners = np.repeat(np.arange(len(points.counts), dtype=np.uint32), points.counts)
    order = np.argsort(points.tokens, kind="stable")
    return points.tokens[order], owners[order]


class HashRing(PointRing):
    """A hash ring: `ring[key]` is the name of the node that owns `key`.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order.
        vnodes: points of a node of weight 1; more of them spread keys more evenly (the standard
            deviation of the load is about 1 / sqrt(vnodes)) and cost memory.
        hash: "xxh3" (default), "xxh64", "murmur3" (x64-128, first half) or "siphash13" (keyed:
            for keys that an adversary chooses).
        seed: of the hash; for siphash13 the 128-bit key as a little-endian integer.
        placement: "hashed" (default): a node's points are hashes of its name.  "balanced": they
            are chosen so that each node owns its due, to about 1 / (2 * vnodes), as
            docs/balanced.md tells.
        replicas: a policy whose replicas a balanced ring evens out, instead of first owners alone;
            best where each zone (or datacenter) holds one replica of a key, as with
            `Replicas(3, spread="zone")` over three zones.

    A hashed ring is a pure function of the set of its nodes and its settings.  A balanced ring
    depends on its history, too: the same nodes that came in another order may stand elsewhere.
    Built of several nodes it takes them in the order of their names; it is saved with its points
    (`to_bytes`), and two are equal only if their points are.  A change moves no more than what the
    node that changes gains or gives back, and where it comes, goes or changes its weight that is
    what its weight asks for; vnodes below 4 are too few for that.  Weights count in units of
    2**-32.  After removals a node can have more points than its weight asks for: the ring up to
    four times as many, or as many as it had.

    Any number of threads may look up while others change the ring: a change builds a new table
    and swaps it, so that every lookup sees the ring before or after it, whole, and never waits.
    Positions (`lookup`) refer to the `nodes` of the state looked up in; where others may change
    the ring in between, look up in a `copy()`, which costs nothing.

    Cost: a lookup O(1) on average; adding or removing a node O(points) of plain copying; building
    O(points).  Where balanced, choosing points takes as long again for one node, and O(nodes**2)
    for all (about a second for 1000 x 160); several times that under a policy whose replicas share
    a circle.  Memory: about 20 bytes a point, and a table of 16 to 128 bytes a point (7 MB in all
    at 160,000 points); twice that once the ring has changed, for the spare of the next change.

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `Node` and `add_node`.
        SettingError, SettingTypeError: unknown hash, or vnodes or seed out of range.
        PolicyTypeError: `replicas` is no `Replicas`.
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
        placement: str = "hashed",
        replicas: Replicas | None = None,
    ) -> None:
        vnodes = checked_int("vnodes", vnodes)
        if not 1 <= vnodes <= limits.VNODES_MAX:
            raise SettingError(f"vnodes={vnodes} is not in 1 ... {limits.VNODES_MAX}")
        _check_placement(placement, replicas)
        kind, seed_lo, seed_hi = resolve_hash(hash, seed)
        self._settings = (vnodes, hash, operator.index(seed))
        self._placement, self._policy = placement, replicas
        self._changing = threading.Lock()
        members = sorted_nodes(nodes)
        counts = [points_of(node, vnodes) for node in members]
        _checked_points(sum(counts))
        if placement == "hashed":
            self._build(kind, seed_lo, seed_hi, members, counts)
        else:
            self._put(members, balanced.built(members, counts, replicas))

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
    def placement(self) -> str:
        """How the points get their tokens: "hashed" or "balanced"."""
        return self._placement

    @property
    def replicas(self) -> Replicas | None:
        """The policy whose replicas a balanced ring evens out."""
        return self._policy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HashRing):
            return NotImplemented
        mine, others = self.table, other.table
        if (
            self._settings != other._settings
            or self._placement != other._placement
            or self._policy != other._policy
            or mine.nodes != others.nodes
        ):
            return False
        if self._placement == "hashed" or mine is others:
            return True
        return np.array_equal(mine.tokens(), others.tokens()) and np.array_equal(
            mine.owners(), others.owners()
        )

    def __repr__(self) -> str:
        table = self.table
        return (
            f"<{heading(self, table.names)}, "
            f"{table.point_count} points, vnodes={self.vnodes}, hash={self.hash!r}, "
            f"seed={self.seed if self.hash != 'siphash13' else '(secret)'}"
            + ("" if self._placement == "hashed" else f", placement={self._placement!r}")
            + ("" if self._policy is None else f", replicas={self._policy!r}")
            + ">"
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
            nodes = joined(table.nodes, [added])
            position = position_of(table.nodes, added.name)[0]
            _checked_points(table.point_count + count)
            if self._placement == "hashed":
                self._add(position, added, count)
            else:
                owners = table.owners()
                owners[owners >= position] += np.uint32(1)
                self._put(nodes, self._balanced(table.tokens(), owners, nodes, position))

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.

        Cost: where hashed, that of building the ring; where balanced, that of adding each, in the
            order of their names.
        """
        added = sorted_nodes(nodes)
        if not added:
            return
        with self._changing:
            table = self.table
            together = joined(table.nodes, added)
            counts = [points_of(node, self.vnodes) for node in together]
            _checked_points(sum(counts))
            if self._placement == "hashed":
                self._build(*resolve_hash(self.hash, self.seed), together, counts)
                return
            members: tuple[Any, ...] = table.nodes
            tokens, owners = table.tokens(), table.owners()
            for node in added:
                position = position_of(members, node.name)[0]
                members = (*members[:position], node, *members[position:])
                owners[owners >= position] += np.uint32(1)
                points = self._balanced(tokens, owners, members, position)
                tokens, owners = _circle(points)
            self._put(members, points)

    def remove_node(self, name: str) -> None:
        """Remove a node.  Only the keys it owned move.

        Raises:
            NodeNotFound: the ring has no node of this name.
        """
        with self._changing:
            table = self.table
            position = found_position(table.nodes, name)
            if self._placement == "hashed":
                self._drop(position)
                return
            nodes = list(table.nodes)
            nodes[position] = nodes[position].with_weight(0)  # type: ignore[attr-defined]
            points = self._balanced(table.tokens(), table.owners(), tuple(nodes), position)
            del nodes[position]
            self._put(tuple(nodes), points._replace(counts=np.delete(points.counts, position)))

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.

        Cost: where hashed, that of building the ring; where balanced, that of removing each, in
            the order given.
        """
        names = checked_names(names)
        with self._changing:
            table = self.table
            nodes: tuple[Any, ...] = table.nodes
            going = dict.fromkeys(nodes[found_position(nodes, name)].name for name in names)
            if not going:
                return
            if self._placement == "hashed":
                staying = tuple(node for node in nodes if node.name not in going)
                counts = [points_of(node, self.vnodes) for node in staying]
                self._build(*resolve_hash(self.hash, self.seed), staying, counts)
                return
            tokens, owners = table.tokens(), table.owners()
            for name in going:
                position = found_position(nodes, name)
                drained = nodes[position].with_weight(0)
                members = (*nodes[:position], drained, *nodes[position + 1 :])
                points = self._balanced(tokens, owners, members, position)
                points = points._replace(counts=np.delete(points.counts, position))
                tokens, owners = _circle(points)
                nodes = (*nodes[:position], *nodes[position + 1 :])
            self._put(nodes, points)

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
            if self._placement == "hashed":
                self._set(position, node, count)
                return
            nodes = (*table.nodes[:position], node, *table.nodes[position + 1 :])
            points = self._balanced(table.tokens(), table.owners(), nodes, position)
            self._put(nodes, points)

    def _balanced(
        self,
        tokens: NDArray[np.uint64],
        owners: NDArray[np.uint32],
        nodes: tuple[Any, ...],
        position: int,
    ) -> balanced.Points:
        asked = [points_of(node, self.vnodes) for node in nodes]
        return balanced.changed(tokens, owners, nodes, asked, self._policy, position)

    def _put(self, nodes: tuple[Any, ...], points: balanced.Points) -> None:
        """Publish a table of given points."""
        _, hash_name, seed = self._settings
        self._build(*resolve_hash(hash_name, seed), nodes, points.counts, points.tokens)

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """A ring that is equal now and changes on its own.  Shares the table: O(1)."""
        twin = type(self).__new__(type(self))
        twin._settings = self._settings
        twin._placement, twin._policy = self._placement, self._policy
        twin._changing = threading.Lock()
        twin._share(self)
        return twin

    def to_bytes(self) -> bytes:
        """The ring, saved (docs/formats.md): settings and nodes, checksummed.

        A balanced ring with its points.  The same ring gives the same bytes on every platform.
        """
        table = self.table
        nodes: tuple[Node, ...] = table.nodes  # type: ignore[assignment]
        ring = saved.SavedRing(self.vnodes, self.hash, self.seed, nodes)
        if self._placement == "hashed":
            return saved.dump(ring)
        by_node = np.argsort(table.owners(), kind="stable")
        return saved.dump_balanced(
            saved.SavedBalanced(ring, self._policy, table.counts(), table.tokens()[by_node])
        )

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
        if saved.kind_of(data) == saved.KIND_BALANCED_RING:
            return cls._from_balanced(saved.load_balanced(data), points_max)
        ring = saved.load(data)
        total = sum(points_of(node, ring.vnodes) for node in ring.nodes)
        if total > points_max:
            raise LimitError(f"the saved ring has {total} points; points_max={points_max}")
        return cls(ring.nodes, vnodes=ring.vnodes, hash=ring.hash, seed=ring.seed)

    @classmethod
    def _from_balanced(cls: type[Self], loaded: saved.SavedBalanced, points_max: int) -> Self:
        ring = loaded.ring
        total = len(loaded.tokens)
        if total > points_max:
            raise LimitError(f"the saved ring has {total} points; points_max={points_max}")
        _checked_points(sum(points_of(node, ring.vnodes) for node in ring.nodes))
        made = cls(
            vnodes=ring.vnodes, hash=ring.hash, seed=ring.seed, placement="balanced",
            replicas=loaded.replicas,
        )  # fmt: skip
        made._put(ring.nodes, balanced.Points(loaded.tokens, loaded.counts))
        return made
