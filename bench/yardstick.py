"""The C of yardstick.c, compiled when first asked for: floors to hold the lookups against."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.harness import Absent, Contestant
from ringleader import kernels
from ringleader._reference import hashing as reference

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "bench" / "yardstick.c"
HEADERS = ROOT / "csrc"
FLAGS = ["-O3", "-std=c11", "-shared", "-fPIC"]

#: A table of 1 MiB: what the ring of 16,000 points has, within a factor of two.
TABLE_BITS = 18
STEP = 16

WORKS = {
    "stream": "C: read 8 bytes, write 4",
    "hash": "C: hash",
    "load": "C: hash + one table load",
}


def compiler() -> list[str] | None:
    """The C compiler's command, or None."""
    for command in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if command and shutil.which(shlex.split(command)[0]):
            return shlex.split(command)
    return None


@cache
def library() -> ctypes.CDLL | str:
    """The compiled yardstick, or why there is none."""
    if os.name == "nt":
        return "it is built with a Unix compiler"
    command = compiler()
    if command is None:
        return "no C compiler (cc, gcc, clang) was found"
    sources = [SOURCE, HEADERS / "xxh3_words.h", HEADERS / "base.h"]
    text = b"".join(path.read_bytes() for path in sources) + repr([command, FLAGS]).encode()
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    suffix = sysconfig.get_config_var("SHLIB_SUFFIX") or ".so"
    target = folder / f"yardstick-{zlib.crc32(text):08x}{suffix}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            fresh = Path(scratch) / target.name
            built = subprocess.run(
                [*command, *FLAGS, f"-I{HEADERS}", str(SOURCE), "-o", str(fresh)],
                capture_output=True,
                text=True,
                check=False,
            )
            if built.returncode != 0:
                return f"{command[0]} failed: {built.stderr.strip().splitlines()[-1]}"
            fresh.replace(target)
    loaded = ctypes.CDLL(str(target))
    for work in WORKS:
        function = getattr(loaded, f"yard_{work}")
        pointer = ctypes.c_void_p
        function.argtypes = [
            *(ctypes.c_int, pointer, ctypes.c_size_t),
            *(pointer, ctypes.c_uint32, pointer),
        ]
        function.restype = None
    return loaded


def floors(keys: NDArray[np.uint64]) -> list[Contestant | Absent]:
    """Stream, hash, and hash + load over the same keys, at the level now in force."""
    loaded = library()
    if isinstance(loaded, str):
        return [Absent(name, loaded) for name in WORKS.values()]
    count = len(keys) - len(keys) % STEP
    table = np.random.default_rng(0).integers(0, 2**32, 2**TABLE_BITS, dtype=np.uint32)
    out = np.empty(count, np.uint32)
    _verify(loaded, keys[:STEP], table)
    return [
        Contestant(name, _lap(loaded, work, keys, table, out, count), count, "floor")
        for work, name in WORKS.items()
    ]


def threaded_floors(
    keys: NDArray[np.uint64], pool: ThreadPoolExecutor, threads: int
) -> list[Contestant | Absent]:
    """Hash + load in one thread, and its halves in `threads` of them: what more cores are worth.

    The C knows no GIL: where it gains little, the machine had little to give, cores or memory.
    """
    titles = [f"{WORKS['load']}, {count} thread{'s'[: count > 1]}" for count in (1, threads)]
    loaded = library()
    if isinstance(loaded, str):
        return [Absent(title, loaded) for title in titles]
    share = len(keys) // threads // STEP * STEP
    count = share * threads
    table = np.random.default_rng(0).integers(0, 2**32, 2**TABLE_BITS, dtype=np.uint32)
    out = np.empty(count, np.uint32)
    whole = _lap(loaded, "load", keys, table, out, count)
    bounds = [slice(at, at + share) for at in range(0, count, share)]
    parts = [_lap(loaded, "load", keys[part], table, out[part], share) for part in bounds]

    def shared() -> NDArray[np.uint32]:
        for done in [pool.submit(part) for part in parts]:
            done.result()
        return out

    return [
        Contestant(titles[0], whole, count, "floor"),
        Contestant(titles[1], shared, count, "floor"),
    ]


def _lap(
    loaded: ctypes.CDLL,
    work: str,
    keys: NDArray[np.uint64],
    table: NDArray[np.uint32],
    out: NDArray[np.uint32],
    count: int,
) -> Callable[[], NDArray[np.uint32]]:
    function = getattr(loaded, f"yard_{work}")
    level = kernels.SIMD_LEVELS.index(kernels.simd())

    def lap() -> NDArray[np.uint32]:
        function(level, keys.ctypes.data, count, table.ctypes.data, TABLE_BITS, out.ctypes.data)
        return out

    return lap


def _verify(loaded: ctypes.CDLL, keys: NDArray[np.uint64], table: NDArray[np.uint32]) -> None:
    hashes = [reference.xxh3_64(key) for key in keys]
    expected = {
        "stream": [int(key) >> 32 for key in keys],
        "hash": [value >> 32 for value in hashes],
        "load": [int(table[value >> (64 - TABLE_BITS)]) for value in hashes],
    }
    for work, wanted in expected.items():
        out = np.empty(len(keys), np.uint32)
        assert _lap(loaded, work, keys, table, out, len(keys))().tolist() == wanted, work
