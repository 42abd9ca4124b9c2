"""Your own state machine under the simulator.

    def transfers(random):              # what a client asks for next
        return json.dumps([random.choice(NAMES), random.choice(NAMES), 5]).encode()

    def money_is_kept(bank):            # what must hold of every state
        assert sum(bank.accounts.values()) == 300

    findings = simulate(Bank, transfers, invariant=money_is_kept, seeds=range(1, 101))
    print(findings)                     # what was found, or that nothing was
    assert findings.ok

The machine is any `consensus.driver.StateMachine`.  It runs on every node of a simulated group,
through crashes, snapshots, partitions and changes of membership.  Besides the invariants of the
group these are checked:

    5   it is deterministic: a command gives the same result on every node, whether the node has
        seen all commands, was restored from a snapshot, or started anew; and in the end all states
        are equal
    14  `apply`, `snapshot` and `restore` never raise; `apply` gives one result for each command
    16  `invariant(machine)` holds on every node after each batch of commands, after each snapshot
        that is restored, and whenever a linearizable read may be served

What it cannot see: a machine that gives the same wrong answer on all nodes, unless `invariant` says
so.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Generic, TypeVar

from ringleader.consensus.driver import StateMachine
from ringleader.consensus.log import Entries, Log
from ringleader.consensus.membership import NodeId
from ringleader.consensus.ready import BytesSource, SnapshotSource
from ringleader.errors import InvariantViolation
from ringleader.sim.cluster import Cluster, SimNode
from ringleader.sim.linearizability import Operation
from ringleader.sim.runner import Report, Settings, Total, run_many, shrink
from ringleader.sim.workload import USER_COMMAND, Client, Machine, Workload

__all__ = ["Findings", "simulate"]

M = TypeVar("M", bound=StateMachine)

#: What stands before a user's snapshot: index, chain, bytes of filling.
_SNAPSHOT = struct.Struct("<QII")
#: Of a client's operations, how many are reads.
READ_SHARE = 0.2
#: Events of its story that a finding shows.
SHOWN_EVENTS = 8


@dataclass(frozen=True)
class _User(Generic[M]):
    """The scenario made of what the user gave."""

    make: Callable[[], M]
    commands: Callable[[Random], bytes]
    invariant: Callable[[M], object] | None
    of_state: Callable[[M], object] | None

    def machine(self, cluster: Cluster, node: NodeId) -> Machine:
        return _Watched(self, cluster, node)

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
        return _Clients(
            self, cluster, seed, clients=clients, think_us=think_us, timeout_us=timeout_us
        )

    def problem(self, history: Sequence[Operation]) -> str:
        return (
            ""  # the order of commands is that of the log; reads are checked when they are served
        )

    def look(self, cluster: Cluster, node: NodeId, machine: M, when: str) -> None:
        if self.invariant is None:
            return
        try:
            holds = self.invariant(machine)
        except InvariantViolation:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            cluster.checker.violate(16, node, f"{when}: {text}")
        if holds is False:
            name = getattr(self.invariant, "__name__", "the invariant")
            cluster.checker.violate(16, node, f"{when}: {name} is False")


class _Watched(Generic[M]):
    """One node's machine.  See `sim.workload.Machine`."""

    __slots__ = ("chain", "cluster", "index", "inner", "node", "user")

    def __init__(self, user: _User[M], cluster: Cluster, node: NodeId) -> None:
        self.user = user
        self.cluster = cluster
        self.node = node
        self.inner = user.make()
        self.index = 0
        self.chain = 0

    def run_all(self, entries: Entries, items: Sequence[tuple[int, bytes]]) -> Sequence[Any]:
        # The same entries without the names of the commands.
        log = Log(entries.first - 1, entries.term(entries.first) if entries.first > 1 else 0)
        commands = dict(items)
        for index in range(entries.first, entries.last + 1):
            control = entries.is_control(index)
            payload = bytes(entries[index]) if control else commands[index][USER_COMMAND.size :]
            log.append(entries.term(index), [payload], control=control)
        results = self.inner.apply(log.entries(entries.first, entries.last + 1))
        checker = self.cluster.checker
        if len(results) != len(items):
            checker.violate(
                14, self.node, f"apply gave {len(results)} results for {len(items)} commands"
            )
        for (index, command), result in zip(items, results, strict=True):
            known = self.cluster.results.get(command)
            if known is not None and known[0] != result:
                checker.violate(
                    5,
                    self.node,
                    f"entry {index}, {command[USER_COMMAND.size :]!r}, gives {result!r} here, "
                    f"and gave {known[0]!r} on the first node",
                )
        self.user.look(self.cluster, self.node, self.inner, f"after entry {entries.last}")
        return results

    def state(self) -> object:
        of_state = self.user.of_state
        return self.inner.snapshot() if of_state is None else of_state(self.inner)

    def snapshot(self) -> bytes:
        ballast = self.cluster.ballast
        head = _SNAPSHOT.pack(self.index, self.chain, ballast)
        return head + bytes(ballast) + self.inner.snapshot()

    def restore(self, source: SnapshotSource) -> None:
        whole = source.read(0, source.total_bytes)
        self.index, self.chain, ballast = _SNAPSHOT.unpack_from(whole)
        self.inner.restore(BytesSource(whole[_SNAPSHOT.size + ballast :]))
        self.user.look(
            self.cluster, self.node, self.inner, f"restored from the snapshot at {self.index}"
        )


