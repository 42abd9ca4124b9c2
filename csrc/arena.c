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
    DOUBLING_BYTES = 4096,       /* below, regions double; above, they grow by half */
    PAGES_BYTES = 256 * 1024,    /* from here on, a region is pages of its own */
    PAGES_ROUND = 64 * 1024,     /* a multiple of every page size */
};

#if defined(__linux__)
static int is_pages(size_t bytes) { return bytes >= PAGES_BYTES; }
#endif

/* `needed` rounded to what this region may be; 0 when that is no size at all. */
static size_t rounded(size_t needed) {
    size_t unit = needed >= PAGES_BYTES ? PAGES_ROUND : 16;
    if (needed > SIZE_MAX / 2) return 0;
    return (needed + unit - 1) / unit * unit;
}

static int resize(rl_region *region, size_t used, size_t bytes) {
    void *moved;
#if defined(__linux__)
    if (is_pages(bytes)) {
        if (is_pages(region->bytes)) {
            moved = mremap(region->data, region->bytes, bytes, MREMAP_MAYMOVE);
            if (moved == MAP_FAILED) return -1;
        } else {
            moved = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (moved == MAP_FAILED) return -1;
            if (used) memcpy(moved, region->data, used);
            free(region->data);
        }
        region->data = (uint8_t *)moved;
        region->bytes = bytes;
        return 0;
    }
    if (is_pages(region->bytes)) {
        moved = malloc(bytes);
        if (moved == NULL) return -1;
        memcpy(moved, region->data, used);
        munmap(region->data, region->bytes);
        region->data = (uint8_t *)moved;
        region->bytes = bytes;
        return 0;
    }
#endif
    moved = realloc(region->data, bytes);
    if (moved == NULL) return -1;
    region->data = (uint8_t *)moved;
    region->bytes = bytes;
    return 0;
}

int rl_region_grow(rl_region *region, size_t used, size_t needed) {
    if (needed <= region->bytes) return 0;
    size_t wanted = region->bytes;
    /* Pages never written cost nothing; elsewhere an eighth bounds what lies idle. */
    if (wanted < DOUBLING_BYTES) {
        wanted *= 2;
    } else {
#if defined(__linux__)
        wanted += wanted / 2;
#else
        wanted += wanted < PAGES_BYTES ? wanted / 2 : wanted / 8;
#endif
    }
    if (wanted < FIRST_BYTES) wanted = FIRST_BYTES;
    wanted = rounded(wanted > needed ? wanted : needed);
    if (wanted == 0) return -1;
    if (resize(region, used, wanted) == 0) return 0;
    wanted = rounded(needed); /* less may still be there */
    return wanted == 0 ? -1 : resize(region, used, wanted);
}

void rl_region_shrink(rl_region *region, size_t used, size_t needed) {
    if (needed == 0) {
        rl_region_free(region);
        return;
    }
    size_t wanted = rounded(needed);
    if (wanted != 0 && wanted < region->bytes) (void)resize(region, used, wanted);
}

void rl_region_free(rl_region *region) {
#if defined(__linux__)
    if (is_pages(region->bytes)) {
        munmap(region->data, region->bytes);
    } else {
        free(region->data);
    }
#else
    free(region->data);
#endif
    region->data = NULL;
    region->bytes = 0;
}
