# Every C symbol the .pyx files may call.  Declarations only: nothing here has a
# run-time module, so cimporting this file never imports anything.
from cpython.ref cimport PyObject
from libc.stddef cimport ptrdiff_t, size_t
from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t

cdef extern from "base.h" nogil:
    uint64_t rl_load64(const void *p) noexcept
    void rl_store64(void *p, uint64_t x) noexcept

cdef extern from "simd.h" nogil:
    int rl_simd_supported() noexcept
    int rl_simd() noexcept
    int rl_simd_force(int level) noexcept

cdef extern from "hash.h" nogil:
    enum: RL_HASH_XXH3
    enum: RL_HASH_XXH64
    enum: RL_HASH_MURMUR3
    enum: RL_HASH_SIPHASH13
    ctypedef struct rl_span:
        const uint8_t *data
        size_t size
    ctypedef struct rl_hasher:
        uint32_t kind
        uint64_t seed
        uint64_t seed_hi
    int rl_hasher_init(rl_hasher *hasher, uint32_t kind, uint64_t seed, uint64_t seed_hi) noexcept
    uint64_t rl_hash_bytes(const rl_hasher *hasher, const void *data, size_t size) noexcept
    void rl_hash_words(
        const rl_hasher *hasher, const uint64_t *words, size_t count, uint64_t *out
    ) noexcept
    void rl_hash_spans(
        const rl_hasher *hasher, const rl_span *spans, size_t count, uint64_t *out
    ) noexcept

cdef extern from "keys.h" nogil:
    enum: RL_BLOCK_KEYS
    enum: RL_KEYS_OK
    enum: RL_KEYS_PYTHON_ERROR
    enum: RL_KEYS_NULL
    enum: RL_KEYS_SURROGATE
    enum: RL_KEYS_NO_MEMORY
    enum: RL_KEYS_CORRUPT
    const char *RL_KEYS_CAPSULE
    ctypedef struct rl_scratch:
        uint8_t *bytes
        size_t capacity
        int error
        size_t error_index
    ctypedef struct rl_keys:
        size_t count
        int is_words
        int needs_gil
        const uint64_t *(*words)(
            const rl_keys *keys, size_t lo, size_t count, uint64_t *buffer, rl_scratch *scratch
        ) noexcept nogil
        size_t (*spans)(
            const rl_keys *keys, size_t lo, size_t count, rl_span *out, rl_scratch *scratch
        ) noexcept nogil
    void rl_scratch_free(rl_scratch *scratch) noexcept

cdef extern from "utf8.h" nogil:
    size_t RL_UTF8_INVALID
    size_t rl_utf8_from_ucs1(const uint8_t *text, size_t length, uint8_t *out) noexcept
    size_t rl_utf8_from_ucs2(const uint16_t *text, size_t length, uint8_t *out) noexcept
    size_t rl_utf8_from_ucs4(const uint32_t *text, size_t length, uint8_t *out) noexcept

cdef extern from "pykey.h":
    ctypedef struct rl_key_room:
        uint8_t small[256]
        uint8_t *heap
    void rl_pykey_init(
        object numpy_integer, object type_error, object range_error, object text_error
    ) noexcept
    int rl_key_span(object key, Py_ssize_t position, rl_span *span, rl_key_room *room) except -1
    void rl_key_release(rl_key_room *room) noexcept

cdef extern from "xxh3.h" nogil:
    uint64_t rl_xxh3_once(const void *data, size_t size, uint64_t seed) noexcept

cdef extern from "murmur3.h" nogil:
    ctypedef struct rl_murmur3_128:
        uint64_t h1
        uint64_t h2
    rl_murmur3_128 rl_murmur3_x64_128(const uint8_t *data, size_t size, uint32_t seed) noexcept
    uint32_t rl_murmur3_x86_32(const uint8_t *data, size_t size, uint32_t seed) noexcept
    uint64_t rl_cassandra(const uint8_t *data, size_t size) noexcept

cdef extern from "md5.h" nogil:
    enum: RL_MD5_BYTES
    void rl_md5_spans(const rl_span *spans, size_t count, uint8_t *digests) noexcept

