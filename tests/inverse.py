"""XXH3 of one word, undone: the int key that has a chosen hash, and names that share theirs.

Of a word w of 8 bytes, XXH3 is a chain of bijections (csrc/xxh3_words.h):

    x = w ^ flip                                  flip follows from the seed
    x = rotl(x, 32) ^ rotl(x, 17) ^ rotl(x, 56)   call it p(x)
    x = x * M;  x = x ^ ((x >> 35) + 8);  x = x * M
    x = x ^ (x >> 28)

M is odd, so it has an inverse modulo 2**64.  A shift leaves the high bits as they are, and from
them the low ones follow; the carry of + 8 ends far below bit 35.  Squared, a sum (xor) of rotations
is the sum of the rotations by twice as much, as products of two different ones come twice; so p^64
is rotl(x, 64 * 32) ^ rotl(x, 64 * 17) ^ rotl(x, 64 * 56) = x ^ x ^ x = x, and p's inverse is p^63 =
p * p^2 * p^4 * p^8 * p^16 * p^32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

M = 0x9FB21C651E98DF25
SECRET = 0x1CAD21F72C81017C ^ 0xDB979083E96DD4DE

# Names of one hash (xxh3, seed 0), the second found by undoing the first's: all their points tie.
COLLIDING = [
    ("node-10450981", "1umnesun"),
    ("node-15135532", "5xra7sv5"),
    ("node-16415296", "wczrbjmx"),
]


def rotl(x: Words, by: int) -> Words:
    return x << np.uint64(by % 64) | x >> np.uint64(-by % 64)


def undo(hashes: Words, seed: int = 0) -> Words:
    """The words whose xxh3 under `seed` is `hashes`."""
    swapped = int.from_bytes((seed % 2**32).to_bytes(4, "little"), "big")
    flip = np.array([(SECRET - (seed ^ swapped << 32)) % 2**64], dtype=np.uint64)
    inverse = np.uint64(pow(M, -1, 2**64))
    x = hashes ^ hashes >> np.uint64(28) ^ hashes >> np.uint64(56)
    x = x * inverse
    x = x ^ (x >> np.uint64(35)) + np.uint64(8)
    x = x * inverse
    for k in range(6):
        x = rotl(x, 32 << k) ^ rotl(x, 17 << k) ^ rotl(x, 56 << k)
    return x ^ rotl(flip, 32)


def around(tokens: Words) -> Words:
    """Every token, its neighbours on both sides, 0 and 2**64 - 1."""
    one = np.uint64(1)
    ends = np.array([0, 2**64 - 1], dtype=np.uint64)
    return np.concatenate([tokens, tokens - one, tokens + one, ends])
