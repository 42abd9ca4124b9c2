"""HashRing: the public contract."""

from __future__ import annotations

import copy
import enum
import math
import pickle
import sys
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader import HashRing, Node, errors, limits
from ringleader.placement import Locator

NAMES = ["cache-1", "cache-2", "cache-3", "cache-4"]


@pytest.fixture
def ring() -> HashRing:
    return HashRing(NAMES)


# --- what it is ---------------------------------------------------------------------------------


def test_is_a_locator(ring: HashRing) -> None:
    assert isinstance(ring, Locator)


def test_is_a_pure_function_of_the_set_of_nodes() -> None:
    one = HashRing(["b", "a", "c"])
    two = HashRing({"c": 1, "b": 1.0, "a": 1})
    three = HashRing([Node("a")])
    three.add_node(Node("c"))
    three.add_node("x", 3)
    three.add_node("b", 2)
    three.remove_node("x")
    three.set_weight("b", 1)
    keys = np.arange(10_000)
    assert one == two == three
    assert one.names == two.names == three.names == ("a", "b", "c")
    assert one.lookup(keys).tolist() == two.lookup(keys).tolist() == three.lookup(keys).tolist()
    assert one.to_bytes() == two.to_bytes() == three.to_bytes()


def test_one_key_one_node_through_every_door(ring: HashRing) -> None:
    keys: list[Any] = ["user:1", b"user:2", bytearray(b"user:3"), memoryview(b"x"), 7, -7, "é"]
    for key in keys:
        name = ring[key]
        assert name in NAMES
        assert ring.get_node(key) == name
        assert ring.get_nodes(key, 1) == [name]
        assert ring.get_nodes(key, 3)[0] == name
        assert ring.names[ring.lookup([key])[0]] == name
        assert ring.names[ring.lookup_replicas([key], 2)[0, 0]] == name
    assert ring["user:1"] == ring[b"user:1"] == ring[memoryview(b"user:1")]
    assert ring[7] == ring[np.uint8(7)] == ring[(7).to_bytes(8, "little")]


def test_container_behaviour(ring: HashRing) -> None:
    assert len(ring) == 4
    assert list(ring) == NAMES
    assert "cache-1" in ring
    assert Node("cache-1", 9) in ring
    assert "cache-9" not in ring
    assert 5 not in ring
    assert ring.node("cache-2") == Node("cache-2")
    assert ring.point_count == 640
    assert ring.nbytes > 640 * 12
    assert (ring.tokens[1:] >= ring.tokens[:-1]).all()
    assert ring.token_owners.max() == 3


def test_equality_is_of_settings_and_nodes(ring: HashRing) -> None:
    assert ring == HashRing(NAMES)
    assert ring != HashRing(NAMES, vnodes=161)
    assert ring != HashRing(NAMES, seed=1)
    assert ring != HashRing(NAMES, hash="xxh64")
    assert ring != HashRing(NAMES[1:])
    assert ring != HashRing([Node(name, dc="eu") for name in NAMES])
    assert ring != "ring"
    with pytest.raises(TypeError, match="unhashable"):
        hash(ring)


def test_repr_shows_the_settings_but_not_a_secret(ring: HashRing) -> None:
    text = repr(ring)
    assert "4 nodes ['cache-1', 'cache-2', 'cache-3', 'cache-4']" in text
    assert "640 points" in text
    assert "hash='xxh3'" in text
    secret = HashRing(NAMES, hash="siphash13", seed=123456789)
    assert "123456789" not in repr(secret)
    assert "..." in repr(HashRing(str(i) for i in range(100)))


def test_hashes_and_seeds_give_different_rings() -> None:
    keys = np.arange(1000)
    settings: list[dict[str, Any]] = [
        {}, {"seed": 1}, {"hash": "xxh64"}, {"hash": "murmur3"}, {"hash": "siphash13"},
        {"hash": "siphash13", "seed": 1 << 100},
    ]  # fmt: skip
    columns = {HashRing(NAMES, **kw).lookup(keys).tobytes() for kw in settings}
    assert len(columns) == len(settings)


# --- evenness -----------------------------------------------------------------------------------


