"""What every locator owes its users, asked of all of them in the same words."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader import HashRing, Node, Replicas, errors, placement
from ringleader.placement import Locator

NAMES = [f"10.0.0.{number}:11211" for number in range(1, 10)]
NODES = [
    Node(name, dc=("eu", "us", "ap")[at % 3], zone=f"z{at % 2}") for at, name in enumerate(NAMES)
]


@dataclass(frozen=True)
class Kind:
    """How to make one kind of locator.

    Attributes:
        make: from names or `Node`s, in the order of the names.
        changes: whether nodes come and go by name, in any order.
        is_empty_possible: whether it may have no nodes at all.
    """

    name: str
    make: Callable[[Any], Any]
    changes: bool = True
    is_empty_possible: bool = True


KINDS = [
    Kind("HashRing", HashRing),
    Kind("HashRing balanced", partial(HashRing, placement="balanced")),
    Kind("KetamaRing", placement.KetamaRing),
    Kind("KetamaRing libmemcached", partial(placement.KetamaRing, flavor="libmemcached")),
    Kind("NginxRing", placement.NginxRing),
    Kind("EnvoyRing", placement.EnvoyRing),
    Kind("TokenRing", placement.TokenRing),
    Kind("RedisSlots", placement.RedisSlots),
    Kind("Maglev", placement.Maglev),
    Kind("JumpHash", placement.JumpHash, changes=False),
    Kind("Rendezvous", placement.Rendezvous),
    Kind("Rendezvous skeleton", partial(placement.Rendezvous, skeleton=True)),
    Kind("Rendezvous pymemcache", partial(placement.Rendezvous, flavor="pymemcache")),
    Kind("AnchorHash", placement.AnchorHash),
    Kind("MementoHash", placement.MementoHash),
    Kind("MultiProbe", placement.MultiProbe),
    Kind("Partitions", lambda nodes: placement.Partitions(10, 9, nodes), changes=False),
]
KEYS: list[Any] = ["user:1", b"user:2", bytearray(b"user:3"), memoryview(b"x"), "é", "", b"\xff\0"]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def locator(kind: Kind) -> Any:
    return kind.make(NODES)


def keys(count: int = 2_000) -> Any:
    return np.random.default_rng(5).integers(0, 2**64, count, dtype=np.uint64)


# --- lookups ------------------------------------------------------------------------------------


def test_is_a_locator(locator: Any) -> None:
    assert isinstance(locator, Locator)
    assert locator.names == tuple(NAMES)
    assert locator.nodes == tuple(NODES)
    assert len(locator) == 9
    assert list(locator) == NAMES
    assert NAMES[3] in locator
    assert NODES[3] in locator
    assert "10.0.0.77:11211" not in locator
    assert 5 not in locator
    assert locator.node(NAMES[4]) == NODES[4]
    assert type(locator).__name__ in repr(locator)
    assert locator.nbytes >= 0


def test_one_key_one_node_through_every_door(locator: Any) -> None:
    for key in KEYS:
        name = locator[key]
        assert name in NAMES
        assert locator.get_node(key) == name
        assert locator.get_nodes(key, 1) == [name]
        assert locator.get_nodes(key, 3)[0] == name
        assert locator.names[locator.lookup([key])[0]] == name
        row = locator.lookup_replicas([key], 3)[0]
        assert [locator.names[at] for at in row] == locator.get_nodes(key, 3)
    assert locator["user:1"] == locator[b"user:1"] == locator[memoryview(b"user:1")]


def test_integers_are_one_key_whatever_their_width(locator: Any) -> None:
    assert locator[7] == locator[np.uint8(7)] == locator[(7).to_bytes(8, "little")]
    small = np.arange(200, dtype=np.uint8)
    owners = locator.lookup(small)
    assert owners.tolist() == locator.lookup(small.astype(np.int64)).tolist()
    assert owners.tolist() == [locator.names.index(locator[int(key)]) for key in small]


def test_columns_of_every_kind_give_the_same(locator: Any) -> None:
    texts = [f"user:{number}" for number in range(300)]
    owners = locator.lookup(texts).tolist()
    assert locator.lookup(iter(texts)).tolist() == owners
    assert locator.lookup([text.encode() for text in texts]).tolist() == owners
    assert locator.lookup(np.array(texts)).tolist() == owners
    assert locator.lookup(np.array(texts, "S")).tolist() == owners
    assert locator.lookup(np.array(texts, object)).tolist() == owners
    assert locator.lookup(tuple(texts), threads=2).tolist() == owners
    out = np.empty(300, np.uint32)
    assert locator.lookup(texts, out) is out
    assert out.tolist() == owners
    assert locator.lookup([]).shape == (0,)
    assert locator.lookup_replicas([], 2).shape == (0, 2)


def test_every_node_has_keys(locator: Any) -> None:
    counts = np.bincount(locator.lookup(keys(20_000)), minlength=9)
    assert counts.min() > 0
    assert counts.sum() == 20_000


def test_replicas_are_distinct_and_begin_with_the_owner(locator: Any) -> None:
    some = keys(500)
    owners = locator.lookup(some)
    for wanted in (1, 2, 5, 9):
        rows = locator.lookup_replicas(some, wanted)
        assert rows.shape == (500, wanted)
        assert rows.dtype == np.uint32
        assert (rows[:, 0] == owners).all()
        assert all(len(set(row)) == wanted for row in rows.tolist())
        assert rows.max() < 9
    shorter = locator.lookup_replicas(some, 3)
    assert (locator.lookup_replicas(some, 5)[:, :3] == shorter).all()
    out = np.empty((500, 3), np.uint32)
    assert locator.lookup_replicas(some, 3, out) is out
    assert (out == shorter).all()


@pytest.mark.parametrize("wanted", [0, -1, 10, 10**30])
def test_numbers_of_replicas_that_cannot_be(locator: Any, wanted: int) -> None:
    with pytest.raises(errors.TooFewNodes):
        locator.get_nodes("k", wanted)
    with pytest.raises(errors.TooFewNodes):
        locator.lookup_replicas(["k"], wanted)


@pytest.mark.parametrize("wanted", [True, 1.0, "2", None])
def test_replicas_that_are_no_number(locator: Any, wanted: Any) -> None:
    with pytest.raises((errors.SettingTypeError, errors.PolicyTypeError)):
        locator.get_nodes("k", wanted)
    with pytest.raises((errors.SettingTypeError, errors.PolicyTypeError)):
        locator.lookup_replicas(["k"], wanted)


@pytest.mark.parametrize("key", [None, 1.5, True, ["a"]])
def test_what_is_no_key(locator: Any, key: Any) -> None:
    with pytest.raises(errors.KeyTypeError):
        locator[key]
    with pytest.raises(errors.KeyTypeError, match="position 1"):
        locator.lookup(["a", key])
    with pytest.raises(errors.KeyTypeError):
        locator.get_nodes(key, 2)


def test_loads_are_bounded(locator: Any) -> None:
    some = keys(900)
    assert np.bincount(locator.assign_bounded(some, 1.1), minlength=9).max() <= 110
    assert (locator.assign_bounded(some) == placement.assign_bounded(locator, some)).all()
    with pytest.raises(errors.SettingTypeError, match="a locator is wanted"):
        placement.assign_bounded(5, some)  # type: ignore[arg-type]


def test_no_secret_is_shown() -> None:
    secret = 0x1234567890ABCDEF
    ring = HashRing(["a"], hash="siphash13", seed=secret)
    for shown in (ring, ring.space, ring.ranges(), ring.diff(ring)):
        assert str(secret) not in repr(shown)


def test_policies(locator: Any) -> None:
    policy = Replicas({"eu": 2, "us": 1}, spread="zone")
    some = keys(200)
    rows = locator.lookup_replicas(some, policy)
    assert rows.shape == (200, 3)
    for row, key in zip(rows.tolist(), some.tolist(), strict=True):
        nodes = [locator.nodes[at] for at in row]
        assert [node.name for node in nodes] == locator.get_nodes(key, policy)
        assert sorted(node.dc for node in nodes) == ["eu", "eu", "us"]
        assert len({(node.dc, node.zone) for node in nodes if node.dc == "eu"}) == 2
    with pytest.raises(errors.PolicyError, match="'mars'"):
        locator.get_nodes("k", Replicas({"mars": 1}))
    with pytest.raises(errors.PolicyError, match="'eu'"):
        locator.lookup_replicas(some, Replicas({"eu": 4}))


def test_stats_and_ranges_are_asked_in_one_way(locator: Any) -> None:
    stats = locator.stats()
    assert stats.names == locator.names
    assert stats.is_exact in (True, False)
    assert stats.share.sum() == pytest.approx(1)
    assert stats.load.max() == stats.peak_to_mean >= 1 - 1e-9
    if not hasattr(locator, "ranges"):
        with pytest.raises(errors.SpaceError, match="moved"):
            locator.diff(locator.copy())
        return
    ranges = locator.ranges(n=1)
    assert len(repr(ranges)) < 160
    assert ranges.owners.shape[1] == 1
    assert (ranges.ends == locator.ranges().ends).all()
    for wrong in (None, "2", 1.5):
        with pytest.raises(errors.SettingTypeError):
            locator.ranges(wrong)
    if isinstance(locator, (placement.Maglev, placement.RedisSlots)):
        for refused in (2, Replicas(2)):
            with pytest.raises(errors.SpaceError, match=r"not their replicas.*moved"):
                locator.ranges(refused)
            with pytest.raises(errors.SpaceError, match=r"not their replicas.*moved"):
                locator.diff(locator.copy(), refused)
    else:
        assert locator.ranges(2).owners.shape[1] == 2
        assert locator.diff(locator.copy(), Replicas(2)).share == 0


# --- saved, copied ------------------------------------------------------------------------------


def test_saved_and_read_back(locator: Any) -> None:
    data = locator.to_bytes()
    again = type(locator).from_bytes(data)
    assert type(again) is type(locator)
    assert again == locator
    assert again.to_bytes() == data
    assert again.nodes == locator.nodes
    some = keys()
    assert (again.lookup(some) == locator.lookup(some)).all()
    assert (again.lookup_replicas(some, 4) == locator.lookup_replicas(some, 4)).all()
    assert type(locator).from_bytes(memoryview(data)) == locator
    assert pickle.loads(pickle.dumps(locator)) == locator


def test_saved_bytes_of_another_kind(kind: Kind, locator: Any) -> None:
    for other in KINDS:
        made = other.make(NODES)
        if type(made) is not type(locator):
            with pytest.raises(errors.FormatError, match="saved"):
                type(locator).from_bytes(made.to_bytes())
    with pytest.raises(errors.FormatTypeError):
        type(locator).from_bytes("text")
    with pytest.raises(errors.FormatError):
        type(locator).from_bytes(b"")


def test_cut_bytes_are_refused(locator: Any) -> None:
    data = locator.to_bytes()
    step = max(1, len(data) // 200)
    for size in range(0, len(data), step):
        with pytest.raises(errors.FormatError):
            type(locator).from_bytes(data[:size])
    with pytest.raises(errors.FormatError):
        type(locator).from_bytes(data + b"\0")


def resealed(data: bytes) -> bytes:
    from ringleader.hashing import crc32c

    return data[:-4] + crc32c(data[:-4]).to_bytes(4, "little")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=60)
@given(data=st.data())
def test_altered_bytes_are_refused_or_read(kind: Kind, data: st.DataObject) -> None:
    """Also when the checksum was made to fit: an error of ours, or a locator that works."""
    locator = kind.make(NODES)
    saved = bytearray(locator.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(16, min(len(saved), 400) - 5))
        saved[at] = data.draw(st.integers(0, 255))
    try:
        again = type(locator).from_bytes(resealed(bytes(saved)))
    except (errors.FormatError, errors.LimitError):
        return
    if len(again):
        with suppress(errors.EmptyRingError):
            assert again["k"] in again.names


def test_a_copy_goes_its_own_way(kind: Kind, locator: Any) -> None:
    twin = locator.copy()
    assert twin == locator
    assert type(twin) is type(locator)
    if kind.changes:
        twin.add_node("10.0.0.99:11211")
        assert twin != locator
        assert len(locator) == 9


# --- changes ------------------------------------------------------------------------------------


def test_nodes_come_and_go(kind: Kind, locator: Any) -> None:
    if not kind.changes:
        pytest.skip("nodes come and go otherwise")
    some = keys()
    before = locator.lookup(some)
    locator.add_node(Node("10.0.0.99:11211", dc="eu"))
    assert len(locator) == 10
    assert "10.0.0.99:11211" in locator
    assert "10.0.0.99:11211" in {locator[int(key)] for key in some}
    with pytest.raises(errors.DuplicateNode):
        locator.add_node("10.0.0.99:11211")
    locator.remove_node("10.0.0.99:11211")
    assert len(locator) == 9
    assert locator.names == tuple(NAMES)
    with pytest.raises(errors.NodeNotFound):
        locator.remove_node("10.0.0.99:11211")
    with pytest.raises(errors.NodeTypeError):
        locator.remove_node(5)
    after = locator.lookup(some)
    assert (before == after).mean() > 0.9


COMING = [Node("10.0.0.80:11211", dc="eu"), Node("10.0.0.70:11211"), Node("10.0.0.05:11211")]


def test_nodes_come_and_go_together(kind: Kind, locator: Any) -> None:
    if not kind.changes:
        pytest.skip("nodes come and go otherwise")
    locator.add_nodes(COMING)
    assert len(locator) == 12
    owned = {locator[int(key)] for key in keys(20_000)}
    assert {node.name for node in COMING} < owned
    locator.remove_nodes(node.name for node in COMING)
    assert locator.names == tuple(NAMES)
    before = locator.copy()
    for wrong, error in (
        (["x:1", "x:1"], errors.DuplicateNode),
        (["x:1", NAMES[0]], errors.DuplicateNode),
        (["x:1", 5], errors.NodeTypeError),
        ("x:1", errors.NodeTypeError),
    ):
        with pytest.raises(error):
            locator.add_nodes(wrong)
    for wrong, error in (
        ([NAMES[0], "x:1"], errors.NodeNotFound),
        ([NAMES[0], 5], errors.NodeTypeError),
        (NAMES[0], errors.NodeTypeError),
        (5, errors.NodeTypeError),
    ):
        with pytest.raises(error):
            locator.remove_nodes(wrong)
    assert locator == before
    locator.add_nodes([])
    locator.remove_nodes([])
    assert locator == before
    locator.remove_nodes(NAMES)
    assert len(locator) == 0
    locator.add_nodes(NODES)
    assert locator.nodes == tuple(NODES)
    assert locator["k"] in NAMES


HISTORIES = {"EnvoyRing", "KetamaRing", "NginxRing", "RedisSlots"}  # all at once, or another list


def test_together_is_as_one_by_one(kind: Kind, locator: Any) -> None:
    if not kind.changes or type(locator).__name__ in HISTORIES:
        pytest.skip("together is not one by one")
    single = locator.copy()
    locator.add_nodes(COMING)
    for node in sorted(COMING, key=lambda node: node.name):
        single.add_node(node)
    assert locator == single
    assert (locator.lookup(keys()) == single.lookup(keys())).all()
    going = [NAMES[6], NAMES[2], NAMES[3]]
    locator.remove_nodes(going)
    for name in going:
        single.remove_node(name)
    assert locator == single
    assert locator.to_bytes() == single.to_bytes()
    assert (locator.lookup(keys()) == single.lookup(keys())).all()


def test_buckets_of_jump_hash_come_and_go_at_the_end() -> None:
    jump = placement.JumpHash(["a", "b"])
    jump.add_nodes(["z", "c"])
    assert jump.names == ("a", "b", "z", "c")
    with pytest.raises(errors.NodeError, match="bucket 1"):
        jump.remove_nodes(["b", "c"])
    with pytest.raises(errors.DuplicateNode):
        jump.add_nodes(["d", "a"])
    jump.remove_nodes(["z", "c"])
    assert jump == placement.JumpHash(["a", "b"])
    jump.set_weight("a", 1)
    with pytest.raises(errors.WeightError):
        jump.set_weight("a", 0)
    with pytest.raises(errors.NodeNotFound):
        jump.set_weight("x", 1)
    numbered = placement.JumpHash(2)
    numbered.add_nodes(["2", "3"])
    assert numbered == placement.JumpHash(4)
    with pytest.raises(errors.NodeError, match="next is '4'"):
        numbered.add_nodes(["5"])
    assert numbered.is_numbered


def test_partitions_stage_nodes_together() -> None:
    table = placement.Partitions(6, 2, ["a", "b", "c"], min_move_seconds=0)
    table.add_nodes(["d", "e"])
    table.remove_nodes(["a", "b"])
    with pytest.raises(errors.NodeNotFound):
        table.remove_nodes(["c", "x"])
    with pytest.raises(errors.DuplicateNode):
        table.add_nodes(["f", "c"])
    assert [node.name for node in table.staged_nodes] == ["c", "d", "e"]
    table.rebalance(now=1)
    assert table.names == ("c", "d", "e")


def test_a_node_without_keys_any_more(kind: Kind, locator: Any) -> None:
    if not kind.changes:
        pytest.skip("nodes come and go otherwise")
    locator.remove_node(NAMES[4])
    assert NAMES[4] not in locator
    assert NAMES[4] not in {locator[int(key)] for key in keys()}


def test_no_nodes(kind: Kind) -> None:
    if not kind.is_empty_possible:
        with pytest.raises(errors.RingleaderError):
            kind.make([])
        return
    empty = kind.make([])
    assert len(empty) == 0
    with pytest.raises(errors.EmptyRingError):
        empty["k"]
    with pytest.raises(errors.EmptyRingError):
        empty.lookup(["k"])
    with pytest.raises(errors.EmptyRingError):
        empty.get_nodes("k", 1)


def test_readers_see_whole_states(kind: Kind, locator: Any) -> None:
    """While another thread adds and removes, every row has the nodes of one state."""
    if not kind.changes:
        pytest.skip("nodes come and go otherwise")
    some = keys(200)
    wrong: list[str] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                if locator.lookup(some).max() >= 10:
                    wrong.append("a position that never was")
                if locator["k"] not in {*NAMES, "zz"}:
                    wrong.append("a name that never was")
                if len(set(locator.get_nodes("k", 5))) != 5:
                    wrong.append("a node twice")
            except Exception as error:
                wrong.append(repr(error))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(15):
        locator.add_node("zz")
        locator.remove_node("zz")
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_all_public_names_are_there() -> None:
    for name in placement.__all__:
        assert getattr(placement, name) is not None
    assert set(placement.__all__) <= set(dir(placement))
    with pytest.raises(AttributeError):
        placement.NoSuchThing  # noqa: B018
