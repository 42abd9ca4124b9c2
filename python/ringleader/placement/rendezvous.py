"""Rendezvous hashing, or highest random weight (Thaler & Ravishankar, "Using Name-Based Mappings
to Increase Hit Rates", IEEE/ACM Transactions on Networking 6(1), 1998).

Weights by the logarithmic method (Schindelhauer & Schomaker, "Weighted Distributed Hash Tables",
SPAA 2005).  The skeleton follows Wang & Ravishankar, "Hash-Based Virtual Hierarchies for Scalable
Location Service in Mobile Ad-hoc Networks" (Mobile Networks and Applications 14(5), 2009), with
weights at each level.

The mapping is *rendezvous format v1*, published in docs/formats.md with golden vectors.
"""

from __future__ import annotations

import math
import operator
import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import (
    FormatError,
    LimitError,
    SettingError,
    SettingTypeError,
    VersionError,
    WeightError,
)
from ringleader.hashing import resolve_hash
from ringleader.placement import saved
from ringleader.placement.located import (
    SampledLocator,
    checked_int,
    checked_names,
    found_position,
    heading,
    joined,
    position_of,
)
from ringleader.placement.node import Node, as_node, sorted_nodes

Self = TypeVar("Self", bound="Rendezvous")

VERSION = 1
KIND = 8
#: The numbers stand in files.
FLAVORS = {"ringleader": 0, "pymemcache": 1}


class Settings(NamedTuple):
    """What does not change.

    Attributes:
        flavor: a key of FLAVORS.
        hash, seed: of the keys and names.
        fanout: children of a group of the skeleton; 0: there is no skeleton.
        clusters: its leaves, a power of fanout; 1: there is no skeleton.
    """

    flavor: str
    hash: str
    seed: int
    fanout: int
    clusters: int

    @property
    def levels(self) -> int:
        """Choices before the one among nodes."""
        levels, leaves = 0, 1
        while leaves < self.clusters:
            leaves *= self.fanout
            levels += 1
        return levels


class Tables(NamedTuple):
    """What a state is built from: see `kernels.rendezvous.State`."""

    salts: NDArray[np.uint64]
    weights: NDArray[np.float64]
    targets: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    leaf_start: int


