"""PySyncObj, a whole group in one process and one thread: proposals until every node has them.

    python peer_pysyncobj.py [batched|unbatched]

A lap is asked for by a line "nodes batch count" on standard input, and answered by a line
"nanoseconds entries checksum": the checksum is the CRC32C of all payloads in their order, the same
on every node, or the program ends.  Its nodes speak over sockets of this machine; there is no other
way.  They are ticked by hand in turns, so that no thread waits for another, and keep nothing on
disk.  `batch` proposals are made before any of them is waited for.

batched     its settings as they are: entries are sent every 0.1 s
unbatched   appendEntriesUseBatch=False, which its documentation names for single requests: each
            tick of the leader sends what there is
"""

from __future__ import annotations

import socket
import sys
import time
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

from ringleader.hashing import crc32c

PAYLOAD_BYTES = 64
QUEUE_MAX = 100_000


class Machine(SyncObj):  # type: ignore[misc, unused-ignore]
    def __init__(self, address: str, others: list[str], batched: bool, leads: bool) -> None:
        timeouts = (0.4, 0.5) if leads else (30.0, 31.0)  # one of them has to lead at once
        super().__init__(
            address,
            others,
            SyncObjConf(
                autoTick=False,
                appendEntriesUseBatch=batched,
                commandsQueueSize=QUEUE_MAX,
                raftMinTimeout=timeouts[0],
                raftMaxTimeout=timeouts[1],
                connectionTimeout=40.0,
                connectionRetryTime=0.1,
                logCompactionMinTime=100_000,
                logCompactionMinEntries=10_000_000,
            ),
        )
        self.applied = 0
        self.crc = 0

    @replicated  # type: ignore[untyped-decorator, unused-ignore]
    def take(self, payload: bytes) -> None:
        self.applied += 1
        self.crc = crc32c(payload, self.crc)


def free_ports(count: int) -> list[int]:
    taken = [socket.socket() for _ in range(count)]
    for one in taken:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


def group(count: int, batched: bool) -> list[Machine]:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    nodes = [
        Machine(address, [other for other in addresses if other != address], batched, number == 0)
        for number, address in enumerate(addresses)
    ]
    patience = time.monotonic() + 30
    while not (all(node.isReady() for node in nodes) and nodes[0]._isLeader()):
        for node in nodes:
            node.doTick(0.01)
        assert time.monotonic() < patience, "no leader"
    return nodes


def propose(nodes: list[Machine], payloads: list[bytes], batch: int) -> None:
    leader = nodes[0]
    for at in range(0, len(payloads), batch):
        wanted = leader.applied + len(payloads[at : at + batch])
        for payload in payloads[at : at + batch]:
            leader.take(payload)
        while any(node.applied < wanted for node in nodes):
            for node in nodes:
                node.doTick(0.0)


def main() -> None:
    batched = sys.argv[1:] != ["unbatched"]
    groups: dict[int, list[Machine]] = {}
    for line in sys.stdin:
        count, batch, proposals = map(int, line.split())
        if count not in groups:
            groups[count] = group(count, batched)
        nodes = groups[count]
        payloads = [
            number.to_bytes(8, "little") * (PAYLOAD_BYTES // 8) for number in range(proposals)
        ]
        if not batched or batch > 1:
            propose(nodes, payloads[: 2 * batch], batch)
        for node in nodes:
            node.applied = node.crc = 0
        began = time.perf_counter_ns()
        propose(nodes, payloads, batch)
        took = time.perf_counter_ns() - began
        seen: set[tuple[Any, ...]] = {(node.applied, node.crc) for node in nodes}
        assert len(seen) == 1, f"the nodes differ: {seen}"
        print(took, nodes[0].applied, nodes[0].crc, flush=True)


if __name__ == "__main__":
    main()
