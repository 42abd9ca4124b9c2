"""Clusters of real processes on real disks, for tests: start, kill, stop, continue, restart.

    with Cluster(tmp_path / "c") as cluster:
        cluster.start()
        cluster.call("eu-1", "SET", "k", "v")
        cluster.kill(cluster.leader("k"))

A node dies with the process that started it, whatever happens to that one (Linux).
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import hiredis

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCH = Path(__file__).resolve().with_name("launch.py")
#: Until a cluster serves; a busy machine takes a while to start so many interpreters.
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
CALL_SECONDS_MAX = 10.0
#: Ports below those that the system gives to outgoing connections.
PORT_MIN, PORT_MAX = 12_000, 31_000
LOG_LINES_SHOWN = 30
LOG_LINE_SHOWN = 600
_CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


class Network(Protocol):
    """Where nodes live when it is not this machine's own loopback."""

    def host(self, dc: str, number: int) -> str:
        """The address of a datacenter's node, counted from 0."""
        ...

    def namespace(self, dc: str) -> int:
        """The file descriptor of the datacenter's network namespace."""
        ...


@dataclass
class Node:
    """A node's place in the cluster, and its process while it has one."""

    name: str
    dc: str
    host: str
    port: int
    peer_port: int
    http_port: int
    directory: Path
    log: Path
    process: subprocess.Popen[bytes] | None = None
    is_paused: bool = False
    #: How often it was started.
    lives: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Connection:
    """A blocking RESP client with nothing clever in it: no retries, no redirections."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = hiredis.Reader()

    def send(self, *commands: Sequence[Any]) -> None:
        self.sock.sendall(b"".join(hiredis.pack_command(tuple(command)) for command in commands))

    def reply(self) -> Any:
        """The next reply; an error of the server is returned, not raised.

        Raises:
            ConnectionError: the server closed the connection.
            TimeoutError: none came in time.
        """
        while True:
            reply = self._reader.gets()
            if reply is not False:
                return reply
            data = self.sock.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)

    def call(self, *command: Any) -> Any:
        self.send(command)
        return self.reply()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def free_ports(count: int) -> list[int]:
    """So many consecutive ports that nobody listens on."""
    for _ in range(200):
        first = random.SystemRandom().randrange(PORT_MIN, PORT_MAX - count)
        with suppress(OSError):
            for port in range(first, first + count):
                with closing(socket.socket()) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))
    raise RuntimeError("no free ports were found")


def inside(namespace: int = -1) -> list[str]:
    """What goes before a command that is to die with this process, and to run in a namespace.

    The namespace's file descriptor has to be passed on (`pass_fds`).
    """
    return [sys.executable, "-I", "-S", str(LAUNCH), str(os.getpid()), str(namespace)]


def wait_until(
    holds: Callable[[], Any], what: str, seconds: float = START_SECONDS_MAX, step: float = 0.05
) -> Any:
    """What `holds` gives as soon as that is true; errors of the network count as not yet.

    Raises:
        AssertionError: it did not come true in time.
    """
    until = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            if found := holds():
                return found
            last = found
        except (OSError, hiredis.HiredisError) as error:
            last = error
        if time.monotonic() > until:
            raise AssertionError(f"not in {seconds:g} s: {what} (last: {last!r})")
        time.sleep(step)


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, bool | str | int | float):
        return json.dumps(value)
    if isinstance(value, Iterable):
        return f"[{', '.join(_toml(item) for item in value)}]"
    raise TypeError(f"no TOML for {value!r}")


@dataclass(eq=False)
class Cluster:
    """A cluster's configuration and processes.

    Attributes:
        directory: everything it writes is below.
        dcs: datacenter -> number of nodes; nodes are called eu-1, eu-2, ...
        settings: more of the configuration's top level.
        network: where the nodes live; None: on 127.0.0.1.
        environment: more of the nodes' environment.
    """

    directory: Path
    dcs: Mapping[str, int] = field(default_factory=lambda: {"eu": 3})
    settings: Mapping[str, object] = field(default_factory=dict)
    network: Network | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _living.append(self)
        self.directory.mkdir(parents=True, exist_ok=True)
        count = sum(self.dcs.values())
        ports = iter(free_ports(3 * count))
        for dc, size in self.dcs.items():
            for number in range(size):
                name = f"{dc}-{number + 1}"
                self.nodes[name] = Node(
                    name,
                    dc,
                    self.network.host(dc, number) if self.network else "127.0.0.1",
                    next(ports),
                    next(ports),
                    next(ports),
                    self.directory / name,
                    self.directory / f"{name}.log",
                )
        self.write_config()

    @property
    def config(self) -> Path:
        return self.directory / "cluster.toml"

    def write_config(self, **changes: object) -> None:
        """Write cluster.toml anew, with other settings where they are given."""
        replicas = min(3, len(self.nodes))
        top = {
            "name": "test",
            "shards": 4,
            "replicas": replicas,
            "data_dir": ".",
            **self.settings,
            **changes,
        }
        lines = [f"{key} = {_toml(value)}" for key, value in top.items()]
        for node in self.nodes.values():
            lines += ["", "[[nodes]]"]
            for key in ("name", "dc", "host", "port", "peer_port", "http_port"):
                lines.append(f"{key} = {_toml(getattr(node, key))}")
        self.config.write_text("\n".join(lines) + "\n")

    # --- processes -------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start these nodes (all by default) and wait until they serve."""
        self.launch(*names)
        self.wait_ready(*names)

    def launch(self, *names: str, options: Sequence[str] = ()) -> None:
        """Start these nodes (all by default) without waiting, with more options of `serve`."""
        for name in names or self.nodes:
            node = self.nodes[name]
            assert not node.is_running, f"{name} runs"
            node.lives += 1
            node.is_paused = False
            with node.log.open("ab") as log:
                log.write(b"--- life %d\n" % node.lives)
                log.flush()
                namespace = self.network.namespace(node.dc) if self.network else -1
                node.process = subprocess.Popen(
                    [*inside(namespace), *self.command(node), *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.directory,
                    env=self._environment(),
                    start_new_session=True,
                    pass_fds=[namespace] if namespace >= 0 else [],
                )

    def command(self, node: Node) -> list[str]:
        return [
            *(sys.executable, "-m", "ringleader", "serve", "--config", str(self.config)),
            *("--node", node.name),
        ]

    def _environment(self) -> dict[str, str]:
        path = [str(ROOT / "python"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(path), **self.environment}

    def wait_ready(self, *names: str, seconds: float = START_SECONDS_MAX) -> None:
        """Until each of these nodes (all by default) knows a leader of every shard."""
        for name in names or self.nodes:
            wait_until(lambda name=name: self._serves(name), f"{name} serves", seconds)  # type: ignore[misc]

    def _serves(self, name: str) -> bool:
        node = self.nodes[name]
        if not node.is_running:
            code = node.process.returncode if node.process else None
            raise AssertionError(f"{name} is not running (exit status {code})")
        with self.connect(name, seconds=2.0) as connection:
            said = connection.call("CLUSTER", "INFO")
            return isinstance(said, bytes) and b"cluster_state:ok" in said

    def kill(self, *names: str) -> None:
        """SIGKILL, and wait until the system has taken the process away."""
        for name in names or self.nodes:
            self.signal(name, signal.SIGKILL)
        for name in names or self.nodes:
            process = self.nodes[name].process
            if process is not None:
                process.wait(STOP_SECONDS_MAX)

    def stop(self, *names: str, seconds: float = STOP_SECONDS_MAX) -> dict[str, int | None]:
        """SIGTERM; the exit statuses.  One that does not go in time is killed: status -9."""
        chosen = list(names or self.nodes)
        for name in chosen:
            self.signal(name, signal.SIGTERM)
        statuses: dict[str, int | None] = {}
        until = time.monotonic() + seconds
        for name in chosen:
            process = self.nodes[name].process
            if process is None:
                statuses[name] = None
                continue
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            statuses[name] = process.returncode
        return statuses

    def pause(self, name: str) -> None:
        """SIGSTOP: the process stands still; its connections stay."""
        self.signal(name, signal.SIGSTOP)
        self.nodes[name].is_paused = True

    def resume(self, name: str) -> None:
        self.signal(name, signal.SIGCONT)
        self.nodes[name].is_paused = False

    def signal(self, name: str, number: signal.Signals) -> None:
        node = self.nodes[name]
        if node.is_running:
            assert node.process is not None
            node.process.send_signal(number)

    def close(self) -> None:
        """Kill what still runs."""
        self.kill()
        if self in _living:
            _living.remove(self)

    # --- talking to it ---------------------------------------------------------------------------

    def socket_to(self, node: Node, dc: str | None = None) -> socket.socket:
        """A new socket in the network of datacenter `dc` (the node's own by default)."""
        if self.network is None:
            return socket.socket()
        return socket_in(self.network.namespace(dc or node.dc))

    def connect(
        self, name: str, *, seconds: float = CALL_SECONDS_MAX, dc: str | None = None
    ) -> Connection:
        """A connection to the node, from its own datacenter or from `dc`."""
        node = self.nodes[name]
        sock = self.socket_to(node, dc)
        try:
            sock.settimeout(seconds)
            sock.connect((node.host, node.port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            sock.close()
            raise
        return Connection(sock)

    def call(self, name: str, *command: Any, seconds: float = CALL_SECONDS_MAX) -> Any:
        """One command on a connection of its own; an error of the server is raised."""
        with self.connect(name, seconds=seconds) as connection:
            reply = connection.call(*command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def leaders(self, asked: str | None = None) -> dict[tuple[int, int], str]:
        """Slot range -> the node that leads it, as `asked` (any that answers) sees it."""
        asked_names = [asked] if asked else [n.name for n in self.nodes.values() if self._up(n)]
        error: Exception | None = None
        by_port = {(node.host, node.port): node.name for node in self.nodes.values()}
        for name in asked_names:
            try:
                slots = self.call(name, "CLUSTER", "SLOTS", seconds=2.0)
            except (OSError, hiredis.HiredisError) as caught:
                error = caught
                continue
            return {
                (first, last): by_port[leader[0].decode(), leader[1]]
                for first, last, leader, *_ in slots
            }
        raise AssertionError(f"no node says who leads ({error!r})")

    def leader(self, key: str, asked: str | None = None) -> str:
        """The node that leads the shard of `key`."""
        from ringleader.placement import RedisSlots

        slot = RedisSlots.slot(key)
        for (first, last), name in self.leaders(asked).items():
            if first <= slot <= last:
                return name
        raise AssertionError(f"slot {slot} of {key!r} has no leader")

    @staticmethod
    def _up(node: Node) -> bool:
        return node.is_running and not node.is_paused

    def up(self) -> list[Node]:
        """The nodes that run and are not paused."""
        return [node for node in self.nodes.values() if self._up(node)]

    def logs(self) -> str:
        """The last lines that each node wrote, for a failure's report."""
        parts = []
        for node in self.nodes.values():
            text = node.log.read_text(errors="replace") if node.log.exists() else ""
            lines = [line[:LOG_LINE_SHOWN] for line in text.splitlines()[-LOG_LINES_SHOWN:]]
            state = "runs" if node.is_running else f"exited {node.process and node.process.poll()}"
            parts.append("\n".join([f"--- {node.name} ({state}): {node.log}", *lines]))
        return "\n".join(parts)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not isinstance(error, GeneratorExit):
            error.add_note(self.logs())
        self.close()


_living: list[Cluster] = []


def living() -> list[Cluster]:
    """The clusters that were made and not closed."""
    return list(_living)


def socket_in(namespace: int) -> socket.socket:
    """A new TCP socket that lives in another network namespace.

    Raises:
        OSError: this process may not enter it.
    """
    with open("/proc/thread-self/ns/net", "rb") as home:
        if libc.setns(namespace, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            return socket.socket()
        finally:
            if libc.setns(home.fileno(), _CLONE_NEWNET) != 0:
                os._exit(3)  # a thread in the wrong network must not go on