cdef extern from "crc.h" nogil:
    uint16_t rl_crc16_xmodem(uint16_t crc, const void *data, size_t size) noexcept
    uint32_t rl_crc32(uint32_t crc, const void *data, size_t size) noexcept
    uint32_t rl_crc32c(uint32_t crc, const void *data, size_t size) noexcept
    void rl_nginx_points(uint32_t base, size_t count, uint64_t *points) noexcept
    enum: RL_REDIS_SLOTS
    enum: RL_REDIS_SLOT_SHIFT
    uint32_t rl_redis_slot(const void *data, size_t size) noexcept
    void rl_redis_slots(const rl_span *spans, size_t count, uint64_t *out) noexcept

cdef extern from "quorum.h" nogil:
    enum: RL_VOTERS_MAX
    enum: RL_TIMER_TICKS_MAX
    ctypedef struct rl_timers:
        uint8_t *soon
        uint16_t *later
    void rl_quorum_committed(
        const uint64_t *match, size_t groups, size_t voters, size_t quorum, uint64_t *out
    ) noexcept
    uint64_t rl_quorum_committed_one(uint64_t *values, size_t voters, size_t quorum) noexcept
    void rl_quorum_committed_joint(
        const uint64_t *incoming, size_t incoming_voters, size_t incoming_quorum,
        const uint64_t *outgoing, size_t outgoing_voters, size_t outgoing_quorum, size_t groups,
        uint64_t *out
    ) noexcept
    void rl_quorum_votes(
        const int8_t *ballots, size_t groups, size_t voters, size_t quorum, int8_t *out
    ) noexcept
    size_t rl_timers_room(size_t rows) noexcept
    void rl_timers_set(const rl_timers *timers, size_t row, uint32_t ticks) noexcept
    uint32_t rl_timers_remaining(const rl_timers *timers, size_t row) noexcept
    size_t rl_timers_tick(const rl_timers *timers, size_t rows, uint32_t *fired) noexcept

cdef extern from "ring.h" nogil:
    enum: RL_DIRECT_PAD
    enum: RL_OWNERS_PAD
    enum: RL_TOKENS_PAD
    enum: RL_WALK_LINEAR
    ctypedef struct rl_ring:
        size_t count
        uint32_t start_bits
        uint32_t direct_bits
        uint64_t *tokens
        uint32_t *owners
        uint32_t *starts
        uint32_t *direct
    const char *RL_RING_CAPSULE
    ctypedef struct rl_ring_view:
        const rl_ring *ring
        const rl_hasher *hasher
        size_t id_bound
        const uint32_t *ranks
        int ids_are_positions
    uint32_t rl_ring_start_bits(size_t count) noexcept
    uint32_t rl_ring_direct_bits(size_t count, size_t id_bound) noexcept
    void rl_ring_node_tokens(
        const rl_hasher *hasher, uint64_t node_hash, uint64_t first, size_t count, uint64_t *tokens
    ) noexcept
    void rl_ring_build(rl_ring *ring, const uint64_t *tokens, const uint32_t *counts) noexcept
    void rl_ring_insert(
        rl_ring *ring, const rl_ring *old, const uint64_t *changes, size_t change_count,
        uint32_t id, const uint32_t *ranks
    ) noexcept
    int rl_ring_remove(
        rl_ring *ring, const rl_ring *old, const uint64_t *changes, size_t change_count, uint32_t id
    ) noexcept
    void rl_ring_patch_direct(
        rl_ring *ring, const uint64_t *changes, size_t change_count
    ) noexcept
    size_t rl_ring_find(const rl_ring *ring, uint64_t hash) noexcept
    uint32_t rl_ring_owner(const rl_ring *ring, uint64_t hash) noexcept
    void rl_ring_owners(
        const rl_ring *ring, const uint64_t *hashes, size_t count, uint32_t *out
    ) noexcept
    void rl_ring_word_owners(
        const rl_ring *ring, const rl_hasher *hasher, const uint64_t *words, size_t count,
        uint32_t *out
    ) noexcept
    void rl_ring_walk(
        const rl_ring *ring, uint64_t hash, size_t wanted, uint32_t *ids, uint64_t *seen
    ) noexcept
    void rl_ring_walks(
        const rl_ring *ring, const uint64_t *hashes, size_t count, size_t wanted, uint32_t *ids,
        uint64_t *seen
    ) noexcept
    void rl_ring_arcs(const rl_ring *ring, uint64_t *low, uint64_t *high) noexcept
    void rl_map_u32(uint32_t *values, size_t count, const uint32_t *map) noexcept

