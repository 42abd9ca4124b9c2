"""`ringleader availability`."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from click.testing import Result

from ringleader.availability import Model, better

BASE = ("availability", "--policy", "eu=2,us=2,ap=1", "--node", "0.999", "--dc", "0.9995")
Run = Callable[..., Result]
Refused = Callable[..., str]


def told(run: Run, *more: str) -> dict[str, Any]:
    result = run(*BASE, "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_json_is_the_exact_answer(run: Run) -> None:
    found = told(run, "--read", "one", "--write", "each_quorum", "--top", "3")
    model = Model("eu=2,us=2,ap=1", node=0.999, dc=0.9995)
    for name, quorum in (("read", "one"), ("write", "each_quorum")):
        want = model.availability(quorum)
        assert Fraction(found[name]["exact_unavailable"]) == want.unavailable
        assert found[name]["available"] == float(want)
        assert found[name]["nines"] == pytest.approx(want.nines)
    assert [row["avoids"] for row in found["random_quorum"]] == [1, 0.4, 0.1, 0, 0, 0]
    want_best = better("eu=2,us=2,ap=1", node=0.999, dc=0.9995, read="one", write="each_quorum")
    assert found["compared"] == len(want_best)
    assert [row["policy"] for row in found["placements"]] == [
        dict(choice.counts) for choice in want_best[:3]
    ]


def test_tables_for_people(run: Run) -> None:
    shown = run(*BASE, "--sample", "20000").stdout
    for words in (
        "eu=2,us=2,ap=1: 5 replicas in 3 datacenters",
        "3 of 5 replicas",
        "99.99962%",
        "1 min 59 s",
        "2 nodes or 1 datacenter",
        "agrees",
        "0.4 with 1 failed, 0.1 with 2 failed",
        "(yours)",
        "5 placements compared: none is better for writes.",
    ):
        assert words in shown, words
    assert "DISAGREES" not in shown
    shown = run(*BASE, "--read", "2", "--write", "2", "--by", "worse", "--top", "1").stdout
    assert "A read may miss the last write" in shown
    shown = run(*BASE, "--top", "0").stdout
    assert "compared" not in shown
    shown = run("availability", "--policy", "1", "--node", "1").stdout
    assert "never" in shown


@pytest.mark.parametrize("columns", [80, 120])
def test_no_placement_is_broken_over_lines(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = run(*BASE).stdout
    assert "eu=2,us=2,ap=1 (yours)" in shown
    assert ("write needs" in shown) == (columns == 120)
    assert max(map(len, shown.splitlines())) <= columns


def test_a_better_placement_is_named_and_yours_is_shown(run: Run) -> None:
    result = run(
        "availability", "--policy", "eu=4,us=1", "--node", "0.999", "--dc", "0.9995",
        "--datacenters", "eu, us, ap", "--top", "2",
    )  # fmt: skip
    assert "eu=4,us=1 (yours)" in result.stdout
    assert "with eu=2,us=2,ap=1, writes fail" in result.stdout


def test_settings_of_single_datacenters(run: Run) -> None:
    found = told(
        run, "--dc", "ap=0.9", "--node", "eu=99%", "--zone", "99.9%", "--zones", "eu=2", "--zones",
        "1", "--datacenters", "eu,us,ap,sa", "--sample", "1000", "--seed", "3",
    )  # fmt: skip
    model = Model(
        "eu=2,us=2,ap=1",
        node={"eu": "0.99", "us": 0.999, "ap": 0.999},
        dc={"eu": 0.9995, "us": 0.9995, "ap": 0.9},
        zone=0.999,
        zones={"eu": 2, "us": 1, "ap": 1},
    )
    assert Fraction(found["write"]["exact_unavailable"]) == model.availability(3).unavailable
    assert found["sampled"]["read"]["samples"] == 1000
    assert any("sa" in row["policy"] for row in found["placements"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--policy", "eu=0"], "at least 1"),
        (["--policy", "eu"], "eu=2,us=2,ap=1"),
        (["--node", "1.5"], "one for all datacenters already"),
        (["--node", "mars=0.9"], "names the datacenter 'mars'"),
        (["--dc", "eu=nan"], "write a probability like"),
        (["--read", "6"], "6 of 5 replicas"),
        (["--write", "local_quorum:mars"], "local_quorum:eu"),
        (["--zones", "many"], "number of zones"),
        (["--datacenters", "eu"], "not among the datacenters"),
    ],
)
def test_refusals(refused: Refused, options: list[str], words: str) -> None:
    assert words in refused(*BASE, *options)


def test_what_is_missing_is_named(refused: Refused) -> None:
    told = refused("availability", "--policy", "eu=1,us=1", "--node", "eu=0.9")
    assert "--node says nothing about us" in told
