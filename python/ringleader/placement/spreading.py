"""A balanced circle on which a key has several replicas: every node's share of all of them.

Where each zone holds one replica, zones are circles of their own and csrc/balance.h shares each
out exactly.  Elsewhere (three replicas on any nodes, or over five zones) a point decides on the
ranges before it, too: its node is among the replicas of each from which the policy's walk still
gets there.  So shares are measured by walking, and points are chosen by what they would take:

grow    Several ways are tried, the most even is taken.  On a circle of not too many points, every
        range is looked at for each point: what a point in it would take, and from whom.  On a
        larger one the fullest node is relieved at the largest ranges in which it would lose its
        replica to the new node; of these, where those who lose the ranges before are the fullest,
        too.  Then how far each point reaches into its range is set so that the new node has its
        due.  The last way is the choice without the policy.
shrink  Points go, and where that lifts somebody above its due, a point is given to the emptiest
        node (of the same zone, where zones count) instead.

Both need ranges in all orders of owners and of many sizes: where nodes take turns, no point
relieves one and not the other.  So a circle's first node has scattered points (balanced.py).

All of it is integer arithmetic: loads are sums below 2**53, exact in float64.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import PolicyError
from ringleader.placement.node import Node
from ringleader.placement.topology import Replicas

#: Loads and dues count numbers of a circle of 2**44.
SHIFT = 20
CIRCLE = 1 << (64 - SHIFT)
#: Tokens are multiples of this many.
UNIT = 4
WINDOW = 16
TURNS = 6
#: A ring may have so many times the points that its weights ask for, so that some can be given on.
ROOM = 4
#: With up to so many points each range is looked at for each point.
SEARCHED = 1 << 15
#: How much a point should take of an equal part, in eighths: the first that is even, or the best.
SHARES = (8, 6, 10, 7)
#: A peak that needs no other try: 1.002 of the due.
ENOUGH = (1 << 20) + (1 << 11)


class Circle:
    """The points, in order, and who holds the replicas of which range."""

    def __init__(
        self,
        tokens: NDArray[np.uint64],
        owners: NDArray[np.uint32],
        nodes: Sequence[Node],
        policy: Replicas,
    ) -> None:
        order = np.argsort(tokens, kind="stable")
        self.tokens, self.owners = tokens[order], owners[order]
        counts = np.bincount(owners, minlength=len(nodes)).astype(np.uint32)
        # Sixteen bits are sorted by their digits, in a fifth of the time.
        narrow = self.owners.astype(np.uint16) if len(nodes) <= 1 << 16 else self.owners
        grouped = self.tokens[np.argsort(narrow, kind="stable")]
        table = kernels.ring.Table(0, 0, 0, tuple(nodes), counts, grouped)
        rule = policy.rule(nodes, (counts > 0).tolist())
        made = kernels.replicas.RingReplicas(table, rule, limits.SUCCESSORS_BYTES_MAX)
        self.rows = made.rows(table)
        sizes = self.tokens - np.roll(self.tokens, 1)
        self.sizes = (sizes >> np.uint64(SHIFT)).astype(np.int64)
        total = np.zeros(len(nodes))
        for column in self.rows.T:
            total += np.bincount(column, self.sizes.astype(np.float64), minlength=len(nodes))
        self.loads = total.astype(np.int64)


def _filled(units: Sequence[int], total: int) -> list[int]:
    """The total by weight, but no more than the circle to each: what that leaves, to the others."""
    dues = [0] * len(units)
    open_ = [at for at, unit in enumerate(units) if unit]
    while open_:
        whole = sum(units[at] for at in open_)
        full = [at for at in open_ if total * units[at] >= CIRCLE * whole]
        if not full:
            for at in open_:
                dues[at] = max(1, total * units[at] // whole)
            break
        for at in full:
            dues[at] = CIRCLE
        total -= CIRCLE * len(full)
        open_ = [at for at in open_ if not dues[at]]
    return dues


def dues_of(nodes: Sequence[Node], units: Sequence[int], policy: Replicas) -> list[int]:
    """What each node should hold: its weight's part, as far as the policy lets it.

    No node holds a key twice, no place (zone, or datacenter) does while there are others, and each
    has one where there are no more of them than replicas.  What one cannot take, others do.

    Args:
        units: the nodes' weights; 0 for one that is not on the circle.
    """
    count = policy.total
    dues = _filled(units, count * CIRCLE)
    if policy.spread == "node":
        return dues
    members: dict[tuple[str, str], list[int]] = {}
    for at, node in enumerate(nodes):
        if units[at]:
            place = (node.dc, node.zone if policy.spread == "zone" else "")
            members.setdefault(place, []).append(at)
    several = len(members) >= count
    low = 0 if several else CIRCLE
    high = CIRCLE if several else (count - len(members) + 1) * CIRCLE
    bounds = [(low, min(high, len(own) * CIRCLE)) for own in members.values()]
    sums = [sum(dues[at] for at in own) for own in members.values()]
    if all(lo <= part <= hi for part, (lo, hi) in zip(sums, bounds, strict=True)):
        return dues
    weights = [[units[at] for at in own] for own in members.values()]

    def parts(level: int) -> list[int]:
        return [
            max(lo, min(hi, sum(min(CIRCLE, level * unit >> 64) for unit in own)))
            for own, (lo, hi) in zip(weights, bounds, strict=True)
        ]

    under, over = 0, CIRCLE << 64
    while over - under > 1:
        level = (under + over) // 2
        under, over = (level, over) if sum(parts(level)) <= count * CIRCLE else (under, level)
    for own, part, of in zip(members.values(), parts(under), weights, strict=True):
        for at, due in zip(own, _filled(of, part), strict=True):
            dues[at] = due
    return dues


def peak_of(circle: Circle, dues: Sequence[int]) -> int:
    """The fullest node's level."""
    loads = circle.loads.tolist()
    return max(_level(load, due) for load, due in zip(loads, dues, strict=True) if due)


