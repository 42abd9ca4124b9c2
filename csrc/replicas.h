/* Replica policies: which of the nodes that a key meets, in the order of its locator, take its
 * replicas.
 *
 * A rule puts every node into a group, or into none, and wants so many nodes of each group.  Met in
 * order, a node is of
 *
 *     tier 0   if it is the first of its datacenter in its group (and the rule spreads over them),
 *     tier 1   else if it is the first of its zone (and the rule spreads over zones),
 *     tier 2   otherwise,
 *
 * and a group's replicas are its first nodes by (tier, order met), in the order met.  As the number
 * of a group's datacenters and zones is known, so is how many nodes of each tier it takes (its
 * quotas), and each node is accepted or refused for good when it is met: no node is kept in mind,
 * and a refused one need not be remembered, as it would be refused again.
 *
 * On a ring of points the rows of all points can be made beforehand: going backwards, the row of a
 * point is its node and the row of the next point without the one that has to go. */
#ifndef RL_REPLICAS_H
#define RL_REPLICAS_H

#include "placer.h"
#include "ring.h"

#define RL_REPLICAS_MAX 255
#define RL_NO_GROUP UINT32_MAX

typedef struct rl_place {
    uint32_t group; /* or RL_NO_GROUP */
    uint32_t dc;    /* Invariant: below node_count, as zone */
    uint32_t zone;  /* one number for each (datacenter, zone) */
} rl_place;

/* Replicas of each tier that a group still takes. */
typedef struct rl_quota {
    uint8_t tiers[3];
} rl_quota;

typedef struct rl_rule {
    size_t node_count;
    size_t group_count;     /* Invariant: 1 <= group_count <= total */
    size_t total;           /* replicas of a key; Invariant: 1 <= total <= RL_REPLICAS_MAX */
    int spreads_dcs;
    int spreads_zones;
    const rl_place *places; /* [node_count] by position */
    rl_quota *quotas;       /* [group_count] */
} rl_rule;

/* Fill quotas from the places and from how many nodes are wanted of each group.  seen: node_count
 * zeroed bytes, used up.  Returns 0; -1 if a group has fewer nodes than are wanted. */
int rl_rule_init(rl_rule *rule, const uint32_t *wanted, uint8_t *seen);

/* row[0..total) = the positions that the rule takes of candidates[], distinct positions in the
 * order met.  Returns how many it found: total, or fewer if it needs more candidates. */
size_t rl_rule_select(const rl_rule *rule, const uint32_t *candidates, size_t count,
                      uint32_t *row);

/* The same for whoever is met from `hash` on, clockwise. */
size_t rl_rule_walk(const rl_rule *rule, const rl_ring_view *view, uint64_t hash, uint32_t *row);

/* out[i * total ...] = rl_rule_walk for each of hashes[0..count); returns count, or the first i
 * that found too few. */
size_t rl_rule_walks(const rl_rule *rule, const rl_ring_view *view, const uint64_t *hashes,
                     size_t count, uint32_t *out);

/* --- the rows of all points ----------------------------------------------------------------- */

/* A row's number is that of its point, and for most hashes 16 bits of the tokens near them find the
 * point: of the tokens that the ring's starts put into the hash's bucket, the point is the first
 * that is not below it.  The exact tokens are asked for ties, and in buckets of more than four. */
typedef struct rl_successors {
    size_t count;     /* the ring's points */
    size_t total;     /* positions in a row */
    size_t stride;    /* positions from one row to the next; those past total mean nothing */
    int is_wide;      /* rows of u32, not u16 */
    void *rows;       /* [count + 1][stride]; the last repeats the first */
    uint16_t *splits; /* [count + RL_TOKENS_PAD]; of each token the 16 bits after its bucket's */
} rl_successors;

/* Set everything but the pointers, for a ring of `count` points. */
void rl_successors_plan(rl_successors *successors, const rl_rule *rule, size_t count);

/* Fill rows and splits.  stamps: 2 * node_count zeroed words, used up.  Returns 0, or -1 if the
 * ring cannot satisfy the rule. */
int rl_successors_build(const rl_successors *successors, const rl_rule *rule,
                        const rl_ring_view *view, uint32_t *stamps);

/* The row of the point that owns `hash`. */
void rl_successors_row(const rl_successors *successors, const rl_ring *ring, uint64_t hash,
                       uint32_t *row);

/* out[i * total ...] = the rows of hashes[0..count). */
void rl_successors_rows(const rl_successors *successors, const rl_ring *ring,
                        const uint64_t *hashes, size_t count, uint32_t *out);

/* The same for words, hashed here. */
void rl_successors_word_rows(const rl_successors *successors, const rl_ring *ring,
                             const rl_hasher *hasher, const uint64_t *words, size_t count,
                             uint32_t *out);

/* out[i * total ...] = the row of point lo + i. */
void rl_successors_unpack(const rl_successors *successors, size_t lo, size_t count, uint32_t *out);

/* --- closeness ------------------------------------------------------------------------------ */

/* Each row of `width` positions in the order of their ranks[] (0, 1 or 2), equal ones as they
 * stood. */
void rl_rows_by_rank(const uint32_t *in, size_t count, size_t width, const uint8_t *ranks,
                     uint32_t *out);

#endif
