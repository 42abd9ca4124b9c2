"""Plans of movements: replayed step by step on a model of who holds what."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader import HashRing, Node, errors
from ringleader.placement import Movement, Plan, Replicas
from ringleader.placement.plan import Drop, Transfer

CIRCLE = 1 << 64
DCS = {"a": "eu", "b": "eu", "c": "eu", "d": "us", "e": "us", "f": "us", "g": "ap", "h": "ap"}


@st.composite
def rings(draw: st.DrawFn, least: int = 3) -> HashRing:
    names = draw(st.sets(st.sampled_from("abcdefgh"), min_size=least))
    weights = st.sampled_from([0.5, 1.0, 2.0])
    nodes = [
        Node(name, draw(weights), dc=DCS[name], zone=draw(st.sampled_from(["x", "y"])))
        for name in sorted(names)
    ]
    return HashRing(nodes, vnodes=draw(st.sampled_from([1, 2, 8])))


def holders(movement: Movement, ranges: Any) -> dict[int, set[str]]:
    """Of each piece between two neighbouring ends of either ring, by its end: who holds it."""
    ends = np.union1d(movement.old.ends, movement.new.ends)
    rows = ranges.owners[np.searchsorted(ranges.ends, ends) % len(ranges.ends)]
    return {
        int(end): {ranges.nodes[at].name for at in row.tolist()}
        for end, row in zip(ends, rows, strict=True)
    }


def inside(part: Transfer | Drop, ends: list[int]) -> list[int]:
    """The pieces, by their ends, that the ranges of a transfer or drop hold, each once."""
    found = []
    for start, end in zip(part.starts.tolist(), part.ends.tolist(), strict=True):
        size = (end - start) % CIRCLE or CIRCLE
        found += [piece for piece in ends if 0 < ((piece - start) % CIRCLE or CIRCLE) <= size]
    assert len(found) == len(set(found))
    return found


def replay(plan: Plan, concurrent: int) -> None:
    """Run the plan on a model; no step may break what a plan promises."""
    movement = plan.movement
    live = holders(movement, movement.old)
    goal = holders(movement, movement.new)
    ends = list(live)
    widths = {end: (ends[i] - ends[i - 1]) % CIRCLE or CIRCLE for i, end in enumerate(ends)}
    least = {end: min(len(live[end]), len(goal[end])) for end in ends}
    copied = 0
    lost = {
        end: set(live[end]) for end in ends if goal[end] - live[end] and live[end] <= movement.down
    }
    assert sum(widths[end] for end in lost) == movement.lost_length
    for step in plan.steps:
        for side in ("source", "target"):
            used = Counter(getattr(transfer, side) for transfer in step.transfers)
            assert max(used.values(), default=0) <= concurrent
        arrived = []
        for transfer in step.transfers:
            pieces = inside(transfer, ends)
            assert sum(widths[piece] for piece in pieces) == transfer.length
            copied += transfer.length
            for piece in pieces:
                assert transfer.source in live[piece] - movement.down
                assert transfer.target not in live[piece]
                arrived.append((piece, transfer.target))
        assert step.length == sum(transfer.length for transfer in step.transfers)
        for piece, target in arrived:  # at the end of the step only: a source has to be there
            assert target not in live[piece]
            live[piece].add(target)
        for drop in step.drops:
            pieces = inside(drop, ends)
            assert sum(widths[piece] for piece in pieces) == drop.length
            for piece in pieces:
                live[piece].remove(drop.node)
                assert goal[piece] <= live[piece]  # it is everywhere where it is to be
        assert all(len(live[end]) >= least[end] for end in ends)
    assert live == {**goal, **lost}  # what is lost stays where it was
    assert copied == movement.length


@given(
    rings(),
    rings(),
    st.sampled_from([None, 1, 2, 3, "zone"]),
    st.integers(1, 3),
    st.booleans(),
    st.sets(st.sampled_from("abcdefgh"), max_size=2),
)
@settings(max_examples=60)
def test_replayed(
    old: HashRing,
    new: HashRing,
    replicas: Any,
    concurrent: int,
    in_pieces: bool,
    down: set[str],
) -> None:
    policy = Replicas(2, spread="zone") if replicas == "zone" else replicas
    movement = old.diff(new, policy, down=down & set(old.names))
    plan = movement.plan(
        max_concurrent_per_node=concurrent,
        max_bytes_per_s=1e6,
        bytes_per_share=10**12,
        max_bytes_per_transfer=10**10 if in_pieces else None,
    )
    replay(plan, concurrent)
    assert plan.bytes == pytest.approx(movement.share * 1e12, abs=plan.transfer_count)
    assert plan.seconds is not None
    assert plan.bound_s is not None
    assert plan.seconds >= plan.bound_s * (1 - 1e-9)
    busiest = max(0, *movement.incoming, *movement.outgoing)
    assert plan.bound_s == pytest.approx(busiest / CIRCLE * 1e6, rel=1e-6)
    if in_pieces:
        for step in plan.steps:
            for transfer in step.transfers:
                assert transfer.bytes is not None
                assert transfer.bytes <= 10**10 or len(transfer.starts) == 1


def test_policies_by_datacenter() -> None:
    nodes = [Node(name, dc=dc, zone=name) for name, dc in DCS.items()]
    old = HashRing(nodes[:-1], vnodes=8)
    new = HashRing(nodes[1:], vnodes=8)
    policy = Replicas({"eu": 2, "us": 2, "ap": 1}, spread="zone")
    movement = old.diff(new, policy)
    replay(movement.plan(max_concurrent_per_node=2), 2)
    # There is a replica in the same datacenter for every one that is added.
    assert all(one == other for one, other in movement.datacenters)


def test_steps_last_as_long_as_their_busiest_node() -> None:
    old, new = HashRing(list("abc")), HashRing(list("abcd"))
    plan = old.diff(new).plan(
        max_concurrent_per_node=3, max_bytes_per_s=100.0, bytes_per_share=10**6
    )
    (step,) = plan.steps
    assert step.busiest == ("to", "d")
    assert step.seconds == plan.seconds == plan.bound_s
    assert step.bytes == plan.bytes
    assert step.seconds == pytest.approx((step.bytes or 0) / 100)
    one_by_one = old.diff(new).plan(max_bytes_per_s=100.0, bytes_per_share=10**6)
    assert len(one_by_one) == 3
    assert one_by_one.seconds == pytest.approx(plan.seconds)
    sizes = [step.length for step in one_by_one.steps]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("concurrent", [1, 2, 4])
@pytest.mark.parametrize(
    ("old", "new", "factor"),
    [
        (range(50), range(51), 1.001),
        (range(50), range(55), 1.08),
        (range(55), range(50), 1.08),
        (range(50), range(100), 1.3),
        (range(50), range(50, 100), 1.3),
    ],
)
def test_close_to_the_bound(old: range, new: range, concurrent: int, factor: float) -> None:
    rings = [HashRing([f"n{number}" for number in numbers]) for numbers in (old, new)]
    plan = (
        rings[0]
        .diff(rings[1])
        .plan(max_concurrent_per_node=concurrent, max_bytes_per_s=1e8, bytes_per_share=10**13)
    )
    assert plan.bound_s is not None
    assert plan.seconds is not None
    assert plan.bound_s <= plan.seconds <= factor * plan.bound_s
    names = plan.movement.names
    degrees = [Counter(pair[side] for pair in plan.movement.pairs) for side in (0, 1)]
    needed = max(math.ceil(degree[name] / concurrent) for degree in degrees for name in names)
    assert needed <= len(plan) <= 1.4 * needed


def test_links() -> None:
    old = HashRing([Node("a", dc="eu"), Node("b", dc="eu"), Node("c", dc="us")])
    new = HashRing([*old.nodes, Node("d", dc="us")])
    movement = old.diff(new)
    slow = movement.plan(
        max_concurrent_per_node=3, max_bytes_per_s=1e3, bytes_per_share=10**6,
        link_bytes_per_s={("eu", "us"): 10},
    )  # fmt: skip
    across = movement.datacenters["eu", "us"] / CIRCLE * 1e6
    assert slow.bound_s == pytest.approx(across / 10, rel=1e-4)
    assert slow.seconds == slow.bound_s
    assert slow.steps[0].busiest == ("link", "eu -> us")
    other_way = movement.plan(
        max_concurrent_per_node=3, max_bytes_per_s=1e3, bytes_per_share=10**6,
        link_bytes_per_s={("us", "eu"): 10},
    )  # fmt: skip
    assert other_way.steps[0].busiest == ("to", "d")


def test_what_each_node_holds() -> None:
    old, new = HashRing(list("abc")), HashRing(list("abcd"))
    movement = old.diff(new)
    plan = movement.plan(bytes_per_share={"a": 0, "b": 10**6, "c": 2 * 10**6, "d": 5})
    sizes = {t.source: t.bytes for step in plan.steps for t in step.transfers}
    assert sizes["a"] == 0
    for name, held in (("b", 10**6), ("c", 2 * 10**6)):
        at = movement.names.index(name)
        share = movement.outgoing[at] / movement.before[at]
        assert sizes[name] == pytest.approx(held * share, abs=2)


def test_without_bytes_or_rates() -> None:
    movement = HashRing(list("abc")).diff(HashRing(list("abcd")))
    bare, sized = movement.plan(), movement.plan(bytes_per_share=10**9)
    assert bare.bytes is bare.seconds is bare.bound_s is None
    assert bare.steps[0].bytes is bare.steps[0].transfers[0].seconds is None
    assert sized.bytes is not None
    assert sized.seconds is None
    told = [
        [[(t.source, t.target) for t in step.transfers] for step in plan.steps]
        for plan in (bare, sized)
    ]
    assert told[0] == told[1]
    assert "%" in repr(bare.steps[0].transfers[0])
    assert "bytes" in repr(sized.steps[0].transfers[0])
    assert repr(bare) == "<Plan of 3 steps, 3 transfers>"
    assert repr(bare.steps[0]) == "<Step of 1 transfers, 1 drops>"


def test_nothing_to_do() -> None:
    ring = HashRing(list("abc"))
    plan = ring.diff(ring).plan(max_bytes_per_s=1, bytes_per_share=1)
    assert plan.steps == ()
    assert plan.bytes == plan.seconds == plan.bound_s == 0
    assert json.loads(plan.to_json())["steps"] == []


def test_dropping_alone_is_a_step() -> None:
    """Two replicas of ranges give way to one: nothing is copied."""
    ring = HashRing(list("abc"), vnodes=4)
    old, new = ring.ranges(2), ring.ranges()
    plan = Movement(ring, ring, old, new).plan(max_bytes_per_s=1, bytes_per_share=1)
    (step,) = plan.steps
    assert step.transfers == ()
    assert step.busiest is None
    assert sum(drop.length for drop in step.drops) == CIRCLE
    assert plan.seconds == step.seconds == 0
    replay(plan, 1)


def test_json() -> None:
    old = HashRing([Node("a", dc="eu"), Node("b", dc="us")], hash="siphash13", seed=987654321)
    new = HashRing([Node("a", dc="eu"), Node("ö", dc="us")], hash="siphash13", seed=987654321)
    movement = old.diff(new)
    plan = movement.plan(bytes_per_share=10**6, max_bytes_per_s=1e3)
    text = plan.to_json()
    assert text == old.diff(new).plan(bytes_per_share=10**6, max_bytes_per_s=1e3).to_json()
    assert "987654321" not in text  # the seed is a secret key
    told = json.loads(text)
    assert told["format"] == "ringleader movement plan"
    assert told["version"] == 1
    assert told["share_moved"] == movement.share
    assert told["seconds"] == plan.seconds
    ranges = [
        (int(start, 16), int(end, 16), transfer["from"], transfer["to"])
        for step in told["steps"]
        for transfer in step["transfers"]
        for start, end in transfer["ranges"]
    ]
    names = movement.names
    assert sorted(ranges) == sorted(
        (start, end, names[source], names[target])
        for start, end, source, target in zip(
            movement.starts.tolist(), movement.ends.tolist(),
            movement.sources.tolist(), movement.targets.tolist(), strict=True,
        )
    )  # fmt: skip
    assert {drop["node"] for step in told["steps"] for drop in step["drops"]} == {"a", "b"} & {
        names[at] for at in movement.dropped[2].tolist()
    }
    policy = old.diff(new, Replicas({"eu": 1, "us": 1})).plan()
    assert json.loads(policy.to_json())["policy"]["replicas"] == {"eu": 1, "us": 1}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"max_concurrent_per_node": 0}, errors.SettingError, "at least 1"),
        ({"max_concurrent_per_node": 1.5}, errors.SettingTypeError, "must be an int"),
        ({"max_bytes_per_s": 0}, errors.SettingError, "positive"),
        ({"max_bytes_per_s": math.nan}, errors.SettingError, "positive"),
        ({"max_bytes_per_s": "1MB"}, errors.SettingTypeError, "must be a number"),
        ({"bytes_per_share": -1}, errors.SettingError, "not in 0"),
        ({"bytes_per_share": 1e9}, errors.SettingTypeError, "must be an int"),
        ({"bytes_per_share": 2**90}, errors.SettingError, "not in 0"),
        ({"bytes_per_share": {"a": 1, "x": 2}}, errors.SettingError, "'x', which is no node"),
        ({"bytes_per_share": {"a": 1}}, errors.SettingError, "does not name 'b'"),
        ({"bytes_per_share": {"a": 1, "b": True}}, errors.SettingTypeError, r"\['b'\]"),
        ({"max_bytes_per_transfer": 5}, errors.SettingError, "needs bytes_per_share"),
        (
            {"max_bytes_per_transfer": 0, "bytes_per_share": 1},
            errors.SettingError,
            "max_bytes_per_transfer=0",
        ),
        ({"link_bytes_per_s": {("", ""): 1}}, errors.SettingError, "needs max_bytes_per_s"),
        ({"link_bytes_per_s": [1]}, errors.SettingTypeError, "must map pairs"),
        ({"link_bytes_per_s": {"eu": 1}}, errors.SettingTypeError, "pair of datacenters"),
        ({"link_bytes_per_s": {("", "us"): 1}}, errors.SettingError, "'us', in which no node"),
        ({"link_bytes_per_s": {("", ""): -1}}, errors.SettingError, "positive"),
    ],
)
def test_refusals(arguments: Any, error: type[Exception], words: str) -> None:
    movement = HashRing(list("ab")).diff(HashRing(list("abc")))
    with pytest.raises(error, match=words):
        movement.plan(**arguments)
