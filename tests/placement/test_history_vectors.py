"""Rendezvous, AnchorHash and MementoHash are what independent programs made of their formats."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ringleader import kernels
from ringleader._native import rendezvous as native
from ringleader._reference import rendezvous as reference
from ringleader._reference.mix import mix
from ringleader.placement import AnchorHash, MementoHash, Rendezvous

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "history.json").read_text(encoding="utf-8")
)


def numbered(name: str) -> Any:
    return pytest.mark.parametrize("at", range(len(VECTORS[name])))


@pytest.mark.parametrize("module", [native, reference], ids=["native", "reference"])
def test_exponential(module: ModuleType) -> None:
    for draw, wanted in VECTORS["exponential"]:
        assert module.exponential(int(draw, 16)) == float.fromhex(wanted)


def test_mix() -> None:
    for value, salt, wanted in VECTORS["mix"]:
        assert mix(int(value, 16), int(salt, 16)) == int(wanted, 16)


@numbered("rendezvous")
def test_rendezvous(at: int, simd: str) -> None:
    vector = VECTORS["rendezvous"][at]
    on = Rendezvous(vector["weights"], seed=vector["seed"])
    assert kernels.simd() == simd
    keys = [ast.literal_eval(key) for key in vector["replicas"]]
    wanted = [nodes[0] for nodes in vector["replicas"].values()]
    assert [on.names[position] for position in on.lookup(keys)] == wanted
    for key, nodes in zip(keys, vector["replicas"].values(), strict=True):
        assert on.get_nodes(key, len(nodes)) == nodes
    assert on.to_bytes().hex() == vector["saved"]
    assert Rendezvous.from_bytes(bytes.fromhex(vector["saved"])) == on


@numbered("skeleton")
def test_skeleton(at: int, simd: str) -> None:
    vector = VECTORS["skeleton"][at]
    shape = {"fanout": vector["fanout"], "clusters": vector["clusters"]}
    on = Rendezvous(vector["weights"], skeleton=True, **shape)
    keys = [ast.literal_eval(key) for key in vector["owners"]]
    assert [on.names[p] for p in on.lookup(keys)] == list(vector["owners"].values())
    assert on.to_bytes().hex() == vector["saved"]
    assert Rendezvous.from_bytes(bytes.fromhex(vector["saved"])) == on


@numbered("history")
def test_history(at: int, simd: str) -> None:
    vector = VECTORS["history"][at]
    kind = {"AnchorHash": AnchorHash, "MementoHash": MementoHash}[vector["kind"]]
    on: Any = kind.from_bytes(bytes.fromhex(vector["saved"]))
    assert on.bucket_count == vector["buckets"]
    assert list(on.removed) == vector["removed"]
    keys = [ast.literal_eval(key) for key in vector["owners"]]
    assert [on.names[p] for p in on.lookup(keys)] == list(vector["owners"].values())
    assert [on[key] for key in keys] == list(vector["owners"].values())
    assert on.to_bytes().hex() == vector["saved"]
