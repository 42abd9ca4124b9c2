"""HashRing(placement="balanced"): even shares, exact movement, history, and its saved form."""

from __future__ import annotations

import copy
import pickle
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ringleader import HashRing, Node, errors, kernels, limits
from ringleader._reference.hashing import crc32c
from ringleader.placement import Locator, Ranges, Replicas, load_ring
from ringleader.placement.balanced import feasible
from ringleader.placement.spreading import SHIFT

CIRCLE = 1 << 64


def balanced(nodes: Any = (), **settings: Any) -> HashRing:
    return HashRing(nodes, placement="balanced", **settings)


def names(count: int) -> list[str]:
    return [f"node-{i:03}" for i in range(count)]


def flow(before: Ranges, after: Ranges) -> dict[tuple[str, str], int]:
    """How much of the circle goes from whom to whom, exactly, in token arithmetic."""
    ends = np.union1d(before.ends, after.ends)
    begins = np.roll(ends, 1).tolist()
    sizes = [(b - a) % CIRCLE or CIRCLE for a, b in zip(begins, ends.tolist(), strict=True)]
    sides = [
        ranges.owners[np.searchsorted(ranges.ends, ends) % len(ranges.ends), 0]
        for ranges in (before, after)
    ]
    found: dict[tuple[str, str], int] = {}
    for size, a, b in zip(sizes, sides[0].tolist(), sides[1].tolist(), strict=True):
        pair = before.nodes[a].name, after.nodes[b].name
        if pair[0] != pair[1]:
            found[pair] = found.get(pair, 0) + size
    return found


# --- what it is ---------------------------------------------------------------------------------


def test_is_a_locator_like_any_other() -> None:
    ring = balanced(names(20), vnodes=16)
    assert isinstance(ring, Locator)
    keys = np.arange(5000, dtype=np.uint64)
    owners = ring.lookup(keys)
    assert [ring.names[i] for i in owners[:50]] == [ring[int(key)] for key in keys[:50]]
    replicas = ring.lookup_replicas(keys, 3)
    assert (replicas[:, 0] == owners).all()
    assert [ring.names[i] for i in replicas[7]] == ring.get_nodes(7, 3)
    assert np.abs(np.bincount(owners) / len(keys) - ring.stats().share).max() < 0.02
    assert ring.placement == "balanced"
    assert ring.replicas is None
    assert "placement='balanced'" in repr(ring)
    assert HashRing(names(3)).placement == "hashed"
    assert "placement" not in repr(HashRing(names(3)))


def test_hashed_rings_are_as_they_were() -> None:
    assert HashRing(names(3), placement="hashed") == HashRing(names(3))
    assert HashRing(names(3), placement="hashed").to_bytes() == HashRing(names(3)).to_bytes()
    assert HashRing(names(3)) != balanced(names(3))


def test_history_counts() -> None:
    there, back = balanced(vnodes=16), balanced(vnodes=16)
    for name in names(30):
        there.add_node(name)
    for name in names(30)[::-1]:
        back.add_node(name)
    assert there.nodes == back.nodes
    assert there != back
    assert there.to_bytes() != back.to_bytes()


@pytest.mark.parametrize("replicas", [None, Replicas(2, spread="zone"), Replicas(2)])
def test_a_ring_of_several_nodes_takes_them_in_the_order_of_their_names(replicas: Any) -> None:
    nodes = [Node(name, 1 + i % 3, zone=f"z{i % 2}") for i, name in enumerate(names(20))]
    nodes[4] = nodes[4].with_weight(0)
    one_by_one = balanced(vnodes=16, replicas=replicas)
    for node in nodes:
        one_by_one.add_node(node)
    assert balanced(nodes[::-1], vnodes=16, replicas=replicas) == one_by_one


def test_the_hash_and_seed_place_keys_not_points() -> None:
    one, two = balanced(names(5)), balanced(names(5), hash="siphash13", seed=9)
    assert np.array_equal(one.tokens, two.tokens)
    assert one != two
    assert (one.lookup(np.arange(1000)) != two.lookup(np.arange(1000))).any()


def test_copies_change_on_their_own() -> None:
    ring = balanced(names(10), vnodes=16)
    data = ring.to_bytes()
    twin, deep, pickled = ring.copy(), copy.deepcopy(ring), pickle.loads(pickle.dumps(ring))
    assert twin == deep == pickled == ring
    twin.remove_node("node-003")
    twin.add_node("node-003")
    assert twin.nodes == ring.nodes
    assert twin != ring
    assert ring.to_bytes() == data
    twin = ring.copy()
    twin.add_node("x")
    deep.add_node("x")
    assert twin == deep


