#include "replicas.h"

#include <assert.h>

#include "simd.h"
#include "xxh3_words.h"

#if RL_X86_64
#include <immintrin.h>
#endif

/* --- rules ---------------------------------------------------------------------------------- */

RL_INLINE uint8_t least(size_t a, size_t b) { return (uint8_t)(a < b ? a : b); }

int rl_rule_init(rl_rule *rule, const uint32_t *wanted, uint8_t *seen) {
    enum { DC = 1, ZONE = 2 };
    for (size_t group = 0; group < rule->group_count; group++) {
        size_t nodes = 0, dcs = 0, zones = 0;
        for (size_t i = 0; i < rule->node_count; i++) {
            const rl_place *place = &rule->places[i];
            if (place->group != group) continue;
            nodes++;
            dcs += !(seen[place->dc] & DC);
            seen[place->dc] |= DC;
            zones += !(seen[place->zone] & ZONE);
            seen[place->zone] |= ZONE;
        }
        size_t left = wanted[group];
        if (nodes < left) return -1;
        rl_quota *quota = &rule->quotas[group];
        quota->tiers[0] = rule->spreads_dcs ? least(left, dcs) : 0;
        left -= quota->tiers[0];
        /* The first node of a datacenter is the first of its zone, too. */
        quota->tiers[1] = rule->spreads_zones ? least(left, zones - (rule->spreads_dcs ? dcs : 0))
                                              : 0;
        quota->tiers[2] = (uint8_t)(left - quota->tiers[1]);
        for (size_t i = 0; i < rule->node_count; i++)
            if (rule->places[i].group == group)
                seen[rule->places[i].dc] = seen[rule->places[i].zone] = 0;
    }
    return 0;
}

/* A row that is being filled. */
typedef struct filling {
    size_t found;
    uint32_t *row;
    rl_quota left[RL_REPLICAS_MAX];
} filling;

RL_INLINE void begin(filling *f, const rl_rule *rule, uint32_t *row) {
    f->found = 0;
    f->row = row;
    memcpy(f->left, rule->quotas, rule->group_count * sizeof *f->left);
}

/* Meet one node. */
RL_INLINE void meet(filling *f, const rl_rule *rule, uint32_t position) {
    const rl_place place = rule->places[position];
    if (place.group == RL_NO_GROUP) return;
    uint8_t *left = f->left[place.group].tiers;
    if (!(left[0] | left[1] | left[2])) return;
    int new_dc = rule->spreads_dcs, new_zone = rule->spreads_zones;
    for (size_t i = 0; i < f->found; i++) {
        uint32_t other = f->row[i];
        if (other == position) return;
        new_dc &= rule->places[other].dc != place.dc;
        new_zone &= rule->places[other].zone != place.zone;
    }
    uint8_t *quota = left + (new_dc ? 0 : new_zone ? 1 : 2);
    if (*quota == 0) return;
    (*quota)--;
    f->row[f->found++] = position;
}

size_t rl_rule_select(const rl_rule *rule, const uint32_t *candidates, size_t count,
                      uint32_t *row) {
    filling f;
    begin(&f, rule, row);
    for (size_t i = 0; i < count && f.found < rule->total; i++) meet(&f, rule, candidates[i]);
    return f.found;
}

static size_t walk_from(const rl_rule *rule, const rl_ring_view *view, size_t point,
                        uint32_t *row) {
    const rl_ring *ring = view->ring;
    filling f;
    begin(&f, rule, row);
    for (size_t step = 0; step < ring->count && f.found < rule->total; step++, point++) {
        if (point >= ring->count) point = 0;
        meet(&f, rule, view->ranks[ring->owners[point]]);
    }
    return f.found;
}

size_t rl_rule_walk(const rl_rule *rule, const rl_ring_view *view, uint64_t hash, uint32_t *row) {
    return walk_from(rule, view, rl_ring_find(view->ring, hash), row);
}

size_t rl_rule_walks(const rl_rule *rule, const rl_ring_view *view, const uint64_t *hashes,
                     size_t count, uint32_t *out) {
    for (size_t i = 0; i < count; i++, out += rule->total)
        if (rl_rule_walk(rule, view, hashes[i], out) < rule->total) return i;
    return count;
}

/* --- the rows of all points ----------------------------------------------------------------- */

