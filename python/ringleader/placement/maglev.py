"""Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
NSDI 2016, section 3.4), with tables that are Envoy's.

A table has M slots, M a prime.  With H the hash and H' the hash under the next seed, a node has a
permutation of the slots,

    slot(node, j) = (H(name) mod M + j * (H'(name) mod (M - 1) + 1)) mod M         j = 0, 1, 2, ...

and the nodes, in the order of their names, take turns at taking their first slot that is free.  A
key belongs to the node in slot H(key) mod M.  With xxh64 and seed 0, the defaults, tables and
owners are those of Envoy's `MAGLEV` policy, with the same addresses for names and the key for the
one value that is hashed (docs/formats.md).

Every node has floor(M / n) or ceil(M / n) slots, so the load is as even as can be, and a lookup is
one load.  The price: where a node comes or goes, some slots change hands between others, too.  How
many falls with M / n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import (
    FormatError,
    LimitError,
    SettingError,
    SettingTypeError,
    VersionError,
)
from ringleader.hashing import resolve_hash
from ringleader.placement import saved
from ringleader.placement.located import check_owners_only, checked_int
from ringleader.placement.members import MemberPlacer
from ringleader.placement.node import Node
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.stats import CIRCLE, RingStats
from ringleader.placement.topology import Replicas

Self = TypeVar("Self", bound="Maglev")

KIND = 6
MAGLEV_VERSION = 1

#: Beyond a hash's last seed comes 0 again.
_SEED_BITS = {"xxh3": 64, "xxh64": 64, "murmur3": 32, "siphash13": 128}


def is_prime(number: int) -> bool:
    """Whether a number up to 2**40 or so is a prime."""
    if number < 4:
        return number in (2, 3)
    if number % 2 == 0 or number % 3 == 0:
        return False
    return all(number % at and number % (at + 2) for at in range(5, math.isqrt(number) + 1, 6))


def prime_from(number: int) -> int:
    """The first prime that is not below `number`."""
    while not is_prime(number):
        number += 1
    return number


def shares_of(nodes: Iterable[Node]) -> NDArray[np.float64]:
    """Each weight divided by their sum, in double arithmetic."""
    weights = [node.weight for node in nodes]
    is_live = np.array([weight > 0 for weight in weights], dtype=bool)
    try:
        total = math.fsum(weights)
    except OverflowError:
        total = math.inf
    if math.isinf(total):
        weights = [weight * 2.0**-64 for weight in weights]
        total = math.fsum(weights)
    shares = np.array(weights, dtype=np.float64)
    if total == 0:
        return shares
    # A weight that vanishes beside the others is still no 0, which would drain its node.
    tiny = np.finfo(np.float64).smallest_normal
    return np.where(is_live, np.maximum(shares / total, tiny), 0.0)


class Maglev(MemberPlacer):
    """Maglev hashing: a table of a prime number of slots, each with a node.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order.
        table_size: the number of slots M, a prime.  No node's load is more than 1 + n/M times the
            mean: `suggest_table_size` gives an M for what you can bear.  The paper's sizes are
            65537 (`SMALL`) and 655373 (`LARGE`).
        hash: "xxh64" (default, Envoy's), "xxh3", "murmur3" or "siphash13".
        seed: of the hash of keys and of the first of names; the second has the next seed.  0 is
            Envoy's.

    A node's slots are in proportion to its weight, as near as M allows; any node of positive weight
    has one at least.  Weight 0 drains.  The replicas of a key are the owner and, of Envoy's
    retries, those that are distinct.

    When a node comes to n nodes, 1 / (n + 1) of the keys have to move and do; besides, others move
    between nodes that stay.  Measured, of all keys: at 65537 slots 0.2% with 10 nodes, 0.6% with
    100 or 1000; at 655373 slots 0.07%, 0.14% and 0.3%; as much when a node goes.  A change of a
    weight can move keys between any nodes, as all take turns.

    Any number of threads may look up while others change the nodes: a change fills a new table and
    swaps it in one assignment.

    Cost: a lookup one load; a change fills the table anew, O(M log M), with weights that differ
    O(M log M + M log n).  Memory: 2 bytes a slot, 4 with more than 65536 nodes.

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `Node`.
        SettingError, SettingTypeError: `table_size` is no prime, or there are more nodes of
            positive weight than slots; unknown hash, or seed out of range.
        LimitError: more slots or nodes than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]

    SMALL: ClassVar[int] = 65_537
    LARGE: ClassVar[int] = 655_373

    if TYPE_CHECKING:

        @property
        def table(self) -> kernels.placer.Placer: ...

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        table_size: int = SMALL,
        hash: str = "xxh64",
        seed: int = 0,
    ) -> None:
        table_size = checked_int("table_size", table_size)
        if table_size > limits.MAGLEV_SLOTS_MAX:
            raise LimitError(
                f"table_size={table_size} is too large; at most {limits.MAGLEV_SLOTS_MAX} slots "
                "are allowed"
            )
        if not is_prime(table_size):
            below = next((at for at in range(table_size - 1, 1, -1) if is_prime(at)), None)
            near = f"{below} or " if below else ""
            raise SettingError(
                f"table_size={table_size} is no prime, and only modulo a prime does every node's "
                f"permutation meet every slot; take {near}{prime_from(max(2, table_size))}"
            )
        self._begin(nodes, hash, seed, (table_size,))

    @staticmethod
    def suggest_table_size(node_count: int, peak_to_mean: float = 1.01) -> int:
        """The smallest prime M with which no node of equal weight has more than its share.

        Args:
            node_count: how many nodes there will be.
            peak_to_mean: how much more than the mean the fullest one may have, above 1.

        Raises:
            SettingError, SettingTypeError: node_count < 1, or peak_to_mean is not above 1.
            LimitError: it would be more than `ringleader.limits` allows.
        """
        node_count = checked_int("node_count", node_count)
        if isinstance(peak_to_mean, bool) or not isinstance(peak_to_mean, (int, float)):
            raise SettingTypeError(
                f"peak_to_mean must be a number, not {type(peak_to_mean).__name__}"
            )
        if node_count < 1 or not 1 < peak_to_mean < math.inf:
            raise SettingError(
                f"node_count={node_count} must be 1 or more, and peak_to_mean={peak_to_mean} "
                "above 1 and finite"
            )
        # ceil(M / n) / (M / n) < (M / n + 1) / (M / n) = 1 + n / M
        wanted = node_count / (peak_to_mean - 1)
        if wanted <= limits.MAGLEV_SLOTS_MAX:
            size = prime_from(max(2, math.ceil(wanted), node_count))
            if size <= limits.MAGLEV_SLOTS_MAX:
                return size
        raise LimitError(
            f"{node_count} nodes at a peak of {peak_to_mean} would take a table of more than "
            f"{limits.MAGLEV_SLOTS_MAX} slots"
        )

    def _state_of(self, nodes: tuple[Node, ...]) -> kernels.maglev.State | None:
        (table_size,) = self._options
        shares = shares_of(nodes)
        live_count = int(np.count_nonzero(shares))
        if live_count == 0:
            return None
        if live_count > table_size:
            raise SettingError(
                f"{live_count} nodes do not fit a table of {table_size} slots; "
                f"Maglev.suggest_table_size({live_count}) gives a size that is even, too"
            )
        next_seed = (self._seed + 1) % 2 ** _SEED_BITS[self._hash]
        first = resolve_hash(self._hash, self._seed)
        second = resolve_hash(self._hash, next_seed)[1:]
        names = tuple(node.name for node in nodes)
        return kernels.maglev.State(*first, *second, table_size, names, shares)

    def _option_texts(self) -> str:
        return f"table_size={self.table_size}"

    @property
    def table_size(self) -> int:
        """The number of slots, a prime."""
        return self._options[0]

    @property
    def slots(self) -> NDArray[np.uint32]:
        """The position of each slot's node: uint32, shape (table_size,), a copy.

        Raises:
            EmptyRingError: no node has a positive weight.
        """
        table = self.table
        table.check_wanted(1)
        state: Any = table.state
        slots: NDArray[np.uint32] = state.slots()
        return slots

    def stats(self) -> RingStats:
        """The exact share of the hashes of each node, against its weight; `points` are its slots.

        Cost: O(table_size).
        """
        table = self.table
        names, nodes = table.names, table.nodes
        weights = np.array([node.weight for node in nodes], dtype=np.float64)  # type: ignore[attr-defined]
        if table.state is None:
            return RingStats.of(names, weights, np.zeros(len(names), np.uint32), [0] * len(names))
        state: Any = table.state
        counts = state.counts()
        # Slot s has the hashes s, s + M, s + 2 M ...: one more where s < 2**64 mod M.
        each, longer = divmod(CIRCLE, self.table_size)
        more = np.bincount(state.slots()[:longer], minlength=len(names)).tolist()
        arcs = [each * count + extra for count, extra in zip(counts.tolist(), more, strict=True)]
        return RingStats.of(names, weights, counts, arcs)

    @property
    def space(self) -> Space:
        """The space of slots, which only Maglev tables of one size, hash and seed share."""
        return Space(f"maglev-{self.table_size}", self._hash, self._seed)

    def ranges(self, n: int | Replicas = 1) -> Ranges:
        """Who owns which slots, as ranges of a circle of 2**64 numbers.

        A slot is no range of hashes: it has every M-th of them.  So the circle here is that of the
        slots: slot s has the numbers from ceil(s 2**64 / M) on up to the next slot's.  Widths are
        shares of the keys as they are elsewhere, exact to 2**-64.

        Args:
            n: 1.  The replicas of a key follow from all bits of its hash, so that keys of one slot
                differ in them.

        Raises:
            EmptyRingError: no node has a positive weight.
            SpaceError: replicas were asked for.
            SettingTypeError: `n` is neither int nor policy.

        Cost: O(table_size).
        """
        check_owners_only(n, "a slot of a Maglev table")
        table = self.table
        slots, size = self.slots, self.table_size
        last = np.flatnonzero(np.append(slots[1:] != slots[:-1], True)).tolist()
        # The last number of slot s is ceil((s + 1) 2**64 / M) - 1.
        ends = np.array([((at + 1) * CIRCLE - 1) // size for at in last], dtype=np.uint64)
        nodes: tuple[Node, ...] = table.nodes  # type: ignore[assignment]
        return Ranges(self.space, nodes, ends, slots[last][:, np.newaxis])

    # --- bytes ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The settings and the nodes, saved (docs/formats.md), checksummed."""
        body = saved.Writer()
        body.put("H", MAGLEV_VERSION)
        body.hash(self._hash, self._seed)
        body.put("I", self.table_size)
        body.nodes(self.nodes)
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        table_size_max: int = limits.MAGLEV_SLOTS_MAX,
    ) -> Self:
        """What `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Args:
            table_size_max: refuse a larger table.  A small file can ask for one that takes half a
                minute and 550 MB to fill: bound it where the bytes are not yours.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved Maglev table.
            VersionError: they were written by a newer version.
            LimitError: the table has more than `table_size_max` slots.
            FormatTypeError, SettingTypeError: `data` is no bytes, `table_size_max` no int.
        """
        table_size_max = checked_int("table_size_max", table_size_max)

        def body(reader: saved.Reader) -> tuple[str, int, int, tuple[Node, ...]]:
            (version,) = reader.take("H")
            if version > MAGLEV_VERSION:
                raise VersionError(
                    f"the saved Maglev table has version {version}; this ringleader knows "
                    f"{MAGLEV_VERSION}: upgrade it"
                )
            if version != MAGLEV_VERSION:
                raise FormatError(f"version {version} of a saved Maglev table is unknown")
            hash, seed = reader.hash()
            (table_size,) = reader.take("I")
            nodes = reader.nodes()
            live_count = sum(node.weight > 0 for node in nodes)
            if not is_prime(table_size) or live_count > table_size:
                raise FormatError(
                    f"the saved Maglev table has {table_size} slots for {live_count} nodes: "
                    "that cannot be"
                )
            return hash, seed, table_size, nodes

        hash, seed, table_size, nodes = saved.unframe(data, KIND, body)
        if table_size > table_size_max:
            raise LimitError(
                f"the saved table has {table_size} slots; table_size_max={table_size_max}"
            )
        return cls(nodes, table_size=table_size, hash=hash, seed=seed)
