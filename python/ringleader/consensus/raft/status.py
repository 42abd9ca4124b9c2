"""What an operator wants to see of a Raft node: values, not views."""

from __future__ import annotations

from dataclasses import dataclass

from ringleader.consensus.membership import NodeId
from ringleader.consensus.status import CorePeerStatus, CoreStatus


@dataclass(frozen=True, slots=True)
class PeerStatus(CorePeerStatus):
    """One other member, as the leader sees it.  `lag` is in entries; `active`: heard lately."""

    state: str
    paused: bool
    witness: bool
    snapshot_bytes_sent: int


@dataclass(frozen=True, slots=True)
class Status(CoreStatus):
    """One node.  `peers` is empty but on the leader."""

    vote: NodeId | None
    membership_index: int
    quiesced: bool
    peers: tuple[PeerStatus, ...]
