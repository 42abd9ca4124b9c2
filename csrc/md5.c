#include "md5.h"

#include "simd.h"

#if RL_X86_64
#include <immintrin.h>
#endif

enum { BLOCK_BYTES = 64, BLOCK_WORDS = 16, ONE_BLOCK_BYTES_MAX = BLOCK_BYTES - 9, LANES_MAX = 16 };

static const uint32_t start[4] = {0x67452301u, 0xEFCDAB89u, 0x98BADCFEu, 0x10325476u};

/* The 64 steps: round function, registers, word, rotation, constant.  Every implementation below
 * is this table with its own STEP(). */
#define STEPS \
    STEP(F, a, b, c, d, 0, 7, 0xD76AA478u)   \
    STEP(F, d, a, b, c, 1, 12, 0xE8C7B756u)  \
    STEP(F, c, d, a, b, 2, 17, 0x242070DBu)  \
    STEP(F, b, c, d, a, 3, 22, 0xC1BDCEEEu)  \
    STEP(F, a, b, c, d, 4, 7, 0xF57C0FAFu)   \
    STEP(F, d, a, b, c, 5, 12, 0x4787C62Au)  \
    STEP(F, c, d, a, b, 6, 17, 0xA8304613u)  \
    STEP(F, b, c, d, a, 7, 22, 0xFD469501u)  \
    STEP(F, a, b, c, d, 8, 7, 0x698098D8u)   \
    STEP(F, d, a, b, c, 9, 12, 0x8B44F7AFu)  \
    STEP(F, c, d, a, b, 10, 17, 0xFFFF5BB1u) \
    STEP(F, b, c, d, a, 11, 22, 0x895CD7BEu) \
    STEP(F, a, b, c, d, 12, 7, 0x6B901122u)  \
    STEP(F, d, a, b, c, 13, 12, 0xFD987193u) \
    STEP(F, c, d, a, b, 14, 17, 0xA679438Eu) \
    STEP(F, b, c, d, a, 15, 22, 0x49B40821u) \
    STEP(G, a, b, c, d, 1, 5, 0xF61E2562u)   \
    STEP(G, d, a, b, c, 6, 9, 0xC040B340u)   \
    STEP(G, c, d, a, b, 11, 14, 0x265E5A51u) \
    STEP(G, b, c, d, a, 0, 20, 0xE9B6C7AAu)  \
    STEP(G, a, b, c, d, 5, 5, 0xD62F105Du)   \
    STEP(G, d, a, b, c, 10, 9, 0x02441453u)  \
    STEP(G, c, d, a, b, 15, 14, 0xD8A1E681u) \
    STEP(G, b, c, d, a, 4, 20, 0xE7D3FBC8u)  \
    STEP(G, a, b, c, d, 9, 5, 0x21E1CDE6u)   \
    STEP(G, d, a, b, c, 14, 9, 0xC33707D6u)  \
    STEP(G, c, d, a, b, 3, 14, 0xF4D50D87u)  \
    STEP(G, b, c, d, a, 8, 20, 0x455A14EDu)  \
    STEP(G, a, b, c, d, 13, 5, 0xA9E3E905u)  \
    STEP(G, d, a, b, c, 2, 9, 0xFCEFA3F8u)   \
    STEP(G, c, d, a, b, 7, 14, 0x676F02D9u)  \
    STEP(G, b, c, d, a, 12, 20, 0x8D2A4C8Au) \
    STEP(H, a, b, c, d, 5, 4, 0xFFFA3942u)   \
    STEP(H, d, a, b, c, 8, 11, 0x8771F681u)  \
    STEP(H, c, d, a, b, 11, 16, 0x6D9D6122u) \
    STEP(H, b, c, d, a, 14, 23, 0xFDE5380Cu) \
    STEP(H, a, b, c, d, 1, 4, 0xA4BEEA44u)   \
    STEP(H, d, a, b, c, 4, 11, 0x4BDECFA9u)  \
    STEP(H, c, d, a, b, 7, 16, 0xF6BB4B60u)  \
    STEP(H, b, c, d, a, 10, 23, 0xBEBFBC70u) \
    STEP(H, a, b, c, d, 13, 4, 0x289B7EC6u)  \
    STEP(H, d, a, b, c, 0, 11, 0xEAA127FAu)  \
    STEP(H, c, d, a, b, 3, 16, 0xD4EF3085u)  \
    STEP(H, b, c, d, a, 6, 23, 0x04881D05u)  \
    STEP(H, a, b, c, d, 9, 4, 0xD9D4D039u)   \
    STEP(H, d, a, b, c, 12, 11, 0xE6DB99E5u) \
    STEP(H, c, d, a, b, 15, 16, 0x1FA27CF8u) \
    STEP(H, b, c, d, a, 2, 23, 0xC4AC5665u)  \
    STEP(I, a, b, c, d, 0, 6, 0xF4292244u)   \
    STEP(I, d, a, b, c, 7, 10, 0x432AFF97u)  \
    STEP(I, c, d, a, b, 14, 15, 0xAB9423A7u) \
    STEP(I, b, c, d, a, 5, 21, 0xFC93A039u)  \
    STEP(I, a, b, c, d, 12, 6, 0x655B59C3u)  \
    STEP(I, d, a, b, c, 3, 10, 0x8F0CCC92u)  \
    STEP(I, c, d, a, b, 10, 15, 0xFFEFF47Du) \
    STEP(I, b, c, d, a, 1, 21, 0x85845DD1u)  \
    STEP(I, a, b, c, d, 8, 6, 0x6FA87E4Fu)   \
    STEP(I, d, a, b, c, 15, 10, 0xFE2CE6E0u) \
    STEP(I, c, d, a, b, 6, 15, 0xA3014314u)  \
    STEP(I, b, c, d, a, 13, 21, 0x4E0811A1u) \
    STEP(I, a, b, c, d, 4, 6, 0xF7537E82u)   \
    STEP(I, d, a, b, c, 11, 10, 0xBD3AF235u) \
    STEP(I, c, d, a, b, 2, 15, 0x2AD7D2BBu)  \
    STEP(I, b, c, d, a, 9, 21, 0xEB86D391u) 

