"""Time, memory, and the machine that both were measured on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from timbral.config.cores import available_cores

T = TypeVar("T")


def seconds(function: Callable[[], T], repeats: int = 3) -> tuple[float, T]:
    """The shortest of ``repeats`` runs: on a shared machine everything else is somebody else's work."""
    best, made = _timed(function)
    for _ in range(repeats - 1):
        took, made = _timed(function)
        best = min(best, took)
    return best, made


def _timed(function: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    made = function()
    return time.perf_counter() - start, made


def machine() -> dict[str, Any]:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    names = ("timbral", "numpy", "scipy", "numba", "scikit-learn", "implicit")
    return {
        "cpu": cpu or platform.processor(),
        "cores": available_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def memory_bytes(name: str) -> int:
    """``VmRSS``, what this process has in memory now, or ``VmHWM``, the most since the start or ``forget_peak``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def in_a_new_process(module: str, *arguments: str) -> dict[str, Any]:
    """``python -m module arguments`` prints one JSON object: what a process costs is measured from its start."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))
