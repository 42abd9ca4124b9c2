"""kill -9 at random moments: what was acknowledged is there, and the history is linearizable."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.history import Load
from cluster.processes import Cluster

if TYPE_CHECKING:
    from cluster.conftest import Asked


def test_kill_9_under_load(tmp_path: Path, consensus: str, asked: Asked) -> None:
    rng = random.Random(asked.seed)
    with Cluster(tmp_path / "c", settings={"consensus": consensus}) as cluster:
        cluster.start()
        names = list(cluster.nodes)
        with Load(cluster, asked.seed) as load:
            for cycle in range(asked.kills):
                load.wait_for_progress()
                time.sleep(rng.random() * 0.5)
                # One, or the leader of something, or all of them.
                kind = cycle % 3
                if kind == 0:
                    victims = [rng.choice(names)]
                elif kind == 1:
                    victims = [rng.choice(sorted(cluster.leaders().values()))]
                else:
                    victims = names
                cluster.kill(*victims)
                time.sleep(rng.random())
                cluster.launch(*victims)
                cluster.wait_ready()
            load.wait_for_progress()
        load.verify()
        print(f"{load.tally}; the longest pause was {load.longest_pause():.2f} s")


def test_the_loss_of_a_leader_and_then_of_all(tmp_path: Path, consensus: str) -> None:
    """The others go on without it, and without being told; and what was written stays."""
    with Cluster(tmp_path / "c", settings={"consensus": consensus}) as cluster:
        cluster.start()
        keys = [f"k{number}" for number in range(500)]
        with cluster.connect("eu-2") as connection:
            connection.send(*(("SET", key, f"value of {key}") for key in keys))
            assert [connection.reply() for _ in keys] == [b"OK"] * len(keys)
        cluster.call("eu-1", "SET", "k", "before")
        leader = cluster.leader("k")
        other = next(name for name in cluster.nodes if name != leader)
        cluster.kill(leader)
        until = time.monotonic() + 30
        while True:
            with cluster.connect(other) as connection:
                reply = connection.call("SET", "k", "after")
            if reply == b"OK":
                break
            assert time.monotonic() < until, reply
            time.sleep(0.02)
        assert cluster.call(other, "GET", "k") == b"after"
        assert cluster.leader("k", other) != leader
        cluster.kill()
        cluster.start()
        assert cluster.call(leader, "GET", "k") == b"after"
        with cluster.connect("eu-3") as connection:
            connection.send(*(("GET", key) for key in keys))
            assert [connection.reply() for _ in keys] == [
                f"value of {key}".encode() for key in keys
            ]
