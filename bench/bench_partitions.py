"""Tables of partitions: built, rebalanced after a node joined, and looked up in.

The peer is OpenStack Swift's own ring builder, on the same devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench import peers, yardstick
from bench.cases import scaled, words
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Faster, Within
from ringleader import Node, hashing
from ringleader.placement import Partitions

POWER = scaled(16, 8)
REPLICAS = 3
DEVICES = scaled(100, 10)
ZONES = 5
PER_SERVER = 4
KEYS = scaled(10_000_000, 2_000)
SWIFT = "swift's ring builder"
HOUR = 3600


def device(number: int) -> Node:
    zone = number % ZONES
    server = number // ZONES // PER_SERVER
    return Node(f"d{number:03}", 1.0, "r1", f"z{zone}", f"10.1.{zone}.{server}:6200")


NODES = [device(number) for number in range(DEVICES)]
JOINS = device(DEVICES)


def swift_builder(nodes: list[Node]) -> Any:
    from swift.common.ring.builder import RingBuilder

    builder = RingBuilder(POWER, REPLICAS, 1)
    for node in nodes:
        add_to_swift(builder, node)
    return builder


def add_to_swift(builder: Any, node: Node) -> None:
    builder.add_dev(
        {
            "region": 1,
            "zone": int(node.zone[1:]),
            "ip": node.address.partition(":")[0],
            "port": 6200,
            "device": node.name,
            "weight": 100.0,
        }
    )


def swift_cells(builder: Any) -> np.ndarray:
    return np.array([list(row) for row in builder._replica2part2dev], dtype=np.uint32)


def test_build(compare: Compare) -> None:
    def swift() -> Contestant | Absent:
        if reason := peers.missing("swift"):
            return Absent(SWIFT, reason)

        def build() -> Any:
            builder = swift_builder(NODES)
            builder.rebalance(seed=1)
            return builder

        built = build()
        assert ours().balance <= built.get_balance() + 1e-9
        assert ours().dispersion <= built.dispersion
        return Contestant(SWIFT, build, 1, answers=lambda: swift_cells(build()))

    def ours() -> Partitions:
        return Partitions(POWER, REPLICAS, NODES)

    compare(
        Case(
            f"build 2^{POWER} x {REPLICAS} on {DEVICES} devices",
            "table",
            [
                Contestant("ringleader", ours, 1, "ours", answers=lambda: ours().cells),
                swift(),
            ],
            [AtMost(100e6), Faster(20, SWIFT)],
        )
    )


@pytest.mark.parametrize("change", ["add", "remove"])
def test_rebalance(compare: Compare, change: str) -> None:
    built = Partitions(POWER, REPLICAS, NODES)
    now: dict[str, Any] = {}

    def prepare() -> None:
        now["table"] = table = built.copy()
        if change == "add":
            table.add_node(JOINS)
        else:
            table.remove_node(NODES[0].name)

    def answers() -> np.ndarray:
        prepare()
        report = now["table"].rebalance(HOUR)
        assert report.waiting == 0
        due = REPLICAS * (1 << POWER) / (DEVICES + (change == "add"))
        assert abs(len(report.moves) - due) <= 2
        return now["table"].cells  # type: ignore[no-any-return]

    def swift() -> Contestant | Absent:
        if reason := peers.missing("swift"):
            return Absent(SWIFT, reason)
        state: dict[str, Any] = {}
        first = swift_builder(NODES)
        first.rebalance(seed=1)

        def prepare_swift() -> None:
            from copy import deepcopy

            state["builder"] = builder = deepcopy(first)
            builder.pretend_min_part_hours_passed()
            if change == "add":
                add_to_swift(builder, JOINS)
            else:
                builder.remove_dev(0)

        def answers_of_swift() -> np.ndarray:
            prepare_swift()
            state["builder"].rebalance(seed=2)
            return swift_cells(state["builder"])

        return Contestant(
            SWIFT,
            lambda: state["builder"].rebalance(seed=2),
            1,
            prepare=prepare_swift,
            answers=answers_of_swift,
        )

    compare(
        Case(
            f"{change} a device: 2^{POWER} x {REPLICAS} on {DEVICES}",
            "rebalance",
            [
                Contestant(
                    "ringleader",
                    lambda: now["table"].rebalance(HOUR),
                    1,
                    "ours",
                    prepare=prepare,
                    answers=answers,
                ),
                swift(),
            ],
            [AtMost(100e6), Faster(20, SWIFT)],
        )
    )


def test_lookup(compare: Compare) -> None:
    table = Partitions(POWER, REPLICAS, NODES)
    keys = words(KEYS)
    out = np.empty(len(keys), np.uint32)
    parts = (hashing.xxh3_64_column(keys) >> np.uint64(64 - POWER)).astype(np.intp)
    cells = table.cells
    assert np.array_equal(table.lookup(keys, out), cells[0, parts])
    few = keys[: len(keys) // 4]
    rows = np.empty((len(few), REPLICAS), np.uint32)
    assert np.array_equal(table.lookup_replicas(few, REPLICAS, rows), cells[:, parts[: len(few)]].T)
    compare(
        Case(
            f"{KEYS:,} uint64 keys, 2^{POWER} partitions",
            "key",
            [
                Contestant("ringleader", lambda: table.lookup(keys, out), len(keys), "ours"),
                *yardstick.floors(keys),
                Contestant(
                    f"{REPLICAS} replicas",
                    lambda: table.lookup_replicas(few, REPLICAS, rows),
                    len(few),
                    "ours",
                ),
            ],
            [AtMost(1.7), Within(2, yardstick.WORKS["load"])],
        )
    )
