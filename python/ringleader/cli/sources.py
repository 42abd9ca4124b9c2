"""Columns of keys out of files of any size, a bounded piece at a time.

    .txt, -     one key a line.  "\\n" or "\\r\\n" ends a line and is not part of the key; nothing
                else is stripped.  An empty line is the empty key; after the last line end there
                is no further key.
    .csv        RFC 4180, comma-separated, UTF-8, with a header.  Blank lines are skipped; the
                empty key is written "".
    .parquet    only the key column is read.
    .arrow      an Arrow IPC file (Feather V2) or stream; memory-mapped, and not copied unless it
                is compressed.

With pyarrow every piece is an Arrow array.  Without it, text files still work: a piece is then a
list.  Rows and lines are counted from 1 in every message.
"""

from __future__ import annotations

import csv
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeAlias

import numpy as np

from ringleader.cli.extras import needed
from ringleader.errors import (
    ColumnNotFound,
    FormatError,
    KeyRangeError,
    KeyTypeError,
    SettingError,
)
from ringleader.keys import as_column
from ringleader.limits import FILE_BATCH_BYTES_MAX as BATCH_BYTES
from ringleader.limits import FILE_BATCH_KEYS as BATCH_KEYS
from ringleader.limits import FILE_BLOCK_BYTES as BLOCK_BYTES
from ringleader.limits import FILE_LINE_BYTES_MAX as LINE_BYTES_MAX

#: How cells of files without types (text, CSV) are read.
KEY_TYPES = ("text", "bytes", "int", "uint")
SUFFIXES = (".txt", ".csv", ".parquet", ".arrow")

_INT_RANGE = {"int": (-(2**63), 2**63 - 1), "uint": (0, 2**64 - 1)}
_INTEGER = re.compile(rb"-?[0-9]+")

#: A `pyarrow.Array`, or a list of bytes or ints where pyarrow is not installed.
Keys: TypeAlias = Any


class Source(ABC):
    """A column of keys in a file, open for reading once.

    Attributes:
        name: the column's.
        type: the `pyarrow.DataType` of its arrays; None where pyarrow is not installed.
    """

    def __init__(self, name: str, type_: Any, opened: ExitStack) -> None:
        self.name, self.type = name, type_
        self._opened = opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._opened.close()

    @abstractmethod
    def batches(self) -> Iterator[Keys]:
        """The keys, in order, in pieces of bounded size; none of them null."""

    @abstractmethod
    def fraction(self) -> float | None:
        """How much of the file was read, 0 ... 1; None where its size is not known."""


def open_source(
    path: str, column: str | None, key_type: str | None, *, stdin: BinaryIO, strict: bool
) -> Source:
    """The keys in the file at `path`; "-" is `stdin`, as text.

    Args:
        column: which column; may be None where there is only one.
        key_type: one of `KEY_TYPES`; None is "text", or the file's own type where it has one.
        strict: text has to be valid UTF-8, because a typed file will hold it.

    Raises:
        OSError: the file cannot be read.
        FormatError: it is damaged, or not what its suffix says.
        ColumnNotFound: there is no such column, or it cannot be told which one is meant.
        SettingError: an option that this kind of file has no use for.
        KeyTypeError: the column is of a type that has no defined key bytes.
    """
    suffix = ".txt" if path == "-" else Path(path).suffix.lower()
    if path != "-":
        os.stat(path)  # that it is not there matters more than its suffix
    if suffix not in SUFFIXES:
        raise FormatError(
            f"{path}: the suffix says how keys are read, and {suffix!r} is not one of "
            f"{', '.join(SUFFIXES)}; pipe lines of text in as '-'"
        )
    if suffix in {".parquet", ".arrow"} and key_type is not None:
        raise SettingError(f"{path}: the file has types of its own; leave --key-type out")
    if suffix == ".txt" and column is not None:
        raise SettingError(f"{path}: lines of text have no columns; leave --column out")
    if suffix == ".txt":
        return _open_text(path, key_type or "text", stdin, strict)
    with needed("arrow", f"reading {suffix[1:]} files"):
        import pyarrow  # noqa: F401
    if suffix == ".csv":
        return _open_csv(path, column, key_type or "text", strict)
    return (_open_parquet if suffix == ".parquet" else _open_arrow)(path, column)


