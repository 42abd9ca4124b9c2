"""Replica policies: the native kernel does what its reference does, on every instruction level."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inverse import COLLIDING, around, undo

from ringleader._native import jump as native_jump
from ringleader._native import keys as native_keys
from ringleader._native import placer as native_placer
from ringleader._native import replicas as native
from ringleader._native import ring as native_ring
from ringleader._reference import jump as reference_jump
from ringleader._reference import keys as reference_keys
from ringleader._reference import placer as reference_placer
from ringleader._reference import replicas as reference
from ringleader._reference import ring as reference_ring

NONE = native.NO_GROUP


class Named(NamedTuple):
    name: str


class Twin(NamedTuple):
    """The modules of one implementation."""

    replicas: ModuleType
    ring: ModuleType
    placer: ModuleType
    jump: ModuleType
    keys: ModuleType


TWINS = {
    "native": Twin(native, native_ring, native_placer, native_jump, native_keys),
    "reference": Twin(reference, reference_ring, reference_placer, reference_jump, reference_keys),
}


@pytest.fixture(params=list(TWINS))
def twin(request: pytest.FixtureRequest) -> Twin:
    return TWINS[request.param]


class Layout(NamedTuple):
    """A rule's arguments, for so many nodes."""

    groups: list[int]
    dcs: list[int]
    zones: list[int]
    wanted: list[int]
    spread: int


def layout(rng: random.Random, node_count: int, by_dc: bool, spread: int) -> Layout:
    """Random places, and a policy that they can satisfy."""
    dc_count, zone_count = rng.randint(1, 4), rng.randint(1, 4)
    dcs = [rng.randrange(min(dc_count, node_count)) for _ in range(node_count)]
    known: dict[tuple[int, int], int] = {}
    zones = [known.setdefault((dc, rng.randrange(zone_count)), len(known)) for dc in dcs]
    dead = [rng.random() < 0.15 for _ in range(node_count)]
    if by_dc:
        named = sorted(rng.sample(range(dc_count), rng.randint(1, dc_count)))
        groups = [named.index(dc) if dc in named else NONE for dc in dcs]
    else:
        groups = [0] * node_count
    groups = [NONE if gone else group for group, gone in zip(groups, dead, strict=True)]
    present = sorted(set(groups) - {NONE})
    if not present:
        return layout(rng, node_count, by_dc, spread)
    groups = [NONE if group == NONE else present.index(group) for group in groups]
    wanted = [rng.randint(1, min(9, groups.count(group))) for group in range(len(present))]
    return Layout(groups, dcs, zones, wanted, spread)


def named(count: int) -> tuple[Named, ...]:
    return tuple(Named(f"n{i:06}") for i in range(count))


def lookup(twin: Twin, replicas: Any, table: Any, keys: Any) -> list[list[int]]:
    out = np.empty((len(keys), replicas.rule.total), dtype=np.uint32)
    replicas.lookup(table, twin.keys.Column(keys), out, 0, len(keys))
    return out.tolist()


def ring_of(twin: Twin, counts: list[int], seed: int = 0) -> Any:
    return twin.ring.Table(0, seed, 0, named(len(counts)), counts)


@pytest.mark.parametrize("by_dc", [False, True])
@pytest.mark.parametrize("spread", [0, 1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_twins_on_rings(simd: str, seed: int, spread: int, by_dc: bool) -> None:
    """Walked, in rows, and by keys that hit a token and its neighbours."""
    rng = random.Random(f"{seed} {spread} {by_dc}")
    node_count = rng.randint(1, 20)
    rule = layout(rng, node_count, by_dc, spread)
    counts = [0 if group == NONE and rng.random() < 0.5 else rng.randint(1, 12)
              for group in rule.groups]  # fmt: skip
    one, two = TWINS["native"], TWINS["reference"]
    table, plain = ring_of(one, counts, seed), ring_of(two, counts, seed)
    walked = native.RingReplicas(table, native.Rule(*rule), 0)
    made = native.RingReplicas(table, native.Rule(*rule), 2**30)
    want = reference.RingReplicas(plain, reference.Rule(*rule), 0)
    assert made.rows(table).tolist() == want.rows(plain).tolist()
    keys = undo(around(table.tokens()), seed)
    rows = lookup(two, want, plain, keys)
    assert lookup(one, walked, table, keys) == rows
    assert lookup(one, made, table, keys) == rows
    assert walked.nbytes == 0
    assert made.nbytes > 0
    texts = [f"key-{i}" for i in range(30)]
    rows = lookup(two, want, plain, texts)
    assert lookup(one, walked, table, texts) == lookup(one, made, table, texts) == rows
    assert [made.walk(table, key) for key in texts] == rows
    assert [walked.walk(table, key) for key in texts] == rows
    assert [want.walk(plain, key) for key in texts] == rows
    names = [[f"n{position:06}" for position in row] for row in rows]
    assert [made.names(table, key) for key in texts] == names
    assert [want.names(plain, key) for key in texts] == names


@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 8, 9, 16, 17, 40, 255])
def test_rows_of_every_width(simd: str, total: int) -> None:
    one, two = TWINS["native"], TWINS["reference"]
    node_count = 300
    zones = [i % 7 for i in range(node_count)]
    rule = ([0] * node_count, [0] * node_count, zones, [total], 1)
    table, plain = ring_of(one, [3] * node_count), ring_of(two, [3] * node_count)
    made = native.RingReplicas(table, native.Rule(*rule), 2**30)
    want = reference.RingReplicas(plain, reference.Rule(*rule), 0)
    keys = np.random.default_rng(total).integers(0, 2**64, 3001, dtype=np.uint64)
    rows = lookup(one, made, table, keys)
    assert made.nbytes > 0
    some = slice(None, None, 100)
    assert rows[some] == lookup(two, want, plain, keys[some])
    # Nothing is written beside the rows asked for.
    out = np.full((50, total), 77, dtype=np.uint32)
    made.lookup(table, native_keys.Column(keys[:50]), out, 7, 9)
    assert out[7:9].tolist() == rows[7:9]
    assert (out[:7] == 77).all()
    assert (out[9:] == 77).all()