def test_stats_are_exact_and_match_what_keys_do(sized: Callable[[int], int]) -> None:
    ring = HashRing({"a": 1, "b": 2, "c": 0, "d": 0.5}, vnodes=400)
    stats = ring.stats()
    assert sum(stats.arcs) == 2**64
    assert stats.points.tolist() == [400, 800, 0, 200]
    assert stats.ideal.tolist() == pytest.approx([1 / 3.5, 2 / 3.5, 0, 0.5 / 3.5])
    keys = np.arange(sized(1_000_000), dtype=np.uint64)
    seen = np.bincount(ring.lookup(keys), minlength=4) / len(keys)
    assert np.abs(seen - stats.share).max() < 2 / len(keys) ** 0.5
    assert stats.peak_to_mean == pytest.approx(
        np.nanmax(stats.share / np.maximum(stats.ideal, 1e-9))
    )
    assert stats.least_to_mean <= 1 <= stats.peak_to_mean
    assert math.isnan(stats.load[2])
    assert "peak_to_mean" in repr(stats)


def test_more_vnodes_are_more_even() -> None:
    names = [f"node-{i}" for i in range(50)]
    spread = [HashRing(names, vnodes=v).stats().deviation for v in (10, 100, 1000)]
    assert spread[0] > spread[1] > spread[2]
    assert spread[1] == pytest.approx(0.1, rel=0.4)


def test_stats_of_nothing() -> None:
    stats = HashRing().stats()
    assert stats.arcs == ()
    assert math.isnan(stats.peak_to_mean)
    assert math.isnan(HashRing({"a": 0}).stats().deviation)


def test_points_follow_the_published_rounding() -> None:
    weights = {"a": 1.0, "b": 0.0, "c": 0.001, "d": 0.1, "e": 1.05, "f": 1.25}
    ring = HashRing(weights, vnodes=10)
    assert ring.stats().points.tolist() == [10, 0, 1, 1, 11, 13]  # 10.5 and 12.5 round up


# --- changes ------------------------------------------------------------------------------------


def test_only_the_ideal_share_moves(ring: HashRing, sized: Callable[[int], int]) -> None:
    keys = np.arange(sized(200_000))
    before = np.array(ring.names)[ring.lookup(keys)]
    ring.add_node("cache-5")
    after = np.array(ring.names)[ring.lookup(keys)]
    moved = before != after
    assert (after[moved] == "cache-5").all()
    assert moved.mean() == pytest.approx(ring.stats().share[4], abs=2 / len(keys) ** 0.5)
    ring.remove_node("cache-5")
    assert (np.array(ring.names)[ring.lookup(keys)] == before).all()


def test_weight_zero_drains(ring: HashRing) -> None:
    ring.set_weight("cache-2", 0)
    assert "cache-2" in ring
    assert 1 not in ring.lookup(np.arange(10_000))
    assert "cache-2" not in ring.get_nodes("k", 3)
    with pytest.raises(errors.TooFewNodes, match="only 3"):
        ring.get_nodes("k", 4)
    ring.set_weight("cache-2", 1)
    assert ring == HashRing(NAMES)


