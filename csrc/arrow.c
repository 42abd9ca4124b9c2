#include "arrow.h"

#include <stdlib.h>

#define VIEW_BYTES 16
#define VIEW_INLINE_BYTES 12

/* --- schemas ------------------------------------------------------------------------------- */

static int layout_init(rl_arrow_layout *layout, const char *format) {
    static const char INT_FORMATS[] = "CcSsIiLl"; /* in pairs: unsigned, signed */
    memset(layout, 0, sizeof *layout);
    if (format[0] != '\0' && format[1] == '\0') {
        const char *found = strchr(INT_FORMATS, format[0]);
        if (found != NULL) {
            layout->kind = RL_ARROW_INTS;
            layout->width = (size_t)1 << ((found - INT_FORMATS) / 2);
            layout->is_signed = (found - INT_FORMATS) % 2;
            return RL_ARROW_OK;
        }
        if (strchr("uz", format[0]) != NULL) {
            layout->kind = RL_ARROW_OFFSETS;
            layout->width = 4;
            return RL_ARROW_OK;
        }
        if (strchr("UZ", format[0]) != NULL) {
            layout->kind = RL_ARROW_OFFSETS;
            layout->width = 8;
            return RL_ARROW_OK;
        }
        return RL_ARROW_REFUSED;
    }
    if (strcmp(format, "vu") == 0 || strcmp(format, "vz") == 0) {
        layout->kind = RL_ARROW_VIEWS;
        layout->width = VIEW_BYTES;
        return RL_ARROW_OK;
    }
    if (strncmp(format, "w:", 2) != 0) return RL_ARROW_REFUSED;
    const char *digit = format + 2;
    if (*digit == '\0') return RL_ARROW_DAMAGED;
    for (; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9') return RL_ARROW_DAMAGED;
        layout->width = 10 * layout->width + (size_t)(*digit - '0');
        if (layout->width > INT32_MAX) return RL_ARROW_DAMAGED;
    }
    layout->kind = RL_ARROW_FIXED;
    return RL_ARROW_OK;
}

int rl_arrow_type_init(rl_arrow_type *type, const struct ArrowSchema *schema,
                       const struct ArrowSchema **culprit) {
    memset(type, 0, sizeof *type);
    *culprit = schema;
    if (schema->format == NULL) return RL_ARROW_DAMAGED;
    if (strcmp(schema->format, "+s") == 0) {
        if (schema->n_children != 1) return RL_ARROW_COLUMNS;
        if (schema->children == NULL || schema->children[0] == NULL) return RL_ARROW_DAMAGED;
        type->is_table = 1;
        *culprit = schema = schema->children[0];
        if (schema->format == NULL) return RL_ARROW_DAMAGED;
    }
    if (schema->dictionary == NULL) return layout_init(&type->values, schema->format);
    int failed = layout_init(&type->indices, schema->format);
    if (failed || type->indices.kind != RL_ARROW_INTS) return RL_ARROW_DAMAGED;
    *culprit = schema = schema->dictionary;
    if (schema->format == NULL) return RL_ARROW_DAMAGED;
    if (schema->dictionary != NULL) return RL_ARROW_REFUSED;
    return layout_init(&type->values, schema->format);
}

/* --- reading values ------------------------------------------------------------------------ */

/* The first of `count` values from `at` on that is null, as a distance from `at`; or count.
 * Reads no byte of the bitmap beyond the last value's. */
static size_t first_null(const rl_arrow_values *values, size_t at, size_t count) {
    const uint8_t *bits = values->validity;
    if (RL_LIKELY(bits == NULL)) return count;
    size_t from = values->offset + at, i = 0;
    for (; i < count && (from + i) % 8 != 0; i++) {
        if (!(bits[(from + i) / 8] >> ((from + i) % 8) & 1)) return i;
    }
    for (; count - i >= 64; i += 64) {
        if (rl_load64(bits + (from + i) / 8) != UINT64_MAX) break;
    }
    for (; i < count; i++) {
        if (!(bits[(from + i) / 8] >> ((from + i) % 8) & 1)) return i;
    }
    return count;
}

