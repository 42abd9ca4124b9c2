"""Redis Cluster's (and Valkey's) hash slots: 16384 of them, each on one node.

In short (https://redis.io/docs/reference/cluster-spec):

    slot(key)   = CRC-16/XMODEM of the key's hash tag, modulo 16384; the hash tag is what stands
                  between the first "{" and the next "}", unless that is nothing; else the whole key
    owner(key)  = the node that the table names for the slot

The table is a state of its own: it may be built evenly, or read from a cluster, and a change of the
nodes moves as few slots as the new weights allow.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import hashing, kernels
from ringleader.errors import (
    FormatError,
    LimitError,
    NodeNotFound,
    SlotError,
    SlotTypeError,
)
from ringleader.keys import KeyColumn
from ringleader.placement import saved
from ringleader.placement.located import (
    PlacerLocator,
    check_owners_only,
    checked_names,
    found_position,
    heading,
    joined,
    position_of,
)
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.slot_replies import cluster_ranges
from ringleader.placement.stats import RingStats
from ringleader.placement.topology import Replicas

Self = TypeVar("Self", bound="RedisSlots")

KIND = 12
VERSION = 1
SLOTS = 16384
#: Where slots stand in the 64 bits of a hash (csrc/hash.h).
SHIFT = 50

#: What a table says of a node: ranges (first, last), both included, and single slots.
SlotRanges = Iterable["int | tuple[int, int]"]
Owners = NDArray[np.uint16]
#: A slot without a node, while a table is put together: never a position, which are below 16384.
NOBODY = 2**16 - 1


class RedisSlots(PlacerLocator):
    """Which node of a Redis Cluster a key lives on.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order; may be left
            out where `slots` names all of them.
        slots: which slots belong to which node, as `{"a": [(0, 5460)], "b": [(5461, 16383)]}`:
            ranges with both ends, or single slots.  Each slot exactly once.  Without it the slots
            are dealt out in the order of the nodes' names, in one range each, by weight.

    Keys are what Redis is sent: text or bytes.  An int key is hashed as its 8 bytes
    (docs/formats.md), not as its decimal text, which is what a Redis client makes of a number: pass
    `str(number)`.

    `add_node`, `remove_node` and `set_weight` leave every node within one slot of its due, its
    share of the 16384 by weight, and move the fewest slots that allow it, as does `rebalance()`;
    `assign()` gives particular slots to a node and moves nothing else.  A node of weight 0 has no
    slots.

    `get_nodes(key, n)` are the owner and n - 1 other nodes with slots, drawn by the slot in
    proportion to their slots: a hand-off order of ringleader's own.  The replicas of a Redis master
    are not nodes of this table.

    Any number of threads may look up while others change the table, as in a `HashRing`.

    Cost: a lookup one CRC and one load; a change O(nodes + 16384).  Memory: 32 KiB.

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `HashRing`.
        NodeNotFound: `slots` names a node that `nodes` has not.
        SlotError: slots are given to nobody or twice, or to a node of weight 0, or are none.
        SlotTypeError: `slots` is of the wrong type.
        LimitError: more than 16384 nodes.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    slot = staticmethod(hashing.redis_slot)

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        slots: Mapping[str, SlotRanges] | None = None,
    ) -> None:
        if slots is not None and not isinstance(slots, Mapping):
            raise SlotTypeError(
                f"slots must be a mapping of names to ranges, not {type(slots).__name__}"
            )
        members = sorted_nodes(nodes)
        if slots is not None and not members:
            members = sorted_nodes(slots.keys())
        _check_count(members)
        self._changing = threading.Lock()
        if slots is None:
            self._settle(members, _dealt(members))
            return
        owners = np.full(SLOTS, NOBODY, np.uint16)
        for name, ranges in slots.items():
            position, found = position_of(members, name) if isinstance(name, str) else (0, False)
            if not found:
                raise NodeNotFound(f"slots are given to {name!r}, which is no node of the table")
            for first, last in _checked_ranges(name, ranges):
                taken = owners[first : last + 1]
                if (taken != NOBODY).any():
                    slot = first + int(np.argmax(taken != NOBODY))
                    other = members[owners[slot]].name
                    raise SlotError(f"slot {slot} is given to {other!r} and to {name!r}")
                taken[:] = position
        _check_whole(owners)
        _check_live(members, owners)
        self._settle(members, owners)

    @classmethod
    def from_cluster(
        cls: type[Self], reply: Any, weights: Mapping[str, float] | None = None
    ) -> Self:
        """The table of a running cluster.

        Args:
            reply: the reply to `CLUSTER SHARDS`, `CLUSTER SLOTS` or `CLUSTER NODES`, as redis-py
                gives it (`client.cluster_shards()`, `cluster_slots()`, `cluster_nodes()`) or as it
                comes from the wire (lists; for `NODES` the text).
            weights: of the nodes, by name; 1 for the others.

        Returns:
            A table whose nodes are the masters that have slots, named "host:port".

        Raises:
            SlotTypeError: the reply is none of these.
            SlotError: it leaves slots to nobody (the cluster is incomplete), or gives some twice.
            NodeNotFound: `weights` names a node that has no slots.
        """
        slots: dict[str, list[int | tuple[int, int]]] = {}
        try:
            for name, first, last in cluster_ranges(reply):
                slots.setdefault(name, []).append((first, last))
        except SlotTypeError:
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise SlotTypeError(
                "this is no reply to CLUSTER SHARDS, SLOTS or NODES that can be read: "
                f"{type(error).__name__}: {error}"
            ) from error
        weights = dict(weights or {})
        for name in weights:
            if name not in slots:
                raise NodeNotFound(f"a weight is given for {name!r}, which has no slots")
        return cls({name: weights.get(name, 1.0) for name in slots}, slots=slots)

    # --- slots of keys --------------------------------------------------------------------------

    @staticmethod
    def slots(
        keys: KeyColumn, *, out: NDArray[np.uint16] | None = None, threads: int = 1
    ) -> NDArray[np.uint16]:
        """The slot of every key, uint16, shape (n,): see `ringleader.hashing`."""
        return hashing.redis_slot_column(keys, out=out, threads=threads)

    # --- what the table is ----------------------------------------------------------------------

    def _state(self) -> tuple[tuple[Node, ...], Owners]:
        """Nodes and owners of one moment; owners is empty when nobody has a slot."""
        with self._changing:
            return self.nodes, self._owners

    def _full_state(self) -> tuple[tuple[Node, ...], Owners]:
        with self._changing:
            self.table.check_wanted(1)
            return self.nodes, self._owners

    @property
    def slot_owners(self) -> NDArray[np.uint32]:
        """The position of each slot's node, shape (16384,).

        Raises:
            EmptyRingError: no node has a positive weight.
        """
        return self._full_state()[1].astype(np.uint32)

    @property
    def slot_counts(self) -> NDArray[np.uint32]:
        """How many slots each node has, by position."""
        nodes, owners = self._state()
        return _counts(len(nodes), owners).astype(np.uint32)

    def slot_ranges(self) -> dict[str, list[tuple[int, int]]]:
        """The slots of each node as ranges (first, last), ascending: what `slots=` takes."""
        nodes, owners = self._state()
        ranges: dict[str, list[tuple[int, int]]] = {node.name: [] for node in nodes}
        first = 0
        for last in _run_ends(owners):
            ranges[nodes[owners[last]].name].append((first, last))
            first = last + 1
        return ranges

    @property
    def space(self) -> Space:
        """Which numbers the table cuts into ranges: slots."""
        return Space("redis-slots", "redis", bits=14)

    def ranges(self, n: int | Replicas = 1) -> Ranges:
        """Who owns which range of slots, shifted to the top of 64 bits.

        Args:
            n: 1.  The replicas of a key follow from its hash, and keys of one slot differ in them.

        Raises:
            EmptyRingError: no node has a positive weight.
            SpaceError: replicas were asked for.
            SettingTypeError: `n` is neither int nor policy.
        """
        check_owners_only(n, "a Redis slot")
        nodes, owners = self._full_state()
        ends = np.array(_run_ends(owners), np.uint64)
        return Ranges(
            self.space,
            nodes,
            ends << np.uint64(SHIFT),
            owners[ends].astype(np.uint32)[:, np.newaxis],
        )

    def stats(self) -> RingStats:
        """The exact share of the slots of each node, against its weight."""
        nodes, owners = self._state()
        counts = _counts(len(nodes), owners)
        weights = np.array([node.weight for node in nodes], np.float64)
        arcs = [int(count) << SHIFT for count in counts]
        names = tuple(node.name for node in nodes)
        return RingStats.of(names, weights, counts.astype(np.uint32), arcs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RedisSlots):
            return NotImplemented
        (nodes, owners), (others, theirs) = self._state(), other._state()
        return nodes == others and np.array_equal(owners, theirs)

    def __repr__(self) -> str:
        return f"<{heading(self, self.table.names)}>"

    # --- changes --------------------------------------------------------------------------------

    def _settle(self, members: Sequence[Node], owners: Owners) -> None:
        """Publish this table; owners is empty when nobody has a slot."""
        state = kernels.slots.State(owners, len(members)) if len(owners) else None
        self._publish(kernels.placer.Placer(state, tuple(members)))
        self._owners = owners

    def _reshard(self, members: tuple[Node, ...], old: NDArray[np.int64]) -> None:
        """Publish the balanced table that differs least from `old`, which has -1 for nobody."""
        _check_count(members)
        self._settle(members, _resharded(members, old))

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Add a node, which gets its due of the slots.

        Args:
            node: a name, or a `Node`, which carries its own weight.
            weight: of a node given by name.

        Raises:
            DuplicateNode: the table has a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        self.add_nodes([as_node(node, weight)])

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes, which get their due of the slots: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        added = sorted_nodes(nodes)
        with self._changing:
            members = joined(self.nodes, added)
            places = np.array([position_of(members, name)[0] for name in self.names], np.int64)
            self._reshard(members, places[self._owners.astype(np.int64)])

    def remove_node(self, name: str) -> None:
        """Remove a node; the others take its slots over.

        Raises:
            NodeNotFound: the table has no node of this name.
        """
        self.remove_nodes([name])

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes; the others take their slots over: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.
        """
        names = checked_names(names)
        with self._changing:
            nodes = self.nodes
            stays = np.ones(len(nodes), bool)
            stays[[found_position(nodes, name) for name in names]] = False
            places = np.where(stays, np.cumsum(stays) - 1, -1)
            members = tuple(node for node, kept in zip(nodes, stays, strict=True) if kept)
            self._reshard(members, places[self._owners.astype(np.int64)])

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight, and with it its due of the slots; 0 drains it.

        Raises:
            NodeNotFound: the table has no node of this name.
            WeightError, NodeTypeError, LimitError: as `Node`.
        """
        with self._changing:
            nodes = self.nodes
            position = found_position(nodes, name)
            changed = nodes[position].with_weight(weight)
            members = (*nodes[:position], changed, *nodes[position + 1 :])
            self._reshard(members, self._owners.astype(np.int64))

    def rebalance(self) -> int:
        """Bring every node within one slot of its due; returns how many slots were moved: the
        fewest that do it."""
        with self._changing:
            before = self._owners
            self._reshard(self.nodes, before.astype(np.int64))
            return int(np.count_nonzero(before != self._owners))

    def assign(self, name: str, slots: SlotRanges) -> int:
        """Give these slots to a node, wherever they were; returns how many were moved.

        Raises:
            NodeNotFound: the table has no node of this name.
            SlotError: they are no slots, or the node has weight 0.
            SlotTypeError: `slots` is of the wrong type.
        """
        with self._changing:
            position = found_position(self.nodes, name)
            if self.nodes[position].weight == 0:
                raise SlotError(f"node {name!r} has weight 0 and so no slots; set_weight() first")
            owners = self._owners.copy()
            for first, last in _checked_ranges(name, slots):
                owners[first : last + 1] = position
            moved = int(np.count_nonzero(owners != self._owners))
            if moved:
                self._settle(self.nodes, owners)
            return moved

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """A table that is equal now and changes on its own.  Shares the slots: O(1)."""
        twin = type(self).__new__(type(self))
        twin._changing = threading.Lock()
        with self._changing:
            twin._owners = self._owners
            twin._publish(self.table)
        return twin

    def __copy__(self: Self) -> Self:
        return self.copy()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def to_bytes(self) -> bytes:
        """The table, saved (docs/formats.md): nodes and runs of slots, checksummed."""
        nodes, owners = self._state()
        ends = np.array(_run_ends(owners), np.uint16)
        body = saved.Writer()
        body.put("H", VERSION)
        body.nodes(nodes)
        body.put("H", len(ends))
        body.array(ends)
        body.array(owners[ends])
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(cls: type[Self], data: bytes | bytearray | memoryview) -> Self:
        """The table that `to_bytes` saved.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved table of slots.
            VersionError: they were written by a newer version.
            FormatTypeError: `data` is no bytes.
        """

        def body(reader: saved.Reader) -> tuple[tuple[Node, ...], Owners]:
            reader.version(VERSION)
            nodes = reader.nodes()
            _check_count(nodes)
            (count,) = reader.take("H")
            ends = reader.array(np.uint16, count).astype(np.int64)
            run_owners = reader.array(np.uint16, count)
            if count == 0:
                if any(node.weight > 0 for node in nodes):
                    raise FormatError("the saved table of Redis slots has no slots")
                return nodes, np.empty(0, np.uint16)
            if (np.diff(ends) < 1).any() or ends[-1] != SLOTS - 1:
                raise FormatError("the runs of the saved table of Redis slots are not in order")
            if (run_owners[1:] == run_owners[:-1]).any() or run_owners.max() >= len(nodes):
                raise FormatError("a run of the saved table of Redis slots belongs to nobody")
            owners = np.repeat(run_owners, np.diff(ends, prepend=-1))
            _check_live(nodes, owners)
            return nodes, owners

        nodes, owners = saved.unframe(data, KIND, body)
        table = cls.__new__(cls)
        table._changing = threading.Lock()
        table._settle(nodes, owners)
        return table


