#include "log.h"

#include "crc.h"
#include "simd.h"

#if RL_X86_64
#include <immintrin.h>
#endif

#define WORD_BYTES sizeof(uint64_t)
#define TERM_BITS (~RL_LOG_CONTROL_BIT)

/* --- columns ------------------------------------------------------------------------------ */

/* Each returns bits that must be 0.  Written without comparisons, so that every instruction set
 * takes several words at a time. */

/* Bit 63: a term goes back.  Bit 62: one is over RL_LOG_TERM_MAX.  *words: all words or-ed. */
RL_INLINE uint64_t terms_wrong(const uint8_t *terms, size_t count, uint64_t *words) {
    uint64_t back = 0, all = rl_load64(terms);
    for (size_t i = 1; i < count; i++) {
        uint64_t word = rl_load64(terms + WORD_BYTES * i);
        uint64_t before = rl_load64(terms + WORD_BYTES * (i - 1));
        back |= (word & TERM_BITS) - (before & TERM_BITS);
        all |= word;
    }
    *words = all;
    return (back & RL_LOG_CONTROL_BIT) | (all & ~RL_LOG_CONTROL_BIT & ~RL_LOG_TERM_MAX);
}

/* Bit 63: a payload is longer than it may be, or has less than no bytes. */
RL_INLINE uint64_t ends_wrong(const uint8_t *ends, size_t count) {
    const uint64_t above = ((uint64_t)1 << 63) - 1 - RL_LOG_PAYLOAD_BYTES_MAX;
    uint64_t size = rl_load64(ends);
    uint64_t wrong = size | (size + above);
    for (size_t i = 1; i < count; i++) {
        size = rl_load64(ends + WORD_BYTES * i) - rl_load64(ends + WORD_BYTES * (i - 1));
        wrong |= size | (size + above);
    }
    return wrong & RL_LOG_CONTROL_BIT;
}

typedef struct columns {
    uint64_t terms_wrong;
    uint64_t words;
    uint64_t ends_wrong;
} columns;

RL_INLINE columns look_at(const uint8_t *terms, size_t count) {
    columns c;
    c.terms_wrong = terms_wrong(terms, count, &c.words);
    c.ends_wrong = ends_wrong(terms + WORD_BYTES * count, count);
    return c;
}

static columns look_scalar(const uint8_t *terms, size_t count) { return look_at(terms, count); }

RL_INLINE size_t conflict_scalar(const uint64_t *mine, const uint8_t *theirs, size_t at,
                                 size_t count) {
    while (at < count && mine[at] == rl_load64(theirs + WORD_BYTES * at)) at++;
    return at;
}

#if RL_X86_64
RL_TARGET_AVX2 static columns look_avx2(const uint8_t *terms, size_t count) {
    return look_at(terms, count);
}
RL_TARGET_AVX512 static columns look_avx512(const uint8_t *terms, size_t count) {
    return look_at(terms, count);
}

RL_TARGET_AVX2 static size_t conflict_avx2(const uint64_t *mine, const uint8_t *theirs,
                                           size_t count) {
    size_t at = 0;
    for (; at + 8 <= count; at += 8) {
        __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)(mine + at));
        __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(theirs + WORD_BYTES * at));
        __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)(mine + at + 4));
        __m256i d =
            _mm256_loadu_si256((const __m256i *)(const void *)(theirs + WORD_BYTES * (at + 4)));
        __m256i differ = _mm256_or_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
        if (!_mm256_testz_si256(differ, differ)) break;
    }
    return conflict_scalar(mine, theirs, at, count);
}