/* Negative offsets become huge, which no `last` reaches. */
RL_INLINE uint64_t load_offset(const uint8_t *cells, size_t i, size_t width) {
    if (width == 4) {
        int32_t offset;
        memcpy(&offset, cells + 4 * i, sizeof offset);
        return (uint64_t)(int64_t)offset;
    }
    uint64_t offset;
    memcpy(&offset, cells + 8 * i, sizeof offset);
    return offset;
}

/* Without the pointer arithmetic that would be undefined for an offset not yet checked. */
RL_INLINE const uint8_t *address_at(const uint8_t *data, uint64_t offset) {
    return (const uint8_t *)((uintptr_t)data + (uintptr_t)offset);
}

RL_INLINE int offset_span(const rl_arrow_values *values, size_t i, size_t width, rl_span *out) {
    uint64_t start = load_offset(values->cells, i, width);
    uint64_t end = load_offset(values->cells, i + 1, width);
    out->data = address_at(values->data, start);
    out->size = (size_t)(end - start);
    return (start >= values->first) & (start <= end) & (end <= values->last);
}

RL_INLINE int view_span(const rl_arrow_values *values, size_t i, rl_span *out) {
    const uint8_t *view = values->cells + VIEW_BYTES * i;
    uint32_t size, buffer, offset;
    memcpy(&size, view, sizeof size);
    out->size = size;
    if (size <= VIEW_INLINE_BYTES) {
        out->data = view + 4;
        return 1;
    }
    memcpy(&buffer, view + 8, sizeof buffer);
    memcpy(&offset, view + 12, sizeof offset);
    if (RL_UNLIKELY(buffer >= values->buffer_count)) return 0;
    uint64_t room;
    memcpy(&room, values->buffer_sizes + 8 * (size_t)buffer, sizeof room);
    out->data = address_at((const uint8_t *)values->buffers[buffer], offset);
    return (size <= INT32_MAX) & (offset <= INT32_MAX) & ((uint64_t)offset + size <= room);
}

/* Inlined with a constant kind and width. */
RL_INLINE int value_span(const rl_arrow_values *values, int kind, size_t width, size_t i,
                         rl_span *out) {
    if (kind == RL_ARROW_OFFSETS) return offset_span(values, i, width, out);
    if (kind == RL_ARROW_VIEWS) return view_span(values, i, out);
    out->data = values->cells + width * i;
    out->size = width;
    return 1;
}

/* Each of these returns how many values it read: fewer than `count` where the next is damaged. */

static RL_NOINLINE size_t count_intact(const rl_arrow_values *values, size_t at, size_t count,
                                       size_t width) {
    rl_span span;
    size_t i = 0;
    while (i < count && offset_span(values, at + i, width, &span)) i++;
    return i;
}

/* One load for each offset, and one judgement for the block: offsets that never fall, from no
 * less than `first` to no more than `last`, all lie between these. */
RL_INLINE size_t offset_spans(const rl_arrow_values *values, size_t at, size_t count, size_t width,
                              rl_span *RL_RESTRICT out) {
    const uint8_t *cells = values->cells + width * at;
    const uint8_t *data = values->data;
    uint64_t start = load_offset(cells, 0, width);
    int falls = start < values->first;
    for (size_t i = 0; i < count; i++) {
        uint64_t end = load_offset(cells, i + 1, width);
        out[i].data = address_at(data, start);
        rl_prefetch(out[i].data); /* by the time the block is hashed, it is there */
        out[i].size = (size_t)(end - start);
        falls |= end < start;
        start = end;
    }
    if (RL_LIKELY(!falls && start <= values->last)) return count;
    return count_intact(values, at, count, width);
}

RL_INLINE size_t spans_as(const rl_arrow_values *values, int kind, size_t width, size_t at,
                          size_t count, rl_span *out) {
    if (kind == RL_ARROW_OFFSETS) return offset_spans(values, at, count, width, out);
    for (size_t i = 0; i < count; i++) {
        if (!value_span(values, kind, width, at + i, out + i)) return i;
        if (kind == RL_ARROW_VIEWS) rl_prefetch(out[i].data);
    }
    return count;
}

RL_INLINE size_t gather_as(const rl_arrow_values *values, int kind, size_t width,
                           const uint64_t *indices, size_t count, rl_span *out) {
    for (size_t i = 0; i < count; i++) {
        if (!value_span(values, kind, width, (size_t)indices[i], out + i)) return i;
        /* Indices jump about in a large dictionary: fetch its bytes while the others are read. */
        rl_prefetch(out[i].data);
    }
    return count;
}