# --- checks -------------------------------------------------------------------------------------


def _check_count(members: Sequence[Node]) -> None:
    if len(members) > SLOTS:
        raise LimitError(f"{len(members)} nodes are too many for {SLOTS} slots")


def _checked_ranges(name: str, ranges: object) -> list[tuple[int, int]]:
    """Ranges of slots as (first, last)."""
    if isinstance(ranges, (str, bytes, Mapping)) or not isinstance(ranges, Iterable):
        raise SlotTypeError(
            f"the slots of {name!r} must be a list of ranges (first, last) or of single slots, "
            f"not {type(ranges).__name__}"
        )
    checked = []
    for given in ranges:
        ends = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
        if len(ends) != 2:
            raise SlotTypeError(f"the range {given!r} of {name!r} is not a pair (first, last)")
        for end in ends:
            if isinstance(end, bool) or not hasattr(end, "__index__"):
                raise SlotTypeError(
                    f"a slot of {name!r} is {type(end).__name__}, but a slot is an int"
                )
        first, last = ends[0].__index__(), ends[1].__index__()
        if not 0 <= first <= last < SLOTS:
            raise SlotError(
                f"the range {first} to {last} of {name!r} does not lie within 0 to {SLOTS - 1}"
            )
        checked.append((first, last))
    return checked


