"""What clients did to a cluster, and whether a single honest copy could have answered so.

    with Load(cluster, seed=1) as load:
        ...                                  # kill, stop, cut
    load.verify()                            # when the cluster serves again

Every client has one connection, to a node chosen at random, and goes to another when that one
fails.  What it knows of an operation in the end is one of

    an answer       the operation stands in the history with its result
    refused         the cluster says that it was certainly not done: it is left out
    unknown         `-UNCERTAIN`, a time-out, a lost connection: it may have happened, or may yet

Three kinds of keys are used: registers, whose history must be linearizable; keys written once,
which must all be there in the end when their write was acknowledged; counters, which must have
counted every acknowledged increment once, and no more than were tried.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import hiredis
from cluster.processes import Cluster, Node, wait_until

from ringleader.sim.linearizability import UNKNOWN, Operation, RegisterModel, check

#: Errors that promise that nothing was done.
REFUSALS = ("TRYAGAIN", "CLUSTERDOWN", "MOVED", "LOADING", "MASTERDOWN", "STALE", "BUSY")
UNCERTAIN = "UNCERTAIN"
#: How long the registers of one generation are used: so many operations can be checked at once.
GENERATION_SECONDS = 1.0
REGISTERS = 5
COUNTERS = 4
#: After this a client gives its operation up, and the outcome is unknown.
OPERATION_SECONDS_MAX = 4.0
CONNECT_SECONDS_MAX = 1.0
PIPELINE_MAX = 6
BALLAST_SHARE = 0.2
WATCHED_SHARE = 0.06
ORDERED_SHARE = 0.06
BALLAST_KEYS = 50
STEPS_MAX = 3_000_000


@dataclass
class Tally:
    """What came of the operations."""

    done: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.done} done, refused {dict(self.refused)}, unknown {dict(self.unknown)}, "
            f"unexpected {self.unexpected[:5]}"
        )


class Load:
    """Clients that work in a thread of their own until the block ends.

    Attributes:
        history: the operations on registers.
        written: key -> value of every acknowledged write to a key that is written once.
        answers: counter -> the numbers that its increments answered.
        attempts: counter -> increments that were sent and not refused.
        acknowledged: when writes were acknowledged (time.monotonic).
    """

    def __init__(
        self,
        cluster: Cluster,
        seed: int,
        *,
        clients: int = 8,
        think_seconds: float = 0.004,
        operation_seconds_max: float = OPERATION_SECONDS_MAX,
        clients_of: Sequence[str] | None = None,
        ballast_bytes: int = 0,
    ) -> None:
        self.cluster = cluster
        self.seed = seed
        self.client_count = clients
        self.think_seconds = think_seconds
        self.operation_seconds_max = operation_seconds_max
        #: Of values that nobody looks at, which make logs and snapshots long.
        self.ballast_bytes = ballast_bytes
        #: Datacenters whose nodes the clients talk to; None: all.
        self.clients_of = clients_of
        self.history: list[Operation] = []
        self.written: dict[str, bytes] = {}
        self.answers: dict[str, list[int]] = {}
        self.attempts: Counter[str] = Counter()
        self.acknowledged: list[float] = []
        self.tally = Tally()
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._failure: BaseException | None = None

    # --- running ---------------------------------------------------------------------------------

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join()
        if error is not None:
            error.add_note(f"load: {self.tally}")
        elif self._failure is not None:
            raise self._failure

    def wait_for_progress(self, count: int = 20, seconds: float = 60.0) -> None:
        """Until so many more writes were acknowledged."""
        target = len(self.acknowledged) + count
        wait_until(
            lambda: len(self.acknowledged) >= target or self._failure,
            f"{count} more acknowledged writes ({self.tally})",
            seconds,
        )

    def longest_pause(self, since: float = 0.0) -> float:
        """The longest time, in seconds, between two acknowledged writes after `since`."""
        times = [at for at in self.acknowledged if at >= since]
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def _run(self) -> None:
        try:
            asyncio.run(self._clients())
        except BaseException as error:
            self._failure = error

    async def _clients(self) -> None:
        tasks = [asyncio.create_task(self._client(number)) for number in range(self.client_count)]
        await asyncio.gather(*tasks)

    async def _client(self, number: int) -> None:
        rng = random.Random(f"{self.seed}/{number}")
        serial = 0
        while not self._stopping.is_set():
            nodes = [
                node
                for node in self.cluster.nodes.values()
                if self.clients_of is None or node.dc in self.clients_of
            ]
            link = await self._connect(rng.choice(nodes))
            if link is None:
                await asyncio.sleep(0.05)
                continue
            try:
                while not self._stopping.is_set():
                    count = rng.randint(2, PIPELINE_MAX) if rng.random() < 0.15 else 1
                    calls = []
                    for _ in range(count):
                        serial += 1
                        calls.append(self._choose(rng, f"{number}.{serial}"))
                    client = f"{number}/{serial}"
                    kind = rng.random()
                    if kind < WATCHED_SHARE:
                        serial += 1
                        going = await self._watched(client, link, rng, f"{number}.{serial}")
                    elif kind < WATCHED_SHARE + ORDERED_SHARE:
                        serial += 1
                        going = await self._ordered(link, f"ordered:{number}.{serial}")
                    else:
                        going = await self._perform(client, link, calls)
                    if not going:
                        break
                    await asyncio.sleep(self.think_seconds * 2 * rng.random())
            finally:
                link.close()

    async def _connect(self, node: Node) -> _Link | None:
        sock = self.cluster.socket_to(node)
        sock.setblocking(False)
        try:
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                await loop.sock_connect(sock, (node.host, node.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # TimeoutError too
            sock.close()
            return None
        return _Link(sock)

    def _choose(self, rng: random.Random, unique: str) -> _Call:
        if self.ballast_bytes and rng.random() < BALLAST_SHARE:
            key = f"ballast:{rng.randrange(BALLAST_KEYS)}"
            return _Call("ballast", key, ("SET", key, rng.randbytes(self.ballast_bytes)))
        kind = rng.random()
        if kind < 0.15:
            return _Call("once", f"once:{unique}", ("SET", f"once:{unique}", f"v{unique}"))
        if kind < 0.25:
            key = f"counter:{rng.randrange(COUNTERS)}"
            return _Call("counter", key, ("INCR", key))
        key = self._register(rng)
        if kind < 0.55:
            return _Call("get", key, ("GET", key))
        if kind < 0.6:
            other = self._register(rng)
            pairs = (key, unique) if other == key else (key, unique, other, unique)
            return _Call("several", key, ("MSET", *pairs), ("set", unique.encode()))
        if kind < 0.85:
            return _Call("set", key, ("SET", key, unique), ("set", unique.encode()))
        if kind < 0.95:
            known = [
                op.call[1]
                for op in self.history[-50:]
                if op.key == key and op.call[1:2] not in ((), (None,))
            ]
            old = rng.choice(known) if known else b"none"
            call = ("cas", old, unique.encode())
            return _Call("cas", key, ("SET", key, unique, "IFEQ", old), call)
        return _Call("delete", key, ("DEL", key), ("delete",))

    async def _perform(self, client: str, link: _Link, calls: Sequence[_Call]) -> bool:
        """Send the calls together and take their answers; whether the connection is of use still.

        Calls sent together count as concurrent.
        """
        invoked = time.monotonic()
        answered = 0
        problem = ""
        try:
            async with asyncio.timeout(self.operation_seconds_max):
                await link.send([call.command for call in calls])
                for call in calls:
                    reply = await link.reply()
                    answered += 1
                    self._answered(client, call, reply, invoked, time.monotonic())
        except TimeoutError:
            problem = "time-out"
        except OSError:
            problem = "lost connection"
        for call in calls[answered:]:
            self._unknown(client, call, problem, invoked)
        return not problem

    async def _watched(self, client: str, link: _Link, rng: random.Random, unique: str) -> bool:
        """Read a register and set it, in a transaction that fails if it was changed in between;
        whether the connection is of use still.

        A transaction that was done set the register from what was read.  One that was not, because
        somebody touched the key, did nothing, and says nothing about its value.
        """
        key = self._register(rng)
        invoked: float | None = None
        call = _Call("cas", key, ("EXEC",))
        try:
            async with asyncio.timeout(self.operation_seconds_max):
                await link.send([("WATCH", key), ("GET", key)])
                watched, old = await link.reply(), await link.reply()
                if isinstance(watched, Exception) or isinstance(old, Exception):
                    await link.send([("UNWATCH",)])
                    return not isinstance(await link.reply(), Exception)
                call = _Call("cas", key, ("EXEC",), ("cas", old, unique.encode()))
                invoked = time.monotonic()
                await link.send([("MULTI",), ("SET", key, unique), ("EXEC",)])
                for _ in range(2):
                    await link.reply()
                reply = await link.reply()
        except OSError as error:  # TimeoutError too
            if invoked is not None:
                why = "time-out" if isinstance(error, TimeoutError) else "lost connection"
                self._unknown(client, call, why, invoked)
            return False
        if reply is None:
            self.tally.refused["watched"] += 1
        else:
            good = reply if isinstance(reply, Exception) else b"OK"
            self._answered(client, call, good, invoked, time.monotonic())
        return True

    async def _ordered(self, link: _Link, key: str) -> bool:
        """Write and read a key of one's own in one pipeline, whose commands are done in order;
        whether the connection is of use still."""
        values = [b"1", b"2", b"3"]
        commands: list[tuple[Any, ...]] = []
        for value in values:
            commands += [("SET", key, value), ("GET", key)]
        possible: set[bytes | None] = {None}
        doubtful: set[bytes | None] = set()
        try:
            async with asyncio.timeout(self.operation_seconds_max):
                await link.send(commands)
                for value in values:
                    done, seen = await link.reply(), await link.reply()
                    if not isinstance(done, Exception):
                        # What was uncertain before may still come.
                        possible = {value, *doubtful}
                        self.tally.done += 1
                        self.acknowledged.append(time.monotonic())
                    elif str(done).startswith(UNCERTAIN):
                        doubtful.add(value)
                        possible.add(value)
                        self.tally.unknown[UNCERTAIN] += 1
                    else:
                        self.tally.refused[str(done).split(" ", 1)[0]] += 1
                    if not isinstance(seen, Exception) and seen not in possible:
                        self.tally.unexpected.append(
                            f"{key} was {seen!r}, of {possible}, after SET {value!r}: {done!r}"
                        )
        except OSError:  # TimeoutError too
            self.tally.unknown["a pipeline"] += 1
            return False
        return True

    def _register(self, rng: random.Random) -> str:
        generation = int((time.monotonic() - self._began) / GENERATION_SECONDS)
        return f"register:{self.seed}:{generation}:{rng.randrange(REGISTERS)}"

    # --- outcomes --------------------------------------------------------------------------------

    def _answered(
        self, client: str, call: _Call, reply: Any, invoked: float, returned: float
    ) -> None:
        if isinstance(reply, Exception):
            code = str(reply).split(" ", 1)[0]
            if code == UNCERTAIN:
                self._unknown(client, call, code, invoked)
            elif code in REFUSALS:
                self.tally.refused[code] += 1
            else:
                self.tally.unexpected.append(f"{call.command}: {reply}")
                self._unknown(client, call, "unexpected", invoked)
            return
        result: Any = reply
        if call.kind == "once":
            self.written[call.key] = str(call.command[2]).encode()
        elif call.kind == "counter":
            self.attempts[call.key] += 1
            self.answers.setdefault(call.key, []).append(reply)
        elif call.kind != "ballast":
            if call.kind in {"set", "several"}:
                result = None
            elif call.kind == "cas":
                result = reply is not None
            elif call.kind == "delete":
                result = reply == 1
            for key in call.keys:
                self.history.append(Operation(client, key, call.model, result, invoked, returned))
        self.tally.done += 1
        if call.kind != "get":
            self.acknowledged.append(returned)

    def _unknown(self, client: str, call: _Call, why: str, invoked: float) -> None:
        self.tally.unknown[why] += 1
        if call.kind == "counter":
            self.attempts[call.key] += 1
        elif call.kind not in {"get", "once", "ballast"}:
            for key in call.keys:
                self.history.append(Operation(client, key, call.model, UNKNOWN, invoked, None))

    # --- verdicts --------------------------------------------------------------------------------

    def verify(self) -> None:
        """Read everything once more, through every node that runs, and check it all.

        Raises:
            AssertionError: an acknowledged write is lost or the history is not linearizable.
        """
        assert not self._thread.is_alive(), "verify after the block"
        assert not self.tally.unexpected, self.tally.unexpected[:10]
        assert self.tally.done > 0, self.tally
        nodes = self.cluster.up()
        lost = self._lost(nodes[0])
        assert not lost, f"{len(lost)} acknowledged writes are lost, such as {lost[:5]}"
        for node in nodes:
            self._count(node)
        self._read_registers(nodes[-1])
        verdict = check(self.history, RegisterModel(), steps_max=STEPS_MAX)
        assert verdict.ok, str(verdict)

    def _lost(self, node: Node) -> list[str]:
        keys = list(self.written)
        found = read_all(self.cluster, node.name, keys)
        return [
            f"{key} = {value!r}"
            for key, value in zip(keys, found, strict=True)
            if value != self.written[key]
        ]

    def _count(self, node: Node) -> None:
        for key, answers in self.answers.items():
            assert len(set(answers)) == len(answers), f"{key} answered a number twice"
            (value,) = read_all(self.cluster, node.name, [key])
            total = int(value or 0)
            assert max(answers) <= total, f"{key} is {total} at {node.name}, was {max(answers)}"
            assert len(answers) <= total <= self.attempts[key], (
                f"{key} is {total} at {node.name}; {len(answers)} increments were acknowledged, "
                f"{self.attempts[key]} tried"
            )

    def _read_registers(self, node: Node) -> None:
        keys = list(dict.fromkeys(op.key for op in self.history))
        invoked = time.monotonic()
        values = read_all(self.cluster, node.name, [str(key) for key in keys])
        returned = time.monotonic()
        for key, value in zip(keys, values, strict=True):
            self.history.append(Operation("the end", key, ("get",), value, invoked, returned))


@dataclass(frozen=True, slots=True)
class _Call:
    kind: str
    key: str
    command: tuple[Any, ...]
    #: What the model is told.
    model: tuple[Any, ...] = ("get",)

    @property
    def keys(self) -> tuple[str, ...]:
        """Of "several", which are atomic one by one, all."""
        return self.command[1::2] if self.kind == "several" else (self.key,)


class _Link:
    """A client's connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = hiredis.Reader()

    async def send(self, commands: Sequence[tuple[Any, ...]]) -> None:
        data = b"".join(hiredis.pack_command(command) for command in commands)
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def reply(self) -> Any:
        loop = asyncio.get_running_loop()
        while True:
            reply = self._reader.gets()
            if reply is not False:
                return reply
            data = await loop.sock_recv(self._sock, 65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)

    def close(self) -> None:
        with suppress(OSError):
            self._sock.close()


def read_all(cluster: Cluster, name: str, keys: Sequence[str], seconds: float = 30.0) -> list[Any]:
    """The values of these keys, linearizable, through one node; tries again what is refused."""
    values: dict[str, Any] = {}
    missing = list(dict.fromkeys(keys))
    until = time.monotonic() + seconds
    while missing:
        refused: list[str] = []
        with cluster.connect(name) as connection:
            for at in range(0, len(missing), 200):
                part = missing[at : at + 200]
                connection.send(*(("GET", key) for key in part))
                for key in part:
                    value = connection.reply()
                    if isinstance(value, Exception):
                        refused.append(key)
                        assert time.monotonic() < until, f"{name} does not answer {key}: {value}"
                    else:
                        values[key] = value
        missing = refused
        if refused:
            time.sleep(0.1)
    return [values[key] for key in keys]
