"""Nodes that talk over real sockets: what arrives, what is refused, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvloop

from ringleader.consensus.log import Block
from ringleader.consensus.message import Message, TimeoutNow
from ringleader.consensus.raft.messages import AppendEntries, AppendReply
from ringleader.consensus.raft.wire import CODEC
from ringleader.errors import NodeNotFound, SettingError
from ringleader.limits import PEER_STRANGERS_MAX
from ringleader.node import codec as c
from ringleader.node import link as link_module
from ringleader.node import peers as peers_module
from ringleader.node import replies
from ringleader.node.config import ClusterConfig
from ringleader.node.identity import Identity
from ringleader.node.peers import Peer, Peers, Responder

Test = Callable[[], Coroutine[Any, Any, None]]
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS.values(), ids=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Runs a test's coroutine on each loop; nothing may be left of it."""

    def runs(test: Test) -> None:
        problems: list[dict[str, Any]] = []

        async def watched() -> None:
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(30):
                await test()
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(watched())
        gc.collect()  # what was not closed warns now
        assert problems == []

    return runs


#: Not on asyncio's own loop: it leaks a connection that it accepts in the turn in which the server
#: is closed (an AssertionError in Server._attach, which only its debug mode shows).
on_uvloop = pytest.mark.parametrize("run", [LOOPS["uvloop"]], ids=["uvloop"], indirect=True)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience is shorter than in real life."""
    monkeypatch.setattr(peers_module, "PEER_HANDSHAKE_SECONDS", 0.3)
    monkeypatch.setattr(peers_module, "PEER_REFUSED_SECONDS", 0.2)
    monkeypatch.setattr(peers_module, "PEER_PING_SECONDS", 0.02)


# --- a cluster in one process -------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    name: str
    dc: str
    host: str
    listen: str
    peer_port: int


@dataclass(frozen=True)
class Config:
    nodes: tuple[Place, ...]
    name: str = "orders"
    consensus: str = "raft"
    wan: Mapping[frozenset[str], float] = field(default_factory=dict)
    shards: int = 1

    def identity(self) -> Identity:
        return Identity(self.name, self.consensus, self.shards, (("eu-1", "us-1"),) * self.shards)


class CutPeers(Peers):
    """Peers between which the line can be cut: what is under way, and all after it, is lost.
    Connections die of the silence, as they do in real partitions."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.lost: set[str] = set()

    def cut(self, names: list[str]) -> None:
        """From the peers named, or those of datacenters named."""
        for peer in self._peers.values():
            if peer.name in names or peer.node.dc in names:
                self.lost.add(peer.name)
                for link in (peer.out, peer.incoming):
                    if link is not None:
                        link._forget_held()

    def heal(self) -> None:
        healed, self.lost = self.lost, set()
        for name in healed:
            self._peer(name).wake.set()

    def _write(self, peer: Peer, link: Any, pieces: list[bytes]) -> None:
        if peer.name not in self.lost:
            super()._write(peer, link, pieces)

    def on_frame(self, link: Any, kind: int, value: Any) -> None:
        if not link.ready or link.peer.name not in self.lost:
            super().on_frame(link, kind, value)

    def _on_hello(self, link: Any, hello: c.Hello) -> None:
        if hello.name in self.lost:
            link.abort()
        else:
            super()._on_hello(link, hello)

    async def _connect(self, peer: Peer) -> Any:
        return None if peer.name in self.lost else await super()._connect(peer)


@dataclass
class Cluster:
    """A socket for each node, and nodes that write down what they are told."""

    names: tuple[str, ...]
    wan: dict[frozenset[str], float] = field(default_factory=dict)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)
    nodes: dict[str, CutPeers] = field(default_factory=dict)
    messages: dict[str, list[tuple[str, int, Message]]] = field(default_factory=dict)
    requests: dict[str, list[tuple[str, c.Request, Responder]]] = field(default_factory=dict)
    data: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)
    seen: list[tuple[str, str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.names:
            self.sockets[name] = socket.create_server(("127.0.0.1", 0))
            self.addresses[name] = self.sockets[name].getsockname()
            self.messages[name] = []
            self.requests[name] = []
            self.data[name] = []

    def close(self, name: str) -> None:
        """Nobody listens at its address any more."""
        self.sockets[name].close()

    def listen(self, name: str) -> None:
        """Somebody listens there again."""
        self.sockets[name] = socket.create_server(self.addresses[name])

    def config(self, **changes: Any) -> Config:
        places = tuple(
            Place(name, name.partition("-")[0], host, host, port)
            for name, (host, port) in self.addresses.items()
        )
        return Config(places, wan=self.wan, **changes)

    async def start(self, name: str, config: Config | None = None, **settings: Any) -> CutPeers:
        answers = settings.pop("answers", None)

        def on_requests(peer: str, some: list[c.Request], respond: Responder) -> None:
            for request in some:
                self.requests[name].append((peer, request, respond))
                if answers is not None:
                    respond(answers(request))
            made.flush()

        made = CutPeers(
            config or self.config(),
            name,
            asyncio.get_running_loop(),
            lambda peer, some: self.messages[name].extend((peer, *pair) for pair in some),
            on_requests,
            on_data=lambda peer, data: self.data[name].append((peer, data)),
            on_peer=lambda peer, connected: self.seen.append((name, peer, connected)),
            **({"listen": self.sockets[name].dup()} | settings),
        )
        await made.start()
        self.nodes[name] = made
        return made

    async def connected(self) -> None:
        await until(
            lambda: all(
                node.connected(peer) and node._peers[peer].incoming is not None
                for node in self.nodes.values()
                for peer in node.names
                if peer in self.nodes
            )
        )

    async def stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))
        for sock in self.sockets.values():
            sock.close()


@asynccontextmanager
async def cluster(*names: str, **settings: Any) -> Any:
    """A cluster of nodes that are started here if `names` begin with a plus sign."""
    made = Cluster(tuple(name.lstrip("+") for name in names), settings.pop("wan", {}))
    try:
        for name in names:
            if name.startswith("+"):
                await made.start(name[1:], **settings)
        await made.connected()
        yield made
    finally:
        await made.stop()


