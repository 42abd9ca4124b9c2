"""AnchorHash (Mendelson, Vargaftik, Barabash, Lorenz, Keslassy, Orda: "AnchorHash: A Scalable
Consistent Hash", IEEE/ACM Transactions on Networking 29(2), 2021).

The mapping is *AnchorHash format v1*, published in docs/formats.md with golden vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import LimitError, SettingError
from ringleader.placement.buckets import BucketLocator, Buckets, first_buckets
from ringleader.placement.located import checked_int
from ringleader.placement.node import Node


class AnchorHash(BucketLocator):
    """AnchorHash: perfectly even, minimal movement, any node may leave; up to `capacity` nodes.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, each 1 or 0; in any order.
        capacity: the most nodes there will ever be at a time; it never changes.  A lookup takes
            about 1 + ln(capacity / nodes) steps.  Default: twice the nodes, at least 16.
        hash, seed: as of `HashRing`.

    Every node has the same expected share, and no key moves but those of the node that leaves or
    to the node that comes.  Who has which keys depends on the history of changes, which is saved
    with it: two fleets that want to agree exchange `to_bytes()`, or make the same changes in the
    same order.  Where nodes leave and come back often, memory stays at `capacity` entries.

    Replicas: the owners of the hash and of its rehashes (docs/formats.md), without repetition.

    Cost: a lookup O(1 + ln(capacity / nodes)) on average; a change or a build O(capacity).
    Memory: 12 bytes for each bucket.

    Raises:
        DuplicateNode, NodeError, NodeTypeError: as `Node` and `add_node`.
        WeightError: a weight is neither 1 nor 0.
        SettingError, SettingTypeError: unknown hash, seed or capacity out of range.
        LimitError: more nodes than `capacity`.
    """

    KIND = 9

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        capacity: int | None = None,
        hash: str = "xxh3",
        seed: int = 0,
    ) -> None:
        self._begin(hash, seed)
        members = self._members(nodes)
        of = first_buckets(members)
        standing = sum(node.weight != 0 for node in members)
        if capacity is None:
            capacity = min(max(2 * standing, 16), limits.BUCKETS_MAX)
        capacity = checked_int("capacity", capacity)
        if not 1 <= capacity <= limits.BUCKETS_MAX:
            raise SettingError(f"capacity={capacity} is not in 1 ... {limits.BUCKETS_MAX}")
        if standing > capacity:
            raise LimitError(
                f"{standing} nodes do not fit into capacity={capacity}; give it the most nodes "
                "that there will ever be"
            )
        removed = np.arange(standing, capacity, dtype=np.uint32)[::-1].copy()
        self._adopt(Buckets(members, of, capacity, removed))

    @staticmethod
    def _state(*arguments: Any) -> Any:
        return kernels.anchor.State(*arguments)

    @property
    def capacity(self) -> int:
        """The most nodes there may be at a time."""
        return self._now.bucket_count

    def _taken(self, now: Buckets) -> tuple[int, int, NDArray[np.uint32]]:
        if len(now.removed) == 0:
            raise LimitError(
                f"all {now.bucket_count} buckets have a node; the capacity is fixed: build an "
                "AnchorHash of a larger one (which moves keys), or use MementoHash, which has none"
            )
        return int(now.removed[-1]), now.bucket_count, now.removed[:-1].copy()

    @classmethod
    def _check_saved(cls, now: Buckets) -> None:
        if now.bucket_count < 1:
            raise SettingError("the saved AnchorHash has no bucket")
