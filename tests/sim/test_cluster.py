"""The cluster: nodes live, die and come back; what fails is seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mutants import Broken

from ringleader.consensus.paxos.config import Config as PaxosConfig
from ringleader.errors import InvariantViolation
from ringleader.sim import profiles
from ringleader.sim.cluster import Cluster
from ringleader.sim.family import FAMILIES, few_commit
from ringleader.sim.nemesis import schedule
from ringleader.sim.workload import (
    APPEND,
    CAS,
    DELETE,
    SET,
    Call,
    KeyValueMachine,
    describe,
    encode,
)

SECOND = 1_000_000


def cluster(faults: str = "none", seed: int = 1, profile: str = "lan-3", **options: Any) -> Cluster:
    options.setdefault("duration_us", 3 * SECOND)
    return Cluster(profiles.profile(profile), profiles.faults(faults), seed, **options)


@pytest.mark.parametrize("consensus", FAMILIES)
def test_without_faults_everything_is_answered(consensus: str) -> None:
    group = cluster(consensus=consensus)
    group.run()
    coverage = group.checker.coverage
    assert coverage["elections won"] >= 1
    assert coverage["operations checked"] > 100
    assert not coverage["operations lost in a crash"]
    machines = [node.machine for node in group.nodes.values()]
    assert all(machine.inner.data == machines[0].inner.data for machine in machines)
    assert all(machine.index == machines[0].index > 0 for machine in machines)


@pytest.mark.parametrize("faults", ["network", "crash", "disk", "clock", "membership", "all"])
@pytest.mark.parametrize("profile", ["lan-3", "wan-3dc"])
@pytest.mark.parametrize("consensus", FAMILIES)
def test_each_set_of_faults(consensus: str, faults: str, profile: str) -> None:
    for seed in range(3):
        cluster(faults, seed, profile, consensus=consensus, duration_us=10 * SECOND).run()


@pytest.mark.parametrize("consensus", FAMILIES)
def test_a_crash_between_persist_and_send(consensus: str) -> None:
    """Wherever in its steps a node dies, the group and the node come back."""
    for steps in range(14):
        group = cluster(consensus=consensus)
        group.clock.run(SECOND)
        leader = group.leader()
        assert leader is not None
        leader.fuse, leader.fuse_down_us = steps, SECOND // 2
        group.run()
        assert group.checker.coverage["crashes inside a step"] == 1
        assert group.checker.coverage["restarts"] == 1


def test_a_clients_operation_dies_with_its_node() -> None:
    group = cluster(clients=12)
    group.clock.run(SECOND)
    while not any(node.waiting for node in group.nodes.values()):
        group.clock.step()
    for node in group.nodes.values():
        group.crash(node, SECOND // 4)
    assert group.checker.coverage["operations lost in a crash"] > 0
    group.run()


def test_a_lost_node_never_returns() -> None:
    group = cluster()
    group.clock.run(SECOND)
    node = group.nodes[2]
    assert group.may_lose(2)
    group.crash(node, SECOND // 10)
    node.disk.flipped.append(("a", 1))
    node.lost = True
    assert not group.may_lose(3), "a second one of three"
    group.run()
    assert not node.up
    assert node.life == 1


def test_no_disk_is_lost_where_quorums_are_no_majorities() -> None:
    """Whether the others suffice depends on who they are."""
    config = PaxosConfig(quorum=few_commit)
    group = cluster(profile="lan-5", consensus="paxos", config=config)
    group.run()
    assert not any(group.may_lose(node) for node in group.nodes)
    assert all(group.nodes[node].up for node in group.nodes)


def test_a_group_that_elects_nobody_is_not_alive() -> None:
    dead = Broken(('if outcome == "won":', 'if outcome == "never":'))
    group = cluster(core=dead, duration_us=SECOND)
    with pytest.raises(InvariantViolation, match=r"invariant 12 \(liveness\)") as caught:
        group.run()
    assert caught.value.number == 12


def test_an_exception_of_the_core_is_a_violation() -> None:
    group = cluster()
    group.clock.run(SECOND)
    node = group.nodes[1]

    def receive(message: Any) -> None:
        raise KeyError("what")

    driver = node.driver
    node.driver = SimpleNamespace(
        receive=receive,
        tick=driver.tick,
        propose=driver.propose,
        read=driver.read,
        failed=None,
    )
    with pytest.raises(InvariantViolation, match=r"invariant 14 .* raises KeyError"):
        group.run()


def test_a_history_that_is_not_linearizable() -> None:
    group = cluster()
    group.run()
    now_us = group.clock.now_us
    lie = Call(99, 0, ("get",), now_us + 1)
    lie.result, lie.returned = b"never written", now_us + 2
    group.workload.history[id(lie)] = lie
    with pytest.raises(InvariantViolation, match=r"invariant 13 .*(?s:.*)never written"):
        group.check_history()


def test_a_command_that_is_committed_twice() -> None:
    group = cluster()
    command = encode(SET, 1, 2, 3, b"x")
    group.executed(1, [(1, command)], [None])
    group.executed(1, [(1, command)], [None])  # by another node
    with pytest.raises(InvariantViolation, match=r"invariant 15 .*set\(k1, 'x'\) by 2/3"):
        group.executed(2, [(2, command)], [None])


def test_a_refused_command_that_happens() -> None:
    group = cluster()
    group.run()
    refused = Call(1, 1, ("set", b"y"), 5)
    command = encode(SET, 1, 1, 10**6, b"y")
    group.workload._by_command[command] = refused
    group.results[command] = None, 7
    with pytest.raises(InvariantViolation, match=r"invariant 15 .* was refused, and happened"):
        group.check_history()


def test_decisions_are_drawn_from_the_seed_alone() -> None:
    faults = profiles.faults("all")
    drawn = schedule(7, faults, 60 * SECOND)
    assert drawn == schedule(7, faults, 60 * SECOND)
    assert drawn != schedule(8, faults, 60 * SECOND)
    assert [decision.number for decision in drawn] == list(range(1, len(drawn) + 1))
    assert [decision.at_us for decision in drawn] == sorted(d.at_us for d in drawn)
    kinds = {decision.kind for decision in drawn}
    assert {"partition", "clog", "slow", "crash", "change", "transfer", "snapshot"} <= kinds
    # A shorter time has the same beginning.
    half = schedule(7, faults, 30 * SECOND)
    assert [(d.at_us, d.kind) for d in half] == [
        (d.at_us, d.kind) for d in drawn if d.at_us < 30 * SECOND
    ]


def test_the_machine() -> None:
    machine = KeyValueMachine(ballast=100)
    assert machine.run(encode(SET, 1, 0, 1, b"a")) is None
    assert machine.run(encode(APPEND, 1, 0, 2, b"bc")) == 3
    assert machine.run(encode(CAS, 1, 0, 3, b"new", b"abc")) is True
    assert machine.run(encode(CAS, 1, 0, 4, b"newer", b"abc")) is False
    assert machine.run(encode(CAS, 2, 0, 5, b"x", None)) is True
    assert machine.run(encode(DELETE, 2, 0, 6)) is True
    assert machine.run(encode(DELETE, 2, 0, 7)) is False
    assert machine.data == {1: b"new"}
    machine.index, machine.chain = 7, 99
    other = KeyValueMachine()
    from ringleader.consensus.ready import BytesSource

    saved = machine.snapshot()
    other.restore(BytesSource(saved))
    assert (other.data, other.index, other.chain) == (machine.data, 7, 99)
    from ringleader.errors import FormatError

    with pytest.raises(FormatError, match="damaged"):
        other.restore(BytesSource(saved[:-1] + b"?"))
    assert describe(encode(CAS, 1, 2, 3, b"b", b"a")) == "cas(k1, 'ab') by 2/3"
    assert describe(b"?") == "b'?'"