async def until(condition: Callable[[], Any], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        await asyncio.sleep(0.005)


def reply(sender: str, to: str, round: int = 0) -> AppendReply:
    return AppendReply(sender, to, 5, 100, round)


def echo(request: c.Request) -> c.Response:
    return c.Response(request.id, "done", b"".join(request.args))


def request(*args: bytes, budget_ms: int = 5000) -> c.Request:
    return c.Request(0, 3, "write", list(args), budget_ms)


# --- by hand ------------------------------------------------------------------------------------


class ByHand:
    """A peer of which every byte is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames = c.Frames(CODEC)

    @classmethod
    @asynccontextmanager
    async def to(cls, address: tuple[str, int]) -> Any:
        reader, writer = await asyncio.open_connection(*address)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def hello(self, **changes: Any) -> None:
        self.say(hello(**changes))

    async def next(self) -> tuple[int, Any] | None:
        """The next frame, or None at the end of the stream."""
        while (frame := self.frames.next()) is None:
            try:
                data = await asyncio.wait_for(self.reader.read(2**16), 5)
            except ConnectionError:
                return None
            if not data:
                return None
            self.frames.feed(data)
        if frame[0] == c.HELLO:
            self.frames.introduce(frame[1].name, frame[1].to)
        return frame

    async def bye(self) -> c.Bye:
        """The last word, after which nothing comes."""
        frame = await self.next()
        while frame is not None and frame[0] != c.BYE:
            frame = await self.next()
        assert frame is not None, "closed without a word"
        assert await self.next() is None
        assert isinstance(frame[1], c.Bye)
        return frame[1]


def hello(**changes: Any) -> bytes:
    plain = {
        "protocol": 1,
        "cluster": "orders",
        "consensus": "raft",
        "name": "us-1",
        "to": "eu-1",
        "incarnation": 1,
        "wall_ms": 0,
        "cluster_id": Config(()).identity().cluster_id,
    }
    return c.frame(c.HELLO, c.Hello(**(plain | changes)))  # type: ignore[arg-type]


# --- what arrives -------------------------------------------------------------------------------


def test_two_nodes_exchange_messages_data_and_requests(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", answers=echo) as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            block = Block.pack(8, 5, [b"x" * 100_000] * 3)
            sent = [
                AppendEntries("eu-1", "us-1", 5, 7, 5, 7, 1, block),
                AppendEntries("eu-1", "us-1", 5, 10, 5, 7, 2),
            ]
            answers: list[c.Response] = []
            eu.send(1, sent)
            eu.send(2, [TimeoutNow("eu-1", "us-1", 9)])
            assert eu.send_data("us-1", b"load: 5")
            asked = [request(b"SET", b"k%d" % number, b"v") for number in range(3)]
            for one in asked:
                eu.call("us-1", one, answers.append)
            us.send(1, [reply("us-1", "eu-1")])
            assert answers == []
            eu.flush()
            us.flush()
            await until(lambda: len(answers) == 3 and made.messages["eu-1"])
            assert made.messages["us-1"] == [
                *(("eu-1", 1, message) for message in sent),
                ("eu-1", 2, TimeoutNow("eu-1", "us-1", 9)),
            ]
            assert made.messages["eu-1"] == [("us-1", 1, reply("us-1", "eu-1"))]
            assert made.data["us-1"] == [("eu-1", b"load: 5")]
            assert [answer.reply for answer in answers] == [b"SETk0v", b"SETk1v", b"SETk2v"]
            assert [answer.id for answer in answers] == [one.id for one in asked]
            assert len({one.id for one in asked}) == 3
            ((peer, got, _), *_) = made.requests["us-1"]
            assert (peer, got) == ("eu-1", asked[0])
            counters = eu.counters("us-1")
            assert counters.messages_out == 4  # node data counts as one
            assert counters.requests_out == counters.responses_in == 3
            assert us.counters("eu-1").messages_in == 3
            await until(lambda: eu.rtt_ms("us-1") is not None)
            assert 0 < eu.rtt_ms("us-1") < 1000
            assert eu.rtt_max_ms("us-1") > 0
            assert abs(eu.skew_ms("us-1")) < 1000

    run(test)


def test_three_nodes(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", "+ap-1") as made:
            for name, node in made.nodes.items():
                assert set(node.names) == made.nodes.keys() - {name}
                node.send(1, [reply(name, peer) for peer in node.names])
                node.flush()
            await until(lambda: all(len(got) == 2 for got in made.messages.values()))
            for name, got in made.messages.items():
                assert {peer for peer, _, _ in got} == made.nodes.keys() - {name}
                assert all((m.sender, m.to) == (peer, name) for peer, _, m in got)

    run(test)


def test_10_000_frames_in_order(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu = made.nodes["eu-1"]
            block = Block.pack(8, 5, [b"x" * 1000])
            for number in range(10_000):
                eu.send(number, [AppendEntries("eu-1", "us-1", 5, 7, 5, 7, number, block)])
                eu.flush()
                if number % 100 == 0:
                    await asyncio.sleep(0)
            await until(lambda: len(made.messages["us-1"]) == 10_000)
            assert [(group, m.round) for _, group, m in made.messages["us-1"]] == [
                (number, number) for number in range(10_000)
            ]
            assert eu.counters("us-1").messages_dropped == 0

    run(test)


def test_one_frame_for_one_turn(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            before = us.counters("eu-1").frames_in
            for group in range(1000):
                eu.send(group, [reply("eu-1", "us-1")])
            eu.flush()
            eu.flush()
            await until(lambda: len(made.messages["us-1"]) == 1000)
            # A ping or two may have come in between.
            assert us.counters("eu-1").frames_in <= before + 4

    run(test)


def test_a_long_value(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", answers=echo) as made:
            answers: list[c.Response] = []
            value = bytes(range(256)) * 100_000
            made.nodes["eu-1"].call("us-1", request(value), answers.append)
            made.nodes["eu-1"].flush()
            await until(lambda: answers)
            assert answers[0].reply == value

    run(test)


def test_a_call_asks_for_a_flush(run: Callable[[Test], None]) -> None:
    """Otherwise what is only passed on would wait for the next thing that happens."""

    async def test() -> None:
        async with cluster("eu-1", "+us-1") as made:
            calls: list[str] = []
            eu = await made.start("eu-1", on_call=lambda: calls.append("flush"))
            await made.connected()
            eu.send(1, [reply("eu-1", "us-1")])
            assert calls == []
            eu.call("us-1", request(), lambda response: None)
            assert calls == ["flush"]

    run(test)


def test_a_node_without_the_other(run: Callable[[Test], None], logged: list[Any]) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            made.close("us-1")
            eu = await made.start("eu-1")
            answers: list[c.Response] = []
            eu.send(1, [reply("eu-1", "us-1")])
            assert not eu.send_data("us-1", b"")
            eu.call("us-1", request(), answers.append)
            assert answers == []  # never within the call
            eu.flush()
            await asyncio.sleep(0)
            assert [answer.status for answer in answers] == ["unsent"]
            assert not eu.connected("us-1")
            assert eu.rtt_ms("us-1") is None
            counters = eu.counters("us-1")
            assert (counters.messages_dropped, counters.requests_unsent) == (2, 1)
            await until(lambda: counters.failures >= 8)
            (state,) = eu.status()
            assert (state["name"], state["dc"], state["connected"]) == ("us-1", "us", False)
            assert state["trouble"]
            warnings = [entry for entry in logged if entry["event"] == "not connected"]
            assert len(warnings) == 1  # not for each attempt

    run(test)


def test_a_peer_that_comes_is_reached_at_once(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the next attempt would wait."""
    monkeypatch.setattr(peers_module, "PEER_RETRY_SECONDS_MIN", 600.0)
    monkeypatch.setattr(peers_module, "PEER_RETRY_SECONDS_MAX", 600.0)

    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            made.close("us-1")
            eu = await made.start("eu-1")
            await until(lambda: eu.counters("us-1").failures == 1)
            made.listen("us-1")
            await made.start("us-1")
            await made.connected()
            assert sorted(made.seen) == [("eu-1", "us-1", True), ("us-1", "eu-1", True)]

    run(test)


def test_a_peer_that_is_started_again(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            answers: list[c.Response] = []
            eu.call("us-1", request(b"a"), answers.append)
            eu.flush()
            await until(lambda: made.requests["us-1"])
            assert not eu.draining("us-1")
            us.drain()  # said at the beginning, not at the end
            await until(lambda: eu.draining("us-1"))
            assert eu.connected("us-1")
            eu.call("us-1", request(b"b"), answers.append)
            await us.stop()
            await until(lambda: len(answers) == 2)
            # The first may have been executed; the second never left.
            assert [answer.status for answer in answers] == ["unsent", "lost"]
            assert not eu.connected("us-1")
            assert eu.draining("us-1")
            counters = eu.counters("us-1")
            assert (counters.requests_lost, counters.requests_unsent) == (1, 1)
            await made.start("us-1")
            await made.connected()
            assert not eu.draining("us-1")
            assert counters.connects == 2
            made.requests["us-1"][0][2](c.Response(1, "done"))  # of the process that is gone
            assert [entry for entry in made.seen if entry[0] == "eu-1"] == [
                ("eu-1", "us-1", True),
                ("eu-1", "us-1", False),
                ("eu-1", "us-1", True),
            ]

    run(test)


def test_responses_to_a_process_that_is_gone_are_dropped(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            eu.call("us-1", request(b"a"), lambda response: None)
            eu.flush()
            await until(lambda: made.requests["us-1"])
            await eu.stop()
            await asyncio.sleep(0.05)
            await made.start("eu-1")
            await made.connected()
            ((_, asked, respond),) = made.requests["us-1"]
            respond(c.Response(asked.id, "done"))
            us.flush()
            assert us.counters("eu-1").responses_dropped == 1

    run(test)


def test_a_call_takes_no_longer_than_its_budget(run: Callable[[Test], None], fast: None) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            answers: list[c.Response] = []
            eu.call("us-1", request(b"a", budget_ms=100), answers.append)
            eu.flush()
            eu.call("us-1", request(b"b", budget_ms=100), answers.append)  # never flushed
            await until(lambda: len(answers) == 2)
            assert {answer.status for answer in answers} == {"lost", "unsent"}
            eu.flush()
            ((_, asked, respond),) = made.requests["us-1"]
            respond(c.Response(asked.id, "done"))
            us.flush()
            await until(lambda: eu.counters("us-1").responses_late == 1)
            assert len(answers) == 2

    run(test)


def test_responses_go_back_on_the_other_connection_if_need_be(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1", "ap-1") as made:
            made.close("ap-1")
            nowhere = made.addresses["ap-1"][1]
            places = (replace(made.config().nodes[0], peer_port=nowhere), *made.config().nodes[1:])
            us = await made.start("us-1", replace(made.config(), nodes=places), answers=echo)
            eu = await made.start("eu-1")
            await until(lambda: eu.connected("us-1"))
            assert not us.connected("eu-1")
            answers: list[c.Response] = []
            eu.call("us-1", request(b"a"), answers.append)
            eu.flush()
            await until(lambda: answers)
            assert answers[0].reply == b"a"

    run(test)


def test_a_done_that_raises_keeps_nobody_from_hearing(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", answers=echo) as made:
            problems: list[Any] = []
            loop = asyncio.get_running_loop()
            before = loop.get_exception_handler()
            loop.set_exception_handler(lambda _, context: problems.append(context["exception"]))
            answers: list[c.Response] = []

            def bad(response: c.Response) -> None:
                raise ZeroDivisionError

            for done in (bad, answers.append):
                made.nodes["eu-1"].call("us-1", request(), done)
            made.nodes["eu-1"].flush()
            await until(lambda: answers)
            loop.set_exception_handler(before)
            assert [type(problem) for problem in problems] == [ZeroDivisionError]

    run(test)


# --- bounds -------------------------------------------------------------------------------------


def test_a_slow_peer_costs_no_more_than_the_limit(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            made.close("us-1")
            held: list[ByHand] = []

            async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                held.append(ByHand(reader, writer))
                await held[0].next()
                held[0].hello()

            server = await asyncio.start_server(slow, *made.addresses["us-1"], limit=1000)
            limit = 5_000_000
            eu = await made.start("eu-1", queue_bytes_max=limit)
            await until(lambda: eu.connected("us-1"))
            block = Block.pack(8, 5, [b"x" * 500_000])
            answers: list[c.Response] = []
            for number in range(100):
                eu.send(1, [AppendEntries("eu-1", "us-1", 5, 7, 5, 7, number, block)])
                eu.flush()
                (state,) = eu.status()
                assert state["queued_bytes"] <= limit + 600_000
                await asyncio.sleep(0)
            counters = eu.counters("us-1")
            assert counters.messages_dropped > 50
            assert state["paused"]
            eu.call("us-1", request(), answers.append)
            await until(lambda: answers)
            assert answers[0].status == "unsent"
            # It reads again: there is room again, and what had been queued comes in order.
            rounds: list[int] = []
            while len(rounds) < counters.messages_out:
                frame = await held[0].next()
                assert frame is not None
                if frame[0] == c.MESSAGES:
                    rounds += [message.round for _, message in frame[1][0]]
            assert rounds == sorted(rounds)
            dropped = counters.messages_dropped
            eu.send(1, [reply("eu-1", "us-1")])
            assert counters.messages_dropped == dropped
            held[0].writer.close()
            server.close()
            await server.wait_closed()

    run(test)


def test_requests_of_a_peer_that_takes_no_responses_are_refused(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "PEER_ANSWER_BYTES_MAX", 2_000_000)

    async def test() -> None:
        def large(request: c.Request) -> c.Response:
            return c.Response(request.id, "done", bytes(100_000))

        def asked(start: int, count: int) -> bytes:
            some = [c.Request(start + n, 0, "read", [b"GET"], 1000) for n in range(count)]
            return c.frame(c.REQUESTS, some)

        async with cluster("eu-1", "us-1") as made:
            made.close("us-1")  # so that responses go back on the connection of the requests
            eu = await made.start("eu-1", answers=large)
            counters = eu.counters("us-1")
            async with ByHand.to(made.addresses["eu-1"]) as us:
                us.hello()
                await us.next()
                us.say(asked(0, 1000))
                await until(lambda: counters.requests_in == 1000)
                # All came in one frame; what was executed is what it could be expected to take.
                executed = len(made.requests["eu-1"])
                assert counters.requests_refused == 1000 - executed
                assert 20 <= executed <= 200  # the socket's buffers take some megabytes, too
                eu.flush()
                statuses: list[str] = []
                while len(statuses) < 1000:
                    frame = await us.next()
                    assert frame is not None
                    if frame[0] == c.RESPONSES:
                        statuses += [response.status for response in frame[1]]
                assert statuses == ["done"] * executed + ["refused"] * (1000 - executed)
                # Now it has taken them, and is served again.
                us.say(asked(1000, 5))
                await until(lambda: counters.responses_out == 1005)
                assert counters.requests_refused == 1000 - executed
                # What was on its way when it was refused some is for the router to refuse.
                respond = made.requests["eu-1"][-1][2]
                assert respond.refuses(0, 0)
                assert not respond.refuses(0, 1)
                assert not respond.refuses(1, 0)

    run(test)


def test_long_responses_that_come_all_at_once(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "PEER_UNTAKEN_BYTES_MAX", 2_000_000)

    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            answers: list[c.Response] = []
            for _ in range(100):
                eu.call("us-1", request(), answers.append)
            eu.flush()
            await until(lambda: len(made.requests["us-1"]) == 100)
            for number, (_, asked, respond) in enumerate(made.requests["us-1"]):
                respond(c.Response(asked.id, "done", bytes(100_000 if number % 2 else 10)))
            assert respond.is_full
            us.flush()
            await until(lambda: len(answers) == 100)
            await until(lambda: not respond.is_full)
            statuses = Counter((answer.status, len(answer.reply)) for answer in answers)
            # Whatever is short gets through.
            assert statuses == {("done", 10): 50, ("done", 100_000): 20, ("unknown", 0): 30}
            assert us.counters("eu-1").responses_dropped == 30

    run(test)


def test_one_turn_cannot_queue_without_bound(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", queue_bytes_max=1_000_000) as made:
            eu = made.nodes["eu-1"]
            block = Block.pack(8, 5, [b"x" * 100_000])
            answers: list[c.Response] = []
            for number in range(100):
                eu.send(1, [AppendEntries("eu-1", "us-1", 5, 7, 5, 7, number, block)])
                eu.call("us-1", request(b"x" * 100_000), answers.append)
            assert 85 <= eu.counters("us-1").messages_dropped <= 95
            assert 85 <= eu.counters("us-1").requests_unsent <= 95

    run(test)


def test_calls_that_wait_are_bounded(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "PEER_CALLS_MAX", 10)

    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            answers: list[c.Response] = []
            for _ in range(15):
                made.nodes["eu-1"].call("us-1", request(), answers.append)
            await until(lambda: len(answers) == 5)
            assert {answer.status for answer in answers} == {"unsent"}

    run(test)


def test_strangers_are_bounded(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch, fast: None
) -> None:
    monkeypatch.setattr(peers_module, "PEER_STRANGERS_MAX", 3)

    async def test() -> None:
        async with cluster("+eu-1", "us-1") as made:
            eu = made.nodes["eu-1"]
            pairs = [await asyncio.open_connection(*made.addresses["eu-1"]) for _ in range(5)]
            await until(lambda: eu.refused["strangers"] == 2)
            # The others are told to go when they have said nothing for too long.
            await until(lambda: eu.refused["timeout"] >= 3 and eu._strangers == 0)
            for _, writer in pairs:
                writer.close()
                await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            async with ByHand.to(made.addresses["eu-1"]) as us:
                us.hello()
                frame = await us.next()
                assert frame is not None
                assert frame[0] == c.HELLO

    run(test)


def test_a_response_too_large_for_any_frame(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        def large(request: c.Request) -> c.Response:
            return c.Response(request.id, "done", bytes(30_000))

        async with cluster("+eu-1", "+us-1", answers=large) as made:
            monkeypatch.setattr(c, "PEER_FRAME_BYTES", 10_000)
            monkeypatch.setattr(c, "PEER_FRAME_BYTES_MAX", 20_000)
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            answers: list[c.Response] = []
            eu.call("us-1", request(bytes(40_000)), answers.append)
            eu.flush()
            await until(lambda: answers)
            assert answers[0].status == "unsent"
            eu.call("us-1", request(), answers.append)
            eu.flush()
            await until(lambda: len(answers) == 2)
            assert us.counters("eu-1").responses_dropped == 1
            assert answers[1].status == "done"
            assert "too large to be passed on" in str(replies.unpack(answers[1].reply))

    run(test)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"cluster": "other"}, "cluster"),
        ({"consensus": "paxos"}, "consensus"),
        ({"protocol": 2}, "version"),
        ({"name": "zz-1"}, "unknown"),
        ({"name": "eu-1"}, "self"),
        ({"to": "ap-1"}, "misdirected"),
    ],
)
def test_a_hello_that_is_refused(
    run: Callable[[Test], None], logged: list[Any], changes: dict[str, Any], reason: str
) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "us-1") as made:
            async with ByHand.to(made.addresses["eu-1"]) as stranger:
                stranger.hello(**changes)
                bye = await stranger.bye()
                assert bye.reason == reason
                assert bye.text
            eu = made.nodes["eu-1"]
            assert eu.refused == {reason: 1}
            (entry,) = [entry for entry in logged if entry["event"] == "peer refused"]
            assert (entry["reason"], entry["log_level"]) == (reason, "error")
            assert entry["why"] == bye.text
            assert not eu.connected("us-1")

    run(test)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "format"),
        (bytes(1000), "format"),
        (c.frame(c.PING, c.Ping(1)), "format"),
        (c.frame(c.BYE, c.Bye("x")), "format"),
        (c.frame(c.REQUESTS, [c.Request(1, 1, "write", [], 1)]), "format"),
        (struct.pack("<4sBBHIII", b"RLPF", 2, 1, 0, 10, 0, 0), "version"),
        (struct.pack("<4sBBHIII", b"RLPF", 1, 1, 0, 5000, 0, 0), "format"),
        (hello() + hello(), "format"),
        (hello() + b"garbage that is longer than a head", "format"),
        (hello() + struct.pack("<4sBBHIII", b"RLPF", 1, 2, 0, 2**31, 2**31 - 1, 0), "format"),
    ],
)
def test_bytes_that_are_refused(run: Callable[[Test], None], data: bytes, reason: str) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "us-1") as made:
            async with ByHand.to(made.addresses["eu-1"]) as stranger:
                stranger.say(data)
                assert (await stranger.bye()).reason == reason
            assert made.nodes["eu-1"].refused[reason] == 1
            assert made.messages["eu-1"] == made.requests["eu-1"] == []

    run(test)


