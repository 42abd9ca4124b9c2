"""Writes partitions.json: what OpenStack Swift's own ring builder makes of some clusters.

Made without ringleader, by the package `swift` 2.38.3 (its ring builder needs little of what it
depends on: `pip install --no-deps swift`, then six, eventlet, PyECLib, xattr, PasteDeploy,
requests, netifaces, lxml).  For each step of each scenario: balance, dispersion, replicas moved.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from swift.common.ring.builder import RingBuilder

POWER = 12

#: name, region, zone, server, weight
Device = tuple[str, int, int, str, float]


def cluster(*zones: tuple[int, int, int, int, float]) -> list[Device]:
    """Zones as (region, zone, servers, devices a server, weight of a device)."""
    return [
        (
            f"r{region}z{zone}s{server}d{device}",
            region,
            zone,
            f"10.{region}.{zone}.{server}",
            weight,
        )
        for region, zone, servers, devices, weight in zones
        for server in range(servers)
        for device in range(devices)
    ]


def scenarios() -> list[dict[str, Any]]:
    """Each with the devices at the start, and steps: devices added, removed, weights changed."""
    one = cluster((1, 1, 100, 1, 100))
    servers = cluster((1, 1, 10, 10, 100))
    three = cluster((1, 1, 5, 4, 100), (1, 2, 5, 4, 100), (1, 3, 5, 4, 100))
    uneven = cluster((1, 1, 5, 4, 100), (1, 2, 3, 4, 100), (1, 3, 2, 2, 100))
    regions = cluster((1, 1, 4, 4, 100), (1, 2, 4, 4, 100), (2, 1, 4, 4, 100), (2, 2, 2, 4, 100))
    lopsided = cluster((1, 1, 6, 4, 100), (2, 1, 3, 4, 50), (3, 1, 1, 4, 80))
    heavy = [
        (name, region, zone, server, weight * (1 + number % 4))
        for number, (name, region, zone, server, weight) in enumerate(three)
    ]
    grow = cluster((1, 4, 5, 4, 100))
    far = cluster((2, 3, 5, 4, 100))
    drawn = random.Random(7)
    churn: list[dict[str, Any]] = []
    there = [device[0] for device in three]
    for number in range(6):
        gone = drawn.sample(there, 2)
        there = [name for name in there if name not in gone]
        new = [(f"new{number}-{i}", 1, drawn.randint(1, 4), f"n{number}", 100.0) for i in range(3)]
        weights = {name: drawn.choice([50.0, 100.0, 150.0]) for name in drawn.sample(there, 4)}
        there += [device[0] for device in new]
        churn.append({"add": new, "remove": gone, "weights": weights})

    def steps(*given: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"add": [], "remove": [], "weights": {}, **step} for step in given]

    still: dict[str, Any] = {}
    return [
        {"name": "one zone", "start": one,
         "steps": steps({"add": grow[:1]}, {"remove": [one[3][0]]})},
        {"name": "servers", "start": servers,
         "steps": steps({"remove": [d[0] for d in servers[:10]]})},
        {"name": "three zones", "start": three, "steps": steps({"add": grow}, still)},
        {"name": "uneven zones", "start": uneven, "steps": steps({"add": grow[:8]}, still)},
        {"name": "uneven zones, overload", "start": uneven, "overload": 0.1,
         "steps": steps({"add": grow[:8]}, still)},
        {"name": "two regions", "start": regions,
         "steps": steps({"weights": {regions[0][0]: 0.0}})},
        {"name": "two regions, overload", "start": regions, "overload": 0.1,
         "steps": steps({"remove": [regions[-1][0], regions[-2][0]]})},
        {"name": "three lopsided regions", "start": lopsided, "steps": steps({"add": far}, still)},
        {"name": "three lopsided regions, overload", "start": lopsided, "overload": 0.1,
         "steps": steps({"add": far}, still)},
        {"name": "much overload", "start": lopsided, "overload": 3.0, "steps": steps({"add": far})},
        {"name": "weights", "start": heavy,
         "steps": steps({"weights": {d[0]: 100.0 for d in heavy[:20]}}, still)},
        {"name": "a second region", "start": three, "steps": steps({"add": far}, still)},
        {"name": "half a replica", "start": three, "replicas": 2.5, "steps": steps({"add": grow})},
        {"name": "five replicas", "start": regions, "replicas": 5, "steps": steps({"add": far})},
        {"name": "churn", "start": three, "steps": churn},
        {"name": "few", "start": cluster((1, 1, 1, 4, 100)),
         "steps": steps({"add": grow[:1]}, {"remove": ["r1z1s0d0"]}, still)},
    ]  # fmt: skip


def swift(scenario: dict[str, Any]) -> list[dict[str, float]]:
    builder = RingBuilder(POWER, scenario.get("replicas", 3), 1)
    builder.set_overload(scenario.get("overload", 0.0))
    ids: dict[str, int] = {}

    def add(devices: list[Device]) -> None:
        for name, region, zone, server, weight in devices:
            ids[name] = builder.add_dev(
                {"region": region, "zone": zone, "ip": server, "port": 6200,
                 "device": name, "weight": weight}
            )  # fmt: skip

    def measured(number: int) -> dict[str, float]:
        builder.pretend_min_part_hours_passed()
        moved, balance, _ = builder.rebalance(seed=number)
        return {"moved": moved, "balance": balance, "dispersion": builder.dispersion}

    add(scenario["start"])
    results = [measured(1)]
    for number, step in enumerate(scenario["steps"], start=2):
        for name in step["remove"]:
            builder.remove_dev(ids[name])
        for name, weight in step["weights"].items():
            builder.set_dev_weight(ids[name], weight)
        add(step["add"])
        results.append(measured(number))
    return results


if __name__ == "__main__":
    made = [{**scenario, "swift": swift(scenario)} for scenario in scenarios()]
    text = json.dumps({"power": POWER, "scenarios": made}, separators=(",", ":"))
    Path(__file__).with_name("partitions.json").write_text(text + "\n")
