"""Bounded loads: no worker gets more than c times its share, and few keys leave their owner."""

import numpy as np

from ringleader import HashRing
from ringleader.placement import BoundedKeys, BoundedLoads, assign_bounded

ring = HashRing([f"worker-{number}" for number in range(10)], vnodes=40)

# A whole column at once.
keys = np.arange(1_000_000)
owners, bounded = ring.lookup(keys), assign_bounded(ring, keys, c=1.1)
for name, places in (("plain", owners), ("bounded", bounded)):
    counts = np.bincount(places, minlength=len(ring))
    print(f"{name:8} fullest worker {counts.max() / counts.mean():.3f} times the average")
print(f"{(owners != bounded).mean():.2%} of the keys are not with their owner")

# Requests in flight: take a place, give it back.
loads = BoundedLoads(ring, c=1.1)
in_flight = [loads.acquire("/the/hot/page") for _ in range(50)]
print(f"one hot page on {len(set(in_flight))} workers, at most {max(loads.loads().values())} each")
for name in in_flight:
    loads.release(name)

# Tasks that stay until they are done: what has to move when a worker joins?
tasks = BoundedKeys(ring, c=1.1)
for number in range(1_000):
    tasks.acquire(f"task:{number}")
tasks.moves()  # those of the growth so far
ring.add_node("worker-10")
moves = tasks.rebalance()
joined = sum(move.target == "worker-10" for move in moves)
print(f"{len(moves)} of {len(tasks)} tasks move, {joined} of them to the new worker")
