/* Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018), for a
 * whole column of keys, and the test for room that serves one key at a time.
 *
 * A column is assigned in two rounds:
 *
 *   1  Every node keeps of the keys it owns as many as it has room for: those of the least rank,
 *      a mix of the key's hash.  The rest are its surplus.
 *   2  All surplus keys, by rank, each walk the circle to the first node that still has room.
 *
 * So a key leaves its owner only if that is full of its own, and the outcome depends on the hashes
 * of the keys and not on their order; keys of one hash take turns by their place in the column.
 *
 * Nodes are ids here.  The caller owns every buffer. */
#ifndef RL_BOUNDED_H
#define RL_BOUNDED_H

#include "ring.h"

/* The order in which keys are served: as good as random, and another for every hash. */
RL_INLINE uint64_t rl_bounded_rank(uint64_t hash) {
    hash = (hash ^ (hash >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    hash = (hash ^ (hash >> 27)) * UINT64_C(0x94D049BB133111EB);
    return hash ^ (hash >> 31);
}

typedef struct rl_ranked {
    uint64_t rank;
    uint64_t index; /* of the key in its column */
} rl_ranked;

typedef struct rl_bounded_sizes {
    size_t surplus; /* keys beyond what their owners have room for */
    size_t crowded; /* all keys of those owners */
} rl_bounded_sizes;

/* counts[id] = the keys that id owns; counts come zeroed. */
rl_bounded_sizes rl_bounded_count(const uint32_t *owners, size_t count, const uint64_t *room,
                                  size_t id_bound, uint64_t *counts);

/* Round 1.  surplus[0 .. sizes.surplus) = the keys without room at their owners, by rank, then
 * index; room[] becomes what is left of it.  counts[] is used up.
 * crowded: [sizes.crowded]; surplus: [2 * sizes.surplus], whose second half means nothing after. */
void rl_bounded_surplus(const uint64_t *hashes, const uint32_t *owners, size_t count,
                        size_t id_bound, uint64_t *counts, uint64_t *room, rl_ranked *crowded,
                        rl_ranked *surplus);

/* Round 2.  owners[index] of each surplus key becomes the first id with room on its walk.
 * The room left is enough for all.  next: [ring->count], overwritten. */
void rl_bounded_divert(const rl_ring *ring, const uint64_t *hashes, const rl_ranked *surplus,
                       size_t surplus_count, uint64_t *room, uint32_t *next, uint32_t *owners);

/* Whether a node that holds `load` of `total` keys has room for one of them more, itself counted
 * in `total`: load < total * share / whole, exactly; that is load + 1 <= ceil(of the right). */
int rl_bounded_has_room(uint64_t load, uint64_t total, uint64_t share, uint64_t whole);

/* The first id with room from `hash` on, clockwise.  loads and shares by position, of which
 * ranks[id] is one, or the id itself where ranks is NULL.  One has room. */
uint32_t rl_bounded_find(const rl_ring *ring, uint64_t hash, const uint32_t *ranks,
                         const uint64_t *loads, uint64_t total, const uint64_t *shares,
                         uint64_t whole);

#endif
