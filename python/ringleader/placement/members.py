"""Placers over a set of nodes: what those have in common that are built anew for every change."""

from __future__ import annotations

import operator
import threading
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

from ringleader import kernels
from ringleader.hashing import resolve_hash
from ringleader.placement.located import (
    PlacerLocator,
    checked_names,
    found_position,
    heading,
    joined,
)
from ringleader.placement.node import Node, as_node, sorted_nodes

Self = TypeVar("Self", bound="MemberPlacer")


class MemberPlacer(PlacerLocator):
    """A pure function of the *set* of its nodes and its settings: no order, no history.

    A change makes the whole state anew and publishes it in one assignment.  A subclass says how
    (`_state_of`), and which settings it has besides hash and seed (`_options`).
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    _hash: str
    _seed: int
    _options: tuple[int, ...]

    def _begin(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float],
        hash: str,
        seed: int,
        options: tuple[int, ...],
    ) -> None:
        """What a subclass's `__init__` ends with; `options` are checked before."""
        resolve_hash(hash, seed)
        self._hash, self._seed, self._options = hash, operator.index(seed), options
        self._changing = threading.Lock()
        self._rebuild(sorted_nodes(nodes))

    @abstractmethod
    def _state_of(self, nodes: tuple[Node, ...]) -> Any:
        """The kernel's state over nodes in the order of their names; None if none is live."""

    @abstractmethod
    def _option_texts(self) -> str:
        """The options, as they stand in the repr."""

    def _rebuild(self, nodes: tuple[Node, ...]) -> None:
        self._publish(kernels.placer.Placer(self._state_of(nodes), nodes))

    # --- what it is -----------------------------------------------------------------------------

    @property
    def hash(self) -> str:
        """The name of the hash of keys and nodes."""
        return self._hash

    @property
    def seed(self) -> int:
        """The hash's seed."""
        return self._seed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        mine = (self._hash, self._seed, self._options)
        return mine == (other._hash, other._seed, other._options) and self.nodes == other.nodes

    def __repr__(self) -> str:
        seed = self._seed if self._hash != "siphash13" else "(secret)"
        return (
            f"<{heading(self, self.names)}, "
            f"{self._option_texts()}, hash={self._hash!r}, seed={seed}>"
        )

    # --- changes --------------------------------------------------------------------------------

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Add a node.

        Args:
            node: a name, or a `Node`, which carries its own weight.
            weight: of a node given by name.

        Raises:
            DuplicateNode: there is a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        self._add([as_node(node, weight)])

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes, building once: all of them, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        self._add(sorted_nodes(nodes))

    def remove_node(self, name: str) -> None:
        """Remove a node.

        Raises:
            NodeNotFound: there is no node of this name.
        """
        with self._changing:
            nodes = self.nodes
            position = found_position(nodes, name)
            self._rebuild(nodes[:position] + nodes[position + 1 :])

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes, building once: all of them, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.
        """
        going = checked_names(names)
        with self._changing:
            nodes = self.nodes
            positions = {found_position(nodes, name) for name in going}
            self._rebuild(tuple(node for at, node in enumerate(nodes) if at not in positions))

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight; 0 drains it.

        Raises:
            NodeNotFound: there is no node of this name.
            WeightError, NodeTypeError, LimitError: as `Node`.
        """
        with self._changing:
            nodes = self.nodes
            position = found_position(nodes, name)
            node = nodes[position].with_weight(weight)
            self._rebuild((*nodes[:position], node, *nodes[position + 1 :]))

    def _add(self, added: Iterable[Node]) -> None:
        with self._changing:
            self._rebuild(joined(self.nodes, added))

    # --- copies ---------------------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """One that is equal now and changes on its own.  Shares the tables: O(1)."""
        twin = type(self).__new__(type(self))
        twin._hash, twin._seed, twin._options = self._hash, self._seed, self._options
        twin._changing = threading.Lock()
        twin._publish(self.table)
        return twin

    def __copy__(self: Self) -> Self:
        return self.copy()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()
