#include "anchor.h"

#include "mix.h"

void rl_anchor_fill(uint64_t *entries, uint32_t bucket_count, const uint32_t *removed,
                    size_t removed_count, const uint32_t *positions, uint32_t *who,
                    uint32_t *where) {
    for (uint32_t b = 0; b < bucket_count; b++) {
        who[b] = where[b] = b;
        entries[b] = (uint64_t)positions[b] << 32;
    }
    uint32_t standing = bucket_count;
    for (size_t i = 0; i < removed_count; i++) {
        uint32_t b = removed[i], last = who[--standing];
        entries[b] = standing | (uint64_t)last << 32;
        who[where[b]] = last;
        where[last] = where[b];
    }
}

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_buckets *state = (const rl_buckets *)placer;
    const uint32_t bucket_count = state->bucket_count;
    for (size_t i = 0; i < count; i++) out[i] = rl_range(hashes[i], bucket_count);
    rl_buckets_settle(state, hashes, count, out);
}

int rl_anchor_init(rl_buckets *state, uint32_t kind, uint64_t seed, uint64_t seed_hi) {
    memset(state, 0, sizeof *state);
    if (rl_hasher_init(&state->placer.hasher, kind, seed, seed_hi) != 0) return -1;
    state->placer.owners = owners;
    state->placer.replicas = rl_placer_rehash_replicas;
    return 0;
}
