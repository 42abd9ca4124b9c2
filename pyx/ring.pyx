"""A ring's table of points, and the lock-free cell that readers take it from."""

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport PyObject
from libc.stdint cimport UINT32_MAX, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from csrc cimport (
    RL_BLOCK_KEYS,
    RL_DIRECT_PAD,
    RL_KEYS_CAPSULE,
    RL_OWNERS_PAD,
    RL_RING_CAPSULE,
    RL_WALK_LINEAR,
    rl_cell_take,
    rl_hash_bytes,
    rl_hash_spans,
    rl_hash_words,
    rl_hasher,
    rl_hasher_init,
    rl_key_release,
    rl_key_room,
    rl_key_span,
    rl_keys,
    rl_map_u32,
    rl_pykey_init,
    rl_ring,
    rl_ring_arcs,
    rl_ring_build,
    rl_ring_direct_bits,
    rl_ring_insert,
    rl_ring_node_tokens,
    rl_ring_owner,
    rl_ring_owners,
    rl_ring_patch_direct,
    rl_ring_remove,
    rl_ring_start_bits,
    rl_ring_view,
    rl_ring_walk,
    rl_ring_walks,
    rl_ring_word_owners,
    rl_scratch,
    rl_scratch_free,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_sole_owner,
    rl_span,
)

from itertools import count as _counter

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

cdef object _serials = _counter(1)


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


cdef inline uint64_t _hash(const rl_hasher *hasher, object key) except? 0:
    cdef rl_span span
    cdef rl_key_room room
    rl_key_span(key, -1, &span, &room)
    cdef uint64_t value = rl_hash_bytes(hasher, span.data, span.size)
    rl_key_release(&room)
    return value


cdef inline bint _bits_suit(uint32_t bits, uint32_t if_fewer, uint32_t if_more) noexcept:
    return if_fewer <= bits <= if_more


