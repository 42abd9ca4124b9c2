"""The simulator: how many messages its nodes receive in a second of this machine's, on one core.

A run is a function of its settings, so that every lap does the same work; what it did is told by
its digest.  Faults slow it down (fewer messages for the same virtual time) and make it do more for
each: restarts, snapshots, elections.
"""

from __future__ import annotations

import pytest

from bench.cases import scaled
from bench.harness import AtMost, Case, Compare, Contestant, Goal
from ringleader.sim.runner import Report, Settings, run

SEED = 7
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
VIRTUAL_US = scaled(20, 1) * SECOND_US
#: 100,000 messages in a second of one core.
MESSAGE_NS_MAX = 10_000


def simulated(profile: str, faults: str) -> Report:
    report = run(Settings(SEED, profile, faults, duration_us=VIRTUAL_US))
    assert report.failure is None, report.failure
    return report


@pytest.mark.parametrize("profile", ["lan-3", "lan-5", "wan-3dc", "wan-5dc"])
@pytest.mark.parametrize("faults", ["none", "all"])
def test_messages(compare: Compare, profile: str, faults: str) -> None:
    messages = simulated(profile, faults).messages

    def lap() -> str:
        return simulated(profile, faults).digest

    goals: list[Goal] = [AtMost(MESSAGE_NS_MAX)]
    compare(
        Case(
            f"{profile}, faults: {faults}, {messages:,} messages",
            "message",
            [Contestant("ringleader", lap, messages, "ours")],
            goals,
        )
    )


@pytest.mark.parametrize("profile", ["lan-3", "wan-3dc"])
@pytest.mark.parametrize("faults", ["none", "all"])
def test_virtual_time(compare: Compare, profile: str, faults: str) -> None:
    """How long a virtual hour takes."""
    virtual_us = simulated(profile, faults).virtual_us

    def lap() -> str:
        return simulated(profile, faults).digest

    compare(
        Case(
            f"{profile}, faults: {faults}, virtual time",
            "virtual second",
            [Contestant("ringleader", lap, max(1, virtual_us // SECOND_US), "ours")],
        )
    )
