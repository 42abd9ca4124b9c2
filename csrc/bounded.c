#include "bounded.h"

#include <assert.h>

/* --- round 1 -------------------------------------------------------------------------------- */

rl_bounded_sizes rl_bounded_count(const uint32_t *owners, size_t count, const uint64_t *room,
                                  size_t id_bound, uint64_t *counts) {
    rl_bounded_sizes sizes = {0, 0};
    for (size_t i = 0; i < count; i++) counts[owners[i]]++;
    for (size_t id = 0; id < id_bound; id++) {
        if (counts[id] <= room[id]) continue;
        sizes.surplus += (size_t)(counts[id] - room[id]);
        sizes.crowded += (size_t)counts[id];
    }
    return sizes;
}

RL_INLINE int before(rl_ranked a, rl_ranked b) {
    return a.rank != b.rank ? a.rank < b.rank : a.index < b.index;
}

RL_INLINE void swap(rl_ranked *a, rl_ranked *b) {
    rl_ranked other = *a;
    *a = *b;
    *b = other;
}

/* The eight bits of a key's (rank, index) on this level, the most significant first. */
RL_INLINE uint32_t digit(rl_ranked key, uint32_t level) {
    uint64_t word = level < 8 ? key.rank : key.index;
    return (uint32_t)(word >> (56 - 8 * (level & 7))) & 0xFF;
}

/* Move the `keep` first of keys[0..count) to the front.  Digit by digit, whatever the keys are:
 * at most sixteen passes over what is still undecided. */
static void select_first(rl_ranked *keys, size_t count, size_t keep) {
    enum { FEW = 16 };
    for (uint32_t level = 0; keep > 0 && keep < count; level++) {
        if (count <= FEW) {
            for (size_t i = 1; i < count; i++)
                for (size_t j = i; j > 0 && before(keys[j], keys[j - 1]); j--)
                    swap(&keys[j], &keys[j - 1]);
            return;
        }
        size_t counts[256] = {0};
        for (size_t i = 0; i < count; i++) counts[digit(keys[i], level)]++;
        uint32_t split = 0;
        size_t below = 0;
        while (below + counts[split] <= keep) below += counts[split++];
        /* Three parts: below, at, and above the digit where the boundary lies. */
        size_t low = 0, at = 0, high = count;
        while (at < high) {
            uint32_t value = digit(keys[at], level);
            if (value < split) {
                swap(&keys[low++], &keys[at++]);
            } else if (value > split) {
                swap(&keys[at], &keys[--high]);
            } else {
                at++;
            }
        }
        keys += low;
        count = high - low;
        keep -= low;
    }
}

/* One stable pass by 11 bits of rank or index. */
static void sort_pass(const rl_ranked *from, rl_ranked *to, size_t count, int by_rank,
                      uint32_t shift) {
    size_t starts[2048] = {0};
    for (size_t i = 0; i < count; i++)
        starts[((by_rank ? from[i].rank : from[i].index) >> shift) & 2047]++;
    size_t total = 0;
    for (size_t b = 0; b < 2048; b++) {
        size_t size = starts[b];
        starts[b] = total;
        total += size;
    }
    for (size_t i = 0; i < count; i++)
        to[starts[((by_rank ? from[i].rank : from[i].index) >> shift) & 2047]++] = from[i];
}

/* By rank, then index; scratch has room for as many. */
static void sort_ranked(rl_ranked *keys, rl_ranked *scratch, size_t count, uint64_t index_bound) {
    enum { FEW = 64 };
    if (count <= FEW) {
        for (size_t i = 1; i < count; i++)
            for (size_t j = i; j > 0 && before(keys[j], keys[j - 1]); j--)
                swap(&keys[j], &keys[j - 1]);
        return;
    }
    rl_ranked *from = keys, *to = scratch;
    for (uint32_t shift = 0; shift < 64 && (index_bound >> shift) != 0; shift += 11) {
        sort_pass(from, to, count, 0, shift);
        rl_ranked *other = from;
        from = to;
        to = other;
    }
    for (uint32_t shift = 0; shift < 64; shift += 11) {
        sort_pass(from, to, count, 1, shift);
        rl_ranked *other = from;
        from = to;
        to = other;
    }
    if (from != keys) memcpy(keys, from, count * sizeof *keys);
}

