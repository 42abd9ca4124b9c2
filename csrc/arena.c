#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* mremap */
#endif
#include "arena.h"

#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

enum {
    FIRST_BYTES = 32,
    DOUBLING_BYTES = 4096,    /* below, regions double; above, they grow by half */
    PAGES_BYTES = 256 * 1024, /* from here on, a region is pages of its own */
    PAGES_ROUND = 64 * 1024,  /* a multiple of every page size */
    STEP_BYTES_MAX = 512 * 1024,
};

/* `needed` rounded to what a region may be; 0 when that is no size at all. */
static size_t rounded(size_t needed) {
    size_t unit = needed >= PAGES_BYTES ? PAGES_ROUND : 16;
    if (needed > SIZE_MAX / 2) return 0;
    return (needed + unit - 1) / unit * unit;
}

#if defined(__linux__)

/* Reserve `mapped` bytes of pages, the first `used` with the content. */
static int remap(rl_region *region, size_t used, size_t mapped) {
    void *moved;
    if (region->mapped) {
        moved = mremap(region->data, region->mapped, mapped, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED) return -1;
        if (region->bytes > mapped) region->bytes = mapped;
    } else {
        moved = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (moved == MAP_FAILED) return -1;
        if (used) memcpy(moved, region->data, used);
        free(region->data);
        region->bytes = used / PAGES_ROUND * PAGES_ROUND; /* whose pages are there */
    }
    region->data = (uint8_t *)moved;
    region->mapped = mapped;
    return 0;
}

/* Let `needed` of the reserved bytes be used, and a little more: pages that the system brings in
 * together cost two thirds of what they cost one by one, when they are first written. */
static void advance(rl_region *region, size_t needed) {
    size_t step = region->bytes / 128, bytes;
    if (step > STEP_BYTES_MAX) step = STEP_BYTES_MAX;
    bytes = region->bytes + (step + PAGES_ROUND - 1) / PAGES_ROUND * PAGES_ROUND;
    if (bytes < needed) bytes = rounded(needed);
    if (bytes > region->mapped) bytes = region->mapped;
#if defined(MADV_POPULATE_WRITE)
    (void)madvise(region->data + region->bytes, bytes - region->bytes, MADV_POPULATE_WRITE);
#endif
    region->bytes = bytes;
}

static int from_pages_to_heap(rl_region *region, size_t used, size_t bytes) {
    void *moved = malloc(bytes);
    if (moved == NULL) return -1;
    memcpy(moved, region->data, used);
    munmap(region->data, region->mapped);
    region->data = (uint8_t *)moved;
    region->bytes = bytes;
    region->mapped = 0;
    return 0;
}

#endif

static int resize_heap(rl_region *region, size_t bytes) {
    void *moved = realloc(region->data, bytes);
    if (moved == NULL) return -1;
    region->data = (uint8_t *)moved;
    region->bytes = bytes;
    return 0;
}

int rl_region_grow(rl_region *region, size_t used, size_t needed) {
    size_t wanted, exact = rounded(needed);
    if (needed <= region->bytes) return 0;
    if (exact == 0) return -1;
    /* Reserved pages cost nothing before they are used; elsewhere an eighth bounds what is idle. */
    wanted = region->mapped ? region->mapped : region->bytes;
    if (wanted < DOUBLING_BYTES) {
        wanted *= 2;
#if !defined(__linux__)
    } else if (wanted >= PAGES_BYTES) {
        wanted += wanted / 8;
#endif
    } else {
        wanted += wanted / 2;
    }
    if (wanted < FIRST_BYTES) wanted = FIRST_BYTES;
    wanted = rounded(wanted > needed ? wanted : needed);
#if defined(__linux__)
    if (wanted >= PAGES_BYTES || region->mapped) {
        if (needed > region->mapped && remap(region, used, wanted) != 0 &&
            remap(region, used, exact < PAGES_BYTES ? PAGES_BYTES : exact) != 0)
            return -1;
        advance(region, needed);
        return 0;
    }
#endif
    if (resize_heap(region, wanted) == 0) return 0;
    return resize_heap(region, exact); /* less may still be there */
}

void rl_region_shrink(rl_region *region, size_t used, size_t needed) {
    size_t wanted = rounded(needed);
    if (needed == 0) {
        rl_region_free(region);
        return;
    }
    if (wanted == 0 || wanted >= region->bytes) return;
#if defined(__linux__)
    if (region->mapped) {
        (void)(wanted < PAGES_BYTES ? from_pages_to_heap(region, used, wanted)
                                    : remap(region, used, wanted));
        return;
    }
#endif
    (void)resize_heap(region, wanted);
}

void rl_region_free(rl_region *region) {
#if defined(__linux__)
    if (region->mapped) {
        munmap(region->data, region->mapped);
    } else {
        free(region->data);
    }
#else
    free(region->data);
#endif
    region->data = NULL;
    region->bytes = region->mapped = 0;
}
