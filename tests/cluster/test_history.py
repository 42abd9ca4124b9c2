"""The judge is judged: an honest server passes, and each kind of dishonest one is found out."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hiredis
import pytest
from cluster.history import Load
from cluster.processes import Cluster, Connection, Node, wait_until

#: What a load must have come to before it is judged: a loaded machine takes longer for it.
SECONDS_MIN = 0.5
DONE_MIN = 300
FAULTS_MIN = 10


@dataclass
class Store:
    """One copy in this process, with a fault.

    Attributes:
        fault: "" for none.
        data: what it holds.
        old: what keys held before their last change.
    """

    fault: str
    data: dict[bytes, bytes] = field(default_factory=dict)
    old: dict[bytes, bytes] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    lock: threading.Lock = field(default_factory=threading.Lock)
    #: How often each key was changed.
    versions: Counter[bytes] = field(default_factory=Counter)
    #: How often it was dishonest.
    faults: int = 0

    def errs(self, *faults: str) -> bool:
        """Whether it is to be dishonest now, if one of `faults` is its own."""
        if self.fault not in faults or self.rng.random() >= 0.05:
            return False
        self.faults += 1
        return True

    def run(self, args: list[bytes]) -> bytes | None:
        """The reply to a command; None: close the connection and say nothing."""
        with self.lock:
            name, key = args[0], args[1]
            value = self.data.get(key)
            if name == b"GET":
                old = self.old.get(key, value)
                if old != value and (
                    (key.startswith(b"register") and self.errs("stale reads"))
                    or (key.startswith(b"ordered") and self.errs("reads before writes"))
                ):
                    value = old
                return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
            if self.errs("silence"):
                if self.rng.random() < 0.5:
                    self.change(args, value)
                return None
            if self.errs("uncertain"):
                if self.rng.random() < 0.5:
                    self.change(args, value)
                return b"-UNCERTAIN who knows\r\n"
            if self.errs("refusals"):
                return b"-TRYAGAIN not now\r\n"
            if name == b"INCR" and self.errs("refused, but done"):
                self.change(args, value)
                return b"-TRYAGAIN not now\r\n"
            if name == b"SET" and len(args) == 3 and self.errs("lost writes"):
                return b"+OK\r\n"
            if name == b"INCR" and self.errs("done twice"):
                self.change(args, value)
                value = self.data.get(key)
            return self.change(args, value)

    def change(self, args: list[bytes], value: bytes | None) -> bytes:
        name, key = args[0], args[1]
        if name == b"MSET" and len(args) > 3:
            self.change([b"MSET", *args[3:]], self.data.get(args[3]))
        self.versions[key] += 1
        if value is not None:
            self.old[key] = value
        if name == b"INCR":
            self.data[key] = b"%d" % (int(value or 0) + 1)
            return b":%s\r\n" % self.data[key]
        if name == b"DEL":
            return b":%d\r\n" % (self.data.pop(key, None) is not None)
        if name == b"SET" and len(args) == 5 and value != args[4]:
            return b"$-1\r\n"
        self.data[key] = args[2]
        return b"+OK\r\n"


class Conversation:
    """One connection, with its transaction."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.watched: dict[bytes, int] = {}
        self.queued: list[list[bytes]] | None = None

    def run(self, args: list[bytes]) -> bytes | None:
        store = self.store
        if args[0] == b"WATCH":
            with store.lock:
                self.watched[args[1]] = store.versions[args[1]]
            return b"+OK\r\n"
        if args[0] == b"MULTI":
            self.queued = []
            return b"+OK\r\n"
        if args[0] == b"UNWATCH":
            self.watched.clear()
            return b"+OK\r\n"
        if args[0] == b"EXEC":
            return self.execute()
        if self.queued is not None:
            self.queued.append(args)
            return b"+QUEUED\r\n"
        return store.run(args)

    def execute(self) -> bytes:
        store = self.store
        commands, self.queued = self.queued or [], None
        watched, self.watched = self.watched, {}
        with store.lock:
            changed = any(store.versions[key] != version for key, version in watched.items())
            if changed and store.fault != "blind transactions":
                return b"*-1\r\n"
            store.faults += changed
            replies = [store.change(args, store.data.get(args[1])) for args in commands]
        return b"*%d\r\n" % len(replies) + b"".join(replies)


@contextmanager
def serving(store: Store, path: Path) -> Iterator[Cluster]:
    """The store behind a socket, in the place of a cluster's only node."""
    open_sockets: list[socket.socket] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            open_sockets.append(self.request)
            reader = hiredis.Reader()
            conversation = Conversation(store)
            while data := self.request.recv(65536):
                reader.feed(data)
                while (args := reader.gets()) is not False:
                    reply = conversation.run(args)
                    if reply is None:
                        return
                    self.request.sendall(reply)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = False

    cluster = OneServer(path, dcs={"eu": 1})
    node = cluster.nodes["eu-1"]
    with Server((node.host, node.port), Handler) as server, cluster:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield cluster
        finally:
            server.shutdown()
            thread.join()
            for sock in open_sockets:
                sock.close()


class OneServer(Cluster):
    """Its node is not a process."""

    @staticmethod
    def _up(node: Node) -> bool:
        return True


def load(fault: str, path: Path) -> Any:
    store = Store(fault)
    with serving(store, path) as cluster:
        with Load(cluster, seed=1, think_seconds=0.001) as running:
            time.sleep(SECONDS_MIN)
            wait_until(
                lambda: (
                    running.tally.done >= DONE_MIN and (not fault or store.faults >= FAULTS_MIN)
                ),
                "a load with faults",
                60,
            )
        running.verify()
    return running.tally


@pytest.mark.parametrize("fault", ["", "silence", "uncertain", "refusals"])
def test_an_honest_server(tmp_path: Path, fault: str) -> None:
    tally = load(fault, tmp_path)
    assert bool(tally.unknown) == (fault in {"silence", "uncertain"})
    assert bool(tally.refused.keys() - {"watched"}) == (fault == "refusals")


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("stale reads", "not linearizable"),
        ("reads before writes", "after SET"),
        ("lost writes", "lost|after SET"),
        ("blind transactions", "not linearizable"),
        ("done twice", "increments were acknowledged"),
        ("refused, but done", "increments were acknowledged"),
    ],
)
def test_a_dishonest_server(tmp_path: Path, fault: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        load(fault, tmp_path)


def test_an_error_that_nobody_expects(tmp_path: Path) -> None:
    class Odd(Store):
        def run(self, args: list[bytes]) -> bytes | None:
            return b"-ODD\r\n"

    with serving(Odd(""), tmp_path) as cluster:
        with Load(cluster, seed=1) as running:
            time.sleep(0.1)
        with pytest.raises(AssertionError, match="ODD"):
            running.verify()


def test_a_connection_is_plain(tmp_path: Path) -> None:
    with serving(Store(""), tmp_path) as cluster, cluster.connect("eu-1") as connection:
        assert isinstance(connection, Connection)
        assert connection.call("SET", "k", "v") == b"OK"
        connection.send(("GET", "k"), ("GET", "none"))
        assert [connection.reply(), connection.reply()] == [b"v", None]