@cython.final
cdef class Table:
    """The points of one state of a ring: never changed once a reader can see it.

    Nodes have a *position* (their place in the order of names, what callers see) and an *id*
    (what the points hold).  A fresh table has ids equal to positions; a table made from another
    by adding or removing a node keeps the other's ids, so that only the points concerned are
    touched, and `_ranks` translates.
    """

    cdef rl_ring _ring
    cdef rl_hasher _hasher
    # Buffers behind _ring, perhaps longer than it: a later table may take them over.
    cdef uint64_t[::1] _tokens
    cdef uint32_t[::1] _owners
    cdef uint32_t[::1] _starts
    cdef uint32_t[::1] _direct
    # Id -> position, UINT32_MAX for an id that is free; position -> id; position -> points.
    cdef uint32_t[::1] _ranks
    cdef uint32_t[::1] _ids
    cdef uint32_t[::1] _counts
    cdef tuple _names_by_id
    cdef tuple _names  # by position; None until somebody asks
    cdef bint _ids_are_positions
    # What distinguishes this table from the one it was made of: lets a retired table's buffers
    # be brought up to date by patching instead of copying.
    cdef uint64_t _serial
    cdef uint64_t _parent_serial
    cdef uint64_t[::1] _changes
    cdef readonly tuple nodes
    cdef readonly Py_ssize_t live_count
    # Whether the tokens were given, and so cannot be made of the names.
    cdef readonly bint has_given_tokens
    # Policy -> what places by it on this table (placement/located.py); refers to no table, so that
    # who holds the table decides how long it lives.
    cdef readonly dict policies
    cdef rl_ring_view _view
    cdef object _capsule

    def __cinit__(self, *args, **kwargs):
        self.policies = {}
        self._capsule = PyCapsule_New(&self._view, RL_RING_CAPSULE, NULL)

    def __init__(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, tuple nodes, counts, tokens=None
    ):
        if rl_hasher_init(&self._hasher, kind, seed, seed_hi) != 0:
            raise ValueError(f"unknown hash kind {kind}")
        if self.nodes is not None:
            raise TypeError("a table is built once: readers may hold it")
        if len(counts) != len(nodes):
            raise ValueError(f"{len(counts)} counts for {len(nodes)} nodes")
        self.nodes = nodes
        self._counts = np.array(counts, dtype=np.uint32)
        if tokens is None:
            self._build()
        else:
            self.has_given_tokens = True
            given = np.array(tokens, dtype=np.uint64)
            if given.ndim != 1 or len(given) != int(np.sum(self._counts, dtype=np.uint64)):
                raise ValueError(f"{len(given)} tokens do not make up the counts")
            self._build(given)

    cdef int _build(self, uint64_t[::1] given=None) except -1:
        """Everything from nodes and counts, and from tokens where they are given."""
        cdef Py_ssize_t node_count = len(self.nodes), position
        cdef size_t total = 0, at = 0
        cdef uint64_t[::1] tokens
        cdef uint32_t count
        cdef uint64_t name_hash
        self._serial = next(_serials)
        self._ids = np.arange(node_count, dtype=np.uint32)
        self._ranks = self._ids
        self._ids_are_positions = True
        self._names_by_id = self._names = tuple([node.name for node in self.nodes])
        self.live_count = 0
        for position in range(node_count):
            total += self._counts[position]
            self.live_count += self._counts[position] != 0
        self._ring.count = total
        if total == 0:
            return 0
        self._take_room(
            total, rl_ring_start_bits(total), rl_ring_direct_bits(total, <size_t>node_count)
        )
        if given is not None:
            with nogil:
                rl_ring_build(&self._ring, &given[0], &self._counts[0])
            return 0
        tokens = np.empty(total, dtype=np.uint64)
        for position in range(node_count):
            count = self._counts[position]
            if count == 0:
                continue
            name_hash = _hash(&self._hasher, self._names_by_id[position])
            with nogil:
                rl_ring_node_tokens(&self._hasher, name_hash, 0, count, &tokens[at])
            at += count
        with nogil:
            rl_ring_build(&self._ring, &tokens[0], &self._counts[0])
        return 0

    cdef int _take_room(self, size_t count, uint32_t start_bits, uint32_t direct_bits) except -1:
        # An eighth more than needed, so that the next tables can reuse the buffers.
        cdef size_t room = count + count // 8 + RL_OWNERS_PAD
        self._tokens = np.empty(room, dtype=np.uint64)
        self._owners = np.empty(room, dtype=np.uint32)
        self._starts = np.empty((<size_t>1 << start_bits) + 1, dtype=np.uint32)
        if direct_bits:
            self._direct = np.empty((<size_t>1 << direct_bits) + RL_DIRECT_PAD, dtype=np.uint32)
        self._point_ring(start_bits, direct_bits)
        return 0

    cdef void _point_ring(self, uint32_t start_bits, uint32_t direct_bits) noexcept:
        self._ring.start_bits = start_bits
        self._ring.direct_bits = direct_bits
        self._ring.tokens = &self._tokens[0]
        self._ring.owners = &self._owners[0]
        self._ring.starts = &self._starts[0]
        self._ring.direct = &self._direct[0] if direct_bits else NULL

    cdef Table _changed(
        self, Table spare, tuple nodes, object names_by_id, uint32_t[::1] ids,
        uint32_t[::1] ranks, uint32_t[::1] counts, uint32_t changed_id, str name,
        uint32_t first, uint32_t change_count, bint insert,
    ):
        """A table with virtual nodes [first, first + change_count) of one node more or less.

        Cost: O(points) of plain copying and O(change_count) of work; a rebuild when the number
        of points has outgrown the index tables.
        """
        cdef Table table = Table.__new__(Table)
        cdef size_t count, direct_words
        cdef uint64_t name_hash
        cdef uint64_t[::1] changes
        cdef bint reuse
        table._hasher = self._hasher
        table.nodes = nodes
        table._counts = counts
        count = self._ring.count + change_count if insert else self._ring.count - change_count
        cdef size_t fewer = count - count // 8, more = count + count // 8
        cdef size_t id_bound = <size_t>ranks.shape[0]
        cdef Py_ssize_t position
        if (
            self._ring.count == 0
            or count == 0
            or not _bits_suit(
                self._ring.start_bits, rl_ring_start_bits(fewer), rl_ring_start_bits(more)
            )
            or not _bits_suit(
                self._ring.direct_bits,
                rl_ring_direct_bits(fewer, id_bound),
                rl_ring_direct_bits(more, id_bound),
            )
            or change_count > count // 4
            # Ids stay as large as they once were; with fewer nodes they fit a direct table again.
            or (
                self._ring.direct_bits == 0
                and rl_ring_direct_bits(count, <size_t>ids.shape[0]) != 0
            )
        ):
            table._build()
            return table

        table._serial = next(_serials)
        table._ids = ids
        table._ranks = ranks
        table._names_by_id = tuple(names_by_id)
        table._ids_are_positions = ids.shape[0] == ranks.shape[0]
        table.live_count = 0
        for position in range(ids.shape[0]):
            table._ids_are_positions &= ids[position] == <uint32_t>position
            table.live_count += counts[position] != 0
        changes = np.empty(change_count, dtype=np.uint64)
        if change_count:
            name_hash = _hash(&self._hasher, name)
            with nogil:
                rl_ring_node_tokens(&self._hasher, name_hash, first, change_count, &changes[0])
            np.asarray(changes).sort()
        table._parent_serial = self._serial
        table._changes = changes

        reuse = (
            spare is not None
            and spare._ring.count != 0
            and spare._serial == self._parent_serial
            and spare._ring.start_bits == self._ring.start_bits
            and spare._ring.direct_bits == self._ring.direct_bits
            and <size_t>spare._tokens.shape[0] >= count + RL_OWNERS_PAD
        )
        if reuse:
            table._tokens = spare._tokens
            table._owners = spare._owners
            table._starts = spare._starts
            if self._ring.direct_bits:
                table._direct = spare._direct
            table._point_ring(self._ring.start_bits, self._ring.direct_bits)
        else:
            table._take_room(count, self._ring.start_bits, self._ring.direct_bits)
        cdef const uint64_t *points = &changes[0] if change_count else NULL
        cdef bint found = True
        with nogil:  # nobody else sees the new table yet, and the spare has no reader
            if insert:
                rl_ring_insert(
                    &table._ring, &self._ring, points, change_count, changed_id, &table._ranks[0]
                )
            else:
                found = rl_ring_remove(
                    &table._ring, &self._ring, points, change_count, changed_id
                ) == 0
            if found and table._ring.direct_bits:
                if not reuse:
                    direct_words = (<size_t>1 << table._ring.direct_bits) + 1
                    memcpy(table._ring.direct, self._ring.direct, direct_words * sizeof(uint32_t))
                elif self._changes.shape[0]:
                    rl_ring_patch_direct(
                        &table._ring, &self._changes[0], <size_t>self._changes.shape[0]
                    )
                rl_ring_patch_direct(&table._ring, points, change_count)
        if not found:
            raise AssertionError(f"the points of node {name!r} are not those of its name")
        return table

    cdef Table with_node(self, Table spare, Py_ssize_t position, object node, uint32_t count):
        """Insert `node` at `position` with `count` points."""
        cdef Py_ssize_t id_bound = self._ranks.shape[0], new_id = 0
        cdef list names = list(self._names_by_id)
        while new_id < id_bound and self._ranks[new_id] != UINT32_MAX:
            new_id += 1
        if new_id < id_bound:
            names[new_id] = node.name
        else:
            names.append(node.name)
        cdef uint32_t[::1] ids = _inserted(self._ids, position, <uint32_t>new_id)
        return self._changed(
            spare, self.nodes[:position] + (node,) + self.nodes[position:],
            names, ids, _ranks_of(ids, len(names)), _inserted(self._counts, position, count),
            <uint32_t>new_id, node.name, 0, count, True,
        )

    cdef Table without_node(self, Table spare, Py_ssize_t position):
        """Remove the node at `position`."""
        cdef uint32_t old_id = self._ids[position]
        cdef list names = list(self._names_by_id)
        names[old_id] = None
        cdef uint32_t[::1] ids = _deleted(self._ids, position)
        return self._changed(
            spare, self.nodes[:position] + self.nodes[position + 1 :],
            names, ids, _ranks_of(ids, len(names)), _deleted(self._counts, position),
            old_id, self.nodes[position].name, 0, self._counts[position], False,
        )

    cdef Table with_count(self, Table spare, Py_ssize_t position, object node, uint32_t count):
        """Replace the node at `position` by `node`, of the same name, with `count` points."""
        cdef uint32_t old = self._counts[position]
        cdef uint32_t[::1] counts = _inserted(_deleted(self._counts, position), position, count)
        return self._changed(
            spare, self.nodes[:position] + (node,) + self.nodes[position + 1 :],
            self._names_by_id, self._ids, self._ranks, counts,
            self._ids[position], node.name, min(old, count), max(old, count) - min(old, count),
            count > old,
        )

    @property
    def names(self):
        """The nodes' names, by position."""
        if self._names is None:
            self._names = tuple([node.name for node in self.nodes])
        return self._names

    @property
    def point_count(self):
        """Points on the circle."""
        return self._ring.count

    @property
    def capsule(self):
        """The `const rl_ring_view *` of this table, for other kernels; keep the table alive."""
        self._check_points()
        self._view.ring = &self._ring
        self._view.hasher = &self._hasher
        self._view.id_bound = <size_t>self._ranks.shape[0]
        self._view.ranks = &self._ranks[0]
        self._view.ids_are_positions = self._ids_are_positions
        return self._capsule

    @property
    def nbytes(self):
        """Bytes of all buffers."""
        cdef Py_ssize_t total = 0
        if self._ring.count:
            total = self._tokens.nbytes + self._owners.nbytes + self._starts.nbytes
            if self._ring.direct_bits:
                total += self._direct.nbytes
        return total

    def counts(self):
        """A copy of the points of each node, uint32, by position."""
        return np.array(self._counts) if self.nodes else np.empty(0, dtype=np.uint32)

    def tokens(self):
        """A copy of the tokens, ascending, uint64."""
        if self._ring.count == 0:
            return np.empty(0, dtype=np.uint64)
        return np.array(self._tokens[: <Py_ssize_t>self._ring.count])

    def owners(self):
        """The position of each token's node, uint32."""
        if self._ring.count == 0:
            return np.empty(0, dtype=np.uint32)
        cdef uint32_t[::1] owners = np.array(self._owners[: <Py_ssize_t>self._ring.count])
        rl_map_u32(&owners[0], self._ring.count, &self._ranks[0])
        return np.asarray(owners)

    def arcs(self):
        """The exact length of the circle that each node owns; they sum to 2**64."""
        cdef Py_ssize_t id_bound = self._ranks.shape[0], i
        cdef uint64_t[::1] low = np.zeros(id_bound + 1, dtype=np.uint64)
        cdef uint64_t[::1] high = np.zeros(id_bound + 1, dtype=np.uint64)
        if self._ring.count:
            with nogil:
                rl_ring_arcs(&self._ring, &low[0], &high[0])
        return [
            low[self._ids[i]] + (<object>high[self._ids[i]] << 64)
            for i in range(self._ids.shape[0])
        ]

    def lookup(self, column not None, uint32_t[::1] out not None, Py_ssize_t lo, Py_ssize_t hi):
        """out[lo:hi] = the positions of the owners of keys [lo, hi) of the column."""
        self._check(column, out.shape[0], lo, hi)
        if lo < hi:
            self._run(column, 1, &out[0], <size_t>lo, <size_t>hi, False)

    def lookup_replicas(
        self, column not None, uint32_t[:, ::1] out not None, Py_ssize_t lo, Py_ssize_t hi
    ):
        """out[lo:hi] = the positions of the first out.shape[1] distinct owners of each key."""
        self._check(column, out.shape[0], lo, hi)
        _check_count(out.shape[1], self.live_count)
        if lo < hi:
            self._run(column, <size_t>out.shape[1], &out[0, 0], <size_t>lo, <size_t>hi, True)

    cdef int _check(self, column, Py_ssize_t size, Py_ssize_t lo, Py_ssize_t hi) except -1:
        self._check_points()
        if not 0 <= lo <= hi <= len(column) or hi > size:
            raise ValueError("the range lies outside the column or out")
        return 0

    cdef int _check_points(self) except -1:
        if self._ring.count == 0:
            _raise_empty(self.nodes)
        return 0

    def check_wanted(self, wanted):
        """A number of distinct nodes as an int; refuses what no key can be given."""
        return self._check_wanted(wanted)

    cdef Py_ssize_t _check_wanted(self, object wanted) except -1:
        self._check_points()
        if isinstance(wanted, bool) or not PyIndex_Check(wanted):
            raise SettingTypeError(f"n must be an int or Replicas, not {type(wanted).__name__}")
        return _check_count(PyNumber_AsSsize_t(wanted, NULL), self.live_count)

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
        if replicas and width > RL_WALK_LINEAR:
            seen = <uint64_t *>calloc(<size_t>self._ranks.shape[0] // 64 + 1, sizeof(uint64_t))
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
                if replicas:
                    rl_hash_words(&self._hasher, words, size, buffer)
                else:
                    rl_ring_word_owners(&self._ring, &self._hasher, words, size, to)
            else:
                size = keys.spans(keys, at, size, spans, scratch)
                if size == 0:
                    return False
                rl_hash_spans(&self._hasher, spans, size, buffer)
                if not replicas:
                    rl_ring_owners(&self._ring, buffer, size, to)
            if replicas:
                rl_ring_walks(&self._ring, buffer, size, width, to, seen)
            if not self._ids_are_positions:
                rl_map_u32(to, size * width, &self._ranks[0])
            at += size
        return True

    cdef list _walk(self, key, n):
        cdef uint32_t few[RL_WALK_LINEAR]
        cdef uint32_t[::1] many
        cdef uint64_t[::1] seen
        cdef uint64_t value = _hash(&self._hasher, key)
        cdef Py_ssize_t wanted = self._check_wanted(n), i
        if wanted <= RL_WALK_LINEAR:
            rl_ring_walk(&self._ring, value, <size_t>wanted, few, NULL)
            return [<str>self._names_by_id[few[i]] for i in range(wanted)]
        many = np.empty(wanted, dtype=np.uint32)
        seen = np.zeros(self._ranks.shape[0] // 64 + 1, dtype=np.uint64)
        rl_ring_walk(&self._ring, value, <size_t>wanted, &many[0], &seen[0])
        return [self._names_by_id[many[i]] for i in range(wanted)]


# Small arrays, rewritten by plain loops: NumPy's calls would cost more than the ring's own work.

cdef uint32_t[::1] _inserted(uint32_t[::1] old, Py_ssize_t position, uint32_t value):
    cdef uint32_t[::1] new = np.empty(old.shape[0] + 1, dtype=np.uint32)
    cdef Py_ssize_t i
    for i in range(position):
        new[i] = old[i]
    new[position] = value
    for i in range(position, old.shape[0]):
        new[i + 1] = old[i]
    return new


cdef uint32_t[::1] _deleted(uint32_t[::1] old, Py_ssize_t position):
    cdef uint32_t[::1] new = np.empty(old.shape[0] - 1, dtype=np.uint32)
    cdef Py_ssize_t i
    for i in range(position):
        new[i] = old[i]
    for i in range(position, new.shape[0]):
        new[i] = old[i + 1]
    return new


cdef uint32_t[::1] _ranks_of(uint32_t[::1] ids, Py_ssize_t id_bound):
    cdef uint32_t[::1] ranks = np.empty(id_bound, dtype=np.uint32)
    cdef Py_ssize_t i
    for i in range(id_bound):
        ranks[i] = UINT32_MAX
    for i in range(ids.shape[0]):
        ranks[ids[i]] = <uint32_t>i
    return ranks


cdef object _raise_empty(tuple nodes):
    if nodes:
        raise EmptyRingError(
            f"none of the ring's {len(nodes)} nodes has a positive weight; "
            "give one a weight with set_weight()"
        )
    raise EmptyRingError("the ring has no nodes; add one with add_node()")


cdef Py_ssize_t _check_count(Py_ssize_t wanted, Py_ssize_t live) except -1:
    if 1 <= wanted <= live:
        return wanted
    if wanted < 1:
        raise TooFewNodes(f"n={wanted} nodes were asked for; ask for at least 1")
    raise TooFewNodes(
        f"n={wanted} distinct nodes were asked for, but only {live} of the ring's nodes have a "
        "positive weight; ask for fewer, or add nodes"
    )


# What a ring holds before it is built.
cdef Table _NO_NODES = Table(0, 0, 0, (), [])


cdef class RingBase:
    """What `HashRing` inherits: the table's cell, the scalar lookups, the three changes.

    Readers take the table once and use nothing else.  Writers are serialised by the caller; each
    makes a new table, puts it into the cell, and keeps the old one as the spare whose buffers the
    next table takes over, if by then no reader holds it.  Arguments of the underscored methods are
    not checked: `HashRing` does that.
    """

    cdef list _cell
    cdef Table _spare

    def __cinit__(self, *args, **kwargs):
        self._cell = [_NO_NODES]

    def _build(
        self, uint32_t kind, uint64_t seed, uint64_t seed_hi, tuple nodes, counts, tokens=None
    ):
        """Start from these nodes, in the order of their names, with so many points each.

        `tokens`, where they are not made of the names: those of the first node, then those of the
        second, and so on.
        """
        self._cell[0] = Table(kind, seed, seed_hi, nodes, counts, tokens)
        self._spare = None

    def _share(self, RingBase other not None):
        """Start from another ring's table, which both then leave as it is."""
        self._cell[0] = rl_cell_take(other._cell)
        self._spare = None

    def _add(self, Py_ssize_t position, node, uint32_t count):
        cdef Table table = self._table()
        self._publish(table, table.with_node(self._take_spare(), position, node, count))

    def _drop(self, Py_ssize_t position):
        cdef Table table = self._table()
        self._publish(table, table.without_node(self._take_spare(), position))

    def _set(self, Py_ssize_t position, node, uint32_t count):
        cdef Table table = self._table()
        self._publish(table, table.with_count(self._take_spare(), position, node, count))

    cdef Table _take_spare(self):
        cdef Table spare = self._spare
        self._spare = None
        if spare is not None and not rl_sole_owner(spare):
            return None
        return spare

    cdef int _publish(self, Table old, Table new) except -1:
        self._cell[0] = new
        self._spare = old
        return 0

    cdef inline Table _table(self):
        return <Table>rl_cell_take(self._cell)

    @property
    def table(self):
        """The table in force: a snapshot that later changes leave alone."""
        return self._table()

    cdef inline object _owner_name(self, key):
        cdef Table table = self._table()
        cdef uint64_t value = _hash(&table._hasher, key)
        if table._ring.count == 0:
            _raise_empty(table.nodes)
        return table._names_by_id[rl_ring_owner(&table._ring, value)]

    def __getitem__(self, key):
        """The name of the node that owns `key`."""
        return self._owner_name(key)

    def get_node(self, key):
        """The name of the node that owns `key`; the same as `ring[key]`.

        Raises:
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
            EmptyRingError: no node has a positive weight.
        """
        return self._owner_name(key)

    def _replicas(self, Table table, n):
        """What places by a policy on `table`: a subclass's, which knows policies."""
        table._check_wanted(n)
        raise NotImplementedError

    def get_nodes(self, key, n):
        """The names of the first `n` distinct nodes from `key` on, clockwise, owner first.

        `n` may be a policy (`Replicas`): then of the first that satisfy it.

        Raises:
            TooFewNodes: fewer than `n` nodes have a positive weight, or n < 1.
            PolicyError: the nodes cannot satisfy the policy.
            SettingTypeError: `n` is neither int nor policy.
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key.
            EmptyRingError: no node has a positive weight.

        Cost: O(n) where the nodes' weights are alike; the walk passes over points of nodes it has
        met, up to all of them where a few nodes have nearly all the weight.
        """
        cdef Table table = self._table()
        if PyIndex_Check(n):
            return table._walk(key, n)
        try:
            replicas = table.policies.get(n)
        except TypeError:  # not hashable, and so no policy
            replicas = None
        if replicas is None:
            replicas = self._replicas(table, n)
        return replicas.names(table, key)
