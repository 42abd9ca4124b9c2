"""What may happen to a cluster: kills, stops, cuts, losses; one after the other, each healed.

Every trouble is undone before the next one begins, and the cluster has to take writes again: so a
run proves that it survives, and not only that it does no wrong.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from cluster.history import Load
from cluster.processes import Cluster
from cluster.wan import Wan

#: How long a trouble lasts.
TROUBLE_SECONDS_MIN, TROUBLE_SECONDS_MAX = 0.3, 3.0
#: Writes that have to be acknowledged after each.
PROGRESS = 20


class Nemesis:
    """Troubles for a cluster under load.

    Attributes:
        story: what was done, in order, for the report of a failure.
    """

    def __init__(self, cluster: Cluster, load: Load, seed: int, network: Wan | None = None) -> None:
        self.cluster = cluster
        self.load = load
        self.network = network
        self.rng = random.Random(seed)
        self.story: list[str] = []
        self._began = time.monotonic()
        self._troubles: list[Callable[[], None]] = [
            *(self.kill_one, self.kill_leader, self.kill_all, self.stop_leader, self.stop_two),
            self.restart_gently,
        ]
        if network is not None:
            self._troubles += [
                *(self.cut_leader, self.cut_all, self.cut_one_way, self.lose_packets),
                self.cut_and_kill,
            ]

    def run(self, seconds: float) -> None:
        """Troubles for so long, and for each at least once where time allows.

        Raises:
            AssertionError: the cluster did not recover.
        """
        until = time.monotonic() + seconds
        order: list[Callable[[], None]] = []
        try:
            while time.monotonic() < until:
                if not order:
                    order = self.rng.sample(self._troubles, len(self._troubles))
                order.pop()()
                self.heal()
        except BaseException as error:
            error.add_note("\n".join(["the story:", *self.story]))
            raise

    def heal(self) -> None:
        """Undo everything; wait until writes are acknowledged."""
        if self.network is not None:
            self.network.heal()
        for node in self.cluster.nodes.values():
            if not node.is_running:
                self.cluster.launch(node.name)
            elif node.is_paused:
                self.cluster.resume(node.name)
        self.cluster.wait_ready()
        self.load.wait_for_progress(PROGRESS)
        self._tell("healed")

    # --- troubles --------------------------------------------------------------------------------

    def kill_one(self) -> None:
        self._kill(self.rng.choice(list(self.cluster.nodes)))
        self._last()

    def kill_leader(self) -> None:
        self._kill(self._leader())
        self._last()

    def kill_all(self) -> None:
        """One after the other, at once or nearly so."""
        names = self.rng.sample(list(self.cluster.nodes), len(self.cluster.nodes))
        for name in names:
            self._kill(name)
            time.sleep(self.rng.choice((0.0, 0.0, 0.1)))

    def stop_leader(self) -> None:
        self._pause(self._leader())
        self._last()

    def stop_two(self) -> None:
        """A majority stands still: nothing may be acknowledged, and nothing may be lost."""
        for name in self.rng.sample(list(self.cluster.nodes), 2):
            self._pause(name)
        self._last()

    def restart_gently(self) -> None:
        name = self.rng.choice(list(self.cluster.nodes))
        status = self.cluster.stop(name)[name]
        self._tell(f"{name} was asked to stop: status {status}")
        assert status == 0, f"{name} ended with status {status}"

    def cut_leader(self) -> None:
        assert self.network is not None
        name = self.cluster.nodes[self._leader()].dc
        self.network.cut(name)
        self._tell(f"cut {name} off")
        self._last()

    def cut_all(self) -> None:
        assert self.network is not None
        for dc in self.network.dcs:
            self.network.cut(dc)
        self._tell("cut all from each other")
        self._last()

    def cut_one_way(self) -> None:
        """A node that hears nobody, or that nobody hears, or one deaf ear."""
        assert self.network is not None
        name = self.rng.choice((self.rng.choice(self.network.dcs), self._leader_dc()))
        others = [dc for dc in self.network.dcs if dc != name]
        if self.rng.random() < 0.3:
            others = others[:1]
        outwards = self.rng.random() < 0.5
        for other in others:
            self.network.cut_one_way(*((name, other) if outwards else (other, name)))
        self._tell(f"{'from' if outwards else 'to'} {name}: nothing, {' '.join(others)}")
        self._last()

    def lose_packets(self) -> None:
        assert self.network is not None
        share = self.rng.choice((0.02, 0.1, 0.3))
        for at, a in enumerate(self.network.dcs):
            for b in self.network.dcs[at + 1 :]:
                self.network.lose(a, b, share)
        self._tell(f"{share:.0%} of all packets are lost")
        self._last()

    def cut_and_kill(self) -> None:
        """The leader is cut off, another leads, and is killed; then the first one is back."""
        assert self.network is not None
        first = self._leader()
        self.network.cut(self.cluster.nodes[first].dc)
        self._tell(f"cut {first} off")
        self._last()
        other = self.rng.choice([name for name in self.cluster.nodes if name != first])
        self._kill(other)
        self.network.heal()
        self._tell(f"{first} is back")
        self._last()

    # --- doing it --------------------------------------------------------------------------------

    def _leader(self) -> str:
        leaders = sorted(self.cluster.leaders().values())
        return self.rng.choice(leaders)

    def _leader_dc(self) -> str:
        return self.cluster.nodes[self._leader()].dc

    def _kill(self, name: str) -> None:
        self.cluster.kill(name)
        self._tell(f"killed {name}")

    def _pause(self, name: str) -> None:
        self.cluster.pause(name)
        self._tell(f"stopped {name}")

    def _last(self) -> None:
        time.sleep(self.rng.uniform(TROUBLE_SECONDS_MIN, TROUBLE_SECONDS_MAX))

    def _tell(self, what: str) -> None:
        self.story.append(f"{time.monotonic() - self._began:7.2f} s  {what}  ({self.load.tally})")
