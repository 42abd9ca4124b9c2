"""The second half of `ringleader demo`: a replicated store in three datacenters, one of which dies.

Real processes on this machine, with the delays of a wide area between datacenters; redis-py is the
client.  Every write that was acknowledged is looked for after the loss, and again after the return.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ringleader.cli.extras import needed
from ringleader.hashing import redis_slot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import Console

    from ringleader.node.local import LocalCluster

DCS = ("eu", "us", "ap")
HOME = "eu"  #: where leaders should stand, and what dies
SHARDS = 6
#: Real keys that are loaded, at most; the value of a path is its size.
LOADED_KEYS = 5_000
BATCH = 500
ROUNDS = 12
WRITERS_PER_DC = 4
BEFORE_SECONDS = 4.0
AFTER_SECONDS = 6.0
HEALED_SECONDS = 3.0
SERVE_SECONDS = 60.0
SOCKET_SECONDS = 6.0
RETRY_SECONDS = 20.0
NO_CONNECTION = "no connection"

_COLOURS = {"eu": "#0072B2", "us": "#E69F00", "ap": "#009E73"}


@dataclass(frozen=True)
class Write:
    """One write of the outage's load.

    Attributes:
        begun, ended: seconds since the load began.
        failure: "" if it was acknowledged, else how it was not.
    """

    dc: str
    key: str
    begun: float
    ended: float
    failure: str

    @property
    def slot(self) -> int:
        return redis_slot(self.key.encode())


@dataclass
class Story:
    """What happened when, in seconds since the load began."""

    writes: list[Write] = field(default_factory=list)
    killed: float = 0.0
    healed: float = 0.0
    ended: float = 0.0

    def acknowledged(self) -> list[Write]:
        return [write for write in self.writes if not write.failure]

    def pauses(self, shard_of_slot: Sequence[int]) -> dict[int, float]:
        """For each shard, how long after the loss it first took a write from elsewhere that was
        begun after it; in seconds."""
        found: dict[int, float] = {}
        for write in self.acknowledged():
            if write.dc != HOME and self.killed < write.begun < self.healed:
                shard = shard_of_slot[write.slot]
                found[shard] = min(found.get(shard, float("inf")), write.ended - self.killed)
        return found


class Writers:
    """Clients in each datacenter that write one key after the other, and note what came of it."""

    def __init__(self, connect: Callable[[str], Any]) -> None:
        self._connect = connect
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._begun = time.perf_counter()
        self.story = Story()
        self._threads = [
            threading.Thread(target=self._run, args=(dc,), daemon=True)
            for dc in DCS
            for _ in range(WRITERS_PER_DC)
        ]

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._begun

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * SOCKET_SECONDS)
        self.story.ended = self.now()

    def _run(self, dc: str) -> None:
        import redis

        client = self._connect(dc)
        while not self._stop.is_set():
            key = f"demo:{next(self._numbers)}"
            begun = self.now()
            try:
                client.set(key, f"written in {dc}")
                failure = ""
            except redis.exceptions.ConnectionError:
                failure = NO_CONNECTION
            except redis.exceptions.TimeoutError:
                failure = "no answer"
            except redis.exceptions.RedisError as error:
                failure = str(error)[:60] or type(error).__name__
            self.story.writes.append(Write(dc, key, begun, self.now(), failure))
            if failure:
                self._stop.wait(0.1)
        client.close()


def run(out: Console, paths: Sequence[bytes], picture: str | None, nodes_per_dc: int) -> None:
    """The whole of it, printed to `out`.

    Args:
        paths: the keys to load.
        picture: a .png or .svg file for latency over time, or None.

    Raises:
        MissingExtra: a package is missing.
        LocalClusterError: the cluster cannot be started.
    """
    with needed("node", "the demo's cluster"):
        import redis  # noqa: F401  only looked for

        from ringleader.node import local, watch  # noqa: F401  as well

    directory = Path(tempfile.mkdtemp(prefix="ringleader-demo-"))
    begun = time.perf_counter()
    try:
        options = local.Options(
            dcs=DCS, nodes_per_dc=nodes_per_dc, shards=SHARDS, leaders=("eu", "us"),
            wan="default", base_port=_free_base_port(len(DCS) * nodes_per_dc),
        )  # fmt: skip
        config = local.prepared(directory / "cluster", options)
        with local.LocalCluster(config, directory / "cluster") as cluster:
            _heading(
                out, f"4. Agreement: a store of {len(config.nodes)} processes in 3 datacenters"
            )
            _start(out, cluster)
            sizes = _load(out, cluster, paths)
            _show_latencies(out, cluster)
            _heading(out, f"5. Availability: datacenter {HOME}, where all leaders are, dies")
            story = _outage(out, cluster)
            _heal(out, cluster, story, sizes)
            slow = cluster.stop()
            out.print(
                f"Stopped{f', by force: {slow}' if slow else ' cleanly'}; "
                f"{time.perf_counter() - begun:.0f} s for the cluster in all."
            )
        if picture is not None:
            draw(story.story, picture)
            out.print(f"Latency over time as a picture: {picture}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _heading(out: Console, text: str) -> None:
    out.print()
    out.print(text, style="bold cyan")


def _free_base_port(nodes: int) -> int:
    """Of ports that are free now, outside of what the system gives to clients."""
    for base in range(21_000 + os.getpid() % 30 * 300, 32_000, 300):
        ports = [base + offset + at for offset in (0, 100, 200) for at in range(nodes)]
        try:
            for port in ports:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    return 7000


def _client(cluster: LocalCluster, dc: str, *, readonly: bool = False) -> Any:
    """redis-py, at a node of this datacenter; a command is sent once, and never again."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    node = next(node for node in cluster.config.nodes if node.dc == dc)
    client = redis.Redis(
        host=node.host,
        port=node.port,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=1.0,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        single_connection_client=readonly,
    )
    if readonly:
        client.readonly()
    return client


