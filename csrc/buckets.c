#include "buckets.h"

#include "mix.h"
#include "simd.h"

RL_INLINE uint32_t low_of(uint64_t entry) { return (uint32_t)entry; }
RL_INLINE uint32_t high_of(uint64_t entry) { return (uint32_t)(entry >> 32); }

static uint32_t settle_one(const uint64_t *entries, uint64_t hash, uint32_t bucket) {
    uint64_t entry = entries[bucket];
    while (low_of(entry) != 0) {
        uint32_t stood = low_of(entry);
        bucket = rl_range(rl_mix(hash, rl_bucket_salt(bucket)), stood);
        entry = entries[bucket];
        while (low_of(entry) >= stood) { /* removed earlier: who stands in its place? */
            bucket = high_of(entry);
            entry = entries[bucket];
        }
    }
    return high_of(entry);
}

#if RL_X86_64

/* Eight hashes walk together until the last of them stands. */
RL_TARGET_AVX512 static size_t settle_avx512(const uint64_t *entries, const uint64_t *hashes,
                                             size_t count, uint32_t *buckets) {
    const __m512i low_half = _mm512_set1_epi64(0xFFFFFFFF), one = _mm512_set1_epi64(1);
    const __m512i gamma = _mm512_set1_epi64((long long)RL_BUCKET_GAMMA);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m512i hash = _mm512_loadu_si512(hashes + i);
        __m512i bucket = _mm512_cvtepu32_epi64(_mm256_loadu_si256((const void *)(buckets + i)));
        __m512i entry = _mm512_i64gather_epi64(bucket, entries, 8);
        __m512i stood = _mm512_and_si512(entry, low_half);
        __mmask8 walking = _mm512_test_epi64_mask(stood, stood);
        while (walking) {
            __m512i salt = _mm512_mullo_epi64(_mm512_add_epi64(bucket, one), gamma);
            __m512i next = rl_range_avx512(rl_mix_avx512(hash, salt), stood);
            bucket = _mm512_mask_mov_epi64(bucket, walking, next);
            entry = _mm512_mask_i64gather_epi64(entry, walking, bucket, entries, 8);
            for (;;) {
                __m512i low = _mm512_and_si512(entry, low_half);
                __mmask8 replaced = _mm512_mask_cmpge_epu64_mask(walking, low, stood);
                if (!replaced) {
                    stood = low;
                    break;
                }
                bucket = _mm512_mask_srli_epi64(bucket, replaced, entry, 32);
                entry = _mm512_mask_i64gather_epi64(entry, replaced, bucket, entries, 8);
            }
            walking = _mm512_test_epi64_mask(stood, stood);
        }
        _mm256_storeu_si256((void *)(buckets + i),
                            _mm512_cvtepi64_epi32(_mm512_srli_epi64(entry, 32)));
    }
    return i;
}

#endif

void rl_buckets_settle(const rl_buckets *state, const uint64_t *hashes, size_t count,
                       uint32_t *buckets) {
    size_t i = 0;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) i = settle_avx512(state->entries, hashes, count, buckets);
#endif
    for (; i < count; i++) buckets[i] = settle_one(state->entries, hashes[i], buckets[i]);
}
