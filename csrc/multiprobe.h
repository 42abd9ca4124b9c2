/* Multi-probe consistent hashing (Appleton & O'Reilly, "Multi-probe consistent hashing",
 * arXiv:1505.00062, 2015): a ring with one point a node, on which a key is looked up several times,
 * at its probes; the point that is closest behind one of them, clockwise, owns it.
 *
 *   probe i of a key   rl_placer_rehash(its hash, i), i = 0 ... probes - 1
 *   distance           token - probe modulo 2**64
 *   owner              of the smallest distance; of equal ones, the smallest token; of equal
 *                      tokens, the first node by name
 *   replicas           the nodes in the order of their smallest distances to any probe, each tie
 *                      settled in the same way
 *
 * Probes are found by a table of the first point at or after each of 2**bits buckets.  Sixteen
 * buckets a point leave one probe in thirty behind the first point of its own bucket; those are
 * set aside, and settled by the ring's exact search.
 *
 * The caller owns every buffer and keeps all of it unchanged while anyone reads it. */
#ifndef RL_MULTIPROBE_H
#define RL_MULTIPROBE_H

#include "placer.h"
#include "ring.h"

#define RL_PROBES_MAX 1024

typedef struct rl_multiprobe {
    rl_placer placer;
    rl_ring ring;      /* its ids are positions; no direct table */
    uint32_t probes;   /* Invariant: 1 <= probes <= RL_PROBES_MAX */
    uint64_t *firsts;  /* [2**ring.start_bits] the first token at or after each bucket, cyclically */
} rl_multiprobe;

/* The start_bits that suit a ring of `count` points. */
uint32_t rl_multiprobe_bits(size_t count);

/* Sets up functions and `firsts` over a ring that is built, and the fields set. */
void rl_multiprobe_init(rl_multiprobe *multi, uint32_t probes);

#endif
