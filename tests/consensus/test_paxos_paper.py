"""One test for each rule of the Paxos papers, then one for each promise that `core` adds.

PMS §n is a section of Lamport, "Paxos Made Simple", 2001; PMMC §n one of van Renesse and
Altinbuken, "Paxos Made Moderately Complex", 2015; FP is Howard, Malkhi and Spiegelman, "Flexible
Paxos", 2016; D§n is Ongaro's dissertation, 2014, for what both cores share.  Sentences in quotation
marks are theirs, the others say in our words what they say at length.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core_group import answer, work
from paxos_group import (
    PLAIN,
    Group,
    accepted,
    b,
    elect,
    heartbeat,
    kinds,
    leading,
    packed,
    paxos,
    prepare,
    promise,
    stored,
)

from ringleader.consensus.constants import MEMBERSHIP
from ringleader.consensus.driver import Driver, Outcome
from ringleader.consensus.log import Block, Log
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.paxos import Config, MultiPaxos
from ringleader.consensus.paxos.ballot import check_numbers, describe, next_ballot, number_of
from ringleader.consensus.paxos.messages import (
    Accept,
    Accepted,
    Fetch,
    Learn,
    Nack,
    Prepare,
    Promise,
    ReadReply,
    ReadRequest,
    SnapshotPart,
    TimeoutNow,
)
from ringleader.consensus.quorum import Flexible
from ringleader.consensus.ready import HardState
from ringleader.errors import (
    MembershipError,
    NotLeader,
    ProposalRefused,
    QuorumError,
)
from ringleader.hashing import crc32c
from ringleader.storage.memory import MemoryStorage

MEMBERS = Membership([1, 2, 3]).to_bytes()


def accept(core: MultiPaxos, ballot: int, first: int, *payloads: bytes, commit: int = 0) -> Accept:
    """Of the ballot's owner to `core`."""
    block = packed(first, ballot, payloads)
    return Accept(ballot & 0xFFFFFFFF, core.id, ballot, commit, 1, block)


def values(core: MultiPaxos, first: int = 1) -> list[bytes]:
    return [bytes(core.log[slot]) for slot in range(first, core.log.last + 1)]


def ballots(core: MultiPaxos) -> list[int]:
    return [core.log.term(slot) for slot in range(core.log.first, core.log.last + 1)]


# --- PMS §2.2, §2.5: ballots, phase 1, phase 2 -----------------------------------------------


def test_ballots_of_two_proposers_are_never_the_same() -> None:
    """PMS §2.5: "Different proposers choose their numbers from disjoint sets of numbers, so two
    different proposers never issue a proposal with the same number.\""""
    seen = {next_ballot(b(round, 9), number) for round in range(20) for number in (1, 2, 3)}
    assert len(seen) == 60
    assert next_ballot(b(4, 3), 1) == b(5, 1) > b(4, 3)
    assert describe(b(5, 1)) == "5.1"


def test_a_proposer_never_uses_a_ballot_twice() -> None:
    """PMS §2.5: "Each proposer remembers (in stable storage) the highest-numbered proposal it has
    tried to issue, and begins phase 1 with a higher proposal number than any it has already used":
    what asks for promises leaves after the own one is durable, and a new life goes higher."""
    storage = stored()
    core = paxos(storage=storage)
    core.campaign()
    ready = core.ready()
    assert (ready.early, kinds(ready.messages)) == (0, ["Prepare", "Prepare"])
    storage.write(ready, lambda ready: None)
    used = core.term
    again = paxos(storage=storage)
    assert again.term == used
    again.campaign()
    assert again.term > used


def test_phase_1_asks_all_acceptors() -> None:
    """PMS §2.2, phase 1 (a): "A proposer selects a proposal number n and sends a prepare request
    with number n to a majority of acceptors.\""""
    core = paxos(accepted=[b(1, 2)] * 3, commit=2)
    core.campaign()
    assert work(core) == [
        Prepare(1, 2, b(2, 1), 2, core.attempt),
        Prepare(1, 3, b(2, 1), 2, core.attempt),
    ]
    assert (core.role, core.term, core.vote) == ("candidate", b(2, 1), 1)


def test_phase_1_answers_a_higher_number_with_what_was_accepted() -> None:
    """PMS §2.2, phase 1 (b): "If an acceptor receives a prepare request with number n greater than
    that of any prepare request to which it has already responded, then it responds to the request
    with a promise not to accept any more proposals numbered less than n and with the
    highest-numbered proposal (if any) that it has accepted.\""""
    core = paxos(accepted=[b(1, 2), b(1, 2), b(2, 3)], term=b(3, 3), commit=1)
    (reply,) = answer(core, prepare(core, b(4, 2), 1))
    assert isinstance(reply, Promise)
    assert (reply.to, reply.term, reply.attempt, reply.parts) == (2, b(4, 2), 1, 1)
    assert [reply.block.term(slot) for slot in (2, 3)] == [b(1, 2), b(2, 3)]
    assert (reply.block.first, reply.block.last) == (2, 3)
    assert (core.term, core.vote) == (b(4, 2), 2)


def test_a_promise_is_durable_before_it_is_given() -> None:
    """PMS §2.5: "An acceptor records its intended response in stable storage before actually
    sending the response"; and it "must remember this information even if it fails and then
    restarts"."""
    storage = stored()
    core = paxos(storage=storage)
    core.step(prepare(core, b(4, 2)))
    ready = core.ready()
    assert ready.early == 0
    assert kinds(ready.messages) == ["Promise"]
    assert ready.hard_state is not None
    storage.write(ready, lambda ready: None)
    again = paxos(storage=storage)
    assert again.term == b(4, 2)
    assert kinds(answer(again, accept(again, b(3, 3), 1, b"x"))) == ["Nack"]


@pytest.mark.parametrize("ballot", [b(1, 2), b(2, 2), b(3, 1), b(3, 2)])
def test_a_lower_number_is_refused(ballot: int) -> None:
    """PMS §2.2: a proposer that is told of "a prepare request with a higher number" "should then
    abandon its proposal": the refusal says the promise."""
    core = paxos(3, term=b(3, 3))
    for message in (
        Prepare(ballot & 0xFF, 3, ballot, 0),
        Accept(ballot & 0xFF, 3, ballot, 0, 1, packed(1, ballot, [b"x"])),
    ):
        before = core.status()
        assert answer(core, message) == [Nack(3, ballot & 0xFF, b(3, 3), ballot, 0)]
        assert core.status() == before


def test_the_same_number_is_answered_again() -> None:
    """PMS §2.2: messages "can be duplicated": the answer says the same."""
    core = paxos(accepted=[b(1, 2)])
    first = answer(core, prepare(core, b(4, 2)))
    assert answer(core, prepare(core, b(4, 2))) == first
    assert first[0].block.term(1) == b(1, 2)


def test_an_acceptor_accepts_unless_it_has_promised_otherwise() -> None:
    """PMS §2.2, P1a: "An acceptor can accept a proposal numbered n iff it has not responded to a
    prepare request having a number greater than n": also one that it was never asked to prepare."""
    core = paxos(term=b(3, 3))
    assert answer(core, accept(core, b(3, 2), 1, b"low"))[0].ballot == b(3, 2)
    assert core.log.last == 0
    (reply,) = answer(core, accept(core, b(3, 3), 1, b"x"))
    assert reply == Accepted(1, 3, b(3, 3), 1, 1, 0, 1)
    (reply,) = answer(core, accept(core, b(4, 2), 1, b"y"))
    assert reply == Accepted(1, 2, b(4, 2), 1, 1, 0, 1)
    assert (core.term, values(core)) == (b(4, 2), [b"y"])


def test_what_is_accepted_is_durable_before_it_is_said() -> None:
    """PMS §2.5, as for promises."""
    storage = stored(term=b(3, 3))
    core = paxos(storage=storage)
    core.step(accept(core, b(3, 3), 1, b"x"))
    ready = core.ready()
    assert ready.early == 0
    assert ready.block is not None
    assert kinds(ready.messages) == ["Accepted"]


