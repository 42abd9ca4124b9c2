"""Which replicas have to be live for an operation: quorums, by counts in datacenters.

A replica counts the same as every other of its datacenter, so a quorum is a condition on how many
are live in each.  There are two shapes, and every kind is one of them:

    AtLeast      a number of the replicas in some datacenters together
    InEach       a number of the replicas inside each of some number of datacenters

    majority, quorum        AtLeast floor(n / 2) + 1 of all n
    one, two, three, all    AtLeast 1, 2, 3, n of all n; so is any number, as an int or as text
    local_quorum:DC         AtLeast floor(c / 2) + 1 of the c in that datacenter
    local_one:DC            AtLeast 1 of those
    each_quorum             InEach: a majority inside every datacenter
    majorities:M            InEach: a majority inside M of the datacenters, whichever

The names are those of Cassandra's consistency levels; `majorities:M` means the same sets as
`consensus.quorum.Flexible.by_datacenter` with that many for replication (or election).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from operator import index
from typing import TypeAlias

from ringleader.errors import QuorumError, SettingTypeError

#: Replicas in each datacenter.
Counts: TypeAlias = Mapping[str, int]

KINDS = (
    "majority", "one", "two", "three", "all", "a number", "local_quorum:DC", "local_one:DC",
    "each_quorum", "majorities:M",
)  # fmt: skip
_NUMBERS = {"one": 1, "two": 2, "three": 3}


def majority_of(count: int) -> int:
    """The least number that two disjoint sets of `count` cannot both have."""
    return count // 2 + 1


class Quorum(ABC):
    """A condition on the live replicas of each datacenter.  More live ones never break it."""

    @abstractmethod
    def holds(self, live: Counts) -> bool:
        """Whether so many live replicas in each datacenter suffice."""

    @abstractmethod
    def nodes_survived(self, counts: Counts) -> int:
        """The largest f so that, whichever f replicas fail, the others suffice."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What has to be live: `3 of 5 replicas`."""

    def datacenters_survived(self, counts: Counts) -> int:
        """The largest f so that, whichever f datacenters fail, the others suffice; 0 if none."""
        for lost in range(1, len(counts) + 1):
            for chosen in combinations(counts, lost):
                if not self.holds({dc: 0 if dc in chosen else n for dc, n in counts.items()}):
                    return lost - 1
        raise AssertionError("a quorum of nobody")

    def survives(self, counts: Counts) -> str:
        """Both in words: `2 nodes or 1 datacenter`, or `nothing`."""
        survived = {
            "node": self.nodes_survived(counts),
            "datacenter": self.datacenters_survived(counts),
        }
        parts = [f"{n} {what}{'s' * (n > 1)}" for what, n in survived.items() if n]
        return " or ".join(parts) or "nothing"


@dataclass(frozen=True)
class AtLeast(Quorum):
    """At least `count` live replicas in `dcs` together, which have `of`."""

    count: int
    of: int
    dcs: tuple[str, ...]
    everywhere: bool = True

    def holds(self, live: Counts) -> bool:
        return sum(live[dc] for dc in self.dcs) >= self.count

    def nodes_survived(self, counts: Counts) -> int:
        return self.of - self.count

    @property
    def words(self) -> str:
        where = "" if self.everywhere else " in " + " and ".join(self.dcs)
        return f"{self.count} of {self.of} replicas{where}"


@dataclass(frozen=True)
class InEach(Quorum):
    """At least `inside[dc]` live replicas in each of `count` of the datacenters of `inside`."""

    count: int
    inside: Mapping[str, int]

    def holds(self, live: Counts) -> bool:
        return sum(live[dc] >= need for dc, need in self.inside.items()) >= self.count

    def nodes_survived(self, counts: Counts) -> int:
        # To break it takes len - count + 1 datacenters; whoever breaks it takes the cheapest.
        costs = sorted(counts[dc] - need + 1 for dc, need in self.inside.items())
        return sum(costs[: len(costs) - self.count + 1]) - 1

    @property
    def words(self) -> str:
        total = len(self.inside)
        if total == 1:
            return "a majority inside the datacenter"
        if self.count == total:
            return f"a majority inside each of {total} datacenters"
        return f"a majority inside {self.count} of {total} datacenters"


#: What `bind` takes: a name of `KINDS`, a number of replicas, or a quorum as it is.
QuorumLike: TypeAlias = str | int | Quorum


