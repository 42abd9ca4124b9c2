#include "quorum.h"

#include "simd.h"

#if RL_X86_64
#include <immintrin.h>
#endif

#define JOINT_BLOCK_GROUPS 256

/* --- networks -------------------------------------------------------------------------------
 * ORDER(i, j) puts the smaller of c[i], c[j] first.  The median networks order no more than the
 * middle one; whatever of an exchange nobody reads, the compiler drops. */

#define MEDIAN3(ORDER) ORDER(0, 1) ORDER(1, 2) ORDER(0, 1)

#define MEDIAN5(ORDER)                                                                          \
    ORDER(0, 1) ORDER(3, 4) ORDER(0, 3) ORDER(1, 4) ORDER(1, 2) ORDER(2, 3) ORDER(1, 2)

#define MEDIAN7(ORDER)                                                                          \
    ORDER(0, 5) ORDER(0, 3) ORDER(1, 6) ORDER(2, 4) ORDER(0, 1) ORDER(3, 5) ORDER(2, 6)         \
    ORDER(2, 3) ORDER(3, 6) ORDER(4, 5) ORDER(1, 4) ORDER(1, 3) ORDER(3, 4)

#define SORT2(ORDER) ORDER(0, 1)

#define SORT3(ORDER) ORDER(0, 2) ORDER(0, 1) ORDER(1, 2)

#define SORT4(ORDER) ORDER(0, 2) ORDER(1, 3) ORDER(0, 1) ORDER(2, 3) ORDER(1, 2)

#define SORT5(ORDER)                                                                            \
    ORDER(0, 3) ORDER(1, 4) ORDER(0, 2) ORDER(1, 3) ORDER(0, 1) ORDER(2, 4) ORDER(1, 2)         \
    ORDER(3, 4) ORDER(2, 3)

#define SORT6(ORDER)                                                                            \
    ORDER(0, 5) ORDER(1, 3) ORDER(2, 4) ORDER(1, 2) ORDER(3, 4) ORDER(0, 3) ORDER(2, 5)         \
    ORDER(0, 1) ORDER(2, 3) ORDER(4, 5) ORDER(1, 2) ORDER(3, 4)

#define SORT7(ORDER)                                                                            \
    ORDER(0, 6) ORDER(2, 3) ORDER(4, 5) ORDER(0, 2) ORDER(1, 4) ORDER(3, 6) ORDER(0, 1)         \
    ORDER(2, 5) ORDER(3, 4) ORDER(1, 2) ORDER(4, 6) ORDER(2, 3) ORDER(4, 5) ORDER(1, 2)         \
    ORDER(3, 4) ORDER(5, 6)

/* Afterwards c[rank] is in its place.  `voters` is a constant, and so is a rank in the middle. */
#define SELECT(ORDER, voters, rank)                                                             \
    if ((voters) % 2 == 1 && (rank) == (voters) / 2) {                                          \
        if ((voters) == 3) { MEDIAN3(ORDER) }                                                   \
        if ((voters) == 5) { MEDIAN5(ORDER) }                                                   \
        if ((voters) == 7) { MEDIAN7(ORDER) }                                                   \
    } else {                                                                                    \
        if ((voters) == 2) { SORT2(ORDER) }                                                     \
        if ((voters) == 3) { SORT3(ORDER) }                                                     \
        if ((voters) == 4) { SORT4(ORDER) }                                                     \
        if ((voters) == 5) { SORT5(ORDER) }                                                     \
        if ((voters) == 6) { SORT6(ORDER) }                                                     \
        if ((voters) == 7) { SORT7(ORDER) }                                                     \
    }

/* One call for each constant that SELECT wants. */
#define ODD_CASE(network, count)                                                                \
    case count:                                                                                 \
        if (rank == (count) / 2) {                                                              \
            network(match, groups, count, (count) / 2, out);                                    \
        } else {                                                                                \
            network(match, groups, count, rank, out);                                           \
        }                                                                                       \
        return

