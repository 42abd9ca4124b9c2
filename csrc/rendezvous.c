#include "rendezvous.h"

#include "mix.h"
#include "murmur3.h"
#include "simd.h"

/* Every operation below rounds on its own: times are part of the format. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#define LN_2 0.69314718055994530942
#define TO_FRACTION (1.0 / 18446744073709551616.0) /* 2**-64 */
#define TERMS 10
/* 1/19, 1/17, ... 1: of 2 atanh(s) = 2 s (1 + s**2/3 + s**4/5 + ...) */
static const double SERIES[TERMS] = {1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11,
                                     1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};

double rl_rendezvous_exponential(uint64_t draw) {
    double whole = 0;
    while (draw >> 63) { /* 1 - draw/2**64 = 2**-ones (1 - rest/2**64) */
        whole += 1;
        draw <<= 1;
    }
    double x = (double)(int64_t)draw * TO_FRACTION;
    double s = x / (2.0 - x);
    double square = s * s;
    double sum = SERIES[0];
    for (int i = 1; i < TERMS; i++) {
        double product = sum * square;
        sum = product + SERIES[i];
    }
    double twice = s + s;
    double part = twice * sum;
    double octaves = whole * LN_2;
    return octaves + part;
}

double rl_rendezvous_bound(double weight) {
    /* Where a division could round badly, nothing is known. */
    if (!(weight > 1e-200 && weight < 1e200)) return 0;
    return (1 - 1.0 / 1048576) / weight * TO_FRACTION;
}

typedef struct contest {
    double time;
    uint64_t draw;
    uint32_t entry;
} contest;

/* Does entry b, which stands after a, win? */
RL_INLINE int wins(double time_b, uint64_t draw_b, double time_a, uint64_t draw_a) {
    return time_b < time_a || (time_b == time_a && draw_b <= draw_a);
}

/* --- one hash, one group ---------------------------------------------------------------------- */

static uint32_t pick_even(const uint64_t *salts, uint32_t lo, uint32_t hi, uint64_t hash) {
    uint64_t best = UINT64_MAX;
    uint32_t at = lo;
    for (uint32_t j = lo; j < hi; j++) {
        uint64_t draw = rl_mix(hash, salts[j]);
        at = draw <= best ? j : at;
        best = draw <= best ? draw : best;
    }
    return at;
}

static uint32_t pick_weighted(const rl_rendezvous *state, uint32_t lo, uint32_t hi,
                              uint64_t hash) {
    uint64_t best_draw = rl_mix(hash, state->salts[lo]);
    double best = rl_rendezvous_exponential(best_draw) / state->weights[lo];
    uint32_t at = lo;
    for (uint32_t j = lo + 1; j < hi; j++) {
        uint64_t draw = rl_mix(hash, state->salts[j]);
        double half = (double)(int64_t)(draw >> 1);
        if ((half + half) * state->bounds[j] > best) continue;
        double time = rl_rendezvous_exponential(draw) / state->weights[j];
        if (wins(time, draw, best, best_draw)) {
            best = time;
            best_draw = draw;
            at = j;
        }
    }
    return at;
}

#if RL_X86_64

/* A lane for each entry. */
RL_TARGET_AVX512 static uint32_t pick_even_avx512(const uint64_t *salts, uint32_t lo, uint32_t hi,
                                                  uint64_t hash) {
    const __m512i hashes = _mm512_set1_epi64((long long)hash), eight = _mm512_set1_epi64(8);
    __m512i best = _mm512_set1_epi64(-1);
    __m512i entry = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                                     _mm512_set1_epi64(lo));
    __m512i at = entry;
    for (uint32_t j = lo; j < hi; j += 8) {
        __mmask8 inside = hi - j >= 8 ? 0xFF : (__mmask8)((1u << (hi - j)) - 1);
        __m512i draw =
            rl_mix_avx512(hashes, _mm512_maskz_loadu_epi64(inside, salts + j));
        __mmask8 better = _mm512_mask_cmple_epu64_mask(inside, draw, best);
        best = _mm512_mask_mov_epi64(best, better, draw);
        at = _mm512_mask_mov_epi64(at, better, entry);
        entry = _mm512_add_epi64(entry, eight);
    }
    /* Lanes past a short group's end hold the largest draw and must not win a tie with it. */
    __mmask8 inside = hi - lo >= 8 ? 0xFF : (__mmask8)((1u << (hi - lo)) - 1);
    uint64_t least = _mm512_mask_reduce_min_epu64(inside, best);
    __mmask8 equal =
        _mm512_mask_cmpeq_epi64_mask(inside, best, _mm512_set1_epi64((long long)least));
    return (uint32_t)_mm512_mask_reduce_max_epu64(equal, at);
}