def bind(wanted: QuorumLike, counts: Counts) -> Quorum:
    """The quorum of these replicas that a name or a number stands for.

    Raises:
        QuorumError: no such kind; more replicas or datacenters than there are, or none; a
            datacenter that has no replicas.
        SettingTypeError: it is neither text, nor an int, nor a `Quorum`.
    """
    if isinstance(wanted, Quorum):
        _check_bound(wanted, counts)
        return wanted
    if isinstance(wanted, str):
        return _named(wanted, counts)
    if isinstance(wanted, bool) or not hasattr(wanted, "__index__"):
        raise SettingTypeError(f"a quorum is a name or an int, not {type(wanted).__name__}")
    return _of_all(index(wanted), counts)


def _of_all(count: int, counts: Counts) -> AtLeast:
    total = sum(counts.values())
    if not 1 <= count <= total:
        raise QuorumError(f"a quorum of {count} of {total} replicas; it must be 1 ... {total}")
    return AtLeast(count, total, tuple(counts))


def _named(text: str, counts: Counts) -> Quorum:
    kind, _, argument = text.strip().partition(":")
    kind = kind.strip().lower().replace("-", "_")
    argument = argument.strip()
    total = sum(counts.values())
    if kind in {"local_quorum", "local_one"}:
        if argument not in counts:
            raise QuorumError(
                f"{text!r} needs a datacenter that has replicas: {kind}:"
                + f", {kind}:".join(sorted(counts))
            )
        size = counts[argument]
        count = 1 if kind == "local_one" else majority_of(size)
        return AtLeast(count, size, (argument,), everywhere=False)
    if kind == "majorities":
        if not _is_number(argument) or not 1 <= int(argument) <= len(counts):
            raise QuorumError(
                f"{text!r} needs a number of datacenters, majorities:1 ... majorities:{len(counts)}"
            )
        return InEach(int(argument), {dc: majority_of(n) for dc, n in counts.items()})
    if not argument:
        if kind in {"majority", "quorum"}:
            return _of_all(majority_of(total), counts)
        if kind == "all":
            return _of_all(total, counts)
        if kind in _NUMBERS:
            return _of_all(_NUMBERS[kind], counts)
        if _is_number(kind):
            return _of_all(int(kind), counts)
        if kind == "each_quorum":
            return InEach(len(counts), {dc: majority_of(n) for dc, n in counts.items()})
    raise QuorumError(f"{text!r} is no kind of quorum; those are {', '.join(KINDS)}")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _check_bound(quorum: Quorum, counts: Counts) -> None:
    if isinstance(quorum, AtLeast):
        if unknown := set(quorum.dcs) - set(counts):
            raise QuorumError(f"the quorum names {sorted(unknown)}, where no replicas are")
        total = sum(counts[dc] for dc in set(quorum.dcs))
        if len(set(quorum.dcs)) != len(quorum.dcs) or quorum.of != total:
            raise QuorumError(f"the quorum is of {quorum.of} replicas, but there are {total}")
        if not 1 <= quorum.count <= total:
            raise QuorumError(
                f"a quorum of {quorum.count} of {total} replicas; it must be 1 ... {total}"
            )
    elif isinstance(quorum, InEach):
        if not 1 <= quorum.count <= len(quorum.inside):
            raise QuorumError(
                f"a quorum in {quorum.count} of {len(quorum.inside)} datacenters; it must be "
                f"1 ... {len(quorum.inside)}"
            )
        for dc, need in quorum.inside.items():
            if not 1 <= need <= counts.get(dc, 0):
                raise QuorumError(f"{need} of {counts.get(dc, 0)} replicas in {dc!r}")
    else:
        raise SettingTypeError(f"a quorum is AtLeast or InEach, not {type(quorum).__name__}")


def meet(one: Quorum, other: Quorum, counts: Counts) -> bool:
    """Whether every set of replicas that satisfies `one` shares one with each that satisfies
    `other`: so that reads see the last write, and two writes see each other.

    Cost: for two `AtLeast` linear in the datacenters; else it tries the choices of them.
    """
    if isinstance(one, AtLeast) and isinstance(other, AtLeast):
        common = sum(counts[dc] for dc in one.dcs if dc in other.dcs)
        mine = max(0, one.count - (one.of - common))  # as few of the common ones as possible
        theirs = max(0, other.count - (other.of - common))
        return mine + theirs > common
    if not isinstance(one, InEach):
        one, other = other, one
    assert isinstance(one, InEach)
    for chosen in combinations(one.inside, one.count):
        left = {dc: n - (one.inside[dc] if dc in chosen else 0) for dc, n in counts.items()}
        if other.holds(left):
            return False
    return True
