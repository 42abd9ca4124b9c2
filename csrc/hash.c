#include "hash.h"

#include "crc.h"
#include "md5.h"
#include "murmur3.h"
#include "simd.h"
#include "siphash.h"
#include "xxh3.h"
#include "xxh3_words.h"
#include "xxh64.h"

int rl_hasher_init(rl_hasher *hasher, uint32_t kind, uint64_t seed, uint64_t seed_hi) {
    if (kind > RL_HASH_REDIS) return -1;
    hasher->kind = kind;
    hasher->seed = seed;
    hasher->seed_hi = seed_hi;
    if (kind == RL_HASH_XXH3) {
        rl_xxh3_secret_init(seed, hasher->secret);
    } else {
        memset(hasher->secret, 0, sizeof hasher->secret);
    }
    return 0;
}

RL_INLINE uint64_t ketama_of(const uint8_t *digest) {
    return (uint64_t)rl_load32(digest) << 32;
}

static RL_NOINLINE uint64_t ketama(const uint8_t *bytes, size_t size) {
    uint8_t digest[RL_MD5_BYTES];
    rl_md5(bytes, size, digest);
    return ketama_of(digest);
}

uint64_t rl_hash_bytes(const rl_hasher *hasher, const void *data, size_t size) {
    const uint8_t *bytes = (const uint8_t *)data;
    switch (hasher->kind) {
    case RL_HASH_XXH3:
        return rl_xxh3_bytes(bytes, size, hasher->seed, hasher->secret);
    case RL_HASH_XXH64:
        return rl_xxh64(bytes, size, hasher->seed);
    case RL_HASH_MURMUR3:
        return rl_murmur3_x64_128(bytes, size, (uint32_t)hasher->seed).h1;
    case RL_HASH_KETAMA:
        return ketama(bytes, size);
    case RL_HASH_CRC32:
        return (uint64_t)rl_crc32(0, bytes, size) << 32;
    case RL_HASH_CASSANDRA:
        return rl_cassandra(bytes, size);
    case RL_HASH_REDIS:
        return (uint64_t)rl_redis_slot(bytes, size) << RL_REDIS_SLOT_SHIFT;
    default:
        return rl_siphash13(bytes, size, hasher->seed, hasher->seed_hi);
    }
}

/* --- words ------------------------------------------------------------------------------- */

RL_INLINE uint64_t hash_word(uint32_t kind, uint64_t seed, uint64_t seed_hi, uint64_t word) {
    switch (kind) {
    case RL_HASH_XXH64:
        return rl_xxh64_word(word, seed);
    case RL_HASH_MURMUR3:
        return rl_murmur3_word(word, (uint32_t)seed);
    case RL_HASH_CASSANDRA:
        return rl_cassandra_word(word);
    default:
        return rl_siphash13_word(word, seed, seed_hi);
    }
}

RL_INLINE void loop_words(uint32_t kind, const rl_hasher *hasher, const uint64_t *words,
                          size_t count, uint64_t *out) {
    /* `out` may be `words`, so a loop over both could not become vectors; one over `w` does. */
    enum { STEP = 32 };
    uint64_t seed = hasher->seed, seed_hi = hasher->seed_hi;
    uint64_t w[STEP];
    for (; count >= STEP; count -= STEP, words += STEP, out += STEP) {
        memcpy(w, words, sizeof w);
        for (size_t i = 0; i < STEP; i++) w[i] = hash_word(kind, seed, seed_hi, w[i]);
        memcpy(out, w, sizeof w);
    }
    for (size_t i = 0; i < count; i++) out[i] = hash_word(kind, seed, seed_hi, words[i]);
}

/* Inlined once into a function of each level: the same loops, compiled for its instructions. */
RL_INLINE void loop_words_of_kind(const rl_hasher *hasher, const uint64_t *words, size_t count,
                                  uint64_t *out) {
    switch (hasher->kind) {
    case RL_HASH_XXH64:
        loop_words(RL_HASH_XXH64, hasher, words, count, out);
        return;
    case RL_HASH_MURMUR3:
        loop_words(RL_HASH_MURMUR3, hasher, words, count, out);
        return;
    case RL_HASH_CASSANDRA:
        loop_words(RL_HASH_CASSANDRA, hasher, words, count, out);
        return;
    default:
        loop_words(RL_HASH_SIPHASH13, hasher, words, count, out);
    }
}

