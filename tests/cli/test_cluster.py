"""`up`, `serve`, `status` and `bench`, with nodes that only pretend: see fake_nodes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from ringleader.cli.histogram import Histogram, upper_us
from ringleader.cli.load import Load, Plan, key_of, owners_of, prepared
from ringleader.cli.resp import RespError
from ringleader.cli.tables import console
from ringleader.errors import LocalClusterError
from ringleader.node import local
from ringleader.node.config import ClusterConfig
from ringleader.node.watch import is_serving, merged, watch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are run as on POSIX")

Run = Callable[..., Result]
Refused = Callable[..., str]
FAKE = str(Path(__file__).parent / "fake_nodes")


@pytest.fixture
def base_port() -> int:
    """Of 3 * 100 ports below those that the system gives out, free now."""
    for base in range(20_000 + os.getpid() % 40 * 100, 32_000, 300):
        try:
            for port in (base, base + 1, base + 2, base + 100, base + 200):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    pytest.skip("no free ports")


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes started from here run nodes that only pretend."""
    monkeypatch.setenv("PYTHONPATH", FAKE)


@pytest.fixture
def cluster(
    tmp_path: Path, base_port: int, fakes: None
) -> Iterator[tuple[local.LocalCluster, Path]]:
    """Three nodes that serve."""
    directory = tmp_path / "c"
    config = local.prepared(directory, local.Options(base_port=base_port))
    with local.LocalCluster(config, directory) as running:
        running.start()
        for _ in range(200):
            if is_serving(asyncio.run(watch(config))):
                break
            time.sleep(0.05)
        else:
            pytest.fail("\n".join(running.tail("eu-1")))
        yield running, directory


# --- the directory ------------------------------------------------------------------------------


def test_a_new_directory_gets_what_was_asked_for(tmp_path: Path) -> None:
    options = local.Options(
        dcs=("eu", "us"), nodes_per_dc=3, replicas="eu=2,us=1", shards=9, consensus="paxos",
        leaders=("us",), base_port=9000, wan="eu-us=33.5",
    )  # fmt: skip
    config = local.prepared(tmp_path / "c", options)
    assert (config.shards, config.consensus, config.leaders) == (9, "paxos", ("us",))
    assert config.replicas == {"eu": 2, "us": 1}
    assert config.wan == {frozenset(("eu", "us")): 33.5}
    assert [node.name for node in config.nodes] == ["eu-1", "eu-2", "eu-3", "us-1", "us-2", "us-3"]
    assert [(n.port, n.peer_port, n.http_port) for n in config.nodes][5] == (9005, 9105, 9205)
    # Run again, with the same or with nothing: what is there.
    assert local.prepared(tmp_path / "c", options) == config
    assert local.prepared(tmp_path / "c", local.Options()) == config


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shards": 7}, "has shards 6, and --shards 7"),
        ({"dcs": ("eu", "us")}, "has dcs eu,us,ap, and --dcs eu,us"),
        ({"nodes_per_dc": 3}, "has nodes-per-dc 1"),
        ({"replicas": "eu=1"}, "has replicas 3"),
        ({"consensus": "paxos"}, "has consensus raft"),
        ({"base_port": 9000}, "has base-port 7000.*change it in"),
        ({"wan": "default"}, r"has wan \(none\).*change it in"),
        ({"leaders": ("eu",)}, r"has leaders \(none\)"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    local.prepared(tmp_path, local.Options())
    before = (tmp_path / "cluster.toml").read_bytes()
    with pytest.raises(LocalClusterError, match=words):
        local.prepared(tmp_path, local.Options(**options))
    assert (tmp_path / "cluster.toml").read_bytes() == before


def test_default_round_trips() -> None:
    wan = local.parsed_wan("default", ["eu", "us", "ap", "sa"])
    assert wan[frozenset(("us", "ap"))] == 150
    assert wan[frozenset(("sa", "ap"))] == 100
    assert len(wan) == 6
    assert local.parsed_wan("a-b-c=4", ["b-c", "a"]) == {frozenset(("a", "b-c")): 4.0}


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--wan", "eu-mars=3"], "'eu-mars' is no pair of datacenters; the pairs are eu-us"),
        (["--wan", "eu-us=x"], "'x' is no number"),
        (["--wan", "eu-us=3"], "says nothing about ap-eu, ap-us"),
        (["--replicas", "7"], "there are only 3"),
        (["--replicas", "x"], "is no policy"),
        (["--dcs", "eu,eu"], "has a name twice"),
        (["--dcs", "e u"], "'e u' is not possible"),
        (["--dcs", 'a"b,us'], "'a\"b' is not possible"),
        (["--dcs", "eu west,us", "--wan"], "'eu west' is not possible"),
        (["--dcs", "a.b,us", "--wan", "a.b-us=5"], "'a.b' is not possible"),
        (["--dcs", "a b,us", "--replicas", "a b=1,us=1"], "'a b'"),
        (["--dcs", "a,b,c,d", "--nodes-per-dc", "40"], "160 are too many: at most 127"),
    ],
)
def test_what_up_refuses_leaves_nothing(refused: Refused, args: list[str], words: str) -> None:
    assert words in refused("up", "--dir", "c", *args)


