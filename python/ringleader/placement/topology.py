"""Where replicas have to stand: a policy over datacenters and zones.

*Replica placement v1*, published in docs/formats.md.  In short: a locator meets a key's nodes in an
order of its own (a ring: clockwise from the key); nodes of weight 0 are never met.  Where a policy
names datacenters, each gives its replicas for itself; otherwise all nodes do it together.  Met in
order, a node is of

    tier 0   the first of its datacenter             (spread="dc")
    tier 1   else, the first of its zone             (spread="zone" and "dc")
    tier 2   else

and the replicas are the first nodes by (tier, order met), in the order met.  These are the sets of
Cassandra's NetworkTopologyStrategy, and its order.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ringleader import kernels, limits
from ringleader.errors import PolicyError, PolicyTypeError
from ringleader.placement.node import Node

SPREADS = ("node", "zone", "dc")


@dataclass(frozen=True, init=False)
class Replicas:
    """How many replicas a key has, and over what they are spread.

        Replicas(3)                                      # three distinct nodes
        Replicas(3, spread="zone")                       # ... in three zones, while there are
        Replicas({"eu": 2, "us": 2, "ap": 1}, spread="zone")

    Args:
        count: how many replicas altogether, or how many in each datacenter.
        spread: "node": any distinct nodes.  "zone": a zone is used twice only when there are no
            others left (in each datacenter, when `count` names them).  "dc": a datacenter is used
            twice only when there are no others left, and then a zone likewise.

    Attributes:
        total: replicas altogether.
        by_dc: replicas by datacenter in the order given, or None.
        spread: as given.

    Raises:
        PolicyError: fewer than one replica, too many, an empty mapping, an unknown spread.
        PolicyTypeError: something else than ints and str.
    """

    total: int
    by_dc: Mapping[str, int] | None
    spread: str

    def __init__(self, count: int | Mapping[str, int], spread: str = "node") -> None:
        if not isinstance(spread, str):
            raise PolicyTypeError(f"spread must be a str, not {type(spread).__name__}")
        if spread not in SPREADS:
            raise PolicyError(f"spread={spread!r} is not one of {', '.join(SPREADS)}")
        by_dc: Mapping[str, int] | None = None
        if isinstance(count, Mapping):
            if spread == "dc":
                raise PolicyError(
                    'spread="dc" is for a number of replicas; these are given by datacenter'
                )
            if not count:
                raise PolicyError("a policy by datacenter names none; give at least one")
            for dc in count:
                if not isinstance(dc, str):
                    raise PolicyTypeError(f"a datacenter is a str, not {type(dc).__name__}")
            by_dc = MappingProxyType(
                {dc: _checked_count(value, f" in {dc!r}") for dc, value in count.items()}
            )
            total = sum(by_dc.values())
        else:
            total = _checked_count(count, "")
        if total > limits.REPLICAS_MAX:
            raise PolicyError(f"{total} replicas; at most {limits.REPLICAS_MAX} are possible")
        object.__setattr__(self, "total", total)
        object.__setattr__(self, "by_dc", by_dc)
        object.__setattr__(self, "spread", spread)
        counts = None if by_dc is None else frozenset(by_dc.items())
        object.__setattr__(self, "_hash", hash((total, counts, spread)))

    def __hash__(self) -> int:
        hashed: int = self._hash  # type: ignore[attr-defined]
        return hashed

    def __reduce__(self) -> tuple[type[Replicas], tuple[int | dict[str, int], str]]:
        return type(self), (self.total if self.by_dc is None else dict(self.by_dc), self.spread)

    def __repr__(self) -> str:
        count = self.total if self.by_dc is None else dict(self.by_dc)
        return f"Replicas({count!r}, spread={self.spread!r})"

    @classmethod
    def parse(cls, text: str, spread: str = "node") -> Replicas:
        """The policy that a command line or file writes as "3" or as "eu=2,us=2,ap=1".

        Raises:
            PolicyError: it is neither.
        """
        if not isinstance(text, str):
            raise PolicyTypeError(f"a policy is written as a str, not {type(text).__name__}")
        written = text.strip()
        if written.isascii() and written.isdigit():
            return cls(int(written[:20]), spread)
        by_dc: dict[str, int] = {}
        for part in written.split(","):
            dc, equals, number = (piece.strip() for piece in part.rpartition("="))
            if not equals or not (number.isascii() and number.isdigit()):
                raise PolicyError(
                    f"{text!r} is no policy: write a number of replicas, such as 3, or one for "
                    "each datacenter, such as eu=2,us=2,ap=1"
                )
            if dc in by_dc:
                raise PolicyError(f"datacenter {dc!r} stands twice in {text!r}")
            by_dc[dc] = int(number[:20])
        return cls(by_dc, spread)

    def check(self, nodes: Iterable[Node]) -> None:
        """Whether these nodes can satisfy the policy; those of weight 0 take no replicas.

        Raises:
            PolicyError: they cannot; says which datacenter lacks what.
        """
        members = tuple(nodes)
        self._check(members, [node.weight > 0 for node in members])

    def _check(self, nodes: Sequence[Node], live: Iterable[bool]) -> None:
        counts: dict[str, int] = {}
        for node, lives in zip(nodes, live, strict=True):
            counts[node.dc] = counts.get(node.dc, 0) + lives
        if self.by_dc is None:
            there = sum(counts.values())
            if there < self.total:
                raise PolicyError(
                    f"{self!r} wants {_nodes(self.total)}, but {_there(there, len(nodes))}; "
                    f"add {self.total - there} more, or ask for fewer replicas"
                )
            return
        lacking = []
        for dc, count in self.by_dc.items():
            if dc not in counts:
                lacking.append(f"{count} in {dc!r}, a datacenter in which no node stands")
            elif counts[dc] < count:
                total = sum(node.dc == dc for node in nodes)
                lacking.append(f"{count} in {dc!r}, where {_there(counts[dc], total)}")
        if lacking:
            known = ", ".join(repr(dc) for dc in sorted(counts)[:8]) or "none at all"
            more = ", ..." if len(counts) > 8 else ""
            raise PolicyError(
                f"{self!r} wants {'; '.join(lacking)}: add nodes there, or ask for fewer "
                f"replicas (the datacenters are {known}{more})"
            )

    def choose(self, order: Iterable[Node]) -> list[Node]:
        """The replicas among nodes that are met in this order, or as many as there are."""
        met: dict[str | None, list[tuple[int, int, Node]]] = {}
        dcs: set[str] = set()
        zones: set[tuple[str, str]] = set()
        for at, node in enumerate(order):
            if self.by_dc is not None and node.dc not in self.by_dc:
                continue
            tier = 2
            if self.spread == "dc" and node.dc not in dcs:
                tier = 0
            elif self.spread != "node" and (node.dc, node.zone) not in zones:
                tier = 1
            dcs.add(node.dc)
            zones.add((node.dc, node.zone))
            met.setdefault(None if self.by_dc is None else node.dc, []).append((tier, at, node))
        chosen: list[tuple[int, Node]] = []
        for dc, nodes in met.items():
            count = self.total if dc is None or self.by_dc is None else self.by_dc[dc]
            nodes.sort(key=lambda each: each[:2])
            chosen += [(at, node) for _, at, node in nodes[:count]]
        return [node for _, node in sorted(chosen, key=lambda each: each[0])]

    def handoffs(self, order: Iterable[Node], limit: int | None = None) -> list[Node]:
        """Behind the replicas among nodes met in this order, those that stand in for them.

        Each round is what the policy chooses once the nodes of the rounds before are gone.
        """
        rest = list(order)
        chosen = self.choose(rest)
        found: list[Node] = []
        while chosen and (limit is None or len(found) < limit):
            gone = {node.name for node in chosen}
            rest = [node for node in rest if node.name not in gone]
            chosen = self.choose(rest)
            found += chosen
        return found if limit is None else found[:limit]

    def rule(self, nodes: Sequence[Node], live: Iterable[bool]) -> kernels.replicas.Rule:
        """The policy over the positions of these nodes, as the kernels take it.

        Args:
            live: for each node, whether it takes replicas.

        Raises:
            PolicyError: as `check`.
        """
        lives = list(live)
        self._check(nodes, lives)
        named = {} if self.by_dc is None else {dc: at for at, dc in enumerate(self.by_dc)}
        dcs: dict[str, int] = {}
        zones: dict[tuple[str, str], int] = {}
        nobody = kernels.replicas.NO_GROUP
        groups, dc_of, zone_of = [], [], []
        for node, lives_here in zip(nodes, lives, strict=True):
            group = 0 if self.by_dc is None else named.get(node.dc, nobody)
            groups.append(group if lives_here else nobody)
            dc_of.append(dcs.setdefault(node.dc, len(dcs)))
            zone_of.append(zones.setdefault((node.dc, node.zone), len(zones)))
        wanted = [self.total] if self.by_dc is None else list(self.by_dc.values())
        return kernels.replicas.Rule(groups, dc_of, zone_of, wanted, SPREADS.index(self.spread))


def closeness(nodes: Sequence[Node], dc: str, zone: str | None) -> NDArray[np.uint8]:
    """For each node 0 if it stands in the zone, 1 if only in the datacenter, 2 if elsewhere.

    Without a zone, every node of the datacenter is 1.

    Raises:
        PolicyTypeError: `dc` or `zone` is no str.
    """
    for name, value in (("dc", dc), ("zone", "" if zone is None else zone)):
        if not isinstance(value, str):
            raise PolicyTypeError(f"{name} is the name of one, a str, not {type(value).__name__}")
    return np.array(
        [2 if node.dc != dc else 0 if node.zone == zone else 1 for node in nodes], dtype=np.uint8
    )


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"


def _there(live: int, total: int) -> str:
    """How many nodes can take replicas, and why not more."""
    if live == total:
        return f"there {'is' if total == 1 else 'are'} only {total}"
    have = "has" if live == 1 else "have"
    return f"only {live} of the {_nodes(total)} {have} a positive weight"


def _checked_count(value: object, where: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise PolicyTypeError(f"a number of replicas{where} is an int, not {type(value).__name__}")
    count = operator.index(value)
    if count < 1:
        raise PolicyError(f"{count} replicas{where}; ask for at least 1")
    return count