class _Clients(Workload):
    """Clients that ask for what the user's generator gives, and read now and then."""

    def __init__(
        self,
        user: _User[Any],
        cluster: Cluster,
        seed: int,
        *,
        clients: int,
        think_us: int,
        timeout_us: int,
    ) -> None:
        self.user = user
        super().__init__(
            cluster,
            seed,
            clients=clients,
            keys=1,
            think_us=think_us,
            timeout_us=timeout_us,
            read_share=READ_SHARE,
        )

    def draw(self, client: Client) -> tuple[int, tuple[Any, ...], bytes | None]:
        if client.rng.random() < self.read_share:
            return 0, ("get",), None
        command = bytes(self.user.commands(client.rng))
        return 0, ("command",), USER_COMMAND.pack(0, client.number, client.serial) + command

    def burst(self, node: SimNode, random: Random) -> None:
        """Only the user's own clients know commands of the user's machine."""

    def read(self, node: SimNode, key: int) -> Any:
        machine: Any = node.machine.inner
        self.user.look(self.cluster, node.id, machine.inner, "at a linearizable read")


@dataclass(frozen=True)
class Findings:
    """What came of it.

    Attributes:
        ok: nothing was found.
        failed: the first run that failed, or None.
        smallest: the same failure with as little as possible around it.
        total: all runs, added up.
    """

    total: Total
    failed: Report | None
    smallest: Report | None

    @property
    def ok(self) -> bool:
        return self.failed is None

    def __str__(self) -> str:
        total = self.total
        runs = "1 run" if total.runs == 1 else f"{total.runs:,} runs"
        lines = [
            f"{runs}, {total.virtual_us / 1e6:,.0f} s of virtual time, "
            f"{total.coverage['writes answered']:,} commands answered, "
            f"{total.coverage['crashes']:,} crashes, "
            f"{total.coverage['snapshots installed']:,} snapshots installed"
        ]
        if self.failed is None or self.smallest is None:
            return "\n".join([*lines, "nothing was found"])
        failure = self.smallest.failure
        assert failure is not None
        decisions = self.smallest.settings.decisions()
        lines.append(f"seed {self.failed.settings.seed}: {failure.text}")
        if self.smallest is not self.failed:
            before = len(self.failed.settings.decisions())
            lines.append(f"of {before} faults, {len(decisions)} are needed:")
        lines += [f"  {decision}" for decision in decisions]
        lines += ["the last events:", *failure.story[-SHOWN_EVENTS:]]
        return "\n".join(lines)


def simulate(
    machine: Callable[[], M],
    commands: Callable[[Random], bytes],
    *,
    invariant: Callable[[M], object] | None = None,
    state: Callable[[M], object] | None = None,
    seeds: Iterable[int] = range(1, 21),
    consensus: str = "raft",
    profile: str = "lan-3",
    faults: str = "all",
    duration_s: float = 20.0,
    clients: int = 6,
    jobs: int = 1,
    shrinks: bool = True,
) -> Findings:
    """Run a state machine through faults, seed after seed, until one fails.

    Args:
        machine: makes an empty one.
        commands: draws a client's next command, from this generator of random numbers alone.
        invariant: raises, or returns False, when a state is wrong.
        state: what must be equal on all nodes in the end; by default `machine.snapshot()`, which
            then has to be the same for equal states (sort what has no order).
        seeds: one run for each.  The same seed gives the same run.
        consensus: "raft" or "paxos".
        profile, faults: see `ringleader.sim.profiles`.
        duration_s: how long faults go on in each run, in virtual time.
        clients: in each run.
        jobs: processes; with more than one, the functions given must be importable (no lambdas).
        shrinks: whether to look for a smaller failure.

    Raises:
        SettingError: a name is unknown, or a number impossible.
    """
    user = _User(machine, commands, invariant, state)
    settings = Settings(
        0,
        profile=profile,
        faults=faults,
        duration_us=round(duration_s * 1_000_000),
        clients=clients,
        consensus=consensus,
    )
    total = Total()
    for report in run_many(settings, seeds, jobs, scenario=user):
        total.add(report)
        if report.failure is not None:
            smallest = report
            if shrinks and report.failure.number:
                smallest = shrink(report, scenario=user)
                # What comes after the failure explains nothing.
                until_us = min(smallest.virtual_us, smallest.settings.end_us)
                smallest = replace(smallest, settings=replace(smallest.settings, until_us=until_us))
            return Findings(total, report, smallest)
    return Findings(total, None, None)
