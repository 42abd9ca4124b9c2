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

void rl_successors_plan(rl_successors *s, const rl_rule *rule, size_t count) {
    s->count = count;
    s->total = rule->total;
    s->is_wide = rule->node_count > 65536;
    /* Short rows do not cross a cache line, and are copied as a whole. */
    s->stride = rule->total <= 4 ? 4 : rule->total <= 8 ? 8 : (rule->total + 15) / 16 * 16;
}

static void fill_splits(const rl_successors *s, const rl_ring *ring) {
    const uint32_t shift = 48 - ring->start_bits;
    for (size_t point = 0; point < ring->count + RL_TOKENS_PAD; point++)
        s->splits[point] = (uint16_t)(ring->tokens[point] >> shift);
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
    fill_splits(s, view->ring);
    return s->is_wide ? build_rows(s, rule, view, stamps, 1)
                      : build_rows(s, rule, view, stamps, 0);
}

/* --- rows of many hashes -------------------------------------------------------------------- */

/* The point of a hash, or count for the first; *exact becomes 1 when the ring has to be asked. */
RL_INLINE uint32_t near_point(const rl_successors *s, const rl_ring *ring, uint64_t hash,
                              uint32_t *exact) {
    const uint32_t *starts = ring->starts + (hash >> (64 - ring->start_bits));
    const uint32_t below = (uint16_t)(hash >> (48 - ring->start_bits));
    const uint32_t point = starts[0], size = starts[1] - point;
    const uint16_t *splits = s->splits + point;
    uint32_t passed = 0, tied = size > 4;
    for (uint32_t i = 0; i < 4; i++) { /* without a branch */
        passed += (i < size) & (splits[i] < below);
        tied |= (i < size) & (splits[i] == below);
    }
    *exact = tied;
    return point + passed;
}

RL_INLINE uint32_t point_of(const rl_successors *s, const rl_ring *ring, uint64_t hash) {
    uint32_t exact, point = near_point(s, ring, hash, &exact);
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

/* Rows are fetched a chunk at a time: the points of all its hashes first, each row asked for as
 * soon as its point is known, then the rows. */
enum { CHUNK = 256 };

static void settle(const rl_ring *ring, const uint64_t *hashes, const uint8_t *places,
                   size_t count, uint32_t *points) {
    for (size_t i = 0; i < count; i++)
        points[places[i]] = (uint32_t)rl_ring_find(ring, hashes[places[i]]);
}

RL_INLINE void ask_for_row(const rl_successors *s, size_t point) {
    rl_prefetch((const char *)s->rows + point * s->stride * (s->is_wide ? 4 : 2));
}

/* The points of up to CHUNK hashes; branches only for the hashes that need the exact arrays. */
static void points_scalar(const rl_successors *s, const rl_ring *ring, const uint64_t *hashes,
                          size_t count, uint32_t *points) {
    uint8_t places[CHUNK];
    size_t undecided = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t exact;
        points[i] = near_point(s, ring, hashes[i], &exact);
        ask_for_row(s, points[i]);
        places[undecided] = (uint8_t)i;
        undecided += exact;
    }
    settle(ring, hashes, places, undecided, points);
}

/* Rows of u16 as rows of u32, a whole stride at a time: what is too much is overwritten by the row
 * behind, and the last rows are copied exactly. */
RL_INLINE void copy_short(const rl_successors *s, const uint32_t *points, size_t count,
                          uint32_t *out, const size_t stride) {
    const uint16_t *rows = s->rows;
    const size_t total = s->total, cells = count * total;
    size_t i = 0, whole = cells < stride ? 0 : (cells - stride) / total + 1;
    for (; i < whole; i++) {
        const uint16_t *row = rows + points[i] * stride;
        uint32_t *to = out + i * total;
        for (size_t j = 0; j < stride; j++) to[j] = row[j];
    }
    for (; i < count; i++) copy_row(s, points[i], out + i * total);
}

RL_INLINE void copy_rows(const rl_successors *s, const uint32_t *points, size_t count,
                         uint32_t *out) {
    if (s->is_wide) {
        for (size_t i = 0; i < count; i++)
            memcpy(out + i * s->total, (const uint32_t *)s->rows + points[i] * s->stride,
                   s->total * sizeof *out);
    } else if (s->stride == 4) {
        copy_short(s, points, count, out, 4);
    } else if (s->stride == 8) {
        copy_short(s, points, count, out, 8);
    } else if (s->stride == 16) {
        copy_short(s, points, count, out, 16);
    } else {
        for (size_t i = 0; i < count; i++) copy_row(s, points[i], out + i * s->total);
    }
}

static void copy_rows_scalar(const rl_successors *s, const uint32_t *points, size_t count,
                             uint32_t *out) {
    copy_rows(s, points, count, out);
}

#if RL_X86_64
RL_TARGET_AVX2 static void copy_rows_avx2(const rl_successors *s, const uint32_t *points,
                                          size_t count, uint32_t *out) {
    copy_rows(s, points, count, out);
}

