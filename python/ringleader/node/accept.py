"""A port of TLS: connections are accepted here, and counted from their first byte on.

asyncio's own server calls the protocol when the handshake is over.  Who connects and says nothing
would be counted by nobody until then, and could take all descriptors that the process may have.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

from ringleader.limits import ACCEPT_RETRY_SECONDS


class TlsListener:
    """Listens, and makes a protocol of each connection whose handshake succeeds.

    Args:
        factory: makes the protocols.
        context: of the server's side.
        seconds: that a handshake may take.
        admits: whether to take one more connection, while so many are amid their handshake; it
            counts those that it refuses.  They are closed without a word: TLS has none for them.

    Attributes:
        sockets: those that are listened on.
        failed_count: handshakes that came to nothing.
    """

    def __init__(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        *,
        seconds: float,
        admits: Callable[[int], bool],
    ) -> None:
        self.sockets: list[socket.socket] = []
        self.failed_count = 0
        self._factory = factory
        self._context = context
        self._seconds = seconds
        self._admits = admits
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        #: Of those that have not begun: nobody else would close them when they never do.
        self._fresh: set[socket.socket] = set()

    async def listen(self, host: str, port: int, backlog: int) -> None:
        """Listen on all addresses of `host`.

        Raises:
            OSError: one of them cannot be listened on; none is.
        """
        found = await self._loop.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        made: list[socket.socket] = []
        try:
            for family, address in dict.fromkeys((info[0], info[4][:2]) for info in found):
                made.append(socket.create_server(address, family=family, backlog=backlog))
        except BaseException:
            for each in made:
                each.close()
            raise
        for each in made:
            self.listen_on(each)

    def listen_on(self, listener: socket.socket) -> None:
        """Accept on a socket that listens already, and close it in the end."""
        listener.setblocking(False)
        self.sockets.append(listener)
        self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):  # gone already
            return
        except OSError:  # no descriptors: it waits to be accepted
            self._loop.remove_reader(listener)
            self._loop.call_later(ACCEPT_RETRY_SECONDS, self._accept_again, listener)
            return
        if not self._admits(len(self._handshakes)):
            sock.close()
            return
        sock.setblocking(False)
        self._fresh.add(sock)
        task = self._loop.create_task(self._shake_hands(sock), name="TLS handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self.sockets:
            self._loop.add_reader(listener, self._accept, listener)

    async def _shake_hands(self, sock: socket.socket) -> None:
        self._fresh.discard(sock)
        try:
            await self._loop.connect_accepted_socket(
                self._factory, sock, ssl=self._context, ssl_handshake_timeout=self._seconds
            )
        except (OSError, EOFError):  # the transport has closed the socket
            self.failed_count += 1

    def close(self) -> None:
        """Accept nobody any more, and give up handshakes; connections that are made stay."""
        for listener in self.sockets:
            self._loop.remove_reader(listener)
            listener.close()
        self.sockets.clear()
        for task in self._handshakes:
            task.cancel()
        for sock in self._fresh:
            sock.close()
        self._fresh.clear()

    async def wait_closed(self) -> None:
        """All that `close` has ended is gone."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)
