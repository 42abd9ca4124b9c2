"""What moves when one locator gives way to another: exact ranges, from whom and to whom.

Two cuts of one hash space into ranges, laid over each other, make pieces; a piece whose owner
differs moves.  With a replica policy a piece has several owners: those that are new to it are
streamed from one of the old ones, those that are gone are dropped.

Lengths are exact integers; `share`s are lengths / 2**64 as floats.  Half the L1 distance between
two distributions of shares is the least that must move to get from one to the other: nothing less
fills the nodes that gain.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels
from ringleader.errors import NodeNotFound, NodeTypeError, PolicyTypeError, SpaceError
from ringleader.keys import KeyColumn, as_column
from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.topology import Replicas

if TYPE_CHECKING:
    from ringleader.placement.plan import Plan

CIRCLE = 1 << 64
#: For the kernel: the zone of a node that is down, and the source of what only such nodes have.
_NOWHERE = 2**32 - 1
#: Sums of 32-bit halves stay exact in a float64 for so many rows.
_EXACT_ROWS = 2**20


# --- sums of lengths ------------------------------------------------------------------------------


def lengths_of(starts: NDArray[np.uint64], ends: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """ends - starts modulo 2**64: the whole circle (start == end) has 0."""
    return ends - starts


def exact_sums(
    index: NDArray[Any], lengths: NDArray[np.uint64], whole: NDArray[np.bool_], size: int
) -> list[int]:
    """The sum of the lengths of each index 0 ... size-1; whole[i]: row i is the whole circle."""
    sums = [0] * size
    for at in range(0, len(lengths), _EXACT_ROWS):
        part, rows = index[at : at + _EXACT_ROWS], lengths[at : at + _EXACT_ROWS]
        high = np.bincount(part, (rows >> np.uint64(32)).astype(np.float64), size)
        low = np.bincount(part, (rows & np.uint64(0xFFFFFFFF)).astype(np.float64), size)
        for number in np.flatnonzero((high > 0) | (low > 0)).tolist():
            sums[number] += (int(high[number]) << 32) + int(low[number])
    for number in index[whole].tolist():
        sums[number] += CIRCLE
    return sums


def held_by(ranges: Ranges, ids: NDArray[np.uint32], size: int) -> list[int]:
    """How much of the circle each node holds, all its replicas together."""
    width = ranges.owners.shape[1]
    lengths = np.repeat(ranges.widths, width)
    whole = np.repeat(ranges.widths == 0, width)
    return exact_sums(ids[ranges.owners.ravel()], lengths, whole, size)


def due_shares(nodes: Sequence[Node], policy: Replicas | None) -> dict[str, float]:
    """The share of the circle that each node is due for its weight, all replicas together.

    A datacenter with a number of its own shares that among its nodes.  No node can hold more than
    one replica of a key, so none is due more than 1; what it would have beyond goes to the others.
    """
    if policy is None or policy.by_dc is None:
        groups = [(list(nodes), 1 if policy is None else policy.total)]
    else:
        groups = [
            ([node for node in nodes if node.dc == dc], count) for dc, count in policy.by_dc.items()
        ]
    due = dict.fromkeys((node.name for node in nodes), 0.0)
    for members, count in groups:
        left = float(count)
        open_ = sorted((node for node in members if node.weight > 0), key=lambda n: -n.weight)
        # The heaviest first: those due a whole circle are done, the rest share what is left.
        largest = open_[0].weight if open_ else 1.0
        total = sum(node.weight / largest for node in open_)
        for node in open_:
            weight = node.weight / largest
            due[node.name] = min(1.0, left * weight / total) if total > 0 else 0.0
            if due[node.name] == 1.0:
                left -= 1.0
                total -= weight
    return due


# --- keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class KeyMovement:
    """Which keys of a column move, and between which nodes.

    Attributes:
        names: the nodes of both locators, sorted by name; columns hold positions in it.
        moved: bool, shape (keys,): the owner changes; with a policy: the set of replicas does.
        before: uint32 positions in `names`, shape (keys,), or (keys, replicas) with a policy.
        after: likewise.
    """

    names: tuple[str, ...]
    moved: NDArray[np.bool_]
    before: NDArray[np.uint32]
    after: NDArray[np.uint32]

    @property
    def count(self) -> int:
        """How many keys move."""
        return int(np.count_nonzero(self.moved))

    @property
    def share(self) -> float:
        """The part of the keys that move, 0 ... 1; NaN of no keys."""
        return self.count / len(self.moved) if len(self.moved) else float("nan")

    def __len__(self) -> int:
        return len(self.moved)

    def __repr__(self) -> str:
        return f"KeyMovement({self.count} of {len(self)} keys move)"


def moved(
    a: Locator,
    b: Locator,
    keys: KeyColumn,
    policy: Replicas | int | None = None,
    *,
    threads: int = 1,
) -> KeyMovement:
    """Which of these keys another node owns in `b` than in `a`: for any two locators.

    Args:
        a, b: locators of any algorithms; nodes are the same where their names are.
        keys: any column of keys; an iterator is read to its end.
        policy: compare sets of replicas: a policy, or a number of distinct nodes.
        threads: as in `lookup`.

    Raises:
        NodeTypeError: `a` or `b` is no locator.
        What `lookup`, or with a policy `lookup_replicas`, raises.

    Cost: two lookups for each key.
    """
    for locator in (a, b):
        if not hasattr(locator, "lookup") or not hasattr(locator, "names"):
            raise NodeTypeError(f"movement is between locators, not {type(locator).__name__}")
    column = as_column(keys)
    old, new = _still(a), _still(b)
    nodes, a_ids, b_ids = _united(old.nodes, new.nodes)
    names = tuple(node.name for node in nodes)
    if policy is None:
        before = a_ids[old.lookup(column, threads=threads)]
        after = b_ids[new.lookup(column, threads=threads)]
        return KeyMovement(names, before != after, before, after)
    wanted: Any = policy  # an int, or what the locators take for a policy
    before = a_ids[old.lookup_replicas(column, wanted, threads=threads)]
    after = b_ids[new.lookup_replicas(column, wanted, threads=threads)]
    if before.shape[1] != after.shape[1]:
        return KeyMovement(names, np.ones(len(before), dtype=bool), before, after)
    changed = np.any(np.sort(before, axis=1) != np.sort(after, axis=1), axis=1)
    return KeyMovement(names, changed, before, after)


def _still(locator: Any) -> Any:
    """The locator as it is now, whatever others do to it: copies share their tables."""
    return locator.copy() if hasattr(locator, "copy") else locator


def _united(
    a: Sequence[Node], b: Sequence[Node]
) -> tuple[tuple[Node, ...], NDArray[np.uint32], NDArray[np.uint32]]:
    """The nodes of both, sorted by name, as `b` describes them where both have one; and where
    each node of `a`, and of `b`, stands among them."""
    every = {node.name: node for node in a} | {node.name: node for node in b}
    nodes = tuple(every[name] for name in sorted(every))
    positions = {node.name: position for position, node in enumerate(nodes)}
    ids = [np.array([positions[node.name] for node in part], dtype=np.uint32) for part in (a, b)]
    return nodes, ids[0], ids[1]


# --- ranges ---------------------------------------------------------------------------------------


def _ranges_of(locator: Any, wanted: Replicas | int | None) -> Ranges:
    kind = type(locator).__name__
    if not hasattr(locator, "ranges"):
        raise SpaceError(
            f"{kind} does not cut a hash space into ranges, so there are none to compare; "
            "moved(a, b, keys) of ringleader.placement tells which of your keys move between "
            "any two locators"
        )
    ranges: Ranges = locator.ranges() if wanted is None else locator.ranges(wanted)
    return ranges


def _check_spaces(a: Space, b: Space) -> None:
    for field, what in (
        ("name", "spaces"),
        ("hash", "hashes"),
        ("bits", "numbers of bits"),
        ("seed", "seeds"),
    ):
        one, other = getattr(a, field), getattr(b, field)
        if one == other:
            continue
        # The seed of siphash13 is a secret key.
        told = "" if field == "seed" else f": {one!r} and {other!r}"
        raise SpaceError(
            f"the two locators place keys by different {what}{told}; nearly every key moves, and "
            "their ranges do not compare. moved(a, b, keys) of ringleader.placement counts the "
            "keys of a column that do"
        )


def diff(
    a: Any, b: Any, policy: Replicas | int | None = None, down: Iterable[str] = ()
) -> Movement:
    """What moves when `a` gives way to `b`; `Located.diff` is the same."""
    checked: Replicas | None = None
    if isinstance(policy, Replicas):
        checked = policy
    elif policy is not None:
        if isinstance(policy, bool) or not hasattr(policy, "__index__"):
            raise PolicyTypeError(
                "a policy is a Replicas, or a number of replicas, not " + type(policy).__name__
            )
        policy = index(policy)
        checked = Replicas(policy)
    for locator in (a, b):
        if not hasattr(locator, "lookup") or not hasattr(locator, "names"):
            raise NodeTypeError(f"movement is between locators, not {type(locator).__name__}")
    a, b = _still(a), _still(b)
    old, new = _ranges_of(a, policy), _ranges_of(b, policy)
    _check_spaces(old.space, new.space)
    if isinstance(down, str):
        raise NodeTypeError(f"down is one name; pass a list of them, such as [{down!r}]")
    names = frozenset(down)
    for name in names:
        if name not in a:
            raise NodeNotFound(
                f"down names {name!r}, which is no node of the old locator; its {len(a)} names are "
                "in .names"
            )
    return Movement(a, b, old, new, checked, policy, names)


class Movement:
    """What moves from one locator to another, range by range.

    Row i of the columns says: the numbers x with starts[i] < x <= ends[i] are copied from node
    `sources[i]` to node `targets[i]`.  A row with starts[i] >= ends[i] goes around the end of the
    circle; starts[i] == ends[i] is the whole of it.  Neighbouring ranges with the same source and
    target are one row; rows are sorted by (end, target).  Without a policy, the source loses what
    it gives; with one, several replicas of one number are rows of their own, and `dropped` tells
    who loses what.

    Made by `a.diff(b)` or `a.diff(b, policy)`; never changes, whatever becomes of `a` and `b`.

    Attributes:
        nodes: the nodes of both locators, sorted by name, as `b` describes them where it has them.
        names: their names; columns hold positions in it.
        policy: the replica policy, or None.
        space: the hash space.
        old, new: who owns which range (`Ranges`) before and after.
        down: the names of nodes that nothing can be copied from.
        piece_starts, piece_ends: the pieces whose owner, or set of replicas, changes.
        add_pieces, add_sources, add_targets: of each copy its piece, and from and to whom.
        drop_pieces, drop_nodes: of each copy that is dropped its piece, and by whom.
    """

    def __init__(
        self,
        a: Any,
        b: Any,
        old: Ranges,
        new: Ranges,
        policy: Replicas | None = None,
        wanted: Replicas | int | None = None,
        down: frozenset[str] = frozenset(),
    ) -> None:
        self._a, self._b = a, b
        self._wanted = wanted  # the policy as the two locators take it
        self.old, self.new = old, new
        self.policy = policy
        self.down = down
        self.space = old.space
        self.nodes, self._a_ids, self._b_ids = _united(old.nodes, new.nodes)
        self.names = tuple(node.name for node in self.nodes)
        cuts = (*_cut(old), self._a_ids, *_cut(new), self._b_ids)
        self._single = old.owners.shape[1] == new.owners.shape[1] == 1 and not down
        self._lost = np.empty(0, dtype=np.uint32)  # pieces
        if self._single:
            self.piece_starts, self.piece_ends, self.add_sources, self.add_targets = (
                kernels.movement.owners(*cuts)
            )
            self.add_pieces = self.drop_pieces = np.arange(len(self.piece_starts), dtype=np.uint32)
            self.drop_nodes = self.add_sources
        else:
            (
                self.piece_starts,
                self.piece_ends,
                self.add_pieces,
                self.add_sources,
                self.add_targets,
                self.drop_pieces,
                self.drop_nodes,
            ) = kernels.movement.replicas(*cuts, *_places(self.nodes, down))
            if down:
                self._set_lost_apart()
        for column in (
            *(self.piece_starts, self.piece_ends),
            *(self.add_pieces, self.add_sources, self.add_targets),
            *(self.drop_pieces, self.drop_nodes),
        ):
            column.flags.writeable = False

    def _set_lost_apart(self) -> None:
        """What nobody has who could give it is neither copied nor dropped."""
        lost = self.add_sources == _NOWHERE
        self._lost = np.unique(self.add_pieces[lost])
        self.add_pieces, self.add_sources, self.add_targets = (
            column[~lost] for column in (self.add_pieces, self.add_sources, self.add_targets)
        )
        safe = ~np.isin(self.drop_pieces, self._lost)
        self.drop_pieces, self.drop_nodes = self.drop_pieces[safe], self.drop_nodes[safe]

    # --- columns ---------------------------------------------------------------------------------

    @cached_property
    def _rows(self) -> Rows:
        starts, ends = self.piece_starts, self.piece_ends
        if self._single:
            return starts, ends, self.add_sources, self.add_targets
        return joined(
            starts[self.add_pieces], ends[self.add_pieces], self.add_sources, self.add_targets
        )

    @property
    def starts(self) -> NDArray[np.uint64]:
        """Where each range begins; itself outside."""
        return self._rows[0]

    @property
    def ends(self) -> NDArray[np.uint64]:
        """Where each range ends; itself inside."""
        return self._rows[1]

    @property
    def sources(self) -> NDArray[np.uint32]:
        """The position in `names` of the node that each range is copied from."""
        return self._rows[2]

    @property
    def targets(self) -> NDArray[np.uint32]:
        """The position in `names` of the node that each range is copied to."""
        return self._rows[3]

    @cached_property
    def dropped(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]:
        """What each node gives up, once the others have theirs: starts, ends, nodes."""
        starts, ends = self.piece_starts[self.drop_pieces], self.piece_ends[self.drop_pieces]
        rows = joined(starts, ends, self.drop_nodes, self.drop_nodes)
        return rows[0], rows[1], rows[2]

    @cached_property
    def lost(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Ranges to be copied that only nodes have that are `down`: starts, ends.  They are not
        among the rows, and nobody drops them; bring one of those nodes back, or a backup."""
        none = np.zeros(len(self._lost), dtype=np.uint32)
        rows = joined(self.piece_starts[self._lost], self.piece_ends[self._lost], none, none)
        return rows[0], rows[1]

    @cached_property
    def lost_length(self) -> int:
        """How many of the 2**64 numbers `lost` holds; exact."""
        return self._sums(np.zeros(len(self._lost), dtype=np.int64), self._lost, 1)[0]

    def __len__(self) -> int:
        return len(self.starts)

    def __bool__(self) -> bool:
        """Whether anything moves or is dropped."""
        return len(self.piece_starts) > 0

    # --- sums ------------------------------------------------------------------------------------

    def _sums(self, index: NDArray[Any], pieces: NDArray[np.uint32], size: int) -> list[int]:
        lengths = lengths_of(self.piece_starts, self.piece_ends)
        return exact_sums(index, lengths[pieces], (lengths == 0)[pieces], size)

    @cached_property
    def incoming(self) -> tuple[int, ...]:
        """How many of the 2**64 numbers are copied to each node; exact, by position."""
        return tuple(self._sums(self.add_targets, self.add_pieces, len(self.nodes)))

    @cached_property
    def outgoing(self) -> tuple[int, ...]:
        """How many of the 2**64 numbers are copied from each node; exact, by position."""
        return tuple(self._sums(self.add_sources, self.add_pieces, len(self.nodes)))

    @cached_property
    def given_up(self) -> tuple[int, ...]:
        """How many of the 2**64 numbers each node drops; exact, by position."""
        return tuple(self._sums(self.drop_nodes, self.drop_pieces, len(self.nodes)))

    @cached_property
    def before(self) -> tuple[int, ...]:
        """How many of the 2**64 numbers each node holds in the old locator; exact."""
        return tuple(held_by(self.old, self._a_ids, len(self.nodes)))

    @cached_property
    def after(self) -> tuple[int, ...]:
        """How many of the 2**64 numbers each node holds in the new locator; exact."""
        return tuple(held_by(self.new, self._b_ids, len(self.nodes)))

    @property
    def length(self) -> int:
        """How many of the 2**64 numbers are copied, those of several replicas as often; exact."""
        return sum(self.incoming)

    @property
    def share(self) -> float:
        """`length` / 2**64: with a policy, up to the number of replicas."""
        return self.length / CIRCLE

    @cached_property
    def needed(self) -> int:
        """The least `length` that leads from the shares before to those after: half their L1
        distance; exact.  For unequal numbers of replicas, what the nodes that gain must gain."""
        return sum(max(0, new - old) for old, new in zip(self.before, self.after, strict=True))

    @property
    def needed_share(self) -> float:
        """`needed` / 2**64."""
        return self.needed / CIRCLE

    @cached_property
    def ideal_share(self) -> float:
        """The least share that would move if both locators gave every node exactly its due: half
        the L1 distance between the shares by weight.

        With a policy a node's due is its part by weight of its datacenter's replicas (of all, if
        the policy names no datacenters), at most one of each key; zones are not considered.
        """
        old, new = due_shares(self.old.nodes, self.policy), due_shares(self.new.nodes, self.policy)
        return sum(max(0.0, share - old.get(name, 0.0)) for name, share in new.items())

    @cached_property
    def between_kept(self) -> int:
        """How much is copied from a node that stays to another that was there before; exact.

        When nodes only come or only go, at unchanged weights, all of that is unneeded.
        """
        kept = np.zeros(len(self.nodes), dtype=np.int64)
        for ids, weights in ((self._a_ids, self.old.nodes), (self._b_ids, self.new.nodes)):
            kept[ids] += [node.weight > 0 for node in weights]
        both = (kept[self.add_sources] == 2) & (kept[self.add_targets] == 2)
        return self._sums(both.astype(np.int64), self.add_pieces, 2)[1]

    @cached_property
    def pairs(self) -> dict[tuple[str, str], int]:
        """How much is copied from each node to each other, by their names; exact."""
        keys, sums = self._pair_sums
        names, size = self.names, len(self.nodes)
        return {
            (names[key // size], names[key % size]): length
            for key, length in zip(keys.tolist(), sums, strict=True)
        }

    @cached_property
    def _pair_sums(self) -> tuple[NDArray[np.int64], list[int]]:
        size = len(self.nodes)
        pair = self.add_sources.astype(np.int64) * size + self.add_targets
        keys, index = np.unique(pair, return_inverse=True)
        return keys, self._sums(index, self.add_pieces, len(keys))

    @cached_property
    def datacenters(self) -> dict[tuple[str, str], int]:
        """How much is copied from each datacenter to each, by their names; exact."""
        dcs = {node.name: node.dc for node in self.nodes}
        sums: dict[tuple[str, str], int] = {}
        for (source, target), length in self.pairs.items():
            pair = (dcs[source], dcs[target])
            sums[pair] = sums.get(pair, 0) + length
        return dict(sorted(sums.items()))

    # --- keys and plans --------------------------------------------------------------------------

    def of(self, keys: KeyColumn, threads: int = 1) -> KeyMovement:
        """Which of these keys move, and between which nodes.

        Args and errors as `lookup` (with a policy, `lookup_replicas`) of the two locators.

        Cost: two lookups for each key.
        """
        return moved(self._a, self._b, keys, self._wanted, threads=threads)

    def plan(
        self,
        *,
        max_concurrent_per_node: int = 1,
        max_bytes_per_s: float | None = None,
        bytes_per_share: int | Mapping[str, int] | None = None,
        link_bytes_per_s: Mapping[tuple[str, str], float] | None = None,
        max_bytes_per_transfer: int | None = None,
    ) -> Plan:
        """The movement in steps that never leave fewer replicas than there were.

        See `ringleader.placement.Plan`, and `make_plan` there, for arguments and errors.
        """
        from ringleader.placement.plan import make_plan

        return make_plan(
            self,
            max_concurrent_per_node=max_concurrent_per_node,
            max_bytes_per_s=max_bytes_per_s,
            bytes_per_share=bytes_per_share,
            link_bytes_per_s=link_bytes_per_s,
            max_bytes_per_transfer=max_bytes_per_transfer,
        )

    def __repr__(self) -> str:
        policy = "" if self.policy is None else f", {self.policy!r}"
        return (
            f"<Movement of {self.share:.4%} of the key space in {len(self):,} ranges; "
            f"{self.needed_share:.4%} had to{policy}>"
        )


def _cut(ranges: Ranges) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    return np.ascontiguousarray(ranges.ends), np.ascontiguousarray(ranges.owners)


def _places(
    nodes: Sequence[Node], down: Container[str]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Numbers for the zone (within its datacenter) and the datacenter of each node."""
    zones: dict[tuple[str, str], int] = {}
    dcs: dict[str, int] = {}
    zone_numbers = [
        _NOWHERE if node.name in down else zones.setdefault((node.dc, node.zone), len(zones))
        for node in nodes
    ]
    dc_numbers = [dcs.setdefault(node.dc, len(dcs)) for node in nodes]
    return np.array(zone_numbers, dtype=np.uint32), np.array(dc_numbers, dtype=np.uint32)


Rows = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32]]


def joined(starts: Any, ends: Any, sources: Any, targets: Any) -> Rows:
    """Rows with the same source and target joined where one begins at the other's end, sorted by
    (end, target).  Rows of one pair must not overlap."""
    if len(starts) == 0:
        return starts, ends, sources, targets
    order = np.lexsort((ends, targets, sources))
    starts, ends = starts[order], ends[order]
    sources, targets = sources[order], targets[order]
    # Rows of one pair stand in a run, in the order of their ends: what comes before the run's
    # first row is its last, around the circle.
    heads = np.ones(len(starts), dtype=bool)
    heads[1:] = (sources[1:] != sources[:-1]) | (targets[1:] != targets[:-1])
    begins = heads.copy()
    begins[1:] |= starts[1:] != ends[:-1]
    at = np.flatnonzero(begins)
    starts, sources, targets = starts[at], sources[at], targets[at]
    ends = ends[np.append(at[1:], len(begins)) - 1]
    first = np.flatnonzero(heads[at])
    last = np.append(first[1:], len(at)) - 1
    around = (starts[first] == ends[last]) & (first != last)
    starts[first[around]] = starts[last[around]]
    kept = np.ones(len(at), dtype=bool)
    kept[last[around]] = False
    at = np.flatnonzero(kept)
    at = at[np.lexsort((targets[at], ends[at]))]
    return starts[at], ends[at], sources[at], targets[at]
