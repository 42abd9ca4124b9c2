"""Rendezvous, AnchorHash and MementoHash: columns of 64-bit integers, and one key at a time.

No package known to us answers columns by these algorithms.  What is beside them: pymemcache's
rendezvous hashing, one key at a time; and, in the goals, the times of a C++ loop over the papers'
pseudocode (Rendezvous 99 ns at 100 nodes, AnchorHash 14 ns and MementoHash 52 ns at 1000).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench import peers, yardstick
from bench.cases import LEVELS, at_level, names, sample, scaled, user_keys, words
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Faster
from ringleader import kernels
from ringleader.placement import AnchorHash, MementoHash, Rendezvous

KEYS = scaled(1_000_000, 2_000)
CALLS = scaled(20_000, 100)
#: pymemcache takes half a millisecond a call.
SLOW_CALLS = scaled(300, 50)


def removed_third(on: Any) -> Any:
    """Every third node has left."""
    for name in on.names[::3]:
        on.remove_node(name)
    return on


def weighted(count: int) -> dict[str, float]:
    return {name: 1.0 + at % 4 for at, name in enumerate(names(count))}


#: Title -> how it is made, and what is asked of it on the widest instructions.
COLUMNS: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "Rendezvous, 10 nodes": (lambda: Rendezvous(names(10)), []),
    "Rendezvous, 100 nodes": (lambda: Rendezvous(names(100)), [AtMost(25)]),
    "Rendezvous, 100 nodes, weighted": (lambda: Rendezvous(weighted(100)), []),
    "Rendezvous, 1000 nodes": (lambda: Rendezvous(names(1_000)), []),
    "Rendezvous, 1000 nodes, skeleton": (
        lambda: Rendezvous(names(1_000), skeleton=True, fanout=8),
        [],
    ),
    "AnchorHash, 1000 nodes of 2000": (lambda: AnchorHash(names(1_000)), [AtMost(8)]),
    "AnchorHash, 1000 nodes of 1100": (
        lambda: AnchorHash(names(1_000), capacity=1_100),
        [AtMost(8)],
    ),
    "AnchorHash, 667 nodes of 2000": (lambda: removed_third(AnchorHash(names(1_000))), []),
    "MementoHash, 1000 nodes": (lambda: MementoHash(names(1_000)), [AtMost(20)]),
    "MementoHash, 667 nodes of 1000": (lambda: removed_third(MementoHash(names(1_000))), []),
}


def verify(on: Any, keys: np.ndarray, answers: np.ndarray) -> None:
    """The answers of a bulk lookup are those that single keys get with plain C."""
    positions, chosen = sample(keys)
    before = kernels.simd()
    kernels.force_simd("scalar")
    try:
        assert answers[positions].tolist() == on.lookup(chosen).tolist()
    finally:
        kernels.force_simd(before)


def ours(name: str, on: Any, keys: np.ndarray, level: str) -> Contestant | Absent:
    if level not in LEVELS:
        return Absent(name, f"this CPU has no {level}")
    out = np.empty(len(keys), np.uint32)
    turn = at_level(level)
    with turn():
        verify(on, keys, on.lookup(keys, out))
    return Contestant(name, lambda: on.lookup(keys, out), len(keys), "ours", turn=turn)


@pytest.mark.parametrize("title", COLUMNS)
def test_column(compare: Compare, title: str) -> None:
    make, goals = COLUMNS[title]
    on, keys = make(), words(KEYS)
    compare(
        Case(
            f"{KEYS:,} uint64 keys, {title}",
            "key",
            [
                ours("ringleader", on, keys, LEVELS[-1]),
                ours("ringleader, AVX2 forced", on, keys, "avx2"),
                ours("ringleader, plain C forced", on, keys, "scalar"),
                *yardstick.floors(keys),
            ],
            goals,
        )
    )


def loop(get: Callable[[Any], Any], keys: list[Any]) -> Callable[[], Any]:
    def run() -> Any:
        for key in keys:
            answer = get(key)
        return answer

    return run


def contestant(name: str, get: Callable[[Any], Any], keys: list[Any], kind: Any) -> Contestant:
    return Contestant(
        name, loop(get, keys), len(keys), kind, answers=lambda: [get(key) for key in keys]
    )


def pymemcache(nodes: list[str], keys: list[str], on: Rendezvous) -> Contestant | Absent:
    name = "pymemcache"
    if reason := peers.missing(name):
        return Absent(name, reason)
    from pymemcache.client.rendezvous import RendezvousHash

    theirs = RendezvousHash(list(nodes))
    some = keys[:SLOW_CALLS]
    assert [on[key] for key in some] == [theirs.get_node(key) for key in some]
    return contestant(name, theirs.get_node, some, "peer")


def test_single_keys(compare: Compare) -> None:
    """100 nodes, as pymemcache places them; and our own three beside it."""
    nodes, keys = [f"10.0.0.{at}:11211" for at in range(100)], user_keys(CALLS)
    on = Rendezvous(nodes, flavor="pymemcache")
    goals = [] if peers.missing("pymemcache") else [Faster(100, "pymemcache")]
    compare(
        Case(
            f"{CALLS:,} str keys, one at a time, 100 nodes",
            "key",
            [
                contestant("ringleader", on.get_node, keys, "ours"),
                contestant("ringleader, own format", Rendezvous(nodes).get_node, keys, "ours"),
                contestant("ringleader, AnchorHash", AnchorHash(nodes).get_node, keys, "ours"),
                contestant("ringleader, MementoHash", MementoHash(nodes).get_node, keys, "ours"),
                pymemcache(nodes, keys, on),
            ],
            goals,
        )
    )
