"""How available replicas are: independent nodes, in zones and datacenters that fail as a whole.

A replica is *live* while its node, its zone and its datacenter are up.  Each of these is up with a
probability of its own, independently of all others; so replicas of one zone, and of one
datacenter, fail together as often as it does.

All replicas of a datacenter count the same for a quorum (see `quorums`), hence the number of live
ones in each is all that matters, and its distribution is known exactly:

    zone         0 with probability 1 - z; else the sum of its nodes' coin tosses
    datacenter   0 with probability 1 - d; else the sum over its zones
    AtLeast      the tail of the sum over its datacenters
    InEach       the tail of the number of datacenters that have enough

Sums of independent counts are products of polynomials.  Their coefficients are integers over one
denominator, and nothing is rounded: an unavailability of 1e-30 is as exact as one of 0.3.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ringleader.availability.quorums import AtLeast, InEach, Quorum, QuorumLike, bind
from ringleader.availability.value import Availability, Probability, as_probability
from ringleader.errors import (
    LimitError,
    PolicyError,
    PolicyTypeError,
    SettingError,
    SettingTypeError,
)
from ringleader.limits import (
    AVAILABILITY_BITS_MAX,
    AVAILABILITY_DATACENTERS_MAX,
    REPLICAS_MAX,
)
from ringleader.placement.topology import Replicas

#: Replicas in each datacenter: a `Replicas`, a mapping, or text like "eu=2,us=2,ap=1".
Policy: TypeAlias = Replicas | Mapping[str, int] | str
#: One probability for all, or one for each datacenter by name.
PerDatacenter: TypeAlias = Probability | Mapping[str, Probability]
#: The same, where a datacenter may have one for each of its replicas.
PerNode: TypeAlias = Probability | Mapping[str, Probability | Sequence[Probability]]
#: How many zones a datacenter's replicas are spread over, or how many replicas are in each zone.
Zones: TypeAlias = int | Mapping[str, int | Sequence[int]] | None

#: States drawn at a time by `Model.sample`: bounds its memory.
_SAMPLE_BATCH = 1 << 16


def checked_policy(policy: object) -> dict[str, int]:
    """Replicas in each datacenter, in the order given.

    A number of replicas without datacenters is one datacenter without a name; with `spread="dc"`
    it is a datacenter for each of them: "dc1", "dc2", ...

    Raises:
        PolicyError, PolicyTypeError: it is no policy, as for `Replicas`.
        LimitError: more datacenters than can be modelled.
    """
    return _counts(as_replicas(policy))


def as_replicas(policy: object) -> Replicas:
    """What `Policy` allows, as a `Replicas`."""
    if isinstance(policy, Replicas):
        return policy
    if isinstance(policy, str):
        return Replicas.parse(policy)
    if isinstance(policy, Mapping):
        return Replicas(policy)
    raise PolicyTypeError(
        "a policy is a Replicas, a mapping of datacenters to replicas, or text like "
        f"'eu=2,us=1', not {type(policy).__name__}"
    )


def _counts(policy: Replicas) -> dict[str, int]:
    if policy.by_dc is not None:
        made = dict(policy.by_dc)
    elif policy.spread == "dc":
        made = {f"dc{number}": 1 for number in range(1, policy.total + 1)}
    else:
        made = {"": policy.total}
    if len(made) > AVAILABILITY_DATACENTERS_MAX:
        raise LimitError(
            f"{len(made)} datacenters; at most {AVAILABILITY_DATACENTERS_MAX} can be modelled"
        )
    return made


# --- distributions ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    """A distribution of a count: P(count = i) = weights[i] / total.  Exact."""

    weights: tuple[int, ...]
    total: int

    @classmethod
    def tosses(cls, chances: Sequence[Fraction]) -> Counted:
        """How many of independent coin tosses succeed (a Poisson binomial distribution)."""
        n = len(chances)
        if n and chances.count(chances[0]) == n:
            up, of = chances[0].numerator, chances[0].denominator
            down = of - up
            return cls(
                tuple(math.comb(n, i) * up**i * down ** (n - i) for i in range(n + 1)), of**n
            )
        made = cls((1,), 1)
        for chance in chances:
            up, of = chance.numerator, chance.denominator
            made = made + cls((of - up, up), of)
        return made

    def only_if(self, chance: Fraction) -> Counted:
        """0 unless a coin of its own comes up with this chance."""
        if chance == 1:
            return self
        up, of = chance.numerator, chance.denominator
        weights = [up * weight for weight in self.weights]
        weights[0] += (of - up) * self.total
        return Counted(tuple(weights), of * self.total)

    def __add__(self, other: Counted) -> Counted:
        """The sum of two independent counts."""
        weights = [0] * (len(self.weights) + len(other.weights) - 1)
        for i, mine in enumerate(self.weights):
            if mine:
                for j, theirs in enumerate(other.weights):
                    weights[i + j] += mine * theirs
        return Counted(tuple(weights), self.total * other.total)

    def below(self, count: int) -> Fraction:
        """P(count < this)."""
        return Fraction(sum(self.weights[: max(0, count)]), self.total)


_NOTHING = Counted((1,), 1)


@dataclass(frozen=True)
class Zone:
    """Replicas that fail together when their zone does.

    Attributes:
        up: the probability that the zone is.
        nodes: for each replica, the probability that its node is up.
    """

    up: Fraction
    nodes: tuple[Fraction, ...]


@dataclass(frozen=True)
class Site:
    """A datacenter's replicas.

    Attributes:
        up: the probability that the datacenter is.
        zones: where its replicas are.
    """

    up: Fraction
    zones: tuple[Zone, ...]

    @property
    def replicas(self) -> int:
        """How many, in all zones."""
        return sum(len(zone.nodes) for zone in self.zones)

    def counted(self) -> Counted:
        """The distribution of its live replicas."""
        made = _NOTHING
        for zone in self.zones:
            made = made + Counted.tosses(zone.nodes).only_if(zone.up)
        return made.only_if(self.up)


@dataclass(frozen=True)
class Estimate:
    """What sampling says of an unavailability.

    Attributes:
        failures: samples in which the quorum did not hold.
        samples: how many were drawn.
        low, high: bounds of the unavailability that hold in 999 of 1000 such estimates (Wilson's
            score interval).
    """

    failures: int
    samples: int
    low: float
    high: float

    @classmethod
    def of(cls, failures: int, samples: int) -> Estimate:
        z = 3.290526731491926  # of the normal distribution, 99.9 % two-sided
        share, z2 = failures / samples, z * z
        middle = (share + z2 / (2 * samples)) / (1 + z2 / samples)
        half = z * math.sqrt(share * (1 - share) / samples + z2 / (4 * samples * samples))
        half /= 1 + z2 / samples
        low = max(0.0, middle - half) if failures else 0.0  # exactly, where rounding would not be
        high = min(1.0, middle + half) if failures < samples else 1.0
        return cls(failures, samples, low, high)

    def agrees_with(self, availability: Availability) -> bool:
        """Whether the exact value lies within the bounds."""
        return self.low <= float(availability.unavailable) <= self.high


class Model:
    """Replicas, and how often what they stand on is up.  Immutable.

    Args:
        policy: how many replicas in which datacenter: a `Replicas`, a mapping, text like
            "eu=2,us=2,ap=1"; a number without datacenters is one without a name.
        node: the probability that a node is up while its zone and datacenter are; a mapping
            gives one for each datacenter, or a sequence with one for each of its replicas.
        dc: that a datacenter is up; a mapping gives one for each.
        zone: that a zone is up while its datacenter is.
        zones: over how many zones the replicas of a datacenter are spread, replica i in zone
            i mod zones; or, as a sequence, how many are in each zone, first ones first.  Where
            it is not given: a zone for each replica if the policy says `spread="zone"`, else
            one zone for all, the worst case.

    Attributes:
        counts: datacenter -> replicas.
        total: all replicas.
        sites: datacenter -> its zones and nodes.

    Raises:
        PolicyError: the policy asks for no replicas; or `node`, `dc`, `zone` or `zones` name a
            datacenter that is not in it, or leave one out, or do not fit its replicas.
        SettingError: a probability is not within 0 ... 1.
        PolicyTypeError, SettingTypeError: something is of the wrong type.
        LimitError: too much to be computed exactly (`limits.AVAILABILITY_*`).

    Cost: O(replicas²) multiplications of integers, on the first question asked of it.
    """

    __slots__ = ("_counted", "_sum", "counts", "sites", "total")

    counts: Mapping[str, int]
    sites: Mapping[str, Site]
    total: int

    def __init__(
        self,
        policy: Policy,
        *,
        node: PerNode,
        dc: PerDatacenter = 1.0,
        zone: PerDatacenter = 1.0,
        zones: Zones = None,
    ) -> None:
        replicas = as_replicas(policy)
        counts = _counts(replicas)
        for name, given in (("node", node), ("dc", dc), ("zone", zone), ("zones", zones)):
            if isinstance(given, Mapping):
                check_names(name, given, counts)
        sites = {}
        for name, count in counts.items():
            up = as_probability(_for(dc, name), f"dc of {name!r}")
            zone_up = as_probability(_for(zone, name), f"zone of {name!r}")
            nodes = _node_chances(_for(node, name), name, count)
            placed = _dealt(_for(zones, name), name, nodes, replicas.spread)
            sites[name] = Site(up, tuple(Zone(zone_up, members) for members in placed))
        self._init(sites)

    def _init(
        self, sites: Mapping[str, Site], counted: Mapping[str, Counted] | None = None
    ) -> None:
        self.sites = sites
        self.counts = {name: site.replicas for name, site in sites.items()}
        self.total = sum(self.counts.values())
        bits = sum(
            site.up.denominator.bit_length()
            + sum(
                zone.up.denominator.bit_length()
                + sum(chance.denominator.bit_length() for chance in zone.nodes)
                for zone in site.zones
            )
            for site in sites.values()
        )
        if bits > AVAILABILITY_BITS_MAX:
            raise LimitError(
                f"the exact answer would have {bits} bits; at most {AVAILABILITY_BITS_MAX} are "
                "allowed: give the probabilities with fewer digits, or fewer replicas"
            )
        self._counted: dict[str, Counted] = dict(counted or {})
        self._sum: dict[tuple[str, ...], Counted] = {}

    @classmethod
    def of(cls, sites: Mapping[str, Site], counted: Mapping[str, Counted] | None = None) -> Model:
        """A model of given sites; `counted` are their distributions where they are known."""
        made = cls.__new__(cls)
        made._init(sites, counted)
        return made

    def _site(self, name: str) -> Counted:
        if name not in self._counted:
            self._counted[name] = self.sites[name].counted()
        return self._counted[name]

    def _live(self, dcs: tuple[str, ...]) -> Counted:
        if dcs not in self._sum:
            made = _NOTHING
            for name in dcs:
                made = made + self._site(name)
            self._sum[dcs] = made
        return self._sum[dcs]

    # --- what it says ---------------------------------------------------------------------------

    def live(self, dc: str | None = None) -> tuple[Fraction, ...]:
        """P(exactly i replicas are live) for i = 0, 1, ...: of all, or of one datacenter.

        Raises:
            PolicyError: there is no such datacenter.
        """
        if dc is not None and dc not in self.counts:
            raise PolicyError(f"the policy places nothing in {dc!r}, but in {_listed(self.counts)}")
        found = self._live(tuple(self.counts)) if dc is None else self._site(dc)
        return tuple(Fraction(weight, found.total) for weight in found.weights)

    def quorum(self, wanted: QuorumLike) -> Quorum:
        """The quorum of these replicas that a name or a number stands for (see `quorums`).

        Raises:
            QuorumError: it is not possible with these replicas.
            SettingTypeError: it is no quorum at all.
        """
        return bind(wanted, self.counts)

    def availability(self, quorum: QuorumLike) -> Availability:
        """How often the live replicas suffice for a quorum.

        Raises:
            QuorumError, SettingTypeError: as `quorum`.
        """
        bound = self.quorum(quorum)
        if isinstance(bound, AtLeast):
            return Availability(self._live(bound.dcs).below(bound.count))
        assert isinstance(bound, InEach)
        enough = [1 - self._site(name).below(need) for name, need in bound.inside.items()]
        return Availability(Counted.tosses(enough).below(bound.count))

    def blind(self, k: int) -> Availability:
        """How often `k` replicas picked at random, without a look at them, are all live.

        What `avoids` says for a fixed number of failures, over their distribution.

        Raises:
            QuorumError: k is not 1 ... the number of replicas.
            SettingTypeError: k is no int.
        """
        bound = self.quorum(k)
        assert isinstance(bound, AtLeast)
        found = self._live(tuple(self.counts))
        alive = sum(
            weight * math.comb(live, bound.count) for live, weight in enumerate(found.weights)
        )
        every = math.comb(self.total, bound.count) * found.total
        return Availability(Fraction(every - alive, every))

    # --- the same by sampling -------------------------------------------------------------------

    def sample(self, count: int, seed: int = 0) -> dict[str, NDArray[np.uint16]]:
        """Live replicas of each datacenter in `count` states drawn at random: toss by toss.

        It shares nothing with the exact answers, which it is there to check.

        Raises:
            SettingError: `count` is not positive, or `seed` is negative.
            SettingTypeError: one of them is no int.
        """
        count, seed = checked_int("count", count, 1), checked_int("seed", seed, 0)
        rng = np.random.default_rng(seed)
        drawn = {name: np.empty(count, np.uint16) for name in self.counts}
        for lo in range(0, count, _SAMPLE_BATCH):
            size = min(count - lo, _SAMPLE_BATCH)
            for name, site in self.sites.items():
                live = np.zeros(size, np.uint16)
                for zone in site.zones:
                    here = np.zeros(size, np.uint16)
                    for chance in zone.nodes:
                        here += rng.random(size) < float(chance)
                    live += here * (rng.random(size) < float(zone.up))
                drawn[name][lo : lo + size] = live * (rng.random(size) < float(site.up))
        return drawn

    def estimate(self, quorum: QuorumLike, count: int, seed: int = 0) -> Estimate:
        """The unavailability of a quorum, from `count` random states.

        Raises:
            QuorumError, SettingError, SettingTypeError: as `quorum` and `sample`.
        """
        bound = self.quorum(quorum)
        drawn = self.sample(count, seed)
        if isinstance(bound, AtLeast):
            live = np.zeros(count, np.int64)
            for name in bound.dcs:
                live += drawn[name]
            holds = live >= bound.count
        else:
            assert isinstance(bound, InEach)
            enough = np.zeros(count, np.int64)
            for name, need in bound.inside.items():
                enough += drawn[name] >= need
            holds = enough >= bound.count
        return Estimate.of(int(count - holds.sum()), count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        return self.sites == other.sites

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Model of {policy_text(self.counts)}>"


def policy_text(counts: Mapping[str, int]) -> str:
    """`eu=2,us=2,ap=1`, or the number alone where the datacenter has no name."""
    return ",".join(f"{dc}={count}" if dc else str(count) for dc, count in counts.items())


# --- settings -----------------------------------------------------------------------------------


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def check_names(what: str, given: Mapping[Any, Any], counts: Collection[str]) -> None:
    for dc in given:
        if dc not in counts:
            raise PolicyError(
                f"{what} names the datacenter {dc!r}, but the policy is about {_listed(counts)}"
            )
    if missing := [dc for dc in counts if dc not in given]:
        raise PolicyError(f"{what} says nothing about {_listed(missing)}")


def _for(given: Any, dc: str) -> Any:
    return given[dc] if isinstance(given, Mapping) else given


def is_sequence(given: object) -> bool:
    return isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes)


def _node_chances(given: Any, dc: str, count: int) -> tuple[Fraction, ...]:
    if not is_sequence(given):
        return (as_probability(given, f"node in {dc!r}"),) * count
    if len(given) != count:
        raise PolicyError(f"node has {len(given)} probabilities for {count} replicas in {dc!r}")
    return tuple(as_probability(chance, f"node {i} in {dc!r}") for i, chance in enumerate(given))


def _dealt(
    given: Any, dc: str, nodes: tuple[Fraction, ...], spread: str
) -> list[tuple[Fraction, ...]]:
    """The nodes of each zone."""
    if given is None:
        given = len(nodes) if spread == "zone" else 1
    if is_sequence(given):
        sizes = [checked_int(f"zones of {dc!r}", size, 1) for size in given]
        if sum(sizes) != len(nodes):
            raise PolicyError(f"zones has {sum(sizes)} of the {len(nodes)} replicas in {dc!r}")
        placed, at = [], 0
        for size in sizes:
            placed.append(nodes[at : at + size])
            at += size
        return placed
    zones = min(checked_int(f"zones of {dc!r}", given, 1), len(nodes))
    return [nodes[first::zones] for first in range(zones)]


def checked_int(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise SettingTypeError(f"{name} must be an int, not {type(value).__name__}")
    made = index(value)
    if made < least:
        raise SettingError(f"{name} is {made}; it must be at least {least}")
    return made


# --- a fixed number of failures -----------------------------------------------------------------


def avoids_exactly(n: int, k: int, failed: int) -> Fraction:
    """P(k of n replicas, picked at random, are none of the `failed` ones), exactly.

        prod_{i < k} (n - failed - i) / (n - i)  =  C(n - failed, k) / C(n, k)

    which is the hypergeometric distribution at 0.  Zero where too few are left.

    Raises:
        QuorumError: k is not 1 ... n.
        SettingError: n < 1, or failed is not 0 ... n.
        SettingTypeError: an argument is no int.
        LimitError: n is above `limits.REPLICAS_MAX`.

    Cost: O(k).
    """
    n, failed = checked_int("n", n, 1), checked_int("failed", failed, 0)
    if n > REPLICAS_MAX:
        raise LimitError(f"n={n} replicas; at most {REPLICAS_MAX} can be modelled")
    if failed > n:
        raise SettingError(f"failed={failed} of n={n} replicas; at most n can fail")
    bound = bind(k, {"": n})
    assert isinstance(bound, AtLeast)
    return Fraction(math.comb(n - failed, bound.count), math.comb(n, bound.count))


def avoids(n: int, k: int, failed: int) -> float:
    """P(k of n replicas, picked at random, are none of the `failed` ones), rounded once.

    Arguments, errors and formula as `avoids_exactly`.
    """
    return float(avoids_exactly(n, k, failed))
