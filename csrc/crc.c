#include "crc.h"

#include "simd.h"

#if RL_X86_64
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

/* Slicing by 8: row k of a table holds the remainder of each byte followed by k zero bytes, so
 * that eight look-ups, none waiting for another, advance by eight bytes.  Remainders are linear in
 * the byte's bits: the eight of one row make its 256 by doubling. */
#define ROW_1(x, b0) (x), (x) ^ (b0)
#define ROW_2(x, b0, b1) ROW_1(x, b0), ROW_1((x) ^ (b1), b0)
#define ROW_3(x, b0, b1, b2) ROW_2(x, b0, b1), ROW_2((x) ^ (b2), b0, b1)
#define ROW_4(x, b0, b1, b2, b3) ROW_3(x, b0, b1, b2), ROW_3((x) ^ (b3), b0, b1, b2)
#define ROW_5(x, b0, b1, b2, b3, b4) \
    ROW_4(x, b0, b1, b2, b3), ROW_4((x) ^ (b4), b0, b1, b2, b3)
#define ROW_6(x, b0, b1, b2, b3, b4, b5) \
    ROW_5(x, b0, b1, b2, b3, b4), ROW_5((x) ^ (b5), b0, b1, b2, b3, b4)
#define ROW_7(x, b0, b1, b2, b3, b4, b5, b6) \
    ROW_6(x, b0, b1, b2, b3, b4, b5), ROW_6((x) ^ (b6), b0, b1, b2, b3, b4, b5)
#define ROW(b0, b1, b2, b3, b4, b5, b6, b7) \
    {ROW_7(0u, b0, b1, b2, b3, b4, b5, b6), ROW_7(b7, b0, b1, b2, b3, b4, b5, b6)}

/* x^16 + x^12 + x^5 + 1, high bit first. */
static const uint16_t crc16_table[8][256] = {
    ROW(0x1021u, 0x2042u, 0x4084u, 0x8108u, 0x1231u, 0x2462u, 0x48C4u, 0x9188u),
    ROW(0x3331u, 0x6662u, 0xCCC4u, 0x89A9u, 0x0373u, 0x06E6u, 0x0DCCu, 0x1B98u),
    ROW(0x3730u, 0x6E60u, 0xDCC0u, 0xA9A1u, 0x4363u, 0x86C6u, 0x1DADu, 0x3B5Au),
    ROW(0x76B4u, 0xED68u, 0xCAF1u, 0x85C3u, 0x1BA7u, 0x374Eu, 0x6E9Cu, 0xDD38u),
    ROW(0xAA51u, 0x4483u, 0x8906u, 0x022Du, 0x045Au, 0x08B4u, 0x1168u, 0x22D0u),
    ROW(0x45A0u, 0x8B40u, 0x06A1u, 0x0D42u, 0x1A84u, 0x3508u, 0x6A10u, 0xD420u),
    ROW(0xB861u, 0x60E3u, 0xC1C6u, 0x93ADu, 0x377Bu, 0x6EF6u, 0xDDECu, 0xABF9u),
    ROW(0x47D3u, 0x8FA6u, 0x0F6Du, 0x1EDAu, 0x3DB4u, 0x7B68u, 0xF6D0u, 0xFD81u),
};

