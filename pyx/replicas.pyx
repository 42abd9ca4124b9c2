"""Replica policies on rings of points and on placers: rules, walks, and tables of successors.

What a table (of a ring or a placer) keeps here must not keep the table: its buffers are recycled
when nobody holds it any more.  So every call takes the table.
"""

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from csrc cimport (
    RL_BLOCK_KEYS,
    RL_KEYS_CAPSULE,
    RL_NO_GROUP,
    RL_PLACER_CAPSULE,
    RL_REPLICAS_MAX,
    RL_RING_CAPSULE,
    RL_TOKENS_PAD,
    rl_hash_bytes,
    rl_hash_spans,
    rl_hash_words,
    rl_hasher,
    rl_key_release,
    rl_key_room,
    rl_key_span,
    rl_keys,
    rl_place,
    rl_placer,
    rl_placer_word_spans,
    rl_pykey_init,
    rl_quota,
    rl_ring,
    rl_ring_view,
    rl_rows_by_rank,
    rl_rule,
    rl_rule_init,
    rl_rule_select,
    rl_rule_walk,
    rl_rule_walks,
    rl_scratch,
    rl_scratch_free,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_span,
    rl_successors,
    rl_successors_build,
    rl_successors_plan,
    rl_successors_row,
    rl_successors_rows,
    rl_successors_unpack,
    rl_successors_word_rows,
)

import threading

import numpy as np

from ringleader.errors import KeyEncodingError, KeyRangeError, KeyTypeError

rl_pykey_init(np.integer, KeyTypeError, KeyRangeError, KeyEncodingError)
rl_simd()  # decided here, under the import lock, and then only read

NO_GROUP = RL_NO_GROUP


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


cdef object _unsatisfied():
    return ValueError("the rule is not one of this table's nodes")


@cython.final
cdef class Rule:
    """A policy over positions: how many replicas each group of nodes takes, and how they spread.

    `groups`, `dcs`, `zones`: for each position a number; NO_GROUP for a node that takes none.
    `wanted`: how many replicas each group takes.  `spread`: 0 over nodes, 1 over zones, 2 over
    datacenters and then zones.
    """

    cdef rl_rule _rule
    cdef uint32_t[:, ::1] _places
    cdef uint8_t[:, ::1] _quotas

    def __init__(self, groups, dcs, zones, wanted, int spread):
        if self._rule.total != 0:
            raise TypeError("a rule is made once: readers may hold it")
        cdef Py_ssize_t count = len(groups), i
        cdef Py_ssize_t group_count = len(wanted), total = 0
        if not (len(dcs) == len(zones) == count) or not 0 <= spread <= 2:
            raise ValueError("groups, dcs and zones have one number for each node")
        cdef uint32_t[:, ::1] places = np.array([groups, dcs, zones], dtype=np.uint32).T.copy()
        cdef uint32_t[::1] each = np.array(wanted, dtype=np.uint32)
        for i in range(group_count):
            if not 1 <= each[i] <= RL_REPLICAS_MAX:
                raise ValueError(f"{each[i]} replicas in group {i}")
            total += each[i]
        if not 1 <= total <= RL_REPLICAS_MAX:
            raise ValueError(f"{total} replicas")
        for i in range(count):
            if places[i, 0] != RL_NO_GROUP and places[i, 0] >= group_count:
                raise ValueError(f"group {places[i, 0]} of {group_count}")
            if places[i, 1] >= count or places[i, 2] >= count:
                raise ValueError("datacenters and zones are numbered from 0")
        cdef uint8_t[::1] seen = np.zeros(max(1, count), dtype=np.uint8)
        cdef uint8_t[:, ::1] quotas = np.zeros((group_count, 3), dtype=np.uint8)
        if count == 0:
            raise _unsatisfied()
        cdef rl_rule rule
        rule.node_count = <size_t>count
        rule.group_count = <size_t>group_count
        rule.total = <size_t>total
        rule.spreads_dcs = spread == 2
        rule.spreads_zones = spread >= 1
        rule.places = <const rl_place *>&places[0, 0]
        rule.quotas = <rl_quota *>&quotas[0, 0]
        if rl_rule_init(&rule, &each[0], &seen[0]) != 0:
            raise _unsatisfied()
        self._rule = rule
        self._places = places
        self._quotas = quotas

    @property
    def total(self):
        """Replicas of a key."""
        return self._rule.total

    def select(self, uint32_t[::1] candidates not None):
        """The positions that the rule takes of these distinct ones, in their order, as a list.

        Fewer than `total` when it needs more candidates.
        """
        cdef uint32_t row[RL_REPLICAS_MAX]
        cdef size_t count = <size_t>candidates.shape[0], found = 0, i
        for i in range(count):
            if candidates[i] >= self._rule.node_count:
                raise ValueError(f"there is no position {candidates[i]}")
        if count:
            found = rl_rule_select(&self._rule, &candidates[0], count, row)
        return [row[i] for i in range(found)]


