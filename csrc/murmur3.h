/* MurmurHash3 with a seed, x64-128 and x86-32, as Austin Appleby published them. */
#ifndef RL_MURMUR3_H
#define RL_MURMUR3_H

#include "base.h"

typedef struct rl_murmur3_128 {
    uint64_t h1, h2;
} rl_murmur3_128;

RL_INLINE uint64_t rl_murmur3_mix64(uint64_t h) {
    h ^= h >> 33;
    h *= 0xFF51AFD7ED558CCDu;
    h ^= h >> 33;
    h *= 0xC4CEB9FE1A85EC53u;
    return h ^ (h >> 33);
}

RL_INLINE uint64_t rl_murmur3_lane1(uint64_t k) {
    return rl_rotl64(k * 0x87C37B91114253D5u, 31) * 0x4CF5AD432745937Fu;
}

RL_INLINE uint64_t rl_murmur3_lane2(uint64_t k) {
    return rl_rotl64(k * 0x4CF5AD432745937Fu, 33) * 0x87C37B91114253D5u;
}

/* 1..8 bytes, little-endian, without reading past them. */
RL_INLINE uint64_t rl_murmur3_tail(const uint8_t *data, size_t size) {
    if (size == 8) return rl_load64(data);
    if (size >= 4) {
        /* Two overlapping halves; what they share is equal, so or-ing them does no harm. */
        uint64_t high = rl_load32(data + size - 4);
        return rl_load32(data) | high << (8 * (size - 4));
    }
    uint64_t middle = data[size >> 1], last = data[size - 1];
    return data[0] | middle << (8 * (size >> 1)) | last << (8 * (size - 1));
}

RL_INLINE rl_murmur3_128 rl_murmur3_finish(uint64_t h1, uint64_t h2, uint64_t size) {
    h1 ^= size;
    h2 ^= size;
    h1 += h2;
    h2 += h1;
    h1 = rl_murmur3_mix64(h1);
    h2 = rl_murmur3_mix64(h2);
    h1 += h2;
    h2 += h1;
    rl_murmur3_128 digest = {h1, h2};
    return digest;
}

/* data may be NULL when size is 0. */
RL_INLINE rl_murmur3_128 rl_murmur3_x64_128(const uint8_t *data, size_t size, uint32_t seed) {
    uint64_t h1 = seed, h2 = seed;
    size_t left = size;
    for (; left >= 16; left -= 16, data += 16) {
        h1 ^= rl_murmur3_lane1(rl_load64(data));
        h1 = (rl_rotl64(h1, 27) + h2) * 5 + 0x52DCE729u;
        h2 ^= rl_murmur3_lane2(rl_load64(data + 8));
        h2 = (rl_rotl64(h2, 31) + h1) * 5 + 0x38495AB5u;
    }
    if (left > 8) {
        h2 ^= rl_murmur3_lane2(rl_murmur3_tail(data + 8, left - 8));
        left = 8;
    }
    if (left > 0) h1 ^= rl_murmur3_lane1(rl_murmur3_tail(data, left));
    return rl_murmur3_finish(h1, h2, size);
}

/* The first half of x64-128 of one word's 8 little-endian bytes. */
RL_INLINE uint64_t rl_murmur3_word(uint64_t word, uint32_t seed) {
    return rl_murmur3_finish(seed ^ rl_murmur3_lane1(word), seed, 8).h1;
}

RL_INLINE uint32_t rl_murmur3_lane32(uint32_t k) {
    return rl_rotl32(k * 0xCC9E2D51u, 15) * 0x1B873593u;
}

/* data may be NULL when size is 0. */
RL_INLINE uint32_t rl_murmur3_x86_32(const uint8_t *data, size_t size, uint32_t seed) {
    uint32_t h = seed;
    size_t left = size;
    for (; left >= 4; left -= 4, data += 4) {
        h ^= rl_murmur3_lane32(rl_load32(data));
        h = rl_rotl32(h, 13) * 5 + 0xE6546B64u;
    }
    if (left > 0) h ^= rl_murmur3_lane32((uint32_t)rl_murmur3_tail(data, left));
    h ^= (uint32_t)size;
    h ^= h >> 16;
    h *= 0x85EBCA6Bu;
    h ^= h >> 13;
    h *= 0xC2B2AE35u;
    return h ^ (h >> 16);
}

#endif
