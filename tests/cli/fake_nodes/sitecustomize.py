"""On PYTHONPATH, this puts a node that only pretends in the place of `ringleader.node.serve`: it
answers GET, SET and PING from a dict of its own, says on its HTTP port what a node would say, and
keeps a file in its directory.  So tests of what runs nodes need none.

FAKE_NODE_FAILS names nodes that end at once, FAKE_NODE_STUBBORN those that ignore SIGTERM.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any


def run(config: Any, name: str, directory: Any, **options: Any) -> int:
    import asyncio
    import signal

    import hiredis

    from ringleader.node.health import HealthServer

    if name in os.environ.get("FAKE_NODE_FAILS", "").split(","):
        print("first line\nthe reason why", flush=True)
        return 3
    config.check_identity(directory, name)
    node = config.node(name)
    data: dict[bytes, bytes] = {}

    def status() -> Any:
        return {
            "name": name,
            "dc": node.dc,
            "pid": os.getpid(),
            "started": 1.0,
            "ready": True,
            "failed": None,
            "shards": [
                {
                    "id": shard.number,
                    "role": "leader" if shard.replicas[0] == name else "follower",
                    "leader": shard.replicas[0],
                    "term": 1,
                    "commit": 5,
                    "applied": 5,
                    "lag": dict.fromkeys(shard.replicas[1:], 0),
                }
                for shard in config.layout.of(name)
            ],
            "peers": {n.name: {"rtt_ms": 1.5} for n in config.nodes if n.name != name},
            "clients": {"connected": 0},
            "wal": {},
        }

    class Client(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.reader = transport, hiredis.Reader()

        def data_received(self, data_: bytes) -> None:
            self.reader.feed(data_)
            while (args := self.reader.gets()) is not False:
                kind = args[0].upper()
                if kind == b"GET":
                    value = data.get(args[1])
                    reply = b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
                elif kind == b"SET":
                    data[args[1]] = args[2]
                    reply = b"+OK\r\n"
                elif kind == b"CLUSTER":
                    reply = (
                        b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % node.port
                    )
                elif kind == b"FAIL":
                    reply = b"-UNCERTAIN it is not known\r\n"
                else:
                    reply = b"+PONG\r\n"
                self.transport.write(reply)

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        if name in os.environ.get("FAKE_NODE_STUBBORN", "").split(","):
            loop.add_signal_handler(signal.SIGTERM, lambda: None)
        else:
            loop.add_signal_handler(signal.SIGTERM, stop.set)
        server = await loop.create_server(Client, node.listen, node.port)
        health = HealthServer(status)
        await health.start(node.listen, node.http_port)
        (directory / "data").touch()
        await stop.wait()
        server.close()
        await health.stop()

    asyncio.run(serve())
    print("stopped well", flush=True)
    return 0


fake = types.ModuleType("ringleader.node.serve")
fake.run = run  # type: ignore[attr-defined]
sys.modules["ringleader.node.serve"] = fake
