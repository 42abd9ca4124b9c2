/* Cyclic redundancy checks: CRC-16/XMODEM (Redis Cluster's slots), CRC-32 (zlib, nginx) and CRC-32C
 * (RFC 3720; the checksum of what ringleader stores and sends). */
#ifndef RL_CRC_H
#define RL_CRC_H

#include "hash.h"

/* Each continues from `crc`, the result for the bytes before these, or 0 at the start.  data may
 * be unaligned, and NULL when size is 0. */
uint16_t rl_crc16_xmodem(uint16_t crc, const void *data, size_t size);
uint32_t rl_crc32(uint32_t crc, const void *data, size_t size);

/* nginx's points of a server: points[i] = the CRC-32, continued from `base`, of points[i - 1] as 4
 * little-endian bytes (0 before the first), in the top 32 bits. */
void rl_nginx_points(uint32_t base, size_t count, uint64_t *points);

/* Redis Cluster's slot of a key, 0 ... RL_REDIS_SLOTS - 1: the CRC-16 of its hash tag, which stands
 * between the first '{' and the next '}' behind it, or of the whole key where there is none or an
 * empty one.  data may be NULL when size is 0. */
#define RL_REDIS_SLOTS 16384
uint32_t rl_redis_slot(const void *data, size_t size);

/* out[i] = the slot of spans[i], in the top 14 bits. */
void rl_redis_slots(const rl_span *spans, size_t count, uint64_t *out);

/* With the CPU's own instruction where it has one (x86-64: where rl_simd() is over scalar). */
uint32_t rl_crc32c(uint32_t crc, const void *data, size_t size);

#endif
