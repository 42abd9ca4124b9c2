"""Rendezvous: the public contract, exact movement, shares by weight, and pymemcache's keys."""

from __future__ import annotations

import copy
import pickle
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader import Node, Replicas, errors, kernels
from ringleader._reference.hashing import crc32c, murmur3_x86_32
from ringleader.placement import Locator, Rendezvous

NAMES = [f"node-{i}" for i in range(10)]
KEYS = np.arange(500 if kernels.PURE else 20_000, dtype=np.uint64)
WEIGHTED = {name: 1 + i % 3 for i, name in enumerate(NAMES)}
MAKERS: dict[str, Callable[..., Rendezvous]] = {
    "even": Rendezvous,
    "weighted": lambda nodes=WEIGHTED, **kw: Rendezvous(
        WEIGHTED if nodes is NAMES else nodes, **kw
    ),
    "skeleton": lambda nodes=NAMES, **kw: Rendezvous(
        nodes, skeleton=True, fanout=2, clusters=4, **kw
    ),
    "pymemcache": lambda nodes=NAMES, **kw: Rendezvous(nodes, flavor="pymemcache", **kw),
}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[..., Rendezvous]:
    return MAKERS[request.param]


def named(on: Rendezvous, keys: Any = KEYS) -> np.ndarray:
    return np.array(on.names)[on.lookup(keys)]


# --- what it is ---------------------------------------------------------------------------------


