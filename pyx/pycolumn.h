/* Columns of Python objects, walked in C.  Included by keys.pyx after pykey.h. */
#ifndef RL_PYCOLUMN_H
#define RL_PYCOLUMN_H

#include <numpy/arrayobject.h>

#include "keys.h"
#include "pykey.h"

/* A list, a tuple or an object array.
 *
 * Guarantee: a span never outlives the key that it points into.  Between two keys of one block
 * no Python code runs, so nothing can drop a key that was already handed out: a key whose type
 * might run some (its methods are Python's, not C's) is copied out in a block of its own, and
 * each block looks anew at where the list keeps its items and how many they are. */
typedef struct rl_objects {
    rl_keys keys;
    PyObject *list;       /* the list that is walked; NULL when cells are a tuple's or array's */
    const uint8_t *cells; /* PyObject pointers, maybe unaligned */
    ptrdiff_t stride;
    Py_ssize_t first;     /* the position of key 0, for errors */
    PyObject *size_error; /* the exception type for a list that changes its size */
    PyObject *pending;    /* the exception behind the last RL_KEYS_PYTHON_ERROR; owned, until it
                           * is raised: it would keep this column alive through its traceback */
} rl_objects;

/* Put `raised` (or NULL) in the place of the pending exception; what was there is the caller's. */
static PyObject *rl_objects_pending(const rl_objects *column, PyObject *raised) {
    PyObject **pending = &((rl_objects *)column)->pending;
#if defined(Py_GIL_DISABLED)
    static PyMutex mutex; /* one for all: it is held for two moves, and on errors only */
    PyMutex_Lock(&mutex);
#endif
    PyObject *before = *pending;
    *pending = raised;
#if defined(Py_GIL_DISABLED)
    PyMutex_Unlock(&mutex);
#endif
    return before;
}

