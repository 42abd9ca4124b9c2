"""A cluster as seen from outside: every node is asked, and the answers are put together.

    {"nodes": [{"name", "dc", "zone", "pid", "host", "port", "peer_port", "http_port", "alive",
                "ready", "failed", "started", "shards", "leads", "peers", "clients", "wal",
                "trouble"}],
     "shards": [{"id", "slots", "replicas", "leader", "term", "commit", "applied", "lag", "keys",
                 "bytes"}]}

A shard's numbers are its leader's; where no leader answers, `leader` is None and they are the best
of what its replicas say.  `lag` is how many entries each other replica lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import msgspec

from ringleader.limits import STATUS_BYTES_MAX
from ringleader.node.config import ClusterConfig, NodeConfig
from ringleader.node.health import NodeStatus

#: How long a node may take for its answer.
ANSWER_SECONDS = 2.0


async def fetch(
    host: str, port: int, path: str = "/status", *, seconds: float = ANSWER_SECONDS
) -> tuple[int, bytes]:
    """The answer's code and body of one GET.

    Raises:
        OSError: there is no answer, or none in time.
        ValueError: what answers speaks no HTTP.
    """
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, limit=2**16)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                answer = bytearray()
                while piece := await reader.read(2**16):
                    answer += piece
                    if len(answer) > STATUS_BYTES_MAX:
                        raise ValueError("the answer is too long")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise OSError(f"no answer within {seconds:g} s") from None
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    if len(parts) < 3 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise ValueError("what answers is no node")
    return int(parts[1]), body


async def ask(node: NodeConfig, *, seconds: float = ANSWER_SECONDS) -> NodeStatus | str:
    """A node's status, or why there is none."""
    try:
        code, body = await fetch(node.host, node.http_port, seconds=seconds)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__
    if code != 200:
        return body[:200].decode(errors="replace").strip()
    try:
        status = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return "its answer is damaged"
    if status.get("name") != node.name:
        return f"{node.host}:{node.http_port} is another node, {status.get('name')!r}"
    return status  # type: ignore[return-value]


async def watch(
    config: ClusterConfig, *, pids: Mapping[str, int] | None = None, seconds: float = ANSWER_SECONDS
) -> dict[str, Any]:
    """The whole cluster now.

    Args:
        pids: of nodes that were started here, for those that do not answer.
        seconds: for each node's answer; all are asked at once.
    """
    answers = await asyncio.gather(*(ask(node, seconds=seconds) for node in config.nodes))
    return merged(config, dict(zip((n.name for n in config.nodes), answers, strict=True)), pids)


def merged(
    config: ClusterConfig,
    answers: Mapping[str, NodeStatus | str],
    pids: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What `watch` gives, from what each node answered: its status, or why it did not."""
    by_shard: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    nodes = []
    for node in config.nodes:
        answer = answers.get(node.name, "was not asked")
        status: NodeStatus = {} if isinstance(answer, str) else answer
        for shard in status.get("shards", []):
            by_shard.setdefault(shard.get("id", -1), []).append((node.name, shard))
        nodes.append(
            {
                "name": node.name,
                "dc": node.dc,
                "zone": node.zone,
                "pid": status.get("pid", (pids or {}).get(node.name)),
                "host": node.host,
                "port": node.port,
                "peer_port": node.peer_port,
                "http_port": node.http_port,
                "alive": not isinstance(answer, str),
                "ready": bool(status.get("ready")),
                "failed": status.get("failed"),
                "started": status.get("started"),
                "shards": len(config.layout.of(node.name)),
                "leads": sum(s.get("role") == "leader" for s in status.get("shards", [])),
                "peers": status.get("peers", {}),
                "clients": status.get("clients", {}),
                "wal": status.get("wal", {}),
                "trouble": answer if isinstance(answer, str) else status.get("timing_warning"),
            }
        )
    shards = []
    for shard_layout in config.layout.shards:
        said = by_shard.get(shard_layout.number, [])
        leaders = [each for each in said if each[1].get("role") == "leader"]
        leader, best = max(
            leaders or said,
            key=lambda each: (each[1].get("term", 0), each[1].get("commit", 0)),
            default=(None, {}),
        )
        applied = {name: each.get("applied", 0) for name, each in said}
        commit = best.get("commit", 0)
        lag = best.get("lag") or {
            name: max(0, commit - index) for name, index in applied.items() if name != leader
        }
        shards.append(
            {
                "id": shard_layout.number,
                "slots": [shard_layout.slots.start, shard_layout.slots.stop - 1],
                "replicas": list(shard_layout.replicas),
                "leader": leader if leaders else None,
                "term": best.get("term", 0),
                "commit": commit,
                "applied": best.get("applied", 0),
                "lag": dict(lag),
                "keys": best.get("keys"),
                "bytes": best.get("bytes"),
            }
        )
    return {"nodes": nodes, "shards": shards}


def is_serving(status: Mapping[str, Any]) -> bool:
    """Whether every node is ready and every shard has a leader."""
    return all(node["ready"] for node in status["nodes"]) and all(
        shard["leader"] is not None for shard in status["shards"]
    )
