"""Lists by factors and recency alone, turned into those of the whole score.

Neighbours speak for few items and take from none. So what is in a list and not spoken for, was in the list by factors
alone; and once those in it have been raised, its worst score is a threshold that few others reach. Most are passed over
by a bound: w·h + r is at most the product of two lengths along the items' mean direction and that of two across it
(``timbral.models.search.item_index``), which takes three numbers of an item instead of all its factors.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
from numba import float32, float64, int64

from timbral.models.kernels.heap import heapify, offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.prefetch import prefetch_row
from timbral.models.search.neighbor_sums import add_neighbors
from timbral.models.search.ruled_out import is_out, mark
from timbral.models.search.score import nearly, recency_of, score_of, threshold_of
from timbral.models.search.top_k_parameters import FACTORS, LISTS, NEIGHBORS, OUT, RULED_OUT, SCRATCH
from timbral.models.search.user_codes import split_user

__all__ = ["offer_touched"]

AHEAD: Final = 8
"""Items whose factors are on their way from memory while others are multiplied."""

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def _keep_reaching(along, across, item_lengths, threshold, sums, touched, n_touched):  # type: ignore[no-untyped-def]  # numba types it
    """Bring those of ``touched`` to the front that may reach ``threshold``, set the sums of the others back, and return
    how many may."""
    n_kept = 0
    for place in range(n_touched):
        item = touched[place]
        neighbors = sums[item]
        reach = along * item_lengths[item, 0] + across * item_lengths[item, 1] + np.float32(neighbors)
        # No branch, as nothing foresees it. Not "at least": what is no number may be anything. A sum of 0 was set back.
        is_kept = (not reach < threshold) & (neighbors != 0)
        touched[n_kept] = item
        sums[item] = neighbors if is_kept else 0.0
        n_kept += int64(is_kept)
    return n_kept


@kernel(
    **FACTORS,
    direction=vector(float64),  # ItemIndex's
    item_lengths=matrix(float32),  # (n_items, 2): ItemIndex's
    **LISTS,
    **NEIGHBORS,
    **RULED_OUT,
    **SCRATCH,
    **OUT,
)
def offer_touched(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, direction, item_lengths, start, stop, play_indptr, plays, pair_indptr,
    pair_items, pair_weights, seen_indptr, seen, blocked_indptr, blocked, barred, marks, sums, touched, out_items,
    out_scores, out_lengths,
):  # fmt: skip
    """Raise what is in the lists by what neighbours say for it, and put in what else they make good enough."""
    n_components = user_factors.shape[1]
    for row in range(start, stop):
        n_touched = add_neighbors(row, play_indptr, plays, pair_indptr, pair_items, pair_weights, sums, touched)
        if n_touched == 0:
            continue
        mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        user, scores, items, size = user_factors[row], out_scores[row], out_items[row], out_lengths[row]
        for place in range(size):
            item = items[place]
            if sums[item] > 0:
                scores[place] = score_of(user, item_rows, item, recency, sums[item])
                sums[item] = 0.0  # it is not to be offered once more
        heapify(scores, items, size)
        along, across = split_user(user, len(recency) > 0, direction)
        threshold = threshold_of(scores, size, n_components)
        n_kept = _keep_reaching(along, across, item_lengths, threshold, sums, touched, n_touched)
        for place in range(n_kept):
            if place + AHEAD < n_kept:
                prefetch_row(item_rows, touched[place + AHEAD])
            item = touched[place]
            neighbors = sums[item]
            sums[item] = 0.0
            near = nearly(user, item_rows[item]) + recency_of(recency, item) + np.float32(neighbors)
            if near >= threshold and not is_out(item, row, barred, marks):
                size = offer(scores, items, size, score_of(user, item_rows, item, recency, neighbors), item)
                threshold = threshold_of(scores, size, n_components)
        sort_best_first(scores, items, size)
