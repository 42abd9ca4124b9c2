"""Tables of a TOML file, read strictly: what is wrong is gathered, with its key and what to do."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ringleader import limits
from ringleader.errors import ClusterFileError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Faults:
    """What is wrong with a file, gathered, so that it can be told all at once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._texts: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._texts)

    def add(self, key: str, text: str) -> None:
        self._texts.append(f"{self._path}: {key}: {text}" if key else f"{self._path}: {text}")

    def raise_if_any(self) -> None:
        if not self._texts:
            return
        shown = self._texts[: limits.CLUSTER_FILE_FAULTS_MAX]
        if more := len(self._texts) - len(shown):
            shown.append(f"{self._path}: and {more} more faults")
        raise ClusterFileError("\n".join(shown))


class Table:
    """One table of the file: takes keys out, each with its check; what is left over is unknown."""

    def __init__(self, given: Any, where: str, faults: Faults) -> None:
        self._where = where
        self.faults = faults
        self._known: list[str] = []
        self._left: dict[str, Any] = {}
        if isinstance(given, Mapping):
            self._left = dict(given)
        else:
            self.fault("", f"must be a table, not {kind_of(given)}")

    def key(self, name: str) -> str:
        return f"{self._where}.{name}" if self._where and name else self._where or name

    def fault(self, name: str, text: str) -> None:
        self.faults.add(self.key(name), text)

    def peek(self, name: str, default: Any = None) -> Any:
        """The value as it stands, which stays."""
        return self._left.get(name, default)

    def take(self, name: str, default: Any = None, *, needed: str = "") -> Any:
        """The value as it stands.  `needed`: what to do when it is missing."""
        self._known.append(name)
        if name in self._left:
            return self._left.pop(name)
        if needed:
            self.fault(name, f"is missing: {needed}")
        return default

    def text(
        self,
        name: str,
        default: str = "",
        *,
        needed: str = "",
        pattern: re.Pattern[str] | None = None,
        of: str = "",
        among: Collection[str] = (),
    ) -> str:
        there = name in self._left
        value = self.take(name, default, needed=needed)
        if not there:
            return default
        if not isinstance(value, str):
            self.fault(name, f"must be a text in quotes, not {kind_of(value)}")
            return default
        if among and value not in among:
            self.fault(name, f"{value!r} is none of {listed(among)}{nearest(value, among)}")
            return default
        left_out = value == default and not needed  # written down, as if it were not
        if pattern is not None and not left_out and not pattern.fullmatch(value):
            self.fault(name, f"{value!r} is not possible: {of}")
            return default
        if "\0" in value:
            self.fault(name, "has a NUL in it")
            return default
        return value

    def number(
        self, name: str, default: int, low: int, high: int, *, unit: str = "", needed: str = ""
    ) -> int:
        there = name in self._left
        value = self.take(name, default, needed=needed)
        if not there:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault(name, f"must be a whole number, not {kind_of(value)}")
            return default
        if not low <= value <= high:
            self.fault(name, f"{value} is not in {low} ... {high}{unit and f' {unit}'}")
            return default
        return value

    def real(self, name: str, default: float, low: float, high: float) -> float:
        value = self.take(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(name, f"must be a number, not {kind_of(value)}")
            return default
        if not low <= value <= high:  # NaN is not either
            self.fault(name, f"{value} is not in {low:g} ... {high:g}")
            return default
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.take(name, default)
        if not isinstance(value, bool):
            self.fault(name, f"must be true or false, not {kind_of(value)}")
            return default
        return value

    def done(self) -> None:
        """Nothing may be left."""
        for name in self._left:
            near = nearest(name, self._known)
            known = "" if near else f"; known are {listed(self._known)}"
            self.fault(name, f"there is no such key{near}{known}")


def kind_of(value: object) -> str:
    kinds = {str: "a text", bool: "true or false", int: "a number", float: "a number with a point"}
    kinds |= {list: "a list", dict: "a table"}
    return kinds.get(type(value), type(value).__name__)


def nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


def listed(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:16]) + (f" and {len(shown) - 16} more" if len(shown) > 16 else "")


def toml(value: Any) -> str:
    """A value as TOML writes it; JSON's texts are TOML's as well, but for DEL."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = (f"{toml_key(key)} = {toml(each)}" for key, each in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return repr(value)


def toml_key(name: str) -> str:
    """A key as TOML writes it: bare where it can be."""
    return name if _BARE.fullmatch(name) else toml(name)
