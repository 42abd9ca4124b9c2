"""Hashing gives what the libraries that define it give, on both twins and on every SIMD level."""

import binascii
import hashlib
import json
import random
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import mmh3
import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ringleader import hashing as public
from ringleader._native import hashing as native
from ringleader._native import keys as native_keys
from ringleader._reference import hashing as reference
from ringleader._reference import keys as reference_keys
from ringleader.errors import (
    BuildError,
    KeyEncodingError,
    KeyRangeError,
    KeyTypeError,
    OutputError,
    RingleaderError,
    SettingError,
    SettingTypeError,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hashing.json").read_text("ascii"))
STREAM = hashlib.shake_128(b"ringleader").digest(8192)
RANDOM = random.Random(20260101)
DATA = RANDOM.randbytes(1024 + 16)
SEEDS_64 = [0, 1, 2**32 - 1, 2**64 - 1, RANDOM.getrandbits(64)]
SEEDS_32 = [0, 1, 2**31, 2**32 - 1, RANDOM.getrandbits(32)]
#: The borders of every algorithm: enough for the slow twin.
FEW_SIZES = [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 32, 33, 55, 56, 64, 65, 96, 128, 129, 240, 241, 1024]


@pytest.fixture(params=[native, reference], ids=["native", "reference"])
def hashing(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


@pytest.fixture(autouse=True)
def _level_as_before() -> Iterator[None]:
    before = native.simd()
    yield
    native.simd_force(before)


@pytest.fixture(params=[0, 1, 2], ids=["scalar", "avx2", "avx512"])
def level(request: pytest.FixtureRequest) -> int:
    """The native twin on each level that this CPU has."""
    if request.param > native.simd_supported():
        pytest.skip("this CPU lacks it")
    native.simd_force(request.param)
    return request.param


# --- against the libraries that define the functions ----------------------------------------

ORACLES: dict[str, tuple[Callable[[bytes, int], Any], list[int]]] = {
    "xxh3_64": (lambda data, seed: xxhash.xxh3_64_intdigest(data, seed=seed), SEEDS_64),
    "xxh64": (lambda data, seed: xxhash.xxh64_intdigest(data, seed=seed), SEEDS_64),
    "murmur3_x64_128": (lambda data, seed: mmh3.hash128(data, seed, signed=False), SEEDS_32),
    "murmur3_x86_32": (lambda data, seed: mmh3.hash(data, seed, signed=False), SEEDS_32),
    "crc32": (zlib.crc32, SEEDS_32),
}
UNSEEDED_ORACLES: dict[str, Callable[[bytes], Any]] = {
    "md5": lambda data: hashlib.md5(data).digest(),
    "crc16_xmodem": lambda data: binascii.crc_hqx(data, 0),
}


@pytest.mark.parametrize("name", ORACLES)
def test_every_size_and_seed(name: str, level: int) -> None:
    oracle, seeds = ORACLES[name]
    function = getattr(native, name)
    for size in range(1025):
        data = DATA[:size]
        for seed in seeds:
            assert function(data, seed) == oracle(data, seed), (size, seed)


@pytest.mark.parametrize("name", UNSEEDED_ORACLES)
def test_every_size_unseeded(name: str, level: int) -> None:
    oracle, function = UNSEEDED_ORACLES[name], getattr(native, name)
    for size in range(1025):
        assert function(DATA[:size]) == oracle(DATA[:size]), size


def test_the_reference_on_the_borders() -> None:
    for size in FEW_SIZES:
        data = DATA[:size]
        for name, (oracle, seeds) in ORACLES.items():
            for seed in (0, seeds[-1], seeds[-2]):
                assert getattr(reference, name)(data, seed) == oracle(data, seed), (name, size)
        for name, unseeded in UNSEEDED_ORACLES.items():
            assert getattr(reference, name)(data) == unseeded(data), (name, size)


def test_unaligned(level: int) -> None:
    view = memoryview(DATA)
    for offset in range(16):
        for size in [*range(0, 260, 7), 300, 777, 1024]:
            part = view[offset : offset + size]
            for name, (oracle, seeds) in ORACLES.items():
                seed = seeds[-1]
                assert getattr(native, name)(part, seed) == oracle(bytes(part), seed)
            for name, unseeded in UNSEEDED_ORACLES.items():
                assert getattr(native, name)(part) == unseeded(bytes(part))
            assert native.crc32c(part) == native.crc32c(bytes(part))
            assert native.siphash13(part, bytes(16)) == native.siphash13(bytes(part), bytes(16))


def test_huge(level: int) -> None:
    whole = RANDOM.randbytes(24_000_001)
    view, data = memoryview(whole)[1:], whole[1:]
    for name, (oracle, seeds) in ORACLES.items():
        assert getattr(native, name)(view, seeds[-1]) == oracle(data, seeds[-1])
    for name, unseeded in UNSEEDED_ORACLES.items():
        assert getattr(native, name)(view) == unseeded(data)
    cut = 11_111_113
    assert native.crc32c(view[cut:], native.crc32c(view[:cut])) == native.crc32c(view)
    assert native.xxh3_64(bytearray(data)) == xxhash.xxh3_64_intdigest(data)


def test_crc32c_is_one_on_every_level(level: int) -> None:
    sizes = [*range(1025), *range(3060, 3090), *range(3440, 3470), 6143, 6144, 6145, 7000]
    got = [native.crc32c(STREAM[:size], 7) for size in sizes]
    native.simd_force(0)
    assert got == [native.crc32c(STREAM[:size], 7) for size in sizes]


# --- published vectors ------------------------------------------------------------------------


def test_check_values(hashing: ModuleType) -> None:
    """The check values of the CRC catalogue, of RFC 3720 B.4 and of RFC 1321 A.5."""
    assert hashing.crc16_xmodem(b"123456789") == 0x31C3
    assert hashing.crc32(b"123456789") == 0xCBF43926
    assert hashing.crc32c(b"123456789") == 0xE3069283
    assert hashing.crc32c(bytes(32)) == 0x8A9136AA
    assert hashing.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert hashing.crc32c(bytes(range(32))) == 0x46DD794E
    assert hashing.crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C
    assert hashing.md5(b"").hex() == "d41d8cd98f00b204e9800998ecf8427e"
    assert hashing.md5(b"abc").hex() == "900150983cd24fb0d6963f7d28e17f72"
    digits = b"1234567890" * 8
    assert hashing.md5(digits).hex() == "57edf4a22be3c955ac49da2e2107b67a"


@pytest.mark.parametrize(
    ("key", "slot"), [(b"123456789", 12739), (b"foo", 12182), (b"user1000", 3443)]
)
def test_redis_slots(hashing: ModuleType, key: bytes, slot: int) -> None:
    assert hashing.crc16_xmodem(key) % 16384 == slot


@pytest.mark.parametrize("name", [*ORACLES, "crc32c"])
def test_golden_seeded(hashing: ModuleType, name: str) -> None:
    function = getattr(hashing, name)
    for size, seed, digest in _some(hashing, VECTORS[name]):
        assert function(STREAM[:size], seed) == digest, (size, seed)


def test_golden_unseeded(hashing: ModuleType) -> None:
    for size, digest in _some(hashing, VECTORS["md5"]):
        assert hashing.md5(STREAM[:size]).hex() == digest, size
    for size, digest in _some(hashing, VECTORS["crc16_xmodem"]):
        assert hashing.crc16_xmodem(STREAM[:size]) == digest, size


def test_golden_siphash13(hashing: ModuleType) -> None:
    for size, secret, digest in _some(hashing, VECTORS["siphash13"]):
        assert hashing.siphash13(STREAM[:size], bytes.fromhex(secret)) == digest, (size, secret)


def test_golden_keys(hashing: ModuleType) -> None:
    for kind, key, data, digest in VECTORS["keys"]:
        value = bytes.fromhex(key) if kind == "bytes" else key
        assert hashing.xxh3_64(value) == digest
        assert hashing.xxh3_64(bytes.fromhex(data)) == digest


def _some(hashing: ModuleType, rows: list[list[Any]]) -> list[list[Any]]:
    """All rows for the native twin, the short inputs for the slow one."""
    return rows if hashing is native else [row for row in rows if row[0] <= 257]


def test_siphash13_on_every_level_and_size(level: int) -> None:
    secret = bytes(range(16))
    want = [reference.siphash13(DATA[:size], secret) for size in range(80)]
    assert [native.siphash13(DATA[:size], secret) for size in range(80)] == want


# --- what a key may be ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "data"),
    [
        ("user:1", b"user:1"),
        ("h\xe9llo", b"h\xc3\xa9llo"),
        ("\u043a" * 200, b"\xd0\xba" * 200),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"a1b2c3")[::2], b"abc"),
        (memoryview(b"abcdefgh").cast("I"), b"abcdefgh"),
        (-2, b"\xfe" + b"\xff" * 7),
        (np.int8(-2), b"\xfe" + b"\xff" * 7),
        (np.uint64(2**64 - 2), b"\xfe" + b"\xff" * 7),
    ],
)
def test_keys(hashing: ModuleType, key: Any, data: bytes) -> None:
    secret = b"0123456789abcdef"
    for name in [*ORACLES, *UNSEEDED_ORACLES, "crc32c"]:
        function = getattr(hashing, name)
        assert function(key) == function(data)
    assert hashing.siphash13(key, secret) == hashing.siphash13(data, secret)