@pytest.mark.parametrize(
    ("voters", "answers", "role"),
    [
        (1, {}, "leader"),
        (3, {}, "candidate"),
        (3, {2: True}, "leader"),
        (3, {2: False}, "candidate"),
        (3, {2: False, 3: False}, "follower"),
        (5, {2: True}, "candidate"),
        (5, {2: True, 3: True}, "leader"),
        (5, {2: True, 3: False, 4: False}, "candidate"),
        (5, {2: False, 3: False, 4: False}, "follower"),
        (4, {2: True}, "candidate"),
        (4, {2: False, 3: False}, "follower"),
    ],
)
def test_a_majority_of_promises(voters: int, answers: dict[int, bool], role: str) -> None:
    """PMS §2.2, phase 2 (a): "If the proposer receives a response to its prepare requests ... from
    a majority of acceptors", it goes on; one that cannot get them any more gives up."""
    core = paxos(voters=voters)
    core.campaign()
    work(core)
    for voter, granted in answers.items():
        core.step(promise(core, voter) if granted else Nack(voter, 1, b(9, 3), core.term, 0))
    assert core.role == role


def test_a_promise_counts_once_and_for_its_ballot_only() -> None:
    """PMS §2.2: a majority is one of acceptors; "responses to its prepare requests (numbered
    n)"."""
    core = paxos(voters=5)
    core.campaign()
    work(core)
    old = promise(core, 3)
    for _ in range(4):
        core.step(promise(core, 2))
    assert core.role == "candidate"
    core.tick(20)
    work(core)
    assert core.term == b(2, 1)
    core.step(old)
    core.step(Promise(4, 1, core.term, core.attempt - 1))  # of an earlier attempt
    assert core.promised_by == {1}


def test_nothing_is_proposed_before_phase_1() -> None:
    """PMS §2.2: a proposal is issued in phase 2 only."""
    core = paxos()
    core.campaign()
    work(core)
    with pytest.raises(NotLeader):
        core.propose([b"a"])


@pytest.mark.parametrize(
    ("own", "reported", "chosen"),
    [
        ([], [b(1, 2)], ["2"]),
        ([b(1, 2)], [], ["1"]),
        ([b(1, 2)], [b(1, 3)], ["2"]),
        ([b(2, 2)], [b(1, 3)], ["1"]),
        ([b(1, 2), b(3, 2)], [b(1, 3), b(2, 3)], ["2", "1"]),
        ([b(1, 2), b(2, 2)], [b(2, 3), b(2, 3), b(2, 3)], ["2", "2", "2"]),
        ([b(1, 2), b(4, 2), b(4, 2)], [b(2, 3)], ["2", "1", "1"]),
    ],
)
def test_the_value_of_the_highest_ballot_is_proposed_again(
    own: list[int], reported: list[int], chosen: list[str]
) -> None:
    """PMS §2.2, P2c: "v is the value of the highest-numbered proposal among all proposals numbered
    less than n accepted by the acceptors in S": for each slot by itself, its own ones among
    them."""
    core = paxos(accepted=own, term=b(4, 2))
    block = packed(1, reported, [b"theirs"] * len(reported)) if reported else None
    core.campaign()
    work(core)
    core.step(promise(core, 2, *([block] if block is not None else [])))
    assert core.role == "leader"
    mine = [b"%d.%d@%d" % (x >> 32, x & 255, slot) for slot, x in enumerate(own, 1)]
    expected = [b"theirs" if of == "2" else mine[at] for at, of in enumerate(chosen)]
    assert values(core) == expected
    assert set(ballots(core)) == {core.term}  # all in the new ballot
    sent = [message for message in work(core) if message.block is not None]
    assert {message.to for message in sent} == {2, 3}


def test_a_report_in_parts_counts_when_it_is_whole() -> None:
    """PMS §2.2, §3: the answer tells all that was accepted; one that comes in parts, in any order,
    counts with the last of them; parts of two answers are not mixed."""
    acceptor = paxos(
        2,
        accepted=[b(1, 2)] * 3,
        aside=[packed(7, b(2, 3), [b"seven"])],
        config=replace(PLAIN, max_block_bytes=60),
    )
    core = paxos(term=b(4, 2))
    core.campaign()
    request = next(message for message in work(core) if message.to == 2)
    parts = answer(acceptor, request)
    assert len(parts) > 2
    assert len({part.report for part in parts}) == 1
    assert [part.part for part in parts] == list(range(len(parts)))
    for part in parts[1:]:
        core.step(part)
        core.step(part)
    assert core.role == "candidate"
    # Another answer with as many parts: those that came before do not count for it.
    other = [
        Promise(2, 1, core.term, core.attempt, False, 7, part.part, part.parts, part.block)
        for part in parts
    ]
    core.step(other[0])
    assert core.role == "candidate"
    for part in reversed(parts):
        core.step(part)
    assert core.role == "leader"
    assert values(core)[-1] == b"seven"
    assert core.log.last == 7


@pytest.mark.parametrize(
    ("voters", "holders", "chosen"),
    [
        (1, [], True),
        (3, [], False),
        (3, [2], True),
        (4, [2], False),
        (4, [2, 3], True),
        (5, [2], False),
        (5, [4, 5], True),
    ],
)
def test_a_majority_that_accepted_chooses(voters: int, holders: list[int], chosen: bool) -> None:
    """PMS §2.2: "The value is chosen when a large enough set of acceptors have accepted it": any
    majority."""
    core = leading(voters)
    slot = core.propose([b"a"])
    work(core)
    for holder in holders:
        accepted(core, holder)
    assert (core.commit >= slot) is chosen


def test_the_own_acceptance_counts_when_it_is_durable() -> None:
    """PMS §2.5, D§10.2.1: the leader writes while the others do, and counts itself afterwards; what
    others chose is applied here after it is durable here."""
    core = leading(3)
    core.propose([b"a"])
    ready = core.ready()
    assert ready.early == len(ready.messages) == 2
    core.step(Accepted(2, 1, core.term, 1, 1, 0, core.round))
    assert core.commit == 0
    core.step(Accepted(3, 1, core.term, 1, 1, 0, core.round))
    assert core.commit == 1
    later = core.ready()
    assert later.committed is None
    core.persisted(ready)
    core.persisted(later)
    assert core.ready().committed.last == 1


def test_a_refused_leader_steps_down() -> None:
    """PMS §2.2: "a proposer should abandon a proposal if some proposer has begun trying to issue a
    higher-numbered one"; it goes higher next time."""
    core = leading()
    core.step(Nack(2, 1, b(7, 3), core.term, 0))
    assert (core.role, core.term) == ("follower", b(1, 1))
    core.campaign()
    assert core.term == b(8, 1)


def test_a_distinguished_proposer() -> None:
    """PMS §2.4: "If enough of the system ... is working properly, liveness can therefore be
    achieved by electing a single distinguished proposer": timeouts drawn anew each time part
    duelling ones."""
    seen = set()
    core = paxos(seed=7)
    for _ in range(300):
        before, ticks = core.term, 0
        while core.term == before:
            core.tick()
            ticks += 1
        work(core)
        seen.add(ticks)
    assert seen == set(range(10, 20))


# --- PMS §2.3: learning ----------------------------------------------------------------------


def test_learners_hear_from_the_distinguished_learner() -> None:
    """PMS §2.3: acceptors tell "a distinguished learner, which in turn informs the other learners
    when a value has been chosen"."""
    group = Group(3)
    leader = group.elect(1)
    leader.propose([b"a", b"b"])
    group.settle()
    assert all(group.applied[id] == [(1, b"a"), (2, b"b")] for id in (1, 2, 3))


