"""What an operator wants to see of a Raft node: values, not views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringleader.consensus.membership import Membership, NodeId


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One other member, as the leader sees it.  `lag` is in entries; `active`: heard lately."""

    id: NodeId
    state: str
    match: int
    next: int
    lag: int
    inflight_entries: int
    inflight_bytes: int
    active: bool
    paused: bool
    witness: bool
    snapshot_bytes_sent: int


@dataclass(frozen=True, slots=True)
class Status:
    """One node.  `peers` is empty but on the leader."""

    id: NodeId
    role: str
    term: int
    vote: NodeId | None
    leader: NodeId | None
    membership: Membership
    membership_index: int
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
    quiesced: bool
    receiving_snapshot_bytes: int
    ticks: int
    peers: tuple[PeerStatus, ...]
    rejected: Mapping[str, int]
