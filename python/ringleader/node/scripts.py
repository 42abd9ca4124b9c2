"""EVAL, EVALSHA and SCRIPT, for the three scripts of redis-py's `Lock` and no others.

A script in Lua would have to be replicated and bounded in time; what clients need of scripts most
is a lock that is released only by its owner.  So the scripts of `redis.lock.Lock` are known by
their SHA1, and stand for commands of the replicated state machine; they need not be loaded first.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from ringleader.node.commands import INTERNAL, Command
from ringleader.node.connection_commands import integer
from ringleader.node.dispatch import Local, Subcommands
from ringleader.node.replies import OK, CommandError, Reply
from ringleader.node.routing import Waiting

if TYPE_CHECKING:
    from ringleader.node.session import Session

#: SHA1 -> the command it stands for, and how many arguments the script takes besides its key.
SCRIPTS: Final[dict[bytes, tuple[Command, int]]] = {
    b"c3f8721cbb97f72bc19e972846bd7aaf91901658": (INTERNAL[b"LOCK.RELEASE"], 1),
    b"a4e8783852e6b949f9ef3a97212805108459a890": (INTERNAL[b"LOCK.EXTEND"], 3),
    b"1cac51482acf5858da00f6d685d68f886cd6b6b2": (INTERNAL[b"LOCK.REACQUIRE"], 2),
}
_UNSUPPORTED: Final = (
    "ERR scripts are not supported, but for the three of redis-py's Lock (release, extend, "
    "reacquire), which are recognised by their SHA1"
)
_NOSCRIPT: Final = "NOSCRIPT No matching script. Please use EVAL."


def sha1_of(script: bytes) -> bytes:
    return hashlib.sha1(script, usedforsecurity=False).hexdigest().encode()


def eval_keys(args: list[bytes]) -> list[bytes]:
    """The keys of an EVAL or EVALSHA.

    Raises:
        CommandError: their number is wrong.
    """
    count = integer(args[2])
    if count > len(args) - 3:
        raise CommandError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise CommandError("ERR Number of keys can't be negative")
    return args[3 : 3 + count]


def translate(args: list[bytes]) -> tuple[Command, list[bytes]]:
    """The command that an EVAL or EVALSHA stands for, with its arguments.

    Raises:
        CommandError: the script is none of the three, or its arguments are wrong.
    """
    by_text = args[0].upper() == b"EVAL"
    known = SCRIPTS.get(sha1_of(args[1]) if by_text else args[1].lower())
    if known is None:
        raise CommandError(_UNSUPPORTED if by_text else _NOSCRIPT)
    keys = eval_keys(args)
    command, count = known
    if len(keys) != 1 or len(args) - 4 < count:
        raise CommandError(f"ERR this script takes 1 key and {count} arguments")
    return command, [command.name, *args[3 : 4 + count]]


def eval_(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    command, translated = translate(args)
    return session.route(command, translated, waiter)


def script_load(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    sha1 = sha1_of(args[2])
    if sha1 not in SCRIPTS:
        raise CommandError(_UNSUPPORTED)
    return sha1


def script_exists(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return [int(sha1.lower() in SCRIPTS) for sha1 in args[2:]]


def script_flush(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    """The known scripts cannot be forgotten."""
    if len(args) > 3 or (len(args) == 3 and args[2].upper() not in (b"ASYNC", b"SYNC")):
        raise CommandError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    return OK


_SCRIPT: Final = Subcommands(
    "SCRIPT",
    {
        "LOAD": (3, script_load),
        "EXISTS": (-3, script_exists),
        "FLUSH": (-2, script_flush),
    },
    (
        "EXISTS <sha1> [<sha1> ...]",
        "    Return which of the scripts are known.",
        "FLUSH [ASYNC|SYNC]",
        "    Does nothing: the known scripts stay.",
        "LOAD <script>",
        "    Return the SHA1 of a script of redis-py's Lock.",
    ),
)

COMMANDS: Final = (
    Local("EVAL", -3, eval_, "movablekeys", translate=translate),
    Local("EVALSHA", -3, eval_, "movablekeys", translate=translate),
    Local("SCRIPT", -2, _SCRIPT.run, ""),
)
