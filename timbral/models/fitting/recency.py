"""The recency part of a score: what is played now, more than it was."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from timbral.models.engine.sparse_rows import SparseRows

__all__ = ["recency", "with_recency"]

RECENT: Final = 1 / 8
"""Of all entries, the newest."""

Vector = npt.NDArray[np.float32]


def recency(rows: SparseRows, times: npt.NDArray[np.int64]) -> Vector:
    """log((recent + 1) / (all + 5)) of each item's entries, less the least of all items: float32 (n_items,), ≥ 0."""
    recent = times > np.quantile(times, 1.0 - RECENT, method="lower")
    newest = np.bincount(rows.indices[recent], minlength=rows.n_columns)
    everything = np.bincount(rows.indices, minlength=rows.n_columns)
    share = np.log((newest + 1.0) / (everything + 5.0))
    return np.asarray(np.where(everything > 0, share - share.min(), 0.0), dtype=np.float32)


def with_recency(users: Vector, items: Vector, boost: Vector) -> tuple[Vector, Vector]:
    """Factors with one more, that all users have alike: their product has each item's ``boost`` (n_items,) added."""
    if not boost.any():
        return users, items
    ones = np.ones((len(users), 1), np.float32)
    return np.hstack([users, ones]), np.hstack([items, boost[:, None].astype(np.float32)])
