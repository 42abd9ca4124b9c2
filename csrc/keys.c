#include "keys.h"

#include <stdlib.h>

#include "utf8.h"

void rl_scratch_free(rl_scratch *scratch) {
    free(scratch->bytes);
    scratch->bytes = NULL;
    scratch->capacity = 0;
}

uint8_t *rl_scratch_reserve(rl_scratch *scratch, size_t size, size_t index) {
    if (RL_LIKELY(size <= scratch->capacity && scratch->bytes != NULL)) return scratch->bytes;
    /* Not realloc: nothing in it is worth copying. */
    rl_scratch_free(scratch);
    if (size < 64) size = 64;
    scratch->bytes = (uint8_t *)malloc(size);
    if (scratch->bytes == NULL) {
        scratch->error = RL_KEYS_NO_MEMORY;
        scratch->error_index = index;
        return NULL;
    }
    scratch->capacity = size;
    return scratch->bytes;
}

/* --- integers ------------------------------------------------------------------------------ */

RL_INLINE uint64_t load_int(const uint8_t *p, size_t width, int is_signed, int is_swapped) {
    uint16_t half;
    uint32_t word;
    uint64_t whole;
    switch (width) {
    case 1:
        return is_signed ? (uint64_t)(int64_t)(int8_t)*p : *p;
    case 2:
        memcpy(&half, p, sizeof half);
        if (is_swapped) half = (uint16_t)((half << 8) | (half >> 8));
        return is_signed ? (uint64_t)(int64_t)(int16_t)half : half;
    case 4:
        memcpy(&word, p, sizeof word);
        if (is_swapped) word = rl_swap32(word);
        return is_signed ? (uint64_t)(int64_t)(int32_t)word : word;
    default:
        memcpy(&whole, p, sizeof whole);
        return is_swapped ? rl_swap64(whole) : whole;
    }
}

/* Inlined with constants for all but data, stride and count, this is one tight loop. */
RL_INLINE void widen_as(const uint8_t *data, ptrdiff_t stride, size_t count, size_t width,
                        int is_signed, int is_swapped, uint64_t *RL_RESTRICT out) {
    for (size_t i = 0; i < count; i++) {
        out[i] = load_int(data + (ptrdiff_t)i * stride, width, is_signed, is_swapped);
    }
}

RL_INLINE void widen_width(const uint8_t *data, ptrdiff_t stride, size_t count, size_t width,
                           int is_signed, int is_swapped, uint64_t *out) {
    /* A constant stride lets the compiler vectorise. */
    if (stride == (ptrdiff_t)width && !is_swapped) {
        if (is_signed) widen_as(data, (ptrdiff_t)width, count, width, 1, 0, out);
        else widen_as(data, (ptrdiff_t)width, count, width, 0, 0, out);
    } else if (!is_swapped) {
        if (is_signed) widen_as(data, stride, count, width, 1, 0, out);
        else widen_as(data, stride, count, width, 0, 0, out);
    } else {
        if (is_signed) widen_as(data, stride, count, width, 1, 1, out);
        else widen_as(data, stride, count, width, 0, 1, out);
    }
}

void rl_widen(const uint8_t *data, ptrdiff_t stride, size_t count, size_t width, int is_signed,
              int is_swapped, uint64_t *out) {
    switch (width) {
    case 1:
        widen_width(data, stride, count, 1, is_signed, 0, out);
        break;
    case 2:
        widen_width(data, stride, count, 2, is_signed, is_swapped, out);
        break;
    case 4:
        widen_width(data, stride, count, 4, is_signed, is_swapped, out);
        break;
    default:
        widen_width(data, stride, count, 8, 0, is_swapped, out);
    }
}

static const uint64_t *int_words(const rl_keys *keys, size_t lo, size_t count, uint64_t *buffer,
                                 rl_scratch *scratch) {
    const rl_cells *cells = (const rl_cells *)keys;
    const uint8_t *data = cells->data + (ptrdiff_t)lo * cells->stride;
    if (cells->width == 8 && cells->stride == 8 && !cells->is_swapped &&
        (uintptr_t)data % sizeof(uint64_t) == 0) {
        return (const uint64_t *)(const void *)data;
    }
    rl_widen(data, cells->stride, count, cells->width, cells->is_signed, cells->is_swapped, buffer);
    return buffer;
}

/* --- fixed-width bytes --------------------------------------------------------------------- */

