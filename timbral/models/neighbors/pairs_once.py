"""The pairs of items that a table of co-plays has, each in one row alone.

What a fit of weights costs is to look through the rows of all of an item's candidates for what they share with each
other. Most pairs stand in both of their rows, and those of well-known items, who are everybody's candidates, are looked
through again and again: so a pair goes to the row of the one that is a candidate less often. Only there its value is
kept: in a large catalogue a value in both rows is a third of a gigabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64, njit, uint64

from timbral.models.kernels.bits import lowest_bit
from timbral.models.kernels.heap import is_worse
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads, spans
from timbral.models.neighbors.co_plays import CoPlays

__all__ = ["WORD", "PairsOnce"]

SPANS_PER_THREAD = 16
WORD = 64

BLOCK_ITEMS = 1 << 15
"""Items whose candidates are counted at a time: numpy makes int64 of them first."""


@dataclass(frozen=True)
class PairsOnce:
    """Of CoPlays' table ``items`` and ``lengths``, the places whose pair is row i's: bit ``place % 64`` of
    ``owned[i, place // 64]`` (uint64). Their values, G's entries in the order of the places, are
    ``values[indptr[i] : indptr[i + 1]]`` (float32). ``diagonal`` (n_items,) float32 is G's.
    """

    items: npt.NDArray[np.int32]
    lengths: npt.NDArray[np.int64]
    diagonal: npt.NDArray[np.float32]
    owned: npt.NDArray[np.uint64]
    indptr: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    @classmethod
    def of(cls, co_plays: CoPlays, n_candidates: int, threads: Threads) -> Self:
        """Of ``co_plays``, of each of whose rows the first ``n_candidates`` are candidates."""
        n_items, width = co_plays.items.shape
        asked = np.zeros(n_items, np.int64)
        for start in range(0, n_items, BLOCK_ITEMS):
            rows = co_plays.items[start : start + BLOCK_ITEMS, :n_candidates]
            filled = np.arange(rows.shape[1]) < co_plays.lengths[start : start + BLOCK_ITEMS, None]
            asked += np.bincount(rows[filled], minlength=n_items)
        roots = np.sqrt(np.maximum(co_plays.diagonal, np.float32(1e-30)))
        parts = spans(np.arange(n_items + 1) * width, 0.0, SPANS_PER_THREAD * threads.n_threads)
        counts = np.zeros(n_items, np.int64)
        owned = np.zeros((n_items, -(-width // WORD)), np.uint64)
        table = co_plays.items, co_plays.values, co_plays.lengths
        threads.run(lambda start, stop: _own(*table, roots, asked, start, stop, owned, counts), parts)
        indptr = np.concatenate(([0], np.cumsum(counts)))
        values = np.empty(indptr[-1], np.float32)
        threads.run(lambda start, stop: _copy_owned(co_plays.values, owned, indptr, start, stop, values), parts)
        return cls(co_plays.items, co_plays.lengths, co_plays.diagonal, owned, indptr, values)


@njit(nogil=True, boundscheck=False)
def _has(items, values, roots, lengths, row, item, value):  # type: ignore[no-untyped-def]  # numba types it
    """Whether ``row`` has ``item``, whose entry is ``value``: all rows with places left have all of their pairs, and
    the others end with the worst that they have."""
    last = items.shape[1] - 1
    if lengths[row] <= last:
        return True
    worst = items[row, last]
    return not is_worse(value / roots[item], item, values[row, last] / roots[worst], worst)


@kernel(
    items=matrix(int32),  # (n_items, width): CoPlays' items
    values=matrix(float32),  # (n_items, width): its values
    lengths=vector(int64),  # (n_items,): its lengths
    roots=vector(float32),  # (n_items,): √G_ii
    asked=vector(int64),  # (n_items,): of how many items it is a candidate
    start=int64,  # first row
    stop=int64,  # the row behind the last
    owned=matrix(uint64, writable=True),  # (n_items, width / 64): all 0 before, PairsOnce's, out
    counts=vector(int64, writable=True),  # (n_items,): how many pairs are each row's, out
    boundscheck=False,
)
def _own(items, values, lengths, roots, asked, start, stop, owned, counts):  # type: ignore[no-untyped-def]  # numba types it
    """Which pairs of rows ``start`` to ``stop`` stay theirs."""
    for item in range(start, stop):
        size = 0
        for place in range(lengths[item]):
            other, value = items[item, place], values[item, place]
            is_others = asked[other] < asked[item] or (asked[other] == asked[item] and other < item)
            if is_others and _has(items, values, roots, lengths, other, item, value):
                continue
            owned[item, place // WORD] |= uint64(1) << uint64(place % WORD)
            size += 1
        counts[item] = size


@kernel(
    values=matrix(float32),  # (n_items, width): CoPlays'
    owned=matrix(uint64),  # (n_items, width / 64): PairsOnce's
    indptr=vector(int64),  # (n_items + 1,): PairsOnce's
    start=int64,  # first row
    stop=int64,  # the row behind the last
    kept=vector(float32, writable=True),  # (n_pairs,): PairsOnce's values, out
    boundscheck=False,
)
def _copy_owned(values, owned, indptr, start, stop, kept):  # type: ignore[no-untyped-def]  # numba types it
    for item in range(start, stop):
        pair = indptr[item]
        for word in range(owned.shape[1]):
            bits = owned[item, word]
            while bits != 0:
                kept[pair] = values[item, word * WORD + lowest_bit(bits)]
                pair += 1
                bits &= bits - uint64(1)
