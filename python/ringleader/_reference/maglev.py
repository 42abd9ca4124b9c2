"""Maglev hashing in plain Python: the paper's pseudocode 1, with turns by weight as Envoy's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.placer import MASK
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
    """A filled table of `slot_count` slots."""

    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        skip_seed: int,
        skip_seed_hi: int,
        slot_count: int,
        names: tuple[str, ...],
        weights: NDArray[np.float64],
    ) -> None:
        self.hash = hash_function(kind, seed, seed_hi)
        skip_hash = hash_function(kind, skip_seed, skip_seed_hi)
        if len(weights) != len(names):
            raise ValueError(f"{len(weights)} weights for {len(names)} nodes")
        shares: list[float] = weights.tolist()
        self.live: Sequence[int] = [at for at, share in enumerate(shares) if share != 0]
        if not 2 <= slot_count <= 2**26:
            raise ValueError(f"{slot_count} slots")
        if not 1 <= len(self.live) <= slot_count:
            raise ValueError(f"{len(self.live)} nodes for {slot_count} slots")
        for share in shares:
            if not 0 <= share <= 1:
                raise ValueError(f"a share of {share}")
        self._node_count = len(names)
        offsets = [self.hash(name.encode()) % slot_count for name in names]
        skips = [skip_hash(name.encode()) % (slot_count - 1) + 1 for name in names]
        following = [0] * len(names)
        targets = [0.0] * len(names)
        heaviest = max(shares)
        self._slots: list[int] = [-1] * slot_count
        filled = rounds = 0
        while filled < slot_count:
            rounds += 1
            for node in self.live:
                if filled == slot_count:
                    break
                if rounds * shares[node] < targets[node]:
                    continue
                targets[node] += heaviest
                while True:
                    slot = (offsets[node] + skips[node] * following[node]) % slot_count
                    following[node] += 1
                    if self._slots[slot] < 0:
                        break
                self._slots[slot] = node
                filled += 1

    @property
    def nbytes(self) -> int:
        return 8 * len(self._slots)

    def slots(self) -> NDArray[np.uint32]:
        return np.array(self._slots, dtype=np.uint32)

    def counts(self) -> NDArray[np.uint32]:
        return np.bincount(self._slots, minlength=self._node_count).astype(np.uint32)

    def slot(self, value: int) -> int:
        return value % len(self._slots)

    def owner(self, value: int) -> int:
        return self._slots[value % len(self._slots)]

    def replicas(self, value: int, wanted: int) -> list[int]:
        """The owner, then the owners of Envoy's retries."""
        found: list[int] = []
        attempt = 0
        while len(found) < wanted:
            position = self.owner(value ^ (-attempt & MASK))
            if position not in found:
                found.append(position)
            attempt += 1
        return found
