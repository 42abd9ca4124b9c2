"""Jump consistent hash (Lamping & Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm",
arXiv:1406.2294, 2014): buckets with numbers instead of nodes with names, and no table at all.

A key's hash seeds a generator of jumps.  From bucket b the key would move to a further one, j, only
when there are more than j buckets; the last jump that stays below their number ends at the key's
bucket.  So when bucket n is appended, 1/(n + 1) of the keys jump into it and none moves otherwise.

The price: only the *last* bucket can come or go.  Without the last one all its keys spread evenly;
but nothing can be taken out of the middle, as the numbers behind it would change.  And all buckets
are alike: there are no weights.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import (
    DuplicateNode,
    FormatError,
    KeyRangeError,
    KeyTypeError,
    LimitError,
    NodeError,
    NodeNotFound,
    NodeTypeError,
    OutputError,
    OutputTypeError,
    SettingError,
    VersionError,
    WeightError,
)
from ringleader.hashing import resolve_hash
from ringleader.placement import saved
from ringleader.placement.located import PlacerLocator, checked_int, checked_names, heading
from ringleader.placement.node import Node, as_node
from ringleader.placement.stats import RingStats

Self = TypeVar("Self", bound="JumpHash")

KIND = 7
JUMP_VERSION = 1


class _NumberNames(Sequence[str]):
    """The names "0" ... "n-1", made when they are asked for."""

    def __init__(self, count: int) -> None:
        self._numbers = range(count)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return [str(number) for number in self._numbers[at]]
        return str(self._numbers[at])


class _Numbered(Sequence[Node]):
    """Nodes of these names, made when they are asked for: a million buckets take no memory."""

    def __init__(self, count: int) -> None:
        self.names = _NumberNames(count)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, at: int) -> Node: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Node]: ...
    def __getitem__(self, at: int | slice) -> Node | Sequence[Node]:
        if isinstance(at, slice):
            return [Node(name) for name in self.names[at]]
        return Node(self.names[at])

    def position(self, name: str) -> int | None:
        """Where the node of this name is; None if there is none."""
        if not (name.isascii() and name.isdecimal() and len(name) <= 10):
            return None
        number = int(name)
        return number if number < len(self) and str(number) == name else None


class _Named(Sequence[Node]):
    """Nodes in the order of their buckets, found by their names as well."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes = tuple(nodes)
        self.names = tuple(node.name for node in self.nodes)
        self._places = {name: place for place, name in enumerate(self.names)}
        if len(self._places) < len(self.names):
            place = next(at for at, name in enumerate(self.names) if self._places[name] != at)
            raise DuplicateNode(f"node {self.names[place]!r} is given twice; names are distinct")

    def __len__(self) -> int:
        return len(self.nodes)

    @overload
    def __getitem__(self, at: int) -> Node: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Node]: ...
    def __getitem__(self, at: int | slice) -> Node | Sequence[Node]:
        return self.nodes[at]

    def position(self, name: str) -> int | None:
        """Where the node of this name is; None if there is none."""
        return self._places.get(name)


def _as_bucket(node: str | Node, weight: float = 1.0) -> Node:
    made = as_node(node, weight)
    if made.weight != 1.0:
        raise WeightError(
            f"node {made.name!r} has the weight {made.weight}, but all buckets of jump hash are "
            "alike: give a larger node several buckets, under names such as "
            f"{made.name + '#2'!r}, or take HashRing, Maglev or Rendezvous, which have weights"
        )
    return made


def _named(nodes: Iterable[str | Node] | Mapping[str, float]) -> _Named:
    if isinstance(nodes, (str, bytes, Node)):
        raise NodeTypeError(
            f"nodes is one {type(nodes).__name__}; pass their number, or a list of names"
        )
    if isinstance(nodes, (set, frozenset)):
        raise NodeTypeError(
            "nodes is a set, which has no order; bucket i of jump hash is the i-th node: "
            "pass a list"
        )
    if isinstance(nodes, Mapping):
        return _Named(_as_bucket(name, weight) for name, weight in nodes.items())
    try:
        members = iter(nodes)
    except TypeError:
        raise NodeTypeError(
            "nodes must be a number of buckets, or names and Nodes in the order of their "
            f"buckets, not {type(nodes).__name__}"
        ) from None
    return _Named(_as_bucket(node) for node in members)


