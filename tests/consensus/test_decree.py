"""Single-decree Paxos: the paper paragraph by paragraph, then any order of messages and crashes.

§n is a section of Lamport, "Paxos Made Simple", 2001.  Sentences in quotation marks are its own.
"""

from __future__ import annotations

import pickle
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.consensus.paxos import (
    Acceptor,
    AcceptorState,
    Group,
    Learner,
    Proposer,
    ProposerState,
    decree,
)
from ringleader.consensus.paxos.ballot import ROUND_MAX
from ringleader.consensus.paxos.decree import (
    DecreeAccept,
    DecreeAccepted,
    DecreeAsk,
    DecreeMessage,
    DecreeNack,
    DecreePrepare,
    DecreePromise,
)
from ringleader.consensus.quorum import AtLeast, Flexible, Majority, QuorumSystem
from ringleader.errors import (
    FormatError,
    LimitError,
    MembershipError,
    MisuseError,
    QuorumError,
    SettingError,
    SettingTypeError,
)
from ringleader.kernels import hashing

THREE = Group([1, 2, 3])


def ballot(round: int, owner: int) -> int:
    return round << 32 | owner


B11, B12, B21, B22, B31 = (ballot(*pair) for pair in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1)))


def acceptor(promised: int = 0, accepted: int = 0, value: bytes | None = None) -> Acceptor:
    return Acceptor(3, THREE, state=AcceptorState(promised, accepted, value))


def proposing(value: bytes = b"v", **more: Any) -> Proposer:
    """Proposer 1 in phase 1 of its first ballot."""
    proposer = Proposer(1, THREE, **more)
    proposer.propose(value).saved()
    return proposer


def accepting(value: bytes = b"v", **more: Any) -> Proposer:
    """Proposer 1 in phase 2 of its first ballot."""
    proposer = proposing(value, **more)
    for sender in (1, 2):
        proposer.step(DecreePromise(sender, 1, proposer.ballot)).saved()
    assert proposer.phase == "accept"
    return proposer


def sent(role: Any, *messages: DecreeMessage) -> list[DecreeMessage]:
    return [answer for message in messages for answer in role.step(message).saved()]


# --- 2.1  Choosing a value -----------------------------------------------------------------------


def test_a_single_acceptor_chooses_what_it_accepts() -> None:
    """§2.1: "The easiest way to choose a value is to have a single acceptor agent." """
    assert decide(Group([1]), b"v") == {b"v"}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_a_value_is_chosen_even_if_only_one_is_proposed(count: int) -> None:
    """§2.1: "we want a value to be chosen even if only one value is proposed by a single
    proposer", in the absence of failure or message loss."""
    assert decide(Group(range(1, count + 1)), b"only") == {b"only"}


def test_a_large_enough_set_is_any_majority() -> None:
    """§2.1: "we can let a large enough set consist of any majority of the agents." """
    for quorum in ((1, 2), (1, 3), (2, 3)):
        learner = Learner(1, THREE)
        sent(learner, DecreeAccepted(quorum[0], 1, B11, b"v"))
        assert learner.chosen is None
        sent(learner, DecreeAccepted(quorum[1], 1, B11, b"v"))
        assert (learner.chosen, learner.ballot) == (b"v", B11)


def test_p1_the_first_proposal_is_accepted() -> None:
    """§2.1, P1: "An acceptor must accept the first proposal that it receives." """
    one = acceptor()
    step = one.step(DecreeAccept(1, 3, B11, b"v"))
    assert step.state == AcceptorState(B11, B11, b"v")
    assert {message.to for message in step.saved()} == {1, 2, 3}


def test_an_acceptor_may_accept_more_than_one_proposal() -> None:
    """§2.1: "an acceptor must be allowed to accept more than one proposal." """
    one = acceptor()
    sent(one, DecreeAccept(1, 3, B11, b"v"), DecreeAccept(2, 3, B22, b"v"))
    assert one.state == AcceptorState(B22, B22, b"v")


def test_a_value_accepted_in_many_ballots_is_not_chosen() -> None:
    """§2.1: "A value is chosen when a single proposal with that value has been accepted by a
    majority": a proposal is a number and a value."""
    learner = Learner(1, THREE)
    sent(learner, DecreeAccepted(1, 1, B11, b"v"), DecreeAccepted(2, 1, B22, b"v"))
    assert learner.chosen is None
    sent(learner, DecreeAccepted(1, 1, B22, b"v"))
    assert learner.chosen == b"v"


# --- 2.2  Choosing a value: the phases -----------------------------------------------------------


def test_phase_1a_a_new_number_for_every_acceptor() -> None:
    """§2.2, 1(a): "A proposer selects a proposal number n and sends a prepare request with number n
    to a majority of acceptors"; here to all."""
    step = Proposer(2, THREE).propose(b"v")
    assert step.state == ProposerState(B12)
    assert step.saved() == tuple(DecreePrepare(2, to, B12) for to in (1, 2, 3))


def test_phase_1b_a_promise_with_what_was_accepted() -> None:
    """§2.2, 1(b): "it responds to the request with a promise not to accept any more proposals
    numbered less than n and with the highest-numbered proposal (if any) that it has accepted." """
    fresh, used = acceptor(), acceptor(B12, B12, b"w")
    assert sent(fresh, DecreePrepare(1, 3, B11)) == [DecreePromise(3, 1, B11)]
    step = used.step(DecreePrepare(1, 3, B21))
    assert step.state == AcceptorState(B21, B12, b"w")
    assert step.saved() == (DecreePromise(3, 1, B21, B12, b"w"),)


def test_phase_1b_again() -> None:
    """The network may repeat a request: the same promise, and nothing more to make durable."""
    one = acceptor()
    first = sent(one, DecreePrepare(1, 3, B11))
    again = one.step(DecreePrepare(1, 3, B11))
    assert again.state is None
    assert list(again.saved()) == first
    sent(one, DecreeAccept(1, 3, B11, b"v"))
    assert sent(one, DecreePrepare(1, 3, B11)) == []  # phase 1 of this ballot is over
    assert one.state == AcceptorState(B11, B11, b"v")