def test_half_frames_and_silence(run: Callable[[Test], None], fast: None) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "us-1", silent_seconds=0.2) as made:
            eu = made.nodes["eu-1"]
            async with ByHand.to(made.addresses["eu-1"]) as slow:
                for byte in hello()[:10]:  # a loris
                    slow.say(bytes([byte]))
                    await asyncio.sleep(0.01)
                assert (await slow.bye()).reason == "timeout"
            async with ByHand.to(made.addresses["eu-1"]) as half:
                half.say(hello() + hello()[:10])
                frame = await half.next()
                assert frame is not None
                assert frame[0] == c.HELLO
                assert await half.next() is None
                assert eu.counters("us-1").silent == 1
            async with ByHand.to(made.addresses["eu-1"]) as half:
                half.say(hello() + hello()[:10])
                await half.next()
            await until(lambda: eu._peers["us-1"].incoming is None)

    run(test)


def test_a_peer_that_dies_amid_a_frame(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "us-1") as made:
            eu = made.nodes["eu-1"]
            writer = c.MessagesWriter(CODEC)
            writer.add(1, reply("us-1", "eu-1", 1))
            first = b"".join(writer.take())
            writer.add(1, AppendReply("us-1", "eu-1", 5, 6, 2))
            second = b"".join(writer.take())
            async with ByHand.to(made.addresses["eu-1"]) as us:
                us.say(hello() + first + second[:-1])
                await until(lambda: made.messages["eu-1"])
                us.writer.transport.abort()
            await until(lambda: eu._peers["us-1"].incoming is None)
            async with ByHand.to(made.addresses["eu-1"]) as us:
                us.say(hello() + second)
                await until(lambda: len(made.messages["eu-1"]) == 2)
            assert [message.round for _, _, message in made.messages["eu-1"]] == [1, 2]

    run(test)


