"""Raft cores for tests, alone and in groups; see core_group.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core_group import CoreGroup, answer, work

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.raft import Config, Raft, messages
from ringleader.consensus.ready import HardState, Ready
from ringleader.sim.family import raft_core
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
    id: NodeId = 1,
    voters: int | Sequence[NodeId] | Membership = 3,
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
    if not isinstance(voters, Membership):
        voters = Membership(range(1, voters + 1) if isinstance(voters, int) else voters)
    return raft_core(id, voters, storage.load(), config, id if seed is None else seed)


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


def leading(config: Config) -> Raft:
    """A leader with nothing left to do."""
    core = raft(config=config)
    elect(core)
    acknowledge(core, 2)
    acknowledge(core, 3)
    assert core.commit == 1
    return core


class Group(CoreGroup[Raft]):
    def __init__(self, size: int = 3, config: Config = PLAIN, **logs: list[int]) -> None:
        super().__init__(size, config, {int(name[3:]): stored(log) for name, log in logs.items()})

    def new_core(self, id: NodeId, voters: Sequence[NodeId]) -> Raft:
        return raft(
            id,
            voters,
            config=self.config,
            storage=self.storages[id],
            seed=100 * self.lives[id] + id,
        )

    def terms(self, id: int) -> list[int]:
        log = self.cores[id].log
        return [log.term(index) for index in range(log.first, log.last + 1)]
