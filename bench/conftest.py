"""The one fixture of the suites, and what their results say about the machine."""

from __future__ import annotations

from typing import Any

import pytest

from bench import environment
from bench.cases import SMALL
from bench.harness import Case, Compare, Result, measure


@pytest.fixture
def compare(benchmark: Any) -> Compare:
    """Measure a case in turns, and ours once more under pytest-benchmark for its own table."""

    def run(case: Case) -> Result:
        result = measure(case)
        benchmark.extra_info["paired"] = result.as_json()
        ours = case.ours
        with ours.turn():
            benchmark.pedantic(
                ours.run, setup=ours.prepare, rounds=1 if SMALL else 5, warmup_rounds=1
            )
        return result

    return run


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_generate_machine_info() -> dict[str, object]:
    return environment.describe()
