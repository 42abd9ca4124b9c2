"""The table of all commands that clients may send: those of data, and those answered here.

A `Local` command is answered by the connection that it came on: it is not data (PING, CLIENT), or
it has to be taken apart first (MGET over several shards, EXEC).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, final

from ringleader.node.commands import COMMANDS, Command
from ringleader.node.replies import CommandError, Reply
from ringleader.node.routing import Waiting

if TYPE_CHECKING:
    from ringleader.node.session import Session

Run: TypeAlias = "Callable[[Session, list[bytes], Waiting], Reply]"
Translate: TypeAlias = "Callable[[list[bytes]], tuple[Command, list[bytes]]]"


@final
class Local:
    """A command that a session answers.

    Attributes:
        name: in upper case.
        arity: how many arguments, the name among them; -n: at least n.
        run: returns a reply, or PENDING; may raise `CommandError`.
        flags: as COMMAND INFO shows them, and besides, not shown:
            "barrier": begins when all before it are answered.
            "open": allowed before authentication.
            "immediate": within a transaction it is run at once, not queued.
            "alone": not allowed within a transaction.
        command: the data command that does its work on one shard, or None.
        translate: makes the data command and its arguments of those given, or None.
    """

    __slots__ = (
        "_translate",
        "arity",
        "command",
        "flags",
        "is_alone",
        "is_barrier",
        "is_immediate",
        "is_open",
        "name",
        "run",
    )

    def __init__(
        self,
        name: str,
        arity: int,
        run: Run,
        flags: str = "",
        command: Command | None = None,
        translate: Translate | None = None,
    ) -> None:
        kinds = set(flags.split())
        self.name = name.encode()
        self.arity = arity
        self.run = run
        self.command = command
        self._translate = translate
        self.is_barrier = "barrier" in kinds
        self.is_open = "open" in kinds
        self.is_immediate = "immediate" in kinds
        self.is_alone = "alone" in kinds
        self.flags = frozenset(kinds - {"barrier", "open", "immediate", "alone"})

    def __repr__(self) -> str:
        return f"Local({self.name.decode()})"

    def check_arity(self, args: list[bytes]) -> None:
        """Refuse a wrong number of arguments.

        Raises:
            CommandError: as Redis words it.
        """
        count = len(args)
        if count != self.arity if self.arity > 0 else count < -self.arity:
            raise wrong_arity(args[0])

    def translated(self, args: list[bytes]) -> tuple[Command, list[bytes]] | None:
        """What a shard is to execute for it within a transaction; None: nothing.

        Raises:
            CommandError: the arguments are wrong.
        """
        if self._translate is not None:
            return self._translate(args)
        return None if self.command is None else (self.command, args)


#: A data command, or None; with how many arguments it goes straight to the shard of its one key,
#: or -1; what answers it otherwise, or None: the shard of its keys.
Entry: TypeAlias = tuple[Any, int, Local | None]


def wrong_arity(name: bytes) -> CommandError:
    """The error of a wrong number of arguments; `name` may be "client|setname"."""
    text = name.decode(errors="surrogateescape").lower()
    return CommandError(f"ERR wrong number of arguments for '{text}' command")


def unknown_subcommand(args: list[bytes]) -> CommandError:
    """The error of a second argument that is none of those the command has."""
    name = args[0].decode(errors="surrogateescape").upper()
    given = args[1][:128].decode(errors="surrogateescape")
    return CommandError(f"ERR unknown subcommand '{given}'. Try {name} HELP.")


def build_table(local_commands: Iterable[Local]) -> dict[bytes, Entry]:
    """All commands by their names, in upper and in lower case."""
    table: dict[bytes, Entry] = {}
    for command in COMMANDS.values():
        count = abs(command.arity) if command.first_key == 1 else -1
        table[command.name] = (command, count, None)
    for local in local_commands:
        known = table.get(local.name)
        if known is not None:
            table[local.name] = (known[0], known[1], local)
        else:
            table[local.name] = (local.command, -1, local)
    for name in list(table):
        table[name.lower()] = table[name]
    return table


class Subcommands:
    """A command of several, as CLIENT or CLUSTER: the second argument says which.

    Args:
        name: of the container.
        table: name of each in upper case -> its arity (the container's name counts), and what runs
            it.
        lines: what HELP answers.
    """

    def __init__(self, name: str, table: dict[str, tuple[int, Run]], lines: Iterable[str]) -> None:
        self.name = name
        self.table: Final = {key.encode(): value for key, value in table.items()}
        self._help = [
            f"{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            *lines,
            "HELP",
            "    Print this help.",
        ]

    def run(self, session: Session, args: list[bytes], waiter: Waiting) -> Reply:
        """Run the subcommand that the second argument names.

        Raises:
            CommandError: there is none, or its number of arguments is wrong.
        """
        name = args[1].upper()
        if name == b"HELP" and len(args) == 2:
            return list(self._help)
        entry = self.table.get(name)
        if entry is None:
            raise unknown_subcommand(args)
        arity, run = entry
        count = len(args)
        if count != arity if arity > 0 else count < -arity:
            raise wrong_arity(self.name.encode() + b"|" + name)
        return run(session, args, waiter)
