/* XXH3-64 with a seed, from the specification (xxHash 0.8).
 *
 * Keys up to 240 bytes are hashed here, so that loops inline it; rl_xxh3_long() does the rest.
 * There is one straight line for each class of lengths, for callers that sort keys by class. */
#ifndef RL_XXH3_H
#define RL_XXH3_H

#include "hash.h"

#define RL_XXH3_SHORT_BYTES_MAX 240

#define RL_XXH_PRIME32_1 0x9E3779B1u
#define RL_XXH_PRIME32_2 0x85EBCA77u
#define RL_XXH_PRIME32_3 0xC2B2AE3Du
#define RL_XXH_PRIME64_1 0x9E3779B185EBCA87u
#define RL_XXH_PRIME64_2 0xC2B2AE3D27D4EB4Fu
#define RL_XXH_PRIME64_3 0x165667B19E3779F9u
#define RL_XXH_PRIME64_4 0x85EBCA77C2B2AE63u
#define RL_XXH_PRIME64_5 0x27D4EB2F165667C5u
#define RL_XXH3_PRIME_1 0x165667919E3779F9u
#define RL_XXH3_PRIME_2 0x9FB21C651E98DF25u

/* The specification's kSecret. */
extern const uint8_t rl_xxh3_default_secret[RL_XXH3_SECRET_BYTES];

/* The secret of a seed: the default secret's words, plus and minus the seed in turn. */
void rl_xxh3_secret_init(uint64_t seed, uint8_t secret[RL_XXH3_SECRET_BYTES]);

/* size > 240; `secret` is the seed's.  Uses the vector instructions that rl_simd() allows. */
uint64_t rl_xxh3_long(const uint8_t *data, size_t size, const uint8_t *secret);

/* Any size, for those who hash one value and keep no hasher. */
uint64_t rl_xxh3_once(const void *data, size_t size, uint64_t seed);

RL_INLINE uint64_t rl_xxh64_avalanche(uint64_t h) {
    h ^= h >> 33;
    h *= RL_XXH_PRIME64_2;
    h ^= h >> 29;
    h *= RL_XXH_PRIME64_3;
    return h ^ (h >> 32);
}

RL_INLINE uint64_t rl_xxh3_avalanche(uint64_t h) {
    h ^= h >> 37;
    h *= RL_XXH3_PRIME_1;
    return h ^ (h >> 32);
}

RL_INLINE uint64_t rl_xxh3_mix16(const uint8_t *data, uint64_t key_low, uint64_t key_high) {
    return rl_mul128_fold(rl_load64(data) ^ key_low, rl_load64(data + 8) ^ key_high);
}

/* The literals below are xors of neighbouring little-endian words of the default secret; `secret`
 * always is the seed's, in which the additions of the seed are already done. */

RL_INLINE uint64_t rl_xxh3_0(uint64_t seed) {
    return rl_xxh64_avalanche(seed ^ 0x8726F9105DC21DDCu); /* bytes 56 and 64 */
}

RL_INLINE uint64_t rl_xxh3_1to3(const uint8_t *data, size_t size, uint64_t seed) {
    uint32_t first = data[0], middle = data[size >> 1], last = data[size - 1];
    uint32_t combined = first << 16 | middle << 24 | last | (uint32_t)size << 8;
    return rl_xxh64_avalanche(combined ^ (0x87275A9Bu + seed)); /* bytes 0 and 4 */
}

RL_INLINE uint64_t rl_xxh3_4to8(const uint8_t *data, size_t size, uint64_t seed) {
    uint64_t spread = seed ^ (uint64_t)rl_swap32((uint32_t)seed) << 32;
    uint64_t flip = 0xC73AB174C5ECD5A2u - spread; /* bytes 8 and 16 */
    uint64_t h = ((uint64_t)rl_load32(data) << 32) + rl_load32(data + size - 4);
    h ^= flip;
    h ^= rl_rotl64(h, 49) ^ rl_rotl64(h, 24);
    h *= RL_XXH3_PRIME_2;
    h ^= (h >> 35) + size;
    h *= RL_XXH3_PRIME_2;
    return h ^ (h >> 28);
}