def test_phase_2a_the_own_value_if_none_was_accepted() -> None:
    """§2.2, 2(a): v "is any value if the responses reported no proposals." """
    proposer = proposing(b"v")
    assert sent(proposer, DecreePromise(3, 1, B11)) == []
    assert sent(proposer, DecreePromise(2, 1, B11)) == [
        DecreeAccept(1, to, B11, b"v") for to in (1, 2, 3)
    ]


@pytest.mark.parametrize("senders", [(2, 3), (3, 2)])
def test_phase_2a_the_value_of_the_highest_proposal(senders: tuple[int, int]) -> None:
    """§2.2, 2(a): v "is the value of the highest-numbered proposal among the responses"."""
    proposer = Proposer(1, THREE, state=ProposerState(B21))
    proposer.propose(b"own").saved()
    told = {2: (B11, b"low"), 3: (B22, b"high")}
    out = sent(proposer, *(DecreePromise(sender, 1, B31, *told[sender]) for sender in senders))
    assert [(message.to, message.value) for message in out] == [  # type: ignore[attr-defined]
        (1, b"high"),
        (2, b"high"),
        (3, b"high"),
    ]
    assert proposer.value == b"own"


def test_one_promise_counts_once() -> None:
    proposer = proposing()
    assert sent(proposer, *[DecreePromise(2, 1, B11)] * 3) == []
    assert proposer.phase == "prepare"


def test_phase_2b_accepts_unless_it_promised_more() -> None:
    """§2.2, 2(b): "it accepts the proposal unless it has already responded to a prepare request
    having a number greater than n." """
    for promised in (0, B11, B12, B21):
        one = acceptor(promised)
        step = one.step(DecreeAccept(1, 3, B21, b"v"))
        assert step.state == AcceptorState(B21, B21, b"v")
        assert step.saved() == tuple(DecreeAccepted(3, to, B21, b"v") for to in (1, 2, 3))
    one = acceptor(B22)
    assert sent(one, DecreeAccept(1, 3, B21, b"v")) == [DecreeNack(3, 1, B21, B22)]
    assert one.state == AcceptorState(B22)


def test_phase_2b_again() -> None:
    one = acceptor()
    first = sent(one, DecreeAccept(1, 3, B11, b"v"))
    again = one.step(DecreeAccept(1, 3, B11, b"v"))
    assert again.state is None
    assert list(again.saved()) == first


def test_a_proposer_moves_on_to_another_proposal() -> None:
    """§2.2: "A proposer can make multiple proposals, so long as it follows the algorithm for each
    one." "It can abandon a proposal in the middle of the protocol at any time." """
    proposer = accepting()
    sent(proposer, DecreeNack(3, 1, B11, B22))
    assert (proposer.phase, proposer.nacks) == ("wait", 1)
    out = proposer.tick(10).saved()
    assert out == tuple(DecreePrepare(1, to, B31) for to in (1, 2, 3))
    # Answers "may arrive long after the proposal was abandoned": they do nothing.
    assert sent(proposer, DecreePromise(3, 1, B11), DecreeNack(2, 1, B11, B12)) == []
    assert (proposer.phase, proposer.ballot, proposer.nacks) == ("prepare", B31, 1)


def test_it_is_a_good_idea_to_abandon_a_proposal() -> None:
    """§2.2, end: "if an acceptor ignores a prepare or accept request because it has already
    received a prepare request with a higher number, then it should probably inform the proposer,
    who should then abandon its proposal." """
    one = acceptor(B22)
    assert sent(one, DecreePrepare(1, 3, B21)) == [DecreeNack(3, 1, B21, B22)]
    assert one.rejected == {"below the promise": 1}
    proposer = proposing()
    assert sent(proposer, DecreeNack(3, 1, B11, B22)) == []
    assert proposer.phase == "wait"


# --- 2.3  Learning a chosen value ----------------------------------------------------------------


def test_each_acceptor_responds_to_all_learners_and_to_the_proposer() -> None:
    """§2.3: "each acceptor, whenever it accepts a proposal, respond to all learners"."""
    group = Group([1, 2, 3], proposers=[4, 5], learners=[5, 6])
    one = Acceptor(1, group)
    to = [message.to for message in sent(one, DecreeAccept(4, 1, ballot(1, 4), b"v"))]
    assert to == [5, 6, 4]
    to = [message.to for message in sent(one, DecreeAccept(5, 1, ballot(1, 5), b"v"))]
    assert to == [5, 6]


def test_a_distinguished_learner() -> None:
    """§2.3: "have the acceptors respond with their acceptances to a distinguished learner"."""
    assert decide(Group([1, 2, 3], learners=[2]), b"v") == {b"v"}


def test_a_late_learner_asks() -> None:
    """§2.3: "The learner could ask the acceptors what proposals they have accepted"."""
    learner = Learner(1, THREE, retry_ticks=3)
    asked = learner.ask().saved()
    assert asked == tuple(DecreeAsk(1, to) for to in (1, 2, 3))
    assert learner.tick(2).saved() == ()
    assert learner.tick().saved() == asked
    (answer,) = acceptor(B21, B21, b"v").step(DecreeAsk(1, 3)).saved()
    assert answer == DecreeAccepted(3, 1, B21, b"v")
    assert sent(acceptor(B21), DecreeAsk(1, 3)) == []
    sent(learner, answer, DecreeAccepted(2, 1, B21, b"v"))
    assert learner.chosen == b"v"
    assert learner.tick(99).saved() == learner.ask().saved() == ()


def test_what_cannot_be_learnt_takes_a_new_proposal() -> None:
    """§2.3: "failure of an acceptor could make it impossible to know whether or not a majority had
    accepted a particular proposal.  In that case, learners will find out what value is chosen only
    when a new proposal is chosen." """
    learner = Learner(1, THREE)
    sent(learner, DecreeAccepted(1, 1, B11, b"v"), DecreeAccepted(2, 1, B22, b"w"))
    assert learner.chosen is None  # 3 is down, and may have accepted either
    acceptors = {1: Acceptor(1, THREE, state=AcceptorState(B11, B11, b"v"))}
    acceptors[2] = Acceptor(2, THREE, state=AcceptorState(B22, B22, b"w"))
    proposer = Proposer(1, THREE, state=ProposerState(B21))
    out = list(proposer.propose(b"x").saved())
    while out:
        message = out.pop(0)
        if message.to in acceptors:
            out += sent(acceptors[message.to], message)
        sent(learner, message)
        out += sent(proposer, message)
    assert learner.chosen == proposer.chosen == b"w"


