"""The line from keys to owners for every algorithm that is not a ring of points.

An algorithm's own module makes a state with a `capsule` (csrc/placer.h); a `Placer` puts nodes
and state together and looks up; `PlacerBase` holds the cell that readers take a placer from.
"""

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from csrc cimport (
    RL_BLOCK_KEYS,
    RL_KEYS_CAPSULE,
    RL_PLACER_CAPSULE,
    rl_cell_take,
    rl_hash_bytes,
    rl_hash_spans,
    rl_hash_words,
    rl_key_release,
    rl_key_room,
    rl_key_span,
    rl_keys,
    rl_placer,
    rl_pykey_init,
    rl_scratch,
    rl_scratch_free,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_span,
)

import numpy as np

from ringleader.errors import (
    EmptyRingError,
    KeyEncodingError,
    KeyRangeError,
    KeyTypeError,
    SettingTypeError,
    TooFewNodes,
)

cdef extern from "Python.h":
    # Clips to what fits when the error is NULL, which the declaration in cpython.number forbids.
    Py_ssize_t PyNumber_AsSsize_t(object number, PyObject *overflow_error) except? -1
    bint PyIndex_Check(object number) noexcept

rl_pykey_init(np.integer, KeyTypeError, KeyRangeError, KeyEncodingError)
rl_simd()  # decided here, under the import lock, and then only read


def simd_supported():
    """The widest instructions that CPU and system support, as an index of kernels.SIMD_LEVELS."""
    return rl_simd_supported()


def simd():
    """The level in force in this module."""
    return rl_simd()


def simd_force(int level):
    """Make `level` the one in force; the caller has checked that the CPU has it."""
    if rl_simd_force(level) != 0:
        raise ValueError(f"SIMD level {level} is not supported here")


