"""A whole cluster on this machine, a process for each node, with its data under one directory.

DIR/cluster.toml    written at the first start, and read from then on
DIR/data/NODE/      the node's data
DIR/logs/NODE.log   what it said
DIR/up.json         the processes that run
DIR/up.lock         held by who runs them
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import IO

from ringleader import limits
from ringleader.errors import ClusterFileError, LocalClusterError
from ringleader.node import child
from ringleader.node.config import ClusterConfig
from ringleader.node.tables import toml, toml_key
from ringleader.placement import Replicas

FILE_NAME = "cluster.toml"
HOST = "127.0.0.1"
DCS = ("eu", "us", "ap")
SHARDS = 6
REPLICAS = 3
BASE_PORT = 7000
#: Round trips in ms that `--wan` makes between datacenters; between others it is the last number.
WAN_MS = {frozenset(("eu", "us")): 80, frozenset(("us", "ap")): 150, frozenset(("eu", "ap")): 180}
OTHER_WAN_MS = 100

#: How long nodes have to stop by themselves, and then to be gone.
STOP_SECONDS = 15.0
KILL_SECONDS = 5.0
TAIL_LINES = 12
_TAIL_BYTES = 2**14


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a cluster should be like; None: as it is, or the default for a new one.

    Attributes:
        dcs: names of datacenters.
        nodes_per_dc: in each.
        replicas: "3", or "eu=2,us=1".
        shards, consensus: as in the cluster file.
        leaders: datacenters where leaders should stand.
        base_port: of the first node; the others follow, peers 100 above, HTTP 200 above.
        wan: "default", or round trips such as "eu-us=80,us-ap=150,eu-ap=180".
    """

    dcs: Sequence[str] | None = None
    nodes_per_dc: int | None = None
    replicas: str | None = None
    shards: int | None = None
    consensus: str | None = None
    leaders: Sequence[str] | None = None
    base_port: int | None = None
    wan: str | None = None


def prepared(directory: Path, options: Options) -> ClusterConfig:
    """The cluster of this directory: the one that is there, or a new one as asked for.

    Raises:
        LocalClusterError: the cluster that is there is not what is asked for.
        ClusterFileError: what is asked for is not possible; nothing was written.
    """
    path = directory / FILE_NAME
    text = written(options)
    if path.exists():
        config = ClusterConfig.load(path)
        _check_same(config, options, directory)
        return config
    config = ClusterConfig.parse(tomllib.loads(text), path=str(path))
    directory.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)
    return config


