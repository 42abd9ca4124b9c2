/* A ring of points on the 64-bit circle: build it, change it, find the owner of a hash.
 *
 * A key whose hash is h belongs to the first point whose token is >= h, wrapping past the last
 * token to the first.  Points with equal tokens stand in the order of their nodes' names; the
 * first of them owns the range, the others own nothing.
 *
 * Three arrays give the exact answer, a fourth gives it fast:
 *
 *   tokens, owners   the points in order; an owner is a node's id
 *   starts           for each value of a token's top `start_bits` bits, the first point there
 *   direct           for each value of a hash's top `direct_bits` bits (a bucket), one word:
 *                        low 16 bits   split: the 16 hash bits after the bucket's own
 *                        high 16 bits  owner of the first point at or after the bucket's begin
 *                    A bucket with one point decides by one compare: hashes below its split
 *                    belong to its own owner, hashes above to the owner in the next word.
 *                    split == RL_SPLIT_EXACT marks buckets with more points; those, and ties
 *                    with the split, are settled by the exact arrays.  That is one
 *                    key in 500 at sixteen buckets a point, one in 50 at four.
 *
 * The caller owns every buffer and keeps a ring unchanged while anyone reads it. */
#ifndef RL_RING_H
#define RL_RING_H

#include "hash.h"

#define RL_SPLIT_EXACT 0xFFFFu
/* Ids in `direct` have 16 bits; a ring with larger ids has no direct table. */
#define RL_DIRECT_IDS_MAX 65536u
/* So that searches, walks and the filling of direct need not stop exactly at the end. */
#define RL_TOKENS_PAD 4
#define RL_OWNERS_PAD 16
#define RL_DIRECT_PAD 16

typedef struct rl_ring {
    size_t count;         /* points; Invariant: 1 <= count < 2**32 */
    uint32_t start_bits;  /* Invariant: 1 <= start_bits <= 26 */
    uint32_t direct_bits; /* 0 without direct table; Invariant: direct_bits <= 30 */
    uint64_t *tokens;     /* [count + RL_TOKENS_PAD], ascending; the pad is UINT64_MAX */
    uint32_t *owners;     /* [count + RL_OWNERS_PAD]; the pad repeats the first ones, cyclically */
    uint32_t *starts;     /* [2**start_bits + 1]; the last is count */
    uint32_t *direct;     /* [2**direct_bits + RL_DIRECT_PAD]; word 2**direct_bits repeats the
                           * first point's owner, the rest of the pad means nothing */
} rl_ring;

/* A ring with what it takes to ask it for a key, for kernels that build on one. */
#define RL_RING_CAPSULE "ringleader.ring"
typedef struct rl_ring_view {
    const rl_ring *ring; /* has a point */
    const rl_hasher *hasher;
    size_t id_bound;        /* every id is below it */
    const uint32_t *ranks;  /* [id_bound] id -> position; UINT32_MAX for an id that is free */
    int ids_are_positions;  /* then ranks need not be asked */
} rl_ring_view;

/* The sizes that suit a ring of `count` points whose ids are below `id_bound`. */
uint32_t rl_ring_start_bits(size_t count);
uint32_t rl_ring_direct_bits(size_t count, size_t id_bound);

/* tokens[i] = hash(node_hash as 8 little-endian bytes, then first + i as 8 little-endian bytes). */
void rl_ring_node_tokens(const rl_hasher *hasher, uint64_t node_hash, uint64_t first, size_t count,
                         uint64_t *tokens);

/* Sort the points into ring->tokens, owners and starts, and fill direct if there is one.  The
 * first counts[0] of tokens[] belong to id 0, the next counts[1] to id 1 and so on, in the order
 * of the nodes' names, which equal tokens keep.  ring->count, the sum of counts, and the bits are
 * set by the caller. */
void rl_ring_build(rl_ring *ring, const uint64_t *tokens, const uint32_t *counts);

/* Change `old` by `change_count` points of node `id` into the buffers of `ring`, which have
 * room; same start_bits, and all but direct are written.  changes[] is ascending.
 *
 * insert: ranks[i] is the place of id i in the order of names (for equal tokens).
 * remove: returns -1, with ring undefined, if a point is not there. */
void rl_ring_insert(rl_ring *ring, const rl_ring *old, const uint64_t *changes,
                    size_t change_count, uint32_t id, const uint32_t *ranks);
int rl_ring_remove(rl_ring *ring, const rl_ring *old, const uint64_t *changes,
                   size_t change_count, uint32_t id);

/* Make direct right again where it was right but for points at changes[] (in any order). */
void rl_ring_patch_direct(rl_ring *ring, const uint64_t *changes, size_t change_count);

/* The index of the point that owns `hash`, or count, whose owner the pad repeats, for the first. */
size_t rl_ring_find(const rl_ring *ring, uint64_t hash);

/* The id of the owner of `hash`. */
uint32_t rl_ring_owner(const rl_ring *ring, uint64_t hash);

/* out[i] = the id of the owner of hashes[i]; count < 2**32, here and below. */
void rl_ring_owners(const rl_ring *ring, const uint64_t *hashes, size_t count, uint32_t *out);

/* The same for words, hashed here: the hash stays in registers. */
void rl_ring_word_owners(const rl_ring *ring, const rl_hasher *hasher, const uint64_t *words,
                         size_t count, uint32_t *out);

/* ids[0..wanted) = the first `wanted` distinct owners from `hash` on, clockwise.  The ring has
 * at least that many.  seen: a bit for every id, all zero before and after; may be NULL when
 * wanted <= RL_WALK_LINEAR. */
#define RL_WALK_LINEAR 16
void rl_ring_walk(const rl_ring *ring, uint64_t hash, size_t wanted, uint32_t *ids,
                  uint64_t *seen);

/* ids[i * wanted ...] = rl_ring_walk for each of hashes[0..count). */
void rl_ring_walks(const rl_ring *ring, const uint64_t *hashes, size_t count, size_t wanted,
                   uint32_t *ids, uint64_t *seen);

/* The length of the circle that each id owns, as low[id] + 2**64 * high[id]; both come zeroed. */
void rl_ring_arcs(const rl_ring *ring, uint64_t *low, uint64_t *high);

/* values[i] = map[values[i]]. */
void rl_map_u32(uint32_t *values, size_t count, const uint32_t *map);

#endif
