"""Many groups on three nodes in one process: agreement, rest, and everything that has to end it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ringleader import kernels
from ringleader.consensus.log import Block, Log
from ringleader.consensus.raft import Config, Raft
from ringleader.consensus.raft.groups import (
    BEAT_COLUMNS,
    Envelope,
    NodeHeartbeat,
    RaftGroups,
)
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    Quiesce,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from ringleader.consensus.ready import HardState
from ringleader.errors import ConfigError, GroupError, GroupNotFound, MisuseError, SettingTypeError

NODES = (1, 2, 3)
CONFIG = Config(election_ticks=10, heartbeat_ticks=2)
#: From a node's death until each of its groups has a new leader: it is noticed after
#: `election_ticks` and a heartbeat, then each group campaigns within `election_ticks`; split votes
#: take a few timeouts more.
REELECTED_TICKS = 80
RESTED_TICKS = 150


class Disk:
    """What one group of one node has made durable."""

    def __init__(self) -> None:
        self.hard_state = HardState()
        self.log = Log()

    def write(self, ready: Any) -> None:
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state
        if ready.block is not None:
            if ready.block.first <= self.log.last:
                self.log.truncate(ready.block.first)
            self.log.append_block(ready.block)

    def copy(self) -> Log:
        log = Log()
        if self.log.last:
            log.append_block(self.log.block(1, self.log.last + 1, 2**30))
        return log


class Cluster:
    """Three nodes, a network that may lose and cut, disks that keep what was persisted."""

    def __init__(
        self, groups: int, *, config: Config = CONFIG, seed: int = 1, **settings: Any
    ) -> None:
        self.random = random.Random(seed)
        self.config = config
        self.settings = settings
        self.groups = range(groups)
        self.lives = dict.fromkeys(NODES, 0)
        self.disks = {(node, group): Disk() for node in NODES for group in self.groups}
        self.applied: dict[tuple[int, int], list[bytes]] = {key: [] for key in self.disks}
        self.nodes: dict[int, RaftGroups] = {}
        self.wire: list[Envelope] = []
        self.cut: set[tuple[int, int]] = set()
        self.loss = 0.0
        self.spoil: Callable[[Envelope], None] | None = None
        #: What each round of `take_messages` gave: (sender, envelopes, messages).
        self.sent: list[tuple[int, int, int]] = []
        for node in NODES:
            self.start(node)

    def start(self, node: int) -> RaftGroups:
        """A first life, or another: with what its disks hold."""
        self.lives[node] += 1
        node_groups = RaftGroups(
            node,
            incarnation=self.lives[node],
            config=self.config,
            rows_hint=len(self.groups),
            seed=self.random.randrange(2**31),
            **self.settings,
        )
        for group in self.groups:
            disk = self.disks[node, group]
            node_groups.create(group, NODES, log=disk.copy(), hard_state=disk.hard_state)
            self.applied[node, group] = []
        self.nodes[node] = node_groups
        return node_groups

    def kill(self, node: int) -> None:
        del self.nodes[node]
        self.wire = [envelope for envelope in self.wire if node not in (envelope.to,)]

    def work(self, node: int) -> None:
        groups = self.nodes[node]
        while work := groups.ready():
            for group, ready in work:
                self.disks[node, group].write(ready)
                if ready.committed is not None:
                    mine = self.applied[node, group]
                    mine.extend(bytes(command) for _, command in ready.committed)
            groups.advance(work)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            for groups in self.nodes.values():
                groups.tick()
            arriving, self.wire = self.wire, []
            for envelope in arriving:
                receiver = self.nodes.get(envelope.to)  # type: ignore[arg-type]
                if receiver is not None and (envelope.sender, envelope.to) not in self.cut:
                    receiver.receive(envelope)
            for node, groups in self.nodes.items():
                self.work(node)
                envelopes = groups.take_messages()
                self.sent.append((node, len(envelopes), sum(map(len, envelopes.values()))))
                for envelope in envelopes.values():
                    if self.spoil is not None:
                        self.spoil(envelope)
                    if self.random.random() >= self.loss:
                        self.wire.append(envelope)

    def until(self, condition: Callable[[], bool], ticks_max: int) -> int:
        for passed in range(ticks_max):
            if condition():
                return passed
            self.tick()
        assert condition(), f"not within {ticks_max} ticks"
        return ticks_max

    def leader(self, group: int) -> int | None:
        """The one whom most of those who run say that they follow."""
        for node, groups in self.nodes.items():
            raft = peek(groups, group)
            if raft.role == "leader":
                following = sum(
                    peek(other, group).leader == node and peek(other, group).term == raft.term
                    for other in self.nodes.values()
                )
                if following >= 2:
                    return node
        return None

    def all_led(self) -> bool:
        return all(self.leader(group) for group in self.groups)

    def all_follow(self) -> bool:
        """Everyone who runs follows a leader that runs."""
        return all(
            len({peek(groups, group).leader for groups in self.nodes.values()} - {None}) == 1
            and self.leader(group)
            for group in self.groups
        )

    def all_rest(self) -> bool:
        return all(groups.status().quiesced == len(groups) for groups in self.nodes.values())

    def settle(self) -> None:
        """All are led, and rest."""
        self.until(self.all_follow, 200)
        self.until(self.all_rest, 400)

    def led_by(self, node: int) -> list[int]:
        return [group for group in self.groups if self.leader(group) == node]

    def make_lead(self, node: int, groups: Iterable[int] | None = None) -> None:
        """Let `node` lead, and all rest."""
        wanted = list(self.groups if groups is None else groups)
        self.until(self.all_follow, 200)
        for _ in range(10):
            for group in wanted:
                leader = self.leader(group)
                if leader is not None and leader != node:
                    self.nodes[leader][group].transfer(node)
            self.tick(20)
            if all(self.leader(group) == node for group in wanted):
                break
        self.settle()
        assert all(self.leader(group) == node for group in wanted)

    def propose(self, group: int, command: bytes) -> bool:
        leader = self.leader(group)
        if leader is None:
            return False
        self.nodes[leader].propose(group, [command])
        return True

    def agree(self) -> bool:
        return all(
            len({tuple(self.applied[node, group]) for node in self.nodes}) == 1
            for group in self.groups
        )

    def cut_off(self, node: int) -> None:
        for other in NODES:
            if other != node:
                self.cut |= {(node, other), (other, node)}


def peek(groups: RaftGroups, group: int) -> Raft:
    """The core as it is: neither its clock nor the list of the touched moves."""
    return groups._by_group[group].raft


def resting(groups: RaftGroups) -> int:
    return groups.status().quiesced


# --- elections and agreement ----------------------------------------------------------------


def test_every_group_elects_and_agrees() -> None:
    cluster = Cluster(200)
    cluster.until(cluster.all_led, 100)
    for round in range(3):
        for group in cluster.groups:
            assert cluster.propose(group, b"%d of %d" % (round, group))
        cluster.tick(4)
    cluster.until(cluster.agree, 50)
    for group in cluster.groups:
        assert cluster.applied[1, group] == [b"%d of %d" % (round, group) for round in range(3)]
    leaders = [len(cluster.led_by(node)) for node in NODES]
    assert min(leaders) > 20, "seeds differ, so leadership is spread"


def test_agreement_under_loss() -> None:
    cluster = Cluster(100, seed=5)
    cluster.loss = 0.2
    expected: dict[int, int] = dict.fromkeys(cluster.groups, 0)
    for number in range(150):
        cluster.tick()
        for group in range(number % 10, 100, 10):
            if cluster.propose(group, b"%d" % number):
                expected[group] += 1
    cluster.loss = 0.0
    cluster.until(cluster.all_follow, 200)
    for group in cluster.groups:
        assert cluster.propose(group, b"last")
    cluster.until(
        lambda: all(
            cluster.applied[node, group][-1:] == [b"last"]
            for node in NODES
            for group in cluster.groups
        ),
        50,
    )
    assert cluster.agree()
    assert all(len(cluster.applied[1, group]) > 5 for group in cluster.groups)


def test_reads_by_group() -> None:
    cluster = Cluster(3)
    cluster.settle()
    leader = cluster.leader(0)
    assert leader is not None
    groups = cluster.nodes[leader]
    groups.read_index(0, b"when")
    seen = []
    for _ in range(6):
        groups.tick()
        for other, node_groups in cluster.nodes.items():
            if other != leader:
                cluster.work(other)
                for envelope in node_groups.take_messages().values():
                    if envelope.to == leader:
                        groups.receive(envelope)
        work = groups.ready()
        groups.advance(work)
        seen += [(group, read) for group, ready in work for read in ready.reads or ()]
        for envelope in groups.take_messages().values():
            cluster.nodes[envelope.to].receive(envelope)  # type: ignore[index]
    assert [(group, read.context) for group, read in seen] == [(0, b"when")]
    assert seen[0][1].index == groups[0].commit > 0


def test_one_write_for_all_and_late_messages() -> None:
    """Replies that wait for the disk leave when `persisted` says so, and not before."""
    cluster = Cluster(50)
    cluster.until(cluster.all_follow, 200)
    cluster.tick(3)
    for group in cluster.groups:
        cluster.propose(group, b"x")
    for node in NODES:
        cluster.work(node)
        for envelope in cluster.nodes[node].take_messages().values():
            cluster.wire.append(envelope)
    cluster.work(2)
    cluster.nodes[2].take_messages()
    for envelope in cluster.wire:
        if envelope.to == 2:
            cluster.nodes[2].receive(envelope)
    groups = cluster.nodes[2]
    work = groups.ready()
    followed = [group for group in cluster.groups if cluster.leader(group) != 2]
    assert sorted(group for group, ready in work if ready.block is not None) == followed
    assert len(work) == len({group for group, _ in work})
    last = {group: peek(groups, group).log.last for group in followed}

    def acknowledged() -> list[int]:
        tables = [sent.replies for sent in groups.take_messages().values()]
        rows = np.concatenate(tables).tolist()
        return sorted({group for group, _, match, _ in rows if match == last[group]})

    assert acknowledged() == []
    groups.persisted(work)
    assert acknowledged() == followed
    for group, ready in work:
        assert not ready.messages
        if ready.committed is not None:
            groups.applied(group, ready.committed.last)
    group, ready = next((group, ready) for group, ready in work if ready.writes)
    with pytest.raises(MisuseError):
        groups.persisted([(group, ready)])


# --- time -----------------------------------------------------------------------------------


def test_a_core_is_never_late_and_its_clock_is_brought_up_to_date() -> None:
    cluster = Cluster(30, quiesce_ticks=0)
    for tick in range(200):
        cluster.tick()
        if tick % 7 == 0:
            cluster.propose(tick % 30, b"x")
        for groups in cluster.nodes.values():
            for group in groups:
                raft = peek(groups, group)
                slot = groups._by_group[group]
                assert groups.now - slot.origin < raft.deadline
                remaining = groups._timers.remaining(slot.row)
                assert 0 < remaining <= raft.deadline - (groups.now - slot.origin)
    late = [
        group
        for group in cluster.groups
        if peek(cluster.nodes[1], group).now < cluster.nodes[1].now
    ]
    assert late, "some are behind"
    assert cluster.nodes[1][late[0]].now == cluster.nodes[1].now


def test_a_busy_follower_is_armed_once_for_each_timeout() -> None:
    cluster = Cluster(1, quiesce_ticks=0)
    cluster.until(cluster.all_follow, 100)
    leader = cluster.leader(0)
    follower = cluster.nodes[1 if leader != 1 else 2]
    armed: set[int] = set()
    for _ in range(100):
        cluster.propose(0, b"x")
        cluster.tick()
        armed.add(follower._by_group[0].armed)
    assert 3 <= len(armed) <= 12


# --- rest -----------------------------------------------------------------------------------


def test_idle_groups_rest_and_cost_nothing() -> None:
    cluster = Cluster(200)
    cluster.settle()
    cluster.tick(3)
    cluster.sent.clear()
    clocks = {node: [peek(g, group).now for group in g] for node, g in cluster.nodes.items()}
    cluster.tick(100)
    assert all(messages == 0 for _, _, messages in cluster.sent)
    assert all(envelopes in (0, 2) for _, envelopes, _ in cluster.sent)
    beats = sum(envelopes for _, envelopes, _ in cluster.sent)
    assert beats == 3 * 2 * 100 // CONFIG.heartbeat_ticks
    for node, groups in cluster.nodes.items():
        assert clocks[node] == [peek(groups, group).now for group in groups]
        assert groups.status().touched == 0
    assert cluster.all_rest()


def test_quiesce_ticks_zero_never_rests() -> None:
    cluster = Cluster(5, quiesce_ticks=0)
    cluster.tick(300)
    assert not any(map(resting, cluster.nodes.values()))


def test_a_proposal_wakes_its_group_and_no_other() -> None:
    cluster = Cluster(50)
    cluster.settle()
    terms = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    assert cluster.propose(7, b"up")
    cluster.tick(3)
    for groups in cluster.nodes.values():
        assert not peek(groups, 7).quiesced
        assert resting(groups) == 49
    cluster.until(cluster.all_rest, RESTED_TICKS)
    assert all(cluster.applied[node, 7] == [b"up"] for node in NODES)
    assert terms == [peek(cluster.nodes[1], group).term for group in cluster.groups]


def test_a_read_wakes_its_group() -> None:
    cluster = Cluster(5)
    cluster.settle()
    leader = cluster.leader(3)
    follower = next(node for node in NODES if node != leader)
    cluster.nodes[follower].read_index(3, b"ask")
    cluster.tick(3)
    assert leader is not None
    assert not peek(cluster.nodes[leader], 3).quiesced
    assert resting(cluster.nodes[leader]) == 4
    cluster.until(cluster.all_rest, RESTED_TICKS)


def test_a_forwarded_proposal_wakes_its_group() -> None:
    cluster = Cluster(5)
    cluster.settle()
    leader = cluster.leader(3)
    follower = next(node for node in NODES if node != leader)
    cluster.nodes[follower][3].forward([b"please"])
    cluster.tick(8)
    assert cluster.applied[follower, 3] == [b"please"]


def test_a_busy_group_does_not_rest() -> None:
    cluster = Cluster(3)
    cluster.until(cluster.all_follow, 100)
    for tick in range(200):
        if tick % 10 == 0:
            cluster.propose(1, b"x")
        cluster.tick()
    assert [peek(cluster.nodes[1], group).quiesced for group in range(3)] == [True, False, True]


def test_a_dead_leader_is_replaced_in_all_its_groups() -> None:
    cluster = Cluster(200)
    cluster.make_lead(1)
    cluster.kill(1)
    elections: list[int] = []
    waking: list[int] = []
    terms = [sum(peek(cluster.nodes[2], group).term for group in cluster.groups)]

    def led_again() -> bool:
        waking.append(cluster.nodes[2].status().waking)
        terms.append(sum(peek(cluster.nodes[2], group).term for group in cluster.groups))
        elections.append(terms[-1] - terms[-2])
        return cluster.all_led()

    passed = cluster.until(led_again, REELECTED_TICKS)
    assert passed >= CONFIG.election_ticks, "not before the node is taken for dead"
    assert max(waking) > 100
    assert max(elections) < 100, "spread over ticks"
    (status,) = (s for s in cluster.nodes[2].status().nodes if s.id == 1)
    assert not status.alive
    assert status.silent_ticks >= CONFIG.election_ticks
    # Without the dead one, they come to rest again.
    cluster.until(cluster.all_rest, RESTED_TICKS)


def test_a_node_comes_back_and_is_brought_up_to_date() -> None:
    cluster = Cluster(60)
    cluster.make_lead(1)
    cluster.kill(1)
    cluster.until(cluster.all_led, REELECTED_TICKS)
    for group in cluster.groups:
        assert cluster.propose(group, b"meanwhile")
    cluster.until(cluster.all_rest, RESTED_TICKS)
    terms = {group: peek(cluster.nodes[2], group).term for group in cluster.groups}
    cluster.start(1)
    cluster.until(lambda: cluster.all_follow() and cluster.agree(), 2 * CONFIG.election_ticks)
    assert all(cluster.applied[1, group] == [b"meanwhile"] for group in cluster.groups)
    changed = [g for g in cluster.groups if peek(cluster.nodes[2], g).term != terms[g]]
    assert not changed, "nobody was deposed"
    cluster.until(cluster.all_rest, RESTED_TICKS)


@pytest.mark.parametrize("downtime", [0, 3])
def test_a_leader_that_restarts_unnoticed(downtime: int) -> None:
    """Sooner than anybody would take it for dead: its groups rest under a follower."""
    cluster = Cluster(100)
    cluster.make_lead(1)
    cluster.kill(1)
    cluster.tick(downtime)
    cluster.start(1)
    cluster.tick(3)
    assert all(peek(cluster.nodes[1], group).role == "follower" for group in cluster.groups)
    cluster.until(cluster.all_follow, REELECTED_TICKS)
    for groups in cluster.nodes.values():
        assert all(node.alive for node in groups.status().nodes)
    cluster.until(cluster.all_rest, RESTED_TICKS)


def test_a_follower_that_restarts_unnoticed() -> None:
    cluster = Cluster(100)
    cluster.make_lead(1)
    terms = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    cluster.kill(2)
    cluster.tick(2)
    cluster.start(2)
    cluster.until(cluster.all_follow, CONFIG.election_ticks)
    assert [peek(cluster.nodes[2], group).term for group in cluster.groups] == terms
    cluster.until(cluster.all_rest, RESTED_TICKS)
    assert [peek(cluster.nodes[2], group).term for group in cluster.groups] == terms


def test_all_nodes_restart() -> None:
    cluster = Cluster(50)
    cluster.settle()
    for group in cluster.groups:
        cluster.propose(group, b"kept")
    cluster.tick(5)
    for node in NODES:
        cluster.kill(node)
        cluster.start(node)
    cluster.settle()
    assert all(
        cluster.applied[node, group] == [b"kept"] for node in NODES for group in cluster.groups
    )


def test_a_partitioned_leader_steps_down_and_the_rest_goes_on() -> None:
    cluster = Cluster(60)
    cluster.make_lead(1)
    cluster.cut_off(1)
    cluster.tick(REELECTED_TICKS)
    assert cluster.nodes[1].status().leaders == 0, "D§6.2: it reaches no quorum"
    assert resting(cluster.nodes[1]) == 0
    assert all(cluster.leader(group) in (2, 3) for group in cluster.groups)
    cluster.until(lambda: resting(cluster.nodes[2]) == resting(cluster.nodes[3]) == 60, 200)
    terms = [peek(cluster.nodes[2], group).term for group in cluster.groups]
    cluster.cut.clear()
    cluster.until(cluster.all_follow, 3 * CONFIG.election_ticks)
    cluster.until(cluster.all_rest, RESTED_TICKS)
    changed = [g for g in cluster.groups if peek(cluster.nodes[2], g).term != terms[g]]
    assert len(changed) < 10, "pre-vote and stickiness protect the leaders"


def test_a_partitioned_follower_deposes_nobody_when_it_returns() -> None:
    cluster = Cluster(60)
    cluster.make_lead(1)
    terms = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    cluster.cut_off(3)
    cluster.tick(100)
    assert resting(cluster.nodes[3]) == 0, "it looks for a leader"
    cluster.until(lambda: resting(cluster.nodes[1]) == resting(cluster.nodes[2]) == 60, 200)
    cluster.cut.clear()
    cluster.until(cluster.all_follow, 3 * CONFIG.election_ticks)
    cluster.until(cluster.all_rest, RESTED_TICKS)
    assert [peek(cluster.nodes[1], group).term for group in cluster.groups] == terms
    assert all(cluster.leader(group) == 1 for group in cluster.groups)


def test_every_quiesce_to_one_follower_is_lost() -> None:
    """It asks for votes; its leader wakes, makes peace and rests again."""
    cluster = Cluster(40)
    cluster.until(cluster.all_follow, 200)
    lost: list[int] = []

    def spoil(envelope: Envelope) -> None:
        if envelope.to == 3 and len(envelope.quiesces) and len(lost) < 40:
            lost.extend(envelope.quiesces[:, 0].tolist())
            envelope.quiesces = envelope.quiesces[:0]

    cluster.spoil = spoil
    cluster.until(lambda: len(lost) >= 20, 200)
    terms = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    cluster.spoil = None
    cluster.until(cluster.all_rest, 300)
    after = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    assert sum(a != b for a, b in zip(terms, after, strict=True)) < 5


def test_a_quiesce_that_is_overtaken_by_a_heartbeat() -> None:
    """A late heartbeat wakes a follower whose leader rests."""
    cluster = Cluster(1)
    cluster.make_lead(1)
    follower = cluster.nodes[2]
    raft = peek(follower, 0)
    term, last = raft.term, raft.log.last
    follower.step(0, AppendEntries(1, 2, term, last, raft.log.term(last), last, 1, None))
    assert not raft.quiesced
    cluster.until(cluster.all_rest, RESTED_TICKS)
    assert (cluster.leader(0), raft.term) == (1, term)


def test_a_quiesce_to_a_follower_that_lacks_something() -> None:
    cluster = Cluster(1)
    cluster.make_lead(1)
    raft = peek(cluster.nodes[2], 0)
    cluster.nodes[2].step(0, Quiesce(1, 2, raft.term, raft.log.last + 1))
    assert not raft.quiesced
    cluster.until(cluster.all_rest, RESTED_TICKS)
    assert cluster.leader(0) == 1


def test_a_link_that_works_one_way_only() -> None:
    """Node 3 is heard and hears nothing: 1 keeps its groups awake, and stays their leader."""
    cluster = Cluster(20)
    cluster.make_lead(1)
    terms = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    cluster.cut.add((1, 3))
    cluster.tick(150)
    assert resting(cluster.nodes[1]) < 3
    (seen,) = (node for node in cluster.nodes[1].status().nodes if node.id == 3)
    assert (seen.alive, seen.hears_us) == (True, False)
    assert all(cluster.leader(group) == 1 for group in cluster.groups)
    assert [peek(cluster.nodes[1], group).term for group in cluster.groups] == terms
    cluster.cut.clear()
    cluster.settle()
    assert [peek(cluster.nodes[1], group).term for group in cluster.groups] == terms


def test_a_candidate_that_reaches_followers_but_not_the_leader() -> None:
    """1 and 3 do not see each other, both see 2: its vote is not to be had, and it pokes 1."""
    cluster = Cluster(20)
    cluster.make_lead(1)
    terms = [peek(cluster.nodes[1], group).term for group in cluster.groups]
    cluster.cut |= {(1, 3), (3, 1)}
    cluster.tick(200)
    assert all(cluster.leader(group) == 1 for group in cluster.groups)
    assert [peek(cluster.nodes[1], group).term for group in cluster.groups] == terms
    cluster.cut.clear()
    cluster.settle()
    assert [peek(cluster.nodes[1], group).term for group in cluster.groups] == terms


def test_a_request_for_votes_to_a_resting_follower() -> None:
    cluster = Cluster(1)
    cluster.make_lead(1)
    cluster.tick(CONFIG.election_ticks)
    groups = cluster.nodes[2]
    raft = peek(groups, 0)
    groups.take_messages()
    request = RequestVote(3, 2, raft.term + 1, raft.log.last, raft.log.last_term, True)
    groups.step(0, request)
    cluster.work(2)
    assert not raft.quiesced
    sent = groups.take_messages()
    assert sent[1].pokes.tolist() == [[0]]
    assert not sent[3].messages if 3 in sent else True
    # The leader itself asks: it leads no longer.
    cluster.until(cluster.all_rest, RESTED_TICKS)
    cluster.tick(CONFIG.election_ticks)
    groups.take_messages()
    groups.step(0, RequestVote(1, 2, raft.term + 1, raft.log.last, raft.log.last_term, True))
    cluster.work(2)
    ((group, reply),) = groups.take_messages()[1].messages
    assert group == 0
    assert isinstance(reply, VoteReply)
    assert reply.granted


def test_a_deposed_leader_that_rests_on_serves_nothing() -> None:
    """A leader of the past that no one tells is told by the first who has to answer it."""
    cluster = Cluster(1)
    cluster.make_lead(1)
    old = peek(cluster.nodes[1], 0)
    term = old.term
    # The others elect another one, by a message that 1 does not see.
    cluster.cut_off(1)
    cluster.nodes[2][0].campaign()
    for node in (2, 3):
        peek(cluster.nodes[node], 0)
    cluster.nodes[3].step(0, TimeoutNow(1, 3, term))
    cluster.tick(4)
    assert cluster.leader(0) in (2, 3)
    assert old.role == "leader"
    assert old.quiesced
    cluster.cut.clear()
    cluster.nodes[1].read_index(0, b"stale?")
    cluster.nodes[1].propose(0, [b"lost"])
    cluster.tick(6)
    assert old.role == "follower"
    cluster.settle()
    assert cluster.agree()
    assert b"lost" not in cluster.applied[1, 0]


def test_leader_wakes_when_a_follower_dies_and_rests_without_it() -> None:
    cluster = Cluster(40)
    cluster.make_lead(1)
    cluster.kill(3)
    cluster.until(lambda: resting(cluster.nodes[1]) == 0, 2 * CONFIG.election_ticks + 2)
    cluster.until(lambda: resting(cluster.nodes[1]) == 40, RESTED_TICKS)
    assert cluster.propose(5, b"without 3")
    cluster.tick(5)
    assert cluster.applied[1, 5] == cluster.applied[2, 5] == [b"without 3"]
    # The other follower dies as well: no quorum, so nobody leads.
    cluster.kill(2)
    cluster.until(lambda: cluster.nodes[1].status().leaders == 0, 5 * CONFIG.election_ticks)
    cluster.start(2)
    cluster.start(3)
    cluster.settle()
    assert cluster.agree()


def test_priorities_keep_a_group_awake_until_the_right_one_leads() -> None:
    config = Config(
        election_ticks=10, heartbeat_ticks=2, priorities={2: 5, 1: 3}, priority_ticks=60
    )
    cluster = Cluster(30, config=config)
    cluster.until(lambda: len(cluster.led_by(2)) == 30, 400)
    cluster.until(cluster.all_rest, RESTED_TICKS)
    cluster.kill(2)
    cluster.until(lambda: len(cluster.led_by(1)) == 30, 300)
    cluster.until(cluster.all_rest, RESTED_TICKS)
    cluster.start(2)
    cluster.until(lambda: len(cluster.led_by(2)) == 30, 400)


def test_rest_with_leases() -> None:
    """A lease ends while its leader rests; votes given before it are kept all the same."""
    config = Config(election_ticks=20, heartbeat_ticks=2, lease=True)
    cluster = Cluster(20, config=config)
    cluster.settle()
    cluster.tick(50)
    for group in cluster.groups:
        leader = cluster.leader(group)
        assert leader is not None
        assert not cluster.nodes[leader][group].has_lease
    cluster.propose(0, b"x")
    cluster.tick(10)
    leader = cluster.leader(0)
    assert leader is not None
    assert cluster.nodes[leader][0].has_lease
    cluster.kill(leader)
    cluster.until(cluster.all_led, 120)


@pytest.mark.parametrize("seed", range(4))
def test_churn_and_then_liveness(seed: int) -> None:
    """Kill, start, cut and heal at random under load; then everything has to come to rest."""
    cluster = Cluster(30, seed=seed)
    chance = random.Random(100 + seed)
    cluster.loss = 0.05
    for step in range(60):
        what = chance.randrange(5)
        node = chance.choice(NODES)
        if what == 0 and len(cluster.nodes) == 3:
            cluster.kill(node)
        elif what == 1 and node not in cluster.nodes:
            cluster.start(node)
        elif what == 2:
            cluster.cut.add((node, chance.choice([n for n in NODES if n != node])))
        elif what == 3:
            cluster.cut.clear()
        for group in chance.sample(range(30), 3):
            cluster.propose(group, b"%d" % step)
        cluster.tick(chance.randrange(1, 25))
        assert_logs_agree(cluster)
    cluster.loss = 0.0
    cluster.cut.clear()
    for node in NODES:
        if node not in cluster.nodes:
            cluster.start(node)
    cluster.until(cluster.all_follow, 300)
    cluster.until(lambda: cluster.all_rest() and cluster.agree(), 400)


def assert_logs_agree(cluster: Cluster) -> None:
    for group in cluster.groups:
        logs = sorted((cluster.applied[node, group] for node in cluster.nodes), key=len)
        for shorter, longer in pairwise(logs):
            assert longer[: len(shorter)] == shorter
        terms: dict[int, int] = {}
        for node, groups in cluster.nodes.items():
            raft = peek(groups, group)
            if raft.role == "leader":
                assert terms.setdefault(raft.term, node) == node, "election safety"


# --- coalescing -----------------------------------------------------------------------------


def test_one_envelope_for_each_peer() -> None:
    cluster = Cluster(100, quiesce_ticks=0)
    cluster.until(cluster.all_follow, 200)
    cluster.sent.clear()
    for tick in range(20):
        for group in range(tick, 100, 5):
            cluster.propose(group, b"x")
        cluster.tick()
    assert all(envelopes <= 2 for _, envelopes, _ in cluster.sent)
    assert sum(messages for _, _, messages in cluster.sent) > 3000


def test_heartbeats_and_their_answers_are_rows() -> None:
    cluster = Cluster(50, quiesce_ticks=0)
    cluster.until(cluster.all_follow, 200)
    cluster.tick(20)
    kinds = {"beats": 0, "replies": 0, "messages": 0}

    def spoil(envelope: Envelope) -> None:
        for kind in kinds:
            kinds[kind] += len(getattr(envelope, kind))
        assert envelope.beats.dtype == np.uint64
        assert envelope.beats.shape == (len(envelope.beats), len(BEAT_COLUMNS))

    cluster.spoil = spoil
    cluster.tick(20)
    assert kinds["messages"] == 0
    rounds = 20 // CONFIG.heartbeat_ticks
    assert kinds["beats"] == 50 * 2 * rounds
    assert abs(kinds["replies"] - kinds["beats"]) <= 100


# --- adding and removing --------------------------------------------------------------------


def test_groups_come_and_go() -> None:
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    for group in range(200):
        groups.create(group, NODES)
    assert len(groups) == 200
    assert list(groups) == list(range(200))
    raft = groups[7]
    assert groups.remove(7) is raft
    assert 7 not in groups
    assert 8 in groups
    with pytest.raises(GroupNotFound, match="no group 7"):
        groups[7]
    groups.create(2**32 - 1, (1, 4))
    assert groups[2**32 - 1].membership.voters == (1, 4)
    for _ in range(40):
        groups.tick()
        groups.advance(groups.ready())
    assert {node.id: node.groups for node in groups.status().nodes} == {2: 199, 3: 199, 4: 1}
    groups.remove(2**32 - 1)
    groups.take_messages()
    groups.take_messages()
    assert {node.id for node in groups.status().nodes} == {2, 3}


def test_a_removed_group_is_not_touched_again() -> None:
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    groups.create(1, [1])
    groups.tick()
    groups[1].campaign()
    work = groups.ready()
    assert [group for group, _ in work] == [1]
    groups.remove(1)
    groups.advance(work)
    groups.persisted(work)
    groups.applied(1, 5)
    assert groups.ready() == []
    for _ in range(50):
        groups.tick()


def test_misuse() -> None:
    groups = RaftGroups(1, incarnation=1)
    groups.create(1, NODES)
    for group in (1, -1, 2**32, True, "a", 1.0):
        with pytest.raises(GroupError):
            groups.create(group, NODES)  # type: ignore[arg-type]
    with pytest.raises(GroupError, match="of node 2"):
        groups.add(2, Raft(2, NODES))
    with pytest.raises(GroupNotFound):
        groups.remove(9)
    with pytest.raises(GroupNotFound):
        groups.propose(9, [b"x"])
    with pytest.raises(SettingTypeError):
        groups.receive("hello")  # type: ignore[arg-type]
    for settings in (
        {"incarnation": 0},
        {"incarnation": True},
        {"incarnation": "1"},
        {"incarnation": 2**62},
        {"incarnation": 1, "rows_hint": -1},
        {"incarnation": 1, "quiesce_ticks": -1},
        {"incarnation": 1, "config": 5},
    ):
        with pytest.raises(ConfigError):
            RaftGroups(1, **settings)


def test_a_node_joins_by_a_change_of_membership() -> None:
    from ringleader.consensus.raft import ConfChange

    cluster = Cluster(2)
    cluster.settle()
    leader = cluster.leader(1)
    assert leader is not None
    cluster.nodes[leader][1].change_config(ConfChange(remove=[NODES[leader % 3]]))
    cluster.tick(10)
    gone = NODES[leader % 3]
    status = {node.id: node.groups for node in cluster.nodes[leader].status().nodes}
    assert status[gone] == 1
    cluster.nodes[leader][1].change_config(ConfChange(voters=[gone]))
    cluster.until(lambda: cluster.all_follow() and cluster.all_rest(), 300)


def test_a_newcomer_listens_to_peers_it_was_told_of() -> None:
    member = RaftGroups(1, incarnation=1, config=CONFIG)
    member.create(5, (1, 2))
    stranger = RaftGroups(2, incarnation=1, config=CONFIG)
    stranger.create(5)
    told = RaftGroups(2, incarnation=1, config=CONFIG, peers=(1, 2))
    told.create(5)
    envelope = member.take_messages()[2]
    stranger.receive(envelope)
    told.receive(envelope)
    assert stranger.rejected == {"unknown peer": 1}
    assert told.rejected == {}
    assert told.status().nodes[0].incarnation == 1


# --- bad input ------------------------------------------------------------------------------


def envelope(**changes: Any) -> Envelope:
    fields: dict[str, Any] = {
        "sender": 2,
        "to": 1,
        "heartbeat": NodeHeartbeat(1, 1),
        "messages": [],
        "beats": np.zeros((0, 6), np.uint64),
        "replies": np.zeros((0, 4), np.uint64),
        "quiesces": np.zeros((0, 3), np.uint64),
        "pokes": np.zeros((0, 1), np.uint64),
    }
    return Envelope(**{**fields, **changes})


def state(groups: RaftGroups) -> list[object]:
    return [
        (raft.term, raft.vote, raft.leader, raft.role, raft.commit, raft.log.last, raft.deadline)
        for raft in (peek(groups, group) for group in groups)
    ] + [(node.alive, node.incarnation, node.silent_ticks) for node in groups.status().nodes]


VOTE = RequestVote(2, 1, 5, 0, 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": 9},
        {"sender": []},
        {"sender": 1},
        {"to": 3},
        {"heartbeat": None},
        {"heartbeat": NodeHeartbeat(0, 0)},
        {"heartbeat": NodeHeartbeat(2**62, 0)},
        {"heartbeat": NodeHeartbeat(1, -1)},
        {"heartbeat": NodeHeartbeat("1", 0)},  # type: ignore[arg-type]
        {"heartbeat": NodeHeartbeat(1, 0.0)},  # type: ignore[arg-type]
        {"beats": None},
        {"beats": [[0, 1, 0, 0, 0, 0]]},
        {"beats": np.zeros((1, 6), np.int64)},
        {"beats": np.zeros((1, 6), np.float64)},
        {"beats": np.zeros((1, 6), object)},
        {"beats": np.zeros((1, 6), ">u8")},
        {"beats": np.zeros((1, 5), np.uint64)},
        {"beats": np.zeros(6, np.uint64)},
        {"beats": np.full((1, 6), 2**64 - 1, np.uint64)},
        {"replies": np.zeros((1, 6), np.uint64)},
        {"replies": np.full((1, 4), 2**62, np.uint64)},
        {"quiesces": np.zeros((3, 2), np.uint64)},
        {"pokes": np.zeros(3, np.uint64)},
        {"pokes": np.zeros((3, 1), np.uint32)},
        {"messages": None},
        {"messages": ((0, VOTE),)},
        {"messages": [VOTE]},
        {"messages": [(0, VOTE), (0, None)]},
        {"messages": [(0.0, VOTE)]},
        {"messages": [("0", VOTE)]},
        {"messages": [(0, VOTE, 1)]},
        {"messages": [(0, VOTE), (0, RequestVote(3, 1, 5, 0, 0))]},
        {"messages": [(0, RequestVote(2, 3, 5, 0, 0))]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_hostile_envelope_changes_nothing(changes: dict[str, Any]) -> None:
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    for group in range(3):
        groups.create(group, NODES)
    groups.receive(envelope())
    groups.tick()
    groups.ready()
    before = state(groups)
    groups.receive(envelope(**changes))
    assert state(groups) == before
    assert sum(groups.rejected.values()) == 1
    assert groups.ready() == []


def test_rows_of_unknown_groups_are_counted_and_the_others_taken() -> None:
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    groups.create(0, NODES)
    beats = np.array([[77, 1, 0, 0, 0, 1], [0, 1, 0, 0, 0, 1], [2**40, 1, 0, 0, 0, 1]], np.uint64)
    groups.receive(
        envelope(
            beats=beats,
            replies=np.array([[5, 1, 1, 1]], np.uint64),
            quiesces=np.array([[5, 1, 1]], np.uint64),
            pokes=np.array([[5]], np.uint64),
            messages=[(5, VOTE), (2**70, VOTE)],
        )
    )
    assert groups.rejected == {"unknown group": 7}
    assert peek(groups, 0).leader == 2


def test_impossible_rows_are_judged_by_the_core() -> None:
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    groups.create(0, NODES)
    groups.receive(envelope(beats=np.array([[0, 1, 0, 7, 0, 1]], np.uint64)))
    assert peek(groups, 0).leader is None
    assert peek(groups, 0).rejected


def test_what_an_earlier_life_sent_is_dropped() -> None:
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    groups.create(0, NODES)
    groups.receive(envelope(heartbeat=NodeHeartbeat(5, 1)))
    groups.receive(envelope(heartbeat=NodeHeartbeat(4, 1), messages=[(0, VOTE)]))
    assert groups.rejected == {"of an earlier life": 1}
    assert peek(groups, 0).term == 0


def test_bytes_of_envelopes_at_random() -> None:
    """Random rows in the right shape: nothing raises, and no core goes mad."""
    chance = np.random.default_rng(3)
    groups = RaftGroups(1, incarnation=1, config=CONFIG)
    for group in range(4):
        groups.create(group, NODES)
    for _ in range(300):
        high = int(chance.choice([4, 100, 2**62]))
        groups.receive(
            envelope(
                sender=int(chance.integers(2, 4)),
                beats=chance.integers(0, high, (3, 6), np.uint64),
                replies=chance.integers(0, high, (3, 4), np.uint64),
                quiesces=chance.integers(0, high, (3, 3), np.uint64),
                pokes=chance.integers(0, high, (3, 1), np.uint64),
                messages=[(0, AppendReply(2, 1, 1, 0))] if chance.random() < 0.1 else [],
            )
        )
        groups.tick()
        groups.advance(groups.ready())
        groups.take_messages()
    for group in groups:
        raft = groups[group]
        assert raft.log.last == 0 or raft.role == "leader" or raft.commit <= raft.log.last


# --- ten thousand ---------------------------------------------------------------------------


@pytest.mark.skipif(kernels.PURE, reason="plain Python takes its time")
def test_ten_thousand_groups() -> None:
    """Elect, write, rest, lose a node, elect again."""
    count = 10_000
    config = Config(election_ticks=20, heartbeat_ticks=5)
    nodes = {
        node: RaftGroups(
            node, incarnation=1, config=config, rows_hint=count, quiesce_ticks=5, seed=node
        )
        for node in NODES
    }
    for groups in nodes.values():
        for group in range(count):
            groups.create(group, NODES)
    for group in range(count):
        nodes[1 + group % 3][group].campaign()

    def tick() -> None:
        for groups in nodes.values():
            groups.tick()
            while work := groups.ready():
                groups.advance(work)
        for groups in list(nodes.values()):
            for envelope in groups.take_messages().values():
                if envelope.to in nodes:
                    nodes[envelope.to].receive(envelope)

    for _ in range(6):
        tick()
    assert sum(groups.status().leaders for groups in nodes.values()) == count
    for group in range(0, count, 100):
        nodes[1 + group % 3].propose(group, [b"x"])
    for _ in range(25):
        tick()
    assert all(groups.status().quiesced == count for groups in nodes.values())
    assert nodes[3][100].commit == 2
    del nodes[1]
    for passed in range(300):
        tick()
        if passed % 10 == 0 and sum(g.status().leaders for g in nodes.values()) == count:
            break
    assert sum(groups.status().leaders for groups in nodes.values()) == count


def test_blocks_travel_as_messages() -> None:
    """What is no heartbeat stays a message, block and all."""
    cluster = Cluster(1)
    cluster.settle()
    leader = cluster.leader(0)
    assert leader is not None
    cluster.propose(0, b"payload")
    cluster.work(leader)
    sent = cluster.nodes[leader].take_messages()
    blocks = [
        message.block
        for envelope in sent.values()
        for _, message in envelope.messages
        if isinstance(message, AppendEntries)
    ]
    assert len(blocks) == 2
    assert all(isinstance(block, Block) for block in blocks)


# --- heartbeats without messages ------------------------------------------------------------


def follower_of_two(**config: Any) -> Raft:
    """Node 1, which follows node 2 in term 3 and holds two entries, committed and applied."""
    raft = Raft(1, NODES, config=Config(**{"election_ticks": 10, **config}), seed=4)
    leader = Log()
    leader.append(3, [b"\0"], control=True)
    leader.append(3, [b"x"])
    raft.step(AppendEntries(2, 1, 3, 0, 0, 2, 1, leader.block(1, 3, 2**20)))
    while raft.has_ready:
        raft.advance(raft.ready())
    raft.tick(3)
    return raft


def untouched(raft: Raft) -> Raft:
    return raft


def unwritten(raft: Raft) -> Raft:
    """The next entry is on its way to the disk."""
    more = Log(2, 3)
    more.append(3, [b"y"])
    raft.step(AppendEntries(2, 1, 3, 2, 3, 2, 1, more.block(3, 4, 2**20)))
    raft.ready()
    return raft


def in_an_unwritten_term(raft: Raft) -> Raft:
    raft.step(AppendEntries(2, 1, 4, 2, 3, 2, 1, None))
    return raft


def at_rest(raft: Raft) -> Raft:
    raft.step(Quiesce(2, 1, 3, 2))
    assert raft.quiesced
    return raft


def leading(raft: Raft) -> Raft:
    raft.tick(raft.deadline - raft.now)
    raft.step(VoteReply(2, 1, 4, True, True))
    raft.advance(raft.ready())
    raft.step(VoteReply(2, 1, 4, True))
    while raft.has_ready:
        raft.advance(raft.ready())
    assert raft.role == "leader"
    return raft


@pytest.mark.parametrize("before", [untouched, unwritten, in_an_unwritten_term, at_rest, leading])
@pytest.mark.parametrize(
    ("beat", "plain"),
    [
        ((2, 3, 2, 3, 2, 7), True),
        ((3, 3, 2, 3, 2, 7), False),  # not the leader
        ((2, 2, 2, 2, 2, 7), False),  # of the past
        ((2, 4, 2, 3, 2, 7), False),  # of the next term
        ((2, 3, 1, 3, 1, 7), False),
        ((2, 3, 3, 3, 3, 7), False),  # after an entry that is not here
        ((2, 3, 2, 3, 1, 7), False),  # an older commit
        ((2, 3, 2, 3, 2, 0), False),  # wants no answer
    ],
)
def test_a_beat_is_what_its_message_is(
    before: Callable[[Raft], Raft], beat: tuple[int, ...], plain: bool
) -> None:
    sender, term, prev_index, prev_term, commit, round = beat
    short, long = before(follower_of_two()), before(follower_of_two())
    status = short.status()
    if not short.beat(sender, term, prev_index, commit, round):
        assert not plain or before is not untouched
        assert (short.status(), short.deadline, short.heard) == (status, long.deadline, long.heard)
        return
    assert plain
    assert before is untouched
    long.step(AppendEntries(sender, 1, term, prev_index, prev_term, commit, round, None))
    assert long.take_messages() == [AppendReply(1, sender, term, prev_index, round)]
    assert short.take_messages() == []
    assert (short.status(), short.deadline, short.heard) == (
        long.status(),
        long.deadline,
        long.heard,
    )


def leader_at_work(*, reads: bool = False, lease: bool = False) -> Raft:
    raft = leading(follower_of_two(lease=lease))
    for node in (2, 3):
        raft.step(AppendReply(node, 1, 4, 3, 1))
    while raft.has_ready:
        raft.advance(raft.ready())
    if reads:
        raft.read_index(b"r")
    raft.tick(raft.config.heartbeat_ticks)
    raft.ready()
    return raft


@pytest.mark.parametrize(
    "settings", [{}, {"reads": True}, {"lease": True}], ids=["plain", "reads", "lease"]
)
@pytest.mark.parametrize(
    ("reply", "plain"),
    [
        ((2, 4, 3, 2), True),
        ((2, 4, 3, 1), True),  # a round of old
        ((9, 4, 3, 2), False),  # not a member
        ((2, 3, 3, 2), False),
        ((2, 5, 3, 2), False),
        ((2, 4, 2, 2), False),  # an older match
        ((2, 4, 4, 2), False),
        ((2, 4, 3, 99), False),  # a round that was never sent
    ],
)
def test_an_answered_beat_is_what_its_message_is(
    settings: dict[str, bool], reply: tuple[int, ...], plain: bool
) -> None:
    sender, term, match, round = reply
    short, long = leader_at_work(**settings), leader_at_work(**settings)
    status = short.status()
    if not short.beat_answered(sender, term, match, round):
        assert not plain or settings
        assert short.status() == status
        return
    assert plain
    assert not settings
    long.step(AppendReply(sender, 1, term, match, round))
    assert short.status() == long.status()
    assert (short.has_ready, short.deadline) == (long.has_ready, long.deadline)
    assert short.progress[sender].round == long.progress[sender].round


# --- memory ---------------------------------------------------------------------------------


@pytest.mark.skipif(kernels.PURE, reason="counts the compiled objects")
def test_bytes_of_an_idle_group() -> None:
    """A follower of three voters at rest: its core, its log, its row."""
    import gc
    import tracemalloc

    count = 500
    groups = RaftGroups(1, incarnation=1, config=CONFIG, rows_hint=count)
    ids = np.arange(count, dtype=np.uint64)
    beats, quiesces = np.zeros((count, 6), np.uint64), np.zeros((count, 3), np.uint64)
    beats[:, 0] = quiesces[:, 0] = ids
    beats[:, 1] = quiesces[:, 1] = 1
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for group in range(count):
            groups.create(group, NODES)
        groups.receive(envelope(beats=beats, quiesces=quiesces))
        groups.advance(groups.ready())
        groups.take_messages()
        assert resting(groups) == count
        gc.collect()
        bytes_each = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    assert bytes_each <= 2_600
