/* XXH64 with a seed, from its specification. */
#ifndef RL_XXH64_H
#define RL_XXH64_H

#include "xxh3.h" /* the primes and the final avalanche are shared */

RL_INLINE uint64_t rl_xxh64_round(uint64_t acc, uint64_t lane) {
    return rl_rotl64(acc + lane * RL_XXH_PRIME64_2, 31) * RL_XXH_PRIME64_1;
}

RL_INLINE uint64_t rl_xxh64_merge(uint64_t h, uint64_t acc) {
    return (h ^ rl_xxh64_round(0, acc)) * RL_XXH_PRIME64_1 + RL_XXH_PRIME64_4;
}

RL_INLINE uint64_t rl_xxh64_step8(uint64_t h, uint64_t lane) {
    return rl_rotl64(h ^ rl_xxh64_round(0, lane), 27) * RL_XXH_PRIME64_1 + RL_XXH_PRIME64_4;
}

/* data may be NULL when size is 0. */
RL_INLINE uint64_t rl_xxh64(const uint8_t *data, size_t size, uint64_t seed) {
    uint64_t h = seed + RL_XXH_PRIME64_5;
    size_t left = size;
    if (left >= 32) {
        uint64_t a = seed + RL_XXH_PRIME64_1 + RL_XXH_PRIME64_2;
        uint64_t b = seed + RL_XXH_PRIME64_2;
        uint64_t c = seed;
        uint64_t d = seed - RL_XXH_PRIME64_1;
        for (; left >= 32; left -= 32, data += 32) {
            a = rl_xxh64_round(a, rl_load64(data));
            b = rl_xxh64_round(b, rl_load64(data + 8));
            c = rl_xxh64_round(c, rl_load64(data + 16));
            d = rl_xxh64_round(d, rl_load64(data + 24));
        }
        h = rl_rotl64(a, 1) + rl_rotl64(b, 7) + rl_rotl64(c, 12) + rl_rotl64(d, 18);
        h = rl_xxh64_merge(rl_xxh64_merge(h, a), b);
        h = rl_xxh64_merge(rl_xxh64_merge(h, c), d);
    }
    h += size;
    for (; left >= 8; left -= 8, data += 8) h = rl_xxh64_step8(h, rl_load64(data));
    if (left >= 4) {
        h ^= rl_load32(data) * RL_XXH_PRIME64_1;
        h = rl_rotl64(h, 23) * RL_XXH_PRIME64_2 + RL_XXH_PRIME64_3;
        left -= 4, data += 4;
    }
    for (; left > 0; left--, data++) {
        h = rl_rotl64(h ^ *data * RL_XXH_PRIME64_5, 11) * RL_XXH_PRIME64_1;
    }
    return rl_xxh64_avalanche(h);
}

/* The same of one word's 8 little-endian bytes. */
RL_INLINE uint64_t rl_xxh64_word(uint64_t word, uint64_t seed) {
    return rl_xxh64_avalanche(rl_xxh64_step8(seed + RL_XXH_PRIME64_5 + 8, word));
}

#endif
