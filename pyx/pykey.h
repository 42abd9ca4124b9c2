/* One Python object as one key's bytes: the rule of keys, at the border between Python and C.
 * Included by the .pyx files; csrc/ never sees a Python object. */
#ifndef RL_PYKEY_H
#define RL_PYKEY_H

#include <Python.h>

#include "hash.h"
#include "utf8.h"

/* Room that a key's span may point into.  Call rl_key_release() after use. */
typedef struct rl_key_room {
    uint8_t small[256];
    uint8_t *heap;
    Py_buffer view; /* view.obj is NULL unless held */
} rl_key_room;

/* Set once by each module at import, under the import lock; then only read. */
static PyObject *rl_py_numpy_integer; /* numpy.integer */
static PyObject *rl_py_type_error;    /* ringleader.errors.KeyTypeError */
static PyObject *rl_py_range_error;   /* ringleader.errors.KeyRangeError */
static PyObject *rl_py_text_error;    /* ringleader.errors.KeyEncodingError */

static void rl_pykey_init(PyObject *numpy_integer, PyObject *type_error, PyObject *range_error,
                          PyObject *text_error) {
    Py_INCREF(numpy_integer);
    Py_INCREF(type_error);
    Py_INCREF(range_error);
    Py_INCREF(text_error);
    rl_py_numpy_integer = numpy_integer;
    rl_py_type_error = type_error;
    rl_py_range_error = range_error;
    rl_py_text_error = text_error;
}

/* The errors name the key's position in its column, or none when position is negative. */
static int rl_key_fail(PyObject *error, Py_ssize_t position, const char *what) {
    if (position >= 0) {
        PyErr_Format(error, "key at position %zd %s", position, what);
    } else {
        PyErr_Format(error, "the key %s", what);
    }
    return -1;
}

static int rl_key_fail_type(PyObject *key, Py_ssize_t position) {
    PyObject *name = PyType_GetName(Py_TYPE(key));
    const char *text = name == NULL ? NULL : PyUnicode_AsUTF8(name);
    if (text != NULL) {
        char what[256];
        PyOS_snprintf(what, sizeof what,
                      "is %.100s, but a key is str, bytes, bytearray, memoryview or int%s",
                      key == Py_None ? "None" : text,
                      PyBool_Check(key) || PyFloat_Check(key) ? "; convert it to the one you mean"
                      : key == Py_None                        ? "; drop or fill missing keys first"
                                                              : "");
        rl_key_fail(rl_py_type_error, position, what);
    }
    Py_XDECREF(name);
    return -1;
}

static void rl_key_release(rl_key_room *room) {
    if (RL_UNLIKELY(room->heap != NULL)) {
        PyMem_Free(room->heap);
        room->heap = NULL;
    }
    if (RL_UNLIKELY(room->view.obj != NULL)) PyBuffer_Release(&room->view);
}

RL_INLINE void rl_key_room_init(rl_key_room *room) {
    room->heap = NULL;
    room->view.obj = NULL;
}

/* The 64-bit two's complement of a Python int; -1 with an exception when out of range. */
static int rl_key_word(PyObject *number, Py_ssize_t position, uint64_t *word) {
    int overflow;
    long long small = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (RL_LIKELY(overflow == 0)) {
        *word = (uint64_t)small;
        return small == -1 && PyErr_Occurred() ? -1 : 0;
    }
    if (overflow > 0) {
        *word = PyLong_AsUnsignedLongLong(number);
        if (!(*word == (uint64_t)-1 && PyErr_Occurred())) return 0;
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) return -1;
        PyErr_Clear();
    }
    return rl_key_fail(rl_py_range_error, position,
                       "is an int outside -2**63 ... 2**64-1; hash it yourself, or pass it as bytes");
}

