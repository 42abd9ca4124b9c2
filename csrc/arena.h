/* One region of memory that grows at its end.  Small regions are the allocator's; large ones are
 * pages of their own where the system can move pages (Linux), so that growth copies nothing and
 * what was never written takes no memory.
 *
 * The owner knows how much of a region is in use; nothing here is thread-safe. */
#ifndef RL_ARENA_H
#define RL_ARENA_H

#include "base.h"

typedef struct rl_region {
    uint8_t *data;   /* aligned to 16 bytes; NULL when bytes is 0 */
    size_t bytes;    /* what may be used */
    size_t mapped;   /* of a region of pages: what is reserved, bytes or more; else 0 */
} rl_region;

/* Make it hold at least `needed` bytes; the first `used` keep their content.  Grows by a factor, so
 * that a region's growth costs O(1) for each byte ever put there.  0, or -1 when there is no
 * memory, and then nothing has changed. */
int rl_region_grow(rl_region *region, size_t used, size_t needed);

/* Give back what is beyond `needed` (>= used) bytes, as far as that is possible. */
void rl_region_shrink(rl_region *region, size_t used, size_t needed);

void rl_region_free(rl_region *region);

#endif
