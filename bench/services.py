"""The replicated stores that are measured side by side: real processes, three members each.

ringleader, etcd and ZooKeeper as Debian packages them, and one Redis that syncs its log before it
answers.  All have their data below one folder on a real disk.  redis-benchmark loads whatever
speaks RESP, bench/load.c the others; both cost little beside what they measure.

Every store is asked where it is best: etcd's writes and linearizable reads at its leader,
ZooKeeper's writes and synced reads too, reads that may be stale at all members.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cluster.processes import Cluster, free_ports, inside, socket_in, wait_until
from cluster.wan import Wan

from bench import yardstick
from bench.cases import SMALL, scaled
from bench.raft_peers import BENCH, _compiled

VALUE_BYTES = 100
KEYS = scaled(10_000, 200)
ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")
START_SECONDS_MAX = 60.0
#: How long a store may take to get over the loss of its leader.
PAUSE_SECONDS_MAX = 30.0
#: How long it is written to before.
WARM_SECONDS = 1.0
#: Above `settle_ms` by enough for a lead to be handed over.
SETTLED_SECONDS = 4.0

Operation = Literal["put", "get", "local"]


@dataclass(frozen=True)
class Work:
    """What clients do: each of `connections` keeps `depth` requests in flight."""

    operation: Operation
    connections: int
    depth: int = 1


@dataclass(frozen=True)
class Sample:
    """What one turn measured."""

    rate: float  # operations a second
    p50_ms: float
    p99_ms: float
    failed: int


@cache
def load_program() -> Path:
    """bench/load.c, compiled.

    Raises:
        RuntimeError: it does not compile here.
    """
    compiler = yardstick.compiler()
    if compiler is None:
        raise RuntimeError("no C compiler (cc, gcc, clang) was found")
    source = BENCH / "load.c"
    built = _compiled(
        "load",
        [source],
        lambda target: [*compiler, "-O2", "-std=gnu11", str(source), "-o", str(target)],
    )
    if isinstance(built, str):
        raise RuntimeError(built)
    return Path(built[0])


def run_load(
    protocol: str,
    endpoints: Sequence[str],
    work: Work,
    count: int,
    *,
    operation: str = "",
    place: Place | None = None,
) -> Sample:
    """One run of bench/load.c.

    Raises:
        RuntimeError: it broke off.
    """
    command = [
        *(str(load_program()), protocol, ",".join(endpoints), str(work.connections)),
        *(str(count), operation or work.operation, str(VALUE_BYTES)),
        *(str(KEYS if operation != "fill" else count), str(work.depth)),
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with (place or HERE).popen(command, **pipes) as process:
        output, complaint = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(complaint.strip() or f"load ended with {process.returncode}")
    said = json.loads(output)
    return Sample(
        said["count"] / said["seconds"], said["p50_us"] / 1e3, said["p99_us"] / 1e3, said["failed"]
    )


def run_redis_benchmark(port: int, work: Work, count: int, *extra: str) -> Sample:
    """One run of redis-benchmark.

    Raises:
        RuntimeError: it broke off or said nothing.
    """
    test = "set" if work.operation == "put" else "get"
    done = subprocess.run(
        [
            *("redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", test, "--csv"),
            *("-c", str(work.connections), "-n", str(count), "-P", str(work.depth)),
            *("-d", str(VALUE_BYTES), "-r", str(KEYS), *extra),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    for line in done.stdout.splitlines():
        fields = [field.strip('"') for field in line.split(",")]
        if fields[0] == test.upper():
            return Sample(float(fields[1]), float(fields[4]), float(fields[6]), 0)
    raise RuntimeError(f"redis-benchmark: {(done.stderr or done.stdout).strip()[-300:]}")


@dataclass(frozen=True)
class Place:
    """Where a client is: on this machine's loopback, or in a datacenter of an emulated network."""

    network: Wan | None = None
    dc: str = ""

    @property
    def namespace(self) -> int:
        return self.network.namespace(self.dc) if self.network else -1

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        fds = [self.namespace] if self.network else []
        return subprocess.Popen([*inside(self.namespace), *command], pass_fds=fds, **options)

    def socket(self) -> socket.socket:
        return socket_in(self.namespace) if self.network else socket.socket()


