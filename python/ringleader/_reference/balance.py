"""Points that share a circle out evenly, in plain Python: a list of points, sorted anew each time.

The rules are told in csrc/balance.h.  All of it is integer arithmetic: the twin in C follows the
same rules with other data structures and has to come to the same points, bit for bit.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

CIRCLE = 1 << 62
SHIFT = 2  # tokens are numbers of the circle, shifted to the top of 64 bits
LEVEL_MAX = (1 << 64) - 1
WINDOW = 32
FILLS = 8
SWEEPS = 64
SWEPT = CIRCLE >> 40
ROOM = 4


def change(
    tokens: NDArray[np.uint64],
    owners: NDArray[np.uint32],
    weights: NDArray[np.uint64],
    counts: NDArray[np.uint32],
    node: int,
    offset: int,
    points_max: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Give `node` its due: points to grow, or to shrink, until its share is that of its weight."""
    if len(tokens) != len(owners) or len(weights) != len(counts):
        raise ValueError("tokens and owners, weights and counts have to be of the same lengths")
    if not 0 <= node < len(weights):
        raise ValueError(f"there is no node {node}")
    points = [(int(t) >> SHIFT, int(o)) for t, o in zip(tokens, owners, strict=True)]
    if any(o >= len(weights) or not (weights[o] or o == node) for _, o in points):
        raise ValueError("a point belongs to a node without weight")
    if any(bool(w) != bool(c) for w, c in zip(weights, counts, strict=True)):
        raise ValueError("a node has points if it has weight")
    if any(a >= b for (a, _), (b, _) in zip(points, points[1:], strict=False)):
        raise ValueError("tokens have to ascend, and to differ in their upper 62 bits")
    circle = Circle(points, list(map(int, weights)), list(map(int, counts)), points_max)
    circle.change(node, offset >> SHIFT)
    return circle.grouped()


