"""The history read for a training, against the same plays in a parquet file: the most memory that the process had while
it read."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import big_data
from benchmarks.command import main
from benchmarks.measure import in_a_new_process, memory_bytes
from benchmarks.results import Options, Result, Row

MODULE = "benchmarks.history_memory"


def run(options: Options) -> Result:
    size = (1_000_000, 20_000, 10_000) if options.quick else (10_000_000, 200_000, 100_000)
    path = big_data.parquet_path(*size)
    with tempfile.TemporaryDirectory(prefix="timbral-bench-") as folder:
        table = str(Path(folder) / "history")
        imported = in_a_new_process(MODULE, "import", str(path), table)
        file, history = in_a_new_process(MODULE, "file", str(path)), in_a_new_process(MODULE, "history", table)
    ratio = history["peak_gb"] / file["peak_gb"]
    note = f"{history['read_s']:.1f} s against {file['read_s']:.1f} s; the import took {imported['read_s']:.1f} s and {imported['peak_gb']:.2f} GB"
    what = f"history of {size[0] / 1e6:g}M plays to CSR, peak memory against the parquet file's"
    ours, peer = f"{history['peak_gb']:.2f} GB", f"parquet {file['peak_gb']:.2f} GB"
    row = Row(what, ratio, "×", 2, 1.2, ours, peer, note, less_is_better=True)
    return Result("history_memory", [row], {"import": imported, "file": file, "history": history})


def measure(what: str, *paths: str) -> None:
    """In the new process."""
    from timbral.data.dataset_file import DatasetFile
    from timbral.data.read_options import ReadOptions
    from timbral.history.importing import import_plays
    from timbral.history.interactions import TrainedRows
    from timbral.history.table import HistoryTable
    from timbral.utils.data_loader import DataLoader

    started = time.perf_counter()
    if what == "import":
        import_plays(HistoryTable(paths[1]), DatasetFile.of(paths[0]), ReadOptions().checked())
    elif what == "file":
        DataLoader().load_csr(paths[0])
    else:
        TrainedRows.of(HistoryTable(paths[0])).read()
    print(json.dumps({"read_s": time.perf_counter() - started, "peak_gb": memory_bytes("VmHWM") / 1e9}))


if __name__ == "__main__":
    if len(sys.argv) > 2 and not sys.argv[1].startswith("-"):
        measure(*sys.argv[1:])
    else:
        main(run)
