"""A thousand short lives with all faults, a quarter as many of Multi-Paxos; RINGLEADER_SEEDS=100000
for a long evening."""

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

#: The same for Multi-Paxos, of a quarter as many seeds.
PAXOS_SHARE = 0.25
PAXOS_MUST_REACH = {
    "refused for a higher promise",
    "refused for what is chosen",
    "prepares answered in parts",
    "slots proposed again",
    "accepted past a gap",
    "entries set aside",
    "entries back from aside",
    "slots chosen past a gap",
    "entries learned",
    "window full",
    "crashes inside a step",
    "restarts that lost unsynced writes",
    "snapshots installed",
    "configurations chosen",
    "transfers completed",
    "reads at followers",
    "reads under a lease",
    "leaders that stepped down",
    "nodes stopped by their disk",
}
MUST_REACH_OF = {"raft": MUST_REACH, "paxos": PAXOS_MUST_REACH}

_reached: dict[str, set[str]] = {"raft": set(), "paxos": set()}


@pytest.mark.parametrize("profile", SHARES)
@pytest.mark.parametrize("consensus", MUST_REACH_OF)
def test_seeds(consensus: str, profile: str) -> None:
    share = SHARES[profile] * (PAXOS_SHARE if consensus == "paxos" else 1)
    count = max(1, round(SEEDS * share))
    settings = Settings(
        FIRST, profile=profile, duration_us=DURATION_US[profile], consensus=consensus
    )
    total = Total()
    for report in run_many(settings, range(FIRST, FIRST + count)):
        assert report.failure is None, (
            f"{report.settings.command}\n{report.failure.text}\n" + "\n".join(report.failure.story)
        )
        total.add(report)
    assert total.runs == count
    _reached[consensus].update(total.coverage)


@pytest.mark.parametrize("consensus", MUST_REACH_OF)
def test_the_seeds_reached_what_they_should(consensus: str) -> None:
    if SEEDS < 1000 or not _reached[consensus]:
        pytest.skip("only the whole of it says")
    assert _reached[consensus] >= MUST_REACH_OF[consensus]
