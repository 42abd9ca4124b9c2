"""One test for each rule of the Raft paper, in its order.

§n is a section of Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm
(Extended Version)", 2014; D§n one of Ongaro's dissertation, 2014.  Sentences in quotation marks are
theirs, the others say in our words what they say at length.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from core_group import answer, work
from raft_group import PLAIN, Group, acknowledge, elect, raft, stored

from ringleader.consensus.log import Block
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.raft import Config, Raft
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    InstallSnapshot,
    ReadReply,
    ReadRequest,
    RequestVote,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from ringleader.errors import MembershipError, NotLeader, ProposalRefused
from ringleader.kernels import hashing

ROLES = ["follower", "candidate", "leader"]


def in_role(role: str, term: int, **more: Any) -> Raft:
    core = raft(term=term - (role != "follower"), **more)
    if role != "follower":
        core.campaign()
        work(core)
    if role == "leader":
        core.step(VoteReply(2, 1, core.term, True))
        work(core)
    assert (core.role, core.term) == (role, term)
    return core


def heartbeat(core: Raft, term: int, sender: int = 2, **more: Any) -> AppendEntries:
    return AppendEntries(sender, core.id, term, 0, 0, 0, 1, **more)


# --- 5.1  Raft basics ------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_a_smaller_term_is_updated_to_the_larger(role: str) -> None:
    """§5.1: "if one server's current term is smaller than the other's, then it updates its current
    term to the larger value." "If a candidate or leader discovers that its term is out of date, it
    immediately reverts to follower state.\""""
    core = in_role(role, 3)
    core.step(heartbeat(core, 5))
    assert (core.role, core.term, core.leader, core.vote) == ("follower", 5, 2, None)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "message",
    [
        AppendEntries(2, 1, 3, 0, 0, 0, 1, Block.pack(1, 3, [b"x"])),
        RequestVote(2, 1, 3, 9, 2),
        InstallSnapshot(2, 1, 3, 5, 2, Membership([1, 2, 3]).to_bytes(), 1, 0, 0, b"x"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_requests_of_a_stale_term_are_rejected(role: str, message: Any) -> None:
    """§5.1: "If a server receives a request with a stale term number, it rejects the request." The
    answer carries the current term, for the sender "to update itself" (figure 2)."""
    core = in_role(role, 5)
    before = core.status()
    replies = answer(core, message)
    assert [(reply.to, reply.term) for reply in replies] == [(2, 5)]
    assert getattr(replies[0], "granted", False) is False
    assert getattr(replies[0], "refused", True) is True
    assert core.status() == before


def test_terms_only_grow() -> None:
    """§5.1: a server stores a current term number, "which increases monotonically over time"."""
    core = raft(term=4)
    for term in (2, 7, 3, 7, 9, 1):
        core.step(heartbeat(core, term))
    assert core.term == 9


# --- 5.2  Leader election --------------------------------------------------------------------


def test_servers_start_as_followers() -> None:
    """§5.2: "When servers start up, they begin as followers", also those that led before."""
    assert raft().role == "follower"
    assert raft(terms=[1, 2], term=5, vote=1).role == "follower"


def test_a_follower_stays_one_while_it_hears_a_leader() -> None:
    """§5.2: "A server remains in follower state as long as it receives valid RPCs from a leader or
    candidate.\""""
    core = raft(term=1)
    for _ in range(50):
        core.tick(9)
        core.step(heartbeat(core, 1))
        work(core)
    assert core.role == "follower"


def test_a_leader_sends_heartbeats() -> None:
    """§5.2: "Leaders send periodic heartbeats (AppendEntries RPCs that carry no log entries) to all
    followers in order to maintain their authority.\""""
    core = raft(config=replace(PLAIN, heartbeat_ticks=3))
    elect(core)
    acknowledge(core, 2)
    acknowledge(core, 3)
    for count, expected in ((2, []), (1, [2, 3]), (2, []), (1, [2, 3])):
        core.tick(count)
        sent = work(core)
        assert [message.to for message in sent] == expected
        assert all(message.block is None for message in sent)


@pytest.mark.parametrize("role", ["follower", "candidate"])
def test_silence_begins_an_election(role: str) -> None:
    """§5.2: "If a follower receives no communication over a period of time called the election
    timeout, then it assumes there is no viable leader and begins an election": it increments its
    term, becomes a candidate, votes for itself and asks all others.  A candidate that hears nothing
    does the same again."""
    core = in_role(role, 2)
    core.tick(2 * core.config.election_ticks)
    assert (core.role, core.term, core.vote) == ("candidate", 3, 1)
    requests = [message for message in work(core) if message.term == 3]
    assert [(type(request), request.to) for request in requests] == [
        (RequestVote, 2),
        (RequestVote, 3),
    ]


@pytest.mark.parametrize(
    ("voters", "votes", "role"),
    [
        (1, {}, "leader"),
        (3, {2: True, 3: True}, "leader"),
        (3, {2: True}, "leader"),
        (5, {2: True, 3: True}, "leader"),
        (5, {2: True, 3: True, 4: False, 5: False}, "leader"),
        (3, {2: False, 3: False}, "follower"),
        (5, {2: False, 3: False, 4: False}, "follower"),
        (3, {}, "candidate"),
        (5, {2: True, 3: False}, "candidate"),
        (4, {2: True}, "candidate"),
        (4, {2: False, 3: False}, "follower"),
        (3, {2: False}, "candidate"),
    ],
)
def test_a_majority_of_votes_wins(voters: int, votes: dict[int, bool], role: str) -> None:
    """§5.2: "A candidate wins an election if it receives votes from a majority of the servers in
    the full cluster for the same term.\""""
    core = raft(voters=voters)
    core.campaign()
    work(core)
    for voter, granted in votes.items():
        core.step(VoteReply(voter, 1, 1, granted))
    assert core.role == role


def test_a_vote_counts_once() -> None:
    """§5.2: a majority is one of servers, not of messages: a repeated vote adds nothing."""
    core = raft(voters=5)
    core.campaign()
    work(core)
    for _ in range(5):
        core.step(VoteReply(2, 1, 1, True))
    assert core.role == "candidate"


def test_votes_of_an_earlier_term_do_not_count() -> None:
    """§5.2: "... for the same term"."""
    core = raft()
    core.campaign()
    work(core)
    core.tick(20)
    work(core)
    assert core.term == 2
    core.step(VoteReply(2, 1, 1, True))
    assert core.role == "candidate"


def test_one_vote_a_term_first_come_first_served() -> None:
    """§5.2: "Each server will vote for at most one candidate in a given term, on a
    first-come-first-served basis." Asked again by the same one, it says the same again."""
    core = raft(voters=3)
    granted = [
        answer(core, RequestVote(candidate, 1, term, 0, 0))[0].granted
        for candidate, term in ((2, 1), (3, 1), (2, 1), (3, 2), (2, 2))
    ]
    assert granted == [True, False, True, True, False]