static uint32_t bits_of(size_t value) {
    uint32_t bits = 0;
    while (value >> bits) bits++;
    return bits;
}

void rl_successors_plan(rl_successors *s, const rl_rule *rule, size_t count) {
    s->count = count;
    s->total = rule->total;
    s->is_wide = rule->node_count > 65536;
    /* Short rows do not cross a cache line, and are copied as a whole. */
    s->stride = rule->total <= 4 ? 4 : rule->total <= 8 ? 8 : (rule->total + 15) / 16 * 16;
    uint32_t point_bits = bits_of(count);
    s->split_bits = 32 - point_bits > 16 ? 16 : 32 - point_bits;
    s->index_bits = point_bits + 2 < 8 ? 8 : point_bits + 2 > 30 ? 30 : point_bits + 2;
}

static void fill_index(const rl_successors *s, const rl_ring *ring) {
    const uint32_t shift = 64 - s->index_bits, split_bits = s->split_bits;
    const uint32_t mask = ((uint32_t)1 << split_bits) - 1;
    const size_t buckets = (size_t)1 << s->index_bits;
    size_t bucket = 0;
    for (size_t point = 0; point < ring->count; point++) {
        uint64_t token = ring->tokens[point];
        size_t own = (size_t)(token >> shift);
        if (own < bucket) { /* not the first in its bucket */
            s->index[own] |= mask;
            continue;
        }
        uint32_t word = (uint32_t)point << split_bits;
        while (bucket < own) s->index[bucket++] = word;
        s->index[bucket++] = word | ((uint32_t)(token >> (shift - split_bits)) & mask);
    }
    for (; bucket <= buckets; bucket++) s->index[bucket] = (uint32_t)ring->count << split_bits;
}

RL_INLINE uint32_t get(const void *rows, size_t at, const int is_wide) {
    return is_wide ? ((const uint32_t *)rows)[at] : ((const uint16_t *)rows)[at];
}

RL_INLINE void put(void *rows, size_t at, uint32_t value, const int is_wide) {
    if (is_wide) {
        ((uint32_t *)rows)[at] = value;
    } else {
        ((uint16_t *)rows)[at] = (uint16_t)value;
    }
}

/* Where the position stands that leaves the row behind `next` when `first` is put before it: its
 * own, or that of the node whose tier, now that `first` is the first of its datacenter and zone, has
 * no room for it.  stamps[dc] and stamps[node_count + zone] are `turn` where they were met. */
RL_INLINE size_t leaving(const rl_successors *s, const rl_rule *rule, size_t next, uint32_t first,
                         uint32_t *stamps, uint32_t turn, const int is_wide) {
    const size_t total = s->total;
    const rl_place place = rule->places[first];
    uint32_t *zone_stamps = stamps + rule->node_count;
    for (size_t i = 0; i < total; i++)
        if (get(s->rows, next + i, is_wide) == first) return i;
    rl_quota left = rule->quotas[place.group];
    left.tiers[rule->spreads_dcs ? 0 : rule->spreads_zones ? 1 : 2]--;
    stamps[place.dc] = zone_stamps[place.zone] = turn;
    for (size_t i = 0; i < total; i++) {
        const rl_place *other = &rule->places[get(s->rows, next + i, is_wide)];
        if (other->group != place.group) continue;
        int new_dc = rule->spreads_dcs && stamps[other->dc] != turn;
        int new_zone = rule->spreads_zones && zone_stamps[other->zone] != turn;
        uint8_t *quota = left.tiers + (new_dc ? 0 : new_zone ? 1 : 2);
        if (*quota == 0) return i;
        (*quota)--;
        stamps[other->dc] = zone_stamps[other->zone] = turn;
    }
    return total; /* never: one more than the quotas were met */
}

