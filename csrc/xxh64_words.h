/* XXH64 of one 64-bit word (its 8 little-endian bytes), eight at once in a vector, so that other
 * kernels can fuse the hash with what they do next.  One at a time: rl_xxh64_word() of xxh64.h. */
#ifndef RL_XXH64_WORDS_H
#define RL_XXH64_WORDS_H

#include "xxh64.h"

#if RL_X86_64
#include <immintrin.h>

/* Only where rl_simd() >= RL_SIMD_AVX512. */
RL_TARGET_AVX512 RL_INLINE __m512i rl_xxh64_words_avx512(uint64_t seed, __m512i words) {
    const __m512i prime1 = _mm512_set1_epi64((long long)RL_XXH_PRIME64_1);
    const __m512i prime2 = _mm512_set1_epi64((long long)RL_XXH_PRIME64_2);
    const __m512i prime3 = _mm512_set1_epi64((long long)RL_XXH_PRIME64_3);
    const __m512i prime4 = _mm512_set1_epi64((long long)RL_XXH_PRIME64_4);
    const __m512i begin = _mm512_set1_epi64((long long)(seed + RL_XXH_PRIME64_5 + 8));
    __m512i w = _mm512_rol_epi64(_mm512_mullo_epi64(words, prime2), 31);
    w = _mm512_xor_si512(_mm512_mullo_epi64(w, prime1), begin);
    w = _mm512_add_epi64(_mm512_mullo_epi64(_mm512_rol_epi64(w, 27), prime1), prime4);
    w = _mm512_mullo_epi64(_mm512_xor_si512(w, _mm512_srli_epi64(w, 33)), prime2);
    w = _mm512_mullo_epi64(_mm512_xor_si512(w, _mm512_srli_epi64(w, 29)), prime3);
    return _mm512_xor_si512(w, _mm512_srli_epi64(w, 32));
}
#endif

#endif
