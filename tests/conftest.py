"""What every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from ringleader import kernels

settings.register_profile("ci", deadline=None)
# Five to ten times as slow: fewer examples there, of the same tests.
settings.register_profile("sanitized", deadline=None, max_examples=8, stateful_step_count=10)
settings.load_profile("sanitized" if os.environ.get("RINGLEADER_SANITIZED") else "ci")

LEVELS = kernels.SIMD_LEVELS[: kernels.SIMD_LEVELS.index(kernels.simd_supported()) + 1]


@pytest.fixture(params=LEVELS)
def simd(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction level that this CPU has, forced for the test."""
    before = kernels.simd()
    kernels.force_simd(request.param)
    yield request.param
    kernels.force_simd(before)


@pytest.fixture
def sized() -> Callable[[int], int]:
    """Numbers of keys that the twins in plain Python can bear too (RINGLEADER_PURE=1)."""
    return lambda count: count // 50 if kernels.PURE else count
