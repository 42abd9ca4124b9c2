"""The sockets of clients: asyncio Protocols around sessions, with limits and backpressure.

In a turn of the event loop, each connection's bytes are handed to its session once, and what the
session has to say is written once: after its bytes were taken in, or, when replies came that were
waited for, in `Server.flush`, for all such connections together.

    no more is read from a connection   while too much of it is unanswered, or its socket takes no
                                        more replies
    a connection is closed              when replies that it does not read exceed a limit, or wait
                                        too long; when a command does not get complete, or no
                                        password comes, in time; when it breaks the protocol (after
                                        an error reply)

What all connections together make the node hold is bounded, too (`_Crowd`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import traceback
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast, final

from ringleader.errors import MisuseError
from ringleader.limits import (
    CLIENT_BACKLOG_MAX,
    CLIENT_DRAIN_SECONDS,
    CLIENT_HANDSHAKE_SECONDS,
    CLIENT_OUTPUT_BYTES_MAX,
    CLIENT_OUTPUT_PAUSE_BYTES,
    CLIENT_PARTIAL_BYTES_PER_SECOND,
    CLIENT_PARTIAL_SECONDS,
    CLIENT_STALLED_SECONDS,
    CLIENT_SWEEP_SECONDS,
    CLIENT_TLS_SECONDS,
    CLIENT_UNANSWERED_MAX,
    CLIENTS_BYTES_MAX,
    CLIENTS_CROWDED_SECONDS,
    CLIENTS_MAX,
)
from ringleader.node.accept import TlsListener
from ringleader.node.requests import RequestLimits
from ringleader.node.routing import Cluster, Router
from ringleader.node.service import Service
from ringleader.node.session import Session

_FULL: Final = b"-ERR max number of clients reached\r\n"
_STOPPING: Final = b"-ERR this node is being stopped\r\n"
#: What clients hold grows by what moves; so often it is looked at all the same, for who watches.
_SWEEPS_A_LOOK: Final = 5
_SLOW: Final = b"-ERR Protocol error: the command did not get complete in time\r\n"


class Logger(Protocol):
    """What a server has to say; structlog's loggers are such."""

    def info(self, event: str, **fields: Any) -> Any: ...
    def warning(self, event: str, **fields: Any) -> Any: ...
    def error(self, event: str, **fields: Any) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class ClientSettings:
    """How a node serves clients.

    Attributes:
        host, port: to listen on; port 0: any free one.
        password: of the user "default"; "": none is needed.
        tls: what connections are encrypted with, or None.
        readonly_lag_s: how old READONLY reads may be, unless a client sets another bound.
        clients_max: connections at a time.
        clients_bytes_max: what all of them together may make the node hold.
        unanswered_max: commands of a connection that may be under way; then it is not read.
        output_bytes_max: replies that wait for a client to read them; then it is closed.
        idle_s_max: a client that says nothing for so long is closed; 0: never.
        partial_s_max: within this a command that has begun must be complete; more for large ones.
        stalled_s_max: a client that reads nothing of what waits for it, for so long, is closed.
        handshake_s_max: within this a client must authenticate, if it has to.
        patience_s: a command may be under way for so long when its client is gone.
        drain_s_max: what is under way when the server drains is waited for so long.
        sweep_s: how often clients are looked through for those that have run out of time.
        requests: limits of one command.
    """

    host: str = "127.0.0.1"
    port: int = 0
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    readonly_lag_s: float = 5.0
    clients_max: int = CLIENTS_MAX
    clients_bytes_max: int = CLIENTS_BYTES_MAX
    unanswered_max: int = CLIENT_UNANSWERED_MAX
    output_bytes_max: int = CLIENT_OUTPUT_BYTES_MAX
    idle_s_max: int = 0
    partial_s_max: float = CLIENT_PARTIAL_SECONDS
    stalled_s_max: float = CLIENT_STALLED_SECONDS
    handshake_s_max: float = CLIENT_HANDSHAKE_SECONDS
    patience_s: float = 5.0
    drain_s_max: float = CLIENT_DRAIN_SECONDS
    sweep_s: float = CLIENT_SWEEP_SECONDS
    requests: RequestLimits = field(default_factory=RequestLimits)


