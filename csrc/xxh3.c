#include "xxh3.h"

#include "simd.h"

#if RL_X86_64
#include <immintrin.h>
#endif

const uint8_t rl_xxh3_default_secret[RL_XXH3_SECRET_BYTES] = {
    0xB8, 0xFE, 0x6C, 0x39, 0x23, 0xA4, 0x4B, 0xBE, 0x7C, 0x01, 0x81, 0x2C,
    0xF7, 0x21, 0xAD, 0x1C, 0xDE, 0xD4, 0x6D, 0xE9, 0x83, 0x90, 0x97, 0xDB,
    0x72, 0x40, 0xA4, 0xA4, 0xB7, 0xB3, 0x67, 0x1F, 0xCB, 0x79, 0xE6, 0x4E,
    0xCC, 0xC0, 0xE5, 0x78, 0x82, 0x5A, 0xD0, 0x7D, 0xCC, 0xFF, 0x72, 0x21,
    0xB8, 0x08, 0x46, 0x74, 0xF7, 0x43, 0x24, 0x8E, 0xE0, 0x35, 0x90, 0xE6,
    0x81, 0x3A, 0x26, 0x4C, 0x3C, 0x28, 0x52, 0xBB, 0x91, 0xC3, 0x00, 0xCB,
    0x88, 0xD0, 0x65, 0x8B, 0x1B, 0x53, 0x2E, 0xA3, 0x71, 0x64, 0x48, 0x97,
    0xA2, 0x0D, 0xF9, 0x4E, 0x38, 0x19, 0xEF, 0x46, 0xA9, 0xDE, 0xAC, 0xD8,
    0xA8, 0xFA, 0x76, 0x3F, 0xE3, 0x9C, 0x34, 0x3F, 0xF9, 0xDC, 0xBB, 0xC7,
    0xC7, 0x0B, 0x4F, 0x1D, 0x8A, 0x51, 0xE0, 0x4B, 0xCD, 0xB4, 0x59, 0x31,
    0xC8, 0x9F, 0x7E, 0xC9, 0xD9, 0x78, 0x73, 0x64, 0xEA, 0xC5, 0xAC, 0x83,
    0x34, 0xD3, 0xEB, 0xC3, 0xC5, 0x81, 0xA0, 0xFF, 0xFA, 0x13, 0x63, 0xEB,
    0x17, 0x0D, 0xDD, 0x51, 0xB7, 0xF0, 0xDA, 0x49, 0xD3, 0x16, 0x55, 0x26,
    0x29, 0xD4, 0x68, 0x9E, 0x2B, 0x16, 0xBE, 0x58, 0x7D, 0x47, 0xA1, 0xFC,
    0x8F, 0xF8, 0xB8, 0xD1, 0x7A, 0xD0, 0x31, 0xCE, 0x45, 0xCB, 0x3A, 0x8F,
    0x95, 0x16, 0x04, 0x28, 0xAF, 0xD7, 0xFB, 0xCA, 0xBB, 0x4B, 0x40, 0x7E,
};

void rl_xxh3_secret_init(uint64_t seed, uint8_t secret[RL_XXH3_SECRET_BYTES]) {
    for (size_t i = 0; i < RL_XXH3_SECRET_BYTES; i += 16) {
        rl_store64(secret + i, rl_load64(rl_xxh3_default_secret + i) + seed);
        rl_store64(secret + i + 8, rl_load64(rl_xxh3_default_secret + i + 8) - seed);
    }
}

/* The long form cuts the input into stripes of 64 bytes, each added into eight accumulators under
 * a window of the secret that moves on by 8 bytes a stripe; after 16 stripes (a block) the window
 * has reached the secret's end, and the accumulators are scrambled.  The last stripe ends where
 * the input ends, and so overlaps the one before it. */
enum {
    STRIPE_BYTES = 64,
    BLOCK_STRIPES = (RL_XXH3_SECRET_BYTES - STRIPE_BYTES) / 8,
    SCRAMBLE_KEY = RL_XXH3_SECRET_BYTES - STRIPE_BYTES,
    LAST_KEY = SCRAMBLE_KEY - 7,
    MERGE_KEY = 11,
    /* Far enough ahead to hide the memory behind eight stripes of work. */
    PREFETCH_BYTES = 512
};

/* Each level has two steps on its accumulators, and CONSUME() is the order of the steps. */
#define CONSUME(accumulate, scramble)                                           \
    do {                                                                        \
        size_t stripes = (size - 1) / STRIPE_BYTES;                             \
        const uint8_t *last = data + size - STRIPE_BYTES;                       \
        for (; stripes >= BLOCK_STRIPES; stripes -= BLOCK_STRIPES) {            \
            for (size_t i = 0; i < BLOCK_STRIPES; i++, data += STRIPE_BYTES) {  \
                rl_prefetch(data + PREFETCH_BYTES);                             \
                accumulate(acc, data, secret + 8 * i);                          \
            }                                                                   \
            scramble(acc, secret + SCRAMBLE_KEY);                               \
        }                                                                       \
        for (size_t i = 0; i < stripes; i++, data += STRIPE_BYTES) {            \
            accumulate(acc, data, secret + 8 * i);                              \
        }                                                                       \
        accumulate(acc, last, secret + LAST_KEY);                               \
    } while (0)

RL_INLINE void accumulate_scalar(uint64_t *acc, const uint8_t *data, const uint8_t *key) {
    for (size_t lane = 0; lane < 8; lane++) {
        uint64_t value = rl_load64(data + 8 * lane);
        uint64_t keyed = value ^ rl_load64(key + 8 * lane);
        acc[lane ^ 1] += value;
        acc[lane] += (keyed & 0xFFFFFFFFu) * (keyed >> 32);
    }
}

