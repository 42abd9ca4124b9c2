"""A fixed table of 2^power partitions, in the manner of OpenStack Swift's ring.

A key's partition is the top bits of its hash, and never changes; a table says which nodes hold a
partition.  So data moves by whole partitions, when the table changes and not before, and the table
can be as even, and its replicas as far apart, as whole partitions allow: within one partition of
what weights and topology ask for.  The price is a history: the table depends on all changes before,
and is saved whole.

Regions are datacenters (`Node.dc`), zones are `Node.zone`, a server is the node's tag "server", or
the host of its address, or else the node itself; a node is Swift's device.  `partition_plan` says
how many partitions each of them is due, csrc/rebalance.h how the table gets there:

- A new table is filled by halving: the cells that each node is due are split between the two
  halves of the partitions, and so on down to single partitions, where odd ones are settled within
  servers first, then zones, then regions.  Every tier then has its due of the table, of every
  aligned run of 2^k partitions, and of every single one, rounded down or up: nothing is left to
  chance or repair.  Which nodes meet in a partition is random, so that many help to restore one.
- A change moves what it must: cells of removed nodes; the one replica of a partition that stands
  too close to the others; cells of nodes that have too many, to nodes that have too few.  What
  cannot go directly goes through a third node, or by taking back another choice of this rebalance.
- The node in the first row is a partition's primary, the one that `lookup` gives.  A node has its
  share of each row, not only of the table.

Source of the idea and of the words: Swift's "The Rings", docs.openstack.org/swift/latest/
overview_ring.html.  Swift computes partitions of MD5 and builds by a randomised greedy choice; its
tables and these are not interchangeable.
"""

from __future__ import annotations

import math
import operator
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import (
    DuplicateNode,
    EmptyRingError,
    FormatError,
    LimitError,
    NodeTypeError,
    SettingError,
    SettingTypeError,
    TooFewNodes,
    VersionError,
)
from ringleader.hashing import hash_column, resolve_hash
from ringleader.keys import Key, KeyColumn
from ringleader.placement import partition_plan, saved
from ringleader.placement.located import (
    PlacerLocator,
    checked_int,
    checked_names,
    found_position,
    heading,
    position_of,
)
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.partition_plan import Topology
from ringleader.placement.partition_table import (
    NO_NODE,
    Built,
    Moves,
    Rebalance,
    Staged,
    built_of,
    check_live,
    first_table,
    full_rows,
    next_table,
    report_of,
)
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.stats import RingStats
from ringleader.placement.topology import Replicas

__all__ = ["NO_NODE", "Moves", "PartitionStats", "Partitions", "Rebalance"]

KIND = 14
PLACEMENT_VERSION = 1

_SETTINGS = "HBBddIQ"
_BUILT = "ddB"
_HAS_TABLE, _HAS_STAGED = 1, 2

Self = TypeVar("Self", bound="Partitions")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class PartitionStats(RingStats):
    """How evenly partitions are spread; `share` and what follows from it are of the primaries.

    Attributes:
        points: the partitions that each node holds as any replica, uint32.
        primaries: those that it holds as the primary, uint32.
        due: what it should hold by weight, topology and overload, float64.
        balance, dispersion: as in `Rebalance`.
    """

    primaries: NDArray[np.uint32]
    due: NDArray[np.float64]
    balance: float
    dispersion: float

    def __repr__(self) -> str:
        return (
            f"PartitionStats({len(self.names)} nodes, {int(self.primaries.sum())} partitions, "
            f"balance={self.balance:.2f}, dispersion={self.dispersion:.2f}, "
            f"peak_to_mean={self.peak_to_mean:.4f})"
        )