/* --- one group after another ---------------------------------------------------------------- */

#define ORDER_WORDS(i, j)                                                                       \
    {                                                                                           \
        uint64_t low = c[i] < c[j] ? c[i] : c[j];                                               \
        c[j] = c[i] < c[j] ? c[j] : c[i];                                                       \
        c[i] = low;                                                                             \
    }

RL_INLINE void network_words(const uint64_t *match, size_t groups, size_t voters, size_t rank,
                             uint64_t *out) {
    for (size_t g = 0; g < groups; g++, match += voters) {
        uint64_t c[7];
        memcpy(c, match, voters * sizeof *c);
        SELECT(ORDER_WORDS, voters, rank)
        out[g] = c[rank];
    }
}

/* The rank-th smallest (from 0) of c, which is rearranged. */
static uint64_t select_word(uint64_t *c, size_t count, size_t rank) {
    /* Hoare's FIND; what is left when the part is short is sorted. */
    size_t lo = 0, hi = count - 1;
    while (hi - lo >= 12) {
        size_t middle = lo + (hi - lo) / 2;
        uint64_t a = c[lo], b = c[middle], d = c[hi];
        uint64_t low = a < b ? a : b, high = a < b ? b : a;
        uint64_t pivot = d < low ? low : d > high ? high : d;
        size_t i = lo, j = hi;
        for (;;) {
            while (c[i] < pivot) i++;
            while (c[j] > pivot) j--;
            if (i <= j) {
                uint64_t swapped = c[i];
                c[i] = c[j];
                c[j] = swapped;
                i++;
                if (j == lo) break; /* only when everything right of it is in the upper part */
                j--;
            }
            if (i > j) break;
        }
        if (rank < i && rank > j) return c[rank];
        if (rank <= j) {
            hi = j;
        } else {
            lo = i;
        }
    }
    for (size_t i = lo + 1; i <= hi; i++) {
        uint64_t value = c[i];
        size_t at = i;
        while (at > lo && c[at - 1] > value) {
            c[at] = c[at - 1];
            at--;
        }
        c[at] = value;
    }
    return c[rank];
}

static void committed_words(const uint64_t *match, size_t groups, size_t voters, size_t rank,
                            uint64_t *out) {
    uint64_t c[RL_VOTERS_MAX];
    switch (voters) {
    case 1: memcpy(out, match, groups * sizeof *out); return;
    case 2: network_words(match, groups, 2, rank, out); return;
    case 4: network_words(match, groups, 4, rank, out); return;
    case 6: network_words(match, groups, 6, rank, out); return;
    ODD_CASE(network_words, 3);
    ODD_CASE(network_words, 5);
    ODD_CASE(network_words, 7);
    default:
        for (size_t g = 0; g < groups; g++) {
            memcpy(c, match + g * voters, voters * sizeof *c);
            out[g] = select_word(c, voters, rank);
        }
    }
}

/* --- eight or four groups at a time ---------------------------------------------------------
 *
 * So many rows of `voters` words fill `voters` registers of `lanes` words.  Lane j of register i
 * holds word lanes*i + j; since `voters` (3, 5, 7) and `lanes` have no common factor, the words of
 * one lane belong to voters that all differ.  So voter s's words can be gathered without crossing
 * lanes: lane j takes the register that lies turn(j) before the one of lane 0.  A turn by any
 * number is one by 1, by 2 and by 4, each a blend of two registers under a mask.  What is then in
 * one register is of one voter, in an order of groups that differs from voter to voter; a
 * permutation sorts that out.  (Which voter stands in which register does not matter.) */

/* The turn of lane j: j times the inverse of `lanes` modulo `voters`. */
RL_INLINE size_t turn(size_t lanes, size_t voters, size_t lane) {
    size_t inverse = 1;
    while (lanes * inverse % voters != 1) inverse++;
    return lane * inverse % voters;
}