static void words_scalar(const rl_hasher *hasher, const uint64_t *words, size_t count,
                         uint64_t *out) {
    if (hasher->kind != RL_HASH_XXH3) {
        loop_words_of_kind(hasher, words, count, out);
        return;
    }
    rl_xxh3_word_keys keys = rl_xxh3_word_keys_init(hasher->seed);
    for (size_t i = 0; i < count; i++) out[i] = rl_xxh3_word(keys, words[i]);
}

#if RL_X86_64

RL_TARGET_AVX2 static void words_avx2(const rl_hasher *hasher, const uint64_t *words, size_t count,
                                      uint64_t *out) {
    if (hasher->kind != RL_HASH_XXH3) {
        loop_words_of_kind(hasher, words, count, out);
        return;
    }
    rl_xxh3_word_keys keys = rl_xxh3_word_keys_init(hasher->seed);
    size_t i = 0;
    for (; i + 4 <= count; i += 4) {
        __m256i w = _mm256_loadu_si256((const __m256i *)(words + i));
        _mm256_storeu_si256((__m256i *)(out + i), rl_xxh3_words_avx2(keys, w));
    }
    for (; i < count; i++) out[i] = rl_xxh3_word(keys, words[i]);
}

RL_TARGET_AVX512 static void words_avx512(const rl_hasher *hasher, const uint64_t *words,
                                          size_t count, uint64_t *out) {
    if (hasher->kind != RL_HASH_XXH3) {
        loop_words_of_kind(hasher, words, count, out);
        return;
    }
    rl_xxh3_word_keys keys = rl_xxh3_word_keys_init(hasher->seed);
    size_t i = 0;
    for (; i + 8 <= count; i += 8) {
        __m512i w = _mm512_loadu_si512(words + i);
        _mm512_storeu_si512(out + i, rl_xxh3_words_avx512(keys, w));
    }
    if (i < count) {
        __mmask8 rest = (__mmask8)((1u << (count - i)) - 1);
        __m512i w = _mm512_maskz_loadu_epi64(rest, words + i);
        _mm512_mask_storeu_epi64(out + i, rest, rl_xxh3_words_avx512(keys, w));
    }
}

#endif

/* The hashes that know bytes only.  out may be words itself: a piece is copied before it is hashed. */
static void words_as_spans(const rl_hasher *hasher, const uint64_t *words, size_t count,
                           uint64_t *out) {
    enum { STEP = 64 };
    uint8_t bytes[STEP][8];
    rl_span spans[STEP];
    for (size_t at = 0; at < count; at += STEP) {
        size_t size = count - at < STEP ? count - at : STEP;
        for (size_t i = 0; i < size; i++) {
            rl_store64(bytes[i], words[at + i]);
            spans[i].data = bytes[i];
            spans[i].size = 8;
        }
        rl_hash_spans(hasher, spans, size, out + at);
    }
}

void rl_hash_words(const rl_hasher *hasher, const uint64_t *words, size_t count, uint64_t *out) {
    uint32_t kind = hasher->kind;
    if (kind == RL_HASH_KETAMA || kind == RL_HASH_CRC32 || kind == RL_HASH_REDIS) {
        words_as_spans(hasher, words, count, out);
        return;
    }
#if RL_X86_64
    int level = rl_simd();
    if (level >= RL_SIMD_AVX512) {
        words_avx512(hasher, words, count, out);
        return;
    }
    if (level >= RL_SIMD_AVX2) {
        words_avx2(hasher, words, count, out);
        return;
    }
#endif
    words_scalar(hasher, words, count, out);
}

/* --- spans ------------------------------------------------------------------------------- */

/* Keys that lie about in memory arrive while the ones before them are hashed. */
RL_INLINE void fetch_ahead(const rl_span *spans, size_t i, size_t count) {
    enum { AHEAD = 16 };
    if (i + AHEAD < count) rl_prefetch(spans[i + AHEAD].data);
}

/* XXH3 has a straight line for each class of lengths; on mixed lengths the choice between the
 * lines mispredicts and costs more than the lines do.  So short keys of mixed lengths are first
 * dealt into one list for each class, without a branch, and then hashed list by list. */