/* Read values at, at + 1, ...; or, with indices, at those. */
static size_t read_spans(const rl_arrow_layout *layout, const rl_arrow_values *values, size_t at,
                         const uint64_t *indices, size_t count, rl_span *out) {
#define RL_READ(kind, width)                                              \
    (indices == NULL ? spans_as(values, kind, width, at, count, out)      \
                     : gather_as(values, kind, width, indices, count, out))
    if (layout->kind == RL_ARROW_VIEWS) return RL_READ(RL_ARROW_VIEWS, VIEW_BYTES);
    if (layout->kind == RL_ARROW_FIXED) return RL_READ(RL_ARROW_FIXED, layout->width);
    if (layout->width == 4) return RL_READ(RL_ARROW_OFFSETS, 4);
    return RL_READ(RL_ARROW_OFFSETS, 8);
#undef RL_READ
}

/* The dictionary indices of `count` keys; fewer, with *error, before one that leads nowhere. */
static size_t read_indices(const rl_arrow *column, const rl_arrow_chunk *chunk, size_t at,
                           size_t count, uint64_t *indices, int *error) {
    const rl_arrow_layout *layout = &column->type.indices;
    size_t intact = first_null(&chunk->indices, at, count);
    if (intact < count) *error = RL_KEYS_NULL;
    count = intact;
    rl_widen(chunk->indices.cells + layout->width * at, (ptrdiff_t)layout->width, count,
             layout->width, layout->is_signed, 0, indices);
    /* A negative index is a huge one by now. */
    uint64_t length = chunk->values.length;
    int outside = 0;
    for (size_t i = 0; i < count; i++) outside |= indices[i] >= length;
    if (RL_UNLIKELY(outside)) {
        for (count = 0; indices[count] < length; count++) continue;
        *error = RL_KEYS_CORRUPT;
    }
    if (chunk->values.validity != NULL) {
        for (size_t i = 0; i < count; i++) {
            if (first_null(&chunk->values, (size_t)indices[i], 1) == 1) continue;
            *error = RL_KEYS_NULL;
            return i;
        }
    }
    return count;
}

/* --- columns ------------------------------------------------------------------------------- */

static const rl_arrow_chunk *find_chunk(const rl_arrow *column, size_t index) {
    const rl_arrow_chunk *chunk = column->chunks;
    /* Invariant: the chunk sought lies within [chunk, chunk + count). */
    for (size_t count = column->chunk_count; count > 1;) {
        size_t half = count / 2;
        if (chunk[half].start <= index) {
            chunk += half;
            count -= half;
        } else {
            count = half;
        }
    }
    return chunk;
}

static size_t chunk_spans(const rl_arrow *column, const rl_arrow_chunk *chunk, size_t at,
                          size_t count, rl_span *out, int *error) {
    const rl_arrow_layout *layout = &column->type.values;
    uint64_t indices[RL_BLOCK_KEYS];
    size_t intact, read;
    if (column->type.indices.kind != RL_ARROW_NONE) {
        intact = read_indices(column, chunk, at, count, indices, error);
        read = read_spans(layout, &chunk->values, 0, indices, intact, out);
    } else {
        intact = first_null(&chunk->values, at, count);
        if (intact < count) *error = RL_KEYS_NULL;
        read = read_spans(layout, &chunk->values, at, NULL, intact, out);
    }
    if (RL_UNLIKELY(read < intact)) *error = RL_KEYS_CORRUPT;
    return read;
}

static size_t column_spans(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                           rl_scratch *scratch) {
    const rl_arrow *column = (const rl_arrow *)keys;
    const rl_arrow_chunk *chunk = find_chunk(column, lo);
    size_t done = 0;
    for (; done < count; chunk++) {
        size_t at = lo + done - chunk->start;
        size_t part = chunk->length - at;
        if (part > count - done) part = count - done;
        int error = RL_KEYS_OK;
        size_t read = chunk_spans(column, chunk, at, part, out + done, &error);
        done += read;
        if (RL_LIKELY(read == part)) continue;
        /* The keys before it come first; the next call then starts at the one that fails. */
        if (done > 0) return done;
        scratch->error = error;
        scratch->error_index = lo;
        return 0;
    }
    return done;
}