def test_a_vote_survives_a_crash() -> None:
    """§5.2, figure 2: votedFor is "updated on stable storage before responding to RPCs"."""
    storage = stored([])
    core = raft(storage=storage)
    core.step(RequestVote(2, 1, 1, 0, 0))
    ready = core.ready()
    assert ready.early == 0
    assert isinstance(ready.messages[0], VoteReply)  # leaves after the write only
    storage.write(ready, lambda ready: None)
    core = raft(storage=storage)
    assert (core.term, core.vote) == (1, 2)
    assert answer(core, RequestVote(3, 1, 1, 0, 0))[0].granted is False


def test_a_candidate_follows_the_leader_of_its_term() -> None:
    """§5.2: while waiting, a candidate may hear from one who claims to be leader. "If the leader's
    term ... is at least as large as the candidate's current term, then the candidate recognizes the
    leader as legitimate and returns to follower state"; if smaller, it "continues in candidate
    state"."""
    core = in_role("candidate", 3)
    core.step(heartbeat(core, 2))
    assert core.role == "candidate"
    core.step(heartbeat(core, 3))
    assert (core.role, core.leader) == ("follower", 2)


def test_election_timeouts_are_random() -> None:
    """§5.2: "Raft uses randomized election timeouts to ensure that split votes are rare": chosen
    from a fixed interval, drawn anew at each election."""
    seen = set()
    core = raft(seed=7)
    for _ in range(300):
        before, ticks = core.term, 0
        while core.term == before:
            core.tick()
            ticks += 1
        work(core)
        seen.add(ticks)
    ticks = core.config.election_ticks
    assert seen == set(range(ticks, 2 * ticks))


def test_split_votes_are_rare() -> None:
    """§5.2: "in most cases only a single server will time out": of five that wait for a leader
    at once, one is alone with the shortest timeout much more often than not."""
    alone = 0
    for seed in range(200):
        cores = [raft(voters=5, id=id, seed=1000 * seed + 7 * id) for id in range(1, 6)]
        first = sorted(core.deadline for core in cores)
        alone += first[0] < first[1]
    assert alone > 100


def test_nobody_votes_against_the_leader_of_the_term() -> None:
    """§5.2, Election Safety: a term has one leader at most, who was elected by its votes; who
    follows it does not vote for another in that term."""
    core = raft(term=2)
    core.step(heartbeat(core, 2, sender=3))
    assert answer(core, RequestVote(2, 1, 2, 9, 1))[-1].granted is False


# --- 5.3  Log replication --------------------------------------------------------------------


def test_the_leader_appends_and_sends_in_parallel() -> None:
    """§5.3: "The leader appends the command to its log as a new entry, then issues AppendEntries
    RPCs in parallel to each of the other servers.\""""
    core = raft(voters=5)
    elect(core)
    for peer in (2, 3, 4, 5):
        acknowledge(core, peer)
    first = core.propose([b"a", b"b"])
    assert (first, core.log.last) == (2, 3)
    sent = work(core)
    assert [message.to for message in sent] == [2, 3, 4, 5]
    for message in sent:
        assert (message.prev_index, message.prev_term) == (1, 1)
        assert [bytes(payload) for _, payload in message.block] == [b"a", b"b"]


@pytest.mark.parametrize(
    ("size", "holders", "committed"),
    [
        (1, [], True),
        (3, [], False),
        (3, [2], True),
        (3, [2, 3], True),
        (4, [2], False),
        (4, [2, 3], True),
        (5, [2], False),
        (5, [2, 3], True),
        (5, [2, 3, 4], True),
    ],
)
def test_an_entry_on_a_majority_is_committed(
    size: int, holders: list[int], committed: bool
) -> None:
    """§5.3: "A log entry is committed once the leader that created the entry has replicated it on a
    majority of the servers.\""""
    core = raft(voters=size)
    elect(core)
    first = core.propose([b"a"])
    work(core)
    for peer in holders:
        acknowledge(core, peer)
    assert (core.commit >= first) is committed


def test_committed_entries_are_applied_in_order() -> None:
    """§5.3: "When the entry has been safely replicated, the leader applies the entry to its state
    machine"; "once a follower learns that a log entry is committed, it applies the entry to its
    local state machine (in log order)"."""
    group = Group(3)
    leader = group.elect(1)
    for at in range(5):
        leader.propose([b"%d" % at, b"+"])
    group.settle()
    expected = [
        (2 + at, payload) for at, payload in enumerate([b"0", b"+", b"1", b"+", b"2", b"+"])
    ]
    for id in (1, 2, 3):
        assert group.applied[id][:6] == expected
        indices = [index for index, _ in group.applied[id]]
        assert all(low < high for low, high in pairwise(indices))


def test_entries_before_a_committed_one_are_committed() -> None:
    """§5.3: committing an entry "also commits all preceding entries in the leader's log, including
    entries created by previous leaders"."""
    core = raft(terms=[1, 1, 2], term=2)
    elect(core)
    assert core.commit == 0
    acknowledge(core, 2)
    assert core.commit == core.log.last == 4


def test_the_leader_includes_the_highest_committed_index() -> None:
    """§5.3: "The leader keeps track of the highest index it knows to be committed, and it includes
    that index in future AppendEntries RPCs (including heartbeats) so that the other servers
    eventually find out.\""""
    core = raft()
    elect(core)
    acknowledge(core, 2)
    core.tick()
    assert {message.commit for message in work(core)} == {1}


def test_a_leader_tries_again_for_ever() -> None:
    """§5.3: "If followers crash or run slowly, or if network packets are lost, the leader retries
    AppendEntries RPCs indefinitely (even after it has responded to the client) until all followers
    eventually store all log entries.\""""
    group = Group(3)
    leader = group.elect(1)
    group.cut(3)
    leader.propose([b"a"])
    group.settle()
    assert group.applied[1] == [(2, b"a")]
    for _ in range(50):
        group.tick(1, 1)
    group.heal()
    group.tick(2, 1)
    assert group.applied[3] == [(2, b"a")]


