"""Small files of a node's directory: JSON that carries its own checksum, and is durable."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ringleader.storage import durable

_CHECK = "check"


def canonical(fields: dict[str, Any]) -> bytes:
    """The same bytes for the same fields, whoever writes them."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def write(path: Path, fields: dict[str, Any]) -> None:
    """Whole or not at all, and durable.

    Raises:
        OSError: that could not be done.
    """
    fields = {**fields, _CHECK: hashlib.sha256(canonical(fields)).hexdigest()}
    durable.replace(path, json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n")


def read(path: Path) -> dict[str, Any] | None:
    """What was written; None: it is damaged.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
    """
    try:
        fields = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    check = fields.pop(_CHECK, None)
    return fields if check == hashlib.sha256(canonical(fields)).hexdigest() else None
