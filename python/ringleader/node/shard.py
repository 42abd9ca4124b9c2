"""One node's replica of one shard: a consensus group, and the store that it replicates.

    commands of a turn ─► queue ─► one batch ─► Driver.propose ─► (log, disk, peers) ─► Store.apply
    waiters ◄──────────────────── replies of the batch ◄────────────────────────────────────┘

A `Shard` does no input or output and has no clock of its own: the node and the simulator call it.
What it guarantees to whoever gives it a command:

 1. `waiter.resolve(reply)` is called for a write or an ordered command after the command took
    effect, once, and only then.
 2. Whatever is given back by `on_refused` has certainly not taken effect, and never will.
 3. Whatever is given back by `on_unknown` may have taken effect, or may yet.
 4. Commands that are given in an order take effect in it, unless some of them are given back.
    What is given back takes all along that was given after it and is not proposed yet, and is given
    back in order: so whoever gives it again, in that order, keeps it.
 5. A read is linearizable: a leader with a lease reads its own state (dissertation §6.4.1), without
    one it asks a quorum first (§6.4).
 6. `read_stale` answers from a state that held everything which had been acknowledged `lag_max_s`
    before, or not at all.  How fresh the state is, is learned by reading through the leader from
    time to time: a read index that was asked for at time t vouches for all that was acknowledged
    before t.

A leader's time is its wall clock, or where that is behind the store's time, as after a leader whose
clock was ahead: that time, which goes on, a little slower until the clock has caught up
(`time_ms`).

Nothing is read at a moment that is not known: `Clock.catch_up()` reports the ticks that have passed
to all drivers before a lease is trusted, however long the process was stopped.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import structlog

from ringleader.consensus.constants import LEADER
from ringleader.consensus.driver import Driver, Outcome
from ringleader.consensus.membership import NodeId
from ringleader.errors import MisuseError
from ringleader.limits import (
    BATCH_BYTES,
    CLOCK_SLEW,
    SHARD_BATCH_COMMANDS_MAX,
    SHARD_BATCHES_MAX,
    SHARD_GATHER_S,
    SHARD_PROBE_S,
    SHARD_QUEUE_COMMANDS_MAX,
)
from ringleader.node.commands import Command
from ringleader.node.replies import ReplyError
from ringleader.node.routing import PENDING, Origin
from ringleader.node.store import Store, encode_batch

#: Nothing was done: too much waits already.
BUSY = ReplyError("TRYAGAIN too many commands wait for this shard: try again later")
#: What was done has a reply that cannot be given.
UNSPEAKABLE = ReplyError("UNCERTAIN internal error: this command took effect, its reply is lost")

Args = list[bytes]


class Waiter(Protocol):
    """Who gave a command."""

    def resolve(self, reply: Any) -> None: ...


class Clock(Protocol):
    """What a shard knows of time.

    now_s       seconds of a clock that never goes back and runs while the process is stopped.
    wall_ms     milliseconds since 1970.
    """

    def now_s(self) -> float: ...
    def wall_ms(self) -> int: ...
    def catch_up(self) -> float:
        """Report all ticks that have passed to every driver; `now_s()`."""
        ...


_Read: TypeAlias = tuple[Command, Args, Waiter, Origin | None]


class Meter(Protocol):
    """What counts commands; `metrics.Metrics` does."""

    def commands(
        self, kind: str, outcome: str, count: int, seconds: float | None = None
    ) -> None: ...


_log = structlog.get_logger("ringleader.shard")


class _Unmetered:
    """Counts nothing."""

    def commands(self, kind: str, outcome: str, count: int, seconds: float | None = None) -> None:
        pass


class _Batch:
    """Commands on their way through the log."""

    __slots__ = (
        "begun_s",
        "commands",
        "ended",
        "is_given_back",
        "is_new",
        "last",
        "origins",
        "shard",
        "waiters",
    )

    def __init__(
        self,
        shard: Shard,
        commands: list[Args],
        waiters: list[Waiter],
        origins: list[Origin | None],
        last: int,
        begun_s: float,
    ) -> None:
        self.shard = shard
        self.commands = commands
        self.waiters = waiters
        self.origins = origins
        self.last = last
        self.begun_s = begun_s
        #: It is just being proposed.
        self.is_new = True
        self.ended = False
        self.is_given_back = False

    def done(self, outcome: Outcome) -> None:
        shard = self.shard
        shard.inflight -= 1
        if not shard.inflight:
            shard.store.answering = False
        self.ended = True
        count = len(self.commands)
        kind = outcome.kind
        is_too_much = kind == "refused" and self.is_new and shard.is_pressed
        if kind == "refused" and not is_too_much:
            self.is_given_back = shard._is_giving_back = True
        given_back: list[_Batch] = []
        batches = shard._batches
        while batches and batches[0].ended:
            batch = batches.popleft()
            shard.settled = batch.last
            if batch.is_given_back:
                given_back.append(batch)
        if kind == "applied":
            took_s = shard.clock.now_s() - self.begun_s
            shard.meter.commands("write", "ok", count, took_s)
            shard._answer(self.waiters, outcome.results[0])
        elif is_too_much:
            shard.meter.commands("write", "refused", count)
            shard._answer(self.waiters, [BUSY] * count)
        elif kind == "unknown":
            shard.meter.commands("write", "unknown", count)
            shard.on_unknown(shard, self.commands, self.waiters)
        if given_back:
            shard._give_back(given_back)
        if shard.queued:
            shard.on_dirty(shard)


class Shard:
    """See the module's text.

    Args:
        number: of the shard, alike on all nodes.
        driver: of its group; its machine is `store`.
        clock: see `Clock`.
        on_dirty: called with the shard when `flush()` is to be called, soon.
        on_refused: called with the shard, commands, their waiters and origins, and since when they
            have been here at the latest; see rule 2.
        on_unknown: called with the shard, commands and their waiters; see rule 3.
        meter: is told of commands, many at a time.

    State:
        sequence    of the last command that was queued; it counts from 1.
        settled     of the last command up to which all batches have ended, in whatever way.
        inflight    batches that have not.
        reads, stale_reads      answered at once since `count_reads`.
        fresh_s     everything acknowledged before this time is in the store.
    """

    def __init__(
        self,
        number: int,
        driver: Driver,
        store: Store,
        clock: Clock,
        *,
        on_dirty: Callable[[Shard], None],
        on_refused: Callable[[Shard, list[Args], list[Waiter], list[Origin | None], float], None],
        on_unknown: Callable[[Shard, list[Args], list[Waiter]], None],
        meter: Meter | None = None,
    ) -> None:
        self.number = number
        self.driver = driver
        self.core: Any = driver.core
        self.store = store
        self.clock = clock
        self.on_dirty = on_dirty
        self.on_refused = on_refused
        self.on_unknown = on_unknown
        self.meter: Meter = meter if meter is not None else _Unmetered()
        self.sequence = 0
        self.settled = 0
        self.inflight = 0
        self._proposed_s = 0.0
        #: The term in which the last batch was proposed.
        self._proposed_term = 0
        self.reads = 0
        self.stale_reads = 0
        self.fresh_s = -1e18
        store.answering = False  # but while somebody waits for a batch
        self._commands: list[Args] = []
        self._waiters: list[Waiter] = []
        self._origins: list[Origin | None] = []
        #: Some batch is to be given back as soon as all before it have ended.
        self._is_giving_back = False
        #: A time of the store, and when it was that, for when the wall clock is behind.
        self._reached_ms = 0
        self._reached_s = 0.0
        #: Batches that have not ended, and those that have, but after one that has not.
        self._batches: deque[_Batch] = deque()
        #: Reads that wait for the next barrier; and all lists of reads that wait for one, in order,
        #: none of them empty.
        self._reads: list[_Read] = []
        self._waiting: list[list[_Read]] = []
        #: Stale reads that wait for a probe: (args, waiter, lag_max_s, since when).
        self._stale: list[tuple[Args, Waiter, float, float]] = []
        #: Not before this time is another probe sent, unless the last one is answered.
        self._probe_due_s = 0.0
        self._expiring = False

    # --- what it is ----------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Whether this node leads the group, as far as it knows."""
        return bool(self.core.role_number == LEADER)

    @property
    def leader(self) -> NodeId | None:
        """Who leads it, as far as this node knows."""
        leader: NodeId | None = self.core.leader
        return leader

    @property
    def is_pressed(self) -> bool:
        """Whether a proposal that was just refused was so because too much is under way."""
        core = self.core
        return (
            self.leads
            and core.transferee is None
            and core.commit >= core.term_start
            and self.driver.failed is None
        )

    @property
    def queued(self) -> int:
        """Commands that no batch has taken yet."""
        return len(self._commands)

    @property
    def frontier(self) -> int:
        """What a read that is PENDING now comes to in `sequence`, if it goes through the queue."""
        return self.sequence + sum(map(len, self._waiting))

    def owes(self, after: int) -> bool:
        """Whether a caller whose last command has this number may have one here without an
        answer."""
        return after > self.settled and (self.settled < self.sequence or bool(self._waiting))

    # --- commands ------------------------------------------------------------------------------

    def enqueue(self, args: Args, waiter: Waiter, origin: Origin | None = None) -> int:
        """Have a command take effect, in the order of the calls; its number in `sequence`.

        0 when the queue is full: nothing was done.  `origin` comes back with it, if it does.
        """
        if self._waiting:
            self._order_reads()
        commands = self._commands
        if not commands:
            self.on_dirty(self)
        elif len(commands) >= SHARD_QUEUE_COMMANDS_MAX:
            return 0
        commands.append(args)
        self._waiters.append(waiter)
        self._origins.append(origin)
        self.sequence += 1
        return self.sequence

    def _order_reads(self) -> None:
        """Reads that wait for a barrier must not see what comes after them: they go before it."""
        if not self._commands:
            self.on_dirty(self)
        for reads in self._waiting:
            for _, args, waiter, origin in reads:
                self._commands.append(args)
                self._waiters.append(waiter)
                self._origins.append(origin)
            self.sequence += len(reads)
            reads.clear()
        self._waiting.clear()

    def read(
        self,
        command: Command,
        args: Args,
        waiter: Waiter,
        after: int = 0,
        origin: Origin | None = None,
    ) -> Any:
        """The reply of a linearizable read, or PENDING: then `after` is to be `frontier` of this
        moment when the same caller reads again.

        Args:
            after: the read comes after the caller's last command in the queue, by its number in
                `sequence`, or after a read of it that may be waiting.
        """
        store = self.store
        self.clock.catch_up()
        behind = after > self.settled
        if behind and self.settled < self.sequence:
            return PENDING if self.enqueue(args, waiter, origin) else BUSY
        if (behind and self._waiting) or not self.driver.reads_now():
            waiting_count = self.frontier - self.sequence
            if waiting_count + len(self._commands) >= SHARD_QUEUE_COMMANDS_MAX:
                return BUSY  # they may all have to go through the queue
            if not self._reads:
                self._reads = []
                self._waiting.append(self._reads)
                self.on_dirty(self)
            self._reads.append((command, args, waiter, origin))
            return PENDING
        if store.expires:
            wall_ms = self.time_ms()
            if store.is_due(command, args, wall_ms):
                # Through the log, so that all replicas agree on when it expired.
                return PENDING if self.enqueue(args, waiter, origin) else BUSY
            self.reads += 1
            return store.read(args, hide_due_ms=wall_ms)
        self.reads += 1
        return store.read(args)

    def flush(self) -> bool:
        """Propose what is queued, and ask for what reads wait for.  Called at a turn's end.

        While a batch is under way, the next one gathers commands until that one ends, or for
        `SHARD_GATHER_S`: what a batch costs is shared by more of them, and over long ways batches
        follow each other closely all the same.  None is proposed while one of an earlier term is
        under way: that one may be given back.

        Returns:
            Whether something is left, to be flushed again after that time.
        """
        if self._reads:
            reads, self._reads = self._reads, []
            asked_s = self.clock.now_s()
            self.driver.read(lambda outcome: self._read_all(reads, asked_s, outcome))
        now_s = self.clock.now_s()
        while self._commands and not self._is_giving_back:
            if self.inflight and (
                self.inflight >= SHARD_BATCHES_MAX
                or now_s < self._proposed_s + SHARD_GATHER_S
                or self.core.term != self._proposed_term
            ):
                return True
            self._propose(now_s)
        return False

    def _propose(self, now_s: float) -> None:
        count = min(len(self._commands), SHARD_BATCH_COMMANDS_MAX)
        if count == len(self._commands):
            commands, self._commands = self._commands, []
            waiters, self._waiters = self._waiters, []
            origins, self._origins = self._origins, []
        else:
            commands, waiters = self._commands[:count], self._waiters[:count]
            origins = self._origins[:count]
            del self._commands[:count], self._waiters[:count], self._origins[:count]
        payload = encode_batch(self.time_ms(), commands)
        while len(payload) > BATCH_BYTES and len(commands) > 1:
            # Rare: large values.  Half of them go back to where they came from.
            half = len(commands) // 2
            self._commands[:0], self._waiters[:0] = commands[half:], waiters[half:]
            self._origins[:0] = origins[half:]
            commands, waiters, origins = commands[:half], waiters[:half], origins[:half]
            payload = encode_batch(self.time_ms(), commands)
        self.inflight += 1
        self.store.answering = True
        last = self.sequence - len(self._commands)
        self._proposed_s = now_s
        self._proposed_term = self.core.term
        batch = _Batch(self, commands, waiters, origins, last, now_s)
        self._batches.append(batch)
        self.driver.propose((payload,), batch.done)
        batch.is_new = False

    def _give_back(self, batches: list[_Batch]) -> None:
        """Give batches back, with all that was given after them."""
        self._is_giving_back = False
        for batch in batches:
            self.meter.commands("write", "refused", len(batch.commands))
            self.on_refused(self, batch.commands, batch.waiters, batch.origins, batch.begun_s)
        if not self._commands:
            return
        commands, self._commands = self._commands, []
        waiters, self._waiters = self._waiters, []
        origins, self._origins = self._origins, []
        if self._batches:
            self._batches[-1].last = self.sequence
        else:
            self.settled = self.sequence
        self.meter.commands("write", "refused", len(commands))
        self.on_refused(self, commands, waiters, origins, self.clock.now_s())

    def _answer(self, waiters: list[Waiter], replies: list[Any]) -> None:
        """Give each its reply.  One that cannot take it keeps nobody else from the own."""
        if len(waiters) != len(replies):
            raise MisuseError(f"{len(replies)} replies for {len(waiters)} commands")
        pairs = zip(waiters, replies, strict=True)
        while True:
            try:
                for waiter, reply in pairs:
                    waiter.resolve(reply)
                return
            except Exception as error:
                self.on_fault(waiter, error)

    def on_fault(self, waiter: Waiter, error: Exception) -> None:
        """A waiter could not take its reply: a fault of ours, and no reason to stop the shard."""
        _log.error("a reply could not be given", shard=self.number, exc_info=error)
        with contextlib.suppress(Exception):
            waiter.resolve(UNSPEAKABLE)

    def _read_all(self, reads: list[_Read], asked_s: float, outcome: Outcome) -> None:
        """A barrier has an answer."""
        if not reads:
            return  # they were answered, or went into the queue
        waiting = self._waiting
        refused = outcome.kind != "applied"
        # What vouches for these vouches for those that were asked before, which come first.  If it
        # is refused all go back, in order: what came later must not be answered before.
        at = next(place for place, other in enumerate(waiting) if other is reads)
        end = len(waiting) if refused else at + 1
        taken = [read for others in waiting[:end] for read in others]
        for others in waiting[:end]:
            others.clear()
        del waiting[:end]
        if refused:
            self.meter.commands("read", "refused", len(taken))
            commands, waiters = [read[1] for read in taken], [read[2] for read in taken]
            self.on_refused(self, commands, waiters, [read[3] for read in taken], asked_s)
            return
        store = self.store
        wall_ms = self.time_ms()
        for place, (command, args, waiter, _) in enumerate(taken):
            if store.expires and store.is_due(command, args, wall_ms):
                # Through the log; those after it, too: they may be of the same caller.
                waiting.insert(0, taken[place:])
                self._order_reads()
                return
            self.reads += 1
            self._answer([waiter], [store.read(args, hide_due_ms=wall_ms)])

    # --- stale reads ---------------------------------------------------------------------------

    def read_stale(self, args: Args, waiter: Waiter, lag_max_s: float) -> Any:
        """The reply of a read of this replica, no older than `lag_max_s`; or PENDING."""
        now_s = self.clock.now_s()
        age_s = now_s - self.fresh_s
        if age_s + age_s > lag_max_s:
            self._probe(now_s)
        if age_s <= lag_max_s and self.driver.failed is None:
            self.stale_reads += 1
            return self._read_here(args)
        if len(self._stale) >= SHARD_QUEUE_COMMANDS_MAX:
            return self._too_old(lag_max_s)
        self._stale.append((args, waiter, lag_max_s, now_s))
        return PENDING

    def _read_here(self, args: Args) -> Any:
        """The reply of the store as it is, but for keys that are due by this node's clock."""
        if self.store.expires:
            return self.store.read(args, hide_due_ms=self.clock.wall_ms())
        return self.store.read(args)

    def _probe(self, now_s: float) -> None:
        """Learn how fresh the store is."""
        if now_s < self._probe_due_s:
            return
        self._probe_due_s = now_s + SHARD_PROBE_S
        asked_s = self.clock.catch_up()
        self.driver.read(lambda outcome: self._probed(asked_s, outcome))

    def _probed(self, asked_s: float, outcome: Outcome) -> None:
        if outcome.kind == "applied" and asked_s > self.fresh_s:
            self.fresh_s = asked_s
            self._probe_due_s = 0.0
        if not self._stale:
            return
        waiting, self._stale = self._stale, []
        now_s = self.clock.now_s()
        for args, waiter, lag_max_s, _ in waiting:
            if now_s - self.fresh_s <= lag_max_s:
                waiter.resolve(self._read_here(args))
            else:
                waiter.resolve(self._too_old(lag_max_s))

    def _too_old(self, lag_max_s: float) -> ReplyError:
        self.meter.commands("stale_read", "refused", 1)
        age_s = self.clock.now_s() - self.fresh_s
        known = f"{age_s * 1000:.0f} ms old" if age_s < 1e9 else "of unknown age"
        return ReplyError(
            f"STALE shard {self.number} is {known} on this node; the bound of this connection is "
            f"{lag_max_s * 1000:.0f} ms"
        )

    def count_reads(self) -> None:
        """Tell the meter of the reads since the last call."""
        if self.reads:
            self.meter.commands("read", "ok", self.reads)
            self.reads = 0
        if self.stale_reads:
            self.meter.commands("stale_read", "ok", self.stale_reads)
            self.stale_reads = 0

    # --- time ----------------------------------------------------------------------------------

    def time_ms(self) -> int:
        """What a leader takes for the time, in ms since 1970: it goes on even while the store's
        time is ahead of the wall clock."""
        wall_ms = self.clock.wall_ms()
        now_ms = self.store.now
        if wall_ms >= now_ms:
            return wall_ms
        now_s = self.clock.now_s()
        time_ms = self._reached_ms + int((now_s - self._reached_s) * 1000 * (1 - CLOCK_SLEW))
        if time_ms >= now_ms:
            return time_ms
        self._reached_ms, self._reached_s = now_ms, now_s
        return now_ms

    def attend(self) -> None:
        """Let keys expire that are due, even if nobody writes, and give up stale reads that no
        answer can help any more.  Called several times a second."""
        due_ms = self.store.next_due_ms
        wall_ms = self.time_ms()
        self.store.drop_idle(wall_ms)
        # A group that has committed nothing has no index to read at (0 is a refusal).
        is_wanted = self.core.commit == 0 or (due_ms is not None and due_ms <= wall_ms)
        if is_wanted and self.leads and not self._expiring and not self._commands:
            self._expiring = True
            self.driver.propose((encode_batch(wall_ms, []),), self._expired)
        now_s = self.clock.catch_up()
        if self.driver.reads_now():
            self.fresh_s = now_s  # for READONLY, should the lease be over soon
        if self._stale:
            waiting, self._stale = self._stale, []
            for item in waiting:
                if now_s - item[3] > item[2]:
                    item[1].resolve(self._too_old(item[2]))
                else:
                    self._stale.append(item)

    def _expired(self, outcome: Outcome) -> None:
        self._expiring = False