void rl_bounded_surplus(const uint64_t *hashes, const uint32_t *owners, size_t count,
                        size_t id_bound, uint64_t *counts, uint64_t *room, rl_ranked *crowded,
                        rl_ranked *surplus) {
    /* counts[id] becomes 1 + where the next key of a crowded id goes, and 0 for the others. */
    size_t begin = 0;
    for (size_t id = 0; id < id_bound; id++) {
        if (counts[id] <= room[id]) {
            room[id] -= counts[id];
            counts[id] = 0;
        } else {
            size_t owned = (size_t)counts[id];
            counts[id] = begin + 1;
            begin += owned;
        }
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t at = counts[owners[i]];
        if (at == 0) continue;
        counts[owners[i]] = at + 1;
        crowded[at - 1].rank = rl_bounded_rank(hashes[i]);
        crowded[at - 1].index = i;
    }
    size_t found = 0;
    begin = 0;
    for (size_t id = 0; id < id_bound; id++) {
        if (counts[id] == 0) continue;
        size_t end = (size_t)counts[id] - 1, keep = (size_t)room[id];
        select_first(crowded + begin, end - begin, keep);
        memcpy(surplus + found, crowded + begin + keep, (end - begin - keep) * sizeof *surplus);
        found += end - begin - keep;
        room[id] = 0;
        begin = end;
    }
    sort_ranked(surplus, surplus + found, found, count);
}

/* --- round 2 -------------------------------------------------------------------------------- */

void rl_bounded_divert(const rl_ring *ring, const uint64_t *hashes, const rl_ranked *surplus,
                       size_t surplus_count, uint64_t *room, uint32_t *next, uint32_t *owners) {
    enum { AHEAD = 8 };
    const uint32_t shift = 64 - ring->start_bits;
    const uint32_t count = (uint32_t)ring->count;
    /* Invariant: all points from p up to, not including, next[p] belong to ids without room, if
     * p's own does.  Walks shorten the way for those that come after (union-find). */
    for (uint32_t p = 0; p < count; p++) next[p] = p + 1 < count ? p + 1 : 0;
    for (size_t i = 0; i < surplus_count; i++) {
        if (i + 2 * AHEAD < surplus_count) {
            rl_prefetch(ring->starts + (hashes[surplus[i + 2 * AHEAD].index] >> shift));
        }
        if (i + AHEAD < surplus_count) {
            uint32_t start = ring->starts[hashes[surplus[i + AHEAD].index] >> shift];
            rl_prefetch(ring->tokens + start);
            rl_prefetch(ring->owners + start);
            rl_prefetch(next + start);
        }
        size_t found = rl_ring_find(ring, hashes[surplus[i].index]);
        uint32_t point = found < count ? (uint32_t)found : 0;
        while (room[ring->owners[point]] == 0) {
            uint32_t after = next[point];
            if (room[ring->owners[after]] == 0) next[point] = next[after];
            point = next[point];
        }
        room[ring->owners[point]]--;
        owners[surplus[i].index] = ring->owners[point];
    }
}

/* --- one key at a time ---------------------------------------------------------------------- */

typedef struct wide {
    uint64_t high, low;
} wide;

RL_INLINE wide multiply(uint64_t a, uint64_t b) {
    wide product;
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 rl_u128;
    rl_u128 whole = (rl_u128)a * b;
    product.low = (uint64_t)whole;
    product.high = (uint64_t)(whole >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    product.low = _umul128(a, b, &product.high);
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, mid1 = a1 * b0, mid2 = a0 * b1;
    uint64_t cross = (low >> 32) + (uint32_t)mid1 + mid2;
    product.low = (cross << 32) | (uint32_t)low;
    product.high = a1 * b1 + (mid1 >> 32) + (cross >> 32);
#endif
    return product;
}

int rl_bounded_has_room(uint64_t load, uint64_t total, uint64_t share, uint64_t whole) {
    wide held = multiply(load, whole), bound = multiply(total, share);
    return held.high != bound.high ? held.high < bound.high : held.low < bound.low;
}

uint32_t rl_bounded_find(const rl_ring *ring, uint64_t hash, const uint32_t *ranks,
                         const uint64_t *loads, uint64_t total, const uint64_t *shares,
                         uint64_t whole) {
    uint32_t id = rl_ring_owner(ring, hash);
    uint32_t position = ranks == NULL ? id : ranks[id];
    if (rl_bounded_has_room(loads[position], total, shares[position], whole)) return id;
    size_t point = rl_ring_find(ring, hash);
    for (size_t step = 0; step < ring->count; step++) {
        if (point >= ring->count) point = 0;
        id = ring->owners[point++];
        position = ranks == NULL ? id : ranks[id];
        if (rl_bounded_has_room(loads[position], total, shares[position], whole)) return id;
    }
    assert(!"some node has room: the bounds add up to more than the loads");
    return id;
}