def test_who_missed_it_asks() -> None:
    """PMS §2.3: "Because of message loss, a value could be chosen with no learner ever finding
    out": it finds out from the next message, and gets what it lacks."""
    group = Group(3)
    leader = group.elect(1)
    group.cut(3)
    leader.propose([b"a"])
    group.settle()
    assert group.applied[1] == [(1, b"a")]
    group.heal()
    group.tick(12, 1, 3)
    assert group.applied[3] == [(1, b"a")]


# --- PMS §3: a sequence of instances ---------------------------------------------------------


def test_phase_1_is_run_once_for_infinitely_many_instances() -> None:
    """PMS §3: the new leader "executes phase 1 of instances 135-137 and of all instances greater
    than 139", "by sending a single reasonably short message"; after that each command costs
    phase 2 alone."""
    group = Group(3)
    leader = group.elect(1)
    group.sent.clear()
    for at in range(20):
        leader.propose([b"%d" % at])
        group.settle()
    assert not {"Prepare", "Promise"} & set(kinds(group.sent))
    assert len(group.applied[3]) == 20


def test_gaps_are_filled_with_no_ops() -> None:
    """PMS §3: for instances that nobody accepted anything in below others, the leader proposes "a
    special "no-op" command that leaves the state unchanged"."""
    core = paxos(aside=[packed(3, b(1, 2), [b"c"])])
    elect(core, of2=packed(5, b(1, 3), [b"e"]))
    assert values(core) == [b"\0", b"\0", b"c", b"\0", b"e"]
    assert [core.log.is_control(slot) for slot in range(1, 6)] == [True, True, False, True, False]
    assert core.term_start == 5


def test_no_op_is_no_command() -> None:
    """PMS §3: it "leaves the state unchanged"."""
    group = Group(3, storages={1: stored(aside=[packed(3, b(1, 2), [b"c"])])})
    group.elect(1)
    assert group.applied[2] == [(3, b"c")]


def test_a_fresh_leader_proposes_nothing_of_its_own() -> None:
    """PMS §3: where phase 1 finds nothing, there is nothing to do: unlike Raft no entry of its own
    ballot is needed."""
    core = leading()
    assert (core.log.last, core.commit, core.term_start) == (0, 0, 0)


def test_commands_are_chosen_out_of_order_and_executed_in_order() -> None:
    """PMS §3: commands "i through i + alpha" may be proposed before command i is chosen; "a server
    executes command i once 1 ... i - 1 are"."""
    core = leading(3)
    for payload in (b"a", b"b", b"c"):
        core.propose([payload])
        work(core)
    accepted(core, 2, first=2, last=3)
    assert (core.commit, core.chosen_beyond()) == (0, ((2, 3),))
    accepted(core, 3, first=1, last=1)
    assert core.commit == 1 if core.commit < 3 else core.commit == 3
    accepted(core, 2, first=1, last=1)
    assert (core.commit, core.chosen_beyond()) == (3, ())


def test_a_leader_is_at_most_a_window_ahead() -> None:
    """PMS §3: "A leader can get alpha commands ahead -- that is, it can propose commands i + 1
    through i + alpha commands after commands 1 through i are chosen.\""""
    core = leading(config=replace(PLAIN, window=3))
    core.propose([b"1", b"2"])
    with pytest.raises(ProposalRefused, match="window=3"):
        core.propose([b"3", b"4"])
    assert core.log.last == 2
    core.propose([b"3"])
    with pytest.raises(ProposalRefused, match="window=3"):
        core.propose([b"4"])
    work(core)
    accepted(core, 2, first=1, last=1)
    assert core.propose([b"4"]) == 4


def test_what_phase_1_found_beyond_the_window_waits() -> None:
    """PMS §3: the same for values that it proposes again."""
    core = paxos(term=b(4, 2), config=replace(PLAIN, window=2))
    elect(core, of2=packed(1, b(1, 2), [b"a", b"b", b"c", b"d"]))
    assert (core.log.last, core.term_start) == (2, 4)
    with pytest.raises(ProposalRefused):
        core.propose([b"x"])
    accepted(core, 2)
    assert values(core) == [b"a", b"b", b"c", b"d"]
    accepted(core, 2)
    assert core.propose([b"x"]) == 5


def changed(core: MultiPaxos, **change: Any) -> int:
    slot = core.change_config(ConfChange(**change))
    work(core)
    return slot


WINDOW = 4
SMALL = replace(PLAIN, window=WINDOW)


def test_a_membership_takes_effect_a_window_later() -> None:
    """PMS §3: "letting the set of servers that execute instance i + alpha of the consensus
    algorithm be specified by the state after execution of the ith state machine command"; the
    instances between are filled, so that it comes."""
    group = Group(3, SMALL)
    leader = group.elect(1)
    group.join(4)
    slot = leader.change_config(ConfChange(voters=[4]))
    group.settle()
    group.tick(3)
    first, membership = leader.memberships[-1]
    assert (slot, first) == (1, 1 + WINDOW)
    assert membership.voters == (1, 2, 3, 4)
    assert leader.commit == slot + WINDOW - 1
    assert [leader.log.is_control(at) for at in range(1, slot + WINDOW)] == [True] * WINDOW
    assert leader.membership == membership
    leader.propose([b"a"])
    group.settle()
    group.tick(12)
    assert group.applied[4] == [(slot + WINDOW, b"a")]


def test_a_membership_is_in_force_once_it_is_chosen() -> None:
    """PMS §3: the state *after execution* of a command says it: an entry that is only accepted
    changes nothing."""
    core = leading(config=SMALL)
    changed(core, remove=[3])
    assert core.memberships == [(1, Membership([1, 2, 3]))]
    assert core.pending_membership is None
    accepted(core, 2)
    assert core.memberships[-1] == (1 + WINDOW, Membership([1, 2]))
    assert core.pending_membership == Membership([1, 2])
    assert core.membership == Membership([1, 2, 3])
    work(core)
    accepted(core, 2)
    assert (core.commit, core.membership) == (WINDOW, Membership([1, 2]))


def test_slots_are_chosen_by_the_membership_that_governs_them() -> None:
    """PMS §3: instance i + alpha and later ones have the new servers, those before the old ones."""
    core = leading(config=SMALL)
    changed(core, voters=[4, 5])
    accepted(core, 4, first=1, last=1)  # governs nothing yet
    assert core.commit == 0
    accepted(core, 2)
    assert core.commit == 1
    work(core)
    for newcomer in (4, 5):
        core.step(promise(core, newcomer))
    work(core)
    accepted(core, 2)
    assert core.commit == WINDOW
    slot = core.propose([b"a"])
    work(core)
    accepted(core, 2, first=slot, last=slot)
    assert core.commit == WINDOW
    accepted(core, 4)
    assert core.commit == slot


def test_newcomers_promise_before_their_first_slot_is_proposed() -> None:
    """PMS §2.2 for the new servers: nothing is proposed in their instances before a phase-1 quorum
    of theirs has promised, also when their time has come."""
    core = leading(config=SMALL)
    changed(core, voters=[4, 5])
    accepted(core, 2)
    asked = [message for message in work(core) if isinstance(message, Prepare)]
    accepted(core, 2)
    assert core.commit == WINDOW
    assert core.membership == Membership([1, 2, 3, 4, 5])
    for _ in range(3):
        with pytest.raises(ProposalRefused):
            core.propose([b"a"])
        core.tick()
        asked += [message for message in work(core) if isinstance(message, Prepare)]
        accepted(core, 2)
    assert {message.to for message in asked} == {3, 4, 5}
    assert {message.term for message in asked} == {core.term}  # no new ballot
    core.step(promise(core, 3))
    assert core.propose([b"a"]) == WINDOW + 1  # 1, 2 and 3 are a majority of the five


