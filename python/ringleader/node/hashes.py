"""Commands on hashes, which are dicts of bytes.  One without fields does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ringleader.node import strings
from ringleader.node.numbers import parse_int
from ringleader.node.replies import INT64_MAX, INT64_MIN, OK, CommandError, Reply
from ringleader.node.strings import OVERFLOW, integer, long_double, sum_of_floats, wrong_arity

if TYPE_CHECKING:
    from ringleader.node.store import Store

NOT_INTEGER: Final = "ERR hash value is not an integer"
NOT_FLOAT: Final = "ERR hash value is not a float"


def _set_pairs(store: Store, args: list[bytes]) -> int:
    """Set the fields of HSET and HMSET; how many are new."""
    if len(args) % 2:
        raise wrong_arity(args)
    fields = store.hash_to_write(args[1])
    before = len(fields)
    for at in range(2, len(args), 2):
        store.put_field(fields, args[at], args[at + 1])
    store.touched(args[1])
    return len(fields) - before


def hset(store: Store, args: list[bytes]) -> Reply:
    return _set_pairs(store, args)


def hmset(store: Store, args: list[bytes]) -> Reply:
    _set_pairs(store, args)
    return OK


def hsetnx(store: Store, args: list[bytes]) -> Reply:
    fields = store.hash(args[1])
    if fields is not None and args[2] in fields:
        return 0
    store.put_field(store.hash_to_write(args[1]), args[2], args[3])
    store.touched(args[1])
    return 1


def hget(store: Store, args: list[bytes]) -> Reply:
    fields = store.hash(args[1])
    return None if fields is None else fields.get(args[2])


def hmget(store: Store, args: list[bytes]) -> Reply:
    fields = store.hash(args[1]) or {}
    return [fields.get(field) for field in args[2:]]


def hdel(store: Store, args: list[bytes]) -> Reply:
    fields = store.hash(args[1])
    if fields is None:
        return 0
    before = len(fields)
    for field in args[2:]:
        store.remove_field(fields, field)
    removed = before - len(fields)
    if removed:
        if fields:
            store.touched(args[1])
        else:
            store.remove(args[1])
    return removed


def hgetall(store: Store, args: list[bytes]) -> Reply:
    return dict(store.hash(args[1]) or {})


def hkeys(store: Store, args: list[bytes]) -> Reply:
    return list(store.hash(args[1]) or ())


def hvals(store: Store, args: list[bytes]) -> Reply:
    return list((store.hash(args[1]) or {}).values())


def hlen(store: Store, args: list[bytes]) -> Reply:
    return len(store.hash(args[1]) or ())


def hexists(store: Store, args: list[bytes]) -> Reply:
    return int(args[2] in (store.hash(args[1]) or ()))


def hstrlen(store: Store, args: list[bytes]) -> Reply:
    return len((store.hash(args[1]) or {}).get(args[2], b""))


def hincrby(store: Store, args: list[bytes]) -> Reply:
    amount = integer(args[3])
    old = (store.hash(args[1]) or {}).get(args[2])
    start = parse_int(old) if old is not None else 0
    if start is None:
        raise CommandError(NOT_INTEGER)
    total = start + amount
    if not INT64_MIN <= total <= INT64_MAX:
        raise CommandError(OVERFLOW)
    store.put_field(store.hash_to_write(args[1]), args[2], b"%d" % total)
    store.touched(args[1])
    return total


def hincrbyfloat(store: Store, args: list[bytes]) -> Reply:
    amount = long_double(args[3], strings.NOT_FLOAT)
    if amount is None:
        raise CommandError("ERR value is NaN or Infinity")
    old = (store.hash(args[1]) or {}).get(args[2])
    total = sum_of_floats(long_double(old, NOT_FLOAT) if old is not None else (0, 0), amount)
    store.put_field(store.hash_to_write(args[1]), args[2], total)
    store.touched(args[1])
    return total