def _check_whole(owners: Owners) -> None:
    missing = np.flatnonzero(owners == NOBODY)
    if len(missing) == 0:
        return
    first = int(missing[0])
    last = first
    for slot in missing[1:]:
        if slot != last + 1:
            break
        last = int(slot)
    raise SlotError(
        f"{len(missing)} slots belong to nobody, the first of them {first} to {last}; "
        f"each of the {SLOTS} slots needs a node"
    )


def _check_live(members: Sequence[Node], owners: Owners) -> None:
    for position in np.unique(owners):
        if members[position].weight == 0:
            raise SlotError(
                f"node {members[position].name!r} has weight 0, but slots; give it a weight, and "
                "drain it with set_weight()"
            )


# --- dealing and moving -------------------------------------------------------------------------


def _counts(node_count: int, owners: Owners) -> NDArray[np.int64]:
    return np.bincount(owners, minlength=node_count)


def _run_ends(owners: Owners) -> list[int]:
    """The last slot of each run of one owner."""
    if len(owners) == 0:
        return []
    ends: list[int] = np.flatnonzero(owners[1:] != owners[:-1]).tolist()
    return [*ends, SLOTS - 1]


def _dues(members: Sequence[Node]) -> list[Fraction]:
    """What each node should have of the slots, exactly."""
    weights = [Fraction(node.weight) for node in members]
    total = sum(weights)
    return [weight * SLOTS / total for weight in weights] if total else []


