"""A few Multi-Paxos cores in one process, for tests: every message waits until the test delivers
it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.paxos import Config, MultiPaxos
from ringleader.consensus.paxos.ballot import number_of
from ringleader.consensus.paxos.messages import Accept, Accepted, Prepare, Promise
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot
from ringleader.kernels import hashing
from ringleader.storage.memory import MemoryStorage

#: As in the papers: without the extensions that would hide a rule.
PLAIN = Config(pre_vote=False, check_quorum=False)


def b(round: int, owner: NodeId) -> int:
    """The ballot of `owner` in this round."""
    return round << 32 | number_of(owner)


def packed(
    first: int, ballots: int | Sequence[int], payloads: Sequence[bytes], control: bool = False
) -> Block:
    """Accepted values: in one ballot, or each in its own."""
    return Block.pack(first, ballots, payloads, control=control)  # type: ignore[arg-type]


def stored(
    ballots: Sequence[int] = (),
    term: int = 0,
    commit: int = 0,
    aside: Sequence[Block] = (),
) -> MemoryStorage:
    """What an acceptor that accepted in these ballots has on its disk; the value of slot 3 in the
    ballot of 2 in round 1 is "1.2@3"."""
    storage = MemoryStorage()
    ready = Ready(1)
    highest = max([term, *ballots, *(block.last_term for block in aside)])
    ready.hard_state = HardState(highest, None, commit)
    if ballots:
        ready.block = packed(1, list(ballots), [value(at, x) for at, x in enumerate(ballots, 1)])
    ready.aside = list(aside) or None
    storage.write(ready, lambda ready: None)
    return storage


def value(slot: int, ballot: int) -> bytes:
    return b"%d.%d@%d" % (ballot >> 32, ballot & 0xFFFFFFFF, slot)


def paxos(
    id: NodeId = 1,
    voters: int | list[Any] | Membership = 3,
    *,
    accepted: Sequence[int] = (),
    term: int = 0,
    commit: int = 0,
    aside: Sequence[Block] = (),
    config: Config = PLAIN,
    storage: MemoryStorage | None = None,
    seed: int = 1,
) -> MultiPaxos:
    """One core that has accepted in these ballots, and has nothing to do yet."""
    if storage is None:
        storage = stored(accepted, term, commit, aside)
    found = storage.load()
    if isinstance(voters, int):
        voters = list(range(1, voters + 1))
    return MultiPaxos(
        id,
        voters,
        log=found.log,
        config=config,
        seed=seed,
        hard_state=found.hard_state,
        snapshot=found.snapshot,
        partial=found.partial,
        aside=found.aside,
    )


def work(core: MultiPaxos) -> list[Any]:
    """Do what the core has ready, at once; the messages that it sends."""
    sent: list[Any] = []
    while core.has_ready:
        ready = core.ready()
        sent += ready.messages
        core.advance(ready)
    return sent


def answer(core: MultiPaxos, message: Any) -> list[Any]:
    """What the core sends when it gets this message."""
    core.step(message)
    return work(core)


def promise(core: MultiPaxos, sender: NodeId, *blocks: Block, parts: int | None = None) -> Any:
    """The promise of one acceptor to the core's present question, all in one part."""
    (block,) = blocks or (None,)
    probe = core.role == "probing"
    ballot = core.ballot if probe else core.term
    return Promise(sender, core.id, ballot, core.attempt, probe, 0, 0, 1, block)


def elect(core: MultiPaxos, **reports: Block) -> list[Any]:
    """Make the core the leader of its group, by promises made up; the messages of its first round.
    `of2` is what 2 reports to have accepted."""
    core.campaign()
    sent = work(core)
    for wanted in ("probing", "candidate"):
        for voter in core.membership.voters:
            if voter != core.id and core.role == wanted:
                report = reports.get(f"of{voter}") if wanted == "candidate" else None
                core.step(promise(core, voter, *([report] if report is not None else [])))
        sent = work(core)
    assert core.role == "leader", core
    return sent


def accepted(
    core: MultiPaxos, sender: NodeId, last: int | None = None, first: int = 1, commit: int = 0
) -> list[Any]:
    """An acceptor has accepted the slots `first` ... `last` (all of them)."""
    last = core.log.last if last is None else last
    first = first if last else 0
    return answer(core, Accepted(sender, core.id, core.term, first, last, commit, core.round))


