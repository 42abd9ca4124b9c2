"""The questions, and what an answer is made of.

Everything but `throughput` happens in virtual time and is a function of the seed: the same on every
machine.  Times are in the unit that their names end with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import median
from typing import Any

from ringleader import kernels
from ringleader.consensus.driver import Outcome
from ringleader.consensus.membership import NodeId
from ringleader.consensus.quorum import QuorumSystem
from ringleader.errors import FormatError, QuorumError
from ringleader.sim.comparison.algorithms import (
    GEOMETRIES,
    MAJORITY,
    Algorithm,
    Arrangement,
    Geometry,
    algorithms,
    floor_us,
    losses_survived,
    nodes_of,
)
from ringleader.sim.comparison.group import PATIENCE_US, Clients, Group, Node, command
from ringleader.sim.comparison.lines import PARTS, module_lines
from ringleader.sim.comparison.loop import race, spread
from ringleader.sim.profiles import MS, PROFILES, SECOND, NetworkFaults

#: Percentiles that are kept of a distribution: enough to draw it.
PERCENTILES = (*range(101),)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of ascending values; between two of them, linear."""
    at = (len(ordered) - 1) * percent / 100
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def percentiles(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    return [round(percentile(ordered, percent), 3) for percent in PERCENTILES]


# --- what a commit costs ------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    name: str
    clients: int
    batch: int
    #: Followers hear of a commit at once, or with the next entries.
    eager: bool = True


WORKLOADS = (
    Workload("one client", 1, 1),
    Workload("one client, commits told with the next entries", 1, 1, eager=False),
    Workload("64 clients", 64, 1),
    Workload("one client, batches of 100", 1, 100),
)


@dataclass(frozen=True)
class Cost:
    """Of one committed command, in a group without faults; all nodes together.

    Heartbeats are left out: they cost the same whatever is committed, `heartbeats_per_s`.
    `kinds`: of the messages, how many are of which kind.  `wire_bytes` are those of the messages
    as they are encoded, of a command of `group.COMMAND_BYTES`.
    """

    algorithm: str
    nodes: int
    workload: str
    commits: int
    messages: float
    wire_bytes: float
    syncs: float
    kinds: dict[str, float]
    heartbeats_per_s: float


def cost(algorithm: Algorithm, nodes: int, workload: Workload, commits: int) -> Cost:
    profile = PROFILES[f"lan-{nodes}"]
    group = Group(
        algorithm, MAJORITY, profile, ticking=False, weighs=True, eager_commit=workload.eager
    )
    group.settle(SECOND)
    tally = group.tally
    kinds, wire_bytes, syncs = tally.kinds.copy(), tally.wire_bytes, group.syncs
    Clients(group, clients=workload.clients, batch=workload.batch, count=commits).run()
    group.settle(SECOND)
    idle = Group(algorithm, MAJORITY, profile)
    idle.settle(SECOND)
    before = idle.tally.messages
    idle.settle(10 * SECOND)
    return Cost(
        algorithm=algorithm.name,
        nodes=nodes,
        workload=workload.name,
        commits=commits,
        messages=round((tally.messages - kinds.total()) / commits, 4),
        wire_bytes=round((tally.wire_bytes - wire_bytes) / commits, 2),
        syncs=round((group.syncs - syncs) / commits, 4),
        kinds={
            kind: round((count - kinds[kind]) / commits, 4)
            for kind, count in sorted(tally.kinds.items())
            if count > kinds[kind]
        },
        heartbeats_per_s=(idle.tally.messages - before) / 10,
    )


# --- how long a commit takes --------------------------------------------------------------------


@dataclass(frozen=True)
class Quorums:
    """What an arrangement means in a geometry.

    floor_us                see `algorithms.floor_us`.
    followers_spared        so many nodes, whichever they are, may be lost while the leader lives,
                            and writes go on.
    nodes_spared            so many, the leader among them, and the group comes back with all that
                            was committed.
    dcs_spared              so many whole datacenters.
    """

    floor_us: int
    followers_spared: int
    nodes_spared: int
    dcs_spared: int


def quorums(geometry: Geometry, system: QuorumSystem) -> Quorums:
    leader = geometry.leader

    def comes_back(nodes: frozenset[NodeId]) -> bool:
        return system.can_elect(nodes) and system.has_quorum(nodes)

    return Quorums(
        floor_us(system, leader, geometry.rtt_us),
        losses_survived(
            [[node] for node in geometry.dcs if node != leader],
            lambda nodes: system.has_quorum(nodes | {leader}),
        ),
        losses_survived([[node] for node in geometry.dcs], comes_back),
        losses_survived(list(nodes_of(geometry.dcs).values()), comes_back),
    )


@dataclass(frozen=True)
class Latency:
    """From a proposal to its being applied at the leader, one client.

    `refused`: why the algorithm may not use these quorums; then the rest says nothing.
    """

    algorithm: str
    geometry: str
    quorums: str
    commits: int = 0
    percentiles_us: list[float] = field(default_factory=list)
    system: Quorums | None = None
    refused: str = ""

    @property
    def p50_us(self) -> float:
        return self.percentiles_us[50]

    @property
    def p99_us(self) -> float:
        return self.percentiles_us[99]


def latency(
    algorithm: Algorithm, geometry: Geometry, arrangement: Arrangement, commits: int, seed: int
) -> Latency:
    try:
        group = Group(algorithm, arrangement, geometry.profile, leader=geometry.leader, seed=seed)
    except QuorumError as error:
        return Latency(algorithm.name, geometry.name, arrangement.name, refused=str(error))
    group.settle(SECOND)
    clients = Clients(group, clients=1, batch=1, count=commits)
    clients.run()
    return Latency(
        algorithm.name,
        geometry.name,
        arrangement.name,
        commits,
        percentiles(clients.latencies_us),
        quorums(geometry, group.system),
    )


# --- how long a lost leader is missed -----------------------------------------------------------


@dataclass(frozen=True)
class Recovery:
    """From the crash of the leader to the next commit, seed by seed, and where the time goes.

    noticed_us      until somebody stands for election.
    elected_us      from there to a leader, whose first command is the next commit.
    committed_us    from there until that is applied.
    candidacies     how many stood for election on the way, each in a term or ballot.
    """

    algorithm: str
    geometry: str
    quorums: str
    total_us: list[int]
    noticed_us: list[int]
    elected_us: list[int]
    committed_us: list[int]
    candidacies: list[int]


def recovery(
    algorithm: Algorithm, geometry: Geometry, arrangement: Arrangement, seeds: Sequence[int]
) -> Recovery:
    """
    Raises:
        QuorumError: the algorithm may not use this arrangement.
    """
    results = [_recover(algorithm, geometry, arrangement, seed) for seed in seeds]
    return Recovery(
        algorithm.name,
        geometry.name,
        arrangement.name,
        [sum(parts[:3]) for parts in results],
        *([parts[at] for parts in results] for at in range(4)),
    )


def _recover(
    algorithm: Algorithm, geometry: Geometry, arrangement: Arrangement, seed: int
) -> tuple[int, int, int, int]:
    group = Group(algorithm, arrangement, geometry.profile, leader=geometry.leader, seed=seed)
    profile, clock = geometry.profile, group.clock
    heartbeat_us = profile.heartbeat_ticks * profile.tick_us
    # At any time between two heartbeats, with commands under way.
    group.settle(SECOND + Random(f"{seed}:crash").randrange(4 * heartbeat_us))
    group.leader.driver.propose([command(1)], lambda outcome: None)
    group.settle(Random(f"{seed}:under way").randrange(profile.rtt_max_us))
    group.leader.crash()
    crashed_us = clock.now_us
    survivors = [node for node in group.nodes.values() if node.up]
    noticed_us = 0
    candidacies: set[tuple[Any, int]] = set()
    asked_us: dict[tuple[Any, int], int] = {}
    applied: list[tuple[Any, int]] = []

    def ask(node: Node) -> None:
        who = (node.id, node.core.term)
        asked_us[who] = clock.now_us

        def done(outcome: Outcome) -> None:
            if outcome.kind == "applied":
                applied.append(who)

        node.driver.propose([command(2)], done)

    def is_recovered() -> bool:
        nonlocal noticed_us
        for node in survivors:
            role = node.core.role
            if role != "follower":
                noticed_us = noticed_us or clock.now_us
                if role == "candidate":
                    candidacies.add((node.id, node.core.term))
                if role == "leader" and (node.id, node.core.term) not in asked_us:
                    ask(node)
        return bool(applied)

    group.run_until(is_recovered, "a new leader commits")
    elected_us = asked_us[applied[0]]
    return (
        noticed_us - crashed_us,
        elected_us - noticed_us,
        clock.now_us - elected_us,
        len(candidacies),
    )


# --- gaps in the log ----------------------------------------------------------------------------


@dataclass(frozen=True)
class GapCase:
    """Messages are lost and overtaken, while one command is proposed every `every_us`."""

    profile: str
    loss_rate: float
    reorder_rate: float
    reorder_us: int
    every_us: int


GAP_CASES = (
    GapCase("lan-3", 0.01, 0.05, 2 * MS, 1 * MS),
    GapCase("wan-3dc", 0.01, 0.05, 200 * MS, 10 * MS),
)


@dataclass(frozen=True)
class Gaps:
    """What comes to a follower before what it follows.

    early           entries that came before one that they follow, per thousand commands.
    kept            of these, how many the follower accepted all the same.
    sent            entries sent to each follower for each command: 1 is what has to be.
    wait_ms         of an entry that came early: until all before it was there (p50, p99).
    latency_ms      of a command, from its proposal to its being applied at the leader (p50, p99).
    """

    algorithm: str
    profile: str
    commits: int
    early: float
    kept: float
    sent: float
    wait_ms: tuple[float, float]
    latency_ms: tuple[float, float]


class _GapWatch:
    """Looks at what comes in at each follower."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.early = 0
        self.kept = 0
        self.waits_us: list[int] = []
        #: For each node, the early entries that still have a gap before them: index -> since when.
        self.waiting: dict[Any, dict[int, int]] = {node: {} for node in group.nodes}

    def __call__(self, node: Node, message: Any) -> None:
        now_us = self.group.clock.now_us
        waiting = self.waiting[node.id]
        block = getattr(message, "block", None)
        log = node.core.log
        if block is not None and block.first > log.last + 1:
            for index in range(block.first, block.last + 1):
                waiting.setdefault(index, now_us)
            self.early += len(block)
            node.driver.receive(message)
            self.kept += _held(node.core, block.first, block.last)
        else:
            node.driver.receive(message)
        if waiting:
            last = log.last
            for index in [index for index in waiting if index <= last]:
                self.waits_us.append(now_us - waiting.pop(index))


def _held(core: Any, first: int, last: int) -> int:
    """How many of these entries `core` holds, behind its log or aside."""
    held = set(range(first, min(last, core.log.last) + 1))
    for block in getattr(core, "aside", ()):
        held |= set(range(max(first, block.first), min(last, block.last) + 1))
    return len(held)


def gaps(algorithm: Algorithm, case: GapCase, commits: int, seed: int) -> Gaps:
    group = Group(
        algorithm,
        MAJORITY,
        PROFILES[case.profile],
        seed=seed,
        faults=NetworkFaults(
            loss_rate=case.loss_rate,
            reorder_rate=case.reorder_rate,
            reorder_us=case.reorder_us,
        ),
    )
    group.settle(SECOND)
    watch = group.watch = _GapWatch(group)
    entries = group.tally.entries
    latencies_us: list[int] = []
    settled = 0
    clock = group.clock

    def ask(number: int) -> None:
        asked_us = clock.now_us

        def done(outcome: Outcome) -> None:
            nonlocal settled
            settled += 1
            if outcome.kind == "applied":
                latencies_us.append(clock.now_us - asked_us)

        group.leader.driver.propose([command(number)], done)

    for number in range(commits):
        clock.after(number * case.every_us, ask, number)
    group.run_until(
        lambda: settled == commits,
        "every command has an outcome",
        PATIENCE_US + commits * case.every_us,
    )
    group.settle(SECOND)
    followers = len(group.nodes) - 1
    return Gaps(
        algorithm.name,
        case.profile,
        len(latencies_us),
        early=round(1000 * watch.early / commits / followers, 2),
        kept=round(watch.kept / max(1, watch.early), 4),
        sent=round((group.tally.entries - entries) / commits / followers, 4),
        wait_ms=_two(watch.waits_us),
        latency_ms=_two(latencies_us),
    )


def _two(values_us: Sequence[int]) -> tuple[float, float]:
    """p50 and p99, in milliseconds."""
    ordered = sorted(values_us) or [0]
    return round(percentile(ordered, 50) / MS, 3), round(percentile(ordered, 99) / MS, 3)


# --- in process, and in lines -------------------------------------------------------------------


@dataclass(frozen=True)
class Throughput:
    """Cores alone in one process and in real time: nanoseconds a proposal takes until every node
    has applied it.  `ratio`: to Raft, the median over the rounds; 1 for Raft itself."""

    algorithm: str
    nodes: int
    batch: int
    ns_low: float
    ns: float
    ns_high: float
    ratio: float


BATCHES = (1, 10, 100, 1000)


def throughput(
    contestants: Sequence[Algorithm], nodes: int, batch: int, rounds: int, turn_ns: int
) -> list[Throughput]:
    """The first contestant is what the others are divided by."""
    times = race(contestants, nodes, batch, rounds=rounds, turn_ns=turn_ns)
    rows = []
    for algorithm, own in zip(contestants, times, strict=True):
        low, middle, high = spread(own)
        ratio = median(mine / first for mine, first in zip(own, times[0], strict=True))
        rows.append(Throughput(algorithm.name, nodes, batch, low, middle, high, round(ratio, 4)))
    return rows


@dataclass(frozen=True)
class Lines:
    """Lines of code of a part."""

    part: str
    raft: int
    paxos: int


def lines() -> list[Lines]:
    return [
        Lines(
            part,
            sum(module_lines("ringleader.consensus.raft", name) for name in raft_modules),
            sum(module_lines("ringleader.consensus.paxos", name) for name in paxos_modules),
        )
        for part, raft_modules, paxos_modules in PARTS
    ]


# --- all of it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effort:
    """How much is measured.  Commits for each figure; seeds for each recovery."""

    cost_commits: int = 2_000
    latency_commits: int = 5_000
    seeds: int = 100
    gap_commits: int = 5_000
    rounds: int = 11
    turn_ns: int = 50_000_000


QUICK = Effort(
    cost_commits=200, latency_commits=100, seeds=5, gap_commits=500, rounds=3, turn_ns=1_000_000
)


@dataclass
class Comparison:
    """All answers.  `compiled`: the cores were; else `throughput` is that of plain Python."""

    quick: bool
    seed: int
    compiled: bool
    costs: list[Cost] = field(default_factory=list)
    latencies: list[Latency] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    gaps: list[Gaps] = field(default_factory=list)
    throughputs: list[Throughput] = field(default_factory=list)
    lines: list[Lines] = field(default_factory=list)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """What `dataclasses.asdict` made, and JSON has carried.

        Raises:
            FormatError: it is not that.
        """
        kinds: dict[str, Callable[..., Any]] = {
            "costs": Cost,
            "latencies": _latency_from,
            "recoveries": Recovery,
            "gaps": _gaps_from,
            "throughputs": Throughput,
            "lines": Lines,
        }
        try:
            values: dict[str, Any] = {name: data[name] for name in ("quick", "seed", "compiled")}
            for name, kind in kinds.items():
                values[name] = [kind(**row) for row in data[name]]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"no comparison of consensus algorithms: {error!r}") from error
        return cls(**values)


def _latency_from(system: Mapping[str, Any] | None = None, **rest: Any) -> Latency:
    return Latency(system=Quorums(**system) if system is not None else None, **rest)


def _gaps_from(wait_ms: Sequence[float], latency_ms: Sequence[float], **rest: Any) -> Gaps:
    (wait_50, wait_99), (latency_50, latency_99) = wait_ms, latency_ms
    return Gaps(wait_ms=(wait_50, wait_99), latency_ms=(latency_50, latency_99), **rest)


#: What is about to be measured, for whoever waits: done so far, of how many, words.
Tell = Callable[[int, int, str], object]


def compare(
    effort: Effort,
    *,
    quick: bool = False,
    seed: int = 1,
    contestants: Sequence[Algorithm] | None = None,
    tell: Tell = lambda done, total, words: None,
) -> Comparison:
    """Ask everything."""
    chosen = tuple(contestants) if contestants is not None else algorithms()
    result = Comparison(quick=quick, seed=seed, compiled=not kernels.PURE)
    steps = list(_steps(result, effort, chosen))
    for number, (words, step) in enumerate(steps):
        tell(number, len(steps), words)
        step()
    tell(len(steps), len(steps), "")
    return result


def _steps(
    result: Comparison, effort: Effort, chosen: Sequence[Algorithm]
) -> Iterator[tuple[str, Callable[[], object]]]:
    for nodes in (3, 5):
        for workload in WORKLOADS:
            for each in chosen:
                yield (
                    f"cost of a commit: {each.title}, {nodes} nodes, {workload.name}",
                    lambda each=each, nodes=nodes, workload=workload: result.costs.append(  # type: ignore[misc]
                        cost(each, nodes, workload, effort.cost_commits)
                    ),
                )
    for where in GEOMETRIES:
        for arrangement in where.arrangements:
            for each in chosen:
                yield (
                    f"latency: {each.title}, {where.name}, {arrangement.name}",
                    lambda each=each, where=where, arrangement=arrangement: _latency_and_recovery(  # type: ignore[misc]
                        result, effort, each, where, arrangement
                    ),
                )
    for case in GAP_CASES:
        for each in chosen:
            yield (
                f"gaps: {each.title}, {case.profile}",
                lambda each=each, case=case: result.gaps.append(  # type: ignore[misc]
                    gaps(each, case, effort.gap_commits, result.seed)
                ),
            )
    for nodes in (3, 5):
        for batch in BATCHES:
            yield (
                f"in process: {nodes} nodes, batches of {batch}",
                lambda nodes=nodes, batch=batch: result.throughputs.extend(  # type: ignore[misc]
                    throughput(chosen, nodes, batch, effort.rounds, effort.turn_ns)
                ),
            )
    yield "lines of code", lambda: result.lines.extend(lines())


def _latency_and_recovery(
    result: Comparison,
    effort: Effort,
    algorithm: Algorithm,
    where: Geometry,
    arrangement: Arrangement,
) -> None:
    measured = latency(algorithm, where, arrangement, effort.latency_commits, result.seed)
    result.latencies.append(measured)
    if not measured.refused:
        seeds = range(result.seed, result.seed + effort.seeds)
        result.recoveries.append(recovery(algorithm, where, arrangement, seeds))