# --- evenness -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("vnodes", "most"), [(16, 1.05), (160, 1.01)])
def test_even_at_each_step_and_after_removals(vnodes: int, most: float) -> None:
    size = 8 if kernels.PURE else 120
    ring = balanced(vnodes=vnodes)
    for name in names(size):
        ring.add_node(name)
        assert ring.stats().peak_to_mean <= most
        assert ring.node(name) in ring
    rng = random.Random(vnodes)
    for name in rng.sample(names(size), size - 1):
        ring.remove_node(name)
        assert ring.stats().peak_to_mean <= 1.05
    assert ring.stats().peak_to_mean == 1


@pytest.mark.skipif(kernels.PURE, reason="a thousand nodes")
@pytest.mark.parametrize(("vnodes", "most"), [(16, 1.05), (160, 1.01)])
def test_a_thousand_nodes(vnodes: int, most: float) -> None:
    assert balanced(names(1000), vnodes=vnodes).stats().peak_to_mean <= most
    hashed = HashRing(names(1000), vnodes=vnodes).stats().peak_to_mean
    assert hashed > 1.2


def test_weights_are_respected() -> None:
    weights = [0.25, 1, 1, 1.7, 3, 8]
    ring = balanced({name: weights[i % 6] for i, name in enumerate(names(40))}, vnodes=64)
    stats = ring.stats()
    assert stats.peak_to_mean < 1.02
    assert stats.least_to_mean > 0.95
    assert (np.abs(stats.load - 1) < 0.05).all()


# --- movement -----------------------------------------------------------------------------------


def exact(ring: HashRing, change: Any, name: str) -> tuple[int, int]:
    """Make the change; what moved, and what the node's due says had to (both of 2**64)."""
    before = ring.ranges()
    share = dict(zip(ring.names, ring.stats().arcs, strict=True)).get(name, 0)
    change()
    moved = flow(before, ring.ranges())
    stats = ring.stats()
    ideal = dict(zip(ring.names, (stats.ideal * CIRCLE).tolist(), strict=True)).get(name, 0.0)
    assert all(name in pair for pair in moved)
    assert len({pair.index(name) for pair in moved}) <= 1, "it gains, or it gives"
    return sum(moved.values()), abs(int(ideal) - share)


@pytest.mark.parametrize("vnodes", [16, 160])
def test_only_the_ideal_share_moves(vnodes: int) -> None:
    ring = balanced(names(30), vnodes=vnodes)
    changes: list[tuple[str, Any]] = [
        ("joins", lambda: ring.add_node("joins")),
        ("large", lambda: ring.add_node("large", 4.5)),
        ("joins", lambda: ring.set_weight("joins", 2)),
        ("large", lambda: ring.set_weight("large", 1.25)),
        ("node-004", lambda: ring.set_weight("node-004", 0)),
        ("node-005", lambda: ring.remove_node("node-005")),
        ("node-004", lambda: ring.set_weight("node-004", 1.01)),
        ("joins", lambda: ring.remove_node("joins")),
    ]
    for name, change in changes:
        moved, needed = exact(ring, change, name)
        assert moved / CIRCLE == pytest.approx(needed / CIRCLE, abs=1e-6), name
        assert ring.stats().peak_to_mean < 1.05


def test_a_weight_that_stays_moves_what_the_node_lacks_and_no_more() -> None:
    ring = balanced(names(30), vnodes=16)
    ring.add_node("x")
    before = ring.ranges()
    ring.set_weight("x", 1)
    assert sum(flow(before, ring.ranges()).values()) / CIRCLE < 1e-9


# --- any history --------------------------------------------------------------------------------


