"""The order of things around a core: persist, then send, then apply.

`Driver` is what the node and the simulator run a core on, so that the order itself is tested by
both.  It owns none of its surroundings; it reaches them through three small interfaces:

    Storage        makes things durable, in the order in which they were handed over
    Transport      sends messages, and may lose, delay, repeat or reorder them
    StateMachine   what is being replicated

Nothing here blocks, and nothing here knows the time: `tick()` is called by a clock, `receive()` by
a network, and the callback of `Storage.write` by a disk.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ringleader.consensus.log import ENTRY_BYTES, Block, Entries, Log
from ringleader.consensus.membership import ConfChange, Membership, NodeId
from ringleader.consensus.ready import (
    BytesSource,
    HardState,
    Placed,
    ReadState,
    Ready,
    Snapshot,
    SnapshotSource,
)
from ringleader.errors import MisuseError, NotLeader, ProposalRefused
from ringleader.kernels import hashing
from ringleader.limits import DRIVER_PENDING_MAX


class Recovered:
    """What a storage holds of an earlier life.

    `partial` says what has arrived of a snapshot that was being received: the snapshot's index,
    term, total_bytes and checksum, then how many bytes are there, and their CRC32C; or None.
    `aside`: the blocks that stand beside the log (`Ready.aside`), in the order in which they were
    written.  A storage that holds nothing gives the defaults.
    """

    __slots__ = ("aside", "hard_state", "log", "partial", "snapshot")

    def __init__(
        self,
        hard_state: HardState | None = None,
        log: Log | None = None,
        snapshot: Snapshot | None = None,
        partial: tuple[int, int, int, int, int, int] | None = None,
        aside: Sequence[Block] = (),
    ) -> None:
        self.hard_state = hard_state if hard_state is not None else HardState()
        self.log = log if log is not None else Log()
        self.snapshot = snapshot
        self.partial = partial
        self.aside = list(aside)


class Storage(Protocol):
    """One group's durable state.  `failed` is None, or the error after which it does no more."""

    @property
    def failed(self) -> BaseException | None: ...

    def load(self) -> Recovered:
        """What is durable.

        Raises:
            StorageError: it is damaged where no crash can have damaged it, or belongs to another.
        """
        ...

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        """Make `ready.hard_state`, `.chunks`, `.aside`, `.snapshot`, `.block` durable, in this
        order, after all that was handed over before; then call `done(ready)`, at once or later.

        What stood aside before is forgotten after all of these (`.clears_aside`), or once a durable
        snapshot covers it; a crash in between leaves it.  A `Ready` that persists nothing is done
        when all before it are.  After an error nothing is ever done again.
        """
        ...

    @property
    def takes_snapshots(self) -> bool:
        """Whether one would be saved at once, and not wait in memory behind those of others."""
        ...

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
        """Make a snapshot of the own state durable (`snapshot.source`), then forget log entries
        below `keep_from`; then call `done()`."""
        ...

    def open_snapshot(self) -> SnapshotSource:
        """The bytes of the latest durable snapshot."""
        ...


class Transport(Protocol):
    def send(self, messages: Sequence[Any]) -> None:
        """Try to deliver each message to its `to`; never wait, never fail."""
        ...


class StateMachine(Protocol):
    """Deterministic: the same commands in the same order give the same state and results."""

    def apply(self, entries: Entries) -> Sequence[Any]:
        """Apply the commands, `for index, command in entries`, and return one result for each."""
        ...

    def snapshot(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, source: SnapshotSource) -> None:
        """Replace the state by that of a snapshot."""
        ...


