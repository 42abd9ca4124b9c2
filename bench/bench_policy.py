"""Replica policies across datacenters: bulk, one key at a time, and the table made beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import peers
from bench.cases import SAMPLE_KEYS, VNODES, names, scaled, user_keys, words
from bench.harness import Absent, AtMost, Case, Compare, Contestant
from ringleader import HashRing, Node, Replicas
from ringleader.placement import topology

NODES = scaled(1_000, 30)
KEYS = scaled(10_000_000, 2_000)
CALLS = scaled(20_000, 100)
DCS = ("eu", "us", "ap")
POLICY = Replicas(dict.fromkeys(DCS, 2), spread="zone")


def fleet() -> HashRing:
    """Three datacenters of three zones."""
    return HashRing(
        (Node(name, dc=DCS[i % 3], zone="abc"[i // 3 % 3]) for i, name in enumerate(names(NODES))),
        vnodes=VNODES,
    )


class Driver:
    """cassandra-driver's NetworkTopologyStrategy and TokenMap, on our tokens."""

    NAME = "cassandra-driver"

    def __init__(self, on: HashRing) -> None:
        from cassandra import metadata

        class Host:
            def __init__(self, node: Node) -> None:
                self.name, self.datacenter, self.rack = node.name, node.dc, node.zone

        hosts = [Host(node) for node in on.nodes]
        self.tokens = [metadata.Murmur3Token(int(token) - 2**63) for token in on.tokens]
        self.owners = dict(zip(self.tokens, (hosts[i] for i in on.token_owners), strict=True))
        self.strategy = metadata.NetworkTopologyStrategy(
            {dc: str(count) for dc, count in (POLICY.by_dc or {}).items()}
        )
        self.map = metadata.TokenMap(metadata.Murmur3Token, self.owners, self.tokens, None)
        self.map.tokens_to_hosts_by_ks["bench"] = self.build()
        self.token_of = metadata.Murmur3Token.from_key

    def build(self) -> Any:
        return self.strategy.make_token_replica_map(self.owners, self.tokens)

    def get(self, key: bytes) -> list[Any]:
        found: list[Any] = self.map.get_replicas("bench", self.token_of(key))
        return found


def driver(on: HashRing) -> Driver | Absent:
    reason = peers.missing("cassandra-driver")
    return Absent(Driver.NAME, reason) if reason else Driver(on)


def verified(on: HashRing, keys: Any, rows: Any) -> None:
    """By the definition, on the order in which a walk meets all nodes."""
    for key, row in zip(keys[:SAMPLE_KEYS], rows, strict=False):
        order = [on.node(name) for name in on.get_nodes(key, len(on))]
        assert [on.nodes[at] for at in row] == POLICY.choose(order)


def loop(get: Callable[[Any], Any], keys: list[Any]) -> Callable[[], Any]:
    def run() -> Any:
        for key in keys:
            answer = get(key)
        return answer

    return run


def test_lookup_replicas(compare: Compare) -> None:
    keys, on = words(KEYS), fleet()
    out = np.empty((KEYS, POLICY.total), np.uint32)
    on.lookup_replicas(keys, POLICY, out)
    verified(on, keys, out.tolist() if KEYS < 10_000 else out[:SAMPLE_KEYS].tolist())
    compare(
        Case(
            f"lookup_replicas({KEYS:,} uint64, 3 datacenters x 2), {NODES * VNODES:,} points",
            "key",
            [
                Contestant(
                    "ringleader", lambda: on.lookup_replicas(keys, POLICY, out), KEYS, "ours"
                ),
            ],
            [AtMost(8)],
        )
    )


def test_get_nodes(compare: Compare) -> None:
    keys, on = user_keys(CALLS), fleet()
    on.lookup_replicas(keys, POLICY)
    verified(on, keys, [[on.names.index(name) for name in on.get_nodes(key, POLICY)]
                        for key in keys[:SAMPLE_KEYS]])  # fmt: skip
    rival = driver(on)
    coded = [key.encode() for key in keys]
    compare(
        Case(
            f"get_nodes(key, 3 datacenters x 2), {NODES:,} nodes",
            "call",
            [
                Contestant(
                    "ringleader",
                    loop(lambda key: on.get_nodes(key, POLICY), keys),
                    CALLS,
                    "ours",
                    answers=lambda: [on.get_nodes(key, POLICY) for key in keys],
                ),
                rival
                if isinstance(rival, Absent)
                else Contestant(
                    Driver.NAME,
                    loop(rival.get, coded),
                    CALLS,
                    answers=lambda: [[host.name for host in rival.get(key)] for key in coded],
                ),
            ],
            [AtMost(400)],
        )
    )


def test_table(compare: Compare) -> None:
    """All successors of a ring, as they are made on first use."""
    on = fleet()
    rival = driver(on)
    table = on.table
    placing = on._placing(table, POLICY)

    def answers() -> Any:
        return placing.rows(table)

    compare(
        Case(
            f"the replicas of all {NODES * VNODES:,} points, 3 datacenters x 2",
            "table",
            [
                Contestant(
                    "ringleader",
                    lambda: on._placing(table, POLICY).rows(table),
                    1,
                    "ours",
                    answers=answers,
                ),
                rival
                if isinstance(rival, Absent)
                else Contestant(
                    Driver.NAME,
                    rival.build,
                    1,
                    answers=lambda: [[h.name for h in row] for row in rival.build().values()],
                ),
            ],
            [AtMost(15_000_000)],
        )
    )
    assert topology.SPREADS
