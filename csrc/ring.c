#include "ring.h"

#include <assert.h>

#include "simd.h"
#include "xxh3_words.h"

#if RL_X86_64
#include <immintrin.h>
#endif

/* --- sizes ---------------------------------------------------------------------------------- */

static uint32_t log2_ceil(size_t count) {
    uint32_t bits = 0;
    while (((size_t)1 << bits) < count) bits++;
    return bits;
}

uint32_t rl_ring_start_bits(size_t count) {
    uint32_t bits = log2_ceil(count);
    return bits < 1 ? 1 : bits > 26 ? 26 : bits;
}

uint32_t rl_ring_direct_bits(size_t count, size_t id_bound) {
    if (id_bound > RL_DIRECT_IDS_MAX) return 0;
    /* Sixteen words a point while that fits a second-level cache of 1 MiB, then down to four:
     * measured as the best trade of cache misses against keys that need the exact arrays. */
    const uint32_t cached_bits = 18;
    uint32_t bits = log2_ceil(count) + 4;
    if (bits > cached_bits) bits = bits - 2 > cached_bits ? bits - 2 : cached_bits;
    return bits < 8 ? 8 : bits > 30 ? 30 : bits;
}

/* --- exact search --------------------------------------------------------------------------- */

/* Where chosen tokens crowd into one bucket; hashed ones leave one or two there. */
static RL_NOINLINE size_t crowded_find(const rl_ring *ring, uint64_t hash, size_t lo) {
    size_t hi = ring->starts[(hash >> (64 - ring->start_bits)) + 1];
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if (ring->tokens[middle] < hash) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    return lo;
}

/* The first point at or after `lo`, the start of hash's bucket, whose token is >= hash.  Without
 * a branch: tokens of later buckets and of the pad are never below hash, so they count nothing. */
RL_INLINE size_t find_from(const rl_ring *ring, uint64_t hash, size_t lo) {
    const uint64_t *tokens = ring->tokens + lo;
    size_t below = (size_t)(tokens[0] < hash) + (size_t)(tokens[1] < hash) +
                   (size_t)(tokens[2] < hash) + (size_t)(tokens[3] < hash);
    if (RL_UNLIKELY(below == RL_TOKENS_PAD)) return crowded_find(ring, hash, lo + below);
    return lo + below;
}

RL_INLINE size_t find(const rl_ring *ring, uint64_t hash) {
    return find_from(ring, hash, ring->starts[hash >> (64 - ring->start_bits)]);
}

size_t rl_ring_find(const rl_ring *ring, uint64_t hash) { return find(ring, hash); }

/* --- build and change ----------------------------------------------------------------------- */

void rl_ring_node_tokens(const rl_hasher *hasher, uint64_t node_hash, uint64_t first, size_t count,
                         uint64_t *tokens) {
    uint8_t cell[16];
    rl_store64(cell, node_hash);
    for (size_t i = 0; i < count; i++) {
        rl_store64(cell + 8, first + i);
        tokens[i] = rl_hash_bytes(hasher, cell, sizeof cell);
    }
}

/* direct[lo..hi): the first point at or after each bucket, and the split if it is alone in it.
 * Runs of buckets are written in whole strides, so that no branch depends on their lengths: the
 * next point writes over what is too much, and behind the last there is the pad.  A stride of 1
 * writes nothing outside. */
RL_INLINE void fill_direct(rl_ring *ring, size_t lo, size_t hi, const size_t stride) {
    const uint32_t shift = 64 - ring->direct_bits;
    uint32_t *direct = ring->direct;
    size_t bucket = lo; /* the first not yet written */
    size_t point = find(ring, (uint64_t)lo << shift);
    for (; point < ring->count; point++) {
        uint64_t token = ring->tokens[point];
        size_t own = (size_t)(token >> shift);
        if (own >= hi) break;
        if (own < bucket) { /* not the first in its bucket */
            direct[own] |= RL_SPLIT_EXACT;
            continue;
        }
        uint32_t owner = ring->owners[point] << 16;
        do {
            for (size_t i = 0; i < stride; i++) direct[bucket + i] = owner;
            bucket += stride;
        } while (bucket <= own);
        direct[own] = owner | ((uint32_t)(token >> (shift - 16)) & 0xFFFF);
        bucket = own + 1;
    }
    for (; bucket < hi; bucket++) direct[bucket] = ring->owners[point] << 16;
}