class Histories(RuleBasedStateMachine):
    """Changes in any order: evenness, exact movement, and the saved form after each."""

    @initialize(vnodes=st.sampled_from([8, 16, 40]), count=st.integers(0, 30))
    def start(self, vnodes: int, count: int) -> None:
        self.ring = balanced(names(count), vnodes=vnodes)
        self.made = count
        self.most = 1 + 1.6 / vnodes

    def change(self, name: str, change: Any) -> None:
        live = sum(node.weight > 0 for node in self.ring.nodes)
        share = dict(zip(self.ring.names, self.ring.stats().share, strict=True)).get(name, 0)
        if live < 2 or share == 1:
            change()
            return
        copied = self.ring.copy()
        try:
            moved, needed = exact(self.ring, change, name)
        except errors.EmptyRingError:
            assert sum(node.weight > 0 for node in self.ring.nodes) == 0
            return
        assert moved <= needed + CIRCLE / 1e6
        assert copied.nodes != self.ring.nodes or moved <= needed + CIRCLE / 1e6

    @rule(weight=st.sampled_from([1, 1, 1, 2, 0.5, 5]))
    def add(self, weight: float) -> None:
        name = f"added-{self.made}"
        self.made += 1
        self.change(name, lambda: self.ring.add_node(name, weight))

    @precondition(lambda self: len(self.ring) > 0)
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        name = data.draw(st.sampled_from(self.ring.names))
        self.change(name, lambda: self.ring.remove_node(name))

    @precondition(lambda self: len(self.ring) > 0)
    @rule(data=st.data(), weight=st.sampled_from([0, 0.5, 1, 1.5, 2, 5]))
    def weigh(self, data: Any, weight: float) -> None:
        name = data.draw(st.sampled_from(self.ring.names))
        self.change(name, lambda: self.ring.set_weight(name, weight))

    @invariant()
    def is_even(self) -> None:
        if not hasattr(self, "ring") or not any(node.weight for node in self.ring.nodes):
            return
        # A few ranges of light nodes are all that a heavy one finds in a small ring.
        is_small = sum(node.weight > 0 for node in self.ring.nodes) < 8
        assert self.ring.stats().peak_to_mean <= (1.5 if is_small else self.most)

    @invariant()
    def is_saved_whole(self) -> None:
        if hasattr(self, "ring"):
            assert HashRing.from_bytes(self.ring.to_bytes()) == self.ring


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


# --- policies -----------------------------------------------------------------------------------


def held(ring: HashRing, policy: Replicas) -> dict[str, float]:
    """The share of all replicas that each node holds, by a walk from every range."""
    ranges = ring.ranges()
    begins = np.roll(ranges.ends, 1).tolist()
    sizes = [(b - a) % CIRCLE for a, b in zip(begins, ranges.ends.tolist(), strict=True)]
    owners, nodes = ranges.owners[:, 0].tolist(), ranges.nodes
    found = dict.fromkeys(ring.names, 0)
    for i, size in enumerate(sizes):
        order = list(dict.fromkeys(owners[i:] + owners[:i]))
        for at in chosen([nodes[at] for at in order], policy):
            found[at.name] += size
    return {name: part / CIRCLE / policy.total for name, part in found.items()}


def chosen(order: list[Node], policy: Replicas) -> list[Node]:
    """The first nodes in this order that satisfy the policy."""
    parts = (
        [(order, policy.total)]
        if policy.by_dc is None
        else [([n for n in order if n.dc == dc], count) for dc, count in policy.by_dc.items()]
    )
    taken: list[Node] = []
    for nodes, count in parts:
        if policy.spread == "node":
            taken += nodes[:count]
            continue
        seen: set[Any] = set()
        first: list[Node] = []
        rest: list[Node] = []
        for node in nodes:
            place = (node.dc, node.zone) if policy.spread == "zone" else node.dc
            (rest if place in seen else first).append(node)
            seen.add(place)
        taken += (first + rest)[:count]
    return taken


@pytest.mark.parametrize(
    "policy",
    [
        Replicas(6, spread="zone"),
        Replicas({"eu": 3, "us": 3}, spread="zone"),
        Replicas(2, spread="dc"),
        Replicas({"eu": 1, "us": 1}),
        Replicas({"eu": 3}, spread="zone"),
    ],
)
def test_replicas_are_even_where_each_zone_or_datacenter_holds_one(policy: Replicas) -> None:
    nodes = [
        Node(name, 1 + i % 2, dc=("eu", "us")[i % 2], zone=f"z{i // 2 % 3}")
        for i, name in enumerate(names(48))
    ]
    ring = balanced(vnodes=16, replicas=policy)
    for node in random.Random(4).sample(nodes, len(nodes)):
        ring.add_node(node)
    for name in random.Random(5).sample(names(48), 12):
        ring.remove_node(name)
    shares = held(ring, policy)
    by_place: dict[Any, list[Node]] = {}
    for node in ring.nodes:
        place = (node.dc, node.zone) if policy.spread == "zone" else node.dc
        by_place.setdefault(place, []).append(node)
    for place, members in by_place.items():
        weights = sum(node.weight for node in members)
        part = 1 / policy.total
        if policy.by_dc is not None and members[0].dc not in policy.by_dc:
            part = 0
        elif policy.by_dc is not None and policy.spread == "node":
            part = policy.by_dc[members[0].dc] / policy.total
        for node in members:
            assert shares[node.name] <= 1.12 * part * node.weight / weights + 1e-12, place
    hashed = held(HashRing(ring.nodes, vnodes=16), policy)
    assert max(hashed.values()) > 1.1 * max(shares.values())


