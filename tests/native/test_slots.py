"""The native slot table does what its reference does, and both refuse the same."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ringleader._native import hashing as native_hashing
from ringleader._native import keys as native_keys
from ringleader._native import placer as native_placer
from ringleader._native import slots as native
from ringleader._reference import hashing as reference_hashing
from ringleader._reference import keys as reference_keys
from ringleader._reference import placer as reference_placer
from ringleader._reference import slots as reference
from ringleader.errors import SettingError, SettingTypeError
from ringleader.placement.node import Node

NODES = tuple(Node(f"n{at:02}") for at in range(20))
KEYS: list[Any] = [
    "", "{", "}", "{}", "{}a", "a{}", "{a}", "x{a}y", "x{a}{b}", "{{a}}", "}{a}", "{a", "a}",
    *("{" + "t" * size + "}" + "r" * (130 - size) for size in range(0, 130, 7)),
    *("p" * size + "{tag}" for size in range(130)),
    *("p" * size + "{" for size in range(60, 70)),
    *(bytes(range(256))[at : at + size] for at, size in enumerate(range(120))),
    0x7D41007B, -1, 2**64 - 1, "naïve", "日本語",
]  # fmt: skip


def table(seed: int) -> Any:
    """Owners of all slots, of which nodes 3, 4 and 19 have none."""
    some = [at for at in range(19) if at not in (3, 4)]
    return np.random.default_rng(seed).choice(some, 16384).astype(np.uint16)


def test_twins_place_alike(simd: str) -> None:
    owners = table(1)
    one = native_placer.Placer(native.State(owners, 20), NODES)
    two = reference_placer.Placer(reference.State(owners, 20), NODES)
    assert one.live_count == two.live_count == 17
    got, want = (np.empty(len(KEYS), np.uint32) for _ in range(2))
    one.lookup(native_keys.Column(KEYS), got, 0, len(KEYS))
    two.lookup(reference_keys.Column(KEYS), want, 0, len(KEYS))
    assert got.tolist() == want.tolist()
    assert [one.owner(key) for key in KEYS] == want.tolist()
    slots = [reference_hashing.redis_slot(key) for key in KEYS]
    assert want.tolist() == owners[slots].tolist()
    for wanted in (2, 5, 17):
        rows, others = (np.empty((len(KEYS), wanted), np.uint32) for _ in range(2))
        one.lookup_replicas(native_keys.Column(KEYS), rows, 0, len(KEYS))
        two.lookup_replicas(reference_keys.Column(KEYS), others, 0, len(KEYS))
        assert rows.tolist() == others.tolist()
        assert one.walk("k", wanted) == two.walk("k", wanted)


def test_integer_columns_are_their_bytes(simd: str) -> None:
    words = np.random.default_rng(2).integers(0, 2**64, 1500, dtype=np.uint64)
    words[::7] |= np.uint64(0x7D << 48 | 0x7B)
    texts = [int(word).to_bytes(8, "little") for word in words]
    placer = native_placer.Placer(native.State(table(2), 20), NODES)
    got, want = (np.empty(len(words), np.uint32) for _ in range(2))
    placer.lookup(native_keys.Column(words), got, 0, len(words))
    placer.lookup(native_keys.Column(texts), want, 0, len(words))
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize("slots", [native, reference], ids=["native", "reference"])
def test_tables_that_cannot_be(slots: ModuleType) -> None:
    for size in (0, 1, 16383, 16385):
        with pytest.raises(ValueError, match=f"{size} owners"):
            slots.State(np.zeros(size, np.uint16), 1)
    owners = np.zeros(16384, np.uint16)
    owners[9] = 5
    with pytest.raises(ValueError, match="node 5 of 5"):
        slots.State(owners, 5)
    assert slots.State(owners, 6).nbytes > 0


def test_single_values(simd: str) -> None:
    for key in KEYS:
        assert native_hashing.redis_slot(key) == reference_hashing.redis_slot(key)
        assert native_hashing.cassandra_token(key) == reference_hashing.cassandra_token(key)


@pytest.mark.parametrize(
    "hashing", [native_hashing, reference_hashing], ids=["native", "reference"]
)
def test_nginx_points(hashing: ModuleType) -> None:
    out = np.empty(3, np.uint64)
    hashing.nginx_points(native_hashing.crc32("a\0001"), out)
    point, points = b"\0\0\0\0", []
    for _ in range(3):
        points.append(native_hashing.crc32(b"a\0001" + point))
        point = points[-1].to_bytes(4, "little")
    assert (out >> np.uint64(32)).tolist() == points
    assert not (out & np.uint64(0xFFFFFFFF)).any()
    hashing.nginx_points(0, np.empty(0, np.uint64))
    with pytest.raises(SettingError):
        hashing.nginx_points(2**32, out)
    with pytest.raises(SettingTypeError):
        hashing.nginx_points("a", out)
