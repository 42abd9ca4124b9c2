"""The node's shards and stores under the simulator; RINGLEADER_SHARD_SEEDS=5000 for a long evening.

`ringleader simulate --machine store` runs the same with any settings.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from click.testing import CliRunner
from node.shard_mutants import BY_NAME, MUTANTS, Outcome, Setting, check, run

from ringleader.cli.app import app
from ringleader.node import shard
from ringleader.node.replies import NULL_ARRAY
from ringleader.shardsim.mirror import KeyModel, Mirror
from ringleader.shardsim.scenario import Shards
from ringleader.sim.family import FAMILIES
from ringleader.sim.linearizability import Operation
from ringleader.sim.linearizability import check as check_history
from ringleader.sim.runner import Settings, Total, run_many
from ringleader.sim.runner import run as run_once

SEEDS = int(os.environ.get("RINGLEADER_SHARD_SEEDS", "16"))
FIRST = int(os.environ.get("RINGLEADER_FIRST_SEED", "1"))

#: How the seeds are shared out, and how long a run of each is.
SHARES = {"lan-3": 0.35, "wan-3dc": 0.4, "lan-5": 0.15, "wan-5dc": 0.1}
DURATION_US = {
    "lan-3": 3_000_000,
    "lan-5": 3_000_000,
    "wan-3dc": 12_000_000,
    "wan-5dc": 12_000_000,
}
MUST_REACH = {
    "answers STALE",
    "crashes inside a step",
    "jumps of wall clocks",
    "keys expired",
    "leaders that stepped down",
    "processes stopped",
    "reads at followers",
    "reads in order",
    "reads under a lease",
    "snapshots installed",
    "stale reads answered",
    "stale reads that hide a key",
    "transactions done",
    "transactions refused",
}
_reached: dict[str, set[str]] = {name: set() for name in FAMILIES}
SMALL = Settings(1, profile="lan-3", duration_us=3_000_000)


def sound(settings: Settings, seeds: range) -> Total:
    total = Total()
    for report in run_many(settings, seeds, jobs=1, scenario=Shards()):
        assert report.failure is None, (
            f"{report.settings.command} --machine store\n{report.failure.text}\n"
            + "\n".join(report.failure.story)
        )
        total.add(report)
    assert total.runs == len(seeds)
    assert not total.coverage["histories undecided"]
    return total


@pytest.mark.parametrize("profile", SHARES)
@pytest.mark.parametrize("consensus", FAMILIES)
def test_seeds(consensus: str, profile: str) -> None:
    settings = Settings(
        FIRST, profile=profile, duration_us=DURATION_US[profile], consensus=consensus
    )
    count = max(1, round(SEEDS * SHARES[profile]))
    _reached[consensus].update(sound(settings, range(FIRST, FIRST + count)).coverage)


@pytest.mark.parametrize("consensus", FAMILIES)
def test_the_seeds_reached_what_they_should(consensus: str) -> None:
    if SEEDS < 16 or not _reached[consensus]:
        pytest.skip("only the whole of it says")
    assert _reached[consensus] >= MUST_REACH


def test_many_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of a few commands, of which some are too long and are cut in halves."""
    monkeypatch.setattr(shard, "SHARD_BATCH_COMMANDS_MAX", 5)
    monkeypatch.setattr(shard, "BATCH_BYTES", 90)
    monkeypatch.setattr(shard, "SHARD_BATCHES_MAX", 3)
    sound(SMALL, range(1, 4))


