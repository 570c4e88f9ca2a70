"""A listening history with a known right answer: users of a genre play that genre's artists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.data.interactions import Interactions
from timbral.models.nmf_model import NMFModel
from timbral.versions.served_model import ServedModel

N_GENRES = 4
ITEMS_PER_GENRE = 20


def history(
    n_users: int = 120, plays_each: int = 10, seed: int = 1, *, text_ids: bool = False
) -> list[tuple[Any, Any, int]]:
    """(user, item, plays) rows; user u likes genre u % 4, whose artists are 100 * genre to 100 * genre + 19."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, Any, int]] = []
    for user in range(n_users):
        genre = user % N_GENRES
        for item in rng.choice(ITEMS_PER_GENRE, plays_each, replace=False):
            identity = 1000 + user, 100 * genre + int(item)
            plays = int(rng.integers(1, 50))
            rows.append((f"u{identity[0]}", f"i{identity[1]}", plays) if text_ids else (*identity, plays))
    return rows


def write_history(path: Path, rows: list[tuple[Any, Any, int]]) -> Path:
    """The rows as a csv file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["user_id,item_id,rating", *(f"{user},{item},{plays}" for user, item, plays in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def served_model(rows: list[tuple[Any, Any, int]], version: str = "20260101T000000-1", **options: Any) -> ServedModel:
    """A model of the rows, as workers serve it."""
    users, items = (IdIndex(sorted({row[place] for row in rows})) for place in (0, 1))
    row_codes, column_codes = users.codes([row[0] for row in rows]), items.codes([row[1] for row in rows])
    matrix = sparse.csr_matrix(
        (np.array([row[2] for row in rows], np.float32), (row_codes, column_codes)), shape=(len(users), len(items))
    )
    model = NMFModel(options.pop("n_components", 8), 1, 40, n_threads=1, **options).fit(matrix)
    users_per_item = np.bincount(matrix.indices, minlength=len(items)).astype(np.int64)
    return ServedModel(version, model, users, items, users_per_item, None, {"version": version})


def interactions(n_users: int = 120, *, with_times: bool = False) -> Interactions:
    """``history`` as what is read from it; the times are of no order."""
    rows = history(n_users)
    users, items = IdIndex(sorted({row[0] for row in rows})), IdIndex(sorted({row[1] for row in rows}))
    codes = users.codes([row[0] for row in rows]), items.codes([row[1] for row in rows])
    values = np.array([row[2] for row in rows], np.float32)
    matrix = sparse.csr_matrix((values, codes), shape=(len(users), len(items)))
    matrix.sort_indices()
    times = np.random.default_rng(3).permutation(matrix.nnz).astype(np.int64) if with_times else None
    return Interactions(matrix, users, items, times, len(rows))
