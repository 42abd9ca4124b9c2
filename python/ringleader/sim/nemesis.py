"""What goes wrong when: the faults of a run as an explicit list, and how each is done.

The list is drawn before the run begins, from the seed and the set of faults alone.  A decision says
what happens and when; whatever else it needs (which node, which side of a partition) it draws when
its time comes, from a generator of its own.  So any part of the list can be run without the rest,
which is how a failure is shrunk: leaving out decision 17 does not change what decision 40 draws.

Faults that strike single messages and syncs (loss, reordering, torn writes) are rates, not
decisions; they belong to the set of faults.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from ringleader.consensus.membership import ConfChange, Membership, NodeId
from ringleader.errors import MembershipError, NotLeader, ProposalRefused
from ringleader.sim.profiles import Faults

if TYPE_CHECKING:
    from ringleader.sim.cluster import Cluster, SimNode

#: Nodes that a group may have at a time, and that it may ever have.
MEMBERS_MAX = 7
NODES_EVER_MAX = 40


class Decision(NamedTuple):
    """At `at_us`, `kind` begins; it ends `lasts_us` later, where it has an end."""

    number: int
    at_us: int
    kind: str
    lasts_us: int

    def __str__(self) -> str:
        lasts = f" for {self.lasts_us / 1e6:.3f} s" if self.lasts_us else ""
        return f"#{self.number} {self.kind} at {self.at_us / 1e6:.3f} s{lasts}"


def schedule(seed: int, faults: Faults, until_us: int) -> list[Decision]:
    """Every decision of a run, numbered in the order of their times."""
    network, crash, disk, clock = faults.network, faults.crash, faults.disk, faults.clock
    membership = faults.membership
    none = (0, 0)
    kinds: tuple[tuple[str, int, tuple[int, int]], ...] = (
        ("partition", network.partition_every_us, network.partition_us),
        ("clog", network.clog_every_us, network.clog_us),
        ("slow", network.slow_every_us, network.slow_us),
        ("storm", 2 * network.partition_every_us, network.partition_us),
        ("burst", 3_000_000 if [*faults.parts] else 0, none),
        ("crash", crash.every_us, crash.down_us),
        ("stall", 6 * disk.stall_us[1] if disk.stall_rate else 0, disk.stall_us),
        ("full", disk.full_every_us, disk.full_us),
        ("flip", crash.every_us * 10 if disk.flip_synced_rate else 0, crash.down_us),
        ("drift", clock.redraw_every_us, none),
        ("jump", clock.jump_every_us, none),
        ("late", 3 * clock.late_us[1] if clock.late_rate else 0, clock.late_us),
        ("change", membership.change_every_us, none),
        ("transfer", membership.transfer_every_us, none),
        ("snapshot", membership.snapshot_every_us, none),
    )
    drawn: list[tuple[int, int, str, int]] = []
    for order, (kind, every_us, lasts_us) in enumerate(kinds):
        if not every_us:
            continue
        random = Random(f"{seed}:schedule:{kind}")
        at_us = random.randrange(2 * every_us)
        while at_us < until_us:
            drawn.append((at_us, order, kind, random.randint(*lasts_us)))
            at_us += 1 + random.randrange(2 * every_us)
    drawn.sort()
    return [
        Decision(number, at_us, kind, lasts_us)
        for number, (at_us, _, kind, lasts_us) in enumerate(drawn, 1)
    ]


class Nemesis:
    """Carries out the decisions of a schedule."""

    def __init__(self, cluster: Cluster, decisions: Collection[Decision]) -> None:
        self.cluster = cluster
        self.decisions = decisions
        #: Of each partition in force, by its decision: what is cut, (sources, targets).
        self._cuts: dict[int, list[tuple[list[NodeId], list[NodeId]]]] = {}
        self._clogs: dict[tuple[NodeId, NodeId], int] = {}
        self._healed = False
        for decision in decisions:
            cluster.clock.at(max(decision.at_us, cluster.clock.now_us), self._begin, decision)

    def heal(self) -> None:
        """No more faults; what is broken is mended."""
        self._healed = True
        cluster = self.cluster
        cluster.network.heal()
        self._cuts.clear()
        self._clogs.clear()
        for node in cluster.nodes.values():
            node.disk.faults = cluster.quiet_disk
            node.disk.full = False
            node.disk.slow_us = 0
            node.fuse = -1

    def _begin(self, decision: Decision) -> None:
        if self._healed:
            return
        cluster = self.cluster
        random = Random(f"{cluster.seed}:decision:{decision.number}")
        cluster.note("fault", 0, decision)
        begin: Callable[[Decision, Random], None] = getattr(self, "_" + decision.kind)
        begin(decision, random)

    def _end(self, call: Callable[..., None], decision: Decision, *arguments: object) -> None:
        self.cluster.clock.after(
            decision.lasts_us, lambda _: None if self._healed else call(*arguments)
        )

    def _some(self, random: Random, *, up: bool = True) -> SimNode | None:
        """A node, the leader more often than others."""
        nodes = [node for node in self.cluster.nodes.values() if node.up == up and not node.lost]
        if not nodes:
            return None
        leader = self.cluster.leader()
        if up and leader is not None and random.random() < 0.4:
            return leader
        return random.choice(nodes)

    # --- the network -------------------------------------------------------------------------

    def _partition(self, decision: Decision, random: Random) -> None:
        cluster = self.cluster
        faults = cluster.faults.network
        nodes = list(cluster.nodes)
        if len(nodes) < 2:
            return
        one_way = random.random() < faults.asymmetric_rate
        shape = random.choice((0, 0, 0, 1, 1, 2, 3, 4))
        cuts: list[tuple[list[NodeId], list[NodeId]]] = []
        if shape == 0:  # one node alone, the leader for choice
            node = cluster.leader() if random.random() < 0.6 else self._some(random)
            alone = [node.id] if node is not None else nodes[:1]
            others = [other for other in nodes if other not in alone]
            cuts = [(alone, others), (others, alone)]
        elif shape == 1:  # two sides
            random.shuffle(nodes)
            at = random.randrange(1, len(nodes))
            cuts = [(nodes[:at], nodes[at:]), (nodes[at:], nodes[:at])]
        elif shape == 2:  # a ring: each node reaches its neighbours only, so majorities overlap
            random.shuffle(nodes)
            count = len(nodes)
            for place, one in enumerate(nodes):
                far = [nodes[(place + step) % count] for step in range(2, count - 1)]
                if far:
                    cuts.append(([one], far))
        elif shape == 3:  # a bridge: one node reaches both sides, which do not reach each other
            random.shuffle(nodes)
            half = (len(nodes) - 1) // 2
            left, right = nodes[1 : 1 + half], nodes[1 + half :]
            cuts = [(left, right), (right, left)]
        else:  # a datacenter
            dcs = sorted({cluster.network.dcs[node] for node in nodes})
            dc = random.choice(dcs)
            inside = [node for node in nodes if cluster.network.dcs[node] == dc]
            outside = [node for node in nodes if node not in inside]
            cuts = [(inside, outside), (outside, inside)]
        if one_way:
            random.shuffle(cuts)
            cuts = cuts[: (len(cuts) + 1) // 2]
            cluster.checker.coverage["partitions of one direction"] += 1
        cluster.checker.coverage["partitions"] += 1
        self._cuts[decision.number] = cuts
        for sources, targets in cuts:
            cluster.network.cut(sources, targets)
        self._end(self._mend, decision, decision.number)

    def _mend(self, number: int) -> None:
        for sources, targets in self._cuts.pop(number):
            self.cluster.network.mend(sources, targets)
        for cuts in self._cuts.values():  # what others cut stays cut
            for sources, targets in cuts:
                self.cluster.network.cut(sources, targets)

    def _clog(self, decision: Decision, random: Random) -> None:
        nodes = list(self.cluster.nodes)
        if len(nodes) < 2:
            return
        source, target = random.sample(nodes, 2)
        link = (source, target)
        self._clogs[link] = self._clogs.get(link, 0) + 1
        self.cluster.network.clog(source, target)
        self.cluster.checker.coverage["clogs"] += 1
        self._end(self._unclog, decision, link)

    def _unclog(self, link: tuple[NodeId, NodeId]) -> None:
        self._clogs[link] -= 1
        if not self._clogs[link]:
            self.cluster.network.unclog(*link)

    def _storm(self, decision: Decision, random: Random) -> None:
        """For a while most messages are lost, repeated or late."""
        network = self.cluster.network
        faults = self.cluster.faults.network
        network.set_faults(replace(faults, loss_rate=0.3, duplicate_rate=0.2, reorder_rate=0.3))
        self.cluster.checker.coverage["storms"] += 1
        self._end(network.set_faults, decision, faults)

    def _burst(self, decision: Decision, random: Random) -> None:
        """Many commands at once: should their leader be cut off, it has a long tail of its own."""
        node = self._some(random)
        if node is not None:
            self.cluster.workload.burst(node, random)

    def _slow(self, decision: Decision, random: Random) -> None:
        node = self._some(random)
        if node is not None:
            self.cluster.network.slow(node.id, self.cluster.faults.network.slow_delay_us)
            self._end(self.cluster.network.slow, decision, node.id, 0)

    # --- nodes -------------------------------------------------------------------------------

    def _crash(self, decision: Decision, random: Random) -> None:
        cluster = self.cluster
        faults = cluster.faults.crash
        power = random.random() < faults.power_rate
        if random.random() < faults.all_rate:
            cluster.checker.coverage["crashes of all nodes"] += 1
            victims = [node for node in cluster.nodes.values() if node.up]
        else:
            node = self._some(random)
            victims = [node] if node is not None else []
        for node in victims:
            node.power = power
            if random.random() < 0.5:
                # Somewhere inside of what it does next: between two of persist, send and apply.
                node.fuse = random.randrange(1, 12)
                node.fuse_down_us = decision.lasts_us
            else:
                cluster.crash(node, decision.lasts_us)

    def _stall(self, decision: Decision, random: Random) -> None:
        """A disk on which every sync takes long, so that much is under way at any time."""
        node = self._some(random)
        if node is not None:
            node.disk.slow_us = random.randrange(1, 2 * self.cluster.election_us)
            self.cluster.checker.coverage["disks slow"] += 1
            self._end(setattr, decision, node.disk, "slow_us", 0)

    def _full(self, decision: Decision, random: Random) -> None:
        node = self._some(random)
        if node is not None:
            node.disk.full = True
            self.cluster.checker.coverage["disks full"] += 1
            self._end(setattr, decision, node.disk, "full", False)

    def _flip(self, decision: Decision, random: Random) -> None:
        """A bit of what was durable turns: the node is lost, if it reads it.  Never so many that a
        configuration has no quorum left."""
        cluster = self.cluster
        node = self._some(random)
        if node is None or not cluster.may_lose(node.id):
            return
        node.power = True
        cluster.crash(node, decision.lasts_us)
        if node.disk.flip_synced():
            cluster.checker.coverage["durable bits flipped"] += 1

    # --- clocks ------------------------------------------------------------------------------

    def _drift(self, decision: Decision, random: Random) -> None:
        most = self.cluster.faults.clock.drift_ppm_max
        for node in self.cluster.nodes.values():
            # The extremes are the worst, and what a bound is about.
            node.clock.set_rate(random.choice((-most, most, random.randint(-most, most))))

    def _jump(self, decision: Decision, random: Random) -> None:
        node = self._some(random)
        if node is not None:
            node.clock.jump(random.randint(*self.cluster.faults.clock.jump_us))

    def _late(self, decision: Decision, random: Random) -> None:
        node = self._some(random)
        if node is not None and node.ticker is not None:
            node.ticker.late_us = decision.lasts_us

    # --- what operators do -------------------------------------------------------------------

    def _snapshot(self, decision: Decision, random: Random) -> None:
        node = self._some(random)
        if node is not None:
            node.take_snapshot()

    def _transfer(self, decision: Decision, random: Random) -> None:
        leader = self.cluster.leader()
        if leader is None:
            return
        voters = [
            voter
            for voter in leader.core.membership.voters
            if voter != leader.id and not leader.core.membership.is_witness(voter)
        ]
        if voters:
            leader.transfer(random.choice(voters))

    def _change(self, decision: Decision, random: Random) -> None:
        """Changes of membership: one, several in a hurry, or one as soon as there is another
        leader.
        """
        clock = self.cluster.clock
        tick_us = self.cluster.profile.tick_us

        def again(_: None) -> None:
            if not self._healed:
                self._change_once(random)

        how = random.randrange(4)
        if how == 0:
            self.cluster.on_leader.append(again)
            return
        again(None)
        if how == 1:
            for _ in range(4):
                clock.after(random.randrange(3 * tick_us), again)

    def _change_once(self, random: Random) -> None:
        leader = self.cluster.leader()
        if leader is None:
            return
        now = leader.core.membership
        for _ in range(4):
            change = self._draw_change(now, random)
            try:
                after = now.changed(change)
            except MembershipError:
                continue
            if after.joint and not self.cluster.family.joint:
                after = after.left()
            if not self.cluster.may_become(after):
                continue
            for node in after.members:
                if node not in self.cluster.nodes:
                    self.cluster.join(node)
            try:
                leader.change_config(change)
                self.cluster.checker.coverage["membership changes asked for"] += 1
            except (ProposalRefused, NotLeader, MembershipError):
                self.cluster.checker.coverage["membership changes refused"] += 1
            return

    def _draw_change(self, now: Membership, random: Random) -> ConfChange:
        if now.joint:
            return ConfChange.leave_joint()
        cluster = self.cluster
        transition = random.choice(cluster.family.transitions)
        voters = [node for node in now.voters if node not in now.witnesses]
        # A node that is lost goes first.
        lost = [node for node in now.members if cluster.nodes[node].lost]
        fresh = cluster.fresh_ids(2)
        kind = random.randrange(6)
        leaving = lost[:1] or [random.choice(now.members)]
        if len(now.members) >= MEMBERS_MAX or len(cluster.nodes) >= NODES_EVER_MAX:
            return ConfChange(remove=leaving, transition=transition)
        if kind == 0:
            return ConfChange(voters=fresh[:1], transition=transition)
        if kind == 1:
            return ConfChange(learners=fresh[:1], transition=transition)
        if kind == 2:
            if now.learners and random.random() < 0.6:
                return ConfChange(voters=[random.choice(now.learners)], transition=transition)
            return ConfChange(learners=[random.choice(voters)], transition=transition)
        if kind == 3 or lost:
            return ConfChange(remove=leaving, transition=transition)
        if kind == 4:
            return ConfChange(voters=fresh[:1], remove=leaving, transition=transition)
        gone: Sequence[NodeId] = random.sample(now.members, min(2, len(now.members)))
        return ConfChange(voters=fresh, remove=gone, transition=transition)