class Rendezvous(SampledLocator):
    """Rendezvous hashing: every node draws for every key, and the best draw, for its weight, wins.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order.
        hash, seed: as of `HashRing`.
        skeleton: choose among groups of nodes first, then among the nodes of a group, in
            O(fanout * log(nodes)) rather than O(nodes): for many nodes.
        fanout: of the skeleton, 2 ... 1024.
        clusters: of the skeleton: how many groups hold nodes, a power of `fanout`; fixed from
            then on.  Default: the least with no more than `fanout` nodes in each, on average,
            of those given now; choose it for the size you grow to.
        flavor: "pymemcache" places keys as pymemcache's `RendezvousHash` does under the same
            seed (0 ... 2**32-1), for nodes named as there ("host:port"): the highest
            murmur3-x86-32 of "<node>-<key>", ties to the larger name.  No weights but 1 and 0, no
            hash, no skeleton.  A key is taken as its bytes, and pymemcache takes the low 8 bits
            of each code point: equal for ASCII; for others give
            `bytes(ord(c) & 255 for c in key)`.  An int's 8 bytes are nothing that pymemcache
            knows: give its digits.

    Shares are proportional to weights, exactly so in expectation, and no tables are needed.  A
    pure function of the set of nodes and the settings.  When a node comes, goes or changes its
    weight, only keys to or from this node move.

    With a skeleton all of this holds but the last: a node's group, and the groups around it,
    change their weight with it, so that keys move between groups, too.  What moves then is at
    most the ideal share once for each level, log_fanout(clusters) + 1 in all.

    Replicas: the first `n` by their draws; so when the owner goes, the second one is the owner.
    With a skeleton: owners of the hash and of its rehashes (docs/formats.md), without repetition.

    Cost: a lookup O(nodes), or with a skeleton O(fanout * log(nodes)); a change O(nodes).
    Memory: about 40 bytes a node.

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `Node` and `add_node`.
        SettingError, SettingTypeError: a setting out of range, or that the flavor does not have.
        LimitError: more nodes or clusters than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    _settings: Settings
    _salts: NDArray[np.uint64]
    _changing: threading.Lock

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        hash: str = "xxh3",
        seed: int = 0,
        skeleton: bool = False,
        fanout: int = 16,
        clusters: int | None = None,
        flavor: str = "ringleader",
    ) -> None:
        if not isinstance(flavor, str):
            raise SettingTypeError(f"flavor must be a str, not {type(flavor).__name__}")
        if flavor not in FLAVORS:
            raise SettingError(f"flavor {flavor!r} is not one of {', '.join(FLAVORS)}")
        if not isinstance(skeleton, (bool, np.bool_)):
            raise SettingTypeError(f"skeleton must be a bool, not {type(skeleton).__name__}")
        members = sorted_nodes(nodes)
        if flavor == "pymemcache":
            if skeleton or hash != "xxh3":
                raise SettingError("the pymemcache flavor has a hash of its own, and no skeleton")
            hash = "murmur3"
        if not skeleton and clusters is not None:
            raise SettingError("clusters are of a skeleton; pass skeleton=True with them")
        resolve_hash(hash, seed)
        shape = (0, 1)
        if skeleton:
            shape = _checked_shape(fanout, clusters, len(members))
        self._begin(Settings(flavor, hash, operator.index(seed), *shape), members)

    def _begin(self, settings: Settings, members: tuple[Node, ...]) -> None:
        self._settings = settings
        self._changing = threading.Lock()
        for node in members:
            self._check_weight(node)
        self._adopt(members, self._salts_of([node.name.encode() for node in members]))

    # --- building -------------------------------------------------------------------------------

    def _check_weight(self, node: Node) -> None:
        if self.flavor == "pymemcache" and node.weight not in (0.0, 1.0):
            raise WeightError(
                f"node {node.name!r} has weight {node.weight}, but pymemcache knows no weights: "
                "use 1 (or 0, which drains it), or the flavor 'ringleader'"
            )

    def _salts_of(self, texts: list[bytes]) -> NDArray[np.uint64]:
        if self.flavor == "pymemcache":
            return np.zeros(len(texts), dtype=np.uint64)
        return kernels.rendezvous.hashes(
            *resolve_hash(self._settings.hash, self._settings.seed), texts
        )

    def _adopt(self, nodes: tuple[Node, ...], salts: NDArray[np.uint64]) -> None:
        """Build a state for these nodes and publish it; the caller holds the lock."""
        weights = np.array([node.weight for node in nodes], dtype=np.float64)
        live = np.flatnonzero(weights > 0).astype(np.uint32)
        state: Any = None
        if len(live) and self.flavor == "pymemcache":
            names = [nodes[position].name.encode() for position in live.tolist()]
            state = kernels.rendezvous.Pymemcache(self._settings.seed, names, live)
        elif len(live):
            tables = self._tables(salts[live], weights[live], live)
            state = kernels.rendezvous.State(
                *resolve_hash(self._settings.hash, self._settings.seed),
                tables.salts,
                tables.weights,
                tables.targets,
                tables.starts,
                tables.leaf_start,
            )
        placer = kernels.placer.Placer(state, nodes)
        self._salts = salts
        self._publish(placer)

    def _tables(
        self, salts: NDArray[np.uint64], weights: NDArray[np.float64], live: NDArray[np.uint32]
    ) -> Tables:
        if self._settings.clusters == 1:
            starts = np.array([0, len(live)], dtype=np.uint32)
            return Tables(salts, weights, live, starts, 0)
        return _skeleton(self._settings, salts, weights, live, self._salts_of)

    # --- what it is -----------------------------------------------------------------------------

    @property
    def flavor(self) -> str:
        """Whose format the keys are placed by."""
        return self._settings.flavor

    @property
    def hash(self) -> str:
        """The name of the hash of keys and names."""
        return self._settings.hash

    @property
    def seed(self) -> int:
        """The hash's seed."""
        return self._settings.seed

    @property
    def skeleton(self) -> bool:
        """Whether nodes are chosen by way of groups."""
        return self._settings.fanout != 0

    @property
    def fanout(self) -> int:
        """The skeleton's fanout; 0 without one."""
        return self._settings.fanout

    @property
    def clusters(self) -> int:
        """Groups that hold nodes; 1 without a skeleton."""
        return self._settings.clusters

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rendezvous):
            return NotImplemented
        return self._settings == other._settings and self.nodes == other.nodes

    def __repr__(self) -> str:
        text = f"<{heading(self, self.names)}, "
        if self.flavor != "ringleader":
            return f"{text}flavor={self.flavor!r}, seed={self.seed}>"
        if self.skeleton:
            text += f"skeleton of {self.clusters} clusters, fanout={self.fanout}, "
        seed = self.seed if self.hash != "siphash13" else "(secret)"
        return f"{text}hash={self.hash!r}, seed={seed}>"

    # --- changes --------------------------------------------------------------------------------

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Add a node.  Only keys that now belong to it move (see the class on skeletons).

        Raises:
            DuplicateNode: there is a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.

        Cost: O(nodes).
        """
        self.add_nodes([as_node(node, weight)])

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.

        Cost: O(nodes).
        """
        added = sorted_nodes(nodes)
        for node in added:
            self._check_weight(node)
        with self._changing:
            there = self.nodes
            together = joined(there, added)
            places = [position_of(there, node.name)[0] for node in added]
            salts = self._salts_of([node.name.encode() for node in added])
            self._adopt(together, np.insert(self._salts, places, salts))

    def remove_node(self, name: str) -> None:
        """Remove a node.  Only the keys it owned move (see the class on skeletons).

        Raises:
            NodeNotFound: there is no node of this name.

        Cost: O(nodes).
        """
        with self._changing:
            nodes = self.nodes
            at = found_position(nodes, name)
            self._adopt((*nodes[:at], *nodes[at + 1 :]), np.delete(self._salts, at))

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.

        Cost: O(nodes).
        """
        names = checked_names(names)
        with self._changing:
            nodes = self.nodes
            going = {found_position(nodes, name) for name in names}
            staying = tuple(node for at, node in enumerate(nodes) if at not in going)
            self._adopt(staying, np.delete(self._salts, list(going)))

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight; 0 drains it.  Only keys to or from this node move.

        Raises:
            NodeNotFound: there is no node of this name.
            WeightError, NodeTypeError: as `Node`.

        Cost: O(nodes).
        """
        with self._changing:
            nodes = self.nodes
            at = found_position(nodes, name)
            node = nodes[at].with_weight(weight)
            self._check_weight(node)
            self._adopt((*nodes[:at], node, *nodes[at + 1 :]), self._salts)

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """One that is equal now and changes on its own.  Shares the tables: O(1)."""
        twin = type(self).__new__(type(self))
        twin._settings = self._settings
        twin._changing = threading.Lock()
        with self._changing:
            twin._salts = self._salts
            twin._publish(self.table)
        return twin

    def __copy__(self: Self) -> Self:
        return self.copy()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def to_bytes(self) -> bytes:
        """Settings and nodes, checksummed (docs/formats.md): the same on every platform."""
        settings = self._settings
        body = saved.Writer()
        body.put("HH", VERSION, FLAVORS[settings.flavor])
        body.hash(settings.hash, settings.seed)
        body.put("II", settings.fanout, settings.clusters)
        body.nodes(self.nodes)
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(cls: type[Self], data: bytes | bytearray | memoryview) -> Self:
        """What `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Raises:
            FormatError: the bytes are cut short, altered, or something else.
            VersionError: they were written by a newer version.
            FormatTypeError: `data` is no bytes.
        """
        made: Self = cls.__new__(cls)
        saved.unframe(data, KIND, made._read)
        return made

    def _read(self, reader: saved.Reader) -> None:
        version, number = reader.take("HH")
        if version > VERSION:
            raise VersionError(
                f"the saved rendezvous hash has version {version}; this ringleader knows "
                f"{VERSION}: upgrade it"
            )
        flavors = [flavor for flavor, known in FLAVORS.items() if known == number]
        if version != VERSION or not flavors:
            raise FormatError(f"version {version}, flavor {number} of a rendezvous hash is unknown")
        hash, seed = reader.hash()
        fanout, clusters = reader.take("II")
        nodes = reader.nodes()
        if (fanout, clusters) != (0, 1):
            _checked_shape(fanout, clusters, len(nodes))
        if flavors[0] == "pymemcache" and (hash, fanout) != ("murmur3", 0):
            raise FormatError("a saved pymemcache has another hash, or a skeleton")
        self._begin(Settings(flavors[0], hash, seed, fanout, clusters), nodes)


