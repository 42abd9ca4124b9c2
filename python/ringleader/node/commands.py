"""The table of data commands: what each is called, takes and does.

The store runs them; a session checks them (`check`), and a router sends them to the shard of their
keys (`keys_of`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from ringleader.errors import FormatError
from ringleader.limits import (
    COMMAND_BYTES_MAX,
    COMMAND_SPELLINGS_MAX,
    STORE_KEY_BYTES_MAX,
    STORE_VALUE_BYTES_MAX,
)
from ringleader.node import generic, hashes, internal, strings
from ringleader.node.replies import CommandError, Reply
from ringleader.node.strings import wrong_arity

if TYPE_CHECKING:
    from ringleader.node.store import Store

Run: TypeAlias = "Callable[[Store, list[bytes]], Reply]"


@final
class Command:
    """One command.

    name        in upper case.
    arity       how many arguments, the name among them; -n: at least n.
    flags       "write" or "read"; "fast": O(1) or nearly; "denyoom": may make the store larger, and
                is refused when there is no memory left; "internal": not for clients.
    first_key, last_key, step   where its keys stand, as in COMMAND INFO; last_key -1 is the last
                argument, and 0, 0, 0 is a command without keys.
    run         does it, on a store, and returns the reply; raises `CommandError` having changed
                nothing.
    is_write    whether it may change the store.
    denyoom     see `flags`; of EXEC see `may_grow`.
    """

    __slots__ = (
        "arity",
        "denyoom",
        "first_key",
        "flags",
        "is_write",
        "last_key",
        "name",
        "run",
        "step",
    )

    def __init__(
        self,
        name: bytes,
        arity: int,
        flags: str,
        first_key: int,
        last_key: int,
        step: int,
        run: Run,
    ) -> None:
        self.name = name
        self.arity = arity
        self.flags = frozenset(flags.split())
        self.first_key = first_key
        self.last_key = last_key
        self.step = step
        self.run = run
        self.is_write = "write" in self.flags
        self.denyoom = "denyoom" in self.flags

    def __repr__(self) -> str:
        return f"Command({self.name.decode()})"

    def __reduce__(self) -> Any:
        return find, (self.name,)


def _table(*rows: tuple[str, int, str, int, int, int, Run]) -> dict[bytes, Command]:
    return {row[0].encode(): Command(row[0].encode(), *row[1:]) for row in rows}


#: What clients may send, by name in upper case.
COMMANDS: Final = _table(
    ("APPEND", 3, "write denyoom fast", 1, 1, 1, strings.append),
    ("DBSIZE", 1, "read fast", 0, 0, 0, generic.dbsize),
    ("DECR", 2, "write denyoom fast", 1, 1, 1, strings.decr),
    ("DECRBY", 3, "write denyoom fast", 1, 1, 1, strings.decrby),
    ("DEL", -2, "write", 1, -1, 1, generic.delete),
    ("DELIFEQ", 3, "write fast", 1, 1, 1, strings.delifeq),
    ("EXISTS", -2, "read fast", 1, -1, 1, generic.exists),
    ("EXPIRE", -3, "write fast", 1, 1, 1, generic.expire),
    ("EXPIREAT", -3, "write fast", 1, 1, 1, generic.expireat),
    ("EXPIRETIME", 2, "read fast", 1, 1, 1, generic.expiretime),
    ("GET", 2, "read fast", 1, 1, 1, strings.get),
    ("GETDEL", 2, "write fast", 1, 1, 1, strings.getdel),
    ("GETEX", -2, "write fast", 1, 1, 1, strings.getex),
    ("GETRANGE", 4, "read", 1, 1, 1, strings.getrange),
    ("GETSET", 3, "write denyoom fast", 1, 1, 1, strings.getset),
    ("HDEL", -3, "write fast", 1, 1, 1, hashes.hdel),
    ("HEXISTS", 3, "read fast", 1, 1, 1, hashes.hexists),
    ("HGET", 3, "read fast", 1, 1, 1, hashes.hget),
    ("HGETALL", 2, "read", 1, 1, 1, hashes.hgetall),
    ("HINCRBY", 4, "write denyoom fast", 1, 1, 1, hashes.hincrby),
    ("HINCRBYFLOAT", 4, "write denyoom fast", 1, 1, 1, hashes.hincrbyfloat),
    ("HKEYS", 2, "read", 1, 1, 1, hashes.hkeys),
    ("HLEN", 2, "read fast", 1, 1, 1, hashes.hlen),
    ("HMGET", -3, "read fast", 1, 1, 1, hashes.hmget),
    ("HMSET", -4, "write denyoom fast", 1, 1, 1, hashes.hmset),
    ("HSET", -4, "write denyoom fast", 1, 1, 1, hashes.hset),
    ("HSETNX", 4, "write denyoom fast", 1, 1, 1, hashes.hsetnx),
    ("HSTRLEN", 3, "read fast", 1, 1, 1, hashes.hstrlen),
    ("HVALS", 2, "read", 1, 1, 1, hashes.hvals),
    ("INCR", 2, "write denyoom fast", 1, 1, 1, strings.incr),
    ("INCRBY", 3, "write denyoom fast", 1, 1, 1, strings.incrby),
    ("INCRBYFLOAT", 3, "write denyoom fast", 1, 1, 1, strings.incrbyfloat),
    ("KEYS", 2, "read", 0, 0, 0, generic.keys),
    ("MGET", -2, "read fast", 1, -1, 1, strings.mget),
    ("MSET", -3, "write denyoom", 1, -1, 2, strings.mset),
    ("MSETNX", -3, "write denyoom", 1, -1, 2, strings.msetnx),
    ("PERSIST", 2, "write fast", 1, 1, 1, generic.persist),
    ("PEXPIRE", -3, "write fast", 1, 1, 1, generic.pexpire),
    ("PEXPIREAT", -3, "write fast", 1, 1, 1, generic.pexpireat),
    ("PEXPIRETIME", 2, "read fast", 1, 1, 1, generic.pexpiretime),
    ("PSETEX", 4, "write denyoom", 1, 1, 1, strings.psetex),
    ("PTTL", 2, "read fast", 1, 1, 1, generic.pttl),
    ("RANDOMKEY", 1, "read", 0, 0, 0, generic.randomkey),
    ("SCAN", -2, "read", 0, 0, 0, generic.scan),
    ("SET", -3, "write denyoom", 1, 1, 1, strings.set_),
    ("SETEX", 4, "write denyoom", 1, 1, 1, strings.setex),
    ("SETNX", 3, "write denyoom fast", 1, 1, 1, strings.setnx),
    ("SETRANGE", 4, "write denyoom", 1, 1, 1, strings.setrange),
    ("STRLEN", 2, "read fast", 1, 1, 1, strings.strlen),
    ("SUBSTR", 4, "read", 1, 1, 1, strings.getrange),
    ("TOUCH", -2, "read fast", 1, -1, 1, generic.exists),
    ("TTL", 2, "read fast", 1, 1, 1, generic.ttl),
    ("TYPE", 2, "read fast", 1, 1, 1, generic.type_),
    ("UNLINK", -2, "write fast", 1, -1, 1, generic.delete),
)

#: What nodes send each other besides: see `ringleader.node.internal`.
INTERNAL: Final = _table(
    ("EXEC", 3, "write internal", 0, 0, 0, internal.exec_),
    ("LOCK.EXTEND", 5, "write fast internal", 1, 1, 1, internal.lock_extend),
    ("LOCK.REACQUIRE", 4, "write fast internal", 1, 1, 1, internal.lock_reacquire),
    ("LOCK.RELEASE", 3, "write fast internal", 1, 1, 1, internal.lock_release),
    ("SLOT.COUNT", 2, "read internal", 0, 0, 0, internal.slot_count),
    ("SLOT.KEYS", 3, "read internal", 0, 0, 0, internal.slot_keys),
    ("WATCH", -2, "write fast internal", 1, -1, 1, internal.watch),
)

_ALL: Final = COMMANDS | INTERNAL
#: All of them, by their two most usual spellings.
KNOWN: Final = _ALL | {name.lower(): command for name, command in _ALL.items()}
_spellings: dict[bytes, Command] = dict(COMMANDS)


def lookup(name: bytes) -> Command | None:
    """The command that a client calls so, in any case of letters; None: there is no such one."""
    command = _spellings.get(name)
    if command is None:
        command = COMMANDS.get(name.upper())
        if command is not None and len(_spellings) < COMMAND_SPELLINGS_MAX:
            _spellings[name] = command
    return command


def find(name: bytes) -> Command | None:
    """As `lookup`, of all commands, the internal ones among them."""
    return _ALL.get(name.upper())


def has_arity(command: Command, args: list[bytes]) -> bool:
    """Whether the number of arguments is right."""
    arity = command.arity
    count = len(args)
    return count == arity if arity > 0 else count >= -arity


def check_arity(command: Command, args: list[bytes]) -> None:
    """Refuse a wrong number of arguments.

    Raises:
        CommandError: as Redis words it.
    """
    if not has_arity(command, args):
        raise wrong_arity(args)


def check_sizes(command: Command, args: list[bytes]) -> None:
    """Refuse keys, values and commands beyond `ringleader.limits`; O(arguments).

    Raises:
        CommandError: with what is too long.
    """
    total = sum(map(len, args))
    if total <= STORE_KEY_BYTES_MAX:
        return
    if max(map(len, args)) > STORE_VALUE_BYTES_MAX:
        raise CommandError(strings.TOO_LONG)
    if total > COMMAND_BYTES_MAX:
        raise CommandError(f"ERR command exceeds maximum allowed size ({COMMAND_BYTES_MAX} bytes)")
    if any(len(key) > STORE_KEY_BYTES_MAX for key in keys_of(command, args)):
        raise CommandError(f"ERR key exceeds maximum allowed size ({STORE_KEY_BYTES_MAX} bytes)")


def may_grow(command: Command, args: list[bytes]) -> bool:
    """Whether a command may make the store larger; a transaction, if one of its commands may."""
    if command.name != b"EXEC":
        return command.denyoom
    try:
        _, commands = internal.exec_parts(args)
    except FormatError:
        return False
    found = [find(inside[0]) for inside in commands]
    return any(each is not None and each.denyoom for each in found)


def keys_of(command: Command, args: list[bytes]) -> list[bytes]:
    """The keys among the arguments, in order, repeated ones too; none for EXEC, which has them
    inside.

    Raises:
        CommandError: the number of arguments is wrong.
    """
    first = command.first_key
    if first == command.last_key:
        return [args[first]] if first and len(args) > first else []
    keys = args[first :: command.step]
    if command.step == 2 and len(args) % 2 == 0:
        raise wrong_arity(args)
    return keys