@pytest.mark.parametrize(
    ("policy", "zones", "most"),
    [
        (Replicas(3), 1, 1.06),
        (Replicas(2), 1, 1.06),
        (Replicas({"eu": 3}), 4, 1.06),
        (Replicas(3, spread="zone"), 5, 1.2),
    ],
)
def test_replicas_that_share_a_circle_are_more_even(
    policy: Replicas, zones: int, most: float
) -> None:
    size = 12 if kernels.PURE else 40
    ring = balanced(vnodes=16, replicas=policy)
    for i, name in enumerate(names(size)):
        ring.add_node(Node(name, dc="eu", zone=f"z{i % zones}"))
    shares = held(ring, policy)
    assert max(shares.values()) * size < (most if size > 12 else 1.3)
    stats = ring.stats(policy)
    assert stats.share.tolist() == pytest.approx([shares[name] for name in ring.names])
    assert sum(stats.arcs) == CIRCLE * policy.total
    assert stats.peak_to_mean < HashRing(ring.nodes, vnodes=16).stats(policy).peak_to_mean
    for name in names(size)[::3]:
        before = replica_sets(ring, policy, range(200))
        ring.remove_node(name)
        after = replica_sets(ring, policy, range(200))
        if policy.spread == "node":
            assert all(old - new <= {name} for old, new in zip(before, after, strict=True))
    if policy.spread == "node":
        assert ring.stats(policy).peak_to_mean < (1.12 if size > 12 else 1.4)
    ring.add_node(Node("heavy", 2.5, dc="eu", zone="z0"))
    before = replica_sets(ring, policy, range(200))
    ring.set_weight("heavy", 1.5)
    after = replica_sets(ring, policy, range(200))
    if policy.spread == "node":
        assert all(old - new <= {"heavy"} for old, new in zip(before, after, strict=True))
    ring.set_weight("heavy", 3)
    if policy.spread == "node":
        assert ring.stats(policy).load[ring.names.index("heavy")] == pytest.approx(1, abs=0.1)
    ring.set_weight("heavy", 0)
    assert ring.table.counts()[ring.names.index("heavy")] == 0
    assert HashRing.from_bytes(ring.to_bytes()) == ring


def test_stats_of_a_policy_by_datacenter() -> None:
    nodes = [Node(name, dc=("eu", "us", "ap")[i % 3]) for i, name in enumerate(names(12))]
    policy = Replicas({"eu": 2, "us": 1})
    stats = HashRing(nodes).stats(policy)
    assert sum(stats.arcs) == 3 * CIRCLE
    assert [stats.ideal[i::3].sum() for i in range(3)] == pytest.approx([2 / 3, 1 / 3, 0])
    assert [stats.share[i::3].sum() for i in range(3)] == pytest.approx([2 / 3, 1 / 3, 0])
    alone = HashRing([Node("a", dc="eu"), Node("b", dc="eu")], vnodes=1)
    assert alone.stats(Replicas(2)).share.tolist() == [0.5, 0.5]
    with pytest.raises(errors.PolicyError):
        alone.stats(Replicas(3))


def against_the_feasible(ring: HashRing, policy: Replicas) -> float:
    """Peak-to-mean, where a node's due is what zones and the policy let it have."""
    dues = feasible(ring.nodes, policy)
    held = zip(ring.stats(policy).arcs, dues, strict=True)
    return max(arc / (due << SHIFT) for arc, due in held if due)


THREE_ZONES = [
    Node(f"{dc}-{n}", dc=dc, zone=f"{dc}{n % 3}") for dc in ("eu", "us", "ap") for n in range(6)
]


