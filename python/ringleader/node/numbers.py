"""Numbers as Redis reads and prints them, on every machine alike.

Integers have 64 bits and one spelling: no sign "+", no leading zeros, no blanks.

Floats of INCRBYFLOAT are C's `long double` on x86-64, where Redis runs: a sign, 64 bits of
mantissa, 15 of exponent.  Other machines have other long doubles, and replicas must agree to the
last digit; so they are computed here in integers: a `LongDouble` is mantissa * 2**exponent, every
result is rounded to the nearest one, ties to even, as the x87 does.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from ringleader.node.replies import INT64_MAX, INT64_MIN

INT_TEXT_BYTES_MAX: Final = 20


def parse_int(text: bytes) -> int | None:
    """The 64-bit integer that `text` spells, or None."""
    if len(text) > INT_TEXT_BYTES_MAX:
        return None
    try:
        number = int(text)
    except ValueError:
        return None
    # int() also takes blanks, "+1", "01" and "1_0".
    if b"%d" % number != text or not INT64_MIN <= number <= INT64_MAX:
        return None
    return number


# --- long doubles ------------------------------------------------------------------------------

#: (mantissa, exponent) of a finite number; None stands for one that is infinite.
LongDouble: TypeAlias = "tuple[int, int] | None"

MANTISSA_BITS: Final = 64
#: Of the unit of the last place: the largest finite number is (2**64 - 1) * 2**EXPONENT_MAX.
EXPONENT_MAX: Final = 16320
EXPONENT_MIN: Final = -16445
#: No text of more bytes is a number.
FLOAT_TEXT_BYTES_MAX: Final = 5 * 1024 - 1
#: Past these powers of ten every number of FLOAT_TEXT_BYTES_MAX digits is infinite, or nothing.
_TENS_MAX: Final = 4932 + FLOAT_TEXT_BYTES_MAX
_TENS_MIN: Final = -4951 - FLOAT_TEXT_BYTES_MAX

_DECIMAL: Final = re.compile(rb"([+-]?)(?:(\d+)\.?(\d*)|\.(\d+))(?:[eE]([+-]?\d+))?\Z")
_HEX: Final = re.compile(
    rb"([+-]?)0[xX](?:([0-9a-fA-F]+)\.?([0-9a-fA-F]*)|\.([0-9a-fA-F]+))(?:[pP]([+-]?\d+))?\Z"
)
_INFINITY: Final = re.compile(rb"[+-]?inf(?:inity)?\Z", re.IGNORECASE)


class _OutOfRangeError(ValueError):
    """The number is too large, or too near to 0, for a long double."""


def _rounded(numerator: int, denominator: int) -> tuple[int, int]:
    """The long double nearest to a fraction (denominator > 0).

    Raises:
        _OutOfRangeError: it is infinite.
    """
    if numerator == 0:
        return 0, 0
    magnitude = abs(numerator)
    exponent = magnitude.bit_length() - denominator.bit_length() - MANTISSA_BITS
    exponent = max(exponent, EXPONENT_MIN)
    mantissa = _nearest(magnitude, denominator, exponent)
    if mantissa.bit_length() > MANTISSA_BITS:
        exponent += 1
        mantissa = _nearest(magnitude, denominator, exponent)
    if mantissa.bit_length() > MANTISSA_BITS:  # rounded up to the next power of two
        mantissa >>= 1
        exponent += 1
    if exponent > EXPONENT_MAX:
        raise _OutOfRangeError
    return (-mantissa if numerator < 0 else mantissa), exponent


def _nearest(numerator: int, denominator: int, exponent: int) -> int:
    """numerator / denominator / 2**exponent, to the nearest integer, ties to even."""
    if exponent >= 0:
        denominator <<= exponent
    else:
        numerator <<= -exponent
    quotient, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and quotient & 1):
        quotient += 1
    return quotient


def parse_long_double(text: bytes) -> LongDouble:
    """What strtold() makes of `text`, when it takes all of it.

    Raises:
        ValueError: `text` is no number, or not a number, or out of range.
    """
    if not text or len(text) > FLOAT_TEXT_BYTES_MAX:
        raise ValueError("no number")
    found = _DECIMAL.match(text)
    base, point = 10, 1
    if found is None:
        if _INFINITY.match(text):
            return None
        found = _HEX.match(text)
        if found is None:
            raise ValueError("no number")
        base, point = 2, 4
    sign, whole, part, only_part, power_text = found.groups()
    part = only_part if whole is None else part
    digits = (whole or b"") + part
    mantissa = _whole(digits, base)
    if mantissa == 0:
        return 0, 0
    power = _clamped(power_text) - point * len(part)
    if sign == b"-":
        mantissa = -mantissa
    if base == 2:
        if not EXPONENT_MIN - 1 <= mantissa.bit_length() + power <= EXPONENT_MAX + MANTISSA_BITS:
            raise _OutOfRangeError
    elif not _TENS_MIN <= power <= _TENS_MAX:
        raise _OutOfRangeError
    scale: int = base ** abs(power)
    value = _rounded(mantissa * scale, 1) if power >= 0 else _rounded(mantissa, scale)
    if value[0] == 0:
        raise _OutOfRangeError
    return value


def _whole(digits: bytes, base: int) -> int:
    """The integer of hexadecimal (base 2) or decimal digits, of which int() refuses over 4300."""
    if base == 2:
        return int(digits, 16)
    if len(digits) <= 4000:
        return int(digits)
    half = len(digits) // 2
    tail = len(digits) - half
    shift: int = 10**tail
    return int(digits[:half]) * shift + int(digits[half:])


def _clamped(power: bytes | None) -> int:
    """An exponent, kept near the range in which it makes a difference."""
    if power is None:
        return 0
    if len(power) > 8:
        digits = power.lstrip(b"+-").lstrip(b"0") or b"0"
        number = int(digits) if len(digits) <= 8 else 10**8
        return -number if power.startswith(b"-") else number
    return int(power)


def add_long_doubles(a: LongDouble, b: LongDouble) -> LongDouble:
    """Their sum; None when it is infinite or not a number."""
    if a is None or b is None:
        return None
    low = min(a[1], b[1])
    total = (a[0] << (a[1] - low)) + (b[0] << (b[1] - low))
    try:
        return _rounded(total << low, 1) if low >= 0 else _rounded(total, 1 << -low)
    except _OutOfRangeError:
        return None


def format_long_double(value: tuple[int, int]) -> bytes:
    """As printf("%.17Lf") prints it, without the zeros at the end: 17 places, ties to even."""
    mantissa, exponent = value
    magnitude = abs(mantissa)
    scaled = _nearest(magnitude * 10**17 << max(exponent, 0), 1 << max(-exponent, 0), 0)
    whole, part = divmod(scaled, 10**17)
    text = _decimal(whole)
    if part:
        text += b"." + (b"%017d" % part).rstrip(b"0")
    return b"-" + text if mantissa < 0 and scaled else text


def _decimal(number: int) -> bytes:
    """str(), which refuses more than 4300 digits, by parts."""
    parts = []
    while number.bit_length() > 13_000:
        number, rest = divmod(number, 10**3900)
        parts.append(b"%03900d" % rest)
    parts.append(b"%d" % number)
    return b"".join(reversed(parts))
