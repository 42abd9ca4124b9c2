/* Redis Cluster's table of slots: each of 16384 slots belongs to a node, each key to a slot. */
#ifndef RL_SLOTS_H
#define RL_SLOTS_H

#include "crc.h"
#include "placer.h"

typedef struct rl_slots {
    rl_placer placer;
    /* The position of each slot's node; Invariant: below placer.node_count <= 65536. */
    uint16_t owners[RL_REDIS_SLOTS];
} rl_slots;

/* owners[RL_REDIS_SLOTS] is copied.  live[live_count], the positions that have a slot, ascending,
 * is kept: at least one. */
void rl_slots_init(rl_slots *slots, const uint16_t *owners, size_t node_count,
                   const uint32_t *live, size_t live_count);

#endif
