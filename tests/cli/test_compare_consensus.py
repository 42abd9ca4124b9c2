"""`ringleader compare consensus`: the tables add up, the files are whole, misuse is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from ringleader import kernels
from ringleader.cli.compare_consensus import TABLES, load, tables
from ringleader.cli.compare_consensus_plots import PICTURES
from ringleader.sim.comparison.algorithms import GEOMETRIES, MAJORITY, geometry, paxos
from ringleader.sim.comparison.measures import (
    BATCHES,
    GAP_CASES,
    QUICK,
    WORKLOADS,
    Comparison,
    Effort,
    compare,
    gaps,
    latency,
    recovery,
)
from ringleader.sim.comparison.verdicts import find_latency, find_recovery, gain, verdicts

Run = Callable[..., Result]
Refused = Callable[..., str]

CASES = sum(len(place.arrangements) for place in GEOMETRIES)

pytestmark = pytest.mark.skipif(kernels.PURE, reason="the simulator takes long on the twins")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a quick run wrote."""
    from click.testing import CliRunner

    from ringleader.cli.app import app

    path = tmp_path_factory.mktemp("compared") / "figures.json"
    result = CliRunner().invoke(app, ["compare", "consensus", "--quick", "--json", str(path)])
    assert result.exit_code == 0, result.output
    assert "A quick run" in result.stdout
    return path


@pytest.fixture(scope="module")
def found(figures: Path) -> Comparison:
    return load(str(figures))


def test_every_question_is_answered(found: Comparison) -> None:
    assert found.quick
    assert found.compiled
    assert len(found.costs) == 2 * 2 * len(WORKLOADS)
    assert len(found.latencies) == 2 * CASES
    assert len(found.recoveries) == 2 * CASES - sum(bool(row.refused) for row in found.latencies)
    assert len(found.gaps) == 2 * len(GAP_CASES)
    assert len(found.throughputs) == 2 * 2 * len(BATCHES)
    assert all(row.raft > 0 and row.paxos > 0 for row in found.lines)


def test_the_figures_are_as_json_says(figures: Path) -> None:
    data = json.loads(figures.read_text())
    assert sorted(data) == [
        *("compiled", "costs", "gaps", "latencies", "lines"),
        *("quick", "recoveries", "seed", "throughputs"),
    ]
    row = data["latencies"][0]
    assert sorted(row) == [
        *("algorithm", "commits", "geometry", "percentiles_us", "quorums", "refused", "system")
    ]
    assert len(row["percentiles_us"]) == 101
    assert row["commits"] == QUICK.latency_commits
    assert len(data["recoveries"][0]["total_us"]) == QUICK.seeds


def test_the_messages_of_three_nodes(found: Comparison) -> None:
    """Two entries out, two answers back, two followers told."""
    rows = [row for row in found.costs if row.nodes == 3 and row.workload == WORKLOADS[0].name]
    assert [row.messages for row in rows] == [6, 6]


def test_every_commit_takes_its_round_trips_and_little_more(found: Comparison) -> None:
    for row in found.latencies:
        if not row.refused:
            assert row.system is not None
            assert row.system.floor_us < row.p50_us < 1.05 * row.system.floor_us + 2_500, row


def test_flexible_quorums_are_faster_where_the_geometry_allows_it(found: Comparison) -> None:
    """The goal: 1.5 times as fast as majority Raft at p50."""
    for name, quorums in (
        ("wan-3dc", "any 2 commit, any 4 elect"),
        ("wan-3x3", "most of 1 datacenter commit, of 3 elect"),
        ("wan-5dc", "any 2 commit, any 4 elect"),
    ):
        for algorithm in ("raft", "paxos"):
            assert gain(found, find_latency(found, algorithm, name, quorums)) >= 1.5
    for name, quorums in (
        ("wan-3x3", "most of 2 datacenters commit, of 2 elect"),
        ("wan-5dc-us", "any 2 commit, any 4 elect"),
    ):
        assert gain(found, find_latency(found, "paxos", name, quorums)) < 1.5


def test_refusals_have_no_figures(found: Comparison) -> None:
    refused = [row for row in found.latencies if row.refused]
    assert {row.algorithm for row in refused} == {"raft"}
    for row in refused:
        assert "two leaders in one term" in row.refused
        with pytest.raises(KeyError):
            find_recovery(found, row)


def test_the_tables_are_rectangular_and_say_what_was_measured(found: Comparison) -> None:
    shown = {table.name: table for table in tables(found)}
    assert list(shown) == list(TABLES)
    for table in shown.values():
        assert all(len(row) == len(table.head) for row in table.rows), table.name
    assert len(shown["latency"].rows) == len(shown["recovery"].rows) == CASES
    assert [row[1] for row in shown["latency"].rows].count(MAJORITY.name) == len(GEOMETRIES)
    parts, (_, *total) = shown["lines"].rows[:-1], shown["lines"].rows[-1]
    for column in (1, 2):
        counts = [int(row[column].replace(",", "")) for row in parts]
        assert sum(counts) == int(total[column - 1].replace(",", ""))


