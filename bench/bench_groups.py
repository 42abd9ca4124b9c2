"""Many Raft groups on one node: what they cost while idle, while a few of them work, and for each
heartbeat when none of them rests.

All three nodes of every group live in this process, and envelopes go from hand to hand: what is
measured is the work of the three together, with disks and networks that take no time.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from bench.cases import scaled
from bench.harness import AtMost, Case, Compare, Contestant
from ringleader.consensus.quorum import Timers
from ringleader.consensus.raft import Config, Membership, Raft
from ringleader.consensus.raft.groups import Envelope, NodeHeartbeat, RaftGroups

NODES = (1, 2, 3)
IDLE = scaled(100_000, 500)
GROUPS = scaled(10_000, 200)
ACTIVE_SHARE = 100
TICKS = 100
CONFIG = Config(election_ticks=20, heartbeat_ticks=2)
COMMAND = b"x" * 64


def empty(columns: int) -> Any:
    return np.empty((0, columns), np.uint64)


def heartbeat(sender: int) -> Envelope:
    return Envelope(sender, 1, NodeHeartbeat(1, 1), [], empty(6), empty(4), empty(3), empty(1))


def followers_at_rest(count: int) -> RaftGroups:
    """Groups of node 1 that follow node 2, which has told them to rest."""
    groups = RaftGroups(1, incarnation=1, config=CONFIG, rows_hint=count)
    for group in range(count):
        groups.create(group, NODES)
    told = heartbeat(2)
    ids = np.arange(count, dtype=np.uint64)
    told.beats = np.zeros((count, 6), np.uint64)
    told.beats[:, 0], told.beats[:, 1] = ids, 1
    told.quiesces = np.zeros((count, 3), np.uint64)
    told.quiesces[:, 0], told.quiesces[:, 1] = ids, 1
    groups.receive(told)
    groups.receive(heartbeat(3))
    while work := groups.ready():
        groups.advance(work)
    groups.take_messages()
    assert groups.status().quiesced == count
    for _ in range(2 * CONFIG.election_ticks):  # until the rows have fired and stopped
        tick_and_hear(groups)
    return groups


def tick_and_hear(groups: RaftGroups) -> None:
    """What a node does in a tick in which nothing happens."""
    groups.tick()
    groups.ready()
    if groups.take_messages():
        groups.receive(heartbeat(2))
        groups.receive(heartbeat(3))


def test_a_tick_of_idle_groups(compare: Compare) -> None:
    groups = followers_at_rest(IDLE)
    timers = Timers(IDLE)
    # Without voters: a timer that fires starts no election.
    singles = [Raft(1, config=CONFIG, seed=seed) for seed in range(IDLE)]

    def ours() -> int:
        for _ in range(TICKS):
            tick_and_hear(groups)
        return len(groups)

    def rows() -> int:
        for _ in range(TICKS):
            timers.tick()
        return len(timers)

    def one_by_one() -> int:
        for raft in singles:
            raft.tick()
            raft.has_ready  # noqa: B018
        return len(singles)

    compare(
        Case(
            f"a tick of {IDLE:,} idle groups, heartbeats of two peers included",
            "group",
            [
                Contestant("ringleader", ours, IDLE * TICKS, "ours"),
                Contestant("a Raft each: tick() and has_ready", one_by_one, IDLE),
                Contestant("Timers.tick alone", rows, IDLE * TICKS, "floor"),
            ],
            [AtMost(0.5)],
        )
    )
    assert groups.status().quiesced == IDLE


class Cluster:
    """Three nodes whose groups all have leaders, a third on each."""

    def __init__(self, count: int, quiesce_ticks: int) -> None:
        self.nodes = {
            node: RaftGroups(
                node,
                incarnation=1,
                config=CONFIG,
                rows_hint=count,
                quiesce_ticks=quiesce_ticks,
                seed=node,
            )
            for node in NODES
        }
        for groups in self.nodes.values():
            for group in range(count):
                groups.create(group, NODES)
        for group in range(count):
            self.nodes[1 + group % 3][group].campaign()
        for _ in range(6):
            self.talk()
        assert sum(groups.status().leaders for groups in self.nodes.values()) == count

    def talk(self) -> int:
        """Everyone does what there is to do and sends once; whether anything was sent."""
        sent = 0
        for groups in self.nodes.values():
            while work := groups.ready():
                groups.advance(work)
            for envelope in groups.take_messages().values():
                sent += len(envelope)
                self.nodes[envelope.to].receive(envelope)  # type: ignore[index]
        return sent

    def tick(self) -> None:
        for groups in self.nodes.values():
            groups.tick()

    def rest(self) -> None:
        for _ in range(10 * CONFIG.election_ticks):
            self.tick()
            self.talk()

    def commits(self, of: Iterable[int]) -> list[int]:
        return [self.nodes[1][group].commit for group in of]


class Singles:
    """The same without `RaftGroups`: a loop over the cores, message by message."""

    def __init__(self, count: int) -> None:
        members = Membership(NODES)
        self.groups = [
            {node: Raft(node, members, config=CONFIG, seed=3 * group + node) for node in NODES}
            for group in range(count)
        ]
        for group, cores in enumerate(self.groups):
            cores[1 + group % 3].campaign()
            self.talk(cores)
            assert cores[1 + group % 3].role == "leader"

    def talk(self, cores: dict[int, Raft]) -> None:
        busy = True
        while busy:
            busy = False
            for core in cores.values():
                while core.has_ready:
                    busy = True
                    ready = core.ready()
                    core.advance(ready)
                    for message in ready.messages:
                        cores[message.to].step(message)

    def tick(self) -> None:
        for cores in self.groups:
            for core in cores.values():
                core.tick()
            self.talk(cores)


def test_a_few_busy_groups_among_many(compare: Compare) -> None:
    """1% of the groups take a command each, in every tick; then all nodes have applied it."""
    many = Cluster(GROUPS, 2 * CONFIG.election_ticks)
    many.rest()
    busy = range(0, GROUPS, ACTIVE_SHARE)
    few = Cluster(len(busy), 2 * CONFIG.election_ticks)
    singles = Singles(len(busy))

    def in_groups(cluster: Cluster, ids: Iterable[int]) -> Callable[[], int]:
        def run() -> int:
            cluster.tick()
            for group in ids:
                cluster.nodes[1 + group % 3].propose(group, [COMMAND])
            while cluster.talk():
                pass
            return len(set(cluster.commits(ids)))

        return run

    def one_by_one() -> int:
        for group, cores in enumerate(singles.groups):
            for core in cores.values():
                core.tick()
            cores[1 + group % 3].propose([COMMAND])
            singles.talk(cores)
        return len({cores[1].commit for cores in singles.groups})

    compare(
        Case(
            f"a command in each of {len(busy):,} groups among {GROUPS:,}, and a tick",
            "command",
            [
                Contestant("ringleader", in_groups(many, busy), len(busy), "ours"),
                Contestant(
                    "the busy groups alone", in_groups(few, range(len(busy))), len(busy), "floor"
                ),
                Contestant("the busy groups alone, a Raft each", one_by_one, len(busy)),
            ],
        )
    )


def test_heartbeats_of_groups_that_do_not_rest(compare: Compare) -> None:
    """One round: each leader's heartbeat to two followers, and their answers."""
    cluster = Cluster(GROUPS, 0)
    singles = Singles(GROUPS)

    def ours() -> int:
        for _ in range(CONFIG.heartbeat_ticks):
            cluster.tick()
            while cluster.talk():
                pass
        return GROUPS

    def one_by_one() -> int:
        for _ in range(CONFIG.heartbeat_ticks):
            singles.tick()
        return GROUPS

    compare(
        Case(
            f"a heartbeat round of {GROUPS:,} groups, all three nodes",
            "group",
            [
                Contestant("ringleader", ours, GROUPS, "ours"),
                Contestant("a Raft each, message by message", one_by_one, GROUPS),
            ],
            [AtMost(10_000)],
        )
    )


def test_memory_of_an_idle_group(benchmark: Any) -> None:
    """Python's allocations for a follower of three voters that rests, its row and its log included.

    What C allocates for entries comes on top: nothing for an empty log.
    """
    count = scaled(10_000, 500)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        groups = followers_at_rest(count)
        bytes_each = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    benchmark.extra_info["bytes"] = bytes_each
    print(f"\n{bytes_each:,.0f} bytes for each of {len(groups):,} idle groups")
    assert bytes_each <= 4096
    fresh = iter(range(count, 100 * count))
    benchmark.pedantic(lambda: groups.create(next(fresh), NODES), rounds=10, warmup_rounds=1)
