"""The one choice between the compiled kernels and their plain-Python twins.

`RINGLEADER_PURE=1` in the environment selects the twins.  There is no fallback: an
installation whose kernels are missing or broken says so instead of running slowly.

`RINGLEADER_SIMD=scalar|avx2|avx512` forces one path of the compiled kernels, which
otherwise use the widest instructions that the CPU has.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ringleader.errors import BuildError, SettingError

__all__ = [
    "COMPILED",
    "KERNELS",
    "PURE",
    "SIMD_LEVELS",
    "anchor",
    "balance",
    "bounded",
    "force_simd",
    "hashing",
    "jump",
    "keys",
    "keyspace",
    "log",
    "maglev",
    "memento",
    "movement",
    "multiprobe",
    "partitions",
    "placer",
    "quorum",
    "records",
    "rendezvous",
    "replicas",
    "require_compiled",
    "ring",
    "simd",
    "simd_supported",
    "slots",
    "writer",
]

_flag = os.environ.get("RINGLEADER_PURE", "")
if _flag not in {"", "0", "1"}:
    raise SettingError(f"RINGLEADER_PURE={_flag!r} is neither 0 nor 1")

#: True when this process runs on the plain-Python twins.
PURE: bool = _flag == "1"

if TYPE_CHECKING:
    from ringleader._native import (
        anchor,
        balance,
        bounded,
        hashing,
        jump,
        keys,
        keyspace,
        log,
        maglev,
        memento,
        movement,
        multiprobe,
        partitions,
        placer,
        quorum,
        records,
        rendezvous,
        replicas,
        ring,
        slots,
        writer,
    )

#: The kernels.  What every process needs is imported at once, the rest when it is asked for.
KERNELS = (
    "anchor",
    "balance",
    "bounded",
    "hashing",
    "jump",
    "keys",
    "keyspace",
    "log",
    "maglev",
    "memento",
    "movement",
    "multiprobe",
    "partitions",
    "placer",
    "quorum",
    "records",
    "rendezvous",
    "replicas",
    "ring",
    "slots",
    "writer",
)
_AT_ONCE = ("hashing", "keys", "ring")
#: Those whose C is not written for this system: the twin is used.
_TWINS = ("writer",) if sys.platform == "win32" else ()
_loaded: dict[str, ModuleType] = {}


def _load(name: str) -> ModuleType:
    kernel = _loaded.get(name)
    if kernel is not None:
        return kernel
    package = "_reference" if PURE or name in _TWINS else "_native"
    try:
        kernel = importlib.import_module(f"ringleader.{package}.{name}")
    except ImportError as error:
        if PURE:
            raise
        raise BuildError(
            f"ringleader's compiled kernels cannot be imported ({error}); reinstall it "
            "(pip install --force-reinstall ringleader), or set RINGLEADER_PURE=1 to run "
            "on the slow plain-Python twins"
        ) from error
    if "ring" in _loaded and hasattr(kernel, "simd_force"):
        kernel.simd_force(_loaded["ring"].simd())
    _loaded[name] = kernel
    globals()[name] = kernel
    return kernel


def __getattr__(name: str) -> ModuleType:
    if name not in KERNELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _load(name)


for _name in _AT_ONCE:
    _load(_name)

#: Modules whose plain Python is also compiled as it stands (setup.py has the same list): one
#: source, no twin.  Where both are found, Python takes the compiled one.
COMPILED = (
    "ringleader.consensus.ready",
    "ringleader.consensus.message",
    "ringleader.consensus.progress",
    "ringleader.consensus.core",
    "ringleader.consensus.raft.messages",
    "ringleader.consensus.raft.progress",
    "ringleader.consensus.raft.core",
    "ringleader.consensus.raft.groups",
    "ringleader.consensus.paxos.ballot",
    "ringleader.consensus.paxos.messages",
    "ringleader.consensus.paxos.progress",
    "ringleader.consensus.paxos.core",
    "ringleader.consensus.paxos.decree.messages",
    "ringleader.consensus.paxos.decree.state",
    "ringleader.consensus.paxos.decree.roles",
    "ringleader.consensus.driver",
)


class _SourceFinder:
    """Finds the source of the modules above, for RINGLEADER_PURE=1."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in COMPILED:
            return None
        source = Path(__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")
        return importlib.util.spec_from_file_location(name, source)


if PURE:
    sys.meta_path.insert(0, _SourceFinder)


def require_compiled(*modules: ModuleType) -> None:
    """Refuse to run slowly by mistake.

    Raises:
        BuildError: one of `modules` was loaded from its source, and RINGLEADER_PURE=1 is not set.
    """
    for module in modules:
        if not PURE and str(module.__file__).endswith(".py"):
            raise BuildError(
                f"{module.__name__} is not compiled; reinstall ringleader "
                "(pip install --force-reinstall ringleader), or set RINGLEADER_PURE=1 to run "
                "the plain Python"
            )


SIMD_LEVELS = ("scalar", "avx2", "avx512")


def simd_supported() -> str:
    """The widest level of `SIMD_LEVELS` that this CPU and operating system support."""
    return SIMD_LEVELS[ring.simd_supported()]


def simd() -> str:
    """The level in force."""
    return SIMD_LEVELS[ring.simd()]


def force_simd(level: str) -> None:
    """Run the kernels with the instructions of `level` only.

    Meant for tests and measurements: call it while no other thread is inside a kernel.

    Raises:
        SettingError: `level` is not one of `SIMD_LEVELS`.
        BuildError: this CPU does not have it.
    """
    if level not in SIMD_LEVELS:
        raise SettingError(f"SIMD level {level!r} is not one of {', '.join(SIMD_LEVELS)}")
    number = SIMD_LEVELS.index(level)
    if number > ring.simd_supported():
        raise BuildError(f"SIMD level {level!r} is not supported here; {simd_supported()!r} is")
    for kernel in list(_loaded.values()):
        if hasattr(kernel, "simd_force"):
            kernel.simd_force(number)


if _level := os.environ.get("RINGLEADER_SIMD", ""):
    force_simd(_level)
