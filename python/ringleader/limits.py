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
#: Keys handed to a kernel at a time: between two such runs Python sees interrupts (Ctrl-C).
KERNEL_RUN_KEYS: Final = 2**20
#: Below this many keys for each thread, starting the thread costs more than it saves.
THREAD_KEYS_MIN: Final = 65_536
THREADS_MAX: Final = 1024

# --- rings ----------------------------------------------------------------------------------
#: Positions are uint32, and 2**32-1 stands for "no node".
NODES_MAX: Final = 2**32 - 1
#: Points (virtual nodes) in one ring.  So many take 2.3 GB, half as much again while they are
#: built, and twice as much after a change.
POINTS_MAX: Final = 2**26
#: Virtual nodes of a node of weight 1.
VNODES_MAX: Final = 2**20
NODE_NAME_BYTES_MAX: Final = 65_535
NODE_FIELD_BYTES_MAX: Final = 65_535
NODE_TAGS_MAX: Final = 65_535

#: Buckets of AnchorHash and MementoHash: 12 bytes each, and a copy while they change.
BUCKETS_MAX: Final = 2**26

#: Of the skeleton of a rendezvous hash.
FANOUT_MAX: Final = 1024
CLUSTERS_MAX: Final = 2**30
#: Buckets of jump hash: the paper counts them in an int32.
JUMP_BUCKETS_MAX: Final = 2**31 - 1
#: Slots of a Maglev table; so many take 256 MiB.
MAGLEV_SLOTS_MAX: Final = 2**26
#: Probes of one key in multi-probe hashing.
PROBES_MAX: Final = 1024

#: Replicas of one key under a policy.
REPLICAS_MAX: Final = 255
#: Policies for which a state of a locator keeps what it has made beforehand; then the oldest goes.
POLICIES_KEPT_MAX: Final = 8
#: The successors of all points of a ring, for one policy.  Rings for which they would take more
#: are walked for every key.
SUCCESSORS_BYTES_MAX: Final = 2**28
#: For so many replicas that are any distinct nodes, long columns are looked up by successors, too.
WALK_ROWS_MAX: Final = 8

#: How many times its fair share a node may get under bounded loads.
BOUND_MAX: Final = 2**20
# --- tables of partitions (csrc/rebalance.h has the first two) ---------------------------------
#: There are 2**power partitions.
PARTITION_POWER_MAX: Final = 24
PARTITION_REPLICAS_MAX: Final = 32
#: Partitions times replicas: 1 GB while such a table is rebalanced.
PARTITION_CELLS_MAX: Final = 2**26
PARTITION_NODES_MAX: Final = 2**20
#: Times of moves, in seconds since 1970, are stored as uint32.
PARTITION_SECONDS_MAX: Final = 2**32 - 1

#: Bytes of a key space that a movement is planned for.
PLAN_BYTES_MAX: Final = 2**80

# --- saved rings ----------------------------------------------------------------------------
SAVED_RING_BYTES_MAX: Final = 2**31

# --- files that the command line reads and writes -------------------------------------------
#: Bytes of a text or CSV file in one piece.
FILE_BLOCK_BYTES: Final = 2**21
#: Keys in one piece of a Parquet or Arrow file, unless long keys make it larger than the next.
FILE_BATCH_KEYS: Final = 2**18
FILE_BATCH_BYTES_MAX: Final = 2**25
#: Longer lines are taken for a sign that the file is no list of keys.
FILE_LINE_BYTES_MAX: Final = 2**26
#: Rows of a row group or record batch written, unless long keys make it larger than the next.
FILE_GROUP_ROWS: Final = 2**18
FILE_GROUP_BYTES_MAX: Final = 2**26

# --- the replicated log ---------------------------------------------------------------------
#: Terms and indices stay below this, so that sums of two never leave 64 bits.  Bit 63 of a word
#: in a column of terms marks a control entry (csrc/log.h has the same numbers).
TERM_MAX: Final = 2**62 - 1
INDEX_MAX: Final = 2**62 - 1
PAYLOAD_BYTES_MAX: Final = 2**28
#: Entries and bytes (header included) of one block.
BLOCK_ENTRIES_MAX: Final = 2**20
BLOCK_BYTES_MAX: Final = 2**30

# --- consensus ------------------------------------------------------------------------------
#: Voters of one configuration: a quorum's arithmetic is done in fixed room.
VOTERS_MAX: Final = 127
#: Quorums enumerated to prove that those of two systems of different shape always meet.
QUORUMS_CHECKED_MAX: Final = 2**16
MEMBERS_MAX: Final = 1024
NODE_ID_BYTES_MAX: Final = 255
#: Reads, and forwarded proposals, that may wait for an answer on one node.
DRIVER_PENDING_MAX: Final = 2**16
GROUPS_MAX: Final = 2**24
#: Groups are numbered 0 ... this, alike on all nodes.
GROUP_ID_MAX: Final = 2**32 - 1
#: Rows of each table of an envelope between two nodes; a node has a few for each of its groups.
ENVELOPE_ROWS_MAX: Final = 2**26
#: Lives of one node.
INCARNATION_MAX: Final = 2**62 - 1
#: Ticks that a timer may run.
TIMER_TICKS_MAX: Final = 2**15 - 1

