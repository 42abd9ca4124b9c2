"""Bounded loads: no node gets more than c times its fair share, and few keys leave their owner.

Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018.  With m
keys, node i of weight w_i may hold

    capacity_i  =  ceil( c * m * w_i / (sum of all weights) )        c > 1

and a key goes to the first node on its walk (for a ring: clockwise from its hash) that has room.
As c > 1 the capacities add up to more than m: some node always has room.  A walk meets O(1 / (c -
1)**2) nodes on average, whatever the number of nodes.

Three forms:

    assign_bounded(locator, keys, c)    a whole column at once
    BoundedLoads(locator, c)            counters: acquire(key) gives a node, release(node) ends it
    BoundedKeys(locator, c)             the keys themselves are kept, and moved when they should be

Floats stand for the shortest decimal that reads back as them, so that c = 1.1 and 10 keys give 11
and not 12.  Shares c * w_i / sum are exact fractions as long as they fit 62 bits over one
denominator; weights of very different sizes, or of many digits, are rounded to about 2**-40 of the
largest, and c to a fraction below 2**-20.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from numbers import Real
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ringleader import hashing, kernels
from ringleader.errors import (
    EmptyRingError,
    OutputError,
    OutputTypeError,
    SettingError,
    SettingTypeError,
)
from ringleader.keys import Key, KeyColumn, as_column, compute
from ringleader.limits import BOUND_MAX
from ringleader.placement.located import Located
from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.points import PointRing

_SHARE_BITS = 62
_ABSENT = 2**32 - 1


def checked_bound(c: object) -> Fraction:
    """`c` as a fraction above 1.

    Raises:
        SettingError: it is not above 1, not finite, or above `limits.BOUND_MAX`.
        SettingTypeError: it is no number.
    """
    if isinstance(c, bool) or not isinstance(c, Real):
        raise SettingTypeError(f"c must be a number, not {type(c).__name__}")
    if not 1 < cast(float, c) <= BOUND_MAX:  # false for NaN, too
        raise SettingError(
            f"c is {c}; it must be above 1, as nodes with no more than their fair share leave no "
            f"room, and at most {BOUND_MAX}"
        )
    return Fraction(c) if isinstance(c, Fraction | int) else Fraction(repr(float(c)))


def shares_of(weights: Sequence[float], c: Fraction) -> tuple[list[int], int]:
    """(share_i, whole) with capacity_i = ceil(m * share_i / whole) for m keys; all below 2**62.

    Cost: O(nodes), most of it for distinct weights.
    """
    exact = {weight: Fraction(repr(float(weight))) for weight in set(weights)}
    scale = math.lcm(*(weight.denominator for weight in exact.values()))
    shares, whole = _scaled(weights, {w: int(value * scale) for w, value in exact.items()}, c)
    if max(whole, *shares) >= 2**_SHARE_BITS:
        # Round the weights, and c if it has many digits; the shares still add up to exactly c.
        c = max(c.limit_denominator(2**20), 1 + Fraction(1, 2**20))
        bits = _SHARE_BITS - c.numerator.bit_length() - len(weights).bit_length()
        most = max(exact.values())
        rounded = {
            weight: max(1, round(value / most * 2**bits)) if value else 0
            for weight, value in exact.items()
        }
        shares, whole = _scaled(weights, rounded, c)
    return shares, whole


def _scaled(
    weights: Sequence[float], units: dict[float, int], c: Fraction
) -> tuple[list[int], int]:
    whole = c.denominator * sum(map(units.__getitem__, weights))
    units = {weight: c.numerator * value for weight, value in units.items()}
    common = math.gcd(whole, *units.values())
    units = {weight: value // common for weight, value in units.items()}
    return list(map(units.__getitem__, weights)), whole // common


def capacities(nodes: Sequence[Node], count: int, c: float | Fraction = 1.25) -> list[int]:
    """How many of `count` keys each node may hold: ceil(c * count * weight / all weights).

    Raises:
        SettingError, SettingTypeError: `c` is not above 1, or no number.
        EmptyRingError: no node has a positive weight.
    """
    shares, whole = shares_of(weights_of(nodes), checked_bound(c))
    each = {share: -(-count * share // whole) for share in set(shares)}
    return [each[share] for share in shares]


def weights_of(nodes: Sequence[Node]) -> list[float]:
    """The nodes' weights, of which one has to be positive."""
    weights = [node.weight for node in nodes]
    if not any(weights):
        raise EmptyRingError(
            f"none of the {len(weights)} nodes has a positive weight"
            if weights
            else "there are no nodes"
        )
    return weights


# --- a whole column -----------------------------------------------------------------------------


def check_locator(locator: object) -> None:
    """Refuse what cannot place keys; bounded loads need only these of the protocol."""
    if not all(hasattr(locator, name) for name in ("nodes", "lookup", "get_nodes")):
        raise SettingTypeError(f"a locator is wanted, not {type(locator).__name__}")