def _check_number(number: int, node: Node) -> None:
    if node != Node(str(number)):
        raise NodeError(
            f"buckets given by their number have numbers for names: the next is "
            f"'{number}', not {node.name!r}; make a JumpHash of a list of nodes"
        )


def _checked_count(count: int) -> int:
    if count < 0:
        raise SettingError(f"there cannot be {count} buckets")
    if count > limits.JUMP_BUCKETS_MAX:
        raise LimitError(
            f"{count} buckets are too many; at most {limits.JUMP_BUCKETS_MAX} are allowed"
        )
    return count


class JumpHash(PlacerLocator):
    """Jump consistent hash: keys to numbered buckets, evenly, without a table.

    Args:
        nodes: a number n of buckets, which are then nodes of the names "0" ... "n-1"; or names or
            `Node`s in the order of their buckets.  All weights are 1.
        hash: of keys: "xxh3" (default), "xxh64", "murmur3" or "siphash13".
        seed: of the hash; for siphash13 the 128-bit key as a little-endian integer.

    A position is the number of a bucket: `nodes` stand in the order in which they were given, not
    in that of their names, and another order is another mapping.  Only the last bucket comes and
    goes: `append`, `pop`, `resize`.  A node that dies in the middle cannot be taken out, only
    replaced by another one in its bucket (`replace`), to which all its keys go; where any node may
    fail, take `AnchorHash` or `MementoHash`.

    The replicas of a key are the buckets of its hash and of SplitMix64 numbers that follow from
    it, as far as they are distinct.

    Any number of threads may look up while others change the buckets.

    Cost: about ln(n) + 0.6 steps a key, each with a division; no memory, no time to build.  In
    bulk, keys are worked on in vectors.

    Raises:
        WeightError: a weight is not 1.
        DuplicateNode, NodeError, NodeTypeError: as `Node`.
        SettingError, SettingTypeError: unknown hash, seed out of range, or n below 0.
        LimitError: more buckets than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    _hash: str
    _seed: int

    def __init__(
        self,
        nodes: int | Iterable[str | Node] | Mapping[str, float] = 0,
        *,
        hash: str = "xxh3",
        seed: int = 0,
    ) -> None:
        resolve_hash(hash, seed)
        self._hash, self._seed = hash, operator.index(seed)
        self._changing = threading.Lock()
        if hasattr(nodes, "__index__"):
            self._rebuild(_Numbered(_checked_count(checked_int("nodes", nodes))))
        else:
            self._rebuild(_named(nodes))

    def _rebuild(self, nodes: _Numbered | _Named) -> None:
        count = _checked_count(len(nodes))
        state = None
        if count:
            state = kernels.jump.State(*resolve_hash(self._hash, self._seed), count)
        self._publish(kernels.placer.Placer(state, nodes))

    @property
    def _buckets(self) -> _Numbered | _Named:
        nodes: Any = self.table.nodes
        buckets: _Numbered | _Named = nodes
        return buckets

    def _position(self, nodes: Any, name: str) -> int:
        return _found(nodes, name)

    # --- what it is -----------------------------------------------------------------------------

    @property
    def hash(self) -> str:
        """The name of the hash of keys."""
        return self._hash

    @property
    def seed(self) -> int:
        """The hash's seed."""
        return self._seed

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes, in the order of their buckets."""
        return tuple(self._buckets)

    @property
    def is_numbered(self) -> bool:
        """Whether the buckets were given by their number, and have their numbers for names."""
        return isinstance(self._buckets, _Numbered)

    def __contains__(self, name: object) -> bool:
        if isinstance(name, Node):
            name = name.name
        return isinstance(name, str) and self._buckets.position(name) is not None

    def node(self, name: str) -> Node:
        """The node of this name.

        Raises:
            NodeNotFound: there is none.
        """
        buckets = self._buckets
        return buckets[_found(buckets, name)]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JumpHash):
            return NotImplemented
        mine, theirs = self._buckets, other._buckets
        if (self._hash, self._seed, len(mine)) != (other._hash, other._seed, len(theirs)):
            return False
        if isinstance(mine, _Numbered) and isinstance(theirs, _Numbered):
            return True
        return tuple(mine) == tuple(theirs)

    def __repr__(self) -> str:
        seed = self._seed if self._hash != "siphash13" else "(secret)"
        return f"<{heading(self, self._buckets.names)}, hash={self._hash!r}, seed={seed}>"

    def stats(self) -> RingStats:
        """The share of the keys that each bucket can be expected to have: one n-th.

        There is no table to count in.  Over m keys, a bucket gets m/n of them with the standard
        deviation of chance, sqrt(m/n); the generator itself adds about 1e-8 of m/n.

        Cost: O(n).
        """
        buckets = self._buckets
        count = len(buckets)
        share = np.full(count, 1 / max(1, count))
        ones = np.ones(count)
        return RingStats.expected(tuple(buckets.names), ones, ones.astype(np.uint32), share)

    # --- the bare function ----------------------------------------------------------------------

    def bucket(self, value: int) -> int:
        """The bucket of a 64-bit value, which is not hashed: the paper's function.

        Args:
            value: -2**63 ... 2**64 - 1; of negative ones the two's complement is taken, as for
                keys.  It should be a hash, or random: see `lookup` for keys.

        Raises:
            KeyTypeError: `value` is no int.
            KeyRangeError: it does not fit 64 bits.
            EmptyRingError: there are no buckets.
        """
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise KeyTypeError(f"value must be an int, not {type(value).__name__}")
        value = operator.index(value)
        if not limits.KEY_INT_MIN <= value <= limits.KEY_INT_MAX:
            raise KeyRangeError(f"{value} lies outside -2**63 ... 2**64-1")
        table = self.table
        table.check_wanted(1)
        return kernels.jump.bucket(value & limits.KEY_INT_MAX, len(table.nodes))

    def buckets(
        self, values: NDArray[Any], out: NDArray[np.uint32] | None = None
    ) -> NDArray[np.uint32]:
        """The bucket of each value of an array, which are not hashed.

        Args:
            values: uint64 or int64, shape (m,).
            out: where to write: uint32, shape (m,), C-contiguous.

        Returns:
            `out`, or a new uint32 array of shape (m,).

        Raises:
            KeyTypeError: `values` is no array of one dimension and 64-bit integers.
            OutputError, OutputTypeError: `out` does not fit; nothing was written.
            EmptyRingError: there are no buckets.
        """
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "iu":
            raise KeyTypeError("values must be a NumPy array of uint64 or int64")
        if values.ndim != 1 or values.dtype.itemsize != 8:
            raise KeyTypeError(
                f"values must have one dimension and 64 bits, not shape {values.shape} and "
                f"{values.dtype}"
            )
        table = self.table
        table.check_wanted(1)
        words = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
        if out is None:
            out = np.empty(len(words), np.uint32)
        elif not isinstance(out, np.ndarray) or out.dtype != np.uint32:
            raise OutputTypeError("out must be a NumPy array of uint32")
        elif out.shape != words.shape or not (out.flags.c_contiguous and out.flags.writeable):
            raise OutputError(f"out must be writable, C-contiguous and of shape {words.shape}")
        elif np.shares_memory(out, words):
            raise OutputError("out overlaps the values")
        kernels.jump.buckets(words.view(np.uint64), out, len(table.nodes))
        return out

    # --- changes --------------------------------------------------------------------------------

    def append(self, node: str | Node | None = None) -> None:
        """Add a bucket behind the last.  Only keys that now belong to it move.

        Args:
            node: its node; None for numbered buckets, which name it.

        Raises:
            DuplicateNode: there is a node of this name.
            WeightError: its weight is not 1.
            NodeError, NodeTypeError, LimitError: as `Node`; or numbered buckets were given a name,
                or named ones none.
        """
        added = None if node is None else _as_bucket(node)
        with self._changing:
            buckets = self._buckets
            if isinstance(buckets, _Numbered):
                if added is not None:
                    _check_number(len(buckets), added)
                self._rebuild(_Numbered(len(buckets) + 1))
                return
            if added is None:
                raise NodeError("these buckets have nodes with names: append(node)")
            if buckets.position(added.name) is not None:
                raise DuplicateNode(f"there already is a node {added.name!r}")
            self._rebuild(_Named((*buckets, added)))

    def pop(self) -> Node:
        """Remove the last bucket.  Only the keys it had move.

        Returns:
            Its node.

        Raises:
            NodeNotFound: there are no buckets.
        """
        with self._changing:
            buckets = self._buckets
            if not len(buckets):
                raise NodeNotFound("there is no bucket to remove")
            last = buckets[-1]
            self._shrink(buckets, len(buckets) - 1)
            return last

    def resize(self, count: int) -> None:
        """Make it `count` buckets: by removing the last ones, or by adding numbered ones.

        Raises:
            SettingError, SettingTypeError, LimitError: no possible number of buckets; or more than
                there are, where they have names.
        """
        count = _checked_count(checked_int("count", count))
        with self._changing:
            buckets = self._buckets
            if count <= len(buckets):
                self._shrink(buckets, count)
            elif isinstance(buckets, _Numbered):
                self._rebuild(_Numbered(count))
            else:
                raise SettingError(
                    f"there are {len(buckets)} nodes with names; append() the "
                    f"{count - len(buckets)} that are missing"
                )

    def _shrink(self, buckets: _Numbered | _Named, count: int) -> None:
        if isinstance(buckets, _Numbered):
            self._rebuild(_Numbered(count))
        else:
            self._rebuild(_Named(buckets.nodes[:count]))

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """The same as `append`: the new node's bucket is the last."""
        self.append(_as_bucket(node, weight))

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Append buckets for nodes, in the order given: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `append`.
        """
        added = _named(nodes)
        with self._changing:
            buckets = self._buckets
            if isinstance(buckets, _Numbered):
                count = len(buckets)
                for number, node in enumerate(added, count):
                    _check_number(number, node)
                self._rebuild(_Numbered(count + len(added)))
                return
            for node in added:
                if buckets.position(node.name) is not None:
                    raise DuplicateNode(f"there already is a node {node.name!r}")
            self._rebuild(_Named((*buckets, *added)))

    def remove_node(self, name: str) -> None:
        """Remove the node of the last bucket.

        Raises:
            NodeNotFound: there is no node of this name.
            NodeError: its bucket is not the last.
        """
        with self._changing:
            buckets = self._buckets
            place = _found(buckets, name)
            if place + 1 != len(buckets):
                raise NodeError(
                    f"node {name!r} is in bucket {place}, but only the last one, "
                    f"{len(buckets) - 1}, can be removed from jump hash; replace() puts another "
                    "node into the bucket, and AnchorHash and MementoHash remove any node"
                )
            self._shrink(buckets, place)

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove the nodes of the last buckets: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeError: they are not the last.
            NodeTypeError: `names` is no list of names.
        """
        names = checked_names(names)
        with self._changing:
            buckets = self._buckets
            going = {_found(buckets, name) for name in names}
            staying = len(buckets) - len(going)
            if going and min(going) < staying:
                raise NodeError(
                    f"node {buckets[min(going)].name!r} is in bucket {min(going)}, but only the "
                    "last ones can be removed from jump hash; replace() puts another node into "
                    "the bucket, and AnchorHash and MementoHash remove any node"
                )
            self._shrink(buckets, staying)

    def set_weight(self, name: str, weight: float) -> None:
        """Refuse any weight but 1: all buckets are alike, and none can be drained.

        Raises:
            NodeNotFound: there is no node of this name.
            WeightError, NodeTypeError: the weight is not 1.
        """
        buckets = self._buckets
        _as_bucket(buckets[_found(buckets, name)].with_weight(weight))

    def replace(self, name: str, node: str | Node) -> None:
        """Put another node into the bucket of the node `name`, to which all its keys go.

        Raises:
            NodeNotFound: there is no node of this name.
            DuplicateNode: the other one has a bucket already.
            WeightError: its weight is not 1.
            NodeError, NodeTypeError: as `Node`; or the buckets are numbered.
        """
        other = _as_bucket(node)
        with self._changing:
            buckets = self._buckets
            if isinstance(buckets, _Numbered):
                raise NodeError("buckets given by their number keep their numbers for names")
            place = _found(buckets, name)
            if other.name != name and buckets.position(other.name) is not None:
                raise DuplicateNode(f"node {other.name!r} has a bucket already")
            self._rebuild(_Named((*buckets.nodes[:place], other, *buckets.nodes[place + 1 :])))

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """One that is equal now and changes on its own: O(1)."""
        twin = type(self).__new__(type(self))
        twin._hash, twin._seed = self._hash, self._seed
        twin._changing = threading.Lock()
        twin._publish(self.table)
        return twin

    def __copy__(self: Self) -> Self:
        return self.copy()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def to_bytes(self) -> bytes:
        """The settings and the nodes, saved (docs/formats.md), checksummed."""
        buckets = self._buckets
        body = saved.Writer()
        body.put("H", JUMP_VERSION)
        body.hash(self._hash, self._seed)
        body.put("IB", len(buckets), isinstance(buckets, _Named))
        if isinstance(buckets, _Named):
            order = sorted(range(len(buckets)), key=buckets.names.__getitem__)
            body.nodes([buckets[place] for place in order])
            body.array(np.array(order, dtype=np.uint32))
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(cls: type[Self], data: bytes | bytearray | memoryview) -> Self:
        """What `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved jump hash.
            VersionError: they were written by a newer version.
            FormatTypeError: `data` is no bytes.
        """

        def body(reader: saved.Reader) -> Self:
            (version,) = reader.take("H")
            if version > JUMP_VERSION:
                raise VersionError(
                    f"the saved jump hash has version {version}; this ringleader knows "
                    f"{JUMP_VERSION}: upgrade it"
                )
            if version != JUMP_VERSION:
                raise FormatError(f"version {version} of a saved jump hash is unknown")
            hash, seed = reader.hash()
            count, is_named = reader.take("IB")
            if is_named > 1:
                raise FormatError("the saved jump hash's buckets are neither numbered nor named")
            if not is_named:
                return cls(count, hash=hash, seed=seed)
            nodes = reader.nodes()
            if len(nodes) != count:
                raise FormatError(f"the saved jump hash has {len(nodes)} nodes, {count} buckets")
            places = reader.array(np.uint32, count)
            if not np.array_equal(np.sort(places), np.arange(count)):
                raise FormatError("the saved jump hash does not have one node in each bucket")
            ordered: list[Node] = list(nodes)
            for node, place in zip(nodes, places.tolist(), strict=True):
                ordered[place] = node
            return cls(ordered, hash=hash, seed=seed)

        return saved.unframe(data, KIND, body)


def _found(buckets: _Numbered | _Named, name: str) -> int:
    """The bucket of the node of this name.

    Raises:
        NodeNotFound: there is none.
        NodeTypeError: the name is no str.
    """
    if not isinstance(name, str):
        raise NodeTypeError(f"a node's name is a str, not {type(name).__name__}")
    place = buckets.position(name)
    if place is None:
        raise NodeNotFound(
            f"there is no node {name!r}; the names of the {len(buckets)} nodes are in .names"
        )
    return place
