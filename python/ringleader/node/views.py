"""What a node tells of itself and its cluster: CLUSTER, INFO, and `ringleader status`."""

from __future__ import annotations

import hashlib
import os
import sys
from typing import TYPE_CHECKING, Any

from ringleader import __version__
from ringleader.node.health import NodeStatus, ShardStatus
from ringleader.node.metrics import resident_bytes
from ringleader.node.routing import NodeView, ShardView, Topology
from ringleader.node.shard import Shard

if TYPE_CHECKING:
    from ringleader.node.node import Node


def node_id(cluster_id: bytes, name: str) -> str:
    """40 hexadecimal digits, as Redis Cluster has them."""
    return hashlib.sha1(cluster_id + name.encode(), usedforsecurity=False).hexdigest()


def topology(node: Node) -> Topology:
    """The cluster, as this node knows it."""
    config, router, peers = node.config, node.router, node.peers
    cluster_id = config.identity().cluster_id
    return Topology(
        tuple(
            NodeView(
                each.name,
                node_id(cluster_id, each.name),
                each.host,
                each.port,
                each.dc,
                each.zone,
                each.name == node.name or peers.connected(each.name),
                each.peer_port,
            )
            for each in config.nodes
        ),
        tuple(
            ShardView(
                shard.number,
                ((shard.slots.start, shard.slots.stop - 1),),
                router.leader_of(shard.number),
                shard.replicas,
                term_of(node, shard.number),
            )
            for shard in node.layout.shards
        ),
    )


def term_of(node: Node, number: int) -> int:
    """The term of a shard's leader, as far as this node knows; 0: it does not."""
    shard = node.router.shards[number]
    if shard is not None:
        return int(shard.core.term)
    return node.router.claimed_term(number)


def info(node: Node) -> dict[str, dict[str, Any]]:
    """The sections of INFO that are the node's."""
    config, router = node.config, node.router
    led = [shard for shard in node.shards if shard.leads]
    stores = [shard.store for shard in node.shards]
    return {
        "Server": {
            "ringleader_version": __version__,
            "python_version": sys.version.split()[0],
            "run_id": node_id(config.identity().cluster_id, node.name),
        },
        "Memory": {
            "used_memory": resident_bytes(),
            "used_memory_dataset": sum(store.size for store in stores),
            "maxmemory": config.limits.memory_bytes_max,
        },
        "Persistence": {
            "loading": int(not node.ready),
            "wal_batches": node.wal.batch_count,
            "wal_bytes": node.wal.written_bytes,
            "wal_segments": node.wal.segment_count,
            "wal_failed": node.failed or "",
        },
        "Replication": {
            "role": "master" if led else "slave",
            "consensus": config.consensus,
            "shards": len(node.shards),
            "shards_led": len(led),
            "commands_forwarded": router.forwarded,
            "commands_waiting_for_a_leader": router.parked,
            "commands_uncertain": router.uncertain,
            **{
                f"shard{shard.number}": (
                    f"role={shard.core.role},leader={shard.leader or ''},term={shard.core.term},"
                    f"commit={shard.core.commit},applied={shard.core.last_applied}"
                )
                for shard in node.shards
            },
        },
        "Keyspace": {
            "db0": f"keys={sum(len(store.data) for store in stores)},"
            f"expires={sum(len(store.expires) for store in stores)},avg_ttl=0"
        },
    }


def status(node: Node) -> NodeStatus:
    """All of it, as plain values."""
    service = node.server.service
    return NodeStatus(
        name=node.name,
        dc=node.dc,
        pid=os.getpid(),
        version=__version__,
        host=node.own.host,
        port=node.own.port,
        started=node.started_s,
        ready=node.ready,
        failed=node.failed,
        consensus=node.config.consensus,
        shards=[_shard_status(shard) for shard in node.shards],
        peers={peer["name"]: peer for peer in node.peers.status()},
        clients={
            "connected": len(service.sessions),
            "held_bytes": service.held_bytes,
            "accepted": service.connections_count,
            "commands": service.commands_count,
            "failed_authentications": service.failed_authentications,
            "failed": service.failed_connections,
            "refused": {
                "too many clients": service.rejected_connections,
                "too slow to read": service.evicted_connections,
                "too much held": service.crowded_connections,
                "timed out": service.timed_out_connections,
            },
        },
        wal={
            "batches": node.wal.batch_count,
            "bytes": node.wal.written_bytes,
            "syncs": node.sync_count,
            "sync_seconds": node.sync_seconds,
            "segments": node.wal.segment_count,
        },
        refused={
            "client: no RESP": service.protocol_errors,
            **{f"peer: {reason}": count for reason, count in node.peers.refused.items()},
        },
        timing_warning=node.timing_warning,
    )


def _shard_status(shard: Shard) -> ShardStatus:
    core = shard.core
    last = core.log.last
    failed = shard.driver.failed
    lag = (
        {str(peer.id): max(0, last - peer.match) for peer in core.progress.values()}
        if shard.leads
        else {}
    )
    return ShardStatus(
        id=shard.number,
        role=core.role,
        leader=None if shard.leader is None else str(shard.leader),
        term=core.term,
        commit=core.commit,
        applied=core.last_applied,
        lag=lag,
        has_lease=bool(core.has_lease),
        keys=len(shard.store.data),
        bytes=shard.store.size,
        failed=None if failed is None else str(failed),
    )