class Partitions(PlacerLocator):
    """A table of 2**power partitions with `replicas` nodes each: `partitions[key]` is the primary.

    Args:
        power: 0 ... 24.  A partition should be small against a node: 100 of them or more on a node
            of average weight keep it within 1 percent of its share.
        replicas: of each partition, on distinct nodes, 1 ... 32.  A fraction gives that fraction
            of the partitions one more.
        nodes: names, `Node` objects, or a mapping of names to weights.
        hash: "xxh3" (default), "xxh64", "murmur3" (x64-128, first half) or "siphash13" (keyed:
            for keys that an adversary chooses).
        seed: of the hash; for siphash13 the 128-bit key as a little-endian integer.
        overload: how much more than its share by weight a node may take (0.1: ten percent) so that
            replicas stand farther apart.
        min_move_seconds: between two moves of a partition: long enough to copy one.

    The first table is made at once, and is a function of the arguments.  Later changes
    (`add_node`, `remove_node`, `set_weight`, ...) are *staged*: they do nothing before
    `rebalance()`, which makes the next table of the last one.  `nodes`, positions and all lookups
    are those of the table; `staged_nodes` are what the next one is for.

    In one rebalance at most one replica of a partition moves, and none if the partition moved less
    than `min_move_seconds` ago: so the other replicas can be read meanwhile.  Replicas of removed
    nodes have nothing left to be read from, and always move.

    `get_nodes` and `lookup_replicas` give a key's replicas, primary first, and beyond them its
    hand-offs (`handoffs`), up to all nodes of positive weight.

    Any number of threads may look up while others change: a rebalance publishes a whole new table.

    Cost: a lookup is a hash and one access to the table, a row of which takes 2 bytes a partition
    (4 from 65,535 nodes on).  A rebalance is O(2**power * replicas) and what moves.

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `Node` and `add_node`.
        TooFewNodes: fewer nodes of positive weight than replicas (but none at all may be given).
        SettingError, SettingTypeError: a setting is out of range.
        LimitError: more nodes or cells than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(
        self,
        power: int,
        replicas: float = 3,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        hash: str = "xxh3",
        seed: int = 0,
        overload: float = 0.0,
        min_move_seconds: int = 3600,
    ) -> None:
        power = _checked_power(power)
        staged = Staged(
            sorted_nodes(nodes),
            _checked_replicas(replicas, power),
            _checked_overload(overload),
            _checked_seconds("min_move_seconds", min_move_seconds),
        )
        self._kernel_hash = resolve_hash(hash, seed)
        self._settings = (hash, operator.index(seed))
        self._power = power
        self._changing = threading.Lock()
        self._staged = staged
        self._built: Built | None = None
        if staged.nodes:
            self._adopt(first_table(self._kernel_hash, staged, power))

    # --- what it is -----------------------------------------------------------------------------

    @property
    def power(self) -> int:
        """There are 2**power partitions."""
        built = self._built
        return self._power if built is None else built.power

    @property
    def replicas(self) -> float:
        """Replicas of a partition, as staged."""
        return self._staged.replicas

    @property
    def overload(self) -> float:
        """What a node may take above its share, as staged."""
        return self._staged.overload

    @property
    def min_move_seconds(self) -> int:
        """Seconds between two moves of a partition."""
        return self._staged.min_move_seconds

    @property
    def hash(self) -> str:
        """The name of the hash."""
        return self._settings[0]

    @property
    def seed(self) -> int:
        """The hash's seed."""
        return self._settings[1]

    @property
    def version(self) -> int:
        """Tables made so far."""
        built = self._built
        return 0 if built is None else built.version

    @property
    def staged_nodes(self) -> tuple[Node, ...]:
        """The nodes that the next rebalance is for, sorted by name."""
        return self._staged.nodes

    @property
    def has_changes(self) -> bool:
        """Whether something was staged since the last rebalance."""
        built, staged = self._built, self._staged
        if built is None:
            return bool(staged.nodes)
        return (built.nodes, built.replicas, built.overload) != (
            staged.nodes, staged.replicas, staged.overload,
        )  # fmt: skip

    @property
    def cells(self) -> NDArray[np.uint32]:
        """A copy of the table: uint32 positions, shape (rows, 2**power).

        With a fraction of replicas, the last row has 2**32 - 1 for partitions without that one.
        """
        return self._whole().cells.copy()

    @property
    def moved_at(self) -> NDArray[np.uint32]:
        """A copy of the second of each partition's last move; 0 for never."""
        return self._whole().moved_at.copy()

    @property
    def balance(self) -> float:
        """Percent by which the worst node is off its share by weight.

        Infinite while a node of weight 0 holds partitions.
        """
        return self._whole().balance()

    @property
    def dispersion(self) -> float:
        """Percent of all replicas that are less far apart than they could be.

        A partition needs at most ceil(replicas / regions) in one region, ceil of that divided by
        the region's zones in one zone, and so on.  Each replica above that counts once.
        """
        return self._whole().dispersion()

    def required_overload(self) -> float:
        """The least `overload` with which the staged nodes' weights do not keep replicas close."""
        staged = self._staged
        check_live(staged)
        topology = Topology(staged.nodes)
        by_weight = partition_plan.by_weight(topology.weights, staged.replicas)
        apart = partition_plan.shares(topology, staged.replicas, math.inf)[topology.leaf_first :]
        most = max(
            (far - near) / near for far, near in zip(apart, by_weight, strict=True) if near > 0
        )
        return max(0.0, most)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Partitions):
            return NotImplemented
        one, two = self._built, other._built
        if (self._settings, self._power, self._staged) != (
            other._settings, other._power, other._staged,
        ):  # fmt: skip
            return False
        if one is None or two is None or one is two:
            return one is two
        return (
            (one.nodes, one.replicas, one.overload, one.version)
            == (two.nodes, two.replicas, two.overload, two.version)
            and np.array_equal(one.cells, two.cells)
            and np.array_equal(one.moved_at, two.moved_at)
        )

    def __repr__(self) -> str:
        return (
            f"<{heading(self, self.names)}, "
            f"2**{self.power} partitions x {self.replicas:g} replicas, version {self.version}"
            f"{', changes staged' if self.has_changes else ''}, hash={self.hash!r}, "
            f"seed={self.seed if self.hash != 'siphash13' else '(secret)'}>"
        )

    def stats(self) -> PartitionStats:
        """What each node holds, against what it should.

        Cost: O(2**power * replicas).
        """
        built = self._built
        if built is None:
            empty = np.empty(0)
            base = RingStats.of((), empty, empty.astype(np.uint32), [])
            return PartitionStats(
                **vars(base), primaries=empty.astype(np.uint32), due=empty,
                balance=0.0, dispersion=0.0,
            )  # fmt: skip
        topology = built.topology
        primaries = built.counts(0)
        width = 1 << (64 - built.power)
        base = RingStats.of(
            tuple(node.name for node in built.nodes),
            np.array([node.weight for node in built.nodes], dtype=np.float64),
            built.counts().astype(np.uint32),
            [int(count) * width for count in primaries],
        )
        shares = partition_plan.shares(topology, built.replicas, built.overload)
        due = np.array(shares)[topology.leaf_of] * (1 << built.power)
        return PartitionStats(
            **vars(base), primaries=primaries.astype(np.uint32), due=due,
            balance=built.balance(), dispersion=built.dispersion(),
        )  # fmt: skip

    # --- partitions and their nodes -------------------------------------------------------------

    def partition(self, key: Key) -> int:
        """The partition of a key: the top `power` bits of its hash.

        Raises:
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
        """
        return int(hash_column([key], *self._settings)[0]) >> (64 - self.power)

    def partitions(self, keys: KeyColumn, threads: int = 1) -> NDArray[np.uint32]:
        """The partition of each key: uint32, shape (len(keys),)."""
        hashes = hash_column(keys, *self._settings, threads=threads)
        return (hashes >> np.uint64(1) >> np.uint64(63 - self.power)).astype(np.uint32)

    def holders(self, partition: int) -> list[str]:
        """The names of the nodes that hold a partition, primary first.

        Raises:
            SettingError, SettingTypeError: there is no such partition.
        """
        built = self._whole()
        partition = checked_int("partition", partition)
        if not 0 <= partition < 1 << built.power:
            raise SettingError(f"partition={partition} is not in 0 ... 2**{built.power} - 1")
        return built.names_at(built.state.holders(partition))

    def handoffs(
        self, key: Key, n: int | Replicas | None = None, limit: int | None = None
    ) -> list[str]:
        """Who stands in for the nodes of `key`, in order, should these fail.

        In the order of the partitions behind the key's: first nodes of regions in which none of
        the key's nodes (or of the hand-offs before) stands, then of such zones, then of such
        servers, then all others.  Draining nodes are none.

        Args:
            n: None for all nodes of the partition; or the replicas that are stood in for, as in
                `lookup_replicas`.
            limit: at most so many; None for all there are.

        Raises:
            SettingError, SettingTypeError: `limit` is negative, or no int.
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
            EmptyRingError: there is no table yet.
            TooFewNodes, PolicyError: as `get_nodes`.

        Cost: O(limit) in a cluster of even weights; all of the table where few nodes are left.
        """
        if n is not None:
            return super().handoffs(key, n, limit)
        if limit is not None and (limit := checked_int("limit", limit)) < 0:
            raise SettingError(f"limit={limit} is negative")
        built = self._whole()
        partition = int(hash_column([key], *self._settings)[0]) >> (64 - built.power)
        count = len(built.nodes) if limit is None else min(limit, len(built.nodes))
        return built.names_at(built.state.handoffs(partition, count))

    @property
    def space(self) -> Space:
        """Which hash space the partitions cut into ranges."""
        return Space("hash", self.hash, self.seed)

    def ranges(self, n: int | Replicas = 1) -> Ranges:
        """Which nodes own which range of the hash space: one range a partition.

        Args:
            n: how many nodes, or a policy, as in `lookup_replicas`.

        Raises:
            EmptyRingError: there is no table yet.
            TooFewNodes, PolicyError, SettingTypeError: as `lookup_replicas`.

        Cost: a copy of the table; of O(nodes) for each partition where `n` goes beyond its rows, or
        is a policy that they alone do not settle.
        """
        built = self._whole()
        policy = n if isinstance(n, Replicas) else None
        wanted = checked_int("n", n) if policy is None else policy.total
        live = {position for position, node in enumerate(built.nodes) if node.weight > 0}
        if policy is not None:
            policy.check(built.nodes)
        if not 1 <= wanted <= len(live):
            raise TooFewNodes(f"n={wanted} nodes were asked for, but there are 1 ... {len(live)}")
        is_plain = policy is None or (
            policy.by_dc is None and policy.spread == "node" and len(live) == len(built.nodes)
        )
        if is_plain and wanted <= full_rows(built.cells):
            owners = np.ascontiguousarray(built.cells[:wanted].T)
        else:
            owners = np.empty((1 << built.power, wanted), dtype=np.uint32)
            position_of_node = {node.name: at for at, node in enumerate(built.nodes)}
            for partition in range(len(owners)):
                order = built.state.holders(partition)
                order += built.state.handoffs(partition, wanted if policy is None else len(live))
                if policy is not None:
                    nodes = [built.nodes[position] for position in order if position in live]
                    order = [position_of_node[node.name] for node in policy.choose(nodes)]
                owners[partition] = order[:wanted]
        ends = np.arange(1 << built.power, dtype=np.uint64)
        if built.power:
            ends <<= np.uint64(64 - built.power)
        ends += np.uint64(2 ** (64 - built.power) - 1)
        return Ranges(self.space, built.nodes, ends, owners)

    # --- changes: staged ------------------------------------------------------------------------

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Stage a node.

        Args:
            node: a name, or a `Node`, which carries its own weight.
            weight: of a node given by name.

        Raises:
            DuplicateNode: there is a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        with self._changing:
            self._staged = _with_node(self._staged, as_node(node, weight))

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Stage nodes: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
        """
        added = sorted_nodes(nodes)
        with self._changing:
            staged = self._staged
            for node in added:
                staged = _with_node(staged, node)
            self._staged = staged

    def remove_node(self, name: str) -> None:
        """Stage a node's removal: at the next rebalance its replicas move at once, whatever else
        holds.  For a node that still works, `set_weight(name, 0)` first drains it with care.

        Raises:
            NodeNotFound: there is no node of this name.
        """
        with self._changing:
            self._staged = _without_node(self._staged, name)

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Stage the removal of nodes: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.
        """
        names = checked_names(names)
        with self._changing:
            staged = self._staged
            for name in names:
                staged = _without_node(staged, name)
            self._staged = staged

    def set_weight(self, name: str, weight: float) -> None:
        """Stage another weight for a node; 0 drains it.

        Raises:
            NodeNotFound: there is no node of this name.
            WeightError, NodeTypeError: as `Node`.
        """
        with self._changing:
            self._staged = _with_weight(self._staged, name, weight)

    def replace_node(self, node: Node) -> None:
        """Stage new properties (weight, dc, zone, address, tags) for the node of this name.

        Raises:
            NodeNotFound: there is no node of this name.
            NodeTypeError: it is no `Node`.
        """
        if not isinstance(node, Node):
            raise NodeTypeError(f"a node to replace another is a Node, not {type(node).__name__}")
        with self._changing:
            nodes = self._staged.nodes
            at = found_position(nodes, node.name)
            self._staged = replace(self._staged, nodes=(*nodes[:at], node, *nodes[at + 1 :]))

    def set_replicas(self, replicas: float) -> None:
        """Stage another number of replicas.  Of those no longer wanted, the last rows go.

        Raises:
            SettingError, SettingTypeError, LimitError: as the class.
        """
        checked = _checked_replicas(replicas, self._power)
        with self._changing:
            self._staged = replace(self._staged, replicas=checked)

    def set_overload(self, overload: float) -> None:
        """Stage another overload.

        Raises:
            SettingError, SettingTypeError: as the class.
        """
        checked = _checked_overload(overload)
        with self._changing:
            self._staged = replace(self._staged, overload=checked)

    def set_min_move_seconds(self, seconds: int) -> None:
        """Another time between two moves of a partition, from the next rebalance on.

        Raises:
            SettingError, SettingTypeError: as the class.
        """
        checked = _checked_seconds("min_move_seconds", seconds)
        with self._changing:
            self._staged = replace(self._staged, min_move_seconds=checked)

    def discard_changes(self) -> None:
        """Forget what was staged since the last rebalance (but `min_move_seconds` stays)."""
        with self._changing:
            built = self._built
            self._staged = replace(
                self._staged,
                nodes=() if built is None else built.nodes,
                replicas=self._staged.replicas if built is None else built.replicas,
                overload=self._staged.overload if built is None else built.overload,
            )

    # --- changes: done --------------------------------------------------------------------------

    def rebalance(self, now: float | None = None, *, ignore_age: bool = False) -> Rebalance:
        """Make the next table, for the staged nodes and settings, and move as little as that takes.

        To see what would happen, rebalance a `copy()`, which costs nothing.

        Args:
            now: seconds since 1970, 1 ... 2**32 - 1; the system's clock if None.
            ignore_age: move partitions whatever `min_move_seconds` says.

        Returns:
            What moved, and what is left for later; call again then.

        Raises:
            TooFewNodes: fewer nodes of positive weight than replicas; nothing changed.
            EmptyRingError: there are no nodes at all.
            SettingError, SettingTypeError: `now` is no time.
        """
        second = _checked_now(now)
        with self._changing:
            return self._rebalance(self._staged, second, bool(ignore_age))

    def update(
        self,
        *,
        add: Iterable[str | Node] | Mapping[str, float] = (),
        remove: Iterable[str] = (),
        weights: Mapping[str, float] | None = None,
        now: float | None = None,
    ) -> Rebalance:
        """Stage several changes and rebalance, or refuse all of it.

        Args:
            add: nodes, as for the class.
            remove: names of nodes.
            weights: names of nodes, and their new weights.
            now: as for `rebalance`.

        Raises:
            Everything that `add_node`, `remove_node`, `set_weight` and `rebalance` raise.
        """
        second = _checked_now(now)
        added = sorted_nodes(add)
        if isinstance(remove, str):
            raise NodeTypeError(f"remove is one str; pass a list of names, such as [{remove!r}]")
        with self._changing:
            staged = self._staged
            for name in remove:
                staged = _without_node(staged, name)
            for name, weight in (weights or {}).items():
                staged = _with_weight(staged, name, weight)
            for node in added:
                staged = _with_node(staged, node)
            return self._rebalance(staged, second, False)

    def set_power(self, power: int) -> None:
        """Split every partition into 2**(power - self.power), all on the nodes it is on.

        Takes effect at once: no data moves to another node, though what was one partition there is
        several now.

        Raises:
            SettingError: that would be fewer partitions than there are, or too many.
            SettingTypeError: `power` is no int.
            LimitError: the table would have too many cells.
        """
        power = _checked_power(power)
        with self._changing:
            if power < self._power:
                raise SettingError(
                    f"power={power}, but there are 2**{self._power} partitions, and they cannot "
                    "be joined; make a new table"
                )
            _checked_replicas(self._staged.replicas, power)
            times = 1 << (power - self._power)
            built = self._built
            self._power = power
            if built is not None and times > 1:
                self._adopt(
                    built_of(
                        self._kernel_hash,
                        built.topology,
                        built.replicas,
                        built.overload,
                        np.repeat(built.cells, times, axis=1),
                        np.repeat(built.moved_at, times),
                        built.version,
                    )
                )

    def _rebalance(self, staged: Staged, now: int, ignore_age: bool) -> Rebalance:
        built = self._built
        if built is None:
            check_live(staged)
            after = first_table(self._kernel_hash, staged, self._power)
            waiting, ready = 0, np.ones(1 << self._power, dtype=np.uint8)
            changed = np.zeros(0, dtype=np.uint32)
            wanted: list[int] = []
        else:
            age = now - built.moved_at.astype(np.int64)
            ready = (
                (built.moved_at == 0) | (age >= staged.min_move_seconds) | ignore_age
            ).view(np.uint8)  # fmt: skip
            after, changed, waiting, wanted = next_table(
                self._kernel_hash, built, staged, ready, now
            )
        report = report_of(built, after, staged, waiting, wanted, ready, changed)
        self._adopt(after)
        self._staged = staged
        return report

    def _adopt(self, built: Built) -> None:
        self._built = built
        self._publish(kernels.placer.Placer(built.state, built.nodes))

    def _whole(self) -> Built:
        built = self._built
        if built is None:
            raise EmptyRingError(
                "there is no table yet; add nodes with add_node(), and rebalance()"
            )
        return built

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """A table that is equal now and changes on its own.  Shares what never changes: O(1)."""
        twin = type(self).__new__(type(self))
        with self._changing:
            twin._kernel_hash = self._kernel_hash
            twin._settings = self._settings
            twin._power = self._power
            twin._staged = self._staged
            twin._built = self._built
            if self._built is not None:
                twin._publish(self.table)
        twin._changing = threading.Lock()
        return twin

    __copy__ = copy

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def to_bytes(self) -> bytes:
        """The table, saved whole with its history and what is staged (docs/formats.md)."""
        with self._changing:
            built, staged = self._built, self._staged
        body = saved.Writer()
        has_staged = built is None or built.nodes != staged.nodes
        body.put(
            _SETTINGS,
            PLACEMENT_VERSION,
            self._power,
            (built is not None) * _HAS_TABLE + has_staged * _HAS_STAGED,
            staged.replicas,
            staged.overload,
            staged.min_move_seconds,
            0 if built is None else built.version,
        )
        body.hash(*self._settings)
        if built is not None:
            body.put(_BUILT, built.replicas, built.overload, len(built.cells))
            body.nodes(built.nodes)
            body.array(built.cells.astype(_cell_dtype(len(built.nodes))))
            body.array(built.moved_at)
        if has_staged:
            body.nodes(staged.nodes)
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(cls: type[Self], data: bytes | bytearray | memoryview) -> Self:
        """The table that `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved table of partitions.
            VersionError: they were written by a newer version.
            FormatTypeError: `data` is no bytes.
        """
        power, settings, staged, built = saved.unframe(data, KIND, _read)
        twin = cls(
            power,
            staged.replicas,
            hash=settings[0],
            seed=settings[1],
            overload=staged.overload,
            min_move_seconds=staged.min_move_seconds,
        )
        twin._staged = staged
        if built is not None:
            twin._adopt(built)
        return twin


