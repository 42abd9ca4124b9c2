"""A hash space cut into ranges with owners: what two locators can be compared by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ringleader.placement.node import Node


@dataclass(frozen=True)
class Space:
    """Which numbers are cut into ranges: two locators' ranges compare only within one space.

    Attributes:
        name: "hash" for 64-bit hashes, or what else is cut ("redis-slots").
        hash: how a key becomes one of the numbers.
        seed: of that hash.
        bits: the numbers are 0 ... 2**bits - 1; ranges hold them shifted to the top of 64 bits.
    """

    name: str
    hash: str = ""
    seed: int = 0
    bits: int = 64

    def __repr__(self) -> str:
        seed = self.seed if self.hash != "siphash13" else "(secret)"
        return f"Space(name={self.name!r}, hash={self.hash!r}, seed={seed}, bits={self.bits})"


@dataclass(frozen=True, eq=False)
class Ranges:
    """Who owns which range of a circle of 2**64 numbers.

    Range i holds the numbers x with ends[i-1] < x <= ends[i]; range 0 also those past the last
    end.  A single range is the whole circle.

    Attributes:
        space: what the numbers are.
        nodes: the nodes, by position.
        ends: uint64, shape (n,), strictly ascending; n >= 1.
        owners: uint32 positions in `nodes`, shape (n, replicas): owner first, then the other
            replicas in order.
    """

    space: Space
    nodes: tuple[Node, ...]
    ends: NDArray[np.uint64]
    owners: NDArray[np.uint32]

    def __repr__(self) -> str:
        count, replicas = self.owners.shape
        return (
            f"<Ranges: {count:,} of {len(self.nodes)} nodes, {replicas} owners each, {self.space}>"
        )

    @property
    def widths(self) -> NDArray[np.uint64]:
        """How many numbers each range holds, modulo 2**64: a single range's 2**64 is 0."""
        return self.ends - np.roll(self.ends, 1)
