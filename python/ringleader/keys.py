"""Keys, and the one way from any container of keys to an array of results.

`compute` is that way: it makes a `Column` of whatever the caller has, allocates or checks the
array for the results, shares the work out over threads, and hands runs of keys to a kernel.
Hashing a column and looking one up on a ring differ only in the kernel.
"""

from __future__ import annotations

import array
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from operator import index
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ringleader import kernels
from ringleader.errors import (
    KeyTypeError,
    OutputError,
    OutputTypeError,
    SettingError,
    SettingTypeError,
)
from ringleader.limits import (
    ITERATOR_CHUNK_KEYS,
    KERNEL_RUN_KEYS,
    THREAD_KEYS_MIN,
    THREADS_MAX,
)

__all__ = ["Column", "Key", "KeyColumn", "as_column", "compute", "key_bytes"]

Column = kernels.keys.Column
key_bytes = kernels.keys.key_bytes


class ArrowStream(Protocol):
    """Anything that exports itself as a stream of Arrow arrays."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


class ArrowArray(Protocol):
    """Anything that exports itself as one Arrow array."""

    def __arrow_c_array__(
        self, requested_schema: object | None = None
    ) -> tuple[object, object]: ...


Key: TypeAlias = str | bytes | bytearray | memoryview | int | np.integer[Any]
KeyColumn: TypeAlias = Iterable[Key] | NDArray[Any] | ArrowStream | ArrowArray

#: Fills result[lo:hi] from the keys [lo, hi) of the column.
Kernel: TypeAlias = Callable[[Column, NDArray[Any], int, int], object]


def as_column(keys: KeyColumn) -> Column:
    """The `Column` of any container of keys; an iterator is read to its end.

    Raises:
        KeyTypeError: `keys` is one key, a mapping, or a container of things that are no keys.
        ColumnError: its memory is damaged, or it has more than one dimension.
    """
    column = _random_access(keys)
    return Column(list(cast("Iterable[Key]", keys))) if column is None else column


def _random_access(keys: Any) -> Column | None:
    """The column of a container that is not merely iterable; None for an iterable."""
    if isinstance(keys, list | tuple | np.ndarray):
        return Column(keys)
    if isinstance(keys, Column):
        return keys
    if isinstance(keys, str | bytes | bytearray | memoryview | int | np.generic):
        raise KeyTypeError(
            f"{type(keys).__name__} is one key, not a column of keys; "
            "use get_node(key), or put it in a list"
        )
    if isinstance(keys, Mapping):
        raise KeyTypeError(
            f"{type(keys).__name__} is a mapping, not a column of keys; pass list(it) for its keys"
        )
    has_array = hasattr(keys, "__array__")
    # Such an object (a pandas Series) holds a NumPy array: no detour over Arrow, which some
    # can only take with pyarrow, and which would guess a type for mixed objects.
    if has_array and isinstance(getattr(keys, "dtype", None), np.dtype):
        return Column(np.asarray(keys))
    if hasattr(keys, "__arrow_c_stream__") or hasattr(keys, "__arrow_c_array__"):
        try:
            return Column(keys)
        except ImportError:
            if not has_array:
                raise
    if has_array or isinstance(keys, array.array):
        return Column(np.asarray(keys))
    if isinstance(keys, Iterable):
        return None
    return Column(keys)  # refuses it in words


def compute(
    keys: KeyColumn,
    kernel: Kernel,
    dtype: DTypeLike,
    width: int | None = None,
    out: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[Any]:
    """An array with `kernel`'s result for every key: of shape (n,), or (n, width).

    When an error is raised, `out` is as it was before; an interrupt (Ctrl-C) may leave it partly
    written.

    Raises:
        KeyTypeError, KeyRangeError, KeyEncodingError: a key, whose position is named.
        ColumnError: the column is damaged, or changed while it was read.
        OutputError, OutputTypeError: `out` cannot take the results.
        SettingError, SettingTypeError: `threads`.
    """
    kind = type(keys)
    if kind is list or kind is tuple or kind is np.ndarray:
        column = Column(keys)
    else:
        found = _random_access(keys)
        if found is None:
            iterable = cast("Iterable[Key]", keys)
            if out is None:
                _check_threads(threads)
                return _compute_iterator(iter(iterable), kernel, dtype, width)
            found = Column(list(iterable))
        column = found
    if type(threads) is not int or threads != 1:
        threads = _check_threads(threads)
    count = len(column)
    shape = count if width is None else (count, width)
    if out is None:
        result = np.empty(shape, dtype)
    else:
        _check_out(out, np.dtype(dtype), (count,) if width is None else (count, width), column)
        result = np.empty(shape, dtype) if column.can_fail else out
    if count > 0:
        if threads == 1:
            _run(column, kernel, result, 0, count)
        else:
            _share_out(column, kernel, result, count, threads)
    if out is None:
        return result
    if out is not result:
        out[...] = result
    return out


def _compute_iterator(
    keys: Iterator[Key], kernel: Kernel, dtype: DTypeLike, width: int | None
) -> NDArray[Any]:
    done = 0
    parts = [np.empty(0 if width is None else (0, width), dtype)]
    while chunk := list(islice(keys, ITERATOR_CHUNK_KEYS)):
        count = len(chunk)
        result = np.empty(count if width is None else (count, width), dtype)
        kernel(Column(chunk, done), result, 0, count)
        parts.append(result)
        done += count
    return np.concatenate(parts)


def _run(column: Column, kernel: Kernel, result: NDArray[Any], lo: int, hi: int) -> None:
    for at in range(lo, hi, KERNEL_RUN_KEYS):
        kernel(column, result, at, min(at + KERNEL_RUN_KEYS, hi))


def _share_out(
    column: Column, kernel: Kernel, result: NDArray[Any], count: int, threads: int
) -> None:
    shares = 1 if column.needs_gil else max(1, min(threads, count // THREAD_KEYS_MIN))
    bounds = [count * share // shares for share in range(shares + 1)]
    errors: list[BaseException | None] = [None] * shares

    def work(share: int) -> None:
        try:
            _run(column, kernel, result, bounds[share], bounds[share + 1])
        except BaseException as error:
            errors[share] = error

    workers = [
        threading.Thread(target=work, args=(share,), name=f"ringleader-{share}")
        for share in range(1, shares)
    ]
    started = []
    try:
        with suppress(RuntimeError):  # no more threads to be had: the rest is done here
            for worker in workers:
                worker.start()
                started.append(worker)
        work(0)
        for share in range(1 + len(started), shares):
            work(share)
    finally:
        _join(started)
    for error in errors:  # in the order of the keys, so the lowest position comes first
        if error is not None:
            raise error


def _join(workers: list[threading.Thread]) -> None:
    """Wait for all, whatever interrupts the wait: they write into the caller's array."""
    interrupt: KeyboardInterrupt | None = None
    for worker in workers:
        while worker.is_alive():
            try:
                worker.join()
            except KeyboardInterrupt as error:
                interrupt = error
    if interrupt is not None:
        raise interrupt


