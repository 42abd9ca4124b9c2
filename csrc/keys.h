/* Columns of keys: every container, seen as blocks of words or of byte spans.
 *
 * A column decodes itself block by block into the caller's small buffers, so that whoever
 * consumes it (a hash function, a ring) works from the first-level cache and never knows
 * whether the keys came from NumPy, Arrow or a Python list. */
#ifndef RL_KEYS_H
#define RL_KEYS_H

#include <stdlib.h>

#include "hash.h"

/* Keys per block: 1024 spans (16 KiB) and hashes (8 KiB) stay in a 32 KiB first-level cache. */
#define RL_BLOCK_KEYS 1024

/* Why a column could not decode a key. */
enum {
    RL_KEYS_OK = 0,
    RL_KEYS_PYTHON_ERROR = 1, /* the Column's raise_error() holds it (only if it needs the GIL) */
    RL_KEYS_NULL = 2,         /* the key at `error_index` is null */
    RL_KEYS_SURROGATE = 3,    /* the text at `error_index` has a code point UTF-8 cannot encode */
    RL_KEYS_NO_MEMORY = 4,
    RL_KEYS_CORRUPT = 5       /* offsets, views or dictionary indices at `error_index` lie outside */
};

/* A caller's working memory while it decodes: zero-initialise, reuse for every block, then
 * rl_scratch_free().  One for each thread. */
typedef struct rl_scratch {
    uint8_t *bytes; /* transcoded text and integer cells that the last block's spans point into */
    size_t capacity;
    int error;
    size_t error_index;
} rl_scratch;

RL_INLINE void rl_scratch_free(rl_scratch *scratch) {
    free(scratch->bytes);
    scratch->bytes = NULL;
    scratch->capacity = 0;
}

/* A block's worth of transcoded text that still leaves room in a first-level cache. */
#define RL_SCRATCH_BYTES 32768

/* Make room for `size` bytes; what was in scratch is lost, so no live span may point into it.
 * Returns scratch->bytes, or NULL with scratch->error set (`index` is the key it was for). */
uint8_t *rl_scratch_reserve(rl_scratch *scratch, size_t size, size_t index);

typedef struct rl_keys rl_keys;
struct rl_keys {
    size_t count;
    int is_words;  /* 1: use words(); 0: use spans() */
    int needs_gil; /* 1: words() and spans() touch Python objects: hold the GIL, one thread */
    /* Decode keys [lo, lo + count), count <= RL_BLOCK_KEYS, each widened to its 64-bit two's
     * complement.  Returns `buffer`, or a pointer into the column itself where the layout
     * allows; NULL on failure (scratch->error says why). */
    const uint64_t *(*words)(const rl_keys *keys, size_t lo, size_t count, uint64_t *buffer,
                             rl_scratch *scratch);
    /* Decode up to `count` <= RL_BLOCK_KEYS keys from lo on.  Returns how many (at least 1: a
     * block of long texts may stop early), 0 on failure.  The spans live until the next call
     * with the same scratch. */
    size_t (*spans)(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                    rl_scratch *scratch);
};

/* NumPy's layouts: cells of one width, each `stride` bytes (any sign, or 0) from the one before.
 * The memory is borrowed, may be unaligned, and must hold `count` cells. */
typedef struct rl_cells {
    rl_keys keys;
    const uint8_t *data;
    ptrdiff_t stride;
    size_t width;
    int is_signed;
    int is_swapped; /* not in this machine's byte order */
} rl_cells;

/* Integers of 1, 2, 4 or 8 bytes. */
void rl_cells_init_ints(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                        size_t width, int is_signed, int is_swapped);
/* Bytes, as in NumPy's S: trailing zero bytes are padding. */
void rl_cells_init_bytes(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                         size_t width);
/* Text in UCS-4, as in NumPy's U: trailing zeros are padding; width is a multiple of 4. */
void rl_cells_init_text(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                        size_t width, int is_swapped);

/* out[i] = the integer at data + i * stride, widened to its 64-bit two's complement. */
void rl_widen(const uint8_t *data, ptrdiff_t stride, size_t count, size_t width, int is_signed,
              int is_swapped, uint64_t *out);

/* The name of the capsule that carries a `const rl_keys *` from one extension to another. */
#define RL_KEYS_CAPSULE "ringleader.keys.column"

#endif