def test_seeds_of_any_integer_type(hashing: ModuleType) -> None:
    want = hashing.xxh3_64(b"key", 7)
    assert hashing.xxh3_64(b"key", seed=np.uint8(7)) == want
    assert hashing.siphash13(b"k", bytearray(16)) == hashing.siphash13(b"k", bytes(16))
    assert hashing.siphash13(b"k", memoryview(bytes(32))[::2]) == hashing.siphash13(b"k", bytes(16))


@given(st.binary(max_size=600), st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16))
def test_native_agrees_with_reference(data: bytes, seed: int, secret: bytes) -> None:
    low = seed % 2**32
    assert native.xxh3_64(data, seed) == reference.xxh3_64(data, seed)
    assert native.xxh64(data, seed) == reference.xxh64(data, seed)
    assert native.murmur3_x64_128(data, low) == reference.murmur3_x64_128(data, low)
    assert native.murmur3_x86_32(data, low) == reference.murmur3_x86_32(data, low)
    assert native.siphash13(data, secret) == reference.siphash13(data, secret)
    assert native.md5(data) == reference.md5(data)
    assert native.crc16_xmodem(data) == reference.crc16_xmodem(data)
    assert native.crc32(data, low) == reference.crc32(data, low)
    assert native.crc32c(data, low) == reference.crc32c(data, low)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_crcs_continue(data: bytes, cut: int) -> None:
    for hashing in (native, reference):
        assert hashing.crc32(data[cut:], hashing.crc32(data[:cut])) == zlib.crc32(data)
        assert hashing.crc32c(data[cut:], hashing.crc32c(data[:cut])) == hashing.crc32c(data)


