"""`ringleader serve`: one node of a cluster, until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ringleader.cli.extras import needed

if TYPE_CHECKING:
    from ringleader.node.config import ClusterConfig

#: Open besides connections: the log, snapshots, ports, what Python itself has.
OTHER_FILES = 256


@click.command()
@click.option(
    "--config", "file", required=True, metavar="FILE", help="The cluster file, alike on all nodes."
)
@click.option("--node", "name", required=True, metavar="NAME", help="Which of its nodes this is.")
@click.option(
    "--dir", "directory", metavar="DIR", help="Of the data.  [default: data_dir/NAME of the file]"
)
@click.option("--check", is_flag=True, help="Only say what is wrong with the file, or is advised.")
@click.option(
    "--refetch",
    is_flag=True,
    help="The log is lost or damaged: put it aside, and fetch all shards anew from their other "
    "replicas, as a new member of each.",
)
@click.option("--until-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
def serve(
    file: str, name: str, directory: str | None, check: bool, refetch: bool, until_eof: bool
) -> None:
    """Run one node of a cluster.

    SIGTERM and SIGINT stop it cleanly: it hands its shards over, answers what is under way and
    closes its data.  Exit codes: 0 stopped as asked; 1 failed while it ran, with the reason in the
    log; 2 refused to start, with the reason on standard error and nothing changed.
    """
    with needed("node", "a node"):
        from ringleader.node import identity, tls
        from ringleader.node.config import ClusterConfig

    config = ClusterConfig.load(file)
    node = config.node(name)
    data = Path(directory) if directory is not None else config.directory(name)
    if check:
        for context in (tls.client_port, tls.peer_port, tls.peer_dial):
            context(config.tls)
        if (data / identity.FILE_NAME).exists():
            config.check_identity(data, name)
        for words in config.warnings():
            click.echo(f"warning: {words}")
        own = len(config.layout.of(name))
        click.echo(
            f"{config.name}: {len(config.nodes)} nodes, {config.shards} shards by "
            f"{config.consensus}; {name} holds {own} of them in {data}, and serves clients on "
            f"{node.listen}:{node.port}"
        )
        return
    with needed("node", "a node"):
        from ringleader.node.serve import run
    config = _with_files(config)
    if until_eof:
        threading.Thread(target=_stop_at_eof, name="until eof", daemon=True).start()
    code = run(config, name, data, refetch=refetch)
    if until_eof:
        # The thread must not wake up amid the end of the interpreter.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _with_files(config: ClusterConfig) -> ClusterConfig:
    """The configuration, with as many clients as this process may have open connections: one more
    than that could keep the log from opening its next file."""
    others = 4 * len(config.nodes) + OTHER_FILES
    wanted = config.limits.clients_max + others
    allowed = _allow_open_files(wanted)
    if allowed >= wanted:
        return config
    clients_max = max(1, allowed - others)
    click.echo(
        f"warning: this process may open {allowed} files and connections, so that it serves "
        f"{clients_max} clients, not the {config.limits.clients_max} of limits.clients_max: raise "
        "the hard limit (ulimit -Hn, or systemd's LimitNOFILE)",
        err=True,
    )
    return replace(config, limits=replace(config.limits, clients_max=clients_max))


def _allow_open_files(wanted: int) -> int:
    """Let this process open so many files and connections, or as many as the system lets it; how
    many that is, `wanted` at most."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    allowed = wanted if hard == unlimited else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def _stop_at_eof() -> None:
    """As if SIGTERM came, when whoever holds the other end of our standard input is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
