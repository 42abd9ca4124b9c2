"""A ring as a file that people write: TOML.  (Or one that `HashRing.to_bytes` wrote.)

[ring]                  # all optional
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

Such a file has no history, on which a balanced ring depends: its nodes are taken in the order of
their names.  To keep a balanced ring as it has grown, save it with `HashRing.to_bytes`.
"""

from __future__ import annotations

import tomllib
from os import PathLike
from pathlib import Path
from typing import Any

from ringleader.errors import FormatError, RingleaderError, VersionError
from ringleader.placement.node import Node
from ringleader.placement.ring import HashRing
from ringleader.placement.saved import MAGIC
from ringleader.placement.topology import Replicas

_RING_FIELDS = {"vnodes", "hash", "seed", "placement", "replicas", "spread"}
_NODE_FIELDS = {"name", "weight", "dc", "zone", "address", "tags"}


def load_ring(path: str | PathLike[str]) -> HashRing:
    """The ring in a TOML file, or in a file that holds `HashRing.to_bytes()`.

    Raises:
        OSError: the file cannot be read.
        FormatError: it is not a ring; says where and what.
        VersionError: a newer version saved it.
    """
    data = Path(path).read_bytes()
    try:
        if data.startswith(MAGIC):
            return HashRing.from_bytes(data)
        return _from_toml(tomllib.loads(data.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path}: not a ring file: {error}") from error
    except VersionError as error:
        raise VersionError(f"{path}: {error}") from error
    except RingleaderError as error:
        raise FormatError(f"{path}: {error}") from error


def _known(table: dict[str, Any], fields: set[str], where: str) -> None:
    unknown = sorted(set(table) - fields)
    if unknown:
        raise FormatError(
            f"{where} has an unknown field {unknown[0]!r}; known are {', '.join(sorted(fields))}"
        )


def _from_toml(document: dict[str, Any]) -> HashRing:
    _known(document, {"ring", "node"}, "the file")
    settings = document.get("ring", {})
    if not isinstance(settings, dict):
        raise FormatError("ring must be a table: [ring]")
    _known(settings, _RING_FIELDS, "[ring]")
    tables = document.get("node", [])
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
    if "spread" in settings and "replicas" not in settings:
        raise FormatError("[ring] has a spread, but no replicas to spread")
    if "replicas" in settings:
        policy = Replicas.parse(settings["replicas"], settings.get("spread", "node"))
        settings = {**settings, "replicas": policy}
        settings.pop("spread", None)
    return HashRing(nodes, **settings)
