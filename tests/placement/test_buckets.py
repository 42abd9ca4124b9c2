"""AnchorHash and MementoHash: the public contract, and what their papers claim."""

from __future__ import annotations

import copy
import pickle
import random
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ringleader import Node, errors, kernels, limits
from ringleader._reference.hashing import crc32c
from ringleader.placement import AnchorHash, Locator, MementoHash

NAMES = [f"node-{i}" for i in range(10)]
KEYS = np.arange(1_500 if kernels.PURE else 20_000, dtype=np.uint64)
MAKERS: dict[str, Callable[..., Any]] = {"AnchorHash": AnchorHash, "MementoHash": MementoHash}


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return MAKERS[request.param]


def named(on: Any, keys: Any = KEYS) -> np.ndarray:
    """The name of each key's node."""
    return np.array(on.names)[on.lookup(keys)]


# --- what it is ---------------------------------------------------------------------------------


def test_is_a_locator(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    assert isinstance(on, Locator)
    assert len(on) == 10
    assert list(on) == list(on.names) == sorted(NAMES)
    assert "node-3" in on
    assert "node-30" not in on
    assert on.node("node-3") == Node("node-3")
    assert on.nbytes >= 80
    assert on.hash == "xxh3"
    assert on.seed == 0
    assert "10 nodes ['node-0', 'node-1', 'node-2', ..., 'node-9']" in repr(on)
    assert "(secret)" in repr(make(NAMES, hash="siphash13", seed=12345))


def test_one_key_one_node_through_every_door(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    on.remove_node("node-4")
    keys: list[Any] = ["user:1", b"user:2", bytearray(b"user:3"), memoryview(b"x"), 7, -7, "é"]
    for key in keys:
        name = on[key]
        assert name == on.get_node(key) == on.get_nodes(key, 3)[0]
        assert on.names[on.lookup([key])[0]] == name
        assert on.get_nodes(key, 9) == [on.names[at] for at in on.lookup_replicas([key], 9)[0]]
        assert sorted(on.get_nodes(key, 9)) == list(on.names)


def test_order_of_insertion_at_first_does_not_matter(make: Callable[..., Any]) -> None:
    assert make(NAMES) == make(NAMES[::-1]) == make(dict.fromkeys(NAMES, 1))
    assert make(NAMES) != make(NAMES, seed=1)
    assert make(NAMES) != make(NAMES, hash="xxh64")
    assert make(NAMES) != make(NAMES[1:])
    assert make(NAMES) != "x"
    assert AnchorHash(NAMES) != MementoHash(NAMES)
    with pytest.raises(TypeError, match="unhashable"):
        hash(make(NAMES))


def test_hashes_and_seeds(make: Callable[..., Any]) -> None:
    settings: list[dict[str, Any]] = [
        {}, {"seed": 1}, {"hash": "xxh64"}, {"hash": "murmur3"}, {"hash": "siphash13"},
    ]  # fmt: skip
    columns = {make(NAMES, **kw).lookup(KEYS[:1000]).tobytes() for kw in settings}
    assert len(columns) == len(settings)


# --- what the papers claim ----------------------------------------------------------------------


def chi_square(on: Any, keys: Any) -> float:
    return float(on.stats(samples=len(keys)).chi_square)


def test_even_whatever_left(make: Callable[..., Any], sized: Callable[[int], int]) -> None:
    on = make(f"node-{i}" for i in range(100))
    keys = np.arange(sized(200_000))
    assert chi_square(on, keys) < 160  # 99 expected; 99.99% below 161
    for i in random.Random(1).sample(range(100), 60):
        on.remove_node(f"node-{i}")
    assert chi_square(on, keys) < 80  # 39; 99.99% below 81
    for i in range(30):
        on.add_node(f"new-{i}")
    assert chi_square(on, keys) < 120  # 69; 99.99% below 121
    stats = on.stats(samples=1000)
    assert stats.samples == 1000
    assert stats.share.sum() == pytest.approx(1)
    assert stats.error == pytest.approx(np.sqrt(1 / 70 * 69 / 70 / 1000))
    assert 0 < stats.least_to_mean < 1 < stats.peak_to_mean
    assert "peak_to_mean" in repr(stats)


def test_only_keys_of_the_node_that_leaves_move(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    rng = random.Random(2)
    for _ in range(9):
        before = named(on)
        name = rng.choice(on.names)
        on.remove_node(name)
        after = named(on)
        assert ((before != after) == (before == name)).all()
        spread = np.bincount(on.lookup(KEYS)[before == name], minlength=len(on))
        assert (spread > 0).all()  # to all others


def test_only_keys_to_the_node_that_comes_move(make: Callable[..., Any]) -> None:
    on = make(NAMES[:4], **({"capacity": 12} if make is AnchorHash else {}))
    on.remove_node("node-1")
    for name in ("x", "y", "a", "z"):
        before = named(on)
        on.add_node(name)
        after = named(on)
        assert (after[before != after] == name).all()
        assert (before != after).mean() == pytest.approx(1 / len(on), abs=3 / len(KEYS) ** 0.5)


def test_undone_in_reverse_leaves_no_trace(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    states = [on.to_bytes()]
    gone = random.Random(3).sample(NAMES, 10)
    for name in gone:
        on.remove_node(name)
        states.append(on.to_bytes())
    for name in gone[::-1]:
        assert on.to_bytes() == states.pop()
        on.add_node(name)
    assert on.to_bytes() == states.pop()
    assert on == make(NAMES)


def test_the_order_of_removal_matters_and_is_remembered(make: Callable[..., Any]) -> None:
    one, two = make(NAMES), make(NAMES)
    for name in ("node-2", "node-5"):
        one.remove_node(name)
    for name in ("node-5", "node-2"):
        two.remove_node(name)
    assert one.nodes == two.nodes
    assert one != two
    assert (one.lookup(KEYS) != two.lookup(KEYS)).any()
    again = type(one).from_bytes(one.to_bytes())
    assert again.removed[-2:] == one.removed[-2:] == (2, 5)
    assert (again.lookup(KEYS) == one.lookup(KEYS)).all()
    again.add_node("new")
    assert again.bucket("new") == 5


def test_a_new_node_takes_the_place_of_the_last_that_left(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    before = named(on)
    on.remove_node("node-3")
    on.add_node("other")
    after = named(on)
    assert (after == np.where(before == "node-3", "other", before)).all()


def test_memento_is_jump_hash_until_somebody_leaves() -> None:
    from ringleader import hashing

    on = MementoHash(["a", "b", "c"])
    for name in ("d", "e"):
        on.add_node(name)
    on.remove_node("e")
    hashes = hashing.xxh3_64_column(KEYS[:500])
    wanted = [kernels.jump.bucket(int(value), 4) for value in hashes]
    assert on.lookup(KEYS[:500]).tolist() == wanted
    assert on.removed == ()
    assert on.bucket_count == 4


# --- weights ------------------------------------------------------------------------------------


def test_weight_zero_drains(make: Callable[..., Any]) -> None:
    on = make({"a": 1, "b": 0, "c": 1})
    assert on.bucket("b") is None
    assert set(on.lookup(KEYS)) == {0, 2}
    with pytest.raises(errors.TooFewNodes, match="only 2"):
        on.get_nodes("k", 3)
    before = named(on)
    on.set_weight("b", 1)
    after = named(on)
    assert (after[before != after] == "b").all()
    on.set_weight("b", 1.0)
    on.set_weight("b", 0)
    assert (named(on) == before).all()
    on.remove_node("b")
    assert (named(on) == before).all()
    on.set_weight("a", 0)
    assert set(named(on)) == {"c"}
    assert on.stats(samples=100).share.tolist() == [0, 1]


def test_other_weights_are_refused_with_advice(make: Callable[..., Any]) -> None:
    with pytest.raises(errors.WeightError, match="several names"):
        make({"a": 2})
    on = make(NAMES)
    before = on.to_bytes()
    for change in (lambda: on.add_node("x", 0.5), lambda: on.set_weight("node-1", 3)):
        with pytest.raises(errors.WeightError, match="Rendezvous"):
            change()
    assert on.to_bytes() == before


# --- refusals -----------------------------------------------------------------------------------


def test_refused_changes_change_nothing(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    on.remove_node("node-7")
    before, column = on.to_bytes(), on.lookup(KEYS).tobytes()
    refusals: list[tuple[type[Exception], type[Exception], Any]] = [
        (errors.DuplicateNode, ValueError, lambda: on.add_node("node-1")),
        (errors.NodeNotFound, KeyError, lambda: on.remove_node("node-7")),
        (errors.NodeNotFound, KeyError, lambda: on.set_weight("node-7", 1)),
        (errors.NodeNotFound, KeyError, lambda: on.bucket("node-7")),
        (errors.NodeTypeError, TypeError, lambda: on.add_node(5)),
        (errors.NodeTypeError, TypeError, lambda: on.remove_node(5)),
        (errors.NodeError, ValueError, lambda: on.add_node("")),
        (errors.SettingError, ValueError, lambda: make(NAMES, hash="md5")),
        (errors.SettingError, ValueError, lambda: make(NAMES, seed=-1)),
        (errors.SettingTypeError, TypeError, lambda: make(NAMES, seed="1")),
        (errors.DuplicateNode, ValueError, lambda: make(["a", "a"])),
        (errors.NodeTypeError, TypeError, lambda: make("abc")),
        (errors.SettingError, ValueError, lambda: on.stats(samples=0)),
        (errors.SettingTypeError, TypeError, lambda: on.stats(samples=1.5)),
        (errors.TooFewNodes, ValueError, lambda: on.get_nodes("k", 10)),
        (errors.TooFewNodes, ValueError, lambda: on.lookup_replicas(["k"], 0)),
        (errors.KeyTypeError, TypeError, lambda: on[1.5]),
    ]
    for ours, builtin, change in refusals:
        with pytest.raises(ours) as caught:
            change()
        assert isinstance(caught.value, builtin)
    assert on.to_bytes() == before
    assert on.lookup(KEYS).tobytes() == column


def test_empty(make: Callable[..., Any]) -> None:
    on = make()
    with pytest.raises(errors.EmptyRingError, match="no nodes"):
        on["k"]
    on.add_node("a")
    assert on["k"] == "a"
    on.remove_node("a")
    with pytest.raises(errors.EmptyRingError):
        on.lookup(["k"])
    assert type(on).from_bytes(on.to_bytes()) == on
    assert on.stats().samples == 0
    with pytest.raises(errors.EmptyRingError, match="positive weight"):
        make({"a": 0})["k"]


def test_capacity() -> None:
    on = AnchorHash(NAMES, capacity=11)
    assert on.capacity == on.bucket_count == 11
    on.add_node("x")
    before = on.to_bytes()
    for change in (lambda: on.add_node("y"),):
        with pytest.raises(errors.LimitError, match="capacity is fixed"):
            change()
    assert on.to_bytes() == before
    on.add_node("drained", 0)
    with pytest.raises(errors.LimitError, match="capacity is fixed"):
        on.set_weight("drained", 1)
    on.remove_node("x")
    on.set_weight("drained", 1)
    assert AnchorHash(NAMES).capacity == 20
    assert AnchorHash().capacity == 16
    with pytest.raises(errors.LimitError, match="do not fit"):
        AnchorHash(NAMES, capacity=9)
    for wrong in (0, -1, limits.BUCKETS_MAX + 1):
        with pytest.raises(errors.SettingError, match="capacity"):
            AnchorHash(NAMES, capacity=wrong)
    with pytest.raises(errors.SettingTypeError, match="capacity"):
        AnchorHash(NAMES, capacity=12.0)  # type: ignore[arg-type]


# --- copies, bytes, threads ---------------------------------------------------------------------


def test_copies_go_their_own_ways(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    on.remove_node("node-2")
    for twin in (on.copy(), copy.copy(on), copy.deepcopy(on), pickle.loads(pickle.dumps(on))):
        assert twin == on
        assert type(twin) is type(on)
        twin.add_node("x")
        assert twin != on
        assert "x" not in on


def test_bytes_keep_everything(make: Callable[..., Any]) -> None:
    on = make([Node("a", 1, "eu", "z", "addr", {"k": "v"}), "b", "c", Node("d", 0)], seed=5)
    on.remove_node("a")
    on.add_node("e")
    on.remove_node("b")
    again = type(on).from_bytes(bytearray(on.to_bytes()))
    assert again == on
    assert again.nodes == on.nodes
    assert again.to_bytes() == on.to_bytes()
    assert (again.lookup(KEYS) == on.lookup(KEYS)).all()


def sealed(data: bytes) -> bytes:
    """`data`, whose checksum and length are made right."""
    body = data[:8] + struct.pack("<Q", len(data)) + data[16:-4]
    return body + struct.pack("<I", crc32c(body))


def test_damaged_bytes_are_refused(make: Callable[..., Any]) -> None:
    on = make(["a", "b", "c"])
    on.remove_node("b")
    data = on.to_bytes()
    for size in range(len(data)):
        with pytest.raises(errors.FormatError):
            type(on).from_bytes(data[:size])
        with pytest.raises(errors.FormatError):
            type(on).from_bytes(sealed(data[: max(size, 20)]) if size < len(data) - 1 else b"")
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.FormatError):
            type(on).from_bytes(damaged)
        try:
            read = type(on).from_bytes(sealed(bytes(damaged)))
        except errors.FormatError:
            continue
        assert type(on).from_bytes(read.to_bytes()) == read  # what is read is sound
        read.lookup(KEYS[:50])
    with pytest.raises(errors.FormatError, match="belong to nothing"):
        type(on).from_bytes(sealed(data[:-4] + b"\0" * 8))
    with pytest.raises(errors.VersionError, match="upgrade"):
        type(on).from_bytes(sealed(data[:16] + b"\2" + data[17:]))
    with pytest.raises(errors.FormatTypeError):
        type(on).from_bytes("RLRG")


def test_bytes_of_another_kind_are_refused() -> None:
    with pytest.raises(errors.FormatError, match="it is a saved MementoHash"):
        AnchorHash.from_bytes(MementoHash(NAMES).to_bytes())
    with pytest.raises(errors.FormatError, match="it is a saved AnchorHash"):
        MementoHash.from_bytes(AnchorHash(NAMES).to_bytes())


def test_readers_see_one_state_or_the_other(make: Callable[..., Any]) -> None:
    on = make(NAMES)
    wanted = {on.lookup(KEYS).tobytes()}
    on.remove_node("node-4")
    wanted.add(on.lookup(KEYS).tobytes())
    stop = threading.Event()
    seen: list[bytes] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(on.lookup(KEYS).tobytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        on.add_node("node-4")
        on.remove_node("node-4")
    stop.set()
    reader.join()
    assert set(seen) <= wanted


# --- any series of changes ----------------------------------------------------------------------


class Changes(RuleBasedStateMachine):
    """Minimal movement, and bytes that keep the state, along any series of changes."""

    make: Callable[..., Any]

    @initialize()
    def begin(self) -> None:
        self.on = self.make(["a", "b", "c"], **self.extra)
        self.before = named(self.on, KEYS[:400])

    extra: dict[str, Any] = {}  # noqa: RUF012

    @rule(name=st.sampled_from("abcdefgh"), weight=st.sampled_from([0, 1]))
    def change(self, name: str, weight: int) -> None:
        if name not in self.on:
            self.on.add_node(name, weight)
        elif weight:
            self.on.remove_node(name)
        else:
            self.on.set_weight(name, 1 - self.on.node(name).weight)
        self.changed = name

    changed = ""

    @invariant()
    def only_its_keys_move(self) -> None:
        on = self.on
        if not any(node.weight for node in on.nodes):
            self.before = np.array([])
            return
        after = named(on, KEYS[:400])
        if len(self.before):
            moved = after != self.before
            assert all(
                self.changed in pair for pair in zip(self.before[moved], after[moved], strict=True)
            )
        self.before = after
        assert type(on).from_bytes(on.to_bytes()) == on
        live = sum(node.weight != 0 for node in on.nodes)
        assert live == on.bucket_count - len(on.removed)


class AnchorChanges(Changes):
    make = AnchorHash
    extra = {"capacity": 8}  # noqa: RUF012


class MementoChanges(Changes):
    make = MementoHash


TestAnchorChanges = AnchorChanges.TestCase
TestAnchorChanges.settings = settings(
    max_examples=8 if kernels.PURE else 40, stateful_step_count=25
)
TestMementoChanges = MementoChanges.TestCase
TestMementoChanges.settings = settings(
    max_examples=8 if kernels.PURE else 40, stateful_step_count=25
)