def assign_bounded(
    locator: Locator,
    keys: KeyColumn,
    c: float | Fraction = 1.25,
    out: NDArray[np.uint32] | None = None,
    threads: int = 1,
) -> NDArray[np.uint32]:
    """The position of the node that each key of a column goes to, none above its capacity.

    Round 1: every node keeps as many of the keys it owns as its capacity allows.  Round 2: the rest
    go, one by one, to the first node on their walk that still has room.

    Never more: each node gets at most `capacities(...)` of the keys.

    Fewest diversions: a key leaves its owner only if that is full of keys it owns itself, so
    sum_i max(0, owned_i - capacity_i) keys do.  No assignment within these capacities diverts
    fewer: of the owned_i keys of node i at most capacity_i can stay, so at least owned_i -
    capacity_i must go; every key has one owner, so these add up.  (Serving the keys one after the
    other, as they come, diverts more: a key that was diverted to a node takes a place from one
    that the node owns and that comes later.)

    Of the set of keys alone: who stays and who is served first in round 2 is decided by a rank, a
    mix of the key's hash, so the order of the column plays no part.  Only equal keys (and those of
    one 64-bit hash) take turns in the order of the column; which of the two goes where changes
    nothing for the nodes.  The capacities depend on how many keys there are: the same key may go
    elsewhere in a longer column.

    Args:
        locator: any; nodes of weight 0 get nothing.
        keys, threads: as for `lookup`; threads share the hashing.
        c: how much more than its fair share a node may get; smaller is more even and diverts more.
        out: where to write: uint32, shape (len(keys),), C-contiguous.

    Returns:
        `out`, or a new uint32 array of shape (len(keys),).

    Raises:
        SettingError, SettingTypeError: c is not above 1 (or NaN), or no number; `threads`.
        KeyTypeError, KeyRangeError, KeyEncodingError, ColumnError: as for `lookup`.
        OutputError, OutputTypeError: `out` does not fit; nothing was written.
        EmptyRingError: no node has a positive weight.
        SettingTypeError: `locator` is none.

    Cost: for a ring O(1) a key, and amortised O(1) more for one that is diverted; for other
    locators a diverted key costs calls of `get_nodes`.  Memory: 8 bytes a key for its hash, 16 for
    each one owned by a node that is full.
    """
    check_locator(locator)
    bound = checked_bound(c)
    if isinstance(locator, PointRing):
        table = locator.table
        table.check_wanted(1)

        def place(column: Any, result: NDArray[np.uint64], lo: int, hi: int) -> None:
            kernels.bounded.hash_keys(table, column, result, lo, hi)

        hashes = compute(keys, place, np.uint64, None, None, threads)
        result = _checked_out(out, len(hashes))
        nodes: Sequence[Any] = table.nodes
        room = _room(nodes, len(hashes), bound)
        kernels.bounded.assign(table, hashes, room, result)
        return result
    if isinstance(keys, Iterator):
        keys = list(keys)
    column = as_column(keys)
    # Ours take the column as it is; others need only know the usual containers.
    given: Any = column if isinstance(locator, Located) else keys
    hashes = hashing.xxh3_64_column(cast("KeyColumn", column), threads=threads)
    nodes = locator.nodes
    room = _room(nodes, len(hashes), bound)
    owners = np.ascontiguousarray(locator.lookup(given, threads=threads), dtype=np.uint32)
    positions = {node.name: position for position, node in enumerate(nodes)}
    live = sum(node.weight > 0 for node in nodes)
    for index in kernels.bounded.surplus(hashes, owners, room).tolist():
        (key,) = column.tolist(index, index + 1)
        for name in walk(locator, key, live):
            if room[positions[name]]:
                room[positions[name]] -= np.uint64(1)
                owners[index] = positions[name]
                break
    result = _checked_out(out, len(hashes))
    result[...] = owners
    return result


def _room(nodes: Sequence[Node], count: int, c: Fraction) -> NDArray[np.uint64]:
    return np.array([min(count, room) for room in capacities(nodes, count, c)], dtype=np.uint64)


def walk(locator: Locator, key: Key, live: int) -> Iterator[str]:
    """All nodes in the order of the key's walk, asked for a few at a time."""
    yield locator.get_node(key)
    seen, wanted = 1, 4
    while seen < live:
        names = locator.get_nodes(key, min(wanted, live))
        yield from names[seen:]
        seen, wanted = len(names), 4 * wanted


def _checked_out(out: Any, count: int) -> NDArray[np.uint32]:
    if out is None:
        return np.empty(count, np.uint32)
    if not isinstance(out, np.ndarray):
        raise OutputTypeError(f"out must be an array of uint32, not {type(out).__name__}")
    if out.dtype != np.uint32:
        raise OutputTypeError(f"out must be an array of uint32, not of {out.dtype}")
    flags = out.flags
    if out.shape != (count,) or not (flags.c_contiguous and flags.writeable and flags.aligned):
        raise OutputError(
            f"out has to be a C-contiguous, writeable array of uint32, shape ({count},); its shape "
            f"is {out.shape}"
        )
    return out