def test_what_newcomers_accepted_is_proposed_again() -> None:
    """PMS §2.2, P2c: of what they report, too, the highest ballot counts."""
    core = leading(config=SMALL)
    core.step(Nack(2, 1, b(5, 3), core.term, 0))
    core.campaign()
    work(core)
    core.step(promise(core, 2))
    changed(core, voters=[4, 5])
    accepted(core, 2)
    work(core)
    core.step(promise(core, 4, packed(WINDOW + 1, b(2, 5), [b"found"])))
    accepted(core, 2)
    core.step(promise(core, 3))
    assert core.commit == WINDOW
    assert bytes(core.log[WINDOW + 1]) == b"found"
    assert core.term_start == WINDOW + 1


def test_a_read_waits_for_the_promises_of_a_new_membership() -> None:
    """D§6.4 with PMS §3: before them an earlier leader may have had slots of theirs applied that
    this one knows nothing of."""
    core = leading(config=SMALL)
    changed(core, voters=[4, 5])
    accepted(core, 2)
    work(core)
    accepted(core, 2)
    assert (core.commit, core.term_start) == (WINDOW, 0)
    core.read_index(b"r")
    work(core)
    for peer in (2, 3, 4, 5):
        accepted(core, peer, 0)
    assert not core.has_lease
    assert not any(ready.reads for ready in ([core.ready()] if core.has_ready else []))
    core = leading(config=SMALL)
    changed(core, voters=[4, 5])
    accepted(core, 2)
    work(core)
    accepted(core, 2)
    core.read_index(b"r")
    core.step(promise(core, 4, packed(WINDOW + 1, b(0, 5), [b"late"])))
    work(core)
    seen = []
    for _ in range(3):
        for peer in (2, 3, 4, 5):
            core.step(Accepted(peer, 1, core.term, 1, core.log.last, 0, core.round))
            while core.has_ready:
                ready = core.ready()
                seen += [(read.context, read.index) for read in ready.reads or ()]
                core.advance(ready)
    assert seen == [(b"r", core.commit)]


def test_one_change_at_a_time() -> None:
    """PMS §3: a second one would be decided by servers that the first may replace."""
    core = leading(config=SMALL)
    changed(core, voters=[4])
    with pytest.raises(ProposalRefused, match="not in force yet"):
        core.change_config(ConfChange(voters=[5]))
    accepted(core, 2)
    with pytest.raises(ProposalRefused, match="not in force yet"):
        core.change_config(ConfChange(voters=[5]))
    core.step(promise(core, 4))
    work(core)
    accepted(core, 2)
    assert core.change_config(ConfChange(voters=[5])) == WINDOW + 1


def test_of_two_changes_within_a_window_the_first_counts() -> None:
    """PMS §3: two leaders proposed one each, neither knew of the other's; a third chose both."""
    first, second = Membership([1, 2, 3], learners=[4]), Membership([1, 2, 3, 5])
    log = Log()
    for round, membership in ((2, first), (3, second)):
        log.append(b(round, 1), [MEMBERSHIP + membership.to_bytes()], control=True)
    config = replace(PLAIN, window=4)
    state = HardState(b(3, 1), 1, 2)
    core = MultiPaxos(1, [1, 2, 3], log=log, hard_state=state, config=config)
    assert core.memberships == [(1, Membership([1, 2, 3])), (5, first)]
    assert core.pending_membership == first


def test_a_change_waits_for_what_phase_1_found() -> None:
    """PMS §3: there may be one among it."""
    core = paxos(term=b(4, 2))
    elect(core, of2=packed(1, b(1, 2), [b"a"]))
    with pytest.raises(ProposalRefused, match="earlier leaders"):
        core.change_config(ConfChange(voters=[4]))
    accepted(core, 2)
    core.change_config(ConfChange(voters=[4]))


def test_several_voters_change_in_one_step() -> None:
    """PMS §3: any set may follow any other; no joint membership lies between."""
    group = Group(3, SMALL)
    leader = group.elect(1)
    for id in (4, 5, 6):
        group.join(id)
    leader.change_config(ConfChange(voters=[4, 5, 6], remove=[1, 2, 3]))
    group.settle()
    group.tick(60)
    for id in (1, 2, 3):
        assert group.cores[id].role != "leader"
    leaders = [core for core in group.cores.values() if core.role == "leader"]
    assert [core.id in (4, 5, 6) for core in leaders] == [True]
    assert leaders[0].membership.voters == (4, 5, 6)
    leaders[0].propose([b"a"])
    group.settle()
    assert group.applied[4] == group.applied[5] == group.applied[6] == [(WINDOW + 1, b"a")]


def test_a_removed_leader_steps_down() -> None:
    """PMS §3: it is no proposer of the instances to come."""
    group = Group(3, SMALL)
    leader = group.elect(1)
    leader.change_config(ConfChange(remove=[1]))
    group.settle()
    assert leader.role == "follower"
    assert leader.membership == Membership([2, 3])
    with pytest.raises(MembershipError, match="cannot lead"):
        leader.campaign()
    group.tick(40, 2, 3)
    assert {group.cores[2].role, group.cores[3].role} == {"leader", "follower"}


def test_a_removed_node_hears_of_it() -> None:
    """PMMC §4: whoever was away when it was removed learns so from those whom it asks for
    promises."""
    group = Group(3, replace(SMALL, pre_vote=True, check_quorum=True))
    leader = group.elect(1)
    group.cut(3)
    leader.change_config(ConfChange(remove=[3]))
    group.settle()
    group.tick(3, 1, 2)
    assert leader.membership == Membership([1, 2])
    group.heal()
    group.tick(60)
    assert group.cores[3].membership == Membership([1, 2])
    assert (leader.role, leader.term) == ("leader", b(1, 1))


def test_new_voters_hear_of_it_from_those_who_left() -> None:
    """PMS §3: the old servers alone know that the new ones are such, when the last message of the
    leader that left is lost; whoever does not vote and hears no leader goes on telling them."""
    group = Group(1, SMALL)
    leader = group.elect(1)
    group.join(2)
    leader.change_config(ConfChange(voters=[2], remove=[1]))
    group.settle()
    lost = group.join(2)  # nothing of what came was durable
    assert (leader.role, lost.membership) == ("follower", Membership())
    lost.tick(100)
    assert not lost.has_ready
    group.tick(60)
    assert (lost.role, lost.membership) == ("leader", Membership([2]))


def test_a_leader_that_newcomers_are_ahead_of_learns_first() -> None:
    """PMS §3: their slots may be chosen in lower ballots, which this leader, elected by the voters
    before them, has not heard of; it may propose nothing there."""
    core = leading(config=SMALL)
    changed(core, voters=[4, 5])
    accepted(core, 2)
    work(core)
    accepted(core, 2)
    sent = answer(core, Nack(4, 1, core.term, core.term, WINDOW + 3))
    assert core.role == "follower"
    assert Fetch(1, 4, core.term, WINDOW + 1) in sent
    acceptor = paxos(4, accepted=[b(0, 2)] * 5, commit=4, term=core.term)
    assert answer(acceptor, Prepare(1, 4, core.term, 2)) == [Nack(4, 1, core.term, core.term, 4)]


def test_learners_receive_everything_and_count_for_nothing() -> None:
    """PMS §2.3: learners are roles of their own."""
    core = leading(Membership([1, 2, 3], learners=[4]))
    core.propose([b"a"])
    assert {message.to for message in work(core)} == {2, 3, 4}
    accepted(core, 4)
    assert core.commit == 0
    core.campaign()
    learner = paxos(4, Membership([1, 2, 3], learners=[4]))
    learner.tick(1000)
    assert (learner.role, learner.term) == ("follower", 0)
    with pytest.raises(MembershipError, match="cannot lead"):
        learner.campaign()


def test_a_membership_survives_a_restart() -> None:
    """PMS §3: it is part of the state, so of what is durable."""
    group = Group(3, SMALL)
    leader = group.elect(1)
    leader.change_config(ConfChange(remove=[3]))
    group.settle()
    group.tick(2)
    group.crash(2)
    again = group.start(2)
    group.tick(3)
    assert again.membership == Membership([1, 2])


# --- FP: quorums -----------------------------------------------------------------------------


