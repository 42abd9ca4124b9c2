"""Where replicas have to stand: a policy over datacenters and zones."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ringleader import limits
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

    def __hash__(self) -> int:
        by_dc = None if self.by_dc is None else tuple(self.by_dc.items())
        return hash((self.total, by_dc, self.spread))

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
        live: dict[str, int] = {}
        known: set[str] = set()
        for node in nodes:
            known.add(node.dc)
            if node.weight > 0:
                live[node.dc] = live.get(node.dc, 0) + 1
        if self.by_dc is None:
            if sum(live.values()) < self.total:
                raise PolicyError(
                    f"{self!r} wants {self.total} nodes, but only {sum(live.values())} have a "
                    "positive weight; add nodes, or ask for fewer replicas"
                )
            return
        for dc, count in self.by_dc.items():
            if dc not in known:
                names = ", ".join(repr(name) for name in sorted(known)[:8]) or "none at all"
                raise PolicyError(
                    f"{self!r} names datacenter {dc!r}, in which no node stands; known: {names}"
                )
            there = live.get(dc, 0)
            if there < count:
                raise PolicyError(
                    f"{self!r} wants {count} nodes in datacenter {dc!r}, but only {there} there "
                    f"have a positive weight; add {count - there} more, or ask for fewer replicas"
                )


def _checked_count(value: object, where: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise PolicyTypeError(f"a number of replicas{where} is an int, not {type(value).__name__}")
    count = operator.index(value)
    if count < 1:
        raise PolicyError(f"{count} replicas{where}; ask for at least 1")
    return count
