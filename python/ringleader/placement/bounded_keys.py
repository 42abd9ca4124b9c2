"""Bounded loads with the keys kept: who holds which, and what has to move when something changes.

Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018.  Between any
two operations:

    1  No node holds more than its capacity for as many keys as are held.
    2  Every node that a key's walk passes before the one that holds it is full.

A key that is added goes to the first node with room and displaces nobody.  What moves is what
these two then demand: where room appears (a key left, a capacity grew, a node joined) a key that
had passed by comes back, which leaves room where it was; where a node is over (its capacity
shrank) one of its keys goes on along its walk.  The paper proves that an operation moves
O(1 / (c - 1)**2) keys on average, whatever the number of keys and nodes.  Its capacities grow one
at a time; these are everywhere ceil(c * average), so all nodes of one weight grow at once, and
before that not at all for some operations.

Theory of operation.  For each node there are the keys it holds, its own and guests, and those that
have passed it by: they wait.  `_up` and `_down` are heaps of the numbers of keys at which a node
gets room for one that waits, or has to give one up; their entries are hints, checked when they come
up, and written whenever a node's load changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

from ringleader.errors import EmptyRingError, KeyNotHeld
from ringleader.keys import Key, key_bytes
from ringleader.placement.bounded import check_locator, checked_bound, shares_of, walk, weights_of
from ringleader.placement.located import Located
from ringleader.placement.locator import Locator
from ringleader.placement.node import Node


@dataclass(frozen=True, slots=True)
class Move:
    """A key that another node holds now.

    Attributes:
        key: as it was acquired.
        source: the name of the node that held it.
        target: the name of the node that holds it now.
    """

    key: Key
    source: str
    target: str


class _Held:
    """A key that is held.

    Invariant: `path` are the nodes that its walk passes before `place`.
    """

    __slots__ = ("key", "path", "place")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.place: _Place
        self.path: list[_Place] = []


class _Place:
    """A node, what it holds, and what waits for it; dicts because they keep their order."""

    __slots__ = ("guests", "name", "own", "share", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.share = 0
        self.own: dict[bytes, _Held] = {}
        self.guests: dict[bytes, _Held] = {}
        self.waiting: dict[bytes, _Held] = {}

    @property
    def load(self) -> int:
        return len(self.own) + len(self.guests)


class BoundedKeys:
    """Keys held by nodes under a bound: for sessions, shards or tasks that stay until released.

        workers = BoundedKeys(ring, c=1.1)
        workers.acquire("task:1")           # 'worker-7'
        ring.remove_node("worker-7")
        for move in workers.rebalance():    # Move(key='task:1', source='worker-7', target=...)
            ...

    Other keys may move when one is acquired or released, too: `moves()` tells.  What is held where
    depends on what happened before; `assign_bounded` is the form that depends on the set of keys
    alone.

    Any number of threads may use it at once; they take turns.

    Args:
        locator: a ring, or any other locator.  It may be changed at any time: the next operation
            begins with the moves that this asks for.
        c: above 1; smaller is more even, diverts more keys and moves more of them.

    Raises:
        SettingError, SettingTypeError: c is not above 1 (or NaN), or no number; `locator` is
            no locator.

    Cost: some microseconds an operation, and for each move; a change of the locator O(keys).
    """

    def __init__(self, locator: Locator, c: float | Fraction = 1.25) -> None:
        self._c = checked_bound(c)
        check_locator(locator)
        self._locator = locator
        self._lock = threading.Lock()
        self._seen: object = None  # the state of the locator that the rest is about
        self._live = 0
        self._whole = 1
        self._places: dict[str, _Place] = {}
        self._held: dict[bytes, _Held] = {}
        self._total = 0  # Invariant: len(_held), but for the key an operation is about
        self._up: list[tuple[int, str]] = []
        self._down: list[tuple[int, str]] = []
        self._origins: dict[bytes, str] = {}  # of keys that the operation under way has moved
        self._moves: list[Move] = []

    # --- operations -----------------------------------------------------------------------------

    def acquire(self, key: Key) -> str:
        """The name of the node that holds `key` from now on; of one that is held, who does.

        Raises:
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key; nothing changed.
            EmptyRingError: no node has a positive weight.
        """
        data = key_bytes(key)
        with self._lock:
            self._sync()
            held = self._held.get(data)
            if held is None:
                held = _Held(key)
                self._total += 1
                self._fill_rooms()
                self._go_on(data, held, self._walk(key))
                self._held[data] = held
                self._settle()
            return held.place.name

    def release(self, key: Key) -> str:
        """Let go of `key`; the name of the node that held it.

        Raises:
            KeyNotHeld: it is not held.
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
        """
        data = key_bytes(key)
        with self._lock:
            self._sync_if_possible()
            held = self._held.pop(data, None)
            if held is None:
                raise KeyNotHeld(f"{key!r} is not held")
            self._total -= 1
            place = held.place
            self._leave(data, held, 0)
            # In this order: a key that is shed finds all that it has passed full.
            self._pull([place])
            self._shed_all()
            self._settle()
            return place.name

    def rebalance(self) -> list[Move]:
        """Go over to the locator as it is now; all moves since they were last asked for.

        Raises:
            EmptyRingError: no node has a positive weight; nothing changed.
        """
        with self._lock:
            self._sync()
            moves, self._moves = self._moves, []
            return moves

    def moves(self) -> list[Move]:
        """What operations have moved since this, or `rebalance`, was last called, in order.

        A list that nobody asks for grows.
        """
        with self._lock:
            moves, self._moves = self._moves, []
            return moves

    # --- what it holds --------------------------------------------------------------------------

    @property
    def c(self) -> Fraction:
        """How much more than its fair share a node may hold, exactly."""
        return self._c

    def __getitem__(self, key: Key) -> str:
        """The name of the node that holds `key`.

        Raises:
            KeyNotHeld: it is not held.
        """
        held = self._held.get(key_bytes(key))
        if held is None:
            raise KeyNotHeld(f"{key!r} is not held")
        return held.place.name

    def __contains__(self, key: Key) -> bool:
        return key_bytes(key) in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Key]:
        """The keys held, as they were acquired; of one moment."""
        with self._lock:
            return iter([held.key for held in self._held.values()])

    def loads(self) -> dict[str, int]:
        """How many keys each node holds, by name."""
        with self._lock:
            self._sync()
            return {name: place.load for name, place in self._places.items()}

    def capacities(self) -> dict[str, int]:
        """How many each node may hold for as many as are held now."""
        with self._lock:
            self._sync()
            return {
                name: -(-self._total * place.share // self._whole)
                for name, place in self._places.items()
            }

    def diverted(self) -> list[Key]:
        """The keys that are not with their owner."""
        with self._lock:
            self._sync()
            return [held.key for place in self._places.values() for held in place.guests.values()]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} keys, c={float(self._c):g}>"

    # --- rooms ----------------------------------------------------------------------------------

    def _walk(self, key: Key) -> Iterator[_Place]:
        return (self._places[name] for name in walk(self._locator, key, self._live))

    def _has_room(self, place: _Place) -> bool:
        return place.load * self._whole < self._total * place.share

    def _is_over(self, place: _Place) -> bool:
        """load > ceil(total * share / whole)."""
        return (place.load - 1) * self._whole >= self._total * place.share and place.load > 0

    def _note(self, place: _Place) -> None:
        """Write down at which numbers of keys this node will need attention."""
        if len(self._up) + len(self._down) > 64 + 8 * len(self._places):
            self._up, self._down = [], []  # most of it was outdated
            for other in self._places.values():
                self._note(other)
            return
        share = place.share
        if share and place.waiting:
            heappush(self._up, (place.load * self._whole // share + 1, place.name))
        if place.load > 1 and share:
            heappush(self._down, (-((place.load - 1) * self._whole // share), place.name))

    def _enter(self, data: bytes, held: _Held, place: _Place) -> None:
        """Hold a key whose path leads here."""
        held.place = place
        (place.guests if held.path else place.own)[data] = held
        for passed in held.path:
            if data not in passed.waiting:
                passed.waiting[data] = held
                self._note(passed)
        self._note(place)

    def _leave(self, data: bytes, held: _Held, kept: int) -> None:
        """Hold it no more; of its path only the first `kept` nodes remain."""
        place = held.place
        (place.guests if held.path else place.own).pop(data)
        for passed in held.path[kept:]:
            passed.waiting.pop(data, None)
        del held.path[kept:]
        self._note(place)

    def _go_on(self, data: bytes, held: _Held, onward: Iterator[_Place]) -> None:
        """To the first place with room on the rest of its walk."""
        for place in onward:
            if self._has_room(place):
                self._enter(data, held, place)
                return
            held.path.append(place)
        raise AssertionError("the capacities add up to more than the keys")

    def _pull(self, places: list[_Place]) -> None:
        """Let keys that wait come back to these nodes while they have room; and so on."""
        while places:
            place = places.pop()
            while place.waiting and self._has_room(place):
                data, held = next(iter(place.waiting.items()))
                left = held.place
                self._origins.setdefault(data, left.name)
                self._leave(data, held, held.path.index(place))
                self._enter(data, held, place)
                places.append(left)

    def _fill_rooms(self) -> None:
        """The number of keys has grown: whoever got room takes one that waits."""
        while self._up and self._up[0][0] <= self._total:
            place = self._places.get(heappop(self._up)[1])
            if place is not None:
                self._pull([place])

    def _shed_all(self) -> None:
        """The number of keys has fallen: whoever is over gives up keys."""
        while self._down and -self._down[0][0] >= self._total:
            place = self._places.get(heappop(self._down)[1])
            if place is not None:
                self._shed(place)

    def _shed(self, place: _Place) -> None:
        """The youngest guest goes on along its walk, or the youngest key of its own."""
        while self._is_over(place):
            keys = place.guests or place.own
            data = next(reversed(keys))
            held = keys[data]
            self._origins.setdefault(data, place.name)
            self._leave(data, held, len(held.path))
            onward = self._walk(held.key)
            for passed in onward:
                if passed is place:
                    break
            held.path.append(place)
            self._go_on(data, held, onward)

    def _settle(self) -> None:
        """The operation is over: note who is somewhere else than before it."""
        for data, source in self._origins.items():
            held = self._held.get(data)
            if held is not None and held.place.name != source:
                self._moves.append(Move(held.key, source, held.place.name))
        self._origins.clear()

    # --- the locator ----------------------------------------------------------------------------

    def _sync_if_possible(self) -> None:
        with suppress(EmptyRingError):  # the last nodes there were stand until there are others
            self._sync()

    def _sync(self) -> None:
        """Go over to the locator as it is now."""
        locator: Any = self._locator
        seen = locator.table if isinstance(locator, Located) else locator.nodes
        if seen is self._seen or (isinstance(seen, tuple) and seen == self._seen):
            return
        nodes: tuple[Node, ...] = seen if isinstance(seen, tuple) else seen.nodes
        weights = weights_of(nodes)
        shares, self._whole = shares_of(weights, self._c)
        self._seen = seen
        self._live = sum(weight > 0 for weight in weights)
        self._places = {node.name: _Place(node.name) for node in nodes}
        for place, share in zip(self._places.values(), shares, strict=True):
            place.share = share
        self._up, self._down = [], []
        # Everybody stays, if its node does, and waits for all that its walk now passes.
        homeless = []
        for data, held in self._held.items():
            source = held.place.name
            target = self._places.get(source)
            self._origins[data] = source
            held.path = []
            if target is None or not target.share:
                homeless.append((data, held))
                continue
            for place in self._walk(held.key):
                if place is target:
                    break
                held.path.append(place)
            self._enter(data, held, target)
        self._pull(list(self._places.values()))
        for place in self._places.values():
            self._shed(place)
        for data, held in homeless:
            self._go_on(data, held, self._walk(held.key))
        self._settle()
