"""Three routers and their shards in one process, for tests: time and messages pass when the test
says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from ringleader.consensus.driver import Driver
from ringleader.consensus.raft import Config, Raft
from ringleader.node.codec import Request, Response
from ringleader.node.commands import find
from ringleader.node.peers import Responder
from ringleader.node.router import Router
from ringleader.node.routing import PENDING, Origin
from ringleader.node.shard import Shard
from ringleader.node.store import Store
from ringleader.storage.memory import MemoryStorage

NAMES = ("a", "b", "c")
TICK_S = 0.01
CONFIG = Config(election_ticks=15, heartbeat_ticks=5, lease=True)


class Time:
    """One node's clock: the drivers learn of ticks by `catch_up` alone."""

    def __init__(self, wall_ms: int = 1_000_000) -> None:
        self.seconds = 0.0
        self.wall = wall_ms
        self.ticks = 0
        self.drivers: list[Driver] = []

    def now_s(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.wall

    def pass_s(self, seconds: float) -> None:
        """Time passes, and nobody notices yet."""
        self.seconds += seconds
        self.wall += round(seconds * 1000)

    def catch_up(self) -> float:
        ticks = int(self.seconds / TICK_S + 1e-6)
        passed, self.ticks = ticks - self.ticks, ticks
        if passed:
            for driver in self.drivers:
                driver.tick(passed)
        return self.seconds


class Respond(Responder):
    """As the real one, of a peer that takes whatever it is told."""

    __slots__ = ("calls",)

    is_full = False

    def __init__(self) -> None:
        super().__init__(None, None, 0)  # type: ignore[arg-type]
        #: Whom to tell, by the numbers of requests.
        self.calls: dict[int, Callable[[Response], None]] = {}

    def __call__(self, response: Response) -> None:
        self.calls.pop(response.id)(response)


class Answer:
    """A waiter; `got` is [] until there is a reply."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    def resolve(self, reply: Any) -> None:
        self.got.append(reply)
        assert len(self.got) == 1, "answered twice"


class Node:
    """A router with its shards, as `node.Node` puts them together."""

    def __init__(self, group: NodeGroup, name: str, hosts: Sequence[Sequence[str]]) -> None:
        self.group = group
        self.name = name
        self.up = True
        self.time = Time()
        self.dirty: list[Shard] = []
        self.late: list[Shard] = []
        size = 16384 // len(hosts)
        slots = [min(slot // size, len(hosts) - 1) for slot in range(16384)]
        self.router = Router(name, hosts, slots, self, self.time, patience_s=1.0)
        self.shards = [self._shard(number) for number, names in enumerate(hosts) if name in names]
        self.origin = Origin(0.5)

    def _shard(self, number: int) -> Shard:
        store = Store()
        core = Raft(self.name, self.group.hosts[number], config=CONFIG, seed=ord(self.name))
        driver = Driver(
            core,
            MemoryStorage(),
            _Transport(self, number),
            store,
            forward=False,
            patience_ticks=100,
        )
        shard = Shard(
            number,
            driver,
            store,
            self.time,
            on_dirty=self.dirty.append,
            on_refused=self.router.refused,
            on_unknown=self.router.unknown,
        )
        self.time.drivers.append(driver)
        self.router.shards[number] = shard
        return shard

    # What a router asks of `Peers`.

    def connected(self, peer: str) -> bool:
        return self.up and self.group.nodes[peer].up and not self.group.is_cut(self.name, peer)

    def silent(self, peer: str) -> bool:
        return not self.connected(peer)

    def call(self, peer: str, request: Request, done: Callable[[Response], None]) -> bool:
        self.group.request_count += 1
        request.id = self.group.request_count
        if peer in self.group.choked:
            self.group.unsent.append((request.id, done))
            return False
        self.group.wire.append((self.name, peer, request, done))
        return True

    # What a client does.

    def ask(self, *args: bytes | str, origin: Origin | None = None) -> list[Any]:
        """The list in which the reply stands, or will."""
        words = [arg.encode() if isinstance(arg, str) else arg for arg in args]
        command = find(words[0])
        assert command is not None
        answer = Answer()
        number = self.group.shard_of(words[1])
        reply = self.router.execute(
            origin if origin is not None else self.origin, command, words, number, answer
        )
        if reply is not PENDING:
            answer.resolve(reply)
        return answer.got

    def turn(self) -> None:
        dirty, self.dirty[:] = list(self.dirty), []
        for shard in dirty:
            if shard.flush():
                self.late.append(shard)


class _Transport:
    def __init__(self, node: Node, number: int) -> None:
        self.node = node
        self.number = number

    def send(self, messages: Sequence[Any]) -> None:
        self.node.group.messages += [(self.number, message) for message in messages]


class NodeGroup:
    """Nodes "a", "b", "c"; `hosts` names the replicas of each shard."""

    def __init__(self, hosts: Sequence[Sequence[str]] = (NAMES,)) -> None:
        self.hosts = hosts
        self.messages: list[tuple[int, Any]] = []
        self.wire: list[tuple[str, str, Any, Callable[[Response], None]]] = []
        self.cuts: set[frozenset[str]] = set()
        #: Requests to these are executed, and their responses lost.
        self.mute: set[str] = set()
        #: Requests to these stay on the way: the functions that would be told the outcomes.
        self.held: dict[str, list[Callable[[Response], None]]] = {}
        #: There is no room for requests to these; and those of which nobody was told yet.
        self.choked: set[str] = set()
        self.unsent: list[tuple[int, Callable[[Response], None]]] = []
        self.request_count = 0
        #: (who asked, who was asked) -> its responder there.
        self.responders: dict[tuple[str, str], Respond] = defaultdict(Respond)
        self.nodes: dict[str, Node] = {}
        for name in NAMES:
            self.nodes[name] = Node(self, name, hosts)

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def shard_of(self, key: bytes) -> int:
        """By the first letter, so that tests can choose: "1..." is shard 1; others are 0."""
        return int(key[:1]) if key[:1].isdigit() and int(key[:1]) < len(self.hosts) else 0

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.cuts

    def cut(self, name: str) -> None:
        self.cuts = {frozenset((name, other)) for other in NAMES if other != name}

    def settle(self) -> None:
        """Everything that can happen without time passing."""
        for _ in range(1000):
            for node in self.nodes.values():
                if node.up:
                    node.turn()
            unsent, self.unsent = self.unsent, []
            for id, done in unsent:
                done(Response(id, "unsent"))
            messages, self.messages = self.messages, []
            wire, self.wire = self.wire, []
            if not messages and not wire and not any(node.dirty for node in self.nodes.values()):
                return
            for number, message in messages:
                node = self.nodes[message.to]
                shard = node.router.shards[number]
                if node.up and shard is not None and not self.is_cut(message.sender, message.to):
                    shard.driver.receive(message)
            for sender, to, request, done in wire:
                self._carry(sender, to, request, done)
        raise AssertionError("it never ends")

    def _carry(
        self, sender: str, to: str, request: Request, done: Callable[[Response], None]
    ) -> None:
        if not self.nodes[sender].connected(to):
            done(Response(request.id, "unsent"))
            return
        if to in self.held:
            self.held[to].append(done)
            return

        def tell(response: Response) -> None:
            if to not in self.mute:
                done(response)

        respond = self.responders[sender, to]
        respond.calls[request.id] = tell
        self.nodes[to].router.serve([request], respond)
        if to in self.mute:
            self.settle()
            done(Response(request.id, "lost"))

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            for node in self.nodes.values():
                node.time.pass_s(TICK_S)
                if node.up:
                    node.time.catch_up()
                    node.router.tick()
                    node.dirty += node.late
                    node.late.clear()
            for node in self.nodes.values():
                for other in self.nodes.values():
                    if node.connected(other.name):
                        other.router.learn_claims(node.name, node.router.claims())
            self.settle()

    def lead(self, name: str, number: int = 0) -> Shard:
        """Let a node lead a shard."""
        shard = self.nodes[name].router.shards[number]
        assert shard is not None
        for _ in range(100):
            if shard.leads and shard.driver.reads_now():
                return shard
            current = self.leader(number)
            if current is None:
                shard.core.campaign()
                shard.driver.pump()
            elif current != name:
                other = self.nodes[current].router.shards[number]
                assert other is not None
                other.driver.transfer(name)
            self.settle()
            self.tick()
        raise AssertionError(f"{name} does not come to lead")

    def leader(self, number: int = 0) -> str | None:
        for node in self.nodes.values():
            shard = node.router.shards[number]
            if node.up and shard is not None and shard.leads:
                return node.name
        return None
