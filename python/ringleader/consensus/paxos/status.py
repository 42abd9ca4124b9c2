"""What an operator wants to see of a Multi-Paxos node: values, not views."""

from __future__ import annotations

from dataclasses import dataclass

from ringleader.consensus.membership import Membership
from ringleader.consensus.status import CorePeerStatus, CoreStatus


@dataclass(frozen=True, slots=True)
class PeerStatus(CorePeerStatus):
    """One other member, as the leader sees it.  `lag` is in entries; `beyond`: runs of slots that
    it holds after a gap; `active`: heard lately."""

    beyond: tuple[tuple[int, int], ...]
    promised: bool


@dataclass(frozen=True, slots=True)
class Status(CoreStatus):
    """One node.  `peers` and `chosen_beyond` (slots known to be chosen after a gap) are empty but
    on the leader; `ballot` is `term` as people read it, round.proposer."""

    ballot: str
    pending_membership: Membership | None
    chosen_beyond: tuple[tuple[int, int], ...]
    aside_entries: int
    aside_bytes: int
    nacks: int
    peers: tuple[PeerStatus, ...]