cdef inline size_t _rows_bytes(const rl_successors *planned) noexcept:
    return (planned.count + 1) * planned.stride * (4 if planned.is_wide else 2)


@cython.final
cdef class _Successors:
    """The rows of all points: never changed once a reader can see them."""

    cdef rl_successors _successors
    cdef object _buffers

    @staticmethod
    cdef _Successors build(const rl_successors *planned, Rule rule, const rl_ring_view *view):
        cdef _Successors self = _Successors.__new__(_Successors)
        cdef uint32_t[::1] stamps = np.zeros(2 * rule._rule.node_count, np.uint32)
        cdef uint8_t[::1] rows = np.empty(_rows_bytes(planned), np.uint8)
        cdef uint16_t[::1] splits = np.empty(planned.count + RL_TOKENS_PAD, np.uint16)
        self._successors = planned[0]
        self._successors.rows = &rows[0]
        self._successors.splits = &splits[0]
        self._buffers = (rows, splits)
        cdef int failed
        with nogil:
            failed = rl_successors_build(&self._successors, &rule._rule, view, &stamps[0])
        if failed:
            raise _unsatisfied()
        return self


cdef const rl_ring_view *_ring_view(object table, Rule rule) except NULL:
    cdef const rl_ring_view *view = <const rl_ring_view *>PyCapsule_GetPointer(
        table.capsule, RL_RING_CAPSULE
    )
    if rule._rule.node_count != <size_t>len(table.nodes):
        raise _unsatisfied()
    return view


