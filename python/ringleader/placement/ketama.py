"""The ring of libketama (Jones 2007), which most clients of memcached agree on.

In short, with `servers` the servers of positive weight and `total` their weights' sum:

    digests(server)  = floor(weight / total * servers * 40)
    points(server)   = the four little-endian u32 of md5("<name>-<i>"), i = 0 .. digests - 1
    owner(key)       = the server of the first point >= the first little-endian u32 of md5(key),
                       wrapping past the last to the first

The floor is taken of floating-point numbers, and each flavor rounds on its own way there: with
some numbers of servers of equal weight a server gets 39 digests instead of 40.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import limits
from ringleader.errors import DuplicateNode, FormatError, SettingError, WeightError
from ringleader.hashing import md5_column
from ringleader.placement import saved
from ringleader.placement.listed import ListedRing, in_order, whole_weight
from ringleader.placement.node import Node
from ringleader.placement.ranges import Space

Self = TypeVar("Self", bound="KetamaRing")

#: The numbers stand in saved rings.
FLAVORS = {"libketama": 0, "libmemcached": 1}
DIGESTS = 40
WEIGHT_MAX = 2**32 - 1
#: libmemcached leaves its default port out of a server's name.
MEMCACHED_PORT = 11211


def memcached_name(name: str) -> str:
    """What libmemcached hashes for a server: the bare host when the port is 11211.

    A name without a port has that port; a path is a Unix socket, whose port is 0; brackets around
    an IPv6 address are not part of it.
    """
    if name.startswith("/"):
        return f"{name}:0"
    host, colon, port = name.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and port.isascii() and port.isdigit() and (":" not in host or bracketed)):
        host, port = name, str(MEMCACHED_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    return host if int(port) == MEMCACHED_PORT else f"{host}:{int(port)}"


class KetamaRing(ListedRing):
    """A ketama ring: the servers that memcached clients with ketama choose, key by key.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in the order of the other
            clients' list.  It decides between servers whose points are equal: about three
            pairs of points among the 160,000 of 1000 servers.
        flavor: "libketama" hashes names as they are given, as its server file has them
            ("10.0.1.1:11211"); "libmemcached" is libmemcached (and pylibmc) with
            MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, which leaves the port out where it is 11211.

    Keys are text or bytes, hashed as they are; an int key is hashed as its 8 bytes
    (docs/formats.md), not as its decimal text, which is what a client that takes numbers sends:
    pass `str(number)`. libketama itself reads a key up to its first zero byte.

    Weights are whole numbers.  A change of one weight changes `total`, and with it the number of
    points of *other* servers: weighted ketama moves keys between servers that have nothing to do
    with the change (of all keys 1.8% where one of ten equal weights grew by a tenth, 5.7% where it
    doubled). Servers of equal weight keep their points when one comes or goes, but for what the
    rounding takes.

    Cost: a lookup one MD5 and O(1) on average; building, and each change, O(points), one MD5 for
    four of them.

    Raises:
        DuplicateNode, NodeError, NodeTypeError: as `HashRing`; also two names of one server.
        WeightError: a weight is not whole, or the weights' sum leaves 32 bits.
        SettingError: the flavor is unknown.
        LimitError: more points or nodes than `ringleader.limits` allows.
    """

    _saved_kind = 3
    _hash_kind = 4

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        flavor: str = "libketama",
    ) -> None:
        if not isinstance(flavor, str) or flavor not in FLAVORS:
            raise SettingError(f"flavor {flavor!r} is not one of {', '.join(FLAVORS)}")
        self._start(in_order(nodes), flavor)

    @property
    def flavor(self) -> str:
        """Whose ring it is: "libketama" or "libmemcached"."""
        flavor: str = self._settings[0]
        return flavor

    @property
    def space(self) -> Space:
        """Which hash space the ring cuts into ranges: 32 bits of MD5."""
        return Space("hash", "ketama", bits=32)

    def _describe(self) -> str:
        return f", flavor={self.flavor!r}"

    def _hashed_names(self, live: Sequence[Node]) -> list[str]:
        if self.flavor == "libketama":
            return [node.name for node in live]
        names = [memcached_name(node.name) for node in live]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DuplicateNode(
                f"two nodes are the server {twice!r}: port {MEMCACHED_PORT} is the default"
            )
        return names

    def _counts(self, live: Sequence[Node]) -> list[int]:
        self._hashed_names(live)
        weights = [whole_weight(node, WEIGHT_MAX, self.flavor) for node in live]
        total = sum(weights)
        if total > WEIGHT_MAX:
            raise WeightError(
                f"the weights sum up to {total}, but {self.flavor} counts them in 32 bits; "
                "divide all by the same number"
            )
        share = np.array(weights, np.float64).astype(np.float32) / np.float32(total)
        servers = np.float32(len(live))
        if self.flavor == "libketama":
            exact = share.astype(np.float64) * DIGESTS * np.float64(servers)
        else:
            points = share * np.float32(4 * DIGESTS)
            exact = (points / np.float32(4) * servers).astype(np.float64) + 1e-10
        return [4 * int(digests) for digests in np.floor(exact.astype(np.float32))]

    def _points(self, live: Sequence[Node], counts: Sequence[int]) -> list[NDArray[np.uint64]]:
        names = self._hashed_names(live)
        texts = (
            f"{name}-{i}"
            for name, count in zip(names, counts, strict=True)
            for i in range(count // 4)
        )
        words = md5_column(texts).view("<u4").astype(np.uint64) << np.uint64(32)
        return np.split(words.reshape(-1), np.cumsum(counts)[:-1]) if live else []

    def _write(self, body: saved.Writer) -> None:
        body.put("H", FLAVORS[self.flavor])

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        points_max: int = limits.POINTS_MAX,
    ) -> Self:
        """The ring that `to_bytes` saved; see `HashRing.from_bytes`.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved ketama ring.
            VersionError: they were written by a newer version.
            FormatTypeError, SettingTypeError: `data` is no bytes, `points_max` no int.
        """

        def settings(reader: saved.Reader) -> dict[str, Any]:
            (number,) = reader.take("H")
            names = {number: name for name, number in FLAVORS.items()}
            if number not in names:
                raise FormatError(f"flavor {number} of the saved ketama ring is unknown")
            return {"flavor": names[number]}

        return cls._from_bytes(data, points_max, settings)