/* order[s][g]: the lane of register s (after the turns) that holds a word of group g. */
RL_INLINE void group_order(size_t lanes, size_t voters, uint64_t order[7][8]) {
    for (size_t s = 0; s < voters; s++) {
        for (size_t lane = 0; lane < lanes; lane++) {
            size_t from = (s + voters - turn(lanes, voters, lane)) % voters;
            order[s][(lanes * from + lane) / voters] = lane;
        }
    }
}

#if RL_X86_64
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 8")
#else
#define UNROLL
#endif

#define ORDER_AVX512(i, j)                                                                      \
    {                                                                                           \
        __m512i low = _mm512_min_epu64(c[i], c[j]);                                             \
        c[j] = _mm512_max_epu64(c[i], c[j]);                                                    \
        c[i] = low;                                                                             \
    }

RL_TARGET_AVX512 RL_INLINE void network_avx512(const uint64_t *match, size_t groups,
                                               size_t voters, size_t rank, uint64_t *out) {
    uint64_t order[7][8];
    __m512i orders[7];
    __mmask8 turned[3] = {0, 0, 0};
    group_order(8, voters, order);
    UNROLL for (size_t s = 0; s < voters; s++) orders[s] = _mm512_loadu_si512(order[s]);
    for (size_t lane = 0; lane < 8; lane++) {
        for (size_t bit = 0; bit < 3; bit++) {
            turned[bit] |= (__mmask8)((turn(8, voters, lane) >> bit & 1) << lane);
        }
    }
    for (size_t g = 0; g + 8 <= groups; g += 8, match += 8 * voters) {
        __m512i c[7], d[7];
        UNROLL for (size_t s = 0; s < voters; s++) c[s] = _mm512_loadu_si512(match + 8 * s);
        for (size_t bit = 0; bit < (voters == 3 ? 2 : 3); bit++) {
            UNROLL for (size_t s = 0; s < voters; s++) {
                size_t before = (s + 2 * voters - ((size_t)1 << bit)) % voters;
                d[s] = _mm512_mask_blend_epi64(turned[bit], c[s], c[before]);
            }
            UNROLL for (size_t s = 0; s < voters; s++) c[s] = d[s];
        }
        UNROLL for (size_t s = 0; s < voters; s++) {
            c[s] = _mm512_permutexvar_epi64(orders[s], c[s]);
        }
        SELECT(ORDER_AVX512, voters, rank)
        _mm512_storeu_si512(out + g, c[rank]);
    }
}

/* AVX2 compares signed words only: c holds them with the sign bit flipped. */
#define ORDER_AVX2(i, j)                                                                        \
    {                                                                                           \
        __m256i over = _mm256_cmpgt_epi64(c[i], c[j]);                                          \
        __m256i low = _mm256_blendv_epi8(c[i], c[j], over);                                     \
        c[j] = _mm256_blendv_epi8(c[j], c[i], over);                                            \
        c[i] = low;                                                                             \
    }

