"""Multi-probe consistent hashing in plain Python: every distance to every point, sorted."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.placer import MASK, rehash
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
    """A ring of counts[i] points for the node at position i, asked with `probes` probes a key."""

    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        probes: int,
        names: tuple[str, ...],
        counts: NDArray[np.uint32],
    ) -> None:
        self.hash = hash_function(kind, seed, seed_hi)
        if not 1 <= probes <= 1024:
            raise ValueError(f"{probes} probes")
        if len(counts) != len(names):
            raise ValueError(f"{len(counts)} counts for {len(names)} nodes")
        self._probes = probes
        self.live: Sequence[int] = [at for at, count in enumerate(counts.tolist()) if count]
        self._points: list[tuple[int, int]] = []
        for position in self.live:
            prefix = self.hash(names[position].encode()).to_bytes(8, "little")
            for i in range(int(counts[position])):
                token = self.hash(prefix + i.to_bytes(8, "little"))
                self._points.append((token, position))
        if not self._points:
            raise ValueError("0 points")
        self._points.sort()

    @property
    def nbytes(self) -> int:
        return 16 * len(self._points)

    def tokens(self) -> NDArray[np.uint64]:
        return np.array([token for token, _ in self._points], dtype=np.uint64)

    def owners(self) -> NDArray[np.uint32]:
        return np.array([position for _, position in self._points], dtype=np.uint32)

    def owner(self, value: int) -> int:
        found = []
        for turn in range(self._probes):
            probe = rehash(value, turn)
            at = bisect_left(self._points, (probe, -1)) % len(self._points)
            token, position = self._points[at]
            found.append(((token - probe) & MASK, token, position))
        return min(found)[2]

    def replicas(self, value: int, wanted: int) -> list[int]:
        """All nodes by their smallest distance to any probe: the first `wanted`."""
        probes = [rehash(value, turn) for turn in range(self._probes)]
        order = sorted(
            ((token - probe) & MASK, token, position)
            for token, position in self._points
            for probe in probes
        )
        return list(dict.fromkeys(position for _, _, position in order))[:wanted]