/* Polynomial 0x04C11DB7, low bit first. */
static const uint32_t crc32_table[8][256] = {
    ROW(0x77073096u, 0xEE0E612Cu, 0x076DC419u, 0x0EDB8832u,
        0x1DB71064u, 0x3B6E20C8u, 0x76DC4190u, 0xEDB88320u),
    ROW(0x191B3141u, 0x32366282u, 0x646CC504u, 0xC8D98A08u,
        0x4AC21251u, 0x958424A2u, 0xF0794F05u, 0x3B83984Bu),
    ROW(0x01C26A37u, 0x0384D46Eu, 0x0709A8DCu, 0x0E1351B8u,
        0x1C26A370u, 0x384D46E0u, 0x709A8DC0u, 0xE1351B80u),
    ROW(0xB8BC6765u, 0xAA09C88Bu, 0x8F629757u, 0xC5B428EFu,
        0x5019579Fu, 0xA032AF3Eu, 0x9B14583Du, 0xED59B63Bu),
    ROW(0x3D6029B0u, 0x7AC05360u, 0xF580A6C0u, 0x30704BC1u,
        0x60E09782u, 0xC1C12F04u, 0x58F35849u, 0xB1E6B092u),
    ROW(0xCB5CD3A5u, 0x4DC8A10Bu, 0x9B914216u, 0xEC53826Du,
        0x03D6029Bu, 0x07AC0536u, 0x0F580A6Cu, 0x1EB014D8u),
    ROW(0xA6770BB4u, 0x979F1129u, 0xF44F2413u, 0x33EF4E67u,
        0x67DE9CCEu, 0xCFBD399Cu, 0x440B7579u, 0x8816EAF2u),
    ROW(0xCCAA009Eu, 0x4225077Du, 0x844A0EFAu, 0xD3E51BB5u,
        0x7CBB312Bu, 0xF9766256u, 0x299DC2EDu, 0x533B85DAu),
};

/* Polynomial 0x1EDC6F41, low bit first. */
static const uint32_t crc32c_table[8][256] = {
    ROW(0xF26B8303u, 0xE13B70F7u, 0xC79A971Fu, 0x8AD958CFu,
        0x105EC76Fu, 0x20BD8EDEu, 0x417B1DBCu, 0x82F63B78u),
    ROW(0x13A29877u, 0x274530EEu, 0x4E8A61DCu, 0x9D14C3B8u,
        0x3FC5F181u, 0x7F8BE302u, 0xFF17C604u, 0xFBC3FAF9u),
    ROW(0xA541927Eu, 0x4F6F520Du, 0x9EDEA41Au, 0x38513EC5u,
        0x70A27D8Au, 0xE144FB14u, 0xC76580D9u, 0x8B277743u),
    ROW(0xDD45AAB8u, 0xBF672381u, 0x7B2231F3u, 0xF64463E6u,
        0xE964B13Du, 0xD725148Bu, 0xABA65FE7u, 0x52A0C93Fu),
    ROW(0x38116FACu, 0x7022DF58u, 0xE045BEB0u, 0xC5670B91u,
        0x8F2261D3u, 0x1BA8B557u, 0x37516AAEu, 0x6EA2D55Cu),
    ROW(0xEF306B19u, 0xDB8CA0C3u, 0xB2F53777u, 0x6006181Fu,
        0xC00C303Eu, 0x85F4168Du, 0x0E045BEBu, 0x1C08B7D6u),
    ROW(0x68032CC8u, 0xD0065990u, 0xA5E0C5D1u, 0x4E2DFD53u,
        0x9C5BFAA6u, 0x3D5B83BDu, 0x7AB7077Au, 0xF56E0EF4u),
    ROW(0x493C7D27u, 0x9278FA4Eu, 0x211D826Du, 0x423B04DAu,
        0x847609B4u, 0x0D006599u, 0x1A00CB32u, 0x34019664u),
};

uint16_t rl_crc16_xmodem(uint16_t crc, const void *data, size_t size) {
    const uint8_t *p = (const uint8_t *)data;
    const uint16_t(*t)[256] = crc16_table;
    uint32_t r = crc;
    for (; size >= 8; size -= 8, p += 8) {
        r = (uint32_t)(t[7][(r >> 8) ^ p[0]] ^ t[6][(r & 0xFF) ^ p[1]] ^ t[5][p[2]] ^ t[4][p[3]]) ^
            (uint32_t)(t[3][p[4]] ^ t[2][p[5]] ^ t[1][p[6]] ^ t[0][p[7]]);
    }
    for (; size > 0; size--, p++) r = (r << 8 & 0xFFFF) ^ t[0][(r >> 8) ^ *p];
    return (uint16_t)r;
}

/* --- Redis Cluster -------------------------------------------------------------------------- */

/* Keys that lie about in memory arrive while the ones before them are worked on. */
enum { SLOTS_AHEAD = 16 };

/* The first of bytes[lo..size) that is `wanted`, or size. */
static size_t find_byte(const uint8_t *bytes, size_t lo, size_t size, uint8_t wanted) {
    const uint8_t *at = lo < size ? (const uint8_t *)memchr(bytes + lo, wanted, size - lo) : NULL;
    return at ? (size_t)(at - bytes) : size;
}

