"""Layouts: the same everywhere, even, spread as asked, and not shaken by one node more."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.errors import PolicyError
from ringleader.node.layout import Layout
from ringleader.node.slots import SLOTS
from ringleader.placement import Node

Shape = dict[str, list[int]]  #: datacenter -> how many nodes each of its zones has


def nodes_of(shape: Shape) -> list[Node]:
    return [
        Node(f"{dc}-{zone}-{at}", dc=dc, zone=f"{dc}-{zone}")
        for dc, zones in shape.items()
        for zone, count in enumerate(zones)
        for at in range(count)
    ]


SHAPES = st.dictionaries(
    st.sampled_from(["eu", "us", "ap", "sa", "af"]),
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    min_size=1,
)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[list[Node], int, int | dict[str, int], list[str]]:
    shape = draw(SHAPES)
    nodes = nodes_of(shape)
    if draw(st.booleans()):
        replicas: int | dict[str, int] = draw(st.integers(1, min(7, len(nodes))))
    else:
        dcs = draw(st.lists(st.sampled_from(sorted(shape)), min_size=1, unique=True))
        replicas = {dc: draw(st.integers(1, min(3, sum(shape[dc])))) for dc in dcs}
    leaders = draw(st.lists(st.sampled_from(sorted(shape)), unique=True))
    return nodes, draw(st.integers(1, 80)), replicas, leaders


@given(layouts(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_every_node_computes_the_same(
    case: tuple[list[Node], int, int | dict[str, int], list[str]], random: random.Random
) -> None:
    nodes, shards, replicas, leaders = case
    made = Layout.of_nodes(nodes, shards, replicas, leaders)
    shuffled = random.sample(nodes, len(nodes))
    assert Layout.of_nodes(shuffled, shards, replicas, leaders) == made
    # Where leaders should stand has no say in where replicas are.
    assert Layout.of_nodes(nodes, shards, replicas).sets() == made.sets()


@given(layouts())
@settings(max_examples=100, deadline=None)
def test_the_policy_holds_for_every_shard(
    case: tuple[list[Node], int, int | dict[str, int], list[str]],
) -> None:
    nodes, shards, replicas, leaders = case
    layout = Layout.of_nodes(nodes, shards, replicas, leaders)
    by_name = {node.name: node for node in nodes}
    rooms = Counter(node.dc for node in nodes)
    zones = {dc: {node.zone for node in nodes if node.dc == dc} for dc in rooms}
    rank = {dc: at for at, dc in enumerate(leaders)}
    for shard in layout.shards:
        held = [by_name[name] for name in shard.replicas]
        assert len({node.name for node in held}) == len(held)
        dcs = Counter(node.dc for node in held)
        if isinstance(replicas, dict):
            assert dcs == replicas
        else:
            assert dcs.total() == replicas
            for count in dcs.values():  # none has two more than one that has room
                assert all(dcs[other] >= count - 1 or dcs[other] == rooms[other] for other in rooms)
        for dc, count in dcs.items():
            own = {node.zone for node in held if node.dc == dc}
            assert len(own) == min(count, len(zones[dc]))
        ranks = [rank.get(node.dc, len(rank)) for node in held]
        assert ranks == sorted(ranks)
        order = [node.dc for node in held]  # a datacenter's replicas stand together
        assert len(set(order)) == 1 + sum(one != other for one, other in pairwise(order))
        assert sorted(shard.priorities, key=shard.priorities.__getitem__) == [*shard.replicas][::-1]
        assert len(set(shard.priorities.values())) == len(shard.replicas)


@given(st.integers(1, 1024))
@settings(max_examples=20, deadline=None)
def test_slots_are_cut_evenly(shards: int) -> None:
    layout = Layout.of_nodes([Node("a")], shards, 1)
    assert len(layout.shard_of_slot) == SLOTS
    assert [shard.number for shard in layout.shards] == list(range(shards))
    for shard in layout.shards:
        assert all(layout.shard_of_slot[slot] == shard.number for slot in shard.slots)
        assert len(shard.slots) in {SLOTS // shards, SLOTS // shards + 1}


@given(SHAPES, st.integers(1, 100), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_replicas_and_leaders_are_even_within_a_datacenter(
    shape: Shape, shards: int, per_dc: int
) -> None:
    """With zones of equal size; a level's rounding can add up over two levels."""
    shape = {dc: [zones[0]] * len(zones) for dc, zones in shape.items()}
    nodes = nodes_of(shape)
    replicas = {dc: min(per_dc, sum(zones)) for dc, zones in shape.items()}
    preferred = next(iter(shape))
    layout = Layout.of_nodes(nodes, shards, replicas, [preferred])
    held = Counter(name for shard in layout.shards for name in shard.replicas)
    for dc in shape:
        loads = [held[node.name] for node in nodes if node.dc == dc]
        assert max(loads) - min(loads) <= 2
    leads = Counter(shard.replicas[0] for shard in layout.shards)
    loads = [leads[node.name] for node in nodes if node.dc == preferred]
    assert sum(loads) == shards
    assert max(loads) - min(loads) <= 2