/* Eight draws times their bounds. */
RL_TARGET_AVX512 RL_INLINE __m512d bounds_avx512(const rl_rendezvous *state, __m512i hashes,
                                                 uint32_t j, __mmask8 inside) {
    __m512i draw = rl_mix_avx512(hashes, _mm512_maskz_loadu_epi64(inside, state->salts + j));
    return _mm512_mul_pd(_mm512_cvtepu64_pd(draw),
                         _mm512_maskz_loadu_pd(inside, state->bounds + j));
}

/* The entry of the least bound is timed first: then hardly another can come before it. */
RL_TARGET_AVX512 static uint32_t pick_weighted_avx512(const rl_rendezvous *state, uint32_t lo,
                                                      uint32_t hi, uint64_t hash) {
    const __m512i hashes = _mm512_set1_epi64((long long)hash), eight = _mm512_set1_epi64(8);
    __m512i entry = _mm512_add_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                                     _mm512_set1_epi64(lo));
    __m512i entries = entry;
    __m512d least = _mm512_set1_pd(1e300);
    for (uint32_t j = lo; j < hi; j += 8) {
        __mmask8 inside = hi - j >= 8 ? 0xFF : (__mmask8)((1u << (hi - j)) - 1);
        __m512d low = bounds_avx512(state, hashes, j, inside);
        __mmask8 less = _mm512_mask_cmp_pd_mask(inside, low, least, _CMP_LT_OQ);
        least = _mm512_mask_mov_pd(least, less, low);
        entries = _mm512_mask_mov_epi64(entries, less, entry);
        entry = _mm512_add_epi64(entry, eight);
    }
    __mmask8 inside = hi - lo >= 8 ? 0xFF : (__mmask8)((1u << (hi - lo)) - 1);
    double bound = _mm512_mask_reduce_min_pd(inside, least);
    __mmask8 equal = _mm512_mask_cmp_pd_mask(inside, least, _mm512_set1_pd(bound), _CMP_EQ_OQ);
    uint32_t at = (uint32_t)_mm512_mask_reduce_max_epu64(equal, entries);
    uint64_t best_draw = rl_mix(hash, state->salts[at]);
    double best = rl_rendezvous_exponential(best_draw) / state->weights[at];
    for (uint32_t j = lo; j < hi; j += 8) {
        inside = hi - j >= 8 ? 0xFF : (__mmask8)((1u << (hi - j)) - 1);
        __m512d low = bounds_avx512(state, hashes, j, inside);
        unsigned others = _mm512_mask_cmp_pd_mask(inside, low, _mm512_set1_pd(best), _CMP_LE_OQ);
        if (at - j < 8) others &= ~(1u << (at - j));
        for (uint32_t other = j; others != 0; others >>= 1, other++) {
            if (!(others & 1)) continue;
            uint64_t draw = rl_mix(hash, state->salts[other]);
            double time = rl_rendezvous_exponential(draw) / state->weights[other];
            if (other < at ? !wins(best, best_draw, time, draw)
                           : wins(time, draw, best, best_draw)) {
                best = time;
                best_draw = draw;
                at = other;
            }
        }
    }
    return at;
}