cdef extern from "tablecell.h":
    object rl_cell_take(list cell)
    bint rl_sole_owner(object o) noexcept

cdef extern from "keys.h" nogil:
    ctypedef struct rl_cells:
        rl_keys keys
        const uint8_t *data
        ptrdiff_t stride
        size_t width
    void rl_cells_init_ints(
        rl_cells *cells, const void *data, size_t count, ptrdiff_t stride, size_t width,
        int is_signed, int is_swapped,
    ) noexcept
    void rl_cells_init_bytes(
        rl_cells *cells, const void *data, size_t count, ptrdiff_t stride, size_t width
    ) noexcept
    void rl_cells_init_text(
        rl_cells *cells, const void *data, size_t count, ptrdiff_t stride, size_t width,
        int is_swapped,
    ) noexcept

cdef extern from "arrow.h" nogil:
    ctypedef struct ArrowSchema "struct ArrowSchema":
        const char *format
        int64_t n_children
        void (*release)(ArrowSchema *schema) noexcept nogil
    ctypedef struct ArrowArray "struct ArrowArray":
        void (*release)(ArrowArray *array) noexcept nogil
    ctypedef struct ArrowArrayStream "struct ArrowArrayStream":
        int (*get_schema)(ArrowArrayStream *stream, ArrowSchema *out) noexcept nogil
        int (*get_next)(ArrowArrayStream *stream, ArrowArray *out) noexcept nogil
        const char *(*get_last_error)(ArrowArrayStream *stream) noexcept nogil
        void (*release)(ArrowArrayStream *stream) noexcept nogil
    enum: RL_ARROW_OK
    enum: RL_ARROW_REFUSED
    enum: RL_ARROW_COLUMNS
    enum: RL_ARROW_DAMAGED
    ctypedef struct rl_arrow_type:
        int is_table
    ctypedef struct rl_arrow:
        rl_keys keys
        int can_fail
    int rl_arrow_type_init(
        rl_arrow_type *type, const ArrowSchema *schema, const ArrowSchema **culprit
    ) noexcept
    void rl_arrow_init(rl_arrow *column, const rl_arrow_type *type) noexcept
    int rl_arrow_add(
        rl_arrow *column, ArrowArray *array, const char **what, size_t *index
    ) noexcept
    bint rl_arrow_overlaps(const rl_arrow *column, uintptr_t address, size_t size) noexcept
    void rl_arrow_free(rl_arrow *column) noexcept

cdef extern from "pycolumn.h":
    enum: RL_FREE_THREADED
    ctypedef struct rl_objects:
        rl_keys keys
    void rl_objects_init(
        rl_objects *column, PyObject *list, const void *cells, size_t count, ptrdiff_t stride,
        Py_ssize_t first, PyObject *size_error,
    ) noexcept
    PyObject *rl_objects_pending(const rl_objects *column, PyObject *raised) noexcept
    const void *rl_tuple_cells(object keys) noexcept
    ctypedef struct rl_strings:
        rl_keys keys
    void rl_strings_init(
        rl_strings *column, object dtype, const void *cells, size_t count, ptrdiff_t stride
    ) noexcept

