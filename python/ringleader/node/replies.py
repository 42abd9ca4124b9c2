"""What a command answers: Python values, their bytes in RESP2 and RESP3, their form between nodes.

    bytes               bulk string             int      integer
    str                 simple string ("OK")    None     null
    list, tuple         array                   dict     map (in RESP2 a flat array)
    bool                boolean (RESP2: 1, 0)   float    double (RESP2: a bulk string)
    set, frozenset      set (RESP2: an array)   Push     push (RESP2: an array)
    ReplyError          error                   NULL_ARRAY   null (in RESP2 the null array)

The two protocols: https://redis.io/docs/latest/develop/reference/protocol-spec.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias, final

import msgspec

from ringleader.errors import FormatError, RingleaderError
from ringleader.limits import REPLY_DEPTH_MAX

#: One of the values above.
Reply: TypeAlias = Any

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


def _one_line(text: str) -> str:
    """Simple strings and errors end at the first line break: none may stand inside."""
    if "\r" in text or "\n" in text:
        return text.replace("\r", " ").replace("\n", " ")
    return text


@final
class ReplyError:
    """An error reply; `text` begins with its code, "ERR ..." or "WRONGTYPE ...", in one line."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = _one_line(text)

    def __repr__(self) -> str:
        return f"ReplyError({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ReplyError) and self.text == other.text

    def __hash__(self) -> int:
        return hash(("ReplyError", self.text))


class CommandError(RingleaderError, ValueError):
    """Carries an error reply out of a command; nothing has been changed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)

    @property
    def reply(self) -> ReplyError:
        return ReplyError(self.args[0])


@final
class _NullArray:
    """The type of `NULL_ARRAY`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL_ARRAY"


#: What an EXEC answers when a watched key was modified.
NULL_ARRAY: Final = _NullArray()


@final
class Push(list[Any]):
    """Sent without having been asked for: the first element names what it is."""

    __slots__ = ()


# --- bytes for clients -------------------------------------------------------------------------

OK: Final = "OK"
_CRLF: Final = b"\r\n"
_NULLS: Final = {2: b"$-1\r\n", 3: b"_\r\n"}
_SIMPLE: Final = {text: f"+{text}\r\n".encode() for text in ("OK", "QUEUED", "PONG")}
#: What stands before a short bulk string, and the integers that are answered most.
_BULK_HEADS: Final = [b"$%d\r\n" % size for size in range(1025)]
_INTS: Final = {number: b":%d\r\n" % number for number in range(-2, 1025)}
_SHORT: Final = len(_BULK_HEADS)


def encode(value: Reply, protocol: int, out: list[bytes]) -> None:
    """Append the bytes of one reply to `out`, in pieces; large values are not copied.

    Args:
        value: see the module's table.
        protocol: 2 or 3.
        out: what stands before; the caller joins it.

    Raises:
        TypeError: `value` is none of the table's.
    """
    kind = value.__class__
    if kind is bytes:
        size = len(value)
        out += (_BULK_HEADS[size] if size < _SHORT else b"$%d\r\n" % size, value, _CRLF)
    elif value is None:
        out.append(_NULLS[protocol])
    elif kind is str:
        simple = _SIMPLE.get(value)
        out.append(simple if simple is not None else b"+%b\r\n" % _one_line(value).encode())
    elif kind is int:
        number = _INTS.get(value)
        out.append(number if number is not None else b":%d\r\n" % value)
    else:
        _encode_rare(value, protocol, out)


def _encode_rare(value: Reply, protocol: int, out: list[bytes]) -> None:
    kind = value.__class__
    if kind is list or kind is tuple:
        out.append(b"*%d\r\n" % len(value))
        for item in value:
            if item.__class__ is bytes and len(item) < _SHORT:
                out += (_BULK_HEADS[len(item)], item, _CRLF)
            else:
                encode(item, protocol, out)
    elif kind is ReplyError:
        out.append(b"-%b\r\n" % value.text.encode(errors="surrogateescape"))
    elif kind is dict:
        out.append(b"%%%d\r\n" % len(value) if protocol == 3 else b"*%d\r\n" % (2 * len(value)))
        for key, item in value.items():
            encode(key, protocol, out)
            encode(item, protocol, out)
    elif value is NULL_ARRAY:
        out.append(b"_\r\n" if protocol == 3 else b"*-1\r\n")
    elif kind is bool:
        if protocol == 3:
            out.append(b"#t\r\n" if value else b"#f\r\n")
        else:
            out.append(_INTS[int(value)])
    elif kind is float:
        text = format_double(value)
        if protocol == 3:
            out.append(b",%b\r\n" % text)
        else:
            encode(text, protocol, out)
    elif kind is Push or kind is set or kind is frozenset:
        sign = b"*" if protocol == 2 else b">" if kind is Push else b"~"
        out.append(b"%b%d\r\n" % (sign, len(value)))
        for item in value:
            encode(item, protocol, out)
    else:
        raise TypeError(f"{kind.__name__} is no reply")


