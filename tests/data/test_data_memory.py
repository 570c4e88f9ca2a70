"""Memory follows the number of interactions. Measured as the peak of a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

PEAK = """
def peak_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
"""

FRAME = """
import numpy as np, pandas as pd
from timbral.models.nmf_model import NMFModel
from timbral.utils.data_loader import DataLoader
rng = np.random.default_rng(0)
n = 300_000
plays = pd.DataFrame({
    "user_id": np.concatenate([np.arange(30_000), rng.integers(0, 30_000, n - 30_000)]),
    "item_id": np.concatenate([np.arange(40_000), rng.integers(0, 40_000, n - 40_000)]),
    "rating": rng.integers(1, 100, n),
})
matrix = DataLoader().create_user_item_matrix(plays)
assert matrix.shape == (30_000, 40_000)
model = NMFModel(n_components=16, max_iter=2).fit(matrix)
assert model.user_factors.shape == (30_000, 16)
print(peak_mb())
"""

CSR = """
import sys
from timbral.utils.data_loader import DataLoader
read = DataLoader().load_csr(sys.argv[1])
print(peak_mb(), *read.matrix.shape, int(read.matrix.sum()))
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")


def run(script: str, *arguments: str) -> list[float]:
    command = [sys.executable, "-c", PEAK + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [float(value) for value in done.stdout.split()]


def test_a_matrix_that_would_take_10_gb_dense_is_made_and_fitted_below_2() -> None:
    (peak_mb,) = run(FRAME)

    assert peak_mb < 1_000


def test_five_million_interactions_from_parquet_to_csr_stay_below_700_mb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 5_000_000
    users, items = rng.integers(0, 200_000, n, dtype=np.int32), rng.integers(0, 100_000, n, dtype=np.int32)
    parquet.write_table(pa.table({"user_id": users, "item_id": items}), tmp_path / "plays.parquet")

    peak_mb, n_users, n_items, total = run(CSR, str(tmp_path / "plays.parquet"))

    assert (n_users, n_items, total) == (200_000, 100_000, n)
    assert peak_mb < 700


def test_memory_follows_the_pairs_and_not_the_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with parquet.ParquetWriter(
        tmp_path / "plays.parquet", pa.schema([("user_id", pa.int32()), ("item_id", pa.int32())])
    ) as writer:
        for _ in range(10):
            writer.write_table(
                pa.table(
                    {"user_id": rng.integers(0, 300, 2**20, np.int32), "item_id": rng.integers(0, 300, 2**20, np.int32)}
                )
            )

    peak_mb, n_users, n_items, total = run(CSR, str(tmp_path / "plays.parquet"))

    assert (n_users, n_items, total) == (300, 300, 10 * 2**20)
    assert peak_mb < 450