# --- refusals ---------------------------------------------------------------------------------

REFUSED: list[tuple[str, tuple[Any, ...], type[Exception], str]] = [
    ("xxh3_64", (None,), KeyTypeError, "the key is None"),
    ("xxh3_64", (1.5,), KeyTypeError, "the key is float"),
    ("md5", (True,), KeyTypeError, "the key is bool"),
    ("crc32c", (np.float64(1),), KeyTypeError, "the key is"),
    ("crc16_xmodem", (2**64,), KeyRangeError, "outside"),
    ("xxh64", (-(2**63) - 1,), KeyRangeError, "outside"),
    ("md5", ("\udc80",), KeyEncodingError, "lone surrogate"),
    ("md5", ("\udc80" * 1000,), KeyEncodingError, "lone surrogate"),
    ("xxh3_64", (b"", -1), SettingError, r"^seed is an int outside 0 \.\.\. 2\*\*64-1$"),
    ("xxh3_64", (b"", 2**64), SettingError, r"^seed is an int outside 0 \.\.\. 2\*\*64-1$"),
    ("xxh64", (b"", 10**9999), SettingError, r"^seed is an int outside 0 \.\.\. 2\*\*64-1$"),
    ("xxh3_64", (b"", 1.0), SettingTypeError, "^seed is float, but it is an int$"),
    ("xxh3_64", (b"", "1"), SettingTypeError, "^seed is str, but it is an int$"),
    ("xxh64", (b"", True), SettingTypeError, "^seed is bool, but it is an int$"),
    ("xxh64", (b"", None), SettingTypeError, "^seed is NoneType, but it is an int$"),
    ("murmur3_x64_128", (b"", 2**32), SettingError, r"^seed is an int outside 0 .* 2\*\*32-1$"),
    ("murmur3_x86_32", (b"", -1), SettingError, r"^seed is an int outside 0 .* 2\*\*32-1$"),
    ("crc32", (b"", 2**32), SettingError, r"^value is an int outside 0 .* 2\*\*32-1$"),
    ("crc32c", (b"", -1), SettingError, r"^value is an int outside 0 .* 2\*\*32-1$"),
    ("crc32c", (b"", 0.0), SettingTypeError, "^value is float, but it is an int$"),
    ("siphash13", (b"", bytes(15)), SettingError, "^key has 15 bytes, but it has to have 16$"),
    ("siphash13", (b"", "0" * 16), SettingTypeError, "^key is str, but it is bytes,"),
    ("siphash13", (b"", 16), SettingTypeError, "^key is int, but it is bytes,"),
    # The setting is looked at before the key.
    ("xxh3_64", (None, -1), SettingError, "seed"),
]