/* Set the exception that is raised aside, so that none is set while callers clean up. */
static void rl_objects_fail(const rl_objects *column, rl_scratch *scratch, size_t index) {
    PyObject *raised;
#if PY_VERSION_HEX >= 0x030C0000
    raised = PyErr_GetRaisedException();
#else
    PyObject *type, *traceback;
    PyErr_Fetch(&type, &raised, &traceback);
    PyErr_NormalizeException(&type, &raised, &traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
#endif
    Py_XDECREF(rl_objects_pending(column, raised));
    scratch->error = RL_KEYS_PYTHON_ERROR;
    scratch->error_index = index;
}

/* Keys in order of allocation stream through the cache, but a shuffled list misses it at each:
 * the object's header is fetched this many keys ahead; half-way, when its length can be read, the
 * characters behind it. */
#define RL_OBJECTS_AHEAD 16

RL_INLINE PyObject *rl_object_at(const uint8_t *cell) {
    PyObject *object;
    memcpy(&object, cell, sizeof object);
    return object;
}

/* Room for `size` bytes behind the `used` that spans of this block point into.  NULL: either the
 * block has to end here, or memory is short (then scratch->error is set). */
RL_INLINE uint8_t *rl_objects_room(rl_scratch *scratch, size_t used, size_t size, size_t count,
                                   size_t index) {
    if (RL_LIKELY(scratch->bytes != NULL && size <= scratch->capacity - used)) {
        return scratch->bytes + used;
    }
    if (used > 0) return NULL;
    size_t wanted = count * 32 < RL_SCRATCH_BYTES ? count * 32 : RL_SCRATCH_BYTES;
    return rl_scratch_reserve(scratch, size < wanted ? wanted : size, index);
}

enum { RL_TAKE_FAILED = -1, RL_TAKE_STOP = 0, RL_TAKEN = 1, RL_TAKEN_LAST = 2 };

/* Any key but ASCII text and bytes: `n` keys of this block are taken, `count` wanted in all. */
static RL_NOINLINE int rl_objects_take(const rl_objects *column, PyObject *key, size_t index,
                                       size_t n, size_t count, rl_span *out, rl_scratch *scratch,
                                       size_t *used) {
    Py_ssize_t position = column->first + (Py_ssize_t)index;
    uint8_t *room;
    if (key == NULL) key = Py_None; /* NumPy leaves it so in arrays that were never filled */
#if PY_VERSION_HEX < 0x030C0000
    if (PyUnicode_Check(key) && PyUnicode_READY(key) < 0) {
        rl_objects_fail(column, scratch, index);
        return RL_TAKE_FAILED;
    }
#endif
    if (PyUnicode_CheckExact(key) && !PyUnicode_IS_ASCII(key)) {
        size_t length = (size_t)PyUnicode_GET_LENGTH(key);
        const void *text = PyUnicode_DATA(key);
        switch (PyUnicode_KIND(key)) {
        case PyUnicode_1BYTE_KIND:
            if ((room = rl_objects_room(scratch, *used, 2 * length, count, index)) == NULL) break;
            out->size = rl_utf8_from_ucs1((const uint8_t *)text, length, room);
            break;
        case PyUnicode_2BYTE_KIND:
            if ((room = rl_objects_room(scratch, *used, 3 * length, count, index)) == NULL) break;
            out->size = rl_utf8_from_ucs2((const uint16_t *)text, length, room);
            break;
        default:
            if ((room = rl_objects_room(scratch, *used, 4 * length, count, index)) == NULL) break;
            out->size = rl_utf8_from_ucs4((const uint32_t *)text, length, room);
        }
        if (room == NULL) return scratch->error ? RL_TAKE_FAILED : RL_TAKE_STOP;
        if (RL_LIKELY(out->size != RL_UTF8_INVALID)) {
            out->data = room;
            *used += out->size;
            return RL_TAKEN;
        }
        /* The general way below refuses it in words. */
    }
    int may_run_python = (Py_TYPE(key)->tp_flags & Py_TPFLAGS_HEAPTYPE) != 0 &&
                         !PyUnicode_Check(key) && !PyBytes_Check(key) && !PyLong_Check(key);
    if (may_run_python && n > 0) return RL_TAKE_STOP;
    int taken = RL_TAKE_FAILED;
    rl_span span;
    rl_key_room key_room;
    Py_INCREF(key);
    if (rl_key_span(key, position, &span, &key_room) < 0) {
        rl_objects_fail(column, scratch, index);
    } else if ((room = rl_objects_room(scratch, *used, span.size, count, index)) == NULL) {
        if (!scratch->error) taken = RL_TAKE_STOP;
    } else {
        if (span.size > 0) memcpy(room, span.data, span.size);
        out->data = room;
        out->size = span.size;
        *used += span.size;
        taken = may_run_python ? RL_TAKEN_LAST : RL_TAKEN;
    }
    rl_key_release(&key_room);
    Py_DECREF(key);
    return taken;
}

/* `left` cells are left from `cells` on, of which `count` are wanted. */
RL_INLINE size_t rl_objects_walk(const rl_objects *column, const uint8_t *cells, ptrdiff_t stride,
                                 size_t left, size_t lo, size_t count, rl_span *out,
                                 rl_scratch *scratch) {
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (i + RL_OBJECTS_AHEAD < left) {
            rl_prefetch(rl_object_at(cells + (ptrdiff_t)(i + RL_OBJECTS_AHEAD) * stride));
            PyObject *next = rl_object_at(cells + (ptrdiff_t)(i + RL_OBJECTS_AHEAD / 2) * stride);
            if (next != NULL && PyUnicode_CheckExact(next)) {
                const char *text = (const char *)((PyASCIIObject *)next + 1);
                rl_prefetch(text);
                rl_prefetch(text + PyUnicode_GET_LENGTH(next));
            }
        }
        PyObject *key = rl_object_at(cells + (ptrdiff_t)i * stride);
        if (RL_LIKELY(key != NULL)) {
            if (RL_LIKELY(PyUnicode_CheckExact(key) && PyUnicode_IS_COMPACT_ASCII(key))) {
                out[i].data = (const uint8_t *)((PyASCIIObject *)key + 1);
                out[i].size = (size_t)PyUnicode_GET_LENGTH(key);
                continue;
            }
            if (PyBytes_CheckExact(key)) {
                out[i].data = (const uint8_t *)PyBytes_AS_STRING(key);
                out[i].size = (size_t)PyBytes_GET_SIZE(key);
                continue;
            }
            if (PyLong_CheckExact(key) && RL_LIKELY(scratch->capacity - used >= sizeof(uint64_t))) {
                int overflow;
                long long word = PyLong_AsLongLongAndOverflow(key, &overflow);
                if (RL_LIKELY(overflow == 0)) {
                    rl_store64(scratch->bytes + used, (uint64_t)word);
                    out[i].data = scratch->bytes + used;
                    out[i].size = sizeof(uint64_t);
                    used += sizeof(uint64_t);
                    continue;
                }
            }
        }
        switch (rl_objects_take(column, key, lo + i, i, count, out + i, scratch, &used)) {
        case RL_TAKEN:
            break;
        case RL_TAKEN_LAST:
            return i + 1;
        case RL_TAKE_STOP:
            return i;
        default:
            return 0;
        }
    }
    return count;
}

static size_t rl_objects_spans(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                               rl_scratch *scratch) {
    const rl_objects *column = (const rl_objects *)keys;
    const ptrdiff_t pointer_bytes = (ptrdiff_t)sizeof(PyObject *);
    const uint8_t *cells = column->cells;
    scratch->error = RL_KEYS_OK;
    if (column->list != NULL) {
        if ((size_t)PyList_GET_SIZE(column->list) != keys->count) {
            PyErr_SetString(column->size_error,
                            "the list of keys changed its size while it was read");
            rl_objects_fail(column, scratch, lo);
            return 0;
        }
        cells = (const uint8_t *)((PyListObject *)column->list)->ob_item;
    }
    size_t left = keys->count - lo;
    if (column->stride == pointer_bytes) {
        cells += (ptrdiff_t)lo * pointer_bytes;
        return rl_objects_walk(column, cells, pointer_bytes, left, lo, count, out, scratch);
    }
    cells += (ptrdiff_t)lo * column->stride;
    return rl_objects_walk(column, cells, column->stride, left, lo, count, out, scratch);
}

