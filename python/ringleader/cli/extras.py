"""Packages that only some commands need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ringleader.errors import MissingExtra


@contextmanager
def needed(extra: str, purpose: str) -> Iterator[None]:
    """Around imports: a package that is not there becomes a `MissingExtra` naming the extra."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        if package == "ringleader":
            raise
        raise MissingExtra(
            f'{purpose} needs {package}, which is not installed: pip install "ringleader[{extra}]"'
        ) from error
