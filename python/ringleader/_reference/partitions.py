"""Tables of partitions in plain Python: filled by halving, rebalanced step by step.

The rules are those of csrc/rebalance.h and csrc/partitions.h.  Choices that the rules leave open
(which of several equal places) are made in the same order as there, for a table must not depend on
which twin made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ringleader._reference.placer import MASK
from ringleader._reference.ring import hash_function

LEVELS = 4
ROWS_MAX, POWER_MAX = 32, 24
ABSENT, HOLE = 2**32 - 2, 2**32 - 1
NO_POSITION = 2**32 - 1
CHECKS = 16


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


def _power_of(parts: int) -> int:
    if parts < 1 or parts & (parts - 1) or parts > 1 << POWER_MAX:
        raise ValueError(f"{parts} partitions are no power of two, or too many")
    return parts.bit_length() - 1


class Random:
    """SplitMix64 (Steele, Lea, Flood 2014)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def draw(self) -> int:
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        return z ^ (z >> 31)

    def below(self, count: int) -> int:
        return (self.draw() >> 32) * count >> 32


@final
class State:
    """A table of partitions to look up in."""

    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        cells: NDArray[np.uint32],
        full_rows: int,
        tiers: NDArray[np.uint32],
        tier_count: int,
        live: NDArray[np.uint32],
    ) -> None:
        rows, parts = cells.shape
        if not 1 <= full_rows <= rows or rows > ROWS_MAX or tiers.shape[1] != LEVELS:
            raise ValueError("the arrays are not those of one table")
        if len(live) < 1:
            raise ValueError("no position is live")
        self.power = _power_of(parts)
        self.hash = hash_function(kind, seed, seed_hi)
        self.rows: list[list[int]] = cells.tolist()
        self.tiers: list[list[int]] = tiers.tolist()
        self.live: list[int] = live.tolist()
        for position, path in enumerate(self.tiers):
            for tier in path:
                if tier >= tier_count:
                    raise ValueError(f"tier {tier} of position {position}")
        for number, row in enumerate(self.rows):
            for part, position in enumerate(row):
                if position >= len(tiers) and (position != NO_POSITION or number < full_rows):
                    raise ValueError(f"cell {number}, {part} holds no position")
        for position in self.live:
            if position >= len(tiers):
                raise ValueError(f"live position {position}")
        self.full_rows = full_rows
        held = {position for row in self.rows for position in row}
        self.takes = held & set(self.live)
        self.met_max = len((held | set(self.live)) - {NO_POSITION})

    @property
    def nbytes(self) -> int:
        return 8 * len(self.rows) << self.power

    def cells(self) -> NDArray[np.uint32]:
        return np.array(self.rows, dtype=np.uint32)

    def holders(self, part: int) -> list[int]:
        if part >> self.power:
            raise ValueError(f"there is no partition {part}")
        return [row[part] for row in self.rows if row[part] != NO_POSITION]

    def handoffs(self, part: int, wanted: int) -> list[int]:
        held = self.holders(part)
        return self._handed_off(part, held, len(held) + wanted)[len(held) :]

    def _handed_off(self, part: int, holders: list[int], wanted: int) -> list[int]:
        found = list(holders)
        for level in range(LEVELS):
            used = {self.tiers[position][level] for position in found}
            for step in range(1, 1 << self.power):
                for row in self.rows:
                    position = row[(part + step) % (1 << self.power)]
                    if len(found) >= wanted:
                        return found
                    if position in found or position not in self.takes:
                        continue
                    if self.tiers[position][level] in used:
                        continue
                    used.add(self.tiers[position][level])
                    found.append(position)
        found += [position for position in self.live if position not in found]
        return found[: max(wanted, len(holders))]

    def owner(self, value: int) -> int:
        return self.rows[0][value >> (64 - self.power)]

    def replicas(self, value: int, wanted: int) -> list[int]:
        part = value >> (64 - self.power)
        return self._handed_off(part, self.holders(part)[:wanted], wanted)