def flexible(voters: tuple[Any, ...]) -> Flexible:
    return Flexible(voters, replication=2, election=4)


def test_a_small_quorum_commits() -> None:
    """FP: "it is only necessary for phase-1 quorums (Q1) and phase-2 quorums (Q2) to intersect":
    two of five commit when four of five elect."""
    config = replace(PLAIN, quorum=flexible)
    core = leading(5, config=config)
    core.propose([b"a"])
    work(core)
    assert core.commit == 0
    accepted(core, 5)
    assert core.commit == 1


def test_phase_1_needs_the_large_quorum() -> None:
    """FP, §4: the price is paid by phase 1."""
    core = paxos(voters=5, config=replace(PLAIN, quorum=flexible))
    core.campaign()
    work(core)
    for voter, role in ((2, "candidate"), (3, "candidate"), (4, "leader")):
        core.step(promise(core, voter))
        assert core.role == role


def test_quorums_that_do_not_meet_are_refused() -> None:
    """FP: Q1 and Q2 must intersect."""

    def disjoint(voters: tuple[Any, ...]) -> Flexible:
        return Flexible(voters, replication=2, election=3)

    with pytest.raises(QuorumError, match="every election quorum must meet"):
        disjoint((1, 2, 3, 4, 5))
    with pytest.raises(MembershipError, match="must meet"):
        paxos(voters=5, config=replace(PLAIN, quorum=disjoint))


def rows(voters: tuple[Any, ...]) -> Flexible:
    return Flexible.by_grid([voters[:2], voters[2:]], owned_ballots=True)


def test_phase_1_quorums_need_not_meet() -> None:
    """FP: "we do not require Q1 to intersect with Q1": two rows of a grid elect two leaders, in two
    ballots; of what one of them has chosen the other knows."""
    group = Group(4, replace(PLAIN, quorum=rows))
    group.cut(1, 2)
    first, second = group.elect(1), group.elect(3)
    assert first.term != second.term
    assert (first.role, second.role) == ("leader", "leader")
    first.propose([b"a"])
    second.propose([b"b"])
    group.settle()
    assert first.commit == second.commit == 0  # a column reaches into both rows
    group.heal()
    group.tick(40)
    applied = [group.applied[id] for id in (1, 2, 3, 4)]
    assert max(applied) == min(applied) != []


# --- the log and what stands aside -----------------------------------------------------------


def test_slots_that_do_not_follow_stand_aside() -> None:
    """PMMC §2.2: acceptors accept for any slot, in any order; what the log cannot hold yet is
    durable beside it, joins it when the gap closes, and is then forgotten on disk."""
    storage = stored(term=b(1, 2))
    core = paxos(storage=storage)
    core.step(accept(core, b(1, 2), 3, b"c"))
    ready = core.ready()
    assert [(block.first, block.last) for block in ready.aside] == [(3, 3)]
    assert (ready.early, ready.block) == (0, None)
    assert ready.messages == [Accepted(1, 2, b(1, 2), 3, 3, 0, 1)]
    storage.write(ready, lambda ready: None)
    core.advance(ready)
    assert (core.log.last, core.status().aside_entries) == (0, 1)

    again = paxos(storage=storage)  # a crash here loses nothing
    assert [bytes(block[3]) for block in again.aside] == [b"c"]

    core.step(accept(core, b(1, 2), 1, b"a", b"b"))
    assert values(core) == [b"a", b"b", b"c"]
    assert core.aside == []
    ready = core.ready()
    assert (ready.block.first, ready.block.last, ready.clears_aside) == (1, 3, False)
    storage.write(ready, lambda ready: None)
    core.advance(ready)
    core.step(heartbeat(core, b(1, 2)))
    ready = core.ready()  # the log is durable now
    assert (ready.clears_aside, ready.aside) == (True, [])
    storage.write(ready, lambda ready: None)
    assert storage.load().aside == []


def test_a_displaced_tail_is_remembered() -> None:
    """PMS §2.2: an acceptor "must remember the highest-numbered proposal that it has ever
    accepted", for each instance: what lies behind a slot that is replaced was accepted all the
    same."""
    storage = stored([b(1, 2)] * 4)
    core = paxos(storage=storage)
    core.step(accept(core, b(2, 3), 2, b"new"))
    ready = core.ready()
    assert [(block.first, block.last) for block in ready.aside] == [(3, 4)]
    assert (ready.block.first, ready.block.last) == (2, 2)
    storage.write(ready, lambda ready: None)
    core.advance(ready)
    for node in (core, paxos(storage=storage)):
        blocks = [reply.block for reply in answer(node, prepare(node, b(3, 2)))]
        reported = {
            slot: block.term(slot)
            for block in blocks
            for slot in range(block.first, block.last + 1)
        }
        assert reported == {1: b(1, 2), 2: b(2, 3), 3: b(1, 2), 4: b(1, 2)}


def test_what_is_replaced_on_its_way_to_the_disk_does_not_count() -> None:
    """D§10.2.1: a write that completes after its entries were replaced shows nothing."""
    core = paxos(accepted=[b(1, 2)], term=b(2, 2))
    core.step(accept(core, b(2, 2), 2, b"a", b"b"))
    first = core.ready()
    core.step(accept(core, b(3, 3), 2, b"c"))
    second = core.ready()
    core.persisted(first)
    assert core.stable == 1
    core.persisted(second)
    assert core.stable == 2


def test_a_lower_ballot_aside_does_not_join_a_higher_one() -> None:
    """PMS §2.2: ballots of the log never go back; a value of a lower one waits for the leader."""
    core = paxos(accepted=[b(3, 2)], aside=[packed(2, b(1, 3), [b"old"])])
    assert core.log.last == 1
    assert answer(core, accept(core, b(3, 2), 2, b"new"))[-1].last == 2
    assert values(core)[1:] == [b"new"]
    assert core.aside == []


def test_the_highest_ballot_aside_joins() -> None:
    """PMS §2.2: of several, at restart as well."""
    core = paxos(
        accepted=[b(1, 2)],
        aside=[
            packed(2, b(1, 2), [b"low2", b"low3"]),
            packed(2, b(2, 3), [b"high2"]),
            packed(1, b(1, 2), [b"older copy"]),
        ],
    )
    assert values(core)[1:] == [b"high2"]
    assert [(block.first, block.last) for block in core.aside] == [(2, 3)]


def test_no_room_aside_nothing_accepted() -> None:
    """PMS §2.2: an acceptor "can ignore any request without compromising safety"."""
    core = paxos(term=b(1, 2), config=replace(PLAIN, max_aside_bytes=100))
    assert answer(core, accept(core, b(1, 2), 5, b"x" * 10))
    (heard,) = answer(core, accept(core, b(1, 2), 7, b"x" * 100))
    assert (heard.first, heard.last) == (0, 0)
    assert core.status().aside_entries == 1
    assert answer(core, accept(core, b(1, 2), 1, b"x" * 100))  # what follows the log needs none


def test_what_was_lost_is_sent_again_after_a_round() -> None:
    """PMS §2.2: messages "can be lost"; the answer to a later round tells which were, and these
    alone are sent again."""
    core = leading()
    for at in range(1, 6):
        core.propose([b"%d" % at])
        work(core)
    core.tick()
    (beat,) = [message for message in work(core) if message.to == 2]
    assert beat.round == core.round
    core.step(Accepted(2, 1, core.term, 1, 1, 0))
    core.step(Accepted(2, 1, core.term, 3, 3, 0))
    sent = answer(core, Accepted(2, 1, core.term, 5, 5, 0, core.round))
    again = [message.block for message in sent if message.to == 2 and message.block is not None]
    assert [(block.first, block.last) for block in again] == [(2, 2), (4, 4)]


# --- learning: commit, Fetch, Learn, snapshots -----------------------------------------------


