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

/* Most text is mostly ASCII: units are taken eight at a time, and only where one of the eight is
 * not ASCII one by one. */
enum { STEP = 8 };

size_t rl_utf8_from_ucs1(const uint8_t *text, size_t length, uint8_t *out) {
    uint8_t *start = out;
    size_t i = 0;
    while (i < length) {
        size_t stop = length;
        if (length - i >= STEP) {
            uint64_t units;
            memcpy(&units, text + i, sizeof units);
            if ((units & 0x8080808080808080u) == 0) {
                memcpy(out, &units, sizeof units);
                out += STEP;
                i += STEP;
                continue;
            }
            stop = i + STEP;
        }
        for (; i < stop; i++) out = put(out, text[i]);
    }
    return (size_t)(out - start);
}

size_t rl_utf8_from_ucs2(const uint16_t *text, size_t length, uint8_t *out) {
    uint8_t *start = out;
    size_t i = 0;
    while (i < length) {
        size_t stop = length;
        if (length - i >= STEP) {
            unsigned all = 0;
            for (int j = 0; j < STEP; j++) all |= text[i + (size_t)j];
            if (all < 0x80) {
                for (int j = 0; j < STEP; j++) *out++ = (uint8_t)text[i++];
                continue;
            }
            stop = i + STEP;
        }
        for (; i < stop; i++) {
            if (RL_UNLIKELY((text[i] & 0xF800) == 0xD800)) return RL_UTF8_INVALID;
            out = put(out, text[i]);
        }
    }
    return (size_t)(out - start);
}

size_t rl_utf8_from_ucs4(const uint32_t *text, size_t length, uint8_t *out) {
    uint8_t *start = out;
    size_t i = 0;
    while (i < length) {
        size_t stop = length;
        if (length - i >= STEP) {
            uint32_t all = 0;
            for (int j = 0; j < STEP; j++) all |= text[i + (size_t)j];
            if (all < 0x80) {
                for (int j = 0; j < STEP; j++) *out++ = (uint8_t)text[i++];
                continue;
            }
            stop = i + STEP;
        }
        for (; i < stop; i++) {
            uint32_t c = text[i];
            if (RL_UNLIKELY(c > 0x10FFFF || (c & 0xFFFFF800u) == 0xD800)) return RL_UTF8_INVALID;
            out = put(out, c);
        }
    }
    return (size_t)(out - start);
}