static size_t chunk_words(const rl_arrow *column, const rl_arrow_chunk *chunk, size_t at,
                          size_t count, uint64_t *out, int *error) {
    const rl_arrow_layout *layout = &column->type.values;
    if (column->type.indices.kind == RL_ARROW_NONE) {
        size_t intact = first_null(&chunk->values, at, count);
        if (intact < count) *error = RL_KEYS_NULL;
        rl_widen(chunk->values.cells + layout->width * at, (ptrdiff_t)layout->width, intact,
                 layout->width, layout->is_signed, 0, out);
        return intact;
    }
    size_t intact = read_indices(column, chunk, at, count, out, error);
    for (size_t i = 0; i < intact; i++) {
        rl_widen(chunk->values.cells + layout->width * (size_t)out[i], (ptrdiff_t)layout->width, 1,
                 layout->width, layout->is_signed, 0, out + i);
    }
    return intact;
}

static const uint64_t *column_words(const rl_keys *keys, size_t lo, size_t count, uint64_t *buffer,
                                    rl_scratch *scratch) {
    const rl_arrow *column = (const rl_arrow *)keys;
    const rl_arrow_chunk *chunk = find_chunk(column, lo);
    if (!column->can_fail && column->type.values.width == 8 &&
        count <= chunk->length - (lo - chunk->start)) {
        const uint8_t *cells = chunk->values.cells + 8 * (lo - chunk->start);
        if ((uintptr_t)cells % sizeof(uint64_t) == 0) return (const uint64_t *)(const void *)cells;
    }
    for (size_t done = 0; done < count; chunk++) {
        size_t at = lo + done - chunk->start;
        size_t part = chunk->length - at;
        if (part > count - done) part = count - done;
        int error = RL_KEYS_OK;
        size_t read = chunk_words(column, chunk, at, part, buffer + done, &error);
        done += read;
        if (RL_LIKELY(read == part)) continue;
        scratch->error = error;
        scratch->error_index = lo + done;
        return NULL;
    }
    return buffer;
}

/* --- construction -------------------------------------------------------------------------- */

static const uint8_t NOTHING[VIEW_BYTES];

/* Whether [base, base + count * width) is a range of addresses at all. */
static int is_range(const void *base, uint64_t count, uint64_t width) {
    if (width != 0 && count > (uint64_t)PTRDIFF_MAX / width) return 0;
    return count * width <= UINTPTR_MAX - (uintptr_t)base;
}

static const char *views_init(rl_arrow_values *values, const struct ArrowArray *array) {
    values->buffer_count = (size_t)array->n_buffers - 3;
    values->buffers = array->buffers + 2;
    values->buffer_sizes = (const uint8_t *)array->buffers[array->n_buffers - 1];
    if (values->buffer_count == 0) return NULL;
    if (values->buffer_sizes == NULL) return "an array of views lacks its buffers' sizes";
    for (size_t i = 0; i < values->buffer_count; i++) {
        int64_t size;
        memcpy(&size, values->buffer_sizes + 8 * i, sizeof size);
        if (size < 0) return "a buffer of an array of views has a negative size";
        if (size > 0 && values->buffers[i] == NULL) return "an array lacks a buffer";
        if (!is_range(values->buffers[i], (uint64_t)size, 1)) return "a buffer is impossibly long";
    }
    return NULL;
}

static const char *offsets_init(rl_arrow_values *values, const struct ArrowArray *array,
                                size_t width) {
    values->data = (const uint8_t *)array->buffers[2];
    values->first = load_offset(values->cells, 0, width);
    values->last = load_offset(values->cells, values->length, width);
    if (values->first > INT64_MAX) return "an array's first offset is negative";
    if (values->last > INT64_MAX || values->last < values->first) {
        return "an array's last offset lies before its first";
    }
    if (values->data == NULL) {
        if (values->last != 0) return "an array lacks a buffer";
        values->data = NOTHING;
    }
    if (!is_range(values->data, values->last, 1)) return "a buffer is impossibly long";
    return NULL;
}

