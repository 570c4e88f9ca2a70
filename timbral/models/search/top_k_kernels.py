"""Compiled loops of ``timbral.models.search.top_k`` that look at each item that may be in a list.

``timbral.models.search.top_k_parameters`` has the parameters that the kernels share.

A list under construction is a heap with its worst entry on top: the lowest score, of equal scores the highest item.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, int64

from timbral.models.kernels.heap import offer, sort_best_first
from timbral.models.kernels.kernel import kernel, vector
from timbral.models.search.neighbor_sums import add_neighbors, clear, count_of
from timbral.models.search.ruled_out import is_out, mark
from timbral.models.search.score import nearly, recency_of, score_of, threshold_of
from timbral.models.search.top_k_parameters import FACTORS, LISTS, NEIGHBORS, OUT, RULED_OUT, SCRATCH

__all__ = ["score_pairs", "search_all", "search_listed"]


@kernel(**FACTORS, **LISTS, **NEIGHBORS, **RULED_OUT, **SCRATCH, **OUT)
def search_all(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, start, stop, play_indptr, plays, play_counts, pair_indptr, pair_items,
    pair_weights, seen_indptr, seen, blocked_indptr, blocked, barred, marks, sums, touched, out_items, out_scores,
    out_lengths,
):  # fmt: skip
    """Lists, each score computed: for few users, for whom no index is worth making."""
    n_items, n_components = item_rows.shape
    for row in range(start, stop):
        n_touched = add_neighbors(
            row, play_indptr, plays, play_counts, pair_indptr, pair_items, pair_weights, sums, touched
        )
        mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        scores, items, size = out_scores[row], out_items[row], 0
        user, threshold = user_factors[row], np.float32(-1.0)
        for item in range(n_items):
            if nearly(user, item_rows[item]) + recency_of(recency, item) + np.float32(sums[item]) < threshold:
                continue
            if not is_out(item, row, barred, marks):
                size = offer(scores, items, size, score_of(user, item_rows, item, recency, sums[item]), item)
                threshold = threshold_of(scores, size, n_components)
        clear(sums, touched, n_touched)
        sort_best_first(scores, items, size)
        out_lengths[row] = size


@kernel(
    **FACTORS,
    listed_start=vector(int64),  # (n_users,): where a user's items begin
    listed_stop=vector(int64),  # (n_users,): and the place behind their last
    listed=vector(int32),  # (n_listed,): the only items that may be in the lists
    **LISTS,
    **NEIGHBORS,
    **RULED_OUT,
    **SCRATCH,
    **OUT,
)
def search_listed(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, listed_start, listed_stop, listed, start, stop, play_indptr, plays, play_counts,
    pair_indptr, pair_items, pair_weights, seen_indptr, seen, blocked_indptr, blocked, barred, marks, sums, touched,
    out_items, out_scores, out_lengths,
):  # fmt: skip
    """Lists, each from the items ``listed[listed_start[row] : listed_stop[row]]``."""
    n_components = user_factors.shape[1]
    for row in range(start, stop):
        n_touched = add_neighbors(
            row, play_indptr, plays, play_counts, pair_indptr, pair_items, pair_weights, sums, touched
        )
        mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        scores, items, size = out_scores[row], out_items[row], 0
        user, threshold = user_factors[row], np.float32(-1.0)
        for place in range(listed_start[row], listed_stop[row]):
            item = listed[place]
            if is_out(item, row, barred, marks):
                continue
            marks[item] = row + 1  # an item that is listed twice is taken once
            if nearly(user, item_rows[item]) + recency_of(recency, item) + np.float32(sums[item]) >= threshold:
                size = offer(scores, items, size, score_of(user, item_rows, item, recency, sums[item]), item)
                threshold = threshold_of(scores, size, n_components)
        clear(sums, touched, n_touched)
        sort_best_first(scores, items, size)
        out_lengths[row] = size


@kernel(
    **FACTORS,
    users=vector(int64),  # (n,): rows of user_factors
    items=vector(int64),  # (n,): rows of item_rows
    **NEIGHBORS,
    scores=vector(float32, writable=True),  # (n,): out
)
def score_pairs(  # type: ignore[no-untyped-def]  # numba types it
    user_factors, item_rows, recency, users, items, play_indptr, plays, play_counts, pair_indptr, pair_items,
    pair_weights, scores,
):  # fmt: skip
    """``scores[n]``: the very score by which a list has ``items[n]`` for ``users[n]``."""
    for n in range(len(users)):
        user, item = users[n], items[n]
        neighbors = 0.0
        for place in range(play_indptr[user], play_indptr[user + 1]):
            low, high = pair_indptr[plays[place]], pair_indptr[plays[place] + 1]
            end = high
            while low < high:
                middle = (low + high) // 2
                if pair_items[middle] < item:
                    low = middle + 1
                else:
                    high = middle
            if low < end and pair_items[low] == item and pair_weights[low] > 0:
                neighbors += count_of(play_counts, place) * np.float64(pair_weights[low])
        scores[n] = score_of(user_factors[user], item_rows, item, recency, neighbors)
