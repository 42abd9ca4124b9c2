"""A group of nodes in one process: drivers over simulated disks, network and clocks, watched.

Each node is a `consensus.driver.Driver` over a core, as in a real process; what surrounds it
(storage, transport, state machine) passes through here on its way, so that the checker sees it and
a crash can fall between any two steps.  After the time of faults everything is healed, and the
group has to come back to life within a bound.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import deque
from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Any

from ringleader.consensus.config import CoreConfig
from ringleader.consensus.driver import Driver, Recovered
from ringleader.consensus.log import Entries
from ringleader.consensus.membership import ConfChange, Membership, NodeId
from ringleader.consensus.paxos.ballot import describe as describe_ballot
from ringleader.consensus.paxos.ballot import round_of
from ringleader.consensus.quorum import Majority
from ringleader.consensus.ready import Ready, Snapshot, SnapshotSource
from ringleader.errors import (
    InvariantViolation,
    MembershipError,
    NotLeader,
    ProposalRefused,
    StorageError,
)
from ringleader.sim.clock import Clock, NodeClock, Ticker
from ringleader.sim.disk import SimDisk
from ringleader.sim.family import CoreFactory, family
from ringleader.sim.nemesis import Decision, Nemesis, schedule
from ringleader.sim.network import Network
from ringleader.sim.profiles import DiskFaults, Faults, Profile
from ringleader.sim.workload import KeyValue, Pending, Scenario, Undecided, describe
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import GroupStorage

#: Why an honest node may find an honest peer's message out of place: it changed its membership.
_EXPECTED_REJECTIONS = frozenset(
    {"vote of a non-voter", "promise of a non-voter", "refusal of a non-voter", "not a member"}
)


class _Crash(BaseException):
    """The node dies here.  No `Exception`, so that nothing on the way catches it."""


class SimNode:
    """One node: what outlives its crashes (id, disk, clock), and its present life.

    fuse        steps until it dies in the midst of what it does; -1: it does not.
    lost        its disk is damaged; it never comes back.
    waiting     the clients' attempts that have no outcome yet.
    """

    __slots__ = (
        "busy",
        "checker",
        "clock",
        "cluster",
        "core",
        "disk",
        "driver",
        "fuse",
        "fuse_down_us",
        "id",
        "leases",
        "life",
        "lost",
        "machine",
        "note",
        "number",
        "port",
        "power",
        "rejected",
        "storage",
        "ticker",
        "ticks",
        "up",
        "waiting",
    )

    def __init__(self, cluster: Cluster, node: NodeId, dc: str) -> None:
        self.cluster = cluster
        self.checker = cluster.checker
        self.note = cluster.note
        self.id = node
        self.number = int(node)
        profile = cluster.profile
        drift = cluster.faults.clock.drift_ppm_max
        random = Random(f"{cluster.seed}:node:{node}")
        self.clock = NodeClock(cluster.clock, random.randint(-drift, drift))
        self.disk = SimDisk(
            cluster.clock,
            Random(f"{cluster.seed}:disk:{node}"),
            sync=profile.sync,
            bytes_per_s=profile.disk_bytes_per_s,
            faults=cluster.disk_faults,
        )
        self.port = cluster.network.add(node, dc)
        self.core: Any = None
        self.driver: Any = None
        self.machine: SimMachine = SimMachine(self)
        self.storage: Any = None
        self.ticker: Ticker | None = None
        self.leases = cluster.config.lease
        self.up = False
        self.lost = False
        self.busy = False
        self.life = 0
        self.fuse = -1
        self.fuse_down_us = 0
        self.power = True
        self.rejected = 0
        self.ticks = 0
        self.waiting: dict[Pending, None] = {}

    @property
    def damaged(self) -> bool:
        """Whether it is lost, or will be when it reads what a fault has damaged."""
        return self.lost or bool(self.disk.flipped)

    # --- its life ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life with what the disk holds."""
        cluster = self.cluster
        self.life += 1
        inner = GroupStorage(
            self.disk,
            LogIdentity(cluster="simulated", node=self.id),
            segment_bytes=cluster.segment_bytes,
            on_failure=self.fail,
        )
        recovered = inner.load()
        log = recovered.log
        hard_state = recovered.hard_state
        snapshot = recovered.snapshot
        self.checker.loaded(self.id, log, recovered.aside)
        self.core = cluster.core(
            self.id,
            cluster.initial if self.id in cluster.initial.members else Membership(),
            recovered,
            cluster.config,
            Random(f"{cluster.seed}:core:{self.id}:{self.life}").getrandbits(62),
        )
        self.rejected = 0
        if recovered.partial is not None:
            self.checker.coverage["snapshots resumed after a restart"] += 1
        self.busy = True
        self.checker.started(self.id, self.core, hard_state, snapshot, log)
        self.machine = SimMachine(self)
        self.storage = SimStorage(self, inner)
        self.up = True
        self.fuse = -1
        cluster.note("start", self.id, self.life)
        cluster.network.attach(self.id, self.receive)
        self.driver = Driver(
            self.core,
            self.storage,
            SimTransport(self),
            self.machine,
            keep_entries=cluster.keep_entries,
        )
        self.busy = False
        self.ticker = Ticker(self.clock, cluster.profile.tick_us, self.tick)
        self.checker.after(self.id, self.core)

    def stop(self) -> None:
        """The life ends, wherever it stands."""
        self.up = False
        self.busy = False
        self.fuse = -1
        self.cluster.network.detach(self.id)
        if self.ticker is not None:
            self.ticker.cancel()
        self.storage.dead = True
        self.disk.crash(self.power)
        self.checker.crashed(self.id)
        self.driver = self.core = None
        waiting, self.waiting = self.waiting, {}
        for pending in waiting:
            if not pending.settled:
                pending.settled = True
                if pending is pending.client.waiting:
                    pending.client.lose()

    def burn(self) -> None:
        """A step towards the death that a nemesis has set."""
        self.fuse -= 1
        if self.fuse < 0:
            self.checker.coverage["crashes inside a step"] += 1
            raise _Crash

    # --- what happens to it ------------------------------------------------------------------

    def receive(self, message: Any) -> None:
        """A message arrives: the hot path of the simulator."""
        if self.leases:
            self.catch_up()
            if not self.up:
                return
        cluster = self.cluster
        core = self.core
        kind = type(message)
        now_us = cluster.clock.now_us
        cluster.trace.append((now_us, "receive", self.id, message))
        digest = cluster.digest_words
        digest += (now_us, self.number, cluster.kinds[kind], message.term)
        if kind is cluster.probe and getattr(message, cluster.probe_flag):
            self.run(self._receive_pre_vote, message)
            return
        self.busy = True
        try:
            self.driver.receive(message)
        except BaseException as error:
            self.raised(error)
            return
        self.busy = False
        self.checker.after(self.id, core)
        if len(core.rejected) != self.rejected or self.driver.failed:
            self.look()

    def _receive_pre_vote(self, message: Any) -> None:
        core = self.core
        term = core.term
        self.driver.receive(message)
        self.checker.after_pre_vote(self.id, core, term, message)

    def run(self, call: Callable[[Any], object], argument: Any) -> None:
        """Let the node do something; nothing happens to a dead one."""
        if not self.up:
            return
        if self.busy:  # part of what it is doing
            call(argument)
            return
        core = self.core
        self.busy = True
        try:
            call(argument)
        except BaseException as error:
            self.raised(error)
            return
        self.busy = False
        self.checker.after(self.id, core)
        if len(core.rejected) != self.rejected or self.driver.failed:
            self.look()

    def raised(self, error: BaseException) -> None:
        """An event ended in an exception."""
        self.busy = False
        if isinstance(error, _Crash):
            self.checker.died(self.id, self.core)
            self.cluster.crash(self, self.fuse_down_us)
        elif isinstance(error, StorageError):
            self.cluster.crash(self, self.cluster.disk_restart_us)
        elif isinstance(error, InvariantViolation) or not isinstance(error, Exception):
            raise error
        else:
            try:
                self.checker.violate(14, self.id, f"raises {type(error).__name__}: {error}")
            except InvariantViolation as violation:
                raise violation from error

    def look(self) -> None:
        """Something is unusual: a message was rejected, or the disk failed."""
        core = self.core
        self.rejected = len(core.rejected)
        if strange := set(core.rejected) - _EXPECTED_REJECTIONS:
            self.checker.violate(
                14, self.id, f"rejects an honest peer's message: {sorted(strange)}"
            )
        if self.driver.failed:
            self.checker.coverage["nodes stopped by their disk"] += 1
            self.cluster.crash(self, self.cluster.disk_restart_us)

    def fail(self, error: StorageError) -> None:
        """The disk failed: the node stops, once it has left what it is doing."""
        self.checker.coverage["nodes stopped by their disk"] += 1
        life = self.life
        self.cluster.clock.after(
            0,
            lambda _: (
                self.cluster.crash(self, self.cluster.disk_restart_us)
                if self.life == life
                else None
            ),
        )

    def tick(self, count: int) -> None:
        self.run(self._tick, count)

    def _tick(self, count: int) -> None:
        self.driver.tick(count)
        self.ticks += count
        if self.ticks % 16 == 0:
            self.storage.inner.mark()

    def catch_up(self) -> None:
        """A lease is only as good as the node's idea of the time: no tick may be overdue."""
        if self.ticker is not None and not self.busy:
            self.ticker.catch_up()

    # --- what is asked of it -----------------------------------------------------------------

    def propose(self, command: bytes, pending: Pending) -> None:
        self._ask(self._propose, (command, pending), pending)

    def _propose(self, argument: tuple[bytes, Pending]) -> None:
        command, pending = argument
        self.driver.propose([command], self._settler(pending))

    def propose_all(self, commands: Sequence[bytes], done: Callable[[Any], None]) -> None:
        """Commands that no client waits for."""
        self.run(lambda _: self.driver.propose(commands, done), None)

    def read(self, pending: Pending) -> None:
        if self.leases:
            self.catch_up()
        self._ask(self._read, pending, pending)

    def _read(self, pending: Pending) -> None:
        if self.leases and self.core.has_lease:
            self.checker.coverage["reads under a lease"] += 1
        self.driver.read(self._settler(pending))

    def _settler(self, pending: Pending) -> Callable[[Any], None]:
        life = self.life

        def settle(outcome: Any) -> None:
            if self.life != life or not self.up:
                return
            self.waiting.pop(pending, None)
            pending(outcome)

        return settle

    def _ask(self, call: Callable[[Any], object], argument: Any, pending: Pending) -> None:
        if not self.up:
            pending.settled = True
            pending.client.again()
            return
        self.waiting[pending] = None
        try:
            self.run(call, argument)
        except (NotLeader, ProposalRefused) as error:  # pragma: no cover
            self.checker.violate(14, self.id, f"a driver raises {error!r} instead of an outcome")

    def take_snapshot(self) -> None:
        self.run(lambda _: self.driver.take_snapshot(), None)

    def transfer(self, to: NodeId) -> None:
        self.run(self._transfer, to)

    def _transfer(self, to: NodeId) -> None:
        try:
            self.driver.transfer(to)
            self.checker.coverage["transfers asked for"] += 1
        except (NotLeader, MembershipError, ProposalRefused):
            self.checker.coverage["transfers refused"] += 1

    def change_config(self, change: ConfChange) -> None:
        self.note("change", self.id, change)
        self.run(self._change, change)

    def _change(self, change: ConfChange) -> None:
        try:
            self.driver.change_config(change)
        except (NotLeader, MembershipError, ProposalRefused):
            self.checker.coverage["membership changes refused"] += 1


