"""What the tests of the command line share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import ringleader
from ringleader.cli.app import app

#: Runs the command line in this process: run("assign", "keys.txt", ..., input=b"...").
Run = Callable[..., Result]

PACKAGE_ROOT = Path(ringleader.__file__).parent.parent


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def invoke(*args: str, input: bytes | None = None) -> Result:
        result = CliRunner().invoke(app, list(args), input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception  # nothing but exit codes may leave the command group
        return result

    return invoke


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that has to be refused, leaving the directory as it was; gives its words."""

    def state() -> dict[str, bytes | None]:
        return {
            str(path): path.read_bytes() if path.is_file() else None for path in tmp_path.rglob("*")
        }

    def invoke(*args: str, input: bytes | None = None) -> str:
        before = state()
        result = run(*args, input=input)
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.stderr
        assert result.stdout == ""
        assert state() == before
        return " ".join(result.stderr.split())

    return invoke


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start Python in a process of its own, with pipes, in the same empty directory."""
    started = []

    def begin(*args: str, **options: Any) -> subprocess.Popen[bytes]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**os.environ, "PYTHONPATH": str(PACKAGE_ROOT)}
        process = subprocess.Popen(
            [sys.executable, *args], **{"cwd": tmp_path, "env": env, **pipes, **options}
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package look as if it were not installed."""

    def block(package: str) -> None:
        for name in list(sys.modules):
            if name == package or name.startswith(f"{package}."):
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return block
