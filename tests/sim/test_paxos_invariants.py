"""Each invariant of Multi-Paxos fires: its checker is fed what no correct node does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sim.checked import VOTERS, CheckedGroup, CheckedNode, StateMachineSafety, broken

from ringleader.consensus.constants import MEMBERSHIP, NO_OP
from ringleader.consensus.log import Block
from ringleader.consensus.membership import Membership, NodeId
from ringleader.consensus.paxos.config import Config
from ringleader.consensus.paxos.messages import (
    Accept,
    Accepted,
    Learn,
    Nack,
    Prepare,
    Promise,
    SnapshotPart,
    TimeoutNow,
)
from ringleader.consensus.quorum import AtLeast, Flexible, Majority, QuorumSystem
from ringleader.consensus.ready import BytesSource, Ready, Snapshot
from ringleader.sim.clock import Clock
from ringleader.sim.paxos_invariants import INVARIANTS, PaxosChecker

WINDOW = 4


def ballot(round: int, owner: int) -> int:
    return round << 32 | owner


class Node(CheckedNode):
    def promise(self, term: int, owner: int, *blocks: Block, **more: Any) -> None:
        """Promise durably, and tell."""
        self.term, self.vote, self.role = term, owner, "follower"
        self.write()
        self.after()
        if owner != self.id:
            parts = blocks or (None,)
            for part, block in enumerate(parts):
                self.send(
                    Promise(self.id, owner, term, part=part, parts=len(parts), block=block, **more)
                )


class Group(CheckedGroup[PaxosChecker, Node]):
    def __init__(
        self,
        *,
        pre_vote: bool = False,
        quorum: Callable[[tuple[NodeId, ...]], QuorumSystem] = Majority,
    ) -> None:
        config = Config(window=WINDOW, pre_vote=pre_vote, quorum=quorum)
        super().__init__(PaxosChecker(VOTERS, Clock(), config), Node)

    def elect(self, id: int, round: int, promisers: Sequence[int] = (1, 2)) -> Node:
        """`id` wins phase 1 of a ballot of its own; nobody but itself has accepted anything."""
        for promiser in promisers:
            self[promiser].promise(ballot(round, id), id)
        return self.lead(id)

    def lead(self, id: int) -> Node:
        self[id].role = "leader"
        self[id].after()
        return self[id]

    def replicate(
        self, leader: int, payloads: Sequence[bytes], to: Sequence[int], **more: Any
    ) -> None:
        """The leader proposes, and others accept, durably."""
        self[leader].write(payloads, **more)
        for id in to:
            node = self[id]
            node.term, node.vote = self[leader].term, leader
            node.write(payloads, **more)
            node.after()


@pytest.fixture
def group() -> Group:
    return Group()


def test_the_table_is_numbered_without_gaps() -> None:
    assert [invariant.number for invariant in INVARIANTS] == list(range(1, len(INVARIANTS) + 1))
    assert all(invariant.text and invariant.source for invariant in INVARIANTS)


def test_a_life_without_faults_passes(group: Group) -> None:
    leader = group.elect(1, 1)
    first = ballot(1, 1)
    group.replicate(1, [b"a", b"b"], to=(2,))
    group[2].send(Accepted(2, 1, first, 1, 2, 0))
    leader.commit_to(2)
    group[2].commit_to(2)
    leader.write([b"c"])
    group[1].apply(1, b"a", b"b")
    group[2].apply(1, b"a", b"b")
    # Another takes over, finds the third and proposes it again.
    second = ballot(2, 3)
    group[3].promise(second, 3)
    group[1].promise(second, 3, Block.pack(1, first, [b"a", b"b", b"c"]))
    group.lead(3)
    group.replicate(3, [b"a", b"b", b"c"], to=())
    group[1].write([b"c"], first=3)
    group[3].commit_to(3)
    group[3].apply(1, b"a", b"b", b"c")
    assert group.checker.chosen == 3
    assert group.checker.coverage["elections won"] == 2
    assert group.checker.coverage["slots proposed again"] == 3


class Test1Ballots:
    def test_of_another(self, group: Group) -> None:
        with broken(1, "the ballot is not its own"):
            group[1].send(Prepare(1, 2, ballot(1, 2), 0))

    def test_two_values_for_a_slot(self, group: Group) -> None:
        leader = group.elect(1, 1)
        leader.write([b"a"])
        with broken(1, "where b'a' was proposed"):
            leader.write([b"b"], first=1)

    def test_two_values_sent(self, group: Group) -> None:
        leader = group.elect(1, 1)
        term = ballot(1, 1)
        leader.send(Accept(1, 2, term, 0, 0, Block.pack(1, term, [b"a"])))
        with broken(1, "and before b'a'"):
            leader.send(Accept(1, 3, term, 0, 0, Block.pack(1, term, [b"b"])))

    def test_used_again_after_a_restart(self, group: Group) -> None:
        node = group[1]
        node.promise(ballot(1, 1), 1)
        node.send(Prepare(1, 2, ballot(1, 1), 0))
        node.start(ballot(1, 1), 1)
        with broken(1, "in an earlier life"):
            node.send(Prepare(1, 2, ballot(1, 1), 0))

    def test_led_by_another(self, group: Group) -> None:
        for id in (1, 2):
            group[id].promise(ballot(1, 1), 1)
        with broken(1, "which is not its own"):
            group.lead(2)

    def test_promised_to_another(self, group: Group) -> None:
        group[2].term, group[2].vote = ballot(1, 1), 3
        with broken(1, "takes 3 for the owner of 1.1"):
            group[2].after()


class Test2Promises:
    def test_one_that_goes_back(self, group: Group) -> None:
        node = group[2]
        node.promise(ballot(2, 1), 1)
        node.term = ballot(1, 1)
        with broken(2, "goes back"):
            node.after()
        with broken(2, "after 2.1"):
            node.write()

    def test_accepted_below_it(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[2].promise(ballot(2, 3), 3)
        with broken(2, "has promised 2.3"):
            group[2].write([b"a"], term=ballot(1, 1))

    def test_accepted_above_it(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        with broken(2, "promises 0.0 only"):
            group[3].write([b"a"], term=ballot(1, 1))

    def test_a_report_that_leaves_something_out(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        with broken(2, "reports 0.0 for slot 2"):
            group[2].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a"]))

    def test_a_report_without_what_stands_aside(self, group: Group) -> None:
        leader = group.elect(1, 1)
        term = ballot(1, 1)
        leader.send(Accept(1, 2, term, 0, 0, Block.pack(3, term, [b"c"])))
        group[2].write(aside=[Block.pack(3, term, [b"c"])])
        with broken(2, "for slot 3"):
            group[2].promise(ballot(2, 3), 3)

    def test_a_report_of_a_lower_ballot(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=())
        group[1].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a"]))
        group[3].promise(ballot(2, 3), 3)
        group.lead(3)
        group[3].write([b"a"])
        group[1].write([b"a"], first=1)
        with broken(2, "reports 1.1 for slot 1, where it has accepted 2.3"):
            group[1].promise(ballot(3, 2), 2, Block.pack(1, ballot(1, 1), [b"a"]))

    def test_a_report_after_the_slot_that_was_asked_about(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2, 3))
        group[3].promise(ballot(2, 3), 3)
        group[3].send(Prepare(3, 2, ballot(2, 3), 1))
        group[2].promise(ballot(2, 3), 3)  # of slot 1 it need not tell


class Test3Proposals:
    def test_without_a_quorum_of_promises(self, group: Group) -> None:
        with broken(3, "by the promises of \\[1\\]"):
            group.elect(1, 1, promisers=(1,))

    def test_the_own_promise_is_not_durable(self, group: Group) -> None:
        group[2].promise(ballot(1, 1), 1)
        group[1].term, group[1].vote = ballot(1, 1), 1
        group[1].write(sync=False)
        with broken(3, "by the promises of \\[2\\]"):
            group.lead(1)

    def elected(self, group: Group) -> Node:
        """Node 3 leads ballot 3.3: of slot 1, node 1 reported b"a" in 1.1, node 2 b"b" in 2.2."""
        group.elect(1, 1, promisers=(1, 3))
        group[1].write([b"a"])
        group.elect(2, 2, promisers=(2, 3))
        group[2].write([b"b"])
        group[1].promise(ballot(3, 3), 3, Block.pack(1, ballot(1, 1), [b"a"]))
        group[2].promise(ballot(3, 3), 3, Block.pack(1, ballot(2, 2), [b"b"]))
        group[3].promise(ballot(3, 3), 3)
        return group.lead(3)

    def test_the_value_of_the_highest_ballot(self, group: Group) -> None:
        self.elected(group).write([b"b"])

    def test_the_value_of_a_lower_ballot_with_a_quorum_that_knows_none_above(
        self, group: Group
    ) -> None:
        self.elected(group).write([b"a"])  # nodes 1 and 3 are a quorum

    def test_the_value_of_a_lower_ballot(self, group: Group) -> None:
        group.elect(1, 1, promisers=(1, 3))
        group[1].write([b"a"])
        group.elect(2, 2, promisers=(2, 3))
        group[2].write([b"b"])
        group[1].promise(ballot(3, 1), 1)
        group[2].promise(ballot(3, 1), 1, Block.pack(1, ballot(2, 2), [b"b"]))
        group.lead(1)
        with broken(3, r"1: b'a' in 1\.1, 2: b'b' in 2\.2"):
            group[1].write([b"a"], first=1)

    def test_a_value_of_its_own(self, group: Group) -> None:
        group.elect(1, 1, promisers=(1, 3))
        group[1].write([b"a"])
        group[1].promise(ballot(2, 2), 2, Block.pack(1, ballot(1, 1), [b"a"]))
        group[2].promise(ballot(2, 2), 2)
        group.lead(2)
        with broken(3, "proposes b'x' for slot 1"):
            group[2].write([b"x"])

    def test_a_gap_is_filled(self, group: Group) -> None:
        leader = group.elect(1, 1)
        term = ballot(1, 1)
        leader.send(Accept(1, 2, term, 0, 0, Block.pack(2, term, [b"b"])))
        group[2].write(aside=[Block.pack(2, term, [b"b"])])
        group[2].promise(ballot(2, 3), 3, Block.pack(2, term, [b"b"]))
        group[3].promise(ballot(2, 3), 3)
        group.lead(3)
        group[3].write([NO_OP], control=True)
        group[3].write([b"b"])
        assert group.checker.coverage["gaps filled with no-ops"] == 1


class Test4OneValueChosen:
    def test_two_in_two_ballots(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        record = group.checker.slots[1]
        record.values[ballot(2, 3)] = (False, b"b")
        with broken(4, "b'b' is chosen in ballot 2.3, and b'a' in 1.1"):
            group.checker._choose(1, record, ballot(2, 3))

    def test_another_is_proposed_later(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[3].promise(ballot(2, 3), 3)
        group[2].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a"]))
        group.lead(3)
        with broken(4, "b'a' is chosen there"):
            group[3].write([b"b"])

    def test_chosen_late_below_another_proposal(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[2].write([b"a"], sync=False)
        group.checker.slots[1].values[ballot(2, 3)] = (False, b"b")
        with broken(4, "in the later 2.3 b'b' is proposed"):
            group[2].sync()


class Test5StateMachineSafety(StateMachineSafety):
    def test_before_it_is_committed(self, group: Group) -> None:
        group.replicate(1, [b"c"], to=(2,))
        group[1].apply(1, b"a", b"b")
        with broken(5, "its commit index is 2"):
            group[1].apply(3, b"c")

    def test_an_installed_snapshot_that_was_never_chosen(self, group: Group) -> None:
        ready = Ready(9)
        ready.snapshot = Snapshot(7, ballot(1, 1), VOTERS, BytesSource(b""), 0)
        with broken(5, "chosen are the slots up to 2"):
            group.checker.wrote(3, group[3], ready)


class Test6Durability:
    def test_a_promise(self, group: Group) -> None:
        node = group[2]
        node.term, node.vote = ballot(1, 1), 1
        node.write(sync=False)
        with broken(6, "durable is term 0"):
            node.send(Promise(2, 1, ballot(1, 1)))

    def test_a_ballot_that_one_asks_for(self, group: Group) -> None:
        with broken(6, "durable is term 0"):
            group[1].send(Prepare(1, 2, ballot(1, 1), 0))

    def test_a_refusal(self, group: Group) -> None:
        with broken(6, "durable is term 0"):
            group[2].send(Nack(2, 1, ballot(2, 3), ballot(1, 1), 0))

    def test_an_acceptance(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[2].write([b"a"], sync=False)
        with broken(6, "slot 1 is not durable in it"):
            group[2].send(Accepted(2, 1, ballot(1, 1), 1, 1, 0))
        group[2].sync()
        group[2].send(Accepted(2, 1, ballot(1, 1), 1, 1, 0))

    def test_an_acceptance_that_grows(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[1].write([b"b"])
        group[2].send(Accepted(2, 1, ballot(1, 1), 1, 1, 0))
        with broken(6, "slot 2 is not durable in it"):
            group[2].send(Accepted(2, 1, ballot(1, 1), 1, 2, 0))

    def test_a_report(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        with broken(6, "that is not durable"):
            group[2].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a"]))

    def test_a_promise_lost_in_a_restart(self, group: Group) -> None:
        group[2].promise(ballot(2, 1), 1)
        with broken(6, "restarts in term"):
            group[2].start(ballot(1, 1), 1)

    def test_entries_out_of_nowhere(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[2].log.append(ballot(1, 1), [b"zeros"])
        with broken(6, "it never wrote that"):
            group[2].start(ballot(1, 1), 1)

    def test_taken_for_durable_before_it_is(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"], sync=False)
        group[1].stable = 1
        with broken(6, "takes slot 1 for durable"):
            group[1].after()

    def test_applied_before_it_is_durable(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[3].term, group[3].vote = ballot(1, 1), 1
        group[3].write([b"a"], sync=False)
        group[3].commit_to(1)
        with broken(6, "not durable here"):
            group[3].apply(1, b"a")

    def test_a_log_that_changes_without_the_disk(self, group: Group) -> None:
        group[2].log.append(ballot(1, 1), [b"a"])
        with broken(6, "what it handed to the disk at 0"):
            group[2].after()


class Test7Learning:
    def test_back(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        group[1].commit_to(2)
        with broken(7, "goes back from 2 to 1"):
            group[1].commit_to(1)

    def test_without_a_quorum(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=())
        with broken(7, "chosen are the slots up to 0"):
            group[1].commit_to(1)

    def test_in_two_ballots_is_not_in_one(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[1].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a"]))
        group[3].promise(ballot(2, 3), 3)
        group.lead(3)
        group[3].write([b"a"])  # two of three hold it, in two ballots
        with broken(7, "chosen are the slots up to 0"):
            group[3].commit_to(1)

    def test_a_gap(self, group: Group) -> None:
        leader = group.elect(1, 1)
        term = ballot(1, 1)
        leader.send(Accept(1, 2, term, 0, 0, Block.pack(2, term, [b"b"])))
        for id in (2, 3):
            group[id].term, group[id].vote = term, 1
            group[id].write(aside=[Block.pack(2, term, [b"b"])])
        assert group.checker.slots[2].value == (False, b"b")
        assert group.checker.coverage["slots chosen past a gap"] == 1
        with broken(7, "up to 0"):
            group[2].commit_to(2)

    def test_another_value(self, group: Group) -> None:
        group.elect(1, 1, promisers=(1, 3))
        group[1].write([b"a"])
        group[2].promise(ballot(2, 2), 2)
        group[3].promise(ballot(2, 2), 2)
        group.lead(2)
        group.replicate(2, [b"b"], to=(3,))
        with broken(7, "chosen is \\(False, b'b'\\)"):
            group[1].commit_to(1)

    def test_beyond_the_log(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        with broken(7, "its log ends at 0"):
            group[3].commit_to(1)

    def test_a_stamp_below_the_ballot_that_it_was_chosen_in(self, group: Group) -> None:
        group.elect(1, 1, promisers=(1, 3))
        group[1].write([b"a"])
        group[1].promise(ballot(2, 2), 2, Block.pack(1, ballot(1, 1), [b"a"]))
        group[2].promise(ballot(2, 2), 2)
        group.lead(2)
        group.replicate(2, [b"a"], to=(3,))
        with broken(7, "in ballot 1.1, chosen in 2.2"):
            group[1].commit_to(1)

    def test_taught_what_was_not_chosen(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        term = ballot(1, 1)
        with broken(7, "teaches b'x' in slot 1"):
            group[2].send(Learn(2, 3, term, 1, Block.pack(1, term, [b"x"])))

    def test_learned_without_being_chosen(self, group: Group) -> None:
        group[3].term, group[3].vote = ballot(1, 1), 1
        with broken(7, "neither proposed nor chosen"):
            group[3].write([b"x"])

    def test_a_commit_index_of_the_future(self, group: Group) -> None:
        leader = group.elect(1, 1)
        with broken(7, "chosen are 0 slots"):
            leader.send(Accept(1, 2, ballot(1, 1), 3))

    def test_a_chosen_slot_overwritten(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        group[2].commit_to(1)
        with broken(7, "overwrites slot 1"):
            group[2].write([b"a"], first=1)


class Test8Configurations:
    def change(self, group: Group, *voters: int) -> Node:
        """The configuration that comes is chosen in slot 1: it governs slots from 5 on."""
        leader = group.elect(1, 1)
        payload = [MEMBERSHIP + Membership(voters).to_bytes()]
        group.replicate(1, payload, to=(2,), control=True)
        leader.commit_to(1)
        return leader

    def test_beyond_the_window(self, group: Group) -> None:
        leader = group.elect(1, 1)
        leader.write([b"a"] * WINDOW)
        with broken(8, "its commit index is 0, the window 4"):
            leader.write([b"b"])

    def test_the_old_governs_until_then(self, group: Group) -> None:
        leader = self.change(group, 1, 4, 5)
        group.replicate(1, [b"b"] * 3, to=(2,))
        leader.membership = Membership((1, 4, 5))
        leader.commit_to(4)
        assert group.checker.config_of(4) == VOTERS
        assert group.checker.config_of(5) == Membership((1, 4, 5))

    def test_phase_1_of_the_new_comes_first(self, group: Group) -> None:
        leader = self.change(group, 1, 4, 5)
        group.replicate(1, [b"b"] * 3, to=(2,))
        with broken(3, "by the promises of \\[1, 2\\]"):
            leader.write([b"c"])

    def test_the_old_choose_nothing_any_more(self, group: Group) -> None:
        leader = self.change(group, 1, 4, 5)
        group.replicate(1, [b"b"] * 3, to=(2,))
        leader.membership = Membership((1, 4, 5))
        leader.commit_to(4)
        joined = Node(group.checker, 4)
        joined.promise(ballot(1, 1), 1)
        group.replicate(1, [b"c"], to=(2,))
        with broken(7, "chosen are the slots up to 4"):
            leader.commit_to(5)

    def test_another_in_force_than_was_chosen(self, group: Group) -> None:
        leader = self.change(group, 1, 4, 5)
        leader.membership = Membership((1, 4, 5))
        with broken(8, "is in force for slot 2"):
            leader.after()

    def test_a_second_change_before_the_first_is_in_force(self, group: Group) -> None:
        leader = self.change(group, 1, 2)
        with broken(8, "while that of slot 1 is not in force"):
            leader.write([MEMBERSHIP + Membership((1, 2, 3)).to_bytes()], control=True)

    def test_two_are_chosen_within_a_window(self, group: Group) -> None:
        leader = group.elect(1, 1)
        group.replicate(1, [MEMBERSHIP + Membership((1, 2)).to_bytes()], to=(), control=True)
        group.replicate(1, [MEMBERSHIP + Membership((1, 3)).to_bytes()], to=(), control=True)
        group[2].promise(leader.term, 1)
        for membership in (Membership((1, 2)), Membership((1, 3))):
            group[2].write([MEMBERSHIP + membership.to_bytes()], control=True)
        coverage = group.checker.coverage
        assert (coverage["configurations chosen"], coverage["configurations void"]) == (1, 1)

    def test_a_joint_one(self, group: Group) -> None:
        leader = group.elect(1, 1)
        joint = Membership((1, 4), outgoing=(1, 2, 3))
        with broken(8, "is no configuration of this group"):
            leader.write([MEMBERSHIP + joint.to_bytes()], control=True)

    def test_a_snapshot_of_another(self, group: Group) -> None:
        self.change(group, 1, 2)
        group[2].commit_to(1)
        group.checker.saved_snapshot(2, 1)
        part = SnapshotPart(2, 3, ballot(1, 1), 1, ballot(1, 1), VOTERS.to_bytes(), 1, 0, 0, b"x")
        with broken(8, "after it comes"):
            group[2].send(part)


def test_9_a_stale_read(group: Group) -> None:
    group.elect(1, 1)
    group.replicate(1, [b"a"], to=(2,))
    group[1].commit_to(1)
    group[1].apply(1, b"a")
    floor = group.checker.committed_last
    group.checker.read_served(1, floor)
    with broken(9, "serves a read after 0"):
        group.checker.read_served(2, floor)


class Test10Messages:
    @pytest.mark.parametrize(
        "make",
        [
            lambda term: Accept(3, 1, term, 0),  # not the sender
            lambda term: Accept(2, 2, term, 0),  # to itself
            lambda term: Accept(2, 3, term, 0),  # it leads nothing
            lambda term: TimeoutNow(2, 3, term),
            lambda term: Nack(2, 3, term, term, 5),  # not chosen
            lambda term: Accepted(2, 1, term, 7, 7, 0),  # never proposed
        ],
    )
    def test_of_a_follower(self, group: Group, make: Callable[[int], Any]) -> None:
        group.elect(1, 1)
        with broken(10):
            group[2].send(make(ballot(1, 1)))

    def test_a_report_of_another_value(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a"], to=(2,))
        with broken(10, "reports b'x' in slot 1"):
            group[2].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"x"]))


class Test11NoDisruption:
    def test_a_probe_that_is_taken_for_a_promise(self, group: Group) -> None:
        group[2].term = ballot(1, 1)
        with broken(11, "moves it from term 0"):
            group.checker.after_pre_vote(2, group[2], 0, Prepare(1, 2, ballot(1, 1), 0, 0, True))

    def test_a_candidate_that_nobody_would_promise(self) -> None:
        group = Group(pre_vote=True)
        node = group[1]
        node.send(Prepare(1, 2, ballot(1, 1), 0, 0, True))
        node.promise(ballot(1, 1), 1)
        node.role = "candidate"
        with broken(11, "though only \\[1\\]"):
            node.send(Prepare(1, 2, ballot(1, 1), 0))

    def test_a_candidate_that_a_quorum_would(self) -> None:
        group = Group(pre_vote=True)
        node = group[1]
        node.send(Prepare(1, 2, ballot(1, 1), 0, 0, True))
        group[2].send(Promise(2, 1, ballot(1, 1), probe=True))
        node.promise(ballot(1, 1), 1)
        node.role = "candidate"
        node.send(Prepare(1, 2, ballot(1, 1), 0))

    def test_a_transfer_that_nobody_asked_for(self, group: Group) -> None:
        group[1].promise(ballot(1, 1), 1)
        with broken(11, "no leader told it to"):
            group[1].send(Prepare(1, 2, ballot(1, 1), 0, 0, False, True))


class Test17Memory:
    def test_a_tail_that_is_dropped(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        group[1].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a", b"b"]))
        group[3].promise(ballot(2, 3), 3)
        group.lead(3)
        group[3].write([b"a"])
        group[2].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a", b"b"]))
        with broken(17, "had accepted slot 2 in ballot 1.1 and keeps 0.0"):
            group[2].write([b"a"], first=1)

    def test_a_tail_that_is_set_aside(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        group[1].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a", b"b"]))
        group[3].promise(ballot(2, 3), 3)
        group.lead(3)
        group[3].write([b"a"])
        group[2].promise(ballot(2, 3), 3, Block.pack(1, ballot(1, 1), [b"a", b"b"]))
        group[2].write([b"a"], first=1, aside=[Block.pack(2, ballot(1, 1), [b"b"])])

    def aside(self, group: Group) -> Block:
        leader = group.elect(1, 1)
        block = Block.pack(3, ballot(1, 1), [b"c"])
        leader.send(Accept(1, 2, ballot(1, 1), 0, 0, block))
        group[2].write(aside=[block])
        return block

    def test_what_stands_aside_is_dropped(self, group: Group) -> None:
        self.aside(group)
        with broken(17, "had accepted slot 3"):
            group[2].write(clears=True)

    def test_what_stands_aside_is_lost_in_a_restart(self, group: Group) -> None:
        self.aside(group)
        group[2].aside = []
        with broken(17, "finds 0.0 after a restart"):
            group[2].start(ballot(1, 1), 1)

    def test_an_entry_is_lost_in_a_restart(self, group: Group) -> None:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        group[2].log.truncate(2)
        with broken(17, "had accepted slot 2"):
            group[2].start(ballot(1, 1), 1)

    def test_what_was_not_synced_may_be_lost(self, group: Group) -> None:
        group.elect(1, 1)
        group[1].write([b"a"])
        group[1].write([b"b"], sync=False)
        group[1].log.truncate(2)
        group[1].start(ballot(1, 1), 1)

    def test_a_gap_in_the_log(self, group: Group) -> None:
        leader = group.elect(1, 1)
        leader.write([b"a"])
        ready = Ready(9)
        ready.block = Block.pack(3, ballot(1, 1), [b"c"])
        with broken(17, "its log ends at 1"):
            group.checker.wrote(1, leader, ready)


class TestFlexibleQuorums:
    def test_few_commit_and_many_elect(self) -> None:
        group = Group(quorum=lambda voters: Flexible(voters, replication=1, election=3))
        with broken(3, "by the promises of \\[1, 2\\]"):
            group.elect(1, 1)
        group = Group(quorum=lambda voters: Flexible(voters, replication=1, election=3))
        leader = group.elect(1, 1, promisers=(1, 2, 3))
        leader.write([b"a"])
        leader.commit_to(1)

    def test_18_quorums_that_do_not_meet(self) -> None:
        class Apart(QuorumSystem):
            __slots__ = ()

            def __init__(self, voters: tuple[NodeId, ...]) -> None:
                one = AtLeast(1, voters)
                self._set(voters=voters, replication=one, election=one, elections_intersect=False)

        with broken(18, r"\[\d\] elect and \[\d\] commit"):
            Group(quorum=Apart).elect(1, 1)
