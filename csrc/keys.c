#include "keys.h"

#include <stdlib.h>

#include "utf8.h"

#if RL_X86_64
#include <emmintrin.h> /* SSE2: every x86-64 has it */
#endif

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

/* The place of the highest bit that is set; x is not 0. */
RL_INLINE unsigned highest_bit(uint64_t x) {
#if defined(_MSC_VER) && (defined(_M_X64) || defined(_M_ARM64))
    unsigned long place;
    _BitScanReverse64(&place, x);
    return (unsigned)place;
#elif defined(__GNUC__)
    return 63u - (unsigned)__builtin_clzll(x);
#else
    unsigned place = 0;
    while (x >>= 1) place++;
    return place;
#endif
}

#if RL_X86_64
/* One bit for each of 16 bytes that is not zero. */
RL_INLINE uint64_t used_bytes(const uint8_t *data) {
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)data);
    return 0xFFFFu ^ (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
}
#endif

/* The length of data[0..size) without its trailing zero bytes. */
RL_INLINE size_t strip(const uint8_t *data, size_t size) {
    if (size < 8) {
        while (size > 0 && data[size - 1] == 0) size--;
        return size;
    }
    for (; size > 64; size -= 8) {
        uint64_t tail = rl_load64(data + size - 8);
        if (tail != 0) return size - 8 + highest_bit(tail) / 8 + 1;
    }
    /* Which bytes or words are not zero, found without a branch on any of them: texts end
     * anywhere, which no branch predictor learns.  The last piece may overlap the one before. */
#if RL_X86_64
    if (size >= 16) {
        uint64_t bytes = used_bytes(data + size - 16) << (size - 16);
        for (size_t at = 0; at + 16 < size; at += 16) bytes |= used_bytes(data + at) << at;
        return bytes ? highest_bit(bytes) + 1 : 0;
    }
#endif
    uint64_t words = 0;
    size_t i = 0;
    for (; 8 * i + 8 <= size; i++) words |= (uint64_t)(rl_load64(data + 8 * i) != 0) << i;
    words |= (uint64_t)(rl_load64(data + size - 8) != 0) << i;
    if (words == 0) return 0;
    size_t start = 8 * (size_t)highest_bit(words);
    if (start > size - 8) start = size - 8;
    return start + highest_bit(rl_load64(data + start)) / 8 + 1;
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

/* Writes text[0..length) as ASCII and returns its length without trailing zeros, or NOT_ASCII.
 * Of a unit in this machine's byte order, shift is 0; in the other the low byte stands on top. */
#define NOT_ASCII SIZE_MAX

#if RL_X86_64
/* The lengths are measured in registers: to load again what was stored in smaller pieces stalls.
 * Each step writes `out` from `at` on, and returns one bit for each unit that is not zero. */
RL_INLINE uint64_t narrow_16(const uint8_t *text, size_t at, int shift, uint8_t *out,
                             __m128i *all) {
    const __m128i *units = (const __m128i *)(const void *)(text + 4 * at);
    __m128i a = _mm_loadu_si128(units), b = _mm_loadu_si128(units + 1);
    __m128i c = _mm_loadu_si128(units + 2), d = _mm_loadu_si128(units + 3);
    *all = _mm_or_si128(*all, _mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)));
    a = _mm_packs_epi32(_mm_srli_epi32(a, shift), _mm_srli_epi32(b, shift));
    c = _mm_packs_epi32(_mm_srli_epi32(c, shift), _mm_srli_epi32(d, shift));
    a = _mm_packus_epi16(a, c);
    _mm_storeu_si128((__m128i *)(void *)(out + at), a);
    unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, _mm_setzero_si128()));
    return (uint64_t)(0xFFFFu ^ zeros) << at;
}

RL_INLINE uint64_t narrow_4(const uint8_t *text, size_t at, int shift, uint8_t *out, __m128i *all) {
    __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(text + 4 * at));
    *all = _mm_or_si128(*all, a);
    a = _mm_packs_epi32(_mm_srli_epi32(a, shift), _mm_setzero_si128());
    a = _mm_packus_epi16(a, a);
    int bytes = _mm_cvtsi128_si32(a);
    memcpy(out + at, &bytes, sizeof bytes);
    unsigned zeros = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, _mm_setzero_si128()));
    return (uint64_t)(0xFu & ~zeros) << at;
}

