"""Which, when: sentences that follow from what was measured.

Every sentence is chosen by the figures that it names, so that a run on another machine, or of
another version, may come to another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from ringleader.sim.comparison.algorithms import GEOMETRIES, MAJORITY
from ringleader.sim.comparison.measures import WORKLOADS, Comparison, Cost, Latency, Recovery

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
        Verdict("What does a commit cost?", _cost(found)),
        Verdict("How long does it take?", _latency(found)),
        Verdict("Where do flexible quorums help?", _flexible(found)),
        Verdict("What may only Paxos do?", _owned(found)),
        Verdict("What is the loss of a leader?", _recovery(found)),
        Verdict("What do gaps in the log matter?", _gaps(found)),
        Verdict("What does the core cost?", _throughput(found)),
        Verdict("How much is there to read?", _lines(found)),
        Verdict("So, which?", _which(found)),
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
        return "; ".join(f"{row.geometry}, {row.quorums}: {times:.3g}x" for times, row in pairs)

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
        told.append(
            f"{row.geometry}, {row.quorums} (p50 {ms(other.p50_us)}, {gain(found, other):.2g}x)"
        )
    return (
        "Its ballots belong to one proposer each, so that two election quorums need not meet. "
        f"Refused to Raft for that: {'; '.join(told)}."
    )


def _recovery(found: Comparison) -> str:
    worst, paid = [], []
    for where in GEOMETRIES:
        raft = find_recovery(found, find_latency(found, "raft", where.name))
        paxos = find_recovery(found, find_latency(found, "paxos", where.name))
        one, two = median(raft.total_us), median(paxos.total_us)
        worst.append((two / one, where.name, one, two))
        for arrangement in where.arrangements[1:]:
            row = find_latency(found, "paxos", where.name, arrangement.name)
            if not row.refused:
                paid.append(
                    (median(find_recovery(found, row).total_us) / two, where.name, row.quorums)
                )
    _, name, one, two = max(worst, key=lambda item: abs(item[0] - 1))
    lan = worst[0]
    text = (
        f"Half of the time, {ms(lan[2])} without commits in a LAN with Raft and {ms(lan[3])} with "
        f"Multi-Paxos; most apart in {name}: {ms(one)} and {ms(two)}. "
        "Nearly all of it is the timeout after which a leader is missed, which is a setting."
    )
    if paid:
        most = max(paid)
        text += (
            f" Larger election quorums cost the most in {most[1]}, {most[2]}: {most[0]:.3g} times "
            "what a majority takes."
        )
    return text


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
        "Raft's log has none: what comes too early is refused and sent again. Multi-Paxos accepts "
        f"it, and asks for what is missing only. {'; '.join(parts)}. Both apply in order, so that "
        "what stands behind a gap waits for it in either."
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
    raft, paxos = _totals(found)
    equal = all(
        same(
            find_latency(found, "raft", where.name).p50_us,
            find_latency(found, "paxos", where.name).p50_us,
        )
        for where in GEOMETRIES
    )
    shorter = "Raft" if raft <= paxos else "Multi-Paxos"
    parts = []
    if equal:
        parts.append(
            "With majorities take either: the network decides, not the algorithm. "
            f"{shorter} has less to read, and Raft has more that was written about it."
        )
    else:
        parts.append("With majorities take the one that is faster where you are.")
    rows = {(row.algorithm, row.profile): row for row in found.gaps}
    lossy = [
        profile
        for profile in dict.fromkeys(row.profile for row in found.gaps)
        if rows["paxos", profile].sent < (1 - SAME) * rows["raft", profile].sent
    ]
    if lossy:
        parts.append(
            "On links that lose or reorder much, Multi-Paxos: it sends less twice "
            f"({', '.join(lossy)})."
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
