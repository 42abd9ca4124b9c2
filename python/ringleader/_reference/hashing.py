"""Hash functions and checksums in plain Python, each as its specification describes it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ringleader._reference.keys import key_bytes
from ringleader.errors import BuildError, OutputError, SettingError, SettingTypeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ringleader._reference.keys import Column

MASK32 = 2**32 - 1
MASK64 = 2**64 - 1


def _rotl32(x: int, r: int) -> int:
    return (x << r | x >> (32 - r)) & MASK32


def _rotl64(x: int, r: int) -> int:
    return (x << r | x >> (64 - r)) & MASK64


def _word(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


# --- settings -------------------------------------------------------------------------------


def _setting(name: str, number: Any, bits: int) -> int:
    if isinstance(number, bool):
        raise SettingTypeError(f"{name} is bool, but it is an int")
    try:
        number = operator.index(number)
    except TypeError:
        raise SettingTypeError(f"{name} is {type(number).__name__}, but it is an int") from None
    if not 0 <= number < 2**bits:
        raise SettingError(f"{name} is an int outside 0 ... 2**{bits}-1")
    return int(number)


def _siphash_key(key: Any) -> bytes:
    if not isinstance(key, bytes | bytearray | memoryview):
        raise SettingTypeError(
            f"key is {type(key).__name__}, but it is bytes, bytearray or memoryview"
        )
    data = bytes(key)
    if len(data) != 16:
        raise SettingError(f"key has {len(data)} bytes, but it has to have 16")
    return data


# --- XXH64 and XXH3 (xxHash's doc/xxhash_spec.md) ---------------------------------------------

PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME64_1, PRIME64_2, PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME64_4, PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PRIME_MX1, PRIME_MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25


def _xxh64_avalanche(h: int) -> int:
    h = (h ^ h >> 33) * PRIME64_2 & MASK64
    h = (h ^ h >> 29) * PRIME64_3 & MASK64
    return h ^ h >> 32


def _xxh64_round(acc: int, lane: int) -> int:
    return _rotl64((acc + lane * PRIME64_2) & MASK64, 31) * PRIME64_1 & MASK64


def _xxh64(data: bytes, seed: int) -> int:
    stripes = len(data) // 32
    if stripes:
        acc = [seed + PRIME64_1 + PRIME64_2, seed + PRIME64_2, seed, seed - PRIME64_1]
        for stripe in range(stripes):
            for lane in range(4):
                acc[lane] = _xxh64_round(acc[lane], _word(data, 32 * stripe + 8 * lane))
        h = sum(_rotl64(a, r) for a, r in zip(acc, (1, 7, 12, 18), strict=True))
        for a in acc:
            h = ((h ^ _xxh64_round(0, a)) * PRIME64_1 + PRIME64_4) & MASK64
    else:
        h = seed + PRIME64_5
    h = (h + len(data)) & MASK64
    at = 32 * stripes
    while at + 8 <= len(data):
        h ^= _xxh64_round(0, _word(data, at))
        h = (_rotl64(h, 27) * PRIME64_1 + PRIME64_4) & MASK64
        at += 8
    if at + 4 <= len(data):
        h ^= _word(data, at, 4) * PRIME64_1 & MASK64
        h = (_rotl64(h, 23) * PRIME64_2 + PRIME64_3) & MASK64
        at += 4
    for byte in data[at:]:
        h = _rotl64(h ^ byte * PRIME64_5 & MASK64, 11) * PRIME64_1 & MASK64
    return _xxh64_avalanche(h)


SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)
STRIPES_PER_BLOCK = (len(SECRET) - 64) // 8


def _fold(a: int, b: int) -> int:
    product = (a & MASK64) * (b & MASK64)
    return product & MASK64 ^ product >> 64


def _xxh3_avalanche(h: int) -> int:
    h &= MASK64
    h = (h ^ h >> 37) * PRIME_MX1 & MASK64
    return h ^ h >> 32


def _mix16(data: bytes, at: int, secret_at: int, seed: int) -> int:
    low = _word(data, at) ^ (_word(SECRET, secret_at) + seed) & MASK64
    high = _word(data, at + 8) ^ (_word(SECRET, secret_at + 8) - seed) & MASK64
    return _fold(low, high)


def _xxh3(data: bytes, seed: int) -> int:
    size = len(data)
    if size == 0:
        return _xxh64_avalanche(seed ^ _word(SECRET, 56) ^ _word(SECRET, 64))
    if size <= 3:
        combined = data[0] << 16 | data[size >> 1] << 24 | data[-1] | size << 8
        flip = (_word(SECRET, 0, 4) ^ _word(SECRET, 4, 4)) + seed & MASK64
        return _xxh64_avalanche(combined ^ flip)
    if size <= 8:
        swapped = int.from_bytes((seed & MASK32).to_bytes(4, "little"), "big")
        flip = (_word(SECRET, 8) ^ _word(SECRET, 16)) - (seed ^ swapped << 32) & MASK64
        h = (_word(data, size - 4, 4) + (_word(data, 0, 4) << 32)) ^ flip
        h ^= _rotl64(h, 49) ^ _rotl64(h, 24)
        h = h * PRIME_MX2 & MASK64
        h ^= (h >> 35) + size
        h = h * PRIME_MX2 & MASK64
        return h ^ h >> 28
    if size <= 16:
        low = _word(data, 0) ^ (_word(SECRET, 24) ^ _word(SECRET, 32)) + seed & MASK64
        high = _word(data, size - 8) ^ (_word(SECRET, 40) ^ _word(SECRET, 48)) - seed & MASK64
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return _xxh3_avalanche(size + swapped + high + _fold(low, high))
    if size <= 128:
        h = size * PRIME64_1
        for pair in range((size - 1) // 32 + 1):
            h += _mix16(data, 16 * pair, 32 * pair, seed)
            h += _mix16(data, size - 16 * (pair + 1), 32 * pair + 16, seed)
        return _xxh3_avalanche(h)
    if size <= 240:
        h = size * PRIME64_1
        for step in range(8):
            h += _mix16(data, 16 * step, 16 * step, seed)
        h = _xxh3_avalanche(h)
        for step in range(8, size // 16):
            h += _mix16(data, 16 * step, 16 * (step - 8) + 3, seed)
        h += _mix16(data, size - 16, 136 - 17, seed)
        return _xxh3_avalanche(h)
    return _xxh3_long(data, seed)


def _xxh3_long(data: bytes, seed: int) -> int:
    secret = b"".join(
        ((_word(SECRET, at) + (seed if at % 16 == 0 else -seed)) & MASK64).to_bytes(8, "little")
        for at in range(0, len(SECRET), 8)
    )
    acc = [
        PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1
    ]  # fmt: skip

    def accumulate(at: int, secret_at: int) -> None:
        for lane in range(8):
            value = _word(data, at + 8 * lane)
            key = value ^ _word(secret, secret_at + 8 * lane)
            acc[lane ^ 1] = (acc[lane ^ 1] + value) & MASK64
            acc[lane] = (acc[lane] + (key & MASK32) * (key >> 32)) & MASK64

    for stripe in range((len(data) - 1) // 64):
        step = stripe % STRIPES_PER_BLOCK
        accumulate(64 * stripe, 8 * step)
        if step == STRIPES_PER_BLOCK - 1:
            for lane in range(8):
                key = _word(secret, len(secret) - 64 + 8 * lane)
                acc[lane] = (acc[lane] ^ acc[lane] >> 47 ^ key) * PRIME32_1 & MASK64
    accumulate(len(data) - 64, len(secret) - 64 - 7)

    h = len(data) * PRIME64_1
    for pair in range(4):
        key_at = 11 + 16 * pair
        h += _fold(
            acc[2 * pair] ^ _word(secret, key_at), acc[2 * pair + 1] ^ _word(secret, key_at + 8)
        )
    return _xxh3_avalanche(h)


def xxh3_64(data: Any, seed: int = 0) -> int:
    """XXH3 with 64 bits (Yann Collet, xxHash 0.8); seed 0 ... 2**64-1.

    The fastest of all here on any length, and what rings are built on unless told otherwise.
    """
    seed = _setting("seed", seed, 64)
    return _xxh3(key_bytes(data), seed)


def xxh64(data: Any, seed: int = 0) -> int:
    """XXH64 (Yann Collet); seed 0 ... 2**64-1.  What Envoy hashes with."""
    seed = _setting("seed", seed, 64)
    return _xxh64(key_bytes(data), seed)


# --- MurmurHash3 (Austin Appleby's MurmurHash3.cpp) -------------------------------------------


def _murmur3_mix64(h: int) -> int:
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & MASK64
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & MASK64
    return h ^ h >> 33


def _murmur3_x64_128(data: bytes, seed: int) -> tuple[int, int]:
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        h1 ^= _rotl64(_word(data, at) * c1 & MASK64, 31) * c2 & MASK64
        h1 = ((_rotl64(h1, 27) + h2) * 5 + 0x52DCE729) & MASK64
        h2 ^= _rotl64(_word(data, at + 8) * c2 & MASK64, 33) * c1 & MASK64
        h2 = ((_rotl64(h2, 31) + h1) * 5 + 0x38495AB5) & MASK64
    # An absent lane is zero, and zero changes nothing.
    h2 ^= _rotl64(_word(data, whole + 8) * c2 & MASK64, 33) * c1 & MASK64
    h1 ^= _rotl64(_word(data, whole) * c1 & MASK64, 31) * c2 & MASK64
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK64
    h2 = (h2 + h1) & MASK64
    h1, h2 = _murmur3_mix64(h1), _murmur3_mix64(h2)
    h1 = (h1 + h2) & MASK64
    return h1, (h2 + h1) & MASK64


def _murmur3_x86_32(data: bytes, seed: int) -> int:
    h = seed
    for at in range(0, len(data), 4):
        h ^= _rotl32(_word(data, at, 4) * 0xCC9E2D51 & MASK32, 15) * 0x1B873593 & MASK32
        if at + 4 <= len(data):
            h = (_rotl32(h, 13) * 5 + 0xE6546B64) & MASK32
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & MASK32
    h = (h ^ h >> 13) * 0xC2B2AE35 & MASK32
    return h ^ h >> 16


def murmur3_x64_128(data: Any, seed: int = 0) -> int:
    """MurmurHash3_x64_128 (Austin Appleby); seed 0 ... 2**32-1.

    An int of 128 bits, whose low 64 are the first half of the digest and the high 64 the second.
    Cassandra's partitioner is not this function: it sign-extends the last bytes.
    """
    seed = _setting("seed", seed, 32)
    h1, h2 = _murmur3_x64_128(key_bytes(data), seed)
    return h2 << 64 | h1


def murmur3_x86_32(data: Any, seed: int = 0) -> int:
    """MurmurHash3_x86_32 (Austin Appleby); seed 0 ... 2**32-1."""
    seed = _setting("seed", seed, 32)
    return _murmur3_x86_32(key_bytes(data), seed)


def _cassandra(data: bytes) -> int:
    """The token as org.apache.cassandra.utils.MurmurHash.hash3_x64_128 makes it, by the byte."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    whole = len(data) // 16 * 16
    h1 = h2 = 0
    for at in range(0, whole, 16):
        h1 ^= _rotl64(_word(data, at) * c1 & MASK64, 31) * c2 & MASK64
        h1 = ((_rotl64(h1, 27) + h2) * 5 + 0x52DCE729) & MASK64
        h2 ^= _rotl64(_word(data, at + 8) * c2 & MASK64, 33) * c1 & MASK64
        h2 = ((_rotl64(h2, 31) + h1) * 5 + 0x38495AB5) & MASK64
    lanes = [0, 0]
    for i, byte in enumerate(data[whole:]):
        signed = byte - 256 if byte > 127 else byte
        lanes[i // 8] ^= signed << 8 * (i % 8)
    h2 ^= _rotl64(lanes[1] * c2 & MASK64, 33) * c1 & MASK64
    h1 ^= _rotl64(lanes[0] * c1 & MASK64, 31) * c2 & MASK64
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK64
    h2 = (h2 + h1) & MASK64
    token = (_murmur3_mix64(h1) + _murmur3_mix64(h2)) & MASK64
    token -= token >> 63 << 64
    return token if token > -(2**63) else 2**63 - 1


def cassandra_token(data: Any) -> int:
    """The token of Cassandra's Murmur3Partitioner for a serialized partition key, signed.

    MurmurHash3_x64_128's first half, but for the last `len % 16` bytes, which Cassandra extends as
    signed numbers; -2**63 becomes 2**63 - 1.
    """
    return _cassandra(key_bytes(data))


# --- SipHash-1-3 (Aumasson & Bernstein 2012) ---------------------------------------------------


def _sip_round(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & MASK64
    v[1] = _rotl64(v[1], 13) ^ v[0]
    v[0] = _rotl64(v[0], 32)
    v[2] = (v[2] + v[3]) & MASK64
    v[3] = _rotl64(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & MASK64
    v[3] = _rotl64(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & MASK64
    v[1] = _rotl64(v[1], 17) ^ v[2]
    v[2] = _rotl64(v[2], 32)


def _siphash13(data: bytes, k0: int, k1: int) -> int:
    mask = int.from_bytes(b"somepseudorandomlygeneratedbytes", "big")
    v = [k ^ mask >> 64 * (3 - i) & MASK64 for i, k in enumerate((k0, k1, k0, k1))]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        block = _word(padded, at)
        v[3] ^= block
        _sip_round(v)
        v[0] ^= block
    v[2] ^= 0xFF
    for _ in range(3):
        _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def siphash13(data: Any, key: bytes | bytearray | memoryview) -> int:
    """SipHash-1-3 (Aumasson & Bernstein 2012) under a secret key of 16 bytes.

    For data that others choose: without the key they cannot aim at one node.
    """
    words = _siphash_key(key)
    return _siphash13(key_bytes(data), _word(words, 0), _word(words, 8))


# --- MD5 (RFC 1321) -----------------------------------------------------------------------------

MD5_ROTATIONS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
MD5_CONSTANTS = [int(abs(math.sin(step + 1)) * 2**32) for step in range(64)]


def _md5(data: bytes) -> bytes:
    padded = data + b"\x80" + bytes((55 - len(data)) % 64)
    padded += (8 * len(data) % 2**64).to_bytes(8, "little")
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for at in range(0, len(padded), 64):
        words = [_word(padded, at + 4 * i, 4) for i in range(16)]
        a, b, c, d = state
        for step in range(64):
            if step < 16:
                f, index = b & c | ~b & d, step
            elif step < 32:
                f, index = d & b | ~d & c, 5 * step + 1
            elif step < 48:
                f, index = b ^ c ^ d, 3 * step + 5
            else:
                f, index = c ^ (b | ~d), 7 * step
            total = (a + f + words[index % 16] + MD5_CONSTANTS[step]) & MASK32
            turned = _rotl32(total, MD5_ROTATIONS[step // 16][step % 4])
            a, b, c, d = d, (b + turned) & MASK32, b, c
        state = [(s + x) & MASK32 for s, x in zip(state, (a, b, c, d), strict=True)]
    return b"".join(s.to_bytes(4, "little") for s in state)


def md5(data: Any) -> bytes:
    """MD5 (RFC 1321): the 16 bytes of the digest.  What ketama rings hash with."""
    return _md5(key_bytes(data))


# --- CRC ------------------------------------------------------------------------------------------


def _crc_reflected(data: bytes, value: int, polynomial: int) -> int:
    """Low bit first, inverted before and after."""
    value ^= MASK32
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ polynomial if value & 1 else value >> 1
    return value ^ MASK32


def _crc32(data: bytes, value: int) -> int:
    return _crc_reflected(data, value, 0xEDB88320)


def _crc32c(data: bytes, value: int) -> int:
    return _crc_reflected(data, value, 0x82F63B78)


def _crc16_xmodem(data: bytes) -> int:
    """High bit first, polynomial 0x1021, started at zero, never inverted."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def crc16_xmodem(data: Any) -> int:
    """CRC-16/XMODEM: polynomial 0x1021, high bit first, from 0.  What Redis Cluster hashes with."""
    return _crc16_xmodem(key_bytes(data))


def redis_slot(data: Any) -> int:
    """The slot of Redis Cluster, 0 ... 16383: CRC-16/XMODEM of the key's hash tag, modulo 16384.

    The hash tag is what stands between the first `{` and the next `}`, unless that is nothing;
    a key without one is hashed whole.
    """
    key = key_bytes(data)
    _, opened, rest = key.partition(b"{")
    tag, closed, _ = rest.partition(b"}")
    return _crc16_xmodem(tag if opened and closed and tag else key) % 16384


def crc32(data: Any, value: int = 0) -> int:
    """CRC-32 (ISO 3309, as in zlib); continues from `value`, the CRC of the bytes before.

    What nginx and memcached clients hash with.
    """
    value = _setting("value", value, 32)
    return _crc32(key_bytes(data), value)


def crc32c(data: Any, value: int = 0) -> int:
    """CRC-32C (Castagnoli, RFC 3720); continues from `value`, the CRC of the bytes before.

    The checksum of what ringleader stores and sends.
    """
    value = _setting("value", value, 32)
    return _crc32c(key_bytes(data), value)


def nginx_points(base: int, out: NDArray[np.uint64]) -> None:
    """Fill `out` with nginx's points of a server whose name has the CRC-32 `base`."""
    base = _setting("base", base, 32)
    point = 0
    for i in range(len(out)):
        point = _crc32(point.to_bytes(4, "little"), base)
        out[i] = point << 32


# --- columns --------------------------------------------------------------------------------------


def _fill(
    column: Column,
    digest: Callable[[bytes], Any],
    out: NDArray[Any],
    lo: int,
    hi: int,
) -> None:
    count, items = len(column), len(out)
    if not 0 <= lo <= hi <= min(items, count):
        raise OutputError(
            f"[{lo}, {hi}) lies outside a column of {count} keys, or out of {items} items"
        )
    for index, key in enumerate(column.tolist(lo, hi), lo):
        out[index] = digest(key)


def _check_width(out: NDArray[Any], width: int) -> None:
    if out.shape[1] != width:
        raise OutputError(f"out has {out.shape[1]} columns, but a digest takes {width}")


def hash_column(
    column: Column,
    kind: int,
    seed: int,
    seed_hi: int,
    out: NDArray[np.uint64],
    lo: int,
    hi: int,
) -> None:
    kind = _setting("kind", kind, 32)
    seed = _setting("seed", seed, 32 if kind == 2 else 64)
    seed_hi = _setting("seed_hi", seed_hi, 64)
    digests: list[Callable[[bytes], int]] = [
        lambda data: _xxh3(data, seed),
        lambda data: _xxh64(data, seed),
        lambda data: _murmur3_x64_128(data, seed)[0],
        lambda data: _siphash13(data, seed, seed_hi),
        lambda data: int.from_bytes(_md5(data)[:4], "little") << 32,
        lambda data: _crc32(data, 0) << 32,
        lambda data: _cassandra(data) + 2**63,
        lambda data: redis_slot(data) << 50,
    ]
    if kind >= len(digests):
        raise SettingError(f"kind {kind} is no hash function's number")
    _fill(column, digests[kind], out, lo, hi)


def murmur3_x64_128_column(
    column: Column, seed: int, out: NDArray[np.uint64], lo: int, hi: int
) -> None:
    seed = _setting("seed", seed, 32)
    _check_width(out, 2)
    _fill(column, lambda data: _murmur3_x64_128(data, seed), out, lo, hi)


def murmur3_x86_32_column(
    column: Column, seed: int, out: NDArray[np.uint32], lo: int, hi: int
) -> None:
    seed = _setting("seed", seed, 32)
    _fill(column, lambda data: _murmur3_x86_32(data, seed), out, lo, hi)


def md5_column(column: Column, out: NDArray[np.uint8], lo: int, hi: int) -> None:
    _check_width(out, 16)
    _fill(column, lambda data: list(_md5(data)), out, lo, hi)


def crc16_xmodem_column(column: Column, out: NDArray[np.uint16], lo: int, hi: int) -> None:
    _fill(column, _crc16_xmodem, out, lo, hi)


def redis_slot_column(column: Column, out: NDArray[np.uint16], lo: int, hi: int) -> None:
    _fill(column, redis_slot, out, lo, hi)


def crc32_column(column: Column, value: int, out: NDArray[np.uint32], lo: int, hi: int) -> None:
    value = _setting("value", value, 32)
    _fill(column, lambda data: _crc32(data, value), out, lo, hi)


def crc32c_column(column: Column, value: int, out: NDArray[np.uint32], lo: int, hi: int) -> None:
    value = _setting("value", value, 32)
    _fill(column, lambda data: _crc32c(data, value), out, lo, hi)


# --- instructions ---------------------------------------------------------------------------------


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    level = operator.index(level)
    if level != 0:
        raise BuildError(f"SIMD level {level} is not supported here")