/* The number of bytes that hold x's significant bits when x is stored little-endian. */
RL_INLINE size_t bytes_used(uint64_t x) {
#if defined(__GNUC__)
    return x ? 8 - (size_t)__builtin_clzll(x) / 8 : 0;
#else
    size_t used = 0;
    for (; x != 0; x >>= 8) used++;
    return used;
#endif
}

/* The length of data[0..size) without its trailing zero bytes. */
RL_INLINE size_t strip(const uint8_t *data, size_t size) {
    if (size < 8) {
        while (size > 0 && data[size - 1] == 0) size--;
        return size;
    }
    while (size > 8) {
        uint64_t tail = rl_load64(data + size - 8);
        if (tail != 0) return size - 8 + bytes_used(tail);
        size -= 8;
    }
    uint64_t head = rl_load64(data);
    /* Up to 8 bytes are left; those above `size` are zeros already stripped. */
    return bytes_used(head);
}

static size_t byte_spans(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                         rl_scratch *scratch) {
    const rl_cells *cells = (const rl_cells *)keys;
    const uint8_t *cell = cells->data + (ptrdiff_t)lo * cells->stride;
    for (size_t i = 0; i < count; i++, cell += cells->stride) {
        out[i].data = cell;
        out[i].size = strip(cell, cells->width);
    }
    return count;
}

/* --- fixed-width UCS-4 text ---------------------------------------------------------------- */

/* Writes the low byte of each unit and returns the units' bitwise or: under 0x80, it was all
 * ASCII, and out is its UTF-8. */
RL_INLINE uint32_t narrow(const uint8_t *text, size_t length, uint8_t *RL_RESTRICT out) {
    uint32_t all = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t unit;
        memcpy(&unit, text + 4 * i, sizeof unit);
        all |= unit;
        out[i] = (uint8_t)unit;
    }
    return all;
}

static size_t text_spans(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                         rl_scratch *scratch) {
    const rl_cells *cells = (const rl_cells *)keys;
    const uint8_t *cell = cells->data + (ptrdiff_t)lo * cells->stride;
    size_t length = cells->width / 4;
    /* One cell's UTF-8 takes up to `width` bytes, and its aligned copy as many before that. */
    size_t worst = 2 * cells->width + sizeof(uint32_t);
    size_t wanted = RL_SCRATCH_BYTES;
    if (length < RL_SCRATCH_BYTES / RL_BLOCK_KEYS) wanted = count * length;
    uint8_t *bytes = rl_scratch_reserve(scratch, wanted + worst, lo);
    if (bytes == NULL) return 0;
    size_t used = 0;
    for (size_t i = 0; i < count; i++, cell += cells->stride) {
        if (scratch->capacity - used < worst) return i;
        out[i].data = bytes + used;
        if (!cells->is_swapped && RL_LIKELY(narrow(cell, length, bytes + used) < 0x80)) {
            out[i].size = strip(bytes + used, length);
            used += out[i].size;
            continue;
        }
        size_t start = (used + cells->width + 3) & ~(size_t)3;
        uint32_t *text = (uint32_t *)(void *)(bytes + start);
        memcpy(text, cell, cells->width);
        if (cells->is_swapped) {
            for (size_t j = 0; j < length; j++) text[j] = rl_swap32(text[j]);
        }
        size_t kept = length;
        while (kept > 0 && text[kept - 1] == 0) kept--;
        out[i].size = rl_utf8_from_ucs4(text, kept, bytes + used);
        if (RL_UNLIKELY(out[i].size == RL_UTF8_INVALID)) {
            if (i > 0) return i;
            scratch->error = RL_KEYS_SURROGATE;
            scratch->error_index = lo;
            return 0;
        }
        used += out[i].size;
    }
    return count;
}

/* --- construction -------------------------------------------------------------------------- */

static void cells_init(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                       size_t width) {
    memset(cells, 0, sizeof *cells);
    cells->keys.count = count;
    cells->data = (const uint8_t *)data;
    cells->stride = stride;
    cells->width = width;
}

void rl_cells_init_ints(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                        size_t width, int is_signed, int is_swapped) {
    cells_init(cells, data, count, stride, width);
    cells->keys.is_words = 1;
    cells->keys.words = int_words;
    cells->is_signed = is_signed;
    cells->is_swapped = is_swapped;
}

void rl_cells_init_bytes(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                         size_t width) {
    cells_init(cells, data, count, stride, width);
    cells->keys.spans = byte_spans;
}

void rl_cells_init_text(rl_cells *cells, const void *data, size_t count, ptrdiff_t stride,
                        size_t width, int is_swapped) {
    cells_init(cells, data, count, stride, width);
    cells->keys.spans = text_spans;
    cells->is_swapped = is_swapped;
}
