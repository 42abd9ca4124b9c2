#include "placer.h"

RL_INLINE int seen_before(uint64_t *seen, uint32_t position) {
    uint64_t bit = (uint64_t)1 << (position % 64);
    if (seen[position / 64] & bit) return 1;
    seen[position / 64] |= bit;
    return 0;
}

RL_INLINE uint32_t live_at(const rl_placer *placer, size_t rank) {
    return placer->live ? placer->live[rank] : (uint32_t)rank;
}

/* The rank of the first live position after `position`, cyclically. */
static size_t rank_after(const rl_placer *placer, uint32_t position) {
    size_t lo = 0, hi = placer->live_count;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (live_at(placer, middle) <= position) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    return lo == placer->live_count ? 0 : lo;
}

void rl_placer_rehash_replicas(const rl_placer *placer, const uint64_t *hashes, size_t count,
                               size_t wanted, uint32_t *out, uint64_t *seen) {
    for (size_t i = 0; i < count; i++, out += wanted) {
        uint64_t hash = hashes[i];
        placer->owners(placer, &hash, 1, out);
        size_t found = 1;
        seen_before(seen, out[0]);
        for (uint64_t turn = 1; found < wanted && turn <= RL_REHASHES_MAX; turn++) {
            uint64_t again = rl_placer_rehash(hash, turn);
            placer->owners(placer, &again, 1, out + found);
            found += !seen_before(seen, out[found]);
        }
        if (found < wanted) {
            size_t rank = rank_after(placer, out[found - 1]);
            for (; found < wanted; rank = rank + 1 == placer->live_count ? 0 : rank + 1) {
                out[found] = live_at(placer, rank);
                found += !seen_before(seen, out[found]);
            }
        }
        for (size_t r = 0; r < wanted; r++) seen[out[r] / 64] = 0;
    }
}
