"""Writes log.json: golden vectors of the block format v1.

Made without ringleader: bytes from struct, the CRC32C from its bit-by-bit definition.
"""

from __future__ import annotations

import json
import struct
from itertools import accumulate
from pathlib import Path

CONTROL = 1 << 63

#: First index, words, payloads.
BLOCKS: list[tuple[int, list[int], list[bytes]]] = [
    (1, [1], [b""]),
    (1, [1, 1, 2], [b"set x 1", b"", b"set y 2"]),
    (7, [3 | CONTROL], [b"\x01"]),
    (100, [3, 3 | CONTROL, 4, 4 | CONTROL, 9], [b"a", b"bb", b"", b"cccc", b"\x00" * 5]),
    (2**62 - 2, [2**62 - 1, (2**62 - 1) | CONTROL], [b"last", b"\xff"]),
    (2**40, list(range(1, 71)), [bytes([i]) * (i % 7) for i in range(70)]),
    (5, [8], [bytes(i * 31 % 256 for i in range(1000))]),
]


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def block(first: int, words: list[int], payloads: list[bytes]) -> bytes:
    flags = 1 if any(word & CONTROL for word in words) else 0
    front = struct.pack("<4sHHQI", b"RLBK", 1, flags, first, len(words))
    rest = struct.pack("<Q", sum(map(len, payloads)))
    rest += struct.pack(f"<{len(words)}Q", *words)
    rest += struct.pack(f"<{len(words)}Q", *accumulate(map(len, payloads)))
    rest += b"".join(payloads)
    return front + struct.pack("<I", crc32c(front + rest)) + rest


def main() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    vectors = [
        {
            "first": first,
            "terms": [word & ~CONTROL for word in words],
            "control": [word & CONTROL != 0 for word in words],
            "payloads": [payload.hex() for payload in payloads],
            "block": block(first, words, payloads).hex(),
        }
        for first, words, payloads in BLOCKS
    ]
    lines = ",\n".join(json.dumps(vector) for vector in vectors)
    path = Path(__file__).with_name("log.json")
    path.write_text(f'{{"blocks": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
