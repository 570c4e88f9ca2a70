"""What the items that a user has played say for others, added up."""

from __future__ import annotations

import numba
import numpy as np
from numba import int64

__all__ = ["add_neighbors", "clear", "count_of"]

_jit = numba.njit(nogil=True)  # not cached by itself: where no folder can be written, that raises


@_jit
def count_of(play_counts, place):  # type: ignore[no-untyped-def]  # numba types it
    return np.float64(play_counts[place]) if len(play_counts) > 0 else 1.0


@_jit
def add_neighbors(row, play_indptr, plays, play_counts, pair_indptr, pair_items, pair_weights, sums, touched):  # type: ignore[no-untyped-def]  # numba types it
    """Σ x·v of each item, in ``sums``; returns how many of ``touched`` have one."""
    n_touched = 0
    for place in range(play_indptr[row], play_indptr[row + 1]):
        played, count = plays[place], count_of(play_counts, place)
        for pair in range(pair_indptr[played], pair_indptr[played + 1]):
            item, weight = pair_items[pair], count * np.float64(pair_weights[pair])
            before = sums[item]
            # No branch: no processor foresees which items come for the first time. A weight of 0 touches none.
            touched[n_touched] = item
            n_touched += int64((before == 0.0) & (weight > 0.0))
            sums[item] = before + weight
    return n_touched


@_jit
def clear(sums, touched, n_touched):  # type: ignore[no-untyped-def]  # numba types it
    for place in range(n_touched):
        sums[touched[place]] = 0.0
