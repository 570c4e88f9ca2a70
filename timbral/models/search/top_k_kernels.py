"""Compiled loops of ``timbral.models.search.top_k``.

A list under construction is a heap with its worst entry on top: the lowest score, of equal scores the highest item.

A score that decides is always the exact one (``_score_of``); the index is searched with float32 sums, which of terms that
are not negative are wrong by at most ``n_components`` roundings, relatively. ``_threshold`` leaves room for twice as much.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, int32, int64, types

from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.kernels.vector_sum import LANES, UNROLLED, WIDE, weighted_sums, weighted_sums_of_blocks
from timbral.models.search.item_index import BLOCK_ITEMS, GROUP_BLOCKS

EXCLUDED = -1
ROUND_SHARE = np.float32(0.7)
MAX_ROUNDS = 8
ALL_WIDE = (1 << WIDE) - 1
LOW_63_BITS = (1 << 63) - 1  # a shift to the right repeats the sign
TINY = np.float32(1e-37)  # what float32 may lose where products are below its normal range

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises
_reordering_jit = numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})

_BLOCKS = types.Array(float32, 3, "C", readonly=True)
_ROWS = vector(int64), vector(int32)
_RULED_OUT = (*_ROWS, *_ROWS, vector(int32, writable=True))
_OUT = matrix(int32, writable=True), matrix(float32, writable=True), vector(int64, writable=True)


@_jit
def _is_worse(score, item, other_score, other_item):  # type: ignore[no-untyped-def]
    return score < other_score or (score == other_score and item > other_item)


@_jit
def _sink(scores, items, size, place):  # type: ignore[no-untyped-def]
    """Restore the heap below ``place``."""
    score, item = scores[place], items[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and _is_worse(scores[child + 1], items[child + 1], scores[child], items[child]):
            child += 1
        if not _is_worse(scores[child], items[child], score, item):
            break
        scores[place], items[place] = scores[child], items[child]
        place = child
    scores[place], items[place] = score, item


@_jit
def _offer(scores, items, size, score, item):  # type: ignore[no-untyped-def]
    """Put an entry into the heap if it is good enough; the heap's new size."""
    if size < len(scores):
        place = size
        while place > 0:
            parent = (place - 1) // 2
            if not _is_worse(score, item, scores[parent], items[parent]):
                break
            scores[place], items[place] = scores[parent], items[parent]
            place = parent
        scores[place], items[place] = score, item
        return size + 1
    if _is_worse(scores[0], items[0], score, item):
        scores[0], items[0] = score, item
        _sink(scores, items, size, 0)
    return size


@_jit
def _sort_best_first(scores, items, size):  # type: ignore[no-untyped-def]
    while size > 1:
        size -= 1
        scores[0], scores[size] = scores[size], scores[0]
        items[0], items[size] = items[size], items[0]
        _sink(scores, items, size, 0)


@_jit
def _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked):  # type: ignore[no-untyped-def]
    for place in range(seen_indptr[row], seen_indptr[row + 1]):
        if marks[seen[place]] != EXCLUDED:
            marks[seen[place]] = row + 1
    for place in range(blocked_indptr[row], blocked_indptr[row + 1]):
        if marks[blocked[place]] != EXCLUDED:
            marks[blocked[place]] = row + 1


@_jit
def _score_of(user, item):  # type: ignore[no-untyped-def]
    total = 0.0
    for component in range(len(user)):
        total += np.float64(user[component]) * np.float64(item[component])
    return np.float32(total)


@_jit
def _score_in_block(weights, components, n_weights, block, lane):  # type: ignore[no-untyped-def]
    """``_score_of``, leaving out the components that are zero in the user's vector: they change no sum."""
    total = 0.0
    for place in range(n_weights):
        total += np.float64(weights[place]) * np.float64(block[components[place], lane])
    return np.float32(total)


@_reordering_jit
def _nearly(user, item):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for component in range(len(user)):
        total += user[component] * item[component]
    return total


@_jit
def _threshold(scores, size, n_components):  # type: ignore[no-untyped-def]
    """What a float32 sum must reach for its item to have a chance."""
    if size < len(scores):
        return np.float32(-1.0)
    slack = np.float32((n_components + 4) * 2.0**-22)
    return scores[0] * (np.float32(1.0) - slack) - TINY


