"""Where does this key live: locators, one file each, and the nodes they place keys on."""

from typing import TYPE_CHECKING, Any

from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.ring import HashRing
from ringleader.placement.ringfile import load_ring
from ringleader.placement.stats import RingStats
from ringleader.placement.topology import Replicas

if TYPE_CHECKING:
    from ringleader.placement.jump import JumpHash
    from ringleader.placement.maglev import Maglev
    from ringleader.placement.multiprobe import MultiProbe

#: What is imported when it is asked for, not with the ring.
_HOMES: dict[str, str] = {
    "JumpHash": "jump",
    "Maglev": "maglev",
    "MultiProbe": "multiprobe",
    "PartitionStats": "partitions",
    "Partitions": "partitions",
    "Rebalance": "partitions",
}

__all__ = [
    "HashRing",
    "JumpHash",
    "Locator",
    "Maglev",
    "MultiProbe",
    "Node",
    "Ranges",
    "Replicas",
    "RingStats",
    "Space",
    "load_ring",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
