"""Which, when: sentences that follow from what was measured.

Every sentence is chosen by the figures that it names, so that a run on another machine, or of
another version, may come to another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from ringleader.sim.comparison.algorithms import GEOMETRIES, MAJORITY
from ringleader.sim.comparison.measures import (
    WORKLOADS,
    Comparison,
    Cost,
    Latency,
    Recovery,
    percentile,
)

#: What differs by less is called the same.
SAME = 0.1
#: Quorums that make a commit so much faster are said to help.
HELPS = 1.5
#: How much slower than Raft's Multi-Paxos may be in process.
THROUGHPUT_MAX = 1.2


@dataclass(frozen=True)
class Verdict:
    question: str
    answer: str


def verdicts(found: Comparison) -> list[Verdict]:
    return [
        Verdict("Which, when?", _which(found)),
        Verdict("What does a commit cost?", _cost(found)),
        Verdict("How long does it take?", _latency(found)),
        Verdict("Where do flexible quorums help?", _flexible(found)),
        Verdict("What may only Paxos do?", _owned(found)),
        Verdict("What is the loss of a leader?", _recovery(found)),
        Verdict("What do gaps in the log matter?", _gaps(found)),
        Verdict("What does the core cost?", _throughput(found)),
        Verdict("How much is there to read?", _lines(found)),
    ]


def same(one: float, other: float) -> bool:
    return abs(one - other) <= SAME * max(abs(one), abs(other))


def find_latency(
    found: Comparison, algorithm: str, geometry: str, quorums: str = MAJORITY.name
) -> Latency:
    for row in found.latencies:
        if (row.algorithm, row.geometry, row.quorums) == (algorithm, geometry, quorums):
            return row
    raise KeyError((algorithm, geometry, quorums))


def find_recovery(found: Comparison, like: Latency) -> Recovery:
    """Of the same algorithm with the same quorums in the same place."""
    for row in found.recoveries:
        if (row.algorithm, row.geometry, row.quorums) == (
            like.algorithm,
            like.geometry,
            like.quorums,
        ):
            return row
    raise KeyError((like.algorithm, like.geometry, like.quorums))


def gain(found: Comparison, row: Latency) -> float:
    """How many times as fast as majority Raft in the same geometry, at p50."""
    return find_latency(found, "raft", row.geometry).p50_us / row.p50_us


def ms(us: float) -> str:
    """Microseconds, as people read them: with three digits."""
    return f"{us / 1000:.3g} ms" if us < 1e6 else f"{us / 1e6:.2f} s"


def times_as(value: float) -> str:
    """A factor, as people read them."""
    return f"{value:.2f}x" if value < 10 else f"{value:.0f}x"


def _pair(found: Comparison, nodes: int, workload: str) -> tuple[Cost, Cost]:
    rows = {
        row.algorithm: row for row in found.costs if (row.nodes, row.workload) == (nodes, workload)
    }
    return rows["raft"], rows["paxos"]


def _cost(found: Comparison) -> str:
    pairs = [_pair(found, nodes, workload.name) for nodes in (3, 5) for workload in WORKLOADS]
    raft, paxos = _pair(found, 3, WORKLOADS[0].name)
    lean, _ = _pair(found, 3, WORKLOADS[1].name)
    if all(same(one.messages, two.messages) and same(one.syncs, two.syncs) for one, two in pairs):
        first = "The same: one round of messages and one sync on each node, in either."
    else:
        worst = max(pairs, key=lambda pair: abs(pair[1].messages / pair[0].messages - 1))
        first = (
            f"Not quite the same: most apart with {worst[0].nodes} nodes, "
            f"{worst[0].workload}: {worst[0].messages:.3g} messages in Raft, "
            f"{worst[1].messages:.3g} in Multi-Paxos."
        )
    return (
        f"{first} With 3 nodes and one client {raft.messages:.3g} and {paxos.messages:.3g} "
        f"messages, {raft.wire_bytes:.0f} and {paxos.wire_bytes:.0f} bytes, {raft.syncs:.2g} and "
        f"{paxos.syncs:.2g} syncs; {lean.messages:.3g} messages when followers hear of a commit "
        "with the next entries. What saves messages and syncs is batching, not the algorithm."
    )


def _latency(found: Comparison) -> str:
    pairs = [
        (find_latency(found, "raft", where.name), find_latency(found, "paxos", where.name))
        for where in GEOMETRIES
    ]
    apart = [
        f"{raft.geometry} ({ms(raft.p50_us)} and {ms(paxos.p50_us)})"
        for raft, paxos in pairs
        if not same(raft.p50_us, paxos.p50_us)
    ]
    if apart:
        return f"With majorities Raft and Multi-Paxos differ in {', '.join(apart)}, at p50."
    lan = pairs[0][0]
    far = max((raft for raft, _ in pairs), key=lambda row: row.p50_us)
    return (
        "With majorities, equally long in both: a round trip to the nearest majority and the syncs "
        f"of two disks, from {ms(lan.p50_us)} ({lan.geometry}) to {ms(far.p50_us)} "
        f"({far.geometry}) at p50."
    )


def _flexible(found: Comparison) -> str:
    helped, idle = [], []
    for row in found.latencies:
        if row.algorithm != "paxos" or row.quorums == MAJORITY.name or row.refused:
            continue
        times = gain(found, row)
        if times >= HELPS:
            helped.append((times, row))
        else:
            idle.append((times, row))
    helped.sort(key=lambda pair: -pair[0])

    def told(pairs: list[tuple[float, Latency]]) -> str:
        return "; ".join(
            f"{row.geometry}, {row.quorums}: {times_as(times)}" for times, row in pairs
        )

    parts = []
    if helped:
        parts.append(
            f"Where a replication quorum lies nearer to the leader than a majority does "
            f"(p50 against majority Raft): {told(helped)}."
        )
    if idle:
        parts.append(f"They do not help, or little, where it does not: {told(idle)}.")
    fragile = [row for _, row in helped if row.system is not None and row.system.dcs_spared == 0]
    if fragile:
        parts.append(
            f"The price: in {len(fragile)} of the {len(helped)} that help, the loss of one "
            "datacenter stops the group, and may take what was committed with it."
        )
    return " ".join(parts)


def _owned(found: Comparison) -> str:
    refused = [row for row in found.latencies if row.refused]
    if not refused:
        return "Nothing that was asked here: Raft may use every quorum system that was tried."
    told = []
    for row in refused:
        other = find_latency(found, "paxos", row.geometry, row.quorums)
        usual = find_latency(found, "paxos", row.geometry)
        told.append(
            f"{row.geometry}, {row.quorums}: a commit takes {ms(other.p50_us)} "
            f"({ms(usual.p50_us)} with majorities), the loss of a leader "
            f"{ms(median(find_recovery(found, other).total_us))} "
            f"({ms(median(find_recovery(found, usual).total_us))})"
        )
    return (
        "Its ballots belong to one proposer each, so that two election quorums need not meet. "
        f"Refused to Raft for that: {'; '.join(told)}."
    )


def tail_us(row: Recovery) -> float:
    """What one recovery in twenty takes longer than."""
    return percentile(sorted(row.total_us), 95)


def recovery_pairs(found: Comparison) -> list[tuple[Recovery, Recovery]]:
    """Raft's and that of Multi-Paxos, wherever both may use the quorums."""
    pairs = []
    for row in found.latencies:
        if row.algorithm == "raft" and not row.refused:
            other = find_latency(found, "paxos", row.geometry, row.quorums)
            pairs.append((find_recovery(found, row), find_recovery(found, other)))
    return pairs


