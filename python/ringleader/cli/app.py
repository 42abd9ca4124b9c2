"""The command group, and what becomes of errors."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any

import click
import rich  # noqa: F401  the commands print with it; a missing one is reported at the start

from ringleader import __version__
from ringleader.errors import RingleaderError

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


class Refusal(click.ClickException):
    exit_code = EXIT_REFUSED


#: Each command's module: imported when it is called, so that a node starts without what draws
#: pictures of rings.
MODULES = {
    "assign": "assign",
    "availability": "availability",
    "balance": "look",
    "bench": "bench",
    "compare": "compare",
    "demo": "demo",
    "plan": "plan",
    "plot": "look",
    "ring": "ring",
    "serve": "serve",
    "simulate": "simulate",
    "status": "status",
    "up": "up",
    "wal": "wal",
}


class App(click.Group):
    """A group whose errors are one line on stderr, never a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"ringleader.cli.{MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a closed pipe shows itself here, not in the interpreter's exit
            return result
        except BrokenPipeError:
            _discard_stdout()
            ctx.exit(EXIT_PIPE_CLOSED)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(EXIT_INTERRUPTED)
        except (RingleaderError, OSError) as error:
            raise Refusal(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, RingleaderError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _discard_stdout() -> None:
    """Let what is still buffered go nowhere, so that the exit does not fail on it again."""
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ringleader")
def app() -> None:
    """Placement: where does this key live?  Agreement: what do all replicas agree on?"""
