"""Writes ring.json: golden vectors of placement format v1 and of the saved-ring format v1.

Made without ringleader: hashes come from the packages xxhash and mmh3, the ring from a sorted list
and bisect, the saved bytes from struct, the CRC32C from its bit-by-bit definition.
"""

from __future__ import annotations

import bisect
import json
import struct
from collections.abc import Callable
from pathlib import Path

import mmh3
import xxhash

HASHES: dict[str, tuple[int, Callable[[bytes, int], int]]] = {
    "xxh3": (0, lambda data, seed: xxhash.xxh3_64_intdigest(data, seed)),
    "xxh64": (1, lambda data, seed: xxhash.xxh64_intdigest(data, seed)),
    "murmur3": (2, lambda data, seed: mmh3.hash128(data, seed, signed=False) % 2**64),
}

RINGS = [
    {"hash": "xxh3", "seed": 0, "vnodes": 160, "weights": {"a": 1.0, "b": 1.0, "c": 1.0}},
    {"hash": "xxh3", "seed": 0, "vnodes": 10, "weights": {"node-1": 1.0, "node-2": 0.25,
     "node-3": 2.55, "node-4": 0.0, "node-5": 0.001}},
    {"hash": "xxh3", "seed": 2**64 - 1, "vnodes": 40, "weights": {"é": 1.0, "日本": 1.5, "z": 1.0}},
    {"hash": "xxh64", "seed": 42, "vnodes": 40, "weights": {"a": 1.0, "b": 1.0, "c": 1.0}},
    {"hash": "murmur3", "seed": 42, "vnodes": 40, "weights": {"a": 1.0, "b": 1.0, "c": 1.0}},
    # Two names with one hash: the first 4 points of each are equal.
    {"hash": "xxh3", "seed": 0, "vnodes": 4, "weights": {"node-15135532": 2.0, "5xra7sv5": 1.0,
     "z": 1.0}},
]  # fmt: skip

KEYS: list[str | int] = [
    "", "a", "user:1", "user:42", "naïve", "日本語", "🜁", "x" * 100, "y" * 300,
    0, 1, -1, 42, 2**63, 2**64 - 1, -(2**63), 10**12,
]  # fmt: skip


def key_bytes(key: str | int) -> bytes:
    return key.encode() if isinstance(key, str) else (key % 2**64).to_bytes(8, "little")


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def saved(number: int, seed: int, vnodes: int, weights: dict[str, float]) -> bytes:
    body = struct.pack("<HHI16sI", 1, number, vnodes, seed.to_bytes(16, "little"), len(weights))
    for name in sorted(weights):
        body += struct.pack("<H", len(name.encode())) + name.encode()
        body += struct.pack("<d", weights[name]) + bytes(6) + bytes(2)
    data = struct.pack("<4sHHQ", b"RLRG", 1, 1, 16 + len(body) + 4) + body
    return data + struct.pack("<I", crc32c(data))


def vector(hash: str, seed: int, vnodes: int, weights: dict[str, float]) -> dict[str, object]:
    number, function = HASHES[hash]
    points = []
    for name, weight in weights.items():
        count = max(1, int(weight * vnodes + 0.5)) if weight else 0
        prefix = function(name.encode(), seed).to_bytes(8, "little")
        for i in range(count):
            points.append((function(prefix + i.to_bytes(8, "little"), seed), name))
    points.sort()
    tokens = [token for token, _ in points]
    owners = {}
    for key in KEYS:
        at = bisect.bisect_left(tokens, function(key_bytes(key), seed))
        owners[repr(key)] = points[at % len(points)][1]
    return {
        "hash": hash,
        "seed": seed,
        "vnodes": vnodes,
        "weights": weights,
        "point_count": len(points),
        "first_points": [[f"{token:016x}", name] for token, name in points[:4]],
        "last_points": [[f"{token:016x}", name] for token, name in points[-2:]],
        "tokens_crc32c": f"{crc32c(b''.join(t.to_bytes(8, 'little') for t in tokens)):08x}",
        "owners": owners,
        "saved": saved(number, seed, vnodes, weights).hex(),
    }


if __name__ == "__main__":
    out = Path(__file__).with_name("ring.json")
    out.write_text(
        json.dumps([vector(**ring) for ring in RINGS], indent=1, ensure_ascii=False) + "\n"  # type: ignore[arg-type]
    )