@pytest.mark.parametrize(
    ("prev", "terms", "refused"),
    [
        ((0, 0), [1], False),
        ((1, 1), [2], False),
        ((2, 2), [3], False),
        ((2, 2), [], False),
        ((1, 2), [3], True),
        ((2, 1), [3], True),
        ((3, 3), [3], True),
    ],
)
def test_the_consistency_check(prev: tuple[int, int], terms: list[int], refused: bool) -> None:
    """§5.3: "If the follower does not find an entry in its log with the same index and term, then
    it refuses the new entries.\""""
    core = raft(terms=[1, 2], term=3)
    block = Block.pack(prev[0] + 1, terms, [b"x"] * len(terms)) if terms else None
    (reply,) = answer(core, AppendEntries(2, 1, 3, *prev, 0, 1, block))
    assert reply.refused is refused
    if refused:
        assert reply.match == prev[0]
        assert [core.log.term(1), core.log.term(2)] == [1, 2]
    else:
        assert reply.match == prev[0] + len(terms)


@pytest.mark.parametrize(
    ("had", "prev", "sent", "has"),
    [
        ([1, 1], (2, 1), [2], [1, 1, 2]),
        ([1, 2, 3], (1, 1), [3], [1, 3]),
        ([1, 2, 3], (0, 0), [3, 3], [3, 3]),
        ([1, 1, 1], (0, 0), [1, 1, 1, 2], [1, 1, 1, 2]),
        ([1, 1, 1, 1], (1, 1), [1, 2], [1, 1, 2]),
        # Nothing conflicts: what follows stays ("if an existing entry conflicts", figure 2).
        ([1, 1, 1, 1], (0, 0), [1, 1], [1, 1, 1, 1]),
        ([1, 1, 1, 1], (2, 1), [], [1, 1, 1, 1]),
        ([1, 1, 2, 2], (1, 1), [1, 2], [1, 1, 2, 2]),
    ],
)
def test_conflicting_entries_are_overwritten(
    had: list[int], prev: tuple[int, int], sent: list[int], has: list[int]
) -> None:
    """§5.3: "conflicting entries in follower logs will be overwritten with entries from the
    leader's log." Figure 2: "If an existing entry conflicts with a new one (same index but
    different terms), delete the existing entry and all that follow it" -- and only then."""
    core = raft(terms=had, term=3)
    block = Block.pack(prev[0] + 1, sent, [b"x"] * len(sent)) if sent else None
    (reply,) = answer(core, AppendEntries(2, 1, 3, *prev, 0, 1, block))
    assert not reply.refused
    assert [core.log.term(index) for index in range(1, core.log.last + 1)] == has


@pytest.mark.parametrize(
    ("sent", "leader_commit", "commit"),
    [([1], 0, 0), ([1], 1, 1), ([1, 1], 1, 1), ([1, 1], 9, 2), ([], 9, 0), ([1, 1], 2, 2)],
)
def test_the_followers_commit_index(sent: list[int], leader_commit: int, commit: int) -> None:
    """Figure 2: "If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last
    new entry)": what the message does not vouch for is not committed, even if it stands there."""
    core = raft(terms=[1, 1, 1], term=2)
    block = Block.pack(1, sent, [b"x"] * len(sent)) if sent else None
    answer(core, AppendEntries(2, 1, 2, 0, 0, leader_commit, 1, block))
    assert core.commit == commit


FIGURE_7 = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]


@pytest.mark.parametrize(
    "terms",
    [
        [1, 1, 1, 4, 4, 5, 5, 6, 6],
        [1, 1, 1, 4],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        [1, 1, 1, 4, 4, 4, 4],
        [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
        [],
        [2, 2, 2, 3, 3, 3, 3],
    ],
    ids=lambda terms: "-".join(map(str, terms)) or "empty",
)
def test_followers_logs_become_the_leaders(terms: list[int]) -> None:
    """§5.3, figure 7: "the leader must find the latest log entry where the two logs agree, delete
    any entries in the follower's log after that point, and send the follower all of the leader's
    entries after that point"; "the protocol can be optimized to reduce the number of rejected
    AppendEntries RPCs" to one for each conflicting term."""
    group = Group(3, log1=FIGURE_7, log2=terms, log3=FIGURE_7)
    # 2 may have a longer log; 3 votes.
    group.cut(1, 3)
    group.cores[1].campaign()
    group.settle()
    group.heal()
    while group.cores[1].role != "leader" or group.cores[1].log.last_term == 6:
        group.cores[1].campaign()
        group.settle()
    group.sent.clear()
    group.tick(3, 1)
    assert group.terms(2) == group.terms(1) == [*FIGURE_7, group.cores[1].term]
    refusals = [m for m in group.sent if isinstance(m, AppendReply) and m.refused]
    assert len(refusals) <= len({*terms} ^ {*FIGURE_7}) + 1


def test_a_leader_never_overwrites_its_own_log() -> None:
    """§5.3: "A leader never overwrites or deletes entries in its own log (the Leader Append-Only
    Property in Figure 3).\""""
    core = raft(terms=[1, 2], term=2)
    elect(core)
    before = [(core.log.term(index), bytes(core.log[index])) for index in (1, 2, 3)]
    for message in (
        AppendEntries(2, 1, 3, 0, 0, 0, 1, Block.pack(1, 3, [b"x"])),
        AppendEntries(2, 1, 2, 0, 0, 0, 1, Block.pack(1, 2, [b"x"])),
        AppendReply(2, 1, 3, 3, 1, True, 0, 0),
        AppendReply(3, 1, 3, 0, 0),
    ):
        core.step(message)
        assert [(core.log.term(index), bytes(core.log[index])) for index in (1, 2, 3)] == before


# --- 5.4  Safety -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "candidate", "granted"),
    [
        ([1], (1, 1), True),
        ([1], (2, 1), True),
        ([1, 1], (1, 2), True),
        ([1, 2], (2, 1), False),
        ([1, 1], (1, 1), False),
        ([1, 1, 2], (9, 1), False),
        ([], (0, 0), True),
        ([1], (0, 0), False),
    ],
)
def test_votes_go_to_logs_at_least_as_up_to_date(
    own: list[int], candidate: tuple[int, int], granted: bool
) -> None:
    """§5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the
    candidate." "If the logs have last entries with different terms, then the log with the later
    term is more up-to-date. If the logs end with the same term, then whichever log is longer is
    more up-to-date.\""""
    core = raft(terms=own, term=2)
    (reply,) = answer(core, RequestVote(2, 1, 3, *candidate))
    assert reply.granted is granted
    assert core.vote == (2 if granted else None)


def test_a_request_carries_the_last_entry() -> None:
    """§5.4.1: "the RPC includes information about the candidate's log"."""
    core = raft(terms=[1, 1, 2], term=4)
    core.campaign()
    assert {(m.term, m.last_index, m.last_term) for m in work(core)} == {(5, 3, 2)}


