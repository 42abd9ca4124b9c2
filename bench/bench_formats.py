"""The formats of other systems: ketama, Redis Cluster's slots, Cassandra's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from bench import peers
from bench.cases import names, scaled, texts, user_keys
from bench.harness import Absent, AtMost, Case, Compare, Contestant
from ringleader.hashing import cassandra_token_column
from ringleader.placement import EnvoyRing, KetamaRing, NginxRing, RedisSlots, TokenRing

KEYS = scaled(1_000_000, 2_000)
CALLS = scaled(50_000, 200)
NODES = scaled(1_000, 20)


@cache
def ketama() -> KetamaRing:
    return KetamaRing(names(NODES))


@cache
def encoded(count: int) -> list[bytes]:
    return [text.encode() for text in texts(count)]


def mapped(function: Callable[[Any], Any], keys: Sequence[Any]) -> Callable[[], list[Any]]:
    """A lap that calls a function for every key, with as little around it as Python allows."""
    return lambda: list(map(function, keys))


def one_by_one(name: str, function: Callable[[Any], Any], keys: Sequence[Any]) -> Contestant:
    kind = "ours" if name == "ringleader" else "peer"
    return Contestant(name, mapped(function, keys), len(keys), kind)


def bare_calls(keys: Sequence[Any]) -> Contestant:
    return Contestant("an empty call", lambda: list(map(len, keys)), len(keys), "floor")


def peer(name: str, needs: str, make: Callable[[], Contestant]) -> Contestant | Absent:
    if reason := peers.missing(needs):
        return Absent(name, reason)
    return make()


def uhashring(keys: list[str]) -> Contestant | Absent:
    rival = peers.UhashringKetama()

    def make() -> Contestant:
        ring = rival.build(names(NODES))
        some = keys[:1000]
        assert list(map(ring.get_node, some)) == [ketama()[key] for key in some]
        return one_by_one(rival.name, ring.get_node, keys)

    return peer(rival.name, "uhashring", make)


def test_ketama_bulk(compare: Compare) -> None:
    ring, keys = ketama(), texts(KEYS)
    out = np.empty(KEYS, np.uint32)
    compare(
        Case(
            f"KetamaRing, {KEYS:,} list[str], {NODES:,} nodes",
            "key",
            [
                Contestant("ringleader", lambda: ring.lookup(keys, out), KEYS, "ours"),
                uhashring(keys[:CALLS]),
            ],
            [AtMost(90)],
        )
    )


def test_ketama_scalar(compare: Compare) -> None:
    keys = user_keys(CALLS)
    compare(
        Case(
            f"KetamaRing.get_node, str, {NODES:,} nodes",
            "call",
            [one_by_one("ringleader", ketama().get_node, keys), uhashring(keys), bare_calls(keys)],
            [AtMost(200)],
        )
    )


def redis_py(keys: list[bytes]) -> Contestant | Absent:
    def make() -> Contestant:
        from redis.crc import key_slot

        assert list(map(key_slot, keys[:1000])) == RedisSlots.slots(keys[:1000]).tolist()
        return one_by_one("redis-py key_slot", key_slot, keys)

    return peer("redis-py key_slot", "redis", make)


def test_slots_bulk(compare: Compare) -> None:
    keys = texts(KEYS)
    out = np.empty(KEYS, np.uint16)
    compare(
        Case(
            f"RedisSlots.slots, {KEYS:,} list[str]",
            "key",
            [
                Contestant("ringleader", lambda: RedisSlots.slots(keys, out=out), KEYS, "ours"),
                redis_py(encoded(KEYS)[:CALLS]),
            ],
            [AtMost(12)],
        )
    )


def test_slots_scalar(compare: Compare) -> None:
    keys = user_keys(CALLS)
    compare(
        Case(
            "RedisSlots.slot, str",
            "call",
            [
                one_by_one("ringleader", RedisSlots.slot, keys),
                redis_py([key.encode() for key in keys]),
                bare_calls(keys),
            ],
            [AtMost(60)],
        )
    )


def test_slots_lookup(compare: Compare) -> None:
    table, keys = RedisSlots(names(100)), texts(KEYS)
    out = np.empty(KEYS, np.uint32)
    run = Contestant("ringleader", lambda: table.lookup(keys, out), KEYS, "ours")
    compare(Case(f"RedisSlots.lookup, {KEYS:,} list[str], 100 nodes", "key", [run]))


def cmurmur3(keys: list[bytes]) -> Contestant | Absent:
    def make() -> Contestant:
        from cassandra.cmurmur3 import murmur3

        assert list(map(murmur3, keys[:1000])) == cassandra_token_column(keys[:1000]).tolist()
        return one_by_one("cassandra-driver cmurmur3", murmur3, keys)

    return peer("cassandra-driver cmurmur3", "cassandra-driver", make)


def test_tokens_bulk(compare: Compare) -> None:
    keys = encoded(KEYS)
    out = np.empty(KEYS, np.int64)
    compare(
        Case(
            f"TokenRing.token_column, {KEYS:,} list[bytes]",
            "key",
            [
                Contestant(
                    "ringleader", lambda: TokenRing.token_column(keys, out=out), KEYS, "ours"
                ),
                cmurmur3(keys[:CALLS]),
            ],
            [AtMost(15)],
        )
    )


def test_tokens_scalar(compare: Compare) -> None:
    keys = [key.encode() for key in user_keys(CALLS)]
    compare(
        Case(
            "TokenRing.token, bytes",
            "call",
            [one_by_one("ringleader", TokenRing.token, keys), cmurmur3(keys), bare_calls(keys)],
            [AtMost(60)],
        )
    )


@pytest.mark.parametrize("make", [KetamaRing, NginxRing, EnvoyRing, TokenRing, RedisSlots])
def test_build(compare: Compare, make: Any) -> None:
    servers = names(NODES)
    keys = texts(100)

    def answers() -> Any:
        return make(servers).lookup(keys)

    run = Contestant("ringleader", lambda: make(servers), 1, "ours", answers=answers)
    compare(Case(f"{make.__name__} of {NODES:,} nodes, built", "ring", [run]))
