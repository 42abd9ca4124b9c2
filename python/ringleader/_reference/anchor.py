"""AnchorHash in plain Python: the paper's arrays A, W, L, K, and its procedures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.mix import bucket_salt, in_range, mix
from ringleader._reference.placer import rehash_replicas
from ringleader._reference.ring import hash_function


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


def checked_live(removed: NDArray[np.uint32], positions: NDArray[np.uint32]) -> list[int]:
    """The positions of the nodes whose buckets stand, ascending."""
    bucket_count = len(positions)
    gone = {int(bucket) for bucket in removed}
    if not 1 <= bucket_count < 2**31:
        raise ValueError(f"{bucket_count} buckets")
    if len(removed) >= bucket_count or any(bucket >= bucket_count for bucket in gone):
        raise ValueError("more buckets are removed than there are")
    if len(gone) != len(removed):
        raise ValueError("a bucket is removed twice")
    live = sorted(int(positions[b]) for b in range(bucket_count) if b not in gone)
    if len(set(live)) != len(live):
        raise ValueError("two buckets of one position")
    return live


@final
class State:
    """Buckets of which some were removed, in that order; `positions` has a node for each other."""

    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        removed: NDArray[np.uint32],
        positions: NDArray[np.uint32],
    ) -> None:
        self.live: Sequence[int] = checked_live(removed, positions)
        self.hash = hash_function(kind, seed, seed_hi)
        self._positions = positions
        count = len(positions)
        self._A = [0] * count  # 0: in the working set; else its size after the removal
        self._W = list(range(count))  # the working set
        self._L = list(range(count))  # where a bucket stood last in W
        self._K = list(range(count))  # who replaced it there
        self._N = count
        for bucket in removed:
            self._remove(int(bucket))

    @property
    def nbytes(self) -> int:
        return 8 * len(self._A) + 4 * len(self.live)

    def _remove(self, b: int) -> None:
        self._N -= 1
        self._A[b] = self._N
        self._W[self._L[b]] = self._K[b] = self._W[self._N]
        self._L[self._W[self._N]] = self._L[b]

    def bucket(self, value: int) -> int:
        A, K = self._A, self._K
        b = in_range(value, len(A))
        while A[b] > 0:
            h = in_range(mix(value, bucket_salt(b)), A[b])
            while A[h] >= A[b]:
                h = K[h]
            b = h
        return b

    def owner(self, value: int) -> int:
        return int(self._positions[self.bucket(value)])

    def replicas(self, value: int, wanted: int) -> list[int]:
        return rehash_replicas(self, value, wanted)
