# cython: binding=False, embedsignature=True, embedsignature.format=clinic
# (Methods that are plain builtins are called 5 ns faster than Cython's own; these take 30.)
"""The replicated log and the blocks in which its entries travel.

The theory of operation and the block's guarantees are in ringleader.consensus.log.
"""

cimport cython
cimport numpy as cnp
from cpython.buffer cimport PyBuffer_FillInfo, PyObject_CheckBuffer
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.list cimport PyList_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.number cimport PyNumber_Index
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from cpython.tuple cimport PyTuple_CheckExact
from libc.stddef cimport size_t
from libc.stdint cimport UINT64_MAX, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from csrc cimport (
    RL_BLOCK_BYTES_MAX,
    RL_BLOCK_CONTROL,
    RL_BLOCK_COUNT,
    RL_BLOCK_CRC,
    RL_BLOCK_ENDS,
    RL_BLOCK_ENTRIES_MAX,
    RL_BLOCK_ENTRY_BYTES,
    RL_BLOCK_FLAGS,
    RL_BLOCK_HEADER_BYTES,
    RL_BLOCK_INDEX,
    RL_BLOCK_MAGIC,
    RL_BLOCK_NEWER,
    RL_BLOCK_OK,
    RL_BLOCK_SHORT,
    RL_BLOCK_SIZE,
    RL_BLOCK_TERM,
    RL_BLOCK_VERSION,
    RL_BLOCK_VERSION_0,
    RL_LOG_CONTROL_BIT,
    RL_LOG_INDEX_MAX,
    RL_LOG_PAYLOAD_BYTES_MAX,
    RL_LOG_TERM_MAX,
    RL_RESERVE_NO_MEMORY,
    RL_RESERVE_OK,
    rl_arena,
    rl_arena_free,
    rl_arena_hold,
    rl_arena_unhold,
    rl_block,
    rl_block_ends,
    rl_block_header,
    rl_block_payload,
    rl_block_read,
    rl_block_seal,
    rl_block_start,
    rl_block_terms,
    rl_block_word,
    rl_load64,
    rl_log,
    rl_log_append,
    rl_log_append_block,
    rl_log_compact,
    rl_log_conflict,
    rl_log_find_control,
    rl_log_fit,
    rl_log_has_room,
    rl_log_move,
    rl_log_not_after,
    rl_log_payload,
    rl_log_reserve,
    rl_log_start,
    rl_log_truncate,
    rl_log_write_block,
    rl_put_spans,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_span,
    rl_store64,
)

import numpy as np

from ringleader.errors import (
    BlockError,
    FormatTypeError,
    LimitError,
    LogError,
    LogIndexError,
    SettingError,
    SettingTypeError,
    VersionError,
)

cnp.import_array()


cdef extern from *:
    """
    #ifdef Py_GIL_DISABLED
    #define RL_FREE_THREADED 1
    #else
    #define RL_FREE_THREADED 0
    #endif
    #define RL_LIST_ITEMS(list) (((PyListObject *)(list))->ob_item)
    #define RL_TUPLE_ITEMS(tuple) (((PyTupleObject *)(tuple))->ob_item)
    """
    bint RL_FREE_THREADED
    PyObject **RL_LIST_ITEMS(object items) noexcept
    PyObject **RL_TUPLE_ITEMS(object items) noexcept

cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLong(object number) noexcept
    Py_ssize_t PyList_GET_SIZE(object items) noexcept
    Py_ssize_t PyTuple_GET_SIZE(object items) noexcept
    PyObject *PyTuple_GET_ITEM(tuple items, Py_ssize_t at) noexcept
    void PyTuple_SET_ITEM(tuple items, Py_ssize_t at, object item) noexcept  # steals item
    Py_ssize_t rl_references "Py_REFCNT"(PyObject *item) noexcept
    bint rl_is_bytes "PyBytes_CheckExact"(PyObject *item) noexcept
    Py_ssize_t rl_bytes_size "PyBytes_GET_SIZE"(PyObject *item) noexcept
    const uint8_t *rl_bytes_data "(const uint8_t *)PyBytes_AS_STRING"(PyObject *item) noexcept

assert RL_BLOCK_BYTES_MAX == 1073741824  # the default of max_bytes, which has to be a literal

cdef enum:
    # Work on more bytes than this takes longer than giving the GIL away and taking it back.
    NOGIL_BYTES = 65536
    # Payloads looked at, then copied, at a time.
    CHUNK = 256

rl_simd()  # decided here, under the import lock, and then only read

BLOCK_HEADER_BYTES = RL_BLOCK_HEADER_BYTES
BLOCK_VERSION = RL_BLOCK_VERSION
CONTROL_BIT = RL_LOG_CONTROL_BIT


def simd_supported():
    return rl_simd_supported()


def simd():
    return rl_simd()


def simd_force(int level):
    if rl_simd_force(level) != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


# --- numbers --------------------------------------------------------------------------------

cdef int read_number(str name, object number, uint64_t *value) except -1:
    """`number` as an integer; UINT64_MAX when it is negative, or that large or larger."""
    if not PyLong_CheckExact(number):
        if isinstance(number, bool):
            raise SettingTypeError(f"{name} is bool, but it is an int")
        try:
            number = PyNumber_Index(number)
        except TypeError:
            raise SettingTypeError(
                f"{name} is {type(number).__name__}, but it is an int"
            ) from None
    value[0] = PyLong_AsUnsignedLongLong(number)
    if value[0] == UINT64_MAX and PyErr_Occurred():
        PyErr_Clear()
    return 0


cdef inline int read_index(str name, object number, uint64_t *value) except -1:
    read_number(name, number, value)
    if value[0] > RL_LOG_INDEX_MAX:
        raise LogIndexError(f"{name} is {number}, but an index is 0 ... 2**62-1")
    return 0


