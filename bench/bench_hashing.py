"""Our hash functions beside xxhash, mmh3, zlib, binascii and hashlib: the digests are the same."""

from __future__ import annotations

import binascii
import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench import peers, yardstick
from bench.cases import SEED, arrow_texts, scaled, texts, words
from bench.harness import Absent, Case, Compare, Contestant
from ringleader import hashing

CALLS = scaled(20_000, 50)
LONG_CALLS = scaled(2_000, 20)
TEXTS = scaled(500_000, 500)
WORDS = scaled(10_000_000, 2_000)


def md5_digest(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def crc_hqx(data: bytes) -> int:
    return binascii.crc_hqx(data, 0)


def xxhash(name: str) -> Callable[[], Callable[[bytes], Any]]:
    def get() -> Callable[[bytes], Any]:
        import xxhash

        return getattr(xxhash, name)  # type: ignore[no-any-return]

    return get


def mmh3(name: str) -> Callable[[], Callable[[bytes], Any]]:
    def get() -> Callable[[bytes], Any]:
        import mmh3

        return getattr(mmh3, name)  # type: ignore[no-any-return]

    return get


@dataclass(frozen=True)
class Function:
    """A hash of ours and the peer with the same digests."""

    ours: Callable[[Any], Any]
    column: Callable[..., np.ndarray]
    peer: str
    needs: tuple[str, ...]
    get: Callable[[], Callable[[bytes], Any]]


FUNCTIONS = {
    "xxh3_64": Function(
        hashing.xxh3_64,
        hashing.xxh3_64_column,
        "xxhash.xxh3_64_intdigest",
        ("xxhash",),
        xxhash("xxh3_64_intdigest"),
    ),
    "xxh64": Function(
        hashing.xxh64,
        hashing.xxh64_column,
        "xxhash.xxh64_intdigest",
        ("xxhash",),
        xxhash("xxh64_intdigest"),
    ),
    "murmur3_x86_32": Function(
        hashing.murmur3_x86_32,
        hashing.murmur3_x86_32_column,
        "mmh3.mmh3_32_uintdigest",
        ("mmh3",),
        mmh3("mmh3_32_uintdigest"),
    ),
    "murmur3_x64_128": Function(
        hashing.murmur3_x64_128,
        hashing.murmur3_x64_128_column,
        "mmh3.mmh3_x64_128_uintdigest",
        ("mmh3",),
        mmh3("mmh3_x64_128_uintdigest"),
    ),
    "md5": Function(hashing.md5, hashing.md5_column, "hashlib.md5", (), lambda: md5_digest),
    "crc32": Function(hashing.crc32, hashing.crc32_column, "zlib.crc32", (), lambda: zlib.crc32),
    "crc16_xmodem": Function(
        hashing.crc16_xmodem,
        hashing.crc16_xmodem_column,
        "binascii.crc_hqx",
        (),
        lambda: crc_hqx,
    ),
}


def loop(
    name: str, function: Callable[[bytes], Any], keys: Sequence[bytes], kind: Any
) -> Contestant:
    return Contestant(
        name,
        peers.call_loop(function, keys),
        len(keys),
        kind,
        answers=lambda: [function(key) for key in keys],
    )


@pytest.mark.parametrize("length", [16, 4_096])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_call(compare: Compare, name: str, length: int) -> None:
    function = FUNCTIONS[name]
    calls = CALLS if length < 1_000 else LONG_CALLS
    data = np.random.default_rng(SEED).bytes(calls * length)
    keys = [data[at : at + length] for at in range(0, len(data), length)]
    rival: Contestant | Absent
    if reason := peers.missing(*function.needs):
        rival = Absent(function.peer, reason)
    else:
        theirs = function.get()
        assert [function.ours(key) for key in keys[:50]] == [theirs(key) for key in keys[:50]]
        rival = loop(function.peer, theirs, keys, "peer")
    compare(
        Case(
            f"{name} of {length:,} bytes, one call",
            "call",
            [loop("ringleader", function.ours, keys, "ours"), rival],
        )
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_column_of_texts(compare: Compare, name: str) -> None:
    """A whole Arrow column against a comprehension over the same texts as bytes."""
    function = FUNCTIONS[name]
    column = arrow_texts(TEXTS)
    keys = [text.encode() for text in texts(TEXTS)]
    out = function.column(column)
    rival: Contestant | Absent
    if reason := peers.missing(*function.needs):
        rival = Absent(f"[{function.peer}(key) ...]", reason)
    else:
        theirs = function.get()
        for row, key in zip(out[:50], keys, strict=False):
            assert plain(row) == plain(theirs(key)), name
        rival = Contestant(
            f"[{function.peer}(key) ...]", lambda: [theirs(key) for key in keys], len(keys)
        )
    compare(
        Case(
            f"{name}_column, Arrow strings of 8-40 bytes",
            "key",
            [
                Contestant(
                    "ringleader", lambda: function.column(column, out=out), len(keys), "ours"
                ),
                rival,
                *polars_hash(name, column),
            ],
        )
    )


def plain(digest: Any) -> Any:
    """A digest as one int, or bytes, however it was packed."""
    if isinstance(digest, np.ndarray):
        if digest.dtype == np.uint8:
            return digest.tobytes()
        return int(digest[0]) | int(digest[1]) << 64
    return digest if isinstance(digest, bytes) else int(digest)


def polars_hash(name: str, column: Any) -> list[Contestant | Absent]:
    """The plugin's expression of the same hash, where it has one in numbers."""
    expression = {"xxh3_64": "xxh3_64", "xxh64": "xxhash64", "murmur3_x86_32": "murmur32"}.get(name)
    if expression is None:
        return []
    if reason := peers.missing("polars", "polars-hash"):
        return [Absent("polars-hash", reason)]
    import polars as pl
    import polars_hash as plh

    frame = pl.DataFrame({"key": pl.Series(column)})
    hashed = getattr(plh.col("key").nchash, expression)()

    def run() -> np.ndarray:
        return frame.select(hashed).to_series().to_numpy()

    assert np.array_equal(run(), FUNCTIONS[name].column(column))
    return [Contestant("polars-hash", run, len(column))]


def test_column_of_words(compare: Compare) -> None:
    keys = words(WORDS)
    out = np.empty(WORDS, np.uint64)
    theirs = np.empty(WORDS, np.uint64)

    def numpy_splitmix() -> np.ndarray:
        theirs[:] = peers.splitmix_column(keys)
        return theirs

    compare(
        Case(
            f"xxh3_64_column, {WORDS:,} uint64",
            "key",
            [
                Contestant(
                    "ringleader", lambda: hashing.xxh3_64_column(keys, out=out), WORDS, "ours"
                ),
                *yardstick.floors(keys)[:2],
                Contestant("NumPy splitmix", numpy_splitmix, WORDS),
            ],
        )
    )