def test_a_short_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most commands of a burst find it full."""
    monkeypatch.setattr(shard, "SHARD_QUEUE_COMMANDS_MAX", 3)
    total = sound(SMALL, range(1, 4))
    assert total.coverage["answers TRYAGAIN"]


def test_the_same_seed_gives_the_same_run() -> None:
    assert run_once(SMALL, scenario=Shards()).digest == run_once(SMALL, scenario=Shards()).digest


# --- known bugs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BY_NAME)
def test_the_mutant_is_caught(name: str) -> None:
    mutant = BY_NAME[name]
    found, others = check(mutant)
    assert found is not None, f"other checks: {[(it.seed, it.text) for it in others]}"
    without = _sound(mutant.setting, found.seed)
    assert without.number is None, f"the same seed fails without the bug: {without.text}"


_outcomes: dict[tuple[Setting, int], Outcome] = {}


def _sound(setting: Setting, seed: int) -> Outcome:
    known = _outcomes.get((setting, seed))
    if known is None:
        known = _outcomes[setting, seed] = run(None, setting, seed)
    return known


def test_the_table_is_as_it_should_be() -> None:
    assert len(BY_NAME) == len(MUTANTS) >= 20
    assert len({mutant.changes for mutant in MUTANTS}) == len(MUTANTS)


# --- the command line ---------------------------------------------------------------------------


def test_the_command_line() -> None:
    arguments = ["--machine", "store", "--seed", "3", "--profile", "lan-3", "--duration", "2s"]
    result = CliRunner().invoke(app, ["simulate", *arguments])
    assert result.exit_code == 0, result.output
    assert "keys expired" in result.output
    assert "All invariants held" in result.output


def test_the_command_line_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard.Shard, "attend", lambda self: None)
    arguments = ["--machine", "store", "--seed", "5", "--profile", "lan-3", "--duration", "2s"]
    result = CliRunner().invoke(app, ["simulate", *arguments, "--no-shrink"])
    assert result.exit_code == 1, result.output
    again = "simulate --seed 5 --profile lan-3 --faults all --duration 2s --machine store"
    assert again in result.output


# --- the mirror ---------------------------------------------------------------------------------


def test_the_mirror_lets_keys_expire_when_a_batch_begins() -> None:
    mirror = Mirror()
    mirror.begin(1, 1000)
    assert mirror.run([b"SET", b"k", b"v", b"PX", b"10"]) == "OK"
    assert mirror.run([b"PTTL", b"k"]) == 10
    mirror.begin(2, 1009)
    assert mirror.run([b"GET", b"k"]) == b"v"
    mirror.begin(3, 500)
    assert mirror.now == 1009
    mirror.begin(4, 1010)
    assert mirror.expired == [b"k"]
    assert mirror.run([b"GET", b"k"]) is None


@pytest.mark.parametrize(
    ("between", "reply"),
    [
        ([], ["OK"]),
        ([b"GET", b"k"], ["OK"]),
        ([b"SET", b"other", b"v"], ["OK"]),
        ([b"DEL", b"k"], ["OK"]),  # there is none
        ([b"SET", b"k", b"v"], NULL_ARRAY),
        ([b"INCR", b"k"], NULL_ARRAY),
    ],
)
def test_the_mirror_executes_what_was_watched(between: list[bytes], reply: Any) -> None:
    mirror = Mirror()
    mirror.begin(1, 1000)
    mirror.at = (1, 0)
    mirror.run([b"WATCH", b"k"])
    mirror.begin(2, 1001)
    mirror.at = (2, 0)
    if between:
        mirror.run(between)
    mirror.at = (2, 1)
    assert mirror.exec([(b"k", (1, 0))], [[b"SET", b"k", b"new"]]) == reply


def test_an_expired_key_is_not_seen_again() -> None:
    def history(read: bytes | None, expires: bool = True) -> list[Operation]:
        set_ = (b"SET", b"v", b"PX", b"5") if expires else (b"SET", b"v")
        return [
            Operation(1, b"k", set_, "OK", 0, 1),
            Operation("time", b"k", (b"expire",), True, 2, 3),
            Operation(1, b"k", (b"GET",), read, 4, 5),
        ]

    assert check_history(history(None), KeyModel()).ok
    assert not check_history(history(b"v"), KeyModel()).ok
    assert not check_history(history(None, expires=False), KeyModel()).ok