def test_a_proposer_learns_too() -> None:
    proposer = accepting()
    sent(proposer, DecreeAccepted(1, 1, B11, b"v"))
    assert proposer.chosen is None
    sent(proposer, DecreeAccepted(3, 1, B11, b"v"))
    assert (proposer.chosen, proposer.phase) == (b"v", "done")
    assert proposer.tick(99).saved() == proposer.propose(b"w").saved() == ()
    other = proposing(b"mine")  # its rival's acceptances, which it hears of as a learner
    sent(other, DecreeAccepted(1, 1, B22, b"theirs"), DecreeAccepted(3, 1, B22, b"theirs"))
    assert (other.chosen, other.phase) == (b"theirs", "done")


def test_an_empty_value_is_a_value() -> None:
    assert decide(THREE, b"") == {b""}


# --- 2.4  Progress -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rivals", [2, 5])
def test_duelling_proposers_finish(rivals: int, seed: int) -> None:
    """§2.4: "two proposers each keep issuing a sequence of proposals with increasing numbers, none
    of which are ever chosen".  Who is refused waits, longer each time, and by chance."""
    group = Group([1, 2, 3, 4, 5])
    acceptors = {node: Acceptor(node, group) for node in group.acceptors}
    proposers = {node: Proposer(node, group, seed=seed) for node in range(1, rivals + 1)}
    now, later = [], []
    for node, proposer in proposers.items():
        later += proposer.propose(b"%d" % node).saved()
    for _ in range(2_000):
        now, later = later, []  # each message takes a tick, so that proposals overlap
        for message in now:
            later += sent(acceptors[message.to], message)
            if message.to in proposers:
                later += sent(proposers[message.to], message)
        for proposer in proposers.values():
            later += proposer.tick().saved()
        if all(proposer.chosen is not None for proposer in proposers.values()):
            break
    assert len({proposer.chosen for proposer in proposers.values()}) == 1
    assert None not in {proposer.chosen for proposer in proposers.values()}


def test_without_waiting_a_duel_goes_on() -> None:
    """What the paper describes, made to happen: each prepares before the other's phase 2."""
    acceptors = {node: Acceptor(node, THREE) for node in (1, 2, 3)}
    proposers = {node: Proposer(node, THREE, backoff_ticks=1) for node in (1, 2)}
    held: dict[int, list[DecreeMessage]] = {1: [], 2: []}
    for turn in range(20):
        mine = proposers[1 + turn % 2]
        if mine.phase == "idle":
            prepares = mine.propose(b"%d" % mine.id).saved()
        else:
            nacks = [
                nack for accept in held[mine.id] for nack in sent(acceptors[accept.to], accept)
            ]
            assert [type(nack) for nack in nacks] == [DecreeNack] * 3
            sent(mine, *nacks)
            prepares = mine.tick(2**20).saved()
        promises = [one for each in prepares for one in sent(acceptors[each.to], each)]
        held[mine.id] = sent(mine, *promises)
    assert proposers[1].chosen is None
    assert proposers[1].ballot >> 32 > 5


def test_waits_differ_and_grow_and_have_a_bound() -> None:
    def waits(id: int, seed: int) -> list[int]:
        proposer = Proposer(id, THREE, seed=seed, backoff_ticks=4, backoff_ticks_max=32)
        proposer.propose(b"v").saved()
        found = []
        for round in range(2, 40):
            other = ballot(round * 10, 3)
            sent(proposer, DecreeNack(3, id, proposer.ballot, other))
            found.append(0)
            while proposer.phase == "wait":
                proposer.tick().saved()
                found[-1] += 1
        return found

    some = waits(1, 7)
    assert some == waits(1, 7)
    assert len({tuple(waits(id, seed)) for id in (1, 2) for seed in (7, 8)}) == 4
    assert some[0] <= 4
    assert 16 < max(some) <= 32
    assert min(some) >= 1


@pytest.mark.parametrize("phase", ["prepare", "accept"])
def test_what_was_not_answered_is_repeated(phase: str) -> None:
    proposer = (proposing if phase == "prepare" else accepting)(retry_ticks=3)
    if phase == "prepare":
        sent(proposer, DecreePromise(2, 1, B11))
        wanted: Any = [DecreePrepare(1, to, B11) for to in (1, 3)]
    else:
        sent(proposer, DecreeAccepted(2, 1, B11, b"v"))
        wanted = [DecreeAccept(1, to, B11, b"v") for to in (1, 3)]
    for _ in range(2):
        assert proposer.tick(2).saved() == ()
        assert list(proposer.tick().saved()) == wanted


# --- 2.5  The implementation ---------------------------------------------------------------------


def test_an_acceptor_records_its_response_before_sending_it() -> None:
    """§2.5: "An acceptor records its intended response in stable storage before actually sending
    the response."  There are no messages before `saved()`, and the state comes again until then."""
    one = acceptor()
    prepare = one.step(DecreePrepare(1, 3, B11))
    assert not hasattr(prepare, "messages")
    repeated = one.step(DecreePrepare(1, 3, B11))  # the first is not written yet
    assert repeated.state == prepare.state == AcceptorState(B11)
    accept = one.step(DecreeAccept(1, 3, B11, b"v"))
    accept.saved()  # the last state contains the ones before it
    assert one.step(DecreePrepare(1, 3, B11)).state is None
    prepare.saved()  # and an older one takes nothing back
    assert one.step(DecreeAsk(1, 3)).state is None
    one.step(DecreePrepare(1, 3, B21))  # refused by the disk: nobody says saved()
    assert one.step(DecreeAsk(1, 3)).state == AcceptorState(B21, B11, b"v")


