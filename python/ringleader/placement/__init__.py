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
    from ringleader.placement.envoy import EnvoyRing
    from ringleader.placement.jump import JumpHash
    from ringleader.placement.ketama import KetamaRing
    from ringleader.placement.maglev import Maglev
    from ringleader.placement.multiprobe import MultiProbe
    from ringleader.placement.nginx import NginxRing
    from ringleader.placement.slots import RedisSlots
    from ringleader.placement.tokens import TokenRing

#: What is imported when it is asked for, not with the ring.
_HOMES: dict[str, str] = {
    "EnvoyRing": "envoy",
    "JumpHash": "jump",
    "KetamaRing": "ketama",
    "Maglev": "maglev",
    "MultiProbe": "multiprobe",
    "NginxRing": "nginx",
    "PartitionStats": "partitions",
    "Partitions": "partitions",
    "Rebalance": "partitions",
    from ringleader.placement.movement import KeyMovement, Movement, moved
    from ringleader.placement.plan import Plan, Step, Transfer

#: What is imported when it is asked for, not with the ring.
_HOMES: dict[str, str] = {
    "KeyMovement": "movement",
    "Movement": "movement",
    "Plan": "plan",
    "Step": "plan",
    "Transfer": "plan",
    "moved": "movement",
    "RedisSlots": "slots",
    "TokenRing": "tokens",
}

__all__ = [
    "EnvoyRing",
    "HashRing",
    "JumpHash",
    "KetamaRing",
    "Locator",
    "Maglev",
    "MultiProbe",
    "KeyMovement",
    "Locator",
    "Movement",
    "NginxRing",
    "Node",
    "Plan",
    "Ranges",
    "RedisSlots",
    "Replicas",
    "RingStats",
    "Space",
    "Step",
    "Transfer",
    "TokenRing",
    "load_ring",
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
