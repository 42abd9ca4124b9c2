"""Where does this key live: locators, one file each, and the nodes they place keys on."""

from typing import TYPE_CHECKING, Any

from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.ranges import Ranges, Space
from ringleader.placement.ring import HashRing
from ringleader.placement.ringfile import load_locator, load_ring, locator_from_bytes
from ringleader.placement.stats import RingStats
from ringleader.placement.topology import Replicas

if TYPE_CHECKING:
    from ringleader.placement.anchor import AnchorHash
    from ringleader.placement.bounded import BoundedLoads, assign_bounded
    from ringleader.placement.bounded_keys import BoundedKeys
    from ringleader.placement.envoy import EnvoyRing
    from ringleader.placement.jump import JumpHash
    from ringleader.placement.ketama import KetamaRing
    from ringleader.placement.maglev import Maglev
    from ringleader.placement.memento import MementoHash
    from ringleader.placement.movement import KeyMovement, Movement, moved
    from ringleader.placement.multiprobe import MultiProbe
    from ringleader.placement.nginx import NginxRing
    from ringleader.placement.partitions import Moves, Partitions, PartitionStats, Rebalance
    from ringleader.placement.plan import Drop, Plan, Step, Transfer
    from ringleader.placement.rendezvous import Rendezvous
    from ringleader.placement.slots import RedisSlots
    from ringleader.placement.stats import SampledStats
    from ringleader.placement.tokens import TokenRing

#: What is imported when it is asked for, not with the ring.
_HOMES = {
    "AnchorHash": "anchor",
    "BoundedKeys": "bounded_keys",
    "BoundedLoads": "bounded",
    "Drop": "plan",
    "EnvoyRing": "envoy",
    "JumpHash": "jump",
    "KetamaRing": "ketama",
    "KeyMovement": "movement",
    "Maglev": "maglev",
    "MementoHash": "memento",
    "Movement": "movement",
    "Moves": "partitions",
    "MultiProbe": "multiprobe",
    "NginxRing": "nginx",
    "PartitionStats": "partitions",
    "Partitions": "partitions",
    "Plan": "plan",
    "Rebalance": "partitions",
    "RedisSlots": "slots",
    "Rendezvous": "rendezvous",
    "SampledStats": "stats",
    "Step": "plan",
    "TokenRing": "tokens",
    "Transfer": "plan",
    "assign_bounded": "bounded",
    "moved": "movement",
}

__all__ = [
    "AnchorHash",
    "BoundedKeys",
    "BoundedLoads",
    "Drop",
    "EnvoyRing",
    "HashRing",
    "JumpHash",
    "KetamaRing",
    "KeyMovement",
    "Locator",
    "Maglev",
    "MementoHash",
    "Movement",
    "Moves",
    "MultiProbe",
    "NginxRing",
    "Node",
    "PartitionStats",
    "Partitions",
    "Plan",
    "Ranges",
    "Rebalance",
    "RedisSlots",
    "Rendezvous",
    "Replicas",
    "RingStats",
    "SampledStats",
    "Space",
    "Step",
    "TokenRing",
    "Transfer",
    "assign_bounded",
    "load_locator",
    "load_ring",
    "locator_from_bytes",
    "moved",
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
