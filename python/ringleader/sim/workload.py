"""What the clients of a simulated group do: a key-value machine, and the history of its use.

A command names itself (client and number), so that the checker knows one that was applied twice, or
applied though it was refused.  What a client knows of its operation in the end is one of

    an answer       the operation stands in the history with its result
    refused         it certainly never happened: it is tried again elsewhere, and in the end left
                    out
    unknown         a time-out, a crash, an outcome that the driver calls unknown: it stays open,
                    and the client goes on under another name, as a client does that reconnects
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from ringleader.consensus.membership import NodeId
from ringleader.consensus.ready import SnapshotSource
from ringleader.errors import FormatError
from ringleader.sim.linearizability import Operation, RegisterModel, check

if TYPE_CHECKING:
    from ringleader.consensus.log import Entries
    from ringleader.sim.clock import Clock, Timer
    from ringleader.sim.cluster import Cluster, SimNode

SET, CAS, APPEND, DELETE = b"SCAD"
NAMES = {SET: "set", CAS: "cas", APPEND: "append", DELETE: "delete"}
_ABSENT = 0xFFFF

#: Operation, key, client, number of the command, length of the expected value (cas).
_COMMAND = struct.Struct("<BBIIH")
#: What stands before a command of `ringleader.sim.user`: 0, the client and its number.
USER_COMMAND = struct.Struct(">BIQ")
_SNAPSHOT = struct.Struct("<QII")  # index, chain, count of keys
_PAIR = struct.Struct("<BI")
#: Values longer than this are set anew rather than appended to.
VALUE_BYTES_MAX = 48
#: The name under which commands come that no client waits for.
BURST_CLIENT = 2**32 - 1
BURST_KEY = 200
BURST_MAX = 60


class Machine(Protocol):
    """A scenario's state machine.

    index, chain    the last command applied, and the checker's CRC of all up to it: they travel
                    with a snapshot, so that a state that is not what it says is seen when it is
                    restored.
    """

    index: int
    chain: int

    def run_all(self, entries: Entries, items: Sequence[tuple[int, bytes]]) -> Sequence[Any]:
        """Apply the commands of `entries`, which `items` lists; a result for each."""
        ...

    def state(self) -> object:
        """What is equal on all nodes that have applied the same."""
        ...

    def snapshot(self) -> bytes: ...
    def restore(self, source: SnapshotSource) -> None: ...


class Scenario(Protocol):
    """What is replicated in a simulated group, and what its clients do."""

    def machine(self, cluster: Cluster, node: NodeId) -> Machine:
        """A machine for a node that begins a life."""
        ...

    def workload(
        self,
        cluster: Cluster,
        seed: int,
        *,
        clients: int,
        keys: int,
        think_us: int,
        timeout_us: int,
    ) -> Workload: ...

    def problem(self, history: Sequence[Operation]) -> str:
        """What is wrong with the clients' history; "" when nothing is.

        Raises:
            Undecided: it would take too long to tell.
        """
        ...


class Undecided(Exception):
    """A history whose check was given up."""


class KeyValue:
    """The scenario of `ringleader simulate`: a map, whose clients' history must be linearizable."""

    def machine(self, cluster: Cluster, node: NodeId) -> Machine:
        return KeyValueMachine(cluster.ballast)

    def workload(
        self,
        cluster: Cluster,
        seed: int,
        *,
        clients: int,
        keys: int,
        think_us: int,
        timeout_us: int,
    ) -> Workload:
        return Workload(
            cluster, seed, clients=clients, keys=keys, think_us=think_us, timeout_us=timeout_us
        )

    def problem(self, history: Sequence[Operation]) -> str:
        verdict = check(history, RegisterModel())
        if verdict.outcome == "unknown":
            raise Undecided(str(verdict))
        return "" if verdict.ok else str(verdict)


def encode(
    op: int, key: int, client: int, number: int, value: bytes = b"", expected: bytes | None = None
) -> bytes:
    length = _ABSENT if expected is None else len(expected)
    return _COMMAND.pack(op, key, client, number, length) + (expected or b"") + value


def describe(command: bytes) -> str:
    """A command in words, for the story of a failure."""
    if command[:1] == b"\0" and len(command) >= USER_COMMAND.size:
        _, client, number = USER_COMMAND.unpack_from(command)
        return f"{command[USER_COMMAND.size :]!r} by {client}/{number}"
    if len(command) < _COMMAND.size or command[0] not in NAMES:
        return repr(command)
    op, key, client, number, _ = _COMMAND.unpack_from(command)
    rest = command[_COMMAND.size :].decode(errors="replace")
    return f"{NAMES[op]}(k{key}, {rest!r}) by {client}/{number}"


