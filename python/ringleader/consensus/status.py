"""What an operator wants to see of any core: values, not views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringleader.consensus.membership import Membership, NodeId


@dataclass(frozen=True, slots=True)
class CorePeerStatus:
    """One other member, as the leader sees it.  `lag` is in entries; `active`: heard lately."""

    id: NodeId
    match: int
    next: int
    lag: int
    inflight_entries: int
    inflight_bytes: int
    active: bool


@dataclass(frozen=True, slots=True)
class CoreStatus:
    """One node."""

    id: NodeId
    role: str
    term: int
    leader: NodeId | None
    membership: Membership
    commit: int
    last_applied: int
    stable: int
    first: int
    last: int
    last_term: int
    log_bytes: int
    snapshot_index: int
    uncommitted_bytes: int
    pending_reads: int
    has_lease: bool
    transferee: NodeId | None
    receiving_snapshot_bytes: int
    ticks: int
    rejected: Mapping[str, int]
