"""The native AnchorHash and MementoHash do what their references do."""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader._native import anchor as native_anchor
from ringleader._native import keys as native_keys
from ringleader._native import memento as native_memento
from ringleader._native import placer as native_placer
from ringleader._reference import anchor as reference_anchor
from ringleader._reference import keys as reference_keys
from ringleader._reference import memento as reference_memento
from ringleader._reference import placer as reference_placer

TWINS = {
    "anchor": (native_anchor, reference_anchor),
    "memento": (native_memento, reference_memento),
}
KEYS = np.random.default_rng(4).integers(0, 2**64, 3_003, dtype=np.uint64)


class Named(NamedTuple):
    name: str


@pytest.fixture(params=TWINS)
def twins(request: pytest.FixtureRequest) -> tuple[ModuleType, ModuleType]:
    return TWINS[request.param]


def placer(module: ModuleType, removed: Any, count: int, kind: int = 0) -> Any:
    """Bucket b stands at position count - 1 - b, so that the two are told apart."""
    positions = np.arange(count, dtype=np.uint32)[::-1].copy()
    state = module.State(kind, 0, 0, np.array(removed, dtype=np.uint32), positions)
    nodes = tuple(Named(str(i)) for i in range(count))
    kind_of = native_placer if module.__name__.startswith("ringleader._native") else None
    return (kind_of or reference_placer).Placer(state, nodes)


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


HISTORIES = [
    ([], 1),
    ([], 7),
    ([0], 2),
    ([1], 2),
    ([6, 5, 4], 7),
    ([0, 1, 2, 3, 4, 5], 7),
    ([5, 4, 3, 2, 1, 0], 7),
    (list(np.random.default_rng(1).permutation(1000)[:400]), 1000),
    (list(np.random.default_rng(2).permutation(1000)[:999]), 1000),
]


@pytest.mark.parametrize(("removed", "count"), HISTORIES, ids=range(len(HISTORIES)))
def test_twins_agree(
    twins: tuple[ModuleType, ModuleType], removed: list[int], count: int, simd: str
) -> None:
    native, reference = (placer(module, removed, count) for module in twins)
    some = KEYS[:500]
    assert owners(native, some) == owners(reference, some)
    assert native.live_count == reference.live_count == count - len(removed)
    assert native.nbytes == reference.nbytes
    for wanted in {1, min(3, native.live_count), min(20, native.live_count)}:
        assert replicas(native, some[:60], wanted) == replicas(reference, some[:60], wanted)
    for key in ("user:1", b"x", 7):
        assert native.owner(key) == reference.owner(key)
        assert native.walk(key, native.live_count) == reference.walk(key, native.live_count)


def test_every_level_gives_the_same(twins: tuple[ModuleType, ModuleType], simd: str) -> None:
    removed = np.random.default_rng(3).permutation(3000)[:2500].astype(np.uint32)
    on = placer(twins[0], removed, 3000)
    assert owners(on) == [on.owner(int(key)) for key in KEYS]


@given(st.permutations(range(12)), st.integers(0, 11))
@settings(max_examples=60)
def test_any_history(order: list[int], gone: int) -> None:
    for twins in TWINS.values():
        native, reference = (placer(module, order[:gone], 12) for module in twins)
        assert owners(native, KEYS[:64]) == owners(reference, KEYS[:64])
        standing = {11 - bucket for bucket in order[gone:]}
        assert set(owners(native, KEYS[:64])) <= standing


@pytest.mark.parametrize(
    ("removed", "count"),
    [([], 0), ([0], 1), ([2], 2), ([0, 0], 3), ([0, 1, 2], 3), ([0, 1, 2, 0], 3)],
)
def test_what_is_no_history_is_refused(
    twins: tuple[ModuleType, ModuleType], removed: list[int], count: int
) -> None:
    for module in twins:
        with pytest.raises(ValueError, match="bucket"):
            placer(module, removed, count)


def test_positions_are_distinct_and_hashes_known(twins: tuple[ModuleType, ModuleType]) -> None:
    none, same = np.empty(0, np.uint32), np.zeros(2, np.uint32)
    for module in twins:
        with pytest.raises(ValueError, match="one position"):
            module.State(0, 0, 0, none, same)
        with pytest.raises(ValueError, match="unknown hash kind"):
            module.State(9, 0, 0, none, np.zeros(1, np.uint32))
    native = twins[0].State(0, 0, 0, none, np.zeros(1, np.uint32))
    with pytest.raises(TypeError, match="made once"):
        native.__init__(0, 0, 0, none, np.zeros(1, np.uint32))


def test_levels(twins: tuple[ModuleType, ModuleType]) -> None:
    for module in twins:
        assert 0 <= module.simd() <= module.simd_supported()
        with pytest.raises(ValueError, match="not supported"):
            module.simd_force(99)