RL_TARGET_AVX512 static size_t conflict_avx512(const uint64_t *mine, const uint8_t *theirs,
                                               size_t count) {
    size_t at = 0;
    for (; at + 16 <= count; at += 16) {
        const uint8_t *next = theirs + WORD_BYTES * at;
        __mmask8 low = _mm512_cmpneq_epi64_mask(_mm512_loadu_si512(mine + at),
                                                _mm512_loadu_si512(next));
        __mmask8 high = _mm512_cmpneq_epi64_mask(_mm512_loadu_si512(mine + at + 8),
                                                 _mm512_loadu_si512(next + 64));
        if (low | high) break;
    }
    for (; at < count; at += 8) {
        __mmask8 live = (__mmask8)(count - at >= 8 ? 0xFF : (1u << (count - at)) - 1);
        __m512i a = _mm512_maskz_loadu_epi64(live, mine + at);
        __m512i b = _mm512_maskz_loadu_epi64(live, theirs + WORD_BYTES * at);
        unsigned differ = _mm512_cmpneq_epi64_mask(a, b);
        if (differ) return at + _tzcnt_u32(differ);
    }
    return count;
}
#endif

/* Fewer than so many words are done before a dispatch has paid. */
enum { DISPATCH_WORDS = 8 };

static columns look(const uint8_t *terms, size_t count) {
#if RL_X86_64
    if (count >= DISPATCH_WORDS) {
        if (rl_simd() == RL_SIMD_AVX512) return look_avx512(terms, count);
        if (rl_simd() == RL_SIMD_AVX2) return look_avx2(terms, count);
    }
#endif
    return look_scalar(terms, count);
}

size_t rl_log_conflict(const rl_log *log, size_t at, const rl_block *block, uint64_t block_at,
                       size_t count) {
    const uint64_t *mine = log->terms + at;
    const uint8_t *theirs = rl_block_terms(block) + WORD_BYTES * block_at;
    if (count == 0) return 0;
#if RL_X86_64
    if (count >= DISPATCH_WORDS) {
        if (rl_simd() == RL_SIMD_AVX512) return conflict_avx512(mine, theirs, count);
        if (rl_simd() == RL_SIMD_AVX2) return conflict_avx2(mine, theirs, count);
    }
#endif
    return conflict_scalar(mine, theirs, 0, count);
}

/* --- blocks ------------------------------------------------------------------------------- */

static const uint8_t MAGIC[4] = {'R', 'L', 'B', 'K'};

enum { CRC_AT = 20, CRC_BYTES = 4, FLAG_CONTROL = 1 };

static uint32_t block_crc(const uint8_t *data, size_t size) {
    const size_t after = CRC_AT + CRC_BYTES;
    return rl_crc32c(rl_crc32c(0, data, CRC_AT), data + after, size - after);
}

int rl_block_read(const uint8_t *data, size_t size, rl_block *block) {
    if (size < RL_BLOCK_HEADER_BYTES) return RL_BLOCK_SHORT;
    if (memcmp(data, MAGIC, sizeof MAGIC) != 0) return RL_BLOCK_MAGIC;
    uint32_t version_and_flags = rl_load32(data + 4);
    uint32_t version = version_and_flags & 0xFFFF, flags = version_and_flags >> 16;
    if (version > RL_BLOCK_VERSION) return RL_BLOCK_NEWER;
    if (version != RL_BLOCK_VERSION) return RL_BLOCK_VERSION_0;
    if (flags & ~(uint32_t)FLAG_CONTROL) return RL_BLOCK_FLAGS;
    block->data = data;
    block->first = rl_load64(data + 8);
    block->count = rl_load32(data + 16);
    block->crc = rl_load32(data + CRC_AT);
    block->payload_bytes = rl_load64(data + 24);
    block->has_control = (flags & FLAG_CONTROL) != 0;
    if (block->count == 0 || block->count > RL_BLOCK_ENTRIES_MAX) return RL_BLOCK_COUNT;
    if (block->first == 0 || block->first > RL_LOG_INDEX_MAX ||
        block->first + block->count - 1 > RL_LOG_INDEX_MAX)
        return RL_BLOCK_INDEX;
    /* No sum below leaves 64 bits: count is at most 2**20, payload_bytes at most 2**30. */
    if (block->payload_bytes > RL_BLOCK_BYTES_MAX) return RL_BLOCK_SIZE;
    uint64_t wanted =
        RL_BLOCK_HEADER_BYTES + RL_BLOCK_ENTRY_BYTES * block->count + block->payload_bytes;
    if (wanted != size || wanted > RL_BLOCK_BYTES_MAX) return RL_BLOCK_SIZE;
    if (block_crc(data, size) != block->crc) return RL_BLOCK_CRC;

    size_t count = (size_t)block->count;
    columns c = look(rl_block_terms(block), count);
    if (c.terms_wrong || (rl_block_word(block, 0) & TERM_BITS) == 0) return RL_BLOCK_TERM;
    if ((c.words & RL_LOG_CONTROL_BIT) != 0 ? !block->has_control : block->has_control)
        return RL_BLOCK_CONTROL;
    if (c.ends_wrong) {
        for (size_t i = 0; i < count; i++) {
            if (rl_block_start(block, i + 1) < rl_block_start(block, i)) return RL_BLOCK_ENDS;
        }
        return RL_BLOCK_PAYLOAD;
    }
    if (rl_block_start(block, count) != block->payload_bytes) return RL_BLOCK_ENDS;
    return RL_BLOCK_OK;
}

