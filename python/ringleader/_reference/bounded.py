"""Bounded loads in plain Python: sorted lists, one walk after another."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.keys import Column, key_bytes
from ringleader._reference.ring import Table, simd, simd_force, simd_supported
from ringleader.errors import MisuseError, NodeNotFound, NodeTypeError

__all__ = [
    "LoadsBase",
    "assign",
    "hash_keys",
    "simd",
    "simd_force",
    "simd_supported",
    "surplus",
]

WORD = 1 << 64
ABSENT = (1 << 32) - 1


def rank(value: int) -> int:
    """The order in which keys are served: a bijection of the hash that looks random."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB % WORD
    return value ^ value >> 31


def hash_keys(table: Table, column: Column, out: NDArray[np.uint64], lo: int, hi: int) -> None:
    table.check_wanted(1)
    if not 0 <= lo <= hi <= len(column) or hi > len(out):
        raise ValueError("the range lies outside the column or out")
    for i, data in enumerate(column.tolist(lo, hi), start=lo):
        out[i] = table._hash(data)


def surplus(
    hashes: NDArray[np.uint64], owners: NDArray[np.uint32], room: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    if len(hashes) != len(owners):
        raise ValueError(f"{len(hashes)} hashes of {len(owners)} owners")
    if len(owners) and int(np.max(owners)) >= len(room):
        raise ValueError("an owner has no room at all, not even 0")
    order = sorted(range(len(hashes)), key=lambda i: (rank(int(hashes[i])), i))
    left = []
    for i in order:
        owner = owners[i]
        if room[owner]:
            room[owner] -= np.uint64(1)
        else:
            left.append(i)
    return np.array(left, dtype=np.uint64)


def assign(
    table: Table,
    hashes: NDArray[np.uint64],
    room: NDArray[np.uint64],
    out: NDArray[np.uint32],
) -> int:
    table.check_wanted(1)
    if len(out) != len(hashes) or len(room) != len(table.nodes):
        raise ValueError("hashes and out, or room and nodes, are not of one length")
    left = np.minimum(room, np.uint64(len(hashes)))
    if int(left.sum()) < len(hashes):
        raise ValueError(f"room for {left.sum()} of {len(hashes)} keys")
    points = len(table._owners)
    starts = [bisect_left(table._tokens, int(value)) for value in hashes]
    for i, start in enumerate(starts):
        out[i] = table._owners[start % points]
    diverted = surplus(hashes, out, left)
    for i in diverted.tolist():
        for step in range(points):
            position = table._owners[(starts[i] + step) % points]
            if left[position]:
                left[position] -= np.uint64(1)
                out[i] = position
                break
        else:
            raise AssertionError("the room was counted")
    return len(diverted)


class LoadsBase:
    """What `BoundedLoads` inherits; a lock makes each operation one step."""

    def _open(self, locator: Any, has_table: bool) -> None:
        self._locator = locator
        self._has_table = has_table
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._source_bound: object = None
        self._names: tuple[str, ...] = ()
        self._slots: dict[str, int] = {}
        self._loads: list[int] = []
        self._shares: list[int] = []
        self._present = 0
        self._whole = 1

    def _source(self) -> object:
        raise NotImplementedError

    def _follow(self, source: Any) -> None:
        raise NotImplementedError

    def _acquire_slowly(self, key: Any) -> str:
        raise NotImplementedError

    @property
    def _bound(self) -> tuple[object, tuple[str, ...], dict[str, int], int, list[int]]:
        with self._lock:
            loads = list(self._loads)
            return self._source_bound, self._names, self._slots, self._present, loads

    def _bind(
        self,
        before: object,
        source: object,
        table: Any,
        names: tuple[str, ...],
        present: int,
        mapping: Sequence[int],
        shares: Sequence[int],
        whole: int,
    ) -> bool:
        with self._lock:
            if self._source_bound is not before or len(self._names) != len(mapping):
                return False
            loads = [0] * len(names)
            for old, new in enumerate(mapping):
                if new != ABSENT:
                    loads[new] = self._loads[old]
            self._source_bound = source
            self._table = table
            self._names = names
            self._slots = {name: slot for slot, name in enumerate(names)}
            self._loads = loads
            self._present = present
            self._shares = [*shares, *[0] * (len(names) - present)]
            self._whole = whole
            return True

    def _update(self) -> object:
        while True:
            source = self._locator.table if self._has_table else self._source()
            if self._source_bound is source:
                return source
            self._follow(source)

    def _has_room(self, slot: int) -> bool:
        total = sum(self._loads[: self._present]) + 1
        return self._loads[slot] * self._whole < total * self._shares[slot]

    def acquire(self, key: Any) -> str:
        self._update()
        if self._table is None:
            return self._acquire_slowly(key)
        data = key_bytes(key)
        while True:
            source = self._update()
            with self._lock:
                if self._source_bound is not source:
                    continue
                table = self._table
                start = bisect_left(table._tokens, table._hash(data))
                for step in range(len(table._owners)):
                    slot = table._owners[(start + step) % len(table._owners)]
                    if self._has_room(slot):
                        self._loads[slot] += 1
                        return self._names[slot]
                raise AssertionError("some node has room")

    def _take(self, source: object, slot: int) -> bool:
        with self._lock:
            if self._source_bound is not source or not 0 <= slot < self._present:
                return False
            if not self._has_room(slot):
                return False
            self._loads[slot] += 1
            return True

    def release(self, name: str) -> None:
        if not isinstance(name, str):
            raise NodeTypeError(f"a node's name is a str, not {type(name).__name__}")
        with self._lock:
            slot = self._slots.get(name)
            if slot is None:
                raise NodeNotFound(f"there is no node {name!r} that could hold anything")
            if not self._loads[slot]:
                raise MisuseError(f"node {name!r} holds nothing that could be released")
            self._loads[slot] -= 1

    def _counts(self) -> tuple[tuple[str, ...], int, list[int], list[int], int]:
        self._update()
        with self._lock:
            return self._names, self._present, list(self._loads), list(self._shares), self._whole

    def __len__(self) -> int:
        return sum(self._loads)
