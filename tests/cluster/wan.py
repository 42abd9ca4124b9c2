"""Datacenters apart: network namespaces, and a router between them that delays, loses and cuts.

    with Wan(["eu", "us", "ap"]) as wan:
        wan.round_trip("eu", "us", 80)              # milliseconds
        with Cluster(path, dcs={"eu": 1, "us": 1, "ap": 1}, network=wan) as cluster:
            cluster.start()
            wan.cut("eu")                           # from everybody
            wan.cut_one_way("us", "ap")             # us is not heard in ap; ap is heard in us
            wan.heal()

Every datacenter is a network namespace without a name, so that it goes away with the last process
in it; a TUN device in it leads to the router, a process of its own, which moves IP packets between
the devices, each after the delay of its link.  The kernel's TCP does what it does on a real
network: it sends again what was lost, backs off while a link is cut, and only learns from silence.
Datacenter i (from 1) has the addresses 10.i.0.2 and up, one for each node.

It needs Linux, root, /dev/net/tun and iproute2; `missing()` says what there is not.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Any

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_TUN = "/dev/net/tun"
#: Nodes of one datacenter that have an address.
HOSTS_MAX = 32
PACKET_BYTES_MAX = 65_600
#: Taken from one device before the others have their turn.
BURST_MAX = 64
DATAGRAM_BYTES_MAX = 65_536
READY_SECONDS_MAX = 30.0

libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """Why there can be no such network here; None: there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path(_TUN).exists():
        return f"there is no {_TUN}"
    if shutil.which("ip") is None:
        return "ip is not installed (Debian: apt-get install iproute2)"
    asked = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    if asked.returncode != 0:
        return "this process may not make network namespaces"
    return None


