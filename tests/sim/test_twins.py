"""The compiled core, log and quorums against the plain Python: the same run, to the byte."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ringleader import kernels

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = """
import json, sys
from ringleader.sim.runner import Settings, run
report = run(Settings(**json.loads(sys.argv[1])))
print(json.dumps([report.digest, report.messages]))
"""


def digest(settings: dict[str, object], pure: bool) -> list[object]:
    environment = {**os.environ, "RINGLEADER_PURE": "1" if pure else "0", "PYTHONHASHSEED": "7"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(settings)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    answer: list[object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("profile", ["lan-3", "wan-3dc"])
@pytest.mark.parametrize("seed", [3, 8])
@pytest.mark.parametrize("consensus", ["raft", "paxos"])
def test_both_forms_make_the_same_run(consensus: str, profile: str, seed: int) -> None:
    settings: dict[str, object] = {"seed": seed, "profile": profile, "consensus": consensus}
    native, pure = digest(settings, False), digest(settings, True)
    assert native == pure
    assert int(str(native[1])) > 500


def test_setup_compiles_what_the_package_expects_compiled() -> None:
    text = (ROOT / "setup.py").read_text()
    listed = re.search(r"^COMPILED: list\[str\] = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert listed is not None
    assert tuple(re.findall(r'"([\w.]+)"', listed[1])) == kernels.COMPILED
