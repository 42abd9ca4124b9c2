"""What a node counts, for Prometheus.

The hot path adds to plain integers, once for a batch of commands and not once for each; the rest is
read from `Node.status()` when somebody asks.  So a metric costs next to nothing until it is looked
at, and a page is put together at most twice a second.

    metrics.commands("write", "ok", 37, seconds)      37 writes, so long each
    metrics.refused("wrong arity")                    something from outside that was no good
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from ringleader.limits import METRICS_SECONDS_MIN, REASONS_MAX
from ringleader.node.health import NodeStatus

#: Kinds of commands: through the log; linearizable; READONLY; about the connection or cluster.
KINDS = ("write", "read", "stale_read", "other")
#: What came of them.
OUTCOMES = ("ok", "error", "refused", "unknown")

#: What a status says of a peer that can go down, and what is no number to be watched.
_PEER_GAUGES = {"queued_bytes", "waiting_calls"}
_NO_COUNTERS = {"connected", "rtt_ms", "rtt_max_ms", "skew_ms", "incarnation", "dc"}

#: Bounds of a histogram: 2**0 ... 2**25 us, which is 33 seconds, and infinity.
BUCKETS = 27


class Latencies:
    """How long things took: so many in each power of two of microseconds.

    Attributes:
        counts: bucket i has those of at most 2**i us, and more than half of it; the last one all
            that took longer.
        seconds: together.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.seconds = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """`count` that took so long each."""
        bucket = (math.ceil(seconds * 1e6) - 1).bit_length() if seconds > 1e-6 else 0
        self.counts[bucket if bucket < BUCKETS else BUCKETS - 1] += count
        self.seconds += seconds * count

    def buckets(self) -> list[tuple[str, float]]:
        """As Prometheus has it: (upper bound in seconds, how many up to it)."""
        found, below = [], 0
        for at, count in enumerate(self.counts):
            below += count
            bound = "+Inf" if at == BUCKETS - 1 else repr(2**at / 1e6)
            found.append((bound, float(below)))
        return found


