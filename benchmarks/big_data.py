"""Large made-up data, made once and kept in ``results/data``; other processes read it from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from benchmarks import datasets
from benchmarks.results import RESULTS

FOLDER = RESULTS / "data"


def matrix_path(n_interactions: int, n_users: int, n_items: int) -> str:
    path = FOLDER / f"{n_interactions}-{n_users}-{n_items}.npz"
    if not path.exists():
        _make(path, n_interactions, n_users, n_items)
    return str(path)


def parquet_path(n_interactions: int, n_users: int, n_items: int) -> str:
    path = Path(matrix_path(n_interactions, n_users, n_items)).with_suffix(".parquet")
    if not path.exists():
        plays = load_matrix(str(path.with_suffix(".npz"))).tocoo()
        order = np.random.default_rng(0).permutation(plays.nnz)  # events come in no order
        columns = {
            "user_id": plays.row[order] * 7 + 1000,
            "item_id": plays.col[order] * 3 + 5,
            "rating": plays.data[order],
        }
        pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), path)
    return str(path)


def load_matrix(path: str) -> sparse.csr_matrix:
    return sparse.csr_matrix(sparse.load_npz(path))


def _make(path: Path, n_interactions: int, n_users: int, n_items: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sparse.save_npz(path, datasets.listening(n_users, n_items, n_interactions, seed=9).csr(), compressed=False)