# --- staging ------------------------------------------------------------------------------------


def _with_node(staged: Staged, node: Node) -> Staged:
    position, found = position_of(staged.nodes, node.name)
    if found:
        raise DuplicateNode(
            f"there is a node {node.name!r} already; set_weight() and replace_node() change it"
        )
    if len(staged.nodes) >= limits.PARTITION_NODES_MAX:
        raise LimitError(f"there are {len(staged.nodes)} nodes, as many as there may be")
    nodes = (*staged.nodes[:position], node, *staged.nodes[position:])
    return replace(staged, nodes=nodes)


def _without_node(staged: Staged, name: str) -> Staged:
    position = found_position(staged.nodes, name)
    return replace(staged, nodes=staged.nodes[:position] + staged.nodes[position + 1 :])


def _with_weight(staged: Staged, name: str, weight: float) -> Staged:
    position = found_position(staged.nodes, name)
    node = staged.nodes[position].with_weight(weight)
    nodes = (*staged.nodes[:position], node, *staged.nodes[position + 1 :])
    return replace(staged, nodes=nodes)


# --- checks -------------------------------------------------------------------------------------


def _checked_power(power: object) -> int:
    value = checked_int("power", power)
    if not 0 <= value <= limits.PARTITION_POWER_MAX:
        raise SettingError(f"power={value} is not in 0 ... {limits.PARTITION_POWER_MAX}")
    return value