def test_an_acceptor_restarts_from_what_is_durable() -> None:
    """§2.5: "Stable storage, preserved during failures, is used to maintain the information that
    the acceptor must remember." """
    one = acceptor()
    step = one.step(DecreeAccept(1, 3, B11, b"v"))
    again = Acceptor(3, THREE, state=AcceptorState.from_bytes(step.state.to_bytes()))
    assert sent(again, DecreePrepare(2, 3, B22)) == [DecreePromise(3, 2, B22, B11, b"v")]
    assert sent(again, DecreeAccept(1, 3, B21, b"x")) == [DecreeNack(3, 1, B21, B22)]


def test_ballots_are_disjoint_and_name_their_owner() -> None:
    """§2.5: "Different proposers choose their numbers from disjoint sets of numbers, so two
    different proposers never issue a proposal with the same number"; any id will do."""
    group = Group(["a", "b", "c"])
    states = [Proposer(node, group).propose(b"v").state for node in group.proposers]
    assert len({state.ballot for state in states}) == 3
    assert [group.owner(state.ballot) for state in states] == ["a", "b", "c"]
    assert decide(group, b"v") == {b"v"}
    assert decide(Group([2**62 + 1, 2**63 - 1, 7]), b"v") == {b"v"}


def test_a_proposer_that_restarts_uses_a_higher_number() -> None:
    """§2.5: "Each proposer remembers (in stable storage) the highest-numbered proposal it has tried
    to issue, and begins phase 1 with a higher proposal number than any it has already used." """
    state = None
    used = []
    for _ in range(4):
        proposer = Proposer(1, THREE, state=state)
        step = proposer.propose(b"v")
        assert step.state is not None
        state = ProposerState.from_bytes(step.state.to_bytes())
        used.append(state.ballot)
        step.saved()
        assert proposer.tick(99).state is None  # the same ballot again: it is durable
    assert used == sorted(set(used))
    # Answers to its earlier life mean nothing to it.
    idle = Proposer(1, THREE, state=state)
    assert sent(idle, DecreePromise(2, 1, used[-1]), DecreePromise(3, 1, used[-1])) == []
    assert idle.phase == "idle"


def test_a_proposer_learns_from_nacks_what_to_outbid() -> None:
    proposer = proposing()
    sent(proposer, DecreeNack(2, 1, B11, ballot(9, 3)))
    assert proposer.tick(99).state == ProposerState(ballot(10, 1))


# --- Flexible quorums ----------------------------------------------------------------------------


def test_flexible_quorums() -> None:
    """Howard et al.: phase 1 with four of five, phase 2 with two."""
    group = Group(Flexible([1, 2, 3, 4, 5], replication=2, election=4))
    proposer = Proposer(1, group)
    proposer.propose(b"v").saved()
    assert sent(proposer, *(DecreePromise(node, 1, B11) for node in (1, 2, 3))) == []
    assert len(sent(proposer, DecreePromise(5, 1, B11))) == 5
    sent(proposer, DecreeAccepted(2, 1, B11, b"v"))
    assert proposer.chosen is None
    sent(proposer, DecreeAccepted(4, 1, B11, b"v"))
    assert proposer.chosen == b"v"


def test_a_grid_where_rows_prepare_and_columns_choose() -> None:
    """Election quorums that do not meet each other: ballots are owned."""
    group = Group(Flexible.by_grid([[1, 2, 3], [4, 5, 6]], owned_ballots=True))
    proposer = Proposer(1, group)
    proposer.propose(b"v").saved()
    assert sent(proposer, *(DecreePromise(node, 1, B11) for node in (1, 4, 5, 3))) == []
    assert len(sent(proposer, DecreePromise(2, 1, B11))) == 6
    learner = Learner(6, group)
    sent(learner, *(DecreeAccepted(node, 6, B11, b"v") for node in (1, 2, 3, 5)))
    assert learner.chosen == b"v"
    with pytest.raises(QuorumError, match="must meet"):
        Group(Flexible([1, 2, 3], replication=1, election=2))


# --- bad input -----------------------------------------------------------------------------------

FAR = ballot(decree.ROUND_JUMP_MAX + 5, 1)

REFUSED_BY_ACCEPTOR = [
    (DecreePrepare(9, 3, ballot(3, 9)), "not a proposer"),
    (DecreePrepare(2, 3, B31), "ballot of another proposer"),
    (DecreePrepare(1, 2, B31), "for another process"),
    (DecreePrepare(1, 3, 0), "impossible ballot"),
    (DecreePrepare(1, 3, -5), "impossible ballot"),
    (DecreePrepare(1, 3, 1), "impossible ballot"),
    (DecreePrepare(1, 3, ballot(ROUND_MAX + 1, 1)), "impossible ballot"),
    (DecreePrepare(1, 3, FAR), "ballot too far ahead"),
    (DecreePrepare(1, 3, B11), "below the promise"),
    (DecreeAccept(9, 3, ballot(3, 9), b"x"), "not a proposer"),
    (DecreeAccept(2, 3, B31, b"x"), "ballot of another proposer"),
    (DecreeAccept(1, 3, B11, b"x"), "below the promise"),
    (DecreeAccept(2, 3, B22, b"x"), "two values in one ballot"),
    (DecreeAccept(1, 3, B31, "x"), "not a value"),  # type: ignore[arg-type]
    (DecreeAccept(1, 3, B31, None), "not a value"),  # type: ignore[arg-type]
    (DecreeAccept(1, 3, FAR, b"x"), "ballot too far ahead"),
    (DecreeAsk(9, 3), "not a member"),
    (DecreeAsk(1, 2), "for another process"),
]


@pytest.mark.parametrize(("message", "reason"), REFUSED_BY_ACCEPTOR, ids=str)
def test_an_acceptor_refuses(message: DecreeMessage, reason: str) -> None:
    before = AcceptorState(B22, B22, b"w")
    one = acceptor(B22, B22, b"w")
    step = one.step(message)
    assert step.state is None
    assert all(type(answer) is DecreeNack for answer in step.saved())
    assert one.state == before
    assert one.rejected == {reason: 1}


