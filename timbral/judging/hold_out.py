"""Holding rows out of a matrix, to measure on them what was trained on the rest."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import ParameterError

__all__ = ["hold_out", "hold_out_last"]

ENTRIES_PER_BLOCK: Final = 2_000_000


def hold_out(
    matrix: Any, share: float, random_state: int, times: npt.NDArray[Any] | None = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split off ``share`` of each user's entries: at random, or the newest where ``times`` are given.

    Of a user's n entries, ``share * n`` are held out, rounded to the nearest whole number (halves up), and at most
    n − 1: every user keeps something to be known by, one with a single entry keeps that.

    Args:
        matrix: CSR of shape (n_users, n_items).
        share: in [0, 1).
        random_state: seed; the same seed and matrix give the same split. With ``times`` it decides between equal times.
        times: one per stored entry, in the order of ``matrix.data``; larger is newer.

    Returns:
        (train, held_out), both CSR of the same shape and dtype; their sum is ``matrix``.

    Raises:
        ParameterError: ``share`` is not in [0, 1), or ``times`` has another length than ``matrix.data``.
    """
    if not 0 <= share < 1:
        raise ParameterError(f"share must be in [0, 1), got {share}")
    n_held = np.floor(np.diff(matrix.indptr) * share + 0.5).astype(np.int64)
    return _split(matrix, n_held, random_state, times)


def hold_out_last(
    matrix: Any, times: npt.NDArray[Any], random_state: int, n_last: int = 1
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split off each user's ``n_last`` newest entries (leave-last-out); each user keeps one at least.

    Arguments and result are those of ``hold_out``.
    """
    if n_last < 1:
        raise ParameterError(f"n_last must be 1 or more, got {n_last}")
    return _split(matrix, np.full(matrix.shape[0], n_last, dtype=np.int64), random_state, times)


def _split(
    matrix: Any, n_held: npt.NDArray[np.int64], random_state: int, times: npt.NDArray[Any] | None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    nnz = len(matrix.data)
    if times is not None and len(times) != nnz:
        raise ParameterError(f"times must have one value per stored entry: {nnz}, got {len(times)}")
    indptr = matrix.indptr.astype(np.int64)
    n_held = np.clip(n_held, 0, np.maximum(np.diff(indptr) - 1, 0))
    rng = np.random.default_rng(random_state)
    held = np.empty(nnz, dtype=bool)
    start = 0
    while start < matrix.shape[0]:
        # Whole rows, some millions of entries at a time: sorting all of them at once would take more memory than the matrix.
        stop = max(start + 1, int(np.searchsorted(indptr, indptr[start] + ENTRIES_PER_BLOCK, side="right")) - 1)
        first, end = indptr[start], indptr[stop]
        block_times = None if times is None else np.asarray(times[first:end])
        held[first:end] = _held(indptr[start : stop + 1] - first, n_held[start:stop], rng, block_times)
        start = stop
    return _entries(matrix, ~held), _entries(matrix, held)


def _held(
    indptr: npt.NDArray[np.int64],
    n_held: npt.NDArray[np.int64],
    rng: np.random.Generator,
    times: npt.NDArray[Any] | None,
) -> npt.NDArray[np.bool_]:
    """For each entry of some rows: whether it is held out."""
    row_lengths = np.diff(indptr)
    rows = np.repeat(np.arange(len(row_lengths), dtype=np.int32), row_lengths)
    chance = rng.random(len(rows))
    if times is None:
        # A row's number plus a fraction sorts by row and by chance within it, in one key.
        order = np.argsort(rows + chance)
    else:
        # From the newest: the negative of the smallest int64 is itself, its complement is not.
        newest_first = np.invert(times) if times.dtype.kind == "i" else -times
        order = np.lexsort((chance, newest_first, rows))
    place = np.arange(len(rows)) - np.repeat(indptr[:-1], row_lengths)
    held = np.empty(len(rows), dtype=bool)
    held[order] = place < np.repeat(n_held, row_lengths)
    return held


def _entries(matrix: Any, chosen: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    """``matrix`` with its ``chosen`` stored entries alone."""
    before = np.zeros(len(chosen) + 1, dtype=matrix.indptr.dtype)
    np.cumsum(chosen, out=before[1:])
    made = sparse.csr_matrix((matrix.data[chosen], matrix.indices[chosen], before[matrix.indptr]), shape=matrix.shape)
    made.has_sorted_indices = matrix.has_sorted_indices
    return made
