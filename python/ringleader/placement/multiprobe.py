"""Multi-probe consistent hashing (Appleton & O'Reilly, arXiv:1505.00062, 2015).

A ring needs many points a node to be even.  Here a node has one, and instead every key is hashed k
times, to k probes on the circle; of the k points that follow them, clockwise, the one that is
closest to its probe owns the key.  With k = 21 the fullest node has about 1.05 times the mean, as
the paper's 1 + 1/(k - 1) has it, however many nodes there are; and as on a ring, only keys to or
from the node that came or went move.  The price: k lookups a key; and a node whose point stands
close behind another's has few keys, however many probes there are (loads deviate by 15%).  With few
nodes chance has its say: of 20 seeds the worst reached 1.14 at 10 nodes, 1.07 at 100.

The mapping is *multi-probe format v1*, published in docs/formats.md with golden vectors.  With H
the hash, le64 eight little-endian bytes, and mix the output function of SplitMix64:

    token(node, i) = H( le64(H(name)) + le64(i) )               i = 0 .. points(node) - 1
    probe(key, j)  = mix( H(key) + j * 0x9E3779B97F4A7C15 )     j = 0 .. probes - 1
    owner(key)     = the node of the smallest (token - probe) mod 2**64; of equal distances, that of
                     the smaller token; of equal tokens, that of the first name
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import FormatError, LimitError, SettingError, VersionError, WeightError
from ringleader.hashing import resolve_hash
from ringleader.placement import saved
from ringleader.placement.located import checked_int
from ringleader.placement.members import MemberPlacer
from ringleader.placement.node import Node
from ringleader.placement.stats import CIRCLE, RingStats

Self = TypeVar("Self", bound="MultiProbe")

KIND = 11
MULTIPROBE_VERSION = 1
#: How far a node's points may be from its weight, as a part of it.
ROUNDING_MAX = 0.05


def points_of(node: Node, points: int) -> int:
    """How many points a node has (multi-probe format v1)."""
    if node.weight == 0:
        return 0
    exact = node.weight * points
    if exact > limits.POINTS_MAX:
        raise LimitError(
            f"node {node.name!r} of weight {node.weight} would get more than "
            f"{limits.POINTS_MAX} points at points={points}; scale the weights down"
        )
    count = max(1, math.floor(exact + 0.5))
    if abs(count - exact) > ROUNDING_MAX * exact:
        enough = min(0.5 / ROUNDING_MAX / node.weight, 2.0 * limits.VNODES_MAX)  # never infinite
        more = f", or points={math.ceil(enough)} or more" if enough <= limits.VNODES_MAX else ""
        raise WeightError(
            f"node {node.name!r} of weight {node.weight} would have {count} points where "
            f"{exact:g} are due: take whole weights{more}"
        )
    return count


class MultiProbe(MemberPlacer):
    """Multi-probe consistent hashing: an even ring with one point a node.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order.
        probes: k, how often a key is looked up.  The fullest node has about 1 + 1/(k - 1) times the
            mean.
        points: of a node of weight 1.  A node of weight w has w times as many, which has to be a
            whole number or within 5% of one: take whole weights, or more points.
        hash: "xxh3" (default), "xxh64", "murmur3" or "siphash13".
        seed: of the hash; for siphash13 the 128-bit key as a little-endian integer.

    Weights are numbers of points, and no stretched distances, as only so a change moves no key
    between other nodes.  Weight 0 drains.  The replicas of a key are the nodes in the order of
    their points' smallest distances to any of its probes: the owner stands first, and without one
    node all others keep their order.

    Any number of threads may look up while others change the nodes: a change builds a new ring and
    swaps it in one assignment.

    Cost: a lookup O(probes), which in bulk are worked on in vectors; `n` replicas O(probes + n log
    probes) on average; a change O(points) of all nodes.  Memory: 12 bytes a point, and 48 to 384
    for the table that finds them.

    Raises:
        DuplicateNode, NodeError, NodeTypeError: as `Node`.
        WeightError: as `Node`; or `points` of them are no whole number, nor near one.
        SettingError, SettingTypeError: unknown hash; probes, points or seed out of range.
        LimitError: more points or nodes than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        probes: int = 21,
        points: int = 1,
        hash: str = "xxh3",
        seed: int = 0,
    ) -> None:
        probes, points = checked_int("probes", probes), checked_int("points", points)
        if not 1 <= probes <= limits.PROBES_MAX:
            raise SettingError(f"probes={probes} is not in 1 ... {limits.PROBES_MAX}")
        if not 1 <= points <= limits.VNODES_MAX:
            raise SettingError(f"points={points} is not in 1 ... {limits.VNODES_MAX}")
        self._begin(nodes, hash, seed, (probes, points))

    def _state_of(self, nodes: tuple[Node, ...]) -> kernels.multiprobe.State | None:
        probes, points = self._options
        counts = [points_of(node, points) for node in nodes]
        total = sum(counts)
        if total > limits.POINTS_MAX:
            raise LimitError(
                f"there would be {total} points; at most {limits.POINTS_MAX} are allowed: use "
                "fewer of them, or smaller weights"
            )
        if total == 0:
            return None
        names = tuple(node.name for node in nodes)
        settings = resolve_hash(self._hash, self._seed)
        return kernels.multiprobe.State(*settings, probes, names, np.array(counts, np.uint32))

    def _option_texts(self) -> str:
        return f"probes={self.probes}, points={self.points}"

    @property
    def probes(self) -> int:
        """How often a key is looked up."""
        return self._options[0]

    @property
    def points(self) -> int:
        """Points of a node of weight 1."""
        return self._options[1]

    def stats(self) -> RingStats:
        """The share of the keys that each node can be expected to have, against its weight.

        Where the probes of a key are independent and uniform, as hashes are meant to be, the
        expectation is exact: with g the distance of a point from the one before it, and S(x) the
        chance that a probe is farther than x from the next point, the point has the integral of
        k S(x)**(k - 1) from 0 to g; and S is linear between two such distances.

        Cost: O(points log points).
        """
        table = self.table
        nodes: tuple[Any, ...] = table.nodes
        weights = np.array([node.weight for node in nodes], dtype=np.float64)
        points = np.array([points_of(node, self.points) for node in nodes], dtype=np.uint32)
        if table.state is None:
            return RingStats.expected(table.names, weights, points, np.zeros(len(nodes)))
        state: Any = table.state
        tokens = state.tokens()
        gaps = (tokens - np.roll(tokens, 1)).astype(np.float64) / CIRCLE
        if len(tokens) == 1 or gaps.sum() == 0:
            gaps[0] = 1.0  # one token, and the whole circle before it
        shares = _shares(gaps, self.probes)
        share = np.bincount(state.owners(), shares, minlength=len(nodes)).astype(np.float64)
        return RingStats.expected(table.names, weights, points, share)

    # --- bytes ----------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """The settings and the nodes, saved (docs/formats.md), checksummed."""
        body = saved.Writer()
        body.put("H", MULTIPROBE_VERSION)
        body.hash(self._hash, self._seed)
        body.put("II", self.probes, self.points)
        body.nodes(self.nodes)
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        points_max: int = limits.POINTS_MAX,
    ) -> Self:
        """What `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Args:
            points_max: refuse more points, all nodes together.  A small file can ask for many:
                bound it where the bytes are not yours.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved multi-probe hash.
            VersionError: they were written by a newer version.
            LimitError: there are more than `points_max` points.
            FormatTypeError, SettingTypeError: `data` is no bytes, `points_max` no int.
        """
        points_max = checked_int("points_max", points_max)

        def body(reader: saved.Reader) -> tuple[str, int, int, int, tuple[Node, ...], int]:
            (version,) = reader.take("H")
            if version > MULTIPROBE_VERSION:
                raise VersionError(
                    f"the saved multi-probe hash has version {version}; this ringleader knows "
                    f"{MULTIPROBE_VERSION}: upgrade it"
                )
            if version != MULTIPROBE_VERSION:
                raise FormatError(f"version {version} of a saved multi-probe hash is unknown")
            hash, seed = reader.hash()
            probes, points = reader.take("II")
            if not (1 <= probes <= limits.PROBES_MAX and 1 <= points <= limits.VNODES_MAX):
                raise FormatError(f"a saved multi-probe hash of {probes} probes, {points} points")
            nodes = reader.nodes()
            total = sum(points_of(node, points) for node in nodes)
            return hash, seed, probes, points, nodes, total

        hash, seed, probes, points, nodes, total = saved.unframe(data, KIND, body)
        if total > points_max:
            raise LimitError(f"{total} points are saved; points_max={points_max}")
        return cls(nodes, probes=probes, points=points, hash=hash, seed=seed)


def _shares(gaps: NDArray[np.float64], probes: int) -> NDArray[np.float64]:
    """The share of each point, by the distance from the one before it; see `stats`."""
    order = np.argsort(gaps, kind="stable")
    edges = np.concatenate([[0.0], gaps[order]])
    left = np.arange(len(gaps), 0, -1)  # how many are at least as far as each edge
    # S at each edge: S falls by left * width from one edge to the next, and ends at 0.
    falls = left * np.diff(edges)
    chance = np.concatenate([np.cumsum(falls[::-1])[::-1], [0.0]])
    powers = (chance / chance[0]) ** probes
    shares = np.empty(len(gaps))
    shares[order] = np.cumsum((powers[:-1] - powers[1:]) / left)
    return shares
