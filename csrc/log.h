/* The replicated log: its columns in an arena, and the block, the form in which entries travel.
 * docs/formats.md describes the block's bytes.
 *
 * An arena holds slots: slot s has the word terms[s], the running end ends[s] of its payload, and
 * the payload itself.  Ends count all payload bytes that ever went through the log, so that they
 * stay true when the front of the log is dropped; `origin` says where the arena's first byte
 * stands in that count.  Whoever uses a column by its address *holds* the arena; a held arena
 * neither moves nor changes what was in it when it was held. */
#ifndef RL_LOG_H
#define RL_LOG_H

#include "arena.h"
#include "base.h"
#include "hash.h" /* rl_span */

#define RL_LOG_CONTROL_BIT ((uint64_t)1 << 63)
/* As in limits.py. */
#define RL_LOG_TERM_MAX (((uint64_t)1 << 62) - 1)
#define RL_LOG_INDEX_MAX (((uint64_t)1 << 62) - 1)
#define RL_LOG_PAYLOAD_BYTES_MAX ((uint64_t)1 << 28)
#define RL_BLOCK_ENTRIES_MAX ((uint64_t)1 << 20)
#define RL_BLOCK_BYTES_MAX ((uint64_t)1 << 30)

enum { RL_BLOCK_HEADER_BYTES = 32, RL_BLOCK_ENTRY_BYTES = 16, RL_BLOCK_VERSION = 1 };

/* --- blocks ------------------------------------------------------------------------------- */

/* A block's fields; `data` is the caller's.  The columns are little-endian, read them with
 * rl_load64(); terms and ends are aligned as data is. */
typedef struct rl_block {
    const uint8_t *data;
    uint64_t first;
    uint64_t count;
    uint64_t payload_bytes;
    uint32_t crc;
    int has_control;
} rl_block;

RL_INLINE const uint8_t *rl_block_terms(const rl_block *b) {
    return b->data + RL_BLOCK_HEADER_BYTES;
}
RL_INLINE const uint8_t *rl_block_ends(const rl_block *b) {
    return b->data + RL_BLOCK_HEADER_BYTES + 8 * b->count;
}
RL_INLINE const uint8_t *rl_block_payload(const rl_block *b) {
    return b->data + RL_BLOCK_HEADER_BYTES + RL_BLOCK_ENTRY_BYTES * b->count;
}
/* 0 <= at < count. */
RL_INLINE uint64_t rl_block_word(const rl_block *b, uint64_t at) {
    return rl_load64(rl_block_terms(b) + 8 * at);
}
/* 0 <= at <= count: where payload `at` starts, or all of them end. */
RL_INLINE uint64_t rl_block_start(const rl_block *b, uint64_t at) {
    return at == 0 ? 0 : rl_load64(rl_block_ends(b) + 8 * (at - 1));
}

/* What is wrong with a block, in the order in which it is looked for. */
enum {
    RL_BLOCK_OK = 0,
    RL_BLOCK_SHORT,    /* fewer bytes than a header */
    RL_BLOCK_MAGIC,
    RL_BLOCK_NEWER,    /* a later version */
    RL_BLOCK_VERSION_0,
    RL_BLOCK_FLAGS,    /* unknown ones */
    RL_BLOCK_COUNT,
    RL_BLOCK_INDEX,
    RL_BLOCK_SIZE,     /* not what the header says, or over the bound */
    RL_BLOCK_CRC,
    RL_BLOCK_TERM,     /* one outside 1 ... RL_LOG_TERM_MAX, or below the one before it */
    RL_BLOCK_CONTROL,  /* the flag and the words differ */
    RL_BLOCK_ENDS,     /* they go back, or do not end at the payload's end */
    RL_BLOCK_PAYLOAD,  /* one is longer than RL_LOG_PAYLOAD_BYTES_MAX */
};

/* Whether data[0, size) is a block; if so (0), *block is it.  data may be anything. */
int rl_block_read(const uint8_t *data, size_t size, rl_block *block);

/* Set the checksum of a block whose other bytes are there, and return it. */
uint32_t rl_block_seal(uint8_t *data, size_t size);

/* Write the header of a block, the checksum excepted. */
void rl_block_header(uint8_t *out, int has_control, uint64_t first, uint64_t count,
                     uint64_t payload_bytes);

/* --- the arena ---------------------------------------------------------------------------- */

typedef struct rl_arena {
    rl_region terms;
    rl_region ends;
    rl_region payload;
    uint64_t origin;   /* where payload.data[0] stands in the count of ends */
    size_t holds;      /* how many use it by address; changed atomically */
    size_t held_slots; /* while there are holds: the slots below this are what they may use */
} rl_arena;

RL_INLINE uint64_t *rl_arena_terms(const rl_arena *a) { return (uint64_t *)(void *)a->terms.data; }
RL_INLINE uint64_t *rl_arena_ends(const rl_arena *a) { return (uint64_t *)(void *)a->ends.data; }