/* Up to 64 units; a last piece overlaps the one before. */
RL_INLINE uint64_t narrow_64(const uint8_t *text, size_t length, int shift, uint8_t *out,
                             __m128i *all) {
    uint64_t used = 0;
    size_t at = 0;
    if (length >= 16) {
        for (; at + 16 <= length; at += 16) used |= narrow_16(text, at, shift, out, all);
        if (at < length) used |= narrow_16(text, length - 16, shift, out, all);
    } else if (length >= 4) {
        for (; at + 4 <= length; at += 4) used |= narrow_4(text, at, shift, out, all);
        if (at < length) used |= narrow_4(text, length - 4, shift, out, all);
    } else {
        for (; at < length; at++) {
            uint32_t unit;
            memcpy(&unit, text + 4 * at, sizeof unit);
            *all = _mm_or_si128(*all, _mm_cvtsi32_si128((int)unit));
            out[at] = (uint8_t)(unit >> shift);
            used |= (uint64_t)(unit != 0) << at;
        }
    }
    return used;
}

RL_INLINE size_t narrow_as(const uint8_t *text, size_t length, uint8_t *out, int shift,
                           uint32_t not_ascii) {
    __m128i all = _mm_setzero_si128();
    size_t size = 0;
    for (size_t at = 0; at < length; at += 64) {
        size_t part = length - at < 64 ? length - at : 64;
        uint64_t used = narrow_64(text + 4 * at, part, shift, out + at, &all);
        if (used != 0) size = at + highest_bit(used) + 1;
    }
    all = _mm_and_si128(all, _mm_set1_epi32((int)not_ascii));
    all = _mm_cmpeq_epi8(all, _mm_setzero_si128());
    return _mm_movemask_epi8(all) == 0xFFFF ? size : NOT_ASCII;
}
#else
RL_INLINE size_t narrow_as(const uint8_t *text, size_t length, uint8_t *RL_RESTRICT out, int shift,
                           uint32_t not_ascii) {
    uint32_t all = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t unit;
        memcpy(&unit, text + 4 * i, sizeof unit);
        all |= unit;
        out[i] = (uint8_t)(unit >> shift);
    }
    return (all & not_ascii) == 0 ? strip(out, length) : NOT_ASCII;
}
#endif

RL_INLINE size_t narrow(const uint8_t *text, size_t length, uint8_t *out, int is_swapped) {
    return is_swapped ? narrow_as(text, length, out, 24, 0x80FFFFFFu)
                      : narrow_as(text, length, out, 0, 0xFFFFFF80u);
}

static size_t text_spans(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                         rl_scratch *scratch) {
    const rl_cells *cells = (const rl_cells *)keys;
    const uint8_t *cell = cells->data + (ptrdiff_t)lo * cells->stride;
    size_t length = cells->width / 4;
    /* One cell's UTF-8 takes up to `width` bytes, and its aligned copy behind it as many. */
    size_t worst = 2 * cells->width + sizeof(uint32_t);
    size_t wanted = RL_SCRATCH_BYTES;
    if (length < RL_SCRATCH_BYTES / RL_BLOCK_KEYS) wanted = count * length;
    uint8_t *bytes = rl_scratch_reserve(scratch, wanted + worst, lo);
    if (bytes == NULL) return 0;
    size_t used = 0;
    for (size_t i = 0; i < count; i++, cell += cells->stride) {
        if (scratch->capacity - used < worst) return i;
        out[i].data = bytes + used;
        out[i].size = narrow(cell, length, bytes + used, cells->is_swapped);
        if (RL_LIKELY(out[i].size != NOT_ASCII)) {
            /* Not by its size: the next cell need not wait until this one is measured. */
            used += length;
            continue;
        }
        uint32_t *text = (uint32_t *)(void *)(bytes + ((used + cells->width + 3) & ~(size_t)3));
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
