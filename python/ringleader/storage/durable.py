"""Small files and directories that are there after a power cut, or are not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; it is durable, name and all, on return.

    Raises:
        OSError: it could not be written.  The file is what it was before, or the new one.
    """
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_names(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, unless they are there; their names are durable on
    return.

    Raises:
        OSError: that could not be done.
    """
    path = path.absolute()
    made = []
    for each in (path, *path.parents):
        if each.exists():
            break
        made.append(each)
    path.mkdir(parents=True, exist_ok=True)
    for each in made:
        sync_names(each.parent)
    if not made:
        # An earlier life may have made it, and not come to this.  Who may not look at the
        # directory above has not made it.
        with contextlib.suppress(PermissionError):
            sync_names(path.parent)


def sync_names(directory: Path) -> None:
    """Make durable what was created, renamed and deleted in a directory; nothing where directories
    cannot be opened.

    Raises:
        OSError: that failed.
    """
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