#define F(b, c, d) (d ^ (b & (c ^ d)))
/* The two terms share no bit: their sum is their union, and adds in a shorter chain. */
#define G(b, c, d) ((b & d) + (c & ~d))
#define H(b, c, d) (b ^ c ^ d)
#define I(b, c, d) (c ^ (b | ~d))
#define STEP(f, a, b, c, d, word, rotation, constant) \
    a = b + rl_rotl32(a + f(b, c, d) + w[word] + constant, rotation);

static void blocks(uint32_t state[4], const uint8_t *data, size_t count) {
    uint32_t w[BLOCK_WORDS];
    for (; count > 0; count--, data += BLOCK_BYTES) {
        for (size_t i = 0; i < BLOCK_WORDS; i++) w[i] = rl_load32(data + 4 * i);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        STEPS
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
    }
}

#undef STEP
#undef F
#undef G
#undef H
#undef I

void rl_md5(const uint8_t *data, size_t size, uint8_t digest[RL_MD5_BYTES]) {
    uint32_t state[4];
    memcpy(state, start, sizeof state);
    size_t whole = size / BLOCK_BYTES, left = size % BLOCK_BYTES;
    blocks(state, data, whole);

    uint8_t tail[2 * BLOCK_BYTES] = {0};
    if (left > 0) memcpy(tail, data + whole * BLOCK_BYTES, left);
    tail[left] = 0x80;
    size_t tails = left <= ONE_BLOCK_BYTES_MAX ? 1 : 2;
    rl_store64(tail + tails * BLOCK_BYTES - 8, (uint64_t)size << 3);
    blocks(state, tail, tails);
    for (size_t i = 0; i < 4; i++) rl_store32(digest + 4 * i, state[i]);
}

#if RL_X86_64

/* One padded block of each of LANES_MAX keys, word by word across the keys. */
typedef struct lanes {
    uint32_t words[BLOCK_WORDS][LANES_MAX];
} lanes;

static void lane_fill(lanes *in, size_t lane, rl_span span) {
    uint8_t block[BLOCK_BYTES] = {0};
    if (span.size > 0) memcpy(block, span.data, span.size);
    block[span.size] = 0x80;
    rl_store64(block + BLOCK_BYTES - 8, (uint64_t)span.size << 3);
    for (size_t i = 0; i < BLOCK_WORDS; i++) in->words[i][lane] = rl_load32(block + 4 * i);
}

#define NOT(x) _mm256_xor_si256(x, _mm256_set1_epi32(-1))
#define F(b, c, d) _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))
#define G(b, c, d) _mm256_or_si256(_mm256_and_si256(b, d), _mm256_andnot_si256(d, c))
#define H(b, c, d) _mm256_xor_si256(b, _mm256_xor_si256(c, d))
#define I(b, c, d) _mm256_xor_si256(c, _mm256_or_si256(b, NOT(d)))
#define STEP(f, a, b, c, d, word, rotation, constant)                                         \
    a = _mm256_add_epi32(a, _mm256_add_epi32(f(b, c, d), LOAD(word)));                        \
    a = _mm256_add_epi32(a, _mm256_set1_epi32((int)constant));                                \
    a = _mm256_or_si256(_mm256_slli_epi32(a, rotation), _mm256_srli_epi32(a, 32 - rotation)); \
    a = _mm256_add_epi32(a, b);
#define LOAD(word) _mm256_loadu_si256((const __m256i *)(in->words[word] + half))