@pytest.mark.parametrize(("vnodes", "most"), [(16, 1.05), (160, 1.01)])
def test_a_fleet_of_three_datacenters_of_three_zones(vnodes: int, most: float) -> None:
    policy = Replicas({"eu": 2, "us": 2, "ap": 1}, spread="zone")
    ring = balanced(THREE_ZONES, vnodes=vnodes, replicas=policy)
    assert ring.stats(policy).peak_to_mean < most
    assert ring.stats(policy).peak_to_mean < balanced(THREE_ZONES).stats(policy).peak_to_mean


@pytest.mark.parametrize(("vnodes", "most", "end"), [(16, 1.2, 1.05), (160, 1.1, 1.01)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_few_nodes_in_zones_in_any_order(seed: int, vnodes: int, most: float, end: float) -> None:
    policy = Replicas(2, spread="zone")
    nodes = THREE_ZONES[:6]
    random.Random(seed).shuffle(nodes)
    ring = balanced(vnodes=vnodes, replicas=policy)
    for count, node in enumerate(nodes, 1):
        before = replica_sets(ring, policy, range(400)) if count > 2 else []
        zones = {node.zone for node in ring.nodes}
        ring.add_node(node)
        if count < 2:
            continue
        assert against_the_feasible(ring, policy) < most
        if len(zones) > 2:
            after = replica_sets(ring, policy, range(400))
            moved = [new - old for old, new in zip(before, after, strict=True)]
            assert all(new <= {node.name} for new in moved)
            ideal = feasible(ring.nodes, policy)[ring.names.index(node.name)] / 2**44
            assert sum(map(len, moved)) / 400 == pytest.approx(ideal, abs=0.12)
    assert against_the_feasible(ring, policy) < end


@pytest.mark.parametrize(
    ("policy", "zones", "vnodes", "most"),
    [
        (Replicas(3), 1, 16, 1.05),
        (Replicas(3), 1, 160, 1.01),
        (Replicas(3, spread="zone"), 5, 16, 1.15),
        (Replicas(3, spread="zone"), 5, 160, 1.08),
    ],
)
def test_even_at_each_step_of_a_small_ring(
    policy: Replicas, zones: int, vnodes: int, most: float
) -> None:
    ring = balanced(vnodes=vnodes, replicas=policy)
    for i, name in enumerate(names(12)):
        ring.add_node(Node(name, zone=f"z{i % zones}"))
        if len(ring) >= policy.total:
            assert against_the_feasible(ring, policy) < most, len(ring)


def test_dues_that_zones_allow() -> None:
    def shares(zones: str, policy: Replicas, weights: Any = None) -> list[float]:
        weights = weights or [1] * len(zones)
        nodes = [Node(f"{i}", weights[i], zone=zone) for i, zone in enumerate(zones)]
        return [due / 2**44 for due in feasible(nodes, policy)]

    def about(*values: float) -> Any:
        return pytest.approx(values, abs=1e-9)

    by_zone = Replicas(2, spread="zone")
    assert shares("aabbc", by_zone) == about(0.4, 0.4, 0.4, 0.4, 0.4)
    # A zone holds a key once while there are others; what it cannot take is for these.
    assert shares("aaaabc", by_zone) == about(0.25, 0.25, 0.25, 0.25, 0.5, 0.5)
    assert shares("aab", by_zone) == about(0.5, 0.5, 1)
    assert shares("aaaab", Replicas(3, spread="zone")) == about(0.5, 0.5, 0.5, 0.5, 1)
    assert shares("aaabb", Replicas(3, spread="zone")) == about(0.6, 0.6, 0.6, 0.6, 0.6)
    # With fewer zones than replicas each has one.
    assert shares("aaaaaaab", Replicas(2, spread="zone")) == about(*[1 / 7] * 7, 1)
    # A node holds a key once, however heavy.
    assert shares("aaa", Replicas(2), [8, 1, 1]) == about(1, 0.5, 0.5)
    assert shares("aaaa", Replicas(2), [8, 1, 1, 0]) == about(1, 0.5, 0.5, 0)


def replica_sets(ring: HashRing, policy: Replicas, keys: range) -> list[set[str]]:
    return [
        {node.name for node in chosen([ring.node(n) for n in ring.get_nodes(k, len(ring))], policy)}
        for k in keys
    ]


def test_replicas_move_to_and_from_the_node_that_changes_only() -> None:
    policy = Replicas(3, spread="zone")
    nodes = [Node(name, zone=f"z{i % 3}") for i, name in enumerate(names(24))]
    ring = balanced(nodes, vnodes=16, replicas=policy)
    for zone in ("z0", "z1", "z2"):
        before = replica_sets(ring, policy, range(800))
        ring.add_node(Node("x", zone=zone))
        after = replica_sets(ring, policy, range(800))
        assert all(new - old <= {"x"} for old, new in zip(before, after, strict=True))
        ring.remove_node("x")
        again = replica_sets(ring, policy, range(800))
        assert all(old - new <= {"x"} for old, new in zip(after, again, strict=True))


def test_zones_that_come_and_go_change_the_circles() -> None:
    policy = Replicas(3, spread="zone")
    ring = balanced(vnodes=16, replicas=policy)
    for i, name in enumerate(names(20)):
        ring.add_node(Node(name, zone=f"z{i // 4}"))  # one zone, then two, ... then five
        ring.add_node(Node("x", zone=f"z{i % 7}"))
        ring.set_weight("x", 2.5)
        ring.remove_node("x")
        assert HashRing.from_bytes(ring.to_bytes()) == ring
    assert len(ring.get_nodes("key", 3)) == 3
    assert (ring.table.counts() > 0).all()


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"placement": "even"}, errors.SettingError),
        ({"placement": None}, errors.SettingTypeError),
        ({"placement": "balanced", "replicas": 3}, errors.PolicyTypeError),
        ({"replicas": Replicas(3)}, errors.SettingError),
        ({"placement": "balanced", "vnodes": 0}, errors.SettingError),
    ],
)
def test_settings_that_make_no_sense(settings: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        HashRing(["a"], **settings)


def test_refusals_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = balanced(names(5), vnodes=4)
    data = ring.to_bytes()
    with pytest.raises(errors.DuplicateNode):
        ring.add_node("node-001")
    with pytest.raises(errors.NodeNotFound):
        ring.remove_node("x")
    with pytest.raises(errors.WeightError):
        ring.set_weight("node-001", -1)
    monkeypatch.setattr(limits, "POINTS_MAX", 21)
    with pytest.raises(errors.LimitError):
        ring.add_node("x")
    monkeypatch.undo()
    assert ring.to_bytes() == data
    empty = balanced()
    with pytest.raises(errors.EmptyRingError):
        empty["key"]
    assert HashRing.from_bytes(empty.to_bytes()) == empty
    drained = balanced({"a": 0})
    assert drained.point_count == 0
    drained.set_weight("a", 1)
    assert drained["key"] == "a"
    drained.set_weight("a", 0)
    with pytest.raises(errors.EmptyRingError):
        drained["key"]


# --- the saved form -----------------------------------------------------------------------------

RING = balanced(
    {"a": 1, "b": 2.5, "c": 0, "dé": 1}, vnodes=4, seed=77, replicas=Replicas({"": 2, "x": 1})
)
RING.remove_node("a")
DATA = RING.to_bytes()


def sealed(body: bytes, kind: int = 2) -> bytes:
    head = struct.pack("<4sHHQ", b"RLRG", 1, kind, 16 + len(body) + 4)
    return head + body + struct.pack("<I", crc32c(head + body))


def saved(
    nodes: list[tuple[bytes, float, list[int]]], *, policy: bytes = b"\0\0", vnodes: int = 2
) -> bytes:
    body = struct.pack("<HHI16s", 1, 0, vnodes, bytes(16)) + policy
    body += struct.pack("<I", len(nodes))
    for name, weight, _ in nodes:
        body += struct.pack("<H", len(name)) + name + struct.pack("<d", weight) + bytes(8)
    body += b"".join(struct.pack("<I", len(tokens)) for _, _, tokens in nodes)
    return sealed(body + b"".join(struct.pack("<Q", t) for *_, tokens in nodes for t in tokens))


def test_the_hand_made_form_is_the_format() -> None:
    ring = HashRing.from_bytes(saved([(b"a", 1, [8, 1 << 63]), (b"b", 0, []), (b"c", 2, [16])]))
    assert ring.placement == "balanced"
    assert ring.vnodes == 2
    assert ring.tokens.tolist() == [8, 16, 1 << 63]
    assert ring.token_owners.tolist() == [0, 2, 0]
    ring = HashRing.from_bytes(saved([(b"a", 1, [8])], policy=b"\1\1\3"))
    assert ring.replicas == Replicas(3, spread="zone")
    ring = HashRing.from_bytes(saved([(b"a", 1, [8])], policy=b"\2\0\1\2\0eu\2"))
    assert ring.replicas == Replicas({"eu": 2})


def test_every_prefix_and_every_flipped_bit_is_refused() -> None:
    for size in range(len(DATA)):
        with pytest.raises(errors.FormatError):
            HashRing.from_bytes(DATA[:size])
    for bit in range(len(DATA) * 8):
        damaged = bytearray(DATA)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.FormatError):
            HashRing.from_bytes(damaged)


