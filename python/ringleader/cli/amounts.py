"""Bytes, rates and durations, as people write and read them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

from ringleader import limits
from ringleader.errors import SettingError

_WRITTEN = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?(?:[eE]\+?\d{1,2})?)\s*([A-Za-z]*)", re.ASCII)
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_UNITS = {f"{prefix}B".lower(): 1000**power for power, prefix in enumerate(_PREFIXES)}
_UNITS |= {f"{prefix}iB".lower(): 1024**power for power, prefix in enumerate(_PREFIXES) if power}
_BITS = {f"{prefix}bit".lower(): 1000**power for power, prefix in enumerate(_PREFIXES)}


def _parsed(option: str, text: str, units: dict[str, int], examples: str) -> tuple[Decimal, str]:
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise SettingError(f"{option} {text!r} is no amount: write {examples}")
    number, unit = found.groups()
    if re.fullmatch(r"[kKMGTPE]b", unit):
        raise SettingError(
            f"{option} {text!r}: {unit} may be bits or bytes; write {unit[0]}B for bytes"
            + (f" or {unit[0]}bit/s for bits" if "bit" in units else "")
        )
    if re.fullmatch(r"[kKMGTPE]i?", unit):
        raise SettingError(
            f"{option} {text!r}: write {unit[0]}B for powers of 1000 or {unit[0]}iB for powers of "
            "1024"
        )
    if unit and unit.lower() not in units:
        raise SettingError(f"{option} {text!r}: {unit!r} is no unit known here; write {examples}")
    return Decimal(number.replace("_", "")), unit.lower() or "b"


def parse_bytes(option: str, text: str) -> int:
    """A number of bytes: 1500000, 10TB (powers of 1000), 1.5GiB (of 1024).

    Raises:
        SettingError: it is none, or larger than `limits.PLAN_BYTES_MAX`; names the option.
    """
    number, unit = _parsed(option, text, _UNITS, "bytes, such as 10TB or 1.5GiB")
    amount = int((number * _UNITS[unit]).to_integral_value())
    if amount > limits.PLAN_BYTES_MAX:
        raise SettingError(f"{option} {text!r} is more than {limits.PLAN_BYTES_MAX} bytes")
    return amount


def parse_rate(option: str, text: str) -> float:
    """Bytes a second: 100MB/s, 1GiB/s, 10Gbit/s.

    Raises:
        SettingError: it is none, or zero; names the option.
    """
    written = text.strip()
    bare = written.removesuffix("/s").rstrip()
    if bare == written and re.search(r"[a-z]ps$", written):
        raise SettingError(f"{option} {text!r}: write MB/s for bytes or Mbit/s for bits a second")
    units = _UNITS | _BITS
    number, unit = _parsed(option, bare, units, "bytes a second, such as 100MB/s, or 10Gbit/s")
    rate = float(number * units[unit]) / (8 if unit.endswith("bit") else 1)
    if not 0 < rate < math.inf:
        raise SettingError(f"{option} {text!r}: nothing would ever arrive; write more than 0")
    return rate


def bytes_in_words(amount: float) -> str:
    """1.23 TB: three digits, powers of 1000."""
    power = 0
    while amount >= 999.5 and power < len(_PREFIXES) - 1:
        amount, power = amount / 1000, power + 1
    if power == 0:
        return f"{amount:.0f} B"
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:,.{digits}f} {_PREFIXES[power]}B"


def seconds_in_words(seconds: float) -> str:
    """The two largest units: 3 d 4 h, 5 h 12 min, 7 min 30 s, 4.2 s, 310 ms."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    for unit, within, size, part in (
        ("min", "s", 60, 1),
        ("h", "min", 3600, 60),
        ("d", "h", 86_400, 3600),
    ):
        whole, rest = divmod(round(seconds / part) * part, size)
        if unit == "d" or whole < {"min": 60, "h": 48}[unit]:
            return f"{whole:,} {unit} {rest // part} {within}" if rest else f"{whole:,} {unit}"
    raise AssertionError("unreachable")
