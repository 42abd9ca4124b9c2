"""The order in which SCAN walks through the keys: by a 48-bit hash.

Sorting all keys takes time, so an index is made once and used while a scan goes on.  Keys that come
later are kept beside it; keys that are gone stay in it and are passed over.  When there are too
many of either, or nobody has scanned for a while, it is dropped.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from itertools import islice
from typing import Final

from ringleader import hashing

HASH_BITS: Final = 48
HASH_END: Final = 2**HASH_BITS
_SHIFT: Final = 64 - HASH_BITS
#: Keys beside the index, beyond a sixteenth of those inside.
_ADDED_MAX: Final = 1024
#: Machine time after the last SCAN, in ms.
_IDLE_MS: Final = 60_000


class ScanIndex:
    """The keys there are, by hash.

    added       keys that came since and are not yet hashed; whoever makes a new key appends it.
    used_ms     the clock at the last SCAN.
    """

    __slots__ = ("_count", "_hashes", "_keys", "_later", "added", "used_ms")

    def __init__(self, keys: Collection[bytes], now_ms: int) -> None:
        listed = list(keys)
        self._count = len(listed)
        self._hashes: list[int] = []
        self._keys: list[bytes] = []
        if listed:
            hashes = hashing.xxh3_64_column(listed) >> _SHIFT
            order = hashes.argsort()
            self._hashes = hashes[order].tolist()
            self._keys = [listed[at] for at in order.tolist()]
        #: (hash, key) of those that came since, sorted.
        self._later: list[tuple[int, bytes]] = []
        self.added: list[bytes] = []
        self.used_ms = now_ms

    def is_useful(self, key_count: int, now_ms: int) -> bool:
        """Whether it is still worth what it holds."""
        room = _ADDED_MAX + self._count // 16
        return (
            len(self.added) + len(self._later) <= room
            and self._count <= 2 * key_count + _ADDED_MAX
            and now_ms - self.used_ms <= _IDLE_MS
        )

    def step(self, present: Collection[bytes], cursor: int, count: int) -> tuple[int, list[bytes]]:
        """Look at `count` keys from `cursor` on: the next cursor (0: that was all), the keys.

        Keys of one hash come together, even if they are more.  O(count), and a sort of what was
        added.
        """
        if self.added:
            self._later += [(hashing.xxh3_64(key) >> _SHIFT, key) for key in self.added]
            self._later.sort()
            self.added.clear()
        start = bisect_left(self._hashes, cursor)
        end = start + count
        following = HASH_END
        if end < self._count:
            end = bisect_right(self._hashes, self._hashes[end - 1], end)
            following = self._hashes[end - 1] + 1 if end < self._count else HASH_END
        found = self._keys[start:end]
        later = self._later
        if later:
            first = bisect_left(later, (cursor, b""))
            last = bisect_left(later, (following, b""))
            if last - first > count:
                # Stop where `count` of the later ones are seen, or there the others stop.
                last = bisect_left(later, (later[first + count - 1][0] + 1, b""))
                following = later[last - 1][0] + 1
                found = self._keys[start : bisect_left(self._hashes, following, start)]
            found += [key for _, key in islice(later, first, last)]
            found = list(dict.fromkeys(found))
        found = [key for key in found if key in present]
        return (0 if following >= HASH_END else following), found
