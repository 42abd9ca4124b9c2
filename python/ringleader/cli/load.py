"""One process of `ringleader bench`: clients that send prepared commands and time the answers.

    python -m ringleader.cli.load    reads a plan (JSON), then "go"; writes lines of JSON, at last
                                     the result

A client sends a pipeline of commands of one kind, waits for all replies, and sends the next.  With
a rate, a pipeline has an intended start: what could not be sent in time, because the one before was
not answered yet, is timed from when it should have been sent, so that a server that stalls does not
hide how many it kept waiting ("coordinated omission").
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import hiredis

from ringleader.cli.histogram import Histogram
from ringleader.cli.resp import Command, RespError, packed, tls
from ringleader.hashing import redis_slot
from ringleader.node.slots import SLOTS

#: What a client can do: a write, a linearizable read, a read that may be stale.
KINDS = ("set", "get", "readonly")
#: Pipelines that are made beforehand, of each kind and for each node.
PREPARED = 512
REPORT_SECONDS = 0.25
#: After a connection was lost, and between two looks at who leads.
RETRY_SECONDS = 0.05
CONNECT_SECONDS = 5.0
#: How long answers are waited for after the end.
LAST_SECONDS = 5.0

Address = tuple[str, int]


@dataclass
class Plan:
    """What one process has to do.

    Attributes:
        nodes: addresses to begin with; clients take turns.
        cluster: go to the node that has the key, by CLUSTER SLOTS.
        mix: weights of `KINDS`.
        keys: how many different ones; `first_key` and `fill_keys` say which this process fills.
        seconds, requests: when to end, whichever comes first; 0: not by this.
        rate: commands a second of this process; 0: as fast as answers come.
        warmup: seconds that are not counted.
        ca: as of `resp.tls`.
    """

    nodes: list[Address]
    clients: int = 1
    pipeline: int = 1
    mix: dict[str, float] = field(default_factory=lambda: {"set": 1.0, "get": 1.0})
    value_bytes: int = 100
    keys: int = 100_000
    seconds: float = 10.0
    requests: int = 0
    rate: float = 0.0
    warmup: float = 0.0
    cluster: bool = False
    password: str = ""
    ca: str | None = None
    seed: int = 0
    fill: bool = False
    first_key: int = 0
    fill_keys: int = 0

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """What `json.dumps(asdict(plan))` gave."""
        given = json.loads(text)
        given["nodes"] = [(host, port) for host, port in given["nodes"]]
        return cls(**given)


@dataclass
class Result:
    """What came of it.

    Attributes:
        seconds: that were counted.
        histograms: by kind; in a pipeline, each command is as late as the last one.
        errors: how many, by the error's first word or what happened to the connection.
        examples: the first text of each.
        late_us: with a rate, how late the worst pipeline was sent for want of time here, not
            because of the server: if it is large, this process is what limits.
    """

    seconds: float = 0.0
    histograms: dict[str, Histogram] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    late_us: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "histograms": {kind: each.to_list() for kind, each in self.histograms.items()},
            "errors": dict(self.errors),
            "examples": self.examples,
            "late_us": self.late_us,
        }

    def merge(self, saved: dict[str, Any]) -> None:
        """Add what `to_json` of another process gave."""
        self.seconds = max(self.seconds, saved["seconds"])
        self.late_us = max(self.late_us, saved["late_us"])
        self.errors.update(saved["errors"])
        self.examples = saved["examples"] | self.examples
        for kind, buckets in saved["histograms"].items():
            self.histograms.setdefault(kind, Histogram()).merge(Histogram.from_list(buckets))


def key_of(number: int) -> bytes:
    """Keys of a bench, all of one length."""
    return b"bench:%012d" % number


#: Its kind, the address that it has to go to (None: any), and its bytes.
Pipeline = tuple[str, Address | None, bytes]


def prepared(plan: Plan, owners: Sequence[Sequence[Address]] | None) -> list[Pipeline]:
    """Pipelines made beforehand, so that the load costs little while it is timed.

    Args:
        owners: for each slot, the addresses of its leader and its replicas; None: any node has any
            key.
    """
    chance = random.Random(plan.seed)
    value = chance.randbytes(plan.value_bytes)

    def command(kind: str, number: int) -> bytes:
        key = key_of(number)
        return packed((b"SET", key, value) if kind == "set" else (b"GET", key))

    kinds = [kind for kind in KINDS if plan.mix.get(kind, 0) > 0]
    weights = [plan.mix[kind] for kind in kinds]
    made: list[Pipeline] = []
    for kind in chance.choices(kinds, weights, k=PREPARED):
        chosen = [chance.randrange(plan.keys)]
        address = None
        if owners is not None:
            who = owners[redis_slot(key_of(chosen[0]))]
            address = chance.choice(who[1:] or who) if kind == "readonly" else who[0]
        while len(chosen) < plan.pipeline:
            number = chance.randrange(plan.keys)
            if owners is not None:  # only keys of the same node
                there = owners[redis_slot(key_of(number))]
                if address not in (there if kind == "readonly" else there[:1]):
                    continue
            chosen.append(number)
        made.append((kind, address, b"".join(command(kind, number) for number in chosen)))
    return made


class Link(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reader = hiredis.Reader()
        self.transport: Any = None
        self.expected = 0
        #: Of the replies to the pipeline under way, those that were errors.
        self.failed = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        try:
            while self.expected and (reply := self.reader.gets()) is not False:
                self.expected -= 1
                if type(reply) is hiredis.ReplyError:
                    self.failed += 1
                    self.client.load.error(str(reply))
                if not self.expected:
                    failed, self.failed = self.failed, 0
                    self.client.answered(failed)
        except hiredis.ProtocolError:
            self.client.load.error("no RESP")
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.client.lost(self)


class Client:
    """Sends, waits for the answer, and sends again."""

    def __init__(self, load: Load, number: int) -> None:
        self.load = load
        self.number = number
        self.links: dict[tuple[Address, bool], Link] = {}
        self.at = number * 7919 % PREPARED
        self.started = 0.0
        self.due = 0.0
        self.kind = ""
        self.left = -1
        self.busy: Link | None = None
        self.stopped = asyncio.Event()

    async def link(self, address: Address, readonly: bool) -> Link:
        """A connection to this node, open already or new.

        Raises:
            OSError: nobody answers there.
            RespError: it refuses the password, or asks for one.
        """
        found = self.links.get((address, readonly))
        if found is not None:
            return found
        loop = asyncio.get_running_loop()
        hello: list[Command] = []
        if self.load.plan.password:
            hello.append((b"AUTH", self.load.plan.password.encode()))
        if readonly:
            hello.append((b"READONLY",))
        hello.append((b"PING",))  # an error where a password is missing
        async with asyncio.timeout(CONNECT_SECONDS):
            _, made = await loop.create_connection(lambda: Link(self), *address, ssl=self.load.ssl)
        for command in hello:  # answered before anything else, and not counted
            made.transport.write(packed(command))
        made.expected = 0
        await _skip(made, len(hello))
        self.links[address, readonly] = made
        return made

    def begin(self, due: float) -> None:
        """Send the first pipeline, at its time."""
        self.due = due
        self._next()

    def _next(self) -> None:
        load = self.load
        if load.ended or self.left == 0:
            self.stopped.set()
            return
        self.left -= 1
        now = time.perf_counter()
        if load.interval:
            if now < self.due:
                load.loop.call_later(self.due - now, self._on_time)
                return
            self.started = self.due
            self.due += load.interval
        else:
            self.started = now
        self._send()

    def _on_time(self) -> None:
        """The pipeline's time has come; how late the timer is, is not the server's fault."""
        self.started = time.perf_counter()
        late = int((self.started - self.due) * 1e6)
        if late > self.load.result.late_us:
            self.load.result.late_us = late
        self.due += self.load.interval
        if self.load.ended:
            self.stopped.set()
        else:
            self._send()

    def _send(self) -> None:
        load = self.load
        pipelines = load.prepared
        self.kind, address, data = pipelines[self.at]
        self.at = (self.at + 1) % len(pipelines)
        home = address or load.home(self.number)
        link = self.links.get((home, self.kind == "readonly"))
        if link is None:
            load.spawn(self._send_later(home, data))
            return
        link.expected = load.plan.pipeline
        self.busy = link
        link.transport.write(data)

    async def _send_later(self, address: Address, data: bytes) -> None:
        """Connect first."""
        try:
            link = await self.link(address, self.kind == "readonly")
        except (OSError, hiredis.HiredisError, RespError) as error:
            self.load.error(str(error) if isinstance(error, RespError) else type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            self.load.look_again(self.number)
            self._next()
            return
        link.expected = self.load.plan.pipeline
        self.busy = link
        link.transport.write(data)

    def answered(self, failed: int) -> None:
        """All replies of the pipeline are there; so many of them are errors."""
        self.busy = None
        now = time.perf_counter()
        self.load.count(self.kind, int((now - self.started) * 1e6), self.started, failed)
        self._next()

    def lost(self, link: Link) -> None:
        """A connection is gone, and what waited for it is not known."""
        for where in [where for where, each in self.links.items() if each is link]:
            del self.links[where]
        if self.busy is link:
            self.busy = None
            self.load.error("connection lost", link.expected)
            if self.load.ended:
                self.stopped.set()
                return
            self.load.look_again(self.number)
            self.load.loop.call_later(RETRY_SECONDS, self._next)

    def close(self) -> None:
        """Close all connections."""
        for link in list(self.links.values()):
            link.transport.abort()
        self.links.clear()


async def _skip(link: Link, count: int) -> None:
    """Wait for so many replies that are not counted.

    Raises:
        OSError: they do not come.
        RespError: one of them is an error.
    """
    done = asyncio.get_running_loop().create_future()
    client = link.client

    class Skip:
        @property
        def load(self) -> Skip:
            return self

        def error(self, text: str) -> None:
            if not done.done():
                done.set_exception(RespError(text))

        def answered(self, failed: int) -> None:
            if not done.done():
                done.set_result(None)

        def lost(self, link: Link) -> None:
            if not done.done():
                done.set_exception(ConnectionResetError("closed"))

    link.expected = count
    link.client = Skip()  # type: ignore[assignment]
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await done
    except BaseException:
        link.transport.abort()
        raise
    finally:
        link.client = client


class Load:
    """All clients of this process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self.result = Result()
        self.ended = False
        self.ssl = tls(plan.ca)
        self.interval = plan.clients * plan.pipeline / plan.rate if plan.rate else 0.0
        self.counts_from = 0.0
        self.done = 0
        self.prepared: list[Pipeline] = [] if plan.cluster else prepared(plan, None)
        self.clients = [Client(self, number) for number in range(plan.clients)]
        self._homes = list(plan.nodes)
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = False
        if plan.requests:
            pipelines = max(1, -(-plan.requests // plan.pipeline))
            for client in self.clients:
                client.left = pipelines // plan.clients + (client.number < pipelines % plan.clients)

    # --- what clients call ----------------------------------------------------------------------

    def home(self, number: int) -> Address:
        """The node that a client talks to when any will do."""
        return self._homes[number % len(self._homes)]

    def count(self, kind: str, us: int, started: float, failed: int) -> None:
        """A pipeline was answered, so many of its commands by errors: these were not done."""
        self.done += self.plan.pipeline
        if started >= self.counts_from and failed < self.plan.pipeline:
            histogram = self.result.histograms.get(kind)
            if histogram is None:
                histogram = self.result.histograms[kind] = Histogram()
            histogram.add(us, self.plan.pipeline - failed)

    def error(self, text: str, count: int = 1) -> None:
        """Something was no answer; `MOVED` makes us look again who leads."""
        first = text.partition(" ")[0]
        kind = first[:40] if first.isupper() else text[:40]
        if not self.ended:
            self.result.errors[kind] += count
            self.result.examples.setdefault(kind, text[:200])
        if kind == "MOVED":
            self.look_again(0)

    def spawn(self, work: Any) -> None:
        """Run a coroutine beside the rest."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def look_again(self, number: int) -> None:
        """A node does not do: take others, or in a cluster ask who has which slots now."""
        if not self.plan.cluster:
            if len(self._homes) > 1 and number < len(self._homes):
                self._homes = self._homes[1:] + self._homes[:1]
        elif not self._looking:
            self._looking = True
            self.spawn(self._look())

    async def _look(self) -> None:
        try:
            await asyncio.sleep(RETRY_SECONDS)
            self.prepared = prepared(self.plan, await owners_of(self.plan))
        except OSError as error:
            self.error(type(error).__name__)
        finally:
            self._looking = False

    # --- the run --------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Connect, and fill keys if asked.

        Raises:
            OSError: a node cannot be reached.
            RespError: it refuses the password, or asks for one.
        """
        if self.plan.cluster:
            self.prepared = prepared(self.plan, await owners_of(self.plan))
        else:
            readonly = self.plan.mix.get("readonly", 0) > 0
            strong = self.plan.mix.get("set", 0) + self.plan.mix.get("get", 0) > 0
            for client in self.clients:
                if strong:
                    await client.link(self.home(client.number), False)
                if readonly:
                    await client.link(self.home(client.number), True)
        if self.plan.fill:
            await fill(self.plan)

    async def run(self, report: Any) -> Result:
        """Load until the end; `report` is called from time to time with what is done."""
        begun = time.perf_counter()
        self.counts_from = begun + self.plan.warmup
        for client in self.clients:
            client.begin(begun + self.interval * client.number / max(1, len(self.clients)))
        end = begun + self.plan.warmup + self.plan.seconds if self.plan.seconds else float("inf")
        waits = asyncio.gather(*(client.stopped.wait() for client in self.clients))
        while not waits.done() and (now := time.perf_counter()) < end:
            await asyncio.wait([waits], timeout=min(REPORT_SECONDS, end - now))
            report({"done": self.done, "errors": self.result.errors.total()})
        self.ended = True
        self.result.seconds = max(0.0, time.perf_counter() - self.counts_from)
        for client in self.clients:
            if client.busy is None:
                client.stopped.set()
        await asyncio.wait([waits], timeout=LAST_SECONDS)
        waits.cancel()
        for client in self.clients:
            client.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(waits, *self._tasks, return_exceptions=True)
        return self.result


async def owners_of(plan: Plan) -> list[list[Address]]:
    """For each slot, the addresses of its leader and its replicas, by the first node that answers.

    Raises:
        OSError: none does, or what it says leaves slots out.
    """
    from ringleader.cli.resp import Connection, RespError

    reason: Exception = OSError("there is no node")
    for host, port in plan.nodes:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await Connection.open(host, port, password=plan.password, ca=plan.ca)
                try:
                    ranges = await connection.call(b"CLUSTER", b"SLOTS")
                finally:
                    connection.close()
        except (OSError, RespError) as error:
            reason = error
            continue
        owners: list[list[Address]] = [[] for _ in range(SLOTS)]
        for first, last, *nodes in ranges:
            addresses = [(each[0].decode() or host, each[1]) for each in nodes]
            for slot in range(first, last + 1):
                owners[slot] = addresses
        if all(owners):
            return owners
        reason = OSError("some slots have no leader now")
    raise OSError(f"no node tells who has which slots: {reason}") from reason


async def fill(plan: Plan) -> None:
    """Write this process' part of the keys once.

    Raises:
        OSError: a write was refused again and again.
        RespError: the password is refused.
    """
    from ringleader.cli.resp import Connection

    value = random.Random(plan.seed).randbytes(plan.value_bytes)
    connection = await Connection.open(*plan.nodes[0], password=plan.password, ca=plan.ca)
    try:
        left = list(range(plan.first_key, plan.first_key + plan.fill_keys))
        for _ in range(100):
            again = []
            for at in range(0, len(left), 512):
                numbers = left[at : at + 512]
                futures = connection.send([(b"SET", key_of(n), value) for n in numbers])
                replies = await asyncio.gather(*futures)
                again += [
                    number
                    for number, reply in zip(numbers, replies, strict=True)
                    if isinstance(reply, hiredis.ReplyError)
                ]
            if not again:
                return
            left = again
            await asyncio.sleep(RETRY_SECONDS)
        raise OSError(f"{len(left)} keys could not be written")
    finally:
        connection.close()


def main() -> None:
    """See the module's text."""
    try:
        import uvloop

        loop_factory: Any = uvloop.new_event_loop
    except ImportError:  # Windows
        loop_factory = None

    def tell(what: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    plan = Plan.from_json(sys.stdin.readline())

    async def work() -> None:
        load = Load(plan)
        try:
            await load.ready()
        except (OSError, hiredis.HiredisError, RespError) as error:
            for client in load.clients:
                client.close()
            tell({"failed": str(error) or type(error).__name__})
            return
        tell({"ready": True})
        await load.loop.run_in_executor(None, sys.stdin.readline)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        result = await load.run(tell)
        tell({"result": result.to_json()})

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(work())


def _end_with_parent() -> None:
    """Whoever started us is gone when standard input ends."""
    while sys.stdin.readline():
        pass
    os._exit(1)


if __name__ == "__main__":
    main()


__all__ = ["KINDS", "Load", "Plan", "Result", "asdict", "main"]
