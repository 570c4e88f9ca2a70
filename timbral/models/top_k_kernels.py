"""Compiled loops of ``timbral.models.top_k``.

A list under construction is a heap with its worst entry on top: the lowest score, of equal scores the highest item.
"""

from __future__ import annotations

import numba
import numpy as np

EXCLUDED = -1
TILE_ITEMS = 512

_jit = numba.njit(nogil=True, cache=True)


@_jit
def _is_worse(score, item, other_score, other_item):
    return score < other_score or (score == other_score and item > other_item)


@_jit
def _sink(scores, items, size, place):
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
def _offer(scores, items, size, score, item):
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
def _sort_best_first(scores, items, size):
    while size > 1:
        size -= 1
        scores[0], scores[size] = scores[size], scores[0]
        items[0], items[size] = items[size], items[0]
        _sink(scores, items, size, 0)


@_jit
def _mark(marks, mark, indptr, indices, row):
    for place in range(indptr[row], indptr[row + 1]):
        if marks[indices[place]] != EXCLUDED:
            marks[indices[place]] = mark


@_jit
def exact_score(user, item_factors, item):
    total = 0.0
    for component in range(len(user)):
        total += np.float64(user[component]) * np.float64(item_factors[component, item])
    return np.float32(total)


@_jit
def best_of_all(
    user_factors, item_factors, start, stop, seen_indptr, seen, blocked_indptr, blocked, marks, out_items, out_scores, out_lengths
):
    n_components, n_items = item_factors.shape
    totals = np.empty(TILE_ITEMS, np.float64)
    for row in range(start, stop):
        mark = row + 1
        _mark(marks, mark, seen_indptr, seen, row)
        _mark(marks, mark, blocked_indptr, blocked, row)
        scores, items, size = out_scores[row], out_items[row], 0
        for first in range(0, n_items, TILE_ITEMS):
            tile = min(TILE_ITEMS, n_items - first)
            totals[:] = 0.0
            for component in range(n_components):
                weight = np.float64(user_factors[row, component])
                if weight != 0.0:
                    for lane in range(tile):
                        totals[lane] += weight * np.float64(item_factors[component, first + lane])
            for lane in range(tile):
                score, item = np.float32(totals[lane]), first + lane
                if (size < len(scores) or score > scores[0]) and marks[item] != EXCLUDED and marks[item] != mark:
                    size = _offer(scores, items, size, score, item)
        _sort_best_first(scores, items, size)
        out_lengths[row] = size


@_jit
def best_of_listed(
    user_factors, item_factors, start, stop, seen_indptr, seen, blocked_indptr, blocked, allowed_indptr, allowed, marks,
    out_items, out_scores, out_lengths
):
    for row in range(start, stop):
        mark = row + 1
        _mark(marks, mark, seen_indptr, seen, row)
        _mark(marks, mark, blocked_indptr, blocked, row)
        scores, items, size = out_scores[row], out_items[row], 0
        for place in range(allowed_indptr[row], allowed_indptr[row + 1]):
            item = allowed[place]
            if marks[item] != EXCLUDED and marks[item] != mark:
                marks[item] = mark  # an item that the list names twice is taken once
                size = _offer(scores, items, size, exact_score(user_factors[row], item_factors, item), item)
        _sort_best_first(scores, items, size)
        out_lengths[row] = size