enum {
    CLASS_0,
    CLASS_1_3,
    CLASS_4_8,
    CLASS_9_16,
    CLASS_17_32,
    CLASS_33_64,
    CLASS_65_96,
    CLASS_97_128,
    CLASS_129_240,
    CLASS_LONG,
    CLASSES
};

#define TWICE(x) x, x
#define TIMES_8(x) TWICE(x), TWICE(x), TWICE(x), TWICE(x)
#define TIMES_16(x) TIMES_8(x), TIMES_8(x)
#define TIMES_32(x) TIMES_16(x), TIMES_16(x)

static const uint8_t class_of_size[RL_XXH3_SHORT_BYTES_MAX + 2] = {
    CLASS_0,
    CLASS_1_3, CLASS_1_3, CLASS_1_3,
    TWICE(CLASS_4_8), TWICE(CLASS_4_8), CLASS_4_8,
    TIMES_8(CLASS_9_16),
    TIMES_16(CLASS_17_32),
    TIMES_32(CLASS_33_64),
    TIMES_32(CLASS_65_96),
    TIMES_32(CLASS_97_128),
    TIMES_32(CLASS_129_240), TIMES_32(CLASS_129_240), TIMES_32(CLASS_129_240),
    TIMES_16(CLASS_129_240),
    CLASS_LONG,
};

RL_INLINE uint8_t class_of(size_t size) {
    size_t top = RL_XXH3_SHORT_BYTES_MAX + 1;
    return class_of_size[size < top ? size : top];
}

RL_INLINE uint64_t hash_of_class(int cls, const rl_hasher *hasher, rl_span span) {
    switch (cls) {
    case CLASS_0:
        return rl_xxh3_0(hasher->seed);
    case CLASS_1_3:
        return rl_xxh3_1to3(span.data, span.size, hasher->seed);
    case CLASS_4_8:
        return rl_xxh3_4to8(span.data, span.size, hasher->seed);
    case CLASS_9_16:
        return rl_xxh3_9to16(span.data, span.size, hasher->seed);
    case CLASS_17_32:
        return rl_xxh3_17to128(span.data, span.size, hasher->secret, 1);
    case CLASS_33_64:
        return rl_xxh3_17to128(span.data, span.size, hasher->secret, 2);
    case CLASS_65_96:
        return rl_xxh3_17to128(span.data, span.size, hasher->secret, 3);
    case CLASS_97_128:
        return rl_xxh3_17to128(span.data, span.size, hasher->secret, 4);
    case CLASS_129_240:
        return rl_xxh3_129to240(span.data, span.size, hasher->seed, hasher->secret);
    default:
        return rl_xxh3_long(span.data, span.size, hasher->secret);
    }
}

enum { DEAL_SPANS = 128, DEAL_VECTOR = 16 };

/* The places of the spans of each class, in order. */
typedef struct deal {
    uint32_t *ends[CLASSES]; /* each points behind the last place of its list */
    /* A vector is stored whole, so up to DEAL_VECTOR places behind a list's end are scratch. */
    uint32_t lists[CLASSES][DEAL_SPANS + DEAL_VECTOR];
} deal;

static void deal_scalar(deal *to, const rl_span *spans, size_t count) {
    for (size_t i = 0; i < count; i++) *to->ends[class_of(spans[i].size)]++ = (uint32_t)i;
}

#if RL_X86_64

RL_TARGET_AVX512 RL_INLINE void deal_put(deal *to, int cls, unsigned members, __m512i places) {
    __m512i packed = _mm512_maskz_compress_epi32((__mmask16)members, places);
    _mm512_storeu_si512(to->ends[cls], packed);
    to->ends[cls] += _mm_popcnt_u32(members);
}

/* count is a multiple of DEAL_VECTOR. */
RL_TARGET_AVX512 static void deal_avx512(deal *to, const rl_span *spans, size_t count) {
    const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (size_t i = 0; i < count; i += DEAL_VECTOR) {
        const rl_span *at = spans + i;
        __m512i low = _mm512_permutex2var_epi64(_mm512_loadu_si512(at), odd,
                                                _mm512_loadu_si512(at + 4));
        __m512i high = _mm512_permutex2var_epi64(_mm512_loadu_si512(at + 8), odd,
                                                 _mm512_loadu_si512(at + 12));
        __m512i sizes = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtusepi64_epi32(low)),
                                           _mm512_cvtusepi64_epi32(high), 1);
