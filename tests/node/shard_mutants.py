"""Known bugs of shards and stores, injected one by one: the simulator must catch every one.

    python tests/node/shard_mutants.py              each mutant with its seed: is it still caught?
    python tests/node/shard_mutants.py NAME ...     these only
    python tests/node/shard_mutants.py --search     from seed 1 on: which seed is the first?

A mutant is a set of replacements in sources of `ringleader.node`, each of a text that occurs once;
it runs in a copy of that package and of `ringleader.shardsim`.  As tests/sim/mutation.py, but the
consensus below is the compiled one, which all share.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.abc
import importlib.util
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import ringleader.shardsim.scenario
from ringleader.errors import InvariantViolation
from ringleader.sim.cluster import Cluster
from ringleader.sim.family import family
from ringleader.sim.profiles import FAULTS, MS, PROFILES, SECOND, Faults

PACKAGE = Path(ringleader.__file__).parent
COPIED = ("ringleader.node", "ringleader.shardsim")
SHARD = "node/shard.py"
STORE = "node/store.py"
INTERNAL = "node/internal.py"
MIRROR = "shardsim/mirror.py"

Change = tuple[str, str, str]


class _Loader(SourceFileLoader):
    """Runs a source with texts replaced."""

    def __init__(self, name: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(name, path)
        self.changes = changes

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text()
        for _, old, new in self.changes:
            assert source.count(old) == 1, f"{source.count(old)} times in {self.path}:\n{old}"
            source = source.replace(old, new)
        return compile(source, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not _is_copied(fullname):
            return None
        relative = Path(*fullname.split(".")[1:])
        is_package = (PACKAGE / relative).is_dir()
        file = relative / "__init__.py" if is_package else relative.with_suffix(".py")
        mine = [change for change in self.changes if change[0] == file.as_posix()]
        loader = _Loader(fullname, str(PACKAGE / file), mine)
        return importlib.util.spec_from_loader(fullname, loader, is_package=is_package)


def _is_copied(name: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in COPIED)


def world(changes: Sequence[Change]) -> ModuleType:
    """`ringleader.shardsim.scenario` of a copy with `changes` made."""
    if not changes:
        return ringleader.shardsim.scenario
    own_modules = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_copied(name)}
    own_parts = {name: getattr(ringleader, name) for name in ("node", "shardsim")}
    finder = _Finder(changes)
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module("ringleader.shardsim.scenario")
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _is_copied(name)]:
            del sys.modules[name]
        sys.modules.update(own_modules)
        for name, module in own_parts.items():
            setattr(ringleader, name, module)


@dataclass(frozen=True)
class Setting:
    """What a mutant is run in."""

    profile: str = "lan-3"
    faults: Faults = FAULTS["all"]
    seconds: float = 3.0
    clients: int = 6
    consensus: str = "raft"
    config: tuple[tuple[str, Any], ...] = ()
    #: What is changed besides, and no bug.
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Mutant:
    """One bug.

    bug         what the code does now.
    changes     (file in the package, text, its replacement).
    caught_by   the checks that may find it; see `ringleader.shardsim.scenario`.
    seed        the first that does.
    """

    name: str
    bug: str
    caught_by: frozenset[int]
    changes: tuple[Change, ...]
    seed: int
    setting: Setting = field(default=Setting())
    #: Seeds that a search may try.
    budget: int = 60


@dataclass(frozen=True)
class Outcome:
    seed: int
    number: int | None
    text: str
    wall_s: float


def run(mutant: Mutant | None, setting: Setting, seed: int) -> Outcome:
    """One run, with a mutant or without."""
    changes = setting.changes + (mutant.changes if mutant is not None else ())
    scenario = world(changes).Shards()
    begun = time.perf_counter()
    chosen = PROFILES[setting.profile]
    config = replace(
        family(setting.consensus).draw_config(chosen, setting.faults, Random(f"{seed}:cluster")),
        **dict(setting.config),
    )
    number: int | None = None
    text = ""
    try:
        Cluster(
            chosen,
            setting.faults,
            seed,
            config=config,
            duration_us=int(setting.seconds * SECOND),
            clients=setting.clients,
            consensus=setting.consensus,
            scenario=scenario,
        ).run()
    except InvariantViolation as violation:
        number, text = violation.number, str(violation)
        if "NameError" in text or "AttributeError" in text:
            number = 0
    return Outcome(seed, number, text, time.perf_counter() - begun)


def search(mutant: Mutant, seeds: Iterable[int]) -> tuple[Outcome | None, list[Outcome]]:
    """The first seed that catches it; and what else was found on the way."""
    others = []
    for seed in seeds:
        outcome = run(mutant, mutant.setting, seed)
        if outcome.number in mutant.caught_by:
            return outcome, others
        if outcome.number is not None:
            others.append(outcome)
    return None, others


def check(mutant: Mutant) -> tuple[Outcome | None, list[Outcome]]:
    """Is it caught by the seed that is known, or, after a change of the simulator, by another?"""
    found, others = search(mutant, [mutant.seed])
    if found is None:
        found, others = search(mutant, range(1, mutant.budget + 1))
    return found, others


def _mutant(
    name: str, caught_by: Iterable[int], seed: int, bug: str, *changes: Change, **more: Any
) -> Mutant:
    return Mutant(name, bug, frozenset(caught_by), changes, seed, **more)


_LEASES = (("lease", True), ("pre_vote", True), ("check_quorum", True))
_UNDER_LEASE = Setting(config=_LEASES)
_NO_LEASE = Setting(config=(("lease", False),))
#: Leaders that are stopped for a while, and go on as if nothing had happened.
_LATE = Setting(faults=FAULTS["clock"], config=_LEASES, clients=12, seconds=5.0)
#: Few bytes may be under way, so that some batches are refused.
_FULL = Setting(config=(("max_uncommitted_bytes", 400),), clients=12, seconds=5.0)
#: Keys are watched for a moment only.
_WATCH_MS = Setting(
    changes=(
        (INTERNAL, "store.now + WATCH_MS", "store.now + 30"),
        (MIRROR, "self.now + WATCH_MS", "self.now + 30"),
    ),
    clients=12,
)
_CUT_OFF = Setting(
    faults=replace(
        FAULTS["all"],
        name="all, partitions every 0.5 s",
        network=replace(
            FAULTS["all"].network, partition_every_us=500 * MS, partition_us=(100 * MS, 1 * SECOND)
        ),
    ),
    clients=12,
)

MUTANTS = (
    _mutant(
        "read without is_due",
        {13},
        2,
        "a leader hides a key that is due, instead of letting it expire on all replicas",
        (SHARD, "            if store.is_due(command, args, wall_ms):", "            if False:"),
        setting=_UNDER_LEASE,
    ),
    _mutant(
        "two looks at the clock",
        {13},
        4,
        "between the question whether a key is due and the read, the clock may go on",
        (
            SHARD,
            "            return store.read(args, hide_due_ms=wall_ms)",
            "            return store.read(args, hide_due_ms=self.clock.wall_ms())",
        ),
        setting=_UNDER_LEASE,
    ),
    _mutant(
        "lease without catch_up",
        {9, 13},
        1,
        "a lease is trusted before the ticks that have passed are reported",
        (
            SHARD,
            "        self.clock.catch_up()\n        behind = ",
            "        behind = ",
        ),
        setting=_LATE,
    ),
    _mutant(
        "lease not asked for",
        {9, 13},
        2,
        "a leader reads its state without a lease",
        (SHARD, "or not self.driver.reads_now():", "or not self.leads:"),
        setting=replace(_CUT_OFF, config=(("lease", False),)),
    ),
    _mutant(
        "reads overtaken",
        {16},
        1,
        "a read that waits for a barrier sees writes that its caller gave after it",
        (SHARD, "        if self._waiting:\n            self._order_reads()\n", ""),
        setting=_NO_LEASE,
    ),
    _mutant(
        "reads after one that is due",
        {16},
        1,
        "reads behind one that goes through the log are answered before it",
        (
            SHARD,
            "                waiting.insert(0, taken[place:])\n"
            "                self._order_reads()\n"
            "                return\n",
            "                self.enqueue(args, waiter)\n                continue\n",
        ),
        setting=_NO_LEASE,
    ),
    _mutant(
        "not behind an own write",
        {16},
        1,
        "a read is answered at once though a write of its caller is under way",
        (SHARD, "        if behind and self.settled < self.sequence:\n", "        if False:\n"),
        setting=_UNDER_LEASE,
    ),
    _mutant(
        "settled too early",
        {14, 16},
        9,
        "a batch that ends settles those before it, which are under way",
        (
            SHARD,
            "        batches = shard._batches\n",
            "        batches = shard._batches\n"
            "        shard.settled = max(shard.settled, self.last)\n",
        ),
        setting=_FULL,
    ),
    _mutant(
        "settled when proposed",
        {14, 16},
        1,
        "a read is not ordered behind a write of its caller that is under way",
        (
            SHARD,
            "        self._batches.append(batch)\n",
            "        self._batches.append(batch)\n        self.settled = last\n",
        ),
        setting=_UNDER_LEASE,
    ),
    _mutant(
        "given back alone",
        {16},
        3,
        "what was given after commands that are given back takes effect before them",
        (
            SHARD,
            "        if not self._commands:\n            return\n        commands, self",
            "        if True:\n            return\n        commands, self",
        ),
        setting=_CUT_OFF,
    ),
    _mutant(
        "given back at once",
        {16},
        4,
        "commands are given back before it is known what becomes of earlier ones",
        (
            SHARD,
            "        given_back: list[_Batch] = []\n",
            "        given_back: list[_Batch] = [self] if self.is_given_back else []\n",
        ),
        (SHARD, "            if batch.is_given_back:\n", "            if False:\n"),
        setting=_CUT_OFF,
    ),
    _mutant(
        "unknown taken for refused",
        {15},
        1,
        "commands that may have taken effect are given back as if they had not",
        (
            SHARD,
            "        kind = outcome.kind\n",
            "        kind = outcome.kind if outcome.kind == 'applied' else 'refused'\n",
        ),
        setting=_CUT_OFF,
    ),
    _mutant(
        "refused barrier",
        {9, 13},
        1,
        "a read whose barrier was refused is answered",
        (
            SHARD,
            '        refused = outcome.kind != "applied"\n',
            "        refused = False\n",
        ),
        setting=_CUT_OFF,
    ),
    _mutant(
        "fresh when answered",
        {16},
        4,
        "a probe's answer is taken to vouch for the moment at which it comes",
        (
            SHARD,
            "            self.fresh_s = asked_s\n",
            "            self.fresh_s = self.clock.now_s()\n",
        ),
        setting=Setting(profile="wan-3dc", seconds=12.0, clients=12),
    ),
    _mutant(
        "bound ignored",
        {16},
        1,
        "a stale read is answered however old the state is",
        (
            SHARD,
            "        if age_s <= lag_max_s and self.driver.failed is None:",
            "        if self.driver.failed is None:",
        ),
        setting=_CUT_OFF,
    ),
    _mutant(
        "not answering",
        {14},
        1,
        "the store gives no replies to a batch that somebody waits for",
        (SHARD, "        self.store.answering = True\n", ""),
    ),
    _mutant(
        "answering ends early",
        {14},
        1,
        "the first batch to end stops the replies to those that are under way",
        (
            SHARD,
            "        if not shard.inflight:\n            shard.store.answering = False",
            "        shard.store.answering = False",
        ),
    ),
    _mutant(
        "replies out of order",
        {15},
        1,
        "waiters get each other's replies",
        (
            SHARD,
            "shard._answer(self.waiters, outcome.results[0])",
            "shard._answer(self.waiters[::-1], outcome.results[0])",
        ),
    ),
    _mutant(
        "expiry stops",
        {12},
        5,
        "after one expiry that nobody else asked for there is no other",
        (
            SHARD,
            "    def _expired(self, outcome: Outcome) -> None:\n        self._expiring = False",
            "    def _expired(self, outcome: Outcome) -> None:\n        pass",
        ),
    ),
    _mutant(
        "a clock of its own",
        {5},
        1,
        "a replica decides for itself what time it is",
        (
            STORE,
            "            self.now = now\n        self.clock = self.now\n",
            "            self.now = now\n"
            "        self.clock = self.now = self.now + (not self.answering)\n",
        ),
    ),
    _mutant(
        "time goes back",
        {5},
        1,
        "a leader whose clock is behind takes the time back",
        (
            STORE,
            "        if now > self.now:\n            self.now = now\n",
            "        self.now = now\n",
        ),
    ),
    _mutant(
        "time stands still",
        {16},
        1,
        "a leader whose clock is behind the store's time lets no time pass",
        (SHARD, "        if time_ms >= now_ms:\n", "        if False:\n"),
    ),
    _mutant(
        "time runs ahead",
        {16},
        3,
        "a leader that was behind the store's time takes its clock for as far ahead as that was",
        (
            SHARD,
            "        if wall_ms >= now_ms:\n",
            "        if wall_ms >= now_ms and not self._reached_ms:\n",
        ),
    ),
    _mutant(
        "SET keeps the expiry",
        {5},
        1,
        "a batch of SETs forgets that its keys no longer expire",
        (
            STORE,
            "            for key in expires.keys() & {args[1] for args in commands}:\n"
            "                del expires[key]\n",
            "",
        ),
    ),
    _mutant(
        "snapshot without expiries",
        {5},
        3,
        "after a snapshot was installed nothing that it holds expires there",
        (
            STORE,
            "        self._heap = [(moment, key) for key, moment in state.expires.items()]\n",
            "        self._heap = []\n",
        ),
        setting=Setting(seconds=5.0),
    ),
    _mutant(
        "snapshot without marks",
        {5, 16},
        2,
        "after a snapshot was installed nothing is watched there",
        (STORE, "        self.armed = state.armed\n", "        self.armed = {}\n"),
        setting=Setting(seconds=5.0),
    ),
    _mutant(
        "EXEC ignores what it watched",
        {16},
        2,
        "a transaction takes effect though a watched key was modified",
        (
            INTERNAL,
            "        if store.armed.get(key, version + 1) > version:",
            "        if key not in store.armed:",
        ),
    ),
    _mutant(
        "expiry is no modification",
        {16},
        4,
        "a transaction takes effect though a watched key has expired",
        (
            STORE,
            "                room -= 1\n                self.remove(key)",
            "                room -= 1\n                del self.data[key], expires[key]",
        ),
    ),
    _mutant(
        "watched again",
        {16},
        2,
        "a key that was watched long enough, modified and watched again is as it was",
        (INTERNAL, "    if fresh:\n", "    if False:\n"),
        setting=_WATCH_MS,
        budget=200,
    ),
)
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="of mutants, or parts of names; by default all")
    parser.add_argument("--search", action="store_true", help="from seed 1 on")
    arguments = parser.parse_args()
    missed = 0
    for mutant in MUTANTS:
        if arguments.names and not any(part in mutant.name for part in arguments.names):
            continue
        begun = time.perf_counter()
        found, others = (
            search(mutant, range(1, mutant.budget + 1)) if arguments.search else check(mutant)
        )
        wall_s = time.perf_counter() - begun
        if found is None:
            missed += 1
            print(f"{mutant.name}: MISSED ({wall_s:.1f} s)")
        else:
            line = found.text.splitlines()[0]
            print(f"{mutant.name}: seed {found.seed} ({wall_s:.1f} s): {line[:200]}")
        for other in others[:3]:
            print(f"    seed {other.seed}: {other.text[:300]}")
        sys.stdout.flush()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
