"""Commands on keys of any type, and on all keys."""

from __future__ import annotations

import random
from itertools import islice
from typing import TYPE_CHECKING, Final

from ringleader.limits import SCAN_COUNT_MAX
from ringleader.node.globs import matcher
from ringleader.node.replies import INT64_MAX, INT64_MIN, CommandError, Reply
from ringleader.node.strings import SYNTAX, integer

if TYPE_CHECKING:
    from ringleader.node.store import Store

#: Default of SCAN's COUNT.
SCAN_COUNT: Final = 10


def delete(store: Store, args: list[bytes]) -> Reply:
    return sum(map(store.remove, args[1:]))


def exists(store: Store, args: list[bytes]) -> Reply:
    return sum(map(store.data.__contains__, args[1:]))


def type_name(value: bytes | dict[bytes, bytes] | None) -> str:
    if value is None:
        return "none"
    return "string" if value.__class__ is bytes else "hash"


def type_(store: Store, args: list[bytes]) -> Reply:
    return type_name(store.data.get(args[1]))


# --- expiry ------------------------------------------------------------------------------------


def _expire(store: Store, args: list[bytes], absolute: bool, unit_ms: int) -> Reply:
    """EXPIRE key time [NX | XX] [GT | LT] and its kin."""
    options = set()
    for text in args[3:]:
        option = text.upper()
        if option not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(f"ERR Unsupported option {text.decode(errors='surrogateescape')}")
        options.add(option)
    if b"NX" in options and len(options) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in options and b"LT" in options:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    moment = integer(args[2]) * unit_ms
    if not absolute and INT64_MIN <= moment <= INT64_MAX:
        moment += store.now
    if not INT64_MIN <= moment <= INT64_MAX:
        name = args[0].decode().lower()
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    key = args[1]
    if key not in store.data:
        return 0
    if options:
        old = store.expires.get(key)
        if (
            (b"NX" in options and old is not None)
            or (b"XX" in options and old is None)
            or (b"GT" in options and (old is None or moment <= old))
            or (b"LT" in options and old is not None and moment >= old)
        ):
            return 0
    store.expire_at(key, moment)
    return 1


def expire(store: Store, args: list[bytes]) -> Reply:
    return _expire(store, args, False, 1000)


def pexpire(store: Store, args: list[bytes]) -> Reply:
    return _expire(store, args, False, 1)


def expireat(store: Store, args: list[bytes]) -> Reply:
    return _expire(store, args, True, 1000)


def pexpireat(store: Store, args: list[bytes]) -> Reply:
    return _expire(store, args, True, 1)


def persist(store: Store, args: list[bytes]) -> Reply:
    return int(store.persist(args[1]))


def pexpiretime(store: Store, args: list[bytes]) -> Reply:
    moment = store.expires.get(args[1])
    if moment is not None:
        return moment
    return -1 if args[1] in store.data else -2


def expiretime(store: Store, args: list[bytes]) -> Reply:
    moment: int = pexpiretime(store, args)
    return (moment + 500) // 1000 if moment >= 0 else moment


def pttl(store: Store, args: list[bytes]) -> Reply:
    moment: int = pexpiretime(store, args)
    return max(moment - store.clock, 0) if moment >= 0 else moment


def ttl(store: Store, args: list[bytes]) -> Reply:
    left: int = pttl(store, args)
    return (left + 500) // 1000 if left >= 0 else left


# --- all keys ----------------------------------------------------------------------------------


def dbsize(store: Store, args: list[bytes]) -> Reply:
    return len(store.data) - store.hidden_count()


def keys(store: Store, args: list[bytes]) -> Reply:
    pattern = args[1]
    found = list(store.data) if pattern == b"*" else list(filter(matcher(pattern), store.data))
    return found if store.hide_ms is None else [key for key in found if not store.is_hidden(key)]


def randomkey(store: Store, args: list[bytes]) -> Reply:
    """Any key: a read, answered by one node, so that chance does no harm here.  O(keys)."""
    count = len(store.data) - store.hidden_count()
    if not count:
        return None
    seen = (key for key in store.data if not store.is_hidden(key))
    return next(islice(seen, random.randrange(count), None))


def scan(store: Store, args: list[bytes]) -> Reply:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]

    A cursor is a position in the order of the keys' 48-bit hashes, and so means the same on every
    replica.  What is there from the first call to the last is returned.
    """
    cursor = _cursor(args[1])
    pattern = kind = None
    count = SCAN_COUNT
    for at in range(2, len(args), 2):
        option = args[at].upper()
        if at + 1 == len(args):
            raise CommandError(SYNTAX)
        value = args[at + 1]
        if option == b"COUNT":
            count = integer(value)
            if count < 1:
                raise CommandError(SYNTAX)
        elif option == b"MATCH":
            pattern = value
        elif option == b"TYPE":
            kind = value.lower()
        else:
            raise CommandError(SYNTAX)
    following, found = store.scan_index().step(store.data, cursor, min(count, SCAN_COUNT_MAX))
    if pattern is not None and pattern != b"*":
        found = list(filter(matcher(pattern), found))
    if kind is not None:
        found = [key for key in found if type_name(store.data[key]).encode() == kind]
    if store.hide_ms is not None:
        found = [key for key in found if not store.is_hidden(key)]
    return [b"%d" % following, found]


def _cursor(text: bytes) -> int:
    if not text.isdigit() or len(text) > 20 or int(text) >= 2**64:
        raise CommandError("ERR invalid cursor")
    return int(text)
