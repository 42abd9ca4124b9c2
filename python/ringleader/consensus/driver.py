"""The order of things around a core: persist, then send, then apply.

`Driver` is what the node and the simulator run a core on, so that the order itself is tested by
both.  It owns none of its surroundings; it reaches them through three small interfaces:

    Storage        makes things durable, in the order in which they were handed over
    Transport      sends messages, and may lose, delay, repeat or reorder them
    StateMachine   what is being replicated

Nothing here blocks, and nothing here knows the time: `tick()` is called by a clock, `receive()` by a
network, and the callback of `Storage.write` by a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ringleader.consensus.log import Entries, Log
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import HardState, Ready, Snapshot, SnapshotSource

NodeId = int | str


class Recovered:
    """What a storage holds of an earlier life.

    `partial` says what has arrived of a snapshot that was being received: the number of bytes and the
    snapshot's (index, term, total_bytes, checksum); or None.  A storage that holds nothing gives the
    defaults.
    """

    __slots__ = ("hard_state", "log", "partial", "snapshot")

    def __init__(
        self,
        hard_state: HardState | None = None,
        log: Log | None = None,
        snapshot: Snapshot | None = None,
        partial: tuple[int, int, int, int, int] | None = None,
    ) -> None:
        self.hard_state = hard_state if hard_state is not None else HardState()
        self.log = log if log is not None else Log()
        self.snapshot = snapshot
        self.partial = partial


class Storage(Protocol):
    """One group's durable state."""

    def load(self) -> Recovered:
        """What is durable.

        Raises:
            StorageError: it is damaged where no crash can have damaged it, or belongs to another.
        """
        ...

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        """Make `ready.hard_state`, `.chunks`, `.snapshot` and `.block` durable, in this order, after
        all that was handed over before; then call `done(ready)`, at once or later.

        A `Ready` that persists nothing is done when all before it are.  After an error nothing is
        ever done again.
        """
        ...

    def save_snapshot(self, snapshot: Snapshot, keep_from: int, done: Callable[[], None]) -> None:
        """Make a snapshot of the own state durable (from `snapshot.source`), then forget log entries
        below `keep_from`; then call `done()`."""
        ...

    def open_snapshot(self) -> SnapshotSource:
        """The bytes of the latest durable snapshot."""
        ...


class Transport(Protocol):
    def send(self, messages: Sequence[Any]) -> None:
        """Try to deliver each message to its `to`; never wait, never fail."""
        ...


class StateMachine(Protocol):
    """Deterministic: the same commands in the same order give the same state and results."""

    def apply(self, entries: Entries) -> Sequence[Any]:
        """Apply the commands, `for index, command in entries`, and return one result for each."""
        ...

    def snapshot(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, source: SnapshotSource) -> None:
        """Replace the state by that of a snapshot."""
        ...