def _checked_real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingTypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingError(f"{name}={number} is not finite")
    return number + 0.0


def _checked_replicas(replicas: object, power: int) -> float:
    value = _checked_real("replicas", replicas)
    if not 1 <= value <= limits.PARTITION_REPLICAS_MAX:
        raise SettingError(f"replicas={value:g} is not in 1 ... {limits.PARTITION_REPLICAS_MAX}")
    if math.ceil(value) << power > limits.PARTITION_CELLS_MAX:
        raise LimitError(
            f"2**{power} partitions with {value:g} replicas are more than the "
            f"{limits.PARTITION_CELLS_MAX} cells that a table may have; lower power"
        )
    return value


def _checked_overload(overload: object) -> float:
    value = _checked_real("overload", overload)
    if value < 0:
        raise SettingError(f"overload={value:g} is negative; 0.1 is ten percent")
    return value


def _checked_seconds(name: str, seconds: object) -> int:
    value = checked_int(name, seconds)
    if not 0 <= value <= limits.PARTITION_SECONDS_MAX:
        raise SettingError(f"{name}={value} is not in 0 ... {limits.PARTITION_SECONDS_MAX}")
    return value


def _checked_now(now: object) -> int:
    value = math.floor(_checked_real("now", time.time() if now is None else now))
    if not 1 <= value <= limits.PARTITION_SECONDS_MAX:
        raise SettingError(f"now={value} is not in 1 ... {limits.PARTITION_SECONDS_MAX} seconds")
    return value


