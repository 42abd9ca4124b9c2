"""Replica policies through the public doors: HashRing, JumpHash-like placers, ranges, hand-offs."""

from __future__ import annotations

import copy
import json
import pickle
import random
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader import HashRing, Node, Replicas, errors, hashing, kernels, limits
from ringleader.placement import points, topology
from ringleader.placement.located import PlacerLocator
from ringleader.placement.ranges import Space

VECTORS = Path(__file__).parents[1] / "vectors" / "replicas.json"
DCS = ("eu", "us", "ap")


def fleet(count: int = 30, weight: float = 1.0) -> list[Node]:
    return [Node(f"n{i:03}", weight, dc=DCS[i % 3], zone="abc"[i // 3 % 3]) for i in range(count)]


class TokenRing(points.PointRing):
    """A ring of given tokens: those of node i are tokens[i]."""

    def __init__(self, nodes: Sequence[Node], tokens: Sequence[Sequence[int]]) -> None:
        flat = [token for some in tokens for token in some]
        self._build(0, 0, 0, tuple(nodes), [len(some) for some in tokens], flat)

    @property
    def space(self) -> Space:
        return Space("hash", "xxh3")


class Jumping(PlacerLocator):
    """A locator by placer, whose nodes all take part."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        state = kernels.jump.State(0, 0, 0, len(nodes)) if nodes else None
        self._publish(kernels.placer.Placer(state, tuple(nodes)))


def accepted(nodes: Sequence[Node], policy: Replicas) -> list[Node]:
    """Replicas among nodes in the order met, one by one, as the words of the policy go."""
    row: list[Node] = []
    for dc in [None] if policy.by_dc is None else policy.by_dc:
        group = [node for node in nodes if dc is None or node.dc == dc]
        wanted = policy.total if policy.by_dc is None or dc is None else policy.by_dc[dc]
        mine: list[Node] = []

        def take(wanted: int, mine: list[Node], group: list[Node],
                 fresh: Callable[[Node, list[Node]], bool]) -> None:  # fmt: skip
            for node in group:
                if len(mine) < wanted and node not in mine and fresh(node, mine):
                    mine.append(node)

        if policy.spread == "dc":
            take(wanted, mine, group, lambda node, mine: node.dc not in {n.dc for n in mine})
        if policy.spread != "node":
            take(wanted, mine, group, lambda node, mine: (node.dc, node.zone)
                 not in {(n.dc, n.zone) for n in mine})  # fmt: skip
        take(wanted, mine, group, lambda node, mine: True)
        row += mine
    return sorted(row, key=nodes.index)


# --- what is chosen -----------------------------------------------------------------------------

nodes_strategy = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.sampled_from(DCS),
              st.sampled_from(["", "a", "b"])),
    min_size=1, max_size=12,
)  # fmt: skip
policy_strategy = st.one_of(
    st.builds(Replicas, st.integers(1, 6), st.sampled_from(["node", "zone", "dc"])),
    st.builds(
        Replicas,
        st.dictionaries(st.sampled_from(DCS), st.integers(1, 3), min_size=1),
        st.sampled_from(["node", "zone"]),
    ),
)


@settings(max_examples=200)
@given(nodes_strategy, policy_strategy, st.integers(1, 8), st.integers(0, 2**64 - 1))
def test_is_the_definition(
    places: list[tuple[float, str, str]], policy: Replicas, vnodes: int, first: int
) -> None:
    nodes = [
        Node(f"n{i:02}", weight, dc=dc, zone=zone) for i, (weight, dc, zone) in enumerate(places)
    ]
    live = [node for node in nodes if node.weight > 0]
    ring, jumping = HashRing(nodes, vnodes=vnodes), Jumping(live)
    keys = [(first + i * 2**60) % 2**64 for i in range(10)]
    try:
        policy.check(nodes)
    except errors.PolicyError:
        for locator in (ring, jumping):
            with pytest.raises((errors.PolicyError, errors.EmptyRingError)):
                locator.lookup_replicas(keys, policy)
            with pytest.raises((errors.PolicyError, errors.EmptyRingError)):
                locator.get_nodes(keys[0], policy)
        return
    for locator in (ring, jumping):
        rows = locator.lookup_replicas(keys, policy)
        assert rows.shape == (len(keys), policy.total)
        for key, row in zip(keys, rows.tolist(), strict=True):
            order = [locator.node(name) for name in locator.get_nodes(key, len(live))]
            want = accepted(order, policy)
            assert [locator.nodes[position] for position in row] == want == policy.choose(order)
            assert locator.get_nodes(key, policy) == [node.name for node in want]


@pytest.mark.parametrize("number", range(60))
def test_replica_sets_are_cassandras(number: int) -> None:
    vector = json.loads(VECTORS.read_text())[number]
    hosts = vector["hosts"]
    nodes = [Node(name, dc=dc, zone=rack) for name, (dc, rack) in sorted(hosts.items())]
    tokens: list[list[int]] = [[] for _ in nodes]
    names = [node.name for node in nodes]
    for token, owner in zip(vector["tokens"], vector["owners"], strict=True):
        tokens[names.index(owner)].append(token + 2**63)
    ring = TokenRing(nodes, tokens)
    ranges = ring.ranges(Replicas(vector["policy"], spread="zone"))
    assert ranges.ends.tolist() == [token + 2**63 for token in vector["tokens"]]
    found = [sorted(names[position] for position in row) for row in ranges.owners.tolist()]
    assert found == vector["replicas"]


def test_replica_sets_are_those_of_the_driver() -> None:
    metadata = pytest.importorskip("cassandra.metadata")

    class Host:
        def __init__(self, node: Node) -> None:
            self.name, self.datacenter, self.rack = node.name, node.dc, node.zone

    for seed in range(10):
        rng = random.Random(seed)
        nodes = fleet(rng.randint(9, 40))
        ring = HashRing(nodes, vnodes=rng.choice([1, 4, 16]))
        policy = Replicas({dc: rng.randint(1, 3) for dc in DCS}, spread="zone")
        hosts = [Host(node) for node in ring.nodes]
        tokens = [metadata.Murmur3Token(int(token) - 2**63) for token in ring.tokens]
        owners = dict(zip(tokens, (hosts[i] for i in ring.token_owners), strict=True))
        assert policy.by_dc is not None
        strategy = metadata.NetworkTopologyStrategy(
            {dc: str(count) for dc, count in policy.by_dc.items()}
        )
        found = strategy.make_token_replica_map(owners, tokens)
        for token, row in zip(tokens, ring.ranges(policy).owners.tolist(), strict=True):
            driver = [host.name for host in found[token]]
            if len(set(driver)) == policy.total:  # it may repeat a host; the server does not
                assert {ring.names[position] for position in row} == set(driver)


def test_a_zone_is_used_twice_only_when_they_run_out() -> None:
    ring = HashRing(fleet(18))
    for key in range(200):
        in_zones = [ring.node(name) for name in ring.get_nodes(key, Replicas(9, "zone"))]
        assert len({(node.dc, node.zone) for node in in_zones}) == 9
        in_dcs = [ring.node(name) for name in ring.get_nodes(key, Replicas(5, "dc"))]
        assert {node.dc for node in in_dcs} == set(DCS)
        assert len({(node.dc, node.zone) for node in in_dcs}) == 5
        plain = ring.get_nodes(key, 18)
        assert plain[0] == in_zones[0].name == in_dcs[0].name
        assert ring.get_nodes(key, Replicas(4)) == plain[:4]
        more = set(ring.get_nodes(key, Replicas(10, "zone")))
        assert more > {node.name for node in in_zones}


def test_nodes_without_a_zone_share_one() -> None:
    nodes = [Node("a"), Node("b"), Node("c"), Node("d", zone="z")]
    ring = HashRing(nodes)
    for key in range(100):
        assert "d" in ring.get_nodes(key, Replicas(2, "zone"))


def test_all_doors_agree_before_and_after_the_rows_are_made() -> None:
    ring = HashRing(fleet(), vnodes=20)
    policy = Replicas({"eu": 2, "us": 1}, "zone")
    keys = [f"user:{i}" for i in range(2000)]
    small = ring.nbytes
    by_key = [ring.get_nodes(key, policy) for key in keys]
    rows = ring.lookup_replicas(keys, policy)
    if not kernels.PURE:
        assert ring.nbytes > small
    assert [[ring.names[at] for at in row] for row in rows.tolist()] == by_key
    assert [ring.get_nodes(key, policy) for key in keys] == by_key
    assert (ring.lookup_replicas(np.array(keys), policy, threads=3) == rows).all()
    out = np.empty_like(rows)
    assert ring.lookup_replicas(iter(keys), policy, out) is out
    assert (out == rows).all()
    assert (ring.copy().lookup_replicas(keys, policy) == rows).all()
    assert (pickle.loads(pickle.dumps(ring)).lookup_replicas(keys, policy) == rows).all()


def test_threads_share_a_large_column(sized: Callable[[int], int]) -> None:
    for locator in (HashRing(fleet(), vnodes=20), Jumping(fleet())):
        policy = Replicas({"eu": 2, "us": 2, "ap": 1}, "zone")
        keys = np.arange(sized(300_000), dtype=np.uint64)
        one = locator.lookup_replicas(keys, policy)
        assert (locator.lookup_replicas(keys, policy, threads=4) == one).all()


def test_rows_that_would_take_too_much_are_not_made(
    monkeypatch: pytest.MonkeyPatch, sized: Callable[[int], int]
) -> None:
    monkeypatch.setattr(limits, "SUCCESSORS_BYTES_MAX", 1000)
    policy = Replicas(3, "zone")
    bounded, free = HashRing(fleet(), vnodes=20), HashRing(fleet(), vnodes=20)
    keys = np.arange(sized(5000))
    rows = bounded.lookup_replicas(keys, policy)
    assert bounded.nbytes == bounded.table.nbytes
    monkeypatch.undo()
    assert (free.lookup_replicas(keys, policy) == rows).all()


def test_few_policies_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POLICIES_KEPT_MAX", 2)
    ring = HashRing(fleet())
    policies = [Replicas(n, "zone") for n in range(1, 6)]
    rows = [ring.get_nodes("key", policy) for policy in policies]
    assert list(ring.table.policies) == policies[-2:]
    assert [ring.get_nodes("key", policy) for policy in policies] == rows


def test_equal_policies_are_one() -> None:
    one = Replicas({"eu": 2, "us": 1}, "zone")
    two = Replicas({"us": 1, "eu": 2}, "zone")
    assert one == two
    assert hash(one) == hash(two)
    assert one != Replicas({"eu": 2, "us": 1})
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    ring = HashRing(fleet())
    assert ring.get_nodes("key", one) == ring.get_nodes("key", two)
    assert len(ring.table.policies) == 1


# --- ranges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3, Replicas(3), Replicas(4, "dc"), Replicas({"eu": 2}, "zone")])
def test_ranges_are_what_lookups_say(n: int | Replicas) -> None:
    ring = HashRing(fleet(), vnodes=10)
    ranges = ring.ranges(n)
    total = n if isinstance(n, int) else n.total
    assert ranges.owners.shape == (len(ranges.ends), total)
    assert ranges.owners.dtype == np.uint32
    keys = [f"k{i}" for i in range(500)]
    at = np.searchsorted(ranges.ends, hashing.xxh3_64_column(keys)) % len(ranges.ends)
    assert (ranges.owners[at] == ring.lookup_replicas(keys, n)).all()


def test_ranges_where_tokens_are_equal() -> None:
    nodes = fleet(9)
    ring = TokenRing(nodes, [[5, 100, 2**64 - 1] for _ in nodes])
    ranges = ring.ranges(Replicas(2, "zone"))
    assert ranges.ends.tolist() == [5, 100, 2**64 - 1]
    names = [[ring.names[at] for at in row] for row in ranges.owners.tolist()]
    assert names == [["n000", "n001"]] * 3


def test_ranges_that_are_refused() -> None:
    ring = HashRing(fleet())
    with pytest.raises(errors.PolicyError):
        ring.ranges(Replicas(31))
    with pytest.raises(errors.TooFewNodes):
        ring.ranges(31)
    with pytest.raises(errors.TooFewNodes):
        ring.ranges(0)
    with pytest.raises(errors.SettingTypeError):
        ring.ranges("3")  # type: ignore[arg-type]
    with pytest.raises(errors.EmptyRingError):
        HashRing().ranges(Replicas(1))
    many = HashRing([f"n{i}" for i in range(300)], vnodes=1)
    with pytest.raises(errors.PolicyError, match="at most 255"):
        many.ranges(256)


# --- changes ------------------------------------------------------------------------------------


def test_a_change_is_seen_and_checked_again() -> None:
    ring = HashRing(fleet(6), vnodes=20)
    policy = Replicas({"eu": 2, "us": 2}, "zone")
    keys = np.arange(500)
    before = ring.lookup_replicas(keys, policy)
    ring.add_node(Node("n003b", dc="eu", zone="c"))
    same = HashRing(ring.nodes, vnodes=20)
    assert (ring.lookup_replicas(keys, policy) == same.lookup_replicas(keys, policy)).all()
    assert [ring.get_nodes(key, policy) for key in range(50)] == [
        same.get_nodes(key, policy) for key in range(50)
    ]
    ring.remove_node("n003b")
    assert (ring.lookup_replicas(keys, policy) == before).all()
    ring.set_weight("n004", 0)
    out = np.full((500, 4), 7, dtype=np.uint32)
    with pytest.raises(errors.PolicyError, match=r"2 in 'us', where only 1 of the 2 nodes has"):
        ring.lookup_replicas(keys, policy, out)
    assert (out == 7).all()
    with pytest.raises(errors.PolicyError):
        ring.get_nodes("key", policy)
    ring.set_weight("n004", 1)
    assert (ring.lookup_replicas(keys, policy) == before).all()


def test_many_changes_against_rings_built_anew(sized: Callable[[int], int]) -> None:
    rng = random.Random(7)
    ring = HashRing(fleet(12), vnodes=30)
    policy = Replicas({"eu": 2, "us": 1, "ap": 1}, "zone")
    keys = np.arange(sized(3000))
    for turn in range(40):
        if turn % 2 == 0:
            ring.add_node(Node(f"x{turn}", dc=rng.choice(DCS), zone=rng.choice("abcd")))
        else:
            ring.remove_node(f"x{turn - 1}")
        if turn % 3 != 2:
            same = HashRing(ring.nodes, vnodes=30)
            assert (ring.lookup_replicas(keys, policy) == same.lookup_replicas(keys, policy)).all()


def test_only_the_sets_concerned_change() -> None:
    """A node that goes is replaced in its sets, and no other set changes."""
    ring = HashRing(fleet(18), vnodes=40)
    policy = Replicas({"eu": 2, "us": 2, "ap": 1}, "zone")
    keys = list(range(1000))
    before = [set(ring.get_nodes(key, policy)) for key in keys]
    ring.remove_node("n000")
    for key, old in zip(keys, before, strict=True):
        new = set(ring.get_nodes(key, policy))
        if "n000" in old:
            assert len(new - old) == 1
            assert all(ring.node(name).dc == "eu" for name in new - old)
        else:
            assert new == old


def test_readers_see_whole_rings_while_one_changes_it(sized: Callable[[int], int]) -> None:
    ring = HashRing(fleet(12), vnodes=30)
    policy = Replicas({"eu": 2, "us": 2}, "zone")
    keys = np.arange(sized(2000))
    without = ring.copy()
    added = ring.copy()
    added.add_node(Node("n000b", dc="eu", zone="a"))
    allowed = {
        np.array(state.names)[state.lookup_replicas(keys, policy)].tobytes(): state
        for state in (without, added)
    }
    wrong: list[Any] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            snapshot = ring.copy()
            rows = snapshot.lookup_replicas(keys, policy)
            if np.array(snapshot.names)[rows].tobytes() not in allowed:
                wrong.append(rows)
            if len(set(ring.get_nodes("key", policy))) != 4:
                wrong.append("key")

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(60):
        ring.add_node(Node("n000b", dc="eu", zone="a"))
        ring.remove_node("n000b")
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []


@pytest.mark.skipif(kernels.PURE, reason="plain Python recycles nothing")
def test_what_is_kept_for_policies_does_not_keep_the_table() -> None:
    """Else its buffers would never be recycled."""
    ring = HashRing(fleet(), vnodes=20)
    table = ring.table
    held = sys.getrefcount(table)
    for policy in (Replicas(3, "zone"), Replicas({"eu": 2})):
        ring.lookup_replicas(np.arange(10_000), policy)
    assert len(table.policies) == 2
    assert sys.getrefcount(table) == held


# --- hand-offs, closeness -----------------------------------------------------------------------


def test_handoffs_of_a_number_are_the_next_nodes() -> None:
    for locator in (HashRing(fleet(9)), Jumping(fleet(9))):
        order = locator.get_nodes("key", 9)
        assert locator.handoffs("key", 3) == order[3:]
        assert locator.handoffs("key", 3, 2) == order[3:5]
        assert locator.handoffs("key", 3, limit=0) == []
        assert locator.handoffs("key", 9) == []
        assert locator.handoffs("key", Replicas(3)) == order[3:]


@pytest.mark.parametrize(
    "policy", [Replicas(3, "zone"), Replicas(4, "dc"), Replicas({"eu": 2, "us": 1}, "zone")]
)
def test_handoffs_are_the_policys_next_choices(policy: Replicas) -> None:
    ring = HashRing(fleet(12), vnodes=20)
    for key in range(60):
        row = ring.get_nodes(key, policy)
        handoffs = ring.handoffs(key, policy)
        assert not set(row) & set(handoffs)
        assert len(set(handoffs)) == len(handoffs)
        there = {n.name for n in ring.nodes if policy.by_dc is None or n.dc in policy.by_dc}
        assert set(row) | set(handoffs) == there
        assert ring.handoffs(key, policy, 3) == handoffs[:3]
        gone = ring.copy()
        for name in row:
            gone.remove_node(name)
        assert handoffs[: policy.total] == gone.get_nodes(key, policy)
        for name in row:  # whichever fails, the one that replaces it is among the first
            one_less = ring.copy()
            one_less.remove_node(name)
            (heir,) = set(one_less.get_nodes(key, policy)) - set(row)
            assert heir in handoffs[: policy.total]
            if policy.by_dc is not None:
                assert ring.node(heir).dc == ring.node(name).dc


def test_handoffs_that_are_refused() -> None:
    ring = HashRing(fleet(9))
    with pytest.raises(errors.SettingError, match="negative"):
        ring.handoffs("key", 3, -1)
    with pytest.raises(errors.SettingTypeError, match="limit"):
        ring.handoffs("key", 3, 1.5)  # type: ignore[arg-type]
    with pytest.raises(errors.TooFewNodes):
        ring.handoffs("key", 10)
    with pytest.raises(errors.PolicyError):
        ring.handoffs("key", Replicas({"mars": 1}))
    with pytest.raises(errors.SettingTypeError):
        ring.handoffs("key", "3")  # type: ignore[arg-type]
    with pytest.raises(errors.KeyTypeError):
        ring.handoffs(None, 3)  # type: ignore[arg-type]
    with pytest.raises(errors.EmptyRingError):
        HashRing().handoffs("key", 1)


def test_local_first() -> None:
    nodes = [
        Node("a", dc="eu", zone="1"), Node("b", dc="us", zone="1"), Node("c", dc="eu", zone="2"),
        Node("d", dc="us", zone="2"), Node("e"),
    ]  # fmt: skip
    ring = HashRing(nodes)
    names = ["b", "a", "e", "d", "c"]
    assert ring.local_first(names, "eu") == ["a", "c", "b", "e", "d"]
    assert ring.local_first(names, "eu", "2") == ["c", "a", "b", "e", "d"]
    assert ring.local_first(names, "us", zone="2") == ["d", "b", "a", "e", "c"]
    assert ring.local_first(names, "") == ["e", "b", "a", "d", "c"]
    assert ring.local_first(names, "mars", "1") == names
    assert ring.local_first([], "eu") == []
    keys = np.arange(100)
    rows = ring.lookup_replicas(keys, 4)
    local = ring.local_first(rows, "us", "1")
    assert local.shape == rows.shape
    assert local.dtype == np.uint32
    for row, ordered in zip(rows.tolist(), local.tolist(), strict=True):
        by_name = ring.local_first([ring.names[at] for at in row], "us", "1")
        assert [ring.names[at] for at in ordered] == by_name
    assert (ring.local_first(rows[3], "us", "1") == local[3]).all()
    assert (ring.local_first(rows[::2], "us", "1") == local[::2]).all()
    cube = rows.reshape(10, 10, 4)
    assert (ring.local_first(cube, "us", "1") == local.reshape(10, 10, 4)).all()
    assert ring.local_first(rows[:0], "us").shape == (0, 4)
    assert ring.local_first(rows[:, :0], "us").shape == (100, 0)


def test_local_first_that_is_refused() -> None:
    ring = HashRing(fleet(3))
    with pytest.raises(errors.NodeNotFound, match="no node 'x'"):
        ring.local_first(["x"], "eu")
    with pytest.raises(errors.NodeTypeError):
        ring.local_first([1], "eu")  # type: ignore[list-item]
    with pytest.raises(errors.NodeTypeError, match="one name"):
        ring.local_first("n000", "eu")
    with pytest.raises(errors.NodeNotFound, match="no position 3"):
        ring.local_first(np.array([[1, 3]], dtype=np.uint32), "eu")
    with pytest.raises(errors.NodeTypeError, match="int64"):
        ring.local_first(np.array([[1, 2]]), "eu")  # type: ignore[call-overload]
    with pytest.raises(errors.NodeTypeError, match="one position"):
        ring.local_first(np.array(1, dtype=np.uint32), "eu")
    with pytest.raises(errors.PolicyTypeError, match="dc"):
        ring.local_first(["n000"], 1)  # type: ignore[call-overload]
    with pytest.raises(errors.PolicyTypeError, match="zone"):
        ring.local_first(["n000"], "eu", 1)  # type: ignore[call-overload]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "spread", "words"),
    [
        ({"mars": 1}, "node", r"1 in 'mars', a datacenter in which no node stands"),
        ({"mars": 1}, "node", r"the datacenters are 'ap', 'eu', 'us'"),
        ({"eu": 3, "us": 3}, "zone", r"3 in 'eu', where there are only 2; 3 in 'us'"),
        (7, "node", r"wants 7 nodes, but there are only 6; add 1 more"),
    ],
)
def test_policies_that_cannot_be_satisfied(count: Any, spread: str, words: str) -> None:
    policy = Replicas(count, spread)
    for locator in (HashRing(fleet(6)), Jumping(fleet(6))):
        for ask in (
            lambda loc: loc.get_nodes("key", policy),
            lambda loc: loc.lookup_replicas(["key"], policy),
            lambda loc: loc.lookup_replicas([None], policy),
            lambda loc: loc.handoffs("key", policy),
        ):
            with pytest.raises(errors.PolicyError, match=words):
                ask(locator)
    with pytest.raises(errors.PolicyError, match=words):
        policy.check(fleet(6))


def test_drained_nodes_do_not_count() -> None:
    nodes = [*fleet(6), Node("z", 0, dc="eu")]
    with pytest.raises(errors.PolicyError, match="only 2 of the 3 nodes have a positive weight"):
        HashRing(nodes).get_nodes("key", Replicas({"eu": 3}))
    with pytest.raises(errors.PolicyError, match="only 6 of the 7 nodes have a positive weight"):
        HashRing(nodes).get_nodes("key", Replicas(7))
    ring = HashRing(nodes)
    assert all("z" not in ring.get_nodes(key, Replicas(6, "dc")) for key in range(50))


@pytest.mark.parametrize("n", [None, "3", 2.0, {"eu": 1}, [3], True, object()])
def test_what_is_neither_number_nor_policy(n: Any) -> None:
    for locator in (HashRing(fleet(6)), Jumping(fleet(6))):
        for ask in (
            lambda loc: loc.get_nodes("key", n),
            lambda loc: loc.lookup_replicas(["key"], n),
            lambda loc: loc.handoffs("key", n),
        ):
            with pytest.raises(errors.SettingTypeError, match="n must be an int or Replicas"):
                ask(locator)


def test_empty_locators() -> None:
    for locator in (HashRing(), HashRing({"a": 0}), Jumping([])):
        with pytest.raises((errors.EmptyRingError, errors.PolicyError)):
            locator.get_nodes("key", Replicas(1))
        with pytest.raises((errors.EmptyRingError, errors.PolicyError)):
            locator.lookup_replicas(["key"], Replicas(1))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0,), errors.PolicyError),
        ((-1,), errors.PolicyError),
        ((256,), errors.PolicyError),
        ((True,), errors.PolicyTypeError),
        ((1.5,), errors.PolicyTypeError),
        (("3",), errors.PolicyTypeError),
        (({},), errors.PolicyError),
        (({"eu": 0},), errors.PolicyError),
        (({"eu": 200, "us": 56},), errors.PolicyError),
        (({"eu": "2"},), errors.PolicyTypeError),
        (({1: 2},), errors.PolicyTypeError),
        ((3, "rack"), errors.PolicyError),
        ((3, 1), errors.PolicyTypeError),
        (({"eu": 2}, "dc"), errors.PolicyError),
    ],
)
def test_policies_that_are_none(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Replicas(*arguments)


def test_policies_are_written_and_read() -> None:
    assert Replicas.parse("3") == Replicas(3)
    assert Replicas.parse(" eu=2, us=1 ", "zone") == Replicas({"eu": 2, "us": 1}, "zone")
    assert Replicas.parse("a=b=2") == Replicas({"a=b": 2})
    assert eval(repr(Replicas({"eu": 2}, "zone"))) == Replicas({"eu": 2}, "zone")
    for text in ("", "eu", "eu=", "eu=-1", "eu=2,eu=1", "3,eu=1", "0", "²", "eu=two"):
        with pytest.raises(errors.PolicyError):
            Replicas.parse(text)
    with pytest.raises(errors.PolicyTypeError):
        Replicas.parse(3)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        Replicas(3).total = 4  # type: ignore[misc]
    assert topology.SPREADS == ("node", "zone", "dc")


def test_long_columns_of_a_number_of_replicas() -> None:
    """By successors, which short columns and single keys then agree with."""
    ring = HashRing(fleet(), vnodes=20)
    keys = np.arange(1000)
    walked = [ring.lookup_replicas(keys[i : i + 100], 3).tolist() for i in range(0, 1000, 100)]
    assert len(ring.table.policies) == 0
    rows = ring.lookup_replicas(keys, 3)
    assert list(ring.table.policies) == [3]
    assert rows.tolist() == [row for part in walked for row in part]
    assert (ring.lookup_replicas(keys[:100], 3) == rows[:100]).all()
    assert (ring.lookup_replicas(iter(keys.tolist()), 3) == rows).all()
    assert ring.lookup_replicas(keys, 30).shape == (1000, 30)
    with pytest.raises(errors.TooFewNodes):
        ring.lookup_replicas(keys, 31)
    assert list(ring.table.policies) == [3]
