"""A group in virtual time, counted: drivers over the simulator's clock, network and disks.

Unlike `ringleader.sim.cluster` it draws no settings, checks nothing, and restarts nobody: what is
measured here is the same from run to run but for the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ringleader.consensus.driver import Driver, Outcome
from ringleader.consensus.log import Entries
from ringleader.consensus.membership import NodeId
from ringleader.consensus.quorum import QuorumSystem
from ringleader.consensus.ready import SnapshotSource
from ringleader.errors import SettingError
from ringleader.sim.clock import Clock, NodeClock, Ticker
from ringleader.sim.comparison.algorithms import Algorithm, Arrangement
from ringleader.sim.disk import SimDisk
from ringleader.sim.network import Network, Port
from ringleader.sim.profiles import SECOND, NetworkFaults, Profile
from ringleader.storage.record import LogIdentity
from ringleader.storage.wal import GroupStorage

COMMAND_BYTES = 64
#: What should happen is waited for so long.
PATIENCE_US = 60 * SECOND


def command(number: int) -> bytes:
    return number.to_bytes(8, "little") * (COMMAND_BYTES // 8)


class _Machine:
    """Applies nothing: what state machines cost is not asked."""

    def apply(self, entries: Entries) -> Sequence[Any]:
        return range(len(entries))

    def snapshot(self) -> bytes:
        return b""

    def restore(self, source: SnapshotSource) -> None:
        pass


class Tally:
    """What was sent, and made durable, by all nodes together.

    entries     those in messages, counted once for each message that has them.
    """

    __slots__ = ("entries", "kinds", "syncs", "wire_bytes")

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.wire_bytes = 0
        self.entries = 0
        self.syncs = 0

    @property
    def messages(self) -> int:
        return self.kinds.total()


class _Transport:
    """A port whose messages are counted."""

    __slots__ = ("_encode", "_port", "_tally")

    def __init__(self, port: Port, tally: Tally, encode: Callable[[Any], bytes] | None) -> None:
        self._port = port
        self._tally = tally
        self._encode = encode

    def send(self, messages: Sequence[Any]) -> None:
        tally = self._tally
        for message in messages:
            tally.kinds[type(message).__name__] += 1
            block = getattr(message, "block", None)
            if block is not None:
                tally.entries += len(block)
            if self._encode is not None:
                tally.wire_bytes += len(self._encode(message))
        self._port.send(messages)


class Node:
    """One node, in its only life."""

    __slots__ = ("core", "dc", "disk", "driver", "group", "id", "ticker", "up")

    def __init__(self, group: Group, node: NodeId, dc: str, ticking: bool) -> None:
        self.group = group
        self.id = node
        self.dc = dc
        clock, profile = group.clock, group.profile
        self.disk = SimDisk(
            clock,
            Random(f"{group.seed}:disk:{node}"),
            sync=profile.sync,
            bytes_per_s=profile.disk_bytes_per_s,
        )
        storage = GroupStorage(self.disk, LogIdentity(cluster="compared", node=node))
        self.core = group.algorithm.make(
            node,
            group.dcs,
            recovered=storage.load(),
            config=group.config,
            seed=Random(f"{group.seed}:core:{node}").getrandbits(62),
        )
        port = group.network.add(node, dc)
        transport = _Transport(port, group.tally, group.algorithm.encode if group.weighs else None)
        self.driver = Driver(self.core, storage, transport, _Machine())
        group.network.attach(node, self.receive)
        self.up = True
        self.ticker: Ticker | None = None
        if ticking:
            self.ticker = Ticker(NodeClock(clock), profile.tick_us, self.driver.tick)

    def receive(self, message: Any) -> None:
        watch = self.group.watch
        if watch is None:
            self.driver.receive(message)
        else:
            watch(self, message)

    def crash(self) -> None:
        """For good."""
        self.up = False
        self.group.network.detach(self.id)
        if self.ticker is not None:
            self.ticker.cancel()
        self.disk.crash()


class Group:
    """A group with a leader.

    Args:
        algorithm, arrangement, profile: see `ringleader.sim.comparison.algorithms`.
        leader: who leads.
        seed: everything that is random comes from it.
        ticking: time passes for the cores; else there are no heartbeats and no timeouts.
        weighs: messages are encoded, to count their bytes.
        faults: what happens to messages, once there is a leader.
        settings: of the cores, besides those of the profile.

    Attributes:
        watch: called instead of `driver.receive` for each message, which it has to call.

    Raises:
        QuorumError: the algorithm may not use this arrangement.
        SettingError: nobody could be made to lead.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        arrangement: Arrangement,
        profile: Profile,
        *,
        leader: NodeId = 1,
        seed: int = 0,
        ticking: bool = True,
        weighs: bool = False,
        faults: NetworkFaults | None = None,
        **settings: Any,
    ) -> None:
        self.algorithm = algorithm
        self.profile = profile
        self.seed = seed
        self.weighs = weighs
        self.dcs: dict[NodeId, str] = dict(enumerate(profile.nodes, 1))
        self.system: QuorumSystem = arrangement.make(self.dcs, algorithm.owned_ballots)
        self.config = algorithm.config(
            election_ticks=profile.election_ticks,
            heartbeat_ticks=profile.heartbeat_ticks,
            quorum=lambda voters: arrangement.make(
                {voter: self.dcs[voter] for voter in voters}, algorithm.owned_ballots
            ),
            **settings,
        )
        self.clock = Clock()
        self.network = Network(self.clock, Random(f"{seed}:network"), profile)
        self.tally = Tally()
        self.watch: Callable[[Node, Any], None] | None = None
        self.nodes = {node: Node(self, node, dc, ticking) for node, dc in self.dcs.items()}
        self.leader = self.nodes[leader]
        self._elect()
        if faults is not None:
            self.network.set_faults(faults)

    def _elect(self) -> None:
        """The leader that is wanted leads, and has committed."""
        leader = self.leader
        leader.core.campaign()
        leader.driver.pump()
        self.run_until(lambda: leader.core.role == "leader", f"{leader.id!r} leads")
        self.commit_one(leader)

    @property
    def syncs(self) -> int:
        """Of all disks."""
        return sum(node.disk.syncs for node in self.nodes.values())

    def run_until(
        self, is_done: Callable[[], bool], what: str, patience_us: int = PATIENCE_US
    ) -> None:
        """Let time pass until `what` holds.

        Raises:
            SettingError: it does not happen.
        """
        clock = self.clock
        end_us = clock.now_us + patience_us
        while not is_done():
            if not clock.step() or clock.now_us > end_us:
                raise SettingError(
                    f"{self.algorithm.title} on {self.profile.name}: it never happens that {what}"
                )

    def commit_one(self, node: Node) -> None:
        """A command is committed, and applied at `node`, which leads."""
        outcomes: list[Outcome] = []
        node.driver.propose([command(0)], outcomes.append)
        self.run_until(lambda: bool(outcomes), "a command is committed")
        if outcomes[0].kind != "applied":
            raise SettingError(f"{node.core!r} does not commit: {outcomes[0]!r}")

    def settle(self, us: int) -> None:
        """Let so much time pass."""
        self.clock.run(self.clock.now_us + us)


class Clients:
    """`clients` in the leader's datacenter, each with a batch of commands under way at a time,
    until `count` commands are committed.

    latencies_us    of each batch, from its proposal to its being applied at the leader.
    """

    def __init__(self, group: Group, *, clients: int, batch: int, count: int) -> None:
        self.group = group
        self.batch = batch
        self.latencies_us: list[int] = []
        self._wanted = count // batch
        self._begun = 0
        self._clients = clients

    def run(self) -> None:
        for _ in range(self._clients):
            self._ask()
        self.group.run_until(
            lambda: len(self.latencies_us) == self._wanted,
            "all commands are committed",
            PATIENCE_US + self._wanted * SECOND,
        )

    def _ask(self) -> None:
        if self._begun == self._wanted:
            return
        first = self._begun * self.batch
        self._begun += 1
        clock = self.group.clock
        asked_us = clock.now_us

        def done(outcome: Outcome) -> None:
            if outcome.kind != "applied":
                raise SettingError(f"a command of a client in no trouble is {outcome.kind}")
            self.latencies_us.append(clock.now_us - asked_us)
            self._ask()

        commands = [command(first + at) for at in range(self.batch)]
        self.group.leader.driver.propose(commands, done)
