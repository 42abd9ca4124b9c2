"""The public types, as a user's type checker sees them.  Checked by mypy --strict, and run."""

from __future__ import annotations

from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from ringleader import HashRing, Node
from ringleader.placement import Locator, RingStats, load_ring

ring = HashRing(["a", Node("b", 2.0, dc="eu", tags={"disk": "nvme"})], vnodes=100, hash="siphash13")
assert_type(ring["key"], str)
assert_type(ring[b"key"], str)
assert_type(ring[42], str)
assert_type(ring[np.int64(42)], str)
assert_type(ring.get_node(memoryview(b"key")), str)
assert_type(ring.get_nodes("key", 2), list[str])
assert_type(ring.lookup(["a", b"b", 3]), NDArray[np.uint32])
assert_type(ring.lookup(np.arange(3), threads=2), NDArray[np.uint32])
assert_type(ring.lookup_replicas(iter(["a"]), 2), NDArray[np.uint32])
assert_type(ring.nodes, tuple[Node, ...])
assert_type(ring.names, tuple[str, ...])
assert_type(ring.stats(), RingStats)
assert_type(ring.copy(), HashRing)
assert_type(HashRing.from_bytes(ring.to_bytes()), HashRing)
assert_type("a" in ring, bool)
assert_type(list(ring), list[str])
assert_type(ring.nodes[0].weight, float)

weighted = HashRing({"a": 1, "b": 2.5})
locator: Locator = weighted
assert_type(locator.lookup(["x"]), NDArray[np.uint32])
loader = load_ring


class Special(HashRing):
    pass


assert_type(Special(["a"]).copy(), Special)

ring.add_node("c")
ring.add_node("d", weight=0.5)
ring.add_node(Node("e"))
ring.set_weight("c", 2)
ring.remove_node("d")


def refused() -> None:
    """What the checker must refuse; never run.  An ignore that is not needed is an error."""
    HashRing(5)  # type: ignore[arg-type]
    ring[1.5]  # type: ignore[index]
    ring.lookup(5)  # type: ignore[arg-type]
