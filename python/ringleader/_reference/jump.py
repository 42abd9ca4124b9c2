"""Jump consistent hash in plain Python: the paper's figure 1, and exact arithmetic beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.placer import MASK, rehash_replicas
from ringleader._reference.ring import hash_function


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


def bucket(value: int, bucket_count: int) -> int:
    at, following = -1, 0
    while following < bucket_count:
        at = following
        value = (value * 2862933555777941757 + 1) & MASK
        following = int(float(at + 1) * (float(1 << 31) / float((value >> 33) + 1)))
    return at


def buckets(values: NDArray[np.uint64], out: NDArray[np.uint32], bucket_count: int) -> None:
    if len(values) != len(out):
        raise ValueError(f"{len(values)} values, but room for {len(out)}")
    for i, value in enumerate(values.tolist()):
        out[i] = bucket(value, bucket_count)


@final
class State:
    """The state of jump consistent hash over `bucket_count` buckets."""

    nbytes = 0

    def __init__(self, kind: int, seed: int, seed_hi: int, bucket_count: int) -> None:
        if not 1 <= bucket_count < 2**31:
            raise ValueError(f"{bucket_count} buckets")
        self.hash = hash_function(kind, seed, seed_hi)
        self.live: Sequence[int] = range(bucket_count)

    def owner(self, value: int) -> int:
        return bucket(value, len(self.live))

    def replicas(self, value: int, wanted: int) -> list[int]:
        return rehash_replicas(self, value, wanted)
