/* MD5 (RFC 1321), for the rings that are defined by it (ketama).  Not for security. */
#ifndef RL_MD5_H
#define RL_MD5_H

#include "hash.h"

#define RL_MD5_BYTES 16

/* data may be NULL when size is 0. */
void rl_md5(const uint8_t *data, size_t size, uint8_t digest[RL_MD5_BYTES]);

/* The digest of each span, one after another.  Keys of up to 55 bytes (one block of MD5) are
 * hashed 8 or 16 at a time where rl_simd() allows. */
void rl_md5_spans(const rl_span *spans, size_t count, uint8_t *digests);

#endif
