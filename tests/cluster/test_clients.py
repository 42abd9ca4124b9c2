"""The clients that people have: redis-py, its RedisCluster and Lock, redis-cli, redis-benchmark."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from cluster.processes import Cluster, wait_until
from redis.cluster import LoadBalancingStrategy, RedisCluster
from redis.exceptions import LockError, LockNotOwnedError, ResponseError, WatchError

NODES = ["eu-1", "eu-2", "eu-3"]
needs_cli = pytest.mark.skipif(
    shutil.which("redis-cli") is None,
    reason="redis-cli is not installed (Debian: apt-get install redis-tools)",
)


def client_of(cluster: Cluster, name: str, **options: Any) -> redis.Redis:
    node = cluster.nodes[name]
    return redis.Redis(node.host, node.port, **options)


@pytest.fixture
def prefix() -> str:
    """Keys of one test, which no other uses."""
    return uuid.uuid4().hex[:8]


@pytest.fixture(params=NODES)
def client(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """redis-py on each node in turn."""
    with client_of(cluster, request.param) as connected:
        yield connected


def cluster_client(cluster: Cluster, name: str, **options: Any) -> closing[RedisCluster]:
    node = cluster.nodes[name]
    return closing(RedisCluster(host=node.host, port=node.port, **options))


#: For a client that reads replicas, too.
FROM_ALL = {"load_balancing_strategy": LoadBalancingStrategy.ROUND_ROBIN}


@pytest.fixture
def everywhere(cluster: Cluster) -> Iterator[RedisCluster]:
    with cluster_client(cluster, "eu-2") as connected:
        yield connected


class TestRedisPy:
    def test_strings(self, client: redis.Redis, prefix: str) -> None:
        keys = [f"{prefix}:{number}" for number in range(20)]
        for key in keys:
            assert client.set(key, f"v{key}")
        assert [client.get(key) for key in keys] == [f"v{key}".encode() for key in keys]
        assert client.get(f"{prefix}:none") is None
        assert client.append(keys[0], "!") == len(f"v{keys[0]}!")
        assert client.strlen(keys[0]) == len(f"v{keys[0]}!")
        assert client.delete(*keys) == len(keys)
        assert client.exists(*keys) == 0

    def test_conditions(self, client: redis.Redis, prefix: str) -> None:
        key = f"{prefix}:k"
        assert client.set(key, "1", nx=True) is True
        assert client.set(key, "2", nx=True) is None
        assert client.set(key, "2", xx=True) is True
        assert client.set(key, "3", get=True) == b"2"
        assert client.getdel(key) == b"3"
        assert client.set(key, "4", xx=True) is None

    def test_numbers(self, client: redis.Redis, prefix: str) -> None:
        key = f"{prefix}:n"
        assert [client.incr(key), client.incrby(key, 10), client.decr(key)] == [1, 11, 10]
        assert float(client.incrbyfloat(key, 0.5)) == 10.5
        client.set(key, "x")
        with pytest.raises(ResponseError, match="not an integer"):
            client.incr(key)

    def test_expiry(self, client: redis.Redis, prefix: str) -> None:
        key = f"{prefix}:e"
        client.set(key, "v", px=60_000)
        assert 0 < client.pttl(key) <= 60_000
        assert client.get(key) == b"v"
        assert client.pexpire(key, 300)
        until = time.monotonic() + 10
        while client.get(key) is not None:
            assert time.monotonic() < until, "it never expires"
            time.sleep(0.02)
        assert client.ttl(key) == -2
        client.set(key, "v", ex=100)
        assert client.persist(key)
        assert client.ttl(key) == -1

    def test_many_keys_of_many_shards(self, client: redis.Redis, prefix: str) -> None:
        pairs = {f"{prefix}:{number}": str(number) for number in range(100)}
        assert client.mset(pairs)
        assert client.mget(list(pairs)) == [value.encode() for value in pairs.values()]
        assert client.delete(*pairs) == len(pairs)

    def test_hashes(self, client: redis.Redis, prefix: str) -> None:
        key = f"{prefix}:h"
        assert client.hset(key, mapping={"a": "1", "b": "2"}) == 2
        assert client.hgetall(key) == {b"a": b"1", b"b": b"2"}
        assert client.hincrby(key, "a", 4) == 5
        assert client.hdel(key, "b") == 1
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            client.get(key)

    def test_a_pipeline(self, client: redis.Redis, prefix: str) -> None:
        with client.pipeline(transaction=False) as pipeline:
            for number in range(200):
                pipeline.set(f"{prefix}:{number}", number)
                pipeline.get(f"{prefix}:{number}")
            answers = pipeline.execute()
        assert answers[1::2] == [b"%d" % number for number in range(200)]

    def test_a_transaction(self, client: redis.Redis, prefix: str) -> None:
        with client.pipeline() as pipeline:
            pipeline.set(f"{{{prefix}}}a", 1).incr(f"{{{prefix}}}a").get(f"{{{prefix}}}a")
            assert pipeline.execute() == [True, 2, b"2"]

    def test_watch(self, client: redis.Redis, prefix: str) -> None:
        key = f"{prefix}:w"
        client.set(key, "1")
        with client.pipeline() as pipeline:
            pipeline.watch(key)
            client.set(key, "2")
            pipeline.multi()
            pipeline.set(key, "3")
            with pytest.raises(WatchError):
                pipeline.execute()
        assert client.get(key) == b"2"

    def test_scan(self, client: redis.Redis, prefix: str) -> None:
        keys = {f"{prefix}:{number}".encode() for number in range(50)}
        client.mset(dict.fromkeys(keys, "v"))
        assert set(client.scan_iter(match=f"{prefix}:*", count=10)) == keys
        assert set(client.keys(f"{prefix}:*")) == keys

    def test_info_and_protocol_3(self, cluster: Cluster, prefix: str) -> None:
        with client_of(cluster, "eu-1", protocol=3, decode_responses=True) as client:
            assert client.ping()
            client.hset(prefix, mapping={"a": "1"})
            assert client.hgetall(prefix) == {"a": "1"}
            assert client.info()
            assert client.info("server")["redis_version"]

    def test_what_there_is_not(self, client: redis.Redis) -> None:
        with pytest.raises(ResponseError, match=r"(?i)unknown command"):
            client.execute_command("LPUSH", "k", "v")

    def test_asyncio(self, cluster: Cluster, prefix: str) -> None:
        node = cluster.nodes["eu-3"]

        async def work() -> list[Any]:
            async with redis.asyncio.Redis(host=node.host, port=node.port) as client:
                await asyncio.gather(*(client.set(f"{prefix}:{n}", n) for n in range(50)))
                return await asyncio.gather(*(client.get(f"{prefix}:{n}") for n in range(50)))

        assert asyncio.run(work()) == [b"%d" % number for number in range(50)]


class TestRedisCluster:
    def test_keys_of_all_slots(self, everywhere: RedisCluster, prefix: str) -> None:
        for number in range(200):
            assert everywhere.set(f"{prefix}:{number}", number)
        assert [everywhere.get(f"{prefix}:{number}") for number in range(200)] == [
            b"%d" % number for number in range(200)
        ]

    def test_it_knows_the_leaders(self, cluster: Cluster, everywhere: RedisCluster) -> None:
        for key in ("a", "b", "c", "d"):
            node = everywhere.get_node_from_key(key)
            assert node is not None
            assert node.port == cluster.nodes[cluster.leader(key)].port

    def test_a_pipeline(self, everywhere: RedisCluster, prefix: str) -> None:
        with everywhere.pipeline() as pipeline:
            for number in range(100):
                pipeline.incr(f"{prefix}:{number}")
            assert pipeline.execute() == [1] * 100

    def test_replicas_are_read(self, cluster: Cluster, prefix: str) -> None:
        with cluster_client(cluster, "eu-1", **FROM_ALL) as client:
            client.set(prefix, "v")
            until = time.monotonic() + 20
            seen = 0
            while seen < 10:
                seen = seen + 1 if client.get(prefix) == b"v" else 0
                assert time.monotonic() < until, "the replicas never have it"


def test_replicas_are_read_in_the_own_datacenter(tmp_path: Path, prefix: str) -> None:
    """A cluster client takes all nodes after the leader for equally good: there are only near
    ones."""
    settings = {"replicas": {"eu": 2, "us": 2}, "leaders": ["eu"]}
    with Cluster(tmp_path / "c", dcs={"eu": 2, "us": 2}, settings=settings) as cluster:
        cluster.start()

        def far_commands() -> list[int]:
            found = []
            for name in ("us-1", "us-2"):
                with client_of(cluster, name) as client:
                    found.append(client.info("stats")["total_commands_processed"])
            return found

        keys = [f"{prefix}{number}" for number in range(20)]
        wait_until(
            lambda: all(cluster.leader(key).startswith("eu") for key in keys), "eu leads all"
        )
        with cluster_client(cluster, "eu-1", **FROM_ALL) as client:
            before = far_commands()
            for key in keys:
                client.set(key, "v")
            for _ in range(10):
                for key in keys:
                    client.get(key)
            own = [after - earlier for after, earlier in zip(far_commands(), before, strict=True)]
        assert max(own) <= 10, "of 220 commands"


class TestLock:
    def test_it_excludes(self, client: redis.Redis, cluster: Cluster, prefix: str) -> None:
        with client_of(cluster, "eu-2") as other:
            lock = client.lock(prefix, timeout=20)
            assert lock.acquire()
            assert other.lock(prefix, timeout=20).acquire(blocking=False) is False
            assert lock.owned()
            lock.release()
            with other.lock(prefix, timeout=20):
                assert client.lock(prefix).locked()

    def test_extend_and_reacquire(self, client: redis.Redis, prefix: str) -> None:
        lock = client.lock(prefix, timeout=10)
        assert lock.acquire()
        lock.extend(20)
        assert client.pttl(prefix) > 20_000
        lock.extend(5, replace_ttl=True)
        assert client.pttl(prefix) <= 5_000
        lock.reacquire()
        assert 5_000 < client.pttl(prefix) <= 10_000
        lock.release()

    def test_it_runs_out(self, client: redis.Redis, cluster: Cluster, prefix: str) -> None:
        lock = client.lock(prefix, timeout=0.2)
        assert lock.acquire()
        with client_of(cluster, "eu-1") as other:
            taken = other.lock(prefix, timeout=20)
            assert taken.acquire(blocking_timeout=20)
            with pytest.raises(LockNotOwnedError):
                lock.release()
            assert taken.owned()
            taken.release()
            with pytest.raises(LockError):
                taken.release()

    def test_a_count_under_a_lock(self, cluster: Cluster, prefix: str) -> None:
        """Read, add, write, by several at once: only the lock makes that right."""
        workers, rounds = 4, 10
        failures: list[BaseException] = []

        def work(name: str) -> None:
            try:
                with client_of(cluster, name) as client:
                    for _ in range(rounds):
                        with client.lock(f"{prefix}:lock", timeout=60, sleep=0.005):
                            value = int(client.get(prefix) or 0)
                            client.set(prefix, value + 1)
            except BaseException as error:
                failures.append(error)

        threads = [
            threading.Thread(target=work, args=(NODES[n % len(NODES)],)) for n in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert int(cluster.call("eu-1", "GET", prefix)) == workers * rounds


@needs_cli
class TestRedisTools:
    def run(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @pytest.mark.parametrize("name", NODES)
    def test_redis_cli(self, cluster: Cluster, prefix: str, name: str) -> None:
        cli = ["redis-cli", "-c", "-p", str(cluster.nodes[name].port)]
        for number in range(5):
            assert self.run(*cli, "SET", f"{prefix}:{number}", str(number)).strip() == "OK"
        for number in range(5):
            assert self.run(*cli, "GET", f"{prefix}:{number}").strip() == str(number)
        assert "cluster_state:ok" in self.run(*cli, "CLUSTER", "INFO")

    @pytest.mark.parametrize("extra", [["--cluster"], [], ["-3"]], ids=["cluster", "one", "resp3"])
    def test_redis_benchmark(self, cluster: Cluster, extra: list[str]) -> None:
        port = str(cluster.nodes["eu-1"].port)
        said = self.run(
            *("redis-benchmark", "-p", port, "-n", "2000", "-c", "10", "-P", "4", "-r", "1000"),
            *("-t", "set,get,incr,mset" if "--cluster" not in extra else "set,get,incr", "--csv"),
            *extra,
        )
        rates = dict(re.findall(r'^"(\w+)[^"]*","([\d.]+)"', said, re.MULTILINE))
        assert {"SET", "GET", "INCR"} <= set(rates)
        assert all(float(rate) > 0 for rate in rates.values())