/* The values [skip, skip + length) of `array`; what is wrong with it, or NULL. */
static const char *values_init(rl_arrow_values *values, const rl_arrow_layout *layout,
                               const struct ArrowArray *array, int64_t skip, int64_t length,
                               int has_dictionary) {
    memset(values, 0, sizeof *values);
    if (array->length < 0 || array->offset < 0) return "an array has a negative length or offset";
    if (skip > array->length || length > array->length - skip) {
        return "an array is shorter than the table it belongs to";
    }
    if (array->offset > INT64_MAX - 1 - array->length) return "an array is impossibly long";
    if (array->null_count < -1 || array->null_count > array->length) {
        return "an array counts an impossible number of nulls";
    }
    int64_t buffers = layout->kind == RL_ARROW_OFFSETS ? 3 : 2;
    if (layout->kind == RL_ARROW_VIEWS ? array->n_buffers < 3 || array->n_buffers > INT32_MAX
                                       : array->n_buffers != buffers) {
        return "an array has a number of buffers that its type does not have";
    }
    if (array->n_children != 0) return "an array has children that its type does not have";
    if ((array->dictionary != NULL) != has_dictionary) {
        return has_dictionary ? "an array lacks the dictionary that its type has"
                              : "an array has a dictionary that its type does not have";
    }
    if (array->buffers == NULL) return "an array lacks its buffers";
    values->length = (size_t)length;
    values->offset = (size_t)(array->offset + skip);
    if (length == 0) return NULL;
    values->validity = (const uint8_t *)array->buffers[0];
    if (values->validity == NULL && array->null_count > 0) {
        return "an array counts nulls, but has no validity bitmap";
    }
    const uint8_t *cells = (const uint8_t *)array->buffers[1];
    if (cells == NULL) {
        if (layout->width > 0) return "an array lacks a buffer";
        cells = NOTHING;
    }
    uint64_t end = (uint64_t)array->offset + (uint64_t)skip + (uint64_t)length;
    if (!is_range(cells, end + (layout->kind == RL_ARROW_OFFSETS), layout->width) ||
        !is_range(values->validity, end / 8 + 1, 1)) {
        return "an array is impossibly long";
    }
    values->cells = cells + layout->width * values->offset;
    if (layout->kind == RL_ARROW_OFFSETS) return offsets_init(values, array, layout->width);
    if (layout->kind == RL_ARROW_VIEWS) return views_init(values, array);
    return NULL;
}

/* The only column of a table; *index has the first row that is null, or the table's length. */
static const char *table_init(const struct ArrowArray *table, const struct ArrowArray **column,
                              size_t *index) {
    if (table->length < 0 || table->offset < 0) return "a table has a negative length or offset";
    if (table->offset > INT64_MAX - 1 - table->length) return "a table is impossibly long";
    if (table->n_children != 1) return "a table has not the one column that its type has";
    if (table->n_buffers != 1) return "a table has a number of buffers that its type does not have";
    if (table->children == NULL || table->children[0] == NULL) return "a table lacks its column";
    if (table->buffers == NULL) return "a table lacks its buffers";
    if (table->children[0]->release == NULL) return "a table's column was released already";
    rl_arrow_values rows = {.validity = (const uint8_t *)table->buffers[0],
                            .offset = (size_t)table->offset};
    if (rows.validity == NULL && table->null_count > 0) {
        return "a table counts nulls, but has no validity bitmap";
    }
    if (!is_range(rows.validity, (uint64_t)(table->offset + table->length) / 8 + 1, 1)) {
        return "a table is impossibly long";
    }
    *index = first_null(&rows, 0, (size_t)table->length);
    *column = table->children[0];
    return NULL;
}

static const char *chunk_init(rl_arrow_chunk *chunk, const rl_arrow_type *type, size_t *null_row) {
    const struct ArrowArray *array = &chunk->array;
    int64_t skip = 0, length = array->length;
    *null_row = SIZE_MAX;
    if (type->is_table) {
        skip = array->offset;
        const char *what = table_init(array, &array, null_row);
        if (what != NULL) return what;
        if (*null_row < (size_t)length) return NULL;
        *null_row = SIZE_MAX;
    }
    chunk->length = length < 0 ? 0 : (size_t)length;
    if (type->indices.kind == RL_ARROW_NONE) {
        return values_init(&chunk->values, &type->values, array, skip, length, 0);
    }
    const char *what = values_init(&chunk->indices, &type->indices, array, skip, length, 1);
    if (what != NULL) return what;
    array = array->dictionary;
    if (array->release == NULL) return "an array's dictionary was released already";
    return values_init(&chunk->values, &type->values, array, 0, array->length, 0);
}

