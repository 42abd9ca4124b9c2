"""Where does this key live: locators, one file each, and the nodes they place keys on."""

from typing import TYPE_CHECKING, Any

from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.ring import HashRing
from ringleader.placement.ringfile import load_ring
from ringleader.placement.stats import RingStats, SampledStats
from ringleader.placement.topology import Replicas

if TYPE_CHECKING:
    from ringleader.placement.anchor import AnchorHash
    from ringleader.placement.memento import MementoHash
    from ringleader.placement.rendezvous import Rendezvous

#: What is imported when it is asked for, not with the ring.
_HOMES: dict[str, str] = {
    "AnchorHash": "anchor",
    "MementoHash": "memento",
    "Rendezvous": "rendezvous",
}

__all__ = [
    "AnchorHash",
    "HashRing",
    "Locator",
    "MementoHash",
    "Node",
    "Ranges",
    "Rendezvous",
    "Replicas",
    "RingStats",
    "SampledStats",
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