uint32_t rl_block_seal(uint8_t *data, size_t size) {
    uint32_t crc = block_crc(data, size);
    rl_store32(data + CRC_AT, crc);
    return crc;
}

void rl_block_header(uint8_t *out, int has_control, uint64_t first, uint64_t count,
                     uint64_t payload_bytes) {
    memcpy(out, MAGIC, sizeof MAGIC);
    rl_store32(out + 4, RL_BLOCK_VERSION | (has_control ? (uint32_t)FLAG_CONTROL << 16 : 0));
    rl_store64(out + 8, first);
    rl_store32(out + 16, (uint32_t)count);
    rl_store64(out + 24, payload_bytes);
}

/* --- the arena ---------------------------------------------------------------------------- */

void rl_arena_free(rl_arena *arena) {
    rl_region_free(&arena->terms);
    rl_region_free(&arena->ends);
    rl_region_free(&arena->payload);
}

static size_t room_bytes(const rl_arena *a) {
    return a->terms.bytes + a->ends.bytes + a->payload.bytes;
}

/* The log's addresses, after its arena has moved or its head has. */
static void point(rl_log *log) {
    log->terms = rl_arena_terms(log->arena) + log->head;
    log->ends = rl_arena_ends(log->arena) + log->head;
}

/* Bytes of the entries, and of what was dropped in front of them. */
static size_t live_bytes(const rl_log *log) {
    return 2 * WORD_BYTES * log->count + (size_t)(log->end - log->start);
}
static size_t dead_bytes(const rl_log *log) {
    return 2 * WORD_BYTES * log->head + (size_t)(log->start - log->arena->origin);
}

/* Move the entries to the arena's beginning; nobody holds it. */
static void slide(rl_log *log) {
    rl_arena *a = log->arena;
    if (log->count) {
        memmove(rl_arena_terms(a), log->terms, WORD_BYTES * log->count);
        memmove(rl_arena_ends(a), log->ends, WORD_BYTES * log->count);
        memmove(a->payload.data, rl_log_payload(log, log->start), (size_t)(log->end - log->start));
    }
    log->head = 0;
    a->origin = log->start;
    point(log);
}

/* Whether so much more is no size at all (0); if not, what the regions then need (1). */
static int sizes(size_t slots_used, uint64_t bytes_used, size_t slots, size_t bytes,
                 size_t *column_bytes, size_t *payload_bytes) {
    const size_t most = SIZE_MAX / 4;
    if (slots > most / WORD_BYTES || slots_used > most / WORD_BYTES - slots) return 0;
    if (bytes > most || bytes_used > most - bytes) return 0;
    *column_bytes = WORD_BYTES * (slots_used + slots);
    *payload_bytes = (size_t)bytes_used + bytes;
    return 1;
}