def sooner(found: Comparison) -> int:
    """In how many places Multi-Paxos is the sooner one time in twenty."""
    return sum(tail_us(paxos) < (1 - SAME) * tail_us(raft) for raft, paxos in recovery_pairs(found))


def _recovery(found: Comparison) -> str:
    pairs = recovery_pairs(found)
    raft, paxos = pairs[0]
    text = (
        f"Half of the time, {ms(median(raft.total_us))} without commits in {raft.geometry} with "
        f"Raft and {ms(median(paxos.total_us))} with Multi-Paxos; nearly all of it is the timeout "
        "after which a leader is missed, which is a setting."
    )
    raft, paxos = max(pairs, key=lambda pair: abs(tail_us(pair[1]) / tail_us(pair[0]) - 1))
    text += (
        f" One time in twenty, most apart in {raft.geometry}, {raft.quorums}: "
        f"{ms(tail_us(raft))} and more with Raft, {ms(tail_us(paxos))} with Multi-Paxos, which is "
        f"the sooner in {sooner(found)} of {len(pairs)} places. "
        f"{_rivals(raft, 'Raft', 'rivals split the votes of a term, and wait for another timeout')}"
        f" {_rivals(paxos, 'Multi-Paxos', 'the higher ballot goes on')}"
    )
    paid = []
    for row in found.latencies:
        if row.algorithm == "paxos" and row.quorums != MAJORITY.name:
            usual = find_recovery(found, find_latency(found, "paxos", row.geometry))
            own = find_recovery(found, row)
            paid.append((median(own.total_us) / median(usual.total_us), row))
    if paid:
        times, row = max(paid, key=lambda pair: pair[0])
        text += (
            f" Larger election quorums cost the most in {row.geometry}, {row.quorums}: "
            f"{times:.2f} times the median of a majority."
        )
    return text


