"""Placement format v1 never changes: golden vectors, made by an independent program."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringleader import HashRing, Node
from ringleader._reference import keys as reference_keys
from ringleader._reference import ring as reference
from ringleader.hashing import HASHES, crc32c
from ringleader.placement.ring import points_of

PATH = Path(__file__).parent.parent / "vectors" / "ring.json"
VECTORS: list[dict[str, Any]] = json.loads(PATH.read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['hash']}-{v['seed']}-{v['vnodes']}")
def test_golden_ring(vector: dict[str, Any]) -> None:
    ring = HashRing(
        vector["weights"], hash=vector["hash"], seed=vector["seed"], vnodes=vector["vnodes"]
    )
    assert ring.point_count == vector["point_count"]
    names = ring.names
    points = [
        [f"{token:016x}", names[owner]]
        for token, owner in zip(ring.tokens.tolist(), ring.token_owners.tolist(), strict=True)
    ]
    assert points[:4] == vector["first_points"]
    assert points[-2:] == vector["last_points"]
    assert f"{crc32c(ring.tokens.astype('<u8').tobytes()):08x}" == vector["tokens_crc32c"]
    keys = [ast.literal_eval(key) for key in vector["owners"]]
    assert [ring[key] for key in keys] == list(vector["owners"].values())
    assert [names[p] for p in ring.lookup(keys)] == list(vector["owners"].values())
    assert ring.to_bytes().hex() == vector["saved"]
    assert HashRing.from_bytes(bytes.fromhex(vector["saved"])) == ring


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['hash']}-{v['seed']}-{v['vnodes']}")
def test_golden_ring_by_the_reference(vector: dict[str, Any]) -> None:
    nodes = tuple(Node(name, vector["weights"][name]) for name in sorted(vector["weights"]))
    counts = [points_of(node, vector["vnodes"]) for node in nodes]
    table = reference.Table(HASHES[vector["hash"]], vector["seed"], 0, nodes, counts)
    assert table.point_count == vector["point_count"]
    keys = [ast.literal_eval(key) for key in vector["owners"]]
    out = np.empty(len(keys), dtype=np.uint32)
    table.lookup(reference_keys.Column(keys), out, 0, len(keys))
    assert [nodes[p].name for p in out] == list(vector["owners"].values())
