"""A movement in steps: who copies what to whom, when, and how long it takes.

The order of one range is always: copy it to every node that is to have it, then let those that are
not to have it any more drop it.  So no step leaves fewer live replicas of anything than there were,
nor fewer than there will be.

A step is a set of transfers that run at the same time, and ends when all have ended; then the
drops that have become possible are done.  A transfer is all (or with `max_bytes_per_transfer` a
part) of what one node copies to another.  The estimate takes for granted that each node sends and
receives at its full rate as long as it has something to send and receive, shared among its
transfers as they need it: a step lasts as long as its busiest node (or link) is busy.

`Plan.bound_s` is what no order can beat: the busiest node's, or link's, bytes at its rate.  The
planner takes transfers from the longest to the shortest and puts each into the step that it makes
least longer (`csrc/movement.h`): a greedy colouring of the edges, heaviest first, of the bipartite
multigraph of senders and receivers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import SettingError, SettingTypeError
from ringleader.placement.located import checked_int
from ringleader.placement.movement import CIRCLE, Movement, exact_sums, joined, lengths_of

FORMAT = "ringleader movement plan"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Transfer:
    """What one node copies to another in one step.

    Attributes:
        source, target: the nodes' names.
        starts, ends: the ranges, uint64: x with starts[i] < x <= ends[i], as in `Movement`.
        length: how many of the 2**64 numbers they hold; exact.
        bytes: length * bytes_per_share / 2**64, rounded; None when no `bytes_per_share` was given.
        seconds: at the slower of the node's and the link's full rate; None if unknown.
    """

    source: str
    target: str
    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    length: int
    bytes: int | None
    seconds: float | None

    def __repr__(self) -> str:
        size = f"{self.length / CIRCLE:.4%}" if self.bytes is None else f"{self.bytes:,} bytes"
        return f"<Transfer {self.source!r} -> {self.target!r}: {size}, {len(self.starts)} ranges>"


@dataclass(frozen=True, eq=False)
class Drop:
    """What one node gives up at the end of a step, when every range of it is safe elsewhere.

    Attributes:
        node: its name.
        starts, ends: the ranges, uint64.
        length: how many of the 2**64 numbers they hold; exact.
    """

    node: str
    starts: NDArray[np.uint64]
    ends: NDArray[np.uint64]
    length: int


@dataclass(frozen=True, eq=False)
class Step:
    """Transfers that run at the same time, and what may be dropped once all have ended.

    Attributes:
        transfers: sorted by (source, target).
        drops: sorted by node.
        length: of all transfers together; exact.
        bytes: likewise; None if unknown.
        seconds: how long the step takes; None if unknown.
        busiest: which node, or link, that is because of: ("from" or "to", name) or ("link",
            "eu -> us"); None in a step without transfers.
    """

    transfers: tuple[Transfer, ...]
    drops: tuple[Drop, ...]
    length: int
    bytes: int | None
    seconds: float | None
    busiest: tuple[str, str] | None

    def __repr__(self) -> str:
        took = "" if self.seconds is None else f", {self.seconds:.1f} s"
        return f"<Step of {len(self.transfers)} transfers, {len(self.drops)} drops{took}>"


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """A movement in steps; made by `Movement.plan`.

    Attributes:
        movement: what is planned.
        steps: in their order.
        bytes: of all steps; None if unknown.
        seconds: of all steps, one after the other; None if unknown.
        bound_s: what no order can beat: the bytes of the busiest node, or link, at its rate; None
            if unknown.
        settings: the arguments of `Movement.plan`.
    """

    movement: Movement
    steps: tuple[Step, ...]
    bytes: int | None
    seconds: float | None
    bound_s: float | None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def transfer_count(self) -> int:
        """Transfers of all steps."""
        return sum(len(step.transfers) for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain dicts, lists, strings and numbers (docs/formats.md)."""
        movement = self.movement
        nodes = zip(
            movement.nodes,
            movement.before,
            movement.after,
            movement.incoming,
            movement.outgoing,
            strict=True,
        )
        policy = movement.policy
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": {"name": movement.space.name, "hash": movement.space.hash,
                      "bits": movement.space.bits},
            "policy": None if policy is None else {
                "replicas": policy.total if policy.by_dc is None else dict(policy.by_dc),
                "spread": policy.spread,
            },
            "share_moved": movement.share,
            "share_needed": movement.needed_share,
            "share_ideal": movement.ideal_share,
            "share_between_kept": movement.between_kept / CIRCLE,
            "down": sorted(movement.down),
            "lost": _told(*movement.lost),
            "bytes": self.bytes,
            "seconds": self.seconds,
            "bound_seconds": self.bound_s,
            "nodes": [
                {
                    "name": node.name,
                    "dc": node.dc,
                    "zone": node.zone,
                    "before": before / CIRCLE,
                    "after": after / CIRCLE,
                    "in": coming / CIRCLE,
                    "out": going / CIRCLE,
                }
                for node, before, after, coming, going in nodes
            ],
            "datacenters": [
                {"from": source, "to": target, "share": length / CIRCLE}
                for (source, target), length in movement.datacenters.items()
            ],
            "steps": [
                {
                    "seconds": step.seconds,
                    "bytes": step.bytes,
                    "transfers": [
                        {
                            "from": transfer.source,
                            "to": transfer.target,
                            "share": transfer.length / CIRCLE,
                            "bytes": transfer.bytes,
                            "seconds": transfer.seconds,
                            "ranges": _told(transfer.starts, transfer.ends),
                        }
                        for transfer in step.transfers
                    ],
                    "drops": [
                        {
                            "node": drop.node,
                            "share": drop.length / CIRCLE,
                            "ranges": _told(drop.starts, drop.ends),
                        }
                        for drop in step.drops
                    ],
                }
                for step in self.steps
            ],
        }  # fmt: skip

    def to_json(self, indent: int | None = None) -> str:
        """The plan as JSON (docs/formats.md); the same plan gives the same text everywhere."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def __repr__(self) -> str:
        took = "" if self.seconds is None else f", {self.seconds:.1f} s"
        return f"<Plan of {len(self.steps)} steps, {self.transfer_count} transfers{took}>"


def _told(starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> list[list[str]]:
    """Ranges for JSON, whose numbers lose digits beyond 2**53 in some readers: hexadecimal."""
    return [
        [f"{start:016x}", f"{end:016x}"]
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


# --- settings -------------------------------------------------------------------------------------


def _rate(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise SettingTypeError(f"{name} must be a number, not {type(value).__name__}")
    rate = float(value)
    if not (math.isfinite(rate) and rate > 0):
        raise SettingError(f"{name}={rate} must be positive and finite")
    return rate


def _bytes(name: str, value: object, least: int) -> int:
    amount = checked_int(name, value)
    if not least <= amount <= limits.PLAN_BYTES_MAX:
        raise SettingError(f"{name}={amount} is not in {least} ... {limits.PLAN_BYTES_MAX}")
    return amount


def _densities(movement: Movement, given: object) -> list[int] | None:
    """Bytes of 2**64 numbers on each source node."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return [_bytes("bytes_per_share", given, 0)] * len(movement.names)
    unknown = sorted(set(given) - set(movement.names), key=str)
    if unknown:
        raise SettingError(
            f"bytes_per_share names {unknown[0]!r}, which is no node of the movement"
        )
    densities = []
    for name, held, going in zip(movement.names, movement.before, movement.outgoing, strict=True):
        if name not in given:
            if going:
                raise SettingError(
                    f"bytes_per_share does not name {name!r}, which is copied from; say how many "
                    "bytes each node holds now"
                )
            densities.append(0)
            continue
        amount = _bytes(f"bytes_per_share[{name!r}]", given[name], 0)
        densities.append(amount * CIRCLE // held if held else 0)
    return densities


def _links(movement: Movement, given: object) -> dict[tuple[str, str], float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise SettingTypeError(
            "link_bytes_per_s must map pairs of datacenters to bytes per second, not "
            + type(given).__name__
        )
    known = {node.dc for node in movement.nodes}
    links = {}
    for pair, value in given.items():
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise SettingTypeError(
                f"link_bytes_per_s has the key {pair!r}; a link is a pair of datacenters (from, to)"
            )
        for dc in pair:
            if dc not in known:
                names = ", ".join(repr(name) for name in sorted(known)[:8])
                raise SettingError(
                    f"link_bytes_per_s names datacenter {dc!r}, in which no node stands; known: "
                    + names
                )
        links[pair] = _rate(f"link_bytes_per_s[{pair!r}]", value)
    return links


# --- planning -------------------------------------------------------------------------------------


def make_plan(
    movement: Movement,
    *,
    max_concurrent_per_node: int = 1,
    max_bytes_per_s: float | None = None,
    bytes_per_share: int | Mapping[str, int] | None = None,
    link_bytes_per_s: Mapping[tuple[str, str], float] | None = None,
    max_bytes_per_transfer: int | None = None,
) -> Plan:
    """The steps of a movement.

    Args:
        max_concurrent_per_node: transfers in, and as many out, that a node has at the same time.
        max_bytes_per_s: what a node sends, and as much again what it receives, per second.
        bytes_per_share: bytes of the whole key space, one replica of it; or what each node holds
            now, by name, where the data are unevenly spread.
        link_bytes_per_s: what goes from one datacenter to another per second, by (from, to).
        max_bytes_per_transfer: cut what one node copies to another into pieces of at most so many
            bytes, so that old copies are dropped earlier; a single range is not cut.

    Without bytes or a rate the steps are the same as for equal bytes everywhere, but have no times.

    Raises:
        SettingError, SettingTypeError: an argument is none of these; says which.

    Cost: O(ranges + transfers * steps).
    """
    concurrent = checked_int("max_concurrent_per_node", max_concurrent_per_node)
    if not 1 <= concurrent < 2**32:
        raise SettingError(
            f"max_concurrent_per_node={concurrent}: a node needs at least 1 transfer at a time"
        )
    rate = None if max_bytes_per_s is None else _rate("max_bytes_per_s", max_bytes_per_s)
    densities = _densities(movement, bytes_per_share)
    links = _links(movement, link_bytes_per_s)
    piece_max = None
    if max_bytes_per_transfer is not None:
        piece_max = _bytes("max_bytes_per_transfer", max_bytes_per_transfer, 1)
        if densities is None:
            raise SettingError("max_bytes_per_transfer needs bytes_per_share")
    if links and (rate is None or densities is None):
        raise SettingError("link_bytes_per_s needs max_bytes_per_s and bytes_per_share")
    transfer_of, sources, targets = _transfers(movement, densities, piece_max)
    lengths = _lengths(movement, transfer_of, movement.add_pieces, len(sources))
    sizes = None
    if densities is not None:
        sizes = [
            (length * densities[source] + CIRCLE // 2) // CIRCLE
            for length, source in zip(lengths, sources.tolist(), strict=True)
        ]
    lanes = _Lanes(movement, sources, targets, links)
    amounts = lengths if sizes is None else sizes
    # Without a rate any unit serves to compare.
    per_s = float(CIRCLE) if sizes is None else 1.0 if rate is None else rate
    costs = np.array([amount / per_s for amount in amounts], dtype=np.float64)
    link_costs = np.array(
        [amount / lanes.rates[link] for amount, link in zip(amounts, lanes.links, strict=True)],
        dtype=np.float64,
    )
    order = np.lexsort((targets, sources, -np.maximum(costs, link_costs)))
    steps = np.empty(len(order), dtype=np.uint32)
    steps[order], step_count = kernels.movement.schedule(
        lanes.sources[order],
        lanes.targets[order],
        lanes.links[order],
        costs[order],
        link_costs[order],
        len(movement.nodes),
        len(lanes.rates),
        concurrent,
    )
    timed = sizes is not None and rate is not None
    busy = lanes.busiest(costs, link_costs, steps, step_count)
    seconds = np.maximum(costs, link_costs)
    ranges = _ranges_by(
        movement, movement.add_pieces, transfer_of, np.zeros(len(transfer_of), np.uint32)
    )
    drops = _drops(movement, transfer_of, steps)
    names = movement.names
    rows: list[list[Transfer]] = [[] for _ in range(max(step_count, len(drops)))]
    for at in np.lexsort((targets, sources, steps)).tolist():
        transfer = Transfer(
            names[sources[at]],
            names[targets[at]],
            *ranges[at, 0],
            lengths[at],
            None if sizes is None else sizes[at],
            float(seconds[at]) if timed else None,
        )
        rows[steps[at]].append(transfer)
    made = []
    for number, row in enumerate(rows):
        made.append(
            Step(
                tuple(row),
                tuple(drops[number]) if number < len(drops) else (),
                sum(transfer.length for transfer in row),
                None if sizes is None else sum(transfer.bytes or 0 for transfer in row),
                (busy[number][0] if row else 0.0) if timed else None,
                busy[number][1] if row else None,
            )
        )
    whole = lanes.busiest(costs, link_costs, np.zeros(len(costs), np.uint32), 1)[0][0]
    return Plan(
        movement,
        tuple(made),
        None if sizes is None else sum(sizes),
        math.fsum(step.seconds or 0.0 for step in made) if timed else None,
        whole if timed else None,
        {
            "max_concurrent_per_node": concurrent,
            "max_bytes_per_s": rate,
            "bytes_per_share": bytes_per_share,
            "link_bytes_per_s": links or None,
            "max_bytes_per_transfer": piece_max,
        },
    )


def _lengths(
    movement: Movement, index: NDArray[Any], pieces: NDArray[np.uint32], size: int
) -> list[int]:
    lengths = lengths_of(movement.piece_starts, movement.piece_ends)
    return exact_sums(index, lengths[pieces], (lengths == 0)[pieces], size)


def _transfers(
    movement: Movement, densities: list[int] | None, piece_max: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The number of each added replica's transfer, and each transfer's source and target."""
    size = len(movement.nodes)
    pair = movement.add_sources.astype(np.int64) * size + movement.add_targets
    keys, index = np.unique(pair, return_inverse=True)
    index = index.astype(np.int64)
    if piece_max is not None and densities is not None:
        lengths = lengths_of(movement.piece_starts, movement.piece_ends)[movement.add_pieces]
        order = np.argsort(index, kind="stable")
        number, filled, before = -1, 0, -1
        for at in order.tolist():
            density = densities[int(movement.add_sources[at])]
            amount = (int(lengths[at]) or CIRCLE) * density  # in bytes / 2**64
            filled += amount
            if index[at] != before or filled > piece_max * CIRCLE:
                before, filled = int(index[at]), amount
                number += 1
            index[at] = number
        keys = pair[np.unique(index, return_index=True)[1]]
    return index, keys // size, keys % size


Group = tuple[NDArray[np.uint64], NDArray[np.uint64]]


def _ranges_by(
    movement: Movement, pieces: NDArray[np.uint32], first: NDArray[Any], second: NDArray[Any]
) -> dict[tuple[int, int], Group]:
    """The ranges (starts, ends) of the pieces with each pair of numbers, joined."""
    starts, ends, first, second = joined(
        movement.piece_starts[pieces],
        movement.piece_ends[pieces],
        first.astype(np.uint32),
        second.astype(np.uint32),
    )
    order = np.lexsort((second, first))  # stable: by their ends inside a group
    starts, ends, first, second = starts[order], ends[order], first[order], second[order]
    heads = (
        np.flatnonzero(np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1])))
        if len(first)
        else np.empty(0, np.int64)
    )
    bounds = [*heads.tolist(), len(first)]
    return {
        (int(first[at]), int(second[at])): (starts[at:end], ends[at:end])
        for at, end in pairwise(bounds)
    }


def _drops(
    movement: Movement, transfer_of: NDArray[np.int64], steps: NDArray[np.uint32]
) -> list[list[Drop]]:
    """What each node drops at the end of each step: where the last of the copies has arrived."""
    if len(movement.drop_pieces) == 0:
        return []
    ready = np.zeros(len(movement.piece_starts), dtype=np.uint32)
    np.maximum.at(ready, movement.add_pieces, steps[transfer_of])
    when = ready[movement.drop_pieces].astype(np.int64)
    size = len(movement.nodes)
    keys, index = np.unique(when * size + movement.drop_nodes, return_inverse=True)
    lengths = _lengths(movement, index, movement.drop_pieces, len(keys))
    ranges = _ranges_by(movement, movement.drop_pieces, when, movement.drop_nodes)
    drops: list[list[Drop]] = [[] for _ in range(int(when.max()) + 1)]
    for key, length in zip(keys.tolist(), lengths, strict=True):
        step, node = divmod(key, size)
        drops[step].append(Drop(movement.names[node], *ranges[step, node], length))
    return drops


class _Lanes:
    """What transfers compete for: the node that sends, the one that receives, the link between."""

    def __init__(
        self,
        movement: Movement,
        sources: NDArray[np.int64],
        targets: NDArray[np.int64],
        links: Mapping[tuple[str, str], float],
    ) -> None:
        self.names = movement.names
        self.sources = sources.astype(np.uint32)
        self.targets = targets.astype(np.uint32)
        # Link 0 stands for all that have no rate of their own.
        self.rates = [math.inf, *links.values()]
        self.link_names = ["", *(f"{one or 'none'} -> {other or 'none'}" for one, other in links)]
        numbers = {link: number for number, link in enumerate(links, start=1)}
        dcs = [node.dc for node in movement.nodes]
        self.links = np.array(
            [
                numbers.get((dcs[source], dcs[target]), 0)
                for source, target in zip(sources.tolist(), targets.tolist(), strict=True)
            ],
            dtype=np.uint32,
        )

    def busiest(
        self,
        costs: NDArray[np.float64],
        link_costs: NDArray[np.float64],
        steps: NDArray[np.uint32],
        step_count: int,
    ) -> list[tuple[float, tuple[str, str] | None]]:
        """The longest time that a node or link is busy in each step, and which that is."""
        found: list[tuple[float, tuple[str, str] | None]] = [(0.0, None)] * step_count
        for way, lanes, names, lane_costs in (
            ("from", self.sources, self.names, costs),
            ("to", self.targets, self.names, costs),
            ("link", self.links, self.link_names, link_costs),
        ):
            keys, index = np.unique(
                steps.astype(np.int64) * len(names) + lanes, return_inverse=True
            )
            sums = np.bincount(index, lane_costs, len(keys))
            for key, busy in zip(keys.tolist(), sums.tolist(), strict=True):
                step, lane = divmod(key, len(names))
                if busy > found[step][0]:
                    found[step] = (busy, (way, names[lane]))
        return found
