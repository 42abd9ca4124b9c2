/* Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
 * NSDI 2016, section 3.4): a table of a prime number of slots, each with a node; a key's slot is
 * its hash modulo that number.
 *
 * Each node has a permutation of the slots: offset, offset + skip, offset + 2 skip, ... modulo the
 * size.  The nodes take turns, and in its turn a node takes the first slot of its permutation that
 * is still free, until none is.  Weights are those of Envoy's tables: the heaviest node has a turn
 * in every round, a node of half its weight in every second one.
 *
 * The caller owns every buffer and keeps a table unchanged while anyone reads it. */
#ifndef RL_MAGLEV_H
#define RL_MAGLEV_H

#include "placer.h"

/* Slots are multiplied with halves of hashes, and the products have to stay below 2**58. */
#define RL_MAGLEV_SLOTS_MAX ((size_t)1 << 26)
/* Positions have 16 bits where all are below this, which makes the table half as large. */
#define RL_MAGLEV_NARROW_MAX 65536u
/* Vectors load 32 bits from a slot of 16. */
#define RL_MAGLEV_PAD 1

typedef struct rl_maglev {
    rl_placer placer;
    size_t slot_count;      /* Invariant: a prime, live_count <= slot_count <= SLOTS_MAX */
    uint64_t inverse;       /* floor((2**64 - 1) / slot_count) */
    const uint16_t *narrow; /* [slot_count + RL_MAGLEV_PAD] positions; or NULL, and then */
    const uint32_t *wide;   /* [slot_count] */
} rl_maglev;

/* A node while the table is filled. */
typedef struct rl_maglev_entry {
    uint32_t position;
    uint32_t at;     /* the next slot of its permutation; begins as its offset, < slot_count */
    uint32_t skip;   /* 1 ... slot_count - 1 */
    uint32_t due;    /* written here */
    double weight;   /* its share of all weights, as a double */
    double target;   /* written here */
} rl_maglev_entry;

/* The slots of a table: fills `slots`, [slot_count], with positions.
 * entries: [count] in the order of their turns, 1 <= count <= slot_count, weights > 0.
 * taken: [slot_count / 64 + 1] words, all zero.  heap: [count] words, for unequal weights. */
void rl_maglev_fill(rl_maglev_entry *entries, size_t count, size_t slot_count, uint32_t *slots,
                    uint64_t *taken, uint64_t *heap);

/* Sets up the placer's functions.  hasher and live nodes are set up by the caller. */
void rl_maglev_init(rl_maglev *maglev, size_t slot_count, const uint16_t *narrow,
                    const uint32_t *wide);

/* How many slots each position has: counts[position] += 1 for each. */
void rl_maglev_counts(const rl_maglev *maglev, uint32_t *counts);

/* hash modulo slot_count. */
uint64_t rl_maglev_slot(const rl_maglev *maglev, uint64_t hash);

#endif
