"""A thousand short lives with all faults; RINGLEADER_SEEDS=100000 for a long evening."""

from __future__ import annotations

import os

import pytest

from ringleader.sim.runner import Settings, Total, run_many

SEEDS = int(os.environ.get("RINGLEADER_SEEDS", "1000"))
FIRST = int(os.environ.get("RINGLEADER_FIRST_SEED", "1"))

#: How the seeds are shared out: the wide-area profile is what this is for, and the cheapest.
SHARES = {"wan-3dc": 0.5, "wan-5dc": 0.2, "lan-3": 0.2, "lan-5": 0.1}
#: Local networks do a hundred times as much in a second.
DURATION_US = {"wan-3dc": 12_000_000, "wan-5dc": 12_000_000, "lan-3": 4_000_000, "lan-5": 3_000_000}
#: What a thousand seeds must have seen, on one profile or another.
MUST_REACH = {
    "conflicting tails replaced",
    "crashes inside a step",
    "restarts that lost unsynced writes",
    "snapshots installed",
    "snapshots resumed after a restart",
    "joint configurations entered",
    "joint configurations left",
    "transfers completed",
    "reads at followers",
    "reads under a lease",
    "leaders that stepped down",
    "nodes stopped by their disk",
}

_reached: set[str] = set()


@pytest.mark.parametrize("profile", SHARES)
def test_seeds(profile: str) -> None:
    count = max(1, round(SEEDS * SHARES[profile]))
    settings = Settings(FIRST, profile=profile, duration_us=DURATION_US[profile])
    total = Total()
    for report in run_many(settings, range(FIRST, FIRST + count)):
        assert report.failure is None, (
            f"{report.settings.command}\n{report.failure.text}\n" + "\n".join(report.failure.story)
        )
        total.add(report)
    assert total.runs == count
    _reached.update(total.coverage)


def test_the_seeds_reached_what_they_should() -> None:
    if SEEDS < 1000 or not _reached:
        pytest.skip("only the whole of it says")
    assert _reached >= MUST_REACH