/* `list` (or NULL), the cells and `size_error` are borrowed: the Column keeps them alive. */
static void rl_objects_init(rl_objects *column, PyObject *list, const void *cells, size_t count,
                            ptrdiff_t stride, Py_ssize_t first, PyObject *size_error) {
    memset(column, 0, sizeof *column);
    column->keys.count = count;
    column->keys.needs_gil = 1;
    column->keys.spans = rl_objects_spans;
    column->list = list;
    column->cells = (const uint8_t *)cells;
    column->stride = stride;
    column->first = first;
    column->size_error = size_error;
}

/* A tuple never changes and keeps its items in place. */
static const void *rl_tuple_cells(PyObject *tuple) { return ((PyTupleObject *)tuple)->ob_item; }

/* An array of NumPy's variable-width StringDType.
 *
 * Other threads may write to it meanwhile, also without the GIL, under the lock of the dtype's
 * allocator; so does this, and copies the text out before it lets go of the lock. */
typedef struct rl_strings {
    rl_keys keys;
    const PyArray_StringDTypeObject *dtype;
    const uint8_t *cells;
    ptrdiff_t stride;
} rl_strings;

/* `to` has 16 bytes more than the text. */
RL_INLINE void rl_strings_copy_one(uint8_t *to, const npy_static_string *text,
                                   const uint8_t *cell) {
    const uint8_t *from = (const uint8_t *)text->buf;
    size_t size = text->size;
    if (from == cell && size <= 16) {
        memcpy(to, from, 16); /* short text lies in its cell, which has 16 bytes */
    } else if (size >= 16 && size <= 64) {
        /* Overlapping pieces: texts of every length take the same way. */
        size_t last = size - 16, second = last < 16 ? last : 16, third = last < 32 ? last : 32;
        memcpy(to, from, 16);
        memcpy(to + second, from + second, 16);
        memcpy(to + third, from + third, 16);
        memcpy(to + last, from + last, 16);
    } else if (size > 0) {
        memcpy(to, from, size);
    }
}

/* As far as `count` goes, the keys that fit into scratch; fewer, with *error, before one that is
 * null or damaged.  Holds the lock. */
static size_t rl_strings_copy(const rl_strings *column, npy_string_allocator *allocator, size_t lo,
                              size_t count, rl_span *out, rl_scratch *scratch, int *error) {
    const uint8_t *cell = column->cells + (ptrdiff_t)lo * column->stride;
    size_t used = 0;
    for (size_t i = 0; i < count; i++, cell += column->stride) {
        npy_static_string text;
        int is_null =
            NpyString_load(allocator, (const npy_packed_static_string *)(const void *)cell, &text);
        if (RL_UNLIKELY(is_null != 0)) {
            if (is_null < 0) {
                *error = RL_KEYS_CORRUPT;
                return i;
            }
            /* A missing value reads as the text that stands for it, or as empty where the dtype
             * knows no missing values. */
            if (column->dtype->na_object == NULL) {
                text.size = 0;
            } else if (column->dtype->has_string_na) {
                text = column->dtype->default_string;
            } else {
                *error = RL_KEYS_NULL;
                return i;
            }
        }
        size_t room = scratch->capacity - used;
        if (RL_UNLIKELY(room < 16 || text.size > room - 16)) {
            if (used > 0) return i;
            size_t wanted = count * 32 < RL_SCRATCH_BYTES ? count * 32 : RL_SCRATCH_BYTES;
            if (wanted < text.size) wanted = text.size;
            if (rl_scratch_reserve(scratch, wanted + 16, lo + i) == NULL) {
                *error = RL_KEYS_NO_MEMORY;
                return i;
            }
        }
        uint8_t *to = scratch->bytes + used;
        rl_strings_copy_one(to, &text, cell);
        out[i].data = to;
        out[i].size = text.size;
        used += text.size;
    }
    return count;
}

static size_t rl_strings_spans(const rl_keys *keys, size_t lo, size_t count, rl_span *out,
                               rl_scratch *scratch) {
    const rl_strings *column = (const rl_strings *)keys;
    int error = RL_KEYS_OK;
    npy_string_allocator *allocator = NpyString_acquire_allocator(column->dtype);
    size_t read = rl_strings_copy(column, allocator, lo, count, out, scratch, &error);
    NpyString_release_allocator(allocator);
    if (RL_UNLIKELY(read == 0)) {
        scratch->error = error;
        scratch->error_index = lo;
    }
    return read;
}

/* `dtype` and the cells are borrowed: the Column keeps them alive. */
static void rl_strings_init(rl_strings *column, PyObject *dtype, const void *cells, size_t count,
                            ptrdiff_t stride) {
    memset(column, 0, sizeof *column);
    column->keys.count = count;
    column->keys.spans = rl_strings_spans;
    column->dtype = (const PyArray_StringDTypeObject *)(const void *)dtype;
    column->cells = (const uint8_t *)cells;
    column->stride = stride;
}

#if defined(Py_GIL_DISABLED)
#define RL_FREE_THREADED 1
#else
#define RL_FREE_THREADED 0
#endif

#endif
