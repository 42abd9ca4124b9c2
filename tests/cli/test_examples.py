"""Every example runs, by itself, and says something."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
NEEDS = {"columns": ["pyarrow", "polars"]}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(start: Callable[..., subprocess.Popen[bytes]], path: Path) -> None:
    for package in NEEDS.get(path.stem, []):
        pytest.importorskip(package)
    process = start("-W", "error", str(path))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert err == b""
    assert out.count(b"\n") >= 1


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6
    assert all(len(path.read_text().splitlines()) <= 50 for path in EXAMPLES)
