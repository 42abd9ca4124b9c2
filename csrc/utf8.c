#include "utf8.h"

RL_INLINE uint8_t *put(uint8_t *out, uint32_t c) {
    if (c < 0x80) {
        *out++ = (uint8_t)c;
    } else if (c < 0x800) {
        *out++ = (uint8_t)(0xC0 | (c >> 6));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (uint8_t)(0xE0 | (c >> 12));
        *out++ = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | (c >> 18));
        *out++ = (uint8_t)(0x80 | ((c >> 12) & 0x3F));
        *out++ = (uint8_t)(0x80 | ((c >> 6) & 0x3F));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    }
    return out;
}

size_t rl_utf8_from_ucs1(const uint8_t *text, size_t length, uint8_t *out) {
    uint8_t *start = out;
    for (size_t i = 0; i < length; i++) out = put(out, text[i]);
    return (size_t)(out - start);
}

size_t rl_utf8_from_ucs2(const uint16_t *text, size_t length, uint8_t *out) {
    uint8_t *start = out;
    for (size_t i = 0; i < length; i++) {
        if (RL_UNLIKELY((text[i] & 0xF800) == 0xD800)) return RL_UTF8_INVALID;
        out = put(out, text[i]);
    }
    return (size_t)(out - start);
}

size_t rl_utf8_from_ucs4(const uint32_t *text, size_t length, uint8_t *out) {
    uint8_t *start = out;
    for (size_t i = 0; i < length; i++) {
        uint32_t c = text[i];
        if (RL_UNLIKELY(c > 0x10FFFF || (c & 0xFFFFF800u) == 0xD800)) return RL_UTF8_INVALID;
        out = put(out, c);
    }
    return (size_t)(out - start);
}