@final
class Tree:
    """Where the nodes stand, and how many cells each tier wants."""

    def __init__(
        self,
        first_child: NDArray[np.uint32],
        paths: NDArray[np.uint32],
        wanted: NDArray[np.uint32],
        limit: NDArray[np.uint32],
    ) -> None:
        self.leaf_first = len(first_child) - 1
        if (
            self.leaf_first < 1
            or len(paths) < 1
            or paths.shape[1] != LEVELS
            or len(wanted) != self.leaf_first + len(paths)
            or len(limit) != len(wanted)
        ):
            raise ValueError("the arrays are not those of one tree")
        self.children = [range(int(begin), int(end)) for begin, end in pairwise(first_child)]
        self.paths: dict[int, list[int]] = {
            self.leaf_first + i: path for i, path in enumerate(paths.tolist())
        }
        self.wanted: list[int] = wanted.tolist()
        self.limit: list[int] = limit.tolist()
        numbered = [tier for children in self.children for tier in children]
        if numbered != list(range(1, len(wanted))) or not all(self.children):
            raise ValueError("the arrays are not those of one tree")
        for leaf, path in self.paths.items():
            for above, tier in pairwise([0, *path]):
                if above >= self.leaf_first or tier not in self.children[above]:
                    raise ValueError("the arrays are not those of one tree")
            if path[-1] != leaf:
                raise ValueError("the arrays are not those of one tree")

    def _check_cells(self, cells: NDArray[np.uint32], marks: set[int]) -> None:
        for row, part in np.ndindex(cells.shape):
            if int(cells[row, part]) not in self.paths and int(cells[row, part]) not in marks:
                raise ValueError(f"cell {row}, {part} holds no leaf")

    def fill(self, power: int, rows: int, seed: int) -> NDArray[np.uint32]:
        if not 0 <= power <= POWER_MAX or not 1 <= rows <= ROWS_MAX:
            raise ValueError(f"2**{power} partitions of {rows} rows")
        return _Filling(self, power, rows, seed).cells

    def rebalance(
        self, old: NDArray[np.uint32], ready: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32], int]:
        if len(ready) != old.shape[1] or not 1 <= len(old) <= ROWS_MAX:
            raise ValueError("the arrays are not those of one table")
        _power_of(old.shape[1])
        self._check_cells(old, {ABSENT, HOLE})
        work = _Balance(self, old, ready, seed)
        work.run()
        changed = [sum(1 << row for row in rows) for rows in work.changed]
        return (
            np.array(work.cells, dtype=np.uint32),
            np.array(changed, dtype=np.uint32),
            work.surplus,
        )

    def at_risk(self, cells: NDArray[np.uint32], allowed: NDArray[np.uint32]) -> int:
        if len(allowed) != len(self.wanted):
            raise ValueError("allowed is not one number a tier")
        _power_of(cells.shape[1])
        self._check_cells(cells, {ABSENT})
        risk = 0
        for column in cells.T.tolist():
            paths = [self.paths[leaf] for leaf in column if leaf < ABSENT]
            above = []
            for level in range(LEVELS):
                tally = Counter(path[level] for path in paths)
                above.append(sum(max(0, n - int(allowed[tier])) for tier, n in tally.items()))
            risk += max(above)
        return risk