def test_is_a_locator(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    assert isinstance(on, Locator)
    assert len(on) == 10
    assert list(on) == sorted(NAMES)
    assert "node-3" in on
    assert on.node("node-3").name == "node-3"
    assert on.nbytes > 80
    assert "10 nodes ['node-0', 'node-1', 'node-2', ..., 'node-9']" in repr(on)


def test_repr() -> None:
    assert "hash='xxh3', seed=0" in repr(Rendezvous(["a"]))
    assert "(secret)" in repr(Rendezvous(["a"], hash="siphash13", seed=77))
    assert "skeleton of 4 clusters, fanout=2" in repr(MAKERS["skeleton"]())
    assert "flavor='pymemcache', seed=3" in repr(MAKERS["pymemcache"](seed=3))


def test_one_key_one_node_through_every_door(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    keys: list[Any] = ["user:1", b"user:2", bytearray(b"user:3"), memoryview(b"x"), 7, -7, "é"]
    for key in keys:
        name = on[key]
        assert name == on.get_node(key) == on.get_nodes(key, 3)[0]
        assert on.names[on.lookup([key])[0]] == name
        assert on.get_nodes(key, 10) == [on.names[at] for at in on.lookup_replicas([key], 10)[0]]
        assert sorted(on.get_nodes(key, 10)) == list(on.names)
    assert on[7] == on[(7).to_bytes(8, "little")]


def test_is_a_pure_function_of_the_set_of_nodes(make: Callable[..., Rendezvous]) -> None:
    one = make(NAMES)
    two = make([node.with_weight(1) for node in one.nodes][:5][::-1])
    for node in one.nodes:
        if node.name not in two:
            two.add_node(node)
        two.set_weight(node.name, node.weight)
    two.add_node("x")
    two.remove_node("x")
    assert one == two
    assert one.to_bytes() == two.to_bytes()
    assert (one.lookup(KEYS) == two.lookup(KEYS)).all()
    assert one != make(NAMES, seed=1)
    assert one != make(NAMES[1:])
    assert one != "x"
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


# --- shares -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 10, 100])
@pytest.mark.parametrize("kind", ["even", "weighted", "wide", "skeleton"])
def test_shares_are_weights(kind: str, count: int, sized: Callable[[int], int]) -> None:
    names = [f"10.1.{i}.7:6379" for i in range(count)]
    weights = {
        "even": dict.fromkeys(names, 1.0),
        "weighted": {name: 0.5 + i % 4 for i, name in enumerate(names)},
        "wide": {name: 10.0 ** (i % 4) for i, name in enumerate(names)},
        "skeleton": {name: 0.5 + i % 4 for i, name in enumerate(names)},
    }[kind]
    on = Rendezvous(weights, skeleton=kind == "skeleton", fanout=4)
    samples = sized(400_000)
    stats = on.stats(samples=samples if not kernels.PURE else 100_000 // count)
    assert stats.chi_square < count - 1 + 5 * (2 * (count - 1)) ** 0.5 + 8
    assert stats.ideal.sum() == pytest.approx(1)
    if kind == "even":
        assert np.abs(stats.share - stats.ideal).max() < 5 * stats.error.max()


def test_places_are_independent(sized: Callable[[int], int]) -> None:
    """All 60 ordered triples of 5 nodes are equally likely."""
    on = Rendezvous(NAMES[:5])
    found = on.lookup_replicas(np.arange(sized(200_000)), 3).astype(np.int64)
    counts = np.bincount(found @ [25, 5, 1])
    counts = counts[counts > 0]
    mean = counts.sum() / 60
    assert len(counts) == 60
    assert ((counts - mean) ** 2 / mean).sum() < 59 + 5 * 118**0.5


# --- movement, exactly --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["even", "weighted", "pymemcache"])
def test_only_keys_of_the_node_move(kind: str) -> None:
    on = MAKERS[kind](NAMES)
    before, orders = named(on), on.lookup_replicas(KEYS, 2)
    second = np.array(on.names)[orders[:, 1]]
    node = on.node("node-4")
    on.remove_node("node-4")
    after = named(on)
    assert (after == np.where(before == "node-4", second, before)).all()  # to its second place
    on.add_node(node)
    assert (named(on) == before).all()
    on.add_node("new")
    after = named(on)
    assert (after[before != after] == "new").all()
    assert (before != after).any()


@given(st.integers(0, 9), st.floats(0, 20))
def test_only_keys_to_or_from_the_node_move_with_its_weight(which: int, weight: float) -> None:
    on = Rendezvous(WEIGHTED)
    keys = KEYS[: 100 if kernels.PURE else 2000]
    name, old = on.names[which], on.nodes[which].weight
    before = named(on, keys)
    on.set_weight(name, weight)
    after = named(on, keys)
    moved = before != after
    assert ((after if weight > old else before)[moved] == name).all()


def test_what_moves_in_a_skeleton_is_bounded() -> None:
    names = [f"node-{i}" for i in range(64)]
    on = Rendezvous(names, skeleton=True, fanout=4, clusters=16)
    before = named(on)
    on.add_node("new")
    after = named(on)
    assert named(on).tolist().count("new") / len(KEYS) == pytest.approx(1 / 65, abs=0.03)
    share = 1 / 65
    assert (after[before != after] == "new").mean() > 1 / 4
    assert (before != after).mean() < 3 * share * 1.2 + 1 / len(KEYS) ** 0.5  # 2 levels, nodes
    on.remove_node("new")
    assert (named(on) == before).all()


def test_skeletons_choose_their_shape() -> None:
    assert Rendezvous(NAMES).clusters == 1
    assert not Rendezvous(NAMES).skeleton
    on = Rendezvous((f"n{i}" for i in range(1000)), skeleton=True)
    assert (on.fanout, on.clusters, on.skeleton) == (16, 256, True)
    assert Rendezvous(skeleton=True).clusters == 1
    assert Rendezvous(NAMES, skeleton=True, fanout=3, clusters=27).clusters == 27
    assert Rendezvous(NAMES, skeleton=True) != Rendezvous(NAMES)


def test_weight_zero_drains(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    on.set_weight("node-2", 0)
    assert "node-2" in on
    assert "node-2" not in named(on)
    assert "node-2" not in on.get_nodes("k", 9)
    with pytest.raises(errors.TooFewNodes, match="only 9"):
        on.get_nodes("k", 10)
    assert on.stats(samples=1000).share[2] == 0


def test_policies(make: Callable[..., Rendezvous]) -> None:
    on = make([Node(f"n{i}", dc="eu" if i % 2 else "us", zone=f"z{i % 3}") for i in range(12)])
    policy = Replicas({"eu": 2, "us": 1}, spread="zone")
    keys: list[Any] = ["user:1", b"x", *range(300)]
    rows = on.lookup_replicas(keys, policy)
    for key, row in zip(keys, rows.tolist(), strict=True):
        nodes = [on.nodes[at] for at in row]
        assert [node.name for node in nodes] == on.get_nodes(key, policy)
        assert sorted(node.dc for node in nodes) == ["eu", "eu", "us"]
        order = on.get_nodes(key, 12)
        assert [node.name for node in nodes if node.dc == "us"] == [
            name for name in order if on.node(name).dc == "us"
        ][:1]
    ints = np.arange(300)
    assert (on.lookup_replicas(ints, policy) == rows[2:]).all()
    assert set(on.handoffs("user:1", policy)) == set(on.names) - set(on.get_nodes("user:1", policy))


# --- pymemcache ---------------------------------------------------------------------------------


def test_is_pymemcache() -> None:
    """Against the package itself, if it is there; its scores are murmur3's in any case."""
    nodes = [f"10.0.0.{i}:11211" for i in range(20)]
    keys = [f"user:{i}" for i in range(200 if kernels.PURE else 3000)] + ["", "a" * 250]
    for seed in (0, 42, 2**32 - 1):
        on = Rendezvous(nodes, flavor="pymemcache", seed=seed)
        wanted = [
            max(nodes, key=lambda n: (murmur3_x86_32(f"{n}-{key}".encode(), seed), n))
            for key in keys[:200]
        ]
        assert named(on, keys[:200]).tolist() == wanted
    client = pytest.importorskip("pymemcache.client.rendezvous")
    for seed in (0, 42, 2**32 - 1):
        theirs = client.RendezvousHash(nodes, seed=seed)
        on = Rendezvous(nodes, flavor="pymemcache", seed=seed)
        assert named(on, keys).tolist() == [theirs.get_node(key) for key in keys]
        # Any text, by the low 8 bits of its code points.
        texts = ["naïve", "日本語", "\x80\xff", "🜁"]
        low = [bytes(ord(c) & 255 for c in text) for text in texts]
        assert named(on, low).tolist() == [theirs.get_node(text) for text in texts]


def test_pymemcache_refuses_what_it_has_not() -> None:
    for wrong in ({"skeleton": True}, {"hash": "xxh64"}, {"seed": 2**32}, {"seed": -1}):
        with pytest.raises(errors.SettingError):
            Rendezvous(NAMES, flavor="pymemcache", **wrong)  # type: ignore[arg-type]
    with pytest.raises(errors.WeightError, match="knows no weights"):
        Rendezvous({"a": 2}, flavor="pymemcache")
    on = Rendezvous(NAMES, flavor="pymemcache")
    with pytest.raises(errors.WeightError, match="knows no weights"):
        on.set_weight("node-1", 2)


# --- refusals -----------------------------------------------------------------------------------


def test_refused_changes_change_nothing(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    before, column = on.to_bytes(), on.lookup(KEYS).tobytes()
    refusals: list[tuple[type[Exception], type[Exception], Any]] = [
        (errors.DuplicateNode, ValueError, lambda: on.add_node("node-1")),
        (errors.NodeNotFound, KeyError, lambda: on.remove_node("node-99")),
        (errors.NodeNotFound, KeyError, lambda: on.set_weight("node-99", 1)),
        (errors.WeightError, ValueError, lambda: on.add_node("x", -1)),
        (errors.WeightError, ValueError, lambda: on.set_weight("node-1", float("nan"))),
        (errors.NodeTypeError, TypeError, lambda: on.add_node(5)),  # type: ignore[arg-type]
        (errors.NodeTypeError, TypeError, lambda: on.remove_node(5)),  # type: ignore[arg-type]
        (errors.NodeError, ValueError, lambda: on.add_node("")),
        (errors.DuplicateNode, ValueError, lambda: make(["a", "a"])),
        (errors.NodeTypeError, TypeError, lambda: make("abc")),
        (errors.SettingTypeError, TypeError, lambda: make(NAMES, seed="1")),
        (errors.TooFewNodes, ValueError, lambda: on.get_nodes("k", 11)),
        (errors.KeyTypeError, TypeError, lambda: on[1.5]),  # type: ignore[index]
        (errors.KeyTypeError, TypeError, lambda: on.get_nodes(None, 1)),  # type: ignore[arg-type]
        (errors.KeyEncodingError, ValueError, lambda: on["\ud800"]),
        (errors.KeyTypeError, TypeError, lambda: on.lookup(["a", None])),  # type: ignore[list-item]
    ]
    for ours, builtin, change in refusals:
        with pytest.raises(ours) as caught:
            change()
        assert isinstance(caught.value, builtin)
    assert on.to_bytes() == before
    assert on.lookup(KEYS).tobytes() == column


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"flavor": "ketama"}, errors.SettingError),
        ({"flavor": 1}, errors.SettingTypeError),
        ({"skeleton": 1}, errors.SettingTypeError),
        ({"clusters": 16}, errors.SettingError),
        ({"skeleton": True, "fanout": 1}, errors.SettingError),
        ({"skeleton": True, "fanout": 1025}, errors.SettingError),
        ({"skeleton": True, "fanout": 2.0}, errors.SettingTypeError),
        ({"skeleton": True, "clusters": 15}, errors.SettingError),
        ({"skeleton": True, "clusters": 0}, errors.SettingError),
        ({"skeleton": True, "fanout": 2, "clusters": 2**40}, errors.LimitError),
        ({"hash": "md5"}, errors.SettingError),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Rendezvous(NAMES, **settings)


def test_empty(make: Callable[..., Rendezvous]) -> None:
    on = make([])
    with pytest.raises(errors.EmptyRingError, match="no nodes"):
        on["k"]
    on.add_node("a", 0)
    with pytest.raises(errors.EmptyRingError, match="positive weight"):
        on.lookup(["k"])
    on.set_weight("a", 1)
    assert on["k"] == "a"
    assert on.stats(samples=10).share.tolist() == [1]
    on.remove_node("a")
    assert Rendezvous.from_bytes(on.to_bytes()) == on


# --- copies, bytes, threads ---------------------------------------------------------------------


def test_copies_go_their_own_ways(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    for twin in (on.copy(), copy.copy(on), copy.deepcopy(on), pickle.loads(pickle.dumps(on))):
        assert twin == on
        twin.add_node("x")
        assert twin != on
        assert "x" not in on
        twin.remove_node("x")
        assert (twin.lookup(KEYS) == on.lookup(KEYS)).all()


def sealed(data: bytes) -> bytes:
    body = data[:8] + struct.pack("<Q", len(data)) + data[16:-4]
    return body + struct.pack("<I", crc32c(body))


def test_damaged_bytes_are_refused(make: Callable[..., Rendezvous]) -> None:
    data = make([Node("a", 1, "eu", "z", "addr", {"k": "v"}), "b"]).to_bytes()
    for size in range(len(data)):
        with pytest.raises(errors.FormatError):
            Rendezvous.from_bytes(data[:size])
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.FormatError):
            Rendezvous.from_bytes(damaged)
        try:
            read = Rendezvous.from_bytes(sealed(bytes(damaged)))
        except errors.FormatError:
            continue
        assert Rendezvous.from_bytes(read.to_bytes()) == read
        if any(node.weight for node in read.nodes):
            read.lookup(KEYS[:50])
    with pytest.raises(errors.FormatError, match="belong to nothing"):
        Rendezvous.from_bytes(sealed(data[:-4] + b"\0" * 8))
    with pytest.raises(errors.VersionError, match="upgrade"):
        Rendezvous.from_bytes(sealed(data[:16] + b"\2" + data[17:]))
    with pytest.raises(errors.FormatTypeError):
        Rendezvous.from_bytes("RLRG")  # type: ignore[arg-type]


def test_readers_see_one_state_or_the_other(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    keys = KEYS[: 100 if kernels.PURE else 3000]
    node = on.node("node-4")
    wanted = {on.lookup(keys).tobytes()}
    on.remove_node("node-4")
    wanted.add(on.lookup(keys).tobytes())
    stop = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(on.lookup(keys).tobytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        on.add_node(node)
        on.remove_node("node-4")
    stop.set()
    reader.join()
    assert set(seen) <= wanted


def test_threads_and_out(make: Callable[..., Rendezvous]) -> None:
    on = make(NAMES)
    keys = np.arange(1_000 if kernels.PURE else 150_000, dtype=np.uint64)[
        :: 7 if on.flavor == "pymemcache" else 1
    ]
    out = np.empty(len(keys), np.uint32)
    assert on.lookup(keys, out, threads=2) is out
    assert (out == on.lookup(keys)).all()
