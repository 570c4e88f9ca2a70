"""The best of many, while they come by: a heap with its worst entry on top, of equal scores the one of the higher
item."""

from __future__ import annotations

import numba

__all__ = ["heapify", "is_worse", "offer", "sort_best_first"]

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def is_worse(score, item, other_score, other_item):  # type: ignore[no-untyped-def]  # numba types it
    return score < other_score or (score == other_score and item > other_item)


@_jit
def _sink(scores, items, size, place):  # type: ignore[no-untyped-def]  # numba types it
    """Restore the heap below ``place``."""
    score, item = scores[place], items[place]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and is_worse(scores[child + 1], items[child + 1], scores[child], items[child]):
            child += 1
        if not is_worse(scores[child], items[child], score, item):
            break
        scores[place], items[place] = scores[child], items[child]
        place = child
    scores[place], items[place] = score, item


@_jit
def offer(scores, items, size, score, item):  # type: ignore[no-untyped-def]  # numba types it
    """Put an entry into the heap if it is good enough; the heap's new size."""
    if size < len(scores):
        place = size
        while place > 0:
            parent = (place - 1) // 2
            if not is_worse(score, item, scores[parent], items[parent]):
                break
            scores[place], items[place] = scores[parent], items[parent]
            place = parent
        scores[place], items[place] = score, item
        return size + 1
    if is_worse(scores[0], items[0], score, item):
        scores[0], items[0] = score, item
        _sink(scores, items, size, 0)
    return size


@_jit
def heapify(scores, items, size):  # type: ignore[no-untyped-def]  # numba types it
    """Make a heap of entries in any order."""
    for place in range(size // 2 - 1, -1, -1):
        _sink(scores, items, size, place)


@_jit
def sort_best_first(scores, items, size):  # type: ignore[no-untyped-def]  # numba types it
    while size > 1:
        size -= 1
        scores[0], scores[size] = scores[size], scores[0]
        items[0], items[size] = items[size], items[0]
        _sink(scores, items, size, 0)
