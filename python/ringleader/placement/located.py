"""What every locator has in common: nodes by position, and whole columns looked up in a table."""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

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
    SpaceError,
)
from ringleader.keys import Column, Kernel, Key, KeyColumn, compute
from ringleader.placement.node import Node
from ringleader.placement.stats import SampledStats, ideal_shares
from ringleader.placement.topology import Replicas, closeness

if TYPE_CHECKING:
    from ringleader.placement.movement import Movement

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
    @property
    def policies(self) -> dict[Any, Any]: ...
    def check_wanted(self, wanted: int) -> int: ...
    def lookup(self, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None: ...
    def lookup_replicas(
        self, column: Column, out: NDArray[np.uint32], lo: int, hi: int
    ) -> None: ...


class Placing(Protocol):
    """A policy on one table, which every call is given again (pyx/replicas.pyx says why)."""

    @property
    def nbytes(self) -> int: ...
    def names(self, table: Any, key: Key) -> list[str]: ...
    def lookup(
        self, table: Any, column: Column, out: NDArray[np.uint32], lo: int, hi: int
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
        """Bytes that the lookup tables take, those made for policies included."""
        table = self.table
        kept: list[Placing] = list(table.policies.values())
        return table.nbytes + sum(placing.nbytes for placing in kept)

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
        self,
        keys: KeyColumn,
        n: int | Replicas,
        out: NDArray[np.uint32] | None = None,
        threads: int = 1,
    ) -> NDArray[np.uint32]:
        """The positions of each key's first `n` distinct nodes, owner first.

        Args and errors as `lookup`, and:
            n: how many, or a policy: then the first nodes that satisfy it, in the locator's order
                (`ringleader.placement.topology`).  `out` has the shape (len(keys), n) or
                (len(keys), n.total).

        Raises:
            TooFewNodes: fewer than `n` nodes have a positive weight, or n < 1.
            PolicyError: the nodes cannot satisfy the policy; says which datacenter lacks what.
            SettingTypeError: `n` is neither int nor policy.
        """
        table = self.table
        if isinstance(n, Replicas):
            placing = self._replicas(table, n)
            kernel = partial(placing.lookup, table)
            return compute(keys, kernel, np.uint32, n.total, out, threads)
        n = table.check_wanted(n)
        return compute(keys, self._walks(table, n, keys), np.uint32, n, out, threads)

    def handoffs(self, key: Key, n: int | Replicas, limit: int | None = None) -> list[str]:
        """Who stands in for the replicas of `key`, in order: the next nodes that `n` would choose.

        First the replicas that the policy chooses where those of `get_nodes(key, n)` are not
        there, then those that it chooses where these are not there either, and so on; a
        datacenter that the policy names and that has too few nodes left gives what it has.

        Args:
            n: as in `lookup_replicas`.
            limit: at most so many; None for all there are.

        Raises:
            SettingError, SettingTypeError: `limit` is negative, or no int.
            TooFewNodes, PolicyError, KeyTypeError, ...: as `get_nodes`.

        Cost: a walk past all distinct nodes, and O(nodes) for each round.
        """
        table = self.table
        if limit is not None and (limit := checked_int("limit", limit)) < 0:
            raise SettingError(f"limit={limit} is negative")
        if isinstance(n, Replicas):
            self._replicas(table, n)  # refuses what the nodes cannot satisfy
        else:
            n = table.check_wanted(n)
        found = np.empty((1, table.live_count), dtype=np.uint32)
        table.lookup_replicas(Column([key]), found, 0, 1)
        order = [table.nodes[position] for position in found[0].tolist()]
        if isinstance(n, Replicas):
            return [node.name for node in n.handoffs(order, limit)]
        return [node.name for node in order[n:][:limit]]

    @overload
    def local_first(
        self, replicas: NDArray[np.uint32], dc: str, zone: str | None = None
    ) -> NDArray[np.uint32]: ...
    @overload
    def local_first(
        self, replicas: Sequence[str], dc: str, zone: str | None = None
    ) -> list[str]: ...
    def local_first(
        self, replicas: Sequence[str] | NDArray[np.uint32], dc: str, zone: str | None = None
    ) -> list[str] | NDArray[np.uint32]:
        """Replicas in the order of their closeness to a reader, those equally close as they were.

        First come nodes of the reader's zone (if it is told), then those of its datacenter, then
        all others.  A reader may stand where no node does.

        Args:
            replicas: names, as of `get_nodes`; or an array of positions, as of `lookup_replicas`,
                each of whose rows is put into order.
            dc, zone: where the reader stands.

        Returns:
            A list of names, or a new uint32 array of the same shape.

        Raises:
            NodeNotFound: there is no such node.
            NodeTypeError: a name is no str; an array of something else than uint32.
            PolicyTypeError: `dc` or `zone` is no str.
        """
        nodes = self.table.nodes
        if isinstance(replicas, np.ndarray):
            if replicas.dtype != np.uint32:
                raise NodeTypeError(
                    f"positions of nodes are uint32, as lookup_replicas gives, not {replicas.dtype}"
                )
            if replicas.ndim == 0:
                raise NodeTypeError("local_first takes rows of positions, not one position")
            ranks = closeness(nodes, dc, zone)
            if replicas.size and (most := int(replicas.max())) >= len(nodes):
                raise NodeNotFound(f"there is no position {most}; there are {len(nodes)} nodes")
            if replicas.size == 0:
                return np.empty_like(replicas)
            rows = np.array(replicas, order="C").reshape(-1, replicas.shape[-1])
            return kernels.replicas.by_rank(rows, ranks).reshape(replicas.shape)
        if isinstance(replicas, str):
            raise NodeTypeError("local_first takes a list of names, not one name")
        names = list(replicas)
        some = [nodes[self._position(nodes, name)] for name in names]
        return [names[at] for at in np.argsort(closeness(some, dc, zone), kind="stable").tolist()]

    def _position(self, nodes: Any, name: str) -> int:
        """Where the node of this name stands in a table's nodes; NodeNotFound if there is none."""
        return found_position(nodes, name)

    def _replicas(self, table: Any, policy: Any) -> Placing:
        """What places by a policy on a table; made once for each state of the locator."""
        if not isinstance(policy, Replicas):
            table.check_wanted(policy)  # says what is wrong with it
        placing: Placing | None = table.policies.get(policy)
        return self._keep(table, policy, policy) if placing is None else placing

    def _keep(self, table: Any, key: Any, policy: Replicas) -> Placing:
        placing = self._placing(table, policy)
        policies: dict[Any, Placing] = table.policies
        while len(policies) >= limits.POLICIES_KEPT_MAX:
            policies.pop(next(iter(list(policies)), None), None)
        policies[key] = placing
        return placing

    def _walks(self, table: Any, n: int, keys: KeyColumn) -> Kernel:
        """What fills in the first `n` distinct nodes of such a column."""
        kernel: Kernel = table.lookup_replicas
        return kernel

    def _placing(self, table: Any, policy: Replicas) -> Placing:
        """What places by a policy on a table, made anew."""
        raise NotImplementedError

    def diff(
        self, other: Any, policy: Replicas | int | None = None, *, down: Iterable[str] = ()
    ) -> Movement:
        """What moves when this locator gives way to `other`: exact ranges, from whom to whom.

        Args:
            other: a locator that cuts the same hash space into ranges.
            policy: replicas instead of owners: which are copied from whom, and which are dropped.
            down: the names of nodes of this locator that nothing can be copied from any more.

        Raises:
            NodeNotFound: `down` names no node of this locator.
            SpaceError: the two place keys by different hashes, or one has no ranges; for such
                locators `moved(a, b, keys)` tells which of your keys move.
            EmptyRingError: one of them has no node of positive weight.
            PolicyError, PolicyTypeError, TooFewNodes: a policy that is none, or that the nodes of
                either cannot satisfy.
            NodeTypeError: `other` is no locator.

        Cost: O(ranges of both); a few milliseconds for two rings of 160,000 points.
        """
        from ringleader.placement.movement import diff

        return diff(self, other, policy, down)

    def assign_bounded(
        self,
        keys: KeyColumn,
        c: float = 1.25,
        out: NDArray[np.uint32] | None = None,
        threads: int = 1,
    ) -> NDArray[np.uint32]:
        """The position of each key's node, none of which gets more than c times its fair share.

        `ringleader.placement.assign_bounded` says how, and what it raises.
        """
        from ringleader.placement.bounded import assign_bounded

        locator: Any = self  # a subclass has the rest of the protocol
        return assign_bounded(locator, keys, c, out, threads)

    def __reduce__(self) -> tuple[Any, ...]:
        kind: Any = type(self)
        return (kind.from_bytes, (kind.to_bytes(self),))


class PlacerLocator(Located, kernels.placer.PlacerBase):
    """A locator whose states are placers (csrc/placer.h); a change publishes another one."""

    if TYPE_CHECKING:

        @property
        def table(self) -> kernels.placer.Placer: ...

    def get_nodes(self, key: Key, n: int | Replicas) -> list[str]:
        """The names of the first `n` distinct nodes for `key`, owner first.

        `n` may be a policy: then of the first that satisfy it.

        Raises:
            TooFewNodes: fewer than `n` nodes have a positive weight, or n < 1.
            PolicyError: the nodes cannot satisfy the policy.
            SettingTypeError: `n` is neither int nor policy.
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
            EmptyRingError: no node has a positive weight.
        """
        placer: kernels.placer.Placer = self.table
        if isinstance(n, Replicas):
            return self._replicas(placer, n).names(placer, key)
        names = placer.names
        return [names[position] for position in placer.walk(key, n)]

    def _placing(self, table: Any, policy: Replicas) -> Placing:
        table.check_wanted(1)
        live = set(kernels.replicas.live(table))
        rule = policy.rule(table.nodes, (at in live for at in range(len(table.nodes))))
        return kernels.replicas.PlacerReplicas(table, rule)


class SampledLocator(PlacerLocator):
    """A locator whose shares are known by theory only, and measured with keys."""

    def stats(self, samples: int = 2**20) -> SampledStats:
        """How evenly the keys 0 ... samples - 1 are spread; the sample's own error beside it.

        Raises:
            SettingError, SettingTypeError: `samples` is no int from 1 to 2**32.

        Cost: `samples` lookups.
        """
        samples = checked_int("samples", samples)
        if not 1 <= samples <= 2**32:
            raise SettingError(f"samples={samples} is not in 1 ... 2**32")
        table = self.table
        nodes: tuple[Node, ...] = table.nodes  # type: ignore[assignment]
        weights = np.array([node.weight for node in nodes], dtype=np.float64)
        counts = np.zeros(len(nodes), dtype=np.int64)
        if table.live_count == 0:
            samples = 0
        for lo in range(0, samples, limits.KERNEL_RUN_KEYS):
            keys = np.arange(lo, min(lo + limits.KERNEL_RUN_KEYS, samples), dtype=np.uint64)
            found = compute(keys, table.lookup, np.uint32)
            counts += np.bincount(found, minlength=len(nodes))
        share = counts / max(1, samples)
        return SampledStats(table.names, weights, samples, share, ideal_shares(weights))


def heading(locator: object, names: Sequence[str]) -> str:
    """How the text of a locator begins: its class, and its nodes' names, or some of them."""
    shown = [repr(name) for name in (names if len(names) <= 6 else names[:3])]
    if len(names) > 6:
        shown += ["...", repr(names[-1])]
    return f"{type(locator).__name__} of {len(names)} nodes [{', '.join(shown)}]"


def checked_int(name: str, value: object) -> int:
    """An argument that has to be an int, by name."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SettingTypeError(f"{name} must be an int, not {type(value).__name__}")
    return operator.index(value)


def joined(nodes: Iterable[Any], added: Iterable[Node]) -> tuple[Node, ...]:
    """Nodes and those added to them, in the order of their names.

    Raises:
        DuplicateNode: one of them is there already.
        LimitError: there would be too many.
    """
    there = tuple(nodes)
    coming = list(added)
    for node in coming:
        if position_of(there, node.name)[1]:
            raise DuplicateNode(
                f"there already is a node {node.name!r}; set_weight() changes its weight"
            )
    if len(there) + len(coming) > limits.NODES_MAX:
        raise LimitError(
            f"there are {len(there)} nodes, and {len(coming)} more are too many; at most "
            f"{limits.NODES_MAX} are possible"
        )
    if len(coming) == 1:
        position = position_of(there, coming[0].name)[0]
        return (*there[:position], coming[0], *there[position:])
    return tuple(sorted((*there, *coming), key=lambda node: node.name))


def checked_names(names: object) -> list[Any]:
    """Names of nodes that go, as a list; `found_position` checks each.

    Raises:
        NodeTypeError: it is one name, or no iterable.
    """
    if isinstance(names, (str, bytes)):
        raise NodeTypeError(
            f"names is one {type(names).__name__}; pass a list of names, such as [{names!r}]"
        )
    if not isinstance(names, Iterable):
        raise NodeTypeError(f"names must be an iterable of names, not {type(names).__name__}")
    return list(names)


def check_owners_only(n: object, what: str) -> None:
    """Refuse ranges of replicas, where they follow from a key's hash and not from its range.

    Raises:
        SpaceError: `n` asks for more than the owner.
        SettingTypeError: `n` is neither int nor policy.
    """
    if isinstance(n, Replicas) or checked_int("n", n) != 1:
        raise SpaceError(
            f"keys of {what} share their owner, but not their replicas, so these have no ranges; "
            "moved(a, b, keys, policy) of ringleader.placement tells which of your keys move"
        )


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