class Metrics:
    """The counters of one node, and the page that shows them.

    Args:
        status: the node's.
    """

    def __init__(self, status: Callable[[], NodeStatus]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._status = status
        self._dc_of: dict[str, str] = {}
        self._latencies = {kind: Latencies() for kind in KINDS}
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[str] = Counter()
        self._syncs = Latencies()
        self._page = b""
        self._page_at = -math.inf
        self.registry.register(_Collector(self))
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    # --- the hot path ---------------------------------------------------------------------------

    def commands(self, kind: str, outcome: str, count: int, seconds: float | None = None) -> None:
        """`count` commands of one of `KINDS` had one of `OUTCOMES`, after so long each."""
        self._outcomes[kind, outcome] += count
        if seconds is not None:
            self._latencies[kind].add(seconds, count)

    def refused(self, reason: str, count: int = 1) -> None:
        """Input from outside that was refused; `reason` in a few words that do not vary with it."""
        refused = self._refused
        if reason not in refused and len(refused) >= REASONS_MAX:
            reason = "other"
        refused[reason] += count

    def synced(self, seconds: float) -> None:
        """The write-ahead log made something durable."""
        self._syncs.add(seconds)

    # --- the page -------------------------------------------------------------------------------

    def know(self, datacenters: dict[str, str]) -> None:
        """In which datacenter each node is, by name: for lag by datacenter."""
        self._dc_of = dict(datacenters)

    def page(self) -> bytes:
        """Everything in Prometheus' text format; the same again when it is asked for too soon."""
        now = time.monotonic()
        if now - self._page_at >= METRICS_SECONDS_MIN:
            self._page = generate_latest(self.registry)
            self._page_at = now
        return self._page


class _Collector:
    """What the registry asks for when a page is made."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        status = self._metrics._status()
        yield from self._node(status)
        yield from self._commands(status)
        yield from self._shards(status)
        yield from self._peers(status)
        yield from self._clients(status)
        yield from self._wal(status)

    def _node(self, status: NodeStatus) -> Iterator[Metric]:
        about = InfoMetricFamily("ringleader_node", "Which node this is.")
        labels = ("name", "dc", "version", "consensus")
        about.add_metric([], {key: str(status.get(key, "")) for key in labels})
        yield about
        yield _gauge("ready", "1 when the node takes commands.", bool(status.get("ready")))
        yield _gauge("failed", "1 when the node has stopped for good.", bool(status.get("failed")))
        yield _gauge(
            "timing_unsuitable",
            "1 when the election timeout is too short for the measured round trips.",
            bool(status.get("timing_warning")),
        )
        yield _gauge("memory_bytes", "Resident memory of the process.", resident_bytes())

    def _commands(self, status: NodeStatus) -> Iterator[Metric]:
        metrics = self._metrics
        outcomes = CounterMetricFamily(
            "ringleader_commands", "Commands of clients.", labels=["kind", "outcome"]
        )
        for (kind, outcome), count in sorted(metrics._outcomes.items()):
            outcomes.add_metric([kind, outcome], count)
        yield outcomes
        seconds = HistogramMetricFamily(
            "ringleader_command_seconds",
            "Of commands that go through the log: from a batch's proposal to its replies, at the "
            "leader.",
            labels=["kind"],
        )
        for kind, each in metrics._latencies.items():
            seconds.add_metric([kind], each.buckets(), each.seconds)
        yield seconds
        refused = CounterMetricFamily(
            "ringleader_refused", "Input from outside that was no good.", labels=["reason"]
        )
        reasons = metrics._refused + Counter(status.get("refused", {}))
        for reason, count in sorted(reasons.most_common(REASONS_MAX)):
            refused.add_metric([reason], count)
        yield refused

    def _shards(self, status: NodeStatus) -> Iterator[Metric]:
        shards = status.get("shards", [])
        led = [shard for shard in shards if shard.get("role") == "leader"]
        yield _gauge("shards", "Shards that the node has a replica of.", len(shards))
        yield _gauge("shards_led", "Shards that the node leads.", len(led))
        yield _gauge(
            "shards_leaderless",
            "Shards of the node whose leader it does not know.",
            sum(shard.get("leader") is None for shard in shards),
        )
        yield _gauge(
            "shards_failed",
            "Shards of the node that have stopped for good.",
            sum(bool(shard.get("failed")) for shard in shards),
        )
        for key, words in (
            ("term", "The term, or ballot, of the shard's group."),
            ("commit", "The last log entry that is known to be committed."),
            ("applied", "The last log entry whose commands have taken effect here."),
            ("keys", "Keys that the shard holds."),
            ("bytes", "Bytes that the shard's keys and values take, about."),
        ):
            family = GaugeMetricFamily(f"ringleader_shard_{key}", words, labels=["shard"])
            for shard in shards:
                if isinstance(value := shard.get(key), int | float):
                    family.add_metric([str(shard.get("id"))], value)
            yield family
        lags = GaugeMetricFamily(
            "ringleader_shard_lag_entries",
            "Log entries that a replica lacks, as the leader sees it.",
            labels=["shard", "node", "dc"],
        )
        worst: dict[str, int] = {}
        for shard in led:
            for node, behind in shard.get("lag", {}).items():
                dc = self._metrics._dc_of.get(node, "")
                lags.add_metric([str(shard.get("id")), node, dc], behind)
                worst[dc] = max(worst.get(dc, 0), behind)
        yield lags
        by_dc = GaugeMetricFamily(
            "ringleader_lag_entries",
            "The most log entries that a replica of a datacenter lacks, of shards led here.",
            labels=["dc"],
        )
        for dc, behind in sorted(worst.items()):
            by_dc.add_metric([dc], behind)
        yield by_dc

    def _peers(self, status: NodeStatus) -> Iterator[Metric]:
        peers = status.get("peers", {})
        connected = GaugeMetricFamily(
            "ringleader_peer_connected", "1 when the peer can be reached.", labels=["peer", "dc"]
        )
        rtt = GaugeMetricFamily(
            "ringleader_peer_rtt_seconds", "Round trip to the peer.", labels=["peer", "dc"]
        )
        counters: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for name, peer in sorted(peers.items()):
            dc = self._metrics._dc_of.get(name, "")
            connected.add_metric([name, dc], bool(peer.get("connected")))
            if (rtt_ms := peer.get("rtt_ms")) is not None:
                rtt.add_metric([name, dc], rtt_ms / 1000)
            for key, value in peer.items():
                if key in _NO_COUNTERS or not _is_count(value):
                    continue
                if key not in counters:
                    made = GaugeMetricFamily if key in _PEER_GAUGES else CounterMetricFamily
                    counters[key] = made(
                        f"ringleader_peer_{key}",
                        f"{key.replace('_', ' ')}, of one peer.".capitalize(),
                        labels=["peer", "dc"],
                    )
                counters[key].add_metric([name, dc], value)
        yield connected
        yield rtt
        yield from counters.values()

    def _clients(self, status: NodeStatus) -> Iterator[Metric]:
        clients = status.get("clients", {})
        yield _gauge("clients", "Connections of clients.", clients.get("connected", 0))
        yield _gauge(
            "clients_held_bytes",
            "What clients make the node hold: commands under way, replies not read.",
            clients.get("held_bytes", 0),
        )
        for key, value in clients.items():
            if key not in ("connected", "held_bytes") and _is_count(value):
                words = f"{key.replace('_', ' ')}, of all clients.".capitalize()
                yield CounterMetricFamily(f"ringleader_clients_{key}", words, value=value)
        if isinstance(refused := clients.get("refused"), dict):
            family = CounterMetricFamily(
                "ringleader_clients_refused", "Connections refused or closed.", labels=["reason"]
            )
            for reason, count in sorted(refused.items())[:REASONS_MAX]:
                family.add_metric([str(reason)], count)
            yield family

    def _wal(self, status: NodeStatus) -> Iterator[Metric]:
        wal = status.get("wal", {})
        for key, words in (
            ("batches", "Batches that the write-ahead log was given."),
            ("bytes", "Bytes that were appended to it."),
            ("syncs", "How often it was synced."),
            ("sync_seconds", "How long its syncs took together."),
        ):
            if _is_count(value := wal.get(key)):
                yield CounterMetricFamily(f"ringleader_wal_{key}", words, value=value)
        yield _gauge("wal_segments", "Files of the write-ahead log.", wal.get("segments", 0))
        syncs = HistogramMetricFamily(
            "ringleader_wal_sync_duration_seconds", "Of each sync of the write-ahead log."
        )
        syncs.add_metric([], self._metrics._syncs.buckets(), self._metrics._syncs.seconds)
        yield syncs


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ringleader_{name}", words, value=float(value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def resident_bytes() -> int:
    """What /proc says; 0 where there is none."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
