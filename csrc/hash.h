/* The hash functions a ring may be built on, behind one value: a hasher.
 * All of them map bytes to 64 bits; ring and key kernels use nothing else of hashing.
 *
 * Those from RL_HASH_KETAMA on are other systems' ways to place a key, in the order of their own
 * circles: numbers of fewer bits stand in the top bits of the 64, signed ones with the sign bit
 * flipped.  They have no seed. */
#ifndef RL_HASH_H
#define RL_HASH_H

#include "base.h"

/* One key's bytes; borrowed. */
typedef struct rl_span {
    const uint8_t *data;
    size_t size;
} rl_span;

/* The numbers stand in saved rings: never reuse or renumber. */
enum {
    RL_HASH_XXH3 = 0,
    RL_HASH_XXH64 = 1,
    RL_HASH_MURMUR3 = 2,
    RL_HASH_SIPHASH13 = 3,
    RL_HASH_KETAMA = 4,    /* the first 4 bytes of MD5, little-endian: 32 bits */
    RL_HASH_CRC32 = 5,     /* zlib's, as nginx hashes: 32 bits */
    RL_HASH_CASSANDRA = 6, /* the token of Cassandra's Murmur3Partitioner: signed */
    RL_HASH_REDIS = 7      /* the slot of Redis Cluster, hash tags included: 14 bits */
};
#define RL_REDIS_SLOT_SHIFT 50

#define RL_XXH3_SECRET_BYTES 192

typedef struct rl_hasher {
    uint32_t kind;
    uint64_t seed;    /* murmur3 uses its low 32 bits; siphash takes it as the key's first 8 bytes */
    uint64_t seed_hi; /* siphash's second 8 key bytes (little-endian); 0 for the others */
    uint8_t secret[RL_XXH3_SECRET_BYTES]; /* XXH3's secret for keys over 240 bytes, of this seed */
} rl_hasher;

/* Returns 0, or -1 for an unknown kind.  After it the hasher is read-only and may be shared. */
int rl_hasher_init(rl_hasher *hasher, uint32_t kind, uint64_t seed, uint64_t seed_hi);

/* The hash of `size` bytes; data may be unaligned, and NULL when size is 0. */
uint64_t rl_hash_bytes(const rl_hasher *hasher, const void *data, size_t size);

/* out[i] = the hash of words[i] as 8 little-endian bytes.  out may be words itself. */
void rl_hash_words(const rl_hasher *hasher, const uint64_t *words, size_t count, uint64_t *out);

/* out[i] = the hash of spans[i]. */
void rl_hash_spans(const rl_hasher *hasher, const rl_span *spans, size_t count, uint64_t *out);

#endif