@kernel(matrix(float32), _BLOCKS, vector(int32), _BLOCKS, matrix(float32), int64, int64, *_RULED_OUT, *_OUT)
def search_index(  # type: ignore[no-untyped-def]
    user_factors,
    packed,
    item_of,
    block_ceilings,
    group_ceilings,
    start,
    stop,
    seen_indptr,
    seen,
    blocked_indptr,
    blocked,
    marks,
    out_items,
    out_scores,
    out_lengths,
):
    """Lists for the users ``start`` to ``stop``.

    Groups of items are visited in rounds, for each user the ones with the highest ceilings first. All users of a round
    share the group that is in the cache.
    """
    n_users, n_components, n_groups = stop - start, user_factors.shape[1], len(block_ceilings)
    weights = np.zeros((n_users, n_components + UNROLLED), np.float32)
    components = np.zeros((n_users, n_components + UNROLLED), np.int64)
    n_weights = np.zeros(n_users, np.int64)
    ceilings = np.empty((n_users, group_ceilings.shape[1]), np.float32)
    upper, lower = np.empty(n_users, np.float32), np.empty(n_users, np.float32)
    thresholds = np.empty(n_users, np.float32)
    sums = np.empty(WIDE * LANES, np.float32)
    for user in range(n_users):
        size = 0
        for component in range(n_components):
            if user_factors[start + user, component] != 0:
                weights[user, size] = user_factors[start + user, component]
                components[user, size] = component
                size += 1
        # What is left of the last four has weight 0 and reads component 0.
        n_weights[user] = -(-size // UNROLLED) * UNROLLED
        out_lengths[start + user] = 0
        thresholds[user] = -1.0
        highest = np.float32(0.0)
        for first in range(0, group_ceilings.shape[1], LANES):
            weighted_sums(
                weights[user], components[user], n_weights[user], group_ceilings, first, 0.0, ceilings[user, first:]
            )
        for group in range(n_groups):
            highest = max(highest, ceilings[user, group])
        upper[user] = np.inf
        lower[user] = highest * ROUND_SHARE
    is_left, n_rounds = True, 0
    while is_left:
        n_rounds += 1
        is_left, is_last = False, n_rounds >= MAX_ROUNDS - 1
        for group in range(n_groups):
            for user in range(n_users):
                ceiling = ceilings[user, group]
                if ceiling < lower[user] or ceiling >= upper[user] or ceiling < thresholds[user]:
                    continue
                row = start + user
                scores, items, size = out_scores[row], out_items[row], out_lengths[row]
                threshold, is_marked = thresholds[user], False
                w, c, n = weights[user], components[user], n_weights[user]
                for first in range(0, GROUP_BLOCKS, LANES):
                    blocks = weighted_sums(w, c, n, block_ceilings[group], first, threshold, sums)
                    block = group * GROUP_BLOCKS + first
                    while blocks != 0:
                        if blocks & 1 == 0:
                            blocks >>= 1
                            block += 1
                            continue
                        if blocks & ALL_WIDE == ALL_WIDE:
                            lanes = weighted_sums_of_blocks(w, c, n, packed, block, threshold, sums)
                            n_done = WIDE
                        else:
                            lanes = weighted_sums(w, c, n, packed[block], 0, threshold, sums)
                            n_done = 1
                        if lanes != 0 and not is_marked:
                            _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
                            is_marked = True
                        for lane in range(n_done * LANES):
                            if lanes == 0:
                                break
                            is_high = lanes & 1
                            lanes = (lanes >> 1) & LOW_63_BITS
                            item = item_of[block * BLOCK_ITEMS + lane]
                            if not is_high or sums[lane] < threshold or item < 0:
                                continue
                            if marks[item] == EXCLUDED or marks[item] == row + 1:
                                continue
                            score = _score_in_block(w, c, n, packed[block + lane // LANES], lane % LANES)
                            size = _offer(scores, items, size, score, item)
                            threshold = _threshold(scores, size, n_components)
                        blocks >>= n_done
                        block += n_done
                out_lengths[row], thresholds[user] = size, threshold
        for user in range(n_users):
            upper[user] = lower[user]
            lower[user] = np.float32(-1.0) if is_last else lower[user] * ROUND_SHARE
            if upper[user] >= 0 and upper[user] >= thresholds[user]:
                is_left = True
            else:
                upper[user] = np.float32(-1.0)
    for row in range(start, stop):
        _sort_best_first(out_scores[row], out_items[row], out_lengths[row])


@kernel(matrix(float32), matrix(float32), vector(int32), int64, int64, *_RULED_OUT, *_OUT)
def search_all(  # type: ignore[no-untyped-def]
    user_factors,
    item_rows,
    item_of,
    start,
    stop,
    seen_indptr,
    seen,
    blocked_indptr,
    blocked,
    marks,
    out_items,
    out_scores,
    out_lengths,
):
    """Lists for the users ``start`` to ``stop``, each score computed: for few users, for whom no index is worth making.

    ``item_rows`` (n_items, n_components) are the item factors, an item a row.
    """
    n_items, n_components = item_rows.shape
    for row in range(start, stop):
        _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        scores, items, size = out_scores[row], out_items[row], 0
        user, threshold = user_factors[row], np.float32(-1.0)
        for place in range(n_items):
            if _nearly(user, item_rows[place]) >= threshold:
                item = item_of[place]
                if marks[item] != EXCLUDED and marks[item] != row + 1:
                    size = _offer(scores, items, size, _score_of(user, item_rows[place]), item)
                    threshold = _threshold(scores, size, n_components)
        _sort_best_first(scores, items, size)
        out_lengths[row] = size


@kernel(matrix(float32), matrix(float32), *_ROWS, int64, int64, *_RULED_OUT, *_OUT)
def search_listed(  # type: ignore[no-untyped-def]
    user_factors,
    item_rows,
    listed_indptr,
    listed,
    start,
    stop,
    seen_indptr,
    seen,
    blocked_indptr,
    blocked,
    marks,
    out_items,
    out_scores,
    out_lengths,
):
    """Lists for the users ``start`` to ``stop``, each from the items that are listed for the user."""
    for row in range(start, stop):
        _mark(marks, row, seen_indptr, seen, blocked_indptr, blocked)
        scores, items, size = out_scores[row], out_items[row], 0
        for place in range(listed_indptr[row], listed_indptr[row + 1]):
            item = listed[place]
            if marks[item] != EXCLUDED and marks[item] != row + 1:
                marks[item] = row + 1  # an item that is listed twice is taken once
                size = _offer(scores, items, size, _score_of(user_factors[row], item_rows[item]), item)
        _sort_best_first(scores, items, size)
        out_lengths[row] = size