#endif

static uint32_t pick(const rl_rendezvous *state, uint32_t group, uint64_t hash) {
    uint32_t lo = state->starts[group], hi = state->starts[group + 1];
    int even = state->even[group];
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512)
        return even ? pick_even_avx512(state->salts, lo, hi, hash)
                    : pick_weighted_avx512(state, lo, hi, hash);
#endif
    return even ? pick_even(state->salts, lo, hi, hash) : pick_weighted(state, lo, hi, hash);
}

static uint32_t owner(const rl_rendezvous *state, uint64_t hash) {
    uint32_t group = 0;
    for (;;) {
        uint32_t target = state->targets[pick(state, group, hash)];
        if (group >= state->leaf_start) return target;
        group = target;
    }
}

/* --- many hashes, one group ------------------------------------------------------------------- */

#if RL_X86_64

/* 32 hashes against one entry after the other: best draws and entries stay in registers. */
RL_TARGET_AVX512 static size_t even_avx512(const rl_rendezvous *state, const uint64_t *hashes,
                                           size_t count, uint32_t *out) {
    const uint32_t entries = state->starts[1];
    const uint64_t *salts = state->salts;
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m512i hash[4], best[4], at[4];
        for (int v = 0; v < 4; v++) {
            hash[v] = _mm512_loadu_si512(hashes + i + 8 * v);
            best[v] = _mm512_set1_epi64(-1);
            at[v] = _mm512_setzero_si512();
        }
        for (uint32_t j = 0; j < entries; j++) {
            __m512i salt = _mm512_set1_epi64((long long)salts[j]);
            __m512i entry = _mm512_set1_epi64(j);
            for (int v = 0; v < 4; v++) {
                __m512i draw = rl_mix_avx512(hash[v], salt);
                __mmask8 better = _mm512_cmple_epu64_mask(draw, best[v]);
                best[v] = _mm512_min_epu64(best[v], draw);
                at[v] = _mm512_mask_mov_epi64(at[v], better, entry);
            }
        }
        for (int v = 0; v < 4; v++) {
            __m256i position =
                _mm512_i64gather_epi32(at[v], (const void *)state->targets, 4);
            _mm256_storeu_si256((void *)(out + i + 8 * v), position);
        }
    }
    return i;
}

RL_TARGET_AVX2 static size_t even_avx2(const rl_rendezvous *state, const uint64_t *hashes,
                                       size_t count, uint32_t *out) {
    const uint32_t entries = state->starts[1];
    const uint64_t *salts = state->salts;
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN); /* AVX2 compares signed numbers only */
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m256i hash[2], best[2], at[2];
        for (int v = 0; v < 2; v++) {
            hash[v] = _mm256_loadu_si256((const void *)(hashes + i + 4 * v));
            best[v] = _mm256_set1_epi64x(INT64_MAX);
            at[v] = _mm256_setzero_si256();
        }
        for (uint32_t j = 0; j < entries; j++) {
            __m256i salt = _mm256_set1_epi64x((long long)salts[j]);
            __m256i entry = _mm256_set1_epi64x(j);
            for (int v = 0; v < 2; v++) {
                __m256i draw = _mm256_xor_si256(rl_mix_avx2(hash[v], salt), sign);
                __m256i worse = _mm256_cmpgt_epi64(draw, best[v]);
                best[v] = _mm256_blendv_epi8(draw, best[v], worse);
                at[v] = _mm256_blendv_epi8(entry, at[v], worse);
            }
        }
        for (int v = 0; v < 2; v++) {
            uint64_t entry[4];
            _mm256_storeu_si256((void *)entry, at[v]);
            for (int lane = 0; lane < 4; lane++)
                out[i + 4 * v + lane] = state->targets[entry[lane]];
        }
    }
    return i;
}