# --- processes ----------------------------------------------------------------------------------


def test_up_runs_shows_and_stops(
    start: Callable[..., Any], base_port: int, tmp_path: Path, run: Run, fakes: None
) -> None:
    # Wide enough for a table whose figures take more room on a slow machine.
    path = f"{FAKE}:{Path(local.__file__).parents[2]}"
    env = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160"}
    process = start("-m", "ringleader", "up", "--dir", "c", "--base-port", str(base_port), env=env)
    lines = []
    for line in process.stdout:
        lines.append(line.decode())
        if "ringleader status" in lines[-1]:
            break
    text = "".join(lines)
    for words in ("It serves, after", "eu-1", f"redis-cli -c -p {base_port}", "linearizable"):
        assert words in text, text
    seen = json.loads(run("status", "--dir", "c", "--json").stdout)
    assert [node["name"] for node in seen["nodes"]] == ["eu-1", "us-1", "ap-1"]
    assert all(node["alive"] for node in seen["nodes"])
    assert {"id", "replicas", "leader", "term", "commit", "applied", "lag"} <= set(
        seen["shards"][0]
    )
    # A second one is refused, and a node that dies is shown with its last words.
    again = start("-m", "ringleader", "up", "--dir", "c", env=env)
    _, error = again.communicate(timeout=30)
    assert again.returncode == 2
    assert b"runs already, under process %d" % process.pid in error
    os.kill(seen["nodes"][1]["pid"], signal.SIGKILL)
    for line in process.stdout:
        lines.append(line.decode())
        if "It stays down" in lines[-1]:
            break
    assert "us-1 ended by signal SIGKILL" in "".join(lines)
    assert run("status", "--dir", "c").exit_code == 0
    result = run("status", "--dir", "c", "--check")
    assert result.exit_code == 1
    assert "no answer" in result.stdout
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 0, error
    assert b"Stopped." in out
    assert not error
    assert (tmp_path / "c" / "logs" / "eu-1.log").read_text() == "stopped well\n"
    with pytest.raises(ProcessLookupError):
        os.kill(seen["nodes"][0]["pid"], 0)


def test_a_node_that_fails_at_the_start_ends_up(
    start: Callable[..., Any], base_port: int, fakes: None
) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": f"{FAKE}:{Path(local.__file__).parents[2]}",
        "FAKE_NODE_FAILS": "us-1",
    }
    process = start("-m", "ringleader", "up", "--dir", "c", "--base-port", str(base_port), env=env)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"us-1 ended with exit code 3" in out
    assert b"the reason why" in out