# --- bytes --------------------------------------------------------------------------------------


def _cell_dtype(node_count: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if node_count < 2**16 - 1 else np.uint32


def _read(
    reader: saved.Reader,
) -> tuple[int, tuple[str, int], Staged, Built | None]:
    placement, power, flags, replicas, overload, seconds, version = reader.take(_SETTINGS)
    if placement > PLACEMENT_VERSION:
        raise VersionError(
            f"the saved table of partitions uses placement version {placement}; this ringleader "
            f"knows {PLACEMENT_VERSION}: upgrade it"
        )
    if placement != PLACEMENT_VERSION or flags not in {_HAS_TABLE, _HAS_STAGED, 3}:
        raise FormatError(f"placement version {placement}, flags {flags} are unknown")
    settings = reader.hash()
    _checked_power(power)
    _checked_replicas(replicas, power)
    _checked_overload(overload)
    kernel_hash = resolve_hash(*settings)
    built = _read_built(reader, kernel_hash, power, version) if flags & _HAS_TABLE else None
    if built is None and version:
        raise FormatError(f"the saved table has version {version}, and is not there")
    nodes = () if built is None else built.nodes
    if flags & _HAS_STAGED:
        staged_nodes = reader.nodes()
        if built is not None and staged_nodes == nodes:
            raise FormatError("the saved table has its nodes twice")
        nodes = staged_nodes
    return power, settings, Staged(nodes, replicas + 0.0, overload + 0.0, seconds), built


def _read_built(
    reader: saved.Reader, kernel_hash: tuple[int, int, int], power: int, version: int
) -> Built:
    replicas, overload, rows = reader.take(_BUILT)
    _checked_replicas(replicas, power)
    _checked_overload(overload)
    if not 1 <= version < 2**63:  # there is room for more rebalances than there can be
        raise FormatError(f"the saved table of partitions has version {version}")
    parts = 1 << power
    nodes = reader.nodes()
    if not any(node.weight > 0 for node in nodes):
        raise FormatError("none of the saved table's nodes has a positive weight")
    if len(nodes) > limits.PARTITION_NODES_MAX:
        raise LimitError(f"the saved table has {len(nodes)} nodes")
    if not math.floor(replicas) <= rows <= math.ceil(replicas):
        raise FormatError(f"the saved table has {rows} rows for {replicas:g} replicas")
    dtype = _cell_dtype(len(nodes))
    stored = reader.array(dtype, rows * parts).reshape(rows, parts)
    cells = stored.astype(np.uint32)
    if dtype is np.uint16:
        cells[stored == 2**16 - 1] = NO_NODE
    moved_at = reader.array(np.uint32, parts)
    absent = cells == NO_NODE
    if absent[:-1].any() or absent[-1].all() or (absent.any() and replicas == rows):
        raise FormatError("a partition of the saved table lacks a replica")
    if (cells[~absent] >= len(nodes)).any():
        partition = int(np.nonzero((cells >= len(nodes)) & ~absent)[1][0])
        raise FormatError(
            f"partition {partition} of the saved table is on a node that is not there"
        )
    ordered = np.sort(cells, axis=0)
    twice = (ordered[1:] == ordered[:-1]).any(axis=0)
    if twice.any():
        partition = int(np.flatnonzero(twice)[0])
        raise FormatError(f"partition {partition} of the saved table is twice on one node")
    topology = Topology(nodes)
    return built_of(kernel_hash, topology, replicas + 0.0, overload + 0.0, cells, moved_at, version)
