/* Rendezvous hashing (Thaler & Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998):
 * every node draws a number for every key, and the smallest one, for the node's weight, wins.
 *
 *     draw     z = rl_mix(hash, salt of the node), uniform in 0 .. 2**64-1
 *     time     -ln(1 - z / 2**64) / weight: when a clock of that rate rings first
 *              (Schindelhauer & Schomaker, "Weighted Distributed Hash Tables", 2005)
 *     winner   the earliest time; of equal ones the smallest draw; of equal ones the last entry
 *
 * The logarithm is rl_rendezvous_exponential(): correctly rounded operations in a fixed order, the
 * same on every platform, and never falling as the draw rises; so that where weights are equal,
 * draws alone decide, and exactly so.
 *
 * Nodes may stand in groups, and groups in groups (Wang & Ravishankar's skeleton, 2009): a hash
 * chooses an entry of group 0, then of the group that this entry means, down to a node. */
#ifndef RL_RENDEZVOUS_H
#define RL_RENDEZVOUS_H

#include "placer.h"

typedef struct rl_rendezvous {
    rl_placer placer;
    const uint64_t *salts;   /* [entries] */
    const double *weights;   /* [entries]; Invariant: positive and finite */
    const double *bounds;    /* [entries]: rl_rendezvous_bound(weight) */
    const uint32_t *targets; /* [entries]: a group after this one; in a leaf, a node's position */
    const uint32_t *starts;  /* [groups + 1]: group g has entries starts[g] .. starts[g + 1] - 1;
                                Invariant: at least one */
    const uint8_t *even;     /* [groups]: whether all its weights are equal */
    uint32_t leaf_start;     /* groups from this one on are leaves */
} rl_rendezvous;

/* Sets the functions and the hasher; the caller sets the rest.
 * Returns 0, or -1 for an unknown kind of hash. */
int rl_rendezvous_init(rl_rendezvous *state, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                       int is_flat);

/* -ln(1 - draw / 2**64), to 11 digits (docs/formats.md). */
double rl_rendezvous_exponential(uint64_t draw);

/* What a draw times gives less than the draw's time: mostly enough to see that it loses. */
double rl_rendezvous_bound(double weight);

/* What pymemcache's client computes: the node with the highest murmur3_x86_32 of
 * "<node>-<key>"; of equal ones, the last.  Keys are taken as bytes (rl_placer.span_owners). */
typedef struct rl_pymemcache_node {
    uint32_t hash;     /* of the whole words of "<node>-" */
    uint32_t rest;     /* the bytes after them, little-endian */
    uint32_t shift;    /* 8 bits for each of those */
    uint32_t size;     /* bytes of "<node>-" */
    uint32_t position; /* of the node */
} rl_pymemcache_node;

typedef struct rl_pymemcache {
    rl_placer placer;
    const rl_pymemcache_node *nodes; /* [live_count], in the order of their names */
} rl_pymemcache;

void rl_pymemcache_init(rl_pymemcache *state);

/* name: "<node>-"; size < 2**32. */
rl_pymemcache_node rl_pymemcache_prepare(const uint8_t *name, size_t size, uint32_t seed,
                                         uint32_t position);

#endif
