"""The other libraries, each driven in the fastest way that its documentation shows.

Two kinds: *column peers* answer whole columns of keys on given tokens and owners, with a hash of
their own; *ring peers* are hash rings that answer one key (or a list of them) at a time.

A peer that cannot be imported is `Absent`, with the reason, and stays visible in the tables.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.harness import Absent, Contestant

Tokens = NDArray[np.uint64]
Owners = NDArray[np.uint32]

#: Distribution -> the module to import.
MODULES = {
    "cassandra-driver": "cassandra.cmurmur3",
    "duckdb": "duckdb",
    "essential-paxos": "paxos.essential",
    "fastring": "fastring",
    "jump-consistent-hash": "jump",
    "mmh3": "mmh3",
    "numba": "numba",
    "polars": "polars",
    "polars-hash": "polars_hash",
    "pyarrow": "pyarrow",
    "pymemcache": "pymemcache.client.rendezvous",
    "pysyncobj": "pysyncobj",
    "swift": "swift.common.ring.builder",
    "redis": "redis.crc",
    "tooz": "tooz.hashring",
    "uhashring": "uhashring",
    "xxhash": "xxhash",
}
PYTHON_MIN = {"fastring": (3, 13)}


def missing(*distributions: str) -> str | None:
    """Why these cannot be used here; None when they can."""
    for distribution in distributions:
        try:
            importlib.import_module(MODULES[distribution])
        except ImportError as error:
            least = PYTHON_MIN.get(distribution)
            if least is not None and sys.version_info < least:
                return f"{distribution} needs Python >= {'.'.join(map(str, least))}"
            if isinstance(error, ModuleNotFoundError) and error.name == MODULES[distribution]:
                return f"{distribution} is not installed"
            return f"{distribution} cannot be imported: {error}"
    return None


def versions() -> dict[str, str]:
    """The version of every peer that is installed."""
    found = {}
    for distribution in MODULES:
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[distribution] = "not installed"
    return found


# --- columns -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """A column lookup, made ready.

    Attributes:
        run: a lap; gives the owner of each key.
        hashes: the hash that the peer gave each key, to check its answers by.
        ordered: whether the answers come in the order of the keys.
    """

    run: Callable[[], NDArray[Any]]
    hashes: Callable[[], NDArray[np.uint64]]
    ordered: bool = True


@dataclass(frozen=True)
class ColumnPeer:
    """A way to answer a column: `prepare` gets tokens, owners and the keys."""

    name: str
    needs: tuple[str, ...]
    prepare: Callable[[Tokens, Owners, Any], Work]

    def enter(self, tokens: Tokens, owners: Owners, keys: Any) -> Contestant | Absent:
        """The contestant, whose answers were checked: all of them, against a search."""
        reason = missing(*self.needs)
        if reason is not None:
            return Absent(self.name, reason)
        work = self.prepare(tokens, owners, keys)
        answers = np.asarray(work.run())
        hashes = work.hashes()
        at = np.searchsorted(tokens, hashes)
        # NumPy is a contestant itself: the standard library vouches for it.
        points = tokens.tolist()
        some = slice(None, None, max(1, len(keys) // 200))
        assert at[some].tolist() == [bisect_left(points, value) for value in hashes[some].tolist()]
        wanted = owners[np.where(at == len(tokens), 0, at)]
        if work.ordered:
            assert np.array_equal(answers, wanted), self.name
            return Contestant(self.name, work.run, len(keys))
        assert np.array_equal(np.sort(answers), np.sort(wanted)), self.name
        return Contestant(
            self.name, work.run, len(keys), answers=lambda: np.sort(np.asarray(work.run()))
        )


def wrapped(owners: Owners) -> Owners:
    """The owners, with the first again after the last: where a search past all tokens ends."""
    return np.append(owners, owners[:1])


SPLITMIX_GAMMA = 0x9E3779B97F4A7C15
SPLITMIX_1 = 0xBF58476D1CE4E5B9
SPLITMIX_2 = 0x94D049BB133111EB
#: NumPy works through the keys in pieces whose temporaries stay in the cache.
NUMPY_PIECE = 1 << 15


def splitmix(
    keys: NDArray[np.uint64], out: NDArray[np.uint64], scratch: NDArray[np.uint64]
) -> None:
    """SplitMix64 of every key, without temporaries."""
    np.add(keys, np.uint64(SPLITMIX_GAMMA), out=out)
    for shift, multiplier in ((30, SPLITMIX_1), (27, SPLITMIX_2)):
        np.right_shift(out, np.uint64(shift), out=scratch)
        np.bitwise_xor(out, scratch, out=out)
        np.multiply(out, np.uint64(multiplier), out=out)
    np.right_shift(out, np.uint64(31), out=scratch)
    np.bitwise_xor(out, scratch, out=out)


def splitmix_column(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes = np.empty_like(keys)
    scratch = np.empty(NUMPY_PIECE, np.uint64)
    for lo in range(0, len(keys), NUMPY_PIECE):
        piece = keys[lo : lo + NUMPY_PIECE]
        splitmix(piece, hashes[lo : lo + NUMPY_PIECE], scratch[: len(piece)])
    return hashes


def _numpy_words(tokens: Tokens, owners: Owners, keys: NDArray[np.uint64]) -> Work:
    table = wrapped(owners)
    out = np.empty(len(keys), np.uint32)
    hashes = np.empty(NUMPY_PIECE, np.uint64)
    scratch = np.empty(NUMPY_PIECE, np.uint64)

    def run() -> NDArray[np.uint32]:
        for lo in range(0, len(keys), NUMPY_PIECE):
            piece = keys[lo : lo + NUMPY_PIECE]
            part = hashes[: len(piece)]
            splitmix(piece, part, scratch[: len(piece)])
            np.take(table, tokens.searchsorted(part), out=out[lo : lo + len(piece)], mode="clip")
        return out

    return Work(run, lambda: splitmix_column(keys))


def _numba_words(tokens: Tokens, owners: Owners, keys: NDArray[np.uint64]) -> Work:
    import numba

    table = wrapped(owners)
    out = np.empty(len(keys), np.uint32)
    gamma, first, second = np.uint64(SPLITMIX_GAMMA), np.uint64(SPLITMIX_1), np.uint64(SPLITMIX_2)
    by30, by27, by31 = np.uint64(30), np.uint64(27), np.uint64(31)

    # Searches that advance together hide one another's cache misses: four times the plain loop.
    together = 16

    @numba.njit(nogil=True)  # type: ignore[untyped-decorator]
    def loop(keys: Any, tokens: Any, table: Any, out: Any) -> None:
        hashes = np.empty(together, np.uint64)
        lows = np.empty(together, np.int64)
        for base in range(0, len(keys), together):
            count = min(together, len(keys) - base)
            for j in range(count):
                h = keys[base + j] + gamma
                h = (h ^ (h >> by30)) * first
                h = (h ^ (h >> by27)) * second
                hashes[j] = h ^ (h >> by31)
                lows[j] = 0
            length = len(tokens)
            while length > 1:
                half = length >> 1
                for j in range(count):
                    lows[j] += half * (tokens[lows[j] + half - 1] < hashes[j])
                length -= half
            for j in range(count):
                out[base + j] = table[lows[j] + (tokens[lows[j]] < hashes[j])]

    def run() -> NDArray[np.uint32]:
        loop(keys, tokens, table, out)
        return out

    return Work(run, lambda: splitmix_column(keys))


def _polars(tokens: Tokens, owners: Owners, keys: Any) -> Work:
    import polars as pl

    column, points, table = pl.Series(keys), pl.Series(tokens), pl.Series(wrapped(owners))

    def run() -> NDArray[np.uint32]:
        return table.gather(points.search_sorted(column.hash(), "left")).to_numpy()

    return Work(run, lambda: column.hash().to_numpy())


def _polars_hash_texts(tokens: Tokens, owners: Owners, keys: Any) -> Work:
    import polars as pl
    import polars_hash as plh

    frame = pl.DataFrame({"key": pl.Series(keys)})
    points, table = pl.Series(tokens), pl.Series(wrapped(owners))
    hashed = plh.col("key").nchash.xxh3_64()

    def run() -> NDArray[np.uint32]:
        hashes = frame.select(hashed).to_series()
        return table.gather(points.search_sorted(hashes, "left")).to_numpy()

    return Work(run, lambda: frame.select(hashed).to_series().to_numpy())


def _duckdb(tokens: Tokens, owners: Owners, keys: Any) -> Work:
    import duckdb
    import pyarrow as pa

    # Its own tables, so that it need not convert; order is not asked for, which is faster.
    connection = duckdb.connect()
    for name, table in (
        ("points", pa.table({"token": tokens, "owner": owners})),
        ("keys", pa.table({"key": keys})),
    ):
        connection.register("given", table)
        connection.execute(f"create table {name} as select * from given").fetchall()
        connection.unregister("given")
    query = (
        f"select coalesce(owner, {int(owners[0])}::uinteger) as owner "
        "from (select hash(key) as h from keys) asof left join points on h <= token"
    )

    def run() -> NDArray[np.uint32]:
        return connection.execute(query).fetchnumpy()["owner"]

    def hashes() -> NDArray[np.uint64]:
        return connection.execute("select hash(key) as h from keys").fetchnumpy()["h"]

    return Work(run, hashes, ordered=False)


def _xxhash(tokens: Tokens, owners: Owners, keys: Any) -> Work:
    from xxhash import xxh3_64_intdigest

    table = wrapped(owners)

    def hashes() -> NDArray[np.uint64]:
        plain = keys if isinstance(keys, list) else keys.tolist()
        if isinstance(plain[0], str):
            plain = map(str.encode, plain)
        return np.fromiter(map(xxh3_64_intdigest, plain), np.uint64, len(keys))

    def run() -> NDArray[np.uint32]:
        return table[tokens.searchsorted(hashes())]

    return Work(run, hashes)


def _bisect_words(tokens: Tokens, owners: Owners, keys: NDArray[np.uint64]) -> Work:
    from xxhash import xxh3_64_intdigest

    points, table = tokens.tolist(), wrapped(owners).tolist()
    numbers = keys.tolist()

    def run() -> NDArray[np.uint32]:
        found = [
            table[bisect_left(points, xxh3_64_intdigest(number.to_bytes(8, "little")))]
            for number in numbers
        ]
        return np.array(found, np.uint32)

    def hashes() -> NDArray[np.uint64]:
        digests = [xxh3_64_intdigest(number.to_bytes(8, "little")) for number in numbers]
        return np.array(digests, np.uint64)

    return Work(run, hashes)


def threads() -> dict[str, int]:
    """How many threads the peers use that choose it themselves; we use one."""
    found = {}
    if missing("polars") is None:
        import polars

        found["polars"] = polars.thread_pool_size()
    if missing("duckdb") is None:
        import duckdb

        with duckdb.connect() as connection:
            ((count,),) = connection.execute("select current_setting('threads')").fetchall()
        found["duckdb"] = int(count)
    return found


NUMPY = ColumnPeer("NumPy splitmix + searchsorted", (), _numpy_words)
NUMBA = ColumnPeer("numba", ("numba",), _numba_words)
POLARS = ColumnPeer("Polars", ("polars",), _polars)
DUCKDB = ColumnPeer("DuckDB", ("duckdb", "pyarrow"), _duckdb)
BISECT = ColumnPeer("xxhash + bisect", ("xxhash",), _bisect_words)
POLARS_HASH = ColumnPeer("polars-hash", ("polars", "polars-hash"), _polars_hash_texts)
XXHASH = ColumnPeer("xxhash + searchsorted", ("xxhash",), _xxhash)


# --- rings ---------------------------------------------------------------------------------------


def call_loop(function: Callable[[Any], Any], keys: Sequence[Any]) -> Callable[[], Any]:
    def run() -> Any:
        for key in keys:
            answer = function(key)
        return answer

    return run


def empty_loop(keys: Sequence[Any]) -> Callable[[], Any]:
    def run() -> Any:
        for key in keys:
            answer = key
        return answer

    return run


def subscript_loop(mapping: Any, keys: Sequence[Any]) -> Callable[[], Any]:
    def run() -> Any:
        for key in keys:
            answer = mapping[key]
        return answer

    return run


class RingPeer(ABC):
    """A hash ring of another library: nodes x 160 points; takes `str` unless `keys` converts."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    @abstractmethod
    def build(self, names: Sequence[str]) -> Any:
        """A ring of these nodes."""

    @abstractmethod
    def lookup(self, ring: Any) -> Callable[[Any], Any]:
        """What gives the owner of a key: to be called in the loop, with nothing in between."""

    def loop(self, ring: Any, keys: list[Any]) -> Callable[[], Any]:
        """A lap that looks up every key, one by one; gives the last answer."""
        return call_loop(self.lookup(ring), keys)

    def keys(self, keys: list[str]) -> list[Any]:
        """The keys as this ring takes them."""
        return keys

    def node(self, answer: Any) -> str:
        """The node's name in an answer of `lookup`."""
        return answer  # type: ignore[no-any-return]

    def missing(self) -> str | None:
        return missing(*self.needs)


