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

# --- between nodes --------------------------------------------------------------------------
#: Bytes of one frame: a block with the largest payload, and room for everything else.
PEER_FRAME_BYTES_MAX: Final = PAYLOAD_BYTES_MAX + 2**24
#: A frame that has grown to this is closed, and what follows goes into the next.
PEER_FRAME_BYTES: Final = 2**22
#: Bytes of a frame from a peer that has not yet said who it is.
PEER_HELLO_BYTES_MAX: Final = 4096
#: Bytes of the control part of a frame of consensus messages: they become integers one by one.
PEER_CONTROL_BYTES_MAX: Final = 2**22
#: Bytes that a connection's buffer has for what arrives; a longer frame gets one of its own.
PEER_READ_BYTES: Final = 2**18
#: Requests, or responses, of one frame.
PEER_REQUESTS_MAX: Final = 2**16
REQUEST_ARGS_MAX: Final = 2**20
#: Requests to one peer that wait for their response.
PEER_CALLS_MAX: Final = 2**16
#: Bytes that wait to be taken by one peer; beyond them messages are dropped.
PEER_QUEUE_BYTES_MAX: Final = 2**26
#: Bytes of responses that wait to be taken by one peer; beyond them its requests are refused before
#: anything is done, or its memory and ours would fill with what it cannot pass on.
PEER_ANSWER_BYTES_MAX: Final = 2**24
#: Beyond so many the longer responses (as of the next) are left out: their outcome is unknown.
PEER_UNTAKEN_BYTES_MAX: Final = 2**26
PEER_LONG_REPLY_BYTES: Final = 2**12
#: Requests that are handed on between two looks at that.
PEER_REQUESTS_TOGETHER: Final = 16
#: Accepted connections that have not yet said who they are.
PEER_STRANGERS_MAX: Final = 64
#: A connection that has not said who it is for so long is closed.
PEER_HANDSHAKE_SECONDS: Final = 5.0
PEER_PING_SECONDS: Final = 0.25
#: After so many pings with nothing back a peer counts as silent.
PEER_QUIET_TICKS: Final = 3
#: A connection on which nothing has come for so long is closed.
PEER_SILENT_SECONDS: Final = 3.0
#: Between two attempts to reach a peer: at first, at most, and after it refused us (or we it).
PEER_RETRY_SECONDS_MIN: Final = 0.01
PEER_RETRY_SECONDS_MAX: Final = 1.0
PEER_REFUSED_SECONDS: Final = 5.0
#: Clocks of two nodes that differ by more are warned about.
CLOCK_SKEW_MS_MAX: Final = 500

# --- storage --------------------------------------------------------------------------------
#: A record's payload: a block fits, and a number before it.
RECORD_BYTES_MAX: Final = BLOCK_BYTES_MAX + 8
#: A segment of the record log that is longer than this is the last one's predecessor soon.
SEGMENT_BYTES: Final = 2**26
#: The same of a node's log, whose segments are written with zeros before they are used.
WAL_SEGMENT_BYTES: Final = 2**24
#: What one of those files holds; the batch that fills a segment goes over by a little.
WAL_FILE_BYTES: Final = WAL_SEGMENT_BYTES + 2**20
#: Groups whose entries stand in a segment older than so many are asked for a snapshot.
WAL_SEGMENTS_MAX: Final = 8
#: So many that nothing needs any more are kept, to become the next ones...
WAL_KEPT_MAX: Final = 8
#: ... where the file system has room for so many more.
WAL_KEPT_ROOM_SEGMENTS: Final = 64
#: Groups of one node's log are numbered 0 ... this: a record has 24 bits for it.
WAL_GROUP_MAX: Final = 2**24 - 1
#: Own snapshots that are written to one disk at a time; others are not taken before.
SNAPSHOTS_SAVED_MAX: Final = 2
#: A snapshot is written in such pieces, each of them synced: bounds what is under way at the disk.
SNAPSHOT_PIECE_BYTES: Final = 2**22
#: A snapshot file has a checksum for each such page.
SNAPSHOT_PAGE_BYTES: Final = 2**16
CLUSTER_NAME_BYTES_MAX: Final = 255
#: What peers show each other of what their cluster files say.
CLUSTER_ID_BYTES: Final = 16
LAYOUT_BYTES_MAX: Final = 4096