def test_only_entries_of_the_own_term_are_committed_by_counting() -> None:
    """§5.4.2, figure 8: "Raft never commits log entries from previous terms by counting replicas.
    Only log entries from the leader's current term are committed by counting replicas; once an
    entry from the current term has been committed in this way, then all prior entries are committed
    indirectly.\""""
    core = raft(voters=5, terms=[1, 2], term=3)
    elect(core)
    for match in (1, 2):
        for peer in (2, 3, 4, 5):
            acknowledge(core, peer, match)
            assert core.commit == 0
    acknowledge(core, 2, 3)
    assert core.commit == 0
    acknowledge(core, 3, 3)
    assert core.commit == 3


# --- 5.5  Follower and candidate crashes -----------------------------------------------------


def test_rpcs_are_idempotent() -> None:
    """§5.5: "Raft RPCs are idempotent, so this causes no harm. For example, if a follower receives
    an AppendEntries request that includes log entries already present in its log, it ignores those
    entries in the new request.\""""
    core = raft(terms=[1], term=1)
    messages = [
        AppendEntries(2, 1, 1, at, 1, 0, 1, Block.pack(at + 1, 1, [b"%d" % at]))
        for at in range(1, 6)
    ]
    first = [answer(core, message) for message in messages]
    log = [bytes(core.log[index]) for index in range(1, 7)]
    for message, replies in zip(messages, first, strict=True):
        assert answer(core, message) == replies
        assert [bytes(core.log[index]) for index in range(1, 7)] == log


def test_a_follower_that_crashed_catches_up() -> None:
    """§5.5: "If a follower or candidate crashes, then future RequestVote and AppendEntries RPCs
    sent to it will fail. Raft handles these failures by retrying indefinitely.\""""
    group = Group(3)
    leader = group.elect(1)
    group.crash(2)
    leader.propose([b"a"])
    group.tick(3, 1)
    group.start(2)
    group.tick(3, 1)
    assert group.applied[2] == [(2, b"a")]


# --- 5.6  Timing and availability ------------------------------------------------------------


def test_heartbeats_come_before_election_timeouts() -> None:
    """§5.6: "The broadcast time should be an order of magnitude less than the election timeout so
    that leaders can reliably send the heartbeat messages required to keep followers from starting
    elections": with the defaults a group stays with its leader, however its timeouts fall."""
    group = Group(5, Config())
    leader = group.elect(1)
    group.tick(500)
    assert (leader.role, leader.term) == ("leader", 1)


def test_a_leader_is_elected_again_and_again() -> None:
    """§5.6: "Raft will be able to elect and maintain a steady leader": without one, a new one is
    there within a few election timeouts."""
    group = Group(5, Config())
    group.tick(100)
    for _ in range(3):
        (leader,) = [core for core in group.cores.values() if core.role == "leader"]
        group.crash(leader.id)
        group.tick(100)
        group.start(leader.id)
        group.tick(20)
        assert sum(core.role == "leader" for core in group.cores.values()) == 1


# --- 6, D4  Cluster membership changes -------------------------------------------------------


def leading(voters: int | list[int] = 3, **more: Any) -> Raft:
    """A leader with an entry of its own term committed."""
    core = raft(voters=voters, **more)
    elect(core)
    for peer in core.membership.members:
        if peer != core.id:
            acknowledge(core, peer)
    assert core.commit == core.log.last
    return core


def test_a_configuration_is_used_as_soon_as_it_is_in_the_log() -> None:
    """§6: "Once a given server adds the new configuration entry to its log, it uses that
    configuration for all future decisions (a server always uses the latest configuration in its
    log, regardless of whether the entry is committed).\""""
    core = leading()
    index = core.change_config(ConfChange(voters=[4]))
    assert core.membership.voters == (1, 2, 3, 4)
    (block,) = {id(m.block): m.block for m in work(core) if m.block is not None}.values()
    follower = raft(2)
    answer(follower, AppendEntries(1, 2, 1, 0, 0, 0, 1, core.log.block(1, index + 1)))
    assert follower.commit == 0
    assert follower.membership == core.membership
    assert block.has_control


def test_joint_consensus_needs_both_majorities() -> None:
    """§6: "Agreement (for elections and entry commitment) requires separate majorities from both
    the old and new configurations.\""""
    core = leading()
    index = core.change_config(ConfChange(voters=[4, 5], remove=[2, 3]))
    assert core.membership == Membership([1, 4, 5], outgoing=[1, 2, 3], auto_leave=True)
    work(core)
    acknowledge(core, 4, index)
    acknowledge(core, 5, index)
    assert core.commit < index
    acknowledge(core, 2, index)
    assert core.commit >= index

    core = raft(voters=Membership([1, 4, 5], outgoing=[1, 2, 3]))
    core.campaign()
    assert {message.to for message in work(core)} == {2, 3, 4, 5}
    for voter in (4, 5):
        core.step(VoteReply(voter, 1, 1, True))
    assert core.role == "candidate"
    core.step(VoteReply(3, 1, 1, True))
    assert core.role == "leader"


def test_log_entries_go_to_both_configurations() -> None:
    """§6: "Log entries are replicated to all servers in both configurations.\""""
    core = leading()
    core.change_config(ConfChange(voters=[4, 5], remove=[2, 3]))
    assert {message.to for message in work(core)} == {2, 3, 4, 5}


def test_the_new_configuration_follows_once_the_joint_one_is_committed() -> None:
    """§6: "Once C_old,new has been committed, neither C_old nor C_new can make decisions without
    approval of the other ... It is now safe for the leader to create a log entry describing C_new
    and replicate it to the cluster.\""""
    core = leading()
    index = core.change_config(ConfChange(voters=[4, 5], remove=[3]))
    work(core)
    for peer in (2, 4):
        acknowledge(core, peer, index)
    assert core.membership == Membership([1, 2, 4, 5])
    assert core.membership_index == index + 1


def test_an_explicit_joint_configuration_stays() -> None:
    """D§4.3: the second half may be left to the operator."""
    core = leading()
    index = core.change_config(ConfChange(voters=[4], transition="explicit"))
    work(core)
    for peer in (2, 3, 4):
        acknowledge(core, peer, index)
    assert core.membership == Membership([1, 2, 3, 4], outgoing=[1, 2, 3])
    with pytest.raises(MembershipError, match="joint"):
        core.change_config(ConfChange(remove=[2]))
    core.change_config(ConfChange.leave_joint())
    assert core.membership == Membership([1, 2, 3, 4])


def test_a_leader_outside_the_new_configuration_steps_down() -> None:
    """§6: "In this case, the leader steps down (returns to follower state) once it has committed
    the C_new log entry. This means that there will be a period of time ... when the leader is
    managing a cluster that does not include itself; it replicates log entries but does not count
    itself in majorities.\""""
    core = leading()
    index = core.change_config(ConfChange(remove=[1]))
    work(core)
    assert core.role == "leader"
    acknowledge(core, 2, index)
    assert core.commit < index  # with itself it would be two of three
    acknowledge(core, 3, index)
    assert (core.commit, core.role) == (index, "follower")
    with pytest.raises(MembershipError):
        core.campaign()
    core.tick(100)
    assert core.role == "follower"


