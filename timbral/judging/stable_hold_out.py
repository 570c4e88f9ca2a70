"""A random hold-out that stays the same as a data set grows: whether a row is held out depends on its two ids alone.

So what was held out from last week's training is held out from today's too, and the live model can be compared with a new one on
rows that neither has seen.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.data.id_index import IdIndex
from timbral.errors import ParameterError

__all__ = ["stable_hold_out"]

ENTRIES_PER_BLOCK = 2_000_000


def stable_hold_out(
    matrix: Any, user_ids: IdIndex, item_ids: IdIndex, share: float
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split off about ``share`` of each user's entries; every user keeps one at least.

    Args:
        matrix: CSR of shape (n_users, n_items).
        user_ids, item_ids: original ids of its rows and columns.
        share: in [0, 1).

    Returns:
        (train, held_out), both CSR of the same shape; their sum is ``matrix``.
    """
    if not 0 <= share < 1:
        raise ParameterError(f"share must be in [0, 1), got {share}")
    lengths = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), lengths)
    users, items = _hashes(user_ids), _hashes(item_ids)
    limit = np.uint64(min(int(share * 2.0**64), 2**64 - 1))
    held = np.zeros(matrix.nnz, dtype=bool)
    if share > 0:
        for start in range(0, matrix.nnz, ENTRIES_PER_BLOCK):
            part = slice(start, start + ENTRIES_PER_BLOCK)
            held[part] = _mixed(users[rows[part]] ^ _mixed(items[matrix.indices[part]])) < limit
    n_kept = np.bincount(rows[~held], minlength=matrix.shape[0])
    held[matrix.indptr[:-1][(n_kept == 0) & (lengths > 0)]] = False
    return _entries(matrix, ~held), _entries(matrix, held)


def _entries(matrix: Any, chosen: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    before = np.concatenate([[0], np.cumsum(chosen)])
    indptr = before[matrix.indptr].astype(matrix.indptr.dtype)
    return sparse.csr_matrix((matrix.data[chosen], matrix.indices[chosen], indptr), shape=matrix.shape)


def _hashes(ids: IdIndex) -> npt.NDArray[np.uint64]:
    listed = ids.ids(range(len(ids)))
    if ids.is_int:
        return _mixed(np.asarray(listed, dtype=np.int64).view(np.uint64))
    digests = b"".join(hashlib.blake2b(str(one).encode(), digest_size=8).digest() for one in listed)
    return _mixed(np.frombuffer(digests, dtype="<u8").astype(np.uint64))


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
