/* A hash and a salt to 64 bits: one draw of the hash's own for every node or bucket.
 *
 *     mix(hash, salt):  x = (hash ^ salt) * 0xBF58476D1CE4E5B9;  x ^= x >> 32;
 *                       return x * 0x94D049BB133111EB                              (mod 2**64)
 *
 * Hash and salt are well mixed already; what this adds is that two salts give draws that do not
 * know of one another.  The high bits are the good ones: compare, or take a range of, those. */
#ifndef RL_MIX_H
#define RL_MIX_H

#include "xxh3_words.h"

#define RL_MIX_1 0xBF58476D1CE4E5B9u
#define RL_MIX_2 0x94D049BB133111EBu
#define RL_BUCKET_GAMMA 0x9E3779B97F4A7C15u

RL_INLINE uint64_t rl_mix(uint64_t hash, uint64_t salt) {
    uint64_t x = (hash ^ salt) * RL_MIX_1;
    x ^= x >> 32;
    return x * RL_MIX_2;
}

/* The salt of a bucket. */
RL_INLINE uint64_t rl_bucket_salt(uint32_t bucket) {
    return ((uint64_t)bucket + 1) * RL_BUCKET_GAMMA;
}

/* floor(x * count / 2**64): x as a fraction of a range. */
RL_INLINE uint32_t rl_range(uint64_t x, uint32_t count) {
    return (uint32_t)(((x >> 32) * count + (((x & 0xFFFFFFFFu) * count) >> 32)) >> 32);
}

#if RL_X86_64

RL_TARGET_AVX2 RL_INLINE __m256i rl_mix_avx2(__m256i hash, __m256i salt) {
    __m256i x = rl_mul64_avx2(_mm256_xor_si256(hash, salt),
                              _mm256_set1_epi64x((long long)RL_MIX_1),
                              _mm256_set1_epi64x((long long)(RL_MIX_1 >> 32)));
    x = _mm256_xor_si256(x, _mm256_srli_epi64(x, 32));
    return rl_mul64_avx2(x, _mm256_set1_epi64x((long long)RL_MIX_2),
                         _mm256_set1_epi64x((long long)(RL_MIX_2 >> 32)));
}

RL_TARGET_AVX512 RL_INLINE __m512i rl_mix_avx512(__m512i hash, __m512i salt) {
    __m512i x = _mm512_mullo_epi64(_mm512_xor_si512(hash, salt),
                                   _mm512_set1_epi64((long long)RL_MIX_1));
    x = _mm512_xor_si512(x, _mm512_srli_epi64(x, 32));
    return _mm512_mullo_epi64(x, _mm512_set1_epi64((long long)RL_MIX_2));
}

/* `count` in the low halves of the lanes, whose high halves are zero. */
RL_TARGET_AVX512 RL_INLINE __m512i rl_range_avx512(__m512i x, __m512i count) {
    __m512i low = _mm512_srli_epi64(_mm512_mul_epu32(x, count), 32);
    __m512i high = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), count);
    return _mm512_srli_epi64(_mm512_add_epi64(high, low), 32);
}

#endif

#endif
