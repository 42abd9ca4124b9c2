#include "multiprobe.h"

#include <assert.h>

#include "simd.h"

#if RL_X86_64
#include <immintrin.h>
#endif

uint32_t rl_multiprobe_bits(size_t count) {
    /* Sixteen buckets of 12 bytes a point while they fit a second-level cache, then four. */
    const uint32_t cached_bits = 16;
    uint32_t bits = rl_ring_start_bits(count) + 4;
    if (bits > cached_bits) bits = bits - 2 > cached_bits ? bits - 2 : cached_bits;
    return bits > 26 ? 26 : bits;
}

/* The closest point so far. */
typedef struct closest {
    uint64_t distance, token;
} closest;

RL_INLINE int is_closer(uint64_t distance, uint64_t token, closest than) {
    return distance < than.distance || (distance == than.distance && token < than.token);
}

/* The first point at or after `probe`, cyclically. */
RL_INLINE size_t point_after(const rl_ring *ring, uint64_t probe) {
    size_t point = rl_ring_find(ring, probe);
    return point == ring->count ? 0 : point;
}

/* A probe that is behind the first point of its own bucket finds its distance just below 2**64:
 * above this. */
RL_INLINE uint64_t behind_of(const rl_ring *ring) {
    return 0 - ((uint64_t)1 << (64 - ring->start_bits));
}

RL_INLINE uint32_t owner_of(const rl_multiprobe *multi, uint64_t hash) {
    const rl_ring *ring = &multi->ring;
    const uint32_t shift = 64 - ring->start_bits;
    const uint64_t behind = behind_of(ring);
    closest best = {UINT64_MAX, UINT64_MAX};
    for (uint32_t i = 0; i < multi->probes; i++) {
        uint64_t probe = rl_placer_rehash(hash, i);
        uint64_t token = multi->firsts[probe >> shift];
        uint64_t distance = token - probe;
        if (RL_UNLIKELY(distance > behind)) {
            token = ring->tokens[point_after(ring, probe)];
            distance = token - probe;
        }
        if (is_closer(distance, token, best)) {
            best.distance = distance;
            best.token = token;
        }
    }
    return ring->owners[rl_ring_find(ring, best.token)];
}

static void owners_scalar(const rl_multiprobe *multi, const uint64_t *hashes, size_t count,
                          uint32_t *out) {
    for (size_t i = 0; i < count; i++) out[i] = owner_of(multi, hashes[i]);
}

#if RL_X86_64
RL_TARGET_AVX512 RL_INLINE __m512i rehash_avx512(__m512i z) {
    const __m512i first = _mm512_set1_epi64((long long)0xBF58476D1CE4E5B9u);
    const __m512i second = _mm512_set1_epi64((long long)0x94D049BB133111EBu);
    z = _mm512_mullo_epi64(_mm512_xor_si512(z, _mm512_srli_epi64(z, 30)), first);
    z = _mm512_mullo_epi64(_mm512_xor_si512(z, _mm512_srli_epi64(z, 27)), second);
    return _mm512_xor_si512(z, _mm512_srli_epi64(z, 31));
}

/* Sixteen keys a turn, in two vectors.  Probes behind the first point of their bucket go to a list
 * without a branch, and are settled when all others are. */
RL_TARGET_AVX512 static size_t owners_avx512(const rl_multiprobe *multi, const uint64_t *hashes,
                                             size_t count, uint32_t *out) {
    enum { VECTORS = 2, LANES = 8 * VECTORS, ASIDE_MAX = 256 };
    const rl_ring *ring = &multi->ring;
    const __m128i shift = _mm_cvtsi32_si128((int)(64 - ring->start_bits));
    const __m512i behind = _mm512_set1_epi64((long long)behind_of(ring));
    const __m512i gamma = _mm512_set1_epi64((long long)0x9E3779B97F4A7C15u);
    const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    uint64_t aside[ASIDE_MAX + 8], aside_lanes[ASIDE_MAX + 8];
    uint64_t distances[LANES], tokens[LANES];
    size_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m512i state[VECTORS], distance[VECTORS], token[VECTORS];
        size_t aside_count = 0;
        for (int v = 0; v < VECTORS; v++) {
            state[v] = _mm512_loadu_si512(hashes + i + 8 * v);
            distance[v] = token[v] = _mm512_set1_epi64(-1);
        }
        for (uint32_t turn = 0; turn < multi->probes; turn++) {
            for (int v = 0; v < VECTORS; v++) {
                __m512i probe = rehash_avx512(state[v]);
                state[v] = _mm512_add_epi64(state[v], gamma);
                __m512i found = _mm512_i64gather_epi64(_mm512_srl_epi64(probe, shift),
                                                       multi->firsts, 8);
                __m512i far = _mm512_sub_epi64(found, probe);
                __mmask8 late = _mm512_cmpgt_epu64_mask(far, behind);
                __mmask8 closer = _mm512_mask_cmplt_epu64_mask((__mmask8)~late, far, distance[v]);
                closer |= _mm512_mask_cmplt_epu64_mask(
                    _mm512_mask_cmpeq_epu64_mask((__mmask8)~late, far, distance[v]), found,
                    token[v]);
                distance[v] = _mm512_mask_mov_epi64(distance[v], closer, far);
                token[v] = _mm512_mask_mov_epi64(token[v], closer, found);
                _mm512_storeu_si512(aside + aside_count, _mm512_maskz_compress_epi64(late, probe));
                _mm512_storeu_si512(
                    aside_lanes + aside_count,
                    _mm512_maskz_compress_epi64(
                        late, _mm512_add_epi64(lanes, _mm512_set1_epi64(8 * v))));
                aside_count += (size_t)_mm_popcnt_u32(late);
            }
            if (RL_LIKELY(aside_count <= ASIDE_MAX - LANES && turn + 1 < multi->probes)) continue;
            for (int v = 0; v < VECTORS; v++) {
                _mm512_storeu_si512(distances + 8 * v, distance[v]);
                _mm512_storeu_si512(tokens + 8 * v, token[v]);
            }
            for (size_t a = 0; a < aside_count; a++) {
                uint64_t found = ring->tokens[point_after(ring, aside[a])];
                size_t lane = (size_t)aside_lanes[a];
                closest best = {distances[lane], tokens[lane]};
                int closer = is_closer(found - aside[a], found, best);
                distances[lane] = closer ? found - aside[a] : best.distance;
                tokens[lane] = closer ? found : best.token;
            }
            aside_count = 0;
            for (int v = 0; v < VECTORS; v++) {
                distance[v] = _mm512_loadu_si512(distances + 8 * v);
                token[v] = _mm512_loadu_si512(tokens + 8 * v);
            }
        }
        for (size_t lane = 0; lane < LANES; lane++)
            out[i + lane] = ring->owners[rl_ring_find(ring, tokens[lane])];
    }
    return i;
}
#endif

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_multiprobe *multi = (const rl_multiprobe *)placer;
    size_t done = 0;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) done = owners_avx512(multi, hashes, count, out);