/* The exponential of draws below 2**63. */
RL_TARGET_AVX512 RL_INLINE __m512d exponential_avx512(__m512i draw) {
    __m512d x = _mm512_mul_pd(_mm512_cvtepi64_pd(draw), _mm512_set1_pd(TO_FRACTION));
    __m512d s = _mm512_div_pd(x, _mm512_sub_pd(_mm512_set1_pd(2.0), x));
    __m512d square = _mm512_mul_pd(s, s);
    __m512d sum = _mm512_set1_pd(SERIES[0]);
    for (int i = 1; i < TERMS; i++) {
        __m512d product = _mm512_mul_pd(sum, square);
        sum = _mm512_add_pd(product, _mm512_set1_pd(SERIES[i]));
    }
    __m512d twice = _mm512_add_pd(s, s);
    return _mm512_mul_pd(twice, sum);
}

/* The entry whose bound is the least wins if its time is before all the other bounds; which it is
 * for nearly every hash.  The others go the long way. */
RL_TARGET_AVX512 static size_t weighted_avx512(const rl_rendezvous *state, const uint64_t *hashes,
                                               size_t count, uint32_t *out) {
    const uint32_t entries = state->starts[1];
    size_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m512i hash[4], at[4];
        __m512d least[4], second[4];
        for (int v = 0; v < 4; v++) {
            hash[v] = _mm512_loadu_si512(hashes + i + 8 * v);
            at[v] = _mm512_setzero_si512();
            least[v] = second[v] = _mm512_set1_pd(1e300);
        }
        for (uint32_t j = 0; j < entries; j++) {
            __m512i salt = _mm512_set1_epi64((long long)state->salts[j]);
            __m512i entry = _mm512_set1_epi64(j);
            __m512d bound = _mm512_set1_pd(state->bounds[j]);
            for (int v = 0; v < 4; v++) {
                __m512d low =
                    _mm512_mul_pd(_mm512_cvtepu64_pd(rl_mix_avx512(hash[v], salt)), bound);
                __mmask8 less = _mm512_cmp_pd_mask(low, least[v], _CMP_LT_OQ);
                second[v] = _mm512_min_pd(second[v], _mm512_max_pd(least[v], low));
                least[v] = _mm512_min_pd(least[v], low);
                at[v] = _mm512_mask_mov_epi64(at[v], less, entry);
            }
        }
        for (int v = 0; v < 4; v++) {
            __m512i draw =
                rl_mix_avx512(hash[v], _mm512_i64gather_epi64(at[v], state->salts, 8));
            __m512d weight = _mm512_i64gather_pd(at[v], state->weights, 8);
            __m512d time = _mm512_div_pd(exponential_avx512(draw), weight);
            __mmask8 sure = _mm512_cmp_pd_mask(time, second[v], _CMP_LT_OQ) &
                            (__mmask8)~_mm512_movepi64_mask(draw);
            __m256i position =
                _mm512_i64gather_epi32(at[v], (const void *)state->targets, 4);
            uint32_t *to = out + i + 8 * v;
            _mm256_storeu_si256((void *)to, position);
            for (unsigned unsure = (uint8_t)~sure; unsure != 0; unsure &= unsure - 1) {
                unsigned lane = 0;
                while (!(unsure >> lane & 1)) lane++;
                uint64_t one = hashes[i + 8 * v + lane];
                to[lane] = state->targets[pick_weighted_avx512(state, 0, entries, one)];
            }
        }
    }
    return i;
}

#endif

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_rendezvous *state = (const rl_rendezvous *)placer;
    size_t i = 0;
#if RL_X86_64
    if (state->leaf_start == 0) {
        if (rl_simd() >= RL_SIMD_AVX512) {
            i = state->even[0] ? even_avx512(state, hashes, count, out)
                               : weighted_avx512(state, hashes, count, out);
        } else if (rl_simd() >= RL_SIMD_AVX2 && state->even[0]) {
            i = even_avx2(state, hashes, count, out);
        }
    }
#endif
    for (; i < count; i++) out[i] = owner(state, hashes[i]);
}

