/* A table of 2^power partitions: fill it, and rebalance it with as few moves as can be.
 *
 * Nodes are the leaves of a tree of five tiers: root, regions, zones, servers, nodes.  Tiers are
 * numbered level by level, in tree order, so that the children of a tier are neighbours and the
 * leaves come last.  A cell of the table, cells[row << power | partition], is the number of a leaf,
 * or one of the two marks below.
 *
 * `wanted` says how many cells each tier is due; the children's sum is their parent's.  `limit` is
 * ceil(wanted / 2^power): no partition needs more of its replicas under that tier.  A partition is
 * *well spread* if it keeps all limits.  A cell *may move* if none of its partition's cells has
 * changed yet and the partition is old enough, or if this very cell has changed (it holds no data
 * yet).
 *
 * The caller owns every buffer.  All of it is exact in integers and draws from one generator, so
 * that the same input gives the same table everywhere. */
#ifndef RL_REBALANCE_H
#define RL_REBALANCE_H

#include "base.h"

#define RL_PARTS_ABSENT 0xFFFFFFFEu /* the partition has no replica in this row */
#define RL_PARTS_HOLE 0xFFFFFFFFu   /* the replica waits for a place */
#define RL_PARTS_LEVELS 4           /* below the root */
#define RL_PARTS_ROWS_MAX 32
#define RL_PARTS_POWER_MAX 24
/* The search for chains looks at so many cells for each cell of the table, at most. */
#define RL_PARTS_CHECKS 16

typedef struct rl_parts_tree {
    size_t tier_count;           /* Invariant: < RL_PARTS_ABSENT */
    size_t leaf_first;           /* leaves are leaf_first ... tier_count - 1 */
    const uint32_t *first_child; /* [leaf_first + 1]; a tier's children end where the next's begin */
    const uint32_t *paths;       /* [leaves][RL_PARTS_LEVELS]: region, zone, server, the leaf */
    const uint32_t *wanted;      /* [tier_count] */
    const uint32_t *limit;       /* [tier_count] */
} rl_parts_tree;

/* Fill the table from nothing.  Every tier gets exactly `wanted` cells, and of every partition,
 * as of every aligned run of 2^k partitions, its due share rounded down or up.
 * wanted[0] cells in all; where that is no multiple of 2^power, partitions whose number, its bits
 * reversed, is below the remainder have one cell more.  Returns 0, or -1 without memory.
 * O(cells * log2(leaves)). */
int rl_parts_fill(const rl_parts_tree *tree, uint32_t power, uint32_t rows, uint64_t seed,
                  uint32_t *cells);

typedef struct rl_parts_work {
    uint64_t filled;  /* holes that got a place */
    uint64_t checked; /* cells looked at in the search for chains */
    uint64_t surplus; /* cells that still are on nodes with more than they want */
} rl_parts_work;

/* Bring the table nearer to what the tree wants.
 *
 *   old      the cells before, to undo a choice by; may not be `cells`
 *   ready    [2^power]: whether the partition is old enough to move
 *   changed  [2^power]: comes zeroed; bit r: the cell of row r has changed
 *
 * In this order: holes get the roomiest legal place, whatever `ready` says; a partition that is
 * not well spread gives up the replica that helps most; nodes with more cells than wanted give
 * them to nodes with less; what then is left goes through chains of moves over third nodes.
 * Returns 0, or -1 without memory (the cells mean nothing then). */
int rl_parts_rebalance(const rl_parts_tree *tree, uint32_t power, uint32_t rows, uint64_t seed,
                       const uint32_t *old, const uint8_t *ready, uint32_t *cells,
                       uint32_t *changed, rl_parts_work *work);

/* Replicas less far apart than they could be: of each partition, the cells above allowed[tier],
 * summed over the tiers of the level where that sum is largest; all partitions together.
 * tally has room for tier_count zeros and is left zeroed. */
uint64_t rl_parts_at_risk(const rl_parts_tree *tree, uint32_t power, uint32_t rows,
                          const uint32_t *cells, const uint32_t *allowed, uint32_t *tally);

#endif