#define UP_TO(size) ((unsigned)_mm512_cmple_epu32_mask(sizes, _mm512_set1_epi32(size)))
        unsigned to3 = UP_TO(3), to8 = UP_TO(8), to16 = UP_TO(16), to32 = UP_TO(32);
        unsigned to64 = UP_TO(64);
        /* The lengths that most keys have are dealt without asking whether there are any. */
        deal_put(to, CLASS_4_8, to8 & ~to3, places);
        deal_put(to, CLASS_9_16, to16 & ~to8, places);
        deal_put(to, CLASS_17_32, to32 & ~to16, places);
        deal_put(to, CLASS_33_64, to64 & ~to32, places);
        if (to3 != 0) {
            unsigned to0 = UP_TO(0);
            deal_put(to, CLASS_0, to0, places);
            deal_put(to, CLASS_1_3, to3 & ~to0, places);
        }
        if (to64 != 0xFFFF) {
            unsigned to96 = UP_TO(96), to128 = UP_TO(128), to240 = UP_TO(240);
            deal_put(to, CLASS_65_96, to96 & ~to64, places);
            deal_put(to, CLASS_97_128, to128 & ~to96, places);
            deal_put(to, CLASS_129_240, to240 & ~to128, places);
            deal_put(to, CLASS_LONG, 0xFFFF & ~to240, places);
        }
#undef UP_TO
        places = _mm512_add_epi32(places, _mm512_set1_epi32(DEAL_VECTOR));
    }
}

#endif

/* count is a multiple of DEAL_VECTOR, at most DEAL_SPANS.  While it hashes these, it fetches the
 * data of `ahead`, as many spans again: list by list, no hardware would foresee the addresses. */
static void xxh3_spans_dealt(const rl_hasher *hasher, const rl_span *spans, size_t count,
                             const rl_span *ahead, uint64_t *out) {
    deal to;
    for (int cls = 0; cls < CLASSES; cls++) to.ends[cls] = to.lists[cls];
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) {
        deal_avx512(&to, spans, count);
    } else {
        deal_scalar(&to, spans, count);
    }
#else
    deal_scalar(&to, spans, count);
#endif
#define HASH_LIST(cls)                                                                   \
    for (const uint32_t *place = to.lists[cls]; place < to.ends[cls]; place++, ahead++) { \
        rl_prefetch(ahead->data);                                                        \
        out[*place] = hash_of_class(cls, hasher, spans[*place]);                         \
    }
    HASH_LIST(CLASS_0)
    HASH_LIST(CLASS_1_3)
    HASH_LIST(CLASS_4_8)
    HASH_LIST(CLASS_9_16)
    HASH_LIST(CLASS_17_32)
    HASH_LIST(CLASS_33_64)
    HASH_LIST(CLASS_65_96)
    HASH_LIST(CLASS_97_128)
    HASH_LIST(CLASS_129_240)
    HASH_LIST(CLASS_LONG)
#undef HASH_LIST
}

static void xxh3_spans_in_order(const rl_hasher *hasher, const rl_span *spans, size_t count,
                                uint64_t *out) {
    for (size_t i = 0; i < count; i++) {
        fetch_ahead(spans, i, count);
        out[i] = rl_xxh3_bytes(spans[i].data, spans[i].size, hasher->seed, hasher->secret);
    }
}

enum { SAMPLE_SPANS = 64 };

/* Whether the first SAMPLE_SPANS spans change their class so often, and are so short, that
 * dealing pays. */
static int is_short_and_mixed(const rl_span *spans) {
    enum { CHANGES_MIN = 16, MEAN_BYTES_MAX = 64 };
    size_t changes = 0, bytes = 0;
    uint8_t before = class_of(spans[0].size);
    for (size_t i = 0; i < SAMPLE_SPANS; i++) {
        uint8_t cls = class_of(spans[i].size);
        changes += cls != before;
        bytes += spans[i].size;
        before = cls;
    }
    return changes >= CHANGES_MIN && bytes <= SAMPLE_SPANS * MEAN_BYTES_MAX;
}