/* Narrows a key, which has a '{' at `open`, to its hash tag if it has one. */
static void narrow_to_tag(const uint8_t **p, size_t *size, size_t open) {
    size_t close = find_byte(*p, open + 1, *size, '}');
    if (close == *size || close == open + 1) return;
    *p += open + 1;
    *size = close - open - 1;
}

/* Nonzero where a byte of `word` is '{'. */
RL_INLINE uint64_t has_brace(uint64_t word) {
    uint64_t ones = 0x0101010101010101u;
    uint64_t x = word ^ '{' * ones;
    return (x - ones) & ~x & 0x80 * ones;
}

/* 1..7 bytes as the last ones of eight: leading zeros leave a CRC that starts at 0 as it is. */
RL_INLINE uint64_t load_last(const uint8_t *p, size_t size) {
    uint64_t word;
    if (size >= 4) {
        word = rl_load32(p) | (uint64_t)rl_load32(p + size - 4) << (8 * (size - 4));
    } else {
        word = p[0] | (uint64_t)p[size >> 1] << (8 * (size >> 1)) |
               (uint64_t)p[size - 1] << (8 * (size - 1));
    }
    return word << (8 * (8 - size));
}

RL_INLINE uint32_t crc16_of_word(uint64_t w) {
    const uint16_t(*t)[256] = crc16_table;
    return (uint32_t)(t[7][w & 0xFF] ^ t[6][w >> 8 & 0xFF] ^ t[5][w >> 16 & 0xFF] ^
                      t[4][w >> 24 & 0xFF]) ^
           (uint32_t)(t[3][w >> 32 & 0xFF] ^ t[2][w >> 40 & 0xFF] ^ t[1][w >> 48 & 0xFF] ^
                      t[0][w >> 56]);
}

/* The CRC from 0; *brace becomes nonzero if a byte is '{'. */
RL_INLINE uint32_t crc16_from_0(const uint8_t *p, size_t size, uint64_t *brace) {
    uint64_t found = 0;
    uint32_t r = 0;
    size_t head = size % 8;
    if (head > 0) {
        uint64_t w = load_last(p, head);
        found = has_brace(w);
        r = crc16_of_word(w);
    }
    for (const uint8_t *end = p + size, *at = p + head; at < end; at += 8) {
        uint64_t w = rl_load64(at);
        found |= has_brace(w);
        r = crc16_of_word(w ^ (r >> 8 | (r & 0xFF) << 8));
    }
    *brace = found;
    return r;
}

#if RL_X86_64

/* A key of up to 64 bytes is one vector, right-aligned, zeros in front.  Its eight words, moved to
 * their places by products with x^n modulo the polynomial that do not wait for one another, add up
 * to a polynomial of degree 78, which is folded to 64 bits and then divided (Barrett's way, exact
 * for polynomials): no branch on the length. */
static const uint64_t place_of_words[8] = {0xBD64u, 0x9FE5u, 0x8DDCu, 0xB8E0u,
                                           0x10E2u, 0x45B4u, 0x1021u, 0xEB23u};