RL_TARGET_AVX2 RL_INLINE void network_avx2(const uint64_t *match, size_t groups, size_t voters,
                                           size_t rank, uint64_t *out) {
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    uint64_t order[7][8], words[4];
    uint32_t halves[8];
    __m256i orders[7], turned[3];
    group_order(4, voters, order);
    for (size_t s = 0; s < voters; s++) {
        for (size_t g = 0; g < 4; g++) {
            halves[2 * g] = 2 * (uint32_t)order[s][g];
            halves[2 * g + 1] = halves[2 * g] + 1;
        }
        orders[s] = _mm256_loadu_si256((const __m256i *)(const void *)halves);
    }
    for (size_t bit = 0; bit < 3; bit++) {
        for (size_t lane = 0; lane < 4; lane++) {
            words[lane] = 0 - (uint64_t)(turn(4, voters, lane) >> bit & 1);
        }
        turned[bit] = _mm256_loadu_si256((const __m256i *)(const void *)words);
    }
    for (size_t g = 0; g + 4 <= groups; g += 4, match += 4 * voters) {
        __m256i c[7], d[7];
        UNROLL for (size_t s = 0; s < voters; s++) {
            c[s] = _mm256_loadu_si256((const __m256i *)(const void *)(match + 4 * s));
        }
        for (size_t bit = 0; bit < (voters == 3 ? 2 : 3); bit++) {
            UNROLL for (size_t s = 0; s < voters; s++) {
                size_t before = (s + 2 * voters - ((size_t)1 << bit)) % voters;
                d[s] = _mm256_blendv_epi8(c[s], c[before], turned[bit]);
            }
            UNROLL for (size_t s = 0; s < voters; s++) c[s] = d[s];
        }
        UNROLL for (size_t s = 0; s < voters; s++) {
            c[s] = _mm256_xor_si256(_mm256_permutevar8x32_epi32(c[s], orders[s]), sign);
        }
        SELECT(ORDER_AVX2, voters, rank)
        _mm256_storeu_si256((__m256i *)(void *)(out + g), _mm256_xor_si256(c[rank], sign));
    }
}

RL_TARGET_AVX512 static void committed_avx512(const uint64_t *match, size_t groups,
                                              size_t voters, size_t rank, uint64_t *out) {
    switch (voters) {
        ODD_CASE(network_avx512, 3);
        ODD_CASE(network_avx512, 5);
        ODD_CASE(network_avx512, 7);
    }
}

RL_TARGET_AVX2 static void committed_avx2(const uint64_t *match, size_t groups, size_t voters,
                                          size_t rank, uint64_t *out) {
    switch (voters) {
        ODD_CASE(network_avx2, 3);
        ODD_CASE(network_avx2, 5);
        ODD_CASE(network_avx2, 7);
    }
}
#endif

void rl_quorum_committed(const uint64_t *match, size_t groups, size_t voters, size_t quorum,
                         uint64_t *out) {
    size_t rank = voters - quorum, done = 0;
#if RL_X86_64
    if (voters == 3 || voters == 5 || voters == 7) {
        int level = rl_simd();
        if (level >= RL_SIMD_AVX512) {
            committed_avx512(match, groups, voters, rank, out);
            done = groups / 8 * 8;
        } else if (level >= RL_SIMD_AVX2) {
            committed_avx2(match, groups, voters, rank, out);
            done = groups / 4 * 4;
        }
    }
#endif
    committed_words(match + done * voters, groups - done, voters, rank, out + done);
}

uint64_t rl_quorum_committed_one(uint64_t *values, size_t voters, size_t quorum) {
    return select_word(values, voters, voters - quorum);
}

void rl_quorum_committed_joint(const uint64_t *incoming, size_t incoming_voters,
                               size_t incoming_quorum, const uint64_t *outgoing,
                               size_t outgoing_voters, size_t outgoing_quorum, size_t groups,
                               uint64_t *out) {
    uint64_t other[JOINT_BLOCK_GROUPS];
    for (size_t g = 0; g < groups; g += JOINT_BLOCK_GROUPS) {
        size_t count = groups - g < JOINT_BLOCK_GROUPS ? groups - g : JOINT_BLOCK_GROUPS;
        rl_quorum_committed(incoming + g * incoming_voters, count, incoming_voters,
                            incoming_quorum, out + g);
        rl_quorum_committed(outgoing + g * outgoing_voters, count, outgoing_voters,
                            outgoing_quorum, other);
        for (size_t i = 0; i < count; i++) {
            if (other[i] < out[g + i]) out[g + i] = other[i];
        }
    }
}

/* --- elections ------------------------------------------------------------------------------ */

RL_INLINE int8_t vote(size_t granted, size_t refused, size_t voters, size_t quorum) {
    return (int8_t)((granted >= quorum) - (refused > voters - quorum));
}