@pytest.mark.parametrize("change", [{"remove": [1]}, {"learners": [1]}, {"remove": [1, 2]}])
def test_who_leaves_may_still_be_needed(change: dict[str, list[int]]) -> None:
    """D§4.2.2: "a server that is not part of its own latest configuration should still start new
    elections, as it might still be needed until the C_new entry is committed"; "it does not count
    its own vote in elections unless it is part of its latest configuration"."""
    core = leading()
    index = core.change_config(ConfChange(**change))
    work(core)
    if core.membership.joint:
        acknowledge(core, 2)
        acknowledge(core, 3)
        index = core.membership_index
        work(core)
    assert not core.membership.is_voter(1)
    # It is deposed, and nobody who stays has the entry.
    answer(core, heartbeat(core, 2, sender=3))
    core.tick(2 * core.config.election_ticks)
    assert core.role == "candidate"
    for voter in core.membership.voters:
        assert core.role == "candidate"
        core.step(VoteReply(voter, 1, core.term, True))
        work(core)
    assert core.role == "leader"
    for voter in core.membership.voters:
        acknowledge(core, voter)
    assert (core.commit, core.role) == (index + 1, "follower")
    core.tick(100)
    assert core.role == "follower"  # it is needed no more


def test_an_overwritten_configuration_is_in_force_no_more() -> None:
    """D§4.1: "if this happens, a server must be prepared to fall back to the previous configuration
    in its log"."""
    core = leading()
    core.change_config(ConfChange(remove=[3]))
    work(core)
    assert core.membership.voters == (1, 2)
    answer(core, AppendEntries(3, 1, 2, 1, 1, 0, 1, Block.pack(2, 2, [b"x"])))
    assert core.membership.voters == (1, 2, 3)
    assert core.membership_index == 0


def test_a_configuration_survives_a_restart() -> None:
    """§6: the configuration is a log entry: what is in the log is in force after a restart, and
    what the snapshot says before it."""
    group = Group(3)
    leader = group.elect(1)
    group.join(4)
    leader.change_config(ConfChange(voters=[4]))
    group.settle()
    group.crash(2)
    assert group.start(2).membership.voters == (1, 2, 3, 4)
    group.snapshot(3)
    group.crash(3)
    assert group.start(3).membership.voters == (1, 2, 3, 4)
    assert group.cores[3].membership_index == group.cores[3].snapshot.index


def test_one_change_at_a_time() -> None:
    """D§4.1: "only one server can be added or removed from the cluster at a time", the next one
    "when the entry of the last is committed"."""
    core = leading()
    index = core.change_config(ConfChange(voters=[4]))
    work(core)
    with pytest.raises(ProposalRefused, match="not committed yet"):
        core.change_config(ConfChange(voters=[5]))
    for peer in (2, 3):
        acknowledge(core, peer, index)
    core.change_config(ConfChange(voters=[5]))


def test_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """D§4.1, correction of July 2015: "a leader must not append a new configuration entry until it
    has committed an entry from its current term"."""
    core = raft()
    elect(core)
    with pytest.raises(ProposalRefused, match="nothing of this term"):
        core.change_config(ConfChange(voters=[4]))
    acknowledge(core, 2)
    core.change_config(ConfChange(voters=[4]))


def test_majorities_of_single_changes_meet() -> None:
    """D§4.1: one voter is added or removed in a single step, since any majority of the old
    configuration overlaps with any of the new."""
    core = leading()
    core.change_config(ConfChange(voters=[4]))
    assert not core.membership.joint
    core = leading(4)
    core.change_config(ConfChange(remove=[2]))
    assert not core.membership.joint


def test_new_servers_join_as_non_voting_members() -> None:
    """§6: "new servers join the cluster as non-voting members (the leader replicates log entries to
    them, but they are not considered for majorities)"."""
    core = leading()
    index = core.change_config(ConfChange(learners=[4]))
    assert 4 in {message.to for message in work(core)}
    acknowledge(core, 4, index)
    assert core.commit < index
    acknowledge(core, 2, index)
    assert core.commit == index
    learner = raft(4, Membership([1, 2, 3], learners=[4]))
    learner.tick(100)
    assert learner.role == "follower"


def test_who_hears_a_leader_does_not_vote() -> None:
    """§6: "if a server receives a RequestVote RPC within the minimum election timeout of hearing
    from a current leader, it does not update its term or grant its vote." (D§4.2.3)"""
    core = raft(term=1, config=Config())
    core.step(heartbeat(core, 1))
    work(core)
    core.tick(core.config.election_ticks - 1)
    assert answer(core, RequestVote(3, 1, 7, 9, 1)) == []
    assert core.term == 1
    core.tick(1)
    replies = answer(core, RequestVote(3, 1, 7, 9, 1))
    assert [reply.granted for reply in replies if isinstance(reply, VoteReply)] == [True]
    assert core.term == 7


def test_a_leader_does_not_hear_who_was_removed() -> None:
    """D§4.2.3: a leader that gets its heartbeats through does not adopt the term of a server that
    wants to depose it."""
    core = leading(config=Config())
    core.step(RequestVote(3, 1, 9, 9, 8))
    assert (core.role, core.term) == ("leader", 1)


# --- 7  Log compaction -----------------------------------------------------------------------

MEMBERS = Membership([1, 2, 3]).to_bytes()


def chunk(
    index: int,
    term: int,
    data: bytes = b"xy",
    offset: int = 0,
    whole: bytes = b"",
    to_term: int = 3,
) -> InstallSnapshot:
    whole = whole or data
    check = hashing.crc32c(whole)
    return InstallSnapshot(2, 1, to_term, index, term, MEMBERS, len(whole), check, offset, data, 1)


def test_a_snapshot_keeps_index_term_and_configuration() -> None:
    """§7: "the last included index ... and the last included term ... are preserved to support the
    AppendEntries consistency check for the first log entry following the snapshot"; "the snapshot
    also includes the latest configuration in the log as of last included index"."""
    group = Group(3)
    leader = group.elect(1)
    leader.propose([b"a", b"b"])
    group.settle()
    group.snapshot(1)
    assert (leader.log.base, leader.log.base_term) == (3, 1)
    assert leader.snapshot.membership == Membership([1, 2, 3])
    leader.propose([b"c"])
    group.settle()
    assert group.applied[2][-1] == (4, b"c")


