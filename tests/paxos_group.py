"""Multi-Paxos cores for tests, alone and in groups; see core_group.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core_group import CoreGroup, answer, work

from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.paxos import Config, MultiPaxos
from ringleader.consensus.paxos.ballot import number_of
from ringleader.consensus.paxos.messages import Accept, Accepted, Prepare, Promise
from ringleader.consensus.ready import HardState, Ready
from ringleader.sim.family import paxos_core
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
    voters: int | Sequence[NodeId] | Membership = 3,
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
    if not isinstance(voters, Membership):
        voters = Membership(range(1, voters + 1) if isinstance(voters, int) else voters)
    return paxos_core(id, voters, storage.load(), config, seed)


def promise(core: MultiPaxos, sender: NodeId, *blocks: Block) -> Any:
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


class Group(CoreGroup[MultiPaxos]):
    def __init__(
        self,
        size: int | Sequence[NodeId] = 3,
        config: Config = PLAIN,
        storages: dict[Any, MemoryStorage] | None = None,
    ) -> None:
        super().__init__(size, config, storages or {})

    def new_core(self, id: NodeId, voters: Sequence[NodeId]) -> MultiPaxos:
        return paxos(id, voters, config=self.config, storage=self.storages[id], seed=self.lives[id])
