/* Jump consistent hash (Lamping & Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm",
 * 2014): a hash to one of `bucket_count` buckets, with no table at all. */
#ifndef RL_JUMP_H
#define RL_JUMP_H

#include "placer.h"

/* Buckets and positions are below it, as in the paper's int32_t. */
#define RL_JUMP_BUCKETS_MAX 0x7FFFFFFFu

typedef struct rl_jump {
    rl_placer placer;
    uint32_t bucket_count; /* Invariant: 1 <= bucket_count <= RL_JUMP_BUCKETS_MAX */
} rl_jump;

/* Returns 0, or -1 for an unknown kind of hash. */
int rl_jump_init(rl_jump *jump, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                 uint32_t bucket_count);

/* The bucket of `hash`, as in the paper's figure 1. */
uint32_t rl_jump_bucket(uint64_t hash, uint32_t bucket_count);

/* out[i] = the bucket of hashes[i]. */
void rl_jump_buckets(const uint64_t *hashes, size_t count, uint32_t bucket_count, uint32_t *out);

#endif