/* --- replicas of a flat one: the first `wanted` of group 0, in order -------------------------- */

static contest contest_of(const rl_rendezvous *state, uint64_t hash, uint32_t entry) {
    contest one = {0, rl_mix(hash, state->salts[entry]), entry};
    /* Where weights are equal, draws decide. */
    if (!state->even[0]) one.time = rl_rendezvous_exponential(one.draw) / state->weights[entry];
    return one;
}

RL_INLINE int before(contest a, contest b) {
    if (a.time != b.time) return a.time < b.time;
    if (a.draw != b.draw) return a.draw < b.draw;
    return a.entry > b.entry;
}

/* Sink what stands at the root of a heap whose root is the last in order; draws are made anew
 * rather than stored. */
static void sink(const rl_rendezvous *state, uint64_t hash, uint32_t *heap, size_t size,
                 size_t at) {
    contest moving = contest_of(state, hash, heap[at]);
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= size) break;
        contest later = contest_of(state, hash, heap[child]);
        if (child + 1 < size) {
            contest right = contest_of(state, hash, heap[child + 1]);
            if (before(later, right)) {
                later = right;
                child++;
            }
        }
        if (before(later, moving)) break;
        heap[at] = later.entry;
        at = child;
    }
    heap[at] = moving.entry;
}

static void first_of(const rl_rendezvous *state, uint64_t hash, size_t wanted, uint32_t *out) {
    const uint32_t entries = state->starts[1];
    const int even = state->even[0];
    for (size_t r = 0; r < wanted; r++) out[r] = (uint32_t)r;
    for (size_t r = wanted / 2; r-- > 0;) sink(state, hash, out, wanted, r);
    contest last = contest_of(state, hash, out[0]);
    for (uint32_t j = (uint32_t)wanted; j < entries; j++) {
        uint64_t draw = rl_mix(hash, state->salts[j]);
        if (even) {
            if (draw > last.draw) continue;
        } else {
            double half = (double)(int64_t)(draw >> 1);
            if ((half + half) * state->bounds[j] > last.time) continue;
            if (!before(contest_of(state, hash, j), last)) continue;
        }
        out[0] = j;
        sink(state, hash, out, wanted, 0);
        last = contest_of(state, hash, out[0]);
    }
    for (size_t size = wanted; size-- > 1;) { /* heap sort */
        uint32_t entry = out[0];
        out[0] = out[size];
        out[size] = entry;
        sink(state, hash, out, size, 0);
    }
    for (size_t r = 0; r < wanted; r++) out[r] = state->targets[out[r]];
}

static void replicas(const rl_placer *placer, const uint64_t *hashes, size_t count, size_t wanted,
                     uint32_t *out, uint64_t *seen) {
    (void)seen;
    for (size_t i = 0; i < count; i++)
        first_of((const rl_rendezvous *)placer, hashes[i], wanted, out + i * wanted);
}

int rl_rendezvous_init(rl_rendezvous *state, uint32_t kind, uint64_t seed, uint64_t seed_hi,
                       int is_flat) {
    memset(state, 0, sizeof *state);
    if (rl_hasher_init(&state->placer.hasher, kind, seed, seed_hi) != 0) return -1;
    state->placer.owners = owners;
    state->placer.replicas = is_flat ? replicas : rl_placer_rehash_replicas;
    return 0;
}

/* --- pymemcache ------------------------------------------------------------------------------- */

rl_pymemcache_node rl_pymemcache_prepare(const uint8_t *name, size_t size, uint32_t seed,
                                         uint32_t position) {
    rl_pymemcache_node node = {seed, 0, 0, (uint32_t)size, position};
    for (; size >= 4; size -= 4, name += 4) {
        node.hash ^= rl_murmur3_lane32(rl_load32(name));
        node.hash = rl_rotl32(node.hash, 13) * 5 + 0xE6546B64u;
    }
    for (; size > 0; size--, name++, node.shift += 8) node.rest |= (uint32_t)*name << node.shift;
    return node;
}

