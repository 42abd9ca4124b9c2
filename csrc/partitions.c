#include "partitions.h"

#include "simd.h"
#include "xxh3_words.h"

#if RL_X86_64
#include <immintrin.h>
#endif

#define ABSENT UINT32_MAX

RL_INLINE uint32_t position_at(const rl_partitions *table, size_t row, size_t part) {
    size_t at = (row << table->power) | part;
    if (table->wide != NULL) return table->wide[at];
    return table->narrow[at] == UINT16_MAX ? ABSENT : table->narrow[at];
}

size_t rl_partitions_holders(const rl_partitions *table, size_t part, uint32_t *found) {
    size_t count = 0;
    for (size_t row = 0; row < table->rows; row++) {
        uint32_t position = position_at(table, row, part);
        if (position != ABSENT) found[count++] = position;
    }
    return count;
}

/* --- hand-offs ------------------------------------------------------------------------------ */

RL_INLINE int is_seen(const uint64_t *seen, uint32_t position) {
    return (int)(seen[position / 64] >> (position % 64) & 1);
}

RL_INLINE void set_seen(uint64_t *seen, uint32_t position) {
    seen[position / 64] |= (uint64_t)1 << (position % 64);
}

RL_INLINE void clear_seen(uint64_t *seen, uint32_t position) {
    seen[position / 64] &= ~((uint64_t)1 << (position % 64));
}

static int tier_is_found(const rl_partitions *table, const uint32_t *found, size_t count,
                         int level, uint32_t tier) {
    for (size_t i = 0; i < count; i++)
        if (table->tiers[(size_t)found[i] * RL_PARTS_LEVELS + (size_t)level] == tier) return 1;
    return 0;
}

size_t rl_partitions_handoffs(const rl_partitions *table, size_t part, size_t count,
                              size_t wanted, uint32_t *found, uint64_t *seen) {
    size_t mask = ((size_t)1 << table->power) - 1;
    for (int level = 0; level < RL_PARTS_LEVELS && count < wanted; level++) {
        /* How many tiers of this level still have something to offer. */
        size_t left = table->taking[level];
        for (size_t i = 0; i < count; i++) {
            uint32_t tier = table->tiers[(size_t)found[i] * RL_PARTS_LEVELS + (size_t)level];
            left -= table->takes[found[i]] && !tier_is_found(table, found, i, level, tier);
        }
        for (size_t step = 1; step <= mask && left && count < wanted; step++) {
            for (size_t row = 0; row < table->rows && count < wanted; row++) {
                uint32_t position = position_at(table, row, (part + step) & mask);
                if (position == ABSENT || is_seen(seen, position) || !table->takes[position])
                    continue;
                uint32_t tier = table->tiers[(size_t)position * RL_PARTS_LEVELS + (size_t)level];
                if (level < RL_PARTS_LEVELS - 1 &&
                    tier_is_found(table, found, count, level, tier))
                    continue;
                set_seen(seen, position);
                found[count++] = position;
                left -= left > 0;
            }
        }
    }
    for (size_t i = 0; i < table->placer.live_count && count < wanted; i++) {
        uint32_t position = table->placer.live[i];
        if (is_seen(seen, position)) continue;
        set_seen(seen, position);
        found[count++] = position;
    }
    return count;
}

/* --- the placer ----------------------------------------------------------------------------- */

static void owners_of(const rl_partitions *table, const uint64_t *hashes, size_t count,
                      uint32_t *out) {
    if (table->wide != NULL)
        for (size_t i = 0; i < count; i++) out[i] = table->wide[rl_partition_of(table, hashes[i])];
    else
        for (size_t i = 0; i < count; i++)
            out[i] = table->narrow[rl_partition_of(table, hashes[i])];
}

#if RL_X86_64
/* Eight partitions at a time.  A gather of 16-bit cells reads two bytes beyond each, which the row
 * behind or the table's pad has. */
RL_TARGET_AVX512 RL_INLINE __m256i gather_avx512(const rl_partitions *table, __m512i hashes,
                                                 __m128i shift) {
    __m512i parts = _mm512_srl_epi64(_mm512_srli_epi64(hashes, 1), shift);
    if (table->wide != NULL) return _mm512_i64gather_epi32(parts, (const char *)table->wide, 4);
    return _mm256_and_si256(_mm512_i64gather_epi32(parts, (const char *)table->narrow, 2),
                            _mm256_set1_epi32(0xFFFF));
}

