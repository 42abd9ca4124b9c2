"""Replica policies in plain Python, from their definition (docs/formats.md).

A group's replicas are its first nodes by (tier, order met), in the order met.  The native twin
decides about each node when it is met, and makes the rows of all points of a ring backwards, each
out of the next one's; here all nodes are met, and sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.keys import Column, key_bytes

NO_GROUP = 2**32 - 1
REPLICAS_MAX = 255


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


def unsatisfied() -> ValueError:
    return ValueError("the rule is not one of this table's nodes")


@final
class Rule:
    """A policy over positions: how many replicas each group of nodes takes, and how they spread."""

    def __init__(
        self,
        groups: Sequence[int] | NDArray[np.uint32],
        dcs: Sequence[int] | NDArray[np.uint32],
        zones: Sequence[int] | NDArray[np.uint32],
        wanted: Sequence[int],
        spread: int,
    ) -> None:
        if not (len(dcs) == len(zones) == len(groups)) or not 0 <= spread <= 2:
            raise ValueError("groups, dcs and zones have one number for each node")
        self.groups = [int(group) for group in groups]
        self.dcs = [int(dc) for dc in dcs]
        self.zones = [int(zone) for zone in zones]
        self.wanted = list(wanted)
        self.spread = spread
        for group, count in enumerate(self.wanted):
            if not 1 <= count <= REPLICAS_MAX:
                raise ValueError(f"{count} replicas in group {group}")
        if not 1 <= self.total <= REPLICAS_MAX:
            raise ValueError(f"{self.total} replicas")
        for group in self.groups:
            if group != NO_GROUP and group >= len(self.wanted):
                raise ValueError(f"group {group} of {len(self.wanted)}")
        if any(number >= len(self.groups) for number in self.dcs + self.zones):
            raise ValueError("datacenters and zones are numbered from 0")
        for group, count in enumerate(self.wanted):
            if self.groups.count(group) < count:
                raise unsatisfied()

    @property
    def total(self) -> int:
        return sum(self.wanted)

    def choose(self, order: Iterable[int]) -> list[int]:
        """The replicas among distinct positions, all that there are, in the order met."""
        met: dict[int, list[tuple[int, int, int]]] = {}
        dcs: set[tuple[int, int]] = set()
        zones: set[tuple[int, int]] = set()
        for at, position in enumerate(order):
            group = self.groups[position]
            if group == NO_GROUP:
                continue
            dc, zone = (group, self.dcs[position]), (group, self.zones[position])
            if self.spread == 2 and dc not in dcs:
                tier = 0
            elif self.spread >= 1 and zone not in zones:
                tier = 1
            else:
                tier = 2
            dcs.add(dc)
            zones.add(zone)
            met.setdefault(group, []).append((tier, at, position))
        taken = []
        for group, nodes in met.items():
            taken += [(at, position) for _, at, position in sorted(nodes)[: self.wanted[group]]]
        return [position for _, position in sorted(taken)]

    def select(self, candidates: NDArray[np.uint32]) -> list[int]:
        """The same for some of them; fewer than `total` where only more would decide."""
        some = candidates.tolist()
        for position in some:
            if position >= len(self.groups):
                raise ValueError(f"there is no position {position}")
        everybody = set(range(len(self.groups)))
        # What is taken whoever comes next: in every order that begins with these.
        rest = sorted(everybody.difference(some))
        chosen = self.choose([*some, *rest])
        return [position for position in chosen if position in some]


def _checked(rule: Rule, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None:
    if not 0 <= lo <= hi <= len(column) or hi > len(out):
        raise ValueError("the range lies outside the column or out")
    if out.shape[1] != rule.total:
        raise ValueError(f"out has {out.shape[1]} columns, not {rule.total}")


class _Replicas:
    """What the two below have in common: `order(table, data)` is theirs."""

    rule: Rule
    nbytes = 0

    def order(self, table: Any, data: bytes) -> list[int]:
        raise NotImplementedError

    def _check(self, table: Any) -> None:
        if len(table.nodes) != len(self.rule.groups):
            raise unsatisfied()

    def _row(self, table: Any, data: bytes) -> list[int]:
        row = self.rule.choose(self.order(table, data))
        if len(row) < self.rule.total:
            raise unsatisfied()
        return row

    def walk(self, table: Any, key: Any) -> list[int]:
        self._check(table)
        return self._row(table, key_bytes(key))

    def names(self, table: Any, key: Any) -> list[str]:
        return [table.names[position] for position in self.walk(table, key)]

    def lookup(self, table: Any, column: Column, out: NDArray[np.uint32], lo: int, hi: int) -> None:
        self._check(table)
        _checked(self.rule, column, out, lo, hi)
        for i, data in enumerate(column.tolist(lo, hi), start=lo):
            out[i] = self._row(table, data)


@final
class RingReplicas(_Replicas):
    """A rule on the ring of one table."""

    def __init__(self, table: Any, rule: Rule, bytes_max: int) -> None:
        self.rule = rule
        self.bytes_max = bytes_max
        self._check(table)

    def order(self, table: Any, data: bytes) -> list[int]:
        order: list[int] = table.walk(data, table.live_count)
        return order

    def rows(self, table: Any) -> NDArray[np.uint32]:
        """The replicas of every point of the ring."""
        owners = table.owners().tolist()
        rows = [
            self.rule.choose(dict.fromkeys(owners[point:] + owners[:point]))
            for point in range(len(owners))
        ]
        if any(len(row) < self.rule.total for row in rows):
            raise unsatisfied()
        return np.array(rows, dtype=np.uint32)


@final
class PlacerReplicas(_Replicas):
    """A rule on the nodes of one placer, met in the placer's own order of distinct nodes."""

    def __init__(self, placer: Any, rule: Rule) -> None:
        self.rule = rule
        self._check(placer)
        if placer.state is None or placer.live_count < rule.total:
            raise unsatisfied()

    def order(self, table: Any, data: bytes) -> list[int]:
        most = getattr(table.state, "met_max", table.live_count)
        return list(table.state.replicas(table.state.hash(data), most))


def live(placer: Any) -> list[int]:
    """The positions that keys can be placed on, ascending."""
    return [] if placer.state is None else [int(position) for position in placer.state.live]


def by_rank(rows: NDArray[np.uint32], ranks: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Each row of positions in the order of their ranks 0, 1, 2, equal ones as they stood."""
    if rows.size:
        if ranks.max(initial=0) > 2:
            raise ValueError(f"rank {ranks.max()} is not 0, 1 or 2")
        if rows.max() >= len(ranks):
            raise ValueError(f"a position is not below {len(ranks)}")
    ordered = [sorted(row, key=lambda position: ranks[position]) for row in rows.tolist()]
    return np.array(ordered, dtype=np.uint32).reshape(rows.shape)