def changed(
    tokens: NDArray[np.uint64],
    owners: NDArray[np.uint32],
    nodes: Sequence[Node],
    units: Sequence[int],
    asked: Sequence[int],
    policy: Replicas,
    position: int,
    plain: Callable[[], tuple[NDArray[np.uint64], NDArray[np.uint32]]],
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]] | None:
    """The circle's points, in order, after a change of one node; arguments as of `balanced`.

    Args:
        plain: gives the points that would be chosen without the policy.

    Returns None where there are too few nodes for a choice: then the policy decides nothing.
    """
    live = len({*owners.tolist()} | {position})
    if live <= policy.total:
        return None
    dues = dues_of(nodes, units, policy)
    try:
        circle = Circle(tokens, owners, nodes, policy)
    except PolicyError:
        return None
    if dues[position] <= circle.loads[position]:
        if live <= policy.total + 1:
            return None
        shrunk = _shrunk(circle, nodes, units, dues, asked, policy, position)
        if shrunk is None or policy.spread == "node":
            return shrunk
        otherwise = plain()
        ours, theirs = (
            peak_of(Circle(tokens, owners, nodes, policy), dues)
            for tokens, owners in (shrunk, otherwise)
        )
        return shrunk if ours <= theirs else otherwise
    grown = partial(_grown, circle, nodes, dues, asked, policy, position)
    ways: list[Callable[[], tuple[NDArray[np.uint64], NDArray[np.uint32]]]] = [grown, plain]
    if len(tokens) <= SEARCHED:
        searches = [
            partial(_searched, circle, nodes, dues, asked, policy, position, eighths)
            for eighths in SHARES
        ]
        # Without zones the quick way is good on all but small circles.
        ways = [grown, *searches, plain] if policy.spread == "node" else [*searches, *ways]
    enough = (1 << 20) + max(1 << 13, min(1 << 15, (1 << 19) // max(1, asked[position])))
    best = None
    least = 0
    for way in ways:
        found = way()
        peak = peak_of(Circle(*found, nodes, policy), dues)
        if best is None or peak < least:
            best, least = found, peak
        if least <= (enough if way is grown else ENOUGH):
            break
    return best


# --- more ---------------------------------------------------------------------------------------


def _losers(
    circle: Circle, nodes: Sequence[Node], policy: Replicas, position: int
) -> NDArray[np.uint32]:
    """For each range, who would lose its replica to the node if that came first."""
    rows = circle.rows
    losers = rows[:, -1].copy()
    if policy.spread != "node":
        mine = nodes[position]
        places: list[bool] = [
            node.dc == mine.dc and (policy.spread == "dc" or node.zone == mine.zone)
            for node in nodes
        ]
        alike = np.array(places, dtype=bool)[rows]
        any_alike = alike.any(axis=1)
        # The last of its place: those before it come earlier on the way.
        last = rows.shape[1] - 1 - np.argmax(alike[:, ::-1], axis=1)
        losers[any_alike] = rows[np.flatnonzero(any_alike), last[any_alike]]
    return losers


def _level(load: int, due: int) -> int:
    return (max(load, 0) << 20) // due


def _grown(
    circle: Circle,
    nodes: Sequence[Node],
    dues: list[int],
    asked: Sequence[int],
    policy: Replicas,
    position: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    due, count = dues[position], asked[position]
    sizes = circle.sizes.tolist()
    lost = _losers(circle, nodes, policy, position)
    losers, loads = lost.tolist(), circle.loads.tolist()
    points, held = len(sizes), int((circle.owners == position).sum())
    lacks = due - loads[position]
    extra = max(count - held, (lacks * count + due // 2) // due)
    extra = min(extra, limits.POINTS_MAX - points)
    fit = np.flatnonzero(~(circle.rows == position).any(axis=1) & (circle.sizes >= 8))
    fit = fit[np.lexsort((-circle.sizes[fit], lost[fit]))]  # by loser, the largest range first
    ends = np.searchsorted(lost[fit], np.arange(len(nodes) + 1)).tolist()
    by_loser: dict[int, list[int]] = {}
    used = [False] * points
    heap = [
        (-_level(loads[node], dues[node]), node)
        for node in range(len(nodes))
        if ends[node] < ends[node + 1]
    ]
    heapq.heapify(heap)
    sites: list[int] = []
    reach = policy.total - 1
    left = lacks
    while heap and len(sites) < extra:
        minus, giver = heapq.heappop(heap)
        now = -_level(loads[giver], dues[giver])
        if now != minus:
            heapq.heappush(heap, (now, giver))
            continue
        if giver not in by_loser:
            by_loser[giver] = fit[ends[giver] : ends[giver + 1]].tolist()
        own = by_loser[giver]
        window = [i for i in own[: 4 * WINDOW] if not used[i]][:WINDOW]
        if not window:
            by_loser[giver] = own = [i for i in own if not used[i]]
            window = own[:WINDOW]
            if not window:
                continue
        share = max(1, left // (extra - len(sites)))
        piece = max(1, share // policy.total)
        best = window[0]
        best_rank: tuple[bool, int, int] | None = None
        for i in window:
            if 2 * sizes[i] < sizes[window[0]]:
                break
            before = sum(sizes[i - j] for j in range(1, reach + 1))
            relief = sum(
                sizes[i - j] * (_level(loads[losers[i - j]], dues[losers[i - j]]) - (1 << 20))
                for j in range(1, reach + 1)
            ) // max(1, before)
            fits = before <= share and 8 * sizes[i] >= 7 * piece
            rank = (fits, relief, -i)
            if best_rank is None or rank > best_rank:
                best, best_rank = i, rank
        used[best] = True
        takes = min(piece, sizes[best] * 7 // 8)
        loads[giver] -= takes
        left -= takes
        for j in range(1, reach + 1):
            before_it = (best - j) % points
            used[before_it] = True  # of two new points side by side, one would be in vain
            loads[losers[before_it]] -= sizes[before_it]
            left -= sizes[before_it]
        sites.append(best)
        heapq.heappush(heap, (-_level(loads[giver], dues[giver]), giver))
    return _reached(circle, nodes, dues, policy, position, sites, losers)


def _ends(circle: Circle, lost: NDArray[np.uint32]) -> NDArray[np.int64]:
    """For each range, up to which a point would get it: that of the loser's next point."""
    points = len(lost)
    ends = np.empty(points, dtype=np.int64)
    order = np.argsort(lost, kind="stable")
    losers, begins = np.unique(lost[order], return_index=True)
    for loser, own in zip(losers.tolist(), np.split(order, begins[1:]), strict=True):
        at = np.flatnonzero(circle.owners == loser)
        next_ = np.searchsorted(at, own)
        ends[own] = np.where(next_ < len(at), at[next_ % len(at)], at[0] + points)
    return ends


def _searched(
    circle: Circle,
    nodes: Sequence[Node],
    dues: list[int],
    asked: Sequence[int],
    policy: Replicas,
    position: int,
    eighths: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """As `_grown`, with every range tried for each point.

    A point in a range takes the begin of this, up to itself, and all of the ranges before it
    whose walk gets there.  Who loses each is known beforehand, so what points take adds up.
    Chosen is what takes most from the fullest for its size; in the end each point's reach is set.

    Args:
        eighths: of an equal part of what is left, what a point should take.
    """
    due, points = dues[position], len(circle.tokens)
    loads = circle.loads.tolist()
    lost = _losers(circle, nodes, policy, position)
    held = (circle.rows == position).any(axis=1)
    sizes = np.where(held, 0, circle.sizes)
    ends = _ends(circle, lost)
    # The first range before each that a point there would take, too; counted from -points on.
    unrolled = np.maximum.accumulate(np.concatenate([ends - points, ends]))
    here = np.arange(points)
    firsts = np.minimum(np.searchsorted(unrolled, here) - points, here)
    firsts = np.maximum(firsts, here - points + 1)
    lacks = due - loads[position]
    own_points = int((circle.owners == position).sum())
    extra = max(asked[position] - own_points, (lacks * asked[position] + due // 2) // due, 1)
    extra = min(extra, limits.POINTS_MAX - points)

    # What has to be taken from whom, so that the fullest come down to one level.
    fits = np.bincount(lost, sizes.astype(np.float64), minlength=len(nodes)).astype(np.int64)
    aims = _taken(loads, dues, [0] * len(nodes), fits.tolist(), lacks)

    # The whole ranges that each point takes, one after the other.
    lengths = here - firsts
    starts = np.concatenate([[0], np.cumsum(lengths)])
    within = np.repeat(here, lengths)
    taken = (firsts[within] + np.arange(starts[-1]) - starts[within]) % points
    per_due = np.array(
        [min(1 << 30, (1 << 60) // due) if due else 0 for due in dues], dtype=np.int64
    )
    room = sizes * 7 // 8
    masses = np.concatenate([[0], np.cumsum(sizes[taken])])
    mass = masses[starts[1:]] - masses[starts[:-1]]
    from_same = np.where(lost[taken] == lost[within], sizes[taken], 0)
    same = np.concatenate([[0], np.cumsum(from_same)])
    same_mass = same[starts[1:]] - same[starts[:-1]]
    free = ~held & (circle.sizes >= 8)
    whole = [0] * len(nodes)
    left = np.array(aims, dtype=np.int64)
    rest = lacks
    sites: list[int] = []

    def value(amount: NDArray[np.int64], losers: NDArray[np.uint32]) -> NDArray[np.int64]:
        levels: NDArray[np.int64] = ((2 * left[losers] - amount) >> 20) * per_due[losers] >> 20
        levels = np.clip(levels, -(1 << 28), 1 << 28)
        found: NDArray[np.int64] = (amount >> 14) * levels
        return found

    for number in range(extra):
        share = max(1, rest * eighths // 8 // (extra - number))
        part = np.clip(np.minimum(share - mass, left[lost] - same_mass), 1, np.maximum(room, 1))
        gains = np.concatenate([[0], np.cumsum(value(sizes[taken], lost[taken]))])
        score = gains[starts[1:]] - gains[starts[:-1]] + value(part, lost)
        score = score // (np.maximum(mass + part, share) >> 14 | 1)
        # Points of one size are easier to share out when the node goes.
        score -= np.where(8 * mass > 9 * share, np.abs(score) >> 1, 0)
        score[~free] = -(1 << 62)
        best = int(np.argmax(score))
        if not free[best]:
            break
        sites.append(best)
        for k in taken[starts[best] : starts[best + 1]].tolist():
            loser, size = int(lost[k]), int(sizes[k])
            whole[loser] += size
            left[loser] -= size
            rest -= size
        left[lost[best]] -= part[best]
        rest -= int(part[best])
        # Points whose ranges would overlap with these would be in vain, or this one.
        first = int(firsts[best])
        for k in range(first, best + 1):
            free[k % points] = False
        k = best + 1
        while k < first + points and firsts[k % points] + (k // points) * points <= best:
            free[k % points] = False
            k += 1
    rooms = [0] * len(nodes)
    for i in sites:
        rooms[lost[i]] += int(room[i])
    amounts = _taken(loads, dues, whole, rooms, lacks)
    begins: list[int] = []
    for i in sites:
        loser = int(lost[i])
        wants = amounts[loser] - whole[loser]
        x = min(int(room[i]), wants * int(room[i]) // max(1, rooms[loser]))
        begins.append((int(circle.tokens[i - 1]) + (max(1, x) << SHIFT)) % (1 << 64))
    tokens = np.concatenate([circle.tokens, np.array(begins, dtype=np.uint64)])
    owners = np.concatenate([circle.owners, np.full(len(begins), position, dtype=np.uint32)])
    order = np.argsort(tokens, kind="stable")
    return tokens[order], owners[order]


def _taken(
    loads: Sequence[int], dues: Sequence[int], least: Sequence[int], more: Sequence[int], total: int
) -> list[int]:
    """What to take of each, between `least` and `more` in addition, so that the fullest are level
    and it is the total, or as near as that gets."""

    def amounts(level: int) -> list[int]:
        return [
            max(lo, min(lo + room, load - (level * due >> 24)))
            for load, due, lo, room in zip(loads, dues, least, more, strict=True)
        ]

    low, high = 0, 1 << 70
    while high - low > 1:
        level = (low + high) // 2
        low, high = (level, high) if sum(amounts(level)) >= total else (low, level)
    return amounts(low)


def _reached(
    circle: Circle,
    nodes: Sequence[Node],
    dues: list[int],
    policy: Replicas,
    position: int,
    sites: list[int],
    losers: list[int],
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Put a point into the range of each site, as far in as gives the node its due."""
    points = len(circle.tokens)
    most = [int(circle.sizes[i]) * 7 // 8 for i in sites]
    lacks = dues[position] - int(circle.loads[position])
    piece = max(1, lacks // max(1, policy.total * len(sites)))
    reach = [min(piece, room) for room in most]
    begins = [int(circle.tokens[i - 1]) for i in sites]
    for turn in range(TURNS + 1):
        new = np.array(
            [(b + (x << SHIFT)) % (1 << 64) for b, x in zip(begins, reach, strict=True) if x],
            dtype=np.uint64,
        )
        tokens = np.concatenate([circle.tokens, new])
        owners = np.concatenate([circle.owners, np.full(len(new), position, dtype=np.uint32)])
        if turn == TURNS or not sites:
            break
        after = Circle(tokens, owners, nodes, policy)
        left = dues[position] - int(after.loads[position])
        if abs(left) <= dues[position] >> 16:
            break
        # More where the loser is still too full, less where it is too empty, and all by the rest.
        over = [int(after.loads[losers[i]]) - dues[losers[i]] for i in sites]
        ways = [max(0, o if left > 0 else -o) + (dues[losers[i]] >> 8)
                for o, i in zip(over, sites, strict=True)]  # fmt: skip
        for s in sorted(range(len(sites)), key=lambda s: (-ways[s], s)):
            whole = sum(ways)
            step = left * ways[s] // whole if whole else 0
            ways[s] = 0
            x = max(1, min(most[s], reach[s] + step))
            left -= x - reach[s]
            reach[s] = x
    assert len(tokens) >= points
    order = np.argsort(tokens, kind="stable")
    return tokens[order], owners[order]


# --- less ---------------------------------------------------------------------------------------


def _shrunk(
    circle: Circle,
    nodes: Sequence[Node],
    units: Sequence[int],
    dues: list[int],
    asked: Sequence[int],
    policy: Replicas,
    position: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]] | None:
    points = len(circle.tokens)
    own = np.flatnonzero(circle.owners == position).tolist()
    rows, sizes = circle.rows.tolist(), circle.sizes.tolist()
    ranges_of: dict[int, list[int]] = {}
    for at, i in enumerate(own):
        stop = own[at - 1]
        k = i
        while position in rows[k % points] and (k % points != stop or k == i):
            ranges_of.setdefault(i, []).append(k % points)
            k -= 1
            if k < i - points + 1:
                break
    share = {i: sum(sizes[k] for k in ranges_of.get(i, ())) for i in own}
    goes = own
    if units[position]:
        amount = int(circle.loads[position]) - dues[position]
        goes = []
        for i in sorted(own, key=lambda i: (share[i], i)):
            if share[i] > amount or len(goes) + 1 >= len(own):
                break
            goes.append(i)
            amount -= share[i]
        if not goes:
            return circle.tokens, circle.owners
    stays = np.ones(points, dtype=bool)
    stays[goes] = False
    try:
        after = Circle(circle.tokens[stays], circle.owners[stays], nodes, policy)
    except PolicyError:
        return None
    ends = np.searchsorted(after.tokens, circle.tokens) % len(after.tokens)
    loads = after.loads.tolist()
    owners = circle.owners.copy()
    mine = nodes[position]
    kin = [
        bool(unit) and at != position
        and (policy.spread == "node" or (node.dc == mine.dc and node.zone == mine.zone))
        for at, (node, unit) in enumerate(zip(nodes, units, strict=True))
    ]  # fmt: skip
    cap = [due + due // (4 * max(1, count)) for due, count in zip(dues, asked, strict=True)]
    heap = [(_level(loads[at], dues[at]), at) for at, is_kin in enumerate(kin) if is_kin]
    heapq.heapify(heap)
    spare = min(ROOM * sum(asked), limits.POINTS_MAX) - int(stays.sum())

    gainers: dict[int, list[tuple[int, int]]] = {}
    for i in goes:
        for k in ranges_of.get(i, ()):
            now = after.rows[ends[k]].tolist()
            for node in now:
                if node not in rows[k]:
                    gainers.setdefault(i, []).append((node, sizes[k]))

    # From one of its points the walk can reach the next: of two such, one at most goes to another
    # node, or a key would get two new replicas.
    linked = [position in rows[(own[at - 1] + 1) % points] for at in range(len(own))]
    place = {i: at for at, i in enumerate(own)}

    def is_free(i: int) -> bool:
        for step in (-1, 1):
            at = place[i]
            for _ in range(len(own) - 1):
                if not linked[at if step < 0 else (at + 1) % len(own)]:
                    break
                at = (at + step) % len(own)
                if stays[own[at]]:
                    return False
        return True

    def excess(i: int) -> int:
        return sum(min(size, max(0, loads[node] - cap[node])) for node, size in gainers.get(i, ()))

    for i in sorted(goes, key=lambda i: (-excess(i), i)):
        if spare <= 0 or not heap:
            break
        if 4 * excess(i) < share[i] or not is_free(i):
            continue
        aside: list[tuple[int, int]] = []
        found = -1
        while heap and len(aside) < 8:
            level, at = heapq.heappop(heap)
            if level != _level(loads[at], dues[at]):
                heapq.heappush(heap, (_level(loads[at], dues[at]), at))
                continue
            aside.append((level, at))
            near = {*(node for k in ranges_of.get(i, ()) for node in rows[k])}
            if at not in near and loads[at] + share[i] // 2 <= cap[at]:
                found = at
                break
        for entry in aside:
            heapq.heappush(heap, entry)
        if found < 0:
            continue
        for node, size in gainers.get(i, ()):
            loads[node] -= size
        loads[found] += share[i]
        heapq.heappush(heap, (_level(loads[found], dues[found]), found))
        owners[i] = found
        stays[i] = True
        spare -= 1
    return circle.tokens[stays], owners[stays]