def test_a_follower_that_lags_gets_the_snapshot() -> None:
    """§7: "the leader must occasionally send snapshots to followers that lag behind. This happens
    when the leader has already discarded the next log entry that it needs to send" to one."""
    group = Group(3)
    leader = group.elect(1)
    group.cut(3)
    leader.propose([b"a", b"b"])
    group.settle()
    group.snapshot(1)
    group.heal()
    group.tick(3, 1)
    assert (group.cores[3].log.base, group.cores[3].last_applied) == (3, 3)
    leader.propose([b"c"])
    group.settle()
    assert group.applied[3] == [(4, b"c")]


def test_a_snapshot_replaces_a_log_that_ends_before_it() -> None:
    """§7: "Usually the snapshot will contain new information not already in the recipient's log. In
    this case, the follower discards its entire log; it is all superseded by the snapshot and may
    possibly have uncommitted entries that conflict with the snapshot.\""""
    core = raft(terms=[1, 1, 1], term=3)
    (reply,) = answer(core, chunk(5, 2))
    assert reply == SnapshotReply(1, 2, 3, 5, 0, True, 1)
    assert (core.log.base, core.log.last, core.commit, core.last_applied) == (5, 5, 5, 5)


def test_a_diverging_tail_goes_with_the_snapshot() -> None:
    """§7, figure 13, 6 and 7: entries after the snapshot stay only if the entry at its last
    included index is the same: "discard the entire log"."""
    core = raft(terms=[1, 1, 1, 1, 1], term=3)
    answer(core, chunk(3, 2))
    assert (core.log.base, core.log.last) == (3, 3)


def test_entries_after_the_snapshot_are_kept() -> None:
    """§7: "If instead the follower receives a snapshot that describes a prefix of its log ... then
    log entries covered by the snapshot are deleted but entries following the snapshot are still
    valid and must be retained.\""""
    core = raft(terms=[1, 1, 2, 2, 2], term=3)
    (reply,) = answer(core, chunk(3, 2))
    assert reply.installed
    assert (core.log.last, core.commit) == (5, 3)
    assert core.snapshot is None  # its own log holds all that the snapshot says


def test_an_older_snapshot_changes_nothing() -> None:
    """§7: "due to retransmission or by mistake" it may describe what is committed here already."""
    core = raft(terms=[1, 1, 2, 2], term=3, commit=4)
    work(core)
    (reply,) = answer(core, chunk(2, 1))
    assert (reply.installed, reply.index) == (True, 2)
    assert (core.log.base, core.log.last, core.commit) == (0, 4, 4)


def test_chunks_are_written_in_order() -> None:
    """§7, figure 13, 2 to 5: "Create new snapshot file if first chunk (offset is 0)", "Write data
    into snapshot file at given offset", "Reply and wait for more data chunks if done is false"."""
    core = raft(term=3)
    (reply,) = answer(core, chunk(5, 2, b"ab", 0, b"abcdef"))
    assert (reply.installed, reply.offset) == (False, 2)
    (reply,) = answer(core, chunk(5, 2, b"ef", 4, b"abcdef"))  # overtook the one before: not taken
    assert (reply.installed, reply.offset) == (False, 2)
    (reply,) = answer(core, chunk(5, 2, b"ab", 0, b"abcdef"))  # repeated
    assert (reply.installed, reply.offset) == (False, 2)
    (reply,) = answer(core, chunk(5, 2, b"cd", 2, b"abcdef"))
    assert (reply.installed, reply.offset) == (False, 4)
    (reply,) = answer(core, chunk(5, 2, b"ef", 4, b"abcdef"))
    assert reply.installed


def test_another_snapshot_begins_anew() -> None:
    """§7: chunks of two snapshots are never mixed."""
    core = raft(term=3)
    answer(core, chunk(5, 2, b"ab", 0, b"abcd"))
    (reply,) = answer(core, chunk(6, 2, b"cd", 2, b"abcd"))
    assert (reply.installed, reply.offset, reply.index) == (False, 0, 6)


def test_a_chunk_resets_the_election_timer() -> None:
    """§7: receiving chunks is "a sign of life from the leader"."""
    core = raft(term=3)
    for offset in range(20):
        core.tick(9)
        answer(core, chunk(5, 2, b"x", offset, b"x" * 100))
    assert core.role == "follower"


def test_only_what_was_applied_is_compacted() -> None:
    """§7: a server takes snapshots "covering just the committed entries in its log"."""
    group = Group(3)
    leader = group.elect(1)
    leader.propose([b"a"])
    group.settle()
    group.cut(1)
    leader.propose([b"b"])
    group.settle()
    group.snapshot(1)
    assert (leader.log.base, leader.log.last) == (2, 3)


# --- 8  Client interaction, D6 ---------------------------------------------------------------


def test_only_the_leader_takes_commands() -> None:
    """§8: "If the client's first choice is not the leader, that server will reject the client's
    request and supply information about the most recent leader it has heard from.\""""
    core = raft(term=1)
    with pytest.raises(NotLeader) as caught:
        core.propose([b"a"])
    assert caught.value.leader is None
    core.step(heartbeat(core, 1))
    with pytest.raises(NotLeader) as caught:
        core.propose([b"a"])
    assert caught.value.leader == 2


def test_a_new_leader_commits_an_empty_entry() -> None:
    """§8: a leader must know which entries are committed; "it needs to commit an entry from its
    term. Raft handles this by having each leader commit a blank no-op entry into the log at the
    start of its term.\""""
    core = raft(terms=[1, 1], term=1)
    sent = elect(core)
    assert core.log.last == 3
    assert core.log.is_control(3)
    assert all(message.block.last == 3 for message in sent)


def test_read_index_waits_for_a_round() -> None:
    """§8: "a leader must check whether it has been deposed before processing a read-only request
    ... by having the leader exchange heartbeat messages with a majority of the cluster before
    responding" (D§6.4, steps 1 to 4)."""
    core = leading()
    core.read_index(b"x")
    sent = work(core)
    assert {message.to for message in sent} == {2, 3}
    (round,) = {message.round for message in sent}
    core.step(AppendReply(2, 1, 1, 1, round - 1))  # an answer to what was sent before the question
    assert not core.has_ready
    core.step(AppendReply(2, 1, 1, 1, round))
    ready = core.ready()
    assert [(read.context, read.index) for read in ready.reads] == [(b"x", 1)]