int rl_log_reserve(rl_log *log, size_t slots, size_t bytes) {
    rl_arena *a = log->arena;
    size_t columns_needed, payload_needed, used;
    if (a == NULL) return RL_RESERVE_NEEDS_FRESH;
    if (rl_log_has_room(log, slots, bytes)) return RL_RESERVE_OK;
    if (rl_arena_holds(a) != 0) return RL_RESERVE_NEEDS_FRESH;
    if (log->head && dead_bytes(log) >= live_bytes(log)) {
        slide(log); /* it was held when they were dropped */
        if (rl_log_has_room(log, slots, bytes)) return RL_RESERVE_OK;
    }
    used = log->head + log->count;
    if (!sizes(used, log->end - a->origin, slots, bytes, &columns_needed, &payload_needed))
        return RL_RESERVE_NO_MEMORY;
    int failed = rl_region_grow(&a->terms, WORD_BYTES * used, columns_needed) != 0 ||
                 rl_region_grow(&a->ends, WORD_BYTES * used, columns_needed) != 0 ||
                 rl_region_grow(&a->payload, (size_t)(log->end - a->origin), payload_needed) != 0;
    point(log);
    return failed ? RL_RESERVE_NO_MEMORY : RL_RESERVE_OK;
}

int rl_log_move(rl_log *log, rl_arena *fresh, size_t slots, size_t bytes) {
    uint64_t live = log->end - log->start;
    size_t columns_needed, payload_needed;
    if (log->arena != NULL) { /* it will go on growing: as much again as a half */
        slots += (log->count + slots) / 2;
        bytes += ((size_t)live + bytes) / 2;
    }
    if (!sizes(log->count, live, slots, bytes, &columns_needed, &payload_needed)) return -1;
    if (rl_region_grow(&fresh->terms, 0, columns_needed) != 0 ||
        rl_region_grow(&fresh->ends, 0, columns_needed) != 0 ||
        rl_region_grow(&fresh->payload, 0, payload_needed) != 0)
        return -1;
    if (log->count) {
        memcpy(fresh->terms.data, log->terms, WORD_BYTES * log->count);
        memcpy(fresh->ends.data, log->ends, WORD_BYTES * log->count);
        if (live) memcpy(fresh->payload.data, rl_log_payload(log, log->start), (size_t)live);
    }
    fresh->origin = log->start;
    log->arena = fresh;
    log->head = 0;
    point(log);
    return 0;
}

/* --- appending ---------------------------------------------------------------------------- */

/* Longer copies are memcpy()'s business. */
enum { INLINE_COPY_BYTES = 2048 };

RL_INLINE void copy_short(uint8_t *out, const uint8_t *data, size_t size) {
    if (size >= 16) {
        /* The last 16 bytes overlap those before them. */
        for (size_t i = 0; i + 16 < size; i += 16) memcpy(out + i, data + i, 16);
        memcpy(out + size - 16, data + size - 16, 16);
    } else if (size >= 8) {
        memcpy(out, data, 8);
        memcpy(out + size - 8, data + size - 8, 8);
    } else if (size >= 4) {
        memcpy(out, data, 4);
        memcpy(out + size - 4, data + size - 4, 4);
    } else {
        for (size_t i = 0; i < size; i++) out[i] = data[i];
    }
}

static void put_scalar(uint8_t *out, uint64_t position, const rl_span *spans, size_t count,
                       uint64_t *ends) {
    for (size_t i = 0; i < count; i++) {
        size_t size = spans[i].size;
        if (size <= INLINE_COPY_BYTES) {
            copy_short(out, spans[i].data, size);
        } else {
            memcpy(out, spans[i].data, size);
        }
        out += size;
        position += size;
        ends[i] = position;
    }
}

#if RL_X86_64
/* Whole vectors are written as long as that stays within the output: what is too much is written
 * over by the next span. */
RL_TARGET_AVX512 static void put_avx512(uint8_t *out, size_t bytes, uint64_t position,
                                        const rl_span *spans, size_t count, uint64_t *ends) {
    const uint8_t *stop = out + bytes;
    for (size_t i = 0; i < count; i++) {
        size_t size = spans[i].size;
        const uint8_t *data = spans[i].data;
        uint8_t *at = out;
        out += size;
        position += size;
        ends[i] = position;
        if (RL_UNLIKELY(size > INLINE_COPY_BYTES)) {
            memcpy(at, data, size);
            continue;
        }
        for (; size >= 64; size -= 64, at += 64, data += 64)
            _mm512_storeu_si512(at, _mm512_loadu_si512(data));
        if (size == 0) continue;
        __mmask64 live = _bzhi_u64(~(uint64_t)0, (unsigned)size);
        __m512i tail = _mm512_maskz_loadu_epi8(live, data);
        if (RL_LIKELY(stop - at >= 64)) {
            _mm512_storeu_si512(at, tail);
        } else {
            _mm512_mask_storeu_epi8(at, live, tail);
        }
    }
}
#endif