cdef inline int read_term(str name, object number, uint64_t *value) except -1:
    read_number(name, number, value)
    if value[0] > RL_LOG_TERM_MAX:
        raise LogError(f"{name} is {number}, but a term is 0 ... 2**62-1")
    return 0


cdef inline int read_bytes_max(object number, uint64_t *value) except -1:
    read_number("max_bytes", number, value)
    if value[0] == UINT64_MAX:
        raise SettingError(f"max_bytes is {number}, but it is 0 ... 2**64-2")
    return 0


# --- payloads -------------------------------------------------------------------------------

cdef object payload_list(object payloads):
    """A list or tuple as it is, any other iterable as a list."""
    if PyTuple_CheckExact(payloads) or (PyList_CheckExact(payloads) and not RL_FREE_THREADED):
        return payloads
    if isinstance(payloads, str) or PyObject_CheckBuffer(payloads):
        raise SettingTypeError(
            f"payloads is {type(payloads).__name__}, but it is a list of payloads"
        )
    try:
        return tuple(payloads)  # that no other thread can change
    except TypeError:
        if hasattr(payloads, "__iter__"):
            raise
        raise SettingTypeError(
            f"payloads is {type(payloads).__name__}, but it is a list of payloads"
        ) from None


cdef object exact_payloads(object payloads):
    """Each of them as exactly bytes: what is no buffer is refused, other buffers are copied."""
    cdef list exact = []
    cdef Py_ssize_t position = 0
    for payload in payloads:
        if not PyBytes_CheckExact(payload):
            if not PyObject_CheckBuffer(payload):
                raise SettingTypeError(
                    f"payload at position {position} is {type(payload).__name__}, but a payload "
                    "is bytes or another buffer"
                )
            payload = bytes(memoryview(payload))
        exact.append(payload)
        position += 1
    return exact


cdef inline PyObject **items_of(object payloads, Py_ssize_t *count) noexcept:
    if PyList_CheckExact(payloads):
        count[0] = PyList_GET_SIZE(payloads)
        return RL_LIST_ITEMS(payloads)
    count[0] = PyTuple_GET_SIZE(payloads)
    return RL_TUPLE_ITEMS(payloads)


cdef int too_long(Py_ssize_t position) except -1:
    raise LimitError(
        f"payload at position {position} has more than {RL_LOG_PAYLOAD_BYTES_MAX} bytes "
        "(limits.PAYLOAD_BYTES_MAX)"
    )


cdef inline Py_ssize_t gather(
    PyObject **items, Py_ssize_t at, Py_ssize_t stop, rl_span *spans, size_t *sum
) except -2:
    """Spans of the items [at, stop), and their sum; -1, or the first that is not exactly bytes."""
    cdef Py_ssize_t i, size
    cdef size_t total = 0
    for i in range(at, stop):
        if not rl_is_bytes(items[i]):
            return i
        size = rl_bytes_size(items[i])
        if <uint64_t>size > RL_LOG_PAYLOAD_BYTES_MAX:
            too_long(i)
        spans[i - at].data = rl_bytes_data(items[i])
        spans[i - at].size = <size_t>size
        total += <size_t>size
    sum[0] = total
    return -1


# --- views ----------------------------------------------------------------------------------

@cython.final
@cython.no_gc
cdef class _Arena:
    """The memory of a log's entries; it lives as long as anybody uses it."""
    cdef rl_arena c

    def __init__(self):
        raise TypeError("an arena is made by a log")

    def __dealloc__(self):
        rl_arena_free(&self.c)


@cython.final
@cython.no_gc
cdef class _Window:
    """Bytes that belong to somebody else, who keeps them unchanged while this lives."""
    cdef object owner
    cdef rl_arena *held  # owner's, or NULL when owner is no arena
    cdef const void *data
    cdef Py_ssize_t size

    def __init__(self):
        raise TypeError("a window is made by a log")

    def __dealloc__(self):
        if self.held != NULL:
            rl_arena_unhold(self.held)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void *>self.data, self.size, True, flags)


cdef uint64_t nothing = 0


cdef _Window window(object owner, rl_arena *held, const void *data, size_t size):
    """`held` is held already, and released by the window."""
    cdef _Window made
    try:
        made = _Window.__new__(_Window)
    except MemoryError:
        if held != NULL:
            rl_arena_unhold(held)
        raise
    made.owner = owner
    made.held = held
    made.data = data if size else <const void *>&nothing  # never NULL
    made.size = <Py_ssize_t>size
    return made


cdef object array(object owner, int type_number, const void *data, cnp.npy_intp count):
    """A read-only array of what `owner` keeps unchanged.  (np.frombuffer takes five times as long.)
    """
    made = cnp.PyArray_SimpleNewFromData(1, &count, type_number, <void *>data)
    cnp.PyArray_CLEARFLAGS(made, cnp.NPY_ARRAY_WRITEABLE)
    cnp.set_array_base(made, owner)
    return made


