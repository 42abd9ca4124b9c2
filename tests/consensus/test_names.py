"""`ringleader.consensus` has its public names at the top, and loads what is asked for alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ringleader.consensus as consensus


def test_every_name_is_there() -> None:
    for name in consensus.__all__:
        assert getattr(consensus, name).__name__ == name
        assert name in dir(consensus)
    assert list(consensus.__all__) == sorted(consensus.__all__)
    assert set(consensus.__all__) == set(consensus._HOMES)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="Paxos"):
        _ = consensus.Paxos


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import ringleader", []),
        ("from ringleader.consensus import Log", ["log"]),
        ("from ringleader.storage.record import LogIdentity", ["membership"]),
        ("from ringleader.consensus import Majority", ["quorum"]),
    ],
)
def test_what_an_import_loads(statement: str, loaded: list[str]) -> None:
    code = (
        f"{statement}\nimport sys\n"
        "names = sorted(name for name in sys.modules if name.startswith('ringleader.consensus.'))\n"
        "print(*names)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = {name.removeprefix("ringleader.consensus.") for name in out.stdout.split()}
    assert names >= set(loaded)
    assert not any(name.startswith("raft") for name in names)
    if not loaded:
        assert not names