@given(st.integers(1, 60), st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=3, max_size=9))
@settings(max_examples=100, deadline=None)
def test_loads_follow_weights(shards: int, weights: list[float]) -> None:
    nodes = [Node(f"n{at}", weight) for at, weight in enumerate(weights)]
    layout = Layout.of_nodes(nodes, shards, 1)
    held = Counter(name for shard in layout.shards for name in shard.replicas)
    for node in nodes:
        assert abs(held[node.name] - shards * node.weight / sum(weights)) < 1


def test_a_drained_node_holds_nothing() -> None:
    nodes = [Node("a"), Node("b"), Node("c"), Node("d", 0.0)]
    layout = Layout.of_nodes(nodes, 16, 3)
    assert layout.of("d") == ()
    assert len(layout.of("a")) == 16


@pytest.mark.parametrize("shape", [{"eu": [1] * 3, "us": [1] * 3, "ap": [1] * 3}, {"eu": [5]}])
@pytest.mark.parametrize("shards", [12, 24, 64, 256])
def test_one_node_more_moves_little(shape: Shape, shards: int) -> None:
    nodes = nodes_of(shape)
    before = Layout.of_nodes(nodes, shards, 3)
    grown = [*nodes, Node("eu-new", dc="eu", zone="eu-0")]
    after = Layout.of_nodes(grown, shards, 3)
    pairs = list(zip(before.sets(), after.sets(), strict=True))
    moved = sum(len(set(new) - set(old)) for old, new in pairs)
    due = sum("eu-new" in new for _, new in pairs)
    assert due >= shards * 3 // len(grown) // 2
    assert moved <= 2 * due + 2


def test_leaders_of_a_lost_datacenter_fall_evenly() -> None:
    """Who comes second is spread as well."""
    nodes = nodes_of({"eu": [1] * 3, "us": [1] * 3, "ap": [1] * 3})
    layout = Layout.of_nodes(nodes, 24, 3, ["eu", "us"])
    first = Counter(shard.replicas[0] for shard in layout.shards)
    second = Counter(shard.replicas[1] for shard in layout.shards)
    assert set(first.values()) == set(second.values()) == {8}
    assert all(name.startswith("us") for name in second)


def test_the_layout_never_changes() -> None:
    """Version 1: existing data stand where it says."""
    nodes = nodes_of({"eu": [2, 1], "us": [1, 1, 1], "ap": [3]})
    layout = Layout.of_nodes(nodes, 5, {"eu": 2, "us": 2, "ap": 1}, ["us", "eu"])
    assert [shard.replicas for shard in layout.shards] == EXPECTED


EXPECTED = [
    ("us-0-0", "us-1-0", "eu-0-1", "eu-1-0", "ap-0-2"),
    ("us-2-0", "us-0-0", "eu-1-0", "eu-0-1", "ap-0-1"),
    ("us-0-0", "us-2-0", "eu-0-0", "eu-1-0", "ap-0-1"),
    ("us-1-0", "us-0-0", "eu-0-0", "eu-1-0", "ap-0-0"),
    ("us-1-0", "us-2-0", "eu-1-0", "eu-0-0", "ap-0-0"),
]


@pytest.mark.parametrize("shards", [0, -1, 4097])
def test_impossible_numbers_of_shards(shards: int) -> None:
    with pytest.raises(PolicyError, match=r"1 \.\.\. 4096"):
        Layout.of_nodes([Node("a")], shards, 1)


def test_too_few_nodes_are_named() -> None:
    with pytest.raises(PolicyError, match="wants 3 nodes"):
        Layout.of_nodes([Node("a"), Node("b")], 1, 3)
    with pytest.raises(PolicyError, match="'us'"):
        Layout.of_nodes([Node("a", dc="eu")], 1, {"eu": 1, "us": 1})
