"""Pairs by the item that is spoken for, turned into pairs by the item that speaks, in little more than their own
memory.

Of a million items the pairs are most of a gigabyte. A transposition that has both forms whole takes that twice; here
the items that speak are done range by range, and what has been moved is given back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import float32, int32, int64, types, uint16

from timbral.models.kernels.kernel import kernel, matrix, vector
from timbral.models.neighbors.short_floats import LEFT_OUT

__all__ = ["transposed"]

RANGES = 8
SMALL = 1 << 20
"""Pairs up to which all ranges are done at once."""

_WEIGHTS = types.Array(uint16, 2, "C")


def transposed(
    items: npt.NDArray[np.int32], weights: npt.NDArray[np.uint16]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """(indptr, targets, weights) by the item that speaks: j speaks for ``targets[indptr[j] : indptr[j + 1]]``,
    ascending, with the weights beside, (n_kinds, n_pairs).

    Args:
        items: (n_items, width): the items that may speak for each item. Its memory is taken.
        weights: (n_items, at most width, n_kinds), see short_floats: how strongly; where each kind has 0, the item does
            not speak and may be anything. Its memory is taken.
    """
    n_items, width = items.shape
    n_candidates, n_kinds = weights.shape[1:]
    counts, spoken = np.zeros(n_items, np.int32), np.zeros(n_items, np.int64)
    items.shape, weights.shape = (items.size,), (n_items * n_candidates, n_kinds)
    n_pairs = _gather(items, weights, width, n_candidates, counts, spoken)
    _shrink(items, weights, n_pairs)
    indptr = np.concatenate(([0], np.cumsum(spoken)))
    targets, turned = np.empty(n_pairs, np.int32), np.empty((n_kinds, n_pairs), np.float32)
    edges = np.searchsorted(indptr, np.linspace(0, n_pairs, (RANGES if n_pairs > SMALL else 1) + 1)[1:-1])
    ends = indptr[:-1].copy()
    for start, stop in zip([0, *edges], [*edges, n_items], strict=True):
        _shrink(items, weights, _move(items, weights, counts, start, stop, ends, targets, turned))
    return indptr, targets, turned


def _shrink(items: npt.NDArray[np.int32], weights: npt.NDArray[np.uint16], n_pairs: int) -> None:
    # Large arrays are mapped, and give back what is cut off. No reference is left to what is behind the end.
    items.resize(n_pairs, refcheck=False)
    weights.resize((n_pairs, weights.shape[1]), refcheck=False)


@kernel(
    items=vector(int32, writable=True),  # (n_items · width,)
    weights=_WEIGHTS,  # (n_items · n_candidates, n_kinds)
    width=int64,
    n_candidates=int64,
    counts=vector(int32, writable=True),  # (n_items,): how many speak for each item, out
    spoken=vector(int64, writable=True),  # (n_items,): all 0 before: for how many each item speaks, out
    boundscheck=False,
)
def _gather(items, weights, width, n_candidates, counts, spoken):  # type: ignore[no-untyped-def]  # numba types it
    """Bring the pairs to the front, in their order; returns how many there are."""
    n_pairs = 0
    for item in range(len(counts)):
        first = n_pairs
        for place in range(n_candidates):
            largest = uint16(0)
            for kind in range(weights.shape[1]):
                largest = max(largest, weights[item * n_candidates + place, kind])
            if largest > 0:
                items[n_pairs] = items[item * width + place]
                for kind in range(weights.shape[1]):
                    weights[n_pairs, kind] = weights[item * n_candidates + place, kind]
                spoken[items[n_pairs]] += 1
                n_pairs += 1
        counts[item] = n_pairs - first
    return n_pairs


@kernel(
    items=vector(int32, writable=True),  # (n_left,): who speaks for the first item, the second, ...
    weights=_WEIGHTS,  # (n_left, n_kinds)
    counts=vector(int32, writable=True),  # (n_items,): how many of them are each item's
    start=int64,  # first item whose pairs are moved
    stop=int64,  # the item behind the last
    ends=vector(int64, writable=True),  # (n_items,): where each item's next pair goes
    targets=vector(int32, writable=True),  # (n_pairs,): out
    turned=matrix(float32, writable=True),  # (n_kinds, n_pairs): out
    boundscheck=False,
)
def _move(items, weights, counts, start, stop, ends, targets, turned):  # type: ignore[no-untyped-def]  # numba types it
    """Move what the items from ``start`` to ``stop`` say, and close the gaps; returns how many pairs are left."""
    n_left, place, turned_bits = 0, 0, turned.view(np.uint32)
    for item in range(len(counts)):
        first, stop_place = n_left, place + counts[item]
        while place < stop_place:
            speaker = items[place]
            if start <= speaker < stop:
                at = ends[speaker]
                ends[speaker] += 1
                targets[at] = item
                for kind in range(weights.shape[1]):
                    turned_bits[kind, at] = np.uint32(weights[place, kind]) << LEFT_OUT
            else:
                items[n_left] = speaker
                for kind in range(weights.shape[1]):
                    weights[n_left, kind] = weights[place, kind]
                n_left += 1
            place += 1
        counts[item] = n_left - first
    return n_left