RL_INLINE void scramble_scalar(uint64_t *acc, const uint8_t *key) {
    for (size_t lane = 0; lane < 8; lane++) {
        acc[lane] ^= acc[lane] >> 47;
        acc[lane] ^= rl_load64(key + 8 * lane);
        acc[lane] *= RL_XXH_PRIME32_1;
    }
}

static void consume_scalar(uint64_t *acc, const uint8_t *data, size_t size,
                           const uint8_t *secret) {
    CONSUME(accumulate_scalar, scramble_scalar);
}

#if RL_X86_64

RL_TARGET_AVX2 RL_INLINE void accumulate_avx2(__m256i *acc, const uint8_t *data,
                                              const uint8_t *key) {
    for (size_t i = 0; i < 2; i++) {
        __m256i value = _mm256_loadu_si256((const __m256i *)(data + 32 * i));
        __m256i keyed = _mm256_loadu_si256((const __m256i *)(key + 32 * i));
        keyed = _mm256_xor_si256(value, keyed);
        __m256i product = _mm256_mul_epu32(keyed, _mm256_srli_epi64(keyed, 32));
        acc[i] = _mm256_add_epi64(acc[i], _mm256_shuffle_epi32(value, 0x4E));
        acc[i] = _mm256_add_epi64(acc[i], product);
    }
}

RL_TARGET_AVX2 RL_INLINE void scramble_avx2(__m256i *acc, const uint8_t *key) {
    const __m256i prime = _mm256_set1_epi64x((long long)RL_XXH_PRIME32_1);
    for (size_t i = 0; i < 2; i++) {
        __m256i a = _mm256_xor_si256(acc[i], _mm256_srli_epi64(acc[i], 47));
        a = _mm256_xor_si256(a, _mm256_loadu_si256((const __m256i *)(key + 32 * i)));
        __m256i high = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), prime);
        acc[i] = _mm256_add_epi64(_mm256_mul_epu32(a, prime), _mm256_slli_epi64(high, 32));
    }
}

RL_TARGET_AVX2 static void consume_avx2(uint64_t *out, const uint8_t *data, size_t size,
                                        const uint8_t *secret) {
    __m256i acc[2];
    memcpy(acc, out, sizeof acc);
    CONSUME(accumulate_avx2, scramble_avx2);
    memcpy(out, acc, sizeof acc);
}

RL_TARGET_AVX512 RL_INLINE void accumulate_avx512(__m512i *acc, const uint8_t *data,
                                                  const uint8_t *key) {
    __m512i value = _mm512_loadu_si512(data);
    __m512i keyed = _mm512_xor_si512(value, _mm512_loadu_si512(key));
    __m512i product = _mm512_mul_epu32(keyed, _mm512_srli_epi64(keyed, 32));
    __m512i swapped = _mm512_permutex_epi64(value, 0xB1);
    *acc = _mm512_add_epi64(*acc, _mm512_add_epi64(product, swapped));
}

RL_TARGET_AVX512 RL_INLINE void scramble_avx512(__m512i *acc, const uint8_t *key) {
    const __m512i prime = _mm512_set1_epi64((long long)RL_XXH_PRIME32_1);
    __m512i a = _mm512_xor_si512(*acc, _mm512_srli_epi64(*acc, 47));
    a = _mm512_xor_si512(a, _mm512_loadu_si512(key));
    *acc = _mm512_mullo_epi64(a, prime);
}

RL_TARGET_AVX512 static void consume_avx512(uint64_t *out, const uint8_t *data, size_t size,
                                            const uint8_t *secret) {
    __m512i acc[1];
    memcpy(acc, out, sizeof acc);
    CONSUME(accumulate_avx512, scramble_avx512);
    memcpy(out, acc, sizeof acc);
}

#endif

uint64_t rl_xxh3_long(const uint8_t *data, size_t size, const uint8_t *secret) {
    uint64_t acc[8] = {RL_XXH_PRIME32_3, RL_XXH_PRIME64_1, RL_XXH_PRIME64_2, RL_XXH_PRIME64_3,
                       RL_XXH_PRIME64_4, RL_XXH_PRIME32_2, RL_XXH_PRIME64_5, RL_XXH_PRIME32_1};
#if RL_X86_64
    int level = rl_simd();
    if (level >= RL_SIMD_AVX512) {
        consume_avx512(acc, data, size, secret);
    } else if (level >= RL_SIMD_AVX2) {
        consume_avx2(acc, data, size, secret);
    } else {
        consume_scalar(acc, data, size, secret);
    }
#else
    consume_scalar(acc, data, size, secret);
#endif
    uint64_t h = size * RL_XXH_PRIME64_1;
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *key = secret + MERGE_KEY + 16 * i;
        h += rl_mul128_fold(acc[2 * i] ^ rl_load64(key), acc[2 * i + 1] ^ rl_load64(key + 8));
    }
    return rl_xxh3_avalanche(h);
}

uint64_t rl_xxh3_once(const void *data, size_t size, uint64_t seed) {
    if (size <= 16) return rl_xxh3_short((const uint8_t *)data, size, seed, NULL);
    uint8_t own[RL_XXH3_SECRET_BYTES];
    const uint8_t *secret = rl_xxh3_default_secret;
    if (seed != 0) {
        rl_xxh3_secret_init(seed, own);
        secret = own;
    }
    return rl_xxh3_bytes((const uint8_t *)data, size, seed, secret);
}
