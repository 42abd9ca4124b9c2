"""From a client's bytes to commands: RESP arrays by hiredis, all else by a strict parser.

`RequestParser.feed` takes what arrived and gives the commands that are complete, each a list of
`bytes`, never empty.  Two parsers share the work:

    hiredis     a chunk that begins with a command; most chunks are nothing but whole commands
    strict      a command that is cut off at the chunk's end (until it is whole), inline commands,
                counts that could make hiredis reserve memory for what never comes, everything
                before a client has authenticated, and whatever hiredis took exception to

hiredis does not say where in its input it stands, so the bytes of its commands are counted: what
they do not account for is the beginning of a command, and goes to the strict parser.  Nothing that
is not yet a whole command ever stays in hiredis.

The strict parser has the limits and the error texts of Redis (networking.c: processInlineBuffer,
processMultibulkBuffer).  Where hiredis is more lenient, a simple string in place of an argument,
the two may differ for a client that breaks the protocol.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import Final

import hiredis

from ringleader.errors import RingleaderError
from ringleader.limits import (
    CLIENT_ARGUMENTS_MAX,
    CLIENT_BULK_BYTES_MAX,
    CLIENT_COMMAND_BYTES_MAX,
    CLIENT_INLINE_BYTES_MAX,
    CLIENT_STRANGER_ARGUMENTS_MAX,
    CLIENT_STRANGER_BULK_BYTES_MAX,
    STORE_KEY_BYTES_MAX,
)

_ASTERISK: Final = 0x2A
_DOLLAR: Final = 0x24
#: Six digits: a command of so many arguments is the strict parser's.
_large_count = re.compile(rb"\*\d{6}").search
#: Pushes are reserved for in advance, too.
_PUSH: Final = b"\n>"
_NUMBER: Final = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\Z")
_INCOMPLETE: Final = object()
_LISTS: Final = {list}
_BYTES: Final = {bytes}


def _digits(number: int) -> int:
    return len(b"%d" % number)


#: Bytes that an argument of so many bytes takes, and the head of an array of so many elements.
_ARGUMENT_BYTES: Final = [size + _digits(size) + 5 for size in range(2048)]
_HEAD_BYTES: Final = [_digits(count) + 3 for count in range(256)]
_ARGUMENT_BYTES_COUNT: Final = len(_ARGUMENT_BYTES)
_argument_bytes = _ARGUMENT_BYTES.__getitem__
_head_bytes = _HEAD_BYTES.__getitem__


class ProtocolError(RingleaderError, ValueError):
    """A client's bytes are no commands; its connection ends with this text."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a command may be.

    Attributes:
        arguments_max: its name among them.
        bulk_bytes_max: of each.
        command_bytes_max: of all together, and what stands between them.
    """

    arguments_max: int = CLIENT_ARGUMENTS_MAX
    bulk_bytes_max: int = CLIENT_BULK_BYTES_MAX
    command_bytes_max: int = CLIENT_COMMAND_BYTES_MAX


class RequestParser:
    """One connection's bytes, cut into commands.

    Attributes:
        large: among the arguments that the last `feed` gave is one too long for a key.
        error: why no more commands will come ("Protocol error: ..."), or None.
        trusted: the client has authenticated, or need not.  Until then, commands are handed out
            one by one (`feed(b"")` gives the next), and the limits are narrow.
    """

    __slots__ = (
        "_args",
        "_buffer",
        "_bulk",
        "_consumed",
        "_gets",
        "_missing",
        "_reader",
        "error",
        "large",
        "limits",
        "trusted",
    )

    def __init__(self, limits: RequestLimits | None = None, trusted: bool = True) -> None:
        self.limits = limits if limits is not None else RequestLimits()
        self.trusted = trusted
        self.error: str | None = None
        self.large = False
        self._renew()
        #: What the strict parser has not yet taken.
        self._buffer = bytearray()
        #: Of the array under way: its arguments so far, and how many are missing.
        self._args: list[bytes] = []
        self._missing = 0
        #: Bytes of the argument under way; -1: its head has not been read.
        self._bulk = -1
        #: Bytes of the array under way that have left the buffer.
        self._consumed = 0

    def _renew(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._gets = self._reader.gets

    @property
    def partial(self) -> bool:
        """Whether a command has begun to arrive and is not complete."""
        return self._missing > 0 or len(self._buffer) > 0

    @property
    def buffered_bytes(self) -> int:
        """Bytes held of commands that have not been handed out."""
        return self._consumed + len(self._buffer)

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The commands that are complete now; after an `error` there are none.

        O(bytes).  Arguments are copied once, and once more when their command comes in pieces.
        """
        self.large = False
        if self._missing or self._buffer or not self.trusted:
            if self.error is not None:
                return []
            self._buffer += data
            commands = self._take(1)
            if not commands or not self.trusted or not self._buffer:
                return commands
            rest = bytes(self._buffer)
            self._buffer.clear()
            return commands + self._parse(rest)
        if not data or self.error is not None:
            return []
        return self._parse(data)

    def _parse(self, data: bytes) -> list[list[bytes]]:
        """All the commands of a chunk that begins where a command does."""
        if data[0] != _ASTERISK or _large_count(data) is not None or _PUSH in data:
            return self._strict(data)
        self._reader.feed(data)
        commands: list[list[bytes]]
        try:
            commands = list(iter(self._gets, _INCOMPLETE))
            if len(commands) == 1 and _is_plain(commands[0], len(data)):
                return commands
            arguments = list(chain.from_iterable(commands))
        except (hiredis.HiredisError, TypeError):
            self._renew()
            return self._strict(data)
        if set(map(type, arguments)) != _BYTES or set(map(type, commands)) != _LISTS:
            self._renew()
            return self._strict(data)
        try:
            size = sum(map(_argument_bytes, map(len, arguments)))
            size += sum(map(_head_bytes, map(len, commands)))
        except IndexError:
            if max(map(len, arguments)) > STORE_KEY_BYTES_MAX:
                self.large = True
            size = sum(len(argument) + _digits(len(argument)) + 5 for argument in arguments)
            size += sum(_digits(len(command)) + 3 for command in commands)
        if size != len(data):
            self._renew()
            if size > len(data) or data[size - 2 : size] != b"\r\n":
                return self._strict(data)
            commands += self._strict(data[size:])
        return commands if all(commands) else [command for command in commands if command]

    def _strict(self, data: bytes) -> list[list[bytes]]:
        self._buffer += data
        return self._take(len(self._buffer))

    def _take(self, count: int) -> list[list[bytes]]:
        """At most `count` commands out of the buffer."""
        commands: list[list[bytes]] = []
        buffer = self._buffer
        size = len(buffer)
        position = 0
        try:
            while len(commands) < count and position < size:
                if self._missing == 0:
                    if buffer[position] != _ASTERISK:
                        end, line = _line(buffer, position, b"\n", "too big inline request")
                        if end < 0:
                            break
                        if args := split_inline(line.removesuffix(b"\r")):
                            commands.append(args)
                        position = end
                        continue
                    end, line = _line(buffer, position, b"\r\n", "too big mbulk count string")
                    if end < 0:
                        break
                    self._missing = self._array_length(line[1:])
                    self._args = []
                    self._consumed = end - position if self._missing else 0
                    position = end
                    continue
                start = position
                if self._bulk < 0:
                    if buffer[position] != _DOLLAR:
                        got = chr(buffer[position])
                        raise ProtocolError(f"expected '$', got '{got}'")
                    end, line = _line(buffer, position, b"\r\n", "too big bulk count string")
                    if end < 0:
                        break
                    self._bulk = self._bulk_length(line[1:])
                    position = end
                    self._consumed += position - start
                    start = position
                if size - position < self._bulk + 2:
                    break
                position += self._bulk
                self._args.append(bytes(memoryview(buffer)[start:position]))
                position += 2
                self._consumed += position - start
                self._bulk = -1
                self._missing -= 1
                if self._missing == 0:
                    commands.append(self._args)
                    if self._consumed > STORE_KEY_BYTES_MAX:
                        self.large = True
                    self._args = []
                    self._consumed = 0
        except ProtocolError as error:
            self.error = f"Protocol error: {error}"
            self._missing = 0
            self._args = []
            self._consumed = 0
            buffer.clear()
            return commands
        del buffer[:position]
        return commands

    def _array_length(self, digits: bytes) -> int:
        length = _number(digits)
        if length is None or length > self.limits.arguments_max:
            raise ProtocolError("invalid multibulk length")
        if length > CLIENT_STRANGER_ARGUMENTS_MAX and not self.trusted:
            raise ProtocolError("unauthenticated multibulk length")
        return max(length, 0)

    def _bulk_length(self, digits: bytes) -> int:
        length = _number(digits)
        if length is None or not 0 <= length <= self.limits.bulk_bytes_max:
            raise ProtocolError("invalid bulk length")
        if length > CLIENT_STRANGER_BULK_BYTES_MAX and not self.trusted:
            raise ProtocolError("unauthenticated bulk length")
        if self._consumed + length > self.limits.command_bytes_max:
            raise ProtocolError("too big command")
        return length