class Core(Protocol):
    """What `Driver` asks of a consensus core; `Raft` and `MultiPaxos` are such."""

    id: NodeId
    leader: NodeId | None
    now: int
    seed: int
    commit: int
    last_applied: int
    log: Log
    #: Whether an entry keeps the term that it was proposed in for as long as it is in any log.
    terms_stay: bool

    @property
    def has_ready(self) -> bool: ...
    @property
    def has_lease(self) -> bool: ...
    def tick(self, count: int = 1) -> None: ...
    def step(self, message: Any) -> None: ...
    def propose(self, payloads: Sequence[bytes]) -> int: ...
    def forward(self, payloads: Sequence[bytes]) -> int: ...
    def read_index(self, context: bytes) -> None: ...
    def change_config(self, change: ConfChange) -> int: ...
    def transfer(self, to: NodeId) -> None: ...
    def compact(self, snapshot: Snapshot, keep_from: int | None = None) -> None: ...
    def membership_at(self, index: int) -> Membership: ...
    def ready(self) -> Ready: ...
    def persisted(self, ready: Ready) -> None: ...
    def applied(self, index: int) -> None: ...


class Outcome:
    """What became of a proposal or a read.

    kind        "applied": the commands took effect, `results` holds what the state machine returned
                for each; for a read: the state machine may be read now, linearizably.
                "refused": certainly nothing took effect, and nothing will.
                "unknown": the commands may have taken effect, or may yet.
    leader      whom to ask instead, if that is known.
    """

    __slots__ = ("kind", "leader", "results")

    def __init__(
        self, kind: str, results: Sequence[Any] = (), leader: NodeId | None = None
    ) -> None:
        self.kind = kind
        self.results = results
        self.leader = leader

    def __repr__(self) -> str:
        return f"Outcome({self.kind!r}, {self.results!r}, leader={self.leader!r})"


Done = Callable[[Outcome], None]


class _Proposal:
    """Commands that wait for their place in the log to be applied."""

    __slots__ = ("asked", "count", "done", "first", "results", "term")

    def __init__(self, count: int, done: Done, asked: int) -> None:
        self.count = count
        self.done = done
        self.asked = asked
        self.first = 0
        self.term = 0
        self.results: list[Any] = []


