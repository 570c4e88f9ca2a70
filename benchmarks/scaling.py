"""From 1 million to 10 million interactions: seconds and bytes an interaction, each in a process of its own."""

from __future__ import annotations

import json
import sys
import time

from benchmarks import big_data
from benchmarks.command import main
from benchmarks.measure import forget_peak, in_a_new_process, memory_bytes
from benchmarks.results import Options, Result, Row

SWEEPS = 5


def run(options: Options) -> Result:
    sizes = ((200_000, 2_000, 1_000), (2_000_000, 20_000, 10_000)) if options.quick else (
        (1_000_000, 20_000, 10_000),
        (10_000_000, 200_000, 100_000),
    )  # fmt: skip
    small, large = (
        [in_a_new_process("benchmarks.scaling", big_data.matrix_path(*size)) for _ in range(2)] for size in sizes
    )
    figures = {}
    for name in ("s", "bytes"):
        figures[name] = (
            min(run[name] for run in large) / large[0]["n"] / (min(run[name] for run in small) / small[0]["n"])
        )
    each = {name: [min(run[name] for run in runs) / runs[0]["n"] for runs in (small, large)] for name in figures}
    what = f"{sizes[0][0] / 1e6:g}M → {sizes[1][0] / 1e6:g}M interactions, k=64"
    note = f"{SWEEPS} sweeps; users and items grow with the interactions; peak above the process with its data loaded"
    return Result(
        "scaling",
        [
            Row(
                f"{what}: time an interaction", figures["s"], "×", 1.3, 1.1, f"{each['s'][1] * 1e9:.0f} ns",
                f"at the smaller {each['s'][0] * 1e9:.0f} ns", note, less_is_better=True,
            ),
            Row(
                f"{what}: memory an interaction", figures["bytes"], "×", 1.3, 1.1, f"{each['bytes'][1]:.0f} B",
                f"at the smaller {each['bytes'][0]:.0f} B", note, less_is_better=True,
            ),
        ],
        {"small": small, "large": large},
    )  # fmt: skip


def fit_one(path: str) -> None:
    """In the new process."""
    from benchmarks.peers import warm_up
    from timbral.models.nmf_model import NMFModel

    warm_up()
    plays = big_data.load_matrix(path)
    forget_peak()
    before = memory_bytes("VmRSS")
    start = time.perf_counter()
    NMFModel(64, 0, SWEEPS, 0.0).fit(plays)
    took = time.perf_counter() - start
    peak = memory_bytes("VmHWM")
    print(json.dumps({"n": plays.nnz, "s": took, "bytes": peak - before, "peak_mb": peak / 1e6}))


if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        fit_one(sys.argv[1])
    else:
        main(run)