void rl_put_spans(uint8_t *out, size_t bytes, uint64_t position, const rl_span *spans,
                  size_t count, uint64_t *ends) {
#if RL_X86_64
    if (rl_simd() == RL_SIMD_AVX512) {
        put_avx512(out, bytes, position, spans, count, ends);
        return;
    }
#endif
    put_scalar(out, position, spans, count, ends);
}

void rl_log_append(rl_log *log, uint64_t word, const rl_span *spans, size_t count, size_t bytes) {
    uint64_t *terms = log->terms + log->count, *ends = log->ends + log->count;
    if (count == 0) return;
    for (size_t i = 0; i < count; i++) terms[i] = word;
    rl_put_spans(rl_log_payload(log, log->end), bytes, log->end, spans, count, ends);
    log->end += bytes;
    log->count += count;
    log->last_term = word & TERM_BITS;
}

void rl_log_append_block(rl_log *log, const rl_block *block, uint64_t at) {
    size_t count = (size_t)(block->count - at);
    uint64_t *terms = log->terms + log->count, *ends = log->ends + log->count;
    const uint8_t *from_terms = rl_block_terms(block) + WORD_BYTES * at;
    const uint8_t *from_ends = rl_block_ends(block) + WORD_BYTES * at;
    uint64_t start = rl_block_start(block, at);
    size_t bytes = (size_t)(block->payload_bytes - start);
    uint64_t shift = log->end - start;
    if (count == 0) return;
    for (size_t i = 0; i < count; i++) terms[i] = rl_load64(from_terms + WORD_BYTES * i);
    for (size_t i = 0; i < count; i++) ends[i] = rl_load64(from_ends + WORD_BYTES * i) + shift;
    if (bytes) memcpy(rl_log_payload(log, log->end), rl_block_payload(block) + start, bytes);
    log->end += bytes;
    log->count += count;
    log->last_term = terms[count - 1] & TERM_BITS;
}

/* --- reading ------------------------------------------------------------------------------ */