class SimStorage:
    """A node's storage, on its way to the disk and back."""

    __slots__ = ("_confirmed", "_driver_done", "dead", "inner", "node")

    def __init__(self, node: SimNode, inner: Any) -> None:
        self.node = node
        self.inner = inner
        self.dead = False
        self._driver_done: deque[Callable[[Ready], None]] = deque()

    @property
    def failed(self) -> BaseException | None:
        error: BaseException | None = self.inner.failed
        return error

    def load(self) -> Recovered:
        loaded: Recovered = self.inner.load()
        return loaded

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        node = self.node
        if node.fuse >= 0:
            node.burn()
        node.checker.wrote(node.id, node.core, ready)
        self._driver_done.append(done)
        self.inner.write(ready, self._done)
        if node.fuse >= 0:
            node.burn()

    def _done(self, ready: Ready) -> None:
        if not self.dead:
            self.node.run(self._confirm, ready)

    def _confirm(self, ready: Ready) -> None:
        node = self.node
        node.checker.synced(node.id, ready)
        done = self._driver_done.popleft()
        if node.fuse >= 0:
            node.burn()
        done(ready)

    @property
    def takes_snapshots(self) -> bool:
        return bool(self.inner.takes_snapshots)

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
        node = self.node
        if node.fuse >= 0:
            node.burn()
        index = snapshot.index

        def saved() -> None:
            if self.dead:
                return
            node.checker.saved_snapshot(node.id, index)
            node.checker.coverage["snapshots taken"] += 1
            node.run(lambda _: done(), None)

        self.inner.save_snapshot(snapshot, keep_from, saved)

    def open_snapshot(self) -> SnapshotSource:
        source: SnapshotSource = self.inner.open_snapshot()
        return source