def encoded(value: Reply, protocol: int) -> bytes:
    """The bytes of one reply, in one piece."""
    out: list[bytes] = []
    encode(value, protocol, out)
    return b"".join(out)


def format_double(value: float) -> bytes:
    """A double as Redis 7.2 and later print it: the shortest text that reads back the same."""
    if math.isinf(value):
        return b"inf" if value > 0 else b"-inf"
    if math.isnan(value):
        return b"nan"
    return repr(value).removesuffix(".0").encode()


# --- between nodes -----------------------------------------------------------------------------

_EXT_ERROR: Final = 1
_EXT_NULL_ARRAY: Final = 2
_EXT_SET: Final = 3
_PLAIN: Final = frozenset((bytes, int, str, type(None), bool, float))

_encode = msgspec.msgpack.Encoder().encode
_Ext = msgspec.msgpack.Ext


def pack(value: Reply) -> bytes:
    """A reply in msgpack, to travel to another node.

    Raises:
        TypeError: `value` is no reply, or a `Push`.
    """
    if value.__class__ not in _PLAIN:
        value = _to_wire(value)
    return _encode(value)


def _to_wire(value: Reply) -> Any:
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return [item if item.__class__ in _PLAIN else _to_wire(item) for item in value]
    if kind is dict:
        return {
            key: item if item.__class__ in _PLAIN else _to_wire(item) for key, item in value.items()
        }
    if kind is ReplyError:
        return _Ext(_EXT_ERROR, value.text.encode(errors="surrogateescape"))
    if value is NULL_ARRAY:
        return _Ext(_EXT_NULL_ARRAY, b"")
    if kind is set or kind is frozenset:
        return _Ext(_EXT_SET, _encode([_to_wire(item) for item in value]))
    raise TypeError(f"{kind.__name__} is no reply that travels")


def _from_ext(code: int, data: memoryview) -> Reply:
    if code == _EXT_ERROR:
        text = bytes(data).decode(errors="surrogateescape")
        if _one_line(text) is not text:
            raise FormatError("an error reply of several lines")
        return ReplyError(text)
    if code == _EXT_NULL_ARRAY and not data:
        return NULL_ARRAY
    if code == _EXT_SET:
        items = _decode(bytes(data))
        if items.__class__ is not list:
            raise FormatError("a set reply that is no list of elements")
        _check(items, REPLY_DEPTH_MAX)
        try:
            return set(items)
        except TypeError:
            raise FormatError("a set reply with an element that has no hash") from None
    raise FormatError(f"extension {code} of {len(data)} bytes is no reply")


_decode = msgspec.msgpack.Decoder(ext_hook=_from_ext).decode


def unpack(data: bytes) -> Reply:
    """The reply that `pack` made these bytes of; tuples come back as lists.

    Raises:
        FormatError: they are not what `pack` makes.
    """
    try:
        value = _decode(data)
    except FormatError:
        raise
    except (msgspec.DecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise FormatError(f"no packed reply: {error}") from None
    if value.__class__ is not bytes and value is not None:
        _check(value, REPLY_DEPTH_MAX)
    return value


def _check(value: Any, depth: int) -> None:
    """Refuse what msgpack can say and no reply is."""
    kind = value.__class__
    if kind is bytes or value is None or kind is bool or kind is float or kind is ReplyError:
        return
    if kind is int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise FormatError(f"the integer {value} has more than 64 bits")
    elif kind is str:
        if _one_line(value) is not value:
            raise FormatError("a simple string of several lines")
    elif value is NULL_ARRAY:
        return
    elif depth == 0:
        raise FormatError(f"a reply nested deeper than {REPLY_DEPTH_MAX}")
    elif kind is list or kind is set:
        for item in value:
            _check(item, depth - 1)
    elif kind is dict:
        for key, item in value.items():
            if key.__class__ not in (bytes, str, int):
                raise FormatError(f"{key.__class__.__name__} as a key of a map")
            _check(key, 0)
            _check(item, depth - 1)
    else:
        raise FormatError(f"{kind.__name__} is no reply")
