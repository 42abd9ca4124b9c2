"""A small Redis client on asyncio: what `bench` loads a server with, and `up` looks at one with."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

Command = tuple[bytes, ...]

packed: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]


def tls(ca: str | None) -> ssl.SSLContext | None:
    """TLS that trusts the certificates of this PEM file, whatever host they name; "" trusts any
    at all, None is no TLS."""
    if ca is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if ca:
        context.load_verify_locations(ca)
    else:
        context.verify_mode = ssl.CERT_NONE
    return context


class RespError(Exception):
    """The server answered with an error."""


class Connection(asyncio.Protocol):
    """One connection: commands go out, replies come in the same order."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._lost: Exception | None = None

    @classmethod
    async def open(
        cls, host: str, port: int, *, password: str = "", ca: str | None = None
    ) -> Connection:
        """A connection on which commands can be sent.

        Args:
            ca: as of `tls`.

        Raises:
            OSError: nobody answers there.
            RespError: the password is refused.
        """
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, host, port, ssl=tls(ca))
        if password:
            try:
                await made.call(b"AUTH", password.encode())
            except BaseException:
                made.close()
                raise
        return made

    async def call(self, *command: bytes) -> Any:
        """The reply to one command.

        Raises:
            RespError: it is an error.
            ConnectionError: the connection was lost before there was one.
        """
        reply = await self.send([command])[0]
        if isinstance(reply, hiredis.ReplyError):
            raise RespError(str(reply))
        return reply

    def send(self, commands: list[Command]) -> list[asyncio.Future[Any]]:
        """Write commands at once; futures of their replies, errors among them as values.

        Raises:
            ConnectionError: the connection is lost.
        """
        if self._lost is not None or self._transport is None:
            raise ConnectionResetError("the connection is closed") from self._lost
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        self._waiting.extend(futures)
        self._transport.write(b"".join(map(packed, commands)))
        return futures

    def close(self) -> None:
        """Close it; what waits is told so."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                future = self._waiting.popleft()
                if not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):  # no RESP, or more than was asked for
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = exc or ConnectionResetError("the server closed the connection")
        for future in self._waiting:
            if not future.done():
                future.set_exception(ConnectionResetError("the connection was lost"))
                future.exception()  # nobody has to ask for it
        self._waiting.clear()
