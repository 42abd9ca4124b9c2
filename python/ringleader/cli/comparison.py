"""Every placement algorithm through the same questions: what `ringleader compare` measures.

Each algorithm places the same random 64-bit keys on the same nodes, then on one node more and on
one node less.  What moved is counted key by key, so that the same measure holds for algorithms
with ranges and without.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ringleader import placement
from ringleader.errors import SettingError

#: Keys that are placed to count what moves, and to time lookups.
KEYS = 1_000_000
#: Keys that are placed where an algorithm cannot tell its shares exactly.
SAMPLE_KEYS = 10_000_000
SCALAR_KEYS = 2_000
#: Nodes that come, and that go, each by itself.
CHANGES = 3
#: A timing is the median of laps, as many as fit, but at least three.
LAP_SECONDS = 0.25
KEY_SEED = 20
#: 2**16 partitions, as in the goal of `Partitions`.
PARTITION_POWER = 16


@dataclass(frozen=True)
class Algorithm:
    """How to make a locator, and how to change it.

    Attributes:
        name: what the user types and reads.
        summary: a line on what it is.
        make: a locator of these names.
        add, remove: change a locator by one name.
        removes_last_only: whether only the last node can go.
    """

    name: str
    summary: str
    make: Callable[[Sequence[str]], Any]
    add: Callable[[Any, str], None]
    remove: Callable[[Any, str], None]
    removes_last_only: bool = False


@dataclass(frozen=True)
class Measured:
    """What one algorithm does with one number of nodes.

    Attributes:
        algorithm: its name.
        nodes: how many.
        peak_to_mean: the fullest node's share against the mean.
        is_exact: whether that is exact; otherwise it is counted over `SAMPLE_KEYS` keys, and
            chance makes it look larger.
        added, removed: the share of the keys that move when one node comes, or goes: the mean of
            `CHANGES` nodes.
        added_ideal, removed_ideal: what has to move.
        strays: the largest share of keys that moved between two nodes that stayed.
        bulk_ns, scalar_ns: for each key, of a column of uint64 and one str at a time.
        build_seconds: from names to the first lookup.
        nbytes: of the tables.
    """

    algorithm: str
    nodes: int
    peak_to_mean: float
    is_exact: bool
    added: float
    added_ideal: float
    removed: float
    removed_ideal: float
    strays: float
    bulk_ns: float
    scalar_ns: float
    build_seconds: float
    nbytes: int


def _add(locator: Any, name: str) -> None:
    locator.add_node(name)


def _remove(locator: Any, name: str) -> None:
    locator.remove_node(name)


def node_names(count: int) -> list[str]:
    """So many names, in their order."""
    return [f"10.{at // 65536}.{at // 256 % 256}.{at % 256}:11211" for at in range(count)]


def _plain(name: str, summary: str, make: Callable[[Sequence[str]], Any]) -> Algorithm:
    return Algorithm(name, summary, make, _add, _remove)


def _of(kind: str, **settings: Any) -> Callable[[Sequence[str]], Any]:
    """Makes a locator of this class, which is imported only then."""
    return lambda names: getattr(placement, kind)(names, **settings)


def _partitions(names: Sequence[str]) -> Any:
    return placement.Partitions(PARTITION_POWER, 1, names, min_move_seconds=0)


def _add_partitioned(locator: Any, name: str) -> None:
    locator.add_node(name)
    locator.rebalance(now=1)


def _remove_partitioned(locator: Any, name: str) -> None:
    locator.remove_node(name)
    locator.rebalance(now=1)


def _pop(locator: Any, name: str) -> None:
    locator.pop()


def _append(locator: Any, name: str) -> None:
    locator.append(name)


ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        _plain("ring", "HashRing, 160 virtual nodes", _of("HashRing")),
        _plain(
            "balanced",
            "HashRing, 160 virtual nodes placed to be even",
            _of("HashRing", placement="balanced"),
        ),
        _plain(
            "balanced-16",
            "the same with 16",
            _of("HashRing", placement="balanced", vnodes=16),
        ),
        _plain("ketama", "KetamaRing, as libketama", _of("KetamaRing")),
        _plain("nginx", "NginxRing", _of("NginxRing")),
        _plain("envoy", "EnvoyRing", _of("EnvoyRing")),
        _plain("tokens", "TokenRing, 16 random tokens", _of("TokenRing")),
        _plain("redis", "RedisSlots", _of("RedisSlots")),
        Algorithm(
            "partitions",
            f"Partitions, 2^{PARTITION_POWER}",
            _partitions,
            _add_partitioned,
            _remove_partitioned,
        ),
        _plain("maglev", "Maglev, 65,537 entries", _of("Maglev")),
        _plain(
            "maglev-655373",
            "Maglev, 655,373 entries",
            _of("Maglev", table_size=655_373),
        ),
        Algorithm("jump", "JumpHash", _of("JumpHash"), _append, _pop, True),
        _plain("rendezvous", "Rendezvous", _of("Rendezvous")),
        _plain(
            "skeleton",
            "Rendezvous over a skeleton",
            _of("Rendezvous", skeleton=True),
        ),
        _plain(
            "anchor",
            "AnchorHash, room for twice the nodes",
            lambda names: placement.AnchorHash(names, capacity=2 * len(names)),
        ),
        _plain("memento", "MementoHash", _of("MementoHash")),
        _plain("multiprobe", "MultiProbe, 21 probes", _of("MultiProbe")),
    )
}


def measure(
    algorithm: Algorithm, node_count: int, *, tick: Callable[[str], None] = lambda what: None
) -> Measured:
    """Ask one algorithm everything.

    Args:
        tick: told what is done next.

    Raises:
        SettingError: fewer than two nodes: none could be removed.
    """
    if node_count < 2:
        raise SettingError(f"{node_count} nodes: compare needs at least 2, to remove one")
    names = sorted(node_names(node_count + CHANGES))
    names, newcomers = names[:node_count], names[node_count:]
    tick("build")
    build_seconds = _median_seconds(lambda: algorithm.make(names).lookup([0]))
    locator = algorithm.make(names)
    keys = np.random.default_rng(KEY_SEED).integers(0, 2**64, KEYS, dtype=np.uint64)
    tick("lookups")
    out = np.empty(KEYS, np.uint32)
    bulk_ns = _median_seconds(lambda: locator.lookup(keys, out)) / KEYS * 1e9
    texts = [f"user:{key}" for key in keys[:SCALAR_KEYS].tolist()]
    scalar_ns = _median_seconds(lambda: [locator[text] for text in texts]) / SCALAR_KEYS * 1e9
    tick("evenness")
    peak_to_mean, is_exact = _peak_to_mean(locator, node_count)
    tick("movement")
    before = _by_name(locator, keys, names)
    added = removed = strays = 0.0
    for newcomer in newcomers:
        larger = algorithm.make(names)
        algorithm.add(larger, newcomer)
        after = _by_name(larger, keys, [*names, newcomer])
        moved = before != after
        added += float(moved.mean()) / CHANGES
        strays = max(strays, float((moved & (after != node_count)).mean()))
    for turn in range(CHANGES):
        gone = node_count * (2 * turn + 1) // (2 * CHANGES)
        if algorithm.removes_last_only:
            gone = node_count - 1
        smaller = algorithm.make(names)
        algorithm.remove(smaller, names[gone])
        moved = before != _by_name(smaller, keys, names)
        removed += float(moved.mean()) / CHANGES
        strays = max(strays, float((moved & (before != gone)).mean()))
    return Measured(
        algorithm=algorithm.name,
        nodes=node_count,
        peak_to_mean=peak_to_mean,
        is_exact=is_exact,
        added=added,
        added_ideal=1 / (node_count + 1),
        removed=removed,
        removed_ideal=1 / node_count,
        strays=strays,
        bulk_ns=bulk_ns,
        scalar_ns=scalar_ns,
        build_seconds=build_seconds,
        nbytes=int(locator.nbytes),
    )


def _by_name(locator: Any, keys: NDArray[np.uint64], names: Sequence[str]) -> NDArray[np.uint32]:
    """The owner of each key, as its place in `names`: the same before and after a change."""
    places = {name: place for place, name in enumerate(names)}
    places_by_position = np.array([places.get(name, -1) for name in locator.names], np.int64)
    owners: NDArray[np.uint32] = places_by_position[locator.lookup(keys)].astype(np.uint32)
    return owners


def _peak_to_mean(locator: Any, node_count: int) -> tuple[float, bool]:
    stats = locator.stats()
    if stats.is_exact:
        return float(stats.peak_to_mean), True
    counts = np.zeros(node_count, np.int64)
    random = np.random.default_rng(KEY_SEED + 1)
    for _ in range(SAMPLE_KEYS // KEYS):
        keys = random.integers(0, 2**64, KEYS, dtype=np.uint64)
        counts += np.bincount(locator.lookup(keys), minlength=node_count)
    return float(counts.max() / counts.mean()), False


def _median_seconds(run: Callable[[], object]) -> float:
    laps: list[float] = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        while len(laps) < 3 or (sum(laps) < LAP_SECONDS and len(laps) < 200):
            begin = perf_counter()
            run()
            laps.append(perf_counter() - begin)
            if len(laps) == 1 and laps[0] > 4 * LAP_SECONDS:
                break
    finally:
        if enabled:
            gc.enable()
    return median(laps)