cdef extern from "log.h" nogil:
    uint64_t RL_LOG_CONTROL_BIT
    uint64_t RL_LOG_TERM_MAX
    uint64_t RL_LOG_INDEX_MAX
    uint64_t RL_LOG_PAYLOAD_BYTES_MAX
    uint64_t RL_BLOCK_ENTRIES_MAX
    uint64_t RL_BLOCK_BYTES_MAX
    enum: RL_BLOCK_HEADER_BYTES
    enum: RL_BLOCK_ENTRY_BYTES
    enum: RL_BLOCK_VERSION
    ctypedef struct rl_block:
        const uint8_t *data
        uint64_t first
        uint64_t count
        uint64_t payload_bytes
        uint32_t crc
        int has_control
    const uint8_t *rl_block_terms(const rl_block *b) noexcept
    const uint8_t *rl_block_ends(const rl_block *b) noexcept
    const uint8_t *rl_block_payload(const rl_block *b) noexcept
    uint64_t rl_block_word(const rl_block *b, uint64_t at) noexcept
    uint64_t rl_block_start(const rl_block *b, uint64_t at) noexcept
    enum:
        RL_BLOCK_OK
        RL_BLOCK_SHORT
        RL_BLOCK_MAGIC
        RL_BLOCK_NEWER
        RL_BLOCK_VERSION_0
        RL_BLOCK_FLAGS
        RL_BLOCK_COUNT
        RL_BLOCK_INDEX
        RL_BLOCK_SIZE
        RL_BLOCK_CRC
        RL_BLOCK_TERM
        RL_BLOCK_CONTROL
        RL_BLOCK_ENDS
        RL_BLOCK_PAYLOAD
    int rl_block_read(const uint8_t *data, size_t size, rl_block *block) noexcept
    uint32_t rl_block_seal(uint8_t *data, size_t size) noexcept
    void rl_block_header(
        uint8_t *out, int has_control, uint64_t first, uint64_t count, uint64_t payload_bytes
    ) noexcept
    ctypedef struct rl_region:
        uint8_t *data
        size_t bytes
        size_t mapped
    ctypedef struct rl_arena:
        rl_region terms
        rl_region ends
        rl_region payload
        uint64_t origin
    void rl_arena_hold(rl_arena *a, size_t slots) noexcept
    void rl_arena_unhold(rl_arena *a) noexcept
    void rl_arena_free(rl_arena *arena) noexcept
    ctypedef struct rl_log:
        rl_arena *arena
        uint64_t *terms
        uint64_t *ends
        size_t head
        size_t count
        uint64_t start
        uint64_t end
        uint64_t base
        uint64_t base_term
        uint64_t last_term
    enum:
        RL_RESERVE_OK
        RL_RESERVE_NO_MEMORY
        RL_RESERVE_NEEDS_FRESH
    uint64_t rl_log_start(const rl_log *log, size_t at) noexcept
    uint8_t *rl_log_payload(const rl_log *log, uint64_t position) noexcept
    bint rl_log_has_room(const rl_log *log, size_t slots, size_t bytes) noexcept
    int rl_log_reserve(rl_log *log, size_t slots, size_t bytes) noexcept
    int rl_log_move(rl_log *log, rl_arena *fresh, size_t slots, size_t bytes) noexcept
    void rl_log_append(
        rl_log *log, uint64_t word, const rl_span *spans, size_t count, size_t bytes
    ) noexcept
    void rl_log_append_block(rl_log *log, const rl_block *block, uint64_t at) noexcept
    size_t rl_log_conflict(
        const rl_log *log, size_t at, const rl_block *block, uint64_t block_at, size_t count
    ) noexcept
    size_t rl_log_not_after(const rl_log *log, uint64_t term) noexcept
    size_t rl_log_find_control(const rl_log *log, size_t at) noexcept
    void rl_log_truncate(rl_log *log, size_t count) noexcept
    void rl_log_compact(rl_log *log, size_t count) noexcept
    size_t rl_log_fit(
        const rl_log *log, size_t at, size_t count, uint64_t bytes_max, int bare, uint64_t *bytes
    ) noexcept
    void rl_log_write_block(
        const rl_log *log, size_t at, size_t count, int bare, uint8_t *out, size_t bytes,
        rl_block *block
    ) noexcept
    void rl_put_spans(
        uint8_t *out, size_t bytes, uint64_t position, const rl_span *spans, size_t count,
        uint64_t *ends
    ) noexcept

