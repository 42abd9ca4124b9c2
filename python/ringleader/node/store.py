"""The state machine that a shard replicates: keys, their values, their expiry.

Rules:

    S1  Deterministic.  `apply` looks at no clock and no chance: stores that apply the same entries
        are equal, replies too.  Time is `now`, which the entries bring, and never goes back.
    S2  An entry is a batch: the leader's clock, and commands.  It is applied whole, before anything
        is read.
    S3  A key with an expiry <= now does not exist for anybody.  It is removed when the batch that
        brings `now` begins; of very many (`EXPIRED_KEYS_MAX`) the later ones are removed by the
        batches that follow, or before a command changes them, and are hidden meanwhile.  So is
        what is due by the clock of a reader that is ahead of `now` (`read`).
    S4  A command that answers an error has changed nothing.
    S5  Bytes that are no batch change nothing and are answered by an error, on every replica alike.

Values are bytes, or dicts of bytes for hashes, in a mapping of C (`ringleader.kernels.keyspace`)
that takes half of a dict's memory and sets a batch of plain SETs in one call, without making an
object of anything.  Expiries stand in a dict of their own, and in a heap whose items count only
while they agree with that dict.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias, final

import msgspec

from ringleader.errors import FormatError, VersionError
from ringleader.hashing import redis_slot_column
from ringleader.kernels import hashing, keyspace
from ringleader.limits import BATCH_COMMANDS_MAX, CLOCK_MS_MAX, EXPIRED_KEYS_MAX
from ringleader.node.batches import BAD_BATCH, Now, decode_batch, decoded, encode_batch
from ringleader.node.commands import KNOWN, Command, find, keys_of
from ringleader.node.internal import RUN_ALL_ONLY
from ringleader.node.replies import INT64_MAX, OK, CommandError, Reply, ReplyError
from ringleader.node.scan import ScanIndex
from ringleader.node.strings import wrong_arity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ringleader.consensus.ready import SnapshotSource

__all__ = ["Store", "Value", "decode_batch", "encode_batch"]

Value: TypeAlias = "bytes | dict[bytes, bytes]"

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"
_WRONG_TYPE_REPLY: Final = ReplyError(WRONG_TYPE)
_NEVER: Final = 2**63
_SET: Final = (b"SET", b"set")
_known = KNOWN.get
#: What a mistake in a command raises.
_MISTAKES: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

# What a key, a hash and a field take besides their bytes, as measured.
KEY_OVERHEAD_BYTES: Final = 48
FIELD_OVERHEAD_BYTES: Final = 120
HASH_OVERHEAD_BYTES: Final = 200

# --- snapshots ---------------------------------------------------------------------------------

#: What a snapshot begins with; then its version, one byte, and the CRC32C of what follows.
SNAPSHOT_MAGIC: Final = b"RLSTORE"
SNAPSHOT_VERSION: Final = 1
_HEAD_BYTES: Final = len(SNAPSHOT_MAGIC) + 1 + 4


_Moment: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class _State(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    now: Now
    applied: Annotated[int, msgspec.Meta(ge=0)]
    mark: Annotated[int, msgspec.Meta(ge=0)]
    data: msgspec.Raw
    expires: dict[bytes, _Moment]
    armed: dict[bytes, Annotated[int, msgspec.Meta(ge=0)]]
    armed_until: dict[bytes, _Moment]


_encode = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(_State).decode


@final
class Store:
    """The keys of one shard.

    now         ms since 1970: the latest clock that an entry brought.  Invariant: never goes back.
    clock       what a reader takes for the time (TTL): `now`, or its own clock when that is ahead.
    applied     the index of the last entry applied.
    data        the keys.  Invariant: no empty dict.
    expires     when keys expire, in ms.  Invariant: its keys are in `data`.
    hash_bytes  what hashes take besides their keys, about.
    mark        how many modifications of watched keys there have been, and first watchers.
    armed       watched keys, and the mark of their last modification.  Invariant: <= mark.
    armed_until when they are watched no more, in ms, in this order.
    answering   whether `apply` answers: a replica that nobody waits for skips reads.
    hide_ms     keys with an expiry <= this are there and must not be seen; None: all may be seen.
                Not None only within `apply` and `read`.
    faults      entries that were no batch, and commands that failed as none should.
    """

    __slots__ = (
        "_heap",
        "_index",
        "answering",
        "applied",
        "armed",
        "armed_until",
        "clock",
        "data",
        "expires",
        "faults",
        "hash_bytes",
        "hide_ms",
        "mark",
        "now",
    )

    def __init__(self) -> None:
        self.now = 0
        self.clock = 0
        self.applied = 0
        self.data = keyspace.Keyspace()
        self.expires: dict[bytes, int] = {}
        self.hash_bytes = 0
        self.mark = 0
        self.armed: dict[bytes, int] = {}
        self.armed_until: dict[bytes, int] = {}
        self.answering = True
        self.hide_ms: int | None = None
        self.faults = 0
        #: (expiry, key): those that `expires` agrees with, and others to be passed over.
        self._heap: list[tuple[int, bytes]] = []
        self._index: ScanIndex | None = None

    # --- applying ------------------------------------------------------------------------------

    def apply(self, entries: Iterable[tuple[int, bytes]]) -> list[list[Reply] | None]:
        """Apply committed entries, (index, payload).

        Returns:
            For each entry the replies to its commands, or None when not `answering`.
        """
        return [self._apply_entry(index, payload) for index, payload in entries]

    def _apply_entry(self, index: int, payload: bytes) -> list[Reply] | None:
        self.applied = index
        if not self.armed and self._index is None:
            replies = self._set_batch(payload)
            if replies is not None:
                return replies if self.answering else None
        try:
            now, commands = decoded(payload)
        except BAD_BATCH:
            self.faults += 1
            return [ReplyError("ERR the log entry is no batch of commands")]
        self._advance(now)
        now = self.now
        heap = self._heap
        if heap and heap[0][0] <= now:
            self._expire()
            if heap and heap[0][0] <= now:
                self.hide_ms = now
        if self.armed_until:
            self._disarm()
        replies = [
            self._set(args) if len(args) == 3 and args[0] in _SET else self._run(args)
            for args in commands
        ]
        self.hide_ms = None
        self._tidy()
        return replies if self.answering else None

    def _set_batch(self, payload: bytes) -> list[Reply] | None:
        """Apply a batch that is nothing but `SET key value`, if no key has to expire for it; the
        replies, or None: nothing was done."""
        heap, expires = self._heap, self.expires
        latest = heap[0][0] - 1 if heap else CLOCK_MS_MAX
        if latest < self.now:
            return None
        done = self.data.set_batch(payload, BATCH_COMMANDS_MAX, latest)
        if done is None:
            return None
        now, count, replaced = done
        self._advance(now)
        for fields in replaced:
            self.hash_bytes -= _hash_size(fields)
        if expires:
            _, commands = decoded(payload)
            for key in expires.keys() & {args[1] for args in commands}:
                del expires[key]
            self._tidy()
        return [OK] * count

    def _advance(self, now: int) -> None:
        if now > self.now:
            self.now = now
        self.clock = self.now

    def _set(self, args: list[bytes]) -> Reply:
        """Most commands there are: SET key value."""
        self.set(args[1], args[2])
        return OK

    def _tidy(self) -> None:
        """Drop what has become too large for its use."""
        heap, expires = self._heap, self.expires
        if len(heap) > 2 * len(expires) + 1024:
            heap[:] = [(moment, key) for key, moment in expires.items()]
            heapify(heap)
        self.drop_idle(self.now)

    def _run(self, args: list[bytes]) -> Reply:
        command = _known(args[0]) or find(args[0])
        if command is None:
            return ReplyError("ERR unknown command")
        arity = command.arity
        if len(args) != arity and (arity > 0 or len(args) < -arity):
            return wrong_arity(args).reply
        if not self.answering and not command.is_write:
            return None
        try:
            if self.hide_ms is not None:
                if not command.is_write:
                    return self._read_hiding(args, self.hide_ms)
                for key in keys_of(command, args):
                    self.drop_due(key)
            return command.run(self, args)
        except CommandError as error:
            return error.reply
        except _MISTAKES as error:
            return self._mistake(error)

    def run_all(self, commands: list[list[bytes]]) -> list[Reply]:
        """Run the commands of a transaction; transactions cannot be nested."""
        return [
            ReplyError("ERR command not allowed in a transaction")
            if args[0].upper() in RUN_ALL_ONLY
            else self._run(args)
            for args in commands
        ]

    # --- reading -------------------------------------------------------------------------------

    def read(self, args: list[bytes], *, hide_due_ms: int | None = None) -> Reply:
        """The reply to a command that changes nothing.

        Args:
            args: the command, whose number of arguments has been checked.
            hide_due_ms: the reader's clock: keys that expire then or before are hidden, and TTL
                counts from then.  Without it the clock is `now`.
        """
        heap = self._heap
        if heap:
            moment = heap[0][0]
            if moment <= self.now or (hide_due_ms is not None and moment <= hide_due_ms):
                return self._read_hiding(args, max(self.now, hide_due_ms or 0))
        name = args[0]
        if len(args) == 2 and (name == b"GET" or name == b"get"):
            value = self.data.get(args[1])
            return value if value.__class__ is not dict else _WRONG_TYPE_REPLY
        self.clock = self.now if hide_due_ms is None else max(self.now, hide_due_ms)
        return self._read(args)

    def _read(self, args: list[bytes]) -> Reply:
        command = _known(args[0]) or find(args[0])
        if command is None or command.is_write:
            return ReplyError("ERR this command does not only read")
        arity = command.arity
        if len(args) != arity and (arity > 0 or len(args) < -arity):
            return wrong_arity(args).reply
        try:
            return command.run(self, args)
        except CommandError as error:
            return error.reply
        except _MISTAKES as error:
            return self._mistake(error)

    def _mistake(self, error: Exception) -> ReplyError:
        """A command failed as none should: every replica fails alike, better than to stop all."""
        self.faults += 1
        return ReplyError(f"ERR internal error: {type(error).__name__}")

    def _read_hiding(self, args: list[bytes], clock: int) -> Reply:
        """`read` where some key may be due."""
        self.clock = clock
        command = find(args[0])
        if command is None or command.is_write:
            return self._read(args)
        keys = keys_of(command, args)
        if not keys:
            before, self.hide_ms = self.hide_ms, clock
            try:
                return self._read(args)
            finally:
                self.hide_ms = before
        hidden = {key for key in keys if self.expires.get(key, _NEVER) <= clock}
        if not hidden:
            return self._read(args)
        view = Store()
        # What else there is to see: of commands on several keys none asks for their expiries.
        for key in keys:
            if key in self.data and key not in hidden:
                view.data[key] = self.data[key]
        reply = view._read(args)
        self.faults += view.faults
        return reply

    def is_due(self, command: Command, args: list[bytes], wall_ms: int) -> bool:
        """Whether a key that the command reads has an expiry <= wall_ms, and so must be removed
        through the log before the leader answers; for a command on all keys, whether any has.
        """
        heap = self._heap
        if not heap or heap[0][0] > wall_ms:
            return False
        expires = self.expires
        first = command.first_key
        if not first:
            moment = self.next_due_ms
            return moment is not None and moment <= wall_ms
        if first == command.last_key:
            return expires.get(args[first], _NEVER) <= wall_ms
        return any(expires.get(key, _NEVER) <= wall_ms for key in keys_of(command, args))

    @property
    def size(self) -> int:
        """Bytes that keys and values take, about."""
        return self.data.byte_count + KEY_OVERHEAD_BYTES * len(self.data) + self.hash_bytes

    @property
    def next_due_ms(self) -> int | None:
        """When the next key expires; None: none does."""
        heap, expires = self._heap, self.expires
        while heap:
            moment, key = heap[0]
            if expires.get(key) == moment:
                return moment
            heappop(heap)
        return None

    def is_hidden(self, key: bytes) -> bool:
        """Whether the reader of this moment must not see a key that is there."""
        return self.hide_ms is not None and self.expires.get(key, _NEVER) <= self.hide_ms

    def hidden_count(self) -> int:
        """How many keys the reader of this moment must not see; O(keys that expire) if any."""
        if self.hide_ms is None:
            return 0
        return sum(moment <= self.hide_ms for moment in self.expires.values())

    def keys_in_slot(self, slot: int) -> list[bytes]:
        """The keys of a slot that the reader of this moment may see; O(keys)."""
        if not self.data:
            return []
        keys = list(self.data)
        found = [keys[place] for place in (redis_slot_column(keys) == slot).nonzero()[0].tolist()]
        return [key for key in found if not self.is_hidden(key)]

    def scan_index(self) -> ScanIndex:
        """The order of SCAN; O(keys log keys) when it has to be made."""
        index = self._index
        if index is None or not index.is_useful(len(self.data), self.clock):
            index = self._index = ScanIndex(self.data, self.clock)
        index.used_ms = self.clock
        return index

    def drop_idle(self, clock_ms: int) -> None:
        """Drop the order of SCAN if nobody has asked for it in a while; called now and then, for a
        store to which nobody writes."""
        if self._index is not None and not self._index.is_useful(
            len(self.data), max(self.now, clock_ms)
        ):
            self._index = None

    # --- what commands are made of -------------------------------------------------------------

    def string(self, key: bytes) -> bytes | None:
        """The string under a key.

        Raises:
            CommandError: it holds a hash.
        """
        value = self.data.get(key)
        if value.__class__ is dict:
            raise CommandError(WRONG_TYPE)
        return value  # type: ignore[return-value]

    def hash(self, key: bytes) -> dict[bytes, bytes] | None:
        """The hash under a key, not to be changed.

        Raises:
            CommandError: it holds a string.
        """
        value = self.data.get(key)
        if value.__class__ is bytes:
            raise CommandError(WRONG_TYPE)
        return value  # type: ignore[return-value]

    def hash_to_write(self, key: bytes) -> dict[bytes, bytes]:
        """The hash under a key, made when there is none: the caller puts a field into it, by
        `put_field`, and calls `touched`.

        Raises:
            CommandError: it holds a string.
        """
        fields = self.hash(key)
        if fields is None:
            fields = self.data[key] = {}
            self.hash_bytes += HASH_OVERHEAD_BYTES
            if self._index is not None:
                self._index.added.append(key)
        return fields

    def put_field(self, fields: dict[bytes, bytes], field: bytes, value: bytes) -> None:
        """Set a field of a hash."""
        old = fields.get(field)
        if old is None:
            self.hash_bytes += len(field) + len(value) + FIELD_OVERHEAD_BYTES
        else:
            self.hash_bytes += len(value) - len(old)
        fields[field] = value

    def remove_field(self, fields: dict[bytes, bytes], field: bytes) -> None:
        """Remove a field of a hash, if it is there."""
        old = fields.pop(field, None)
        if old is not None:
            self.hash_bytes -= len(field) + len(old) + FIELD_OVERHEAD_BYTES

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key to a string; its expiry stays."""
        if self._index is not None and key not in self.data:
            self._index.added.append(key)
        if self.hash_bytes:  # else there is no hash that this could replace
            self.hash_bytes -= _hash_size(self.data.get(key))
        self.data[key] = value
        if key in self.armed:
            self.touched(key)

    def set(self, key: bytes, value: bytes) -> None:
        """Set a key to a string that does not expire."""
        self.put(key, value)
        self.expires.pop(key, None)

    def remove(self, key: bytes) -> bool:
        """Remove a key; whether it was there."""
        old = self.data.pop(key, None)
        if old is None:
            return False
        self.hash_bytes -= _hash_size(old)
        self.expires.pop(key, None)
        if key in self.armed:
            self.touched(key)
        return True

    def expire_at(self, key: bytes, moment: int) -> None:
        """Let a key that is there expire at `moment`, in ms: at once if that is not after `now`.

        No moment is beyond `INT64_MAX`: commands refuse such ones, and a snapshot cannot hold them.
        """
        moment = min(moment, INT64_MAX)
        if moment <= self.now:
            self.remove(key)
            return
        if self.expires.get(key) != moment:
            self.expires[key] = moment
            heappush(self._heap, (moment, key))
        if key in self.armed:
            self.touched(key)

    def persist(self, key: bytes) -> bool:
        """Let a key not expire; whether it would have."""
        if self.expires.pop(key, None) is None:
            return False
        if key in self.armed:
            self.touched(key)
        return True

    def touched(self, key: bytes) -> None:
        """A key was modified: every writer says so, here or by the methods above."""
        if key in self.armed:
            self.mark += 1
            self.armed[key] = self.mark

    # --- time ----------------------------------------------------------------------------------

    def _expire(self) -> None:
        """Remove the keys whose time has come, the earliest first, `EXPIRED_KEYS_MAX` at most."""
        heap, expires, now = self._heap, self.expires, self.now
        room = EXPIRED_KEYS_MAX
        while heap and heap[0][0] <= now:
            moment, key = heap[0]
            if expires.get(key) == moment:
                if not room:
                    return
                room -= 1
                self.remove(key)
            heappop(heap)

    def drop_due(self, key: bytes) -> None:
        """Remove a key whose time has come, if it is still there."""
        if self.expires.get(key, _NEVER) <= self.now:
            self.remove(key)

    def disarm(self, count: int) -> None:
        """Forget so many of the watched keys, those first whose watch ends first."""
        for key in list(islice(self.armed_until, count)):
            del self.armed_until[key], self.armed[key]

    def _disarm(self) -> None:
        """Forget who was watched long enough; they stand in this order."""
        until = self.armed_until
        while until:
            key = next(iter(until))
            if until[key] > self.now:
                return
            del until[key], self.armed[key]

    # --- snapshots -----------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """The whole state, for `restore`; about 0.15 us a key."""
        state = _State(
            self.now,
            self.applied,
            self.mark,
            msgspec.Raw(self.data.pack()),
            self.expires,
            self.armed,
            self.armed_until,
        )
        body = _encode(state)
        checksum = hashing.crc32c(body).to_bytes(4, "little")
        return b"".join((SNAPSHOT_MAGIC, bytes([SNAPSHOT_VERSION]), checksum, body))

    def restore(self, source: SnapshotSource) -> None:
        """Replace the state by that of a snapshot.

        Raises:
            FormatError: it is none, or damaged; the state stays as it was.
            VersionError: a newer version of ringleader made it.
        """
        data = source.read(0, source.total_bytes)
        if len(data) < _HEAD_BYTES or not data.startswith(SNAPSHOT_MAGIC):
            raise FormatError("no snapshot of a store")
        version = data[len(SNAPSHOT_MAGIC)]
        if version > SNAPSHOT_VERSION:
            raise VersionError(f"a snapshot of version {version}; this reads {SNAPSHOT_VERSION}")
        if version != SNAPSHOT_VERSION:
            raise FormatError(f"a snapshot of version {version}, which there never was")
        body = memoryview(data)[_HEAD_BYTES:]
        checksum = int.from_bytes(data[_HEAD_BYTES - 4 : _HEAD_BYTES], "little")
        if hashing.crc32c(body) != checksum:
            raise FormatError("a damaged snapshot: its checksum is wrong")
        try:
            state = _decode_state(body)
            keys = keyspace.Keyspace.unpack(state.data)
        except BAD_BATCH as error:
            raise FormatError(f"no snapshot of a store: {error}") from None
        _check_state(state, keys)
        self.now = self.clock = state.now
        self.applied = state.applied
        self.mark = state.mark
        self.data = keys
        self.expires = state.expires
        self.armed = state.armed
        self.armed_until = state.armed_until
        self.hash_bytes = sum(map(_hash_size, keys.dicts()))
        self._heap = [(moment, key) for key, moment in state.expires.items()]
        heapify(self._heap)
        self._index = None


def _hash_size(value: Value | None) -> int:
    """What a value takes besides its key if it is a hash; O(fields)."""
    if not isinstance(value, dict):
        return 0
    total = sum(map(len, value)) + sum(map(len, value.values()))
    return total + FIELD_OVERHEAD_BYTES * len(value) + HASH_OVERHEAD_BYTES


def _check_state(state: _State, keys: keyspace.Keyspace) -> None:
    """The invariants of `Store`, before a snapshot takes the place of what is there."""
    if not all(key in keys for key in state.expires):
        raise FormatError("a damaged snapshot: a key that is not there expires")
    if not all(keys.dicts()):
        raise FormatError("a damaged snapshot: an empty hash")
    if state.armed.keys() != state.armed_until.keys():
        raise FormatError("a damaged snapshot: watched keys without an end")
    if max(state.armed.values(), default=0) > state.mark:
        raise FormatError("a damaged snapshot: a mark of the future")
    moments = list(state.armed_until.values())
    if moments != sorted(moments):
        raise FormatError("a damaged snapshot: watched keys out of order")
