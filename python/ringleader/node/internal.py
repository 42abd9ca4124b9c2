"""Commands that nodes send each other and clients cannot.

    WATCH key [key ...]             a version, to be given to EXEC
    EXEC watches commands           a list of replies, or NULL_ARRAY: a watched key was modified
    LOCK.RELEASE key token          1 or 0, as the three scripts of redis.lock.Lock
    LOCK.EXTEND key token ms replace
    LOCK.REACQUIRE key token ms
    SLOT.COUNT slot                 how many keys the slot has, for CLUSTER COUNTKEYSINSLOT
    SLOT.KEYS slot count            so many of them, for CLUSTER GETKEYSINSLOT

An optimistic transaction survives a change of leaders, because its marks are replicated: WATCH
arms keys, and a command that modifies an armed key, or its expiry, gives it a new mark.  A key that
has a mark later than the version, or is armed no more, fails the EXEC.  Keys are armed for
`WATCH_MS`, whatever becomes of the client; where too many are, those armed the longest ago make
room: so nobody can keep others from watching.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from ringleader.errors import FormatError
from ringleader.limits import WATCH_MS, WATCHED_KEYS_MAX
from ringleader.node.batches import Commands
from ringleader.node.generic import pttl
from ringleader.node.replies import INT64_MAX, INT64_MIN, NULL_ARRAY, CommandError, Reply
from ringleader.node.strings import integer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ringleader.node.store import Store

_encode = msgspec.msgpack.Encoder().encode
_Watches = Annotated[list[tuple[bytes, int]], msgspec.Meta(max_length=WATCHED_KEYS_MAX)]
_decode_watches = msgspec.msgpack.Decoder(_Watches).decode
_decode_commands = msgspec.msgpack.Decoder(Commands).decode


def exec_args(
    watches: Iterable[tuple[bytes, int]], commands: Sequence[Sequence[bytes]]
) -> list[bytes]:
    """The arguments of an EXEC.

    Args:
        watches: each key with the version that its WATCH answered.
        commands: each with all of its arguments.
    """
    return [b"EXEC", _encode(list(watches)), _encode(commands)]


def exec_parts(args: Sequence[bytes]) -> tuple[list[tuple[bytes, int]], list[list[bytes]]]:
    """What `exec_args` made an EXEC of.

    Raises:
        FormatError: it is no such EXEC.
    """
    try:
        watches, commands = _decode_watches(args[1]), _decode_commands(args[2])
    except (msgspec.DecodeError, ValueError, IndexError, RecursionError) as error:
        raise FormatError(f"no transaction: {error}") from None
    return watches, commands


def watch(store: Store, args: list[bytes]) -> Reply:
    armed, until = store.armed, store.armed_until
    keys = set(args[1:])
    if len(keys) > WATCHED_KEYS_MAX:
        raise CommandError(f"ERR too many keys are watched, {WATCHED_KEYS_MAX} at most")
    fresh = keys - armed.keys()
    while (excess := len(armed) + len(fresh) - WATCHED_KEYS_MAX) > 0:
        store.disarm(excess)
        fresh = keys - armed.keys()
    if fresh:
        # Nobody saw what became of them before: a version of then is void.
        store.mark += 1
    for key in args[1:]:
        if key in fresh:
            armed[key] = store.mark
        else:
            until.pop(key, None)
        until[key] = store.now + WATCH_MS  # which keeps them in the order of this moment
    return store.mark


def exec_(store: Store, args: list[bytes]) -> Reply:
    try:
        watches, commands = exec_parts(args)
    except FormatError as error:
        raise CommandError(f"ERR {error}") from None
    for key, version in watches:
        store.drop_due(key)
        if store.armed.get(key, version + 1) > version:
            return NULL_ARRAY
    return store.run_all(commands)


# --- locks -------------------------------------------------------------------------------------


def _owns(store: Store, args: list[bytes]) -> bool:
    return store.string(args[1]) == args[2]


def lock_release(store: Store, args: list[bytes]) -> Reply:
    if not _owns(store, args):
        return 0
    store.remove(args[1])
    return 1


def _expire_in(store: Store, args: list[bytes], more_ms: int) -> Reply:
    """PEXPIRE by the third argument and `more_ms` together."""
    moment = store.now + integer(args[3]) + more_ms
    if not INT64_MIN <= moment <= INT64_MAX:
        raise CommandError("ERR invalid expire time in 'pexpire' command")
    store.expire_at(args[1], moment)
    return 1


def lock_extend(store: Store, args: list[bytes]) -> Reply:
    if not _owns(store, args):
        return 0
    left: int = pttl(store, args)
    if left < 0:
        return 0
    return _expire_in(store, args, left if args[4] == b"0" else 0)


def lock_reacquire(store: Store, args: list[bytes]) -> Reply:
    return _expire_in(store, args, 0) if _owns(store, args) else 0


# --- slots -------------------------------------------------------------------------------------


def slot_count(store: Store, args: list[bytes]) -> Reply:
    return len(store.keys_in_slot(integer(args[1])))


def slot_keys(store: Store, args: list[bytes]) -> Reply:
    return store.keys_in_slot(integer(args[1]))[: max(integer(args[2]), 0)]


RUN_ALL_ONLY: Final = frozenset((b"WATCH", b"EXEC"))
