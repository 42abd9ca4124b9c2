"""Keys and columns of keys, in plain Python.

A key's bytes: text is its UTF-8, bytes are themselves, an integer is its 64-bit two's
complement, little-endian.  A column is any container of keys; `Column` gives the bytes of all.
Arrow columns are read by pyarrow here, so that two independent readers check each other.
"""

from __future__ import annotations

import operator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ringleader.errors import (
    ColumnError,
    KeyEncodingError,
    KeyRangeError,
    KeyTypeError,
    MissingExtra,
)
from ringleader.limits import KEY_INT_MAX, KEY_INT_MIN

if TYPE_CHECKING:
    import pyarrow

# The numbers of csrc/keys.h.
PYTHON_ERROR, NULL, SURROGATE, NO_MEMORY, CORRUPT = 1, 2, 3, 4, 5


def key_bytes(key: Any, position: int = -1) -> bytes:
    """The bytes that stand for `key`; errors name its `position` unless that is negative."""
    who = f"key at position {position}" if position >= 0 else "the key"
    if isinstance(key, str):
        try:
            # The type's own method: a subclass may have replaced it.
            return str.encode(key, "utf-8")
        except UnicodeEncodeError:
            raise KeyEncodingError(
                f"{who} has a lone surrogate, which UTF-8 cannot encode; pass it as bytes"
            ) from None
    if isinstance(key, bytes | bytearray | memoryview):
        try:
            return memoryview(key).tobytes()
        except (ValueError, BufferError):
            raise KeyTypeError(f"{who} has no bytes: it was released") from None
    if isinstance(key, int) and not isinstance(key, bool):
        return _int_bytes(int.__index__(key), who)
    if isinstance(key, np.integer):
        with suppress(TypeError):  # numpy.timedelta64 counts as an integer, but is none
            return _int_bytes(operator.index(key), who)
    name = "None" if key is None else type(key).__name__[:100]
    advice = ""
    if isinstance(key, bool | float):
        advice = "; convert it to the one you mean"
    elif key is None:
        advice = "; drop or fill missing keys first"
    raise KeyTypeError(
        f"{who} is {name}, but a key is str, bytes, bytearray, memoryview or int{advice}"
    )


def _int_bytes(number: int, who: str) -> bytes:
    if not KEY_INT_MIN <= number <= KEY_INT_MAX:
        raise KeyRangeError(
            f"{who} is an int outside -2**63 ... 2**64-1; hash it yourself, or pass it as bytes"
        )
    return (number % 2**64).to_bytes(8, "little")


