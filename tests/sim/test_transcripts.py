"""Scenarios as text: tests/transcripts/*.txt, in the language of `ringleader.sim.transcript`.

RINGLEADER_REWRITE=1 writes what the commands print now into the files; read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ringleader.errors import SettingError
from ringleader.sim.transcript import replay

FILES = sorted((Path(__file__).resolve().parent.parent / "transcripts").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text()
    now = replay(text)
    if os.environ.get("RINGLEADER_REWRITE") == "1":
        path.write_text(now)
    else:
        assert now == text, f"read the difference; RINGLEADER_REWRITE=1 writes it into {path.name}"


def test_what_is_printed_is_replaced() -> None:
    text = "# a comment\n\ncluster 1\n----\nwrong\n"
    assert replay(text) == "# a comment\n\ncluster 1\n----\nok\n"


def test_errors_of_the_core_are_part_of_the_text() -> None:
    assert "error: NotLeader" in replay("cluster 3\npropose 1 a\n")


@pytest.mark.parametrize("line", ["dance 1", "campaign 9", "cluster x", "tick", "cluster 1 tea=2"])
def test_mistakes_in_a_transcript(line: str) -> None:
    with pytest.raises(SettingError):
        replay(f"cluster 1\n{line}\n")