def build(
    weights: NDArray[np.uint64], counts: NDArray[np.uint32], offset: int, points_max: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """The nodes added one after the other, in the order of their positions."""
    if len(weights) != len(counts):
        raise ValueError("weights and counts have to be of the same length")
    size = len(weights)
    circle = Circle([], [0] * size, [0] * size, points_max)
    for node in range(size):
        circle.weights[node], circle.counts[node] = int(weights[node]), int(counts[node])
        circle.change(node, offset >> SHIFT)
    return circle.grouped()


def level(load: int, due: int) -> int:
    """How full a node is for its due, in units of 2**-32."""
    return min((load << 32) // due, LEVEL_MAX)


class Circle:
    """The points, and what each node is due."""

    def __init__(
        self, points: list[tuple[int, int]], weights: list[int], counts: list[int], points_max: int
    ) -> None:
        self.points, self.weights, self.counts = points, weights, counts
        self.points_max = points_max

    def grouped(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        by_node: list[list[int]] = [[] for _ in self.weights]
        for token, owner in self.points:
            by_node[owner].append(token << SHIFT)
        tokens = [token for own in by_node for token in own]
        return np.array(tokens, np.uint64), np.array([len(own) for own in by_node], np.uint32)

    def change(self, node: int, offset: int) -> None:
        points, total = self.points, sum(self.weights)
        self.due = [max(1, (w * CIRCLE) // total) if w else 0 for w in self.weights]
        self.size = [
            (token - points[i - 1][0]) % CIRCLE or CIRCLE for i, (token, _) in enumerate(points)
        ]
        self.load = [0] * len(self.weights)
        self.have = [0] * len(self.weights)
        for (_, owner), size in zip(points, self.size, strict=True):
            self.load[owner] += size
            self.have[owner] += 1
        self.after = dict(points)
        if self.have[node] == len(points):  # nobody else is there: all of it, in equal ranges
            count = self.counts[node] if self.weights[node] else 0
            self.after = {(offset + i * CIRCLE // count) % CIRCLE: node for i in range(count)}
        elif self.due[node] > self.load[node]:
            self.grow(node)
        elif self.due[node] < self.load[node]:
            self.shrink(node)
        self.points = sorted(self.after.items())

    # --- more -----------------------------------------------------------------------------------

    def grow(self, node: int) -> None:
        left = self.due[node] - self.load[node]
        extra = self.counts[node] - self.have[node]
        self.used = [False] * len(self.points)
        if extra > 0:
            # Where it has points already, no more than these new ones are for.
            most = 2 * (self.due[node] * extra // self.counts[node])
            now = left if self.have[node] == 0 else min(left, most)
            left -= self.cut(node, now, self.choose(node, now, extra))
        if left > 0 and self.have[node] > 0:
            self.cut(node, left, self.beside(node))

    def choose(self, node: int, amount: int, extra: int) -> list[tuple[int, int, bool, bool]]:
        """Boundaries to place new points at: (range before, range after, cut it, cut it)."""
        points, size, due, n = self.points, self.size, self.due, len(self.points)
        piece = amount // extra
        ranges: list[list[int]] = [[] for _ in self.weights]
        for i, (_, owner) in enumerate(points):
            ranges[owner].append(i)
        for own in ranges:
            own.sort(key=lambda i: (-size[i], points[i][0]))
        guess = self.load.copy()
        full = [level(load, t) if t else 0 for load, t in zip(guess, due, strict=True)]
        heap = [(-full[o], o) for o, own in enumerate(ranges) if own and o != node]
        heapq.heapify(heap)
        sites: list[tuple[int, int, bool, bool]] = []
        while heap and len(sites) < extra:
            minus, donor = heapq.heappop(heap)
            if -minus != full[donor]:
                continue
            window = [i for i in ranges[donor] if not self.used[i]][:WINDOW]
            best: Any = None
            for i in window:
                if 2 * size[i] < size[window[0]]:
                    break
                for before, after in (((i - 1) % n, i), (i, (i + 1) % n)):
                    other = before if after == i else after
                    owner = points[other][1]
                    if owner == node:
                        continue
                    helps = 0
                    if owner != donor and not self.used[other] and 2 * size[other] >= piece:
                        helps = full[owner]
                    enough = 2 * size[i] >= piece if helps else size[i] > piece
                    rank = (enough, helps, size[i], -points[i][0])
                    if best is None or rank > best[0]:
                        best = rank, before, after, i, other
            if best is None:
                continue  # all its ranges are used, or lie between two of the node's
            (_, helps, _, _), before, after, i, other = best
            self.used[i] = True
            owner = points[other][1]
            if helps:
                self.used[other] = True
                both = max(0, guess[donor] + guess[owner] - piece)
                x = guess[donor] - both * due[donor] // (due[donor] + due[owner])
                x = max(0, min(x, piece, size[i]))
                y = min(piece - x, size[other])
                guess[owner] = max(0, guess[owner] - y)
                full[owner] = level(guess[owner], due[owner])
                heapq.heappush(heap, (-full[owner], owner))
                sites.append((before, after, True, True))
            else:
                x = min(piece, size[i])
                sites.append((before, after, before == i, after == i))
            guess[donor] = max(0, guess[donor] - x)
            full[donor] = level(guess[donor], due[donor])
            heapq.heappush(heap, (-full[donor], donor))
        return sites

    def beside(self, node: int) -> list[tuple[int, int, bool, bool]]:
        """The ranges on both sides of what the node has."""
        points, n = self.points, len(self.points)
        sites = []
        for before in range(n):
            if points[before][1] == node or points[(before + 1) % n][1] != node:
                continue
            after = before + 1
            while points[after % n][1] == node:
                after += 1
            after %= n
            cut_before = not self.used[before]
            self.used[before] = True
            cut_after = not self.used[after]
            self.used[after] = True
            if cut_before or cut_after:
                sites.append((before, after, cut_before, cut_after))
        return sites

    def cut(self, node: int, amount: int, sites: list[tuple[int, int, bool, bool]]) -> int:
        """Take `amount` at these sites, from the fullest first; returns what could be taken."""
        points, due = self.points, self.due
        uses: dict[int, list[tuple[int, int, int]]] = {}
        for s, (before, after, cut_before, cut_after) in enumerate(sites):
            for end, i, cuts in ((0, before, cut_before), (1, after, cut_after)):
                if cuts:
                    own = uses.setdefault(points[i][1], [])
                    own.append((self.size[i] - max(1, self.size[i] // 8), s, end))
        room = {
            o: min(sum(c for c, _, _ in own), max(0, self.load[o] - (due[o] - due[o] // 4)))
            for o, own in uses.items()
        }
        gives = dict.fromkeys(uses, 0)
        left = amount
        for _ in range(FILLS):
            if left == 0:
                break
            donors = sorted(
                (o for o in uses if gives[o] < room[o]),
                key=lambda o: (-level(self.load[o], due[o]), o),
            )
            loads = dues = 0
            chosen: list[int] = []
            for o in donors:
                if (
                    chosen
                    and loads > left
                    and level(self.load[o], due[o]) <= level(loads - left, dues)
                ):
                    break
                chosen.append(o)
                loads += self.load[o]
                dues += due[o]
            stays = max(0, loads - left)
            for o in chosen:
                give = self.load[o] - stays * due[o] // dues
                give = max(0, min(give, room[o] - gives[o], left))
                gives[o] += give
                self.load[o] -= give
                left -= give
        cuts = [[0, 0] for _ in sites]
        for o, own in uses.items():
            give = gives[o]
            for i, (most, s, end) in enumerate(sorted(own)):
                cuts[s][end] = x = min(-(-give // (len(own) - i)), most)
                give -= x
        for (before, after, _, _), (x, y) in zip(sites, cuts, strict=True):
            if x + y == 0:
                continue
            token, owner = points[before]
            last = points[after - 1][0]  # of the node's own points here, if there are any
            if x:
                del self.after[token]
                self.after[(token - x) % CIRCLE] = owner
            if y or last == token:
                if last != token:
                    del self.after[last]
                self.after[(last + y) % CIRCLE] = node
        return amount - left

    # --- less -----------------------------------------------------------------------------------

    def shrink(self, node: int) -> None:
        points, due, load, n = self.points, self.due, self.load, len(self.points)
        count = self.counts[node] if self.weights[node] else 0
        self.after = {token: owner for token, owner in points if owner != node}
        runs: list[tuple[int, int, int, int, int]] = []  # begin, end, size, owners beside it
        for before in range(n):
            if points[before][1] == node or points[(before + 1) % n][1] != node:
                continue
            after = before + 1
            while points[after % n][1] == node:
                after += 1
            begin, end = points[before][0], points[(after - 1) % n][0]
            runs.append(
                (begin, end, (end - begin) % CIRCLE, points[before][1], points[after % n][1])
            )
        goes = [count == 0] * len(runs)
        freed = [size if count == 0 else 0 for _, _, size, _, _ in runs]
        if count > 0:
            left = load[node] - due[node]
            surplus = len(runs) - count
            for r in sorted(range(len(runs)), key=lambda r: (runs[r][2], r)):
                if surplus <= 0 or runs[r][2] > left:
                    break
                goes[r], freed[r] = True, runs[r][2]
                left -= freed[r]
                surplus -= 1
            kept = sum(run[2] for run, gone in zip(runs, goes, strict=True) if not gone)
            for r, run in enumerate(runs):
                if not goes[r]:
                    freed[r] = min(left * run[2] // kept, run[2] - 1)
        xs = [0] * len(runs)
        ys = freed.copy()
        for (_, _, _, _, q), y in zip(runs, ys, strict=True):
            load[q] += y
        for _ in range(SWEEPS):
            moved = 0
            for r, (_, _, _, p, q) in enumerate(runs):
                if p == q:
                    continue
                both = load[p] + load[q]
                x = both * due[p] // (due[p] + due[q]) - (load[p] - xs[r])
                x = max(0, min(x, freed[r]))
                moved += abs(x - xs[r])
                load[p] += x - xs[r]
                load[q] -= x - xs[r]
                xs[r], ys[r] = x, freed[r] - x
            if moved <= SWEPT:
                break
        middles = self.hand_out(node, runs, goes, xs, ys)
        for r, (begin, end, _, p, q) in enumerate(runs):
            if xs[r]:
                del self.after[begin]
                self.after[(begin + xs[r]) % CIRCLE] = p
            elif goes[r] and p == q and not middles[r] and self.have[p] > self.counts[p]:
                del self.after[begin]
                self.have[p] -= 1
            if not goes[r]:
                self.after[(end - ys[r]) % CIRCLE] = node
            at = begin + xs[r]
            for emptiest, part in middles[r]:
                at += part
                self.after[at % CIRCLE] = emptiest
                self.have[emptiest] += 1

    def hand_out(
        self,
        node: int,
        runs: list[tuple[int, int, int, int, int]],
        goes: list[bool],
        xs: list[int],
        ys: list[int],
    ) -> list[list[tuple[int, int]]]:
        """What is too much for a range's neighbours goes to the emptiest nodes, as new points."""
        due, load, counts = self.due, self.load, self.counts
        limit = min(
            ROOM * sum(c for c, w in zip(counts, self.weights, strict=True) if w), self.points_max
        )
        spare = limit - len(self.after) - goes.count(False)
        cap = [t + t // (4 * max(c, 1)) for t, c in zip(due, counts, strict=True)]

        def over(r: int) -> tuple[int, int]:
            _, _, _, p, q = runs[r]
            y = min(ys[r], max(0, load[q] - cap[q]))
            return (0 if p == q else min(xs[r], max(0, load[p] - cap[p]))), y

        middles: list[list[tuple[int, int]]] = [[] for _ in runs]
        live = [o for o, t in enumerate(due) if t and o != node]
        for r in sorted(range(len(runs)), key=lambda r: (-sum(over(r)), r)):
            p, q = runs[r][3:]
            while goes[r] and spare > 0:
                x, y = over(r)
                emptiest = min(live, key=lambda o: (level(load[o], due[o]), o))
                small = due[emptiest] // (8 * max(counts[emptiest], 1))
                part = min(x + y, cap[emptiest] - load[emptiest])
                if emptiest in (p, q) or part <= small:
                    break
                x = min(x, part)
                y = part - x
                xs[r] -= x
                ys[r] -= y
                load[p] -= x
                load[q] -= y
                load[emptiest] += part
                middles[r].append((emptiest, part))
                spare -= 1
        return middles
