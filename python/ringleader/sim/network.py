"""The network between simulated nodes.

Each ordered pair of nodes has a `Link`.  A message that is sent takes a latency from its link's
distribution and arrives in the order of its link, unless

    it is lost              `loss_rate`, or the link is cut (partitions cut one direction or both)
    it arrives twice        `duplicate_rate`: the second one out of order
    it is overtaken         `reorder_rate`: it leaves the order of its link
    its link is clogged     it waits, and comes out with all the others when the clog is gone
    an end of it is slow    every message from and to a slow node takes longer

What is under way when a link is cut or a node crashes is still delivered: to the restarted node, as
in real networks, if it is up by then; a node that is down loses what arrives.

Messages are handed over as the objects they are: nobody may change one that was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappush
from random import Random
from typing import Any

from ringleader.consensus.membership import NodeId
from ringleader.errors import SettingError
from ringleader.sim.clock import Clock
from ringleader.sim.profiles import LATENCY_TABLE_BITS, Latency, NetworkFaults, Profile

Receive = Callable[[Any], object]


class Counters:
    """What became of the messages: sent + duplicated = delivered + lost + cut + down + under
    way."""

    __slots__ = (
        "clogged",
        "cut",
        "delivered",
        "down",
        "duplicated",
        "lost",
        "reordered",
        "sent",
        "unknown",
    )

    def __init__(self) -> None:
        self.sent = 0
        self.delivered = 0
        self.duplicated = 0
        self.reordered = 0
        #: Lost at random.
        self.lost = 0
        #: Sent over a cut link.
        self.cut = 0
        #: Arrived at a node that was down.
        self.down = 0
        #: Waited in a clog.
        self.clogged = 0
        #: Sent to a node that the network does not know; not counted as sent.
        self.unknown = 0

    def as_dict(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


class Link:
    """One direction between two nodes.

    last_us     when the latest message in order arrives.  Invariant: never goes back.
    clog        what waits in the clog: (arrival without it, message); None when there is none.
    """

    __slots__ = ("clog", "cut", "extra_us", "last_us", "source", "table", "target")

    def __init__(self, source: NodeId, target: NodeId, table: list[int]) -> None:
        self.source = source
        self.target = target
        self.table = table
        self.last_us = 0
        self.cut = False
        self.extra_us = 0
        self.clog: list[tuple[int, Any]] | None = None


class Port:
    """A node's way into the network: the `Transport` of its driver."""

    __slots__ = (
        "_bits",
        "_clock",
        "_counters",
        "_deliver",
        "_heap",
        "_links",
        "_network",
        "_random",
        "node",
    )

    def __init__(self, network: Network, node: NodeId) -> None:
        self.node = node
        self._network = network
        self._links = network._links[node]
        self._clock = network.clock
        self._heap = network.clock._heap
        self._bits = network._random.getrandbits
        self._random = network._random.random
        self._counters = network.counters
        self._deliver = network._deliver

    def send(self, messages: Sequence[Any]) -> None:
        """Try to deliver each message to its `to`; never wait, never fail."""
        clock = self._clock
        links = self._links
        counters = self._counters
        faulty = self._network._faulty
        random = self._random
        for message in messages:
            link = links.get(message.to)
            if link is None:
                counters.unknown += 1
                continue
            counters.sent += 1
            if link.cut:
                counters.cut += 1
                continue
            at_us = clock.now_us + link.table[self._bits(LATENCY_TABLE_BITS)] + link.extra_us
            if (
                faulty
                and (draw := random()) < faulty
                and self._network._disturbed(draw, link, at_us, message)
            ):
                continue
            if at_us < link.last_us:
                at_us = link.last_us
            else:
                link.last_us = at_us
            if link.clog is not None:
                counters.clogged += 1
                link.clog.append((at_us, message))
                continue
            # Clock.at, inline: it would be a fifth of what a message costs.
            clock._number = number = clock._number + 1
            heappush(self._heap, (at_us, number, self._deliver, message))


