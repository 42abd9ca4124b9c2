"""Commands on strings.  Each takes the store and all arguments, the command's name among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ringleader.limits import STORE_VALUE_BYTES_MAX
from ringleader.node.numbers import (
    LongDouble,
    add_long_doubles,
    format_long_double,
    parse_int,
    parse_long_double,
)
from ringleader.node.replies import INT64_MAX, INT64_MIN, OK, CommandError, Reply

if TYPE_CHECKING:
    from ringleader.node.store import Store

SYNTAX: Final = "ERR syntax error"
NOT_INTEGER: Final = "ERR value is not an integer or out of range"
NOT_FLOAT: Final = "ERR value is not a valid float"
INFINITE: Final = "ERR increment would produce NaN or Infinity"
OVERFLOW: Final = "ERR increment or decrement would overflow"
TOO_LONG: Final = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"


def integer(text: bytes) -> int:
    """A 64-bit integer argument."""
    number = parse_int(text)
    if number is None:
        raise CommandError(NOT_INTEGER)
    return number


def wrong_arity(args: list[bytes]) -> CommandError:
    name = args[0].decode(errors="replace").lower()
    return CommandError(f"ERR wrong number of arguments for '{name}' command")


# --- GET and SET -------------------------------------------------------------------------------


def get(store: Store, args: list[bytes]) -> Reply:
    return store.string(args[1])


#: Option -> whether its time is absolute, and its unit in ms.
_TIMES: Final = {
    b"EX": (False, 1000),
    b"PX": (False, 1),
    b"EXAT": (True, 1000),
    b"PXAT": (True, 1),
}


def expiry(store: Store, args: list[bytes], text: bytes, absolute: bool, unit_ms: int) -> int:
    """The moment, in ms, at which a key is to expire, which must not be 0 or before."""
    number = integer(text)
    if number > 0:
        moment = number * unit_ms
        if moment <= INT64_MAX:
            if not absolute:
                moment += store.now
            if moment <= INT64_MAX:
                return moment
    name = args[0].decode().lower()
    raise CommandError(f"ERR invalid expire time in '{name}' command")


def set_(store: Store, args: list[bytes]) -> Reply:
    """SET key value [NX | XX | IFEQ match] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]"""
    key, value = args[1], args[2]
    condition = time = None
    match = text = b""
    gets = keeps = False
    count = len(args)
    at = 3
    while at < count:
        option = args[at].upper()
        at += 1
        if option in (b"NX", b"XX") and condition in (None, option):
            condition = option
        elif option == b"IFEQ" and condition is None and at < count:
            condition, match = option, args[at]
            at += 1
        elif option == b"GET":
            gets = True
        elif option == b"KEEPTTL" and time is None:
            keeps = True
        elif option in _TIMES and time in (None, option) and not keeps and at < count:
            time, text = option, args[at]
            at += 1
        else:
            raise CommandError(SYNTAX)
    moment = expiry(store, args, text, *_TIMES[time]) if time is not None else 0
    old = store.string(key) if gets or condition == b"IFEQ" else store.data.get(key)
    if (
        (condition == b"NX" and old is not None)
        or (condition == b"XX" and old is None)
        or (condition == b"IFEQ" and old != match)
    ):
        return old if gets else None
    if keeps or moment:
        store.put(key, value)
    else:
        store.set(key, value)
    if moment:
        store.expire_at(key, moment)
    return old if gets else OK


def setnx(store: Store, args: list[bytes]) -> Reply:
    if args[1] in store.data:
        return 0
    store.set(args[1], args[2])
    return 1


def _set_for(store: Store, args: list[bytes], unit_ms: int) -> Reply:
    moment = expiry(store, args, args[2], False, unit_ms)
    store.put(args[1], args[3])
    store.expire_at(args[1], moment)
    return OK


def setex(store: Store, args: list[bytes]) -> Reply:
    return _set_for(store, args, 1000)


def psetex(store: Store, args: list[bytes]) -> Reply:
    return _set_for(store, args, 1)


def getset(store: Store, args: list[bytes]) -> Reply:
    old = store.string(args[1])
    store.set(args[1], args[2])
    return old


def getdel(store: Store, args: list[bytes]) -> Reply:
    old = store.string(args[1])
    if old is not None:
        store.remove(args[1])
    return old


def getex(store: Store, args: list[bytes]) -> Reply:
    """GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]"""
    key = args[1]
    time = None
    text = b""
    count = len(args)
    at = 2
    while at < count:
        option = args[at].upper()
        at += 1
        if option == b"PERSIST" and time in (None, option):
            time = option
        elif option in _TIMES and time in (None, option) and at < count:
            time, text = option, args[at]
            at += 1
        else:
            raise CommandError(SYNTAX)
    value = store.string(key)
    if value is None:
        return None
    if time == b"PERSIST":
        store.persist(key)
    elif time is not None:
        store.expire_at(key, expiry(store, args, text, *_TIMES[time]))
    return value


def mget(store: Store, args: list[bytes]) -> Reply:
    read = store.data.get
    values = [read(key) for key in args[1:]]
    return [value if value.__class__ is bytes else None for value in values]


def mset(store: Store, args: list[bytes]) -> Reply:
    if len(args) % 2 == 0:
        raise wrong_arity(args)
    for at in range(1, len(args), 2):
        store.set(args[at], args[at + 1])
    return OK


def msetnx(store: Store, args: list[bytes]) -> Reply:
    if len(args) % 2 == 0:
        raise wrong_arity(args)
    if any(key in store.data for key in args[1::2]):
        return 0
    mset(store, args)
    return 1


def delifeq(store: Store, args: list[bytes]) -> Reply:
    """DELIFEQ key value: deletes a string that equals the value."""
    if store.string(args[1]) != args[2]:
        return 0
    store.remove(args[1])
    return 1


# --- counters ----------------------------------------------------------------------------------


def _add(store: Store, key: bytes, amount: int) -> Reply:
    old = store.data.get(key)
    if old is None:
        total = amount
    else:
        start = parse_int(old) if old.__class__ is bytes else None
        if start is None:
            store.string(key)  # which refuses a hash in words of its own
            raise CommandError(NOT_INTEGER)
        total = start + amount
    if not INT64_MIN <= total <= INT64_MAX:
        raise CommandError(OVERFLOW)
    store.put(key, b"%d" % total)
    return total


def incr(store: Store, args: list[bytes]) -> Reply:
    return _add(store, args[1], 1)


def decr(store: Store, args: list[bytes]) -> Reply:
    return _add(store, args[1], -1)


def incrby(store: Store, args: list[bytes]) -> Reply:
    return _add(store, args[1], integer(args[2]))


def decrby(store: Store, args: list[bytes]) -> Reply:
    amount = integer(args[2])
    if amount == INT64_MIN:
        raise CommandError("ERR decrement would overflow")
    return _add(store, args[1], -amount)


def incrbyfloat(store: Store, args: list[bytes]) -> Reply:
    old = store.string(args[1])
    start = long_double(old, NOT_FLOAT) if old is not None else (0, 0)
    total = sum_of_floats(start, long_double(args[2], NOT_FLOAT))
    store.put(args[1], total)
    return total


def long_double(text: bytes, not_float: str) -> LongDouble:
    """A float; `not_float` is the error when it is none."""
    try:
        return parse_long_double(text)
    except ValueError:
        raise CommandError(not_float) from None


def sum_of_floats(start: LongDouble, amount: LongDouble) -> bytes:
    """The text of a float that was increased."""
    total = add_long_doubles(start, amount)
    if total is None:
        raise CommandError(INFINITE)
    return format_long_double(total)


# --- parts of strings --------------------------------------------------------------------------


def append(store: Store, args: list[bytes]) -> Reply:
    value = (store.string(args[1]) or b"") + args[2]
    if len(value) > STORE_VALUE_BYTES_MAX:
        raise CommandError(TOO_LONG)
    store.put(args[1], value)
    return len(value)


def strlen(store: Store, args: list[bytes]) -> Reply:
    return len(store.string(args[1]) or b"")


def getrange(store: Store, args: list[bytes]) -> Reply:
    first, last = integer(args[2]), integer(args[3])
    value = store.string(args[1])
    if value is None or (first < 0 and last < 0 and first > last):
        return b""
    size = len(value)
    if first < 0:
        first = max(first + size, 0)
    if last < 0:
        last = max(last + size, 0)
    return value[first : last + 1]


def setrange(store: Store, args: list[bytes]) -> Reply:
    offset, part = integer(args[2]), args[3]
    if offset < 0:
        raise CommandError("ERR offset is out of range")
    old = store.string(args[1])
    if not part:
        return len(old) if old is not None else 0
    if offset + len(part) > STORE_VALUE_BYTES_MAX:
        raise CommandError(TOO_LONG)
    start = (old or b"")[:offset].ljust(offset, b"\0")
    value = start + part + (old or b"")[offset + len(part) :]
    store.put(args[1], value)
    return len(value)
