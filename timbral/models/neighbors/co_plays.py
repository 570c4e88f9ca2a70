"""Which items are played by the same users: for each item the items most like it, and how much they share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from numba import boolean, float32, int32, int64, njit, uint16

from timbral.models.engine.sparse_rows import SparseRows
from timbral.models.kernels.heap import is_worse
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads, spans
from timbral.models.neighbors.short_floats import HALF, LEFT_OUT

__all__ = ["CoPlays"]

USER_EXPONENT: Final = 0.5
"""p: a user of n items says of any two of them n^-p that they go together."""

MOST_OF_A_USER: Final = 1_000
"""Items of one user that are looked at: what a user costs grows with the square of them."""

LEAST_ENTRY: Final = 0.01
"""Of x_u: no co-play is lost to rounding."""

PER_CANDIDATE: Final = 5
ROW: Final = 500
"""Items kept for each item: so many times its candidates, at most so many; fewer, but no fewer than its candidates,
where the catalogue is so large that ``TABLE_BYTES`` hold no more."""

TABLE_BYTES: Final = 600 * 2**20

SPANS_PER_THREAD: Final = 32

BUCKET_BITS: Final = np.uint32(18)
"""Of a float32, that its bucket does not tell: each octave has 32."""

BUCKETS: Final = 512
"""16 octaves from the highest score down; what is lower is in the last one."""


@dataclass(frozen=True)
class CoPlays:
    """G = Σ_u n_u^-p x_u x_uᵀ, of which each row's largest entries by G_ij / √(G_ii G_jj) are kept.

    ``items`` (n_items, width) int32: the first n_candidates are the largest of the row, in no order. ``values``
    (n_items, width) uint16: G_ij, see short_floats; ``lengths`` (n_items,) int64: how many places of a row are filled;
    the others hold anything. ``diagonal`` (n_items,) float32: G_ii.
    """

    items: npt.NDArray[np.int32]
    values: npt.NDArray[np.uint16]
    lengths: npt.NDArray[np.int64]
    diagonal: npt.NDArray[np.float32]

    @classmethod
    def of(cls, users: SparseRows, n_candidates: int, seed: int, threads: Threads, play_exponent: float = 0.0) -> Self:
        """Of ``users``' rows (users × items). The same on any number of threads.

        Args:
            play_exponent: e: an entry of x_u is its plays to the power of e, divided by the root of their mean square
                over the user's entries; where it is 0, how often somebody played an item does not count.
        """
        rows = _without_the_longest(users, seed)
        if play_exponent > 0.0:
            rows = replace(rows, values=_entries(rows, play_exponent))
        columns = rows.transposed()
        weights = np.maximum(np.diff(rows.indptr), 1) ** np.float32(-USER_EXPONENT)
        diagonal = np.zeros(rows.n_columns, dtype=np.float64)
        filled = np.diff(columns.indptr) > 0
        if filled.any():
            squares = weights[columns.indices]
            if play_exponent > 0.0:
                squares = squares * columns.values**2
            diagonal[filled] = np.add.reduceat(squares, columns.indptr[:-1][filled], dtype=np.float64)
        n_items = rows.n_columns
        kept = min(PER_CANDIDATE * n_candidates, ROW, TABLE_BYTES // (6 * n_items))
        width = min(n_items, max(n_candidates, kept))
        items = np.empty((n_items, width), dtype=np.int32)
        values = np.empty((n_items, width), dtype=np.uint16)
        lengths = np.zeros(n_items, dtype=np.int64)
        roots = np.sqrt(np.maximum(diagonal, 1e-30)).astype(np.float32)
        parts = spans(columns.indptr, 1.0, SPANS_PER_THREAD * threads.n_threads)
        threads.run(
            lambda start, stop: _co_plays(
                rows.indptr, rows.indices, rows.values, weights.astype(np.float32), columns.indptr, columns.indices,
                columns.values, play_exponent > 0.0, roots, n_candidates, start, stop, items, values, lengths,
            ),
            parts,
        )  # fmt: skip
        return cls(items, values, lengths, diagonal.astype(np.float32))


def _without_the_longest(rows: SparseRows, seed: int) -> SparseRows:
    """Of a user with more than ``MOST_OF_A_USER`` entries, as many of them, at random."""
    counts = np.diff(rows.indptr)
    if counts.max(initial=0) <= MOST_OF_A_USER:
        return rows
    rng = np.random.default_rng(seed)
    kept = np.ones(len(rows.indices), dtype=bool)
    for user in np.flatnonzero(counts > MOST_OF_A_USER).tolist():
        dropped = rng.permutation(counts[user])[MOST_OF_A_USER:]
        kept[rows.indptr[user] + dropped] = False
    return rows.only(kept)


def _entries(rows: SparseRows, exponent: float) -> npt.NDArray[np.float32]:
    """x_u: float32 (n_entries,), none below ``LEAST_ENTRY``."""
    counts = np.diff(rows.indptr)
    filled = counts > 0
    logarithms = np.log(rows.values.astype(np.float64))
    logarithms -= np.repeat(_of_rows(np.maximum, logarithms, rows, filled), counts)  # or a power might be infinite
    entries = np.exp(exponent * logarithms)
    squares = _of_rows(np.add, entries**2, rows, filled) / np.maximum(counts, 1)
    return np.maximum(entries / np.sqrt(np.repeat(squares, counts)), LEAST_ENTRY).astype(np.float32)


def _of_rows(
    reduced: np.ufunc, values: npt.NDArray[np.float64], rows: SparseRows, filled: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Each row's ``values`` reduced to one, 0 where it has none: float64 (n_rows,)."""
    found = np.zeros(rows.n_rows)
    if filled.any():
        found[filled] = reduced.reduceat(values, rows.indptr[:-1][filled])
    return found