cdef extern from "placer.h" nogil:
    const char *RL_PLACER_CAPSULE
    enum: RL_REHASHES_MAX
    ctypedef struct rl_placer:
        rl_hasher hasher
        size_t node_count
        size_t live_count
        const uint32_t *live
        void (*owners)(
            const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out
        ) noexcept nogil
        void (*replicas)(
            const rl_placer *placer, const uint64_t *hashes, size_t count, size_t wanted,
            uint32_t *out, uint64_t *seen
        ) noexcept nogil
        void (*word_owners)(
            const rl_placer *placer, const uint64_t *words, size_t count, uint32_t *out
        ) noexcept nogil
        void (*span_owners)(
            const rl_placer *placer, const rl_span *spans, size_t count, uint32_t *out
        ) noexcept nogil
        void (*span_replicas)(
            const rl_placer *placer, const rl_span *spans, size_t count, size_t wanted,
            uint32_t *out, uint64_t *seen
        ) noexcept nogil
    void rl_placer_word_spans(
        const uint64_t *words, size_t count, uint64_t *bytes, rl_span *spans
    ) noexcept

cdef extern from "jump.h" nogil:
    enum: RL_JUMP_BUCKETS_MAX
    ctypedef struct rl_jump:
        rl_placer placer
        uint32_t bucket_count
    int rl_jump_init(
        rl_jump *jump, uint32_t kind, uint64_t seed, uint64_t seed_hi, uint32_t bucket_count
    ) noexcept
    uint32_t rl_jump_bucket(uint64_t hash, uint32_t bucket_count) noexcept
    void rl_jump_buckets(
        const uint64_t *hashes, size_t count, uint32_t bucket_count, uint32_t *out
    ) noexcept

cdef extern from "maglev.h" nogil:
    size_t RL_MAGLEV_SLOTS_MAX
    enum: RL_MAGLEV_NARROW_MAX
    enum: RL_MAGLEV_PAD
    ctypedef struct rl_maglev:
        rl_placer placer
        size_t slot_count
    ctypedef struct rl_maglev_entry:
        uint32_t position
        uint32_t at
        uint32_t skip
        double weight
    void rl_maglev_fill(
        rl_maglev_entry *entries, size_t count, size_t slot_count, uint32_t *slots,
        uint64_t *taken, uint64_t *heap
    ) noexcept
    void rl_maglev_init(
        rl_maglev *maglev, size_t slot_count, const uint16_t *narrow, const uint32_t *wide
    ) noexcept
    void rl_maglev_counts(const rl_maglev *maglev, uint32_t *counts) noexcept
    uint64_t rl_maglev_slot(const rl_maglev *maglev, uint64_t hash) noexcept

cdef extern from "multiprobe.h" nogil:
    enum: RL_PROBES_MAX
    ctypedef struct rl_multiprobe:
        rl_placer placer
        rl_ring ring
        uint64_t *firsts
    uint32_t rl_multiprobe_bits(size_t count) noexcept
    void rl_multiprobe_init(rl_multiprobe *multi, uint32_t probes) noexcept

cdef extern from "bounded.h" nogil:
    ctypedef struct rl_ranked:
        uint64_t rank
        uint64_t index
    ctypedef struct rl_bounded_sizes:
        size_t surplus
        size_t crowded
    rl_bounded_sizes rl_bounded_count(
        const uint32_t *owners, size_t count, const uint64_t *room, size_t id_bound,
        uint64_t *counts
    ) noexcept
    void rl_bounded_surplus(
        const uint64_t *hashes, const uint32_t *owners, size_t count, size_t id_bound,
        uint64_t *counts, uint64_t *room, rl_ranked *crowded, rl_ranked *surplus
    ) noexcept
    void rl_bounded_divert(
        const rl_ring *ring, const uint64_t *hashes, const rl_ranked *surplus,
        size_t surplus_count, uint64_t *room, uint32_t *next, uint32_t *owners
    ) noexcept
    bint rl_bounded_has_room(
        uint64_t load, uint64_t total, uint64_t share, uint64_t whole
    ) noexcept
    uint32_t rl_bounded_find(
        const rl_ring *ring, uint64_t hash, const uint32_t *ranks, const uint64_t *loads,
        uint64_t total, const uint64_t *shares, uint64_t whole
    ) noexcept

