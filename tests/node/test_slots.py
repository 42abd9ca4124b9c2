"""Slots of keys, and shards of slots."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader.errors import SettingError
from ringleader.limits import SHARDS_MAX
from ringleader.node.slots import SLOTS, shard_ranges, shard_table, slot_of


def test_slots_are_those_of_redis() -> None:
    """From the cluster specification, and `redis-cli cluster keyslot`."""
    assert slot_of(b"123456789") == 0x31C3
    assert slot_of(b"foo") == 12182
    assert (
        slot_of(b"{user1000}.following") == slot_of(b"{user1000}.followers") == slot_of(b"user1000")
    )
    assert slot_of(b"foo{}{bar}") == 8363
    assert slot_of(b"foo{{bar}}zap") == slot_of(b"{bar")
    assert slot_of(b"foo{bar}{zap}") == slot_of(b"bar")
    assert slot_of(b"") == 0


@given(st.integers(1, SHARDS_MAX))
def test_slots_are_dealt_out_evenly(count: int) -> None:
    ranges = shard_ranges(count)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == SLOTS - 1
    assert all(one[1] + 1 == other[0] for one, other in pairwise(ranges))
    sizes = {last - first + 1 for first, last in ranges}
    assert max(sizes) - min(sizes) <= 1
    table = shard_table(count)
    assert len(table) == SLOTS
    assert all(table[first] == table[last] == at for at, (first, last) in enumerate(ranges))


def test_shard_counts_that_cannot_be() -> None:
    for count in (0, -1, SHARDS_MAX + 1):
        with pytest.raises(SettingError):
            shard_ranges(count)