class ChangingPeer(RingPeer):
    """A ring whose nodes come and go while it serves."""

    @abstractmethod
    def replicas(self, ring: Any) -> Callable[[Any, int], Any]:
        """What gives the first so many distinct nodes of a key."""

    def add(self, ring: Any, name: str) -> None:
        ring.add_node(name)

    def remove(self, ring: Any, name: str) -> None:
        ring.remove_node(name)


class Fastring(ChangingPeer):
    name = "fastring"
    needs = ("fastring",)

    def build(self, names: Sequence[str]) -> Any:
        import fastring

        ring = fastring.HashRing(virtual_nodes=160)
        for name in names:
            ring.add_node(name)
        return ring

    def lookup(self, ring: Any) -> Callable[[Any], Any]:
        return ring.get_node  # type: ignore[no-any-return]

    def loop(self, ring: Any, keys: list[Any]) -> Callable[[], Any]:
        return subscript_loop(ring, keys)

    def replicas(self, ring: Any) -> Callable[[Any, int], Any]:
        return ring.get_replicas  # type: ignore[no-any-return]

    def batch(self, ring: Any) -> Callable[[list[str]], list[Any]]:
        return ring.get_node_batch  # type: ignore[no-any-return]


class Uhashring(ChangingPeer):
    name = "uhashring"
    needs = ("uhashring",)
    options: ClassVar[dict[str, Any]] = {}

    def build(self, names: Sequence[str]) -> Any:
        import uhashring

        return uhashring.HashRing(nodes=list(names), **self.options)

    def lookup(self, ring: Any) -> Callable[[Any], Any]:
        return ring.get_node  # type: ignore[no-any-return]

    def replicas(self, ring: Any) -> Callable[[Any, int], Any]:
        return lambda key, count: [node["nodename"] for node in ring.range(key, count)]