def leading(voters: int | list[Any] = 3, **more: Any) -> MultiPaxos:
    """A leader with nothing left to do."""
    core = paxos(voters=voters, **more)
    elect(core)
    for voter in core.membership.voters[1:]:
        accepted(core, voter, commit=core.commit)
    assert core.commit == core.log.last
    return core


def heartbeat(core: MultiPaxos, ballot: int, commit: int = 0, round: int = 1) -> Accept:
    return Accept(ballot & 0xFFFFFFFF, core.id, ballot, commit, round)


def prepare(core: MultiPaxos, ballot: int, commit: int = 0, **more: Any) -> Prepare:
    return Prepare(ballot & 0xFFFFFFFF, core.id, ballot, commit, 1, **more)


def kinds(messages: Sequence[Any]) -> list[str]:
    return [type(message).__name__ for message in messages]


class Group:
    """Some cores, their storages and state machines, and the messages under way."""

    def __init__(
        self,
        size: int | Sequence[NodeId] = 3,
        config: Config = PLAIN,
        storages: dict[Any, MemoryStorage] | None = None,
    ) -> None:
        self.config = config
        self.voters: list[Any] = list(range(1, size + 1)) if isinstance(size, int) else list(size)
        self.storages: dict[Any, MemoryStorage] = {id: MemoryStorage() for id in self.voters}
        self.storages |= storages or {}
        self.lives: dict[Any, int] = {}
        self.cores: dict[Any, MultiPaxos] = {}
        self.applied: dict[Any, list[tuple[int, bytes]]] = {}
        self.reads: dict[Any, list[tuple[bytes, int]]] = {}
        self.network: list[Any] = []
        self.passes: Callable[[Any], bool] = lambda message: True
        self.sent: list[Any] = []
        for id in self.voters:
            self.start(id)

    def start(self, id: NodeId) -> MultiPaxos:
        self.lives[id] = self.lives.get(id, 0) + 1
        self.applied[id], self.reads[id] = [], []
        core = self.cores[id] = paxos(
            id,
            self.voters if id in self.voters else Membership(),
            config=self.config,
            storage=self.storages[id],
            seed=self.lives[id],
        )
        return core

    def join(self, id: NodeId) -> MultiPaxos:
        """A node that knows of no group yet."""
        self.storages[id] = MemoryStorage()
        return self.start(id)

    def crash(self, id: NodeId) -> None:
        del self.cores[id]

    def work(self, id: NodeId) -> None:
        core = self.cores[id]
        while core.has_ready:
            ready = core.ready()
            self.storages[id].write(ready, lambda ready: None)
            if ready.snapshot is not None:
                ready.snapshot.source = self.storages[id].open_snapshot()
            core.persisted(ready)
            self.sent += ready.messages
            self.network += ready.messages
            if (entries := ready.committed) is not None:
                self.applied[id] += [
                    (index, bytes(entries[index]))
                    for index in range(entries.first, entries.last + 1)
                    if not entries.is_control(index)
                ]
                core.applied(entries.last)
            self.reads[id] += [(read.context, read.index) for read in ready.reads or ()]

    def settle(self, rounds: int = 1000) -> None:
        """Deliver until nothing is under way."""
        for id in self.cores:
            self.work(id)
        for _ in range(rounds):
            batch, self.network = self.network, []
            if not batch:
                return
            for message in batch:
                if message.to in self.cores and self.passes(message):
                    self.cores[message.to].step(message)
                    self.work(message.to)
        raise AssertionError("the messages never end")

    def tick(self, count: int = 1, *ids: NodeId) -> None:
        for _ in range(count):
            for id in ids or tuple(self.cores):
                self.cores[id].tick()
                self.work(id)
            self.settle()

    def elect(self, id: NodeId) -> MultiPaxos:
        self.cores[id].campaign()
        self.settle()
        assert self.cores[id].role == "leader", self.cores[id]
        return self.cores[id]

    def cut(self, *ids: NodeId) -> None:
        """Nothing passes between these and the others."""
        self.passes = lambda message: (message.sender in ids) == (message.to in ids)

    def heal(self) -> None:
        self.passes = lambda message: True

    def snapshot(self, id: NodeId, data: bytes = b"state", keep_from: int | None = None) -> None:
        core = self.cores[id]
        index = core.last_applied
        snapshot = Snapshot(
            index,
            core.log.term(index),
            core.membership_at(index),
            BytesSource(data),
            hashing.crc32c(data),
        )
        self.storages[id].save_snapshot(snapshot, keep_from or index + 1, lambda: None)
        core.compact(snapshot, keep_from)
