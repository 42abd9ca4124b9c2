"""The protocol that every placement algorithm follows, so that one can replace another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ringleader.keys import Key, KeyColumn
from ringleader.placement.node import Node
from ringleader.placement.topology import Replicas


@runtime_checkable
class Locator(Protocol):
    """Keys to nodes.  A *position* is an index into `nodes` (and `names`)."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in the order of their positions."""

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, in the same order."""

    def __len__(self) -> int:
        """How many nodes."""

    def __getitem__(self, key: Key) -> str:
        """The name of the node that owns `key`."""

    def get_node(self, key: Key) -> str:
        """The same as `locator[key]`."""

    def get_nodes(self, key: Key, n: int | Replicas) -> list[str]:
        """The names of the first `n` distinct nodes for `key`, or of the policy's, owner first."""

    def lookup(
        self, keys: KeyColumn, out: NDArray[np.uint32] | None = None, threads: int = 1
    ) -> NDArray[np.uint32]:
        """The position of each key's owner, shape (len(keys),)."""

    def lookup_replicas(
        self,
        keys: KeyColumn,
        n: int | Replicas,
        out: NDArray[np.uint32] | None = None,
        threads: int = 1,
    ) -> NDArray[np.uint32]:
        """The positions of each key's `n` distinct nodes, shape (len(keys), n or n.total)."""

    def diff(
        self, other: Any, policy: Replicas | int | None = None, *, down: Iterable[str] = ()
    ) -> Any:
        """What moves from this locator to `other`, where both cut one hash space into ranges."""

    def stats(self) -> Any:
        """How evenly the key space is spread, exact where the algorithm allows it."""

    def to_bytes(self) -> bytes:
        """The locator, saved: versioned, checksummed, the same on every platform."""