def test_damage_on_the_way_costs_one_connection(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "PEER_REFUSED_SECONDS", 600.0)  # no slow retry

    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            link = eu._peers["us-1"].out
            assert link is not None
            data = bytearray(c.frame(c.PING, c.Ping(1)))
            data[-1] ^= 1
            link.write([bytes(data)])
            await until(lambda: eu.counters("us-1").connects == 2)
            assert us.refused == {"format": 1}
            assert eu.refused == {"by peer": 1}

    run(test)


def test_nobody_speaks_in_anothers_name(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "us-1", "ap-1") as made:
            writer = c.MessagesWriter(CODEC)
            writer.add(1, reply("ap-1", "us-1"))
            async with ByHand.to(made.addresses["eu-1"]) as us:
                us.say(hello() + b"".join(writer.take()))
                await until(lambda: made.messages["eu-1"])
            ((peer, _, message),) = made.messages["eu-1"]
            assert (peer, message.sender, message.to) == ("us-1", "us-1", "eu-1")

    run(test)


def test_a_second_process_of_one_name(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "us-1") as made:
            eu = made.nodes["eu-1"]
            async with (
                ByHand.to(made.addresses["eu-1"]) as new,
                ByHand.to(made.addresses["eu-1"]) as old,
                ByHand.to(made.addresses["eu-1"]) as again,
            ):
                new.hello(incarnation=7)
                await new.next()
                old.hello(incarnation=6)
                bye = await old.bye()
                assert bye.reason == "duplicate"
                assert "newer process is 'us-1'" in bye.text
                assert eu.refused == {"duplicate": 1}
                # The same process again: its first connection broke, and only it knows.
                again.hello(incarnation=7)
                assert await again.next() is not None
                assert await new.next() is None
            await until(lambda: eu._peers["us-1"].incoming is None)
            # With the newer one gone, the clock of the older one may simply have jumped.
            async with ByHand.to(made.addresses["eu-1"]) as old:
                old.hello(incarnation=6)
                frame = await old.next()
                assert frame is not None
                assert frame[0] == c.HELLO

    run(test)


