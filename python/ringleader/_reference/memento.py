"""MementoHash in plain Python: jump hash, and the paper's set of replacements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.anchor import checked_live
from ringleader._reference.jump import bucket as jump_bucket
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
        # bucket -> the size of the working set after its removal, which is also who replaced it
        self._R = {int(b): len(positions) - i - 1 for i, b in enumerate(removed)}

    @property
    def nbytes(self) -> int:
        return 8 * len(self._positions) + 4 * len(self.live)

    def bucket(self, value: int) -> int:
        b = jump_bucket(value, len(self._positions))
        while b in self._R:
            size = self._R[b]
            d = in_range(mix(value, bucket_salt(b)), size)
            while d in self._R and self._R[d] >= size:
                d = self._R[d]
            b = d
        return b

    def owner(self, value: int) -> int:
        return int(self._positions[self.bucket(value)])

    def replicas(self, value: int, wanted: int) -> list[int]:
        return rehash_replicas(self, value, wanted)
