"""What every suite measures on: rings of n nodes x 160 points, and columns of keys.

`RINGLEADER_BENCH_SMALL=1` shrinks everything, to prove that the suites still run.
"""

from __future__ import annotations

import os
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader import HashRing, kernels
from ringleader._reference import hashing as reference

SMALL = os.environ.get("RINGLEADER_BENCH_SMALL") == "1"
SEED = 20240611
VNODES = 160
TEXT_BYTES_MIN, TEXT_BYTES_MAX = 8, 40
SAMPLE_KEYS = 20 if SMALL else 200

LEVELS = kernels.SIMD_LEVELS[: kernels.SIMD_LEVELS.index(kernels.simd_supported()) + 1]


def scaled(full: int, small: int) -> int:
    """`full`, or `small` when the suites only prove that they run."""
    return small if SMALL else full


def names(count: int) -> list[str]:
    return [f"node-{number}" for number in range(count)]


@cache
def ring(node_count: int) -> HashRing:
    """A ring that nobody changes; `copy()` it to do so."""
    return HashRing(names(node_count), vnodes=VNODES)


@cache
def words(count: int) -> NDArray[np.uint64]:
    return np.random.default_rng(SEED).integers(0, 2**64, count, dtype=np.uint64)


@cache
def arrow_texts(count: int) -> Any:
    """An Arrow string column: random ASCII of 8 to 40 bytes, all lengths alike."""
    import pyarrow as pa

    random_numbers = np.random.default_rng(SEED)
    lengths = random_numbers.integers(TEXT_BYTES_MIN, TEXT_BYTES_MAX + 1, count)
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    data = random_numbers.integers(ord("a"), ord("z") + 1, int(offsets[-1]), dtype=np.uint8)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data))


@cache
def texts(count: int) -> list[str]:
    """The texts of `arrow_texts` as `str`, which lie in memory in the order of the list."""
    return arrow_texts(count).to_pylist()  # type: ignore[no-any-return]


def shuffled(keys: Sequence[Any]) -> list[Any]:
    mixed = list(keys)
    random.Random(SEED).shuffle(mixed)
    return mixed


def user_keys(count: int) -> list[str]:
    """`count` distinct keys in random order, each a `str` object of its own, new in memory."""
    numbers = range(count)
    return [f"user:{number}" for number in shuffled(numbers)]


def fixed_texts(count: int) -> NDArray[np.bytes_]:
    """NumPy `S16`: 16 random ASCII bytes each."""
    letters = np.random.default_rng(SEED).integers(
        ord("a"), ord("z") + 1, 16 * count, dtype=np.uint8
    )
    return letters.view("S16")


def expected_owners(on: HashRing, keys: Iterable[Any]) -> list[int]:
    """The owners' positions, by the plain-Python twin of the hash and the standard library.

    The ring's own tokens are checked against placement format v1 on the way.
    """
    tokens = on.tokens.tolist()
    owners = on.token_owners.tolist()
    count = len(on.nodes)
    for position in {0, count // 2, count - 1}:
        name_hash = reference.xxh3_64(on.names[position])
        for number in (0, VNODES - 1):
            seed = name_hash.to_bytes(8, "little") + number.to_bytes(8, "little")
            at = bisect_left(tokens, reference.xxh3_64(seed))
            assert owners[at] == position, f"point {number} of node {position} is misplaced"
    return [owners[bisect_left(tokens, reference.xxh3_64(key)) % len(tokens)] for key in keys]


def sample(keys: Any) -> tuple[list[int], list[Any]]:
    """Some keys of a column, and where they stand."""
    step = max(1, len(keys) // SAMPLE_KEYS)
    positions = list(range(0, len(keys), step))
    chosen = [keys[at] for at in positions]
    return positions, [key.as_py() if hasattr(key, "as_py") else key for key in chosen]


def verify_owners(on: HashRing, keys: Any, answers: NDArray[np.uint32]) -> None:
    """The answers of a bulk lookup are the reference's, on a sample."""
    positions, chosen = sample(keys)
    assert answers[positions].tolist() == expected_owners(on, chosen)


@contextmanager
def simd(level: str) -> Iterator[None]:
    before = kernels.simd()
    kernels.force_simd(level)
    try:
        yield
    finally:
        kernels.force_simd(before)


def at_level(level: str) -> Callable[[], Any]:
    return lambda: simd(level)


def cpus() -> int:
    """CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