def test_taken_ports_are_named_before_anything_starts(
    tmp_path: Path, base_port: int, refused: Refused
) -> None:
    local.prepared(tmp_path / "c", local.Options(base_port=base_port))
    (tmp_path / "c" / "up.lock").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base_port + 101))
        taken.listen()
        words = refused("up", "--dir", "c")
    assert f"127.0.0.1:{base_port + 101} (us-1's peer_port): Address already in use" in words
    assert "--base-port" in words


def test_nodes_end_when_up_is_killed(
    start: Callable[..., Any], base_port: int, tmp_path: Path, fakes: None
) -> None:
    # Wide enough for a table whose figures take more room on a slow machine.
    path = f"{FAKE}:{Path(local.__file__).parents[2]}"
    env = {**os.environ, "PYTHONPATH": path, "COLUMNS": "160"}
    process = start("-m", "ringleader", "up", "--dir", "c", "--base-port", str(base_port), env=env)
    for line in process.stdout:
        if b"It serves" in line:
            break
    pids = local.running(tmp_path / "c")
    assert len(pids) == 3
    process.kill()
    process.wait()
    for _ in range(200):
        if not local.running(tmp_path / "c"):
            return
        time.sleep(0.05)
    pytest.fail("nodes are left")


def test_nodes_are_restarted_and_the_stubborn_killed(
    cluster: tuple[local.LocalCluster, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, directory = cluster
    first = running.pids()["us-1"]
    with pytest.raises(LocalClusterError, match=f"runs already, as process {first}"):
        running.start_node("us-1")
    running.signal("us-1", signal.SIGKILL)
    running.processes["us-1"].wait(10)
    assert running.ended() == {"us-1": -signal.SIGKILL}
    monkeypatch.setenv("FAKE_NODE_STUBBORN", "us-1")
    running.start_node("us-1")
    config = running.config
    for _ in range(200):
        if is_serving(asyncio.run(watch(config))):
            break
        time.sleep(0.05)
    assert running.stop(5.0) == ["us-1"]
    assert local.running(directory) == {}
    assert running.stop() == []


def test_serve_checks_before_it_starts(
    tmp_path: Path, refused: Refused, run: Run, fakes: None
) -> None:
    local.prepared(tmp_path / "c", local.Options())
    file = str(tmp_path / "c" / "cluster.toml")
    assert "there is no node 'eu1' (did you mean 'eu-1'?)" in refused(
        "serve", "--config", file, "--node", "eu1"
    )
    assert "No such file" in refused("serve", "--config", "none.toml", "--node", "a")
    result = run("serve", "--config", file, "--node", "eu-1", "--check")
    assert result.exit_code == 0
    assert "eu-1 holds 6 of them" in result.stdout
    assert not (tmp_path / "c" / "data").exists()
    config = ClusterConfig.load(file)
    config.check_identity(config.directory("eu-1"), "eu-1")
    assert "the node was 'eu-1', and is 'us-1'" in refused(
        *("serve", "--config", file, "--node", "us-1", "--check"),
        *("--dir", str(config.directory("eu-1"))),
    )
    with open(file, "a") as added:
        added.write('[tls]\ncert = "cluster.toml"\nkey = "cluster.toml"\nclients = true\n')
    assert "cannot be used" in refused("serve", "--config", file, "--node", "eu-1", "--check")


def test_open_files_are_allowed_for(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import resource

    from ringleader.cli.serve import _allow_open_files

    limits, made = [(1024, 5000)], []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[0])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: made.append(pair))
    assert _allow_open_files(1000) == 1000
    assert _allow_open_files(3000) == 3000
    assert made == [(3000, 5000)]
    assert _allow_open_files(9000) == 5000
    assert made[1:] == [(5000, 5000)]
    limits[0] = (1024, resource.RLIM_INFINITY)
    assert _allow_open_files(9000) == 9000
    assert made[2:] == [(9000, resource.RLIM_INFINITY)]
    assert capsys.readouterr().err == ""


def test_a_low_limit_of_files_lowers_that_of_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    from ringleader.cli import serve

    config = local.prepared(tmp_path / "c", local.Options())
    monkeypatch.setattr(serve, "_allow_open_files", lambda wanted: wanted)
    assert serve._with_files(config) is config
    monkeypatch.setattr(serve, "_allow_open_files", lambda wanted: 1000)
    others = serve.OTHER_FILES + 4 * len(config.nodes)
    assert serve._with_files(config).limits.clients_max == 1000 - others
    assert "so that it serves 732 clients, not the 10000" in capsys.readouterr().err
    monkeypatch.setattr(serve, "_allow_open_files", lambda wanted: 50)
    assert serve._with_files(config).limits.clients_max == 1


def test_status_of_nothing(run: Run, refused: Refused, tmp_path: Path, base_port: int) -> None:
    assert "makes a cluster" in refused("status", "--dir", "none")
    assert "Give --dir or --config" in refused("status")
    local.prepared(tmp_path / "c", local.Options(base_port=base_port))
    result = run("status", "--config", "c/cluster.toml", "--json")
    assert result.exit_code == 0
    seen = json.loads(result.stdout)
    assert set(seen) == {"nodes", "shards"}
    assert [node["alive"] for node in seen["nodes"]] == [False] * 3
    assert [shard["leader"] for shard in seen["shards"]] == [None] * 6


def test_answers_are_put_together(tmp_path: Path) -> None:
    config = local.prepared(tmp_path, local.Options(shards=1))

    def says(role: str, term: int, commit: int, **more: Any) -> Any:
        shard = {"id": 0, "role": role, "term": term, "commit": commit, "applied": commit, **more}
        return {"ready": True, "shards": [shard]}

    answers = {
        "eu-1": says("leader", 3, 9),  # deposed, and does not know
        "us-1": says("leader", 4, 12, lag={"eu-1": 3, "ap-1": 1}),
        "ap-1": "no answer within 2 s",
    }
    shard = merged(config, answers)["shards"][0]
    assert (shard["leader"], shard["term"], shard["commit"]) == ("us-1", 4, 12)
    assert shard["lag"] == {"eu-1": 3, "ap-1": 1}
    answers["us-1"] = says("follower", 3, 11)
    answers["eu-1"] = says("follower", 3, 9)
    shard = merged(config, answers)["shards"][0]
    assert (shard["leader"], shard["commit"], shard["lag"]) == (None, 11, {"eu-1": 2})
    assert merged(config, answers)["nodes"][2]["trouble"] == "no answer within 2 s"


def test_reads_are_timed_in_each_datacenter(
    cluster: tuple[local.LocalCluster, Path],
) -> None:
    from ringleader.cli.up import Probes, _view

    running, _ = cluster

    async def use() -> None:
        probes = Probes(running.config)
        await probes.run()
        assert all(stale and strong for stale, strong in probes.times.values())
        running.signal("us-1", signal.SIGKILL)
        running.processes["us-1"].wait(10)
        await probes.run()  # on connections that are lost
        assert probes.times["us"] == (None, None)
        assert None not in probes.times["ap"]
        seen = await watch(running.config)
        out = console()
        with out.capture() as captured:
            out.print(_view(running, seen, probes))
        assert "no answer" in captured.get()
        assert "0 of 1" in captured.get()
        await probes.close()

    asyncio.run(use())


def test_another_node_at_the_port_is_told(
    cluster: tuple[local.LocalCluster, Path],
) -> None:
    _, directory = cluster
    text = (directory / "cluster.toml").read_text().replace('"us-1"', '"us-9"')
    moved = directory / "moved.toml"
    moved.write_text(text)
    seen = asyncio.run(watch(ClusterConfig.load(moved)))
    assert "is another node, 'us-1'" in seen["nodes"][1]["trouble"]


# --- the load -----------------------------------------------------------------------------------


def test_bench_loads_and_counts(
    cluster: tuple[local.LocalCluster, Path], run: Run, fakes: None
) -> None:
    _, directory = cluster
    result = run(
        "bench", "--dir", str(directory), "--requests", "3000", "--clients", "7",
        "--pipeline", "3", "--processes", "2", "--mix", "set=1,get=2,readonly=1", "--fill",
        "--keys", "50", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["errors"] == {}
    assert 3000 <= told["kinds"]["all"]["count"] <= 3000 + 7 * 3
    assert set(told["kinds"]) == {"set", "get", "readonly", "all"}
    everything = told["kinds"]["all"]
    assert sum(count for _, count in everything["histogram"]) == everything["count"]
    assert everything["p50_ms"] <= everything["p99.9_ms"] <= everything["max_ms"]
    assert "password" not in told["plan"]


def test_bench_with_a_rate_and_straight_to_leaders(
    cluster: tuple[local.LocalCluster, Path], run: Run, fakes: None
) -> None:
    running, _ = cluster
    port = running.config.nodes[0].port
    result = run(
        "bench", "--at", f"127.0.0.1:{port}", "--cluster", "--seconds", "0.5", "--rate", "200",
        "--clients", "4", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert 50 <= json.loads(result.stdout)["kinds"]["all"]["count"] <= 110
    result = run("bench", "--at", f"127.0.0.1:{port}", "--requests", "10")
    assert "p99.9" in result.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--mix", "put=1"], "'put' is none of set, get, readonly"),
        (["--mix", "set=-1"], "'-1' is no weight"),
        (["--mix", "set=0"], "all weights are 0"),
        (["--at", "host"], "write HOST:PORT"),
        (["--at", "a:1", "--dir", "d"], "Give one of"),
        (["--password-env", "RINGLEADER_NONE"], "it is not set"),
        (["--config", "none.toml"], "No such file"),
    ],
)
def test_what_bench_refuses(refused: Refused, args: list[str], words: str) -> None:
    assert words in refused("bench", *args)


@pytest.mark.parametrize("command", [["bench"], ["up"], ["status", "--dir", "c"]])
def test_without_their_packages(
    refused: Refused,
    without: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
) -> None:
    """They say which extra brings them, before anything is started."""
    for module in ("cli.bench", "cli.load", "cli.resp", "cli.up", "cli.status", "node.watch"):
        package, _, name = f"ringleader.{module}".rpartition(".")
        monkeypatch.delitem(sys.modules, f"{package}.{name}", raising=False)
        if package in sys.modules:
            monkeypatch.delattr(sys.modules[package], name, raising=False)
    for package in ("hiredis", "msgspec"):
        without(package)
    assert 'pip install "ringleader[node]"' in refused(*command)


def test_bench_needs_somebody(refused: Refused, base_port: int) -> None:
    assert "no load can be made" in refused("bench", "--at", f"127.0.0.1:{base_port}")


def test_a_stall_is_seen_by_every_command_that_was_due(tmp_path: Path) -> None:
    """A server that says nothing for a while: with a rate, the wait of all is counted."""

    class Stalling(asyncio.Protocol):
        chunks = 0

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            loop = asyncio.get_running_loop()
            Stalling.chunks += 1
            if Stalling.chunks == 2:  # after the greeting
                loop.call_later(0.5, self.transport.write, b"+OK\r\n")
            else:
                self.transport.write(b"+OK\r\n")

    async def timed(rate: float) -> Histogram:
        Stalling.chunks = 0
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Stalling, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        load = Load(Plan(nodes=[address], mix={"set": 1}, requests=100, rate=rate, seconds=0))
        await load.ready()
        result = await load.run(lambda said: None)
        server.close()
        assert not result.errors
        return result.histograms["set"]

    assert asyncio.run(timed(0)).quantile_us(0.9) < 100_000
    late = asyncio.run(timed(100))
    assert late.count == 100
    assert late.quantile_us(0.5) < 100_000
    assert late.quantile_us(0.6) > 50_000  # 50 were due in the half second
    assert 400_000 < late.quantile_us(0.99) < 700_000


@pytest.mark.parametrize("asked", [{}, {"password": "x"}, {"fill": True, "fill_keys": 5}])
def test_a_bench_that_may_do_nothing_fails_at_once(asked: dict[str, Any]) -> None:
    class Strict(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            kind = b"-WRONGPASS no" if b"AUTH" in data else b"-NOAUTH Authentication required."
            self.transport.write((kind + b"\r\n") * data.count(b"*"))

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Strict, "127.0.0.1", 0)
        load = Load(Plan(nodes=[server.sockets[0].getsockname()], **asked))
        with pytest.raises(RespError, match="WRONGPASS" if "password" in asked else "NOAUTH"):
            await load.ready()
        server.close()

    asyncio.run(main())


def test_commands_that_are_refused_are_not_done() -> None:
    class Half(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            if b"PING" in data:
                self.transport.write(b"+PONG\r\n")
            else:
                self.transport.write(b"+OK\r\n-TRYAGAIN later\r\n")

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Half, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        load = Load(Plan(nodes=[address], mix={"set": 1}, pipeline=2, requests=100, seconds=0))
        await load.ready()
        result = await load.run(lambda said: None)
        server.close()
        assert result.errors == {"TRYAGAIN": 50}
        assert result.histograms["set"].count == 50

    asyncio.run(main())


def test_pipelines_go_to_who_has_the_keys() -> None:
    from ringleader.hashing import crc16_xmodem

    one, two = ("one", 1), ("two", 2)
    owners = [[one, two] if slot % 2 else [two] for slot in range(16384)]
    plan = Plan(nodes=[one], pipeline=4, mix={"set": 1, "readonly": 1}, keys=1000)
    for kind, address, data in prepared(plan, owners):
        keys = [part for part in data.split(b"\r\n") if part.startswith(b"bench:")]
        assert len(keys) == 4
        for key in keys:
            there = owners[crc16_xmodem(key) % 16384]
            assert address in (there[:1] if kind == "set" else there)
    assert key_of(7) == b"bench:000000000007"


def test_who_owns_what_is_asked_of_who_answers(
    cluster: tuple[local.LocalCluster, Path], base_port: int
) -> None:
    running, _ = cluster
    node = running.config.nodes[1]
    nodes = [("127.0.0.1", base_port + 50), (node.host, node.port)]
    owners = asyncio.run(owners_of(Plan(nodes=nodes)))
    assert owners == [[(node.host, node.port)]] * 16384
    with pytest.raises(OSError, match="no node tells"):
        asyncio.run(owners_of(Plan(nodes=nodes[:1])))


@given(st.lists(st.tuples(st.integers(0, 2**37), st.integers(1, 5)), min_size=1, max_size=40))
def test_quantiles_are_right_to_a_64th(values: list[tuple[int, int]]) -> None:
    histogram, other = Histogram(), Histogram()
    for at, (us, count) in enumerate(values):
        (histogram if at % 2 else other).add(us, count)
    histogram.merge(Histogram.from_list(json.loads(json.dumps(other.to_list()))))
    every = sorted(us for us, count in values for _ in range(count))
    assert histogram.count == len(every)
    assert histogram.total_us == sum(every)
    for share in (0.0, 0.5, 0.9, 0.999, 1.0):
        exact = every[max(0, -(-int(share * 1000) * len(every) // 1000) - 1)]
        if exact < 2**36:
            assert exact <= histogram.quantile_us(share) <= exact * (1 + 1 / 64) + 1
    assert histogram.quantile_us(1.0) == every[-1] or every[-1] >= 2**36


def test_buckets_follow_each_other() -> None:
    histogram = Histogram()
    last = -1
    for us in range(5000):
        histogram.add(us)
        at = max(i for i, count in enumerate(histogram.counts) if count)
        assert at in {last, last + 1}
        assert us <= upper_us(at)
        assert at == 0 or us > upper_us(at - 1)
        last = at


def test_children_run_this_ringleader() -> None:
    from ringleader.node import child

    found = subprocess.run(
        [sys.executable, "-c", "import ringleader; print(ringleader.__file__)"],
        env=child.environment(), capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    import ringleader

    assert Path(found.stdout.strip()) == Path(ringleader.__file__).resolve()
