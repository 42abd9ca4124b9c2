"""Any container of keys, as blocks of 64-bit words or of byte spans.

A `Column` looks at its container once, when it is made: what it is, where its memory lies, how
the keys are laid out.  Whoever consumes it (hashing, rings) takes the C view out of `capsule`
and decodes blocks without asking again; integers and Arrow or NumPy text without the GIL.
"""

import numpy

from ringleader.errors import ColumnError, KeyEncodingError, KeyRangeError, KeyTypeError

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.list cimport PyList_AsTuple, PyList_GET_SIZE
from cpython.pycapsule cimport (
    PyCapsule_GetContext,
    PyCapsule_GetPointer,
    PyCapsule_IsValid,
    PyCapsule_New,
    PyCapsule_SetContext,
)
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from cpython.tuple cimport PyTuple_GET_SIZE
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.string cimport memset

from csrc cimport (
    RL_ARROW_COLUMNS,
    RL_ARROW_OK,
    RL_ARROW_REFUSED,
    RL_BLOCK_KEYS,
    RL_FREE_THREADED,
    RL_KEYS_CAPSULE,
    RL_KEYS_CORRUPT,
    RL_KEYS_NO_MEMORY,
    RL_KEYS_NULL,
    RL_KEYS_OK,
    RL_KEYS_PYTHON_ERROR,
    RL_KEYS_SURROGATE,
    ArrowArray,
    ArrowArrayStream,
    ArrowSchema,
    rl_arrow,
    rl_arrow_add,
    rl_arrow_free,
    rl_arrow_init,
    rl_arrow_overlaps,
    rl_arrow_type,
    rl_arrow_type_init,
    rl_cells,
    rl_cells_init_bytes,
    rl_cells_init_ints,
    rl_cells_init_text,
    rl_key_release,
    rl_key_room,
    rl_key_span,
    rl_keys,
    rl_objects,
    rl_objects_init,
    rl_objects_pending,
    rl_pykey_init,
    rl_scratch,
    rl_scratch_free,
    rl_span,
    rl_store64,
    rl_strings,
    rl_strings_init,
    rl_tuple_cells,
)

cnp.import_array()
rl_pykey_init(numpy.integer, KeyTypeError, KeyRangeError, KeyEncodingError)


def key_bytes(object key, Py_ssize_t position=-1):
    cdef rl_span span
    cdef rl_key_room room
    try:
        rl_key_span(key, position, &span, &room)
        return PyBytes_FromStringAndSize(<const char *>span.data, <Py_ssize_t>span.size)
    finally:
        rl_key_release(&room)


cdef void drop_column(object capsule) noexcept:
    Py_XDECREF(<PyObject *>PyCapsule_GetContext(capsule))


cdef inline bint extents_overlap(uintptr_t address, size_t nbytes, uintptr_t low, size_t size):
    return nbytes > 0 and size > 0 and address < low + size and low < address + nbytes


# The Arrow formats that keys cannot have: by their first characters, or as a whole.
cdef tuple ARROW_FAMILIES = (
    ("d:", "decimal"), ("td", "date"), ("tt", "time"), ("ts", "timestamp"), ("tD", "duration"),
    ("ti", "interval"), ("+s", "struct"), ("+m", "map"), ("+u", "union"),
    ("+r", "run-end encoded"), ("+l", "list"), ("+L", "list"), ("+vl", "list"), ("+vL", "list"),
    ("+w", "list"),
)
cdef dict ARROW_SCALARS = {
    "n": "null", "b": "bool", "e": "float16", "f": "float32", "g": "float64",
}


cdef str arrow_family(bytes format):
    """What people call the type of this format."""
    text = format.decode("utf-8", "replace")
    for prefix, name in ARROW_FAMILIES:
        if text.startswith(prefix):
            return name
    return ARROW_SCALARS.get(text) or f"type {text!r}"


