"""A connection under any order of events: bytes, commits, a full socket, ends, kills."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from node.conversation import Error, encoded, replies_in
from node.fake_router import FakeRouter

from ringleader.node.requests import RequestLimits
from ringleader.node.server import ClientSettings, Connection, Server


class FakeLoop:
    """Calls what is to be called soon when told to."""

    def __init__(self) -> None:
        self.soon: list[Any] = []
        self.now_s = 0.0

    def time(self) -> float:
        return self.now_s

    def call_soon(self, call: Any) -> None:
        self.soon.append(call)

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for call in soon:
            call()


class FakeTransport(asyncio.Transport):
    """Keeps what is written until it is read; says so when that is too much."""

    HIGH = 8000

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.connection = connection
        self.unread = b""
        self.read = b""
        self.reading = True
        self.closing = False
        self.lost = False
        self.paused = False

    def write(self, data: Any) -> None:
        assert data
        assert not self.closing, "nothing is written once it is closed"
        self.unread += data
        if len(self.unread) > self.HIGH and not self.paused:
            self.paused = True
            self.connection.pause_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.unread)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 5)

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True
        self.unread = b""

    def flush(self) -> None:
        """The client reads everything."""
        self.read += self.unread
        self.unread = b""
        if self.paused and not self.lost:
            self.paused = False
            self.connection.resume_writing()


class Log:
    def __init__(self) -> None:
        self.errors: list[Any] = []

    def error(self, event: str, **fields: Any) -> None:
        self.errors.append(fields)

    def info(self, event: str, **fields: Any) -> None:
        pass

    warning = info


COMMANDS = [
    encoded(*text.split())
    for text in (
        "SET a 1",
        "SET b 2",
        "GET a",
        "GET big",
        "MGET a b c big",
        "MSET a 1 b 2",
        "INCR n",
        "PING",
        "HELLO 3",
        "HELLO 2",
        "CLIENT ID",
        "MULTI",
        "EXEC",
        "WATCH a",
        "DISCARD",
        "RESET",
        "CLIENT REPLY SKIP",
        "NOPE",
        "KEYS *",
        "COMMAND",
    )
]


class ConnectionMachine(RuleBasedStateMachine):
    """Whatever happens: no fault, no reply without its command, nothing stuck."""

    def __init__(self) -> None:
        super().__init__()
        #: Replies are made in small turns, so that there are several.
        self.turns = mock.patch("ringleader.node.session.CLIENT_OUTPUT_TURN_BYTES", 3000)
        self.turns.start()
        self.log = Log()
        self.router = FakeRouter(deferred=True)
        self.server = Server(
            ClientSettings(
                unanswered_max=8,
                output_bytes_max=2**20,
                requests=RequestLimits(bulk_bytes_max=10_000),
            ),
            self.router,
            self.router,
            logger=self.log,
        )
        self.loop = FakeLoop()
        self.server.loop = self.loop  # type: ignore[assignment]
        self.connection = Connection(self.server)
        self.transport = FakeTransport(self.connection)
        self.connection.connection_made(self.transport)
        self.ended = False
        self.connection.data_received(encoded("SET", "big", "x" * 1500))

    def alive(self) -> bool:
        return not self.transport.lost and not self.ended

    @precondition(alive)
    @rule(
        pieces=st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=12), cut=st.integers(0, 99)
    )
    def send(self, pieces: list[bytes], cut: int) -> None:
        """What a socket holds arrives though reading was paused a moment ago."""
        data = b"".join(pieces)
        at = len(data) * cut // 100
        for piece in (data[:at], data[at:]):
            if piece and not self.transport.closing:
                self.connection.data_received(piece)

    @precondition(alive)
    @rule(data=st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"*x\r\n", b"\r\n"])))
    def send_rubbish(self, data: bytes) -> None:
        if not self.transport.closing:
            self.connection.data_received(data)

    @rule()
    def commit(self) -> None:
        self.router.commit()

    @rule()
    def turn(self) -> None:
        self.loop.turn()

    @rule()
    def client_reads(self) -> None:
        self.transport.flush()

    @precondition(alive)
    @rule()
    def end_of_input(self) -> None:
        if not self.transport.closing:
            self.ended = True
            if not self.connection.eof_received():
                self.transport.close()

    @precondition(alive)
    @rule()
    def time_passes(self) -> None:
        self.loop.now_s += 20
        self.connection.check(self.loop.now_s)

    @precondition(lambda self: self.connection.session is not None)
    @rule()
    def kill(self) -> None:
        assert self.connection.session is not None
        self.connection.session.cut_off()

    @precondition(alive)
    @rule(is_held_up=st.booleans())
    def others_hold_much(self, is_held_up: bool) -> None:
        self.connection.hold_up(is_held_up)

    @precondition(alive)
    @rule()
    def drain(self) -> None:
        self.connection.end()

    @precondition(lambda self: not self.transport.lost)
    @rule(forced=st.booleans())
    def lose(self, forced: bool) -> None:
        if self.transport.closing or forced:
            self.transport.lost = self.transport.closing = True
            self.connection.connection_lost(None)

    @invariant()
    def no_fault(self) -> None:
        assert not self.log.errors

    @invariant()
    def paused_as_the_session_wants(self) -> None:
        session = self.connection.session
        if session is not None and not session.closing and not self.transport.closing:
            assert self.transport.reading is not session.is_full

    def teardown(self) -> None:
        """When all is committed and read, nothing is left unanswered."""
        self.connection.hold_up(False)
        for _ in range(200):
            self.router.commit()
            self.loop.turn()
            self.transport.flush()
        self.turns.stop()
        self.no_fault()
        session = self.connection.session
        if session is not None and not self.transport.closing:
            assert not session.unanswered_count
            assert not session.working_bytes
            assert not session.is_full
            assert self.transport.reading
        if not self.transport.closing:
            replies = replies_in(self.transport.read)
            assert replies[0] == b"OK"


ConnectionMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestConnection = ConnectionMachine.TestCase


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=20))
def test_any_bytes_end_in_an_error_or_go_on(pieces: list[bytes]) -> None:
    machine = ConnectionMachine()
    for piece in pieces:
        if not machine.transport.closing:
            machine.connection.data_received(piece)
    for _ in range(50):
        machine.router.commit()
        machine.loop.turn()
        machine.transport.flush()
    assert not machine.log.errors
    machine.turns.stop()
    replies = replies_in(machine.transport.read)
    if machine.transport.closing:
        assert isinstance(replies[-1], Error)
        assert replies[-1].startswith("ERR Protocol error: ")
    else:
        machine.connection.data_received(b"\r\n" * 2)
