"""A user's own state machine under the simulator: sound ones pass, each mistake is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from ringleader.consensus import Entries
from ringleader.consensus.ready import SnapshotSource
from ringleader.errors import SettingError
from ringleader.sim.user import Findings, simulate


class Counter:
    """Adds numbers up; counts, out of sight, how many there were."""

    def __init__(self) -> None:
        self.total = 0
        self.count = 0

    def apply(self, entries: Entries) -> Sequence[Any]:
        return [self.add(json.loads(command)) for _, command in entries]

    def add(self, number: int) -> object:
        self.total += number
        self.count += 1
        return self.total

    def snapshot(self) -> bytes:
        return json.dumps([self.total, self.count]).encode()

    def restore(self, source: SnapshotSource) -> None:
        self.total, self.count = json.loads(source.read(0, source.total_bytes))


def number(random: Random) -> bytes:
    return b"%d" % random.randrange(1, 10)


def find(machine: type[Counter], **settings: Any) -> Findings:
    settings = {"seeds": range(1, 5), "faults": "network,crash,membership", **settings}
    return simulate(machine, number, duration_s=8.0, **settings)


def broken(findings: Findings) -> int:
    assert not findings.ok
    assert findings.smallest is not None
    assert findings.smallest.failure is not None
    assert findings.failed is not None
    assert len(findings.smallest.settings.decisions()) <= len(findings.failed.settings.decisions())
    return findings.smallest.failure.number


@pytest.mark.parametrize("consensus", ["raft", "paxos"])
def test_a_sound_machine_passes(consensus: str) -> None:
    findings = find(
        Counter, invariant=lambda machine: machine.count <= machine.total, consensus=consensus
    )
    assert findings.ok, str(findings)
    assert findings.total.runs == 4
    assert findings.total.coverage["snapshots installed"] > 0
    assert "nothing was found" in str(findings)


def test_a_snapshot_that_forgets_is_found_by_results() -> None:
    class Forgets(Counter):
        def restore(self, source: SnapshotSource) -> None:
            super().restore(source)
            self.total -= self.count % 2

    findings = find(Forgets)
    assert broken(findings) == 5
    assert "gives" in str(findings)


def test_a_snapshot_that_forgets_is_found_by_the_state() -> None:
    class Forgets(Counter):
        def restore(self, source: SnapshotSource) -> None:
            super().restore(source)
            self.count = 0

    findings = find(Forgets, state=lambda machine: (machine.total, machine.count))
    assert broken(findings) == 5
    assert "its state differs" in str(findings)


def test_chance_is_found() -> None:
    class Throws(Counter):
        chance = Random(1)

        def add(self, number: int) -> object:
            return self.chance.random()

    assert broken(find(Throws)) == 5


def test_an_invariant_that_raises_or_is_false() -> None:
    def small(machine: Counter) -> None:
        assert machine.total < 50, f"{machine.total} is too much"

    findings = find(Counter, invariant=small)
    assert broken(findings) == 16
    assert "is too much" in str(findings)
    findings = find(Counter, invariant=lambda machine: machine.total < 50)
    assert broken(findings) == 16


def test_a_machine_that_raises() -> None:
    class Raises(Counter):
        def add(self, number: int) -> object:
            raise ArithmeticError("no more numbers")

    findings = find(Raises)
    assert broken(findings) == 14
    assert "no more numbers" in str(findings)


def test_a_machine_that_leaves_results_out() -> None:
    class Silent(Counter):
        def apply(self, entries: Entries) -> Sequence[Any]:
            return list(super().apply(entries))[1:]

    findings = find(Silent)
    assert broken(findings) == 14
    assert "results" in str(findings)


def test_the_same_seed_gives_the_same_run() -> None:
    one = find(Counter, seeds=[3], invariant=lambda machine: machine.total < 200, shrinks=False)
    other = find(Counter, seeds=[3], invariant=lambda machine: machine.total < 200, shrinks=False)
    assert one.failed is not None
    assert other.failed is not None
    assert one.failed.digest == other.failed.digest
    assert str(one) == str(other)
    assert one.smallest is one.failed


def test_what_cannot_be_run() -> None:
    with pytest.raises(SettingError, match="profile"):
        find(Counter, profile="moon")
    with pytest.raises(SettingError, match="faults"):
        find(Counter, faults="meteor")
