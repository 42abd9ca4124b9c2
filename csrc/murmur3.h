/* MurmurHash3 with a seed, x64-128 and x86-32, as Austin Appleby published them, and Cassandra's
 * own: it is x64-128 without a seed but for the last size % 16 bytes, which it extends as signed. */
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

/* The whole blocks of 16 bytes; returns where they end. */
RL_INLINE const uint8_t *rl_murmur3_blocks(const uint8_t *data, size_t size, uint64_t *h1,
                                           uint64_t *h2) {
    uint64_t a = *h1, b = *h2;
    for (; size >= 16; size -= 16, data += 16) {
        a ^= rl_murmur3_lane1(rl_load64(data));
        a = (rl_rotl64(a, 27) + b) * 5 + 0x52DCE729u;
        b ^= rl_murmur3_lane2(rl_load64(data + 8));
        b = (rl_rotl64(b, 31) + a) * 5 + 0x38495AB5u;
    }
    *h1 = a;
    *h2 = b;
    return data;
}

/* data may be NULL when size is 0. */
RL_INLINE rl_murmur3_128 rl_murmur3_x64_128(const uint8_t *data, size_t size, uint32_t seed) {
    uint64_t h1 = seed, h2 = seed;
    size_t left = size % 16;
    data = rl_murmur3_blocks(data, size, &h1, &h2);
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

/* The xor of a lane's bytes, each extended to 64 bits as a signed number before it is moved to its
 * place: a byte is inverted by every negative byte below it.  The lane's bytes from its size on
 * come zero and are inverted too. */
RL_INLINE uint64_t rl_cassandra_signed(uint64_t lane) {
    uint64_t ones = 0x0101010101010101u;
    uint64_t negative = (lane >> 7) & ones;
    uint64_t below = (negative * ones) << 8; /* byte i counts the negative bytes below i */
    return lane ^ (below & ones) * 0xFF;
}

/* The token, with its sign bit flipped: signed order as unsigned order. */
RL_INLINE uint64_t rl_cassandra_token(uint64_t h1) {
    uint64_t lowest = (uint64_t)1 << 63;
    return h1 == lowest ? ~(uint64_t)0 : h1 ^ lowest; /* the lowest is kept for "no token" */
}

/* The lanes come extended: rl_cassandra_signed(). */
RL_INLINE uint64_t rl_cassandra_finish(uint64_t h1, uint64_t h2, uint64_t low, uint64_t high,
                                       size_t size) {
    h2 ^= rl_murmur3_lane2(high); /* an absent lane is zero and does nothing */
    h1 ^= rl_murmur3_lane1(low);
    return rl_cassandra_token(rl_murmur3_finish(h1, h2, size).h1);
}

RL_INLINE uint64_t rl_cassandra_ending(uint64_t h1, uint64_t h2, uint64_t low, uint64_t high,
                                       size_t size) {
    if ((low | high) & 0x8080808080808080u) { /* text in ASCII has none */
        low = rl_cassandra_signed(low);
        high = rl_cassandra_signed(high);
    }
    return rl_cassandra_finish(h1, h2, low, high, size);
}

/* data may be NULL when size is 0. */
RL_INLINE uint64_t rl_cassandra(const uint8_t *data, size_t size) {
    uint64_t h1 = 0, h2 = 0, low = 0, high = 0;
    size_t left = size % 16;
    data = rl_murmur3_blocks(data, size, &h1, &h2);
    if (left >= 8) {
        low = rl_load64(data);
        if (left > 8) high = rl_load64(data + left - 8) >> (8 * (16 - left));
    } else if (size >= 8) { /* with bytes of the block before, which go */
        if (left > 0) low = rl_load64(data + left - 8) >> (8 * (8 - left));
    } else if (left > 0) {
        low = rl_murmur3_tail(data, left);
    }
    return rl_cassandra_ending(h1, h2, low, high, size);
}

RL_INLINE uint64_t rl_cassandra_word(uint64_t word) {
    return rl_cassandra_finish(0, 0, rl_cassandra_signed(word), 0, 8);
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
