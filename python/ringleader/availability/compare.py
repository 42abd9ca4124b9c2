"""Which placement would be better: alternatives, ranked by how available they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from ringleader.availability.model import (
    Counted,
    Model,
    PerDatacenter,
    PerNode,
    Policy,
    Site,
    Zones,
    as_replicas,
    check_names,
    checked_int,
    checked_policy,
    is_sequence,
    policy_text,
)
from ringleader.availability.quorums import Quorum, QuorumLike, majority_of, meet
from ringleader.availability.value import Availability, as_probability
from ringleader.errors import (
    LimitError,
    PolicyError,
    QuorumError,
    SettingError,
    SettingTypeError,
)
from ringleader.limits import (
    AVAILABILITY_DATACENTERS_MAX,
    PLACEMENTS_COMPARED_MAX,
    REPLICAS_MAX,
)
from ringleader.placement.topology import Replicas

#: What is ranked by: writes, reads, or whichever of the two is less available.
By: TypeAlias = Literal["write", "read", "worse"]
RANKINGS: tuple[By, ...] = ("write", "read", "worse")


@dataclass(frozen=True)
class Choice:
    """A placement with its quorums, and how available it is.

    Attributes:
        model: the replicas and what they stand on.
        read_quorum, write_quorum: what has to be live for either.
        read, write: how often it is.
        consistent: every read quorum meets every write quorum, and every two write quorums meet;
            where it is False, a read may miss the last write.
        given: it is the policy that was asked about.
    """

    model: Model
    read_quorum: Quorum
    write_quorum: Quorum
    read: Availability
    write: Availability
    consistent: bool
    given: bool = False

    @property
    def counts(self) -> Mapping[str, int]:
        """Replicas in each datacenter."""
        return self.model.counts

    @property
    def policy(self) -> str:
        """The same as text: `eu=2,us=2,ap=1`."""
        return policy_text(self.model.counts)

    @property
    def quorums(self) -> tuple[Quorum, Quorum]:
        """For reads, and for writes."""
        return self.read_quorum, self.write_quorum

    @property
    def nodes_survived(self) -> int:
        """Any so many replicas may fail, and writes go on."""
        return self.write_quorum.nodes_survived(self.counts)

    @property
    def datacenters_survived(self) -> int:
        """Any so many datacenters may fail, and writes go on."""
        return self.write_quorum.datacenters_survived(self.counts)

    def availability(self, by: By) -> Availability:
        """What it is ranked by."""
        if by == "worse":
            return min(self.read, self.write)
        return self.read if by == "read" else self.write


def assess(
    model: Model,
    read: QuorumLike = "majority",
    write: QuorumLike = "majority",
    *,
    given: bool = False,
) -> Choice:
    """How available reads and writes with these quorums are.

    Raises:
        QuorumError, SettingTypeError: a quorum is not possible with these replicas.
    """
    reads, writes = model.quorum(read), model.quorum(write)
    return Choice(
        model,
        reads,
        writes,
        model.availability(reads),
        model.availability(writes),
        meet(reads, writes, model.counts) and meet(writes, writes, model.counts),
        given,
    )


def ranked(choices: Iterable[Choice], by: By = "write") -> list[Choice]:
    """The choices, best first.

    Where two are equally available for what is ranked by, the other operation decides, then fewer
    replicas, fewer datacenters, and at last the policy's text: so the order is always the same.

    Raises:
        SettingError: `by` is none of `RANKINGS`.
    """
    _check_by(by)

    def key(choice: Choice) -> tuple[Any, ...]:
        first = choice.availability(by)
        second = choice.write if by == "read" else choice.read
        return (
            first.unavailable,
            second.unavailable,
            choice.model.total,
            len(choice.counts),
            not choice.given,
            choice.policy,
            choice.write_quorum.words,
        )

    return sorted(choices, key=key)


def better(
    policy: Policy,
    *,
    node: PerNode,
    dc: PerDatacenter = 1.0,
    zone: PerDatacenter = 1.0,
    zones: Zones = None,
    read: QuorumLike = "majority",
    write: QuorumLike = "majority",
    datacenters: Iterable[str] | None = None,
    replicas_max: int | None = None,
    sizes: bool = False,
    by: By = "write",
) -> list[Choice]:
    """The policy beside every other way to place its replicas, best first.

    Tried are all distributions of as many replicas over the datacenters, some of which may get
    none.  Datacenters that are alike (in their probabilities and zones, and not named by a
    quorum) stand for each other: of placements that differ only by such an exchange, one is listed.

    Args:
        policy, node, dc, zone, zones: as `Model`; where they are mappings they speak of all
            `datacenters`.  One probability for each replica, or replicas for each zone, cannot be
            redistributed.
        read, write: quorums by name or number, which every alternative binds for itself; one in
            which a quorum is not possible is left out.
        datacenters: that replicas may be placed in; those of the policy unless given.
        replicas_max: try every number of replicas from 1 up to this; only the policy's unless
            given.
        sizes: try every pair of counts r + w = n + 1, w a majority, instead of `read` and
            `write`: all that keep reads consistent and cannot be made smaller.
        by: rank by "write", "read", or the "worse" of the two.

    Returns:
        The choices, best first; the policy itself is among them, marked `given`.

    Raises:
        PolicyError, QuorumError, SettingError, SettingTypeError: as `Model` and `assess`.
        LimitError: there are more than `limits.PLACEMENTS_COMPARED_MAX` alternatives.
    """
    _check_by(by)
    asked = as_replicas(policy)
    counts = checked_policy(asked)
    names = _checked_datacenters(datacenters, counts)
    totals = _totals(sum(counts.values()), replicas_max)
    for quorum in (read, write):
        if isinstance(quorum, Quorum):
            raise SettingTypeError("name the quorums: each alternative binds them for itself")
    sites = _Sites(names, "zone" if asked.spread == "zone" else "node", node, dc, zone, zones)
    # Raises what is wrong with the policy or the quorums asked for.
    found = [assess(sites.model(counts), read, write, given=True)]
    groups = sites.alike({str(quorum).partition(":")[2].strip() for quorum in (read, write)})
    own = tuple(
        tuple(sorted((counts.get(name, 0) for name in group), reverse=True)) for group in groups
    )
    tried = 0
    for total in totals:
        pairs: list[tuple[QuorumLike, QuorumLike]] = [(read, write)]
        if sizes:
            pairs = [(total + 1 - w, w) for w in range(majority_of(total), total + 1)]
        for placed in _distributions([len(group) for group in groups], total):
            # Datacenters that are alike may be exchanged: this one is the policy itself.
            here = counts if placed == own else _by_name(names, groups, placed)
            for reads, writes in pairs:
                tried += 1
                if tried > PLACEMENTS_COMPARED_MAX:
                    raise LimitError(
                        f"more than {PLACEMENTS_COMPARED_MAX} placements to compare: use fewer "
                        "replicas or datacenters"
                    )
                try:
                    choice = assess(sites.model(here), reads, writes)
                except QuorumError:
                    continue  # this one cannot have such a quorum
                if here is not counts or choice.quorums != found[0].quorums:
                    found.append(choice)
    return ranked(found, by)


class _Sites:
    """The site of each datacenter with each number of replicas, made once."""

    def __init__(
        self,
        names: Sequence[str],
        spread: str,
        node: PerNode,
        dc: PerDatacenter,
        zone: PerDatacenter,
        zones: Zones,
    ) -> None:
        settings = {"node": node, "dc": dc, "zone": zone, "zones": zones}
        for what, given in settings.items():
            if isinstance(given, Mapping):
                check_names(what, given, names)
        self._spread = spread
        self._settings: dict[str, dict[str, Any]] = {
            name: {
                what: given[name] if isinstance(given, Mapping) else given
                for what, given in settings.items()
            }
            for name in names
        }
        for name, own in self._settings.items():
            for what in ("node", "zones"):
                if is_sequence(own[what]):
                    raise SettingTypeError(
                        f"{what} of {name!r} is about each replica, which placements with other "
                        "numbers of them cannot share; give one value for the datacenter"
                    )
        self._known: dict[tuple[str, int], tuple[Site, Counted]] = {}

    def alike(self, apart: Collection[str]) -> list[list[str]]:
        """The datacenters, in groups that differ in nothing; those in `apart` by themselves."""
        groups: dict[object, list[str]] = {}
        for name, own in self._settings.items():
            chances = tuple(as_probability(own[what], what) for what in ("node", "dc", "zone"))
            groups.setdefault(name if name in apart else (chances, own["zones"]), []).append(name)
        return list(groups.values())

    def model(self, counts: Mapping[str, int]) -> Model:
        known = {}
        for name, count in counts.items():
            if (name, count) not in self._known:
                own = self._settings[name]
                made = Model(Replicas({name: count}, spread=self._spread), **own).sites[name]
                self._known[name, count] = made, made.counted()
            known[name] = self._known[name, count]
        return Model.of(
            {name: site for name, (site, _) in known.items()},
            {name: counted for name, (_, counted) in known.items()},
        )


def _by_name(
    names: Sequence[str], groups: Sequence[Sequence[str]], placed: Sequence[Sequence[int]]
) -> dict[str, int]:
    """Replicas of each datacenter that has any, in the order of the names."""
    by_name = {
        name: count
        for group, counts in zip(groups, placed, strict=True)
        for name, count in zip(group, counts, strict=True)
    }
    return {name: by_name[name] for name in names if by_name[name]}


def _descending(total: int, parts: int, most: int) -> Iterator[tuple[int, ...]]:
    """Every way to write `total` as so many parts, none above `most` or the one before it."""
    if parts == 0:
        if total == 0:
            yield ()
        return
    for first in range(min(total, most), -(-total // parts) - 1, -1):
        for rest in _descending(total - first, parts - 1, first):
            yield (first, *rest)


def _distributions(sizes: Sequence[int], total: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every way to share `total` out over groups of so many parts; inside a group, descending."""
    if not sizes:
        if total == 0:
            yield ()
        return
    for here in range(total, -1, -1):
        for rest in _distributions(sizes[1:], total - here):
            for own in _descending(here, sizes[0], here):
                yield (own, *rest)


