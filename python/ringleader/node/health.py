"""A node's own port for those who watch it.

    GET /live       200 as long as the node's loop turns
    GET /health     200, or 503 and the reasons, one on a line
    GET /status     the node's `status()` as JSON: what `ringleader status` gathers
    GET /metrics    for Prometheus

It is served by the loop that serves clients, so that an answer proves that it turns.  Each
connection has one request, of bounded size, in bounded time; there is a bound on connections.

What `status()` of a node gives is a `NodeStatus`: plain values, taken together in one moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypedDict, cast

import msgspec

from ringleader.limits import (
    HTTP_CONNECTIONS_MAX,
    HTTP_REQUEST_BYTES_MAX,
    HTTP_SECONDS_MAX,
)

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class ShardStatus(TypedDict, total=False):
    """One replica of one shard.

    Attributes:
        id: the number of the shard.
        role: "leader", "follower", "candidate" or "learner".
        leader: the name of the node that leads it, as far as is known, or None.
        term: or ballot.
        commit, applied: index of the last entry that is committed, and applied here.
        lag: only of the leader: by the names of the other replicas, how many entries they lack.
        has_lease: whether it reads without asking a quorum.
        keys, bytes: what the shard holds, about.
        failed: why it does nothing any more, or None.
    """

    id: int
    role: str
    leader: str | None
    term: int
    commit: int
    applied: int
    lag: dict[str, int]
    has_lease: bool
    keys: int
    bytes: int
    failed: str | None


class NodeStatus(TypedDict, total=False):
    """One node.  Counters only grow, from the start of the node on.

    Attributes:
        name, dc, pid, version: of this node.
        host, port: of clients.
        started: in seconds since 1970.
        ready: whether it takes commands: it has recovered, and is not stopping.
        failed: why it does nothing any more, or None.
        consensus: "raft" or "paxos".
        shards: those that it has a replica of.
        peers: by name: "connected", "rtt_ms" (or None), and counters such as "messages_dropped",
            "connects", "failures", "bytes_in", "bytes_out".
        clients: "connected", "held_bytes", and counters: "accepted", "commands", and "refused" by
            reason.
        wal: counters "batches", "bytes", "syncs", and "sync_seconds" together; "segments".
        refused: input from outside that was no good, by reason.
        timing_warning: what is wrong with the election timeout, or None.
    """

    name: str
    dc: str
    pid: int
    version: str
    host: str
    port: int
    started: float
    ready: bool
    failed: str | None
    consensus: str
    shards: list[ShardStatus]
    peers: dict[str, dict[str, Any]]
    clients: dict[str, Any]
    wal: dict[str, Any]
    refused: dict[str, int]
    timing_warning: str | None


def troubles(status: NodeStatus) -> list[str]:
    """Why the node should get no commands now; [] when it is well."""
    found = []
    if failed := status.get("failed"):
        found.append(f"failed: {failed}")
    elif not status.get("ready"):
        found.append("not ready: it recovers, or stops")
    without = []
    for shard in status.get("shards", []):
        if reason := shard.get("failed"):
            found.append(f"shard {shard['id']} failed: {reason}")
        elif shard.get("leader") is None:
            without.append(shard["id"])
    if without:
        named = ", ".join(map(str, without[:16])) + (", ..." if len(without) > 16 else "")
        found.append(f"no leader known of shard {named}: is a majority of its replicas up?")
    return found


class HealthServer:
    """The server of the port.

    Args:
        status: the node's.
        metrics: the page of metrics, as `metrics.Metrics.page` makes it.
    """

    def __init__(
        self, status: Callable[[], NodeStatus], metrics: Callable[[], bytes] | None = None
    ) -> None:
        self._status = status
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        number: int = self._server.sockets[0].getsockname()[1]
        return number

    async def stop(self) -> None:
        """Stop listening, and close what is open."""
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.abort()
            await self._server.wait_closed()

    def answer(self, method: str, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Status, content type and body of the answer to one request."""
        if method not in {"GET", "HEAD"}:
            return HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD\n"
        match path.partition("?")[0]:
            case "/live":
                return HTTPStatus.OK, TEXT, b"ok\n"
            case "/health":
                if found := troubles(self._status()):
                    words = "".join(f"{each}\n" for each in found)
                    return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, words.encode()
                return HTTPStatus.OK, TEXT, b"ok\n"
            case "/status":
                return HTTPStatus.OK, JSON, msgspec.json.encode(self._status()) + b"\n"
            case "/metrics" if self._metrics is not None:
                return HTTPStatus.OK, PROMETHEUS, self._metrics()
            case _:
                known = b"/live\n/health\n/status\n/metrics\n"
                return HTTPStatus.NOT_FOUND, TEXT, b"there are:\n" + known


class _Connection(asyncio.Protocol):
    """One request, one answer."""

    def __init__(self, server: HealthServer) -> None:
        self._server = server
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)
        if len(self._server._open) >= HTTP_CONNECTIONS_MAX:
            transport.abort()
            return
        self._server._open.add(self)
        self._timer = asyncio.get_running_loop().call_later(HTTP_SECONDS_MAX, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._open.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def abort(self) -> None:
        """Close now, whatever has not been sent."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._answered:
            return
        self._received += data
        if len(self._received) > HTTP_REQUEST_BYTES_MAX:
            self._send("GET", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, TEXT, b"too long\n")
            return
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        line = bytes(self._received[: self._received.index(b"\r\n")])
        try:
            method, path, version = line.decode("ascii").split(" ")
        except ValueError:
            version = ""
        if not version.startswith("HTTP/1."):
            self._send("GET", HTTPStatus.BAD_REQUEST, TEXT, b"this is no HTTP/1 request\n")
            return
        try:
            self._send(method, *self._server.answer(method, path))
        except Exception as error:  # told to who asked; the node itself goes on
            words = f"{type(error).__name__}: {error}\n".encode(errors="replace")
            self._send(method, HTTPStatus.INTERNAL_SERVER_ERROR, TEXT, words)

    def _send(self, method: str, status: HTTPStatus, kind: str, body: bytes) -> None:
        assert self._transport is not None
        self._answered = True
        headers: Mapping[str, Any] = {
            "Content-Type": kind,
            "Content-Length": len(body),
            "Cache-Control": "no-store",
            "Connection": "close",
        }
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        self._transport.write(head if method == "HEAD" else head + body)
        self._transport.close()
