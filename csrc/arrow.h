/* Columns of keys in the layouts of the Arrow C Data Interface, read in place.
 * https://arrow.apache.org/docs/format/CDataInterface.html
 *
 * The interface says nothing of how long a buffer is, so the memory itself is taken on trust;
 * all that can be checked (lengths, offsets, views, indices, nulls) is checked before a key that
 * depends on it is handed out. */
#ifndef RL_ARROW_H
#define RL_ARROW_H

#include "keys.h"

/* The interface's own structs, guarded as it asks, since others may declare them too. */
#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE
struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};
struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};
#endif
#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE
struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};
#endif

enum {
    RL_ARROW_NONE = 0,
    RL_ARROW_INTS,
    RL_ARROW_OFFSETS, /* utf8, binary: `width` bytes for each offset */
    RL_ARROW_VIEWS,   /* utf8_view, binary_view */
    RL_ARROW_FIXED    /* fixed_size_binary of `width` bytes */
};

typedef struct rl_arrow_layout {
    int kind;
    int is_signed;
    size_t width; /* bytes of an integer, offset, view or fixed-width value */
} rl_arrow_layout;

/* What a schema says of its keys. */
typedef struct rl_arrow_type {
    rl_arrow_layout values;  /* of the keys; of the dictionary, where there is one */
    rl_arrow_layout indices; /* into the dictionary; RL_ARROW_NONE: there is none */
    int is_table;            /* the keys are the only child of a struct */
} rl_arrow_type;

/* Where the values of one array lie; all pointers are borrowed from it. */
typedef struct rl_arrow_values {
    const uint8_t *validity; /* value i is null where bit offset + i is 0; NULL: none is */
    size_t offset;
    size_t length;
    const uint8_t *cells; /* integers, offsets, views or fixed-width bytes, from value 0 on */
    const uint8_t *data;  /* what offsets point into ... */
    uint64_t first, last; /* ... all of them within [first, last] */
    const void *const *buffers;  /* what views point into */
    const uint8_t *buffer_sizes; /* int64 for each of them, maybe unaligned */
    size_t buffer_count;
} rl_arrow_values;

typedef struct rl_arrow_chunk {
    size_t start;            /* the index of its first key in the column */
    size_t length;           /* Invariant: over 0; the next chunk starts at start + length */
    rl_arrow_values values;  /* or the dictionary's */
    rl_arrow_values indices; /* with a dictionary */
    struct ArrowArray array; /* owned: all of the above points into it */
} rl_arrow_chunk;

typedef struct rl_arrow {
    rl_keys keys;
    rl_arrow_type type;
    rl_arrow_chunk *chunks;
    size_t chunk_count;
    size_t chunk_capacity;
    int can_fail; /* some key may be null or damaged */
} rl_arrow;

enum {
    RL_ARROW_OK = 0,
    RL_ARROW_REFUSED, /* a type that keys cannot have: *culprit has it as its format */
    RL_ARROW_COLUMNS, /* *culprit is a struct of no or of several columns */
    RL_ARROW_DAMAGED  /* *culprit breaks the interface */
};

/* Read what `schema` says, which is still the caller's afterwards. */
int rl_arrow_type_init(rl_arrow_type *type, const struct ArrowSchema *schema,
                       const struct ArrowSchema **culprit);

/* An empty column; takes no memory until the first chunk. */
void rl_arrow_init(rl_arrow *column, const rl_arrow_type *type);

/* Append `array`, whose ownership passes to the column (array->release becomes NULL), also on
 * failure.  Returns RL_KEYS_OK; RL_KEYS_CORRUPT with *what saying what is wrong; RL_KEYS_NULL
 * where a table's row is null (*index has its place in the column); RL_KEYS_NO_MEMORY. */
int rl_arrow_add(rl_arrow *column, struct ArrowArray *array, const char **what, size_t *index);

/* Whether any of the column's buffers meets [address, address + size). */
int rl_arrow_overlaps(const rl_arrow *column, uintptr_t address, size_t size);

/* Release every array.  Harmless on zeroed memory and when repeated. */
void rl_arrow_free(rl_arrow *column);

#endif