size_t rl_log_not_after(const rl_log *log, uint64_t term) {
    size_t low = 0, high = log->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((log->terms[middle] & TERM_BITS) <= term) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

size_t rl_log_find_control(const rl_log *log, size_t at) {
    for (; at + 8 <= log->count; at += 8) {
        uint64_t any = 0;
        for (size_t i = 0; i < 8; i++) any |= log->terms[at + i];
        if (any & RL_LOG_CONTROL_BIT) break;
    }
    while (at < log->count && (log->terms[at] & RL_LOG_CONTROL_BIT) == 0) at++;
    return at;
}

static uint64_t block_bytes(const rl_log *log, size_t at, size_t count) {
    return RL_BLOCK_HEADER_BYTES + RL_BLOCK_ENTRY_BYTES * (uint64_t)count +
           (log->ends[at + count - 1] - rl_log_start(log, at));
}

size_t rl_log_fit(const rl_log *log, size_t at, size_t count, uint64_t bytes_max, int bare,
                  uint64_t *bytes) {
    if (count > RL_BLOCK_ENTRIES_MAX) count = RL_BLOCK_ENTRIES_MAX;
    if (bytes_max > RL_BLOCK_BYTES_MAX) bytes_max = RL_BLOCK_BYTES_MAX;
    if (bare) {
        uint64_t sum = RL_BLOCK_HEADER_BYTES;
        for (size_t i = 0; i < count; i++) {
            uint64_t own = RL_BLOCK_ENTRY_BYTES;
            if (log->terms[at + i] & RL_LOG_CONTROL_BIT)
                own += log->ends[at + i] - rl_log_start(log, at + i);
            if (i > 0 && sum + own > bytes_max) {
                count = i;
                break;
            }
            sum += own;
        }
        *bytes = sum;
        return count;
    }
    if (block_bytes(log, at, count) > bytes_max) {
        size_t low = 1, high = count; /* low fits, or is due anyway; high does not fit */
        while (high - low > 1) {
            size_t middle = low + (high - low) / 2;
            if (block_bytes(log, at, middle) <= bytes_max) {
                low = middle;
            } else {
                high = middle;
            }
        }
        count = low;
    }
    *bytes = block_bytes(log, at, count);
    return count;
}

void rl_log_write_block(const rl_log *log, size_t at, size_t count, int bare, uint8_t *out,
                        size_t bytes, rl_block *block) {
    uint8_t *terms = out + RL_BLOCK_HEADER_BYTES, *ends = terms + WORD_BYTES * count;
    uint8_t *payload = ends + WORD_BYTES * count;
    uint64_t start = rl_log_start(log, at), words = 0;
    block->payload_bytes = bytes - RL_BLOCK_HEADER_BYTES - RL_BLOCK_ENTRY_BYTES * (uint64_t)count;
    for (size_t i = 0; i < count; i++) {
        words |= log->terms[at + i];
        rl_store64(terms + WORD_BYTES * i, log->terms[at + i]);
    }
    if (bare) {
        uint64_t end = 0;
        for (size_t i = 0; i < count; i++) {
            if (log->terms[at + i] & RL_LOG_CONTROL_BIT) {
                uint64_t from = rl_log_start(log, at + i);
                size_t size = (size_t)(log->ends[at + i] - from);
                if (size) memcpy(payload + end, rl_log_payload(log, from), size);
                end += size;
            }
            rl_store64(ends + WORD_BYTES * i, end);
        }
    } else {
        for (size_t i = 0; i < count; i++)
            rl_store64(ends + WORD_BYTES * i, log->ends[at + i] - start);
        if (block->payload_bytes)
            memcpy(payload, rl_log_payload(log, start), (size_t)block->payload_bytes);
    }
    block->data = out;
    block->first = log->base + 1 + at;
    block->count = count;
    block->has_control = (words & RL_LOG_CONTROL_BIT) != 0;
    rl_block_header(out, block->has_control, block->first, count, block->payload_bytes);
    block->crc = rl_block_seal(out, bytes);
}

/* --- dropping ----------------------------------------------------------------------------- */

void rl_log_truncate(rl_log *log, size_t count) {
    if (count >= log->count) return;
    log->end = rl_log_start(log, count);
    log->count = count;
    log->last_term = count ? log->terms[count - 1] & TERM_BITS : log->base_term;
}

void rl_log_compact(rl_log *log, size_t count) {
    rl_arena *a = log->arena;
    if (count == 0) return;
    size_t used = live_bytes(log);
    log->base += count;
    log->base_term = log->terms[count - 1] & TERM_BITS;
    log->start = log->ends[count - 1];
    log->head += count;
    log->count -= count;
    point(log);
    log->peak = log->peak - log->peak / 8;
    if (log->peak < used) log->peak = used;
    if (rl_arena_holds(a) != 0 || dead_bytes(log) < live_bytes(log)) return;
    slide(log);
    /* Room for a few times of what the log held lately is kept: it will be needed again. */
    if (room_bytes(a) / 4 > log->peak) {
        size_t columns_used = WORD_BYTES * log->count;
        size_t payload_used = (size_t)(log->end - log->start);
        size_t columns_kept = a->terms.bytes / 2, payload_kept = a->payload.bytes / 2;
        if (columns_kept < columns_used) columns_kept = columns_used;
        if (payload_kept < payload_used) payload_kept = payload_used;
        rl_region_shrink(&a->terms, columns_used, columns_kept);
        rl_region_shrink(&a->ends, columns_used, columns_kept);
        rl_region_shrink(&a->payload, payload_used, payload_kept);
        point(log);
    }
}
