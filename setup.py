"""How to compile the native kernels: one extension per file in pyx/, over one library of csrc/.

Everything static lives in pyproject.toml.  One switch is read from the environment:

    RINGLEADER_BUILD    release (default) | debug | trace | sanitize
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = "ringleader._native"

# One extension for each: pyx/NAME.pyx, and what it needs of the C.
KERNELS: list[str] = sorted(path.stem for path in Path("pyx").glob("*.pyx"))

# Plain Python that is compiled as it stands, under the types of the .pxd beside it.
COMPILED: list[str] = [
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
]

BUILD = os.environ.get("RINGLEADER_BUILD", "release")
if BUILD not in {"release", "debug", "trace", "sanitize"}:
    sys.exit(f"setup.py: RINGLEADER_BUILD={BUILD!r} is not release, debug, trace or sanitize")

checked = BUILD != "release"
# Each variant keeps its own build tree: setuptools compares timestamps, not flags,
# so a shared tree would hand a sanitized object to a release build.  So do each Python and each
# NumPy, whose declarations end up in the generated C.
build_base = f"build/{BUILD}-{sys.implementation.cache_tag}-numpy-{numpy.__version__}"
directives: dict[str, object] = {
    "language_level": 3,
    "freethreading_compatible": True,
    "binding": True,
    "embedsignature": False,
    "boundscheck": checked,
    "wraparound": False,
    "initializedcheck": checked,
    "cdivision": True,
    "linetrace": BUILD == "trace",
}
# Compiled Python behaves as it does uncompiled; types come from the .pxd, not from annotations.
as_python: dict[str, object] = {
    "language_level": 3,
    "freethreading_compatible": True,
    "binding": True,
    "embedsignature": False,
    "annotation_typing": False,
    "nonecheck": True,
    "linetrace": BUILD == "trace",
}
macros: list[tuple[str, str | None]] = [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]
macros += [("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION")]
compile_args: list[str] = []
link_args: list[str] = []

if sys.platform == "win32":
    compile_args += ["/std:c11", "/O2"] if not checked else ["/std:c11", "/Od"]
else:
    compile_args += ["-std=c11", "-Wall", "-Wextra", "-Wno-unused-function"]
    compile_args += ["-Wno-unused-parameter", "-fvisibility=hidden"]
    compile_args += ["-O3", "-g0"] if not checked else ["-O0", "-g3", "-UNDEBUG"]
if BUILD == "sanitize":
    compile_args += ["-O1", "-fsanitize=address,undefined"]
    compile_args += ["-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
    link_args += ["-fsanitize=address,undefined"]
if BUILD == "trace":
    # Coverage.py sees plugin files only through the old trace hook, not sys.monitoring (3.13+).
    macros += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]
    macros += [("CYTHON_USE_SYS_MONITORING", "0")]

headers = [
    path.as_posix() for folder in ("csrc", "pyx") for path in sorted(Path(folder).glob("*.h"))
]


def extension(name: str, sources: list[str], more_args: Sequence[str] = ()) -> Extension:
    return Extension(
        name,
        sources=sources,
        depends=headers,
        include_dirs=["csrc", "pyx", numpy.get_include()],
        define_macros=macros,
        extra_compile_args=[*compile_args, *more_args],
        extra_link_args=link_args,
    )


# Calls of the interpreter are what compiled Python is made of: -O3 only takes longer to compile,
# and the sanitizers are for memory that we manage.
python_args: list[str] = []
if BUILD == "release" and sys.platform != "win32":
    python_args = ["-O2"]
elif BUILD == "sanitize":
    python_args = ["-O0", "-g0", "-fno-sanitize=all"]

# The C is compiled once; each extension takes out of it what it needs.
csrc = {
    "sources": [path.as_posix() for path in sorted(Path("csrc").glob("*.c"))],
    "obj_deps": {"": headers},
    "include_dirs": ["csrc"],
    "cflags": compile_args,
}


class BuildExt(build_ext):
    """`build_ext` by itself, too, finds the library built."""

    def run(self) -> None:
        self.run_command("build_clib")
        super().run()


# Cython's own helpers (memoryviews above all) compile once here, not once per kernel:
# a quarter of the bytes, a third of the rebuild.  The .c is generated by cythonize.
shared_helpers = extension(f"{PACKAGE}._cyutility", ["pyx/_cyutility.c"])

# Cython works in processes of its own, which only a fork starts without running this file again.
jobs = os.cpu_count() or 1
nthreads = jobs if sys.platform == "linux" else 0

# Cython.Coverage only finds C that lies beside its source.
build_dir = None if BUILD == "trace" else f"{build_base}/cython"

setup(
    cmdclass={"build_ext": BuildExt},
    libraries=[("ringleader_csrc", csrc)],
    ext_modules=cythonize(
        [
            *(extension(f"{PACKAGE}.{name}", [f"pyx/{name}.pyx"]) for name in KERNELS),
            shared_helpers,
        ],
        shared_utility_qualified_name=shared_helpers.name,
        include_path=["pyx"],
        compiler_directives=directives,
        build_dir=build_dir,
        nthreads=nthreads,
    )
    + cythonize(
        [
            extension(name, [f"python/{name.replace('.', '/')}.py"], python_args)
            for name in COMPILED
        ],
        include_path=["python"],
        compiler_directives=as_python,
        build_dir=build_dir,
        nthreads=nthreads,
    ),
    options={"build": {"build_base": build_base}, "build_ext": {"parallel": jobs}},
)