RL_TARGET_VPCLMUL RL_INLINE uint32_t crc16_of_vector(__m512i v) {
    const __m512i mirror = _mm512_broadcast_i32x4(
        _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    const __m512i places = _mm512_loadu_si512(place_of_words);
    v = _mm512_shuffle_epi8(v, mirror);
    v = _mm512_xor_si512(_mm512_clmulepi64_epi128(v, places, 0x00),
                         _mm512_clmulepi64_epi128(v, places, 0x11));
    __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    __m128i sum = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    /* x^64, and x^64 divided by the polynomial. */
    const __m128i fold = _mm_set_epi64x(0x111303471A041, 0xB861);
    __m128i w = _mm_xor_si128(sum, _mm_clmulepi64_si128(sum, fold, 0x01));
    __m128i quotient = _mm_clmulepi64_si128(_mm_srli_epi64(w, 16), fold, 0x10);
    quotient = _mm_or_si128(_mm_srli_epi64(quotient, 48),
                            _mm_slli_epi64(_mm_unpackhi_epi64(quotient, quotient), 16));
    w = _mm_xor_si128(w, _mm_clmulepi64_si128(quotient, _mm_cvtsi32_si128(0x1021), 0));
    return (uint32_t)_mm_cvtsi128_si32(w) & 0xFFFF;
}

/* bytes[size - 64..size), those before the first one as zeros, which are not read: 1 <= size. */
RL_TARGET_VPCLMUL RL_INLINE __m512i last_64(const uint8_t *bytes, size_t size) {
    __mmask64 there = size >= 64 ? ~(__mmask64)0 : ~(__mmask64)0 << (64 - size);
    return _mm512_maskz_loadu_epi8(there, (const void *)((uintptr_t)bytes + size - 64));
}

RL_TARGET_VPCLMUL static RL_NOINLINE uint32_t crc16_vectors(const uint8_t *p, size_t size) {
    size_t head = size % 64;
    uint32_t r = head > 0 ? crc16_of_vector(last_64(p, head)) : 0;
    for (const uint8_t *end = p + size, *at = p + head; at < end; at += 64) {
        __m512i v = _mm512_loadu_si512(at);
        uint32_t first = r >> 8 | (r & 0xFF) << 8;
        r = crc16_of_vector(
            _mm512_xor_si512(v, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)first))));
    }
    return r;
}

RL_TARGET_VPCLMUL RL_INLINE uint32_t redis_slot_vectors(const uint8_t *p, size_t size) {
    if (RL_UNLIKELY(size - 1 >= 64)) { /* none, too */
        size_t open = find_byte(p, 0, size, '{');
        if (open < size) narrow_to_tag(&p, &size, open);
        return crc16_vectors(p, size) % RL_REDIS_SLOTS;
    }
    __m512i v = last_64(p, size);
    uint64_t open = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('{'));
    if (open != 0) {
        uint64_t below = open ^ (open - 1); /* up to the first one */
        uint64_t close = _mm512_cmpeq_epi8_mask(v, _mm512_set1_epi8('}')) & ~below;
        if (close != 0 && (close & (below + 1)) == 0) {
            size_t left = 64 - (size_t)_tzcnt_u64(close);
            size_t tag = (size_t)_tzcnt_u64(close) - (size_t)_tzcnt_u64(open) - 1;
            v = last_64(p + size - left - tag, tag);
        }
    }
    return crc16_of_vector(v) % RL_REDIS_SLOTS;
}

RL_TARGET_VPCLMUL static uint32_t redis_slot_one(const uint8_t *p, size_t size) {
    return redis_slot_vectors(p, size);
}

RL_TARGET_VPCLMUL static void redis_slots_vectors(const rl_span *spans, size_t count,
                                                  uint64_t *out) {
    for (size_t i = 0; i < count; i++) {
        if (i + SLOTS_AHEAD < count) rl_prefetch(spans[i + SLOTS_AHEAD].data);
        out[i] = (uint64_t)redis_slot_vectors(spans[i].data, spans[i].size) << RL_REDIS_SLOT_SHIFT;
    }
}

#endif

static uint32_t redis_slot_sliced(const uint8_t *p, size_t size) {
    uint64_t brace;
    uint32_t crc = crc16_from_0(p, size, &brace);
    if (RL_UNLIKELY(brace != 0)) {
        narrow_to_tag(&p, &size, find_byte(p, 0, size, '{'));
        crc = crc16_from_0(p, size, &brace);
    }
    return crc % RL_REDIS_SLOTS;
}

uint32_t rl_redis_slot(const void *data, size_t size) {
#if RL_X86_64
    if (rl_simd_vpclmulqdq()) return redis_slot_one((const uint8_t *)data, size);
#endif
    return redis_slot_sliced((const uint8_t *)data, size);
}

void rl_redis_slots(const rl_span *spans, size_t count, uint64_t *out) {
#if RL_X86_64
    if (rl_simd_vpclmulqdq()) {
        redis_slots_vectors(spans, count, out);
        return;
    }
#endif
    for (size_t i = 0; i < count; i++) {
        if (i + SLOTS_AHEAD < count) rl_prefetch(spans[i + SLOTS_AHEAD].data);
        out[i] = (uint64_t)redis_slot_sliced(spans[i].data, spans[i].size) << RL_REDIS_SLOT_SHIFT;
    }
}

