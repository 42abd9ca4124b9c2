"""What a leader of Multi-Paxos knows of one other member.

Acceptances may come in any order, so beside the slots that a member holds without a gap there may
be runs of slots that it holds beyond one.
"""

from __future__ import annotations

from ringleader.consensus.membership import NodeId
from ringleader.consensus.progress import CoreProgress


class Progress(CoreProgress):
    """One member as its leader sees it: what `CoreProgress` has, and

    match       it has accepted all slots up to here that the leader had open: what counts for
                quorums.  `held()` is what it has of the whole log.
    beyond      runs (first, last) of slots of this ballot that it holds after a gap, ascending;
                neighbours do not touch.  Invariant: the first begins after match + 1.
    floor       where `match` began: the leader's commit index then, whatever the member held.
    known       up to where the member says that it knows all to be chosen, and holds it.
    mark        what had been sent when round `mark_round` was: if the answer to that round shows
                less, it was lost.
    """

    __slots__ = ("beyond", "floor", "known", "mark", "mark_round")

    def __init__(self, id: NodeId, floor: int) -> None:
        CoreProgress.__init__(self, id, floor, floor + 1)
        self.floor = floor
        self.known = 0
        self.beyond: list[tuple[int, int]] = []
        self.mark = 0
        self.mark_round = 0

    def held(self) -> int:
        """It holds the whole log up to here, durably."""
        return self.match if self.known >= self.floor else self.known

    def holds(self, first: int, last: int) -> bool:
        """Take note that it holds slots `first` ... `last`; whether `match` moved."""
        if last <= self.match:
            return False
        if first > self.match + 1:
            self._holds_beyond(first, last)
            return False
        self.match = last
        while self.beyond and self.beyond[0][0] <= self.match + 1:
            end = self.beyond.pop(0)[1]
            if end > self.match:
                self.match = end
        if self.next <= self.match:
            self.next = self.match + 1
        return True

    def _holds_beyond(self, first: int, last: int) -> None:
        runs = []
        for run in self.beyond:
            if run[1] + 1 < first or last + 1 < run[0]:
                runs.append(run)
            else:
                first, last = min(first, run[0]), max(last, run[1])
        runs.append((first, last))
        runs.sort()
        self.beyond = runs
        if self.next <= last and self.next >= first:
            self.next = last + 1

    def gaps(self, after: int, upto: int) -> list[tuple[int, int]]:
        """The runs of slots after `after`, up to `upto`, that it is not known to hold."""
        missing = []
        at = max(after, self.match) + 1
        for first, last in self.beyond:
            if first > upto:
                break
            if at < first:
                missing.append((at, first - 1))
            at = max(at, last + 1)
        if at <= upto:
            missing.append((at, upto))
        return missing