@dataclass
class Link:
    """One direction between two datacenters.  Times in seconds, the others are probabilities."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    down: bool = False


class Wan:
    """The network, while the block lasts.  Satisfies `cluster.processes.Network`."""

    def __init__(self, dcs: Sequence[str], *, mtu: int = 1500, seed: int = 1) -> None:
        self.dcs = list(dcs)
        self.mtu = mtu
        self.seed = seed
        self.links = {pair: Link() for pair in permutations(self.dcs, 2)}
        self._namespaces: dict[str, int] = {}
        self._control: socket.socket | None = None
        self._router: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Wan:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(READY_SECONDS_MAX)
        with theirs:
            self._router = subprocess.Popen(
                [sys.executable, __file__, str(len(self.dcs)), str(self.mtu), str(self.seed)],
                stdin=theirs.fileno(),
            )
        self._control = ours
        try:
            said, fds, _, _ = socket.recv_fds(ours, 64, len(self.dcs))
            if said != b"ready" or len(fds) != len(self.dcs):
                raise RuntimeError("the router did not start; what it wrote says why")
        except BaseException:
            self._close()
            raise
        self._namespaces = dict(zip(self.dcs, fds, strict=True))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        for fd in self._namespaces.values():
            os.close(fd)
        self._namespaces = {}
        if self._control is not None:
            self._control.close()
        if self._router is not None:
            self._router.kill()
            self._router.wait()

    # --- as Network ------------------------------------------------------------------------------

    def host(self, dc: str, number: int) -> str:
        assert number < HOSTS_MAX, number
        return f"10.{self.dcs.index(dc) + 1}.0.{number + 2}"

    def namespace(self, dc: str) -> int:
        return self._namespaces[dc]

    # --- the links -------------------------------------------------------------------------------

    def round_trip(self, a: str, b: str, ms: float, *, jitter_ms: float = 0.0) -> None:
        """Delay each direction by half of this, and each packet by up to `jitter_ms` more."""
        for pair in ((a, b), (b, a)):
            self.links[pair].delay = ms / 2e3
            self.links[pair].jitter = jitter_ms / 1e3
        self._tell([(a, b), (b, a)])

    def lose(self, a: str, b: str, share: float) -> None:
        """Lose this share of the packets in each direction."""
        for pair in ((a, b), (b, a)):
            self.links[pair].loss = share
        self._tell([(a, b), (b, a)])

    def cut(self, dc: str, *others: str) -> None:
        """Cut `dc` off from these datacenters, or from all others, in both directions."""
        chosen = others or tuple(other for other in self.dcs if other != dc)
        for other in chosen:
            self.links[dc, other].down = self.links[other, dc].down = True
        self._tell([pair for other in chosen for pair in ((dc, other), (other, dc))])

    def cut_one_way(self, sender: str, receiver: str) -> None:
        """Nothing that `sender` sends reaches `receiver` any more."""
        self.links[sender, receiver].down = True
        self._tell([(sender, receiver)])

    def heal(self) -> None:
        """No link is cut, and none loses packets; delays stay."""
        for link in self.links.values():
            link.down = False
            link.loss = 0.0
        self._tell(self.links)

    def counts(self) -> dict[str, int]:
        """Packets that were forwarded, lost and cut so far."""
        return self._tell([])

    def _tell(self, pairs: Iterable[tuple[str, str]]) -> dict[str, int]:
        assert self._control is not None, "within the block"
        index = {dc: number for number, dc in enumerate(self.dcs)}
        changes = [[index[a], index[b], asdict(self.links[a, b])] for a, b in pairs]
        self._control.send(json.dumps(changes).encode())
        answer: dict[str, int] = json.loads(self._control.recv(DATAGRAM_BYTES_MAX))
        return answer


# --- the router, in its own process --------------------------------------------------------------


def _new_namespace(number: int, mtu: int) -> tuple[int, int]:
    """A namespace with a TUN device in it: the file descriptors of both.

    Leaves this process in the namespace.
    """
    if libc.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    namespace = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    tun = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"wan0", _IFF_TUN_NO_PI))
    lines = [
        "link set lo up",
        f"addr add 10.{number}.0.1/8 dev wan0",
        f"link set wan0 mtu {mtu} up txqueuelen 10000",
        *(f"addr add 10.{number}.0.{host + 2}/32 dev lo" for host in range(HOSTS_MAX)),
    ]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)
    return namespace, tun


class _Router:
    def __init__(self, tuns: Sequence[int], control: socket.socket, seed: int) -> None:
        self.tuns = tuns
        self.control = control
        count = len(tuns)
        self.links = [[Link() for _ in range(count)] for _ in range(count)]
        #: (when, number, device, packet) of what is on its way.
        self.waiting: list[tuple[float, int, int, bytes]] = []
        self.number = 0
        self.counts = {"forwarded": 0, "lost": 0, "cut": 0}
        self.random = random.Random(seed)

    def run(self) -> None:
        """Until the other end of the control socket is closed."""
        inputs = [self.control.fileno(), *self.tuns]
        positions = {fd: at for at, fd in enumerate(self.tuns)}
        while True:
            wait = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            # Not epoll: its time-outs are whole milliseconds.
            for fd in select.select(inputs, [], [], wait)[0]:
                if fd in positions:
                    self.take(positions[fd])
                elif not self.obey():
                    return
            self.forward()

    def take(self, sender: int) -> None:
        links = self.links[sender]
        counts, rng = self.counts, self.random
        for _ in range(BURST_MAX):
            try:
                packet = os.read(self.tuns[sender], PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            receiver = packet[17] - 1 if packet[0] >> 4 == 4 else -1
            if not 0 <= receiver < len(links) or receiver == sender:
                continue
            link = links[receiver]
            if link.down:
                counts["cut"] += 1
                continue
            if link.loss and rng.random() < link.loss:
                counts["lost"] += 1
                continue
            copies = 2 if link.duplicate and rng.random() < link.duplicate else 1
            for _ in range(copies):
                due = time.monotonic() + link.delay
                if link.jitter:
                    due += rng.random() * link.jitter
                self.number += 1
                heapq.heappush(self.waiting, (due, self.number, self.tuns[receiver], packet))

    def forward(self) -> None:
        waiting, now = self.waiting, time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, tun, packet = heapq.heappop(waiting)
            try:
                os.write(tun, packet)
                self.counts["forwarded"] += 1
            except OSError:
                self.counts["lost"] += 1

    def obey(self) -> bool:
        said = self.control.recv(DATAGRAM_BYTES_MAX)
        if not said:
            return False
        changes: list[tuple[int, int, dict[str, Any]]] = json.loads(said)
        for sender, receiver, fields in changes:
            self.links[sender][receiver] = Link(**fields)
        self.control.send(json.dumps(self.counts).encode())
        return True


def _route(count: int, mtu: int, seed: int) -> None:
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    # Where both CPUs are busy, the network would be slow before anything else.
    os.nice(-10)
    made = [_new_namespace(number + 1, mtu) for number in range(count)]
    with socket.socket(fileno=os.dup(0)) as control:
        socket.send_fds(control, [b"ready"], [namespace for namespace, _ in made])
        for namespace, _ in made:
            os.close(namespace)
        _Router([tun for _, tun in made], control, seed).run()


if __name__ == "__main__":
    _route(*map(int, sys.argv[1:4]))