@njit(nogil=True, boundscheck=False)
def _select(scores, items, begin, size, n_best):  # type: ignore[no-untyped-def]  # numba types it
    """Of the entries from ``begin`` to ``size``, bring the best to the front, so that the first ``n_best`` of all are
    in place, in no order (Hoare's quickselect)."""
    low, high = begin, size - 1
    while low < high:
        middle = (low + high) // 2
        pivot, pivot_item = scores[middle], items[middle]
        left, right = low, high
        while left <= right:
            while is_worse(pivot, pivot_item, scores[left], items[left]):
                left += 1
            while is_worse(scores[right], items[right], pivot, pivot_item):
                right -= 1
            if left <= right:
                scores[left], scores[right] = scores[right], scores[left]
                items[left], items[right] = items[right], items[left]
                left, right = left + 1, right - 1
        if n_best <= right:
            high = right
        elif n_best >= left:
            low = left
        else:
            break


@njit(nogil=True, boundscheck=False)
def _partition(scores, items, size, bits, least):  # type: ignore[no-untyped-def]  # numba types it
    """Bring the entries to the front whose ``bits`` are no less than ``least``; returns how many there are. All are
    swapped, if with themselves: to ask would be to guess wrong as often as not."""
    n_left = 0
    for place in range(size):
        score, item, word = scores[place], items[place], bits[place]
        scores[place], items[place] = scores[n_left], items[n_left]
        scores[n_left], items[n_left] = score, item
        n_left += word >= least
    return n_left


@njit(nogil=True, boundscheck=False)
def _select_of_many(scores, items, size, n_best, counts):  # type: ignore[no-untyped-def]  # numba types it
    """As ``_select``, of scores that are all above 0: they are counted by their exponents and first bits (``counts``),
    and only those that have the last one's are compared."""
    bits = scores.view(np.uint32)  # of positive numbers, in their order
    highest = np.uint32(0)
    for place in range(size):
        highest = max(highest, bits[place])
    top = highest >> BUCKET_BITS
    counts[:] = 0
    for place in range(size):
        counts[min(top - (bits[place] >> BUCKET_BITS), np.uint32(BUCKETS - 1))] += 1
    n_above, bucket = 0, 0
    while n_above + counts[bucket] < n_best:
        n_above += counts[bucket]
        bucket += 1
    if bucket == BUCKETS - 1:
        _select(scores, items, 0, size, n_best)
        return
    least = (top - np.uint32(bucket)) << BUCKET_BITS
    n_left = _partition(scores, items, size, bits, least)
    n_left_above = _partition(scores, items, n_left, bits, least + (np.uint32(1) << BUCKET_BITS))
    _select(scores, items, n_left_above, n_left, n_best)


@kernel(
    user_indptr=vector(int64),  # (n_users + 1,)
    user_items=vector(int32),  # (n_entries,): what each user played
    user_entries=vector(float32),  # (n_entries,): x_u
    user_weight=vector(float32),  # (n_users,): n_u^-p
    item_indptr=vector(int64),  # (n_items + 1,)
    item_users=vector(int32),  # (n_entries,): who played each item
    item_entries=vector(float32),  # (n_entries,): x_u
    plays_count=boolean,  # whether x_u is to be looked at; else it is 1
    roots=vector(float32),  # (n_items,): √G_ii
    n_candidates=int64,  # of each row, come first
    start=int64,  # first row to make
    stop=int64,  # the row behind the last
    items=matrix(int32, writable=True),  # (n_items, width): CoPlays' items, out
    values=matrix(uint16, writable=True),  # (n_items, width): its values, out
    lengths=vector(int64, writable=True),  # (n_items,): its lengths, out
    boundscheck=False,
)
def _co_plays(  # type: ignore[no-untyped-def]  # numba types it
    user_indptr, user_items, user_entries, user_weight, item_indptr, item_users, item_entries, plays_count, roots,
    n_candidates, start, stop, items, values, lengths,
):  # fmt: skip
    """Rows ``start`` to ``stop`` of ``items``, ``values`` and ``lengths``; ``roots`` are √G_ii."""
    n_items, width = len(roots), items.shape[1]
    total = np.zeros(n_items, np.float32)
    bits = total.view(np.uint32)
    touched = np.empty(n_items + 1, np.int32)
    others, likeness = np.empty(n_items + 1, np.int32), np.empty(n_items + 1, np.float32)
    counts = np.empty(BUCKETS, np.int32)
    for item in range(start, stop):
        n_touched = 0
        for place in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[place]
            weight = user_weight[user]
            if plays_count:
                weight *= item_entries[place]
                for entry in range(user_indptr[user], user_indptr[user + 1]):
                    other = user_items[entry]
                    before = total[np.uint32(other)]
                    touched[n_touched] = other
                    n_touched += before == 0
                    total[np.uint32(other)] = before + weight * user_entries[entry]
                continue
            for other in user_items[user_indptr[user] : user_indptr[user + 1]]:
                before = total[np.uint32(other)]
                touched[n_touched] = other  # written down each time, which is cheaper than to ask whether it is new
                n_touched += before == 0
                total[np.uint32(other)] = before + weight
        size = 0
        for place in range(n_touched):
            other = touched[place]
            others[size] = other
            likeness[size] = total[other] / roots[other]
            size += other != item
        length = min(size, width)
        if size > width:
            _select_of_many(likeness, others, size, width, counts)
        if length > n_candidates:
            _select_of_many(likeness, others, length, n_candidates, counts)
        for place in range(length):
            items[item, place] = others[place]
            values[item, place] = (bits[others[place]] + HALF) >> LEFT_OUT
        lengths[item] = length
        for place in range(n_touched):
            total[touched[place]] = 0