def _dealt(members: Sequence[Node]) -> Owners:
    """All slots, one range for each node; a range ends at the rounded sum of the dues up to it."""
    ends, due = [0], Fraction(0)
    for share in _dues(members):
        due += share
        ends.append(int(due + Fraction(1, 2)))
    return np.repeat(np.arange(len(ends) - 1, dtype=np.uint16), np.diff(ends))


def _resharded(members: Sequence[Node], old: NDArray[np.int64]) -> Owners:
    """The table with every node within one slot of its due that differs from `old` in the fewest
    slots; -1 there is nobody.

    A node's new count is its due, rounded up or down.  Rounding up saves a move where the node has
    more slots than its due now, so those nodes come first, then the larger fractions.  Each node
    gives its last slots away; they go, ascending, to the nodes that lack some, in the order of
    names.
    """
    dues = _dues(members)
    if not dues:
        return np.empty(0, np.uint16)
    if len(old) == 0:
        return _dealt(members)
    counts = np.bincount(old[old >= 0], minlength=len(members)).tolist()
    goals = [int(due) for due in dues]
    fractions = [due - goal for due, goal in zip(dues, goals, strict=True)]
    order = sorted(
        (at for at, fraction in enumerate(fractions) if fraction),
        key=lambda at: (counts[at] <= goals[at], -fractions[at]),
    )
    for at in order[: SLOTS - sum(goals)]:
        goals[at] += 1
    owners = old.copy()
    for at, (count, goal) in enumerate(zip(counts, goals, strict=True)):
        if count > goal:
            owners[np.flatnonzero(old == at)[goal:]] = -1
    lacking = [max(0, goal - count) for count, goal in zip(counts, goals, strict=True)]
    owners[owners < 0] = np.repeat(np.arange(len(members)), lacking)
    return owners.astype(np.uint16)
