"""What strangers send: clear errors, no crash, no growth, and the others are served meanwhile."""

from __future__ import annotations

import random
import resource
import selectors
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cluster.processes import Cluster, Connection, Node, wait_until

if TYPE_CHECKING:
    from cluster.conftest import Asked

MIB = 1 << 20
#: What a node may grow by in a test whose input asks for much more.
GROWTH_BYTES_MAX = 64 * MIB
SECONDS_MAX = 20.0
LORIS_COUNT = 100
GARBAGE_COUNT = 100

BROKEN = {
    "no number of arguments": b"*x\r\n",
    "no number of bytes": b"*1\r\n$x\r\n",
    "too many arguments": b"*2000000000\r\n$1\r\na\r\n",
    "more than 64 bits": b"*99999999999999999999999\r\n",
    "a huge argument": b"*2\r\n$3\r\nGET\r\n$999999999999\r\n",
    "a negative argument": b"*2\r\n$3\r\nGET\r\n$-5\r\nx\r\n",
    "a reply in place of a command": b"+OK\r\n",
    "a number in place of a command": b":1\r\n",
    "an array within": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "nested a thousand times": b"*1\r\n" * 1000,
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(500),
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP that posts": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    "zeros": bytes(1000),
    "a line without an end": b"a" * (2 * MIB),
}


def resident_bytes(node: Node) -> int:
    assert node.process is not None
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def assert_served(cluster: Cluster) -> None:
    """All nodes live, and a write through one is read through another."""
    for node in cluster.nodes.values():
        assert node.is_running, f"{node.name} is gone"
        assert cluster.call(node.name, "PING") == b"PONG"
    value = str(time.monotonic())
    assert cluster.call("eu-1", "SET", "served", value) == b"OK"
    assert cluster.call("eu-2", "GET", "served") == value.encode()


def drained(connection: Connection) -> bytes:
    """Everything that the node sends until it closes, or is silent for a while."""
    connection.sock.settimeout(1.0)
    said = b""
    with suppress(OSError):
        while data := connection.sock.recv(65536):
            said += data
    return said


@pytest.mark.parametrize("name", BROKEN)
def test_broken_commands(cluster: Cluster, name: str) -> None:
    before = resident_bytes(cluster.nodes["eu-1"])
    with cluster.connect("eu-1") as connection:
        with suppress(ConnectionError):
            connection.sock.sendall(BROKEN[name])
        said = drained(connection)
    assert not said or said.startswith(b"-"), said[:200]
    assert resident_bytes(cluster.nodes["eu-1"]) - before < GROWTH_BYTES_MAX
    assert_served(cluster)


def test_a_broken_command_comes_after_good_ones(cluster: Cluster) -> None:
    """What was asked before it is answered first, then comes the error, then the end."""
    with cluster.connect("eu-1") as connection:
        connection.send(("SET", "before", "it"), ("GET", "before"))
        connection.sock.sendall(b"*1\r\n$x\r\n")
        assert connection.reply() == b"OK"
        assert connection.reply() == b"it"
        error = connection.reply()
        assert isinstance(error, Exception)
        assert "protocol error" in str(error).lower()
        with pytest.raises(ConnectionError):
            connection.reply()


def test_garbage(cluster: Cluster) -> None:
    """Random bytes, some of them like commands."""
    rng = random.Random(6)
    pieces = [
        b"*1\r\n",
        b"*3\r\n",
        b"$3\r\n",
        b"SET",
        b"\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"\0",
        b"*-1\r\n",
    ]
    before = [resident_bytes(node) for node in cluster.nodes.values()]
    for number in range(GARBAGE_COUNT):
        name = rng.choice(list(cluster.nodes))
        with cluster.connect(name) as connection:
            if number % 2:
                data = rng.randbytes(rng.randrange(1, 3000))
            else:
                data = b"".join(rng.choices(pieces, k=rng.randrange(1, 50)))
            with suppress(OSError):
                connection.sock.sendall(data)
                connection.sock.shutdown(socket.SHUT_WR)
                connection.sock.settimeout(5)
                while connection.sock.recv(65536):
                    pass
    for size, node in zip(before, cluster.nodes.values(), strict=True):
        assert resident_bytes(node) - size < GROWTH_BYTES_MAX
    assert_served(cluster)