/* The remainder as it stands in the register: before and after it the CRC is inverted. */
static uint32_t sliced(const uint32_t t[8][256], uint32_t r, const uint8_t *p, size_t size) {
    for (; size >= 8; size -= 8, p += 8) {
        uint32_t low = r ^ rl_load32(p), high = rl_load32(p + 4);
        r = t[7][low & 0xFF] ^ t[6][low >> 8 & 0xFF] ^ t[5][low >> 16 & 0xFF] ^ t[4][low >> 24] ^
            t[3][high & 0xFF] ^ t[2][high >> 8 & 0xFF] ^ t[1][high >> 16 & 0xFF] ^ t[0][high >> 24];
    }
    for (; size > 0; size--, p++) r = r >> 8 ^ t[0][(r & 0xFF) ^ *p];
    return r;
}

uint32_t rl_crc32(uint32_t crc, const void *data, size_t size) {
    return ~sliced(crc32_table, ~crc, (const uint8_t *)data, size);
}

void rl_nginx_points(uint32_t base, size_t count, uint64_t *points) {
    const uint32_t(*t)[256] = crc32_table;
    uint32_t point = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t r = ~base ^ point;
        point = ~(t[3][r & 0xFF] ^ t[2][r >> 8 & 0xFF] ^ t[1][r >> 16 & 0xFF] ^ t[0][r >> 24]);
        points[i] = (uint64_t)point << 32;
    }
}

#if RL_X86_64

/* The instruction takes a word each cycle but answers after three, so three streams run side by
 * side.  The first two remainders are then moved past the bytes behind them: multiplied by
 * x^(8 bytes - 33) modulo the polynomial, where the 33 makes up for the carry-less product's
 * offset of 1 and for the 32 that the final instruction adds. */
RL_TARGET_CRC32C RL_INLINE uint64_t three_streams(uint64_t r, const uint8_t *p, size_t bytes,
                                                  uint32_t past_one, uint32_t past_two) {
    uint64_t second = 0, third = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        r = _mm_crc32_u64(r, rl_load64(p + i));
        second = _mm_crc32_u64(second, rl_load64(p + bytes + i));
        third = _mm_crc32_u64(third, rl_load64(p + 2 * bytes + i));
    }
    __m128i moved = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)r),
                                         _mm_cvtsi64_si128((long long)past_two), 0);
    __m128i moved_second = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)second),
                                                _mm_cvtsi64_si128((long long)past_one), 0);
    moved = _mm_xor_si128(moved, moved_second);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(moved)) ^ third;
}

RL_TARGET_CRC32C static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *p, size_t size) {
    enum { LONG_BYTES = 1024, SHORT_BYTES = 128 };
    uint64_t r = crc;
    for (; size >= 3 * LONG_BYTES; size -= 3 * LONG_BYTES, p += 3 * LONG_BYTES) {
        r = three_streams(r, p, LONG_BYTES, 0x170076FAu, 0xA51B6135u);
    }
    for (; size >= 3 * SHORT_BYTES; size -= 3 * SHORT_BYTES, p += 3 * SHORT_BYTES) {
        r = three_streams(r, p, SHORT_BYTES, 0x0D3B6092u, 0xB9E02B86u);
    }
    for (; size >= 8; size -= 8, p += 8) r = _mm_crc32_u64(r, rl_load64(p));
    uint32_t r32 = (uint32_t)r;
    if (size >= 4) {
        r32 = _mm_crc32_u32(r32, rl_load32(p));
        size -= 4, p += 4;
    }
    for (; size > 0; size--, p++) r32 = _mm_crc32_u8(r32, *p);
    return r32;
}

/* Folding (Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ, 2009), four
 * lanes of 16 bytes in a vector: a lane is moved over D bits by multiplying its first 8 bytes by
 * x^(D + 63) and its last 8 by x^(D - 1), modulo the polynomial; what remains is exchanged for
 * the bytes that lie there.  The products' offset of 1 is in the exponents, and the constants are
 * mirrored, as the bytes' bits are. */