RL_INLINE uint64_t rl_xxh3_9to16(const uint8_t *data, size_t size, uint64_t seed) {
    uint64_t flip_low = 0x6782737BEA4239B9u + seed;  /* bytes 24 and 32 */
    uint64_t flip_high = 0xAF56BC3B0996523Au - seed; /* bytes 40 and 48 */
    uint64_t low = rl_load64(data) ^ flip_low;
    uint64_t high = rl_load64(data + size - 8) ^ flip_high;
    return rl_xxh3_avalanche(size + rl_swap64(low) + high + rl_mul128_fold(low, high));
}

/* 17 to 128 bytes: `pairs` (1..4) is the size over 32, rounded up. */
RL_INLINE uint64_t rl_xxh3_17to128(const uint8_t *data, size_t size, const uint8_t *secret,
                                   size_t pairs) {
    uint64_t h = size * RL_XXH_PRIME64_1;
    for (size_t i = 0; i < pairs; i++) {
        const uint8_t *key = secret + 32 * i;
        h += rl_xxh3_mix16(data + 16 * i, rl_load64(key), rl_load64(key + 8));
        h += rl_xxh3_mix16(data + size - 16 * (i + 1), rl_load64(key + 16), rl_load64(key + 24));
    }
    return rl_xxh3_avalanche(h);
}

RL_INLINE uint64_t rl_xxh3_129to240(const uint8_t *data, size_t size, uint64_t seed,
                                    const uint8_t *secret) {
    uint64_t h = size * RL_XXH_PRIME64_1;
    for (size_t i = 0; i < 8; i++) {
        const uint8_t *key = secret + 16 * i;
        h += rl_xxh3_mix16(data + 16 * i, rl_load64(key), rl_load64(key + 8));
    }
    h = rl_xxh3_avalanche(h);
    /* From here the secret is read between its words, where the seed must be added afresh. */
    const uint8_t *key = rl_xxh3_default_secret + 119;
    h += rl_xxh3_mix16(data + size - 16, rl_load64(key) + seed, rl_load64(key + 8) - seed);
    for (size_t i = 8; i < size / 16; i++) {
        key = rl_xxh3_default_secret + 16 * (i - 8) + 3;
        h += rl_xxh3_mix16(data + 16 * i, rl_load64(key) + seed, rl_load64(key + 8) - seed);
    }
    return rl_xxh3_avalanche(h);
}

/* size <= 240.  `secret` is not read when size <= 16. */
RL_INLINE uint64_t rl_xxh3_short(const uint8_t *data, size_t size, uint64_t seed,
                                 const uint8_t *secret) {
    if (size <= 16) {
        if (size > 8) return rl_xxh3_9to16(data, size, seed);
        if (size >= 4) return rl_xxh3_4to8(data, size, seed);
        return size > 0 ? rl_xxh3_1to3(data, size, seed) : rl_xxh3_0(seed);
    }
    if (size <= 32) return rl_xxh3_17to128(data, size, secret, 1);
    if (size <= 64) return rl_xxh3_17to128(data, size, secret, 2);
    if (size <= 128) return rl_xxh3_17to128(data, size, secret, (size + 31) / 32);
    return rl_xxh3_129to240(data, size, seed, secret);
}

RL_INLINE uint64_t rl_xxh3_bytes(const uint8_t *data, size_t size, uint64_t seed,
                                 const uint8_t *secret) {
    if (RL_LIKELY(size <= RL_XXH3_SHORT_BYTES_MAX)) return rl_xxh3_short(data, size, seed, secret);
    return rl_xxh3_long(data, size, secret);
}

#endif