REFUSED_BY_LEARNER = [
    (DecreeAccepted(9, 1, B22, b"x"), "not an acceptor"),
    (DecreeAccepted(3, 2, B22, b"w"), "for another process"),
    (DecreeAccepted(3, 1, 0, b"w"), "impossible ballot"),
    (DecreeAccepted(3, 1, ballot(2, 9), b"w"), "ballot of no proposer"),
    (DecreeAccepted(3, 1, B22, b"x"), "two values in one ballot"),
    (DecreeAccepted(3, 1, B22, 5), "not a value"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("message", "reason"), REFUSED_BY_LEARNER, ids=str)
def test_a_learner_refuses(message: DecreeMessage, reason: str) -> None:
    for role in (Learner(1, THREE), accepting()):
        sent(role, DecreeAccepted(2, 1, B22, b"w"), message)
        assert role.chosen is None
        assert role.rejected == {reason: 1}
        sent(role, DecreeAccepted(3, 1, B22, b"w"))
        assert role.chosen == b"w"


def test_a_choice_is_never_taken_back() -> None:
    learner = Learner(1, THREE)
    sent(learner, *(DecreeAccepted(node, 1, B21, b"v") for node in (1, 2)))
    sent(learner, *(DecreeAccepted(node, 1, B11, b"w") for node in (2, 3)))  # an old one, late
    assert learner.rejected == {}
    sent(learner, *(DecreeAccepted(node, 1, B22, b"w") for node in (2, 3)))
    assert learner.rejected == {"another value than the chosen one": 2}
    assert (learner.chosen, learner.ballot) == (b"v", B21)


REFUSED_BY_PROPOSER = [
    (DecreePromise(9, 1, B11), "not an acceptor"),
    (DecreePromise(3, 2, B11), "for another process"),
    (DecreePromise(3, 1, B12), "ballot of another proposer"),
    (DecreePromise(3, 1, B21), "ballot that was never used"),
    (DecreePromise(3, 1, B11, B11, b"x"), "impossible ballot"),
    (DecreePromise(3, 1, B11, 5, b"x"), "impossible ballot"),
    (DecreePromise(3, 1, B11, 0, b"x"), "a value that was accepted in no ballot"),
    (DecreePromise(3, 1, B22, B11, None), "not a value"),
    (DecreeNack(9, 1, B11, B22), "not an acceptor"),
    (DecreeNack(3, 1, B11, B11), "impossible ballot"),
    (DecreeNack(3, 1, B11, ballot(2, 9)), "ballot of no proposer"),
    (DecreeNack(3, 1, B11, FAR), "ballot too far ahead"),
    (DecreeNack(3, 1, B31, ballot(4, 2)), "ballot that was never used"),
    (DecreeNack(3, 1, 0, B22), "impossible ballot"),
]


@pytest.mark.parametrize(("message", "reason"), REFUSED_BY_PROPOSER, ids=str)
def test_a_proposer_refuses(message: DecreeMessage, reason: str) -> None:
    proposer = proposing()
    sent(proposer, DecreePromise(2, 1, B11))
    step = proposer.step(message)
    assert (step.state, step.saved()) == (None, ())
    assert proposer.rejected == {reason: 1}
    assert (proposer.phase, proposer.ballot) == ("prepare", B11)
    assert len(sent(proposer, DecreePromise(3, 1, B11))) == 3


def test_a_promise_that_contradicts_another_is_refused() -> None:
    proposer = Proposer(1, Group([1, 2, 3, 4, 5]), state=ProposerState(B21))
    proposer.propose(b"v").saved()
    sent(proposer, DecreePromise(2, 1, B31, B22, b"x"), DecreePromise(3, 1, B31, B22, b"y"))
    assert proposer.rejected == {"two values in one ballot": 1}
    sent(proposer, DecreePromise(4, 1, B31, ballot(2, 9), b"y"))
    assert proposer.rejected["ballot of no proposer"] == 1


def test_roles_leave_the_messages_of_others_alone() -> None:
    every = [
        DecreePrepare(1, 3, B11),
        DecreePromise(1, 3, B11),
        DecreeAccept(1, 3, B11, b"v"),
        DecreeAccepted(1, 3, B11, b"v"),
        DecreeNack(1, 3, B11, B12),
        DecreeAsk(1, 3),
    ]
    takes = {Acceptor: {0, 2, 5}, Learner: {3}, Proposer: {1, 3, 4}}
    for role, own in takes.items():
        for number, message in enumerate(every):
            if number not in own:
                one = role(3, THREE)
                step = one.step(message)
                assert (step.state, step.saved(), one.rejected) == (None, (), {})


@pytest.mark.parametrize("role", [Acceptor, Learner, Proposer])
def test_misuse(role: Any) -> None:
    one = role(1, THREE)
    for wrong in (None, b"x", object(), B11):
        with pytest.raises(MisuseError, match="takes a message"):
            one.step(wrong)
    with pytest.raises(MembershipError, match="9"):
        role(9, THREE)
    with pytest.raises(QuorumError):
        role(1, [])
    assert role(1, [1, 2, 3]).group.acceptors == role(1, Majority([1, 2, 3])).group.acceptors


def test_misuse_of_a_proposer() -> None:
    proposer = Proposer(1, THREE)
    for wrong in ("text", None, bytearray(b"x")):
        with pytest.raises(SettingTypeError, match="bytes"):
            proposer.propose(wrong)  # type: ignore[arg-type]
    with pytest.raises(LimitError):
        proposer.propose(bytes(2**28 + 1))
    assert (proposer.phase, proposer.ballot, proposer.value) == ("idle", 0, None)
    proposer.propose(b"v")
    with pytest.raises(MisuseError, match="already"):
        proposer.propose(b"w")
    for ticks in (0, -1, 1.5, True, "1"):
        with pytest.raises(SettingError, match="ticks"):
            proposer.tick(ticks)  # type: ignore[arg-type]
        with pytest.raises(SettingError, match="ticks"):
            Learner(1, THREE).tick(ticks)  # type: ignore[arg-type]
        for name in ("retry_ticks", "backoff_ticks", "backoff_ticks_max"):
            with pytest.raises(SettingError, match=name):
                Proposer(1, THREE, **{name: ticks})  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="not one of"):
        Proposer(1, THREE, state=ProposerState(B12))


def test_ballots_come_to_an_end() -> None:
    last = ProposerState(ballot(ROUND_MAX, 1))
    proposer = Proposer(1, THREE, state=last)
    with pytest.raises(LimitError, match="no ballot after"):
        proposer.propose(b"v")
    assert (proposer.phase, proposer.state, proposer.value) == ("idle", last, None)


