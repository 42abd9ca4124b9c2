"""Every bound in ringleader, with its unit in the name, and the relations between them.

An `assert` here is a relation that the code relies on; it runs at import.
"""

from __future__ import annotations

from typing import Final

# --- keys -----------------------------------------------------------------------------------
KEY_INT_MIN: Final = -(2**63)
KEY_INT_MAX: Final = 2**64 - 1
#: Keys decoded at a time inside the kernels (csrc/keys.h has the same number).
BLOCK_KEYS: Final = 1024
#: Keys taken from an iterator before they are placed; bounds the memory of `lookup(iterator)`.
ITERATOR_CHUNK_KEYS: Final = 65_536
#: Below this many keys for each thread, starting the thread costs more than it saves.
THREAD_KEYS_MIN: Final = 65_536
THREADS_MAX: Final = 1024

# --- rings ----------------------------------------------------------------------------------
#: Positions are uint32, and 2**32-1 stands for "no node".
NODES_MAX: Final = 2**32 - 1
#: Points (virtual nodes) in one ring: 64 Mi points take about 1.6 GB.
POINTS_MAX: Final = 2**26
#: Virtual nodes of a node of weight 1.
VNODES_MAX: Final = 2**20
NODE_NAME_BYTES_MAX: Final = 65_535
NODE_FIELD_BYTES_MAX: Final = 65_535
NODE_TAGS_MAX: Final = 65_535

# --- saved rings ----------------------------------------------------------------------------
SAVED_RING_BYTES_MAX: Final = 2**31

assert BLOCK_KEYS <= ITERATOR_CHUNK_KEYS
assert VNODES_MAX <= POINTS_MAX < NODES_MAX
