/* XXH3-64 of one 64-bit word (its 8 little-endian bytes): one at a time, and four or eight in a
 * vector, so that other kernels can fuse the hash with what they do next.
 *
 * This is XXH3's rule for lengths 4 to 8, at length 8.  The specification reads two 32-bit halves
 * and swaps them; here that swap and its two rotations by 49 and 24 become three rotations of
 * `word ^ flip`, by 32, 17 and 56, which do not wait for one another. */
#ifndef RL_XXH3_WORDS_H
#define RL_XXH3_WORDS_H

#include "base.h"

#if RL_X86_64
#include <immintrin.h>
#endif

/* What a seed contributes.  Read-only after rl_xxh3_word_keys_init(); pass it by value. */
typedef struct rl_xxh3_word_keys {
    uint64_t flip;
} rl_xxh3_word_keys;

#define RL_XXH3_WORD_MULTIPLIER 0x9FB21C651E98DF25u

/* Any seed. */
RL_INLINE rl_xxh3_word_keys rl_xxh3_word_keys_init(uint64_t seed) {
    /* Bytes 8..15 and 16..23 of the default secret, as little-endian words. */
    const uint64_t secret = 0x1CAD21F72C81017Cu ^ 0xDB979083E96DD4DEu;
    uint64_t spread = seed ^ ((uint64_t)rl_swap32((uint32_t)seed) << 32);
    rl_xxh3_word_keys keys = {rl_rotl64(secret - spread, 32)};
    return keys;
}

/* The hash of `word`, any 64-bit number (in the host's order: not bytes in memory). */
RL_INLINE uint64_t rl_xxh3_word(rl_xxh3_word_keys keys, uint64_t word) {
    word ^= keys.flip;
    word = rl_rotl64(word, 32) ^ rl_rotl64(word, 17) ^ rl_rotl64(word, 56);
    word *= RL_XXH3_WORD_MULTIPLIER;
    word ^= (word >> 35) + 8;
    word *= RL_XXH3_WORD_MULTIPLIER;
    return word ^ (word >> 28);
}

#if RL_X86_64

/* a * b mod 2^64 in each lane: AVX2 multiplies 32 bits by 32 only. */
RL_TARGET_AVX2 RL_INLINE __m256i rl_mul64_avx2(__m256i a, __m256i b, __m256i b_high) {
    __m256i low = _mm256_mul_epu32(a, b);
    __m256i cross = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);
    cross = _mm256_add_epi64(cross, _mm256_mul_epu32(a, b_high));
    return _mm256_add_epi64(low, _mm256_slli_epi64(cross, 32));
}

/* Four words at once.  Only where rl_simd() >= RL_SIMD_AVX2. */
RL_TARGET_AVX2 RL_INLINE __m256i rl_xxh3_words_avx2(rl_xxh3_word_keys keys, __m256i words) {
    const __m256i multiplier = _mm256_set1_epi64x((long long)RL_XXH3_WORD_MULTIPLIER);
    const __m256i multiplier_high = _mm256_set1_epi64x((long long)(RL_XXH3_WORD_MULTIPLIER >> 32));
    /* Rotation left by 56 bits is rotation right by one byte. */
    const __m256i right_one_byte = _mm256_setr_epi8(
        1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12, 13, 14, 15, 8, 1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12,
        13, 14, 15, 8);
    __m256i w = _mm256_xor_si256(words, _mm256_set1_epi64x((long long)keys.flip));
    __m256i by32 = _mm256_shuffle_epi32(w, 0xB1);
    __m256i by56 = _mm256_shuffle_epi8(w, right_one_byte);
    __m256i by17 = _mm256_or_si256(_mm256_slli_epi64(w, 17), _mm256_srli_epi64(w, 47));
    w = _mm256_xor_si256(_mm256_xor_si256(by32, by56), by17);
    w = rl_mul64_avx2(w, multiplier, multiplier_high);
    w = _mm256_xor_si256(w, _mm256_add_epi64(_mm256_srli_epi64(w, 35), _mm256_set1_epi64x(8)));
    w = rl_mul64_avx2(w, multiplier, multiplier_high);
    return _mm256_xor_si256(w, _mm256_srli_epi64(w, 28));
}

/* The truth table of a ^ b ^ c, for ternary logic. */
#define RL_XOR3 0x96

/* Eight words at once.  Only where rl_simd() >= RL_SIMD_AVX512. */
RL_TARGET_AVX512 RL_INLINE __m512i rl_xxh3_words_avx512(rl_xxh3_word_keys keys, __m512i words) {
    const __m512i multiplier = _mm512_set1_epi64((long long)RL_XXH3_WORD_MULTIPLIER);
    __m512i w = _mm512_xor_si512(words, _mm512_set1_epi64((long long)keys.flip));
    w = _mm512_ternarylogic_epi64(_mm512_rol_epi64(w, 32), _mm512_rol_epi64(w, 17),
                                  _mm512_rol_epi64(w, 56), RL_XOR3);
    w = _mm512_mullo_epi64(w, multiplier);
    w = _mm512_xor_si512(w, _mm512_add_epi64(_mm512_srli_epi64(w, 35), _mm512_set1_epi64(8)));
    w = _mm512_mullo_epi64(w, multiplier);
    return _mm512_xor_si512(w, _mm512_srli_epi64(w, 28));
}

#endif

#endif
