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
    "PURE",
    "SIMD_LEVELS",
    "force_simd",
    "hashing",
    "keys",
    "log",
    "quorum",
    "require_compiled",
    "ring",
    "simd",
    "simd_supported",
]

_flag = os.environ.get("RINGLEADER_PURE", "")
if _flag not in {"", "0", "1"}:
    raise SettingError(f"RINGLEADER_PURE={_flag!r} is neither 0 nor 1")

#: True when this process runs on the plain-Python twins.
PURE: bool = _flag == "1"

if TYPE_CHECKING or not PURE:
    try:
        from ringleader._native import hashing, keys, log, quorum, ring
    except ImportError as error:
        raise BuildError(
            f"ringleader's compiled kernels cannot be imported ({error}); reinstall it "
            "(pip install --force-reinstall ringleader), or set RINGLEADER_PURE=1 to run "
            "on the slow plain-Python twins"
        ) from error
else:
    from ringleader._reference import hashing, keys, log, quorum, ring

#: Modules whose plain Python is also compiled as it stands (setup.py has the same list): one
#: source, no twin.  Where both are found, Python takes the compiled one.
COMPILED = (
    "ringleader.consensus.ready",
    "ringleader.consensus.raft.messages",
    "ringleader.consensus.raft.progress",
    "ringleader.consensus.raft.core",
    "ringleader.consensus.raft.groups",
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
    hashing.simd_force(number)
    log.simd_force(number)
    quorum.simd_force(number)
    ring.simd_force(number)


if _level := os.environ.get("RINGLEADER_SIMD", ""):
    force_simd(_level)