@final
class Connection(asyncio.Protocol):
    """One client's socket."""

    __slots__ = (
        "_is_paused",
        "_partial_count",
        "_partial_s",
        "_resumes",
        "_server",
        "_since_s",
        "_stalled_bytes",
        "_stalled_s",
        "_transport",
        "session",
    )

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._is_paused = False
        self._resumes = False
        #: When it was accepted, or last seen authenticated.
        self._since_s = 0.0
        #: When the command that is not complete was first seen, and how many came before it.
        self._partial_s = 0.0
        self._partial_count = -1
        #: How much the client had not read when it last read something, and when that was.
        self._stalled_bytes = -1
        self._stalled_s = 0.0
        self.session: Session | None = None

    # --- what the event loop calls --------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        socket = cast(asyncio.Transport, transport)
        server = self._server
        service = server.service
        service.connections_count += 1
        if len(service.sessions) >= service.clients_max or server.is_draining:
            service.rejected_connections += 1
            socket.write(_STOPPING if server.is_draining else _FULL)
            socket.close()
            return
        self._transport = socket
        self._since_s = server.loop.time()
        socket.set_write_buffer_limits(high=CLIENT_OUTPUT_PAUSE_BYTES)
        session = Session(
            service,
            self._wake,
            _address(socket.get_extra_info("peername")),
            _address(socket.get_extra_info("sockname")),
        )
        self.session = session
        service.sessions[session.id] = session
        server.connections[session.id] = self

    def data_received(self, data: bytes) -> None:
        session = self.session
        if session is None:
            return
        try:
            session.receive(data)
            self._server.service.bytes_in += len(data)
            self._settle(session)
        except Exception as error:
            self._fail(error)

    def eof_received(self) -> bool:
        session = self.session
        if session is None:
            return False
        session.end()
        self._settle(session)
        # What is under way is still answered; TLS has no half-open connections.
        return not session.is_finished and self._server.settings.tls is None

    def connection_lost(self, exc: Exception | None) -> None:
        session, self.session = self.session, None
        self._transport = None
        if session is not None:
            session.close()
            service = self._server.service
            service.gone_commands_count += session.taken_count
            del service.sessions[session.id]
            del self._server.connections[session.id]
            self._server.on_gone(session.unanswered_bytes)

    def pause_writing(self) -> None:
        if self.session is not None:
            self.session.set_blocked_output(True)

    def resume_writing(self) -> None:
        if self.session is not None:
            self.session.set_blocked_output(False)
            self._resume()

    # --- what the session and the server call ---------------------------------------------------

    def _wake(self, session: Session) -> None:
        self._server.woken(self)

    def flush(self) -> None:
        """Write the replies that have come."""
        session = self.session
        if session is None:
            return
        try:
            if not session.closing or session.unanswered_count:
                session.drain()
            self._settle(session)
        except Exception as error:
            self._fail(error)

    def _resume(self) -> None:
        self._resumes = False
        session = self.session
        if session is None:
            return
        try:
            session.resume()
            self._settle(session)
        except Exception as error:
            self._fail(error)

    def _settle(self, session: Session) -> None:
        """Write, pause, resume or close, as the session's state demands."""
        transport = self._transport
        if transport is None:
            return
        if session.has_output:
            data = session.take()
            transport.write(data)
            self._server.service.bytes_out += len(data)
            if session.blocked_output:
                waiting_bytes = transport.get_write_buffer_size()
                if waiting_bytes > self._server.settings.output_bytes_max:
                    self._evict(session, waiting_bytes)
                    return
        if session.can_resume and not self._resumes:
            self._resumes = True
            self._server.loop.call_soon(self._resume)
        if session.closing:
            if session.is_finished:
                transport.close()
            elif not self._is_paused:
                self._pause(transport)
            return
        if session.is_full is not self._is_paused:
            self._pause(transport)

    def _pause(self, transport: asyncio.Transport) -> None:
        """Stop reading, or begin again."""
        if transport.is_closing():
            return
        self._is_paused = not self._is_paused
        if self._is_paused:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _evict(self, session: Session, waiting_bytes: int) -> None:
        self._server.service.evicted_connections += 1
        self._server.say("client closed", address=session.address, unread_bytes=waiting_bytes)
        self.abort()

    @property
    def waiting_bytes(self) -> int:
        """Bytes held until the client sends the rest, or reads."""
        if self.session is None or self._transport is None:
            return 0
        return self.session.waiting_bytes + self._transport.get_write_buffer_size()

    def crowd_out(self) -> None:
        """Close it, because clients hold too much and this one most of it."""
        session = self.session
        if session is not None:
            self._server.service.crowded_connections += 1
            self._server.say(
                "client closed", address=session.address, held_bytes=self.waiting_bytes
            )
        self.abort()

    def hold_up(self, is_held_up: bool) -> None:
        """Read no more from it, because clients hold too much; or again."""
        session = self.session
        if session is not None and session.is_held_up is not is_held_up:
            session.hold_up(is_held_up)
            self._settle(session)

    def _fail(self, error: Exception) -> None:
        """A fault of ours must not reach the event loop, nor other connections."""
        logger = self._server.logger
        if logger is not None:
            # As text: what a client sent must not get into the log.
            where = "".join(traceback.format_tb(error.__traceback__))
            logger.error("client connection failed", error=repr(error), where=where)
        self._server.service.failed_connections += 1
        self.abort()

    def abort(self) -> None:
        """Close at once; what is not written is lost."""
        if self.session is not None:
            self.session.close()
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """Read nothing more, answer what was read, then close."""
        session, transport = self.session, self._transport
        if session is not None and transport is not None:
            if not self._is_paused:
                self._pause(transport)
            session.end()
            self._settle(session)

    def check(self, now_s: float) -> None:
        """Close it if its time has run out."""
        session, transport = self.session, self._transport
        if session is None or transport is None:
            return
        settings = self._server.settings
        if session.blocked_output or session.closing:
            unread_bytes = transport.get_write_buffer_size()
            if not 0 <= self._stalled_bytes <= unread_bytes:
                self._stalled_bytes = unread_bytes
                self._stalled_s = now_s
            elif now_s - self._stalled_s > settings.stalled_s_max:
                self._evict(session, unread_bytes)
            return
        self._stalled_bytes = -1
        if session.user:
            self._since_s = now_s  # RESET makes a stranger of it again, who has as much time
        if not session.user and now_s - self._since_s > settings.handshake_s_max:
            self._time_out(session, transport, b"")
        elif session.is_partial and not self._is_paused:
            if self._partial_count != session.taken_count:
                self._partial_count = session.taken_count
                self._partial_s = now_s
            allowed_s = settings.partial_s_max
            allowed_s += session.buffered_bytes / CLIENT_PARTIAL_BYTES_PER_SECOND
            if now_s - self._partial_s > allowed_s:
                self._time_out(session, transport, _SLOW)
        else:
            self._partial_count = -1
            idle_s = session.service.clock_s() - session.last_s
            is_idle = settings.idle_s_max and idle_s > settings.idle_s_max
            if is_idle and not session.unanswered_count:
                self._time_out(session, transport, b"")

    def _time_out(self, session: Session, transport: asyncio.Transport, farewell: bytes) -> None:
        self._server.service.timed_out_connections += 1
        self._server.say("client timed out", address=session.address)
        session.close()
        if farewell:
            transport.write(farewell)
        transport.close()


