"""Hash functions and checksums of one key, and of columns of keys.

Every function here is one *digest*: a loop over spans that writes fixed-size results.  One value
is a column of one span; a column is decoded block by block, with the GIL released where the
column allows it.
"""

import numpy

from ringleader.errors import (
    BuildError,
    KeyEncodingError,
    KeyRangeError,
    KeyTypeError,
    OutputError,
    SettingError,
    SettingTypeError,
)

from cpython.bool cimport PyBool_Check
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_Clear, PyErr_Occurred
from cpython.long cimport PyLong_CheckExact
from cpython.number cimport PyNumber_Index
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from csrc cimport (
    RL_BLOCK_KEYS,
    RL_HASH_MURMUR3,
    RL_HASH_SIPHASH13,
    RL_HASH_XXH64,
    RL_KEYS_CAPSULE,
    RL_MD5_BYTES,
    RL_REDIS_SLOT_SHIFT,
    rl_cassandra,
    rl_crc16_xmodem,
    rl_crc32,
    rl_crc32c,
    rl_hash_spans,
    rl_hash_words,
    rl_hasher,
    rl_hasher_init,
    rl_key_release,
    rl_key_room,
    rl_key_span,
    rl_keys,
    rl_load64,
    rl_md5_spans,
    rl_murmur3_128,
    rl_murmur3_x64_128,
    rl_murmur3_x86_32,
    rl_nginx_points,
    rl_pykey_init,
    rl_redis_slot,
    rl_redis_slots,
    rl_scratch,
    rl_scratch_free,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_span,
    rl_store64,
    rl_xxh3_once,
)


cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLong(object number) noexcept

rl_pykey_init(numpy.integer, KeyTypeError, KeyRangeError, KeyEncodingError)

# Work on more bytes than this takes longer than giving the GIL away and taking it back.
cdef enum:
    NOGIL_BYTES = 65536

cdef uint64_t TOP_32 = <uint64_t>0xFFFFFFFF
cdef uint64_t TOP_64 = <uint64_t>-1


# --- settings -------------------------------------------------------------------------------

cdef int range_error(str name, uint64_t top) except -1:
    bits = 64 if top == TOP_64 else 32
    raise SettingError(f"{name} is an int outside 0 ... 2**{bits}-1")


cdef int read_setting(str name, object number, uint64_t top, uint64_t *value) except -1:
    """`number` as an integer of 0 ... top; bool is refused."""
    if not PyLong_CheckExact(number):
        if PyBool_Check(number):
            raise SettingTypeError(f"{name} is bool, but it is an int")
        try:
            number = PyNumber_Index(number)
        except TypeError:
            raise SettingTypeError(
                f"{name} is {type(number).__name__}, but it is an int"
            ) from None
    value[0] = PyLong_AsUnsignedLongLong(number)
    if value[0] == TOP_64 and PyErr_Occurred():
        PyErr_Clear()
        range_error(name, top)
    if value[0] > top:
        range_error(name, top)
    return 0


cdef int read_key(object key, rl_hasher *setting) except -1:
    """SipHash's 16 key bytes."""
    if not PyBytes_CheckExact(key):
        if not isinstance(key, (bytes, bytearray, memoryview)):
            raise SettingTypeError(
                f"key is {type(key).__name__}, but it is bytes, bytearray or memoryview"
            )
        key = bytes(key)
    if len(<bytes>key) != 16:
        raise SettingError(f"key has {len(<bytes>key)} bytes, but it has to have 16")
    setting.seed = rl_load64(PyBytes_AS_STRING(key))
    setting.seed_hi = rl_load64(PyBytes_AS_STRING(key) + 8)
    return 0


# --- digests --------------------------------------------------------------------------------

