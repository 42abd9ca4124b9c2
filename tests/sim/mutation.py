"""Known bugs, injected one by one: what a mutant is, how it is run, and how it is searched for.

A mutant is a set of replacements in the source of the package, each of a text that occurs exactly
once, so that a changed source breaks the mutant loudly.  Its `World` is a second copy of the
consensus, storage and simulator modules, imported as plain Python with the texts replaced; the
copy without replacements is what the mutant is compared with.

The tables: Raft's in tests/sim/mutants.py, where the command line is, Multi-Paxos' in
tests/sim/paxos_mutants.py.
"""

import importlib
import importlib.abc
import importlib.util
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import ringleader.sim.cluster
from ringleader import kernels
from ringleader.errors import InvariantViolation
from ringleader.sim.profiles import FAULTS, MS, PROFILES, SECOND, Faults

PACKAGE = Path(ringleader.__file__).parent
#: Files that bugs of both tables are put into.
CONFIG = "consensus/config.py"
CORE_BASE = "consensus/core.py"
DRIVER = "consensus/driver.py"
WAL = "storage/wal.py"
RECORD = "storage/record.py"
RECOVERY = "storage/recovery.py"

OWN = "not known from a tracker"

#: The packages that a world has of its own.
COPIED = ("ringleader.consensus", "ringleader.storage", "ringleader.sim")
LOG_TWIN = "_reference/log.py"

Change = tuple[str, str]
Changes = tuple[tuple[str, Change], ...]

# --- worlds -----------------------------------------------------------------------------------


class _Loader(SourceFileLoader):
    """Runs a source with texts replaced; never from the cache, never compiled."""

    def __init__(self, name: str, path: str, changes: Sequence[Change]) -> None:
        super().__init__(name, path)
        self.changes = changes

    def get_code(self, fullname: str) -> Any:
        source = Path(self.path).read_text()
        for old, new in self.changes:
            assert source.count(old) == 1, f"{source.count(old)} times in {self.path}:\n{old}"
            source = source.replace(old, new)
        return compile(source, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, changes: Changes) -> None:
        self.changes = changes

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not _is_copied(fullname):
            return None
        relative = Path(*fullname.split(".")[1:])
        is_package = (PACKAGE / relative).is_dir()
        file = relative / "__init__.py" if is_package else relative.with_suffix(".py")
        mine = [change for name, change in self.changes if name == file.as_posix()]
        loader = _Loader(fullname, str(PACKAGE / file), mine)
        return importlib.util.spec_from_loader(fullname, loader, is_package=is_package)


def _is_copied(name: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in COPIED)


@lru_cache(maxsize=4)
def world(changes: Changes = ()) -> ModuleType:
    """`ringleader.sim.cluster` of a copy of the package with `changes` made."""
    for name, (old, _) in changes:
        assert (PACKAGE / name).is_file(), f"there is no {name} to replace in:\n{old}"
    own_modules = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_copied(name)}
    own_parts = {name: getattr(ringleader, name) for name in ("consensus", "storage", "sim")}
    own_log = kernels.log
    require = kernels.require_compiled
    finder = _Finder(changes)
    sys.meta_path.insert(0, finder)
    try:
        kernels.require_compiled = lambda *_: None  # type: ignore[assignment]
        twin = [change for name, change in changes if name == LOG_TWIN]
        if twin:
            kernels.log = _log_twin(twin)  # type: ignore[assignment]
        return importlib.import_module("ringleader.sim.cluster")
    finally:
        sys.meta_path.remove(finder)
        kernels.log = own_log
        kernels.require_compiled = require
        for name in [name for name in sys.modules if _is_copied(name)]:
            del sys.modules[name]
        sys.modules.update(own_modules)
        for name, module in own_parts.items():
            setattr(ringleader, name, module)