RL_INLINE int build_rows(const rl_successors *s, const rl_rule *rule, const rl_ring_view *view,
                         uint32_t *stamps, const int is_wide) {
    const rl_ring *ring = view->ring;
    const size_t total = s->total, stride = s->stride;
    uint32_t row[RL_REPLICAS_MAX];
    if (walk_from(rule, view, 0, row) < total) return -1;
    for (size_t i = 0; i < stride; i++)
        put(s->rows, ring->count * stride + i, row[i < total ? i : 0], is_wide);
    for (size_t point = ring->count; point-- > 0;) {
        const size_t own = point * stride, next = own + stride;
        uint32_t first = view->ranks[ring->owners[point]];
        size_t gap = total;
        if (rule->places[first].group != RL_NO_GROUP) {
            uint32_t turn = (uint32_t)(ring->count - point);
            gap = leaving(s, rule, next, first, stamps, turn, is_wide);
            if (gap == total) return -1;
        }
        if (gap == total) {
            for (size_t i = 0; i < stride; i++)
                put(s->rows, own + i, get(s->rows, next + i, is_wide), is_wide);
            continue;
        }
        put(s->rows, own, first, is_wide);
        for (size_t i = 1; i < stride; i++)
            put(s->rows, own + i, get(s->rows, next + i - (i <= gap), is_wide), is_wide);
    }
    return 0;
}

int rl_successors_build(const rl_successors *s, const rl_rule *rule, const rl_ring_view *view,
                        uint32_t *stamps) {
    assert(s->count == view->ring->count && s->total == rule->total);
    fill_index(s, view->ring);
    return s->is_wide ? build_rows(s, rule, view, stamps, 1)
                      : build_rows(s, rule, view, stamps, 0);
}

/* --- rows of many hashes -------------------------------------------------------------------- */

/* The point of a hash; *exact becomes 1 when the ring has to be asked instead. */
RL_INLINE uint32_t indexed_point(const rl_successors *s, uint64_t hash, uint32_t *exact) {
    const uint32_t split_bits = s->split_bits, mask = ((uint32_t)1 << split_bits) - 1;
    uint64_t bucket_split = hash >> (64 - s->index_bits - split_bits);
    const uint32_t *words = s->index + (bucket_split >> split_bits);
    uint32_t below = (uint32_t)bucket_split & mask, split = words[0] & mask;
    uint32_t word = words[below > split];
    *exact |= (uint32_t)(below == split) | (uint32_t)(split == mask);
    return word >> split_bits;
}

RL_INLINE uint32_t point_of(const rl_successors *s, const rl_ring *ring, uint64_t hash) {
    uint32_t exact = 0, point = indexed_point(s, hash, &exact);
    return RL_LIKELY(!exact) ? point : (uint32_t)rl_ring_find(ring, hash);
}

RL_INLINE void copy_row(const rl_successors *s, size_t point, uint32_t *row) {
    const size_t at = point * s->stride;
    for (size_t i = 0; i < s->total; i++) row[i] = get(s->rows, at + i, s->is_wide);
}

void rl_successors_row(const rl_successors *s, const rl_ring *ring, uint64_t hash, uint32_t *row) {
    copy_row(s, point_of(s, ring, hash), row);
}

void rl_successors_unpack(const rl_successors *s, size_t lo, size_t count, uint32_t *out) {
    for (size_t i = 0; i < count; i++) copy_row(s, lo + i, out + i * s->total);
}

void rl_successors_rows(const rl_successors *s, const rl_ring *ring, const uint64_t *hashes,
                        size_t count, uint32_t *out) {
    for (size_t i = 0; i < count; i++)
        rl_successors_row(s, ring, hashes[i], out + i * s->total);
}

void rl_successors_word_rows(const rl_successors *s, const rl_ring *ring, const rl_hasher *hasher,
                             const uint64_t *words, size_t count, uint32_t *out) {
    enum { CHUNK = 512 };
    uint64_t hashes[CHUNK];
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        rl_hash_words(hasher, words + i, size, hashes);
        rl_successors_rows(s, ring, hashes, size, out + i * s->total);
    }
}

/* --- closeness ------------------------------------------------------------------------------ */

void rl_rows_by_rank(const uint32_t *in, size_t count, size_t width, const uint8_t *ranks,
                     uint32_t *out) {
    for (size_t i = 0; i < count; i++, in += width, out += width) {
        size_t ends[3] = {0, 0, 0};
        for (size_t j = 0; j < width; j++) ends[ranks[in[j]]]++;
        ends[2] = ends[0] + ends[1];
        ends[1] = ends[0];
        ends[0] = 0;
        for (size_t j = 0; j < width; j++) out[ends[ranks[in[j]]]++] = in[j];
    }
}
