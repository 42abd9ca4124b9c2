"""JumpHash: what it promises besides the contract of all locators."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ringleader import Node, Replicas, errors, limits
from ringleader.placement import JumpHash


def test_numbered_buckets() -> None:
    jump = JumpHash(5)
    assert jump.names == ("0", "1", "2", "3", "4")
    assert jump.nodes == tuple(Node(str(number)) for number in range(5))
    assert jump.is_numbered
    assert len(jump) == 5
    assert "3" in jump
    assert Node("3") in jump
    for name in ("5", "03", "-1", "+3", "", "x", "\u0663", "9" * 20, 3, None):
        assert name not in jump
    assert jump.node("4") == Node("4")
    assert jump == JumpHash(np.int64(5)) == JumpHash(["0", "1", "2", "3", "4"])
    assert jump != JumpHash(6)
    assert jump != JumpHash(5, seed=1)
    assert jump != 5


def test_more_buckets_than_memory() -> None:
    jump = JumpHash(limits.JUMP_BUCKETS_MAX)
    assert len(jump) == 2**31 - 1
    assert jump.nbytes == 0
    assert 0 <= int(jump["key"]) < 2**31 - 1
    assert jump.node("2147483646") == Node("2147483646")
    assert JumpHash.from_bytes(jump.to_bytes()) == jump.copy()
    assert pickle.loads(pickle.dumps(jump)) == jump
    assert "2147483646" in repr(jump)
    assert len(set(jump.get_nodes("key", 20))) == 20
    with pytest.raises(errors.LimitError):
        JumpHash(2**31)


def test_policies_over_numbered_buckets() -> None:
    numbered, named = JumpHash(5), JumpHash(["0", "1", "2", "3", "4"])
    policy = Replicas(3, "zone")
    for key in range(50):
        found = numbered.get_nodes(key, policy)
        assert found == named.get_nodes(key, policy)
        assert [int(name) for name in found] == numbered.lookup_replicas([key], policy)[0].tolist()


def test_positions_are_buckets_in_the_order_given() -> None:
    names = ["z", "a", "m", "b"]
    jump, numbered = JumpHash(names), JumpHash(4)
    assert jump.names == tuple(names)
    assert not jump.is_numbered
    keys = np.arange(2000)
    assert (jump.lookup(keys) == numbered.lookup(keys)).all()
    assert jump["k"] == names[int(numbered["k"])]
    assert jump.node("m") == Node("m")
    assert "b" in jump
    assert "c" not in jump
    assert jump != JumpHash(sorted(names))
    again = JumpHash.from_bytes(jump.to_bytes())
    assert again.names == tuple(names)
    assert copy.deepcopy(jump) == copy.copy(jump) == jump


def test_only_what_jumps_into_the_new_bucket_moves(sized: Callable[[int], int]) -> None:
    keys = np.arange(sized(200_000))
    jump = JumpHash(10)
    before = jump.lookup(keys)
    jump.append()
    after = jump.lookup(keys)
    moved = before != after
    assert (after[moved] == 10).all()
    assert moved.mean() == pytest.approx(1 / 11, abs=2 / len(keys) ** 0.5)
    assert jump.pop() == Node("10")
    assert (jump.lookup(keys) == before).all()


def test_even_by_theory_and_by_count(sized: Callable[[int], int]) -> None:
    jump = JumpHash(100)
    stats = jump.stats()
    assert not stats.is_exact
    assert stats.peak_to_mean == pytest.approx(1)
    assert stats.arcs == ()
    keys = np.arange(sized(500_000), dtype=np.uint64)
    counts = np.bincount(jump.lookup(keys), minlength=100)
    assert np.abs(counts / len(keys) - stats.share).max() < 5 * (0.01 / len(keys)) ** 0.5
    assert len(JumpHash().stats().share) == 0


def test_changes_at_the_end() -> None:
    jump = JumpHash(["a", "b"])
    jump.append(Node("c", dc="eu"))
    jump.add_node("d")
    assert jump.names == ("a", "b", "c", "d")
    jump.remove_node("d")
    jump.replace("a", Node("x", zone="z"))
    assert jump.nodes == (Node("x", zone="z"), Node("b"), Node("c", dc="eu"))
    jump.resize(1)
    assert jump.names == ("x",)
    assert jump.pop().name == "x"
    assert len(jump) == 0
    numbered = JumpHash(3)
    numbered.resize(7)
    numbered.append("7")
    numbered.remove_node("7")
    assert numbered == JumpHash(7)
    numbered.resize(0)
    assert numbered == JumpHash(0) == JumpHash([])


def test_refused_changes_change_nothing() -> None:
    jump = JumpHash(["a", "b", "c"])
    before = jump.to_bytes()
    refusals: list[tuple[type[Exception], Any]] = [
        (errors.NodeError, lambda: jump.remove_node("a")),
        (errors.NodeNotFound, lambda: jump.remove_node("z")),
        (errors.NodeTypeError, lambda: jump.remove_node(1)),  # type: ignore[arg-type]
        (errors.DuplicateNode, lambda: jump.append("a")),
        (errors.WeightError, lambda: jump.add_node("d", 2)),
        (errors.WeightError, lambda: jump.add_node(Node("d", 0))),
        (errors.NodeError, lambda: jump.append()),
        (errors.NodeError, lambda: JumpHash(3).append("x")),
        (errors.NodeError, lambda: JumpHash(3).replace("1", "x")),
        (errors.DuplicateNode, lambda: jump.replace("a", "b")),
        (errors.NodeNotFound, lambda: jump.replace("z", "y")),
        (errors.NodeNotFound, lambda: jump.node("z")),
        (errors.NodeNotFound, lambda: JumpHash().pop()),
        (errors.SettingError, lambda: jump.resize(4)),
        (errors.SettingError, lambda: jump.resize(-1)),
        (errors.SettingTypeError, lambda: jump.resize("2")),  # type: ignore[arg-type]
        (errors.LimitError, lambda: JumpHash(3).resize(2**31)),
    ]
    for error, call in refusals:
        with pytest.raises(error):
            call()
        assert jump.to_bytes() == before


@pytest.mark.parametrize(
    ("nodes", "error"),
    [
        (-1, errors.SettingError),
        (True, errors.SettingTypeError),
        (2.5, errors.NodeTypeError),
        ("abc", errors.NodeTypeError),
        ({"a", "b"}, errors.NodeTypeError),
        (Node("a"), errors.NodeTypeError),
        (["a", "b", "a"], errors.DuplicateNode),
        ({"a": 2.0}, errors.WeightError),
        ([Node("a", 0.5)], errors.WeightError),
        ([5], errors.NodeTypeError),
        (None, errors.NodeTypeError),
    ],
)
def test_nodes_that_cannot_be(nodes: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        JumpHash(nodes)


def test_advice_where_there_are_no_weights() -> None:
    with pytest.raises(errors.WeightError, match=r"several buckets.*Rendezvous"):
        JumpHash({"a": 2})
    with pytest.raises(errors.NodeError, match=r"bucket 0.*AnchorHash"):
        JumpHash(["a", "b"]).remove_node("a")


def test_bare_values() -> None:
    jump = JumpHash(1000)
    assert jump.bucket(-1) == jump.bucket(2**64 - 1)
    values = np.array([0, 5, 2**63, 2**64 - 1], np.uint64)
    expected = [jump.bucket(int(value)) for value in values]
    assert jump.buckets(values).tolist() == expected
    assert jump.buckets(values.astype(">u8")).tolist() == expected
    assert jump.buckets(np.repeat(values, 2)[::2]).tolist() == expected
    assert jump.buckets(values.view(np.int64)).tolist() == expected
    assert jump.buckets(values[:0]).tolist() == []
    out = np.empty(4, np.uint32)
    assert jump.buckets(values, out) is out
    bad: list[tuple[type[Exception], Any]] = [
        (errors.KeyTypeError, lambda: jump.bucket("x")),  # type: ignore[arg-type]
        (errors.KeyTypeError, lambda: jump.bucket(True)),
        (errors.KeyTypeError, lambda: jump.bucket(1.5)),  # type: ignore[arg-type]
        (errors.KeyRangeError, lambda: jump.bucket(2**64)),
        (errors.KeyRangeError, lambda: jump.bucket(-(2**63) - 1)),
        (errors.EmptyRingError, lambda: JumpHash().bucket(1)),
        (errors.EmptyRingError, lambda: JumpHash().buckets(values)),
        (errors.KeyTypeError, lambda: jump.buckets([1, 2])),  # type: ignore[arg-type]
        (errors.KeyTypeError, lambda: jump.buckets(np.zeros(3))),
        (errors.KeyTypeError, lambda: jump.buckets(np.zeros(3, np.uint32))),
        (errors.KeyTypeError, lambda: jump.buckets(np.zeros((2, 2), np.uint64))),
        (errors.OutputError, lambda: jump.buckets(values, np.empty(3, np.uint32))),
        (errors.OutputError, lambda: jump.buckets(values, np.empty(8, np.uint32)[::2])),
        (errors.OutputError, lambda: jump.buckets(values, values.view(np.uint32)[:4])),
        (errors.OutputTypeError, lambda: jump.buckets(values, np.empty(4, np.int64))),  # type: ignore[arg-type]
    ]
    for error, call in bad:
        with pytest.raises(error):
            call()


def test_repr_keeps_the_secret() -> None:
    assert "123456789" not in repr(JumpHash(2, hash="siphash13", seed=123456789))
    assert repr(JumpHash(["a"])) == "<JumpHash of 1 nodes ['a'], hash='xxh3', seed=0>"


def test_closest_first_in_the_order_of_buckets() -> None:
    jump = JumpHash([Node("z", dc="eu"), Node("a", dc="us"), Node("m", dc="eu", zone="x")])
    assert jump.local_first(["a", "z", "m"], "eu") == ["z", "m", "a"]
    assert jump.local_first(["a", "z", "m"], "eu", "x") == ["m", "z", "a"]
    with pytest.raises(errors.NodeNotFound):
        jump.local_first(["q"], "eu")
    policy = Replicas({"eu": 2, "us": 1})
    for key in ("a", "b", "c"):
        assert sorted(jump.get_nodes(key, policy)) == ["a", "m", "z"]