class SimTransport:
    """A node's way to the network, past the checker."""

    __slots__ = ("_send", "_sent", "node")

    def __init__(self, node: SimNode) -> None:
        self.node = node
        self._send = node.port.send
        self._sent = node.checker.sent

    def send(self, messages: Sequence[Any]) -> None:
        node = self.node
        if node.fuse >= 0:
            # The last ones may not make it.
            for message in messages:
                node.burn()
                self._sent(node.id, node.core, (message,))
                self._send((message,))
            return
        self._sent(node.id, node.core, messages)
        self._send(messages)


class SimMachine:
    """A node's state machine: that of the scenario, past the checker."""

    __slots__ = ("inner", "node")

    def __init__(self, node: SimNode) -> None:
        self.node = node
        self.inner = node.cluster.scenario.machine(node.cluster, node.id)

    @property
    def index(self) -> int:
        return self.inner.index

    def apply(self, entries: Entries) -> Sequence[Any]:
        node = self.node
        if node.fuse >= 0:
            node.burn()
        items = list(entries)
        inner = self.inner
        inner.chain = node.checker.applied(node.id, node.core, entries.first, entries.last, items)
        inner.index = entries.last
        results = inner.run_all(entries, items)
        node.cluster.executed(entries.last, items, results)
        if node.fuse >= 0:
            node.burn()
        return results

    def snapshot(self) -> bytes:
        return self.inner.snapshot()

    def restore(self, source: SnapshotSource) -> None:
        self.inner.restore(source)
        self.node.checker.restored(self.node.id, self.inner.index, self.inner.chain)