static void pad_points(rl_ring *ring) {
    for (size_t i = 0; i < RL_TOKENS_PAD; i++) ring->tokens[ring->count + i] = UINT64_MAX;
    /* Read from the pad itself where the ring is shorter than the pad. */
    for (size_t i = 0; i < RL_OWNERS_PAD; i++) ring->owners[ring->count + i] = ring->owners[i];
}

static void finish_direct(rl_ring *ring) {
    ring->direct[(size_t)1 << ring->direct_bits] = ring->owners[0] << 16;
}

void rl_ring_build(rl_ring *ring, const uint64_t *tokens, const uint32_t *counts) {
    const size_t count = ring->count, buckets = (size_t)1 << ring->start_bits;
    const uint32_t shift = 64 - ring->start_bits;
    uint32_t *starts = ring->starts;
    assert(count >= 1 && count < UINT32_MAX);

    /* Counting sort by the top bits; starts[b] moves from b's first place to its last. */
    memset(starts, 0, (buckets + 1) * sizeof *starts);
    for (size_t i = 0; i < count; i++) starts[tokens[i] >> shift]++;
    uint32_t total = 0;
    for (size_t b = 0; b < buckets; b++) {
        uint32_t size = starts[b];
        starts[b] = total;
        total += size;
    }
    uint32_t id = 0;
    for (size_t i = 0, end = counts[0]; i < count; i++) {
        while (i == end) end += counts[++id];
        size_t place = starts[tokens[i] >> shift]++;
        ring->tokens[place] = tokens[i];
        ring->owners[place] = id;
    }
    for (size_t b = buckets; b > 0; b--) starts[b] = starts[b - 1];
    starts[0] = 0;

    /* Insertion sort: a bucket holds a point or two, and equal tokens keep their order. */
    for (size_t i = 1; i < count; i++) {
        uint64_t token = ring->tokens[i];
        if (RL_LIKELY(ring->tokens[i - 1] <= token)) continue;
        uint32_t owner = ring->owners[i];
        size_t j = i;
        for (; j > 0 && ring->tokens[j - 1] > token; j--) {
            ring->tokens[j] = ring->tokens[j - 1];
            ring->owners[j] = ring->owners[j - 1];
        }
        ring->tokens[j] = token;
        ring->owners[j] = owner;
    }
    pad_points(ring);
    if (ring->direct_bits != 0) {
        fill_direct(ring, 0, (size_t)1 << ring->direct_bits, RL_DIRECT_PAD);
        finish_direct(ring);
    }
}

static void copy_points(rl_ring *ring, size_t to, const rl_ring *old, size_t from, size_t count) {
    memcpy(ring->tokens + to, old->tokens + from, count * sizeof *ring->tokens);
    memcpy(ring->owners + to, old->owners + from, count * sizeof *ring->owners);
}

/* starts of the new ring: each bucket moves by the number of changes before it, times `step`. */
static void shift_starts(rl_ring *ring, const rl_ring *old, const uint64_t *changes,
                         size_t change_count, uint32_t step) {
    const size_t buckets = (size_t)1 << ring->start_bits;
    size_t bucket = 0;
    uint32_t moved = 0;
    for (size_t i = 0; i <= change_count; i++, moved += step) {
        size_t end = i == change_count ? buckets
                                       : (size_t)(changes[i] >> (64 - ring->start_bits));
        for (; bucket <= end; bucket++) ring->starts[bucket] = old->starts[bucket] + moved;
    }
}

void rl_ring_insert(rl_ring *ring, const rl_ring *old, const uint64_t *changes,
                    size_t change_count, uint32_t id, const uint32_t *ranks) {
    size_t from = 0, to = 0;
    for (size_t i = 0; i < change_count; i++) {
        size_t place = find(old, changes[i]);
        while (place < old->count && old->tokens[place] == changes[i] &&
               ranks[old->owners[place]] <= ranks[id])
            place++;
        copy_points(ring, to, old, from, place - from);
        to += place - from;
        from = place;
        ring->tokens[to] = changes[i];
        ring->owners[to++] = id;
    }
    copy_points(ring, to, old, from, old->count - from);
    ring->count = old->count + change_count;
    pad_points(ring);
    shift_starts(ring, old, changes, change_count, 1);
}

