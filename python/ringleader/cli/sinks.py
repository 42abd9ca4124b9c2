"""Keys and their nodes into a file, a piece at a time.

    .csv, -     the key, then the node(s); quoted only where RFC 4180 asks for it; a newline
                ends a line.  The bytes of a key are written as they were read.
    .parquet    the key in its own type, the nodes as a dictionary of their names.
    .arrow      the same, as an Arrow IPC file (Feather V2).

A file appears under its name only when it is complete: until then it is written beside it.
"""

from __future__ import annotations

import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ringleader.cli.extras import needed
from ringleader.cli.sources import Keys, Source, cell_bytes
from ringleader.errors import FormatError, OutputExists, SettingError
from ringleader.limits import FILE_GROUP_BYTES_MAX as GROUP_BYTES
from ringleader.limits import FILE_GROUP_ROWS as GROUP_ROWS

SUFFIXES = (".csv", ".parquet", ".arrow")


class Sink(ABC):
    """Receives keys and the positions of their nodes, and writes them."""

    @abstractmethod
    def write(self, keys: Keys, positions: NDArray[np.uint32]) -> None:
        """Write some rows.

        Args:
            keys: from the source this sink was opened for.
            positions: of shape (len(keys), number of node columns), into the names of the nodes.
        """

    def close(self) -> None:  # noqa: B027  most have nothing left
        """Write what is left, and the end of the file."""

    def abandon(self) -> None:  # noqa: B027  most have nothing to let go of
        """Let go of the file, whose content no longer matters."""


class Nowhere(Sink):
    """For whoever only wants the counts."""

    def write(self, keys: Keys, positions: NDArray[np.uint32]) -> None:
        pass


def is_typed(path: str | None) -> bool:
    """Whether this output has typed columns."""
    return path is not None and Path(path).suffix.lower() in {".parquet", ".arrow"}


@contextmanager
def open_sink(
    path: str | None,
    source: Source,
    node_columns: Sequence[str],
    names: Sequence[str],
    *,
    stdout: BinaryIO,
    force: bool,
) -> Iterator[Sink]:
    """A sink that writes to `path` ("-" is `stdout`, None is nowhere).

    The file is in place when the `with` block ends, and untouched when it ends in an error.

    Raises:
        OutputExists: there is such a file already and `force` is False.
        FormatError: the suffix is none of `SUFFIXES`.
        SettingError: two columns would have one name.
        OSError: the file cannot be written.
    """
    if path is None:
        yield Nowhere()
        return
    check_output(path, force)
    if source.name in node_columns:
        raise SettingError(
            f"{path} would have two columns {source.name!r}: choose another name for the nodes' "
            "with --node-column"
        )
    with ExitStack() as stack:
        file = stdout if path == "-" else stack.enter_context(replacing(path))
        suffix = Path(path).suffix.lower()
        if suffix == ".parquet":
            sink: Sink = _ParquetSink(file, source, node_columns, names)
        elif suffix == ".arrow":
            sink = _ArrowSink(file, source, node_columns, names)
        elif source.type is None:
            sink = _PlainCsvSink(file, source.name, node_columns, names)
        else:
            sink = _CsvSink(file, source.name, node_columns, names)
        try:
            yield sink
            sink.close()
        except BaseException:
            sink.abandon()
            raise


def check_output(path: str, force: bool) -> None:
    """What `open_sink` refuses because of the path alone."""
    if path == "-":
        return
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise FormatError(
            f"{path}: the suffix says what to write, and {suffix!r} is not one of "
            f"{', '.join(SUFFIXES)}; '-' writes CSV to standard output"
        )
    if is_typed(path):
        with needed("arrow", f"writing {suffix[1:]} files"):
            import pyarrow  # noqa: F401
    if os.path.isdir(path):
        raise IsADirectoryError(21, "is a directory", path)
    if os.path.lexists(path) and not force:
        raise OutputExists(f"{path} exists already; --force replaces it")


@contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends well, else disappears."""
    target = Path(os.path.realpath(path))  # a link stays a link
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(partial, flags, 0o666)
    except OSError as error:
        error.filename = path
        raise
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the name must not outlive a crash that the bytes did not
        os.replace(partial, target)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        raise


# --- CSV --------------------------------------------------------------------------------------


_SPECIAL = re.compile(rb'[",\r\n]')


def _quoted(cell: bytes) -> bytes:
    # Not by the csv module: whether that quotes a lone CR depends on the version of Python.
    return b'"%b"' % cell.replace(b'"', b'""') if _SPECIAL.search(cell) else cell


def _quoted_texts(texts: Iterable[str]) -> list[bytes]:
    return [_quoted(text.encode()) for text in texts]


def _header(columns: Iterable[str]) -> bytes:
    return b",".join(_quoted_texts(columns)) + b"\n"


class _PlainCsvSink(Sink):
    """CSV from lists of keys, where pyarrow is not installed."""

    def __init__(
        self, file: BinaryIO, key: str, node_columns: Sequence[str], names: Sequence[str]
    ) -> None:
        self._file = file
        self._names = np.array(_quoted_texts(names), dtype=object)
        file.write(_header([key, *node_columns]))

    def write(self, keys: Keys, positions: NDArray[np.uint32]) -> None:
        cells = [_quoted(key) if isinstance(key, bytes) else b"%d" % key for key in keys]
        owners = self._names[positions].T.tolist()
        rows = map(b",".join, zip(cells, *owners, strict=True))
        self._file.writelines(row + b"\n" for row in rows)


class _CsvSink(Sink):
    """The same bytes, from Arrow arrays: joined, the rows' values are the text of the file."""

    def __init__(
        self, file: BinaryIO, key: str, node_columns: Sequence[str], names: Sequence[str]
    ) -> None:
        import pyarrow as pa

        self._file = file
        quoted = _quoted_texts(names)
        binary = pa.large_binary()
        self._names = pa.array(quoted, binary)
        self._last_names = pa.array([name + b"\n" for name in quoted], binary)
        self._comma = pa.scalar(b",", binary)
        file.write(_header([key, *node_columns]))

    def write(self, keys: Keys, positions: NDArray[np.uint32]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = [self._names.take(pa.array(column)) for column in positions.T[:-1]]
        columns.append(self._last_names.take(pa.array(positions[:, -1])))
        rows = pc.binary_join_element_wise(_csv_cells(keys), *columns, self._comma)
        self._file.write(cell_bytes(rows))


def _csv_cells(keys: Any) -> Any:
    """The keys as they stand in a CSV file, as a large_binary array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(keys.type):
        return keys.cast(pa.large_string()).cast(pa.large_binary())
    cells = keys.cast(pa.large_binary())
    written = cell_bytes(cells)
    if not any(special in written for special in (b'"', b",", b"\n", b"\r")):
        return cells
    quote, nothing = pa.scalar(b'"', pa.large_binary()), pa.scalar(b"", pa.large_binary())
    doubled = pc.replace_substring(cells, '"', '""')
    quoted = pc.binary_join_element_wise(quote, doubled, quote, nothing)
    return pc.if_else(pc.match_substring_regex(cells, '[",\n\r]'), quoted, cells)


# --- Arrow and Parquet ------------------------------------------------------------------------


class _TypedSink(Sink):
    """Gathers rows into groups of a decent size."""

    def __init__(self, source: Source, node_columns: Sequence[str], names: Sequence[str]) -> None:
        import pyarrow as pa

        self._names = pa.array(list(names), pa.string())
        node_type = pa.dictionary(pa.int32(), pa.string())  # pandas reads signed indices only
        fields = [pa.field(source.name, source.type, nullable=False)]
        fields += [pa.field(column, node_type, nullable=False) for column in node_columns]
        self._schema = pa.schema(fields)
        self._waiting: list[Any] = []
        self._row_count = self._bytes = 0

    def write(self, keys: Keys, positions: NDArray[np.uint32]) -> None:
        import pyarrow as pa

        nodes = [
            pa.DictionaryArray.from_arrays(pa.array(column.astype(np.int32)), self._names)
            for column in positions.T
        ]
        self._waiting.append(pa.RecordBatch.from_arrays([keys, *nodes], schema=self._schema))
        self._row_count += len(keys)
        self._bytes += keys.nbytes
        if self._row_count >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._row_count > 0:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._write_group(table.combine_chunks())
        self._waiting = []
        self._row_count = self._bytes = 0

    @abstractmethod
    def _write_group(self, table: Any) -> None: ...


class _ParquetSink(_TypedSink):
    def __init__(
        self, file: BinaryIO, source: Source, node_columns: Sequence[str], names: Sequence[str]
    ) -> None:
        import pyarrow.parquet as pq

        super().__init__(source, node_columns, names)
        # A dictionary of the keys, which hardly ever repeat, would be built for nothing.
        self._writer = pq.ParquetWriter(file, self._schema, use_dictionary=list(node_columns))

    def _write_group(self, table: Any) -> None:
        self._writer.write_table(table, row_group_size=len(table))

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        with suppress(OSError, ValueError):
            self._writer.close()
        self._writer.is_open = False  # or its finalizer would write to a closed file


class _ArrowSink(_TypedSink):
    def __init__(
        self, file: BinaryIO, source: Source, node_columns: Sequence[str], names: Sequence[str]
    ) -> None:
        from pyarrow import ipc

        super().__init__(source, node_columns, names)
        self._writer = ipc.new_file(file, self._schema)

    def _write_group(self, table: Any) -> None:
        self._writer.write_table(table)

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        with suppress(OSError, ValueError):
            self._writer.close()