HERE = Place()


class Service:
    """A store that runs here.  `start` and `stop` are called once."""

    name = ""
    kind = "peer"
    #: How a reader may check what was measured.
    note = ""

    def missing(self) -> str | None:
        """Why it cannot run here."""
        return None

    def start(self, directory: Path) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def load(self, work: Work, count: int) -> Sample | None:
        """`count` operations; None: it has nothing that this could be compared with."""
        raise NotImplementedError

    def fail_over(self) -> float | None:
        """Kill the leader, and start it again: seconds until a write is acknowledged."""
        return None


class Members(Service):
    """A store of several processes, each started by a command of its own."""

    member_count = 3

    def __init__(self) -> None:
        self.directory = Path()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def command(self, member: int) -> list[str]:
        raise NotImplementedError

    def launch(self, member: int) -> None:
        folder = self.directory / f"member-{member}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("ab") as log:
            self._processes[member] = subprocess.Popen(
                self.command(member), stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()

    def kill(self, member: int) -> None:
        self._processes[member].kill()
        self._processes[member].wait()

    def resident_bytes(self) -> list[int]:
        return [resident_bytes(process.pid) for process in self._processes.values()]


def resident_bytes(pid: int) -> int:
    """What a process holds in memory (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def pause_after(
    protocol: str,
    endpoints: Sequence[str],
    strike: Callable[[], object],
    *,
    place: Place | None = None,
    gap_seconds: float = 0.06,
) -> float:
    """Seconds from `strike` to the next acknowledged write at `endpoints`, of one key that is
    written all along, many times in `gap_seconds`: the end of the first pause of so long, since
    what the leader acknowledged before may still be on its way to the one who asked.

    Raises:
        RuntimeError: no write was acknowledged before it, or none for a long time after, or they
            never paused.
    """
    command = [
        *(str(load_program()), protocol, ",".join(endpoints), str(len(endpoints))),
        *("0", "probe", str(VALUE_BYTES), "1"),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (place or HERE).popen(command, **pipes) as probe:
        assert probe.stdout is not None
        assert probe.stdin is not None
        os.set_blocking(probe.stdout.fileno(), False)
        times: list[float] = []

        def read() -> None:
            assert probe.stdout is not None
            while line := probe.stdout.readline():
                times.append(float(line))

        until = time.monotonic() + WARM_SECONDS
        while time.monotonic() < until:
            read()
            time.sleep(0.02)
        if not times:
            probe.stdin.close()
            raise RuntimeError("no write was acknowledged before the strike")
        struck = time.monotonic()  # a strike may return when the pause is over
        strike()
        while time.monotonic() < struck + PAUSE_SECONDS_MAX:
            read()
            for before, at in pairwise([struck, *(at for at in times if at > struck)]):
                if at - before > gap_seconds:
                    probe.stdin.close()
                    return at - struck
            time.sleep(0.02)
        probe.stdin.close()
    raise RuntimeError(f"no end of a pause within {PAUSE_SECONDS_MAX:g} s of the strike")


class Ringleader(Service):
    """Three nodes of one datacenter; clients that know the cluster go to each shard's leader.

    One shard, by default: on two cores, batches of several are smaller, and cost the more.
    """

    name = "ringleader"
    kind = "ours"
    note = "one shard; redis-benchmark at its leader, READONLY by bench/load.c"

    def __init__(self, consensus: str = "raft", shards: int = 1) -> None:
        self.consensus = consensus
        self.shards = shards
        self.cluster: Cluster | None = None

    def missing(self) -> str | None:
        return _needs("redis-benchmark", "redis-tools")

    @property
    def running(self) -> Cluster:
        assert self.cluster is not None, "it was started"
        return self.cluster

    @property
    def endpoints(self) -> list[str]:
        return [f"{node.host}:{node.port}" for node in self.running.nodes.values()]

    def start(self, directory: Path) -> None:
        settings = {"consensus": self.consensus, "shards": self.shards}
        self.cluster = Cluster(directory, settings=settings)
        self.cluster.start()

    def stop(self) -> None:
        if self.cluster is not None:
            self.cluster.close()

    def load(self, work: Work, count: int) -> Sample | None:
        if work.operation == "local":
            return run_load("readonly", self.endpoints, work, count)
        cluster = self.running
        if self.shards > 1:  # redis-benchmark takes no cluster of one leader
            return run_redis_benchmark(cluster.nodes["eu-1"].port, work, count, "--cluster")
        return run_redis_benchmark(cluster.nodes[cluster.leader("key")].port, work, count)

    def fail_over(self) -> float | None:
        cluster = self.running
        leader = self._settled_leader()
        others = [f"{n.host}:{n.port}" for n in cluster.nodes.values() if n.name != leader]
        pause = pause_after("resp", others, lambda: cluster.kill(leader))
        cluster.start(leader)
        cluster.wait_ready()
        return pause

    def _settled_leader(self) -> str:
        """Who leads, and will go on to: the lead returns to who should have it after a failure."""
        leader, since = "", time.monotonic()
        while time.monotonic() < since + SETTLED_SECONDS:
            now = self.running.leader("key:00000000")
            if now != leader:
                leader, since = now, time.monotonic()
            time.sleep(0.1)
        return leader

    def fill(self, count: int) -> None:
        run_load("resp", self.endpoints, Work("put", 8, 64), count, operation="fill")

    def restart(self) -> tuple[float, int]:
        """Kill all nodes and start them: seconds until all serve, and the most memory of one."""
        cluster = self.running
        cluster.kill()
        began = time.monotonic()
        cluster.start()
        took = time.monotonic() - began
        pids = [node.process.pid for node in cluster.nodes.values() if node.process]
        return took, max(map(resident_bytes, pids))


class OneNode(Service):
    """The same cluster through one of its nodes, as a client that knows no cluster uses it."""

    name = "ringleader, through another node"
    kind = "ours"
    note = "redis-benchmark at a node that forwards all of it to the leader"

    def __init__(self, of: Ringleader) -> None:
        self.of = of

    def missing(self) -> str | None:
        return self.of.missing()

    def start(self, directory: Path) -> None:
        pass

    def stop(self) -> None:
        pass

    def load(self, work: Work, count: int) -> Sample | None:
        cluster = self.of.running
        leader = cluster.leader("key")
        node = next(node for name, node in cluster.nodes.items() if name != leader)
        if work.operation == "local":
            return run_load("readonly", [f"{node.host}:{node.port}"], work, count)
        return run_redis_benchmark(node.port, work, count)


class Etcd(Members):
    """On this machine's loopback, or with a member in each datacenter of a network."""

    name = "etcd"
    note = "gRPC; local reads are serializable ones, unpipelined"

    def __init__(self, network: Wan | None = None) -> None:
        super().__init__()
        self.network = network
        self.ports: list[int] = []

    def missing(self) -> str | None:
        return _needs("etcd", "etcd-server")

    def place(self, member: int) -> Place:
        return Place(self.network, self.network.dcs[member]) if self.network else HERE

    def start(self, directory: Path) -> None:
        self.directory = directory
        ports = free_ports(2 * self.member_count)
        self.ports, self._peer_ports = ports[: self.member_count], ports[self.member_count :]
        for member in range(self.member_count):
            self.launch(member)
        wait_until(lambda: self.leader() is not None, "etcd serves", START_SECONDS_MAX)
        at = [self.endpoint(0)]
        run_load("grpc", at, Work("put", 64), KEYS, operation="fill", place=self.place(0))

    def launch(self, member: int) -> None:
        folder = self.directory / f"member-{member}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log").open("ab") as log:
            self._processes[member] = self.place(member).popen(
                self.command(member), stdout=log, stderr=subprocess.STDOUT, cwd=folder
            )

    def host(self, member: int) -> str:
        return self.network.host(self.network.dcs[member], 0) if self.network else "127.0.0.1"

    def endpoint(self, member: int) -> str:
        return f"{self.host(member)}:{self.ports[member]}"

    def command(self, member: int) -> list[str]:
        peers = [
            f"http://{self.host(number)}:{port}" for number, port in enumerate(self._peer_ports)
        ]
        cluster = ",".join(f"m{number}={peer}" for number, peer in enumerate(peers))
        client = f"http://{self.endpoint(member)}"
        return [
            *("etcd", "--name", f"m{member}", "--data-dir", "data", "--log-level", "error"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peers[member]),
            *("--initial-advertise-peer-urls", peers[member]),
            *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
        ]

    def post(self, member: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """JSON to a member and back.

        Raises:
            OSError, http.client.HTTPException, ValueError: it does not answer, or not with JSON.
        """
        connection = http.client.HTTPConnection(self.host(member), self.ports[member])
        with closing(self.place(member).socket()) as sock:
            sock.settimeout(5.0)
            sock.connect((self.host(member), self.ports[member]))
            connection.sock = sock
            connection.request("POST", path, json.dumps(body))
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer

    def status(self, member: int) -> dict[str, Any]:
        """Of a member; nothing when it does not answer."""
        with suppress(OSError, ValueError, http.client.HTTPException):
            return self.post(member, "/v3/maintenance/status", {})
        return {}

    def leader(self) -> int | None:
        """The member that says that it leads."""
        for member, process in self._processes.items():
            if process.poll() is None:
                status = self.status(member)
                if status.get("leader") and status["header"]["member_id"] == status["leader"]:
                    return member
        return None

    def lead_from(self, member: int) -> None:
        """Have this member lead."""

        def leads() -> bool:
            leader = self.leader()
            if leader is None or leader == member:
                return leader == member
            to = self.status(member)["header"]["member_id"]
            self.post(leader, "/v3/maintenance/transfer-leadership", {"targetID": to})
            return False

        wait_until(leads, "etcd leads from where it should", START_SECONDS_MAX, step=0.5)

    def load(self, work: Work, count: int) -> Sample | None:
        if work.depth > 1:
            # Its own clients do not pipeline on a connection; more connections do the same.
            if work.operation != "local":
                return None
            work = Work(work.operation, work.connections)
        if work.operation == "local":
            everywhere = [self.endpoint(member) for member in range(self.member_count)]
            return run_load("grpc", everywhere, work, count)
        leader = self._leads()
        return run_load("grpc", [self.endpoint(leader)], work, count, place=self.place(leader))

    def _leads(self) -> int:
        leader = self.leader()
        assert leader is not None, "etcd leads nowhere"
        return leader

    def fail_over(self) -> float | None:
        leader = self._leads()
        others = [self.endpoint(m) for m in range(self.member_count) if m != leader]
        pause = pause_after("grpc", others, lambda: self.kill(leader))
        self.launch(leader)
        wait_until(
            lambda: self.status(leader).get("leader"), "etcd's member is back", START_SECONDS_MAX
        )
        return pause


class ZooKeeper(Members):
    name = "ZooKeeper"
    note = "warmed; a linearizable read is sync and getData"

    #: So many writes before the first turn: its JIT compiles as it goes.
    warm_count = 60_000

    def missing(self) -> str | None:
        if not ZOOKEEPER_JAR.exists():
            return "ZooKeeper is not installed (Debian: apt-get install zookeeper)"
        return _needs("java", "default-jre-headless")

    def start(self, directory: Path) -> None:
        self.directory = directory
        ports = free_ports(3 * self.member_count)
        self.ports = ports[:3]
        for member in range(self.member_count):
            folder = directory / f"member-{member}"
            folder.mkdir(parents=True)
            (folder / "myid").write_text(f"{member + 1}\n")
            servers = "\n".join(
                f"server.{number + 1}=127.0.0.1:{ports[3 + number]}:{ports[6 + number]}"
                for number in range(self.member_count)
            )
            (folder / "zoo.cfg").write_text(
                f"tickTime=500\ninitLimit=20\nsyncLimit=10\ndataDir={folder}\n"
                f"clientPort={self.ports[member]}\n{servers}\nadmin.enableServer=false\n"
                "maxClientCnxns=0\n4lw.commands.whitelist=*\n"
            )
            self.launch(member)
        wait_until(lambda: self.leader() is not None, "ZooKeeper serves", START_SECONDS_MAX)
        at = [self._at(self._leads())]
        run_load("zookeeper", at, Work("put", 1, 64), KEYS, operation="fill")
        if not SMALL:
            run_load("zookeeper", at, Work("put", 32, 4), self.warm_count)
            everywhere = [self._at(member) for member in range(3)]
            for operation in ("get", "local"):
                run_load("zookeeper", everywhere, Work(operation, 32, 4), self.warm_count)  # type: ignore[arg-type]

    def command(self, member: int) -> list[str]:
        return [
            *("java", "-Xmx512m", "-cp", f"/etc/zookeeper/conf:{ZOOKEEPER_JAR}"),
            *("-Dzookeeper.root.logger=ERROR,CONSOLE", "-Dzookeeper.log.dir=."),
            *("org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg"),
        ]

    def _at(self, member: int) -> str:
        return f"127.0.0.1:{self.ports[member]}"

    def _mode(self, member: int) -> str:
        with socket.create_connection(("127.0.0.1", self.ports[member]), 2) as sock:
            sock.sendall(b"srvr")
            said = b""
            while data := sock.recv(4096):
                said += data
        _, found, rest = said.decode().partition("Mode: ")
        return rest.split("\n", 1)[0] if found else ""

    def leader(self) -> int | None:
        for member, process in self._processes.items():
            with suppress(OSError):
                if process.poll() is None and self._mode(member) == "leader":
                    return member
        return None

    def _leads(self) -> int:
        leader = self.leader()
        assert leader is not None, "ZooKeeper leads nowhere"
        return leader

    def load(self, work: Work, count: int) -> Sample | None:
        if work.operation == "local":
            return run_load("zookeeper", [self._at(m) for m in range(3)], work, count)
        return run_load("zookeeper", [self._at(self._leads())], work, count)

    def fail_over(self) -> float | None:
        leader = self._leads()
        others = [self._at(m) for m in range(self.member_count) if m != leader]
        pause = pause_after("zookeeper", others, lambda: self.kill(leader))
        self.launch(leader)
        wait_until(lambda: self._mode(leader), "ZooKeeper's member is back", START_SECONDS_MAX)
        return pause


class RedisAlone(Members):
    """One Redis: no replica, so no rival, but what a single machine does with the same disk."""

    name = "Redis, alone"
    kind = "floor"
    note = "appendfsync always"
    member_count = 1

    def missing(self) -> str | None:
        return _needs("redis-server", "redis-server") or _needs("redis-benchmark", "redis-tools")

    def start(self, directory: Path) -> None:
        self.directory = directory
        (self.port,) = free_ports(1)
        self.launch(0)
        wait_until(self._pings, "Redis serves", START_SECONDS_MAX)

    def _pings(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(100).startswith(b"+PONG")

    def command(self, member: int) -> list[str]:
        return [
            *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always"),
        ]

    def load(self, work: Work, count: int) -> Sample | None:
        if work.operation == "local":
            return run_load("resp", [f"127.0.0.1:{self.port}"], work, count, operation="get")
        return run_redis_benchmark(self.port, work, count)

    def fill(self, count: int) -> None:
        at = [f"127.0.0.1:{self.port}"]
        run_load("resp", at, Work("put", 8, 64), count, operation="fill")

    def restart(self) -> tuple[float, int]:
        self.kill(0)
        began = time.monotonic()
        self.launch(0)
        wait_until(self._pings, "Redis serves again", START_SECONDS_MAX)
        return time.monotonic() - began, self.resident_bytes()[0]


def _needs(program: str, package: str) -> str | None:
    if shutil.which(program) is None:
        return f"{program} is not installed (Debian: apt-get install {package})"
    return None


def on_real_disk(directory: Path) -> bool:
    """Whether a folder is on something that keeps its data: not on a tmpfs."""
    said = subprocess.run(
        ["stat", "--file-system", "--format=%T", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() not in {"tmpfs", "ramfs"}


def real_disk() -> Path:
    """A folder for data that is not in memory.

    Raises:
        RuntimeError: none was found.
    """
    for folder in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.home()):
        if on_real_disk(folder):
            return folder
    raise RuntimeError("no folder on a real disk was found")
