"""What a caller of Multi-Paxos can do wrong: each a typed error that says what to do, and nothing
has changed.  What is the same with every core is in test_core_misuse.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from core_group import work
from paxos_group import PLAIN, b, heartbeat, leading, packed, paxos

from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.paxos import Config, MultiPaxos
from ringleader.consensus.raft import Config as RaftConfig
from ringleader.consensus.ready import HardState
from ringleader.errors import (
    ConfigError,
    LimitError,
    LogError,
    MembershipError,
    ProposalRefused,
    RingleaderError,
)
from ringleader.limits import BLOCK_ENTRIES_MAX, TERM_MAX

VOTERS = [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"voters": Membership([1, 2], outgoing=[1, 3])}, MembershipError),
        ({"voters": Membership([1, 2, 3], witnesses=[2])}, MembershipError),
        ({"config": RaftConfig()}, ConfigError),
        ({"config": {"window": 3}}, ConfigError),
        ({"hard_state": HardState(TERM_MAX)}, LogError),
        ({"aside": [packed(3, 9, [b"x"])], "hard_state": HardState(8)}, LogError),
    ],
)
def test_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    arguments = {"id": 1, "voters": VOTERS} | arguments
    with pytest.raises(error) as caught:
        MultiPaxos(**arguments)
    assert isinstance(caught.value, RingleaderError)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"window": 0}, "window=0"),
        ({"window": True}, "no integer"),
        ({"window": BLOCK_ENTRIES_MAX + 1}, "window"),
        ({"max_aside_bytes": 0}, "max_aside_bytes"),
    ],
)
def test_settings(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Config(**settings)


@pytest.mark.parametrize("makes", [lambda voters: 1 / 0, lambda voters: "two of them"])
def test_a_quorum_function_that_makes_none(makes: Any) -> None:
    with pytest.raises(MembershipError, match="quorum"):
        paxos(config=replace(PLAIN, quorum=makes))


def test_a_change_for_which_there_is_no_quorum_system() -> None:
    def three(voters: tuple[Any, ...]) -> Any:
        return Config().quorum(voters) if len(voters) == 3 else None

    core = leading(config=replace(PLAIN, quorum=three))
    with pytest.raises(MembershipError, match="for the voters"):
        core.change_config(ConfChange(voters=[4]))
    assert (core.log.last, core.has_ready) == (0, False)


# --- the window ------------------------------------------------------------------------------


def test_more_at_once_than_the_window_takes() -> None:
    core = leading(config=replace(PLAIN, window=5))
    with pytest.raises(LimitError, match="6 payloads at once: at most 5"):
        core.propose([b""] * 6)
    assert (core.log.last, core.has_ready) == (0, False)


def test_more_forwarded_at_once_than_the_window_takes() -> None:
    core = paxos()
    core.step(heartbeat(core, b(1, 2)))
    work(core)
    with pytest.raises(LimitError):
        core.forward([b""] * (core.config.window + 1))
    assert not core.has_ready


def test_a_change_into_a_full_window() -> None:
    core = leading(config=replace(PLAIN, window=2))
    core.propose([b"a", b"b"])
    with pytest.raises(ProposalRefused, match="window is full"):
        core.change_config(ConfChange(voters=[4]))


def test_a_witness_is_no_member() -> None:
    core = leading()
    with pytest.raises(MembershipError):
        core.change_config(ConfChange(witnesses=[4]))
    assert (core.log.last, core.membership, core.has_ready) == (0, Membership(VOTERS), False)