/* Eight hashes a turn: a gather of their buckets, and one of four tokens' bits in each. */
RL_TARGET_AVX512 RL_INLINE void points_avx512(const rl_successors *s, const rl_ring *ring,
                                              const uint64_t *input, size_t count,
                                              uint32_t *points, uint64_t *hashes, int words,
                                              rl_xxh3_word_keys keys) {
    const __m128i to_bucket = _mm_cvtsi32_si128((int)(64 - ring->start_bits));
    const __m128i to_split = _mm_cvtsi32_si128((int)(48 - ring->start_bits));
    const __m512i low32 = _mm512_set1_epi64(UINT32_MAX), ones = _mm512_set1_epi64(-1);
    const __m512i four = _mm512_set1_epi64(4), three_bits = _mm512_set1_epi64(7);
    const __m512i low_cells = /* the lowest 16 bits of each hash, four times */
        _mm512_set4_epi32(0x09080908, 0x09080908, 0x01000100, 0x01000100);
    const __m128i lanes = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    uint8_t places[CHUNK + 16];
    size_t undecided = 0, i = 0;
    for (; i + 8 <= count; i += 8) {
        __m512i hash = _mm512_loadu_si512(input + i);
        if (words) {
            hash = rl_xxh3_words_avx512(keys, hash);
            _mm512_storeu_si512(hashes + i, hash);
        }
        __m512i pair = _mm512_i64gather_epi64(_mm512_srl_epi64(hash, to_bucket), ring->starts, 4);
        __m512i start = _mm512_and_si512(pair, low32);
        __m512i size = _mm512_sub_epi64(_mm512_srli_epi64(pair, 32), start);
        __m512i splits = _mm512_i64gather_epi64(start, s->splits, 2);
        __m512i below = _mm512_shuffle_epi8(_mm512_srl_epi64(hash, to_split), low_cells);
        __mmask32 inside = (__mmask32)~_mm512_movepi16_mask(
            _mm512_sllv_epi64(ones, _mm512_slli_epi64(size, 4)));
        __mmask32 before = _mm512_mask_cmplt_epu16_mask(inside, splits, below);
        __mmask32 tied = _mm512_mask_cmpeq_epu16_mask(inside, splits, below);
        __m512i passed = _mm512_maskz_set1_epi16(before, 1);
        passed = _mm512_add_epi16(passed, _mm512_srli_epi64(passed, 32));
        passed = _mm512_add_epi16(passed, _mm512_srli_epi64(passed, 16));
        __m512i at = _mm512_add_epi64(start, _mm512_and_si512(passed, three_bits));
        _mm256_storeu_si256((__m256i *)(points + i), _mm512_cvtepi64_epi32(at));
        __m512i ties = _mm512_movm_epi16(tied);
        __mmask8 exact = (__mmask8)(_mm512_test_epi64_mask(ties, ties) |
                                    _mm512_cmpgt_epu64_mask(size, four));
        for (size_t j = i; j < i + 8; j++) ask_for_row(s, points[j]);
        if (RL_UNLIKELY(exact)) {
            __m128i place = _mm_add_epi8(_mm_set1_epi8((char)i), lanes);
            __m128i left = _mm512_cvtepi32_epi8(
                _mm512_maskz_compress_epi32(exact, _mm512_cvtepu8_epi32(place)));
            _mm_storeu_si128((__m128i *)(places + undecided), left);
            undecided += (size_t)_mm_popcnt_u32(exact);
        }
    }
    for (; i < count; i++) {
        uint32_t exact;
        uint64_t hash = words ? (hashes[i] = rl_xxh3_word(keys, input[i])) : input[i];
        points[i] = near_point(s, ring, hash, &exact);
        places[undecided] = (uint8_t)i;
        undecided += exact;
    }
    settle(ring, words ? hashes : input, places, undecided, points);
}

RL_TARGET_AVX512 static void hash_points_avx512(const rl_successors *s, const rl_ring *ring,
                                                const uint64_t *hashes, size_t count,
                                                uint32_t *points) {
    rl_xxh3_word_keys none = {0};
    points_avx512(s, ring, hashes, count, points, NULL, 0, none);
}

RL_TARGET_AVX512 static void word_points_avx512(const rl_successors *s, const rl_ring *ring,
                                                const uint64_t *words, size_t count,
                                                uint32_t *points, rl_xxh3_word_keys keys) {
    uint64_t hashes[CHUNK];
    points_avx512(s, ring, words, count, points, hashes, 1, keys);
}
#endif

typedef void find_points(const rl_successors *s, const rl_ring *ring, const uint64_t *hashes,
                         size_t count, uint32_t *points);
typedef void copy_points(const rl_successors *s, const uint32_t *points, size_t count,
                         uint32_t *out);

void rl_successors_rows(const rl_successors *s, const rl_ring *ring, const uint64_t *hashes,
                        size_t count, uint32_t *out) {
    uint32_t points[CHUNK];
    find_points *find = points_scalar;
    copy_points *copy = copy_rows_scalar;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX2) copy = copy_rows_avx2;
    if (rl_simd() >= RL_SIMD_AVX512) find = hash_points_avx512;
#endif
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        find(s, ring, hashes + i, size, points);
        copy(s, points, size, out + i * s->total);
    }
}

void rl_successors_word_rows(const rl_successors *s, const rl_ring *ring, const rl_hasher *hasher,
                             const uint64_t *words, size_t count, uint32_t *out) {
    uint64_t hashes[CHUNK];
#if RL_X86_64
    const int fused = hasher->kind == RL_HASH_XXH3 && rl_simd() >= RL_SIMD_AVX512;
    rl_xxh3_word_keys keys = rl_xxh3_word_keys_init(hasher->seed);
#endif
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        uint32_t *to = out + i * s->total;
#if RL_X86_64
        if (fused) {
            uint32_t points[CHUNK];
            word_points_avx512(s, ring, words + i, size, points, keys);
            copy_rows_avx2(s, points, size, to);
            continue;
        }
#endif
        rl_hash_words(hasher, words + i, size, hashes);
        rl_successors_rows(s, ring, hashes, size, to);
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
