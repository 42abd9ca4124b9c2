"""Readers while nodes come and go: does every lookup get an answer, and a right one?

One thread looks keys up without a pause; another adds a node and removes it again, over and over.
A lookup *fails* when it raises, and is *wrong* when it names a node that owns the key neither
before the change nor after it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter, sleep
from typing import Any

from bench import peers
from bench.cases import names, ring, scaled, user_keys
from bench.harness import Absent
from ringleader import HashRing

NODES = scaled(100, 10)
KEYS = user_keys(scaled(20_000, 300))
JOINS = "node-that-comes-and-goes"
ROUNDS = scaled(3, 1)
ROUND_SECONDS = 1.0 if ROUNDS > 1 else 0.05
#: Between two changes, so that a reader also sees rings at rest.
PAUSE_SECONDS = 0.001
#: How often the interpreter changes threads: its default, 5 ms, hides races for longer.
SWITCH_SECONDS = 0.0005


@dataclass
class Tally:
    name: str
    lookups: int = 0
    changes: int = 0
    wrong: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


@dataclass(frozen=True)
class Subject:
    """A ring under churn: what to read it by, how to change it, and which answers are right."""

    name: str
    lookup: Callable[[Any], Any]
    node: Callable[[Any], str]
    add: Callable[[], None]
    remove: Callable[[], None]
    keys: list[Any]
    right: list[tuple[str, str]]

    @classmethod
    def of(
        cls,
        name: str,
        lookup: Callable[[Any], Any],
        node: Callable[[Any], str],
        add: Callable[[], None],
        remove: Callable[[], None],
        keys: list[Any],
    ) -> Subject:
        without = [node(lookup(key)) for key in keys]
        add()
        with_it = [node(lookup(key)) for key in keys]
        remove()
        assert JOINS not in without
        assert JOINS in with_it
        return cls(name, lookup, node, add, remove, keys, list(zip(without, with_it, strict=True)))


def ours() -> Subject:
    on: HashRing = ring(NODES).copy()
    return Subject.of(
        "ringleader",
        on.get_node,
        str,
        lambda: on.add_node(JOINS),
        lambda: on.remove_node(JOINS),
        KEYS,
    )


def rival(peer: peers.ChangingPeer) -> Subject:
    on = peer.build(names(NODES))
    return Subject.of(
        peer.name,
        peer.lookup(on),
        peer.node,
        lambda: peer.add(on, JOINS),
        lambda: peer.remove(on, JOINS),
        peer.keys(KEYS),
    )


@contextmanager
def churning(subject: Subject, tally: Tally) -> Iterator[None]:
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            subject.add()
            sleep(PAUSE_SECONDS)
            subject.remove()
            sleep(PAUSE_SECONDS)
            tally.changes += 2

    writer = threading.Thread(target=change)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def read(subject: Subject, tally: Tally, seconds: float) -> None:
    lookup, node = subject.lookup, subject.node
    until = perf_counter() + seconds
    while perf_counter() < until:
        for key, right in zip(subject.keys, subject.right, strict=True):
            tally.lookups += 1
            try:
                answer = lookup(key)
            except Exception as error:
                name = type(error).__name__
                tally.errors[name] = tally.errors.get(name, 0) + 1
            else:
                if node(answer) not in right:
                    tally.wrong += 1


def test_churn(benchmark: Any) -> None:
    present = [peer for peer in peers.RINGS if peer.missing() is None]
    absent = [Absent(peer.name, peer.missing() or "") for peer in peers.RINGS if peer.missing()]
    subjects = [ours(), *(rival(peer) for peer in present)]
    tallies = [Tally(subject.name) for subject in subjects]

    def rounds() -> None:
        for _ in range(ROUNDS):
            for subject, tally in zip(subjects, tallies, strict=True):
                with churning(subject, tally):
                    read(subject, tally, ROUND_SECONDS)

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        benchmark.pedantic(rounds, rounds=1)
    finally:
        sys.setswitchinterval(before)
    benchmark.extra_info["churn"] = {
        "title": f"{NODES} nodes, one coming and going every {2 * PAUSE_SECONDS * 1e3:g} ms",
        "seconds": ROUNDS * ROUND_SECONDS,
        "tallies": [{**asdict(tally), "failed": tally.failed} for tally in tallies],
        "absent": [asdict(entry) for entry in absent],
    }
    assert tallies[0].lookups > 0
    assert tallies[0].changes > 0
    assert tallies[0].failed == 0, tallies[0].errors
    assert tallies[0].wrong == 0
