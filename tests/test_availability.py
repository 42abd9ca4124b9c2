"""Availability: exact answers against enumeration of every state, and against sampling."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader import limits
from ringleader.availability import (
    AtLeast,
    Availability,
    Choice,
    Estimate,
    InEach,
    Model,
    assess,
    avoids,
    avoids_exactly,
    better,
    meet,
    ranked,
)
from ringleader.availability.value import as_probability, in_words
from ringleader.errors import (
    LimitError,
    PolicyError,
    PolicyTypeError,
    QuorumError,
    RingleaderError,
    SettingError,
    SettingTypeError,
)
from ringleader.placement.topology import Replicas

KINDS = ["majority", "one", "all", 2, "each_quorum", "majorities:1", "majorities:2",
         "local_quorum:eu", "local_one:us"]  # fmt: skip

# --- the same by enumeration --------------------------------------------------------------------


def states(model: Model) -> Iterator[tuple[Fraction, dict[str, int]]]:
    """Every combination of up and down of everything, with its probability."""
    parts: list[tuple[str, Fraction]] = []
    where: list[tuple[str, int, list[int]]] = []  # dc, its zone's part, its nodes' parts
    dcs: dict[str, int] = {}
    for name, site in model.sites.items():
        dcs[name] = len(parts)
        parts.append((name, site.up))
        for zone in site.zones:
            at = len(parts)
            parts.append((name, zone.up))
            where.append((name, at, list(range(at + 1, at + 1 + len(zone.nodes)))))
            parts.extend((name, chance) for chance in zone.nodes)
    free = [at for at, (_, chance) in enumerate(parts) if 0 < chance < 1]
    up = [chance == 1 for _, chance in parts]
    for tossed in product((False, True), repeat=len(free)):
        weight = Fraction(1)
        for at, is_up in zip(free, tossed, strict=True):
            up[at] = is_up
            weight *= parts[at][1] if is_up else 1 - parts[at][1]
        live = dict.fromkeys(model.counts, 0)
        for name, zone_at, nodes in where:
            if up[dcs[name]] and up[zone_at]:
                live[name] += sum(up[node] for node in nodes)
        yield weight, live


def holds(kind: str | int, live: Mapping[str, int], counts: Mapping[str, int]) -> bool:
    """What a kind of quorum means, from its name."""
    total = sum(counts.values())
    enough = [live[dc] > counts[dc] // 2 for dc in counts]
    if isinstance(kind, int):
        return sum(live.values()) >= kind
    name, _, where = kind.partition(":")
    return {
        "majority": lambda: sum(live.values()) > total // 2,
        "one": lambda: sum(live.values()) >= 1,
        "all": lambda: sum(live.values()) == total,
        "each_quorum": lambda: all(enough),
        "majorities": lambda: sum(enough) >= int(where),
        "local_quorum": lambda: live[where] > counts[where] // 2,
        "local_one": lambda: live[where] >= 1,
    }[name]()


chances = st.fractions(0, 1, max_denominator=12)


@st.composite
def models(draw: st.DrawFn) -> Model:
    """Up to 5 replicas, each with a chance of its own, in zones of up to three datacenters."""
    counts: dict[str, int] = {"eu": draw(st.integers(1, 2)), "us": draw(st.integers(1, 2))}
    if draw(st.booleans()):
        counts["ap"] = 1
    node = {dc: draw(st.lists(chances, min_size=n, max_size=n)) for dc, n in counts.items()}
    zones = draw(st.sampled_from([None, 1, 2]))
    return Model(
        counts,
        node=node,
        dc={dc: draw(chances) for dc in counts},
        zone=draw(st.sampled_from([Fraction(1), Fraction(3, 4)])),
        zones=zones,
    )


@given(models())
@settings(max_examples=25)
def test_every_quorum_is_as_available_as_the_states_in_which_it_holds(model: Model) -> None:
    every = list(states(model))
    assert sum(weight for weight, _ in every) == 1
    for kind in KINDS:
        want = sum(weight for weight, live in every if not holds(kind, live, model.counts))
        assert model.availability(kind).unavailable == want, kind
    for dc in (None, *model.counts):
        found = model.live(dc)
        assert sum(found) == 1
        for i, chance in enumerate(found):
            assert chance == sum(
                weight
                for weight, live in every
                if (sum(live.values()) if dc is None else live[dc]) == i
            )
    for k in range(1, model.total + 1):
        want = sum(
            weight * Fraction(math.comb(sum(live.values()), k), math.comb(model.total, k))
            for weight, live in every
        )
        assert model.blind(k).available == want


@given(models(), st.sampled_from(KINDS), st.sampled_from(KINDS))
@settings(max_examples=60)
def test_quorums_and_what_they_survive_by_enumeration(model: Model, one: Any, other: Any) -> None:
    counts = model.counts
    nodes = [dc for dc, n in counts.items() for _ in range(n)]

    def live(chosen: Any) -> dict[str, int]:
        return {dc: sum(nodes[at] == dc for at in chosen) for dc in counts}

    every = range(len(nodes))
    subsets = [set(chosen) for n in range(len(nodes) + 1) for chosen in combinations(every, n)]
    first, second = model.quorum(one), model.quorum(other)
    for chosen in subsets:
        assert first.holds(live(chosen)) == holds(one, live(chosen), counts)
    apart = any(
        first.holds(live(chosen)) and second.holds(live(set(every) - chosen)) for chosen in subsets
    )
    assert meet(first, second, counts) == meet(second, first, counts) == (not apart)
    for lost, survived in (
        ([len(every) - len(chosen) for chosen in subsets if not first.holds(live(chosen))],
         first.nodes_survived(counts)),
        ([n for n in range(len(counts) + 1) for gone in combinations(counts, n)
          if not first.holds({dc: 0 if dc in gone else m for dc, m in counts.items()})],
         first.datacenters_survived(counts)),
    ):  # fmt: skip
        assert survived == min(lost) - 1


# --- the same by sampling -----------------------------------------------------------------------


def test_sampling_agrees_with_the_exact_answer() -> None:
    """Bounds that hold in 999 of 1000 estimates; the seeds are fixed."""
    model = Model(
        Replicas({"eu": 3, "us": 3, "ap": 2}, spread="zone"),
        node={"eu": 0.9, "us": 0.8, "ap": [0.7, 0.95]},
        dc={"eu": 0.97, "us": 0.9, "ap": 0.8},
        zone=0.9,
    )
    for seed, kind in enumerate([*KINDS, 5, 7]):
        estimate = model.estimate(kind, 100_000, seed=seed)
        assert estimate.agrees_with(model.availability(kind)), kind
        assert estimate.samples == 100_000
    drawn = model.sample(100_000, seed=1)
    for dc, live in drawn.items():
        share = np.bincount(live, minlength=model.counts[dc] + 1) / len(live)
        assert share == pytest.approx([float(chance) for chance in model.live(dc)], abs=0.01)
    assert (drawn["eu"] == model.sample(100_000, seed=1)["eu"]).all()
    wrong = Availability(model.availability("majority").unavailable / 2)
    assert not model.estimate("majority", 100_000).agrees_with(wrong)


def test_bounds_of_an_estimate() -> None:
    assert Estimate.of(0, 1000).low == 0
    assert 0.003 < Estimate.of(0, 1000).high < 0.02
    assert Estimate.of(1000, 1000).high == 1
    half = Estimate.of(500, 1000)
    assert half.low == pytest.approx(1 - half.high)


# --- a fixed number of failures -----------------------------------------------------------------


def test_a_random_quorum_that_avoids_the_failed() -> None:
    for n in range(1, 9):
        for k in range(1, n + 1):
            for failed in range(n + 1):
                every = list(combinations(range(n), k))
                good = sum(min(chosen) >= failed for chosen in every)
                want = Fraction(1)
                for i in range(k):
                    want *= Fraction(max(0, n - failed - i), n - i)
                assert avoids_exactly(n, k, failed) == want == Fraction(good, len(every))
                assert avoids(n, k, failed) == float(want)
    assert avoids_exactly(5, 3, 1) == Fraction(2, 5)


def test_over_independent_failures_it_is_the_chance_that_all_of_k_are_up() -> None:
    up = Fraction(9, 10)
    model = Model("7", node=up)
    for k in range(1, 8):
        assert model.blind(k).available == up**k
        assert up**k == sum(
            math.comb(7, f) * (1 - up) ** f * up ** (7 - f) * avoids_exactly(7, k, f)
            for f in range(8)
        )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, 1, 0), SettingError),
        ((3, 0, 0), QuorumError),
        ((3, 4, 0), QuorumError),
        ((3, 2, 4), SettingError),
        ((3, 2, -1), SettingError),
        ((3.0, 2, 1), SettingTypeError),
        ((3, True, 1), SettingTypeError),
        ((3, 2, 1.0), SettingTypeError),
        ((10**9, 2, 1), LimitError),
    ],
)
def test_refusals_of_avoids(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        avoids(*arguments)


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [0.999, "0.999", "99.9%", " 99.9 %", "999/1000", Decimal("0.999"), Fraction(999, 1000),
     np.float64(0.999), np.float32(0.999), "9.99e-1"],
)  # fmt: skip
def test_a_probability_is_what_it_was_written_as(value: Any) -> None:
    assert as_probability(value, "p") == Fraction(999, 1000)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (1.0001, SettingError, "within 0 ... 1"),
        (-1e-300, SettingError, "within 0 ... 1"),
        (math.nan, SettingError, "nan"),
        (math.inf, SettingError, "inf"),
        (Decimal("nan"), SettingError, "NaN"),
        ("99.9", SettingError, "within 0 ... 1"),
        ("three nines", SettingError, "write a probability like"),
        ("nan", SettingError, "write a probability like"),
        ("", SettingError, "write a probability like"),
        ("1/0", SettingError, "write a probability like"),
        ("1e-99999999", SettingError, "fewer digits"),
        ("0." + "9" * 2000, SettingError, "fewer digits"),
        (Fraction(1, 3**1000), LimitError, "bits"),
        (True, SettingTypeError, "bool"),
        (None, SettingTypeError, "NoneType"),
        (b"0.9", SettingTypeError, "bytes"),
    ],
)
def test_what_is_no_probability(value: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        as_probability(value, "p")
    with pytest.raises(error, match=words):
        Model("3", node=value)


def test_tiny_unavailability_is_not_lost() -> None:
    model = Model({f"d{i}": 3 for i in range(5)}, node=1 - Fraction(1, 10**20), dc=0.999)
    worst = model.availability("majority").unavailable
    # Three datacenters of five have to fail; nodes add next to nothing.
    q = Fraction(1, 1000)
    dcs = sum(math.comb(5, i) * q**i * (1 - q) ** (5 - i) for i in range(3, 6))
    assert dcs < worst < dcs * (1 + Fraction(1, 10**15))
    one = model.availability("one")
    assert one.nines == pytest.approx(15.0)
    assert one.percent == "100% - 1.0e-13%"
    assert float(one.unavailable) == pytest.approx(1e-15)
    never = Model("255", node="0.9").availability("one")
    assert never.unavailable == Fraction(1, 10**255)
    assert never.nines == pytest.approx(255)
    assert never.down_s_per_year == pytest.approx(3.15576e-248)
    deep = Model({"a": 60, "b": 60}, node=1 - Fraction(1, 10**7)).availability("one")
    assert float(deep.unavailable) == 0  # below every float, and yet
    assert deep.nines == pytest.approx(840)
    assert deep.percent == "100% - 1.0e-838%"
    assert deep.downtime == "1 s in 3.2e832 years"


@pytest.mark.parametrize(
    ("unavailable", "percent", "downtime"),
    [
        (Fraction(0), "100%", "never"),
        (Fraction(1), "0.00%", "365 days 6 h"),
        (Fraction(1, 2), "50.00%", "182 days 15 h"),
        (Fraction(1, 10), "90.00%", "36 days 13 h"),
        (Fraction(1, 365), "99.73%", "1 day"),
        (Fraction(1, 1000), "99.90%", "8 h 46 min"),
        (Fraction(25, 10**7), "99.99975%", "1 min 19 s"),
        (Fraction(1, 10**6), "99.99990%", "32 s"),
        (Fraction(1, 10**7), "99.999990%", "3.2 s"),
        (Fraction(1, 10**9), "99.9999999%", "31.6 ms"),
        (Fraction(1, 10**12), "99.99999999990%", "1 s in 31,688 years"),
    ],
)
def test_availability_in_words(unavailable: Fraction, percent: str, downtime: str) -> None:
    value = Availability(unavailable)
    assert value.percent.rstrip("0%") == percent.rstrip("0%")
    assert value.downtime == downtime
    assert value.available == 1 - unavailable
    assert downtime in str(value)


def test_availability_has_an_order() -> None:
    low, high = Availability(Fraction(1, 10)), Availability(Fraction(1, 11))
    assert low < high
    assert max(low, high) is high
    assert float(low) == 0.9
    assert Availability(Fraction(0)).nines == math.inf
    with pytest.raises(TypeError):
        low < 0.5  # type: ignore[operator]  # noqa: B015


@given(st.fractions(0, 40_000_000))
def test_words_are_close_to_the_time(down_s: Fraction) -> None:
    words = in_words(down_s)
    if down_s < Fraction(1, 1000):
        return
    sizes = {"days": 86_400, "day": 86_400, "h": 3600, "min": 60, "s": 1, "ms": 0.001}
    parts = words.split()
    told = sum(
        float(number) * sizes[unit] for number, unit in zip(parts[::2], parts[1::2], strict=True)
    )
    assert told == pytest.approx(float(down_s), rel=0.06)
    assert not any(text in words for text in ("60 s", "60 min", "24 h"))


# --- models -------------------------------------------------------------------------------------


def test_policies_of_every_form_are_one() -> None:
    want = Model({"eu": 2, "us": 1}, node=0.9)
    assert want == Model("eu=2,us=1", node="90%") == Model(Replicas({"eu": 2, "us": 1}), node=0.9)
    assert want != Model("eu=2,us=1", node=0.8)
    assert want != "eu=2,us=1"
    assert Model("3", node=0.9) == Model(Replicas(3), node=0.9)
    assert dict(Model(Replicas(3, spread="dc"), node=0.9).counts) == {"dc1": 1, "dc2": 1, "dc3": 1}
    assert repr(want) == "<Model of eu=2,us=1>"
    assert repr(Model("3", node=0.9)) == "<Model of 3>"


def test_spread_over_zones() -> None:
    nodes = {"eu": [0.1, 0.2, 0.3, 0.4, 0.5]}

    def placed(zones: Any) -> list[list[float]]:
        model = Model({"eu": 5}, node=nodes, zones=zones)
        return [[float(p) for p in zone.nodes] for zone in model.sites["eu"].zones]

    assert placed(None) == placed(1) == [[0.1, 0.2, 0.3, 0.4, 0.5]]
    assert placed(2) == [[0.1, 0.3, 0.5], [0.2, 0.4]]
    assert placed({"eu": 9}) == [[0.1], [0.2], [0.3], [0.4], [0.5]]
    assert placed({"eu": [2, 3]}) == [[0.1, 0.2], [0.3, 0.4, 0.5]]
    spread = Model(Replicas({"eu": 3}, spread="zone"), node=1, zone=0.9)
    assert spread.availability("majority").unavailable == Fraction(28, 1000)
    assert Model({"eu": 3}, node=1, zone=0.9).availability("one").unavailable == Fraction(1, 10)


@pytest.mark.parametrize(
    ("policy", "settings", "error", "words"),
    [
        ("", {}, PolicyError, "no policy"),
        ("eu=0", {}, PolicyError, "0 replicas"),
        ({}, {}, PolicyError, "names none"),
        ({"eu": -1}, {}, PolicyError, "at least 1"),
        ({"eu": 1.5}, {}, PolicyTypeError, "float"),
        (3, {}, PolicyTypeError, "int"),
        ({f"d{i}": 1 for i in range(17)}, {}, LimitError, "17 datacenters"),
        ("eu=1", {"node": {"us": 0.9}}, PolicyError, "node names the datacenter 'us'"),
        ("eu=1,us=1", {"dc": {"us": 0.9}}, PolicyError, "dc says nothing about 'eu'"),
        ("eu=2", {"node": {"eu": [0.9]}}, PolicyError, "1 probabilities for 2 replicas"),
        ("eu=2", {"zones": 0}, SettingError, "at least 1"),
        ("eu=2", {"zones": 1.0}, SettingTypeError, "float"),
        ("eu=2", {"zones": {"eu": [1, 2]}}, PolicyError, "3 of the 2 replicas"),
        ("eu=2", {"zones": {"eu": [2, 0]}}, SettingError, "at least 1"),
        ("eu=200", {"node": 1 - Fraction(1, 10**300)}, LimitError, "bits"),
    ],
)
def test_refusals_of_models(
    policy: Any, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        Model(policy, **{"node": 0.9, **settings})
    assert isinstance(caught.value, RingleaderError)


@pytest.mark.parametrize(
    ("quorum", "error", "words"),
    [
        (0, QuorumError, "0 of 3 replicas"),
        (4, QuorumError, "4 of 3 replicas"),
        ("4", QuorumError, "4 of 3 replicas"),
        ("nonsense", QuorumError, "no kind of quorum; those are majority"),
        ("local_quorum", QuorumError, "needs a datacenter"),
        ("local_quorum:ap", QuorumError, "local_quorum:eu, local_quorum:us"),
        ("majorities", QuorumError, "majorities:1"),
        ("majorities:3", QuorumError, "majorities:2"),
        ("one:eu", QuorumError, "no kind"),
        (AtLeast(2, 2, ("ap",)), QuorumError, "ap"),
        (AtLeast(2, 5, ("eu",)), QuorumError, "there are 2"),
        (AtLeast(3, 2, ("eu",)), QuorumError, "3 of 2"),
        (InEach(2, {"eu": 1}), QuorumError, "2 of 1 datacenters"),
        (InEach(1, {"eu": 3}), QuorumError, "3 of 2"),
        (True, SettingTypeError, "bool"),
        (1.0, SettingTypeError, "float"),
        (None, SettingTypeError, "NoneType"),
    ],
)
def test_refusals_of_quorums(quorum: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Model("eu=2,us=1", node=0.9).availability(quorum)


def test_other_questions_that_are_refused() -> None:
    model = Model("eu=2,us=1", node=0.9)
    with pytest.raises(PolicyError, match="nothing in 'ap', but in 'eu', 'us'"):
        model.live("ap")
    for count, seed in ((0, 0), (5, -1)):
        with pytest.raises(SettingError):
            model.sample(count, seed)
    with pytest.raises(SettingTypeError):
        model.sample(1.0)  # type: ignore[arg-type]


def test_names_of_quorums() -> None:
    model = Model("eu=3,us=3", node=0.9)
    assert model.quorum("QUORUM") == model.quorum("majority") == model.quorum(4)
    assert model.quorum("each-quorum") == model.quorum("majorities:2")
    assert model.quorum("local_quorum:eu") == AtLeast(2, 3, ("eu",), everywhere=False)
    assert model.quorum("two").words == "2 of 6 replicas"
    assert model.quorum("majorities:1").words == "a majority inside 1 of 2 datacenters"
    assert model.quorum("local_one:us").words == "1 of 3 replicas in us"
    assert Model("3", node=0.9).quorum("each_quorum").words == "a majority inside the datacenter"


# --- comparisons --------------------------------------------------------------------------------


def test_every_placement_is_compared() -> None:
    """Beside all distributions, enumerated otherwise."""
    dc = {"eu": 0.999, "us": 0.99, "ap": 0.9}
    found = better("eu=3,us=1,ap=1", node=0.99, dc=dc)
    want = {
        placed: Model({n: c for n, c in zip(dc, placed, strict=True) if c}, node=0.99,
                      dc={n: dc[n] for n, c in zip(dc, placed, strict=True) if c})
        for placed in product(range(6), repeat=3) if sum(placed) == 5
    }  # fmt: skip
    assert len(found) == len(want) == 21
    for choice in found:
        model = want[tuple(choice.counts.get(name, 0) for name in dc)]  # type: ignore[index]
        assert choice.model == model
        assert choice.write == choice.read == model.availability("majority")
    assert [choice.given for choice in found].count(True) == 1
    assert found[0].write == max(model.availability("majority") for model in want.values())
    assert found == ranked(reversed(found))


def test_alike_datacenters_stand_for_each_other() -> None:
    found = better("eu=1,us=2,ap=2", node=0.999, dc=0.99)
    assert sorted(sorted(choice.counts.values()) for choice in found) == [
        [1, 1, 3], [1, 2, 2], [1, 4], [2, 3], [5],
    ]  # fmt: skip
    assert found[0].given
    assert dict(found[0].counts) == {"eu": 1, "us": 2, "ap": 2}
    local = better("eu=3,us=3", node=0.999, dc=0.99, write="local_quorum:us")
    # us is named: it cannot be exchanged; where it has nothing, there is no such quorum.
    assert sorted(choice.counts["us"] for choice in local) == [1, 2, 3, 4, 5, 6]


def test_sizes_are_those_that_keep_reads_consistent() -> None:
    found = better("eu=2,us=2,ap=1", node=0.99, dc=0.999, read=3, write=3, sizes=True, by="worse")
    pairs = {(c.read_quorum.count, c.write_quorum.count) for c in found}  # type: ignore[attr-defined]
    assert pairs == {(3, 3), (2, 4), (1, 5)}
    assert all(choice.consistent for choice in found)
    assert len(found) == 15
    worst = [min(choice.read, choice.write) for choice in found]
    assert worst == sorted(worst, reverse=True)
    assert not assess(found[0].model, read=2, write=3).consistent
    assert not assess(
        found[0].model, read=5, write=2
    ).consistent  # two writes could miss each other
    local = assess(Model("eu=2,us=2", node=0.9), "local_quorum:eu", "local_quorum:eu")
    assert local.consistent


def test_more_replicas_and_other_datacenters() -> None:
    found = better(
        Replicas({"eu": 1}, spread="zone"), node=0.99, dc={"eu": 0.9, "us": 0.99}, zone=0.95,
        datacenters=["eu", "us"], replicas_max=4,
    )  # fmt: skip
    assert {choice.model.total for choice in found} == {1, 2, 3, 4}
    assert len(found) == 2 + 3 + 4 + 5
    assert found[0].policy == "us=3"
    assert [len(site.zones) for site in found[0].model.sites.values()] == [3]
    given = next(choice for choice in found if choice.given)
    assert given.policy == "eu=1"
    reads = better("eu=2,us=1", node=0.99, read="one", write="all", by="read", replicas_max=3)
    assert reads[0].model.total == 3


def test_what_a_choice_survives() -> None:
    choice = assess(Model("eu=2,us=2,ap=1", node=0.99))
    assert isinstance(choice, Choice)
    assert (choice.nodes_survived, choice.datacenters_survived) == (2, 1)
    assert assess(Model("eu=3,us=2", node=0.99)).datacenters_survived == 0
    assert assess(Model("eu=3,us=3,ap=3", node=1), write="majorities:2").nodes_survived == 3


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"by": "price"}, SettingError, "write, read, worse"),
        ({"datacenters": ["us"]}, PolicyError, "not among the datacenters"),
        ({"datacenters": ["eu", "eu"]}, PolicyError, "twice"),
        ({"datacenters": "eu"}, SettingTypeError, "list"),
        ({"datacenters": ["eu", 1]}, SettingTypeError, "str"),
        ({"datacenters": ["eu", *map(str, range(16))]}, LimitError, "17 datacenters"),
        ({"replicas_max": 0}, SettingError, "at least 1"),
        ({"replicas_max": 1.0}, SettingTypeError, "float"),
        ({"replicas_max": 1000}, LimitError, "255"),
        ({"node": {"eu": [0.9, 0.9]}}, SettingTypeError, "each replica"),
        ({"zones": {"eu": [1, 1]}}, SettingTypeError, "each replica"),
        ({"dc": {"us": 0.9}}, PolicyError, "dc names the datacenter 'us'"),
        ({"write": 3}, QuorumError, "3 of 2"),
        ({"write": AtLeast(1, 2, ("eu",))}, SettingTypeError, "name the quorums"),
        ({"datacenters": ["eu", *map(str, range(15))], "replicas_max": 30, "node": 0.9},
         LimitError, str(limits.PLACEMENTS_COMPARED_MAX)),
    ],
)  # fmt: skip
def test_refusals_of_comparisons(
    settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        better("eu=2", **{"node": 0.9, **settings})
    with pytest.raises(SettingError):
        ranked([], by="price")  # type: ignore[arg-type]