def _rivals(row: Recovery, title: str, rule: str) -> str:
    """What several candidates do to a recovery."""
    alone: list[int] = []
    rivalled: list[int] = []
    for total_us, candidacies in zip(row.total_us, row.candidacies, strict=True):
        (rivalled if candidacies > 1 else alone).append(total_us)
    if not alone or not rivalled:
        return f"With {title} {rule}."
    return (
        f"With {title} {rule}: there {len(rivalled)} of {len(row.total_us)} recoveries had more "
        f"than one candidacy, and took {ms(median(rivalled))}, the others {ms(median(alone))}."
    )


def _gaps(found: Comparison) -> str:
    rows = {(row.algorithm, row.profile): row for row in found.gaps}
    parts = []
    for profile in dict.fromkeys(row.profile for row in found.gaps):
        raft, paxos = rows["raft", profile], rows["paxos", profile]
        parts.append(
            f"{profile}: each entry is sent {raft.sent:.2f} times by Raft and {paxos.sent:.2f} "
            f"times by Multi-Paxos, p99 of a commit {raft.latency_ms[1]:.3g} and "
            f"{paxos.latency_ms[1]:.3g} ms"
        )
    return (
        "Raft's log has none: what comes too early is refused, at once, and sent again with all "
        "that follows. Multi-Paxos accepts it, and its leader sends again what a later round shows "
        f"to be missing. {'; '.join(parts)}. Both apply in order, so that what stands behind a gap "
        "waits for it in either."
    )


def _throughput(found: Comparison) -> str:
    ours = [row for row in found.throughputs if row.algorithm == "paxos"]
    best, worst = min(ours, key=lambda row: row.ratio), max(ours, key=lambda row: row.ratio)
    within = "within" if worst.ratio <= THROUGHPUT_MAX else "not within"
    return (
        f"In process Multi-Paxos takes {best.ratio:.2f} to {worst.ratio:.2f} times as long as "
        f"Raft ({within} {THROUGHPUT_MAX:g}); batches of {best.batch} with {best.nodes} nodes are "
        f"its best, of {worst.batch} with {worst.nodes} its worst case."
        + ("" if found.compiled else " (Measured on the uncompiled sources.)")
    )


def _totals(found: Comparison) -> tuple[int, int]:
    return sum(row.raft for row in found.lines), sum(row.paxos for row in found.lines)


def _lines(found: Comparison) -> str:
    raft, paxos = _totals(found)
    return (
        f"{raft:,} lines of code in Raft, {paxos:,} in Multi-Paxos, over the same log and driver."
    )


def _which(found: Comparison) -> str:
    few, many = sorted(_totals(found))
    equal = all(
        same(
            find_latency(found, "raft", where.name).p50_us,
            find_latency(found, "paxos", where.name).p50_us,
        )
        for where in GEOMETRIES
    )
    shorter = "Raft" if _totals(found)[0] == few else "Multi-Paxos"
    parts = []
    if equal:
        parts.append(
            "With majorities take either: the network decides, not the algorithm. "
            f"{shorter} has {1 - few / many:.0%} less to read."
        )
    else:
        parts.append("With majorities take the one that is faster where you are.")
    rows = {(row.algorithm, row.profile): row for row in found.gaps}
    for profile in dict.fromkeys(row.profile for row in found.gaps):
        raft, paxos = rows["raft", profile], rows["paxos", profile]
        if paxos.sent < (1 - SAME) * raft.sent:
            slower = paxos.latency_ms[1] > (1 + SAME) * raft.latency_ms[1]
            parts.append(
                f"Where links lose and reorder ({profile}), Multi-Paxos sends "
                f"{1 - paxos.sent / raft.sent:.0%} less"
                + (", and Raft closes a gap sooner." if slower else ", and is no slower.")
            )
    pairs = recovery_pairs(found)
    if 2 * sooner(found) > len(pairs):
        parts.append(
            "Where a lost leader must be replaced soon even when several nodes stand up at once, "
            f"Multi-Paxos: sooner one time in twenty in {sooner(found)} of {len(pairs)} places."
        )
    shared = [
        row
        for row in found.latencies
        if row.algorithm == "raft"
        and not row.refused
        and row.quorums != MAJORITY.name
        and gain(found, row) >= HELPS
    ]
    if shared:
        parts.append(
            "For fast writes across datacenters choose the quorums first: Raft may use those of "
            f"{len(shared)} of the cases here that help, too."
        )
    if any(row.refused for row in found.latencies):
        parts.append(
            "Only where elections shall need fewer nodes than a majority does it have to be "
            "Multi-Paxos."
        )
    return " ".join(parts)