def test_groups_that_cannot_be() -> None:
    with pytest.raises(MembershipError, match="same ballots"):
        Group([1, 2, 3], proposers=["a", hashing.crc32c(b"a")])
    for wrong in (0, -1, "", 1.5, True):
        with pytest.raises(MembershipError):
            Group([1], learners=[wrong])  # type: ignore[list-item]
    with pytest.raises(QuorumError):
        Group([1, 1])


# --- what is durable, as bytes -------------------------------------------------------------------

BALLOTS = st.builds(ballot, st.integers(1, ROUND_MAX), st.integers(1, 2**32 - 1))


@given(BALLOTS, BALLOTS, st.none() | st.binary(max_size=50))
def test_states_as_bytes(one: int, other: int, value: bytes | None) -> None:
    state = AcceptorState(max(one, other), 0 if value is None else min(one, other), value)
    data = state.to_bytes()
    assert len(data) == 32 + len(value or b"")
    again = AcceptorState.from_bytes(data)
    assert again == state == pickle.loads(pickle.dumps(state))
    assert hash(again) == hash(state)
    assert repr(again) == repr(state)
    proposer = ProposerState(one)
    assert ProposerState.from_bytes(proposer.to_bytes()) == proposer
    assert pickle.loads(pickle.dumps(proposer)) == proposer
    for kind in (AcceptorState, ProposerState):
        for whole in (data, proposer.to_bytes()):
            for cut in range(len(whole)):
                with pytest.raises(FormatError):
                    kind.from_bytes(whole[:cut])
            broken = bytearray(whole)
            broken[one % len(whole)] ^= 1 << other % 8
            with pytest.raises(FormatError):
                kind.from_bytes(bytes(broken))


def test_the_layout_of_states() -> None:
    """Golden: these bytes lie on disks."""
    assert AcceptorState(B22, B11, b"v").to_bytes().hex() == (
        "52444131020000000200000001000000010000000200000000000000762a815308"
    )
    assert ProposerState(B21).to_bytes().hex() == "524450310100000002000000d04b7f3c"


@pytest.mark.parametrize(
    "wrong",
    [
        (B11, B12, b"v"),
        (B11, B11, None),
        (B11, 0, b"v"),
        (5, 0, None),
        (-1, 0, None),
        (B11, B11, "v"),
        (ballot(ROUND_MAX + 1, 1), 0, None),
    ],
)
def test_states_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(SettingError):
        AcceptorState(*wrong)
    with pytest.raises(SettingError):
        ProposerState(5)
    for data in (b"", b"RDA1", None, "text", bytes(40)):
        with pytest.raises(FormatError):
            AcceptorState.from_bytes(data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "body",
    [
        decree.state._ACCEPTOR.pack(b"RDA1", B11, B12, 2) + b"v",  # accepted above the promise
        decree.state._ACCEPTOR.pack(b"RDA1", B11, B11, 3) + b"v",  # another length
        decree.state._ACCEPTOR.pack(b"RDA1", B11, 0, 0) + b"v",
        decree.state._ACCEPTOR.pack(b"RDA1", 2**64 - 1, 0, 0),
        decree.state._PROPOSER.pack(b"RDP1", 7),
        decree.state._PROPOSER.pack(b"RDP1", 2**64 - 1),
        decree.state._PROPOSER.pack(b"RDP1", B11) + b"v",
    ],
)
def test_bytes_with_a_right_checksum_and_a_wrong_state(body: bytes) -> None:
    kind = AcceptorState if body.startswith(b"RDA1") else ProposerState
    with pytest.raises(FormatError):
        kind.from_bytes(decree.state._sealed(body))


def test_messages_are_values() -> None:
    every = [message for message, _ in (*REFUSED_BY_ACCEPTOR, *REFUSED_BY_PROPOSER)]
    for message in every:
        again = pickle.loads(pickle.dumps(message))
        assert again == message
        assert (hash(again), repr(again)) == (hash(message), repr(message))
    assert len(set(every)) == len(every)


# --- any order, losses, repetitions, crashes -----------------------------------------------------


class Violation(AssertionError):
    """What the paper rules out has happened."""


