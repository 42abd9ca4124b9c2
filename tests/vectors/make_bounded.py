"""Writes bounded.json: golden vectors of bounded assignment version 1 (docs/formats.md).

Made without ringleader: hashes come from the package xxhash, the ring from a sorted list and
bisect, capacities from fractions.
"""

from __future__ import annotations

import bisect
import json
import math
from collections import Counter
from fractions import Fraction
from pathlib import Path

import xxhash

CASES = [
    {"seed": 0, "vnodes": 160, "weights": {"a": "1", "b": "1", "c": "1"}, "c": "1.01", "keys": 200},
    {"seed": 7, "vnodes": 1, "weights": {f"n{i}": "1" for i in range(8)}, "c": "1.25", "keys": 300},
    {"seed": 0, "vnodes": 3, "weights": {"a": "0.1", "b": "0.2", "c": "0", "d": "2.5"}, "c": "1.1",
     "keys": 150},
    {"seed": 0, "vnodes": 2, "weights": {"a": "1", "b": "3", "c": "1"}, "c": "4/3", "keys": 120},
]  # fmt: skip


def keys_of(count: int) -> list[str | int]:
    """Texts, ints, and some of them twice."""
    keys: list[str | int] = [f"user:{i}" if i % 3 else i - 50 for i in range(count)]
    return [*keys, *keys[: count // 10]]


def points_of(weight: str, vnodes: int) -> int:
    return max(1, math.floor(float(weight) * vnodes + 0.5)) if float(weight) else 0


def mix(x: int) -> int:
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 % 2**64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def assign(case: dict, keys: list[str | int]) -> list[str]:  # type: ignore[type-arg]
    def hashed(data: bytes) -> int:
        return xxhash.xxh3_64_intdigest(data, case["seed"])

    weights = case["weights"]
    points = sorted(
        (hashed(hashed(name.encode()).to_bytes(8, "little") + i.to_bytes(8, "little")), name)
        for name in weights
        for i in range(points_of(weights[name], case["vnodes"]))
    )
    tokens = [token for token, _ in points]
    room = {
        name: math.ceil(
            Fraction(case["c"])
            * len(keys)
            * Fraction(weight)
            / sum(map(Fraction, weights.values()))
        )
        for name, weight in weights.items()
    }
    data = [
        key.encode() if isinstance(key, str) else (key % 2**64).to_bytes(8, "little")
        for key in keys
    ]
    starts = [bisect.bisect_left(tokens, hashed(key)) % len(points) for key in data]
    order = sorted(range(len(keys)), key=lambda at: (mix(hashed(data[at])), at))
    held: Counter[str] = Counter()
    found: dict[int, str] = {}
    for at in order:  # own keys first
        owner = points[starts[at]][1]
        if held[owner] < room[owner]:
            held[owner] += 1
            found[at] = owner
    for at in order:
        step = starts[at]
        while at not in found:
            name = points[step % len(points)][1]
            if held[name] < room[name]:
                held[name] += 1
                found[at] = name
            step += 1
    return [found[at] for at in range(len(keys))]


def main() -> None:
    made = []
    for case in CASES:
        keys = keys_of(case["keys"])  # type: ignore[arg-type]
        made.append({**case, "keys": keys, "nodes": assign(case, keys)})
    path = Path(__file__).with_name("bounded.json")
    path.write_text(json.dumps(made, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