@cython.final
cdef class RingReplicas:
    """A rule on the ring of one table.

    Keys are walked one by one until so many have been asked for that the rows of all points would
    have cost no more; then these are made, if they take at most `bytes_max`.
    """

    cdef readonly Rule rule
    cdef readonly Py_ssize_t bytes_max
    cdef object _building
    cdef list _cell
    cdef size_t _walked
    # Which ring this is for.
    cdef const rl_ring *_ring

    def __init__(self, table, Rule rule not None, Py_ssize_t bytes_max):
        if self.rule is not None:
            raise TypeError("made once: readers may hold it")
        self._ring = _ring_view(table, rule).ring
        self.rule = rule
        self.bytes_max = bytes_max
        self._building = threading.Lock()
        self._cell = [None]

    cdef const rl_ring_view *_view(self, object table) except NULL:
        cdef const rl_ring_view *view = _ring_view(table, self.rule)
        if view.ring != self._ring:
            raise ValueError("this is another table's")
        return view

    @property
    def nbytes(self):
        """Bytes of the rows and their index; 0 until they are made."""
        cdef _Successors successors = self._cell[0]
        if successors is None:
            return 0
        return sum([buffer.nbytes for buffer in successors._buffers])

    cdef _Successors _successors(self, const rl_ring_view *view, size_t more):
        """The rows, if they are worth it with so many keys `more`."""
        cdef _Successors successors = self._cell[0]
        cdef rl_successors plan
        if successors is not None:
            return successors
        self._walked += more
        if self._walked < view.ring.count:
            return None
        rl_successors_plan(&plan, &self.rule._rule, view.ring.count)
        if _rows_bytes(&plan) + 2 * plan.count > <size_t>self.bytes_max:
            return None
        with self._building:
            successors = self._cell[0]
            if successors is None:
                successors = _Successors.build(&plan, self.rule, view)
                self._cell[0] = successors
        return successors

    def walk(self, table, key):
        """The positions of the replicas of one key, as a list."""
        cdef uint32_t row[RL_REPLICAS_MAX]
        cdef size_t i
        self._row(table, key, row)
        return [row[i] for i in range(self.rule._rule.total)]

    def names(self, table, key):
        """The names of the replicas of one key, as a list."""
        cdef uint32_t row[RL_REPLICAS_MAX]
        cdef size_t i
        cdef tuple names = table.names
        self._row(table, key, row)
        return [<str>names[row[i]] for i in range(self.rule._rule.total)]

    cdef int _row(self, table, key, uint32_t *row) except -1:
        cdef const rl_ring_view *view = self._view(table)
        cdef uint64_t value = _hash(view.hasher, key)
        cdef _Successors successors = self._successors(view, 1)
        if successors is not None:
            rl_successors_row(&successors._successors, view.ring, value, row)
        elif rl_rule_walk(&self.rule._rule, view, value, row) < self.rule._rule.total:
            raise _unsatisfied()
        return 0

    def rows(self, table):
        """The replicas of every point of the ring, uint32, shape (points, total)."""
        cdef const rl_ring_view *view = self._view(table)
        cdef rl_successors plan
        cdef _Successors successors = self._cell[0]
        cdef size_t count = view.ring.count
        cdef uint32_t[:, ::1] out = np.empty((count, self.rule._rule.total), np.uint32)
        if successors is None:
            rl_successors_plan(&plan, &self.rule._rule, count)
            successors = _Successors.build(&plan, self.rule, view)
        with nogil:
            rl_successors_unpack(&successors._successors, 0, count, &out[0, 0])
        return np.asarray(out)

    def lookup(
        self, table, column not None, uint32_t[:, ::1] out not None, Py_ssize_t lo, Py_ssize_t hi
    ):
        """out[lo:hi] = the positions of the replicas of keys [lo, hi) of the column."""
        cdef const rl_ring_view *view = self._view(table)
        if not 0 <= lo <= hi <= len(column) or hi > out.shape[0]:
            raise ValueError("the range lies outside the column or out")
        if <size_t>out.shape[1] != self.rule._rule.total:
            raise ValueError(f"out has {out.shape[1]} columns, not {self.rule._rule.total}")
        if lo == hi:
            return
        cdef const rl_keys *keys = <const rl_keys *>PyCapsule_GetPointer(
            column.capsule, RL_KEYS_CAPSULE
        )
        cdef _Successors successors = self._successors(view, <size_t>(hi - lo))
        cdef const rl_successors *rows = NULL
        if successors is not None:
            rows = &successors._successors
        cdef rl_scratch scratch
        cdef int done
        scratch.bytes = NULL
        scratch.capacity = 0
        scratch.error = 0
        scratch.error_index = 0
        if keys.needs_gil:
            done = _ring_blocks(
                keys, view, &self.rule._rule, rows, &out[0, 0], <size_t>lo, <size_t>hi, &scratch
            )
        else:
            with nogil:
                done = _ring_blocks(
                    keys, view, &self.rule._rule, rows, &out[0, 0], <size_t>lo, <size_t>hi,
                    &scratch,
                )
        rl_scratch_free(&scratch)
        if done < 0:
            raise _unsatisfied()
        if done == 0:
            column.raise_error(scratch.error, scratch.error_index)


cdef int _ring_blocks(
    const rl_keys *keys, const rl_ring_view *view, const rl_rule *rule, const rl_successors *rows,
    uint32_t *out, size_t lo, size_t hi, rl_scratch *scratch,
) noexcept nogil:
    """The line from keys to replicas; 0 when a key cannot be decoded, -1 when the rule fails."""
    cdef uint64_t buffer[RL_BLOCK_KEYS]
    cdef rl_span spans[RL_BLOCK_KEYS]
    cdef const uint64_t *words
    cdef uint32_t *to
    cdef size_t at = lo, size
    while at < hi:
        size = min(hi - at, <size_t>RL_BLOCK_KEYS)
        to = out + at * rule.total
        if keys.is_words:
            words = keys.words(keys, at, size, buffer, scratch)
            if words == NULL:
                return 0
            if rows != NULL:
                rl_successors_word_rows(rows, view.ring, view.hasher, words, size, to)
                at += size
                continue
            rl_hash_words(view.hasher, words, size, buffer)
        else:
            size = keys.spans(keys, at, size, spans, scratch)
            if size == 0:
                return 0
            rl_hash_spans(view.hasher, spans, size, buffer)
        if rows != NULL:
            rl_successors_rows(rows, view.ring, buffer, size, to)
        elif rl_rule_walks(rule, view, buffer, size, to) < size:
            return -1
        at += size
    return 1


