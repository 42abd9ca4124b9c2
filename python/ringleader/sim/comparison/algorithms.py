"""The contestants, where their nodes may stand, and which quorums they may use there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

from ringleader.consensus.config import CoreConfig
from ringleader.consensus.driver import Recovered
from ringleader.consensus.membership import NodeId
from ringleader.consensus.quorum import Flexible, Majority, QuorumSystem
from ringleader.errors import SettingError
from ringleader.sim.profiles import MS, PROFILES, Profile

# --- algorithms ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Algorithm:
    """
    make            a core: make(id, voters, recovered=..., config=..., seed=...).
    config          makes its settings.
    encode          a message as bytes.
    owned_ballots   each of its ballots belongs to one proposer, so that two election quorums need
                    not meet.
    """

    name: str
    title: str
    make: Callable[..., Any]
    config: Callable[..., CoreConfig]
    encode: Callable[[Any], bytes]
    owned_ballots: bool


@cache
def raft() -> Algorithm:
    from ringleader.consensus.raft import Config, Raft
    from ringleader.consensus.raft.wire import encode

    def make(
        node: NodeId, voters: Iterable[NodeId], recovered: Recovered, config: Config, seed: int
    ) -> Raft:
        return Raft(node, voters, log=recovered.log, config=config, seed=seed)

    return Algorithm("raft", "Raft", make, Config, encode, owned_ballots=False)


@cache
def paxos() -> Algorithm:
    from ringleader.consensus.paxos import Config, MultiPaxos
    from ringleader.consensus.paxos.wire import encode

    def make(
        node: NodeId, voters: Iterable[NodeId], recovered: Recovered, config: Config, seed: int
    ) -> MultiPaxos:
        return MultiPaxos(node, voters, log=recovered.log, config=config, seed=seed)

    return Algorithm("paxos", "Multi-Paxos", make, Config, encode, owned_ballots=True)


def algorithms() -> tuple[Algorithm, ...]:
    """Those that are compared, in the order of the tables."""
    return raft(), paxos()


# --- quorums ------------------------------------------------------------------------------------

#: Makes a quorum system of the voters, given the datacenter of each, and whether ballots are owned.
MakeSystem = Callable[[Mapping[NodeId, str], bool], QuorumSystem]


@dataclass(frozen=True)
class Arrangement:
    """Which quorums commit and which elect.  `make` raises `QuorumError` where the algorithm may
    not use it."""

    name: str
    make: MakeSystem


def _majority(dcs: Mapping[NodeId, str], owned: bool) -> QuorumSystem:
    return Majority(dcs)


MAJORITY = Arrangement("majority", _majority)


def by_count(replication: int, election: int) -> Arrangement:
    def make(dcs: Mapping[NodeId, str], owned: bool) -> QuorumSystem:
        return Flexible(dcs, replication=replication, election=election, owned_ballots=owned)

    return Arrangement(f"any {replication} commit, any {election} elect", make)


def by_datacenter(replication: int, election: int) -> Arrangement:
    def make(dcs: Mapping[NodeId, str], owned: bool) -> QuorumSystem:
        return Flexible.by_datacenter(
            nodes_of(dcs), replication=replication, election=election, owned_ballots=owned
        )

    where = "datacenter" if replication == 1 else "datacenters"
    return Arrangement(f"most of {replication} {where} commit, of {election} elect", make)


def _grid(dcs: Mapping[NodeId, str], owned: bool) -> QuorumSystem:
    rows = zip(*nodes_of(dcs).values(), strict=True)
    return Flexible.by_grid(rows, owned_ballots=owned)


#: Raft elects by a row and a column, for rows do not meet.
GRID = Arrangement("a datacenter commits, one node of each elects", _grid)


def nodes_of(dcs: Mapping[NodeId, str]) -> dict[str, list[NodeId]]:
    """The nodes of each datacenter."""
    found: dict[str, list[NodeId]] = {}
    for node, dc in dcs.items():
        found.setdefault(dc, []).append(node)
    return found


def losses_survived(
    groups: Sequence[Sequence[NodeId]], still_works: Callable[[frozenset[NodeId]], bool]
) -> int:
    """The largest n so that it `still_works` with the nodes that are left, whichever n of the
    groups are lost; -1 when it does not even with all of them."""
    every = frozenset(node for group in groups for node in group)
    for count in range(len(groups) + 1):
        for lost in combinations(groups, count):
            if not still_works(every - {node for group in lost for node in group}):
                return count - 1
    return len(groups)


def floor_us(system: QuorumSystem, leader: NodeId, rtt_us: Mapping[NodeId, int]) -> int:
    """No commit can be faster: the round trip from `leader` to the farthest member of the quorum
    that is nearest, with no jitter, no disk, and no time to think."""
    for reach_us in sorted({0, *rtt_us.values()}):
        if system.has_quorum([leader, *(node for node in rtt_us if rtt_us[node] <= reach_us)]):
            return reach_us
    raise SettingError(f"all voters together are no quorum of {system!r}")


# --- geometries ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Geometry:
    """Nodes in datacenters, one of which leads (the client is in its datacenter), and the quorums
    that are tried there."""

    name: str
    words: str
    profile: Profile
    arrangements: tuple[Arrangement, ...]
    leader: int = 1

    @property
    def dcs(self) -> dict[NodeId, str]:
        """The datacenter of each node."""
        return dict(enumerate(self.profile.nodes, 1))

    @property
    def rtt_us(self) -> dict[NodeId, int]:
        """From the leader to each other node, without jitter."""
        profile = self.profile
        home = self.dcs[self.leader]
        found: dict[NodeId, int] = {}
        for node, dc in self.dcs.items():
            if node == self.leader:
                continue
            if dc == home:
                found[node] = profile.rtt_local_us
            else:
                found[node] = profile.rtt_us.get((home, dc)) or profile.rtt_us[dc, home]
        return found


#: Three datacenters, in each of them three zones a millisecond apart.
WAN_3X3 = Profile(
    "wan-3x3",
    ("eu", "eu", "eu", "us", "us", "us", "ap", "ap", "ap"),
    PROFILES["wan-3dc"].rtt_us,
    rtt_local_us=1 * MS,
    tick_us=PROFILES["wan-3dc"].tick_us,
    election_ticks=PROFILES["wan-3dc"].election_ticks,
    heartbeat_ticks=PROFILES["wan-3dc"].heartbeat_ticks,
)

GEOMETRIES: tuple[Geometry, ...] = (
    Geometry("lan-3", "3 nodes in one datacenter", PROFILES["lan-3"], (MAJORITY,)),
    Geometry("lan-5", "5 nodes in one datacenter", PROFILES["lan-5"], (MAJORITY, by_count(2, 4))),
    Geometry(
        "wan-3dc",
        "eu 2, us 2, ap 1; the leader in eu",
        PROFILES["wan-3dc"],
        (MAJORITY, by_count(2, 4)),
    ),
    Geometry(
        "wan-3x3",
        "eu 3, us 3, ap 3, in zones 1 ms apart; the leader in eu",
        WAN_3X3,
        (MAJORITY, by_datacenter(2, 2), by_datacenter(1, 3), GRID),
    ),
    Geometry(
        "wan-5dc",
        "eu, us, us-west, ap, sa; the leader in eu",
        PROFILES["wan-5dc"],
        (MAJORITY, by_count(2, 4), by_count(4, 2)),
    ),
    Geometry(
        "wan-5dc-us",
        "eu, us, us-west, ap, sa; the leader in us",
        PROFILES["wan-5dc"],
        (MAJORITY, by_count(2, 4)),
        leader=2,
    ),
)


def geometry(name: str) -> Geometry:
    """
    Raises:
        SettingError: there is none of this name.
    """
    for found in GEOMETRIES:
        if found.name == name:
            return found
    raise SettingError(
        f"geometry {name!r} is not one of {', '.join(each.name for each in GEOMETRIES)}"
    )
