"""docs/operations.md says what is so: its cluster file is one, and no key or metric is left out."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from ringleader.node.config import ClusterConfig, Limits
from ringleader.node.metrics import Metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_cluster_file_is_one(page: str, tmp_path: Path) -> None:
    first, tls = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "cluster.toml"
    path.write_text(first)
    (tmp_path / "password").write_text("x\n")
    config = ClusterConfig.load(path)
    assert config.password == "x"
    assert config.directory("eu-1") == Path("/var/lib/ringleader/eu-1")
    assert (config.node("eu-1").peer_port, config.node("eu-1").http_port) == (16379, 26379)
    for name in tomllib.loads(tls)["tls"].values():
        if isinstance(name, str):
            (tmp_path / name).write_text("pem")
    path.write_text(first + tls)
    assert ClusterConfig.load(path).tls.peers


def test_every_key_is_told(page: str) -> None:
    given = {
        "name": "a", "shards": 1, "replicas": 1, "zzz": 1, "nodes": [{"name": "a", "host": "h"}],
    }  # fmt: skip
    known = {each.name for each in fields(Limits)}
    for wrong in (
        given,
        *({**given, table: {"zzz": 1}} for table in ("timing", "tls", "log")),
        {**given, "nodes": [{"name": "a", "host": "h", "zzz": 1}]},
    ):
        with pytest.raises(ValueError, match="no such key") as caught:
            ClusterConfig.parse(wrong, secrets=False)
        for line in str(caught.value).splitlines():
            listed = line.partition("known are ")[2].partition(" and ")[0]
            known |= {name for name in listed.split(", ") if name}
    assert len(known) > 35
    missing = [name for name in known if name not in page]
    assert missing == []


def test_defaults_of_limits_are_right(page: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    default = Limits()
    for name in ("clients_max", "client_pending_max", "patience_ms"):
        assert int(rows[name]) == getattr(default, name)
    for name in (
        "clients_bytes_max",
        "client_output_bytes_max",
        "value_bytes_max",
        "uncommitted_bytes_max",
    ):
        assert rows[name] == f"{getattr(default, name) // 2**20} MiB"


def test_metrics_of_the_table_exist(page: str) -> None:
    status = {
        "shards": [{"id": 0, "role": "leader", "term": 1, "commit": 1, "applied": 1, "lag": {}}],
        "peers": {"b": {"connected": True, "rtt_ms": 1.0, "messages_dropped": 0}},
        "clients": {"connected": 0, "failed": 0, "failed_authentications": 0, "refused": {"x": 1}},
        "wal": {"batches": 1, "bytes": 1, "syncs": 1, "segments": 1},
    }
    told = Metrics(lambda: status).page().decode()  # type: ignore[arg-type,return-value]
    rows = re.findall(r"^\| (`ringleader_[^|]+) \|", page, re.MULTILINE)
    assert len(rows) > 15
    for row in rows:
        first, *others = re.findall(r"`([\w]+)`", row)
        assert f"# TYPE {first} " in told, first
        for suffix in others:
            assert re.search(rf"# TYPE \w*{suffix} ", told), suffix
