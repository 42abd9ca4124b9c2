"""What a simulated group is made of, for each consensus that there is: one row of a table.

Everything else in the simulator is the same for all of them.  A core that is to be simulated has
the attributes that its checker reads: id, term, vote, role, leader, commit, membership, log,
has_ready, has_lease, rejected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from ringleader.consensus.config import CoreConfig
from ringleader.consensus.driver import Recovered
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.paxos import messages as paxos_messages
from ringleader.consensus.paxos.config import Config as PaxosConfig
from ringleader.consensus.paxos.core import MultiPaxos
from ringleader.consensus.quorum import Flexible, Majority, QuorumSystem
from ringleader.consensus.raft import messages as raft_messages
from ringleader.consensus.raft.config import Config as RaftConfig
from ringleader.consensus.raft.core import Raft
from ringleader.errors import SettingError
from ringleader.sim.checker import Checker
from ringleader.sim.invariants import RaftChecker
from ringleader.sim.paxos_invariants import PaxosChecker
from ringleader.sim.profiles import Faults, Profile

#: Makes a core of what a node's disk gave back.
CoreFactory = Callable[[NodeId, Membership, Recovered, Any, int], Any]


@dataclass(frozen=True)
class Family:
    """One consensus.

    Attributes:
        name: as a user gives it.
        messages: the types of its messages, at their numbers in a run's digest.
        core: makes its cores.
        draw_config: the nodes' settings, from a generator of random numbers.
        checker: watches a group of them.
        states: what a run should reach, in the order in which a report shows it.
        probe, probe_flag: the message that asks whether a node would elect the sender, and the
            attribute that tells it from the real thing.
        transitions: the ways in which the nemesis asks for changes of membership.
        joint: whether a change of several voters goes by a joint configuration.
    """

    name: str
    messages: tuple[type | None, ...]
    core: CoreFactory
    draw_config: Callable[[Profile, Faults, Random], CoreConfig]
    checker: type[Checker[Any]]
    states: tuple[str, ...]
    probe: type
    probe_flag: str
    transitions: tuple[str, ...]
    joint: bool


def raft_core(
    node: NodeId, voters: Membership, recovered: Recovered, config: RaftConfig, seed: int
) -> Raft:
    return Raft(
        node,
        voters,
        log=recovered.log,
        config=config,
        seed=seed,
        hard_state=recovered.hard_state,
        snapshot=recovered.snapshot,
        partial=recovered.partial,
    )


def paxos_core(
    node: NodeId, voters: Membership, recovered: Recovered, config: PaxosConfig, seed: int
) -> MultiPaxos:
    return MultiPaxos(
        node,
        voters,
        log=recovered.log,
        config=config,
        seed=seed,
        hard_state=recovered.hard_state,
        snapshot=recovered.snapshot,
        partial=recovered.partial,
        aside=recovered.aside,
    )


def _draw_common(profile: Profile, faults: Faults, random: Random) -> dict[str, Any]:
    """Settings that make the rare paths common: small blocks, windows and chunks."""
    # Without pre-vote the followers of a leader must ignore candidates, and the other way round, or
    # a node that was removed can disturb the others for ever.
    pre_vote, check_quorum = random.choice(
        ((True, True), (True, True), (True, True), (True, False), (False, True))
    )
    lease = check_quorum and not faults.clock.jump_every_us and random.random() < 0.5
    return {
        "election_ticks": profile.election_ticks,
        "heartbeat_ticks": profile.heartbeat_ticks,
        "pre_vote": pre_vote,
        "check_quorum": check_quorum,
        "lease": lease,
        "max_block_bytes": random.choice((200, 2000, 2**20)),
        "max_inflight_entries": random.choice((1, 4, 256)),
        "max_inflight_bytes": random.choice((100, 1000, 2**26)),
        "max_uncommitted_bytes": random.choice((500, 2**20, 2**20)),
        "max_apply_bytes": random.choice((200, 2**20)),
        "snapshot_chunk_bytes": random.choice((64, 500, 2**16)),
        "max_inflight_chunks": random.choice((1, 8)),
        "eager_commit": random.random() < 0.5,
    }


def draw_raft_config(profile: Profile, faults: Faults, random: Random) -> RaftConfig:
    return RaftConfig(**_draw_common(profile, faults, random))


def draw_paxos_config(profile: Profile, faults: Faults, random: Random) -> PaxosConfig:
    return PaxosConfig(
        **_draw_common(profile, faults, random),
        window=random.choice((4, 16, 64, 1024)),
        max_aside_bytes=random.choice((1000, 2**26, 2**26)),
        quorum=random.choice((Majority, Majority, few_commit, few_elect, grid)),
    )


def few_commit(voters: tuple[NodeId, ...]) -> QuorumSystem:
    """Half of the voters, or less, commit an entry; the more it takes to elect."""
    count = max(1, len(voters) // 2)
    return Flexible(voters, replication=count, election=len(voters) + 1 - count, owned_ballots=True)


def few_elect(voters: tuple[NodeId, ...]) -> QuorumSystem:
    """Half of the voters, or less, elect: two leaders at a time, each with ballots of its own."""
    count = max(1, len(voters) // 2)
    return Flexible(voters, replication=len(voters) + 1 - count, election=count, owned_ballots=True)


def grid(voters: tuple[NodeId, ...]) -> QuorumSystem:
    """Columns of two, or of three, commit, and rows elect, where the voters make a rectangle."""
    rows = {4: 2, 6: 2}.get(len(voters))
    if rows is None:
        return Majority(voters)
    return Flexible.by_grid([voters[at::rows] for at in range(rows)], owned_ballots=True)


#: States that a run of any family should reach.
_FAULTS = (
    "partitions",
    "partitions of one direction",
    "clogs",
    "storms",
    "crashes",
    "crashes inside a step",
    "crashes of all nodes",
    "restarts",
    "restarts with writes under way",
    "restarts that lost unsynced writes",
    "torn tails recovered",
    "durable bits flipped",
    "damaged disks refused",
    "disks full",
    "disks slow",
    "nodes stopped by their disk",
)
_CLIENTS = (
    "transfers asked for",
    "transfers refused",
    "transfers sent",
    "transfers completed",
    "reads answered",
    "reads at followers",
    "reads under a lease",
    "writes answered",
    "operations timed out",
    "operations lost in a crash",
    "operations checked",
)

_RAFT_STATES = (
    "elections won",
    "votes refused",
    "pre-votes refused",
    "leaders that stepped down",
    "appends refused",
    "conflicting tails replaced",
    *_FAULTS,
    "snapshots taken",
    "snapshot chunks sent",
    "snapshot chunks confirmed",
    "snapshots resumed after a restart",
    "snapshots installed",
    "membership changes asked for",
    "membership changes refused",
    "configurations",
    "joint configurations entered",
    "joint configurations left",
    "members with learners",
    "members with witnesses",
    *_CLIENTS,
)

_PAXOS_STATES = (
    "elections won",
    "probes asked for",
    "probes granted",
    "prepares sent",
    "prepares answered in parts",
    "refused for a higher promise",
    "refused for what is chosen",
    "leaders that stepped down",
    "slots proposed again",
    "gaps filled with no-ops",
    "accepted past a gap",
    "entries set aside",
    "entries back from aside",
    "slots chosen past a gap",
    "entries fetched",
    "entries learned",
    "window full",
    *_FAULTS,
    "snapshots taken",
    "snapshot chunks sent",
    "snapshot chunks kept",
    "snapshots resumed after a restart",
    "snapshots installed",
    "membership changes asked for",
    "membership changes refused",
    "configurations",
    "configurations chosen",
    "configurations void",
    "members with learners",
    *_CLIENTS,
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="raft",
            messages=(
                raft_messages.AppendEntries,
                raft_messages.AppendReply,
                None,
                raft_messages.InstallSnapshot,
                None,
                raft_messages.Propose,
                raft_messages.ProposeReply,
                raft_messages.Quiesce,
                raft_messages.ReadReply,
                raft_messages.ReadRequest,
                raft_messages.RequestVote,
                raft_messages.SnapshotReply,
                raft_messages.TimeoutNow,
                raft_messages.VoteReply,
            ),
            core=raft_core,
            draw_config=draw_raft_config,
            checker=RaftChecker,
            states=_RAFT_STATES,
            probe=raft_messages.RequestVote,
            probe_flag="pre",
            transitions=("auto", "auto", "joint", "explicit"),
            joint=True,
        ),
        Family(
            name="paxos",
            messages=(
                paxos_messages.Prepare,
                paxos_messages.Promise,
                paxos_messages.Nack,
                paxos_messages.Accept,
                paxos_messages.Accepted,
                paxos_messages.Fetch,
                paxos_messages.Learn,
                paxos_messages.SnapshotPart,
                paxos_messages.TimeoutNow,
                paxos_messages.ReadRequest,
                paxos_messages.ReadReply,
                paxos_messages.Propose,
                paxos_messages.ProposeReply,
            ),
            core=paxos_core,
            draw_config=draw_paxos_config,
            checker=PaxosChecker,
            states=_PAXOS_STATES,
            probe=paxos_messages.Prepare,
            probe_flag="probe",
            transitions=("auto",),
            joint=False,
        ),
    )
}


def family(name: str) -> Family:
    """
    Raises:
        SettingError: there is no such consensus.
    """
    found = FAMILIES.get(name)
    if found is None:
        raise SettingError(f"consensus {name!r} is not one of {', '.join(FAMILIES)}")
    return found
