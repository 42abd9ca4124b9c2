"""Where does this key live: locators, one file each, and the nodes they place keys on."""

from ringleader.placement.locator import Locator
from ringleader.placement.node import Node
from ringleader.placement.ring import HashRing
from ringleader.placement.ringfile import load_ring
from ringleader.placement.stats import RingStats

__all__ = ["HashRing", "Locator", "Node", "RingStats", "load_ring"]
