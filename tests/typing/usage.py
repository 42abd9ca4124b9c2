"""The public types, as a user's type checker sees them.  Checked by mypy --strict, and run."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from ringleader import HashRing, Node, Replicas
from ringleader.consensus import (
    Block,
    ConfChange,
    Driver,
    Entries,
    Flexible,
    Joint,
    Log,
    Majority,
    Membership,
    Outcome,
    Raft,
    Ready,
)
from ringleader.consensus.driver import StateMachine, Storage, Transport
from ringleader.consensus.paxos import Acceptor, AcceptorState, Group, Learner, Proposer
from ringleader.consensus.raft import Config, Message, Status
from ringleader.consensus.ready import HardState, SnapshotSource
from ringleader.placement import (
    EnvoyRing,
    KetamaRing,
    KeyMovement,
    Locator,
    Movement,
    NginxRing,
    Plan,
    Ranges,
    RedisSlots,
    RingStats,
    TokenRing,
    load_ring,
    moved,
)
from ringleader.sim.user import Findings, simulate
from ringleader.storage.memory import MemoryStorage

ring = HashRing(["a", Node("b", 2.0, dc="eu", tags={"disk": "nvme"})], vnodes=100, hash="siphash13")
assert_type(ring["key"], str)
assert_type(ring[b"key"], str)
assert_type(ring[42], str)
assert_type(ring[np.int64(42)], str)
assert_type(ring.get_node(memoryview(b"key")), str)
assert_type(ring.get_nodes("key", 2), list[str])
assert_type(ring.lookup(["a", b"b", 3]), NDArray[np.uint32])
assert_type(ring.lookup(np.arange(3), threads=2), NDArray[np.uint32])
assert_type(ring.lookup_replicas(iter(["a"]), 2), NDArray[np.uint32])
two = Replicas(2, spread="zone")
assert_type(ring.get_nodes("key", two), list[str])
assert_type(ring.handoffs("key", two, limit=1), list[str])
assert_type(ring.local_first(["a", "b"], "eu", zone="z"), list[str])
assert_type(ring.local_first(ring.lookup_replicas([1], two), "eu"), NDArray[np.uint32])
assert_type(ring.lookup_replicas(["a"], two, threads=2), NDArray[np.uint32])
assert_type(ring.ranges(two), Ranges)
assert_type(Replicas.parse("eu=2,us=1"), Replicas)
assert_type(ring.nodes, tuple[Node, ...])
assert_type(ring.names, tuple[str, ...])
assert_type(ring.stats(), RingStats)
assert_type(ring.copy(), HashRing)
assert_type(HashRing.from_bytes(ring.to_bytes()), HashRing)
assert_type("a" in ring, bool)
assert_type(list(ring), list[str])
assert_type(ring.nodes[0].weight, float)

movement = ring.diff(ring, 2)
assert_type(movement, Movement)
assert_type(movement.starts, NDArray[np.uint64])
assert_type(movement.pairs, dict[tuple[str, str], int])
assert_type(movement.of(["key"]), KeyMovement)
assert_type(movement.plan(bytes_per_share=10**9, max_bytes_per_s=1e6), Plan)
assert_type(moved(ring, ring, [1, 2]).moved, NDArray[np.bool_])

weighted = HashRing({"a": 1, "b": 2.5})

servers: list[Locator] = [
    KetamaRing({"10.0.0.1:11211": 2}, flavor="libmemcached"),
    NginxRing(["10.0.0.1:80"]),
    EnvoyRing([Node("10.0.0.1:80")], minimum_ring_size=12, hash_function="murmur_hash_2"),
    TokenRing(tokens={"a": [-5, 7]}),
    RedisSlots(slots={"a": [(0, 16382), 16383]}),
]
assert_type(KetamaRing.from_bytes(servers[0].to_bytes()), KetamaRing)
assert_type(TokenRing.token(b"key"), int)
assert_type(TokenRing.token_column(["a", b"b"]), NDArray[np.int64])
assert_type(TokenRing.partition_key("a", b"b"), bytes)
assert_type(RedisSlots.slot("{a}b"), int)
assert_type(RedisSlots.slots(["a", "b"]), NDArray[np.uint16])
assert_type(RedisSlots(["a"]).slot_ranges(), dict[str, list[tuple[int, int]]])
assert_type(RedisSlots(["a"]).rebalance(), int)
locator: Locator = weighted
assert_type(locator.lookup(["x"]), NDArray[np.uint32])
loader = load_ring


class Special(HashRing):
    pass


assert_type(Special(["a"]).copy(), Special)

ring.add_node("c")
ring.add_node("d", weight=0.5)
ring.add_node(Node("e"))
ring.set_weight("c", 2)
ring.remove_node("d")


# --- consensus ---------------------------------------------------------------------------------

log = Log()
assert_type(log.append(1, [b"a", b"b"]), int)
assert_type(log.last, int)
assert_type(log.block(1, 3, 2**20), Block)
assert_type(log.entries(1, 3, 2**20), Entries)
assert_type(log[1], memoryview)
assert_type(log.terms, NDArray[np.uint64])
for index, command in log.entries(1, 3, 2**20):
    assert_type(index, int)
    assert_type(command, bytes)

majority = Majority([1, 2, 3])
assert_type(majority.committed({1: 5, 2: 4}), int)
assert majority.vote({1: True, 2: True}) == "won"
assert_type(Joint(majority, [2, 3, 4]).voters, tuple[Any, ...])
assert_type(Flexible([1, 2, 3, 4], replication=2, election=3).elections_intersect, bool)


class Register:
    """A user's state machine: no base class, the right methods."""

    value = b""

    def apply(self, entries: Entries) -> Sequence[int]:
        for _, self.value in entries:
            pass
        return [len(self.value)] * len(list(entries))

    def snapshot(self) -> bytes:
        return self.value

    def restore(self, source: SnapshotSource) -> None:
        self.value = source.read(0, source.total_bytes)