class KeyValueMachine:
    """A map of small integers to bytes.

    index, chain    the last command applied, and the checker's CRC of all up to it: they travel
                    with a snapshot, so that a state that is not what it says is seen when it is
                    restored.
    """

    __slots__ = ("ballast", "chain", "data", "index")

    def __init__(self, ballast: int = 0) -> None:
        self.data: dict[int, bytes] = {}
        self.index = 0
        self.chain = 0
        #: Filling of a snapshot, so that it takes several chunks.
        self.ballast = ballast

    def run_all(self, entries: Entries, items: Sequence[tuple[int, bytes]]) -> Sequence[Any]:
        run = self.run
        return [run(command) for _, command in items]

    def state(self) -> object:
        return self.data

    def run(self, command: bytes) -> Any:
        """Apply one command and return its result."""
        op, key, _, _, length = _COMMAND.unpack_from(command)
        data = self.data
        if op == SET:
            data[key] = command[_COMMAND.size :]
            return None
        if op == CAS:
            expected: bytes | None = None
            at = _COMMAND.size
            if length != _ABSENT:
                at += length
                expected = command[_COMMAND.size : at]
            if data.get(key) != expected:
                return False
            data[key] = command[at:]
            return True
        if op == APPEND:
            data[key] = value = data.get(key, b"") + command[_COMMAND.size :]
            return len(value)
        if op == DELETE:
            return data.pop(key, None) is not None
        raise FormatError(f"a command of kind {op}")

    def snapshot(self) -> bytes:
        parts = [_SNAPSHOT.pack(self.index, self.chain, len(self.data))]
        for key, value in sorted(self.data.items()):
            parts += [_PAIR.pack(key, len(value)), value]
        parts.append(struct.pack("<I", self.chain ^ self.index) * (self.ballast // 4))
        body = b"".join(parts)
        return struct.pack("<I", zlib.crc32(body)) + body

    def restore(self, source: SnapshotSource) -> None:
        """Replace the state.

        Raises:
            FormatError: the bytes are not what `snapshot` gave.
        """
        whole = source.read(0, source.total_bytes)
        (crc,) = struct.unpack_from("<I", whole)
        body = whole[4:]
        if zlib.crc32(body) != crc:
            raise FormatError(f"a snapshot of {len(whole)} bytes is damaged")
        self.index, self.chain, count = _SNAPSHOT.unpack_from(body)
        at = _SNAPSHOT.size
        self.data = {}
        for _ in range(count):
            key, length = _PAIR.unpack_from(body, at)
            at += _PAIR.size
            self.data[key] = body[at : at + length]
            at += length


class Call:
    """An operation as its client sees it; `closed` makes an `Operation` of the history of it."""

    __slots__ = ("call", "client", "invoked", "key", "result", "returned")

    def __init__(self, client: int, key: int, call: tuple[Any, ...], invoked: int) -> None:
        self.client = client
        self.key = key
        self.call = call
        self.invoked = invoked
        self.result: Any = None
        self.returned: int | None = None

    def closed(self) -> Operation:
        return Operation(self.client, self.key, self.call, self.result, self.invoked, self.returned)

    def __repr__(self) -> str:
        return f"{self.call} on k{self.key}"


class Pending:
    """One attempt of an operation; the driver calls it with the outcome."""

    __slots__ = ("client", "floor", "node", "operation", "serial", "settled")

    def __init__(self, client: Client, operation: Call, serial: int, node: NodeId) -> None:
        self.client = client
        self.operation = operation
        self.serial = serial
        self.node = node
        self.floor = 0
        self.settled = False

    def __call__(self, outcome: Any) -> None:
        self.client.settle(self, outcome)


class Client:
    """Does one operation after the other.

    serial      number of its operation; answers to earlier ones complete the history only.
    waiting     the attempt that is out, or None.
    """

    __slots__ = (
        "answered",
        "clock",
        "cluster",
        "command",
        "deadline",
        "leader",
        "name",
        "number",
        "operation",
        "rng",
        "serial",
        "stopped",
        "waiting",
        "workload",
    )

    def __init__(self, workload: Workload, number: int, seed: int) -> None:
        self.workload = workload
        self.cluster = workload.cluster
        self.clock: Clock = workload.cluster.clock
        self.number = number
        self.name = number
        self.rng = Random(seed)
        self.serial = 0
        self.operation: Call | None = None
        self.command: bytes | None = None
        self.deadline: Timer | None = None
        self.waiting: Pending | None = None
        self.leader: NodeId | None = None
        self.stopped = False
        self.answered = 0

    # --- one operation after the other -------------------------------------------------------

    def begin(self, _: None = None) -> None:
        """Start the next operation."""
        if self.stopped:
            return
        workload = self.workload
        self.serial += 1
        key, call, self.command = workload.draw(self)
        self.operation = workload.invoke(self, key, call)
        self.deadline = self.clock.timer(workload.timeout_us, self.expire, self.serial)
        self.attempt(self.serial)

    def attempt(self, serial: int) -> None:
        """Try the operation at some node: the leader, if one is known, but not always."""
        if serial != self.serial or self.operation is None or self.stopped:
            return
        rng = self.rng
        nodes = self.cluster.members
        target = self.leader
        if target is None or target not in nodes or rng.random() < self.workload.elsewhere:
            target = nodes[rng.randrange(len(nodes))]
        self.leader = None
        pending = Pending(self, self.operation, serial, target)
        self.waiting = pending
        self.workload.submit(pending, self.command)

    def again(self) -> None:
        self.waiting = None
        delay_us = self.workload.retry_us
        self.clock.after(delay_us + self.rng.randrange(delay_us), self.attempt, self.serial)

    def settle(self, pending: Pending, outcome: Any) -> None:
        """An attempt came to its end."""
        if pending.settled:
            self.cluster.checker.violate(15, pending.node, "settles one call twice")
        pending.settled = True
        current = pending is self.waiting
        kind = outcome.kind
        if kind == "applied":
            self.workload.answer(pending, outcome)
            if current:
                self.leader = pending.node
                self.answered += 1
                self.next()
        elif kind == "refused":
            if current:
                self.leader = outcome.leader
                self.again()
            else:
                self.workload.withdraw(pending)
        elif current:
            self.give_up()

    def expire(self, serial: int) -> None:
        """The operation took too long."""
        if serial != self.serial or self.operation is None:
            return
        self.deadline = None
        if self.waiting is None:  # it was refused, and is not under way anywhere
            self.workload.forget(self.operation)
            self.next()
        else:
            self.cluster.checker.coverage["operations timed out"] += 1
            self.give_up()

    def lose(self) -> None:
        """The node that this client waits for crashed."""
        self.cluster.checker.coverage["operations lost in a crash"] += 1
        self.give_up()

    def give_up(self) -> None:
        """Leave the operation open; go on as another client."""
        if self.command is None and self.operation is not None:
            self.workload.forget(self.operation)  # a read without an answer says nothing
        self.name += self.workload.clients_max
        self.next()

    def next(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None
        self.operation = None
        self.waiting = None
        self.serial += 1
        think_us = self.workload.think_us
        self.clock.after(1 + self.rng.randrange(2 * think_us), self.begin)


class Workload:
    """The clients, and the history of what they did.

    Args:
        clients: how many.
        keys: how many keys they share.
        think_us: mean pause between two operations of a client.
        timeout_us: then an operation is given up.
        read_share: of the operations.
        elsewhere: how often a client asks some node though it knows the leader.
    """

    def __init__(
        self,
        cluster: Cluster,
        seed: int,
        *,
        clients: int,
        keys: int,
        think_us: int,
        timeout_us: int,
        read_share: float = 0.4,
        elsewhere: float = 0.15,
    ) -> None:
        self.cluster = cluster
        self.keys = keys
        self.think_us = think_us
        self.timeout_us = timeout_us
        self.retry_us = max(1, timeout_us // 40)
        self.read_share = read_share
        self.elsewhere = elsewhere
        self.clients_max = 1000
        #: The last value that any client saw of a key: what it expects in a `cas`.
        self.seen: dict[int, bytes | None] = {}
        self.history: dict[int, Call] = {}
        #: Commands that were refused for good.
        self.refused: set[bytes] = set()
        self._by_command: dict[bytes, Call] = {}
        self._bursts = 0
        rng = Random(seed)
        self.clients = [self.client(number, rng.getrandbits(64)) for number in range(clients)]
        for client in self.clients:
            cluster.clock.after(rng.randrange(1, 2 * think_us), client.begin)

    def client(self, number: int, seed: int) -> Client:
        """A client of this workload's kind."""
        return Client(self, number, seed)

    def burst(self, node: SimNode, random: Random) -> None:
        """Propose many commands together, and do not wait for them.  Nobody reads their keys, so
        they are no part of the history; that none is applied twice or after a refusal is checked.
        """
        calls: list[Call] = []
        commands: list[bytes] = []
        # No more than a core takes at once.
        most: int = getattr(self.cluster.config, "window", BURST_MAX)
        for _ in range(min(random.randrange(2, BURST_MAX), most)):
            self._bursts += 1
            key = BURST_KEY + self._bursts % 32
            value = b"b%d," % self._bursts
            call = Call(-self._bursts, key, ("set", value), self.cluster.clock.now_us)
            command = encode(SET, key, BURST_CLIENT, self._bursts, value)
            self.history[id(call)] = self._by_command[command] = call
            calls.append(call)
            commands.append(command)

        def done(outcome: Any) -> None:
            if outcome.kind == "refused":
                for call in calls:
                    self.forget(call)

        node.propose_all(commands, done)

    def stop(self) -> None:
        """Begin nothing more."""
        for client in self.clients:
            client.stopped = True

    def draw(self, client: Client) -> tuple[int, tuple[Any, ...], bytes | None]:
        """A client's next operation: its key, the call, and the command if it is no read."""
        rng = client.rng
        key = rng.randrange(self.keys)
        kind = rng.random()
        if kind < self.read_share:
            return key, ("get",), None
        value = b"%d.%d," % (client.number, client.serial)
        expected: bytes | None = None
        known = self.seen.get(key)
        kind = (kind - self.read_share) / (1 - self.read_share)
        call: tuple[Any, ...]
        if kind < 0.5 or (kind < 0.75 and known is not None and len(known) > VALUE_BYTES_MAX):
            op, call = SET, ("set", value)
        elif kind < 0.75:
            op, call = APPEND, ("append", value)
        elif kind < 0.95:
            expected = known
            op, call = CAS, ("cas", expected, value)
        else:
            op, value, call = DELETE, b"", ("delete",)
        return key, call, encode(op, key, client.number, client.serial, value, expected)

    def invoke(self, client: Client, key: int, call: tuple[Any, ...]) -> Call:
        operation = Call(client.name, key, call, self.cluster.clock.now_us)
        self.history[id(operation)] = operation
        if client.command is not None:
            self._by_command[client.command] = operation
        return operation

    def forget(self, operation: Call) -> None:
        """It never happened, or says nothing."""
        self.history.pop(id(operation), None)

    def submit(self, pending: Pending, command: bytes | None) -> None:
        """Hand an attempt to its node; one that is down refuses the connection."""
        node = self.cluster.nodes.get(pending.node)
        if node is None or not node.up:
            pending.settled = True
            pending.client.again()
        elif command is None:
            pending.floor = self.cluster.checker.committed_last
            node.read(pending)
        else:
            node.propose(command, pending)

    def answer(self, pending: Pending, outcome: Any) -> None:
        """An operation was answered, in time or after its client gave it up."""
        operation = pending.operation
        call = operation.call
        if call[0] == "get":
            if pending is not pending.client.waiting:
                return
            self.cluster.checker.read_served(pending.node, pending.floor)
            node = self.cluster.nodes[pending.node]
            if node.core.role != "leader":
                self.cluster.checker.coverage["reads at followers"] += 1
            operation.result = self.read(node, operation.key)
            self.cluster.checker.coverage["reads answered"] += 1
        else:
            if id(operation) not in self.history:
                self.cluster.checker.violate(15, pending.node, f"{call} was refused, then applied")
            (operation.result,) = outcome.results
            if call[0] == "set":
                self.seen[operation.key] = call[1]
            elif call[0] == "delete":
                self.seen[operation.key] = None
            self.cluster.acknowledged(pending)
            self.cluster.checker.coverage["writes answered"] += 1
        operation.returned = self.cluster.clock.now_us

    def read(self, node: SimNode, key: int) -> Any:
        """Read a key, now that the node may serve it."""
        machine: Any = node.machine.inner
        value = self.seen[key] = machine.data.get(key)
        return value

    def withdraw(self, pending: Pending) -> None:
        """A late refusal of an operation that its client had given up."""
        if pending.operation.call[0] != "get":
            self.forget(pending.operation)

    def close(self, applied: Mapping[bytes, tuple[Any, int]]) -> Sequence[Operation]:
        """The history.  A write that was never answered stands in it if it happened, as if it had
        been answered when the first node applied it: from then on the others see it.  So the search
        for an order has little to guess.

        Args:
            applied: of each committed command, its result and when a node first applied it.
        """
        for command, operation in self._by_command.items():
            if operation.returned is not None:
                continue
            if command not in applied:
                self.forget(operation)
            elif id(operation) not in self.history:
                self.cluster.checker.violate(
                    15, None, f"{describe(command)} was refused, and happened"
                )
            else:
                operation.result, operation.returned = applied[command]
        return [
            operation.closed()
            for operation in self.history.values()
            if operation.returned is not None and operation.client >= 0
        ]
