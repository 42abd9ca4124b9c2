"""`ringleader wal`: what a node's log holds, and whether all of it is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ringleader.errors import StorageError
from ringleader.limits import WAL_GROUP_MAX

if TYPE_CHECKING:
    from ringleader.storage.examine import Summary

EXIT_DAMAGED = 1

_DIRECTORY = click.argument("directory", type=click.Path(path_type=Path))


@click.group()
def wal() -> None:
    """Look at the log of a node: the directory of its data.

    Nothing is ever changed, and a node may be running on it.
    """


@wal.command()
@_DIRECTORY
@click.option("--group", type=click.IntRange(0, WAL_GROUP_MAX), help="Records of this group only.")
@click.option("--json", "as_json", is_flag=True, help="An object on each line.")
def dump(directory: Path, group: int | None, as_json: bool) -> None:
    """Show each record of a log: where it stands, and what it says."""
    from ringleader.storage import examine

    for told in examine.dump(directory, group):
        if as_json:
            row = {"file": told.file, "at": told.at, "kind": told.kind}
            if told.kind != "end":
                row |= {"sequence": told.sequence, "durable": told.durable, "group": told.group}
            click.echo(json.dumps({**row, **told.fields}))
            continue
        where = f"{told.file}:{told.at:<9}"
        if told.kind == "end":
            behind = told.fields["bytes_behind"]
            rest = f"; {behind} bytes behind it are no records" if behind else ""
            click.echo(f"{where} end{rest}")
            continue
        of = "" if told.group is None else f" group {told.group}"
        said = ", ".join(f"{name} {_word(value)}" for name, value in told.fields.items())
        click.echo(f"{where} {told.sequence}/{told.durable}{of} {told.kind}: {said}".rstrip(": "))


def _word(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


@wal.command()
@_DIRECTORY
@click.option("--json", "as_json", is_flag=True, help="An object instead of text.")
@click.pass_context
def verify(ctx: click.Context, directory: Path, as_json: bool) -> None:
    """Read a log and its snapshots as a start would, and tell what is there.

    Exits with 1 when a start would be refused, and says by which file and byte.
    """
    from ringleader.storage import examine

    examine.head_of(examine.ExaminedDisk(directory))
    try:
        found = examine.verify(directory)
    except StorageError as error:
        click.echo(f"Error: {directory}: {error}", err=True)
        ctx.exit(EXIT_DAMAGED)
    if as_json:
        click.echo(json.dumps(_object(found)))
    else:
        _show(found)


def _object(found: Summary) -> dict[str, Any]:
    identity = found.identity
    return {
        "cluster": identity.cluster,
        "node": identity.node,
        "incarnation": identity.incarnation,
        "layout": identity.layout,
        "segments": found.segments,
        "bytes": found.log_bytes,
        "last_sequence": found.last_sequence,
        "end": {"file": found.end_file, "at": found.end_at, "bytes_behind": found.bytes_behind},
        "needless_files": found.needless,
        "groups": [group._asdict() for group in found.groups],
    }


def _show(found: Summary) -> None:
    from rich.table import Table

    from ringleader.cli.tables import TABLE_STYLE, console

    out = console()
    identity = found.identity
    of = f" of {identity.layout}" if identity.layout else ""
    out.print(
        f"The log of node {identity.node} of cluster {identity.cluster}{of}, incarnation "
        f"{identity.incarnation}: all of it is right."
    )
    out.print(
        f"{found.last_sequence} records so far, the last of them in {len(found.segments)} segments "
        f"of {found.log_bytes:,} bytes."
    )
    if found.bytes_behind:
        out.print(
            f"It ends at byte {found.end_at} of {found.end_file}.  The {found.bytes_behind} bytes "
            f"behind are of a write that was not completed, or of an earlier use of the file."
        )
    table = Table(**TABLE_STYLE)
    for name in ("group", "term", "vote", "commit", "entries", "bytes", "snapshot", "aside"):
        table.add_column(name, justify="right")
    for group in found.groups:
        entries = f"{group.base + 1} … {group.last}" if group.last > group.base else "none"
        snapshot = "none"
        if group.snapshot_index:
            snapshot = f"at {group.snapshot_index}, {group.snapshot_bytes:,} bytes"
        table.add_row(
            str(group.group),
            str(group.term),
            _word(group.vote),
            str(group.commit),
            entries,
            f"{group.entry_bytes:,}",
            snapshot,
            str(group.aside),
        )
    out.print(table)
