"""One node as a process: what `ringleader serve` runs."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import traceback
from pathlib import Path

from ringleader.node import logs
from ringleader.node.config import ClusterConfig
from ringleader.node.node import Node

if sys.platform != "win32":
    import uvloop

    _new_loop = uvloop.new_event_loop
else:
    _new_loop = asyncio.new_event_loop

#: Objects between two collections of the youngest generation: a node makes many, and few cycles.
GC_THRESHOLD = 50_000


def run(
    config: ClusterConfig, name: str, directory: Path | None = None, *, refetch: bool = False
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0, or 1 when it failed while it ran.

    Args:
        config: of the cluster.
        name: of the node.
        directory: where its data is; by default what the cluster file says.
        refetch: see `Node`.

    Raises:
        ClusterFileError, IdentityError, StorageError: it cannot begin.
        OSError: a port cannot be listened on.
    """
    where = directory if directory is not None else config.directory(name)
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(_serve(config, name, where, refetch))


async def _serve(config: ClusterConfig, name: str, directory: Path, refetch: bool) -> int:
    logger = logs.configure(config.log_level, config.log_format, node=name)
    for warning in config.warnings():
        logger.warning("the cluster file", advice=warning)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = Node(config, name, directory, logger, refetch=refetch)
    # What recovery made lives on: it need not be looked at by every collection.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    try:
        await node.start()
    except BaseException:
        await node.stop()
        raise
    logger.info(
        "serving", host=node.own.host, port=node.own.port, shards=len(node.shards), dc=node.dc
    )
    try:
        await stop.wait()
        logger.info("stopping")
        await node.stop()
    except Exception as error:  # it began: this is no refusal to start
        logger.error(
            "failed", error=repr(error), where="".join(traceback.format_tb(error.__traceback__))
        )
        return 1
    logger.info("stopped")
    return 0 if node.failed is None else 1
