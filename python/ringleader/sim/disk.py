"""A disk on virtual time, with the faults of real ones.

`SimDisk` implements `ringleader.storage.files.Disk`, and outlives the crashes of its node.  Where
that interface leaves open what survives a crash, this one draws it: see `crash`.
"""

from __future__ import annotations

from random import Random

from ringleader.errors import StorageError
from ringleader.sim.clock import Clock
from ringleader.sim.profiles import LATENCY_TABLE_BITS, DiskFaults, Latency
from ringleader.storage.files import Bytes, Done


class _File:
    """
    data            what reads see.
    durable         how many of these bytes no crash can take.
    durable_before  how many were durable before the last sync that added some.
    lost            a sync of it failed: no later one adds anything.
    cuts            how often it was truncated.
    cut             the durable bytes that were cut off, until the next sync.

    Invariant: durable_before <= durable <= len(data).
    """

    __slots__ = ("cut", "cuts", "data", "durable", "durable_before", "lost")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0
        self.durable_before = 0
        self.lost = False
        self.cuts = 0
        self.cut = b""

    def harden(self, until: int) -> None:
        """Make the first `until` bytes durable."""
        if until > self.durable:
            self.durable_before = self.durable
            self.durable = until


class SimReader:
    """An open file of a `SimDisk`."""

    __slots__ = ("_file",)

    def __init__(self, file: _File) -> None:
        self._file = file

    @property
    def total_bytes(self) -> int:
        return len(self._file.data)

    def read(self, offset: int, count: int) -> bytes:
        return bytes(self._file.data[offset : offset + count])


#: What was done to names: (name that goes or None, name that comes or None, its file or None).
_Op = tuple[str | None, str | None, _File | None]


class _Sync:
    """A sync under way: of a file up to byte `until`, or of the first `until` operations on names.

    `life`, `power`: those of the disk when it was asked for.
    """

    __slots__ = ("cuts", "done", "file", "life", "power", "until")

    def __init__(self, file: _File | None, until: int, done: Done, life: int, power: int) -> None:
        self.file = file
        self.cuts = 0 if file is None else file.cuts
        self.until = until
        self.done = done
        self.life = life
        self.power = power


