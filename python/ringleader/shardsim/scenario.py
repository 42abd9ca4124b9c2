"""A `sim.workload.Scenario` whose machine is a `Store`, with a `Shard` above every driver.

What is checked, beside the invariants of the group (by the numbers of `sim.checker`):

     5  every store equals the mirror after every entry, and gives its replies
     9  a linearizable read is answered from a state that holds all that was committed when it began
    12  when all is healed every command is answered, and due keys expire
    13  each key's history is linearizable, where an expiry is an event of its own
    14  nothing raises; `inflight`, `settled` and `answering` are what they say
    15  an answer comes once; what was refused never happens
    16  the rest of the promises of `node.shard`: commands given in an order take effect in it (rule
        4), also across keys; a stale read is as fresh as its bound (rule 6); a transaction takes
        effect if and only if nothing that it watched was modified
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ringleader.shardsim.clients import ShardWorkload
from ringleader.shardsim.mirror import KeyModel
from ringleader.shardsim.watched import ShardMachine
from ringleader.sim.linearizability import Operation, check
from ringleader.sim.workload import Undecided, Workload

if TYPE_CHECKING:
    from ringleader.consensus.membership import NodeId
    from ringleader.sim.cluster import Cluster


class Shards:
    """The scenario of `ringleader simulate --machine store`."""

    def machine(self, cluster: Cluster, node: NodeId) -> ShardMachine:
        return ShardMachine(cluster, node)

    def workload(
        self,
        cluster: Cluster,
        seed: int,
        *,
        clients: int,
        keys: int,
        think_us: int,
        timeout_us: int,
    ) -> Workload:
        return ShardWorkload(
            cluster, seed, clients=clients, keys=keys, think_us=think_us, timeout_us=timeout_us
        )

    def problem(self, history: Sequence[Operation]) -> str:
        verdict = check(history, KeyModel())
        if verdict.outcome == "unknown":
            raise Undecided(str(verdict))
        return "" if verdict.ok else str(verdict)
