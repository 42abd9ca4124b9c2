"""The port of metrics, health and status; what a node counts; what it logs."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ringleader.limits import HTTP_CONNECTIONS_MAX, HTTP_REQUEST_BYTES_MAX, REASONS_MAX
from ringleader.node import health, logs
from ringleader.node.health import HealthServer, NodeStatus, troubles
from ringleader.node.metrics import BUCKETS, Latencies, Metrics


def status(**changes: Any) -> NodeStatus:
    made: dict[str, Any] = {
        "name": "eu-1",
        "dc": "eu",
        "pid": 7,
        "ready": True,
        "failed": None,
        "consensus": "raft",
        "shards": [
            {
                "id": 0,
                "role": "leader",
                "leader": "eu-1",
                "term": 3,
                "commit": 10,
                "applied": 9,
                "lag": {"us-1": 4, "ap-1": 6, "us-2": 1},
                "keys": 5,
                "bytes": 55,
            },
            {"id": 1, "role": "follower", "leader": "us-1", "term": 2, "commit": 1, "applied": 1},
        ],
        "peers": {
            "us-1": {"connected": True, "rtt_ms": 80.5, "connects": 2, "messages_dropped": 0},
            "ap-1": {"connected": False, "rtt_ms": None, "connects": 1, "messages_dropped": 9},
        },
        "clients": {"connected": 3, "accepted": 12, "refused": {"too many": 2}},
        "refused": {"peer: other cluster": 5},
        "wal": {"batches": 4, "bytes": 400, "syncs": 3, "sync_seconds": 0.25},
    }
    return made | changes  # type: ignore[return-value]


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def serving(server: HealthServer, use: Callable[[int], Awaitable[None]]) -> None:
    async def run() -> None:
        await server.start("127.0.0.1", 0)
        try:
            await use(server.port)
        finally:
            await server.stop()

    asyncio.run(run())


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


def test_the_four_pages() -> None:
    now = status()
    metrics = Metrics(lambda: now)
    server = HealthServer(lambda: now, metrics.page)

    async def use(port: int) -> None:
        for path, code, words in (
            ("/live", 200, b"ok"),
            ("/health", 200, b"ok"),
            ("/status?x", 200, b'"name":"eu-1"'),
            ("/metrics", 200, b"ringleader_shards_led 1.0"),
            ("/", 404, b"/metrics"),
        ):
            answer = await ask(port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % code), answer
            assert words in body
            assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
            assert await ask(port, f"HEAD {path} HTTP/1.0\r\n\r\n".encode()) == head + b"\r\n\r\n"
        assert (await ask(port, b"POST /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 405 ")
        now["ready"] = False
        answer = await ask(port, b"GET /health HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"not ready" in answer

    serving(server, use)


def test_troubles_are_named() -> None:
    assert troubles(status()) == []
    assert troubles(status(failed="disk full")) == ["failed: disk full"]
    shards = [{"id": n, "leader": None} for n in range(20)] + [{"id": 30, "failed": "torn"}]
    found = troubles(status(shards=shards))
    assert found[0] == "shard 30 failed: torn"
    assert found[1].startswith("no leader known of shard 0, 1, 2")
    assert "15, ...:" in found[1]


@given(st.binary(max_size=300) | st.just(b"GET /live HTTP/1.1\r\n"))
@settings(max_examples=60, deadline=None)
def test_any_request_is_answered_or_waits_for_more(request: bytes) -> None:
    server = HealthServer(status)

    class Transport(asyncio.Transport):
        written = b""
        closed = False

        def write(self, data: Any) -> None:
            self.written += bytes(data)

        def close(self) -> None:
            self.closed = True

        abort = close

    async def run() -> None:
        transport = Transport()
        connection = health._Connection(server)
        connection.connection_made(transport)
        for byte in request:
            connection.data_received(bytes([byte]))
        assert transport.closed == (b"\r\n\r\n" in request)
        assert transport.closed == transport.written.startswith(b"HTTP/1.1 ")
        connection.data_received(b"x" * (HTTP_REQUEST_BYTES_MAX + 1))
        assert transport.closed
        assert transport.written.count(b"HTTP/1.1 ") == 1
        connection.connection_lost(None)
        assert not server._open

    asyncio.run(run())


def test_a_failing_status_fails_one_answer_only() -> None:
    def broken() -> NodeStatus:
        raise RuntimeError("no status")

    async def use(port: int) -> None:
        answer = await ask(port, b"GET /status HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500 ")
        assert b"RuntimeError: no status" in answer
        assert (await ask(port, b"GET /live HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    serving(HealthServer(broken), use)


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "HTTP_SECONDS_MAX", 600)  # a slow machine must not free one

    async def use(port: int) -> None:
        open_ = [
            await asyncio.open_connection("127.0.0.1", port) for _ in range(HTTP_CONNECTIONS_MAX)
        ]
        with pytest.raises((ConnectionError, AssertionError)):
            assert await ask(port, b"GET /live HTTP/1.1\r\n\r\n")
        for reader, writer in open_:  # all were taken, and each that ends makes room for one
            writer.write(b"GET /live HTTP/1.1\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 60)).endswith(b"ok\n")
            writer.close()
            await writer.wait_closed()
        assert (await ask(port, b"GET /live HTTP/1.1\r\n\r\n")).endswith(b"ok\n")

    serving(HealthServer(status), use)


def test_a_connection_that_asks_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "HTTP_SECONDS_MAX", 0.05)

    async def use(port: int) -> None:
        with pytest.raises((ConnectionError, AssertionError)):
            assert await ask(port, b"GET /live HT")

    serving(HealthServer(status), use)


# --- metrics ------------------------------------------------------------------------------------


def samples(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_what_is_counted_is_on_the_page() -> None:
    metrics = Metrics(status)
    metrics.know({"eu-1": "eu", "us-1": "us", "us-2": "us", "ap-1": "ap"})
    metrics.commands("write", "ok", 37, 0.003)
    metrics.commands("write", "ok", 3, 0.003)
    metrics.commands("read", "error", 1)
    metrics.refused("wrong arity")
    metrics.synced(0.0001)
    page = samples(metrics.page())
    for name, labels, value in (
        ("ringleader_commands_total", {"kind": "write", "outcome": "ok"}, 40),
        ("ringleader_commands_total", {"kind": "read", "outcome": "error"}, 1),
        ("ringleader_command_seconds_count", {"kind": "write"}, 40),
        ("ringleader_command_seconds_bucket", {"kind": "write", "le": "0.002048"}, 0),
        ("ringleader_command_seconds_bucket", {"kind": "write", "le": "0.004096"}, 40),
        ("ringleader_refused_total", {"reason": "wrong arity"}, 1),
        ("ringleader_refused_total", {"reason": "peer: other cluster"}, 5),
        ("ringleader_shards", {}, 2),
        ("ringleader_shards_led", {}, 1),
        ("ringleader_shard_term", {"shard": "0"}, 3),
        ("ringleader_shard_commit", {"shard": "1"}, 1),
        ("ringleader_shard_lag_entries", {"shard": "0", "node": "us-1", "dc": "us"}, 4),
        ("ringleader_lag_entries", {"dc": "us"}, 4),
        ("ringleader_lag_entries", {"dc": "ap"}, 6),
        ("ringleader_peer_rtt_seconds", {"peer": "us-1", "dc": "us"}, 0.0805),
        ("ringleader_peer_connected", {"peer": "ap-1", "dc": "ap"}, 0),
        ("ringleader_peer_messages_dropped_total", {"peer": "ap-1", "dc": "ap"}, 9),
        ("ringleader_clients", {}, 3),
        ("ringleader_clients_accepted_total", {}, 12),
        ("ringleader_clients_refused_total", {"reason": "too many"}, 2),
        ("ringleader_wal_syncs_total", {}, 3),
        ("ringleader_wal_sync_duration_seconds_count", {}, 1),
        ("ringleader_ready", {}, 1),
    ):
        assert page[name, tuple(sorted(labels.items()))] == value, name
    assert page["ringleader_memory_bytes", ()] > 10**6


def test_a_bare_status_makes_a_page() -> None:
    page = samples(Metrics(dict).page())
    assert page["ringleader_ready", ()] == 0


def test_a_page_is_made_twice_a_second_at_most() -> None:
    asked = []
    metrics = Metrics(lambda: asked.append(1) or status())  # type: ignore[func-returns-value]
    assert metrics.page() is metrics.page()
    assert len(asked) == 1


def test_reasons_do_not_grow_without_bound() -> None:
    metrics = Metrics(status)
    for number in range(1000):
        metrics.refused(f"reason {number}")
    assert len(metrics._refused) <= REASONS_MAX + 1
    assert metrics._refused["other"] == 1000 - REASONS_MAX


@given(st.lists(st.floats(0, 200), max_size=30))
def test_buckets_hold_what_they_say(times: list[float]) -> None:
    latencies = Latencies()
    for seconds in times:
        latencies.add(seconds)
    buckets = latencies.buckets()
    assert len(buckets) == BUCKETS
    for bound, count in buckets:
        assert count == sum(seconds <= float(bound) + 1e-12 for seconds in times)


# --- logs ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _quiet_again() -> Any:
    yield
    import structlog

    structlog.reset_defaults()
    root = logging.getLogger()
    root.handlers = [each for each in root.handlers if not isinstance(each, logs._Forward)]
    root.setLevel(logging.WARNING)


def test_lines_are_json_without_secrets() -> None:
    out = io.StringIO()
    log = logs.configure("info", "json", stream=out, node="eu-1")
    log.debug("not this")
    log.warning("that", Password="hush", peer={"auth_token": "hush"}, long="x" * 5000, raw=b"\xff")
    logging.getLogger("asyncio").error("from %s", "a library")
    secret = "hush"  # of a frame
    try:
        raise ValueError("why" + secret[4:])
    except ValueError:
        log.exception("it failed")
    text = out.getvalue()
    assert "hush" not in text
    first, second, third = map(json.loads, text.splitlines())
    assert first["event"] == "that"
    assert first["node"] == "eu-1"
    assert first["level"] == "warning"
    assert first["time"].endswith("Z")
    assert len(first["long"]) < 2100
    assert (second["event"], second["logger"]) == ("from a library", "asyncio")
    assert third["exception"][0]["exc_value"] == "why"


def test_lines_for_people() -> None:
    out = io.StringIO()
    log = logs.configure("debug", "console", stream=out)
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed", shard=3)
    assert "it failed" in out.getvalue()
    assert "shard=3" in out.getvalue()
    assert "ValueError: why" in out.getvalue()
