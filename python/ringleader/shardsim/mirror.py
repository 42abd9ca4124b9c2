"""What commands do, written down a second time: plainly, slowly, one key-value map, no shortcuts.

The simulator compares every store with it after every entry, every reply with its own, and judges
by it whether a history is linearizable (`KeyModel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from ringleader.limits import WATCH_MS
from ringleader.node.replies import NULL_ARRAY, ReplyError
from ringleader.sim.linearizability import Model

NOT_INTEGER: Final = ReplyError("ERR value is not an integer or out of range")
#: Before and after every place in a batch.
FIRST: Final = -1
LAST: Final = 2**31

#: (index of the entry, place in its batch): when something took effect.
Position = tuple[int, int]


@dataclass(slots=True)
class State:
    """What a store holds after an entry."""

    now: int
    data: dict[bytes, bytes]
    expires: dict[bytes, int]

    def read(self, args: Sequence[bytes], hidden: Sequence[bytes] = ()) -> Any:
        """The reply to a command that reads, as if `hidden` keys were not there."""
        view = Mirror()
        view.now = self.now
        view.data = {key: value for key, value in self.data.items() if key not in hidden}
        view.expires = {key: at for key, at in self.expires.items() if key not in hidden}
        return view.run(args)


@dataclass(slots=True)
class Mirror:
    """One copy of a shard.

    modified    where each key was last modified, expiry included.
    armed       watched keys, and until when.
    disarmed    where each key was last given up as a watched one.
    expired     keys that the last batch has let expire.
    """

    now: int = 0
    data: dict[bytes, bytes] = field(default_factory=dict)
    expires: dict[bytes, int] = field(default_factory=dict)
    modified: dict[bytes, Position] = field(default_factory=dict)
    armed: dict[bytes, int] = field(default_factory=dict)
    disarmed: dict[bytes, Position] = field(default_factory=dict)
    expired: list[bytes] = field(default_factory=list)
    at: Position = (0, 0)

    def begin(self, index: int, now: int) -> None:
        """A batch begins: time passes."""
        self.at = (index, FIRST)
        self.now = max(self.now, now)
        self.expired = sorted(key for key, at in self.expires.items() if at <= self.now)
        for key in self.expired:
            self._remove(key)
        for key in [key for key, until in self.armed.items() if until <= self.now]:
            del self.armed[key]
            self.disarmed[key] = self.at

    def state(self) -> State:
        return State(self.now, dict(self.data), dict(self.expires))

    def watches(self, key: bytes, since: Position) -> bool:
        """Whether a key has been watched without a break, and not modified, since then."""
        return (
            key in self.armed
            and self.modified.get(key, (0, 0)) < since
            and self.disarmed.get(key, (0, 0)) < since
        )

    # --- commands ------------------------------------------------------------------------------

    def run(self, args: Sequence[bytes]) -> Any:
        run = getattr(self, "_" + args[0].decode().lower())
        return run(*args[1:])

    def exec(self, watched: Sequence[tuple[bytes, Position]], commands: Any) -> Any:
        """EXEC, of keys and where they were watched."""
        if not all(self.watches(key, since) for key, since in watched):
            return NULL_ARRAY
        return [self.run(args) for args in commands]

    def _touch(self, key: bytes) -> None:
        self.modified[key] = self.at

    def _remove(self, key: bytes) -> None:
        del self.data[key]
        self.expires.pop(key, None)
        self._touch(key)

    def _get(self, key: bytes) -> Any:
        return self.data.get(key)

    def _mget(self, *keys: bytes) -> Any:
        return [self.data.get(key) for key in keys]

    def _pttl(self, key: bytes) -> Any:
        if key not in self.data:
            return -2
        return max(self.expires[key] - self.now, 0) if key in self.expires else -1

    def _set(self, key: bytes, value: bytes, *options: bytes) -> Any:
        old = self.data.get(key)
        if (
            (b"NX" in options and old is not None)
            or (b"XX" in options and old is None)
            or (b"IFEQ" in options and old != options[options.index(b"IFEQ") + 1])
        ):
            return None
        self.data[key] = value
        if b"KEEPTTL" not in options:
            self.expires.pop(key, None)
        if b"PX" in options:
            self.expires[key] = self.now + int(options[options.index(b"PX") + 1])
        self._touch(key)
        return "OK"

    def _del(self, key: bytes) -> Any:
        if key not in self.data:
            return 0
        self._remove(key)
        return 1

    def _append(self, key: bytes, tail: bytes) -> Any:
        value = self.data[key] = self.data.get(key, b"") + tail
        self._touch(key)
        return len(value)

    def _incr(self, key: bytes) -> Any:
        old = self.data.get(key, b"0")
        if not old.isdigit():
            return NOT_INTEGER
        self.data[key] = b"%d" % (int(old) + 1)
        self._touch(key)
        return int(old) + 1

    def _pexpire(self, key: bytes, ms: bytes) -> Any:
        if key not in self.data:
            return 0
        self.expires[key] = self.now + int(ms)
        self._touch(key)
        return 1

    def _expire(self, key: bytes, seconds: bytes) -> Any:
        return self._pexpire(key, b"%d" % (int(seconds) * 1000))

    def _persist(self, key: bytes) -> Any:
        if self.expires.pop(key, None) is None:
            return 0
        self._touch(key)
        return 1

    def _watch(self, *keys: bytes) -> Any:
        for key in keys:
            self.armed[key] = self.now + WATCH_MS
        return None  # a version, which is the store's own


def plain(name: bytes, reply: Any) -> Any:
    """A reply as histories have it: what depends on a clock is left out."""
    if name == b"PTTL" and isinstance(reply, int):
        return min(reply, 0)
    return tuple(reply) if isinstance(reply, list) else reply


#: A key's value, and whether it will expire.
KeyState = tuple[bytes | None, bool]
_FAR: Final = 2**60
_KEY: Final = b"k"


class KeyModel(Model):
    """One key, as a client sees it.  An expiry is a call of its own.

    (b"expire",)            True: the key was there, would expire, and has
    (name, ...)             a command without its key
    (b"EXEC", call, ...)    several of these at once
    """

    initial: KeyState = (None, False)

    def apply(self, state: KeyState, call: Any) -> tuple[KeyState, Any]:
        return _apply(state, call)

    def is_read(self, call: Any, result: Any) -> bool:
        return call[0] in (b"GET", b"PTTL")


@lru_cache(maxsize=100_000)
def _apply(state: KeyState, call: Any) -> tuple[KeyState, Any]:
    value, expires = state
    if call[0] == b"expire":
        return ((None, False), True) if expires else (state, False)
    mirror = Mirror()
    if value is not None:
        mirror.data[_KEY] = value
        if expires:
            mirror.expires[_KEY] = _FAR
    calls = call[1:] if call[0] == b"EXEC" else (call,)
    replies = [plain(name, mirror.run((name, _KEY, *rest))) for name, *rest in calls]
    result = tuple(replies) if call[0] == b"EXEC" else replies[0]
    return (mirror.data.get(_KEY), _KEY in mirror.expires), result