cdef extern from "rebalance.h" nogil:
    uint32_t RL_PARTS_ABSENT
    uint32_t RL_PARTS_HOLE
    enum: RL_PARTS_LEVELS
    enum: RL_PARTS_POWER_MAX
    enum: RL_PARTS_ROWS_MAX
    ctypedef struct rl_parts_tree:
        size_t tier_count
        size_t leaf_first
        const uint32_t *first_child
        const uint32_t *paths
        const uint32_t *wanted
        const uint32_t *limit
    ctypedef struct rl_parts_work:
        uint64_t filled
        uint64_t checked
        uint64_t surplus
    int rl_parts_fill(
        const rl_parts_tree *tree, uint32_t power, uint32_t rows, uint64_t seed, uint32_t *cells
    ) noexcept
    int rl_parts_rebalance(
        const rl_parts_tree *tree, uint32_t power, uint32_t rows, uint64_t seed,
        const uint32_t *old, const uint8_t *ready, uint32_t *cells, uint32_t *changed,
        rl_parts_work *work
    ) noexcept
    uint64_t rl_parts_at_risk(
        const rl_parts_tree *tree, uint32_t power, uint32_t rows, const uint32_t *cells,
        const uint32_t *allowed, uint32_t *tally
    ) noexcept

cdef extern from "partitions.h" nogil:
    ctypedef struct rl_partitions:
        rl_placer placer
        uint32_t power
        uint32_t rows
        uint32_t full_rows
        const uint16_t *narrow
        const uint32_t *wide
        const uint32_t *tiers
        const uint8_t *takes
    int rl_partitions_init(
        rl_partitions *table, uint32_t kind, uint64_t seed, uint64_t seed_hi, size_t tier_count,
        uint8_t *stamps
    ) noexcept
    size_t rl_partitions_holders(
        const rl_partitions *table, size_t part, uint32_t *found
    ) noexcept
    size_t rl_partitions_handoffs(
        const rl_partitions *table, size_t part, size_t count, size_t wanted, uint32_t *found,
        uint64_t *seen
    ) noexcept

cdef extern from "balance.h" nogil:
    enum: RL_BALANCE_BITS
    ctypedef struct rl_balance:
        uint32_t point_count
    int rl_balance_init(rl_balance *balance, size_t node_count, uint64_t points_max) noexcept
    int rl_balance_load(
        rl_balance *balance, const uint64_t *tokens, const uint32_t *owners, size_t count
    ) noexcept
    void rl_balance_ask(
        rl_balance *balance, uint32_t node, uint64_t weight, uint32_t count
    ) noexcept
    int rl_balance_change(rl_balance *balance, uint32_t node, uint64_t offset) noexcept
    void rl_balance_store(
        const rl_balance *balance, uint64_t *tokens, uint32_t *haves
    ) noexcept
    void rl_balance_free(rl_balance *balance) noexcept

cdef extern from "replicas.h" nogil:
    enum: RL_REPLICAS_MAX
    uint32_t RL_NO_GROUP
    ctypedef struct rl_place:
        uint32_t group
        uint32_t dc
        uint32_t zone
    ctypedef struct rl_quota:
        uint8_t tiers[3]
    ctypedef struct rl_rule:
        size_t node_count
        size_t group_count
        size_t total
        int spreads_dcs
        int spreads_zones
        const rl_place *places
        rl_quota *quotas
    int rl_rule_init(rl_rule *rule, const uint32_t *wanted, uint8_t *seen) noexcept
    size_t rl_rule_select(
        const rl_rule *rule, const uint32_t *candidates, size_t count, uint32_t *row
    ) noexcept
    size_t rl_rule_walk(
        const rl_rule *rule, const rl_ring_view *view, uint64_t hash, uint32_t *row
    ) noexcept
    size_t rl_rule_walks(
        const rl_rule *rule, const rl_ring_view *view, const uint64_t *hashes, size_t count,
        uint32_t *out
    ) noexcept
    ctypedef struct rl_successors:
        size_t count
        size_t total
        size_t stride
        int is_wide
        void *rows
        uint16_t *splits
    void rl_successors_plan(
        rl_successors *successors, const rl_rule *rule, size_t count
    ) noexcept
    int rl_successors_build(
        const rl_successors *successors, const rl_rule *rule, const rl_ring_view *view,
        uint32_t *stamps
    ) noexcept
    void rl_successors_row(
        const rl_successors *successors, const rl_ring *ring, uint64_t hash, uint32_t *row
    ) noexcept
    void rl_successors_rows(
        const rl_successors *successors, const rl_ring *ring, const uint64_t *hashes, size_t count,
        uint32_t *out
    ) noexcept
    void rl_successors_word_rows(
        const rl_successors *successors, const rl_ring *ring, const rl_hasher *hasher,
        const uint64_t *words, size_t count, uint32_t *out
    ) noexcept
    void rl_successors_unpack(
        const rl_successors *successors, size_t lo, size_t count, uint32_t *out
    ) noexcept
    void rl_rows_by_rank(
        const uint32_t *rows, size_t count, size_t width, const uint8_t *ranks, uint32_t *out
    ) noexcept

