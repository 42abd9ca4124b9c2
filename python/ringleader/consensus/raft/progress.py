"""What a leader knows of one other member, and how it sends to it.

probe       the leader does not know where the logs agree: one message at a time, until it is
            accepted (§5.3: nextIndex is decremented after a refusal)
replicate   the logs agree: messages follow one another without waiting, as many as the window has
            room for
snapshot    the entries it needs are compacted: it is being sent a snapshot instead (§7)

probe ──accepted──► replicate ──refused──► probe ──entry compacted──► snapshot ──installed──►
replicate
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ringleader.consensus.membership import NodeId
from ringleader.consensus.progress import CoreProgress

if TYPE_CHECKING:
    from ringleader.consensus.ready import Snapshot

PROBE = 0
REPLICATE = 1
SNAPSHOT = 2
STATES = ("probe", "replicate", "snapshot")


class Progress(CoreProgress):
    """One member as its leader sees it: what `CoreProgress` has, and

    match       its log equals the leader's up to here.  Advanced by accepted replies of this term
                only.
    next        probe: the entry whose predecessor is being tried; what lies between match and next
                is in flight, and the window bounds it.
    state       see above.
    paused      probe: a message is under way; released by its reply, or by the next heartbeat.
    witness     it gets entries without payloads.
    snapshot    the one being sent, held so that it stays readable while newer ones are taken.
    offset      bytes of it that the member has acknowledged, in answer to round `offset_round`.
    sent        bytes of it that were sent.  Invariant: offset <= sent.
    stalled     ticks since `offset` moved.
    """

    __slots__ = (
        "offset",
        "offset_round",
        "paused",
        "sent",
        "snapshot",
        "stalled",
        "state",
        "witness",
    )

    def __init__(self, id: NodeId, next: int, witness: bool) -> None:
        CoreProgress.__init__(self, id, 0, next)
        self.state = PROBE
        self.paused = False
        self.witness = witness
        self.snapshot: Snapshot | None = None
        self.offset = 0
        self.offset_round = 0
        self.sent = 0
        self.stalled = 0

    def become_probe(self, next: int) -> None:
        self.state = PROBE
        self.paused = False
        self.snapshot = None
        self.next = next

    def become_replicate(self) -> None:
        self.state = REPLICATE
        self.paused = False
        self.snapshot = None
        self.next = self.match + 1

    def become_snapshot(self, snapshot: Snapshot) -> None:
        self.state = SNAPSHOT
        self.paused = False
        self.snapshot = snapshot
        self.next = snapshot.index + 1
        self.offset = self.sent = self.stalled = 0
        self.offset_round = 0

    def acknowledged(self, match: int) -> bool:
        """Take note of an accepted message; whether `match` moved."""
        if match <= self.match:
            return False
        self.match = match
        if self.next <= match:
            self.next = match + 1
        return True
