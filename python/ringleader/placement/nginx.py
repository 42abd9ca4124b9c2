"""The ring of nginx's `hash ... consistent` (ngx_http_upstream_hash_module).

In short:

    points(server)  160 * weight of them, each crc32(host, 0, port, the point before it as a
                    little-endian u32, which is 0 before the first)
    owner(key)      the server of the first point >= crc32(key), wrapping past the last to the
                    first; of equal points only the first server's stays
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.hashing import crc32
from ringleader.placement import saved
from ringleader.placement.listed import ListedRing, in_order, whole_weight
from ringleader.placement.node import Node
from ringleader.placement.ranges import Space

Self = TypeVar("Self", bound="NginxRing")

POINTS = 160
WEIGHT_MAX = 2**31 - 1


def host_and_port(server: str) -> tuple[str, str]:
    """A server's name as nginx takes it apart: what stands behind the last colon is a port if it
    is all digits; a Unix socket is its path."""
    if server[:5].lower() == "unix:":
        return server[5:], ""
    host, colon, port = server.rpartition(":")
    if colon and all("0" <= digit <= "9" for digit in port):
        return host, port
    return server, ""


class NginxRing(ListedRing):
    """The servers that nginx chooses with `hash $key consistent`.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in the order of the upstream
            block; each name as its `server` line has it ("10.0.0.1:8080", "app.internal",
            "unix:/run/app.sock").  The order decides between servers whose points are equal.

    `get_nodes(key, n)` are the servers in the order in which nginx goes on when one is down (it
    gives up after 20 points and takes turns instead).  nginx also takes turns for an empty key,
    which here belongs to the owner of hash 0.

    Keys are the text of the `hash` directive; an int key is hashed as its 8 bytes
    (docs/formats.md), not as its decimal text, which is what nginx would see: pass `str(number)`.

    Weights are whole numbers, as in nginx.  Points depend on a server's own name and weight only,
    so that a change moves only keys from or to the server concerned.

    Cost: a lookup one CRC and O(1) on average; building, and each change, O(points).

    Raises:
        DuplicateNode, NodeError, NodeTypeError: as `HashRing`.
        WeightError: a weight is not whole, or too large.
        LimitError: more points or nodes than `ringleader.limits` allows.
    """

    _saved_kind = 4
    _hash_kind = 5

    def __init__(self, nodes: Iterable[str | Node] | Mapping[str, float] = ()) -> None:
        self._start(in_order(nodes))

    @property
    def space(self) -> Space:
        """Which hash space the ring cuts into ranges: CRC-32."""
        return Space("hash", "crc32", bits=32)

    def _counts(self, live: Sequence[Node]) -> list[int]:
        return [POINTS * whole_weight(node, WEIGHT_MAX, "nginx") for node in live]

    def _points(self, live: Sequence[Node], counts: Sequence[int]) -> list[NDArray[np.uint64]]:
        made = []
        for node, count in zip(live, counts, strict=True):
            host, port = host_and_port(node.name)
            points = np.empty(count, np.uint64)
            kernels.hashing.nginx_points(crc32(f"{host}\0{port}"), points)
            made.append(points)
        return made

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        points_max: int = limits.POINTS_MAX,
    ) -> Self:
        """The ring that `to_bytes` saved; see `HashRing.from_bytes`.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved nginx ring.
            VersionError: they were written by a newer version.
            FormatTypeError, SettingTypeError: `data` is no bytes, `points_max` no int.
        """

        def settings(reader: saved.Reader) -> dict[str, Any]:
            return {}

        return cls._from_bytes(data, points_max, settings)
