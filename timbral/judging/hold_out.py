"""Holding entries out of a matrix, to measure on them what was trained on the rest.

``hold_out`` takes a share of each user's entries, at random or the newest; ``hold_out_last`` the newest few
(leave-last-out); ``hold_out_by_id`` those that a hash of their two ids picks, which stay the same as a data set grows.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from timbral.errors import ParameterError
from timbral.judging.matrix import MatrixLike, read_matrix

if TYPE_CHECKING:
    from timbral.data.id_index import IdIndex

__all__ = ["hold_out", "hold_out_by_id", "hold_out_last", "with_ties_broken"]

ENTRIES_PER_BLOCK: Final = 2_000_000
TIE_BITS: Final = 10


def hold_out(
    matrix: MatrixLike, share: float, random_state: int, times: npt.NDArray[Any] | None = None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split off ``share`` of each user's entries: at random, or the newest where ``times`` are given.

    Of a user's n entries, ``share * n`` are held out, rounded to the nearest whole number (halves up), and at most
    n − 1: every user keeps something to be known by, one with a single entry keeps that.

    Args:
        matrix: shape (n_users, n_items), whatever ``NMFModel.fit`` takes: scipy sparse, DataFrame, ndarray,
            ``load_csr``'s result.
        share: in [0, 1).
        random_state: seed; the same seed and matrix give the same split. With ``times`` it decides between equal times.
        times: one per stored entry, in the order of ``matrix.data``, which then must be CSR with nothing twice; larger
            is newer.

    Returns:
        (train, held_out), both CSR of the same shape and dtype; their sum is ``matrix``.

    Raises:
        ParameterError: ``share`` is not in [0, 1), or ``times`` does not go with ``matrix``.
        DataError: ``matrix`` is none of users × items.
    """
    _check_share(share)
    read, in_order = _read(matrix, times)
    n_held = np.floor(np.diff(read.indptr) * share + 0.5).astype(np.int64)
    return _split(read, n_held, random_state, in_order)


def hold_out_last(
    matrix: MatrixLike, times: npt.NDArray[Any], random_state: int, n_last: int = 1
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split off each user's ``n_last`` newest entries (leave-last-out); each user keeps one at least.

    Arguments and result are those of ``hold_out``.
    """
    if n_last < 1:
        raise ParameterError(f"n_last must be 1 or more, got {n_last}")
    read, in_order = _read(matrix, times)
    return _split(read, np.full(read.shape[0], n_last, dtype=np.int64), random_state, in_order)


def hold_out_by_id(
    matrix: MatrixLike, user_ids: IdIndex, item_ids: IdIndex, share: float
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Split off about ``share`` of each user's entries, by their ids alone; every user keeps one at least.

    What was held out from last week's data is held out from today's too, so that two models can be compared on entries
    that neither has seen. Of two shares, the smaller one's entries are among the larger one's.

    Args:
        matrix: shape (n_users, n_items), as for ``hold_out``.
        user_ids, item_ids: original ids of its rows and columns.
        share: in [0, 1).

    Returns:
        (train, held_out), both CSR of the same shape; their sum is ``matrix``.
    """
    _check_share(share)
    matrix = read_matrix(matrix, "matrix", shape=(len(user_ids), len(item_ids)))
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


def with_ties_broken(
    times: npt.NDArray[np.int64], matrix: sparse.csr_matrix, user_ids: IdIndex, item_ids: IdIndex
) -> npt.NDArray[np.int64]:
    """Times in the same order, of which hardly two are equal: which of a user's equally old entries is taken for newer
    depends on the ids alone.

    Plays that were imported without times are all of one moment. Drawn at random, other ones would be held out tomorrow
    than today, and a model would be compared with the live one on rows that this one was trained on.

    Args:
        times: one per stored entry of ``matrix``, which has shape (n_users, n_items).
    """
    if not len(times) or int(times.max()) - int(times.min()) >= 2 ** (63 - TIE_BITS):
        return times
    ages: npt.NDArray[np.int64] = times - times.min()
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    users, items = _hashes(user_ids), _hashes(item_ids)
    ages <<= TIE_BITS
    for start in range(0, matrix.nnz, ENTRIES_PER_BLOCK):
        part = slice(start, start + ENTRIES_PER_BLOCK)
        mixed = _mixed(users[rows[part]] ^ _mixed(items[matrix.indices[part]]))
        ages[part] |= (mixed >> np.uint64(64 - TIE_BITS)).astype(np.int64)
    return ages


def _check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise ParameterError(f"share must be in [0, 1), got {share}")


def _read(matrix: MatrixLike, times: npt.NDArray[Any] | None) -> tuple[sparse.csr_matrix, npt.NDArray[Any] | None]:
    """``matrix`` checked and in order, ``times`` in the order of its entries."""
    read = read_matrix(matrix, "matrix")
    if times is None:
        return read, None
    given: Any = matrix.matrix if hasattr(matrix, "matrix") else matrix
    if getattr(given, "format", None) != "csr":
        raise ParameterError(
            f"with times, matrix must be CSR (its entries' order is that of times), got {type(given).__name__}"
        )
    times = np.asarray(times)
    if times.shape != (given.nnz,):
        raise ParameterError(f"times must have one value per stored entry: {given.nnz}, got {len(times)}")
    if np.isnan(times).any():
        raise ParameterError(f"times must not be NaN, entry {int(np.argmax(np.isnan(times)))} is")
    places = sparse.csr_matrix((np.arange(given.nnz), given.indices, given.indptr), shape=given.shape, copy=True)
    places.sort_indices()
    order = places.data[given.data[places.data] != 0]
    if len(order) != read.nnz:
        raise ParameterError("with times, matrix must have nothing twice: a user and an item have one time")
    return read, times[order]


def _split(
    matrix: sparse.csr_matrix, n_held: npt.NDArray[np.int64], random_state: int, times: npt.NDArray[Any] | None
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    nnz = len(matrix.data)
    indptr = matrix.indptr.astype(np.int64)
    n_held = np.clip(n_held, 0, np.maximum(np.diff(indptr) - 1, 0))
    rng = np.random.default_rng(random_state)
    held = np.empty(nnz, dtype=bool)
    start = 0
    while start < matrix.shape[0]:
        # Whole rows, some millions of entries at a time: sorting all of them at once would take more memory than the
        # matrix.
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


def _entries(matrix: sparse.csr_matrix, chosen: npt.NDArray[np.bool_]) -> sparse.csr_matrix:
    """``matrix`` with its ``chosen`` stored entries alone."""
    before = np.zeros(len(chosen) + 1, dtype=matrix.indptr.dtype)
    np.cumsum(chosen, out=before[1:])
    made = sparse.csr_matrix((matrix.data[chosen], matrix.indices[chosen], before[matrix.indptr]), shape=matrix.shape)
    made.has_sorted_indices = matrix.has_sorted_indices
    return made


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