/* murmur3_x86_32 of "<node>-<key>", from where the node's part ends. */
static uint32_t score(const rl_pymemcache_node *node, rl_span key) {
    uint32_t hash = node->hash;
    uint64_t pending = node->rest;
    uint32_t shift = node->shift;
    const uint8_t *data = key.data;
    size_t left = key.size;
    for (; left >= 4; left -= 4, data += 4) {
        pending |= (uint64_t)rl_load32(data) << shift;
        hash ^= rl_murmur3_lane32((uint32_t)pending);
        hash = rl_rotl32(hash, 13) * 5 + 0xE6546B64u;
        pending >>= 32;
    }
    for (; left > 0; left--, data++, shift += 8) pending |= (uint64_t)*data << shift;
    if (shift >= 32) {
        hash ^= rl_murmur3_lane32((uint32_t)pending);
        hash = rl_rotl32(hash, 13) * 5 + 0xE6546B64u;
        pending >>= 32;
        shift -= 32;
    }
    if (shift > 0) hash ^= rl_murmur3_lane32((uint32_t)pending);
    hash ^= node->size + (uint32_t)key.size;
    hash ^= hash >> 16;
    hash *= 0x85EBCA6Bu;
    hash ^= hash >> 13;
    hash *= 0xC2B2AE35u;
    return hash ^ (hash >> 16);
}

static void span_owners(const rl_placer *placer, const rl_span *spans, size_t count,
                        uint32_t *out) {
    const rl_pymemcache_node *nodes = ((const rl_pymemcache *)placer)->nodes;
    for (size_t i = 0; i < count; i++) {
        uint32_t best = 0;
        size_t at = 0;
        for (size_t j = 0; j < placer->live_count; j++) {
            uint32_t found = score(nodes + j, spans[i]);
            at = found >= best ? j : at;
            best = found >= best ? found : best;
        }
        out[i] = nodes[at].position;
    }
}

/* Is a before b?  Those with a higher score, and of equal ones the later. */
RL_INLINE int ahead(const rl_pymemcache_node *nodes, rl_span key, uint32_t a, uint32_t b) {
    uint32_t score_a = score(nodes + a, key), score_b = score(nodes + b, key);
    return score_a != score_b ? score_a > score_b : a > b;
}

static void sink_node(const rl_pymemcache_node *nodes, rl_span key, uint32_t *heap, size_t size,
                      size_t at) {
    uint32_t moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < size; at = child) {
        if (child + 1 < size && ahead(nodes, key, heap[child], heap[child + 1])) child++;
        if (ahead(nodes, key, heap[child], moving)) break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void span_replicas(const rl_placer *placer, const rl_span *spans, size_t count,
                          size_t wanted, uint32_t *out, uint64_t *seen) {
    const rl_pymemcache_node *nodes = ((const rl_pymemcache *)placer)->nodes;
    (void)seen;
    for (size_t i = 0; i < count; i++, out += wanted) {
        for (size_t r = 0; r < wanted; r++) out[r] = (uint32_t)r;
        for (size_t r = wanted / 2; r-- > 0;) sink_node(nodes, spans[i], out, wanted, r);
        for (uint32_t j = (uint32_t)wanted; j < placer->live_count; j++) {
            if (!ahead(nodes, spans[i], j, out[0])) continue;
            out[0] = j;
            sink_node(nodes, spans[i], out, wanted, 0);
        }
        for (size_t size = wanted; size-- > 1;) {
            uint32_t last = out[0];
            out[0] = out[size];
            out[size] = last;
            sink_node(nodes, spans[i], out, size, 0);
        }
        for (size_t r = 0; r < wanted; r++) out[r] = nodes[out[r]].position;
    }
}

void rl_pymemcache_init(rl_pymemcache *state) {
    memset(state, 0, sizeof *state);
    state->placer.span_owners = span_owners;
    state->placer.span_replicas = span_replicas;
}