static void xxh3_spans(const rl_hasher *hasher, const rl_span *spans, size_t count,
                       uint64_t *out) {
    enum { SAMPLE_EVERY = 1024 };
    while (count > 0) {
        size_t block = count < SAMPLE_EVERY ? count : SAMPLE_EVERY;
        size_t dealt = 0;
        if (block >= SAMPLE_SPANS && is_short_and_mixed(spans)) {
            dealt = block - block % DEAL_VECTOR;
            for (size_t i = 0; i < DEAL_SPANS && i < dealt; i++) rl_prefetch(spans[i].data);
        }
        for (size_t at = 0; at < dealt; at += DEAL_SPANS) {
            size_t part = dealt - at < DEAL_SPANS ? dealt - at : DEAL_SPANS;
            size_t next = dealt - at - part < part ? at : at + part;
            xxh3_spans_dealt(hasher, spans + at, part, spans + next, out + at);
        }
        xxh3_spans_in_order(hasher, spans + dealt, block - dealt, out + dealt);
        spans += block, out += block, count -= block;
    }
}

static void ketama_spans(const rl_span *spans, size_t count, uint64_t *out) {
    enum { STEP = 64 };
    uint8_t digests[STEP * RL_MD5_BYTES];
    for (size_t at = 0; at < count; at += STEP) {
        size_t size = count - at < STEP ? count - at : STEP;
        rl_md5_spans(spans + at, size, digests);
        for (size_t i = 0; i < size; i++) out[at + i] = ketama_of(digests + RL_MD5_BYTES * i);
    }
}

#if RL_X86_64
/* The tail is loaded by its length and extended without a branch on it. */
RL_TARGET_AVX512 static void cassandra_spans_avx512(const rl_span *spans, size_t count,
                                                    uint64_t *out) {
    for (size_t i = 0; i < count; i++) {
        fetch_ahead(spans, i, count);
        uint64_t h1 = 0, h2 = 0;
        size_t size = spans[i].size;
        const uint8_t *tail = rl_murmur3_blocks(spans[i].data, size, &h1, &h2);
        __m128i last = _mm_maskz_loadu_epi8((__mmask16)((1u << size % 16) - 1), tail);
        uint64_t low = (uint64_t)_mm_cvtsi128_si64(last);
        uint64_t high = (uint64_t)_mm_extract_epi64(last, 1);
        out[i] = rl_cassandra_ending(h1, h2, low, high, size);
    }
}
#endif

static void cassandra_spans(const rl_span *spans, size_t count, uint64_t *out) {
#if RL_X86_64
    if (rl_simd() >= RL_SIMD_AVX512) {
        cassandra_spans_avx512(spans, count, out);
        return;
    }
#endif
    for (size_t i = 0; i < count; i++) {
        fetch_ahead(spans, i, count);
        out[i] = rl_cassandra(spans[i].data, spans[i].size);
    }
}

void rl_hash_spans(const rl_hasher *hasher, const rl_span *spans, size_t count, uint64_t *out) {
    switch (hasher->kind) {
    case RL_HASH_XXH3:
        xxh3_spans(hasher, spans, count, out);
        return;
    case RL_HASH_XXH64:
        for (size_t i = 0; i < count; i++) {
            fetch_ahead(spans, i, count);
            out[i] = rl_xxh64(spans[i].data, spans[i].size, hasher->seed);
        }
        return;
    case RL_HASH_MURMUR3:
        for (size_t i = 0; i < count; i++) {
            fetch_ahead(spans, i, count);
            uint32_t seed = (uint32_t)hasher->seed;
            out[i] = rl_murmur3_x64_128(spans[i].data, spans[i].size, seed).h1;
        }
        return;
    case RL_HASH_KETAMA:
        ketama_spans(spans, count, out);
        return;
    case RL_HASH_CRC32:
        for (size_t i = 0; i < count; i++) {
            fetch_ahead(spans, i, count);
            out[i] = (uint64_t)rl_crc32(0, spans[i].data, spans[i].size) << 32;
        }
        return;
    case RL_HASH_CASSANDRA:
        cassandra_spans(spans, count, out);
        return;
    case RL_HASH_REDIS:
        rl_redis_slots(spans, count, out);
        return;
    default:
        for (size_t i = 0; i < count; i++) {
            fetch_ahead(spans, i, count);
            out[i] = rl_siphash13(spans[i].data, spans[i].size, hasher->seed, hasher->seed_hi);
        }
    }
}
