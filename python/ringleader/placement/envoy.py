"""The ring of Envoy's `RING_HASH` load balancer.

In short, with `share` a host's weight divided by the sum of weights, and `least` the smallest
share:

    scale           = min(ceil(least * minimum_ring_size) / least, maximum_ring_size)
    points(host)    = xxh64("<address>_<i>"), i = 0, 1, ...: as many as it takes for the points of
                      this and all hosts before it to be at least scale * (their shares' sum)
    owner(request)  = the host of the first point >= the request's hash, wrapping past the last to
                      the first
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import limits
from ringleader.errors import FormatError, SettingError, WeightError
from ringleader.hashing import xxh64_column
from ringleader.placement import saved
from ringleader.placement.listed import ListedRing, in_order, whole_weight
from ringleader.placement.located import checked_int
from ringleader.placement.node import Node
from ringleader.placement.ranges import Space

Self = TypeVar("Self", bound="EnvoyRing")

#: How the points are hashed; keys are hashed with XXH64 either way.  Numbers stand in saved rings.
FUNCTIONS = {"xx_hash": 0, "murmur_hash_2": 1}
RING_SIZE_MAX = 8 * 1024 * 1024
WEIGHT_MAX = 2**32 - 1
MASK = 2**64 - 1


def murmur_hash_2(data: bytes) -> int:
    """MurmurHash64A (Austin Appleby) under the seed of libstdc++'s std::hash."""
    m = 0xC6A4A7935BD1E995
    whole = len(data) // 8 * 8
    h = 0xC70F6907 ^ len(data) * m & MASK
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little") * m & MASK
        h = (h ^ (k ^ k >> 47) * m & MASK) * m & MASK
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & MASK
    h = (h ^ h >> 47) * m & MASK
    return h ^ h >> 47


class EnvoyRing(ListedRing):
    """The hosts that Envoy chooses with `lb_policy: RING_HASH`.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in the order of the
            cluster's endpoints.  A name is what Envoy hashes of a host: its address with the port
            ("10.0.0.1:8080"), or its hostname or `hash_key` metadata where that is configured.  The
            order decides which hosts the last points of a rounded ring go to.
        minimum_ring_size, maximum_ring_size: as in `ring_hash_lb_config`.
        hash_function: of the points: "xx_hash" or "murmur_hash_2".

    A key stands for the value that a hash policy takes from the request (a header, a cookie): Envoy
    hashes it with XXH64, seed 0.  Where several policies apply Envoy mixes their hashes, which is
    not done here.  An int key is hashed as its 8 bytes (docs/formats.md), not as its decimal text.

    Weights are whole numbers.  Every change may change the scale, and with it the number of points
    of other hosts: keys move between hosts that have nothing to do with it (with the sizes that
    Envoy has unless told otherwise, a sixth host moves 26% of the keys of five, 11% of them between
    the five).

    Cost: a lookup one XXH64 and O(1) on average; building, and each change, O(points).

    Raises:
        DuplicateNode, NodeError, NodeTypeError: as `HashRing`.
        WeightError: a weight is not whole, or the weights' sum leaves 32 bits.
        SettingError, SettingTypeError: the ring sizes, or the hash function.
        LimitError: more nodes than `ringleader.limits` allows.
    """

    _saved_kind = 5
    _hash_kind = 1

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        minimum_ring_size: int = 1024,
        maximum_ring_size: int = RING_SIZE_MAX,
        hash_function: str = "xx_hash",
    ) -> None:
        least = checked_int("minimum_ring_size", minimum_ring_size)
        most = checked_int("maximum_ring_size", maximum_ring_size)
        if not 1 <= least <= most <= RING_SIZE_MAX:
            raise SettingError(
                f"minimum_ring_size={least} and maximum_ring_size={most} are not in order "
                f"within 1 ... {RING_SIZE_MAX}"
            )
        if not isinstance(hash_function, str) or hash_function not in FUNCTIONS:
            raise SettingError(
                f"hash_function {hash_function!r} is not one of {', '.join(FUNCTIONS)}"
            )
        self._start(in_order(nodes), least, most, hash_function)

    @property
    def minimum_ring_size(self) -> int:
        """The least number of points."""
        size: int = self._settings[0]
        return size

    @property
    def maximum_ring_size(self) -> int:
        """The greatest number of points."""
        size: int = self._settings[1]
        return size

    @property
    def hash_function(self) -> str:
        """How the points are hashed."""
        name: str = self._settings[2]
        return name

    @property
    def space(self) -> Space:
        """Which hash space the ring cuts into ranges: that of a `HashRing(hash="xxh64")`."""
        return Space("hash", "xxh64")

    def _describe(self) -> str:
        return (
            f", minimum_ring_size={self.minimum_ring_size}, "
            f"maximum_ring_size={self.maximum_ring_size}, hash_function={self.hash_function!r}"
        )

    def _counts(self, live: Sequence[Node]) -> list[int]:
        weights = [whole_weight(node, WEIGHT_MAX, "Envoy") for node in live]
        total = sum(weights)
        if total > WEIGHT_MAX:
            raise WeightError(
                f"the weights sum up to {total}, but Envoy counts them in 32 bits; "
                "divide all by the same number"
            )
        shares = [weight / total for weight in weights]
        least = min(shares)
        scale = min(
            math.ceil(least * self.minimum_ring_size) / least, float(self.maximum_ring_size)
        )
        counts = []
        made, wanted = 0, 0.0
        for share in shares:
            wanted += scale * share
            before, made = made, max(made, math.ceil(wanted))
            counts.append(made - before)
        return counts

    def _points(self, live: Sequence[Node], counts: Sequence[int]) -> list[NDArray[np.uint64]]:
        texts = (
            f"{node.name}_{i}"
            for node, count in zip(live, counts, strict=True)
            for i in range(count)
        )
        if self.hash_function == "xx_hash":
            points = xxh64_column(texts)
        else:
            points = np.fromiter(
                (murmur_hash_2(text.encode()) for text in texts), np.uint64, sum(counts)
            )
        return np.split(points, np.cumsum(counts)[:-1]) if live else []

    def _write(self, body: saved.Writer) -> None:
        least, most, function = self._settings
        body.put("HII", FUNCTIONS[function], least, most)

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        points_max: int = limits.POINTS_MAX,
    ) -> Self:
        """The ring that `to_bytes` saved; see `HashRing.from_bytes`.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved envoy ring.
            VersionError: they were written by a newer version.
            FormatTypeError, SettingTypeError: `data` is no bytes, `points_max` no int.
        """

        def settings(reader: saved.Reader) -> dict[str, Any]:
            number, least, most = reader.take("HII")
            names = {number: name for name, number in FUNCTIONS.items()}
            if number not in names:
                raise FormatError(f"hash function {number} of the saved envoy ring is unknown")
            return {
                "minimum_ring_size": least,
                "maximum_ring_size": most,
                "hash_function": names[number],
            }

        return cls._from_bytes(data, points_max, settings)
