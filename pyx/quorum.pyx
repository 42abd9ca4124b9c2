"""What a quorum has: committed indices, votes and timers, of one group or of many."""

cimport cython
from cpython.long cimport PyLong_AsUnsignedLongLong
from cpython.ref cimport PyObject
from libc.stdint cimport int8_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from csrc cimport (
    RL_TIMER_TICKS_MAX,
    RL_VOTERS_MAX,
    rl_quorum_committed,
    rl_quorum_committed_joint,
    rl_quorum_committed_one,
    rl_quorum_votes,
    rl_simd,
    rl_simd_force,
    rl_simd_supported,
    rl_timers,
    rl_timers_remaining,
    rl_timers_room,
    rl_timers_set,
    rl_timers_tick,
)

from operator import index as _index

import numpy as np

from ringleader import limits
from ringleader.errors import LimitError, RowError, SettingError, SettingTypeError

cdef extern from "Python.h":
    # Clips to what fits when the error is NULL, which the declaration in cpython.number forbids.
    Py_ssize_t PyNumber_AsSsize_t(object number, PyObject *overflow_error) except? -1

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


# --- many groups ---------------------------------------------------------------------------------


cdef size_t _quorum(object number, Py_ssize_t voters) except 0:
    cdef Py_ssize_t quorum = PyNumber_AsSsize_t(number, NULL)
    if not 1 <= voters <= RL_VOTERS_MAX:
        raise LimitError(f"{voters} voters; there may be 1 ... {RL_VOTERS_MAX}")
    if not 1 <= quorum <= voters:
        raise SettingError(f"a quorum of {number} of {voters} voters; it must be 1 ... {voters}")
    return <size_t>quorum


cdef int _same_groups(Py_ssize_t groups, Py_ssize_t out) except -1:
    if groups != out:
        raise ValueError(f"{groups} groups for an output of {out}")
    return 0


def committed(const uint64_t[:, ::1] match not None, uint64_t[::1] out not None, quorum):
    """out[g] = the quorum-th largest of match[g]."""
    cdef size_t groups = <size_t>match.shape[0], voters = <size_t>match.shape[1]
    cdef size_t count = _quorum(quorum, match.shape[1])
    _same_groups(match.shape[0], out.shape[0])
    if groups != 0:
        with nogil:
            rl_quorum_committed(&match[0, 0], groups, voters, count, &out[0])


def committed_joint(
    const uint64_t[:, ::1] incoming not None, incoming_quorum,
    const uint64_t[:, ::1] outgoing not None, outgoing_quorum,
    uint64_t[::1] out not None,
):
    """out[g] = the smaller of what either set of voters has committed."""
    cdef size_t groups = <size_t>incoming.shape[0]
    cdef size_t voters = <size_t>incoming.shape[1], others = <size_t>outgoing.shape[1]
    cdef size_t count = _quorum(incoming_quorum, incoming.shape[1])
    cdef size_t other_count = _quorum(outgoing_quorum, outgoing.shape[1])
    _same_groups(incoming.shape[0], out.shape[0])
    _same_groups(outgoing.shape[0], out.shape[0])
    if groups != 0:
        with nogil:
            rl_quorum_committed_joint(
                &incoming[0, 0], voters, count, &outgoing[0, 0], others, other_count, groups,
                &out[0],
            )


def votes(const int8_t[:, ::1] ballots not None, int8_t[::1] out not None, quorum):
    """out[g] = 1 (won), 0 (pending) or -1 (lost), from ballots > 0, 0 and < 0."""
    cdef size_t groups = <size_t>ballots.shape[0], voters = <size_t>ballots.shape[1]
    cdef size_t count = _quorum(quorum, ballots.shape[1])
    _same_groups(ballots.shape[0], out.shape[0])
    if groups != 0:
        with nogil:
            rl_quorum_votes(&ballots[0, 0], groups, voters, count, &out[0])


# --- one group -----------------------------------------------------------------------------------


cdef inline uint64_t _word(object value) except? 0:
    """An index as a word; refuses what is none."""
    if type(value) is not int:
        if not hasattr(value, "__index__"):
            raise SettingTypeError(f"an index must be an int, not {type(value).__name__}")
        value = _index(value)
    try:
        return PyLong_AsUnsignedLongLong(value)
    except OverflowError:
        raise LimitError(f"index {value} lies outside 0 ... 2**64-1") from None


def committed_of(list values not None, quorum):
    """The quorum-th largest of a list of indices."""
    cdef uint64_t words[RL_VOTERS_MAX]
    cdef Py_ssize_t voters = len(values), i
    cdef size_t count = _quorum(quorum, voters)
    for i in range(voters):
        words[i] = _word(values[i])
    return rl_quorum_committed_one(words, <size_t>voters, count)


def committed_map(tuple voters not None, match not None, quorum):
    """The largest index that `quorum` of the voters have; one missing from `match` has 0."""
    cdef uint64_t words[RL_VOTERS_MAX]
    cdef Py_ssize_t i
    cdef size_t count = _quorum(quorum, len(voters))
    if type(match) is dict:
        for i in range(len(voters)):
            words[i] = _word((<dict>match).get(voters[i], 0))
    else:
        for i in range(len(voters)):
            words[i] = _word(match.get(voters[i], 0))
    return rl_quorum_committed_one(words, <size_t>len(voters), count)


# --- timers --------------------------------------------------------------------------------------


cdef Py_ssize_t _ROWS_MAX = limits.GROUPS_MAX
cdef object _NONE_FIRED = np.empty(0, dtype=np.uint32)
_NONE_FIRED.flags.writeable = False