def test_positions_beyond_16_bits(simd: str) -> None:
    one = TWINS["native"]
    node_count = 70_000
    rule = ([0] * node_count, [0] * node_count, [i % 3 for i in range(node_count)], [3], 1)
    table = ring_of(one, [1] * node_count)
    made = native.RingReplicas(table, native.Rule(*rule), 2**30)
    walked = native.RingReplicas(table, native.Rule(*rule), 0)
    keys = np.random.default_rng(1).integers(0, 2**64, 80_000, dtype=np.uint64)
    assert lookup(one, made, table, keys) == lookup(one, walked, table, keys)
    assert made.nbytes > 0


def test_equal_tokens(simd: str) -> None:
    nodes = tuple(Named(name) for name in sorted(name for pair in COLLIDING for name in pair))
    count = len(nodes)
    rule = ([0] * count, [0] * count, [i % 3 for i in range(count)], [4], 1)
    table = native_ring.Table(0, 0, 0, nodes, [40] * count)
    plain = reference_ring.Table(0, 0, 0, nodes, [40] * count)
    made = native.RingReplicas(table, native.Rule(*rule), 2**30)
    want = reference.RingReplicas(plain, reference.Rule(*rule), 0)
    keys = undo(around(table.tokens()))
    rows = lookup(TWINS["native"], made, table, np.tile(keys, 3))
    assert rows[: len(keys)] == lookup(TWINS["reference"], want, plain, keys)


@pytest.mark.parametrize("by_dc", [False, True])
@pytest.mark.parametrize("spread", [0, 1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_twins_on_placers(simd: str, seed: int, spread: int, by_dc: bool) -> None:
    rng = random.Random(f"{seed} {spread} {by_dc}")
    node_count = rng.randint(1, 40)
    rule = layout(rng, node_count, by_dc, spread)
    one, two = TWINS["native"], TWINS["reference"]
    made, placers = {}, {}
    for name, twin in TWINS.items():
        placers[name] = twin.placer.Placer(twin.jump.State(0, 0, 0, node_count), named(node_count))
        made[name] = twin.replicas.PlacerReplicas(placers[name], twin.replicas.Rule(*rule))
    keys = np.random.default_rng(seed).integers(0, 2**64, 300, dtype=np.uint64)
    rows = lookup(two, made["reference"], placers["reference"], keys)
    assert lookup(one, made["native"], placers["native"], keys) == rows
    texts = [f"{key}" for key in keys[:40].tolist()]
    rows = lookup(two, made["reference"], placers["reference"], texts)
    assert lookup(one, made["native"], placers["native"], texts) == rows
    for name in TWINS:
        walked = [made[name].walk(placers[name], key) for key in texts]
        assert walked == rows
        names = [[f"n{position:06}" for position in row] for row in rows]
        assert [made[name].names(placers[name], key) for key in texts] == names


@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0, 1, 2]))
def test_select_is_the_definition(seed: int, by_dc: bool, spread: int) -> None:
    rng = random.Random(seed)
    node_count = rng.randint(1, 12)
    rule = layout(rng, node_count, by_dc, spread)
    order = rng.sample(range(node_count), rng.randint(0, node_count))
    candidates = np.array(order, dtype=np.uint32)
    one, two = native.Rule(*rule), reference.Rule(*rule)
    assert one.total == two.total == sum(rule.wanted)
    assert one.select(candidates) == two.select(candidates)
    if len(order) == node_count:
        assert one.select(candidates) == two.choose(order)