# --- files without types ----------------------------------------------------------------------


class _Lines:
    """A text file in blocks of whole lines, each ended by one newline byte."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._stream, self._where = stream, where
        self.bytes_read = 0

    def __iter__(self) -> Iterator[bytes]:
        rest: list[bytes] = []  # the pieces of a line that is not complete yet
        rest_bytes = 0
        while chunk := self._stream.read(BLOCK_BYTES):
            self.bytes_read += len(chunk)
            cut = chunk.rfind(b"\n") + 1
            if cut > 0:
                block = b"".join([*rest, chunk[:cut]])
                rest, rest_bytes = [], 0
                yield block.replace(b"\r\n", b"\n") if b"\r\n" in block else block
            rest.append(chunk[cut:])
            rest_bytes += len(chunk) - cut
            if rest_bytes > LINE_BYTES_MAX:
                raise FormatError(
                    f"{self._where}: a line is longer than {LINE_BYTES_MAX} bytes; "
                    "is this a text file with one key a line?"
                )
        if rest_bytes > 0:
            yield b"".join(rest) + b"\n"


class _TextSource(Source):
    def __init__(
        self,
        lines: _Lines,
        size: int | None,
        split: Callable[[bytes, int], Keys],
        type_: Any,
        opened: ExitStack,
    ) -> None:
        super().__init__("key", type_, opened)
        self._lines, self._size, self._split = lines, size, split

    def batches(self) -> Iterator[Keys]:
        first = 0
        for block in self._lines:
            keys = self._split(block, first)
            yield keys
            first += len(keys)

    def fraction(self) -> float | None:
        return None if self._size is None else min(1.0, self._lines.bytes_read / self._size)


def _open_text(path: str, key_type: str, stdin: BinaryIO, strict: bool) -> Source:
    where = "standard input" if path == "-" else path
    with ExitStack() as opened:
        size = None
        stream = stdin
        if path != "-":
            stream = opened.enter_context(open(path, "rb"))
            size = os.fstat(stream.fileno()).st_size or None  # a pipe or a device says 0
        lines = _Lines(stream, where)
        if find_spec("pyarrow") is None:
            split, type_ = _list_splitter(key_type, where), None
        else:
            type_, convert = _converter(key_type, f"{where}: line", strict)

            def split(block: bytes, first: int) -> Keys:
                return convert(_split_arrow(block), first)

        return _TextSource(lines, size, split, type_, opened.pop_all())


def _split_arrow(block: bytes) -> Any:
    """The lines of a block, as an Arrow array: the same bytes without the newlines."""
    import pyarrow as pa

    data = np.frombuffer(block, np.uint8)
    inside = data != ord("\n")
    ends = np.flatnonzero(~inside)
    offsets = np.zeros(len(ends) + 1, np.int64)
    np.subtract(ends, np.arange(len(ends)), out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data[inside])]
    return pa.Array.from_buffers(pa.large_binary(), len(ends), buffers)


def _list_splitter(key_type: str, where: str) -> Callable[[bytes, int], Keys]:
    def split(block: bytes, first: int) -> Keys:
        cells = block.split(b"\n")
        del cells[-1]
        if key_type not in _INT_RANGE:
            return cells
        _check_integers(cells, key_type, f"{where}: line", first)
        return [int(cell) for cell in cells]

    return split


def _converter(key_type: str, where: str, strict: bool) -> tuple[Any, Callable[[Any, int], Any]]:
    """The Arrow type for cells of this key type, and what makes it of large_binary arrays."""
    import pyarrow as pa

    if key_type == "bytes" or (key_type == "text" and not strict):
        return pa.large_binary(), lambda cells, first: cells

    if key_type == "text":

        def text(cells: Any, first: int) -> Any:
            try:
                return cells.cast(pa.large_string())
            except pa.ArrowInvalid:
                _check_text(cells.to_pylist(), where, first)
                raise

        return pa.large_string(), text

    type_ = pa.int64() if key_type == "int" else pa.uint64()

    def integers(cells: Any, first: int) -> Any:
        try:
            # Arrow would read 0x1F, too: one spelling of integers is enough.
            written = cell_bytes(cells)
            if b"x" not in written and b"X" not in written:
                return cells.cast(pa.large_string()).cast(type_)
        except pa.ArrowInvalid:
            pass
        values = cells.to_pylist()
        _check_integers(values, key_type, where, first)
        return pa.array([int(value) for value in values], type_)

    return type_, integers


def cell_bytes(cells: Any) -> bytes:
    """The bytes of all cells of a large_binary or large_string array, one after the other."""
    if len(cells) == 0:
        return b""
    _, offsets, data = cells.buffers()
    bounds = np.frombuffer(offsets, np.int64, len(cells) + 1, cells.offset * 8)
    return bytes(memoryview(data)[bounds[0] : bounds[-1]]) if data is not None else b""


def _check_text(cells: list[bytes], where: str, first: int) -> None:
    for number, cell in enumerate(cells, first + 1):
        try:
            cell.decode()
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{where} {number} is not UTF-8 ({error.reason}); write CSV, or let "
                "--key-type bytes make it a binary column"
            ) from None


def _check_integers(cells: list[bytes], key_type: str, where: str, first: int) -> None:
    low, high = _INT_RANGE[key_type]
    for number, cell in enumerate(cells, first + 1):
        if not _INTEGER.fullmatch(cell):
            shown = cell[:40].decode(errors="backslashreplace")
            raise FormatError(f"{where} {number} is {shown!r}, which is not an integer")
        if len(cell) > 4300 or not low <= int(cell) <= high:  # int() reads no more digits
            hint = "; --key-type uint goes to 2**64-1" if key_type == "int" else ""
            raise KeyRangeError(f"{where} {number} is outside {low} ... {high}{hint}")


class _CsvSource(Source):
    def __init__(
        self,
        path: str,
        reader: Any,
        size: int,
        name: str,
        type_: Any,
        convert: Callable[[Any, int], Any],
        opened: ExitStack,
    ) -> None:
        super().__init__(name, type_, opened)
        self._path, self._reader, self._size, self._convert = path, reader, size, convert
        self._bytes_read = 0

    def batches(self) -> Iterator[Keys]:
        import pyarrow as pa

        first = 0
        with _damage(self._path):
            for batch in self._reader:
                yield self._convert(batch.column(0).cast(pa.large_binary()), first)
                first += len(batch)
                # pyarrow reads ahead, so that the position in the file would say too much.
                self._bytes_read += BLOCK_BYTES

    def fraction(self) -> float | None:
        return min(1.0, self._bytes_read / self._size)


def _open_csv(path: str, column: str | None, key_type: str, strict: bool) -> Source:
    import pyarrow as pa
    from pyarrow import csv as pa_csv

    with open(path, encoding="utf-8-sig", newline="") as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            header = next((row for row in csv.reader(stream) if row), None)
        except (UnicodeDecodeError, csv.Error) as error:
            raise FormatError(f"{path}: the header cannot be read: {error}") from None
    if header is None:
        raise FormatError(f"{path}: the file is empty; a CSV file begins with a header")
    name = _chosen(header, column, path)
    type_, convert = _converter(key_type, f"{path}: column {name!r}, row", strict)
    with ExitStack() as opened, _damage(path):
        reader = pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=[name], column_types={name: pa.binary()}
            ),
        )
        opened.enter_context(reader)
        return _CsvSource(path, reader, size, name, type_, convert, opened.pop_all())


# --- files with types -------------------------------------------------------------------------


class _TypedSource(Source):
    """Record batches, one column of which holds the keys."""

    def __init__(
        self,
        path: str,
        batches: Iterator[Any],
        fraction: Callable[[], float],
        name: str,
        type_: Any,
        opened: ExitStack,
    ) -> None:
        import pyarrow as pa

        try:
            as_column(pa.array([], type_))
        except KeyTypeError as error:
            raise KeyTypeError(f"{path}: column {name!r}: {error}") from None
        plain = type_.value_type if pa.types.is_dictionary(type_) else type_
        super().__init__(name, plain, opened)
        self._path, self._batches, self._fraction = path, batches, fraction

    def batches(self) -> Iterator[Keys]:
        first = 0
        with _damage(self._path):
            for batch in self._batches:
                keys = batch.column(batch.schema.get_field_index(self.name))
                if keys.type != self.type:
                    keys = keys.dictionary_decode()
                if keys.null_count:
                    row = first + keys.is_null().index(True).as_py() + 1
                    raise KeyTypeError(
                        f"{self._path}: column {self.name!r}, row {row} is null, and a null has "
                        "no node; drop or fill nulls first"
                    )
                yield keys
                first += len(keys)

    def fraction(self) -> float | None:
        return self._fraction()


def _open_parquet(path: str, column: str | None) -> Source:
    import pyarrow.parquet as pq

    with ExitStack() as opened, _damage(path):
        # A buffered read takes a column a page at a time, however large its row groups are.
        file = opened.enter_context(pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20))
        name = _chosen(file.schema_arrow.names, column, path)
        row_count = file.metadata.num_rows
        done = 0

        def batches() -> Iterator[Any]:
            nonlocal done
            options = {"columns": [name], "use_threads": False}
            probe = next(file.iter_batches(1024, **options), None)
            if probe is None:
                return
            for batch in file.iter_batches(_rows_of(probe), **options):
                yield batch
                done += len(batch)

        def fraction() -> float:
            return done / row_count if row_count else 1.0

        type_ = file.schema_arrow.field(name).type
        return _TypedSource(path, batches(), fraction, name, type_, opened.pop_all())


def _open_arrow(path: str, column: str | None) -> Source:
    import pyarrow as pa
    from pyarrow import ipc

    with ExitStack() as opened, _damage(path):
        size = os.stat(path).st_size
        if size == 0:  # which cannot be mapped
            raise FormatError(f"{path}: the file is empty")
        mapped = opened.enter_context(pa.memory_map(path))
        is_file = mapped.read(6) == b"ARROW1"
        open_reader = ipc.open_file if is_file else ipc.open_stream

        def reader(fields: list[int] | None) -> Any:
            mapped.seek(0)
            options = ipc.IpcReadOptions(included_fields=fields)
            return opened.enter_context(open_reader(mapped, options=options))

        schema = reader(None).schema
        name = _chosen(schema.names, column, path)
        chosen = reader([schema.get_field_index(name)])
        batch_count = chosen.num_record_batches if is_file else 0
        done = 0

        def whole() -> Iterator[Any]:
            nonlocal done
            for number in range(batch_count):
                yield chosen.get_batch(number)
                done += 1
            if not is_file:
                yield from chosen

        def batches() -> Iterator[Any]:
            for batch in whole():
                rows = _rows_of(batch)
                for start in range(0, len(batch), rows):
                    yield batch.slice(start, rows)

        def fraction() -> float:
            if is_file:
                return done / batch_count if batch_count else 1.0
            return float(mapped.tell() / size)

        type_ = schema.field(name).type
        return _TypedSource(path, batches(), fraction, name, type_, opened.pop_all())


def _rows_of(batch: Any) -> int:
    """How many rows like those of `batch` make a piece."""
    row_bytes = batch.nbytes / max(1, len(batch))
    return int(min(BATCH_KEYS, max(1, BATCH_BYTES // max(1, row_bytes))))


def _chosen(names: list[str], column: str | None, path: str) -> str:
    """The column meant, checked."""
    listed = ", ".join(repr(name) for name in names[:20]) + (", ..." if len(names) > 20 else "")
    if column is None:
        if len(names) != 1:
            raise ColumnNotFound(
                f"{path}: which of its {len(names)} columns holds the keys? "
                f"Choose with --column: {listed}"
            )
        return names[0]
    if column not in names:
        raise ColumnNotFound(f"{path}: there is no column {column!r}; there are {listed}")
    if names.count(column) > 1:
        raise ColumnNotFound(f"{path}: {names.count(column)} columns are called {column!r}")
    return column


@contextmanager
def _damage(path: str) -> Iterator[None]:
    """What pyarrow says of a damaged file, as a `FormatError` that names it."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowException as error:
        raise FormatError(f"{path}: {_one_line(error)}") from error
    except OSError as error:
        if error.errno is not None:
            if error.filename is None:
                error.filename = path
            raise
        raise FormatError(f"{path}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
