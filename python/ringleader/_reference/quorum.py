"""What a quorum has, in plain Python: sort each group, count each row, keep each timer's ticks."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ringleader.errors import LimitError, RowError, SettingError, SettingTypeError
from ringleader.limits import GROUPS_MAX, TIMER_TICKS_MAX, VOTERS_MAX


def simd_supported() -> int:
    return 0


def simd() -> int:
    return 0


def simd_force(level: int) -> None:
    if level != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


# --- many groups ---------------------------------------------------------------------------------


def checked_array(array: Any, dtype: type, dimensions: int, *, written: bool = False) -> None:
    """Refuse what the native kernel cannot take a pointer to."""
    view = memoryview(array)
    if view.format not in {np.dtype(dtype).char, "L", "Q"} or view.itemsize != dtype().itemsize:
        raise ValueError(f"a buffer of {view.format}, not of {np.dtype(dtype)}")
    if view.ndim != dimensions or not view.c_contiguous:
        raise ValueError(f"the buffer is no C-contiguous array of {dimensions} dimensions")
    if written and view.readonly:
        raise ValueError("the output is read-only")


def checked_quorum(quorum: int, voters: int) -> int:
    number = operator.index(quorum)
    if not 1 <= voters <= VOTERS_MAX:
        raise LimitError(f"{voters} voters; there may be 1 ... {VOTERS_MAX}")
    if not 1 <= number <= voters:
        raise SettingError(f"a quorum of {number} of {voters} voters; it must be 1 ... {voters}")
    return number


def same_groups(groups: int, out: int) -> None:
    if groups != out:
        raise ValueError(f"{groups} groups for an output of {out}")


def committed(match: NDArray[np.uint64], out: NDArray[np.uint64], quorum: int) -> None:
    checked_array(match, np.uint64, 2)
    checked_array(out, np.uint64, 1, written=True)
    count = checked_quorum(quorum, match.shape[1])
    same_groups(len(match), len(out))
    for group, row in enumerate(match.tolist()):
        out[group] = sorted(row, reverse=True)[count - 1]


def committed_joint(
    incoming: NDArray[np.uint64],
    incoming_quorum: int,
    outgoing: NDArray[np.uint64],
    outgoing_quorum: int,
    out: NDArray[np.uint64],
) -> None:
    for match in (incoming, outgoing):
        checked_array(match, np.uint64, 2)
    checked_array(out, np.uint64, 1, written=True)
    count = checked_quorum(incoming_quorum, incoming.shape[1])
    other_count = checked_quorum(outgoing_quorum, outgoing.shape[1])
    same_groups(len(incoming), len(out))
    same_groups(len(outgoing), len(out))
    rows = zip(incoming.tolist(), outgoing.tolist(), strict=True)
    for group, (row, other) in enumerate(rows):
        mine = sorted(row, reverse=True)[count - 1]
        theirs = sorted(other, reverse=True)[other_count - 1]
        out[group] = min(mine, theirs)


def votes(ballots: NDArray[np.int8], out: NDArray[np.int8], quorum: int) -> None:
    checked_array(ballots, np.int8, 2)
    checked_array(out, np.int8, 1, written=True)
    count = checked_quorum(quorum, ballots.shape[1])
    same_groups(len(ballots), len(out))
    for group, row in enumerate(ballots.tolist()):
        granted = sum(ballot > 0 for ballot in row)
        possible = sum(ballot >= 0 for ballot in row)
        out[group] = 1 if granted >= count else -1 if possible < count else 0


# --- one group -----------------------------------------------------------------------------------


def checked_word(value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise SettingTypeError(f"an index must be an int, not {type(value).__name__}")
    number = operator.index(value)
    if not 0 <= number < 1 << 64:
        raise LimitError(f"index {number} lies outside 0 ... 2**64-1")
    return number


def committed_of(values: list[int], quorum: int) -> int:
    if not isinstance(values, list):
        raise TypeError(f"expected list, got {type(values).__name__}")
    count = checked_quorum(quorum, len(values))
    return sorted(map(checked_word, values), reverse=True)[count - 1]


def committed_map(voters: tuple[Hashable, ...], match: Mapping[Any, int], quorum: int) -> int:
    return committed_of([match.get(voter, 0) for voter in voters], quorum)


# --- timers --------------------------------------------------------------------------------------


@final
class Timers:
    """A timer for each row: the ticks that remain, 0 when it does not run."""

    def __init__(self, rows: int) -> None:
        self._ticks = [0] * checked_rows(rows, 0)
        self.now = 0

    def __len__(self) -> int:
        return len(self._ticks)

    def _row(self, row: int) -> int:
        if not 0 <= operator.index(row) < len(self._ticks):
            raise RowError(f"row {row}: there are {len(self._ticks)} rows")
        return operator.index(row)

    def set(self, row: int, ticks: int) -> None:
        at = self._row(row)
        self._ticks[at] = checked_ticks(ticks)

    def set_many(self, rows: NDArray[np.uint32], ticks: int | NDArray[np.uint16]) -> None:
        checked_array(rows, np.uint32, 1)
        chosen = [self._row(row) for row in rows.tolist()]
        if isinstance(ticks, np.ndarray):
            checked_array(ticks, np.uint16, 1)
            each = ticks.tolist()
            if len(each) != len(chosen):
                raise ValueError(f"{len(each)} ticks for {len(chosen)} rows")
        else:
            each = [checked_ticks(ticks)] * len(chosen)
        for number in each:
            checked_ticks(number)
        for row, number in zip(chosen, each, strict=True):
            self._ticks[row] = number

    def stop(self, row: int) -> None:
        self._ticks[self._row(row)] = 0

    def remaining(self, row: int) -> int:
        return self._ticks[self._row(row)]

    def tick(self) -> NDArray[np.uint32]:
        self.now += 1
        fired = [row for row, ticks in enumerate(self._ticks) if ticks == 1]
        self._ticks = [max(ticks - 1, 0) for ticks in self._ticks]
        return np.array(fired, dtype=np.uint32)

    def grow(self, rows: int) -> None:
        wanted = checked_rows(rows, len(self._ticks))
        self._ticks += [0] * (wanted - len(self._ticks))


def checked_ticks(ticks: int) -> int:
    if not 1 <= operator.index(ticks) <= TIMER_TICKS_MAX:
        raise SettingError(f"{ticks} ticks; a timer takes 1 ... {TIMER_TICKS_MAX}")
    return operator.index(ticks)


def checked_rows(rows: int, least: int) -> int:
    number = operator.index(rows)
    if number < 0:
        raise SettingError(f"{rows} rows; there may be 0 or more")
    if number > GROUPS_MAX:
        raise LimitError(f"{rows} rows; there may be at most {GROUPS_MAX}")
    if number < least:
        raise SettingError(f"{rows} rows; there are {least} already, and none can be taken away")
    return number
