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
from numba import float32, float64, int32, int64

from timbral.models.kernels.byte_sums import QUAD
from timbral.models.kernels.heap import heapify, offer, sort_best_first
from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.prefetch import prefetch_row
from timbral.models.search.coded_offers import HELD, WIDE_ITEMS, offer_held
from timbral.models.search.neighbor_sums import add_neighbors
from timbral.models.search.ruled_out import is_marked, is_out, mark
from timbral.models.search.score import MOST, nearly, recency_of, score_of, threshold_of
from timbral.models.search.top_k_parameters import (
    FACTORS,
    INDEX_BLOCKS,
    INDEX_CODES,
    LISTS,
    NEIGHBORS,
    OUT,
    RULED_OUT,
    SCRATCH,
)
from timbral.models.search.user_codes import code_user, split_user

__all__ = ["offer_touched"]

AHEAD: Final = 8
"""Items whose factors are on their way from memory while others are multiplied."""
WORTH_CODES: Final = 2
CODES_FROM: Final = 128
"""Of 64 items of the catalogue, how many must be left for the 64's codes to take less than the factors of these, and
the number of factors from which that is so."""

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


@_jit
def _most_held(play_indptr, plays, pair_indptr, start, stop, n_items):  # type: ignore[no-untyped-def]  # numba types it
    """How many items to have room for: all that may be touched, but no more than HELD or the catalogue."""
    n_pairs = 0
    for place in range(play_indptr[start], play_indptr[stop]):
        n_pairs += pair_indptr[plays[place] + 1] - pair_indptr[plays[place]]
    return min(n_pairs, max(HELD, n_items))


@_jit
def _highest(values):  # type: ignore[no-untyped-def]  # numba types it
    highest = np.float32(0.0)
    for value in values:
        highest = max(highest, value)
    return highest


@kernel(
    **FACTORS,
    codes=INDEX_CODES,  # ItemIndex's, as all of these
    steps=INDEX_BLOCKS,
    item_of=vector(int32),
    direction=vector(float64),
    group_lengths=matrix(float32),
    place_of=vector(int32),
    item_lengths=matrix(float32),
    **LISTS,
    **NEIGHBORS,
    **RULED_OUT,
    **SCRATCH,
    **OUT,
)
def offer_touched(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, codes, steps, item_of, direction, group_lengths, place_of, item_lengths, start,
    stop, play_indptr, plays, play_counts, pair_indptr, pair_items, pair_weights, seen_indptr, seen, blocked_indptr,
    blocked, barred, marks, sums, touched, out_items, out_scores, out_lengths,
):  # fmt: skip
    """Raise what is in the lists by what neighbours say for it, and put in what else they make good enough."""
    (n_items, n_components), n_users = item_rows.shape, stop - start
    has_recency, has_barred = len(recency) > 0, len(barred) > 0
    least_held = max(1, WORTH_CODES * n_items // WIDE_ITEMS)
    longest = _highest(group_lengths[0]), _highest(group_lengths[1])
    user_codes = np.zeros((n_users, codes.shape[1] * QUAD), np.int8)
    begins, bounds = np.empty(n_users, np.int32), np.empty((n_users, 4), np.float32)
    thresholds, is_held = np.empty(n_users, np.float32), np.zeros(n_users, np.bool_)
    may_hold, n_held = n_components >= CODES_FROM, 0
    n_room = _most_held(play_indptr, plays, pair_indptr, start, stop, n_items) if may_hold else 0
    places, users, said = np.empty(n_room, np.int32), np.empty(n_room, np.int32), np.empty(n_room)
    for row in range(start, stop):
        n_touched = add_neighbors(
            row, play_indptr, plays, play_counts, pair_indptr, pair_items, pair_weights, sums, touched
        )
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
        along, across = split_user(user, has_recency, direction)
        threshold = threshold_of(scores, size, n_components)
        n_kept = _keep_reaching(along, across, item_lengths, threshold, sums, touched, n_touched)
        # Where products may be too large for float32, codes tell nothing.
        if may_hold and n_kept >= least_held and along * longest[0] + across * longest[1] < MOST:
            number = row - start
            begins[number] = code_user(user, has_recency, direction, user_codes[number], bounds[number])
            thresholds[number], is_held[number] = threshold, True
            if n_held + n_kept > n_room:
                offer_held(
                    user_factors, item_rows, recency, codes, steps, item_of, user_codes, begins, bounds, start,
                    places[:n_held], users, said, thresholds, out_items, out_scores, out_lengths,
                )  # fmt: skip
                n_held = 0
            for place in range(n_kept):
                item = touched[place]
                places[n_held], users[n_held], said[n_held] = place_of[item], number, sums[item]
                sums[item] = 0.0
                # Not is_out, which counts references to its arrays: it takes longer than all else here.
                is_out_of_it = is_marked(marks[item], row)
                if has_barred:
                    is_out_of_it |= barred[item] != 0
                n_held += int(not is_out_of_it)
            continue
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
        out_lengths[row] = size
        sort_best_first(scores, items, size)
    if n_held > 0:
        offer_held(
            user_factors, item_rows, recency, codes, steps, item_of, user_codes, begins, bounds, start,
            places[:n_held], users, said, thresholds, out_items, out_scores, out_lengths,
        )  # fmt: skip
    for row in range(start, stop):
        if is_held[row - start]:
            sort_best_first(out_scores[row], out_items[row], out_lengths[row])