def _is_plain(command: list[bytes], size: int) -> bool:
    """Whether it is a command of few short arguments that takes exactly `size` bytes; if not, one
    has to look more closely."""
    if command.__class__ is not list or not 0 < len(command) < 10:
        return False
    size -= 4
    for argument in command:
        if argument.__class__ is not bytes:
            return False
        length = len(argument)
        if length >= _ARGUMENT_BYTES_COUNT:
            return False
        size -= _ARGUMENT_BYTES[length]
    return size == 0


def _number(digits: bytes) -> int | None:
    return int(digits) if _NUMBER.match(digits) else None


def _line(buffer: bytearray, position: int, end: bytes, too_long: str) -> tuple[int, bytes]:
    """What follows the line that begins at `position`, and the line; -1 while it has no end.

    Raises:
        ProtocolError: with the text `too_long`.
    """
    found = buffer.find(end, position, position + CLIENT_INLINE_BYTES_MAX)
    if found < 0:
        if len(buffer) - position >= CLIENT_INLINE_BYTES_MAX:
            raise ProtocolError(too_long)
        return -1, b""
    return found + len(end), bytes(buffer[position:found])


_ESCAPES: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
#: One argument of an inline command: pieces that are quoted, or not, then white space or the end.
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"(?=[\s\0]|\Z)', re.DOTALL)
_APOSTROPHES = re.compile(rb"'((?:[^'\\]|\\'|\\(?!'))*)'(?=[\s\0]|\Z)")
_BARE = re.compile(rb"[^\s\0\"']+")
_SPACE = re.compile(rb"\s*")
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def split_inline(line: bytes) -> list[bytes]:
    r"""The arguments of an inline command, quoted as in Redis: `SET "a b" 'it\'s' "\x00\n"`.

    Raises:
        ProtocolError: a quotation mark has no partner, or text follows it.
    """
    args: list[bytes] = []
    position = 0
    while True:
        position = _end(_SPACE, line, position)
        if position >= len(line) or line[position] == 0:
            return args
        pieces: list[bytes] = []
        while position < len(line) and not line[position : position + 1].isspace():
            if line[position] == 0:
                break
            mark = line[position : position + 1]
            if mark == b'"':
                match = _QUOTED.match(line, position)
                text = _ESCAPE.sub(_unescape, match[1]) if match else b""
            elif mark == b"'":
                match = _APOSTROPHES.match(line, position)
                text = match[1].replace(b"\\'", b"'") if match else b""
            else:
                match = _BARE.match(line, position)
                text = match[0] if match else b""
            if match is None:
                raise ProtocolError("unbalanced quotes in request")
            pieces.append(text)
            position = match.end()
        args.append(b"".join(pieces))


def _end(pattern: re.Pattern[bytes], line: bytes, position: int) -> int:
    match = pattern.match(line, position)
    return match.end() if match else position


def _unescape(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes((int(match[1], 16),))
    return _ESCAPES.get(match[2], match[2])
