"""How evenly a ring spreads the hash space."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CIRCLE = 1 << 64


@dataclass(frozen=True, eq=False)
class RingStats:
    """Exact shares of the hash space, a row for each node by position.

    Attributes:
        names: the nodes' names.
        weights: their weights, float64.
        points: virtual nodes of each, uint32.
        arcs: hashes owned by each; exact integers that sum to 2**64 (0 for an empty ring).  Empty
            where an algorithm gives no hash to a node by itself, and `share` is an expectation.
        share: arcs / 2**64, float64.
        ideal: weight / total weight, float64: the share each node should have.
        is_exact: whether `share` is what the nodes own, and no expectation.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    points: NDArray[np.uint32]
    arcs: tuple[int, ...]
    share: NDArray[np.float64]
    ideal: NDArray[np.float64]
    is_exact: bool = field(default=True, kw_only=True)

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        weights: NDArray[np.float64],
        points: NDArray[np.uint32],
        arcs: list[int],
    ) -> RingStats:
        share = np.array([arc / CIRCLE for arc in arcs], dtype=np.float64)
        return cls(names, weights, points, tuple(arcs), share, _ideal(weights))

    @classmethod
    def expected(
        cls,
        names: tuple[str, ...],
        weights: NDArray[np.float64],
        points: NDArray[np.uint32],
        share: NDArray[np.float64],
    ) -> RingStats:
        """Shares that the nodes can be expected to have, where there is nothing to count."""
        return cls(names, weights, points, (), share, _ideal(weights), is_exact=False)

    @property
    def load(self) -> NDArray[np.float64]:
        """share / ideal of each node: 1 is exactly its due; NaN for a node of weight 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.ideal > 0, self.share / self.ideal, np.nan)

    @property
    def peak_to_mean(self) -> float:
        """The largest `load`: how much more than its due the fullest node gets; NaN if empty."""
        load = self.load[self.ideal > 0]
        return float(load.max()) if len(load) else float("nan")

    @property
    def least_to_mean(self) -> float:
        """The smallest `load`; NaN if the ring is empty."""
        load = self.load[self.ideal > 0]
        return float(load.min()) if len(load) else float("nan")

    @property
    def deviation(self) -> float:
        """The standard deviation of `load`; NaN if the ring is empty."""
        load = self.load[self.ideal > 0]
        return float(load.std()) if len(load) else float("nan")

    def __repr__(self) -> str:
        return (
            f"RingStats({len(self.names)} nodes, {int(self.points.sum())} points, "
            f"peak_to_mean={self.peak_to_mean:.4f}, least_to_mean={self.least_to_mean:.4f})"
        )


def _ideal(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """What part of all each weight is."""
    largest = weights.max(initial=0.0)
    scaled = weights / largest if largest > 0 else weights  # the sum must not overflow
    total = scaled.sum()
    ideal: NDArray[np.float64] = scaled / total if total > 0 else np.zeros(len(weights))
    return ideal