def _checked_shape(fanout: int, clusters: int | None, node_count: int) -> tuple[int, int]:
    """A skeleton's fanout and clusters."""
    fanout = checked_int("fanout", fanout)
    if not 2 <= fanout <= limits.FANOUT_MAX:
        raise SettingError(f"fanout={fanout} is not in 2 ... {limits.FANOUT_MAX}")
    if clusters is None:
        clusters = 1
        while clusters * fanout < node_count:
            clusters *= fanout
        return fanout, min(clusters, _largest(fanout))
    clusters = checked_int("clusters", clusters)
    power = 1
    while power < clusters:
        power *= fanout
    if power != clusters:
        raise SettingError(f"clusters={clusters} is no power of fanout={fanout}")
    if clusters > limits.CLUSTERS_MAX:
        raise LimitError(f"clusters={clusters} is above {limits.CLUSTERS_MAX}")
    return fanout, clusters


def _largest(fanout: int) -> int:
    clusters = 1
    while clusters * fanout <= limits.CLUSTERS_MAX:
        clusters *= fanout
    return clusters


def _cluster_of(salts: NDArray[np.uint64], clusters: int) -> NDArray[np.int64]:
    """floor(mix(salt, 2**64-1) * clusters / 2**64) of each."""
    word = np.uint64
    x = (salts ^ word(2**64 - 1)) * word(0xBF58476D1CE4E5B9)
    x ^= x >> word(32)
    x *= word(0x94D049BB133111EB)
    low = (x & word(2**32 - 1)) * word(clusters) >> word(32)
    return (((x >> word(32)) * word(clusters) + low) >> word(32)).astype(np.int64)