def _check_by(by: object) -> None:
    if by not in RANKINGS:
        raise SettingError(f"by={by!r} is not one of {', '.join(RANKINGS)}")


def _totals(asked: int, replicas_max: object) -> Sequence[int]:
    if replicas_max is None:
        return (asked,)
    most = checked_int("replicas_max", replicas_max, 1)
    if most > REPLICAS_MAX:
        raise LimitError(f"replicas_max={most}; it may be at most {REPLICAS_MAX}")
    return range(1, most + 1)


def _checked_datacenters(
    datacenters: Iterable[str] | None, counts: Mapping[str, int]
) -> Sequence[str]:
    if datacenters is None:
        return list(counts)
    if isinstance(datacenters, str):
        raise SettingTypeError("datacenters is one str; pass a list of names")
    names = list(datacenters)
    if any(not isinstance(name, str) for name in names):
        raise SettingTypeError("datacenters are named by str")
    if len(set(names)) != len(names):
        raise PolicyError("a datacenter is given twice")
    if len(names) > AVAILABILITY_DATACENTERS_MAX:
        raise LimitError(
            f"{len(names)} datacenters; at most {AVAILABILITY_DATACENTERS_MAX} can be modelled"
        )
    if missing := [name for name in counts if name not in names]:
        raise PolicyError(f"the policy places replicas in {missing}, not among the datacenters")
    return names
