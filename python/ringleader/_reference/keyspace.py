"""The twin of the kernel `keyspace`, on a dict."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from ringleader.errors import FormatError

Value: TypeAlias = "bytes | dict[bytes, bytes]"

_encode = msgspec.msgpack.Encoder().encode
_decode_batch = msgspec.msgpack.Decoder(tuple[int, list[tuple[bytes, bytes, bytes]]]).decode
_decode = msgspec.msgpack.Decoder(dict[bytes, bytes | dict[bytes, bytes]]).decode
_ABSENT: Any = object()


def _size(value: Value | None) -> int:
    return len(value) if isinstance(value, bytes) else 0


class Keyspace(dict[bytes, Value]):
    """Keys and values, in the order in which the keys came."""

    byte_count = 0

    def __init__(self, items: Any = ()) -> None:
        super().__init__()
        for key, value in dict(items).items():
            self[key] = value

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_checked(key))

    def get(self, key: bytes, default: Any = None) -> Any:
        return super().get(_checked(key), default)

    def __setitem__(self, key: bytes, value: Value) -> None:
        _checked(key)
        if type(value) is not bytes and type(value) is not dict:
            raise TypeError(f"{value!r} is neither bytes nor a dict")
        added = _size(value) - _size(self.get(key)) + (0 if key in self else len(key))
        super().__setitem__(key, value)
        self.byte_count += added

    def __delitem__(self, key: bytes) -> None:
        self.pop(key)

    def pop(self, key: bytes, default: Any = _ABSENT) -> Any:
        if key not in self:
            if default is _ABSENT:
                raise KeyError(key)
            return default
        value = super().pop(key)
        self.byte_count -= len(key) + _size(value)
        return value

    def dicts(self) -> list[dict[bytes, bytes]]:
        return [value for value in self.values() if isinstance(value, dict)]

    def copy(self) -> Keyspace:
        return Keyspace(self)

    def __repr__(self) -> str:
        return f"Keyspace({dict(self)!r})"

    def set_batch(
        self, payload: bytes, count_max: int, number_max: int
    ) -> tuple[int, int, list[dict[bytes, bytes]]] | None:
        try:
            number, commands = _decode_batch(payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None
        if len(commands) > count_max or not 0 <= number <= number_max:
            return None
        if any(name not in (b"SET", b"set") for name, _, _ in commands):
            return None
        replaced = []
        for _, key, value in commands:
            old = self.get(key)
            if isinstance(old, dict):
                replaced.append(old)
            self[key] = value
        return number, len(commands), replaced

    def pack(self) -> bytes:
        return _encode(dict(self))

    @staticmethod
    def unpack(data: bytes) -> Keyspace:
        try:
            return Keyspace(_decode(data))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise FormatError(f"no map of keys: {error}") from None


def _checked(key: object) -> bytes:
    if type(key) is not bytes:
        raise TypeError(f"a key is bytes, not {key!r}")
    return key
