/* What this machine can do at best for a column of 64-bit keys, measured beside the lookups:
 *
 *   stream   read 8 bytes, write 4
 *   hash     the same, and hash in between
 *   load     the same, and one load from a table in between: the least that any lookup has to do
 *
 * One loop for each level of instructions, as plain as the ring's kernel may ever get: no case
 * distinctions, no tails (the count is a multiple of YARD_STEP), keys prefetched by hardware. */
#include "xxh3_words.h"

#include <stddef.h>

#if defined(_WIN32)
#define YARD_EXPORT __declspec(dllexport)
#else
#define YARD_EXPORT __attribute__((visibility("default")))
#endif

#define YARD_STEP 16

enum { SCALAR, AVX2, AVX512 };
enum { STREAM, HASH, LOAD };

#define FIXED_SHIFT(table_bits) (64 - (table_bits))

RL_INLINE void loop_scalar(int work, const uint64_t *keys, size_t count, const uint32_t *table,
                           uint32_t table_bits, uint32_t *out) {
    const rl_xxh3_word_keys seeds = rl_xxh3_word_keys_init(0);
    const uint32_t shift = FIXED_SHIFT(table_bits);
    for (size_t i = 0; i < count; i++) {
        uint64_t word = keys[i];
        if (work != STREAM) word = rl_xxh3_word(seeds, word);
        out[i] = work == LOAD ? table[word >> shift] : (uint32_t)(word >> 32);
    }
}

#if RL_X86_64
RL_TARGET_AVX2 RL_INLINE void loop_avx2(int work, const uint64_t *keys, size_t count,
                                        const uint32_t *table, uint32_t table_bits,
                                        uint32_t *out) {
    const rl_xxh3_word_keys seeds = rl_xxh3_word_keys_init(0);
    const __m128i shift = _mm_cvtsi32_si128((int)FIXED_SHIFT(table_bits));
    const __m256i high_halves = _mm256_setr_epi32(1, 3, 5, 7, 0, 0, 0, 0);
    for (size_t i = 0; i < count; i += 4) {
        __m256i word = _mm256_loadu_si256((const __m256i *)(keys + i));
        if (work != STREAM) word = rl_xxh3_words_avx2(seeds, word);
        __m128i result;
        if (work == LOAD) {
            __m256i at = _mm256_srl_epi64(word, shift);
            result = _mm256_i64gather_epi32((const int *)table, at, 4);
        } else {
            result = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(word, high_halves));
        }
        _mm_storeu_si128((__m128i *)(out + i), result);
    }
}

RL_TARGET_AVX512 RL_INLINE void loop_avx512(int work, const uint64_t *keys, size_t count,
                                            const uint32_t *table, uint32_t table_bits,
                                            uint32_t *out) {
    const rl_xxh3_word_keys seeds = rl_xxh3_word_keys_init(0);
    const __m128i shift = _mm_cvtsi32_si128((int)FIXED_SHIFT(table_bits));
    for (size_t i = 0; i < count; i += 8) {
        __m512i word = _mm512_loadu_si512(keys + i);
        if (work != STREAM) word = rl_xxh3_words_avx512(seeds, word);
        __m256i result;
        if (work == LOAD) {
            result = _mm512_i64gather_epi32(_mm512_srl_epi64(word, shift), table, 4);
        } else {
            result = _mm512_cvtepi64_epi32(_mm512_srli_epi64(word, 32));
        }
        _mm256_storeu_si256((__m256i *)(out + i), result);
    }
}
#endif

/* Each (work, level) is a function of its own, with the work's branches folded away. */
#define YARD_WORK(name, work)                                                                     \
    static void name##_scalar(const uint64_t *keys, size_t count, const uint32_t *table,          \
                              uint32_t table_bits, uint32_t *out) {                               \
        loop_scalar(work, keys, count, table, table_bits, out);                                   \
    }                                                                                             \
    YARD_VECTORS(name, work)                                                                      \
    YARD_EXPORT void yard_##name(int level, const uint64_t *keys, size_t count,                   \
                                 const uint32_t *table, uint32_t table_bits, uint32_t *out) {     \
        YARD_DISPATCH(name)                                                                       \
        name##_scalar(keys, count, table, table_bits, out);                                       \
    }

#if RL_X86_64
#define YARD_VECTORS(name, work)                                                                  \
    RL_TARGET_AVX2 static void name##_avx2(const uint64_t *keys, size_t count,                    \
                                           const uint32_t *table, uint32_t table_bits,            \
                                           uint32_t *out) {                                       \
        loop_avx2(work, keys, count, table, table_bits, out);                                     \
    }                                                                                             \
    RL_TARGET_AVX512 static void name##_avx512(const uint64_t *keys, size_t count,                \
                                               const uint32_t *table, uint32_t table_bits,        \
                                               uint32_t *out) {                                   \
        loop_avx512(work, keys, count, table, table_bits, out);                                   \
    }
#define YARD_DISPATCH(name)                                                                       \
    if (level == AVX512) {                                                                        \
        name##_avx512(keys, count, table, table_bits, out);                                       \
        return;                                                                                   \
    }                                                                                             \
    if (level == AVX2) {                                                                          \
        name##_avx2(keys, count, table, table_bits, out);                                         \
        return;                                                                                   \
    }
#else
#define YARD_VECTORS(name, work)
#define YARD_DISPATCH(name) (void)level;
#endif

/* level: as kernels.SIMD_LEVELS, one that the CPU has.  count: a multiple of YARD_STEP.
 * table: [2**table_bits], 1 <= table_bits <= 32; read by load only. */
YARD_WORK(stream, STREAM)
YARD_WORK(hash, HASH)
YARD_WORK(load, LOAD)
