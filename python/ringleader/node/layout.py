"""Which nodes hold which shard, and who of them should lead it: *shard layout v1*.

A pure function of the nodes, the number of shards and the policy: every node computes the same
from the same cluster file, and nothing has to be agreed on.

    slots      shard i of n has the slots  16384*i // n  ...  16384*(i+1) // n - 1
    replicas   dealt out level by level: to datacenters, to the zones of each, to the nodes of each
    leaders    one designated replica of the most preferred datacenter that has any; the other
               replicas of that datacenter come next, then those of the next datacenter, ...

At each level a shard's replicas are spread as evenly over the children as they have room (a
datacenter, or zone, gets a second replica of a shard only when all that have room have one), and
what is left over goes to children in the order in which `HashRing` meets them for this shard, until
they have their quota.  Quotas follow weights, in whole replicas: with a few dozen shards a ring
alone would be off by tens of percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from ringleader import limits
from ringleader.errors import PolicyError
from ringleader.node.slots import shard_ranges, shard_table
from ringleader.placement import HashRing, Node, Replicas

VERSION = 1

#: How many replicas of each shard, by shard.
Needs = list[int]


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """Where one shard lives.

    Attributes:
        number: 0 ... shards - 1; its consensus group has the same.
        slots: the hash slots that it holds.
        replicas: the names of its nodes, who should lead first.
        priorities: for consensus, by name: the higher, the more should it lead.
    """

    number: int
    slots: range
    replicas: tuple[str, ...]
    priorities: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where all shards live.

    Attributes:
        shards: by number.
        shard_of_slot: the number of the shard of each of the 16384 slots.
    """

    shards: tuple[ShardLayout, ...]
    shard_of_slot: list[int]

    @classmethod
    def of_nodes(
        cls,
        nodes: Sequence[Node],
        shards: int,
        replicas: int | Mapping[str, int],
        leaders: Sequence[str] = (),
    ) -> Layout:
        """The layout of so many shards on these nodes.

        Args:
            nodes: with datacenters, zones and weights; those of weight 0 hold nothing.
            replicas: of each shard, in all or by datacenter.
            leaders: datacenters, the most preferred first; those not named come after them, as
                one.

        Raises:
            PolicyError: the nodes cannot hold so many replicas, or shards is not possible.

        Cost: O(shards * nodes * log(nodes)).
        """
        if not 1 <= shards <= limits.SHARDS_MAX:
            raise PolicyError(f"{shards} shards: there can be 1 ... {limits.SHARDS_MAX}")
        Replicas(replicas).check(nodes)
        live = sorted((node for node in nodes if node.weight > 0), key=lambda node: node.name)
        held = _placed(live, shards, replicas)
        orders = _by_preference(live, held, leaders)
        made = tuple(
            ShardLayout(
                number,
                range(first, last + 1),
                tuple(order),
                MappingProxyType({name: len(order) - at for at, name in enumerate(order)}),
            )
            for number, (order, (first, last)) in enumerate(
                zip(orders, shard_ranges(shards), strict=True)
            )
        )
        return cls(made, shard_table(shards))

    def of(self, node: str) -> tuple[ShardLayout, ...]:
        """The shards that this node holds a replica of."""
        return tuple(shard for shard in self.shards if node in shard.priorities)

    def sets(self) -> list[list[str]]:
        """Who holds each shard, in the order of names: what cannot change under existing data."""
        return [sorted(shard.replicas) for shard in self.shards]


# --- replicas -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Child:
    """A datacenter, a zone or a node, as what is dealt out at one level sees it."""

    name: str
    weight: float
    room: int  #: replicas of one shard that it can take


def _placed(
    nodes: Sequence[Node], shards: int, replicas: int | Mapping[str, int]
) -> list[list[str]]:
    """The names of each shard's nodes."""
    held: list[list[str]] = [[] for _ in range(shards)]
    by_dc = _grouped(nodes, lambda node: node.dc)
    if isinstance(replicas, Mapping):
        dc_needs = {dc: [count] * shards for dc, count in replicas.items()}
    else:
        dc_needs = _dealt(_children(by_dc), [replicas] * shards, "")
    for dc, needs in sorted(dc_needs.items()):
        by_zone = _grouped(by_dc[dc], lambda node: node.zone)
        for zone, zone_needs in _dealt(_children(by_zone), needs, f"{dc}/").items():
            own = {node.name: [node] for node in by_zone[zone]}
            for name, counts in _dealt(_children(own), zone_needs, f"{dc}/{zone}/").items():
                for shard, count in enumerate(counts):
                    held[shard] += [name] * count
    return held


def _grouped(nodes: Sequence[Node], key: Callable[[Node], str]) -> dict[str, list[Node]]:
    groups: dict[str, list[Node]] = {}
    for node in nodes:
        groups.setdefault(key(node), []).append(node)
    return groups


def _children(groups: Mapping[str, Sequence[Node]]) -> list[_Child]:
    return [
        _Child(name, math.fsum(node.weight for node in groups[name]), len(groups[name]))
        for name in sorted(groups)
    ]


