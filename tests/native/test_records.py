"""Records and their twin: the same bytes, and the same refusals."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader._native import records as native
from ringleader._reference import records as reference

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
LONG = 2**30


@given(U32, st.binary(max_size=100), U32, U64, U64)
def test_twins_seal_alike(word: int, payload: bytes, tag: int, sequence: int, durable: int) -> None:
    sealed = native.seal(word, payload, tag, sequence, durable)
    assert sealed == reference.seal(word, memoryview(payload), tag, sequence, durable)
    assert len(sealed) % 8 == 0
    found = (word, tag, sequence, durable, len(payload))
    for kernel in (native, reference):
        assert kernel.parse(sealed, 0, LONG) == found
        assert kernel.parse(b"12345678" + sealed + b"9", 8, len(payload)) == found
        if payload:
            assert kernel.parse(sealed, 0, len(payload) - 1) is None


@given(st.binary(max_size=100), st.integers(-5, 110))
def test_twins_refuse_alike(data: bytes, at: int) -> None:
    assert native.parse(data, at, LONG) == reference.parse(data, at, LONG)


@pytest.mark.parametrize("kernel", [native, reference], ids=["native", "reference"])
def test_any_change_is_seen(kernel: ModuleType) -> None:
    sealed = kernel.seal(3, b"payload", 77, 9, 8)
    assert kernel.parse(bytearray(sealed), 0, LONG) == (3, 77, 9, 8, 7)
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        assert kernel.parse(damaged, 0, LONG) is None
    for size in range(len(sealed)):
        assert kernel.parse(sealed[:size], 0, LONG) is None
    assert kernel.parse(bytes(100), 0, LONG) is None


@pytest.mark.parametrize("kernel", [native, reference], ids=["native", "reference"])
def test_long_payloads(kernel: ModuleType) -> None:
    payload = bytes(range(256)) * (300 if kernel is native else 2)
    sealed = kernel.seal(3, payload, 77, 9, 8)
    assert sealed[32 : 32 + len(payload)] == payload
    assert kernel.parse(sealed, 0, LONG) == (3, 77, 9, 8, len(payload))


@pytest.mark.parametrize("kernel", [native, reference], ids=["native", "reference"])
def test_what_is_no_field(kernel: ModuleType) -> None:
    for fields in ((2**32, b"", 0, 0, 0), (0, b"", -1, 0, 0), (0, b"", 0, 2**64, 0)):
        with pytest.raises(OverflowError):
            kernel.seal(*fields)
    with pytest.raises(TypeError):
        kernel.seal(1, "text", 1, 1, 0)