class Cluster:
    """A simulated group.

    Args:
        profile: where the nodes stand.
        faults: what goes wrong.
        seed: everything that is random comes from it.
        consensus: which, of `sim.family.FAMILIES`.
        core: makes the cores; by default those of the consensus.
        scenario: what is replicated, and what its clients do.
        config: their settings; by default drawn from the seed around those of the profile.
        duration_us: of the time of faults.
        clients, nodes: how many; by default the profile's.
        only: numbers of the decisions that are carried out; None: all.
        until_us: the time of faults ends here, rather than at `duration_us`.
    """

    def __init__(
        self,
        profile: Profile,
        faults: Faults,
        seed: int,
        *,
        consensus: str = "raft",
        core: CoreFactory | None = None,
        scenario: Scenario | None = None,
        config: CoreConfig | None = None,
        duration_us: int = 20_000_000,
        clients: int = 6,
        nodes: int | None = None,
        only: Collection[int] | None = None,
        until_us: int | None = None,
    ) -> None:
        self.profile = profile
        self.faults = faults
        self.seed = seed
        self.family = family(consensus)
        self.probe, self.probe_flag = self.family.probe, self.family.probe_flag
        self.core = core if core is not None else self.family.core
        self.scenario: Scenario = scenario if scenario is not None else KeyValue()
        random = Random(f"{seed}:cluster")
        self.config: CoreConfig = (
            config if config is not None else self.family.draw_config(profile, faults, random)
        )
        #: Entries that stay in the log behind a snapshot.
        self.keep_entries = random.choice((0, 5, 50))
        #: Bytes of filling in a snapshot.
        self.ballast = random.choice((0, 200, 3000))
        self.segment_bytes = random.choice((4000, 50_000, 2**20))
        self.duration_us = duration_us
        self.until_us = duration_us if until_us is None else min(until_us, duration_us)
        self.clock = Clock()
        dcs = profile.nodes[: nodes or len(profile.nodes)]
        self.initial = Membership(range(1, len(dcs) + 1))
        self.checker = self.family.checker(
            self.initial,
            self.clock,
            self.config,
            describe=describe_event,
            elected=self._elected,
        )
        #: Called, once each, as soon as there is another leader.
        self.on_leader: list[Callable[[None], None]] = []
        self.trace = self.checker.trace
        self.digest_words: list[int] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self.kinds = {kind: number for number, kind in enumerate(self.family.messages)}
        #: Command -> its result, and when the first node applied it.
        self.results: dict[bytes, tuple[Any, int]] = {}
        self._executed = 0
        self.quiet_disk = DiskFaults()
        # Bits of durable data are flipped by decisions, so that a quorum stays whole.
        self.disk_faults = _without_flips(faults.disk)
        self.network = Network(self.clock, Random(f"{seed}:network"), profile, faults.network)
        self.nodes: dict[NodeId, SimNode] = {}
        #: What clients know of the group.
        self.members: tuple[NodeId, ...] = self.initial.members
        election_us = self.config.election_ticks * profile.tick_us
        self.election_us = election_us
        self.disk_restart_us = election_us
        for node, dc in zip(self.initial.members, dcs, strict=True):
            self.nodes[node] = SimNode(self, node, dc)
        for node in self.initial.members:
            self.nodes[node].start()
        self.workload = self.scenario.workload(
            self,
            random.getrandbits(64),
            clients=clients,
            keys=random.randrange(2, 6),
            think_us=random.choice((profile.tick_us, profile.tick_us * 5)),
            timeout_us=5 * election_us,
        )
        decisions = schedule(seed, faults, self.until_us)
        if only is not None:
            decisions = [decision for decision in decisions if decision.number in only]
        self.decisions: list[Decision] = decisions
        self.nemesis = Nemesis(self, decisions)

    # --- the run -----------------------------------------------------------------------------

    def run(self) -> None:
        """The time of faults, then healing, then the last checks.

        Raises:
            InvariantViolation: one of the invariants is broken.
        """
        clock = self.clock
        step_us = 250_000
        while clock.now_us < self.until_us:
            clock.run(min(clock.now_us + step_us, self.until_us))
            self.members = self._known_members()
            self._feed()
        self.heal()
        self.settle()
        self.check_history()

    def heal(self) -> None:
        """Everything works again: from here on the group must live."""
        self.note("heal", 0, None)
        self.nemesis.heal()
        for node in list(self.nodes.values()):
            if not node.up and not node.lost:
                self.restart(node)

    def settle(self) -> None:
        """Run until all is quiet and equal, or the bound has passed (invariant 12)."""
        clock = self.clock
        bound_us = clock.now_us + 10_000_000 + 60 * self.election_us
        quiet_us = clock.now_us + 2 * self.election_us  # clients go on for a while
        stopped = False
        why = ""
        while clock.now_us < bound_us:
            clock.run(clock.now_us + self.election_us)
            self._feed()
            self.members = self._known_members()
            leader = self.leader()
            if leader is not None and leader.core.membership.joint:
                if not leader.core.membership.auto_leave:
                    leader.change_config(ConfChange.leave_joint())
                continue
            if not stopped and clock.now_us >= quiet_us and self._all_answered():
                stopped = True
                self.workload.stop()
            if stopped:
                why = self._unsettled()
                if not why:
                    return
        if not stopped:
            why = "a client gets no answer"
        self.checker.violate(
            12,
            None,
            f"{why or 'still joint'}, {(60 * self.election_us) / 1e6 + 10:.0f} s after healing",
        )

    def _all_answered(self) -> bool:
        """Whether each client has been answered since the healing."""
        if self._answered_at_heal is None:
            self._answered_at_heal = [client.answered for client in self.workload.clients]
        return all(
            client.answered > before
            for client, before in zip(self.workload.clients, self._answered_at_heal, strict=True)
        )

    _answered_at_heal: list[int] | None = None

    def _unsettled(self) -> str:
        """What is missing for peace; "" when nothing is."""
        leader = self.leader()
        if leader is None:
            return "there is no leader"
        for client in self.workload.clients:
            if client.waiting is not None:
                return f"client {client.number} waits for {client.operation}"
        core = leader.core
        index = leader.machine.index
        if core.commit != core.log.last or index != core.commit:
            return f"leader {leader.id} has applied {index} of {core.log.last} entries"
        for member in core.membership.members:
            node = self.nodes[member]
            if node.lost:
                continue
            if not node.up:
                return f"node {member} is down"
            if core.membership.is_witness(member):
                if node.core.commit != index:
                    return f"witness {member} is at {node.core.commit}, the leader at {index}"
            elif node.machine.index != index:
                return f"node {member} has applied {node.machine.index}, the leader {index}"
            elif node.machine.inner.state() != leader.machine.inner.state():
                self.checker.violate(5, member, f"its state differs from that of {leader.id}")
        return ""

    def check_history(self) -> None:
        """The clients' history must be linearizable (invariants 13, 15)."""
        history = self.workload.close(self.results)
        self.checker.coverage["operations checked"] += len(history)
        try:
            problem = self.scenario.problem(history)
        except Undecided:
            self.checker.coverage["histories undecided"] += 1
        else:
            if problem:
                self.checker.violate(13, None, problem)

    # --- nodes -------------------------------------------------------------------------------

    def crash(self, node: SimNode, down_us: int) -> None:
        if not node.up:
            return
        self.note("crash", node.id, "power" if node.power else "process")
        self.checker.coverage["crashes"] += 1
        node.stop()
        self._restart_later(node, down_us)

    def _restart_later(self, node: SimNode, down_us: int) -> None:
        life = node.life
        self.clock.after(
            down_us + 1,
            lambda _: self.restart(node) if not node.up and node.life == life else None,
        )

    def restart(self, node: SimNode) -> None:
        if node.lost or node.up:
            return
        try:
            node.start()
            self.checker.coverage["restarts"] += 1
        except StorageError as error:
            if node.up:  # the disk failed while it began
                self.crash(node, self.disk_restart_us)
                return
            if node.disk.full:
                self.checker.coverage["nodes stopped by their disk"] += 1
                self._restart_later(node, self.disk_restart_us)
                return
            if not node.disk.flipped:
                self.checker.violate(6, node.id, f"its disk is not damaged, but: {error}")
            node.lost = True
            node.up = False
            self.note("lost", node.id, str(error))
            self.checker.coverage["damaged disks refused"] += 1

    def join(self, node: NodeId) -> None:
        """A node that never was there: it knows nobody and holds nothing."""
        dcs = self.profile.nodes
        joined = self.nodes[node] = SimNode(self, node, dcs[int(node) % len(dcs)])
        joined.start()

    def fresh_ids(self, count: int) -> list[NodeId]:
        first = len(self.nodes) + 1
        return list(range(first, first + count))

    def leader(self) -> SimNode | None:
        """The leader of the highest term, if it is up."""
        found: SimNode | None = None
        for node in self.nodes.values():
            if (
                node.up
                and node.core.role == "leader"
                and (found is None or node.core.term > found.core.term)
            ):
                found = node
        return found

    def _elected(self) -> None:
        for call in self.on_leader:
            self.clock.after(0, call)
        self.on_leader.clear()

    def _known_members(self) -> tuple[NodeId, ...]:
        leader = self.leader()
        if leader is None:
            return self.members
        membership = leader.core.membership
        return tuple(node for node in membership.members if not membership.is_witness(node))

    def may_lose(self, node: NodeId) -> bool:
        """Whether every configuration that is in force anywhere keeps a quorum without `node`."""
        return (
            all(
                self._keeps_quorum(other.core.membership, node)
                for other in self.nodes.values()
                if other.up
            )
            and all(
                self._keeps_quorum(membership, node) for membership in self.checker.configurations()
            )
            and self._keeps_quorum(self.initial, node)
        )

    def may_become(self, membership: Membership) -> bool:
        """Whether a configuration has a quorum of nodes that are not lost."""
        return self._keeps_quorum(membership, None)

    def _keeps_quorum(self, membership: Membership, node: NodeId | None) -> bool:
        for voters in (membership.voters, membership.outgoing):
            gone = sum(
                voter == node or (voter in self.nodes and self.nodes[voter].damaged)
                for voter in voters
            )
            # Who is needed for a quorum of another kind depends on who else is there.
            if gone and (2 * gone >= len(voters) or self.config.quorum is not Majority):
                return False
        return True

    # --- what clients and machines report -----------------------------------------------------

    def acknowledged(self, pending: Pending) -> None:
        """A write was answered: from now on every read sees it."""
        index = self.nodes[pending.node].machine.index
        self.checker.acknowledge(index)
        if self.config.lease:
            self._check_leases(index)

    def _check_leases(self, index: int) -> None:
        """Whoever holds a lease may serve reads at once: it must know of that write (invariant 9).
        So no client has to ask just then."""
        for node in self.nodes.values():
            if not node.up or node.busy or node.core.role != "leader":
                continue
            if node.core.commit < index and node.core.has_lease:
                node.catch_up()
                if node.up and node.core.commit < index and node.core.has_lease:
                    self.checker.violate(
                        9,
                        node.id,
                        f"holds a lease at commit index {node.core.commit}, and a write at {index} "
                        "is acknowledged",
                    )

    def executed(
        self, last: int, items: Sequence[tuple[int, bytes]], results: Sequence[Any]
    ) -> None:
        """A machine applied commands up to `last`; the first to do so tells their results."""
        if last <= self._executed:
            return
        known = self.results
        now_us = self.clock.now_us
        for (index, command), result in zip(items, results, strict=True):
            if index > self._executed:
                if command in known:
                    self.checker.violate(
                        15, None, f"{describe(command)} is committed twice, again at {index}"
                    )
                known[command] = result, now_us
        self._executed = last

    def note(self, kind: str, node: NodeId, what: Any) -> None:
        """An event that is no message: into the trace and the digest."""
        now_us = self.clock.now_us
        self.trace.append((now_us, kind, node, what))
        self.digest_words += (now_us, int(node), len(kind), -1)

    def _feed(self) -> None:
        words = self.digest_words
        if words:
            self._digest.update(array("q", words).tobytes())
            words.clear()

    def digest(self) -> str:
        """Of all that happened so far: the same for the same seed, on every machine."""
        self._feed()
        return self._digest.hexdigest()


