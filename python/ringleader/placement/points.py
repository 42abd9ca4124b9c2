"""Rings of points: what every locator on a circle of tokens has in common."""

from __future__ import annotations

from collections.abc import Sized
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import PolicyError
from ringleader.keys import Kernel, Key, KeyColumn
from ringleader.placement.located import Located
from ringleader.placement.node import Node
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.stats import RingStats
from ringleader.placement.topology import Replicas

Self = TypeVar("Self", bound="PointRing")


class PointRing(Located, kernels.ring.RingBase):
    """A circle of points: a key belongs to the node of the first token >= its hash.

    Any number of threads may look up while others change the ring: a change builds a new table
    and swaps it, so that every lookup sees the ring before or after it, whole, and never waits.

    Cost: a lookup O(1) on average.
    """

    if TYPE_CHECKING:

        @property
        def table(self) -> kernels.ring.Table: ...

        @property
        def space(self) -> Space:
            """Which hash space the ring cuts into ranges."""

        def get_nodes(self, key: Key, n: int | Replicas) -> list[str]:
            """The names of the first distinct nodes from `key` on, clockwise (`RingBase`)."""

        def copy(self: Self) -> Self:
            """A ring that is equal now and changes on its own."""

        def to_bytes(self) -> bytes:
            """The ring, saved."""

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

    def ranges(self, n: int | Replicas = 1) -> Ranges:
        """Who owns which range of the hash space, and with `n` who has its replicas.

        Args:
            n: how many distinct nodes, or a policy; `Ranges.owners` has a column for each.

        Raises:
            EmptyRingError: no node has a positive weight.
            TooFewNodes, PolicyError, SettingTypeError: as `lookup_replicas`.

        Cost: O(points) times the replicas.
        """
        table = self.table
        if isinstance(n, Replicas):
            table.check_wanted(1)
            owners = self._rows(table, n)
        elif (n := table.check_wanted(n)) == 1:
            owners = table.owners()[:, np.newaxis]
        elif n <= limits.REPLICAS_MAX:
            owners = self._rows(table, Replicas(n))
        else:
            raise PolicyError(f"{n} replicas; at most {limits.REPLICAS_MAX} are possible")
        tokens = table.tokens()
        first = np.ones(len(tokens), dtype=bool)  # of equal tokens, the first owns the range
        np.not_equal(tokens[1:], tokens[:-1], out=first[1:])
        if not first.all():
            tokens, owners = tokens[first], owners[first]
        nodes: tuple[Node, ...] = table.nodes  # type: ignore[assignment]
        return Ranges(self.space, nodes, tokens, owners)

    def _walks(self, table: Any, n: int, keys: KeyColumn) -> Kernel:
        # Neighbours on a ring mostly differ, so a walk is short; rows are only a third faster, and
        # are made for a column that is longer than they are.
        placing = table.policies.get(n)
        if placing is None:
            worth = 2 <= n <= limits.WALK_ROWS_MAX and isinstance(keys, Sized)
            if not worth or len(keys) < table.point_count:  # type: ignore[arg-type]
                kernel: Kernel = table.lookup_replicas
                return kernel
            placing = self._keep(table, n, Replicas(n))
        return partial(placing.lookup, table)

    def _rows(self, table: kernels.ring.Table, policy: Replicas) -> NDArray[np.uint32]:
        return self._placing(table, policy).rows(table)

    def _placing(self, table: Any, policy: Replicas) -> kernels.replicas.RingReplicas:
        table.check_wanted(1)
        rule = policy.rule(table.nodes, (table.counts() > 0).tolist())
        return kernels.replicas.RingReplicas(table, rule, limits.SUCCESSORS_BYTES_MAX)

    def stats(self, policy: Replicas | None = None) -> RingStats:
        """The exact share of the hash space of each node, against its weight.

        Args:
            policy: then of all replicas that keys have under it.  `arcs` add up to 2**64 times the
                replicas, and `share` to 1.  What is due to a node goes by its weight among all
                nodes, wherever they stand; a policy by datacenter gives each of these its own part.

        Raises:
            PolicyError, EmptyRingError: as `ranges`.

        Cost: O(points), times the replicas.
        """
        table = self.table
        nodes: tuple[Node, ...] = table.nodes  # type: ignore[assignment]
        weights = np.array([node.weight for node in nodes], dtype=np.float64)
        if policy is not None:
            ranges = self.ranges(policy)
            return RingStats.of_replicas(ranges, weights, table.counts(), policy)
        return RingStats.of(table.names, weights, table.counts(), table.arcs())

    def __copy__(self: Self) -> Self:
        return self.copy()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()
