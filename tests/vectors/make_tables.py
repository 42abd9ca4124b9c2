"""Writes tables.json: golden vectors of JumpHash, Maglev and MultiProbe, and of their saved forms.

Made without ringleader: hashes come from the packages xxhash and mmh3, jump hash from the package
jump-consistent-hash (Python's floats where it is not installed), Maglev's table from the paper's
pseudocode in plain lists, multi-probe distances from big integers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmh3
import xxhash

HASHES: dict[str, tuple[int, Callable[[bytes, int], int]]] = {
    "xxh3": (0, lambda data, seed: xxhash.xxh3_64_intdigest(data, seed)),
    "xxh64": (1, lambda data, seed: xxhash.xxh64_intdigest(data, seed)),
    "murmur3": (2, lambda data, seed: mmh3.hash128(data, seed, signed=False) % 2**64),
}
KEYS: list[str | int] = [
    "", "a", "user:1", "user:42", "naïve", "日本語", "x" * 100, "y" * 300,
    0, 1, -1, 42, 2**63, 2**64 - 1, -(2**63), 10**12,
]  # fmt: skip
ENVOY = [f"127.0.0.1:{port}" for port in range(90, 96)]

MAGLEV: list[dict[str, Any]] = [
    {"hash": "xxh64", "seed": 0, "table_size": 7, "weights": dict.fromkeys(ENVOY, 1.0)},
    {"hash": "xxh64", "seed": 0, "table_size": 17, "weights": {ENVOY[0]: 1.0, ENVOY[1]: 2.0}},
    {"hash": "xxh64", "seed": 0, "table_size": 65537,
     "weights": {f"10.0.0.{i}:80": 1.0 for i in range(100)}},
    {"hash": "xxh3", "seed": 2**64 - 1, "table_size": 5003,
     "weights": {"é": 1.0, "日本": 1.5, "z": 0.1, "off": 0.0}},
    {"hash": "murmur3", "seed": 2**32 - 1, "table_size": 251, "weights": {"a": 3.0, "b": 1.0}},
]  # fmt: skip
PROBES: list[dict[str, Any]] = [
    {"hash": "xxh3", "seed": 0, "probes": 21, "points": 1,
     "weights": {"a": 1.0, "b": 1.0, "c": 1.0}},
    {"hash": "xxh3", "seed": 42, "probes": 21, "points": 1,
     "weights": {f"node-{i}": 1.0 for i in range(100)}},
    {"hash": "xxh64", "seed": 7, "probes": 2, "points": 4,
     "weights": {"é": 0.5, "日本": 1.25, "z": 1.0, "off": 0.0}},
    {"hash": "murmur3", "seed": 0, "probes": 100, "points": 1, "weights": {"a": 3.0, "b": 1.0}},
]  # fmt: skip
JUMPS = [(0, 1), (1, 1), (256, 1024), (0xDEADBEEF, 666), (2**64 - 1, 1000), (2**63, 2**31 - 1),
         (10863919174838991, 11), (12345, 10**6)]  # fmt: skip


def key_bytes(key: str | int) -> bytes:
    return key.encode() if isinstance(key, str) else (key % 2**64).to_bytes(8, "little")


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def saved(kind: int, body: bytes) -> str:
    data = struct.pack("<4sHHQ", b"RLRG", 1, kind, 16 + len(body) + 4) + body
    return (data + struct.pack("<I", crc32c(data))).hex()


def head(hash: str, seed: int) -> bytes:
    return struct.pack("<HH16s", 1, HASHES[hash][0], seed.to_bytes(16, "little"))


def nodes(weights: dict[str, float]) -> bytes:
    body = struct.pack("<I", len(weights))
    for name in sorted(weights):
        body += struct.pack("<H", len(name.encode())) + name.encode()
        body += struct.pack("<d", weights[name]) + bytes(6) + bytes(2)
    return body


def maglev(hash: str, seed: int, table_size: int, weights: dict[str, float]) -> dict[str, Any]:
    function = HASHES[hash][1]
    following = (seed + 1) % (2**32 if hash == "murmur3" else 2**64)
    total = sum(weights.values())
    entries = [
        {
            "name": name,
            "offset": function(name.encode(), seed) % table_size,
            "skip": function(name.encode(), following) % (table_size - 1) + 1,
            "share": weights[name] / total,
            "target": 0.0,
            "next": 0,
        }
        for name in sorted(weights)
        if weights[name] > 0
    ]
    heaviest = max(entry["share"] for entry in entries)
    table: list[str | None] = [None] * table_size
    left, turn = table_size, 0
    while left:
        turn += 1
        for entry in entries:
            if not left or turn * entry["share"] < entry["target"]:
                continue
            entry["target"] += heaviest
            while True:
                slot = (entry["offset"] + entry["next"] * entry["skip"]) % table_size
                entry["next"] += 1
                if table[slot] is None:
                    break
            table[slot] = entry["name"]
            left -= 1
    order = sorted(weights)
    cells = b"".join(order.index(str(name)).to_bytes(4, "little") for name in table)
    return {
        "hash": hash,
        "seed": seed,
        "table_size": table_size,
        "weights": weights,
        "first_slots": table[:17],
        "slots_crc32c": f"{crc32c(cells):08x}",
        "owners": {repr(key): table[function(key_bytes(key), seed) % table_size] for key in KEYS},
        "saved": saved(6, head(hash, seed) + struct.pack("<I", table_size) + nodes(weights)),
    }


def splitmix(state: int) -> int:
    z = state % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def multiprobe(
    hash: str, seed: int, probes: int, points: int, weights: dict[str, float]
) -> dict[str, Any]:
    function = HASHES[hash][1]
    circle = []
    for name, weight in weights.items():
        prefix = function(name.encode(), seed).to_bytes(8, "little")
        for i in range(int(weight * points + 0.5)):
            circle.append((function(prefix + i.to_bytes(8, "little"), seed), name))
    replicas = {}
    for key in KEYS:
        hashed = function(key_bytes(key), seed)
        nearest: dict[str, int] = {}
        for j in range(probes):
            probe = splitmix(hashed + j * 0x9E3779B97F4A7C15)
            for token, name in circle:
                distance = (token - probe) % 2**64
                nearest[name] = min(distance, nearest.get(name, distance))
        replicas[repr(key)] = sorted(nearest, key=lambda name: nearest[name])[:3]
    circle.sort()
    return {
        "hash": hash,
        "seed": seed,
        "probes": probes,
        "points": points,
        "weights": weights,
        "first_points": [[f"{token:016x}", name] for token, name in circle[:4]],
        "replicas": replicas,
        "saved": saved(11, head(hash, seed) + struct.pack("<II", probes, points) + nodes(weights)),
    }


def jump(value: int, count: int) -> int:
    try:
        from jump import hash as package
    except ImportError:
        bucket, following = -1, 0
        while following < count:
            bucket = following
            value = (value * 2862933555777941757 + 1) % 2**64
            following = int((bucket + 1) * (float(2**31) / float((value >> 33) + 1)))
        return bucket
    return int(package(value, count))


def jump_saved() -> list[dict[str, Any]]:
    names = ["b", "é", "a"]  # in the order of their buckets; by name: a, b, é
    plain = head("xxh3", 0) + struct.pack("<IB", 1000, 0)
    named = head("murmur3", 5) + struct.pack("<IB", 3, 1) + nodes(dict.fromkeys(names, 1.0))
    named += struct.pack("<III", 2, 0, 1)
    return [
        {"nodes": 1000, "hash": "xxh3", "seed": 0, "saved": saved(7, plain),
         "owners": {repr(key): str(jump(xxhash.xxh3_64_intdigest(key_bytes(key)), 1000))
                    for key in KEYS}},
        {"nodes": names, "hash": "murmur3", "seed": 5, "saved": saved(7, named),
         "owners": {repr(key): names[jump(HASHES["murmur3"][1](key_bytes(key), 5), 3)]
                    for key in KEYS}},
    ]  # fmt: skip


if __name__ == "__main__":
    vectors = {
        "jump": [[value, count, jump(value, count)] for value, count in JUMPS],
        "jump_saved": jump_saved(),
        "maglev": [maglev(**settings) for settings in MAGLEV],
        "multiprobe": [multiprobe(**settings) for settings in PROBES],
    }
    out = Path(__file__).with_name("tables.json")
    out.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