void rl_arrow_init(rl_arrow *column, const rl_arrow_type *type) {
    memset(column, 0, sizeof *column);
    column->type = *type;
    column->keys.is_words = type->values.kind == RL_ARROW_INTS;
    if (column->keys.is_words) column->keys.words = column_words;
    else column->keys.spans = column_spans;
    column->can_fail = !column->keys.is_words || type->indices.kind != RL_ARROW_NONE;
}

static int grow(rl_arrow *column) {
    if (column->chunk_count < column->chunk_capacity) return 1;
    size_t capacity = column->chunk_capacity ? 2 * column->chunk_capacity : 1;
    if (capacity > SIZE_MAX / sizeof *column->chunks) return 0;
    /* The interface lets structs move, as long as what is in them stays. */
    void *chunks = realloc(column->chunks, capacity * sizeof *column->chunks);
    if (chunks == NULL) return 0;
    column->chunks = (rl_arrow_chunk *)chunks;
    column->chunk_capacity = capacity;
    return 1;
}

int rl_arrow_add(rl_arrow *column, struct ArrowArray *array, const char **what, size_t *index) {
    rl_arrow_chunk chunk;
    memset(&chunk, 0, sizeof chunk);
    chunk.start = column->keys.count;
    chunk.array = *array;
    array->release = NULL;
    size_t null_row;
    int error = RL_KEYS_OK;
    *what = chunk_init(&chunk, &column->type, &null_row);
    *index = 0;
    if (*what == NULL && null_row == SIZE_MAX && chunk.length > PTRDIFF_MAX - column->keys.count) {
        *what = "a column is impossibly long";
    }
    if (*what != NULL) {
        error = RL_KEYS_CORRUPT;
    } else if (null_row != SIZE_MAX) {
        error = RL_KEYS_NULL;
        *index = column->keys.count + null_row;
    } else if (chunk.length > 0 && !grow(column)) {
        error = RL_KEYS_NO_MEMORY;
    }
    if (error != RL_KEYS_OK || chunk.length == 0) {
        chunk.array.release(&chunk.array);
        return error;
    }
    column->chunks[column->chunk_count++] = chunk;
    column->keys.count += chunk.length;
    if (chunk.values.validity != NULL) column->can_fail = 1;
    return RL_KEYS_OK;
}

void rl_arrow_free(rl_arrow *column) {
    while (column->chunk_count > 0) {
        struct ArrowArray *array = &column->chunks[--column->chunk_count].array;
        array->release(array);
    }
    free(column->chunks);
    column->chunks = NULL;
    column->chunk_capacity = 0;
    column->keys.count = 0;
}

/* --- extents ------------------------------------------------------------------------------- */

static int meets(const void *base, uint64_t low, uint64_t high, uintptr_t address, size_t size) {
    return base != NULL && low < high && (uintptr_t)base + low < address + size &&
           address < (uintptr_t)base + high;
}

static int values_overlap(const rl_arrow_values *values, const rl_arrow_layout *layout,
                          uintptr_t address, size_t size) {
    uint64_t cells = values->length + (layout->kind == RL_ARROW_OFFSETS);
    if (values->length == 0) return 0;
    if (meets(values->cells, 0, cells * layout->width, address, size)) return 1;
    if (meets(values->validity, values->offset / 8, (values->offset + values->length + 7) / 8,
              address, size)) {
        return 1;
    }
    if (meets(values->data, values->first, values->last, address, size)) return 1;
    for (size_t i = 0; i < values->buffer_count; i++) {
        uint64_t room;
        memcpy(&room, values->buffer_sizes + 8 * i, sizeof room);
        if (meets(values->buffers[i], 0, room, address, size)) return 1;
    }
    return 0;
}

int rl_arrow_overlaps(const rl_arrow *column, uintptr_t address, size_t size) {
    for (size_t i = 0; i < column->chunk_count && size > 0; i++) {
        const rl_arrow_chunk *chunk = column->chunks + i;
        if (values_overlap(&chunk->values, &column->type.values, address, size) ||
            values_overlap(&chunk->indices, &column->type.indices, address, size)) {
            return 1;
        }
    }
    return 0;
}