def _skeleton(
    settings: Settings,
    salts: NDArray[np.uint64],
    weights: NDArray[np.float64],
    live: NDArray[np.uint32],
    salts_of: Any,
) -> Tables:
    """Groups level by level, from the root to the clusters that have nodes; entries in order."""
    cluster = _cluster_of(salts, settings.clusters)
    order = np.argsort(cluster, kind="stable")  # nodes of a cluster stay in the order of names
    numbers, firsts = np.unique(cluster[order], return_index=True)
    sizes = np.diff(np.append(firsts, len(live)))
    sums = np.bincount(np.repeat(np.arange(len(numbers)), sizes), weights=weights[order])
    # From the clusters up: (parent's number, entries' salts, weights) of each level.
    levels = []
    for level in range(settings.levels, 0, -1):
        texts = [
            level.to_bytes(8, "little") + number.to_bytes(8, "little")
            for number in numbers.tolist()
        ]
        parents, firsts = np.unique(numbers // settings.fanout, return_index=True)
        spans = np.diff(np.append(firsts, len(numbers)))
        levels.append((salts_of(texts), sums, spans))
        sums = np.bincount(np.repeat(np.arange(len(parents)), spans), weights=sums)
        numbers = parents
    if not math.isfinite(float(sums.sum())):
        raise WeightError("the nodes' weights together are more than a double holds")
    levels.reverse()
    group_sizes = np.concatenate([*(spans for _, _, spans in levels), sizes])
    leaf_start = len(group_sizes) - len(sizes)
    return Tables(
        np.concatenate([*(part for part, _, _ in levels), salts[order]]),
        np.concatenate([*(part for _, part, _ in levels), weights[order]]),
        # Level by level, the entries of one are the groups of the next.
        np.concatenate([np.arange(1, len(group_sizes)), live[order]]).astype(np.uint32),
        np.append(0, np.cumsum(group_sizes)).astype(np.uint32),
        leaf_start,
    )