/* Every key that is not ASCII text or exactly bytes. */
static RL_NOINLINE int rl_key_span_slow(PyObject *key, Py_ssize_t position, rl_span *span,
                                        rl_key_room *room) {
    if (PyUnicode_Check(key)) {
#if PY_VERSION_HEX < 0x030C0000
        if (PyUnicode_READY(key) < 0) return -1;
#endif
        size_t length = (size_t)PyUnicode_GET_LENGTH(key);
        int kind = PyUnicode_KIND(key);
        const void *text = PyUnicode_DATA(key);
        size_t unit_bytes = kind == PyUnicode_1BYTE_KIND   ? PyUnicode_IS_ASCII(key) ? 1 : 2
                            : kind == PyUnicode_2BYTE_KIND ? 3
                                                           : 4;
        if (unit_bytes == 1) {
            span->data = (const uint8_t *)text;
            span->size = length;
            return 0;
        }
        uint8_t *out = room->small;
        if (length > sizeof room->small / unit_bytes) {
            /* A str's length times 4 fits: its own UCS-4 buffer would be that large. */
            out = room->heap = (uint8_t *)PyMem_Malloc(length * unit_bytes);
            if (out == NULL) {
                PyErr_NoMemory();
                return -1;
            }
        }
        span->data = out;
        span->size = kind == PyUnicode_1BYTE_KIND
                         ? rl_utf8_from_ucs1((const uint8_t *)text, length, out)
                     : kind == PyUnicode_2BYTE_KIND
                         ? rl_utf8_from_ucs2((const uint16_t *)text, length, out)
                         : rl_utf8_from_ucs4((const uint32_t *)text, length, out);
        if (span->size != RL_UTF8_INVALID) return 0;
        return rl_key_fail(rl_py_text_error, position,
                           "has a lone surrogate, which UTF-8 cannot encode; pass it as bytes");
    }
    if (PyBytes_Check(key)) {
        span->data = (const uint8_t *)PyBytes_AS_STRING(key);
        span->size = (size_t)PyBytes_GET_SIZE(key);
        return 0;
    }
    if (PyBool_Check(key)) return rl_key_fail_type(key, position);
    if (PyLong_Check(key)) {
        uint64_t word;
        if (rl_key_word(key, position, &word) < 0) return -1;
        rl_store64(room->small, word);
        span->data = room->small;
        span->size = 8;
        return 0;
    }
    if (PyByteArray_Check(key) || PyMemoryView_Check(key)) {
        if (PyObject_GetBuffer(key, &room->view, PyBUF_FULL_RO) < 0) {
            room->view.obj = NULL;
            if (!PyErr_ExceptionMatches(PyExc_ValueError) &&
                !PyErr_ExceptionMatches(PyExc_BufferError))
                return -1;
            PyErr_Clear();
            return rl_key_fail(rl_py_type_error, position, "has no bytes: it was released");
        }
        span->data = (const uint8_t *)room->view.buf;
        span->size = (size_t)room->view.len;
        if (PyBuffer_IsContiguous(&room->view, 'C')) return 0;
        room->heap = (uint8_t *)PyMem_Malloc(span->size ? span->size : 1);
        if (room->heap == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        span->data = room->heap;
        return PyBuffer_ToContiguous(room->heap, &room->view, room->view.len, 'C');
    }
    /* Not isinstance(): that may run a key's own `__class__`. */
    if (!PyObject_TypeCheck(key, (PyTypeObject *)rl_py_numpy_integer)) {
        return rl_key_fail_type(key, position);
    }
    PyObject *number = PyNumber_Index(key);
    if (number == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_TypeError)) return -1;
        PyErr_Clear(); /* numpy.timedelta64 counts as an integer, but is none */
        return rl_key_fail_type(key, position);
    }
    uint64_t word;
    int failed = rl_key_word(number, position, &word);
    Py_DECREF(number);
    if (failed) return -1;
    rl_store64(room->small, word);
    span->data = room->small;
    span->size = 8;
    return 0;
}

/* The bytes of one key: 0, or -1 with an exception set and the room empty.  The span lives as long
 * as the key and the room, until rl_key_release(). */
RL_INLINE int rl_key_span(PyObject *key, Py_ssize_t position, rl_span *span, rl_key_room *room) {
    rl_key_room_init(room);
    if (RL_LIKELY(PyUnicode_CheckExact(key) && PyUnicode_IS_COMPACT_ASCII(key))) {
        span->data = (const uint8_t *)((PyASCIIObject *)key + 1);
        span->size = (size_t)PyUnicode_GET_LENGTH(key);
        return 0;
    }
    if (PyBytes_CheckExact(key)) {
        span->data = (const uint8_t *)PyBytes_AS_STRING(key);
        span->size = (size_t)PyBytes_GET_SIZE(key);
        return 0;
    }
    int failed = rl_key_span_slow(key, position, span, room);
    if (RL_UNLIKELY(failed)) rl_key_release(room);
    return failed;
}

#endif
