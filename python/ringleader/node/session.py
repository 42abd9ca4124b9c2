"""One client's connection, sans-IO: bytes in, reply bytes out, in the order of the commands.

    session = Session(service, wake)
    session.receive(data)       commands are parsed and executed as far as possible
    session.take()              what is to be written now
    session.drain()             after `wake(session)` was called: replies came that were waited for

Rules:

1. Replies leave in the order of their commands.  A reply that is there before an earlier one waits
   behind it.
2. A command is begun as soon as it is parsed, whether or not earlier ones are answered: so a
   pipeline's writes share a log entry.  A few commands change how earlier ones are answered, or
   answer about them (HELLO, CLIENT, RESET, WAIT): they are *barriers*, which begin when all before
   them are answered.  Others need what a WATCH finds (EXEC, DISCARD, UNWATCH) and wait for that.
3. Commands that cannot begin wait in `_backlog`, in order; while there are any, `is_full` says that
   no more should be read.  It says so, too, while too much is unanswered or unwritten.
4. How long a reply will be is not known before it is there.  So the number of reads that are under
   way begins small, grows while replies are short, and shrinks when they are long: what a client
   has asked for and does not read stays within bounds, here and on the nodes that answer.
5. After `close()`, replies that still come change nothing.

The loop of `_run` is the node's hottest code in Python.  A command with one key, called by its name
all in upper or lower case and with as few arguments as it may have, goes straight through; all
others, and all while a connection is not plain (a transaction, no authentication, CLIENT REPLY),
take `_begin`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, final

from ringleader.errors import MisuseError
from ringleader.limits import (
    CLIENT_OUTPUT_TURN_BYTES,
    CLIENT_READS_BYTES_AIM,
    CLIENT_READS_FIRST,
    CLIENT_READS_MAX,
    CLIENT_READS_MIN,
    CLIENT_RESUMED_MAX,
    CLIENT_UNANSWERED_BYTES_MAX,
)
from ringleader.node.commands import Command, check_sizes, has_arity, keys_of
from ringleader.node.dispatch import Entry, Local, wrong_arity
from ringleader.node.replies import OK, CommandError, Reply, ReplyError, encode
from ringleader.node.requests import RequestParser
from ringleader.node.routing import PENDING, Origin, Waiting
from ringleader.node.slots import slot_of

if TYPE_CHECKING:
    from ringleader.node.service import Service
    from ringleader.node.transactions import Transaction


@final
class _Sign:
    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: Instead of a reply: the command has not begun, all before it must be answered first.
BLOCKED: Final = _Sign("BLOCKED")
#: Instead of a reply: the client has asked for none.
SILENCE: Final = _Sign("SILENCE")

_CRLF: Final = b"\r\n"
_HEADS: Final = [b"$%d\r\n" % size for size in range(1025)]
_SHORT: Final = len(_HEADS)
NOAUTH: Final = ReplyError("NOAUTH Authentication required.")
CROSSSLOT: Final = "CROSSSLOT Keys in request don't hash to the same slot"


@final
class Waiter:
    """A command's place in the order of its connection's replies; `reply` is PENDING at first."""

    __slots__ = ("reply", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.reply: Reply = PENDING

    def resolve(self, reply: Reply) -> None:
        """The reply is there.  O(1)."""
        self.reply = reply
        session = self.session
        if not session.is_awake:
            session.is_awake = True
            session.wake(session)


@final
class _Muted:
    """The place of a command whose reply the client does not want."""

    __slots__ = ("_waiter",)

    def __init__(self, waiter: Waiter) -> None:
        self._waiter = waiter

    def resolve(self, reply: Reply) -> None:
        self._waiter.resolve(SILENCE)


@final
class Session:
    """One connection.

    Args:
        service: what all connections of the node share.
        wake: called with the session when replies have come that were waited for, once until
            `drain`.
        address: the client's, for CLIENT LIST.

    Attributes:
        id: of the connection, never used twice while the node runs.
        protocol: 2 or 3.
        user: has authenticated, or need not.
        transaction: what MULTI began, or None.
        watched: keys and their versions.
        watches_under_way: WATCHes that are not answered yet.
        taken_count: commands that have arrived.
        replying, skips_next: CLIENT REPLY ON; one reply will be left out.
        closing: nothing more is executed; the connection is to be closed when `is_finished`.
        is_awake: `wake` has been called, or need not be.
        is_full: no more should be read from the client.
        is_held_up: nor should it because clients hold too much (set through `hold_up`).
        blocked_output: its socket takes no more for now (set through `set_blocked_output`).
    """

    __slots__ = (
        "_answered_count",
        "_backlog",
        "_backlog_bytes",
        "_chunks",
        "_ending",
        "_execute",
        "_large",
        "_out",
        "_out_bytes",
        "_parser",
        "_pending",
        "_reads_left",
        "_reads_max",
        "_shards",
        "_spare",
        "_table",
        "_unanswered_bytes",
        "address",
        "blocked_output",
        "closing",
        "created_s",
        "evictable",
        "id",
        "is_awake",
        "is_full",
        "is_held_up",
        "is_plain",
        "last_command",
        "last_s",
        "library",
        "library_version",
        "local_address",
        "name",
        "origin",
        "protocol",
        "replying",
        "service",
        "skips_next",
        "taken_count",
        "touches",
        "transaction",
        "user",
        "wake",
        "watched",
        "watches_under_way",
    )

    def __init__(
        self,
        service: Service,
        wake: Callable[[Session], None],
        address: str = "",
        local_address: str = "",
    ) -> None:
        self.service = service
        self.wake = wake
        self.address = address
        self.local_address = local_address
        self.id = service.new_id()
        self.user = service.password is None
        self._parser = RequestParser(service.limits, self.user)
        self._table: dict[bytes, Entry] = service.table
        self._execute = service.router.execute
        self._shards = service.router.shard_of_slot
        self._pending: deque[Waiter] = deque()
        self._spare = Waiter(self)
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._backlog: deque[list[bytes]] = deque()
        #: Of the chunks that it is a part of.
        self._backlog_bytes = 0
        #: For each chunk that is not answered: how many commands are when it is, and its bytes.
        self._chunks: deque[tuple[int, int]] = deque()
        self._unanswered_bytes = 0
        self._answered_count = 0
        #: Reads that may be under way together, and how many more may begin now.
        self._reads_max = self._reads_left = CLIENT_READS_FIRST
        #: Among the commands at hand may be one whose key is too long.
        self._large = False
        self.origin = Origin(service.lag_max_s)
        self.protocol = 2
        self.transaction: Transaction | None = None
        self.watched: dict[bytes, int] = {}
        self.watches_under_way = 0
        self.replying = True
        self.skips_next = False
        self.is_plain = self.user
        self.is_awake = False
        self.is_full = False
        self.is_held_up = False
        self.blocked_output = False
        self.closing = False
        self._ending = False
        self.taken_count = 0
        self.created_s = self.last_s = service.clock_s()
        self.last_command = b""
        self.name = b""
        self.library = b""
        self.library_version = b""
        self.evictable = True
        self.touches = True

    # --- what the transport calls ---------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take in what has arrived.  O(bytes), and what its commands take."""
        if self.closing:
            return
        parser = self._parser
        held = parser.buffered_bytes
        was_trusted = parser.trusted
        commands = parser.feed(data)
        self.taken_count += len(commands)
        self.last_s = self.service.clock_s()
        self._large = parser.large or (self._large and bool(self._backlog))
        if self._backlog or self.blocked_output or self._reads_left <= 0:
            self._backlog.extend(commands)
        else:
            self._backlog.extend(self._run(commands))
        if not was_trusted or parser.error is not None:
            self._receive_rest()
        self._count_taken(held + len(data) - parser.buffered_bytes)
        self._settle()

    def _count_taken(self, taken: int) -> None:
        """So many bytes have become commands."""
        if self._backlog:
            self._backlog_bytes += taken
        elif self._pending:
            self._count_unanswered(taken)

    def _count_unanswered(self, taken: int) -> None:
        """So many bytes are held until all that is under way is answered."""
        self._chunks.append((self._answered_count + len(self._pending), taken))
        self._unanswered_bytes += taken

    def _receive_rest(self) -> None:
        """Commands of a client that had not authenticated are parsed one by one; and a protocol
        error is answered after all that came before it."""
        parser = self._parser
        while not self._backlog and not self.closing:
            commands = parser.feed(b"")
            if not commands:
                break
            self.taken_count += len(commands)
            self._large = parser.large
            self._backlog.extend(self._run(commands))
        if parser.error is not None and not self._backlog and not self.closing:
            self.service.protocol_errors += 1
            self._put(ReplyError(f"ERR {parser.error}"))
            self.closing = True

    def drain(self) -> None:
        """Encode the replies that have come, as far as the order allows, and go on with commands
        that waited for them.  O(replies)."""
        self.is_awake = False
        self.resume()

    def resume(self) -> None:
        """Encode replies and begin commands, as far as they may."""
        self._answer()
        chunks = self._chunks
        while chunks and chunks[0][0] <= self._answered_count:
            self._unanswered_bytes -= chunks.popleft()[1]
        backlog = self._backlog
        while backlog and self._reads_left > 0 and not self.closing and not self.blocked_output:
            count = min(len(backlog), CLIENT_RESUMED_MAX)
            left = self._run([backlog.popleft() for _ in range(count)])
            backlog.extendleft(reversed(left))
            if left or self._is_turn_over() or len(self._pending) >= self.service.unanswered_max:
                break
        if self._backlog_bytes and not backlog:
            taken, self._backlog_bytes = self._backlog_bytes, 0
            if self._pending:
                self._count_unanswered(taken)
        parser = self._parser
        if not self._backlog and (parser.partial or parser.error is not None):
            held = parser.buffered_bytes
            self._receive_rest()
            self._count_taken(held - parser.buffered_bytes)
        self._settle()

    def _is_turn_over(self) -> bool:
        return self._out_bytes > CLIENT_OUTPUT_TURN_BYTES

    def take(self) -> bytes:
        """The replies that are to be written now."""
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        return data

    def hold_up(self, is_held_up: bool) -> None:
        """All clients hold too much, and this one more than others; or no more."""
        self.is_held_up = is_held_up
        self._settle()

    def set_blocked_output(self, blocked: bool) -> None:
        """The transport's buffer is full, or no more; then `resume` goes on."""
        self.blocked_output = blocked
        self._settle()

    def close(self) -> None:
        """The connection is gone, or to be cut off: nothing more is executed, replies that still
        come are dropped."""
        self.closing = True
        self.origin.is_closed = True
        self.is_awake = True  # so that `wake` is not called any more
        self._pending.clear()
        self._backlog.clear()
        self._backlog_bytes = 0
        self._chunks.clear()
        self._out.clear()
        self.transaction = None
        self.watched = {}

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    @property
    def can_resume(self) -> bool:
        """Whether replies or commands wait that nothing but their turn keeps from going on."""
        if self.blocked_output:
            return False
        if self._pending:
            return self._pending[0].reply is not PENDING
        return bool(self._backlog) and not self.closing

    @property
    def is_finished(self) -> bool:
        """Whether a connection that is closing has nothing more to say."""
        return self.closing and not self._pending and not self._out

    @property
    def is_partial(self) -> bool:
        """Whether a command has begun to arrive and is not complete."""
        return self._parser.partial

    @property
    def buffered_bytes(self) -> int:
        """Bytes held of commands that are not complete."""
        return self._parser.buffered_bytes

    @property
    def unanswered_bytes(self) -> int:
        """Bytes of commands that are under way; they stay with whoever executes them, even when
        the connection is closed."""
        return self._unanswered_bytes

    @property
    def working_bytes(self) -> int:
        """Bytes held until commands are answered, which they will be."""
        return self._unanswered_bytes + self._backlog_bytes

    @property
    def waiting_bytes(self) -> int:
        """Bytes held until the client does something: what it has begun, and not ended."""
        size = self._parser.buffered_bytes + self._out_bytes
        if self.transaction is not None:
            size += self.transaction.held_bytes
        if self.watched:
            size += sum(map(len, self.watched))
        return size

    @property
    def unanswered_count(self) -> int:
        """Commands that are begun, or wait to be, and not answered."""
        return len(self._pending) + len(self._backlog)

    def finish(self) -> None:
        """Begin nothing more, answer what is under way, then be finished (QUIT)."""
        self.closing = True
        self._backlog.clear()
        self._backlog_bytes = 0

    def end(self) -> None:
        """No more input will come: execute and answer all there is, then be finished."""
        self._ending = True
        self._settle()

    # --- the hot loop ---------------------------------------------------------------------------

    def _run(self, commands: Iterable[list[bytes]]) -> list[list[bytes]]:
        """Begin commands until one must wait, and encode what is answered at once.

        Returns those that could not begin.
        """
        pending = self._pending
        out = self._out
        find = self._table.get
        shards = self._shards
        execute = self._execute
        origin = self.origin
        spare = self._spare
        protocol = self.protocol
        is_plain = self.is_plain and not self._large
        reply: Reply
        remaining = iter(commands)
        for args in remaining:
            entry = find(args[0]) if is_plain else None
            if entry is not None:
                command, count, local = entry
                if len(args) == count:
                    reply = execute(origin, command, args, shards[slot_of(args[1])], spare)
                    if reply.__class__ is bytes and not pending:
                        size = len(reply)
                        if size < _SHORT:
                            out += (_HEADS[size], reply, _CRLF)
                            continue
                    elif reply is PENDING:
                        pending.append(spare)
                        spare = Waiter(self)
                        if not command.is_write:
                            self._reads_left -= 1
                            if self._reads_left <= 0:
                                break
                        continue
                else:
                    reply = self._begin(command, local, args, spare)
                    is_plain = self.is_plain and not self._large
                    protocol = self.protocol
            else:
                reply = self._begin_rare(args, spare)
                is_plain = self.is_plain and not self._large
                protocol = self.protocol
            if reply is PENDING:
                pending.append(spare)
                spare = Waiter(self)
                self._reads_left -= 1
                if self._reads_left <= 0:
                    break
            elif reply is SILENCE:
                if self._reads_left <= 0:
                    break
            elif reply is BLOCKED:
                self._spare = spare
                if not pending:  # nothing would ever end its wait
                    raise MisuseError(f"{args[0][:64]!r} waits for earlier commands, and none is")
                return [args, *remaining]
            elif pending:
                spare.reply = reply
                pending.append(spare)
                spare = Waiter(self)
            else:
                self._encode(reply, protocol)
                if self._out_bytes > CLIENT_OUTPUT_TURN_BYTES:
                    break
            if self.closing:
                self._spare = spare
                return []
        self._spare = spare
        return list(remaining)

    def _answer(self) -> None:
        """Encode the replies at the head of the order, as many as there is room for."""
        pending = self._pending
        if not pending:
            return
        out = self._out
        protocol = self.protocol
        count = len(pending)
        bytes_before = self._out_bytes
        while pending and not self.blocked_output:
            reply = pending[0].reply
            if reply is PENDING:
                break
            pending.popleft()
            if reply is OK:
                out.append(b"+OK\r\n")
            elif reply is not SILENCE:
                self._encode(reply, protocol)
                if self._out_bytes > CLIENT_OUTPUT_TURN_BYTES:
                    break
        answered = count - len(pending)
        if answered:
            self._answered_count += answered
            self._pace(answered, self._out_bytes - bytes_before)

    def _pace(self, answered: int, size: int) -> None:
        """Let more reads be under way, or fewer, after so many replies of so many bytes."""
        aim = CLIENT_READS_BYTES_AIM * answered // (size + 1)
        widest = min(self._reads_max + answered, aim, CLIENT_READS_MAX)
        self._reads_max = max(widest, CLIENT_READS_MIN)
        left = self._reads_left + answered if self._pending else self._reads_max
        self._reads_left = min(left, self._reads_max)

    def _put(self, reply: Reply) -> None:
        """A reply that comes after all others under way."""
        if self._pending:
            waiter = Waiter(self)
            waiter.reply = reply
            self._pending.append(waiter)
        else:
            self._encode(reply, self.protocol)

    def _encode(self, reply: Reply, protocol: int) -> None:
        """Append a reply's bytes, counting those of long ones."""
        out = self._out
        kind = reply.__class__
        if kind is bytes:
            self._out_bytes += len(reply)
            encode(reply, protocol, out)
        elif reply is None or kind is str or kind is int:
            encode(reply, protocol, out)
        else:
            start = len(out)
            encode(reply, protocol, out)
            self._out_bytes += sum(map(len, out[start:])) if len(out) - start > 1 else 0

    # --- all other commands ---------------------------------------------------------------------

    def _begin_rare(self, args: list[bytes], waiter: Waiter) -> Reply:
        """Begin a command of a connection that is not plain, or with a name of mixed case."""
        table = self._table
        entry = table.get(args[0])
        if entry is None:
            entry = table.get(args[0].upper())
            if entry is None:
                if self.transaction is not None:
                    self.transaction.failed = True
                self.service.errors_count += 1
                if self.replying and not self.skips_next:
                    return unknown_command(args)
                self.skips_next = False
                self.settle_plain()
                return SILENCE
        command, _, local = entry
        if self.replying and not self.skips_next:
            return self._begin(command, local, args, waiter)
        skips_next, self.skips_next = self.skips_next, False
        muted = Waiter(self)
        reply = self._begin(command, local, args, _Muted(muted))
        if reply is BLOCKED:
            self.skips_next = skips_next
            return BLOCKED
        if reply is PENDING:
            self._pending.append(muted)
            self._reads_left -= 1
        self.settle_plain()
        if reply is OK and [arg.upper() for arg in args] == [b"CLIENT", b"REPLY", b"ON"]:
            return reply
        return SILENCE

    def _begin(
        self, command: Command | None, local: Local | None, args: list[bytes], waiter: Waiting
    ) -> Reply:
        """Begin any command whose name is known: a reply, PENDING or BLOCKED."""
        transaction = self.transaction
        try:
            if local is not None:
                local.check_arity(args)
            elif command is not None and not has_arity(command, args):
                raise wrong_arity(args[0])
            if not self.user and not (local is not None and local.is_open):
                return NOAUTH
            self.last_command = args[0]
            if transaction is not None and not (local is not None and local.is_immediate):
                return transaction.queue(command, local, args)
            if local is not None:
                if local.is_barrier and self._pending:
                    return BLOCKED
                return local.run(self, args, waiter)
            assert command is not None
            return self.route(command, args, waiter)
        except CommandError as error:
            self.service.errors_count += 1
            if transaction is not None and not (local is not None and local.is_immediate):
                transaction.failed = True
            return error.reply

    def route(self, command: Command, args: list[bytes], waiter: Waiting) -> Reply:
        """Execute a data command on the shard of its keys.

        Raises:
            CommandError: they are in several shards, or an argument is too long.
        """
        shards = self._shards
        if command.first_key and command.first_key == command.last_key:
            shard = shards[slot_of(args[command.first_key])]
        else:
            numbers = {shards[slot_of(key)] for key in keys_of(command, args)}
            if len(numbers) != 1:
                raise CommandError(CROSSSLOT)
            shard = numbers.pop()
        return self.execute(command, args, shard, waiter)

    def execute(self, command: Command, args: list[bytes], shard: int, waiter: Waiting) -> Reply:
        """Execute a data command on a shard that the caller knows.

        Raises:
            CommandError: an argument is too long.
        """
        if self._large:
            check_sizes(command, args)
        return self._execute(self.origin, command, args, shard, waiter)

    # --- state ----------------------------------------------------------------------------------

    def authenticated(self) -> None:
        """The client has given the password."""
        self.user = True
        self._parser.trusted = True
        self.settle_plain()

    def settle_plain(self) -> None:
        """Work out `is_plain` again, after any of what it depends on has changed."""
        self.is_plain = (
            self.user and self.transaction is None and self.replying and not self.skips_next
        )

    def reset(self) -> None:
        """Back to the state of a new connection (RESET)."""
        self.transaction = None
        self.watched = {}
        self.replying = True
        self.skips_next = False
        self.protocol = 2
        self.origin.readonly = False
        self.origin.lag_max_s = self.service.lag_max_s
        self.name = b""
        self.user = self.service.password is None
        self._parser.trusted = self.user
        self.evictable = self.touches = True
        self.settle_plain()

    def speak(self) -> None:
        """CLIENT REPLY ON."""
        self.replying = True
        self.skips_next = False
        self.settle_plain()

    def mute(self) -> Reply:
        """CLIENT REPLY OFF: no reply to this command, nor to any later one."""
        self.replying = False
        self.settle_plain()
        return SILENCE

    def skip_next(self) -> Reply:
        """CLIENT REPLY SKIP: no reply to this command, nor to the next."""
        self.skips_next = self.replying
        self.settle_plain()
        return SILENCE

    def cut_off(self) -> None:
        """End the connection from outside (CLIENT KILL): what is under way is not answered."""
        self.close()
        self.wake(self)

    def _settle(self) -> None:
        if self._ending and not self._backlog:
            self.closing = True
        pending_count = len(self._pending)
        limit = self.service.unanswered_max
        if self.is_full:
            limit //= 2
        self.is_full = (
            bool(self._backlog)
            or self.blocked_output
            or self._reads_left <= 0
            or pending_count >= limit
            or self._unanswered_bytes >= CLIENT_UNANSWERED_BYTES_MAX
            or self.is_held_up
        )


def unknown_command(args: list[bytes]) -> ReplyError:
    """The error of a name that no command has, with the first arguments, as Redis words it."""
    shown = ""
    for arg in args[1:]:
        if len(shown) >= 128:
            break
        shown += f"'{arg[: 128 - len(shown)].decode(errors='surrogateescape')}' "
    name = args[0][:128].decode(errors="surrogateescape")
    return ReplyError(f"ERR unknown command '{name}', with args beginning with: {shown}")