def _retried(call: Callable[[], Any]) -> Any:
    """What may be done twice, done until it works: leaders may change at any time.

    Raises:
        LocalClusterError: it does not work for too long.
    """
    import redis

    from ringleader.errors import LocalClusterError

    deadline = time.perf_counter() + RETRY_SECONDS
    while True:
        try:
            return call()
        except redis.exceptions.RedisError as error:
            if time.perf_counter() > deadline:
                raise LocalClusterError(f"the cluster does not answer: {error}") from error
        time.sleep(0.2)


def _piped(client: Any, commands: Sequence[tuple[str, ...]]) -> list[Any]:
    """The replies to commands that are sent together."""

    def send() -> Any:
        pipe = client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return pipe.execute()

    replies: list[Any] = _retried(send)
    return replies


@contextmanager
def _clients(cluster: LocalCluster) -> Iterator[dict[str, Any]]:
    clients = {dc: _client(cluster, dc) for dc in DCS}
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


def _wait_until(cluster: LocalCluster, is_so: Callable[[dict[str, Any]], bool]) -> float:
    """Wait; the seconds that it took.

    Raises:
        LocalClusterError: it took too long, or a node ended.
    """
    from ringleader.errors import LocalClusterError
    from ringleader.node.watch import watch

    begun = time.perf_counter()
    while time.perf_counter() - begun < SERVE_SECONDS:
        if ended := cluster.ended():
            last = "\n".join(cluster.tail(next(iter(ended))))
            raise LocalClusterError(
                f"{', '.join(ended)} ended; the last words of the first:\n{last}"
            )
        seen = asyncio.run(watch(cluster.config))
        if is_so(seen):
            return time.perf_counter() - begun
        time.sleep(0.1)
    logs = "\n".join(line for name in cluster.processes for line in cluster.tail(name)[-3:])
    raise LocalClusterError(f"the cluster does not serve after {SERVE_SECONDS:.0f} s:\n{logs}")


def _all_at_home(seen: dict[str, Any]) -> bool:
    dc_of = {node["name"]: node["dc"] for node in seen["nodes"]}
    return all(dc_of.get(shard["leader"]) == HOME for shard in seen["shards"])