class UhashringKetama(Uhashring):
    name = "uhashring (ketama)"
    options: ClassVar[dict[str, Any]] = {"hash_fn": "ketama"}


class Tooz(ChangingPeer):
    name = "tooz"
    needs = ("tooz",)

    def build(self, names: Sequence[str]) -> Any:
        from tooz.hashring import HashRing

        return HashRing(names, partitions=160)

    def keys(self, keys: list[str]) -> list[Any]:
        return [key.encode() for key in keys]

    def lookup(self, ring: Any) -> Callable[[Any], Any]:
        return ring.get_nodes  # type: ignore[no-any-return]

    def replicas(self, ring: Any) -> Callable[[Any, int], Any]:
        return lambda key, count: ring.get_nodes(key, replicas=count)

    def node(self, answer: Any) -> str:
        (name,) = answer
        return name  # type: ignore[no-any-return]


class Md5Bisect(RingPeer):
    """What many write by hand: MD5 of the standard library, a sorted list, bisect."""

    name = "hashlib.md5 + bisect"
    needs = ()

    @staticmethod
    def _hash(text: str) -> int:
        digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
        return int.from_bytes(digest[:8], "little")

    def build(self, names: Sequence[str]) -> Any:
        points = [(self._hash(f"{name}-{i}"), name) for name in names for i in range(160)]
        points.sort()
        return [token for token, _ in points], [name for _, name in points]

    def lookup(self, ring: Any) -> Callable[[Any], Any]:
        tokens, nodes = ring
        nodes = [*nodes, nodes[0]]
        md5 = hashlib.md5

        def get(key: str) -> str:
            digest = md5(key.encode(), usedforsecurity=False).digest()
            return nodes[bisect_left(tokens, int.from_bytes(digest[:8], "little"))]  # type: ignore[no-any-return]

        return get


