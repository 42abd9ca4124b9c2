"""Bounded loads: whole columns assigned in two rounds, and the counters for one key at a time."""

cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport UINT32_MAX, uint32_t, uint64_t

from csrc cimport (
    RL_BLOCK_KEYS,
    RL_KEYS_CAPSULE,
    RL_RING_CAPSULE,
    rl_bounded_count,
    rl_bounded_divert,
    rl_bounded_find,
    rl_bounded_has_room,
    rl_bounded_sizes,
    rl_bounded_surplus,
    rl_cell_take,
    rl_hash_bytes,
    rl_hash_spans,
    rl_hash_words,
    rl_hasher,
    rl_key_release,
    rl_key_room,
    rl_key_span,
    rl_keys,
    rl_pykey_init,
    rl_ranked,
    rl_ring_owners,
    rl_ring_view,
    rl_scratch,
    rl_scratch_free,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_span,
)

import numpy as np

from ringleader.errors import (
    KeyEncodingError,
    KeyRangeError,
    KeyTypeError,
    MisuseError,
    NodeNotFound,
    NodeTypeError,
)

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


# --- whole columns --------------------------------------------------------------------------

cdef bint _hash_blocks(
    const rl_keys *keys, const rl_hasher *hasher, uint64_t *out, size_t at, size_t stop,
    rl_scratch *scratch,
) noexcept nogil:
    cdef uint64_t buffer[RL_BLOCK_KEYS]
    cdef rl_span spans[RL_BLOCK_KEYS]
    cdef const uint64_t *words
    cdef size_t size
    while at < stop:
        size = min(stop - at, <size_t>RL_BLOCK_KEYS)
        if keys.is_words:
            words = keys.words(keys, at, size, buffer, scratch)
            if words == NULL:
                return False
            rl_hash_words(hasher, words, size, out + at)
        else:
            size = keys.spans(keys, at, size, spans, scratch)
            if size == 0:
                return False
            rl_hash_spans(hasher, spans, size, out + at)
        at += size
    return True


def hash_keys(table not None, column not None, uint64_t[::1] out not None,
              Py_ssize_t lo, Py_ssize_t hi):
    """out[lo:hi] = the hashes by which a ring's table places the keys [lo, hi) of the column."""
    ring = table.capsule
    cdef const rl_ring_view *view = <const rl_ring_view *>PyCapsule_GetPointer(
        ring, RL_RING_CAPSULE
    )
    capsule = column.capsule
    cdef const rl_keys *keys = <const rl_keys *>PyCapsule_GetPointer(capsule, RL_KEYS_CAPSULE)
    cdef rl_scratch scratch = rl_scratch(NULL, 0, 0, 0)
    cdef bint done
    if not 0 <= lo <= hi <= len(column) or hi > out.shape[0]:
        raise ValueError("the range lies outside the column or out")
    if lo == hi:
        return
    if keys.needs_gil:
        done = _hash_blocks(keys, view.hasher, &out[0], <size_t>lo, <size_t>hi, &scratch)
    else:
        with nogil:
            done = _hash_blocks(keys, view.hasher, &out[0], <size_t>lo, <size_t>hi, &scratch)
    rl_scratch_free(&scratch)
    if not done:
        column.raise_error(scratch.error, scratch.error_index)


cdef object _surplus(
    const uint64_t[::1] hashes, const uint32_t[::1] owners, uint64_t[::1] room,
    size_t *surplus_count,
):
    """Round 1: the surplus as an array of (rank, index), the first `surplus_count` of it."""
    cdef size_t count = <size_t>hashes.shape[0], id_bound = <size_t>room.shape[0]
    cdef uint64_t[::1] counts = np.zeros(id_bound, dtype=np.uint64)
    cdef rl_bounded_sizes sizes
    cdef uint64_t[:, ::1] crowded, surplus
    with nogil:
        sizes = rl_bounded_count(&owners[0], count, &room[0], id_bound, &counts[0])
    surplus_count[0] = sizes.surplus
    crowded = np.empty((sizes.crowded + 1, 2), dtype=np.uint64)
    surplus = np.empty((2 * sizes.surplus + 1, 2), dtype=np.uint64)
    with nogil:
        rl_bounded_surplus(
            &hashes[0], &owners[0], count, id_bound, &counts[0], &room[0],
            <rl_ranked *>&crowded[0, 0], <rl_ranked *>&surplus[0, 0],
        )
    return np.asarray(surplus)


def surplus(
    const uint64_t[::1] hashes not None, const uint32_t[::1] owners not None,
    uint64_t[::1] room not None,
):
    """The indices of the keys without room at their owners, in the order they are served.

    `room`, by position, becomes what is left of it.  Owners are below len(room).
    """
    cdef size_t count
    if hashes.shape[0] != owners.shape[0]:
        raise ValueError(f"{hashes.shape[0]} hashes of {owners.shape[0]} owners")
    if hashes.shape[0] == 0:
        return np.empty(0, dtype=np.uint64)
    if int(np.max(owners)) >= room.shape[0]:
        raise ValueError("an owner has no room at all, not even 0")
    found = _surplus(hashes, owners, room, &count)
    return found[:count, 1].copy()


