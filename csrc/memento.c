#include "memento.h"

#include "jump.h"

void rl_memento_fill(uint64_t *entries, uint32_t bucket_count, const uint32_t *removed,
                     size_t removed_count, const uint32_t *positions) {
    for (uint32_t b = 0; b < bucket_count; b++) entries[b] = (uint64_t)positions[b] << 32;
    uint32_t standing = bucket_count;
    for (size_t i = 0; i < removed_count; i++) {
        standing--;
        entries[removed[i]] = standing | (uint64_t)standing << 32;
    }
}

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_buckets *state = (const rl_buckets *)placer;
    rl_jump_buckets(hashes, count, state->bucket_count, out);
    rl_buckets_settle(state, hashes, count, out);
}

int rl_memento_init(rl_buckets *state, uint32_t kind, uint64_t seed, uint64_t seed_hi) {
    memset(state, 0, sizeof *state);
    if (rl_hasher_init(&state->placer.hasher, kind, seed, seed_hi) != 0) return -1;
    state->placer.owners = owners;
    state->placer.replicas = rl_placer_rehash_replicas;
    return 0;
}
