/* AnchorHash (Mendelson, Vargaftik, Barabash, Lorenz, Keslassy, Orda: "AnchorHash: A Scalable
 * Consistent Hash", IEEE/ACM Transactions on Networking 2021): a fixed number of buckets, the
 * anchor, of which some are removed; any may be removed, and what comes back is the last. */
#ifndef RL_ANCHOR_H
#define RL_ANCHOR_H

#include "buckets.h"

/* The entries of an anchor of `bucket_count` buckets after the removal of `removed`, in order:
 * distinct buckets, fewer than bucket_count.
 *
 * positions: of the nodes of the buckets that stand; [bucket_count], others are not read.
 * who, where: working memory of [bucket_count]: the paper's W and L. */
void rl_anchor_fill(uint64_t *entries, uint32_t bucket_count, const uint32_t *removed,
                    size_t removed_count, const uint32_t *positions, uint32_t *who,
                    uint32_t *where);

/* Sets the functions and the hasher; the caller sets entries, bucket_count and the counts and
 * positions of the nodes.  Returns 0, or -1 for an unknown kind of hash. */
int rl_anchor_init(rl_buckets *state, uint32_t kind, uint64_t seed, uint64_t seed_hi);

#endif
