/* Buckets of which some were removed: from a hash's first bucket to one that stands.
 *
 * AnchorHash and MementoHash differ in how a hash gets its first bucket and in who replaced a
 * removed one; the walk from there on is the same (csrc/anchor.h, csrc/memento.h).
 *
 * An entry tells of one bucket:
 *
 *     low half    0 while the bucket stands; else how many stood when it had been removed
 *     high half   the position of its node while it stands; else the bucket that replaced it */
#ifndef RL_BUCKETS_H
#define RL_BUCKETS_H

#include "placer.h"

typedef struct rl_buckets {
    rl_placer placer;
    uint32_t bucket_count;   /* Invariant: 1 <= bucket_count <= RL_BUCKETS_MAX */
    const uint64_t *entries; /* [bucket_count] */
} rl_buckets;

#define RL_BUCKETS_MAX 0x7FFFFFFFu

/* In: buckets[i] = the first bucket of hashes[i].  Out: the position of its node.
 * At least one bucket stands.  O(log(buckets / standing)^2) steps a hash on average. */
void rl_buckets_settle(const rl_buckets *state, const uint64_t *hashes, size_t count,
                       uint32_t *buckets);

#endif
