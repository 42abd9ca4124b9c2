"""What a leader knows of one other member, whatever the algorithm."""

from __future__ import annotations

from ringleader.consensus.membership import NodeId


class CoreProgress:
    """One member as its leader sees it.

    match       it holds all entries up to here, durably.  Never goes back.
    next        the first entry that was not sent yet.  Invariant: match < next.
    commit      the highest commit index sent to it.
    round       the highest of the leader's rounds that it answered.  Invariant: at most the
                leader's.
    round_sent  the round that the last message to it carried.
    active      it was heard since the last time the leader counted its quorum.
    """

    __slots__ = ("active", "commit", "id", "match", "next", "round", "round_sent")

    def __init__(self, id: NodeId, match: int, next: int) -> None:
        self.id = id
        self.match = match
        self.next = next
        self.commit = 0
        self.round = 0
        self.round_sent = 0
        self.active = True
