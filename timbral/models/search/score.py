"""The score of a user and an item, as compiled loops: the exact one, which decides, and what comes near it.

A float32 sum of terms that are not negative is wrong by at most ``n_components`` roundings, relatively;
``threshold_of`` leaves room for twice as much.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["MOST", "nearly", "recency_of", "score_in_block", "score_of", "threshold_of"]

LARGEST = np.finfo(np.float32).max
MOST = np.float32(1e37)  # more than this may be more than float32 has, after a sum or a product
TINY = np.float32(1e-37)  # what float32 may lose where products are below its normal range

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises
_reordering_jit = numba.njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})


@_jit
def recency_of(recency, item):  # type: ignore[no-untyped-def]  # numba types it
    return recency[item] if len(recency) > 0 else np.float32(0.0)


@_jit
def score_of(user, item_rows, item, recency, neighbors):  # type: ignore[no-untyped-def]  # numba types it
    total = 0.0
    for component in range(len(user)):
        total += np.float64(user[component]) * np.float64(item_rows[item, component])
    return np.float32(total + np.float64(recency_of(recency, item)) + neighbors)


@_jit
def score_in_block(weights, components, n_weights, block, lane):  # type: ignore[no-untyped-def]  # numba types it
    """``score_of``, leaving out the components that are zero in the user's vector: they change no sum."""
    total = 0.0
    for place in range(n_weights):
        total += np.float64(weights[place]) * np.float64(block[components[place], lane])
    return np.float32(total)


@_reordering_jit
def nearly(user, item):  # type: ignore[no-untyped-def]  # numba types it
    total = np.float32(0.0)
    for component in range(len(user)):
        total += user[component] * item[component]
    return total


@_jit
def threshold_of(scores, size, n_components):  # type: ignore[no-untyped-def]  # numba types it
    """What a float32 sum must reach for its item to have a chance."""
    if size < len(scores):
        return np.float32(-1.0)
    slack = np.float32((n_components + 5) * 2.0**-22)
    # Of a score beyond float32, what is nearly beyond it may be one, too.
    return min(scores[0], LARGEST) * (np.float32(1.0) - slack) - TINY