#endif
    owners_scalar(multi, hashes + done, count - done, out + done);
}

/* --- replicas ------------------------------------------------------------------------------ */

/* A probe's walk along the circle: the point where it stands, and how far that is. */
typedef struct walk {
    uint64_t distance;
    uint32_t point;
    uint32_t left; /* points still to come, this one included */
} walk;

/* Walks in the order of (distance, token, place of the point among equal tokens). */
RL_INLINE int is_before(const rl_ring *ring, const walk *a, const walk *b) {
    if (a->distance != b->distance) return a->distance < b->distance;
    return a->point < b->point;
}

static void sift_down(const rl_ring *ring, walk *heap, size_t count) {
    walk moving = heap[0];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        child += child + 1 < count && is_before(ring, &heap[child + 1], &heap[child]);
        if (!is_before(ring, &heap[child], &moving)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

/* All probes walk at once: whoever is closest gives its node and steps to the next point. */
static void replicas_of(const rl_multiprobe *multi, uint64_t hash, size_t wanted, uint32_t *out,
                        uint64_t *seen) {
    const rl_ring *ring = &multi->ring;
    walk heap[RL_PROBES_MAX];
    size_t count = 0, found = 0;
    for (uint32_t i = 0; i < multi->probes; i++) {
        uint64_t probe = rl_placer_rehash(hash, i);
        walk begun;
        begun.point = (uint32_t)point_after(ring, probe);
        begun.distance = ring->tokens[begun.point] - probe;
        begun.left = (uint32_t)ring->count;
        size_t at = count++; /* sift up */
        for (; at > 0 && is_before(ring, &begun, &heap[(at - 1) / 2]); at = (at - 1) / 2)
            heap[at] = heap[(at - 1) / 2];
        heap[at] = begun;
    }
    while (found < wanted) {
        assert(count > 0);
        uint32_t position = ring->owners[heap[0].point];
        uint64_t bit = (uint64_t)1 << (position % 64);
        if (!(seen[position / 64] & bit)) {
            seen[position / 64] |= bit;
            out[found++] = position;
        }
        if (--heap[0].left == 0) {
            heap[0] = heap[--count];
        } else {
            uint64_t from = ring->tokens[heap[0].point];
            uint32_t next = heap[0].point + 1 == ring->count ? 0 : heap[0].point + 1;
            heap[0].point = next;
            heap[0].distance += ring->tokens[next] - from;
        }
        if (count > 1) sift_down(ring, heap, count);
    }
    for (size_t r = 0; r < wanted; r++) seen[out[r] / 64] = 0;
}

static void replicas(const rl_placer *placer, const uint64_t *hashes, size_t count, size_t wanted,
                     uint32_t *out, uint64_t *seen) {
    const rl_multiprobe *multi = (const rl_multiprobe *)placer;
    for (size_t i = 0; i < count; i++, out += wanted)
        replicas_of(multi, hashes[i], wanted, out, seen);
}

void rl_multiprobe_init(rl_multiprobe *multi, uint32_t probes) {
    const rl_ring *ring = &multi->ring;
    assert(probes >= 1 && probes <= RL_PROBES_MAX && ring->count >= 1);
    multi->probes = probes;
    for (size_t bucket = 0; bucket < (size_t)1 << ring->start_bits; bucket++) {
        size_t point = ring->starts[bucket];
        multi->firsts[bucket] = ring->tokens[point == ring->count ? 0 : point];
    }
    multi->placer.owners = owners;
    multi->placer.replicas = replicas;
}
