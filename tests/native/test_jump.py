"""Jump hash: the vectors do the paper's double arithmetic bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from placers import KEYS, MURMUR3, SIPHASH13, XXH3, XXH64, owners, placer, replicas, words

from ringleader._native import jump as native
from ringleader._reference import jump as reference

EDGES = [0, 1, 2, 2**31, 2**32 - 1, 2**33, 2**63 - 1, 2**63, 2**64 - 1]
COUNTS = [1, 2, 3, 7, 10, 100, 1000, 1024, 65_537, 10**6, 2**30, 2**31 - 1]
MULTIPLIER = 2862933555777941757


def seeds_of(states: list[int]) -> list[int]:
    """The values whose first state is one of these."""
    inverse = pow(MULTIPLIER, -1, 2**64)
    return [(state - 1) * inverse % 2**64 for state in states]


#: Values whose first jump is as long and as short as can be: divisors 1, 2, ..., 2**31.
EXTREME = seeds_of([0, 1, 2**33 - 1, 2**33, 2**34 - 1, 2**34, 2**63, 2**64 - 2**33, 2**64 - 1])


@pytest.mark.parametrize("count", COUNTS)
def test_vectors_do_what_the_paper_does(simd: str, count: int) -> None:
    values = np.array(EDGES + EXTREME + words(1500).tolist(), dtype=np.uint64)
    expected = [reference.bucket(value, count) for value in values.tolist()]
    assert [native.bucket(value, count) for value in values.tolist()] == expected
    out = np.empty(len(values), np.uint32)
    native.buckets(values, out, count)
    assert out.tolist() == expected
    for size in (0, 1, 15, 16, 31, 32, 33):
        native.buckets(values[:size], out[:size], count)
        assert out.tolist() == expected


def test_many_values_in_vectors_and_one_at_a_time(simd: str) -> None:
    values = words(200_000)
    out = np.empty(len(values), np.uint32)
    for count in (1000, 2**31 - 1):
        native.buckets(values, out, count)
        alone = [native.bucket(value, count) for value in values[:20_000].tolist()]
        assert out[:20_000].tolist() == alone
        assert out.max() < count


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**31 - 1))
def test_one_bucket_more(value: int, count: int) -> None:
    """Monotone (the paper's section 2): with a bucket more, a value stays or goes into it."""
    here = native.bucket(value, count)
    assert here == reference.bucket(value, count) < count
    if count < 2**31 - 1:
        assert native.bucket(value, count + 1) in (here, count)


@pytest.mark.parametrize("kind", [XXH3, XXH64, MURMUR3, SIPHASH13])
def test_twins(simd: str, kind: int) -> None:
    names = [str(number) for number in range(37)]
    one = placer("_native", native.State(kind, 5, 0, 37), names)
    two = placer("_reference", reference.State(kind, 5, 0, 37), names)
    for keys in (KEYS, words(300)):
        assert owners("_native", one, keys) == owners("_reference", two, keys)
        for wanted in (1, 3, 37):
            assert replicas("_native", one, keys, wanted) == replicas(
                "_reference", two, keys, wanted
            )


@pytest.mark.parametrize("module", [native, reference])
def test_what_is_refused(module: object) -> None:
    for count in (0, 2**31):
        with pytest.raises(ValueError, match="buckets"):
            module.State(XXH3, 0, 0, count)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="room for 2"):
        module.buckets(np.zeros(3, np.uint64), np.zeros(2, np.uint32), 5)  # type: ignore[attr-defined]