class SimDisk:
    """One node's disk.

    Args:
        clock: the run's.
        random: where every draw of this disk comes from.
        sync: how long a sync takes, with nothing to write.
        bytes_per_s: what writing adds; syncs of one disk are done one after the other.
        capacity_bytes: more than this does not fit.
        faults: what goes wrong by itself.

    Attributes:
        full: set by whoever drives the faults: nothing more fits.
        slow_us: what every sync takes more.
        flipped: what `crash` damaged of synced bytes: (name, byte).  Recovery must refuse such a
            disk when it needs what was damaged; `wipe` it then.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        *,
        sync: Latency,
        bytes_per_s: int = 1_000_000_000,
        capacity_bytes: int | None = None,
        faults: DiskFaults | None = None,
    ) -> None:
        self.clock = clock
        self.faults = faults if faults is not None else DiskFaults()
        self.full = False
        self.slow_us = 0
        self.flipped: list[tuple[str, int]] = []
        self.syncs = 0
        self.appended_bytes = 0
        self._random = random
        self._table = sync.table()
        self._bytes_per_s = bytes_per_s
        self._capacity_bytes = capacity_bytes
        self._files: dict[str, _File] = {}
        #: The names that no crash takes, what was done to names since, and how often that was
        #: ever made durable.
        self._durable_files: dict[str, _File] = {}
        self._ops: list[_Op] = []
        self._ops_durable = 0
        #: Crashes, and those that lost what was not synced.
        self._life = 0
        self._power = 0
        self._busy_until_us = 0
        self._unwritten_bytes = 0

    @property
    def used_bytes(self) -> int:
        return sum(len(file.data) for file in self._files.values())

    # --- the interface of storage ------------------------------------------------------------

    def names(self) -> list[str]:
        return sorted(self._files)

    def create(self, name: str) -> None:
        if name in self._files:
            raise StorageError(f"{name}: there is a file of this name")
        self._do((None, name, _File()))

    def append(self, name: str, data: Bytes) -> None:
        file = self._file(name)
        count = len(data)
        if self.full or self._capacity_bytes is not None:
            room = 0
            if self._capacity_bytes is not None:
                room = max(0, self._capacity_bytes - self.used_bytes)
            if self.full or room < count:
                file.data += data[: self._random.randrange(min(room, count) + 1)]
                raise StorageError(f"{name}: the disk is full")
        file.data += data
        self.appended_bytes += count
        self._unwritten_bytes += count

    def sync(self, name: str, done: Done) -> None:
        file = self._file(name)
        self._submit(_Sync(file, len(file.data), done, self._life, self._power))

    def sync_names(self, done: Done) -> None:
        until = self._ops_durable + len(self._ops)
        self._submit(_Sync(None, until, done, self._life, self._power))

    def settle(self) -> None:
        for file in self._files.values():
            file.durable = len(file.data)  # durable_before stays: there is no later sync yet
            file.cut = b""
            file.cuts += 1
            file.lost = False
        self._durable_files = dict(self._files)
        self._ops_durable += len(self._ops)
        self._ops.clear()

    def open(self, name: str) -> SimReader:
        return SimReader(self._file(name))

    def truncate(self, name: str, total_bytes: int) -> None:
        file = self._file(name)
        assert 0 <= total_bytes <= len(file.data), "a truncation makes a file shorter"
        if total_bytes < file.durable:
            file.cut = bytes(file.data[total_bytes : file.durable]) + file.cut
            file.durable = total_bytes
            file.durable_before = min(file.durable_before, total_bytes)
        file.cuts += 1
        del file.data[total_bytes:]

    def rename(self, old: str, new: str) -> None:
        self._do((old, new, self._file(old)))

    def delete(self, name: str) -> None:
        self._file(name)
        self._do((name, None, None))

    def _file(self, name: str) -> _File:
        try:
            return self._files[name]
        except KeyError:
            raise StorageError(f"{name}: there is no such file") from None

    def _do(self, op: _Op) -> None:
        self._ops.append(op)
        _apply(self._files, op)

    def _submit(self, request: _Sync) -> None:
        clock = self.clock
        duration_us = self._table[self._random.getrandbits(LATENCY_TABLE_BITS)] + self.slow_us
        duration_us += self._unwritten_bytes * 1_000_000 // self._bytes_per_s
        self._unwritten_bytes = 0
        faults = self.faults
        if faults.stall_rate and self._random.random() < faults.stall_rate:
            duration_us += self._random.randint(*faults.stall_us)
        at_us = max(clock.now_us, self._busy_until_us) + duration_us
        self._busy_until_us = at_us
        clock.at(at_us, self._synced, request)

    def _synced(self, request: _Sync) -> None:
        if request.power != self._power:
            return
        self.syncs += 1
        faults = self.faults
        error = None
        file = request.file
        if faults.sync_error_rate and self._random.random() < faults.sync_error_rate:
            error = StorageError("the disk reports an I/O error of a sync")
            if file is not None:
                file.lost = True
        elif file is None:
            count = max(0, request.until - self._ops_durable)
            for op in self._ops[:count]:
                _apply(self._durable_files, op)
            del self._ops[:count]
            self._ops_durable += count
        elif not file.lost and file.cuts == request.cuts:
            file.cut = b""
            file.harden(request.until)
        if request.life == self._life:
            request.done(error)

    # --- faults ------------------------------------------------------------------------------

    def crash(self, power: bool = True) -> None:
        """The node is gone: no callback of before ever comes.  With `power`, the machine is, too:
        what was not durable is subject to the interface's text and the faults.
        """
        self._life += 1
        if not power:
            return
        self._power += 1
        self._busy_until_us = self._unwritten_bytes = 0
        random = self._random
        for op in self._ops[: random.randrange(len(self._ops) + 1)]:
            _apply(self._durable_files, op)
        self._ops_durable += len(self._ops)
        self._ops.clear()
        self._files = dict(self._durable_files)
        for name in sorted(self._files):
            self._crash_file(self._files[name])
        if random.random() < self.faults.flip_synced_rate:
            self.flip_synced()

    def flip_synced(self) -> bool:
        """Flip one bit of what a sync before the last one of its file made durable; False when
        there is no such byte.

        Damage to what the very last sync covered looks like a torn write to every recovery that has
        nothing later to go by; see `ringleader.storage.wal`.
        """
        old = [name for name in self.names() if self._files[name].durable_before]
        if not old:
            return False
        name = self._random.choice(old)
        file = self._files[name]
        at = self._random.randrange(file.durable_before)
        file.data[at] ^= 1 << self._random.randrange(8)
        self.flipped.append((name, at))
        return True

    def wipe(self) -> None:
        """What an operator does with a lost node before it is added again: an empty disk."""
        self._life += 1
        self._power += 1
        self._files = {}
        self._durable_files = {}
        self._ops_durable += len(self._ops)
        self._ops.clear()
        self.flipped.clear()
        self._busy_until_us = self._unwritten_bytes = 0

    def _crash_file(self, file: _File) -> None:
        random = self._random
        faults = self.faults
        data = file.data
        if file.cut and random.random() < 0.5:  # the truncation did not happen
            data[file.durable :] = file.cut
        elif (unsynced := len(data) - file.durable) > 0:
            if random.random() < faults.torn_rate:
                kept = random.randrange(unsynced + 1)
            else:
                kept = unsynced if random.random() < 0.5 else 0
            torn = unsynced - kept
            del data[file.durable + kept :]
            if torn and random.random() < faults.fill_rate:
                count = random.randrange(torn) + 1
                data += bytes(count) if random.random() < 0.5 else random.randbytes(count)
            if len(data) > file.durable and random.random() < faults.flip_unsynced_rate:
                at = random.randrange(file.durable, len(data))
                data[at] ^= 1 << random.randrange(8)
        file.cut = b""
        file.cuts += 1
        file.lost = False
        file.durable = len(data)  # durable_before stays: what was synced last is still that


def _apply(files: dict[str, _File], op: _Op) -> None:
    gone, come, file = op
    if gone is not None:
        del files[gone]
    if come is not None:
        assert file is not None
        files[come] = file
