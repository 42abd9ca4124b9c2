"""Writes those parts of the pages that the code knows better: `python docs/generate.py`.

In a page, what stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->` is replaced; the
diagram of roles is a file of its own.  A test fails when any of it is out of date.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from types import ModuleType

from ringleader.availability import better
from ringleader.cli.compare import COLUMNS
from ringleader.cli.compare_consensus import TABLES, Shown, load
from ringleader.cli.comparison import ALGORITHMS, Measured
from ringleader.consensus.config import CoreConfig
from ringleader.consensus.paxos import Config as PaxosConfig
from ringleader.consensus.paxos import core as paxos
from ringleader.consensus.raft import Config
from ringleader.consensus.raft import core as raft
from ringleader.sim import profiles
from ringleader.sim.checker import Invariant
from ringleader.sim.comparison import measures as consensus_measures
from ringleader.sim.comparison.verdicts import verdicts
from ringleader.sim.invariants import INVARIANTS
from ringleader.sim.paxos_invariants import INVARIANTS as PAXOS_INVARIANTS

DOCS = Path(__file__).resolve().parent


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# --- roles ------------------------------------------------------------------------------------


def roles(core: ModuleType = raft) -> str:
    return table(
        ("", "from", "to", "when it"),
        (
            (number, core.ROLES[source], core.ROLES[target], cause)
            for number, ((source, target), cause) in enumerate(core.TRANSITIONS.items(), 1)
        ),
    )


def roles_svg(core: ModuleType = raft) -> str:
    """Figure 4 of the paper, with the numbers of the table."""
    step, box_width, box_height, middle = 210, 130, 44, 110
    centre = [90 + step * role for role in range(len(core.ROLES))]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {step * 4 - 30} 225" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
        f'<rect width="{step * 4 - 30}" height="225" fill="#fff"/>',
    ]
    for number, (source, target) in enumerate(core.TRANSITIONS, 1):
        a, b = centre[source], centre[target]
        if source == target:
            top = middle - box_height / 2
            path = f"M{a - 18},{top} C{a - 30},{top - 46} {a + 30},{top - 46} {a + 18},{top}"
            at = a, top - 42
        else:
            sign = -1 if target > source else 1  # forwards above, back below
            edge = middle + sign * box_height / 2
            reach = abs(target - source)
            bend = edge + sign * (18 + 34 * (reach if reach > 1 else 0.6))
            shift = 34 if target > source else -34
            path = f"M{a + shift},{edge} C{a + shift},{bend} {b - shift},{bend} {b - shift},{edge}"
            at = (a + b) / 2, edge + 0.75 * (bend - edge)
        parts.append(
            f'<path d="{path}" fill="none" stroke="#666" stroke-width="1.5" '
            'marker-end="url(#tip)"/>'
        )
        parts.append(
            f'<circle cx="{at[0]}" cy="{at[1]}" r="10" fill="#fff"/>'
            f'<text x="{at[0]}" y="{at[1] + 5}" text-anchor="middle">{number}</text>'
        )
    for name, x in zip(core.ROLES, centre, strict=True):
        parts.append(
            f'<rect x="{x - box_width / 2}" y="{middle - box_height / 2}" width="{box_width}" '
            f'height="{box_height}" rx="8" fill="#eef2f7" stroke="#345"/>'
            f'<text x="{x}" y="{middle + 5}" text-anchor="middle">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


# --- settings ---------------------------------------------------------------------------------


def settings() -> str:
    """The attributes of `Config` as the docstring of what cores share explains them."""
    return _settings(Config, CoreConfig)


def _settings(config: type[CoreConfig], described_by: type, without: type | None = None) -> str:
    described: dict[str, str] = {}
    text = (inspect.getdoc(described_by) or "").split("Attributes:")[1]
    for names, what in re.findall(r"^    ([a-z_, ]+): (.*(?:\n        .*)*)", text, re.MULTILINE):
        described[names] = re.sub(r"\s+", " ", what)
    named = {field.name for field in dataclasses.fields(config)}
    if without is not None:
        named -= {field.name for field in dataclasses.fields(without)}
    made = config()
    defaults = {name: getattr(made, name) for name in named}
    rows = []
    for names, what in described.items():
        values = [_value(defaults.pop(name)) for name in names.split(", ")]
        rows.append((", ".join(f"`{name}`" for name in names.split(", ")), ", ".join(values), what))
    assert not defaults, f"not described: {defaults}"
    return table(("setting", "default", ""), rows)


def paxos_settings() -> str:
    """Those that Multi-Paxos has besides."""
    return _settings(PaxosConfig, PaxosConfig, CoreConfig)


def _value(value: object) -> str:
    if isinstance(value, int) and value >= 1024 and value & (value - 1) == 0:
        return f"2^{value.bit_length() - 1}"
    if isinstance(value, type):
        return value.__name__
    return "none" if value == {} else str(value)


# --- the simulator ----------------------------------------------------------------------------


def invariants(of: Sequence[Invariant] = INVARIANTS) -> str:
    return table(
        ("", "name", "what holds", "from"),
        ((invariant.number, invariant.name, invariant.text, invariant.source) for invariant in of),
    )


def paxos_invariants() -> str:
    return invariants(PAXOS_INVARIANTS)


def profile_table() -> str:
    return table(
        ("profile", "nodes", "longest round trip", "tick", "election", "heartbeat"),
        (
            (
                f"`{profile.name}`",
                ", ".join(profile.nodes),
                f"{_round_trip_us(profile) / 1000:g} ms",
                f"{profile.tick_us / 1000:g} ms",
                f"{profile.election_ticks} ticks",
                f"{profile.heartbeat_ticks} ticks",
            )
            for profile in profiles.PROFILES.values()
        ),
    )


def _round_trip_us(profile: profiles.Profile) -> int:
    dcs = set(profile.nodes)
    between = (us for pair, us in profile.rtt_us.items() if dcs.issuperset(pair))
    return max(between, default=profile.rtt_local_us)


def fault_table() -> str:
    rows = []
    for name, faults in profiles.FAULTS.items():
        parts = list(faults.parts)
        if len(parts) > 2:
            words = "all of these"
        elif name == "disk":
            words = "as `crash`, and: " + _in_words(faults, "disk")
        else:
            words = "; ".join(_in_words(faults, part) for part in parts) or "nothing"
        rows.append((f"`{name}`", words))
    return table(("set", "what goes wrong"), rows)


def _in_words(faults: profiles.Faults, part: str) -> str:
    """What is not as by default, in the order of the fields."""
    values = getattr(faults, part)
    words = []
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        name = field.name.replace("_", " ")
        if value == field.default:
            continue
        if field.name.endswith("_rate"):
            words.append(f"{name[:-5]} {value * 100:g} %")
        elif field.name.endswith("_ppm_max"):
            words.append(f"{name[:-8]} up to {value / 10_000:g} %")
        elif isinstance(value, tuple):
            words.append(f"{name[:-3]} for {value[0] / 1e6:g} to {value[1] / 1e6:g} s")
        elif field.name.endswith("every_us"):
            words.append(f"{name[:-8].strip() or part} every {value / 1e6:g} s")
        else:
            words.append(f"{name[:-3]} {value / 1e6:g} s")
    return ", ".join(words)


# --- availability -------------------------------------------------------------------------------


def better_placements() -> str:
    """Five replicas over up to five datacenters that are alike."""
    places = ["eu", "us", "ap", "sa", "af"]
    choices = better("eu=2,us=2,ap=1", node=0.999, dc=0.9995, datacenters=places)
    return table(
        ("placement", "writes need", "available", "down a year", "survives any"),
        (
            (
                f"`{choice.policy}`",
                choice.write_quorum.words,
                choice.write.percent,
                choice.write.downtime,
                choice.write_quorum.survives(choice.counts),
            )
            for choice in choices
        ),
    )


# --- the comparison of algorithms ---------------------------------------------------------------


def measured() -> list[Measured]:
    """What `ringleader compare --json` wrote."""
    rows = json.loads((DOCS.parent / "bench" / "results" / "compare.json").read_text("utf-8"))
    return [Measured(**row) for row in rows]


def comparison() -> str:
    rows = measured()
    parts = []
    for count in sorted({row.nodes for row in rows}):
        parts.append(f"### {count:,} nodes\n")
        parts.append(
            table(
                ("", *(header for header, _ in COLUMNS)),
                (
                    (f"`{row.algorithm}`", *(cell(row) for _, cell in COLUMNS))
                    for row in rows
                    if row.nodes == count
                ),
            )
        )
        parts.append("")
    named = dict.fromkeys(row.algorithm for row in rows)
    parts.append(", ".join(f"`{name}`: {ALGORITHMS[name].summary}" for name in named) + ".")
    return "\n".join(parts)


# --- Raft and Multi-Paxos ------------------------------------------------------------------------


def compared() -> consensus_measures.Comparison:
    """What `ringleader compare consensus --json` wrote."""
    return load(str(DOCS.parent / "bench" / "results" / "consensus.json"))


def consensus_table(make: Callable[[consensus_measures.Comparison], Shown]) -> Callable[[], str]:
    def text() -> str:
        shown = make(compared())
        rows, subject = [], ""
        for row in shown.rows:
            subject = row[0] or subject
            rows.append([subject, *row[1:]])
        return f"{table(shown.head, rows)}\n\n{shown.note}"

    return text


def consensus_answers() -> str:
    return "\n".join(
        f"- **{verdict.question}** {verdict.answer}" for verdict in verdicts(compared())
    )


# --- writing ----------------------------------------------------------------------------------

PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "availability.md": {"better": better_placements},
    "choosing.md": {"comparison": comparison},
    "consensus.md": {"roles": roles, "settings": settings},
    "paxos.md": {"roles": lambda: roles(paxos), "settings": paxos_settings},
    "raft-vs-paxos.md": {
        "answers": consensus_answers,
        **{name: consensus_table(make) for name, make in TABLES.items()},
    },
    "simulator.md": {
        "invariants": invariants,
        "paxos-invariants": paxos_invariants,
        "profiles": profile_table,
        "faults": fault_table,
    },
}
FILES: dict[str, Callable[[], str]] = {
    "raft-roles.svg": roles_svg,
    "paxos-roles.svg": lambda: roles_svg(paxos),
}


def pages() -> dict[Path, str]:
    """Each page, as it should be."""
    written = {DOCS / name: make() for name, make in FILES.items()}
    for page, parts in PARTS.items():
        text = (DOCS / page).read_text(encoding="utf-8")
        for name, make in parts.items():
            begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
            assert text.count(begin) == text.count(end) == 1, f"{page} has no place for {name}"
            before, rest = text.split(begin)
            after = rest.split(end)[1]
            text = f"{before}{begin}\n{make()}\n{end}{after}"
        written[DOCS / page] = text
    return written


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