class XxhashJump(RingPeer):
    """Jump consistent hashing: no ring, and only the last node can ever leave."""

    name = "xxhash + jump-consistent-hash"
    needs = ("xxhash", "jump-consistent-hash")

    def build(self, names: Sequence[str]) -> Any:
        return list(names)

    def lookup(self, ring: Any) -> Callable[[Any], Any]:
        import jump
        from xxhash import xxh3_64_intdigest

        bucket, count = jump.hash, len(ring)

        def get(key: str) -> str:
            return ring[bucket(xxh3_64_intdigest(key.encode()), count)]  # type: ignore[no-any-return]

        return get


# --- essential-paxos -----------------------------------------------------------------------------

#: It compares proposal ids with None, which only Python 2 does (None is below everything there):
#: each such place, and what says the same in Python 3.
ESSENTIAL_PAXOS_REPAIRS = {
    "if prev_accepted_id > self.last_accepted_id:": "if prev_accepted_id is not None and "
    "(self.last_accepted_id is None or prev_accepted_id > self.last_accepted_id):",
    "elif proposal_id > self.promised_id:": "elif self.promised_id is None or "
    "proposal_id > self.promised_id:",
    "if proposal_id >= self.promised_id:": "if self.promised_id is None or "
    "proposal_id >= self.promised_id:",
    "if not proposal_id > last_pn:": "if last_pn is not None and not proposal_id > last_pn:",
}


