# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""The keys of a store: a mapping as compact as C can make it, in which whole batches are set."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from csrc cimport (
    RL_KEYSPACE_BYTES_MAX,
    RL_KEYSPACE_OBJECT,
    rl_entry,
    rl_entry_object,
    rl_entry_value,
    rl_keyspace,
    rl_keyspace_find,
    rl_keyspace_free,
    rl_keyspace_put,
    rl_keyspace_take,
    rl_pack_bytes_head,
    rl_pack_map_head,
    rl_packed,
    rl_packed_array,
    rl_packed_bytes,
    rl_packed_map,
    rl_packed_sets,
)

import os
from collections.abc import ItemsView, KeysView, Mapping, MutableMapping, ValuesView

from ringleader.errors import FormatError

_ABSENT = object()
#: Keys are chosen by strangers: what they collide under is a secret of this process.
_SECRET = int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little")


cdef inline bytes _bytes(const uint8_t *data, size_t size):
    return PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)


cdef inline object _value(const rl_entry *entry):
    if entry.value_bytes == RL_KEYSPACE_OBJECT:
        return <object>rl_entry_object(entry)
    return _bytes(rl_entry_value(entry), entry.value_bytes)


cdef inline const uint8_t *_data(bytes text):
    return <const uint8_t *>PyBytes_AS_STRING(text)


cdef Py_ssize_t _check_size(Py_ssize_t size) except -1:
    if <uint64_t>size > RL_KEYSPACE_BYTES_MAX:
        raise OverflowError(f"{size} bytes are too many for a key or a value")
    return size