int rl_ring_remove(rl_ring *ring, const rl_ring *old, const uint64_t *changes,
                   size_t change_count, uint32_t id) {
    size_t from = 0, to = 0;
    for (size_t i = 0; i < change_count; i++) {
        size_t place = find(old, changes[i]);
        /* A node's two equal tokens are two points: the second is found behind the first. */
        if (place < from) place = from;
        while (place < old->count && old->tokens[place] == changes[i] && old->owners[place] != id)
            place++;
        if (place == old->count || old->tokens[place] != changes[i]) return -1;
        copy_points(ring, to, old, from, place - from);
        to += place - from;
        from = place + 1;
    }
    copy_points(ring, to, old, from, old->count - from);
    ring->count = old->count - change_count;
    pad_points(ring);
    shift_starts(ring, old, changes, change_count, (uint32_t)-1);
    return 0;
}

void rl_ring_patch_direct(rl_ring *ring, const uint64_t *changes, size_t change_count) {
    const uint32_t shift = 64 - ring->direct_bits;
    /* A bucket changes where a changed point lies in it, or was or became the first point after
     * it: the buckets from the one behind the previous point up to the changed point's own. */
    for (size_t i = 0; i < change_count; i++) {
        size_t bucket = (size_t)(changes[i] >> shift);
        size_t point = find(ring, changes[i]);
        size_t lo = point == 0 ? 0 : (size_t)(ring->tokens[point - 1] >> shift) + 1;
        fill_direct(ring, lo < bucket ? lo : bucket, bucket + 1, 1);
    }
    /* Behind the last point the circle wraps to the first, whoever owns it now. */
    size_t last = (size_t)(ring->tokens[ring->count - 1] >> shift);
    fill_direct(ring, last, (size_t)1 << ring->direct_bits, 1);
    finish_direct(ring);
}

/* --- owners of many hashes ------------------------------------------------------------------ */

/* Hashes that the direct table could not decide, settled together so that their cache misses
 * overlap instead of stalling the vector loop one by one. */
enum { PENDING_MAX = 256 };
typedef struct pending {
    size_t count;
    uint64_t hashes[PENDING_MAX + 16];
    uint32_t places[PENDING_MAX + 16];
} pending;

static void settle(const rl_ring *ring, pending *undecided, uint32_t *out) {
    for (size_t i = 0; i < undecided->count; i++)
        out[undecided->places[i]] = ring->owners[find(ring, undecided->hashes[i])];
    undecided->count = 0;
}

/* A bucket's word in the low half, the next one's in the high half. */
RL_INLINE uint64_t load_pair(const uint32_t *words) {
#if RL_BIG_ENDIAN
    return (uint64_t)words[0] | (uint64_t)words[1] << 32;
#else
    uint64_t pair;
    memcpy(&pair, words, sizeof pair);
    return pair;
#endif
}

/* What one compare says: the owner, and whether the exact arrays must be asked instead. */
typedef struct verdict {
    uint32_t owner;
    uint32_t exact;
} verdict;

RL_INLINE verdict direct_verdict(const uint32_t *direct, uint32_t to_split, uint64_t hash) {
    uint64_t bucket_split = hash >> to_split;
    uint64_t pair = load_pair(direct + (bucket_split >> 16));
    uint32_t below = (uint16_t)bucket_split, split = (uint16_t)pair;
    uint32_t here = (uint16_t)(pair >> 16), next = (uint32_t)(pair >> 48);
    verdict v;
    v.owner = below > split ? next : here;
    v.exact = (uint32_t)(below == split) | (uint32_t)(split == RL_SPLIT_EXACT);
    return v;
}

uint32_t rl_ring_owner(const rl_ring *ring, uint64_t hash) {
    if (ring->direct_bits != 0) {
        verdict v = direct_verdict(ring->direct, 48 - ring->direct_bits, hash);
        if (RL_LIKELY(!v.exact)) return v.owner;
    }
    return ring->owners[find(ring, hash)];
}

/* Four keys a turn: their cache misses overlap, and one branch serves them all. */
static void owners_scalar(const rl_ring *ring, const uint64_t *hashes, size_t count,
                          uint32_t *out) {
    const uint32_t *direct = ring->direct;
    const uint32_t to_split = 48 - ring->direct_bits;
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        verdict a = direct_verdict(direct, to_split, hashes[i]);
        verdict b = direct_verdict(direct, to_split, hashes[i + 1]);
        verdict c = direct_verdict(direct, to_split, hashes[i + 2]);
        verdict d = direct_verdict(direct, to_split, hashes[i + 3]);
        out[i] = a.owner;
        out[i + 1] = b.owner;
        out[i + 2] = c.owner;
        out[i + 3] = d.owner;
        if (RL_UNLIKELY(a.exact | b.exact | c.exact | d.exact))
            for (size_t j = i; j < i + 4; j++) out[j] = rl_ring_owner(ring, hashes[j]);
    }
    for (; i < count; i++) out[i] = rl_ring_owner(ring, hashes[i]);
}

