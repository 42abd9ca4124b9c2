"""Maglev, jump hash and multi-probe hashing: columns of uint64 keys, and building.

The floors are what the memory and the processor allow: for Maglev a hash and one load from a table
of 256 KiB.  C++ implementations of the same algorithms, measured elsewhere on such machines, took
2.2 to 3.0 ns (Maglev), 50 ns (jump hash) and 852 ns (multi-probe) a key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bench import peers, yardstick
from bench.cases import LEVELS, at_level, names, sample, scaled, words
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Goal
from ringleader._reference import hashing as reference
from ringleader._reference import jump as reference_jump
from ringleader.placement import JumpHash, Maglev, MultiProbe

KEYS = scaled(4_000_000, 2_000)
NODES = scaled(1_000, 20)
#: A peer that is called for each key has fewer of them.
SCALAR_KEYS = scaled(100_000, 200)

FORCED = {"avx2": "ringleader, AVX2 forced", "scalar": "ringleader, plain C forced"}


def entry(
    name: str, on: Any, keys: NDArray[np.uint64], level: str, owners: Callable[[Any], list[int]]
) -> Contestant | Absent:
    """A column lookup with the instructions of `level`, its answers checked on a sample."""
    if level not in LEVELS:
        return Absent(name, f"this CPU has no {level}")
    out = np.empty(len(keys), np.uint32)
    turn = at_level(level)
    with turn():
        answers = on.lookup(keys, out)
        positions, chosen = sample(keys)
        assert answers[positions].tolist() == owners(chosen), name
    return Contestant(name, lambda: on.lookup(keys, out), len(keys), "ours", turn=turn)


def ours(
    on: Any, keys: NDArray[np.uint64], owners: Callable[[Any], list[int]]
) -> list[Contestant | Absent]:
    return [
        entry("ringleader", on, keys, LEVELS[-1], owners),
        *(entry(name, on, keys, level, owners) for level, name in FORCED.items()),
    ]


@pytest.mark.parametrize("table_size", [Maglev.SMALL, scaled(Maglev.LARGE, 5003)])
@pytest.mark.parametrize("hash", ["xxh64", "xxh3"])
def test_maglev(compare: Compare, table_size: int, hash: str) -> None:
    keys = words(KEYS)
    maglev = Maglev(names(NODES), table_size=table_size, hash=hash)
    slots = maglev.slots.tolist()
    function = {"xxh64": reference.xxh64, "xxh3": reference.xxh3_64}[hash]

    def owners(chosen: Any) -> list[int]:
        return [slots[function(int(key).to_bytes(8, "little")) % table_size] for key in chosen]

    goals: list[Goal] = [AtMost(1.5)] if table_size == Maglev.SMALL else []
    compare(
        Case(
            f"Maglev, {hash}: {KEYS:,} uint64 keys, {NODES:,} nodes, {table_size:,} slots",
            "key",
            [*ours(maglev, keys, owners), *yardstick.floors(keys)],
            goals,
        )
    )


def test_jump(compare: Compare) -> None:
    keys = words(KEYS)
    jump = JumpHash(NODES)

    def owners(chosen: Any) -> list[int]:
        return [
            reference_jump.bucket(reference.xxh3_64(int(key).to_bytes(8, "little")), NODES)
            for key in chosen
        ]

    compare(
        Case(
            f"JumpHash: {KEYS:,} uint64 keys, {NODES:,} buckets",
            "key",
            [*ours(jump, keys, owners), *yardstick.floors(keys)],
            [AtMost(12)],
        )
    )


def test_jump_one_by_one(compare: Compare) -> None:
    """Values that are hashes already, one at a time: what the package for it offers."""
    values = words(SCALAR_KEYS).tolist()
    jump = JumpHash(NODES)
    bucket = jump.bucket

    def package() -> Contestant | Absent:
        reason = peers.missing("jump-consistent-hash")
        if reason is not None:
            return Absent("jump-consistent-hash", reason)
        from jump import hash as other

        assert [other(value, NODES) for value in values] == [bucket(value) for value in values]
        return Contestant(
            "jump-consistent-hash", lambda: [other(value, NODES) for value in values], len(values)
        )

    column = np.array(values, np.uint64)
    compare(
        Case(
            f"JumpHash.bucket: {SCALAR_KEYS:,} values, {NODES:,} buckets",
            "value",
            [
                Contestant(
                    "ringleader", lambda: [bucket(value) for value in values], len(values), "ours"
                ),
                Contestant(
                    "ringleader, buckets(array)",
                    lambda: jump.buckets(column).tolist(),
                    len(values),
                    "ours",
                ),
                package(),
            ],
        )
    )


def test_multiprobe(compare: Compare) -> None:
    keys = words(KEYS // 4)
    multi = MultiProbe(names(NODES))
    state: Any = multi.table.state
    tokens, positions = state.tokens().tolist(), state.owners().tolist()

    def owners(chosen: Any) -> list[int]:
        from bisect import bisect_left

        from ringleader._reference.placer import rehash

        found = []
        for key in chosen:
            hashed = reference.xxh3_64(int(key).to_bytes(8, "little"))
            probes = [rehash(hashed, turn) for turn in range(multi.probes)]
            places = [bisect_left(tokens, probe) % len(tokens) for probe in probes]
            nearest = min(
                (tokens[place] - probe) % 2**64 for place, probe in zip(places, probes, strict=True)
            )
            found.append(
                next(
                    positions[place]
                    for place, probe in zip(places, probes, strict=True)
                    if (tokens[place] - probe) % 2**64 == nearest
                )
            )
        return found

    compare(
        Case(
            f"MultiProbe, 21 probes: {len(keys):,} uint64 keys, {NODES:,} nodes",
            "key",
            [*ours(multi, keys, owners), *yardstick.floors(keys)],
            [AtMost(60)],
        )
    )


BUILDS: dict[str, tuple[Callable[[list[str]], Any], list[Goal]]] = {
    "Maglev, 65537 slots": (lambda nodes: Maglev(nodes), [AtMost(5e6)]),
    "Maglev, 655373 slots": (lambda nodes: Maglev(nodes, table_size=Maglev.LARGE), []),
    "Maglev, 65537 slots, weights": (
        lambda nodes: Maglev({name: 1 + at % 7 for at, name in enumerate(nodes)}),
        [],
    ),
    "MultiProbe": (lambda nodes: MultiProbe(nodes), []),
}


@pytest.mark.parametrize("what", BUILDS)
def test_build(compare: Compare, what: str) -> None:
    make, goals = BUILDS[what]
    nodes = names(NODES)

    def build() -> int:
        return len(make(nodes).names)

    compare(
        Case(
            f"Building {what}: {NODES:,} names",
            "build",
            [Contestant("ringleader", build, 1, "ours", answers=lambda: np.array([len(nodes)]))],
            goals,
        )
    )