def test_slots_held_in_the_leaders_ballot_are_chosen_by_its_word() -> None:
    """PMS §2.2, P2: a ballot has one value for a slot, so what was accepted in it is what was
    chosen."""
    core = paxos(accepted=[b(2, 2)] * 3)
    answer(core, heartbeat(core, b(2, 2), commit=2))
    assert (core.commit, core.last_applied) == (2, 2)
    answer(core, heartbeat(core, b(2, 2), commit=9))
    assert core.commit == 3


def test_slots_held_in_another_ballot_are_asked_for() -> None:
    """PMS §2.2: what was accepted in an older ballot need not be what is chosen: a commit index of
    a higher leader commits nothing of it."""
    core = paxos(accepted=[b(1, 2)] * 3)
    sent = answer(core, heartbeat(core, b(2, 3), commit=3))
    assert core.commit == 0
    assert Fetch(1, 3, b(2, 3), 1) in sent


def test_a_prefix_of_an_older_ballot_is_fetched_first() -> None:
    """PMS §2.2: also when the slots after it were accepted in the leader's ballot."""
    core = paxos(accepted=[b(1, 2), b(2, 3)])
    sent = answer(core, heartbeat(core, b(2, 3), commit=2))
    assert core.commit == 0
    assert kinds(sent) == ["Fetch", "Accepted"]
    answer(core, Learn(3, 1, b(2, 3), 2, packed(1, b(2, 3), [b"chosen"])))
    assert core.commit >= 1
    assert values(core)[0] == b"chosen"


def test_any_node_serves_what_is_chosen() -> None:
    """PMMC §4.1: replicas tell each other decisions; also one that is no member any more."""
    core = paxos(accepted=[b(1, 2)] * 3, commit=2)
    (reply,) = answer(core, Fetch(3, 1, b(1, 2), 1))
    assert isinstance(reply, Learn)
    assert (reply.commit, reply.block.first, reply.block.last) == (2, 1, 2)
    assert kinds(answer(core, Fetch(77, 1, b(1, 2), 2))) == ["Learn"]
    assert answer(core, Fetch(3, 1, b(1, 2), 3)) == []


def test_learned_slots_are_never_stamped_below_those_before() -> None:
    """PMS §2.2: a stamp says "chosen in this ballot or before"; the sender's may be lower than what
    stands here."""
    core = paxos(accepted=[b(3, 2)], commit=1)
    answer(core, Learn(3, 1, b(3, 2), 3, packed(2, b(1, 3), [b"b", b"c"])))
    assert core.commit == 3
    assert ballots(core) == [b(3, 2)] * 3
    assert values(core)[1:] == [b"b", b"c"]


def test_learning_what_is_held_in_the_same_ballot_writes_nothing() -> None:
    """PMS §2.2: it is the same value."""
    core = paxos(accepted=[b(1, 2)] * 3)
    work(core)
    core.step(Learn(3, 1, b(1, 2), 2, packed(1, b(1, 2), [b"1.2@1", b"1.2@2"])))
    assert (core.commit, core.log.last) == (2, 3)
    assert core.ready().block is None


def test_learning_sets_a_displaced_tail_aside() -> None:
    """PMS §2.2: what lies behind was accepted all the same."""
    core = paxos(accepted=[b(1, 2)] * 4)
    core.step(Learn(3, 1, b(2, 3), 2, packed(1, b(2, 3), [b"a", b"b"])))
    assert (core.commit, core.log.last) == (2, 2)
    assert [(block.first, block.last) for block in core.aside] == [(3, 4)]
    assert core.term == b(2, 3)  # nothing is accepted below what is chosen


def lagging(**settings: Any) -> Group:
    """3 lacks slots that 1 has compacted."""
    group = Group(3, replace(PLAIN, snapshot_chunk_bytes=4, max_inflight_chunks=2, **settings))
    leader = group.elect(1)
    group.cut(3)
    for at in range(4):
        leader.propose([b"%d" % at])
        group.settle()
    group.snapshot(1, b"the state of the machine")
    group.heal()
    return group


def test_garbage_collection_and_snapshots() -> None:
    """PMMC §4.2, PMS §3: what is applied and saved may be forgotten; who lacks it gets the
    state."""
    group = lagging()
    group.tick(30, 1, 3)
    core = group.cores[3]
    assert (core.log.base, core.commit, core.snapshot.index) == (4, 4, 4)
    parts = [message for message in group.sent if isinstance(message, SnapshotPart)]
    assert {len(part.data) for part in parts} == {4}
    source = group.storages[3].open_snapshot()
    assert source.read(0, 100) == b"the state of the machine"
    group.cores[1].propose([b"next"])
    group.settle()
    assert group.applied[3] == [(5, b"next")]


def test_a_snapshot_goes_on_where_it_was() -> None:
    """PML §5.1: catch-up; after a crash of the receiver, too."""
    group = lagging()
    kept: list[Any] = []

    def few(message: Any) -> bool:
        kept.append(message)
        parts = sum(isinstance(each, SnapshotPart) for each in kept)
        return not isinstance(message, SnapshotPart) or parts <= 3

    group.passes = few
    group.tick(3, 1, 3)
    assert group.cores[3].status().receiving_snapshot_bytes > 0
    received = group.cores[3].status().receiving_snapshot_bytes
    group.crash(3)
    group.start(3)
    group.sent.clear()
    group.heal()
    group.tick(30, 1, 3)
    assert group.cores[3].commit == 4
    offsets = [part.offset for part in group.sent if isinstance(part, SnapshotPart)]
    assert min(offsets) == received


def test_a_snapshot_keeps_what_was_accepted_beyond_it() -> None:
    """PMS §2.2: it says what is chosen up to its slot, and nothing of what was accepted after
    it."""
    core = paxos(accepted=[b(1, 2)] * 6)
    core.step(heartbeat(core, b(2, 3), commit=4))
    work(core)
    data = b"state"
    core.step(SnapshotPart(3, 1, b(2, 3), 4, b(2, 3), MEMBERS, 5, crc32c(data), 0, data))
    assert (core.log.base, core.log.last, core.commit) == (4, 4, 4)
    assert [(block.first, block.last) for block in core.aside] == [(5, 6)]
    ready = core.ready()
    assert ready.snapshot is not None
    assert ready.aside


def test_a_damaged_snapshot_is_not_installed() -> None:
    """PML §5: its checksum is wrong."""
    core = paxos(accepted=[b(1, 2)])
    assert "Fetch" in kinds(answer(core, heartbeat(core, b(2, 3), commit=1)))
    core.step(SnapshotPart(3, 1, b(2, 3), 4, b(2, 3), MEMBERS, 5, 7, 0, b"state"))
    assert core.rejected == {"snapshot with a wrong checksum": 1}
    assert (core.commit, core.log.base, core.has_ready) == (0, 0, False)


def test_no_snapshot_while_a_change_is_coming() -> None:
    """PMS §3: there the membership of the next slots is more than one."""
    core = leading(config=SMALL)
    slot = changed(core, remove=[3])
    accepted(core, 2)
    work(core)
    assert core.membership_at(slot - 1) == Membership([1, 2, 3])
    assert core.membership_at(slot) == Membership()
    accepted(core, 2)
    assert core.membership_at(slot + WINDOW - 2) == Membership()
    assert core.membership_at(slot + WINDOW - 1) == Membership([1, 2])


def test_a_joiner_learns_the_membership() -> None:
    """PMS §3: it is part of the state: from the entries or from a snapshot."""
    for snapshot in (False, True):
        group = Group(3, SMALL)
        leader = group.elect(1)
        leader.propose([b"a"])
        group.settle()
        if snapshot:
            group.snapshot(1)
        core = group.join(4)
        assert core.membership == Membership()
        core.tick(100)
        assert not core.has_ready
        leader.change_config(ConfChange(voters=[4]))
        group.settle()
        group.tick(30)
        assert core.membership == Membership([1, 2, 3, 4])
        assert (core.log.base > 0) is snapshot


