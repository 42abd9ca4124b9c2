"""What an operator wants to see of a Multi-Paxos node: values, not views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ringleader.consensus.membership import Membership, NodeId


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One other member, as the leader sees it.  `lag` is in entries; `beyond`: runs of slots that
    it holds after a gap; `active`: heard lately."""

    id: NodeId
    match: int
    next: int
    beyond: tuple[tuple[int, int], ...]
    lag: int
    inflight_entries: int
    inflight_bytes: int
    active: bool
    promised: bool


@dataclass(frozen=True, slots=True)
class Status:
    """One node.  `peers` and `chosen_beyond` (slots known to be chosen after a gap) are empty but
    on the leader; `ballot` is `term` as people read it, round.proposer."""

    id: NodeId
    role: str
    term: int
    ballot: str
    leader: NodeId | None
    membership: Membership
    pending_membership: Membership | None
    commit: int
    chosen_beyond: tuple[tuple[int, int], ...]
    last_applied: int
    stable: int
    first: int
    last: int
    last_term: int
    log_bytes: int
    aside_entries: int
    aside_bytes: int
    snapshot_index: int
    uncommitted_bytes: int
    pending_reads: int
    has_lease: bool
    transferee: NodeId | None
    receiving_snapshot_bytes: int
    ticks: int
    nacks: int
    peers: tuple[PeerStatus, ...]
    rejected: Mapping[str, int]
