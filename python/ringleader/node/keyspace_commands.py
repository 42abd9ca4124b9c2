"""Commands over several shards: MGET, MSET, DEL and the like taken apart, SCAN and KEYS over all.

Within one shard these commands are atomic, as in Redis.  Over several shards each part is: another
client may see some parts done and others not yet.  When parts fail, the answer is `-UNCERTAIN` if
any part may have taken effect, or has; only if certainly none has, it is their first error.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from ringleader.node.commands import COMMANDS as DATA
from ringleader.node.commands import check_sizes
from ringleader.node.dispatch import Local, Run, wrong_arity
from ringleader.node.replies import OK, CommandError, Reply, ReplyError
from ringleader.node.routing import Gather, Mapped, Waiting
from ringleader.node.slots import slot_of

if TYPE_CHECKING:
    from ringleader.node.session import Session

_PARTLY: Final = "UNCERTAIN parts of this command on other shards took effect, this one did not: "


def _error_of(replies: list[Reply], is_write: bool) -> ReplyError | None:
    """The error that several parts together answer, if any did."""
    errors = [reply for reply in replies if reply.__class__ is ReplyError]
    if not errors:
        return None
    error: ReplyError = errors[0]
    if not is_write:
        return error
    for other in errors:
        if other.text.startswith("UNCERTAIN "):
            return other
    return error if len(errors) == len(replies) else ReplyError(_PARTLY + error.text)


def _merge_sum(replies: list[Reply], is_write: bool) -> Reply:
    error = _error_of(replies, is_write)
    return error if error is not None else sum(replies)


def _merge_ok(replies: list[Reply]) -> Reply:
    error = _error_of(replies, True)
    return error if error is not None else OK


def _merge_values(places: list[list[int]], count: int, replies: list[Reply]) -> Reply:
    """Values back in the order of their keys."""
    error = _error_of(replies, False)
    if error is not None:
        return error
    values: list[Reply] = [None] * count
    for positions, part in zip(places, replies, strict=True):
        for position, value in zip(positions, part, strict=True):
            values[position] = value
    return values


def _merge_lists(replies: list[Reply]) -> Reply:
    error = _error_of(replies, False)
    return error if error is not None else [item for part in replies for item in part]


def _splitter(name: bytes) -> Run:
    """What runs a command of several keys."""
    command = DATA[name]
    step = command.step
    is_write = command.is_write

    def run(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
        if step == 2 and len(args) % 2 == 0:
            raise wrong_arity(args[0])
        shards = session.service.router.shard_of_slot
        keys = args[1::step]
        numbers = [shards[slot_of(key)] for key in keys]
        first = numbers[0]
        if numbers.count(first) == len(numbers):
            return session.execute(command, args, first, waiter)
        check_sizes(command, args)  # before any part is begun
        places: dict[int, list[int]] = {}
        for position, number in enumerate(numbers):
            places.setdefault(number, []).append(position)
        merge: Callable[[list[Reply]], Reply]
        if name == b"MGET":
            merge = partial(_merge_values, list(places.values()), len(keys))
        elif name == b"MSET":
            merge = _merge_ok
        else:
            merge = partial(_merge_sum, is_write=is_write)
        parts: list[tuple[int, list[bytes]]] = []
        for number, positions in places.items():
            part = [args[0]]
            for position in positions:
                start = 1 + step * position
                part += args[start : start + step]
            parts.append((number, part))
        gather = Gather(waiter, len(parts), merge)
        for index, (number, part) in enumerate(parts):
            gather.put(index, session.execute(command, part, number, gather.part(index)))
        return gather.answer()

    return run


def _everywhere(name: bytes, merge: Callable[[list[Reply]], Reply]) -> Run:
    """What runs a command without keys on all shards."""
    command = DATA[name]

    def run(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
        count = session.service.router.shard_count
        gather = Gather(waiter, count, merge)
        for number in range(count):
            gather.put(number, session.execute(command, args, number, gather.part(number)))
        return gather.answer()

    return run


def _merge_random(replies: list[Reply]) -> Reply:
    error = _error_of(replies, False)
    if error is not None:
        return error
    keys = [key for key in replies if key is not None]
    return random.choice(keys) if keys else None


# --- SCAN --------------------------------------------------------------------------------------

_SCAN: Final = DATA[b"SCAN"]


def scan(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    """A cursor is the shard's own cursor times the number of shards, plus the shard's number."""
    text = args[1]
    count = session.service.router.shard_count
    if not text.isdigit() or len(text) > 20:
        raise CommandError("ERR invalid cursor")
    cursor, number = divmod(int(text), count)
    mapped = Mapped(waiter, partial(_scanned, number, count))
    part = [args[0], b"%d" % cursor, *args[2:]]
    return mapped.answer(session.execute(_SCAN, part, number, mapped))


def _scanned(number: int, count: int, reply: Reply) -> Reply:
    if reply.__class__ is not list:
        return reply
    cursor, keys = int(reply[0]), reply[1]
    # The shard's cursor is 0 when it has been walked through.
    following = cursor * count + number if cursor else (number + 1) % count
    return [b"%d" % following, keys]


def _split(name: str, flags: str) -> Local:
    command = DATA[name.encode()]
    return Local(name, command.arity, _splitter(command.name), flags, command)


COMMANDS: Final = (
    _split("MGET", "read fast"),
    _split("MSET", "write denyoom"),
    _split("DEL", "write"),
    _split("UNLINK", "write fast"),
    _split("EXISTS", "read fast"),
    _split("TOUCH", "read fast"),
    Local("SCAN", -2, scan, "read alone"),
    Local("KEYS", 2, _everywhere(b"KEYS", _merge_lists), "read alone"),
    Local(
        "DBSIZE", 1, _everywhere(b"DBSIZE", partial(_merge_sum, is_write=False)), "read fast alone"
    ),
    Local("RANDOMKEY", 1, _everywhere(b"RANDOMKEY", _merge_random), "read alone"),
)
