"""Maglev: filling, the modulus without a division, and the line from keys to owners."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placers import KEYS, MURMUR3, SIPHASH13, XXH3, XXH64, owners, placer, replicas, words

from ringleader._native import maglev as native
from ringleader._reference import maglev as reference
from ringleader.hashing import xxh64_column

PRIMES = [2, 3, 5, 7, 251, 5003, 65_537]
LARGE_PRIMES = [655_373, 4_194_301]


def both(
    weights: list[float], slot_count: int, kind: int = XXH64, seed: int = 0
) -> tuple[Any, Any]:
    names = tuple(f"node-{number}" for number in range(len(weights)))
    given = np.array(weights, dtype=np.float64)
    shares = given / given.sum()
    return tuple(
        module.State(kind, seed, 0, seed + 1, 0, slot_count, names, shares)
        for module in (native, reference)
    )  # type: ignore[return-value]


@pytest.mark.parametrize("slot_count", [2, 3, 7, 251, 5003])
@pytest.mark.parametrize("weights", [[1], [1, 1], [1] * 7, [1, 0, 3], [0, 0.1, 100, 7], [5] * 200])
def test_twins_fill_alike(weights: list[float], slot_count: int) -> None:
    if sum(weight > 0 for weight in weights) > slot_count:
        pytest.skip("more nodes than slots")
    one, two = both(weights, slot_count)
    assert one.slots().tolist() == two.slots().tolist()
    assert one.counts().tolist() == two.counts().tolist()
    assert one.counts().sum() == slot_count


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(1e-300, 1e3), st.integers(1, 9)), min_size=1),
    st.sampled_from([101, 251]),
    st.integers(0, 2**64 - 2),
)
@settings(max_examples=150)
def test_twins_fill_alike_at_any_weight(weights: list[float], slots: int, seed: int) -> None:
    weights = [max(weight, 1e-300) if weight else 0.0 for weight in weights][:60]
    if not any(weights):
        weights.append(1.0)
    one, two = both(weights, slots, XXH3, seed)
    assert one.slots().tolist() == two.slots().tolist()


def test_equal_weights_are_even() -> None:
    counts = both([2.5] * 100, 65_537)[0].counts()
    assert counts.max() - counts.min() == 1


def test_weights_are_kept() -> None:
    counts = both([1, 2, 3, 4], 65_537)[0].counts()
    assert np.abs(counts / 65_537 - np.array([0.1, 0.2, 0.3, 0.4])).max() < 2 / 65_537


@cache
def state_of_three(slot_count: int) -> tuple[Any, list[str]]:
    names = ["a", "b", "c"][: min(3, slot_count)]
    shares = np.full(len(names), 1 / len(names))
    return native.State(XXH64, 0, 0, 1, 0, slot_count, tuple(names), shares), names


@pytest.mark.parametrize("slot_count", PRIMES + LARGE_PRIMES)
def test_the_modulus_is_exact(simd: str, slot_count: int) -> None:
    """Around every kind of multiple, where a rounded quotient would be off by one."""
    rng = np.random.default_rng(1)
    multiples = [int(at) * slot_count for at in rng.integers(0, 2**64 // slot_count, 3000)]
    top = 2**64 // slot_count * slot_count
    near = [
        at + by
        for at in [0, slot_count, top, top - slot_count, 2**32, 2**53, 2**63, *multiples]
        for by in (-2, -1, 0, 1, 2)
    ]
    hashes = [value % 2**64 for value in [*near, 2**64 - 1, *words(2000).tolist()]]
    state, names = state_of_three(slot_count)
    assert [state.slot(value) for value in hashes] == [value % slot_count for value in hashes]
    # The vectors of a lookup hash the words themselves: check them against slots one by one.
    keys = words(5003)
    slots = state.slots()
    expected = slots[(xxh64_column(keys) % np.uint64(slot_count)).astype(np.int64)]
    assert owners("_native", placer("_native", state, names), keys) == expected.tolist()


@pytest.mark.parametrize("kind", [XXH3, XXH64, MURMUR3, SIPHASH13])
@pytest.mark.parametrize("slot_count", [7, 1009, 65_537])
def test_twins_look_up_alike(simd: str, kind: int, slot_count: int) -> None:
    one, two = both([1, 2, 0, 1, 1], slot_count, kind, 9)
    names = [f"node-{number}" for number in range(5)]
    first, second = placer("_native", one, names), placer("_reference", two, names)
    for keys in (KEYS, words(4), words(701), words(300)[::3]):
        assert owners("_native", first, keys) == owners("_reference", second, keys)
        for wanted in (1, 2, 4):
            assert replicas("_native", first, keys, wanted) == replicas(
                "_reference", second, keys, wanted
            )


def test_tables_of_more_nodes_than_16_bits_count(simd: str) -> None:
    count = 65_537
    names = tuple(f"n{number}" for number in range(count))
    shares = np.full(count, 1 / count)
    wide = native.State(XXH64, 0, 0, 1, 0, 131_101, names, shares)
    narrow = native.State(XXH64, 0, 0, 1, 0, 131_101, names[:65_536], np.full(65_536, 1 / 65_536))
    assert wide.nbytes == 4 * 131_101
    assert narrow.nbytes == 2 * 131_102
    for state, size in ((wide, count), (narrow, 65_536)):
        assert state.counts().min() >= 1
        keys = words(3000)
        expected = state.slots()[(xxh64_column(keys) % np.uint64(131_101)).astype(np.int64)]
        assert owners("_native", placer("_native", state, names[:size]), keys) == expected.tolist()


def test_all_replicas_are_found_where_one_node_has_nearly_all_slots() -> None:
    one, two = both([1e9, 1, 1, 1], 5003)
    assert sorted(one.counts().tolist()) == [1, 1, 1, 5000]
    names = [f"node-{number}" for number in range(4)]
    first, second = placer("_native", one, names), placer("_reference", two, names)
    keys = words(20)
    assert replicas("_native", first, keys, 4) == replicas("_reference", second, keys, 4)


@pytest.mark.parametrize("module", [native, reference])
def test_what_is_refused(module: Any) -> None:
    one = np.ones(1)
    with pytest.raises(ValueError, match="slots"):
        module.State(XXH64, 0, 0, 1, 0, 1, ("a",), one)
    with pytest.raises(ValueError, match="weights for"):
        module.State(XXH64, 0, 0, 1, 0, 7, ("a", "b"), one)
    with pytest.raises(ValueError, match="nodes for"):
        module.State(XXH64, 0, 0, 1, 0, 7, ("a",), one * 0)
    with pytest.raises(ValueError, match="nodes for"):
        module.State(XXH64, 0, 0, 1, 0, 2, ("a", "b", "c"), np.full(3, 0.25))
    for share in (-0.5, 1.5, np.nan):
        with pytest.raises(ValueError, match="share"):
            module.State(XXH64, 0, 0, 1, 0, 7, ("a",), one * share)
