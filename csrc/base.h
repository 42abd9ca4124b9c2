/* Portability: unaligned little-endian access, wide multiplication, SIMD target marks.
 * Everything below is C11 for GCC, Clang and MSVC; GNU-only constructs stand behind guards. */
#ifndef RL_BASE_H
#define RL_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER)
#include <intrin.h>
#include <stdlib.h>
#define RL_INLINE static __forceinline
#define RL_NOINLINE __declspec(noinline)
#define RL_LIKELY(x) (x)
#define RL_UNLIKELY(x) (x)
#define RL_RESTRICT __restrict
#elif defined(__GNUC__)
#define RL_INLINE static inline __attribute__((always_inline))
#define RL_NOINLINE __attribute__((noinline))
#define RL_LIKELY(x) __builtin_expect(!!(x), 1)
#define RL_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define RL_RESTRICT __restrict__
#else
#define RL_INLINE static inline
#define RL_NOINLINE
#define RL_LIKELY(x) (x)
#define RL_UNLIKELY(x) (x)
#define RL_RESTRICT restrict
#endif

#if defined(__x86_64__) || defined(_M_X64)
#define RL_X86_64 1
#else
#define RL_X86_64 0
#endif

/* Functions marked so may use the instructions named; callers reach them only through rl_simd(). */
#if RL_X86_64 && defined(__GNUC__)
#define RL_TARGET_AVX2 __attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt")))
#define RL_TARGET_AVX512 \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,popcnt")))
#define RL_TARGET_VPCLMUL \
    __attribute__((target("vpclmulqdq,pclmul,avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi")))
#if defined(__clang__) && __clang_major__ >= 14 /* it took the instruction out of sse4.2 */
#define RL_TARGET_CRC32C __attribute__((target("sse4.2,crc32,pclmul")))
#else
#define RL_TARGET_CRC32C __attribute__((target("sse4.2,pclmul")))
#endif
#else
#define RL_TARGET_AVX2
#define RL_TARGET_AVX512
#define RL_TARGET_VPCLMUL
#define RL_TARGET_CRC32C
#endif

#if defined(__BYTE_ORDER__) && defined(__ORDER_BIG_ENDIAN__)
#define RL_BIG_ENDIAN (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
#else
#define RL_BIG_ENDIAN 0
#endif

RL_INLINE uint32_t rl_swap32(uint32_t x) {
#if defined(_MSC_VER)
    return _byteswap_ulong(x);
#elif defined(__GNUC__)
    return __builtin_bswap32(x);
#else
    return (x << 24) | ((x << 8) & 0x00FF0000u) | ((x >> 8) & 0x0000FF00u) | (x >> 24);
#endif
}

RL_INLINE uint64_t rl_swap64(uint64_t x) {
#if defined(_MSC_VER)
    return _byteswap_uint64(x);
#elif defined(__GNUC__)
    return __builtin_bswap64(x);
#else
    return ((uint64_t)rl_swap32((uint32_t)x) << 32) | rl_swap32((uint32_t)(x >> 32));
#endif
}

RL_INLINE uint32_t rl_load32(const void *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return RL_BIG_ENDIAN ? rl_swap32(x) : x;
}

RL_INLINE uint64_t rl_load64(const void *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return RL_BIG_ENDIAN ? rl_swap64(x) : x;
}

RL_INLINE void rl_store32(void *p, uint32_t x) {
    x = RL_BIG_ENDIAN ? rl_swap32(x) : x;
    memcpy(p, &x, sizeof x);
}

RL_INLINE void rl_store64(void *p, uint64_t x) {
    x = RL_BIG_ENDIAN ? rl_swap64(x) : x;
    memcpy(p, &x, sizeof x);
}

/* r in 1..31 and 1..63. */
RL_INLINE uint32_t rl_rotl32(uint32_t x, int r) { return (x << r) | (x >> (32 - r)); }
RL_INLINE uint64_t rl_rotl64(uint64_t x, int r) { return (x << r) | (x >> (64 - r)); }

/* The product's high half xor its low half. */
RL_INLINE uint64_t rl_mul128_fold(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 rl_u128;
    rl_u128 product = (rl_u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#elif defined(_MSC_VER) && defined(_M_X64)
    uint64_t high;
    uint64_t low = _umul128(a, b, &high);
    return low ^ high;
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, mid1 = a1 * b0, mid2 = a0 * b1, high = a1 * b1;
    uint64_t cross = (low >> 32) + (uint32_t)mid1 + mid2;
    high += (mid1 >> 32) + (cross >> 32);
    return ((cross << 32) | (uint32_t)low) ^ high;
#endif
}

/* Hints; the address may be anything. */
RL_INLINE void rl_prefetch(const void *p) {
#if defined(_MSC_VER) && defined(_M_X64)
    _mm_prefetch((const char *)p, _MM_HINT_T0);
#elif defined(__GNUC__)
    __builtin_prefetch(p, 0, 3);
#else
    (void)p;
#endif
}

/* For data read once, so that it does not push tables out of the cache. */
RL_INLINE void rl_prefetch_once(const void *p) {
#if defined(_MSC_VER) && defined(_M_X64)
    _mm_prefetch((const char *)p, _MM_HINT_NTA);
#elif defined(__GNUC__)
    __builtin_prefetch(p, 0, 0);
#else
    (void)p;
#endif
}

#endif
