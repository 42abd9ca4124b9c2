#include "keyspace.h"

#include <stdlib.h>

#include "siphash.h"

enum { INDEX_MIN = 8 };

static uint32_t hash_of(const rl_keyspace *space, const uint8_t *key, size_t size) {
    return (uint32_t)rl_siphash13(key, size, space->secret[0], space->secret[1]);
}

static size_t room(size_t index_size) { return index_size - index_size / 3; }

/* The place in the index of a key that is there, or SIZE_MAX. */
static size_t place_of(
    const rl_keyspace *space, uint32_t hash, const uint8_t *key, size_t key_bytes
) {
    if (space->live == 0) return SIZE_MAX;
    for (size_t place = hash & space->mask;; place = (place + 1) & space->mask) {
        uint32_t number = space->index[place];
        if (number == 0) return SIZE_MAX;
        if (number == RL_KEYSPACE_GONE || space->hashes[number - 1] != hash) continue;
        const rl_entry *entry = space->entries[number - 1];
        if (entry->key_bytes == key_bytes && memcmp(entry->bytes, key, key_bytes) == 0) {
            return place;
        }
    }
}

rl_entry *rl_keyspace_find(const rl_keyspace *space, const uint8_t *key, size_t key_bytes) {
    size_t place = place_of(space, hash_of(space, key, key_bytes), key, key_bytes);
    return place == SIZE_MAX ? NULL : space->entries[space->index[place] - 1];
}

static void put_in_index(uint32_t *index, size_t mask, uint32_t hash, size_t number) {
    size_t place = hash & mask;
    while (index[place] != 0) place = (place + 1) & mask;
    index[place] = (uint32_t)(number + 1);
}

/* Room for one more key: the removed are forgotten, and the index grows if that is not enough. */
static int make_room(rl_keyspace *space) {
    size_t index_size = INDEX_MIN;
    /* A third more than there are: as many keys come or go before this is done again. */
    while (room(index_size) < space->live + space->live / 3 + 1) index_size *= 2;
    if (room(index_size) >= UINT32_MAX) return -1;
    uint32_t *index = calloc(index_size, sizeof *index);
    if (index == NULL) return -1;
    size_t capacity = room(index_size);
    if (capacity > space->capacity) {
        rl_entry **entries = realloc(space->entries, capacity * sizeof *entries);
        if (entries != NULL) space->entries = entries;
        uint32_t *hashes =
            entries == NULL ? NULL : realloc(space->hashes, capacity * sizeof *hashes);
        if (hashes == NULL) {
            free(index);
            return -1;
        }
        space->hashes = hashes;
        space->capacity = capacity;
    }
    size_t count = 0;
    for (size_t number = 0; number < space->used; number++) {
        if (space->entries[number] == NULL) continue;
        space->entries[count] = space->entries[number];
        space->hashes[count] = space->hashes[number];
        put_in_index(index, index_size - 1, space->hashes[count], count);
        count++;
    }
    if (capacity < space->capacity) {
        /* What cannot be given back is kept. */
        rl_entry **entries = realloc(space->entries, capacity * sizeof *entries);
        if (entries != NULL) space->entries = entries;
        uint32_t *hashes = realloc(space->hashes, capacity * sizeof *hashes);
        if (hashes != NULL) space->hashes = hashes;
        space->capacity = capacity;
    }
    free(space->index);
    space->index = index;
    space->mask = index_size - 1;
    space->used = count;
    return 0;
}

static rl_entry *new_entry(
    const uint8_t *key, size_t key_bytes, const uint8_t *value, size_t value_bytes, void *object
) {
    size_t size = object != NULL ? sizeof object : value_bytes;
    if (size > SIZE_MAX - sizeof(rl_entry) - key_bytes) return NULL;
    rl_entry *entry = malloc(sizeof(rl_entry) + key_bytes + size);
    if (entry == NULL) return NULL;
    entry->key_bytes = (uint32_t)key_bytes;
    entry->value_bytes = object != NULL ? RL_KEYSPACE_OBJECT : (uint32_t)value_bytes;
    if (key_bytes > 0) memcpy(entry->bytes, key, key_bytes);
    if (object != NULL) {
        memcpy(entry->bytes + key_bytes, &object, sizeof object);
    } else if (value_bytes > 0) {
        memcpy(entry->bytes + key_bytes, value, value_bytes);
    }
    return entry;
}

static uint64_t bytes_of(const rl_entry *entry) {
    uint64_t size = entry->key_bytes;
    return entry->value_bytes == RL_KEYSPACE_OBJECT ? size : size + entry->value_bytes;
}

int rl_keyspace_put(
    rl_keyspace *space,
    const uint8_t *key,
    size_t key_bytes,
    const uint8_t *value,
    size_t value_bytes,
    void *object,
    void **old
) {
    uint32_t hash = hash_of(space, key, key_bytes);
    size_t place = place_of(space, hash, key, key_bytes);
    *old = NULL;
    if (place != SIZE_MAX) {
        rl_entry **at = &space->entries[space->index[place] - 1];
        rl_entry *entry = *at;
        if (object == NULL && entry->value_bytes == value_bytes) {
            if (value_bytes > 0) memcpy(entry->bytes + key_bytes, value, value_bytes);
            return 0;
        }
        rl_entry *changed = new_entry(key, key_bytes, value, value_bytes, object);
        if (changed == NULL) return -1;
        *old = rl_entry_object(entry);
        space->bytes += bytes_of(changed) - bytes_of(entry);
        *at = changed;
        free(entry);
        return 0;
    }
    if (space->used == space->capacity && make_room(space) != 0) return -1;
    rl_entry *entry = new_entry(key, key_bytes, value, value_bytes, object);
    if (entry == NULL) return -1;
    space->entries[space->used] = entry;
    space->hashes[space->used] = hash;
    put_in_index(space->index, space->mask, hash, space->used);
    space->used++;
    space->live++;
    space->shape++;
    space->bytes += bytes_of(entry);
    return 0;
}