def essential_paxos() -> ModuleType:
    """`paxos.essential` of essential-paxos 2.0, repaired for Python 3.

    Raises:
        ImportError: it is not installed, or another version whose text does not have these places.
    """
    found = importlib.import_module(MODULES["essential-paxos"])
    text = Path(str(found.__file__)).read_text()
    for place, repaired in ESSENTIAL_PAXOS_REPAIRS.items():
        if text.count(place) != 1:
            raise ImportError(f"essential-paxos is not as 2.0 is: {place!r} is not in it")
        text = text.replace(place, repaired)
    module = ModuleType(found.__name__)
    exec(compile(text, str(found.__file__), "exec"), module.__dict__)
    return module


RINGS: tuple[ChangingPeer, ...] = (Fastring(), Uhashring(), UhashringKetama(), Tooz())
LOOKUPS: tuple[RingPeer, ...] = (*RINGS, Md5Bisect(), XxhashJump())


def check_ring(peer: RingPeer, ring: Any, names: Sequence[str], keys: list[Any]) -> None:
    """The peer answers each key with a node of the ring, the same every time, and uses them all."""
    lookup = peer.lookup(ring)
    found = [peer.node(lookup(key)) for key in keys]
    assert found == [peer.node(lookup(key)) for key in keys], peer.name
    assert set(found) <= set(names), peer.name
    if len(keys) >= 50 * len(names):
        assert set(found) == set(names), peer.name
