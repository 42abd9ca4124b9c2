"""Writes replicas.json: replica sets of rings across datacenters, as Cassandra's driver has them.

Made without ringleader: the sets are those of cassandra-driver's
`NetworkTopologyStrategy.make_token_replica_map` over a ring of Murmur3 tokens, for random
topologies.  The driver's order is not kept (it goes datacenter by datacenter).  A topology is left
out if the driver's list for some token repeats a host, as it does where a host's points are passed
over twice before its datacenter's last rack is met: the server never repeats one.

Run: python make_replicas.py (needs cassandra-driver)
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from cassandra.metadata import Murmur3Token, NetworkTopologyStrategy

TOPOLOGIES = 60


class Host:
    def __init__(self, name: str, dc: str, rack: str) -> None:
        self.name, self.datacenter, self.rack = name, dc, rack


def topology(rng: random.Random) -> dict[str, Any] | None:
    dcs = ["eu", "us", "ap"][: rng.randint(1, 3)]
    hosts = []
    for dc in dcs:
        racks = [f"r{number}" for number in range(rng.randint(1, 4))]
        for number in range(rng.randint(1, 6)):
            hosts.append(Host(f"{dc}-{number}", dc, rng.choice(racks)))
    points = rng.randint(1, 4)
    tokens = sorted({rng.randrange(-(2**63) + 1, 2**63) for _ in range(points * len(hosts))})
    owners = [host for host in hosts for _ in range(points)]
    rng.shuffle(owners)
    policy = {}
    for dc in rng.sample(dcs, rng.randint(1, len(dcs))):
        policy[dc] = rng.randint(1, min(4, sum(host.datacenter == dc for host in hosts)))
    ring = [Murmur3Token(token) for token in tokens]
    strategy = NetworkTopologyStrategy({dc: str(count) for dc, count in policy.items()})
    found = strategy.make_token_replica_map(dict(zip(ring, owners, strict=True)), ring)
    rows = [[host.name for host in found[token]] for token in ring]
    if any(len(set(row)) < sum(policy.values()) for row in rows):
        return None
    return {
        "hosts": {host.name: [host.datacenter, host.rack] for host in hosts},
        "tokens": tokens,
        "owners": [host.name for host in owners],
        "policy": policy,
        "replicas": [sorted(row) for row in rows],
    }


def main() -> None:
    rng = random.Random(20240611)
    made: list[dict[str, Any]] = []
    while len(made) < TOPOLOGIES:
        one = topology(rng)
        if one is not None:
            made.append(one)
    path = Path(__file__).with_name("replicas.json")
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in made)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
