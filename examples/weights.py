"""Weights: nodes of different sizes, and draining one before it is taken away."""

import numpy as np

from ringleader import HashRing, Node

ring = HashRing(
    [
        Node("small", weight=1, dc="eu"),
        Node("large", weight=4, dc="eu"),
        Node("old", weight=2, dc="us"),
    ],
    vnodes=400,  # more points, evener shares
)
stats = ring.stats()  # exact, not sampled
for name, share, ideal in zip(stats.names, stats.share, stats.ideal, strict=True):
    print(f"{name:6} has {share:.2%} of the key space, is due {ideal:.2%}")

# Drain "old" in steps: each moves only keys that leave it.
keys = np.arange(1_000_000)
for weight in (1.5, 1.0, 0.5, 0.0):
    before = ring.lookup(keys)
    ring.set_weight("old", weight)
    after = ring.lookup(keys)
    moved = before != after
    assert (before[moved] == ring.names.index("old")).all()
    print(f"old at weight {weight}: {moved.mean():.2%} of the keys left it")

ring.remove_node("old")  # it owns nothing any more, so nothing moves
assert ring.lookup([1, 2, 3]).max() < len(ring)
