"""The pairs of items that a table of co-plays has, each in one row alone.

What a fit of weights costs is to look through the rows of all of an item's candidates for what they share with each
other. Most pairs stand in both of their rows, and those of well-known items, who are everybody's candidates, are looked
through again and again: so a pair goes to the row of the one that is a candidate less often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64, njit

from timbral.models.kernels.heap import is_worse
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.threads import Threads, spans
from timbral.models.neighbors.co_plays import CoPlays

__all__ = ["PairsOnce"]

SPANS_PER_THREAD = 16

BLOCK_ITEMS = 1 << 15
"""Items whose candidates are counted at a time: numpy makes int64 of them first."""


@dataclass(frozen=True)
class PairsOnce:
    """Item i's pairs are ``items[indptr[i] : indptr[i + 1]]`` (int32), G's entries ``values`` (float32)."""

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
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
        kept = np.zeros(n_items, np.int64)
        table = co_plays.items, co_plays.values, roots, asked, co_plays.lengths
        empty = np.empty(0, np.int32), np.empty(0, np.float32)
        threads.run(lambda start, stop: _keep(*table, start, stop, kept, False, *empty), parts)
        indptr = np.concatenate(([0], np.cumsum(kept)))
        found = cls(indptr, np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32))
        threads.run(
            lambda start, stop: _keep(*table, start, stop, indptr[:-1].copy(), True, found.items, found.values), parts
        )
        return found


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
    roots=vector(float32),  # (n_items,): √G_ii
    asked=vector(int64),  # (n_items,): of how many items it is a candidate
    lengths=vector(int64),  # (n_items,): CoPlays' lengths
    start=int64,  # first row
    stop=int64,  # the row behind the last
    ends=vector(int64, writable=True),  # (n_items,): where the next pair of a row goes; counted up
    is_written=int64,  # whether pairs are written, or counted only
    kept_items=vector(int32, writable=True),  # (n_pairs,): out
    kept_values=vector(float32, writable=True),  # (n_pairs,): out
    boundscheck=False,
)
def _keep(  # type: ignore[no-untyped-def]  # numba types it
    items, values, roots, asked, lengths, start, stop, ends, is_written, kept_items, kept_values
):  # fmt: skip
    """Counts ``ends`` of rows ``start`` to ``stop`` up by the pairs that stay in them; writes them there, too."""
    for item in range(start, stop):
        for place in range(lengths[item]):
            other, value = items[item, place], values[item, place]
            is_others = asked[other] < asked[item] or (asked[other] == asked[item] and other < item)
            if is_others and _has(items, values, roots, lengths, other, item, value):
                continue
            if is_written:
                kept_items[ends[item]] = other
                kept_values[ends[item]] = value
            ends[item] += 1
