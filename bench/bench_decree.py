"""One value chosen by single-decree Paxos in one process: both phases, one decision at a time.

A decision is made by new objects: a proposer, the acceptors, a learner; each of them takes every
message that it is sent, also those that come after the choice, one by one out of a queue.  Values
have 64 bytes.  "Durable" here is a variable that keeps the last state.

essential-paxos sends no message twice, refuses nothing, checks nothing and keeps nothing durable;
its classes are driven as its README says, by a messenger that queues bound methods.  It is written
for Python 2; what it takes to run it is in bench/peers.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench import peers
from bench.cases import scaled
from bench.harness import Absent, AtMost, Case, Compare, Contestant, Goal
from ringleader.consensus.paxos import Acceptor, Group, Learner, Proposer

COUNT = scaled(1_000, 10)
#: Nanoseconds a decision of three.
GOAL = 9_000
VALUES = [b"%064d" % number for number in range(COUNT)]


def ours(nodes: int, group: Group | None) -> Callable[[bytes], Any]:
    """With a group of its own for each decision, or one for all of them."""
    ids = range(1, nodes + 1)

    def decide(value: bytes) -> bytes | None:
        who = group if group is not None else Group(ids, learners=[1])
        proposer, learner = Proposer(1, who), Learner(1, who)
        acceptors = {node: Acceptor(node, who) for node in ids}
        disks: dict[int, Any] = {}
        step = proposer.propose(value)
        ballot = step.state
        requests = step.saved()
        while requests:
            answers: list[Any] = []
            for message in requests:
                step = acceptors[message.to].step(message)
                if step.state is not None:
                    disks[message.to] = step.state
                answers += step.saved()
            requests = ()
            for message in answers:
                learner.step(message)
                requests += proposer.step(message).saved()
        assert ballot is not None
        assert len(disks) == nodes
        assert proposer.chosen == learner.chosen
        return learner.chosen

    return decide


def essential(nodes: int) -> Callable[[bytes], Any]:
    paxos = peers.essential_paxos()
    quorum = nodes // 2 + 1

    class Messenger(paxos.Messenger):  # type: ignore[misc, name-defined]
        def __init__(self, uid: int, world: World) -> None:
            self.uid = uid
            self.world = world

        def send_prepare(self, proposal_id: Any) -> None:
            world = self.world
            world.queue += [
                (acceptor.recv_prepare, (self.uid, proposal_id)) for acceptor in world.acceptors
            ]

        def send_promise(self, to: int, proposal_id: Any, previous: Any, value: Any) -> None:
            world = self.world
            world.queue.append(
                (world.proposer.recv_promise, (self.uid, proposal_id, previous, value))
            )

        def send_accept(self, proposal_id: Any, value: Any) -> None:
            world = self.world
            world.queue += [
                (acceptor.recv_accept_request, (self.uid, proposal_id, value))
                for acceptor in world.acceptors
            ]

        def send_accepted(self, proposal_id: Any, value: Any) -> None:
            world = self.world
            world.queue.append((world.learner.recv_accepted, (self.uid, proposal_id, value)))

        def on_resolution(self, proposal_id: Any, value: Any) -> None:
            self.world.chosen = value

    class World:
        def __init__(self) -> None:
            self.queue: list[Any] = []
            self.chosen: Any = None
            self.acceptors = []
            for uid in range(1, nodes + 1):
                acceptor = paxos.Acceptor()
                acceptor.messenger = Messenger(uid, self)
                self.acceptors.append(acceptor)
            first = self.acceptors[0].messenger
            self.proposer = paxos.Proposer()
            self.proposer.messenger = first
            self.proposer.proposer_uid = 1
            self.learner = paxos.Learner()
            self.learner.messenger = first
            self.proposer.quorum_size = self.learner.quorum_size = quorum

    def decide(value: bytes) -> Any:
        world = World()
        world.proposer.set_proposal(value)
        world.proposer.prepare()
        while world.queue:
            queue, world.queue = world.queue, []
            for receive, message in queue:
                receive(*message)
        return world.chosen

    return decide


def each(name: str, decide: Callable[[bytes], Any], kind: Any = "peer") -> Contestant:
    def run() -> list[Any]:
        return [decide(value) for value in VALUES]

    assert run() == VALUES, name
    return Contestant(name, run, COUNT, kind)


@pytest.mark.parametrize("nodes", [3, 5])
def test_one_decree(compare: Compare, nodes: int) -> None:
    reason = peers.missing("essential-paxos")
    name = "essential-paxos, repaired"
    peer = Absent(name, reason) if reason is not None else each(name, essential(nodes))
    goals: list[Goal] = [AtMost(GOAL)] if nodes == 3 else []
    compare(
        Case(
            f"one decision of {nodes} acceptors, both phases",
            "decision",
            [
                each("ringleader", ours(nodes, Group(range(1, nodes + 1), learners=[1])), "ours"),
                each("ringleader, a group for each", ours(nodes, None)),
                peer,
            ],
            goals,
        )
    )