def test_another_node_answers_at_the_address(run: Callable[[Test], None], fast: None) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1", "ap-1") as made:
            nodes = list(made.config().nodes)
            wrong = [
                replace(node, peer_port=made.addresses["ap-1"][1]) if node.name == "us-1" else node
                for node in nodes
            ]
            await made.start("ap-1")
            eu = await made.start("eu-1", replace(made.config(), nodes=tuple(wrong)))
            await until(lambda: eu.refused["by peer"] >= 2)  # tried again, slowly
            assert made.nodes["ap-1"].refused["misdirected"] >= 2
            assert not eu.connected("us-1")
            assert "misdirected" in eu.status()[0]["trouble"]

    run(test)


def test_an_address_that_cannot_be_looked_up(run: Callable[[Test], None], fast: None) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            nodes = [replace(node, host="b..example") for node in made.config().nodes]
            nodes[0] = made.config().nodes[0]
            eu = await made.start("eu-1", replace(made.config(), nodes=tuple(nodes)))
            await until(lambda: eu.counters("us-1").failures >= 3)  # tried again
            assert all(not task.done() for task in eu._dialling)
            assert eu.status()[0]["trouble"]

    run(test)


def test_clusters_that_share_an_address(run: Callable[[Test], None], logged: list[Any]) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            await made.start("eu-1")
            await made.start("us-1", made.config(name="others"))
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            await until(lambda: eu.refused["cluster"] and us.refused["cluster"])
            await until(lambda: eu.refused["by peer"] and us.refused["by peer"])
            await asyncio.sleep(0.1)
            assert eu.refused["cluster"] == us.refused["cluster"] == 1  # no fast retry
            why = {entry["why"] for entry in logged if entry["event"] == "peer refused"}
            assert why == {
                "belongs to the cluster 'others', not 'orders'",
                "belongs to the cluster 'orders', not 'others'",
            }

    run(test)


