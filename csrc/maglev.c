#include "maglev.h"

#include <assert.h>

#include "simd.h"
#include "xxh3_words.h"
#include "xxh64_words.h"

/* --- filling ------------------------------------------------------------------------------- */

RL_INLINE int is_taken(const uint64_t *taken, uint32_t slot) {
    return (int)(taken[slot / 64] >> (slot % 64) & 1);
}

/* The entry's turn: it takes the next free slot of its permutation. */
RL_INLINE void take_turn(rl_maglev_entry *entry, uint32_t slot_count, uint32_t *slots,
                         uint64_t *taken) {
    uint32_t at = entry->at, skip = entry->skip;
    for (;;) {
        uint32_t slot = at;
        at += skip; /* modulo slot_count, below; the sum fits 32 bits */
        at -= slot_count & (0u - (uint32_t)(at >= slot_count)); /* no branch: it is a coin toss */
        if (is_taken(taken, slot)) continue;
        taken[slot / 64] |= (uint64_t)1 << (slot % 64);
        slots[slot] = entry->position;
        entry->at = at;
        return;
    }
}

/* The first round after `round` in which the entry has a turn again: round * weight >= target in
 * doubles, which is how Envoy decides it.  Found from the quotient, then corrected to that. */
static uint32_t next_due(const rl_maglev_entry *entry, uint32_t round) {
    double guess = entry->target / entry->weight;
    if (guess >= 4294967295.0) return UINT32_MAX;
    uint32_t due = (uint32_t)guess;
    if (due <= round) due = round + 1;
    while (due > round + 1 && (double)(due - 1) * entry->weight >= entry->target) due--;
    while (due < UINT32_MAX && (double)due * entry->weight < entry->target) due++;
    return due;
}

/* A binary heap of (round << 32 | entry), the smallest on top. */
static void sift_down(uint64_t *heap, size_t count, size_t at) {
    uint64_t moving = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count) break;
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (heap[child] >= moving) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

void rl_maglev_fill(rl_maglev_entry *entries, size_t count, size_t slot_count, uint32_t *slots,
                    uint64_t *taken, uint64_t *heap) {
    double heaviest = 0;
    int equal = 1;
    assert(count >= 1 && count <= slot_count && slot_count <= RL_MAGLEV_SLOTS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].weight > heaviest) heaviest = entries[i].weight;
        equal &= entries[i].weight == entries[0].weight;
    }
    size_t filled = 0;
    if (equal) {
        while (filled < slot_count)
            for (size_t i = 0; i < count && filled < slot_count; i++, filled++)
                take_turn(&entries[i], (uint32_t)slot_count, slots, taken);
        return;
    }
    /* Every node has a turn in round 1; so the heap begins in order. */
    for (size_t i = 0; i < count; i++) {
        entries[i].target = 0;
        heap[i] = (uint64_t)1 << 32 | i;
    }
    for (; filled < slot_count; filled++) {
        uint32_t round = (uint32_t)(heap[0] >> 32);
        uint32_t i = (uint32_t)heap[0];
        take_turn(&entries[i], (uint32_t)slot_count, slots, taken);
        entries[i].target += heaviest;
        heap[0] = (uint64_t)next_due(&entries[i], round) << 32 | i;
        sift_down(heap, count, 0);
    }
}

void rl_maglev_counts(const rl_maglev *maglev, uint32_t *counts) {
    for (size_t i = 0; i < maglev->slot_count; i++)
        counts[maglev->narrow ? maglev->narrow[i] : maglev->wide[i]]++;
}

/* --- slots --------------------------------------------------------------------------------- */