def test_refused_changes_change_nothing(ring: HashRing) -> None:
    before = ring.to_bytes()
    refusals: list[tuple[type[Exception], type[Exception], Any]] = [
        (errors.DuplicateNode, ValueError, lambda: ring.add_node("cache-1")),
        (errors.DuplicateNode, ValueError, lambda: ring.add_node(Node("cache-1", 5))),
        (errors.NodeNotFound, KeyError, lambda: ring.remove_node("cache-9")),
        (errors.NodeNotFound, KeyError, lambda: ring.set_weight("cache-9", 1)),
        (errors.NodeNotFound, KeyError, lambda: ring.node("cache-9")),
        (errors.WeightError, ValueError, lambda: ring.add_node("x", -1)),
        (errors.WeightError, ValueError, lambda: ring.add_node("x", math.nan)),
        (errors.WeightError, ValueError, lambda: ring.set_weight("cache-1", math.inf)),
        (errors.WeightError, ValueError, lambda: ring.set_weight("cache-1", 10**400)),
        (errors.NodeTypeError, TypeError, lambda: ring.set_weight("cache-1", "1")),
        (errors.NodeTypeError, TypeError, lambda: ring.add_node("x", True)),
        (errors.NodeTypeError, TypeError, lambda: ring.add_node(5)),  # type: ignore[arg-type]
        (errors.NodeTypeError, TypeError, lambda: ring.remove_node(5)),  # type: ignore[arg-type]
        (errors.NodeError, ValueError, lambda: ring.add_node("")),
        (errors.NodeError, ValueError, lambda: ring.add_node("\ud800")),
        (errors.NodeError, ValueError, lambda: ring.add_node(Node("x", 2), 3)),
        (errors.LimitError, ValueError, lambda: ring.add_node("x" * 70_000)),
        (errors.LimitError, ValueError, lambda: ring.add_node("x", 1e30)),
        (errors.LimitError, ValueError, lambda: ring.set_weight("cache-1", limits.POINTS_MAX)),
    ]
    for ours, builtin, change in refusals:
        with pytest.raises(ours) as caught:
            change()
        assert isinstance(caught.value, builtin)
        assert isinstance(caught.value, errors.RingleaderError)
        assert len(str(caught.value)) > 20
        assert ring.to_bytes() == before


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: HashRing("abc"), errors.NodeTypeError),
        (lambda: HashRing(b"abc"), errors.NodeTypeError),
        (lambda: HashRing(Node("a")), errors.NodeTypeError),
        (lambda: HashRing(5), errors.NodeTypeError),
        (lambda: HashRing([1, 2]), errors.NodeTypeError),
        (lambda: HashRing(["a", "b", "a"]), errors.DuplicateNode),
        (lambda: HashRing({"a": -1}), errors.WeightError),
        (lambda: HashRing({"a": "1"}), errors.NodeTypeError),
        (lambda: HashRing(["a"], vnodes=0), errors.SettingError),
        (lambda: HashRing(["a"], vnodes=limits.VNODES_MAX + 1), errors.SettingError),
        (lambda: HashRing(["a"], vnodes=1.5), errors.SettingTypeError),
        (lambda: HashRing(["a"], vnodes=True), errors.SettingTypeError),
        (lambda: HashRing(["a"], hash="sha1"), errors.SettingError),
        (lambda: HashRing(["a"], seed=-1), errors.SettingError),
        (lambda: HashRing(["a"], seed=2**64), errors.SettingError),
        (lambda: HashRing(["a"], hash="murmur3", seed=2**32), errors.SettingError),
        (lambda: HashRing(["a"], hash="siphash13", seed=2**128), errors.SettingError),
        (lambda: HashRing(["a"], seed="1"), errors.SettingTypeError),
        (
            lambda: HashRing((str(i) for i in range(100)), vnodes=limits.VNODES_MAX),
            errors.LimitError,
        ),
    ],
)
def test_refused_rings(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_an_empty_ring_can_be_made_but_not_asked() -> None:
    ring = HashRing()
    for ask in (
        lambda: ring["k"],
        lambda: ring.get_node("k"),
        lambda: ring.get_nodes("k", 1),
        lambda: ring.lookup(["k"]),
        lambda: ring.lookup([]),
        lambda: ring.lookup_replicas(["k"], 1),
    ):
        with pytest.raises(errors.EmptyRingError, match="add one with add_node") as caught:
            ask()
        assert isinstance(caught.value, LookupError)
    ring.add_node("a")
    assert ring["k"] == "a"


@pytest.mark.parametrize(
    "key",
    [
        1.5,
        None,
        True,
        ("a",),
        object(),
        2**64,
        -(2**63) - 1,
        "\udc80",
        np.timedelta64(5, "s"),
        np.bool_(1),
    ],
)
def test_keys_that_are_none(ring: HashRing, key: Any) -> None:
    kinds = (errors.KeyTypeError, errors.KeyRangeError, errors.KeyEncodingError)
    for ask in (
        lambda: ring[key],
        lambda: ring.get_node(key),
        lambda: ring.get_nodes(key, 2),
    ):
        with pytest.raises(kinds):
            ask()
    out = np.full(3, 77, dtype=np.uint32)
    with pytest.raises(kinds, match="position 2"):
        ring.lookup(["a", "b", key], out=out)
    assert out.tolist() == [77, 77, 77]


def test_refused_keys_leave_nothing_behind(ring: HashRing) -> None:
    """Room taken for a long key is given back when the key turns out to be none."""
    bad = "x" * 100_000 + "\u1234\udc80"
    locked = bytearray(b"abcdefgh")

    def refuse_all() -> None:
        for ask in (lambda: ring[bad], lambda: ring.get_node(bad), lambda: ring.get_nodes(bad, 2)):
            with pytest.raises(errors.KeyEncodingError):
                ask()

    refuse_all()
    tracemalloc.start()
    for _ in range(50):
        refuse_all()
    size, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 200_000
    assert ring[locked] == ring[memoryview(locked)[::1]]
    locked.append(1)  # no lookup holds its buffer


def test_refused_replica_counts(ring: HashRing) -> None:
    for n in (0, -1, 5, 2**70, -(2**70)):
        with pytest.raises(errors.TooFewNodes):
            ring.lookup_replicas(["a"], n)
        with pytest.raises(errors.TooFewNodes):
            ring.get_nodes("a", n)
    for bad in (1.5, "2", None, True):
        with pytest.raises(errors.SettingTypeError):
            ring.lookup_replicas(["a"], bad)  # type: ignore[arg-type]
        with pytest.raises(errors.SettingTypeError):
            ring.get_nodes("a", bad)  # type: ignore[arg-type]


def test_a_ring_that_was_never_built_is_empty() -> None:
    ring = HashRing.__new__(HashRing)
    with pytest.raises(errors.EmptyRingError):
        ring["a"]
    with pytest.raises(errors.EmptyRingError):
        ring.lookup(["a"])


def test_lookup_into_out(ring: HashRing) -> None:
    out = np.empty(3, dtype=np.uint32)
    assert ring.lookup(["a", "b", "c"], out=out) is out
    assert out.tolist() == ring.lookup(["a", "b", "c"]).tolist()
    rows = np.empty((2, 3), dtype=np.uint32)
    assert ring.lookup_replicas(["a", "b"], 3, out=rows) is rows
    keys = np.arange(8, dtype=np.uint32)
    for bad, error in (
        (np.empty(4, np.uint32), errors.OutputError),
        (np.empty(6, np.uint32)[::2], errors.OutputError),
        (np.empty((3, 1), np.uint32), errors.OutputError),
        (np.empty(3, np.int32), errors.OutputTypeError),
        ([0, 0, 0], errors.OutputTypeError),
    ):
        with pytest.raises(error):
            ring.lookup(["a", "b", "c"], out=bad)  # type: ignore[arg-type]
    frozen = np.empty(8, np.uint32)
    frozen.flags.writeable = False
    for bad_out in (frozen, keys):
        with pytest.raises(errors.OutputError):
            ring.lookup(keys, out=bad_out)
    assert keys.tolist() == list(range(8))


def test_threads_that_cannot_start_are_done_without(
    ring: HashRing, sized: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = np.arange(500_000)[: sized(500_000)]
    want = ring.lookup(keys)

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert (ring.lookup(keys, out=np.empty(len(keys), np.uint32), threads=4) == want).all()


def test_threads_give_the_same_answer(ring: HashRing, sized: Callable[[int], int]) -> None:
    keys = np.arange(sized(500_000))
    assert (ring.lookup(keys, threads=3) == ring.lookup(keys)).all()
    assert (ring.lookup_replicas(keys, 3, threads=2) == ring.lookup_replicas(keys, 3)).all()


# --- copies and threads -------------------------------------------------------------------------


def test_copies_part_ways(ring: HashRing) -> None:
    for twin in (
        ring.copy(),
        copy.copy(ring),
        copy.deepcopy(ring),
        pickle.loads(pickle.dumps(ring)),
    ):
        assert twin == ring
        assert type(twin) is HashRing
        twin.add_node("new")
        assert "new" not in ring
        twin.remove_node("new")
        ring.add_node("other")
        assert "other" not in twin
        ring.remove_node("other")
        assert twin == ring


def test_subclasses_survive_copy_and_pickle() -> None:
    ring = _Special(["a", "b"])
    assert type(ring.copy()) is _Special
    assert type(pickle.loads(pickle.dumps(ring))) is _Special


class _Special(HashRing):
    pass


def test_readers_never_fail_while_nodes_come_and_go(sized: Callable[[int], int]) -> None:
    """Each lookup sees the ring before a change or after it, whole."""
    stable = [f"stable-{i}" for i in range(20)]
    ring = HashRing(stable)
    keys = np.arange(sized(5_000), dtype=np.uint64)
    texts = [f"user:{i}" for i in range(200)]
    allowed = {*stable, "comes-1", "comes-2"}
    owners_without = {key: HashRing(stable)[key] for key in texts}
    failures: list[BaseException] = []
    done = threading.Event()
    counted = [0, 0, 0]

    def scalar_reader() -> None:
        while not done.is_set():
            for key in texts:
                name = ring[key]
                assert name == owners_without[key] or name.startswith("comes-"), name
                counted[0] += 1

    def replica_reader() -> None:
        while not done.is_set():
            for key in texts[:50]:
                names = ring.get_nodes(key, 5)
                assert len(set(names)) == 5
                assert set(names) <= allowed
                counted[1] += 1

    def bulk_reader() -> None:
        while not done.is_set():
            now = ring.copy()
            positions = now.lookup(keys)
            assert positions.max() < len(now)
            again = now.lookup(keys)
            assert (positions == again).all()
            counted[2] += 1

    def guarded(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            done.set()

    threads = [
        threading.Thread(target=guarded, args=(work,))
        for work in (scalar_reader, replica_reader, bulk_reader)
    ]
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)  # readers and the writer interrupt each other all the time
    try:
        for thread in threads:
            thread.start()
        for i in range(sized(600)):
            if done.is_set():
                break
            ring.add_node("comes-1")
            ring.add_node("comes-2", 1 + i % 3)
            ring.set_weight("comes-1", 0.5)
            ring.remove_node("comes-1")
            ring.remove_node("comes-2")
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert not failures, failures[0]
    assert min(counted) > 0
    assert ring == HashRing(stable)


def test_writers_in_many_threads_lose_nothing() -> None:
    ring = HashRing(vnodes=20)

    def add(group: int) -> None:
        for i in range(40):
            ring.add_node(f"{group}-{i}")

    threads = [threading.Thread(target=add, args=(group,)) for group in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [f"{group}-{i}" for group in range(4) for i in range(40)]
    assert ring == HashRing(names, vnodes=20)


# --- nodes --------------------------------------------------------------------------------------


def test_a_node_is_a_frozen_value() -> None:
    tags = {"disk": "nvme"}
    node = Node("a", 2, "eu", "eu-a", "10.0.0.1:7000", tags)
    tags["disk"] = "hdd"
    assert node.tags == {"disk": "nvme"}
    assert node.weight == 2.0
    assert node == pickle.loads(pickle.dumps(node)) == copy.deepcopy(node)
    assert hash(node) == hash(Node("a", 2, "eu", "eu-a", "10.0.0.1:7000"))
    assert node.with_weight(3) == Node("a", 3, "eu", "eu-a", "10.0.0.1:7000", {"disk": "nvme"})
    with pytest.raises(AttributeError):
        node.name = "b"  # type: ignore[misc]
    with pytest.raises(TypeError):
        node.tags["disk"] = "ssd"  # type: ignore[index]


class _Loud(str):
    def __str__(self) -> str:
        return "LOUD"

    def __lt__(self, other: str) -> bool:
        return True


class _Fleet(enum.StrEnum):
    EU = "eu-1"
    US = "us-1"


def test_names_of_str_subclasses_become_plain() -> None:
    plain = HashRing(["eu-1", "us-1"])
    for names in (np.array(["us-1", "eu-1"]), _Fleet, [_Loud("us-1"), _Loud("eu-1")]):
        ring = HashRing(names)
        assert ring == plain
        assert [type(name) for name in ring.names] == [str, str]
        assert type(ring["k"]) is str
    node = Node(_Loud("a"), dc=np.str_("eu"), tags={_Loud("b"): _Loud("c")})
    assert repr(node) == repr(Node("a", dc="eu", tags={"b": "c"}))
    plain.add_node(_Loud("new"))
    assert plain.names == ("eu-1", "new", "us-1")


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NODES_MAX", 3)
    ring = HashRing({"a": 1, "b": 0, "c": 0})
    with pytest.raises(errors.LimitError, match="3 nodes"):
        ring.add_node("d", 0)
    with pytest.raises(errors.LimitError, match="at most 3"):
        HashRing("abcd"[i] for i in range(4))


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"name": 5}, errors.NodeTypeError),
        ({"name": ""}, errors.NodeError),
        ({"name": "a", "dc": None}, errors.NodeTypeError),
        ({"name": "a", "zone": "\ud800"}, errors.NodeError),
        ({"name": "a", "address": "x" * 70_000}, errors.LimitError),
        ({"name": "a", "tags": "x"}, errors.NodeTypeError),
        ({"name": "a", "tags": {"x": 1}}, errors.NodeTypeError),
        ({"name": "a", "tags": {str(i): "" for i in range(70_000)}}, errors.LimitError),
        ({"name": "a", "weight": None}, errors.NodeTypeError),
    ],
)
def test_refused_nodes(fields: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Node(**fields)


@given(st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda s: s.isascii()),
                       st.floats(0, 20), min_size=1, max_size=8))  # fmt: skip
def test_any_weights_make_a_ring(weights: dict[str, float]) -> None:
    ring = HashRing(weights, vnodes=8)
    stats = ring.stats()
    assert sum(stats.arcs) == (2**64 if any(weights.values()) else 0)
    assert [node.weight for node in ring.nodes] == [weights[name] for name in ring.names]
    assert HashRing.from_bytes(ring.to_bytes()) == ring