def test_cluster_files_that_contradict_each_other(
    run: Callable[[Test], None], logged: list[Any]
) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            await made.start("eu-1")
            await made.start("us-1", made.config(shards=2))
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            await until(lambda: eu.refused["layout"] and us.refused["layout"])
            assert not eu.connected("us-1")
            assert not us.connected("eu-1")
            await asyncio.sleep(0.1)
            assert eu.refused["layout"] == us.refused["layout"] == 1  # no fast retry
            why = {entry["why"] for entry in logged if entry["event"] == "peer refused"}
            assert any(
                "'us-1' has a cluster file that puts shards elsewhere" in each for each in why
            )

    run(test)


@pytest.mark.parametrize("change", ["shards", "weights", "zones", "replicas"])
def test_what_makes_cluster_files_contradict_each_other(change: str) -> None:
    """What decides where a key is, is in what peers show each other; where leaders stand is not."""

    def given(**changes: Any) -> dict[str, Any]:
        nodes = [
            {"name": f"n{at}", "host": f"10.0.0.{at + 1}", "zone": f"z{at % 3}"} for at in range(6)
        ]
        return {"name": "orders", "shards": 8, "replicas": 3, "nodes": nodes} | changes

    def cluster_id(given: dict[str, Any]) -> bytes:
        return ClusterConfig.parse(given).identity().cluster_id

    other = given()
    if change == "weights":
        other["nodes"][0]["weight"] = 4.0
    elif change == "zones":
        other["nodes"][0]["zone"] = "z1"
    else:
        other[change] = 5
    assert cluster_id(other) != cluster_id(given())
    assert cluster_id(given(timing={"settle_ms": 1})) == cluster_id(given())


def test_random_bytes_from_a_peer(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1") as made:
            eu = made.nodes["eu-1"]
            good = hello(name="us-1", incarnation=2**60)
            for number in range(100):
                data = bytearray(good + c.frame(c.PING, c.Ping(number)))
                data[number % len(data)] ^= 1 + number
                async with ByHand.to(made.addresses["eu-1"]) as us:
                    us.say(bytes(data))
            await made.connected()
            eu.send(1, [reply("eu-1", "us-1")])
            eu.flush()
            await until(lambda: made.messages["us-1"])

    run(test)


def test_every_reason_is_in_the_documents() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "operations.md").read_text()
    section = page[page.index("### Nodes that refuse each other") :].split("\n## ")[0]
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))
    source = (root / "python" / "ringleader" / "node" / "peers.py").read_text()
    used = set(re.findall(r'return "(\w+)", f?"', source))
    used |= set(re.findall(r'_refuse\(link, "(\w+)"', source)) | {"version", "format"}
    assert told == used


def test_misuse() -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            config = made.config()

            def peers(name: str, config: Config, **settings: Any) -> Peers:
                loop = asyncio.get_running_loop()
                return Peers(config, name, loop, lambda *_: None, lambda *_: None, **settings)

            with pytest.raises(NodeNotFound, match="no node 'zz-1'"):
                peers("zz-1", config)
            with pytest.raises(SettingError, match="no consensus 'zab'"):
                peers("eu-1", replace(config, consensus="zab"))
            with pytest.raises(SettingError, match="two contexts"):
                peers("eu-1", config, server_ssl=ssl.create_default_context())
            eu = peers("eu-1", config)
            for wrong in (
                lambda: eu.call("zz-1", request(), print),
                lambda: eu.send_data("zz-1", b""),
                lambda: eu.rtt_ms("zz-1"),
            ):
                with pytest.raises(NodeNotFound):
                    wrong()
            assert not eu.connected("zz-1")
            eu.send(1, [reply("eu-1", "zz-1")])  # never fails
            eu.flush()
            await eu.stop()
            await eu.stop()

    asyncio.run(test())


# --- the wide area ------------------------------------------------------------------------------

WAN = {frozenset({"eu", "us"}): 60.0}


