"""A few Raft cores in one process, for tests: every message is kept until the test delivers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.raft import Config, Raft, messages
from ringleader.consensus.ready import BytesSource, HardState, Ready, Snapshot
from ringleader.kernels import hashing
from ringleader.storage.memory import MemoryStorage

#: As in the paper: without the extensions that would hide a rule.
PLAIN = Config(pre_vote=False, check_quorum=False)


def stored(
    terms: list[int], term: int = 0, vote: int | None = None, commit: int = 0
) -> MemoryStorage:
    """What a node with a log of these terms has on its disk."""
    storage = MemoryStorage()
    ready = Ready(1)
    ready.hard_state = HardState(max([term, *terms]), vote, commit)
    if terms:
        payloads = [f"{of_term}.{at}".encode() for at, of_term in enumerate(terms, 1)]
        ready.block = Block.pack(1, terms, payloads)
    storage.write(ready, lambda ready: None)
    return storage


def raft(
    id: int = 1,
    voters: int | list[int] | Membership = 3,
    *,
    terms: list[int] | None = None,
    term: int = 0,
    vote: int | None = None,
    commit: int = 0,
    config: Config = PLAIN,
    storage: MemoryStorage | None = None,
    seed: int | None = None,
) -> Raft:
    """One core with a log of these terms, that has nothing to do yet."""
    if storage is None:
        storage = stored(terms or [], term, vote, commit)
    found = storage.load()
    if isinstance(voters, int):
        voters = list(range(1, voters + 1))
    return Raft(
        id,
        voters,
        log=found.log,
        config=config,
        seed=id if seed is None else seed,
        hard_state=found.hard_state,
        snapshot=found.snapshot,
        partial=found.partial,
    )


def work(core: Raft) -> list[Any]:
    """Do what the core has ready, at once; the messages that it sends."""
    sent: list[Any] = []
    while core.has_ready:
        ready = core.ready()
        sent += ready.messages
        core.advance(ready)
    return sent


def answer(core: Raft, message: Any) -> list[Any]:
    """What the core sends when it gets this message."""
    core.step(message)
    return work(core)


def elect(core: Raft) -> list[Any]:
    """Make the core the leader of its group, by votes made up; the messages of its first round."""
    core.campaign()
    work(core)
    term = core.term + (1 if core.role == "pre-candidate" else 0)
    for voter in core.membership.members:
        if voter != core.id and core.role == "pre-candidate":
            core.step(messages.VoteReply(voter, core.id, term, True, True))
    work(core)
    sent: list[Any] = []
    for voter in core.membership.members:
        if voter != core.id and core.role == "candidate":
            core.step(messages.VoteReply(voter, core.id, core.term, True))
            sent += work(core)
    assert core.role == "leader"
    return sent


def acknowledge(core: Raft, sender: int, match: int | None = None) -> list[Any]:
    """A follower holds everything up to `match`."""
    match = core.log.last if match is None else match
    return answer(core, messages.AppendReply(sender, core.id, core.term, match, core.round))


class Group:
    """Some cores, their storages and state machines, and the messages under way."""

    def __init__(self, size: int = 3, config: Config = PLAIN, **logs: list[int]) -> None:
        self.config = config
        self.voters = list(range(1, size + 1))
        self.storages = {id: stored(logs.get(f"log{id}", [])) for id in self.voters}
        self.lives = dict.fromkeys(self.voters, 0)
        self.cores: dict[int, Raft] = {}
        self.applied: dict[int, list[tuple[int, bytes]]] = {id: [] for id in self.voters}
        self.reads: dict[int, list[tuple[bytes, int]]] = {id: [] for id in self.voters}
        self.network: list[Any] = []
        self.passes: Callable[[Any], bool] = lambda message: True
        self.sent: list[Any] = []
        for id in self.voters:
            self.start(id)

    def start(self, id: int) -> Raft:
        found = self.storages[id].load()
        self.lives[id] += 1
        self.applied.setdefault(id, []).clear()
        self.reads.setdefault(id, []).clear()
        core = self.cores[id] = Raft(
            id,
            self.voters if id in self.voters else (),
            log=found.log,
            config=self.config,
            seed=100 * self.lives[id] + id,
            hard_state=found.hard_state,
            snapshot=found.snapshot,
            partial=found.partial,
        )
        return core

    def join(self, id: int) -> Raft:
        """A node that knows of no group yet."""
        self.storages[id], self.lives[id] = MemoryStorage(), 0
        return self.start(id)

    def crash(self, id: int) -> None:
        del self.cores[id]

    def work(self, id: int) -> None:
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

    def work_all(self) -> None:
        for id in self.cores:
            self.work(id)

    def settle(self, rounds: int = 1000) -> None:
        """Deliver until nothing is under way."""
        self.work_all()
        for _ in range(rounds):
            batch, self.network = self.network, []
            if not batch:
                return
            for message in batch:
                if message.to in self.cores and self.passes(message):
                    self.cores[message.to].step(message)
                    self.work(message.to)
        raise AssertionError("the messages never end")

    def tick(self, count: int = 1, *ids: int) -> None:
        for _ in range(count):
            for id in ids or tuple(self.cores):
                self.cores[id].tick()
                self.work(id)
            self.settle()

    def elect(self, id: int) -> Raft:
        self.cores[id].campaign()
        self.settle()
        assert self.cores[id].role == "leader", self.cores[id]
        return self.cores[id]

    def cut(self, *ids: int) -> None:
        """Nothing passes between these and the others."""
        self.passes = lambda message: (message.sender in ids) == (message.to in ids)

    def heal(self) -> None:
        self.passes = lambda message: True

    def snapshot(self, id: int, data: bytes = b"state", keep_from: int | None = None) -> None:
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

    def terms(self, id: int) -> list[int]:
        log = self.cores[id].log
        return [log.term(index) for index in range(log.first, log.last + 1)]
