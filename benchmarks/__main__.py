"""Every benchmark of the engine, or those that are named: ``python -m benchmarks [--quick] [names …]``."""

from __future__ import annotations

import importlib
import sys
import time

from rich.console import Console

from benchmarks import report
from benchmarks.command import parse_options
from benchmarks.measure import machine
from benchmarks.results import Result

NAMES = [
    "lastfm_quality", "time_quality", "fit_speed", "classic_speed", "time_to_quality", "top_k_speed", "scaling",
    "peak_memory",
    "fold_in_speed", "fold_in_quality", "train_engines",
]  # fmt: skip


def main() -> int:
    options, names = parse_options(names=NAMES)
    unknown = sorted(set(names) - set(NAMES))
    console = Console()
    if unknown:
        console.print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
        return 2
    before = machine()
    results: list[Result] = []
    for name in names or NAMES:
        start = time.perf_counter()
        console.print(f"[dim]{name} …[/]")
        try:
            results.append(importlib.import_module(f"benchmarks.{name}").run(options))
        except Exception as error:  # the others' numbers are not to be lost, and this one's absence is to be seen
            console.print_exception()
            results.append(Result(name, skipped=f"it failed: {error!r}"))
        console.print(f"[dim]{name}: {time.perf_counter() - start:.0f} s[/]")
    report.show(results)
    path = report.save(results, before, options, whole=not names)
    console.print(f"Raw numbers: {path.relative_to(path.parent.parent.parent)}")
    return int(any(result.skipped.startswith("it failed") for result in results))


if __name__ == "__main__":
    sys.exit(main())