#if defined(_MSC_VER)
RL_INLINE size_t rl_arena_holds(const rl_arena *a) { return *(const volatile size_t *)&a->holds; }
RL_INLINE void rl_arena_hold_more(rl_arena *a) {
    _InterlockedIncrement64((volatile long long *)&a->holds);
}
RL_INLINE void rl_arena_unhold(rl_arena *a) {
    _InterlockedDecrement64((volatile long long *)&a->holds);
}
#else
RL_INLINE size_t rl_arena_holds(const rl_arena *a) {
    return __atomic_load_n(&a->holds, __ATOMIC_ACQUIRE);
}
RL_INLINE void rl_arena_hold_more(rl_arena *a) {
    __atomic_fetch_add(&a->holds, 1, __ATOMIC_RELAXED);
}
RL_INLINE void rl_arena_unhold(rl_arena *a) { __atomic_fetch_sub(&a->holds, 1, __ATOMIC_RELEASE); }
#endif

/* The slots below `slots` are used by address until rl_arena_unhold(). */
RL_INLINE void rl_arena_hold(rl_arena *a, size_t slots) {
    if (rl_arena_holds(a) == 0 || slots > a->held_slots) a->held_slots = slots;
    rl_arena_hold_more(a);
}

void rl_arena_free(rl_arena *arena);

/* --- the log ------------------------------------------------------------------------------ */

/* Entries base + 1 ... base + count lie in the slots head ... head + count - 1 of *arena, which is
 * the caller's, and NULL as long as there was no entry.
 * Invariant: start is where the payload of slot `head` starts, and end where that of the last slot
 * ends (== start when count is 0); arena->origin <= start <= end. */
typedef struct rl_log {
    rl_arena *arena;
    uint64_t *terms; /* slot head */
    uint64_t *ends;
    size_t head;
    size_t count;
    uint64_t start;
    uint64_t end;
    uint64_t base;
    uint64_t base_term;
    uint64_t last_term;
    size_t peak;       /* what the entries took lately, in bytes: decides what memory is kept */
} rl_log;

/* 0 <= at < count: where the payload of entry base + 1 + at starts, in the count of ends. */
RL_INLINE uint64_t rl_log_start(const rl_log *log, size_t at) {
    return at == 0 ? log->start : log->ends[at - 1];
}
RL_INLINE uint8_t *rl_log_payload(const rl_log *log, uint64_t position) {
    return log->arena->payload.data + (size_t)(position - log->arena->origin);
}

/* Whether `slots` more entries with `bytes` more of payload can be written behind the last one
 * where the arena is (1), or need rl_log_reserve() (0). */
RL_INLINE int rl_log_has_room(const rl_log *log, size_t slots, size_t bytes) {
    const rl_arena *a = log->arena;
    size_t used;
    if (a == NULL) return 0;
    used = log->head + log->count;
    return slots <= a->terms.bytes / 8 - used && slots <= a->ends.bytes / 8 - used &&
           bytes <= a->payload.bytes - (size_t)(log->end - a->origin) &&
           (used >= a->held_slots || rl_arena_holds(a) == 0);
}

enum { RL_RESERVE_OK = 0, RL_RESERVE_NO_MEMORY = -1, RL_RESERVE_NEEDS_FRESH = 1 };

/* Make that room in log->arena.  RL_RESERVE_NEEDS_FRESH when there is no arena yet, or it is held
 * and would have to move or change: then call rl_log_move() with a fresh one. */
int rl_log_reserve(rl_log *log, size_t slots, size_t bytes);

/* Copy the live entries to `fresh` (all zero bits), with the room for more, and let the log go on
 * there; the old arena is left as it is.  0, or -1 when there is no memory: nothing has changed,
 * but `fresh` is to be freed. */
int rl_log_move(rl_log *log, rl_arena *fresh, size_t slots, size_t bytes);

/* Append entries all of whose words are `word`, of `bytes` in all; there is room for them. */
void rl_log_append(rl_log *log, uint64_t word, const rl_span *spans, size_t count, size_t bytes);

/* Append the entries [at, count) of a block; there is room for them. */
void rl_log_append_block(rl_log *log, const rl_block *block, uint64_t at);

/* The first of `count` entries of the log, from entry base + 1 + at on, whose word differs from
 * that of a block's, from its entry block_at on; `count` if none does. */
size_t rl_log_conflict(const rl_log *log, size_t at, const rl_block *block, uint64_t block_at,
                       size_t count);

/* The number of entries whose term is at most `term`: terms never go back. */
size_t rl_log_not_after(const rl_log *log, uint64_t term);

/* The first control entry from entry base + 1 + at on, as a number like `at`; count if none. */
size_t rl_log_find_control(const rl_log *log, size_t at);

/* Keep only the first `count` entries. */
void rl_log_truncate(rl_log *log, size_t count);

/* Drop the first `count` entries. */
void rl_log_compact(rl_log *log, size_t count);

/* How many of the entries [at, at + count) fit a block of bytes_max bytes: at least 1.  With
 * `bare` payloads only count where the entry is a control entry.  *bytes is the block's size. */
size_t rl_log_fit(const rl_log *log, size_t at, size_t count, uint64_t bytes_max, int bare,
                  uint64_t *bytes);

/* Write the block of the entries [at, at + count) to out[0, bytes), as rl_log_fit() gave them. */
void rl_log_write_block(const rl_log *log, size_t at, size_t count, int bare, uint8_t *out,
                        size_t bytes, rl_block *block);

/* Copy spans one behind the other to out, whose bytes they fill exactly; ends[i] becomes
 * `position` plus all sizes up to span i. */
void rl_put_spans(uint8_t *out, size_t bytes, uint64_t position, const rl_span *spans,
                  size_t count, uint64_t *ends);

#endif