def _check_threads(threads: int) -> int:
    if isinstance(threads, bool):
        raise SettingTypeError("threads is bool, but it is a number of threads")
    try:
        threads = index(threads)
    except TypeError:
        raise SettingTypeError(
            f"threads is {type(threads).__name__}, but it is a number of threads"
        ) from None
    if not 1 <= threads <= THREADS_MAX:
        raise SettingError(f"threads={threads} is not within 1 ... {THREADS_MAX}")
    return threads


def _check_out(out: Any, dtype: np.dtype[Any], shape: tuple[int, ...], column: Column) -> None:
    error: type[OutputError | OutputTypeError] = OutputError
    if not isinstance(out, np.ndarray):
        error, wrong = OutputTypeError, f"it is {type(out).__name__}"
    elif out.dtype != dtype:
        error, wrong = OutputTypeError, f"its dtype is {out.dtype}"
    elif out.shape != shape:
        wrong = f"its shape is {out.shape}"
    elif not (flags := out.flags).c_contiguous:
        wrong = "it is not C-contiguous"
    elif not flags.writeable:
        wrong = "it is read-only"
    elif not flags.aligned:
        wrong = "it is not aligned"
    elif column.shares_memory(out):
        wrong = "it overlaps the keys, which would be overwritten"
    else:
        return
    raise error(
        f"out has to be a C-contiguous, writeable array of {dtype.name}, shape {shape}; {wrong}"
    )
