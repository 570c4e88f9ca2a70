"""What every benchmark uses: timing, the rows of the table, the machine, and one command line for all."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

RESULTS = Path(__file__).parent / "results"
T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    quick: bool = False
    """Smaller data, fewer repeats: shows that it runs, its numbers are no claim."""
    lastfm: str | None = None
    """Folder of Last.fm 2K (HetRec 2011); its rows are left out without it."""


@dataclass
class Row:
    """One line of the table. ``figure`` is what ``must`` and ``aim`` speak of; for a ratio, above 1 is in our favour."""

    what: str
    figure: float
    unit: str
    must: float
    aim: float
    ours: str
    peer: str
    note: str = ""
    less_is_better: bool = False

    @property
    def verdict(self) -> str:
        for bound, word in ((self.aim, "aim"), (self.must, "must")):
            if (self.figure <= bound) if self.less_is_better else (self.figure >= bound):
                return word
        return "short"


@dataclass
class Result:
    name: str
    rows: list[Row] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    """Raw numbers and the points of the curves; plain values."""
    skipped: str = ""


def seconds(function: Callable[[], T], repeats: int = 3) -> tuple[float, T]:
    """The shortest of ``repeats`` runs: on a shared machine everything else is somebody else's work."""
    best, made = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        made = function()
        best = min(best, time.perf_counter() - start)
    return best, made  # type: ignore[return-value]


def n_cores() -> int:
    return len(os.sched_getaffinity(0))


def machine() -> dict[str, Any]:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    names = ("timbral", "numpy", "scipy", "numba", "scikit-learn", "implicit")
    return {
        "cpu": cpu or platform.processor(),
        "cores": n_cores(),
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


def parse_options(arguments: list[str] | None = None, *, names: list[str] | None = None) -> tuple[Options, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data, to see that it runs")
    parser.add_argument("--lastfm", default=os.environ.get("LASTFM"), help="folder of Last.fm 2K (or $LASTFM)")
    if names:
        parser.add_argument("names", nargs="*", help=f"which: {', '.join(names)}")
    parsed = parser.parse_args(arguments)
    return Options(quick=parsed.quick, lastfm=parsed.lastfm), list(getattr(parsed, "names", []) or [])


def main(run: Callable[[Options], Result]) -> None:
    """The command line of one benchmark."""
    from benchmarks import report

    options, _ = parse_options()
    report.show([run(options)])


def as_json(results: list[Result], machine: dict[str, Any], options: Options) -> dict[str, Any]:
    return {
        "machine": machine,
        "quick": options.quick,
        "results": [
            asdict(result) | {"rows": [asdict(row) | {"verdict": row.verdict} for row in result.rows]}
            for result in results
        ],
    }
