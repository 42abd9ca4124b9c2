"""The cluster file: what is right reads the same again; what is wrong is named, with what to do."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ringleader.errors import ClusterFileError, IdentityError
from ringleader.node.config import ClusterConfig, advisable_election_ms


def cluster(dcs: str = "eu us ap", per_dc: int = 3, **settings: Any) -> dict[str, Any]:
    names = dcs.split()
    return {
        "name": "orders",
        "shards": 24,
        "replicas": 3,
        "nodes": [
            {
                "name": f"{dc}-{number}",
                "dc": dc,
                "zone": f"{dc}-{'abc'[number % 3]}",
                "host": "127.0.0.1",
                "port": 7001 + per_dc * at + number,
                "peer_port": 7101 + per_dc * at + number,
                "http_port": 7201 + per_dc * at + number,
            }
            for at, dc in enumerate(names)
            for number in range(per_dc)
        ],
        **settings,
    }


def refused(given: dict[str, Any]) -> str:
    with pytest.raises(ClusterFileError) as caught:
        ClusterConfig.parse(given, path="cluster.toml")
    text = str(caught.value)
    assert all(line.startswith("cluster.toml: ") for line in text.splitlines())
    return text


def test_the_least_file(tmp_path: Path) -> None:
    path = tmp_path / "cluster.toml"
    path.write_text('name = "x"\nshards = 4\nreplicas = 1\n[[nodes]]\nname = "a"\nhost = "::1"\n')
    config = ClusterConfig.load(path)
    node = config.node("a")
    assert (node.port, node.peer_port, node.http_port, node.weight) == (6379, 16379, 26379, 1.0)
    assert (config.consensus, config.leaders, config.password) == ("raft", (), "")
    assert (config.tick_ms, config.heartbeat_ms, config.election_ms) == (10, 50, 150)
    assert config.directory("a") == tmp_path / "data" / "a"
    assert [len(shard.slots) for shard in config.layout.shards] == [4096] * 4
    with pytest.raises(ClusterFileError, match=r"no node 'b'.*the nodes are a"):
        config.node("b")


def test_it_reads_again_what_it_writes(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text("pem")
    given = cluster(
        consensus="paxos",
        replicas={"eu": 2, "us": 2, "ap": 1},
        leaders=["eu", "us"],
        password_file="secret",
        timing={
            "election_ms": 900,
            "heartbeat_ms": "auto",
            "readonly_bound_ms": 77,
            "settle_ms": 99,
        },
        wan={"eu": {"us": 80, "ap": 180}, "us": {"ap": 150.5}},
        tls={"cert": "cert", "key": "key", "ca": "ca", "clients": True, "peers": True},
        limits={"clients_max": 5},
        log={"level": "debug", "format": "json"},
    )
    given["nodes"][0] |= {"weight": 2.5, "bind": "0.0.0.0"}
    path = tmp_path / "cluster.toml"
    config = ClusterConfig.parse(given, path=str(path))
    assert config.password == "hush"
    assert "hush" not in repr(config) + config.to_toml()
    path.write_text(config.to_toml())
    again = ClusterConfig.load(path)
    assert again == config
    assert again.to_toml() == config.to_toml()
    assert again.wan[frozenset(("us", "ap"))] == 150.5
    assert again.identity() == config.identity()


def test_passwords_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    given = cluster(password_env="RINGLEADER_TEST_PASSWORD")
    assert "is not set" in refused(given)
    monkeypatch.setenv("RINGLEADER_TEST_PASSWORD", "hush")
    assert ClusterConfig.parse(given).password == "hush"
    monkeypatch.setenv("RINGLEADER_TEST_PASSWORD", "")
    assert "empty" in refused(given)
    monkeypatch.delenv("RINGLEADER_TEST_PASSWORD")
    assert ClusterConfig.parse(given, secrets=False).password == ""


Change = Callable[[dict[str, Any]], Any]


def put(**values: Any) -> Change:
    return lambda given: given.update(values)


def node(**values: Any) -> Change:
    return lambda given: given["nodes"][1].update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda given: given.pop("name"), ["name: is missing", "orders"]),
        (lambda given: given.pop("shards"), ["shards: is missing", "cannot be changed"]),
        (lambda given: given.pop("replicas"), ["replicas: is missing"]),
        (lambda given: given.pop("nodes"), ["nodes: is missing", "[[nodes]]"]),
        (put(shard=3), ["shard: there is no such key", "did you mean 'shards'"]),
        (put(zzz=3), ["zzz: there is no such key", "known are name"]),
        (put(name="a b"), ["name: 'a b' is not possible"]),
        (put(name=3), ["name: must be a text in quotes, not a number"]),
        (put(shards="4"), ["shards: must be a whole number, not a text"]),
        (put(shards=True), ["shards: must be a whole number, not true or false"]),
        (put(shards=0), ["shards: 0 is not in 1 ... 4096"]),
        (put(consensus="rafft"), ["consensus: 'rafft' is none of raft, paxos", "'raft'"]),
        (put(replicas=10), ["replicas: ", "there are only 9", "ask for fewer"]),
        (put(replicas=0), ["replicas: 0 is not in"]),
        (put(replicas=[1]), ["replicas: must be a number or a table, not a list"]),
        (put(replicas={}), ["replicas: names no datacenter"]),
        (put(replicas={"eu": 4}), ["replicas: ", "4 in 'eu'", "only 3"]),
        (put(replicas={"eux": 1}), ["replicas.eux: no node is there", "'eu'"]),
        (put(leaders=["eu", "mars"]), ["leaders: 'mars' has no node", "eu, us, ap"]),
        (put(leaders=["eu", "eu"]), ["leaders: 'eu' stands twice"]),
        (put(leaders="eu"), ["leaders: must be a list"]),
        (put(password="x"), ["password: stands in no cluster file", "password_file"]),
        (put(password_file="none"), ["password_file: ", "No such file"]),
        (put(timing={"election": 5}), ["timing.election: there is no such key", "election_ms"]),
        (put(timing={"election_ms": "fast"}), ["timing.election_ms: must be a whole number"]),
        (
            put(timing={"election_ms": 150, "heartbeat_ms": 100}),
            ["timing.heartbeat_ms: 100 ms outlasts a leader's lease"],
        ),
        (
            put(timing={"tick_ms": 1, "heartbeat_ms": 1, "election_ms": 300_000}),
            ["timing.election_ms: 300000 is 300000 ticks: raise tick_ms"],
        ),
        (put(wan={"eu": {"us": 80}}), ["wan.eu.ap: is missing", "wan.us.ap: is missing"]),
        (put(wan={"eu": {"mars": 80}}), ["wan.eu.mars: 'mars' has no node"]),
        (put(wan={"eu": {"eu": 80}}), ["wan.eu.eu: is within one datacenter"]),
        (put(wan={"eu": {"us": 1}, "us": {"eu": 2}}), ["wan.us.eu: contradicts the 1"]),
        (put(wan={"eu": 3}), ["wan.eu: must be a table, not a number"]),
        (put(wan={"eu": {"us": float("nan")}}), ["wan.eu.us: nan is not in"]),
        (put(tls={"peers": True}), ["tls.cert: is missing", "tls.ca: is missing"]),
        (put(tls={"cert": "x"}), ["tls: files are named", "tls.cert: ", "No such file"]),
        (put(tls=[]), ["tls: must be a table, not a list"]),
        (put(limits={"client_max": 1}), ["limits.client_max: there is no", "'clients_max'"]),
        (put(limits={"value_bytes_max": 2**26}), ["limits.command_bytes_max: ", "raise it"]),
        (put(limits={"value_bytes_max": 2**26 + 1}), ["limits.value_bytes_max: ", "is not in"]),
        (put(limits={"command_args_max": 2**20 + 1}), ["limits.command_args_max: ", "is not in"]),
        (put(limits={"command_bytes_max": 2**27 + 1}), ["limits.command_bytes_max: ", "is not in"]),
        (put(limits={"clients_bytes_max": 2**26}), ["limits.clients_bytes_max: ", "raise it"]),
        (put(log={"level": "loud"}), ["log.level: 'loud' is none of"]),
        (put(nodes=[]), ["nodes: must be [[nodes]] tables"]),
        (put(nodes=[3]), ["nodes[0]: must be a table"]),
        (node(name="eu-0"), ["nodes: two are called 'eu-0'"]),
        (node(name="EU-0"), ["nodes: 'EU-0' and 'eu-0' differ only in case"]),
        (node(name=""), ["nodes[1].name: '' is not possible"]),
        (node(name=".."), ["nodes[..].name: '..' is not possible"]),
        (node(host="a b"), ["nodes[eu-1].host: 'a b' is not possible"]),
        (node(host="b..example"), ["nodes[eu-1].host: 'b..example' is no host's name"]),
        (node(host="a" * 64), ["nodes[eu-1].host: ", "is no host's name"]),
        (node(bind="a..b"), ["nodes[eu-1].bind: 'a..b' is no host's name"]),
        (node(hots="a"), ["nodes[eu-1].hots: there is no such key", "'host'"]),
        (node(port=7001), ["nodes[eu-1].port: 127.0.0.1:7001 is eu-0's port already"]),
        (node(http_port=7102), ["nodes[eu-1].http_port: 127.0.0.1:7102 is eu-1's peer_port"]),
        (node(port=0), ["nodes[eu-1].port: 0 is not in 1 ... 65535"]),
        (node(weight=-1), ["nodes[eu-1].weight: -1 is not in"]),
        (node(weight="1"), ["nodes[eu-1].weight: must be a number"]),
        (node(dc="a.b"), ["nodes[eu-1].dc: 'a.b' is not possible"]),
    ],
)
def test_faults_are_named(change: Change, words: list[str]) -> None:
    given = copy.deepcopy(cluster())
    change(given)
    text = refused(given)
    for word in words:
        assert word in text, text


def test_a_port_beyond_the_last_is_asked_for() -> None:
    given = cluster("eu", 1, replicas=1)
    given["nodes"] = [{"name": "a", "host": "h", "port": 60_000}]
    assert "peer_port: would be 70000, which is no port" in refused(given)


def test_all_faults_are_told_at_once_but_not_without_end() -> None:
    given = cluster(shards="x", consensus="y", log=3)
    assert len(refused(given).splitlines()) == 3
    given |= {f"unknown{n}": 1 for n in range(100)}
    assert "and 83 more faults" in refused(given)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name = ", "no TOML"),
        (b"\xff", "byte 0 is no UTF-8"),
        (b"a = " + b"[" * 5000, "cluster file|no TOML"),
        (b"#" * (2**20 + 1), "larger than"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "cluster.toml"
    with pytest.raises(ClusterFileError, match="No such file"):
        ClusterConfig.load(path)
    path.write_bytes(content)
    with pytest.raises(ClusterFileError, match=words):
        ClusterConfig.load(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
KEYS = [
    "name",
    "consensus",
    "shards",
    "replicas",
    "leaders",
    "nodes",
    "timing",
    "wan",
    "round_trips",
    "tls",
    "limits",
    "log",
    "data_dir",
    "password_file",
    "password_env",
]


@given(st.dictionaries(st.sampled_from(KEYS), JSON), st.dictionaries(st.text(max_size=8), JSON))
@settings(max_examples=60, deadline=None)
def test_anything_else_is_refused_in_words(
    changes: dict[str, Any], in_node: dict[str, Any]
) -> None:
    given = cluster(**changes)
    if isinstance(given["nodes"], list) and given["nodes"] and isinstance(given["nodes"][0], dict):
        given["nodes"][0] |= in_node
    try:
        config = ClusterConfig.parse(given, secrets=False)
    except ClusterFileError:
        return
    assert ClusterConfig.parse(tomllib.loads(config.to_toml()), secrets=False) == config


@st.composite
def valid(draw: st.DrawFn) -> dict[str, Any]:
    """Cluster files that are right, with anything in them that may be."""
    name = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True)
    dcs = draw(st.lists(name, min_size=1, max_size=4, unique_by=str.casefold))
    nodes = []
    for at, dc in enumerate(dcs):
        for number in range(draw(st.integers(1, 3))):
            nodes.append(
                {
                    "name": f"n.{at}-{number}",
                    "dc": dc,
                    "zone": draw(st.just("") | name),
                    "host": draw(st.sampled_from(["127.0.0.1", "::1", "node.example"])),
                    "port": 1000 + 10 * len(nodes),
                    "weight": draw(st.floats(0.01, 100)),
                    "bind": draw(st.sampled_from(["", "0.0.0.0", "fe80::1%eth0"])),
                }
            )
    wan = {
        one: {other: draw(st.floats(0, 500)) for other in dcs[at + 1 :]}
        for at, one in enumerate(dcs[:-1])
    }
    return {
        "name": draw(name),
        "shards": draw(st.integers(1, 30)),
        "replicas": draw(st.integers(1, len(nodes)) | st.just(dict.fromkeys(dcs, 1))),
        "leaders": draw(st.lists(st.sampled_from(dcs), unique=True)),
        "nodes": nodes,
        "data_dir": draw(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=9)),
        draw(st.sampled_from(["wan", "round_trips"])): wan if draw(st.booleans()) else {},
        "timing": draw(st.fixed_dictionaries({}, optional={"settle_ms": st.integers(0, 9999)})),
        "limits": draw(st.fixed_dictionaries({}, optional={"clients_max": st.integers(1, 10**6)})),
        "log": {"format": draw(st.sampled_from(["auto", "json", "console"]))},
    }


@given(valid())
@settings(max_examples=60, deadline=None)
def test_every_right_file_reads_again_what_it_writes(given: dict[str, Any]) -> None:
    config = ClusterConfig.parse(given, secrets=False)
    again = ClusterConfig.parse(tomllib.loads(config.to_toml()), secrets=False)
    assert again == config
    assert again.identity().digest == config.identity().digest
    assert all(isinstance(words, str) for words in config.warnings())


# --- timing -------------------------------------------------------------------------------------


def times(config: ClusterConfig) -> tuple[int, int, int]:
    return config.tick_ms, config.heartbeat_ms, config.election_ms


def test_auto_timing() -> None:
    assert times(ClusterConfig.parse(cluster("eu"))) == (10, 50, 150)
    assert times(ClusterConfig.parse(cluster())) == (10, 100, 500)
    wan = {"eu": {"us": 80, "ap": 180}, "us": {"ap": 150}}
    for key in ("wan", "round_trips"):
        # A leader in ap waits 150 ms for its nearest other datacenter.
        assert times(ClusterConfig.parse(cluster(**{key: wan}))) == (10, 50, 400)
    near = {"eu": {"us": 1, "ap": 1}, "us": {"ap": 1}}
    assert times(ClusterConfig.parse(cluster(wan=near))) == (10, 50, 150)
    # Two of three replicas in eu: its leaders need no other, but one in us does.
    config = ClusterConfig.parse(
        cluster("eu us", replicas={"eu": 2, "us": 1}, wan={"eu": {"us": 30}})
    )
    assert times(config) == (10, 50, 160)


@given(st.floats(0, 20_000), st.integers(8, 100))
@settings(deadline=None)
def test_a_lease_outlasts_a_round_trip_and_a_heartbeat(rtt: float, tick: int) -> None:
    given = cluster(
        "eu us", replicas={"eu": 1, "us": 1}, wan={"eu": {"us": rtt}}, timing={"tick_ms": tick}
    )
    config = ClusterConfig.parse(given)
    assert config.election_ms >= advisable_election_ms(rtt, tick)
    assert config.lease_ms > rtt + config.heartbeat_ms


def test_measured_round_trips_are_advice() -> None:
    config = ClusterConfig.parse(cluster(leaders=["eu"]))
    others = {node.name: 80.0 if node.dc == "us" else 300.0 for node in config.nodes[3:]}
    assert config.quorum_round_trip_ms("eu-0", others) == 80.0
    assert config.timing_warning("eu-0", others) is None
    assert config.timing_warning("eu-0", {}) is None
    slow = dict.fromkeys(others, 400.0)
    warning = config.timing_warning("eu-0", slow)
    assert warning is not None
    assert "set it to 900 or more" in warning
    assert config.advisable_election_ms("eu-0", slow) == 900


def test_a_short_timeout_between_near_nodes_suits_them() -> None:
    config = ClusterConfig.parse(cluster("eu", timing={"election_ms": 100}))
    others = {node.name: 0.2 for node in config.nodes[1:]}
    assert config.advisable_election_ms("eu-0", others) < 100
    assert config.timing_warning("eu-0", others) is None
    far = dict.fromkeys(others, 40.0)
    assert config.advisable_election_ms("eu-0", far) > 100
    assert config.timing_warning("eu-0", far) is not None


@given(
    rtt=st.floats(0, 3000),
    timing=st.fixed_dictionaries(
        {"election_ms": st.integers(1000, 5000)},
        optional={"tick_ms": st.integers(1, 60), "heartbeat_ms": st.integers(1, 500)},
    ),
)
@example(rtt=301, timing={"election_ms": 1000, "heartbeat_ms": 500})
@example(rtt=90, timing={"tick_ms": 40, "election_ms": 200})
@settings(deadline=None)
def test_who_takes_the_advice_is_not_warned_again(rtt: float, timing: dict[str, int]) -> None:
    def warning(timing: dict[str, int]) -> str | None:
        config = ClusterConfig.parse(cluster("eu", timing=timing))
        return config.timing_warning("eu-0", {node.name: rtt for node in config.nodes[1:]})

    said = warning(timing)
    if said is None:
        return
    advised = re.search(r"set it to (\d+) or more", said)
    assert advised is not None
    for more in (0, 17, 400):
        assert warning({**timing, "election_ms": int(advised[1]) + more}) is None


# --- advice -------------------------------------------------------------------------------------


def advice(*args: Any, **settings: Any) -> str:
    return "\n".join(ClusterConfig.parse(cluster(*args, **settings)).warnings())


def test_a_good_cluster_has_no_warnings() -> None:
    assert advice() == ""
    assert advice("eu") == ""


def test_two_datacenters_are_warned_of() -> None:
    text = advice("eu us", replicas={"eu": 2, "us": 1})
    assert "the loss of datacenter 'eu' stops writes" in text
    assert "'us' stops" not in text
    assert "two datacenters cannot survive the loss of either: a third" in text
    text = advice("eu us", replicas={"eu": 2, "us": 2})
    assert "'eu' stops writes" in text
    assert "'us' stops writes" in text
    assert "4 survive no more failures than 3 would" in text


def test_a_datacenter_with_a_majority_is_warned_of() -> None:
    text = advice(replicas={"eu": 3, "us": 1, "ap": 1})
    assert "the loss of datacenter 'eu' stops writes: it holds too many replicas of all" in text
    assert "third" not in text


def test_other_warnings() -> None:
    assert "1: what a node that is down holds" in advice("eu", replicas=1)
    assert "leaders: no shard has a replica in 'ap'" in advice(
        replicas={"eu": 1, "us": 2}, leaders=["ap"]
    )
    assert "eu-2 hold no shard" in advice("eu", shards=1, replicas=2)
    wan = {"eu": {"us": 80, "ap": 180}, "us": {"ap": 150}}
    assert "election_ms is 200" in advice(wan=wan, timing={"election_ms": 200})
    given = cluster("eu")
    given["nodes"][0]["host"] = "10.0.0.1"
    text = "\n".join(ClusterConfig.parse(given).warnings())
    assert "password: none" in text
    assert "tls.peers: off" in text


def test_readable_secrets_are_warned_of(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush")
    secret.chmod(0o600)
    path = str(tmp_path / "cluster.toml")
    config = ClusterConfig.parse(cluster("eu", password_file="secret"), path=path)
    assert config.warnings() == []
    secret.chmod(0o640)
    assert f"others than its owner may read {secret}" in config.warnings()[0]


def test_delays_between_machines_are_warned_of() -> None:
    wan = {"eu": {"us": 80, "ap": 180}, "us": {"ap": 150}}
    given = cluster(wan=wan)
    given["nodes"][0]["host"] = "10.0.0.1"
    assert any(text.startswith("wan: delays") for text in ClusterConfig.parse(given).warnings())


# --- identity -----------------------------------------------------------------------------------


def identity(*args: Any, **settings: Any) -> Any:
    return ClusterConfig.parse(cluster(*args, **settings)).identity()


def test_a_directory_belongs_to_one_node_of_one_cluster(tmp_path: Path) -> None:
    mine = tmp_path / "deep" / "eu-0"
    identity().claim(mine, "eu-0")
    identity(leaders=["eu"], timing={"election_ms": 900}).claim(mine, "eu-0")  # may change
    written = (mine / "identity.json").read_bytes()
    for other, node, words in (
        (identity(), "eu-1", "the node was 'eu-0', and is 'eu-1'"),
        (identity(name="other"), "eu-0", "the cluster's name was 'orders', and is 'other'"),
        (identity(shards=12), "eu-0", "shards was 24, and is 12"),
        (identity(consensus="paxos"), "eu-0", "consensus was 'raft', and is 'paxos'"),
        (identity(replicas=5), "eu-0", "24 of 24 shards would have other nodes .replicas, or"),
        (identity(per_dc=4), "eu-0", "ap-3, eu-3, us-3 came in"),
        (identity(per_dc=2), "eu-0", "ap-2, eu-2, us-2 went away"),
    ):
        with pytest.raises(IdentityError, match=words):
            other.claim(mine, node)
    assert (mine / "identity.json").read_bytes() == written
    assert len({identity().digest, identity(name="b").digest, identity(shards=12).digest}) == 3
    assert len(identity().cluster_id) == 16


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(IdentityError, match=r"photo\.jpg: it is not a node's directory"):
        identity().claim(tmp_path, "eu-0")


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"\xff", b'{"node": "eu-0"}'])
def test_a_damaged_identity_is_told(tmp_path: Path, damage: bytes) -> None:
    identity().claim(tmp_path, "eu-0")
    (tmp_path / "identity.json").write_bytes(damage)
    with pytest.raises(IdentityError, match="is damaged"):
        identity().claim(tmp_path, "eu-0")


def test_a_flipped_name_is_damage(tmp_path: Path) -> None:
    identity().claim(tmp_path, "eu-0")
    path = tmp_path / "identity.json"
    path.write_text(path.read_text().replace("eu-1", "eu-9", 1))
    with pytest.raises(IdentityError, match="is damaged"):
        identity().claim(tmp_path, "eu-0")