@final
class _Crowd:
    """Bounds what all clients of a server make it hold.

    Some of that is given back when commands are answered, which they will be: so above the limit
    those that hold more than their share are not read.  The rest waits for the clients: commands
    and transactions that are not complete, replies that are not read.  When that comes to more
    than half of the limit, those that hold most of it are closed, as by Redis' maxmemory-clients,
    and connections with CLIENT NO-EVICT ON come last.  What those have left under way who are gone
    counts for as long as it may take.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._limit_bytes = server.settings.clients_bytes_max
        #: Bytes that had moved in and out when it was looked at last.
        self._seen_bytes = 0
        self._is_crowded = False
        self._timer: asyncio.TimerHandle | None = None
        #: When they count no more, and bytes, of commands of clients that are gone; and their sum.
        self._left: deque[tuple[float, int]] = deque()
        self._left_bytes = 0

    def leave(self, unanswered_bytes: int) -> None:
        """A client is gone, and its commands are under way still."""
        if unanswered_bytes:
            until_s = self._server.loop.time() + self._server.settings.patience_s
            self._left.append((until_s, unanswered_bytes))
            self._left_bytes += unanswered_bytes

    @property
    def is_due(self) -> bool:
        """Whether much has come and gone since the last look, or the counts began anew."""
        service = self._server.service
        bytes_since = service.bytes_in + service.bytes_out - self._seen_bytes
        return not 0 <= bytes_since < self._limit_bytes // 16

    def look(self) -> None:
        """Do what is necessary.  O(clients)."""
        self.stop()
        server, limit_bytes = self._server, self._limit_bytes
        service = server.service
        self._seen_bytes = service.bytes_in + service.bytes_out
        now_s = server.loop.time()
        while self._left and self._left[0][0] <= now_s:
            self._left_bytes -= self._left.popleft()[1]
        held: list[tuple[bool, int, Connection]] = []
        working_bytes = self._left_bytes
        waiting_sum = 0
        for connection in server.connections.values():
            session = connection.session
            if session is not None:
                waiting_bytes = connection.waiting_bytes
                waiting_sum += waiting_bytes
                working_bytes += session.working_bytes
                held.append((session.evictable, waiting_bytes, connection))
        service.held_bytes = waiting_sum + working_bytes
        was_crowded = self._is_crowded
        aim_bytes = limit_bytes * 3 // 4 if was_crowded else limit_bytes
        self._is_crowded = service.held_bytes > aim_bytes
        if self._is_crowded:
            if not was_crowded:
                server.say("clients hold too much", held_bytes=service.held_bytes)
            held.sort(key=_most_first)
            for _, waiting_bytes, connection in held:
                if waiting_sum <= limit_bytes // 2:
                    break
                if not waiting_bytes:
                    continue  # those that are closed last come behind it
                waiting_sum -= waiting_bytes
                connection.crowd_out()
            share_bytes = max(0, limit_bytes - self._left_bytes) // (len(held) or 1)
            for _, waiting_bytes, connection in held:
                session = connection.session
                if session is not None:
                    connection.hold_up(session.working_bytes + waiting_bytes > share_bytes)
            self._timer = server.loop.call_later(CLIENTS_CROWDED_SECONDS, self.look)
        elif was_crowded:
            server.say("clients hold less again", held_bytes=service.held_bytes)
            for _, _, connection in held:
                connection.hold_up(False)

    def stop(self) -> None:
        """Look no more by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _most_first(held: tuple[bool, int, Connection]) -> tuple[bool, int]:
    return not held[0], -held[1]