def test_by_rank(twin: Twin) -> None:
    ranks = np.array([2, 0, 1, 0, 2], dtype=np.uint8)
    rows = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]], dtype=np.uint32)
    assert twin.replicas.by_rank(rows, ranks).tolist() == [[1, 3, 2, 0, 4], [3, 1, 2, 4, 0]]
    assert twin.replicas.by_rank(rows[:0], ranks).shape == (0, 5)
    assert twin.replicas.by_rank(rows[:, :0].copy(), ranks).shape == (2, 0)
    for wrong_rows, wrong_ranks in [(rows + 1, ranks), (rows, ranks + 1), (rows, ranks[:0])]:
        with pytest.raises(ValueError, match=r"position|rank"):
            twin.replicas.by_rank(wrong_rows, wrong_ranks)


# --- what both refuse ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        ([0, 0], [0], [0, 0], [1], 0),
        ([0, 0], [0, 0], [0], [1], 0),
        ([0, 0], [0, 0], [0, 0], [1], 3),
        ([0, 0], [0, 0], [0, 0], [1], -1),
        ([0, 0], [0, 0], [0, 0], [0], 0),
        ([0, 0], [0, 0], [0, 0], [], 0),
        ([0, 0], [0, 0], [0, 0], [256], 0),
        ([0] * 300, [0] * 300, [0] * 300, [200, 100], 0),
        ([0, 1], [0, 0], [0, 0], [1], 0),
        ([0, 0], [0, 2], [0, 0], [1], 0),
        ([0, 0], [0, 0], [0, 2], [1], 0),
        ([0, 0], [0, 0], [0, 0], [3], 0),
        ([0, NONE], [0, 0], [0, 0], [2], 0),
        ([], [], [], [1], 0),
    ],
)
def test_rules_that_are_refused(twin: Twin, rule: Any) -> None:
    with pytest.raises(ValueError, match=r"group|node|replicas|numbered"):
        twin.replicas.Rule(*rule)


def test_a_rule_of_other_nodes_is_refused(twin: Twin) -> None:
    rule = twin.replicas.Rule([0, 0], [0, 0], [0, 1], [2], 1)
    column = twin.keys.Column(["a"])
    table = ring_of(twin, [3, 3])
    replicas = twin.replicas.RingReplicas(table, rule, 2**20)
    with pytest.raises(ValueError, match="not one of this table"):
        twin.replicas.RingReplicas(ring_of(twin, [3, 3, 3]), rule, 2**20)
    with pytest.raises(ValueError, match="not one of this table"):
        replicas.walk(ring_of(twin, [3, 3, 3]), "a")
    # A node that the rule counts on has no point.
    unfit = twin.replicas.RingReplicas(ring_of(twin, [3, 3]), rule, 2**20)
    half = ring_of(twin, [3, 0])
    unfit = twin.replicas.RingReplicas(half, rule, 2**20)
    with pytest.raises(ValueError, match="not one of this table"):
        unfit.walk(half, "a")
    with pytest.raises(ValueError, match="not one of this table"):
        unfit.rows(half)
    with pytest.raises(ValueError, match="not one of this table"):
        unfit.lookup(half, column, np.empty((1, 2), np.uint32), 0, 1)
    placer = twin.placer.Placer(twin.jump.State(0, 0, 0, 3), named(3))
    with pytest.raises(ValueError, match="not one of this table"):
        twin.replicas.PlacerReplicas(placer, rule)
    with pytest.raises(ValueError, match="not one of this table"):
        twin.replicas.PlacerReplicas(twin.placer.Placer(None, named(2)), rule)
    for lo, hi in [(0, 2), (1, 0), (-1, 1)]:
        with pytest.raises(ValueError, match="range"):
            replicas.lookup(table, column, np.empty((3, 2), np.uint32), lo, hi)
    with pytest.raises(ValueError, match="columns"):
        replicas.lookup(table, column, np.empty((1, 3), np.uint32), 0, 1)


def test_what_is_native_keeps_to_its_table() -> None:
    rule = native.Rule([0, 0], [0, 0], [0, 1], [2], 1)
    table, other = ring_of(TWINS["native"], [3, 3]), ring_of(TWINS["native"], [3, 3])
    replicas = native.RingReplicas(table, rule, 2**20)
    with pytest.raises(ValueError, match="another table"):
        replicas.walk(other, "a")
    for made, arguments in [
        (rule, ([0], [0], [0], [1], 0)),
        (replicas, (table, rule, 0)),
        (
            native.PlacerReplicas(
                native_placer.Placer(native_jump.State(0, 0, 0, 2), named(2)), rule
            ),
            (table, rule),
        ),
    ]:
        with pytest.raises(TypeError, match="made once"):
            made.__init__(*arguments)