class World:
    """A group with all roles on every process, a network and disks, under a seed; it checks the
    guarantees by what lies on the disks, not by what the roles say.

    `truth` is what decides whether a value is chosen.  The rest are mistakes to be made.
    """

    def __init__(
        self,
        seed: int,
        system: QuorumSystem,
        *,
        truth: QuorumSystem | None = None,
        acceptor: type[Acceptor] = Acceptor,
        proposer: type[Proposer] = Proposer,
        learner: type[Learner] = Learner,
        keeps_ballots: bool = True,
        writes_first: bool = True,
    ) -> None:
        self.random = Random(seed)
        self.losses = self.random.choice((0.0, 0.1, 0.3, 0.6))
        self.repeats = self.random.choice((0.0, 0.1, 0.3))
        self.crashes = self.random.choice((0.1, 0.3, 0.7))
        self.group = Group(system)
        self.truth = truth or system
        self.kinds = acceptor, proposer, learner
        self.keeps_ballots = keeps_ballots
        self.writes_first = writes_first
        self.under_way: list[DecreeMessage] = []
        self.cut: set[int] = set()
        self.disks: dict[tuple[int, type], bytes] = {}
        self.up: dict[int, tuple[Acceptor, Proposer, Learner]] = {}
        self.proposed: set[bytes] = set()
        self.in_ballot: dict[int, bytes] = {}
        self.accepted: dict[tuple[int, bytes], set[int]] = {}
        self.chosen: set[bytes] = set()
        self.unwritten: dict[int, list[Any]] = {}
        for node in self.group.acceptors:
            self.start(node)

    def start(self, node: int) -> None:
        acceptor, proposer, learner = self.kinds
        data = self.disks.get((node, AcceptorState))
        ballots = self.disks.get((node, ProposerState)) if self.keeps_ballots else None
        self.up[node] = (
            acceptor(node, self.group, state=data and AcceptorState.from_bytes(data)),
            proposer(
                node,
                self.group,
                state=ballots and ProposerState.from_bytes(ballots),
                seed=self.random.randrange(2**30),
            ),
            learner(node, self.group),
        )
        self.unwritten[node] = []
        self.take(node, self.up[node][2].ask())

    def take(self, node: int, step: Any) -> None:
        """Write and send, now or later, together with what comes after it."""
        self.unwritten[node].append(step)
        if self.random.random() < 0.8:
            self.flush(node)

    def flush(self, node: int) -> None:
        steps, self.unwritten[node] = self.unwritten[node], []
        newest = {type(step.state): step.state for step in steps if step.state is not None}
        if self.writes_first:
            self.write(node, newest)
        for step in steps:
            self.send(step.saved())
        if not self.writes_first and self.random.random() < 0.5:
            self.write(node, newest)

    def write(self, node: int, newest: dict[type, Any]) -> None:
        for kind, state in newest.items():
            self.disks[node, kind] = state.to_bytes()

    def send(self, messages: tuple[DecreeMessage, ...]) -> None:
        for message in messages:
            if isinstance(message, DecreeAccept):
                if self.in_ballot.setdefault(message.ballot, message.value) != message.value:
                    raise Violation("two proposals with one number")
            elif isinstance(message, DecreeAccepted):
                who = self.accepted.setdefault((message.ballot, message.value), set())
                who.add(message.sender)
                if self.truth.has_quorum(who):
                    self.chosen.add(message.value)
        self.under_way += messages
        self.check()

    def check(self) -> None:
        if len(self.chosen) > 1:
            raise Violation("two values were chosen")
        if not self.chosen <= self.proposed:
            raise Violation("a value was chosen that nobody proposed")
        for _, proposer, learner in self.up.values():
            for learnt in (proposer.chosen, learner.chosen):
                if learnt is not None and learnt not in self.chosen:
                    raise Violation("a value was learnt that is not chosen")

    def deliver(self, message: DecreeMessage) -> None:
        # What one role gives may be written after another one has stepped.
        for role in self.up.get(message.to, ()):
            self.take(message.to, role.step(message))
        self.check()

    def propose(self, node: int, value: bytes) -> None:
        proposer = self.up[node][1]
        if proposer.phase == "idle":
            self.proposed.add(value)
            self.take(node, proposer.propose(value))

    def act(self) -> None:
        draw = self.random
        action = draw.random()
        node = draw.choice(self.group.acceptors)
        if action < 0.02:
            self.cut = set(draw.sample(self.group.acceptors, draw.randrange(2)))
        elif action < 0.78:
            if self.under_way:
                self.carry()
        elif node not in self.up:
            if draw.random() < 0.3:
                self.start(node)
        elif action < 0.88:
            for role in self.up[node][1:]:
                self.take(node, role.tick(draw.randrange(1, 60)))
        elif action < 0.95:
            self.propose(node, b"%d" % draw.randrange(50))
        elif draw.random() < self.crashes:
            if draw.random() < 0.3:  # written, but not sent
                newest = [step.state for step in self.unwritten[node] if step.state is not None]
                self.write(node, {type(state): state for state in newest})
            del self.up[node]

    def carry(self) -> None:
        """A message arrives, or is lost, or will come again; half of them are new ones, so that
        proposals get somewhere while old ones linger."""
        count = len(self.under_way)
        at = self.random.randrange(max(0, count - 6) if self.random.random() < 0.5 else 0, count)
        message = self.under_way[at]
        if self.random.random() > self.repeats:
            self.under_way[at] = self.under_way[-1]
            self.under_way.pop()
        apart = message.sender != message.to and self.cut & {message.sender, message.to}
        if not apart and self.random.random() > self.losses:
            self.deliver(message)

    def heal(self) -> None:
        """All are up, nothing is lost: everybody learns what is chosen."""
        for node in self.group.acceptors:
            if node not in self.up:
                self.start(node)
        for ticks in range(4_000):
            for node, roles in self.up.items():
                if ticks % 50 == 0:
                    self.propose(node, b"late %d" % node)
                for role in roles[1:]:
                    self.take(node, role.tick())
                self.flush(node)
            for message in self.under_way[:]:
                self.deliver(message)
                self.under_way.remove(message)
            if all(roles[2].chosen is not None for roles in self.up.values()):
                break
        else:
            raise Violation("nothing was ever learnt")
        self.check()

    def suffer(self, actions: int = 800) -> None:
        for _ in range(actions):
            self.act()


SYSTEMS = [
    Majority([1, 2, 3]),
    Majority([1, 2, 3, 4]),
    Majority([1, 2, 3, 4, 5]),
    Flexible([1, 2, 3, 4], replication=2, election=3),
    Flexible.by_grid([[1, 2], [3, 4]], owned_ballots=True),
    Flexible([1, 2, 3], replication=3, election=1, owned_ballots=True),
]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(SYSTEMS))
def test_whatever_happens_one_value_is_chosen(seed: int, system: QuorumSystem) -> None:
    """§2.1: the safety requirements; and once everything works again, progress."""
    world = World(seed, system)
    world.suffer()
    world.heal()


def test_the_world_is_not_too_kind() -> None:
    """The runs above have what they claim: refusals, restarts in the middle, several proposers."""
    seen: Counter[str] = Counter()
    for seed in range(20):
        world = World(seed, SYSTEMS[0])
        for _ in range(800):
            world.act()
            for acceptor, proposer, _ in world.up.values():
                seen["nacks"] += proposer.nacks > 0
                seen["below the promise"] += acceptor.rejected.get("below the promise", 0) > 0
        seen["accepted in more than one ballot"] += len(world.accepted) > 1
        seen["chosen before it healed"] += bool(world.chosen)
        seen["several values"] += len({value for _, value in world.accepted}) > 1
    assert all(seen[name] > 0 for name in seen), seen
    assert len(seen) == 5


class Forgets(Acceptor):
    """Promises, and does not remember it."""

    def _promised(self, ballot: int) -> AcceptorState:
        return self.state


class ForgetsAccepted(Acceptor):
    """Remembers its promise, and no more what it has accepted."""

    def _promised(self, ballot: int) -> AcceptorState:
        return AcceptorState(ballot)


class AcceptsBelow(Acceptor):
    def _may_accept(self, ballot: int) -> bool:
        return True