@cython.final
cdef class Placer:
    """Nodes and an algorithm's state over them: never changed once a reader can see it.

    `state` is None when no node has a positive weight.  `nodes` is a tuple, or another sequence
    that makes its items when they are asked for and has `names`.
    """

    cdef const rl_placer *_placer
    cdef readonly object state
    cdef readonly object nodes
    cdef readonly object names
    cdef readonly Py_ssize_t live_count
    # Policy -> what places by it on this placer (placement/located.py).
    cdef readonly dict policies

    def __cinit__(self, *args, **kwargs):
        self.policies = {}

    def __init__(self, object state, object nodes not None):
        if self.nodes is not None:
            raise TypeError("a placer is made once: readers may hold it")
        self.nodes = nodes
        if isinstance(nodes, tuple):
            self.names = tuple([node.name for node in <tuple>nodes])
        else:
            self.names = nodes.names
        self.state = state
        self.live_count = 0
        if state is not None:
            self._placer = <const rl_placer *>PyCapsule_GetPointer(
                state.capsule, RL_PLACER_CAPSULE
            )
            if self._placer.node_count > <size_t>len(nodes):
                self._placer = NULL
                raise ValueError(f"a state of more than {len(nodes)} nodes")
            self.live_count = <Py_ssize_t>self._placer.live_count

    @property
    def nbytes(self):
        """Bytes of the state's tables."""
        return 0 if self.state is None else self.state.nbytes

    def lookup(self, column not None, uint32_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi):
        """out[lo:hi] = the positions of the owners of keys [lo, hi) of the column."""
        self._check(column, out.shape[0], lo, hi)
        if lo < hi:
            self._run(column, 1, &out[0], <size_t>lo, <size_t>hi, False)

    def lookup_replicas(
        self, column not None, uint32_t[:, ::1] out not None, Py_ssize_t lo, Py_ssize_t hi
    ):
        """out[lo:hi] = the positions of the first out.shape[1] distinct nodes of each key."""
        self._check(column, out.shape[0], lo, hi)
        _check_count(out.shape[1], self.live_count)
        if lo < hi:
            self._run(column, <size_t>out.shape[1], &out[0, 0], <size_t>lo, <size_t>hi, True)

    def check_wanted(self, wanted):
        """A number of distinct nodes as an int; refuses what no key can be given."""
        return self._check_wanted(wanted)

    cdef int _check(self, column, Py_ssize_t size, Py_ssize_t lo, Py_ssize_t hi) except -1:
        self._check_live()
        if not 0 <= lo <= hi <= len(column) or hi > size:
            raise ValueError("the range lies outside the column or out")
        return 0

    cdef int _check_live(self) except -1:
        if self.live_count == 0:
            _raise_empty(self.nodes)
        return 0

    cdef Py_ssize_t _check_wanted(self, object wanted) except -1:
        self._check_live()
        if isinstance(wanted, bool) or not PyIndex_Check(wanted):
            raise SettingTypeError(f"n must be an int or Replicas, not {type(wanted).__name__}")
        return _check_count(PyNumber_AsSsize_t(wanted, NULL), self.live_count)

    cdef uint64_t _hash(self, object key) except? 0:
        cdef rl_span span
        cdef rl_key_room room
        rl_key_span(key, -1, &span, &room)
        cdef uint64_t value = rl_hash_bytes(&self._placer.hasher, span.data, span.size)
        rl_key_release(&room)
        return value

    def owner(self, key):
        """The position of the owner of one key."""
        return self._owner(key)

    cdef Py_ssize_t _owner(self, object key) except -1:
        cdef uint32_t position
        cdef uint64_t value
        self._check_live()
        value = self._hash(key)
        self._placer.owners(self._placer, &value, 1, &position)
        return position

    def walk(self, key, n):
        """The positions of the first `n` distinct nodes of one key, as a list."""
        cdef Py_ssize_t wanted = self._check_wanted(n)
        cdef uint64_t value = self._hash(key)
        cdef uint32_t[::1] found = np.empty(wanted, dtype=np.uint32)
        cdef uint64_t[::1] seen = np.zeros(len(self.nodes) // 64 + 1, dtype=np.uint64)
        self._placer.replicas(self._placer, &value, 1, <size_t>wanted, &found[0], &seen[0])
        return np.asarray(found).tolist()

    cdef int _run(
        self, column, size_t width, uint32_t *out, size_t lo, size_t hi, bint replicas
    ) except -1:
        cdef const rl_keys *keys = <const rl_keys *>PyCapsule_GetPointer(
            column.capsule, RL_KEYS_CAPSULE
        )
        cdef rl_scratch scratch
        cdef uint64_t *seen = NULL
        cdef bint done
        scratch.bytes = NULL
        scratch.capacity = 0
        scratch.error = 0
        scratch.error_index = 0
        if replicas:
            seen = <uint64_t *>calloc(self._placer.node_count // 64 + 1, sizeof(uint64_t))
            if seen == NULL:
                raise MemoryError()
        if keys.needs_gil:
            done = self._blocks(keys, width, out, lo, hi, replicas, &scratch, seen)
        else:
            with nogil:
                done = self._blocks(keys, width, out, lo, hi, replicas, &scratch, seen)
        free(seen)
        rl_scratch_free(&scratch)
        if not done:
            column.raise_error(scratch.error, scratch.error_index)
        return 0

    cdef bint _blocks(
        self, const rl_keys *keys, size_t width, uint32_t *out, size_t lo, size_t hi,
        bint replicas, rl_scratch *scratch, uint64_t *seen,
    ) noexcept nogil:
        """The line from keys to owners, a block at a time; False when a key cannot be decoded."""
        cdef const rl_placer *placer = self._placer
        cdef uint64_t buffer[RL_BLOCK_KEYS]
        cdef rl_span spans[RL_BLOCK_KEYS]
        cdef const uint64_t *words
        cdef uint32_t *to
        cdef size_t at = lo, size
        while at < hi:
            size = min(hi - at, <size_t>RL_BLOCK_KEYS)
            to = out + at * width
            if keys.is_words:
                words = keys.words(keys, at, size, buffer, scratch)
                if words == NULL:
                    return False
                if not replicas and placer.word_owners != NULL:
                    placer.word_owners(placer, words, size, to)
                    at += size
                    continue
                rl_hash_words(&placer.hasher, words, size, buffer)
            else:
                size = keys.spans(keys, at, size, spans, scratch)
                if size == 0:
                    return False
                rl_hash_spans(&placer.hasher, spans, size, buffer)
            if replicas:
                placer.replicas(placer, buffer, size, width, to, seen)
            else:
                placer.owners(placer, buffer, size, to)
            at += size
        return True


cdef object _raise_empty(object nodes):
    if nodes:
        raise EmptyRingError(
            f"none of the {len(nodes)} nodes has a positive weight; "
            "give one a weight, or add another"
        )
    raise EmptyRingError("there are no nodes to place keys on; add one")


cdef Py_ssize_t _check_count(Py_ssize_t wanted, Py_ssize_t live) except -1:
    if 1 <= wanted <= live:
        return wanted
    if wanted < 1:
        raise TooFewNodes(f"n={wanted} nodes were asked for; ask for at least 1")
    raise TooFewNodes(
        f"n={wanted} distinct nodes were asked for, but only {live} nodes have a positive "
        "weight; ask for fewer, or add nodes"
    )


# What a locator holds before it is built.
cdef Placer _NO_NODES = Placer(None, ())


cdef class PlacerBase:
    """What locators inherit: the cell, and the scalar lookups.

    Readers take the placer once and use nothing else.  Writers are serialised by the caller; each
    makes a new placer and publishes it.
    """

    cdef list _cell

    def __cinit__(self, *args, **kwargs):
        self._cell = [_NO_NODES]

    def _publish(self, Placer placer not None):
        self._cell[0] = placer

    @property
    def table(self):
        """The placer in force: a snapshot that later changes leave alone."""
        return <Placer>rl_cell_take(self._cell)

    def __getitem__(self, key):
        """The name of the node that owns `key`."""
        cdef Placer placer = <Placer>rl_cell_take(self._cell)
        return placer.names[placer._owner(key)]

    def get_node(self, key):
        """The name of the node that owns `key`; the same as `locator[key]`.

        Raises:
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
            EmptyRingError: no node has a positive weight.
        """
        cdef Placer placer = <Placer>rl_cell_take(self._cell)
        return placer.names[placer._owner(key)]