@pytest.mark.parametrize(
    "data",
    [
        saved([(b"a", 1, [])]),
        saved([(b"a", 0, [8])]),
        saved([(b"a", 1, [9])]),
        saved([(b"a", 1, [16, 8])]),
        saved([(b"a", 1, [8, 8])]),
        saved([(b"a", 1, [8]), (b"b", 1, [8])]),
        saved([(b"a", 1, [8])], policy=b"\3\0"),
        saved([(b"a", 1, [8])], policy=b"\0\1"),
        saved([(b"a", 1, [8])], policy=b"\1\3\1"),
        saved([(b"a", 1, [8])], policy=b"\1\0\0"),
        saved([(b"a", 1, [8])], policy=b"\2\0\0"),
        saved([(b"a", 1, [8])], policy=b"\2\0\2\1\0x\1\1\0x\1"),
        saved([(b"a", 1, [8])], policy=b"\2\2\1\1\0x\1"),
        saved([(b"a", 1, [8])], vnodes=0),
        sealed(DATA[16:-4] + b"\0" * 8),
        sealed(DATA[16:-12]),
        sealed(DATA[16:-4], kind=1),
        sealed(DATA[16:-4], kind=3),
    ],
)
def test_wrong_values_under_a_right_checksum(data: bytes) -> None:
    with pytest.raises(errors.FormatError):
        HashRing.from_bytes(data)