def draw_config(
    profile: Profile, faults: Faults, random: Random, consensus: str = "raft"
) -> CoreConfig:
    """The settings that a run draws when it is given none."""
    return family(consensus).draw_config(profile, faults, random)


def _without_flips(faults: DiskFaults) -> DiskFaults:
    from dataclasses import replace

    return replace(faults, flip_synced_rate=0.0)


def describe_event(event: tuple[Any, ...]) -> str:
    """An event of the trace, in words."""
    now_us, kind, node, what = event
    time = f"{now_us / 1e6:12.6f}"
    if kind == "fault":
        return f"{time}  --- {what}"
    if kind == "heal":
        return f"{time}  --- all is healed"
    if kind == "receive":
        return f"{time}  {node} <- {_describe_message(what)}"
    return f"{time}  {node} {kind} {what}"


def _describe_message(message: Any) -> str:
    """`repr`, but long bytes as their number, and commands in words."""
    fields = []
    for name in message.FIELDS:
        value = getattr(message, name)
        if name == "payloads":
            text = ", ".join(map(describe, value))
        elif isinstance(value, bytes) and len(value) > 8:
            text = f"<{len(value)} bytes>"
        elif name in ("term", "ballot") and round_of(value):
            text = describe_ballot(value)
        else:
            text = repr(value)
        fields.append(f"{name}={text}")
    return f"{type(message).__name__}({', '.join(fields)})"