# --- a node's shards ------------------------------------------------------------------------
#: A shard proposes so many commands as one batch, and fewer when they are long (`BATCH_BYTES`).
SHARD_BATCH_COMMANDS_MAX: Final = 4096
#: Slots of a shard's Multi-Paxos that may be under way; a change of membership is in force so many
#: later.  All lives of all nodes must agree on it: never change it.
PAXOS_WINDOW: Final = 1024
#: Batches of a shard that are under way at a time.
SHARD_BATCHES_MAX: Final = 256
#: While one is under way, the next one gathers commands for so long at most.
SHARD_GATHER_S: Final = 0.003
#: Commands that wait for a batch; more are refused.
SHARD_QUEUE_COMMANDS_MAX: Final = 2**17
#: A shard's log, which is in memory too, is followed by a snapshot when it takes so many bytes, and
#: so large a part of what the store does: as snapshots, as many times the log's bytes are written.
SHARD_SNAPSHOT_BYTES_MIN: Final = 2**22
SHARD_SNAPSHOT_DIVISOR: Final = 4
#: Entries (batches) that stay in the log behind a snapshot, for replicas that lag a little; fewer
#: when they are large.
SHARD_KEEP_ENTRIES: Final = 1024
SHARD_KEEP_BYTES: Final = 2**21
#: How often a shard looks for keys to expire, and a node tells the others which shards it leads.
ATTEND_PERIOD_S: Final = 0.1
CLAIM_PERIOD_S: Final = 0.25
#: How often a node looks at the round trips to others, for the timeouts of elections.
ROUND_TRIP_PERIOD_S: Final = 2.0
#: A node's wall clock follows the system's by at most this fraction of the time that passes, and
#: says that it has jumped from so many milliseconds on.
CLOCK_SLEW: Final = 0.05
CLOCK_JUMP_MS: Final = 500.0
#: How long a node that stops tries to hand over its leaderships.
DRAIN_SECONDS_MAX: Final = 3.0
#: A question how fresh a replica is, is asked again when there was no answer for so long.
SHARD_PROBE_S: Final = 0.25
#: Commands of a node's clients that wait for a leader; more are refused.
ERRANDS_MAX: Final = 2**17
#: How often WAITs are looked at though no replica has got further: some clients have gone.
WAITS_PERIOD_S: Final = 1.0

# --- the store of a shard ---------------------------------------------------------------------
# --- clients --------------------------------------------------------------------------------
#: Connections of clients that a node holds at once, unless its configuration says otherwise.
CLIENTS_MAX: Final = 10_000
#: What all of them may make the node hold, unless its configuration says otherwise; looked at once
#: a sixteenth of it has moved, and while it is too much, so often.
CLIENTS_BYTES_MAX: Final = 2**30
CLIENTS_CROWDED_SECONDS: Final = 0.05
#: Arguments of one command, its name among them; as Redis has it.
CLIENT_ARGUMENTS_MAX: Final = 2**20
CLIENT_BULK_BYTES_MAX: Final = 2**25
#: A whole command: its arguments and what stands between them.
CLIENT_COMMAND_BYTES_MAX: Final = 2**26
#: A line: an inline command, or the head of an array or a bulk string.
CLIENT_INLINE_BYTES_MAX: Final = 2**16
#: What a client may send before it has authenticated, as in Redis.
CLIENT_STRANGER_ARGUMENTS_MAX: Final = 10
CLIENT_STRANGER_BULK_BYTES_MAX: Final = 2**14
#: With so many commands or bytes unanswered, a connection is not read any further.
CLIENT_UNANSWERED_MAX: Final = 2**13
CLIENT_UNANSWERED_BYTES_MAX: Final = 2**25
#: Reads of one connection that may be under way, at first; with each short reply by one more ...
CLIENT_READS_FIRST: Final = 2**8
CLIENT_READS_MAX: Final = 2**11
CLIENT_READS_MIN: Final = 2**3
#: ... and shrinks so that their replies come to no more bytes than this.
CLIENT_READS_BYTES_AIM: Final = 2**23
#: Commands that waited for their turn are begun in such portions.
CLIENT_RESUMED_MAX: Final = 2**9
#: Replies of one connection that are made at a time, before its socket is tried.
CLIENT_OUTPUT_TURN_BYTES: Final = 2**20
#: With so many bytes of replies waiting for its socket, a connection's commands wait ...
CLIENT_OUTPUT_PAUSE_BYTES: Final = 2**20
#: ... and with so many it is closed: answers to what was under way came to more than it reads.
CLIENT_OUTPUT_BYTES_MAX: Final = 2**28
#: Commands and bytes that a transaction may queue.
TRANSACTION_COMMANDS_MAX: Final = 2**16
TRANSACTION_BYTES_MAX: Final = 2**25
#: Keys that one connection may watch.
CLIENT_WATCHED_KEYS_MAX: Final = 2**12
CLIENT_NAME_BYTES_MAX: Final = 2**10
#: A command that has begun must be whole within this, and a client must authenticate within this.
CLIENT_PARTIAL_SECONDS: Final = 30
CLIENT_HANDSHAKE_SECONDS: Final = 10
#: A client that reads nothing of what waits for it, for so long, is closed.
CLIENT_STALLED_SECONDS: Final = 60
#: More time for a command that keeps arriving, at this rate or faster.
CLIENT_PARTIAL_BYTES_PER_SECOND: Final = 2**16
#: How often clients are looked through for those that have run out of time.
CLIENT_SWEEP_SECONDS: Final = 1.0
#: Connections that wait to be accepted.
CLIENT_BACKLOG_MAX: Final = 1024
#: A TLS handshake.
CLIENT_TLS_SECONDS: Final = 10
#: When no connection can be accepted, such as for want of descriptors, it is tried again so soon.
ACCEPT_RETRY_SECONDS: Final = 0.1
#: What is under way when a node stops is waited for at most so long.
CLIENT_DRAIN_SECONDS: Final = 10
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