def test_points_max_bounds_what_is_read() -> None:
    with pytest.raises(errors.LimitError, match="points_max=3"):
        HashRing.from_bytes(DATA, points_max=3)
    assert HashRing.from_bytes(DATA) == RING
    assert HashRing.from_bytes(DATA).to_bytes() == DATA


def test_mutated_bytes_never_crash() -> None:
    rng = random.Random(5)
    outcomes = set()
    for _ in range(3000):
        changed = bytearray(DATA[16:-4])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(3):
                case 0:
                    changed[at] = rng.randrange(256)
                case 1:
                    del changed[at : at + rng.randrange(1, 5)]
                case _:
                    changed[at:at] = rng.randbytes(rng.randrange(1, 5))
        try:
            ring = HashRing.from_bytes(sealed(bytes(changed)), points_max=10_000)
        except errors.RingleaderError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert HashRing.from_bytes(ring.to_bytes()) == ring
            ring.add_node("one more")
            ring.remove_node("one more")
    assert outcomes == {"refused", "read"}


# --- files --------------------------------------------------------------------------------------


def test_ring_files(tmp_path: Path) -> None:
    text = '[ring]\nvnodes = 8\nplacement = "balanced"\n%s\n' + "".join(
        f'[[node]]\nname = "{name}"\nzone = "z{i % 3}"\n' for i, name in enumerate("cab")
    )
    path = tmp_path / "ring.toml"
    path.write_text(text % "")
    nodes = [Node(name, zone=f"z{i % 3}") for i, name in enumerate("cab")]
    assert load_ring(path) == balanced(nodes, vnodes=8)
    assert load_ring(path).names == ("a", "b", "c")
    path.write_text(text % 'replicas = "3"\nspread = "zone"')
    assert load_ring(path).replicas == Replicas(3, spread="zone")
    path.write_text(text % 'replicas = "eu=2,us=1"')
    assert load_ring(path).replicas == Replicas({"eu": 2, "us": 1})
    for wrong in ('spread = "zone"', "replicas = 3", 'replicas = "x"', 'replicas="3"\nspread="y"'):
        path.write_text(text % wrong)
        with pytest.raises(errors.FormatError):
            load_ring(path)
    path.write_bytes(DATA)
    assert load_ring(path) == RING


def test_bytes_with_gaps_between_them_are_read() -> None:
    data = HashRing(["a", "b"], placement="balanced").to_bytes()
    spaced = memoryview(bytes(byte for pair in zip(data, data, strict=True) for byte in pair))[::2]
    assert HashRing.from_bytes(spaced) == HashRing.from_bytes(data)
