/* Which vector instructions this CPU has, and which of them the kernels may use. */
#ifndef RL_SIMD_H
#define RL_SIMD_H

/* In order of width: each level includes the ones before it.  AVX2 also means SSE4.2, PCLMULQDQ,
 * POPCNT, LZCNT, BMI1 and BMI2; AVX512 means F, DQ, BW and VL. */
enum { RL_SIMD_SCALAR = 0, RL_SIMD_AVX2 = 1, RL_SIMD_AVX512 = 2 };

/* The widest level that CPU and operating system support. */
int rl_simd_supported(void);

/* The level in force: rl_simd_supported() unless rl_simd_force() lowered it. */
int rl_simd(void);

/* Whether carry-less products of whole 64-byte vectors may be used: VPCLMULQDQ, which not every CPU
 * with AVX512 has.  Never below the level RL_SIMD_AVX512. */
int rl_simd_vpclmulqdq(void);

/* Make `level` the one in force for this module; returns 0, or -1 when the CPU lacks it.
 * Not meant to run beside lookups: call it at import, or from a single thread. */
int rl_simd_force(int level);

#endif
