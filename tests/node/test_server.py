"""Clients on real sockets: redis-py, redis-cli, redis-benchmark, and those that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
import uvloop
from node.conversation import Error, encoded, replies_in
from node.fake_router import FakeRouter
from redis.backoff import NoBackoff
from redis.cluster import LoadBalancingStrategy
from redis.exceptions import RedisError
from redis.retry import Retry

from ringleader.node.accept import TlsListener
from ringleader.node.requests import RequestLimits
from ringleader.node.server import ClientSettings, Connection, Server

LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    """Run a coroutine on either event loop."""

    def run(main: Any) -> Any:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(asyncio.wait_for(main, 60))

    return run


def run_here(main: Any) -> Any:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asyncio.wait_for(main, 60))


@contextlib.asynccontextmanager
async def serving(router: FakeRouter | None = None, **settings: Any) -> AsyncIterator[Server]:
    """A server on a free port; writes are executed at the end of the turn."""
    if router is None:
        router = FakeRouter(deferred=True)
    loop = asyncio.get_running_loop()
    if router.on_dirty is None:
        router.on_dirty = lambda: loop.call_soon(router.commit)
    server = Server(ClientSettings(**settings), router, router)
    await server.start()
    router.port = server.port
    try:
        yield server
    finally:
        await server.stop()


class Wire:
    """A client that sends bytes as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def line(self) -> bytes:
        return await self.reader.readline()

    async def rest(self) -> bytes:
        """All until the server closes."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def wire(server: Server, **options: Any) -> AsyncIterator[Wire]:
    client = Wire(*await asyncio.open_connection("127.0.0.1", server.port, **options))
    try:
        yield client
    finally:
        await client.close()


async def crowding(
    stack: contextlib.AsyncExitStack, router: FakeRouter | None = None
) -> tuple[Server, Wire]:
    """A server that has clients hold 1 MiB together, and one of them."""
    server = await stack.enter_async_context(serving(router, clients_bytes_max=2**20, sweep_s=0.05))
    return server, await stack.enter_async_context(wire(server))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def in_thread(call: Callable[..., Any], *args: Any) -> Any:
    """Run what blocks beside the server."""
    return await asyncio.get_running_loop().run_in_executor(None, call, *args)


class TestBytes:
    def test_a_pipeline_in_one_write(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            async with serving() as server, wire(server) as client:
                count = 3000
                await client.send(
                    b"".join(
                        encoded("SET", f"k{number}", number) + encoded("GET", f"k{number}")
                        for number in range(count)
                    )
                    + encoded("QUIT")
                )
                replies = replies_in(await client.rest())
                assert replies == [
                    reply for number in range(count) for reply in (b"OK", b"%d" % number)
                ] + [b"OK"]
                await until(lambda: not server.connections)

        run(main())

    def test_telnet(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            async with serving() as server, wire(server) as client:
                await client.send(b"PI")
                await asyncio.sleep(0.02)
                await client.send(b"NG\r\n\r\nset a 'b c'\nget a\r\n")
                assert [await client.line() for _ in range(4)] == [
                    b"+PONG\r\n",
                    b"+OK\r\n",
                    b"$3\r\n",
                    b"b c\r\n",
                ]

        run(main())

    def test_byte_by_byte(self) -> None:
        async def main() -> None:
            async with serving() as server, wire(server) as client:
                for byte in encoded("SET", "key", "value"):
                    await client.send(bytes((byte,)))
                    await asyncio.sleep(0.001)
                assert await client.line() == b"+OK\r\n"

        run_here(main())

    def test_half_closed(self, run: Callable[[Any], Any]) -> None:
        """`printf ... | nc`: what was sent before the end is answered."""

        async def main() -> None:
            async with serving() as server, wire(server) as client:
                await client.send(encoded("SET", "a", 1) + encoded("CLIENT", "ID") + b"*2\r\n$3")
                client.writer.write_eof()
                assert (await client.rest()).startswith(b"+OK\r\n:")
                await until(lambda: not server.connections)

        run(main())

    @pytest.mark.parametrize(
        ("data", "error"),
        [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*1\r\n$-5\r\n", "invalid bulk length"),
            (b"*99999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n$99999999999\r\n", "invalid bulk length"),
            (b"*1\r\n*1\r\n", "expected '$', got '*'"),
            (b"x" * 70_000, "too big inline request"),
            (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$20000000\r\n", "invalid bulk length"),
        ],
    )
    def test_broken_bytes(self, data: bytes, error: str) -> None:
        async def main() -> None:
            limits = RequestLimits(bulk_bytes_max=2**24)
            async with serving(requests=limits) as server, wire(server) as client:
                await client.send(encoded("SET", "a", 1) + data + encoded("PING"))
                assert replies_in(await client.rest()) == [
                    b"OK",
                    Error(f"ERR Protocol error: {error}"),
                ]
                assert server.service.protocol_errors == 1
                async with wire(server) as other:
                    await other.send(encoded("GET", "a"))
                    assert await other.line() == b"$1\r\n"

        run_here(main())

    def test_a_fault_of_ours_ends_one_connection(self, run: Callable[[Any], Any]) -> None:
        class Faulty(FakeRouter):
            def execute(self, *args: Any) -> Any:
                raise ZeroDivisionError("no")

        class Log:
            def __init__(self) -> None:
                self.lines: list[str] = []

            def error(self, event: str, **fields: Any) -> None:
                self.lines.append(fields["error"])

            info = warning = error

        async def main() -> None:
            router = Faulty()
            log = Log()
            server = Server(ClientSettings(), router, router, logger=log)
            await server.start()
            async with wire(server) as client, wire(server) as other:
                await client.send(encoded("GET", "a"))
                assert await client.rest() == b""
                await other.send(encoded("PING"))
                assert await other.line() == b"+PONG\r\n"
            await server.stop()
            assert log.lines == ["ZeroDivisionError('no')"]
            assert server.service.failed_connections == 1

        run(main())


class TestLimits:
    def test_too_many_clients(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            async with serving(clients_max=2) as server:
                async with wire(server) as one, wire(server) as two, wire(server) as three:
                    for client in (one, two):
                        await client.send(encoded("PING"))
                        assert await client.line() == b"+PONG\r\n"
                    assert await three.rest() == b"-ERR max number of clients reached\r\n"
                await until(lambda: not server.connections)
                async with wire(server) as client:
                    await client.send(encoded("PING"))
                    assert await client.line() == b"+PONG\r\n"
                assert server.service.rejected_connections == 1

        run(main())

    def test_those_who_hold_most_of_too_much_are_closed(self, run: Callable[[Any], Any]) -> None:
        """Commands that never get complete: all of them together are bounded, too."""

        async def main() -> None:
            async with contextlib.AsyncExitStack() as stack:
                server, small = await crowding(stack)
                clients = []
                for number in range(10):
                    clients.append(await stack.enter_async_context(wire(server)))
                    size = 150_000 + 10_000 * number
                    await clients[-1].send(encoded("SET", f"k{number}", "x" * size)[:-10])
                await until(lambda: server.service.crowded_connections > 0)
                await until(lambda: server.service.held_bytes < 2**20)
                gone = server.service.crowded_connections
                await until(lambda: len(server.connections) == 11 - gone)
                assert 5 <= gone <= 9
                await small.send(encoded("PING"))
                assert await small.line() == b"+PONG\r\n"
                await clients[0].send(b"x" * 8 + b"\r\n")  # of those who hold least
                assert await clients[0].line() == b"+OK\r\n"

        run(main())

    def test_no_evict_is_a_wish(self, run: Callable[[Any], Any]) -> None:
        """Who asked not to be closed is closed last, and not spared by those who hold nothing."""

        async def main() -> None:
            async with contextlib.AsyncExitStack() as stack:
                server, small = await crowding(stack)
                for number in range(10):
                    client = await stack.enter_async_context(wire(server))
                    await client.send(encoded("CLIENT", "NO-EVICT", "ON"))
                    assert await client.line() == b"+OK\r\n"
                    await client.send(encoded("SET", f"k{number}", "x" * 250_000)[:-10])
                await until(lambda: server.service.crowded_connections > 0)
                await until(lambda: server.service.held_bytes < 2**20)
                await small.send(encoded("CONFIG", "RESETSTAT"))
                assert await small.line() == b"+OK\r\n"

        run(main())

    def test_who_holds_much_is_not_read_until_it_is_answered(
        self, run: Callable[[Any], Any]
    ) -> None:
        async def main() -> None:
            router = FakeRouter(deferred=True)
            router.on_dirty = lambda: None
            async with contextlib.AsyncExitStack() as stack:
                server, small = await crowding(stack, router)
                service = server.service
                clients = []
                for number in range(10):
                    clients.append(await stack.enter_async_context(wire(server)))
                    await clients[-1].send(encoded("SET", f"k{number}", "x" * 150_000))
                await until(lambda: service.held_bytes > 2**20)
                for client in clients:
                    await client.send(encoded("PING"))
                await small.send(encoded("PING"))
                assert await small.line() == b"+PONG\r\n"
                await asyncio.sleep(0.1)
                assert service.commands_count == 11
                assert service.crowded_connections == 0
                router.commit()
                for client in clients:
                    assert await client.line() == b"+OK\r\n"
                    assert await client.line() == b"+PONG\r\n"
                await until(lambda: service.held_bytes == 0)

        run(main())

    def test_what_clients_that_are_gone_have_left_counts(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            router = FakeRouter(deferred=True)
            router.on_dirty = lambda: None
            settings = {"clients_bytes_max": 2**21, "sweep_s": 0.05, "patience_s": 600.0}
            async with serving(router, **settings) as server:
                for number in range(4):
                    async with wire(server) as client:
                        await client.send(encoded("SET", f"k{number}", "x" * 300_000))
                        await until(lambda: router.begun_count > number)  # noqa: B023
                        raw = client.writer.get_extra_info("socket")
                        linger = struct.pack("ii", 1, 0)  # closing it resets the connection
                        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        client.writer.transport.abort()
                await until(lambda: not server.connections)
                await until(lambda: server.service.held_bytes > 2**20)
                assert not server.connections
                left = server._crowd._left
                assert len(left) == 4
                for _ in range(4):  # their time is over
                    left.append((0.0, left.popleft()[1]))
                await until(lambda: server.service.held_bytes == 0)
                router.commit()

        run(main())

    def test_slow_loris(self, run: Callable[[Any], Any]) -> None:
        """A byte now and then is not enough, one command after the other is."""

        async def main() -> None:
            async with serving(partial_s_max=1.0, sweep_s=0.05) as server:
                async with wire(server) as slow, wire(server) as steady:
                    farewell = asyncio.create_task(slow.rest())
                    begun_s = time.monotonic()
                    data = encoded("SET", "key", "x" * 50)
                    position = 0
                    while not farewell.done():
                        with contextlib.suppress(ConnectionError):
                            await slow.send(data[position : position + 1])
                            await steady.send(encoded("PING") + b"*1\r\n")
                            await asyncio.sleep(0.03)
                            await steady.send(b"$4\r\nPING\r\n")
                        position += 1
                    assert b"did not get complete in time" in await farewell
                    assert time.monotonic() - begun_s > 0.9
                    assert position > 1
                    await steady.send(encoded("ECHO", "still here"))
                    while b"still here" not in await steady.line():
                        pass
                assert server.service.timed_out_connections == 1

        run(main())

    def test_strangers_have_little_time(self) -> None:
        async def main() -> None:
            settings = {"password": "p", "handshake_s_max": 1.0, "sweep_s": 0.05}
            async with (
                serving(**settings) as server,
                wire(server) as stranger,
                wire(server) as friend,
            ):
                await friend.send(encoded("AUTH", "p"))
                assert await friend.line() == b"+OK\r\n"
                await stranger.send(encoded("PING"))
                assert await stranger.line() == b"-NOAUTH Authentication required.\r\n"
                assert await stranger.rest() == b""
                await friend.send(encoded("PING"))
                assert await friend.line() == b"+PONG\r\n"

        run_here(main())

    def test_who_resets_has_as_much_time_again(self) -> None:
        async def main() -> None:
            settings = {"password": "p", "handshake_s_max": 1.0, "sweep_s": 0.05}
            async with serving(**settings) as server, wire(server) as client:
                await client.send(encoded("AUTH", "p"))
                assert await client.line() == b"+OK\r\n"
                await asyncio.sleep(1.2)
                await client.send(encoded("RESET"))
                assert await client.line() == b"+RESET\r\n"
                await asyncio.sleep(0.1)
                await client.send(encoded("AUTH", "p") + encoded("RESET"))
                assert await client.line() == b"+OK\r\n"
                assert await client.line() == b"+RESET\r\n"
                assert await client.rest() == b""

        run_here(main())

    def test_a_fault_with_one_client_does_not_end_the_time_of_others(self) -> None:
        async def main() -> None:
            settings = {"password": "p", "handshake_s_max": 0.2, "sweep_s": 0.05}
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            async with serving(**settings) as server, wire(server) as one:
                await until(lambda: bool(server.connections))
                [faulty] = server.connections.values()
                session, faulty.session = faulty.session, Any  # type: ignore[assignment]
                await asyncio.sleep(0.2)
                faulty.session = session
                assert await one.rest() == b""

        run_here(main())

    def test_idle_clients(self) -> None:
        async def main() -> None:
            async with serving(idle_s_max=2, sweep_s=0.05) as server, wire(server) as client:
                await client.send(encoded("PING"))
                assert await client.line() == b"+PONG\r\n"
                assert await client.rest() == b""

        run_here(main())

    def test_a_client_that_does_not_read_is_not_read(self, run: Callable[[Any], Any]) -> None:
        """Its commands wait, other clients' do not, and memory stays bounded."""

        async def main() -> None:
            router = FakeRouter()
            async with serving(router) as server, wire(server) as client, wire(server) as other:
                await other.send(encoded("SET", "k", "x" * 100_000))
                assert await other.line() == b"+OK\r\n"
                count = 3000
                sending = asyncio.create_task(client.send(encoded("GET", "k") * count))

                def stuck() -> list[Connection]:
                    return [
                        connection
                        for connection in server.connections.values()
                        if connection.session is not None
                        and connection.session.blocked_output
                        and connection.session.is_full
                    ]

                await until(lambda: bool(stuck()))
                [held_up] = stuck()
                assert held_up._transport is not None
                assert held_up._transport.get_write_buffer_size() < 5_000_000
                await other.send(encoded("PING"))
                assert await other.line() == b"+PONG\r\n"
                expected = len(b"$100000\r\n" + b"x" * 100_000 + b"\r\n") * count
                while expected:
                    data = await client.reader.read(2**20)
                    assert data
                    expected -= len(data)
                await sending
                assert not stuck()

        run(main())

    def test_a_client_that_never_reads(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            settings = {"stalled_s_max": 0.3, "sweep_s": 0.05}
            async with serving(FakeRouter(), **settings) as server, wire(server) as client:
                await client.send(
                    encoded("SET", "k", "x" * 100_000) + encoded("GET", "k") * 300 + encoded("QUIT")
                )
                await until(lambda: not server.connections)
                assert server.service.evicted_connections == 1

        run(main())

    def test_a_reply_beyond_the_limit(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            settings = {"output_bytes_max": 2**22}
            async with serving(FakeRouter(1), **settings) as server, wire(server) as client:
                await client.send(encoded("SET", "k", "x" * 2**20) + encoded("MGET", *["k"] * 100))
                await until(lambda: not server.connections)
                assert server.service.evicted_connections == 1
                assert len(await client.rest()) < 100 * 2**20

        run(main())

    def test_long_replies_that_were_waited_for(self, run: Callable[[Any], Any]) -> None:
        """A client that pipelines reads of long values, and reads late: few are under way, and
        all are answered."""

        async def main() -> None:
            router = FakeRouter(deferred=True, defers_reads=True)
            async with serving(router) as server, wire(server) as client:
                size = 500_000
                await client.send(encoded("SET", "k", "x" * size))
                assert await client.line() == b"+OK\r\n"
                count = 2000
                sending = asyncio.create_task(client.send(encoded("GET", "k") * count))
                await asyncio.sleep(0.3)
                [connection] = server.connections.values()
                assert connection.session is not None
                assert connection._transport is not None
                assert connection._transport.get_write_buffer_size() < 5_000_000
                assert router.begun_count < 400
                expected = (len(b"$500000\r\n\r\n") + size) * count
                while expected:
                    data = await client.reader.read(2**20)
                    assert data
                    expected -= len(data)
                await sending
                assert router.begun_count == count + 1
                assert router.widest_count <= 257

        run(main())

    def test_two_thousand_connections(self) -> None:
        count = 2000

        async def main() -> None:
            async with serving() as server:
                sockets = []
                try:
                    for _ in range(count):
                        client = socket.create_connection(("127.0.0.1", server.port))
                        sockets.append(client)
                        if len(sockets) % 200 == 0:
                            await until(lambda: len(server.connections) == len(sockets))
                    for number, client in enumerate(sockets):
                        client.sendall(encoded("SET", f"k{number}", number) + encoded("PING"))
                    await in_thread(
                        lambda: (
                            [client.settimeout(20) for client in sockets]
                            and [receive(client, len(b"+OK\r\n+PONG\r\n")) for client in sockets]
                        )
                    )
                    assert len(server.connections) == count
                finally:
                    for client in sockets:
                        client.close()
                await until(lambda: not server.connections)

        def receive(client: socket.socket, size: int) -> None:
            data = b""
            while len(data) < size:
                data += client.recv(100)
            assert data == b"+OK\r\n+PONG\r\n"

        import resource

        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * count + 100:
            pytest.skip("the limit of open files is too low")
        run_here(main())


class TestEnds:
    def test_drain_answers_what_was_read(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            router = FakeRouter(deferred=True)
            router.on_dirty = lambda: None
            async with serving(router) as server, wire(server) as busy, wire(server) as idle:
                await busy.send(encoded("SET", "a", 1) + encoded("CLIENT", "ID"))
                await idle.send(encoded("PING"))
                assert await idle.line() == b"+PONG\r\n"
                await until(lambda: router.is_dirty)
                draining = asyncio.create_task(server.drain())
                assert await idle.rest() == b""
                assert not draining.done()
                router.commit()
                await draining
                assert (await busy.rest()).startswith(b"+OK\r\n:")
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection("127.0.0.1", server.port)

        run(main())

    def test_who_comes_while_it_drains_is_told_so(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            async with serving() as server:
                server.is_draining = True
                async with wire(server) as client:
                    assert await client.rest() == b"-ERR this node is being stopped\r\n"

        run(main())

    def test_a_wait_for_nothing_closes_the_connection(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            async with serving() as server, wire(server) as client:
                await until(lambda: bool(server.connections))
                [connection] = server.connections.values()
                assert connection.session is not None
                connection.session.watches_under_way = 1
                await client.send(encoded("UNWATCH"))
                assert await client.rest() == b""
                assert server.service.failed_connections == 1
                await until(lambda: not server.connections)

        run(main())

    def test_drain_does_not_wait_for_ever(self) -> None:
        async def main() -> None:
            router = FakeRouter(deferred=True)
            router.on_dirty = lambda: None
            async with serving(router, drain_s_max=0.1) as server, wire(server) as client:
                await client.send(encoded("SET", "a", 1))
                await until(lambda: router.is_dirty)
                await server.drain()
                assert server.connections
                await server.stop()
                assert await client.rest() == b""
                router.commit()

        run_here(main())

    def test_replies_to_clients_that_are_gone(self, run: Callable[[Any], Any]) -> None:
        async def main() -> None:
            router = FakeRouter(deferred=True)
            router.on_dirty = lambda: None
            async with serving(router) as server:
                async with wire(server) as client:
                    await client.send(encoded("SET", "a", 1))
                    await until(lambda: router.is_dirty)
                    raw = client.writer.get_extra_info("socket")
                    linger = struct.pack("ii", 1, 0)  # closing it resets the connection
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    client.writer.transport.abort()
                await until(lambda: not server.connections)
                router.commit()
                assert not server.service.sessions

        run(main())

    def test_client_kill(self) -> None:
        async def main() -> None:
            async with serving() as server, wire(server) as one, wire(server) as two:
                await one.send(encoded("CLIENT", "ID"))
                number = int((await one.line())[1:])
                await two.send(encoded("CLIENT", "KILL", "ID", number))
                assert await two.line() == b":1\r\n"
                assert await one.rest() == b""
                await two.send(encoded("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"))
                assert await two.rest() == b":1\r\n"

        run_here(main())


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"),
        *("subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
class TestTls:
    def test_encrypted(self, run: Callable[[Any], Any], tmp_path: Path) -> None:
        cert, key = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        trusting = ssl.create_default_context(cafile=str(cert))

        async def main() -> None:
            async with serving(tls=context) as server:
                async with wire(server, ssl=trusting) as client:
                    await client.send(
                        encoded("SET", "a", "x" * 100_000)
                        + encoded("GET", "a") * 50
                        + encoded("QUIT")
                    )
                    replies = replies_in(await client.rest())
                    assert replies == [b"OK", *[b"x" * 100_000] * 50, b"OK"]
                async with wire(server) as plain:
                    await plain.send(encoded("PING"))
                    assert b"PONG" not in await plain.rest()
                async with wire(server, ssl=trusting) as client:
                    await client.send(encoded("PING"))
                    assert await client.line() == b"+PONG\r\n"
                    await server.drain()

        run(main())

    def test_who_says_nothing_is_counted(self, run: Callable[[Any], Any], tmp_path: Path) -> None:
        """Connections amid their handshake are clients: no more of them than may be there."""
        cert, key = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        trusting = ssl.create_default_context(cafile=str(cert))

        async def main() -> None:
            async with contextlib.AsyncExitStack() as stack:
                server = await stack.enter_async_context(serving(tls=context, clients_max=3))
                one = await stack.enter_async_context(wire(server, ssl=trusting))
                await one.send(encoded("PING"))
                assert await one.line() == b"+PONG\r\n"
                silent = [await stack.enter_async_context(wire(server)) for _ in range(2)]
                for _ in range(20):
                    async with wire(server) as another:
                        assert await another.rest() == b""
                assert server.service.rejected_connections == 20
                assert len(server.connections) == 1
                for client in silent:
                    await client.close()
                client = None
                while client is None:  # until their ends are seen
                    with contextlib.suppress(OSError):
                        client = Wire(
                            *await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting)
                        )
                stack.push_async_callback(client.close)
                await client.send(encoded("PING"))
                assert await client.line() == b"+PONG\r\n"
                await stack.enter_async_context(wire(server))
                await server.drain()  # which does not wait for a handshake

        run(main())

    def test_without_descriptors_it_waits(self, run: Callable[[Any], Any], tmp_path: Path) -> None:
        cert, key = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        trusting = ssl.create_default_context(cafile=str(cert))

        class Listener:
            """A socket that accepts at the third attempt."""

            def __init__(self, real: socket.socket) -> None:
                self.real = real
                self.attempts = 0

            def fileno(self) -> int:
                return self.real.fileno()

            def close(self) -> None:
                self.real.close()

            def accept(self) -> Any:
                self.attempts += 1
                if self.attempts < 3:
                    raise OSError(errno.EMFILE, "Too many open files")
                return self.real.accept()

        async def main() -> None:
            async with serving(tls=context) as server:
                listener = server._listener
                assert isinstance(listener, TlsListener)
                [real] = listener.sockets
                slow: Any = Listener(real)
                listener._loop.remove_reader(real)
                listener.sockets[:] = [slow]
                listener._loop.add_reader(slow, listener._accept, slow)
                async with wire(server, ssl=trusting) as client:
                    await client.send(encoded("PING"))
                    assert await client.line() == b"+PONG\r\n"
                assert slow.attempts == 3

        run(main())

    def test_who_is_accepted_amid_the_end_is_closed(
        self, run: Callable[[Any], Any], tmp_path: Path
    ) -> None:
        cert, key = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)

        async def main() -> None:
            async with serving(tls=context) as server:
                listener = server._listener
                assert isinstance(listener, TlsListener)
                [real] = listener.sockets
                listener._loop.remove_reader(real)
                async with wire(server) as client:
                    listener._accept(real)
                    assert len(listener._handshakes) == 1
                    await server.drain()
                    assert await client.rest() == b""
                    assert not listener._handshakes

        run(main())

    def test_redis_py(self, tmp_path: Path) -> None:
        cert, key = make_certificate(tmp_path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)

        def talk(port: int) -> None:
            with redis.Redis(port=port, ssl=True, ssl_ca_certs=str(cert), password="p") as client:
                assert client.set("a", 1)
                assert client.get("a") == b"1"

        async def main() -> None:
            async with serving(tls=context, password="p") as server:
                await in_thread(talk, server.port)

        run_here(main())


# --- clients of Redis ----------------------------------------------------------------------------


def beside(talk: Callable[[int], None], router: FakeRouter | None = None, **settings: Any) -> None:
    """Run a blocking client in a thread, beside a server."""

    async def main() -> None:
        async with serving(router, **settings) as server:
            await in_thread(talk, server.port)

    run_here(main())


def beside_two(talk: Callable[[int], None]) -> None:
    """Run a blocking client beside a cluster of two nodes."""

    async def main() -> None:
        router = FakeRouter(deferred=True)
        async with serving(router) as server, serving(FakeRouter(deferred=True, beside=router)):
            await in_thread(talk, server.port)

    run_here(main())


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@contextlib.contextmanager
def connected(port: int, protocol: int, **options: Any) -> Iterator[Any]:
    options.setdefault("retry", Retry(NoBackoff(), 0))
    with redis.Redis(port=port, protocol=protocol, **options) as client:
        yield client


class TestRedisPy:
    def test_commands(self, protocol: int) -> None:
        def talk(port: int) -> None:
            with connected(port, protocol, client_name="me", decode_responses=True) as client:
                assert client.ping()
                assert client.set("a", 1, ex=100)
                assert client.get("a") == "1"
                assert client.mset({"a": 1, "b": 2, "c": 3})
                assert client.mget("a", "b", "x") == ["1", "2", None]
                assert client.hset("h", mapping={"f": "v", "g": "w"}) == 2
                assert client.hgetall("h") == {"f": "v", "g": "w"}
                assert sorted(client.scan_iter(count=2)) == ["a", "b", "c", "h"]
                assert client.delete("a", "b") == 2
                assert client.dbsize() == 2
                assert client.client_getname() == "me"
                assert client.client_info()["lib-name"].startswith("redis-py")
                assert client.info()["availability_zone"] == "eu"
                assert client.config_get("appendonly") == {"appendonly": "yes"}
                assert len(client.client_list()) == 1
                assert client.command_count() > 70
                assert client.command()["get"]["arity"] == 2
                assert client.cluster("slots")
                assert client.wait(1, 100) == 1
                with pytest.raises(RedisError, match="unknown command 'LPUSH'"):
                    client.lpush("l", 1)

        beside(talk)

    def test_pipelines_and_transactions(self, protocol: int) -> None:
        def talk(port: int) -> None:
            with connected(port, protocol) as client, connected(port, protocol) as other:
                pipeline = client.pipeline(transaction=False)
                for number in range(5000):
                    pipeline.set(f"k{number}", "x" * 100)
                    pipeline.get(f"k{number}")
                assert pipeline.execute() == [True, b"x" * 100] * 5000
                with client.pipeline() as transaction:
                    transaction.incr("n").incr("n").get("n")
                    assert transaction.execute() == [1, 2, b"2"]

                def double(transaction: Any) -> None:
                    value = int(transaction.get("n"))
                    if value == 2:
                        other.set("n", 10)
                    transaction.multi()
                    transaction.set("n", 2 * value)

                assert client.transaction(double, "n") == [True]
                assert client.get("n") == b"20"

        beside(talk)

    def test_a_password(self, protocol: int) -> None:
        def talk(port: int) -> None:
            with connected(port, protocol, password="secret") as client:
                assert client.ping()
            with (
                connected(port, protocol, password="wrong") as client,
                pytest.raises(redis.AuthenticationError),
            ):
                client.ping()
            with (
                connected(port, protocol) as client,
                pytest.raises(redis.AuthenticationError),
            ):
                client.ping()

        beside(talk, password="secret")

    def test_lock(self, protocol: int) -> None:
        def talk(port: int) -> None:
            with connected(port, protocol) as client:
                lock = client.lock("lock", timeout=10)
                other = client.lock("lock", timeout=10, blocking=False)
                assert lock.acquire()
                assert not other.acquire()
                assert lock.extend(5)
                assert lock.reacquire()
                lock.release()
                assert other.acquire()
                other.release()
                with pytest.raises(RedisError):
                    other.release()

        beside(talk)

    def test_cluster(self, protocol: int) -> None:
        def talk(port: int) -> None:
            with redis.RedisCluster(host="127.0.0.1", port=port, protocol=protocol) as client:
                assert client.set("a", 1)
                assert client.get("a") == b"1"
                assert client.mset_nonatomic({"a": 1, "b": 2, "c": 3})
                assert client.mget_nonatomic("a", "b", "c") == [b"1", b"2", b"3"]
                assert client.delete("a", "b") == 2
                with client.pipeline() as pipeline:
                    for number in range(100):
                        pipeline.set(f"k{number}", number)
                    assert pipeline.execute() == [True] * 100
                assert len(set(client.scan_iter(count=10))) == 101
                assert client.dbsize() == 101
                lock = client.lock("lock", timeout=10)
                assert lock.acquire()
                lock.release()
            with redis.RedisCluster(
                host="127.0.0.1",
                port=port,
                protocol=protocol,
                load_balancing_strategy=LoadBalancingStrategy.ROUND_ROBIN,
            ) as client:
                assert [client.get("k1") for _ in range(4)] == [b"1"] * 4

        beside_two(talk)

    def test_async(self, protocol: int) -> None:
        async def main() -> None:
            async with serving() as server:
                client = redis.asyncio.Redis(port=server.port, protocol=protocol)
                assert await client.set("a", 1)
                assert await asyncio.gather(*(client.get("a") for _ in range(50))) == [b"1"] * 50
                await client.aclose()

        run_here(main())


CLI = shutil.which("redis-cli")
BENCHMARK = shutil.which("redis-benchmark")


def output_of(*command: str, stdin: bytes = b"") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=50, check=False)
    return done.stdout.decode() + done.stderr.decode()


@pytest.mark.skipif(CLI is None, reason="redis-cli is not installed")
class TestRedisCli:
    def test_commands(self) -> None:
        def talk(port: int) -> None:
            assert CLI is not None
            for options in ((), ("-c",), ("-3",), ("-c", "-3")):
                cli = (CLI, "-p", str(port), *options)
                assert output_of(*cli, "set", "a", "1") == "OK\n"
                assert output_of(*cli, "get", "a") == "1\n"
                assert output_of(*cli, stdin=b"set b 2\nmget a b\nhset h f v\nhgetall h\n").split(
                    "\n"
                )[:4] == ["OK", "1", "2", "0" if options else "1"]
            assert "cluster_state:ok" in output_of(CLI, "-p", str(port), "cluster", "info")
            assert "[OK] All 16384 slots covered" in output_of(
                CLI, "--cluster", "check", f"127.0.0.1:{port}"
            )

        beside(talk)

    def test_mass_insertion(self) -> None:
        def talk(port: int) -> None:
            assert CLI is not None
            stream = b"".join(encoded("SET", f"k{number}", number) for number in range(5000))
            assert "errors: 0, replies: 5000" in output_of(
                CLI, "-p", str(port), "--pipe", stdin=stream
            )

        beside(talk)


@pytest.mark.skipif(BENCHMARK is None, reason="redis-benchmark is not installed")
class TestRedisBenchmark:
    @pytest.mark.parametrize("options", [(), ("-P", "16"), ("--cluster",), ("-3",)])
    def test_it_runs(self, options: tuple[str, ...]) -> None:
        def talk(port: int) -> None:
            assert BENCHMARK is not None
            count = "3000"
            command = (BENCHMARK, "-p", str(port), "-n", count, "-c", "20", "-q", "-r", "100")
            text = output_of(*command, *options, "-t", "ping,set,get,incr,hset,mset")
            assert text.count("requests per second") >= 6, text
            assert "rror" not in text
            assert "WARNING" not in text

        (beside_two if "--cluster" in options else beside)(talk)