cdef extern from "movement.h" nogil:
    ctypedef struct rl_cut:
        size_t count
        size_t width
        const uint64_t *ends
        const uint32_t *owners
        const uint32_t *ids
    ctypedef struct rl_replica_moves:
        size_t piece_count
        uint64_t *starts
        uint64_t *ends
        size_t add_count
        uint32_t *add_piece
        uint32_t *add_from
        uint32_t *add_to
        size_t drop_count
        uint32_t *drop_piece
        uint32_t *drop_node
    ctypedef struct rl_transfers:
        size_t count
        const uint32_t *from_ "from"
        const uint32_t *to
        const uint32_t *link
        const double *cost
        const double *link_cost
    ctypedef struct rl_lane_use:
        uint32_t step
        uint32_t streams
        double busy
    ctypedef struct rl_schedule_room:
        size_t *firsts
        uint32_t *counts
        rl_lane_use *uses
        double *seconds
        double *busy
        uint8_t *full
    int rl_cut_check(
        const uint64_t *ends, size_t count, const uint32_t *owners, size_t cell_count,
        size_t owner_count
    ) noexcept
    size_t rl_movement_owners(
        const rl_cut *a, const rl_cut *b, uint64_t *starts, uint64_t *ends, uint32_t *from_,
        uint32_t *to
    ) noexcept
    void rl_movement_replicas(
        const rl_cut *a, const rl_cut *b, const uint32_t *zones, const uint32_t *dcs,
        uint32_t *marks, uint64_t *sent, rl_replica_moves *moves
    ) noexcept
    size_t rl_schedule_steps_max(
        const rl_transfers *transfers, size_t node_count, uint32_t concurrent, uint32_t *degrees
    ) noexcept
    size_t rl_movement_schedule(
        const rl_transfers *transfers, size_t node_count, size_t link_count, uint32_t concurrent,
        rl_schedule_room *room, uint32_t *steps
    ) noexcept

cdef extern from "slots.h" nogil:
    ctypedef struct rl_slots:
        rl_placer placer
        uint16_t owners[16384]
    void rl_slots_init(
        rl_slots *slots, const uint16_t *owners, size_t node_count, const uint32_t *live,
        size_t live_count
    ) noexcept

cdef extern from "buckets.h" nogil:
    enum: RL_BUCKETS_MAX
    ctypedef struct rl_buckets:
        rl_placer placer
        uint32_t bucket_count
        const uint64_t *entries

cdef extern from "anchor.h" nogil:
    void rl_anchor_fill(
        uint64_t *entries, uint32_t bucket_count, const uint32_t *removed, size_t removed_count,
        const uint32_t *positions, uint32_t *who, uint32_t *where
    ) noexcept
    int rl_anchor_init(rl_buckets *state, uint32_t kind, uint64_t seed, uint64_t seed_hi) noexcept

cdef extern from "memento.h" nogil:
    void rl_memento_fill(
        uint64_t *entries, uint32_t bucket_count, const uint32_t *removed, size_t removed_count,
        const uint32_t *positions
    ) noexcept
    int rl_memento_init(rl_buckets *state, uint32_t kind, uint64_t seed, uint64_t seed_hi) noexcept

