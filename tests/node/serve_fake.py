"""A server on a `FakeRouter`, to be measured: python serve_fake.py [port] [--deferred]."""

from __future__ import annotations

import asyncio
import gc
import sys
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from node.fake_router import FakeRouter

from ringleader.node.server import ClientSettings, Server


async def main(port: int, deferred: bool) -> None:
    router = FakeRouter(deferred=deferred)
    loop = asyncio.get_running_loop()
    router.on_dirty = lambda: loop.call_soon(router.commit)
    server = Server(ClientSettings(port=port), router, router)
    await server.start()
    router.port = server.port
    print(server.port, flush=True)
    gc.freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 0, "--deferred" in sys.argv))