static void owners_exact(const rl_ring *ring, const uint64_t *hashes, size_t count,
                         uint32_t *out) {
    /* Three cache misses a key in a row; two distances of prefetches make them overlap. */
    enum { AHEAD = 16 };
    const uint32_t shift = 64 - ring->start_bits;
    for (size_t i = 0; i < count; i++) {
        if (i + 2 * AHEAD < count) rl_prefetch(ring->starts + (hashes[i + 2 * AHEAD] >> shift));
        if (i + AHEAD < count) rl_prefetch(ring->tokens + ring->starts[hashes[i + AHEAD] >> shift]);
        out[i] = ring->owners[find(ring, hashes[i])];
    }
}

#if RL_X86_64
/* AVX2's gathers lose to plain loads, so the loads stand in a loop of their own, in which nothing
 * waits for a miss; before and after it there is arithmetic on four keys at a time. */
RL_TARGET_AVX2 static void owners_avx2(const rl_ring *ring, const uint64_t *hashes, size_t count,
                                       uint32_t *out) {
    enum { STRIDE = 32 };
    uint64_t buckets[STRIDE], pairs[STRIDE];
    const __m128i to_split = _mm_cvtsi32_si128((int)(48 - ring->direct_bits));
    const __m256i low16 = _mm256_set1_epi64x(0xFFFF);
    const __m256i even = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    size_t i = 0;
    for (; i + STRIDE <= count; i += STRIDE) {
        for (size_t j = 0; j < STRIDE; j += 4) {
            __m256i hash = _mm256_loadu_si256((const __m256i *)(hashes + i + j));
            __m256i bucket = _mm256_srli_epi64(_mm256_srl_epi64(hash, to_split), 16);
            _mm256_storeu_si256((__m256i *)(buckets + j), bucket);
        }
        for (size_t j = 0; j < STRIDE; j++) pairs[j] = load_pair(ring->direct + buckets[j]);
        __m256i exact = _mm256_setzero_si256();
        for (size_t j = 0; j < STRIDE; j += 4) {
            __m256i hash = _mm256_loadu_si256((const __m256i *)(hashes + i + j));
            __m256i pair = _mm256_loadu_si256((const __m256i *)(pairs + j));
            __m256i below = _mm256_and_si256(_mm256_srl_epi64(hash, to_split), low16);
            __m256i split = _mm256_and_si256(pair, low16);
            __m256i here = _mm256_and_si256(_mm256_srli_epi64(pair, 16), low16);
            __m256i next = _mm256_srli_epi64(pair, 48);
            __m256i owner = _mm256_blendv_epi8(here, next, _mm256_cmpgt_epi64(below, split));
            __m128i packed =
                _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(owner, even));
            _mm_storeu_si128((__m128i *)(out + i + j), packed);
            exact = _mm256_or_si256(exact, _mm256_cmpeq_epi64(below, split));
            exact = _mm256_or_si256(exact, _mm256_cmpeq_epi64(split, low16));
        }
        if (RL_UNLIKELY(!_mm256_testz_si256(exact, exact)))
            for (size_t j = 0; j < STRIDE; j++) out[i + j] = rl_ring_owner(ring, hashes[i + j]);
    }
    for (; i < count; i++) out[i] = rl_ring_owner(ring, hashes[i]);
}