static const uint64_t fold_2048[2] = {0xE9A5D8BE00000000u, 0x1426A81500000000u};
static const uint64_t fold_1024[2] = {0x6577B24500000000u, 0x7417153F00000000u};
static const uint64_t fold_512[2] = {0x1C19243B00000000u, 0x75BBA45B00000000u};
/* Each lane to the place of the last one, which itself must not be multiplied. */
static const uint64_t fold_lanes[8] = {0xA46EF4AA00000000u, 0x6051243F00000000u, /* 384 */
                                       0x33CCBBBC00000000u, 0xA2158B3400000000u, /* 256 */
                                       0x3743F7BD00000000u, 0x3171D43000000000u, /* 128 */
                                       0, 0};

RL_TARGET_VPCLMUL RL_INLINE __m512i folded(__m512i lanes, __m512i by, __m512i onto) {
    __m512i first = _mm512_clmulepi64_epi128(lanes, by, 0x00);
    __m512i last = _mm512_clmulepi64_epi128(lanes, by, 0x11);
    return _mm512_ternarylogic_epi64(first, last, onto, 0x96); /* xor of three */
}

RL_TARGET_VPCLMUL RL_INLINE __m512i everywhere(const uint64_t pair[2]) {
    return _mm512_broadcast_i64x2(_mm_loadu_si128((const __m128i *)(const void *)pair));
}

/* Below, the instruction made for it is as fast. */
enum { FOLD_BYTES_MIN = 256 };

/* `size` is a multiple of 64, and at least 256: 16 bytes with the same remainder. */
RL_TARGET_VPCLMUL static void crc32c_fold(uint32_t crc, const uint8_t *p, size_t size,
                                          uint8_t out[16]) {
    __m512i a = _mm512_loadu_si512(p), b = _mm512_loadu_si512(p + 64);
    __m512i c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    const __m512i by_2048 = everywhere(fold_2048), by_1024 = everywhere(fold_1024);
    const __m512i by_512 = everywhere(fold_512);
    for (p += 256, size -= 256; size >= 256; p += 256, size -= 256) {
        a = folded(a, by_2048, _mm512_loadu_si512(p));
        b = folded(b, by_2048, _mm512_loadu_si512(p + 64));
        c = folded(c, by_2048, _mm512_loadu_si512(p + 128));
        d = folded(d, by_2048, _mm512_loadu_si512(p + 192));
    }
    c = folded(a, by_1024, c);
    d = folded(b, by_1024, d);
    d = folded(c, by_512, d);
    for (; size >= 64; p += 64, size -= 64) d = folded(d, by_512, _mm512_loadu_si512(p));
    d = folded(d, _mm512_loadu_si512(fold_lanes), _mm512_maskz_mov_epi64(0xC0, d));
    __m256i half = _mm256_xor_si256(_mm512_castsi512_si256(d), _mm512_extracti64x4_epi64(d, 1));
    __m128i all = _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    _mm_storeu_si128((__m128i *)(void *)out, all);
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

static uint32_t crc32c_hardware(uint32_t r, const uint8_t *p, size_t size) {
    for (; size >= 8; size -= 8, p += 8) r = __crc32cd(r, rl_load64(p));
    for (; size > 0; size--, p++) r = __crc32cb(r, *p);
    return r;
}

#endif

uint32_t rl_crc32c(uint32_t crc, const void *data, size_t size) {
#if RL_X86_64
    const uint8_t *p = (const uint8_t *)data;
    if (size >= FOLD_BYTES_MIN && rl_simd_vpclmulqdq()) {
        uint8_t remainder[16];
        size_t head = size / 64 * 64;
        crc32c_fold(~crc, p, head, remainder);
        return ~crc32c_hardware(crc32c_hardware(0, remainder, 16), p + head, size - head);
    }
    if (rl_simd() > RL_SIMD_SCALAR) return ~crc32c_hardware(~crc, p, size);
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
    return ~crc32c_hardware(~crc, (const uint8_t *)data, size);
#endif
    return ~sliced(crc32c_table, ~crc, (const uint8_t *)data, size);
}
