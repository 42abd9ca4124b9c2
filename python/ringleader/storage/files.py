"""The small file interface through which storage sees a disk.

Files are append-only and live in one directory.  What a crash (of the machine, not of the process
alone) leaves of them is the contract; it is what journaling file systems give, and no more:

    bytes       that a completed `sync(name)` covered are there.  Of the bytes appended since, any
                number from the first on is there; the rest of them is gone, or reads as zeros or as
                garbage; and nothing that was not synced is sure to be what was written.
    truncate    has happened or not, until the next completed `sync` of the file
    names       `create`, `rename` and `delete` take effect in the order in which they were called,
                and any number of them, from the first on, survives; all that came before a
                completed `sync_names` do.  A rename is atomic: never neither name, never half a
                file.
    a failed    `sync` says nothing about what is durable, and a later one that succeeds says
                nothing about the bytes of the failed one: after it, nothing is known until
                recovery.

A crash of the process alone leaves everything as it was, synced or not.  What is read after a start
may therefore not be durable, and must not be acted on before `settle`.

The slow operations call back when they are done, `done(None)`, or `done(error)`: a simulated disk
lets virtual time pass between, a real one a thread; one in memory may call back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ringleader.errors import StorageError

Done = Callable[[StorageError | None], None]
Bytes = bytes | bytearray | memoryview


class Reader(Protocol):
    """An open file: readable as long as it is held, even when it was renamed or deleted since."""

    @property
    def total_bytes(self) -> int: ...

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer only at the end.

        Raises:
            StorageError: the disk cannot read them.
        """
        ...


class Disk(Protocol):
    """One directory of append-only files.  A file that is not there: `StorageError`."""

    def names(self) -> list[str]:
        """All files, in ascending order."""
        ...

    def create(self, name: str) -> None:
        """A new, empty file.

        Raises:
            StorageError: there is one of this name.
        """
        ...

    def append(self, name: str, data: Bytes) -> None:
        """Add bytes to the end: into a buffer, at once.  They are copied, or never changed by the
        caller.

        Raises:
            StorageError: the disk is full.  Some of the bytes may have been added.
        """
        ...

    def sync(self, name: str, done: Done) -> None:
        """Make durable what was appended to the file before this call, then call `done`."""
        ...

    def sync_names(self, done: Done) -> None:
        """Make durable what was created, renamed and deleted before this call, then call `done`."""
        ...

    def settle(self) -> None:
        """Make everything durable as it is now, names too, before this returns.  For recovery
        alone, which must not act on what a crash could still take.

        Raises:
            StorageError: that failed.
        """
        ...

    def open(self, name: str) -> Reader: ...

    def truncate(self, name: str, total_bytes: int) -> None:
        """Cut a file to its first `total_bytes`."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; a file that had it is gone."""
        ...

    def delete(self, name: str) -> None: ...