@pytest.mark.parametrize(("name", "arguments", "error", "message"), REFUSED)
def test_refuses(
    hashing: ModuleType, name: str, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        getattr(hashing, name)(*arguments)
    assert type(caught.value) is error
    assert isinstance(caught.value, RingleaderError)


def test_both_twins_refuse_in_the_same_words() -> None:
    for name, arguments, error, _ in REFUSED:
        with pytest.raises(error) as one:
            getattr(native, name)(*arguments)
        with pytest.raises(error) as two:
            getattr(reference, name)(*arguments)
        # A NumPy scalar's type has two names, numpy.float64 and float64.
        assert str(one.value).replace("numpy.", "") == str(two.value)


# --- columns ----------------------------------------------------------------------------------


def _sizes_mixed(count: int, low: int, high: int) -> list[bytes]:
    return [RANDOM.randbytes(RANDOM.randint(low, high)) for _ in range(count)]


COLUMNS: dict[str, Any] = {
    "empty": [],
    "one": [b"key"],
    "few": _sizes_mixed(63, 0, 300),
    "short": _sizes_mixed(1500, 8, 40),
    "all classes": _sizes_mixed(2200, 0, 300),
    "runs": [bytes([i % 251]) * (i // 100 * 7) for i in range(1300)],
    "one size": _sizes_mixed(1100, 16, 16),
    "late change": _sizes_mixed(500, 16, 16) + _sizes_mixed(540, 1, 40),
    "mixed types": ["text", b"bytes", 7, -7, "\u043a\u043b\u044e\u0447", bytearray(b"x")] * 50,
    "int64": np.frombuffer(RANDOM.randbytes(8 * 1037), dtype=np.int64),
    "uint8": np.arange(256, dtype=np.uint8),
    "int32 strided": np.arange(5000, dtype=np.int32)[::-3],
    "S": np.array(_sizes_mixed(1041, 1, 20), dtype="S20"),
    "U": np.array([f"h\xe9 {i * i}" for i in range(1030)]),
}


def _both_columns(keys: Any) -> tuple[Any, Any]:
    return native_keys.Column(keys), reference_keys.Column(keys)


KINDS = [(0, SEEDS_64[-1], 0), (1, SEEDS_64[-1], 0), (2, SEEDS_32[-1], 0), (3, 5, 2**64 - 3)]
FOREIGN = {"ketama": (4, 0, 0), "crc32": (5, 0, 0), "cassandra": (6, 0, 0), "redis": (7, 0, 0)}


@pytest.mark.parametrize("kind", [*KINDS, *FOREIGN.values()], ids=[*public.HASHES, *FOREIGN])
@pytest.mark.parametrize("keys", COLUMNS.values(), ids=COLUMNS)
def test_hash_column(keys: Any, kind: tuple[int, int, int], level: int) -> None:
    column, slow = _both_columns(keys)
    count = len(column)
    got, want = (np.full(count, 99, np.uint64) for _ in range(2))
    native.hash_column(column, *kind, got, 0, count)
    reference.hash_column(slow, *kind, want, 0, count)
    assert got.tolist() == want.tolist()


DIGEST_COLUMNS: list[tuple[str, tuple[int, ...], Any, int | None]] = [
    ("murmur3_x64_128_column", (77,), np.uint64, 2),
    ("murmur3_x86_32_column", (77,), np.uint32, None),
    ("md5_column", (), np.uint8, 16),
    ("crc16_xmodem_column", (), np.uint16, None),
    ("crc32_column", (77,), np.uint32, None),
    ("crc32c_column", (77,), np.uint32, None),
]


@pytest.mark.parametrize(("name", "setting", "dtype", "width"), DIGEST_COLUMNS)
@pytest.mark.parametrize("keys", COLUMNS.values(), ids=COLUMNS)
def test_digest_columns(
    keys: Any, name: str, setting: tuple[int, ...], dtype: Any, width: int | None
) -> None:
    column, slow = _both_columns(keys)
    count = len(column)
    shape = count if width is None else (count, width)
    want = np.zeros(shape, dtype)
    getattr(reference, name)(slow, *setting, want, 0, count)
    for level in range(native.simd_supported() + 1):
        native.simd_force(level)
        got = np.zeros(shape, dtype)
        getattr(native, name)(column, *setting, got, 0, count)
        assert got.tolist() == want.tolist()


@pytest.mark.parametrize("keys", [COLUMNS["int64"], COLUMNS["short"]], ids=["words", "spans"])
def test_words_and_spans_of_every_count(keys: Any, level: int) -> None:
    """No count leaves an item out or writes one too many."""
    whole = [native.xxh3_64(key, 3) for key in keys[:70]]
    column = native_keys.Column(keys)
    for lo in range(3):
        for hi in range(lo, 70):
            out = np.zeros(72, np.uint64)
            native.hash_column(column, 0, 3, 0, out, lo, hi)
            assert out.tolist() == [0] * lo + whole[lo:hi] + [0] * (72 - hi)


@pytest.mark.parametrize("longest", [20, 40, 100, 250])
def test_mixed_lengths_of_every_count(longest: int, level: int) -> None:
    """Short keys of mixed lengths go another way than others, some at a time."""
    keys = _sizes_mixed(1200, 0, longest)
    want = [xxhash.xxh3_64_intdigest(key, seed=3) for key in keys]
    column = native_keys.Column(np.array([*keys, None], dtype=object)[:-1])
    for hi in [*range(60, 300, 3), 1008, 1023, 1024, 1025, 1087, 1088, 1103, 1104, 1199, 1200]:
        out = np.zeros(1201, np.uint64)
        native.hash_column(column, 0, 3, 0, out, 0, hi)
        assert out.tolist() == want[:hi] + [0] * (1201 - hi)


def _column_of(hashing: ModuleType, keys: Any) -> Any:
    return (native_keys if hashing is native else reference_keys).Column(keys)


@pytest.mark.parametrize(("lo", "hi"), [(-1, 1), (2, 1), (0, 4), (4, 4), (0, 2**40), (-(2**40), 0)])
def test_column_refuses_a_range_outside(hashing: ModuleType, lo: int, hi: int) -> None:
    column = _column_of(hashing, [1, 2, 3])
    with pytest.raises(OutputError, match=r"lies outside a column of 3 keys, or out of 5 items$"):
        hashing.hash_column(column, 0, 0, 0, np.zeros(5, np.uint64), lo, hi)
    with pytest.raises(OutputError, match=r"or out of 2 items$"):
        hashing.hash_column(column, 0, 0, 0, np.zeros(2, np.uint64), 0, 3)


def test_column_refuses_a_wrong_width(hashing: ModuleType) -> None:
    column = _column_of(hashing, [1, 2, 3])
    with pytest.raises(OutputError, match=r"^out has 3 columns, but a digest takes 2$"):
        hashing.murmur3_x64_128_column(column, 0, np.zeros((3, 3), np.uint64), 0, 3)
    with pytest.raises(OutputError, match=r"^out has 15 columns, but a digest takes 16$"):
        hashing.md5_column(column, np.zeros((3, 15), np.uint8), 0, 3)


@pytest.mark.parametrize(
    ("kind", "seed", "seed_hi", "error", "message"),
    [
        (8, 0, 0, SettingError, "^kind 8 is no hash function's number$"),
        (-1, 0, 0, SettingError, "^kind is an int outside"),
        (0.0, 0, 0, SettingTypeError, "^kind is float"),
        (0, 2**64, 0, SettingError, r"^seed is an int outside 0 \.\.\. 2\*\*64-1$"),
        (2, 2**32, 0, SettingError, r"^seed is an int outside 0 \.\.\. 2\*\*32-1$"),
        (3, 0, 2**64, SettingError, r"^seed_hi is an int outside"),
        (3, 0, 1.5, SettingTypeError, "^seed_hi is float"),
    ],
)
def test_hash_column_refuses(
    hashing: ModuleType, kind: Any, seed: Any, seed_hi: Any, error: type[Exception], message: str
) -> None:
    column = _column_of(hashing, [1, 2, 3])
    with pytest.raises(error, match=message):
        hashing.hash_column(column, kind, seed, seed_hi, np.zeros(3, np.uint64), 0, 3)


def test_columns_name_the_bad_key(hashing: ModuleType) -> None:
    column = _column_of(hashing, [*range(1030), None, 4])
    with pytest.raises(KeyTypeError, match=r"^key at position 1030 is None"):
        hashing.hash_column(column, 0, 0, 0, np.zeros(1032, np.uint64), 0, 1032)
    text = _column_of(hashing, np.array(["a", "b\udc80"]))
    with pytest.raises(KeyEncodingError, match=r"^key at position 1 has a lone surrogate"):
        hashing.md5_column(text, np.zeros((2, 16), np.uint8), 0, 2)


# --- the public module ------------------------------------------------------------------------


@pytest.mark.parametrize("keys", COLUMNS.values(), ids=COLUMNS)
def test_public_columns_are_the_single_forms(keys: Any) -> None:
    keys = keys[:40]
    singles = list(keys)
    secret = bytes(range(16))
    assert public.xxh3_64_column(keys, 9).tolist() == [public.xxh3_64(k, 9) for k in singles]
    assert public.xxh64_column(keys, 9).tolist() == [public.xxh64(k, 9) for k in singles]
    assert public.siphash13_column(keys, secret).tolist() == [
        public.siphash13(k, secret) for k in singles
    ]
    assert [low | high << 64 for low, high in public.murmur3_x64_128_column(keys, 9).tolist()] == [
        public.murmur3_x64_128(k, 9) for k in singles
    ]
    assert public.hash_column(keys, "murmur3", 9).tolist() == [
        public.murmur3_x64_128(k, 9) % 2**64 for k in singles
    ]
    assert public.murmur3_x86_32_column(keys, 9).tolist() == [
        public.murmur3_x86_32(k, 9) for k in singles
    ]
    assert [row.tobytes() for row in public.md5_column(keys)] == [public.md5(k) for k in singles]
    assert public.crc16_xmodem_column(keys).tolist() == [public.crc16_xmodem(k) for k in singles]
    assert public.crc32_column(keys, 9).tolist() == [public.crc32(k, 9) for k in singles]
    assert public.crc32c_column(keys, 9).tolist() == [public.crc32c(k, 9) for k in singles]


@pytest.mark.parametrize(
    ("function", "arguments", "dtype", "width"),
    [
        (public.hash_column, (), np.uint64, None),
        (public.xxh3_64_column, (), np.uint64, None),
        (public.xxh64_column, (), np.uint64, None),
        (public.siphash13_column, (bytes(16),), np.uint64, None),
        (public.murmur3_x64_128_column, (), np.uint64, 2),
        (public.murmur3_x86_32_column, (), np.uint32, None),
        (public.md5_column, (), np.uint8, 16),
        (public.crc16_xmodem_column, (), np.uint16, None),
        (public.crc32_column, (), np.uint32, None),
        (public.crc32c_column, (), np.uint32, None),
    ],
)
def test_public_columns_shape_out_and_threads(
    function: Callable[..., Any], arguments: tuple[Any, ...], dtype: Any, width: int | None
) -> None:
    for count in (0, 1, 140_000):
        keys = np.arange(count, dtype=np.int64)
        shape = (count,) if width is None else (count, width)
        want = function(keys, *arguments)
        assert want.dtype == dtype
        assert want.shape == shape
        out = np.zeros(shape, dtype)
        assert function(keys, *arguments, out=out, threads=2) is out
        assert np.array_equal(out, want)


def test_siphash_seed_is_the_secret() -> None:
    secret = RANDOM.randbytes(16)
    seed = int.from_bytes(secret, "little")
    assert public.hash_column([b"key"], "siphash13", seed)[0] == public.siphash13(b"key", secret)


def test_resolve_hash() -> None:
    assert public.resolve_hash("xxh3", 0) == (0, 0, 0)
    assert public.resolve_hash("xxh64", 2**64 - 1) == (1, 2**64 - 1, 0)
    assert public.resolve_hash("murmur3", np.uint32(7)) == (2, 7, 0)
    assert public.resolve_hash("siphash13", 2**128 - 2) == (3, 2**64 - 2, 2**64 - 1)


@pytest.mark.parametrize(
    ("name", "seed", "error", "message"),
    [
        ("sha1", 0, SettingError, "^hash 'sha1' is not one of xxh3, xxh64, murmur3, siphash13$"),
        (b"xxh3", 0, SettingTypeError, "^hash is bytes"),
        ("xxh3", True, SettingTypeError, "^seed is bool"),
        ("xxh3", 0.0, SettingTypeError, "^seed is float"),
        ("xxh3", -1, SettingError, r"2\*\*64-1, which xxh3 takes$"),
        ("xxh64", 2**64, SettingError, r"2\*\*64-1, which xxh64 takes$"),
        ("murmur3", 2**32, SettingError, r"2\*\*32-1, which murmur3 takes$"),
        ("siphash13", 2**128, SettingError, r"2\*\*128-1, which siphash13 takes$"),
    ],
)
def test_resolve_hash_refuses(name: Any, seed: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        public.resolve_hash(name, seed)


@pytest.mark.parametrize(
    ("function", "setting"),
    [
        (public.xxh3_64_column, -1),
        (public.xxh64_column, -1),
        (public.murmur3_x64_128_column, -1),
        (public.murmur3_x86_32_column, -1),
        (public.siphash13_column, b""),
        (public.crc32_column, -1),
        (public.crc32c_column, -1),
    ],
)
def test_public_columns_refuse_settings_even_when_empty(
    function: Callable[..., Any], setting: Any
) -> None:
    with pytest.raises(SettingError):
        function([], setting)


# --- instructions -----------------------------------------------------------------------------


def test_simd_levels(hashing: ModuleType) -> None:
    before = hashing.simd()
    assert 0 <= before <= hashing.simd_supported() <= 2
    hashing.simd_force(0)
    assert hashing.simd() == 0
    for wrong in (-1, hashing.simd_supported() + 1, 2**70):
        with pytest.raises(BuildError, match="is not supported here"):
            hashing.simd_force(wrong)
    with pytest.raises(TypeError):
        hashing.simd_force(1.5)
    hashing.simd_force(before)
    assert hashing.simd() == before