rl_entry *rl_keyspace_take(rl_keyspace *space, const uint8_t *key, size_t key_bytes) {
    size_t place = place_of(space, hash_of(space, key, key_bytes), key, key_bytes);
    if (place == SIZE_MAX) return NULL;
    size_t number = space->index[place] - 1;
    rl_entry *entry = space->entries[number];
    space->index[place] = RL_KEYSPACE_GONE;
    space->entries[number] = NULL;
    space->live--;
    space->shape++;
    space->bytes -= bytes_of(entry);
    return entry;
}

void rl_keyspace_free(rl_keyspace *space) {
    for (size_t number = 0; number < space->used; number++) free(space->entries[number]);
    free(space->entries);
    free(space->hashes);
    free(space->index);
    memset(space, 0, sizeof *space);
}

/* --- MessagePack ------------------------------------------------------------------------------ */

static int take_length(rl_packed *packed, size_t width, uint64_t *length) {
    if ((size_t)(packed->end - packed->at) < 1 + width) return 0;
    *length = 0;
    for (size_t i = 1; i <= width; i++) *length = *length << 8 | packed->at[i];
    packed->at += 1 + width;
    return 1;
}

/* The head of an array or a map: `few` is its mark up to 15 items, `many` that of a 16-bit count. */
static int take_head(rl_packed *packed, uint8_t few, uint8_t many, uint32_t *count) {
    if (packed->at == packed->end) return 0;
    uint8_t mark = *packed->at;
    uint64_t length;
    if ((mark & 0xF0) == few) {
        *count = mark & 0x0F;
        packed->at++;
        return 1;
    }
    if (mark != many && mark != many + 1) return 0;
    if (!take_length(packed, mark == many ? 2 : 4, &length)) return 0;
    *count = (uint32_t)length;
    return 1;
}

int rl_packed_array(rl_packed *packed, uint32_t *count) {
    return take_head(packed, 0x90, 0xDC, count);
}

int rl_packed_map(rl_packed *packed, uint32_t *count) {
    return take_head(packed, 0x80, 0xDE, count);
}

int rl_packed_bytes(rl_packed *packed, const uint8_t **data, uint32_t *size) {
    uint64_t length;
    if (packed->at == packed->end || *packed->at < 0xC4 || *packed->at > 0xC6) return 0;
    rl_packed after = *packed;
    if (!take_length(&after, (size_t)1 << (*packed->at - 0xC4), &length)) return 0;
    if ((uint64_t)(after.end - after.at) < length) return 0;
    *data = after.at;
    *size = (uint32_t)length;
    packed->at = after.at + length;
    return 1;
}

static int rl_packed_number(rl_packed *packed, uint64_t *number) {
    if (packed->at == packed->end) return 0;
    uint8_t mark = *packed->at;
    if (mark < 0x80) {
        *number = mark;
        packed->at++;
        return 1;
    }
    if (mark < 0xCC || mark > 0xCF) return 0;
    return take_length(packed, (size_t)1 << (mark - 0xCC), number);
}

static size_t put_length(uint8_t *out, uint8_t mark, size_t width, uint32_t length) {
    out[0] = mark;
    for (size_t i = 0; i < width; i++) out[1 + i] = (uint8_t)(length >> 8 * (width - 1 - i));
    return 1 + width;
}

size_t rl_pack_bytes_head(uint8_t *out, uint32_t size) {
    if (size <= UINT8_MAX) return put_length(out, 0xC4, 1, size);
    if (size <= UINT16_MAX) return put_length(out, 0xC5, 2, size);
    return put_length(out, 0xC6, 4, size);
}

size_t rl_pack_map_head(uint8_t *out, uint32_t count) {
    if (count <= 15) return put_length(out, (uint8_t)(0x80 | count), 0, 0);
    if (count <= UINT16_MAX) return put_length(out, 0xDE, 2, count);
    return put_length(out, 0xDF, 4, count);
}

int rl_packed_sets(rl_packed packed, uint64_t *number, uint32_t *count, const uint8_t **commands) {
    uint32_t parts;
    const uint8_t *data;
    uint32_t size;
    if (!rl_packed_array(&packed, &parts) || parts != 2) return 0;
    if (!rl_packed_number(&packed, number) || !rl_packed_array(&packed, count)) return 0;
    *commands = packed.at;
    for (uint32_t i = 0; i < *count; i++) {
        if (!rl_packed_array(&packed, &parts) || parts != 3) return 0;
        if (!rl_packed_bytes(&packed, &data, &size) || size != 3) return 0;
        if (memcmp(data, "SET", 3) != 0 && memcmp(data, "set", 3) != 0) return 0;
        for (int argument = 0; argument < 2; argument++) {
            if (!rl_packed_bytes(&packed, &data, &size) || size > RL_KEYSPACE_BYTES_MAX) return 0;
        }
    }
    return packed.at == packed.end;
}
