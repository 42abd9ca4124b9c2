"""What tests of the store share: a store that is driven by commands, and a real Redis."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ringleader.node.replies import Reply
from ringleader.node.store import Store, encode_batch

REDIS = shutil.which("redis-server")


class Shard:
    """A store, and the entries that made it: each command is a batch of its own."""

    def __init__(self, now: int = 1_000_000) -> None:
        self.store = Store()
        self.now = now
        self.entries: list[tuple[int, bytes]] = []

    def __call__(self, *args: bytes | str | int) -> Reply:
        return self.batch([args])[0]

    def line(self, text: str) -> Reply:
        """A command without blanks in its arguments."""
        return self(*text.split())

    def batch(self, commands: list[tuple[bytes | str | int, ...]]) -> list[Reply]:
        raw = [[as_bytes(arg) for arg in args] for args in commands]
        self.entries.append((len(self.entries) + 1, encode_batch(self.now, raw)))
        replies = self.store.apply(self.entries[-1:])[0]
        assert replies is not None
        assert len(replies) == len(commands)
        assert self.store.faults == 0
        return replies


def as_bytes(arg: bytes | str | int) -> bytes:
    return arg if isinstance(arg, bytes) else str(arg).encode()


class Redis:
    """A connection to a real redis-server: bytes in, the bytes of one reply out."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def __call__(self, *args: bytes) -> bytes:
        return self.pipeline([args])[0]

    def pipeline(self, commands: list[tuple[bytes, ...]] | list[list[bytes]]) -> list[bytes]:
        out = []
        for args in commands:
            out.append(b"*%d\r\n" % len(args))
            out += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
        self.socket.sendall(b"".join(out))
        return [self._reply() for _ in commands]

    def _reply(self) -> bytes:
        head = self.file.readline()
        assert head.endswith(b"\r\n"), head
        kind, size = head[:1], head[1:-2]
        if kind == b"$" and size != b"-1":
            return head + self.file.read(int(size) + 2)
        if kind in b"*%~" and size != b"-1":
            items = int(size) * (2 if kind == b"%" else 1)
            return head + b"".join(self._reply() for _ in range(items))
        return head

    def close(self) -> None:
        self.file.close()
        self.socket.close()


def _wait_for(path: Path) -> None:
    """Until somebody listens there: the file is there before."""
    for _ in range(1000):
        with closing(socket.socket(socket.AF_UNIX)) as client:
            if client.connect_ex(str(path)) == 0:
                return
        time.sleep(0.01)
    raise TimeoutError(f"nobody listens at {path}")


@contextmanager
def redis_server(folder: Path) -> Iterator[Path]:
    """The socket of a redis-server that keeps nothing; skips where there is none."""
    if REDIS is None:
        pytest.skip("there is no redis-server here (Debian: apt-get install redis-server)")
    path = folder / "s"
    arguments = ["--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    # Fields stay in the order in which they came.
    arguments += ["--hash-max-listpack-value", "512"]
    with subprocess.Popen([REDIS, *arguments], stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(path)
            yield path
        finally:
            process.terminate()
            process.wait(10)
