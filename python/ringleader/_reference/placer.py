"""The line from keys to owners, for every algorithm that is not a ring of points.

A state here has `owners(hash) -> position` and `replicas(hash, wanted) -> positions` as plain
methods, besides the hash function of keys, `hash`, and its nodes' `live` positions.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.keys import Column, key_bytes
from ringleader.errors import EmptyRingError, SettingTypeError, TooFewNodes

#: The numbers of csrc/placer.h.
REHASHES_MAX = 1024
MASK = (1 << 64) - 1


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


class State(Protocol):
    """What an algorithm gives: its key hash, its live positions, and where a hash belongs."""

    hash: Callable[[bytes], int]
    live: Sequence[int]

    @property
    def nbytes(self) -> int: ...

    def owner(self, value: int) -> int: ...

    def replicas(self, value: int, wanted: int) -> list[int]: ...


def rehash(value: int, turn: int) -> int:
    """SplitMix64's output function on value + turn * its gamma."""
    z = (value + turn * 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def rehash_replicas(state: State, value: int, wanted: int) -> list[int]:
    """Replicas for algorithms that know owners only (csrc/placer.h)."""
    found = [state.owner(value)]
    for turn in range(1, REHASHES_MAX + 1):
        if len(found) == wanted:
            return found
        position = state.owner(rehash(value, turn))
        if position not in found:
            found.append(position)
    if len(found) < wanted:
        live = list(state.live)
        after = [position for position in live if position > found[-1]]
        for position in after + live:
            if len(found) < wanted and position not in found:
                found.append(position)
    return found


@final
class Placer:
    """Nodes and an algorithm's state over them."""

    def __init__(self, state: Any, nodes: Sequence[Any]) -> None:
        self.state = state
        self.nodes = nodes
        self.policies: dict[Any, Any] = {}
        self.live_count = 0 if state is None else len(state.live)
        if state is not None and len(state.live) and state.live[-1] >= len(nodes):
            raise ValueError(f"a state of more than {len(nodes)} nodes")

    @property
    def names(self) -> Sequence[str]:
        if isinstance(self.nodes, tuple):
            return tuple(node.name for node in self.nodes)
        names: Sequence[str] = self.nodes.names  # type: ignore[attr-defined]
        return names

    @property
    def nbytes(self) -> int:
        return 0 if self.state is None else int(self.state.nbytes)

    def check_wanted(self, wanted: int) -> int:
        self._check_live()
        if isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
            raise SettingTypeError(f"n must be an int or Replicas, not {type(wanted).__name__}")
        wanted = operator.index(wanted)
        if wanted < 1:
            raise TooFewNodes(f"n={wanted} nodes were asked for; ask for at least 1")
        if wanted > self.live_count:
            raise TooFewNodes(
                f"n={wanted} distinct nodes were asked for, but only {self.live_count} nodes "
                "have a positive weight; ask for fewer, or add nodes"
            )
        return wanted

    def _check_live(self) -> None:
        if self.live_count:
            return
        if self.nodes:
            raise EmptyRingError(
                f"none of the {len(self.nodes)} nodes has a positive weight; "
                "give one a weight, or add another"
            )
        raise EmptyRingError("there are no nodes to place keys on; add one")

    def _check_range(self, column: Column, size: int, lo: int, hi: int) -> None:
        self._check_live()
        if not 0 <= lo <= hi <= len(column) or hi > size:
            raise ValueError("the range lies outside the column or out")

    def lookup(self, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None:
        self._check_range(column, len(out), lo, hi)
        for i, data in enumerate(column.tolist(lo, hi), start=lo):
            out[i] = self.state.owner(self.state.hash(data))

    def lookup_replicas(self, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None:
        self._check_range(column, len(out), lo, hi)
        self.check_wanted(out.shape[1])
        for i, data in enumerate(column.tolist(lo, hi), start=lo):
            out[i] = self.state.replicas(self.state.hash(data), out.shape[1])

    def owner(self, key: Any) -> int:
        self._check_live()
        data = key_bytes(key)
        return int(self.state.owner(self.state.hash(data)))

    def walk(self, key: Any, n: int) -> list[int]:
        wanted = self.check_wanted(n)
        data = key_bytes(key)
        return list(self.state.replicas(self.state.hash(data), wanted))


class PlacerBase:
    """What locators inherit; a change replaces `_placer` in one assignment."""

    _placer = Placer(None, ())

    def _publish(self, placer: Placer) -> None:
        self._placer = placer

    @property
    def table(self) -> Placer:
        return self._placer

    def __getitem__(self, key: Any) -> str:
        placer = self._placer
        name: str = placer.nodes[placer.owner(key)].name
        return name

    def get_node(self, key: Any) -> str:
        return self[key]