/* Up to eight voters: a row is one word. */
RL_INLINE void votes_of_words(const int8_t *ballots, size_t groups, size_t voters, size_t quorum,
                              int8_t *out) {
    const uint64_t ones = 0x0101010101010101u, signs = ones << 7;
    const uint64_t kept = ~(uint64_t)0 >> (64 - 8 * voters);
    for (size_t g = 0; g < groups; g++) {
        const int8_t *row = ballots + g * voters;
        uint64_t word;
        if (RL_LIKELY((groups - g) * voters >= sizeof word)) {
            word = rl_load64(row) & kept;
        } else {
            uint8_t last[sizeof word] = {0};
            memcpy(last, row, voters);
            word = rl_load64(last);
        }
        uint64_t refused = word & signs;
        uint64_t set = ((word & ~signs) + ~signs) | word; /* bit 7 of every byte that is not 0 */
        uint64_t granted = set & signs & ~refused;
        out[g] = vote((granted >> 7) * ones >> 56, (refused >> 7) * ones >> 56, voters, quorum);
    }
}

void rl_quorum_votes(const int8_t *ballots, size_t groups, size_t voters, size_t quorum,
                     int8_t *out) {
    if (voters <= 8) {
        votes_of_words(ballots, groups, voters, quorum, out);
        return;
    }
    for (size_t g = 0; g < groups; g++) {
        const int8_t *row = ballots + g * voters;
        uint8_t granted = 0, refused = 0; /* 127 voters at most */
        for (size_t v = 0; v < voters; v++) {
            granted = (uint8_t)(granted + (row[v] > 0));
            refused = (uint8_t)(refused + (row[v] < 0));
        }
        out[g] = vote(granted, refused, voters, quorum);
    }
}

/* --- timers --------------------------------------------------------------------------------- */

/* Written for the compiler's own vectors: one byte a row is loaded, lowered and stored, and a block
 * in which none runs out costs nothing more.  (Vectors wider than AVX2's gain nothing.) */
RL_INLINE size_t tick_blocks(const rl_timers *timers, size_t room, uint32_t *fired) {
    size_t count = 0;
    for (size_t lo = 0; lo < room; lo += RL_TIMER_BLOCK_ROWS) {
        uint8_t *soon = timers->soon + lo;
        uint8_t any = 0;
        uint8_t lowered[RL_TIMER_BLOCK_ROWS];
        for (size_t i = 0; i < RL_TIMER_BLOCK_ROWS; i++) any |= (uint8_t)(soon[i] == 1);
        for (size_t i = 0; i < RL_TIMER_BLOCK_ROWS; i++) {
            lowered[i] = (uint8_t)(soon[i] - (soon[i] != 0));
        }
        if (RL_UNLIKELY(any)) {
            for (size_t i = 0; i < RL_TIMER_BLOCK_ROWS; i++) {
                if (soon[i] != 1) continue;
                uint16_t later = timers->later[lo + i];
                if (later == 0) {
                    fired[count++] = (uint32_t)(lo + i);
                } else {
                    lowered[i] = (uint8_t)(later < 255 ? later : 255);
                    timers->later[lo + i] = (uint16_t)(later - lowered[i]);
                }
            }
        }
        memcpy(soon, lowered, sizeof lowered);
    }
    return count;
}

#if RL_X86_64 && defined(__GNUC__)
RL_TARGET_AVX2 static size_t tick_avx2(const rl_timers *timers, size_t room, uint32_t *fired) {
    return tick_blocks(timers, room, fired);
}
#endif

size_t rl_timers_tick(const rl_timers *timers, size_t rows, uint32_t *fired) {
    size_t room = rl_timers_room(rows);
#if RL_X86_64 && defined(__GNUC__)
    if (rl_simd() >= RL_SIMD_AVX2) return tick_avx2(timers, room, fired);
#endif
    return tick_blocks(timers, room, fired);
}
