"""Writes hashing.json, the golden vectors of hashing, from libraries that others wrote.

    pip install xxhash mmh3 crc32c
    python tests/vectors/make_hashing.py

XXH3 and XXH64 come from xxhash, MurmurHash3 from mmh3, MD5 from hashlib, CRC-32 from zlib,
CRC-16/XMODEM from binascii, CRC-32C from crc32c, and SipHash-1-3 from CPython itself: since 3.11
`hash(bytes)` is SipHash-1-3, under a key that PYTHONHASHSEED determines.  Nothing of ringleader
is imported.
"""

import binascii
import hashlib
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import crc32c
import mmh3
import xxhash

# The first `size` bytes of this stream are the input called `size` below.
STREAM = hashlib.shake_128(b"ringleader").digest(8192)

# Around every border of every algorithm: XXH3's length classes, blocks of 4, 8, 16, 32, 64 bytes,
# MD5's padding, XXH3's block of 1024 bytes, CRC-32C's three streams of 128 and of 1024 bytes.
SIZES = [
    *range(34), 39, 40, 41, 47, 48, 55, 56, 57, 63, 64, 65, 79, 80, 95, 96, 97, 112, 119, 120, 127,
    128, 129, 143, 144, 192, 239, 240, 241, 255, 256, 257, 320, 383, 384, 385, 511, 512, 513, 1023,
    1024, 1025, 1087, 1088, 1089, 2048, 2049, 3071, 3072, 3073, 4096, 6200, 8192,
]  # fmt: skip
SEEDS_64 = [0, 1, 2**32 - 1, 2**63, 2**64 - 1, 0x0123456789ABCDEF]
SEEDS_32 = [0, 1, 2**31, 2**32 - 1]
HASH_SEEDS = [0, 1, 20260101, 2**32 - 1]

# One key, in the forms that Python writes it, and the bytes that it stands for.
KEYS = [
    ("str", "user:1", b"user:1"),
    ("str", "", b""),
    ("str", "h\u00e9llo", b"h\xc3\xa9llo"),
    ("str", "\u043a\u043b\u044e\u0447", b"\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87"),
    ("str", "\U0001f511", b"\xf0\x9f\x94\x91"),
    ("bytes", "00ff80", b"\x00\xff\x80"),
    ("int", 0, bytes(8)),
    ("int", 1, b"\x01" + bytes(7)),
    ("int", -1, b"\xff" * 8),
    ("int", 2**63 - 1, b"\xff" * 7 + b"\x7f"),
    ("int", -(2**63), bytes(7) + b"\x80"),
    ("int", 2**64 - 1, b"\xff" * 8),
]


def cpython_secret(hash_seed: int) -> bytes:
    """The SipHash key of PYTHONHASHSEED (lcg_urandom in CPython's Python/bootstrap_hash.c)."""
    if hash_seed == 0:
        return bytes(16)
    state, secret = hash_seed, bytearray()
    for _ in range(16):
        state = (state * 214013 + 2531011) % 2**32
        secret.append(state >> 16 & 0xFF)
    return bytes(secret)


def cpython_siphash13(inputs: list[bytes], hash_seed: int) -> list[int | None]:
    """None where hash() hides the digest: of no bytes it is 0, and -1 is told as -2."""
    if sys.hash_info.algorithm != "siphash13" or sys.byteorder != "little":
        sys.exit("make_hashing.py: this Python does not hash bytes by SipHash-1-3")
    program = "import sys; print(*(hash(bytes.fromhex(line)) for line in sys.stdin))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(data.hex() for data in inputs),
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    digests = [int(word) % 2**64 for word in done.stdout.split()]
    return [
        None if not data or digest == 2**64 - 2 else digest
        for data, digest in zip(inputs, digests, strict=True)
    ]


def main() -> None:
    inputs = [STREAM[:size] for size in SIZES]
    vectors: dict[str, object] = {
        "stream": "SHAKE-128 of the bytes 'ringleader'; an input is its first `size` bytes",
        "xxh3_64": [
            [len(data), seed, xxhash.xxh3_64_intdigest(data, seed=seed)]
            for seed in SEEDS_64
            for data in inputs
        ],
        "xxh64": [
            [len(data), seed, xxhash.xxh64_intdigest(data, seed=seed)]
            for seed in SEEDS_64
            for data in inputs
        ],
        "murmur3_x64_128": [
            [len(data), seed, mmh3.hash128(data, seed, signed=False)]
            for seed in SEEDS_32
            for data in inputs
        ],
        "murmur3_x86_32": [
            [len(data), seed, mmh3.hash(data, seed, signed=False)]
            for seed in SEEDS_32
            for data in inputs
        ],
        "siphash13": [
            [len(data), cpython_secret(hash_seed).hex(), digest]
            for hash_seed in HASH_SEEDS
            for data, digest in zip(inputs, cpython_siphash13(inputs, hash_seed), strict=True)
            if digest is not None
        ],
        "md5": [[len(data), hashlib.md5(data).hexdigest()] for data in inputs],
        "crc16_xmodem": [[len(data), binascii.crc_hqx(data, 0)] for data in inputs],
        "crc32": [
            [len(data), value, zlib.crc32(data, value)] for value in SEEDS_32 for data in inputs
        ],
        "crc32c": [
            [len(data), value, crc32c.crc32c(data, value)] for value in SEEDS_32 for data in inputs
        ],
        "keys": [
            [kind, key, data.hex(), xxhash.xxh3_64_intdigest(data)] for kind, key, data in KEYS
        ],
    }
    parts = []
    for name, rows in vectors.items():
        if isinstance(rows, str):
            parts.append(f"{json.dumps(name)}: {json.dumps(rows)}")
        else:
            lines = ",\n".join(json.dumps(row) for row in rows)
            parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    path = Path(__file__).with_name("hashing.json")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="ascii")


if __name__ == "__main__":
    main()
