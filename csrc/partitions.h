/* A table of 2^power partitions as a placer: a hash's top bits are its partition, and the table
 * has the partition's nodes.  What the table should be is rebalance.h's to say.
 *
 * The caller owns every buffer. */
#ifndef RL_PARTITIONS_H
#define RL_PARTITIONS_H

#include "placer.h"
#include "rebalance.h"

typedef struct rl_partitions {
    /* live: the nodes that replicas are handed off to.  As drained nodes keep cells for a while,
     * `replicas` may be asked for more than live_count; it repeats the first where there are not
     * as many. */
    rl_placer placer;
    uint32_t power;     /* Invariant: <= RL_PARTS_POWER_MAX */
    uint32_t rows;      /* Invariant: 1 <= rows <= RL_PARTS_ROWS_MAX */
    uint32_t full_rows; /* rows without absent cells */
    /* [rows << power] positions; one of the two.  Absent cells have all bits set. */
    const uint16_t *narrow;
    const uint32_t *wide;
    const uint32_t *tiers;   /* [node_count][RL_PARTS_LEVELS] the tiers of each position */
    const uint8_t *takes;    /* [node_count] whether it is live and has a cell */
    uint32_t taking[RL_PARTS_LEVELS]; /* tiers of each level with a position that takes */
} rl_partitions;

/* Complete `table`, whose fields from `power` to `takes` and whose placer's node_count, live and
 * live_count are set: the hasher, `taking` and the functions.  stamps has room for a number for
 * each tier.  Returns 0, or -1 for an unknown kind of hash. */
int rl_partitions_init(rl_partitions *table, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                       size_t tier_count, uint8_t *stamps);

RL_INLINE size_t rl_partition_of(const rl_partitions *table, uint64_t hash) {
    return (size_t)(hash >> 1 >> (63 - table->power));
}

/* The positions that hold a partition, in the order of rows; returns how many. */
size_t rl_partitions_holders(const rl_partitions *table, size_t part, uint32_t *found);

/* Those that take over when the first `count` in found[] are gone, appended to them up to
 * `wanted`: of the partitions behind `part`, in turn, first the nodes of regions that found[] does
 * not have yet, then of such zones, then of such servers, then all others, and at last live nodes
 * without any cell, by position.  Returns how many are in found[] then.
 * seen: a bit for each position, those of found[] set. */
size_t rl_partitions_handoffs(const rl_partitions *table, size_t part, size_t count,
                              size_t wanted, uint32_t *found, uint64_t *seen);

#endif