class Driver:
    """Runs one core on its surroundings.

    Args:
        core: a `Raft`, a `MultiPaxos`, or another with the same surface.
        storage, transport, machine: see the protocols; `machine` may be None on a witness.
        forward: send proposals to the leader when this node is not it, instead of refusing them.
        snapshot_bytes: take a snapshot when the log holds so many bytes; None: only by
            `take_snapshot()`.
        keep_entries: entries that stay in the log behind a snapshot, for followers that lag a
            little.
        patience_ticks: after so many ticks a read or a proposal that got no answer is given up, as
            refused or unknown.

    Once storage or state machine has failed, `failed` holds the error and nothing is done any more:
    what they hold is unclear.
    """

    def __init__(
        self,
        core: Core,
        storage: Storage,
        transport: Transport,
        machine: StateMachine | None,
        *,
        forward: bool = True,
        snapshot_bytes: int | None = None,
        keep_entries: int = 1024,
        patience_ticks: int = 50,
    ) -> None:
        self.core = core
        self.storage = storage
        self.transport = transport
        self.machine = machine
        self.forward = forward
        self.snapshot_bytes = snapshot_bytes
        self.keep_entries = keep_entries
        self.patience_ticks = patience_ticks
        self.failed: BaseException | None = None
        self._pumping = False
        self._unwritten = 0
        self._saving = False
        self._sequence = 0
        self._proposals: list[tuple[int, int, _Proposal]] = []
        self._tickets: dict[int, _Proposal] = {}
        self._reads: dict[bytes, tuple[int, Done]] = {}
        #: (index to wait for, number, asked at, done), a heap.
        self._reads_ready: list[tuple[int, int, int, Done]] = []
        self._patience_due = patience_ticks
        self._applied_term = 0
        self._terms_stay = core.terms_stay
        snapshot: Snapshot | None = getattr(core, "snapshot", None)
        if snapshot is not None and machine is not None:
            machine.restore(snapshot.source)

    # --- what comes in -----------------------------------------------------------------------

    def tick(self, count: int = 1) -> None:
        """Time passes."""
        if self.storage.failed is not None and self.failed is None:
            self._fail(self.storage.failed)
        self.core.tick(count)
        if self.core.now >= self._patience_due:
            self._lose_patience()
        self.pump()

    def receive(self, message: Any) -> None:
        """A message arrives."""
        self.core.step(message)
        self.pump()

    def receive_all(self, messages: Sequence[Any]) -> None:
        """Several arrive together; they share what has to be persisted and sent."""
        step = self.core.step
        for message in messages:
            step(message)
        self.pump()

    def propose(self, commands: Sequence[bytes], done: Done) -> None:
        """Have commands replicated and applied next to each other; `done(outcome)` is called once,
        perhaps before this returns."""
        if self.failed is not None:
            done(Outcome("refused"))
            return
        proposal = _Proposal(len(commands), done, self.core.now)
        try:
            proposal.first = self.core.propose(commands)
            proposal.term = self.core.log.last_term
        except NotLeader as error:
            if not self.forward or error.leader is None or len(self._tickets) >= DRIVER_PENDING_MAX:
                done(Outcome("refused", leader=error.leader))
                return
            self._tickets[self.core.forward(commands)] = proposal
        except ProposalRefused:
            done(Outcome("refused", leader=self.core.leader))
            return
        else:
            self._expect(proposal)
        self.pump()

    def read(self, done: Done) -> None:
        """Ask for a linearizable read: when `done` gets "applied", read the state machine then."""
        if self.failed is not None or len(self._reads) >= DRIVER_PENDING_MAX:
            done(Outcome("refused"))
            return
        self._sequence += 1
        # With the seed: an answer to a read of an earlier life must not meet one of this life.
        context = f"{self.core.seed}:{self._sequence}".encode()
        self._reads[context] = (self.core.now, done)
        try:
            self.core.read_index(context)
        except (NotLeader, ProposalRefused):
            del self._reads[context]
            done(Outcome("refused", leader=self.core.leader))
            return
        self.pump()

    def reads_now(self) -> bool:
        """Whether the state machine may be read at once, linearizably: this node leads by a lease
        and has applied all that is committed.  All ticks that have passed must be reported before.
        """
        core = self.core
        return self.failed is None and core.has_lease and core.last_applied >= core.commit

    def change_config(self, change: ConfChange) -> int:
        """See `Raft.change_config`."""
        index = self.core.change_config(change)
        self.pump()
        return index

    def transfer(self, to: NodeId) -> None:
        """See `Raft.transfer`."""
        self.core.transfer(to)
        self.pump()

    # --- what goes out -----------------------------------------------------------------------

    def pump(self) -> None:
        """Do what the core has ready.  Called by everything above."""
        if self._pumping or self.failed is not None:
            return
        self._pumping = True
        core = self.core
        try:
            while core.has_ready:
                self._handle(core.ready())
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._pumping = False
        if self.snapshot_bytes is not None and not self._saving:
            since = self._snapshot_index()
            log = core.log
            if (
                log.payload_size(since + 1, core.last_applied + 1)
                + ENTRY_BYTES * (core.last_applied - since)
                > self.snapshot_bytes
            ):
                self.take_snapshot()

    def _handle(self, ready: Ready) -> None:
        messages = ready.messages
        if ready.early == len(messages):
            if messages:
                self.transport.send(messages)
        elif ready.early:
            self.transport.send(messages[: ready.early])
        if self._unwritten or ready.writes:
            self._unwritten += 1
            self.storage.write(ready, self._durable)
        elif ready.early < len(messages):
            self.transport.send(messages[ready.early :])
        if ready.placed is not None:
            for placed in ready.placed:
                self._place(placed)
        if ready.committed is not None:
            self._apply(ready.committed)
        if ready.reads is not None:
            for read in ready.reads:
                self._answer(read)

    def _durable(self, ready: Ready) -> None:
        if self.failed is not None:
            return
        self._unwritten -= 1
        snapshot = ready.snapshot
        if snapshot is not None:
            snapshot.source = self.storage.open_snapshot()
            if self.machine is not None:
                try:
                    self.machine.restore(snapshot.source)
                except BaseException as error:
                    self._fail(error)
                    raise
        self.core.persisted(ready)
        if ready.early < len(ready.messages):
            self.transport.send(ready.messages[ready.early :])
        if snapshot is not None:
            self._skip_to(snapshot.index)
        self.pump()

    def _apply(self, entries: Entries) -> None:
        results = self.machine.apply(entries) if self.machine is not None else ()
        last = entries.last
        self.core.applied(last)
        proposals = self._proposals
        if proposals and proposals[0][0] <= last:
            self._settle(entries, results)
        term = entries.term(last)
        if term > self._applied_term:
            self._applied_term = term
            if proposals and self._terms_stay:
                self._settle_lost(term)
        while self._reads_ready and self._reads_ready[0][0] <= last:
            heapq.heappop(self._reads_ready)[3](Outcome("applied"))

    def _settle(self, entries: Entries, results: Sequence[Any]) -> None:
        """Tell those who proposed what became of it."""
        first, last = entries.first, entries.last
        proposals = self._proposals
        # Where the result of an entry stands: control entries have none.
        places: dict[int, int] | None = None
        if len(results) != len(entries):
            commands = [index for index in range(first, last + 1) if not entries.is_control(index)]
            if len(results) != len(commands):
                raise MisuseError(
                    f"apply() returned {len(results)} results for {len(commands)} commands"
                )
            places = {index: place for place, index in enumerate(commands)}
        while proposals and proposals[0][0] <= last:
            proposal = proposals[0][2]
            begin = proposal.first + len(proposal.results)
            if begin < first:
                # It was placed by another node after it had been applied here.
                heapq.heappop(proposals)
                proposal.done(Outcome("unknown"))
                continue
            end = min(proposal.first + proposal.count - 1, last)
            if entries.term(end) != proposal.term and not self._terms_stay:
                # Another leader put it there, or another entry: the term does not tell.
                heapq.heappop(proposals)
                proposal.done(Outcome("unknown", leader=self.core.leader))
                continue
            if entries.term(end) != proposal.term:
                # Another entry is committed in the place of one of its own, which can never be;
                # those before it may have taken effect.  (Terms do not go back: all up to `end` are
                # its own if that one is.)
                heapq.heappop(proposals)
                own = proposal.results or entries.term(begin) == proposal.term
                proposal.done(Outcome("unknown" if own else "refused", leader=self.core.leader))
                continue
            start = begin - first if places is None else places[begin]
            proposal.results.extend(results[start : start + end - begin + 1])
            if len(proposal.results) < proposal.count:
                break  # the rest comes with the next entries
            heapq.heappop(proposals)
            proposal.done(Outcome("applied", proposal.results))

    def _settle_lost(self, term: int) -> None:
        """An entry of `term` is committed, before those of earlier terms: they can never be."""
        lost = [item for item in self._proposals if item[2].term < term]
        if not lost:
            return
        self._proposals = [item for item in self._proposals if item[2].term >= term]
        heapq.heapify(self._proposals)
        for _, _, proposal in lost:
            kind = "unknown" if proposal.results else "refused"
            proposal.done(Outcome(kind, leader=self.core.leader))

    def _fail(self, error: BaseException) -> None:
        """Nothing is done any more, and those who wait are told."""
        self.failed = error
        waiting = [item[2] for item in self._proposals] + list(self._tickets.values())
        readers = [done for _, done in self._reads.values()]
        readers += [item[3] for item in self._reads_ready]
        self._proposals, self._tickets, self._reads, self._reads_ready = [], {}, {}, []
        for proposal in waiting:
            proposal.done(Outcome("unknown"))
        for done in readers:
            done(Outcome("refused"))

    def _skip_to(self, index: int) -> None:
        """A snapshot took the place of entries up to `index`."""
        while self._proposals and self._proposals[0][0] <= index:
            heapq.heappop(self._proposals)[2].done(Outcome("unknown"))
        while self._reads_ready and self._reads_ready[0][0] <= index:
            heapq.heappop(self._reads_ready)[3](Outcome("applied"))

    def _expect(self, proposal: _Proposal) -> None:
        if not proposal.count:
            proposal.done(Outcome("applied"))
            return
        self._sequence += 1
        heapq.heappush(self._proposals, (proposal.first, self._sequence, proposal))

    def _place(self, placed: Placed) -> None:
        proposal = self._tickets.pop(placed.ticket, None)
        if proposal is None:
            return
        if not placed.index:
            proposal.done(Outcome("refused", leader=self.core.leader))
        elif placed.index <= self.core.last_applied:
            proposal.done(Outcome("unknown"))
        else:
            proposal.first, proposal.term = placed.index, placed.term
            self._expect(proposal)

    def _answer(self, read: ReadState) -> None:
        asked, done = self._reads.pop(read.context, (0, None))
        if done is None:
            return
        if not read.index:
            done(Outcome("refused", leader=self.core.leader))
        elif read.index <= self.core.last_applied:
            done(Outcome("applied"))
        else:
            self._sequence += 1
            heapq.heappush(self._reads_ready, (read.index, self._sequence, asked, done))

    def _lose_patience(self) -> None:
        now = self.core.now
        self._patience_due = now + self.patience_ticks
        old = now - self.patience_ticks
        for context in [key for key, (asked, _) in self._reads.items() if asked <= old]:
            self._reads.pop(context)[1](Outcome("refused", leader=self.core.leader))
        # Those that wait to be applied here: a replica that was cut off, or removed, may never get
        # so far.
        behind = [item[3] for item in self._reads_ready if item[2] <= old]
        if behind:
            self._reads_ready = [item for item in self._reads_ready if item[2] > old]
            heapq.heapify(self._reads_ready)
            for done in behind:
                done(Outcome("refused", leader=self.core.leader))
        for ticket in [key for key, asked in self._tickets.items() if asked.asked <= old]:
            self._tickets.pop(ticket).done(Outcome("unknown", leader=self.core.leader))
        late = [item[2] for item in self._proposals if item[2].asked <= old]
        if late:
            self._proposals = [item for item in self._proposals if item[2].asked > old]
            heapq.heapify(self._proposals)
            for proposal in late:
                proposal.done(Outcome("unknown", leader=self.core.leader))

    # --- snapshots ---------------------------------------------------------------------------

    def take_snapshot(self) -> None:
        """Save the state machine's state, then let the log forget what it covers.

        One at a time: while one is being saved, or the storage has enough to do with those of other
        groups, nothing happens.
        """
        core = self.core
        index = core.last_applied
        if self._saving or self.failed is not None or not self.storage.takes_snapshots:
            return
        if index <= max(core.log.base, self._snapshot_index()):
            return
        membership = core.membership_at(index)
        if not membership.voters:
            return  # a node that joined, before the first configuration: useless to anyone
        try:
            data = self.machine.snapshot() if self.machine is not None else b""
        except BaseException as error:
            self._fail(error)
            raise
        snapshot = Snapshot(
            index, core.log.term(index), membership, BytesSource(data), hashing.crc32c(data)
        )
        keep_from = max(index + 1 - self.keep_entries, core.log.base + 1)
        self._saving = True

        def done() -> None:
            self._saving = False
            # A newer one may have been installed meanwhile.
            if self.failed is None and index > max(core.log.base, self._snapshot_index()):
                snapshot.source = self.storage.open_snapshot()
                core.compact(snapshot, max(keep_from, core.log.base + 1))

        try:
            self.storage.save_snapshot(snapshot, keep_from, done)
        except BaseException as error:
            self._fail(error)
            raise

    def _snapshot_index(self) -> int:
        snapshot: Snapshot | None = getattr(self.core, "snapshot", None)
        return snapshot.index if snapshot is not None else 0