cdef inline object word_array(object owner, const void *data, size_t size):
    return array(owner, cnp.NPY_UINT64, data, <cnp.npy_intp>(size // 8)) if size else _no_words


cdef inline object byte_array(object owner, const void *data, size_t size):
    return array(owner, cnp.NPY_UINT8, data, <cnp.npy_intp>size) if size else _no_bytes


cdef object window_words(_Window of):
    return word_array(of, of.data, <size_t>of.size)


cdef object window_bytes(_Window of):
    return byte_array(of, of.data, <size_t>of.size)

_no_words = np.empty(0, dtype=np.uint64)
_no_words.flags.writeable = False
_no_bytes = np.empty(0, dtype=np.uint8)
_no_bytes.flags.writeable = False


cdef inline void replace_item(tuple pair, Py_ssize_t at, object item):
    cdef PyObject *before = PyTuple_GET_ITEM(pair, at)
    Py_INCREF(item)
    PyTuple_SET_ITEM(pair, at, item)
    Py_DECREF(<object>before)


@cython.final
@cython.no_gc
cdef class _Commands:
    """Iterates over (index, payload) of the entries that are no control entries."""
    cdef object owner
    cdef const uint8_t *terms
    cdef const uint8_t *ends
    cdef const uint8_t *payload
    cdef uint64_t position  # of the next payload, counted as ends are
    cdef uint64_t origin    # of payload[0]
    cdef uint64_t index
    cdef size_t at
    cdef size_t count
    cdef bint is_block  # the columns are little-endian
    cdef tuple pair     # what was given last

    def __init__(self):
        raise TypeError("made by iterating over entries")

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint64_t word, end, start, index
        while self.at < self.count:
            if self.is_block:
                word = rl_load64(self.terms + 8 * self.at)
                end = rl_load64(self.ends + 8 * self.at)
            else:
                word = (<const uint64_t *>self.terms)[self.at]
                end = (<const uint64_t *>self.ends)[self.at]
            start, index = self.position, self.index + self.at
            self.at += 1
            self.position = end
            if word & RL_LOG_CONTROL_BIT:
                continue
            number = index
            command = PyBytes_FromStringAndSize(
                <const char *>self.payload + (start - self.origin), <Py_ssize_t>(end - start)
            )
            if RL_FREE_THREADED or self.pair is None or rl_references(<PyObject *>self.pair) != 1:
                self.pair = (number, command)
            else:  # nobody has kept the last one
                replace_item(self.pair, 0, number)
                replace_item(self.pair, 1, command)
            return self.pair
        raise StopIteration


# --- blocks ---------------------------------------------------------------------------------

cdef int block_error(int code, bytes data) except -1:
    if code == RL_BLOCK_NEWER:
        version = int.from_bytes(data[4:6], "little")
        raise VersionError(
            f"the block has format version {version}, and this ringleader reads up to "
            f"{RL_BLOCK_VERSION}; upgrade it"
        )
    if code == RL_BLOCK_SHORT:
        what = f"{len(data)} bytes are fewer than a block's header"
    elif code == RL_BLOCK_MAGIC:
        what = "it does not begin with 'RLBK'"
    elif code == RL_BLOCK_VERSION_0:
        what = "there is no format version 0"
    elif code == RL_BLOCK_FLAGS:
        what = "it has unknown flags"
    elif code == RL_BLOCK_COUNT:
        what = f"it has no entries, or more than {RL_BLOCK_ENTRIES_MAX}"
    elif code == RL_BLOCK_INDEX:
        what = "its indices are not all in 1 ... 2**62-1"
    elif code == RL_BLOCK_SIZE:
        what = f"its {len(data)} bytes are not what its header says, or too many"
    elif code == RL_BLOCK_CRC:
        what = "its checksum is another"
    elif code == RL_BLOCK_TERM:
        what = "its terms are not all in 1 ... 2**62-1, or go back"
    elif code == RL_BLOCK_CONTROL:
        what = "its flags and its terms differ about control entries"
    elif code == RL_BLOCK_ENDS:
        what = "its payloads' ends go back, or not up to the end"
    else:
        what = f"a payload has more than {RL_LOG_PAYLOAD_BYTES_MAX} bytes"
    raise BlockError(f"not a block: {what}")


cdef int read_block(bytes data, rl_block *block) except -1:
    cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef size_t size = <size_t>PyBytes_GET_SIZE(data)
    cdef int code
    if size < NOGIL_BYTES:
        code = rl_block_read(start, size, block)
    else:
        with nogil:
            code = rl_block_read(start, size, block)
    if code != RL_BLOCK_OK:
        block_error(code, data)
    return 0


cdef bytes block_bytes(object data):
    """The bytes themselves, or a copy of what can change."""
    if PyBytes_CheckExact(data):
        return <bytes>data
    if not PyObject_CheckBuffer(data):
        raise FormatTypeError(f"a block is bytes, not {type(data).__name__}")
    return bytes(memoryview(data))


cdef int no_entry(object index, object first, object last) except -1:
    if last < first:
        raise LogIndexError(f"there is no entry {index}: there are none")
    raise LogIndexError(f"there is no entry {index}: there are {first} ... {last}")


@cython.final
@cython.no_gc
cdef class Block:
    """Consecutive entries as one immutable run of bytes: the form in which they travel.

    Block(data) checks every guarantee (ringleader.consensus.log numbers them) and copies nothing
    when data is `bytes`; any other buffer is copied, for it could change.

    Raises:
        BlockError: a guarantee is broken.
        VersionError: a newer ringleader wrote it.
        FormatTypeError: data is no buffer.
    """
    cdef bytes data
    cdef rl_block c

    def __init__(self, object data):
        if self.data is not None:
            raise TypeError("a block never changes")
        cdef bytes exact = block_bytes(data)
        cdef rl_block read
        read_block(exact, &read)
        self.data = exact
        self.c = read

    @staticmethod
    def pack(object first, object terms, object payloads, bint control=False):
        """A block of `payloads` from index `first` on.

        Args:
            first: the index of the first entry.
            terms: the term of all, or a word for each as in `Block.terms`.
            payloads: bytes, or other buffers; at least one.
            control: mark all as control entries.

        Raises:
            SettingTypeError: something is of another type.
            SettingError: there are no payloads, or as many words as payloads.
            LogIndexError: an index outside 1 ... INDEX_MAX.
            LogError: a term outside 1 ... TERM_MAX, or one that goes back.
            LimitError: a payload, their number or the block is too large.
        """
        cdef uint64_t at, word, words = 0, before = 1
        cdef uint64_t mark = RL_LOG_CONTROL_BIT if control else 0
        cdef Py_ssize_t count, i
        cdef size_t bytes_in = 0
        cdef uint64_t total = 0
        cdef rl_span *spans
        cdef uint64_t *columns
        cdef PyObject **items
        cdef Block made
        cdef bytes data
        read_index("first", first, &at)
        if at == 0:
            raise LogIndexError("first is 0, but a first index is 1 ... 2**62-1")
        exact = exact_payloads(payload_list(payloads))
        items = items_of(exact, &count)
        if isinstance(terms, (int, np.integer)):
            listed = None
            read_word(terms, &word)
        else:
            listed = list(terms)
            if len(listed) != count:
                raise SettingError(f"there are {len(listed)} terms for {count} payloads")
        if count == 0:
            raise SettingError("a block holds at least one entry")
        if <uint64_t>count > RL_BLOCK_ENTRIES_MAX:
            raise LimitError(
                f"{count} entries are more than a block holds (limits.BLOCK_ENTRIES_MAX)"
            )
        if at + <uint64_t>count - 1 > RL_LOG_INDEX_MAX:
            raise LogIndexError("the last index is not in 1 ... 2**62-1")
        columns = <uint64_t *>PyMem_Malloc(<size_t>count * (8 + 8 + sizeof(rl_span)))
        if columns == NULL:
            raise MemoryError
        try:
            for i in range(count):
                if listed is not None:
                    read_word(listed[i], &word)
                if (word & ~RL_LOG_CONTROL_BIT) < before:
                    raise LogError(f"the term at position {i} goes back, or is 0")
                before = word & ~RL_LOG_CONTROL_BIT
                words |= word | mark
                rl_store64(&columns[i], word | mark)
            spans = <rl_span *>(columns + 2 * count)
            gather(items, 0, count, spans, &bytes_in)
            total = RL_BLOCK_HEADER_BYTES + RL_BLOCK_ENTRY_BYTES * <uint64_t>count + bytes_in
            if total > RL_BLOCK_BYTES_MAX:
                raise LimitError(f"{total} bytes are too many for a block (limits.BLOCK_BYTES_MAX)")
            data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>total)
            made = Block.__new__(Block)
            write_pack(
                <uint8_t *>PyBytes_AS_STRING(data), &made.c, at, <size_t>count, columns, spans,
                bytes_in, (words & RL_LOG_CONTROL_BIT) != 0
            )
            made.data = data
        finally:
            PyMem_Free(columns)
        return made

    @property
    def first(self):
        """The index of its first entry."""
        return self.c.first

    @property
    def last(self):
        """The index of its last entry."""
        return self.c.first + self.c.count - 1

    @property
    def last_term(self):
        """The term of its last entry."""
        return rl_block_word(&self.c, self.c.count - 1) & ~RL_LOG_CONTROL_BIT if self.c.count else 0

    @property
    def has_control(self):
        """Whether any of its entries is a control entry."""
        return self.c.has_control != 0

    @property
    def nbytes(self):
        """Bytes of the block, header included."""
        return len(self.data)

    @property
    def payload_bytes(self):
        """Bytes of all payloads."""
        return self.c.payload_bytes

    @property
    def crc(self):
        """Its CRC32C."""
        return self.c.crc

    @property
    def terms(self):
        """The words of the entries: the term, and CONTROL_BIT where it is a control entry."""
        return np.frombuffer(self.data, "<u8", self.c.count, RL_BLOCK_HEADER_BYTES)

    @property
    def ends(self):
        """Where each payload ends in `payload`."""
        return np.frombuffer(
            self.data, "<u8", self.c.count, RL_BLOCK_HEADER_BYTES + 8 * self.c.count
        )

    @property
    def ends_origin(self):
        """Where payload[0] stands in the count of `ends`: 0."""
        return 0

    @property
    def payload(self):
        """All payloads, one behind the other."""
        return np.frombuffer(self.data, np.uint8)[
            RL_BLOCK_HEADER_BYTES + RL_BLOCK_ENTRY_BYTES * self.c.count:
        ]

    cdef inline uint64_t at(self, object index) except? <uint64_t>-1:
        cdef uint64_t number
        read_index("index", index, &number)
        number -= self.c.first
        if number >= self.c.count:
            no_entry(index, self.c.first, self.c.first + self.c.count - 1)
        return number

    def term(self, object index):
        """The term of an entry."""
        return rl_block_word(&self.c, self.at(index)) & ~RL_LOG_CONTROL_BIT

    def is_control(self, object index):
        """Whether an entry is the consensus core's own."""
        return (rl_block_word(&self.c, self.at(index)) & RL_LOG_CONTROL_BIT) != 0

    def __len__(self):
        return <Py_ssize_t>self.c.count

    def __getitem__(self, object index):
        cdef uint64_t at = self.at(index), start = rl_block_start(&self.c, at)
        return memoryview(window(
            self.data, NULL, rl_block_payload(&self.c) + start,
            <size_t>(rl_block_start(&self.c, at + 1) - start)
        ))

    def __iter__(self):
        """(index, payload) of each entry that is no control entry."""
        cdef _Commands made = _Commands.__new__(_Commands)
        made.owner = self
        made.count = <size_t>self.c.count
        made.index = self.c.first
        made.is_block = True
        if made.count:
            made.terms = rl_block_terms(&self.c)
            made.ends = rl_block_ends(&self.c)
            made.payload = rl_block_payload(&self.c)
        return made

    def __bytes__(self):
        return self.data

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        cdef bytes data = self.data if self.data is not None else b""
        PyBuffer_FillInfo(buffer, self, PyBytes_AS_STRING(data), len(data), True, flags)

    def __eq__(self, object other):
        return self.data == (<Block>other).data if isinstance(other, Block) else NotImplemented

    def __hash__(self):
        return hash(self.data)

    def __repr__(self):
        return f"<Block of entries {self.first} ... {self.last}, {self.nbytes} bytes>"

    def __reduce__(self):
        return Block, (self.data,)


cdef int read_word(object number, uint64_t *word) except -1:
    read_number("a term", number, word)
    if not 1 <= word[0] & ~RL_LOG_CONTROL_BIT <= RL_LOG_TERM_MAX or word[0] == UINT64_MAX:
        raise LogError(f"a term is {number}, but it is 1 ... 2**62-1")
    return 0


cdef void write_pack(
    uint8_t *out, rl_block *block, uint64_t first, size_t count, uint64_t *columns,
    const rl_span *spans, size_t payload_bytes, bint has_control
) noexcept:
    """`columns` holds the words, little-endian, and room for as many ends."""
    cdef size_t size = RL_BLOCK_HEADER_BYTES + RL_BLOCK_ENTRY_BYTES * count + payload_bytes
    cdef size_t i
    rl_block_header(out, has_control, first, count, payload_bytes)
    block.data = out
    block.first = first
    block.count = count
    block.payload_bytes = payload_bytes
    block.has_control = has_control
    rl_put_spans(
        <uint8_t *>rl_block_payload(block), payload_bytes, 0, spans, count, columns + count
    )
    for i in range(count, 2 * count):
        rl_store64(&columns[i], columns[i])
    memcpy(<void *>rl_block_terms(block), columns, RL_BLOCK_ENTRY_BYTES * count)
    block.crc = rl_block_seal(out, size)


# --- entries --------------------------------------------------------------------------------

@cython.final
@cython.no_gc
cdef class Entries:
    """A zero-copy view of consecutive entries of a log; it never changes while it is held."""
    cdef _Arena arena  # held
    cdef const uint64_t *terms_at
    cdef const uint64_t *ends_at
    cdef const uint8_t *payload_at
    cdef uint64_t first_index
    cdef uint64_t start
    cdef uint64_t end
    cdef size_t count

    def __init__(self):
        raise TypeError("entries are seen through Log.entries()")

    def __dealloc__(self):
        if self.arena is not None:
            rl_arena_unhold(&self.arena.c)

    @property
    def first(self):
        """The index of its first entry."""
        return self.first_index

    @property
    def last(self):
        """The index of its last entry; first - 1 when there is none."""
        return <object>self.first_index + self.count - 1

    @property
    def terms(self):
        """The words of the entries: the term, and CONTROL_BIT where it is a control entry."""
        return word_array(self, self.terms_at, 8 * self.count)

    @property
    def ends(self):
        """Where each payload ends, in the count that begins `ends_origin` before payload[0]."""
        return word_array(self, self.ends_at, 8 * self.count)

    @property
    def ends_origin(self):
        """Where payload[0] stands in the count of `ends`."""
        return self.start

    @property
    def payload(self):
        """All payloads, one behind the other."""
        return byte_array(self, self.payload_at, <size_t>(self.end - self.start))

    @property
    def payload_bytes(self):
        """Bytes of all payloads."""
        return self.end - self.start

    cdef inline size_t at(self, object index) except? <size_t>-1:
        cdef uint64_t number
        read_index("index", index, &number)
        number -= self.first_index
        if number >= self.count:
            no_entry(index, self.first, self.last)
        return <size_t>number

    def term(self, object index):
        """The term of an entry."""
        return self.terms_at[self.at(index)] & ~RL_LOG_CONTROL_BIT

    def is_control(self, object index):
        """Whether an entry is the consensus core's own."""
        return (self.terms_at[self.at(index)] & RL_LOG_CONTROL_BIT) != 0

    def __len__(self):
        return <Py_ssize_t>self.count

    def __getitem__(self, object index):
        cdef size_t at = self.at(index)
        cdef uint64_t start = self.ends_at[at - 1] if at else self.start
        return memoryview(window(
            self, NULL, self.payload_at + (start - self.start), <size_t>(self.ends_at[at] - start)
        ))

    def __iter__(self):
        """(index, payload) of each entry that is no control entry."""
        cdef _Commands made = _Commands.__new__(_Commands)
        made.owner = self
        made.count = self.count
        made.index = self.first_index
        made.terms = <const uint8_t *>self.terms_at
        made.ends = <const uint8_t *>self.ends_at
        made.payload = self.payload_at
        made.position = made.origin = self.start
        return made

    def __repr__(self):
        if self.count == 0:
            return f"<Entries: none, before {self.first}>"
        return f"<Entries {self.first} ... {self.last}>"


# --- the log --------------------------------------------------------------------------------

@cython.final
@cython.no_gc
cdef class Log:
    """The entries of one replicated log, 1-based; it is used from one thread at a time.

    Args:
        index: the log begins after a snapshot up to this index ...
        term: ... whose last entry had this term.

    Raises:
        LogError: only one of the two is 0.
    """
    cdef rl_log c
    cdef _Arena arena
    cdef uint64_t written

    def __cinit__(self):
        self.written = 1

    def __init__(self, object index=0, object term=0):
        self.restore(index, term)

    cdef inline uint64_t end_index(self) noexcept:
        return self.c.base + self.c.count

    @property
    def first(self):
        """The index of the first entry held: base + 1, whether there is one or not."""
        return self.c.base + 1

    @property
    def last(self):
        """The index of the last entry; `base` when there is none."""
        return self.end_index()

    @property
    def last_term(self):
        """The term of the last entry; `base_term` when there is none."""
        return self.c.last_term

    @property
    def base(self):
        """The index up to which entries were compacted, or came with a snapshot."""
        return self.c.base

    @property
    def base_term(self):
        """The term of the entry at `base`."""
        return self.c.base_term

    @property
    def written_from(self):
        """The first entry that the latest append, append_block or try_append wrote.

        last + 1 when it wrote none: what is to be persisted is always [written_from, last].
        """
        return self.written

    @property
    def nbytes(self):
        """Bytes of memory reserved for entries."""
        if self.arena is None:
            return 0
        return self.arena.c.terms.bytes + self.arena.c.ends.bytes + self.arena.c.payload.bytes

    @property
    def payload_bytes(self):
        """Bytes of all payloads held."""
        return self.c.end - self.c.start

    @property
    def terms(self):
        """The words of the entries: the term, and CONTROL_BIT where it is a control entry."""
        return window_words(self.see(self.c.terms, 8 * self.c.count))

    @property
    def ends(self):
        """Where each payload ends, in the count of all payload bytes since the log was made.

        The payload of entry i of the columns is payload[ends[i-1] - ends_origin : ends[i] -
        ends_origin], from 0 for i == 0.
        """
        return window_words(self.see(self.c.ends, 8 * self.c.count))

    @property
    def ends_origin(self):
        """Where payload[0] stands in the count of `ends`."""
        return self.c.start

    @property
    def payload(self):
        """All payloads, one behind the other."""
        cdef size_t size = <size_t>(self.c.end - self.c.start)
        return window_bytes(
            self.see(rl_log_payload(&self.c, self.c.start) if size else NULL, size)
        )

    cdef _Window see(self, const void *data, size_t size):
        if size == 0:
            return window(None, NULL, NULL, 0)
        rl_arena_hold(&self.arena.c, self.c.head + self.c.count)
        return window(self.arena, &self.arena.c, data, size)

    cdef inline size_t at(self, object index) except? <size_t>-1:
        cdef uint64_t number
        read_index("index", index, &number)
        number -= self.c.base + 1
        if number >= self.c.count:
            self.refuse_index(index)
        return <size_t>number

    cdef int refuse_index(self, object index) except -1:
        if index <= self.c.base and index != 0:
            raise LogIndexError(f"entry {index} was compacted: the log begins after {self.base}")
        raise LogIndexError(f"there is no entry {index}: the last one is {self.last}")

    def __len__(self):
        return <Py_ssize_t>self.c.count

    def __getitem__(self, object index):
        cdef size_t at = self.at(index)
        cdef uint64_t start = rl_log_start(&self.c, at), end = self.c.ends[at]
        if start == end:
            return memoryview(b"")
        rl_arena_hold(&self.arena.c, self.c.head + at + 1)
        return memoryview(window(
            self.arena, &self.arena.c, rl_log_payload(&self.c, start), <size_t>(end - start)
        ))

    def __repr__(self):
        if self.c.count == 0:
            return f"<Log: no entries after {self.base}>"
        return f"<Log of entries {self.first} ... {self.last}>"

    # --- writing ----------------------------------------------------------------------------

    cdef int make_room(self, size_t slots, size_t size) except -1:
        """After this, so many entries can be written in place.  Runs no Python code."""
        cdef _Arena fresh
        cdef int code
        if rl_log_has_room(&self.c, slots, size):
            return 0
        code = rl_log_reserve(&self.c, slots, size)
        if code == RL_RESERVE_OK:
            return 0
        if code == RL_RESERVE_NO_MEMORY:
            raise MemoryError
        fresh = _Arena.__new__(_Arena)
        if rl_log_move(&self.c, &fresh.c, slots, size) != 0:
            raise MemoryError
        self.arena = fresh
        return 0

    cdef void undo(self, const rl_log *before) noexcept:
        """Forget what was written since; the memory may be another."""
        self.c.count = before.count
        self.c.end = before.end
        self.c.last_term = before.last_term

    cdef Py_ssize_t append_items(
        self, PyObject **items, Py_ssize_t count, uint64_t word
    ) except -2:
        """-1, or the first item that is not exactly bytes; then nothing is appended."""
        cdef rl_span spans[CHUNK]
        cdef rl_log before = self.c
        cdef Py_ssize_t at = 0, stop, found = -1
        cdef size_t size = 0
        try:
            while at < count:
                stop = min(at + CHUNK, count)
                found = gather(items, at, stop, spans, &size)
                if found >= 0:
                    break
                self.make_room(<size_t>(stop - at), size)
                rl_log_append(&self.c, word, spans, <size_t>(stop - at), size)
                at = stop
        except BaseException:
            self.undo(&before)
            raise
        if found >= 0:
            self.undo(&before)
        return found

    def append(self, object term, object payloads, bint control=False):
        """Append entries of one term; returns the index of the first of them.

        Args:
            term: not below the last entry's.
            payloads: a list or another iterable of bytes (other buffers are copied twice).
            control: mark them as the consensus core's own.

        Raises:
            LogError: the term is 0, or goes back.
            SettingTypeError: something is of another type; names the payload's position.
            LimitError: a payload is too long, or an index would leave its bounds.
        """
        cdef uint64_t number, first
        cdef Py_ssize_t count
        cdef PyObject **items
        read_term("term", term, &number)
        if not (PyList_CheckExact(payloads) and not RL_FREE_THREADED):
            payloads = payload_list(payloads)
        while True:
            if number < self.c.last_term or number == 0:
                self.refuse_term(number)
            first = self.end_index() + 1
            items = items_of(payloads, &count)
            if <uint64_t>count > RL_LOG_INDEX_MAX - self.end_index():
                raise LimitError("the log's indices would leave 1 ... 2**62-1 (limits.INDEX_MAX)")
            if self.append_items(
                items, count, number | RL_LOG_CONTROL_BIT if control else number
            ) < 0:
                break
            payloads = exact_payloads(payloads)
        self.written = first
        return first

    cdef int refuse_term(self, uint64_t term) except -1:
        if term == 0:
            raise LogError("an entry's term is 1 ... 2**62-1, not 0")
        raise LogError(f"term {term} goes back: the last entry has {self.last_term}")

    cdef int open_block(self, object block, rl_block *opened) except -1:
        if type(block) is Block:
            opened[0] = (<Block>block).c
            if opened.count == 0:
                raise BlockError("the block was never initialised")
            return 0
        read_block(<bytes>block, opened)
        return 0

    cdef int append_rest(self, const rl_block *block, uint64_t at) except -1:
        cdef size_t count = <size_t>(block.count - at)
        self.make_room(count, <size_t>(block.payload_bytes - rl_block_start(block, at)))
        rl_log_append_block(&self.c, block, at)
        return 0

    def append_block(self, object block):
        """Append a block, which begins where the log ends; returns the last index.

        Raises:
            LogError: it begins elsewhere, or with a term that goes back.
            BlockError, VersionError, FormatTypeError: it is no block.
        """
        cdef rl_block opened
        cdef uint64_t first = self.end_index() + 1
        cdef uint64_t term
        if type(block) is not Block:
            block = block_bytes(block)  # may run code of others: the log is looked at afterwards
        self.open_block(block, &opened)
        first = self.end_index() + 1
        if opened.first != first:
            raise LogError(f"a block from {opened.first} on does not follow entry {self.last}")
        term = rl_block_word(&opened, 0) & ~RL_LOG_CONTROL_BIT
        if term < self.c.last_term:
            self.refuse_term(term)
        self.append_rest(&opened, 0)
        self.written = first
        return self.end_index()

    def try_append(self, object prev_index, object prev_term, object block):
        """The receiver's rule of AppendEntries (Ongaro & Ousterhout 2014, figure 2 and 5.3).

        Args:
            prev_index: the index before the block's first entry.
            prev_term: that entry's term.
            block: a Block, or the bytes of one, or None for no entries.

        Returns:
            The index of the last entry now known to be the sender's: prev_index + len(block).
            Or, when the log holds no entry of prev_term at prev_index, the hint (index, term): its
            last entry up to there of a term not after prev_term.  Then nothing has changed.

        Raises:
            LogError: the block does not follow (prev_index, prev_term), or contradicts `base`.
            BlockError, VersionError, FormatTypeError: it is no block.
            LogIndexError, SettingTypeError: prev_index is no index.
        """
        cdef uint64_t index, term, last, block_at = 0
        cdef rl_block opened
        cdef rl_log before
        cdef size_t at, same
        read_index("prev_index", prev_index, &index)
        read_term("prev_term", prev_term, &term)
        opened.count = 0
        if block is not None:
            if type(block) is not Block and not PyBytes_CheckExact(block):
                block = block_bytes(block)
            self.open_block(block, &opened)
            if opened.first != index + 1:
                raise LogError(f"a block from {opened.first} on does not follow index {index}")
            if (rl_block_word(&opened, 0) & ~RL_LOG_CONTROL_BIT) < term:
                raise LogError(f"the block's first term goes back before prev_term {term}")
        last = self.end_index()
        if index >= self.c.base:
            at = <size_t>(index - self.c.base)
            if index > last or term != (
                self.c.terms[at - 1] & ~RL_LOG_CONTROL_BIT if at else self.c.base_term
            ):
                self.written = last + 1
                return self.not_after(min(index, last), term)
        elif index + opened.count <= self.c.base:
            self.written = last + 1
            return index + opened.count
        else:
            at = 0
            block_at = self.c.base - index
            if (rl_block_word(&opened, block_at - 1) & ~RL_LOG_CONTROL_BIT) != self.c.base_term:
                raise LogError(
                    f"the block contradicts the snapshot: entry {self.base} has term "
                    f"{self.base_term}"
                )
        same = rl_log_conflict(
            &self.c, at, &opened, block_at,
            <size_t>min(opened.count - block_at, <uint64_t>(self.c.count - at))
        )
        at += same
        block_at += same
        if block_at == opened.count:
            self.written = last + 1
            return index + opened.count
        before = self.c
        rl_log_truncate(&self.c, at)
        try:
            self.append_rest(&opened, block_at)
        except BaseException:
            self.undo(&before)
            raise
        self.written = opened.first + block_at
        return index + opened.count

    def truncate(self, object index):
        """Drop the entries from `index` on; none when it is past the end.

        Raises:
            LogError: it was compacted.
        """
        cdef uint64_t number
        read_index("index", index, &number)
        if number <= self.c.base:
            raise LogError(f"entry {index} cannot be dropped: the log begins after {self.base}")
        if number <= self.end_index():
            rl_log_truncate(&self.c, <size_t>(number - self.c.base - 1))

    def compact(self, object index):
        """Drop the entries up to `index`, which becomes `base`; none when they are gone already.

        O(1) for each entry dropped.

        Raises:
            LogError: it is past the end.
        """
        cdef uint64_t number
        read_index("index", index, &number)
        if number > self.end_index():
            raise LogError(f"cannot compact up to {index}: the last entry is {self.last}")
        if number > self.c.base:
            rl_log_compact(&self.c, <size_t>(number - self.c.base))

    def restore(self, object index, object term):
        """Drop all entries and begin after a snapshot whose last entry is (index, term).

        Raises:
            LogError: only one of the two is 0.
        """
        cdef uint64_t number, of_term
        read_index("index", index, &number)
        read_term("term", term, &of_term)
        if (number == 0) != (of_term == 0):
            raise LogError(f"a snapshot at index {number} of term {of_term} is impossible")
        memset(&self.c, 0, sizeof(rl_log))
        self.arena = None
        self.c.base = number
        self.c.base_term = self.c.last_term = of_term
        self.written = number + 1

    # --- reading ----------------------------------------------------------------------------

    def match(self, object prev_index, object prev_term):
        """Whether the log holds an entry of this index and term, or begins after it.

        False below `base`, where it is not known.
        """
        cdef uint64_t index, term
        read_index("prev_index", prev_index, &index)
        read_term("prev_term", prev_term, &term)
        index -= self.c.base
        if index == 0:
            return term == self.c.base_term
        if index > self.c.count:
            return False
        return term == self.c.terms[index - 1] & ~RL_LOG_CONTROL_BIT

    def term(self, object index):
        """The term of the entry at `index`; `base` has base_term.

        Raises:
            LogIndexError: it was compacted, or is past the end.
        """
        cdef uint64_t number
        read_index("index", index, &number)
        number -= self.c.base
        if number == 0:
            return self.c.base_term
        if number > self.c.count:
            self.refuse_index(index)
        return self.c.terms[number - 1] & ~RL_LOG_CONTROL_BIT

    def is_control(self, object index):
        """Whether the entry at `index` is the consensus core's own."""
        return (self.c.terms[self.at(index)] & RL_LOG_CONTROL_BIT) != 0

    def find_control(self, object lo):
        """The index of the first control entry from `lo` on; 0 if there is none."""
        cdef uint64_t number
        cdef size_t at
        read_index("lo", lo, &number)
        at = 0 if number <= self.c.base else <size_t>min(
            number - self.c.base - 1, <uint64_t>self.c.count
        )
        at = rl_log_find_control(&self.c, at)
        return self.c.base + 1 + at if at < self.c.count else 0

    cdef tuple not_after(self, uint64_t index, uint64_t term):
        cdef uint64_t found = self.c.base + rl_log_not_after(&self.c, term)
        if found > index:
            found = index
        if found <= self.c.base:
            return self.c.base, self.c.base_term
        return found, self.c.terms[found - self.c.base - 1] & ~RL_LOG_CONTROL_BIT

    def last_not_after(self, object index, object term):
        """(index, term) of the last entry up to `index` whose term is at most `term`.

        (base, base_term) when there is none.  Two logs find where they part by asking each other
        so, in as many questions as there are terms between them.
        """
        cdef uint64_t number, of_term
        read_index("index", index, &number)
        read_term("term", term, &of_term)
        return self.not_after(number, of_term)

    def payload_size(self, object lo, object hi):
        """Bytes of the payloads of those entries of [lo, hi) that are held."""
        cdef uint64_t low, high, begin = self.c.base + 1, end = self.end_index() + 1
        read_index("lo", lo, &low)
        read_number("hi", hi, &high)
        low = max(low, begin)
        high = min(high, end)
        if low >= high:
            return 0
        return (
            self.c.ends[high - begin - 1] - rl_log_start(&self.c, <size_t>(low - begin))
        )

    cdef int read_range(
        self, object lo, object hi, uint64_t *low, uint64_t *high, bint empty
    ) except -1:
        read_index("lo", lo, low)
        read_number("hi", hi, high)
        if low[0] <= self.c.base or high[0] > self.end_index() + 1 or low[0] > high[0] or (
            low[0] == high[0] and not empty
        ):
            raise LogIndexError(
                f"[{lo}, {hi}) is not within the entries {self.first} ... {self.last}"
            )
        return 0

    def block(self, object lo, object hi, object max_bytes=1073741824, bint bare=False):
        """The entries [lo, hi) as a block, or as many of them as max_bytes hold: at least one.

        Args:
            lo, hi: indices.
            max_bytes: of the whole block, header included.
            bare: leave out the payloads of all but control entries, as witnesses want it.

        Raises:
            LogIndexError: the log does not hold all of them, or lo is not below hi.
        """
        cdef uint64_t low, high, bytes_max, size
        cdef size_t at, count
        cdef Block made
        cdef bytes data
        cdef uint8_t *out
        cdef rl_log seen
        cdef _Arena kept
        self.read_range(lo, hi, &low, &high, False)
        read_bytes_max(max_bytes, &bytes_max)
        at = <size_t>(low - self.c.base - 1)
        count = rl_log_fit(&self.c, at, <size_t>(high - low), bytes_max, bare, &size)
        data = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        made = Block.__new__(Block)
        out = <uint8_t *>PyBytes_AS_STRING(data)
        if size < NOGIL_BYTES:
            rl_log_write_block(&self.c, at, count, bare, out, <size_t>size, &made.c)
        else:
            kept = self.arena
            seen = self.c  # whatever another thread might do: what is held stays
            rl_arena_hold(&kept.c, seen.head + seen.count)
            with nogil:
                rl_log_write_block(&seen, at, count, bare, out, <size_t>size, &made.c)
            rl_arena_unhold(&kept.c)
        made.data = data
        return made

    def entries(self, object lo, object hi, object max_bytes=1073741824):
        """A view of the entries [lo, hi), or as many of them as a block of max_bytes would hold.

        Raises:
            LogIndexError: the log does not hold all of them, or lo is above hi.
        """
        cdef uint64_t low, high, bytes_max, size
        cdef size_t at, count
        cdef Entries made
        self.read_range(lo, hi, &low, &high, True)
        read_bytes_max(max_bytes, &bytes_max)
        made = Entries.__new__(Entries)
        made.first_index = low
        if low == high:
            return made
        at = <size_t>(low - self.c.base - 1)
        count = rl_log_fit(&self.c, at, <size_t>(high - low), bytes_max, False, &size)
        made.count = count
        made.terms_at = self.c.terms + at
        made.ends_at = self.c.ends + at
        made.start = rl_log_start(&self.c, at)
        made.end = self.c.ends[at + count - 1]
        made.payload_at = rl_log_payload(&self.c, made.start)
        rl_arena_hold(&self.arena.c, self.c.head + at + count)
        made.arena = self.arena
        return made