def written(options: Options) -> str:
    """The cluster file for these options.

    Raises:
        LocalClusterError: an option cannot be understood.
    """
    dcs = list(options.dcs or DCS)
    per_dc = options.nodes_per_dc or 1
    base = options.base_port or BASE_PORT
    replicas = Replicas.parse(options.replicas or str(min(REPLICAS, len(dcs) * per_dc)))
    count = replicas.total if replicas.by_dc is None else dict(replicas.by_dc)
    apart = 100 * -(-len(dcs) * per_dc // 100)
    lines = [
        "# Made by `ringleader up`, which reads it from now on.",
        'name = "local"',
        f"consensus = {toml(options.consensus or 'raft')}",
        f"shards = {SHARDS if options.shards is None else options.shards}",
        f"replicas = {toml(count)}",
        f"leaders = {toml(list(options.leaders or []))}",
    ]
    if options.wan is not None:
        lines += ["", "[wan]  # round trips in ms, made by the nodes themselves"]
        for pair, value in sorted(parsed_wan(options.wan, dcs).items(), key=lambda x: sorted(x[0])):
            lines.append(f"{'.'.join(map(toml_key, sorted(pair, key=dcs.index)))} = {value:g}")
    names = [(dc, number) for dc in dcs for number in range(1, per_dc + 1)]
    for at, (dc, number) in enumerate(names):
        lines += [
            "",
            "[[nodes]]",
            f"name = {toml(f'{dc}-{number}')}",
            f"dc = {toml(dc)}",
            f"zone = {toml(f'{dc}-{(number - 1) % 3 + 1}')}",
            f"host = {toml(HOST)}",
            f"port = {base + at}",
            f"peer_port = {base + apart + at}",
            f"http_port = {base + 2 * apart + at}",
        ]
    return "\n".join(lines) + "\n"


def parsed_wan(text: str, dcs: Sequence[str]) -> dict[frozenset[str], float]:
    """Round trips between datacenters from "default" or "eu-us=80,us-ap=150".

    Raises:
        LocalClusterError: it is neither, or names a pair that is not there.
    """
    pairs = {"-".join(pair): frozenset(pair) for pair in combinations(dcs, 2)}
    pairs |= {"-".join(reversed(name)): frozenset(name) for name in combinations(dcs, 2)}
    found: dict[frozenset[str], float] = {}
    if text == "default":
        return {pair: float(WAN_MS.get(pair, OTHER_WAN_MS)) for pair in pairs.values()}
    for part in text.split(","):
        name, _, number = (each.strip() for each in part.partition("="))
        if name not in pairs:
            known = ", ".join("-".join(pair) for pair in combinations(dcs, 2)) or "none"
            raise LocalClusterError(
                f"--wan {text}: {name!r} is no pair of datacenters; the pairs are {known}, each "
                "with a round trip in ms, such as eu-us=80"
            )
        try:
            found[pairs[name]] = float(number)
        except ValueError:
            raise LocalClusterError(f"--wan {text}: {number!r} is no number of ms") from None
    missing = sorted({"-".join(sorted(pair)) for pair in pairs.values() if pair not in found})
    if missing:
        raise LocalClusterError(f"--wan {text}: says nothing about {', '.join(missing)}")
    return found


def _check_same(config: ClusterConfig, options: Options, directory: Path) -> None:
    """Whether the options that were given say what the file says."""
    file = directory / FILE_NAME
    there = {
        "dcs": ",".join(config.dcs),
        "nodes-per-dc": str(max(sum(n.dc == dc for n in config.nodes) for dc in config.dcs)),
        "replicas": _replicas_text(config.replicas),
        "shards": str(config.shards),
        "consensus": config.consensus,
        "leaders": ",".join(config.leaders),
        "base-port": str(config.nodes[0].port),
        "wan": _wan_text(config.wan),
    }
    asked = {
        "dcs": None if options.dcs is None else ",".join(options.dcs),
        "nodes-per-dc": _text(options.nodes_per_dc),
        "replicas": options.replicas and _replicas_text(_count(Replicas.parse(options.replicas))),
        "shards": _text(options.shards),
        "consensus": options.consensus,
        "leaders": None if options.leaders is None else ",".join(options.leaders),
        "base-port": _text(options.base_port),
        "wan": options.wan and _wan_text(parsed_wan(options.wan, config.dcs)),
    }
    may_change = {"leaders", "base-port", "wan"}
    for option, wanted in asked.items():
        if wanted is None or wanted == there[option]:
            continue
        raise LocalClusterError(
            f"{directory}: the cluster there has {option} {there[option] or '(none)'}, and "
            f"--{option} {wanted} asks for another: leave the option out, "
            + (f"change it in {file}" if option in may_change else "choose another --dir")
            + (", or remove the directory with all its data")
        )


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _count(policy: Replicas) -> int | Mapping[str, int]:
    return policy.total if policy.by_dc is None else policy.by_dc


def _replicas_text(replicas: int | Mapping[str, int]) -> str:
    if isinstance(replicas, int):
        return str(replicas)
    return ",".join(f"{dc}={count}" for dc, count in sorted(replicas.items()))


def _wan_text(wan: Mapping[frozenset[str], float]) -> str:
    return ",".join(f"{'-'.join(sorted(pair))}={wan[pair]:g}" for pair in sorted(wan, key=sorted))


# --- processes ----------------------------------------------------------------------------------


class LocalCluster:
    """The processes of a cluster on this machine.

    Args:
        config: all its nodes are started here.
        directory: see the module's text.

    Raises:
        LocalClusterError: another process runs it already.
    """

    def __init__(self, config: ClusterConfig, directory: Path) -> None:
        self.config = config
        self.directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._lock: IO[str] | None = _locked(directory / "up.lock")

    # --- starting -------------------------------------------------------------------------------

    def check_ports(self) -> None:
        """Whether all ports are free.

        Raises:
            LocalClusterError: some are not; says whose and what to do.
        """
        taken = []
        for node in self.config.nodes:
            for kind in ("port", "peer_port", "http_port"):
                port = getattr(node, kind)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind((node.listen, port))
                    except OSError as error:
                        taken.append(
                            f"{node.listen}:{port} ({node.name}'s {kind}): {error.strerror}"
                        )
        if not taken:
            return
        left = [f"{name} is process {pid}" for name, pid in running(self.directory).items()]
        advice = (
            f"nodes of an earlier run are there still ({', '.join(left)}): end them"
            if left
            else f"end what uses them, or choose other ports: --base-port, or in {self.config.path}"
        )
        raise LocalClusterError(f"{'; '.join(taken)}: {advice}")

    def start(self) -> None:
        """Start all nodes.

        Raises:
            LocalClusterError: a port is taken; nothing was started.
        """
        self.check_ports()
        (self.directory / "logs").mkdir(exist_ok=True)
        for node in self.config.nodes:
            self.start_node(node.name)

    def start_node(self, name: str) -> None:
        """Start one node, again if need be."""
        self.config.node(name)
        old = self.processes.get(name)
        if old is not None and old.poll() is None:
            raise LocalClusterError(f"node {name!r} runs already, as process {old.pid}")
        if old is not None and old.stdin is not None:
            old.stdin.close()
        command = [sys.executable, "-m", "ringleader", "serve", "--config", self.config.path]
        command += ["--node", name, "--until-eof"]
        with open(self.log(name), "ab") as out:
            # A session of its own, so that Ctrl-C reaches us only; its standard input ends with
            # us, however we end.
            self.processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=child.environment(),
                start_new_session=True,
            )
        self._save_pids()

    def _save_pids(self) -> None:
        path = self.directory / "up.json"
        state = {"pid": os.getpid(), "nodes": self.pids()}
        new = path.with_suffix(".new")
        new.write_text(json.dumps(state) + "\n")
        os.replace(new, path)

    # --- while they run -------------------------------------------------------------------------

    def pids(self) -> dict[str, int]:
        """The processes that were started last, by node."""
        return {name: process.pid for name, process in self.processes.items()}

    def ended(self) -> dict[str, int]:
        """The nodes that run no more, and their exit codes (a signal's is negative)."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def log(self, name: str) -> Path:
        """Where a node's output goes."""
        return self.directory / "logs" / f"{name}.log"

    def tail(self, name: str) -> list[str]:
        """The last lines of its output."""
        return tail(self.log(name))

    def signal(self, name: str, number: int) -> None:
        """Send one node a signal, if it runs."""
        process = self.processes[name]
        if process.poll() is None:
            process.send_signal(number)

    # --- stopping -------------------------------------------------------------------------------

    def stop(self, seconds: float = STOP_SECONDS) -> list[str]:
        """Ask all nodes to stop, and end those that take too long; the names of these.

        A second call does nothing more.
        """
        for name in self.processes:
            self.signal(name, signal.SIGTERM)
            self.signal(name, signal.SIGCONT)
        deadline = time.monotonic() + seconds
        slow = []
        for name, process in self.processes.items():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                slow.append(name)
                process.kill()
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_SECONDS)
            if process.stdin is not None:
                process.stdin.close()
        self._release()
        return slow

    def _release(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(FileNotFoundError):
                (self.directory / "up.json").unlink()
            self._lock.close()
            self._lock = None

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _locked(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a")  # noqa: SIM115  it is held as long as the cluster runs
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        who = read_state(path.parent).get("pid")
        raise LocalClusterError(
            f"{path.parent}: its cluster runs already"
            + (f", under process {who}" if who else "")
            + ": stop that one first, or choose another --dir"
        ) from None
    return file


def read_state(directory: Path) -> dict[str, object]:
    """What up.json says, or {}."""
    try:
        with open(directory / "up.json", "rb") as file:
            state = json.loads(file.read(limits.CLUSTER_FILE_BYTES_MAX))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def running(directory: Path) -> dict[str, int]:
    """The nodes of this directory whose processes are there, as far as up.json knows."""
    nodes = read_state(directory).get("nodes")
    if not isinstance(nodes, dict):
        return {}
    return {str(name): pid for name, pid in nodes.items() if isinstance(pid, int) and _is_node(pid)}


def _is_node(pid: int) -> bool:
    """Whether this process is a node of ours, where that can be seen."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).split(b"\0")
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return False
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return True
        return False
    except OSError:
        return False
    return b"ringleader" in words and b"serve" in words


def tail(path: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a file; [] when it is not there."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:]


def found(directory: Path) -> ClusterConfig:
    """The cluster that a directory has.

    Raises:
        ClusterFileError: there is none, or it is damaged.
    """
    path = directory / FILE_NAME
    if not path.exists():
        raise ClusterFileError(
            f"{path}: is not there: `ringleader up --dir {directory}` makes a cluster"
        )
    return ClusterConfig.load(path, secrets=False)