# --- counters -----------------------------------------------------------------------------------


class BoundedLoads(kernels.bounded.LoadsBase):
    """Counters for work in flight: `acquire(key)` picks a node, `release(node)` when it is done.

        loads = BoundedLoads(ring, c=1.25)
        node = loads.acquire(request.path)
        try: send(node, request)
        finally: loads.release(node)

    For load balancers and worker pools: a key goes to its owner, or, while that is full, to the
    next node on its walk that is not.  Keys are not remembered; see `BoundedKeys` for that.

    With m places taken on the nodes there are now, the new one included, node i has room while it
    holds fewer than ceil(c * m * w_i / sum of w).  What is guaranteed:

        1  `acquire` never takes a node above that.
        2  It diverts a key only if its owner is full, and then to the first node that is not.
        3  It always finds one.
        4  The answer depends on the locator, the loads and the key alone.

    `release` makes m smaller and with it everybody's bound, and so do changes of the locator; what
    a node then holds above the bound, `excess()`, it keeps until it is released: work in flight is
    not moved.  It gets nothing new meanwhile.

    The locator may be changed at any time.  Its new nodes begin at 0; a node that was removed keeps
    what it holds until that is released, and no longer counts in m.

    Any number of threads may use it at once: each operation is one step.

    Args:
        locator: a ring, or any other locator; asked again whenever it has changed.
        c: above 1; smaller is more even and diverts more keys.

    Raises:
        SettingError, SettingTypeError: c is not above 1 (or NaN), or no number; `locator` is
            no locator.

    Cost: on a ring `acquire` and `release` take well under a microsecond; on other locators a key
    whose owner is full costs calls of `get_nodes`.  After a change of the locator the next call is
    O(nodes).
    """

    def __init__(self, locator: Locator, c: float | Fraction = 1.25) -> None:
        self._c = checked_bound(c)
        check_locator(locator)
        self._nodes_seen: tuple[Node, ...] = ()
        self._ring = locator
        self._open(locator, isinstance(locator, Located))

    @property
    def c(self) -> Fraction:
        """How much more than its fair share a node may hold, exactly."""
        return self._c

    @property
    def locator(self) -> Locator:
        """The locator that keys are placed by."""
        return self._ring

    def _source(self) -> object:
        """The locator's nodes; the same object while they are equal."""
        nodes = self._ring.nodes
        if nodes != self._nodes_seen:
            self._nodes_seen = nodes
        return self._nodes_seen

    def _follow(self, source: Any) -> None:
        """Go over to the locator's nodes as they are in `source`."""
        nodes = source.nodes if isinstance(self._ring, Located) else source
        shares, whole = shares_of(weights_of(nodes), self._c)
        before, old_names, _, present, loads = self._bound
        names = [node.name for node in nodes]
        slots = {name: slot for slot, name in enumerate(names)}
        mapping = []
        for slot, name in enumerate(old_names):
            if name not in slots:
                if slot >= present and not loads[slot]:  # it left, and can hold nothing any more
                    mapping.append(_ABSENT)
                    continue
                slots[name] = len(names)
                names.append(name)
            mapping.append(slots[name])
        table = source if isinstance(self._ring, PointRing) else None
        self._bind(before, source, table, tuple(names), len(nodes), mapping, shares, whole)

    def _acquire_slowly(self, key: Key) -> str:
        while True:
            source, _, slots, _, _ = self._bound
            live = sum(node.weight > 0 for node in self._ring.nodes)
            for name in walk(self._ring, key, live):
                if self._take(source, slots.get(name, -1)):
                    return name
            # Others took what was free, or the locator changed: look again.
            self._counts()

    def loads(self) -> dict[str, int]:
        """What each node holds, by name; nodes that have left and hold something come last."""
        names, present, loads, _, _ = self._counts()
        return {
            name: load
            for slot, (name, load) in enumerate(zip(names, loads, strict=True))
            if slot < present or load
        }

    def capacities(self) -> dict[str, int]:
        """What each node may hold for as many places as are taken now."""
        names, present, loads, shares, whole = self._counts()
        total = sum(loads[:present])
        return {names[slot]: -(-total * shares[slot] // whole) for slot in range(present)}

    def excess(self) -> dict[str, int]:
        """What nodes hold above their capacity, by name; whoever has left: all it holds.

        Empty while places are only taken; what shows here is for you to drain, or to wait for.
        """
        names, present, loads, shares, whole = self._counts()
        total = sum(loads[:present])
        over = {}
        for slot, (name, load) in enumerate(zip(names, loads, strict=True)):
            bound = -(-total * shares[slot] // whole) if slot < present else 0
            if load > bound:
                over[name] = load - bound
        return over

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} places, c={float(self._c):g}>"