class _Filling:
    """Shares are (leaf, cells) pairs; a run of partitions is halved until it is one partition."""

    def __init__(self, tree: Tree, power: int, rows: int, seed: int) -> None:
        self.tree, self.random = tree, Random(seed)
        self.cells = np.full((rows, 1 << power), ABSENT, dtype=np.uint32)
        self.in_row: list[Counter[int]] = [Counter() for _ in range(rows)]
        self.seen: Counter[int] = Counter()
        shares = [(leaf, tree.wanted[leaf]) for leaf in tree.paths if tree.wanted[leaf]]
        self.fill(0, 1 << power, shares)

    def fill(self, first: int, size: int, shares: list[tuple[int, int]]) -> None:
        if size == 1:
            self.write(first, [leaf for leaf, _ in shares])
            return
        left = self.going_left(shares)
        halves: tuple[list[tuple[int, int]], ...] = ([], [])
        for leaf, count in shares:
            for side, half in enumerate(halves):
                due = count // 2 + (count % 2 and (leaf in left) == (side == 0))
                if due:
                    half.append((leaf, due))
        self.fill(first, size // 2, halves[0])
        self.fill(first + size // 2, size // 2, halves[1])

    def going_left(self, shares: list[tuple[int, int]]) -> set[int]:
        """The leaves with an odd share whose odd cell goes to the left half."""
        left: set[int] = set()

        def settled(odd: list[int]) -> list[int]:
            """A random half goes left, the rest right; one may be left over for the tier above."""
            half = len(odd) // 2
            for i in range(half + len(odd) % 2):
                other = i + self.random.below(len(odd) - i)
                odd[i], odd[other] = odd[other], odd[i]
            left.update(odd[:half])
            return [odd[half]] if len(odd) % 2 else []

        def settle(level: int, members: list[tuple[int, int]]) -> list[int]:
            """The odd leaf left over by those of one tier, who agree on the levels before."""
            if level == LEVELS - 1:
                return settled([leaf for leaf, count in members if count % 2])
            odd: list[int] = []
            while members:
                tier = self.tree.paths[members[0][0]][level]
                inside = [m for m in members if self.tree.paths[m[0]][level] == tier]
                odd += settle(level + 1, inside)
                members = members[len(inside) :]
            return settled(odd)

        left.update(settle(0, shares))
        return left

    def write(self, part: int, leaves: list[int]) -> None:
        rows = len(self.cells)
        waiting = list(leaves)
        for row in range(len(leaves)):
            count = self.in_row[row]
            best = min(
                range(row, len(waiting)),
                key=lambda i: count[waiting[i]] * rows - self.seen[waiting[i]],
            )
            waiting[row], waiting[best] = waiting[best], waiting[row]
            count[waiting[row]] += 1
            self.cells[row, part] = waiting[row]
        self.seen.update(leaves)


class _Balance:
    """The rebalance of one table."""

    def __init__(
        self, tree: Tree, old: NDArray[np.uint32], ready: NDArray[np.uint8], seed: int
    ) -> None:
        self.tree = tree
        self.old: list[list[int]] = old.tolist()
        self.cells: list[list[int]] = old.tolist()
        self.rows: int = old.shape[0]
        self.parts: int = old.shape[1]
        self.ready = [bool(r) for r in ready]
        self.changed: list[set[int]] = [set() for _ in range(self.parts)]
        random = Random(seed)
        first, stride = random.draw(), random.draw() | 1
        self.order = [(first + step * stride) % self.parts for step in range(self.parts)]
        self.count = [0] * len(tree.wanted)
        self.lack = [0] * len(tree.wanted)
        self.in_row: list[Counter[int]] = [Counter() for _ in range(self.rows)]
        self.row_total: list[int] = [sum(cell != ABSENT for cell in row) for row in self.cells]
        self.total: int = sum(self.row_total)
        self.surplus = 0
        for leaf in tree.paths:
            self._lacks(leaf, tree.wanted[leaf])
        for number, row in enumerate(self.cells):
            for cell in row:
                if cell < ABSENT:
                    self.count_cell(number, cell, 1)
        self.checked = 0
        self.any_tier = False

    # What is counted.

    def _tiers(self, leaf: int) -> list[int]:
        return [0, *self.tree.paths[leaf]]

    def _lacks(self, leaf: int, more: int) -> None:
        for tier in self._tiers(leaf):
            self.lack[tier] += more

    def count_cell(self, row: int, leaf: int, by: int) -> None:
        before = self.spare(leaf)
        for tier in self._tiers(leaf):
            self.count[tier] += by
        after = self.spare(leaf)
        self._lacks(leaf, max(0, -after) - max(0, -before))
        self.surplus += max(0, after) - max(0, before)
        self.in_row[row][leaf] += by

    def spare(self, tier: int) -> int:
        return self.count[tier] - self.tree.wanted[tier]

    def least(self, tier: int) -> int:
        return self.tree.wanted[tier] // self.parts

    def in_row_excess(self, row: int, leaf: int) -> int:
        wanted = self.tree.wanted[leaf]
        excess: int = self.in_row[row][leaf] * self.total - wanted * self.row_total[row]
        return excess

    def tally(self, part: int, without: int | None = None) -> Counter[int]:
        """Replicas of the partition under each tier, one row left out."""
        found: Counter[int] = Counter()
        for row in range(self.rows):
            cell = self.cells[row][part]
            if cell < ABSENT and row != without:
                found.update(self.tree.paths[cell])
        return found

    def may_move(self, row: int, part: int) -> bool:
        changed = self.changed[part]
        return row in changed or (not changed and self.ready[part])

    # Changing a cell.

    def put(self, row: int, part: int, leaf: int) -> None:
        """Put a replica that was taken out, or a new one, onto a leaf."""
        self.cells[row][part] = leaf
        self.count_cell(row, leaf, 1)
        if leaf == self.old[row][part]:
            self.changed[part].discard(row)
        else:
            self.changed[part].add(row)

    def take_out(self, row: int, part: int) -> int:
        leaf = self.cells[row][part]
        self.count_cell(row, leaf, -1)
        return leaf

    # Finding a place.

    def is_full(self, tier: int, tally: Counter[int]) -> bool:
        return tally[tier] >= self.tree.limit[tier]

    def is_legal(self, leaf: int, tally: Counter[int]) -> bool:
        return not any(self.is_full(tier, tally) for tier in self.tree.paths[leaf])

    def bound_to(self, leaf: int, tally: Counter[int]) -> int:
        for tier in reversed(self.tree.paths[leaf]):
            if tally[tier] < self.least(tier):
                return tier
        return 0

    def is_below(self, leaf: int, tier: int) -> bool:
        return tier in self._tiers(leaf)

    def children(self, tier: int) -> Sequence[int]:
        return self.tree.children[tier] if tier < self.tree.leaf_first else ()

    def roomiest(self, tally: Counter[int]) -> int:
        tier = 0
        while self.children(tier):
            tier = min(
                (child for child in self.children(tier) if not self.is_full(child, tally)),
                key=lambda child: (tally[child] >= self.least(child), self.spare(child)),
            )
        return tier

    def lacking(self, tier: int, tally: Counter[int]) -> int | None:
        if tier >= self.tree.leaf_first:
            return tier
        for child in self.children(tier):
            if self.lack[child] and not self.is_full(child, tally):
                found = self.lacking(child, tally)
                if found is not None:
                    return found
        return None

    # The steps.

    def run(self) -> None:
        self.fill_holes()
        self.spread()
        for how in ("even rows", "any row", "any leaf"):
            self.move_surplus(how)
        self.chain()
        if self.surplus:
            self.move_surplus("any tier")
            self.any_tier = True
            self.chain()

    def fill_holes(self) -> None:
        for part in self.order:
            for row in range(self.rows):
                if self.cells[row][part] == HOLE:
                    self.put(row, part, self.roomiest(self.tally(part)))

    def spread(self) -> None:
        for part in self.order:
            if not self.ready[part] or self.changed[part]:
                continue
            tally = self.tally(part)
            best, most, fullest = None, 0, 0
            for row in range(self.rows):
                leaf = self.cells[row][part]
                if leaf >= ABSENT:
                    continue
                helps = 0
                for tier in self.tree.paths[leaf]:
                    if tally[tier] > self.tree.limit[tier]:
                        helps += 16
                    elif tally[tier] <= self.least(tier):
                        helps -= 2
                if helps > 0 and self.spare(leaf) > 0:
                    helps += 1
                if helps < most or helps <= 0:
                    continue
                full = self.in_row_excess(row, leaf)
                if helps > most or full > fullest:
                    best, most, fullest = row, helps, full
            if best is not None:
                self.take_out(best, part)
                self.put(best, part, self.roomiest(self.tally(part, best)))

    def move_surplus(self, how: str) -> None:
        for part in self.order:
            if not self.surplus:
                return
            full = [
                (-self.spare(self.cells[row][part]), row)
                for row in range(self.rows)
                if self.cells[row][part] < ABSENT
                and self.spare(self.cells[row][part]) > 0
                and self.may_move(row, part)
            ]
            for _, row in sorted(full):
                leaf = self.take_out(row, part)
                to = self.better_place(row, part, leaf, how)
                if to is not None and to != leaf:
                    self.put(row, part, to)
                    break
                self.count_cell(row, leaf, 1)

    def better_place(self, row: int, part: int, leaf: int, how: str) -> int | None:
        tally = self.tally(part, row)
        bound = 0 if how == "any tier" else self.bound_to(leaf, tally)
        if how in ("even rows", "any row"):
            to = self.roomiest(tally)
            if self.spare(to) >= 0 or not self.is_below(to, bound):
                return None
            if how == "even rows" and not (
                self.in_row_excess(row, leaf) > -self.total and self.in_row_excess(row, to) < 0
            ):
                return None
            return to
        found = self.lacking(bound, tally)
        return found if found is not None and self.is_legal(found, tally) else None

    # Chains.

    def chain(self) -> None:
        checked_max = self.checked + CHECKS * self.rows * self.parts
        before = self.surplus + 1
        while 0 < self.surplus < before and self.checked < checked_max:
            before = self.surplus
            held: dict[int, list[tuple[int, int]]] = {leaf: [] for leaf in self.tree.paths}
            for part in self.order:
                for row in range(self.rows):
                    if self.cells[row][part] < ABSENT:
                        held[self.cells[row][part]].append((row, part))
            while self.surplus and self.checked < checked_max:
                if not self.follow_chains(held, checked_max):
                    break

    def undoable(self, row: int, part: int) -> int | None:
        """The only other row that changed, if its replica can go back to its old leaf."""
        if not self.ready[part] or len(self.changed[part]) != 1 or row in self.changed[part]:
            return None
        (other,) = self.changed[part]
        return other if self.old[other][part] < ABSENT else None

    def reachable(self, row: int, part: int, reached: dict[int, Any]) -> Iterator[tuple[int, bool]]:
        """Leaves that this replica may leave its own for, and whether by undoing another move."""
        leaf = self.cells[row][part]
        tally = self.tally(part, row)
        bound = 0 if self.any_tier else self.bound_to(leaf, tally)
        if self.may_move(row, part):
            for to in self.tree.paths:
                if to not in reached and self.is_below(to, bound) and self.is_legal(to, tally):
                    yield to, False
            return
        other = self.undoable(row, part)
        if other is not None:
            to = self.old[other][part]
            if to not in reached and self.is_below(to, bound) and self.is_legal(to, tally):
                yield to, True

    def follow_chains(self, held: dict[int, list[tuple[int, int]]], checked_max: int) -> int:
        # Each leaf reached: from which, by which cell, and whether by undoing.
        reached: dict[int, tuple[int, int, int, bool] | None] = {
            leaf: None for leaf in self.tree.paths if self.spare(leaf) > 0
        }
        queue = list(reached)
        head = 0
        while (
            head < len(queue)
            and len(reached) < len(self.tree.paths)
            and all(self.spare(leaf) >= 0 for leaf in queue)
            and self.checked < checked_max
        ):
            leaf = queue[head]
            head += 1
            for row, part in held[leaf]:
                if len(reached) == len(self.tree.paths):
                    break
                self.checked += 1
                if self.cells[row][part] != leaf:
                    continue
                for to, by_undoing in list(self.reachable(row, part, reached)):
                    reached[to] = (leaf, row, part, by_undoing)
                    queue.append(to)
        followed = 0
        for end in queue:
            if not self.surplus:
                break
            if self.spare(end) < 0:
                followed += self.follow_chain(end, reached)
        return followed

    def follow_chain(self, end: int, reached: dict[int, tuple[int, int, int, bool] | None]) -> bool:
        steps: list[tuple[int, int, int, bool]] = []
        to = end
        while (step := reached[to]) is not None:
            leaf, row, part, by_undoing = step
            if self.cells[row][part] != leaf or part in [other[2] for other in steps]:
                return False
            unreached = {found: None for found in self.tree.paths if found != to}
            if (to, by_undoing) not in self.reachable(row, part, unreached):
                return False
            steps.append((to, row, part, by_undoing))
            to = leaf
        if self.spare(to) <= 0:
            return False
        for target, row, part, by_undoing in steps:
            self.take_out(row, part)
            if by_undoing:
                (other,) = self.changed[part]
                moved_to = self.take_out(other, part)
                self.put(other, part, target)
                self.put(row, part, moved_to)
            else:
                self.put(row, part, target)
        return True
