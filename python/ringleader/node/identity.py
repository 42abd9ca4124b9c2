"""What must never change under a node's data, kept in its directory from the first start on.

A node that is started on the data of another, or with another number of shards, would put keys
where nobody looks for them; so this is compared before anything else is opened.

The same file says that the node's log has begun.  From then on a log without any record is one that
was lost: taken for a new one, it would make a voter that has forgotten what it promised.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ringleader.errors import IdentityError
from ringleader.node import checked, layout
from ringleader.storage import durable

FILE_NAME = "identity.json"
FORMAT = 1
#: The incarnation of the log that has begun last; is not there before the first one has.
_LOG = "log"
#: What an empty directory may have in it: a file that was not finished, a file system's own.
_NOBODYS = {f"{FILE_NAME}.new", "lost+found"}


@dataclass(frozen=True)
class Identity:
    """What all nodes of a cluster must agree on for as long as it has data.

    Attributes:
        cluster: its name.
        consensus: "raft" or "paxos".
        shards: how many.
        sets: the names of the nodes that hold each shard, sorted.
    """

    cluster: str
    consensus: str
    shards: int
    sets: tuple[tuple[str, ...], ...]

    @cached_property
    def digest(self) -> str:
        """64 hex digits, the same on all nodes of one cluster, and on no other."""
        return hashlib.sha256(checked.canonical(self._fields())).hexdigest()

    @cached_property
    def cluster_id(self) -> bytes:
        """16 bytes of the digest: what peers show each other."""
        return bytes.fromhex(self.digest)[:16]

    def _fields(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "layout": layout.VERSION,
            "cluster": self.cluster,
            "consensus": self.consensus,
            "shards": self.shards,
            "sets": [list(names) for names in self.sets],
        }

    def claim(self, directory: str | os.PathLike[str], node: str) -> None:
        """Make sure that this directory is the node's; write so when it is empty.

        The directory is made if it is not there.  What is written is durable on return.

        Raises:
            IdentityError: it is another's, or the cluster was cut otherwise; says what differs.
            OSError: the directory cannot be read or written.
        """
        folder = Path(directory)
        durable.make_directory(folder)
        mine = {**self._fields(), "node": node}
        try:
            there = _read(folder)
        except FileNotFoundError:
            strangers = sorted(each.name for each in folder.iterdir() if each.name not in _NOBODYS)
            if strangers:
                raise IdentityError(
                    f"{folder}: has no {FILE_NAME}, but {', '.join(strangers[:4])}: it is not a "
                    "node's directory, or its identity was removed; choose an empty one"
                ) from None
            checked.write(folder / FILE_NAME, mine)
            return
        if changes := _changes(there, mine):
            raise IdentityError(
                f"{folder}: its data contradict the cluster file: {'; '.join(changes)}.  Restore "
                "the cluster file, or start this node on the directory that is its own"
            )


def log_incarnation(directory: Path) -> int | None:
    """The incarnation of the log that has begun last in a node's directory; None: none has.

    Raises:
        IdentityError: the file is damaged.
        OSError: it cannot be read.
    """
    found = _read(directory).get(_LOG)
    return int(found) if found is not None else None


def note_log(directory: Path, incarnation: int) -> None:
    """Put on record, durably, that a log of this incarnation has begun.

    Raises:
        IdentityError: the file is damaged.
        OSError: it cannot be read or written.
    """
    fields = _read(directory)
    if fields.get(_LOG) != incarnation:
        checked.write(directory / FILE_NAME, {**fields, _LOG: incarnation})


def _read(directory: Path) -> dict[str, Any]:
    path = directory / FILE_NAME
    fields = checked.read(path)
    if fields is None:
        raise IdentityError(
            f"{path}: is damaged: it does not have its own checksum; restore it from a backup, or "
            "start this node with an empty directory and --refetch"
        )
    return fields


def _changes(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs, in words."""
    if there.get("format") != FORMAT:
        return [f"they are of format {there.get('format')}, and this ringleader knows {FORMAT}"]
    changes = [
        f"{words} was {there.get(key)!r}, and is {now[key]!r}"
        for key, words in (
            ("node", "the node"),
            ("cluster", "the cluster's name"),
            ("consensus", "consensus"),
            ("shards", "shards"),
            ("layout", "the version of the layout"),
        )
        if there.get(key) != now[key]
    ]
    if not changes and there.get("sets") != now["sets"]:
        changes.append(_moved(there["sets"], now["sets"]))
    return changes


def _moved(before: Sequence[Sequence[str]], after: Sequence[Sequence[str]]) -> str:
    moved = [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    old_names = {name for names in before for name in names}
    new_names = {name for names in after for name in names}
    causes = [
        f"{', '.join(sorted(names))} {verb}"
        for names, verb in (
            (new_names - old_names, "came in"),
            (old_names - new_names, "went away"),
        )
        if names
    ]
    why = ", ".join(causes) or "replicas, or a node's datacenter, zone or weight, changed"
    first = moved[0]
    return (
        f"{len(moved)} of {len(after)} shards would have other nodes ({why}): shard {first} was "
        f"on {', '.join(before[first])}, and would be on {', '.join(after[first])}"
    )
