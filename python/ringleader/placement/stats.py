"""How evenly a ring spreads the hash space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ringleader.placement.ranges import Ranges
from ringleader.placement.topology import Replicas

CIRCLE = 1 << 64


class Loads:
    """What follows from the share that each node has, and the one it should have."""

    share: NDArray[np.float64]
    ideal: NDArray[np.float64]

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


def ideal_shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """weight / total weight; zeros when nothing has a weight."""
    largest = weights.max(initial=0.0)
    scaled = weights / largest if largest > 0 else weights  # the sum must not overflow
    total = scaled.sum()
    return scaled / total if total > 0 else np.zeros(len(weights))


@dataclass(frozen=True, eq=False)
class RingStats(Loads):
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
        return cls(names, weights, points, tuple(arcs), share, ideal_shares(weights))

    @classmethod
    def of_replicas(
        cls,
        ranges: Ranges,
        weights: NDArray[np.float64],
        points: NDArray[np.uint32],
        policy: Replicas,
    ) -> RingStats:
        """Shares of all replicas; a policy by datacenter says what is due to each."""
        widths = ranges.widths
        arcs = [0] * len(ranges.nodes)
        for half in (0, 32):  # exact: sums of 32-bit numbers stay below 2**53
            part = (widths >> np.uint64(half)) & np.uint64(0xFFFFFFFF)
            for column in ranges.owners.T:
                sums = np.bincount(column, part.astype(np.float64), minlength=len(arcs))
                arcs = [arc + (int(s) << half) for arc, s in zip(arcs, sums.tolist(), strict=True)]
        if len(widths) == 1:
            for position in ranges.owners[0].tolist():
                arcs[position] += CIRCLE
        share = np.array([arc / (CIRCLE * policy.total) for arc in arcs], dtype=np.float64)
        ideal = ideal_shares(weights)
        if policy.by_dc is not None:
            ideal = np.zeros(len(weights))
            for dc, count in policy.by_dc.items():
                there = np.array([node.dc == dc for node in ranges.nodes], dtype=bool)
                ideal[there] = ideal_shares(weights[there]) * (count / policy.total)
        names = tuple(node.name for node in ranges.nodes)
        return cls(names, weights, points, tuple(arcs), share, ideal)

    @classmethod
    def expected(
        cls,
        names: tuple[str, ...],
        weights: NDArray[np.float64],
        points: NDArray[np.uint32],
        share: NDArray[np.float64],
    ) -> RingStats:
        """Shares that the nodes can be expected to have, where there is nothing to count."""
        return cls(names, weights, points, (), share, ideal_shares(weights), is_exact=False)

    def __repr__(self) -> str:
        return (
            f"RingStats({len(self.names)} nodes, {int(self.points.sum())} points, "
            f"peak_to_mean={self.peak_to_mean:.4f}, least_to_mean={self.least_to_mean:.4f})"
        )


@dataclass(frozen=True, eq=False)
class SampledStats(Loads):
    """Shares of a sample of keys, a row for each node by position.

    Attributes:
        names: the nodes' names.
        weights: their weights, float64.
        samples: how many keys were looked up.
        share: the part of them that each node owns, float64.
        ideal: weight / total weight, float64: the share that each node should have.
        is_exact: never: chance alone makes `peak_to_mean` of a sample larger.
    """

    is_exact: ClassVar[bool] = False

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    samples: int
    share: NDArray[np.float64]
    ideal: NDArray[np.float64]

    @property
    def error(self) -> NDArray[np.float64]:
        """The standard error of each `share`: sampling alone deviates by about that much."""
        return np.sqrt(self.ideal * (1 - self.ideal) / max(1, self.samples))

    @property
    def chi_square(self) -> float:
        """Pearson's statistic against `ideal`: about the number of live nodes less 1, give or
        take the root of twice that, when only the sample is uneven."""
        live = self.ideal > 0
        difference = self.share[live] - self.ideal[live]
        return float((difference**2 / self.ideal[live]).sum() * self.samples)

    def __repr__(self) -> str:
        return (
            f"SampledStats({len(self.names)} nodes, {self.samples} samples, "
            f"peak_to_mean={self.peak_to_mean:.4f}, least_to_mean={self.least_to_mean:.4f})"
        )
