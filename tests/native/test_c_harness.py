"""csrc/ring.c alone, on tokens that no hash gives: tests/c/ring_harness.c, compiled and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
CSRC = TESTS.parent / "csrc"
SOURCES = [
    TESTS / "c" / "ring_harness.c",
    *(CSRC / f"{c}.c" for c in ("ring", "hash", "xxh3", "md5", "crc", "simd")),
]
CC = shutil.which("cc") or shutil.which("gcc")
FLAGS = ["-std=c11", "-g", "-O1", "-UNDEBUG", f"-I{CSRC}"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
# The harness brings its own sanitizers; those that are preloaded for Python are not for a compiler.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
ENVIRONMENT["ASAN_OPTIONS"] = "detect_leaks=0"

ROUNDS, SEED = 2, 1


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False
    )


def sanitizers(folder: Path) -> list[str]:
    """The flags, if this compiler has the sanitizers and what they build runs here."""
    source, program = folder / "probe.c", folder / "probe"
    source.write_text("int main(void) { return 0; }\n")
    works = run(str(CC), *SANITIZE, "-o", program, source).returncode == 0
    works = works and run(program).returncode == 0
    if not works and os.environ.get("RINGLEADER_SANITIZED"):
        pytest.fail(f"RINGLEADER_SANITIZED is set, but {CC} has no working sanitizers")
    return SANITIZE if works else []


@pytest.mark.skipif(CC is None, reason="no C compiler: neither cc nor gcc is here")
@pytest.mark.skipif(not CSRC.is_dir(), reason=f"the C sources are not here: {CSRC}")
def test_ring_c_does_what_its_model_does(tmp_path: Path) -> None:
    flags = [*FLAGS, *sanitizers(tmp_path)]
    objects = [tmp_path / f"{source.stem}.o" for source in SOURCES]
    compilers = [
        subprocess.Popen(
            [str(CC), *flags, "-c", "-o", out, source],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )
        for source, out in zip(SOURCES, objects, strict=True)
    ]
    said = [compiler.communicate()[0] for compiler in compilers]
    assert [compiler.returncode for compiler in compilers] == [0] * len(SOURCES), "".join(said)
    program = tmp_path / "ring_harness"
    linked = run(str(CC), *flags, "-o", program, *objects)
    assert linked.returncode == 0, linked.stderr

    done = run(program, str(ROUNDS), str(SEED))
    if done.returncode != 0:
        pytest.fail(f"ring_harness {ROUNDS} {SEED}: exit {done.returncode}\n{done.stderr}")
    assert done.stdout.rstrip().endswith(": ok")