RL_INLINE uint64_t multiply_high(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 wide;
    return (uint64_t)((wide)a * b >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    return __umulh(a, b);
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t mid1 = a1 * b0, mid2 = a0 * b1;
    uint64_t cross = (a0 * b0 >> 32) + (uint32_t)mid1 + mid2;
    return a1 * b1 + (mid1 >> 32) + (cross >> 32);
#endif
}

/* hash * inverse / 2**64 is at most hash / size, and less than 1 + (hash / 2**64) below it, of
 * which the last is below 1: so the quotient is right or too small by one, and the remainder below
 * twice the size. */
RL_INLINE uint32_t slot_of(uint64_t hash, uint64_t size, uint64_t inverse) {
    uint64_t rest = hash - multiply_high(hash, inverse) * size;
    return (uint32_t)(rest - (size & (0 - (uint64_t)(rest >= size))));
}

uint64_t rl_maglev_slot(const rl_maglev *maglev, uint64_t hash) {
    return slot_of(hash, maglev->slot_count, maglev->inverse);
}

RL_INLINE uint32_t owner_of(const rl_maglev *maglev, uint64_t hash) {
    uint32_t slot = slot_of(hash, maglev->slot_count, maglev->inverse);
    return maglev->narrow ? maglev->narrow[slot] : maglev->wide[slot];
}

static void owners_scalar(const rl_maglev *maglev, const uint64_t *hashes, size_t count,
                          uint32_t *out) {
    const uint64_t size = maglev->slot_count, inverse = maglev->inverse;
    if (maglev->narrow) {
        const uint16_t *table = maglev->narrow;
        for (size_t i = 0; i < count; i++) out[i] = table[slot_of(hashes[i], size, inverse)];
    } else {
        const uint32_t *table = maglev->wide;
        for (size_t i = 0; i < count; i++) out[i] = table[slot_of(hashes[i], size, inverse)];
    }
}

#if RL_X86_64
/* What the input is: hashes, or words to hash first. */
enum { HASHES, XXH3_WORDS, XXH64_WORDS };

/* hash modulo size in each lane, by way of doubles.  With hash = 2**32 h + l, the number
 * x = h * (2**32 mod size) + l is the same modulo size and below 2**32 * size <= 2**58.  x / size
 * is below 2**32, and its three roundings (x, 1 / size, the product) are off by less than 2**-19,
 * so that its whole part is off by at most one, either way; the product with size needs 32 bits of
 * each.  A remainder below zero is a huge unsigned number, and so loses against itself + size. */
typedef struct modulo {
    __m512i size, fold;
    __m512d inverse;
} modulo;

RL_TARGET_AVX512 RL_INLINE modulo modulo_of(size_t slot_count) {
    modulo m;
    m.size = _mm512_set1_epi64((long long)slot_count);
    m.fold = _mm512_set1_epi64((long long)(((uint64_t)1 << 32) % slot_count));
    m.inverse = _mm512_set1_pd(1.0 / (double)slot_count);
    return m;
}

RL_TARGET_AVX512 RL_INLINE __m512i slots_avx512(modulo m, __m512i hash) {
    const __m512i low32 = _mm512_set1_epi64(0xFFFFFFFF);
    __m512i x = _mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(hash, 32), m.fold),
                                 _mm512_and_si512(hash, low32));
    __m512d exact = _mm512_mul_pd(_mm512_cvtepi64_pd(x), m.inverse);
    __m512i rest = _mm512_sub_epi64(x, _mm512_mul_epu32(_mm512_cvttpd_epi64(exact), m.size));
    rest = _mm512_min_epu64(rest, _mm512_add_epi64(rest, m.size));
    return _mm512_min_epu64(rest, _mm512_sub_epi64(rest, m.size));
}

RL_TARGET_AVX512 RL_INLINE __m256i owners_of_eight(const rl_maglev *maglev, modulo m,
                                                   __m512i input, int what, int narrow) {
    const uint64_t seed = maglev->placer.hasher.seed;
    if (what == XXH3_WORDS) input = rl_xxh3_words_avx512(rl_xxh3_word_keys_init(seed), input);
    if (what == XXH64_WORDS) input = rl_xxh64_words_avx512(seed, input);
    __m512i slots = slots_avx512(m, input);
    if (!narrow) return _mm512_i64gather_epi32(slots, maglev->wide, 4);
    return _mm256_and_si256(_mm512_i64gather_epi32(slots, maglev->narrow, 2),
                            _mm256_set1_epi32(0xFFFF));
}

