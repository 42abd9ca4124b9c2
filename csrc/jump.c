#include "jump.h"

#include "simd.h"
#include "xxh3_words.h" /* the vector multiplication of AVX2 */

#if RL_X86_64
#include <immintrin.h>
#endif

#define JUMP_MULTIPLIER 2862933555777941757u

uint32_t rl_jump_bucket(uint64_t hash, uint32_t bucket_count) {
    int64_t bucket = -1, next = 0;
    while (next < (int64_t)bucket_count) {
        bucket = next;
        hash = hash * JUMP_MULTIPLIER + 1;
        next = (int64_t)((double)(bucket + 1) *
                         ((double)(INT64_C(1) << 31) / (double)((hash >> 33) + 1)));
    }
    return (uint32_t)bucket;
}

static void buckets_scalar(const uint64_t *hashes, size_t count, uint32_t bucket_count,
                           uint32_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = rl_jump_bucket(hashes[i], bucket_count);
}

/* The vector loops do the paper's double arithmetic in every lane: the same conversions, the same
 * quotient, the same product, each rounded once, and the truncation; so they give the same buckets
 * bit for bit.  A bucket is held as a double, which is exact: what is compared is below 2**62 and
 * either below 2**53 or far above every number of buckets.  One vector alone would wait for its
 * divisions; four at a time keep the divider busy. */
#if RL_X86_64
enum { VECTORS = 4 };

RL_TARGET_AVX2 static size_t buckets_avx2(const uint64_t *hashes, size_t count,
                                          uint32_t bucket_count, uint32_t *out) {
    const __m256i multiplier = _mm256_set1_epi64x((long long)JUMP_MULTIPLIER);
    const __m256i multiplier_high = _mm256_srli_epi64(multiplier, 32);
    const __m256i one = _mm256_set1_epi64x(1);
    /* An integer below 2**52, put into the mantissa of 2**52, is 2**52 + it. */
    const __m256i mantissa = _mm256_set1_epi64x(0x4330000000000000);
    const __m256d two52 = _mm256_set1_pd(4503599627370496.0);
    const __m256d two31 = _mm256_set1_pd(2147483648.0), unit = _mm256_set1_pd(1.0);
    const __m256d end = _mm256_set1_pd((double)bucket_count);
    size_t i = 0;
    for (; i + 4 * VECTORS <= count; i += 4 * VECTORS) {
        __m256i hash[VECTORS];
        __m256d bucket[VECTORS], next[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            hash[v] = _mm256_loadu_si256((const __m256i *)(hashes + i + 4 * v));
            bucket[v] = next[v] = _mm256_setzero_pd();
        }
        int running;
        do {
            running = 0;
            for (int v = 0; v < VECTORS; v++) {
                __m256d runs = _mm256_cmp_pd(next[v], end, _CMP_LT_OQ);
                running |= _mm256_movemask_pd(runs);
                bucket[v] = _mm256_blendv_pd(bucket[v], next[v], runs);
                hash[v] = _mm256_add_epi64(rl_mul64_avx2(hash[v], multiplier, multiplier_high),
                                           one);
                __m256i share = _mm256_add_epi64(_mm256_srli_epi64(hash[v], 33), one);
                __m256d divisor = _mm256_sub_pd(
                    _mm256_castsi256_pd(_mm256_or_si256(share, mantissa)), two52);
                __m256d jump = _mm256_mul_pd(_mm256_add_pd(bucket[v], unit),
                                             _mm256_div_pd(two31, divisor));
                /* A lane that has ended stays where it is, at or past the end. */
                jump = _mm256_round_pd(jump, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
                next[v] = _mm256_blendv_pd(end, jump, runs);
            }
        } while (running);
        for (int v = 0; v < VECTORS; v++)
            _mm_storeu_si128((__m128i *)(out + i + 4 * v), _mm256_cvttpd_epi32(bucket[v]));
    }
    return i;
}

RL_TARGET_AVX512 static size_t buckets_avx512(const uint64_t *hashes, size_t count,
                                              uint32_t bucket_count, uint32_t *out) {
    const __m512i multiplier = _mm512_set1_epi64((long long)JUMP_MULTIPLIER);
    const __m512i one = _mm512_set1_epi64(1);
    const __m512d two31 = _mm512_set1_pd(2147483648.0), unit = _mm512_set1_pd(1.0);
    const __m512d end = _mm512_set1_pd((double)bucket_count);
    size_t i = 0;
    for (; i + 8 * VECTORS <= count; i += 8 * VECTORS) {
        __m512i hash[VECTORS];
        __m512d bucket[VECTORS], next[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            hash[v] = _mm512_loadu_si512(hashes + i + 8 * v);
            bucket[v] = next[v] = _mm512_setzero_pd();
        }
        uint32_t running;
        do {
            running = 0;
            for (int v = 0; v < VECTORS; v++) {
                __mmask8 runs = _mm512_cmp_pd_mask(next[v], end, _CMP_LT_OQ);
                running |= runs;
                bucket[v] = _mm512_mask_mov_pd(bucket[v], runs, next[v]);
                hash[v] = _mm512_add_epi64(_mm512_mullo_epi64(hash[v], multiplier), one);
                __m512d divisor = _mm512_cvtepi64_pd(
                    _mm512_add_epi64(_mm512_srli_epi64(hash[v], 33), one));
                __m512d jump = _mm512_mul_pd(_mm512_add_pd(bucket[v], unit),
                                             _mm512_div_pd(two31, divisor));
                next[v] = _mm512_mask_roundscale_pd(end, runs, jump,
                                                    _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
            }
        } while (running);
        for (int v = 0; v < VECTORS; v++)
            _mm256_storeu_si256((__m256i *)(out + i + 8 * v), _mm512_cvttpd_epi32(bucket[v]));
    }
    return i;
}
#endif

void rl_jump_buckets(const uint64_t *hashes, size_t count, uint32_t bucket_count, uint32_t *out) {
    size_t done = 0;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) {
        done = buckets_avx512(hashes, count, bucket_count, out);
    } else if (rl_simd() >= RL_SIMD_AVX2) {
        done = buckets_avx2(hashes, count, bucket_count, out);
    }
#endif
    buckets_scalar(hashes + done, count - done, bucket_count, out + done);
}

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    rl_jump_buckets(hashes, count, ((const rl_jump *)placer)->bucket_count, out);
}

int rl_jump_init(rl_jump *jump, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                 uint32_t bucket_count) {
    memset(jump, 0, sizeof *jump);
    if (rl_hasher_init(&jump->placer.hasher, kind, seed, seed_hi) != 0) return -1;
    jump->bucket_count = bucket_count;
    jump->placer.node_count = jump->placer.live_count = bucket_count;
    jump->placer.owners = owners;
    jump->placer.replicas = rl_placer_rehash_replicas;
    return 0;
}
