"""A locator as a file that people write: TOML.  (Or one that its `to_bytes` wrote.)

[ring]                  # all optional
algorithm = "ring"      # a HashRing; or one of `ALGORITHMS`, with the settings of its class
vnodes = 160
hash = "xxh3"
seed = 0
placement = "hashed"    # or "balanced"
replicas = "3"          # for a balanced ring: the policy to even out, such as "eu=2,us=2" ...
spread = "zone"         # ... and over what it spreads: "node", "zone" or "dc"

[[node]]
name = "eu-1"
weight = 1.0            # optional, as are the fields below
dc = "eu"
zone = "eu-a"
address = "10.0.0.1:7000"
tags = { disk = "nvme" }

Such a file has no history, on which a balanced ring, AnchorHash, MementoHash and Partitions
depend: nodes are taken in the order of their names, or for an algorithm to which the order matters
in that of the file.  To keep such a locator as it has grown, save it with its `to_bytes`.
"""

from __future__ import annotations

import inspect
import tomllib
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from ringleader.errors import FormatError, RingleaderError, VersionError
from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.ring import HashRing
from ringleader.placement.saved import KINDS, MAGIC, kind_of
from ringleader.placement.topology import Replicas

_NODE_FIELDS = {"name", "weight", "dc", "zone", "address", "tags"}

#: What a file may call an algorithm -> where its class is, and under which kinds it is saved.
ALGORITHMS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "ring": ("ring", "HashRing", (1, 2)),
    "ketama": ("ketama", "KetamaRing", (3,)),
    "nginx": ("nginx", "NginxRing", (4,)),
    "envoy": ("envoy", "EnvoyRing", (5,)),
    "maglev": ("maglev", "Maglev", (6,)),
    "jump": ("jump", "JumpHash", (7,)),
    "rendezvous": ("rendezvous", "Rendezvous", (8,)),
    "anchor": ("anchor", "AnchorHash", (9,)),
    "memento": ("memento", "MementoHash", (10,)),
    "multiprobe": ("multiprobe", "MultiProbe", (11,)),
    "redis": ("slots", "RedisSlots", (12,)),
    "tokens": ("tokens", "TokenRing", (13,)),
    "partitions": ("partitions", "Partitions", (14,)),
}


def load_ring(path: str | PathLike[str]) -> HashRing:
    """The ring in a TOML file, or in a file that holds `HashRing.to_bytes()`.

    Raises:
        OSError: the file cannot be read.
        FormatError: it is not a ring, or a locator of another algorithm; says where and what.
        VersionError: a newer version saved it.
    """
    loaded = load_locator(path)
    if not isinstance(loaded, HashRing):
        raise FormatError(f"{path}: this is a {type(loaded).__name__}, but a HashRing is wanted")
    return loaded


def load_locator(path: str | PathLike[str]) -> Locator:
    """The locator in a TOML file, or in a file that holds the `to_bytes()` of one.

    Raises:
        OSError: the file cannot be read.
        FormatError: it holds none; says where and what.
        VersionError: a newer version saved it.
    """
    data = Path(path).read_bytes()
    try:
        if data.startswith(MAGIC):
            return locator_from_bytes(data)
        return _from_toml(tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: not a ring file: {error}") from error
    except VersionError as error:
        raise VersionError(f"{path}: {error}") from error
    except RingleaderError as error:
        raise FormatError(f"{path}: {error}") from error


def locator_from_bytes(data: bytes | bytearray | memoryview) -> Locator:
    """The locator that some `to_bytes` saved, of whichever class it was.

    Raises:
        FormatError, VersionError, FormatTypeError, LimitError: as that class's `from_bytes`.
    """
    kind = kind_of(data)
    for algorithm, (_, _, kinds) in ALGORITHMS.items():
        if kind in kinds:
            loaded: Locator = _class_of(algorithm).from_bytes(data)
            return loaded
    raise FormatError(f"kind {kind} is no saved locator; known are 1 ... {max(KINDS)}")


def _class_of(algorithm: str) -> Any:
    module, name, _ = ALGORITHMS[algorithm]
    return getattr(import_module(f"ringleader.placement.{module}"), name)


def _known(table: dict[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(set(table) - fields)
    if unknown:
        raise FormatError(
            f"{where} has an unknown field {unknown[0]!r}; known are {', '.join(sorted(fields))}"
        )


def _from_toml(document: dict[str, Any]) -> Locator:
    _known(document, {"ring", "node"}, "the file")
    settings = document.get("ring", {})
    if not isinstance(settings, dict):
        raise FormatError("ring must be a table: [ring]")
    algorithm = settings.get("algorithm", "ring")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise FormatError(
            f"[ring] names an unknown algorithm {algorithm!r}; known are {', '.join(ALGORITHMS)}"
        )
    settings = {name: value for name, value in settings.items() if name != "algorithm"}
    maker = _class_of(algorithm)
    fields = set(inspect.signature(maker).parameters) - {"nodes"}
    if maker is HashRing:
        fields |= {"spread"}
    _known(settings, fields, "[ring]")
    nodes = _nodes(document.get("node", []))
    if maker is HashRing:
        settings = _with_policy(settings)
    try:
        made: Locator = maker(nodes=nodes, **settings)
    except TypeError as error:
        if isinstance(error, RingleaderError):
            raise
        raise FormatError(f"[ring] of a {maker.__name__}: {error}") from error
    return made


def _nodes(tables: Any) -> list[Node]:
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FormatError("nodes are written as [[node]] tables, one for each node")
    if not tables:
        raise FormatError("the file names no node; add a [[node]] table with a name")
    nodes = []
    for number, table in enumerate(tables, start=1):
        _known(table, _NODE_FIELDS, f"[[node]] number {number}")
        if "name" not in table:
            raise FormatError(f"[[node]] number {number} has no name")
        nodes.append(Node(**table))
    return nodes


def _with_policy(settings: dict[str, Any]) -> dict[str, Any]:
    if "replicas" not in settings:
        if "spread" in settings:
            raise FormatError("[ring] has a spread, but no replicas to spread")
        return settings
    policy = Replicas.parse(settings["replicas"], settings.get("spread", "node"))
    return {name: value for name, value in settings.items() if name != "spread"} | {
        "replicas": policy
    }
