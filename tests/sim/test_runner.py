"""One seed is one run; many seeds; shrinking; the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from mutants import Broken

from ringleader.cli.app import app
from ringleader.errors import SettingError
from ringleader.sim.family import FAMILIES
from ringleader.sim.runner import Settings, Total, _minimize, run, run_many, shrink

SECOND = 1_000_000
SMALL = Settings(3, profile="lan-3", duration_us=4 * SECOND)

#: Votes for whoever asks, however short its log is.
VOTES_FOR_ANYONE = ("if free and up_to_date:", "if free:")

DIGEST = """
import sys
from ringleader.sim.runner import Settings, run
settings = Settings(5, profile="lan-3", duration_us=6_000_000, consensus=sys.argv[1])
print(run(settings).digest)
"""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments])


@pytest.mark.parametrize("consensus", FAMILIES)
def test_the_same_seed_gives_the_same_run(consensus: str) -> None:
    small = replace(SMALL, consensus=consensus)
    first, again, other = run(small), run(small), run(replace(small, seed=4))
    assert first.failure is None
    assert (first.digest, first.messages, first.coverage) == (
        again.digest,
        again.messages,
        again.coverage,
    )
    assert first.digest != other.digest


@pytest.mark.parametrize("consensus", FAMILIES)
def test_the_same_in_another_process(consensus: str) -> None:
    """Whatever the hashes of texts are there."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST, consensus],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "271828")
    }
    assert len(digests) == 1


def test_many_seeds_in_processes() -> None:
    total = Total()
    digests = {}
    for report in run_many(SMALL, range(1, 5), jobs=2):
        assert report.failure is None
        total.add(report)
        digests[report.settings.seed] = report.digest
    assert total.runs == 4
    assert total.messages > 1000
    assert digests == {
        seed: report.digest
        for seed, report in zip(range(1, 5), run_many(SMALL, range(1, 5), jobs=1), strict=True)
    }


def test_a_broken_core_is_caught_and_the_failure_shrunk() -> None:
    core = Broken(VOTES_FOR_ANYONE)
    settings = Settings(0, profile="lan-5", duration_us=12 * SECOND)
    failed = next(
        report
        for report in (run(replace(settings, seed=seed), core) for seed in range(1, 20))
        if report.failure is not None
    )
    assert failed.failure is not None
    tried: list[int] = []
    small = shrink(failed, core, runs_max=60, progress=lambda _, count: tried.append(count))
    assert small.failure is not None
    assert small.failure.number == failed.failure.number
    assert len(small.settings.decisions()) <= len(failed.settings.decisions())
    assert small.settings.end_us <= failed.settings.end_us
    assert tried[-1] <= 60
    # The settings say all: running them gives the same failure.
    again = run(small.settings, core)
    assert again.digest == small.digest
    assert again.failure == small.failure


def test_minimize() -> None:
    tried: list[list[int]] = []

    def fails(items: list[int]) -> bool:
        tried.append(items)
        return {3, 17, 40} <= {*items}

    assert _minimize(list(range(1, 50)), fails) == [3, 17, 40]  # type: ignore[arg-type]
    assert len(tried) < 80


def test_the_repro_is_one_line() -> None:
    settings = Settings(
        123, profile="wan-3dc", only=(3, 17, 40), until_us=12_500_000, clients=2, nodes=3
    )
    assert settings.command == (
        "ringleader simulate --seed 123 --profile wan-3dc --faults all --clients 2 --nodes 3 "
        "--only 3,17,40 --until 12.5s"
    )
    assert replace(settings, only=()).command.endswith("--only none --until 12.5s")
    paxos = Settings(7, consensus="paxos")
    assert paxos.command == (
        "ringleader simulate --consensus paxos --seed 7 --profile wan-3dc --faults all"
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"profile": "mars"}, "'mars' is not one of lan-3"),
        ({"faults": "network,gremlins"}, "'gremlins'.*none, network"),
        ({"nodes": 4}, "has 1 to 3"),
        ({"clients": 0}, "clients=0"),
        ({"duration_us": 0}, "longer than nothing"),
        ({"consensus": "chance"}, "'chance' is not one of raft, paxos"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, object], text: str) -> None:
    with pytest.raises(SettingError, match=text):
        run(replace(SMALL, **change))  # type: ignore[arg-type]


class TestCommand:
    @pytest.mark.parametrize("consensus", FAMILIES)
    def test_seeds(self, consensus: str) -> None:
        result = invoke(
            *("--consensus", consensus, "--seeds", "3", "--profile", "lan-3"),
            *("--duration", "2s", "--jobs", "1"),
        )
        assert result.exit_code == 0, result.output
        assert "3 runs: " in result.output
        assert "virtual hours" in result.output
        assert "All invariants held." in result.output
        for state in FAMILIES[consensus].states:
            assert state in result.output

    @pytest.mark.parametrize("consensus", FAMILIES)
    def test_one_seed_and_its_digest(self, consensus: str) -> None:
        arguments = ("--consensus", consensus, "--seed", "3", "--profile", "lan-3")
        arguments += ("--duration", "4")
        result = invoke(*arguments)
        assert result.exit_code == 0, result.output
        assert f"digest {run(replace(SMALL, consensus=consensus)).digest}" in result.output
        some = invoke(*arguments, "--only", "1,2", "--until", "900ms")
        assert some.exit_code == 0, some.output
        assert "digest" in some.output

    def test_a_failure_is_shrunk_and_ends_with_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ringleader.cli import simulate

        core = Broken(VOTES_FOR_ANYONE)
        monkeypatch.setattr(
            simulate,
            "run_many",
            lambda settings, seeds, jobs, scenario=None: (
                run(replace(settings, seed=s), core) for s in seeds
            ),
        )
        monkeypatch.setattr(
            simulate, "shrink", lambda report, **more: shrink(report, core, runs_max=30)
        )
        result = invoke("--seeds", "20", "--profile", "lan-5", "--duration", "12s")
        assert result.exit_code == 1, result.output
        assert re.search(r"invariant \d+ \(", result.output)
        assert "shrunk from" in result.output
        (line,) = re.findall(r"ringleader simulate --seed .*", result.output)
        assert "--until" in line

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("--profile", "mars"), "profile 'mars' is not one of lan-3, lan-5"),
            (("--faults", "gremlins"), "'gremlins': not one of none, network"),
            (("--only", "3"), "give its --seed"),
            (("--seed", "1", "--only", "x"), "no list of numbers like 3,17,40"),
            (("--seed", "1", "--only", "0"), "numbered from 1"),
            (("--seed", "1", "--until", "soon"), "write it like 12.5s"),
            (("--duration", "0"), "longer than that"),
            (("--seed", "1", "--profile", "lan-3", "--nodes", "9"), "has 1 to 3"),
        ],
    )
    def test_refusals(self, arguments: tuple[str, ...], text: str) -> None:
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert text in result.output