@cython.final
cdef class PlacerReplicas:
    """A rule on the nodes of one placer, met in the placer's own order of distinct nodes.

    A key is given more of them, twice as many each time, until the rule is satisfied.
    """

    cdef readonly Rule rule

    def __init__(self, placer, Rule rule not None):
        if self.rule is not None:
            raise TypeError("made once: readers may hold it")
        _placer(placer, rule)
        self.rule = rule

    @property
    def nbytes(self):
        """Nothing is made beforehand."""
        return 0

    def walk(self, table, key):
        """The positions of the replicas of one key, as a list."""
        cdef const rl_placer *placer = _placer(table, self.rule)
        cdef uint64_t value = 0
        cdef rl_span span
        cdef rl_key_room room
        cdef uint32_t row[RL_REPLICAS_MAX]
        cdef uint64_t *seen = NULL
        cdef uint32_t *candidates = NULL
        cdef size_t total = self.rule._rule.total, most = _met_max(table, placer), i
        cdef bint done
        rl_key_span(key, -1, &span, &room)
        try:
            if placer.span_replicas == NULL:
                value = rl_hash_bytes(&placer.hasher, span.data, span.size)
            seen = <uint64_t *>calloc(placer.node_count // 64 + 1, sizeof(uint64_t))
            candidates = <uint32_t *>malloc(most * sizeof(uint32_t))
            if seen == NULL or candidates == NULL:
                raise MemoryError()
            done = _more(
                placer, &self.rule._rule, value, &span, total, most, candidates, seen, row
            )
        finally:
            rl_key_release(&room)
            free(seen)
            free(candidates)
        if not done:
            raise _unsatisfied()
        return [row[i] for i in range(total)]

    def names(self, table, key):
        """The names of the replicas of one key, as a list."""
        names = table.names
        return [names[position] for position in self.walk(table, key)]

    def lookup(
        self, table, column not None, uint32_t[:, ::1] out not None, Py_ssize_t lo, Py_ssize_t hi
    ):
        """out[lo:hi] = the positions of the replicas of keys [lo, hi) of the column."""
        cdef const rl_placer *placer = _placer(table, self.rule)
        if not 0 <= lo <= hi <= len(column) or hi > out.shape[0]:
            raise ValueError("the range lies outside the column or out")
        if <size_t>out.shape[1] != self.rule._rule.total:
            raise ValueError(f"out has {out.shape[1]} columns, not {self.rule._rule.total}")
        if lo == hi:
            return
        cdef const rl_keys *keys = <const rl_keys *>PyCapsule_GetPointer(
            column.capsule, RL_KEYS_CAPSULE
        )
        cdef size_t most = _met_max(table, placer)
        cdef size_t width_max = min(most, 4 * self.rule._rule.total)
        cdef rl_scratch scratch
        cdef uint64_t *seen = NULL
        cdef uint32_t *few = NULL
        cdef uint32_t *many = NULL
        cdef int done
        scratch.bytes = NULL
        scratch.capacity = 0
        scratch.error = 0
        scratch.error_index = 0
        try:
            seen = <uint64_t *>calloc(placer.node_count // 64 + 1, sizeof(uint64_t))
            few = <uint32_t *>malloc(RL_BLOCK_KEYS * width_max * sizeof(uint32_t))
            many = <uint32_t *>malloc(most * sizeof(uint32_t))
            if seen == NULL or few == NULL or many == NULL:
                raise MemoryError()
            if keys.needs_gil:
                done = _placer_blocks(
                    keys, placer, &self.rule._rule, &out[0, 0], <size_t>lo, <size_t>hi, &scratch,
                    few, width_max, most, many, seen,
                )
            else:
                with nogil:
                    done = _placer_blocks(
                        keys, placer, &self.rule._rule, &out[0, 0], <size_t>lo, <size_t>hi,
                        &scratch, few, width_max, most, many, seen,
                    )
        finally:
            free(seen)
            free(few)
            free(many)
            rl_scratch_free(&scratch)
        if done < 0:
            raise _unsatisfied()
        if done == 0:
            column.raise_error(scratch.error, scratch.error_index)


cdef const rl_placer *_placer(object table, Rule rule) except NULL:
    if table.state is None or rule._rule.node_count != <size_t>len(table.nodes):
        raise _unsatisfied()
    cdef const rl_placer *placer = <const rl_placer *>PyCapsule_GetPointer(
        table.state.capsule, RL_PLACER_CAPSULE
    )
    if placer.node_count > rule._rule.node_count or placer.live_count < rule._rule.total:
        raise _unsatisfied()
    return placer


cdef size_t _met_max(table, const rl_placer *placer) except 0:
    """How many distinct positions a key can meet: in a table of partitions not live ones, too."""
    most = getattr(table.state, "met_max", None)
    return placer.live_count if most is None else <size_t>most


def live(placer):
    """The positions that keys can be placed on, ascending, as a list."""
    cdef const rl_placer *state
    cdef size_t i
    if placer.state is None:
        return []
    state = <const rl_placer *>PyCapsule_GetPointer(placer.state.capsule, RL_PLACER_CAPSULE)
    if state.live == NULL:
        return list(range(state.live_count))
    return [state.live[i] for i in range(state.live_count)]


cdef bint _more(
    const rl_placer *placer, const rl_rule *rule, uint64_t value, const rl_span *span,
    size_t width, size_t most, uint32_t *candidates, uint64_t *seen, uint32_t *row,
) noexcept nogil:
    """One key's replicas, out of `width` candidates or as many more as it takes, up to `most`."""
    while True:
        width = min(width, most)
        if placer.span_replicas != NULL:
            placer.span_replicas(placer, span, 1, width, candidates, seen)
        else:
            placer.replicas(placer, &value, 1, width, candidates, seen)
        if rl_rule_select(rule, candidates, width, row) == rule.total:
            return True
        if width == most:
            return False
        width *= 2


cdef int _placer_blocks(
    const rl_keys *keys, const rl_placer *placer, const rl_rule *rule, uint32_t *out, size_t lo,
    size_t hi, rl_scratch *scratch, uint32_t *few, size_t width_max, size_t most, uint32_t *many,
    uint64_t *seen,
) noexcept nogil:
    """The line from keys to replicas; 0 when a key cannot be decoded, -1 when the rule fails."""
    cdef uint64_t buffer[RL_BLOCK_KEYS]
    cdef rl_span spans[RL_BLOCK_KEYS]
    cdef const uint64_t *words
    cdef uint32_t *to
    cdef size_t at = lo, size, i, short, width = min(rule.total, width_max)
    while at < hi:
        size = min(hi - at, <size_t>RL_BLOCK_KEYS)
        if keys.is_words:
            words = keys.words(keys, at, size, buffer, scratch)
            if words == NULL:
                return 0
            if placer.span_replicas != NULL:
                rl_placer_word_spans(words, size, buffer, spans)
            else:
                rl_hash_words(&placer.hasher, words, size, buffer)
        else:
            size = keys.spans(keys, at, size, spans, scratch)
            if size == 0:
                return 0
            if placer.span_replicas == NULL:
                rl_hash_spans(&placer.hasher, spans, size, buffer)
        if placer.span_replicas != NULL:
            placer.span_replicas(placer, spans, size, width, few, seen)
        else:
            placer.replicas(placer, buffer, size, width, few, seen)
        short = 0
        for i in range(size):
            to = out + (at + i) * rule.total
            if rl_rule_select(rule, few + i * width, width, to) < rule.total:
                short += 1
                if not _more(
                    placer, rule, buffer[i], &spans[i], 2 * width, most, many, seen, to
                ):
                    return -1
        if short > size // 8:  # wider at once is cheaper than twice
            width = min(2 * width, width_max)
        at += size
    return 1


def by_rank(uint32_t[:, ::1] rows not None, const uint8_t[::1] ranks not None):
    """Each row of positions in the order of their ranks 0, 1, 2, equal ones as they stood."""
    cdef size_t count = <size_t>rows.shape[0], width = <size_t>rows.shape[1], i
    cdef uint32_t[:, ::1] out = np.empty((count, width), np.uint32)
    cdef const uint32_t *cells
    cdef const uint8_t *rank
    cdef size_t node_count = <size_t>ranks.shape[0]
    cdef bint wrong = False
    if count == 0 or width == 0:
        return np.asarray(out)
    for i in range(node_count):
        if ranks[i] > 2:
            raise ValueError(f"rank {ranks[i]} is not 0, 1 or 2")
    cells = &rows[0, 0]
    with nogil:
        for i in range(count * width):
            wrong |= cells[i] >= node_count
        if not wrong:
            rank = &ranks[0]
            rl_rows_by_rank(cells, count, width, rank, &out[0, 0])
    if wrong:
        raise ValueError(f"a position is not below {node_count}")
    return np.asarray(out)