RL_TARGET_AVX2 static void lanes_avx2(const lanes *in, uint32_t out[4][LANES_MAX]) {
    for (size_t half = 0; half < LANES_MAX; half += 8) {
        const __m256i a0 = _mm256_set1_epi32((int)start[0]);
        const __m256i b0 = _mm256_set1_epi32((int)start[1]);
        const __m256i c0 = _mm256_set1_epi32((int)start[2]);
        const __m256i d0 = _mm256_set1_epi32((int)start[3]);
        __m256i a = a0, b = b0, c = c0, d = d0;
        STEPS
        _mm256_storeu_si256((__m256i *)(out[0] + half), _mm256_add_epi32(a, a0));
        _mm256_storeu_si256((__m256i *)(out[1] + half), _mm256_add_epi32(b, b0));
        _mm256_storeu_si256((__m256i *)(out[2] + half), _mm256_add_epi32(c, c0));
        _mm256_storeu_si256((__m256i *)(out[3] + half), _mm256_add_epi32(d, d0));
    }
}

#undef NOT
#undef F
#undef G
#undef H
#undef I
#undef STEP
#undef LOAD

/* The truth tables of the round functions, first operand highest. */
#define F(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0xCA)
#define G(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0xE4)
#define H(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0x96)
#define I(b, c, d) _mm512_ternarylogic_epi32(b, c, d, 0x39)
#define STEP(f, a, b, c, d, word, rotation, constant)                                         \
    a = _mm512_add_epi32(a, _mm512_add_epi32(LOAD(word), _mm512_set1_epi32((int)constant))); \
    a = _mm512_add_epi32(b, _mm512_rol_epi32(_mm512_add_epi32(a, f(b, c, d)), rotation));
#define LOAD(word) _mm512_loadu_si512(in->words[word])

RL_TARGET_AVX512 static void lanes_avx512(const lanes *in, uint32_t out[4][LANES_MAX]) {
    const __m512i a0 = _mm512_set1_epi32((int)start[0]);
    const __m512i b0 = _mm512_set1_epi32((int)start[1]);
    const __m512i c0 = _mm512_set1_epi32((int)start[2]);
    const __m512i d0 = _mm512_set1_epi32((int)start[3]);
    __m512i a = a0, b = b0, c = c0, d = d0;
    STEPS
    _mm512_storeu_si512(out[0], _mm512_add_epi32(a, a0));
    _mm512_storeu_si512(out[1], _mm512_add_epi32(b, b0));
    _mm512_storeu_si512(out[2], _mm512_add_epi32(c, c0));
    _mm512_storeu_si512(out[3], _mm512_add_epi32(d, d0));
}

#undef F
#undef G
#undef H
#undef I
#undef STEP
#undef LOAD

/* Lanes from `used` on hash what they hold from before; nobody reads the result. */
static void lanes_finish(const lanes *in, const size_t *places, size_t used, uint8_t *digests) {
    uint32_t out[4][LANES_MAX];
    if (rl_simd() >= RL_SIMD_AVX512) {
        lanes_avx512(in, out);
    } else {
        lanes_avx2(in, out);
    }
    for (size_t lane = 0; lane < used; lane++) {
        uint8_t *digest = digests + RL_MD5_BYTES * places[lane];
        for (size_t i = 0; i < 4; i++) rl_store32(digest + 4 * i, out[i][lane]);
    }
}

/* So many keys are done sooner one by one than in lanes that stand mostly empty. */
enum { FEW = 2 };

static void spans_in_lanes(const rl_span *spans, size_t count, uint8_t *digests) {
    lanes in = {{{0}}};
    size_t places[LANES_MAX];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (RL_UNLIKELY(spans[i].size > ONE_BLOCK_BYTES_MAX)) {
            rl_md5(spans[i].data, spans[i].size, digests + RL_MD5_BYTES * i);
            continue;
        }
        lane_fill(&in, used, spans[i]);
        places[used++] = i;
        if (used == LANES_MAX) {
            lanes_finish(&in, places, used, digests);
            used = 0;
        }
    }
    if (used > FEW) {
        lanes_finish(&in, places, used, digests);
    } else {
        for (size_t lane = 0; lane < used; lane++) {
            rl_span span = spans[places[lane]];
            rl_md5(span.data, span.size, digests + RL_MD5_BYTES * places[lane]);
        }
    }
}

#endif

void rl_md5_spans(const rl_span *spans, size_t count, uint8_t *digests) {
#if RL_X86_64
    if (count > FEW && rl_simd() >= RL_SIMD_AVX2) {
        spans_in_lanes(spans, count, digests);
        return;
    }
#endif
    for (size_t i = 0; i < count; i++) {
        rl_md5(spans[i].data, spans[i].size, digests + RL_MD5_BYTES * i);
    }
}