def test_read_index_is_remembered_when_the_question_comes() -> None:
    """D§6.4, step 2: "the leader saves its current commit index in a local variable readIndex. This
    will be used as a lower bound for the version of the state that the query operates against.\""""
    core = leading()
    core.read_index(b"x")
    work(core)
    core.propose([b"a"])
    work(core)
    acknowledge(core, 2, 2)
    core.read_index(b"y")
    core.ready()
    core.step(AppendReply(2, 1, 1, 2, core.round))
    ready = core.ready()
    assert [(read.context, read.index) for read in ready.reads] == [(b"y", 2)]


def test_a_read_waits_for_the_first_commit_of_the_term() -> None:
    """D§6.4, step 1: "If the leader has not yet marked an entry from its current term committed, it
    waits until it has done so.\""""
    core = raft(terms=[1, 1], term=1)
    elect(core)
    core.read_index(b"x")
    work(core)
    core.step(AppendReply(2, 1, 2, 2, core.round))  # answers the round, holds the old entries
    assert all(not ready.reads for ready in ([core.ready()] if core.has_ready else []))
    core.step(AppendReply(2, 1, 2, 3, core.round))
    work(core)
    core.step(AppendReply(2, 1, 2, 3, core.round))
    ready = core.ready()
    assert [(read.context, read.index) for read in ready.reads] == [(b"x", 3)]


def test_followers_ask_for_a_read_index() -> None:
    """D§6.4: "a follower can issue a request to the leader that just asks for a current readIndex
    ... the leader would execute steps 1-3"."""
    core = leading()
    assert answer(core, ReadRequest(3, 1, 1, b"x"))
    replies = answer(core, AppendReply(2, 1, 1, 1, core.round))
    assert replies == [ReadReply(1, 3, 1, b"x", 1)]


def test_a_deposed_leader_refuses_its_reads() -> None:
    """D§6.4: a leader that "may have been superseded" must not answer."""
    core = leading()
    core.read_index(b"x")
    work(core)
    core.step(heartbeat(core, 2))
    ready = core.ready()
    assert [(read.context, read.index) for read in ready.reads] == [(b"x", 0)]


LEASE = Config(lease=True, election_ticks=10, clock_drift=0.1)


def test_a_lease_serves_reads_at_once() -> None:
    """D§6.4.1: "once the leader's heartbeats were acknowledged by a majority of the cluster, the
    leader would extend its lease to start + election timeout / clock drift bound"."""
    core = leading(config=LEASE)
    core.tick()
    work(core)
    acknowledge(core, 2)
    assert core.has_lease
    core.read_index(b"x")
    ready = core.ready()
    assert not ready.messages
    assert [read.index for read in ready.reads] == [1]
    core.tick(LEASE.lease_ticks)
    assert core.has_lease
    core.tick()
    assert not core.has_lease


def test_a_lease_counts_from_when_the_round_was_sent() -> None:
    """D§6.4.1: the lease starts when the heartbeat *was sent*, not when it was answered."""
    core = leading(config=LEASE)
    core.tick(LEASE.lease_ticks + 1)
    work(core)
    sent = core.now
    core.step(AppendReply(2, 1, 1, 1, core.round))
    assert core.has_lease
    core.tick(LEASE.lease_ticks)
    assert core.now - sent == LEASE.lease_ticks
    assert core.has_lease
    core.tick()
    assert not core.has_lease


@pytest.mark.parametrize("drift", [0.0, 0.1, 0.25])
def test_a_lease_is_shorter_than_the_followers_promise(drift: float) -> None:
    """D§6.4.1: "the lease assumes a bound on clock drift across servers": with the leader's clock
    as slow and a follower's as fast as allowed, the lease ends first."""
    config = Config(lease=True, election_ticks=20, clock_drift=drift)
    slowest = (config.lease_ticks + 1) * (1 + drift)
    shortest_promise = (config.election_ticks - 1) / (1 + drift)
    assert slowest <= shortest_promise


def test_a_lease_ends_with_a_transfer() -> None:
    """D§6.4.1: "the leader would need to expire its lease when transferring leadership"."""
    core = leading(config=LEASE)
    core.tick()
    work(core)
    acknowledge(core, 2)
    assert core.has_lease
    core.transfer(2)
    work(core)
    assert not core.has_lease
    core.tick(50)
    for _ in range(3):
        core.tick()
        work(core)
        acknowledge(core, 2)
    assert not core.has_lease  # the message may still be under way


def test_who_granted_a_lease_keeps_it_over_a_restart() -> None:
    """D§6.4.1: what an earlier life promised holds: a restarted server votes for nobody before an
    election timeout has passed."""
    core = raft(term=1, config=LEASE)
    assert answer(core, RequestVote(2, 1, 2, 0, 0)) == []
    core.tick(10)
    assert core.role == "follower"
    assert answer(core, RequestVote(2, 1, 2, 0, 0))[0].granted


def test_a_lease_holds_against_votes_after_a_higher_term_was_seen() -> None:
    """D§6.4.1, D§4.2.3: who heard a leader votes for nobody for an election timeout, also when it
    hears of a higher term by another way than a request for its vote."""
    core = raft(term=1, config=LEASE)
    core.tick(20)
    work(core)
    core.step(heartbeat(core, 2))  # it answers this: a lease may rest on it
    work(core)
    core.step(VoteReply(3, 1, 3, False))  # a late answer to an earlier candidacy
    work(core)
    replies = answer(core, RequestVote(3, 1, 4, 9, 2))
    assert not any(reply.granted for reply in replies)


# --- D3.10  Leadership transfer --------------------------------------------------------------


def test_transfer_brings_the_target_up_to_date_first() -> None:
    """D§3.10: "1. The prior leader stops accepting new client requests. 2. The prior leader fully
    updates the target server's log to match its own ... 3. The prior leader sends a TimeoutNow
    request to the target server.\""""
    core = leading()
    core.propose([b"a"])
    work(core)
    core.transfer(2)
    assert not any(isinstance(message, TimeoutNow) for message in work(core))
    with pytest.raises(ProposalRefused, match="handed to 2"):
        core.propose([b"b"])
    assert TimeoutNow(1, 2, 1) in acknowledge(core, 2)


def test_timeout_now_campaigns_at_once() -> None:
    """D§3.10: the request "has the same effect as the target server's election timer firing: the
    target server starts a new election"; its request for votes says so, and is not ignored by
    those who hear the leader (D§4.2.3)."""
    target = raft(2, term=1, config=Config())
    target.step(AppendEntries(1, 2, 1, 0, 0, 0, 1))
    work(target)
    sent = answer(target, TimeoutNow(1, 2, 1))
    assert (target.role, target.term) == ("candidate", 2)  # without a pre-vote
    assert all(message.transfer for message in sent)
    voter = raft(3, term=1, config=Config())
    voter.step(AppendEntries(1, 3, 1, 0, 0, 0, 1))
    assert answer(voter, next(message for message in sent if message.to == 3))[-1].granted