class Network:
    """All links of a cluster.

    Args:
        clock: the run's.
        random: where every draw comes from; nothing else may draw from it.
        profile: the latencies between datacenters.
        faults: what happens to single messages.
    """

    def __init__(
        self, clock: Clock, random: Random, profile: Profile, faults: NetworkFaults | None = None
    ) -> None:
        self.clock = clock
        self.counters = Counters()
        #: Which nodes are in which datacenter.
        self.dcs: dict[NodeId, str] = {}
        self._random = random
        self._profile = profile
        self._links: dict[NodeId, dict[NodeId, Link]] = {}
        self._receivers: dict[NodeId, Receive] = {}
        self._tables: dict[Latency, list[int]] = {}
        self._slow_us: dict[NodeId, int] = {}
        self.faults = NetworkFaults()
        self.set_faults(faults if faults is not None else NetworkFaults())

    # --- nodes -------------------------------------------------------------------------------

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        return tuple(self._links)

    def add(self, node: NodeId, dc: str) -> Port:
        """A new node in a datacenter of the profile.  It is down until `attach`.

        Raises:
            SettingError: it is there already, or the profile has no such datacenter.
        """
        if node in self._links:
            raise SettingError(f"node {node!r} is in the network already")
        self._links[node] = {}
        for other, other_dc in self.dcs.items():
            self._links[node][other] = Link(node, other, self._table(dc, other_dc))
            self._links[other][node] = Link(other, node, self._table(other_dc, dc))
        self.dcs[node] = dc
        return Port(self, node)

    def attach(self, node: NodeId, receive: Receive) -> None:
        """The node is up: what arrives is given to `receive`."""
        self._receivers[node] = receive

    def detach(self, node: NodeId) -> None:
        """The node is down: what arrives is lost, until `attach`.  What it sent travels on."""
        self._receivers.pop(node, None)

    def link(self, source: NodeId, target: NodeId) -> Link:
        return self._links[source][target]

    def links(self) -> Iterable[Link]:
        """Every link, in the order in which the nodes were added."""
        for row in self._links.values():
            yield from row.values()

    def _table(self, source_dc: str, target_dc: str) -> list[int]:
        latency = self._profile.one_way(source_dc, target_dc)
        if latency not in self._tables:
            self._tables[latency] = latency.table()
        return self._tables[latency]

    # --- faults ------------------------------------------------------------------------------

    def set_faults(self, faults: NetworkFaults) -> None:
        """What happens to single messages from now on."""
        self.faults = faults
        self._loss = faults.loss_rate
        self._duplicate = self._loss + faults.duplicate_rate
        #: How many of all messages are disturbed.
        self._faulty = self._duplicate + faults.reorder_rate
        if self._faulty > 1:
            raise SettingError("loss, duplicates and reordering: more than every message")

    def cut(self, sources: Iterable[NodeId], targets: Iterable[NodeId]) -> None:
        """Lose everything that is sent from `sources` to `targets` (this direction only)."""
        self._set_cut(sources, targets, True)

    def mend(self, sources: Iterable[NodeId], targets: Iterable[NodeId]) -> None:
        """Undo `cut` for these links."""
        self._set_cut(sources, targets, False)

    def _set_cut(self, sources: Iterable[NodeId], targets: Iterable[NodeId], is_cut: bool) -> None:
        targets = list(targets)
        for source in sources:
            row = self._links[source]
            for target in targets:
                if target in row:
                    row[target].cut = is_cut

    def partition(self, *sides: Iterable[NodeId]) -> None:
        """Cut all links between different `sides`, both directions.  Other links stay as they are;
        nodes on no side too."""
        groups = [list(side) for side in sides]
        for one in groups:
            for other in groups:
                if one is not other:
                    self.cut(one, other)

    def isolate(self, node: NodeId, *, inward: bool = True, outward: bool = True) -> None:
        """Cut a node off: what comes in, what goes out, or both."""
        if inward:
            self.cut(self._links, [node])
        if outward:
            self.cut([node], self._links)

    def clog(self, source: NodeId, target: NodeId) -> None:
        """From now on what is sent over this link waits in it."""
        link = self._links[source][target]
        if link.clog is None:
            link.clog = []

    def unclog(self, source: NodeId, target: NodeId) -> None:
        """What waits comes out at once, in its order: now, or when it would have come anyway."""
        link = self._links[source][target]
        waiting, link.clog = link.clog, None
        now_us = self.clock.now_us
        for at_us, message in waiting or ():
            self.clock.at(max(at_us, now_us), self._deliver, message)
        link.last_us = max(link.last_us, now_us)

    def slow(self, node: NodeId, extra_us: int) -> None:
        """Every message from and to this node takes so much longer; 0: it is fast again."""
        self._slow_us[node] = extra_us
        for link in self.links():
            if node in (link.source, link.target):
                link.extra_us = self._slow_us.get(link.source, 0) + self._slow_us.get(
                    link.target, 0
                )

    def heal(self) -> None:
        """No faults from now on: nothing is cut, clogged, slow, lost, repeated or overtaken."""
        self.set_faults(NetworkFaults())
        for link in self.links():
            link.cut = False
            if link.clog is not None:
                self.unclog(link.source, link.target)
        for node in list(self._slow_us):
            self.slow(node, 0)

    # --- messages ----------------------------------------------------------------------------

    def send(self, message: Any) -> None:
        """One message from its `sender` to its `to`."""
        Port(self, message.sender).send((message,))

    def _deliver(self, message: Any) -> None:
        receive = self._receivers.get(message.to)
        if receive is None:
            self.counters.down += 1
            return
        self.counters.delivered += 1
        receive(message)

    def _disturbed(self, draw: float, link: Link, at_us: int, message: Any) -> bool:
        """Whether the message is dealt with: it was lost, or it goes out of order."""
        if draw < self._loss:
            self.counters.lost += 1
            return True
        late_us = at_us + int(self._random.random() * self.faults.reorder_us)
        is_overtaken = draw >= self._duplicate
        if is_overtaken:
            self.counters.reordered += 1
        else:
            self.counters.duplicated += 1
        if link.clog is not None:
            self.counters.clogged += 1
            link.clog.append((late_us, message))
        else:
            self.clock.at(late_us, self._deliver, message)
        return is_overtaken  # of a duplicate, the first one goes its usual way