RL_TARGET_AVX512 static void owners_avx512(const rl_partitions *table, const uint64_t *hashes,
                                           size_t count, uint32_t *out) {
    __m128i shift = _mm_cvtsi32_si128((int)(63 - table->power));
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_si256((__m256i *)(out + i),
                            gather_avx512(table, _mm512_loadu_si512(hashes + i), shift));
    owners_of(table, hashes + i, count - i, out + i);
}

RL_TARGET_AVX512 static void word_owners_avx512(const rl_partitions *table, const uint64_t *words,
                                                size_t count, uint32_t *out,
                                                rl_xxh3_word_keys keys) {
    __m128i shift = _mm_cvtsi32_si128((int)(63 - table->power));
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        rl_prefetch_once((const void *)((uintptr_t)(words + i) + 1024));
        __m512i hashes = rl_xxh3_words_avx512(keys, _mm512_loadu_si512(words + i));
        _mm256_storeu_si256((__m256i *)(out + i), gather_avx512(table, hashes, shift));
    }
    for (; i < count; i++) {
        uint64_t hash = rl_xxh3_word(keys, words[i]);
        owners_of(table, &hash, 1, out + i);
    }
}
#endif

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_partitions *table = (const rl_partitions *)placer;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) {
        owners_avx512(table, hashes, count, out);
        return;
    }
#endif
    owners_of(table, hashes, count, out);
}

static void word_owners(const rl_placer *placer, const uint64_t *words, size_t count,
                        uint32_t *out) {
    const rl_partitions *table = (const rl_partitions *)placer;
#if RL_X86_64
    if (placer->hasher.kind == RL_HASH_XXH3 && rl_simd() >= RL_SIMD_AVX512) {
        word_owners_avx512(table, words, count, out, rl_xxh3_word_keys_init(placer->hasher.seed));
        return;
    }
#endif
    enum { CHUNK = 512 };
    uint64_t hashes[CHUNK];
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        rl_hash_words(&placer->hasher, words + i, size, hashes);
        owners_of(table, hashes, size, out + i);
    }
}

/* `wanted` replicas for hashes whose partitions have as many; small constants unroll. */
RL_INLINE void rows_of(const rl_partitions *table, const uint64_t *hashes, size_t count,
                       size_t wanted, uint32_t *out) {
    size_t parts = (size_t)1 << table->power;
    if (table->wide != NULL) {
        for (size_t i = 0; i < count; i++) {
            const uint32_t *cell = table->wide + rl_partition_of(table, hashes[i]);
            for (size_t row = 0; row < wanted; row++) out[i * wanted + row] = cell[row * parts];
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            const uint16_t *cell = table->narrow + rl_partition_of(table, hashes[i]);
            for (size_t row = 0; row < wanted; row++) out[i * wanted + row] = cell[row * parts];
        }
    }
}

static void replicas(const rl_placer *placer, const uint64_t *hashes, size_t count, size_t wanted,
                     uint32_t *out, uint64_t *seen) {
    const rl_partitions *table = (const rl_partitions *)placer;
    if (wanted <= table->full_rows) {
        if (wanted == 2)
            rows_of(table, hashes, count, 2, out);
        else if (wanted == 3)
            rows_of(table, hashes, count, 3, out);
        else
            rows_of(table, hashes, count, wanted, out);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t few[RL_PARTS_ROWS_MAX], *to = out + i * wanted;
        size_t part = rl_partition_of(table, hashes[i]);
        size_t held = rl_partitions_holders(table, part, few);
        if (held > wanted) held = wanted;
        memcpy(to, few, held * sizeof(uint32_t));
        for (size_t k = 0; k < held; k++) set_seen(seen, to[k]);
        size_t found = rl_partitions_handoffs(table, part, held, wanted, to, seen);
        for (size_t k = 0; k < found; k++) clear_seen(seen, to[k]);
        for (size_t k = found; k < wanted; k++) to[k] = to[0]; /* only beyond live_count */
    }
}

int rl_partitions_init(rl_partitions *table, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                       size_t tier_count, uint8_t *stamps) {
    if (rl_hasher_init(&table->placer.hasher, kind, seed, seed_hi) != 0) return -1;
    memset(stamps, 0, tier_count);
    memset(table->taking, 0, sizeof table->taking);
    for (size_t position = 0; position < table->placer.node_count; position++) {
        if (!table->takes[position]) continue;
        for (int level = 0; level < RL_PARTS_LEVELS; level++) {
            uint32_t tier = table->tiers[position * RL_PARTS_LEVELS + (size_t)level];
            table->taking[level] += !stamps[tier];
            stamps[tier] = 1;
        }
    }
    table->placer.owners = owners;
    table->placer.replicas = replicas;
    table->placer.word_owners = word_owners;
    return 0;
}