# --- a cluster's file and layout ---------------------------------------------------------------
CLUSTER_NODES_MAX: Final = 127
CLUSTER_FILE_BYTES_MAX: Final = 2**20
#: Faults of one file that are told at a time.
CLUSTER_FILE_FAULTS_MAX: Final = 20
PASSWORD_BYTES_MAX: Final = 1024

# --- watching a node ------------------------------------------------------------------------
#: Connections to the port of metrics and health; more are closed at once.
HTTP_CONNECTIONS_MAX: Final = 64
HTTP_REQUEST_BYTES_MAX: Final = 2**13
#: A request has to be there, and its answer gone, so soon.
HTTP_SECONDS_MAX: Final = 5.0
#: Metrics are put into words at most so often; who asks sooner gets the same again.
METRICS_SECONDS_MIN: Final = 0.5
#: Answers that `ringleader status` reads from a node.
STATUS_BYTES_MAX: Final = 2**24
#: Reasons by which refused input is told apart; the rest are "other".
REASONS_MAX: Final = 64
#: Characters of one value in the log.
LOG_VALUE_CHARACTERS_MAX: Final = 2_000

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

assert SHARD_BATCHES_MAX <= PAXOS_WINDOW
assert SHARD_BATCH_COMMANDS_MAX <= BATCH_COMMANDS_MAX
assert PAYLOAD_BYTES_MAX < BLOCK_BYTES_MAX
assert PAYLOAD_BYTES_MAX + PEER_CONTROL_BYTES_MAX < PEER_FRAME_BYTES_MAX < 2**32
assert 4 * PEER_PING_SECONDS < PEER_SILENT_SECONDS < PEER_HANDSHAKE_SECONDS
assert PEER_FRAME_BYTES <= PEER_ANSWER_BYTES_MAX < PEER_UNTAKEN_BYTES_MAX
assert PEER_FRAME_BYTES <= PEER_ANSWER_BYTES_MAX < PEER_QUEUE_BYTES_MAX
assert (PEER_QUIET_TICKS + 1) * PEER_PING_SECONDS < PEER_SILENT_SECONDS < PEER_HANDSHAKE_SECONDS
assert PEER_HELLO_BYTES_MAX < PEER_READ_BYTES <= PEER_FRAME_BYTES < PEER_QUEUE_BYTES_MAX
assert BLOCK_BYTES_MAX <= RECORD_BYTES_MAX < 2**32
assert SNAPSHOT_PIECE_BYTES % SNAPSHOT_PAGE_BYTES == 0
assert WAL_SEGMENT_BYTES < WAL_FILE_BYTES
assert WAL_KEPT_MAX < WAL_KEPT_ROOM_SEGMENTS
assert WAL_GROUP_MAX <= GROUP_ID_MAX
assert VOTERS_MAX <= MEMBERS_MAX
assert CLIENT_BULK_BYTES_MAX < CLIENT_COMMAND_BYTES_MAX < PAYLOAD_BYTES_MAX
assert CLIENT_OUTPUT_PAUSE_BYTES < CLIENT_OUTPUT_BYTES_MAX
assert GROUPS_MAX <= GROUP_ID_MAX
assert GROUPS_MAX <= ENVELOPE_ROWS_MAX

assert COMMAND_ARGS_MAX <= REQUEST_ARGS_MAX
assert COMMAND_BYTES_MAX + 5 * REQUEST_ARGS_MAX < PEER_FRAME_BYTES_MAX
assert CLIENT_ARGUMENTS_MAX <= COMMAND_ARGS_MAX
assert CLIENT_BULK_BYTES_MAX <= STORE_VALUE_BYTES_MAX
assert CLIENT_COMMAND_BYTES_MAX <= COMMAND_BYTES_MAX
assert TRANSACTION_BYTES_MAX <= COMMAND_BYTES_MAX

assert BATCH_BYTES + COMMAND_BYTES_MAX + 9 * COMMAND_ARGS_MAX < PAYLOAD_BYTES_MAX
assert STORE_KEY_BYTES_MAX < STORE_VALUE_BYTES_MAX < COMMAND_BYTES_MAX

assert FILE_BLOCK_BYTES <= FILE_LINE_BYTES_MAX
assert BLOCK_KEYS <= ITERATOR_CHUNK_KEYS
assert VNODES_MAX <= POINTS_MAX < NODES_MAX
assert JUMP_BUCKETS_MAX < NODES_MAX
assert 6 * PARTITION_CELLS_MAX < SAVED_RING_BYTES_MAX < 2**32
assert PARTITION_NODES_MAX < PARTITION_CELLS_MAX < NODES_MAX
