"""What the tests of every placer's kernel need: both twins behind the same few functions."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

XXH3, XXH64, MURMUR3, SIPHASH13 = range(4)
TWINS = ("_native", "_reference")

KEYS: list[Any] = ["", "a", "user:1", b"\xff\0", "naïve", "x" * 300, 0, 1, -1, 2**64 - 1, 2**63]


class Named(NamedTuple):
    name: str


def kernel(twin: str, name: str) -> ModuleType:
    return importlib.import_module(f"ringleader.{twin}.{name}")


def placer(twin: str, state: Any, names: Sequence[str]) -> Any:
    return kernel(twin, "placer").Placer(state, tuple(Named(name) for name in names))


def owners(twin: str, on: Any, keys: Any) -> list[int]:
    out = np.empty(len(keys), dtype=np.uint32)
    on.lookup(kernel(twin, "keys").Column(keys), out, 0, len(keys))
    return out.tolist()


def replicas(twin: str, on: Any, keys: Any, wanted: int) -> list[list[int]]:
    out = np.empty((len(keys), wanted), dtype=np.uint32)
    on.lookup_replicas(kernel(twin, "keys").Column(keys), out, 0, len(keys))
    return out.tolist()


def words(count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(7).integers(0, 2**64, count, dtype=np.uint64)
