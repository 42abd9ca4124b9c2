"""Balanced rings: how long choosing points takes, and how even they come out."""

from __future__ import annotations

from typing import Any

import pytest

from bench.cases import VNODES, names, ring, scaled
from bench.harness import AtMost, Case, Compare, Contestant
from ringleader import HashRing

NODES = scaled(1_000, 20)
JOINS = "node-that-joins"


def balanced(vnodes: int = VNODES) -> HashRing:
    return HashRing(names(NODES), vnodes=vnodes, placement="balanced")


@pytest.mark.parametrize("vnodes", [16, VNODES])
def test_build(compare: Compare, vnodes: int) -> None:
    most = 1.05 if vnodes == 16 else 1.01
    assert balanced(vnodes).stats().peak_to_mean < most
    compare(
        Case(
            f"build {NODES:,} balanced nodes x {vnodes}",
            "ring",
            [
                Contestant(
                    "ringleader",
                    lambda: balanced(vnodes),
                    1,
                    "ours",
                    answers=lambda: balanced(vnodes).stats().arcs,
                ),
                Contestant(
                    "ringleader, hashed",
                    lambda: HashRing(names(NODES), vnodes=vnodes),
                    1,
                    "floor",
                    answers=lambda: balanced(vnodes).stats().arcs,
                ),
            ],
            [AtMost(1e9 if vnodes == VNODES else 0.1e9)],
        )
    )


@pytest.mark.parametrize("adds", [True, False], ids=["add", "remove"])
def test_change_one_node(compare: Compare, adds: bool) -> None:
    own, floor = balanced(), ring(NODES).copy()

    def contestant(name: str, on: HashRing, kind: Any) -> Contestant:
        fresh = on.copy()
        if not adds:
            fresh.add_node(JOINS)
        state = [fresh.copy()]

        def prepare() -> None:  # a balanced ring does not come back to where it was
            state[0] = fresh.copy()

        def run() -> None:
            if adds:
                state[0].add_node(JOINS)
            else:
                state[0].remove_node(JOINS)

        return Contestant(name, run, 1, kind, prepare=prepare, answers=lambda: list(fresh.names))

    compare(
        Case(
            f"{'add' if adds else 'remove'} one node of {NODES:,} x {VNODES}, balanced",
            "change",
            [
                contestant("ringleader", own, "ours"),
                contestant("ringleader, hashed", floor, "floor"),
            ],
            [AtMost(5e6)],
        )
    )
