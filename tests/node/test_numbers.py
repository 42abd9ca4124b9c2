"""Integers and long doubles as Redis reads and prints them.

The long doubles of NumPy are the C compiler's: on x86-64 they are what is computed here.
"""

from __future__ import annotations

import platform
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.node.numbers import (
    EXPONENT_MAX,
    FLOAT_TEXT_BYTES_MAX,
    add_long_doubles,
    format_long_double,
    parse_int,
    parse_long_double,
)

x87 = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant != 63, reason=f"{platform.machine()} has other long doubles"
)


@given(st.integers())
def test_integers(number: int) -> None:
    wanted = number if -(2**63) <= number < 2**63 else None
    assert parse_int(b"%d" % number) == wanted


@given(st.binary(max_size=24))
def test_only_the_one_spelling(text: bytes) -> None:
    number = parse_int(text)
    assert number is None or b"%d" % number == text


@pytest.mark.parametrize(
    "text",
    b"|+1|-0|00|01|1 | 1|1_0|1.0|0x1|1e3|-|--1|\xd9\xa1|9223372036854775808".split(b"|"),
)
def test_no_integers(text: bytes) -> None:
    assert parse_int(text) is None


# --- long doubles --------------------------------------------------------------------------------

decimals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: repr(value).encode()),
    st.tuples(
        st.sampled_from(["", "-", "+"]), st.integers(0, 10**25), st.integers(0, 10**25),
        st.integers(-4990, 4960) | st.integers(-30, 30),
    ).map(lambda parts: "{}{}.{}e{}".format(*parts).encode()),
    st.tuples(
        st.sampled_from(["", "-"]), st.integers(0, 2**70), st.integers(-16600, 16500)
    ).map(lambda parts: "{}0x{:x}p{}".format(*parts).encode()),
)  # fmt: skip


def c_long_double(text: bytes) -> np.longdouble | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = np.longdouble(text.decode())
    return None if np.isinf(value) else value


def exact(value: np.longdouble) -> tuple[int, int]:
    """Numerator and denominator."""
    return value.as_integer_ratio()


def ratio(value: tuple[int, int]) -> tuple[int, int]:
    mantissa, exponent = value
    if exponent >= 0:
        return mantissa << exponent, 1
    while exponent < 0 and mantissa % 2 == 0 and mantissa:
        mantissa //= 2
        exponent += 1
    return (mantissa, 1 << -exponent) if mantissa else (0, 1)


@x87
@settings(max_examples=400)
@given(decimals)
def test_reading(text: bytes) -> None:
    wanted = c_long_double(text)
    try:
        value = parse_long_double(text)
    except ValueError:
        assert wanted is None or wanted == 0 or abs(wanted) < np.finfo(np.longdouble).tiny
        return
    assert value is not None
    assert wanted is not None
    assert ratio(value) == exact(wanted)


@x87
@settings(max_examples=400)
@given(decimals, decimals)
def test_adding(one: bytes, other: bytes) -> None:
    try:
        a, b = parse_long_double(one), parse_long_double(other)
    except ValueError:
        return
    total = add_long_doubles(a, b)
    first, second = c_long_double(one), c_long_double(other)
    assert first is not None
    assert second is not None
    with np.errstate(over="ignore"):
        wanted = first + second
    if total is None:
        assert np.isinf(wanted)
    else:
        assert ratio(total) == exact(wanted)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("0", "0"), ("-0", "0"), ("3.0e3", "3000"), ("0.1", "0.1"), ("1e-5", "0.00001"),
        ("5e-18", "0"), ("-5e-18", "0"), ("5.1e-18", "0.00000000000000001"), ("-1.50", "-1.5"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551617", "18446744073709551616"),
        ("0x1.8p1", "3"), ("0X.8P-1", "0.25"), (".5", "0.5"), ("5.", "5"), ("+7e0", "7"),
        ("0x1p70", str(2**70)),
    ],
)  # fmt: skip
def test_printing(text: str, printed: str) -> None:
    value = parse_long_double(text.encode())
    assert value is not None
    assert format_long_double(value) == printed.encode()


def test_the_largest_and_the_smallest() -> None:
    largest = parse_long_double(b"0x.ffffffffffffffffp16384")
    assert largest == (2**64 - 1, EXPONENT_MAX)
    assert largest is not None
    text = format_long_double(largest)
    assert len(text) == 4933
    assert parse_long_double(text) == largest
    assert add_long_doubles(largest, largest) is None
    assert add_long_doubles(largest, (-largest[0], largest[1])) == (0, 0)
    assert add_long_doubles(None, largest) is None
    for text in (b"0x1p16384", b"0x.ffffffffffffffff8p16384", b"1e4933"):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_long_double(text)
    smallest = parse_long_double(b"0x1p-16445")
    assert smallest == (1, -16445)
    assert smallest is not None
    assert format_long_double(smallest) == b"0"
    for text in (b"0x1p-16446", b"0x1p-17000", b"1e-4951", b"1e-99999"):
        with pytest.raises(ValueError):  # noqa: PT011
            parse_long_double(text)


@pytest.mark.parametrize(
    "text",
    [
        b"", b" 1", b"1 ", b"x", b"nan", b"-nan", b"nan(1)", b"1e", b"1e+", b"0x", b"0xp1", b".",
        b"1,5", b"1\0", b"--1", b"1.2.3", b"infinit", b"0x1p", b"1_0", b"\xd9\xa1", b"1\n",
        b"1" * (FLOAT_TEXT_BYTES_MAX + 1), b"1" * FLOAT_TEXT_BYTES_MAX,
        b"0x" + b"f" * (FLOAT_TEXT_BYTES_MAX - 2), b"1e" + b"9" * 5000, b"1e-" + b"9" * 5000,
    ],
)  # fmt: skip
def test_no_long_doubles(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_long_double(text)


def test_long_texts_of_small_numbers() -> None:
    assert parse_long_double(b"0" * FLOAT_TEXT_BYTES_MAX) == (0, 0)
    assert parse_long_double(b"0" * 5000 + b"7") is not None
    assert parse_long_double(b"0." + b"0" * 5000 + b"7e5001") is not None
    assert parse_long_double(b"0e" + b"9" * 5000) == (0, 0)
    assert parse_long_double(b"-INFinity") is None
    value = parse_long_double(b"1e000000000000000001")
    assert value is not None
    assert format_long_double(value) == b"10"
