"""The scenarios of the Raft labs of MIT's course 6.5840, on the simulator.

https://pdos.csail.mit.edu/6.824/labs/lab-raft1.html: 3A leader election, 3B log, 3C persistence, 3D
log compaction; and linearizability of a key-value store with 15 clients (lab 4).  The scenarios and
their bounds are theirs, time is virtual, and after each step every invariant is checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest

from ringleader import kernels
from ringleader.consensus.raft import Config
from ringleader.sim.cluster import Cluster, SimNode
from ringleader.sim.profiles import (
    FAULTS,
    MS,
    SECOND,
    CrashFaults,
    Faults,
    MembershipFaults,
    NetworkFaults,
    Profile,
)
from ringleader.sim.workload import SET, encode

CONFIG = Config(election_ticks=10, heartbeat_ticks=2)
TICK_US = 10 * MS
ELECTION_US = CONFIG.election_ticks * TICK_US
#: Of the labs: a tenth of all messages is lost, others are late and overtake each other.
UNRELIABLE = NetworkFaults(
    loss_rate=0.1, duplicate_rate=0.05, reorder_rate=0.2, reorder_us=200 * MS
)
#: The plain-Python core and log are some ten times slower.
SCALE = 10 if kernels.PURE else 1


class Lab:
    """Some servers, and what the labs' `config.go` does with them."""

    def __init__(
        self,
        servers: int = 3,
        *,
        seed: int = 1,
        config: Config = CONFIG,
        network: NetworkFaults | None = None,
    ) -> None:
        profile = Profile(
            f"lab-{servers}", ("a",) * servers, {}, tick_us=TICK_US, election_ticks=10
        )
        self.cluster = Cluster(profile, Faults(), seed, config=config, duration_us=0, clients=0)
        self.clock = self.cluster.clock
        self.network = self.cluster.network
        self.random = Random(f"lab:{seed}")
        self.servers = list(range(1, servers + 1))
        self.off: set[int] = set()
        self.number = 0
        self.bytes: Counter[int] = Counter()
        if network is not None:
            self.network.set_faults(network)

    def node(self, id: int) -> SimNode:
        return self.cluster.nodes[id]

    def up(self) -> Iterator[SimNode]:
        return (node for node in self.cluster.nodes.values() if node.up and node.id not in self.off)

    # --- time --------------------------------------------------------------------------------

    def sleep(self, elections: float = 2) -> None:
        self.clock.run(self.clock.now_us + int(elections * ELECTION_US))

    def wait(self, done: Callable[[], object], what: str, elections: int = 100) -> None:
        end_us = self.clock.now_us + elections * ELECTION_US
        while not done():
            assert self.clock.now_us < end_us, f"{what}: not after {elections} election timeouts"
            self.clock.run(self.clock.now_us + TICK_US // 2)

    # --- servers and network -----------------------------------------------------------------

    def disconnect(self, *ids: int) -> None:
        self.off |= {*ids}
        self._wire()

    def connect(self, *ids: int) -> None:
        self.off -= {*ids}
        self._wire()

    def _wire(self) -> None:
        self.network.mend(self.servers, self.servers)
        for id in self.off:
            self.network.isolate(id)

    def crash(self, *ids: int) -> None:
        for id in ids:
            self.cluster.crash(self.node(id), 10**12)

    def start(self, *ids: int) -> None:
        for id in ids:
            self.cluster.restart(self.node(id))

    def count_bytes(self) -> None:
        """From now on, the bytes of entries that each server receives."""
        for node in self.cluster.nodes.values():

            def receive(message: Any, node: SimNode = node) -> None:
                if (block := getattr(message, "block", None)) is not None:
                    self.bytes[int(node.id)] += block.nbytes
                node.receive(message)

            self.network.attach(node.id, receive)

    @property
    def rpcs(self) -> int:
        return self.network.counters.sent

    # --- what the labs check -----------------------------------------------------------------

    def leader(self) -> int:
        """The one leader among the servers that can talk to each other."""
        self.wait(lambda: self._leaders(), "a leader")
        (leader,) = self._leaders()
        return leader

    def _leaders(self) -> list[int]:
        leaders = [node for node in self.up() if node.core.role == "leader"]
        latest = max((node.core.term for node in leaders), default=0)
        return [int(node.id) for node in leaders if node.core.term == latest]

    def no_leader(self) -> None:
        assert not self._leaders()

    def terms(self) -> set[int]:
        return {node.core.term for node in self.up()}

    def propose(self, id: int, size: int = 0) -> list[Any]:
        """A command at one server; the list in which its outcome will stand."""
        self.number += 1
        command = encode(SET, self.number % 7, 1, self.number, b"x" * size)
        node, outcomes = self.node(id), []
        node.run(lambda _: node.driver.propose([command], outcomes.append), None)
        return outcomes

    def one(self, servers: int, size: int = 0) -> int:
        """Have a command applied by so many servers, trying until some leader takes it; its
        index."""
        for _ in range(40):
            leaders = self._leaders()
            if leaders:
                leader = self.node(leaders[0])
                life = leader.life
                outcomes = self.propose(leaders[0], size)
                end_us = self.clock.now_us + 20 * ELECTION_US
                while not outcomes and self.clock.now_us < end_us and leader.life == life:
                    self.clock.run(self.clock.now_us + MS)
                if outcomes and outcomes[0].kind == "applied":
                    index: int = leader.machine.index
                    self.wait(partial(self._all_have, index, servers), f"{servers} servers")
                    return index
            self.sleep(0.5)
        raise AssertionError("no leader takes a command")

    def _all_have(self, index: int, servers: int) -> bool:
        return sum(node.machine.index >= index for node in self.up()) >= servers

    def snapshot(self, *ids: int) -> None:
        for id in ids or self.servers:
            node = self.node(id)
            if node.up:
                node.driver.keep_entries = 0
                node.take_snapshot()

    def finish(self) -> None:
        """All comes back, and all servers hold the same."""
        self.cluster.heal()
        self.start(*self.servers)
        self.cluster.settle()
        self.cluster.check_history()


# --- 3A  leader election ---------------------------------------------------------------------


def test_initial_election() -> None:
    lab = Lab(3)
    leader = lab.leader()
    lab.sleep(2)
    terms = lab.terms()
    assert len(terms) == 1
    assert min(terms) >= 1
    lab.sleep(20)
    assert lab.terms() == terms, "the term changes without a failure"
    assert lab.leader() == leader
    lab.finish()


def test_reelection() -> None:
    lab = Lab(3)
    first = lab.leader()
    lab.disconnect(first)
    second = lab.leader()
    assert second != first
    # The old leader comes back, and disturbs nobody.
    lab.connect(first)
    lab.sleep(2)
    assert lab.leader() == second
    # Without a quorum there is no leader ...
    other = next(id for id in lab.servers if id not in (first, second))
    lab.disconnect(second, other)
    lab.sleep(4)
    lab.no_leader()
    # ... with one there is, and the last server back changes nothing.
    lab.connect(other)
    third = lab.leader()
    lab.connect(second)
    lab.sleep(2)
    assert lab.leader() == third
    lab.finish()


@pytest.mark.parametrize("seed", range(3))
def test_many_elections(seed: int) -> None:
    lab = Lab(7, seed=seed)
    lab.leader()
    for _ in range(10):
        three = lab.random.sample(lab.servers, 3)
        lab.disconnect(*three)
        lab.leader()
        lab.connect(*three)
    lab.leader()
    lab.finish()


# --- 3B  log ---------------------------------------------------------------------------------


def test_basic_agreement() -> None:
    lab = Lab(5)
    lab.leader()
    before = lab.one(5)
    assert [lab.one(5) for _ in range(3)] == [before + 1, before + 2, before + 3]
    lab.finish()


def test_every_command_is_sent_to_each_server_once() -> None:
    lab = Lab(3)
    lab.leader()
    lab.one(3)
    lab.count_bytes()
    size = 5000
    for _ in range(10):
        lab.one(3, size)
    expected = 10 * size
    for id, received in lab.bytes.items():
        assert expected <= received <= expected + 2000, f"server {id} received {received}"
    assert sum(lab.bytes.values()) <= 2 * expected + 5000
    lab.finish()


def test_followers_fail() -> None:
    lab = Lab(3)
    leader = lab.leader()
    lab.one(3)
    others = [id for id in lab.servers if id != leader]
    lab.disconnect(others[0])
    lab.one(2)
    lab.sleep(2)
    lab.one(2)
    lab.disconnect(others[1])
    outcome = lab.propose(leader)
    lab.sleep(3)
    assert not outcome or outcome[0].kind != "applied"
    lab.finish()


def test_leaders_fail() -> None:
    lab = Lab(3)
    first = lab.leader()
    lab.one(3)
    lab.disconnect(first)
    second = lab.leader()
    lab.one(2)
    lab.sleep(2)
    lab.disconnect(second)
    outcomes = [lab.propose(id) for id in lab.servers]
    lab.sleep(4)
    assert not any(outcome and outcome[0].kind == "applied" for outcome in outcomes)
    lab.finish()


def test_no_agreement_without_a_quorum() -> None:
    lab = Lab(5)
    leader = lab.leader()
    before = lab.one(5)
    gone = [id for id in lab.servers if id != leader][:3]
    lab.disconnect(*gone)
    outcome = lab.propose(leader)
    lab.sleep(1)
    assert outcome == []
    assert lab.node(leader).core.commit == before
    # The three may have chosen another leader by then: the command is lost or kept, told which.
    lab.connect(*gone)
    lab.leader()
    lab.one(5)
    lab.wait(lambda: outcome, "an outcome")
    assert outcome[0].kind in ("applied", "refused")
    lab.finish()


def test_concurrent_starts() -> None:
    lab = Lab(3)
    leader = lab.leader()
    term = lab.node(leader).core.term
    outcomes = [lab.propose(leader) for _ in range(20)]
    lab.wait(lambda: all(outcomes), "outcomes")
    assert [outcome[0].kind for outcome in outcomes] == ["applied"] * 20
    assert lab.node(leader).core.term == term
    lab.finish()


def test_a_partitioned_leader_rejoins() -> None:
    lab = Lab(3)
    first = lab.leader()
    lab.one(3)
    lab.disconnect(first)
    lost = [lab.propose(first) for _ in range(3)]
    second = lab.leader()
    lab.one(2)
    lab.disconnect(second)
    lab.connect(first)
    lab.one(2)
    lab.connect(second)
    lab.one(3)
    lab.wait(lambda: all(lost), "outcomes of what was proposed behind the partition")
    assert {outcome[0].kind for outcome in lost} == {"refused"}
    lab.finish()


def test_fast_backup_over_long_divergent_logs() -> None:
    """Five servers, and logs that differ in hundreds of entries of several terms: they agree again
    after few messages."""
    lab = Lab(5)
    lab.one(5)
    count = 100
    first = lab.leader()
    friend = next(id for id in lab.servers if id != first)
    others = [id for id in lab.servers if id not in (first, friend)]
    # A leader with one follower appends what will never be committed.
    lab.disconnect(*others)
    lost = [lab.propose(first) for _ in range(count)]
    lab.sleep(1)
    lab.disconnect(first, friend)
    # The other three go on with as many.
    lab.connect(*others)
    for _ in range(count // 4):
        lab.one(3)
    # Their leader loses one follower, and then two more ...
    second = lab.leader()
    away = next(id for id in others if id != second)
    lab.disconnect(away)
    lost += [lab.propose(second) for _ in range(count)]
    lab.sleep(1)
    lab.disconnect(*lab.servers)
    # ... and the first leader, its friend, and the one that was away go on.
    lab.connect(first, friend, away)
    for _ in range(count // 4):
        lab.one(3)
    before = lab.rpcs
    lab.connect(*lab.servers)
    lab.sleep(1)
    index = lab.one(5)
    assert lab.rpcs - before < 250, "too many messages to make five logs agree"
    assert {node.machine.index for node in lab.up()} == {index}
    lab.finish()


def test_bounded_counts_of_rpcs() -> None:
    lab = Lab(3)
    lab.leader()
    elections = lab.rpcs
    assert elections <= 40, f"{elections} messages to elect the first leader"
    lab.one(3)
    leader = lab.leader()
    before = lab.rpcs
    rounds = 10
    for _ in range(rounds):
        lab.propose(leader)
    lab.wait(
        lambda: (
            len({node.machine.index for node in lab.up()}) == 1
            and lab.node(leader).core.commit == lab.node(leader).core.log.last
        ),
        "agreement",
    )
    agreed = lab.rpcs - before
    assert agreed <= (rounds + 1 + 3) * 3 + rounds * 3, f"{agreed} messages for {rounds} commands"
    before = lab.rpcs
    lab.clock.run(lab.clock.now_us + SECOND)
    idle = lab.rpcs - before
    assert idle <= 3 * 20 * 10, f"{idle} messages in an idle second"
    lab.finish()


# --- 3C  persistence -------------------------------------------------------------------------


def test_persistence_of_all() -> None:
    lab = Lab(3)
    lab.one(3)
    lab.crash(*lab.servers)
    lab.start(*lab.servers)
    lab.one(3)
    first = lab.leader()
    lab.crash(first)
    lab.start(first)
    lab.one(3)
    second = lab.leader()
    lab.crash(second)
    lab.one(2)
    lab.start(second)
    lab.wait(lambda: len({node.machine.index for node in lab.up()}) == 1, "the one that was away")
    third = next(id for id in lab.servers if id != lab.leader())
    lab.crash(third)
    lab.one(2)
    lab.start(third)
    lab.one(3)
    lab.finish()


def test_persistence_over_many_partitions() -> None:
    lab = Lab(5)
    for _ in range(5):
        lab.one(5)
        leader = lab.leader()
        ring = [(leader - 1 + step) % 5 + 1 for step in range(5)]
        lab.crash(*ring[1:3])
        lab.one(3)
        lab.crash(ring[0], *ring[3:])
        lab.start(*ring[1:3])
        lab.sleep(1)
        lab.start(ring[3])
        lab.one(3)
        lab.start(ring[4], ring[0])
    lab.one(5)
    lab.finish()


def test_a_partitioned_leader_and_a_crash() -> None:
    lab = Lab(3)
    lab.one(3)
    leader = lab.leader()
    one, other = (id for id in lab.servers if id != leader)
    lab.disconnect(other)
    lab.one(2)
    lab.crash(leader, one)
    lab.connect(other)
    lab.start(leader)
    lab.one(2)
    lab.start(one)
    lab.one(3)
    lab.finish()


@pytest.mark.parametrize("seed", range(2))
def test_figure_8(seed: int) -> None:
    """A thousand leaders, many of which crash just after they have appended something."""
    lab = Lab(5, seed=seed)
    lab.one(1)
    crashes = 0
    for _ in range(1000 // SCALE):
        for id in lab._leaders():
            lab.propose(id)
        if lab.random.random() < 0.1:
            lab.sleep(lab.random.random() * 2)
        else:
            lab.clock.run(lab.clock.now_us + lab.random.randrange(1, 13) * MS)
        if leaders := lab._leaders():
            lab.crash(*leaders)
            crashes += len(leaders)
        if sum(1 for _ in lab.up()) < 3:
            down = [id for id in lab.servers if not lab.node(id).up]
            lab.start(lab.random.choice(down))
        if not leaders:
            lab.sleep(0.3)
    assert crashes > 100 // SCALE
    lab.start(*lab.servers)
    lab.one(5)
    lab.finish()


@pytest.mark.parametrize("seed", range(2))
def test_unreliable_agreement(seed: int) -> None:
    lab = Lab(5, seed=seed, network=UNRELIABLE)
    for _ in range(50):
        outcomes = [lab.propose(id) for id in lab._leaders() for _ in range(4)]
        lab.one(1)
        del outcomes
    lab.network.set_faults(NetworkFaults())
    lab.one(5)
    lab.finish()


@pytest.mark.parametrize("seed", range(2))
def test_unreliable_figure_8(seed: int) -> None:
    """Leaders are cut off just after they have appended something, on a network that loses,
    repeats and reorders."""
    lab = Lab(5, seed=seed, network=UNRELIABLE)
    lab.one(1)
    for at in range(1000 // SCALE):
        if at == 200 // SCALE:
            lab.network.set_faults(replace(UNRELIABLE, reorder_rate=0.6, reorder_us=500 * MS))
        leaders = [
            int(node.id) for node in lab.cluster.nodes.values() if node.core.role == "leader"
        ]
        for id in leaders:
            lab.propose(id)
        lab.clock.run(lab.clock.now_us + lab.random.randrange(1, 26) * MS)
        if leaders and lab.random.random() < 0.5:
            lab.disconnect(leaders[-1])
        if len(lab.off) > 2:
            lab.connect(lab.random.choice(sorted(lab.off)))
    lab.network.set_faults(NetworkFaults())
    lab.connect(*lab.servers)
    lab.one(5)
    lab.finish()


@pytest.mark.parametrize("network", [None, UNRELIABLE], ids=["reliable", "unreliable"])
@pytest.mark.parametrize("seed", range(2))
def test_churn(network: NetworkFaults | None, seed: int) -> None:
    """Servers come and go while clients write: what was answered is there in the end."""
    lab = Lab(5, seed=seed, network=network)
    outcomes: list[list[Any]] = []
    for _ in range(60):
        for _ in range(3):
            id = lab.random.choice(lab.servers)
            if lab.node(id).up:
                outcomes.append(lab.propose(id))
        if lab.random.random() < 0.2:
            lab.disconnect(lab.random.choice(lab.servers))
        if lab.random.random() < 0.5:
            lab.connect(lab.random.choice(lab.servers))
        if lab.random.random() < 0.2:
            lab.crash(lab.random.choice(lab.servers))
        for id in lab.servers:
            if not lab.node(id).up and lab.random.random() < 0.5:
                lab.start(id)
        lab.sleep(0.7)
    applied = [outcome[0] for outcome in outcomes if outcome and outcome[0].kind == "applied"]
    assert len(applied) > 10
    lab.network.set_faults(NetworkFaults())
    lab.start(*lab.servers)
    lab.connect(*lab.servers)
    index = lab.one(5)
    assert index > len(applied)
    lab.finish()


# --- 3D  log compaction ----------------------------------------------------------------------


def test_snapshots_of_each_alone() -> None:
    lab = Lab(3)
    for at in range(60):
        index = lab.one(3)
        if at % 10 == 9:
            lab.snapshot()
            lab.wait(
                lambda index=index: all(node.core.log.base == index for node in lab.up()),
                "compacted logs",
            )
    assert max(len(node.core.log) for node in lab.up()) <= 10
    lab.finish()


@pytest.mark.parametrize("how", ["disconnect", "crash"])
@pytest.mark.parametrize("network", [None, UNRELIABLE], ids=["reliable", "unreliable"])
@pytest.mark.parametrize("seed", range(2))
def test_snapshots_are_installed(how: str, network: NetworkFaults | None, seed: int) -> None:
    """Who was away gets a snapshot, of which chunks are lost, and crashes in the midst of it."""
    lab = Lab(3, seed=seed, network=network, config=replace(CONFIG, snapshot_chunk_bytes=64))
    lab.one(3)
    first = lab.leader()
    for at in range(20):
        victim = lab.random.choice([id for id in lab.servers if id != lab.leader()])
        if how == "disconnect":
            lab.disconnect(victim)
        else:
            lab.crash(victim)
        for _ in range(lab.random.randrange(5, 15)):
            lab.one(2)
        lab.snapshot()
        if how == "disconnect":
            lab.connect(victim)
        else:
            lab.start(victim)
            if at % 3 == 0:
                lab.clock.run(lab.clock.now_us + lab.random.randrange(60) * MS)
                lab.crash(victim)
                lab.start(victim)
        lab.one(3)
        if at % 5 == 4:
            leader = lab.leader()
            lab.disconnect(leader)
            lab.one(2)
            lab.connect(leader)
            lab.one(3)
    assert lab.cluster.checker.coverage["crashes"] or how == "disconnect"
    assert first in lab.servers
    lab.finish()


@pytest.mark.parametrize("seed", range(2))
def test_all_crash_with_snapshots(seed: int) -> None:
    lab = Lab(3, seed=seed)
    before = lab.one(3)
    for _ in range(5):
        for _ in range(lab.random.randrange(5, 20)):
            lab.one(3)
        lab.snapshot(*lab.random.sample(lab.servers, 2))
        lab.sleep(0.2)
        index = lab.one(3)
        lab.crash(*lab.servers)
        lab.start(*lab.servers)
        after = lab.one(3)
        assert before < index < after
        before = after
    lab.finish()


def test_a_restart_from_a_snapshot_alone() -> None:
    """Nothing has been appended since: index and term come from the snapshot."""
    lab = Lab(3)
    index = lab.one(3)
    lab.sleep(1)
    lab.snapshot()
    lab.sleep(1)
    bases = {id: lab.node(id).core.log.base for id in lab.servers}
    assert min(bases.values()) >= index
    lab.crash(*lab.servers)
    lab.start(*lab.servers)
    assert {id: lab.node(id).core.log.base for id in lab.servers} == bases
    assert {len(lab.node(id).core.log) for id in lab.servers} == {0}
    assert lab.one(3) > index
    lab.finish()


# --- 4  a key-value store --------------------------------------------------------------------

STORE_FAULTS = {
    "reliable": Faults(),
    "unreliable": Faults(network=UNRELIABLE),
    "partitions": Faults(network=replace(FAULTS["network"].network, clog_every_us=0)),
    "crashes": Faults(crash=CrashFaults(every_us=2 * SECOND, down_us=(10 * MS, SECOND))),
    "all, with snapshots": Faults(
        network=FAULTS["network"].network,
        crash=CrashFaults(every_us=2 * SECOND, down_us=(10 * MS, SECOND), all_rate=0.1),
        membership=MembershipFaults(snapshot_every_us=SECOND // 2),
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("faults", STORE_FAULTS)
def test_linearizability_with_15_clients(faults: str, seed: int) -> None:
    profile = Profile("lab-5", ("a",) * 5, {}, tick_us=TICK_US)
    cluster = Cluster(
        profile,
        STORE_FAULTS[faults],
        seed,
        config=CONFIG,
        clients=15,
        duration_us=10 * SECOND // SCALE,
    )
    cluster.run()
    assert cluster.checker.coverage["operations checked"] > 100 // SCALE
