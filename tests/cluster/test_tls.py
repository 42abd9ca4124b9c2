"""Nodes that speak TLS with each other, and strangers at their ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster.processes import Cluster, wait_until

from ringleader.limits import PEER_STRANGERS_MAX


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")
def test_nodes_trust_each_other_by_certificates(tmp_path: Path) -> None:
    names = ("eu-1", "eu-2", "eu-3")
    cert, key = tmp_path / "nodes.pem", tmp_path / "nodes.key"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", "2", "-subj", "/CN=test", "-addext"),
        "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
        *("-keyout", str(key), "-out", str(cert)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    tls = {"cert": str(cert), "key": str(key), "ca": str(cert), "peers": True}
    with Cluster(tmp_path / "c", settings={"tls": tls}) as cluster, ExitStack() as strangers:
        cluster.start()
        assert cluster.call("eu-1", "SET", "k", "v") == b"OK"
        node = cluster.nodes["eu-2"]
        for _ in range(PEER_STRANGERS_MAX + 10):
            silent = socket.create_connection((node.host, node.peer_port))
            strangers.enter_context(silent)
        wait_until(
            lambda: "too many connections that have not said who they are" in node.log.read_text(),
            "strangers are refused",
        )
        for name in names:
            assert cluster.call(name, "GET", "k") == b"v"
        assert set(cluster.stop().values()) == {0}
