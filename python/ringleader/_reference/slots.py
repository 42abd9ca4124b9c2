"""Redis Cluster's table of slots in plain Python: a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.placer import rehash_replicas
from ringleader._reference.ring import hash_function

SLOTS = 16384
SHIFT = 50


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


@final
class State:
    """A table of slots, positions of nodes, over `node_count` nodes."""

    def __init__(self, owners: NDArray[np.uint16], node_count: int) -> None:
        if len(owners) != SLOTS:
            raise ValueError(f"{len(owners)} owners for {SLOTS} slots")
        self._owners = [int(position) for position in owners]
        self.live: Sequence[int] = sorted(set(self._owners))
        if self.live[-1] >= node_count:
            raise ValueError(f"a slot belongs to node {self.live[-1]} of {node_count}")
        self.hash = hash_function(7, 0, 0)

    @property
    def nbytes(self) -> int:
        return 2 * SLOTS

    def owner(self, value: int) -> int:
        return self._owners[value >> SHIFT]

    def replicas(self, value: int, wanted: int) -> list[int]:
        return rehash_replicas(self, value, wanted)
