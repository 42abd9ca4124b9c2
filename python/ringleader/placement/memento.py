"""MementoHash (Coluzzi, Brocco, Antonucci, Leidi: "MementoHash: A Stateful, Minimal Memory, Best
Performing Consistent Hash Algorithm", 2023): jump hash that lets any node leave.

The mapping is *MementoHash format v1*, published in docs/formats.md with golden vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import FormatError, LimitError
from ringleader.placement.buckets import BucketLocator, Buckets, first_buckets
from ringleader.placement.node import Node


class MementoHash(BucketLocator):
    """MementoHash: perfectly even, minimal movement, any node may leave, no capacity to choose.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, each 1 or 0; in any order.
        hash, seed: as of `HashRing`.

    Every node has the same expected share, and no key moves but those of the node that leaves or
    to the node that comes.  As long as nobody left but the last to come, the buckets are those
    of `JumpHash`.  Who has which keys depends on the history of changes, which is saved with it:
    two fleets that want to agree exchange `to_bytes()`, or make the same changes in the same
    order.

    Replicas: the owners of the hash and of its rehashes (docs/formats.md), without repetition.

    Cost: a lookup O(ln(buckets) + ln(buckets / nodes)^2) on average; a change or a build
    O(buckets), where buckets are the nodes and those that left and were not replaced.
    Memory: 12 bytes for each bucket.

    Raises:
        DuplicateNode, NodeError, NodeTypeError: as `Node` and `add_node`.
        WeightError: a weight is neither 1 nor 0.
        SettingError, SettingTypeError: unknown hash, or seed out of range.
        LimitError: more nodes than `ringleader.limits` allows.
    """

    KIND = 10

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        hash: str = "xxh3",
        seed: int = 0,
    ) -> None:
        self._begin(hash, seed)
        members = self._members(nodes)
        standing = sum(node.weight != 0 for node in members)
        if standing > limits.BUCKETS_MAX:
            raise LimitError(f"{standing} nodes are too many; at most {limits.BUCKETS_MAX}")
        none = np.empty(0, dtype=np.uint32)
        self._adopt(Buckets(members, first_buckets(members), standing, none))

    @staticmethod
    def _state(*arguments: Any) -> Any:
        return kernels.memento.State(*arguments)

    def _taken(self, now: Buckets) -> tuple[int, int, NDArray[np.uint32]]:
        if len(now.removed):
            return int(now.removed[-1]), now.bucket_count, now.removed[:-1].copy()
        if now.bucket_count >= limits.BUCKETS_MAX:
            raise LimitError(f"there are {now.bucket_count} buckets, as many as there may be")
        return now.bucket_count, now.bucket_count + 1, now.removed

    def _given_back(self, now: Buckets, bucket: int) -> tuple[int, NDArray[np.uint32]]:
        if len(now.removed) == 0 and bucket == now.bucket_count - 1:
            return now.bucket_count - 1, now.removed  # as jump hash does it: nothing to remember
        return super()._given_back(now, bucket)

    @classmethod
    def _check_saved(cls, now: Buckets) -> None:
        if len(now.removed) and now.removed[0] == now.bucket_count - 1:
            raise FormatError("the saved MementoHash remembers a bucket that it would forget")