class Column:
    """The keys of a container, in order.

    `first` is the position of key 0 in a larger column that this one is a part of: errors
    name positions there.

    Attributes:
        is_words: every key is an integer.
        needs_gil: decoding touches Python objects, so threads cannot share the work.
        can_fail: decoding may meet a key that is no key (null, of a wrong type, damaged).
    """

    def __init__(self, keys: Any, first: int = 0) -> None:
        self._keys = keys
        self._first = first
        self.is_words = False
        self.needs_gil = False
        self.can_fail = True
        if isinstance(keys, list | tuple):
            self.needs_gil = True
            self._count = len(keys)
            self._read = self._read_objects
        elif isinstance(keys, np.ndarray):
            self._from_array(keys)
        elif hasattr(keys, "__arrow_c_stream__") or hasattr(keys, "__arrow_c_array__"):
            self._from_arrow(keys)
        else:
            raise KeyTypeError(
                f"{type(keys).__name__} is not a column of keys; pass a list, a tuple, "
                "a NumPy array or an Arrow column"
            )

    def __len__(self) -> int:
        return self._count

    def tolist(self, lo: int = 0, hi: int | None = None) -> list[bytes]:
        """The bytes of the keys [lo, hi), by default of all."""
        hi = self._count if hi is None else hi
        if not 0 <= lo <= hi <= self._count:
            raise ValueError(f"[{lo}, {hi}) lies outside a column of {self._count} keys")
        return [self._read(index) for index in range(lo, hi)]

    def raise_error(self, code: int, index: int) -> NoReturn:
        """Raise what stands behind the error `code` that decoding the key at `index` gave."""
        position = self._first + index
        if code == NULL:
            raise KeyTypeError(f"key at position {position} is null; drop or fill nulls first")
        if code == SURROGATE:
            raise KeyEncodingError(
                f"key at position {position} has a lone surrogate, which UTF-8 cannot encode; "
                "pass it as bytes"
            )
        if code == CORRUPT:
            raise ColumnError(
                f"key at position {position} lies outside its column: offsets, views or "
                "dictionary indices are damaged"
            )
        if code == NO_MEMORY:
            raise MemoryError(f"no memory to decode the key at position {position}")
        raise ValueError(f"{code} is no error of a column")

    def overlaps(self, address: int, nbytes: int) -> bool:
        """Whether the keys' memory, where its extent is known, meets these `nbytes`."""
        return any(
            nbytes > 0 and low < high and address < high and low < address + nbytes
            for low, high in self._extents()
        )

    def shares_memory(self, out: np.ndarray[Any, Any]) -> bool:
        """`overlaps` of a C-contiguous array."""
        return self.overlaps(out.ctypes.data, out.nbytes)

    # --- Python objects ---------------------------------------------------------------------

    def _read_objects(self, index: int) -> bytes:
        if len(self._keys) != self._count:
            raise ColumnError("the list of keys changed its size while it was read")
        return key_bytes(self._keys[index], self._first + index)

    # --- NumPy ------------------------------------------------------------------------------

    def _from_array(self, keys: np.ndarray[Any, Any]) -> None:
        if keys.ndim != 1:
            raise ColumnError(
                f"keys lie in one dimension, not in an array of shape {keys.shape}; "
                "ravel() it, or choose one column"
            )
        self._count = len(keys)
        kind = keys.dtype.kind
        self.is_words = kind in "iu"
        self.needs_gil = kind == "O"
        self.can_fail = kind not in "iuS"
        if isinstance(keys, np.ma.MaskedArray):
            for index in np.flatnonzero(np.ma.getmaskarray(keys)):
                self.raise_error(NULL, int(index))
            keys = keys.data
        self._keys = keys
        readers = {
            "i": self._read_object,
            "u": self._read_object,
            "S": self._read_object,
            "O": self._read_object,
            "U": self._read_ucs4,
            "T": self._read_variable_text,
        }
        if kind not in readers:
            raise KeyTypeError(
                f"an array of {keys.dtype.name} has no defined key bytes; "
                "convert it (astype) to integers, text or bytes first"
            )
        self._read = readers[kind]

    def _read_object(self, index: int) -> bytes:
        return key_bytes(self._keys[index], self._first + index)

    def _read_ucs4(self, index: int) -> bytes:
        # Not through NumPy's str, which refuses damaged cells in words of its own.
        cell = self._keys[index : index + 1]
        big = cell.dtype.newbyteorder("S").isnative == (np.dtype("<i4").isnative)
        try:
            text = str(cell.tobytes(), "utf-32-be" if big else "utf-32-le")
        except UnicodeDecodeError:
            self.raise_error(SURROGATE, index)
        return text.rstrip("\0").encode()

    def _read_variable_text(self, index: int) -> bytes:
        text = self._keys[index]
        if not isinstance(text, str):
            self.raise_error(NULL, index)
        return key_bytes(text, self._first + index)

    # --- Arrow ------------------------------------------------------------------------------

    def _from_arrow(self, keys: Any) -> None:
        try:
            import pyarrow as pa
        except ImportError as error:
            raise MissingExtra(
                "ringleader's plain-Python twin reads Arrow columns through pyarrow; "
                'pip install "ringleader[arrow]"'
            ) from error
        if hasattr(keys, "__arrow_c_stream__"):
            column = pa.chunked_array(keys)
        else:
            column = pa.chunked_array([pa.array(keys)])
        chunks, kind = list(column.chunks), column.type
        self._count = len(column)
        if pa.types.is_struct(kind):
            if kind.num_fields != 1:
                raise KeyTypeError(
                    f"an Arrow table of {kind.num_fields} columns is not one column of keys; "
                    "pick one"
                )
            for index, row in enumerate(column):
                if not row.is_valid:
                    self.raise_error(NULL, index)
            chunks, kind = [chunk.field(0) for chunk in chunks], kind.field(0).type
        if isinstance(kind, pa.BaseExtensionType):
            chunks, kind = [chunk.storage for chunk in chunks], kind.storage_type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        name = _refused_arrow_type(value)
        if name is not None:
            raise KeyTypeError(
                f"an Arrow column of {name} has no defined key bytes; "
                "cast it to integers, strings or binary first"
            )
        self.is_words = pa.types.is_integer(value)
        self.can_fail = not pa.types.is_integer(kind) or any(
            chunk.buffers()[0] is not None for chunk in chunks
        )
        self._keys = pa.chunked_array(chunks, kind)
        self._read = self._read_arrow

    def _read_arrow(self, index: int) -> bytes:
        scalar = self._keys[index]
        if hasattr(scalar, "index"):  # a dictionary's
            scalar = scalar.value
        if not scalar.is_valid:
            self.raise_error(NULL, index)
        if self.is_words:
            return key_bytes(scalar.as_py(), self._first + index)
        # The bytes as they are: text need not be valid UTF-8 to be a key.
        return bytes(scalar.as_buffer().to_pybytes())

    # --- memory -----------------------------------------------------------------------------

    def _extents(self) -> list[tuple[int, int]]:
        if isinstance(self._keys, np.ndarray) and not self.needs_gil and self._count > 0:
            return [np.lib.array_utils.byte_bounds(self._keys)]
        if hasattr(self._keys, "chunks"):
            return [
                (buffer.address, buffer.address + buffer.size)
                for chunk in self._keys.chunks
                for part in ([chunk, chunk.dictionary] if hasattr(chunk, "dictionary") else [chunk])
                for buffer in part.buffers()
                if buffer is not None
            ]
        return []


def _refused_arrow_type(kind: pyarrow.DataType) -> str | None:
    """The family of a type that keys cannot have, or None for one that they can."""
    from pyarrow import types

    if types.is_integer(kind) or types.is_fixed_size_binary(kind):
        return None
    for accepts in (
        *(types.is_string, types.is_large_string, types.is_string_view),
        *(types.is_binary, types.is_large_binary, types.is_binary_view),
    ):
        if accepts(kind):
            return None
    families = {
        "null": types.is_null,
        "bool": types.is_boolean,
        "float16": types.is_float16,
        "float32": types.is_float32,
        "float64": types.is_float64,
        "decimal": types.is_decimal,
        "date": types.is_date,
        "time": types.is_time,
        "timestamp": types.is_timestamp,
        "duration": types.is_duration,
        "interval": types.is_interval,
        "map": types.is_map,
        "struct": types.is_struct,
        "union": types.is_union,
        "dictionary": types.is_dictionary,
        "run-end encoded": types.is_run_end_encoded,
    }
    return next((name for name, test in families.items() if test(kind)), "list")