@cython.final
cdef class Keyspace:
    """Keys and values, in the order in which the keys came, as a dict, in half of its memory.

    A value is bytes, which are copied, or a dict of bytes, which is held as it is.

    Args:
        items: a mapping, or pairs of keys and values.

    Attributes:
        byte_count: of all keys, and of all values that are bytes.
    """

    cdef rl_keyspace _space

    def __cinit__(self):
        self._space.secret[0], self._space.secret[1] = _SECRET

    def __init__(self, items=()):
        for key, value in items.items() if isinstance(items, Mapping) else items:
            self[key] = value

    def __dealloc__(self):
        cdef size_t number
        cdef rl_entry *entry
        for number in range(self._space.used):
            entry = self._space.entries[number]
            if entry != NULL and entry.value_bytes == RL_KEYSPACE_OBJECT:
                Py_DECREF(<object>rl_entry_object(entry))
        rl_keyspace_free(&self._space)

    @property
    def byte_count(self):
        return self._space.bytes

    cdef rl_entry *_find(self, bytes key) noexcept:
        return rl_keyspace_find(&self._space, _data(key), <size_t>PyBytes_GET_SIZE(key))

    def __len__(self):
        return self._space.live

    def __contains__(self, bytes key not None):
        return self._find(key) != NULL

    def __getitem__(self, bytes key not None):
        cdef rl_entry *entry = self._find(key)
        if entry == NULL:
            raise KeyError(key)
        return _value(entry)

    def get(self, bytes key not None, default=None, /):
        """The value of a key, or `default`.  O(1)."""
        cdef rl_entry *entry = self._find(key)
        return default if entry == NULL else _value(entry)

    def __setitem__(self, bytes key not None, value):
        cdef const uint8_t *data = NULL
        cdef Py_ssize_t size = 0
        cdef void *held = NULL
        cdef void *old
        _check_size(PyBytes_GET_SIZE(key))
        if type(value) is bytes:
            data = _data(value)
            size = _check_size(PyBytes_GET_SIZE(value))
        elif type(value) is dict:
            held = <void *>value
        else:
            raise TypeError(f"{value!r} is neither bytes nor a dict")
        if rl_keyspace_put(
            &self._space, _data(key), <size_t>PyBytes_GET_SIZE(key), data, <size_t>size, held, &old
        ):
            raise MemoryError
        if held != NULL:
            Py_INCREF(value)
        if old != NULL:
            Py_DECREF(<object>old)

    def __delitem__(self, bytes key not None):
        if self.pop(key, _ABSENT) is _ABSENT:
            raise KeyError(key)

    def pop(self, bytes key not None, default=_ABSENT, /):
        """Remove a key; its value, or `default`.  O(1).

        Raises:
            KeyError: it is not there, and no default is given.
        """
        cdef rl_entry *entry = self._find(key)
        if entry == NULL:
            if default is _ABSENT:
                raise KeyError(key)
            return default
        value = _value(entry)
        entry = rl_keyspace_take(&self._space, _data(key), <size_t>PyBytes_GET_SIZE(key))
        if entry.value_bytes == RL_KEYSPACE_OBJECT:
            Py_DECREF(value)
        free(entry)
        return value

    def __iter__(self):
        cdef size_t number = 0
        cdef uint64_t shape = self._space.shape
        cdef rl_entry *entry
        while True:
            if self._space.shape != shape:
                raise RuntimeError("keys have come or gone during iteration")
            if number >= self._space.used:
                return
            entry = self._space.entries[number]
            number += 1
            if entry != NULL:
                yield _bytes(entry.bytes, entry.key_bytes)

    def keys(self):
        return KeysView(self)

    def values(self):
        return ValuesView(self)

    def items(self):
        return ItemsView(self)

    def dicts(self):
        """The values that are dicts, in a list; no value that is bytes is copied.  O(n)."""
        cdef size_t number
        cdef rl_entry *entry
        cdef list found = []
        for number in range(self._space.used):
            entry = self._space.entries[number]
            if entry != NULL and entry.value_bytes == RL_KEYSPACE_OBJECT:
                found.append(<object>rl_entry_object(entry))
        return found

    def copy(self):
        """Another one with the same keys and values; dicts are shared."""
        return Keyspace(self)

    def __eq__(self, other):
        if not isinstance(other, Mapping):
            return NotImplemented
        if len(self) != len(other):
            return False
        for key, value in other.items():
            if type(key) is not bytes or self.get(key, _ABSENT) != value:
                return False
        return True

    __hash__ = None

    def __repr__(self):
        return f"Keyspace({dict(self)!r})"

    def set_batch(self, payload, uint32_t count_max, uint64_t number_max):
        """Set all keys of a batch at once, if it is nothing but `SET key value`.

        Args:
            payload: MessagePack, [number, [[b"SET" or b"set", key, value], ...]].
            count_max: of commands.
            number_max: the largest number.

        Returns:
            The number, how many commands there were, and the dicts that were replaced; or None:
            it is anything else, and nothing was done.
        """
        cdef Py_buffer buffer
        cdef rl_packed packed
        cdef uint64_t number = 0
        cdef uint32_t count = 0, parts = 0, size = 0, key_bytes = 0, value_bytes = 0
        cdef const uint8_t *key = NULL
        cdef const uint8_t *value = NULL
        cdef void *old
        cdef uint32_t _
        cdef list replaced = []
        PyObject_GetBuffer(payload, &buffer, PyBUF_SIMPLE)
        try:
            packed.at = <const uint8_t *>buffer.buf
            packed.end = packed.at + buffer.len
            if not rl_packed_sets(packed, &number, &count, &packed.at):
                return None
            if count > count_max or number > number_max:
                return None
            for _ in range(count):
                rl_packed_array(&packed, &parts)
                rl_packed_bytes(&packed, &key, &size)
                rl_packed_bytes(&packed, &key, &key_bytes)
                rl_packed_bytes(&packed, &value, &value_bytes)
                if rl_keyspace_put(&self._space, key, key_bytes, value, value_bytes, NULL, &old):
                    raise MemoryError
                if old != NULL:
                    replaced.append(<object>old)
                    Py_DECREF(<object>old)
        finally:
            PyBuffer_Release(&buffer)
        return number, count, replaced

    def pack(self):
        """The keys and values as a map of MessagePack; one pass to measure and one to copy."""
        cdef uint8_t head[8]
        cdef size_t total = rl_pack_map_head(head, <uint32_t>self._space.live)
        cdef size_t number
        cdef rl_entry *entry
        cdef bytes packed
        cdef uint8_t *out
        for number in range(self._space.used):
            entry = self._space.entries[number]
            if entry == NULL:
                continue
            total += rl_pack_bytes_head(head, entry.key_bytes) + entry.key_bytes
            if entry.value_bytes == RL_KEYSPACE_OBJECT:
                total += _dict_size(<dict>rl_entry_object(entry))
            else:
                total += rl_pack_bytes_head(head, entry.value_bytes) + entry.value_bytes
        packed = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>total)
        out = <uint8_t *>PyBytes_AS_STRING(packed)
        out += rl_pack_map_head(out, <uint32_t>self._space.live)
        for number in range(self._space.used):
            entry = self._space.entries[number]
            if entry == NULL:
                continue
            out = _put(out, entry.bytes, entry.key_bytes)
            if entry.value_bytes == RL_KEYSPACE_OBJECT:
                out = _put_dict(out, <dict>rl_entry_object(entry))
            else:
                out = _put(out, rl_entry_value(entry), entry.value_bytes)
        return packed

    @staticmethod
    def unpack(data):
        """What `pack` made bytes of.

        Raises:
            FormatError: these are no map of bytes and of maps of bytes.
        """
        cdef Py_buffer buffer
        cdef rl_packed packed
        cdef Keyspace made = Keyspace()
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            packed.at = <const uint8_t *>buffer.buf
            packed.end = packed.at + buffer.len
            made._unpack(&packed)
        finally:
            PyBuffer_Release(&buffer)
        return made

    cdef int _unpack(self, rl_packed *packed) except -1:
        cdef uint32_t count = 0, key_bytes = 0, value_bytes = 0, _
        cdef const uint8_t *key = NULL
        cdef const uint8_t *value = NULL
        cdef void *old
        if not rl_packed_map(packed, &count):
            raise FormatError("no map of keys")
        for _ in range(count):
            if not rl_packed_bytes(packed, &key, &key_bytes):
                raise FormatError("a key that is no bytes")
            _check_size(key_bytes)
            if rl_packed_bytes(packed, &value, &value_bytes):
                _check_size(value_bytes)
                if rl_keyspace_put(&self._space, key, key_bytes, value, value_bytes, NULL, &old):
                    raise MemoryError
                if old != NULL:
                    Py_DECREF(<object>old)
            else:
                self[_bytes(key, key_bytes)] = _take_dict(packed)
        if packed.at != packed.end:
            raise FormatError("something follows the map of keys")
        return 0