class PrefersItsOwn(Proposer):
    def _picked(self) -> bytes | None:
        return self.value


class PicksTheLowest(Proposer):
    """Takes the value of the first promise that tells of one."""

    told: bytes | None = None

    def _on_promise(self, message: DecreePromise) -> Any:
        if message.ballot == self.ballot and self.told is None:
            self.told = message.value
        return Proposer._on_promise(self, message)

    def _begin(self) -> Any:
        self.told = None
        return Proposer._begin(self)

    def _picked(self) -> bytes | None:
        return self.told if self.told is not None else self.value


class AlwaysTheSameBallot(Proposer):
    def _next_ballot(self) -> int:
        return ballot(1, self.id)


class LearnsTooSoon(Learner):
    def _is_chosen(self, message: DecreeAccepted) -> bool:
        return True


class CountsValues(Learner):
    """Adds up acceptances of one value, whatever their ballots."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.who: dict[bytes, set[int]] = {}

    def _is_chosen(self, message: DecreeAccepted) -> bool:
        who = self.who.setdefault(message.value, set())
        who.add(message.sender)
        return self.group.quorum.has_quorum(who)


class Apart(QuorumSystem):
    """Any one acceptor is a quorum: what `Flexible` refuses."""

    __slots__ = ()

    def __init__(self, election: int, replication: int) -> None:
        voters = (1, 2, 3, 4)
        self._set(
            voters=voters,
            election=AtLeast(election, voters),
            replication=AtLeast(replication, voters),
            elections_intersect=False,
        )


MISTAKES: dict[str, dict[str, Any]] = {
    "a promise is forgotten": {"acceptor": Forgets},
    "an acceptance is forgotten": {"acceptor": ForgetsAccepted},
    "accepts below its promise": {"acceptor": AcceptsBelow},
    "proposes its own value whatever it hears": {"proposer": PrefersItsOwn},
    "takes any value that it hears of": {"proposer": PicksTheLowest},
    "uses a ballot again": {"proposer": AlwaysTheSameBallot},
    "uses a ballot again after a crash": {"keeps_ballots": False},
    "sends before it writes": {"writes_first": False},
    "quorums that do not meet": {"system": Apart(2, 2)},
    "quorums of phase 1 alone are too small": {"system": Apart(1, 3)},
    "learns from one acceptor": {"learner": LearnsTooSoon},
    "counts values, not ballots": {"learner": CountsValues},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_caught(mistake: str) -> None:
    """The runs that the algorithm survives find each of these."""
    how = dict(MISTAKES[mistake])
    system = how.pop("system", SYSTEMS[0])
    tried = 2_000
    for seed in range(tried):
        try:
            world = World(seed, system, **how)
            world.suffer()
        except Violation:
            return
    pytest.fail(f"not found in {tried} runs")


def decide(group: Group, value: bytes) -> set[bytes | None]:
    """What the first proposer and all learners of a group learn when nothing is lost."""
    acceptors = {node: Acceptor(node, group) for node in group.acceptors}
    learners = {node: Learner(node, group) for node in group.learners}
    proposer = Proposer(group.proposers[0], group)
    out = list(proposer.propose(value).saved())
    while out:
        message = out.pop(0)
        for role in (acceptors.get(message.to), learners.get(message.to)):
            if role is not None:
                out += sent(role, message)
        if message.to == proposer.id:
            out += sent(proposer, message)
    return {proposer.chosen, *(learner.chosen for learner in learners.values())}


# --- any message at all --------------------------------------------------------------------------

ANY_NODE = st.sampled_from([1, 2, 3, 4, "a", 0, -1])
ANY_BALLOT = st.one_of(
    st.sampled_from([0, 1, -1, B11, B12, B21, B22, B31, FAR, 2**62, 2**63 - 1, -(2**63)]),
    st.integers(-(2**63), 2**63 - 1),
    st.builds(ballot, st.integers(0, 5), st.integers(0, 4)),
)
ANY_VALUE: Any = st.sampled_from([b"v", b"w", b"", None, "v", 7, bytearray(b"v"), [b"v"]])
ANY_MESSAGE: Any = st.one_of(
    st.builds(DecreeMessage, ANY_NODE, ANY_NODE, ANY_BALLOT),
    st.builds(DecreePrepare, ANY_NODE, ANY_NODE, ANY_BALLOT),
    st.builds(DecreePromise, ANY_NODE, ANY_NODE, ANY_BALLOT, ANY_BALLOT, ANY_VALUE),
    st.builds(DecreeAccept, ANY_NODE, ANY_NODE, ANY_BALLOT, ANY_VALUE),
    st.builds(DecreeAccepted, ANY_NODE, ANY_NODE, ANY_BALLOT, ANY_VALUE),
    st.builds(DecreeNack, ANY_NODE, ANY_NODE, ANY_BALLOT, ANY_BALLOT),
    st.builds(DecreeAsk, ANY_NODE, ANY_NODE),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(ANY_MESSAGE | st.integers(1, 20), max_size=40))
def test_any_messages_leave_roles_that_work(given: list[Any]) -> None:
    """Nothing breaks a role, durable state never goes back, and it can always be written and read
    again; what one refuses changes nothing but a count."""
    acceptor = Acceptor(1, THREE)
    proposer = Proposer(1, THREE)
    learner = Learner(1, THREE)
    proposer.propose(b"v").saved()
    for message in given:
        if isinstance(message, int):
            proposer.tick(message).saved()
            learner.tick(message).saved()
            continue
        before, count = acceptor.state, sum(acceptor.rejected.values())
        step = acceptor.step(message)
        after = acceptor.state
        assert after.promised >= before.promised
        assert after.accepted >= before.accepted
        assert AcceptorState.from_bytes(after.to_bytes()) == after
        if sum(acceptor.rejected.values()) > count:
            assert after == before
            assert all(type(answer) is DecreeNack for answer in step.saved())
        for answer in (*step.saved(), *proposer.step(message).saved()):
            assert answer.problem() is None
        chosen = learner.chosen
        learner.step(message).saved()
        assert chosen is None or learner.chosen == chosen
        assert learner.chosen is None or type(learner.chosen) is bytes
