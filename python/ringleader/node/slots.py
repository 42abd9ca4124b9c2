"""Which slot a key belongs to, and which shard a slot.

slot(key)     CRC-16/XMODEM of the key's hash tag, modulo 16384, as Redis Cluster has it
shard(slot)   a table: the slots are dealt out to the shards in one range each
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from ringleader import hashing
from ringleader.errors import SettingError
from ringleader.limits import SHARDS_MAX

SLOTS: Final = 16384

#: The slot of a key (bytes): about 40 ns.
slot_of = hashing.redis_slot


def shard_ranges(shard_count: int) -> list[tuple[int, int]]:
    """The first and the last slot of each shard; sizes differ by one at most.

    Raises:
        SettingError: there are fewer shards than 1, or more than `SHARDS_MAX`.
    """
    if not 1 <= shard_count <= SHARDS_MAX:
        raise SettingError(f"{shard_count} shards: there may be 1 to {SHARDS_MAX}")
    ends = [SLOTS * shard // shard_count for shard in range(shard_count + 1)]
    return [(first, end - 1) for first, end in pairwise(ends)]


def shard_table(shard_count: int) -> list[int]:
    """The shard of every slot.

    Raises:
        SettingError: as `shard_ranges`.
    """
    return [
        shard
        for shard, (first, last) in enumerate(shard_ranges(shard_count))
        for _ in range(first, last + 1)
    ]
