"""10 million interactions, from a parquet file to a trained model: the most memory that the process ever had."""

from __future__ import annotations

import json
import sys
import time

from benchmarks import big_data
from benchmarks.command import main
from benchmarks.measure import in_a_new_process, memory_bytes
from benchmarks.results import Options, Result, Row

SWEEPS = 3


def run(options: Options) -> Result:
    size = (1_000_000, 20_000, 10_000) if options.quick else (10_000_000, 200_000, 100_000)
    found = in_a_new_process("benchmarks.peak_memory", big_data.parquet_path(*size))
    note = (
        f"of it {found['imported_gb']:.2f} GB for the imports, {found['loaded_gb']:.2f} GB at the peak of loading "
        f"({found['load_s']:.1f} s); "
        f"{SWEEPS} sweeps in {found['fit_s']:.1f} s, whose number changes nothing in memory"
    )
    what = f"{size[0] / 1e6:g}M interactions ({size[1]:,} × {size[2]:,}), parquet to trained k=64, peak memory"
    row = Row(what, found["peak_gb"], "GB", 3, 1.5, f"{found['peak_gb']:.2f} GB", "", note, less_is_better=True)
    return Result("peak_memory", [row], found)


def load_and_fit(path: str) -> None:
    """In the new process."""
    from timbral.models.nmf_model import NMFModel
    from timbral.utils.data_loader import DataLoader

    def peak_gb() -> float:
        return memory_bytes("VmHWM") / 1e9  # ru_maxrss would begin with the parent's

    imported, start = peak_gb(), time.perf_counter()
    matrix = DataLoader().load_csr(path).matrix
    loaded, load_s, start = peak_gb(), time.perf_counter() - start, time.perf_counter()
    NMFModel(64, 0, SWEEPS, 0.0).fit(matrix)
    found = {"imported_gb": imported, "loaded_gb": loaded, "peak_gb": peak_gb()}
    print(json.dumps(found | {"load_s": load_s, "fit_s": time.perf_counter() - start}))


if __name__ == "__main__":
    if len(sys.argv) == 2 and not sys.argv[1].startswith("-"):
        load_and_fit(sys.argv[1])
    else:
        main(run)
