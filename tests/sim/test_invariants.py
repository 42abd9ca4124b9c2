"""Each invariant fires: the checker is fed transitions that no correct node makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sim.checked import VOTERS, CheckedGroup, CheckedNode, StateMachineSafety, broken

from ringleader.consensus.constants import MEMBERSHIP
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership
from ringleader.consensus.raft.config import Config
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from ringleader.consensus.ready import BytesSource, Ready, Snapshot
from ringleader.sim.clock import Clock
from ringleader.sim.invariants import INVARIANTS, RaftChecker, intersect


class Group(CheckedGroup[RaftChecker, CheckedNode]):
    def __init__(self, **options: Any) -> None:
        super().__init__(RaftChecker(VOTERS, Clock(), Config(**options)), CheckedNode)

    def elect(self, id: int, term: int, voters: Sequence[int] = (1, 2)) -> CheckedNode:
        for voter in voters:
            node = self[voter]
            node.term, node.vote, node.role = term, id, "follower"
            node.write()
            node.after()
        leader = self[id]
        leader.role = "leader"
        leader.after()
        return leader

    def replicate(self, leader: int, payloads: Sequence[bytes], to: Sequence[int]) -> None:
        """The leader appends, and others hold it durably."""
        self[leader].write(payloads)
        for id in to:
            node = self[id]
            if node.term != self[leader].term:
                node.term, node.vote = self[leader].term, None
            node.write(payloads)
            node.after()


@pytest.fixture
def group() -> Group:
    return Group()


def test_the_table_is_numbered_without_gaps() -> None:
    assert [invariant.number for invariant in INVARIANTS] == list(range(1, len(INVARIANTS) + 1))
    assert all(invariant.text and invariant.source for invariant in INVARIANTS)


def test_a_life_without_faults_passes(group: Group) -> None:
    leader = group.elect(1, 1)
    group.replicate(1, [b"a", b"b"], to=(2,))
    group[2].send(AppendReply(2, 1, 1, 2))
    leader.commit_to(2)
    leader.send(AppendEntries(1, 3, 1, 0, 0, 2, 1, Block.pack(1, 1, [b"a", b"b"])))
    group.replicate(1, [b"c"], to=(2,))
    leader.commit_to(3)
    for id in (1, 2):
        group[id].commit_to(3)
        group[id].apply(1, b"a", b"b")
        group[id].apply(3, b"c")
    assert len(group.checker.ledger) == 4
    assert group.checker.coverage["elections won"] == 1


def test_a_violation_tells_number_node_time_and_story(group: Group) -> None:
    group.checker.clock.run(1_500_000)
    group.checker.trace.append((1, "what", 2, "happened"))
    with broken(6) as caught:
        group[3].send(VoteReply(3, 1, 1, True))
    violation = caught.value
    assert (violation.number, violation.node, violation.time) == (6, 3, 1.5)
    assert violation.story == ("(1, 'what', 2, 'happened')",)


class Test1ElectionSafety:
    def test_two_leaders_in_one_term(self, group: Group) -> None:
        group.elect(1, 1)
        group[3].term, group[3].role = 1, "leader"
        with broken(1, "which 1 has led"):
            group[3].after()

    def test_a_leader_without_a_quorum(self, group: Group) -> None:
        with broken(1, "durable votes of"):
            group.elect(1, 1, voters=(1,))

    def test_a_leader_by_votes_for_another(self, group: Group) -> None:
        group[2].term, group[2].vote = 1, 3
        group[2].write()
        with broken(1, "durable votes"):
            group.elect(1, 1, voters=(1,))

    def test_a_vote_that_is_not_durable_elects_nobody(self, group: Group) -> None:
        group[2].term, group[2].vote = 1, 1
        group[2].write(sync=False)
        with broken(1, "durable votes"):
            group.elect(1, 1, voters=(1,))

    def test_a_second_vote_in_a_term(self, group: Group) -> None:
        node = group[2]
        node.term, node.vote = 1, 1
        node.write()
        node.vote = 3
        with broken(1, "votes for 3 in term 1"):
            node.write()

    def test_a_second_vote_in_memory(self, group: Group) -> None:
        node = group[2]
        node.term, node.vote = 1, 1
        node.after()
        node.vote = 3
        with broken(1, "after 1"):
            node.after()


def test_2_a_leader_overwrites_its_log(group: Group) -> None:
    leader = group.elect(1, 1)
    leader.write([b"a", b"b"])
    with broken(2, "overwrites its log from 2"):
        leader.write([b"c"], first=2)


def test_2_a_leader_drops_its_tail(group: Group) -> None:
    leader = group.elect(1, 1)
    leader.write([b"a", b"b"])
    leader.log.truncate(2)
    with broken(2, "ends at 1"):
        leader.after()


class Test3LogMatching:
    def test_another_payload(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a", b"b"])
        with broken(3, "entry 2 of term 1 is b'x' here"):
            group[2].write([b"a", b"x"])

    def test_another_predecessor(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a", b"b"])
        group[2].write([b"a"])
        group.elect(2, 2, voters=(2, 3))
        group[2].write([b"c"])
        group[3].term = 2
        with broken(3, "begins at"):
            group[3].write([b"c"])  # at 1, not at 2

    def test_an_entry_that_its_leader_never_wrote(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[2].write([b"a"])
        with broken(3, "not from its leader"):
            group[2].write([b"b"])

    def test_an_entry_of_a_term_without_a_leader(self, group: Group) -> None:
        group[2].term = 1
        with broken(3, "None leads"):
            group[2].write([b"a"])

    def test_a_control_entry_here_and_a_command_there(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"\0"], control=True)
        with broken(3):
            group[2].write([b"\0"])

    def test_a_gap(self, group: Group) -> None:
        group.elect(1, 1)
        ready = Ready(1)
        ready.block = Block.pack(5, 1, [b"a"])
        with broken(3, "its log ends at 0"):
            group.checker.wrote(1, group[1], ready)


def test_4_a_leader_without_a_committed_entry(group: Group) -> None:
    group.elect(1, 1)
    group.replicate(1, [b"a"], to=(2,))
    group[1].commit_to(1)
    with broken(4, "entry 1 .* is committed and not in its log"):
        group.elect(3, 2, voters=(2, 3))


def test_4_an_answer_under_way_commits_after_the_next_election(group: Group) -> None:
    group.elect(1, 1)
    group.replicate(1, [b"a"], to=())
    group[2].write([b"a"])
    group.elect(3, 2, voters=(2, 3))  # not yet committed: nobody minds
    with broken(4, "without the committed entry 1"):
        group[1].commit_to(1)


class Test5StateMachineSafety(StateMachineSafety):
    def test_before_it_is_committed(self, group: Group) -> None:
        group.replicate(1, [b"c"], to=())
        group[1].apply(1, b"a", b"b")
        with broken(5, "its commit index is 2"):
            group[1].apply(3, b"c")

    def test_an_installed_snapshot_that_was_never_committed(self, group: Group) -> None:
        ready = Ready(9)
        ready.snapshot = Snapshot(7, 1, VOTERS, BytesSource(b""), 0)
        with broken(5, "never committed"):
            group.checker.wrote(3, group[3], ready)

    def test_a_committed_entry_overwritten(self, group: Group) -> None:
        group[2].term = 2
        with broken(5, "overwrites entry 2"):
            group[2].write([b"x"], first=2)


class Test6Durability:
    def test_a_vote(self, group: Group) -> None:
        node = group[2]
        node.term, node.vote = 1, 1
        node.write(sync=False)
        with broken(6, "durable is term 0"):
            node.send(VoteReply(2, 1, 1, True))
        node.sync()
        node.send(VoteReply(2, 1, 1, True))

    def test_a_vote_for_another(self, group: Group) -> None:
        node = group[2]
        node.term, node.vote = 1, 3
        node.write()
        with broken(6, "its durable vote is 3"):
            node.send(VoteReply(2, 1, 1, True))

    def test_a_term(self, group: Group) -> None:
        with broken(6, "durable is term 0"):
            group[2].send(AppendReply(2, 1, 1, 0, refused=True))

    def test_entries(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[2].write([b"a"], sync=False)
        with broken(6, "durable are 0 entries"):
            group[2].send(AppendReply(2, 1, 1, 1))

    def test_other_entries_than_the_leader_has(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group.elect(2, 2, voters=(2, 3))
        group[2].write([b"x"])
        group[1].term, group[1].vote, group[1].role = 2, None, "follower"
        group[1].write()
        group[1].after()
        with broken(6, "the leader's of 2"):
            group[1].send(AppendReply(1, 2, 2, 1))

    def test_the_own_vote_of_a_candidate(self, group: Group) -> None:
        node = group[2]
        node.term, node.role = 1, "candidate"
        node.write()
        with broken(6, "its own vote is not durable"):
            node.send(RequestVote(2, 1, 1, 0, 0))

    def test_confirmed_out_of_order(self, group: Group) -> None:
        node = group[2]
        node.term = 1
        node.write(sync=False)
        node.write(sync=False)
        with broken(6, "before what was written earlier"):
            group.checker.synced(2, node.written[1])

    def test_a_term_that_goes_back_in_a_restart(self, group: Group) -> None:
        group.elect(1, 3)
        with broken(6, "restarts in term 2"):
            group[1].start(term=2)

    def test_a_vote_forgotten_in_a_restart(self, group: Group) -> None:
        group.elect(1, 3)
        with broken(6, "after the restart it is None"):
            group[2].start(term=3)

    def test_an_entry_lost_in_a_restart(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a", b"b"])
        group[1].log.truncate(2)
        with broken(6, "entry 2 was durable and is lost"):
            group[1].start(1, 1)

    def test_what_was_not_synced_may_be_lost(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[1].write([b"b"], sync=False)
        group[1].log.truncate(2)
        group[1].start(1, 1)

    def test_entries_out_of_nowhere(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[1].log.append(1, [b"zeros"])
        with broken(6, "never wrote past 1"):
            group[1].start(1, 1)

    def test_a_snapshot_lost(self, group: Group) -> None:
        group.checker.saved_snapshot(1, 5)
        with broken(6, "lost its snapshot at 5"):
            group[1].start()

    def test_a_snapshot_said_to_be_installed(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[1].commit_to(1)
        group[3].term = 1
        group[3].write()
        with broken(6, "its snapshot is at 0"):
            group[3].send(SnapshotReply(3, 1, 1, 1, 0, True))

    def test_applied_before_it_is_durable(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[1].commit_to(1)
        group[3].term = 1
        group[3].write([b"a"], sync=False)
        group[3].commit_to(1)
        with broken(6, "not durable here"):
            group[3].apply(1, b"a")

    def test_taken_for_durable_before_it_is(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[2].stable = 1
        group[2].after()
        group[3].term = 1
        group[3].write([b"a"], sync=False)
        group[3].stable = 1
        with broken(6, "takes entry 1 for durable"):
            group[3].after()

    def test_a_log_that_changes_without_the_disk(self, group: Group) -> None:
        group[2].log.append(1, [b"a"])
        with broken(6, "what it handed to the disk at 0"):
            group[2].after()


class Test7Commitment:
    def test_back(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        group[1].commit_to(2)
        with broken(7, "goes back from 2 to 1"):
            group[1].commit_to(1)

    def test_beyond_the_log(self, group: Group) -> None:
        with broken(7, "its log ends at 0"):
            group[2].commit_to(1)

    def test_without_a_quorum(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=())
        with broken(7, "durable on \\['1'\\]"):
            group[1].commit_to(1)

    def test_by_a_quorum_that_is_not_durable(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[2].write([b"a"], sync=False)
        with broken(7, "durable on \\['1'\\]"):
            group[1].commit_to(1)

    def test_by_a_learner(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[1].membership = Membership((1, 3), learners=(2,))
        with broken(7, "durable on"):
            group[1].commit_to(1)

    def test_an_entry_of_an_earlier_term_by_counting(self, group: Group) -> None:
        """Figure 8."""
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group.elect(1, 2)
        with broken(7, "of term 1 by counting"):
            group[1].commit_to(1)

    def test_a_follower_ahead_of_every_leader(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        with broken(7, "which no leader committed"):
            group[2].commit_to(1)


class Test8Membership:
    def lead(self, group: Group) -> CheckedNode:
        leader = group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        leader.commit_to(1)
        return leader

    def test_one_after_the_other(self, group: Group) -> None:
        leader = self.lead(group)
        leader.write([MEMBERSHIP + Membership((1, 2, 3, 4)).to_bytes()], control=True)
        with broken(8, "is not committed"):
            leader.write([MEMBERSHIP + Membership((1, 2, 3)).to_bytes()], control=True)

    def test_before_the_term_committed_anything(self, group: Group) -> None:
        leader = group.elect(1, 1)
        with broken(8, "before an entry of term 1"):
            leader.write([MEMBERSHIP + Membership((1, 2, 3, 4)).to_bytes()], control=True)

    def test_two_voters_at_once(self, group: Group) -> None:
        leader = self.lead(group)
        with broken(8, "may not meet"):
            leader.write([MEMBERSHIP + Membership((1, 4, 5)).to_bytes()], control=True)

    def test_another_in_force_than_in_the_log(self, group: Group) -> None:
        leader = self.lead(group)
        leader.write([MEMBERSHIP + Membership((1, 2)).to_bytes()], control=True)
        with broken(8, "the latest in its log"):
            leader.after()

    def test_a_witness_leads(self, group: Group) -> None:
        group[1].membership = Membership((1, 2, 3), witnesses=(1,))
        with broken(8, "is a witness"):
            group.elect(1, 1)

    @pytest.mark.parametrize(
        ("one", "other", "meet"),
        [
            (Membership((1, 2, 3)), Membership((1, 2, 3, 4)), True),
            (Membership((1, 2, 3)), Membership((1, 2)), True),
            (Membership((1, 2, 3)), Membership((1, 2, 4)), False),
            (Membership((1, 2, 3)), Membership((4, 5), outgoing=(1, 2, 3)), True),
            (Membership((4, 5), outgoing=(1, 2, 3)), Membership((4, 5)), True),
            (Membership((4, 5), outgoing=(1, 2, 3)), Membership((6, 7)), False),
        ],
    )
    def test_quorums_meet(self, one: Membership, other: Membership, meet: bool) -> None:
        assert intersect(one, other) == meet


def test_9_a_stale_read(group: Group) -> None:
    group.elect(1, 1)
    group.replicate(1, [b"a"], to=(2,))
    group[1].commit_to(1)
    group[1].apply(1, b"a")
    group.checker.acknowledge(1)
    group.checker.read_served(1, group.checker.acknowledged)
    with broken(9, "serves a read after 0"):
        group.checker.read_served(2, group.checker.acknowledged)


class Test10Messages:
    @pytest.fixture
    def group(self) -> Group:
        group = Group()
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        return group

    @pytest.mark.parametrize(
        "make",
        [
            lambda: AppendEntries(2, 3, 1, 0, 0, 0),  # not the sender
            lambda: AppendEntries(1, 1, 1, 0, 0, 0),  # to itself
            lambda: AppendEntries(1, 3, 1, 1, 9, 0),  # another term there
            lambda: AppendEntries(1, 3, 1, 0, 0, 0, 1, Block.pack(2, 1, [b"b"])),  # a gap
            lambda: InstallSnapshot(1, 3, 1, 2, 1, b"", 1, 0, 0, b"x"),  # not committed
        ],
    )
    def test_of_a_leader(self, group: Group, make: Callable[[], Any]) -> None:
        with broken(10):
            group[1].send(make())

    @pytest.mark.parametrize(
        "message",
        [
            AppendEntries(2, 3, 1, 0, 0, 0),
            TimeoutNow(2, 3, 1),
            InstallSnapshot(2, 3, 1, 2, 1, b"", 1, 0, 0, b"x"),
            AppendReply(2, 1, 1, 1, 0, True, 2, 1),
        ],
        ids=lambda message: type(message).__name__,
    )
    def test_of_a_follower(self, group: Group, message: Any) -> None:
        with broken(10):
            group[2].send(message)

    def test_a_candidate_that_boasts(self, group: Group) -> None:
        node = group[2]
        node.term, node.vote, node.role = 2, 2, "candidate"
        node.write()
        with broken(10, "its log ends at 2"):
            node.send(RequestVote(2, 3, 2, 7, 1))

    def test_a_commit_index_of_the_future(self, group: Group) -> None:
        with broken(7, "committed are 0 entries"):
            group[1].send(AppendEntries(1, 3, 1, 2, 1, 2))


def test_11_a_pre_vote_that_raises_the_term(group: Group) -> None:
    group[2].term = 1
    with broken(11, "from term 0 to 1"):
        group.checker.after_pre_vote(2, group[2], 0, RequestVote(3, 2, 1, 0, 0, True))


def test_11_a_candidate_that_nobody_would_vote_for(group: Group) -> None:
    node = group[2]
    node.term, node.vote, node.role = 1, 2, "candidate"
    node.write()
    with broken(11, "though only"):
        node.send(RequestVote(2, 1, 1, 0, 0))
    group[1].send(VoteReply(1, 2, 1, True, True))
    node.send(RequestVote(2, 1, 1, 0, 0))


def test_11_is_not_asked_without_pre_vote() -> None:
    node = Group(pre_vote=False)[2]
    node.term, node.vote, node.role = 1, 2, "candidate"
    node.write()
    node.send(RequestVote(2, 1, 1, 0, 0))
