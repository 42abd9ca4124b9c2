"""Other Raft libraries, each a program of its own that runs a whole group and times itself.

A program answers every line "nodes batch count" on its standard input with a line "nanoseconds
entries checksum" (bench/peer_*).  What cannot be built here is `Absent`, with what would help.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from bench import yardstick
from bench.harness import Absent, Contestant
from bench.peers import missing

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
BUILT = ROOT / "build" / "bench"
#: Where Debian puts the sources of Go libraries.
GO_PATH = Path("/usr/share/gocode")
#: A lap that breaks off is begun anew so often: PySyncObj may lose entries under load.
TRIES_MAX = 3

#: A command line, or why there is none.
Built = list[str] | str


class Program:
    """A running peer, started with its first lap."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.command = list(command)
        self.environment = dict(environment)
        self._process: subprocess.Popen[str] | None = None

    def lap(self, nodes: int, batch: int, count: int) -> tuple[float, tuple[int, int]]:
        """Seconds, and (entries, checksum) as each node has seen them.

        Raises:
            RuntimeError: the program breaks off each time.
        """
        for _ in range(TRIES_MAX):
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=self.environment,
                )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(nodes, batch, count, file=self._process.stdin, flush=True)
            if line := self._process.stdout.readline():
                took, entries, crc = map(int, line.split())
                return took / 1e9, (entries, crc)
            self._process.wait()
        raise RuntimeError(f"{self.command[0]} breaks off")

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def contestant(self, name: str, nodes: int, batch: int, count: int) -> Contestant:
        last: tuple[int, int] = (0, 0)

        def run() -> float:
            nonlocal last
            seconds, last = self.lap(nodes, batch, count)
            return seconds

        def answers() -> tuple[int, int]:
            run()
            return last

        return Contestant(name, run, count, answers=answers, own_clock=True)


#: The peers import ringleader for its CRC32C, from wherever this process has it.
ENV = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    "RINGLEADER_PURE": "",
}


def _compiled(name: str, sources: Sequence[Path], command: Callable[[Path], list[str]]) -> Built:
    """The program of these sources; compiled again when one of them has changed."""
    known = zlib.crc32(b"".join(path.read_bytes() for path in sources))
    BUILT.mkdir(parents=True, exist_ok=True)
    target = BUILT / f"{name}-{known:08x}"
    if target.exists():
        return [str(target)]
    fresh = target.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        command(fresh),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GO111MODULE": "off", "GOPATH": str(GO_PATH)},
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        return f"{name} does not compile here: {said[-1] if said else 'no reason given'}"
    fresh.replace(target)
    return [str(target)]


@cache
def libraft() -> Built:
    compiler = yardstick.compiler()
    if compiler is None:
        return "no C compiler (cc, gcc, clang) was found"
    probe = subprocess.run(
        [*compiler, "-E", "-x", "c", "-"],
        input="#include <raft.h>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode != 0:
        return "raft.h is not installed (Debian: apt-get install libraft-dev)"
    headers = ROOT / "csrc"
    sources = [BENCH / "peer_libraft.c", headers / "crc.c", headers / "simd.c"]
    return _compiled(
        "peer-libraft",
        sources,
        lambda target: [
            *(*compiler, "-O2", "-std=gnu11", f"-I{headers}", *map(str, sources)),
            *("-lraft", "-o", str(target)),
        ],
    )


@cache
def etcd() -> Built:
    go = shutil.which("go")
    if go is None or not (GO_PATH / "src/go.etcd.io/etcd/raft/rawnode.go").exists():
        return (
            "Go or etcd's sources are not installed (Debian: apt-get install golang-go "
            "golang-etcd-server-dev)"
        )
    source = BENCH / "peer_etcd.go"
    return _compiled(
        "peer-etcd", [source], lambda target: [go, "build", "-o", str(target), str(source)]
    )


@cache
def pysyncobj() -> Built:
    reason = missing("pysyncobj")
    return reason if reason is not None else [sys.executable, str(BENCH / "peer_pysyncobj.py")]


#: Libraries without a program here.
UNBUILT = (
    Absent("raft-rs (Rust)", "there is no Debian package; building it needs crates.io"),
    Absent("rraft-py (raft-rs for Python)", "no wheel is published; building it needs crates.io"),
)