cdef dict _take_dict(rl_packed *packed):
    cdef uint32_t count = 0, size = 0, _
    cdef const uint8_t *data = NULL
    cdef dict fields = {}
    if not rl_packed_map(packed, &count):
        raise FormatError("a value that is neither bytes nor a map")
    for _ in range(count):
        if not rl_packed_bytes(packed, &data, &size):
            raise FormatError("a field that is no bytes")
        field = _bytes(data, size)
        if not rl_packed_bytes(packed, &data, &size):
            raise FormatError("a field's value that is no bytes")
        fields[field] = _bytes(data, size)
    return fields


cdef size_t _dict_size(dict fields) except 0:
    cdef uint8_t head[8]
    cdef size_t total = rl_pack_map_head(head, <uint32_t>len(fields))
    cdef bytes field, value
    for field, value in fields.items():
        _check_size(len(field))
        _check_size(len(value))
        total += rl_pack_bytes_head(head, <uint32_t>len(field)) + <size_t>len(field)
        total += rl_pack_bytes_head(head, <uint32_t>len(value)) + <size_t>len(value)
    return total


cdef inline uint8_t *_put(uint8_t *out, const uint8_t *data, uint32_t size) noexcept:
    out += rl_pack_bytes_head(out, size)
    memcpy(out, data, size)
    return out + size


cdef uint8_t *_put_dict(uint8_t *out, dict fields) except NULL:
    cdef bytes field, value
    out += rl_pack_map_head(out, <uint32_t>len(fields))
    for field, value in fields.items():
        out = _put(out, _data(field), <uint32_t>len(field))
        out = _put(out, _data(value), <uint32_t>len(value))
    return out


MutableMapping.register(Keyspace)
