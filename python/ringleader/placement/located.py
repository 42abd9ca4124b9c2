"""What every locator has in common: nodes by position, and whole columns looked up in a table."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels
from ringleader.errors import (
    NodeNotFound,
    NodeTypeError,
    SettingTypeError,
)
from ringleader.keys import Column, Key, KeyColumn, compute
from ringleader.placement.node import Node

Self = TypeVar("Self", bound="Located")


class Table(Protocol):
    """The state of a locator that its readers take once and use: never changed."""

    @property
    def nodes(self) -> tuple[Any, ...]: ...
    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def live_count(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def check_wanted(self, wanted: int) -> int: ...
    def lookup(self, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None: ...
    def lookup_replicas(
        self, column: Column, out: NDArray[np.uint32], lo: int, hi: int
    ) -> None: ...


class Located:
    """Nodes in the order of their names, and lookups of columns; `table` is a subclass's."""

    if TYPE_CHECKING:

        @property
        def table(self) -> Table: ...

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in the order of their positions: sorted by name."""
        return tuple(self.table.nodes)

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes' names, in the order of their positions."""
        return tuple(self.table.names)

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
        return isinstance(name, str) and position_of(self.nodes, name)[1]

    def node(self, name: str) -> Node:
        """The node of this name.

        Raises:
            NodeNotFound: there is none.
        """
        nodes = self.nodes
        return nodes[found_position(nodes, name)]

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

        Cost: that of one key, which the class tells, times the keys; nothing else per key.
        """
        table = self.table
        table.check_wanted(1)
        return compute(keys, table.lookup, np.uint32, None, out, threads)

    def lookup_replicas(
        self, keys: KeyColumn, n: int, out: NDArray[np.uint32] | None = None, threads: int = 1
    ) -> NDArray[np.uint32]:
        """The positions of each key's first `n` distinct nodes, owner first.

        Args and errors as `lookup`, and:
            n: how many; `out` has the shape (len(keys), n).

        Raises:
            TooFewNodes: fewer than `n` nodes have a positive weight, or n < 1.
            SettingTypeError: `n` is no int.
        """
        table = self.table
        n = table.check_wanted(n)
        return compute(keys, table.lookup_replicas, np.uint32, n, out, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        kind: Any = type(self)
        return (kind.from_bytes, (kind.to_bytes(self),))


class PlacerLocator(Located, kernels.placer.PlacerBase):
    """A locator whose states are placers (csrc/placer.h); a change publishes another one."""

    if TYPE_CHECKING:

        @property
        def table(self) -> kernels.placer.Placer: ...

    def get_nodes(self, key: Key, n: int) -> list[str]:
        """The names of the first `n` distinct nodes for `key`, owner first.

        Raises:
            TooFewNodes: fewer than `n` nodes have a positive weight, or n < 1.
            SettingTypeError: `n` is no int.
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
            EmptyRingError: no node has a positive weight.
        """
        placer: kernels.placer.Placer = self.table
        names = placer.names
        return [names[position] for position in placer.walk(key, n)]


def checked_int(name: str, value: object) -> int:
    """An argument that has to be an int, by name."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SettingTypeError(f"{name} must be an int, not {type(value).__name__}")
    return operator.index(value)


def position_of(nodes: tuple[Any, ...], name: str) -> tuple[int, bool]:
    """Where a node of this name stands or would stand, and whether it does."""
    position = bisect_left(nodes, name, key=lambda node: node.name)
    return position, position < len(nodes) and nodes[position].name == name


def found_position(nodes: tuple[Any, ...], name: str) -> int:
    """Where the node of this name stands.

    Raises:
        NodeNotFound: there is none.
        NodeTypeError: the name is no str.
    """
    if not isinstance(name, str):
        raise NodeTypeError(f"a node's name is a str, not {type(name).__name__}")
    position, found = position_of(nodes, name)
    if not found:
        raise NodeNotFound(
            f"there is no node {name!r}; the names of the {len(nodes)} nodes are in .names"
        )
    return position
