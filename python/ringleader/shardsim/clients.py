"""What clients ask of shards, and what must be true of the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, Final

from ringleader.node.commands import find
from ringleader.node.internal import exec_args
from ringleader.node.replies import NULL_ARRAY, ReplyError
from ringleader.node.routing import PENDING
from ringleader.node.shard import BUSY
from ringleader.shardsim.mirror import FIRST, LAST, Position, plain
from ringleader.shardsim.watched import NodeTime, Truth, WatchedShard
from ringleader.sim.clock import PPM
from ringleader.sim.linearizability import Operation
from ringleader.sim.profiles import ClockFaults
from ringleader.sim.workload import Client, Workload

if TYPE_CHECKING:
    from ringleader.consensus.membership import NodeId
    from ringleader.sim.cluster import Cluster, SimNode

#: What became of a command.
WAITING, DONE, REFUSED, LOST = "waiting", "done", "refused", "lost"

#: Mean time between two jumps of some wall clock, and how far one jumps, in ms.
JUMP_EVERY_US: Final = 1_000_000
JUMP_MS: Final = 5_000
#: Now and then it jumps further than a key stays watched.
FAR_JUMP_MS: Final = 70_000
FAR_JUMP_RATE: Final = 0.08

#: Mean time between two stops of a process.
STOP_EVERY_US: Final = 2_000_000

BURST_MAX: Final = 60
COMMANDS_MAX: Final = 6


class Record:
    """One command that was given to a shard; its waiter.

    call        as histories have it: the name, then all but the key; of an EXEC its commands.
    state       what became of it, as far as its client was told.
    position    where it took effect; of a read that was answered from a store, the end of the last
                batch there.  None: it did not, as far as is known.
    truth       what the mirror answered.
    lag_us      how old the state may be, as a node's clock counts; None: not at all.
    floor       how much was committed when it began.
    """

    __slots__ = (
        "applied_us",
        "args",
        "call",
        "floor",
        "invoked_us",
        "lag_us",
        "position",
        "reply",
        "returned_us",
        "shard",
        "state",
        "truth",
        "turn",
        "watches",
    )

    def __init__(
        self,
        shard: WatchedShard,
        args: list[bytes],
        turn: Turn | None = None,
        watches: Sequence[Record] = (),
        call: tuple[Any, ...] = (),
        lag_us: int | None = None,
    ) -> None:
        self.shard = shard
        self.args = args
        self.turn = turn
        self.watches = watches
        self.call = call or tuple(args[:1] + args[2:])
        self.lag_us = lag_us
        self.state = WAITING
        self.reply: Any = None
        self.truth: Any = None
        self.position: Position | None = None
        self.invoked_us = shard.workload.cluster.clock.now_us
        self.returned_us: int | None = None
        self.applied_us = 0
        self.floor = shard.workload.cluster.checker.committed_last

    def __repr__(self) -> str:
        args = self.args[:1] if self.args[0] == b"EXEC" else self.args
        inner = [b"[%s]" % b" ".join(args) for args in self.call[1:]] if len(args) == 1 else []
        return " ".join(word.decode() for word in [*args, *inner])

    @property
    def name(self) -> bytes:
        return self.args[0]

    @property
    def is_write(self) -> bool:
        command = find(self.name)
        assert command is not None
        return command.is_write

    def watched(self) -> list[tuple[bytes, Position]]:
        """The keys that an EXEC was told to look at, and since when."""
        found = []
        for record in self.watches:
            assert record.position is not None
            found += [(key, record.position) for key in record.args[1:]]
        return found

    def violate(self, number: int, text: str) -> None:
        self.shard.violate(number, f"{self} {text}")

    # --- what happens to it --------------------------------------------------------------------

    def take_effect(self, position: Position, now_us: int) -> None:
        """The first node applies it."""
        if self.position is not None:
            self.violate(15, f"takes effect at {position}, and did at {self.position}")
        if self.state == REFUSED:
            self.violate(15, f"was refused, and takes effect at {position}")
        self.position = position
        self.applied_us = now_us

    def _end(self, state: str) -> bool:
        shard = self.shard
        if not shard.lives:
            return False
        if self.state != WAITING:
            self.violate(15, f"is {state} now, and was {self.state} before")
        self.state = state
        workload = shard.workload
        self.returned_us = workload.cluster.clock.now_us
        workload.cluster.note(state, shard.node.id, self)
        return True

    def refuse(self) -> None:
        """It did not take effect, and never will."""
        if self._end(REFUSED):
            if self.position is not None:
                self.violate(15, f"is refused, and took effect at {self.position}")
            self._over()

    def lose(self) -> None:
        """It may have taken effect."""
        if self._end(LOST):
            self._over()

    def resolve(self, reply: Any) -> None:
        """It was answered."""
        shard = self.shard
        if isinstance(reply, ReplyError) and reply.text.startswith(("TRYAGAIN", "STALE")):
            shard.workload.cluster.checker.coverage[f"answers {reply.text.split()[0]}"] += 1
            self.refuse()
            return
        if self._end(DONE):
            self.reply = reply
            shard.workload.answered(self)
            self._over()

    def _over(self) -> None:
        if self.turn is not None:
            self.turn.missing -= 1
            self.turn.look()


class Turn:
    """A pipeline that a client sends to a node.

    client, node, settled: as `sim.workload.Pending` has them.
    missing     commands that were given and not answered.
    """

    __slots__ = (
        "client",
        "commands",
        "given",
        "lag_us",
        "missing",
        "node",
        "records",
        "settled",
        "shard",
        "watches",
    )

    def __init__(
        self,
        client: ShardClient,
        commands: list[Any],
        lag_us: int | None,
        watches: Sequence[Record],
        node: NodeId,
    ) -> None:
        self.client = client
        self.commands = commands
        self.lag_us = lag_us
        self.watches = watches
        self.node = node
        self.settled = False
        self.records: list[Record] = []
        self.given = 0
        self.missing = 0
        self.shard: WatchedShard | None = None

    def __repr__(self) -> str:
        return ", ".join(map(str, self.records)) or f"{len(self.commands)} commands"

    def give(self, _: None = None) -> None:
        """Give the next commands to the shard, some now, some later."""
        shard = self.shard
        assert shard is not None
        if self.settled or not shard.lives:
            return
        client = self.client
        rng = client.rng
        while self.given < len(self.commands):
            self._give(shard, self.commands[self.given])
            self.given += 1
            if not shard.lives:
                return
            if self.given < len(self.commands) and rng.random() < 0.3:
                delay_us = rng.randrange(client.workload.pause_us)
                client.clock.after(delay_us, lambda _: client.workload.do(shard.node, self.give))
                return
        self.look()

    def _give(self, shard: WatchedShard, command: Any) -> None:
        """As `node.router.Router.execute` does."""
        if isinstance(command[0], tuple):  # a transaction
            watches = [(key, it.reply) for it in self.watches for key in it.args[1:]]
            args = exec_args(watches, command)
            record = Record(shard, args, self, self.watches, (b"EXEC", *command))
        else:
            args = list(command)
            record = Record(shard, args, self, lag_us=self.lag_us)
        self.records.append(record)
        self.missing += 1
        client = self.client
        workload = client.workload
        workload.records.append(record)
        workload.cluster.note("asks", shard.node.id, record)
        found = find(args[0])
        assert found is not None
        connection = client.connection
        if self.lag_us is not None and not found.is_write and not shard.leads:
            reply = shard.read_stale(args, record, self.lag_us / 1e6)
        elif not shard.leads and not client.is_stubborn:
            record.refuse()
            return
        elif found.is_write:
            sequence = shard.enqueue(args, record)
            if sequence:
                connection[shard] = sequence
            reply = PENDING if sequence else BUSY
        else:
            record.lag_us = None
            reply = shard.read(found, args, record, connection.get(shard, 0))
            if reply is PENDING:
                connection[shard] = shard.frontier
        if reply is not PENDING:
            record.resolve(reply)

    def look(self) -> None:
        """Whether all is answered."""
        if self.settled or self.missing or self.given < len(self.commands):
            return
        self.settled = True
        assert self.shard is not None
        self.shard.node.waiting.pop(self, None)  # type: ignore[call-overload]
        last: Position = (0, FIRST)
        for record in self.records:
            if record.state == DONE and record.position is not None and record.lag_us is None:
                if record.position < last:
                    self.shard.violate(
                        16,
                        f"of {self.records}, given in this order, {record} took effect at "
                        f"{record.position}, after one at {last}",
                    )
                last = record.position
        self.client.turn_over(self)


class ShardClient(Client):
    """Sends one pipeline after the other.

    connection  shard -> number of its last command in the shard's queue.
    plan        what is left of a transaction: commands of coming pipelines.
    """

    __slots__ = ("connection", "is_stubborn", "plan", "watches")

    workload: ShardWorkload
    waiting: Any
    operation: Any

    def __init__(self, workload: ShardWorkload, number: int, seed: int) -> None:
        super().__init__(workload, number, seed)
        self.plan: list[list[Any]] = []
        self.watches: list[Record] = []
        self.connection: dict[WatchedShard, int] = {}
        self.is_stubborn = False

    def begin(self, _: None = None) -> None:
        if self.stopped:
            return
        self.serial += 1
        lag_us = None
        if self.plan:
            commands = self.plan.pop(0)
        else:
            self.watches = []
            commands, lag_us = self.workload.draw_turn(self)
        self.deadline = self.clock.timer(self.workload.timeout_us, self.expire, self.serial)
        self.operation = commands, lag_us
        self.attempt(self.serial)

    def attempt(self, serial: int) -> None:
        if serial != self.serial or self.operation is None or self.stopped:
            return
        rng = self.rng
        workload = self.workload
        nodes = self.cluster.members
        commands, lag_us = self.operation
        target = self.leader
        if target is None or target not in nodes or rng.random() < workload.elsewhere:
            target = nodes[rng.randrange(len(nodes))]
        if lag_us is not None:
            target = nodes[rng.randrange(len(nodes))]
        self.leader = None
        self.is_stubborn = rng.random() < 0.3
        turn = Turn(self, commands, lag_us, self.watches, target)
        self.waiting = turn
        node = self.cluster.nodes.get(target)
        if node is None or not node.up:
            turn.settled = True
            self.again()
            return
        node.waiting[turn] = None  # type: ignore[index]
        turn.shard = workload.shard(node)
        if turn.shard not in self.connection:
            self.connection = {turn.shard: 0}
        workload.do(node, turn.give)

    def again(self) -> None:
        self.waiting = None
        delay_us = self.workload.retry_us
        self.clock.after(delay_us + self.rng.randrange(delay_us), self.attempt, self.serial)

    def turn_over(self, turn: Turn) -> None:
        """All commands of a pipeline have been answered, or given back."""
        if turn is not self.waiting:
            return
        done = [record for record in turn.records if record.state == DONE]
        lost = any(record.state == LOST for record in turn.records)
        if lost:
            self.give_up()
            return
        if not done:
            assert turn.shard is not None
            self.leader = turn.shard.leader
            self.again()
            return
        self.leader = turn.node if turn.lag_us is None else None
        self.answered += 1
        if len(done) < len(turn.records):
            self.plan = []
        self.watches += [
            record for record in done if record.name == b"WATCH" and isinstance(record.reply, int)
        ]
        self.next()

    def expire(self, serial: int) -> None:
        if serial != self.serial or self.operation is None:
            return
        self.deadline = None
        self.cluster.checker.coverage["operations timed out"] += 1
        self.give_up()

    def give_up(self) -> None:
        if self.waiting is not None:
            self.waiting.settled = True
            self.waiting.client = _NOBODY
        self.plan = []
        self.connection = {}
        self.name += self.workload.clients_max
        self.next()

    def next(self) -> None:
        # A client in a hurry.
        if self.rng.random() < 0.1 and not self.stopped:
            if self.deadline is not None:
                self.deadline.cancel()
            self.deadline = self.operation = self.waiting = None
            self.clock.after(0, self.begin)
            self.serial += 1
            return
        super().next()


class _Nobody:
    """The client of a pipeline that was given up."""

    waiting = None


_NOBODY: Any = _Nobody()


class Stop:
    """A node that is stopped, and what waits for it."""

    __slots__ = ("calls", "life", "messages", "node")

    def __init__(self, node: SimNode) -> None:
        self.node = node
        self.life = node.life
        self.calls: list[Callable[[Any], object]] = []
        self.messages: list[Any] = []


class ShardWorkload(Workload):
    """Clients of shards, and all that was asked and answered."""

    #: What the node gives its drivers.
    forward = False

    def __init__(
        self,
        cluster: Cluster,
        seed: int,
        *,
        clients: int,
        keys: int,
        think_us: int,
        timeout_us: int,
    ) -> None:
        self.random = Random(f"{seed}:shards")
        self.times: dict[NodeId, NodeTime] = {}
        self.stopped: dict[NodeId, Stop] = {}
        self.truth = Truth(cluster)
        self.records: list[Record] = []
        self.batch_count = 0
        #: Since when all is well: keys that are due have to expire; None: not yet.
        self.quiet_us: int | None = None
        #: How often shards are attended to.
        self.period_us = self.random.choice((2, 10, 25)) * cluster.profile.tick_us
        self.pause_us = max(1, 2 * cluster.profile.tick_us)
        #: (when, index): all up to the index was acknowledged, by true time.
        self.acknowledged_at: list[tuple[int, int]] = []
        super().__init__(
            cluster, seed, clients=clients, keys=keys, think_us=think_us, timeout_us=timeout_us
        )
        self.names = [b"k%d" % number for number in range(keys)] + [b"n"]
        cluster.clock.after(self.period_us, self._look)
        if cluster.faults.clock != ClockFaults():
            at_us = 0
            while (at_us := at_us + self.random.randrange(2 * JUMP_EVERY_US)) < cluster.until_us:
                cluster.clock.after(at_us, self._jump)
        if cluster.faults.clock.late_rate:
            at_us = 0
            while (at_us := at_us + self.random.randrange(2 * STOP_EVERY_US)) < cluster.until_us:
                cluster.clock.after(at_us, self._stop)

    def client(self, number: int, seed: int) -> Client:
        return ShardClient(self, number, seed)

    # --- nodes ---------------------------------------------------------------------------------

    def time(self, node: SimNode) -> NodeTime:
        time = self.times.get(node.id)
        if time is None:
            random = Random(f"{self.cluster.seed}:wall:{node.id}")
            time = self.times[node.id] = NodeTime(node, random)
        return time

    def shard(self, node: SimNode) -> WatchedShard:
        """The shard of a node that is up."""
        machine: Any = node.machine.inner
        if machine.shard is None:
            machine.shard = WatchedShard(self, node, self.time(node))
        shard: WatchedShard = machine.shard
        return shard

    def _look(self, _: None) -> None:
        for node in list(self.cluster.nodes.values()):
            if node.up:
                self.do(node, self.shard(node).look)
        self.cluster.clock.after(self.period_us, self._look)

    def _jump(self, _: None) -> None:
        random = self.random
        nodes = list(self.cluster.nodes.values())
        node = nodes[random.randrange(len(nodes))]
        most = FAR_JUMP_MS if random.random() < FAR_JUMP_RATE else JUMP_MS
        by_ms = random.randint(-most, most)
        self.time(node).offset_ms += by_ms
        self.cluster.note("wall clock", node.id, f"jumps by {by_ms} ms")
        self.cluster.checker.coverage["jumps of wall clocks"] += 1

    def do(self, node: SimNode, call: Callable[[Any], object]) -> None:
        """Let a node do something that a client asks for, now or when it runs again."""
        stop = self.stopped.get(node.id)
        if stop is not None and stop.life == node.life:
            stop.calls.append(call)
        else:
            node.run(call, None)

    def _stop(self, _: None) -> None:
        """A process is stopped for a while, most often the leader's: its clocks go on.  Then it
        reads what clients sent first, then what its peers did; its timer comes last."""
        random = self.random
        nodes = [node for node in self.cluster.nodes.values() if node.up]
        node = self.cluster.leader() if random.random() < 0.7 else None
        if node is None and nodes:
            node = nodes[random.randrange(len(nodes))]
        if node is None or node.id in self.stopped or node.ticker is None:
            return
        lasts_us = random.randrange(1, 4 * self.cluster.election_us)
        stop = self.stopped[node.id] = Stop(node)
        node.ticker.late_us = lasts_us
        self.cluster.network.attach(node.id, stop.messages.append)
        self.cluster.checker.coverage["processes stopped"] += 1
        self.cluster.note("stops", node.id, f"for {lasts_us / 1e6:.6f} s")
        self.cluster.clock.after(lasts_us, self._go_on, stop)

    def _go_on(self, stop: Stop) -> None:
        node = stop.node
        del self.stopped[node.id]
        if not node.up or node.life != stop.life:
            return
        self.cluster.note("goes on", node.id, "")
        self.cluster.network.attach(node.id, node.receive)
        for call in stop.calls:
            node.run(call, None)
        for message in stop.messages:
            if node.up and node.life == stop.life:
                node.receive(message)

    def burst(self, node: SimNode, random: Random) -> None:
        if not node.up or node.id in self.stopped:
            return
        shard = self.shard(node)

        def give(_: None) -> None:
            for _i in range(random.randrange(2, BURST_MAX)):
                self._bursts += 1
                args = [b"SET", b"b%d" % (self._bursts % 8), b"%d" % self._bursts]
                record = Record(shard, args)
                self.records.append(record)
                if not shard.enqueue(args, record):
                    record.resolve(BUSY)

        node.run(give, None)

    # --- what is asked -------------------------------------------------------------------------

    def draw_turn(self, client: ShardClient) -> tuple[list[Any], int | None]:
        """A pipeline, and how old its answers may be (None: not at all)."""
        rng = client.rng
        kind = rng.random()
        if kind < 0.15:
            keys = rng.sample(self.names, rng.choice((1, 1, 2)))
            inside = tuple(self._draw(client, place) for place in range(rng.randrange(1, 4)))
            client.plan = [[(b"GET", key) for key in keys], [inside]]
            return [(b"WATCH", *keys)], None
        count = rng.choice((1, 1, 1, 2, 3, COMMANDS_MAX))
        if kind < 0.4:
            lag_us = rng.choice((1, 2, 5, 20, 60)) * self.cluster.election_us // 10
            return [self._draw_read(rng) for _ in range(count)], lag_us
        return [
            self._draw_read(rng) if rng.random() < 0.4 else self._draw(client, place)
            for place in range(count)
        ], None

    def _draw_read(self, rng: Random) -> tuple[bytes, ...]:
        kind = rng.random()
        if kind < 0.15:
            return (b"MGET", *rng.sample(self.names, 2))
        return (b"PTTL" if kind < 0.3 else b"GET", rng.choice(self.names))

    def _draw(self, client: ShardClient, place: int) -> tuple[bytes, ...]:
        """A write."""
        rng = client.rng
        key = rng.choice(self.names)
        value = b"%d.%d.%d," % (client.number, client.serial, place)
        if key == b"n":
            value = b"%d" % rng.randrange(1000)
        ms = b"%d" % (rng.choice((1, 20, 100, 500, 2000, 5000)) * rng.randrange(1, 3))
        kind = rng.random()
        if kind < 0.2:
            return b"SET", key, value
        if kind < 0.42:
            return b"SET", key, value, b"PX", ms
        if kind < 0.47:
            return b"SET", key, value, b"KEEPTTL"
        if kind < 0.62:
            known = self.seen_values.get(key)
            conditions: list[tuple[bytes, ...]] = [(b"NX",), (b"XX",), (b"NX", b"PX", ms)]
            if known is not None:
                conditions += [(b"IFEQ", known), (b"IFEQ", known, b"PX", ms)]
            return (b"SET", key, value, *rng.choice(conditions))
        if kind < 0.7:
            return b"DEL", key
        if kind < 0.8:
            return (b"INCR", key) if key == b"n" else (b"APPEND", key, value)
        if kind < 0.85:
            return b"INCR", rng.choice((b"n", b"n", key))
        if kind < 0.93:
            return b"PEXPIRE", key, ms
        if kind < 0.95:
            return b"EXPIRE", key, b"1"
        return b"PERSIST", key

    @property
    def seen_values(self) -> dict[bytes, bytes]:
        return self.truth.mirror.data

    # --- what is answered ----------------------------------------------------------------------

    def answered(self, record: Record) -> None:
        """A command was answered: is that what it should be?"""
        shard = record.shard
        node = shard.node
        checker = self.cluster.checker
        machine: Any = node.machine.inner
        reply = record.reply
        if record.position is not None:
            index = record.position[0]
            if machine.batch < index:
                record.violate(15, f"is answered before entry {index} is applied")
            truth = record.truth
            if record.name == b"WATCH":
                truth = self.truth.opaque.get(record.position)
            if reply != truth:
                record.violate(15, f"is answered {reply!r}, and gave {truth!r}")
            checker.acknowledge(index)
            self.acknowledged_at.append((self.cluster.clock.now_us, index))
            checker.coverage["writes answered" if record.is_write else "reads in order"] += 1
            if record.name == b"EXEC":
                kind = "refused" if reply is NULL_ARRAY else "done"
                checker.coverage[f"transactions {kind}"] += 1
            return
        if record.is_write:
            record.violate(15, f"is answered {reply!r}, and has not taken effect")
        record.position = (machine.batch, LAST)
        state = self.truth.states[machine.batch]
        if record.lag_us is None:
            checker.read_served(node.id, record.floor)
            checker.coverage["reads answered"] += 1
            if not shard.leads:
                checker.coverage["reads at followers"] += 1
            elif shard.core.has_lease:
                checker.coverage["reads under a lease"] += 1
            if plain(record.name, reply) != plain(record.name, state.read(record.args)):
                record.violate(
                    13, f"is answered {reply!r}, and after {machine.batch} the state is {state}"
                )
            return
        checker.coverage["stale reads answered"] += 1
        wall_ms = shard.time.last_wall_ms
        hidden = [key for key, at in state.expires.items() if at <= wall_ms]
        allowed = [plain(record.name, state.read(record.args, hide)) for hide in (hidden, ())]
        if plain(record.name, reply) not in allowed:
            record.violate(16, f"is answered {reply!r}, after {machine.batch} it is {state}")
        if hidden and allowed[0] != allowed[1]:
            checker.coverage["stale reads that hide a key"] += 1
        self._check_age(record, machine.batch)

    def _check_age(self, record: Record, index: int) -> None:
        """Rule 6: everything is there that was acknowledged a while ago."""
        assert record.lag_us is not None
        drift = self.cluster.faults.clock.drift_ppm_max
        lag_us = record.lag_us * PPM // (PPM - drift) + 2
        old_us = self.cluster.clock.now_us - lag_us
        for at_us, acknowledged in reversed(self.acknowledged_at):
            if at_us < old_us:
                if acknowledged > index:
                    record.violate(
                        16,
                        f"is answered after entry {index}, and {acknowledged} was acknowledged at "
                        f"{at_us / 1e6:.6f} s; its bound is {record.lag_us / 1e6:.6f} s",
                    )
                return

    # --- in the end ----------------------------------------------------------------------------

    def close(self, applied: Mapping[bytes, tuple[Any, int]]) -> Sequence[Operation]:
        cluster = self.cluster
        # Whatever is still under way must come to its end.
        self.quiet_us = cluster.clock.now_us
        cluster.clock.run(cluster.clock.now_us + 150 * cluster.profile.tick_us)
        for record in self.records:
            if record.state == WAITING and record.shard.lives:
                record.violate(12, f"was asked at {record.invoked_us / 1e6:.6f} s, never answered")
        for node in cluster.nodes.values():
            if node.up:
                shard = self.shard(node)
                if shard.queued or shard.inflight:
                    shard.violate(12, f"{shard.queued} queued, {shard.inflight} batches in flight")
        self._check_order()
        return list(self._history())

    def _check_order(self) -> None:
        """What was asked after another was answered took effect after it, on whatever key."""
        told = [
            (record.returned_us, record)
            for record in self.records
            if record.state == DONE and record.lag_us is None and record.position is not None
        ]
        by_return = sorted(told, key=lambda item: item[0] or 0)
        by_call = sorted(told, key=lambda item: item[1].invoked_us)
        before = 0
        last: Record | None = None
        for _, record in by_call:
            while before < len(by_return) and (by_return[before][0] or 0) < record.invoked_us:
                other = by_return[before][1]
                if last is None or _place(other) > _place(last):
                    last = other
                before += 1
            if last is not None and _place(record) < _place(last):
                record.violate(
                    13,
                    f"asked at {record.invoked_us / 1e6:.6f} s, took effect at {record.position}, "
                    f"and {last}, answered at {(last.returned_us or 0) / 1e6:.6f} s, at "
                    f"{last.position}",
                )

    def _history(self) -> list[Operation]:
        history = [
            Operation("time", key, (b"expire",), True, proposed_us, applied_us)
            for key, proposed_us, applied_us in self.truth.expiries
        ]
        for number, record in enumerate(self.records):
            if record.lag_us is not None or record.turn is None or record.position is None:
                continue
            if record.state == DONE:
                reply, returned_us = record.reply, record.returned_us
            elif record.is_write:
                # From then on the others see it.
                reply, returned_us = record.truth, record.applied_us
            else:
                continue
            for key, call, result in _parts(record, reply):
                history.append(Operation(number, key, call, result, record.invoked_us, returned_us))
        return history


def _place(record: Record) -> Position:
    assert record.position is not None
    return record.position


def _parts(record: Record, reply: Any) -> list[tuple[bytes, Any, Any]]:
    """(key, call, result) of each key that a command concerns."""
    name = record.name
    if name == b"WATCH" or reply is NULL_ARRAY:
        return []
    if name == b"MGET":
        return [(key, (b"GET",), value) for key, value in zip(record.args[1:], reply, strict=True)]
    if name != b"EXEC":
        return [(record.args[1], record.call, plain(name, reply))]
    inside: dict[bytes, list[tuple[Any, Any]]] = {}
    for (called, key, *rest), result in zip(record.call[1:], reply, strict=True):
        inside.setdefault(key, []).append(((called, *rest), plain(called, result)))
    return [
        (key, (b"EXEC", *(call for call, _ in parts)), tuple(result for _, result in parts))
        for key, parts in inside.items()
    ]