# --- refusals by commit, probes, stickiness --------------------------------------------------


def test_who_knows_less_of_what_is_chosen_is_refused_and_fetches() -> None:
    """PMS §3: a leader "should know" what is chosen: it would ask for what is decided."""
    acceptor = paxos(2, accepted=[b(1, 3)] * 3, commit=3)
    core = paxos(accepted=[b(1, 3)])
    core.campaign()
    request = next(message for message in work(core) if message.to == 2)
    (nack,) = answer(acceptor, request)
    assert nack == Nack(2, 1, b(1, 3), core.term, 3)
    assert acceptor.term == b(1, 3)  # nothing is promised
    sent = answer(core, nack)
    assert core.role == "follower"
    assert sent == [Fetch(1, 2, core.term, 1)]
    for learn in answer(acceptor, sent[0]):
        core.step(learn)
    assert core.commit == 3


def test_a_probe_changes_nothing() -> None:
    """D§9.6: it asks whether a real one would succeed."""
    core = paxos(accepted=[b(1, 2)] * 2, commit=1)
    work(core)
    before = core.status()
    (reply,) = answer(core, prepare(core, b(9, 3), 1, probe=True))
    assert (reply.term, reply.probe, reply.block) == (b(9, 3), True, None)
    assert core.status() == before
    assert kinds(answer(core, prepare(core, b(1, 2), 1, probe=True))) == ["Nack"]
    assert kinds(answer(core, prepare(core, b(9, 3), 0, probe=True))) == ["Nack"]
    assert core.status() == before


def test_a_candidate_probes_before_it_uses_up_a_ballot() -> None:
    """D§9.6."""
    core = paxos(term=b(4, 3), config=Config())
    core.campaign()
    sent = work(core)
    assert (core.role, core.term) == ("probing", b(4, 3))
    assert all(message.probe and message.term == b(5, 1) for message in sent)
    core.step(promise(core, 2))
    assert (core.role, core.term) == ("candidate", b(5, 1))
    assert all(not message.probe for message in work(core))


def test_who_hears_a_leader_promises_nobody_else() -> None:
    """D§4.2.3; unless the leader itself asked for it."""
    core = paxos(config=Config())
    answer(core, heartbeat(core, b(1, 2)))
    for probe in (True, False):
        assert answer(core, prepare(core, b(2, 3), probe=probe)) == []
    assert core.term == b(1, 2)
    assert kinds(answer(core, prepare(core, b(2, 3), asked_in=core.term))) == ["Promise"]
    core = paxos(config=Config())
    answer(core, heartbeat(core, b(1, 2)))
    core.tick(10)
    assert kinds(answer(core, prepare(core, b(2, 3), probe=True))) == ["Promise"]


def test_a_transfer_waives_the_lease_of_its_own_leader_only() -> None:
    """D§6.4.1: the question of the one who was told to campaign comes late, after another leader
    was elected, and may have been granted a lease."""
    core = paxos(config=Config())
    answer(core, heartbeat(core, b(2, 2)))
    assert answer(core, prepare(core, b(2, 3), asked_in=b(1, 1))) == []
    assert core.term == b(2, 2)


def test_a_promise_that_rises_unasked_ends_no_lease() -> None:
    """D§6.4.1: who hears a leader and then accepts in a higher ballot promises that one nothing
    more before the first leader's lease has run out."""
    core = paxos(config=Config())
    answer(core, heartbeat(core, b(1, 2)))
    assert answer(core, accept(core, b(2, 3), 1, b"x"))
    assert answer(core, prepare(core, b(2, 3))) == []
    core.tick(10)
    assert kinds(answer(core, prepare(core, b(2, 3)))) == ["Promise"]


def test_a_member_holds_what_it_says_that_it_holds() -> None:
    """A new leader counts from its commit index on; what lies before, an empty node does not have:
    nobody hands leadership to it, or makes a voter of it."""
    core = paxos(accepted=[b(1, 1)] * 5, term=b(1, 1), commit=5)
    elect(core)
    core.step(Accepted(2, 1, core.term, 0, 0, 0))
    (two, _) = core.status().peers
    assert (two.match, two.lag) == (0, 5)
    core.transfer(2)
    assert "TimeoutNow" not in kinds(work(core))
    core.step(Accepted(2, 1, core.term, 0, 0, 5))
    assert core.status().peers[0].match == 5
    assert "TimeoutNow" in kinds(work(core))


def test_a_leader_without_a_quorum_steps_down() -> None:
    """D§6.2."""
    core = leading(config=Config())
    for _ in range(25):
        core.tick()
        work(core)
    assert (core.role, core.term) == ("follower", b(1, 1))


# --- reads, leases, transfer, priorities -----------------------------------------------------


def reads(core: MultiPaxos) -> list[tuple[bytes, int]]:
    found = []
    while core.has_ready:
        ready = core.ready()
        found += [(read.context, read.index) for read in ready.reads or ()]
        core.advance(ready)
    return found


def test_a_read_needs_a_round_of_a_replication_quorum() -> None:
    """D§6.4, FP: it meets every phase-1 quorum, so that no higher ballot had one."""
    core = leading(5, config=replace(PLAIN, quorum=flexible))
    core.read_index(b"x")
    work(core)
    round = core.round
    core.step(Accepted(2, 1, core.term, 0, 0, 0, round - 1))
    assert reads(core) == []
    core.step(Accepted(2, 1, core.term, 0, 0, 0, round))
    assert reads(core) == [(b"x", 0)]


def test_a_read_waits_for_what_phase_1_found() -> None:
    """PMS §3: it may have been chosen, and read, before."""
    core = paxos(term=b(4, 2))
    elect(core, of2=packed(1, b(1, 2), [b"a"]))
    core.read_index(b"x")
    work(core)
    core.step(Accepted(2, 1, core.term, 0, 0, 0, core.round))
    assert reads(core) == []
    accepted(core, 2)
    core.step(Accepted(2, 1, core.term, 0, 0, 0, core.round))
    assert reads(core) == [(b"x", 1)]


def test_followers_ask_for_a_read_index() -> None:
    """D§6.4."""
    core = leading()
    answer(core, ReadRequest(3, 1, core.term, b"x"))
    replies = answer(core, Accepted(2, 1, core.term, 0, 0, 0, core.round))
    assert replies == [ReadReply(1, 3, core.term, b"x", 0)]


def test_a_deposed_leader_refuses_its_reads() -> None:
    """D§6.4."""
    core = leading()
    core.read_index(b"x")
    work(core)
    core.step(heartbeat(core, b(2, 2)))
    assert reads(core) == [(b"x", 0)]


LEASE = Config(lease=True)


def test_a_lease_counts_from_when_the_round_was_sent() -> None:
    """D§6.4.1."""
    core = leading(config=LEASE)
    core.tick(LEASE.lease_ticks + 1)
    work(core)
    accepted(core, 2, 0)
    assert core.has_lease
    core.read_index(b"x")
    assert reads(core) == [(b"x", 0)]
    core.tick(LEASE.lease_ticks)
    assert core.has_lease
    core.tick()
    assert not core.has_lease


def test_who_granted_a_lease_keeps_it_over_a_restart() -> None:
    """D§6.4.1."""
    core = paxos(term=b(1, 2), config=LEASE)
    assert answer(core, prepare(core, b(2, 3))) == []
    core.tick(10)
    assert kinds(answer(core, prepare(core, b(2, 3)))) == ["Promise"]


def test_a_lease_ends_with_a_transfer() -> None:
    """D§6.4.1."""
    core = leading(config=LEASE)
    core.tick()
    work(core)
    accepted(core, 2, 0)
    assert core.has_lease
    core.transfer(2)
    work(core)
    assert not core.has_lease


def test_campaign_protects_a_lease() -> None:
    """D§6.4.1."""
    core = paxos(config=LEASE)
    answer(core, heartbeat(core, b(1, 2)))
    with pytest.raises(ProposalRefused, match="lease of 2"):
        core.campaign()


