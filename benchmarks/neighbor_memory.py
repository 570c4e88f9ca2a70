"""Neighbours of a million items: the most memory that they take beyond the plays."""

from __future__ import annotations

import json
import sys
import time

from benchmarks import datasets
from benchmarks.command import main
from benchmarks.measure import forget_peak, in_a_new_process, memory_bytes
from benchmarks.results import Options, Result, Row
from timbral.config.cores import available_cores

MODULE = "benchmarks.neighbor_memory"


def run(options: Options) -> Result:
    size = (30_000, 100_000, 1_000_000) if options.quick else (300_000, 1_000_000, 10_000_000)
    found = in_a_new_process(MODULE, *map(str, size))
    note = (
        f"of {size[2] / 1e6:g}M plays by {size[0]:,} users; {found['pairs'] / 1e6:.0f}M pairs in {found['fit_s']:.0f} s"
    )
    what = f"100 neighbours for each of {size[1]:,} items, memory beyond the plays"
    row = Row(what, found["peak_gb"], "GB", 2, 1, f"{found['peak_gb']:.2f} GB", "", note, less_is_better=True)
    return Result("neighbor_memory", [row], found)


def measure(n_users: int, n_items: int, n_plays: int) -> None:
    """In the new process."""
    from timbral.models.engine.sparse_rows import read_rows
    from timbral.models.kernels.threads import Threads
    from timbral.models.neighbors.neighbors import Neighbors

    rows = read_rows(datasets.listening(n_users, n_items, n_plays, seed=7).csr(), "plays")
    forget_peak()
    before, started = memory_bytes("VmRSS"), time.perf_counter()
    with Threads(available_cores()) as threads:
        neighbors = Neighbors.fit(rows, 100, [1.0], 0, threads)[0]
    found = {"peak_gb": (memory_bytes("VmHWM") - before) / 1e9, "pairs": len(neighbors.items)}
    print(json.dumps(found | {"fit_s": time.perf_counter() - started}))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(*map(int, sys.argv[1:]))
    else:
        main(run)
