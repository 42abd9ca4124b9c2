"""CLUSTER: the cluster as clients of Redis Cluster see it.

A node leads some shards and follows others, where one of Redis is a master or a replica.  CLUSTER
SLOTS and SHARDS tell it shard by shard.  CLUSTER NODES has one role for each node: whoever leads a
shard is a master, with the slots of all shards it leads; the others are replicas of one of those.

Any node answers any key, so nobody is ever redirected; the topology only shortens the way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ringleader.node.commands import INTERNAL, Command
from ringleader.node.connection_commands import integer
from ringleader.node.dispatch import Local, Subcommands
from ringleader.node.replies import CommandError, Reply
from ringleader.node.routing import NodeView, ShardView, Topology, Waiting
from ringleader.node.slots import SLOTS, slot_of

if TYPE_CHECKING:
    from ringleader.node.session import Session

#: What Redis adds to a port for its bus, where a node does not say which one it has.
_BUS_OFFSET: Final = 10_000


def _members(topology: Topology, shard: ShardView, dc: str) -> list[NodeView]:
    """The nodes of a shard that a client in `dc` should ask: the leader first, then the replicas in
    `dc`, or where there is none of the shard's nodes, the others; those that are down are left out
    while others are there.  Clients take all that follow the leader for equally good."""
    nodes = _nodes_of(topology, shard, dc)
    alive = [node for node in nodes if node.alive] or nodes
    near = [node for node in alive if node.dc == dc]
    return [node for node in alive if not near or node.name == shard.leader or node in near]


def _nodes_of(topology: Topology, shard: ShardView, dc: str) -> list[NodeView]:
    """All nodes of a shard: the leader first, then those in `dc`, then the others."""
    names = dict.fromkeys((*((shard.leader,) if shard.leader else ()), *shard.replicas))
    nodes = [topology.by_name[name] for name in names if name in topology.by_name]
    return sorted(nodes, key=lambda node: (node.name != shard.leader, node.dc != dc))


def slots(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    cluster = session.service.cluster
    topology = cluster.topology()
    rows: list[tuple[int, Reply]] = []
    for shard in topology.shards:
        nodes: list[Reply] = [
            [node.host.encode(), node.port, node.id.encode(), []]
            for node in _members(topology, shard, cluster.dc)
        ]
        rows += [(first, [first, last, *nodes]) for first, last in shard.ranges]
    rows.sort(key=lambda row: row[0])
    return [row for _, row in rows]


def shards(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    cluster = session.service.cluster
    topology = cluster.topology()
    replies: list[Reply] = []
    for shard in topology.shards:
        nodes = _nodes_of(topology, shard, cluster.dc)
        replies.append(
            {
                b"slots": [slot for ends in shard.ranges for slot in ends],
                b"nodes": [
                    {
                        b"id": node.id.encode(),
                        b"port": node.port,
                        b"ip": node.host.encode(),
                        b"endpoint": node.host.encode(),
                        b"role": b"master" if node.name == shard.leader else b"replica",
                        b"replication-offset": 0,
                        b"health": b"online" if node.alive else b"fail",
                    }
                    for node in nodes
                ],
            }
        )
    return replies


def _led(topology: Topology, name: str) -> list[ShardView]:
    return [shard for shard in topology.shards if shard.leader == name]


def _ranges(led: Sequence[ShardView]) -> list[tuple[int, int]]:
    """The slots of some shards, ranges that touch joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ends for shard in led for ends in shard.ranges):
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def nodes(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    cluster = session.service.cluster
    topology = cluster.topology()
    now_ms = int(session.service.clock_s() * 1000)
    lines: list[str] = []
    for node in topology.nodes:
        led = _led(topology, node.name)
        followed = next(
            (
                topology.by_name[shard.leader]
                for shard in topology.shards
                if node.name in shard.replicas
                and shard.leader is not None
                and shard.leader in topology.by_name
            ),
            None,
        )
        flags = ["myself"] if node.name == cluster.name else []
        master = "-"
        if led or followed is None:
            flags.append("master")
        else:
            flags.append("slave")
            master = followed.id
        if not node.alive:
            flags.append("fail")
        epoch = max((shard.term for shard in led), default=0)
        bus = node.peer_port or node.port + _BUS_OFFSET
        parts = [
            node.id,
            f"{node.host}:{node.port}@{bus}",
            ",".join(flags),
            master,
            "0",
            "0" if node.name == cluster.name else str(now_ms),
            str(epoch),
            "connected" if node.alive else "disconnected",
            *(f"{first}-{last}" if first < last else f"{first}" for first, last in _ranges(led)),
        ]
        lines.append(" ".join(parts) + "\n")
    return "".join(lines).encode()


def info(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    cluster = session.service.cluster
    topology = cluster.topology()
    sizes = {
        shard.number: sum(last - first + 1 for first, last in shard.ranges)
        for shard in topology.shards
    }
    assigned = sum(sizes.values())
    led = sum(sizes[shard.number] for shard in topology.shards if shard.leader is not None)
    masters = {shard.leader for shard in topology.shards if shard.leader is not None}
    own = _led(topology, cluster.name)
    fields = {
        "cluster_enabled": 1,
        "cluster_state": "ok" if led == SLOTS else "fail",
        "cluster_slots_assigned": assigned,
        "cluster_slots_ok": led,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": assigned - led,
        "cluster_known_nodes": len(topology.nodes),
        "cluster_size": len(masters),
        "cluster_current_epoch": max((shard.term for shard in topology.shards), default=0),
        "cluster_my_epoch": max((shard.term for shard in own), default=0),
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
    }
    return "".join(f"{key}:{value}\r\n" for key, value in fields.items()).encode()


def keyslot(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return slot_of(args[2])


def _own(session: Session) -> NodeView:
    cluster = session.service.cluster
    return cluster.topology().by_name[cluster.name]


def myid(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return _own(session).id.encode()


def myshardid(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    """A node has many shards: this names the first one that it leads or follows."""
    topology = session.service.cluster.topology()
    name = session.service.cluster.name
    mine = _led(topology, name) or [shard for shard in topology.shards if name in shard.replicas]
    number = mine[0].number if mine else -1
    return hashlib.sha1(b"shard %d" % number, usedforsecurity=False).hexdigest().encode()


def links(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    cluster = session.service.cluster
    return [
        {
            b"direction": b"to",
            b"node": node.id.encode(),
            b"create-time": int(session.service.started_s * 1000),
            b"events": b"rw",
            b"send-buffer-allocated": 0,
            b"send-buffer-used": 0,
        }
        for node in cluster.topology().nodes
        if node.alive and node.name != cluster.name
    ]


def _slot(text: bytes) -> int:
    slot = integer(text, "ERR Invalid or out of range slot")
    if not 0 <= slot < SLOTS:
        raise CommandError("ERR Invalid slot")
    return slot


def _ask(session: Session, name: bytes, slot: int, args: list[bytes], waiter: Waiting) -> Reply:
    command: Command = INTERNAL[name]
    shard = session.service.router.shard_of_slot[slot]
    return session.execute(command, [name, *args], shard, waiter)


def countkeysinslot(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    return _ask(session, b"SLOT.COUNT", _slot(args[2]), args[2:], waiter)


def getkeysinslot(session: Session, args: list[bytes], waiter: Waiting) -> Reply:
    if integer(args[3]) < 0:
        raise CommandError("ERR Invalid number of keys")
    return _ask(session, b"SLOT.KEYS", _slot(args[2]), args[2:], waiter)


_CLUSTER: Final = Subcommands(
    "CLUSTER",
    {
        "COUNTKEYSINSLOT": (3, countkeysinslot),
        "GETKEYSINSLOT": (4, getkeysinslot),
        "INFO": (2, info),
        "KEYSLOT": (3, keyslot),
        "LINKS": (2, links),
        "MYID": (2, myid),
        "MYSHARDID": (2, myshardid),
        "NODES": (2, nodes),
        "SHARDS": (2, shards),
        "SLOTS": (2, slots),
    },
    (
        "COUNTKEYSINSLOT <slot>",
        "    Return the number of keys in <slot>.",
        "GETKEYSINSLOT <slot> <count>",
        "    Return key names stored in a slot.",
        "INFO",
        "    Return information about the cluster.",
        "KEYSLOT <key>",
        "    Return the hash slot for <key>.",
        "LINKS",
        "    Return information about the connections to other nodes.",
        "MYID",
        "    Return the node id.",
        "MYSHARDID",
        "    Return the id of a shard of the node.",
        "NODES",
        "    Return the cluster as seen by this node, one line for each node.",
        "SHARDS",
        "    Return the shards, with their slots and nodes.",
        "SLOTS",
        "    Return ranges of slots, with the nodes that have them.",
    ),
)

COMMANDS: Final = (Local("CLUSTER", -2, _CLUSTER.run, "alone"),)