def assign(
    table not None, const uint64_t[::1] hashes not None, uint64_t[::1] room not None,
    uint32_t[::1] out not None,
):
    """out = the positions of a ring's nodes that the keys of these hashes go to; how many of them
    do not go to their owners.

    `room`, by position, is how many keys each node may have; together at least as many as there
    are.  Nodes without points have none.
    """
    ring = table.capsule
    cdef const rl_ring_view *view = <const rl_ring_view *>PyCapsule_GetPointer(
        ring, RL_RING_CAPSULE
    )
    cdef size_t count = <size_t>hashes.shape[0], id_bound = view.id_bound, i, surplus_count = 0
    cdef uint64_t[::1] by_id = np.zeros(id_bound, dtype=np.uint64)
    cdef uint64_t[:, ::1] diverted
    cdef uint32_t[::1] next_points
    cdef uint64_t total = 0
    if out.shape[0] != hashes.shape[0] or room.shape[0] != len(table.nodes):
        raise ValueError("hashes and out, or room and nodes, are not of one length")
    for i in range(id_bound):
        if view.ranks[i] != UINT32_MAX:
            by_id[i] = min(room[view.ranks[i]], <uint64_t>count)
            total += by_id[i]
    if total < count:
        raise ValueError(f"room for {total} of {count} keys")
    if count == 0:
        return 0
    with nogil:
        rl_ring_owners(view.ring, &hashes[0], count, &out[0])
    diverted = _surplus(hashes, out, by_id, &surplus_count)
    if surplus_count:
        next_points = np.empty(view.ring.count, dtype=np.uint32)
        with nogil:
            rl_bounded_divert(
                view.ring, &hashes[0], <const rl_ranked *>&diverted[0, 0], surplus_count,
                &by_id[0], &next_points[0], &out[0],
            )
    if not view.ids_are_positions:
        with nogil:
            for i in range(count):
                out[i] = view.ranks[out[i]]
    return surplus_count


# --- one key at a time ----------------------------------------------------------------------

cdef inline uint64_t _hash(const rl_hasher *hasher, object key) except? 0:
    cdef rl_span span
    cdef rl_key_room room
    rl_key_span(key, -1, &span, &room)
    cdef uint64_t value = rl_hash_bytes(hasher, span.data, span.size)
    rl_key_release(&room)
    return value


@cython.final
cdef class _State:
    """What the counters belong to: a locator's nodes at one time, then those that have left.

    Slots below `present` are positions in the locator.
    """

    cdef object source  # the table, or another object that changes when the locator does
    cdef object capsule
    cdef const rl_ring_view *view  # NULL for a locator that is no ring
    cdef const uint32_t *ranks
    cdef tuple names
    cdef dict slots
    cdef uint64_t[::1] loads
    cdef uint64_t[::1] shares
    cdef Py_ssize_t present
    cdef uint64_t whole
    cdef uint64_t total  # Invariant: the sum of loads[:present]
    cdef uint64_t departed  # Invariant: the sum of loads[present:]


