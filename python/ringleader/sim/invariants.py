"""Raft's numbered invariants, and the checker that watches every node for them.

From what it sees of a run (`sim.checker`) the checker keeps, for each node, what its log holds and
what of it is durable, and for the whole group one ledger of what is committed.  Every check costs a
constant for each entry that changed and nothing for the others: no log is ever read again.

How one log is compared with all others in a constant: entries of one term come from one leader,
which appends them in order, so every log that holds any of them holds a run that begins at the same
index, after an entry of the same term.  The checker keeps that run for each term; a log that agrees
with it entry by entry, and at its first entry with the term before, agrees with every other log
that does (log matching, by induction).  Then two logs that hold the same term at one index are
equal up to it, and all that remains compares two integers.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from typing import Any

from ringleader.consensus.config import CoreConfig
from ringleader.consensus.log import CONTROL_BIT
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    RequestVote,
    SnapshotReply,
    VoteReply,
)
from ringleader.consensus.ready import HardState, Ready, Snapshot
from ringleader.sim.checker import (
    COMMON,
    BaseShadow,
    Checker,
    Invariant,
    membership_of,
    read_block,
)
from ringleader.sim.clock import Clock

_TERM = CONTROL_BIT - 1


INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        1,
        "election safety",
        "a term has at most one leader, across all crashes, elected by the durable votes of a "
        "quorum of the configuration in force; a node votes once a term",
        "Raft §5.2, figure 3",
    ),
    Invariant(
        2,
        "leader append-only",
        "a leader never overwrites or drops an entry of its log",
        "Raft §5.3, figure 3",
    ),
    Invariant(
        3,
        "log matching",
        "two logs with an entry of the same index and term are the same up to it",
        "Raft §5.3, figure 3",
    ),
    Invariant(
        4,
        "leader completeness",
        "a leader's log holds every entry that was committed in an earlier term",
        "Raft §5.4, figure 3",
    ),
    Invariant(
        5,
        "state machine safety",
        "all nodes apply the same entries: each once a life, in order, none before it is committed",
        "Raft §5.4.3, figure 3",
    ),
    Invariant(
        6,
        "durability",
        "nothing is said that is not durable: a term, a vote, an entry that a message claims; what "
        "was durable is there after a restart, and nothing that was never written",
        "Raft figure 2 (persistent state), §5.1",
    ),
    Invariant(
        7,
        "commitment",
        "the commit index never goes back nor beyond the log; a leader moves it only to entries of "
        "its own term that a quorum holds durably",
        "Raft §5.3, §5.4.2, figure 8",
    ),
    Invariant(
        8,
        "membership",
        "at most one change is uncommitted, none begins before the leader's term has committed an "
        "entry, and the quorums of two successive configurations intersect",
        "Raft §6; dissertation §4.1-4.3; the correction of 2015 to single-server changes",
    ),
    Invariant(
        9,
        "reads",
        "a read is never older than an entry that was committed before it began, and so than a "
        "write that was acknowledged",
        "Raft §8; dissertation §6.4",
    ),
    Invariant(
        10,
        "messages",
        "what goes out is well-formed and true: sent by whom it names, appends by that term's "
        "leader and as its log has them",
        "Raft figure 2",
    ),
    Invariant(
        11,
        "no disruption",
        "a pre-vote changes no term, and with pre-vote a node campaigns only after a quorum said "
        "it would vote for it, or its leader told it to",
        "dissertation §9.6, §3.10",
    ),
    Invariant(
        12,
        "liveness",
        "once all is healed, a leader exists, every client is answered and all members apply the "
        "same log, within a bound of virtual time",
        "Raft §5.4.3, §5.6",
    ),
    Invariant(
        13,
        "linearizability",
        "the clients' history is one that a single machine could have given",
        "Raft §8; Herlihy and Wing",
    ),
    *COMMON,
)


class _Run:
    """The entries of one term, as its leader appended them.

    start       index of the first.
    before      the term of the entry before it.
    words       the words of the column of terms, in order.
    items       (index, payload), in the same order.
    """

    __slots__ = ("before", "items", "start", "words")

    def __init__(self, start: int, before: int) -> None:
        self.start = start
        self.before = before
        self.words: list[int] = []
        self.items: list[tuple[int, bytes]] = []


class Shadow(BaseShadow):
    """What the checker knows of one node; see `BaseShadow`.

    words           the log that the node has in memory, as far as it was handed to the disk; by
                    index, words[0] = 0.  Advanced by `wrote`.  Invariant: it equals the ledger
                    up to the node's commit index.
    durable         the same for the disk.  Advanced by `synced`.
    pending         (ready, first, words, index of a snapshot).
    configs         (index, membership), ascending: the configurations in `words`.
    bare            it is a witness: its log has no payloads.
    """

    __slots__ = ("bare", "configs", "durable", "words")

    def __init__(self, node: NodeId) -> None:
        self.words: list[int] = [0]
        self.durable: list[int] = [0]
        self.configs: list[tuple[int, Membership]] = []
        self.bare = False
        super().__init__(node)


def has_quorum(membership: Membership, holds: Container[NodeId]) -> bool:
    """Whether those in `holds` are a majority of the voters, and of the outgoing ones (§6)."""
    for voters in (membership.voters, membership.outgoing):
        if voters and 2 * sum(voter in holds for voter in voters) <= len(voters):
            return False
    return True


def intersect(one: Membership, other: Membership) -> bool:
    """Whether every quorum of `one` shares a voter with every quorum of `other`.

    Two majorities always meet when one half of the two configurations is the same set of voters, or
    when two of their halves differ in a single voter.
    """
    return any(
        len({*mine} ^ {*theirs}) <= 1
        for mine in (one.voters, one.outgoing)
        for theirs in (other.voters, other.outgoing)
        if mine and theirs
    )


class RaftChecker(Checker[Shadow]):
    """See `Checker`."""

    invariants = INVARIANTS
    place = "entry"

    def __init__(
        self,
        voters: Membership,
        clock: Clock,
        config: CoreConfig,
        *,
        describe: Callable[[tuple[Any, ...]], str] = repr,
        elected: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(voters, clock, config, describe=describe, elected=elected)
        #: The committed entries' words, by index; [0] stands for the empty log.
        self.ledger: list[int] = [0]
        #: Term -> the highest index that its leader was the first to commit.
        self.committed: dict[int, int] = {}
        self.runs: dict[int, _Run] = {}
        #: Term -> voter -> whom it voted for, durably.
        self.grants: dict[int, dict[NodeId, NodeId]] = {}
        #: (term, candidate) -> who said that it would vote for it.
        self.pre_grants: dict[tuple[int, NodeId], set[NodeId]] = {}
        self._sent |= {
            RequestVote: self._sent_request_vote,
            VoteReply: self._sent_vote_reply,
            AppendEntries: self._sent_append,
            AppendReply: self._sent_append_reply,
            InstallSnapshot: self._sent_install,
            SnapshotReply: self._sent_snapshot_reply,
        }

    def _new_shadow(self, node: NodeId) -> Shadow:
        return Shadow(node)

    @property
    def committed_last(self) -> int:
        return len(self.ledger) - 1

    def configurations(self) -> Iterable[Membership]:
        return [shadow.configs[-1][1] for shadow in self.shadows.values() if shadow.configs]

    # --- lives -------------------------------------------------------------------------------

    def started(
        self, node: NodeId, core: Any, hard_state: HardState, snapshot: Snapshot | None, log: Any
    ) -> None:
        s = self.shadow(node)
        snapshot_index = snapshot.index if snapshot is not None else 0
        self._check_hard_state(s, hard_state, snapshot_index)
        base, last = log.base, log.last
        if base >= len(self.ledger) or (base and log.base_term != self.ledger[base] & _TERM):
            self.violate(6, node, f"its log begins after {base}, which was never committed")
        words = self.ledger[: base + 1]
        if last > base:
            words += log.terms.tolist()
        # What was durable and is not about to be replaced by a write under way is still there.
        kept = len(s.durable) - 1
        for _, first, replaced, _ in s.pending:
            if replaced is not None:
                kept = min(kept, first - 1)
        if len(words) <= kept or words[kept] != s.durable[kept]:
            self.violate(6, node, f"entry {kept} was durable and is lost; its log ends at {last}")
        furthest = max(len(s.durable), len(s.words))
        if len(words) > furthest:
            self.violate(6, node, f"its log ends at {last}, but it never wrote past {furthest - 1}")
        if s.pending:
            self.coverage["restarts with writes under way"] += 1
            if len(words) < len(s.words):
                self.coverage["restarts that lost unsynced writes"] += 1
        self._begin_life(s, core, hard_state, snapshot_index)
        s.words = words
        s.durable = words[:]
        s.configs = [(snapshot_index, snapshot.membership)] if snapshot is not None else []
        if last > base:
            items = [(index, bytes(log[index])) for index in range(base + 1, last + 1)]
            self._check_run(s, base + 1, words[base + 1 :], items)
            skip = snapshot_index - base  # what the snapshot covers is in its membership
            self._note_configs(s, snapshot_index + 1, words[snapshot_index + 1 :], items[skip:])
        if hard_state.vote is not None:  # it may have become durable without being confirmed
            self.grants.setdefault(hard_state.term, {})[node] = hard_state.vote
        s.commit = core.commit
        if s.commit >= len(self.ledger) or words[s.commit] != self.ledger[s.commit]:
            self.violate(7, node, f"restarts with commit index {s.commit}, which is not committed")
        s.last = last

    # --- the log -----------------------------------------------------------------------------

    def _check_run(
        self, s: Shadow, first: int, words: list[int], items: list[tuple[int, bytes]]
    ) -> None:
        """Compare new entries with those that the leader of their term appended (invariant 3)."""
        count = len(words)
        at = 0
        before = s.words[first - 1] & _TERM
        while at < count:
            term = words[at] & _TERM
            if words[-1] & _TERM == term:
                end = count
            else:
                end = at + 1
                while end < count and words[end] & _TERM == term:
                    end += 1
            run = self.runs.get(term)
            index = first + at
            if term < before:
                self.violate(3, s.id, f"entry {index} of term {term} stands after term {before}")
            if run is None:
                leader = self.leaders.get(term)
                if leader != s.id:
                    self.violate(
                        3, s.id, f"entry {index} of term {term}, which {leader} leads, is not its"
                    )
                run = self.runs[term] = _Run(index, before)
            elif before != term and (run.start != index or run.before != before):
                self.violate(
                    3,
                    s.id,
                    f"term {term} begins at {index} after term {before}, but at {run.start} after "
                    f"term {run.before} elsewhere",
                )
            offset = index - run.start
            known = len(run.words)
            if offset > known or offset < 0:
                self.violate(3, s.id, f"entry {index} of term {term}: its leader never wrote it")
            some_words = words if end - at == count else words[at:end]
            some_items = items if end - at == count else items[at:end]
            shared = min(known - offset, end - at)
            if shared and (
                run.words[offset : offset + shared] != some_words[:shared]
                or (run.items[offset : offset + shared] != some_items[:shared] and not s.bare)
            ):
                self._differ(s, run, offset, some_words, some_items)
            if shared < end - at:
                if self.leaders.get(term) != s.id:
                    self.violate(
                        3,
                        s.id,
                        f"entry {index + shared} of term {term} is not from its leader, "
                        f"{self.leaders.get(term)}",
                    )
                run.words += some_words[shared:]
                run.items += some_items[shared:]
                self._check_controls(s, run, offset + shared)
            before = term
            at = end

    def _differ(
        self, s: Shadow, run: _Run, offset: int, words: list[int], items: list[tuple[int, bytes]]
    ) -> None:
        for place, (word, item) in enumerate(zip(words, items, strict=True), offset):
            if place >= len(run.words):
                break
            if word != run.words[place] or (item != run.items[place] and not s.bare):
                self.violate(
                    3,
                    s.id,
                    f"entry {item[0]} of term {word & _TERM} is {item[1]!r} here and "
                    f"{run.items[place][1]!r} elsewhere",
                )

    def _check_controls(self, s: Shadow, run: _Run, offset: int) -> None:
        """The leader appended entries: are any of them configurations, and allowed (8)?"""
        for place in range(offset, len(run.words)):
            if not run.words[place] & CONTROL_BIT:
                continue
            index, payload = run.items[place]
            after = membership_of(payload)
            if after is None:
                continue
            self.coverage["configurations"] += 1
            before = self.initial
            for at, membership in reversed(s.configs):
                if at < index:
                    before = membership
                    if at > s.commit:
                        self.violate(
                            8,
                            s.id,
                            f"the configuration at {index} comes while that at {at} is not "
                            f"committed (commit index {s.commit})",
                        )
                    break
            if s.commit >= len(s.words) or s.words[s.commit] & _TERM != s.term:
                self.violate(
                    8,
                    s.id,
                    f"the configuration at {index} comes before an entry of term {s.term} is "
                    "committed",
                )
            if before.members and not intersect(before, after):
                self.violate(
                    8, s.id, f"at {index} {after!r} follows {before!r}: their quorums may not meet"
                )
            if after.learners:
                self.coverage["members with learners"] += 1
            if after.witnesses:
                self.coverage["members with witnesses"] += 1
            if after.joint and not before.joint:
                self.coverage["joint configurations entered"] += 1
            elif before.joint and not after.joint:
                self.coverage["joint configurations left"] += 1

    def _note_configs(
        self, s: Shadow, first: int, words: list[int], items: list[tuple[int, bytes]]
    ) -> None:
        """Keep the configurations of a node's log as its entries from `first` on are replaced."""
        configs = s.configs
        s.membership = None  # what is in force is looked at again
        while configs and configs[-1][0] >= first:
            configs.pop()
        if max(words, default=0) & CONTROL_BIT:
            for word, (index, payload) in zip(words, items, strict=True):
                if word & CONTROL_BIT and (membership := membership_of(payload)) is not None:
                    configs.append((index, membership))

    # --- the disk ----------------------------------------------------------------------------

    def died(self, node: NodeId, core: Any) -> None:
        """A node died within a step: a leader's new entries may have left before it had them."""
        s = self.shadows[node]
        first = len(s.words)
        if core.role == "leader" and first <= core.log.last:
            self._learn_leader(s, core)
            if s.leads == core.term and core.commit != s.commit:
                self._learn_commit(s, core)
            self._check_run(s, first, *read_block(core.log.block(first, core.log.last + 1)))

    def wrote(self, node: NodeId, core: Any, ready: Ready) -> None:
        s = self.shadows[node]
        first = 0
        words: list[int] | None = None
        snapshot_index = 0
        if ready.snapshot is not None:
            snapshot_index = ready.snapshot.index
            ledger = self.ledger
            if (
                snapshot_index >= len(ledger)
                or ledger[snapshot_index] & _TERM != ready.snapshot.term
            ):
                self.violate(5, node, f"installs {ready.snapshot!r}, which was never committed")
            s.words = ledger[: snapshot_index + 1]
            first, words = snapshot_index + 1, []
            s.configs = [(snapshot_index, ready.snapshot.membership)]
            s.last = snapshot_index
            self.coverage["snapshots installed"] += 1
        block = ready.block
        if block is not None:
            first = block.first
            own = s.words
            last = len(own) - 1
            if first > last + 1:
                self.violate(3, node, f"writes entries from {first} on; its log ends at {last}")
            words, items = read_block(block)
            if first <= last:
                if s.leads and s.leads == s.term == core.term:
                    self.violate(
                        2, node, f"leads term {s.term} and overwrites its log from {first} on"
                    )
                if first < len(self.ledger) and first <= s.commit:
                    self.violate(5, node, f"overwrites entry {first}; {s.commit} is committed")
                self.coverage["conflicting tails replaced"] += 1
            self._learn_leader(s, core)
            if s.leads == core.term and core.commit != s.commit:
                self._learn_commit(s, core)
            if words[-1] & _TERM > core.term:
                self.violate(3, node, f"writes an entry of term {words[-1] & _TERM} in an earlier")
            self._check_run(s, first, words, items)
            if block.has_control or first <= last:
                self._note_configs(s, first, words, items)
            if first <= last:
                del own[first:]
            own += words
            s.last = block.last
        if block is not None or snapshot_index or ready.hard_state is not None:
            s.pending.append((ready, first, words, snapshot_index))

    def _synced(self, s: Shadow, ready: Ready, pending: Any) -> None:
        node = s.id
        _, first, words, snapshot_index = pending
        if snapshot_index:
            s.snapshot = snapshot_index
            s.durable = self.ledger[: snapshot_index + 1]
        if words:
            durable = s.durable
            if first < len(durable):
                del durable[first:]
            durable += words
        hard_state = ready.hard_state
        if hard_state is not None:
            term, vote = hard_state.term, hard_state.vote
            if term < s.durable_term:
                self.violate(6, node, f"writes term {term} after term {s.durable_term}")
            if term == s.durable_term and s.durable_vote not in (None, vote):
                self.violate(
                    1, node, f"votes for {vote} in term {term} after it had for {s.durable_vote}"
                )
            s.durable_term, s.durable_vote = term, vote
            if vote is not None:
                voters = self.grants.setdefault(term, {})
                if voters.setdefault(node, vote) != vote:
                    self.violate(
                        1, node, f"votes for {vote} in term {term}, earlier for {voters[node]}"
                    )

    # --- the network -------------------------------------------------------------------------

    def _sent_request_vote(self, s: Shadow, core: Any, message: RequestVote) -> None:
        term = message.term
        # Later, it may wait for the disk while another is followed already.
        stands = core.role == ("pre-candidate" if message.pre else "candidate")
        if stands and core.term == term - message.pre and not core.has_ready:
            last = len(s.words) - 1
            if message.last_index != last or message.last_term != s.words[last] & _TERM:
                self.violate(
                    10,
                    s.id,
                    f"sends {message!r}, but its log ends at {last}, "
                    f"in term {s.words[last] & _TERM}",
                )
        if message.pre:
            self.coverage["pre-votes asked for"] += 1
            return
        if term > s.durable_term:
            self._not_durable(s, message)
        if self.grants.get(term, {}).get(s.id) != s.id:
            self.violate(6, s.id, f"sends {message!r}; its own vote is not durable")
        self.coverage["votes asked for"] += 1
        if self.pre_vote and (term - 1, s.id) not in self.told:
            membership = core.membership
            would = self.pre_grants.get((term, s.id), set()) | {s.id}
            if core.role == "candidate" and not has_quorum(membership, would):
                self.violate(
                    11,
                    s.id,
                    f"campaigns in term {term}, though only {sorted(map(str, would))} of "
                    f"{membership!r} would have voted for it",
                )

    def _sent_vote_reply(self, s: Shadow, core: Any, message: VoteReply) -> None:
        term = message.term
        if message.pre:
            if message.granted:
                self.pre_grants.setdefault((term, message.to), set()).add(s.id)
            else:
                self.coverage["pre-votes refused"] += 1
            return
        if term > s.durable_term:
            self._not_durable(s, message)
        if not message.granted:
            self.coverage["votes refused"] += 1
        elif self.grants.get(term, {}).get(s.id) != message.to:
            self.violate(
                6,
                s.id,
                f"sends {message!r}; its durable vote is {s.durable_vote} in term {s.durable_term}",
            )

    def _sent_append(self, s: Shadow, core: Any, message: AppendEntries) -> None:
        term = message.term
        if term > s.durable_term:
            self._not_durable(s, message)
        if self.leaders.get(term) != s.id:
            self._learn_leader(s, core)
            if self.leaders.get(term) != s.id:
                self.violate(10, s.id, f"sends {message!r} in the term of {self.leaders.get(term)}")
        if message.commit >= len(self.ledger) and message.commit > s.commit:
            self._learn_commit(s, core)
            if message.commit >= len(self.ledger):
                self.violate(
                    7, s.id, f"sends {message!r}; committed are {len(self.ledger) - 1} entries"
                )
        if s.leads != term:
            return  # it waited for the disk, and meanwhile the sender stepped down
        words = s.words
        prev = message.prev_index
        if prev < len(words) and words[prev] & _TERM != message.prev_term:
            self.violate(
                10, s.id, f"sends {message!r}; its own entry there is of term {words[prev] & _TERM}"
            )
        block = message.block
        if block is not None:
            last = block.last
            if block.first != prev + 1:
                self.violate(10, s.id, f"sends {message!r}: the block does not follow")
            if last < len(words):
                if words[last] & _TERM != block.last_term:
                    self.violate(
                        10, s.id, f"sends {message!r}; its own entry {last} is of another term"
                    )
            elif prev < len(words):
                # Sent before it was handed to the disk: its followers may hold it first.
                run = self.runs.get(block.last_term)
                if run is None or last >= run.start + len(run.words):
                    if core.commit != s.commit:
                        self._learn_commit(s, core)
                    some_words, items = read_block(block)
                    self._check_run(s, block.first, some_words, items)

    def _sent_append_reply(self, s: Shadow, core: Any, message: AppendReply) -> None:
        if message.term > s.durable_term:
            self._not_durable(s, message)
        match = message.match
        if message.refused:
            self.coverage["appends refused"] += 1
            if message.hint_index > match:
                self.violate(10, s.id, f"sends {message!r}: the hint lies past the refusal")
            return
        durable = s.durable
        if match >= len(durable):
            self.violate(6, s.id, f"sends {message!r}; durable are {len(durable) - 1} entries")
        leader = self.shadows.get(message.to)
        if leader is not None and leader.leads == message.term and match < len(leader.words):
            if leader.words[match] != durable[match]:
                self.violate(
                    6,
                    s.id,
                    f"sends {message!r}; its durable entry {match} is of term "
                    f"{durable[match] & _TERM}, the leader's of {leader.words[match] & _TERM}",
                )
        elif leader is not None and leader.leads == message.term:
            run = self.runs.get(message.term)
            if run is None or match >= run.start + len(run.words):
                self.violate(10, s.id, f"sends {message!r}, but its leader never had so many")

    def _sent_install(self, s: Shadow, core: Any, message: InstallSnapshot) -> None:
        if message.term > s.durable_term:
            self._not_durable(s, message)
        if self.leaders.get(message.term) != s.id:
            self.violate(10, s.id, f"sends {message!r}, and leads no such term")
        index = message.index
        if index >= len(self.ledger) or self.ledger[index] & _TERM != message.index_term:
            self.violate(10, s.id, f"sends {message!r}: no such entry was committed")
        if message.offset + len(message.data) > message.total_bytes:
            self.violate(10, s.id, f"sends {message!r}: more than there is")
        self.coverage["snapshot chunks sent"] += 1

    def _sent_snapshot_reply(self, s: Shadow, core: Any, message: SnapshotReply) -> None:
        if message.term > s.durable_term:
            self._not_durable(s, message)
        if message.installed:
            index = message.index
            if index > s.snapshot and (
                index >= len(s.durable) or s.durable[index] != self.ledger[index]
            ):
                self.violate(6, s.id, f"sends {message!r}; its snapshot is at {s.snapshot}")
        elif message.offset:
            self.coverage["snapshot chunks confirmed"] += 1

    # --- what the node says of itself --------------------------------------------------------

    def after(self, node: NodeId, core: Any) -> None:
        s = self.shadows[node]
        term = core.term
        if term != s.term:
            if term < s.term:
                self.violate(6, node, f"its term goes back from {s.term} to {term}")
            s.term = term
            s.vote = core.vote
            s.leads = 0
            s.role = ""
        elif core.vote != s.vote:
            if s.vote is not None:
                self.violate(1, node, f"votes for {core.vote} in term {term}, after {s.vote}")
            s.vote = core.vote
        if core.commit != s.commit:
            self._learn_commit(s, core)
        if core.role != s.role:
            self._learn_role(s, core)
        if core.membership is not s.membership:
            self._learn_membership(s, core)
        if core.stable != s.stable:
            self._learn_stable(s, core.stable, s.durable, s.words)
        log = core.log
        if log.last != s.last and not core.has_ready:
            self.violate(
                2 if s.leads else 6,
                node,
                f"its log ends at {log.last}, but what it handed to the disk at {s.last}",
            )

    def _check_leader(self, s: Shadow, core: Any) -> None:
        term = core.term
        leader = self.leaders.setdefault(term, s.id)
        if leader != s.id:
            self.violate(1, s.id, f"leads term {term}, which {leader} has led")
        membership = core.membership
        voted = {voter for voter, whom in self.grants.get(term, {}).items() if whom == s.id}
        if not has_quorum(membership, voted):
            self.violate(
                1,
                s.id,
                f"leads term {term} by the durable votes of {sorted(map(str, voted))} of "
                f"{membership!r}",
            )
        if membership.is_witness(s.id):
            self.violate(8, s.id, f"is a witness and leads term {term}")
        # Votes can come so late that a leader of a later term has committed entries meanwhile.
        last = max([0, *(index for by, index in self.committed.items() if by < term)])
        if last >= len(s.words) or s.words[last] != self.ledger[last]:
            self.violate(
                4,
                s.id,
                f"leads term {term}, but entry {last} (term {self.ledger[last] & _TERM}) is "
                f"committed and not in its log, which ends at {len(s.words) - 1}",
            )

    def _was_told(self, s: Shadow, term: int) -> bool:
        return (term - 1, s.id) in self.told

    def _learn_commit(self, s: Shadow, core: Any) -> None:
        commit = core.commit
        if commit == s.commit:
            return
        if commit < s.commit:
            self.violate(7, s.id, f"its commit index goes back from {s.commit} to {commit}")
        words = s.words
        ledger = self.ledger
        # A leader that is not in the configuration it commits stops leading at once.
        is_leader = core.role == "leader" or s.leads == core.term > 0
        if core.has_ready and not is_leader:
            return  # looked at again once its log was handed to the disk
        if commit >= len(words):
            self.violate(7, s.id, f"commits {commit}; its log ends at {len(words) - 1}")
        s.commit = commit
        if not is_leader:
            if commit >= len(ledger) or words[commit] != ledger[commit]:
                self.violate(
                    7,
                    s.id,
                    f"commits {commit} of term {words[commit] & _TERM}, which no leader committed",
                )
            return
        self._learn_leader(s, core)
        word = words[commit]
        if word & _TERM != core.term:
            self.violate(
                7,
                s.id,
                f"leads term {core.term} and commits entry {commit} of term {word & _TERM} by "
                "counting",
            )
        shadows = self.shadows
        membership = core.membership
        holders = {
            voter
            for voter in membership.members
            if (other := shadows.get(voter)) is not None
            and (
                (commit < len(other.durable) and other.durable[commit] == word)
                or other.snapshot >= commit
            )
        }
        if not has_quorum(membership, holders):
            self.violate(
                7,
                s.id,
                f"commits entry {commit}, durable on {sorted(map(str, holders))} of {membership!r}",
            )
        if commit < len(ledger):
            if ledger[commit] != word:
                self.violate(4, s.id, f"commits another entry {commit} than was committed")
            return
        begin = len(ledger)
        if words[begin - 1] != ledger[begin - 1]:
            self.violate(4, s.id, f"commits {commit}, but its entry {begin - 1} is another")
        ledger += words[begin : commit + 1]
        self.committed[core.term] = commit
        # An answer that was under way can complete a commitment after the next leader's election.
        for other in shadows.values():
            if other.leads > core.term and (
                commit >= len(other.words) or other.words[commit] != word
            ):
                self.violate(
                    4, other.id, f"leads term {other.leads} without the committed entry {commit}"
                )

    def _learn_membership(self, s: Shadow, core: Any) -> None:
        membership = core.membership
        s.bare = membership.is_witness(s.id)
        if core.has_ready:
            return
        s.membership = membership
        latest = s.configs[-1][1] if s.configs else None
        if latest is not None and latest != membership:
            self.violate(
                8, s.id, f"{membership!r} is in force, but the latest in its log is {latest!r}"
            )

    # --- the state machine -------------------------------------------------------------------

    def applied(
        self, node: NodeId, core: Any, first: int, last: int, items: list[tuple[int, bytes]]
    ) -> int:
        s = self.shadows[node]
        if first != s.applied + 1:
            self.violate(5, node, f"applies {first}..{last} after {s.applied}")
        ledger = self.ledger
        if last >= len(ledger):
            self._learn_commit(s, core)
        if last >= len(ledger) or last > core.commit:
            self.violate(5, node, f"applies {last}; its commit index is {core.commit}")
        if last < len(s.words) and s.words[last] != ledger[last]:
            self.violate(5, node, f"applies {last}; another entry was committed there")
        if last >= len(s.durable) or s.durable[last] != ledger[last]:
            self.violate(6, node, f"applies {last}, which is not durable here")
        return self._apply(s, first, last, items)

    def _command(self, index: int) -> tuple[int, bytes] | None:
        word = self.ledger[index]
        if word & CONTROL_BIT:
            return None
        run = self.runs[word & _TERM]
        return run.items[index - run.start]
