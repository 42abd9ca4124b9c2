"""Writes history.json: golden vectors of rendezvous, AnchorHash and MementoHash formats v1.

Made without ringleader: hashes come from the package xxhash; AnchorHash is written from the paper's
simpler form, in which the working set of each moment is remembered as a list; MementoHash and jump
hash from their papers' pseudocode; the winner of rendezvous hashing is checked with 60 digits.
"""

from __future__ import annotations

import json
import random
import struct
from decimal import Decimal, getcontext
from pathlib import Path

import xxhash

getcontext().prec = 60
M64 = 2**64


def H(data: bytes, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(data, seed)


KEYS: list[str | int] = [
    "", "a", "user:1", "user:42", "naïve", "日本語", "x" * 100, "y" * 300,
    0, 1, -1, 42, 2**63, 2**64 - 1, *range(1000, 1040),
]  # fmt: skip


def key_bytes(key: str | int) -> bytes:
    return key.encode() if isinstance(key, str) else struct.pack("<Q", key % M64)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def framed(kind: int, body: bytes) -> str:
    data = struct.pack("<4sHHQ", b"RLRG", 1, kind, 16 + len(body) + 4) + body
    return (data + struct.pack("<I", crc32c(data))).hex()


def saved_nodes(weights: dict[str, float]) -> bytes:
    out = struct.pack("<I", len(weights))
    for name in sorted(weights):
        out += struct.pack("<H", len(name.encode())) + name.encode()
        out += struct.pack("<d", weights[name]) + bytes(8)
    return out


def mix(value: int, salt: int) -> int:
    x = (value ^ salt) * 0xBF58476D1CE4E5B9 % M64
    x = x ^ x // 2**32
    return x * 0x94D049BB133111EB % M64


# --- rendezvous ---------------------------------------------------------------------------------


def draw_time(draw: int) -> float:
    ones = 64 - (draw ^ (M64 - 1)).bit_length()
    rest = (draw << ones) % M64
    x = rest / M64
    s = x / (2.0 - x)
    q = s * s
    total = 1 / 19
    for n in (17, 15, 13, 11, 9, 7, 5, 3, 1):
        total = total * q + 1 / n
    exact = -(Decimal(M64 - draw) / M64).ln()
    found = ones * 0.6931471805599453 + (s + s) * total
    assert abs(Decimal(found) - exact) <= exact * Decimal("2e-11")
    return found


def best(entries: list[tuple[int, float, object]], value: int) -> list[object]:
    ranked = []
    for at, (salt, weight, what) in enumerate(entries):
        draw = mix(value, salt)
        ranked.append((draw_time(draw) / weight, draw, -at, what))
    return [what for *_, what in sorted(ranked, key=lambda one: one[:3])]


def rendezvous(weights: dict[str, float], seed: int) -> dict[str, object]:
    entries = [(H(n.encode(), seed), w, n) for n, w in sorted(weights.items()) if w > 0]
    return {
        "weights": weights,
        "seed": seed,
        "replicas": {
            repr(key): best(entries, H(key_bytes(key), seed))[:3]
            for key in KEYS  # type: ignore[arg-type]
        },
        "saved": framed(
            8,
            struct.pack("<HHH16sII", 1, 0, 0, struct.pack("<QQ", seed, 0), 0, 1)
            + saved_nodes(weights),
        ),
    }


def skeleton(weights: dict[str, float], fanout: int, clusters: int) -> dict[str, object]:
    levels = 0
    while fanout**levels < clusters:
        levels += 1
    homes: dict[int, list[tuple[int, float, object]]] = {}
    for name in sorted(weights):
        salt = H(name.encode(), 0)
        home = mix(salt, M64 - 1) * clusters // M64
        homes.setdefault(home, []).append((salt, weights[name], name))

    def weight(level: int, number: int) -> float:
        if level == levels:
            total = 0.0
            for _, part, _ in homes.get(number, []):
                total += part
            return total
        return sum(
            (weight(level + 1, number * fanout + digit) for digit in range(fanout)), start=0.0
        )

    def owner(value: int) -> object:
        number = 0
        for level in range(1, levels + 1):
            children = []
            for digit in range(fanout):
                child = number * fanout + digit
                part = weight(level, child)
                if part > 0:
                    children.append((H(struct.pack("<QQ", level, child), 0), part, child))
            number = best(children, value)[0]  # type: ignore[assignment]
        return best(homes[number], value)[0]

    return {
        "weights": weights,
        "fanout": fanout,
        "clusters": clusters,
        "owners": {repr(key): owner(H(key_bytes(key), 0)) for key in KEYS},
        "saved": framed(
            8,
            struct.pack("<HHH16sII", 1, 0, 0, bytes(16), fanout, clusters) + saved_nodes(weights),
        ),
    }


# --- AnchorHash and MementoHash -----------------------------------------------------------------


def step(value: int, bucket: int, count: int) -> int:
    return mix(value, (bucket + 1) * 0x9E3779B97F4A7C15 % M64) * count // M64


def anchor_owner(value: int, capacity: int, removed: list[int]) -> int:
    """Every moment's working set as a list: who left is replaced by its last."""
    sets = {}  # bucket -> the working set right after its removal
    current = list(range(capacity))
    for bucket in removed:
        last = current.pop()
        if last != bucket:
            current[current.index(bucket)] = last
        sets[bucket] = list(current)
    bucket = value * capacity // M64
    while bucket in sets:
        bucket = sets[bucket][step(value, bucket, len(sets[bucket]))]
    return bucket


def jump(value: int, count: int) -> int:
    bucket, following = -1, 0
    while following < count:
        bucket = following
        value = (value * 2862933555777941757 + 1) % M64
        following = int((bucket + 1) * (2.0**31 / ((value >> 33) + 1)))
    return bucket


def memento_owner(value: int, count: int, removed: list[int]) -> int:
    replaced = {bucket: count - at - 1 for at, bucket in enumerate(removed)}
    bucket = jump(value, count)
    while bucket in replaced:
        size = replaced[bucket]
        target = step(value, bucket, size)
        while replaced.get(target, -1) >= size:
            target = replaced[target]
        bucket = target
    return bucket


def history(kind: str, count: int, removed: list[int]) -> dict[str, object]:
    owner = anchor_owner if kind == "AnchorHash" else memento_owner
    standing = [bucket for bucket in range(count) if bucket not in removed]
    names = {bucket: f"n{bucket:03}" for bucket in standing}
    body = struct.pack("<HH16s", 1, 0, bytes(16)) + saved_nodes(dict.fromkeys(names.values(), 1.0))
    body += struct.pack(f"<II{count}I", count, len(removed), *removed, *standing)
    return {
        "kind": kind,
        "buckets": count,
        "removed": removed,
        "owners": {repr(key): names[owner(H(key_bytes(key), 0), count, removed)] for key in KEYS},
        "saved": framed(9 if kind == "AnchorHash" else 10, body),
    }


if __name__ == "__main__":
    rng = random.Random(7)
    some = [rng.sample(range(50), 30), rng.sample(range(200), 199)]
    vectors = {
        "mix": [
            [f"{v:016x}", f"{s:016x}", f"{mix(v, s):016x}"]
            for v, s in [(0, 0), (1, 0), (0, 1), (M64 - 1, 1), (0x0123456789ABCDEF, 42)]
        ],
        "exponential": [
            [f"{draw:016x}", draw_time(draw).hex()]
            for draw in [
                0, 1, 2**32, 2**60 + 12345, 2**63 - 1, 2**63, 2**63 + 1, 3 * 2**62, M64 - 2**20,
                M64 - 1, *(rng.getrandbits(64) for _ in range(20)),
            ]
        ],
        "rendezvous": [
            rendezvous(dict.fromkeys(["a", "b", "c", "d"], 1.0), 0),
            rendezvous({"a": 1.0, "b": 2.5, "c": 0.0, "d": 0.01, "é": 100.0}, 2**64 - 1),
            rendezvous({f"node-{i}": 1.0 + i % 3 for i in range(100)}, 5),
        ],
        "skeleton": [
            skeleton({f"node-{i}": 1.0 for i in range(40)}, 4, 16),
            skeleton({f"node-{i}": 0.5 + i % 5 for i in range(60)}, 2, 32),
        ],
        "history": [
            history(kind, count, removed)
            for kind in ("AnchorHash", "MementoHash")
            for count, removed in [(5, []), (5, [1]), (50, some[0]), (200, some[1])]
        ],
    }  # fmt: skip
    out = Path(__file__).with_name("history.json")
    out.write_text(json.dumps(vectors, indent=1, ensure_ascii=False) + "\n")