# Writes one result for each span.  `setting` carries the seed; only hash_spans needs it whole.
ctypedef void (*digest_spans)(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil


cdef void hash_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    rl_hash_spans(setting, spans, count, <uint64_t *>out)


cdef void xxh3_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    # For single values: a hasher's secret would cost more than a short key's hash.
    cdef size_t i
    for i in range(count):
        (<uint64_t *>out)[i] = rl_xxh3_once(spans[i].data, spans[i].size, setting.seed)


cdef void murmur3_x64_128_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    cdef uint32_t seed = <uint32_t>setting.seed
    for i in range(count):
        (<rl_murmur3_128 *>out)[i] = rl_murmur3_x64_128(spans[i].data, spans[i].size, seed)


cdef void murmur3_x86_32_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    cdef uint32_t seed = <uint32_t>setting.seed
    for i in range(count):
        (<uint32_t *>out)[i] = rl_murmur3_x86_32(spans[i].data, spans[i].size, seed)


cdef void md5_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    rl_md5_spans(spans, count, <uint8_t *>out)


cdef void crc16_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    for i in range(count):
        (<uint16_t *>out)[i] = rl_crc16_xmodem(0, spans[i].data, spans[i].size)


# For single values: their column forms are kinds of hashes.
cdef void token_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    for i in range(count):
        (<uint64_t *>out)[i] = rl_cassandra(spans[i].data, spans[i].size)


cdef void slot_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    for i in range(count):
        (<uint32_t *>out)[i] = rl_redis_slot(spans[i].data, spans[i].size)


cdef void slots_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef uint64_t shifted[RL_BLOCK_KEYS]
    cdef size_t i
    rl_redis_slots(spans, count, shifted)
    for i in range(count):
        (<uint16_t *>out)[i] = <uint16_t>(shifted[i] >> RL_REDIS_SLOT_SHIFT)


cdef void crc32_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    cdef uint32_t start = <uint32_t>setting.seed
    for i in range(count):
        (<uint32_t *>out)[i] = rl_crc32(start, spans[i].data, spans[i].size)


cdef void crc32c_spans(
    const rl_hasher *setting, const rl_span *spans, size_t count, void *out
) noexcept nogil:
    cdef size_t i
    cdef uint32_t start = <uint32_t>setting.seed
    for i in range(count):
        (<uint32_t *>out)[i] = rl_crc32c(start, spans[i].data, spans[i].size)


# --- one value ------------------------------------------------------------------------------

cdef int digest_one(
    object key, digest_spans digest, const rl_hasher *setting, void *out
) except -1:
    cdef rl_span span
    cdef rl_key_room room
    try:
        rl_key_span(key, -1, &span, &room)
        if span.size < NOGIL_BYTES:
            digest(setting, &span, 1, out)
        else:
            with nogil:
                digest(setting, &span, 1, out)
    finally:
        rl_key_release(&room)
    return 0


def xxh3_64(object data, object seed=0):
    """XXH3 with 64 bits (Yann Collet, xxHash 0.8); seed 0 ... 2**64-1.

    The fastest of all here on any length, and what rings are built on unless told otherwise.
    """
    cdef rl_hasher setting
    cdef uint64_t digest
    read_setting("seed", seed, TOP_64, &setting.seed)
    digest_one(data, xxh3_spans, &setting, &digest)
    return digest


def xxh64(object data, object seed=0):
    """XXH64 (Yann Collet); seed 0 ... 2**64-1.  What Envoy hashes with."""
    cdef rl_hasher setting
    cdef uint64_t digest
    setting.kind = RL_HASH_XXH64
    read_setting("seed", seed, TOP_64, &setting.seed)
    digest_one(data, hash_spans, &setting, &digest)
    return digest


def murmur3_x64_128(object data, object seed=0):
    """MurmurHash3_x64_128 (Austin Appleby); seed 0 ... 2**32-1.

    An int of 128 bits, whose low 64 are the first half of the digest and the high 64 the second.
    Cassandra's partitioner is not this function: it sign-extends the last bytes.
    """
    cdef rl_hasher setting
    cdef rl_murmur3_128 digest
    read_setting("seed", seed, TOP_32, &setting.seed)
    digest_one(data, murmur3_x64_128_spans, &setting, &digest)
    return (<object>digest.h2 << 64) | digest.h1


def murmur3_x86_32(object data, object seed=0):
    """MurmurHash3_x86_32 (Austin Appleby); seed 0 ... 2**32-1."""
    cdef rl_hasher setting
    cdef uint32_t digest
    read_setting("seed", seed, TOP_32, &setting.seed)
    digest_one(data, murmur3_x86_32_spans, &setting, &digest)
    return digest


def siphash13(object data, object key):
    """SipHash-1-3 (Aumasson & Bernstein 2012) under a secret key of 16 bytes.

    For data that others choose: without the key they cannot aim at one node.
    """
    cdef rl_hasher setting
    cdef uint64_t digest
    setting.kind = RL_HASH_SIPHASH13
    read_key(key, &setting)
    digest_one(data, hash_spans, &setting, &digest)
    return digest


def md5(object data):
    """MD5 (RFC 1321): the 16 bytes of the digest.  What ketama rings hash with."""
    cdef uint8_t digest[RL_MD5_BYTES]
    digest_one(data, md5_spans, NULL, digest)
    return PyBytes_FromStringAndSize(<const char *>digest, RL_MD5_BYTES)


def crc16_xmodem(object data):
    """CRC-16/XMODEM: polynomial 0x1021, high bit first, from 0.  What Redis Cluster hashes with."""
    cdef uint16_t digest
    digest_one(data, crc16_spans, NULL, &digest)
    return digest


def redis_slot(object data):
    """The slot of Redis Cluster, 0 ... 16383: CRC-16/XMODEM of the key's hash tag, modulo 16384.

    The hash tag is what stands between the first `{` and the next `}`, unless that is nothing;
    a key without one is hashed whole.
    """
    cdef uint32_t slot
    digest_one(data, slot_spans, NULL, &slot)
    return slot


def cassandra_token(object data):
    """The token of Cassandra's Murmur3Partitioner for a serialized partition key, signed.

    MurmurHash3_x64_128's first half, but for the last `len % 16` bytes, which Cassandra extends as
    signed numbers; -2**63 becomes 2**63 - 1.
    """
    cdef uint64_t digest
    digest_one(data, token_spans, NULL, &digest)
    return <int64_t>(digest ^ (<uint64_t>1 << 63))


def crc32(object data, object value=0):
    """CRC-32 (ISO 3309, as in zlib); continues from `value`, the CRC of the bytes before.

    What nginx and memcached clients hash with.
    """
    cdef rl_hasher setting
    cdef uint32_t digest
    read_setting("value", value, TOP_32, &setting.seed)
    digest_one(data, crc32_spans, &setting, &digest)
    return digest


def crc32c(object data, object value=0):
    """CRC-32C (Castagnoli, RFC 3720); continues from `value`, the CRC of the bytes before.

    The checksum of what ringleader stores and sends.
    """
    cdef rl_hasher setting
    cdef uint32_t digest
    read_setting("value", value, TOP_32, &setting.seed)
    digest_one(data, crc32c_spans, &setting, &digest)
    return digest


def nginx_points(object base, uint64_t[::1] out not None):
    """Fill `out` with nginx's points of a server whose name has the CRC-32 `base`."""
    cdef uint64_t start
    read_setting("base", base, TOP_32, &start)
    if out.shape[0]:
        with nogil:
            rl_nginx_points(<uint32_t>start, <size_t>out.shape[0], &out[0])


# --- columns --------------------------------------------------------------------------------

cdef bint digest_blocks(
    const rl_keys *keys, digest_spans digest, const rl_hasher *setting, uint8_t *out,
    size_t item_bytes, size_t at, size_t stop, rl_scratch *scratch
) noexcept nogil:
    """Fills the items [at, stop) of out; False when a key cannot be decoded."""
    cdef uint64_t buffer[RL_BLOCK_KEYS]
    cdef rl_span spans[RL_BLOCK_KEYS]
    cdef const uint64_t *words
    cdef size_t count, i
    while at < stop:
        count = min(stop - at, <size_t>RL_BLOCK_KEYS)
        if keys.is_words:
            words = keys.words(keys, at, count, buffer, scratch)
            if words == NULL:
                return False
            if digest == hash_spans:
                rl_hash_words(setting, words, count, <uint64_t *>(out + at * item_bytes))
                at += count
                continue
            for i in range(count):
                rl_store64(&buffer[i], words[i])
                spans[i].data = <const uint8_t *>&buffer[i]
                spans[i].size = 8
        else:
            count = keys.spans(keys, at, count, spans, scratch)
            if count == 0:
                return False
        digest(setting, spans, count, out + at * item_bytes)
        at += count
    return True


cdef int digest_column(
    object column, digest_spans digest, const rl_hasher *setting, void *out, size_t item_bytes,
    Py_ssize_t items, Py_ssize_t lo, Py_ssize_t hi
) except -1:
    capsule = column.capsule  # keeps the column alive
    cdef const rl_keys *keys = <const rl_keys *>PyCapsule_GetPointer(capsule, RL_KEYS_CAPSULE)
    cdef rl_scratch scratch = rl_scratch(NULL, 0, 0, 0)
    cdef bint done
    if not 0 <= lo <= hi <= min(items, <Py_ssize_t>keys.count):
        raise OutputError(
            f"[{lo}, {hi}) lies outside a column of {keys.count} keys, or out of {items} items"
        )
    if keys.needs_gil:
        done = digest_blocks(
            keys, digest, setting, <uint8_t *>out, item_bytes, lo, hi, &scratch
        )
    else:
        with nogil:
            done = digest_blocks(
                keys, digest, setting, <uint8_t *>out, item_bytes, lo, hi, &scratch
            )
    rl_scratch_free(&scratch)
    if not done:
        column.raise_error(scratch.error, scratch.error_index)
        return -1
    return 0


def hash_column(
    object column, object kind, object seed, object seed_hi, uint64_t[::1] out not None,
    Py_ssize_t lo, Py_ssize_t hi
):
    cdef rl_hasher setting
    cdef uint64_t number, low, high
    read_setting("kind", kind, TOP_32, &number)
    read_setting("seed", seed, TOP_32 if number == RL_HASH_MURMUR3 else TOP_64, &low)
    read_setting("seed_hi", seed_hi, TOP_64, &high)
    if rl_hasher_init(&setting, <uint32_t>number, low, high) != 0:
        raise SettingError(f"kind {number} is no hash function's number")
    digest_column(
        column, hash_spans, &setting, <void *>&out[0] if out.shape[0] else NULL, sizeof(uint64_t),
        out.shape[0], lo, hi
    )


def murmur3_x64_128_column(
    object column, object seed, uint64_t[:, ::1] out not None, Py_ssize_t lo, Py_ssize_t hi
):
    cdef rl_hasher setting
    read_setting("seed", seed, TOP_32, &setting.seed)
    if out.shape[1] != 2:
        raise OutputError(f"out has {out.shape[1]} columns, but a digest takes 2")
    digest_column(
        column, murmur3_x64_128_spans, &setting, <void *>&out[0, 0] if out.shape[0] else NULL,
        sizeof(rl_murmur3_128), out.shape[0], lo, hi
    )


def murmur3_x86_32_column(
    object column, object seed, uint32_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi
):
    cdef rl_hasher setting
    read_setting("seed", seed, TOP_32, &setting.seed)
    digest_column(
        column, murmur3_x86_32_spans, &setting, <void *>&out[0] if out.shape[0] else NULL,
        sizeof(uint32_t), out.shape[0], lo, hi
    )


def md5_column(object column, uint8_t[:, ::1] out not None, Py_ssize_t lo, Py_ssize_t hi):
    if out.shape[1] != RL_MD5_BYTES:
        raise OutputError(f"out has {out.shape[1]} columns, but a digest takes {RL_MD5_BYTES}")
    digest_column(
        column, md5_spans, NULL, <void *>&out[0, 0] if out.shape[0] else NULL,
        RL_MD5_BYTES, out.shape[0], lo, hi
    )


def crc16_xmodem_column(
    object column, uint16_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi
):
    digest_column(
        column, crc16_spans, NULL, <void *>&out[0] if out.shape[0] else NULL,
        sizeof(uint16_t), out.shape[0], lo, hi
    )


def redis_slot_column(
    object column, uint16_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi
):
    digest_column(
        column, slots_spans, NULL, <void *>&out[0] if out.shape[0] else NULL,
        sizeof(uint16_t), out.shape[0], lo, hi
    )


def crc32_column(
    object column, object value, uint32_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi
):
    cdef rl_hasher setting
    read_setting("value", value, TOP_32, &setting.seed)
    digest_column(
        column, crc32_spans, &setting, <void *>&out[0] if out.shape[0] else NULL,
        sizeof(uint32_t), out.shape[0], lo, hi
    )


def crc32c_column(
    object column, object value, uint32_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi
):
    cdef rl_hasher setting
    read_setting("value", value, TOP_32, &setting.seed)
    digest_column(
        column, crc32c_spans, &setting, <void *>&out[0] if out.shape[0] else NULL,
        sizeof(uint32_t), out.shape[0], lo, hi
    )


# --- instructions ---------------------------------------------------------------------------

rl_simd()  # decided here, under the import lock, and then only read


def simd_supported():
    return rl_simd_supported()


def simd():
    return rl_simd()


def simd_force(object level):
    number = PyNumber_Index(level)
    if not 0 <= number <= rl_simd_supported():
        raise BuildError(f"SIMD level {number} is not supported here")
    rl_simd_force(<int>number)