# --- storage --------------------------------------------------------------------------------
#: A record's payload: a block fits, and a number before it.
RECORD_BYTES_MAX: Final = BLOCK_BYTES_MAX + 8
#: A segment of the record log that is longer than this is the last one's predecessor soon.
SEGMENT_BYTES: Final = 2**26
#: A snapshot is written in such pieces, each of them synced: bounds the memory it takes.
SNAPSHOT_PIECE_BYTES: Final = 2**22
#: A snapshot file has a checksum for each such page.
SNAPSHOT_PAGE_BYTES: Final = 2**16
CLUSTER_NAME_BYTES_MAX: Final = 255

# --- the node -------------------------------------------------------------------------------
#: Shards of a cluster: each is a range of Redis' 16384 slots, and a consensus group.
SHARDS_MAX: Final = 4096
#: A key.
STORE_KEY_BYTES_MAX: Final = 2**16
#: A value, a field of a hash, and what APPEND, SETRANGE and the like may make of one.  Redis allows
#: 512 MiB; a value travels in one log entry.
STORE_VALUE_BYTES_MAX: Final = 2**26
#: All arguments of one command, or of all commands of one transaction.
COMMAND_BYTES_MAX: Final = 2**27
COMMAND_ARGS_MAX: Final = 2**20
#: Commands of one batch, which is one log entry.
BATCH_COMMANDS_MAX: Final = 2**16
#: A batch that has reached so many bytes takes no more commands.
BATCH_BYTES: Final = 2**22
#: How deep replies may be nested.
REPLY_DEPTH_MAX: Final = 16
#: Keys that may be watched at a time in one shard, and how long after the last WATCH.
WATCHED_KEYS_MAX: Final = 2**17
WATCH_MS: Final = 60_000
#: Milliseconds since 1970 that a leader's clock may say: the year 10889.
CLOCK_MS_MAX: Final = 2**48 - 1
#: Keys that one batch removes because they expire: 10 to 20 ms.
EXPIRED_KEYS_MAX: Final = 5000
#: Spellings of command names that are remembered.
COMMAND_SPELLINGS_MAX: Final = 4096
#: A pattern of KEYS or SCAN, and how many of them are kept translated.
PATTERN_BYTES_MAX: Final = 4096
PATTERNS_KEPT_MAX: Final = 256
#: Keys that SCAN looks at in one call, whatever COUNT says.
SCAN_COUNT_MAX: Final = 2**20

# --- simulation -----------------------------------------------------------------------------
#: Calls that the linearizability checker tries on one key before it gives up.
LINEARIZABILITY_STEPS_MAX: Final = 2**21

# --- availability ---------------------------------------------------------------------------
#: Datacenters of one model: placements to survive their loss are enumerated.
AVAILABILITY_DATACENTERS_MAX: Final = 16
#: Bits of a probability's denominator: any float fits.
PROBABILITY_BITS_MAX: Final = 1100
#: Bits of all denominators of a model together, which the exact answer has.
AVAILABILITY_BITS_MAX: Final = 2**16
#: Placements that one comparison tries.
PLACEMENTS_COMPARED_MAX: Final = 20_000

assert PAYLOAD_BYTES_MAX < BLOCK_BYTES_MAX
assert BLOCK_BYTES_MAX <= RECORD_BYTES_MAX < 2**32
assert SNAPSHOT_PIECE_BYTES % SNAPSHOT_PAGE_BYTES == 0
assert VOTERS_MAX <= MEMBERS_MAX
assert GROUPS_MAX <= GROUP_ID_MAX
assert GROUPS_MAX <= ENVELOPE_ROWS_MAX

assert BATCH_BYTES + COMMAND_BYTES_MAX + 9 * COMMAND_ARGS_MAX < PAYLOAD_BYTES_MAX
assert STORE_KEY_BYTES_MAX < STORE_VALUE_BYTES_MAX < COMMAND_BYTES_MAX

assert FILE_BLOCK_BYTES <= FILE_LINE_BYTES_MAX
assert BLOCK_KEYS <= ITERATOR_CHUNK_KEYS
assert VNODES_MAX <= POINTS_MAX < NODES_MAX
assert JUMP_BUCKETS_MAX < NODES_MAX
assert 6 * PARTITION_CELLS_MAX < SAVED_RING_BYTES_MAX < 2**32
assert PARTITION_NODES_MAX < PARTITION_CELLS_MAX < NODES_MAX