def _start(out: Console, cluster: LocalCluster) -> None:
    from ringleader.node.watch import is_serving

    config = cluster.config
    cluster.start()
    took = _wait_until(cluster, lambda seen: is_serving(seen) and _all_at_home(seen))
    wan = ", ".join(f"{'-'.join(sorted(pair))} {ms:g} ms" for pair, ms in config.wan.items())
    out.print(
        f"{config.shards} shards, a replica of each in every datacenter, by {config.consensus}; "
        f"all serve after {took:.1f} s."
    )
    out.print(f"Round trips between datacenters: {wan}.  Every write is on disk at a majority.")


def _load(out: Console, cluster: LocalCluster, paths: Sequence[bytes]) -> dict[str, str]:
    """File paths and their sizes, through redis-py."""
    step = max(1, len(paths) // LOADED_KEYS)
    sizes: dict[str, str] = {}
    for path in paths[::step][:LOADED_KEYS]:
        try:
            sizes[path.decode()] = str(os.stat(path).st_size)
        except (OSError, UnicodeDecodeError):
            continue
    begun = time.perf_counter()
    with _clients(cluster) as clients:
        items = list(sizes.items())
        for at in range(0, len(items), BATCH):
            some = items[at : at + BATCH]
            _piped(clients[HOME], [("SET", name, size) for name, size in some])
    took = time.perf_counter() - begun
    out.print(
        f"Loaded {len(sizes):,} file paths with redis-py, {BATCH} in a pipeline: {took:.1f} s, "
        f"{len(sizes) / took:,.0f} durable writes/s."
    )
    return sizes


def _show_latencies(out: Console, cluster: LocalCluster) -> None:
    """What a client in each datacenter sees, one command at a time."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    found: dict[str, list[float]] = {}

    def measure(dc: str) -> None:
        client, stale = _client(cluster, dc), _client(cluster, dc, readonly=True)
        calls: list[Callable[[str], object]] = [lambda key: client.set(key, "x"), client.get]
        calls += [stale.get, stale.get]
        medians = []
        for call in calls:
            times = []
            for key in _keys_held(cluster, dc):
                times.append(_retried(lambda: _timed(call, key)))  # noqa: B023  used at once
            medians.append(median(times) * 1e3)
        del medians[2]  # the first stale read asks the leader how old what is here may be
        found[dc] = medians
        client.close()
        stale.close()

    threads = [threading.Thread(target=measure, args=(dc,)) for dc in DCS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("a client in")
    for header in ("write, ms", "linearizable read, ms", "READONLY read, ms"):
        table.add_column(header, justify="right")
    for dc in DCS:
        if dc in found:
            table.add_row(dc, *(f"{ms:,.1f}" for ms in found[dc]))
    out.print()
    out.print(table)


def _timed(call: Callable[[str], object], key: str) -> float:
    begun = time.perf_counter()
    call(key)
    return time.perf_counter() - begun


def _keys_held(cluster: LocalCluster, dc: str) -> list[str]:
    """Keys of shards that the node has which clients of this datacenter talk to here; a cluster
    client would look for such a node."""
    layout = cluster.config.layout
    node = next(node for node in cluster.config.nodes if node.dc == dc)
    held = {shard.number for shard in layout.of(node.name)}
    keys = (f"latency:{dc}:{at}" for at in itertools.count())
    there = (key for key in keys if layout.shard_of_slot[redis_slot(key.encode())] in held)
    return list(itertools.islice(there, ROUNDS))


# --- the loss -----------------------------------------------------------------------------------


def _outage(out: Console, cluster: LocalCluster) -> Writers:
    """Kill a datacenter under load."""
    writers = Writers(lambda dc: _client(cluster, dc))
    story = writers.story
    writers.start()
    time.sleep(BEFORE_SECONDS)
    doomed = [node.name for node in cluster.config.nodes if node.dc == HOME]
    story.killed = writers.now()
    for name in doomed:
        cluster.signal(name, signal.SIGKILL)
    time.sleep(AFTER_SECONDS)
    story.healed = writers.now()  # until then nobody came back
    before = [w for w in story.acknowledged() if w.ended <= story.killed]
    after = [w for w in story.acknowledged() if w.begun > story.killed]
    pauses = story.pauses(cluster.config.layout.shard_of_slot)
    out.print(
        f"{len(DCS) * WRITERS_PER_DC} clients write.  kill -9 of {', '.join(doomed)} after "
        f"{story.killed:.1f} s and {len(before):,} acknowledged writes."
    )
    if pauses:
        out.print(
            f"Writes from us and ap go on: the first one {min(pauses.values()):.2f} s after the "
            f"kill, on all {len(pauses)} shards after {max(pauses.values()):.2f} s; {len(after):,} "
            f"acknowledged in the {story.healed - story.killed:.0f} s after it.",
            style="bold",
        )
    else:
        out.print("No write went through in the time after it.", style="bold red")
    return writers


def _heal(out: Console, cluster: LocalCluster, writers: Writers, sizes: dict[str, str]) -> None:
    """Verify, bring the datacenter back, verify again."""
    from ringleader.node.watch import is_serving

    story = writers.story
    _verify(out, cluster, "us", story, sizes, "with the datacenter gone")
    story.healed = writers.now()
    for node in cluster.config.nodes:
        if node.dc == HOME:
            cluster.start_node(node.name)
    took = _wait_until(cluster, lambda seen: is_serving(seen) and _all_at_home(seen))
    out.print(
        f"{HOME} is started again: {took:.1f} s later it has caught up, and leads all shards again."
    )
    time.sleep(HEALED_SECONDS)
    writers.stop()
    _verify(out, cluster, HOME, story, sizes, "after its return, read there")
    lost = [w for w in story.writes if w.failure]
    by_kind: dict[str, int] = {}
    for write in lost:
        words = write.failure.split()
        kind = words[0] if words[0].isupper() else write.failure
        by_kind[kind] = by_kind.get(kind, 0) + 1
    told = ", ".join(f"{count} x {kind}" for kind, count in sorted(by_kind.items())) or "none"
    out.print(f"Writes without an acknowledgement, which may or may not be there: {told}.")


def _verify(
    out: Console, cluster: LocalCluster, dc: str, story: Story, sizes: dict[str, str], when: str
) -> None:
    """Every acknowledged write has to be there."""
    wanted = {w.key: f"written in {w.dc}" for w in story.acknowledged()} | sizes
    missing = 0
    items = list(wanted.items())
    with _clients(cluster) as clients:
        for at in range(0, len(items), BATCH):
            some = items[at : at + BATCH]
            got = _piped(clients[dc], [("GET", key) for key, _ in some])
            missing += sum(
                value != expected for (_, expected), value in zip(some, got, strict=True)
            )
    style = "bold green" if not missing else "bold red"
    out.print(
        f"{len(wanted):,} acknowledged writes looked for {when}: "
        f"{'all are there' if not missing else f'{missing:,} ARE LOST'}.",
        style=style,
    )


# --- the picture --------------------------------------------------------------------------------


def draw(story: Story, path: str) -> None:
    """Latency over time, a dot for each write.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    with needed("plot", "a picture"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes: Axes = figure.add_subplot()
    axes.axvspan(story.killed, story.healed, color="#c0392b", alpha=0.08, linewidth=0)
    for dc in DCS:
        own = [write for write in story.acknowledged() if write.dc == dc]
        axes.plot(
            [write.ended for write in own],
            [max(1e-2, (write.ended - write.begun) * 1e3) for write in own],
            ".",
            markersize=3,
            color=_COLOURS[dc],
            label=f"a client in {dc}",
        )
    # Of clients that find nobody there is nothing to show.
    lost = [write for write in story.writes if write.failure not in {"", NO_CONNECTION}]
    axes.plot(
        [write.ended for write in lost],
        [max(1e-2, (write.ended - write.begun) * 1e3) for write in lost],
        "x",
        markersize=4,
        color="#c0392b",
        label="outcome not known",
    )
    axes.set_yscale("log")
    top = axes.get_ylim()[1]
    for at, words in ((story.killed, f" kill -9 of {HOME}"), (story.healed, f" {HOME} restarted")):
        axes.axvline(at, color="#222831", linewidth=1)
        axes.text(at, top, words, va="top", fontsize=9)
    axes.set_xlabel("seconds")
    axes.set_ylabel("a write's latency, ms")
    axes.set_title("Writes from three datacenters while one of them dies and comes back")
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.25)
    figure.savefig(path, dpi=110)
