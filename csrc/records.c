#include "records.h"

#include "crc.h"

/* crc, payload bytes, kind and group, tag, sequence, durable */
enum { AT_BYTES = 4, AT_KIND = 8, AT_TAG = 12, AT_SEQUENCE = 16, AT_DURABLE = 24 };

void rl_record_seal(uint8_t *out, const rl_record *record, const void *payload) {
    size_t count = record->payload_bytes, size = rl_record_size(count);
    rl_store32(out + AT_BYTES, record->payload_bytes);
    rl_store32(out + AT_KIND, record->kind_and_group);
    rl_store32(out + AT_TAG, record->tag);
    rl_store64(out + AT_SEQUENCE, record->sequence);
    rl_store64(out + AT_DURABLE, record->durable);
    if (count) memcpy(out + RL_RECORD_HEADER_BYTES, payload, count);
    memset(out + RL_RECORD_HEADER_BYTES + count, 0, size - RL_RECORD_HEADER_BYTES - count);
    rl_store32(out, rl_crc32c(0, out + AT_BYTES, size - AT_BYTES));
}

int rl_record_parse(
    const uint8_t *data, size_t size, uint32_t payload_bytes_max, rl_record *record
) {
    if (size < RL_RECORD_HEADER_BYTES) return 0;
    uint32_t count = rl_load32(data + AT_BYTES);
    if (count > payload_bytes_max || rl_record_size(count) > size) return 0;
    if (rl_crc32c(0, data + AT_BYTES, rl_record_size(count) - AT_BYTES) != rl_load32(data)) return 0;
    record->payload_bytes = count;
    record->kind_and_group = rl_load32(data + AT_KIND);
    record->tag = rl_load32(data + AT_TAG);
    record->sequence = rl_load64(data + AT_SEQUENCE);
    record->durable = rl_load64(data + AT_DURABLE);
    return 1;
}