def test_the_answers_follow_from_the_figures(found: Comparison) -> None:
    answers = {verdict.question: verdict.answer for verdict in verdicts(found)}
    assert "6 and 6 messages" in answers["What does a commit cost?"]
    assert "Refused to Raft" in answers["What may only Paxos do?"]
    text = answers["What is the loss of a leader?"]
    assert "With Raft rivals split" in text
    assert "With Multi-Paxos the higher ballot" in text
    slower = [replace(row, ratio=1.5) for row in found.throughputs]
    slow = replace(found, throughputs=slower)
    changed = {verdict.question: verdict.answer for verdict in verdicts(slow)}
    assert "not within 1.2" in changed["What does the core cost?"]


def test_figures_are_shown_again_and_drawn(run: Run, figures: Path, tmp_path: Path) -> None:
    result = run("compare", "consensus", "--from", str(figures), "--plot", "pictures")
    assert result.exit_code == 0, result.output
    for name in PICTURES:
        text = (tmp_path / "pictures" / name).read_text()
        assert text.count("<svg") == 1
        assert "Multi-Paxos" in text or "<path" in text
    assert "How long a commit takes" in result.stdout
    assert "Which, when?" in result.stdout
    again = run("compare", "consensus", "--from", str(figures), "--json", "-")
    assert json.loads(again.stdout) == json.loads(figures.read_text())
    once = {name: (tmp_path / "pictures" / name).read_bytes() for name in PICTURES}
    forced = run("compare", "consensus", "--from", str(figures), "--plot", "pictures", "--force")
    assert forced.exit_code == 0
    assert once == {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}


def test_what_exists_is_not_replaced(refused: Refused, figures: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    words = refused("compare", "consensus", "--quick", "--json", "old.json")
    assert "old.json exists already; --force replaces it" in words
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / next(iter(PICTURES))).write_text("old")
    words = refused("compare", "consensus", "--quick", "--plot", "pictures")
    assert "exists already" in words
    words = refused("compare", "consensus", "--quick", "--plot", "old.json")
    assert "a directory is wanted" in words


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["--quik"], "--quick"),
        (["--seed", "-1"], "--seed"),
        (["--from", "missing.json"], "missing.json: No such file"),
        (["--from", "missing.json", "--quick"], "measures nothing"),
        (["--json", "nowhere/figures.json"], "there is no directory nowhere"),
    ],
)
def test_misuse_is_refused(refused: Refused, args: list[str], hint: str) -> None:
    assert hint in refused("compare", "consensus", *args)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"quick": true}'])
def test_figures_of_something_else_are_refused(
    run: Run, refused: Refused, tmp_path: Path, text: str
) -> None:
    (tmp_path / "bad.json").write_text(text)
    assert "no " in refused("compare", "consensus", "--from", "bad.json")


def test_options_of_the_group_do_not_get_lost(refused: Refused) -> None:
    words = refused("compare", "--nodes", "10", "consensus", "--quick")
    assert "stand behind its name" in words


def test_pictures_need_their_extra(
    refused: Refused, without: Callable[[str], None], figures: Path
) -> None:
    without("matplotlib")
    words = refused("compare", "consensus", "--from", str(figures), "--plot", "pictures")
    assert "ringleader[plot]" in words


def test_progress_counts_every_step() -> None:
    told: list[tuple[int, int, str]] = []
    effort = Effort(
        cost_commits=100, latency_commits=2, seeds=1, gap_commits=20, rounds=1, turn_ns=1
    )
    compare(effort, seed=5, tell=lambda *step: told.append(step))
    total = told[0][1]
    assert [done for done, _, _ in told] == list(range(total + 1))
    assert all(words for _, _, words in told[:-1])


def test_the_same_seed_measures_the_same(found: Comparison) -> None:
    where = geometry("wan-5dc")
    arrangement = where.arrangements[1]
    row = latency(paxos(), where, arrangement, QUICK.latency_commits, found.seed)
    assert row in found.latencies
    seeds = range(found.seed, found.seed + QUICK.seeds)
    assert recovery(paxos(), where, arrangement, seeds) in found.recoveries
    assert gaps(paxos(), GAP_CASES[0], QUICK.gap_commits, found.seed) in found.gaps
    other = latency(paxos(), where, arrangement, QUICK.latency_commits, found.seed + 1)
    assert other not in found.latencies
