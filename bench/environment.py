"""The machine and the versions that a run was measured with; names no host and no user."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import numpy as np

import ringleader
from bench import cases, peers, yardstick
from ringleader import kernels


def describe() -> dict[str, object]:
    return {
        "cpu": cpu_name(),
        "cpus": cases.cpus(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "yardstick_compiler": compiler_version(),
        "ringleader": ringleader.__version__,
        "simd": kernels.simd(),
        "numpy": np.__version__,
        "peers": peers.versions(),
        "peer_threads": peers.threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields: dict[str, str] = {}
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
        if "model name" in fields:
            family = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
            return f"{fields['model name']} ({family})"
    return platform.processor() or platform.machine()


def compiler_version() -> str:
    command = yardstick.compiler()
    if command is None:
        return "none"
    asked = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    return (asked.stdout.splitlines() or ["unknown"])[0]
