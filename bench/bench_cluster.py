"""Whole clusters beside each other: durable writes, reads, a killed leader, a restart.

Three members each on this one machine, whose CPUs and disk all of them share; values of 100 bytes
under 10,000 keys.  See bench/services.py for how each store is asked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench import loads
from bench.cases import SMALL, scaled
from bench.harness import Absent
from bench.loads import Goal, LatencyGoal, RateGoal
from bench.services import (
    Etcd,
    OneNode,
    RedisAlone,
    Ringleader,
    Service,
    Work,
    ZooKeeper,
    load_program,
    real_disk,
)

FAILOVER_ROUNDS = scaled(5, 1)
RESTART_KEYS = scaled(1_000_000, 2_000)
RESTART_ROUNDS = scaled(3, 1)
RESTART_SHARDS = 8
RESTART_SECONDS_MAX = 5.0
#: A key of redis-benchmark's length and a value.
DATA_BYTES = RESTART_KEYS * (12 + 100)
MEMORY_FACTOR_MAX = 2.5
FAILOVER_SECONDS_MAX = 0.4


@dataclass
class Field:
    """The services that run, ours first, and those that cannot."""

    ours: Ringleader
    present: list[Service] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)


@pytest.fixture(scope="module")
def services() -> Iterator[Field]:
    load_program()
    ours = Ringleader()
    candidates: list[Service] = [ours, OneNode(ours), Etcd(), ZooKeeper(), RedisAlone()]
    found = Field(ours)
    with ExitStack() as stack:
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="ringleader-bench-", dir=real_disk())
        )
        for service in candidates:
            if reason := service.missing():
                found.absent.append(Absent(service.name, reason))
                continue
            folder = Path(scratch) / service.name.replace(" ", "-")
            folder.mkdir()
            stack.callback(service.stop)
            service.start(folder)
            found.present.append(service)
        if ours not in found.present:
            pytest.skip(ours.missing() or "")
        yield found


SETS: tuple[tuple[str, Work, tuple[Goal, ...]], ...] = (
    ("SET, 1 client", Work("put", 1), (RateGoal(1_600), LatencyGoal(0.6, 50))),
    ("SET, 32 connections", Work("put", 32), (RateGoal(15_000),)),
    ("SET, 256 connections", Work("put", 256), (RateGoal(30_000), LatencyGoal(30, 99))),
    ("SET, 32 connections x pipeline 16", Work("put", 32, 16), (RateGoal(120_000),)),
    ("linearizable GET, 32 connections", Work("get", 32), (RateGoal(45_000),)),
    ("READONLY GET, 32 connections x pipeline 16", Work("local", 32, 16), (RateGoal(250_000),)),
)


@pytest.mark.parametrize(("title", "work", "goals"), SETS, ids=[title for title, *_ in SETS])
def test_load(
    benchmark: Any, services: Field, title: str, work: Work, goals: tuple[Goal, ...]
) -> None:
    def once() -> loads.Result:
        return loads.measure(title, work, services.present, goals, services.absent)

    result = benchmark.pedantic(once, rounds=1)
    benchmark.extra_info["load"] = result.as_json()
    assert result.scores[0].failed == 0, "operations failed"


def test_leader_killed(benchmark: Any, services: Field) -> None:
    able = [each for each in services.present if type(each).fail_over is not Service.fail_over]
    entries = [
        (each.name, "", lambda each=each: each.fail_over() or 0.0)  # type: ignore[misc]
        for each in able
    ]

    def once() -> loads.TimesResult:
        return loads.measure_times(
            "leader killed: until the next acknowledged write",
            "s",
            entries,
            rounds=FAILOVER_ROUNDS,
            at_most=FAILOVER_SECONDS_MAX,
            absent=services.absent,
        )

    benchmark.extra_info["times"] = benchmark.pedantic(once, rounds=1).as_json()


@pytest.fixture
def sharded(services: Field) -> Iterator[Ringleader]:
    """A cluster for many keys: several shards, so that each snapshot is a part of them."""
    services.ours.stop()
    ours = Ringleader(shards=RESTART_SHARDS)
    with tempfile.TemporaryDirectory(prefix="ringleader-bench-", dir=real_disk()) as scratch:
        ours.start(Path(scratch) / "c")
        yield ours
        ours.stop()


def test_restart(benchmark: Any, services: Field, sharded: Ringleader) -> None:
    """Every node is killed and started on what it has on disk."""
    ours = sharded
    rivals = [each for each in services.present if isinstance(each, RedisAlone)]
    memory: dict[str, float] = {}
    for each in (ours, *rivals):
        each.fill(RESTART_KEYS)

    def restart(each: Ringleader | RedisAlone) -> float:
        seconds, size = each.restart()
        memory[each.name] = max(memory.get(each.name, 0.0), size / DATA_BYTES)
        return seconds

    entries = [
        (each.name, each.note, lambda each=each: restart(each))  # type: ignore[misc]
        for each in (ours, *rivals)
    ]

    def once() -> loads.TimesResult:
        return loads.measure_times(
            f"restart of all members with {RESTART_KEYS:,} keys, after a kill",
            "s",
            entries,
            rounds=RESTART_ROUNDS,
            at_most=RESTART_SECONDS_MAX,
        )

    benchmark.extra_info["times"] = benchmark.pedantic(once, rounds=1).as_json()
    used = loads.measure_times(
        f"memory of a member after it, {RESTART_KEYS:,} keys of 112 bytes",
        "x the data",
        [(name, "resident", lambda size=size: size) for name, size in memory.items()],  # type: ignore[misc]
        rounds=1,
        at_most=None if SMALL else MEMORY_FACTOR_MAX,
    )
    benchmark.extra_info["times of memory"] = used.as_json()
