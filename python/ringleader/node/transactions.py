"""MULTI, EXEC, DISCARD, WATCH, UNWATCH: transactions on the keys of one slot.

What a MULTI queues travels to the shard as one command, EXEC, and is executed there as one step of
the replicated state machine: nothing comes between its commands, and after a crash all of them
have taken effect or none.  WATCH goes through the log as well, and answers a version; EXEC takes it
along and does nothing when a watched key has been modified since.  So both hold across changes of
leaders.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from ringleader.limits import (
    CLIENT_WATCHED_KEYS_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_COMMANDS_MAX,
)
from ringleader.node.commands import INTERNAL, Command, check_sizes, has_arity, keys_of
from ringleader.node.dispatch import Local, wrong_arity
from ringleader.node.internal import exec_args
from ringleader.node.replies import OK, CommandError, Reply
from ringleader.node.routing import Mapped, Waiting
from ringleader.node.session import BLOCKED, CROSSSLOT
from ringleader.node.slots import slot_of

if TYPE_CHECKING:
    from ringleader.node.session import Session

_EXEC: Final = INTERNAL[b"EXEC"]
_WATCH: Final = INTERNAL[b"WATCH"]
#: What an argument takes besides its bytes, at least: an empty one is not for nothing.
_ARGUMENT_BYTES: Final = 8
_NOT_HERE: Final = "ERR Command not allowed inside a transaction"


class Transaction:
    """What a MULTI has queued.

    Attributes:
        failed: a command was refused; EXEC will be, too.
    """

    __slots__ = ("_bytes", "_data", "_order", "_session", "_slot", "failed")

    def __init__(self, session: Session) -> None:
        self.failed = False
        self._session = session
        #: Commands for the shard.
        self._data: list[list[bytes]] = []
        #: In the client's order: what the session answers itself, or None for the shard's next.
        self._order: list[tuple[Local, list[bytes]] | None] = []
        self._slot = -1
        self._bytes = 0

    @property
    def command_count(self) -> int:
        return len(self._order)

    @property
    def held_bytes(self) -> int:
        return self._bytes

    def queue(self, command: Command | None, local: Local | None, args: list[bytes]) -> Reply:
        """Take a command whose arity is right.

        Raises:
            CommandError: it cannot be part of a transaction, or not of this one.
        """
        self._bytes += sum(map(len, args)) + _ARGUMENT_BYTES * len(args)
        if self._bytes > TRANSACTION_BYTES_MAX or len(self._order) >= TRANSACTION_COMMANDS_MAX:
            raise CommandError("ERR the transaction is too large")
        if local is not None and local.is_alone:
            raise CommandError(_NOT_HERE)
        translated = local.translated(args) if local is not None else None
        if translated is not None:
            command, args = translated
        if command is None:
            assert local is not None
            self._order.append((local, args))
            return "QUEUED"
        if not has_arity(command, args):
            raise wrong_arity(args[0])
        check_sizes(command, args)
        slots = {slot_of(key) for key in keys_of(command, args)}
        if self._slot >= 0:
            slots.add(self._slot)
        if len(slots) != 1:
            raise CommandError(CROSSSLOT)
        self._slot = slots.pop()
        self._data.append(args)
        self._order.append(None)
        return "QUEUED"

    def execute(self, waiter: Waiting) -> Reply:
        """The replies of all commands, or PENDING.

        Raises:
            CommandError: the watched keys are in another slot.
        """
        session = self._session
        watched = session.watched
        slots = {slot_of(key) for key in watched}
        if self._slot >= 0:
            slots.add(self._slot)
        if not slots:
            return self._merge([], waiter)
        if len(slots) > 1:
            raise CommandError(CROSSSLOT)
        shard = session.service.router.shard_of_slot[slots.pop()]
        mapped = Mapped(waiter, partial(self._answered, waiter))
        args = exec_args(watched.items(), self._data)
        return mapped.answer(session.execute(_EXEC, args, shard, mapped))

    def _answered(self, waiter: Waiting, reply: Reply) -> Reply:
        """What the shard answered, with what the session answers itself in between."""
        return self._merge(reply, waiter) if reply.__class__ is list else reply

    def _merge(self, replies: list[Reply], waiter: Waiting) -> Reply:
        if len(replies) == len(self._order):
            return replies
        left = iter(replies)
        merged: list[Reply] = []
        for queued in self._order:
            if queued is None:
                merged.append(next(left))
                continue
            local, args = queued
            if local.run is unwatch:  # EXEC has forgotten them already
                merged.append(OK)
                continue
            try:
                merged.append(local.run(self._session, args, waiter))
            except CommandError as error:
                merged.append(error.reply)
        return merged


def multi(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if session.transaction is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    session.transaction = Transaction(session)
    session.settle_plain()
    return OK


def exec_(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    transaction = session.transaction
    if transaction is None:
        raise CommandError("ERR EXEC without MULTI")
    if session.watches_under_way:
        return BLOCKED
    try:
        if transaction.failed:
            raise CommandError("EXECABORT Transaction discarded because of previous errors.")
        return transaction.execute(waiter)
    finally:
        _forget(session)


def discard(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if session.transaction is None:
        raise CommandError("ERR DISCARD without MULTI")
    if session.watches_under_way:
        return BLOCKED
    _forget(session)
    return OK


def _forget(session: Session) -> None:
    session.transaction = None
    session.watched = {}
    session.settle_plain()


def unwatch(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if session.watches_under_way:
        return BLOCKED
    session.watched = {}
    return OK


def watch(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if session.transaction is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    keys = args[1:]
    slots = {slot_of(key) for key in keys} | {slot_of(key) for key in session.watched}
    if len(slots) != 1:
        raise CommandError(CROSSSLOT)
    if len(session.watched) + len(keys) > CLIENT_WATCHED_KEYS_MAX:
        raise CommandError(f"ERR too many keys are watched, {CLIENT_WATCHED_KEYS_MAX} at most")
    mapped = Mapped(waiter, partial(_watching, session, keys))
    shard = session.service.router.shard_of_slot[slots.pop()]
    session.watches_under_way += 1
    try:
        reply = session.execute(_WATCH, [b"WATCH", *keys], shard, mapped)
    except CommandError:
        session.watches_under_way -= 1
        raise
    return mapped.answer(reply)


def _watching(session: Session, keys: list[bytes], reply: Reply) -> Reply:
    """The keys are armed since the version `reply`; those watched before keep their older one."""
    session.watches_under_way -= 1
    if reply.__class__ is not int:
        return reply
    for key in keys:
        session.watched.setdefault(key, reply)
    return OK


COMMANDS: Final = (
    Local("MULTI", 1, multi, "fast immediate"),
    Local("EXEC", 1, exec_, "immediate"),
    Local("DISCARD", 1, discard, "fast immediate"),
    Local("WATCH", -2, watch, "fast immediate", _WATCH),
    Local("UNWATCH", 1, unwatch, "fast"),
)