def test_transfer_brings_the_target_up_to_date_first() -> None:
    """D§3.10."""
    core = leading()
    core.propose([b"a"])
    work(core)
    core.transfer(2)
    assert "TimeoutNow" not in kinds(work(core))
    with pytest.raises(ProposalRefused, match="handed to 2"):
        core.propose([b"b"])
    assert TimeoutNow(1, 2, core.term) in accepted(core, 2)
    for _ in range(core.config.election_ticks):
        core.tick()
        work(core)
    assert core.transferee is None
    core.propose([b"b"])


def test_timeout_now_begins_phase_1_at_once() -> None:
    """D§3.10."""
    core = paxos(2, config=Config())
    answer(core, heartbeat(core, b(1, 1)))
    sent = answer(core, TimeoutNow(1, 2, b(1, 1)))
    assert (core.role, core.term) == ("candidate", b(2, 2))
    assert all(message.asked_in and not message.probe for message in sent)


def test_a_transfer_in_a_group() -> None:
    group = Group(3, Config())
    leader = group.elect(1)
    leader.propose([b"a"])
    group.settle()
    leader.transfer(3)
    group.settle()
    assert [core.role for core in group.cores.values()] == ["follower", "follower", "leader"]


def test_who_restarts_does_not_ask_the_members_of_old() -> None:
    """What a membership that came into force rests on is on record: otherwise the slots before it
    would have to be decided once more, by their own members."""
    group = Group(3, replace(PLAIN, window=4))
    leader = group.elect(1)
    leader.propose([b"a"])
    group.settle()
    for change in (ConfChange(remove=[3]), ConfChange(voters=[3])):
        leader.change_config(change)
        group.settle()
        group.tick(2)
        assert not leader.is_changing
    leader.propose([b"b"])
    group.settle()
    group.tick(2)
    for id in (1, 2, 3):
        group.crash(id)
    for id in (2, 3):
        group.start(id)
    core = group.elect(2)
    assert core.role == "leader"
    core.propose([b"c"])
    group.settle()
    assert group.applied[3][-1][1] == b"c"


def test_priorities_say_who_should_lead() -> None:
    group = Group(3, Config(priorities={3: 2}, priority_ticks=5))
    group.elect(1)
    group.tick(30)
    assert group.cores[3].role == "leader"


# --- one node, ids, status, restarts ---------------------------------------------------------


def test_a_group_of_one() -> None:
    group = Group(1)
    core = group.elect(1)
    core.propose([b"a"])
    core.read_index(b"r")
    group.settle()
    assert group.applied[1] == [(1, b"a")]
    assert group.reads[1] == [(b"r", 0)]
    group.crash(1)
    core = group.start(1)
    group.elect(1)
    assert core.commit == 1


def test_ids_may_be_names() -> None:
    group = Group(["eu-1", "us-1", "ap-1"])
    leader = group.elect("us-1")
    assert leader.term == b(1, "us-1")
    leader.propose([b"a"])
    group.settle()
    assert group.applied["ap-1"] == [(1, b"a")]


def test_two_ids_of_one_number_are_refused() -> None:
    """PMS §2.5: their ballots would be the same."""
    other = 2**40
    number = number_of(other)
    with pytest.raises(MembershipError, match="the same ballots"):
        check_numbers([other, number])
    with pytest.raises(MembershipError, match="the same ballots"):
        paxos(number, [number, other])
    core = leading([number, 2, 3], id=number)
    with pytest.raises(MembershipError, match="the same ballots"):
        core.change_config(ConfChange(voters=[other]))
    assert core.log.last == 0


def test_joint_memberships_and_witnesses_are_refused() -> None:
    for membership in (
        Membership([1, 2], outgoing=[1, 3]),
        Membership([1, 2, 3], witnesses=[3]),
    ):
        with pytest.raises(MembershipError, match="neither joint"):
            paxos(voters=membership)
    core = leading()
    with pytest.raises(MembershipError, match="neither joint"):
        core.change_config(ConfChange(witnesses=[4]))
    with pytest.raises(MembershipError, match="none to leave"):
        core.change_config(ConfChange.leave_joint())


def test_status() -> None:
    core = leading(5)
    for payload in (b"a", b"b", b"c"):
        core.propose([payload])
        work(core)
    accepted(core, 2, first=2, last=3)
    accepted(core, 3, first=2, last=3)
    status = core.status()
    assert (status.id, status.role, status.ballot, status.leader) == (1, "leader", "1.1", 1)
    assert (status.commit, status.chosen_beyond, status.last) == (0, ((2, 3),), 3)
    assert status.uncommitted_bytes == core.uncommitted_bytes > 0
    two = next(peer for peer in status.peers if peer.id == 2)
    assert (two.match, two.beyond, two.lag, two.promised) == (0, ((2, 3),), 3, True)
    assert "1.1" in repr(core)
    assert paxos(aside=[packed(3, b(1, 2), [b"x"])]).status().aside_entries == 1


@pytest.mark.parametrize("records", range(4))
def test_a_restart_at_any_record_forgets_no_promise_that_was_sent(records: int) -> None:
    """PMS §2.5: whatever part of a `Ready` is durable, what was sent before still holds."""
    storage = stored([b(1, 2)] * 4)
    core = paxos(storage=storage)
    core.step(accept(core, b(2, 3), 2, b"new"))
    ready = core.ready()
    for name in ("block", "aside", "hard_state")[: 3 - records]:
        setattr(ready, name, None)
    storage.write(ready, lambda ready: None)
    again = paxos(storage=storage)
    accepted_in = dict(enumerate(ballots(again), 1))
    for block in again.aside:
        for slot in range(block.first, block.last + 1):
            accepted_in[slot] = max(accepted_in.get(slot, 0), block.term(slot))
    assert {1, 2, 3, 4} <= set(accepted_in)
    assert accepted_in[2] == (b(2, 3) if records == 3 else b(1, 2))


# --- the driver ------------------------------------------------------------------------------


class Machine:
    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, entries: Any) -> list[int]:
        found = [bytes(command) for _, command in entries]
        self.commands += found
        return [len(command) for command in found]

    def snapshot(self) -> bytes:
        return b",".join(self.commands)

    def restore(self, source: Any) -> None:
        self.commands = source.read(0, source.total_bytes).split(b",")


class Wire:
    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, messages: Any) -> None:
        self.sent += messages


def driven(core: MultiPaxos) -> tuple[Driver, Machine]:
    machine = Machine()
    return Driver(core, MemoryStorage(), Wire(), machine), machine


def test_a_driver_applies() -> None:
    core = leading()
    driver, machine = driven(core)
    outcomes: list[Outcome] = []
    driver.propose([b"a", b"bc"], outcomes.append)
    driver.receive(Accepted(2, 1, core.term, 1, 2, 0, core.round))
    assert [(outcome.kind, list(outcome.results)) for outcome in outcomes] == [("applied", [1, 2])]
    assert machine.commands == [b"a", b"bc"]


@pytest.mark.parametrize("payload", [b"a", b"other"])
def test_a_driver_does_not_know_what_another_leader_proposed_again(payload: bytes) -> None:
    """PMS §2.2: the later ballot may carry this command or another: terms do not tell."""
    core = leading()
    driver, machine = driven(core)
    outcomes: list[Outcome] = []
    driver.propose([b"a"], outcomes.append)
    driver.receive(accept(core, b(2, 2), 1, payload))
    driver.receive(heartbeat(core, b(2, 2), commit=1))
    assert machine.commands == [payload]
    assert [outcome.kind for outcome in outcomes] == ["unknown"]


def test_a_block_is_what_its_bytes_say() -> None:
    """Blocks of several ballots keep them on their way through a report."""
    block = packed(3, [b(1, 2), b(2, 3)], [b"x", b"y"])
    assert [Block(bytes(block)).term(slot) for slot in (3, 4)] == [b(1, 2), b(2, 3)]
