"""A producer of Arrow C Data Interface capsules from raw buffers, sound or broken.

Libraries only export arrays that keep the rules; this one exports what it is told.  Buffers
are exactly as long as given, so that a sanitizer sees every byte read beyond.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any


class Schema(ctypes.Structure):
    pass


class Array(ctypes.Structure):
    pass


class Stream(ctypes.Structure):
    pass


_release_schema = ctypes.CFUNCTYPE(None, ctypes.POINTER(Schema))
_release_array = ctypes.CFUNCTYPE(None, ctypes.POINTER(Array))
_release_stream = ctypes.CFUNCTYPE(None, ctypes.POINTER(Stream))
_get_schema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Schema))
_get_next = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Stream), ctypes.POINTER(Array))
_get_last_error = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(Stream))

Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(Schema))),
    ("dictionary", ctypes.POINTER(Schema)),
    ("release", _release_schema),
    ("private_data", ctypes.c_void_p),
]
Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(Array))),
    ("dictionary", ctypes.POINTER(Array)),
    ("release", _release_array),
    ("private_data", ctypes.c_void_p),
]
Stream._fields_ = [
    ("get_schema", _get_schema),
    ("get_next", _get_next),
    ("get_last_error", _get_last_error),
    ("release", _release_stream),
    ("private_data", ctypes.c_void_p),
]

_capsule_new = ctypes.pythonapi.PyCapsule_New
_capsule_new.restype = ctypes.py_object
_capsule_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

#: What capsules and structs point to, for as long as the process lives: a test that releases
#: something twice should be told so by the count, not by a crash.
_alive: list[Any] = []


def _keep(thing: Any) -> Any:
    _alive.append(thing)
    return thing


class Releases:
    """Counts how often each struct of one producer was released."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {"schema": 0, "array": 0, "stream": 0}

    def callback(self, kind: str, prototype: Any) -> Any:
        def release(struct: Any) -> None:
            self.counts[kind] += 1
            struct.contents.release = ctypes.cast(None, prototype)

        return _keep(prototype(release))


def schema(
    format: bytes | None,
    children: Sequence[Schema] = (),
    dictionary: Schema | None = None,
    *,
    n_children: int | None = None,
    releases: Releases | None = None,
) -> Schema:
    struct = _keep(Schema())
    struct.format = format
    struct.n_children = len(children) if n_children is None else n_children
    if children:
        pointers = (ctypes.POINTER(Schema) * len(children))(*map(ctypes.pointer, children))
        struct.children = _keep(pointers)
    if dictionary is not None:
        struct.dictionary = ctypes.pointer(dictionary)
    struct.release = (releases or Releases()).callback("schema", _release_schema)
    return struct


def array(
    length: int,
    buffers: Sequence[bytes | None] | None,
    *,
    null_count: int = -1,
    offset: int = 0,
    n_buffers: int | None = None,
    children: Sequence[Array] = (),
    n_children: int | None = None,
    dictionary: Array | None = None,
    releases: Releases | None = None,
) -> Array:
    struct = _keep(Array())
    struct.length, struct.null_count, struct.offset = length, null_count, offset
    if buffers is not None:
        addresses = (ctypes.c_void_p * max(1, len(buffers)))()
        for i, buffer in enumerate(buffers):
            if buffer is not None:
                # A copy of its own, so that the sanitizer guards its end.
                own = _keep(bytes(bytearray(buffer)))
                addresses[i] = ctypes.cast(ctypes.c_char_p(own), ctypes.c_void_p).value
        struct.buffers = _keep(addresses)
    struct.n_buffers = len(buffers or ()) if n_buffers is None else n_buffers
    struct.n_children = len(children) if n_children is None else n_children
    if children:
        pointers = (ctypes.POINTER(Array) * len(children))(*map(ctypes.pointer, children))
        struct.children = _keep(pointers)
    if dictionary is not None:
        struct.dictionary = ctypes.pointer(dictionary)
    struct.release = (releases or Releases()).callback("array", _release_array)
    return struct


def capsule(struct: ctypes.Structure, name: bytes) -> Any:
    return _capsule_new(ctypes.addressof(struct), _keep(name), None)


class ArrayProducer:
    """Exports one array."""

    def __init__(self, schema: Schema, array: Array) -> None:
        self.schema, self.array = schema, array

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[Any, Any]:
        return capsule(self.schema, b"arrow_schema"), capsule(self.array, b"arrow_array")


class StreamProducer:
    """Exports a stream; each step is an array, or an error number with its message."""

    def __init__(
        self,
        schema: Schema | tuple[int, bytes | None],
        steps: Sequence[Array | tuple[int, bytes | None]],
        releases: Releases | None = None,
    ) -> None:
        left = list(steps)
        said: list[bytes | None] = [None]

        def get_schema(_: Any, out: Any) -> int:
            if isinstance(schema, tuple):
                said[0] = schema[1]
                return schema[0]
            ctypes.memmove(out, ctypes.addressof(schema), ctypes.sizeof(Schema))
            return 0

        def get_next(_: Any, out: Any) -> int:
            if not left:
                out.contents.release = ctypes.cast(None, _release_array)
                return 0
            step = left.pop(0)
            if isinstance(step, tuple):
                said[0] = step[1]
                return step[0]
            ctypes.memmove(out, ctypes.addressof(step), ctypes.sizeof(Array))
            return 0

        def get_last_error(_: Any) -> int | None:
            if said[0] is None:
                return None
            return ctypes.cast(ctypes.c_char_p(_keep(said[0])), ctypes.c_void_p).value

        self.stream = _keep(Stream())
        self.stream.get_schema = _keep(_get_schema(get_schema))
        self.stream.get_next = _keep(_get_next(get_next))
        self.stream.get_last_error = _keep(_get_last_error(get_last_error))
        self.stream.release = (releases or Releases()).callback("stream", _release_stream)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        return capsule(self.stream, b"arrow_array_stream")


class Answer:
    """Exports whatever it is given under either method's name."""

    def __init__(self, **methods: Callable[[], Any]) -> None:
        self.__dict__.update(methods)