class Wire:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def send(self, messages: Sequence[Message]) -> None:
        self.messages += messages


storage = MemoryStorage()
kept: Storage = storage
wire: Transport = Wire()
register: StateMachine = Register()
found = kept.load()
core = Raft(
    "a",
    Membership(["a"]),
    log=found.log,
    config=Config(election_ticks=5, quorum=Majority, priorities={"a": 1}),
    seed=1,
    hard_state=found.hard_state,
    snapshot=found.snapshot,
    partial=found.partial,
)
outcomes: list[Outcome] = []
driver = Driver(core, storage, wire, register)
driver.tick(20)
driver.propose([b"x"], outcomes.append)
driver.read(outcomes.append)
assert [outcome.kind for outcome in outcomes] == ["applied", "applied"]
assert_type(outcomes[0].results, Sequence[Any])
assert_type(core.role, str)
assert_type(core.status(), Status)
assert_type(core.status().leader, int | str | None)
assert_type(core.propose([b"y"]), int)
ready = core.ready()
assert_type(ready, Ready)
assert_type(ready.hard_state, HardState | None)
assert_type(ready.block, Block | None)
assert_type(ready.committed, Entries | None)
assert_type(core.membership.changed(ConfChange(learners=["b"])), Membership)


group = Group(Flexible([1, 2, 3], replication=2, election=2), learners=["a"])
proposer = Proposer(1, group, seed=1)
acceptor = Acceptor(1, [1, 2, 3], state=AcceptorState())
step = proposer.propose(b"x")
saved = step.state.to_bytes() if step.state is not None else b""
answers = [acceptor.step(request).saved() for request in step.saved() if request.to == 1]
assert_type(len(answers[0]), int)
assert_type(proposer.chosen, bytes | None)
assert_type(Learner("a", group).chosen, bytes | None)
assert_type(acceptor.state, AcceptorState)


def command_of(random: Random) -> bytes:
    return random.randbytes(3)


def is_short(machine: Register) -> bool:
    return len(machine.value) <= 3


findings = simulate(Register, command_of, invariant=is_short, seeds=[1], duration_s=0.5)
assert_type(findings, Findings)
assert_type(findings.ok, bool)


def refused() -> None:
    """What the checker must refuse; never run.  An ignore that is not needed is an error."""
    HashRing(5)  # type: ignore[arg-type]
    ring[1.5]  # type: ignore[index]
    ring.lookup(5)  # type: ignore[arg-type]
    Raft(1.5)  # type: ignore[arg-type]
    core.propose(["text"])  # type: ignore[list-item]
    Driver(core, storage, wire, object())  # type: ignore[arg-type]
    proposer.propose("text")  # type: ignore[arg-type]
    simulate(object, command_of)  # type: ignore[type-var]
