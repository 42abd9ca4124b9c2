/* SipHash-1-3 (Aumasson & Bernstein 2012, with one round a block and three to finish): a keyed
 * hash for keys that an adversary chooses. */
#ifndef RL_SIPHASH_H
#define RL_SIPHASH_H

#include "base.h"

typedef struct rl_siphash {
    uint64_t v0, v1, v2, v3;
} rl_siphash;

/* k0 and k1 are the key's halves, read as little-endian. */
RL_INLINE rl_siphash rl_siphash_init(uint64_t k0, uint64_t k1) {
    rl_siphash s = {k0 ^ 0x736F6D6570736575u, k1 ^ 0x646F72616E646F6Du, k0 ^ 0x6C7967656E657261u,
                    k1 ^ 0x7465646279746573u};
    return s;
}

RL_INLINE void rl_siphash_round(rl_siphash *s) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rl_rotl64(s->v1, 13) ^ s->v0;
    s->v3 = rl_rotl64(s->v3, 16) ^ s->v2;
    s->v0 = rl_rotl64(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rl_rotl64(s->v1, 17) ^ s->v2;
    s->v3 = rl_rotl64(s->v3, 21) ^ s->v0;
    s->v2 = rl_rotl64(s->v2, 32);
}

RL_INLINE void rl_siphash_absorb(rl_siphash *s, uint64_t block) {
    s->v3 ^= block;
    rl_siphash_round(s);
    s->v0 ^= block;
}

/* `last` is the tail's 0..7 bytes under the size's low byte. */
RL_INLINE uint64_t rl_siphash_finish(rl_siphash *s, uint64_t last) {
    rl_siphash_absorb(s, last);
    s->v2 ^= 0xFF;
    for (int i = 0; i < 3; i++) rl_siphash_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* data may be NULL when size is 0. */
RL_INLINE uint64_t rl_siphash13(const uint8_t *data, size_t size, uint64_t k0, uint64_t k1) {
    rl_siphash s = rl_siphash_init(k0, k1);
    uint64_t last = (uint64_t)size << 56;
    size_t left = size;
    for (; left >= 8; left -= 8, data += 8) rl_siphash_absorb(&s, rl_load64(data));
    if (left >= 4) {
        /* Two overlapping halves, as in rl_murmur3_tail(). */
        last |= rl_load32(data) | (uint64_t)rl_load32(data + left - 4) << (8 * (left - 4));
    } else if (left > 0) {
        uint64_t middle = data[left >> 1], end = data[left - 1];
        last |= data[0] | middle << (8 * (left >> 1)) | end << (8 * (left - 1));
    }
    return rl_siphash_finish(&s, last);
}

/* The same of one word's 8 little-endian bytes. */
RL_INLINE uint64_t rl_siphash13_word(uint64_t word, uint64_t k0, uint64_t k1) {
    rl_siphash s = rl_siphash_init(k0, k1);
    rl_siphash_absorb(&s, word);
    return rl_siphash_finish(&s, (uint64_t)8 << 56);
}

#endif