@final
class Server:
    """Serves clients of a node.

    Args:
        settings: see `ClientSettings`.
        router, cluster: the node.
        logger: gets a line when a client is closed for what it did.

    Attributes:
        service: what its connections share, and their counts.
        port: the one it listens on, once started.
    """

    def __init__(
        self,
        settings: ClientSettings,
        router: Router,
        cluster: Cluster,
        *,
        logger: Logger | None = None,
    ) -> None:
        self.settings = settings
        self.logger = logger
        self.service = Service(
            router,
            cluster,
            password=settings.password or None,
            limits=settings.requests,
            lag_max_s=settings.readonly_lag_s,
            clients_max=settings.clients_max,
            clients_bytes_max=settings.clients_bytes_max,
            unanswered_max=settings.unanswered_max,
            idle_s_max=settings.idle_s_max,
            port=settings.port,
        )
        self.connections: dict[int, Connection] = {}
        self.is_draining = False
        self._crowd = _Crowd(self)
        self._sweeps_count = 0
        self._woken: list[Connection] = []
        self._listener: asyncio.AbstractServer | TlsListener | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Event | None = None

    @property
    def port(self) -> int:
        return self.service.port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        if self._listener is not None:
            raise MisuseError("the server was started before")
        self.loop = asyncio.get_running_loop()
        host, port, tls = self.settings.host, self.settings.port, self.settings.tls
        listener: asyncio.Server | TlsListener
        if tls is None:
            listener = await self.loop.create_server(
                lambda: Connection(self), host, port, backlog=CLIENT_BACKLOG_MAX
            )
        else:
            listener = TlsListener(
                lambda: Connection(self), tls, seconds=CLIENT_TLS_SECONDS, admits=self._admits
            )
            await listener.listen(host, port, CLIENT_BACKLOG_MAX)
        self._listener = listener
        self.service.port = listener.sockets[0].getsockname()[1]
        self._sweep()

    def _admits(self, handshakes_count: int) -> bool:
        """Whether one more connection may begin its handshake; those under way are clients, too."""
        service = self.service
        if len(service.sessions) + handshakes_count < service.clients_max:
            return True
        service.connections_count += 1
        service.rejected_connections += 1
        return False

    def woken(self, connection: Connection) -> None:
        """Replies have come for this connection; they are written by the next `flush`."""
        if not self._woken:
            self.loop.call_soon(self.flush)
        self._woken.append(connection)

    def flush(self) -> None:
        """Write the replies that came in this turn; also called by itself, soon."""
        woken, self._woken = self._woken, []
        for connection in woken:
            connection.flush()
        if self._crowd.is_due:
            self._crowd.look()

    async def drain(self) -> None:
        """Accept nobody any more, answer all that has been read, and close each connection.

        Returns when all are closed, at the latest after `drain_s_max`.
        """
        self.is_draining = True
        await self._close_listener()
        self._all_gone = asyncio.Event()
        for connection in list(self.connections.values()):
            connection.end()
        if self.connections:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_gone.wait(), self.settings.drain_s_max)

    async def stop(self) -> None:
        """Close everything at once."""
        self.is_draining = True
        await self._close_listener()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._crowd.stop()
        self._all_gone = asyncio.Event()
        for connection in list(self.connections.values()):
            connection.abort()
        if self.connections:
            await self._all_gone.wait()

    async def _close_listener(self) -> None:
        if self._listener is not None:
            listener, self._listener = self._listener, None
            listener.close()
            if isinstance(listener, TlsListener):
                await listener.wait_closed()
            await asyncio.sleep(0)

    def on_gone(self, unanswered_bytes: int) -> None:
        """A connection is closed, with so many bytes of commands under way."""
        self._crowd.leave(unanswered_bytes)
        if self._all_gone is not None and not self.connections:
            self._all_gone.set()

    def say(self, event: str, **fields: Any) -> None:
        """Write a line to the log, if there is one."""
        if self.logger is not None:
            self.logger.info(event, **fields)

    def _sweep(self) -> None:
        # First of all, so that a fault of ours with one client does not end the time of others.
        self._sweeper = self.loop.call_later(self.settings.sweep_s, self._sweep)
        now_s = self.loop.time()
        for connection in list(self.connections.values()):
            connection.check(now_s)
        self._sweeps_count += 1
        if self._sweeps_count % _SWEEPS_A_LOOK == 0:
            self._crowd.look()


def _address(name: Any) -> str:
    """As CLIENT LIST shows it."""
    if isinstance(name, tuple) and len(name) >= 2:
        host = f"[{name[0]}]" if ":" in str(name[0]) else name[0]
        return f"{host}:{name[1]}"
    return str(name or "")