def _log_twin(changes: Sequence[Change]) -> ModuleType:
    """The log's twin in plain Python, but for its checksum, which would take most of the time."""
    fast = (
        "from ringleader._reference.hashing import crc32c",
        "from ringleader.kernels import hashing\n\ncrc32c = hashing.crc32c",
    )
    loader = _Loader("ringleader._broken_log", str(PACKAGE / LOG_TWIN), [*changes, fast])
    spec = importlib.util.spec_from_loader("ringleader._broken_log", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# --- mutants ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What a mutant is run in."""

    profile: str = "wan-3dc"
    faults: Faults = FAULTS["all"]
    seconds: float = 12.0
    clients: int = 6
    #: Settings of the nodes that are not left to the seed; a quorum system by its name in
    #: `ringleader.sim.family`.
    config: tuple[tuple[str, Any], ...] = ()
    consensus: str = "raft"

    def __str__(self) -> str:
        words = [self.profile, self.faults.name, f"{self.seconds:g} s"]
        words += [f"{name}={value}" for name, value in self.config]
        return ", ".join(words)


@dataclass(frozen=True)
class Mutant:
    """One known bug.

    bug             what the code does now.
    seen            where: a paper's section, a tracker, or that we know of none.
    changes         (file in the package, (text, its replacement)), ...
    caught_by       the invariants that may break: those that the bug is about.
    setting         where it is looked for.
    budget          how many seeds that may take.
    """

    name: str
    bug: str
    seen: str
    changes: Changes
    caught_by: frozenset[int]
    setting: Setting = Setting()
    #: Seeds that a search may try.
    budget: int = 100


#: The history was too long a puzzle: it breaks nothing, and proves nothing.
UNDECIDED = -1
#: A mutant that raises one of these is broken itself.
_BROKEN = ("NameError", "UnboundLocalError", "AttributeError", "ImportError", "SyntaxError")


@dataclass(frozen=True)
class Outcome:
    """What became of one run: the invariant that broke (None: none did), and how far it came."""

    seed: int
    number: int | None
    text: str
    messages: int
    virtual_us: int
    wall_s: float


def run(changes: Changes, setting: Setting, seed: int) -> Outcome:
    """One run of a world."""
    module = world(changes)
    begun = time.perf_counter()
    chosen = PROFILES[setting.profile]
    config = replace(
        module.draw_config(chosen, setting.faults, Random(f"{seed}:cluster"), setting.consensus),
        **{name: _of_world(module, name, value) for name, value in setting.config},
    )
    number: int | None = None
    text = ""
    cluster = None
    try:
        cluster = module.Cluster(
            chosen,
            setting.faults,
            seed,
            config=config,
            duration_us=int(setting.seconds * SECOND),
            clients=setting.clients,
            consensus=setting.consensus,
        )
        cluster.run()
    except InvariantViolation as violation:
        number, text = violation.number, str(violation)
    except Exception as error:
        number, text = 0, f"{type(error).__name__}: {error}"
    if number == 13 and "unknown, since" in text:
        number = UNDECIDED
    if number == 14 and any(f"raises {name}" in text for name in _BROKEN):
        number = 0
    return Outcome(
        seed,
        number,
        text,
        cluster.network.counters.delivered if cluster is not None else 0,
        cluster.clock.now_us if cluster is not None else 0,
        time.perf_counter() - begun,
    )


def _of_world(module: ModuleType, name: str, value: Any) -> Any:
    """A setting; of a function, this world's."""
    return module.family.__globals__[value] if name == "quorum" else value


def changes_in(file: str, *changes: Change) -> Changes:
    """All of them in one file of the package."""
    return tuple((file, change) for change in changes)


def row(
    name: str, caught_by: Iterable[int], bug: str, seen: str, changes: Changes, **more: Any
) -> Mutant:
    return Mutant(name, bug, seen, changes, frozenset(caught_by), **more)


# --- what both tables have --------------------------------------------------------------------

#: Leases in use, and clocks that drift so far that a lease which ignores it is no lease.
DRIFTING = Setting(
    profile="lan-3",
    faults=replace(
        FAULTS["all"],
        name="all but changes of membership, clocks +-40 %, partitions every 0.5 s",
        network=replace(
            FAULTS["all"].network, partition_every_us=500 * MS, partition_us=(200 * MS, 400 * MS)
        ),
        clock=replace(FAULTS["all"].clock, drift_ppm_max=400_000, redraw_every_us=1 * SECOND),
        membership=replace(FAULTS["all"].membership, change_every_us=0),
    ),
    seconds=6.0,
    clients=40,
    config=(
        ("lease", True),
        ("pre_vote", True),
        ("check_quorum", True),
        ("clock_drift", 0.7),
        ("heartbeat_ticks", 1),
    ),
)

#: A lease lasts until the leader's own clock says that it has to step down.
DRIFT_IGNORED = changes_in(
    CONFIG,
    (
        "return int((self.election_ticks - 1) / slack) - 1",
        "return int(2 * self.election_ticks + 0 * slack)",
    ),
)


# --- searching --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Catch:
    """What became of a mutant: the seed that caught it, after how many seeds and messages."""

    mutant: Mutant
    outcome: Outcome | None
    seeds: int
    messages: int
    wrong: tuple[Outcome, ...] = ()


def search(mutant: Mutant, seeds: Iterable[int]) -> Catch:
    """Run seeds until one breaks an invariant that the bug is about."""
    count = messages = 0
    wrong: list[Outcome] = []
    for seed in seeds:
        outcome = run(mutant.changes, mutant.setting, seed)
        count += 1
        messages += outcome.messages
        if outcome.number in mutant.caught_by:
            return Catch(mutant, outcome, count, messages, tuple(wrong))
        if outcome.number is not None:
            wrong.append(outcome)
    return Catch(mutant, None, count, messages, tuple(wrong))


def check(mutant: Mutant) -> tuple[Catch, Outcome | None]:
    """Is a mutant still caught by the seed that is known, or, after a change of the simulator, by
    another; and what does the same seed give without the mutant?"""
    catch = search(mutant, [known().get(mutant.name, {"seed": 1})["seed"]])
    if catch.outcome is None:
        catch = search(mutant, range(1, mutant.budget + 1))
    return catch, _sound(catch)


def report_on(mutant: Mutant) -> tuple[Catch, Outcome | None]:
    """The same, but always from seed 1 on."""
    catch = search(mutant, range(1, mutant.budget + 1))
    return catch, _sound(catch)


def _sound(catch: Catch) -> Outcome | None:
    if catch.outcome is None:
        return None
    return _run_sound(catch.mutant.setting, catch.outcome.seed)


@cache
def _run_sound(setting: Setting, seed: int) -> Outcome:
    return run((), setting, seed)


def in_processes(
    call: Callable[[Mutant], tuple[Catch, Outcome | None]], mutants: Sequence[Mutant], jobs: int = 2
) -> Iterator[tuple[Catch, Outcome | None]]:
    """`call` of each mutant, in any order."""
    with multiprocessing.get_context("spawn").Pool(min(jobs, len(mutants))) as pool:
        yield from pool.imap_unordered(call, mutants, chunksize=1)


# --- what is known ----------------------------------------------------------------------------

KNOWN = Path(__file__).with_name("mutants.json")


@lru_cache(maxsize=1)
def known() -> dict[str, dict[str, int]]:
    """Of each mutant, the first seed that caught it, the invariant, and the messages until then;
    `--search` writes them."""
    found: dict[str, dict[str, int]] = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    return found
