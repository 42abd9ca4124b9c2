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
    assert len(EXAMPLES) >= 9
    room = {"replicated_machine": 85, "decide_one_value": 65}  # with a network of their own
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) <= room.get(path.stem, 50)


def test_the_planted_mistake_is_found(start: Callable[..., subprocess.Popen[bytes]]) -> None:
    path = next(path for path in EXAMPLES if path.stem == "simulated_machine")
    out, _ = start(str(path)).communicate(timeout=120)
    sound, broken = out.decode().split("ForgetfulBank:")
    assert "nothing was found" in sound
    assert "invariant 5 (state machine safety)" in broken
