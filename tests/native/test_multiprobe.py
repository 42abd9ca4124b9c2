"""Multi-probe hashing: the kernel against distances sorted one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inverse import COLLIDING
from placers import KEYS, MURMUR3, SIPHASH13, XXH3, XXH64, owners, placer, replicas, words

from ringleader._native import multiprobe as native
from ringleader._reference import multiprobe as reference


def both(
    counts: list[int], probes: int = 21, kind: int = XXH3, seed: int = 0, names: Any = None
) -> tuple[Any, Any, list[str]]:
    names = tuple(names or (f"node-{number}" for number in range(len(counts))))
    given = np.array(counts, dtype=np.uint32)
    one = native.State(kind, seed, 0, probes, names, given)
    two = reference.State(kind, seed, 0, probes, names, given)
    assert one.tokens().tolist() == two.tokens().tolist()
    assert one.owners().tolist() == two.owners().tolist()
    return one, two, list(names)


def compare(counts: list[int], keys: Any, wanted: tuple[int, ...] = (1, 2), **how: Any) -> None:
    one, two, names = both(counts, **how)
    first, second = placer("_native", one, names), placer("_reference", two, names)
    assert owners("_native", first, keys) == owners("_reference", second, keys)
    for n in wanted:
        assert replicas("_native", first, keys, n) == replicas("_reference", second, keys, n)


@pytest.mark.parametrize("kind", [XXH3, XXH64, MURMUR3, SIPHASH13])
def test_twins(simd: str, kind: int) -> None:
    compare([1, 2, 0, 1, 5], KEYS, (1, 2, 4), kind=kind, seed=3)
    compare([1, 2, 0, 1, 5], words(100), (1, 4), kind=kind, seed=3)


@pytest.mark.parametrize("count", [1, 2, 3, 50, 1000])
def test_twins_with_many_nodes(simd: str, count: int) -> None:
    one, two, names = both([1] * count)
    first, second = placer("_native", one, names), placer("_reference", two, names)
    keys = words(700)
    assert owners("_native", first, keys) == owners("_reference", second, keys)


@pytest.mark.parametrize("probes", [1, 2, 3, 100, 1024])
def test_numbers_of_probes(simd: str, probes: int) -> None:
    compare([1] * 7, words(17), (3, 7), probes=probes)


def test_probes_that_are_set_aside(simd: str) -> None:
    """So many points, and so few buckets a point, that a list of them overflows again and again."""
    one, two, names = both([1500] * 50, probes=300)
    first, second = placer("_native", one, names), placer("_reference", two, names)
    keys = words(48)
    assert owners("_native", first, keys) == owners("_reference", second, keys)


@pytest.mark.parametrize("pair", COLLIDING)
def test_equal_tokens_belong_to_the_first_name(simd: str, pair: tuple[str, str]) -> None:
    names = sorted([*pair, "z"])
    compare([1, 1, 1], words(200), (1, 2, 3), names=names)
    one, _, _ = both([1, 1, 1], names=names)
    seen = owners("_native", placer("_native", one, names), words(2000))
    assert len(set(seen)) == 2


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30).filter(any),
    st.integers(1, 30),
    st.integers(0, 2**64 - 1),
)
@settings(max_examples=60)
def test_twins_at_any_counts(counts: list[int], probes: int, seed: int) -> None:
    live = sum(count > 0 for count in counts)
    compare(counts, words(33), (1, live), probes=probes, seed=seed)


def test_replicas_keep_their_order_without_one_node() -> None:
    names = tuple(f"node-{number}" for number in range(12))
    whole = native.State(XXH3, 0, 0, 21, names, np.ones(12, np.uint32))
    keys = words(300)
    rows = replicas("_native", placer("_native", whole, names), keys, 12)
    for gone in (0, 5, 11):
        counts = np.ones(12, np.uint32)
        counts[gone] = 0
        without = native.State(XXH3, 0, 0, 21, names, counts)
        found = replicas("_native", placer("_native", without, names), keys, 11)
        assert found == [[at for at in row if at != gone] for row in rows]


@pytest.mark.parametrize("module", [native, reference])
def test_what_is_refused(module: Any) -> None:
    one = np.ones(1, np.uint32)
    for probes in (0, 1025):
        with pytest.raises(ValueError, match="probes"):
            module.State(XXH3, 0, 0, probes, ("a",), one)
    with pytest.raises(ValueError, match="counts for"):
        module.State(XXH3, 0, 0, 21, ("a", "b"), one)
    with pytest.raises(ValueError, match="points"):
        module.State(XXH3, 0, 0, 21, ("a",), one * 0)
