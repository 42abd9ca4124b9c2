/* Text of CPython's and NumPy's fixed-width layouts to UTF-8. */
#ifndef RL_UTF8_H
#define RL_UTF8_H

#include "base.h"

#define RL_UTF8_INVALID ((size_t)-1)

/* Each writes the UTF-8 of text[0..length) to out and returns the bytes written.  Room needed in
 * out: 2, 3 and 4 bytes per unit.  The latter two return RL_UTF8_INVALID on a surrogate or on a
 * number over 0x10FFFF; UCS-2 here is CPython's, in which no pair of surrogates stands for one
 * code point. */
size_t rl_utf8_from_ucs1(const uint8_t *text, size_t length, uint8_t *out);
size_t rl_utf8_from_ucs2(const uint16_t *text, size_t length, uint8_t *out);
size_t rl_utf8_from_ucs4(const uint32_t *text, size_t length, uint8_t *out);

#endif