cdef class LoadsBase:
    """What `BoundedLoads` inherits: counters that change in one step, as far as threads can see.

    Between the look at a counter and its change no Python runs; where there is no GIL, the object
    is locked meanwhile.  `_follow(source)` is the subclass's: it calls `_bind` for what the locator
    is now.  `_source()` gives the object that tells whether it has changed.
    """

    cdef object _locator
    cdef list _cell  # of the state in force; taken from it without a lock (tablecell.h)
    cdef bint _has_table

    def __cinit__(self, *args, **kwargs):
        cdef _State state = _State.__new__(_State)
        state.names = ()
        state.slots = {}
        state.loads = np.zeros(1, dtype=np.uint64)
        state.shares = np.zeros(1, dtype=np.uint64)
        state.whole = 1
        state.view = NULL
        self._cell = [state]

    cdef inline _State _now(self):
        return <_State>rl_cell_take(self._cell)

    def _open(self, locator, bint has_table):
        """Start with no nodes; has_table: `locator.table` is what changes with the locator."""
        self._locator = locator
        self._has_table = has_table

    @property
    def _bound(self):
        """(source, names by slot, slots by name, how many are present, loads): as last bound."""
        cdef _State state = self._now()
        loads = np.array(state.loads)[: len(state.names)].tolist()
        return state.source, state.names, state.slots, state.present, loads

    def _bind(
        self, before, source, table, tuple names not None, Py_ssize_t present, mapping not None,
        shares not None, uint64_t whole,
    ):
        """Go over to other nodes: mapping[i] is the new slot of the old slot i.

        Returns False, with nothing done, when `before` is no longer the source.
        """
        cdef _State state = _State.__new__(_State), old
        cdef uint32_t[::1] places = np.array(mapping, dtype=np.uint32)
        cdef Py_ssize_t i
        state.source = source
        state.view = NULL
        state.ranks = NULL
        if table is not None:
            state.capsule = table.capsule
            state.view = <const rl_ring_view *>PyCapsule_GetPointer(
                state.capsule, RL_RING_CAPSULE
            )
            if not state.view.ids_are_positions:
                state.ranks = state.view.ranks
        state.names = names
        state.slots = {name: slot for slot, name in enumerate(names)}
        state.loads = np.zeros(len(names) + 1, dtype=np.uint64)
        state.shares = np.zeros(len(names) + 1, dtype=np.uint64)
        for i in range(present):
            state.shares[i] = shares[i]
        state.present = present
        state.whole = whole
        with cython.critical_section(self):
            old = self._now()
            if old.source is not before or len(old.names) != places.shape[0]:
                return False
            for i in range(places.shape[0]):
                if places[i] != UINT32_MAX:
                    state.loads[places[i]] = old.loads[i]
                    if places[i] < present:
                        state.total += old.loads[i]
                    else:
                        state.departed += old.loads[i]
            self._cell[0] = state
        return True

    cdef _State _current(self):
        """The state of the locator as it is now."""
        cdef _State state
        while True:
            source = self._locator.table if self._has_table else self._source()
            state = self._now()
            if state.source is source:
                return state
            self._follow(source)

    def acquire(self, key):
        """The name of the node that is to take `key`: the first on its walk that has room.

        Of nodes with equal weights, one has room while it holds less than c times the average,
        rounded up, the new key counted; `release` gives the room back.

        Raises:
            KeyTypeError, KeyRangeError, KeyEncodingError: `key` is not a key; nothing was taken.
            EmptyRingError: no node has a positive weight.

        Cost: expected O(1) for a fixed c: O(1 / (c - 1)**2) nodes are looked at, for small c - 1.
        """
        cdef _State state = self._now()
        cdef uint64_t value
        cdef uint32_t slot
        if state.view == NULL:
            state = self._current()
            if state.view == NULL:
                return self._acquire_slowly(key)
        value = _hash(state.view.hasher, key)  # the same for every table of a ring
        while True:
            state = self._current()
            with cython.critical_section(self):
                if self._now() is state:
                    slot = rl_bounded_find(
                        state.view.ring, value, state.ranks, &state.loads[0], state.total + 1,
                        &state.shares[0], state.whole,
                    )
                    if state.ranks != NULL:
                        slot = state.ranks[slot]
                    state.loads[slot] += 1
                    state.total += 1
                    return state.names[slot]

    def _take(self, source, Py_ssize_t slot):
        """Take a place at this slot if it has room and `source` is still the locator's."""
        cdef _State state = self._now()
        with cython.critical_section(self):
            if self._now() is not state or state.source is not source:
                return False
            if not 0 <= slot < state.present or not rl_bounded_has_room(
                state.loads[slot], state.total + 1, state.shares[slot], state.whole
            ):
                return False
            state.loads[slot] += 1
            state.total += 1
            return True

    def release(self, name):
        """Give back the place that `acquire` took at the node of this name.

        Raises:
            NodeNotFound: there is no such node, and none that has left holds anything.
            MisuseError: the node holds nothing.
            NodeTypeError: `name` is no str.

        Cost: O(1).
        """
        cdef _State state
        cdef uint64_t left = 0
        cdef Py_ssize_t slot
        if not isinstance(name, str):
            raise NodeTypeError(f"a node's name is a str, not {type(name).__name__}")
        while True:
            state = self._now()
            found = state.slots.get(name)
            if found is None:
                raise NodeNotFound(f"there is no node {name!r} that could hold anything")
            slot = found
            with cython.critical_section(self):
                if self._now() is not state:
                    continue
                left = state.loads[slot]
                if left != 0:
                    state.loads[slot] = left - 1
                    if slot < state.present:
                        state.total -= 1
                    else:
                        state.departed -= 1
            break
        if left == 0:
            raise MisuseError(f"node {name!r} holds nothing that could be released")

    def _counts(self):
        """(names, how many are present, loads, shares, whole) of one moment, by slot."""
        cdef _State state = self._current()
        count = len(state.names)
        loads = np.array(state.loads)[:count].tolist()
        shares = np.asarray(state.shares)[:count].tolist()
        return state.names, state.present, loads, shares, state.whole

    def __len__(self):
        """Places taken, on all nodes."""
        cdef _State state = self._now()
        return state.total + state.departed
