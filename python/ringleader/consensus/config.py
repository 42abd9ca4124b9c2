"""The settings that every core has, their defaults, and what must hold between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ringleader.consensus.membership import NodeId
from ringleader.consensus.quorum import Majority, QuorumSystem
from ringleader.errors import ConfigError
from ringleader.limits import BLOCK_BYTES_MAX, TIMER_TICKS_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreConfig:
    """Settings of one node; all nodes of a group should have the same.

    A tick is whatever time passes between two calls of the core's `tick()`.  Sections are those of
    the Raft paper, or of Ongaro's dissertation.

    Attributes:
        election_ticks: a follower that hears nothing for so many ticks (and a random number up to
            as many more) campaigns (§5.2).  Wants two round trips to a quorum, and a heartbeat, at
            least.
        heartbeat_ticks: a leader is heard at least so often.
        pre_vote: ask before raising the term, or the ballot (dissertation §9.6).
        check_quorum: a leader that hears no quorum for `election_ticks` steps down, and followers
            that hear a leader ignore candidates (§6.2, §4.2.3).
        lease: serve reads without a round of messages while a quorum has lately answered (§6.4.1).
            Safe only if `clock_drift` holds and every tick that has passed is reported before a
            read.
        clock_drift: bound on how much faster or slower than real time any node's ticks run, as a
            fraction: 0.1 means that a tick lasts between T / 1.1 and 1.1 T.
        max_block_bytes: entries sent in one message (one entry may be larger).
        max_inflight_entries, max_inflight_bytes: sent to one follower and not yet acknowledged.
        max_uncommitted_bytes: entries that a leader holds and has not committed, made durable and
            applied; proposals over it are refused (one is always taken when nothing is pending).
        max_apply_bytes: payloads handed over for application at a time (one entry may be larger).
        snapshot_chunk_bytes, max_inflight_chunks: how a snapshot is sent.
        max_pending_reads: reads that wait for a quorum; more are refused.
        eager_commit: tell followers at once when the commit index moves and nothing else is to be
            sent.
        priorities, priority_ticks: which nodes should lead: a node with a higher number takes over
            from one with a lower one (0 when absent) once it has been up to date for so long.
        quorum: makes the quorum system of a tuple of voters.
    """

    election_ticks: int = 10
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    check_quorum: bool = True
    lease: bool = False
    clock_drift: float = 0.1
    max_block_bytes: int = 2**20
    max_inflight_entries: int = 2**20
    max_inflight_bytes: int = 2**26
    max_uncommitted_bytes: int = 2**28
    max_apply_bytes: int = 2**26
    snapshot_chunk_bytes: int = 2**18
    max_inflight_chunks: int = 8
    max_pending_reads: int = 2**16
    eager_commit: bool = True
    priorities: Mapping[NodeId, int] = field(default_factory=lambda: MappingProxyType({}))
    priority_ticks: int = 30
    quorum: Callable[[tuple[NodeId, ...]], QuorumSystem] = Majority

    def __post_init__(self) -> None:
        for name, low, high in (
            ("election_ticks", 2, TIMER_TICKS_MAX // 4),
            ("heartbeat_ticks", 1, TIMER_TICKS_MAX),
            ("max_block_bytes", 1, BLOCK_BYTES_MAX),
            ("max_inflight_entries", 1, 2**40),
            ("max_inflight_bytes", 1, 2**40),
            ("max_uncommitted_bytes", 1, 2**40),
            ("max_apply_bytes", 1, 2**40),
            ("snapshot_chunk_bytes", 1, BLOCK_BYTES_MAX),
            ("max_inflight_chunks", 1, 2**20),
            ("max_pending_reads", 1, 2**30),
            ("priority_ticks", 0, 2**40),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{name}={value!r} is no integer in {low} ... {high}")
        if self.heartbeat_ticks >= self.election_ticks:
            raise ConfigError(
                f"heartbeat_ticks={self.heartbeat_ticks} must be below election_ticks="
                f"{self.election_ticks}, or followers campaign between two heartbeats"
            )
        for name in ("pre_vote", "check_quorum", "lease", "eager_commit"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}={getattr(self, name)!r} is neither True nor False")
        if not isinstance(self.clock_drift, int | float):
            raise ConfigError(f"clock_drift={self.clock_drift!r} is no number")
        if not isinstance(self.priorities, Mapping) or not all(
            isinstance(priority, int) for priority in self.priorities.values()
        ):
            raise ConfigError("priorities maps node ids to integers")
        if not callable(self.quorum):
            raise ConfigError(f"quorum={self.quorum!r} makes no quorum system of a tuple of voters")
        if not 0.0 <= self.clock_drift < 1.0:
            raise ConfigError(f"clock_drift={self.clock_drift!r} lies outside 0 ... 1")
        if self.lease and not self.check_quorum:
            raise ConfigError(
                "lease=True needs check_quorum=True: only so do followers keep the lease"
            )
        if self.lease and self.lease_ticks <= self.heartbeat_ticks:
            raise ConfigError(
                f"with clock_drift={self.clock_drift} a lease lasts {self.lease_ticks} ticks, "
                f"which is not above heartbeat_ticks={self.heartbeat_ticks}: raise election_ticks"
            )

    @property
    def lease_ticks(self) -> int:
        """How long a lease lasts, in the leader's ticks since it sent the round that was answered.

        A follower that answered protects its leader for `election_ticks` of its own ticks, the
        first of which may be cut short: at least (election_ticks - 1) * T / (1 + drift).  The
        leader that has counted n ticks since it sent is at most (n + 1) * T * (1 + drift) later.
        """
        slack = (1.0 + self.clock_drift) ** 2
        return int((self.election_ticks - 1) / slack) - 1