cdef extern from "rendezvous.h" nogil:
    ctypedef struct rl_rendezvous:
        rl_placer placer
        const uint64_t *salts
        const double *weights
        const double *bounds
        const uint32_t *targets
        const uint32_t *starts
        const uint8_t *even
        uint32_t leaf_start
    int rl_rendezvous_init(
        rl_rendezvous *state, uint32_t kind, uint64_t seed, uint64_t seed_hi, int is_flat
    ) noexcept
    double rl_rendezvous_exponential(uint64_t draw) noexcept
    double rl_rendezvous_bound(double weight) noexcept
    ctypedef struct rl_pymemcache_node:
        uint32_t position
    ctypedef struct rl_pymemcache:
        rl_placer placer
        const rl_pymemcache_node *nodes
    void rl_pymemcache_init(rl_pymemcache *state) noexcept
    rl_pymemcache_node rl_pymemcache_prepare(
        const uint8_t *name, size_t size, uint32_t seed, uint32_t position
    ) noexcept

cdef extern from "writer.h" nogil:
    enum:
        RL_WRITER_LANES_MAX
        RL_WRITER_BLOCK_BYTES
        RL_FLUSH_NONE
        RL_FLUSH_DATA
        RL_FLUSH_FILE
        RL_FLUSH_DIRECT
    ctypedef struct rl_job:
        rl_job *next
        const rl_span *pieces
        size_t count
        uint64_t offset
        int fd
        int flush
        int error
        uint64_t nanoseconds
    ctypedef struct rl_writer:
        pass
    rl_writer *rl_writer_new(unsigned int lanes, int *error) noexcept
    int rl_writer_fd(const rl_writer *writer) noexcept
    int rl_writer_submit(rl_writer *writer, unsigned int lane, rl_job *job) noexcept
    rl_job *rl_writer_take(rl_writer *writer) noexcept
    void rl_writer_finish(rl_writer *writer) noexcept
    void rl_writer_free(rl_writer *writer) noexcept

cdef extern from "records.h" nogil:
    enum:
        RL_RECORD_HEADER_BYTES
    ctypedef struct rl_record:
        uint32_t payload_bytes
        uint32_t kind_and_group
        uint32_t tag
        uint64_t sequence
        uint64_t durable
    size_t rl_record_size(size_t payload_bytes) noexcept
    void rl_record_seal(uint8_t *out, const rl_record *record, const void *payload) noexcept
    int rl_record_parse(
        const uint8_t *data, size_t size, uint32_t payload_bytes_max, rl_record *record
    ) noexcept

cdef extern from "keyspace.h" nogil:
    enum:
        RL_KEYSPACE_OBJECT
        RL_KEYSPACE_BYTES_MAX
    ctypedef struct rl_entry:
        uint32_t key_bytes
        uint32_t value_bytes
        const uint8_t *bytes
    ctypedef struct rl_keyspace:
        rl_entry **entries
        size_t used
        size_t live
        uint64_t bytes
        uint64_t shape
        uint64_t secret[2]
    void rl_keyspace_free(rl_keyspace *space) noexcept
    rl_entry *rl_keyspace_find(
        const rl_keyspace *space, const uint8_t *key, size_t key_bytes
    ) noexcept
    int rl_keyspace_put(
        rl_keyspace *space,
        const uint8_t *key,
        size_t key_bytes,
        const uint8_t *value,
        size_t value_bytes,
        void *object,
        void **old,
    ) noexcept
    rl_entry *rl_keyspace_take(
        rl_keyspace *space, const uint8_t *key, size_t key_bytes
    ) noexcept
    const uint8_t *rl_entry_value(const rl_entry *entry) noexcept
    void *rl_entry_object(const rl_entry *entry) noexcept
    ctypedef struct rl_packed:
        const uint8_t *at
        const uint8_t *end
    int rl_packed_array(rl_packed *packed, uint32_t *count) noexcept
    int rl_packed_map(rl_packed *packed, uint32_t *count) noexcept
    int rl_packed_bytes(rl_packed *packed, const uint8_t **data, uint32_t *size) noexcept
    size_t rl_pack_bytes_head(uint8_t *out, uint32_t size) noexcept
    size_t rl_pack_map_head(uint8_t *out, uint32_t count) noexcept
    int rl_packed_sets(
        rl_packed packed, uint64_t *number, uint32_t *count, const uint8_t **commands
    ) noexcept
