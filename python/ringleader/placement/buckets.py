"""Locators over numbered buckets that remember who left: what AnchorHash and MementoHash share.

A node of weight 1 has a bucket; one of weight 0 is drained and has none.  Buckets that were
removed wait on a stack: the last one removed is the first one given again, so that changes that
are undone in reverse leave no trace.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import FormatError, VersionError, WeightError
from ringleader.hashing import resolve_hash
from ringleader.placement import saved
from ringleader.placement.located import (
    SampledLocator,
    checked_names,
    found_position,
    heading,
    joined,
    position_of,
)
from ringleader.placement.node import Node, as_node, sorted_nodes

Self = TypeVar("Self", bound="BucketLocator")

NO_BUCKET = 2**32 - 1
VERSION = 1


class Buckets(NamedTuple):
    """One state.  Never changed: a change makes another.

    Attributes:
        nodes: in the order of their names.
        of: the bucket of each node, by position; NO_BUCKET where the weight is 0.
        bucket_count: those removed included.
        removed: buckets without a node, in the order of their removal.
            Invariant: `of` (but NO_BUCKET) and `removed` together are 0 ... bucket_count - 1, each
            once.
    """

    nodes: tuple[Node, ...]
    of: NDArray[np.uint32]
    bucket_count: int
    removed: NDArray[np.uint32]

    @property
    def standing(self) -> int:
        return self.bucket_count - len(self.removed)

    def same(self, other: Buckets) -> bool:
        return (
            self.nodes == other.nodes
            and self.bucket_count == other.bucket_count
            and np.array_equal(self.of, other.of)
            and np.array_equal(self.removed, other.removed)
        )


def first_buckets(nodes: tuple[Node, ...]) -> NDArray[np.uint32]:
    """Buckets 0, 1, ... for the nodes of weight 1, in the order of their names."""
    standing = np.array([node.weight != 0 for node in nodes], dtype=bool)
    of = np.full(len(nodes), NO_BUCKET, dtype=np.uint32)
    of[standing] = np.arange(standing.sum(), dtype=np.uint32)
    return of


class BucketLocator(SampledLocator):
    """What AnchorHash and MementoHash share."""

    __hash__: ClassVar[None]  # type: ignore[assignment]

    #: Of `saved.KINDS`.
    KIND: ClassVar[int]
    _settings: tuple[str, int]
    _now: Buckets
    _changing: threading.Lock

    # --- the algorithm's own --------------------------------------------------------------------

    @staticmethod
    def _state(*arguments: Any) -> Any:
        """The kernel's state."""
        raise NotImplementedError

    def _taken(self, now: Buckets) -> tuple[int, int, NDArray[np.uint32]]:
        """The bucket that the next node gets; and count and removed then."""
        raise NotImplementedError

    def _given_back(self, now: Buckets, bucket: int) -> tuple[int, NDArray[np.uint32]]:
        """Count and removed once this bucket has no node."""
        return now.bucket_count, np.append(now.removed, np.uint32(bucket))

    @classmethod
    def _check_saved(cls, now: Buckets) -> None:
        """Refuse a history that no series of changes leaves."""

    # --- building -------------------------------------------------------------------------------

    def _begin(self, hash: str, seed: int) -> None:
        resolve_hash(hash, seed)
        self._settings = (hash, operator.index(seed))
        self._changing = threading.Lock()

    def _members(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> tuple[Node, ...]:
        members = sorted_nodes(nodes)
        for node in members:
            self._check_weight(node)
        return members

    def _check_weight(self, node: Node) -> None:
        if node.weight not in (0.0, 1.0):
            raise WeightError(
                f"node {node.name!r} has weight {node.weight}, but {type(self).__name__} gives "
                "every node the same share: use weight 1 (or 0, which drains it), several names "
                "for one machine, or Rendezvous or HashRing, which take weights"
            )

    def _adopt(self, now: Buckets) -> None:
        """Build the state's tables and publish them; the caller holds the lock."""
        state = None
        if now.standing > 0:
            positions = np.full(now.bucket_count, NO_BUCKET, dtype=np.uint32)
            standing = np.flatnonzero(now.of != NO_BUCKET)
            positions[now.of[standing]] = standing
            state = self._state(*resolve_hash(*self._settings), now.removed, positions)
        placer = kernels.placer.Placer(state, now.nodes)
        self._now = now
        self._publish(placer)

    # --- what it is -----------------------------------------------------------------------------

    @property
    def hash(self) -> str:
        """The name of the hash of keys."""
        return self._settings[0]

    @property
    def seed(self) -> int:
        """The hash's seed."""
        return self._settings[1]

    @property
    def bucket_count(self) -> int:
        """Buckets, those without a node included."""
        return self._now.bucket_count

    @property
    def removed(self) -> tuple[int, ...]:
        """The buckets without a node, in the order of their removal: the last is taken next."""
        return tuple(self._now.removed.tolist())

    def bucket(self, name: str) -> int | None:
        """The bucket of the node of this name; None when it is drained.

        Raises:
            NodeNotFound: there is none.
        """
        now = self._now
        bucket = int(now.of[found_position(now.nodes, name)])
        return None if bucket == NO_BUCKET else bucket

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, type(self)):
            return NotImplemented
        return self._settings == other._settings and self._now.same(other._now)

    def __repr__(self) -> str:
        now = self._now
        return (
            f"<{heading(self, [node.name for node in now.nodes])}, "
            f"{now.standing} of {now.bucket_count} buckets, hash={self.hash!r}, "
            f"seed={self.seed if self.hash != 'siphash13' else '(secret)'}>"
        )

    # --- changes --------------------------------------------------------------------------------

    def add_node(self, node: str | Node, weight: float = 1.0) -> None:
        """Add a node.  Only keys that now belong to it move.

        It gets the bucket that was removed last; so after `remove_node("b")`, `add_node("b")`
        undoes it, and so does `add_node("c")`, with c in b's place.

        Raises:
            DuplicateNode: there is a node of this name.
            WeightError: the weight is neither 1 nor 0.
            LimitError: there are no more buckets.
            NodeError, NodeTypeError: as `Node`.

        Cost: O(buckets) of plain copying.
        """
        added = as_node(node, weight)
        self._check_weight(added)
        with self._changing:
            self._adopt(self._with(self._now, added))

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes, all of them in one step, or none; as one by one in the order of their names.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `add_node`.

        Cost: O(buckets) of plain copying for each, and one build.
        """
        added = self._members(nodes)
        with self._changing:
            now = self._now
            for node in added:
                now = self._with(now, node)
            self._adopt(now)

    def remove_node(self, name: str) -> None:
        """Remove a node.  Only the keys it owned move, to all others alike.

        Raises:
            NodeNotFound: there is no node of this name.

        Cost: O(buckets) of plain copying.
        """
        self.remove_nodes([name])

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes, all of them in one step, or none; as one by one in the order given.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.

        Cost: O(buckets) of plain copying for each, and one build.
        """
        names = checked_names(names)
        with self._changing:
            now = self._now
            for name in names:
                now = self._without(now, name)
            self._adopt(now)

    def set_weight(self, name: str, weight: float) -> None:
        """Drain a node (weight 0), or take it back (weight 1): it gets the bucket removed last.

        Raises:
            NodeNotFound: there is no node of this name.
            WeightError, NodeTypeError: the weight is neither 1 nor 0.
            LimitError: there are no more buckets.
        """
        with self._changing:
            now = self._now
            position = found_position(now.nodes, name)
            node = now.nodes[position].with_weight(weight)
            self._check_weight(node)
            if node == now.nodes[position]:
                return
            of = now.of.copy()
            if node.weight:
                of[position], count, removed = self._taken(now)
            else:
                count, removed = self._freed(now, position)
                of[position] = NO_BUCKET
            nodes = (*now.nodes[:position], node, *now.nodes[position + 1 :])
            self._adopt(Buckets(nodes, of, count, removed))

    def _with(self, now: Buckets, added: Node) -> Buckets:
        nodes = joined(now.nodes, [added])
        bucket, count, removed = NO_BUCKET, now.bucket_count, now.removed
        if added.weight:
            bucket, count, removed = self._taken(now)
        of = np.insert(now.of, position_of(now.nodes, added.name)[0], np.uint32(bucket))
        return Buckets(nodes, of, count, removed)

    def _without(self, now: Buckets, name: str) -> Buckets:
        position = found_position(now.nodes, name)
        count, removed = self._freed(now, position)
        nodes = (*now.nodes[:position], *now.nodes[position + 1 :])
        return Buckets(nodes, np.delete(now.of, position), count, removed)

    def _freed(self, now: Buckets, position: int) -> tuple[int, NDArray[np.uint32]]:
        bucket = int(now.of[position])
        if bucket == NO_BUCKET:
            return now.bucket_count, now.removed
        return self._given_back(now, bucket)

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """One that is equal now and changes on its own.  Shares the tables: O(1)."""
        twin = type(self).__new__(type(self))
        twin._settings = self._settings
        twin._changing = threading.Lock()
        with self._changing:
            twin._now = self._now
            twin._publish(self.table)
        return twin

    def __copy__(self: Self) -> Self:
        return self.copy()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.copy()

    def to_bytes(self) -> bytes:
        """The whole state, history included (docs/formats.md): the same on every platform."""
        now = self._now
        body = saved.Writer()
        body.put("H", VERSION)
        body.hash(self.hash, self.seed)
        body.nodes(now.nodes)
        body.put("II", now.bucket_count, len(now.removed))
        body.array(now.removed)
        body.array(now.of[now.of != NO_BUCKET])
        return saved.frame(self.KIND, body)

    @classmethod
    def from_bytes(cls: type[Self], data: bytes | bytearray | memoryview) -> Self:
        """What `to_bytes` saved.  Bytes of any origin are refused or read, never worse.

        Raises:
            FormatError: the bytes are cut short, altered, or something else.
            VersionError: they were written by a newer version.
            FormatTypeError: `data` is no bytes.
        """
        made: Self = cls.__new__(cls)
        saved.unframe(data, cls.KIND, made._read)
        return made

    def _read(self, reader: saved.Reader) -> None:
        (version,) = reader.take("H")
        if version > VERSION:
            raise VersionError(
                f"the saved {reader.what} has version {version}; this ringleader knows "
                f"{VERSION}: upgrade it"
            )
        if version != VERSION:
            raise FormatError(f"version {version} of a saved {reader.what} is unknown")
        self._begin(*reader.hash())
        nodes = self._members(reader.nodes())
        count, removed_count = reader.take("II")
        if count > limits.BUCKETS_MAX:
            raise FormatError(f"the saved {reader.what} has {count} buckets")
        removed = reader.array(np.uint32, removed_count)
        standing = [node.weight != 0 for node in nodes]
        of = np.full(len(nodes), NO_BUCKET, dtype=np.uint32)
        of[standing] = reader.array(np.uint32, sum(standing))
        used = np.concatenate([removed, of[standing]])
        if len(used) != count or not np.array_equal(np.sort(used), np.arange(count)):
            raise FormatError(f"the buckets of the saved {reader.what} are not 0 ... {count - 1}")
        now = Buckets(nodes, of, count, removed)
        self._check_saved(now)
        self._adopt(now)