RL_TARGET_AVX512 RL_INLINE void owners_avx512(const rl_maglev *maglev, const uint64_t *input,
                                              size_t count, uint32_t *out, int what, int narrow) {
    const modulo m = modulo_of(maglev->slot_count);
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        if (what != HASHES) {
            /* Past the end too, where a pointer may not go but a hint may. */
            uintptr_t ahead = (uintptr_t)(input + i) + 1024;
            rl_prefetch_once((const void *)ahead);
            rl_prefetch_once((const void *)(ahead + 64));
        }
        __m512i a = _mm512_loadu_si512(input + i), b = _mm512_loadu_si512(input + i + 8);
        __m256i first = owners_of_eight(maglev, m, a, what, narrow);
        __m256i second = owners_of_eight(maglev, m, b, what, narrow);
        _mm256_storeu_si256((__m256i *)(out + i), first);
        _mm256_storeu_si256((__m256i *)(out + i + 8), second);
    }
    for (; i < count; i += 8) { /* masked stores are slow on some CPUs: only here */
        __mmask8 rest = count - i >= 8 ? 0xFF : (__mmask8)((1u << (count - i)) - 1);
        __m512i a = _mm512_maskz_loadu_epi64(rest, input + i);
        _mm256_mask_storeu_epi32(out + i, rest, owners_of_eight(maglev, m, a, what, narrow));
    }
}

#define OWNERS_AVX512(name, what)                                                                 \
    RL_TARGET_AVX512 static void name(const rl_maglev *maglev, const uint64_t *input,             \
                                      size_t count, uint32_t *out) {                              \
        if (maglev->narrow) {                                                                     \
            owners_avx512(maglev, input, count, out, what, 1);                                    \
        } else {                                                                                  \
            owners_avx512(maglev, input, count, out, what, 0);                                    \
        }                                                                                         \
    }
OWNERS_AVX512(hash_owners_avx512, HASHES)
OWNERS_AVX512(xxh3_owners_avx512, XXH3_WORDS)
OWNERS_AVX512(xxh64_owners_avx512, XXH64_WORDS)
#endif

static void owners(const rl_placer *placer, const uint64_t *hashes, size_t count, uint32_t *out) {
    const rl_maglev *maglev = (const rl_maglev *)placer;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512 && count >= 8) {
        hash_owners_avx512(maglev, hashes, count, out);
        return;
    }
#endif
    owners_scalar(maglev, hashes, count, out);
}

static void word_owners(const rl_placer *placer, const uint64_t *words, size_t count,
                        uint32_t *out) {
    const rl_maglev *maglev = (const rl_maglev *)placer;
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512 && placer->hasher.kind == RL_HASH_XXH3) {
        xxh3_owners_avx512(maglev, words, count, out);
        return;
    }
    if (rl_simd() >= RL_SIMD_AVX512 && placer->hasher.kind == RL_HASH_XXH64) {
        xxh64_owners_avx512(maglev, words, count, out);
        return;
    }
#endif
    enum { CHUNK = 512 };
    uint64_t hashes[CHUNK];
    for (size_t i = 0; i < count; i += CHUNK) {
        size_t size = count - i < CHUNK ? count - i : CHUNK;
        rl_hash_words(&placer->hasher, words + i, size, hashes);
        owners(placer, hashes, size, out + i);
    }
}

/* --- replicas ------------------------------------------------------------------------------ */

/* The owner, then the owners of Envoy's retries: attempt t asks for hash ^ (2**64 - t).  The t - 1
 * of aligned powers of two turn ~hash into as many consecutive numbers, and so meet every slot:
 * twice the size of the table is always enough. */
static void replicas(const rl_placer *placer, const uint64_t *hashes, size_t count, size_t wanted,
                     uint32_t *out, uint64_t *seen) {
    const rl_maglev *maglev = (const rl_maglev *)placer;
    for (size_t i = 0; i < count; i++, out += wanted) {
        uint64_t hash = hashes[i];
        size_t found = 0;
        for (uint64_t attempt = 0; found < wanted; attempt++) {
            assert(attempt <= 2 * (uint64_t)maglev->slot_count);
            uint64_t again = attempt == 0 ? hash : hash ^ (0 - attempt);
            uint32_t position = owner_of(maglev, again);
            uint64_t bit = (uint64_t)1 << (position % 64);
            if (seen[position / 64] & bit) continue;
            seen[position / 64] |= bit;
            out[found++] = position;
        }
        for (size_t r = 0; r < wanted; r++) seen[out[r] / 64] = 0;
    }
}

void rl_maglev_init(rl_maglev *maglev, size_t slot_count, const uint16_t *narrow,
                    const uint32_t *wide) {
    maglev->slot_count = slot_count;
    maglev->inverse = UINT64_MAX / slot_count;
    maglev->narrow = narrow;
    maglev->wide = wide;
    maglev->placer.owners = owners;
    maglev->placer.replicas = replicas;
    maglev->placer.word_owners = word_owners;
}