/* Sixteen keys a turn: two gathers of eight pairs of words.  words: hash them first. */
RL_TARGET_AVX512 RL_INLINE void owners_avx512(const rl_ring *ring, const uint64_t *input,
                                              size_t count, uint32_t *out, int words,
                                              rl_xxh3_word_keys keys) {
    const __m128i to_split = _mm_cvtsi32_si128((int)(48 - ring->direct_bits));
    const __m512i low16 = _mm512_set1_epi64(0xFFFF);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const char *direct = (const char *)ring->direct;
    pending undecided;
    undecided.count = 0;
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        if (words) {
            /* Past the end too, where a pointer may not go but a hint may. */
            uintptr_t ahead = (uintptr_t)(input + i) + 1024;
            rl_prefetch_once((const void *)ahead);
            rl_prefetch_once((const void *)(ahead + 64));
        }
        __m512i a = _mm512_loadu_si512(input + i);
        __m512i b = _mm512_loadu_si512(input + i + 8);
        if (words) {
            a = rl_xxh3_words_avx512(keys, a);
            b = rl_xxh3_words_avx512(keys, b);
        }
        __m512i top_a = _mm512_srl_epi64(a, to_split);
        __m512i top_b = _mm512_srl_epi64(b, to_split);
        __m512i pair_a = _mm512_i64gather_epi64(_mm512_srli_epi64(top_a, 16), direct, 4);
        __m512i pair_b = _mm512_i64gather_epi64(_mm512_srli_epi64(top_b, 16), direct, 4);
        __m512i below_a = _mm512_and_si512(top_a, low16);
        __m512i below_b = _mm512_and_si512(top_b, low16);
        __m512i split_a = _mm512_and_si512(pair_a, low16);
        __m512i split_b = _mm512_and_si512(pair_b, low16);
        __mmask8 next_a = _mm512_cmpgt_epu64_mask(below_a, split_a);
        __mmask8 next_b = _mm512_cmpgt_epu64_mask(below_b, split_b);
        __mmask8 exact_a = (__mmask8)(_mm512_cmpeq_epu64_mask(below_a, split_a) |
                                      _mm512_cmpeq_epu64_mask(split_a, low16));
        __mmask8 exact_b = (__mmask8)(_mm512_cmpeq_epu64_mask(below_b, split_b) |
                                      _mm512_cmpeq_epu64_mask(split_b, low16));
        __m512i owner_a = _mm512_and_si512(_mm512_srli_epi64(pair_a, 16), low16);
        __m512i owner_b = _mm512_and_si512(_mm512_srli_epi64(pair_b, 16), low16);
        owner_a = _mm512_mask_srli_epi64(owner_a, next_a, pair_a, 48);
        owner_b = _mm512_mask_srli_epi64(owner_b, next_b, pair_b, 48);
        _mm256_storeu_si256((__m256i *)(out + i), _mm512_cvtepi64_epi32(owner_a));
        _mm256_storeu_si256((__m256i *)(out + i + 8), _mm512_cvtepi64_epi32(owner_b));
        uint32_t exact = (uint32_t)exact_a | (uint32_t)exact_b << 8;
        if (RL_UNLIKELY(exact)) {
            uint64_t *to = undecided.hashes + undecided.count;
            size_t found_a = (size_t)_mm_popcnt_u32(exact_a);
            _mm512_storeu_si512(to, _mm512_maskz_compress_epi64(exact_a, a));
            _mm512_storeu_si512(to + found_a, _mm512_maskz_compress_epi64(exact_b, b));
            __m512i places = _mm512_add_epi32(_mm512_set1_epi32((int)i), lanes);
            _mm512_storeu_si512(undecided.places + undecided.count,
                                _mm512_maskz_compress_epi32((__mmask16)exact, places));
            undecided.count += (size_t)_mm_popcnt_u32(exact);
            if (undecided.count > PENDING_MAX - 16) settle(ring, &undecided, out);
        }
    }
    settle(ring, &undecided, out);
    for (; i < count; i++)
        out[i] = rl_ring_owner(ring, words ? rl_xxh3_word(keys, input[i]) : input[i]);
}

RL_TARGET_AVX512 static void hash_owners_avx512(const rl_ring *ring, const uint64_t *hashes,
                                                size_t count, uint32_t *out) {
    rl_xxh3_word_keys none = {0};
    owners_avx512(ring, hashes, count, out, 0, none);
}

RL_TARGET_AVX512 static void word_owners_avx512(const rl_ring *ring, const uint64_t *words,
                                                size_t count, uint32_t *out,
                                                rl_xxh3_word_keys keys) {
    owners_avx512(ring, words, count, out, 1, keys);
}
#endif

void rl_ring_owners(const rl_ring *ring, const uint64_t *hashes, size_t count, uint32_t *out) {
    if (ring->direct_bits == 0) {
        owners_exact(ring, hashes, count, out);
        return;
    }
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) {
        hash_owners_avx512(ring, hashes, count, out);
        return;
    }
    if (rl_simd() >= RL_SIMD_AVX2) {
        owners_avx2(ring, hashes, count, out);
        return;
    }