cdef object _new_rows(size_t count):
    return np.empty(count, dtype=np.uint32)


cdef bint _is_array(object o):
    return isinstance(o, np.ndarray)


@cython.final
cdef class Timers:
    """A timer for each row, in two flat columns (csrc/quorum.h says how a tick stays cheap).

    The GIL is kept throughout each call (a tick of 10**5 rows takes 5 µs), so no thread sees a
    column that another is replacing.  Ticks belong to one thread.
    """

    cdef rl_timers _timers
    # What _timers points to, with a pad of rows that never run; and where a tick puts what fires.
    cdef uint8_t[::1] _soon
    cdef uint16_t[::1] _later
    cdef uint32_t[::1] _fired
    cdef Py_ssize_t _rows
    cdef readonly uint64_t now

    def __cinit__(self, *args, **kwargs):
        self._make_room(0)

    def __init__(self, rows):
        cdef Py_ssize_t wanted = _checked_rows(rows, 0)
        self.now = 0
        self._rows = 0
        self._make_room(wanted)

    cdef int _make_room(self, Py_ssize_t rows) except -1:
        cdef size_t room = rl_timers_room(<size_t>max(rows, 1))
        cdef uint8_t[::1] soon = np.zeros(room, dtype=np.uint8)
        cdef uint16_t[::1] later = np.zeros(room, dtype=np.uint16)
        cdef uint32_t[::1] fired = np.empty(room, dtype=np.uint32)
        if self._rows:
            memcpy(&soon[0], self._timers.soon, <size_t>self._rows)
            memcpy(&later[0], self._timers.later, <size_t>self._rows * sizeof(uint16_t))
        self._soon, self._later, self._fired = soon, later, fired
        self._timers.soon = &soon[0]
        self._timers.later = &later[0]
        self._rows = rows
        return 0

    cdef inline Py_ssize_t _row(self, object row) except -1:
        cdef Py_ssize_t number = PyNumber_AsSsize_t(row, NULL)
        if not 0 <= number < self._rows:
            raise RowError(f"row {row}: there are {self._rows} rows")
        return number

    def __len__(self):
        return self._rows

    @cython.critical_section
    def set(self, row, ticks):
        """Let the row fire after so many ticks, whatever it did before."""
        cdef Py_ssize_t at = self._row(row)
        rl_timers_set(&self._timers, <size_t>at, _checked_ticks(ticks))

    @cython.critical_section
    def set_many(self, const uint32_t[::1] rows not None, ticks):
        """Set several rows to one number of ticks, or each to its own: all of them, or none."""
        cdef Py_ssize_t i
        cdef uint32_t same
        cdef const uint16_t[::1] each
        for i in range(rows.shape[0]):
            if rows[i] >= <size_t>self._rows:
                raise RowError(f"row {rows[i]}: there are {self._rows} rows")
        if not _is_array(ticks):
            same = _checked_ticks(ticks)
            for i in range(rows.shape[0]):
                rl_timers_set(&self._timers, rows[i], same)
            return
        each = ticks
        if each.shape[0] != rows.shape[0]:
            raise ValueError(f"{each.shape[0]} ticks for {rows.shape[0]} rows")
        for i in range(rows.shape[0]):
            if not 1 <= each[i] <= RL_TIMER_TICKS_MAX:
                raise _wrong_ticks(each[i])
        for i in range(rows.shape[0]):
            rl_timers_set(&self._timers, rows[i], each[i])

    @cython.critical_section
    def stop(self, row):
        """The row does not fire until it is set again."""
        rl_timers_set(&self._timers, <size_t>self._row(row), 0)

    @cython.critical_section
    def remaining(self, row):
        """Ticks until the row fires; 0 when it does not run."""
        return rl_timers_remaining(&self._timers, <size_t>self._row(row))

    @cython.critical_section
    def tick(self):
        """Let one tick pass.  The rows that fire now, ascending; they stop."""
        cdef size_t count = rl_timers_tick(&self._timers, <size_t>self._rows, &self._fired[0])
        cdef uint32_t[::1] out
        self.now += 1
        if count == 0:
            return _NONE_FIRED
        fired = _new_rows(count)
        out = fired
        memcpy(&out[0], &self._fired[0], count * sizeof(uint32_t))
        return fired

    @cython.critical_section
    def grow(self, rows):
        """Have `rows` rows from now on; the new ones do not run."""
        cdef Py_ssize_t wanted = _checked_rows(rows, self._rows)
        if wanted > self._soon.shape[0]:
            self._make_room(max(wanted, min(2 * self._rows, _ROWS_MAX)))
        self._rows = wanted


cdef inline uint32_t _checked_ticks(object ticks) except 0:
    cdef Py_ssize_t number = PyNumber_AsSsize_t(ticks, NULL)
    if not 1 <= number <= RL_TIMER_TICKS_MAX:
        raise _wrong_ticks(ticks)
    return <uint32_t>number


cdef object _wrong_ticks(object ticks):
    return SettingError(f"{ticks} ticks; a timer takes 1 ... {RL_TIMER_TICKS_MAX}")


cdef Py_ssize_t _checked_rows(object rows, Py_ssize_t least) except -1:
    cdef Py_ssize_t number = PyNumber_AsSsize_t(rows, NULL)
    if number < 0:
        raise SettingError(f"{rows} rows; there may be 0 or more")
    if number > _ROWS_MAX:
        raise LimitError(f"{rows} rows; there may be at most {_ROWS_MAX}")
    if number < least:
        raise SettingError(f"{rows} rows; there are {least} already, and none can be taken away")
    return number
