"""Quorum systems: the public contract, tables of cases, and brute force over all sets."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ringleader import limits
from ringleader.consensus import quorum
from ringleader.consensus.quorum import (
    AtLeast,
    Flexible,
    Joint,
    Majority,
    QuorumSystem,
    committed_groups,
    committed_joint_groups,
    disjoint_pair,
    vote_groups,
)
from ringleader.errors import (
    LimitError,
    OutputError,
    OutputTypeError,
    QuorumError,
    SettingError,
    SettingTypeError,
)

DCS = {"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, 8, 9]}


def subsets(ids: Iterable[Any]) -> list[frozenset[Any]]:
    ids = sorted(ids)
    return [frozenset(part) for size in range(len(ids) + 1) for part in combinations(ids, size)]


# --- tables of cases -----------------------------------------------------------------------------
# A row of digits is what each voter has, in the order of the voters; "_" has told nothing.


def told(voters: Iterable[Any], row: str) -> dict[Any, int]:
    return {
        voter: int(mark) for voter, mark in zip(voters, row.split(), strict=True) if mark != "_"
    }


@pytest.mark.parametrize(
    ("voters", "row", "want"),
    [
        ("1", "12", 12),
        ("1", "_", 0),
        ("1 2", "7 5", 5),
        ("1 2", "7 _", 0),
        ("1 2 3", "_ _ _", 0),
        ("1 2 3", "100 _ _", 0),
        ("1 2 3", "100 101 _", 100),
        ("1 2 3", "100 101 99", 100),
        ("1 2 3", "9 9 9", 9),
        ("1 2 3 4", "4 3 2 1", 2),
        ("1 2 3 4", "5 5 _ _", 0),
        ("1 2 3 4", "5 5 6 _", 5),
        ("1 2 3 4 5", "101 104 103 103 104", 103),
        ("1 2 3 4 5", "101 102 _ 103 _", 101),
        ("1 2 3 4 5 6 7", "1 2 3 4 5 6 7", 4),
        ("1 2 3 4 5 6 7", "9 9 9 _ _ _ _", 0),
        ("1 2 3 4 5 6 7 8 9", "9 8 7 6 5 4 3 2 1", 5),
    ],
)
def test_what_a_majority_has_committed(voters: str, row: str, want: int) -> None:
    system = Majority(voters.split())
    match = told(voters.split(), row)
    assert system.committed(match) == want
    assert system.committed({**match, "stranger": 10**9}) == want
    assert system.committed_of([match.get(voter, 0) for voter in system.voters]) == want
    assert Joint(voters.split()).committed(match) == want
    assert Joint(voters.split(), voters.split()).committed(match) == want


@pytest.mark.parametrize(
    ("incoming", "outgoing", "row", "want"),
    [
        # The row is of voters 1 ... 6.
        ("1 2 3", "", "5 4 3 9 9 9", 4),
        ("1 2 3", "4 5 6", "5 4 3 9 9 9", 4),
        ("1 2 3", "4 5 6", "5 4 3 2 1 0", 1),
        ("1 2 3", "4 5 6", "9 9 9 _ _ _", 0),
        ("1 2 3", "4 5 6", "9 9 9 8 _ _", 0),
        ("1 2 3", "3 4 5", "1 _ 100 2 _ _", 1),
        ("1 2 3", "3 4 5", "50 _ 100 60 _ _", 50),
        ("1 2 3", "1 2 4", "7 7 _ _ _ _", 7),
        ("1 2 3 4", "1 2 3", "7 7 _ _ _ _", 0),
        ("1", "2 3 4 5 6", "1 9 9 9 9 9", 1),
        ("1 2", "1", "3 5 _ _ _ _", 3),
    ],
)
def test_what_both_sides_have_committed(incoming: str, outgoing: str, row: str, want: int) -> None:
    match = told("123456", row)
    one = Joint(incoming.split(), outgoing.split())
    assert one.committed(match) == want
    assert one.replication.committed(match) == want
    if outgoing:
        assert Joint(outgoing.split(), incoming.split()).committed(match) == want


@pytest.mark.parametrize(
    ("system", "votes", "want"),
    [
        # y: granted, n: refused, _: nothing yet; of voters 1, 2, 3, ...
        (Majority([1]), "_", "pending"),
        (Majority([1]), "y", "won"),
        (Majority([1]), "n", "lost"),
        (Majority([1, 2]), "y_", "pending"),
        (Majority([1, 2]), "n_", "lost"),
        (Majority([1, 2]), "yn", "lost"),
        (Majority([1, 2]), "yy", "won"),
        (Majority([1, 2, 3]), "y__", "pending"),
        (Majority([1, 2, 3]), "n__", "pending"),
        (Majority([1, 2, 3]), "yn_", "pending"),
        (Majority([1, 2, 3]), "yy_", "won"),
        (Majority([1, 2, 3]), "nn_", "lost"),
        (Majority([1, 2, 3]), "yny", "won"),
        (Majority([1, 2, 3, 4]), "yy__", "pending"),
        (Majority([1, 2, 3, 4]), "nn__", "lost"),
        (Majority([1, 2, 3, 4]), "yyny", "won"),
        (Majority([1, 2, 3, 4, 5]), "yyn_n", "pending"),
        (Majority([1, 2, 3, 4, 5]), "nnyyn", "lost"),
        (Joint([1, 2, 3], []), "yy_", "won"),
        (Joint([1, 2, 3], [4, 5, 6]), "yyy___", "pending"),
        (Joint([1, 2, 3], [4, 5, 6]), "yyynn_", "lost"),
        (Joint([1, 2, 3], [4, 5, 6]), "yynyy_", "won"),
        (Joint([1, 2, 3], [4, 5, 6]), "nn____", "lost"),
        (Joint([1, 2, 3], [3, 4, 5]), "y_yn_", "pending"),
        (Joint([1, 2, 3], [3, 4, 5]), "y_yy_", "won"),
        (Flexible([1, 2, 3, 4, 5], replication=2, election=4), "yyy__", "pending"),
        (Flexible([1, 2, 3, 4, 5], replication=2, election=4), "yyyn_", "pending"),
        (Flexible([1, 2, 3, 4, 5], replication=2, election=4), "yyynn", "lost"),
        (Flexible([1, 2, 3, 4, 5], replication=2, election=4), "yyyny", "won"),
        (Flexible([1, 2, 3, 4], replication=2, election=3), "yy_n", "pending"),
        (Flexible.by_datacenter(DCS, replication=2, election=2), "yy_yy____", "won"),
        (Flexible.by_datacenter(DCS, replication=2, election=2), "yyyy__y__", "pending"),
        (Flexible.by_datacenter(DCS, replication=2, election=2), "yyynn_nn_", "lost"),
        (Flexible.by_datacenter(DCS, replication=1, election=3), "yy_yy_nn_", "lost"),
        (Flexible.by_grid([[1, 2], [3, 4]]), "yy__", "pending"),
        (Flexible.by_grid([[1, 2], [3, 4]]), "yyy_", "won"),
        (Flexible.by_grid([[1, 2], [3, 4]]), "n__n", "lost"),
    ],
)
def test_votes(system: QuorumSystem, votes: str, want: str) -> None:
    ballots = {voter: mark == "y" for voter, mark in enumerate(votes, start=1) if mark != "_"}
    assert system.vote(ballots) == want
    assert system.vote({**ballots, 77: True, 78: False}) == want
    silent = {voter: None for voter, mark in enumerate(votes, start=1) if mark == "_"}
    assert system.vote({**ballots, **silent}) == want


@pytest.mark.parametrize(
    ("system", "row", "want"),
    [
        (Flexible([1, 2, 3, 4, 5], replication=2, election=4), "1 2 3 4 5", 4),
        (Flexible([1, 2, 3, 4, 5], replication=1, election=5), "1 2 3 _ _", 3),
        (Flexible([1, 2, 3, 4], replication=2, election=3), "4 3 2 1", 3),
        (Flexible.by_datacenter(DCS, replication=1, election=3), "9 8 _ 5 5 5 4 4 4", 8),
        (Flexible.by_datacenter(DCS, replication=2, election=2), "9 8 _ 5 6 7 4 4 4", 6),
        (
            Flexible.by_datacenter(DCS, replication=3, election=1, owned_ballots=True),
            "9 8 _ 5 6 7 4 3 2",
            3,
        ),
        (Flexible.by_grid([[1, 2], [3, 4]]), "5 9 6 1", 5),
        (Flexible.by_grid([[1, 2], [3, 4]]), "5 9 6 8", 8),
    ],
)
def test_what_flexible_quorums_have_committed(system: QuorumSystem, row: str, want: int) -> None:
    assert system.committed(told(range(1, 10)[: len(row.split())], row)) == want


# --- values --------------------------------------------------------------------------------------

SYSTEMS: list[QuorumSystem] = [
    Majority([3, 1, 2]),
    Majority(["n1", "n2", "n3", "n4"]),
    Flexible(range(5), replication=2, election=4),
    Flexible(range(4), replication=3, election=2, owned_ballots=True),
    Flexible.by_datacenter(DCS, replication=2, election=2),
    Flexible.by_grid([[1, 2, 3], [4, 5, 6]]),
    Joint([1, 2, 3]),
    Joint([1, 2, 3], [3, 4, 5]),
    Joint(Flexible([1, 2, 3, 4], replication=2, election=3), [1, 2, 3]),
]


@pytest.mark.parametrize("system", SYSTEMS, ids=repr)
def test_a_system_is_an_immutable_value(system: QuorumSystem) -> None:
    again = eval(repr(system), vars(quorum))
    for same in (again, copy.deepcopy(system), pickle.loads(pickle.dumps(system))):
        assert same == system
        assert hash(same) == hash(system)
        assert repr(same) == repr(system)
        assert same.elections_intersect == system.elections_intersect
    assert len({*SYSTEMS, again}) == len(SYSTEMS)
    assert system.voters == tuple(sorted(system.voters))
    for name in ("voters", "replication", "quorum", "anything"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(system, name, 1)
        with pytest.raises(AttributeError, match="cannot be changed"):
            delattr(system, name)
    assert system != "another thing"


def test_order_does_not_matter() -> None:
    assert Majority([3, 1, 2]) == Majority({1, 2, 3}) == Majority(iter((2, 3, 1)))
    assert Joint([1, 2], [3]) != Joint([3], [1, 2])
    one = Flexible.by_datacenter(DCS, replication=2, election=2)
    assert one == Flexible.by_datacenter(dict(reversed(DCS.items())), replication=2, election=2)


def test_joint_without_outgoing_is_the_incoming_majority() -> None:
    for nobody in ([], (), set(), iter(())):
        system = Joint([1, 2, 3], nobody)
        assert system.outgoing is None
        assert system.incoming == Majority([1, 2, 3])
        assert system.has_quorum([1, 2])
        assert not system.has_quorum([1, 77])
        assert system.can_elect({2, 3})


def test_indices_that_are_none() -> None:
    system = Majority([1, 2, 3])
    with pytest.raises(LimitError):
        system.committed({1: -1})
    with pytest.raises(LimitError):
        system.committed_of([1, 2, 2**64])
    with pytest.raises(SettingTypeError):
        system.committed({1: 2.5})  # type: ignore[dict-item]
    with pytest.raises(SettingError, match="2 indices for 3 voters"):
        system.committed_of([1, 2])


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "voters", [[], (), [1, 2, 1], ["a", "a"], range(limits.VOTERS_MAX + 1)], ids=repr
)
def test_voters_that_cannot_be(voters: Any) -> None:
    for make in (Majority, Joint, lambda ids: Flexible(ids, replication=1, election=1)):
        with pytest.raises(QuorumError):
            make(voters)


@pytest.mark.parametrize("voters", ["abc", b"abc", 5, None, [1, "a"], [[1], [2]], [None, 1]])
def test_voters_of_a_wrong_type(voters: Any) -> None:
    for make in (
        Majority,
        Joint,
        lambda ids: Joint([1], ids),
        lambda ids: Flexible(ids, replication=1, election=1),
        lambda ids: AtLeast(1, ids),
    ):
        with pytest.raises(SettingTypeError):
            make(voters)


def test_counts_that_do_not_meet() -> None:
    """Rule 1, with the pair; and the largest elections that fail are one below those that pass."""
    with pytest.raises(QuorumError, match=r"\{1, 2\} could elect .* \{3, 4, 5\} committed"):
        Flexible([1, 2, 3, 4, 5], replication=3, election=2)
    for voters in range(1, 9):
        for replication in range(1, voters + 1):
            election = voters - replication
            if election:
                with pytest.raises(QuorumError, match="must meet every replication quorum"):
                    Flexible(
                        range(voters),
                        replication=replication,
                        election=election,
                        owned_ballots=True,
                    )
            system = Flexible(
                range(voters), replication=replication, election=election + 1, owned_ballots=True
            )
            assert system.elections_intersect == (2 * (election + 1) > voters)


def test_elections_that_do_not_meet_need_owned_ballots() -> None:
    with pytest.raises(QuorumError, match=r"\{1, 2\} and \{4, 5\} could elect two leaders"):
        Flexible([1, 2, 3, 4, 5], replication=4, election=2)
    system = Flexible([1, 2, 3, 4, 5], replication=4, election=2, owned_ballots=True)
    assert not system.elections_intersect
    assert system.can_elect([1, 2])
    assert system.can_elect([3, 4])
    # The flag is a permission, not a property.
    assert Flexible([1, 2, 3], replication=2, election=2, owned_ballots=True) == Flexible(
        [1, 2, 3], replication=2, election=2
    )
    with pytest.raises(QuorumError, match="one term"):
        Flexible.by_datacenter(DCS, replication=3, election=1)
    with pytest.raises(QuorumError, match="could elect a leader that knows nothing"):
        Flexible.by_datacenter(DCS, replication=1, election=2)
    joined = Joint([1, 2, 3], system)
    assert joined.elections_intersect
    assert not Joint(system, system).elections_intersect


def test_families_that_cannot_be() -> None:
    for count in (0, 3, -1):
        with pytest.raises(QuorumError, match=r"it must be 1 \.\.\. 2"):
            AtLeast(count, [1, 2])
    for wrong in (True, 1.0, "2", None):
        with pytest.raises(SettingTypeError):
            AtLeast(wrong, [1, 2])  # type: ignore[arg-type]
        with pytest.raises(SettingTypeError):
            Flexible([1, 2], replication=wrong, election=2)  # type: ignore[arg-type]
    with pytest.raises(QuorumError, match="1 is named twice"):
        AtLeast(1, [1, 1])
    with pytest.raises(QuorumError, match="no voters"):
        Flexible([1, 2], replication=AtLeast(1, [3]), election=2)
    with pytest.raises(QuorumError, match="'b' has no voters"):
        Flexible.by_datacenter({"a": [1], "b": []}, replication=1, election=2)
    with pytest.raises(QuorumError, match="twice"):
        Flexible.by_datacenter({"a": [1], "b": [1]}, replication=1, election=2)
    with pytest.raises(QuorumError):
        Flexible.by_datacenter({}, replication=1, election=1)
    for rows in ([], [[]], [[1, 2], [3]], [[1, 2], [2, 3]]):
        with pytest.raises(QuorumError):
            Flexible.by_grid(rows)


def test_what_cannot_be_proven_is_refused() -> None:
    """Two shapes over many voters, each with too many quorums to try."""
    pairs = [AtLeast(1, [2 * i, 2 * i + 1]) for i in range(60)]
    with pytest.raises(QuorumError, match="cannot prove"):
        Flexible(range(120), replication=AtLeast(40, pairs), election=61)


def test_the_largest_systems_are_checked_quickly() -> None:
    voters = range(limits.VOTERS_MAX)
    assert Flexible(voters, replication=20, election=108).elections_intersect
    dcs = {str(dc): range(10 * dc, 10 * dc + 9) for dc in range(14)}
    assert Flexible.by_datacenter(dcs, replication=4, election=11).elections_intersect
    grid = [range(11 * row, 11 * row + 11) for row in range(11)]
    assert Flexible.by_grid(grid).elections_intersect
    assert not Flexible.by_grid(grid, owned_ballots=True).elections_intersect


# --- brute force ---------------------------------------------------------------------------------


#: Of a family that is drawn: nested ones can have millions, and tests list them.
QUORUMS_MAX = 5_000


@st.composite
def families(draw: st.DrawFn, voters: list[int], depth: int = 2) -> AtLeast:
    """Any nested thresholds, which may name a voter in several places."""
    leaves = draw(st.lists(st.sampled_from(voters), unique=True, max_size=len(voters)))
    nested = []
    if depth:
        nested = draw(st.lists(families(voters, depth - 1), max_size=2))
    parts = [*leaves, *nested] or [voters[0]]
    family = AtLeast(draw(st.integers(1, len(parts))), parts)
    assume(family.quorum_count() <= QUORUMS_MAX)
    return family


VOTERS = [1, 2, 3, 4, 5, 6]


@given(families(VOTERS), families(VOTERS))
def test_disjoint_pairs_are_those_of_brute_force(one: AtLeast, other: AtLeast) -> None:
    every = set(one.voters) | set(other.voters)
    exists = any(one.holds(ids) and other.holds(every - ids) for ids in subsets(every))
    pair = disjoint_pair(one, other)
    assert (pair is not None) == exists
    if pair is not None:
        first, second = pair
        assert one.holds(first)
        assert other.holds(second)
        assert not first & second


@given(families(VOTERS))
def test_a_familys_quorums_are_its_minimal_sets(family: AtLeast) -> None:
    listed = list(family.quorums())
    assert len(listed) == family.quorum_count()
    holding = {ids for ids in subsets(family.voters) if family.holds(ids)}
    assert set(listed) <= holding
    assert {ids for ids in holding if not any(other < ids for other in holding)} <= set(listed)


matches = st.dictionaries(st.sampled_from(VOTERS), st.integers(0, 8))


@given(families(VOTERS), matches)
def test_committed_is_the_best_of_all_quorums(family: AtLeast, match: dict[int, int]) -> None:
    best = max(
        min((match.get(voter, 0) for voter in ids), default=0)
        for ids in subsets(family.voters)
        if family.holds(ids)
    )
    assert family.committed(match) == best


def systems() -> st.SearchStrategy[QuorumSystem]:
    sets = st.sets(st.sampled_from(VOTERS), min_size=1)
    majorities = st.builds(Majority, sets)

    @st.composite
    def flexible(draw: st.DrawFn) -> QuorumSystem:
        voters = draw(sets)
        replication = draw(st.integers(1, len(voters)))
        least = len(voters) - replication + 1
        election = draw(st.integers(least, len(voters)))
        return Flexible(voters, replication=replication, election=election, owned_ballots=True)

    simple = st.one_of(majorities, flexible())
    return st.one_of(simple, st.builds(Joint, simple, simple))


@given(systems(), matches, st.sampled_from(VOTERS), st.integers(0, 8))
def test_committed_is_monotone(
    system: QuorumSystem, match: dict[int, int], voter: int, index: int
) -> None:
    before = system.committed(match)
    more = {**match, voter: max(index, match.get(voter, 0))}
    assert system.committed(more) >= before
    assert before == max(
        min((match.get(voter, 0) for voter in ids), default=0)
        for ids in subsets(system.voters)
        if system.has_quorum(ids)
    )


@given(systems(), st.dictionaries(st.sampled_from(VOTERS), st.booleans()))
def test_votes_are_what_the_silent_can_still_do(
    system: QuorumSystem, votes: dict[int, bool]
) -> None:
    granted = {voter for voter, yes in votes.items() if yes}
    silent = set(system.voters) - set(votes)
    won = system.can_elect(granted)
    possible = system.can_elect(granted | silent)
    assert system.vote(votes) == ("won" if won else "pending" if possible else "lost")


@given(systems())
def test_the_two_rules_hold(system: QuorumSystem) -> None:
    every = set(system.voters)
    for ids in subsets(every):
        if system.can_elect(ids):
            assert not system.has_quorum(every - ids)
            assert not (system.elections_intersect and system.can_elect(every - ids))


# --- many groups ---------------------------------------------------------------------------------


@pytest.mark.parametrize("voters", [1, 2, 3, 4, 5, 7, 9])
def test_groups_are_as_one_group(voters: int) -> None:
    rng = np.random.default_rng(voters)
    match = rng.integers(0, 50, (100, voters), dtype=np.uint64)
    system = Majority(range(voters))
    want = [system.committed_of(row) for row in match.tolist()]
    out = np.empty(100, np.uint64)
    assert committed_groups(match).tolist() == want
    assert committed_groups(match, out=out) is out
    assert committed_groups(np.asfortranarray(match)).tolist() == out.tolist() == want
    assert committed_groups(match, 1).tolist() == match.max(axis=1).tolist()
    other = rng.integers(0, 50, (100, 3), dtype=np.uint64)
    both = np.minimum(committed_groups(match), committed_groups(other, 3))
    assert committed_joint_groups(match, other, outgoing_quorum=3).tolist() == both.tolist()
    ballots = rng.integers(-1, 2, (100, voters)).astype(np.int8)
    words = {1: "won", 0: "pending", -1: "lost"}
    for row, result in zip(ballots.tolist(), vote_groups(ballots).tolist(), strict=True):
        votes = {voter: ballot > 0 for voter, ballot in enumerate(row) if ballot}
        assert words[result] == system.vote(votes)


def test_groups_refuse() -> None:
    match = np.zeros((4, 3), np.uint64)
    for wrong in ([[1, 2, 3]], match.astype(np.int64), None):
        with pytest.raises(SettingTypeError):
            committed_groups(wrong)  # type: ignore[arg-type]
        with pytest.raises(SettingTypeError):
            committed_joint_groups(match, wrong)  # type: ignore[arg-type]
        with pytest.raises(SettingTypeError):
            vote_groups(wrong)  # type: ignore[arg-type]
    with pytest.raises(SettingError):
        committed_groups(match[0])
    with pytest.raises(SettingError, match="4 groups incoming, 3 outgoing"):
        committed_joint_groups(match, match[:3])
    for count in (0, 4, 2**70):
        with pytest.raises(SettingError):
            committed_groups(match, count)
    for wrong_count in (True, 2.0, "2"):
        with pytest.raises(SettingTypeError):
            committed_groups(match, wrong_count)  # type: ignore[arg-type]
    for voters in (0, limits.VOTERS_MAX + 1):
        with pytest.raises(LimitError):
            committed_groups(np.zeros((4, voters), np.uint64))
    for out in (np.zeros(4), [0] * 4, np.zeros(4, np.int64)):
        with pytest.raises(OutputTypeError):
            committed_groups(match, out=out)  # type: ignore[arg-type]
    frozen = np.zeros(4, np.uint64)
    frozen.flags.writeable = False
    for out in (np.zeros(3, np.uint64), np.zeros(8, np.uint64)[::2], frozen, match.reshape(-1)[:4]):
        with pytest.raises(OutputError):
            committed_groups(match, out=out)


def test_no_groups() -> None:
    assert committed_groups(np.zeros((0, 3), np.uint64)).size == 0
    assert vote_groups(np.zeros((0, 3), np.int8)).size == 0