def test_a_transfer_is_given_up_after_an_election_timeout() -> None:
    """D§3.10: "If leadership transfer does not complete after about an election timeout, the prior
    leader aborts the transfer and resumes accepting client requests.\""""
    core = leading()
    core.transfer(3)
    work(core)
    for _ in range(core.config.election_ticks):
        core.tick()
        work(core)
    assert core.transferee is None
    core.propose([b"a"])


def test_a_transfer_ends_on_a_snapshot_too() -> None:
    """D§3.10, step 2: also when the target is brought up to date by a snapshot."""
    group = Group(3)
    leader = group.elect(1)
    group.cut(3)
    leader.propose([b"a"])
    group.settle()
    group.snapshot(1)
    leader.transfer(3)
    group.heal()
    group.tick(3, 1)
    assert group.cores[3].role == "leader"


# --- D6.2, D9.6, D10.2.1 ---------------------------------------------------------------------


def test_a_leader_without_a_quorum_steps_down() -> None:
    """D§6.2: "a leader in Raft steps down if an election timeout elapses without a successful round
    of heartbeats to a majority of its cluster"."""
    core = leading(config=Config())
    for _ in range(2 * core.config.election_ticks):
        core.tick()
        work(core)
    assert (core.role, core.term) == ("follower", 1)


def test_pre_vote_asks_before_the_term_is_raised() -> None:
    """D§9.6: "a candidate only increments its term if it first learns from a majority of the
    cluster that they would be willing to grant the candidate their votes"."""
    core = raft(term=4, config=Config())
    core.campaign()
    sent = work(core)
    assert (core.role, core.term) == ("pre-candidate", 4)
    assert all(message.pre and message.term == 5 for message in sent)
    core.step(VoteReply(2, 1, 5, True, True))
    assert (core.role, core.term) == ("candidate", 5)
    assert all(not message.pre for message in work(core))


@pytest.mark.parametrize(
    ("last", "heard", "granted"),
    [((2, 1), False, True), ((1, 1), False, False), ((2, 1), True, None)],
)
def test_pre_votes_promise_nothing(
    last: tuple[int, int], heard: bool, granted: bool | None
) -> None:
    """D§9.6: a server grants one if "the candidate's log is sufficiently up-to-date, and the voters
    have not received heartbeats from a valid leader for at least a baseline election timeout"; it
    neither raises its term nor uses up its vote."""
    core = raft(terms=[1, 1], term=1, config=Config())
    if heard:
        core.step(heartbeat(core, 1))
        work(core)
    replies = answer(core, RequestVote(3, 1, 9, *last, True))
    assert [reply.granted for reply in replies] == ([] if granted is None else [granted])
    assert (core.term, core.vote) == (1, None)


def test_pre_votes_are_no_votes() -> None:
    """D§9.6: neither counts for the other."""
    core = raft(config=Config())
    core.campaign()
    work(core)
    core.step(VoteReply(2, 1, 1, True, False))
    assert core.role in ("follower", "pre-candidate")
    core = raft()
    core.campaign()
    work(core)
    core.step(VoteReply(2, 1, 1, True, True))
    core.step(VoteReply(3, 1, 2, True, True))
    assert core.role == "candidate"


def test_a_leader_writes_in_parallel_with_its_followers() -> None:
    """D§10.2.1: "the leader can write to its disk in parallel with replicating to the followers";
    it counts itself when its own write is complete, and entries may be committed before."""
    core = leading(5)
    core.propose([b"a"])
    ready = core.ready()
    assert ready.block is not None
    assert ready.early == len(ready.messages) == 4
    for peer in (2, 3):
        core.step(AppendReply(peer, 1, 1, 2, core.round))
    assert core.commit == 1
    core.step(AppendReply(4, 1, 1, 2, core.round))
    assert core.commit == 2
    later = core.ready()
    assert later.committed is None  # not before it is durable here
    core.persisted(ready)
    core.persisted(later)
    assert core.ready().committed.last == 2


def test_followers_answer_after_writing() -> None:
    """§5.5, D§10.2.1: what an answer says is durable when it leaves, also when other writes are
    under way."""
    core = raft(term=1)
    core.step(AppendEntries(2, 1, 1, 0, 0, 0, 1, Block.pack(1, 1, [b"a"])))
    first = core.ready()
    core.step(AppendEntries(2, 1, 1, 1, 1, 0, 1, Block.pack(2, 1, [b"b"])))
    second = core.ready()
    core.step(AppendEntries(2, 1, 1, 2, 1, 0, 2))
    third = core.ready()
    for ready, match in ((first, 1), (second, 2), (third, 2)):
        assert ready.early == 0
        assert [message.match for message in ready.messages] == [match]
    assert not third.writes
    with pytest.raises(Exception, match="oldest"):
        core.persisted(second)
    core.persisted(first)
    assert core.stable == 1
    core.persisted(second)
    core.persisted(third)
    assert core.stable == 2


def test_a_truncation_that_races_a_write() -> None:
    """D§10.2.1 (ABA): entries that were replaced while they were being written do not count when
    their write completes, even if the same index and term stand there again by then: the write of
    what replaced them comes after."""
    core = raft(terms=[1], term=2)
    core.step(AppendEntries(2, 1, 2, 1, 1, 0, 1, Block.pack(2, 2, [b"a", b"b"])))
    first = core.ready()  # 2..3@2
    core.step(AppendEntries(3, 1, 3, 1, 1, 0, 1, Block.pack(2, 3, [b"c"])))
    second = core.ready()  # 2@3
    core.step(AppendEntries(2, 1, 4, 1, 1, 3, 1, Block.pack(2, 2, [b"a", b"b"])))
    third = core.ready()  # 2..3@2 again, and committed
    assert (core.log.last, core.commit, core.stable) == (3, 3, 1)
    core.persisted(first)
    assert core.stable == 1
    core.persisted(second)
    assert core.stable == 1
    core.persisted(third)
    assert core.stable == 3
    assert core.ready().committed.last == 3


def test_a_commit_index_never_runs_ahead_of_the_disk() -> None:
    """§5.2, figure 2: the log is persistent, and the commit index follows it: a crash between the
    hard state and the entries of one Ready must not commit what stood there before."""
    core = raft(terms=[1, 1, 1], term=1)
    core.step(AppendEntries(2, 1, 2, 1, 1, 3, 1, Block.pack(2, 2, [b"x", b"y"])))
    assert core.commit == 3
    ready = core.ready()
    storage = stored([1, 1, 1])
    block, ready.block = ready.block, None
    storage.write(ready, lambda ready: None)  # ... and the power fails
    assert block is not None
    again = raft(storage=storage)
    assert again.commit <= 1