@pytest.mark.parametrize("port", ["peer_port", "http_port"])
def test_garbage_on_the_other_ports(cluster: Cluster, port: str) -> None:
    rng = random.Random(7)
    for number in range(GARBAGE_COUNT // 2):
        node = rng.choice(list(cluster.nodes.values()))
        with socket.create_connection((node.host, getattr(node, port)), 5) as sock:
            data = [
                rng.randbytes(rng.randrange(1, 3000)),
                bytes([255]) * 64,
                bytes(4096),
                b"GET /" + b"a" * 20_000,
                b"PING\r\n",
            ][number % 5]
            with suppress(OSError):
                sock.sendall(data)
                if number % 3:
                    sock.shutdown(socket.SHUT_WR)
                sock.settimeout(0.2)
                while sock.recv(65536):
                    pass
    assert_served(cluster)


def test_half_commands(cluster: Cluster) -> None:
    """Connections that end within a command; what came whole before was done."""
    whole = b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1\r\n1\r\n"
    for length in range(1, len(whole)):
        with cluster.connect("eu-1") as connection:
            connection.sock.sendall(whole[:length])
    assert cluster.call("eu-2", "GET", "half") is None
    with cluster.connect("eu-1") as connection:
        connection.sock.sendall(whole + whole[:-3])
        connection.sock.shutdown(socket.SHUT_WR)
        assert drained(connection).startswith(b"+OK\r\n")
    assert cluster.call("eu-2", "GET", "half") == b"1"
    cluster.call("eu-2", "DEL", "half")


def test_slow_loris(cluster: Cluster) -> None:
    """Many that send a byte now and then hold up nobody."""
    command = b"*2\r\n$3\r\nGET\r\n$6\r\nserved\r\n"
    with ExitStack() as stack:
        slow = [stack.enter_context(cluster.connect("eu-1")) for _ in range(LORIS_COUNT)]
        for at in range(len(command) - 1):
            for connection in slow:
                connection.sock.sendall(command[at : at + 1])
            if at % 8 == 0:
                assert_served(cluster)
        for connection in slow:
            connection.sock.sendall(command[-1:])
        for connection in slow:
            assert isinstance(connection.reply(), bytes)


def test_a_client_that_never_reads(cluster: Cluster) -> None:
    """It asks for gigabytes and takes none: it is closed or held up, and the node does not grow."""
    cluster.call("eu-1", "SET", "large", "x" * MIB)
    before = resident_bytes(cluster.nodes["eu-1"])
    with cluster.connect("eu-1") as greedy:
        greedy.sock.setblocking(False)
        request = b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n" * 100
        until = time.monotonic() + 4
        grown = 0
        while time.monotonic() < until:
            try:
                greedy.sock.send(request)
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:
                break
            grown = max(grown, resident_bytes(cluster.nodes["eu-1"]) - before)
        assert grown < 256 * MIB
        assert_served(cluster)
    cluster.call("eu-1", "DEL", "large")


def test_mistakes_in_commands(cluster: Cluster) -> None:
    """Wrong names, arities and types are errors, and the connection goes on."""
    cluster.call("eu-1", "DEL", "text", "hash")
    cluster.call("eu-1", "SET", "text", "x")
    cluster.call("eu-1", "HSET", "hash", "a", "1")
    mistakes = [
        ("NOSUCH",),
        ("GET",),
        ("GET", "a", "b"),
        ("SET", "a"),
        ("SET", "a", "b", "EX", "0"),
        ("SET", "a", "b", "EX", "x"),
        ("SET", "a", "b", "NX", "XX"),
        ("HGET", "text", "a"),
        ("GET", "hash"),
        ("INCR", "text"),
        ("EXPIRE", "text", "soon"),
        ("EXEC",),
        ("CLUSTER", "NOSUCH"),
        ("EVAL", "return 1", "0"),
        ("SELECT", "99999"),
        ("HELLO", "9"),
        ("",),
        ("SETRANGE", "text", "-1", "x"),
        ("SETRANGE", "text", str(2**40), "x"),
    ]
    with cluster.connect("eu-1") as connection:
        for mistake in mistakes:
            reply = connection.call(*mistake)
            assert isinstance(reply, Exception), f"{mistake}: {reply!r}"
            assert connection.call("PING") == b"PONG"
    cluster.call("eu-1", "DEL", "text", "hash")


def test_many_connections(cluster: Cluster, asked: Asked) -> None:
    """All of them are answered, or told that they are too many; then others are served again."""
    count = asked.connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        pytest.skip(f"only {hard} files may be open here; {count} connections were asked for")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    node = cluster.nodes["eu-1"]
    try:
        with ExitStack() as stack, selectors.DefaultSelector() as selector:
            for _ in range(count):
                sock = stack.enter_context(socket.create_connection((node.host, node.port), 30))
                selector.register(sock, selectors.EVENT_READ)
                sock.sendall(b"PING\r\n")
            answers: list[bytes] = []
            until = time.monotonic() + 60
            while len(answers) < count:
                assert time.monotonic() < until, f"{len(answers)} of {count} were answered"
                for key, _ in selector.select(1.0):
                    assert isinstance(key.fileobj, socket.socket)
                    try:
                        answers.append(key.fileobj.recv(1000))
                    except ConnectionError:
                        answers.append(b"")
                    selector.unregister(key.fileobj)
            served = answers.count(b"+PONG\r\n")
            assert served >= min(count, 900)
            assert all(not each or each.startswith((b"+PONG", b"-ERR max")) for each in answers)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wait_until(lambda: cluster.call("eu-1", "PING") == b"PONG", "it serves again")
    assert_served(cluster)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "stranger"}, "belongs to the cluster 'stranger', not 'test'"),
        ({"shards": 7}, "'eu-1' has a cluster file that puts shards elsewhere"),
        ({"consensus": "paxos"}, "runs paxos, and we raft"),
    ],
    ids=["name", "shards", "consensus"],
)
def test_a_peer_of_another_cluster(
    cluster: Cluster, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    """A node that takes ours for its peers is sent away by all of them, and leads nothing."""
    with Cluster(tmp_path / "stranger", settings=settings) as stranger:
        for name in ("eu-2", "eu-3"):
            stranger.nodes[name].peer_port = cluster.nodes[name].peer_port
        stranger.write_config()
        stranger.launch("eu-1")
        node = stranger.nodes["eu-1"]

        def said() -> bool:
            return words in node.log.read_text()

        wait_until(said, "it says that its peers are of another cluster", SECONDS_MAX)
        assert node.is_running
        for _ in range(3):
            with stranger.connect("eu-1", seconds=15) as connection:
                assert isinstance(connection.call("SET", "k", "stolen"), Exception)
        assert_served(cluster)
        assert cluster.call("eu-2", "GET", "k") != b"stolen"
