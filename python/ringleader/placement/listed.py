"""Rings that follow another system's list of servers, point by point.

What these systems have in common: the points of a server are made of its name, and of its weight
among the others'; the key's hash is one of a few; and of two equal points the one whose server
stands first in the list wins.  So the list's order is a part of such a ring, and each change
builds it anew.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import limits
from ringleader.errors import FormatError, LimitError, WeightError
from ringleader.placement import saved
from ringleader.placement.located import checked_int, checked_names, found_position, heading, joined
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.points import PointRing

Self = TypeVar("Self", bound="ListedRing")

#: Of each format's body; what stands behind it is the format's own.
LISTED_VERSION = 1


def in_order(nodes: Iterable[str | Node] | Mapping[str, float]) -> list[Node]:
    """Nodes in the order given, checked as `sorted_nodes` checks them."""
    if isinstance(nodes, Iterable) and not isinstance(nodes, (str, bytes, Node, Mapping)):
        nodes = list(nodes)
    by_name = {node.name: node for node in sorted_nodes(nodes)}
    return [by_name[as_node(node).name] for node in nodes]


def whole_weight(node: Node, most: int, whose: str) -> int:
    """A node's weight as a whole number up to `most`.

    Raises:
        WeightError: it is none; `whose` names the system that has only whole ones.
    """
    weight = int(node.weight)
    if weight != node.weight or weight > most:
        raise WeightError(
            f"the weight of node {node.name!r} is {node.weight}, but {whose} knows whole numbers "
            f"from 1 to {most} (and 0, here, for a node that is drained)"
        )
    return weight


class ListedRing(PointRing):
    """A ring of points made as another system makes them.  Positions are in the order of names.

    A node of weight 0 is drained: the ring is that of the list without it.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    _saved_kind: ClassVar[int]
    _hash_kind: ClassVar[int]  # csrc/hash.h
    _changing: threading.Lock
    _servers: tuple[str, ...]
    _settings: tuple[Any, ...]

    def _start(self, listed: Sequence[Node], *settings: Any) -> None:
        self._changing = threading.Lock()
        self._settings = settings
        self._settle(listed)

    # --- what a format is -----------------------------------------------------------------------

    def _counts(self, live: Sequence[Node]) -> list[int]:
        """How many points each of these servers has; all have a positive weight."""
        raise NotImplementedError

    def _points(self, live: Sequence[Node], counts: Sequence[int]) -> list[NDArray[np.uint64]]:
        """The points of each, in the order of its list, in the top bits."""
        raise NotImplementedError

    def _write(self, body: saved.Writer) -> None:
        """The settings."""

    # --- what the ring is -----------------------------------------------------------------------

    @property
    def servers(self) -> tuple[str, ...]:
        """The nodes' names in the order of the list that the ring was made of."""
        return self._servers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ListedRing) or type(self) is not type(other):
            return NotImplemented
        return (self._settings, self.nodes, self._servers) == (
            other._settings,
            other.nodes,
            other._servers,
        )

    def _describe(self) -> str:
        return ""

    def __repr__(self) -> str:
        table = self.table
        return f"<{heading(self, table.names)}, {table.point_count} points{self._describe()}>"

    # --- changes --------------------------------------------------------------------------------

    def _listed(self) -> list[Node]:
        by_name = {node.name: node for node in self.nodes}
        return [by_name[name] for name in self._servers]

    def _settle(self, listed: Sequence[Node]) -> None:
        """Publish the ring of this list, or raise and change nothing."""
        if len(listed) > limits.NODES_MAX:
            raise LimitError(f"{len(listed)} nodes are too many; at most {limits.NODES_MAX} are")
        live = [node for node in listed if node.weight > 0]
        counts = self._counts(live) if live else []
        if sum(counts) > limits.POINTS_MAX:
            raise LimitError(
                f"the ring would have {sum(counts)} points; at most {limits.POINTS_MAX} are "
                "allowed: use smaller weights"
            )
        members = tuple(sorted(listed, key=lambda node: node.name))
        places = {node.name: position for position, node in enumerate(members)}
        positions = np.repeat(np.array([places[node.name] for node in live], np.int64), counts)
        tokens = np.concatenate([*self._points(live, counts), np.empty(0, np.uint64)])
        tokens, firsts = np.unique(tokens, return_index=True)
        owners = positions[firsts]
        kept = np.bincount(owners, minlength=len(members)).astype(np.uint32)
        grouped = tokens[np.argsort(owners, kind="stable")]
        self._build(self._hash_kind, 0, 0, members, kept, grouped)
        self._servers = tuple(node.name for node in listed)

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Add a node, at the end of the list.

        Args:
            node: a name, or a `Node`, which carries its own weight.
            weight: of a node given by name.

        Raises:
            DuplicateNode: the ring has a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as for the class.

        Cost: that of building the ring.
        """
        added = as_node(node, weight)
        with self._changing:
            joined(self.nodes, [added])
            self._settle([*self._listed(), added])

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes at the end of the list, in the order given: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as for the class.

        Cost: that of building the ring.
        """
        added = in_order(nodes)
        with self._changing:
            joined(self.nodes, added)
            self._settle([*self._listed(), *added])

    def remove_node(self, name: str) -> None:
        """Remove a node.

        Raises:
            NodeNotFound: the ring has no node of this name.

        Cost: that of building the ring.
        """
        with self._changing:
            removed = self.nodes[found_position(self.nodes, name)].name
            self._settle([node for node in self._listed() if node.name != removed])

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.

        Cost: that of building the ring.
        """
        names = checked_names(names)
        with self._changing:
            nodes = self.nodes
            going = {nodes[found_position(nodes, name)].name for name in names}
            self._settle([node for node in self._listed() if node.name not in going])

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight; 0 drains it.

        Raises:
            NodeNotFound: the ring has no node of this name.
            WeightError, NodeTypeError, LimitError: as for the class.

        Cost: that of building the ring.
        """
        with self._changing:
            changed = self.nodes[found_position(self.nodes, name)].with_weight(weight)
            listed = self._listed()
            self._settle([changed if node.name == changed.name else node for node in listed])

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """A ring that is equal now and changes on its own.  Shares the table: O(1)."""
        twin = type(self).__new__(type(self))
        twin._changing = threading.Lock()
        with self._changing:
            twin._settings, twin._servers = self._settings, self._servers
            twin._share(self)
        return twin

    def to_bytes(self) -> bytes:
        """The ring, saved (docs/formats.md): settings, nodes and their order, checksummed."""
        body = saved.Writer()
        body.put("H", LISTED_VERSION)
        self._write(body)
        with self._changing:
            nodes, servers = self.nodes, self._servers
        places = {node.name: position for position, node in enumerate(nodes)}
        body.nodes(nodes)
        body.array(np.array([places[name] for name in servers], dtype=np.uint32))
        return saved.frame(self._saved_kind, body)

    @classmethod
    def _from_bytes(
        cls: type[Self], data: bytes | bytearray | memoryview, points_max: int, settings: Any
    ) -> Self:
        """The ring in these bytes, whose settings `settings` reads as __init__'s arguments."""
        points_max = checked_int("points_max", points_max)
        make: Any = cls

        def body(reader: saved.Reader) -> tuple[dict[str, Any], list[Node], int]:
            reader.version(LISTED_VERSION)
            arguments = settings(reader)
            empty: Self = make(**arguments)
            nodes = reader.nodes()
            order = reader.array(np.uint32, len(nodes))
            if not np.array_equal(np.sort(order), np.arange(len(nodes))):
                raise FormatError(f"the saved {reader.what} does not list each of its nodes once")
            listed = [nodes[position] for position in order]
            live = [node for node in listed if node.weight > 0]
            return arguments, listed, sum(empty._counts(live)) if live else 0

        arguments, listed, total = saved.unframe(data, cls._saved_kind, body)
        if total > points_max:
            raise LimitError(f"the saved ring has {total} points; points_max={points_max}")
        made: Self = make(listed, **arguments)
        return made
