#include "jump.h"

uint32_t rl_jump_bucket(uint64_t hash, uint32_t bucket_count) {
    int64_t bucket = -1, next = 0;
    while (next < (int64_t)bucket_count) {
        bucket = next;
        hash = hash * 2862933555777941757u + 1;
        next = (int64_t)((double)(bucket + 1) *
                         ((double)(INT64_C(1) << 31) / (double)((hash >> 33) + 1)));
    }
    return (uint32_t)bucket;
}

void rl_jump_buckets(const uint64_t *hashes, size_t count, uint32_t bucket_count, uint32_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = rl_jump_bucket(hashes[i], bucket_count);
}

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_jump *jump = (const rl_jump *)placer;
    rl_jump_buckets(hashes, count, jump->bucket_count, out);
}

int rl_jump_init(rl_jump *jump, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                 uint32_t bucket_count) {
    memset(jump, 0, sizeof *jump);
    if (rl_hasher_init(&jump->placer.hasher, kind, seed, seed_hi) != 0) return -1;
    jump->bucket_count = bucket_count;
    jump->placer.node_count = jump->placer.live_count = bucket_count;
    jump->placer.owners = owners;
    jump->placer.replicas = rl_placer_rehash_replicas;
    return 0;
}