#endif
    owners_scalar(ring, hashes, count, out);
}

void rl_ring_word_owners(const rl_ring *ring, const rl_hasher *hasher, const uint64_t *words,
                         size_t count, uint32_t *out) {
#if RL_X86_64
    if (hasher->kind == RL_HASH_XXH3 && ring->direct_bits != 0 && rl_simd() >= RL_SIMD_AVX512) {
        word_owners_avx512(ring, words, count, out, rl_xxh3_word_keys_init(hasher->seed));
        return;
    }
#endif
    enum { CHUNK = 512 };
    uint64_t hashes[CHUNK];
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        rl_hash_words(hasher, words + i, size, hashes);
        rl_ring_owners(ring, hashes, size, out + i);
    }
}

/* --- replicas ------------------------------------------------------------------------------- */

static RL_NOINLINE void walk_from(const rl_ring *ring, size_t point, size_t wanted,
                                  uint32_t *ids, uint64_t *seen) {
    size_t found = 0;
    for (size_t step = 0; step < ring->count && found < wanted; step++) {
        if (point >= ring->count) point = 0;
        uint32_t id = ring->owners[point++];
        if (wanted <= RL_WALK_LINEAR) {
            size_t i = 0;
            while (i < found && ids[i] != id) i++;
            if (i < found) continue;
        } else {
            uint64_t bit = (uint64_t)1 << (id & 63);
            if (seen[id >> 6] & bit) continue;
            seen[id >> 6] |= bit;
        }
        ids[found++] = id;
    }
    assert(found == wanted);
    if (wanted > RL_WALK_LINEAR)
        for (size_t i = 0; i < found; i++) seen[ids[i] >> 6] = 0;
}

/* Neighbours on the circle mostly belong to distinct nodes: then they are the answer. */
RL_INLINE void walk(const rl_ring *ring, size_t point, size_t wanted, uint32_t *ids,
                    uint64_t *seen) {
    const uint32_t *owners = ring->owners + point;
    if (wanted == 3) {
        uint32_t a = owners[0], b = owners[1], c = owners[2];
        ids[0] = a;
        ids[1] = b;
        ids[2] = c;
        if (RL_LIKELY((a != b) & (b != c) & (a != c))) return;
    } else if (wanted == 2) {
        ids[0] = owners[0];
        ids[1] = owners[1];
        if (RL_LIKELY(ids[0] != ids[1])) return;
    }
    walk_from(ring, point, wanted, ids, seen);
}

void rl_ring_walk(const rl_ring *ring, uint64_t hash, size_t wanted, uint32_t *ids,
                  uint64_t *seen) {
    size_t start = ring->starts[hash >> (64 - ring->start_bits)];
    rl_prefetch(ring->owners + start);
    walk(ring, find_from(ring, hash, start), wanted, ids, seen);
}

void rl_ring_walks(const rl_ring *ring, const uint64_t *hashes, size_t count, size_t wanted,
                   uint32_t *ids, uint64_t *seen) {
    enum { CHUNK = 64 };
    uint32_t points[CHUNK];
    const uint32_t shift = 64 - ring->start_bits;
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        /* One kind of cache miss at a time, all of a chunk's in flight together. */
        for (size_t j = 0; j < size; j++) {
            points[j] = ring->starts[hashes[i + j] >> shift];
            rl_prefetch(ring->tokens + points[j]);
            rl_prefetch(ring->owners + points[j]);
        }
        for (size_t j = 0; j < size; j++)
            walk(ring, find_from(ring, hashes[i + j], points[j]), wanted, ids + (i + j) * wanted,
                 seen);
    }
}

/* --- the rest ------------------------------------------------------------------------------- */

void rl_ring_arcs(const rl_ring *ring, uint64_t *low, uint64_t *high) {
    uint64_t previous = ring->tokens[ring->count - 1];
    if (ring->tokens[0] == previous) high[ring->owners[0]]++; /* one token owns the whole circle */
    for (size_t i = 0; i < ring->count; i++) {
        uint64_t arc = ring->tokens[i] - previous;
        uint32_t id = ring->owners[i];
        previous = ring->tokens[i];
        low[id] += arc;
        high[id] += low[id] < arc;
    }
}

void rl_map_u32(uint32_t *values, size_t count, const uint32_t *map) {
    for (size_t i = 0; i < count; i++) values[i] = map[values[i]];
}
