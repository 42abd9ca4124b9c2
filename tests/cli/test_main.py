"""The entry point: what it needs, what it prints, how it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import Result

from ringleader import __version__

Run = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[bytes]"]


def test_version_and_help(start: Start) -> None:
    out, err = start("-m", "ringleader", "--version").communicate()
    assert (out.decode().split(), err) == (["ringleader,", "version", __version__], b"")
    out, _ = start("-m", "ringleader", "-h").communicate()
    for command in (b"assign", b"ring", b"demo"):
        assert command in out


@pytest.mark.parametrize(
    "args", [["assign"], ["ring"], ["ring", "show"], ["ring", "plot"], ["demo"]]
)
def test_every_command_has_help(run: Run, args: list[str]) -> None:
    result = run(*args, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("package", ["click", "rich"])
def test_the_command_without_its_extra(start: Start, package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from ringleader.cli import main; main()"
    process = start("-c", code)
    out, err = process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert err.decode().strip() == (
        f"Error: the ringleader command needs {package}, which is not installed: "
        'pip install "ringleader[cli]"'
    )


def test_every_module_has_its_command() -> None:
    from click import Context

    from ringleader.cli.app import MODULES, app

    context = Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        assert command is not None
        assert command.name == name
    assert app.list_commands(context) == sorted(MODULES)
    assert app.get_command(context, "none") is None


def test_a_node_starts_without_the_rest(start: Start) -> None:
    code = (
        "import sys; from ringleader.cli.app import app; app(['serve', '-h'], "
        "standalone_mode=False); print([m for m in ('ringleader.sim', 'ringleader.cli.plan', "
        "'matplotlib') if m in sys.modules])"
    )
    out, err = start("-c", code).communicate()
    assert (out.splitlines()[-1], err) == (b"[]", b"")


def test_importing_ringleader_needs_numpy_only(start: Start) -> None:
    code = (
        "import sys; import ringleader, ringleader.cli; "
        "print([m for m in ('click', 'rich', 'pyarrow', 'matplotlib') if m in sys.modules])"
    )
    out, err = start("-c", code).communicate()
    assert (out.strip(), err) == (b"[]", b"")


def test_text_needs_no_pyarrow(start: Start) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None; from ringleader.cli import main; "
        "sys.argv[1:] = ['assign', '-', '--nodes', 'a', '-o', '-']; main()"
    )
    process = start("-c", code)
    out, err = process.communicate(b"k\n")
    assert process.returncode == 0, err
    assert out == b"key,node\nk,a\n"


def test_misuse_ends_with_2_and_a_hint(start: Start) -> None:
    process = start("-m", "ringleader", "assign", "x.txt", "--nods", "a")
    out, err = process.communicate()
    assert process.returncode == 2
    assert out == b""
    assert b"--nodes" in err
    assert b"Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_a_terminal_gets_a_progress_bar_and_colour(start: Start) -> None:
    import os
    import pty

    master, slave = pty.openpty()
    process = start("-m", "ringleader", "assign", "-", "--nodes", "a,b", stdout=slave, stderr=slave)
    os.close(slave)
    assert process.stdin is not None
    process.stdin.write(b"k\n" * 1000)
    process.stdin.close()
    seen = b""
    while True:
        try:
            chunk = os.read(master, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(master)
    assert process.wait(60) == 0
    process.stdin = None  # what communicate() would flush
    assert b"placing" in seen
    assert b"\x1b[" in seen
