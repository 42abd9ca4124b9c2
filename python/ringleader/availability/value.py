"""Probabilities as they are given, exactly, and availability as people read it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from functools import total_ordering
from typing import TypeAlias

import numpy as np

from ringleader.errors import LimitError, SettingError, SettingTypeError
from ringleader.limits import PROBABILITY_BITS_MAX

#: 0.999, "0.999", "99.9%", "999/1000", Decimal("0.999"), Fraction(999, 1000): all the same.
Probability: TypeAlias = float | str | Decimal | Fraction

#: Of a Julian year.
YEAR_S = 31_557_600
#: Units of a time, from the longest on.
_UNITS_S = (("days", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def as_probability(value: object, what: str) -> Fraction:
    """`value` as a fraction in 0 ... 1.

    A float stands for the shortest decimal that reads back as it, so 0.999 is 999/1000.  Text may
    be a decimal, a percentage or a fraction.

    Args:
        what: it is, for the message.

    Raises:
        SettingError: it lies outside 0 ... 1, is not a number, or cannot be read.
        SettingTypeError: it is of no such type.
        LimitError: its denominator has more than `limits.PROBABILITY_BITS_MAX` bits.
    """
    made = _as_fraction(value, what)
    if not 0 <= made <= 1:
        raise SettingError(f"{what} is {value}; a probability lies within 0 ... 1")
    if made.denominator.bit_length() > PROBABILITY_BITS_MAX:
        raise LimitError(
            f"{what} has a denominator of {made.denominator.bit_length()} bits; at most "
            f"{PROBABILITY_BITS_MAX} are allowed: write it with fewer digits"
        )
    return made


def _as_fraction(value: object, what: str) -> Fraction:
    if isinstance(value, bool | np.bool_):
        raise SettingTypeError(f"{what} is bool; it must be a probability")
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | np.integer):
        return Fraction(int(value))
    text: str
    if isinstance(value, float | np.floating | Decimal):
        if not math.isfinite(value):
            raise SettingError(f"{what} is {value}; a probability lies within 0 ... 1")
        text = repr(value) if type(value) is float else str(value)
    elif isinstance(value, str):
        text = value.strip()
    else:
        raise SettingTypeError(f"{what} must be a probability, not {type(value).__name__}")
    scale = 1
    if text.endswith("%"):
        text, scale = text[:-1].rstrip(), 100
    # Digits and exponents without bound would take memory without bound.
    exponent = text.lower().rpartition("e")[2] if "e" in text.lower() else "0"
    if len(text) > 1200 or len(exponent.lstrip("+-")) > 4:
        raise SettingError(f"{what} is {value!r:.60}; write it with fewer digits")
    try:
        return Fraction(text) / scale
    except (ValueError, ZeroDivisionError):
        raise SettingError(
            f"{what} is {value!r}; write a probability like 0.999, 99.9% or 999/1000"
        ) from None


@total_ordering
@dataclass(frozen=True)
class Availability:
    """How often something works, held as how often it does not: an exact fraction.

    `float(it)` is the availability; better ones compare as greater.

    Attributes:
        unavailable: the probability that it does not work.
    """

    unavailable: Fraction

    @property
    def available(self) -> Fraction:
        """The probability that it works, exactly."""
        return 1 - self.unavailable

    @property
    def nines(self) -> float:
        """-log10 of the unavailability: 3 for 99.9 %, infinite where it never fails."""
        if not self.unavailable:
            return math.inf
        # Of integers, whose logarithms do not underflow where a float would be 0.
        nines = math.log10(self.unavailable.denominator) - math.log10(self.unavailable.numerator)
        return nines + 0.0

    @property
    def down_s_per_year(self) -> float:
        """Expected seconds without it in a year of 365.25 days."""
        return float(self.unavailable * YEAR_S)

    @property
    def percent(self) -> str:
        """The availability in per cent, to two digits of what is missing: `99.99975%`."""
        if not self.unavailable:
            return "100%"
        nines = self.nines
        if nines > 12:
            return f"100% - {_scientific(self.unavailable * 100)}%"
        digits = max(2, math.ceil(nines) - 1)
        with localcontext() as context:
            context.prec = 60
            exact = Decimal(100 * self.available.numerator) / Decimal(self.available.denominator)
            shown = exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN)
        return f"{shown}%"

    @property
    def downtime(self) -> str:
        """The expected downtime of a year, in words: `52 min 36 s`."""
        return in_words(self.unavailable * YEAR_S)

    def __float__(self) -> float:
        return float(self.available)

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Availability):
            return NotImplemented
        return self.unavailable > other.unavailable

    def __str__(self) -> str:
        nines = "never fails" if not self.unavailable else f"{self.nines:.2f} nines"
        return f"{self.percent} ({nines}; down {self.downtime} a year)"


def _scientific(value: Fraction) -> str:
    """Two digits of a number that a float may be too small for."""
    exponent = math.floor(math.log10(value.numerator) - math.log10(value.denominator))
    mantissa = f"{float(value / Fraction(10) ** exponent):.1f}"
    if mantissa == "10.0":
        mantissa, exponent = "1.0", exponent + 1
    return f"{mantissa}e{exponent}"


def in_words(down_s: Fraction) -> str:
    """Seconds in a year, in words: the two largest units, or how rare one second is."""
    if not down_s:
        return "never"
    if down_s < Fraction(1, 1000):
        years = 1 / down_s
        shown = f"{float(years):,.0f}" if years < 10**9 else _scientific(years)
        return f"1 s in {shown} years"
    if down_s < Fraction(999, 1000):
        return f"{float(down_s * 1000):.3g} ms"
    if down_s < Fraction(995, 100):
        return f"{float(down_s):.2g} s"
    left = round(down_s)
    for at, (unit, size) in enumerate(_UNITS_S):
        if left < size:
            continue
        if at + 1 == len(_UNITS_S):
            return f"{left} s"
        smaller, smaller_size = _UNITS_S[at + 1]
        count = round(Fraction(left, smaller_size))
        per = size // smaller_size
        whole, rest = divmod(count, per)
        name = "day" if unit == "days" and whole == 1 else unit
        return f"{whole} {name} {rest} {smaller}" if rest else f"{whole} {name}"
    raise AssertionError(down_s)
