"""diff and Movement: what moves between two locators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader import HashRing, Node, errors
from ringleader.placement import (
    EnvoyRing,
    KetamaRing,
    Movement,
    NginxRing,
    RedisSlots,
    Replicas,
    TokenRing,
    moved,
)
from ringleader.placement.located import Located
from ringleader.placement.movement import due_shares

CIRCLE = 1 << 64


class Unranged(Located):
    """A locator that cuts nothing into ranges."""

    def __init__(self, names: list[str]) -> None:
        self._ring = HashRing(names, seed=9)

    @property
    def table(self) -> Any:
        return self._ring.table

    def __getitem__(self, key: Any) -> str:
        return self._ring[key]


def fleet(names: str, vnodes: int = 20, **options: Any) -> HashRing:
    return HashRing(list(names), vnodes=vnodes, **options)


@st.composite
def rings(draw: st.DrawFn) -> HashRing:
    names = draw(st.sets(st.sampled_from("abcdefgh"), min_size=1))
    weights = st.sampled_from([0.5, 1.0, 2.0])
    return HashRing({name: draw(weights) for name in names}, vnodes=draw(st.sampled_from([1, 7])))


KEYS = [f"user:{number}" for number in range(300)]


# --- what moves -----------------------------------------------------------------------------------


@given(rings(), rings())
@settings(max_examples=60)
def test_rows_and_sums_against_lookups(a: HashRing, b: HashRing) -> None:
    movement = a.diff(b)
    of = movement.of(KEYS)
    before = [a[key] for key in KEYS]
    after = [b[key] for key in KEYS]
    assert [movement.names[at] for at in of.before] == before
    assert [movement.names[at] for at in of.after] == after
    assert of.moved.tolist() == [x != y for x, y in zip(before, after, strict=True)]
    # Every key's hash lies in a row that says the same, or in none.
    from ringleader.hashing import xxh3_64

    for number, key in enumerate(KEYS[:60]):
        value = xxh3_64(key)
        rows = [
            (source, target)
            for start, end, source, target in zip(
                movement.starts.tolist(), movement.ends.tolist(),
                movement.sources.tolist(), movement.targets.tolist(), strict=True,
            )
            if start == end or 0 < (value - start) % CIRCLE <= (end - start) % CIRCLE
        ]  # fmt: skip
        expected = [(of.before[number], of.after[number])] if of.moved[number] else []
        assert rows == expected
    # The sums are the rows', and lead from the shares before to those after.
    old = dict(zip(a.names, a.stats().arcs, strict=True))
    new = dict(zip(b.names, b.stats().arcs, strict=True))
    assert movement.before == tuple(old.get(name, 0) for name in movement.names)
    assert movement.after == tuple(new.get(name, 0) for name in movement.names)
    for at, name in enumerate(movement.names):
        gain = movement.incoming[at] - movement.outgoing[at]
        assert gain == movement.after[at] - movement.before[at], name
    assert movement.given_up == movement.outgoing
    assert sum(movement.pairs.values()) == movement.length == sum(movement.outgoing)
    assert sum(movement.datacenters.values()) == movement.length
    assert movement.needed <= movement.length
    kept = set(a.names) & set(b.names)
    among = sum(length for (x, y), length in movement.pairs.items() if x in kept and y in kept)
    assert movement.between_kept == among


@given(rings(), rings())
@settings(max_examples=30)
def test_there_and_back(a: HashRing, b: HashRing) -> None:
    there, back = a.diff(b), b.diff(a)
    assert there.starts.tolist() == back.starts.tolist()
    assert there.ends.tolist() == back.ends.tolist()
    assert there.sources.tolist() == back.targets.tolist()
    assert there.targets.tolist() == back.sources.tolist()
    assert there.length == back.length
    assert there.needed == back.needed
    assert there.ideal_share == pytest.approx(back.ideal_share)


def test_nothing_moves_to_an_equal_ring() -> None:
    ring = fleet("abc")
    movement = ring.diff(fleet("cba"))
    assert not movement
    assert len(movement) == movement.length == movement.needed == 0
    assert movement.share == movement.ideal_share == 0.0
    assert movement.pairs == movement.datacenters == {}
    assert not movement.of(KEYS).moved.any()


def test_one_node_joins() -> None:
    old = fleet("abc", vnodes=160)
    new = old.copy()
    new.add_node("d")
    movement = old.diff(new)
    assert {target for _, target in movement.pairs} == {"d"}
    assert movement.between_kept == 0
    assert movement.length == movement.needed == new.stats().arcs[3]
    assert movement.ideal_share == pytest.approx(0.25)
    assert movement.incoming[3] == movement.length
    assert len(movement) <= 160
    assert movement.of(KEYS).share == pytest.approx(movement.share, abs=0.1)


def test_the_whole_circle_moves() -> None:
    movement = HashRing(["a"], vnodes=1).diff(HashRing(["b"], vnodes=1))
    assert movement.length == movement.needed == CIRCLE
    assert movement.share == 1.0
    assert movement.pairs == {("a", "b"): CIRCLE}
    one = HashRing(["a"], vnodes=3).diff(HashRing(["b"], vnodes=4))
    assert one.starts.tolist() == one.ends.tolist()
    assert one.length == CIRCLE


def test_datacenters_and_nodes() -> None:
    old = HashRing([Node("a", dc="eu"), Node("b", dc="us")])
    new = HashRing([Node("a", dc="eu"), Node("b", dc="us"), Node("c", dc="us")])
    movement = old.diff(new)
    assert set(movement.datacenters) == {("eu", "us"), ("us", "us")}
    assert movement.datacenters["eu", "us"] == movement.pairs["a", "c"]
    moved_house = HashRing([Node("a", dc="eu"), Node("b", dc="ap")])
    assert old.diff(moved_house).nodes[1].dc == "ap"  # as the new ring has it


def test_weights_and_unneeded_movement() -> None:
    old = HashRing({"a": 1, "b": 1, "c": 1}, vnodes=100)
    new = HashRing({"a": 2, "b": 1, "c": 0}, vnodes=100)
    movement = old.diff(new)
    assert movement.ideal_share == pytest.approx(1 / 3)
    assert movement.outgoing[2] == movement.before[2]
    assert movement.after[2] == 0
    # A drained node is gone: what it gives is not between nodes that stay.
    among = movement.pairs.get(("a", "b"), 0) + movement.pairs.get(("b", "a"), 0)
    assert movement.between_kept == among


def test_it_is_a_picture_of_the_moment() -> None:
    old, new = fleet("abc"), fleet("abcd")
    movement = old.diff(new)
    expected = movement.of(KEYS).moved.tolist()
    old.add_node("x")
    new.remove_node("d")
    assert movement.of(KEYS).moved.tolist() == expected
    assert set(movement.names) == set("abcd")
    with pytest.raises(ValueError, match="read-only"):
        movement.starts[0] = 0


# --- keys, for any two locators -------------------------------------------------------------------


def test_moved_between_any_locators() -> None:
    ring, other = fleet("abc"), Unranged(["a", "b", "d"])
    of = moved(ring, other, iter(KEYS))
    assert of.names == ("a", "b", "c", "d")
    assert [of.names[at] for at in of.before] == [ring[key] for key in KEYS]
    assert [of.names[at] for at in of.after] == [other[key] for key in KEYS]
    assert of.count == of.moved.sum() == round(of.share * len(of))
    assert np.isnan(moved(ring, other, []).share)
    sets = moved(ring, ring, KEYS, 2)
    assert not sets.moved.any()
    assert sets.before.shape == (len(KEYS), 2)


def test_sets_of_replicas_not_their_order() -> None:
    one, other = fleet("ab", vnodes=1), fleet("ab", vnodes=5)
    of = moved(one, other, KEYS, 2)
    assert (of.before != of.after).any()
    assert not of.moved.any()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (fleet("abc", hash="xxh64"), "hashes: 'xxh3' and 'xxh64'"),
        (fleet("abc", seed=1), "seeds"),
    ],
)
def test_other_spaces(other: HashRing, words: str) -> None:
    with pytest.raises(errors.SpaceError, match=words):
        fleet("abc").diff(other)


def test_the_seed_of_siphash_stays_secret() -> None:
    one, other = (fleet("ab", hash="siphash13", seed=seed) for seed in (123456, 654321))
    with pytest.raises(errors.SpaceError) as caught:
        one.diff(other)
    assert "123456" not in str(caught.value)
    assert "654321" not in str(caught.value)


def test_what_has_no_ranges() -> None:
    ring, other = fleet("abc"), Unranged(["a"])
    for a, b in ((ring, other), (other, ring)):
        with pytest.raises(errors.SpaceError, match=r"Unranged does not.*moved\(a, b, keys\)"):
            a.diff(b)


def test_what_is_no_locator() -> None:
    with pytest.raises(errors.NodeTypeError, match="not list"):
        fleet("abc").diff(["a"])
    with pytest.raises(errors.NodeTypeError, match="not str"):
        moved(fleet("abc"), "ring.toml", KEYS)  # type: ignore[arg-type]
    with pytest.raises(errors.KeyTypeError):
        fleet("abc").diff(fleet("ab")).of("one key")  # type: ignore[arg-type]
    for policy in (True, "3", 2.5):
        with pytest.raises(errors.PolicyTypeError):
            fleet("abc").diff(fleet("ab"), policy)  # type: ignore[arg-type]


def test_empty_rings() -> None:
    for a, b in ((HashRing(), fleet("a")), (fleet("a"), HashRing({"a": 0}))):
        with pytest.raises(errors.EmptyRingError):
            a.diff(b)


def test_repr() -> None:
    movement = fleet("abc").diff(fleet("abcd"))
    assert isinstance(movement, Movement)
    assert "of the key space in" in repr(movement)
    assert "300 keys move" in repr(movement.of(KEYS))


# --- policies -------------------------------------------------------------------------------------


@given(rings(), rings(), st.integers(1, 3))
@settings(max_examples=40)
def test_replicas_against_lookups(a: HashRing, b: HashRing, count: int) -> None:
    count = min(count, len(a), len(b))
    movement = a.diff(b, count)
    of = movement.of(KEYS)
    assert of.before.shape == (len(KEYS), count)
    from ringleader.hashing import xxh3_64

    def holding(columns: list[list[int]], value: int) -> list[list[int]]:
        starts, ends, *rest = columns
        return [
            list(row)
            for start, end, *row in zip(starts, ends, *rest, strict=True)
            if start == end or 0 < (value - start) % CIRCLE <= (end - start) % CIRCLE
        ]

    added = [
        column.tolist()
        for column in (movement.starts, movement.ends, movement.sources, movement.targets)
    ]
    dropped = [column.tolist() for column in movement.dropped]
    for number, key in enumerate(KEYS[:60]):
        before, after = set(a.get_nodes(key, count)), set(b.get_nodes(key, count))
        assert {movement.names[at] for at in of.before[number]} == before
        assert {movement.names[at] for at in of.after[number]} == after
        assert of.moved[number] == (before != after)
        rows = holding(added, xxh3_64(key))
        assert sorted(movement.names[row[1]] for row in rows) == sorted(after - before)
        assert all(movement.names[row[0]] in before for row in rows)
        gone = holding(dropped, xxh3_64(key))
        assert sorted(movement.names[row[0]] for row in gone) == sorted(before - after)
    assert sum(movement.before) == sum(movement.after) == count * CIRCLE
    for at in range(len(movement.names)):
        gain = movement.incoming[at] - movement.given_up[at]
        assert gain == movement.after[at] - movement.before[at]
    assert movement.needed <= movement.length == sum(movement.outgoing)


def test_a_number_of_replicas_is_a_policy() -> None:
    old, new = fleet("abc"), fleet("abcd")
    told = [old.diff(new, n).starts.tolist() for n in (2, np.int64(2), Replicas(2))]
    assert told[0] == told[1] == told[2] != old.diff(new).starts.tolist()


def test_sources_are_near() -> None:
    nodes = [
        Node(f"{dc}{number}", dc=dc, zone=f"z{number % 2}") for dc in "ab" for number in range(4)
    ]
    old = HashRing(nodes)
    new = HashRing([*nodes, Node("a9", dc="a", zone="z1"), Node("b9", dc="b", zone="z0")])
    policy = Replicas({"a": 2, "b": 2}, spread="zone")
    movement = old.diff(new, policy)
    zones = {node.name: (node.dc, node.zone) for node in new.nodes}
    near = sum(length for (x, y), length in movement.pairs.items() if zones[x] == zones[y])
    # A replica in each zone of the datacenter: there is one in the same zone for each.
    assert near == movement.length > 0
    assert set(movement.datacenters) == {("a", "a"), ("b", "b")}
    assert movement.ideal_share == pytest.approx(2 * 2 / 5)


def test_nodes_that_are_down() -> None:
    old, new = fleet("abcde"), fleet("abcd")
    alone = old.diff(new, down=["e"])
    assert alone
    assert len(alone) == alone.length == len(alone.dropped[0]) == 0
    assert alone.lost_length == alone.needed == old.stats().arcs[4]
    assert alone.lost[0].tolist() == old.diff(new).dropped[0].tolist()
    pair = old.diff(new, 2, down=["e"])
    assert pair.lost_length == 0
    assert pair.outgoing[4] == 0
    assert pair.length == pair.given_up[4] == pair.before[4]
    both = old.diff(new, 2, down=["e", "a"])
    assert 0 < both.lost_length < pair.length
    assert both.outgoing[0] == both.outgoing[4] == 0
    assert both.length + both.lost_length == pair.length
    told = both.plan().to_dict()
    assert told["down"] == ["a", "e"]
    assert len(told["lost"]) == len(both.lost[0]) > 0
    assert sum(step.length for step in both.plan().steps) == both.length
    assert old.diff(new, down=["d"]).length == old.diff(new).length
    with pytest.raises(errors.NodeNotFound, match="'x'"):
        old.diff(new, down=["x"])
    with pytest.raises(errors.NodeTypeError, match="one name"):
        old.diff(new, down="a")


def test_due_shares() -> None:
    nodes = [Node("a", 8, dc="x"), Node("b", 1, dc="x"), Node("c", 1, dc="x"), Node("d", 0, dc="x")]
    assert due_shares(nodes, None) == pytest.approx({"a": 0.8, "b": 0.1, "c": 0.1, "d": 0})
    assert due_shares(nodes, Replicas(2)) == {"a": 1, "b": 0.5, "c": 0.5, "d": 0}
    assert due_shares(nodes, Replicas(3)) == {"a": 1, "b": 1, "c": 1, "d": 0}
    more = [*nodes, Node("e", 3, dc="y")]
    assert due_shares(more, Replicas({"x": 2, "y": 1}))["e"] == 1
    assert due_shares(more, Replicas({"x": 2}))["e"] == 0


def test_policies_that_cannot_be() -> None:
    a, b = fleet("abc"), fleet("ab")
    with pytest.raises(errors.TooFewNodes):
        a.diff(b, 3)
    with pytest.raises(errors.PolicyError, match="only 2"):
        a.diff(b, Replicas(3))
    with pytest.raises(errors.PolicyError, match="'eu'"):
        a.diff(b, Replicas({"eu": 1}))
    slots = RedisSlots(["a", "b"])
    with pytest.raises(errors.SpaceError, match="a Redis slot share their owner"):
        slots.diff(slots, 2)


# --- other locators -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (KetamaRing(list("abc")), KetamaRing(list("abcd"))),
        (NginxRing(list("abc")), NginxRing(list("bcd"))),
        (EnvoyRing(list("abc")), EnvoyRing(list("abcd"))),
        (EnvoyRing(list("abc")), HashRing(list("abc"), hash="xxh64")),
        (RedisSlots(list("abc")), RedisSlots(list("abcd"))),
        (TokenRing(list("abc")), TokenRing(list("abcd"))),
    ],
    ids=lambda locator: type(locator).__name__,
)
def test_any_locator_with_ranges(old: Any, new: Any) -> None:
    movement = old.diff(new)
    of = movement.of(KEYS)
    assert [of.names[at] for at in of.after] == [new[key] for key in KEYS]
    assert sum(movement.before) == sum(movement.after) == CIRCLE
    assert movement.share == pytest.approx(of.share, abs=0.1)
    replay_length = sum(step.length for step in movement.plan().steps)
    assert replay_length == movement.length
