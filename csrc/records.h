/* A record of the log: a header, a payload, zeros up to a multiple of 8.  docs/formats.md describes
 * the bytes. */
#ifndef RL_RECORDS_H
#define RL_RECORDS_H

#include "base.h"

enum { RL_RECORD_HEADER_BYTES = 32, RL_RECORD_ALIGN_BYTES = 8 };

typedef struct rl_record {
    uint32_t payload_bytes;
    uint32_t kind_and_group; /* the kind in the low 8 bits */
    uint32_t tag;
    uint64_t sequence;
    uint64_t durable;
} rl_record;

RL_INLINE size_t rl_record_size(size_t payload_bytes) {
    return RL_RECORD_HEADER_BYTES +
           ((payload_bytes + RL_RECORD_ALIGN_BYTES - 1) & ~(size_t)(RL_RECORD_ALIGN_BYTES - 1));
}

/* Write a record of rl_record_size(record->payload_bytes) bytes to out.  payload may be NULL when it
 * has no bytes. */
void rl_record_seal(uint8_t *out, const rl_record *record, const void *payload);

/* Whether a whole record, of at most payload_bytes_max, stands at the beginning of data[0, size);
 * if so (1), *record is its header.  data may be anything. */
int rl_record_parse(
    const uint8_t *data, size_t size, uint32_t payload_bytes_max, rl_record *record
);

#endif
