"""What a caller of Raft can do wrong: each a typed error that says what to do, and nothing has
changed.  What is the same with every core is in test_core_misuse.py."""

from __future__ import annotations

import pytest
from core_group import work
from raft_group import Group, leading, raft, stored

from ringleader.consensus.log import Log
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.raft import Config, Raft
from ringleader.consensus.raft.messages import AppendReply, InstallSnapshot
from ringleader.consensus.ready import BytesSource, HardState, Snapshot
from ringleader.errors import (
    LimitError,
    LogError,
    MembershipError,
    MisuseError,
    ProposalRefused,
    RingleaderError,
)
from ringleader.hashing import crc32c
from ringleader.limits import BLOCK_ENTRIES_MAX

VOTERS = [1, 2, 3]


def test_a_snapshot_of_another_term_than_the_log_begins_after() -> None:
    snapshot = Snapshot(5, 2, Membership(VOTERS), BytesSource(b""), 0)
    with pytest.raises(LogError) as caught:
        Raft(1, VOTERS, log=Log(5, 1), snapshot=snapshot, hard_state=HardState(2))
    assert isinstance(caught.value, RingleaderError)


def test_propose_more_than_a_block_takes() -> None:
    core = leading(Config())
    with pytest.raises(LimitError):
        core.propose([b""] * (BLOCK_ENTRIES_MAX + 1))
    assert core.log.last == 1
    assert core.propose([]) == 2
    assert core.log.last == 1


def test_propose_after_leaving_the_group() -> None:
    core = leading(Config())
    core.change_config(ConfChange(remove=[1]))
    with pytest.raises(ProposalRefused, match="left the group"):
        core.propose([b"a"])
    assert core.role == "leader"


def test_campaign_of_a_witness() -> None:
    core = raft(voters=Membership([1, 2, 3], witnesses=[1]))
    with pytest.raises(MembershipError, match="cannot lead"):
        core.campaign()
    core.tick(1000)
    assert not core.has_ready


# --- snapshots -------------------------------------------------------------------------------


def test_a_received_snapshot_is_read_from_the_storage() -> None:
    group = Group(3)
    core = group.elect(1)
    group.cut(3)
    core.propose([b"a"])
    group.settle()
    group.snapshot(1)
    group.heal()
    core.tick()
    group.work(1)
    for _ in range(3):
        batch, group.network = group.network, []
        for message in batch:
            if message.to == 1:
                core.step(message)
                group.work(1)
            elif message.to == 3:
                target = group.cores[3]
                target.step(message)
                if target.has_ready:
                    ready = target.ready()
                    if ready.snapshot is not None:
                        with pytest.raises(MisuseError, match="open_snapshot"):
                            ready.snapshot.source.read(0, 1)
                        return
                    target.advance(ready)
                    group.network += ready.messages
    raise AssertionError("no snapshot came")


@pytest.mark.parametrize("held", [0, 3, 6, 7])
def test_a_half_received_snapshot(held: int) -> None:
    """It goes on from what is there; also when a crash left all bytes, but not the installation."""
    found = stored([1], 5).load()
    whole = crc32c(b"abcdef")
    core = Raft(
        1,
        VOTERS,
        log=found.log,
        hard_state=found.hard_state,
        partial=(20, 5, 6, whole, held, crc32c(b"abcdefg"[:held])),
    )
    at = 0
    for _ in range(6):
        data = b"abcdef"[at : at + 3]
        core.step(
            InstallSnapshot(2, 1, 5, 20, 5, Membership(VOTERS).to_bytes(), 6, whole, at, data, 1)
        )
        if not (sent := work(core)) or sent[-1].installed:
            break
        at = sent[-1].offset
    assert core.log.base == 20


# --- what only looks wrong -------------------------------------------------------------------


def test_calls_that_change_nothing() -> None:
    core = leading(Config())
    core.tick(0)
    core.wake()
    core.step(AppendReply(2, 1, 1, 1, 1))
    core.transfer(1)
    core.campaign()
    assert not core.has_ready
    assert (core.role, core.term) == ("leader", 1)
