"""A ring's table of points in plain Python: a sorted list, and bisect.

Every change builds the whole table anew, which is what the native twin's patches must equal.
"""

from __future__ import annotations

import operator
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference import hashing
from ringleader._reference.keys import Column, key_bytes
from ringleader.errors import EmptyRingError, SettingTypeError, TooFewNodes

CIRCLE = 1 << 64


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


def hash_function(kind: int, seed: int, seed_hi: int) -> Callable[[bytes], int]:
    """Bytes to 64 bits, for one of the hashes that a ring may be built on."""
    if kind == 0:
        return lambda data: hashing.xxh3_64(data, seed)
    if kind == 1:
        return lambda data: hashing.xxh64(data, seed)
    if kind == 2:
        return lambda data: hashing.murmur3_x64_128(data, seed) % CIRCLE
    if kind == 3:
        secret = (seed + (seed_hi << 64)).to_bytes(16, "little")
        return lambda data: hashing.siphash13(data, secret)
    if kind == 4:
        return lambda data: int.from_bytes(hashing.md5(data)[:4], "little") << 32
    if kind == 5:
        return lambda data: hashing.crc32(data) << 32
    if kind == 6:
        return lambda data: hashing.cassandra_token(data) + (1 << 63)
    if kind == 7:
        return lambda data: hashing.redis_slot(data) << 50
    raise ValueError(f"unknown hash kind {kind}")


@final
class Table:
    """The points of one state of a ring, in the order (token, name of the node)."""

    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        nodes: tuple[Any, ...],
        counts: Sequence[int],
        tokens: Sequence[int] | None = None,
    ) -> None:
        if len(counts) != len(nodes):
            raise ValueError(f"{len(counts)} counts for {len(nodes)} nodes")
        self.settings = (kind, seed, seed_hi)
        self.policies: dict[Any, Any] = {}
        self.nodes = nodes
        self._counts = [int(count) for count in counts]
        self._hash = hash_function(kind, seed, seed_hi)
        self.has_given_tokens = tokens is not None
        points = []
        if tokens is not None:
            if len(tokens) != sum(self._counts):
                raise ValueError(f"{len(tokens)} tokens do not make up the counts")
            owners = [at for at, count in enumerate(self._counts) for _ in range(count)]
            points = [(int(token), at) for token, at in zip(tokens, owners, strict=True)]
        for position, node in enumerate(nodes if tokens is None else ()):
            name_hash = self._hash(node.name.encode()).to_bytes(8, "little")
            for i in range(self._counts[position]):
                token = self._hash(name_hash + i.to_bytes(8, "little"))
                points.append((token, position))  # positions are in the order of names
        points.sort()
        self._tokens = [token for token, _ in points]
        self._owners = [position for _, position in points]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    @property
    def live_count(self) -> int:
        return sum(count > 0 for count in self._counts)

    @property
    def point_count(self) -> int:
        return len(self._tokens)

    @property
    def nbytes(self) -> int:
        return 16 * len(self._tokens)

    def counts(self) -> NDArray[np.uint32]:
        return np.array(self._counts, dtype=np.uint32)

    def tokens(self) -> NDArray[np.uint64]:
        return np.array(self._tokens, dtype=np.uint64)

    def owners(self) -> NDArray[np.uint32]:
        return np.array(self._owners, dtype=np.uint32)

    def arcs(self) -> list[int]:
        arcs = [0] * len(self.nodes)
        for i, token in enumerate(self._tokens):
            before = self._tokens[i - 1] if i > 0 else self._tokens[-1] - CIRCLE
            arcs[self._owners[i]] += token - before
        return arcs

    def owner(self, data: bytes) -> int:
        """The position of the node that owns the key of these bytes."""
        if not self._tokens:
            raise_empty(self.nodes)
        index = bisect_left(self._tokens, self._hash(data))
        return self._owners[index % len(self._owners)]

    def walk(self, data: bytes, wanted: int) -> list[int]:
        """The positions of the first `wanted` distinct nodes, clockwise."""
        wanted = self.check_wanted(wanted)
        start = bisect_left(self._tokens, self._hash(data))
        found: list[int] = []
        for step in range(len(self._owners)):
            position = self._owners[(start + step) % len(self._owners)]
            if position not in found:
                found.append(position)
            if len(found) == wanted:
                break
        return found

    def check_wanted(self, wanted: int) -> int:
        if not self._tokens:
            raise_empty(self.nodes)
        if isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
            raise SettingTypeError(f"n must be an int or Replicas, not {type(wanted).__name__}")
        wanted = operator.index(wanted)
        if wanted < 1:
            raise TooFewNodes(f"n={wanted} nodes were asked for; ask for at least 1")
        if wanted > self.live_count:
            raise TooFewNodes(
                f"n={wanted} distinct nodes were asked for, but only {self.live_count} of the "
                "ring's nodes have a positive weight; ask for fewer, or add nodes"
            )
        return wanted

    def _check_range(self, column: Column, size: int, lo: int, hi: int) -> None:
        if not self._tokens:
            raise_empty(self.nodes)
        if not 0 <= lo <= hi <= len(column) or hi > size:
            raise ValueError("the range lies outside the column or out")

    def lookup(self, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None:
        self._check_range(column, len(out), lo, hi)
        for i, data in enumerate(column.tolist(lo, hi), start=lo):
            out[i] = self.owner(data)

    def lookup_replicas(self, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None:
        self._check_range(column, len(out), lo, hi)
        self.check_wanted(out.shape[1])
        for i, data in enumerate(column.tolist(lo, hi), start=lo):
            out[i] = self.walk(data, out.shape[1])


def raise_empty(nodes: tuple[Any, ...]) -> None:
    if nodes:
        raise EmptyRingError(
            f"none of the ring's {len(nodes)} nodes has a positive weight; "
            "give one a weight with set_weight()"
        )
    raise EmptyRingError("the ring has no nodes; add one with add_node()")


class RingBase:
    """What `HashRing` inherits; a change replaces `_table` in one assignment."""

    _table = Table(0, 0, 0, (), ())

    def _build(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        nodes: tuple[Any, ...],
        counts: Sequence[int],
        tokens: Sequence[int] | None = None,
    ) -> None:
        self._table = Table(kind, seed, seed_hi, nodes, counts, tokens)

    def _share(self, other: RingBase) -> None:
        self._table = other._table

    def _replace(self, position: int, drop: int, nodes: list[Any], counts: list[int]) -> None:
        table = self._table
        end = position + drop
        self._table = Table(
            *table.settings,
            (*table.nodes[:position], *nodes, *table.nodes[end:]),
            table._counts[:position] + counts + table._counts[end:],
        )

    def _add(self, position: int, node: Any, count: int) -> None:
        self._replace(position, 0, [node], [count])

    def _drop(self, position: int) -> None:
        self._replace(position, 1, [], [])

    def _set(self, position: int, node: Any, count: int) -> None:
        self._replace(position, 1, [node], [count])

    @property
    def table(self) -> Table:
        return self._table

    def __getitem__(self, key: Any) -> str:
        data = key_bytes(key)
        table = self._table
        name: str = table.nodes[table.owner(data)].name
        return name

    def get_node(self, key: Any) -> str:
        return self[key]

    def _replicas(self, table: Table, n: Any) -> Any:
        table.check_wanted(n)
        raise NotImplementedError

    def get_nodes(self, key: Any, n: Any) -> list[str]:
        table = self._table
        if not hasattr(n, "__index__"):
            names: list[str] = self._replicas(table, n).names(table, key)
            return names
        data = key_bytes(key)
        return [table.nodes[position].name for position in table.walk(data, n)]
