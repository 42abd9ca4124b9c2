/* Keys and values in the order in which the keys came, as compact as they can be and still be found
 * by one look-up: an entry is one block of memory, behind two arrays and an index of 32-bit numbers.
 *
 *     index[hash & mask] -> number + 1 of an entry, 0: none, RL_KEYSPACE_GONE: none any more
 *     hashes[number], entries[number]     entries[number] is NULL where a key was removed
 *
 * The layout is that of CPython's dict since 3.6 (Raymond Hettinger, "More compact dictionaries with
 * faster iteration", python-dev, December 2012); keys are hashed by SipHash-1-3 under a secret, since
 * strangers choose them. */
#ifndef RL_KEYSPACE_H
#define RL_KEYSPACE_H

#include "base.h"

#define RL_KEYSPACE_OBJECT UINT32_MAX /* as value_bytes: the value is the address of something else */
#define RL_KEYSPACE_GONE UINT32_MAX
#define RL_KEYSPACE_BYTES_MAX (UINT32_MAX - 1) /* of a key, and of a value */

typedef struct rl_entry {
    uint32_t key_bytes;
    uint32_t value_bytes;
    uint8_t bytes[]; /* the key, then the value */
} rl_entry;

typedef struct rl_keyspace {
    rl_entry **entries;
    uint32_t *hashes;
    uint32_t *index;
    size_t capacity; /* of entries and hashes */
    size_t used;     /* entries, the removed among them */
    size_t live;     /* entries that are there */
    size_t mask;     /* of the index; invariant: more than used places */
    uint64_t bytes;  /* of all keys, and of values that are no objects */
    uint64_t shape;  /* changes whenever a key comes or goes */
    uint64_t secret[2];
} rl_keyspace;

/* Zeros are an empty one; the secret is to be set before the first key comes. */

/* Frees all memory; objects are the caller's. */
void rl_keyspace_free(rl_keyspace *space);

/* The entry of a key, or NULL. */
rl_entry *rl_keyspace_find(const rl_keyspace *space, const uint8_t *key, size_t key_bytes);

/* Sets a key to value[0, value_bytes), or to `object` if that is not NULL.  *old becomes the object
 * that this replaces, or NULL.  Sizes are at most RL_KEYSPACE_BYTES_MAX.  Returns 0, or -1 when there
 * is no memory: nothing is changed then.  O(1), amortized. */
int rl_keyspace_put(
    rl_keyspace *space,
    const uint8_t *key,
    size_t key_bytes,
    const uint8_t *value,
    size_t value_bytes,
    void *object,
    void **old
);

/* Takes a key out; its entry, which the caller frees, or NULL.  O(1). */
rl_entry *rl_keyspace_take(rl_keyspace *space, const uint8_t *key, size_t key_bytes);

RL_INLINE const uint8_t *rl_entry_value(const rl_entry *entry) {
    return entry->bytes + entry->key_bytes;
}

RL_INLINE void *rl_entry_object(const rl_entry *entry) {
    void *object = NULL;
    if (entry->value_bytes == RL_KEYSPACE_OBJECT) {
        memcpy(&object, entry->bytes + entry->key_bytes, sizeof object);
    }
    return object;
}

/* --- MessagePack, as far as batches and snapshots of a store need it -------------------------- */

typedef struct rl_packed {
    const uint8_t *at, *end;
} rl_packed;

/* Each takes one item from the front: 1, or 0 when something else, or too little, stands there. */
int rl_packed_array(rl_packed *packed, uint32_t *count);
int rl_packed_map(rl_packed *packed, uint32_t *count);
int rl_packed_bytes(rl_packed *packed, const uint8_t **data, uint32_t *size);

/* Bytes that the head of so many bytes, or of a map of so many items, takes; and writes it. */
size_t rl_pack_bytes_head(uint8_t *out, uint32_t size);
size_t rl_pack_map_head(uint8_t *out, uint32_t count);

/* Whether packed is [number, [[SET, key, value], ...]] and nothing else: then *count says how many,
 * and *commands where the first begins. */
int rl_packed_sets(rl_packed packed, uint64_t *number, uint32_t *count, const uint8_t **commands);

#endif
