#include "simd.h"

#include "base.h"

#if RL_X86_64 && !defined(_MSC_VER)
#include <cpuid.h>
#endif

#if RL_X86_64
static void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t out[4]) {
#if defined(_MSC_VER)
    int regs[4];
    __cpuidex(regs, (int)leaf, (int)subleaf);
    for (int i = 0; i < 4; i++) out[i] = (uint32_t)regs[i];
#else
    __cpuid_count(leaf, subleaf, out[0], out[1], out[2], out[3]);
#endif
}

static uint64_t enabled_states(void) {
#if defined(_MSC_VER)
    return _xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
#endif
}

static int has_vpclmulqdq = 0; /* set by detect() */

static int detect(void) {
    uint32_t r[4];
    cpuid(0, 0, r);
    if (r[0] < 7) return RL_SIMD_SCALAR;
    cpuid(1, 0, r);
    const uint32_t pclmulqdq = 1u << 1, sse42 = 1u << 20, popcnt = 1u << 23;
    const uint32_t osxsave = 1u << 27, avx = 1u << 28;
    const uint32_t basics = pclmulqdq | sse42 | popcnt | osxsave | avx;
    if ((r[2] & basics) != basics) return RL_SIMD_SCALAR;
    uint64_t states = enabled_states();
    if ((states & 0x6) != 0x6) return RL_SIMD_SCALAR; /* xmm, ymm */
    cpuid(0x80000001u, 0, r);
    const uint32_t lzcnt = 1u << 5;
    if ((r[2] & lzcnt) == 0) return RL_SIMD_SCALAR;
    cpuid(7, 0, r);
    const uint32_t bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
    if ((r[1] & avx2) == 0 || (r[1] & bmi1) == 0 || (r[1] & bmi2) == 0) return RL_SIMD_SCALAR;
    const uint32_t f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const uint32_t wanted = f | dq | bw | vl;
    if ((states & 0xE6) != 0xE6 || (r[1] & wanted) != wanted) return RL_SIMD_AVX2;
    has_vpclmulqdq = (r[2] & (1u << 10)) != 0;
    return RL_SIMD_AVX512;
}
#else
enum { has_vpclmulqdq = 0 };
static int detect(void) { return RL_SIMD_SCALAR; }
#endif

/* Modules call rl_simd() while they are imported, under the import lock; from then on these are
 * only read. */
static int supported = -1;
static int level = -1;

int rl_simd_supported(void) {
    if (supported < 0) supported = detect();
    return supported;
}

int rl_simd(void) {
    if (level < 0) level = rl_simd_supported();
    return level;
}

int rl_simd_vpclmulqdq(void) { return rl_simd() == RL_SIMD_AVX512 && has_vpclmulqdq; }

int rl_simd_force(int wanted) {
    if (wanted < RL_SIMD_SCALAR || wanted > rl_simd_supported()) return -1;
    level = wanted;
    return 0;
}
