"""Rendezvous hashing in plain Python: every node's time for every key, and the earliest wins."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.hashing import murmur3_x86_32
from ringleader._reference.mix import mix
from ringleader._reference.placer import rehash_replicas
from ringleader._reference.ring import hash_function


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


LN_2 = 0.6931471805599453
SERIES = [1.0 / n for n in range(19, 0, -2)]


def exponential(draw: int) -> float:
    """-ln(1 - draw / 2**64), as the format defines it."""
    octaves = 0
    while draw >> 63:
        octaves += 1
        draw = draw << 1 & (1 << 64) - 1
    x = float(draw) * 2.0**-64
    s = x / (2.0 - x)
    square = s * s
    total = SERIES[0]
    for term in SERIES[1:]:
        total = total * square + term
    return octaves * LN_2 + (s + s) * total


def hashes(kind: int, seed: int, seed_hi: int, texts: list[bytes]) -> NDArray[np.uint64]:
    """The hash of each of these bytes, as a uint64 array."""
    function = hash_function(kind, seed, seed_hi)
    return np.array([function(text) for text in texts], dtype=np.uint64)


@final
class State:
    """Groups of entries; the last groups, from `leaf_start` on, hold the nodes."""

    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        salts: NDArray[np.uint64],
        weights: NDArray[np.float64],
        targets: NDArray[np.uint32],
        starts: NDArray[np.uint32],
        leaf_start: int,
    ) -> None:
        bounds = [int(start) for start in starts]
        if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != len(salts):
            raise ValueError("the groups do not make up the entries")
        if any(lo >= hi for lo, hi in pairwise(bounds)):
            raise ValueError("the groups do not make up the entries")
        if not len(salts) == len(weights) == len(targets) or leaf_start >= len(bounds) - 1:
            raise ValueError("salts, weights and targets are not of one length")
        if not all(0 < weight < float("inf") for weight in weights.tolist()):
            raise ValueError("a weight that is not positive")
        entries = list(zip(salts.tolist(), weights.tolist(), targets.tolist(), strict=True))
        self._groups = [entries[lo:hi] for lo, hi in pairwise(bounds)]
        for number, group in enumerate(self._groups[:leaf_start]):
            if any(not number < target < len(self._groups) for _, _, target in group):
                raise ValueError("an entry that leads nowhere")
        self._leaf_start = leaf_start
        self.live: Sequence[int] = sorted(
            t for group in self._groups[leaf_start:] for _, _, t in group
        )
        if len(set(self.live)) != len(self.live):
            raise ValueError("two entries of one node")
        self.hash = hash_function(kind, seed, seed_hi)

    @property
    def nbytes(self) -> int:
        entries = sum(len(group) for group in self._groups)
        return 28 * entries + 5 * len(self._groups) + 4 + 4 * len(self.live)

    def _ranked(self, group: int, value: int) -> list[int]:
        """The targets of a group's entries, best first."""
        times = []
        for at, (salt, weight, target) in enumerate(self._groups[group]):
            draw = mix(value, salt)
            times.append((exponential(draw) / weight, draw, -at, target))
        return [target for _, _, _, target in sorted(times)]

    def owner(self, value: int) -> int:
        group = 0
        while group < self._leaf_start:
            group = self._ranked(group, value)[0]
        return self._ranked(group, value)[0]

    def replicas(self, value: int, wanted: int) -> list[int]:
        if self._leaf_start == 0:
            return self._ranked(0, value)[:wanted]
        return rehash_replicas(self, value, wanted)


@final
class Pymemcache:
    """What pymemcache computes, for nodes in the order of their names."""

    def __init__(self, seed: int, names: list[bytes], positions: NDArray[np.uint32]) -> None:
        self.live = [int(position) for position in positions]
        if not 1 <= len(names) == len(self.live) or sorted(set(self.live)) != self.live:
            raise ValueError("positions do not fit the names")
        self._seed = seed
        self._names = names
        self.hash = bytes  # the keys' bytes are what the nodes are scored by

    @property
    def nbytes(self) -> int:
        return 24 * len(self.live)

    def owner(self, key: bytes) -> int:
        return self.replicas(key, 1)[0]

    def replicas(self, key: bytes, wanted: int) -> list[int]:
        scored = sorted(
            (murmur3_x86_32(name + b"-" + key, self._seed), at)
            for at, name in enumerate(self._names)
        )
        return [self.live[at] for _, at in scored[::-1][:wanted]]
