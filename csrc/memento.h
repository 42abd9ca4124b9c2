/* MementoHash (Coluzzi, Brocco, Antonucci, Leidi: "MementoHash: A Stateful, Minimal Memory, Best
 * Performing Consistent Hash Algorithm", 2023): jump hash over all buckets that ever were, and for
 * each removed one who replaced it. */
#ifndef RL_MEMENTO_H
#define RL_MEMENTO_H

#include "buckets.h"

/* The entries after the removal of `removed`, in order: distinct buckets, fewer than bucket_count.
 * positions: of the nodes of the buckets that stand; [bucket_count], others are not read. */
void rl_memento_fill(uint64_t *entries, uint32_t bucket_count, const uint32_t *removed,
                     size_t removed_count, const uint32_t *positions);

/* As rl_anchor_init. */
int rl_memento_init(rl_buckets *state, uint32_t kind, uint64_t seed, uint64_t seed_hi);

#endif
