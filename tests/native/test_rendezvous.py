"""The native rendezvous hashing does what its reference does."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader._native import keys as native_keys
from ringleader._native import placer as native_placer
from ringleader._native import rendezvous as native
from ringleader._reference import keys as reference_keys
from ringleader._reference import placer as reference_placer
from ringleader._reference import rendezvous as reference

KEYS = np.random.default_rng(4).integers(0, 2**64, 300, dtype=np.uint64)
SALTS = np.random.default_rng(5).integers(0, 2**64, 5000, dtype=np.uint64)


class Named(NamedTuple):
    name: str


def u32(values: Any) -> np.ndarray:
    return np.array(values, dtype=np.uint32)


def placer(module: ModuleType, state: Any, count: int) -> Any:
    kind = native_placer if module is native else reference_placer
    return kind.Placer(state, tuple(Named(str(i)) for i in range(count)))


def flat(module: ModuleType, weights: Any, salts: Any = None) -> Any:
    weights = np.array(weights, dtype=np.float64)
    count = len(weights)
    salts = SALTS[:count] if salts is None else np.array(salts, dtype=np.uint64)
    targets = u32(np.arange(count)[::-1])
    state = module.State(0, 0, 0, salts, weights, targets, u32([0, count]), 0)
    return placer(module, state, count)


def column(on: Any, keys: Any) -> Any:
    return (native_keys if isinstance(on, native_placer.Placer) else reference_keys).Column(keys)


def owners(on: Any, keys: Any = KEYS) -> list[int]:
    out = np.empty(len(keys), dtype=np.uint32)
    on.lookup(column(on, keys), out, 0, len(keys))
    return out.tolist()


def replicas(on: Any, keys: Any, wanted: int) -> list[list[int]]:
    out = np.empty((len(keys), wanted), dtype=np.uint32)
    on.lookup_replicas(column(on, keys), out, 0, len(keys))
    return out.tolist()


RNG = np.random.default_rng(6)
WEIGHTS = {
    "one": [1.0],
    "two": [1.0, 1.0],
    "two uneven": [1.0, 3.0],
    "seven": [2.5] * 7,
    "eight": [1.0] * 8,
    "nine uneven": [1.0] * 8 + [1.5],
    "hundred": [1.0] * 100,
    "hundred uneven": RNG.uniform(0.1, 10, 100),
    "wide": 10.0 ** RNG.uniform(-6, 6, 60),
    "absurd": [1e-300, 1e300, 1.0, 5e-324, 1.7e308, 1e-310, 1e250, 1e-250],
    "all tiny": [5e-324] * 3 + [1e-323],
    "all huge": [1.7e308, 1.6e308, 1.5e308],
    "absurd and equal": [5e-324] * 12,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_twins_agree(name: str, simd: str) -> None:
    weights = WEIGHTS[name]
    ours, plain = (flat(module, weights) for module in (native, reference))
    assert owners(ours) == owners(plain)
    assert ours.live_count == plain.live_count == len(weights)
    assert ours.nbytes == plain.nbytes
    for wanted in {1, min(2, len(weights)), min(9, len(weights)), len(weights)}:
        assert replicas(ours, KEYS[:40], wanted) == replicas(plain, KEYS[:40], wanted)
    for key in ("user:1", b"x", 7):
        assert ours.owner(key) == plain.owner(key)
        assert ours.walk(key, len(weights)) == plain.walk(key, len(weights))


@given(
    st.lists(st.floats(0, allow_nan=False, allow_infinity=False, exclude_min=True), min_size=1,
             max_size=20),
    st.integers(0, 3),
)  # fmt: skip
@settings(max_examples=80)
def test_any_weights(weights: list[float], equal_salts: int) -> None:
    salts = [5] * equal_salts + SALTS.tolist()
    ours, plain = (flat(m, weights, salts[: len(weights)]) for m in (native, reference))
    assert owners(ours, KEYS[:40]) == owners(plain, KEYS[:40])
    wanted = (len(weights) + 1) // 2
    assert replicas(ours, KEYS[:10], wanted) == replicas(plain, KEYS[:10], wanted)


def test_equal_weights_are_no_weights(simd: str) -> None:
    """Of whatever size, and though one of the two ways never takes a logarithm."""
    wanted = owners(flat(native, [1.0] * 50))
    for weight in (1e-300, 0.1, 3.0, 1e300):
        assert owners(flat(native, [weight] * 50)) == wanted
    # A weight of next to nothing makes the long way of it.
    assert owners(flat(native, [1e-290, *[1.0] * 49]))[:200] == owners(
        flat(reference, [1e-290, *[1.0] * 49]), KEYS[:200]
    )


def test_ties_go_to_the_last(simd: str) -> None:
    for weights in ([1.0] * 20, [2.0] * 19 + [1.0]):
        salts = [7] * 19 + [int(SALTS[0])]
        ours, plain = (flat(module, weights, salts) for module in (native, reference))
        assert owners(ours) == owners(plain)
        assert set(owners(ours)) <= {1, 0}  # targets run backwards
        assert replicas(ours, KEYS[:9], 20) == replicas(plain, KEYS[:9], 20)


def test_blocks_of_any_size(simd: str) -> None:
    for weights in ([1.0] * 33, RNG.uniform(1, 4, 33)):
        on = flat(native, weights)
        wanted = [on.owner(int(key)) for key in KEYS]
        for size in (1, 7, 8, 15, 16, 31, 32, 33, 70, 300):
            assert owners(on, KEYS[:size]) == wanted[:size]


@given(st.integers(0, 2**64 - 1))
def test_exponential_is_one(draw: int) -> None:
    found = native.exponential(draw)
    assert found == reference.exponential(draw)
    if draw < 2**63:
        assert found == pytest.approx(-math.log1p(-draw / 2**64), rel=1e-10)
    if draw:
        assert native.exponential(draw - 1) <= found  # never falls


@pytest.mark.parametrize("ones", range(1, 64))
def test_exponential_never_falls_between_octaves(ones: int) -> None:
    edge = 2**64 - 2 ** (64 - ones)
    times = [native.exponential(edge + i) for i in range(-3, 4) if 0 <= edge + i < 2**64]
    assert times == sorted(times)


def skeleton(module: ModuleType) -> Any:
    """Two inner levels over nine nodes: 0 -> 1, 2; 1 -> 3, 4; 2 -> 5; leaves 3, 4, 5."""
    starts = u32([0, 2, 4, 5, 9, 13, 14])
    targets = u32([1, 2, 3, 4, 5, *range(9)])
    weights = np.array([8.0, 3.0, 4, 4, 3.0, 1, 1, 1, 1, 1, 1, 1, 1, 3.0])
    return module.State(0, 0, 0, SALTS[:14], weights, targets, starts, 3)


def test_skeleton_twins_agree(simd: str) -> None:
    ours, plain = (placer(module, skeleton(module), 9) for module in (native, reference))
    assert owners(ours) == owners(plain)
    assert replicas(ours, KEYS[:50], 5) == replicas(plain, KEYS[:50], 5)
    assert ours.walk("k", 9) == plain.walk("k", 9)
    assert ours.nbytes == plain.nbytes


def test_tables_that_lead_astray_are_refused() -> None:
    one, two = np.ones(1), np.ones(2)
    bad: list[tuple[Any, ...]] = [
        (SALTS[:1], one, u32([0]), u32([0, 2]), 0),
        (SALTS[:1], one, u32([0]), u32([1]), 0),
        (SALTS[:1], one, u32([0]), u32([0, 0, 1]), 0),
        (SALTS[:1], two, u32([0]), u32([0, 1]), 0),
        (SALTS[:1], one, u32([0]), u32([0, 1]), 1),
        (SALTS[:1], np.zeros(1), u32([0]), u32([0, 1]), 0),
        (SALTS[:1], np.array([np.inf]), u32([0]), u32([0, 1]), 0),
        (SALTS[:1], np.array([np.nan]), u32([0]), u32([0, 1]), 0),
        (SALTS[:2], two, u32([0, 0]), u32([0, 2]), 0),
        (SALTS[:2], two, u32([0, 0]), u32([0, 1, 2]), 1),
        (SALTS[:2], two, u32([2, 0]), u32([0, 1, 2]), 1),
    ]
    for module in (native, reference):
        for tables in bad:
            with pytest.raises(ValueError, match=r"groups|length|weight|leads|node"):
                module.State(0, 0, 0, *tables)
        with pytest.raises(ValueError, match="unknown hash kind"):
            module.State(9, 0, 0, SALTS[:1], one, u32([0]), u32([0, 1]), 0)
        with pytest.raises(ValueError, match="unknown hash kind"):
            module.hashes(9, 0, 0, [])


# --- pymemcache ---------------------------------------------------------------------------------


def pymemcache(module: ModuleType, names: list[str], seed: int = 0) -> Any:
    encoded = [name.encode() for name in names]
    state = module.Pymemcache(seed, encoded, u32(np.arange(len(names))))
    return placer(module, state, len(names))


TEXTS = ["", "a", "ab", "abc", "abcd", "abcde", "é", "日本語", "x" * 100, b"\xff\x80\x00", 7, -1]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_pymemcache_twins_agree(seed: int) -> None:
    names = sorted(["a", "bb", "ccc", "dddd", "10.0.0.1:11211", "é", "日本語:1"])
    ours, plain = (pymemcache(module, names, seed) for module in (native, reference))
    assert owners(ours, TEXTS) == owners(plain, TEXTS)
    assert owners(ours, KEYS) == owners(plain, KEYS)
    assert owners(ours, KEYS) == owners(ours, [int(key).to_bytes(8, "little") for key in KEYS])
    for wanted in (1, 2, 7):
        assert replicas(ours, TEXTS, wanted) == replicas(plain, TEXTS, wanted)
        assert replicas(ours, KEYS[:20], wanted) == replicas(plain, KEYS[:20], wanted)
    assert ours.nbytes == plain.nbytes
    for key in TEXTS:
        assert ours.owner(key) == plain.owner(key)
        assert ours.walk(key, 4) == plain.walk(key, 4)


def test_pymemcache_state_is_checked() -> None:
    for module in (native, reference):
        for names, positions in (([], []), ([b"a"], [0, 1]), ([b"a", b"b"], [1, 0])):
            with pytest.raises(ValueError, match="positions"):
                module.Pymemcache(0, names, u32(positions))
    state = native.Pymemcache(0, [b"a"], u32([0]))
    with pytest.raises(TypeError, match="made once"):
        state.__init__(0, [b"a"], u32([0]))


def test_levels() -> None:
    for module in (native, reference):
        assert 0 <= module.simd() <= module.simd_supported()
        with pytest.raises(ValueError, match="not supported"):
            module.simd_force(99)
