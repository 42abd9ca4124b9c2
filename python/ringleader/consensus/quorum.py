"""Quorum systems: which sets of voters may commit an entry, and which may elect a leader.

A system has two families of quorums (Howard, Malkhi and Spiegelman, "Flexible Paxos: Quorum
Intersection Revisited", 2016):

    replication   an entry is committed once such a set has it (Paxos: phase 2)
    election      a candidate leads once such a set granted it (Paxos: phase 1)

and must keep two rules, which the constructors prove, or refuse with the two quorums that do not
meet:

    1. Every election quorum meets every replication quorum: so a new leader hears of every entry
       that may have been committed.
    2. Every election quorum meets every other.  Flexible Paxos does not ask for this, since Paxos
       gives each ballot to one proposer.  Raft's terms belong to nobody: with disjoint election
       quorums two candidates could both win one term, as each voter votes once in it.  A core
       whose ballots are owned may waive the rule with `owned_ballots=True`; Raft takes only
       systems whose `elections_intersect` is true.

`Majority`, `Flexible` and `Joint` are such systems; every quorum is written as nested thresholds
(`AtLeast`), so that one proof serves them all.  The functions at the end do the same arithmetic
for many groups at a time, over arrays; `Timers` keeps the timers of as many.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import combinations, product
from typing import Any, Final, Literal, NoReturn, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ringleader.errors import (
    OutputError,
    OutputTypeError,
    QuorumError,
    SettingError,
    SettingTypeError,
)
from ringleader.kernels import quorum as _kernel
from ringleader.limits import QUORUMS_CHECKED_MAX, VOTERS_MAX

__all__ = [
    "AtLeast",
    "Flexible",
    "Joint",
    "Majority",
    "NodeId",
    "QuorumSystem",
    "Timers",
    "VoteResult",
    "committed_groups",
    "committed_joint_groups",
    "disjoint_pair",
    "vote_groups",
]

#: How a voter is named: an int or a str, or anything that hashes and sorts.
NodeId: TypeAlias = Any

VoteResult = Literal["won", "lost", "pending"]

Timers = _kernel.Timers


class _Frozen:
    """Attributes are set once, by the constructor; `_identity` is what equality is about."""

    __slots__ = ()

    def _set(self, **attributes: object) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed; make another one")

    def _identity(self) -> Hashable:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._identity()))


# --- nested thresholds -------------------------------------------------------------------------


@final
class AtLeast(_Frozen):
    """A family of quorums: the sets that hold at least `count` of these parts.

    A part is a voter, held by the sets it is a member of, or another `AtLeast`.  A majority of
    three is `AtLeast(2, [1, 2, 3])`; a majority in each of two datacenters of three is
    `AtLeast(2, [AtLeast(2, dc) for dc in dcs])`.

    Attributes:
        count: how many of the parts a quorum holds.
        parts: voters in ascending order, then families.
        voters: every voter named in it, in ascending order.

    Raises:
        QuorumError: `count` lies outside 1 ... the number of parts; a voter stands twice among
            the parts; or there are more than `limits.VOTERS_MAX` voters.
        SettingTypeError: a voter cannot be hashed, or the voters cannot be sorted.
    """

    __slots__ = ("_is_flat", "count", "parts", "voters")

    count: int
    parts: tuple[NodeId | AtLeast, ...]
    voters: tuple[NodeId, ...]
    _is_flat: bool

    def __init__(self, count: int, parts: Iterable[NodeId | AtLeast]) -> None:
        given = _listed(parts)
        voters = _sorted_voters(part for part in given if not isinstance(part, AtLeast))
        families = [part for part in given if isinstance(part, AtLeast)]
        every = {*voters, *(voter for family in families for voter in family.voters)}
        count = _checked_count(count, len(given), "parts" if families else "voters")
        if families:
            families.sort(key=lambda family: (family.voters, family.count))
        self._set(
            count=count,
            parts=(*voters, *families),
            voters=_sorted_voters(every),
            _is_flat=not families,
        )

    def holds(self, ids: Iterable[NodeId]) -> bool:
        """Whether the set of these voters is, or contains, a quorum.  Others count nothing."""
        return self._holds(ids if isinstance(ids, set | frozenset) else frozenset(ids))

    def _holds(self, ids: set[NodeId] | frozenset[NodeId]) -> bool:
        held = sum(
            part._holds(ids) if isinstance(part, AtLeast) else part in ids for part in self.parts
        )
        return held >= self.count

    def committed(self, match: Mapping[NodeId, int]) -> int:
        """The largest index that all of some quorum have reached.

        A family holds the voters at or above an index exactly if `count` of its parts do, so it
        is the count-th largest of what its parts have committed.
        """
        if self._is_flat:
            return _kernel.committed_map(self.parts, match, self.count)
        reached = [
            part.committed(match) if isinstance(part, AtLeast) else match.get(part, 0)
            for part in self.parts
        ]
        return _kernel.committed_of(reached, self.count)

    def quorums(self) -> Iterator[frozenset[NodeId]]:
        """Every quorum that is minimal (and, where parts share voters, some that are not)."""
        if self._is_flat:
            yield from map(frozenset, combinations(self.parts, self.count))
            return
        for chosen in combinations(self.parts, self.count):
            each = [
                part.quorums() if isinstance(part, AtLeast) else (frozenset((part,)),)
                for part in chosen
            ]
            for sets in product(*each):
                yield frozenset().union(*sets)

    def quorum_count(self) -> int:
        """How many sets `quorums()` gives; found without making them."""
        ways = [1] + [0] * self.count  # ways[k]: to have chosen k of the parts so far
        for part in self.parts:
            own = part.quorum_count() if isinstance(part, AtLeast) else 1
            for chosen in range(self.count, 0, -1):
                ways[chosen] += ways[chosen - 1] * own
        return ways[self.count]

    def _identity(self) -> Hashable:
        return (self.count, self.parts)

    def __repr__(self) -> str:
        return f"AtLeast({self.count}, {list(self.parts)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (AtLeast, (self.count, self.parts))


def disjoint_pair(
    one: AtLeast, other: AtLeast
) -> tuple[frozenset[NodeId], frozenset[NodeId]] | None:
    """A quorum of each family with no voter in common; None when every two of them meet.

    Linear in the parts where both have the same shape (counts over any voters, majorities of the
    same datacenters).  Else the quorums of whichever family has fewer are enumerated.

    Raises:
        QuorumError: both families have more than `limits.QUORUMS_CHECKED_MAX` quorums and are of
            different shapes: nothing was proven.
    """
    if one._is_flat and other._is_flat:
        return _disjoint_counts(one, other)
    if _same_shape(one, other):
        return _disjoint_shapes(one, other)
    swapped = other.quorum_count() < one.quorum_count()
    fewer, more = (other, one) if swapped else (one, other)
    if fewer.quorum_count() > QUORUMS_CHECKED_MAX:
        raise QuorumError(
            f"cannot prove that the quorums meet: the families have {one.quorum_count():,} and "
            f"{other.quorum_count():,} quorums, and at most {QUORUMS_CHECKED_MAX:,} are tried"
        )
    every = frozenset(more.voters)
    for quorum in fewer.quorums():
        rest = every - quorum
        if more._holds(rest):
            pair = (quorum, _pruned(more, rest))
            return (pair[1], pair[0]) if swapped else pair
    return None


def _pruned(family: AtLeast, ids: frozenset[NodeId]) -> frozenset[NodeId]:
    """A minimal quorum inside `ids`, which holds one."""
    kept = set(ids)
    for voter in sorted(ids, reverse=True):
        if family._holds(kept - {voter}):
            kept.remove(voter)
    return frozenset(kept)


def _disjoint_counts(
    one: AtLeast, other: AtLeast
) -> tuple[frozenset[NodeId], frozenset[NodeId]] | None:
    """Each takes first the voters that the other does not have."""
    common = sorted(set(one.voters) & set(other.voters))
    apart = [voter for voter in one.voters if voter not in common]
    others_apart = [voter for voter in other.voters if voter not in common]
    mine, theirs = one.count - len(apart), other.count - len(others_apart)
    if max(mine, 0) + max(theirs, 0) > len(common):
        return None
    first = [*apart, *common][: one.count]
    second = [*others_apart, *reversed(common)][: other.count]
    return frozenset(first), frozenset(second)


def _own_voters(part: NodeId | AtLeast) -> tuple[NodeId, ...]:
    return part.voters if isinstance(part, AtLeast) else (part,)


def _same_shape(one: AtLeast, other: AtLeast) -> bool:
    """Whether the parts of both are of the same voters, part by part, and share none of them."""
    if len(one.parts) != len(other.parts):
        return False
    if sum(len(_own_voters(part)) for part in one.parts) != len(one.voters):
        return False
    return all(
        _own_voters(mine) == _own_voters(theirs)
        and isinstance(mine, AtLeast) == isinstance(theirs, AtLeast)
        for mine, theirs in zip(one.parts, other.parts, strict=True)
    )


def _disjoint_shapes(
    one: AtLeast, other: AtLeast
) -> tuple[frozenset[NodeId], frozenset[NodeId]] | None:
    """Parts that can serve both at once, by disjoint quorums, do so; the rest is shared out."""
    first: list[frozenset[NodeId]] = []
    second: list[frozenset[NodeId]] = []
    undivided = []
    for mine, theirs in zip(one.parts, other.parts, strict=True):
        pair = None
        if isinstance(mine, AtLeast) and isinstance(theirs, AtLeast):
            pair = disjoint_pair(mine, theirs)
        if pair is not None and len(first) < min(one.count, other.count):
            first.append(pair[0])
            second.append(pair[1])
        else:
            undivided.append((mine, theirs))
    for mine, theirs in undivided:
        if len(first) < one.count:
            first.append(_some_quorum(mine))
        elif len(second) < other.count:
            second.append(_some_quorum(theirs))
    if len(first) < one.count or len(second) < other.count:
        return None
    return frozenset().union(*first), frozenset().union(*second)


def _some_quorum(part: NodeId | AtLeast) -> frozenset[NodeId]:
    return next(part.quorums()) if isinstance(part, AtLeast) else frozenset((part,))


def _listed(voters: Iterable[NodeId]) -> list[NodeId]:
    if isinstance(voters, str | bytes) or not isinstance(voters, Iterable):
        raise SettingTypeError(f"voters must be a collection of ids, not {voters!r}")
    return list(voters)


def _sorted_voters(voters: Iterable[NodeId]) -> tuple[NodeId, ...]:
    """Distinct voters in ascending order."""
    given = _listed(voters)
    try:
        given.sort()
        distinct = set(given)
    except TypeError as error:
        raise SettingTypeError(f"voters must hash, and sort among themselves: {error}") from None
    if len(distinct) != len(given):
        twice = next(voter for at, voter in enumerate(given[1:]) if voter == given[at])
        raise QuorumError(f"voter {twice!r} is named twice")
    if len(given) > VOTERS_MAX:
        raise QuorumError(f"{len(given)} voters; there may be at most {VOTERS_MAX}")
    return tuple(given)


def _checked_count(count: object, parts: int, what: str) -> int:
    if isinstance(count, bool) or not isinstance(count, int):
        raise SettingTypeError(f"a quorum's count must be an int, not {type(count).__name__}")
    if not 1 <= count <= parts:
        raise QuorumError(f"a quorum of {count} of {parts} {what}; it must be 1 ... {parts}")
    return count


def _named(ids: Iterable[NodeId]) -> str:
    return "{" + ", ".join(map(repr, sorted(ids))) + "}"


# --- systems -------------------------------------------------------------------------------------


class QuorumSystem(_Frozen):
    """What `Majority`, `Flexible` and `Joint` have in common.  Immutable and hashable.

    Attributes:
        voters: in ascending order.
        replication: the sets that commit an entry.
        election: the sets that elect a leader.
        elections_intersect: every two election quorums meet, as Raft needs.
    """

    __slots__ = ("election", "elections_intersect", "replication", "voters")

    voters: tuple[NodeId, ...]
    replication: AtLeast
    election: AtLeast
    elections_intersect: bool

    def committed(self, match: Mapping[NodeId, int]) -> int:
        """The largest index that a replication quorum has.

        Args:
            match: the last index that each voter is known to have.  A voter that is missing
                has 0; who is no voter counts nothing.

        Raises:
            LimitError: an index lies outside 0 ... 2**64-1.
            SettingTypeError: an index is no int.
        """
        return self.replication.committed(match)

    def vote(self, votes: Mapping[NodeId, bool | None]) -> VoteResult:
        """What an election has come to.

        Args:
            votes: true for granted, false for refused.  A voter that is missing, or None, may
                still do either; who is no voter counts nothing.

        Returns:
            "won" once an election quorum has granted, "lost" once none can any more, else
            "pending".
        """
        if self.election._holds({voter for voter, granted in votes.items() if granted}):
            return "won"
        refused = {voter for voter, granted in votes.items() if granted is not None and not granted}
        possible = {voter for voter in self.voters if voter not in refused}
        return "pending" if self.election._holds(possible) else "lost"

    def has_quorum(self, ids: Iterable[NodeId]) -> bool:
        """Whether these voters suffice to commit an entry."""
        return self.replication.holds(ids)

    def can_elect(self, ids: Iterable[NodeId]) -> bool:
        """Whether these voters suffice to elect a leader."""
        return self.election.holds(ids)


@final
class Majority(QuorumSystem):
    """More than half of the voters, for replication and elections alike.

    Attributes:
        quorum: how many that are.

    Raises:
        QuorumError: no voters, one named twice, or more than `limits.VOTERS_MAX`.
        SettingTypeError: a voter cannot be hashed, or the voters cannot be sorted.
    """

    __slots__ = ("quorum",)

    quorum: int

    def __init__(self, voters: Iterable[NodeId]) -> None:
        distinct = _sorted_voters(voters)
        if not distinct:
            raise QuorumError("no voters: nobody could ever commit or elect")
        quorum = len(distinct) // 2 + 1
        family = AtLeast(quorum, distinct)
        self._set(
            voters=distinct,
            quorum=quorum,
            replication=family,
            election=family,
            elections_intersect=True,
        )

    def committed(self, match: Mapping[NodeId, int]) -> int:
        return _kernel.committed_map(self.voters, match, self.quorum)

    def committed_of(self, values: list[int]) -> int:
        """`committed` for a caller that keeps one index for each voter, in any order.

        Raises:
            SettingError: there are not as many values as voters.
            LimitError: a value lies outside 0 ... 2**64-1.
            SettingTypeError: a value is no int.
        """
        if len(values) != len(self.voters):
            raise SettingError(f"{len(values)} indices for {len(self.voters)} voters")
        return _kernel.committed_of(values, self.quorum)

    def vote(self, votes: Mapping[NodeId, bool | None]) -> VoteResult:
        granted = refused = 0
        for voter in self.voters:
            ballot = votes.get(voter)
            if ballot is not None:
                if ballot:
                    granted += 1
                else:
                    refused += 1
        if granted >= self.quorum:
            return "won"
        return "lost" if refused > len(self.voters) - self.quorum else "pending"

    def _identity(self) -> Hashable:
        return self.voters

    def __repr__(self) -> str:
        return f"Majority({list(self.voters)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Majority, (self.voters,))


@final
class Flexible(QuorumSystem):
    """Replication and election quorums chosen apart: small ones to commit, large ones to elect.

        Flexible([1, 2, 3, 4, 5], replication=2, election=4)
        Flexible.by_datacenter({"a": [1, 2, 3], "b": [4, 5, 6], "c": [7, 8, 9]},
                               replication=2, election=2)

    Args:
        voters: all of them; each that `replication` or `election` names is one.
        replication: how many voters commit an entry, or any family of sets.
        election: how many voters elect a leader, or any family of sets.
        owned_ballots: waive rule 2 of this module, that election quorums meet each other: for
            protocols that give each ballot to one proposer (Paxos), never for Raft.

    Raises:
        QuorumError: an election quorum and a replication quorum have no voter in common (the
            message names the two), or two election quorums have none; or the voters are none,
            or too many, or one is named twice; or a count is not possible.
        SettingTypeError: a voter cannot be hashed or sorted; a count is no int.
    """

    __slots__ = ()

    def __init__(
        self,
        voters: Iterable[NodeId],
        *,
        replication: int | AtLeast,
        election: int | AtLeast,
        owned_ballots: bool = False,
    ) -> None:
        distinct = _sorted_voters(voters)
        if not distinct:
            raise QuorumError("no voters: nobody could ever commit or elect")
        families = []
        for name, family in (("replication", replication), ("election", election)):
            if not isinstance(family, AtLeast):
                family = AtLeast(_checked_count(family, len(distinct), "voters"), distinct)
            if strangers := set(family.voters) - set(distinct):
                raise QuorumError(f"{name} names {_named(strangers)}, which are no voters")
            families.append(family)
        commits, elects = families
        if pair := disjoint_pair(elects, commits):
            raise QuorumError(
                f"{_named(pair[0])} could elect a leader that knows nothing of what "
                f"{_named(pair[1])} committed: every election quorum must meet every "
                "replication quorum"
            )
        rivals = disjoint_pair(elects, elects)
        if rivals and not owned_ballots:
            raise QuorumError(
                f"{_named(rivals[0])} and {_named(rivals[1])} could elect two leaders in one "
                "term: election quorums must meet each other, unless each ballot belongs to one "
                "proposer (owned_ballots=True: Paxos, not Raft)"
            )
        self._set(
            voters=distinct,
            replication=commits,
            election=elects,
            elections_intersect=rivals is None,
        )

    @classmethod
    def by_datacenter(
        cls,
        datacenters: Mapping[str, Iterable[NodeId]],
        *,
        replication: int,
        election: int,
        owned_ballots: bool = False,
    ) -> Flexible:
        """A majority inside each of so many datacenters.

        Of D datacenters, replication + election must be more than D; and 2·election more than
        D, unless ballots are owned.  With one datacenter for replication an entry commits
        without leaving it, and an election needs a majority in every one of them.

        Raises:
            QuorumError, SettingTypeError: as for `Flexible`.
        """
        inside = []
        for name, voters in datacenters.items():
            distinct = _sorted_voters(voters)
            if not distinct:
                raise QuorumError(f"datacenter {name!r} has no voters")
            inside.append(AtLeast(len(distinct) // 2 + 1, distinct))
        return cls(
            [voter for family in inside for voter in family.voters],
            replication=AtLeast(replication, inside),
            election=AtLeast(election, inside),
            owned_ballots=owned_ballots,
        )

    @classmethod
    def by_grid(cls, rows: Iterable[Iterable[NodeId]], *, owned_ballots: bool = False) -> Flexible:
        """A rectangle of voters: all of one column commits an entry.

        All of one row elects a leader where ballots are owned.  Two rows do not meet, so
        otherwise it takes a row and a column.

        Raises:
            QuorumError: rows of different lengths, none, or an empty one; a voter named twice.
        """
        table = [tuple(row) for row in rows]
        if not table or not table[0] or len({len(row) for row in table}) > 1:
            raise QuorumError("a grid has rows of one length, and at least one voter")
        any_row = AtLeast(1, [AtLeast(len(row), row) for row in table])
        columns = list(zip(*table, strict=True))
        any_column = AtLeast(1, [AtLeast(len(column), column) for column in columns])
        return cls(
            [voter for row in table for voter in row],
            replication=any_column,
            election=any_row if owned_ballots else AtLeast(2, [any_row, any_column]),
            owned_ballots=owned_ballots,
        )

    def _identity(self) -> Hashable:
        return (self.voters, self.replication, self.election)

    def __repr__(self) -> str:
        families = ", ".join(
            f"{name}={family.count if family.parts == self.voters else family!r}"
            for name, family in (("replication", self.replication), ("election", self.election))
        )
        waived = "" if self.elections_intersect else ", owned_ballots=True"
        return f"Flexible({list(self.voters)!r}, {families}{waived})"

    def __reduce__(self) -> tuple[Any, ...]:
        make = _flexible
        return (
            make,
            (self.voters, self.replication, self.election, not self.elections_intersect),
        )


def _flexible(
    voters: Iterable[NodeId], replication: AtLeast, election: AtLeast, owned_ballots: bool
) -> Flexible:
    return Flexible(voters, replication=replication, election=election, owned_ballots=owned_ballots)


@final
class Joint(QuorumSystem):
    """Both the incoming and the outgoing voters must agree: the middle of a membership change.

    Ongaro's dissertation, section 4.3: while both configurations are in force, a decision needs
    a quorum of either, so neither can decide without the other.

    Args:
        incoming: the voters to come, or a quorum system over them.
        outgoing: the same for those that leave.  Nobody outgoing means that no change is under
            way: the incoming decide alone.

    Attributes:
        incoming: a quorum system.
        outgoing: a quorum system, or None.

    Raises:
        QuorumError: nobody is incoming; voters named twice, or too many.
        SettingTypeError: a voter cannot be hashed, or the voters cannot be sorted.
    """

    __slots__ = ("incoming", "outgoing")

    incoming: QuorumSystem
    outgoing: QuorumSystem | None

    def __init__(
        self,
        incoming: Iterable[NodeId] | QuorumSystem,
        outgoing: Iterable[NodeId] | QuorumSystem = (),
    ) -> None:
        first, second = _as_system(incoming), _as_system(outgoing)
        if first is None:
            raise QuorumError("no voters: nobody could ever commit or elect")
        if second is None:
            self._set(
                incoming=first,
                outgoing=None,
                voters=first.voters,
                replication=first.replication,
                election=first.election,
                elections_intersect=first.elections_intersect,
            )
            return
        self._set(
            incoming=first,
            outgoing=second,
            voters=_sorted_voters({*first.voters, *second.voters}),
            replication=AtLeast(2, [first.replication, second.replication]),
            election=AtLeast(2, [first.election, second.election]),
            elections_intersect=first.elections_intersect or second.elections_intersect,
        )

    def committed(self, match: Mapping[NodeId, int]) -> int:
        reached = self.incoming.committed(match)
        if self.outgoing is None:
            return reached
        return min(reached, self.outgoing.committed(match))

    def vote(self, votes: Mapping[NodeId, bool | None]) -> VoteResult:
        first = self.incoming.vote(votes)
        if self.outgoing is None:
            return first
        second = self.outgoing.vote(votes)
        if first == second:
            return first
        return "lost" if "lost" in (first, second) else "pending"

    def _identity(self) -> Hashable:
        return (self.incoming, self.outgoing)

    def __repr__(self) -> str:
        return f"Joint({_shown(self.incoming)}, {_shown(self.outgoing)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Joint, (self.incoming, () if self.outgoing is None else self.outgoing))


def _shown(system: QuorumSystem | None) -> str:
    if system is None:
        return "[]"
    return repr(list(system.voters)) if isinstance(system, Majority) else repr(system)


def _as_system(voters: Iterable[NodeId] | QuorumSystem) -> QuorumSystem | None:
    if isinstance(voters, QuorumSystem):
        return voters
    distinct = _sorted_voters(voters)
    return Majority(distinct) if distinct else None


# --- many groups ---------------------------------------------------------------------------------


def committed_groups(
    match: NDArray[np.uint64],
    quorum: int | None = None,
    out: NDArray[np.uint64] | None = None,
) -> NDArray[np.uint64]:
    """The committed index of each of many groups.

    Args:
        match: uint64, [groups, voters]: the last index that each voter of each group has.
        quorum: how many voters commit an entry; a majority unless given.
        out: uint64, [groups], C-contiguous, for the result; a new array unless given.

    Returns:
        uint64, [groups]: the quorum-th largest of each row.

    Raises:
        SettingTypeError: `match` is no NumPy array of uint64; `quorum` is no int.
        SettingError: `match` does not have two dimensions; `quorum` is not 1 ... voters.
        LimitError: no voters, or more than `limits.VOTERS_MAX`.
        OutputTypeError, OutputError: `out` cannot take the result, or overlaps `match`.

    Cost: linear in groups; for 3, 5 and 7 voters near what it takes to read them, for others up
    to 6 a few ns a group, above that some ns a voter.  The GIL is not held.  A `match` that is
    not C-contiguous is copied first.
    """
    match = _checked_rows(match, np.uint64, "match")
    result = _checked_out(out, np.uint64, len(match), (match,))
    _kernel.committed(match, result, _majority_unless(quorum, match))
    return result


def committed_joint_groups(
    incoming: NDArray[np.uint64],
    outgoing: NDArray[np.uint64],
    incoming_quorum: int | None = None,
    outgoing_quorum: int | None = None,
    out: NDArray[np.uint64] | None = None,
) -> NDArray[np.uint64]:
    """The committed index of each of many groups, all of them between two configurations.

    Args:
        incoming: uint64, [groups, voters]: the last index that each incoming voter has.
        outgoing: the same of the outgoing voters; their number may differ.
        incoming_quorum: how many incoming voters commit an entry; a majority unless given.
        outgoing_quorum: the same of the outgoing voters.
        out: as for `committed_groups`.

    Raises, cost: as for `committed_groups`, once for each side.
    """
    incoming = _checked_rows(incoming, np.uint64, "incoming")
    outgoing = _checked_rows(outgoing, np.uint64, "outgoing")
    if len(incoming) != len(outgoing):
        raise SettingError(f"{len(incoming)} groups incoming, {len(outgoing)} outgoing")
    result = _checked_out(out, np.uint64, len(incoming), (incoming, outgoing))
    _kernel.committed_joint(
        incoming,
        _majority_unless(incoming_quorum, incoming),
        outgoing,
        _majority_unless(outgoing_quorum, outgoing),
        result,
    )
    return result


def vote_groups(
    ballots: NDArray[np.int8],
    quorum: int | None = None,
    out: NDArray[np.int8] | None = None,
) -> NDArray[np.int8]:
    """What the election in each of many groups has come to.

    Args:
        ballots: int8, [groups, voters]: 1 for granted, -1 for refused, 0 for neither yet (of
            other numbers the sign counts).
        quorum: how many voters elect a leader; a majority unless given.
        out: int8, [groups], C-contiguous, for the result; a new array unless given.

    Returns:
        int8, [groups]: 1 for won, -1 for lost, 0 for pending.

    Raises: as for `committed_groups`.

    Cost: linear in groups, about 2 ns each for up to 8 voters.  The GIL is not held.
    """
    ballots = _checked_rows(ballots, np.int8, "ballots")
    result = _checked_out(out, np.int8, len(ballots), (ballots,))
    _kernel.votes(ballots, result, _majority_unless(quorum, ballots))
    return result


_DIMENSIONS: Final = 2


def _checked_rows(array: NDArray[Any], dtype: type[np.generic], name: str) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        got = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise SettingTypeError(f"{name} must be a NumPy array of {np.dtype(dtype)}, not {got}")
    if array.ndim != _DIMENSIONS:
        raise SettingError(f"{name} must be [groups, voters]; it has {array.ndim} dimensions")
    return np.ascontiguousarray(array)


def _checked_out(
    out: NDArray[Any] | None,
    dtype: type[np.generic],
    groups: int,
    inputs: tuple[NDArray[Any], ...],
) -> NDArray[Any]:
    if out is None:
        return np.empty(groups, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise OutputTypeError(f"out must be a NumPy array of {np.dtype(dtype)}, not {got}")
    if out.shape != (groups,):
        raise OutputError(f"out has shape {out.shape}; it must be ({groups},)")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise OutputError("out must be C-contiguous and writeable")
    if any(np.may_share_memory(out, array) for array in inputs):
        raise OutputError("out overlaps the input")
    return out


def _majority_unless(quorum: int | None, rows: NDArray[Any]) -> int:
    if quorum is None:
        return int(rows.shape[1]) // 2 + 1
    if isinstance(quorum, bool) or not isinstance(quorum, int):
        raise SettingTypeError(f"quorum must be an int, not {type(quorum).__name__}")
    return quorum
