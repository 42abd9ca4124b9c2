"""Configurations and the steps between them, as tables; their bytes, also damaged ones."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader.consensus.membership import ConfChange, Membership, check_id
from ringleader.errors import FormatError, MembershipError
from ringleader.limits import MEMBERS_MAX, NODE_ID_BYTES_MAX, VOTERS_MAX


def m(text: str) -> Membership:
    """ "1 2 3 | 1 2 4 + 5 w3 r6 auto": voters | outgoing + learners, witnesses, retired, flag."""
    words = text.split()
    witnesses = [int(word[1:]) for word in words if word.startswith("w")]
    retired = [int(word[1:]) for word in words if word.startswith("r")]
    auto = "auto" in words
    text = " ".join(word for word in words if word[0] not in "wra")
    halves, _, learners = text.partition("+")
    voters, _, outgoing = halves.partition("|")
    return Membership(
        map(int, voters.split()),
        outgoing=map(int, outgoing.split()),
        learners=map(int, learners.split()),
        witnesses=witnesses,
        retired=retired,
        auto_leave=auto,
    )


def c(text: str) -> ConfChange:
    """ "v4 l5 w6 -1 joint": a voter, a learner, a witness, one that goes, how."""
    named: dict[str, list[int]] = {"v": [], "l": [], "w": [], "-": []}
    transition = "auto"
    for word in text.split():
        if word in ("joint", "explicit"):
            transition = word
        else:
            named[word[0]].append(int(word[1:]))
    return ConfChange(
        voters=named["v"],
        learners=named["l"],
        witnesses=named["w"],
        remove=named["-"],
        transition=transition,
    )


SIMPLE = [
    # before, change, after
    ("1", "v2", "1 2"),
    ("1 2 3", "v4", "1 2 3 4"),
    ("1 2 3", "-3", "1 2"),
    ("1 2 3", "-1", "2 3"),
    ("1 2", "-1", "2"),
    # Learners come and go in any number: they count in no quorum.
    ("1", "l2", "1 + 2"),
    ("1", "l2 l3 l4", "1 + 2 3 4"),
    ("1 + 2 3", "-2 -3", "1"),
    ("1 + 2", "l3 -2", "1 + 3"),
    # Promoted and demoted.
    ("1 + 2", "v2", "1 2"),
    ("1 2 3", "l3", "1 2 + 3"),
    ("1 2", "l1", "2 + 1"),
    ("1 2 + 3 4", "v3 l5 -4", "1 2 3 + 5"),
    # Naming what is so already changes nothing about it.
    ("1 2 + 3", "v1 v3", "1 2 3"),
    ("1 2 + 3", "l3 v4", "1 2 4 + 3"),
    # Witnesses.
    ("1 2", "w3", "1 2 3 w3"),
    ("1 2 3 w3", "-3", "1 2 r3"),
    ("1 2 r3", "w3", "1 2 3 w3"),
    ("1 2 3 w3", "v4", "1 2 3 4 w3"),
    ("1 2 3 w3", "w3 v4", "1 2 3 4 w3"),
]

ENTER = [
    ("1 2 3", "v4 v5", "1 2 3 4 5 | 1 2 3 auto"),
    ("1 2 3", "v4 -1", "2 3 4 | 1 2 3 auto"),
    ("1 2 3", "-2 -3", "1 | 1 2 3 auto"),
    ("1", "v2 v3", "1 2 3 | 1 auto"),
    ("1 2 3", "v4 v5 v6 -1 -2 -3", "4 5 6 | 1 2 3 auto"),
    # A demoted voter still votes in the old half.
    ("1 2 3", "l2 l3", "1 | 1 2 3 + 2 3 auto"),
    ("1 2 3 + 4 5", "v4 v5", "1 2 3 4 5 | 1 2 3 auto"),
    ("1 2 3 + 4", "v4 l3", "1 2 4 | 1 2 3 + 3 auto"),
    # A witness that goes is still one in the old half.
    ("1 2 3 w3", "-3 v4", "1 2 4 | 1 2 3 w3 auto"),
    ("1 2 3", "w4 -3", "1 2 4 | 1 2 3 w4 auto"),
    # On request, however small.
    ("1 2 3", "v4 joint", "1 2 3 4 | 1 2 3 auto"),
    ("1 2 3", "v4 explicit", "1 2 3 4 | 1 2 3"),
    ("1 2 3", "v4 v5 explicit", "1 2 3 4 5 | 1 2 3"),
    ("1 2 3", "l4 joint", "1 2 3 | 1 2 3 + 4 auto"),
]

LEAVE = [
    ("1 2 3 4 5 | 1 2 3 auto", "1 2 3 4 5"),
    ("1 2 3 4 | 1 2 3", "1 2 3 4"),
    ("4 5 6 | 1 2 3 auto", "4 5 6"),
    ("1 | 1 2 3 + 2 3 auto", "1 + 2 3"),
    ("1 2 4 | 1 2 3 w3 auto", "1 2 4 r3"),
    ("1 2 4 | 1 2 3 w4 auto", "1 2 4 w4"),
    ("1 2 3 | 1 2 3 + 4", "1 2 3 + 4"),
]

REFUSED = [
    ("1", "-1", "last"),
    ("1 2", "-1 -2", "last"),
    ("1", "l1", "last"),
    ("1 + 2", "-1", "last"),
    ("1 2 3", "-4", "no member"),
    ("1 2 3", "v2", "changes nothing"),
    ("1 2 3 + 4", "l4", "changes nothing"),
    ("1 2 3 w3", "w3", "changes nothing"),
    ("1 2 3 | 1 2 auto", "v4", "still joint"),
    ("1 2 3 | 1 2", "-1", "still joint"),
    ("1 2 3 w3", "v3", "witness"),
    ("1 2 3 w3", "l3", "witness"),
    ("1 2 r3", "v3", "another id"),
    ("1 2 r3", "l3", "another id"),
    ("1 2 3", "w3", "stores data"),
    ("1 2 + 3", "w3", "stores data"),
    ("1 2 w2", "-1", "witnesses alone"),
    ("1", "w2 -1", "witnesses alone"),
]


@pytest.mark.parametrize(("before", "change", "after"), SIMPLE)
def test_simple(before: str, change: str, after: str) -> None:
    changed = m(before).changed(c(change))
    assert changed == m(after)
    assert not changed.joint
    assert len({*changed.voters} ^ {*m(before).voters}) <= 1


@pytest.mark.parametrize(("before", "change", "after"), ENTER)
def test_enter_joint(before: str, change: str, after: str) -> None:
    changed = m(before).changed(c(change))
    assert changed == m(after)
    assert changed.joint
    assert changed.outgoing == m(before).voters
    # Who was a member receives the log until it is left.
    assert {*m(before).voters} <= {*changed.members}


@pytest.mark.parametrize(("before", "after"), LEAVE)
def test_leave_joint(before: str, after: str) -> None:
    assert m(before).left() == m(after)
    assert m(before).changed(ConfChange.leave_joint()) == m(after)
    assert not m(after).joint
    with pytest.raises(MembershipError, match="no joint"):
        m(after).left()


@pytest.mark.parametrize(("before", "change", "why"), REFUSED)
def test_refused(before: str, change: str, why: str) -> None:
    old = m(before)
    with pytest.raises(MembershipError, match=why):
        old.changed(c(change))
    assert old == m(before)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "empty"),
        ({"voters": [1], "remove": [1]}, "two places"),
        ({"voters": [1], "learners": [1]}, "two places"),
        ({"witnesses": [1], "learners": [1]}, "two places"),
        ({"voters": [1, 1]}, "twice"),
        ({"voters": [1], "transition": "slow"}, "transition"),
        ({"voters": [0]}, "node id 0"),
        ({"remove": [""]}, "node id"),
    ],
)
def test_impossible_changes(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(MembershipError, match=why):
        ConfChange(**arguments)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"learners": [1]}, "at least one voter"),
        ({"outgoing": [1]}, "at least one voter"),
        ({"voters": [1, 2], "learners": [2]}, "cannot vote and only learn"),
        ({"voters": [1], "witnesses": [2]}, "no voters"),
        ({"voters": [1], "witnesses": [1]}, "witnesses alone"),
        ({"voters": [1, 1]}, "twice"),
        ({"voters": range(1, VOTERS_MAX + 2)}, "at most"),
        ({"voters": [1], "outgoing": range(1, VOTERS_MAX + 2)}, "at most"),
        ({"voters": [1], "learners": range(2, MEMBERS_MAX + 2)}, "at most"),
    ],
)
def test_impossible_configurations(arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(MembershipError, match=why):
        Membership(**arguments)


@pytest.mark.parametrize(
    "node",
    [0, -1, 2**63, True, 1.0, None, b"a", "", "x" * (NODE_ID_BYTES_MAX + 1), "\ud800", "a\n", (1,)],
)
def test_impossible_ids(node: Any) -> None:
    with pytest.raises(MembershipError):
        check_id(node)


@pytest.mark.parametrize("node", [1, 2**63 - 1, "a", "é" * (NODE_ID_BYTES_MAX // 2), "0"])
def test_possible_ids(node: Any) -> None:
    assert check_id(node) == node


def test_a_configuration_is_a_set() -> None:
    assert Membership([3, 1, 2]) == Membership([1, 2, 3])
    assert hash(Membership([3, 1], learners=[9, 7])) == hash(Membership([1, 3], learners=[7, 9]))
    assert Membership([1, 2]) != Membership([1, 2], auto_leave=True)
    assert Membership([1]) != (1,)
    assert Membership(["b", "a"]).voters == ("a", "b")


def test_views() -> None:
    joint = m("1 2 4 | 1 2 3 + 5 w4")
    assert joint.members == (1, 2, 3, 4, 5)
    assert [joint.is_voter(node) for node in (1, 3, 4, 5, 6, None)] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert [node for node in joint.members if joint.is_witness(node)] == [4]
    assert joint.joint
    assert not joint.auto_leave
    assert repr(joint) == "Membership((1, 2, 4), outgoing=(1, 2, 3), learners=(5,), witnesses=(4,))"
    assert repr(c("v4 -1 joint")) == "ConfChange(voters=(4,), remove=(1,), transition='joint')"
    assert repr(ConfChange.leave_joint()) == "ConfChange.leave_joint()"


# --- bytes -----------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@st.composite
def memberships(draw: st.DrawFn) -> Membership:
    ids = draw(st.sampled_from((st.integers(1, 2**63 - 1), TEXTS)))
    voters = draw(st.sets(ids, min_size=1, max_size=8))
    outgoing = draw(st.one_of(st.just(set()), st.sets(ids, max_size=8)))
    learners = draw(st.sets(ids, max_size=4)) - voters
    every = sorted(voters | outgoing, key=repr)
    witnesses = set(draw(st.lists(st.sampled_from(every), max_size=3)))
    if voters <= witnesses:
        witnesses = set()
    return Membership(
        voters,
        outgoing=outgoing,
        learners=learners,
        witnesses=witnesses,
        retired=draw(st.sets(ids, max_size=3)),
        auto_leave=draw(st.booleans()),
    )


@given(memberships())
def test_round_trip(membership: Membership) -> None:
    data = membership.to_bytes()
    assert Membership.from_bytes(data) == membership
    assert Membership.from_bytes(data).to_bytes() == data
    assert pickle.loads(pickle.dumps(membership)) == membership


def test_bytes_are_fixed() -> None:
    """The layout is on disks: it changes only with its version."""
    data = Membership([1, 258], outgoing=[1], learners=[3], auto_leave=True).to_bytes()
    assert data.hex() == (
        "0101" "0200" "0100" "0100" "0000"
        "000100000000000000" "000201000000000000"
        "000100000000000000"
        "000300000000000000"
    )  # fmt: skip
    texts = Membership(["né"]).to_bytes()
    assert texts.hex() == "0100010000000000000001036ec3a9"


def test_ids_of_one_kind() -> None:
    with pytest.raises(MembershipError, match="all ints or all texts"):
        Membership([1, 2], learners=["3"])


@given(memberships(), st.data())
def test_cut_and_lengthened_bytes(membership: Membership, data: st.DataObject) -> None:
    whole = membership.to_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(FormatError):
        Membership.from_bytes(whole[:cut])
    with pytest.raises(FormatError):
        Membership.from_bytes(whole + data.draw(st.binary(min_size=1, max_size=9)))


@given(memberships(), st.data())
def test_altered_bytes(membership: Membership, data: st.DataObject) -> None:
    """Refused, or another valid configuration: never anything else."""
    altered = bytearray(membership.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    _refused_or_valid(bytes(altered))


@given(st.binary(max_size=80))
def test_any_bytes(data: bytes) -> None:
    _refused_or_valid(data)
    _refused_or_valid(b"\1\0" + data)


def _refused_or_valid(data: bytes) -> None:
    try:
        membership = Membership.from_bytes(data)
    except FormatError:
        return
    assert Membership.from_bytes(membership.to_bytes()) == membership


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "bytes or more"),
        (b"\2" + bytes(9), "version 2"),
        (b"\1\4" + bytes(8), "flags"),
        (b"\1\0\1\0\0\0\0\0\0\0" + b"\0" + bytes(8), "id 0"),
        (b"\1\0\1\0\0\0\0\0\0\0" + b"\0" + b"\xff" * 8, "id"),
        (b"\1\0\1\0\0\0\0\0\0\0" + b"\1\1\xff", "UTF-8"),
        (b"\1\0\1\0\0\0\0\0\0\0" + b"\1\0", "id"),
        (b"\1\0\1\0\0\0\0\0\0\0" + b"\2aaaaaaaaa", "damaged"),
        (b"\1\0\2\0\0\0\0\0\0\0" + b"\1\1a" * 2, "twice"),
        (b"\1\0\0\0\0\0\1\0\0\0" + b"\1\1a", "at least one voter"),
        (b"\1\0\1\0\0\0\1\0\0\0" + b"\1\1a" * 2, "cannot vote"),
        (b"\1\0\xff\xff\0\0\0\0\0\0", "cut short"),
    ],
)
def test_hostile_bytes(data: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        Membership.from_bytes(data)