def test_the_wide_area_delays(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+eu-2", "+us-1", wan=WAN, answers=echo) as made:
            eu = made.nodes["eu-1"]
            answered: dict[str, float] = {}
            began = time.monotonic()
            for peer in ("eu-2", "us-1"):
                eu.call(
                    peer,
                    request(),
                    lambda _, peer=peer: answered.setdefault(peer, time.monotonic()),
                )
            eu.flush()
            await until(lambda: len(answered) == 2)
            assert answered["us-1"] - began >= 0.058
            assert answered["us-1"] - began < 5  # the cores may be busy
            assert answered["eu-2"] < answered["us-1"]
            assert eu.rtt_ms("us-1") >= 58
            await until(lambda: eu.rtt_ms("eu-2") is not None)
            # Many at different times: all come, in order.
            for number in range(300):
                eu.send(number, [reply("eu-1", "us-1", number)])
                eu.flush()
                if number % 10 == 0:
                    await asyncio.sleep(0.001)
            await until(lambda: len(made.messages["us-1"]) == 300)
            assert [group for _, group, _ in made.messages["us-1"]] == list(range(300))
            for state in eu.status():
                assert state["queued_bytes"] < 1000  # a ping, perhaps

    run(test)


def test_what_is_on_its_way_counts_as_queued(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        wan = {frozenset({"eu", "us"}): 400.0}
        async with cluster("+eu-1", "+us-1", wan=wan, queue_bytes_max=1_000_000) as made:
            eu = made.nodes["eu-1"]
            block = Block.pack(8, 5, [b"x" * 100_000])
            for number in range(30):
                eu.send(1, [AppendEntries("eu-1", "us-1", 5, 7, 5, 7, number, block)])
                eu.flush()
            assert 18 <= eu.counters("us-1").messages_dropped <= 22
            assert 800_000 < eu.status()[0]["queued_bytes"] < 1_200_000
            await until(lambda: len(made.messages["us-1"]) >= 8)
            eu.send(1, [reply("eu-1", "us-1")])
            eu.flush()

    run(test)


def test_cut_and_heal(run: Callable[[Test], None], fast: None) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", "+us-2", silent_seconds=0.2) as made:
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            answers: list[c.Response] = []
            eu.cut(["us"])
            eu.send(1, [reply("eu-1", "us-1")])
            eu.call("us-1", request(), answers.append)
            eu.flush()
            us.send(1, [reply("us-1", "eu-1"), reply("us-1", "us-2")])
            us.flush()
            await until(lambda: not eu.connected("us-1") and not us.connected("eu-1"))
            assert not eu.connected("us-2")
            assert us.connected("us-2")
            await until(lambda: answers)
            assert answers[0].status == "lost"
            assert made.messages["us-1"] == made.messages["eu-1"] == []
            assert len(made.messages["us-2"]) == 1
            assert eu.lost == {"us-1", "us-2"}
            await asyncio.sleep(0.3)
            assert not eu.connected("us-1")
            assert not us.connected("eu-1")
            eu.heal()
            await made.connected()
            eu.send(1, [reply("eu-1", "us-1")])
            eu.flush()
            us.send(1, [reply("us-1", "eu-1")])
            us.flush()
            await until(lambda: made.messages["us-1"] and made.messages["eu-1"])

    run(test)


def test_a_short_cut_loses_what_was_said_and_nothing_else(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", wan=WAN) as made:
            eu = made.nodes["eu-1"]
            for number in range(30):
                if number == 10:
                    eu.cut(["us-1"])
                if number == 20:
                    eu.heal()
                eu.send(number, [reply("eu-1", "us-1")])
                eu.flush()
            await until(lambda: len(made.messages["us-1"]) >= 10)
            await asyncio.sleep(0.05)
            # Those before were still under way.
            assert [group for _, group, _ in made.messages["us-1"]] == list(range(20, 30))
            assert eu.counters("us-1").connects == 1

    run(test)


def test_clocks_that_differ(run: Callable[[Test], None], logged: list[Any], fast: None) -> None:
    async def test() -> None:
        ahead = 2000

        def clock() -> int:
            return time.time_ns() // 1_000_000 + ahead

        async with cluster("+eu-1", "us-1") as made:
            await made.start("us-1", wall_ms=clock)
            eu = made.nodes["eu-1"]
            await until(lambda: eu.skew_ms("us-1") is not None)
            assert 1900 < eu.skew_ms("us-1") < 2100
            ahead = 0
            await until(lambda: abs(eu.skew_ms("us-1")) < 100)
            events = [entry["event"] for entry in logged if entry["node"] == "eu-1"]
            assert events.count("clocks differ") == 1
            assert events.count("clocks agree again") == 1

    run(test)


def test_a_loop_that_stood_still_closes_nothing(run: Callable[[Test], None], fast: None) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", silent_seconds=0.2) as made:
            await asyncio.sleep(0.05)
            time.sleep(0.5)
            await asyncio.sleep(0.1)
            for node, peer in (("eu-1", "us-1"), ("us-1", "eu-1")):
                assert made.nodes[node].counters(peer).silent == 0
                assert made.nodes[node].counters(peer).connects == 1

    run(test)


@on_uvloop
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens(run: Callable[[Test], None], fast: None, seed: int) -> None:
    """Nodes stop, start, are cut off and healed: between two nodes everything comes in order and
    once, each call has one outcome, and in the end all is as it was."""
    chance = random.Random(seed)

    async def test() -> None:
        names = ("+eu-1", "+us-1", "+ap-1")
        wan = {frozenset({"eu", "us"}): 10.0}
        async with cluster(*names, wan=wan, answers=echo, silent_seconds=0.1) as made:
            sent = 0
            outcomes: dict[int, list[c.Response]] = {}
            for _ in range(150):
                for name, node in made.nodes.items():
                    for peer in node.names:
                        sent += 1
                        size = chance.choice([1, 1, 1, 100_000])
                        block = Block.pack(8, 5, [b"x" * size])
                        node.send(sent, [AppendEntries(name, peer, 5, 7, 5, 7, sent, block)])
                        outcome = outcomes.setdefault(sent, [])
                        node.call(peer, request(b"%d" % sent, budget_ms=1000), outcome.append)
                    node.flush()
                name = chance.choice([*made.nodes])
                match chance.randrange(12):
                    case 0:
                        await made.nodes[name].stop()
                        await made.start(name, answers=echo, silent_seconds=0.1)
                    case 1:
                        made.nodes[name].cut([chance.choice(["eu", "us", "ap"])])
                    case 2 | 3:
                        made.nodes[name].heal()
                    case 4:
                        for link in list(made.nodes[name]._links)[:1]:
                            link.abort()
                await asyncio.sleep(chance.choice([0, 0, 0.002, 0.02]))
            for node in made.nodes.values():
                node.heal()
            await made.connected()
            await until(lambda: all(outcomes.values()))
            await asyncio.sleep(0.05)
            assert {len(outcome) for outcome in outcomes.values()} == {1}
            statuses = Counter(outcome[0].status for outcome in outcomes.values())
            assert statuses["done"] > 50, statuses
            assert all(
                outcome[0].reply == b"%d" % number
                for number, outcome in outcomes.items()
                if outcome[0].status == "done"
            )
            for got in made.messages.values():
                for peer in {peer for peer, _, _ in got}:
                    rounds = [message.round for sender, _, message in got if sender == peer]
                    assert rounds == sorted(set(rounds))
            before = {name: len(got) for name, got in made.messages.items()}
            for name, node in made.nodes.items():
                node.send(1, [reply(name, peer) for peer in node.names])
                node.flush()
            await until(
                lambda: all(len(got) == before[name] + 2 for name, got in made.messages.items())
            )

    run(test)


# --- the end ------------------------------------------------------------------------------------


def test_stop_amid_work(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        async with cluster("+eu-1", "+us-1", "+ap-1", "gone-1", wan=WAN, answers=echo) as made:
            answers: list[c.Response] = []
            block = Block.pack(8, 5, [b"x" * 100_000])
            eu = made.nodes["eu-1"]
            for _ in range(20):
                for peer in ("us-1", "ap-1"):
                    eu.call(peer, request(), answers.append)
                    eu.send(1, [AppendEntries("eu-1", peer, 5, 7, 5, 7, 1, block)])
                eu.flush()
                await asyncio.sleep(0)
            await eu.stop()
            assert len(answers) == 40
            assert {answer.status for answer in answers} <= {"done", "lost", "unsent"}
            await until(lambda: not made.nodes["us-1"].connected("eu-1"))
            # What was flushed before the end has left.
            await until(lambda: len(made.messages["us-1"]) == 20)
            eu.call("us-1", request(), answers.append)
            eu.send(1, [reply("eu-1", "us-1")])
            eu.flush()
            await until(lambda: len(answers) == 41)
            assert answers[-1].status == "unsent"

    run(test)


@on_uvloop
def test_stop_before_anything_is_connected(run: Callable[[Test], None]) -> None:
    async def test() -> None:
        for turns in range(6):
            made = Cluster(("eu-1", "us-1"))
            await made.start("eu-1")
            await made.start("us-1")
            for _ in range(turns):
                await asyncio.sleep(0)
            await made.stop()

    run(test)


def test_a_peer_that_never_reads_does_not_hold_up_the_end(
    run: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "_STOP_SECONDS", 0.1)
    monkeypatch.setattr(link_module, "_CLOSE_SECONDS", 60.0)

    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            made.close("us-1")
            held: list[asyncio.StreamWriter] = []

            async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                held.append(writer)
                writer.write(hello())

            server = await asyncio.start_server(slow, *made.addresses["us-1"], limit=1000)
            eu = await made.start("eu-1")
            await until(lambda: eu.connected("us-1"))
            for _ in range(20):
                eu.send_data("us-1", bytes(1_000_000))
            eu.flush()
            began = time.monotonic()
            await eu.stop()
            assert time.monotonic() - began < 30
            held[0].transport.abort()
            server.close()
            await server.wait_closed()

    run(test)


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates of a few nodes, from one authority, and of one from another."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*args: str) -> None:
        subprocess.run(["openssl", *args], cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "stranger"):
        openssl(
            *("req", "-x509", *new, "-subj", f"/CN={authority}", "-days", "2"),
            *("-keyout", f"{authority}.key", "-out", f"{authority}.pem"),
        )
    for name, authority, alternative in (
        ("eu-1", "ca", "DNS:eu-1"),
        ("us-1", "ca", "DNS:us-1,DNS:elsewhere"),
        ("ap-1", "ca", ""),  # a common name alone
        ("foreign", "stranger", "DNS:us-1"),
    ):
        openssl(*("req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "csr"))
        extensions = folder / "extensions"
        extensions.write_text(f"subjectAltName={alternative}\n" if alternative else "")
        openssl(
            *("x509", "-req", "-in", "csr", "-CA", f"{authority}.pem", "-days", "2"),
            *("-CAkey", f"{authority}.key", "-CAcreateserial", "-out", f"{name}.pem"),
            *("-extfile", "extensions"),
        )
    return folder


def tls(folder: Path, name: str) -> dict[str, Any]:
    contexts = {}
    for side, purpose in (("server_ssl", ssl.PROTOCOL_TLS_SERVER), ("client_ssl", None)):
        context = ssl.SSLContext(purpose or ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        contexts[side] = context
    return {**contexts, "verify_names": True}


def test_mutual_tls(run: Callable[[Test], None], certificates: Path) -> None:
    async def test() -> None:
        names = ("eu-1", "us-1", "ap-1")
        async with cluster(*names) as made:
            for name in names:
                await made.start(name, **tls(certificates, name), answers=echo)
            await made.connected()
            eu = made.nodes["eu-1"]
            block = Block.pack(8, 5, [b"x" * 1_000_000] * 3)
            answers: list[c.Response] = []
            for peer in ("us-1", "ap-1"):
                eu.send(1, [AppendEntries("eu-1", peer, 5, 7, 5, 7, 1, block)] * 5)
                eu.call(peer, request(b"x" * 1_000_000), answers.append)
            eu.flush()
            await until(lambda: len(answers) == 2)
            assert {len(answer.reply) for answer in answers} == {1_000_000}
            for peer in ("us-1", "ap-1"):
                assert len(made.messages[peer]) == 5
                assert made.messages[peer][0][2].block == block

    run(test)


def test_strangers_before_their_handshake_are_bounded(
    run: Callable[[Test], None], certificates: Path, logged: list[Any]
) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            for name in ("eu-1", "us-1"):
                await made.start(name, **tls(certificates, name), answers=echo)
            await made.connected()
            eu, us = made.nodes["eu-1"], made.nodes["us-1"]
            silent = []
            for _ in range(PEER_STRANGERS_MAX + 20):
                _, writer = await asyncio.open_connection(*made.addresses["eu-1"])
                silent.append(writer)
            await until(lambda: eu.refused["strangers"] >= 20)
            assert eu.refused["strangers"] == 20
            assert [each["reason"] for each in logged if "reason" in each] == ["strangers"]
            answers: list[c.Response] = []
            us.call("eu-1", request(b"x"), answers.append)
            us.flush()
            await until(lambda: bool(answers))
            for writer in silent:
                writer.close()

    run(test)


def test_certificates_that_are_refused(
    run: Callable[[Test], None], certificates: Path, fast: None
) -> None:
    async def test() -> None:
        async with cluster("eu-1", "us-1") as made:
            eu = await made.start("eu-1", **tls(certificates, "eu-1"))
            # The certificate of another node of this cluster.
            us = await made.start("us-1", **tls(certificates, "ap-1"))
            await until(lambda: eu.refused["certificate"] >= 2)
            assert not eu.connected("us-1")
            await us.stop()
            # A certificate of another authority: the handshake fails already.
            us = await made.start("us-1", **tls(certificates, "foreign"))
            failures = eu.counters("us-1").failures
            await until(lambda: eu.counters("us-1").failures > failures)
            assert not eu.connected("us-1")
            await us.stop()
            # None at all, and no TLS.
            us = await made.start("us-1")
            failures = eu.counters("us-1").failures
            await until(lambda: eu.counters("us-1").failures > failures)
            assert not us.connected("eu-1")
            assert made.messages["eu-1"] == []

    run(test)
