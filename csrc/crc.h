/* Cyclic redundancy checks: CRC-16/XMODEM (Redis Cluster's slots), CRC-32 (zlib, nginx) and CRC-32C
 * (RFC 3720; the checksum of what ringleader stores and sends). */
#ifndef RL_CRC_H
#define RL_CRC_H

#include "base.h"

/* Each continues from `crc`, the result for the bytes before these, or 0 at the start.  data may
 * be unaligned, and NULL when size is 0. */
uint16_t rl_crc16_xmodem(uint16_t crc, const void *data, size_t size);
uint32_t rl_crc32(uint32_t crc, const void *data, size_t size);

/* With the CPU's own instruction where it has one (x86-64: where rl_simd() is over scalar). */
uint32_t rl_crc32c(uint32_t crc, const void *data, size_t size);

#endif
