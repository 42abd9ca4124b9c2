"""Run the suites, a process for each, and gather what they measured into one small file.

    python -m bench [--only NAME ...] [--small] [--output DIR]

The tables go to the terminal; `python -m bench.report` turns the file into docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import report

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"

#: In the order of the tables.
SUITES = (
    *("bulk_u64", "strings", "scalar", "replicas", "change"),
    *("policy", "movement", "balance", "partitions", "bounded"),
    *("tables", "placers", "formats"),
    *("threads", "churn", "hashing", "curve"),
    *("quorum", "log", "raft", "paxos", "groups", "decree", "sim", "wal"),
    *("frames", "cluster", "wan"),
)


def run_suites(names: Sequence[str], small: bool) -> dict[str, Any] | None:
    """What pytest-benchmark says of these suites in one process; None when a test failed."""
    environment = dict(os.environ)
    environment["RINGLEADER_BENCH_SMALL"] = "1" if small else ""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "suite.json"
        command = [
            *(sys.executable, "-m", "pytest", *(f"bench/bench_{name}.py" for name in names)),
            *("-q", "--no-header"),
            *("-p", "no:warnings", "--benchmark-quiet", f"--benchmark-json={output}"),
        ]
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
        if done.returncode != 0:
            return None
        return json.loads(output.read_text())  # type: ignore[no-any-return]


def slim(benchmark: dict[str, Any]) -> dict[str, Any]:
    """A benchmark with the name of its suite and without the times of its single rounds."""
    suite = Path(benchmark["fullname"].partition("::")[0]).stem.removeprefix("bench_")
    stats = {key: value for key, value in benchmark["stats"].items() if key != "data"}
    return {
        "suite": suite,
        "name": benchmark["name"],
        "stats": stats,
        "extra_info": benchmark["extra_info"],
    }


def commit() -> str:
    """The commit that was measured, marked when the tree had changes; "" outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SUITES, default=SUITES, metavar="NAME")
    parser.add_argument("--small", action="store_true", help="prove that all run; measures nothing")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the raw results")
    chosen = parser.parse_args()

    began = datetime.now(UTC)
    run: dict[str, Any] = {
        "format": report.FORMAT,
        "began": began.isoformat(timespec="seconds"),
        "commit": commit(),
        "small": chosen.small,
        "machine": {},
        "benchmarks": [],
    }
    failed = []
    suites = [name for name in SUITES if name in chosen.only]
    # A process each keeps the threads and caches of one suite's peers out of the next; a small run
    # measures nothing and saves the imports.
    for group in [suites] if chosen.small else [[name] for name in suites]:
        print(f"--- {' '.join(group)}", flush=True)
        measured = run_suites(group, chosen.small)
        if measured is None:
            failed += group
            continue
        run["machine"] = run["machine"] or measured["machine_info"]
        run["benchmarks"] += [slim(benchmark) for benchmark in measured["benchmarks"]]
    if run["benchmarks"]:
        chosen.output.mkdir(parents=True, exist_ok=True)
        path = chosen.output / f"raw-{began:%Y%m%dT%H%M%SZ}.json"
        path.write_text(json.dumps(run, indent=1) + "\n")
        print(report.as_text(run))
        print(f"\nwritten: {path}")
    for suite in failed:
        print(f"FAILED: {suite}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
