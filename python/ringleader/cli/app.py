"""The command group, and what becomes of errors."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

import click
import rich  # noqa: F401  the commands print with it; a missing one is reported at the start

from ringleader import __version__
from ringleader.cli.assign import assign
from ringleader.cli.availability import availability
from ringleader.cli.bench import bench
from ringleader.cli.compare import compare
from ringleader.cli.compare_consensus import consensus
from ringleader.cli.demo import demo
from ringleader.cli.look import balance, plot
from ringleader.cli.plan import plan
from ringleader.cli.ring import ring
from ringleader.cli.serve import serve
from ringleader.cli.simulate import simulate
from ringleader.cli.status import status
from ringleader.cli.up import up
from ringleader.cli.wal import wal
from ringleader.errors import RingleaderError

EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


class Refusal(click.ClickException):
    exit_code = EXIT_REFUSED


class App(click.Group):
    """A group whose errors are one line on stderr, never a traceback."""

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


app.add_command(assign)
app.add_command(ring)
app.add_command(balance)
app.add_command(plot)
app.add_command(plan)
app.add_command(demo)
app.add_command(compare)
compare.add_command(consensus)
app.add_command(availability)
app.add_command(simulate)
app.add_command(up)
app.add_command(serve)
app.add_command(status)
app.add_command(bench)
app.add_command(wal)