@cython.final
cdef class Column:
    """See `ringleader._reference.keys.Column`; this one reads its container in place."""

    cdef rl_cells _cells
    cdef rl_objects _objects
    cdef rl_strings _strings
    cdef rl_arrow _arrow
    cdef const rl_keys *_keys
    cdef object _owner  # keeps alive what the C structs point into
    cdef Py_ssize_t _first
    cdef readonly bint can_fail

    def __cinit__(self, object keys, Py_ssize_t first=0):
        self._first = first
        self.can_fail = True
        if isinstance(keys, list):
            self._from_list(keys)
        elif isinstance(keys, tuple):
            self._from_tuple(keys)
        elif isinstance(keys, cnp.ndarray):
            self._from_array(keys)
        elif hasattr(keys, "__arrow_c_stream__"):
            self._from_arrow_stream(keys.__arrow_c_stream__())
        elif hasattr(keys, "__arrow_c_array__"):
            self._from_arrow_array(keys.__arrow_c_array__())
        else:
            raise KeyTypeError(
                f"{type(keys).__name__} is not a column of keys; pass a list, a tuple, "
                "a NumPy array or an Arrow column"
            )

    def __dealloc__(self):
        Py_XDECREF(rl_objects_pending(&self._objects, NULL))
        rl_arrow_free(&self._arrow)

    def __len__(self):
        return <Py_ssize_t>self._keys.count

    @property
    def capsule(self):
        capsule = PyCapsule_New(<void *>self._keys, RL_KEYS_CAPSULE, drop_column)
        PyCapsule_SetContext(capsule, <void *>self)
        Py_INCREF(self)
        return capsule

    @property
    def is_words(self):
        return bool(self._keys.is_words)

    @property
    def needs_gil(self):
        return bool(self._keys.needs_gil)

    def overlaps(self, uintptr_t address, size_t nbytes):
        cdef const rl_cells *cells = &self._cells
        cdef ptrdiff_t reach
        if self._keys == &self._arrow.keys:
            return bool(rl_arrow_overlaps(&self._arrow, address, nbytes))
        if self._keys != &cells.keys or cells.keys.count == 0:
            return False
        reach = (<ptrdiff_t>cells.keys.count - 1) * cells.stride
        return extents_overlap(
            address, nbytes, <uintptr_t>cells.data + (reach if reach < 0 else 0),
            <size_t>(-reach if reach < 0 else reach) + cells.width,
        )

    def shares_memory(self, out):
        cdef Py_buffer view
        PyObject_GetBuffer(out, &view, PyBUF_SIMPLE)
        cdef bint shared = self.overlaps(<uintptr_t>view.buf, <size_t>view.len)
        PyBuffer_Release(&view)
        return shared

    def raise_error(self, int code, Py_ssize_t index):
        cdef PyObject *pending
        position = self._first + index
        if code == RL_KEYS_PYTHON_ERROR:
            pending = rl_objects_pending(&self._objects, NULL)
            if pending != NULL:
                error = <object>pending
                Py_XDECREF(pending)
                raise error
        if code == RL_KEYS_NULL:
            raise KeyTypeError(f"key at position {position} is null; drop or fill nulls first")
        if code == RL_KEYS_SURROGATE:
            raise KeyEncodingError(
                f"key at position {position} has a lone surrogate, which UTF-8 cannot encode; "
                "pass it as bytes"
            )
        if code == RL_KEYS_CORRUPT:
            raise ColumnError(
                f"key at position {position} lies outside its column: offsets, views or "
                "dictionary indices are damaged"
            )
        if code == RL_KEYS_NO_MEMORY:
            raise MemoryError(f"no memory to decode the key at position {position}")
        raise ValueError(f"{code} is no error of a column")

    def tolist(self, Py_ssize_t lo=0, object hi=None):
        cdef uint64_t buffer[RL_BLOCK_KEYS]
        cdef rl_span spans[RL_BLOCK_KEYS]
        cdef rl_scratch scratch = rl_scratch(NULL, 0, 0, 0)
        cdef const rl_keys *keys = self._keys
        cdef const uint64_t *words
        cdef size_t at, stop, count, i
        cdef uint8_t cell[8]
        length = len(self)
        end = length if hi is None else hi
        if not 0 <= lo <= end <= length:
            raise ValueError(f"[{lo}, {end}) lies outside a column of {length} keys")
        out = []
        at, stop = lo, end
        try:
            while at < stop:
                count = min(stop - at, <size_t>RL_BLOCK_KEYS)
                if keys.is_words:
                    words = keys.words(keys, at, count, buffer, &scratch)
                    if words == NULL:
                        self.raise_error(scratch.error, scratch.error_index)
                    for i in range(count):
                        rl_store64(cell, words[i])
                        out.append(PyBytes_FromStringAndSize(<const char *>cell, 8))
                else:
                    count = keys.spans(keys, at, count, spans, &scratch)
                    if count == 0:
                        self.raise_error(scratch.error, scratch.error_index)
                    for i in range(count):
                        out.append(PyBytes_FromStringAndSize(
                            <const char *>spans[i].data, <Py_ssize_t>spans[i].size
                        ))
                at += count
        finally:
            rl_scratch_free(&scratch)
        return out

    cdef void _walk(self, PyObject *list_, const void *cells, size_t count, ptrdiff_t stride):
        rl_objects_init(
            &self._objects, list_, cells, count, stride, self._first, <PyObject *>ColumnError
        )
        self._keys = &self._objects.keys

    # The storage is what counts, whatever methods a subclass of list or tuple may have.
    cdef int _from_list(self, object keys) except -1:
        if RL_FREE_THREADED:
            # Another thread may write to the list at any moment: keep what is in it now.
            return self._from_tuple(PyList_AsTuple(keys))
        self._owner = keys
        self._walk(<PyObject *>keys, NULL, <size_t>PyList_GET_SIZE(keys), sizeof(PyObject *))
        return 0

    cdef int _from_tuple(self, object keys) except -1:
        self._owner = keys
        self._walk(NULL, rl_tuple_cells(keys), <size_t>PyTuple_GET_SIZE(keys), sizeof(PyObject *))
        return 0

    cdef int _from_array(self, cnp.ndarray keys) except -1:
        if not cnp.PyArray_CheckExact(keys) and isinstance(keys, numpy.ma.MaskedArray):
            return self._from_masked(keys)
        cdef int kind = cnp.PyArray_TYPE(keys)
        cdef void *data = cnp.PyArray_DATA(keys)
        cdef size_t width = <size_t>cnp.PyArray_ITEMSIZE(keys)
        cdef ptrdiff_t stride
        cdef size_t count
        cdef bint swapped = cnp.PyArray_ISBYTESWAPPED(keys)
        if cnp.PyArray_NDIM(keys) != 1:
            raise ColumnError(
                f"keys lie in one dimension, not in an array of shape {(<object>keys).shape}; "
                "ravel() it, or choose one column"
            )
        stride = cnp.PyArray_STRIDE(keys, 0)
        count = <size_t>cnp.PyArray_DIM(keys, 0)
        self._owner = keys
        if cnp.PyTypeNum_ISINTEGER(kind):
            rl_cells_init_ints(
                &self._cells, data, count, stride, width, cnp.PyTypeNum_ISSIGNED(kind), swapped
            )
            self.can_fail = False
        elif kind == cnp.NPY_STRING:
            rl_cells_init_bytes(&self._cells, data, count, stride, width)
            self.can_fail = False
        elif kind == cnp.NPY_UNICODE:
            rl_cells_init_text(&self._cells, data, count, stride, width, swapped)
        elif kind == cnp.NPY_OBJECT:
            if RL_FREE_THREADED:
                return self._from_tuple(PyList_AsTuple(keys.tolist()))
            self._walk(NULL, data, count, stride)
            return 0
        elif kind == cnp.NPY_VSTRING:
            # The array may be given another dtype later; what is in it now needs this one.
            dtype = (<object>keys).dtype
            self._owner = (keys, dtype)
            rl_strings_init(&self._strings, dtype, data, count, stride)
            self._keys = &self._strings.keys
            return 0
        else:
            raise KeyTypeError(
                f"an array of {(<object>keys).dtype.name} has no defined key bytes; "
                "convert it (astype) to integers, text or bytes first"
            )
        self._keys = &self._cells.keys
        return 0

    cdef int _from_masked(self, object keys) except -1:
        if keys.ndim == 1:
            for index in numpy.flatnonzero(numpy.ma.getmaskarray(keys)):
                self.raise_error(RL_KEYS_NULL, index)
        return self._from_array(keys.data)

    cdef int _arrow_schema(self, const ArrowSchema *schema) except -1:
        cdef rl_arrow_type type_
        cdef const ArrowSchema *culprit = NULL
        cdef int refusal = rl_arrow_type_init(&type_, schema, &culprit)
        if refusal == RL_ARROW_OK:
            rl_arrow_init(&self._arrow, &type_)
            self._keys = &self._arrow.keys
            return 0
        if refusal == RL_ARROW_COLUMNS:
            raise KeyTypeError(
                f"an Arrow table of {culprit.n_children} columns is not one column of keys; "
                "pick one"
            )
        if refusal == RL_ARROW_REFUSED:
            raise KeyTypeError(
                f"an Arrow column of {arrow_family(culprit.format)} has no defined key bytes; "
                "cast it to integers, strings or binary first"
            )
        raise ColumnError("the Arrow schema breaks the Arrow C Data Interface")

    cdef int _arrow_add(self, ArrowArray *array) except -1:
        cdef const char *what = NULL
        cdef size_t index = 0
        cdef int error
        if array.release == NULL:
            raise ColumnError("the Arrow array was released already")
        error = rl_arrow_add(&self._arrow, array, &what, &index)
        if error == RL_KEYS_CORRUPT:
            raise ColumnError(f"the Arrow column is damaged: {what.decode()}")
        if error != RL_KEYS_OK:
            self.raise_error(error, <Py_ssize_t>index)
        return 0

    cdef int _from_arrow_array(self, object capsules) except -1:
        cdef const ArrowSchema *schema
        if not isinstance(capsules, tuple) or len(capsules) != 2:
            raise ColumnError("__arrow_c_array__ gave no pair of capsules")
        schema = <const ArrowSchema *>arrow_pointer(capsules[0], b"arrow_schema")
        array = <ArrowArray *>arrow_pointer(capsules[1], b"arrow_array")
        if schema.release == NULL:
            raise ColumnError("the Arrow schema was released already")
        self._arrow_schema(schema)
        self._arrow_add(array)
        self.can_fail = self._arrow.can_fail
        return 0

    cdef int _from_arrow_stream(self, object capsule) except -1:
        cdef ArrowArrayStream *source
        cdef ArrowArrayStream stream
        source = <ArrowArrayStream *>arrow_pointer(capsule, b"arrow_array_stream")
        if source.release == NULL:
            raise ColumnError("the Arrow stream was read already")
        # A stream is read once: move it out, so that nobody reads or releases it again.
        stream = source[0]
        source.release = NULL
        try:
            self._read_arrow_stream(&stream)
        finally:
            stream.release(&stream)
        self.can_fail = self._arrow.can_fail
        return 0

    cdef int _read_arrow_stream(self, ArrowArrayStream *stream) except -1:
        cdef ArrowSchema schema
        cdef ArrowArray array
        cdef int error
        # Producers may compute here, on threads that need the GIL.
        memset(&schema, 0, sizeof(schema))
        with nogil:
            error = stream.get_schema(stream, &schema)
        if error != 0:
            raise_stream_error(stream, error)
        try:
            self._arrow_schema(&schema)
        finally:
            if schema.release != NULL:
                schema.release(&schema)
        while True:
            memset(&array, 0, sizeof(array))
            with nogil:
                error = stream.get_next(stream, &array)
            if error != 0:
                raise_stream_error(stream, error)
            if array.release == NULL:
                return 0
            self._arrow_add(&array)


cdef void *arrow_pointer(object capsule, const char *name) except NULL:
    if not PyCapsule_IsValid(capsule, name):
        raise ColumnError(f"the Arrow producer gave no {name.decode()} capsule")
    return PyCapsule_GetPointer(capsule, name)


cdef int raise_stream_error(ArrowArrayStream *stream, int error) except -1:
    cdef const char *text = stream.get_last_error(stream)
    reason = f"error {error}" if text == NULL else (<bytes>text).decode("utf-8", "replace")
    raise ColumnError(f"the Arrow stream failed: {reason}")
