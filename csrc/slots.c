#include "slots.h"

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const uint16_t *of_slot = ((const rl_slots *)placer)->owners;
    for (size_t i = 0; i < count; i++) out[i] = of_slot[hashes[i] >> RL_REDIS_SLOT_SHIFT];
}

void rl_slots_init(rl_slots *slots, const uint16_t *of_slot, size_t node_count,
                   const uint32_t *live, size_t live_count) {
    memset(slots, 0, sizeof *slots);
    rl_hasher_init(&slots->placer.hasher, RL_HASH_REDIS, 0, 0);
    memcpy(slots->owners, of_slot, sizeof slots->owners);
    slots->placer.node_count = node_count;
    slots->placer.live_count = live_count;
    slots->placer.live = live;
    slots->placer.owners = owners;
    slots->placer.replicas = rl_placer_rehash_replicas;
}
