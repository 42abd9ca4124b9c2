/* A placement algorithm, as what every algorithm gives to the line from keys to owners: a hasher
 * for the keys, and functions from blocks of hashes to positions of nodes.
 *
 * An algorithm's state begins with an rl_placer, so that its functions find the rest:
 *
 *     typedef struct rl_jump { rl_placer placer; uint32_t bucket_count; } rl_jump;
 *
 * The caller owns the state and keeps it unchanged while anyone reads it. */
#ifndef RL_PLACER_H
#define RL_PLACER_H

#include "hash.h"

/* The name of the capsule that carries a `const rl_placer *` from one extension to another. */
#define RL_PLACER_CAPSULE "ringleader.placer"

typedef struct rl_placer rl_placer;
struct rl_placer {
    rl_hasher hasher;
    size_t node_count;    /* every position is below it; Invariant: < 2**32 - 1 */
    size_t live_count;    /* nodes of positive weight, and so the most replicas; Invariant: >= 1 */
    const uint32_t *live; /* [live_count] their positions, ascending; NULL: all, live_count of them */
    /* out[i] = the position of the owner of hashes[i]; count < 2**32, here and below. */
    void (*owners)(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out);
    /* out[i * wanted ...] = the first `wanted` <= live_count distinct positions for hashes[i],
     * owner first.  seen: a bit for every position, all zero before and after. */
    void (*replicas)(const rl_placer *placer, const uint64_t *hashes, size_t count, size_t wanted,
                     uint32_t *out, uint64_t *seen);
    /* The owners of words, hashed here so that hashes stay in registers; or NULL. */
    void (*word_owners)(const rl_placer *placer, const uint64_t *words, size_t count,
                        uint32_t *out);
    /* For algorithms that need the keys' bytes, not a hash of them; or NULL, both.  As owners and
     * replicas, which may be NULL then, and the hasher unused; words come as 8 little-endian bytes.
     * The spans' bytes are borrowed for the call. */
    void (*span_owners)(const rl_placer *placer, const rl_span *spans, size_t count,
                        uint32_t *out);
    void (*span_replicas)(const rl_placer *placer, const rl_span *spans, size_t count,
                          size_t wanted, uint32_t *out, uint64_t *seen);
};

/* spans[i] = the 8 little-endian bytes of words[i], which are put into `bytes`; it may be words
 * itself. */
RL_INLINE void rl_placer_word_spans(const uint64_t *words, size_t count, uint64_t *bytes,
                                    rl_span *spans) {
    for (size_t i = 0; i < count; i++) {
        rl_store64(bytes + i, words[i]);
        spans[i].data = (const uint8_t *)(bytes + i);
        spans[i].size = sizeof *bytes;
    }
}

/* Replicas for algorithms that know owners only: the owners of hash, then of
 * rl_placer_rehash(hash, 1), (hash, 2) and so on up to RL_REHASHES_MAX, then, should there be too
 * few distinct ones, the live positions that follow the last one found, cyclically. */
#define RL_REHASHES_MAX 1024
void rl_placer_rehash_replicas(const rl_placer *placer, const uint64_t *hashes, size_t count,
                               size_t wanted, uint32_t *out, uint64_t *seen);

/* SplitMix64's output function (Steele, Lea, Flood 2014) on hash + turn * its gamma. */
RL_INLINE uint64_t rl_placer_rehash(uint64_t hash, uint64_t turn) {
    uint64_t z = hash + turn * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#endif
