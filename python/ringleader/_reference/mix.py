"""A hash and a salt to 64 bits (csrc/mix.h)."""

from __future__ import annotations

MASK = (1 << 64) - 1


def mix(value: int, salt: int) -> int:
    x = (value ^ salt) * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 32
    return x * 0x94D049BB133111EB & MASK


def bucket_salt(bucket: int) -> int:
    return (bucket + 1) * 0x9E3779B97F4A7C15 & MASK


def in_range(x: int, count: int) -> int:
    """floor(x * count / 2**64)"""
    return x * count >> 64
