"""Latencies in logarithmic buckets: bounded memory, a bounded relative error, mergeable.

The idea of HdrHistogram (Tene): each power of two of microseconds is cut into 64 equal buckets, so
that a value is known to 1/64 of itself, from a microsecond to hours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

#: Bits of a value that are kept.
_BITS = 6
_PARTS = 1 << _BITS
#: Powers of two of microseconds: up to 2**36 us, which is 19 hours.
_POWERS = 36
BUCKETS = (_POWERS - _BITS + 1) * _PARTS

QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Histogram:
    """How many took how long.

    Attributes:
        counts: by bucket.
        count: of all.
        total_us, max_us: of all, in microseconds.
    """

    __slots__ = ("count", "counts", "max_us", "total_us")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.count = 0
        self.total_us = 0
        self.max_us = 0

    def add(self, us: int, count: int = 1) -> None:
        """`count` that took so many microseconds each."""
        shift = us.bit_length() - _BITS - 1
        at = us if shift <= 0 else shift * _PARTS + (us >> shift)
        self.counts[at if at < BUCKETS else BUCKETS - 1] += count
        self.count += count
        self.total_us += us * count
        if us > self.max_us:
            self.max_us = us

    def merge(self, other: Histogram) -> None:
        """Add what another one has."""
        self.counts = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        self.count += other.count
        self.total_us += other.total_us
        self.max_us = max(self.max_us, other.max_us)

    @property
    def mean_us(self) -> float:
        """NaN of nothing."""
        return self.total_us / self.count if self.count else math.nan

    def quantile_us(self, share: float) -> float:
        """The least time that at least this share of all kept within, rounded up to a bucket's
        end; NaN of nothing."""
        if not self.count:
            return math.nan
        wanted = max(1, math.ceil(share * self.count - 1e-9))
        below = 0
        for at, count in enumerate(self.counts):
            below += count
            if below >= wanted:
                return float(min(upper_us(at), self.max_us))
        return float(self.max_us)

    def quantiles_us(self, shares: Iterable[float] = QUANTILES) -> list[float]:
        """Several at once."""
        return [self.quantile_us(share) for share in shares]

    def to_list(self) -> list[list[int]]:
        """Buckets that are not empty, as [bucket, count], after [total_us, max_us]."""
        pairs = [[at, count] for at, count in enumerate(self.counts) if count]
        return [[self.total_us, self.max_us], *pairs]

    @classmethod
    def from_list(cls, saved: Sequence[Sequence[int]]) -> Histogram:
        """What `to_list` gave."""
        made = cls()
        made.total_us, made.max_us = saved[0]
        for at, count in saved[1:]:
            made.counts[at] = count
            made.count += count
        return made


def upper_us(bucket: int) -> int:
    """The largest value of a bucket."""
    shift = max(0, (bucket >> _BITS) - 1)
    return ((bucket - shift * _PARTS + 1) << shift) - 1
