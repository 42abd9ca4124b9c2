"""What moves between two cuts of a circle, in plain Python: the owners of every piece, compared.

A cut is ends (ascending) and rows of owners: range i is (ends[i-1], ends[i]], cyclic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

CIRCLE = 1 << 64
#: The zone of a node that is down, and the source of what only such nodes have.
NOWHERE = 2**32 - 1

Row = tuple[int, ...]
#: start, end, the ids of the owners before and after.
Piece = tuple[int, int, Row, Row]


def _rows(
    ends: NDArray[np.uint64], owners: NDArray[np.uint32], ids: NDArray[np.uint32]
) -> tuple[list[int], list[Row]]:
    if len(ends) != len(owners):
        raise ValueError(f"{len(ends)} ends for {len(owners)} rows of owners")
    if not 1 <= len(ends) < 1 << 28 or owners.shape[1] < 1:
        raise ValueError(f"{len(ends)} ranges of {owners.shape[1]} owners")
    bounds = [int(end) for end in ends]
    if bounds != sorted(set(bounds)):
        raise ValueError("the ends do not ascend")
    if owners.max() >= len(ids):
        raise ValueError(f"an owner is not below {len(ids)}")
    return bounds, [tuple(int(ids[owner]) for owner in row) for row in owners]


def _pieces(a: tuple[list[int], list[Row]], b: tuple[list[int], list[Row]]) -> list[Piece]:
    """The longest pieces on which the rows of both cuts stay the same, from 0 on."""
    bounds = sorted({*a[0], *b[0]})
    pieces: list[Piece] = []
    for number, end in enumerate(bounds):
        before = a[1][bisect_left(a[0], end) % len(a[0])]
        after = b[1][bisect_left(b[0], end) % len(b[0])]
        if pieces and pieces[-1][2:] == (before, after):
            pieces[-1] = (pieces[-1][0], end, before, after)
        else:
            pieces.append((bounds[number - 1], end, before, after))
    if len(pieces) > 1 and pieces[0][2:] == pieces[-1][2:]:
        pieces[0] = (pieces.pop()[0], *pieces[0][1:])
    return pieces


def _columns(rows: Sequence[Sequence[int]], dtypes: Sequence[Any]) -> Iterator[NDArray[Any]]:
    for number, dtype in enumerate(dtypes):
        yield np.array([row[number] for row in rows], dtype=dtype)


def owners(
    a_ends: NDArray[np.uint64],
    a_owners: NDArray[np.uint32],
    a_ids: NDArray[np.uint32],
    b_ends: NDArray[np.uint64],
    b_owners: NDArray[np.uint32],
    b_ids: NDArray[np.uint32],
) -> tuple[NDArray[Any], ...]:
    a, b = _rows(a_ends, a_owners, a_ids), _rows(b_ends, b_owners, b_ids)
    if a_owners.shape[1] != 1 or b_owners.shape[1] != 1:
        raise ValueError("owners() is for cuts with one owner a range")
    moved = [
        (start, end, *before, *after)
        for start, end, before, after in _pieces(a, b)
        if before != after
    ]
    return tuple(_columns(moved, [np.uint64, np.uint64, np.uint32, np.uint32]))


def replicas(
    a_ends: NDArray[np.uint64],
    a_owners: NDArray[np.uint32],
    a_ids: NDArray[np.uint32],
    b_ends: NDArray[np.uint64],
    b_owners: NDArray[np.uint32],
    b_ids: NDArray[np.uint32],
    zones: NDArray[np.uint32],
    dcs: NDArray[np.uint32],
) -> tuple[NDArray[Any], ...]:
    a, b = _rows(a_ends, a_owners, a_ids), _rows(b_ends, b_owners, b_ids)
    if len(dcs) != len(zones):
        raise ValueError(f"{len(zones)} zones for {len(dcs)} datacenters")
    if max(a_ids.max(), b_ids.max()) >= len(zones):
        raise ValueError(f"an id is not below {len(zones)}")
    pieces = _pieces(a, b)
    if len(pieces) > 1:  # the piece at the circle's begin comes last: it may begin at its end
        pieces.append(pieces.pop(0))
    sent = [0] * len(zones)
    kept: list[Row] = []
    adds: list[Row] = []
    drops: list[Row] = []
    for start, end, before, after in pieces:
        added = [node for node in after if node not in before]
        dropped = [node for node in before if node not in after]
        for target in added:

            def distance(node: int, target: int = target) -> tuple[int, int]:
                if zones[node] == zones[target]:
                    return 0, sent[node]
                return (1 if dcs[node] == dcs[target] else 2), sent[node]

            live = [node for node in before if zones[node] != NOWHERE]
            source = min(live, key=distance, default=NOWHERE)  # the first of several
            if source != NOWHERE:
                sent[source] += ((end - start) % CIRCLE or CIRCLE) >> 8
            adds.append((len(kept), source, target))
        drops += [(len(kept), node) for node in dropped]
        if added or dropped:
            kept.append((start, end))
    return (
        *_columns(kept, [np.uint64, np.uint64]),
        *_columns(adds, [np.uint32] * 3),
        *_columns(drops, [np.uint32] * 2),
    )


def schedule(
    senders: NDArray[np.uint32],
    receivers: NDArray[np.uint32],
    links: NDArray[np.uint32],
    costs: NDArray[np.float64],
    link_costs: NDArray[np.float64],
    node_count: int,
    link_count: int,
    concurrent: int,
) -> tuple[NDArray[np.uint32], int]:
    for what, values, bound in (
        ("senders", senders, node_count),
        ("receivers", receivers, node_count),
        ("links", links, link_count),
    ):
        if len(values) != len(senders):
            raise ValueError(f"{len(values)} {what} for {len(senders)} transfers")
        if len(values) and values.max() >= bound:
            raise ValueError(f"one of {what} is not below {bound}")
    if len(costs) != len(senders) or len(link_costs) != len(senders):
        raise ValueError(f"the costs are not those of {len(senders)} transfers")
    if not 1 <= concurrent < 1 << 32:
        raise ValueError(f"{concurrent} transfers at once")
    busy: list[dict[tuple[str, int], float]] = []  # of each step: how long each lane is busy
    streams: list[dict[tuple[str, int], int]] = []
    steps = np.empty(len(senders), dtype=np.uint32)
    for i in range(len(senders)):
        lanes = {
            ("from", int(senders[i])): float(costs[i]),
            ("to", int(receivers[i])): float(costs[i]),
            ("link", int(links[i])): float(link_costs[i]),
        }
        best: tuple[float, float, int] | None = None
        for step in range(len(busy)):
            if any(streams[step].get(lane, 0) >= concurrent for lane in lanes if lane[0] != "link"):
                continue
            needed = max(busy[step].get(lane, 0.0) + cost for lane, cost in lanes.items())
            seconds = max(busy[step].values())
            choice = (max(0.0, needed - seconds), max(0.0, seconds - needed), step)
            if best is None or choice < best:
                best = choice
        at = len(busy) if best is None else best[2]
        if at == len(busy):
            busy.append({})
            streams.append({})
        for lane, cost in lanes.items():
            busy[at][lane] = busy[at].get(lane, 0.0) + cost
            streams[at][lane] = streams[at].get(lane, 0) + 1
        steps[i] = at
    return steps, len(busy)
