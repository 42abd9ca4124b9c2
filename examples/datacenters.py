"""Replicas across datacenters: so many in each, no two in one zone; who stands in; who is near."""

from collections import Counter

import numpy as np

from ringleader import HashRing, Node, Replicas
from ringleader.errors import PolicyError

ring = HashRing(
    Node(f"{dc}-{zone}{number}", dc=dc, zone=zone)
    for dc in ("eu", "us", "ap")
    for zone in ("a", "b", "c")
    for number in (1, 2)
)
policy = Replicas({"eu": 2, "us": 2, "ap": 1}, spread="zone")
replicas = ring.get_nodes("order:1001", policy)
print("order:1001 is on", ", ".join(replicas))
print("asked by a reader in eu, zone b:", ", ".join(ring.local_first(replicas, "eu", "b")))

# When replicas are down, others stand in, in this order; those of eu for eu, and so on.
handoffs = ring.handoffs("order:1001", policy, limit=policy.total)
print("standing in:", ", ".join(handoffs))

# Whole columns: a row for each key, and the same rows with the nearest replica first.
keys = np.arange(100_000)
rows = ring.lookup_replicas(keys, policy)
nearest = ring.local_first(rows, "us", "a")[:, 0]
zones = Counter(ring.nodes[position].zone for position in nearest.tolist())
print(f"a reader in us, zone a, finds {zones['a'] / len(keys):.0%} of the keys in its own zone")

# In each datacenter, no two replicas of a key share a zone.
place = np.array([f"{node.dc}{node.zone}" for node in ring.nodes])
assert all(len(set(row)) == policy.total for row in place[rows[:1000]].tolist())

# What the nodes cannot give is refused, and says why.
try:
    ring.get_nodes("order:1001", Replicas({"eu": 7, "sa": 1}))
except PolicyError as error:
    print("refused:", error)