def _dealt(children: Sequence[_Child], needs: Needs, where: str) -> dict[str, Needs]:
    """How many replicas of each shard every child takes: evenly for each shard, by weight over all.

    Args:
        needs: of each shard, at most what all children together have room for.
        where: names this place: what is left over is dealt out otherwise in another.
    """
    dealt = {child.name: [0] * len(needs) for child in children}
    extra = [0] * len(needs)
    for shard, need in enumerate(needs):
        level, left = 0, need
        while left >= (taking := sum(child.room > level for child in children)) > 0:
            left, level = left - taking, level + 1
        for child in children:
            dealt[child.name][shard] = min(child.room, level)
        extra[shard] = left
    # Shards with a remainder, by the level that it stands on: who has no more room takes no part.
    remaining = [shard for shard, left in enumerate(extra) if left]
    if not remaining:
        return dealt
    can_take = {
        child.name: sum(child.room > dealt[child.name][shard] for shard in remaining)
        for child in children
    }
    quotas = _quotas(children, dealt, can_take, sum(extra), sum(needs))
    ring = HashRing([f"/{child.name}" for child in children])  # a zone's name may be empty
    rooms = {child.name: child.room for child in children}
    for shard in remaining:
        order = [name[1:] for name in ring.get_nodes(f"{where}{shard}", len(children))]
        takers = [name for name in order if rooms[name] > dealt[name][shard]]
        # Whoever could not use up its quota later has to be served now.
        takers.sort(key=lambda name: (quotas[name] < can_take[name], quotas[name] <= 0))
        for name in takers[: extra[shard]]:
            dealt[name][shard] += 1
            quotas[name] -= 1
        for name in takers:
            can_take[name] -= 1
    return dealt


def _quotas(
    children: Sequence[_Child],
    dealt: Mapping[str, Needs],
    can_take: Mapping[str, int],
    extras: int,
    total: int,
) -> dict[str, int]:
    """How many of the extras each child takes: its weight's part of all, in whole replicas.

    What a child has already is counted; what it cannot take, the others do, by their weights.
    """
    fixed = {child.name: sum(dealt[child.name]) for child in children}
    weights = {child.name: Fraction(child.weight) for child in children}
    # The level at which what all take, each at most its room, comes to the total.
    shares: dict[str, Fraction] = {}
    free = [child.name for child in children]
    left = Fraction(total)
    while True:
        scale = left / sum(weights[name] for name in free)
        bound = {}
        for name in free:
            low, high = fixed[name], fixed[name] + can_take[name]
            share = weights[name] * scale
            if share < low or share > high:
                bound[name] = (share - low) if share < low else (share - high)
        if not bound:
            shares |= {name: weights[name] * scale for name in free}
            break
        # Those on the side that is off by more are fixed first, so that the rest is still right.
        over = sum(bound.values()) > 0
        for name, off in bound.items():
            if (off > 0) == over:
                shares[name] = Fraction(fixed[name] + (can_take[name] if over else 0))
                left -= shares[name]
                free.remove(name)
        if not free:
            break
    wanted = {name: share - fixed[name] for name, share in shares.items()}
    quotas = {name: math.floor(want) for name, want in wanted.items()}
    rest = extras - sum(quotas.values())
    for name in sorted(wanted, key=lambda name: (quotas[name] - wanted[name], name))[:rest]:
        quotas[name] += 1
    return quotas


# --- leaders ------------------------------------------------------------------------------------


def _by_preference(
    nodes: Sequence[Node], held: Sequence[Sequence[str]], leaders: Sequence[str]
) -> list[list[str]]:
    """Each shard's nodes, who should lead first."""
    weights = {node.name: node.weight for node in nodes}
    dcs = {node.name: node.dc for node in nodes}
    rank = {dc: at for at, dc in enumerate(leaders)}
    ring = HashRing(list(weights))
    orders: list[list[str]] = [[] for _ in held]
    rests = [list(names) for names in held]
    while any(rests):
        # Of each shard, the nodes of the best datacenter that still has any.
        tiers: list[list[str]] = []
        for rest in rests:
            best = min((rank.get(dcs[name], len(rank)) for name in rest), default=0)
            tiers.append([name for name in rest if rank.get(dcs[name], len(rank)) == best])
        for shard, name in enumerate(_designated(tiers, weights)):
            if name is None:
                continue
            met = ring.get_nodes(f"leader/{shard}", len(weights))
            others = sorted(
                (other for other in rests[shard] if dcs[other] == dcs[name] and other != name),
                key=met.index,
            )
            orders[shard] += [name, *others]
            rests[shard] = [other for other in rests[shard] if dcs[other] != dcs[name]]
    return orders


def _designated(
    candidates: Sequence[Sequence[str]], weights: Mapping[str, float]
) -> list[str | None]:
    """One candidate for each shard, so that all have their weight's part: the least sum of
    load**2 / weight.

    First the least loaded, then one shard after the other is passed on along the shortest chain
    from a node to one that is better off with it, until no chain makes the sum less.  Division
    keeps order when it rounds: what is less as a float is less, so that this ends.
    """
    load = dict.fromkeys(weights, 0)
    led: dict[str, set[int]] = {name: set() for name in weights}
    chosen: list[str | None] = []
    for shard, names in enumerate(candidates):
        best = min(names, key=lambda name: ((load[name] + 1) / weights[name], name), default=None)
        chosen.append(best)
        if best is not None:
            load[best] += 1
            led[best].add(shard)

    def improved() -> bool:
        gains = {name: (2 * load[name] + 1) / weights[name] for name in load}
        losses = {name: (2 * load[name] - 1) / weights[name] for name in load}
        least = min(gains.values())
        for start in sorted(load, key=lambda name: (-losses[name], name)):
            saved = losses[start]
            if saved <= least:
                return False  # nobody is better off with one of its shards, nor of the next ones'
            came: dict[str, tuple[str, int]] = {}
            queue = [start]
            for giver in queue:
                for shard in sorted(led[giver]):
                    for taker in candidates[shard]:
                        if taker == start or taker in came:
                            continue
                        came[taker] = (giver, shard)
                        queue.append(taker)
                        if gains[taker] < saved:
                            load[start] -= 1
                            load[taker] += 1
                            while taker != start:
                                before, passed = came[taker]
                                chosen[passed] = taker
                                led[before].remove(passed)
                                led[taker].add(passed)
                                taker = before
                            return True
        return False

    while improved():
        pass
    return chosen
